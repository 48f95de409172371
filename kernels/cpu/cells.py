"""A row read tile by tile: logits or probabilities in any layout become contiguous logits, -inf where excluded.

Every row kernel works on tiles of `TILE` columns in buffers that stay in the first-level cache: cells -> x, field -> g,
then its own reduction. What a caller may leave out is told by bits of `flags`, so that one compiled kernel serves all.
"""

from numba import int32, int64, types

from ..elementary import INF_F64, f32_of_bits, f64_of_bits, log_f32, log_f64
from ..jit import as_contiguous, by_precision, loop, view

# Columns in a tile. Also the block of the fixed summation order, which is part of the definition of every sum: not to be
# tuned.
TILE = 1024

HAS_ROWS = 1  # `rows` holds row ids; otherwise a row's id is its position
HAS_COLS = 2  # `cols` holds column ids; otherwise a column's id is its position
HAS_MASK = 4  # `mask` is nonzero where a category is allowed
IS_PROBS = 8  # cells are probabilities

log = by_precision(log_f32, log_f64)

# Types of what every row kernel takes first: key words, steps, row ids, column ids.
ADDRESS_TYPES = (types.uint32, types.uint32, view(int64, 2), view(int64, 2), view(int64, 3))


def row_types(real):
    """Types of the arguments that sampling kernels share: address, cells, mask, flags, temperature."""
    return (*ADDRESS_TYPES, view(real, 3), view(types.uint8, 3), int64, view(types.float64, 2))


@loop
def load_tile(x, cells, mask, flags, outer, inner, start):
    """Read one tile of one row.

    Parameters
    ----------
    x : OUT real[n], contiguous
        Logits of the tile, -inf where masked.
    cells : IN real[outer, inner, K]
        Logits, or probabilities under `IS_PROBS`.
    mask : IN uint8[outer, inner, K]
        Looked at under `HAS_MASK` only.
    flags, outer, inner, start : int64
        What is given; the row; the first column.

    Returns
    -------
    bool
        True where an allowed cell is NaN (or a negative probability): the row is invalid.
    """
    n = x.shape[0]
    read_tile(x, cells[outer, inner, start : start + n])
    if flags & IS_PROBS:
        for j in range(n):
            x[j] = log(x[j])
    if flags & HAS_MASK:
        exclude(x, mask[outer, inner, start : start + n], x.dtype.type(-INF_F64))
    unordered = int32(0)
    for j in range(n):
        unordered |= int32(x[j] != x[j])
    return unordered != int32(0)


# The loops below are written once and compiled twice: for packed rows, which LLVM vectorises, and for any stride.


@loop
def read_tile(values, row):
    """values = row. OUT real[n] contiguous, IN real[n] any stride."""
    if row.strides[0] == row.itemsize:
        _copy(values, as_contiguous(row))
    else:
        _copy(values, row)


@loop
def store_tile(row, values):
    """row = values. OUT real[n] any stride, IN real[n] contiguous."""
    if row.strides[0] == row.itemsize:
        _copy(as_contiguous(row), values)
    else:
        _copy(row, values)


@loop
def exclude(values, mask, nothing):
    """values = nothing where mask is 0. INOUT real[n] contiguous, IN uint8[n] any stride."""
    if mask.strides[0] == mask.itemsize:
        _exclude(values, as_contiguous(mask), nothing)
    else:
        _exclude(values, mask, nothing)


@loop
def fill_row(row, value):
    """row = value. OUT real[n] any stride."""
    if row.strides[0] == row.itemsize:
        _fill(as_contiguous(row), value)
    else:
        _fill(row, value)


@loop
def scale_row(row, factor):
    """row *= factor. INOUT real[n] any stride."""
    if row.strides[0] == row.itemsize:
        _scale(as_contiguous(row), factor)
    else:
        _scale(row, factor)


@loop
def _copy(target, source):
    for j in range(target.shape[0]):
        target[j] = source[j]


@loop
def _exclude(values, mask, nothing):
    for j in range(values.shape[0]):
        values[j] = values[j] if mask[j] != 0 else nothing


@loop
def _fill(row, value):
    for j in range(row.shape[0]):
        row[j] = value


@loop
def _scale(row, factor):
    for j in range(row.shape[0]):
        row[j] *= factor


@loop
def note_invalid(invalid, row):
    """Count an invalid row and keep the first few. INOUT int64[1 + n]: count, then row positions."""
    count = invalid[0] + 1
    invalid[0] = count
    if count < invalid.shape[0]:
        invalid[count] = row


# Maxima over floats do not vectorise; over integers that order like floats they do (0.85 against 0.11 ns a value).
# A NaN is not to be found this way: `load_tile` has looked for it.


@loop
def _tile_max_f32(values):
    bits = values.view(int32)
    best = int32(-0x80000000)
    for j in range(bits.shape[0]):
        key = int32(bits[j] ^ int32(int32(bits[j] >> int32(31)) & int32(0x7FFFFFFF)))
        best = key if key > best else best
    return f32_of_bits(int32(best ^ int32(int32(best >> int32(31)) & int32(0x7FFFFFFF))))


@loop
def _tile_max_f64(values):
    bits = values.view(int64)
    best = int64(-0x8000000000000000)
    for j in range(bits.shape[0]):
        key = int64(bits[j] ^ int64(int64(bits[j] >> int64(63)) & int64(0x7FFFFFFFFFFFFFFF)))
        best = key if key > best else best
    return f64_of_bits(int64(best ^ int64(int64(best >> int64(63)) & int64(0x7FFFFFFFFFFFFFFF))))


tile_max = by_precision(_tile_max_f32, _tile_max_f64)


@loop
def first_at_least(values, bound):
    """First position with values[j] >= bound, or the length: the lowest index wins a tie.

    A search that stops at the first hit stays scalar (0.4 ns a value); asking 64 values at a time whether there is one does
    not (0.1 ns).
    """
    n = values.shape[0]
    for start in range(0, n, 64):
        part = values[start : min(start + 64, n)]
        found = int32(0)
        for j in range(part.shape[0]):
            found |= int32(part[j] >= bound)
        if found != int32(0):
            for j in range(part.shape[0]):
                if part[j] >= bound:
                    return start + j
    return n
