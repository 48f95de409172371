"""Philox4x32-10 with the key schedule made once a thread, and not once a call: 18 additions of some 60 instructions."""

from numpy import uint32, uint64

from ..philox import LOW_HALF, PHILOX_W32_0, PHILOX_W32_1, PHILOX_M4x32_0, PHILOX_M4x32_1
from .jit import device, hidden, wide_product


@device
def _later(a, b, w0, w1, turn):
    """Both key words of a later round."""
    return uint32(a + w0 * uint64(turn) & LOW_HALF), uint32(b + w1 * uint64(turn) & LOW_HALF)


@device
def round_keys(k0, k1):
    """Both key words of every round, in turn: twenty uint32 that stay in registers."""
    a, b, w0, w1 = uint64(k0), uint64(k1), uint64(hidden(uint32(PHILOX_W32_0))), uint64(hidden(uint32(PHILOX_W32_1)))
    (x1, y1), (x2, y2), (x3, y3) = _later(a, b, w0, w1, 1), _later(a, b, w0, w1, 2), _later(a, b, w0, w1, 3)
    (x4, y4), (x5, y5), (x6, y6) = _later(a, b, w0, w1, 4), _later(a, b, w0, w1, 5), _later(a, b, w0, w1, 6)
    (x7, y7), (x8, y8), (x9, y9) = _later(a, b, w0, w1, 7), _later(a, b, w0, w1, 8), _later(a, b, w0, w1, 9)
    return uint32(k0), uint32(k1), x1, y1, x2, y2, x3, y3, x4, y4, x5, y5, x6, y6, x7, y7, x8, y8, x9, y9


@device
def _round(c0, c1, c2, c3, k0, k1):
    """One round of a state of uint32: two IMAD.WIDE and two LOP3."""
    p0, p1 = wide_product(c0, uint32(PHILOX_M4x32_0)), wide_product(c2, uint32(PHILOX_M4x32_1))
    high0, high1 = uint32(p0 >> uint64(32)), uint32(p1 >> uint64(32))
    return uint32(high1 ^ c1 ^ k0), uint32(p1 & LOW_HALF), uint32(high0 ^ c3 ^ k1), uint32(p0 & LOW_HALF)


@device
def words_of_keys(c0, c1, c2, c3, keys):
    """The four words of Philox4x32-10 at a counter of uint32, under `round_keys`."""
    x0, x1, x2, x3 = _round(c0, c1, c2, c3, keys[0], keys[1])
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, keys[2], keys[3])
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, keys[4], keys[5])
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, keys[6], keys[7])
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, keys[8], keys[9])
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, keys[10], keys[11])
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, keys[12], keys[13])
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, keys[14], keys[15])
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, keys[16], keys[17])
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, keys[18], keys[19])
    return x0, x1, x2, x3


@device
def next_group(group, groups):
    """The counter so many groups of columns on. uint32; below 2^32, as all columns are."""
    return uint32(uint64(group) + uint64(groups) & LOW_HALF)
