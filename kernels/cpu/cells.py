"""A row read tile by tile: logits or probabilities in any layout become contiguous logits, -inf where excluded.

`cells` are reals or halves. Halves are widened where they are read, and rounded on the way out of a tile.

Every row kernel works on tiles of `TILE` columns in buffers that stay in the first-level cache: cells -> x, field -> g,
then its own reduction. What a caller may leave out is told by bits of `flags`, so that one compiled kernel serves all.
"""

from llvmlite import ir
from numba import int64, types
from numba.extending import intrinsic
from numpy import float64, int16, uint16, uint32

from ..elementary import INF_F64, MAX_F32, MAX_F64, log_f32, log_f64, quotient
from ..halves import bf16_of_f32, f16_of_f32, f32_of_bf16, f32_of_f16
from ..jit import as_contiguous, by_buffer, by_format, by_precision, has_instruction, larger, loop, real_of, scalar, view

# Columns looked at in one go, a multiple of the block of the summation order: few enough for their buffers to stay in the
# first-level cache, 12 to 24 KiB, and as many as that allows, since a tile has loops to enter for 100 ns.
TILE = 2048

HAS_ROWS = 1  # `rows` holds row ids; otherwise they run on from its first element
HAS_COLS = 2  # `cols` holds column ids; otherwise they run on from its first element
HAS_MASK = 4  # `mask` is nonzero where a category is allowed
IS_PROBS = 8  # cells are probabilities
WANT_SCORE = 16  # the score of what was chosen is wanted too
HAS_STEPS = 32  # `steps` holds a step for each row, to which `step` is added; otherwise `step` is that of all
HAS_TEMPERATURES = 64  # `temperatures` holds that of each row; otherwise `temperature` is that of all
NARROW = 128  # indices go to `narrow`, int32, and not to `index`
WANT_LOG_PROB, WANT_LOGSUMEXP, WANT_ENTROPY = 256, 512, 1024  # these are wanted too
DETERMINISTIC = 2048  # the largest logit is chosen, without noise
GIVEN = 4096  # `index` holds what was chosen, and nothing is drawn

log = by_precision(log_f32, log_f64)


@scalar
def _largest_number_f32(like):
    """The largest finite number of the precision of `like`."""
    return MAX_F32


@scalar
def _largest_number_f64(like):
    return MAX_F64


largest_number = by_precision(_largest_number_f32, _largest_number_f64)

# Types of what every row kernel takes first: key words, step, steps, row ids, column ids.
ADDRESS_TYPES = (types.uint32, types.uint32, int64, view(int64, 2), view(int64, 2), view(int64, 3))

# Types of a temperature: that of all rows, and that of each.
TEMPERATURE_TYPES = (types.float64, view(types.float64, 2))


def row_types(cell):
    """Types of the arguments that sampling kernels share: address, cells, mask, flags, temperature."""
    return (*ADDRESS_TYPES, view(cell, 3), view(types.uint8, 3), int64, *TEMPERATURE_TYPES)


@scalar
def row_of(rows, flags, outer, inner, position):
    """The id of one row."""
    return rows[outer, inner] if flags & HAS_ROWS else rows[0, 0] + position


@scalar
def step_of(step, steps, flags, outer, inner):
    """The step of one row."""
    return steps[outer, inner] + step if flags & HAS_STEPS else step


@scalar
def temperature_of(temperature, temperatures, flags, outer, inner):
    """The temperature of one row."""
    return temperatures[outer, inner] if flags & HAS_TEMPERATURES else temperature


@scalar
def _real_of_real(cell):
    """A cell as a number of the working precision."""
    return cell


@intrinsic
def f32_of_f16_by_instruction(typingctx, half):
    """`f32_of_f16` in one instruction a vector, not ten: vcvtph2ps, which ends the process where a processor lacks it."""

    def codegen(context, builder, signature, arguments):
        low = builder.trunc(arguments[0], ir.IntType(16))
        return builder.fpext(builder.bitcast(low, ir.HalfType()), ir.FloatType())

    return types.float32(types.uint32), codegen


widened_f16 = f32_of_f16_by_instruction if has_instruction("f16c") else f32_of_f16


@scalar
def _real_of_f16(cell):
    return widened_f16(uint32(cell))


@scalar
def _real_of_bf16(cell):
    return f32_of_bf16(uint32(cell))


@scalar
def _cell_of_real(row, value):
    """A number of the working precision as a cell of a row: rounded once, where that holds halves."""
    return value


@scalar
def _cell_of_f16(row, value):
    return uint16(f16_of_f32(value))


@scalar
def _cell_of_bf16(row, value):
    return int16(bf16_of_f32(value))


as_real = by_format(_real_of_real, _real_of_f16, _real_of_bf16)
as_cell = by_format(_cell_of_real, _cell_of_f16, _cell_of_bf16)


@loop
def _tile_of_reals(buffer, cells, mask, flags, outer, inner, start, n):
    """One tile of one row as contiguous logits: the row itself where it is packed and nothing is to be done to it.

    Parameters
    ----------
    buffer : scratch real[>= n], contiguous
    cells : IN cell[outer, inner, K]
        Logits, or probabilities under `IS_PROBS`.
    mask : IN uint8[outer, inner, K]
        Looked at under `HAS_MASK` only.
    flags, outer, inner, start, n : int64
        What is given; the row; the first column; how many.

    Returns
    -------
    real[n]
        Logits, -inf where masked, NaN for a negative probability. Not to be written to.
    """
    row = cells[outer, inner, start : start + n]
    if flags & (IS_PROBS | HAS_MASK) == 0 and row.strides[0] == row.itemsize:
        return as_contiguous(row)
    x = buffer[:n]
    read_tile(x, row)
    if flags & IS_PROBS:
        for j in range(n):
            x[j] = log(x[j])
    if flags & HAS_MASK:
        exclude(x, mask[outer, inner, start : start + n], x.dtype.type(-INF_F64))
    return x


@loop
def _tile_of_halves(buffer, cells, mask, flags, outer, inner, start, n):
    """The same, always in the buffer."""
    x = buffer[:n]
    read_tile(x, cells[outer, inner, start : start + n])
    if flags & IS_PROBS:
        for j in range(n):
            x[j] = log(x[j])
    if flags & HAS_MASK:
        exclude(x, mask[outer, inner, start : start + n], x.dtype.type(-INF_F64))
    return x


@loop
def _tile_of_packed_halves(row, cells, mask, flags, outer, inner, start, n):
    """Halves as they lie, for loops that widen each as they read it. IN half[K] contiguous, the row, in the buffer's place."""
    return row[start : start + n]


tile_of = by_buffer(_tile_of_reals, _tile_of_halves, _tile_of_packed_halves)


@loop
def largest_of(x):
    """The largest logit of a tile, undefined where one is NaN, and whether one is. IN cell[n], contiguous."""
    largest, unordered = real_of(x)(-INF_F64), False
    for j in range(x.shape[0]):
        logit = as_real(x[j])
        largest = larger(largest, logit)
        unordered |= logit != logit
    return largest, unordered


# Packed rows have a loop of their own, which LLVM vectorises, beside the one for any stride. Both stand in one function: a
# function costs 50 ms of compilation.


@loop
def read_tile(values, row):
    """values = row. OUT real[n] contiguous, IN cell[n] any stride."""
    if row.strides[0] == row.itemsize:
        packed = as_contiguous(row)
        for j in range(values.shape[0]):
            values[j] = as_real(packed[j])
    else:
        for j in range(values.shape[0]):
            values[j] = as_real(row[j])


@loop
def store_tile(row, values):
    """row = values, rounded once where they become halves. OUT cell[n] any stride, IN real[n] contiguous."""
    if row.strides[0] == row.itemsize:
        packed = as_contiguous(row)
        for j in range(values.shape[0]):
            packed[j] = as_cell(row, values[j])
    else:
        for j in range(values.shape[0]):
            row[j] = as_cell(row, values[j])


@loop
def store_rows(out, values, start, n):
    """out[outer, inner] = values for n rows from `start` on in C order. OUT [outer, inner] any stride, IN [>= n] contiguous."""
    count = out.shape[1]
    outer = start // count
    inner = start - outer * count
    done = 0
    while done < n:
        m = min(n - done, count - inner)
        store_tile(out[outer, inner : inner + m], values[done : done + m])
        outer, inner, done = outer + 1, 0, done + m


@loop
def exclude(values, mask, nothing):
    """values = nothing where mask is 0. INOUT real[n] contiguous, IN uint8[n] any stride."""
    if mask.strides[0] == mask.itemsize:
        packed = as_contiguous(mask)
        for j in range(values.shape[0]):
            values[j] = values[j] if packed[j] != 0 else nothing
    else:
        for j in range(values.shape[0]):
            values[j] = values[j] if mask[j] != 0 else nothing


@loop
def fill_row(row, value):
    """row = value. OUT real[n] any stride."""
    if row.strides[0] == row.itemsize:
        packed = as_contiguous(row)
        for j in range(row.shape[0]):
            packed[j] = value
    else:
        for j in range(row.shape[0]):
            row[j] = value


@loop
def divide_row(row, divisor):
    """row /= divisor, as `quotient` does it. INOUT real[n] any stride."""
    reciprocal = row.dtype.type(1.0) / divisor
    if row.strides[0] == row.itemsize:
        packed = as_contiguous(row)
        for j in range(row.shape[0]):
            packed[j] = quotient(packed[j], divisor, reciprocal)
    else:
        for j in range(row.shape[0]):
            row[j] = quotient(row[j], divisor, reciprocal)


@loop
def note_invalid(invalid, row):
    """Count an invalid row and keep the first few. INOUT int64[1 + n]: count, then row positions. Returns 1, for a count."""
    count = invalid[0] + 1
    invalid[0] = count
    if count < invalid.shape[0]:
        invalid[count] = row
    return 1


@loop
def first_at_least(values, bound):
    """First position with values[j] >= bound, or the length: the lowest index wins a tie.

    A search that stops at the first hit stays scalar (0.4 ns a value); asking 128 values at a time whether there is one does
    not (0.04 ns).
    """
    n = values.shape[0]
    for start in range(0, n, 128):
        part = values[start : min(start + 128, n)]
        found = False
        for j in range(part.shape[0]):
            found |= as_real(part[j]) >= bound
        if found:
            for j in range(part.shape[0]):
                if as_real(part[j]) >= bound:
                    return start + j
    return n


@loop
def largest_of_row(buffer, cells, mask, flags, outer, inner, begin, end):
    """(largest logit as float64, its first column or -1, whether an allowed cell is NaN) over columns begin .. end of one row.

    The column is -1 where nothing is allowed, and with a NaN. Scratch real[TILE]; the rest as in `tile_of`.
    """
    largest, at = -INF_F64, -1
    for start in range(begin, end, TILE):
        x = tile_of(buffer, cells, mask, flags, outer, inner, start, min(TILE, end - start))
        here, unordered = largest_of(x)
        if unordered:
            return largest, -1, True
        if float64(here) > largest:
            largest, at = float64(here), start + first_at_least(x, here)
    return largest, at, False
