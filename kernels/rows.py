"""One row at a time, for a user's own compiled code: the loops behind `numgumbel.nb`.

No buffers, no heap, no exceptions: an array is read and written where it lies, so that a row of any length needs nothing but
registers, and the same source makes a device function. Every result is that of the array functions, to the bit.

A sample is decided by the brackets of `cpu.bracket`: one Philox call for eight columns and no logarithm. Where the best bracket
does not end above all others, one row of 5 categories in two hundred, those that reach into it are evaluated exactly.
"""

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numpy import float32, float64, int32, int64, uint32, uint64

from .cpu.bits import half_of, join_halves, pair_of, philox4x32_pairs
from .cpu.bound import below_range, exact_score
from .cpu.bracket import gumbel_width, score_above
from .cpu.cells import HAS_COLS, HAS_MASK, IS_PROBS, log
from .cpu.inverse_cdf import weight_scale
from .cpu.softmax import exp_nonpositive
from .cpu.sums import BLOCK, LANES
from .elementary import INF_F64, MAX_F32, MAX_F64, NAN_F64, exp_f64, fma, mulhi64, quotient
from .field import (
    DOMAIN_COARSE,
    DOMAIN_FINE,
    DOMAIN_TAIL_HIGH,
    DOMAIN_TAIL_LOW,
    TAIL_BELOW,
    address_of,
    bits_at,
    exponential_at_f32,
    exponential_at_f64,
    exponential_f32,
    exponential_f64,
    exponential_of_f32,
    exponential_of_f64,
    exponential_tail_f32,
    field_tail,
    gumbel_at_f32,
    gumbel_at_f64,
    gumbel_of_exponential_f32,
    gumbel_of_exponential_f64,
    score_f32,
    score_f64,
    uniform_bits_at,
)
from .jit import by_precision, inlined_loop, loop, scalar
from .philox import fold

GROUP = 8
LOWEST, HIGHEST = 2.0**-64, 2.0**64  # temperatures

# --- arguments ---------------------------------------------------------------------------------------------------------------


@intrinsic
def array_or(typingctx, given, other):
    """An optional array, or another in its place where it is None: what is not given is not looked at either."""
    absent = isinstance(given, types.NoneType)
    result = other if absent else given

    def codegen(context, builder, signature, arguments):
        chosen = arguments[1 if absent else 0]
        if context.enable_nrt:
            context.nrt.incref(builder, result, chosen)
        return chosen

    return result(given, other), codegen


@intrinsic
def flag_if(typingctx, given, flag):
    """The flag where an optional array is given, else 0: a constant."""
    absent = isinstance(given, types.NoneType)

    def codegen(context, builder, signature, arguments):
        return ir.Constant(ir.IntType(64), 0) if absent else context.cast(builder, arguments[1], flag, types.int64)

    return types.int64(given, flag), codegen


@intrinsic
def check_row(typingctx, array, like):
    """Nothing at run time; a compile-time error unless `array` is a 1-D array of float32 or float64, of the dtype of `like`."""
    if not (isinstance(array, types.Array) and array.ndim == 1 and array.dtype in (types.float32, types.float64)):
        raise TypingError(f"numgumbel.nb takes 1-D arrays of float32 or float64, got {array}")
    if isinstance(like, types.Array) and array.dtype != like.dtype:
        raise TypingError(f"numgumbel.nb takes out in the dtype of the logits, {like.dtype}, got {array.dtype}")

    def codegen(context, builder, signature, arguments):
        return context.get_dummy_value()

    return types.none(array, like), codegen


@scalar
def words_of(key):
    """(k0, k1) of a key as one number."""
    return uint32(uint64(key)), uint32(uint64(key) >> uint64(32))


@scalar
def address_of_row(key, step, row):
    """(k0, k1, c3, r0, r1) of a row; see `address_of`."""
    k0, k1 = words_of(key)
    return address_of(k0, k1, int64(step), int64(row))


@scalar
def in_range(temperature):
    """True for 0 and from 2^-64 to 2^64."""
    return temperature == 0.0 or (temperature >= LOWEST and temperature <= HIGHEST)


@inlined_loop
def cell_of(cells, mask, flags, j):
    """The logit at a position, -inf where masked, NaN for a negative probability."""
    real = cells.dtype.type
    if flags & HAS_MASK and mask[j] == 0:
        return real(-INF_F64)
    return log(cells[j]) if flags & IS_PROBS else cells[j]


@scalar
def column_of(cols, flags, j):
    """The id of the column at a position."""
    return int64(cols[j]) if flags & HAS_COLS else int64(j)


# --- cells -------------------------------------------------------------------------------------------------------------------


@scalar
def fold_key(key, x, tag):
    """`fold` of a key as one number."""
    k0, k1 = words_of(key)
    a, b = fold(k0, k1, uint64(x), uint32(tag))
    return (uint64(b) << uint64(32)) | uint64(a)


@scalar
def cell_bits(key, step, row, col):
    """(b32, tail) at an address."""
    k0, k1 = words_of(key)
    return bits_at(k0, k1, int64(step), int64(row), int64(col))


@scalar
def cell_exponential_f64(key, step, row, col):
    """E in float64."""
    k0, k1 = words_of(key)
    return exponential_at_f64(k0, k1, int64(step), int64(row), int64(col))


@scalar
def cell_exponential_f32(key, step, row, col):
    """E in float32."""
    k0, k1 = words_of(key)
    return exponential_at_f32(k0, k1, int64(step), int64(row), int64(col))


@scalar
def cell_gumbel_f64(key, step, row, col):
    """G in float64."""
    k0, k1 = words_of(key)
    return gumbel_at_f64(k0, k1, int64(step), int64(row), int64(col))


@scalar
def cell_gumbel_f32(key, step, row, col):
    """G in float32."""
    k0, k1 = words_of(key)
    return gumbel_at_f32(k0, k1, int64(step), int64(row), int64(col))


@scalar
def row_uniform_bits(key, step, row):
    """The 64 bits of one row's uniform."""
    k0, k1 = words_of(key)
    return uniform_bits_at(k0, k1, int64(step), int64(row))


@scalar
def row_uniform(key, step, row):
    """(the high 52 bits + 1/2) 2^-52, exact, so that neither 0 nor 1 can come of it."""
    high = row_uniform_bits(key, step, row) >> uint64(12)
    return (float64(int64(high)) + 0.5) * 2.0**-52


# --- the field of a row ------------------------------------------------------------------------------------------------------


@scalar
def pairs_of(address, domain, column):
    """Words 0 and 1, and words 2 and 3, of one domain at a column's group, as `philox4x32_pairs` gives them."""
    k0, k1, c3, r0, r1 = address
    return philox4x32_pairs(uint64(column) >> uint64(3), r0, r1, uint32(c3 | domain), k0, k1)


@scalar
def half_at(first, second, h):
    """Half-word h of a group's four words, as uint32."""
    return half_of(second if h & uint64(4) else first, h)


@scalar
def word_of(first, second, h):
    """Word h & 3 of a group's four words."""
    pair = second if h & uint64(2) else first
    return uint32(pair >> ((h & uint64(1)) << uint64(5)))


@scalar
def exponential_of_bits_f32(address, column, b32):
    """E in float32 of a column whose 32 leading bits are known."""
    k0, k1, c3, r0, r1 = address
    if b32 < TAIL_BELOW:
        return exponential_tail_f32(b32, field_tail(k0, k1, c3, r0, r1, column))
    return exponential_f32(b32)


@inlined_loop
def _fill_groups_f32(out, address):
    """out = E, float32, of columns by position: two Philox calls for eight. Arguments as in `fill_exponentials`."""
    n = out.shape[0]
    for start in range(0, n, GROUP):
        c0, c1 = pairs_of(address, DOMAIN_COARSE, start)
        f0, f1 = pairs_of(address, DOMAIN_FINE, start)
        for h in range(min(GROUP, n - start)):
            u = uint64(h)
            b32 = join_halves(half_at(c0, c1, u), half_at(f0, f1, u))
            out[uint64(start) + u] = exponential_of_bits_f32(address, int64(start + h), b32)


@inlined_loop
def _fill_groups_f64(out, address):
    """out = E, float64: four Philox calls for eight; see `_fill_groups_f32`."""
    n = out.shape[0]
    for start in range(0, n, GROUP):
        c0, c1 = pairs_of(address, DOMAIN_COARSE, start)
        f0, f1 = pairs_of(address, DOMAIN_FINE, start)
        low0, low1 = pairs_of(address, DOMAIN_TAIL_LOW, start)
        high0, high1 = pairs_of(address, DOMAIN_TAIL_HIGH, start)
        for h in range(min(GROUP, n - start)):
            u = uint64(h)
            b32 = join_halves(half_at(c0, c1, u), half_at(f0, f1, u))
            tail = word_of(high0, high1, u) if u & uint64(4) else word_of(low0, low1, u)
            out[uint64(start) + u] = exponential_f64((uint64(b32) << uint64(32)) | uint64(tail))


@scalar
def exponential_of_column_f32(out, address, column):
    """E in the precision of `out` at one column."""
    k0, k1, c3, r0, r1 = address
    return exponential_of_f32(k0, k1, c3, r0, r1, column)


@scalar
def exponential_of_column_f64(out, address, column):
    """See `exponential_of_column_f32`."""
    k0, k1, c3, r0, r1 = address
    return exponential_of_f64(k0, k1, c3, r0, r1, column)


_fill_groups = by_precision(_fill_groups_f32, _fill_groups_f64)
exponential_of_column = by_precision(exponential_of_column_f32, exponential_of_column_f64)
gumbel_of_exponential = by_precision(gumbel_of_exponential_f32, gumbel_of_exponential_f64)
score = by_precision(score_f32, score_f64)


@inlined_loop
def fill_exponentials(out, address, cols, flags):
    """out = E of a row.

    Parameters
    ----------
    out : OUT real[K], any stride
    address : tuple
        From `address_of_row`.
    cols : IN integer[K]
        Column ids, under `HAS_COLS`.
    flags : int64
        What is given.
    """
    if flags & HAS_COLS:
        for j in range(out.shape[0]):
            out[j] = exponential_of_column(out, address, int64(cols[j]))
    else:
        _fill_groups(out, address)


@loop
def exponential_row(key, step, row, out, cols=None):
    """out = E of a row. OUT real[K] any stride, IN integer[K] column ids or None."""
    check_row(out, None)
    fill_exponentials(out, address_of_row(key, step, row), array_or(cols, out), flag_if(cols, HAS_COLS))


@loop
def gumbel_row(key, step, row, out, cols=None):
    """out = G of a row. OUT real[K] any stride, IN integer[K] column ids or None."""
    check_row(out, None)
    fill_exponentials(out, address_of_row(key, step, row), array_or(cols, out), flag_if(cols, HAS_COLS))
    for j in range(out.shape[0]):
        out[j] = gumbel_of_exponential(out[j])


@loop
def score_row(key, step, row, logits, out, temperature=1.0, mask=None, cols=None):
    """out = logits / T + G of a row, -inf where masked; the logits themselves at T = 0, NaN all over for a T out of range.

    IN real[K], OUT real[K] any stride, IN [K] nonzero where allowed or None, IN integer[K] column ids or None.
    """
    check_row(logits, None)
    check_row(out, logits)
    flags = flag_if(mask, HAS_MASK) | flag_if(cols, HAS_COLS)
    allowed = array_or(mask, logits)
    real = logits.dtype.type
    t = float64(temperature)
    if t == 0.0:
        for j in range(out.shape[0]):
            out[j] = cell_of(logits, allowed, flags, j) + real(0.0)
    else:
        fill_exponentials(out, address_of_row(key, step, row), array_or(cols, logits), flags)
        inverse = real(1.0 / t) if in_range(t) else real(NAN_F64)
        for j in range(out.shape[0]):
            s = score(cell_of(logits, allowed, flags, j), inverse, gumbel_of_exponential(out[j]))
            out[j] = s if inverse == inverse else inverse


# --- samples -----------------------------------------------------------------------------------------------------------------


@scalar
def floor_of_f32(best, coarse):
    """A number that the score of the category with the best bracket reaches; -inf where the brackets do not hold.

    `gumbel_width` below the top, and the rounding of score and bound, half an ulp each, with as much to spare.
    """
    floor = best - fma(abs(best) + float32(4.0), float32(2.0**-22), gumbel_width(coarse))
    return floor if abs(best) < MAX_F32 / float32(4.0) else float32(-INF_F64)


@scalar
def floor_of_f64(best, coarse):
    """See `floor_of_f32`."""
    floor = best - fma(abs(best) + float64(4.0), float64(2.0**-51), float64(gumbel_width(coarse)))
    return floor if abs(best) < MAX_F64 / 4.0 else -INF_F64


floor_of = by_precision(floor_of_f32, floor_of_f64)


@loop
def greedy_index(cells, mask, flags):
    """Index of the largest allowed logit, the lowest on a tie; -1 where there is none or an allowed one is NaN."""
    best, index, unordered = cells.dtype.type(-INF_F64), -1, False
    for j in range(cells.shape[0]):
        x = cell_of(cells, mask, flags, j)
        unordered |= x != x
        if x > best:
            best, index = x, j
    return -1 if unordered else index


@loop
def exact_index(address, cells, mask, cols, flags, inverse, floor):
    """Index of the largest score of a row that the brackets leave open, or -1.

    Parameters
    ----------
    address : tuple
        From `address_of_row`.
    cells, mask, cols, flags
        As in `index_of_row`.
    inverse : real
        1 / T.
    floor : real
        What the largest score is known to reach.
    """
    best, index, unordered = floor, -1, False
    for j in range(cells.shape[0]):
        x = cell_of(cells, mask, flags, j)
        unordered |= x != x
        if x > -INF_F64:
            column = column_of(cols, flags, j)
            coarse = int32(half_of(pair_of(address, DOMAIN_COARSE, column), column))
            if below_range(best) or score_above(x, inverse, coarse) >= best:
                s = exact_score(x, inverse, address, column)
                if s > best or index < 0:
                    best, index = s, j
    return -1 if unordered else index


@inlined_loop
def index_of_row(key, step, row, cells, mask, cols, flags, temperature):
    """argmax(logits / T + G) of a row, or -1.

    Parameters
    ----------
    key : uint64
    step, row : int64
    cells : IN real[K], any stride
        Logits, or probabilities under `IS_PROBS`.
    mask : IN [K]
        Nonzero where allowed, under `HAS_MASK`.
    cols : IN integer[K]
        Column ids, under `HAS_COLS`.
    flags : int64
        What is given: a constant, so that the rest is compiled away.
    temperature : float64
    """
    real = cells.dtype.type
    if temperature == 0.0:
        return greedy_index(cells, mask, flags)
    if not in_range(temperature):
        return -1
    address = address_of_row(key, step, row)
    inverse = real(1.0 / temperature)
    best, second, total = real(-INF_F64), real(-INF_F64), real(0.0)
    index, best_coarse = 0, int32(0)
    n = cells.shape[0]
    for start in range(0, n, GROUP):
        low, high = pairs_of(address, DOMAIN_COARSE, start)
        for h in range(min(GROUP, n - start)):
            j = start + h
            if flags & HAS_COLS:
                column = int64(cols[j])
                coarse = int32(half_of(pair_of(address, DOMAIN_COARSE, column), column))
            else:
                coarse = int32(half_at(low, high, uint64(h)))
            s = score_above(cell_of(cells, mask, flags, j), inverse, coarse)
            wins = s > best
            lesser = best if wins else s
            second = lesser if lesser > second else second
            best_coarse = coarse if wins else best_coarse
            index = j if wins else index
            best = s if wins else best
            total += s  # NaN where a logit is
    floor = floor_of(best, best_coarse)
    if second < floor and total == total:
        return index
    return exact_index(address, cells, mask, cols, flags, inverse, floor if total == total else real(-INF_F64))


@loop
def categorical_row(key, step, row, logits, temperature=1.0, mask=None, cols=None):
    """Index of a sample of a row of logits, or -1. Arguments as in `score_row`."""
    check_row(logits, None)
    flags = flag_if(mask, HAS_MASK) | flag_if(cols, HAS_COLS)
    return index_of_row(key, step, row, logits, array_or(mask, logits), array_or(cols, logits), flags, float64(temperature))


@loop
def categorical_row_probs(key, step, row, probs, temperature=1.0, mask=None, cols=None):
    """Index of a sample of a row of probabilities, or -1. Arguments as in `score_row`, IN real[K] probabilities."""
    check_row(probs, None)
    flags = flag_if(mask, HAS_MASK) | flag_if(cols, HAS_COLS) | IS_PROBS
    return index_of_row(key, step, row, probs, array_or(mask, probs), array_or(cols, probs), flags, float64(temperature))


@loop
def inverse_cdf_row(key, step, row, logits, temperature=1.0, mask=None):
    """Smallest i whose cumulative integer weight exceeds u * total, or -1; see `cpu.inverse_cdf`. Weights are made twice."""
    check_row(logits, None)
    flags, allowed, t = flag_if(mask, HAS_MASK), array_or(mask, logits), float64(temperature)
    chosen = greedy_index(logits, allowed, flags) if in_range(t) else -1
    if chosen < 0 or t == 0.0 or logits[chosen] == INF_F64:
        return chosen
    n, largest, inverse = logits.shape[0], float64(logits[chosen]), 1.0 / t
    scale = weight_scale(n)
    total = uint64(0)
    for j in range(n):
        total += weight_of(cell_of(logits, allowed, flags, j), largest, inverse, scale)
    target = mulhi64(row_uniform_bits(key, step, row), total)
    below = uint64(0)
    chosen = -1
    while below <= target:
        chosen += 1
        below += weight_of(cell_of(logits, allowed, flags, chosen), largest, inverse, scale)
    return chosen


@scalar
def weight_of(x, largest, inverse, scale):
    """floor(exp((x - largest) / T) scale)."""
    return uint64(int64(exp_f64((float64(x) - largest) * inverse) * scale))


@loop
def gumbel_softmax_row(key, step, row, logits, tau, out, mask=None, cols=None):
    """out = softmax((logits + G) / tau) of a row, as `cpu.softmax` makes it; False, and NaN all over, for an invalid row.

    IN real[K], OUT real[K] any stride and apart from the logits, IN [K] nonzero where allowed or None, IN integer[K] or None.
    """
    check_row(logits, None)
    check_row(out, logits)
    flags = flag_if(mask, HAS_MASK) | flag_if(cols, HAS_COLS)
    allowed, ids, t = array_or(mask, logits), array_or(cols, logits), float64(tau)
    real, n = logits.dtype.type, out.shape[0]
    if t == 0.0:
        index = index_of_row(key, step, row, logits, allowed, ids, flags, 1.0)
    else:
        index = greedy_index(logits, allowed, flags) if in_range(t) else -1
    if index < 0 or t == 0.0 or logits[index] == INF_F64:
        for j in range(n):
            out[j] = real(0.0) if index >= 0 else real(NAN_F64)
        if index >= 0:
            out[index] = real(1.0)
        return index >= 0
    fill_exponentials(out, address_of_row(key, step, row), ids, flags)
    if t == 1.0:
        best = logits[index]
        for j in range(n):
            out[j] = exp_nonpositive(cell_of(logits, allowed, flags, j) - best) / out[j]
    else:
        best, inverse = real(-INF_F64), real(1.0 / t)
        for j in range(n):
            s = cell_of(logits, allowed, flags, j) + gumbel_of_exponential(out[j])
            out[j] = s
            best = s if s > best else best
        for j in range(n):
            out[j] = exp_nonpositive((out[j] - best) * inverse)
    divisor = real(sum_of(out))
    reciprocal = real(1.0) / divisor
    for j in range(n):
        out[j] = quotient(out[j], divisor, reciprocal)
    return True


@loop
def sum_of(values):
    """The sum in the order of `cpu.sums`, one partial sum after the other. IN real[n] any stride."""
    total = 0.0
    for first in range(0, values.shape[0], BLOCK):
        last = min(first + BLOCK, values.shape[0])
        here = 0.0
        for p in range(first, min(first + LANES, last)):
            partial = values.dtype.type(0.0)
            for j in range(p, last, LANES):
                partial += values[j]
            here += float64(partial)
        total += here
    return total
