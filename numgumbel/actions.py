"""Actions of policies: sampled with their log-probability and entropy in one call, over several heads and under a mask."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import arguments as check
from .arguments import Request
from .dispatch import host_view, operation
from .keys import Key
from .plain import are_plain, plain_mask, plain_rows
from .shortcuts import NEW, again

__all__ = ["Actions", "LogProbEntropy", "log_prob_entropy", "log_prob_entropy_vjp", "sample_actions"]

_NO_KEY = Key(0)  # nothing is drawn where it stands
_INT64 = np.dtype(np.int64)
_WANTED = ("log_prob", "entropy")
_NO_ACTION = "no valid action in a head, or a NaN in one"


class Actions(NamedTuple):
    """Result of `sample_actions`: action, its log-probability and the entropy, both summed over heads."""

    action: Any
    log_prob: Any
    entropy: Any


class LogProbEntropy(NamedTuple):
    """Result of `log_prob_entropy`: log-probability of the actions and entropy, both summed over heads."""

    log_prob: Any
    entropy: Any


def sample_actions(
    key: Any,
    logits: Any,
    *,
    nvec: Any = None,
    mask: Any = None,
    step: Any = 0,
    rows: Any = None,
    cols: Any = None,
    temperature: Any = 1.0,
    deterministic: bool = False,
    axis: int = -1,
    n: int | None = None,
    invalid: str | None = None,
    out: Actions | None = None,
) -> Actions:
    """Sample the actions of a policy, with their log-probability and the entropy, in one call.

    Parameters
    ----------
    key : Key
        From `key`. The same key and step give the same noise: count the steps, or use a `Generator`.
    logits : array of float32, float64, float16 or bfloat16, shape (..., K)
        One row an environment. With `nvec`, the logits of its heads one after the other.
    nvec : sequence of int, optional
        Number of actions of each head, which add up to K (as ``MultiDiscrete.nvec``). A head's noise belongs to the position in
        the whole row.
    mask : array of bool, int8 or uint8, optional
        Nonzero where an action is valid; broadcast to the logits. What it forbids is never looked at.
    step, rows, cols, temperature, axis, n
        As in `categorical`.
    deterministic : bool, default False
        Take the largest logit of each head, the first on a tie. Log-probability and entropy remain those of the distribution
        at the temperature given.
    invalid : {None, "raise", "mark"}
        What to do with a row that has a head without a valid action, or a NaN in a valid one: None and "raise" raise
        `ValueError` once all rows are done; "mark" gives that head -1, the row's log-probability and entropy NaN.
    out : Actions, optional
        Where the results go, None for a new array; actions int64 or int32.

    Returns
    -------
    Actions
        ``action``, int64, shape (...), or (..., H) for H heads; ``log_prob`` and ``entropy`` (nats, over valid actions),
        shape (...), in the logits' dtype (float32 for float16 and bfloat16). Actions are equal to the bit on every machine, the
        others on any CPU. `log_prob_entropy` of the same logits, actions and mask gives the same bits, so that the ratio of the
        probabilities is exactly 1 before the first update.

    Raises
    ------
    TypeError, ValueError
        As in `categorical`; `ValueError` for an `nvec` that does not add up.

    References
    ----------
    Huang, Ontañón, "A closer look at invalid action masking in policy gradient algorithms", FLAIRS 2022, arXiv:2006.14171.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> logits = np.zeros((2, 5), np.float32)
    >>> actions = ng.sample_actions(ng.key(42), logits, nvec=(2, 3), mask=[True, True, True, False, False])
    >>> actions.action.shape, bool((actions.action[:, 1] == 0).all())
    ((2, 2), True)
    >>> bool(np.allclose(actions.log_prob, -np.log(2)) and np.allclose(actions.entropy, np.log(2)))
    True
    """
    plain = cols is n is None and invalid is None and out is None and axis == -1
    if plain and are_plain(key, logits, step, temperature):
        allowed, ids = plain_mask(mask, logits), plain_rows(rows, logits)
        if allowed is not False and ids is not False:
            heads = check.heads_of(nvec, logits.shape[-1])
            run = operation("plain_draw", "cpu")
            drawn = run(key._value, logits, allowed, heads, step, temperature, _WANTED, bool(deterministic), ids)
            if drawn is not None:
                index, _, _, log_prob, entropy = drawn
                return Actions(index if nvec is not None else index[..., 0], log_prob, entropy)
    made = again(sample_actions, locals(), logits)
    if made is not NEW:
        return made
    request = check.sampling_request(
        key, logits, step=step, rows=rows, cols=cols, mask=mask, temperature=temperature, axis=axis, n=n, invalid=invalid
    )
    heads = check.heads_of(nvec, request.columns)
    count = len(heads) - 1
    if out is not None and not (isinstance(out, tuple) and len(out) == 3):
        raise TypeError(f"out must be Actions or a tuple of 3 arrays, got {type(out).__name__}")
    places = (None,) * 3 if out is None else out
    batch, family, given = (*request.leading, *request.batch), request.family, request.inputs
    shape = batch if nvec is None else (*request.leading, *request.along_axis_shape(count))
    action = check.output(places[0], "out.action", shape, request.index_dtypes, family, given, request.cols)
    log_prob = check.output(places[1], "out.log_prob", batch, (request.real,), family, given)
    entropy = check.output(places[2], "out.entropy", batch, (request.real,), family, given)
    check.keep_apart(action, log_prob, entropy)
    index = action[..., None] if nvec is None else request.axis_last(action)
    run = operation("draw", family.backend)
    marked = run(request, heads, index, log_prob=log_prob, entropy=entropy, deterministic=bool(deterministic))
    request.refuse("sample_actions", marked, _NO_ACTION)
    return Actions(*check.results(places, (action, log_prob, entropy), family))


def log_prob_entropy(
    logits: Any,
    actions: Any,
    *,
    nvec: Any = None,
    mask: Any = None,
    temperature: Any = 1.0,
    axis: int = -1,
    invalid: str | None = None,
    out: LogProbEntropy | None = None,
) -> LogProbEntropy:
    """Log-probability of given actions, and the entropy, for the update of a policy.

    Parameters
    ----------
    logits, nvec, mask, temperature, axis
        As in `sample_actions`.
    actions : integer array, shape (...), or (..., H) for H heads
        As `sample_actions` returns them.
    invalid : {None, "raise", "mark"}
        As in `sample_actions`; an action outside of its head is invalid too. A marked row is NaN in both.
    out : LogProbEntropy, optional
        Where the results go, None for a new array.

    Returns
    -------
    LogProbEntropy
        ``log_prob`` and ``entropy``, shape (...), in the logits' dtype. Equal to the bit to what `sample_actions` gave for the
        same logits, mask and temperature. A forbidden action has log-probability -inf.

    Raises
    ------
    TypeError, ValueError
        As in `sample_actions`; `TypeError` for actions that are not integers.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> logits = np.log(np.array([[0.1, 0.7, 0.2]], np.float32))
    >>> sampled = ng.sample_actions(ng.key(42), logits)
    >>> again = ng.log_prob_entropy(logits, sampled.action)
    >>> bool(again.log_prob == sampled.log_prob and again.entropy == sampled.entropy)
    True
    """
    if axis == -1 and invalid is None and out is None and are_plain(_NO_KEY, logits, 0, temperature):
        allowed = plain_mask(mask, logits)
        if allowed is not False and type(actions) is np.ndarray:
            heads = check.heads_of(nvec, logits.shape[-1])
            chosen = actions[..., None] if nvec is None else actions
            if _are_plain_actions(chosen, (*logits.shape[:-1], len(heads) - 1)):
                told = operation("plain_draw", "cpu")(0, logits, allowed, heads, 0, temperature, _WANTED, False, None, chosen)
                if told is not None:
                    return LogProbEntropy(told[3], told[4])
    made = again(log_prob_entropy, locals(), logits)
    if made is not NEW:
        return made
    request = check.sampling_request(_NO_KEY, logits, mask=mask, temperature=temperature, axis=axis, invalid=invalid)
    heads = check.heads_of(nvec, request.columns)
    index = _given_actions(actions, request, nvec, len(heads) - 1)
    if out is not None and not (isinstance(out, tuple) and len(out) == 2):
        raise TypeError(f"out must be a LogProbEntropy or a tuple of 2 arrays, got {type(out).__name__}")
    places = (None,) * 2 if out is None else out
    family, given = request.family, (*request.inputs, index)
    log_prob = check.output(places[0], "out.log_prob", request.batch, (request.real,), family, given)
    entropy = check.output(places[1], "out.entropy", request.batch, (request.real,), family, given)
    check.keep_apart(log_prob, entropy)
    marked = operation("draw", family.backend)(request, heads, index, log_prob=log_prob, entropy=entropy, given=True)
    request.refuse("log_prob_entropy", marked, _NO_ACTION + ", or an action outside of its head")
    return LogProbEntropy(*check.results(places, (log_prob, entropy), family))


def log_prob_entropy_vjp(
    logits: Any,
    actions: Any,
    log_prob_cotangent: Any = None,
    entropy_cotangent: Any = None,
    *,
    nvec: Any = None,
    mask: Any = None,
    temperature: Any = 1.0,
    axis: int = -1,
    invalid: str | None = None,
    out: Any = None,
) -> Any:
    """Vector-Jacobian product of `log_prob_entropy` in the logits: the gradient that a policy's update needs.

    Parameters
    ----------
    logits, actions, nvec, mask, temperature, axis, invalid
        As in `log_prob_entropy`; a marked row's gradient is NaN all over.
    log_prob_cotangent, entropy_cotangent : float or array, optional
        Derivatives of the loss in log_prob and in entropy, one a row, in their dtype, or one for all rows; 0 when left out.
    out : array of the logits' dtype and shape, optional
        Where the result goes.

    Returns
    -------
    array of the logits' dtype and shape
        Derivative of the loss in the logits, 0 where masked. Equal to the bit on any CPU.

    Raises
    ------
    TypeError, ValueError
        As in `log_prob_entropy`; `ValueError` at temperature 0, where nothing is differentiable.

    References
    ----------
    Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", Machine Learning 8
    (1992), doi:10.1007/BF00992696.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> gradient = ng.log_prob_entropy_vjp(np.log([[0.1, 0.7, 0.2]]), np.array([1]), np.array([1.0]))
    >>> bool(np.allclose(gradient, [[-0.1, 0.3, -0.2]]))
    True
    """
    if axis == -1 and invalid is None and out is None and are_plain(_NO_KEY, logits, 0, temperature) and temperature > 0:
        allowed = plain_mask(mask, logits)
        chosen = actions[..., None] if nvec is None and type(actions) is np.ndarray else actions
        slopes = _plain_cotangent(log_prob_cotangent, logits), _plain_cotangent(entropy_cotangent, logits)
        if allowed is not False and slopes[0] is not None and slopes[1] is not None:
            heads = check.heads_of(nvec, logits.shape[-1])
            if _are_plain_actions(chosen, (*logits.shape[:-1], len(heads) - 1)):
                run = operation("plain_log_prob_vjp", "cpu")
                gradient = run(logits, allowed, heads, temperature, chosen, *slopes)
                if gradient is not None:
                    return gradient
    made = again(log_prob_entropy_vjp, locals(), logits)
    if made is not NEW:
        return made
    request = check.sampling_request(_NO_KEY, logits, mask=mask, temperature=temperature, axis=axis, invalid=invalid)
    if request.is_greedy:
        raise ValueError("temperature must be positive for a gradient: at 0 the largest logit is certain")
    heads = check.heads_of(nvec, request.columns)
    index = _given_actions(actions, request, nvec, len(heads) - 1)
    cotangents = [
        _cotangent(log_prob_cotangent, "log_prob_cotangent", request),
        _cotangent(entropy_cotangent, "entropy_cotangent", request),
    ]
    shape = request.along_axis_shape(request.columns)
    assert request.cells is not None
    inputs = (request.along_axis(request.cells), request.mask, request.temperatures, index, *cotangents)
    gradient = check.output(out, "out", shape, (request.dtype,), request.family, inputs)
    run = operation("log_prob_vjp", request.family.backend)
    marked = run(request, heads, index, *cotangents, request.axis_last(gradient))
    request.refuse("log_prob_entropy_vjp", marked, _NO_ACTION + ", or an action outside of its head")
    return out if out is not None else request.family.wrap(gradient)


def _are_plain_actions(actions: Any, shape: tuple[int, ...]) -> bool:
    """Whether actions are int64 of that shape, batch + (H,)."""
    return type(actions) is np.ndarray and actions.dtype is _INT64 and actions.shape == shape and actions.flags.aligned


def _plain_cotangent(values: Any, logits: np.ndarray) -> np.ndarray | None:
    """A derivative that is one number a row, in float32 or float64 as the logits are; None for others."""
    plain = type(values) is np.ndarray and values.dtype is logits.dtype and values.shape == logits.shape[:-1]
    return values if plain and logits.dtype.itemsize > 2 and values.flags.aligned else None


def _given_actions(actions: Any, request: Request, nvec: Any, count: int) -> np.ndarray:
    """Actions as int64, batch + (H,)."""
    array = check.integer_array(actions, "actions", request.family)
    shape = request.batch if nvec is None else request.along_axis_shape(count)
    if array.shape != shape:
        raise ValueError(f"actions must have shape {shape}, got {array.shape}")
    return array[..., None] if nvec is None else request.axis_last(array)


def _cotangent(values: Any, name: str, request: Request) -> np.ndarray:
    """A derivative of the loss, one a row or one for all, in the precision of log_prob."""
    if isinstance(values, bool):
        raise TypeError(f"{name} must be a number, got {values!r}")
    if values is None or isinstance(values, (int, float)):
        return np.broadcast_to(np.asarray(values or 0.0, request.real), request.batch)
    array = host_view(values, name, request.family)
    if array.dtype != request.real:
        raise TypeError(
            f"{name} must be {request.real} like log_prob, got {array.dtype}: call {name}.astype(np.{request.real})"
        )
    if array.shape not in ((), request.batch):
        raise ValueError(f"{name} must hold one number a row, shape {request.batch}, or one for all, got {array.shape}")
    return np.broadcast_to(check.aligned(array), request.batch, subok=True)
