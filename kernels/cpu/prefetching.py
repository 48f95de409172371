"""Memory asked for ahead of its use: while a tile is computed, which takes 1 to 2 us, its neighbours come into the cache.

The processor fetches ahead by itself where reading goes on; it does not where a thousand instructions lie between two reads.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..jit import loop

LINE = 64  # bytes; a hint for fewer than there are costs nothing, one for more is done twice


def _hint(write):
    @intrinsic
    def hint(typingctx, values, offset):
        def codegen(context, builder, signature, arguments):
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
            pointer = builder.gep(builder.bitcast(array.data, byte), [arguments[1]])
            kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
            function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
            builder.call(function, [pointer, number(write), number(3), number(1)])
            return context.get_dummy_value()

        return types.none(values, types.int64), codegen

    return hint


_for_reading, _for_writing = _hint(0), _hint(1)


@loop
def expect_reads(values):
    """A packed array will be read soon. IN real[n]."""
    for offset in range(0, values.shape[0] * values.itemsize, LINE):
        _for_reading(values, offset)


@loop
def expect_writes(values):
    """A packed array will be written soon. IN real[n], whose content is not looked at."""
    for offset in range(0, values.shape[0] * values.itemsize, LINE):
        _for_writing(values, offset)
