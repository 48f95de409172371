"""Whether two runs differ: a bootstrap interval of the ratio of their undisturbed times.

Whatever else a machine does makes a call slower and never faster, for milliseconds or for many seconds. So what is compared is
the processor's time on one thread where a run has it (on a GPU, the device's time), of a block of samples the least, and of
blocks the lowest twentieth. Samples of one block share the state of the machine; those of two blocks lie a whole pass through
all workloads apart. So blocks and not samples are drawn again, a few neighbours at a time, since a machine drifts: what a slow
minute does to a time then shows in the width of the interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

TIMES = 2000  # quantiles that are drawn
UNDISTURBED = 0.05  # quantile of blocks
MARGIN = 1.1  # ratios that count as the same: 1 / MARGIN to MARGIN
FEWEST = 5  # blocks, below which nothing is said
SAME, FASTER, SLOWER, NOISY = VERDICTS = "same", "faster", "slower", "too noisy to say"


@dataclass(frozen=True)
class Ratio:
    """New time over old, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """What has come of one workload on one backend.

    Medians are for people; `ratio` is that of undisturbed times, and None where one side has too few blocks.
    """

    workload: str
    backend: str
    old_ns: float
    new_ns: float
    ratio: Ratio | None
    verdict: str


def resampled(levels: Sequence[float], quantile: float, seed: int = 0) -> np.ndarray:
    """A quantile of blocks that are drawn again, neighbours together: the circular block bootstrap.

    Parameters
    ----------
    levels : sequence of float
        One number a block, in the order in which they were taken.
    quantile : float
        Which, from 0 to 1.
    seed : int, optional
        Of the draws.

    Returns
    -------
    numpy.ndarray
        2000 quantiles.

    Examples
    --------
    >>> from numgumbel.bench.compare import resampled
    >>> float(resampled([1.0, 3.0], 0.5).max())
    3.0
    """
    level = np.asarray(levels, float)
    count = len(level)
    together = max(1, round(count ** (1 / 3)))
    starts = np.random.default_rng(seed).integers(0, count, (TIMES, -(-count // together), 1))
    index = (starts + np.arange(together)).reshape(TIMES, -1)[:, :count] % count
    return np.quantile(level[index], quantile, axis=1)


def ratio_of(old: Sequence[Sequence[float]], new: Sequence[Sequence[float]]) -> Ratio:
    """New undisturbed time over old, and its interval.

    Parameters
    ----------
    old, new : sequence of sequences of float
        Blocks of samples of the two runs.

    Returns
    -------
    Ratio

    Examples
    --------
    >>> from numgumbel.bench.compare import ratio_of
    >>> ratio_of([[2.0, 2.5]] * 8, [[3.0, 9.0]] * 8)
    Ratio(value=1.5, low=1.5, high=1.5)
    """
    before, now = ([min(block) for block in blocks] for blocks in (old, new))
    ratios = resampled(now, UNDISTURBED, 1) / resampled(before, UNDISTURBED, 2)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return Ratio(float(np.quantile(now, UNDISTURBED) / np.quantile(before, UNDISTURBED)), float(low), float(high))


def verdict(ratio: Ratio, margin: float = MARGIN) -> str:
    """Same where the interval lies between 1 / margin and margin, slower or faster where it lies beyond, else too noisy.

    Examples
    --------
    >>> from numgumbel.bench.compare import Ratio, verdict
    >>> [verdict(Ratio(r, r - 0.04, r + 0.04)) for r in (1.0, 0.8, 1.3, 1.1)]
    ['same', 'faster', 'slower', 'too noisy to say']
    """
    if ratio.low > margin:
        return SLOWER
    if ratio.high < 1 / margin:
        return FASTER
    return SAME if 1 / margin <= ratio.low and ratio.high <= margin else NOISY


def compare(old: Mapping[str, Any], new: Mapping[str, Any], margin: float = MARGIN) -> list[Comparison]:
    """Every workload that both runs have timed on the same backend.

    Parameters
    ----------
    old, new : mapping
        Results as `files.load` gives them.
    margin : float, optional
        Ratios from 1 / margin to margin are the same.

    Returns
    -------
    list of Comparison
    """
    before = {(entry["workload"], entry["backend"]): entry for entry in ours(old)}
    found = []
    for entry in ours(new):
        other = before.get((entry["workload"], entry["backend"]))
        if other is None:
            continue
        what = "steady_ns" if all(each.get("steady_ns") for each in (other, entry)) else "blocks_ns"
        blocks = [each[what] for each in (other, entry)]
        enough = min(map(len, blocks)) >= FEWEST
        ratio = ratio_of(*blocks) if enough else None
        said = NOISY if ratio is None else verdict(ratio, margin)
        places = entry["workload"], entry["backend"]
        found.append(Comparison(*places, other["median_ns"], entry["median_ns"], ratio, said))
    return found


def ours(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of numgumbel."""
    return [entry for entry in results["times"] if entry["contender"] == "numgumbel"]
