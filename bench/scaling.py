"""Does the cost of `categorical` grow in proportion to its input? The log-log slope of time over elements, float32.

    python bench/scaling.py                     all series up to 10^8 elements; two minutes, 0.6 GB
    python bench/scaling.py --most 1e6          a quick look
    python bench/scaling.py --json FILE         writes every point and fit too

A series is a number of rows with ever more categories, or a number of categories with ever more rows. Its smallest call
costs what any call costs (arguments, output, first row) and little else; that time and its elements are taken off all others,
so that the slope of a cost a + b n is 1 whatever a is. A point counts from twice the smallest call's time on: below, noise in
it would show. With two threads the curve has a step where the second is asked for: each side is fitted by itself, against
its own smallest call.

Rounds go through all points of all series in a new random order; medians over the rounds. Every call draws another step, as a
processor learns the branches of a call that is repeated, and writes into an array that is there already. Every call reads
another part of one large array, so that small inputs come from as far as large ones and no cache makes a step in the curve;
``--near`` reads the same part each time.
"""

import itertools
import json
import math
import statistics
import time
from pathlib import Path

import click
import numpy as np
from machine import machine
from rich.console import Console
from rich.table import Table

import numgumbel as ng
from numgumbel.backends.cpu import pieces, samples

LEAST, A_DECADE = 1000, 4  # elements of the smallest call; points a decade
SHORTEST_TIMING = 5e-4  # seconds; faster calls are timed several in a row
BETWEEN = 0.97, 1.03  # the slopes that are meant to come out

KEY = ng.key(1, "scaling")
STEPS = itertools.count()


def longer_than(columns):
    """The least number of categories from there on that is sampled in the way of long rows."""
    return max(columns, samples.SHORT[np.dtype(np.float32)] + 1)


# Name, what grows, the other size, and the least size of what grows.
SERIES = (
    ("1 x K", "columns", 1, longer_than(LEAST)),
    ("32 x K", "columns", 32, longer_than(LEAST // 32)),
    ("n x 6", "rows", 6, LEAST // 6),
    ("n x 32", "rows", 32, LEAST // 32),
    ("n x 1000", "rows", 1000, LEAST // 1000),
)


def shapes(grows, other, least, most):
    """(rows, columns) of a series."""
    count = math.floor(math.log10(max(most / (least * other), 1)) * A_DECADE) + 1
    sizes = dict.fromkeys(round(least * 10 ** (i / A_DECADE)) for i in range(count))
    return [(size, other) if grows == "rows" else (other, size) for size in sizes if size * other <= most]


def asks_for_threads(call):
    """Whether a call deals out its work."""
    dealt, run = [], pieces.run
    pieces.run = lambda work, pieces: (dealt.append(pieces), run(work, pieces))
    try:
        call()
    finally:
        pieces.run = run
    return bool(dealt)


class Point:
    """One shape of a series under a number of threads, and its times."""

    def __init__(self, rows, columns, threads, cells, index, near):
        self.rows, self.columns, self.threads, self.elements, self.times = rows, columns, threads, rows * columns, []
        parts = 1 if near else len(cells) // self.elements
        self._inputs = itertools.cycle(range(parts))
        self._cells, self._out = cells, index[:rows]
        ng.set_num_threads(threads)
        self.call()
        self.dealt = asks_for_threads(self.call)
        start = time.perf_counter()
        self.call()
        self.number = max(1, math.ceil(SHORTEST_TIMING / (time.perf_counter() - start)))

    def call(self):
        """Sample once."""
        start = next(self._inputs) * self.elements
        x = self._cells[start : start + self.elements].reshape(self.rows, self.columns)
        ng.categorical(KEY, x, step=next(STEPS), out=self._out)

    def measure(self):
        """One more time, in seconds a call, after a call that is not timed."""
        ng.set_num_threads(self.threads)
        self.call()
        start = time.perf_counter()
        for _ in range(self.number):
            self.call()
        self.times.append((time.perf_counter() - start) / self.number)

    @property
    def median(self):
        """Seconds a call."""
        return statistics.median(self.times)


def slope(x, y):
    """Least-squares slope and its standard error."""
    x, y = np.asarray(x), np.asarray(y)
    dx, dy = x - x.mean(), y - y.mean()
    value = float(dx @ dy / (dx @ dx))
    rest = dy - value * dx
    return value, float(np.sqrt(rest @ rest / (len(x) - 2) / (dx @ dx)))


def fit(points):
    """The fit of one side of a series, as a dictionary; without a slope where fewer than three points count."""
    smallest = min(points, key=lambda point: point.elements)
    counted = [p for p in points if p.median >= 2 * smallest.median]
    found = {
        "smallest_call": smallest.elements,
        "smallest_call_us": round(smallest.median * 1e6, 3),
        "points": len(counted),
        "slope": None,
        "standard_error": None,
    }
    if len(counted) > 2:
        more = [math.log(p.elements - smallest.elements) for p in counted]
        longer = [math.log(p.median - smallest.median) for p in counted]
        last = max(counted, key=lambda point: point.elements)
        found["from"], found["to"] = min(p.elements for p in counted), last.elements
        found["ns_an_element"] = round((last.median - smallest.median) / (last.elements - smallest.elements) * 1e9, 4)
        found["slope"], found["standard_error"] = (round(value, 4) for value in slope(more, longer))
    return found


def sides(points):
    """(what it is called, its points): one side, or both of the step at which a second thread is asked for."""
    if points[0].threads == 1:
        return [("", points)]
    apart = [("below", [p for p in points if not p.dealt]), ("above", [p for p in points if p.dealt])]
    return [(name, side) for name, side in apart if side]


@click.command(help="Fit the growth of the cost of categorical.")
@click.option("--most", type=float, default=1e8, show_default=True, help="Elements of the largest call.")
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True, help="Times each call is measured.")
@click.option("--near", is_flag=True, help="Read the same input each time, from a cache where it fits.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures to this file.")
def main(most, rounds, near, path):
    """Measure and fit every series with one thread and with two."""
    most = int(most)
    cells, index = np.random.default_rng(0).standard_normal(most, np.float32), np.zeros(most // 6 + 32, np.int64)
    series = []
    for name, grows, other, least in SERIES:
        for threads in (1, 2):
            points = [Point(*shape, threads, cells, index, near) for shape in shapes(grows, other, least, most)]
            if points:
                series.append((name, threads, points))
    order, every = np.random.default_rng(1), [point for _, _, points in series for point in points]
    for _ in range(rounds):
        for number in order.permutation(len(every)):
            every[number].measure()

    table = Table("rows x K", "threads", "elements", "n", "least us", "ns each", "slope")
    results = []
    for name, threads, points in series:
        fits = [{"side": side, **fit(some)} for side, some in sides(points)]
        times = [
            {"rows": p.rows, "columns": p.columns, "median_us": round(p.median * 1e6, 3), "dealt_out": p.dealt} for p in points
        ]
        results.append({"series": name, "threads": threads, "fits": fits, "times": times})
        for found in fits:
            table.add_row(*cells_of(name, threads, found))
    console = Console()
    console.print(table)
    console.print(
        "Slopes of log(time - the smallest call's) over log(elements - the smallest call's), with their standard errors, "
        "from twice the smallest call's time (least us) on. ns each: of the largest call, without the smallest. "
        f"! outside {BETWEEN[0]} .. {BETWEEN[1]}. Two threads: below and above the step where the second is asked for."
    )
    if path:
        path.write_text(json.dumps({"machine": machine(), "rounds": rounds, "near": near, "series": results}, indent=1) + "\n")


def cells_of(name, threads, found):
    """A fit as text."""
    start = name, f"{threads} {found['side']}".strip()
    if found["slope"] is None:
        return *start, "", str(found["points"]), f"{found['smallest_call_us']:.1f}", "", "too few"
    mark = "" if BETWEEN[0] <= found["slope"] <= BETWEEN[1] else " !"
    return (
        *start,
        f"{found['from']:.0e} .. {found['to']:.0e}".replace("e+0", "e"),
        str(found["points"]),
        f"{found['smallest_call_us']:.1f}",
        f"{found['ns_an_element']:.3f}",
        f"{found['slope']:.3f} ± {found['standard_error']:.3f}{mark}",
    )


if __name__ == "__main__":
    main()
