"""The operations: pure functions of a key, a step and logits. Arguments are checked here, arithmetic is done elsewhere."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from . import arguments as check
from .arguments import Request
from .dispatch import Family, family_of, host_view, operation
from .kernels.field import COLUMN_END
from .keys import check_key
from .plain import are_plain, plain_mask, plain_rows
from .shortcuts import NEW, adapted, again

__all__ = [
    "TopK",
    "categorical",
    "categorical_ragged",
    "conditional_gumbel",
    "gumbel",
    "gumbel_softmax",
    "gumbel_softmax_vjp",
    "gumbel_topk",
    "inclusion_log_prob",
]


class TopK(NamedTuple):
    """Result of `gumbel_topk`: index and score of the k best, and the threshold, the score of the next."""

    index: Any
    score: Any
    threshold: Any


def categorical(
    key: Any,
    logits: Any = None,
    *,
    probs: Any = None,
    step: Any = 0,
    rows: Any = None,
    cols: Any = None,
    mask: Any = None,
    temperature: Any = 1.0,
    axis: int = -1,
    n: int | None = None,
    method: str = "gumbel",
    invalid: str | None = None,
    out: Any = None,
) -> Any:
    """Sample one category a row with probability proportional to exp(logits / temperature).

    The sample is the argmax of ``logits / temperature + G``, where G is the Gumbel field at (key, step, row id, column id). It
    depends on nothing else: not on the batch around the row, its order, its chunking or the machine.

    Parameters
    ----------
    key : Key
        From `key`. The same key and step give the same noise.
    logits : array of float32, float64, float16 or bfloat16, shape (..., K)
        Unnormalised log-probabilities; -inf excludes a category, one +inf is certain. Any strides, read-only welcome. Halves
        (float16, and bfloat16 of the package ml_dtypes) are read as they are, and give what the same numbers in float32 do.
    probs : array of the same dtypes, shape (..., K)
        In place of logits: weights of 0 or more that need not sum to 1.
    step : int or integer array, default 0
        Draw counter, 0 <= step < 2^63, a scalar or one a row.
    rows : integer array, optional
        One 64-bit id a row; by default the row's position in C order.
    cols : integer array, optional
        One id a column, shape (K,), or one a cell, 0 <= id < 2^35 - 16; by default the column's position.
    mask : array of bool, int8 or uint8, optional
        Nonzero where a category is allowed; broadcast to the logits. A masked cell is never looked at.
    temperature : float or float array, default 1
        0 (the largest logit) or from 2^-64 to 2^64; a scalar or one a row.
    axis : int, default -1
        Axis of the categories.
    n : int, optional
        Number of draws; draw d uses ``step + d``. The result has a leading axis of length n.
    method : {"gumbel", "inverse_cdf"}
        "gumbel", the default, is the one whose noise can be asked for again: by `gumbel`, for counterfactuals, and by top-k and
        relaxed samples, which agree with it. "inverse_cdf" reads one uniform a row, at an address of its own, and compares it
        with cumulative weights in integers; column ids do not count. It is for very many draws of the same rows: with `n`, the
        weights are added up once, and a draw takes nanoseconds however many categories there are. That takes memory: 8 to 16
        bytes a category for each thread.
    invalid : {None, "raise", "mark"}
        What to do with a row that has no category left, or a NaN or negative probability in an allowed cell: None and "raise"
        raise `ValueError` once all rows are done, "mark" returns index -1 for it.
    out : array of int64 or int32, optional
        Where the result goes.

    Returns
    -------
    array of int64, shape (...) or (n, ...)
        Positions along `axis`, in the array family of the logits. Equal to the bit on every machine; a tie goes to the lowest
        position.

    Raises
    ------
    TypeError
        For a key that is none, logits of another dtype, or both or neither of logits and probs.
    ValueError
        For shapes that do not fit, numbers out of range, no categories at all, or invalid rows.

    References
    ----------
    Maddison, Tarlow, Minka, "A* sampling", NeurIPS 2014, arXiv:1411.0030.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> key = ng.key(42, "mode_choice")
    >>> ng.categorical(key, probs=np.array([[0.1, 0.7, 0.2]] * 4))
    array([2, 2, 1, 1])
    >>> ng.categorical(key, np.log([[0.1, 0.7, 0.2]]), rows=[3])
    array([1])

    Very many draws of one distribution:

    >>> draws = ng.categorical(key, probs=np.array([0.1, 0.7, 0.2]), n=100_000, method="inverse_cdf")
    >>> (np.bincount(draws) / 100_000).round(2)
    array([0.1, 0.7, 0.2])
    """
    # The short way; whatever is out of the ordinary is left to the general one.
    if (
        probs is cols is n is out is invalid is None
        and axis == -1
        and method == "gumbel"
        and are_plain(key, logits, step, temperature)
        and (rows is None or plain_rows(rows, logits) is not False)
        and (mask is None or plain_mask(mask, logits) is not False)
    ):
        index = operation("plain_categorical", "cpu")(key._value, logits, step, temperature, rows, mask)
        if index is not None:
            return index
    made = again(categorical, locals(), probs if logits is None else logits)
    if made is not NEW:
        return made
    if method not in ("gumbel", "inverse_cdf"):
        raise ValueError(f'method must be "gumbel" or "inverse_cdf", got {method!r}')
    request = check.sampling_request(
        key,
        logits,
        probs,
        step=step,
        rows=rows,
        cols=cols,
        mask=mask,
        temperature=temperature,
        axis=axis,
        n=n,
        invalid=invalid,
    )
    index = check.output(
        out, "out", (*request.leading, *request.batch), request.index_dtypes, request.family, request.inputs, request.cols
    )
    run = operation("categorical" if method == "gumbel" else "inverse_cdf", request.family.backend)
    request.refuse("categorical", run(request, index))
    return out if out is not None else request.family.wrap(index)


def categorical_ragged(
    key: Any,
    logits: Any = None,
    offsets: Any = None,
    *,
    probs: Any = None,
    step: Any = 0,
    rows: Any = None,
    cols: Any = None,
    mask: Any = None,
    temperature: Any = 1.0,
    n: int | None = None,
    invalid: str | None = None,
    out: Any = None,
) -> Any:
    """`categorical` of rows of different lengths: row r is ``logits[offsets[r]:offsets[r + 1]]``.

    The sample of a row is that of `categorical` of the row alone with its row id, whatever rows stand beside it.

    Parameters
    ----------
    key, step, temperature, n
        As in `categorical`; step and temperature a scalar or one a row.
    logits : array of float32, float64, float16 or bfloat16, shape (N,)
        Unnormalised log-probabilities of all rows, one row behind the other.
    offsets : integer array, shape (R + 1,)
        Where each row starts, and where the last one ends: not decreasing, from 0 to N. Values before the first and behind the
        last row are not looked at.
    probs : array of the same dtypes, shape (N,)
        In place of logits: weights of 0 or more that need not sum to 1.
    rows : integer array, shape (R,), optional
        Row ids; by default 0, 1, 2, ...
    cols : integer array, shape (N,), optional
        Column id of each value, 0 <= id < 2^35 - 16; by default the position in its row.
    mask : array of bool, int8 or uint8, shape (N,), optional
        Nonzero where a category is allowed.
    invalid : {None, "raise", "mark"}
        As in `categorical`; a row without values is invalid.
    out : array of int64 or int32, optional
        Where the result goes.

    Returns
    -------
    array of int64, shape (R,) or (n, R)
        Positions within the row. Equal to the bit on every machine; a tie goes to the lowest position.

    Raises
    ------
    TypeError
        As in `categorical`, and without offsets.
    ValueError
        As in `categorical`, and for offsets that decrease or leave the values, naming the first place.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> key = ng.key(42, "destinations")
    >>> logits, offsets = np.log([0.1, 0.7, 0.2, 0.5, 0.5]), [0, 3, 5]
    >>> ng.categorical_ragged(key, logits, offsets)
    array([0, 0])
    >>> ng.categorical(key, logits[None, 3:], rows=[1])
    array([0])
    """
    made = again(categorical_ragged, locals(), probs if logits is None else logits)
    if made is not NEW:
        return made
    request, offsets = check.ragged_request(
        key,
        logits,
        probs,
        offsets,
        step=step,
        rows=rows,
        cols=cols,
        mask=mask,
        temperature=temperature,
        n=n,
        invalid=invalid,
    )
    row_by_row = request.rows, request.steps, request.temperatures
    index = check.output(out, "out", (*request.leading, *request.batch), request.index_dtypes, request.family, row_by_row)
    if any(check.overlap(index, a) for a in (request.cells, request.mask, request.cols, offsets) if a is not None):
        raise ValueError("out overlaps an input")
    request.refuse("categorical_ragged", operation("ragged", request.family.backend)(request, offsets, index))
    return out if out is not None else request.family.wrap(index)


def gumbel_softmax(
    key: Any,
    logits: Any = None,
    *,
    probs: Any = None,
    tau: Any = 1.0,
    hard: bool = False,
    step: Any = 0,
    rows: Any = None,
    cols: Any = None,
    mask: Any = None,
    axis: int = -1,
    n: int | None = None,
    invalid: str | None = None,
    out: Any = None,
) -> Any:
    """Relaxed one-hot sample: softmax((logits + G) / tau), differentiable in the logits.

    As tau falls it sharpens to the one-hot of `categorical` at the same key, step and ids; as tau grows it flattens.

    Parameters
    ----------
    key, logits, probs, step, rows, cols, mask, axis, n
        As in `categorical`.
    tau : float or float array, default 1
        Relaxation temperature, 0 (an exact one-hot) or from 2^-64 to 2^64; a scalar or one a row.
    hard : bool, default False
        Return the exact one-hot (0.0 and 1.0) of the largest entry; its straight-through gradient is that of the soft sample.
    invalid : {None, "raise", "mark"}
        As in `categorical`; a marked row is NaN all over.
    out : array of the logits' dtype and shape, optional
        Where the result goes; may be the logits themselves.

    Returns
    -------
    array of the logits' dtype, shape of the logits, or (n, ...)
        Rows sum to 1 within a few ulp. Equal to the bit on any CPU: the sum has one fixed order. float16 and bfloat16 results
        are those of float32, rounded once.

    Raises
    ------
    TypeError, ValueError
        As in `categorical`.

    References
    ----------
    Jang, Gu, Poole, "Categorical reparameterization with Gumbel-softmax", ICLR 2017, arXiv:1611.01144. Maddison, Mnih, Teh,
    "The Concrete distribution", ICLR 2017, arXiv:1611.00712.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> y = ng.gumbel_softmax(ng.key(42), np.log([[0.1, 0.7, 0.2]]), tau=0.5)
    >>> y.shape, bool(abs(y.sum() - 1) < 1e-15)
    ((1, 3), True)
    """
    if probs is rows is cols is mask is n is out is invalid is None and axis == -1 and are_plain(key, logits, step, tau):
        relaxed = operation("plain_softmax", "cpu")(key._value, logits, step, tau, bool(hard))
        if relaxed is not None:
            return relaxed
    made = again(gumbel_softmax, locals(), probs if logits is None else logits)
    if made is not NEW:
        return made
    request = check.sampling_request(
        key,
        logits,
        probs,
        step=step,
        rows=rows,
        cols=cols,
        mask=mask,
        temperature=tau,
        temperature_name="tau",
        axis=axis,
        n=n,
        invalid=invalid,
    )
    given = request.cells
    assert given is not None
    shape = (*request.leading, *request.along_axis_shape(request.columns))
    overwritten = request.along_axis(given) if n is None else given
    others = [a for a in request.inputs if a is not given]
    sample = check.output(out, "out", shape, (request.dtype,), request.family, (overwritten, *others))
    run = operation("softmax", request.family.backend)
    request.refuse("gumbel_softmax", run(request, bool(hard), request.axis_last(sample)))
    return out if out is not None else request.family.wrap(sample)


def gumbel_softmax_vjp(
    key: Any,
    logits: Any,
    cotangent: Any,
    *,
    sample: Any = None,
    tau: Any = 1.0,
    step: Any = 0,
    rows: Any = None,
    cols: Any = None,
    mask: Any = None,
    axis: int = -1,
    invalid: str | None = None,
    out: Any = None,
) -> Any:
    """Vector-Jacobian product of `gumbel_softmax` in the logits.

    ``y_j (c_j - sum_i c_i y_i) / tau`` with y the soft sample. For ``hard=True`` the straight-through gradient is this one
    too. The noise is looked up again, so nothing but the logits need be kept between forward and backward pass; a soft sample
    that was kept saves that work.

    Parameters
    ----------
    key, logits, tau, step, rows, cols, mask, axis
        As in the forward call.
    cotangent : array of the logits' dtype and shape
        Derivative of the loss in the sample.
    sample : array of the logits' dtype and shape, optional
        The soft sample that the forward call returned. Logits are then not looked at: a row of NaN in it, as of a marked
        row, gives a row of NaN. In float16 and bfloat16 it was rounded; left out, the gradient is that of the unrounded one.
    invalid : {None, "raise", "mark"}
        As in `categorical`; the gradient of a marked row is NaN all over.
    out : array of the logits' dtype and shape, optional
        Where the result goes.

    Returns
    -------
    array of the logits' dtype and shape
        Derivative of the loss in the logits; 0 where masked. Equal to the bit on any CPU. float16 and bfloat16 results are
        those of float32, rounded once.

    Raises
    ------
    TypeError, ValueError
        As in `categorical`; `ValueError` at tau 0, where the sample has no gradient.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> logits = np.log([[0.1, 0.7, 0.2]])
    >>> gradient = ng.gumbel_softmax_vjp(ng.key(42), logits, np.array([[1.0, 0.0, 0.0]]), tau=0.5)
    >>> bool(abs(gradient.sum()) < 1e-15)
    True
    """
    made = again(gumbel_softmax_vjp, locals(), logits)
    if made is not NEW:
        return made
    request = check.sampling_request(
        key,
        logits,
        None,
        step=step,
        rows=rows,
        cols=cols,
        mask=mask,
        temperature=tau,
        temperature_name="tau",
        axis=axis,
        n=None,
        invalid=invalid,
    )
    if request.is_greedy:
        raise ValueError("tau must be positive for a gradient: at tau 0 the sample is one-hot and has none")
    shape = request.along_axis_shape(request.columns)
    c = _same_layout(cotangent, "cotangent", request, shape)
    y = None if sample is None else _same_layout(sample, "sample", request, shape)
    inputs = [*request.inputs, c] if y is None else [*request.inputs, c, y]
    gradient = check.output(out, "out", shape, (request.dtype,), request.family, like=request.cells)
    if any(check.overlap(gradient, other) for other in inputs if other is not None):
        raise ValueError("out overlaps an input")
    c, result = request.axis_last(c), request.axis_last(gradient)
    backend = request.family.backend
    if y is None:
        request.refuse("gumbel_softmax_vjp", operation("softmax_gradient", backend)(request, c, result))
    else:
        operation("softmax_vjp", backend)(request, request.axis_last(y), c, result)
    return out if out is not None else request.family.wrap(gradient)


def gumbel_topk(
    key: Any,
    logits: Any = None,
    k: Any = None,
    *,
    probs: Any = None,
    step: Any = 0,
    rows: Any = None,
    cols: Any = None,
    mask: Any = None,
    temperature: Any = 1.0,
    axis: int = -1,
    n: int | None = None,
    invalid: str | None = None,
    out: Any = None,
) -> TopK:
    """Sample k categories a row without replacement, in the order in which successive draws would give them.

    They are the k largest of ``logits / temperature + G``.

    Parameters
    ----------
    key, logits, probs, step, rows, cols, mask, temperature, axis, n
        As in `categorical`.
    k : int
        How many, 1 <= k <= K.
    invalid : {None, "raise", "mark"}
        As in `categorical`; a marked row has index -1, score NaN and threshold NaN.
    out : TopK or tuple of 3 arrays, optional
        Where index (int64 or int32), score and threshold go, None for a new array.

    Returns
    -------
    TopK
        ``index``, shape of the logits with k in place of K (largest score first, ties to the lowest position, -1 where fewer
        than k are allowed); ``score`` of the same shape, in the logits' dtype (float32 for float16 and bfloat16), -inf behind
        the allowed ones; ``threshold``, one a row, the k+1-th score, -inf where there is none. All equal to the bit on every
        machine.

    Raises
    ------
    TypeError, ValueError
        As in `categorical`; `ValueError` for k < 1 or k > K.

    References
    ----------
    Kool, van Hoof, Welling, "Stochastic beams and where to find them", ICML 2019, arXiv:1903.06059.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> top = ng.gumbel_topk(ng.key(42), np.log([[0.1, 0.5, 0.2, 0.2]]), 2)
    >>> top.index.shape, bool((top.score[:, 1] >= top.threshold).all())
    ((1, 2), True)
    """
    if (
        probs is rows is cols is mask is n is out is invalid is None
        and axis == -1
        and type(k) is int
        and are_plain(key, logits, step, temperature)
        and 1 <= k <= logits.shape[-1]
    ):
        top = operation("plain_topk", "cpu")(key._value, logits, k, step, temperature)
        if top is not None:
            return TopK(*top)
    made = again(gumbel_topk, locals(), probs if logits is None else logits)
    if made is not NEW:
        return made
    request = check.sampling_request(
        key,
        logits,
        probs,
        step=step,
        rows=rows,
        cols=cols,
        mask=mask,
        temperature=temperature,
        axis=axis,
        n=n,
        invalid=invalid,
    )
    k = check.integer(k, "k")
    if not 1 <= k <= request.columns:
        raise ValueError(f"k must be from 1 to the number of categories, {request.columns}, got {k}")
    if out is not None and not (isinstance(out, tuple) and len(out) == 3):
        raise TypeError(f"out must be a TopK or a tuple of 3 arrays, got {type(out).__name__}")
    places = (None,) * 3 if out is None else out
    shape, family, given = (*request.leading, *request.along_axis_shape(k)), request.family, request.inputs
    index = check.output(places[0], "out.index", shape, request.index_dtypes, family, given, request.cols)
    score = check.output(places[1], "out.score", shape, (request.real,), family, given)
    threshold = check.output(places[2], "out.threshold", (*request.leading, *request.batch), (request.real,), family, given)
    check.keep_apart(index, score, threshold)
    run = operation("topk", family.backend)
    request.refuse("gumbel_topk", run(request, request.axis_last(index), request.axis_last(score), threshold))
    return TopK(*check.results(places, (index, score, threshold), family))


def inclusion_log_prob(logits: Any, top: Any, *, temperature: Any = 1.0, axis: int = -1, out: Any = None) -> Any:
    """Log-probability with which each category of a top-k sample was to be included, given the sample's threshold.

    ``log q`` with ``q = P(logit / temperature + G > threshold) = 1 - exp(-exp(logit / temperature - threshold))``. The weights
    ``p / q`` of the chosen estimate sums over all categories without bias: ``E[sum of p f / q over the chosen] = sum of p f``,
    for any f and any k from 1 on, though the chosen are few and each occurs once.

    Parameters
    ----------
    logits : array of float32, float64, float16 or bfloat16, shape (..., K)
        Those that the sample was drawn from. For a sample from `probs`, their logarithm.
    top : TopK
        What `gumbel_topk` returned for these logits, temperature and axis, with or without draws. Its scores are not looked at.
    temperature : float or float array, default 1
        That of the sample, a scalar or one a row. At 0 the sample is no matter of chance, and its log-probabilities are 0.
    axis : int, default -1
        Axis of the categories.
    out : array of the threshold's dtype, optional
        Where the result goes.

    Returns
    -------
    array of the threshold's dtype, shape of ``top.index``
        0 where the threshold is -inf (every allowed category was taken) and for a logit of +inf; -inf in places that were left
        empty, NaN in marked rows. Computed in float64 with an error as of half an ulp in ``logit / temperature - threshold``
        and 2.5 ulp in the result, then rounded to the dtype; equal to the bit on every CPU.

    Raises
    ------
    TypeError
        For logits of another dtype, a `top` that is none, or indices and a threshold of other dtypes than it has.
    ValueError
        For shapes that do not fit, indices beyond the logits, or numbers out of range.

    References
    ----------
    Kool, van Hoof, Welling, "Stochastic beams and where to find them", ICML 2019, arXiv:1903.06059, section 4.1.
    Duffield, Lund, Thorup, "Priority sampling for estimation of arbitrary subset sums", J. ACM 54 (2007),
    doi:10.1145/1314690.1314696.

    Examples
    --------
    The mean of f under p over 1000 categories from 50 of them, in many samples: right on average.

    >>> import numpy as np
    >>> import numgumbel as ng
    >>> log_p = np.log(np.arange(1, 1001) / 500500)
    >>> f = np.sqrt(np.arange(1000))
    >>> top = ng.gumbel_topk(ng.key(42), log_p, 50, n=2000)
    >>> log_q = ng.inclusion_log_prob(log_p, top)
    >>> estimates = (np.exp(log_p[top.index] - log_q) * f[top.index]).sum(axis=-1)
    >>> error = estimates - np.exp(log_p) @ f
    >>> bool(abs(error.mean()) < 3 * error.std() / np.sqrt(2000))
    True
    """
    made = again(inclusion_log_prob, locals(), logits)
    if made is not NEW:
        return made
    family, cells = check.logits_array(logits, "logits")
    real = check.working(cells.dtype)
    if cells.ndim == 0:
        raise ValueError("logits must have at least one axis, got a scalar")
    axis = check.axis_of(axis, cells.ndim)
    if not (isinstance(top, tuple) and len(top) == 3):
        raise TypeError(f"top must be a TopK from gumbel_topk, got {type(top).__name__}")
    index, threshold = host_view(top[0], "top.index", family), host_view(top[2], "top.threshold", family)
    if index.dtype not in (np.int64, np.int32) or not index.dtype.isnative:
        raise TypeError(f"top.index must be int64 or int32, got {index.dtype}")
    if threshold.dtype != real:
        raise TypeError(f"top.threshold must be {real}, as of these logits, got {threshold.dtype}")
    batch, columns = (*cells.shape[:axis], *cells.shape[axis + 1 :]), cells.shape[axis]
    draws = index.ndim - cells.ndim
    place = axis + draws
    rows = (*index.shape[:place], *index.shape[place + 1 :])
    if draws not in (0, 1) or rows[draws:] != batch:
        shape = (*batch[:axis], "k", *batch[axis:])
        raise ValueError(f"top.index must have shape {shape}, or one axis of draws in front, got {index.shape}")
    if threshold.shape != rows:
        raise ValueError(f"top.threshold must have shape {rows}, one a row of top.index, got {threshold.shape}")
    index = check.places(index, "top.index", columns)
    number, temperatures = check.temperature_of(temperature, "temperature", batch, family)
    values = check.output(out, "out", index.shape, (real,), family, like=cells)
    if any(check.overlap(values, other) for other in (cells, index, threshold, temperatures) if other is not None):
        raise ValueError("out overlaps an input")
    last = np.moveaxis(index, place, -1), np.moveaxis(values, place, -1)
    run = operation("inclusion", family.backend)
    run(np.moveaxis(cells, axis, -1), number, temperatures, last[0], check.aligned(threshold), last[1])
    return out if out is not None else family.wrap(values)


def gumbel(
    key: Any,
    shape: int | tuple[int, ...] | None = None,
    *,
    step: Any = 0,
    rows: Any = None,
    cols: Any = None,
    loc: float = 0.0,
    scale: float = 1.0,
    dtype: Any = np.float64,
    n: int | None = None,
    out: Any = None,
) -> np.ndarray:
    """The field itself: independent Gumbel(loc, scale) values, one at each address.

    It is the noise that every other function with the same key, step and ids has used: ask for it again whenever it is needed.

    Parameters
    ----------
    key : Key
        From `key`.
    shape : int or tuple of int, optional
        Shape (..., K): the last axis is the columns, the others are rows. Left out where `rows`, `cols` or `out` tell it.
    step : int or integer array, default 0
        Draw counter, a scalar or one a row.
    rows : integer array, optional
        One 64-bit id a row; by default the row's position in C order.
    cols : integer array, optional
        One id a column, shape (K,), or one a cell; by default the column's position.
    loc, scale : float
        Location and scale (0 or more) of the distribution, in the units of the logits.
    dtype : float32 or float64
        Precision: float64 uses all 64 bits of the field, float32 the leading 32 (all 64 in the tail).
    n : int, optional
        Number of draws, as in `categorical`.
    out : array, optional
        Where the result goes; its dtype is the precision.

    Returns
    -------
    numpy.ndarray
        loc + scale * G, in one fused multiply-add. Equal to the bit on every machine.

    Raises
    ------
    TypeError
        For a key that is none, another dtype, or no shape at all.
    ValueError
        For shapes that do not fit or numbers out of range.

    Examples
    --------
    >>> import numgumbel as ng
    >>> g = ng.gumbel(ng.key(42), (2, 3))
    >>> bool((ng.gumbel(ng.key(42), rows=[1], cols=[2, 0]) == g[1, [2, 0]]).all())
    True
    """
    made = again(gumbel, locals(), adapted(rows, cols, step))
    if made is not NEW:
        return made
    words = check_key(key)
    if out is not None:
        family = family_of(out, "out")
        target = host_view(out, "out", family)
        check.check_real(target, "out")
        dtype = target.dtype
    else:
        family, target = _family_of_ids(rows, cols, step), None
        dtype = np.dtype(dtype)
        if dtype not in check.REALS:
            raise TypeError(f"dtype must be float32 or float64, got {dtype}")
    draws = check.draws_of(n)
    full = field_shape(shape, rows, cols, None if target is None else target.shape[(draws is not None) :])
    batch, columns = full[:-1], full[-1]
    try:
        with np.errstate(over="ignore"):
            loc, scale = float(dtype.type(loc)), float(dtype.type(scale))
    except (TypeError, ValueError):
        raise TypeError(f"loc and scale must be numbers, got {loc!r:.60} and {scale!r:.60}") from None
    if not math.isfinite(loc):
        raise ValueError(f"loc must be finite, got {loc}")
    if not (math.isfinite(scale) and scale >= 0):
        raise ValueError(f"scale must be 0 or more and finite, got {scale}")
    if columns > COLUMN_END:
        raise ValueError(f"the field has 2^35 - 16 columns, got {columns}")
    number, steps = check.step_of(step, batch, draws, family)
    ids, first_col = check.columns_of(cols, batch, columns, len(batch), family)
    request = Request(
        family=family,
        words=words,
        dtype=dtype,
        batch=batch,
        columns=columns,
        axis=len(batch),
        draws=draws,
        step=number,
        steps=steps,
        rows=check.row_array(rows, batch, family),
        cols=ids,
        first_col=first_col,
    )
    values = check.output(out, "out", (*request.leading, *full), (dtype,), family, (request.rows, request.cols, request.steps))
    operation("noise", family.backend)(request, loc, scale, values)
    return out if out is not None else family.wrap(values)


def conditional_gumbel(
    key: Any,
    logits: Any = None,
    index: Any = None,
    *,
    probs: Any = None,
    sample: int = 0,
    scores: bool = False,
    step: Any = 0,
    rows: Any = None,
    cols: Any = None,
    mask: Any = None,
    temperature: Any = 1.0,
    axis: int = -1,
    n: int | None = None,
    invalid: str | None = None,
    out: Any = None,
) -> Any:
    """Gumbel noise given the choices that were made with it: the field as it may have been when `index` was observed.

    A draw from the distribution of G given that the largest of ``logits / temperature + G`` is at `index`. For counterfactuals:
    keep the noise, change the logits, and see what would have been chosen. The noise is read at addresses of its own, under
    ``fold(key, sample, tag=2)``, so that it is right for any index, drawn from the same field or observed in the world. (An
    index that `categorical` drew at a known key and step needs no conditioning: `gumbel` there is the noise.)

    Parameters
    ----------
    key, logits, probs, step, rows, cols, mask, axis
        As in `categorical`.
    index : integer array, shape (...)
        What was chosen, one a row: positions along `axis`.
    sample : int, default 0
        Number of the conditional sample, 0 <= sample < 2^63: other numbers give independent noise for the same choice.
    scores : bool, default False
        Return the scores ``logits / temperature + G`` in place of the noise, -inf where a category is excluded.
    temperature : float or float array, default 1
        That of the choice, from 2^-64 to 2^64; a scalar or one a row.
    n : int, optional
        Number of conditional samples: those numbered ``sample``, ``sample + 1``, ..., all at the same step. The result has a
        leading axis of length n.
    invalid : {None, "raise", "mark"}
        As in `categorical`; a marked row is NaN all over. A row is also invalid where its choice is impossible: no position of
        the row (as the -1 of a marked row), an excluded category, or another than the first +inf.
    out : array of the result's dtype and shape, optional
        Where the result goes; may be the logits themselves.

    Returns
    -------
    array of the logits' dtype (float32 for float16 and bfloat16) and shape, or (n, ...)
        Noise, or scores. The largest score, ``fma(logit, 1 / temperature, G)``, is at `index` and nowhere else: where rounding
        would let another category reach it, that one's noise is lowered until it does not. So at temperature 1
        ``(logits + noise).argmax(axis)`` is `index`, if all categories are allowed. Where nothing was learnt, in excluded
        categories, the noise is standard Gumbel. It is finite unless a logit overflows when it is divided by the temperature.
        Equal to the bit on any CPU: the sum of the weights has one fixed order.

    Raises
    ------
    TypeError
        As in `categorical`, and for an index that is missing or not of integers.
    ValueError
        As in `categorical`; for an index of another shape, a sample out of range, and temperature 0, where the choice says
        nothing about the noise.

    References
    ----------
    Maddison, Tarlow, Minka, "A* sampling", NeurIPS 2014, arXiv:1411.0030 (top-down construction). Oberst, Sontag,
    "Counterfactual off-policy evaluation with Gumbel-max structural causal models", ICML 2019, arXiv:1905.05824. Paulus,
    Maddison, Krause, "Rao-Blackwellizing the straight-through Gumbel-softmax gradient estimator", ICLR 2021, arXiv:2010.04838.

    Examples
    --------
    Three travellers were seen to take alternatives 2, 0 and 1. What if the first alternative were better?

    >>> import numpy as np
    >>> import numgumbel as ng
    >>> key = ng.key(42, "what if")
    >>> utilities = np.log([[0.1, 0.7, 0.2]] * 3)
    >>> observed = np.array([2, 0, 1])
    >>> noise = ng.conditional_gumbel(key, utilities, observed)
    >>> (utilities + noise).argmax(axis=1)
    array([2, 0, 1])
    >>> after = (utilities + [1.0, 0.0, 0.0] + noise).argmax(axis=1)
    >>> bool(((after == observed) | (after == 0)).all())  # whoever switches, switches to what got better
    True

    A choice drawn here has its noise in the field already:

    >>> drawn = ng.categorical(key, utilities, step=7)
    >>> bool(((utilities + ng.gumbel(key, (3, 3), step=7)).argmax(axis=1) == drawn).all())
    True
    """
    made = again(conditional_gumbel, locals(), probs if logits is None else logits)
    if made is not NEW:
        return made
    request = check.sampling_request(
        key,
        logits,
        probs,
        step=step,
        rows=rows,
        cols=cols,
        mask=mask,
        temperature=temperature,
        axis=axis,
        n=None,
        invalid=invalid,
    )
    request.draws = check.draws_of(n)
    if request.is_greedy:
        raise ValueError("temperature must be positive for conditional noise: at 0 the choice says nothing about the noise")
    chosen = check.index_array(index, request.batch, request.family)
    number = check.sample_of(sample, request.draws)
    given = request.cells
    assert given is not None
    shape = (*request.leading, *request.along_axis_shape(request.columns))
    overwritten = request.along_axis(given) if n is None else given
    others = [a for a in (*request.inputs, chosen) if a is not given]
    noise = check.output(out, "out", shape, (request.real,), request.family, (overwritten, *others))
    run = operation("conditional", request.family.backend)
    found = run(request, chosen, number, bool(scores), request.axis_last(noise))
    if request.raises:
        check.refuse_invalid("conditional_gumbel", request.batch, found, check.NOTHING_ALLOWED + ", or an impossible index")
    return out if out is not None else request.family.wrap(noise)


def _family_of_ids(*arrays: Any) -> Family:
    """The family of the first array of ids or steps in a GPU's memory; NumPy's where there is none."""
    for array in arrays:
        if hasattr(array, "shape") and not isinstance(array, (np.ndarray, np.generic)):
            family = family_of(array, "rows, cols or step")
            if not family.is_host:
                return family
    return family_of(np.empty(0), "out")


def field_shape(shape: Any, rows: Any, cols: Any, out_shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """Shape (..., K) of the field from what was given."""
    if shape is not None:
        full = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        full = tuple(check.integer(size, "shape") for size in full)
        if not full or min(full) < 0:
            raise ValueError(f"shape must hold one or more sizes of 0 or more, got {shape!r}")
        return full
    if out_shape is not None:
        if not out_shape:
            raise ValueError("out must have at least one axis")
        return out_shape
    if cols is None:
        raise TypeError("the shape is missing: give shape, out, or the column ids cols (and row ids rows)")
    ids, batch = tuple(np.shape(cols)), () if rows is None else tuple(np.shape(rows))
    if len(ids) > 1:
        return ids
    return (*batch, *ids)


def _same_layout(array: Any, name: str, request: Request, shape: tuple[int, ...]) -> np.ndarray:
    """A second array of the logits' dtype and shape."""
    values = host_view(array, name, request.family)
    if values.dtype != request.dtype:
        raise TypeError(f"{name} must be {request.dtype} like the logits, got {values.dtype}")
    if values.shape != shape:
        raise ValueError(f"{name} must have the logits' shape {shape}, got {values.shape}")
    return check.aligned(values)
