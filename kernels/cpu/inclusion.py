"""Log-probability that a category is among the k largest scores, given the threshold, the k+1-th score.

    q = P(phi + G > kappa) = 1 - exp(-exp(phi - kappa)),   phi = logit / T

Kool, van Hoof, Welling, "Stochastic beams and where to find them", ICML 2019, arXiv:1903.06059, section 4.1; Duffield, Lund,
Thorup, "Priority sampling for estimation of arbitrary subset sums", J. ACM 54 (2007), doi:10.1145/1314690.1314696.
"""

from numba import types
from numpy import float64

from ..elementary import INF_F64, NAN_F64, exp_f64, exp_nonpositive_f64, fma, log1p_reduced_f64
from ..jit import real_of, row_kernel, scalar, sink, view, working
from .cells import TEMPERATURE_TYPES, as_real, largest_number, temperature_of

LOG_3 = float64(1.0986122886681098)


@scalar
def log_inclusion(d):
    """log(1 - exp(-exp(d))) for any float64: within 2.5 ulp, and from y = exp(d) = 1.1 on within 2.5 + y ulp.

    That is what half a last digit of d comes to there, where the result is -exp(-y), next to nothing.
    """
    y = exp_f64(d)
    if y > LOG_3:
        return log1p_reduced_f64(-exp_nonpositive_f64(-y), float64(0.0)) + float64(0.0)
    # log y and the rest, log((1 - exp(-y)) / y) = -y / 2 + the sum of B_2n y^2n / (2n (2n)!), to y^22
    z = y * y
    p = fma(z, float64(2.5040921947091955e-19), float64(-1.087434349279031e-17))
    p = fma(z, p, float64(4.770034475709914e-16))
    p = fma(z, p, float64(-2.1185501852016142e-14))
    p = fma(z, p, float64(9.55895466477477e-13))
    p = fma(z, p, float64(-4.403491782239578e-11))
    p = fma(z, p, float64(2.08767569878681e-09))
    p = fma(z, p, float64(-1.033399470899471e-07))
    p = fma(z, p, float64(5.5114638447971785e-06))
    p = fma(z, p, float64(-0.00034722222222222224))
    p = fma(z, p, float64(0.041666666666666664))
    return fma(z, p, fma(y, float64(-0.5), d))


@row_kernel(
    lambda cell: types.void(
        view(cell, 3),
        types.int64,
        *TEMPERATURE_TYPES,
        view(types.int64, 3),
        view(working(cell), 2),
        types.int64,
        types.int64,
        sink(working(cell), 3),
    )
)
def inclusion_rows(cells, flags, temperature, temperatures, index, threshold, first, last, out):
    """Log-probabilities of inclusion over rows first .. last, in float64, rounded at the end.

    Parameters
    ----------
    cells : IN cell[outer, inner, K]
        Logits.
    flags : int64
        `HAS_TEMPERATURES` or nothing.
    temperature, temperatures
        As in `argmax_rows`.
    index : IN int64[outer, inner, k]
        Positions of the chosen, -1 where there is none.
    threshold : IN real[outer, inner]
        The k+1-th score, NaN in an invalid row.
    first, last : int64
        Rows to do, as positions in C order of (outer, inner).
    out : OUT real[outer, inner, k]
        0 where inclusion was certain, -inf where nothing was chosen, NaN in an invalid row.
    """
    count, real = cells.shape[1], real_of(cells)
    largest = float64(largest_number(real(0.0)))
    for position in range(first, last):
        outer = position // count
        inner = position - outer * count
        t = temperature_of(temperature, temperatures, flags, outer, inner)
        inverse = real(1.0) if t == 0.0 else real(1.0 / t)
        kappa = float64(threshold[outer, inner])
        for place in range(index.shape[2]):
            at = index[outer, inner, place]
            if kappa != kappa:
                value = NAN_F64
            elif at < 0:
                value = -INF_F64
            else:
                logit = float64(as_real(cells[outer, inner, at]))
                if t == 0.0 or logit == INF_F64 or kappa == -INF_F64:
                    value = float64(0.0)
                else:
                    phi = logit * float64(inverse)
                    # Clamped as the score is.
                    d = fma(logit, float64(inverse), -kappa)
                    d = largest - kappa if phi > largest else d
                    d = -largest - kappa if phi < -largest else d
                    value = log_inclusion(d)
            out[outer, inner, place] = real(value) + real(0.0)  # no -0.0
