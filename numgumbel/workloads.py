"""Frozen workloads: named problems with known inputs, known bytes and known answers.

A figure means something where everybody runs the same problem. Here each has an id, logits that are equal to the bit on every
machine (they are values of the Gumbel field itself, under keys named after the id), a count of the bytes that it must move, and
the checksum of the right answer. ``python -m numgumbel.workloads`` runs them all and shows whether their answers are right.

>>> from numgumbel import workloads
>>> workload = workloads.get("rl.b8_a6.f32")
>>> workload.run()
array([2, 0, 1, 4, 1, 3, 1, 1])
>>> workload.verify()
>>> workload.cost()
Cost(elements=48, bytes_read=192, bytes_written=64, philox_calls=8, elementary=16)

Ids say family, rows and columns, what is special, and precision: ``vocab.b32_k128256.peaked.f32``. Families: ``rl`` action
sampling, ``sim`` simulated choices, ``vocab`` tokens, ``vae`` relaxed latent codes, ``long`` one long row. What is special
may be ``actions`` (with log-probability and entropy; ``heads7`` in seven heads), ``draw`` (with log-probability and logsumexp)
or ``ids7787`` (column ids out of so many, a cell each). bfloat16 is a dtype of the package ml_dtypes. Some have a second name,
see `ALIASES`. ``numgumbel bench`` times them.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

import numgumbel as ng

__all__ = ["ALIASES", "WORKLOADS", "Cost", "Inputs", "Workload", "get", "host", "recompute", "to_device"]

# The operations, and the type of their result where it is not an array.
OPERATIONS = {
    "categorical": None,
    "draw": ng.Draw,
    "gumbel_softmax": None,
    "gumbel_topk": ng.TopK,
    "sample_actions": ng.Actions,
}

LOGITS = "float32", "float64", "float16", "bfloat16"
ITEMSIZE = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "int64": 8}
FIRST_ROW_ID = 1_000_000
# Fields of results that are sums: the same on every CPU, on a GPU within some ulp.
SUMS = "sample", "log_prob", "logsumexp", "entropy"
A_CALL = 8  # columns that one Philox call gives half-words for


@dataclass(frozen=True)
class Cost:
    """What a workload must do at least.

    Attributes
    ----------
    elements : int
        Cells of the logits: rows times columns.
    bytes_read : int
        Bytes of logits, mask and ids.
    bytes_written : int
        Bytes of the result.
    philox_calls : int
        Calls of Philox. One bounds the noise of eight neighbouring columns, or of one where cells have ids; relaxed samples
        need two, for all bits; an inverse CDF takes one a draw.
    elementary : int
        Exponentials and logarithms: two for the score of each category that is chosen, one a cell where weights are summed,
        and one for a row's logsumexp.
    """

    elements: int
    bytes_read: int
    bytes_written: int
    philox_calls: int
    elementary: int


class Inputs(NamedTuple):
    """Arrays that a workload reads: logits, and a mask, row ids and column ids (one a cell), or None."""

    logits: np.ndarray
    mask: np.ndarray | None = None
    rows: np.ndarray | None = None
    cols: np.ndarray | None = None


def host(result: Any) -> Any:
    """A result in host memory, and of a tuple every part.

    Parameters
    ----------
    result : array, or tuple of arrays and None
        NumPy's, or of a library whose arrays say how they are copied: Numba's, torch's, CuPy's.

    Returns
    -------
    numpy.ndarray, or the same kind of tuple
        What is in host memory already is not copied.

    Examples
    --------
    >>> from numgumbel import workloads
    >>> workloads.host([1.0, 2.0])
    array([1., 2.])
    """
    if isinstance(result, tuple):
        parts: list[Any] = [None if part is None else host(part) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    if hasattr(result, "copy_to_host"):  # Numba's
        return result.copy_to_host()
    if hasattr(result, "cpu"):  # torch's
        return result.cpu().numpy()
    return result.get() if hasattr(result, "get") else np.asarray(result)


def to_device(array: np.ndarray, stream: Any = 0) -> Any:
    """An array of Numba's in the current GPU's memory, on a stream.

    Parameters
    ----------
    array : numpy.ndarray
        Of any dtype that a workload has.
    stream : Numba's stream, optional
        The default stream when left out.

    Returns
    -------
    array
        Numba knows bfloat16 by its bits only.

    Raises
    ------
    ImportError
        Where numba-cuda is not installed.
    """
    from .kernels.gpu.loading import cuda

    if array.dtype.kind == "V":
        return cuda.to_device(array.view(np.int16), stream=stream).view(array.dtype)
    return cuda.to_device(array, stream=stream)


@dataclass(frozen=True)
class Workload:
    """One problem: an operation on logits of one shape.

    Attributes
    ----------
    id : str
        Its name, see the module.
    operation : str
        ``"categorical"``, ``"draw"``, ``"gumbel_softmax"``,
        ``"gumbel_topk"`` or ``"sample_actions"``, a function of `numgumbel`.
    shape : tuple of int
        Rows and columns.
    what : str
        One line for people.
    dtype : str
        ``"float32"``, ``"float64"``, ``"float16"`` or ``"bfloat16"``.
    scale : float
        The logits are the field times this, in float16 and bfloat16 rounded from float32. At 1 they fall off as log-frequencies
        of words do; at 4 a few categories hold nearly all of a row's probability.
    k : int or None
        How many, for ``"gumbel_topk"``.
    masked : bool
        Whether a mask forbids about a third of the cells, never the first of a row.
    reuse_out : bool
        Whether calls write into one result that is made before.
    n : int or None
        How many draws of every row, for ``"categorical"``.
    method : str
        ``"gumbel"`` or ``"inverse_cdf"``, for ``"categorical"``.
    want : tuple of str
        What is wanted of ``"draw"``.
    nvec : tuple of int or None
        Number of actions of each head, for ``"sample_actions"``; None is one head and actions without an axis of heads.
    ids : int or None
        For ``"categorical"``: every cell has a column id below this, no two alike in a row and all sets equally likely, and
        every row an id, counted from a million.

    Examples
    --------
    >>> from numgumbel import workloads
    >>> workloads.get("vocab.b64_k32000.top5.f32").what
    'five tokens without replacement'
    """

    id: str
    operation: str
    shape: tuple[int, int]
    what: str
    dtype: str = "float32"
    scale: float = 1.0
    k: int | None = None
    masked: bool = False
    reuse_out: bool = False
    n: int | None = None
    method: str = "gumbel"
    want: tuple[str, ...] = ()
    nvec: tuple[int, ...] | None = None
    ids: int | None = None

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise ValueError(f"operation must be one of {', '.join(OPERATIONS)}, got {self.operation!r}")
        if (self.k is not None) != (self.operation == "gumbel_topk"):
            raise ValueError("k goes with gumbel_topk, and only with it")
        if self.dtype not in LOGITS:
            raise ValueError(f"dtype must be one of {', '.join(LOGITS)}, got {self.dtype!r}")
        if self.operation != "categorical" and (self.n, self.method, self.ids) != (None, "gumbel", None):
            raise ValueError("n, method and ids go with categorical, and only with it")
        if bool(self.want) != (self.operation == "draw"):
            raise ValueError("want goes with draw, and only with it")
        if self.nvec is not None and self.operation != "sample_actions":
            raise ValueError("nvec goes with sample_actions, and only with it")

    @property
    def key(self) -> ng.Key:
        """The key that the samples are drawn with."""
        return ng.key(0, "numgumbel.workloads", self.id)

    @property
    def expected(self) -> str:
        """Checksum of the right answer at step 0."""
        return GOLDEN[self.id]

    def missing(self) -> str | None:
        """What is to be installed before this workload can be run.

        Returns
        -------
        str or None
            A line for people; None where nothing is missing.

        Examples
        --------
        >>> from numgumbel import workloads
        >>> workloads.get("rl.b1_a6.f32").missing() is None
        True
        """
        if self.dtype == "bfloat16":
            try:
                importlib.import_module("ml_dtypes")
            except ImportError:
                return f"{self.id} needs bfloat16, of a package that is not there: python -m pip install ml_dtypes"
        return None

    def inputs(self) -> Inputs:
        """Make the logits, and mask and ids where there are any. Nothing is kept: they are made anew by every call.

        Returns
        -------
        Inputs

        Raises
        ------
        ModuleNotFoundError
            Where `missing` says something, with that line.

        Examples
        --------
        >>> from numgumbel import workloads
        >>> logits, mask, rows, cols = workloads.get("rl.b1_a6.f32").inputs()
        >>> logits.shape, logits.dtype, mask
        ((1, 6), dtype('float32'), None)
        """
        if line := self.missing():
            raise ModuleNotFoundError(line, name="ml_dtypes")
        name = 0, "numgumbel.workloads", self.id
        made = np.float64 if self.dtype == "float64" else np.float32
        logits = ng.gumbel(ng.key(*name, "logits"), self.shape, scale=self.scale, dtype=made)
        if self.dtype in ("float16", "bfloat16"):
            logits = logits.astype(self.dtype)
        mask = rows = cols = None
        if self.masked:
            mask = ng.gumbel(ng.key(*name, "mask"), self.shape, dtype=np.float32) > 0
            mask[:, 0] = True
        if self.ids is not None:
            rows = np.arange(FIRST_ROW_ID, FIRST_ROW_ID + self.shape[0], dtype=np.int64)
            level = np.broadcast_to(np.float32(0), (self.shape[0], self.ids))
            cols = ng.gumbel_topk(ng.key(*name, "cols"), level, self.shape[1]).index
        return Inputs(logits, mask, rows, cols)

    def cost(self) -> Cost:
        """Count cells and bytes, from the shapes alone.

        Returns
        -------
        Cost

        Examples
        --------
        >>> from numgumbel import workloads
        >>> workloads.get("vocab.b32_k128256.f32").cost()
        Cost(elements=4104192, bytes_read=16416768, bytes_written=256, philox_calls=513024, elementary=64)
        """
        elements = self.shape[0] * self.shape[1]
        written = sum(ITEMSIZE[dtype] * int(np.prod(shape)) for shape, dtype in self._results().values())
        read = elements * (ITEMSIZE[self.dtype] + self.masked)
        if self.ids is not None:
            read += 8 * (elements + self.shape[0])
        return Cost(elements, read, written, self._philox_calls(), self._elementary())

    def _philox_calls(self) -> int:
        rows, columns = self.shape
        if self.method == "inverse_cdf":
            return rows * (self.n or 1)
        a_row = columns if self.ids is not None else -(-columns // A_CALL)
        return rows * (self.n or 1) * a_row * (2 if self.operation == "gumbel_softmax" else 1)

    def _elementary(self) -> int:
        rows, columns = self.shape
        cells = rows * columns
        if self.operation == "gumbel_softmax":
            return 2 * cells
        if self.method == "inverse_cdf":
            return cells
        chosen = rows * (self.n or 1) * (len(self.nvec) if self.nvec else (self.k or 0) + (self.k is not None) or 1)
        sums = self.operation == "sample_actions" or bool(set(self.want) & set(SUMS))
        return 2 * chosen + (cells + rows * len(self.nvec or (columns,)) if sums else 0)

    def _results(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of every result array, by the name of its field."""
        rows, columns = self.shape
        real = "float64" if self.dtype == "float64" else "float32"
        if self.operation == "categorical":
            return {"index": ((rows,) if self.n is None else (self.n, rows), "int64")}
        if self.operation == "gumbel_softmax":
            return {"sample": ((rows, columns), self.dtype)}
        if self.operation == "draw":
            return {"index": ((rows,), "int64")} | dict.fromkeys(self.want, ((rows,), real))
        if self.operation == "sample_actions":
            shape = (rows,) if self.nvec is None else (rows, len(self.nvec))
            return {"action": (shape, "int64")} | dict.fromkeys(("log_prob", "entropy"), ((rows,), real))
        assert self.k is not None
        return {"index": ((rows, self.k), "int64"), "score": ((rows, self.k), real), "threshold": ((rows,), real)}

    def new_out(self, stream: Any = None) -> Any:
        """Result arrays for `out`, not filled.

        Parameters
        ----------
        stream : Numba's stream, optional
            Makes them in the current GPU's memory, on this stream (0 is the default stream).

        Returns
        -------
        array, or a named tuple of arrays
            As the operation returns it.

        Examples
        --------
        >>> from numgumbel import workloads
        >>> workload = workloads.get("rl.b8_a6.f32")
        >>> out = workload.new_out()
        >>> workload.run(out=out) is out
        True
        """
        arrays: dict[str, Any] = {name: np.empty(shape, dtype) for name, (shape, dtype) in self._results().items()}
        if stream is not None:
            arrays = {name: to_device(array, stream) for name, array in arrays.items()}
        kind = OPERATIONS[self.operation]
        if kind is None:
            (array,) = arrays.values()
            return array
        if kind is ng.Draw:
            arrays["col"] = arrays["index"]  # the same array where ids are positions
        return kind(**arrays)

    def bind(self, inputs: Inputs | None = None, *, out: Any = None, stream: Any = None) -> Callable[..., Any]:
        """The bare call, to be timed: nothing but the function of `numgumbel` with its arguments.

        Parameters
        ----------
        inputs : Inputs, optional
            From `inputs`, or the same arrays of another family; made here when left out.
        out : array, or a named tuple of arrays, optional
            Where results go. With `reuse_out` it is made here when left out.
        stream : Numba's stream, optional
            The call is one on arrays in the current GPU's memory, and is queued on this stream (0 is the default stream);
            inputs in host memory, and those that are left out, are brought there. It does not wait for invalid rows.

        Returns
        -------
        callable
            ``call()`` gives the result that `expected` is of; ``call(step=s)`` gives other draws.

        Examples
        --------
        >>> from numgumbel import workloads
        >>> call = workloads.get("rl.b8_a6.f32").bind()
        >>> call(), call(step=1)
        (array([2, 0, 1, 4, 1, 3, 1, 1]), array([1, 0, 3, 5, 4, 4, 1, 3]))
        """
        arrays: tuple[Any, ...] = self.inputs() if inputs is None else inputs
        if stream is not None:
            arrays = tuple(to_device(array, stream) if isinstance(array, np.ndarray) else array for array in arrays)
        logits, mask, rows, cols = arrays
        if out is None and self.reuse_out:
            out = self.new_out(stream)
        given = {"k": self.k, "n": self.n, "nvec": self.nvec, "mask": mask, "rows": rows, "cols": cols, "out": out}
        given |= {"method": None if self.method == "gumbel" else self.method, "want": self.want or None}
        given["invalid"] = None if stream is None else "mark"
        extra = {name: value for name, value in given.items() if value is not None}
        return functools.partial(getattr(ng, self.operation), self.key, logits, **extra)

    def run(self, inputs: Inputs | None = None, *, out: Any = None, stream: Any = None) -> Any:
        """The result at step 0.

        Parameters
        ----------
        inputs, out, stream
            As in `bind`.

        Returns
        -------
        array, or a named tuple of arrays
            What the operation returns.

        Examples
        --------
        >>> from numgumbel import workloads
        >>> workloads.get("rl.b1_a6.f32").run()
        array([3])
        """
        return self.bind(inputs, out=out, stream=stream)()

    def checksum(self, result: Any) -> str:
        """Hash of a result's shapes, dtypes and bytes.

        Indices count as int64, whatever integers they are kept in. All of a tuple counts, say index, score and threshold of a
        top-k, but for what is None, since it was not wanted.

        Parameters
        ----------
        result : array, or tuple of arrays and None
            As `run` returns it.

        Returns
        -------
        str
            16 hexadecimal digits of BLAKE2b.

        Examples
        --------
        >>> import numpy as np
        >>> from numgumbel import workloads
        >>> workload = workloads.get("rl.b1_a6.f32")
        >>> workload.checksum(np.array([3])) == workload.checksum(np.array([3], np.int32)) == workload.expected
        True
        """
        digest = hashlib.blake2b(digest_size=8, person=b"numgumbel.work")
        for array in result if isinstance(result, tuple) else (result,):
            if array is None:
                continue
            values = np.asarray(array)
            values = np.ascontiguousarray(values, "<i8" if values.dtype.kind in "iu" else values.dtype.newbyteorder("<"))
            digest.update(f"{values.dtype.str}{values.shape}".encode())
            digest.update(values.data)
        return digest.hexdigest()

    def exact(self, result: Any) -> dict[str, Any]:
        """The parts of a result that are the same on every backend: indices, actions, scores and thresholds.

        Parameters
        ----------
        result : array, or named tuple of arrays and None
            As `run` returns it.

        Returns
        -------
        dict of array
            By the name of the field; empty where all is sums.

        Examples
        --------
        >>> from numgumbel import workloads
        >>> workload = workloads.get("rl.b8_a6.actions.f32")
        >>> workload.exact(workload.run())
        {'action': array([4, 0, 2, 2, 1, 3, 2, 0])}
        """
        return {name: part for name, part in self.parts(result).items() if name not in SUMS}

    def parts(self, result: Any) -> dict[str, Any]:
        """The arrays of a result, by the names of their fields.

        Parameters
        ----------
        result : array, or named tuple of arrays and None
            As `run` returns it.

        Returns
        -------
        dict of array
            Without those that were not wanted, and each array once.

        Examples
        --------
        >>> from numgumbel import workloads
        >>> workload = workloads.get("rl.b1_a6.f32")
        >>> workload.parts(workload.run())
        {'index': array([3])}
        """
        names = list(self._results())
        if not isinstance(result, tuple):
            return {names[0]: result}
        return {name: getattr(result, name) for name in names}

    def verify(self, result: Any = None) -> None:
        """Refuse a result that is not the right one.

        Indices, actions, scores and thresholds are the same everywhere. Relaxed samples, log-probabilities, logsumexps and
        entropies are sums, the same on every CPU; those of other backends may differ in the last digits, so compare them with
        `run` on host arrays, and `exact` parts by their checksum.

        Parameters
        ----------
        result : array, or tuple of arrays and None, optional
            At step 0; computed here when left out.

        Raises
        ------
        ValueError
            If the checksum is not the expected one.

        Examples
        --------
        >>> import numpy as np
        >>> from numgumbel import workloads
        >>> workloads.get("rl.b1_a6.f32").verify(np.array([4]))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: rl.b1_a6.f32: the result's checksum is ..., that of the right one ...
        """
        found = self.checksum(self.run() if result is None else result)
        if found != self.expected:
            raise ValueError(f"{self.id}: the result's checksum is {found}, that of the right one {self.expected}")


def _registry(*workloads: Workload) -> Mapping[str, Workload]:
    registry = {workload.id: workload for workload in workloads}
    assert len(registry) == len(workloads), "an id is given twice"
    return MappingProxyType(registry)


WORKLOADS: Mapping[str, Workload] = _registry(
    Workload("rl.b1_a6.f32", "categorical", (1, 6), "an action of one environment"),
    Workload("rl.b8_a6.f32", "categorical", (8, 6), "actions of eight environments"),
    Workload("rl.b4096_a18.f32", "categorical", (4096, 18), "actions of many environments"),
    Workload("rl.b4096_a18.masked.f32", "categorical", (4096, 18), "the same with actions forbidden", masked=True),
    Workload("rl.b8_a6.actions.f32", "sample_actions", (8, 6), "actions with log-probability and entropy"),
    Workload("rl.b4096_a4.actions.f32", "sample_actions", (4096, 4), "the same of many environments"),
    Workload("rl.b4096_a18.actions.f32", "sample_actions", (4096, 18), "the same with more actions"),
    Workload("rl.b4096_a18.actions.masked.f32", "sample_actions", (4096, 18), "the same with actions forbidden", masked=True),
    Workload(
        "rl.b6144_a78.heads7.f32", "sample_actions", (6144, 78), "an action of seven heads a row", nvec=(6, 4, 4, 4, 4, 7, 49)
    ),
    Workload("sim.b65536_a6.f32", "categorical", (65536, 6), "mode choices of a town"),
    Workload("sim.b65536_a6.f64", "categorical", (65536, 6), "the same in float64", dtype="float64"),
    Workload("sim.b1000000_a32.f32", "categorical", (1_000_000, 32), "choices of a city"),
    Workload("sim.b1024_a1000.f32", "categorical", (1024, 1000), "destination choices"),
    Workload("sim.b100000_a30.ids7787.f32", "categorical", (100_000, 30), "30 visible of 7,787 destinations each", ids=7787),
    Workload("sim.b100000_a30.ids7787.f64", "categorical", (100_000, 30), "the same in float64", dtype="float64", ids=7787),
    Workload(
        "sim.b1_k10000.n1000000.inverse_cdf.f32",
        "categorical",
        (1, 10_000),
        "a million draws of one distribution",
        n=1_000_000,
        method="inverse_cdf",
    ),
    Workload("vocab.b32_k128256.f32", "categorical", (32, 128256), "tokens of a large vocabulary"),
    Workload("vocab.b32_k128256.f64", "categorical", (32, 128256), "the same in float64", dtype="float64"),
    Workload("vocab.b32_k128256.bf16", "categorical", (32, 128256), "the same in bfloat16", dtype="bfloat16"),
    Workload("vocab.b32_k128256.f16", "categorical", (32, 128256), "the same in float16", dtype="float16"),
    Workload("vocab.b64_k128256.f32", "categorical", (64, 128256), "tokens of more rows"),
    Workload("vocab.b64_k128256.bf16", "categorical", (64, 128256), "the same in bfloat16", dtype="bfloat16"),
    Workload("vocab.b32_k128256.draw.f32", "draw", (32, 128256), "tokens with log-probability", want=("log_prob", "logsumexp")),
    Workload("vocab.b32_k128256.peaked.f32", "categorical", (32, 128256), "probability on a few tokens", scale=4.0),
    Workload("vocab.b64_k32000.top5.f32", "gumbel_topk", (64, 32000), "five tokens without replacement", k=5),
    Workload("vocab.b64_k32000.top100.f32", "gumbel_topk", (64, 32000), "a hundred tokens without replacement", k=100),
    Workload("vae.b64_k32000.softmax.f32", "gumbel_softmax", (64, 32000), "relaxed tokens"),
    Workload("vae.b1024_k8192.softmax.f32", "gumbel_softmax", (1024, 8192), "relaxed codes, out=", reuse_out=True),
    Workload("long.b1_k40000000.f32", "categorical", (1, 40_000_000), "one long row"),
)
"""All workloads by id, read-only."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "rl.b6144_h7_a78.f32": "rl.b6144_a78.heads7.f32",
        "sim.zones_100000x30of7787.f32": "sim.b100000_a30.ids7787.f32",
        "sim.zones_100000x30of7787.f64": "sim.b100000_a30.ids7787.f64",
        "vae.b1024_k8192.f32": "vae.b1024_k8192.softmax.f32",
    }
)
"""Second names of some workloads, and the ids that they stand for."""


# Checksums of the right answers, written by tests/make_workloads_golden.py and never by hand. A value that changes says that
# the package gives other results than before.
# <golden>
GOLDEN: Mapping[str, str] = MappingProxyType(
    {
        "rl.b1_a6.f32": "8d79d7c9a536460c",
        "rl.b8_a6.f32": "a8049ae5af9689ec",
        "rl.b4096_a18.f32": "818e0719296a759f",
        "rl.b4096_a18.masked.f32": "16debf5bf1f275ab",
        "rl.b8_a6.actions.f32": "9cc9fa13d2fd5418",
        "rl.b4096_a4.actions.f32": "b2d0993e1df5261c",
        "rl.b4096_a18.actions.f32": "8e7f81dc3bc604c4",
        "rl.b4096_a18.actions.masked.f32": "17779c0176014ec8",
        "rl.b6144_a78.heads7.f32": "5c58afd61f848f4b",
        "sim.b65536_a6.f32": "894bad8edf0a9475",
        "sim.b65536_a6.f64": "ad1f7e3c1eecbf6a",
        "sim.b1000000_a32.f32": "c64a736e7964ac86",
        "sim.b1024_a1000.f32": "0dd16917883a3201",
        "sim.b100000_a30.ids7787.f32": "7e26223d83f61ef3",
        "sim.b100000_a30.ids7787.f64": "8b5eeae293c5e56e",
        "sim.b1_k10000.n1000000.inverse_cdf.f32": "74d15fd3b03d4336",
        "vocab.b32_k128256.f32": "aa0afab880715dfe",
        "vocab.b32_k128256.f64": "dda42314eff05b37",
        "vocab.b32_k128256.bf16": "465c779d2cfa5fbb",
        "vocab.b32_k128256.f16": "64103edb38c12d15",
        "vocab.b64_k128256.f32": "96d51aa142d8e718",
        "vocab.b64_k128256.bf16": "77449761dfe05b64",
        "vocab.b32_k128256.draw.f32": "7bb765c4a51fbaa9",
        "vocab.b32_k128256.peaked.f32": "9badb36d70b1f54d",
        "vocab.b64_k32000.top5.f32": "e82f18a7aa525f09",
        "vocab.b64_k32000.top100.f32": "af9ad07d09c5c891",
        "vae.b64_k32000.softmax.f32": "a502518de9ee04d4",
        "vae.b1024_k8192.softmax.f32": "3fe8d37afbd30e59",
        "long.b1_k40000000.f32": "52f8e1abeaf0ca81",
    }
)
# </golden>


def get(id: str) -> Workload:
    """The workload of an id.

    Parameters
    ----------
    id : str
        One of the keys of `WORKLOADS`, or of `ALIASES`.

    Returns
    -------
    Workload

    Raises
    ------
    ValueError
        For an id that is none, with those that are.

    Examples
    --------
    >>> from numgumbel import workloads
    >>> workloads.get("sim.b65536_a6.f32").shape
    (65536, 6)
    """
    id = ALIASES.get(id, id)
    if id not in WORKLOADS:
        raise ValueError(f"no workload has the id {id!r}; there are {', '.join(WORKLOADS)}")
    return WORKLOADS[id]


def recompute(ids: Iterable[str] | None = None) -> dict[str, str]:
    """Run workloads and return the checksums of their results.

    Parameters
    ----------
    ids : iterable of str, optional
        Which; when left out, all of which nothing is missing here.

    Returns
    -------
    dict of str
        Checksum by id.

    Raises
    ------
    ValueError
        For an id that is none.
    ModuleNotFoundError
        For one that cannot be run here, see `Workload.missing`.

    Examples
    --------
    >>> from numgumbel import workloads
    >>> workloads.recompute(["rl.b1_a6.f32"]) == {"rl.b1_a6.f32": workloads.get("rl.b1_a6.f32").expected}
    True
    """
    chosen = [w for w in WORKLOADS.values() if not w.missing()] if ids is None else [get(id) for id in ids]
    return {workload.id: workload.checksum(workload.run()) for workload in chosen}


def main() -> int:
    """Print the table of all workloads, and a line for each that cannot be run here; 1 where an answer is wrong."""
    found = recompute()
    table = Table("id", "operation", box=None, pad_edge=False)
    for name in ("shape", "bytes read", "written"):
        table.add_column(name, justify="right")
    table.add_column("checksum")
    table.add_column("right")
    for id, checksum in found.items():
        workload, cost = WORKLOADS[id], WORKLOADS[id].cost()
        right = checksum == GOLDEN.get(workload.id)
        shape = " x ".join(f"{length:,}" for length in workload.shape)
        size = f"{cost.bytes_read:,}", f"{cost.bytes_written:,}"
        table.add_row(workload.id, workload.operation, shape, *size, checksum, "yes" if right else "[red]no[/red]")
    console = Console(highlight=False)
    console.width = max(console.width, 120)  # ids and checksums are of no use cut short
    console.print(table)
    for line in filter(None, (workload.missing() for workload in WORKLOADS.values())):
        console.print(line)
    return int(any(checksum != GOLDEN.get(id) for id, checksum in found.items()))


if __name__ == "__main__":
    sys.exit(main())
