"""Stable 64-bit hashes of columns, row by row: one `fold` for an integer, one for every 8 bytes of a text.

The state of a row is a key (k0, k1); what is folded in carries a tag by its kind, and a text ends with its length, so that
("ab", "c") and ("a", "bc") differ.
"""

from numba import types
from numpy import uint32, uint64

from ..jit import row_kernel, sink, view
from ..philox import fold

TAG_INTEGER = 16
TAG_TEXT = 17
TAG_BYTES = 19  # the length that ends a text or a run of bytes has the next tag


@row_kernel(lambda _: types.void(view(types.uint64, 1), sink(types.uint32, 1), sink(types.uint32, 1)))
def fold_integers(values, k0, k1):
    """(k0, k1)[i] = fold((k0, k1)[i], values[i]). IN uint64[n], INOUT uint32[n], INOUT uint32[n]."""
    for i in range(values.shape[0]):
        k0[i], k1[i] = fold(k0[i], k1[i], values[i], uint32(TAG_INTEGER))


@row_kernel(
    lambda _: types.void(view(types.uint8, 1), view(types.int64, 1), types.uint32, sink(types.uint32, 1), sink(types.uint32, 1))
)
def fold_bytes(data, offsets, tag, k0, k1):
    """Fold data[offsets[i] : offsets[i + 1]] into (k0, k1)[i], 8 bytes at a time, little-endian, then its length.

    IN uint8[bytes], IN int64[n + 1], tag uint32, INOUT uint32[n], INOUT uint32[n].
    """
    for i in range(k0.shape[0]):
        a, b = k0[i], k1[i]
        for start in range(offsets[i], offsets[i + 1], 8):
            word = uint64(0)
            for j in range(start, min(start + 8, offsets[i + 1])):
                word |= uint64(data[j]) << uint64(8 * (j - start))
            a, b = fold(a, b, word, tag)
        k0[i], k1[i] = fold(a, b, uint64(offsets[i + 1] - offsets[i]), uint32(tag + uint32(1)))


@row_kernel(lambda _: types.uint64(types.uint32, types.uint32, types.uint64, types.uint32))
def fold_key(k0, k1, x, tag):
    """The folded key as one number, k1 above k0: `fold` for the host."""
    a, b = fold(k0, k1, x, tag)
    return (uint64(b) << uint64(32)) | uint64(a)
