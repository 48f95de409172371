"""Samples with what is known about them: index, score, log-probability, logsumexp and entropy in one pass over the logits.

A row may hold several distributions side by side, its heads, each with a sample of its own; log-probability and entropy are
summed over them. With an index given, nothing is drawn: the same loops tell its log-probability.
"""

from numba import types
from numpy import float64, int32, uint16, uint64

from ..elementary import INF_F64, NAN_F64, log_f64
from ..jit import loop, reinterpret, row_kernel, sink, stack_array, view, working
from .argmax import argmax_of_tile
from .bits import HALVES
from .bound import PIECES
from .cells import (
    DETERMINISTIC,
    GIVEN,
    NARROW,
    TILE,
    WANT_ENTROPY,
    WANT_LOG_PROB,
    WANT_LOGSUMEXP,
    WANT_SCORE,
    largest_of_row,
    note_invalid,
    row_types,
    temperature_of,
    tile_of,
)
from .moments import add_moments, tempered
from .noise import row_address
from .sums import LANES

WANT_MOMENTS = WANT_LOG_PROB | WANT_LOGSUMEXP | WANT_ENTROPY


@loop
def tempered_logit(buffer, cells, mask, flags, inverse, outer, inner, column):
    """logit / T of one cell, -inf where masked."""
    return tempered(tile_of(buffer, cells, mask, flags, outer, inner, column, 1)[0], inverse)


@loop
def settle_head(chosen, buffer, cells, mask, flags, outer, inner, begin, end):
    """What is known where a distribution is not a softmax: T = 0, a logit of +inf, nothing allowed, a NaN, or no column chosen.

    Returns
    -------
    chosen : int64
        The column, or -1 for an invalid row.
    score, log_prob, logsumexp, entropy : float64
    """
    largest, peak, unordered = largest_of_row(buffer, cells, mask, flags, outer, inner, begin, end)
    if unordered or (chosen < 0 and peak >= 0):
        return -1, NAN_F64, NAN_F64, NAN_F64, NAN_F64
    if peak < 0:
        return -1, -INF_F64, NAN_F64, -INF_F64, NAN_F64
    return chosen, largest, 0.0 if chosen == peak else -INF_F64, largest, 0.0


@loop
def known_of_head(chosen, m, s, t, buffer, cells, mask, flags, inverse, outer, inner):
    """(log_prob, logsumexp, entropy) of a chosen column from the moments of its head, as float64."""
    log_s = log_f64(s)
    z = tempered_logit(buffer, cells, mask, flags, inverse, outer, inner, chosen)
    return (float64(z) - m) - log_s, m + log_s, log_s - t / s


@loop
def tell_head(chosen, top, temperature, buffers, partials, cells, mask, flags, outer, inner, begin, end):
    """What is known of one sample, alone: (chosen, score, log_prob, logsumexp, entropy) as of `settle_head`.

    `top` is the score where it is one. Scratch real[TILE] twice, real[LANES] twice.
    """
    buffer, z_buffer = buffers
    real = buffer.dtype.type
    if chosen >= 0 and temperature != 0.0:
        m, s, t, inverse = 0.0, 0.0, 0.0, real(1.0 / temperature)
        for start in range(begin, end, TILE):
            x = tile_of(buffer, cells, mask, flags, outer, inner, start, min(TILE, end - start))
            m, s, t = add_moments(m, s, t, x, inverse, True, z_buffer, *partials)
        if s >= 1.0:
            below, total, spread = known_of_head(chosen, m, s, t, buffer, cells, mask, flags, inverse, outer, inner)
            return chosen, top, below, total, spread
    return settle_head(chosen, buffer, cells, mask, flags, outer, inner, begin, end)


def draw_types(cell):
    """The types of kernels of draws: what is shared, rows, heads, an index of two widths, what may be wanted, invalid rows."""
    real = working(cell)
    return types.int64(
        *row_types(cell),
        types.int64,
        types.int64,
        view(types.int64, 1),
        sink(types.int64, 3),
        sink(types.int32, 3),
        sink(real, 3),
        sink(real, 3),
        sink(real, 2),
        sink(real, 2),
        sink(types.int64, 1),
    )


@row_kernel(draw_types)
def draw_rows(
    k0,
    k1,
    step,
    steps,
    rows,
    cols,
    cells,
    mask,
    flags,
    temperature,
    temperatures,
    first,
    last,
    heads,
    index,
    narrow,
    score,
    logsumexp,
    log_prob,
    entropy,
    invalid,
):
    """One sample of every head of rows first .. last, and what is wanted of it.

    A tile of logits gives the best score so far, by bound as in `argmax_rows`, and then, while it is in the cache, its moments.

    Parameters
    ----------
    k0, k1, step, steps, rows, cols, cells, mask, flags, temperature, temperatures, first, last, invalid
        As in `argmax_rows`. Under `DETERMINISTIC` a sample is the largest logit; under `GIVEN` it is read from `index`.
    heads : IN int64[H + 1]
        Columns at which heads start, and the end of the last.
    index, narrow : OUT int64[outer, inner, H], int32[outer, inner, H]
        Position within the head, or -1; in one of them, as in `argmax_rows`. Under `GIVEN` `index` is IN.
    score : OUT real[outer, inner, H]
        The score, under `WANT_SCORE`: -inf where nothing is allowed.
    logsumexp : OUT real[outer, inner, H]
        That of logits / T, under `WANT_LOGSUMEXP`: -inf where nothing is allowed.
    log_prob, entropy : OUT real[outer, inner]
        Summed over heads, under `WANT_LOG_PROB` and `WANT_ENTROPY`; NaN where a head has no sample.

    Returns
    -------
    int64
        How many rows are invalid.
    """
    count, real = cells.shape[1], score.dtype.type
    buffer, bound = stack_array(TILE, score.dtype), stack_array(TILE, score.dtype)
    tops, z_buffer = stack_array(PIECES, score.dtype), stack_array(TILE, score.dtype)
    partials = stack_array(LANES, score.dtype), stack_array(LANES, score.dtype)
    pairs = stack_array(HALVES, uint64)
    coarse = reinterpret(pairs, uint16)
    bad = 0
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
        temp = temperature_of(temperature, temperatures, flags, outer, inner)
        greedy = temp == 0.0 or flags & DETERMINISTIC != 0
        moments = flags & WANT_MOMENTS != 0 and temp != 0.0
        inverse = real(1.0) if temp == 0.0 else real(1.0 / temp)
        row_log_prob, row_entropy, row_bad = 0.0, 0.0, False
        for head in range(heads.shape[0] - 1):
            begin, end = heads[head], heads[head + 1]
            best, chosen, peaked, unordered = real(-INF_F64), -1, False, False
            if flags & GIVEN:
                chosen = begin + index[outer, inner, head]
                chosen = chosen if begin <= chosen and chosen < end else -1
            m, s, t = 0.0, 0.0, 0.0
            for start in range(begin, end, TILE):
                n = min(TILE, end - start)
                x = tile_of(buffer, cells, mask, flags, outer, inner, start, n)
                if flags & GIVEN == 0:
                    best, chosen, peaked, unordered = argmax_of_tile(
                        best, chosen, peaked, x, bound, tops, pairs, coarse, address, greedy, inverse, cols, flags, outer,
                        inner, start,
                    )  # fmt: skip
                    if unordered:
                        break
                if moments:
                    m, s, t = add_moments(m, s, t, x, inverse, flags & WANT_ENTROPY != 0, z_buffer, *partials)
            if chosen >= 0 and (not moments or s >= 1.0) and temp != 0.0:
                top, below, total, spread = float64(best), 0.0, 0.0, 0.0
                if moments:
                    below, total, spread = known_of_head(chosen, m, s, t, buffer, cells, mask, flags, inverse, outer, inner)
            else:
                chosen, top, below, total, spread = settle_head(chosen, buffer, cells, mask, flags, outer, inner, begin, end)
            if flags & GIVEN == 0:
                if flags & NARROW:
                    narrow[outer, inner, head] = int32(chosen - begin if chosen >= 0 else -1)
                else:
                    index[outer, inner, head] = chosen - begin if chosen >= 0 else -1
            if flags & WANT_SCORE:
                score[outer, inner, head] = real(top)
            if flags & WANT_LOGSUMEXP:
                logsumexp[outer, inner, head] = real(total)
            row_bad |= chosen < 0
            row_log_prob += below
            row_entropy += spread
        if row_bad:
            bad += note_invalid(invalid, position)
            row_log_prob, row_entropy = NAN_F64, NAN_F64
        if flags & WANT_LOG_PROB:
            log_prob[outer, inner] = real(row_log_prob)
        if flags & WANT_ENTROPY:
            entropy[outer, inner] = real(row_entropy)
    return bad
