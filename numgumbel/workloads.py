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
Cost(elements=48, bytes_read=192, bytes_written=64)

Ids say family, rows and columns, what is special, and precision: ``vocab.b32_k128256.peaked.f32``. Families: ``rl`` action
sampling, ``sim`` simulated choices, ``vocab`` tokens, ``vae`` relaxed latent codes, ``long`` one long row.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

import numgumbel as ng

__all__ = ["WORKLOADS", "Cost", "Inputs", "Workload", "get", "recompute"]

OPERATIONS = ("categorical", "gumbel_softmax", "gumbel_topk")


@dataclass(frozen=True)
class Cost:
    """What a workload must do at least.

    Attributes
    ----------
    elements : int
        Cells of the logits: rows times columns.
    bytes_read : int
        Bytes of logits and mask.
    bytes_written : int
        Bytes of the result.
    """

    elements: int
    bytes_read: int
    bytes_written: int


class Inputs(NamedTuple):
    """Arrays that a workload reads: logits, and a mask or None."""

    logits: np.ndarray
    mask: np.ndarray | None


@dataclass(frozen=True)
class Workload:
    """One problem: an operation on logits of one shape.

    Attributes
    ----------
    id : str
        Its name, see the module.
    operation : str
        ``"categorical"``, ``"gumbel_softmax"`` or ``"gumbel_topk"``, a function of `numgumbel`.
    shape : tuple of int
        Rows and columns.
    what : str
        One line for people.
    dtype : str
        ``"float32"`` or ``"float64"``.
    scale : float
        The logits are the field times this. At 1 they fall off as log-frequencies of words do; at 4 a few categories hold
        nearly all of a row's probability.
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

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise ValueError(f"operation must be one of {', '.join(OPERATIONS)}, got {self.operation!r}")
        if (self.k is not None) != (self.operation == "gumbel_topk"):
            raise ValueError("k goes with gumbel_topk, and only with it")
        if self.operation != "categorical" and (self.n is not None or self.method != "gumbel"):
            raise ValueError("n and method go with categorical, and only with it")

    @property
    def key(self) -> ng.Key:
        """The key that the samples are drawn with."""
        return ng.key(0, "numgumbel.workloads", self.id)

    @property
    def expected(self) -> str:
        """Checksum of the right answer at step 0."""
        return GOLDEN[self.id]

    def inputs(self) -> Inputs:
        """Make the logits, and the mask where there is one. Nothing is kept: they are made anew by every call.

        Returns
        -------
        Inputs

        Examples
        --------
        >>> from numgumbel import workloads
        >>> logits, mask = workloads.get("rl.b1_a6.f32").inputs()
        >>> logits.shape, logits.dtype, mask
        ((1, 6), dtype('float32'), None)
        """
        name = 0, "numgumbel.workloads", self.id
        logits = ng.gumbel(ng.key(*name, "logits"), self.shape, scale=self.scale, dtype=self.dtype)
        if not self.masked:
            return Inputs(logits, None)
        mask = ng.gumbel(ng.key(*name, "mask"), self.shape, dtype=np.float32) > 0
        mask[:, 0] = True
        return Inputs(logits, mask)

    def cost(self) -> Cost:
        """Count cells and bytes, from the shapes alone.

        Returns
        -------
        Cost

        Examples
        --------
        >>> from numgumbel import workloads
        >>> workloads.get("vocab.b32_k128256.f32").cost()
        Cost(elements=4104192, bytes_read=16416768, bytes_written=256)
        """
        elements = self.shape[0] * self.shape[1]
        written = sum(np.dtype(dtype).itemsize * int(np.prod(shape)) for shape, dtype in self._results())
        return Cost(elements, elements * (np.dtype(self.dtype).itemsize + self.masked), written)

    def _results(self) -> list[tuple[tuple[int, ...], str]]:
        """Shape and dtype of every result array."""
        rows, columns = self.shape
        if self.operation == "categorical":
            return [((rows,) if self.n is None else (self.n, rows), "int64")]
        if self.operation == "gumbel_softmax":
            return [((rows, columns), self.dtype)]
        assert self.k is not None
        return [((rows, self.k), "int64"), ((rows, self.k), self.dtype), ((rows,), self.dtype)]

    def new_out(self) -> Any:
        """Result arrays for `out`, not filled.

        Returns
        -------
        array or TopK

        Examples
        --------
        >>> from numgumbel import workloads
        >>> workload = workloads.get("rl.b8_a6.f32")
        >>> out = workload.new_out()
        >>> workload.run(out=out) is out
        True
        """
        arrays = [np.empty(shape, dtype) for shape, dtype in self._results()]
        return arrays[0] if self.k is None else ng.TopK(*arrays)

    def bind(self, inputs: Inputs | None = None, *, out: Any = None) -> Callable[..., Any]:
        """The bare call, to be timed: nothing but the function of `numgumbel` with its arguments.

        Parameters
        ----------
        inputs : Inputs, optional
            From `inputs`, or the same arrays of another family; made here when left out.
        out : array or TopK, optional
            Where results go. With `reuse_out` it is made here when left out.

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
        logits, mask = self.inputs() if inputs is None else inputs
        if out is None and self.reuse_out:
            out = self.new_out()
        given = {"k": self.k, "n": self.n, "mask": mask, "out": out, "method": None if self.method == "gumbel" else self.method}
        extra = {name: value for name, value in given.items() if value is not None}
        return functools.partial(getattr(ng, self.operation), self.key, logits, **extra)

    def run(self, inputs: Inputs | None = None, *, out: Any = None) -> Any:
        """The result at step 0.

        Parameters
        ----------
        inputs, out
            As in `bind`.

        Returns
        -------
        array or TopK
            What the operation returns.

        Examples
        --------
        >>> from numgumbel import workloads
        >>> workloads.get("rl.b1_a6.f32").run()
        array([3])
        """
        return self.bind(inputs, out=out)()

    def checksum(self, result: Any) -> str:
        """Hash of a result's shapes, dtypes and bytes.

        Indices count as int64, whatever integers they are kept in. All of a top-k counts: index, score and threshold.

        Parameters
        ----------
        result : array, or tuple of arrays
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
            values = np.asarray(array)
            values = np.ascontiguousarray(values, "<i8" if values.dtype.kind in "iu" else values.dtype.newbyteorder("<"))
            digest.update(f"{values.dtype.str}{values.shape}".encode())
            digest.update(values.data)
        return digest.hexdigest()

    def verify(self, result: Any = None) -> None:
        """Refuse a result that is not the right one.

        Indices, scores and thresholds are the same everywhere. A relaxed sample is the same on every CPU; sums of other
        backends may differ from it in the last digits, so compare those with `run` on host arrays.

        Parameters
        ----------
        result : array, or tuple of arrays, optional
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
    Workload("sim.b65536_a6.f32", "categorical", (65536, 6), "mode choices of a town"),
    Workload("sim.b1000000_a32.f32", "categorical", (1_000_000, 32), "choices of a city"),
    Workload("sim.b1024_a1000.f32", "categorical", (1024, 1000), "destination choices"),
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
    Workload("vocab.b32_k128256.peaked.f32", "categorical", (32, 128256), "probability on a few tokens", scale=4.0),
    Workload("vocab.b64_k32000.top5.f32", "gumbel_topk", (64, 32000), "five tokens without replacement", k=5),
    Workload("vocab.b64_k32000.top100.f32", "gumbel_topk", (64, 32000), "a hundred tokens without replacement", k=100),
    Workload("vae.b64_k32000.softmax.f32", "gumbel_softmax", (64, 32000), "relaxed tokens"),
    Workload("vae.b1024_k8192.softmax.f32", "gumbel_softmax", (1024, 8192), "relaxed codes, out=", reuse_out=True),
    Workload("long.b1_k40000000.f32", "categorical", (1, 40_000_000), "one long row"),
)
"""All workloads by id, read-only."""


# Checksums of the right answers, written by tests/make_workloads_golden.py and never by hand. A value that changes says that
# the package gives other results than before.
# <golden>
GOLDEN: Mapping[str, str] = MappingProxyType(
    {
        "rl.b1_a6.f32": "8d79d7c9a536460c",
        "rl.b8_a6.f32": "a8049ae5af9689ec",
        "rl.b4096_a18.f32": "818e0719296a759f",
        "rl.b4096_a18.masked.f32": "16debf5bf1f275ab",
        "sim.b65536_a6.f32": "894bad8edf0a9475",
        "sim.b1000000_a32.f32": "c64a736e7964ac86",
        "sim.b1024_a1000.f32": "0dd16917883a3201",
        "sim.b1_k10000.n1000000.inverse_cdf.f32": "74d15fd3b03d4336",
        "vocab.b32_k128256.f32": "aa0afab880715dfe",
        "vocab.b32_k128256.f64": "dda42314eff05b37",
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
        One of the keys of `WORKLOADS`.

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
    if id not in WORKLOADS:
        raise ValueError(f"no workload has the id {id!r}; there are {', '.join(WORKLOADS)}")
    return WORKLOADS[id]


def recompute(ids: Iterable[str] | None = None) -> dict[str, str]:
    """Run workloads and return the checksums of their results.

    Parameters
    ----------
    ids : iterable of str, optional
        Which; all when left out.

    Returns
    -------
    dict of str
        Checksum by id.

    Examples
    --------
    >>> from numgumbel import workloads
    >>> workloads.recompute(["rl.b1_a6.f32"]) == {"rl.b1_a6.f32": workloads.get("rl.b1_a6.f32").expected}
    True
    """
    chosen = [get(id) for id in (WORKLOADS if ids is None else ids)]
    return {workload.id: workload.checksum(workload.run()) for workload in chosen}


def main() -> int:
    """Print the table of all workloads; 1 where an answer is wrong."""
    found = recompute()
    table = Table("id", "operation", box=None, pad_edge=False)
    for name in ("shape", "bytes read", "written"):
        table.add_column(name, justify="right")
    table.add_column("checksum")
    table.add_column("right")
    for workload in WORKLOADS.values():
        cost, checksum = workload.cost(), found[workload.id]
        right = checksum == GOLDEN.get(workload.id)
        shape = " x ".join(f"{length:,}" for length in workload.shape)
        size = f"{cost.bytes_read:,}", f"{cost.bytes_written:,}"
        table.add_row(workload.id, workload.operation, shape, *size, checksum, "yes" if right else "[red]no[/red]")
    console = Console(highlight=False)
    console.width = max(console.width, 120)  # ids and checksums are of no use cut short
    console.print(table)
    return int(found != dict(GOLDEN))


if __name__ == "__main__":
    sys.exit(main())
