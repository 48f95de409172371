"""Eight neighbouring cells of a row at once: loads of 16 bytes, which only an intrinsic gives."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..jit import BFLOAT16, FLOAT16
from .loading import SIMULATED

GROUP = 8
BYTES = 16


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
        offset = word(0)
        for axis, place in enumerate(arguments[2:]):
            offset = builder.add(offset, builder.mul(place, builder.extract_value(source.strides, axis)))
        base = builder.gep(builder.bitcast(source.data, ir.IntType(8).as_pointer()), [offset])
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


def _simulated_real_of_half(half):
    if isinstance(half, np.uint16):
        return np.float32(half.view(np.float16))
    return (np.uint32(half.view(np.uint16)) << np.uint32(16)).view(np.float32)


def _simulated_load_eight(x, cells, outer, inner, start):
    for place in range(GROUP):
        cell = cells[outer, inner, start + place]
        x[place] = cell if isinstance(cell, np.floating) else _simulated_real_of_half(cell)


# real_of_half(half): a float16 (as uint16) or bfloat16 (as int16) as float32.
real_of_half = _simulated_real_of_half if SIMULATED else _real_of_half

# load_eight(x, cells, outer, inner, start): OUT real[8], the thread's own; IN cell[outer, inner, K], from column `start` on.
# The caller knows columns to be packed, the first one's address to be a multiple of 16, and all eight to be there.
load_eight = _simulated_load_eight if SIMULATED else _load_eight
