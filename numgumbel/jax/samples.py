"""The operations as functions that JAX traces."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax as _jax
import jax.numpy as _jnp
import numpy as np

from .. import actions as _actions
from .. import ops as _ops
from ..actions import Actions, LogProbEntropy
from ..keys import Key
from ..ops import TopK
from .calls import call

__all__ = ["categorical", "gumbel", "gumbel_softmax", "gumbel_topk", "key", "log_prob_entropy", "sample_actions"]

_WORD = 1 << 32


def key(jax_key: Any) -> Key:
    """The key that one of JAX's stands for, where nothing is traced: ``jax.random.key_data`` as k1, k0.

    Parameters
    ----------
    jax_key : key array
        From `jax.random.key` or `jax.random.PRNGKey`, of threefry, which has two words.

    Returns
    -------
    Key
        With which the functions of `numgumbel` give what those here give with `jax_key`.

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> import jax
    >>> import numgumbel.jax
    >>> numgumbel.jax.key(jax.random.key(42))
    Key(0x000000000000002a)
    """
    return _key_of(np.asarray(_words(jax_key)))


def _words(given: Any) -> Any:
    """Two uint32, high and low, of a key of JAX's or of this package."""
    if isinstance(given, Key):
        return _jnp.array([int(given) // _WORD, int(given) % _WORD], _jnp.uint32)
    typed = hasattr(given, "dtype") and _jax.dtypes.issubdtype(given.dtype, _jax.dtypes.prng_key)
    words = _jax.random.key_data(given) if typed else given
    if not hasattr(words, "dtype") or words.dtype != np.uint32 or words.shape != (2,):
        kind = getattr(given, "dtype", type(given).__name__), getattr(given, "shape", None)
        raise TypeError(
            f"key must be a Key, or one of jax.random's with two words (threefry), got {kind[0]} of shape {kind[1]}"
        )
    return words


def _key_of(words: np.ndarray) -> Key:
    return Key(int(words[0]) * _WORD + int(words[1]))


class _Given(NamedTuple):
    """Operands of a call by name, and options that are the same whenever it runs."""

    operands: dict[str, Any]
    options: dict[str, Any]


def _given(key: Any, **arguments: Any) -> _Given:
    """Arguments told apart: Python's numbers and texts are options, arrays are operands, None is neither."""
    operands, options = {"key": _words(key)}, {}
    for name, value in arguments.items():
        if value is None:
            continue
        if isinstance(value, (bool, int, float, str, tuple)):
            options[name] = value
            continue
        if name in ("rows", "cols", "step") and isinstance(value, np.ndarray) and not _jax.config.jax_enable_x64:
            info = np.iinfo(np.int32)
            if value.size and not info.min <= value.min() <= value.max() <= info.max:
                raise TypeError(f"{name} must fit int32 unless jax_enable_x64 is set, got values up to {value.max()}")
        operands[name] = _jnp.asarray(value)
    return _Given(operands, options)


def _host(options: dict[str, Any], given: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    """Run an operation for every example that `vmap` has made of a call, each with the addresses that it would have alone."""
    names, operation = options["names"], _OPERATIONS[options["operation"]]
    rest = {name: value for name, value in options.items() if name not in ("names", "operation")}
    lead = given[0].shape[:-1]
    for place in np.ndindex(*lead):
        operands = {name: array[place] for name, array in zip(names, given, strict=True)}
        for name in ("rows", "cols", "step", "actions"):
            if name in operands:
                operands[name] = operands[name].astype(np.int64)
        key = _key_of(operands.pop("key"))
        operation(key, [array[place] for array in wanted], **operands, **rest)


_Operation = Callable[..., None]


def _one(function: Callable[..., Any]) -> _Operation:
    """A function of the package that writes into one array."""
    return lambda key, wanted, **arguments: function(key, out=wanted[0], **arguments)


def _several(function: Callable[..., Any], kind: Callable[..., Any]) -> _Operation:
    """One that writes into several."""
    return lambda key, wanted, **arguments: function(key, out=kind(*wanted), **arguments)


def _keyless(function: Callable[..., Any]) -> Callable[..., Any]:
    """One that takes no key, as if it did."""
    return lambda key, **arguments: function(**arguments)


_OPERATIONS = {
    "categorical": _one(_ops.categorical),
    "gumbel": _one(_ops.gumbel),
    "gumbel_softmax": _one(_ops.gumbel_softmax),
    "gumbel_softmax_vjp": _one(_ops.gumbel_softmax_vjp),
    "gumbel_topk": _several(_ops.gumbel_topk, TopK),
    "sample_actions": _several(_actions.sample_actions, Actions),
    "log_prob_entropy": _several(_keyless(_actions.log_prob_entropy), LogProbEntropy),
    "log_prob_entropy_vjp": _one(_keyless(_actions.log_prob_entropy_vjp)),
}


def _called(operation: str, given: _Given, results: list[Any]) -> list[Any]:
    """An operation's results, as a part of the program."""
    options = {**given.options, "operation": operation, "names": tuple(given.operands)}
    return call(_host, options, results, *given.operands.values())


def _index_dtype() -> Any:
    return _jnp.int64 if _jax.config.jax_enable_x64 else _jnp.int32


def _real(logits: Any) -> Any:
    return logits.dtype if logits.dtype.itemsize > 2 else _jnp.float32


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    axis %= len(shape)
    return (*shape[:axis], *shape[axis + 1 :])


def _logits(logits: Any) -> Any:
    """Logits as an array of real numbers."""
    array = _jnp.asarray(logits)
    if not _jnp.issubdtype(array.dtype, _jnp.floating):
        raise TypeError(f"logits must be float32, float64, float16 or bfloat16, got {array.dtype}")
    if not array.ndim:
        raise ValueError("logits must have at least one axis, got a scalar")
    return array


def categorical(
    key: Any,
    logits: Any,
    *,
    step: Any = 0,
    rows: Any = None,
    cols: Any = None,
    mask: Any = None,
    temperature: Any = 1.0,
    axis: int = -1,
    method: str = "gumbel",
    invalid: str = "mark",
) -> Any:
    """`numgumbel.categorical` inside `jit` and `vmap`; a gradient through it is 0.

    Parameters
    ----------
    key : key array or Key
        One of `jax.random`'s, traced or not, of threefry; or one of this package's.
    logits : array of float32, float64, float16 or bfloat16, shape (..., K)
        Unnormalised log-probabilities.
    step, rows, cols, mask, temperature, axis, method
        As in `numgumbel.categorical`; numbers or arrays. 64-bit ids need ``jax_enable_x64``.
    invalid : {"mark", "raise"}
        What to do with an invalid row; "raise" fails the program while it runs.

    Returns
    -------
    array of int32, or int64 under ``jax_enable_x64``, shape (...)
        To the bit what `numgumbel.categorical` gives with `numgumbel.jax.key` of the key; under `vmap` what it gives for each
        example alone.

    Raises
    ------
    TypeError
        For a key that is none, logits of another dtype, or another device than the CPU.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from numgumbel.jax import categorical
    >>> draw = jax.jit(lambda key, logits: categorical(key, logits))
    >>> draw(jax.random.key(1), jnp.log(jnp.array([[0.1, 0.7, 0.2]] * 4))).shape
    (4,)
    """
    logits = _jax.lax.stop_gradient(_logits(logits))
    given = _given(
        key, logits=logits, step=step, rows=rows, cols=cols, mask=mask, temperature=temperature, axis=axis, method=method,
        invalid=invalid,
    )  # fmt: skip
    result = _jax.ShapeDtypeStruct(_without(logits.shape, axis), _index_dtype())
    return _called("categorical", given, [result])[0]


def gumbel(key: Any, shape: tuple[int, ...], *, step: Any = 0, loc: float = 0.0, scale: float = 1.0, dtype: Any = None) -> Any:
    """`numgumbel.gumbel` inside `jit`: the noise itself, for all rows and columns of a shape.

    Parameters
    ----------
    key, step
        As in `categorical`.
    shape : tuple of int
        Rows, and columns last.
    loc, scale : float
        Of the distribution.
    dtype : dtype, optional
        float32, the default, or float64.

    Returns
    -------
    array
        Equal to the bit to `numgumbel.gumbel`.

    Examples
    --------
    >>> import jax
    >>> from numgumbel.jax import gumbel
    >>> gumbel(jax.random.key(1), (2, 3)).shape
    (2, 3)
    """
    given = _given(key, step=step, loc=float(loc), scale=float(scale))
    return _called("gumbel", given, [_jax.ShapeDtypeStruct(tuple(shape), _jnp.dtype(dtype or _jnp.float32))])[0]


def gumbel_topk(
    key: Any,
    logits: Any,
    k: int,
    *,
    step: Any = 0,
    rows: Any = None,
    cols: Any = None,
    mask: Any = None,
    temperature: Any = 1.0,
    axis: int = -1,
    invalid: str = "mark",
) -> TopK:
    """`numgumbel.gumbel_topk` inside `jit` and `vmap`: k categories without replacement; a gradient through it is 0.

    Parameters
    ----------
    key, logits, step, rows, cols, mask, temperature, axis, invalid
        As in `categorical`.
    k : int
        How many.

    Returns
    -------
    TopK
        ``index`` and ``score``, k along the axis, and ``threshold``.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from numgumbel.jax import gumbel_topk
    >>> gumbel_topk(jax.random.key(1), jnp.zeros((2, 5)), 3).index.shape
    (2, 3)
    """
    logits = _jax.lax.stop_gradient(_logits(logits))
    given = _given(
        key, logits=logits, k=int(k), step=step, rows=rows, cols=cols, mask=mask, temperature=temperature, axis=axis,
        invalid=invalid,
    )  # fmt: skip
    place = axis % logits.ndim
    shape = (*logits.shape[:place], int(k), *logits.shape[place + 1 :])
    kinds = (shape, _index_dtype()), (shape, _real(logits)), (_without(logits.shape, axis), _real(logits))
    return TopK(*_called("gumbel_topk", given, [_jax.ShapeDtypeStruct(*kind) for kind in kinds]))


def gumbel_softmax(
    key: Any,
    logits: Any,
    tau: Any = 1.0,
    hard: bool = False,
    *,
    step: Any = 0,
    rows: Any = None,
    cols: Any = None,
    mask: Any = None,
    axis: int = -1,
    invalid: str = "mark",
) -> Any:
    """`numgumbel.gumbel_softmax` inside `jit`, `vmap` and `grad`: differentiable in the logits.

    Parameters
    ----------
    key, logits, step, rows, cols, mask, axis, invalid
        As in `categorical`.
    tau : float or array, default 1
        Relaxation temperature; a Python number or one array for all rows or one a row. It has no gradient.
    hard : bool, default False
        The exact one-hot, with the gradient of the soft sample.

    Returns
    -------
    array of the logits' dtype and shape
        Equal to the bit to `numgumbel.gumbel_softmax`.

    Notes
    -----
    A soft sample is all that is kept for the gradient; a hard one keeps the logits and is made again. There is no second
    derivative.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from numgumbel.jax import gumbel_softmax
    >>> loss = lambda logits: gumbel_softmax(jax.random.key(1), logits, 0.5)[:, 0].sum()
    >>> jax.jit(jax.grad(loss))(jnp.zeros((2, 3))).shape
    (2, 3)
    """
    logits = _logits(logits)
    given = _given(key, step=step, rows=rows, cols=cols, mask=mask, tau=tau, axis=axis, invalid=invalid)
    names = tuple(sorted(given.operands))
    options = tuple(sorted(given.options.items()))
    return _relaxed(names, options, bool(hard), logits, *(given.operands[name] for name in names))


@functools.partial(_jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _relaxed(names: tuple[str, ...], options: tuple[tuple[str, Any], ...], hard: bool, logits: Any, *operands: Any) -> Any:
    given = _address(names, options, operands)
    given = _Given({**given.operands, "logits": logits}, {**given.options, "hard": hard})
    return _called("gumbel_softmax", given, [_jax.ShapeDtypeStruct(logits.shape, logits.dtype)])[0]


def _address(names: tuple[str, ...], options: tuple[tuple[str, Any], ...], operands: Any) -> _Given:
    """Operands by their names, the key in front."""
    named = dict(zip(names, operands, strict=True))
    return _Given({"key": named.pop("key"), **named}, dict(options))


def _relaxed_forward(names: Any, options: Any, hard: bool, logits: Any, *operands: Any) -> Any:
    sample = _relaxed(names, options, hard, logits, *operands)
    return sample, (logits if hard else sample, operands)


def _relaxed_backward(names: Any, options: Any, hard: bool, kept: Any, cotangent: Any) -> Any:
    array, operands = kept
    given = _address(names, options, operands)
    arrays = {"logits": array, "cotangent": cotangent} if hard else {"logits": array, "cotangent": cotangent, "sample": array}
    given = _Given({**given.operands, **arrays}, given.options)
    gradient = _called("gumbel_softmax_vjp", given, [_jax.ShapeDtypeStruct(array.shape, array.dtype)])[0]
    return gradient, *map(_no_gradient, operands)


def _no_gradient(operand: Any) -> Any:
    if _jnp.issubdtype(operand.dtype, _jnp.floating):
        return _jnp.zeros_like(operand)
    return np.zeros(operand.shape, _jax.dtypes.float0)


_relaxed.defvjp(_relaxed_forward, _relaxed_backward)


def sample_actions(
    key: Any,
    logits: Any,
    *,
    nvec: Any = None,
    step: Any = 0,
    rows: Any = None,
    mask: Any = None,
    temperature: float = 1.0,
    deterministic: bool = False,
    invalid: str = "mark",
) -> Actions:
    """`numgumbel.sample_actions` inside `jit` and `vmap`; gradients come from `log_prob_entropy`.

    Parameters
    ----------
    key, logits, step, rows, mask, temperature, invalid
        As in `categorical`.
    nvec : sequence of int, optional
        Number of actions of each head.
    deterministic : bool, default False
        The likeliest action of each head.

    Returns
    -------
    Actions
        ``action``, ``log_prob`` and ``entropy``.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from numgumbel.jax import sample_actions
    >>> sample_actions(jax.random.key(1), jnp.zeros((2, 5)), nvec=(2, 3)).action.shape
    (2, 2)
    """
    logits = _jax.lax.stop_gradient(_logits(logits))
    heads = None if nvec is None else tuple(int(size) for size in nvec)
    given = _given(
        key, logits=logits, nvec=heads, step=step, rows=rows, mask=mask, temperature=temperature, deterministic=deterministic,
        invalid=invalid,
    )  # fmt: skip
    batch = logits.shape[:-1]
    kinds = (batch if heads is None else (*batch, len(heads)), _index_dtype()), (batch, _real(logits)), (batch, _real(logits))
    return Actions(*_called("sample_actions", given, [_jax.ShapeDtypeStruct(*kind) for kind in kinds]))


def log_prob_entropy(logits: Any, actions: Any, *, nvec: Any = None, mask: Any = None, invalid: str = "mark") -> LogProbEntropy:
    """`numgumbel.log_prob_entropy` inside `jit`, `vmap` and `grad`: differentiable in the logits.

    Parameters
    ----------
    logits, mask, invalid
        As in `categorical`.
    actions : integer array, shape (...), or (..., H) for H heads
        As `sample_actions` gives them.
    nvec : sequence of int, optional
        Number of actions of each head.

    Returns
    -------
    LogProbEntropy
        ``log_prob`` and ``entropy``.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from numgumbel.jax import log_prob_entropy
    >>> jax.grad(lambda logits: log_prob_entropy(logits, jnp.array([1])).log_prob.sum())(jnp.zeros((1, 4)))[0]
    Array([-0.25,  0.75, -0.25, -0.25], dtype=float32)
    """
    logits = _logits(logits)
    heads = None if nvec is None else tuple(int(size) for size in nvec)
    given = _given(Key(0), actions=_jnp.asarray(actions), mask=mask, nvec=heads, invalid=invalid)
    names, options = tuple(sorted(given.operands)), tuple(sorted(given.options.items()))
    return LogProbEntropy(*_looked_up(names, options, logits, *(given.operands[name] for name in names)))


@functools.partial(_jax.custom_vjp, nondiff_argnums=(0, 1))
def _looked_up(names: tuple[str, ...], options: tuple[tuple[str, Any], ...], logits: Any, *operands: Any) -> Any:
    given = _address(names, options, operands)
    result = _jax.ShapeDtypeStruct(logits.shape[:-1], _real(logits))
    return tuple(_called("log_prob_entropy", _Given({**given.operands, "logits": logits}, given.options), [result, result]))


def _looked_up_forward(names: Any, options: Any, logits: Any, *operands: Any) -> Any:
    return _looked_up(names, options, logits, *operands), (logits, operands)


def _looked_up_backward(names: Any, options: Any, kept: Any, cotangents: Any) -> Any:
    logits, operands = kept
    given = _address(names, options, operands)
    arrays = {"logits": logits, "log_prob_cotangent": cotangents[0], "entropy_cotangent": cotangents[1]}
    result = _jax.ShapeDtypeStruct(logits.shape, logits.dtype)
    gradient = _called("log_prob_entropy_vjp", _Given({**given.operands, **arrays}, given.options), [result])[0]
    return gradient, *map(_no_gradient, operands)


_looked_up.defvjp(_looked_up_forward, _looked_up_backward)
