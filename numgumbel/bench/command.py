"""The command ``numgumbel bench``."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ..files import writable

BACKENDS = "cpu", "cuda"


@click.command()
@click.argument("workloads", nargs=-1)
@click.option(
    "--backend",
    type=click.Choice([*BACKENDS, "all"]),
    default="cpu",
    show_default=True,
    help="Where; all: also on a GPU if there is one.",
)
@click.option("--peers", metavar="LIST", default="", help="Of numpy, torch, jax and cupy, with commas; all: those installed.")
@click.option("--quick", is_flag=True, help="Fewer and shorter samples: all workloads in a minute or two.")
@click.option(
    "--precision",
    type=click.FloatRange(0.001, 0.5),
    default=None,
    help="Half the median's 95 % interval over the median that is enough.  [default: 0.02, quick 0.05]",
)
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write every sample to this file.")
@click.option(
    "--compare",
    "other_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Say what differs from this file of --json.",
)
@click.option(
    "--fail-slower",
    type=click.FloatRange(1.0, min_open=True),
    default=None,
    metavar="RATIO",
    help="With --compare: exit code 1 where a workload is slower by more than this for sure.",
)
@click.option("--plot", "plot_path", type=click.Path(dir_okay=False, path_type=Path), help="Draw a .png, .svg or .pdf file.")
@click.option("--nvtx", is_flag=True, help="Mark blocks as NVTX ranges, for Nsight Systems.")
@click.option("--profile-range", is_flag=True, help="Let a CUDA profiler record the timed part only.")
@click.option("--list", "listed", is_flag=True, help="List the workloads and end.")
def bench(
    workloads: tuple[str, ...],
    backend: str,
    peers: str,
    quick: bool,
    precision: float | None,
    json_path: Path | None,
    other_path: Path | None,
    fail_slower: float | None,
    plot_path: Path | None,
    nvtx: bool,
    profile_range: bool,
    listed: bool,
) -> None:
    """Time the frozen workloads, and verify every result that is timed.

    WORKLOADS are ids, or patterns such as 'rl.*'; all of them if none is named. A result whose checksum is not the right one
    ends the command with exit code 1, and so does --fail-slower.
    """
    from rich.console import Console

    from . import compare, files, plot, report
    from .clock import FULL, QUICK
    from .passes import measure
    from .subjects import Wrong

    console = Console(highlight=False)
    chosen = _chosen(workloads)
    if listed:
        rows = [(w.id, w.operation, " x ".join(map(str, w.shape)), _size(w.cost().bytes_read)) for w in chosen]
        console.print(report.table(("workload", "operation", "shape", "reads"), rows))
        return
    if fail_slower is not None and other_path is None:
        raise click.ClickException("--fail-slower needs --compare FILE: slower than what?")
    writable(json_path)
    writable(plot_path)
    try:
        other = None if other_path is None else files.load(other_path)
        if plot_path is not None:
            plot.check(plot_path)
        backends = _backends(backend)
        if profile_range and "cuda" not in backends:
            raise click.ClickException("--profile-range is for a GPU: it goes with --backend cuda")
        libraries = _libraries(peers, backends)
        effort = QUICK if quick else FULL
        if precision is not None:
            effort = dataclasses.replace(effort, precision=precision)
        runnable = _runnable(chosen)
        results = _with_progress(
            lambda say: measure(
                runnable, backends, libraries, effort, quick=quick, profile=profile_range, ranges=_ranges(nvtx), say=say
            )
        )
    except Wrong as wrong:
        click.echo(f"numgumbel: wrong result: {wrong}", err=True)
        raise click.exceptions.Exit(1) from None
    except (ValueError, ModuleNotFoundError, RuntimeError) as problem:
        raise click.ClickException(str(problem)) from None
    if json_path is not None:
        files.save(json_path, results)
    report.show(console, results)
    if plot_path is not None:
        plot.plot(results, plot_path)
    if other is None:
        return
    margin = fail_slower or compare.MARGIN
    found = compare.compare(other, results, margin)
    known = {(each.workload, each.backend) for each in found}
    absent = [entry["workload"] for entry in compare.ours(results) if (entry["workload"], entry["backend"]) not in known]
    report.show_comparison(console, found, absent, margin)
    for name in ("processor", "threads"):
        before, now = (each["machine"].get(name, each.get(name)) for each in (other, results))
        if before != now:
            console.print(f"[yellow]The {name} differs: {before} then, {now} now.[/]")
    if fail_slower is not None and (slower := [each.workload for each in found if each.verdict == compare.SLOWER]):
        click.echo(f"numgumbel: slower by more than {fail_slower:g}: {', '.join(slower)}", err=True)
        raise click.exceptions.Exit(1)


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size > 1e5 else f"{size / 1e3:.1f} kB" if size > 999 else f"{size} B"


def _chosen(names: Sequence[str]) -> list[Any]:
    """The workloads of ids and patterns, in the order of the registry."""
    from .. import workloads as registry

    ids: set[str] = set()
    for name in names or ("*",):
        name = registry.ALIASES.get(name, name)
        matching = fnmatch.filter(registry.WORKLOADS, name)
        if not matching:
            near = difflib.get_close_matches(name, registry.WORKLOADS, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise click.ClickException(f"no workload matches {name!r}; {hint}numgumbel bench --list tells all")
        ids.update(matching)
    return [workload for id, workload in registry.WORKLOADS.items() if id in ids]


def _runnable(chosen: Sequence[Any]) -> list[Any]:
    """Those that can be run here; a line on standard error for each other."""
    for workload in chosen:
        if line := workload.missing():
            click.echo(line, err=True)
    runnable = [workload for workload in chosen if not workload.missing()]
    if not runnable:
        raise click.ClickException("no workload is left that can be run here")
    return runnable


def _backends(name: str) -> list[str]:
    from .gpu import need_gpu

    if name == "cuda":
        need_gpu()
    if name != "all":
        return [name]
    try:
        need_gpu()
    except RuntimeError as problem:
        click.echo(f"{problem}; timing the CPU only", err=True)
        return ["cpu"]
    return list(BACKENDS)


def _libraries(text: str, backends: Sequence[str]) -> list[str]:
    """The peers of ``--peers``."""
    from .peers import LIBRARIES, missing, places

    usable = [name for name in LIBRARIES if set(places(name)) & set(backends)]
    if text == "all":
        return [name for name in usable if missing(name) is None]
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in LIBRARIES:
            raise ValueError(f"--peers must be all or of {', '.join(LIBRARIES)}, with commas, got {name!r}")
        if name not in usable:
            raise ValueError(f"--peers {name} has nothing to do on {' and '.join(backends)}")
        if line := missing(name):
            raise ValueError(f"--peers: {line}")
    return list(dict.fromkeys(names))


def _ranges(wanted: bool) -> Any:
    from .nvtx import ranges

    return ranges(wanted)


def _with_progress(run: Callable[[Callable[[str, float], None]], dict[str, Any]]) -> dict[str, Any]:
    """The results; a live bar on standard error, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        return run(lambda text, share: None)
    columns = BarColumn(bar_width=20), TimeElapsedColumn(), TextColumn("{task.description}")
    # Drawn from here and not by a thread of its own, which would take time from what is timed.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=1.0)
        return run(lambda text, share: progress.update(task, description=text, completed=share, refresh=True))
