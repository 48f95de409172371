"""What has been compiled, or loaded from the cache, in this process."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable, Sequence
from typing import Any, overload

__all__ = ["Compilation", "CompileReport", "compile_report"]


@dataclasses.dataclass(frozen=True)
class Compilation:
    """One kernel made ready for one signature.

    Attributes
    ----------
    kernel : str
        Its name, such as "argmax_rows".
    dtype : str or None
        Of the logits; None for a kernel that reads none.
    signature : str
        Types of its arguments. A float16 is read as uint16, a bfloat16 as int16.
    backend : str
        "cpu" or "gpu".
    seconds : float
        From being asked for to being ready.
    cache : str
        "hit" where the cache folder had it, "miss" where it was compiled and put there, "off" where no folder is used.
    """

    kernel: str
    dtype: str | None
    signature: str
    backend: str
    seconds: float
    cache: str

    @property
    def label(self) -> str:
        """Kernel and dtype, such as "argmax_rows[float32]"."""
        return self.kernel if self.dtype is None else f"{self.kernel}[{self.dtype}]"


class CompileReport(Sequence[Compilation]):
    """Compilations in the order in which they were made; prints as a table.

    Attributes
    ----------
    total_seconds : float
        Of all of them.
    """

    def __init__(self, compilations: Iterable[Compilation]) -> None:
        self._compilations = tuple(compilations)

    @overload
    def __getitem__(self, place: int) -> Compilation: ...

    @overload
    def __getitem__(self, place: slice) -> CompileReport: ...

    def __getitem__(self, place: int | slice) -> Compilation | CompileReport:
        """One, or a report of some."""
        found = self._compilations[place]
        return found if isinstance(found, Compilation) else CompileReport(found)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._compilations)

    def __eq__(self, other: object) -> bool:
        """Whether the same is in it."""
        return isinstance(other, CompileReport) and self._compilations == other._compilations

    def __hash__(self) -> int:
        """That of what is in it."""
        return hash(self._compilations)

    @property
    def total_seconds(self) -> float:
        """Seconds of all of them."""
        return sum(each.seconds for each in self)

    def __repr__(self) -> str:
        """The table."""
        from rich.console import Console
        from rich.table import Table

        table = Table("kernel", "backend", "cache", box=None, pad_edge=False)
        table.add_column("s", justify="right")
        for each in self:
            table.add_row(each.label, each.backend, each.cache, f"{each.seconds:.3f}")
        table.add_row(f"{len(self)} in all", "", "", f"{self.total_seconds:.3f}")
        text = io.StringIO()
        Console(file=text, width=80, highlight=False, markup=False, color_system=None).print(table)
        return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())


def compile_report() -> CompileReport:
    """Every kernel that this process has compiled or loaded, with its seconds and whether the cache had it.

    An entry is made when a kernel is, and costs a call afterwards nothing. Kernels are compiled when first needed, so that
    before any call there are none; `warmup` makes them ready ahead. What `kernels_of` compiles anew only to be read, and what a
    process writes with `numgumbel.nb`, is not among them.

    Returns
    -------
    CompileReport
        A sequence of `Compilation`, in order; printed, a table.

    Examples
    --------
    >>> import numgumbel as ng
    >>> seconds = ng.warmup("gumbel", "float32")
    >>> report = ng.compile_report()
    >>> found = {each.label: each for each in report}["noise_rows[float32]"]
    >>> found.backend, found.cache in ("hit", "miss", "off"), 0 < found.seconds <= report.total_seconds
    ('cpu', True, True)
    """
    return since(0)


def since(place: int) -> CompileReport:
    """The report from a place on."""
    from ..kernels.journal import entries

    return CompileReport(
        Compilation(
            each.kernel,
            None if each.dtype is None else str(each.dtype),
            signature_text(each.arguments),
            each.backend,
            each.seconds,
            each.cache,
        )
        for each in entries[place:]
    )


def so_far() -> int:
    """How many compilations there are: where those to come begin."""
    from ..kernels.journal import entries

    return len(entries)


def signature_text(arguments: Iterable[Any]) -> str:
    """Numba types in short: ``uint32, int64[:, :]``; layouts are any, and are left out."""

    def short(kind: Any) -> str:
        axes = getattr(kind, "ndim", None)
        return str(kind) if axes is None else f"{kind.dtype}[{', '.join(':' * axes)}]"

    return ", ".join(map(short, arguments))
