"""Arguments checked once, in one place, before anything is written: every message names the argument, what came, what is taken.

`sampling_request` turns the arguments that all sampling functions share into a `Request`: plain ndarrays with the axis of the
categories last, which is all that a driver sees.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .device import DeviceView, check_one_device
from .dispatch import Family, family_of, host_view
from .kernels.cpu.column_ids import survey_columns
from .kernels.field import COLUMN_END
from .kernels.jit import is_bfloat16
from .keys import check_key

REALS = (np.dtype(np.float32), np.dtype(np.float64))
FLOAT16 = np.dtype(np.float16)
SMALLEST_TEMPERATURE, LARGEST_TEMPERATURE = 2.0**-64, 2.0**64
STEP_END = 1 << 63


@dataclass(slots=True)
class Request:
    """What a driver needs: checked, host memory, categories along the last axis."""

    family: Family
    words: tuple[int, int]  # key words k0, k1
    dtype: np.dtype  # of logits, relaxed samples and gradients
    batch: tuple[int, ...]  # shape of the rows
    columns: int
    axis: int  # where the categories were, counted from the front
    draws: int | None  # n, or None for one draw without a leading axis
    step: int
    steps: np.ndarray | None  # int64[batch], in place of step
    rows: np.ndarray | None  # int64[batch]
    cols: np.ndarray | None  # int64, broadcastable to batch + (columns,)
    first_col: int = 0  # without cols, the id of the first column; the others follow
    cells: np.ndarray | None = None  # logits or probabilities, batch + (columns,)
    is_probs: bool = False
    mask: np.ndarray | None = None  # uint8, broadcastable to batch + (columns,)
    temperature: float = 1.0
    temperatures: np.ndarray | None = None  # float64[batch], in place of temperature
    raises: bool = True

    @property
    def real(self) -> np.dtype:
        """The working precision, in which noise, scores and sums are: float32 for float16 and bfloat16."""
        return working(self.dtype)

    @property
    def index_dtypes(self) -> tuple[Any, ...]:
        """What an array of indices may hold."""
        return (np.int64, np.int32) if self.columns < 1 << 31 else (np.int64,)

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The arrays that kernels read."""
        return self.cells, self.mask, self.rows, self.cols, self.steps, self.temperatures

    def refuse(self, operation: str, invalid: np.ndarray, why: str | None = None) -> None:
        """ValueError naming the first invalid rows, if there are any and they are to be refused."""
        if self.raises:
            refuse_invalid(operation, self.batch, invalid, NOTHING_ALLOWED if why is None else why)

    @property
    def is_greedy(self) -> bool:
        """Whether a temperature is 0, of all rows or of one."""
        if self.temperatures is None or isinstance(self.temperatures, DeviceView):  # the latter are the kernels' matter
            return self.temperature == 0
        return bool((self.temperatures == 0).any())

    @property
    def leading(self) -> tuple[int, ...]:
        """Shape in front of the batch: (n,) or nothing."""
        return () if self.draws is None else (self.draws,)

    def along_axis_shape(self, size: int) -> tuple[int, ...]:
        """Shape of a result with `size` places along the axis of the categories."""
        return (*self.batch[: self.axis], size, *self.batch[self.axis :])

    def along_axis(self, array: np.ndarray) -> np.ndarray:
        """View of a result batch + (k,) or (n,) + batch + (k,) with its last axis back where the categories were."""
        place = self.axis + len(self.leading)
        return array if place == array.ndim - 1 else np.moveaxis(array, -1, place)

    def axis_last(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `along_axis`."""
        place = self.axis + len(self.leading)
        return array if place == array.ndim - 1 else np.moveaxis(array, place, -1)


def sampling_request(
    key: object,
    logits: Any,
    probs: Any = None,
    *,
    step: Any = 0,
    rows: Any = None,
    cols: Any = None,
    mask: Any,
    temperature: Any,
    temperature_name: str = "temperature",
    axis: int,
    n: int | None = None,
    invalid: str | None,
) -> Request:
    """Check everything the sampling functions have in common."""
    words = check_key(key)
    name, family, cells = _cells(logits, probs)
    if cells.ndim == 0:
        raise ValueError(f"{name} must have at least one axis, got a scalar")
    axis = axis_of(axis, cells.ndim)
    cells = cells if axis == cells.ndim - 1 else np.moveaxis(cells, axis, -1)
    batch, columns = cells.shape[:-1], cells.shape[-1]
    if columns == 0:
        raise ValueError(f"{name} has no categories: axis {axis} of shape {_moved_back(cells.shape, axis)} is empty")
    draws = draws_of(n)
    step, steps = step_of(step, batch, draws, family)
    ids, first_col = columns_of(cols, batch, columns, axis, family)
    number, temperatures = temperature_of(temperature, temperature_name, batch, family)
    row_ids, allowed = row_array(rows, batch, family), mask_array(mask, batch, columns, axis, family)
    if not family.is_host:
        beside = {temperature_name: temperatures, "step": steps, "rows": row_ids, "cols": ids, "mask": allowed}
        check_one_device(**{name: cells}, **beside)
    return Request(
        family=family,
        words=words,
        dtype=cells.dtype,
        batch=batch,
        columns=columns,
        axis=axis,
        draws=draws,
        step=step,
        steps=steps,
        rows=row_ids,
        cols=ids,
        first_col=first_col,
        cells=cells,
        is_probs=logits is None,
        mask=allowed,
        temperature=number,
        temperatures=temperatures,
        raises=_raises(invalid, family),
    )


def _cells(logits: Any, probs: Any) -> tuple[str, Family, np.ndarray]:
    """Name, family and ndarray of whichever of the two is given."""
    if (logits is None) == (probs is None):
        raise TypeError("exactly one of logits and probs must be given, got " + ("neither" if logits is None else "both"))
    name, cells = ("probs", probs) if logits is None else ("logits", logits)
    return name, *logits_array(cells, name)


def ragged_request(
    key: object,
    logits: Any,
    probs: Any,
    offsets: Any,
    *,
    step: Any,
    rows: Any,
    cols: Any,
    mask: Any,
    temperature: Any,
    n: int | None,
    invalid: str | None,
) -> tuple[Request, np.ndarray]:
    """Check the arguments of rows that are stretches of a vector: a request with one cell, mask and id a value; offsets."""
    words = check_key(key)
    name, family, cells = _cells(logits, probs)
    if cells.ndim != 1:
        raise ValueError(f"{name} must have one axis, all rows one behind the other, got shape {cells.shape}")
    ends = _offsets(offsets, name, len(cells), family)
    batch, draws = (len(ends) - 1,), draws_of(n)
    number, steps = step_of(step, batch, draws, family)
    constant, temperatures = temperature_of(temperature, "temperature", batch, family)
    request = Request(
        family=family,
        words=words,
        dtype=cells.dtype,
        batch=batch,
        columns=len(cells),
        axis=0,
        draws=draws,
        step=number,
        steps=steps,
        rows=row_array(rows, batch, family),
        cols=None if cols is None else _value_ids(cols, len(cells), family),
        cells=cells,
        is_probs=logits is None,
        mask=mask_array(mask, (), len(cells), 0, family),
        temperature=constant,
        temperatures=temperatures,
        raises=_raises(invalid, family),
    )
    return request, ends


def _offsets(offsets: Any, name: str, size: int, family: Family) -> np.ndarray:
    """Offsets as int64: not decreasing, from 0 to `size`. Looked at in parts, to need no memory."""
    if offsets is None:
        raise TypeError("offsets must be given: where each row starts, and where the last one ends")
    ends = integer_array(offsets, "offsets", family)
    if ends.ndim != 1 or not len(ends):
        raise ValueError(f"offsets must have one axis and at least one element, got shape {ends.shape}")
    if isinstance(ends, DeviceView):  # the kernel finds a row that leaves the values invalid
        return ends
    step = 1 << 15
    for start in range(0, len(ends), step):
        part = ends[start : start + step + 1]
        bad = np.flatnonzero(part[1:] < part[:-1])
        if len(bad):
            at = start + int(bad[0]) + 1
            raise ValueError(f"offsets must not decrease, got {ends[at]} behind {ends[at - 1]} at position {at}")
    if ends[0] < 0:
        raise ValueError(f"offsets must be 0 or more, got {ends[0]} at position 0")
    if ends[-1] > size:
        at = int(np.searchsorted(ends, size, side="right"))
        raise ValueError(f"offsets must end within the {size} {name}, got {ends[at]} at position {at}")
    return ends


def _value_ids(cols: Any, size: int, family: Family) -> np.ndarray:
    """Column ids as int64, one a value."""
    ids = integer_array(cols, "cols", family)
    if ids.shape != (size,):
        raise ValueError(f"cols must hold one id a value, shape {(size,)}, got shape {ids.shape}")
    if size and not isinstance(ids, DeviceView):
        _check_ids(ids)
    return ids


def _check_ids(array: np.ndarray) -> None:
    """ValueError unless all column ids are in range."""
    # No id is above all of them joined by or, and a negative one makes that negative: one pass in place of two.
    if not 0 <= int(np.bitwise_or.reduce(array, axis=None)) < COLUMN_END:
        _refuse_ids(int(array.min()), int(array.max()))


def _refuse_ids(smallest: int, largest: int) -> None:
    if smallest < 0 or largest >= COLUMN_END:
        raise ValueError(f"column ids must be from 0 to 2^35 - 17, got values from {smallest} to {largest}")


def working(dtype: np.dtype) -> np.dtype:
    """The working precision of logits of a dtype."""
    return dtype if dtype.itemsize > 2 else REALS[0]


@functools.cache
def is_logits(dtype: np.dtype) -> bool:
    """Whether a dtype is one that logits may have: float32, float64, float16 or bfloat16, in native byte order."""
    return (dtype in (*REALS, FLOAT16) and dtype.isnative) or is_bfloat16(dtype)


def logits_array(array: Any, name: str) -> tuple[Family, np.ndarray]:
    """Family and ndarray of an argument that holds logits or probabilities."""
    family = family_of(array, name)
    values = family.view(array)
    if not is_logits(values.dtype):
        raise TypeError(f"{name} must be float32, float64, float16 or bfloat16, got {values.dtype}: {_advice(values, name)}")
    return family, aligned(values)


def aligned(values: np.ndarray) -> np.ndarray:
    """The array, or a copy where its elements are not aligned, as compiled code takes for granted: a packed record's field."""
    return values if values.flags.aligned else values.copy()


def check_real(values: np.ndarray, name: str) -> None:
    """TypeError, with the call that helps, unless the array is float32 or float64 in native byte order."""
    if values.dtype not in REALS or not values.dtype.isnative:
        raise TypeError(f"{name} must be float32 or float64, got {values.dtype}: {_advice(values, name)}")


def _advice(values: np.ndarray, name: str) -> str:
    """What to do about an array of a wrong dtype."""
    dtype = values.dtype
    if dtype.kind == "b":
        return "a mask goes into mask="
    if dtype.kind == "f" and not dtype.isnative and dtype.itemsize <= 8:
        return f'foreign byte order, call {name}.astype({name}.dtype.newbyteorder("="))'
    if dtype == FLOAT16 or is_bfloat16(dtype):
        return f"call {name}.astype(np.float32)"
    if dtype.kind in "iuf":
        return f"call {name}.astype(np.float64)"
    if dtype.kind == "c":
        return f"take {name}.real"
    return f"convert it with np.asarray({name}, dtype=np.float64)"


def axis_of(axis: Any, ndim: int) -> int:
    """A valid axis, counted from the front."""
    number = integer(axis, "axis")
    if not -ndim <= number < ndim:
        raise ValueError(f"axis {number} is out of range for an array with {ndim} axes")
    return number % ndim


def draws_of(n: Any) -> int | None:
    """Number of draws, or None."""
    if n is None:
        return None
    number = integer(n, "n")
    if number < 0:
        raise ValueError(f"n must be 0 or more, got {number}")
    return number


def integer(value: Any, name: str) -> int:
    """A Python or NumPy integer; a bool is none."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}: {value!r:.60}") from None


def integer_array(values: Any, name: str, family: Family) -> np.ndarray:
    """An int64 array from integers of any width; 64-bit values in two's complement. Lists of Python ints are welcome."""
    array = (
        from_list(values, name, family) if isinstance(values, (list, tuple, range, int)) else host_view(values, name, family)
    )
    if array.size == 0 and isinstance(values, (list, tuple)):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    if isinstance(array, DeviceView) and array.dtype.itemsize != 8:
        raise TypeError(f"{name} must be int64 in a GPU's memory, got {array.dtype}")
    if array.dtype == np.uint64:
        return aligned(array).view(np.int64)
    return aligned(array) if array.dtype == np.int64 else array.astype(np.int64)


def from_list(values: Any, name: str, family: Family) -> np.ndarray:
    """A list or number as an ndarray, for arrays in host memory."""
    if not family.is_host:
        raise TypeError(f"{name} is a {type(values).__name__} and the logits are a {family.name} array: move it to the GPU")
    return np.asarray(values)


def step_of(step: Any, batch: tuple[int, ...], draws: int | None, family: Family) -> tuple[int, np.ndarray | None]:
    """The step of all rows, or 0 and int64, one a row; the last draw's is below 2^63."""
    extra = max((draws or 1) - 1, 0)
    if isinstance(step, (int, np.integer)):
        number = integer(step, "step")
        if not 0 <= number < STEP_END - extra:
            raise ValueError(f"step must be 0 or more and, with the draws that follow, below 2^63, got {number}")
        return number, None
    array = integer_array(step, "step", family)
    if array.shape != batch and array.ndim:
        raise ValueError(f"step must be a scalar or one a row, shape {batch}, got shape {array.shape}")
    if isinstance(array, DeviceView):  # read by the kernel, each time anew
        return 0, np.broadcast_to(array, batch, subok=True)
    if array.size and (array.min() < 0 or array.max() > STEP_END - 1 - extra):
        raise ValueError(f"step must be 0 or more and below 2^63, got values from {array.min()} to {array.max()}")
    return (0, array) if array.ndim else (int(array), None)


def row_array(rows: Any, batch: tuple[int, ...], family: Family) -> np.ndarray | None:
    """Row ids as int64, one a row, or None."""
    if rows is None:
        return None
    array = integer_array(rows, "rows", family)
    if array.shape != batch:
        raise ValueError(f"rows must hold one id a row, shape {batch}, got shape {array.shape}")
    return array


def index_array(index: Any, batch: tuple[int, ...], family: Family) -> np.ndarray:
    """Given choices as int64, one a row; what is out of range is the row's matter."""
    if index is None:
        raise TypeError("index is missing: the choices that were observed, one a row")
    array = integer_array(index, "index", family)
    if array.shape != batch:
        raise ValueError(f"index must hold one choice a row, shape {batch}, got shape {array.shape}")
    return array


def places(index: np.ndarray, name: str, columns: int) -> np.ndarray:
    """Positions along a row as int64, from -1 on."""
    if isinstance(index, DeviceView):
        if index.dtype != np.int64:
            raise TypeError(f"{name} must be int64 in a GPU's memory, got {index.dtype}")
        return index
    if index.size and not -1 <= index.min() <= index.max() < columns:
        raise ValueError(f"{name} must be from -1 to {columns - 1}, got values from {index.min()} to {index.max()}")
    return aligned(index).astype(np.int64, copy=False)


def sample_of(sample: Any, draws: int | None) -> int:
    """Number of the first conditional sample; the last is below 2^63."""
    number = integer(sample, "sample")
    if not 0 <= number < STEP_END - max((draws or 1) - 1, 0):
        raise ValueError(f"sample must be 0 or more and, with those that follow, below 2^63, got {number}")
    return number


def heads_of(nvec: Any, columns: int) -> np.ndarray:
    """Columns at which heads start, and the end of the last, int64."""
    if nvec is None:
        return _heads((columns,), columns)
    if isinstance(nvec, np.ndarray):
        if nvec.dtype.kind not in "iu" or nvec.ndim != 1:
            raise TypeError(f"nvec must be a sequence of integers, got an array of {nvec.dtype} and shape {nvec.shape}")
        return _heads(tuple(nvec.tolist()), columns)
    if isinstance(nvec, Iterator):
        raise TypeError(f"nvec must be a sequence of integers, got a {type(nvec).__name__}, which is read but once: call list")
    try:
        sizes = tuple(nvec)
    except TypeError:
        raise TypeError(f"nvec must be a sequence of integers, got {type(nvec).__name__}: {nvec!r:.60}") from None
    return _heads(tuple(integer(size, "a size in nvec") for size in sizes), columns)


@functools.lru_cache(maxsize=256)
def _heads(sizes: tuple[int, ...], columns: int) -> np.ndarray:
    if not sizes or min(sizes) < 1 or sum(sizes) != columns:
        raise ValueError(
            f"nvec must be one or more numbers of 1 or more that add up to the {columns} categories, "
            f"got {sizes!r:.60}, which add up to {sum(sizes)}"
        )
    heads = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    heads.flags.writeable = False
    return heads


def columns_of(cols: Any, batch: tuple[int, ...], columns: int, axis: int, family: Family) -> tuple[np.ndarray | None, int]:
    """Column ids as int64, one a column or one a cell (categories last); or None and the first, where the others follow it."""
    if cols is None:
        return None, 0
    array = from_list(cols, "cols", family) if isinstance(cols, (list, tuple, range)) else host_view(cols, "cols", family)
    if array.size == 0 and isinstance(cols, (list, tuple)):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"cols must be integers, got {array.dtype}")
    if array.ndim == len(batch) + 1 and array.ndim > 1:
        array = np.moveaxis(array, axis, -1)
    full = (*batch, columns)
    if array.shape not in ((columns,), full):
        raise ValueError(
            f"cols must hold one id a column, shape {(columns,)}, or one a cell, shape {_moved_back(full, axis)}, "
            f"got shape {np.shape(cols)}"
        )
    if not array.size:
        return None, 0
    if isinstance(array, DeviceView):
        return integer_array(cols, "cols", family) if array.ndim == 1 else _device_ids(array), 0
    smallest, runs_on = 0, False
    if array.ndim > 1 or not array.dtype.isnative:
        _check_ids(array)
    else:
        smallest, largest, runs_on = _survey(array)
        _refuse_ids(smallest, largest)
    return (None, smallest) if runs_on else (integer_array(array, "cols", family), 0)


def _device_ids(array: DeviceView) -> np.ndarray:
    """Column ids, one a cell, in a GPU's memory."""
    if array.dtype.itemsize != 8:
        raise TypeError(f"cols must be int64 in a GPU's memory, got {array.dtype}")
    return array.view(np.int64)


def _survey(ids: np.ndarray) -> tuple[int, int, bool]:
    """Smallest and largest of a vector of ids, and whether they run on: in parts, since other integers are copied."""
    smallest, largest, runs_on, step = COLUMN_END, -1, True, 1 << 15
    for start in range(0, len(ids), step):
        part = ids[start : start + step]
        if part.dtype == np.uint64 and part.max() >= 1 << 63:
            return 0, int(part.max()), False
        low, high, here = survey_columns[None](aligned(part.astype(np.int64, copy=False)))
        runs_on = runs_on and here and (start == 0 or low == largest + 1)
        smallest, largest = min(smallest, low), max(largest, high)
    return smallest, largest, runs_on


def mask_array(mask: Any, batch: tuple[int, ...], columns: int, axis: int, family: Family) -> np.ndarray | None:
    """Mask as uint8 (nonzero where allowed), broadcastable to the rows with categories last, or None."""
    if mask is None:
        return None
    array = from_list(mask, "mask", family) if isinstance(mask, (list, tuple)) else host_view(mask, "mask", family)
    if array.dtype not in (np.dtype(np.bool_), np.dtype(np.int8), np.dtype(np.uint8)):
        raise TypeError(f"mask must be bool, int8 or uint8 (nonzero = allowed), got {array.dtype}")
    full = (*batch, columns)
    shape = _moved_back(full, axis)
    try:
        array = array.view(np.uint8)
        array = array if array.shape == shape else np.broadcast_to(array, shape, subok=True)
    except ValueError:
        raise ValueError(f"mask must broadcast to the logits' shape {shape}, got shape {array.shape}") from None
    return array if axis == array.ndim - 1 else np.moveaxis(array, axis, -1)


def temperature_of(temperature: Any, name: str, batch: tuple[int, ...], family: Family) -> tuple[float, np.ndarray | None]:
    """The temperature of all rows, or 1 and float64, one a row: 0, or within [2^-64, 2^64]."""
    if isinstance(temperature, (bool, np.bool_)):
        raise TypeError(f"{name} must be a number, got {temperature!r}")
    if isinstance(temperature, (int, float)):
        number = _float(temperature)
        if not in_range(number):
            raise ValueError(f"{name} must be 0 or from 2^-64 to 2^64, got {number}")
        return number, None
    array = host_view(temperature, name, family)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be real numbers, got {array.dtype}")
    if isinstance(array, DeviceView):  # what is out of range makes a row invalid
        if array.dtype != np.float64:
            raise TypeError(f"{name} must be float64 in a GPU's memory, got {array.dtype}")
        if array.ndim and array.shape != batch:
            raise ValueError(f"{name} must be a scalar or one a row, shape {batch}, got shape {array.shape}")
        return 1.0, np.broadcast_to(array, batch, subok=True)
    array = aligned(array.astype(np.float64, copy=False))
    if array.ndim and array.shape != batch:
        raise ValueError(f"{name} must be a scalar or one a row, shape {batch}, got shape {array.shape}")
    if not array.ndim and not in_range(float(array)):
        raise ValueError(f"{name} must be 0 or from 2^-64 to 2^64, got {float(array)}")
    if array.size and not (array.min() >= SMALLEST_TEMPERATURE and array.max() <= LARGEST_TEMPERATURE):
        _refuse_temperatures(array, name)
    return (1.0, array) if array.ndim else (float(array), None)


def _refuse_temperatures(array: np.ndarray, name: str) -> None:
    """ValueError that names the first one out of range, if there is any; looked for in parts, to need no memory."""
    rows = array.reshape(-1) if array.flags.c_contiguous else array.flat
    for start in range(0, array.size, 1 << 14):
        part = rows[start : start + (1 << 14)]
        bad = np.flatnonzero(~((part == 0) | ((part >= SMALLEST_TEMPERATURE) & (part <= LARGEST_TEMPERATURE))))
        if len(bad):
            first = np.unravel_index(start + bad[0], array.shape)
            place = ", ".join(map(str, first))
            raise ValueError(f"{name} must be 0 or from 2^-64 to 2^64, got {array[first]} in row {place}")


def in_range(temperature: float) -> bool:
    """0, or within [2^-64, 2^64]."""
    return SMALLEST_TEMPERATURE <= temperature <= LARGEST_TEMPERATURE or temperature == 0.0


def _float(number: float) -> float:
    """A Python number as a float, infinite where it is too large for one."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def output(
    out: Any,
    name: str,
    shape: tuple[int, ...],
    dtypes: tuple[Any, ...],
    family: Family,
    inputs: Any = (),
    shared: Any = None,
    like: Any = None,
) -> np.ndarray:
    """A new array of the first dtype, or the caller's `out` after its dtype, shape and overlap with inputs are checked.

    It may be an input, element for element, since each is read before it is written; but not `shared`, which every row reads.
    A new one has its memory where `like` or the first input has it.
    """
    if out is None:
        beside = next((each for each in (like, *inputs) if each is not None), None)
        return family.new(shape, np.dtype(dtypes[0]), beside)
    array = host_view(out, name, family)
    check_one_device(**{"logits": like if like is not None else next(iter(inputs), None), name: array})
    if isinstance(out, (list, tuple, np.generic)) or not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be an array that can be written to, got {type(out).__name__}")
    if array.dtype not in dtypes or not array.dtype.isnative:
        raise TypeError(f"{name} must be {' or '.join(str(np.dtype(d)) for d in dtypes)}, got {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only")
    if not array.flags.aligned:
        raise ValueError(f"{name} is not aligned: its elements must start at multiples of their size")
    if array.size and any(s == 0 and n > 1 for s, n in zip(array.strides, array.shape, strict=True)):
        raise ValueError(f"{name} is a broadcast view: several of its elements share memory")
    for other in inputs:
        if other is not None and overlap(array, other) and (other is shared or not _same_memory(array, other)):
            raise ValueError(f"{name} overlaps an input")
    return array


def results(places: Iterable[Any], arrays: Iterable[np.ndarray], family: Family) -> list[Any]:
    """What a caller gets of several results: the arrays given in `out`, and new ones where none was."""
    return [family.wrap(array) if place is None else place for place, array in zip(places, arrays, strict=True)]


def keep_apart(*arrays: np.ndarray) -> None:
    """ValueError if two results share memory."""
    if any(overlap(a, b) for a, b in itertools.combinations(arrays, 2)):
        raise ValueError("the arrays of out overlap each other")


def overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays share an element; True where that is too hard to tell."""
    if not np.may_share_memory(a, b):
        return False
    try:
        return np.shares_memory(a, b, max_work=100_000)  # type: ignore[arg-type]  # any int, says its documentation
    except np.exceptions.TooHardError:
        return True


def _same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    """True for two views of exactly the same elements, which an element-wise result may overwrite."""
    return a.ctypes.data == b.ctypes.data and a.shape == b.shape and a.strides == b.strides and a.dtype == b.dtype


def _raises(invalid: str | None, family: Family) -> bool:
    if invalid not in (None, "raise", "mark"):
        raise ValueError(f'invalid must be None, "raise" or "mark", got {invalid!r}')
    return family.is_host if invalid is None else invalid == "raise"  # on a GPU, to know would be to wait


def _moved_back(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """Shape with its last axis at `axis`."""
    return (*shape[:-1][:axis], shape[-1], *shape[:-1][axis:])


NOTHING_ALLOWED = "no category left, or a NaN or negative probability in an allowed cell"


def refuse_invalid(operation: str, batch: tuple[int, ...], invalid: np.ndarray, why: str = NOTHING_ALLOWED) -> None:
    """ValueError naming the first invalid rows, if there are any. `invalid` is a count and the first positions."""
    count = int(invalid[0])
    if not count:
        return
    listed = sorted(int(p) for p in invalid[1 : 1 + min(count, len(invalid) - 1)])
    places = [str(p) if len(batch) == 1 else str(tuple(map(int, np.unravel_index(p, batch)))) for p in listed]
    total = int(np.prod(batch, dtype=np.int64))
    more = ", ..." if count > len(places) else ""
    raise ValueError(
        f"{operation}: {count} of {total} rows invalid ({why}): row {', '.join(places)}{more}; "
        'invalid="mark" marks them instead'
        if batch
        else f"{operation}: the row is invalid ({why})"
    )
