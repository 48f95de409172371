"""Categorical samples of rows of different lengths that lie one behind the other: row r is values[offsets[r]:offsets[r + 1]].

As in `argmax`, an upper bound decides. Rows that share a warp go on together for as long as the longest of them lasts: those
that have ended make bounds that no score reaches. A block has a row to itself where rows are long.
"""

from numba import types
from numpy import int32, int64

from ..cpu.bound import below_range, exact_score
from ..cpu.cells import HAS_COLS, NARROW
from ..elementary import INF_F64
from ..field import DOMAIN_COARSE
from .argmax import UNORDERED, any_unordered, best_of_parts, copy_bounds, fill_bounds, likeliest
from .cells import (
    PACKED,
    column_id,
    in_range,
    load_logits,
    logit_at,
    note_invalid,
    row_address,
    temperature_of,
    words_of_columns,
)
from .jit import ALL, THREADS, WARP, WARPS, device, real_of, row_kernel
from .loading import cuda
from .memory import GROUP
from .philox import round_keys
from .warps import any_of_lanes, best_of_lanes


@device
def most_of_warp(number):
    """The largest int64 of all lanes of a warp."""
    step = WARP >> 1
    while step > 0:
        number = max(number, cuda.shfl_xor_sync(ALL, number, step))
        step >>= 1
    return number


@device
def best_of_stretch(x, b, address, cols, cells, mask, flags, temperature, low, high, thread, threads, lanes):
    """(best score, its position in the row or -1, whether an allowed cell is NaN or the temperature none) of one row.

    Parameters
    ----------
    x, b : scratch real[8], the thread's own
    address : tuple
        From `row_address`.
    cols, cells, mask, flags
        As in `argmax_ragged`.
    temperature : float64
        Of this row.
    low, high : int64
        Where the row starts and ends.
    thread, threads : int64
        Which of the threads that share it.
    lanes : int64
        Lanes that share a best: those of a row within a warp.
    """
    real = real_of(cells)
    keys = round_keys(address[0], address[1])
    greedy = temperature == 0.0
    inverse = real(1.0) if greedy else real(1.0 / temperature)
    best, index, unordered = real(-INF_F64), int64(-1), not in_range(temperature)
    reach = best  # as in `best_of_columns`
    stride = GROUP * threads
    turns = most_of_warp(int64((high - low + stride - 1) // stride))
    given = flags if low & (GROUP - 1) == 0 else flags & ~PACKED  # pieces of 16 bytes run from multiples of eight
    # What ids are read by: a place among all values where there is one for each, a place in the row where they run on.
    shift = low if flags & HAS_COLS else int64(0)
    start = low + GROUP * thread
    for _ in range(turns):
        load_logits(x, cells, mask, given, 0, 0, start, high)
        if greedy:
            top = copy_bounds(b, x)
        else:
            at = start - low + shift
            w0, w1, w2, w3 = words_of_columns(DOMAIN_COARSE, keys, address, cols, flags, 0, 0, at, high - low + shift)
            top = fill_bounds(b, x, inverse, w0, w1, w2, w3)
        unordered = any_unordered(x, unordered)
        if cuda.any_sync(ALL, top >= reach):
            done = 0
            h = likeliest(x, b, reach, done)
            while cuda.any_sync(ALL, h >= 0):
                s, j = real(-INF_F64), int64(-1)
                if h >= 0:
                    done |= 1 << h
                    j = int64(start - low + h)
                    s = logit_at(cells, mask, flags, 0, 0, start + h)
                    if greedy:
                        s = s + real(0.0)
                    else:
                        s = exact_score(s, inverse, address, int64(column_id(cols, flags, 0, 0, j + shift)))
                s, j = best_of_lanes(s, j, lanes)
                if s > best or (s == best and j >= 0 and (index < 0 or j < index)):
                    best, index = s, j
                    reach = real(-INF_F64) if below_range(best) else best
                h = likeliest(x, b, reach, done)
        start += stride
    return best, index, any_of_lanes(unordered, lanes)


@row_kernel
def argmax_ragged(
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
    offsets,
    first,
    last,
    threads,
    index,
    narrow,
    invalid,
):
    """index = argmax(logits / T + G) over rows first .. last, each one a stretch of one vector: `threads` threads a row.

    Launched with so many threads for each row, in whole warps; in blocks of `THREADS` where those share a row.

    Parameters
    ----------
    k0, k1, step, flags, temperature
        As in `argmax_rows`. `PACKED` tells of the vector.
    steps, rows : IN int64[1, rows]
    temperatures : IN float64[1, rows]
        As in `argmax_rows`.
    cells : IN cell[1, 1, N]
    mask : IN uint8[1, 1, N]
    cols : IN int64[1, 1, N]
        As in `argmax_rows`, one a value; ids that are positions in the row are given as 0 alone.
    offsets : IN int64[rows + 1]
        Where each row starts, and the last ends. Nobody has looked at them: a row that ends before it starts, or leaves the
        values, is invalid, as an empty one is.
    first, last : int64
        Rows to do.
    threads : int64
        1, 2, 4, 8, 16, 32 or `THREADS`.
    index, narrow : OUT int64[1, rows], int32[1, rows]
        As in `argmax_rows`.
    invalid : INOUT int64[1 + n]
        Count and some positions of invalid rows, which empty ones are.
    """
    real = real_of(cells)
    x, b = cuda.local.array(GROUP, real), cuda.local.array(GROUP, real)
    found = cuda.shared.array(WARPS, real)
    places = cuda.shared.array(WARPS, types.int64)
    number = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    place = first + number // threads
    row = min(place, last - 1)  # lanes without a row go along with the last one
    address = row_address(k0, k1, step, steps, rows, flags, 0, row, row)
    t = temperature_of(temperature, temperatures, flags, 0, row)
    thread = number & (threads - 1)
    low, high = offsets[row], offsets[row + 1]
    if low < 0 or high < low or high > cells.shape[2]:
        low, high = int64(0), int64(0)
    best, at, unordered = best_of_stretch(
        x, b, address, cols, cells, mask, flags, t, low, high, thread, threads, min(threads, WARP)
    )
    at = int64(UNORDERED) if unordered else at
    if threads == THREADS:
        if thread & (WARP - 1) == 0:
            found[thread // WARP], places[thread // WARP] = best, at
        cuda.syncthreads()
        best, at = best_of_parts(found, places, WARPS)
    if thread == 0 and place < last:
        at = max(at, int64(-1))
        if at < 0:
            note_invalid(invalid, row)
        if flags & NARROW:
            narrow[0, row] = int32(at)
        else:
            index[0, row] = at
