"""Categorical samples of short rows with column ids of their own, one row a lane as in `lanes`.

Where each cell has an id, a Philox call serves one category: 1.6 ns of the 2.5 that a cell takes. Where each column has one,
the id is the same in all lanes, and successive columns share the call as far as their ids share a group of eight.
"""

from numpy import int64, uint16, uint32, uint64

from ..field import key_of_step
from ..jit import loop, real_of, reinterpret, row_kernel, stack_array
from .argmax import argmax_of_row
from .bits import HALVES, half_of, philox4x32_pairs
from .bound import PIECES
from .cells import HAS_TEMPERATURES, TILE, note_invalid, step_of, temperature_of
from .lanes import (
    ADDRESSES,
    AT_COUNTER,
    AT_ROW_HIGH,
    AT_ROW_LOW,
    GROUP,
    INTEGERS,
    LANES,
    LOGITS,
    REALS,
    WORDS,
    compare_lanes,
    decide_lanes,
    few,
    fill_lane_words,
    load_lanes,
    next_open,
    short_row_types,
    start_lanes,
    steps_alike,
    store_chosen,
)
from .noise import row_address
from .turning import turn_rows

IDS = GROUP * LANES


@loop
def fill_halves_of_ids(halves, addresses, left, right, k0, k1, lanes):
    """Coarse half-words of two columns, the left one low, an id a lane.

    OUT uint32[LANES]; IN uint64[3, LANES], int64[LANES] twice.
    """
    for r in range(lanes):
        i = uint64(r)
        low, high, counter = addresses[AT_ROW_LOW + i], addresses[AT_ROW_HIGH + i], addresses[AT_COUNTER + i]
        a, b = uint64(left[r]), uint64(right[r])
        first, second = philox4x32_pairs(a >> uint64(3), low, high, counter, k0, k1)
        here = half_of(second if a & uint64(4) else first, a)
        first, second = philox4x32_pairs(b >> uint64(3), low, high, counter, k0, k1)
        there = half_of(second if b & uint64(4) else first, b)
        halves[r] = uint32(here | uint32(there << uint32(16)))


@loop
def take_halves(halves, words, id, place, lanes):
    """The half-word of one id from the word that holds it, to the low half (place 0) or the high one (16) of every lane.

    INOUT uint32[LANES]: place 0 clears the other half; IN uint32[LANES].
    """
    shift, keep = uint32((id & 1) << 4), uint32(0xFFFF if place else 0)
    for r in range(lanes):
        half = uint32(uint32(words[r] >> shift) & uint32(0xFFFF))
        halves[r] = uint32(uint32(halves[r] & keep) | uint32(half << uint32(place)))


@row_kernel(short_row_types)
def argmax_short_rows_of_ids(
    k0, k1, step, steps, rows, cols, cells, mask, flags, temperature, temperatures, first, last, index, narrow, invalid
):
    """index = argmax(logits / T + G) over rows first .. last, for short rows under `HAS_COLS`.

    As `argmax_short_rows`; rows left open are computed by bound.

    Parameters
    ----------
    As in `argmax_rows`.
    """
    count, columns = cells.shape[1], cells.shape[2]
    real = real_of(cells)
    reals, integers = stack_array(REALS, real), stack_array(INTEGERS, uint32)
    addresses, chosen = stack_array(ADDRESSES, uint64), stack_array(LANES, int64)
    ids, halves = stack_array(IDS, int64), stack_array(LANES, uint32)
    buffer, bound, tops = stack_array(TILE, real), stack_array(TILE, real), stack_array(PIECES, real)
    pairs = stack_array(HALVES, uint64)
    coarse = reinterpret(pairs, uint16)
    alike = (cols.strides[0] == 0) & (cols.strides[1] == 0)  # the ids of all rows
    bad, start = 0, first
    while start < last:
        n = steps_alike(step, steps, flags, start, min(LANES, last - start), count)
        outer = start // count
        inner = start - outer * count
        undecided = n
        if n < few(columns) or (temperature == 0.0 and flags & HAS_TEMPERATURES == 0):
            for r in range(n):
                chosen[r] = -1
        else:
            lanes = (n + 15) & ~15  # whole vectors
            start_lanes(reals, addresses, step, steps, rows, flags, temperature, temperatures, start, n, lanes, count)
            a, b = key_of_step(k0, k1, step_of(step, steps, flags, outer, inner))
            group = int64(-1)
            for begin in range(0, columns, GROUP):
                width = min(GROUP, columns - begin)
                if not alike:
                    turn_rows(ids, 0, LANES, cols, start, n, begin, width)
                load_lanes(reals, chosen, cells, mask, flags, start, n, begin, width, lanes)
                for h in range(0, width, 2):
                    if alike:
                        for side in range(min(2, width - h)):
                            id = cols[0, 0, begin + h + side]
                            if id >> 3 != group:
                                group = id >> 3
                                fill_lane_words(integers, addresses, group, a, b, lanes)
                            words = integers[WORDS + ((id & 7) >> 1) * LANES :]
                            take_halves(halves, words, id, side << 4, lanes)
                    else:
                        fill_halves_of_ids(halves, addresses, ids[h * LANES :], ids[(h + 1) * LANES :], a, b, lanes)
                    left, right = reals[LOGITS + h * LANES :], reals[LOGITS + (h + 1) * LANES :]
                    compare_lanes(reals, integers, left, right, halves, uint32(begin + h), lanes)
            undecided = decide_lanes(reals, integers, chosen, lanes)
        if undecided > 0:
            r = next_open(chosen, 0, n)
            while r < n:
                outer = (start + r) // count
                inner = start + r - outer * count
                address = row_address(k0, k1, step, steps, rows, flags, outer, inner, start + r)
                t = temperature_of(temperature, temperatures, flags, outer, inner)
                _, chosen[r], _ = argmax_of_row(
                    cells, bound, tops, buffer, pairs, coarse, address, t, cols, mask, flags, outer, inner, 0, columns
                )
                if chosen[r] < 0:
                    bad += note_invalid(invalid, start + r)
                r = next_open(chosen, r + 1, n)
        store_chosen(index, narrow, chosen, flags, start, n)
        start += n
    return bad
