"""What kernels read of a request: rows, their addresses, and their cells, eight columns at a time.

The arguments are those of the CPU's kernels, with the same flags; a thread has eight neighbouring columns at a time, as many as
one Philox call serves.
"""

from numpy import int64, uint32, uint64

from ..cpu.bits import half_of, pair_of
from ..cpu.cells import HAS_COLS, HAS_MASK, HAS_ROWS, HAS_STEPS, HAS_TEMPERATURES, IS_PROBS, log
from ..elementary import INF_F64
from ..field import address_of
from ..philox import LOW_HALF
from .jit import as_real, device, real_of
from .loading import cuda
from .memory import GROUP, load_eight
from .philox import words_of_keys

PACKED = 1 << 13  # eight columns of a row lie in whole pieces of 16 bytes, from any multiple of eight on
ALIGNED_IDS = 1 << 14  # column ids run on from a multiple of eight


@device
def row_address(k0, k1, step, steps, rows, flags, outer, inner, position):
    """(k0, k1, c3, r0, r1): all of an address but the column. Steps from 2^30 on fold the key."""
    at = steps[outer, inner] + step if flags & HAS_STEPS else step
    row = rows[outer, inner] if flags & HAS_ROWS else rows[0, 0] + position
    return address_of(k0, k1, int64(at), int64(row))


@device
def temperature_of(temperature, temperatures, flags, outer, inner):
    """The temperature of one row."""
    return temperatures[outer, inner] if flags & HAS_TEMPERATURES else temperature


@device
def in_range(temperature):
    """True for 0 and from 2^-64 to 2^64: nobody has looked at temperatures in a GPU's memory."""
    return temperature == 0.0 or (temperature >= 2.0**-64 and temperature <= 2.0**64)


@device
def column_id(cols, flags, outer, inner, position):
    """Id of the column at a position in the row."""
    return cols[outer, inner, position] if flags & HAS_COLS else cols[0, 0, 0] + position


@device
def logit_at(cells, mask, flags, outer, inner, position):
    """One logit: -inf where masked, NaN for a negative probability."""
    real = real_of(cells)
    if flags & HAS_MASK and mask[outer, inner, position] == 0:
        return real(-INF_F64)
    x = as_real(cells[outer, inner, position])
    return log(x) if flags & IS_PROBS else x


@device
def load_logits(x, cells, mask, flags, outer, inner, start, end):
    """Eight logits from a column on, -inf where masked or from `end` on. OUT real[8], the thread's own."""
    real = real_of(cells)
    if flags & PACKED and start + GROUP <= end:
        load_eight(x, cells, outer, inner, start)
        if flags & IS_PROBS:
            for h in range(GROUP):
                x[h] = log(x[h])
        if flags & HAS_MASK:
            for h in range(GROUP):
                x[h] = x[h] if mask[outer, inner, start + h] != 0 else real(-INF_F64)
    else:
        for h in range(GROUP):
            x[h] = logit_at(cells, mask, flags, outer, inner, start + h) if start + h < end else real(-INF_F64)


@device
def load_part(x, cells, mask, flags, outer, inner, start, begin, end):
    """As `load_logits`, and -inf before `begin` too, which may lie anywhere among the eight."""
    real = real_of(cells)
    load_logits(x, cells, mask, flags, outer, inner, start, end)
    if start < begin:
        for h in range(GROUP):
            x[h] = real(-INF_F64) if start + h < begin else x[h]


@device
def words_of_columns(domain, keys, address, cols, flags, outer, inner, start, end):
    """Half-words of eight columns from `start` on in one domain, as four uint32, the first column lowest."""
    if flags & ALIGNED_IDS:
        group = uint32((cols[0, 0, 0] + start) >> 3)
        return words_of_keys(group, address[3], address[4], uint32(address[2] | domain), keys)
    low, high = uint64(0), uint64(0)
    for h in range(min(GROUP, end - start)):
        column = column_id(cols, flags, outer, inner, start + h)
        half = uint64(half_of(pair_of(address, domain, int64(column)), int64(column))) << uint64(16 * (h & 3))
        if h < 4:
            low |= half
        else:
            high |= half
    return uint32(low & LOW_HALF), uint32(low >> uint64(32)), uint32(high & LOW_HALF), uint32(high >> uint64(32))


@device
def half_word(h, w0, w1, w2, w3):
    """Half-word h of four words; h is a constant of an unrolled loop."""
    word = w0 if h < 2 else (w1 if h < 4 else (w2 if h < 6 else w3))
    return uint32(uint32(word >> uint32(16 * (h & 1))) & uint32(0xFFFF))


@device
def note_invalid(invalid, position):
    """Count an invalid row and keep its position, as long as there is room. INOUT int64[1 + n], or empty: nobody asks."""
    if invalid.shape[0] > 0:
        before = cuda.atomic.add(invalid, 0, 1)
        if before < invalid.shape[0] - 1:
            invalid[1 + before] = position
