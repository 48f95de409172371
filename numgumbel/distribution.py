"""The Gumbel distribution with location and scale: density, cumulative probability and quantile.

    F(x) = exp(-exp(-z))        f(x) = exp(-(z + exp(-z))) / scale        z = (x - loc) / scale
    F^-1(q) = loc - scale log(-log q)

The functions take numbers and arrays from Python, and numbers inside a user's own ``@njit`` code.

Gumbel, *Statistical Theory of Extreme Values and Some Practical Applications*, NBS Applied Mathematics Series 33 (1954).
"""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from .kernels import distribution as scalars

__all__ = ["cdf", "pdf", "ppf"]


_compiling = threading.RLock()


@functools.cache
def _of_arrays(name: str) -> Any:
    """The ufunc of one of the scalars, made when first asked for: what numba loads for it takes 20 ms."""
    from numba import vectorize

    scalar = getattr(scalars, name)
    return vectorize(lambda x, loc, scale: scalar(x, loc, scale))


def pdf(x: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
    """Probability density at x, in units of 1 / x.

    Parameters
    ----------
    x, loc, scale : float or array, broadcast together
        Point, location (the mode), and scale, which must be positive.

    Returns
    -------
    float or float64 array
        exp(-(z + exp(-z))) / scale; NaN where scale is not positive. Within 4 ulp where |z| < 1, beyond within about
        1 + |z| + exp(-z) ulp: the rounding of the exponent.

    Examples
    --------
    >>> from numgumbel import distribution
    >>> float(distribution.pdf(0.0))
    0.36787944117144233
    """
    return _apply("pdf", x, loc, scale)


def cdf(x: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
    """Probability of a value of at most x.

    Parameters
    ----------
    x, loc, scale : float or array, broadcast together
        Point, location (the mode), and scale, which must be positive.

    Returns
    -------
    float or float64 array
        exp(-exp(-z)); NaN where scale is not positive. Within 3 ulp where |z| < 1, beyond within about 1 + exp(-z) ulp.

    Examples
    --------
    >>> from numgumbel import distribution
    >>> float(distribution.cdf(0.0))
    0.36787944117144233
    """
    return _apply("cdf", x, loc, scale)


def ppf(q: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
    """Quantile: the x whose cumulative probability is q. Inverse of `cdf`.

    Parameters
    ----------
    q, loc, scale : float or array, broadcast together
        Probability, location (the mode), and scale, which must be positive.

    Returns
    -------
    float or float64 array
        loc - scale log(-log q); -inf at 0, +inf at 1, NaN outside [0, 1] and where scale is not positive. The standard
        quantile is within 2e-16 max(1, |x|): it crosses zero at 1/e.

    Examples
    --------
    >>> from numgumbel import distribution
    >>> float(distribution.ppf(0.5))
    0.36651292058166435
    """
    return _apply("ppf", q, loc, scale)


def _apply(name: str, *arguments: Any) -> Any:
    """A ufunc of float64 arguments; made and compiled by one thread at a time."""
    values = [np.asarray(argument, np.float64) for argument in arguments]
    with np.errstate(all="ignore"):  # the limits are meant
        with _compiling:
            ufunc = _of_arrays(name)
            if not ufunc.types:
                ufunc(0.0, 0.0, 1.0)
        return ufunc(*values)


def _chosen(name: str, *arguments: Any) -> Any:
    """The scalar, or the ufunc where an argument is an array."""
    return _of_arrays(name) if any(isinstance(a, types.Array) for a in arguments) else getattr(scalars, name)


def _inside_njit(function: Any) -> None:
    """Make a function of this module callable in compiled code, with the same defaults."""

    @overload(function, jit_options={"error_model": "numpy"})
    def _choose(x, loc=0.0, scale=1.0):  # type: ignore  # an overload's signature is its implementation's
        chosen = _chosen(function.__name__, x, loc, scale)

        def call(x, loc=0.0, scale=1.0):  # type: ignore
            return chosen(x, loc, scale)

        return call


@overload(ppf, jit_options={"error_model": "numpy"})
def _ppf_inside_njit(q, loc=0.0, scale=1.0):  # type: ignore
    # Apart from the others because an overload repeats its function's argument names.
    chosen = _chosen("ppf", q, loc, scale)

    def call(q, loc=0.0, scale=1.0):  # type: ignore
        return chosen(q, loc, scale)

    return call


_inside_njit(pdf)
_inside_njit(cdf)
