"""Terms of a softmax in few instructions: sums need not be equal to the bit, so a GPU's own units make powers and quotients.

In float32 a power is a third of the instructions of `exp_nonpositive`, a quotient two in place of some ten with a branch. The
errors of the units are those of the PTX ISA: 2^-22.5 of a power of 2, 2^-23 of a reciprocal.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy import float32

from ..cpu.softmax import exp_nonpositive
from ..elementary import LN2_F32, exp_nonpositive_f64, fma
from ..jit import by_precision, scalar
from .loading import SIMULATED


def _unit(instruction):
    @intrinsic
    def unit(typingctx, x):
        if x != types.float32:
            return None

        def codegen(context, builder, signature, arguments):
            kind = ir.FunctionType(ir.FloatType(), [ir.FloatType()])
            return builder.call(ir.InlineAsm(kind, f"{instruction} $0, $1;", "=f,f"), arguments)

        return x(x), codegen

    return unit


_power_of_two = _unit("ex2.approx.ftz.f32")
_reciprocal = _unit("rcp.approx.ftz.f32")


@scalar
def _power_f32(x):
    """e to the x of an x of 0 or less, NaN kept: 0 below -104, subnormals included; within 2^-22 of the true value.

    The unit's argument is x / ln 2 + 24, rounded; what rounding has left is made up for to first order, and 2^24 is taken off
    at the end, so that the unit flushes nothing that counts.
    """
    clipped = float32(-104.0) if x < float32(-104.0) else x
    raised = fma(clipped, float32(1.4426950408889634), float32(24.0))
    rest = fma(raised - float32(24.0), -LN2_F32, clipped)
    power = _power_of_two(raised)
    return fma(power, rest, power) * float32(2.0**-24)


@scalar
def _ratio_f32(x, e):
    """x / E within 2^-22 of it: E is far from where its reciprocal would overflow."""
    return x * _reciprocal(e)


@scalar
def _ratio_f64(x, e):
    """x / E."""
    return x / e


def _simulated_ratio(x, e):
    return x / e


# power(x): e to the x, x real, 0 or less. ratio(x, e): x / E.
power = exp_nonpositive if SIMULATED else by_precision(_power_f32, exp_nonpositive_f64)
ratio = _simulated_ratio if SIMULATED else by_precision(_ratio_f32, _ratio_f64)
