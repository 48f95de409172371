"""Density, cumulative probability and quantile of the Gumbel distribution with location and scale, in float64.

    F(x) = exp(-exp(-z))        f(x) = exp(-z) exp(-exp(-z)) / scale        z = (x - loc) / scale

A scale that is not positive gives NaN.
"""

from numpy import float64

from .elementary import INF_F64, NAN_F64, exp_f64, fma, log_f64
from .jit import scalar


@scalar
def pdf(x, loc, scale):
    """Density at x."""
    z = (float64(x) - float64(loc)) / float64(scale)
    t = exp_f64(-z)  # not added to z: exp ends in a product, which a GPU would contract with the sum
    density = (t * exp_f64(-t)) / float64(scale)
    density = float64(0.0) if t == INF_F64 else density  # far below the mode, where inf * 0 is NaN
    return density if scale > 0.0 else NAN_F64


@scalar
def cdf(x, loc, scale):
    """Probability of a value of at most x."""
    z = (float64(x) - float64(loc)) / float64(scale)
    return exp_f64(-exp_f64(-z)) if scale > 0.0 else NAN_F64


@scalar
def ppf(q, loc, scale):
    """Quantile of the probability q: -inf at 0, +inf at 1, NaN outside."""
    standard = -log_f64(-log_f64(float64(q)))
    return fma(standard, float64(scale), float64(loc)) if scale > 0.0 else NAN_F64
