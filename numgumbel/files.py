"""Logits, masks and results in .npy and .csv files, read and written in blocks of rows.

A file is looked over once when it is opened (shape, header, row ids), so that whatever is wrong with its form is said before
anything is computed. A block is a copy; nothing stays mapped, so that memory does not grow with the file.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .arguments import is_logits
from .ids import row_ids

__all__ = [
    "Block",
    "CsvResult",
    "CsvRows",
    "FileError",
    "NpyResult",
    "NpyRows",
    "masked_blocks",
    "open_mask",
    "open_rows",
    "result_file",
    "writable",
]


class FileError(Exception):
    """Something is wrong with a file; the message is one line that says where."""


@dataclass
class Block:
    """Some rows of an input: position of the first, array (rows, columns), and where the file has them, ids and their text."""

    start: int
    values: np.ndarray
    ids: np.ndarray | None = None
    labels: list[str] | None = None


class NpyRows:
    """Rows of a .npy file: two axes, or one axis as a single row."""

    names: list[str] | None = None

    def __init__(self, path: Path, kinds: str, wanted: str) -> None:
        self.path = path
        array = self._mapped()
        if array.dtype.hasobject or array.dtype.kind not in kinds:
            raise FileError(f"{path}: the array must be {wanted}, got {array.dtype}: save array.astype(...) of one of these")
        if array.ndim not in (1, 2):
            raise FileError(f"{path}: the array must have two axes (rows, categories) or one, got shape {array.shape}")
        self.dtype = array.dtype
        self._flat = array.ndim == 1
        self.rows, self.columns = (1, array.shape[0]) if self._flat else array.shape
        if self.columns == 0:
            raise FileError(f"{path}: no categories, the array has shape {array.shape}")

    def _mapped(self) -> np.ndarray:
        try:
            array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else ""
            raise FileError(f"{self.path}: not a .npy file that can be read: {reason or self._what_is_wrong()}") from None
        if not isinstance(array, np.ndarray):
            array.close()
            raise FileError(f"{self.path}: not a .npy file that can be read: it is an archive (.npz)")
        return array

    def _what_is_wrong(self) -> str:
        """Why NumPy cannot map the file, in place of its advice to load pickled objects from anywhere."""
        with self.path.open("rb") as file:
            try:
                np.lib.format.read_magic(file)
            except ValueError:
                return "it does not begin as one; numpy.save writes them" if file.tell() else "it is empty"
        array = "numpy.save(file, array.astype(numpy.float64))"
        return f"it is cut short, or holds Python objects, in place of which {array} writes numbers"

    def blocks(self, size: int) -> Iterator[Block]:
        """Blocks of at most `size` rows."""
        for start in range(0, self.rows, size):
            array = self._mapped()
            array = array[None] if self._flat else array
            yield Block(start, np.array(array[start : start + size], order="C"))

    def place(self, row: int, column: int | None = None) -> str:
        """Where a cell is, for a message."""
        return f"{self.path}: row {row}" + ("" if column is None else f", column {column}")


@dataclass
class CsvRows:
    """Rows of a .csv file; a first line of names is a header.

    Attributes
    ----------
    names : list of str or None
        Names of the categories, from the header.
    id_name : str or None
        The column that holds row ids.
    """

    path: Path
    wanted_id: str | None = None
    names: list[str] | None = field(init=False, default=None)
    id_name: str | None = field(init=False, default=None)
    dtype: np.dtype[Any] = field(init=False, default_factory=lambda: np.dtype(np.float64))
    rows: int = field(init=False, default=0)
    columns: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._id_at: int | None = None
        lines = self._lines()
        first = next(lines, None)
        if first is None:
            raise FileError(f"{self.path}: the file is empty")
        number, cells = first
        self._width = len(cells)
        cells = [cell.strip() for cell in cells]
        numbers = [_number(cell) is not None for cell in cells]
        self._header = not all(numbers)
        if self._header:
            # Category names may be numbers where a column of ids says that this is a header; else it may be damaged data.
            if any(numbers) and (self.wanted_id or "id") not in cells:
                raise FileError(
                    f"{self.path}: line {number} mixes numbers and text: a header has names only, data numbers only"
                )
            if "" in cells:
                raise FileError(f"{self.path}: line {number}, column {cells.index('') + 1}: the name is empty")
            self._read_header(cells, number)
        elif self.wanted_id is not None:
            raise FileError(
                f"{self.path}: line {number} holds numbers only, so there is no header with a column {self.wanted_id!r}"
            )
        self.columns = self._width - (self._id_at is not None)
        if self.columns == 0:
            raise FileError(f"{self.path}: no categories, line {number} has the id column only")
        for line, cells in self._data():
            self.rows += 1
            if self._id_at is not None and not cells[self._id_at].strip():
                raise FileError(f"{self.path}: line {line}, column {self.id_name!r}: the id is empty")

    def _read_header(self, names: list[str], number: int) -> None:
        repeated = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if repeated is not None:
            raise FileError(f"{self.path}: line {number}: two columns are named {repeated!r}")
        if self.wanted_id is not None and self.wanted_id not in names:
            raise FileError(f"{self.path}: line {number}: no column is named {self.wanted_id!r}, only {', '.join(names)}")
        self.id_name = self.wanted_id or ("id" if "id" in names else None)
        self._id_at = names.index(self.id_name) if self.id_name is not None else None
        self.names = [name for name in names if name != self.id_name]

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """(line number, cells) of every line that is not blank."""
        try:
            with self.path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.reader(file, strict=True)
                for cells in reader:
                    if cells:
                        yield reader.line_num, cells
        except UnicodeDecodeError as problem:
            place = f" after line {reader.line_num}" if reader.line_num else ""
            raise FileError(f"{self.path}: not UTF-8 text{place}: {problem.reason}") from None
        except csv.Error as problem:
            raise FileError(f"{self.path}: line {reader.line_num}: {problem}") from None
        except OSError as problem:
            raise FileError(f"{self.path}: {problem.strerror}") from None

    def _data(self) -> Iterator[tuple[int, list[str]]]:
        """Lines behind the header, each as wide as the first."""
        lines = self._lines()
        if self._header:
            next(lines)
        for number, cells in lines:
            if len(cells) != self._width:
                hint = ": columns are separated by commas, not semicolons" if any(";" in cell for cell in cells) else ""
                raise FileError(f"{self.path}: line {number} has {len(cells)} columns, the first line has {self._width}{hint}")
            yield number, cells

    def blocks(self, size: int) -> Iterator[Block]:
        """Blocks of at most `size` rows."""
        start = 0
        values: list[list[float]] = []
        ids: list[str] = []
        for number, cells in self._data():
            if self._id_at is not None:
                ids.append(cells.pop(self._id_at).strip())
            row = [value for value in map(_number, cells) if value is not None]
            if len(row) < len(cells):
                at = next(i for i, cell in enumerate(cells) if _number(cell) is None)
                wrong = f"{cells[at]!r} is not a number in range" if cells[at].strip() else "the cell is empty"
                raise FileError(f"{self.path}: line {number}, column {self.label(at)}: {wrong}")
            values.append(row)
            if len(values) == size:
                yield self._block(start, values, ids)
                start += len(values)
                values, ids = [], []
        if values:
            yield self._block(start, values, ids)

    def _block(self, start: int, values: list[list[float]], ids: list[str]) -> Block:
        if self._id_at is None:
            return Block(start, np.array(values))
        # Id by id, so that a row's noise never depends on what the other rows are called.
        numbers = row_ids(ids)
        for i, text in enumerate(ids):
            if _is_id(text):
                numbers[i] = int(text)
        return Block(start, np.array(values), numbers, ids)

    def label(self, column: int) -> str:
        """A column's name, or its number counted from 1 where there are no names."""
        return repr(self.names[column]) if self.names is not None else str(column + 1)

    def place(self, row: int, column: int | None = None) -> str:
        """Where a cell is, for a message: by the line in the file."""
        number = next(number for i, (number, _) in enumerate(self._data()) if i == row)
        return f"{self.path}: line {number}" + ("" if column is None else f", column {self.label(column)}")


def open_rows(path: Path, id_column: str | None) -> NpyRows | CsvRows:
    """Logits or probabilities from a .npy or .csv file.

    Raises
    ------
    FileError
        If there is no such file, it is of another kind, or its form is wrong.
    """
    _must_be_file(path)
    if path.suffix == ".csv":
        return CsvRows(path, id_column)
    if path.suffix != ".npy":
        raise FileError(f"{path}: the name must end in .npy or .csv")
    if id_column is not None:
        raise FileError(f"{path}: a .npy file has no column {id_column!r}; --id-column is for .csv")
    rows = NpyRows(path, "f", "float32, float64 or float16")  # of a bfloat16 the format keeps the bytes, not the name
    if not is_logits(rows.dtype):
        raise FileError(f"{path}: the array must be float32, float64 or float16 in native byte order, got {rows.dtype}")
    return rows


def open_mask(path: Path, data: NpyRows | CsvRows) -> NpyRows | CsvRows:
    """A mask of the data's rows and columns, or of one row for all, from a .npy or .csv file.

    Raises
    ------
    FileError
        As `open_rows`, and where the shape is neither.
    """
    _must_be_file(path)
    rows, columns = data.rows, data.columns
    mask: NpyRows | CsvRows
    if path.suffix == ".csv":
        mask = CsvRows(path)
    elif path.suffix == ".npy":
        mask = NpyRows(path, "biu", "bool, int8 or uint8")
        if mask.dtype not in (np.dtype(np.bool_), np.dtype(np.int8), np.dtype(np.uint8)):
            raise FileError(f"{path}: the array must be bool, int8 or uint8, got {mask.dtype}")
    else:
        raise FileError(f"{path}: the name must end in .npy or .csv")
    if mask.columns != columns or mask.rows not in (1, rows):
        raise FileError(f"{path}: the mask must have 1 or {rows} rows of {columns} columns, got {mask.rows} of {mask.columns}")
    if mask.names is not None and data.names is not None and mask.names != data.names:
        raise FileError(f"{path}: the mask's columns are {', '.join(mask.names)}, the data's are {', '.join(data.names)}")
    return mask


def masked_blocks(data: NpyRows | CsvRows, mask: NpyRows | CsvRows | None, size: int) -> Iterator[tuple[Block, Any]]:
    """Blocks of at most `size` rows of the data, each with its part of the mask, or None where there is no mask.

    Raises
    ------
    FileError
        Where a mask in a .csv holds anything but 0 and 1, or both files name their rows and the names differ.
    """
    masks = itertools.repeat(None) if mask is None else _mask_blocks(mask, size)
    for block in data.blocks(size):
        part = next(masks)
        if part is not None and mask is not None and mask.rows > 1 and part.labels and block.labels:
            for row, (got, wanted) in enumerate(zip(part.labels, block.labels, strict=True)):
                if got != wanted:
                    raise FileError(f"{mask.place(part.start + row)}: the id is {got!r}, in the data it is {wanted!r}")
        yield block, None if part is None else part.values


def _mask_blocks(mask: NpyRows | CsvRows, size: int) -> Iterator[Block]:
    """The mask's blocks; a single row is repeated for ever."""
    for block in mask.blocks(size):
        values = block.values
        if isinstance(mask, CsvRows):
            wrong = np.argwhere((values != 0) & (values != 1))
            if len(wrong):
                row, column = wrong[0]
                place = mask.place(block.start + int(row), int(column))
                raise FileError(f"{place}: a mask holds 0 and 1, got {values[row, column]:g}")
            block.values = values.astype(np.bool_)
        while mask.rows == 1:
            yield block
        yield block


@contextlib.contextmanager
def result_file(path: Path, force: bool, inputs: list[Path]) -> Iterator[Path]:
    """A name beside `path` to write to; it becomes `path` when all went well, and is removed when anything did not.

    Raises
    ------
    FileError
        If `path` exists and `force` is off, is one of the inputs, is of another kind, or its folder cannot be written.
    """
    if path.suffix not in (".npy", ".csv"):
        raise FileError(f"{path}: the name of an output must end in .npy or .csv")
    _in_a_folder(path)
    if path.is_dir():
        raise FileError(f"{path}: is a folder")
    if path.exists():
        if any(path.samefile(other) for other in inputs):
            raise FileError(f"{path}: the output is an input too")
        if not force:
            raise FileError(f"{path}: exists already; --force replaces it")
    beside = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        beside.touch()
        yield beside
        beside.replace(path)
    except OSError as problem:
        raise FileError(f"{path}: cannot be written: {problem.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)


class NpyResult:
    """A .npy array of known shape, written block by block along one axis."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: Any, axis: int) -> None:
        self._path, self._axis, self._start = path, axis, 0
        if 0 in shape:  # nothing to map
            np.save(path, np.empty(shape, dtype))
        else:
            np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)

    def write(self, block: np.ndarray, labels: list[str] | None) -> None:
        """Append a block."""
        if not block.size:
            return
        mapped = np.lib.format.open_memmap(self._path, mode="r+")  # mapped anew, so that memory stays bounded
        stop = self._start + block.shape[self._axis]
        mapped[(slice(None),) * self._axis + (slice(self._start, stop),)] = block
        self._start = stop

    def close(self) -> None:
        """Nothing is held open."""


class CsvResult:
    """A .csv table with a label column, written block by block."""

    def __init__(self, path: Path, label: str, columns: list[str], names: list[str] | None) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._names, self._row = names, 0
        self._writer = csv.writer(self._file)
        self._writer.writerow([label, *columns])

    def write(self, block: np.ndarray, labels: list[str] | None) -> None:
        """Append rows: of names where `block` holds indices and the categories have names, else of numbers."""
        listed = block.tolist()
        if self._names is not None and block.dtype.kind == "i":
            listed = [[self._names[index] if index >= 0 else "" for index in row] for row in listed]
        marks = range(self._row, self._row + len(listed)) if labels is None else labels
        self._writer.writerows([mark, *row] for mark, row in zip(marks, listed, strict=True))
        self._row += len(listed)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _must_be_file(path: Path) -> None:
    if path.is_dir():
        raise FileError(f"{path}: is a folder, not a file")
    if not path.exists():
        raise FileError(f"{path}: no such file")


def _number(text: str) -> float | None:
    """A number as Python reads it, but for 1_000 and for what overflows to infinity: those are None, as any text is."""
    try:
        value = float(text)
    except ValueError:
        return None
    unsaid = "_" in text or (math.isinf(value) and any(character.isdigit() for character in text))
    return None if unsaid else value


def _is_id(text: str) -> bool:
    """An integer in its shortest form: 007 is a text."""
    return re.fullmatch(r"0|-?[1-9][0-9]{0,18}", text) is not None and -(2**63) <= int(text) < 2**63


def writable(path: Path | None) -> None:
    """Refuse a file that cannot be written, before the work for it is done; None is none.

    Raises
    ------
    FileError
        If its folder is missing, or it or the folder may not be written to.
    """
    if path is None:
        return
    _in_a_folder(path)
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise FileError(f"{path}: no permission to write there")


def _in_a_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileError(f"{path}: there is no folder {path.parent}")
