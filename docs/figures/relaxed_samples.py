"""Draw docs/images/relaxed_samples.svg: relaxed samples and their mean at four temperatures, after figure 1 of Jang et al.

    python docs/figures/relaxed_samples.py [FOLDER]

Needs matplotlib.
"""

import sys

import numpy as np
import style
from matplotlib import pyplot as plt

import numgumbel as ng

PROBABILITIES = np.array([0.04, 0.10, 0.24, 0.31, 0.17, 0.09, 0.05])
TEMPERATURES = 0.1, 0.5, 1.0, 10.0
KEY = ng.key(2, "relaxed samples")  # a seed whose first two winners differ
SAMPLES = 2


def mean(tau, count):
    """Of so many relaxed samples: rows 1000 and on, whose noise no sample of the figure has."""
    logits = np.broadcast_to(np.log(PROBABILITIES), (count, len(PROBABILITIES)))
    return ng.gumbel_softmax(KEY, logits, tau=tau, rows=np.arange(1000, 1000 + count)).mean(axis=0)


def frequencies(count):
    """Of the choices with the noise of `mean`."""
    logits = np.broadcast_to(np.log(PROBABILITIES), (count, len(PROBABILITIES)))
    index = ng.categorical(KEY, logits, rows=np.arange(1000, 1000 + count))
    return np.bincount(index, minlength=len(PROBABILITIES)) / count


def bars(axes, heights, colour):
    """Bars below the outlines of the probabilities."""
    place = np.arange(len(heights))
    axes.bar(place, heights, 0.55, color=colour)
    axes.bar(place, PROBABILITIES, 0.86, fill=False, edgecolor=style.INK, linewidth=0.8)
    axes.set_xticks([])


def figure(count):
    """A column for the categorical and for each temperature; the mean above samples."""
    logits = np.log(PROBABILITIES)[None]
    fig, grid = plt.subplots(1 + SAMPLES, 1 + len(TEMPERATURES), figsize=(9.6, 4.8), sharey="row")
    bars(grid[0, 0], frequencies(count), style.SERIES[0])
    grid[0, 0].set_title("categorical")
    for column, tau in enumerate(TEMPERATURES, 1):
        bars(grid[0, column], mean(tau, count), style.SERIES[0])
        grid[0, column].set_title(f"τ = {tau:g}")
    for sample in range(SAMPLES):
        winner = ng.categorical(KEY, logits, step=sample)[0]
        one_hot = np.eye(logits.shape[1])[winner]
        shown = [one_hot, *(ng.gumbel_softmax(KEY, logits, tau=tau, step=sample)[0] for tau in TEMPERATURES)]
        for axes, heights in zip(grid[1 + sample], shown, strict=True):
            bars(axes, heights, [style.WINNER if place == winner else style.QUIET for place in range(len(heights))])
            axes.set_ylim(0, 1.02)
            axes.set_yticks([0, 0.5, 1])
        grid[1 + sample, 0].set_ylabel(f"sample {sample + 1}")
    grid[0, 0].set_ylabel(f"mean of {count:,}")
    grid[0, 0].set_ylim(0, 0.4)
    grid[0, 0].set_yticks([0, 0.2, 0.4])
    for axes in grid.flat:
        axes.grid(axis="y")
        axes.tick_params(length=0)
    fig.tight_layout(w_pad=1.2, h_pad=1.2)
    return fig


def main(folder=style.IMAGES, count=100_000):
    """Write the file."""
    style.save(lambda: figure(count), "relaxed_samples", folder)


if __name__ == "__main__":
    main(*sys.argv[1:2])
