"""The command line: ``numgumbel`` ``sample``, ``info``, ``warmup``, ``verify``, ``bench`` and ``asm``."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import numgumbel as ng

from .bench.command import bench
from .files import Block, CsvResult, CsvRows, FileError, NpyResult, NpyRows, masked_blocks, open_mask, open_rows, result_file
from .inspecting.command import DTYPES, asm
from .inspecting.report import since, so_far
from .threads import available, get_num_threads
from .verify.command import verify

# Bytes of one block of rows, input or output, whichever is larger.
BLOCK_BYTES = 1 << 23
# Categories listed in the table before the rest is summed up.
LISTED = 20
PATIENCE_SECONDS = 1.0


class Refused(click.ClickException):
    """Wrong input: one line, exit code 2."""

    exit_code = 2


def _threads() -> int:
    """Threads that a call may use; refuses an environment variable that is no number of threads."""
    try:
        return get_num_threads()
    except ValueError as problem:
        raise Refused(str(problem)) from None


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(ng.__version__, prog_name="numgumbel")
def cli() -> None:
    """Per-row Gumbel noise fused with argmax, softmax and top-k."""


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--probs", is_flag=True, help="The file holds probabilities (weights of 0 or more), not logits.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the key.")
@click.option(
    "--stream",
    multiple=True,
    metavar="PART",
    help="Part of the stream's name, e.g. mode_choice; may be repeated. An integer such as 2030 makes an integer part.",
)
@click.option("--step", type=int, default=0, show_default=True, help="Step of the first draw.")
@click.option(
    "--temperature", type=float, default=None, help="Temperature of the choices; 0 takes the largest logit.  [default: 1]"
)
@click.option("--n", "draws", type=int, default=None, help="Number of draws, at successive steps.  [default: 1]")
@click.option("--topk", "k", type=int, default=None, metavar="K", help="K categories a row without replacement, best first.")
@click.option(
    "--softmax", "tau", type=float, default=None, metavar="TAU", help="Relaxed samples at temperature TAU in place of choices."
)
@click.option(
    "--mask",
    "mask_path",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Allowed categories: .npy (bool, int8, uint8) or .csv of 0 and 1, of the file's shape or one row for all.",
)
@click.option(
    "--id-column", default=None, metavar="NAME", help="Column of a .csv that holds the row ids.  [default: id, if there is one]"
)
@click.option(
    "--out",
    "out_path",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Write the result to this .npy or .csv file.",
)
@click.option("--force", is_flag=True, help="Replace an output that exists.")
def sample(
    file: Path,
    probs: bool,
    seed: int,
    stream: tuple[str, ...],
    step: int,
    temperature: float | None,
    draws: int | None,
    k: int | None,
    tau: float | None,
    mask_path: Path | None,
    id_column: str | None,
    out_path: Path | None,
    force: bool,
) -> None:
    """Sample a category for every row of FILE and print the share of each.

    FILE is a .npy array (rows, categories) of float32, float64 or float16 logits, of any size, or a .csv. In a .csv a first
    line of names is a header (the categories); a column named "id" (or --id-column) names the rows, and their noise goes with
    them: an integer as it is, anything else hashed. Without ids a row's noise goes with its position.

    --out FILE.npy gets indices: (rows), (n, rows) with --n, (rows, K) with --topk, floats (rows, categories) with --softmax.
    --out FILE.csv gets one line a row, with names where the header has them and one column a draw.
    """
    if k is not None and tau is not None:
        raise Refused("--topk and --softmax exclude each other")
    if tau is not None and temperature is not None:
        raise Refused("--temperature is for choices; with --softmax TAU is the temperature")
    if draws is not None and draws < 1:
        raise Refused(f"--n must be 1 or more, got {draws}")
    if out_path is not None and out_path.suffix == ".csv" and (draws or 1) > 1 and (k is not None or tau is not None):
        raise Refused("--n with --topk or --softmax has three axes: write it to a .npy file")
    _threads()
    rows = open_rows(file, id_column)
    if k is not None and not 1 <= k <= rows.columns:
        raise Refused(f"--topk must be from 1 to the number of categories, {rows.columns}, got {k}")
    mask = open_mask(mask_path, rows) if mask_path is not None else None
    try:
        key = ng.key(seed, *(int(part) if re.fullmatch(r"0|-?[1-9][0-9]{0,99}", part) else part for part in stream))
    except UnicodeEncodeError as problem:
        raise Refused(f"--stream is not text that can be encoded: {problem.reason}") from None
    job = _Job(rows, mask, key, probs, step, 1.0 if temperature is None else temperature, draws, k, tau)
    inputs = [path for path in (file, mask_path) if path is not None]
    job.check()
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        result = None
        if out_path is not None:
            beside = stack.enter_context(result_file(out_path, force, inputs))
            result = stack.enter_context(contextlib.closing(job.result(beside)))
        total = np.zeros(rows.columns, np.int64 if tau is None else np.float64)
        for drawn, block in _with_progress(job.blocks(), rows.rows):
            job.count(drawn, total)
            if result is not None:
                result.write(job.lines(drawn) if isinstance(result, CsvResult) else drawn, block.labels)
    job.report(total, time.perf_counter() - started, out_path)


class _Job:
    """What one call of `sample` does to every block."""

    def __init__(
        self,
        rows: NpyRows | CsvRows,
        mask: NpyRows | CsvRows | None,
        key: ng.Key,
        probs: bool,
        step: int,
        temperature: float,
        draws: int | None,
        k: int | None,
        tau: float | None,
    ) -> None:
        self.rows, self.mask, self.key, self.probs = rows, mask, key, probs
        self.step, self.temperature, self.draws, self.k, self.tau = step, temperature, draws, k, tau
        width = max(rows.columns, (draws or 1) * (k or (rows.columns if tau is not None else 1)))
        self.size = max(1, BLOCK_BYTES // (8 * width))

    def check(self) -> None:
        """Refuse numbers that no sampling function takes, before any file is touched."""
        try:
            self._draw(np.zeros((1, self.rows.columns)), None, None, 1)
            self._draw(np.zeros((0, self.rows.columns)), None, None, self.draws)
        except (TypeError, ValueError) as problem:
            raise Refused(str(problem)) from None

    def blocks(self) -> Iterator[tuple[np.ndarray, Block]]:
        """(result, input) of every block of rows."""
        for block, mask in masked_blocks(self.rows, self.mask, self.size):
            ids = np.arange(block.start, block.start + len(block.values)) if block.ids is None else block.ids
            result = self._draw(block.values, mask, ids, self.draws)
            bad = np.isnan(result).any(axis=-1) if self.tau is not None else (result[..., :1] if self.k else result) == -1
            self._refuse_invalid(bad.reshape(self.draws or 1, len(block.values), -1)[0, :, 0], block.start, block.values, mask)
            yield result, block

    def _draw(self, values: np.ndarray, mask: np.ndarray | None, ids: np.ndarray | None, n: int | None) -> np.ndarray:
        cells: dict[str, Any] = {"probs" if self.probs else "logits": values}
        place: dict[str, Any] = {"step": self.step, "rows": ids, "mask": mask, "n": n, "invalid": "mark"}
        if self.tau is not None:
            return ng.gumbel_softmax(self.key, tau=self.tau, **cells, **place)
        if self.k is not None:
            return ng.gumbel_topk(self.key, k=self.k, temperature=self.temperature, **cells, **place).index
        return ng.categorical(self.key, temperature=self.temperature, **cells, **place)

    def _refuse_invalid(self, bad: np.ndarray, start: int, values: np.ndarray, mask: np.ndarray | None) -> None:
        """One line about the first invalid row: its place, and the cell if one is to blame."""
        if not bad.any():
            return
        row = int(bad.argmax())
        allowed = np.ones(values.shape[1], bool) if mask is None else np.broadcast_to(mask, values.shape)[row] != 0
        wrong = np.isnan(values[row]) | ((values[row] < 0) if self.probs else False)
        if (wrong & allowed).any():
            column = int((wrong & allowed).argmax())
            what = f"{values[row, column]:g} is not a {'probability' if self.probs else 'logit'}"
            raise Refused(f"{self.rows.place(start + row, column)}: {what}")
        kind = "probability 0" if self.probs else "-inf"
        raise Refused(f"{self.rows.place(start + row)}: no category is left, all are masked or {kind}")

    def result(self, path: Path) -> NpyResult | CsvResult:
        """Where the blocks go."""
        width = self.k or (self.rows.columns if self.tau is not None else None)
        names = self.rows.names
        if path.suffix == ".npy":
            shape = (*(() if self.draws is None else (self.draws,)), self.rows.rows, *(() if width is None else (width,)))
            dtype = np.int64 if self.tau is None else self.rows.dtype
            return NpyResult(path, shape, dtype, 0 if self.draws is None else 1)
        if self.tau is not None:
            columns = names or [str(j) for j in range(self.rows.columns)]
        elif self.k is not None:
            columns = [f"choice_{place + 1}" for place in range(self.k)]
        else:
            columns = ["choice"] if self.draws is None else [f"draw_{self.step + draw}" for draw in range(self.draws)]
        label = self.rows.id_name if isinstance(self.rows, CsvRows) else None
        return CsvResult(path, label or "row", columns, names)

    def lines(self, block: np.ndarray) -> np.ndarray:
        """A block as lines of a table: rows first."""
        if self.k is not None or self.tau is not None:
            return block if self.draws is None else block[0]
        return block[:, None] if self.draws is None else block.T

    def count(self, block: np.ndarray, total: np.ndarray) -> None:
        """Add a block to the totals of the categories."""
        if self.tau is not None:
            total += block.reshape(-1, self.rows.columns).sum(axis=0, dtype=np.float64)
        else:
            total += np.bincount(block[block >= 0].ravel(), minlength=len(total))

    def report(self, total: np.ndarray, seconds: float, out_path: Path | None) -> None:
        """Print shares and speed."""
        console = Console(highlight=False)
        soft = self.tau is not None
        samples = self.rows.rows * (self.draws or 1)
        table = Table("category", box=None, pad_edge=False)
        if self.rows.names:
            table.add_column("name", overflow="fold")
        table.add_column("mean" if soft else "count", justify="right")
        table.add_column("share", justify="right")
        whole = max(float(total.sum()), 1e-300)
        shown = np.arange(len(total)) if len(total) <= LISTED else np.sort(np.argsort(-total, kind="stable")[:LISTED])
        for j in shown:
            amount = f"{total[j] / max(samples, 1):.6f}" if soft else f"{total[j]:,}"
            table.add_row(str(j), *([self.rows.names[j]] if self.rows.names else []), amount, f"{total[j] / whole:.2%}")
        if len(shown) < len(total):
            rest = total.sum() - total[shown].sum()
            amount = f"{rest / max(samples, 1):.6f}" if soft else f"{rest:,}"
            label = f"{len(total) - len(shown):,} more"
            table.add_row(label, *([""] if self.rows.names else []), amount, f"{rest / whole:.2%}")
        console.print(table)
        drawn = f"{self.rows.rows:,} rows" + (f" x {self.draws:,} draws" if self.draws is not None else "")
        console.print(f"{drawn} in {seconds:.2f} s, {samples / max(seconds, 1e-9):,.0f} rows/s")
        if out_path is not None:
            console.print(f"written to {out_path}", soft_wrap=True)


def _with_progress(blocks: Iterator[tuple[np.ndarray, Block]], rows: int) -> Iterator[tuple[np.ndarray, Block]]:
    """The blocks; a bar on standard error once a second has passed, if a person is watching."""
    console = Console(stderr=True)
    started, done, bar = time.monotonic(), 0, None
    with contextlib.ExitStack() as stack:
        for result, block in blocks:
            yield result, block
            done += len(block.values)
            if console.is_terminal and bar is None and time.monotonic() - started > PATIENCE_SECONDS:
                columns = (TextColumn("sampling"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
                bar = stack.enter_context(Progress(*columns, console=console, transient=True))
                task = bar.add_task("rows", total=rows)
            if bar is not None:
                bar.update(task, completed=done)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(as_json: bool) -> None:
    """Versions, processor, threads, cache folder, backends and array families."""
    facts = _facts()
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    table = Table("what", "value", box=None, pad_edge=False, show_header=False)
    table.columns[1].overflow = "fold"
    for name, value in facts.items():
        table.add_row(name, ", ".join(value) if isinstance(value, list) else str(value))
    Console(highlight=False, soft_wrap=False).print(table)


def _facts() -> dict[str, Any]:
    import llvmlite
    import numba
    from llvmlite import binding as llvm

    from . import dispatch, shortcuts
    from .kernels.jit import cache_folder

    features = llvm.get_host_cpu_features()
    folder, no_gpu = cache_folder(), _why_no_gpu()
    return {
        "numgumbel": ng.__version__,
        "python": platform.python_version(),
        "numba": numba.__version__,
        "numpy": np.__version__,
        "llvmlite": llvmlite.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": llvm.get_host_cpu_name(),
        "cpu features": [name for name in ("fma", "avx2", "avx512f", "neon") if features.get(name)],
        "threads available": available(),
        "threads used": _threads(),
        "kernel cache": str(folder) if folder else f"none, every process compiles anew: {_why_no_cache()}",
        "backends": ["cpu"] if no_gpu else sorted(dispatch.backends()),
        "gpu": no_gpu or "there is one",
        "array families": sorted([*dispatch.families(), *shortcuts.adapters()], key=str.lower),
    }


def _why_no_gpu() -> str:
    """What is missing to compute on a GPU; nothing where there is one."""
    from .verify import device_arrays

    try:
        device_arrays("cuda")
    except RuntimeError as problem:
        return str(problem)
    return ""


def _why_no_cache() -> str:
    """What to do where no folder keeps compiled kernels."""
    named = os.environ.get("NUMGUMBEL_CACHE_DIR")
    if named == "":
        return "NUMGUMBEL_CACHE_DIR is empty, which turns the cache off; unset it, or name a folder"
    if named is not None:
        return f"no folder can be made or written in NUMGUMBEL_CACHE_DIR={named}; name another"
    return "no folder for the cache can be written; name one in NUMGUMBEL_CACHE_DIR"


@cli.command()
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice([*DTYPES.values(), *DTYPES]),
    help="Of the logits; may be repeated.  [default: float32 and float64]",
)
@click.argument("operations", nargs=-1, metavar="[OPERATION]...")
def warmup(dtypes: tuple[str, ...], operations: tuple[str, ...]) -> None:
    """Compile kernels into the cache folder, so that no later process waits for a compiler.

    OPERATION is a function of the package: categorical, categorical_ragged, draw, sample_actions, log_prob_entropy,
    log_prob_entropy_vjp, merge, gumbel, gumbel_softmax, gumbel_softmax_vjp, gumbel_topk, inclusion_log_prob,
    conditional_gumbel, row_ids or fold; all of them if none is named. What is in the folder already is only loaded. The code is
    for this processor: another kind compiles anew.
    """
    from .kernels.jit import cache_folder

    folder = cache_folder()
    if folder is None:
        raise Refused(f"nothing would be kept: {_why_no_cache()}")
    console, started, before = Console(highlight=False, markup=False), time.perf_counter(), so_far()
    try:
        with Console(stderr=True).status("compiling"):
            seconds = ng.warmup(operations or None, [DTYPES.get(dtype, dtype) for dtype in dtypes] or None)
    except (TypeError, ValueError) as problem:
        raise Refused(str(problem)) from None
    # What this process had already is neither.
    done = {each.label: "cached" if each.cache == "hit" else "compiled" for each in since(before)}
    table = Table("kernel", box=None, pad_edge=False)
    table.add_column("s", justify="right")
    table.add_column("")
    for name, taken in seconds.items():
        table.add_row(name, f"{taken:.2f}", done.get(name, ""))
    console.print(table)
    console.print(f"{len(seconds)} kernels in {time.perf_counter() - started:.2f} s, kept in {folder}", soft_wrap=True)


cli.add_command(asm)
cli.add_command(bench)
cli.add_command(verify)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 where a check fails, 2 for wrong input, 130 when interrupted."""
    try:
        code = cli.main(arguments, prog_name="numgumbel", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (click.ClickException, FileError) as problem:
        text = problem.format_message() if isinstance(problem, click.ClickException) else str(problem)
        click.echo(f"numgumbel: error: {' '.join(text.split())}", err=True)
        return 2
    except MemoryError:
        click.echo(
            "numgumbel: error: not enough memory: ask for fewer draws at a time (--n), at later steps (--step)", err=True
        )
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("numgumbel: interrupted", err=True)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`): say nothing, also not when Python closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as problem:
        place = f"{problem.filename}: " if problem.filename else ""
        click.echo(f"numgumbel: error: {place}{problem.strerror or problem}", err=True)
        return 2
