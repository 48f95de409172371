"""Draw docs/images/densities.svg: densities of the noise and of relaxed samples, with histograms of what the package gives.

    python docs/figures/densities.py [FOLDER]

Needs matplotlib.
"""

import math
import sys

import numpy as np
import style
from matplotlib import pyplot as plt

import numgumbel as ng

P = np.array([0.3, 0.7])
TEMPERATURES = 0.3, 1.0, 2.0
KEY = ng.key(3, "densities")


def relaxed_density(y, p, tau):
    """Density of a relaxed sample y, shape (..., K), in its first K - 1 coordinates."""
    k = len(p)
    sums = (p * y**-tau).sum(axis=-1)
    return math.gamma(k) * tau ** (k - 1) * sums**-k * (p * y ** (-tau - 1)).prod(axis=-1)


def relaxed_cdf(y, p, tau):
    """P(Y_1 <= y) of two categories: a logistic variable, shifted, over tau."""
    z = tau * np.log(y / (1 - y)) - np.log(p[0] / p[1])
    return 1 / (1 + np.exp(-z))


def relaxed_samples(p, tau, count):
    """First coordinates of so many relaxed samples."""
    return ng.gumbel_softmax(KEY, np.broadcast_to(np.log(p), (count, len(p))), tau=tau)[:, 0]


def histogram(axes, samples, edges):
    """Of all samples, also of those outside: counts over the number of samples and the width."""
    counts, _ = np.histogram(samples, edges)
    widths = np.diff(edges)
    axes.bar(
        edges[:-1], counts / len(samples) / widths, widths, align="edge", color=style.QUIET, edgecolor="white", linewidth=0.5
    )


def figure(count):
    """The Gumbel density, then that of relaxed samples of two categories."""
    fig, row = plt.subplots(1, 1 + len(TEMPERATURES), figsize=(9.6, 2.9), width_ratios=[1.5] + [1] * len(TEMPERATURES))
    x = np.linspace(-3.5, 8, 400)
    histogram(row[0], ng.gumbel(KEY, (count, 1), step=1).ravel(), np.linspace(-3.5, 8, 47))
    row[0].plot(x, ng.distribution.pdf(x), color=style.WINNER)
    row[0].set_title("G")
    row[0].set_xlabel("x")
    row[0].set_ylabel("density")
    y = np.linspace(0.002, 0.998, 500)
    for axes, tau in zip(row[1:], TEMPERATURES, strict=True):
        histogram(axes, relaxed_samples(P, tau, count), np.linspace(0, 1, 26))
        axes.plot(y, relaxed_density(np.stack([y, 1 - y], axis=-1), P, tau), color=style.WINNER)
        axes.set_title(f"τ = {tau:g}")
        axes.set_xlabel("y₁, with p₁ = 0.3")
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 3.2)
    row[0].set_ylim(0)
    for axes in row:
        axes.grid(axis="y")
        axes.tick_params(length=0)
    fig.tight_layout(w_pad=1.5)
    return fig


def main(folder=style.IMAGES, count=1_000_000):
    """Write the file."""
    style.save(lambda: figure(count), "densities", folder)


if __name__ == "__main__":
    main(*sys.argv[1:2])
