"""Draw docs/images/gradient_estimators.svg: bias and deviation of estimators, from the newest results of bench/estimators.py.

    python docs/figures/gradient_estimators.py [FOLDER]

Needs matplotlib.
"""

import sys

import style
from matplotlib import pyplot as plt


def figure(results):
    """Bias to the left, deviation to the right, over the temperature."""
    fig, (bias, deviation) = plt.subplots(1, 2, figsize=(9.6, 3.6))
    for (name, rows), colour, marker in zip(results["estimators"].items(), style.SERIES, style.MARKERS, strict=False):
        taus = [row["tau"] for row in rows]
        look = {"color": colour, "marker": marker}
        if name == "gumbel_rao":  # what lies below, with the same mean, can be seen
            look |= {"linestyle": "--", "markerfacecolor": "white"}
        bias.plot(taus, [row["bias"] for row in rows], label=name, **look)
        deviation.plot(taus, [row["deviation"] for row in rows], **look)
    reference = results["score_function"]
    deviation.axhline(reference, color=style.FAINT, linestyle=":")
    deviation.text(5.3, reference / 1.12, "score function", color=style.INK, ha="right", va="top")
    deviation.set_yscale("log")
    deviation.set_yticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.1", "0.2", "0.5", "1", "2", "5", "10"])
    deviation.set_yticks([], minor=True)
    bias.set_ylim(-0.15)
    bias.set_title("bias")
    deviation.set_title("standard deviation of one estimate")
    for axes in (bias, deviation):
        axes.set_xscale("log")
        axes.set_xticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("τ")
        axes.grid()
        axes.tick_params(length=0)
    bias.set_ylabel("parts of the gradient's size")
    fig.legend(loc="lower center", ncols=4)
    fig.tight_layout(rect=(0, 0.08, 1, 1), w_pad=2)
    return fig


def main(folder=style.IMAGES):
    """Write the file."""
    style.save(lambda: figure(style.newest("estimators")), "gradient_estimators", folder)


if __name__ == "__main__":
    main(*sys.argv[1:2])
