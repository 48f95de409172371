"""What the figures of the documentation have in common: colours, an opaque ground, files that are the same in every run."""

import json
import math
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt

IMAGES = Path(__file__).parents[1] / "images"
RESULTS = Path(__file__).parents[2] / "bench" / "results"

INK, FAINT, QUIET, WINNER = "#24292f", "#8c959f", "#a3b8d1", "#d1582b"
SERIES = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00"  # told apart by most eyes (after Okabe and Ito), on white
MARKERS = "o", "s", "^", "D", "v"
STYLE = {
    "svg.hashsalt": "numgumbel",  # element ids are the same in every run
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud
    "figure.facecolor": "white",  # opaque, so that the text can be read on a dark page
    "axes.facecolor": "white",
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "grid.color": "#e4e8ec",
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],  # matplotlib brings the first along; a reader may have the second
    "font.size": 9.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
}


def newest(kind):
    """What the results file of one kind with the latest date in its name says."""
    return json.loads(max(RESULTS.glob(f"{kind}-*.json")).read_text())


def save(draw, name, folder):
    """Draw a figure in the common style and write it as SVG."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        figure = draw()
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)


def plain_powers(axis):
    """Ticks of a logarithmic axis as 10⁰, 10³, ... in plain text."""
    digits = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

    def text(value, _):
        return f"10{str(round(math.log10(value))).translate(digits)}"

    axis.set_major_formatter(text)
    axis.set_minor_formatter("")
