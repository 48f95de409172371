"""Categorical samples of short rows: lanes run across rows, one row a lane, column by column.

A row of six categories fills no vector, and its words of noise are half its cost. So each score is bracketed from the coarse
half-word alone (see `bracket`): where the best row's bracket ends above every other's, that is the sample, which leaves one row
in some hundreds to be computed in full. Every step of it is the same for all rows: no branch, one lane a row.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy import float32, int32, int64, uint32, uint64

from ..elementary import INF_F64, MAX_F32, MAX_F64
from ..field import DOMAIN_COARSE, STEP_BITS, counter_of_step, key_of_step
from ..jit import by_precision, loop, real_of, row_kernel, scalar, sink, stack_array
from ..philox import LOW_HALF
from .bits import HALVES, TAILS, scratch_of
from .bracket import gumbel_width, score_above
from .cells import (
    HAS_MASK,
    HAS_ROWS,
    HAS_STEPS,
    HAS_TEMPERATURES,
    IS_PROBS,
    NARROW,
    log,
    note_invalid,
    row_types,
    step_of,
    store_rows,
    temperature_of,
)
from .dense import WIDTH, argmax_of_short_row
from .noise import row_address
from .philox import ABREAST, VECTOR, store_lanes, store_lanes_abreast
from .turning import turn_rows

# Rows side by side: more of them enter fewer loops, fewer leave the caches to draws, which keep twice as many numbers for each
# (65536 x 6 with 128, 160, 256: 490, 471, 449 us; actions of 4096 x 4: 1.71, 1.70, 1.87 times the bare index).
LANES = 160
GROUP = 8


@scalar
def few(columns):
    """Rows below which a block is computed one by one: sixteen lanes, full or not, take 0.3 us at 6 columns, 5 us at 400."""
    return 3 + min(columns, 320) // 64


# Arrays of lanes lie in three pieces, so that LLVM need not ask at run time whether they overlap.
# uint64[3, LANES]: row id low and high, and the counter of the step.
ROW_LOW, ROW_HIGH, COUNTER, ADDRESSES = 0, LANES, 2 * LANES, 3 * LANES
# real[12, LANES]: 1 / T, the two largest bounds, the sum of all (NaN where a logit is), and the logits of a group.
INVERSE, BEST, SECOND, TOTAL, LOGITS, REALS = 0, LANES, 2 * LANES, 3 * LANES, 4 * LANES, 12 * LANES
# uint32[5, LANES]: what is known of the best, coarse half-word << 16 | column, and the four words of a group.
CODE, WORDS, INTEGERS = 0, LANES, 5 * LANES

# The same as unsigned numbers, for loops: a signed index may be negative, which keeps a loop scalar.
AT_ROW_LOW, AT_ROW_HIGH, AT_COUNTER = uint64(ROW_LOW), uint64(ROW_HIGH), uint64(COUNTER)
AT_INVERSE, AT_BEST, AT_SECOND, AT_TOTAL = uint64(INVERSE), uint64(BEST), uint64(SECOND), uint64(TOTAL)
AT_CODE = uint64(CODE)


@loop
def fill_lane_words(integers, addresses, group, k0, k1, lanes):
    """The four coarse words of a group for every lane. OUT uint32[4, LANES] from WORDS on, IN uint64[3, LANES]."""
    at, done, ended = uint64(WORDS), uint64(0), uint64(lanes)
    while done + uint64(VECTOR * ABREAST) <= ended:
        store_lanes_abreast(integers, at + done, uint64(LANES), uint64(group), addresses, done, k0, k1)
        done += uint64(VECTOR * ABREAST)
    while done < ended:
        store_lanes(integers, at + done, uint64(LANES), uint64(group), addresses, done, k0, k1)
        done += uint64(VECTOR)


@loop
def compare_lanes(reals, integers, left, right, words, column, lanes):
    """Bring two columns, the halves of one word, into the two largest bounds of every lane.

    INOUT real[12, LANES], uint32[5, LANES]; IN real[LANES] twice (logits), uint32[LANES].
    """
    for r in range(lanes):
        i = uint64(r)
        word, inverse = uint32(words[r]), reals[AT_INVERSE + i]
        s0 = score_above(left[r], inverse, int32(word & uint32(0xFFFF)))
        s1 = score_above(right[r], inverse, int32(uint32(word >> uint32(16))))
        code0 = uint32(uint32(word << uint32(16)) | column)
        code1 = uint32(uint32(uint32(word & uint32(0xFFFF0000)) | column) + uint32(1))
        later = s1 > s0
        pair, code = s1 if later else s0, code1 if later else code0
        other = s0 if later else s1
        best, second = reals[AT_BEST + i], reals[AT_SECOND + i]
        wins = pair > best
        lesser = best if wins else pair
        lesser = lesser if lesser > other else other
        reals[AT_BEST + i] = pair if wins else best
        reals[AT_SECOND + i] = lesser if lesser > second else second
        reals[AT_TOTAL + i] += s0 + s1
        integers[AT_CODE + i] = code if wins else integers[AT_CODE + i]


@scalar
def is_decided_f32(best, second, total, width):
    """True where no score can reach that of the best bound's category; not with a NaN, or a number near the end of the range.

    A score is within its bracket but for the rounding of score and bound, half an ulp each.
    """
    near = width + (abs(best) + float32(4.0)) * float32(2.0**-22)
    return (best - second > near) & (abs(best) < MAX_F32 / float32(4.0)) & (total == total)


@scalar
def is_decided_f64(best, second, total, width):
    """See `is_decided_f32`."""
    near = width + (abs(best) + 4.0) * 2.0**-51
    return (best - second > near) & (abs(best) < MAX_F64 / 4.0) & (total == total)


is_decided = by_precision(is_decided_f32, is_decided_f64)


@loop
def decide_lanes(reals, integers, index, lanes):
    """index = the column of the best bound where that decides, else -1; how many are left open. OUT int64[>= lanes]."""
    undecided = 0
    for r in range(lanes):
        i = uint64(r)
        code = integers[AT_CODE + i]
        width = gumbel_width(int32(code >> uint32(16)))
        good = is_decided(reals[AT_BEST + i], reals[AT_SECOND + i], reals[AT_TOTAL + i], width)
        index[r] = int64(code & uint32(0xFFFF)) if good else int64(-1)
        undecided += 0 if good else 1
    return undecided


@loop
def next_open(index, r, n):
    """The first row from r on that is left open, or n. IN int64[>= n]. (Looked at one by one, rows take 0.3 ns each.)"""
    while r + 16 <= n:
        together, first = int64(0), uint64(r)
        for j in range(16):
            together |= index[first + uint64(j)]
        if together < 0:
            break
        r += 16
    while r < n and index[uint64(r)] >= 0:
        r += 1
    return r


@loop
def start_lanes(reals, addresses, step, steps, rows, flags, temperature, temperatures, start, n, lanes, count):
    """Addresses and temperatures of n rows from `start` on, and empty bests, for lanes in whole vectors."""
    real = reals.dtype.type
    first, same = uint64(rows[0, 0] + start), counter_of_step(step, DOMAIN_COARSE)
    inverse = real(1.0 / temperature)
    for r in range(lanes):
        i = uint64(r)
        addresses[AT_ROW_LOW + i] = (first + i) & LOW_HALF
        addresses[AT_ROW_HIGH + i] = (first + i) >> uint64(32)
        addresses[AT_COUNTER + i] = uint64(same)
    for r in range(lanes):
        i = uint64(r)
        reals[AT_INVERSE + i] = inverse
        reals[AT_BEST + i] = real(-INF_F64)
        reals[AT_SECOND + i] = real(-INF_F64)
        reals[AT_TOTAL + i] = real(0.0)
    if flags & (HAS_ROWS | HAS_STEPS | HAS_TEMPERATURES):
        outer = start // count
        inner = start - outer * count
        for r in range(n):
            if flags & HAS_ROWS:
                addresses[ROW_LOW + r] = uint64(rows[outer, inner]) & LOW_HALF
                addresses[ROW_HIGH + r] = uint64(rows[outer, inner]) >> uint64(32)
            if flags & HAS_STEPS:
                addresses[COUNTER + r] = uint64(counter_of_step(steps[outer, inner] + step, DOMAIN_COARSE))
            if flags & HAS_TEMPERATURES:
                reals[INVERSE + r] = real(1.0 / temperatures[outer, inner])
            inner += 1
            if inner == count:
                outer, inner = outer + 1, 0


@intrinsic
def eight_bytes(typingctx, mask, outer, inner, begin):
    """mask[outer, inner, begin : begin + 8] as one number, the first byte low; the caller knows that memory to be there.

    IN uint8[outer, inner, K] with packed columns. (A processor of the other byte order would need them turned.)
    """

    def codegen(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        word = ir.IntType(64)
        offset = word(0)
        for axis, place in enumerate(arguments[1:]):
            offset = builder.add(offset, builder.mul(place, builder.extract_value(array.strides, axis)))
        pointer = builder.bitcast(builder.gep(array.data, [offset]), word.as_pointer())
        return builder.load(pointer, align=1)

    return types.int64(mask, types.int64, types.int64, types.int64), codegen


@loop
def fill_mask_words(words, mask, start, n, begin, width, count):
    """The mask of eight columns of each row in one number, so that it is applied lane by lane. OUT int64[>= n].

    Columns from `width` on may be anything. IN uint8[outer, inner, K], of `count` rows an outer one.
    """
    step = mask.strides[1]
    packed = (mask.strides[2] == 1) & ((step > 0) | ((step == 0) & (width == GROUP)))
    outer = start // count
    inner = start - outer * count
    done = 0
    while done < n:
        m = min(n - done, count - inner)
        safe = 0
        if packed:  # what is read beyond a row's end must end before the last row of the array does
            safe = m if width == GROUP else max(min(m, count - inner - (GROUP - width + step - 1) // step), 0)
        for r in range(safe):
            words[done + r] = eight_bytes(mask, outer, inner + r, begin)
        for r in range(safe, m):
            bits = int64(0)
            for h in range(width):
                bits |= int64(mask[outer, inner + r, begin + h]) << int64(8 * h)
            words[done + r] = bits
        outer, inner, done = outer + 1, 0, done + m


@loop
def load_lanes(reals, scratch, cells, mask, flags, start, n, begin, width, lanes):
    """Logits of up to eight columns, turned from rows to lanes, -inf where masked; lanes without a row hold anything.

    OUT real[12, LANES] from LOGITS on, scratch int64[LANES], IN cell[outer, inner, K], uint8[outer, inner, K].
    """
    count = cells.shape[1]
    turn_rows(reals, LOGITS, LANES, cells, start, n, begin, width)
    if width & 1:  # columns come in pairs
        for r in range(lanes):
            reals[LOGITS + width * LANES + r] = reals.dtype.type(-INF_F64)
    if flags & IS_PROBS:
        weights = reals[LOGITS:]
        for i in range(width * LANES):
            weights[i] = log(weights[i])
    if flags & HAS_MASK:
        fill_mask_words(scratch, mask, start, n, begin, width, count)
        for h in range(width):
            x = reals[LOGITS + h * LANES :]
            for r in range(lanes):
                allowed = (scratch[r] >> int64(8 * h)) & int64(255) != 0
                x[r] = x[r] if allowed else reals.dtype.type(-INF_F64)


@loop
def steps_alike(step, steps, flags, start, n, count):
    """How many of n rows from `start` on have steps with the same part above 2^30, which is folded into the key."""
    if flags & HAS_STEPS == 0:
        return n
    outer = start // count
    inner = start - outer * count
    high = (steps[outer, inner] + step) >> STEP_BITS
    for r in range(n):
        if (steps[outer, inner] + step) >> STEP_BITS != high:
            return r
        inner += 1
        if inner == count:
            outer, inner = outer + 1, 0
    return n


@loop
def store_chosen(index, narrow, chosen, flags, start, n):
    """What was chosen in n rows from `start` on, to one of two outputs. IN int64[>= n]."""
    if flags & NARROW:
        store_rows(narrow, chosen, start, n)
    else:
        store_rows(index, chosen, start, n)


def short_row_types(cell):
    """The types of kernels of short rows: what is shared, first and last row, two outputs, invalid rows."""
    return types.int64(
        *row_types(cell), types.int64, types.int64, sink(types.int64, 2), sink(types.int32, 2), sink(types.int64, 1)
    )


@row_kernel(short_row_types)
def argmax_short_rows(
    k0, k1, step, steps, rows, cols, cells, mask, flags, temperature, temperatures, first, last, index, narrow, invalid
):
    """index = argmax(logits / T + G) over rows first .. last, for rows of up to `WIDTH` columns that are named by position.

    Block by block of lanes: addresses, then words, logits and bounds of a group of columns at a time, then the decision. A
    block ends where the steps' part above 2^30 changes, since it is folded into the key.

    Parameters
    ----------
    As in `argmax_rows`; the first column's id is 0.
    """
    count, columns = cells.shape[1], cells.shape[2]
    real = real_of(cells)
    reals, integers = stack_array(REALS, real), stack_array(INTEGERS, uint32)
    addresses, chosen = stack_array(ADDRESSES, uint64), stack_array(LANES, int64)
    noise = stack_array(WIDTH, real)
    coarse, fine, tails = stack_array(HALVES, uint64), stack_array(HALVES, uint64), stack_array(TAILS, uint64)
    scratch = scratch_of(coarse, fine, tails)
    bad, start = 0, first
    while start < last:
        n = steps_alike(step, steps, flags, start, min(LANES, last - start), count)
        outer = start // count
        inner = start - outer * count
        undecided = n
        if n < few(columns) or (temperature == 0.0 and flags & HAS_TEMPERATURES == 0):
            for r in range(n):
                chosen[r] = -1
        else:
            lanes = (n + 15) & ~15  # whole vectors
            start_lanes(reals, addresses, step, steps, rows, flags, temperature, temperatures, start, n, lanes, count)
            a, b = key_of_step(k0, k1, step_of(step, steps, flags, outer, inner))
            for group in range((columns + GROUP - 1) // GROUP):
                begin = group * GROUP
                width = min(GROUP, columns - begin)
                fill_lane_words(integers, addresses, group, a, b, lanes)
                load_lanes(reals, chosen, cells, mask, flags, start, n, begin, width, lanes)
                for h in range(0, width, 2):
                    left, right = reals[LOGITS + h * LANES :], reals[LOGITS + (h + 1) * LANES :]
                    words = integers[WORDS + (h >> 1) * LANES :]
                    compare_lanes(reals, integers, left, right, words, uint32(begin + h), lanes)
            undecided = decide_lanes(reals, integers, chosen, lanes)
        if undecided > 0:
            r = next_open(chosen, 0, n)
            while r < n:
                outer = (start + r) // count
                inner = start + r - outer * count
                address = row_address(k0, k1, step, steps, rows, flags, outer, inner, start + r)
                t = temperature_of(temperature, temperatures, flags, outer, inner)
                chosen[r] = argmax_of_short_row(noise, scratch, address, t, cells, mask, flags, outer, inner)
                if chosen[r] < 0:
                    bad += note_invalid(invalid, start + r)
                r = next_open(chosen, r + 1, n)
        store_chosen(index, narrow, chosen, flags, start, n)
        start += n
    return bad
