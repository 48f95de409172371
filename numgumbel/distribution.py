"""The Gumbel distribution with location and scale: density, cumulative probability and quantile.

    F(x) = exp(-exp(-z))        f(x) = exp(-(z + exp(-z))) / scale        z = (x - loc) / scale
    F^-1(q) = loc - scale log(-log q)

The functions take numbers and arrays from Python, and numbers inside a user's own ``@njit`` code.

Gumbel, *Statistical Theory of Extreme Values and Some Practical Applications*, NBS Applied Mathematics Series 33 (1954).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types, vectorize
from numba.extending import overload

from .kernels.elementary import exp_f64, fma, log_f64
from .kernels.jit import scalar

__all__ = ["cdf", "pdf", "ppf"]


@scalar
def _pdf(x, loc, scale):
    z = (np.float64(x) - np.float64(loc)) / np.float64(scale)
    density = exp_f64(-(z + exp_f64(-z))) / np.float64(scale)
    density = 0.0 if z == -np.inf else density  # exp(-z) is +inf there, and z + inf is NaN
    return density if scale > 0.0 else np.nan


@scalar
def _cdf(x, loc, scale):
    z = (np.float64(x) - np.float64(loc)) / np.float64(scale)
    return exp_f64(-exp_f64(-z)) if scale > 0.0 else np.nan


@scalar
def _ppf(q, loc, scale):
    standard = -log_f64(-log_f64(np.float64(q)))
    return fma(standard, np.float64(scale), np.float64(loc)) if scale > 0.0 else np.nan


_pdf_of_arrays = vectorize(lambda x, loc, scale: _pdf(x, loc, scale))
_cdf_of_arrays = vectorize(lambda x, loc, scale: _cdf(x, loc, scale))
_ppf_of_arrays = vectorize(lambda q, loc, scale: _ppf(q, loc, scale))


def pdf(x: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
    """Probability density at x, in units of 1 / x.

    Parameters
    ----------
    x, loc, scale : float or array, broadcast together
        Point, location (the mode), and scale, which must be positive.

    Returns
    -------
    float or float64 array
        exp(-(z + exp(-z))) / scale; NaN where scale is not positive. Within 4 ulp where |z| < 1, relative error growing like
        the exponent beyond.

    Examples
    --------
    >>> from numgumbel import distribution
    >>> float(distribution.pdf(0.0))
    0.36787944117144233
    """
    with np.errstate(all="ignore"):  # the limits are meant
        return _pdf_of_arrays(x, loc, scale)


def cdf(x: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
    """Probability of a value of at most x.

    Parameters
    ----------
    x, loc, scale : float or array, broadcast together
        Point, location (the mode), and scale, which must be positive.

    Returns
    -------
    float or float64 array
        exp(-exp(-z)); NaN where scale is not positive.

    Examples
    --------
    >>> from numgumbel import distribution
    >>> float(distribution.cdf(0.0))
    0.36787944117144233
    """
    with np.errstate(all="ignore"):  # the limits are meant
        return _cdf_of_arrays(x, loc, scale)


def ppf(q: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
    """Quantile: the x whose cumulative probability is q. Inverse of `cdf`.

    Parameters
    ----------
    q, loc, scale : float or array, broadcast together
        Probability, location (the mode), and scale, which must be positive.

    Returns
    -------
    float or float64 array
        loc - scale log(-log q); -inf at 0, +inf at 1, NaN outside [0, 1] and where scale is not positive.

    Examples
    --------
    >>> from numgumbel import distribution
    >>> float(distribution.ppf(0.5))
    0.36651292058166435
    """
    with np.errstate(all="ignore"):  # the limits are meant
        return _ppf_of_arrays(q, loc, scale)


def _inside_njit(function: Any, of_numbers: Any, of_arrays: Any) -> None:
    @overload(function, jit_options={"error_model": "numpy"})
    def choose(x, loc=0.0, scale=1.0):
        if any(isinstance(argument, types.Array) for argument in (x, loc, scale)):
            return lambda x, loc=0.0, scale=1.0: of_arrays(x, loc, scale)
        return lambda x, loc=0.0, scale=1.0: of_numbers(x, loc, scale)


_inside_njit(pdf, _pdf, _pdf_of_arrays)
_inside_njit(cdf, _cdf, _cdf_of_arrays)


@overload(ppf, jit_options={"error_model": "numpy"})
def _ppf_inside_njit(q, loc=0.0, scale=1.0):
    if any(isinstance(argument, types.Array) for argument in (q, loc, scale)):
        return lambda q, loc=0.0, scale=1.0: _ppf_of_arrays(q, loc, scale)
    return lambda q, loc=0.0, scale=1.0: _ppf(q, loc, scale)
