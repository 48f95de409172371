"""Times of a call by the host's clock: warm-up, samples of many calls, and how well their median is known."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .compare import resampled

QUANTILES = 10, 25, 75, 90


@dataclass(frozen=True)
class Effort:
    """How long is measured.

    Attributes
    ----------
    sample_ns : int
        Calls are repeated until a sample takes as long.
    block_ns : int
        Samples are taken until a block of them takes as long, up to `samples`.
    samples : int
        Of a block at most.
    warm_ns : int
        Of calls that are not timed before each block; longer calls warm up themselves.
    fewest, most : int
        Blocks of each.
    precision : float
        Half the width of the median's 95 % interval over the median, at which a workload is left alone.
    least_seconds : float
        Passes go on so long, if there are no more than `most`: a machine's mood lasts for seconds.
    seconds : float
        After so many no further pass begins, once there are `fewest`.
    peer_seconds : float
        Of one peer at one workload, but three blocks at least.
    """

    sample_ns: int
    block_ns: int
    samples: int
    warm_ns: int
    fewest: int
    most: int
    precision: float
    least_seconds: float
    seconds: float
    peer_seconds: float


QUICK = Effort(1_000_000, 5_000_000, 5, 1_000_000, 10, 100, 0.05, 8.0, 40.0, 0.3)
FULL = Effort(2_000_000, 30_000_000, 9, 10_000_000, 15, 200, 0.02, 20.0, 600.0, 5.0)


class Clock:
    """Times calls.

    Parameters
    ----------
    now : callable, optional
        Nanoseconds; another than the system's for tests.

    Examples
    --------
    >>> from numgumbel.bench.clock import Clock
    >>> clock = Clock(iter(range(0, 10**9, 1000)).__next__)  # a microsecond from one look to the next
    >>> clock.elapsed(lambda: None, 10)
    1000
    """

    def __init__(self, now: Callable[[], int] = time.perf_counter_ns) -> None:
        self.now = now

    def elapsed(self, call: Callable[[], Any], number: int) -> int:
        """Nanoseconds of so many calls, and of two looks at the clock."""
        repeats, collecting, now = itertools.repeat(None, number), gc.isenabled(), self.now
        gc.disable()
        try:
            start = now()
            for _ in repeats:
                call()
            return now() - start
        finally:
            if collecting:
                gc.enable()

    def calls(self, call: Callable[[], Any], sample_ns: int) -> tuple[int, float]:
        """How many calls make a sample, a power of two, and about how many nanoseconds one takes."""
        number, taken = 1, self.elapsed(call, 1)
        if taken < 100 * sample_ns:  # the first call may have been slower
            taken = self.elapsed(call, 1)
        while taken < sample_ns:
            number *= 2
            taken = self.elapsed(call, number)
        return number, taken / number

    def block(self, call: Callable[[], Any], number: int, samples: int, warm_ups: int = 0) -> list[float]:
        """Samples in a row, each the mean nanoseconds of so many calls, after calls that do not count."""
        if warm_ups:
            self.elapsed(call, warm_ups)
        return [self.elapsed(call, number) / number for _ in range(samples)]


def precision(blocks: Sequence[Sequence[float]]) -> float:
    """Half the width of the 95 % interval of the median over the median: how well it is known after these blocks.

    Examples
    --------
    >>> from numgumbel.bench.clock import precision
    >>> precision([[5.0, 5.0]] * 8)
    0.0
    """
    medians = resampled([np.median(block) for block in blocks], 0.5)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float((high - low) / 2 / np.median(medians))


def summary(blocks: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Median, quantiles and precision of the samples of all blocks.

    Examples
    --------
    >>> from numgumbel.bench.clock import summary
    >>> summary([[1.0, 2.0], [3.0]])["median_ns"]
    2.0
    """
    samples = np.concatenate([np.asarray(block, float) for block in blocks])
    quantiles = {str(q): round(float(np.percentile(samples, q)), 2) for q in QUANTILES}
    return {
        "median_ns": round(float(np.median(samples)), 2),
        "min_ns": round(float(samples.min()), 2),
        "quantiles_ns": quantiles,
        "precision": round(precision(blocks), 5),
        "samples": len(samples),
    }
