"""draft"""
from __future__ import annotations
from numba import types
from numba.core.imputils import lower_constant
from numba.extending import overload, typeof_impl
from .kernels import rows
from .keys import Key

@typeof_impl.register(Key)
def _typeof_key(value, context):
    return types.uint64

@lower_constant(types.uint64)
def _constant(context, builder, kind, value):
    return context.get_value_type(kind)(int(value))

def _mk(name, kernel):
    def f(*a):
        return kernel(*a)
    @overload(f, strict=False, jit_options={**kernel.targetoptions, "pipeline_class": kernel.pipeline_class})
    def pick(*arguments, **named):
        return kernel.py_func
    return f
for _n in "fold bits exponential gumbel uniform uniform_bits exponential_row gumbel_row score_row categorical_row categorical_row_probs inverse_cdf_row gumbel_softmax_row".split():
    globals()[_n] = _mk(_n, getattr(rows, _n))
