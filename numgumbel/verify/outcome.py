"""What a check has come to, and how numbers are compared: to the bit, within some ulp, or with a bound of chance."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = [
    "LEVEL",
    "PART",
    "STATISTICS",
    "ULP",
    "Outcome",
    "chernoff",
    "chi_square",
    "differing",
    "equal",
    "joined",
    "kolmogorov",
]

ULP = 8

# The chance that a right package fails one check of chance, at most; each of the statistics that a check may have takes a part.
LEVEL, STATISTICS = 1e-9, 10
PART = LEVEL / STATISTICS
# What twice the tail of exp(-x) leaves at that: of both Chernoff's bound and that of Dvoretzky, Kiefer and Wolfowitz.
TAIL = math.log(2 / PART)

# Degrees of freedom: quantiles of the chi-square distribution that leave PART / 2 below and above, from SciPy. A test of
# `tests/test_verify.py` computes them again.
CHI_SQUARE = {
    3: (3.28171e-07, 50.9555),
    5: (0.000245055, 57.0239),
    7: (0.00459801, 62.3995),
    19: (0.740102, 88.993),
    99: (33.1411, 218.74),
    255: (134.949, 429.266),
    999: (736.56, 1315.81),
}


@dataclass(frozen=True)
class Outcome:
    """What one check has come to.

    Attributes
    ----------
    compared : int
        Numbers that were compared, or samples that were counted.
    different : int
        How many numbers differ by more than they may.
    statistic, bounds : float, tuple of float, or None
        Of a check of chance, or the largest difference of sums in ulp, and where it is to lie.
    first : str
        The thing that differs, or whose statistic is shown: of several, the one closest to its bounds.
    unit : str
        Of the statistic, where it has one.
    group, name, dtype : str
        Of the check, and of its logits where that is one.
    seconds : float
        What it took.
    """

    compared: int
    different: int = 0
    statistic: float | None = None
    bounds: tuple[float, float] | None = None
    first: str = ""
    unit: str = ""
    group: str = ""
    name: str = ""
    dtype: str = ""
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        """Whether nothing differs, and the statistic lies within its bounds."""
        if self.statistic is None or self.bounds is None:
            return self.different == 0
        return self.different == 0 and self.bounds[0] <= self.statistic <= self.bounds[1]

    @property
    def nearness(self) -> float:
        """How near the statistic is to its bounds: a ratio of at most 1, infinite where it lies outside of them."""
        if self.statistic is None or self.bounds is None:
            return 0.0
        low, high = self.bounds
        if not low <= self.statistic <= high:
            return math.inf
        return max(self.statistic / high, low / self.statistic if low else 0.0)


def joined(outcomes: Iterable[Outcome]) -> Outcome:
    """Several things as one check: all that was compared, and the statistic that comes closest to its bounds."""
    parts = list(outcomes)
    shown = max(parts, key=lambda part: (part.different > 0, part.nearness))
    return Outcome(
        sum(part.compared for part in parts),
        sum(part.different for part in parts),
        shown.statistic,
        shown.bounds,
        shown.first if shown.different or shown.statistic is not None else "",
        shown.unit,
    )


# --- to the bit, and within some ulp -------------------------------------------------------------------------------------


def equal(name: str, got: object, expected: object) -> Outcome:
    """Numbers that must be equal to the bit, of one shape and dtype; `first` says where they first are not."""
    a, b = np.asarray(got), np.asarray(expected)
    different, _ = differing(a, b, is_sum=False)
    if not different and not b.size:
        return Outcome(0, 1, first=f"{name}: nothing to compare")
    if not different:
        return Outcome(b.size, first=name)
    if a.shape != b.shape or a.dtype != b.dtype or b.dtype.hasobject:
        return Outcome(b.size, different, first=f"{name}: {a.dtype}{list(a.shape)} in place of {b.dtype}{list(b.shape)}")
    place = tuple(int(i) for i in np.argwhere(np.atleast_1d(~_same_bits(a, b)))[0][: b.ndim])
    return Outcome(b.size, different, first=f"{name}: {a[place]} in place of {b[place]}" + (f" at {place}" if place else ""))


def differing(got: np.ndarray, expected: np.ndarray, is_sum: bool) -> tuple[int, float]:
    """How many numbers differ by more than they may, and the largest difference in ulp of what is near 1 or larger."""
    if got.shape != expected.shape or got.dtype != expected.dtype or expected.dtype.hasobject:
        return max(expected.size, 1), np.inf
    if not is_sum:
        return int((~_same_bits(got, expected)).sum()), 0.0
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    scale = np.spacing(np.maximum(np.abs(expected), expected.dtype.type(1)))
    ulps = np.where(same, 0, np.abs(got.astype(np.float64) - expected.astype(np.float64)) / scale)
    ulps = np.where(np.isnan(ulps), np.inf, ulps)
    return int((ulps > ULP).sum()), float(ulps.max(initial=0))


def _same_bits(got: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Which numbers are the same, a zero's sign too; any NaN is as good as another."""
    if expected.dtype.kind not in "fV":  # halves of other packages are of kind V
        same: np.ndarray = got == expected
        return same
    words = f"u{expected.itemsize}"
    same = got.view(words) == expected.view(words)
    return same | (np.isnan(got) & np.isnan(expected))


# --- with a bound of chance ----------------------------------------------------------------------------------------------


def chi_square(name: str, counts: np.ndarray, chances: np.ndarray) -> Outcome:
    """Pearson's statistic of counts, from both sides: frequencies that fit too well are as wrong as those that do not.

    Parameters
    ----------
    name : str
        What is counted.
    counts : integer array
        How often each thing was seen.
    chances : float array of the same shape
        Its probability; where that is 0 nothing may be seen.

    Returns
    -------
    Outcome
    """
    counts, chances = np.ravel(counts), np.ravel(chances)
    total, possible = int(counts.sum()), chances > 0
    expected = total * chances[possible]
    statistic = float(((counts[possible] - expected) ** 2 / expected).sum())
    impossible = int(counts[~possible].sum())
    return Outcome(total, impossible, statistic, CHI_SQUARE[expected.size - 1], name)


def chernoff(name: str, count: int, expected: float, samples: int) -> Outcome:
    """A count of independent things, each of small chance, against its expectation m.

    P(count >= x) and P(count <= x) are at most exp(-(x log(x / m) - x + m)), for any chances: no table is needed.

    Parameters
    ----------
    name : str
        What is counted.
    count : int
        How many were seen.
    expected : float
        The sum of their chances.
    samples : int
        Among how many.

    Returns
    -------
    Outcome
    """
    statistic = (count * math.log(count / expected) if count else 0.0) - count + expected
    return Outcome(samples, 0, statistic, (0.0, TAIL), f"{name}: {count:,} seen, {expected:,.1f} expected")


def kolmogorov(name: str, cumulative: np.ndarray) -> Outcome:
    """Values of a cumulative distribution function at samples of it, which are uniform: 2 n D^2, D the largest distance.

    P(2 n D^2 > x) is at most 2 exp(-x) (Dvoretzky, Kiefer and Wolfowitz, with the constant of Massart).

    Parameters
    ----------
    name : str
        What was sampled.
    cumulative : float array
        The values.

    Returns
    -------
    Outcome
    """
    u = np.sort(np.ravel(cumulative))
    steps = np.arange(u.size + 1) / u.size
    distance = max(float((steps[1:] - u).max()), float((u - steps[:-1]).max()))
    return Outcome(u.size, 0, 2 * u.size * distance**2, (0.0, TAIL), name)
