"""Per-row Gumbel noise fused with argmax, softmax and top-k.

The noise is a field, not a stream: a pure function of key, step, row id and column id. So a sample never depends on the batch
around it, on chunking, threads or the machine, and no noise is ever stored.

>>> import numpy as np
>>> import numgumbel as ng
>>> key = ng.key(42, "mode_choice", 2030)
>>> choice = ng.categorical(key, np.log([[0.1, 0.7, 0.2], [0.3, 0.3, 0.4]]))
"""

from . import distribution
from .generator import Generator, default_rng
from .ids import row_ids
from .keys import Key, fold, key
from .ops import TopK, categorical, gumbel, gumbel_softmax, gumbel_softmax_vjp, gumbel_topk, inclusion_log_prob
from .threads import get_num_threads, set_num_threads
from .warming import warmup

__version__ = "0.1.0"

__all__ = [
    "Generator",
    "Key",
    "TopK",
    "categorical",
    "default_rng",
    "distribution",
    "fold",
    "get_num_threads",
    "gumbel",
    "gumbel_softmax",
    "gumbel_softmax_vjp",
    "gumbel_topk",
    "inclusion_log_prob",
    "key",
    "row_ids",
    "set_num_threads",
    "warmup",
]
