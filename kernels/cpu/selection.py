"""The largest of a list of scores, in order, without a heap: a cut by counting, then a sort of the few that are left.

A heap takes a chain of unforeseeable branches for every entry, 50 ns at a hundred entries. Counting how many scores reach a
value is a packed loop, and bisecting the value ends after a few counts, since a few more than wanted may be left to the sort.

Lists are kept in the order of columns, and everything here is stable: of equal scores the lowest index stays, and comes first.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy import int32, int64, uint64

from ..elementary import INF_F64, bits_of_f32, bits_of_f64, f32_of_bits, f64_of_bits
from ..jit import by_precision, larger, loop, scalar
from .bound import PIECE

# Values of one word of marks.
MARKS = 64

# Guesses of a cut that take the spacing of scores for that of the noise.
GUESSES = 12

# Entries sorted by insertion before runs are merged.
RUN = 16


@intrinsic
def marks_at_least(typingctx, values, at, limit):
    """A uint64 whose bit j tells whether values[at + j] >= limit, of 64 floats of a contiguous array, all within it."""
    if not isinstance(values, types.Array) or values.layout != "C" or values.dtype != limit:
        return None

    def codegen(context, builder, signature, arguments):
        data = context.make_array(values)(context, builder, arguments[0]).data
        real, width = context.get_data_type(limit), ir.Constant(ir.IntType(32), 0)
        packed = ir.VectorType(real, MARKS)
        place = builder.bitcast(builder.gep(data, [arguments[1]]), packed.as_pointer())
        block = builder.load(place, align=context.get_abi_sizeof(real))
        one = builder.insert_element(ir.Constant(packed, ir.Undefined), arguments[2], width)
        same = ir.Constant(ir.VectorType(ir.IntType(32), MARKS), [0] * MARKS)
        limits = builder.shuffle_vector(one, ir.Constant(packed, ir.Undefined), same)
        return builder.bitcast(builder.fcmp_ordered(">=", block, limits), ir.IntType(MARKS))

    return types.uint64(values, types.intp, limit), codegen


@intrinsic
def lowest_mark(typingctx, marks):
    """Position of the lowest bit set of a uint64 that is not 0."""

    def codegen(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


@loop
def collect(at, size, values, tops, limit, n, start):
    """Append the columns of those values of a tile that reach a limit, in order; returns how many there are then.

    INOUT uint64[>= size + n], contiguous; IN real[TILE], contiguous, of which the first n count; IN real[PIECES], values which
    none of their piece is above; the limit; `start` is the tile's first column.
    """
    to = uint64(size)
    for piece in range((n + PIECE - 1) // PIECE):
        if tops[piece] >= limit:
            for here in range(piece * PIECE, min((piece + 1) * PIECE, n), MARKS):
                marks = marks_at_least(values, here, limit)
                if here + MARKS > n:
                    marks &= (uint64(1) << uint64(n - here)) - uint64(1)
                while marks != uint64(0):
                    at[to] = uint64(start + here) + lowest_mark(marks)
                    to += uint64(1)
                    marks &= marks - uint64(1)
    return int64(to)


@scalar
def rank_f32(x):
    """An integer that rises with a float32 by one from each to the next."""
    bits = bits_of_f32(x)
    return int64(int32(bits ^ int32(int32(bits >> int32(31)) & int32(0x7FFFFFFF))))


@scalar
def rank_f64(x):
    """As `rank_f32`."""
    bits = bits_of_f64(x)
    return int64(bits ^ int64(int64(bits >> int64(63)) & int64(0x7FFFFFFFFFFFFFFF)))


@scalar
def ranked_f32(rank, like):
    """The float32 of a rank."""
    bits = int32(rank)
    return f32_of_bits(int32(bits ^ int32(int32(bits >> int32(31)) & int32(0x7FFFFFFF))))


@scalar
def ranked_f64(rank, like):
    """The float64 of a rank."""
    return f64_of_bits(int64(rank ^ int64(int64(rank >> int64(63)) & int64(0x7FFFFFFFFFFFFFFF))))


rank = by_precision(rank_f32, rank_f64)
ranked = by_precision(ranked_f32, ranked_f64)


@loop
def smallest_of(values):
    """The smallest of values without a NaN. IN real[n], contiguous."""
    largest = values.dtype.type(-INF_F64)
    for j in range(values.shape[0]):
        largest = larger(largest, -values[j])
    return -largest


@loop
def cut(values, low, high, wanted, spare):
    """(value, equals): a value that at least `wanted` of `values` reach, and at most `spare` more where ties allow that.

    Where they do not, it is the wanted-th largest, and only the first `equals` of those equal to it are to be kept. Where fewer
    than `wanted` reach `low`, it is `low`.

    Scores lie apart as the noise does, some units: the first guesses are steps down and then halves between floats. What these
    do not settle, halves between their ranks do.

    Parameters
    ----------
    values : IN real[n], contiguous, no NaN
    low, high : real
        `low` or more are all that count, and none is above `high`.
    wanted, spare : int64
    """
    n, real = values.shape[0], values.dtype.type
    if n <= wanted + spare:
        return (larger(smallest_of(values), low) if n >= wanted else low), n
    below, above = rank(low), rank(high)  # the value is between them
    reached, more = False, 0  # whether enough reach `below`; how many are above `above`
    step = real(2.0)
    for guesses in range(999):
        if below == above:
            break
        middle = int64(uint64(above) - ((uint64(above) - uint64(below)) >> uint64(1)))
        if guesses < GUESSES:
            top = ranked(above, low)
            guess = rank(real(0.5) * top + real(0.5) * ranked(below, low) if reached else top - step)
            middle = guess if below < guess <= above else middle
        value, count = ranked(middle, low), int32(0)
        for j in range(n):
            count = int32(count + int32(values[j] >= value))
        if count < wanted:
            above, more = middle - 1, int64(count)
            step += step
        elif count <= wanted + spare:
            return value, n
        else:
            below, reached = middle, True
    return ranked(below, low), wanted - more


@loop
def keep(score, index, size, value, equals):
    """Drop entries below a value, and those equal to it but the first `equals`; returns how many are left.

    INOUT real[>= size], int64[>= size], contiguous.
    """
    kept = uint64(0)
    for j in range(size):
        s = score[j]
        score[kept], index[kept] = s, index[j]
        tied = s == value
        kept += uint64((s > value) | (tied & (equals > 0)))
        equals -= int64(tied)
    return int64(kept)


@loop
def insert_all(score, index, wanted, values, n, start):
    """The `wanted` largest of the first n values above -inf into an empty list, in order; returns how many there are.

    OUT real[>= wanted], int64[>= wanted]; IN real[>= n], all contiguous. For a few values, faster than cut and sort.
    """
    size, nothing = 0, values.dtype.type(-INF_F64)
    for j in range(n):
        s = values[j]
        if s > (score[size - 1] if size == wanted else nothing):
            to = min(size, wanted - 1)
            size = to + 1
            while to > 0 and score[to - 1] < s:
                score[to], index[to] = score[to - 1], index[to - 1]
                to -= 1
            score[to], index[to] = s, start + j
    return size


@loop
def sort(score, index, other_score, other_index):
    """Entries from the largest score down, equal ones in the order they had; True where they end up in the other arrays.

    INOUT real[n], int64[n]; scratch real[n], int64[n], all contiguous.
    """
    n = score.shape[0]
    for start in range(0, n, RUN):
        for j in range(start + 1, min(start + RUN, n)):
            s, i, to = score[j], index[j], j
            while to > start and score[to - 1] < s:
                score[to], index[to] = score[to - 1], index[to - 1]
                to -= 1
            score[to], index[to] = s, i
    width, moved = RUN, False
    while width < n:
        for start in range(0, n, 2 * width):
            left, middle, end = uint64(start), uint64(min(start + width, n)), uint64(min(start + 2 * width, n))
            right = middle
            for to in range(uint64(start), end):
                second = right < end and (left >= middle or score[right] > score[left])
                at = right if second else left
                other_score[to], other_index[to] = score[at], index[at]
                right += uint64(second)
                left += uint64(not second)
        score, other_score = other_score, score
        index, other_index = other_index, index
        width *= 2
        moved = not moved
    return moved
