"""pandas: a table of utilities in, labels of the chosen columns out. Importing this needs pandas.

`numgumbel.categorical`, `draw` and `gumbel_softmax` take a DataFrame: one row a decision maker, one column an alternative.
Noise goes by labels, not by positions: the row's id is `row_ids` of its index, the column's is `column_ids` of its label. So a
row that is moved, or an alternative that is added or dropped, leaves the noise of all others as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

try:
    import pandas as _pd
except ImportError as problem:
    raise ImportError('numgumbel.pandas needs pandas: pip install "numgumbel[pandas]"') from problem

from . import arguments as check
from .draws import Draw
from .ids import row_ids
from .kernels.field import COLUMN_END

__all__ = ["column_ids"]

# Arguments that hold one value a row; a Series of them has the table's index.
_A_ROW = "rows", "step", "temperature", "tau"


def column_ids(labels: Any) -> np.ndarray:
    """One column id a label, by which the noise belongs to the label: the ids that a DataFrame's columns have by default.

    Parameters
    ----------
    labels : pandas.Index, or sequence of int, str, bytes, uuid.UUID or tuples of them
        Labels of columns, all different.

    Returns
    -------
    numpy.ndarray of int64
        An integer from 0 to 2^35 - 17 is its own id, as a zone's number; so positions are the ids of columns without names. Any
        other label is hashed: `row_ids` of it (of a tuple, of its parts), modulo 2^35 - 16. A label's id does not depend on the
        labels beside it.

    Raises
    ------
    TypeError
        For labels of other types.
    ValueError
        For two labels that are equal, or that have one id by chance: with 1000 names, once in 70,000 tables. Number the columns
        with ``cols=`` then.

    Examples
    --------
    >>> from numgumbel.pandas import column_ids
    >>> column_ids([3, 1017])
    array([   3, 1017])
    >>> bool(column_ids(["bus", "car"])[1] == column_ids(["car"])[0])
    True
    """
    labels = list(labels)
    ids = np.array([_column_id(label) for label in labels], np.int64)
    order = np.argsort(ids, kind="stable")
    twice = np.flatnonzero(ids[order[1:]] == ids[order[:-1]])
    if len(twice):
        one, other = (labels[order[twice[0] + i]] for i in (0, 1))
        why = "occurs twice" if one == other else f"and {other!r} have the same id"
        raise ValueError(f"columns must have ids of their own: {one!r} {why}; number them with cols=np.arange({len(labels)})")
    return ids


def _column_id(label: Any) -> int:
    whole = isinstance(label, (int, np.integer)) and not isinstance(label, bool)
    if whole and 0 <= label < COLUMN_END:
        return int(label)
    try:
        hashed = row_ids(*([each] for each in (label if isinstance(label, tuple) else (label,))))
    except TypeError as problem:
        raise TypeError(f"no column id for the label {label!r:.60}: {problem}; number the columns with cols=") from None
    return int(hashed.view(np.uint64)[0] % np.uint64(COLUMN_END))


def call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """What a function of `numgumbel` gives for a DataFrame. The functions themselves call it."""
    operation = function.__name__
    if operation not in _RESULTS:
        raise TypeError(
            f"{operation} takes no DataFrame: pass table.to_numpy(), with rows=ng.row_ids(table.index) and "
            "cols=numgumbel.pandas.column_ids(table.columns) where the noise is to go by labels"
        )
    if arguments.get("out") is not None:
        raise TypeError("out cannot be given with a DataFrame, whose results are tables of pandas")
    if operation == "gumbel_softmax" and arguments["n"] is not None:
        raise TypeError("n with gumbel_softmax has three axes, which no table has: pass table.to_numpy()")
    name = "probs" if arguments["logits"] is None else "logits"
    table = arguments[name]
    if check.axis_of(arguments["axis"], 2) != 1:
        raise ValueError("axis must be 1 for a DataFrame, whose columns are the categories: pass table.T")
    options = {other: value for other, value in arguments.items() if value is not None}
    for by_row in set(_A_ROW) & set(options):
        if isinstance(options[by_row], _pd.Series):
            options[by_row] = _beside(options[by_row], table, by_row).to_numpy()
    if "mask" in options:
        options["mask"] = _allowed(options["mask"], table)
    if "rows" not in options:
        options["rows"] = _row_ids(table.index)
    if "cols" not in options:
        options["cols"] = column_ids(table.columns)
    return _RESULTS[operation](table, function(**{**options, name: table.to_numpy()}))


def _row_ids(index: Any) -> np.ndarray:
    """Ids of the rows, from the levels of their index."""
    try:
        return row_ids(*(index.get_level_values(i).to_numpy() for i in range(index.nlevels)))
    except TypeError as problem:
        raise TypeError(f"no row ids for this index: {problem}; give rows=, np.arange(len(table)) for positions") from None


def _beside(values: Any, table: Any, name: str) -> Any:
    """Values with the table's own index."""
    if not values.index.equals(table.index):
        raise ValueError(f"{name} must have the index of the table: call {name}.reindex(table.index)")
    return values


def _allowed(mask: Any, table: Any) -> Any:
    """A mask by labels: a DataFrame with the table's index, or a Series with one value a column."""
    if not isinstance(mask, (_pd.DataFrame, _pd.Series)):
        return mask
    one_row = isinstance(mask, _pd.Series)
    labels = mask.index if one_row else _beside(mask, table, "mask").columns
    if not labels.is_unique or len(labels) != table.shape[1] or not table.columns.isin(labels).all():
        raise ValueError(f"mask must have the table's columns, {list(table.columns)!r:.200}, got {list(labels)!r:.200}")
    return (mask[table.columns] if one_row else mask[list(table.columns)]).to_numpy()


def _labels(table: Any, index: np.ndarray) -> Any:
    """Labels of positions: a Series, or for draws a DataFrame with one column a draw. Missing in marked rows."""
    labels = _pd.Series(table.columns.to_flat_index() if table.columns.nlevels > 1 else table.columns)
    flat = index.reshape(-1)
    chosen = labels.take(flat) if (flat >= 0).all() else labels.reindex(np.where(flat < 0, len(labels), flat))
    if index.ndim == 1:
        return _pd.Series(chosen.array, index=table.index, name=table.columns.name)
    draws = {draw: chosen.array[draw * len(table) : (draw + 1) * len(table)] for draw in range(len(index))}
    return _pd.DataFrame(draws, index=table.index, columns=range(len(index)))


def _values(table: Any, values: np.ndarray, name: str) -> Any:
    """Numbers, one a row; for draws, one column a draw."""
    return _pd.Series(values, table.index, name=name) if values.ndim == 1 else _pd.DataFrame(values.T, table.index)


def _drawn(table: Any, drawn: Draw) -> Draw:
    known = {name: _values(table, values, name) for name, values in drawn._asdict().items() if values is not None}
    return Draw(**{**known, "col": _labels(table, drawn.index)})


_RESULTS: dict[str, Callable[[Any, Any], Any]] = {
    "categorical": _labels,
    "draw": _drawn,
    "gumbel_softmax": lambda table, sample: _pd.DataFrame(sample, table.index, table.columns),
}
