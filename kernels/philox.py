"""Philox4x32-10: the counter-based bit generator under the field.

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011), doi:10.1145/2063384.2063405.
A pure function of a 128-bit counter (c0, c1, c2, c3) and a 64-bit key (k0, k1); the constants carry the paper's names.
One of ten rounds, with hi and lo the halves of a 64-bit product, and the key raised by (W0, W1) between rounds:

    p0 = M0 * c0          p1 = M1 * c2
    c0, c1, c2, c3 = hi(p1) ^ c1 ^ k0,  lo(p1),  hi(p0) ^ c3 ^ k1,  lo(p0)
"""

from numpy import uint32, uint64

from .jit import scalar

PHILOX_M4x32_0 = uint64(0xD2511F53)
PHILOX_M4x32_1 = uint64(0xCD9E8D57)
PHILOX_W32_0 = uint64(0x9E3779B9)
PHILOX_W32_1 = uint64(0xBB67AE85)
LOW_HALF = uint64(0xFFFFFFFF)


@scalar
def philox4x32(c0, c1, c2, c3, k0, k1):
    """The four output words of Philox4x32-10, word 0 first.

    Parameters
    ----------
    c0, c1, c2, c3 : uint32
        Counter, c0 the fastest.
    k0, k1 : uint32
        Key.

    Returns
    -------
    tuple of 4 uint32
        Equal to Random123's ``philox4x32(10, counter, key)`` to the bit.
    """
    w0, w1, w2, w3 = philox4x32_wide(uint64(c0), c1, c2, c3, k0, k1)
    return uint32(w0), uint32(w1), uint32(w2), uint32(w3)


@scalar
def philox4x32_wide(c0, c1, c2, c3, k0, k1):
    """`philox4x32` with each output word in the low half of a uint64 and anything in the high half.

    State in 64-bit lanes, high halves left dirty: a round is then two vpmuludq (which read low halves only), two shifts and
    two three-way xors on packed lanes, against twice the multiplications and a packing step a round with a uint32 state
    (1.2 ns a word on a 3.4 GHz Zen 4, where 60 instructions for 32 words at two a cycle leave a floor of 0.27).
    A GPU sees through the widening: IMAD.WIDE.U32 twice a round.
    """
    c0, c1, c2, c3, k0, k1 = philox_nine_rounds(uint64(c0), uint64(c1), uint64(c2), uint64(c3), uint64(k0), uint64(k1))
    p0 = (c0 & LOW_HALF) * PHILOX_M4x32_0
    p1 = (c2 & LOW_HALF) * PHILOX_M4x32_1
    return (p1 >> uint64(32)) ^ c1 ^ k0, p1, (p0 >> uint64(32)) ^ c3 ^ k1, p0


@scalar
def philox_nine_rounds(c0, c1, c2, c3, k0, k1):
    """State and key, uint64, before the last of ten rounds, high halves dirty. What the last leaves is the caller's choice."""
    for _ in range(9):
        p0 = (c0 & LOW_HALF) * PHILOX_M4x32_0
        p1 = (c2 & LOW_HALF) * PHILOX_M4x32_1
        c0 = (p1 >> uint64(32)) ^ c1 ^ k0
        c1 = p1
        c2 = (p0 >> uint64(32)) ^ c3 ^ k1
        c3 = p0
        k0 = k0 + PHILOX_W32_0
        k1 = k1 + PHILOX_W32_1
    return c0, c1, c2, c3, k0, k1


@scalar
def fold(k0, k1, x, tag):
    """A new key from an old one and a 64-bit number: words 0 and 1 of Philox at a reserved counter.

    Parameters
    ----------
    k0, k1 : uint32
        Key.
    x : uint64
        The number folded in.
    tag : uint32
        Purpose: 1 a step beyond 2^30, 2 a conditional sample, 3 a split generator, 16 and up the row ids.

    Returns
    -------
    tuple of 2 uint32
        The new (k0, k1).
    """
    low = uint32(x)
    high = uint32(x >> uint64(32))
    w0, w1, _w2, _w3 = philox4x32(COUNTER_FOLD, low, high, tag, k0, k1)
    return w0, w1


# Values of c0 that no column reaches (column ids end at 2^35 - 17, so c0 at 0xFFFFFFFD).
COUNTER_FOLD = uint32(0xFFFFFFFE)
COUNTER_UNIFORM = uint32(0xFFFFFFFF)
