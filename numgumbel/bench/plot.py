"""A picture of a run: speed in bytes below the roof of memory, and bars of time a category beside the peers'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .compare import ours

SUFFIXES = ".png", ".svg", ".pdf"
PAPER, INK, FAINT = "#ffffff", "#222222", "#bbbbbb"
COLOURS = {"numgumbel": "#0b6e8a", "numpy": "#d98c21", "torch": "#b23a48", "jax": "#6b4fa0", "cupy": "#4d8b31"}
STYLE = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "savefig.transparent": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "font.size": 9,
    "svg.fonttype": "none",
}


def plot(results: Mapping[str, Any], path: Path) -> None:
    """Draw a run.

    Parameters
    ----------
    results : mapping
        As `passes.measure` returns them.
    path : pathlib.Path
        A .png, .svg or .pdf file. Its background is white, so that it can be read on light and dark pages.

    Raises
    ------
    ValueError
        For another kind of file.
    ModuleNotFoundError
        Where matplotlib is absent, with what to install.
    """
    check(path)
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    backends = list(results["bandwidth"])
    tall = max(4.0, 1.6 + 0.3 * max(len({entry["workload"] for entry in results["times"]}), 1))
    with pyplot.rc_context(STYLE):
        figure, grid = pyplot.subplots(
            len(backends), 2, figsize=(13, tall * len(backends)), squeeze=False, layout="constrained", width_ratios=(1, 1.15)
        )
        for (roof, bars), backend in zip(grid, backends, strict=True):
            _roofline(roof, results, backend)
            _bars(bars, results, backend)
        figure.savefig(path, dpi=130)
        pyplot.close(figure)


def check(path: Path) -> None:
    """Refuse what `plot` would, before anything is measured."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"--plot must be a file of {', '.join(SUFFIXES)}, got {path}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        line = '--plot needs a package that is not there: python -m pip install "numgumbel[bench]"'
        raise ModuleNotFoundError(line, name="matplotlib") from None


def _roofline(axes: Any, results: Mapping[str, Any], backend: str) -> None:
    entries = [entry for entry in ours(results) if entry["backend"] == backend]
    moved = np.array([entry["bytes_read"] + entry["bytes_written"] for entry in entries], float)
    speed = np.array([entry["bytes_a_second"] for entry in entries]) / 1e9
    bandwidth = {name: results["bandwidth"][backend][name] / 1e9 for name in ("read", "copy")}
    low, high = moved.min() / 3, max(moved.max() * 3, 1e8)
    x = np.geomspace(low, high, 200)
    shortest = min(entry["median_ns"] for entry in entries)
    for name, dashes in (("read", "-"), ("copy", "--")):
        axes.plot(x, np.minimum(bandwidth[name], x / shortest), dashes, color=INK, lw=1.3, label=f"memory: {name}")
    families = list(dict.fromkeys(entry["workload"].split(".")[0] for entry in entries))
    marks = dict(zip(families, "osD^vP*X", strict=False))
    for family in families:
        here = [place for place, entry in enumerate(entries) if entry["workload"].startswith(f"{family}.")]
        axes.scatter(moved[here], speed[here], marker=marks[family], s=38, label=family, zorder=3, edgecolor=PAPER, lw=0.5)
    axes.set(xscale="log", yscale="log", xlim=(low, high), xlabel="bytes read and written", ylabel="GB/s")
    axes.set_title(f"numgumbel on {backend}: speed, and what memory allows", loc="left")
    axes.grid(True, which="major", color=FAINT, lw=0.4)
    axes.text(
        low * 1.3, bandwidth["read"] * 1.08, f"slope: no call takes less than {shortest / 1e3:.1f} us", fontsize=8, va="bottom"
    )
    axes.legend(loc="lower right", fontsize=8, facecolor=PAPER, edgecolor=FAINT)


def _bars(axes: Any, results: Mapping[str, Any], backend: str) -> None:
    times = [entry for entry in results["times"] if entry["backend"] == backend]
    names = list(dict.fromkeys(entry["workload"] for entry in times))
    contenders = list(dict.fromkeys(entry["contender"] for entry in times))
    height = 0.8 / len(contenders)
    for place, contender in enumerate(contenders):
        some = [entry for entry in times if entry["contender"] == contender]
        where = [names.index(entry["workload"]) + (place - (len(contenders) - 1) / 2) * height for entry in some]
        width = [entry["median_ns"] / entry["elements"] / entry["draws"] for entry in some]
        axes.barh(where, width, height * 0.92, color=COLOURS.get(contender, FAINT), label=contender)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set(xscale="log", xlabel="ns a category (and draw), shorter is faster")
    axes.set_title("Time a category", loc="left")
    axes.grid(True, axis="x", which="major", color=FAINT, lw=0.4)
    axes.set_axisbelow(True)
    axes.legend(loc="lower left", bbox_to_anchor=(0.45, 1.0), ncols=len(contenders), fontsize=8, frameon=False)
