"""The command ``numgumbel asm``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..files import writable
from .dispatchers import SHORT

if TYPE_CHECKING:
    from . import assembly, ptx

DTYPES = {short: name for name, short in SHORT.items()}
KINDS = {"cpu": ("asm", "llvm"), "gpu": ("ptx", "llvm", "sass")}
# Columns of a summary: names are not cut smaller than in these, nor at all where no person is looking.
NARROWEST, UNBROKEN = 80, 1000
COMMENT = {"asm": "#", "llvm": ";", "ptx": "//", "sass": "//"}


@click.command()
@click.argument("operation", metavar="OPERATION")
@click.option(
    "--dtype", type=click.Choice([*DTYPES, *DTYPES.values()]), default="f32", show_default=True, help="Of the logits."
)
@click.option("--backend", type=click.Choice(list(KINDS)), default="cpu", show_default=True, help="Compiled for what.")
@click.option(
    "--kind",
    type=click.Choice(["llvm", "asm", "ptx", "sass"]),
    default=None,
    help="llvm for both backends, asm for cpu, ptx and sass for gpu.  [default: asm or ptx]",
)
@click.option("--kernel", "only", metavar="NAME", default=None, help="This kernel only.")
@click.option("--arch", metavar="sm_NN", default=None, help="Compute capability of the GPU.  [default: sm_90]")
@click.option("--summary", is_flag=True, help="A table of all kernels in place of the text.")
@click.option("--out", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the text there.")
def asm(
    operation: str,
    dtype: str,
    backend: str,
    kind: str | None,
    only: str | None,
    arch: str | None,
    summary: bool,
    path: Path | None,
) -> None:
    """Print the machine code of the kernels that OPERATION may run, each below comments that sum it up.

    OPERATION is a function of the package, such as categorical; wrong ones are answered with the list. No GPU is needed for the
    code of one, but numba-cuda is; NVIDIA's assembler, if it is there, tells registers and spills.

    A spill is what LLVM or ptxas calls one; a buffer on the stack is none. Packed and scalar are instructions of float
    arithmetic, without moves and conversions. The main loop is the innermost one with the most vector instructions; the
    summary of one --kernel has all that have any.
    """
    dtype = DTYPES.get(dtype, dtype)
    kind = kind or KINDS[backend][0]
    if kind not in KINDS[backend]:
        raise click.ClickException(f"--kind {kind} is not for --backend {backend}, which has {', '.join(KINDS[backend])}")
    if arch is not None and backend != "gpu":
        raise click.ClickException("--arch is for --backend gpu: the CPU's code is for this processor")
    writable(path)
    try:
        from .. import kernels_of

        kernels = kernels_of(operation, dtype, backend)
        if only is not None and only not in kernels:
            raise ValueError(f"--kernel must be one of {', '.join(kernels)}, got {only!r:.60}")
        names = [only] if only is not None else list(kernels)
        read = _cpu(kernels, kind) if backend == "cpu" else _gpu(kernels, kind, arch)
        read_all = ((name, *_waiting(read, name)) for name in names)
        _show(read_all, kind, backend, dtype, summary, path)
    except (TypeError, ValueError, ImportError, RuntimeError) as problem:
        raise click.ClickException(str(problem)) from None


def _waiting(read: Callable[[str], tuple[str, Any]], name: str) -> tuple[str, Any]:
    """The kernel's text and figures; a line on standard error meanwhile, if that is a terminal."""
    from rich.console import Console

    with Console(stderr=True).status(f"compiling {name}"):
        return read(name)


def _show(found: Iterator[tuple[str, str, Any]], kind: str, backend: str, dtype: str, summary: bool, path: Path | None) -> None:
    """Print or write all texts, or a table."""
    rows, texts = [], []
    for name, text, figures in found:
        comments = "".join(f"{COMMENT[kind]} {line}\n" for line in [f"{name}, {dtype}", *figures.lines()])
        whole = f"{comments}\n{text.rstrip()}\n\n"
        rows.append((name, figures))
        if path is not None:
            texts.append(whole)
        elif not summary:
            click.echo(whole, nl=False)
    if path is not None:
        path.write_text("".join(texts))
    if summary:
        from rich.console import Console

        console = Console(highlight=False, markup=False)
        console.width = max(console.width, NARROWEST) if console.is_terminal or "COLUMNS" in os.environ else UNBROKEN
        for table in (_cpu_tables if backend == "cpu" else _gpu_tables)(rows):
            console.print(table)
    if path is not None:
        click.echo(f"written to {path}")


class _CpuFigures:
    """What is said of a kernel for the CPU."""

    def __init__(self, text: str) -> None:
        from . import assembly

        found = assembly.functions(text)
        self.total: assembly.Counts = assembly.total(found)
        self.loops: list[assembly.Loop] = assembly.vector_loops(found)
        self.names = [each.name for each in found]

    def lines(self) -> list[str]:
        """As lines of text."""
        all_of = self.total
        lines = [
            f"functions: {', '.join(self.names)}",
            f"widest vectors: {all_of.width} bits; vector instructions: {_wide(all_of)}",
            f"float arithmetic: {all_of.packed} packed, {all_of.scalar} scalar",
            f"instructions: {all_of.instructions}, of them {all_of.loads} loads, {all_of.stores} stores, {all_of.calls} calls",
            f"spills: {all_of.spills} of {all_of.spilled_bytes} bytes in all, {all_of.reloads} reloads",
        ]
        for main in self.loops[:1]:
            inside = main.counts
            lines += [
                f"main loop: {main.label} in {main.function}, {inside.instructions} instructions: {_wide(inside)}",
                f"main loop: {inside.packed} packed, {inside.scalar} scalar, {inside.loads} loads, {inside.stores} stores, "
                f"{inside.spills} spills, {inside.reloads} reloads",
            ]
        return lines


def _wide(counts: assembly.Counts) -> str:
    return ", ".join(f"{count} of {bits} bits" for bits, count in counts.wide.items() if count) or "none"


def _cpu(kernels: Any, kind: str) -> Callable[[str], tuple[str, _CpuFigures]]:
    from .dispatchers import annotated

    def read(name: str) -> tuple[str, _CpuFigures]:
        dispatcher = kernels[name]
        with annotated():
            (text,) = dispatcher.inspect_asm().values()
        figures = _CpuFigures(text)
        if kind == "llvm":
            (text,) = dispatcher.inspect_llvm().values()
        return text, figures

    return read


def _table(title: str, first: str, *columns: str) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False, collapse_padding=True)
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _cpu_tables(rows: list[tuple[str, _CpuFigures]]) -> list[Any]:
    columns = "instr.", "bits", "packed", "scalar", "loads", "stores", "spills"
    whole = _table("whole kernels", "kernel", *columns, "calls")
    for name, figures in rows:
        whole.add_row(name, *_cells(figures.total), str(figures.total.calls))
    if len(rows) == 1:
        loops = _table("\nits innermost loops with vectors", "function, label", *columns, "reloads")
        for loop in rows[0][1].loops:
            loops.add_row(f"{loop.function}, {loop.label}", *_cells(loop.counts), str(loop.counts.reloads))
    else:
        loops = _table("\nmain loops", "kernel: function", *columns, "reloads")
        for name, figures in rows:
            for loop in figures.loops[:1]:
                place = name if loop.function == name else f"{name}: {loop.function}"
                loops.add_row(place, *_cells(loop.counts), str(loop.counts.reloads))
    return [whole, loops] if loops.row_count else [whole]


def _cells(counts: assembly.Counts) -> list[str]:
    names = "instructions", "width", "packed", "scalar", "loads", "stores", "spills"
    return [str(getattr(counts, name)) for name in names]


class _GpuFigures:
    """What is said of a kernel for the GPU."""

    def __init__(self, arch: str, read: ptx.Reading, said: ptx.Assembled | None) -> None:
        self.arch, self.read, self.said = arch, read, said

    def lines(self) -> list[str]:
        """As lines of text."""
        from .ptx import COMPILERS

        read, said = self.read, self.said
        return [
            f"{self.arch}, ptxas: {said.registers} registers a thread, {said.spilled} bytes spilled, {said.shared} shared"
            if said is not None
            else f"{self.arch}; registers are virtual: {COMPILERS.format('ptxas')}",
            f"instructions of PTX: {read.instructions}, of them {read.calls} calls, {read.barriers} barriers",
            f"fused multiply-adds: {read.fma['f32']} float32, {read.fma['f64']} float64",
            f"global memory, instructions by bytes a thread: loads {_bytes(read.loads)}; stores {_bytes(read.stores)}",
            f"shared memory: {read.shared} instructions; local: {read.local}",
        ]


def _bytes(counts: dict[int, int]) -> str:
    return ", ".join(f"{count} of {size}" for size, count in reversed(counts.items())) or "none"


def _gpu(kernels: Any, kind: str, arch: str | None) -> Callable[[str], tuple[str, _GpuFigures]]:
    from . import ptx
    from .gpu import capability_of

    arch = arch or "sm_90"
    capability = capability_of(arch)

    def read(name: str) -> tuple[str, _GpuFigures]:
        (text,) = kernels[name].inspect_asm(capability).values()
        made = ptx.assembled(text, capability)
        figures = _GpuFigures(arch, ptx.read(text), None if made is None else made[0])
        if kind == "sass":
            if made is None:
                raise ImportError(ptx.COMPILERS.format("ptxas"))
            text = ptx.disassembled(made[1])
        elif kind == "llvm":
            (text,) = kernels[name].inspect_llvm().values()
        return text, figures

    return read


def _gpu_tables(rows: list[tuple[str, _GpuFigures]]) -> list[Any]:
    from .ptx import COMPILERS

    columns = "instr.", "registers", "spilled", "shared", "loads", "wide", "stores", "wide", "fma"
    table = _table(f"{rows[0][1].arch}; wide: of 16 bytes a thread", "kernel", *columns)
    for name, figures in rows:
        read, said = figures.read, figures.said
        known = ("?",) * 3 if said is None else (said.registers, said.spilled, said.shared)
        moved = [each for by in (read.loads, read.stores) for each in (sum(by.values()), by.get(16, 0))]
        table.add_row(name, *map(str, (read.instructions, *known, *moved, sum(read.fma.values()))))
    return [table] if all(figures.said for _, figures in rows) else [table, COMPILERS.format("ptxas")]
