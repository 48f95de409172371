"""What is done to a block of a chunked array, and to what blocks of the same rows gave: arrays in, arrays out, of one family.

A block knows where it stands by two numbers: the position of its first row in the whole array, in C order, and that of its
first column. So its noise is that of the whole array, whatever the chunks are. These functions run where the blocks are: on
threads, in processes, on other machines, as often as is needed, with the same result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from . import draws, ops
from .arguments import refuse_invalid
from .dispatch import family_of
from .draws import Draw, merge
from .ops import TopK

__all__ = [
    "Shard",
    "as_it_is",
    "field",
    "finish_draws",
    "finish_topk",
    "join_draws",
    "join_topk",
    "merged",
    "part",
    "run",
    "sample",
    "topk",
]

# Invalid rows that an error names.
_NAMED = 5


class Shard(NamedTuple):
    """What the columns of one or more blocks give for their rows, and what is needed to join it."""

    result: Any  # Draw, its col the position in the whole row; or TopK with positions, categories last
    beside: Any  # of a Draw, column ids where there are any; of a TopK, whether a row met a NaN
    temperature: Any
    first: int  # position of the first row


class Address(NamedTuple):
    """Where a block stands, apart from what is in it."""

    first_row: int
    first_column: int


def given(arrays: tuple[Any, ...], names: tuple[str, ...]) -> tuple[dict[str, Any], Address]:
    """Arguments by their names, and the block's address. An axis that a result lacks comes as a list of blocks: of one here."""
    found: dict[str, Any] = {}
    for name, array in zip(names, arrays, strict=True):
        while type(array) is list:
            (array,) = array
        found[name] = array
    first = [int(np.reshape(found.pop(name), ())) if name in found else 0 for name in ("first_row", "first_column")]
    if "top.index" in found:
        found["top"] = TopK(found.pop("top.index"), None, found.pop("top.threshold"))
    return found, Address(*first)


def positions(first: int, shape: tuple[int, ...], whole: tuple[int, ...]) -> np.ndarray | None:
    """Positions in C order of the whole array of a block's rows; None where they are those in the block."""
    if first == 0 and shape[1:] == whole[1:]:
        return None
    ids = np.zeros((), np.int64)
    if 0 in shape:
        return np.zeros(shape, np.int64)
    for start, size, full in zip(np.unravel_index(first, whole), shape, whole, strict=True):
        ids = ids[..., None] * full + np.arange(start, start + size)
    return ids


def beside(array: np.ndarray, block: Any) -> Any:
    """An array of ids where the block's memory is."""
    return array if isinstance(block, np.ndarray) else np.asarray(array, like=block)


def address_rows(options: dict[str, Any], block: Any, axis: int, first: int, whole: tuple[int, ...]) -> None:
    """Row ids for a block that has none: positions."""
    if options.get("rows") is None:
        ids = positions(first, (*block.shape[:axis], *block.shape[axis + 1 :]), whole)
        if ids is not None:
            options["rows"] = beside(ids, block)


@contextlib.contextmanager
def told(first: int, whole: tuple[int, ...]) -> Iterator[None]:
    """Errors say which block they are of."""
    try:
        yield
    except (TypeError, ValueError) as problem:
        if first == 0:
            raise
        place = ", ".join(str(int(at)) for at in np.unravel_index(first, whole))
        kind = TypeError if isinstance(problem, TypeError) else ValueError
        raise kind(f"in the block whose row 0 is row {place} of the whole array: {problem}") from problem


def run(
    *arrays: Any,
    function: Callable[..., Any],
    names: tuple[str, ...],
    options: dict[str, Any],
    axis: int,
    whole: tuple[int, ...],
    addressed: bool,
) -> Any:
    """A function of the package on a block that holds whole rows. The first array is that of the logits."""
    arguments, address = given(arrays, names)
    if addressed:
        address_rows(arguments, arguments[names[0]], axis, address.first_row, whole)
    with told(address.first_row, whole):
        return function(**arguments, **options, axis=axis)


def field(*arrays: Any, names: tuple[str, ...], options: dict[str, Any], whole: tuple[int, ...]) -> Any:
    """The field at a block, whose shape is that of the first array."""
    arguments, address = given(arrays, names)
    shape = arguments.pop(names[0]).shape
    like = next(iter(arguments.values()), np.empty(0))
    address_rows(arguments, np.broadcast_to(np.empty((), np.int8), shape), len(shape) - 1, address.first_row, whole)
    if arguments.get("rows") is not None:
        arguments["rows"] = beside(arguments["rows"], like)
    if arguments.get("cols") is None and address.first_column:
        arguments["cols"] = beside(np.arange(address.first_column, address.first_column + shape[-1]), like)
    with told(address.first_row, whole):
        return ops.gumbel(shape=shape, **arguments, **options)


def as_it_is(block: Any, axis: Any = None, keepdims: Any = None) -> Any:
    """What is to be joined."""
    return block


def part(block: Any, place: int) -> Any:
    """One of several results."""
    return block[place]


def merged(*arrays: Any, fields: tuple[str, ...], count: int, temperature: Any) -> Draw:
    """`merge` of blocks of lazy draws: fields of the first draw, of the second, ...; then temperatures if there are any."""
    size = len(fields)
    parts = [dict(zip(fields, arrays[i * size : (i + 1) * size], strict=True)) for i in range(count)]
    if len(arrays) > count * size:
        temperature = arrays[-1]
    return merge([Draw(each["col"], **each) for each in parts], temperature=temperature)


# --- blocks of columns --------------------------------------------------------------------------------------------------------


def _shard(
    arrays: tuple[Any, ...], names: tuple[str, ...], axis: int, whole: tuple[int, ...]
) -> tuple[dict[str, Any], Address, bool]:
    """Arguments of a block of columns, with the ids of its rows and columns; and whether columns have ids of their own."""
    arguments, address = given(arrays, names)
    block = arguments[names[0]]
    address_rows(arguments, block, axis, address.first_row, whole)
    named = "cols" in arguments
    if not named:
        arguments["cols"] = beside(np.arange(address.first_column, address.first_column + block.shape[axis]), block)
    return arguments, address, named


def _in_row(index: Any, first: int) -> Any:
    """Positions in the whole row; -1 where there is none."""
    return np.where(index < 0, index, index + first)


def sample(
    *arrays: Any,
    names: tuple[str, ...],
    options: dict[str, Any],
    axis: int,
    whole: tuple[int, ...],
) -> Shard:
    """The draw of a block of columns."""
    arguments, address, named = _shard(arrays, names, axis, whole)
    with told(address.first_row, whole):
        drawn = draws.draw(**arguments, **options, axis=axis, invalid="mark")
    temperature = {**options, **arguments}.get("temperature", 1.0)
    if np.ndim(temperature):
        temperature = np.broadcast_to(temperature, drawn.index.shape)
    # `merge` gives a tie to the lowest col, a whole row to the lowest position: so the one is the other here.
    told_by_position = drawn._replace(col=_in_row(drawn.index, address.first_column))
    return Shard(told_by_position, drawn.col if named else None, temperature, address.first_row)


def join_draws(parts: Any, axis: Any = None, keepdims: Any = None) -> Shard:
    """Draws of blocks of columns side by side as one."""
    first, *others = parts if isinstance(parts, list) else [parts]
    if not others:
        return first
    drawn = merge([each.result for each in (first, *others)], temperature=first.temperature)
    ids = first.beside
    if ids is not None:
        for each in others:
            ids = np.where(drawn.col == each.result.col, each.beside, ids)
    return Shard(drawn, ids, first.temperature, first.first)


def finish_draws(
    parts: Any,
    axis: Any = None,
    keepdims: Any = None,
    *,
    operation: str,
    whole: tuple[int, ...],
    draws: int | None,
    invalid: str | None,
) -> Draw:
    """The draw of whole rows."""
    drawn, ids, _, first = join_draws(parts)
    _refuse(operation, drawn.col < 0, whole, draws, invalid, first)
    return drawn._replace(index=drawn.col, col=drawn.col if ids is None else ids)


def topk(*arrays: Any, names: tuple[str, ...], options: dict[str, Any], axis: int, whole: tuple[int, ...]) -> Shard:
    """The k best of a block of columns, or all of them."""
    arguments, address, _ = _shard(arrays, names, axis, whole)
    columns = arguments[names[0]].shape[axis]
    options = dict(options)
    k, place = options.pop("k"), axis + (options.get("n") is not None)
    with told(address.first_row, whole):
        top = ops.gumbel_topk(**arguments, **options, k=min(k, columns), axis=axis, invalid="mark")
        index, score = (np.moveaxis(each, place, -1) for each in top[:2])
        threshold, marked = top.threshold, index[..., 0] < 0
        if marked.any():  # of a NaN, or because nothing is allowed here, which is no matter if something is elsewhere
            best = draws.draw(**arguments, **options, axis=axis, want="score", invalid="mark").score
            empty = marked & (best == -np.inf)
            score = np.where(empty[..., None], -np.inf, score).astype(threshold.dtype)
            threshold = np.where(empty, -np.inf, threshold).astype(threshold.dtype)
            marked = marked & ~empty
    return Shard(TopK(_in_row(index, address.first_column), score, threshold), marked, k, address.first_row)


def join_topk(parts: Any, axis: Any = None, keepdims: Any = None) -> Shard:
    """The k best of blocks of columns side by side.

    What is none of a block's k best is none of the row's; the largest score that is left over is the threshold. Sorting is
    stable and blocks stand in order, so that a tie goes to the lowest position.
    """
    first, *others = parts if isinstance(parts, list) else [parts]
    if not others:
        return first
    k, tops = first.temperature, [each.result for each in (first, *others)]
    index, score = (np.concatenate([top[i] for top in tops], axis=-1) for i in (0, 1))
    order = np.argsort(-score, axis=-1, kind="stable")[..., : k + 1]
    index, score = np.take_along_axis(index, order, -1), np.take_along_axis(score, order, -1)
    left = np.stack([*(top.threshold for top in tops), *([score[..., k]] if score.shape[-1] > k else [])])
    marked = np.stack([each.beside for each in (first, *others)]).any(axis=0)
    return Shard(TopK(index[..., :k], score[..., :k], left.max(axis=0)), marked, k, first.first)


def finish_topk(
    parts: Any,
    axis: Any = None,
    keepdims: Any = None,
    *,
    operation: str,
    whole: tuple[int, ...],
    draws: int | None,
    invalid: str | None,
) -> TopK:
    """The k best of whole rows."""
    (index, score, threshold), marked, _, first = join_topk(parts)
    invalid_rows = marked | (index[..., 0] < 0)
    _refuse(operation, invalid_rows, whole, draws, invalid, first)
    nan = score.dtype.type(np.nan)
    index = np.where(invalid_rows[..., None], -1, index)
    score, threshold = np.where(invalid_rows[..., None], nan, score), np.where(invalid_rows, nan, threshold)
    place = (axis[0] if isinstance(axis, tuple) else axis) + (draws is not None)
    return TopK(np.moveaxis(index, -1, place), np.moveaxis(score, -1, place), threshold)


def _refuse(
    operation: str, invalid_rows: Any, whole: tuple[int, ...], draws: int | None, invalid: str | None, first: int
) -> None:
    """ValueError if rows are invalid and to be refused."""
    if invalid == "mark" or (invalid is None and not family_of(invalid_rows, "index").is_host):
        return
    rows = invalid_rows if draws is None else invalid_rows.any(axis=0)
    found = np.flatnonzero(rows)
    if len(found):
        with told(first, whole):
            refuse_invalid(operation, rows.shape, np.array([len(found), *found[:_NAMED].tolist()]))
