"""Categorical samples by Gumbel-max: the index of the largest logit / T + G of each row.

As on the CPU, an upper bound decides and few scores are computed. A warp looks at 256 columns at a time; where a bound reaches
the best score that its lanes know of, the lane's most likely column is evaluated, and the best goes round, until no bound
reaches it. A long row is met some ln(n) times in n turns.
"""

from numba import types
from numpy import int32, int64, uint32

from ..cpu.bound import below_range, exact_score, score_bound
from ..cpu.cells import DETERMINISTIC, HAS_MASK, IS_PROBS, NARROW, WANT_SCORE
from ..elementary import INF_F64, NAN_F64
from ..field import DOMAIN_COARSE
from .cells import (
    ALIGNED_IDS,
    PACKED,
    column_id,
    half_word,
    in_range,
    load_part,
    logit_at,
    note_invalid,
    row_address,
    temperature_of,
    words_of_columns,
)
from .jit import ALL, THREADS, WARP, WARPS, device, real_of, row_kernel
from .loading import cuda
from .memory import GROUP, load_eight
from .philox import next_group, round_keys, words_of_keys
from .warps import any_of_lanes, best_of_lanes

# An index of a part of a row in which a NaN was met.
UNORDERED = -2


@device
def fill_bounds(b, x, inverse, w0, w1, w2, w3):
    """Bounds of eight scores from their coarse half-words; the largest, undefined with a NaN. OUT real[8], IN real[8]."""
    top = x.dtype.type(-INF_F64)
    for h in range(GROUP):
        b[h] = score_bound(x[h], inverse, half_word(h, w0, w1, w2, w3))
        top = max(top, b[h])
    return top


@device
def copy_bounds(b, x):
    """Without noise a bound is the logit itself; as `fill_bounds`."""
    top = x.dtype.type(-INF_F64)
    for h in range(GROUP):
        b[h] = x[h]
        top = max(top, b[h])
    return top


@device
def any_unordered(x, unordered):
    """Whether there was a NaN before, or is one among eight logits."""
    for h in range(GROUP):
        unordered |= x[h] != x[h]
    return unordered


@device
def likeliest(x, b, reach, done):
    """Of eight columns, the one with the largest bound that reaches so far and is not done, or -1. IN real[8] twice, bits."""
    at, top = -1, x.dtype.type(-INF_F64)
    for h in range(GROUP):
        wanted = b[h] >= reach and x[h] > x.dtype.type(-INF_F64) and (done >> h) & 1 == 0
        if wanted and (at < 0 or b[h] > top):
            at, top = h, b[h]
    return at


@device
def best_of_columns(x, b, address, cols, cells, mask, flags, temperature, outer, inner, begin, end, thread, threads, lanes):
    """(best score, its index or -1, whether an allowed cell is NaN or the temperature none) of columns begin .. end of a row.

    Parameters
    ----------
    x, b : scratch real[8], the thread's own
    address : tuple
        From `row_address`.
    cols, cells, mask, flags
        As in `argmax_rows`.
    temperature : float64
        Of this row.
    outer, inner : int64
        The row.
    begin, end : int64
        Columns to look at.
    thread, threads : int64
        Which of the threads that share them.
    lanes : int64
        Lanes that share a best: those of a row within a warp. All lanes of a warp call this with equally many columns.
    """
    real = real_of(cells)
    keys = round_keys(address[0], address[1])
    greedy = temperature == 0.0 or flags & DETERMINISTIC != 0
    inverse = real(1.0) if greedy else real(1.0 / temperature)
    best, index, unordered = real(-INF_F64), int64(-1), not in_range(temperature)
    reach = best  # where a bound reaches this, the best may be there: all bounds, as long as clamped scores may hide below them
    stride = GROUP * threads
    low = begin & ~(GROUP - 1)
    turns, whole = (end - low + stride - 1) // stride, (end - low) // stride
    start, turn, found = low + GROUP * thread, 0, False
    given = flags & (PACKED | ALIGNED_IDS | HAS_MASK | IS_PROBS)
    plain = cuda.all_sync(ALL, given == PACKED | ALIGNED_IDS and not greedy and low == begin)
    while turn < turns:
        if plain:
            group = uint32((cols[0, 0, 0] + start) >> 3)
            while turn < whole and not found:
                load_eight(x, cells, outer, inner, start)
                w0, w1, w2, w3 = words_of_keys(group, address[3], address[4], address[2], keys)
                top = fill_bounds(b, x, inverse, w0, w1, w2, w3)
                unordered = any_unordered(x, unordered)
                found = cuda.any_sync(ALL, top >= reach)
                start, turn, group = start + stride, turn + 1, next_group(group, threads)
        if turn < turns and not found:
            load_part(x, cells, mask, flags, outer, inner, start, begin, end)
            if greedy:
                top = copy_bounds(b, x)
            else:
                w0, w1, w2, w3 = words_of_columns(DOMAIN_COARSE, keys, address, cols, flags, outer, inner, start, end)
                top = fill_bounds(b, x, inverse, w0, w1, w2, w3)
            unordered = any_unordered(x, unordered)
            found = cuda.any_sync(ALL, top >= reach)
            start, turn = start + stride, turn + 1
        if found:
            done = 0
            at = likeliest(x, b, reach, done)
            while cuda.any_sync(ALL, at >= 0):
                s, j = real(-INF_F64), int64(-1)
                if at >= 0:
                    done |= 1 << at
                    j = int64(start - stride + at)
                    s = logit_at(cells, mask, flags, outer, inner, j)
                    if greedy:
                        s = s + real(0.0)
                    else:
                        s = exact_score(s, inverse, address, int64(column_id(cols, flags, outer, inner, j)))
                s, j = best_of_lanes(s, j, lanes)
                if s > best or (s == best and j >= 0 and (index < 0 or j < index)):
                    best, index = s, j
                    reach = real(-INF_F64) if below_range(best) else best
                at = likeliest(x, b, reach, done)
            found = False
    return best, index, any_of_lanes(unordered, lanes)


@device
def tell_index(index, narrow, score, invalid, flags, outer, inner, position, best, at, unordered):
    """Write what a row has come to."""
    real = real_of(score)
    at = int64(-1) if unordered else at
    if at < 0:
        note_invalid(invalid, position)
    if flags & NARROW:
        narrow[outer, inner] = int32(at)
    else:
        index[outer, inner] = at
    if flags & WANT_SCORE:
        score[outer, inner] = real(NAN_F64) if unordered else best


@row_kernel
def argmax_rows(
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
    lanes,
    index,
    narrow,
    score,
    invalid,
):
    """index = argmax(logits / T + G) over rows first .. last, for short rows: `lanes` threads a row.

    Launched with a thread for each lane of each row, in whole warps.

    Parameters
    ----------
    k0, k1 : uint32
        Key words.
    step : int64
        Draw counter.
    steps : IN int64[outer, inner]
        Under `HAS_STEPS`, what is to be added to it for each row.
    rows : IN int64[outer, inner]
        Row ids under `HAS_ROWS`; otherwise its first element is the id of the first row, and the others follow.
    cols : IN int64[outer, inner, K]
        Column ids under `HAS_COLS`; otherwise its first element is the id of the first column, and the others follow.
    cells : IN cell[outer, inner, K]
        Logits, or probabilities under `IS_PROBS`.
    mask : IN uint8[outer, inner, K]
        Nonzero where allowed, under `HAS_MASK`.
    flags : int64
        What is given.
    temperature : float64
        0 or within [2^-64, 2^64].
    temperatures : IN float64[outer, inner]
        That of each row, under `HAS_TEMPERATURES`.
    first, last : int64
        Rows to do, as positions in C order of (outer, inner).
    lanes : int64
        1, 2, 4, 8, 16 or 32.
    index, narrow : OUT int64[outer, inner], int32[outer, inner]
        Position along the row, or -1: in one of them, `narrow` under `NARROW`.
    score : OUT real[outer, inner]
        The largest score, under `WANT_SCORE`: NaN where a NaN was met, -inf where nothing is allowed.
    invalid : INOUT int64[1 + n]
        Count and some positions of invalid rows.
    """
    real = real_of(cells)
    x, b = cuda.local.array(GROUP, real), cuda.local.array(GROUP, real)
    thread = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    place = first + thread // lanes
    position = min(place, last - 1)  # lanes without a row go along with the last one
    count = cells.shape[1]
    outer = position // count
    inner = position - outer * count
    address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
    t = temperature_of(temperature, temperatures, flags, outer, inner)
    lane = thread & (lanes - 1)
    best, at, unordered = best_of_columns(
        x, b, address, cols, cells, mask, flags, t, outer, inner, 0, cells.shape[2], lane, lanes, lanes
    )
    if lane == 0 and place < last:
        tell_index(index, narrow, score, invalid, flags, outer, inner, position, best, at, unordered)


@row_kernel
def argmax_parts(
    k0, k1, step, steps, rows, cols, cells, mask, flags, temperature, temperatures, first, last, parts, indices, scores
):
    """The best of each part of long rows: a block a part, of which every warp keeps a best of its own until the end.

    Launched with a block of `THREADS` for each part of each row, parts of a row side by side.

    Parameters
    ----------
    k0, k1, step, steps, rows, cols, cells, mask, flags, temperature, temperatures, first, last
        As in `argmax_rows`.
    parts : int64
        Parts of a row: of whole turns of a block, as equal as that allows.
    indices : OUT int64[rows, parts]
        Position of the largest score of each part; -1 where nothing is allowed, `UNORDERED` where a NaN was met.
    scores : OUT real[rows, parts]
    """
    real = real_of(cells)
    x, b = cuda.local.array(GROUP, real), cuda.local.array(GROUP, real)
    found = cuda.shared.array(WARPS, real)
    places = cuda.shared.array(WARPS, types.int64)  # (the simulator tells shared arrays by their lines)
    place = int64(cuda.blockIdx.x) // parts
    part = int64(cuda.blockIdx.x) - place * parts
    position = first + place
    count, columns = cells.shape[1], cells.shape[2]
    outer = position // count
    inner = position - outer * count
    address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
    t = temperature_of(temperature, temperatures, flags, outer, inner)
    turns = (columns + GROUP * THREADS - 1) // (GROUP * THREADS)
    each = (turns + parts - 1) // parts * (GROUP * THREADS)
    begin = min(part * each, columns)
    end = min(begin + each, columns)
    thread = cuda.threadIdx.x
    best, at, unordered = best_of_columns(
        x, b, address, cols, cells, mask, flags, t, outer, inner, begin, end, int64(thread), THREADS, WARP
    )
    if thread & (WARP - 1) == 0:
        found[thread // WARP], places[thread // WARP] = best, UNORDERED if unordered else at
    cuda.syncthreads()
    if thread == 0:
        best, at = best_of_parts(found, places, WARPS)
        indices[place, part], scores[place, part] = at, best


@device
def best_of_parts(scores, indices, number):
    """(best score, its index) of several parts, the lowest index of equal ones; `UNORDERED` where one of them is.

    IN real[number], int64[number].
    """
    real = real_of(scores)
    best, at = real(-INF_F64), int64(-1)
    for part in range(number):
        s, j = scores[part], indices[part]
        if j == UNORDERED or at == UNORDERED:
            at = int64(UNORDERED)
        elif j >= 0 and (at < 0 or s > best or (s == best and j < at)):
            best, at = s, j
    return best, at


@row_kernel
def argmax_join(scores, indices, flags, count, first, last, index, narrow, score, invalid):
    """The best of all parts of rows first .. last: a thread a row.

    Parameters
    ----------
    scores, indices : IN real[rows, parts], int64[rows, parts]
        From `argmax_parts`.
    flags : int64
        `NARROW`, `WANT_SCORE`.
    count : int64
        Rows of an outer one.
    first, last : int64
        Rows to do.
    index, narrow, score, invalid
        As in `argmax_rows`.
    """
    place = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    position = first + place
    if position < last:
        outer = position // count
        inner = position - outer * count
        best, at = best_of_parts(scores[place], indices[place], scores.shape[1])
        unordered = at == UNORDERED
        tell_index(index, narrow, score, invalid, flags, outer, inner, position, best, at, unordered)
