"""G between two bounds from its coarse half-word alone, close enough to decide most rows without the fine half of the bits.

    U(c) >= G >= U(c) - W(c)      at every address whose coarse half-word is c, in float32 and float64

    G = -log(v) - h(v),   h(v) = log(-log1p(-v) / v),   v from c / 2^16 to (c + 1) / 2^16

-log(c) is the float's bit pattern, a chord of the logarithm, and a cubic in its mantissa; h a polynomial in c, from above.
Up to v = 0.88, where winners live, U is within 0.0015 of G at the left end; beyond, h runs to its singularity, U stays above.
W is U - G at the right end, with something to spare: 0.0016, the width of the half-word, and a cubic beyond 0.86.

The coefficients solve a linear programme (``bench/bracket.py``); a test looks at every half-word and every bit below it.
"""

from numpy import float32, float64, int32

from ..elementary import bits_of_f32, f32_of_bits, fma
from ..jit import by_precision, scalar

MANTISSA = int32(0x007FFFFF)
ONE = int32(0x3F800000)


@scalar
def gumbel_above(coarse):
    """U(c), float32, from the coarse half-word as int32; 99 for 0, whose G ends at 45.05."""
    c = float32(coarse)
    bits = bits_of_f32(c)
    m = f32_of_bits(int32(int32(bits & MANTISSA) | ONE))
    p = fma(m, float32(-0.11194650), float32(0.73914662))
    p = fma(m, p, float32(-1.43383959))
    p = fma(m, p, float32(99.92673599))
    h = fma(c, float32(-5.6011011504e-29), float32(7.2710243636e-24))
    h = fma(c, h, float32(-3.7260752591e-19))
    h = fma(c, h, float32(7.9820199647e-15))
    h = fma(c, h, float32(-1.3336251423e-10))
    h = fma(c, h, float32(-7.3256302521e-06))
    return fma(c, h, fma(float32(bits), float32(-8.262958294867817e-08), p))


@scalar
def gumbel_width(coarse):
    """W(c), float32; infinite for 0 and for 65535, where G runs on."""
    c = float32(coarse)
    beyond = fma(c, float32(2.0**-16), float32(-0.86))
    beyond = beyond if beyond > float32(0.0) else float32(0.0)
    ends = float32(65536.0) / (c * (float32(65535.0) - c))
    return fma(beyond * beyond * beyond, float32(400.0), ends + float32(0.0016))


@scalar
def score_above_f32(logit, inverse, coarse):
    """An upper bound of `score_f32`, where that is not clamped; see `bound` for why the logit enters last."""
    return fma(logit, inverse, gumbel_above(coarse))


@scalar
def score_above_f64(logit, inverse, coarse):
    """An upper bound of `score_f64`; see `score_above_f32`."""
    return fma(logit, inverse, float64(gumbel_above(coarse)))


score_above = by_precision(score_above_f32, score_above_f64)
