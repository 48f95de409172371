"""What is timed on a GPU: the frozen workloads, and those that only a GPU is asked about."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import numgumbel as ng
from numgumbel.workloads import WORKLOADS, Workload

STEP = 3  # of the draw that is compared with the CPU's
QUICK_ROWS, QUICK_COLUMNS, QUICK_DRAWS = 6, 2100, 40  # columns: more than a warp has, so that blocks share rows here too


@dataclass(frozen=True)
class Case:
    """A call of one function of `numgumbel`.

    Attributes
    ----------
    id : str
        As those of the frozen workloads.
    operation : str
        The function.
    shape : tuple of int
        Rows and columns; of ragged rows, rows and the longest.
    dtype : str
        Of the logits.
    key : Key
        Of the draws.
    make : callable
        Gives the arrays by the names of arguments, in host memory.
    options : dict
        Further arguments.
    """

    id: str
    operation: str
    shape: tuple[int, int]
    dtype: str
    key: ng.Key
    make: Callable[[], dict[str, np.ndarray]]
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, arrays: dict[str, Any], step: int, out: Any = None) -> Any:
        """Make the call. Nobody waits for invalid rows."""
        given = self.options if out is None else {**self.options, "out": out}
        return getattr(ng, self.operation)(self.key, **arrays, **given, step=step, invalid="mark")


@dataclass(frozen=True)
class Problem:
    """A case with its arrays, the CPU's answer at `STEP`, and whatever contenders have put on the GPU."""

    case: Case
    arrays: dict[str, np.ndarray]
    expected: Any
    placed: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, case: Case) -> "Problem":
        """Make arrays and answer."""
        arrays = case.make()
        return cls(case, arrays, case.run(arrays, STEP))

    def on(self, place: str, to: Callable[[np.ndarray], Any]) -> dict[str, Any]:
        """The arrays in a library's memory, brought there once."""
        if place not in self.placed:
            self.placed[place] = {name: to(array) for name, array in self.arrays.items()}
        return self.placed[place]

    def results(self) -> dict[str, np.ndarray]:
        """The arrays of the answer by name; column ids that are the index are none of their own."""
        if not isinstance(self.expected, tuple):
            return {"result": self.expected}
        named = self.expected._asdict()
        return {name: array for name, array in named.items() if array is not None and name != "col"}

    def empty(self, new: Callable[[np.ndarray], Any]) -> Any:
        """Arrays for ``out``, each made by `new` from the one of the answer."""
        made = {name: new(array) for name, array in self.results().items()}
        if not isinstance(self.expected, tuple):
            return made["result"]
        return type(self.expected)(**{**dict.fromkeys(self.expected._fields), **made})

    def bytes_moved(self) -> tuple[int, int]:
        """Bytes that must be read and written at least."""
        return sum(a.nbytes for a in self.arrays.values()), sum(a.nbytes for a in self.results().values())


def case_of(workload: Workload, **more: Any) -> Case:
    """The case of a workload, with further arguments."""
    given = {"k": workload.k, "n": workload.n, "nvec": workload.nvec, "want": workload.want or None}
    given["method"] = None if workload.method == "gumbel" else workload.method

    def make() -> dict[str, np.ndarray]:
        return {name: array for name, array in workload.inputs()._asdict().items() if array is not None}

    options = {name: value for name, value in given.items() if value is not None} | more
    return Case(workload.id, workload.operation, workload.shape, workload.dtype, workload.key, make, options)


def ragged(id: str, rows: int, longest: int) -> Case:
    """Rows of 1 to `longest` categories, all lengths alike likely."""
    key = ng.key(0, "numgumbel.workloads", id)

    def make() -> dict[str, np.ndarray]:
        lengths = 1 + ng.categorical(key, np.zeros((rows, longest), np.float32), step=1)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return {"logits": ng.gumbel(key, (1, int(offsets[-1])), step=2, dtype=np.float32)[0], "offsets": offsets}

    return Case(id, "categorical_ragged", (rows, longest), "float32", key, make)


def conditional(workload: Workload) -> Case:
    """Noise given the choices that one draw of a workload gives."""

    def make() -> dict[str, np.ndarray]:
        logits = workload.inputs().logits
        return {"logits": logits, "index": ng.categorical(workload.key, logits, step=1)}

    return Case(workload.id, "conditional_gumbel", workload.shape, workload.dtype, workload.key, make)


def quick(workload: Workload) -> Workload:
    """A small one of the same kind: it shows that all runs, and its times say nothing."""
    rows, columns = workload.shape
    shape = min(rows, QUICK_ROWS), min(columns, QUICK_COLUMNS)
    return dataclasses.replace(workload, shape=shape, n=workload.n and min(workload.n, QUICK_DRAWS))


# Those that a GPU is asked about, and no other machine.
VOCABULARY = [
    Workload(f"vocab.b512_k128256.{short}", "categorical", (512, 128256), "", dtype)
    for short, dtype in (("f32", "float32"), ("bf16", "bfloat16"))
]
ONE_ROW = Workload("vocab.b1_k128256.f32", "categorical", (1, 128256), "")
SHARPER = Workload("vae.b1024_k8192.softmax.tau05.f32", "gumbel_softmax", (1024, 8192), "")
INVERSE_CDF = Workload("sim.b1024_a1000.inverse_cdf.f32", "categorical", (1024, 1000), "", method="inverse_cdf")
CONDITIONAL = Workload("sim.b1024_a1000.conditional.f32", "categorical", (1024, 1000), "")


def cases(small: bool = False) -> dict[str, Case]:
    """All cases by id."""
    size = quick if small else lambda workload: workload
    made = [case_of(size(workload)) for workload in (*VOCABULARY, ONE_ROW, *WORKLOADS.values(), INVERSE_CDF)]
    made += [case_of(size(SHARPER), tau=0.5), conditional(size(CONDITIONAL))]
    made.append(ragged("sim.b100000.ragged.f32", *((QUICK_ROWS, 60) if small else (100_000, 60))))
    return {case.id: case for case in made}
