"""Regimes of US growth: posterior paths of a hidden Markov model, sampled backwards in a loop of your own.

    python examples/hmm_ffbs.py

Quarterly growth of real GDP, 1959 to 2009 (statsmodels' `macrodata`), is normal with the mean and spread of a hidden regime
that follows a Markov chain. Forward filtering, backward sampling (Chib, J. Econometrics 75 (1996),
doi:10.1016/0304-4076(95)01770-4) draws whole paths: regime t given regime t + 1, from the last quarter back. That is a chain of
tiny categorical draws, which no call on arrays can do at once, so it is written as a loop.

What it shows: with the noise of a draw named by (path, quarter), a path does not depend on how many are drawn, in what order
and by how many threads, and any one can be drawn again alone. The usual generators give none of that in a parallel loop. The
frequencies of the sampled regimes are compared with the exact smoothing probabilities.
"""

import time

import numba
import numpy as np
from numba import njit, prange
from rich.console import Console
from rich.table import Table
from statsmodels.datasets import macrodata

import numgumbel as ng
from numgumbel import nb

REGIMES = 3
PATHS = 20_000
KEY = ng.key(42, "regimes of growth")


def growth():
    """Growth of real GDP, per cent a year, one number a quarter."""
    return 400 * np.diff(np.log(macrodata.load_pandas().data["realgdp"].to_numpy()))


def smooth(y, start, moves, mean, spread):
    """Filtered and smoothed probabilities of shape (quarters, regimes), and pairs (quarters - 1, regimes, regimes).

    Hamilton (1989), doi:10.2307/1912559; the density's constant factor is left out.
    """
    density = np.exp(-0.5 * ((y[:, None] - mean) / spread) ** 2) / spread
    filtered = np.empty_like(density)
    for t in range(len(y)):
        p = (start if t == 0 else filtered[t - 1] @ moves) * density[t]
        filtered[t] = p / p.sum()
    smoothed = filtered.copy()
    pairs = np.empty((len(y) - 1, len(mean), len(mean)))
    for t in range(len(y) - 2, -1, -1):
        joint = filtered[t][:, None] * moves
        pairs[t] = joint / joint.sum(0) * smoothed[t + 1]
        smoothed[t] = pairs[t].sum(1)
    return filtered, smoothed, pairs


def fit(y, rounds=200):
    """Start, transition matrix, means and spreads by expectation-maximisation (Baum and others, 1970)."""
    mean = np.quantile(y, (np.arange(REGIMES) + 0.5) / REGIMES)
    spread = np.full(REGIMES, y.std() / 2)
    moves = np.full((REGIMES, REGIMES), 0.1 / (REGIMES - 1))
    np.fill_diagonal(moves, 0.9)
    start = np.full(REGIMES, 1 / REGIMES)
    for _ in range(rounds):
        _, smoothed, pairs = smooth(y, start, moves, mean, spread)
        start = smoothed[0]
        moves = pairs.sum(0) / pairs.sum((0, 2))[:, None]
        weight = smoothed.sum(0)
        mean = (smoothed * y[:, None]).sum(0) / weight
        spread = np.maximum(np.sqrt((smoothed * (y[:, None] - mean) ** 2).sum(0) / weight), 0.3)
    return start, moves, mean, spread


@njit
def sample_path(key, path, log_filtered, log_moves, logits, regimes):
    """One path, from the last quarter back: the noise is that of (path, quarter)."""
    last = len(log_filtered) - 1
    for t in range(last, -1, -1):
        for k in range(len(logits)):
            logits[k] = log_filtered[t, k] + (log_moves[k, regimes[t + 1]] if t < last else 0.0)
        regimes[t] = nb.categorical_row(key, t, path, logits)


@njit(parallel=True)
def sample_paths(key, log_filtered, log_moves, regimes):
    """Paths 0, 1, ..., as many as there are rows."""
    for path in prange(len(regimes)):
        sample_path(key, path, log_filtered, log_moves, np.empty(log_filtered.shape[1]), regimes[path])


@njit(parallel=True)
def sample_paths_usually(filtered, moves, regimes):
    """The same by Numba's np.random, which has a state in every thread: cumulative sums and one uniform a draw."""
    last = filtered.shape[0] - 1
    for path in prange(len(regimes)):
        weights = np.empty(filtered.shape[1])
        for t in range(last, -1, -1):
            for k in range(len(weights)):
                weights[k] = filtered[t, k] * (moves[k, regimes[path, t + 1]] if t < last else 1.0)
            sums = np.cumsum(weights)
            regimes[path, t] = np.searchsorted(sums, np.random.random() * sums[-1])  # noqa: NPY002


def sample_paths_in_python(rng, filtered, moves, regimes):
    """The same by rng.choice."""
    last = filtered.shape[0] - 1
    for path in regimes:
        for t in range(last, -1, -1):
            p = filtered[t] * (moves[:, path[t + 1]] if t < last else 1.0)
            path[t] = rng.choice(len(p), p=p / p.sum())


def worst_deviation(regimes, smoothed):
    """Largest difference of frequency and exact probability, in standard errors, where 20 or more of either are expected."""
    frequency = np.stack([(regimes == k).mean(0) for k in range(smoothed.shape[1])], axis=1)
    variance = smoothed * (1 - smoothed) * len(regimes)
    counts = np.abs(frequency - smoothed) * len(regimes)
    return float((counts / np.sqrt(np.maximum(variance, 1)))[variance >= 20].max())


def timed(function, *arguments):
    """Best of three, in ns a draw, once compiled; the last argument is the output."""
    best = np.inf
    for _ in range(4):
        start = time.perf_counter()
        function(*arguments)
        best = min(best, time.perf_counter() - start)
    return best / arguments[-1].size * 1e9


def ways(sample, arguments, quarters, threads):
    """All paths by one thread, once more, and by several."""
    found = [np.empty((PATHS, quarters), np.int8) for _ in range(3)]
    for number, place in zip((threads, 1, 1), reversed(found), strict=True):
        numba.set_num_threads(number)
        sample(*arguments, place)
    return found


def answer(left, right):
    """In words, whether two samples are one."""
    return "the same" if np.array_equal(left, right) else "others"


def main():
    """Fit, sample, check, compare."""
    console = Console()
    y = growth()
    start, moves, mean, spread = fit(y)
    filtered, smoothed, _ = smooth(y, start, moves, mean, spread)
    with np.errstate(divide="ignore"):
        log_filtered, log_moves = np.log(filtered), np.log(moves)
    console.print(f"{len(y)} quarters; growth in the regimes, per cent a year: {np.round(mean, 1).tolist()}")

    threads = numba.config.NUMBA_NUM_THREADS
    alone = 12_345
    ours = ways(sample_paths, (KEY, log_filtered, log_moves), len(y), threads)
    one_path = np.empty(len(y), np.int8)
    sample_path(KEY, alone, log_filtered, log_moves, np.empty(REGIMES), one_path)
    usual = ways(sample_paths_usually, (filtered, moves), len(y), threads)
    few = np.empty((10, len(y)), np.int8)
    sample_paths_usually(filtered, moves, few)
    choice = [np.empty((count, len(y)), np.int8) for count in (20, 20, 1)]
    for place in choice:
        sample_paths_in_python(np.random.default_rng(1), filtered, moves, place)

    table = Table(title=f"{PATHS} posterior paths, one thread")
    for heading in ("", "ns a draw", "once more", f"{threads} threads", "fewer paths", "deviation"):
        table.add_column(heading, justify="left" if not heading else "right")
    table.add_row(
        "numgumbel.nb",
        f"{timed(sample_paths, KEY, log_filtered, log_moves, ours[0].copy()):.0f}",
        answer(ours[0], ours[1]),
        answer(ours[0], ours[2]),
        answer(ours[0][alone], one_path),
        f"{worst_deviation(ours[0], smoothed):.1f}",
    )
    table.add_row(
        "np.random",
        f"{timed(sample_paths_usually, filtered, moves, usual[0].copy()):.0f}",
        answer(usual[0], usual[1]),
        answer(usual[0], usual[2]),
        answer(usual[0][:10], few),
        f"{worst_deviation(usual[0], smoothed):.1f}",
    )
    table.add_row(
        "rng.choice",
        f"{timed(sample_paths_in_python, np.random.default_rng(1), filtered, moves, choice[0].copy()):.0f}",
        answer(choice[0], choice[1]),
        "-",
        answer(choice[0][-1], choice[2][0]),
        "-",
    )
    console.print(table)
    console.print(f"Fewer paths: number {alone} alone, the first 10, the last of 20 alone.")
    console.print("Deviation: the worst of a frequency from its exact smoothing probability, in standard errors.")


if __name__ == "__main__":
    main()
