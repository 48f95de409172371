"""A noisy picture restored by Gibbs sampling of a Potts model, in parallel, with one result for any number of threads.

    python examples/potts.py

The picture is scikit-learn's `flower.jpg` in five grey levels; a third of its pixels are replaced by random levels. In the
Potts model (Geman and Geman, IEEE PAMI 6 (1984), doi:10.1109/TPAMI.1984.4767596) a pixel's level has probability proportional
to exp(beta * neighbours of that level) times that of what was observed there. The pixels of one colour of a checkerboard do not
touch each other, so a sweep updates them in parallel, one colour after the other.

What it shows: with the noise of an update named by (pixel, sweep), the chain is the same for any number of threads, in any
order. Numba's np.random has a state in every thread: the chain differs from run to run, and where every thread has its seed,
from one number of threads to another.
"""

import hashlib
import time

import numba
import numpy as np
from numba import get_thread_id, njit, prange
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_sample_image

import numgumbel as ng
from numgumbel import nb

LEVELS = 5
BETA = 0.9
NOISE = 1 / 3
SWEEPS, BURN_IN = 30, 10
KEY = ng.key(42, "potts")


def picture():
    """The flower in grey levels 0 to 4, each as frequent as the others."""
    grey = load_sample_image("flower.jpg").mean(axis=2)
    return np.digitize(grey, np.quantile(grey, np.arange(1, LEVELS) / LEVELS)).astype(np.int8)


def spoil(levels):
    """A third of the pixels at random levels."""
    rng = np.random.default_rng(7)
    hit = rng.random(levels.shape) < NOISE
    return np.where(hit, rng.integers(0, LEVELS, levels.shape), levels).astype(np.int8)


@njit
def fill_logits(logits, levels, seen, i, j, right, wrong):
    """Log-probabilities of a pixel's levels, up to a constant, given its neighbours and what was seen there."""
    rows, columns = levels.shape
    for k in range(len(logits)):
        logits[k] = right if seen[i, j] == k else wrong
    if i > 0:
        logits[levels[i - 1, j]] += BETA
    if i < rows - 1:
        logits[levels[i + 1, j]] += BETA
    if j > 0:
        logits[levels[i, j - 1]] += BETA
    if j < columns - 1:
        logits[levels[i, j + 1]] += BETA


@njit(parallel=True)
def sweep(key, step, levels, seen, right, wrong):
    """Update all pixels, one colour of the checkerboard after the other; a pixel's row id is its position."""
    rows, columns = levels.shape
    for colour in range(2):
        for i in prange(rows):
            logits = np.empty(LEVELS)
            for j in range((i + colour) % 2, columns, 2):
                fill_logits(logits, levels, seen, i, j, right, wrong)
                levels[i, j] = nb.categorical_row(key, step, i * columns + j, logits)


@njit(parallel=True)
def sweep_usually(levels, seen, right, wrong):
    """The same by Numba's np.random: cumulative sums and one uniform a pixel."""
    rows, columns = levels.shape
    for colour in range(2):
        for i in prange(rows):
            logits, sums = np.empty(LEVELS), np.empty(LEVELS)
            for j in range((i + colour) % 2, columns, 2):
                fill_logits(logits, levels, seen, i, j, right, wrong)
                total = 0.0
                for k in range(LEVELS):
                    total += np.exp(logits[k])
                    sums[k] = total
                levels[i, j] = np.searchsorted(sums, np.random.random() * total)  # noqa: NPY002


@njit(parallel=True)
def seed_threads(seed, rows):
    """A seed for every thread that a sweep of so many rows uses, set by the thread itself."""
    for _ in prange(rows):
        np.random.seed(seed + get_thread_id())  # noqa: NPY002


def restore(seen, update, start=lambda: None):
    """(most frequent level of each pixel, hash of the last state, seconds) of a chain."""
    right, wrong = np.log(1 - NOISE + NOISE / LEVELS), np.log(NOISE / LEVELS)
    update(0, seen.copy(), seen, right, wrong)  # compiled beforehand
    start()
    levels, counts = seen.copy(), np.zeros((*seen.shape, LEVELS), np.int16)
    seconds = 0.0
    for step in range(SWEEPS):
        began = time.perf_counter()
        update(step, levels, seen, right, wrong)
        seconds += time.perf_counter() - began
        if step >= BURN_IN:
            counts += levels[..., None] == np.arange(LEVELS, dtype=np.int8)
    return counts.argmax(axis=2), hashlib.blake2b(levels.tobytes(), digest_size=4).hexdigest(), seconds


def main():
    """Spoil, restore, compare."""
    console = Console()
    truth = picture()
    seen = spoil(truth)
    threads = numba.config.NUMBA_NUM_THREADS
    console.print(f"{seen.shape[0]} x {seen.shape[1]} pixels, {np.mean(seen != truth):.1%} of them wrong, {SWEEPS} sweeps")

    def ours(step, levels, seen, right, wrong):
        sweep(KEY, step, levels, seen, right, wrong)

    def usual(step, levels, seen, right, wrong):
        sweep_usually(levels, seen, right, wrong)

    table = Table()
    for heading in ("", "ns a pixel", "1 thread", "once more", f"{threads} threads", "wrong"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, update, start in (
        ("numgumbel.nb", ours, lambda: None),
        ("np.random", usual, lambda: None),
        ("np.random, seeds", usual, lambda: seed_threads(1, len(seen))),
    ):
        hashes = []
        for number in (1, 1, threads):
            numba.set_num_threads(number)
            restored, state, seconds = restore(seen, update, start)
            hashes.append(state)
            if not hashes[1:]:
                cost = f"{seconds / SWEEPS / seen.size * 1e9:.0f}"
        table.add_row(name, cost, *hashes, f"{np.mean(restored != truth):.1%}")
    console.print(table)
    console.print(
        "Time of one thread; hashes of the last state of the chain; share of pixels whose most frequent level is wrong."
    )


if __name__ == "__main__":
    main()
