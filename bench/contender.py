"""Whatever is timed: a named way to do a workload. numgumbel's own are here, those of other libraries in peers.py."""

import importlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numgumbel.workloads import Inputs, Workload

OURS, READY_MADE, HAND_TUNED, BAR = KINDS = "numgumbel", "ready-made", "hand-tuned", "bar"


@dataclass(frozen=True)
class Contender:
    """A way to do some workloads.

    Kinds: ``"numgumbel"``; ``"ready-made"`` and ``"hand-tuned"``, which sample by another library; ``"bar"``, which samples
    nothing and only shows what a pass over the same array costs.
    """

    name: str
    kind: str
    prepare: Callable[[Workload, Inputs], Callable[[], Any]]  # everything that need not be timed, then the call
    fits: Callable[[Workload], bool] = lambda workload: True
    library: str = "numpy"  # what must be installed
    threads: int | None = None  # numgumbel's limit, where it is not the usual one

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


NUMGUMBEL = Contender("numgumbel", OURS, _fresh_draws)
ONE_THREAD = Contender("numgumbel, one thread", OURS, _fresh_draws, threads=1)
