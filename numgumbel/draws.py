"""Draws with what is known about them, and the joining of draws of column shards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import arguments as check
from .device import DeviceView
from .dispatch import family_of, host_view, operation
from .plain import are_plain, plain_mask, plain_rows
from .shortcuts import NEW, adapted, again

__all__ = ["Draw", "draw", "merge"]

KNOWN = ("score", "log_prob", "logsumexp", "entropy")


class Draw(NamedTuple):
    """A sample a row and what is known about it; None for what was not wanted.

    Attributes
    ----------
    index : array of int64
        Position along the axis; -1 in a marked row.
    col : array of int64
        Column id of that position; the same array as `index` where ids are positions.
    score : array or None
        logit / T + G of the sample, the largest of the row.
    log_prob : array or None
        Log-probability of the sample.
    logsumexp : array or None
        log sum exp(logit / T) of the row.
    entropy : array or None
        Entropy of the row's distribution, in nats.
    """

    index: Any
    col: Any
    score: Any = None
    log_prob: Any = None
    logsumexp: Any = None
    entropy: Any = None


def draw(
    key: Any,
    logits: Any = None,
    *,
    probs: Any = None,
    want: str | Iterable[str] = ("log_prob",),
    step: Any = 0,
    rows: Any = None,
    cols: Any = None,
    mask: Any = None,
    temperature: Any = 1.0,
    axis: int = -1,
    n: int | None = None,
    invalid: str | None = None,
    out: Draw | None = None,
) -> Draw:
    """Sample one category a row, as `categorical` does, and say what is known of the sample, in one pass over the logits.

    Parameters
    ----------
    key, logits, probs, step, rows, cols, mask, temperature, axis, n
        As in `categorical`.
    want : str or iterable of str, default ("log_prob",)
        Any of ``"score"``, ``"log_prob"``, ``"logsumexp"`` and ``"entropy"``.
    invalid : {None, "raise", "mark"}
        As in `categorical`. A marked row has index and col -1 and NaN elsewhere; but where nothing is allowed, score and
        logsumexp are -inf, as `merge` reads them: a shard of a row may well be empty.
    out : Draw, optional
        Where the results go: ``index`` (int64 or int32) and what is wanted, None for a new array. What is not wanted, and its
        ``col``, is not looked at.

    Returns
    -------
    Draw
        ``index`` is that of `categorical`. Index, col and score are equal to the bit on every machine; the others are equal to
        the bit on any CPU, whatever the batch, chunking and threads, and within 8 ulp elsewhere. With all draws equal to a
        sample of probability p, log_prob is log p at the temperature given; at temperature 0, where the largest logit is
        certain, log_prob and entropy are 0, score and logsumexp the largest logit.

    Raises
    ------
    TypeError, ValueError
        As in `categorical`; `ValueError` for a name that `want` does not know.

    References
    ----------
    Milakov, Gimelshein, "Online normalizer calculation for softmax", 2018, arXiv:1805.02867.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> p = np.array([[0.1, 0.7, 0.2]])
    >>> drawn = ng.draw(ng.key(42), np.log(p), want=("log_prob", "entropy"))
    >>> bool(np.allclose(drawn.log_prob, np.log(p[0, drawn.index])))
    True
    >>> bool(np.allclose(drawn.entropy, -(p * np.log(p)).sum()))
    True
    >>> drawn.score is None
    True
    """
    wanted = _wanted(want)
    want = tuple(wanted)  # an iterator has been read
    plain = probs is cols is n is None and invalid is None and out is None and axis == -1
    if plain and are_plain(key, logits, step, temperature):
        allowed, ids = plain_mask(mask, logits), plain_rows(rows, logits)
        if allowed is not False and ids is not False:
            run, heads = operation("plain_draw", "cpu"), check.heads_of(None, logits.shape[-1])
            drawn = run(key._value, logits, allowed, heads, step, temperature, wanted, False, ids)
            if drawn is not None:
                index, score, logsumexp, log_prob, entropy = drawn
                index = index[..., 0]
                score = score if score is None else score[..., 0]
                logsumexp = logsumexp if logsumexp is None else logsumexp[..., 0]
                return Draw(index, index, score, log_prob, logsumexp, entropy)
    made = again(draw, locals(), probs if logits is None else logits)
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
    if out is not None and not isinstance(out, Draw):
        raise TypeError(f"out must be a Draw, got {type(out).__name__}")
    shape, family, given = (*request.leading, *request.batch), request.family, request.inputs
    index = check.output(out and out.index, "out.index", shape, request.index_dtypes, family, given, request.cols)
    known = {
        name: check.output(out and getattr(out, name), f"out.{name}", shape, (request.real,), family, given) for name in wanted
    }
    arrays = [index, *known.values()]
    check.keep_apart(*arrays)
    heads = check.heads_of(None, request.columns)
    placed = {name: array[..., None] if name in ("score", "logsumexp") else array for name, array in known.items()}
    request.refuse("draw", operation("draw", family.backend)(request, heads, index[..., None], **placed))
    col = operation("chosen_columns", family.backend)(request, index)
    places = [out and out.index, *(out and getattr(out, name) for name in known)]
    first, *others = check.results(places, arrays, family)
    return Draw(first, first if col is index else family.wrap(col), **dict(zip(known, others, strict=True)))


def merge(draws: Sequence[Draw], *, temperature: Any = 1.0) -> Draw:
    """Join draws of column shards of the same rows into the draw of the whole rows.

    Each shard was drawn by `draw` at the same key, step and row ids, with ``cols`` its columns' ids in the whole row and
    ``want="score"`` at least; with ``invalid="mark"`` where a shard may hold nothing that is allowed. As the noise belongs to
    the column id, the best of the shards' best is the sample of the whole row.

    Parameters
    ----------
    draws : sequence of Draw
        One or more, of one shape and dtype, all with the same fields; in any order, and merged draws among them.
    temperature : float or float array, default 1
        That of the draws. Only whether it is 0 matters: the largest logit is certain then.

    Returns
    -------
    Draw
        ``index`` and ``col`` are the column id of the sample, int64, the lowest on a tie, and ``score`` is its score: equal to
        the bit to the unsharded draw's, for any tree of merges. (A draw gives a tie to the lowest position: where ids do not
        rise along its columns, that may be another of the tied.) ``logsumexp``, ``log_prob`` and ``entropy``, where all draws
        have them, are within 8 ulp of it (``entropy`` of the size of the logsumexp); they need ``logsumexp``, and are None
        without. A row is marked (-1, NaN) if a shard met a NaN, and (-1, -inf) if none allows anything.

    Raises
    ------
    TypeError
        If something is no Draw, or fields are missing.
    ValueError
        For no draws, or shapes or dtypes that differ.

    Examples
    --------
    >>> import numpy as np
    >>> import numgumbel as ng
    >>> key, logits = ng.key(42), np.log([[0.1, 0.2, 0.3, 0.4]] * 5)
    >>> want = ("score", "logsumexp", "log_prob")
    >>> left = ng.draw(key, logits[:, :2], cols=[0, 1], want=want)
    >>> right = ng.draw(key, logits[:, 2:], cols=[2, 3], want=want)
    >>> merged, whole = ng.merge([left, right]), ng.draw(key, logits, want=want)
    >>> bool((merged.index == whole.index).all() and (merged.score == whole.score).all())
    True
    >>> bool(np.allclose(merged.log_prob, whole.log_prob))
    True
    """
    try:
        draws = list(draws)
    except TypeError:
        raise TypeError(f"draws must be a sequence of Draws, got {type(draws).__name__}") from None
    if not draws:
        raise ValueError("draws must hold one draw or more, got none")
    for number, part in enumerate(draws):
        if not isinstance(part, Draw):
            raise TypeError(f"draws must be Draws, got {type(part).__name__} at place {number}")
        if part.score is None:
            raise TypeError(f'draws must have their score (want="score"), the one at place {number} has none')
    made = again(merge, {"draws": draws, "temperature": temperature}, adapted(draws[0].score))
    if made is not NEW:
        return made
    family = family_of(draws[0].score, "draws[0].score")
    have = [name for name in KNOWN if all(getattr(part, name) is not None for part in draws)]
    if "logsumexp" not in have:
        have = ["score"]
    ids = [_field(part.col, f"draws[{i}].col", np.dtype(np.int64), family) for i, part in enumerate(draws)]
    real = host_view(draws[0].score, "draws[0].score", family).dtype
    if real not in check.REALS:
        raise TypeError(f"draws[0].score must be float32 or float64, got {real}")
    shape = ids[0].shape
    fields = {
        name: [_field(getattr(part, name), f"draws[{i}].{name}", real, family) for i, part in enumerate(draws)] for name in have
    }
    for name, arrays in {"col": ids, **fields}.items():
        for i, array in enumerate(arrays):
            if array.shape != shape:
                raise ValueError(f"draws[{i}].{name} must have shape {shape} like the first col, got {array.shape}")
    scalar, temperatures = check.temperature_of(temperature, "temperature", shape, family)
    col = check.output(None, "col", shape, (np.int64,), family, ids)
    results = {name: check.output(None, name, shape, (real,), family, ids) for name in have}
    operation("merge", family.backend)(ids, fields, scalar, temperatures, col, results)
    wrapped = family.wrap(col)
    return Draw(wrapped, wrapped, **{name: family.wrap(results[name]) for name in have})


def _wanted(want: Any) -> list[str]:
    """The names of `want`, in the order of `Draw`."""
    names = [want] if isinstance(want, str) else want
    try:
        names = list(names)
    except TypeError:
        raise TypeError(f"want must be names such as 'log_prob', got {type(want).__name__}: {want!r:.60}") from None
    for name in names:
        if name not in KNOWN:
            raise ValueError(f"want must be of {', '.join(KNOWN)}, got {name!r:.60}")
    return [name for name in KNOWN if name in names]


def _field(array: Any, name: str, dtype: np.dtype, family: Any) -> np.ndarray:
    """One field of a draw, of the dtype that all have."""
    values = host_view(array, name, family)
    if values.dtype != dtype and not (dtype.kind == "i" and values.dtype == np.int32):
        raise TypeError(f"{name} must be {dtype}, got {values.dtype}")
    if isinstance(values, DeviceView):
        if values.dtype != dtype:
            raise TypeError(f"{name} must be {dtype} in a GPU's memory, got {values.dtype}")
        return values
    return values.astype(dtype, copy=False)
