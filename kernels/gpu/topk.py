"""Gumbel-top-k: the k largest scores of each row, a sample of k categories without replacement, in order.

A block has a row. The least of the k + 1 largest scores is found digit by digit, from the highest, by counting those that agree
with what is known of it, and after a score's digits come those of its position: of ties, the lowest are wanted. As soon as all
that agree are wanted, usually after two digits, what reaches the limit is collected and sorted.

A thread that has eight columns keeps their scores; where it has more, scores are made anew whenever the row is looked through.
"""

from numpy import float32, float64, int32, int64, uint64

from ..cpu.cells import NARROW
from ..cpu.scores import score
from ..cpu.selection import rank_f32, rank_f64
from ..elementary import INF_F64, NAN_F64
from ..jit import by_precision, scalar
from .argmax import any_unordered
from .cells import in_range, load_logits, note_invalid, row_address, temperature_of
from .jit import ALL, WARP, device, real_of, row_kernel
from .loading import cuda
from .memory import GROUP
from .noise import fill_exponentials, gumbel_of_exponential
from .philox import round_keys

BINS, DIGIT = 256, 8

# Positions are below 2^40: five digits.
POSITION_BITS = 40

# Columns that are counted in 32 bits, which shared memory is quick to add to, before 64 bits take the counts over.
PART = 1 << 30


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
def fold(totals, bins, anew, thread, threads):
    """Counts are added to their totals, or begin them, and become 0. INOUT shared int64[BINS], int32[BINS]; meets the block."""
    cuda.syncthreads()
    place = thread
    while place < BINS:
        totals[place] = int64(bins[place]) + (int64(0) if anew else totals[place])
        bins[place] = 0
        place += threads
    cuda.syncthreads()


@device
def digit_of(key, shift):
    """One digit of a key."""
    return int64((key >> uint64(shift)) & uint64(BINS - 1))


@device
def agrees(key, prefix, shift):
    """Whether a key's digits above one are those of a prefix."""
    return shift + DIGIT >= 64 or (key >> uint64(shift + DIGIT)) == (prefix >> uint64(shift + DIGIT))


@device
def find_digit(totals, wanted):
    """(digit, of it wanted, all): the digit of the last of `wanted`, or of all where that is less, from the largest digit down.

    IN shared int64[BINS]. Every warp finds it for itself: a lane has eight digits, then all have the eight of one lane.
    """
    each, lane = BINS // WARP, int64(cuda.laneid)
    mine = int64(0)
    for h in range(BINS // WARP):
        mine += totals[BINS - 1 - each * lane - h]
    reached, step = mine, 1
    while step < WARP:
        before = cuda.shfl_up_sync(ALL, reached, step)
        reached += before if lane >= step else int64(0)
        step <<= 1
    every = cuda.shfl_sync(ALL, reached, WARP - 1)
    wanted = min(wanted, every)
    first = int64(cuda.popc(cuda.ballot_sync(ALL, reached < wanted)))
    wanted -= cuda.shfl_sync(ALL, reached - mine, first)
    digit = BINS - 1 - each * first
    while totals[digit] < wanted:
        wanted -= totals[digit]
        digit -= int64(1)
    return digit, wanted, every


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

    Launched with a block for each row, of whole warps, up to `THREADS` threads.

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
    bins, totals = cuda.shared.array(BINS, int32), cuda.shared.array(BINS, int64)
    met = cuda.shared.array(1, int32)
    collected = cuda.shared.array(1, int64)
    thread, threads = int64(cuda.threadIdx.x), int64(cuda.blockDim.x)
    place = int64(cuda.blockIdx.x)
    position = first + place
    count, columns, k = cells.shape[1], cells.shape[2], scores.shape[2]
    outer = position // count
    inner = position - outer * count
    address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
    keys = round_keys(address[0], address[1])
    t = temperature_of(temperature, temperatures, flags, outer, inner)
    greedy = t == 0.0
    inverse = real(1.0) if greedy else real(1.0 / t)
    pool, pool_index = pool_scores[place], pool_indices[place]
    size = pool.shape[0]
    slot = thread
    while slot < size:
        pool[slot], pool_index[slot] = real(-INF_F64), int64(1) << int64(POSITION_BITS)
        slot += threads
    slot = thread
    while slot < BINS:
        bins[slot], totals[slot] = 0, 0
        slot += threads
    if thread == 0:
        met[0], collected[0] = 0, 0
    cuda.syncthreads()
    # What is known of the limit: the key of its score, then how far its position is from the end, as ties have the lowest first.
    limit, least = uint64(0), uint64(0)
    by_score, collecting = True, False
    shift = bits_of_key(inverse) - DIGIT
    wanted, remaining, lost = int64(-1), int64(k + 1), False
    while True:
        start, end = GROUP * thread, int64(0)
        while end < columns:
            begin, end = end, min(columns, end + PART)
            while start < end:
                if wanted < 0 or columns > GROUP * threads:
                    if fill_scores(
                        s, e, keys, address, cols, cells, mask, flags, greedy, inverse, outer, inner, start, columns
                    ):
                        met[0] = 1
                if collecting:
                    number = int64(0)
                    for h in range(GROUP):
                        if s[h] > real(-INF_F64):
                            key, from_end = key_of(s[h]), uint64(columns - 1 - start - h)
                            number += int64(key > limit or (key == limit and from_end >= least))
                    if number > 0:
                        at = cuda.atomic.add(collected, 0, number)
                        for h in range(GROUP):
                            if s[h] > real(-INF_F64):
                                key, from_end = key_of(s[h]), uint64(columns - 1 - start - h)
                                if key > limit or (key == limit and from_end >= least):
                                    pool[at], pool_index[at] = s[h], int64(start + h)
                                    at += int64(1)
                else:
                    for h in range(GROUP):
                        if s[h] > real(-INF_F64):
                            key, from_end = key_of(s[h]), uint64(columns - 1 - start - h)
                            if by_score:
                                if agrees(key, limit, shift):
                                    cuda.atomic.add(bins, digit_of(key, shift), 1)
                            elif key == limit and agrees(from_end, least, shift):
                                cuda.atomic.add(bins, digit_of(from_end, shift), 1)
                start += GROUP * threads
            if not collecting:
                fold(totals, bins, begin == 0, thread, threads)
        if collecting:
            break
        digit, remaining, agreeing = find_digit(totals, remaining)
        if wanted < 0:
            wanted = min(agreeing, int64(k + 1))
            lost = met[0] != 0 or wanted == 0 or not in_range(t)
        if lost:
            break
        if by_score:
            limit |= uint64(digit) << uint64(shift)
        else:
            least |= uint64(digit) << uint64(shift)
        # Where all that agree so far are wanted, so are all that are no less than what is known, whatever digits follow.
        collecting = remaining == totals[digit]
        if shift > 0:
            shift -= DIGIT
        else:
            by_score, shift = False, int64(POSITION_BITS - DIGIT)
            while shift > 0 and (columns - 1) >> shift == 0:
                shift -= DIGIT
    sort(pool, pool_index, thread, threads)
    slot = thread
    while slot < k:
        there = slot < wanted and not lost
        at = pool_index[slot] if there else int64(-1)
        if flags & NARROW:
            narrow[outer, inner, slot] = int32(at)
        else:
            index[outer, inner, slot] = at
        scores[outer, inner, slot] = real(NAN_F64) if lost else (pool[slot] if there else real(-INF_F64))
        slot += threads
    if thread == 0:
        nothing = real(NAN_F64) if lost else real(-INF_F64)
        threshold[outer, inner] = pool[k] if wanted > k and not lost else nothing
        if lost:
            note_invalid(invalid, position)


@device
def sort(values, indices, thread, threads):
    """Entries from the largest value down, equal ones by index: a bitonic network over a block.

    INOUT real[n], int64[n], n a power of two.
    """
    n, size = values.shape[0], int64(2)
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
