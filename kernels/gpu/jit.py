"""The decorators of this folder.

`device`      a function that kernels call: always inlined, so that its arrays of eight become registers.
`row_kernel`  a kernel, compiled when first launched, once for each dtype of the logits.

Both keep Numba's default of no fastmath, which scalars would inherit.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload
from numpy import int16, uint16

from .. import jit
from ..halves import bf16_of_f32, f16_of_f32
from ..jit import BFLOAT16, FLOAT16
from .loading import SIMULATED, cuda
from .memory import THREADS, real_of_half

WARP = 32
WARPS = THREADS // WARP
ALL = 0xFFFFFFFF

device = cuda.jit(device=True) if SIMULATED else cuda.jit(device=True, forceinline=True)


def row_kernel(function):
    """Decorate a kernel of blocks of up to `THREADS` threads."""
    return cuda.jit(function) if SIMULATED else cuda.jit(function, launch_bounds=(THREADS, 1))


def launch_bounds(arguments):
    """(threads a block, blocks that a multiprocessor is to hold at once) for the types of a kernel's arguments.

    Two blocks, and so 128 registers a thread: where ptxas takes 137 to 156 by itself it keeps to them without a spill. Rows of
    float64 would spill 12 to 472 bytes, and have one block and 255.
    """
    wide = any(isinstance(kind, types.Array) and kind.ndim == 3 and kind.dtype == types.float64 for kind in arguments)
    return THREADS, 1 if wide else 2


@intrinsic
def _hidden(typingctx, number):
    def codegen(context, builder, signature, arguments):
        zero = "{ .reg .b32 t; mov.u32 t, %lanemask_lt; mov.u32 $0, %lanemask_gt; and.b32 $0, $0, t; }"
        kind = ir.FunctionType(ir.IntType(32), [])
        return builder.add(arguments[0], builder.call(ir.InlineAsm(kind, zero, "=r", side_effect=True), []))

    return types.uint32(types.uint32), codegen


def _simulated_hidden(number):
    return number


# hidden(number): a uint32 of which the compiler does not see that it is a constant. What is made of constants, ptxas makes
# again in every turn of a loop, rather than keep it in a register.
hidden = _simulated_hidden if SIMULATED else _hidden


@intrinsic
def _wide_product(typingctx, a, b):
    def codegen(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.IntType(64), [ir.IntType(32)] * 2)
        return builder.call(ir.InlineAsm(kind, "mul.wide.u32 $0, $1, $2;", "=l,r,r"), arguments)

    return types.uint64(types.uint32, types.uint32), codegen


def _simulated_wide_product(a, b):
    return np.uint64(a) * np.uint64(b)


# wide_product(a, b): the uint64 product of two uint32, one IMAD.WIDE. Spelt in uint64, LLVM has it as a 64-bit product with a
# half of zeros, and ptxas adds what they give.
wide_product = _simulated_wide_product if SIMULATED else _wide_product


def _simulated_as_real(cell):
    return cell if cell.dtype.kind == "f" else real_of_half(cell)


def _as_real(cell):
    raise TypeError("callable inside compiled code only")


@overload(_as_real, strict=False)
def _as_real_of(cell):
    if cell in (FLOAT16, BFLOAT16):
        return lambda cell: real_of_half(cell)
    return lambda cell: cell


# as_real(cell): a cell of logits as a number of the working precision.
as_real = _simulated_as_real if SIMULATED else _as_real


def _simulated_real_of(array):
    return np.float64 if array.dtype == np.float64 else np.float32


# real_of(array): the working precision of an array's elements, as the type that makes numbers.
real_of = _simulated_real_of if SIMULATED else jit.real_of


def _simulated_as_cell(array, value):
    if array.dtype.kind == "f":
        return value
    return np.uint16(f16_of_f32(value)) if array.dtype == np.uint16 else np.uint16(bf16_of_f32(value)).view(np.int16)


def _as_cell(array, value):
    raise TypeError("callable inside compiled code only")


@overload(_as_cell, strict=False)
def _as_cell_of(array, value):
    if array.dtype == FLOAT16:
        return lambda array, value: uint16(f16_of_f32(value))
    if array.dtype == BFLOAT16:
        return lambda array, value: int16(bf16_of_f32(value))
    return lambda array, value: value


# as_cell(array, value): a number of the working precision as a cell of an array, rounded once where that holds halves.
as_cell = _simulated_as_cell if SIMULATED else _as_cell


def _simulated_holds_reals(array):
    return array.dtype.kind == "f"


def _holds_reals(array):
    raise TypeError("callable inside compiled code only")


@overload(_holds_reals, strict=False)
def _holds_reals_of(array):
    reals = array.dtype not in (FLOAT16, BFLOAT16)
    return lambda array: reals


# holds_reals(array): whether numbers of the working precision may lie in an array as they are.
holds_reals = _simulated_holds_reals if SIMULATED else _holds_reals
