"""Functions for your own ``@njit`` code: the field and its samples, one address or one row at a time.

They allocate nothing and raise nothing, hold no state, and may be called from any number of threads, ``prange`` included. Their
results are those of the array functions at the same addresses, to the bit, whatever the options of the caller (``fastmath``,
``parallel``) and wherever they are called from; Python may call them too.

A key comes first: a `numgumbel.Key`, which compiled code takes as argument or global constant and sees as the 64-bit number
``int(key)``, or that number (from Python ``np.uint64(int(key))``: Numba takes a Python int for an int64). Then come the step
(0 <= step < 2^63), the row id (any 64-bit integer) and the column id (0 <= col < 2^35 - 16). Nothing is checked at run time: a
number out of its range gives some value of another address.

>>> import numpy as np
>>> import numgumbel as ng
>>> from numba import njit
>>> from numgumbel import nb
>>> @njit
... def walk(key, walker, log_p, steps):
...     place = 0
...     for step in range(steps):
...         place += nb.categorical_row(key, step, walker, log_p) - 1
...     return place
>>> key = ng.key(42, "walk")
>>> log_p = np.log([0.25, 0.5, 0.25])
>>> place = walk(key, 7, log_p, 1000)
>>> bool(place == (ng.categorical(key, log_p, rows=7, n=1000) - 1).sum())
True

Rows are 1-D arrays of float32 or float64, of any stride; their dtype is the precision of the field, and the float32 and the
float64 field differ. What comes of -inf, NaN, +inf, ties and temperature 0 is the table of docs/semantics.md, invalid rows
marked. More of it: docs/nb.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from numba.core.registry import cpu_target
from numba.extending import overload

from .kernels import philox, rows
from .keys import Key

__all__ = [
    "bits",
    "categorical_row",
    "categorical_row_probs",
    "exponential",
    "exponential_f32",
    "exponential_row",
    "fold",
    "gumbel",
    "gumbel_f32",
    "gumbel_row",
    "gumbel_softmax_row",
    "inverse_cdf_row",
    "philox4x32",
    "score_row",
    "uniform",
    "uniform_bits",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(kernel: Any) -> Callable[[_Function], _Function]:
    """Let compiled code that calls the decorated function call a kernel with parameters of the same names."""

    def register(function: _Function) -> _Function:
        def pick(*arguments: Any, **named: Any) -> Any:
            return kernel.py_func

        options = {**kernel.targetoptions, "pipeline_class": kernel.pipeline_class}
        overload(function, strict=False, jit_options=options)(pick)
        return function

    return register


def _unsigned(number: Any) -> Any:
    """For calls from Python: a key, or a whole number modulo 2^64; Numba takes a Python int for an int64 whatever its size."""
    return number if type(number) is Key else np.uint64(int(number) % (1 << 64))


# --- bits and cells ----------------------------------------------------------------------------------------------------------


@_compiled(philox.philox4x32)
def philox4x32(c0: int, c1: int, c2: int, c3: int, k0: int, k1: int) -> tuple[int, int, int, int]:
    """The four output words of Philox4x32-10, word 0 first.

    Parameters
    ----------
    c0, c1, c2, c3 : uint32
        Counter, c0 the fastest.
    k0, k1 : uint32
        Key.

    Returns
    -------
    tuple of 4 uint32
        Equal to Random123's ``philox4x32(10, counter, key)`` to the bit.

    References
    ----------
    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011), doi:10.1145/2063384.2063405.

    Examples
    --------
    >>> from numgumbel import nb
    >>> [hex(word) for word in nb.philox4x32(0, 0, 0, 0, 0, 0)]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    return philox.philox4x32(c0, c1, c2, c3, k0, k1)


@_compiled(rows.fold_key)
def fold(key: Any, x: int, tag: int) -> int:
    """A new key from a key and a 64-bit number.

    Parameters
    ----------
    key : Key or uint64
    x : int64 or uint64
        What to fold in.
    tag : int
        Purpose, from 0 to 2^32 - 1; take tags from 2^16 on for your own.

    Returns
    -------
    uint64
        ``int(numgumbel.fold(key, x, tag))``, to the bit.

    Examples
    --------
    >>> import numgumbel as ng
    >>> from numgumbel import nb
    >>> nb.fold(ng.key(42), 7, 1 << 16) == int(ng.fold(ng.key(42), 7, tag=1 << 16))
    True
    """
    return rows.fold_key(_unsigned(key), _unsigned(x), tag)


@_compiled(rows.cell_bits)
def bits(key: Any, step: int, row: int, col: int) -> tuple[int, int]:
    """The 64 bits of the field at an address.

    Parameters
    ----------
    key : Key or uint64
    step, row, col : int64
        The address.

    Returns
    -------
    tuple of 2 uint32
        (b32, tail): the leading 32 bits and those below.

    Examples
    --------
    >>> import numgumbel as ng
    >>> from numgumbel import nb
    >>> nb.bits(ng.key(42), 0, 0, 0)
    (3083339378, 3463897541)
    """
    return rows.cell_bits(_unsigned(key), step, row, col)


@_compiled(rows.cell_exponential_f64)
def exponential(key: Any, step: int, row: int, col: int) -> float:
    """E, the standard exponential variable of the float64 field; G = -log(E).

    Parameters
    ----------
    key : Key or uint64
    step, row, col : int64
        The address.

    Returns
    -------
    float64
        Within 2 ulp of -log1p(-v), v the address's 64 bits as a number in (0, 1).

    Examples
    --------
    >>> import math
    >>> import numgumbel as ng
    >>> from numgumbel import nb
    >>> abs(nb.exponential(ng.key(42), 0, 5, 1) - math.exp(-nb.gumbel(ng.key(42), 0, 5, 1))) < 1e-15
    True
    """
    return rows.cell_exponential_f64(_unsigned(key), step, row, col)


@_compiled(rows.cell_exponential_f32)
def exponential_f32(key: Any, step: int, row: int, col: int) -> float:
    """E of the float32 field; see `exponential`.

    Parameters
    ----------
    key : Key or uint64
    step, row, col : int64
        The address.

    Returns
    -------
    float32
        Within 2 ulp of -log1p(-v), v the address's bits as the float32 field reads them.

    Examples
    --------
    >>> import numgumbel as ng
    >>> from numgumbel import nb
    >>> nb.exponential_f32(ng.key(42), 0, 5, 1) == nb.exponential(ng.key(42), 0, 5, 1)  # other bits, another precision
    False
    """
    return rows.cell_exponential_f32(_unsigned(key), step, row, col)


@_compiled(rows.cell_gumbel_f64)
def gumbel(key: Any, step: int, row: int, col: int) -> float:
    """G of the float64 field: a standard Gumbel variable.

    Parameters
    ----------
    key : Key or uint64
    step, row, col : int64
        The address.

    Returns
    -------
    float64
        ``numgumbel.gumbel(key, rows=[row], cols=[col], step=step)[0, 0]``, to the bit.

    Examples
    --------
    >>> import numgumbel as ng
    >>> from numgumbel import nb
    >>> bool(nb.gumbel(ng.key(42), 3, 5, 1) == ng.gumbel(ng.key(42), rows=[5], cols=[1], step=3)[0, 0])
    True
    """
    return rows.cell_gumbel_f64(_unsigned(key), step, row, col)


@_compiled(rows.cell_gumbel_f32)
def gumbel_f32(key: Any, step: int, row: int, col: int) -> float:
    """G of the float32 field.

    Parameters
    ----------
    key : Key or uint64
    step, row, col : int64
        The address.

    Returns
    -------
    float32
        As `gumbel`, with ``dtype=numpy.float32``.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> from numgumbel import nb
    >>> wanted = ng.gumbel(ng.key(42), rows=[5], cols=[1], step=3, dtype=np.float32)[0, 0]
    >>> bool(nb.gumbel_f32(ng.key(42), 3, 5, 1) == wanted)
    True
    """
    return rows.cell_gumbel_f32(_unsigned(key), step, row, col)


@_compiled(rows.row_uniform_bits)
def uniform_bits(key: Any, step: int, row: int) -> int:
    """The 64 bits of a row's uniform, which `inverse_cdf_row` reads, at an address no column has.

    Parameters
    ----------
    key : Key or uint64
    step, row : int64
        The address.

    Returns
    -------
    uint64
        Words 1 and 0 of Philox at c0 = 0xFFFFFFFF.

    Examples
    --------
    >>> import numgumbel as ng
    >>> from numgumbel import nb
    >>> nb.uniform_bits(ng.key(42), 0, 0)
    3639121381207518447
    """
    return rows.row_uniform_bits(_unsigned(key), step, row)


@_compiled(rows.row_uniform)
def uniform(key: Any, step: int, row: int) -> float:
    """A uniform variable of a row, never 0 and never 1.

    Parameters
    ----------
    key : Key or uint64
    step, row : int64
        The address.

    Returns
    -------
    float64
        (the high 52 bits of `uniform_bits` + 1/2) 2^-52, exactly: from 2^-53 to 1 - 2^-53.

    Examples
    --------
    >>> import numgumbel as ng
    >>> from numgumbel import nb
    >>> nb.uniform(ng.key(42), 0, 0)
    0.19727716537218198
    """
    return rows.row_uniform(_unsigned(key), step, row)


# --- rows --------------------------------------------------------------------------------------------------------------------


@_compiled(rows.categorical_row)
def categorical_row(
    key: Any,
    step: int,
    row: int,
    logits: npt.NDArray[Any],
    temperature: float = 1.0,
    mask: npt.NDArray[Any] | None = None,
    cols: npt.NDArray[Any] | None = None,
) -> int:
    """Sample one category of a row with probability proportional to exp(logits / temperature).

    Parameters
    ----------
    key : Key or uint64
    step, row : int64
        Draw counter and row id.
    logits : array of float32 or float64, shape (K,)
        Unnormalised log-probabilities; any stride. Rows of a few to some dozen categories are what this is made for: one
        Philox call for eight of them, no logarithm. From a few hundred on `numgumbel.categorical` is several times faster.
    temperature : float, default 1
        0 (the largest logit) or from 2^-64 to 2^64.
    mask : array of bool, int8 or uint8, shape (K,), optional
        Nonzero where a category is allowed. A masked cell is never looked at.
    cols : array of int64, shape (K,), optional
        Column ids; by default the positions.

    Returns
    -------
    int64
        Position, or -1 for a row without an allowed category, with a NaN in an allowed cell, or with a temperature out of
        range: that of ``numgumbel.categorical(key, logits, ..., invalid="mark")``, always.

    Raises
    ------
    numba.TypingError
        While compiling, for logits that are not a 1-D array of float32 or float64.

    References
    ----------
    Maddison, Tarlow, Minka, "A* Sampling", NeurIPS 2014, arXiv:1411.0030.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> from numgumbel import nb
    >>> logits = np.log([0.1, 0.7, 0.2])
    >>> bool(nb.categorical_row(ng.key(42), 3, 5, logits) == ng.categorical(ng.key(42), logits, step=3, rows=5))
    True
    """
    return rows.categorical_row(_unsigned(key), step, row, logits, temperature, mask, cols)


@_compiled(rows.categorical_row_probs)
def categorical_row_probs(
    key: Any,
    step: int,
    row: int,
    probs: npt.NDArray[Any],
    temperature: float = 1.0,
    mask: npt.NDArray[Any] | None = None,
    cols: npt.NDArray[Any] | None = None,
) -> int:
    """Sample one category of a row of weights that need not sum to 1.

    Parameters
    ----------
    key, step, row, temperature, mask, cols
        As in `categorical_row`.
    probs : array of float32 or float64, shape (K,)
        Weights of 0 or more. Each takes a logarithm: logits, where they are at hand, are faster.

    Returns
    -------
    int64
        Position, or -1; a negative or NaN weight in an allowed cell makes a row invalid too. That of
        ``numgumbel.categorical(key, probs=probs, ..., invalid="mark")``, always.

    Raises
    ------
    numba.TypingError
        As in `categorical_row`.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> from numgumbel import nb
    >>> weights = np.array([1.0, 7.0, 2.0])
    >>> bool(nb.categorical_row_probs(ng.key(42), 3, 5, weights) == ng.categorical(ng.key(42), probs=weights, step=3, rows=5))
    True
    """
    return rows.categorical_row_probs(_unsigned(key), step, row, probs, temperature, mask, cols)


@_compiled(rows.inverse_cdf_row)
def inverse_cdf_row(
    key: Any,
    step: int,
    row: int,
    logits: npt.NDArray[Any],
    temperature: float = 1.0,
    mask: npt.NDArray[Any] | None = None,
) -> int:
    """Sample one category of a row by one uniform and cumulative weights, in integers.

    Parameters
    ----------
    key, step, row, logits, temperature, mask
        As in `categorical_row`. Two exponentials a category.

    Returns
    -------
    int64
        Position, or -1: that of ``numgumbel.categorical(key, logits, ..., method="inverse_cdf", invalid="mark")``, always.

    Raises
    ------
    numba.TypingError
        As in `categorical_row`.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> from numgumbel import nb
    >>> logits = np.log([0.1, 0.7, 0.2])
    >>> wanted = ng.categorical(ng.key(42), logits, step=3, rows=5, method="inverse_cdf")
    >>> bool(nb.inverse_cdf_row(ng.key(42), 3, 5, logits) == wanted)
    True
    """
    return rows.inverse_cdf_row(_unsigned(key), step, row, logits, temperature, mask)


@_compiled(rows.gumbel_softmax_row)
def gumbel_softmax_row(
    key: Any,
    step: int,
    row: int,
    logits: npt.NDArray[Any],
    tau: float,
    out: npt.NDArray[Any],
    mask: npt.NDArray[Any] | None = None,
    cols: npt.NDArray[Any] | None = None,
) -> bool:
    """Relaxed sample of a row: softmax((logits + G) / tau).

    Parameters
    ----------
    key, step, row, logits, mask, cols
        As in `categorical_row`.
    tau : float
        Relaxation temperature: 0 (an exact one-hot) or from 2^-64 to 2^64.
    out : array of the logits' dtype, shape (K,)
        Where the sample goes; it must not share memory with the logits.

    Returns
    -------
    bool
        Whether the row is valid; an invalid one, as of `categorical_row`, is NaN all over. `out` is that of
        ``numgumbel.gumbel_softmax(key, logits, tau=tau, ..., invalid="mark")``, to the bit.

    Raises
    ------
    numba.TypingError
        While compiling, for arrays that are not 1-D, of float32 or float64, and of one dtype.

    References
    ----------
    Jang, Gu, Poole, arXiv:1611.01144; Maddison, Mnih, Teh, arXiv:1611.00712.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> from numgumbel import nb
    >>> logits, out = np.log([0.1, 0.7, 0.2]), np.empty(3)
    >>> nb.gumbel_softmax_row(ng.key(42), 3, 5, logits, 0.5, out)
    True
    >>> bool((out == ng.gumbel_softmax(ng.key(42), logits, tau=0.5, step=3, rows=5)).all())
    True
    """
    return rows.gumbel_softmax_row(_unsigned(key), step, row, logits, tau, out, mask, cols)


@_compiled(rows.exponential_row)
def exponential_row(key: Any, step: int, row: int, out: npt.NDArray[Any], cols: npt.NDArray[Any] | None = None) -> None:
    """Fill an array with E of a row: two Philox calls for eight float32 columns, four for float64.

    Parameters
    ----------
    key, step, row, cols
        As in `categorical_row`.
    out : array of float32 or float64, shape (K,)
        Where E goes; its dtype is the precision of the field.

    Raises
    ------
    numba.TypingError
        As in `categorical_row`.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> from numgumbel import nb
    >>> out = np.empty(3)
    >>> nb.exponential_row(ng.key(42), 3, 5, out)
    >>> bool(out[1] == nb.exponential(ng.key(42), 3, 5, 1))
    True
    """
    rows.exponential_row(_unsigned(key), step, row, out, cols)


@_compiled(rows.gumbel_row)
def gumbel_row(key: Any, step: int, row: int, out: npt.NDArray[Any], cols: npt.NDArray[Any] | None = None) -> None:
    """Fill an array with G of a row.

    Parameters
    ----------
    key, step, row, cols
        As in `categorical_row`.
    out : array of float32 or float64, shape (K,)
        Where G goes, equal to ``numgumbel.gumbel(key, K, step=step, rows=row, dtype=out.dtype)`` to the bit.

    Raises
    ------
    numba.TypingError
        As in `categorical_row`.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> from numgumbel import nb
    >>> out = np.empty(3)
    >>> nb.gumbel_row(ng.key(42), 3, 5, out)
    >>> bool((out == ng.gumbel(ng.key(42), rows=[5], cols=[0, 1, 2], step=3)).all())
    True
    """
    rows.gumbel_row(_unsigned(key), step, row, out, cols)


@_compiled(rows.score_row)
def score_row(
    key: Any,
    step: int,
    row: int,
    logits: npt.NDArray[Any],
    out: npt.NDArray[Any],
    temperature: float = 1.0,
    mask: npt.NDArray[Any] | None = None,
    cols: npt.NDArray[Any] | None = None,
) -> None:
    """Fill an array with the scores of a row, logits / temperature + G: the sample is where they are largest.

    Parameters
    ----------
    key, step, row, logits, temperature, mask, cols
        As in `categorical_row`.
    out : array of the logits' dtype, shape (K,)
        Scores, those of `numgumbel.gumbel_topk` to the bit: -inf where masked or excluded, NaN where a logit is NaN, all NaN
        for a temperature out of range. It must not share memory with the logits.

    Raises
    ------
    numba.TypingError
        As in `gumbel_softmax_row`.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> from numgumbel import nb
    >>> logits, out = np.log([0.1, 0.7, 0.2]), np.empty(3)
    >>> nb.score_row(ng.key(42), 3, 5, logits, out)
    >>> bool(out.argmax() == nb.categorical_row(ng.key(42), 3, 5, logits))
    True
    """
    rows.score_row(_unsigned(key), step, row, logits, out, temperature, mask, cols)


# Where compiled code that names ``numgumbel.nb`` has this module imported, its types are being worked out just now.
cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
