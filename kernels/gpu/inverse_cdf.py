"""Categorical samples by the inverse CDF, one uniform a row, in integers.

Sums of weights that are whole numbers are the same in any order, so that lanes, warps and the CPU choose the same index. Each
warp of a row has a stretch of it: its largest logit, then its sum of weights; then the one warp in whose stretch the cumulative
weight exceeds u * total looks for the place, lanes side by side, with prefix sums.
"""

from numba import types
from numpy import float64, int32, int64, uint64

from ..cpu.cells import NARROW
from ..elementary import INF_F64, exp_f64, mulhi64
from ..field import uniform_bits_at
from ..jit import scalar
from .argmax import UNORDERED, any_unordered, best_of_parts
from .cells import HAS_ROWS, HAS_STEPS, in_range, load_logits, note_invalid, temperature_of
from .jit import ALL, THREADS, WARP, WARPS, device, real_of, row_kernel
from .loading import cuda
from .memory import GROUP
from .warps import any_of_lanes, best_of_lanes, sum_of_lanes


@scalar
def weight_of(logit, largest, inverse, scale):
    """floor(exp((logit - largest) / T) scale), 0 where the logit is -inf, as int64. IN real, float64 three times."""
    return int64(exp_f64((float64(logit) - largest) * inverse) * scale)


@device
def weight_scale(columns):
    """2^(62 - ceil(log2 K)) as float64."""
    bits = 0
    while int64(1) << bits < columns:
        bits += 1
    return float64(int64(1) << (62 - bits))


@device
def stretch_of_warp(columns, warp, warps):
    """(begin, end) of the columns of one of the warps of a row: whole turns of a warp, as equal as that allows."""
    turns = (columns + GROUP * WARP - 1) // (GROUP * WARP)
    each = (turns + warps - 1) // warps * (GROUP * WARP)
    begin = min(warp * each, columns)
    return begin, min(begin + each, columns)


@device
def largest_of_lanes(x, cells, mask, flags, outer, inner, begin, end, lane, lanes):
    """(largest logit, its first column, -1 where none is allowed, `UNORDERED` with a NaN) of columns begin .. end of a row.

    Scratch real[8], the thread's own; the rest as in `best_of_columns`.
    """
    real = real_of(cells)
    largest, at, unordered = real(-INF_F64), int64(-1), False
    start = begin + GROUP * lane
    while start < end:
        load_logits(x, cells, mask, flags, outer, inner, start, end)
        unordered = any_unordered(x, unordered)
        for h in range(GROUP):
            if x[h] > largest:
                largest, at = x[h], int64(start + h)
        start += GROUP * lanes
    largest, at = best_of_lanes(largest, at, lanes)
    return largest, int64(UNORDERED) if any_of_lanes(unordered, lanes) else at


@device
def largest_of_warps(largest, at, found, places, warp):
    """The largest of all warps of a block from that of each, and its first column; the same in every thread.

    Scratch real[WARPS], int64[WARPS], shared. All threads of the block call this.
    """
    if cuda.threadIdx.x & (WARP - 1) == 0:
        found[warp], places[warp] = largest, at
    cuda.syncthreads()
    return best_of_parts(found, places, WARPS)


@device
def sum_below(number, lane, lanes):
    """Sum of an int64 over the lanes before this one, of each `lanes` lanes."""
    total, step = number, 1
    while step < lanes:
        before = cuda.shfl_up_sync(ALL, total, step)
        total += before if lane >= step else int64(0)
        step <<= 1
    return total - number


@device
def sum_of_weights(x, cells, mask, flags, outer, inner, begin, end, largest, inverse, scale, lane, lanes):
    """Sum of the weights of the columns of one lane, as int64. Arguments as of `largest_of_lanes` and `weight_of`."""
    total = int64(0)
    start = begin + GROUP * lane
    while start < end:
        load_logits(x, cells, mask, flags, outer, inner, start, end)
        for h in range(GROUP):
            total += weight_of(x[h], largest, inverse, scale)
        start += GROUP * lanes
    return total


@row_kernel
def inverse_cdf_rows(
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
    threads,
    index,
    narrow,
    invalid,
):
    """index = smallest i whose cumulative weight exceeds u * total, over rows first .. last: `threads` threads a row.

    Launched with so many threads for each row, in whole warps; in blocks of `THREADS` where those share a row.

    Parameters
    ----------
    k0, k1, step, steps, rows, cols, cells, mask, flags, temperature, temperatures, first, last
        As in `argmax_rows`; `cols` is not looked at, one uniform serves the whole row.
    threads : int64
        1, 2, 4, 8, 16, 32 or `THREADS`.
    index, narrow, invalid
        As in `argmax_rows`.
    """
    real = real_of(cells)
    x = cuda.local.array(GROUP, real)
    found = cuda.shared.array(WARPS, real)
    places = cuda.shared.array(WARPS, types.int64)
    weights = cuda.shared.array(WARPS, types.int64)
    number = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    place = first + number // threads
    position = min(place, last - 1)  # lanes without a row go along with the last one
    count, columns = cells.shape[1], cells.shape[2]
    outer = position // count
    inner = position - outer * count
    thread, lanes = number & (threads - 1), min(threads, WARP)
    warp, lane = thread // WARP, thread & (lanes - 1)
    begin, end = int64(0), int64(columns)
    if threads == THREADS:
        begin, end = stretch_of_warp(columns, warp, WARPS)
    largest, at = largest_of_lanes(x, cells, mask, flags, outer, inner, begin, end, lane, lanes)
    if threads == THREADS:
        largest, at = largest_of_warps(largest, at, found, places, warp)
    t = temperature_of(temperature, temperatures, flags, outer, inner)
    at = at if in_range(t) else int64(-1)
    # The index is known where nothing is to be drawn: there are no weights then.
    known = at < 0 or t == 0.0 or largest == real(INF_F64)
    inverse = 1.0 if known else 1.0 / t
    scale = weight_scale(columns)
    top = float64(largest)
    total = int64(0)
    if not known:
        total = sum_of_weights(x, cells, mask, flags, outer, inner, begin, end, top, inverse, scale, lane, lanes)
    total = sum_of_lanes(total, lanes)
    below, here = int64(0), total
    if threads == THREADS:
        if lane == 0:
            weights[warp] = total
        cuda.syncthreads()
        total = int64(0)
        for other in range(WARPS):
            below = total if other == warp else below
            total += weights[other]
    at_step = steps[outer, inner] + step if flags & HAS_STEPS else step
    row = rows[outer, inner] if flags & HAS_ROWS else rows[0, 0] + position
    target = int64(mulhi64(uniform_bits_at(k0, k1, int64(at_step), int64(row)), uint64(total)))
    if known:
        at = max(at, int64(-1))
    tells = known and thread == 0
    # Each warp looks on while the cumulative weight of a row of its own is yet to exceed the target.
    searching = not known and below <= target and target < below + here
    start = begin + GROUP * lane
    while cuda.any_sync(ALL, searching):
        own = int64(0)
        if searching:
            load_logits(x, cells, mask, flags, outer, inner, start, end)
            for h in range(GROUP):
                own += weight_of(x[h], top, inverse, scale)
        before = below + sum_below(own, lane, lanes)
        if searching and before <= target and target < before + own:
            tells = True
            at = start
            for h in range(GROUP):
                before += weight_of(x[h], top, inverse, scale)
                at += int64(before <= target)
        below += sum_of_lanes(own, lanes)
        searching = searching and below <= target
        start += GROUP * lanes
    if tells and place < last:
        if at < 0:
            note_invalid(invalid, position)
        if flags & NARROW:
            narrow[outer, inner] = int32(at)
        else:
            index[outer, inner] = at
