"""Draws from one row of fixed probabilities: Gumbel-max beside methods that prepare a table once, for few draws and for many.

    python bench/one_row.py                 prints the table
    python bench/one_row.py --json FILE     writes it too; docs/performance.md has its figures from there

Every call starts from the float64 probabilities, so that what a method prepares is in its time: cumulative sums and a guide
table (``method="inverse_cdf"``), cumulative sums (NumPy), the alias method (SciPy's ``DiscreteAliasUrn``). All take turns;
figures are medians, on one thread. Needs SciPy.
"""

import itertools
import json
import statistics
import time
from pathlib import Path

import click
import numpy as np
from machine import LIBRARIES, machine
from rich.console import Console
from rich.table import Table
from scipy.stats.sampling import DiscreteAliasUrn
from summary import duration

import numgumbel as ng

CATEGORIES, DRAWS = (6, 100, 10_000), (1, 10, 100, 1000, 10_000, 100_000, 1_000_000)
MOST = 10**9  # categories times draws: Gumbel-max beyond that is left out
SAMPLE = 5e-3  # seconds: short calls are repeated until a sample takes as long
KEY, STEPS = ng.key(1, "one row"), itertools.count(0, 1 << 20)


def gumbel_max(p, n):
    """Every category's noise in every draw."""
    return ng.categorical(KEY, probs=p, n=n, step=next(STEPS))


def inverse_cdf(p, n):
    """Cumulative weights and a guide table."""
    return ng.categorical(KEY, probs=p, n=n, step=next(STEPS), method="inverse_cdf")


def make_numpy(rng):
    """Cumulative sums and a binary search."""
    return lambda p, n: np.cumsum(p).searchsorted(rng.random(n) * p.sum(), side="right")


def make_alias(rng):
    """SciPy's alias method, table included."""
    return lambda p, n: DiscreteAliasUrn(p, random_state=rng).rvs(n)


METHODS = {
    "Gumbel-max": gumbel_max,
    "inverse CDF": inverse_cdf,
    "NumPy, searchsorted": make_numpy(np.random.default_rng(1)),
    "SciPy, alias": make_alias(np.random.default_rng(2)),
}


def probabilities(categories):
    """Of logits with a standard deviation of 1."""
    z = np.random.default_rng([5, categories]).normal(size=categories)
    p = np.exp(z)
    return p / p.sum()


def check(name, p, n=200_000):
    """Raise unless its draws have the probabilities given: a chi-squared statistic within 6 deviations of its mean."""
    seen, expected = np.bincount(METHODS[name](p, n), minlength=len(p)), n * p
    statistic, degrees = ((seen - expected) ** 2 / expected).sum(), len(p) - 1
    if abs(statistic - degrees) > 6 * np.sqrt(2 * degrees):
        raise ValueError(
            f"{name} draws from other probabilities: chi-squared {statistic:.0f} with {degrees} degrees of freedom"
        )


def seconds(method, p, n, calls):
    """Of one call, of so many."""
    before = time.perf_counter()
    for _ in range(calls):
        method(p, n)
    return (time.perf_counter() - before) / calls


def measure(categories, n, rounds):
    """Median microseconds of each method."""
    p = probabilities(categories)
    methods = {name: each for name, each in METHODS.items() if name != "Gumbel-max" or categories * n <= MOST}
    calls = {name: max(1, round(SAMPLE / min(seconds(each, p, n, 1) for _ in range(2)))) for name, each in methods.items()}
    samples = {name: [] for name in methods}
    for _ in range(rounds):
        for name, each in methods.items():
            samples[name].append(seconds(each, p, n, calls[name]))
    return {name: round(1e6 * statistics.median(each), 3) for name, each in samples.items()}


@click.command()
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(1))
@click.option("--most-draws", default=max(DRAWS), show_default=True, help="Leave out more draws than that.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the results there.")
def main(rounds, most_draws, path):
    """Check all, time all and print a table."""
    for name in METHODS:
        check(name, probabilities(6))
    threads = ng.get_num_threads()
    ng.set_num_threads(1)
    try:
        shapes = [(k, n) for k in CATEGORIES for n in DRAWS if n <= most_draws]
        rows = [{"categories": k, "draws": n, "us": measure(k, n, rounds)} for k, n in shapes]
    finally:
        ng.set_num_threads(threads)
    table = Table("categories", "draws", *METHODS)
    for row in rows:
        table.add_row(f"{row['categories']}", f"{row['draws']}", *(duration(row["us"].get(name)) for name in METHODS))
    Console().print(table)
    if path:
        facts = {"machine": machine((*LIBRARIES, "scipy")), "threads": 1, "rounds": rounds, "rows": rows}
        path.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
