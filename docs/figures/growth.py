"""Draw docs/images/growth.svg: how the time of `categorical` grows, from the newest results of bench/scaling.py.

    python docs/figures/growth.py [FOLDER]

Needs matplotlib.
"""

import sys

import numpy as np
import style
from matplotlib import pyplot as plt

COLOURS = dict(zip(("n x 6", "n x 32", "n x 1000", "1 x K", "32 x K"), style.SERIES, strict=True))
DASHES = {1: "-", 2: "--"}


def points(series):
    """Elements and milliseconds of each call."""
    return np.array([(row["rows"] * row["columns"], row["median_us"] / 1e3) for row in series["times"]]).T


def fitted(series):
    """The fit with the most elements: of one thread all of it, of two what is above the step."""
    return max((fit for fit in series["fits"] if fit["slope"] is not None), key=lambda fit: fit["to"])


def curve(axes, series, label):
    """Times as dots, the fit as a line through them."""
    colour, fit = COLOURS[series["series"]], fitted(series)
    elements, ms = points(series)
    hollow = {"markerfacecolor": "white"} if series["threads"] == 2 else {}
    line = np.geomspace(fit["from"], fit["to"], 50)
    more = line - fit["smallest_call"]
    last = (fit["to"] - fit["smallest_call"], fit["ns_an_element"] * (fit["to"] - fit["smallest_call"]) / 1e6)
    axes.plot(elements, ms, linestyle="", marker="o", markersize=3.5, color=colour, **hollow)
    text = f"{label}: {fit['slope']:.2f}"
    axes.plot(
        line,
        fit["smallest_call_us"] / 1e3 + last[1] * (more / last[0]) ** fit["slope"],
        DASHES[series["threads"]],
        color=colour,
        linewidth=1.2,
        label=text,
    )


def figure(results):
    """More rows, more categories, more threads."""
    fig, (rows, columns, threads) = plt.subplots(1, 3, figsize=(9.6, 3.7), sharey=True)
    for series in results["series"]:
        name = series["series"]
        if series["threads"] == 1:
            curve(rows if name.startswith("n") else columns, series, name.replace("x", "×"))
        if name in ("n x 6", "1 x K"):
            curve(threads, series, f"{name.replace('x', '×')}, {series['threads']} thread{'s' * (series['threads'] > 1)}")
    for axes, title in ((rows, "more rows"), (columns, "more categories"), (threads, "another thread")):
        axes.set_title(title)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("logits")
        axes.grid()
        axes.tick_params(length=0, which="both")
        axes.set_xticks([10**power for power in (3, 4, 5, 6, 7, 8)])
        axes.set_yticks([10.0**power for power in (-2, -1, 0, 1, 2)], ["0.01", "0.1", "1", "10", "100"])
        axes.set_yticks([], minor=True)
        style.plain_powers(axes.xaxis)
        axes.legend(title="slope", loc="upper left", alignment="left", fontsize=8.5, title_fontsize=8.5, handlelength=1.6)
    rows.set_ylabel("ms a call")
    rows.set_ylim(0.01, 800)
    fig.tight_layout(w_pad=1.5)
    return fig


def main(folder=style.IMAGES):
    """Write the file."""
    style.save(lambda: figure(style.newest("scaling")), "growth", folder)


if __name__ == "__main__":
    main(*sys.argv[1:2])
