"""Bits of the field for a tile of neighbouring columns.

Eight neighbouring columns share one Philox call a domain, so bits are made in groups of eight, packed lanes across groups. The
four output words leave as two 64-bit stores, which puts the half-words (the words, for tails) in the order of the columns.

Column ids that run on from any number start within a group, at a phase of 0 to 7, which costs one group more.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy import uint16, uint32, uint64

from ..field import DOMAIN_COARSE, DOMAIN_FINE, DOMAIN_TAIL_HIGH, DOMAIN_TAIL_LOW
from ..jit import as_contiguous, inlined_loop, loop, reinterpret, scalar
from ..philox import LOW_HALF, PHILOX_M4x32_0, PHILOX_M4x32_1, philox_nine_rounds
from .cells import TILE
from .philox import ABREAST, VECTOR, store_pairs, store_pairs_abreast, store_tails

ROOM = TILE + 64  # columns of a tile at any phase, in whole vectors of eight groups
HALVES, TAILS = ROOM // 4, ROOM // 2  # uint64 that hold a half-word, and a word, for each


@intrinsic
def swap_halves(typingctx, x):
    """A uint64 turned by 32 bits, in one instruction. Spelt in shifts, LLVM moves one into the product and multiplies twice."""

    def codegen(context, builder, signature, arguments):
        word = ir.IntType(64)
        turn = builder.module.declare_intrinsic("llvm.fshl", [word], ir.FunctionType(word, [word] * 3))
        return builder.call(turn, [arguments[0], arguments[0], word(32)])

    return types.uint64(types.uint64), codegen


@scalar
def philox4x32_pairs(c0, c1, c2, c3, k0, k1):
    """Words 0 and 1, and words 2 and 3, of Philox4x32-10 as two uint64, the first word low. Arguments as in `philox4x32`.

    A product turned by half has the last round's high part below and its low part above, where the pair wants them.
    """
    c0, c1, c2, c3, k0, k1 = philox_nine_rounds(c0, uint64(c1), uint64(c2), uint64(c3), uint64(k0), uint64(k1))
    p0 = (c0 & LOW_HALF) * PHILOX_M4x32_0
    p1 = (c2 & LOW_HALF) * PHILOX_M4x32_1
    return swap_halves(p1) ^ ((c1 ^ k0) & LOW_HALF), swap_halves(p0) ^ ((c3 ^ k1) & LOW_HALF)


@scalar
def phase_of(column):
    """Place of a column within its group."""
    return column & 7


@scalar
def groups_of(n):
    """Groups of eight columns to make for n columns: whole vectors of eight groups, which the tile has room for."""
    return uint32((((n + 7) >> 3) + 7) & ~7)


@inlined_loop
def fill_words(pairs, address, domain, start, groups):
    """The words of one domain for `groups` groups, a multiple of 8, from that of column `start` on. OUT uint64[2 * groups]."""
    k0, k1, c3, r0, r1 = address
    counter, low, high, a, b = uint64(uint32(c3 | domain)), uint64(r0), uint64(r1), uint64(k0), uint64(k1)
    group, done, ended = uint64(start >> 3), uint64(0), uint64(groups)
    while done + uint64(VECTOR * ABREAST) <= ended:
        store_pairs_abreast(pairs, done + done, group + done, low, high, counter, a, b)
        done += uint64(VECTOR * ABREAST)
    while done < ended:
        store_pairs(pairs, done + done, group + done, low, high, counter, a, b)
        done += uint64(VECTOR)


@loop
def fill_tails(pairs, address, start, groups):
    """The 32 bits below b32: four words from one domain, four from the next, for each group. OUT uint64[4 * groups]."""
    k0, k1, c3, r0, r1 = address
    counter, low, high, a, b = uint64(c3), uint64(r0), uint64(r1), uint64(k0), uint64(k1)
    group, done, ended = uint64(start >> 3), uint64(0), uint64(groups)
    while done < ended:
        store_tails(pairs, done << uint64(2), group + done, low, high, counter, a, b)
        done += uint64(VECTOR)


@scalar
def pair_of(address, domain, column):
    """The two words of one domain that hold a column's half-word, as one uint64."""
    k0, k1, c3, r0, r1 = address
    first, second = philox4x32_pairs(uint64(column) >> uint64(3), r0, r1, uint32(c3 | domain), k0, k1)
    return second if column & 4 else first


@scalar
def half_of(pair, column):
    """The column's half-word of its pair."""
    return uint32(uint32(pair >> ((uint64(column) & uint64(3)) << uint64(4))) & uint32(0xFFFF))


@scalar
def b32_of(address, column):
    """The 32 leading bits at one address, as `field_b32`; with the function that loops have already, to compile less."""
    coarse = half_of(pair_of(address, DOMAIN_COARSE, column), column)
    return join_halves(coarse, half_of(pair_of(address, DOMAIN_FINE, column), column))


@scalar
def tail_of(address, column):
    """The 32 bits below, as `field_tail`."""
    k0, k1, c3, r0, r1 = address
    domain = DOMAIN_TAIL_HIGH if column & 4 else DOMAIN_TAIL_LOW
    first, second = philox4x32_pairs(uint64(column) >> uint64(3), r0, r1, uint32(c3 | domain), k0, k1)
    pair = second if column & 2 else first
    return uint32(pair >> ((uint64(column) & uint64(1)) << uint64(5)))


@loop
def fill_coarse_of_ids(coarse, address, ids):
    """Coarse half-words of arbitrary column ids, one Philox call a column. OUT uint16[>= n], IN int64[n] any stride.

    Packed ids have a loop of their own: 1.8 ns a column, where ids of any stride take 8.
    """
    if ids.strides[0] == ids.itemsize:
        packed = as_contiguous(ids)
        for j in range(packed.shape[0]):
            coarse[j] = uint16(half_of(pair_of(address, DOMAIN_COARSE, packed[j]), packed[j]))
    else:
        for j in range(ids.shape[0]):
            coarse[j] = uint16(half_of(pair_of(address, DOMAIN_COARSE, ids[j]), ids[j]))


@scalar
def scratch_of(coarse, fine, tails):
    """Bits of a tile: uint64[HALVES], [HALVES], [TAILS] as generators write them, then as what the field reads of them."""
    return coarse, fine, tails, reinterpret(coarse, uint16), reinterpret(fine, uint16), reinterpret(tails, uint32)


@scalar
def join_halves(coarse, fine):
    """b32 of one column."""
    return uint32(uint32(uint32(coarse) << uint32(16)) | uint32(fine))
