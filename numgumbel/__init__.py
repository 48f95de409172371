"""Per-row Gumbel noise fused with argmax, softmax and top-k.

The noise is a field, not a stream: a pure function of key, step, row id and column id. So a sample never depends on the batch
around it, on chunking, threads or the machine, and no noise is ever stored.

>>> import numpy as np
>>> import numgumbel as ng
>>> key = ng.key(42, "mode_choice", 2030)
>>> choice = ng.categorical(key, np.log([[0.1, 0.7, 0.2], [0.3, 0.3, 0.4]]))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import distribution
from .actions import Actions, LogProbEntropy, log_prob_entropy, log_prob_entropy_vjp, sample_actions
from .draws import Draw, draw, merge
from .generator import Generator, default_rng
from .ids import row_ids
from .keys import Key, fold, key
from .ops import (
    TopK,
    categorical,
    categorical_ragged,
    conditional_gumbel,
    gumbel,
    gumbel_softmax,
    gumbel_softmax_vjp,
    gumbel_topk,
    inclusion_log_prob,
)
from .planning import Plan, plan
from .threads import get_num_threads, set_num_threads
from .warming import warmup

__version__ = "0.1.0"

__all__ = [
    "Actions",
    "Compilation",
    "CompileReport",
    "Draw",
    "Generator",
    "Key",
    "LogProbEntropy",
    "Plan",
    "TopK",
    "categorical",
    "categorical_ragged",
    "compile_report",
    "conditional_gumbel",
    "default_rng",
    "distribution",
    "draw",
    "fold",
    "get_num_threads",
    "gumbel",
    "gumbel_softmax",
    "gumbel_softmax_vjp",
    "gumbel_topk",
    "inclusion_log_prob",
    "kernels_of",
    "key",
    "log_prob_entropy",
    "log_prob_entropy_vjp",
    "merge",
    "plan",
    "row_ids",
    "sample_actions",
    "set_num_threads",
    "warmup",
]


if TYPE_CHECKING:
    from . import nb as nb
    from .inspecting.dispatchers import kernels_of
    from .inspecting.report import Compilation, CompileReport, compile_report
else:
    # Imported when first asked for: the module of each.
    _LATER = {
        "kernels_of": ".inspecting.dispatchers",
        **dict.fromkeys(("Compilation", "CompileReport", "compile_report"), ".inspecting.report"),
    }

    def __getattr__(name: str) -> Any:
        """`numgumbel.nb`, and what those want who look at machine code."""
        import importlib

        if name == "nb":
            return importlib.import_module(".nb", __name__)
        if name in _LATER:
            return getattr(importlib.import_module(_LATER[name], __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
