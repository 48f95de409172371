"""Draw docs/images/repeated_draws.svg: draws of one row by several methods, from the newest results of bench/one_row.py.

    python docs/figures/repeated_draws.py [FOLDER]

Needs matplotlib.
"""

import sys

import style
from matplotlib import pyplot as plt


def figure(results):
    """A panel for each number of categories: time a draw over the number of draws."""
    sizes = sorted({row["categories"] for row in results["rows"]})
    names = list(results["rows"][0]["us"])
    fig, panels = plt.subplots(1, len(sizes), figsize=(9.6, 3.7), sharey=True)
    for axes, size in zip(panels, sizes, strict=True):
        for name, colour, marker in zip(names, style.SERIES, style.MARKERS, strict=False):
            rows = [row for row in results["rows"] if row["categories"] == size and name in row["us"]]
            draws = [row["draws"] for row in rows]
            axes.plot(draws, [1e3 * row["us"][name] / row["draws"] for row in rows], color=colour, marker=marker, label=name)
        axes.set_title(f"{size:,} categories")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("draws of the same row")
        axes.set_xticks([1, 100, 10_000, 1_000_000])
        style.plain_powers(axes.xaxis)
        axes.set_yticks([1, 10, 100, 1e3, 1e4, 1e5, 1e6], ["1 ns", "10 ns", "100 ns", "1 us", "10 us", "100 us", "1 ms"])
        axes.set_yticks([], minor=True)
        axes.grid()
        axes.tick_params(length=0, which="both")
    panels[0].set_ylabel("time a draw")
    fig.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=len(names))
    fig.tight_layout(rect=(0, 0.08, 1, 1), w_pad=1.5)
    return fig


def main(folder=style.IMAGES):
    """Write the file."""
    style.save(lambda: figure(style.newest("one-row")), "repeated_draws", folder)


if __name__ == "__main__":
    main(*sys.argv[1:2])
