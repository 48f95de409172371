"""Draw docs/images/temperature.svg and .png: the same noise at four temperatures.

    python examples/temperature.py [FOLDER]

Needs matplotlib. Two runs with one version of it write the same bytes.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("agg")
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path as Outline

import numgumbel as ng

CATEGORIES = tuple("abcdef")
PROBABILITIES = np.array([0.06, 0.12, 0.30, 0.28, 0.16, 0.08])
TEMPERATURES = (0.1, 0.5, 1.0, 5.0)
DRAWS = 2
KEY = ng.key(226, "temperature")  # a seed whose first two winners differ and whose runners-up can be seen

INK, FAINT, QUIET, WINNER = "#24292f", "#8c959f", "#a3b8d1", "#d1582b"
STYLE = {
    "svg.hashsalt": "numgumbel",  # element ids are the same in every run
    "svg.fonttype": "none",  # text stays text: a third of the size, and it can be searched and read aloud
    "figure.facecolor": "white",  # opaque, so that the text can be read on a dark page
    "axes.facecolor": "white",
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],  # matplotlib brings the first along; a reader may have the second
    "font.size": 9.5,
}


def draw_scores(axes, logits, noise, colours):
    """Log-probabilities as ticks, the noise as stems from there to the scores."""
    place = np.arange(len(logits))
    axes.hlines(logits, place - 0.34, place + 0.34, color=INK, linewidth=1.1, clip_on=False)
    axes.vlines(place, logits, logits + noise, color=colours, linewidth=2, clip_on=False)
    axes.scatter(place, logits + noise, s=26, color=colours, linewidth=0, zorder=3, clip_on=False)


def draw_bars(axes, heights, width, places=None, **style):
    """Bars as one path: a smaller file than one path a bar."""
    unit = Outline.unit_rectangle().vertices
    boxes = [
        Outline(unit * (width, heights[place]) + (place - width / 2, 0), closed=True)
        for place in (range(len(heights)) if places is None else places)
    ]
    axes.add_patch(PathPatch(Outline.make_compound_path(*boxes), clip_on=False, **style))


def draw_sample(axes, sample, winner):
    """A relaxed sample as bars, the probabilities as outlines."""
    others = [place for place in range(len(sample)) if place != winner]
    draw_bars(axes, sample, 0.5, others, facecolor=QUIET, linewidth=0)
    draw_bars(axes, sample, 0.5, [winner], facecolor=WINNER, linewidth=0)
    draw_bars(axes, PROBABILITIES, 0.82, fill=False, edgecolor=INK, linewidth=0.9)


def legend(fig):
    """What is what, in one line below the panels."""
    handles = {
        "log p, and p as outline": Line2D([], [], color=INK, linewidth=1.1),
        "log p + G, and its softmax at τ": Line2D([], [], color=QUIET, linewidth=2, marker="o", markersize=5),
        "the largest: the choice at every τ": Patch(color=WINNER),
    }
    fig.legend(handles.values(), handles.keys(), loc="lower center", ncols=3, frameon=False, fontsize=9.5, columnspacing=3)


def figure():
    """Two draws, one below the other: the scores, then the relaxed sample at each temperature."""
    logits = np.log(PROBABILITIES)
    panels = 1 + len(TEMPERATURES)
    fig, grid = plt.subplots(DRAWS, panels, figsize=(9.6, 4.3), width_ratios=[1.1] + [1] * len(TEMPERATURES))
    for step, row in enumerate(grid):
        noise = ng.gumbel(KEY, (1, len(logits)), step=step)[0]
        winner = ng.categorical(KEY, logits[None], step=step)[0]
        colours = [WINNER if category == winner else QUIET for category in range(len(logits))]
        draw_scores(row[0], logits, noise, colours)
        row[0].set_ylim(-4, 1)
        row[0].set_yticks([-4, -2, 0])
        row[0].set_ylabel(f"noise of draw {step + 1}", fontsize=10)
        for axes, tau in zip(row[1:], TEMPERATURES, strict=True):
            draw_sample(axes, ng.gumbel_softmax(KEY, logits[None], tau=tau, step=step)[0], winner)
            axes.set_ylim(0, 1.03)
            axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"] if tau == TEMPERATURES[0] else [])
            axes.set_axisbelow(True)
            axes.grid(axis="y", color="#e4e8ec", linewidth=0.8)
        for axes in row:
            axes.set_xticks(range(len(logits)), CATEGORIES)
            axes.set_xlim(-0.65, len(logits) - 0.35)
    grid[0, 0].set_title("log p + G", fontsize=11, fontweight="bold")
    for axes, tau in zip(grid[0, 1:], TEMPERATURES, strict=True):
        axes.set_title(f"τ = {tau:g}", fontsize=11, fontweight="bold")
    fig.tight_layout(rect=(0, 0.075, 1, 1), w_pad=1.4, h_pad=1.6)
    legend(fig)
    return fig


def main(folder):
    """Write both files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        fig = figure()
        fig.savefig(folder / "temperature.svg", metadata={"Date": None, "Creator": None})
        fig.savefig(folder / "temperature.png", dpi=160, metadata={"Software": None})
        plt.close(fig)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "images")
