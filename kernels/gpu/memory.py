"""Eight neighbouring cells of a row at once: loads and stores of 16 bytes, which only an intrinsic gives.

And eight numbers of a thread in a block's shared memory, from one pass over a row to the next: in pieces of 16 bytes that lie
side by side with those of the other threads, so that no bank is asked twice.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..jit import BFLOAT16, FLOAT16
from .loading import SIMULATED

GROUP = 8
BYTES = 16

# Threads of a block, everywhere: eight warps, of which the registers of a large kernel still hold two blocks a multiprocessor.
THREADS = 256

# Bytes of shared memory for what threads keep: four groups of float32 a thread, two of float64. A block may have 48 KiB.
KEPT = 32768
KEPT_WORDS = KEPT // 8


def _low_half(builder, cell, word):
    """The low half of a 32-bit word as a float32: a float16 in one instruction, a bfloat16 by moving its bits."""
    if cell == FLOAT16:
        return builder.fpext(builder.bitcast(builder.trunc(word, ir.IntType(16)), ir.HalfType()), ir.FloatType())
    return builder.bitcast(builder.shl(word, ir.IntType(32)(16)), ir.FloatType())


def _high_half(builder, cell, word):
    """The high half of a 32-bit word as a float32."""
    if cell == FLOAT16:
        return _low_half(builder, cell, builder.lshr(word, ir.IntType(32)(16)))
    return builder.bitcast(builder.and_(word, ir.IntType(32)(0xFFFF0000)), ir.FloatType())


@intrinsic
def _real_of_half(typingctx, half):
    """A half as float32, in one instruction."""
    if half not in (FLOAT16, BFLOAT16):
        return None

    def codegen(context, builder, signature, arguments):
        return _low_half(builder, half, builder.zext(arguments[0], ir.IntType(32)))

    return types.float32(half), codegen


@intrinsic
def _load_eight(typingctx, x, cells, outer, inner, start):
    def codegen(context, builder, signature, arguments):
        target = context.make_array(signature.args[0])(context, builder, arguments[0])
        source = context.make_array(signature.args[1])(context, builder, arguments[1])
        word, number = ir.IntType(64), ir.IntType(32)
        base = _row_pointer(builder, source, arguments[2:])
        cell = cells.dtype
        unit = number if cell in (FLOAT16, BFLOAT16) else context.get_data_type(cell)
        each = BYTES // (cell.bitwidth // 8 if unit is not number else 4)
        packed = ir.VectorType(unit, each).as_pointer()
        values = []
        for part in range(GROUP * cell.bitwidth // 8 // BYTES):
            pointer = builder.bitcast(builder.gep(base, [word(part * BYTES)]), packed)
            vector = builder.load(pointer, align=BYTES)
            for lane in range(each):
                value = builder.extract_element(vector, number(lane))
                values += [_low_half(builder, cell, value), _high_half(builder, cell, value)] if unit is number else [value]
        for place, value in enumerate(values):
            builder.store(value, builder.gep(target.data, [word(place)]))
        return context.get_dummy_value()

    return types.void(x, cells, types.int64, types.int64, types.int64), codegen


@intrinsic
def _store_eight(typingctx, cells, x, outer, inner, start):
    def codegen(context, builder, signature, arguments):
        target = context.make_array(signature.args[0])(context, builder, arguments[0])
        source = context.make_array(signature.args[1])(context, builder, arguments[1])
        base = _row_pointer(builder, target, arguments[2:])
        unit, size = context.get_data_type(cells.dtype), cells.dtype.bitwidth // 8
        values = [builder.load(builder.gep(source.data, [ir.IntType(64)(h)])) for h in range(GROUP)]
        _store_pieces(builder, unit, size, values, lambda part: builder.gep(base, [ir.IntType(64)(part * BYTES)]))
        return context.get_dummy_value()

    return types.void(cells, x, types.int64, types.int64, types.int64), codegen


def _row_pointer(builder, array, places):
    """Where a cell of an array lies, as a pointer to bytes."""
    offset = ir.IntType(64)(0)
    for axis, place in enumerate(places):
        offset = builder.add(offset, builder.mul(place, builder.extract_value(array.strides, axis)))
    return builder.gep(builder.bitcast(array.data, ir.IntType(8).as_pointer()), [offset])


def _store_pieces(builder, unit, size, values, place):
    """Store values as vectors of 16 bytes; `place` tells where each lies."""
    each = BYTES // size
    packed = ir.VectorType(unit, each)
    for part in range(len(values) // each):
        vector = ir.Constant(packed, ir.Undefined)
        for lane in range(each):
            vector = builder.insert_element(vector, values[part * each + lane], ir.IntType(32)(lane))
        if size == 2:  # whole words are stored at once, halves four at a time
            packed_words = ir.VectorType(ir.IntType(32), 4)
            vector = builder.bitcast(vector, packed_words)
        builder.store(vector, builder.bitcast(place(part), vector.type.as_pointer()), align=BYTES)


def _kept_place(builder, array, turn, thread, parts):
    """Where each piece of what a thread has kept in a turn lies."""
    word = ir.IntType(32)
    base = builder.bitcast(array.data, ir.IntType(8).as_pointer())
    first = builder.add(builder.mul(turn, word(THREADS * parts)), thread)
    first = builder.gep(base, [builder.zext(builder.mul(first, word(BYTES)), ir.IntType(64))])
    return lambda part: builder.gep(first, [ir.IntType(64)(part * THREADS * BYTES)])


@intrinsic
def _keep_eight(typingctx, kept, x, turn, thread):
    def codegen(context, builder, signature, arguments):
        target = context.make_array(signature.args[0])(context, builder, arguments[0])
        source = context.make_array(signature.args[1])(context, builder, arguments[1])
        unit, size = context.get_data_type(x.dtype), x.dtype.bitwidth // 8
        values = [builder.load(builder.gep(source.data, [ir.IntType(64)(h)])) for h in range(GROUP)]
        _store_pieces(builder, unit, size, values, _kept_place(builder, target, *arguments[2:], GROUP * size // BYTES))
        return context.get_dummy_value()

    return types.void(kept, x, types.int32, types.int32), codegen


@intrinsic
def _fetch_eight(typingctx, x, kept, turn, thread):
    def codegen(context, builder, signature, arguments):
        target = context.make_array(signature.args[0])(context, builder, arguments[0])
        source = context.make_array(signature.args[1])(context, builder, arguments[1])
        unit, size = context.get_data_type(x.dtype), x.dtype.bitwidth // 8
        each = BYTES // size
        place = _kept_place(builder, source, *arguments[2:], GROUP // each)
        for part in range(GROUP // each):
            vector = builder.load(builder.bitcast(place(part), ir.VectorType(unit, each).as_pointer()), align=BYTES)
            for lane in range(each):
                value = builder.extract_element(vector, ir.IntType(32)(lane))
                builder.store(value, builder.gep(target.data, [ir.IntType(64)(part * each + lane)]))
        return context.get_dummy_value()

    return types.void(x, kept, types.int32, types.int32), codegen


@intrinsic
def _lies_packed(typingctx, cells):
    def codegen(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        word = ir.IntType(64)
        places = builder.ptrtoint(array.data, word)
        for axis in range(2):
            several = builder.icmp_signed(">", builder.extract_value(array.shape, axis), word(1))
            places = builder.or_(places, builder.select(several, builder.extract_value(array.strides, axis), word(0)))
        whole = builder.icmp_unsigned("==", builder.and_(places, word(BYTES - 1)), word(0))
        side_by_side = builder.icmp_signed("==", builder.extract_value(array.strides, 2), word(cells.dtype.bitwidth // 8))
        return builder.and_(whole, side_by_side)

    return types.boolean(cells), codegen


def _simulated_real_of_half(half):
    if isinstance(half, np.uint16):
        return np.float32(half.view(np.float16))
    return (np.uint32(half.view(np.uint16)) << np.uint32(16)).view(np.float32)


def _simulated_load_eight(x, cells, outer, inner, start):
    for place in range(GROUP):
        cell = cells[outer, inner, start + place]
        x[place] = cell if isinstance(cell, np.floating) else _simulated_real_of_half(cell)


def _simulated_store_eight(cells, x, outer, inner, start):
    for place in range(GROUP):
        cells[outer, inner, start + place] = x[place]


def _simulated_keep_eight(kept, x, turn, thread):
    at = (turn * THREADS + thread) * GROUP
    kept.view(x.dtype)[at : at + GROUP] = x


def _simulated_fetch_eight(x, kept, turn, thread):
    at = (turn * THREADS + thread) * GROUP
    x[:] = kept.view(x.dtype)[at : at + GROUP]


# real_of_half(half): a float16 (as uint16) or bfloat16 (as int16) as float32.
real_of_half = _simulated_real_of_half if SIMULATED else _real_of_half

# load_eight(x, cells, outer, inner, start): OUT real[8], the thread's own; IN cell[outer, inner, K], from column `start` on.
# The caller knows columns to be packed, the first one's address to be a multiple of 16, and all eight to be there.
load_eight = _simulated_load_eight if SIMULATED else _load_eight

# store_eight(cells, x, outer, inner, start): OUT cell[outer, inner, K], from column `start` on; IN cell[8], the thread's own.
# The caller knows that columns lie so, as of `load_eight`.
store_eight = _simulated_store_eight if SIMULATED else _store_eight

# lies_packed(cells): whether eight columns of a row of cell[outer, inner, K] lie so, from any multiple of eight on.
lies_packed = (lambda cells: cells.strides[2] == cells.dtype.itemsize) if SIMULATED else _lies_packed

# keep_eight(kept, x, turn, thread): OUT shared float64[KEPT_WORDS], of whatever lies in it; IN real[8]; the int32 of a turn and
# of a thread within its block. fetch_eight(x, kept, turn, thread): the thread's numbers of that turn again.
keep_eight = _simulated_keep_eight if SIMULATED else _keep_eight
fetch_eight = _simulated_fetch_eight if SIMULATED else _fetch_eight
