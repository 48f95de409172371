"""Whatever is timed: a named way to do a workload. numgumbel's own are here, those of other libraries in peers.py."""

import dataclasses
import importlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from numgumbel.workloads import Inputs, Workload

OURS, READY_MADE, HAND_TUNED, BAR = KINDS = "numgumbel", "ready-made", "hand-tuned", "bar"


@dataclass(frozen=True)
class Contender:
    """A way to do some workloads.

    Kinds: ``"numgumbel"``, of which there are several to compare with each other; ``"ready-made"`` and ``"hand-tuned"``, which
    sample by another library; ``"bar"``, which samples nothing and only shows what a pass over the same array costs.
    """

    name: str
    kind: str
    prepare: Callable[[Workload, Inputs], Callable[[], Any]]  # everything that need not be timed, then the call
    fits: Callable[[Workload], bool] = lambda workload: True
    library: str = "numpy"  # what must be installed
    threads: int | None = None  # numgumbel's limit, where it is not the usual one
    of_rows: float = 1.0  # share of the rows that a call does; times are scaled up to all of them

    def missing(self):
        """A line that says what to install, or None."""
        try:
            importlib.import_module(self.library)
        except ImportError:
            return f"{self.library} is not installed, its rows are left out: python -m pip install {self.library}"
        return None


def _fresh_draws(workload, inputs):
    """Another step every call, as the peers draw other numbers: a processor learns the branches of a call that is repeated."""
    call, steps = workload.bind(inputs), itertools.count()
    return lambda: call(step=next(steps))


def _without_what_is_known(workload, inputs):
    return _fresh_draws(dataclasses.replace(workload, operation="categorical", want=()), inputs)


def _in_float32(workload, inputs):
    return _fresh_draws(dataclasses.replace(workload, dtype="float32"), as_float32(inputs))


def as_float32(inputs):
    """The same numbers in float32 where they are float16 or bfloat16."""
    logits = inputs.logits
    return inputs if logits.dtype in (np.float32, np.float64) else inputs._replace(logits=logits.astype(np.float32))


NUMGUMBEL = Contender("numgumbel", OURS, _fresh_draws)
ONE_THREAD = Contender("numgumbel, one thread", OURS, _fresh_draws, threads=1)
CATEGORICAL = Contender("numgumbel, categorical", OURS, _without_what_is_known, lambda workload: workload.operation == "draw")
IN_FLOAT32 = Contender("numgumbel, float32", OURS, _in_float32, lambda workload: workload.dtype in ("float16", "bfloat16"))
