"""Categorical samples of short rows: lanes run across rows, one row a lane, column by column.

A row of six categories fills no vector and costs a bound or two more than it saves, so here every score is computed, for LANES
rows at once: the words of one group of eight columns, then for each column its G, its score and a branch-free comparison.
The logits of a group are turned from rows to lanes on the way in.
"""

import numpy as np
from numba import types
from numpy import int32, int64, uint32, uint64

from ..elementary import INF_F64
from ..field import (
    DOMAIN_COARSE,
    DOMAIN_FINE,
    DOMAIN_TAIL_HIGH,
    DOMAIN_TAIL_LOW,
    STEP_BITS,
    TAIL_BELOW,
    address_of,
    counter_of_step,
    exponential_f32,
    exponential_f64,
    exponential_tail_f32,
    field_tail,
    gumbel_of_exponential_f32,
    gumbel_of_exponential_f64,
)
from ..jit import by_precision, loop, row_kernel, scalar, sink
from ..philox import LOW_HALF, philox4x32_wide
from .cells import HAS_MASK, HAS_ROWS, IS_PROBS, log, note_invalid, row_types
from .scores import score

LANES = 128
GROUP = 8

# Arrays of lanes lie in one piece, so that LLVM need not ask at run time whether they overlap.
# uint64[3, LANES]: row id low and high, and the counter of the step.
ROW_LOW, ROW_HIGH, COUNTER, ADDRESSES = 0, LANES, 2 * LANES, 3 * LANES
# uint32[16, LANES]: four words of each domain.
COARSE, FINE, TAIL_LOW, TAIL_HIGH, WORDS = 0, 4 * LANES, 8 * LANES, 12 * LANES, 16 * LANES


@loop
def fill_lane_words(words, addresses, group, domain, k0, k1, lanes):
    """The four words of one domain of a group for every lane. OUT uint32[4, LANES], IN uint64[3, LANES]."""
    for r in range(lanes):
        i = uint64(r)
        low, high = addresses[uint64(ROW_LOW) + i], addresses[uint64(ROW_HIGH) + i]
        counter = addresses[uint64(COUNTER) + i] | uint64(domain)
        w0, w1, w2, w3 = philox4x32_wide(uint64(group), low, high, counter, k0, k1)
        words[i] = uint32(w0)
        words[uint64(LANES) + i] = uint32(w1)
        words[uint64(2 * LANES) + i] = uint32(w2)
        words[uint64(3 * LANES) + i] = uint32(w3)


@scalar
def lane_b32(coarse, fine, shift):
    """b32 of a column from its words and the place of its half-word."""
    return uint32(uint32(uint32(coarse >> shift) << uint32(16)) | uint32(uint32(fine >> shift) & uint32(0xFFFF)))


@loop
def _lane_noise_f32(g, words, h, lanes):
    """G of column h of the group, without tails; whether one is missing. OUT real[LANES], IN uint32[16, LANES]."""
    coarse, fine = words[COARSE + (h >> 1) * LANES :], words[FINE + (h >> 1) * LANES :]
    shift = uint32(16 * (h & 1))
    least = uint32(0xFFFFFFFF)
    for r in range(lanes):
        b32 = lane_b32(coarse[r], fine[r], shift)
        least = b32 if b32 < least else least
        g[r] = exponential_f32(b32)
    for r in range(lanes):  # apart, since both polynomials in one loop take more registers than there are
        g[r] = gumbel_of_exponential_f32(g[r])
    return least < TAIL_BELOW


@loop
def _lane_noise_f64(g, words, h, lanes):
    """G of column h of the group; none is missing. OUT real[LANES], IN uint32[16, LANES]."""
    coarse, fine = words[COARSE + (h >> 1) * LANES :], words[FINE + (h >> 1) * LANES :]
    tails = words[TAIL_LOW + h * LANES :]
    shift = uint32(16 * (h & 1))
    for r in range(lanes):
        whole = (uint64(lane_b32(coarse[r], fine[r], shift)) << uint64(32)) | uint64(tails[r])
        g[r] = exponential_f64(whole)
    for r in range(lanes):
        g[r] = gumbel_of_exponential_f64(g[r])
    return False


@loop
def _lane_tails_f32(g, words, addresses, k0, k1, group, h, lanes):
    """Replace G by its value with all 64 bits where b32 < 256."""
    coarse, fine = words[COARSE + (h >> 1) * LANES :], words[FINE + (h >> 1) * LANES :]
    for r in range(lanes):
        b32 = lane_b32(coarse[r], fine[r], uint32(16 * (h & 1)))
        if b32 < TAIL_BELOW:
            low, high = uint32(addresses[ROW_LOW + r]), uint32(addresses[ROW_HIGH + r])
            tail = field_tail(k0, k1, uint32(addresses[COUNTER + r]), low, high, int64(GROUP * group + h))
            g[r] = gumbel_of_exponential_f32(exponential_tail_f32(b32, tail))


@loop
def _lane_tails_f64(g, words, addresses, k0, k1, group, h, lanes):
    """The float64 field has used its tails already."""


@loop
def _lane_words_f32(g, words, addresses, group, k0, k1, lanes):
    """Coarse and fine words of a group; `g` tells the precision. OUT uint32[16, LANES], IN uint64[3, LANES]."""
    fill_lane_words(words[COARSE:], addresses, group, DOMAIN_COARSE, k0, k1, lanes)
    fill_lane_words(words[FINE:], addresses, group, DOMAIN_FINE, k0, k1, lanes)


@loop
def _lane_words_f64(g, words, addresses, group, k0, k1, lanes):
    """Coarse, fine and tail words of a group; `g` tells the precision. OUT uint32[16, LANES], IN uint64[3, LANES]."""
    fill_lane_words(words[COARSE:], addresses, group, DOMAIN_COARSE, k0, k1, lanes)
    fill_lane_words(words[FINE:], addresses, group, DOMAIN_FINE, k0, k1, lanes)
    fill_lane_words(words[TAIL_LOW:], addresses, group, DOMAIN_TAIL_LOW, k0, k1, lanes)
    fill_lane_words(words[TAIL_HIGH:], addresses, group, DOMAIN_TAIL_HIGH, k0, k1, lanes)


_lane_words = by_precision(_lane_words_f32, _lane_words_f64)
_lane_noise = by_precision(_lane_noise_f32, _lane_noise_f64)
_lane_tails = by_precision(_lane_tails_f32, _lane_tails_f64)


@loop
def compare_lanes(x, noise, inverse, best, at, column, lanes):
    """Best score and its column, for every lane; a NaN logit makes the best NaN for good.

    IN real[LANES] three times (logits, G, 1 / T), INOUT real[LANES], int32[LANES]. Five arrays are as many as LLVM will compare
    for overlap before it gives up on vectors.
    """
    for r in range(lanes):
        s = score(x[r], inverse[r], noise[r])
        wins = (s > best[r]) | (x[r] != x[r])
        best[r] = s if wins else best[r]
        at[r] = int32(column) if wins else at[r]


@loop
def load_lanes(x, cells, mask, flags, first, n, begin, lanes):
    """Logits of up to eight columns, turned from rows to lanes, -inf where masked; lanes without a row hold anything."""
    count, columns = cells.shape[1], cells.shape[2]
    width = min(GROUP, columns - begin)
    outer = first // count
    inner = first - outer * count
    for r in range(n):
        row = cells[outer, inner, begin : begin + width]
        for h in range(width):
            x[h, r] = row[h]
        inner += 1
        if inner == count:
            outer, inner = outer + 1, 0
    if flags & IS_PROBS:
        for h in range(width):
            column = x[h]
            for r in range(lanes):
                column[r] = log(column[r])
    if flags & HAS_MASK:
        outer = first // count
        inner = first - outer * count
        for r in range(n):
            for h in range(width):
                if mask[outer, inner, begin + h] == 0:
                    x[h, r] = x.dtype.type(-INF_F64)
            inner += 1
            if inner == count:
                outer, inner = outer + 1, 0


@row_kernel(lambda real: types.void(*row_types(real), types.int64, types.int64, sink(types.int64, 2), sink(types.int64, 1)))
def argmax_short_rows(k0, k1, step, rows, cols, cells, mask, flags, temperature, first, last, index, invalid):
    """index = argmax(logits / T + G) over rows first .. last, for short rows whose column ids are positions.

    A block of lanes ends where the steps' part above 2^30 changes, since it is folded into the key.

    Parameters
    ----------
    As in `argmax_rows`; `cols` is not looked at.
    """
    real = cells.dtype.type
    count, columns = cells.shape[1], cells.shape[2]
    x = np.zeros((GROUP, LANES), cells.dtype)
    noise, inverse, best = np.zeros(LANES, cells.dtype), np.ones(LANES, cells.dtype), np.empty(LANES, cells.dtype)
    greedy = np.empty(LANES, np.bool_)
    at = np.empty(LANES, np.int32)
    addresses = np.zeros(ADDRESSES, np.uint64)
    words = np.empty(WORDS, np.uint32)
    start = first
    while start < last:
        outer = start // count
        inner = start - outer * count
        high = step[outer, inner] >> STEP_BITS
        a, b, _c3, _r0, _r1 = address_of(k0, k1, step[outer, inner], 0)
        n, some_greedy = 0, False
        while n < LANES and start + n < last and step[outer, inner] >> STEP_BITS == high:
            row = rows[outer, inner] if flags & HAS_ROWS else start + n
            addresses[ROW_LOW + n] = uint64(row) & LOW_HALF
            addresses[ROW_HIGH + n] = uint64(row) >> uint64(32)
            addresses[COUNTER + n] = counter_of_step(step[outer, inner], DOMAIN_COARSE)
            t = temperature[outer, inner]
            inverse[n] = real(1.0) if t == 0.0 else real(1.0 / t)
            greedy[n] = t == 0.0
            some_greedy |= t == 0.0
            n += 1
            inner += 1
            if inner == count:
                outer, inner = outer + 1, 0
        lanes = (n + 15) & ~15  # whole vectors
        for r in range(lanes):
            best[r] = real(-INF_F64)
            at[r] = -1
        for group in range((columns + GROUP - 1) // GROUP):
            begin = group * GROUP
            _lane_words(noise, words, addresses, group, a, b, lanes)
            load_lanes(x, cells, mask, flags, start, n, begin, lanes)
            for h in range(min(GROUP, columns - begin)):
                if _lane_noise(noise, words, h, lanes):
                    _lane_tails(noise, words, addresses, a, b, group, h, n)
                if some_greedy:  # at temperature 0 there is no noise
                    for r in range(n):
                        noise[r] = real(0.0) if greedy[r] else noise[r]
                compare_lanes(x[h], noise, inverse, best, at, begin + h, lanes)
        outer = start // count
        inner = start - outer * count
        for r in range(n):
            chosen = int64(at[r])
            if chosen < 0 or best[r] != best[r]:
                chosen = -1
                note_invalid(invalid, start + r)
            index[outer, inner] = chosen
            inner += 1
            if inner == count:
                outer, inner = outer + 1, 0
        start += n
