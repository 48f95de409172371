"""Categorical samples of rows of different lengths that lie one behind the other: row r is values[offsets[r]:offsets[r + 1]].

Rows stand side by side, one a lane as in `lanes`, a block of them ordered by length. So a group of eight columns is made for no
more lanes than have any of them: what is computed in vain is what fills up the last group of a row, and whole vectors. A few
rows that are much longer than the others of their block are computed by bound, one by one, as are rows that are left open.

Beside what `lanes` takes, a row costs 10 ns to be put in order, and 1 to 3 a group of eight to be fetched.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy import int32, int64, uint16, uint32, uint64

from ..elementary import INF_F64
from ..field import DOMAIN_COARSE, counter_of_step, key_of_step
from ..jit import loop, real_of, reinterpret, row_kernel, sink, stack_array, view
from ..philox import LOW_HALF
from .argmax import argmax_of_row
from .bits import HALVES
from .bound import PIECES
from .cells import (
    HAS_COLS,
    HAS_MASK,
    HAS_TEMPERATURES,
    IS_PROBS,
    TILE,
    log,
    note_invalid,
    row_of,
    row_types,
    step_of,
    temperature_of,
)
from .lanes import (
    ADDRESSES,
    BEST,
    COUNTER,
    GROUP,
    INTEGERS,
    INVERSE,
    LANES,
    LOGITS,
    REALS,
    ROW_HIGH,
    ROW_LOW,
    SECOND,
    TOTAL,
    WORDS,
    compare_lanes,
    decide_lanes,
    fill_lane_words,
    steps_alike,
    store_chosen,
)
from .lanes_of_ids import IDS, fill_halves_of_ids
from .noise import row_address
from .turning import turn_block, widen_lanes

# Groups of the longest rows that stand side by side, 512 columns; and room to count rows by their groups.
GROUPS = 64
COUNTS = GROUPS + 2


@intrinsic
def as_rows(typingctx, array):
    """A contiguous vector as rows of eight, shape (1, n / 8, 8)."""
    result = types.Array(array.dtype, 3, "C")

    def codegen(context, builder, signature, arguments):
        source, target = context.make_array(array)(context, builder, arguments[0]), context.make_array(result)(context, builder)
        word = context.get_value_type(types.intp)
        size = context.get_abi_sizeof(context.get_data_type(array.dtype))
        length = builder.extract_value(source.shape, 0)
        shape = [word(1), builder.udiv(length, word(GROUP)), word(GROUP)]
        strides = [builder.mul(length, word(size)), word(GROUP * size), word(size)]
        context.populate_array(target, data=source.data, shape=shape, strides=strides, itemsize=word(size), meminfo=None)
        return target._getvalue()

    return result(array), codegen


@intrinsic
def copy_eight(typingctx, target, at, values, position):
    """target[at:at + 8] = values[0, 0, position:position + 8], packed and of one type, in one load and one store."""
    element = target.dtype

    def codegen(context, builder, signature, arguments):
        eight = ir.VectorType(context.get_data_type(element), GROUP).as_pointer()
        destination = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        source = context.make_array(signature.args[2])(context, builder, arguments[2]).data
        align = element.bitwidth // 8
        loaded = builder.load(builder.bitcast(builder.gep(source, [arguments[3]]), eight), align=align)
        builder.store(loaded, builder.bitcast(builder.gep(destination, [arguments[1]]), eight), align=align)
        return context.get_dummy_value()

    return types.void(target, types.int64, values, types.int64), codegen


@loop
def order_rows(order, starts, lengths, counts, offsets, start, n):
    """Lanes of n rows from `start` on, those with most groups of eight columns first, and none beyond `GROUPS` of them.

    Parameters
    ----------
    order : OUT int64[LANES]
        Row of each lane, counted from `start`; rows that are empty or too long come last.
    starts : OUT int64[LANES]
        Place of the first value of each lane's row.
    lengths : OUT int32[LANES]
        Its columns; 0 for a row that is too long, and for lanes without a row.
    counts : OUT int64[COUNTS]
        How many rows have more than so many groups.
    offsets : IN int64[rows + 1]
    start, n : int64
    """
    for g in range(COUNTS):
        counts[g] = 0
    for r in range(n):
        groups = (offsets[start + r + 1] - offsets[start + r] + GROUP - 1) // GROUP
        counts[groups if groups <= GROUPS else 0] += 1
    more = int64(0)
    for i in range(COUNTS):
        g = COUNTS - 1 - i
        here = counts[g]
        counts[g] = more  # for now, the lane of the next row with so many groups
        more += here
    for r in range(n):
        first, end = offsets[start + r], offsets[start + r + 1]
        groups = (end - first + GROUP - 1) // GROUP
        fits = groups <= GROUPS
        groups = groups if fits else 0
        lane = counts[groups]
        counts[groups] = lane + 1
        order[lane], starts[lane] = r, first
        lengths[lane] = int32(end - first) if fits else int32(0)
    for g in range(COUNTS - 1):
        counts[g] = counts[g + 1]
    for r in range(n, LANES):
        order[r], starts[r], lengths[r] = 0, 0, 0


@loop
def start_ragged_lanes(reals, addresses, order, step, steps, rows, flags, temperature, temperatures, start, lanes):
    """Addresses and temperatures of the rows in lanes, and empty bests. IN int64[LANES], what `argmax_ragged` takes."""
    real = reals.dtype.type
    for r in range(lanes):
        row = start + order[r]
        id = uint64(row_of(rows, flags, 0, row, row))
        addresses[ROW_LOW + r] = id & LOW_HALF
        addresses[ROW_HIGH + r] = id >> uint64(32)
        addresses[COUNTER + r] = uint64(counter_of_step(step_of(step, steps, flags, 0, row), DOMAIN_COARSE))
        reals[INVERSE + r] = real(1.0 / temperature_of(temperature, temperatures, flags, 0, row))
    for r in range(lanes):
        reals[BEST + r] = real(-INF_F64)
        reals[SECOND + r] = real(-INF_F64)
        reals[TOTAL + r] = real(0.0)


@loop
def gather_lanes(lanes, at, scratch, values, starts, begin, n):
    """lanes[at + r + LANES * h] = values[starts[r] + begin + h], h below 8, as far as there are values, for n lanes.

    OUT number[at + 8 * LANES]; scratch number[8 * LANES]; IN number[1, 1, N], int64[LANES].
    """
    total, block = values.shape[2], 64 // lanes.itemsize
    packed = values.strides[2] == values.itemsize
    for r in range(n):
        place = starts[r] + begin
        if packed and place + GROUP <= total:
            copy_eight(scratch, r * GROUP, values, place)
        else:
            for h in range(min(GROUP, total - place)):
                scratch[r * GROUP + h] = values[0, 0, place + h]
    for r in range(0, n, block):
        turn_block(lanes, at + r, LANES, as_rows(scratch), 0, r, 0)
    widen_lanes(values, lanes, at, LANES, n)


@loop
def exclude_lanes(reals, allowed, mask, starts, lengths, flags, begin, width, n, lanes):
    """Logits of a group of columns: the logarithm of probabilities, and -inf beyond a row's end and where masked.

    INOUT real[12, LANES] from LOGITS on; scratch uint32[LANES]; IN uint8[1, 1, N], int64[LANES], int32[LANES].
    """
    real = reals.dtype.type
    for r in range(lanes):  # a bit a column
        left = int32(lengths[r] - int32(begin))
        left = left if left > int32(0) else int32(0)
        left = left if left < int32(GROUP) else int32(GROUP)
        allowed[r] = uint32(uint32(uint32(1) << uint32(left)) - uint32(1))
    if flags & HAS_MASK:
        for r in range(n):
            bits = 0
            for h in range(min(GROUP, lengths[r] - begin)):
                bits |= int64(mask[0, 0, starts[r] + begin + h] != 0) << h
            allowed[r] = uint32(bits)
    for h in range((width + 1) & ~1):
        x, bit = reals[LOGITS + h * LANES :], uint32(1 << h)
        if flags & IS_PROBS:
            for r in range(lanes):
                x[r] = log(x[r])
        for r in range(lanes):
            x[r] = x[r] if uint32(allowed[r] & bit) != uint32(0) else real(-INF_F64)


@row_kernel(
    lambda cell: types.int64(
        *row_types(cell),
        view(types.int64, 1),
        types.int64,
        types.int64,
        sink(types.int64, 2),
        sink(types.int32, 2),
        sink(types.int64, 1),
    )
)
def argmax_ragged(
    k0,
    k1,
    step,
    steps,
    rows,
    cols,
    cells,
    mask,
    flags,
    temperature,
    temperatures,
    offsets,
    first,
    last,
    index,
    narrow,
    invalid,
):
    """index = argmax(logits / T + G) over rows first .. last, each one a stretch of one vector.

    Parameters
    ----------
    k0, k1, step, flags, temperature
        As in `argmax_rows`.
    steps, rows : IN int64[1, rows]
    temperatures : IN float64[1, rows]
        As in `argmax_rows`.
    cells : IN real[1, 1, N]
    mask : IN uint8[1, 1, N]
    cols : IN int64[1, 1, N]
        As in `argmax_rows`, one a value; ids that are positions in the row are given as 0 alone.
    offsets : IN int64[rows + 1]
        Where each row starts, and the last ends: not decreasing, from 0 to N.
    first, last : int64
        Rows to do.
    index, narrow : OUT int64[1, rows], int32[1, rows]
        As in `argmax_rows`.
    invalid : INOUT int64[1 + n]
        Count and first positions of invalid rows, which empty ones are.

    Returns
    -------
    int64
        How many rows are invalid.
    """
    count = offsets.shape[0] - 1
    real = real_of(cells)
    reals, integers = stack_array(REALS, real), stack_array(INTEGERS, uint32)
    addresses, decided, chosen = stack_array(ADDRESSES, uint64), stack_array(LANES, int64), stack_array(LANES, int64)
    order, starts, lengths = stack_array(LANES, int64), stack_array(LANES, int64), stack_array(LANES, int32)
    counts, scratch, allowed = stack_array(COUNTS, int64), stack_array(IDS, cells.dtype), stack_array(LANES, uint32)
    ids, id_scratch, halves = stack_array(IDS, int64), stack_array(IDS, int64), stack_array(LANES, uint32)
    buffer, bound, tops = stack_array(TILE, real), stack_array(TILE, real), stack_array(PIECES, real)
    pairs = stack_array(HALVES, uint64)
    coarse = reinterpret(pairs, uint16)
    bad, start = 0, first
    while start < last:
        n = steps_alike(step, steps, flags, start, min(LANES, last - start), count)
        order_rows(order, starts, lengths, counts, offsets, start, n)
        for r in range(n):
            chosen[r] = -1
        some = counts[0]
        if some > 0 and (temperature != 0.0 or flags & HAS_TEMPERATURES):
            lanes = (some + 15) & ~15  # whole vectors
            start_ragged_lanes(reals, addresses, order, step, steps, rows, flags, temperature, temperatures, start, lanes)
            a, b = key_of_step(k0, k1, step_of(step, steps, flags, 0, start))
            longest = 0
            while counts[longest] > 0:
                longest += 1
            group = 0
            # The rows left are given up where 16 lanes of what is left, 0.2 us a group, take longer than they do alone, 0.4 us.
            while group < longest and 2 * counts[group] >= longest - group:
                begin, here = group * GROUP, counts[group]
                width = GROUP
                if counts[group + 1] == 0:
                    width = 0
                    for r in range(here):
                        width = max(width, lengths[r] - begin)
                lanes = (here + 15) & ~15
                gather_lanes(reals, LOGITS, scratch, cells, starts, begin, here)
                exclude_lanes(reals, allowed, mask, starts, lengths, flags, begin, width, here, lanes)
                if flags & HAS_COLS:
                    gather_lanes(ids, 0, id_scratch, cols, starts, begin, here)
                else:
                    fill_lane_words(integers, addresses, group, a, b, lanes)
                for h in range(0, width, 2):
                    left, right = reals[LOGITS + h * LANES :], reals[LOGITS + (h + 1) * LANES :]
                    words = integers[WORDS + (h >> 1) * LANES :]
                    if flags & HAS_COLS:
                        words = halves
                        fill_halves_of_ids(halves, addresses, ids[h * LANES :], ids[(h + 1) * LANES :], a, b, lanes)
                    compare_lanes(reals, integers, left, right, words, uint32(begin + h), lanes)
                group += 1
            decide_lanes(reals, integers, decided, (some + 15) & ~15)
            for r in range(counts[group], some):
                chosen[order[r]] = decided[r]
        for r in range(n):
            if chosen[r] < 0:
                row, low, high = start + r, offsets[start + r], offsets[start + r + 1]
                address = row_address(k0, k1, step, steps, rows, flags, 0, row, row)
                t = temperature_of(temperature, temperatures, flags, 0, row)
                _, chosen[r], _ = argmax_of_row(
                    cells[:, :, low:high],
                    bound,
                    tops,
                    buffer,
                    pairs,
                    coarse,
                    address,
                    t,
                    cols[:, :, low:high] if flags & HAS_COLS else cols,
                    mask[:, :, low:high] if flags & HAS_MASK else mask,
                    flags,
                    0,
                    0,
                    0,
                    high - low,
                )
                if chosen[r] < 0:
                    bad += note_invalid(invalid, row)
        store_chosen(index, narrow, chosen, flags, start, n)
        start += n
    return bad
