"""What a check has come to, and how numbers are compared: to the bit, within some ulp, or with a bound of chance."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["LEVEL", "ULP", "Outcome", "chernoff", "chi_square", "differing", "equal", "joined", "kolmogorov"]

ULP = 8

# The chance that a right package fails one check of chance, at most.
LEVEL = 1e-9
# What twice the tail of exp(-x) leaves at that level: of both Chernoff's bound and that of Dvoretzky, Kiefer and Wolfowitz.
TAIL = math.log(2 / LEVEL)

# Degrees of freedom: quantiles of the chi-square distribution that leave LEVEL / 2 below and above, from SciPy. A test of
# `tests/test_verify.py` computes them again.
CHI_SQUARE = {
    3: (1.52324e-06, 46.2574),
    5: (0.000615583, 52.1609),
    7: (0.0088816, 57.3901),
    19: (0.952653, 83.293),
    99: (35.5486, 210.446),
    255: (140.245, 418.017),
    999: (749.649, 1296.74),
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
        """The statistic as a part of its upper bound, infinite where it lies outside of the bounds."""
        if self.statistic is None or self.bounds is None:
            return 0.0
        return self.statistic / self.bounds[1] if self.bounds[0] <= self.statistic <= self.bounds[1] else math.inf


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
    )


# --- to the bit, and within some ulp -------------------------------------------------------------------------------------


def equal(name: str, got: object, expected: object) -> Outcome:
    """Numbers that must be equal to the bit, of one shape and dtype; `first` says where they first are not."""
    a, b = np.asarray(got), np.asarray(expected)
    different, _ = differing(a, b, is_sum=False)
    if not different:
        return Outcome(b.size, first=name)
    if a.shape != b.shape or a.dtype != b.dtype:
        return Outcome(b.size, different, first=f"{name}: {a.dtype}{list(a.shape)} in place of {b.dtype}{list(b.shape)}")
    wrong = a != b if b.dtype.kind != "f" else (a != b) & ~(np.isnan(a) & np.isnan(b))
    place = tuple(int(i) for i in np.argwhere(np.atleast_1d(wrong))[0][: b.ndim])
    return Outcome(b.size, different, first=f"{name}: {a[place]} in place of {b[place]}" + (f" at {place}" if place else ""))


def differing(got: np.ndarray, expected: np.ndarray, is_sum: bool) -> tuple[int, float]:
    """How many numbers differ by more than they may, and the largest difference in ulp of what is near 1 or larger."""
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return max(expected.size, 1), np.inf
    same = (got == expected) | (np.isnan(got) & np.isnan(expected)) if expected.dtype.kind == "f" else got == expected
    if not is_sum:
        return int((~same).sum()), 0.0
    scale = np.spacing(np.maximum(np.abs(expected), expected.dtype.type(1)))
    ulps = np.where(same, 0, np.abs(got.astype(np.float64) - expected.astype(np.float64)) / scale)
    ulps = np.where(np.isnan(ulps), np.inf, ulps)
    return int((ulps > ULP).sum()), float(ulps.max(initial=0))


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


def chernoff(name: str, count: int, expected: float, samples: int, ways: int = 1) -> Outcome:
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
    ways : int
        Counts that share the level of one check.

    Returns
    -------
    Outcome
    """
    statistic = (count * math.log(count / expected) if count else 0.0) - count + expected
    return Outcome(samples, 0, statistic, (0.0, TAIL + math.log(ways)), f"{name}: {count:,} seen, {expected:,.1f} expected")


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
