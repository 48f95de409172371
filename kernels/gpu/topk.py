"""Gumbel-top-k: the k largest scores of each row, a sample of k categories without replacement, in order.

A block has a row. As for argmax, an upper bound decides and few scores are computed: each thread evaluates the likeliest of its
columns, and the k+1-th of these scores is a limit below which none of the largest lies; then what may reach it by its bound is
collected, evaluated and sorted. Two passes over the row, of half the noise each.

Where too many may reach it (ties by the thousand, k beyond the threads), scores are made anew in every pass. Digit by digit
from the highest, a histogram of those whose digits so far are the limit's tells the limit's next: the k+1-th largest score
after four passes, or eight in float64. Ties at the limit go to the lowest positions, found in the same way.
"""

from numba import types
from numpy import float32, float64, int32, int64, uint32, uint64

from ..cpu.bound import below_range, exact_score
from ..cpu.cells import HAS_MASK, IS_PROBS, NARROW
from ..cpu.scores import score
from ..cpu.selection import rank_f32, rank_f64
from ..elementary import INF_F64, NAN_F64
from ..field import DOMAIN_COARSE
from ..jit import by_precision, scalar
from .argmax import any_unordered, copy_bounds, fill_bounds, likeliest
from .cells import (
    ALIGNED_IDS,
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
from .jit import THREADS, device, real_of, row_kernel
from .loading import cuda
from .memory import GROUP, load_eight
from .noise import fill_exponentials, gumbel_of_exponential
from .philox import next_group, round_keys, words_of_keys

BINS, DIGIT = 256, 8

# Positions are below 2^40: five digits.
POSITION_BITS = 40

# Columns that a block collects: some three times k + 1 are, for random scores and k up to half of the threads.
MOST = 1024


@scalar
def _key_f32(s):
    """A uint64 of 32 bits that rises with a score; both zeros are one."""
    return uint64(rank_f32(s + float32(0.0)) + int64(1 << 31))


@scalar
def _key_f64(s):
    """A uint64 that rises with a score; both zeros are one."""
    return uint64(rank_f64(s + float64(0.0))) ^ (uint64(1) << uint64(63))


@scalar
def _bits_f32(like):
    """Bits of a key."""
    return int64(32)


@scalar
def _bits_f64(like):
    """Bits of a key."""
    return int64(64)


key_of = by_precision(_key_f32, _key_f64)
bits_of_key = by_precision(_bits_f32, _bits_f64)


@device
def fill_scores(s, e, keys, address, cols, cells, mask, flags, greedy, inverse, outer, inner, start, end):
    """Scores of eight columns, -inf where excluded and behind the end; whether a logit is NaN. OUT, scratch real[8]."""
    real = real_of(cells)
    load_logits(s, cells, mask, flags, outer, inner, start, end)
    unordered = any_unordered(s, False)
    if greedy:
        for h in range(GROUP):
            s[h] = s[h] + real(0.0)
    else:
        fill_exponentials(e, keys, address, cols, flags, outer, inner, start, end)
        for h in range(GROUP):
            s[h] = score(s[h], inverse, gumbel_of_exponential(e[h]))
    return unordered


@device
def clear(bins, thread, threads):
    """All bins to 0, between two meetings of the block. OUT shared int32[BINS]."""
    cuda.syncthreads()
    place = thread
    while place < BINS:
        bins[place] = 0
        place += threads
    cuda.syncthreads()


@device
def digit_of(key, shift):
    """One digit of a key."""
    return int64((key >> uint64(shift)) & uint64(BINS - 1))


@device
def agrees(key, prefix, shift, bits):
    """Whether a key's digits above one are those of a prefix."""
    return shift + DIGIT >= bits or (key >> uint64(shift + DIGIT)) == (prefix >> uint64(shift + DIGIT))


@device
def find_digit(bins, remaining, largest):
    """(digit, how many of it are wanted): digits beyond it, from the largest or the smallest, hold less than `remaining`."""
    digit = int64(BINS - 1) if largest else int64(0)
    while bins[digit] < remaining:
        remaining -= int64(bins[digit])
        digit += int64(-1) if largest else int64(1)
    return digit, remaining


@device
def evaluated(address, cols, cells, mask, flags, greedy, inverse, outer, inner, column):
    """The score of one column."""
    real = real_of(cells)
    x = logit_at(cells, mask, flags, outer, inner, column)
    return x + real(0.0) if greedy else exact_score(x, inverse, address, int64(column_id(cols, flags, outer, inner, column)))


@device
def load_bounds(x, b, keys, address, cols, cells, mask, flags, greedy, inverse, outer, inner, start, end):
    """Logits and bounds of eight columns, -inf behind the end; the largest bound, NaN left out. OUT real[8] twice."""
    load_logits(x, cells, mask, flags, outer, inner, start, end)
    if greedy:
        return copy_bounds(b, x)
    w0, w1, w2, w3 = words_of_columns(DOMAIN_COARSE, keys, address, cols, flags, outer, inner, start, end)
    return fill_bounds(b, x, inverse, w0, w1, w2, w3)


@device
def collect(found, collected, x, b, reach, start):
    """Append those of eight columns whose bounds reach so far. OUT shared int64[MOST], INOUT int32[1], IN real[8] twice."""
    for h in range(GROUP):
        if b[h] >= reach and x[h] > x.dtype.type(-INF_F64):
            at = cuda.atomic.add(collected, 0, 1)
            if at < MOST:
                found[at] = int64(start + h)


@device
def place_of(number, numbers, count):
    """How many of the block's numbers come before a thread's own: larger ones, and equal ones of earlier threads.

    IN shared real[THREADS].
    """
    before = int32(0)
    for other in range(count):
        if numbers[other] > number or (numbers[other] == number and other < cuda.threadIdx.x):
            before = int32(before + 1)
    return before


@row_kernel
def topk_rows(
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
    index,
    narrow,
    scores,
    threshold,
    pool_scores,
    pool_indices,
    invalid,
):
    """The k largest scores of rows first .. last, largest first, and the next one.

    Launched with a block for each row, of any number of threads up to `THREADS`.

    Parameters
    ----------
    k0, k1, step, steps, rows, cols, cells, mask, flags, temperature, temperatures, first, last, invalid
        As in `argmax_rows`.
    index, narrow : OUT int64[outer, inner, k], int32[outer, inner, k]
        Positions along the row, best first; -1 where fewer than k are allowed. In one of them, as in `argmax_rows`.
    scores : OUT real[outer, inner, k]
        Their scores; -inf behind the allowed ones, NaN in an invalid row.
    threshold : OUT real[outer, inner]
        The k+1-th score; -inf where there is none, NaN in an invalid row.
    pool_scores, pool_indices : scratch real[rows, n], int64[rows, n]
        n is the power of two of k + 1 or next above.
    """
    real = real_of(cells)
    s, e = cuda.local.array(GROUP, real), cuda.local.array(GROUP, real)
    bins = cuda.shared.array(BINS, int32)
    met = cuda.shared.array(1, int32)
    collected = cuda.shared.array(1, types.int32)  # (the simulator tells shared arrays by their lines)
    found = cuda.shared.array(MOST, int64)
    scored = cuda.shared.array(MOST, real)
    tops = cuda.shared.array(THREADS, real)
    least = cuda.shared.array(1, real)
    thread, threads = int64(cuda.threadIdx.x), int64(cuda.blockDim.x)
    place = int64(cuda.blockIdx.x)
    position = first + place
    count, columns, k = cells.shape[1], cells.shape[2], scores.shape[2]
    outer = position // count
    inner = position - outer * count
    address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
    keys = round_keys(address[0], address[1])
    t = temperature_of(temperature, temperatures, flags, outer, inner)
    greedy, lost = t == 0.0, not in_range(t)
    inverse = real(1.0) if greedy else real(1.0 / t)
    bits = bits_of_key(inverse)
    if thread == 0:
        met[0], collected[0], least[0] = 0, 0, real(-INF_F64)
    cuda.syncthreads()
    # The first time round, each thread looks for the group of its likeliest column; the second time all collect.
    again = 0 if k < threads else (1 if columns <= MOST else 2)
    many = again == 2
    reach, where, unordered = real(-INF_F64), GROUP * thread, False
    stride = GROUP * threads
    given = flags & (PACKED | ALIGNED_IDS | HAS_MASK | IS_PROBS)
    plain = given == PACKED | ALIGNED_IDS and not greedy
    while again < 2:
        start = GROUP * thread
        if plain:
            group = uint32((cols[0, 0, 0] + start) >> 3)
            while start + GROUP <= columns:
                load_eight(s, cells, outer, inner, start)
                w0, w1, w2, w3 = words_of_keys(group, address[3], address[4], address[2], keys)
                top = fill_bounds(e, s, inverse, w0, w1, w2, w3)
                unordered = any_unordered(s, unordered)
                if top >= reach:
                    if again == 1:
                        collect(found, collected, s, e, reach, start)
                    else:
                        reach, where = top, start
                start, group = start + stride, next_group(group, threads)
        while start < columns:
            top = load_bounds(s, e, keys, address, cols, cells, mask, flags, greedy, inverse, outer, inner, start, columns)
            unordered = any_unordered(s, unordered)
            if top >= reach:
                if again == 1:
                    collect(found, collected, s, e, reach, start)
                else:
                    reach, where = top, start
            start += stride
        if again == 0:
            best = real(-INF_F64)
            if where < columns:
                load_bounds(s, e, keys, address, cols, cells, mask, flags, greedy, inverse, outer, inner, where, columns)
                likely = likeliest(s, e, real(-INF_F64), 0)
                if likely >= 0:
                    best = evaluated(address, cols, cells, mask, flags, greedy, inverse, outer, inner, where + likely)
            tops[thread] = best
            cuda.syncthreads()
            if place_of(best, tops, threads) == k:
                least[0] = best
            cuda.syncthreads()
            # Where scores clamped to the smallest number may be among them, bounds tell nothing.
            reach = real(-INF_F64) if below_range(least[0]) else least[0]
        again += 1
    if unordered:
        met[0] = 1
    cuda.syncthreads()
    together = int64(collected[0])
    many = many or together > MOST
    lost = lost or met[0] != 0
    wanted = int64(0)
    if not many:
        lost = lost or together == 0
        wanted = min(together, int64(k + 1))
        length = int64(1)
        while length < together:
            length <<= 1
        slot = thread
        while slot < length:
            if slot < together:
                scored[slot] = evaluated(address, cols, cells, mask, flags, greedy, inverse, outer, inner, found[slot])
            else:
                scored[slot], found[slot] = real(-INF_F64), int64(1) << int64(POSITION_BITS)
            slot += threads
        sort(scored, found, length, thread, threads)
        pool, pool_index = pool_scores[place], pool_indices[place]
        slot = thread
        while slot < wanted:
            pool[slot], pool_index[slot] = scored[slot], found[slot]
            slot += threads
        cuda.syncthreads()
    if many:
        cuda.syncthreads()
        if thread == 0:
            collected[0] = 0
        # The limit, digit by digit: `remaining` of those that agree with it so far are wanted.
        limit, remaining, allowed = uint64(0), int64(0), int64(0)
        shift = bits - DIGIT
        while shift >= 0:
            clear(bins, thread, threads)
            start = GROUP * thread
            while start < columns:
                unordered = fill_scores(
                    s, e, keys, address, cols, cells, mask, flags, greedy, inverse, outer, inner, start, columns
                )
                if unordered:
                    met[0] = 1
                for h in range(GROUP):
                    if s[h] > real(-INF_F64):
                        key = key_of(s[h])
                        if agrees(key, limit, shift, bits):
                            cuda.atomic.add(bins, digit_of(key, shift), 1)
                start += GROUP * threads
            cuda.syncthreads()
            if shift == bits - DIGIT:
                for each in range(BINS):
                    allowed += int64(bins[each])
                remaining = min(allowed, int64(k + 1))
            if remaining > 0:
                digit, remaining = find_digit(bins, remaining, True)
                limit |= uint64(digit) << uint64(shift)
            shift -= DIGIT
        lost = lost or allowed == 0
        wanted = min(allowed, int64(k + 1))
        # The last position of those at the limit that is wanted.
        furthest, shift = uint64(0), int64(POSITION_BITS - DIGIT)
        while shift >= 0 and not lost:
            clear(bins, thread, threads)
            start = GROUP * thread
            while start < columns:
                fill_scores(s, e, keys, address, cols, cells, mask, flags, greedy, inverse, outer, inner, start, columns)
                for h in range(GROUP):
                    if s[h] > real(-INF_F64) and key_of(s[h]) == limit:
                        at = uint64(start + h)
                        if agrees(at, furthest, shift, int64(POSITION_BITS)):
                            cuda.atomic.add(bins, digit_of(at, shift), 1)
                start += GROUP * threads
            cuda.syncthreads()
            digit, remaining = find_digit(bins, remaining, False)
            furthest |= uint64(digit) << uint64(shift)
            shift -= DIGIT
        pool, pool_index = pool_scores[place], pool_indices[place]
        size = pool.shape[0]
        slot = thread
        while slot < size:
            pool[slot], pool_index[slot] = real(-INF_F64), int64(1) << int64(POSITION_BITS)
            slot += threads
        cuda.syncthreads()
        start = GROUP * thread if not lost else columns
        while start < columns:
            fill_scores(s, e, keys, address, cols, cells, mask, flags, greedy, inverse, outer, inner, start, columns)
            for h in range(GROUP):
                if s[h] > real(-INF_F64):
                    key = key_of(s[h])
                    if key > limit or (key == limit and uint64(start + h) <= furthest):
                        at = cuda.atomic.add(collected, 0, 1)
                        pool[at], pool_index[at] = s[h], int64(start + h)
            start += GROUP * threads
        sort(pool, pool_index, size, thread, threads)
    slot = thread
    while slot < k:
        there = slot < wanted and not lost
        at = pool_index[slot] if there else int64(-1)
        if flags & NARROW:
            narrow[outer, inner, slot] = int32(at)
        else:
            index[outer, inner, slot] = at
        scores[outer, inner, slot] = real(NAN_F64) if lost else (pool[slot] if there else real(-INF_F64))
        if slot == 0:
            nothing = real(NAN_F64) if lost else real(-INF_F64)
            threshold[outer, inner] = pool[k] if wanted > k and not lost else nothing
            if lost:
                note_invalid(invalid, position)
        slot += threads


@device
def sort(values, indices, n, thread, threads):
    """The first n entries from the largest value down, equal ones by index: a bitonic network over a block.

    INOUT real[>= n], int64[>= n], n a power of two.
    """
    size = int64(2)
    cuda.syncthreads()
    while size <= n:
        apart = size >> 1
        while apart > 0:
            pair = thread
            while pair < n >> 1:
                low = (pair & ~(apart - 1)) << 1 | pair & (apart - 1)
                high = low + apart
                a, b = values[low], values[high]
                later = a < b or (a == b and indices[low] > indices[high])
                if later == (low & size == 0):
                    i, j = indices[low], indices[high]
                    values[low], values[high] = b, a
                    indices[low], indices[high] = j, i
                pair += threads
            cuda.syncthreads()
            apart >>= 1
        size <<= 1
