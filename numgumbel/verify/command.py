"""The command ``numgumbel verify``."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from ..files import writable
from . import COLUMNS, DEVICE, GROUPS, Check, Outcome

FORMAT = "numgumbel verify 1"


@click.command()
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: compare with a GPU where there is one; cuda: there must be one; cpu: do not.",
)
@click.option("--group", "groups", type=click.Choice(GROUPS), multiple=True, help="Checks of this group only; may be repeated.")
@click.option("--rows", type=click.IntRange(1), default=64, show_default=True, help="Rows of a request to a GPU.")
@click.option(
    "--columns",
    type=click.IntRange(1),
    multiple=True,
    default=COLUMNS,
    show_default=True,
    help="Categories of a row of it; may be repeated.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of keys and logits; any is to pass.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write every number to this file.")
def verify(
    device: str, groups: tuple[str, ...], rows: int, columns: tuple[int, ...], seed: int, json_path: Path | None
) -> None:
    """Check on this machine what the package promises.

    In groups: the generator's known answers; golden values of the field and of frozen workloads; the distribution of noise and
    samples, far into the tail; exactness, the same bits for any threads, pieces, layouts and halves; and on a gpu every
    operation beside the CPU, where indices, scores and noise must be equal to the bit and sums within 8 ulp.

    It takes some 20 seconds, and minutes the first time, when kernels are compiled. Exit code 1 where a check fails.
    """
    from rich.console import Console

    from ..bench.compiling import watched

    writable(json_path)
    chosen, note = _chosen(device, groups, rows, columns)
    started = time.perf_counter()
    with watched() as kernels:
        outcomes = list(_with_progress(chosen, seed))
    seconds = time.perf_counter() - started
    console = Console(highlight=False, markup=False)
    console.print(table(outcomes))
    wrong = [outcome for outcome in outcomes if not outcome.right]
    for outcome in wrong:
        what = f"{outcome.first}: {_found(outcome)}" if outcome.statistic is not None else outcome.first
        console.print(f"WRONG: {outcome.group}, {_name(outcome)}: {what}", style="red", soft_wrap=True)
    for line in note:
        console.print(f"left out: {line}", soft_wrap=True)
    compiled = [kernel["seconds"] for kernel in kernels if not kernel["cached"]]
    waited = f", {sum(compiled):.1f} s of it to compile {len(compiled)} kernels" if compiled else ""
    console.print(f"{len(outcomes) - len(wrong)} of {len(outcomes)} checks passed in {seconds:.1f} s{waited}", soft_wrap=True)
    if json_path is not None:
        facts = {"device": device, "left out": note, "seed": seed, "seconds": round(seconds, 3)}
        json_path.write_text(json.dumps(_results(outcomes, facts), indent=1) + "\n", encoding="utf-8")
    if wrong:
        raise click.exceptions.Exit(1)


def _chosen(device: str, groups: Sequence[str], rows: int, columns: tuple[int, ...]) -> tuple[list[Check], list[str]]:
    """The checks to run, and lines about what is left out."""
    from . import checks, device_checks
    from .exactness import half_dtypes

    demanded = device == "cuda" or DEVICE in groups
    if device == "cuda" and groups and DEVICE not in groups:
        raise click.ClickException(f"--device cuda is for the group {DEVICE}, which --group leaves out")
    if device == "cpu" and DEVICE in groups:
        raise click.ClickException(f"--group {DEVICE} needs a device, and --device cpu takes none")
    note = []
    if "bfloat16" not in half_dtypes():
        note.append("bfloat16, which needs: python -m pip install ml_dtypes")
    chosen = checks(groups or None)
    if demanded or (device == "auto" and not groups):
        try:
            chosen += device_checks("cuda", rows, columns)
        except RuntimeError as problem:
            if demanded:
                raise click.ClickException(str(problem)) from None
            note.append(f"a GPU beside the CPU: {problem}")
    return chosen, note


def _with_progress(chosen: Sequence[Check], seed: int) -> Iterator[Outcome]:
    """Run checks; a bar on standard error says what is checked, if a person is watching."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from . import run

    console = Console(stderr=True)
    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with contextlib.ExitStack() as stack:
        if not console.is_terminal:
            yield from run(chosen, seed=seed)
            return
        bar = stack.enter_context(Progress(*columns, console=console, transient=True))
        task = bar.add_task("", total=len(chosen))
        for outcome in run(chosen, seed=seed, say=lambda what: bar.update(task, description=what)):
            bar.advance(task)
            yield outcome


def table(outcomes: Iterable[Outcome]) -> Any:
    """Outcomes, a line each, in 80 columns."""
    from rich.table import Table
    from rich.text import Text

    made = Table("group", "check", box=None, pad_edge=False)
    made.columns[1].overflow = "fold"
    for name in ("found", "result", "s"):
        made.add_column(name, justify="right", no_wrap=True)
    last = None
    for outcome in outcomes:
        result = Text("ok", "green") if outcome.right else Text("WRONG", "bold red")
        group = outcome.group if outcome.group != last else ""
        made.add_row(group, Text(_name(outcome)), _found(outcome), result, f"{outcome.seconds:.2f}")
        last = outcome.group
    return made


def _name(outcome: Outcome) -> str:
    return f"{outcome.name}, {outcome.dtype}" if outcome.dtype else outcome.name


def _found(outcome: Outcome) -> str:
    """A statistic and where it is to lie, or how many numbers are equal."""
    if outcome.different:
        return f"{outcome.different:,} differ"
    if outcome.statistic is None or outcome.bounds is None:
        return f"{outcome.compared:,} equal"
    low, high = outcome.bounds
    inside = "in" if outcome.right else "not in"
    unit = f" {outcome.unit}" if outcome.unit else ""
    return f"{_short(outcome.statistic)}{unit} {inside} {_short(low)}..{_short(high)}"


def _short(number: float) -> str:
    """Three digits, and none of what is next to nothing."""
    return f"{number:.0f}" if number >= 99.95 or number < 0.01 else f"{number:.3g}"


def _results(outcomes: Sequence[Outcome], facts: dict[str, Any]) -> dict[str, Any]:
    """What is written to a file: the machine, and every check's numbers."""
    from ..bench.machine import machine
    from ..threads import get_num_threads

    return {
        "format": FORMAT,
        "machine": {**machine(), "threads": get_num_threads()},
        **facts,
        "passed": sum(outcome.right for outcome in outcomes),
        "checks": [_plain(dataclasses.asdict(outcome) | {"right": outcome.right}) for outcome in outcomes],
    }


def _plain(numbers: dict[str, Any]) -> dict[str, Any]:
    """Without infinities and NaNs, which JSON has not: they are written as text."""
    statistic = numbers["statistic"]
    if statistic is not None and not math.isfinite(statistic):
        numbers["statistic"] = str(statistic)
    return numbers
