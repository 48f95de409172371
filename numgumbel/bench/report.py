"""Tables for people, 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .compare import FASTER, NOISY, SAME, SLOWER, Comparison, ours

STYLES = {SAME: "", FASTER: "green", SLOWER: "red", NOISY: "yellow"}


def duration(ns: float) -> str:
    """A time with a unit, three digits.

    Examples
    --------
    >>> from numgumbel.bench.report import duration
    >>> [duration(ns) for ns in (2150, 21500, 215_000, 2_150_000, 2_150_000_000)]
    ['2.15 us', '21.5 us', '215 us', '2.15 ms', '2150 ms']
    """
    value, unit = (ns / 1e3, "us") if ns < 999.5e3 else (ns / 1e6, "ms")
    return f"{value:.2f} {unit}" if value < 9.995 else f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def number(value: float) -> str:
    """Three digits.

    Examples
    --------
    >>> from numgumbel.bench.report import number
    >>> [number(value) for value in (0.0123, 1.234, 45.6, 789.0)]
    ['0.01', '1.23', '45.6', '789']
    """
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def share(value: float) -> str:
    """A share in per cent; finer below ten."""
    return f"{value:.1%}" if value < 0.0995 else f"{value:.0%}"


def table(names: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> Table:
    """A table whose first column holds names and is never cut."""
    made = Table(box=None, pad_edge=False, title=title, title_justify="left", title_style="bold", collapse_padding=True)
    for place, name in enumerate(names):
        made.add_column(name, justify="right" if place else "left", no_wrap=not place)
    for row in rows:
        made.add_row(*row)
    return made


def spread(entry: Mapping[str, Any]) -> float:
    """The middle 80 % of the samples over their median."""
    return float((entry["quantiles_ns"]["90"] - entry["quantiles_ns"]["10"]) / entry["median_ns"])


def show(console: Console, results: Mapping[str, Any]) -> None:
    """Print all that a run has found."""
    for backend, bandwidth in results["bandwidth"].items():
        _show_times(console, results, backend, bandwidth)
    if kernels := results["kernels"]:
        texts = [(escape(k["kernel"]), f"{k['seconds']:.2f}", "cache" if k["cached"] else "compiled") for k in kernels]
        console.print(table(("kernel", "s", "from"), texts, "Kernels made ready"))
        console.print()
    console.print(
        f"{len(ours(results))} workloads, {results['threads']} threads, {results['seconds']:.0f} s; every time is of a result "
        "whose checksum is right."
    )


def _show_times(console: Console, results: Mapping[str, Any], backend: str, bandwidth: Mapping[str, Any]) -> None:
    own = [entry for entry in ours(results) if entry["backend"] == backend]
    on_gpu = backend == "cuda"
    names = ("workload", "cold", "warm", "queue", "done") if on_gpu else ("workload", "median", "±", "spread")
    rows = []
    for entry in own:
        on_device = [duration(entry[f"{name}_ns"]) for name in ("median", "warm", "enqueue", "completion")] if on_gpu else []
        known = [duration(entry["median_ns"]), share(entry["precision"]), share(spread(entry))]
        speed = number(entry["bytes_a_second"] / 1e9), share(entry["share_of_roofline"])
        rows.append((entry["workload"], *(on_device or known), number(entry["ns_a_category"]), *speed))
    console.print(table((*names, "ns each", "GB/s", "roof"), rows, f"numgumbel on {backend}"))
    console.print(
        f"A large array is read at {bandwidth['read'] / 1e9:.1f} GB/s and copied at {bandwidth['copy'] / 1e9:.1f} "
        "(read and written); roof: the time that the bytes take at these rates, over the time. ns each: a category. "
        + (
            "Cold and warm: the cache."
            if on_gpu
            else "±: half the 95 % interval of the median; spread: of 80 % of the samples."
        )
    )
    console.print()
    others = [entry for entry in results["times"] if entry["backend"] == backend and entry["contender"] != "numgumbel"]
    if others:
        libraries = list(dict.fromkeys(entry["contender"] for entry in others))
        times = {(entry["workload"], entry["contender"]): entry["median_ns"] for entry in others}
        texts = [
            (entry["workload"], *(_against(times.get((entry["workload"], name)), entry["median_ns"]) for name in libraries))
            for entry in own
        ]
        console.print(table(("workload", *libraries), texts, f"Times of others, numgumbel = 1, on {backend}"))
        console.print()


def _against(theirs: float | None, own: float) -> str:
    return "-" if theirs is None else number(theirs / own)


def show_comparison(console: Console, found: Sequence[Comparison], absent: Sequence[str], margin: float) -> None:
    """Print the verdicts."""
    made = table(("workload", "before", "now", "ratio", "95 %", "verdict"), (), "Against the other run")
    for each in found:
        ratio = each.ratio
        texts = ("", "") if ratio is None else (f"{ratio.value:.2f}", f"{ratio.low:.2f}-{ratio.high:.2f}")
        said = "noisy" if each.verdict == NOISY else each.verdict
        style = STYLES[each.verdict]
        made.add_row(
            each.workload, duration(each.old_ns), duration(each.new_ns), *texts, f"[{style}]{said}[/]" if style else said
        )
    console.print(made)
    console.print(
        f"Same: the interval lies within {1 / margin:.2f} to {margin:.2f}; slower, faster: it lies beyond; noisy: too noisy to "
        "say. Before and now: medians. Ratio: of undisturbed times, on one thread."
    )
    if absent:
        console.print(f"Not in the other run: {', '.join(absent)}", soft_wrap=True)
