"""An upper bound of every score of a tile from the coarse half-words alone: no logarithm, half of the Philox calls.

    v >= coarse / 2^16      so      G = -log(-log1p(-v)) <= -log(v) <= 16 ln 2 - log(coarse)
    -log2(c) <= 127 - bits(c) / 2^23 for a float32 c, whose bit pattern is a chord of the logarithm from below

The bound is taken on G alone, raised by `MARGIN` above the rounding of both sides. The logit then enters by the operation by
which it enters the score, fma(logit, 1/T, .): rounding is monotone, so bound >= score for every logit and temperature. (Folding
the logit into a constant first breaks this for large logits.)

A coarse half-word of 0 gives 99, above the largest G, 45.05.
"""

import math

from numpy import float32, float64, int32, uint64

from ..elementary import INF_F64, bits_of_f32, fma
from ..field import (
    DOMAIN_COARSE,
    TAIL_BELOW,
    exponential_f32,
    exponential_f64,
    exponential_tail_f32,
    gumbel_of_exponential_f32,
    gumbel_of_exponential_f64,
    score_f32,
    score_f64,
)
from ..jit import by_precision, inlined_loop, larger, loop, real_of, scalar
from .bits import b32_of, fill_coarse_of_ids, fill_words, groups_of, phase_of, tail_of
from .cells import HAS_COLS, TILE, as_real, first_at_least, largest_number

# Categories whose bits are made in one go. A processor fetches logits ahead while it reads them, not while it makes bits: with
# whole tiles 32 x 128256 took 0.35 ns a category, with pieces 0.30.
PIECE = 256
PIECES = TILE // PIECE

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


@inlined_loop
def bound_piece(bound, x, coarse, inverse, n):
    """Bounds of the scores of n categories.

    Parameters
    ----------
    bound : OUT real[>= n], contiguous
    x : IN cell[>= n], contiguous
        Logits.
    coarse : IN uint16[>= n], contiguous
        Coarse half-words.
    inverse : real
        1 / T.
    n : int64

    Returns
    -------
    largest : real
        The largest bound; undefined where a logit is NaN.
    unordered : bool
        True where a logit is NaN.
    """
    largest, unordered = real_of(x)(-math.inf), False
    for j in range(n):
        logit = as_real(x[j])
        bound[j] = score_bound(logit, inverse, coarse[j])
        largest = larger(largest, bound[j])
        unordered |= logit != logit
    return largest, unordered


@loop
def fill_bounds(bound, tops, x, pairs, coarse, address, inverse, cols, flags, outer, inner, start):
    """Coarse half-words of a tile and the bounds of its scores, piece by piece, so that logits are fetched while bits are made.

    Parameters
    ----------
    bound : OUT real[TILE], contiguous
    tops : OUT real[PIECES]
        The largest bound of each piece.
    x : IN cell[n], contiguous
        Logits.
    pairs, coarse : scratch uint64, and a view of it as uint16
        Half-words, with room for a group of eight more columns in whole vectors of eight groups.
    inverse : real
        1 / T.
    address, cols, flags, outer, inner, start
        As in `fill_exponentials`.

    Returns
    -------
    largest, unordered
        As of `bound_piece`.
    """
    n, first = x.shape[0], cols[0, 0, 0] + start
    phase = phase_of(first)
    ahead = (flags & HAS_COLS != 0) | (phase != 0)
    if flags & HAS_COLS:
        phase = 0
        fill_coarse_of_ids(coarse, address, cols[outer, inner, start : start + n])
    elif ahead:
        fill_words(pairs, address, DOMAIN_COARSE, first, groups_of(n + phase))
    largest, unordered = real_of(x)(-math.inf), False
    for piece in range((n + PIECE - 1) // PIECE):
        at = piece * PIECE
        size = min(PIECE, n - at)
        halves = coarse[at + phase :] if ahead else coarse
        if not ahead:
            fill_words(pairs, address, DOMAIN_COARSE, first + at, groups_of(size))
        # Twice the same, since a loop whose length is known is entered faster.
        if size == PIECE:
            top, nan = bound_piece(bound[at:], x[at:], halves, inverse, PIECE)
        else:
            top, nan = bound_piece(bound[at:], x[at:], halves, inverse, size)
        tops[piece] = top
        largest = larger(largest, top)
        unordered |= nan
    return largest, unordered


@loop
def next_at_least(bound, tops, best, at, n):
    """First position from `at` on whose bound is `best` or more, or n; pieces whose top is below are passed over."""
    while at < n:
        piece = at // PIECE
        end = min((piece + 1) * PIECE, n)
        if tops[piece] >= best:
            at += first_at_least(bound[at:end], best)
            if at < end:
                return at
        at = end
    return n


@scalar
def slack_of(bound):
    """How far G may be below a bound on it from its coarse half-word, generously; infinite where that is far or unknown.

    The chord's 0.0597, the width of the half-word, which grows with G, and what -log1p(-v) is more than v, which falls with it.
    """
    if bound < 2.0 or bound > 9.5:
        return INF_F64
    if bound < 4.0:
        return 0.17
    return 0.125 if bound <= 8.0 else 0.3


# Scores up to this size have digits enough for the part that is noise to be told from them.
TELLING = 65536.0


@scalar
def score_at_least(bound, tempered):
    """A lower bound of a score from the upper one and logit / T, -inf where there is none; float64."""
    b = float64(bound)
    if not abs(b) < TELLING:
        return -INF_F64
    return b - (slack_of(b - float64(tempered)) + 2.0**-6)


@scalar
def exponential_of_cell_f32(like, address, column):
    """E at one address, in the precision of `like`."""
    b32 = b32_of(address, column)
    return exponential_tail_f32(b32, tail_of(address, column)) if b32 < TAIL_BELOW else exponential_f32(b32)


@scalar
def exponential_of_cell_f64(like, address, column):
    """See `exponential_of_cell_f32`."""
    return exponential_f64((uint64(b32_of(address, column)) << uint64(32)) | uint64(tail_of(address, column)))


@scalar
def exact_score_f32(logit, inverse, address, column):
    """`score_f32` of one cell."""
    return score_f32(logit, inverse, gumbel_of_exponential_f32(exponential_of_cell_f32(logit, address, column)))


@scalar
def exact_score_f64(logit, inverse, address, column):
    """`score_f64` of one cell."""
    return score_f64(logit, inverse, gumbel_of_exponential_f64(exponential_of_cell_f64(logit, address, column)))


@scalar
def below_range(bound):
    """True where scores clamped to the smallest finite number may hide below a bound."""
    return bound <= -largest_number(bound)


exponential_of_cell = by_precision(exponential_of_cell_f32, exponential_of_cell_f64)
exact_score = by_precision(exact_score_f32, exact_score_f64)
