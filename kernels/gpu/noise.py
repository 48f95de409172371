"""The field, dense: noise of eight neighbouring columns at a time, and the rows of `gumbel`.

Coarse and fine half-words make 32 bits of each column; the 32 below are read where a float64 wants them, or a float32 that lies
in the tail, once in 2^24.
"""

from numpy import int64, uint32, uint64

from ..cpu.bits import join_halves, tail_of
from ..elementary import fma
from ..field import (
    DOMAIN_COARSE,
    DOMAIN_FINE,
    DOMAIN_TAIL_HIGH,
    DOMAIN_TAIL_LOW,
    TAIL_BELOW,
    exponential_f32,
    exponential_f64,
    exponential_tail_f32,
    gumbel_of_exponential_f32,
    gumbel_of_exponential_f64,
)
from ..jit import by_precision, scalar
from ..philox import LOW_HALF
from .cells import ALIGNED_IDS, column_id, half_word, row_address, words_of_columns
from .jit import device, row_kernel
from .loading import cuda
from .memory import GROUP
from .philox import round_keys, words_of_keys


@scalar
def _asks_for_tail_f32(like, least):
    """Whether one of eight columns lies in the tail, the least of whose b32 is given."""
    return least < TAIL_BELOW


@scalar
def _asks_for_tail_f64(like, least):
    """The float64 field reads all 64 bits."""
    return True


@scalar
def _exponential_of_words_f32(like, b32, tail):
    """E in float32 of 64 bits, the lower of which count in the tail only."""
    return exponential_tail_f32(b32, tail) if b32 < TAIL_BELOW else exponential_f32(b32)


@scalar
def _exponential_of_words_f64(like, b32, tail):
    """E in float64 of 64 bits."""
    return exponential_f64((uint64(b32) << uint64(32)) | uint64(tail))


@scalar
def _leading_exponential_f32(like, b32):
    """E in float32 of the 32 leading bits, right outside the tail."""
    return exponential_f32(b32)


@scalar
def _leading_exponential_f64(like, b32):
    """No E in float64 is made of these alone."""
    return like


@scalar
def located(gumbel, loc, scale):
    """loc + scale G, rounded once."""
    return fma(gumbel, scale, loc)


asks_for_tail = by_precision(_asks_for_tail_f32, _asks_for_tail_f64)
leading_exponential = by_precision(_leading_exponential_f32, _leading_exponential_f64)
exponential_of_words = by_precision(_exponential_of_words_f32, _exponential_of_words_f64)
gumbel_of_exponential = by_precision(gumbel_of_exponential_f32, gumbel_of_exponential_f64)


@device
def tails_of_group(keys, address, group):
    """The 32 lower bits of eight columns whose ids are those of a group, two in a uint64, the first low."""
    c1, c2, c3 = address[3], address[4], address[2]
    a0, a1, a2, a3 = words_of_keys(group, c1, c2, uint32(c3 | DOMAIN_TAIL_LOW), keys)
    b0, b1, b2, b3 = words_of_keys(group, c1, c2, uint32(c3 | DOMAIN_TAIL_HIGH), keys)
    first, second = uint64(a0) | uint64(a1) << uint64(32), uint64(a2) | uint64(a3) << uint64(32)
    return first, second, uint64(b0) | uint64(b1) << uint64(32), uint64(b2) | uint64(b3) << uint64(32)


@device
def tails_of_columns(keys, address, cols, flags, outer, inner, start, end):
    """The 32 lower bits of eight columns from `start` on, two in a uint64, the first low."""
    if flags & ALIGNED_IDS:
        return tails_of_group(keys, address, uint32((cols[0, 0, 0] + start) >> 3))
    p0, p1, p2, p3 = uint64(0), uint64(0), uint64(0), uint64(0)
    for h in range(min(GROUP, end - start)):
        tail = uint64(tail_of(address, int64(column_id(cols, flags, outer, inner, start + h)))) << uint64(32 * (h & 1))
        if h < 2:
            p0 |= tail
        elif h < 4:
            p1 |= tail
        elif h < 6:
            p2 |= tail
        else:
            p3 |= tail
    return p0, p1, p2, p3


@device
def word_of_pairs(h, p0, p1, p2, p3):
    """The uint32 of column h; h is a constant of an unrolled loop."""
    pair = p0 if h < 2 else (p1 if h < 4 else (p2 if h < 6 else p3))
    return uint32((pair >> uint64(32 * (h & 1))) & LOW_HALF)


@device
def fill_exponentials(e, keys, address, cols, flags, outer, inner, start, end):
    """E of eight columns from `start` on; behind `end`, of anything.

    Parameters
    ----------
    e : OUT real[8], the thread's own
    keys : tuple
        From `round_keys`.
    address : tuple
        From `row_address`.
    cols, flags, outer, inner
        As in `noise_rows`.
    start, end : int64
        The first column, a multiple of eight; the end of the row.
    """
    like = e.dtype.type(0)
    a0, a1, a2, a3 = words_of_columns(DOMAIN_COARSE, keys, address, cols, flags, outer, inner, start, end)
    b0, b1, b2, b3 = words_of_columns(DOMAIN_FINE, keys, address, cols, flags, outer, inner, start, end)
    least = uint32(0xFFFFFFFF)
    for h in range(GROUP):
        least = min(least, join_halves(half_word(h, a0, a1, a2, a3), half_word(h, b0, b1, b2, b3)))
    p0, p1, p2, p3 = uint64(0), uint64(0), uint64(0), uint64(0)
    if asks_for_tail(like, least):
        p0, p1, p2, p3 = tails_of_columns(keys, address, cols, flags, outer, inner, start, end)
    for h in range(GROUP):
        b32 = join_halves(half_word(h, a0, a1, a2, a3), half_word(h, b0, b1, b2, b3))
        e[h] = exponential_of_words(like, b32, word_of_pairs(h, p0, p1, p2, p3))


@device
def fill_aligned_exponentials(e, keys, address, group):
    """E of eight columns whose ids are those of a group: `fill_exponentials` without what a loop seldom meets.

    A float32 in the tail is set right behind all of them, so that the others are not asked where they lie.

    Parameters
    ----------
    e : OUT real[8], the thread's own
    keys, address : tuple
        As in `fill_exponentials`.
    group : uint32
        Column id >> 3.
    """
    like, c1, c2, c3 = e.dtype.type(0), address[3], address[4], address[2]
    a0, a1, a2, a3 = words_of_keys(group, c1, c2, uint32(c3 | DOMAIN_COARSE), keys)
    b0, b1, b2, b3 = words_of_keys(group, c1, c2, uint32(c3 | DOMAIN_FINE), keys)
    least = uint32(0xFFFFFFFF)
    for h in range(GROUP):
        b32 = join_halves(half_word(h, a0, a1, a2, a3), half_word(h, b0, b1, b2, b3))
        e[h] = leading_exponential(like, b32)
        least = min(least, b32)
    if asks_for_tail(like, least):
        p0, p1, p2, p3 = tails_of_group(keys, address, group)
        for h in range(GROUP):
            b32 = join_halves(half_word(h, a0, a1, a2, a3), half_word(h, b0, b1, b2, b3))
            if asks_for_tail(like, b32):
                e[h] = exponential_of_words(like, b32, word_of_pairs(h, p0, p1, p2, p3))


@row_kernel
def noise_rows(k0, k1, step, steps, rows, cols, flags, loc, scale, first, last, out):
    """out = loc + scale * G over rows first .. last: a thread for eight columns of a row.

    Parameters
    ----------
    k0, k1, step, steps, rows, cols, flags, first, last
        As in `argmax_rows`.
    loc, scale : float64
        Location and scale.
    out : OUT real[outer, inner, K]
        Gumbel values.
    """
    real, count, columns = out.dtype.type, out.shape[1], out.shape[2]
    e = cuda.local.array(GROUP, out.dtype)
    groups = (columns + GROUP - 1) // GROUP
    thread = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    position = first + thread // groups
    if position < last:
        start = (thread - (position - first) * groups) * GROUP
        outer = position // count
        inner = position - outer * count
        address = row_address(k0, k1, step, steps, rows, flags, outer, inner, position)
        keys = round_keys(address[0], address[1])
        fill_exponentials(e, keys, address, cols, flags, outer, inner, start, columns)
        for h in range(GROUP):
            if start + h < columns:
                out[outer, inner, start + h] = located(gumbel_of_exponential(e[h]), real(loc), real(scale))
