"""Dask: chunked arrays, larger than memory or on many machines. Importing this needs dask.

The functions of `numgumbel` take `dask.array` and return lazy ones. Rows and columns have the ids that they have in the whole
array, so the result is that of the whole array in memory, for any chunks and workers, and however often a task is run.

A block of whole rows is a call of the function. Where rows are cut, `categorical`, `draw` and `gumbel_topk` draw each block of
columns and join the draws in a tree, as `merge` does; the other functions put rows together and cut between rows instead, so
that blocks stay about as large as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

try:
    import dask.array as _da
    from dask.array.core import normalize_chunks as _normal
    from dask.array.utils import meta_from_array as _meta_like
    from dask.base import tokenize as _token
    from dask.highlevelgraph import HighLevelGraph as _Graph
except ImportError as problem:
    raise ImportError('numgumbel.dask needs dask: pip install "numgumbel[dask]"') from problem

from . import arguments as check
from . import blocks
from .dispatch import family_of
from .draws import KNOWN, Draw, merge
from .keys import Key
from .ops import TopK, field_shape
from .ops import gumbel as _gumbel
from .shortcuts import names

__all__ = ["gumbel"]

# Arguments that hold one value a row, those that may be a number in place of that, and those of the logits' shape.
_A_ROW = "rows", "index", "actions"
_OR_ONE = "step", "temperature", "tau", "log_prob_cotangent", "entropy_cotangent"
_A_CELL = "cotangent", "sample"

# Axes that the logits lack: of draws, of what stands in the place of the categories, and of the heads of given actions.
_DRAWS, _PLACES, _HEADS = -1, -2, -3

# Types whose `repr` tells all.
_TOLD_BY_REPR = {type(None), bool, int, float, str, type, Key}

# Blocks of columns that are joined at once.
_AT_ONCE = 8


def gumbel(
    key: Any,
    shape: int | tuple[int, ...] | None = None,
    *,
    chunks: Any = None,
    step: Any = 0,
    rows: Any = None,
    cols: Any = None,
    loc: float = 0.0,
    scale: float = 1.0,
    dtype: Any = np.float64,
    n: int | None = None,
    out: Any = None,
) -> Any:
    """The field as a lazy array: `numgumbel.gumbel` in chunks.

    Parameters
    ----------
    key, shape, loc, scale, dtype, n
        As in `numgumbel.gumbel`.
    chunks : chunks of dask, optional
        Those of the result, without the axis of draws. By default those of the dask arrays given, and Dask's own choice along
        other axes.
    step, rows, cols : as in `numgumbel.gumbel`, or dask arrays
        Steps and ids.
    out : None
        A lazy result goes nowhere.

    Returns
    -------
    dask.array.Array of `dtype`
        Equal to the bit to `numgumbel.gumbel` of the whole shape, for any chunks. The blocks are NumPy's, or of the family of
        the ids' blocks.

    Raises
    ------
    TypeError, ValueError
        As in `numgumbel.gumbel`; what is wrong with elements of `step`, `rows` and `cols` is found when the result is computed.

    Examples
    --------
    >>> import numgumbel as ng
    >>> from numgumbel.dask import gumbel
    >>> noise = gumbel(ng.key(42), (100_000, 6), chunks=(10_000, 3))
    >>> noise.numblocks
    (10, 2)
    >>> bool((noise[-5:].compute() == ng.gumbel(ng.key(42), (100_000, 6))[-5:]).all())
    True
    """
    _refuse_out(out)
    options = {"key": key, "loc": loc, "scale": scale, "dtype": dtype, "n": n, "step": step, "rows": rows, "cols": cols}
    options = {name: value for name, value in options.items() if value is not None}
    lazy = [array for array in (rows, cols, step) if isinstance(array, _da.Array)]
    for array in lazy:
        _known(array, "rows, cols or step")
    full = field_shape(shape, rows, cols, None)
    if chunks is None:
        chunks = tuple(_chunks_of(axis, full, rows, step, cols) for axis in range(len(full)))
    cells = _da.empty(full, np.int8, chunks=_normal(chunks, full, dtype=np.dtype(dtype)))
    inputs = _Inputs(cells, "shape", len(full) - 1, n)
    probes = inputs.take(options)
    probe = _gumbel(shape=(0, full[-1]), **probes, **options)
    inputs.add_places(columns=True)
    like = lazy[0] if lazy else cells
    return inputs.result(partial(inputs.blockwise, partial(blocks.field, options=options), "gumbel"), probe, like, inputs.axis)


def call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """What a function of `numgumbel` gives for dask arrays: lazy arrays. The functions themselves call it."""
    operation = function.__name__
    if operation == "merge":
        return _merge(**arguments)
    if operation == "gumbel":
        return gumbel(**arguments)
    if operation == "categorical_ragged":
        raise TypeError(
            "categorical_ragged takes no dask arrays, whose chunks cut rows of different lengths anywhere: call it for each "
            "partition, with the ids of its rows in rows="
        )
    options = {name: value for name, value in arguments.items() if value is not None}
    _refuse_out(options.pop("out", None))
    for name in {"want", "nvec"} & set(options):  # which are read more than once
        if isinstance(options[name], Iterable) and not isinstance(options[name], (str, np.ndarray)):
            options[name] = tuple(options[name])
    name = "logits" if "logits" in options else "probs"
    cells, axis = _known(options.pop(name), name), options.pop("axis")
    family_of(cells._meta, f"a block of the {name}")
    if cells.ndim == 0:
        raise ValueError(f"{name} must have at least one axis, got a scalar")
    axis = check.axis_of(axis, cells.ndim)
    if cells.shape[axis] == 0:
        raise ValueError(f"{name} has no categories: axis {axis} of shape {cells.shape} is empty")
    if 0 in cells.chunks[axis]:  # a block without columns draws nothing
        cells = cells.rechunk({axis: tuple(size for size in cells.chunks[axis] if size)})
    joined = cells.numblocks[axis] > 1 and operation in _JOINED and options.get("method", "gumbel") == "gumbel"
    inputs = _Inputs(cells if joined else _whole_rows(cells, axis), name, axis, options.get("n"))
    probes = inputs.take(options)
    # On no rows, the function checks all that is no element of an array, and shows what comes of it.
    probe = function(**{name: np.empty((0, cells.shape[axis]), cells.dtype)}, **probes, **options, axis=-1)
    inputs.add_places(columns=joined)
    if joined:
        made = _JOINED[operation](operation, inputs, options)
    else:
        addressed = "rows" in names(function)
        run = partial(blocks.run, function=function, options=options, axis=axis, addressed=addressed)
        if not isinstance(probe, tuple):
            return inputs.result(partial(inputs.blockwise, run, operation), probe)
        made = inputs.blockwise(run, operation, inputs.rows, **_anything(inputs.rows))
    several = probe if isinstance(probe, tuple) else (probe,)
    results: list[Any] = [None if each is None else inputs.part(made, i, each, operation) for i, each in enumerate(several)]
    if isinstance(probe, Draw) and "cols" not in inputs.names:
        results[1] = results[0]
    return type(probe)(*results) if isinstance(probe, tuple) else results[0]


class _Inputs:
    """Arrays that go into the same blocks, each with the numbers of its axes, as `dask.array.blockwise` takes them.

    The first is the one whose chunks all have. `rows` are its axes but that of the categories, `whole` their sizes.
    """

    def __init__(self, cells: Any, name: str, axis: int, draws: Any = None) -> None:
        self.cells, self.axis, self.draws = cells, axis, draws
        self.rows = tuple(i for i in range(cells.ndim) if i != axis)
        self.whole = tuple(cells.shape[i] for i in self.rows)
        self.names, self._pairs = [name], [cells, tuple(range(cells.ndim))]

    def take(self, options: dict[str, Any]) -> dict[str, Any]:
        """Move arrays out of the options; instead of each, one for no rows is returned."""
        probes: dict[str, Any] = {}
        columns = self.cells.shape[self.axis]
        for name, value in list(options.items()):
            if name == "top":
                probes[name] = self._take_top(options.pop(name))
            elif name in ("mask", "cols", *_A_ROW) or (
                name in (*_OR_ONE, *_A_CELL) and not isinstance(value, (int, float, np.generic))
            ):
                array = _array(options.pop(name), name)
                axes = self._axes_of(array, name, options.get("nvec"))
                self._add(name, array, axes)
                empty = (0, columns) if name in ("mask", "cols", *_A_CELL) else (0,)
                probes[name] = np.empty((0, array.shape[self.axis]) if _HEADS in axes else empty, array.dtype)
        return probes

    def _axes_of(self, array: Any, name: str, nvec: Any) -> tuple[int, ...]:
        """Which axes of the cells an argument has."""
        cells, all_axes, shape = self.cells, tuple(range(self.cells.ndim)), tuple(array.shape)
        if name == "mask":
            if len(shape) > len(all_axes) or any(a not in (1, b) for a, b in zip(shape[::-1], cells.shape[::-1], strict=False)):
                raise ValueError(f"mask must broadcast to the logits' shape {cells.shape}, got shape {shape}")
            return all_axes[cells.ndim - len(shape) :]
        if name == "cols":
            if shape == (cells.shape[self.axis],):
                return (self.axis,)
            if shape == cells.shape:
                return all_axes
            one = (cells.shape[self.axis],)
            raise ValueError(
                f"cols must hold one id a column, shape {one}, or one a cell, shape {cells.shape}, got shape {shape}"
            )
        if name in _A_CELL:
            if shape != cells.shape:
                raise ValueError(f"{name} must have the logits' shape {cells.shape}, got {shape}")
            return all_axes
        if name == "actions" and nvec is not None:
            if len(shape) == cells.ndim and tuple(shape[i] for i in self.rows) == self.whole:
                return tuple(_HEADS if i == self.axis else i for i in all_axes)
            raise ValueError(f"actions must have one axis of heads at {self.axis} beside {self.whole}, got shape {shape}")
        if name in _OR_ONE and shape == ():
            return ()
        if shape != self.whole:
            raise ValueError(f"{name} must hold one value a row, shape {self.whole}, got shape {shape}")
        return self.rows

    def _take_top(self, top: Any) -> TopK:
        """The index and threshold of a top-k sample, with an axis of draws or without."""
        if not (isinstance(top, tuple) and len(top) == 3):
            raise TypeError(f"top must be a TopK from gumbel_topk, got {type(top).__name__}")
        index, threshold = _array(top[0], "top.index"), _array(top[2], "top.threshold")
        lead = index.shape[: max(index.ndim - self.cells.ndim, 0)]
        axes = (*(_DRAWS for _ in lead), *self.rows)
        shape = (*lead, *self.whole)
        place = len(lead) + self.axis
        if len(lead) > 1 or index.ndim < self.cells.ndim or (*index.shape[:place], *index.shape[place + 1 :]) != shape:
            wanted = (*self.whole[: self.axis], "k", *self.whole[self.axis :])
            raise ValueError(f"top.index must have shape {wanted}, or one axis of draws in front, got {index.shape}")
        if threshold.shape != shape:
            raise ValueError(f"top.threshold must have shape {shape}, one a row of top.index, got {threshold.shape}")
        self.draws = lead[0] if lead else None
        self._add("top.index", index, (*axes[:place], _PLACES, *axes[place:]))
        self._add("top.threshold", threshold, axes)
        empty = np.empty((*lead, 0, index.shape[place]), index.dtype), np.empty((*lead, 0), threshold.dtype)
        return TopK(empty[0], None, empty[1])

    def _add(self, name: str, array: Any, axes: tuple[int, ...]) -> None:
        """An array in the cells' chunks. Along an axis of length 1 it is the same for all; those the cells lack stay whole."""
        chunks: list[Any] = []
        for axis, size in zip(axes, array.shape, strict=True):
            chunks.append(self.cells.chunks[axis] if axis >= 0 and size == self.cells.shape[axis] else (size,))
        self._append(name, _lazy(array, tuple(chunks)), axes)

    def _append(self, name: str, array: Any, axes: tuple[int, ...]) -> None:
        self.names.append(name)
        self._pairs += [array, axes]

    def add_places(self, columns: bool) -> None:
        """Where blocks stand: along the rows, unless there is but one block of them, and along the columns if wanted."""
        if math.prod(self.cells.numblocks[i] for i in self.rows) > 1:
            first = np.zeros((), np.int64)
            for i, size in zip(self.rows, self.whole, strict=True):
                first = first[..., None] * size + _starts(self.cells.chunks[i])
            self._append("first_row", _da.from_array(first, chunks=1), self.rows)
        if columns and self.cells.numblocks[self.axis] > 1:
            first = _starts(self.cells.chunks[self.axis])
            self._append("first_column", _da.from_array(first, chunks=1), (self.axis,))

    def blockwise(self, function: partial[Any], token: str, axes: tuple[int, ...], **options: Any) -> Any:
        """One call a block; dtype and meta are told, so that Dask runs nothing to find them out.

        A single block is a task: to lay out the grid of blocks takes Dask three times as long as all else here (0.3 ms).
        """
        arrays, places = self._pairs[::2], self._pairs[1::2]
        # By the names of functions and as one text: a tenth of what Dask takes to pickle and walk through them (0.1 ms).
        given = {name: value.__name__ if callable(value) else value for name, value in function.keywords.items()}
        told = function.func.__name__, axes, self.names, self.whole, [array.name for array in arrays], places
        options_of_call = given.pop("options", {})
        plain = all(type(value) in _TOLD_BY_REPR for value in options_of_call.values())
        name = f"{token}-{_token(repr((told, given, options_of_call)) if plain else (repr((told, given)), options_of_call))}"
        function = partial(function, names=tuple(self.names), whole=self.whole)
        if any(array.npartitions != 1 for array in arrays):
            return _da.blockwise(function, axes, *self._pairs, name=name, align_arrays=False, **options)
        sizes = dict(options.get("new_axes", {}))
        for array, its in zip(arrays, places, strict=True):
            for axis, size in zip(its, array.shape, strict=True):
                sizes.setdefault(axis, size)  # the cells' size first: of others it may be 1
        task = (function, *((array.name, *(0,) * array.ndim) for array in arrays))
        graph = _Graph.from_collections(name, {(name, *(0,) * len(axes)): task}, dependencies=arrays)
        return _da.Array(graph, name, tuple((sizes[axis],) for axis in axes), dtype=options["dtype"], meta=options["meta"])

    def result(self, made: Callable[..., Any], probe: Any, like: Any = None, places: int = _PLACES) -> Any:
        """`made` for the axes of a result whose like on no rows is `probe`."""
        lead = () if self.draws is None else (_DRAWS,)
        axes, new = (*lead, *self.rows), dict(zip(lead, probe.shape, strict=False))
        if probe.ndim == 2 + len(lead):
            place = len(lead) + self.axis
            axes, new[places] = (*axes[:place], places, *axes[place:]), probe.shape[-1]
        known = {axis for array_axes in self._pairs[1::2] for axis in array_axes}
        meta = _meta_like(self.cells if like is None else like, ndim=len(axes), dtype=probe.dtype)
        new = {axis: size for axis, size in new.items() if axis not in known}
        return made(axes, new_axes=new, dtype=probe.dtype, meta=meta)

    def part(self, made: Any, place: int, probe: Any, token: str) -> Any:
        """One of several results, of blocks that hold all of them."""
        take = partial(blocks.part, place=place)
        return self.result(lambda axes, **options: _da.blockwise(take, axes, made, self.rows, token=token, **options), probe)


def _join_draws(operation: str, inputs: _Inputs, options: dict[str, Any]) -> Any:
    """Draws of blocks of columns, joined. Sums are made where they are wanted, or needed to join what is."""
    wanted = options.pop("want", ())
    wanted = {wanted} if isinstance(wanted, str) else set(wanted)
    needed = {"score", *wanted, *({"logsumexp"} if wanted & {"log_prob", "entropy"} else ())}
    options = {name: value for name, value in options.items() if name != "method"} | {"want": tuple(needed)}
    return _joined(operation, inputs, blocks.sample, blocks.join_draws, blocks.finish_draws, options)


def _join_topk(operation: str, inputs: _Inputs, options: dict[str, Any]) -> Any:
    return _joined(operation, inputs, blocks.topk, blocks.join_topk, blocks.finish_topk, options)


_JOINED = {"categorical": _join_draws, "draw": _join_draws, "gumbel_topk": _join_topk}


def _merge(draws: Sequence[Draw], temperature: Any) -> Draw:
    """`merge` of lazy draws."""
    score = _known(draws[0].score, "draws[0].score")
    fields = [name for name in KNOWN if all(getattr(each, name) is not None for each in draws)]
    fields = ["col", *(fields if "logsumexp" in fields else ["score"])]
    axes, pairs, probes = tuple(range(score.ndim)), [], []
    for i, each in enumerate(draws):
        arrays = {name: _array(getattr(each, name), f"draws[{i}].{name}") for name in fields}
        for name, array in arrays.items():
            if array.shape != score.shape:
                raise ValueError(f"draws[{i}].{name} must have shape {score.shape} like the first score, got {array.shape}")
            pairs += [_lazy(array, score.chunks), axes]
        empty = {name: np.empty((0,), array.dtype) for name, array in arrays.items()}
        probes.append(Draw(empty["col"], **empty))
    if not isinstance(temperature, (int, float)):
        array = _array(temperature, "temperature")
        if array.shape not in ((), score.shape):
            raise ValueError(f"temperature must be a scalar or one a row, shape {score.shape}, got shape {array.shape}")
        pairs += [_lazy(array, score.chunks if array.shape else ()), axes if array.shape else ()]
        temperature = 1.0
    probe = merge(probes, temperature=temperature)
    function = partial(blocks.merged, fields=tuple(fields), count=len(draws), temperature=temperature)
    made = _da.blockwise(function, axes, *pairs, token="merge", align_arrays=False, **_anything(axes))

    def field(name: str) -> Any:
        values = getattr(probe, name)
        if values is None:
            return None
        take, dtype = partial(blocks.part, place=Draw._fields.index(name)), values.dtype
        return _da.blockwise(take, axes, made, axes, token="merge", dtype=dtype, meta=_meta_like(score, dtype=dtype))

    index = field("index")
    return Draw(index, index, **{name: field(name) for name in KNOWN})


def _joined(
    operation: str,
    inputs: _Inputs,
    sample: Callable[..., Any],
    join: Callable[..., Any],
    finish: Callable[..., Any],
    options: dict[str, Any],
) -> Any:
    """What blocks of columns gave, joined in a tree: an array along the rows, whose blocks hold all results."""
    invalid, draws = options.pop("invalid", None), options.get("n")
    axes, column = tuple(range(inputs.cells.ndim)), inputs.axis
    run = partial(sample, options=options, axis=column)
    shards = inputs.blockwise(run, f"{operation}-columns", axes, adjust_chunks={column: 1}, **_anything(axes))
    end = partial(finish, operation=operation, whole=inputs.whole, draws=draws, invalid=invalid)
    empty = _anything(inputs.rows)
    tree = {"axis": column, "concatenate": False, "split_every": {column: _AT_ONCE}, "name": f"{operation}-join"}
    return _da.reduction(shards, blocks.as_it_is, end, combine=join, **tree, **empty)


def _anything(axes: Sequence[int]) -> dict[str, Any]:
    """Dtype and meta of an array whose blocks are no arrays."""
    return {"dtype": np.dtype(object), "meta": np.empty((0,) * len(axes), object)}


def _whole_rows(cells: Any, axis: int) -> Any:
    """Categories in one chunk. Where they were in several, the longest other axis is cut into as many times more."""
    pieces = cells.numblocks[axis]
    if pieces == 1:
        return cells
    chunks, others = list(cells.chunks), [i for i in range(cells.ndim) if i != axis]
    chunks[axis] = (cells.shape[axis],)
    if others:
        longest = max(others, key=lambda i: max(cells.chunks[i]))
        chunks[longest] = tuple(part for size in cells.chunks[longest] for part in _cut(size, pieces))
    return cells.rechunk(tuple(chunks))


def _cut(size: int, pieces: int) -> list[int]:
    """A size in at most so many parts."""
    most = max(-(-size // pieces), 1)
    return [min(most, size - start) for start in range(0, size, most)] or [0]


def _starts(chunks: Sequence[int]) -> np.ndarray:
    """Where chunks start."""
    return np.concatenate([[0], np.cumsum(chunks[:-1], dtype=np.int64)]).astype(np.int64)


def _known(array: Any, name: str) -> Any:
    """A dask array whose shape is known."""
    if any(math.isnan(size) for size in array.shape):
        raise ValueError(f"{name} has chunks of unknown size, and positions with them: call compute_chunk_sizes() first")
    return array


def _array(value: Any, name: str) -> Any:
    """An argument as a dask array, or as one of NumPy or of a family of arrays on devices."""
    if isinstance(value, _da.Array):
        return _known(value, name)
    if isinstance(value, (list, tuple, range, int, float)):
        array = np.asarray(value)
        return array if array.size else array.astype(np.int64)
    family = family_of(value, name)
    return family.view(value) if family.is_host else value


def _lazy(array: Any, chunks: tuple[Any, ...]) -> Any:
    """A dask array in these chunks."""
    return array.rechunk(chunks) if isinstance(array, _da.Array) else _da.from_array(array, chunks=chunks)


def _chunks_of(axis: int, full: tuple[int, ...], rows: Any, step: Any, cols: Any) -> Any:
    """Chunks of the field along an axis: those of a dask array among its arguments, or Dask's choice."""
    ndim = len(full)
    for array in (rows, step):
        if isinstance(array, _da.Array) and array.ndim == ndim - 1 and axis < ndim - 1:
            return array.chunks[axis]
    if isinstance(cols, _da.Array) and axis >= ndim - cols.ndim:
        return cols.chunks[axis - ndim]
    return full[axis] if 0 in full else "auto"  # by which Dask divides


def _refuse_out(out: Any) -> None:
    if out is not None:
        raise TypeError("out cannot be given with dask arrays, whose results are lazy: store the result with dask.array.store")
