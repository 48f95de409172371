"""An upper bound of every score of a tile from the coarse half-words alone: no logarithm, half of the Philox calls.

    v >= coarse / 2^16      so      G = -log(-log1p(-v)) <= -log(v) <= 16 ln 2 - log(coarse)
    -log2(c) <= 127 - bits(c) / 2^23 for a float32 c, whose bit pattern is a chord of the logarithm from below

The bound is taken on G alone, raised by `MARGIN` above the rounding of both sides. The logit then enters by the operation by
which it enters the score, fma(logit, 1/T, .): rounding is monotone, so bound >= score for every logit and temperature. (Folding
the logit into a constant first breaks this for large logits.)

A coarse half-word of 0 gives 99, above the largest G, 45.05.
"""

import math

from numpy import float32, float64, int32

from ..elementary import MAX_F32, MAX_F64, bits_of_f32, fma
from ..field import (
    DOMAIN_COARSE,
    exponential_of_f32,
    exponential_of_f64,
    gumbel_of_exponential_f32,
    gumbel_of_exponential_f64,
    score_f32,
    score_f64,
)
from ..jit import by_precision, larger, loop, scalar
from .bits import fill_coarse_of_ids, fill_words, groups_of, phase_of
from .cells import HAS_COLS

# Above the rounding of the bound, 5e-6, and of G; a test runs all 2^32 words and prints what is left, 3.2e-5.
MARGIN = 2e-5
SLOPE = -math.log(2) / 2**23
OFFSET = 143 * math.log(2) + MARGIN


@scalar
def gumbel_bound_f32(coarse):
    """An upper bound of G in float32 at any address with this coarse half-word."""
    return fma(float32(bits_of_f32(float32(int32(coarse)))), float32(SLOPE), float32(OFFSET))


@scalar
def gumbel_bound_f64(coarse):
    """An upper bound of G in float64 at any address with this coarse half-word."""
    return fma(float64(bits_of_f32(float32(int32(coarse)))), float64(SLOPE), float64(OFFSET))


@scalar
def score_bound_f32(logit, inverse, coarse):
    """An upper bound of `score_f32`, but -inf where the score is clamped to the smallest float32; NaN for a NaN."""
    return fma(logit, inverse, gumbel_bound_f32(coarse))


@scalar
def score_bound_f64(logit, inverse, coarse):
    """An upper bound of `score_f64`; see `score_bound_f32`."""
    return fma(logit, inverse, gumbel_bound_f64(coarse))


score_bound = by_precision(score_bound_f32, score_bound_f64)


@loop
def bound_tile(bound, x, coarse, inverse):
    """Bounds of the scores of a tile.

    Parameters
    ----------
    bound : OUT real[n], contiguous
    x : IN real[n], contiguous
        Logits.
    coarse : IN uint16[>= n], contiguous
        Coarse half-words.
    inverse : real
        1 / T.

    Returns
    -------
    largest : real
        The largest bound; undefined where a logit is NaN.
    unordered : bool
        True where a logit is NaN.
    """
    largest, unordered = x.dtype.type(-math.inf), False
    for j in range(x.shape[0]):
        bound[j] = score_bound(x[j], inverse, coarse[j])
        largest = larger(largest, bound[j])
        unordered |= x[j] != x[j]
    return largest, unordered


@loop
def fill_bounds(bound, x, pairs, coarse, address, inverse, cols, flags, outer, inner, start):
    """Coarse half-words of a tile and the bounds of its scores; returns as `bound_tile`.

    Parameters
    ----------
    bound, x, inverse
        As in `bound_tile`.
    pairs, coarse : scratch uint64, and a view of it as uint16
        Half-words, with room for a group of eight more columns in whole vectors of eight groups.
    address, cols, flags, outer, inner, start
        As in `fill_noise`.
    """
    n = x.shape[0]
    phase = 0
    if flags & HAS_COLS:
        fill_coarse_of_ids(coarse, address, cols[outer, inner, start : start + n])
    else:
        phase = phase_of(cols[0, 0, 0] + start)
        fill_words(pairs, address, DOMAIN_COARSE, cols[0, 0, 0] + start, groups_of(n + phase))
    return bound_tile(bound, x, coarse[phase:], inverse)


@scalar
def exact_score_f32(logit, inverse, address, column):
    """`score_f32` of one cell."""
    k0, k1, c3, r0, r1 = address
    return score_f32(logit, inverse, gumbel_of_exponential_f32(exponential_of_f32(k0, k1, c3, r0, r1, column)))


@scalar
def exact_score_f64(logit, inverse, address, column):
    """`score_f64` of one cell."""
    k0, k1, c3, r0, r1 = address
    return score_f64(logit, inverse, gumbel_of_exponential_f64(exponential_of_f64(k0, k1, c3, r0, r1, column)))


@scalar
def below_range_f32(bound):
    """True where scores clamped to the smallest float32 may hide below a bound."""
    return bound <= -MAX_F32


@scalar
def below_range_f64(bound):
    """True where scores clamped to the smallest float64 may hide below a bound."""
    return bound <= -MAX_F64


exact_score = by_precision(exact_score_f32, exact_score_f64)
below_range = by_precision(below_range_f32, below_range_f64)
