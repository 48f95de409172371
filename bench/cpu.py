"""Times of the frozen workloads on the CPU, beside other libraries and beside one reading of the same array.

    python bench/cpu.py                                     prints the table
    python bench/cpu.py --only rl.b1_a6.f32 --rounds 31     of some workloads
    python bench/cpu.py --json FILE                         writes everything too; README's tables are made from such a file
                                                            by bench/readme.py

All peers: python -m pip install torch jax. Workloads in bfloat16: python -m pip install ml_dtypes. What is not
installed is said, and left out.

The contenders of a workload take turns, in another order every round, so that the machine's noise hits all alike. A sample is
the mean of many calls where a call is short. Before each sample a contender warms up by its own calls: threads of the one
before may watch for work for some milliseconds more, and hold a core. Figures are medians of the samples. numgumbel's answer
is verified before it is timed.
"""

import gc
import json
import random
import statistics
import time
import timeit
from pathlib import Path

import click
import peers
import summary
from contender import CATEGORICAL, IN_FLOAT32, NUMGUMBEL, ONE_THREAD, OURS
from machine import LIBRARIES, machine
from rich.console import Console
from rich.table import Table

import numgumbel as ng
from numgumbel.workloads import WORKLOADS

SAMPLE = 5e-3  # seconds: calls are repeated until a sample takes as long, as in a stream of calls
WARM_UP, LONG = 10e-3, 50e-3  # seconds of warming up; calls beyond the second warm themselves up
WORTH_THREADS = 200e-6  # seconds of a call from which it is also timed on one thread
BUDGET, FEWEST = 8.0, 5  # seconds of a workload's rounds, unless that leaves too few rounds
EVERYBODY = [NUMGUMBEL, ONE_THREAD, CATEGORICAL, IN_FLOAT32, *peers.PEERS]


class Runner:
    """A contender at one workload: its call, and the samples taken so far."""

    def __init__(self, contender, workload, inputs):
        self.contender = contender
        self.samples = []
        call = contender.prepare(workload, inputs)
        self._timer = timeit.Timer(call)  # made once: its compilation would leave helper threads time to fall asleep
        self._on_threads(call)  # compiles, and touches new memory
        self.call_s = min(self._seconds(1) for _ in range(3))
        self.calls = 1
        while self.call_s * self.calls < SAMPLE:
            self.calls *= 2
            self.call_s = self._seconds(self.calls)
        self.warm_ups = 0 if self.call_s > LONG else max(1, round(WARM_UP / self.call_s))

    @property
    def round_s(self):
        """Seconds of one sample with its warming up."""
        return self.call_s * (self.calls + self.warm_ups)

    def sample(self):
        """Warm up and take a sample."""
        if self.warm_ups:
            self._seconds(self.warm_ups)
        self.samples.append(self._seconds(self.calls))

    def _seconds(self, calls):
        """Seconds a call, of that many."""
        return self._on_threads(lambda: self._timer.timeit(calls)) / calls

    def _on_threads(self, run):
        threads = ng.get_num_threads()
        ng.set_num_threads(self.contender.threads or threads)
        try:
            return run()
        finally:
            ng.set_num_threads(threads)

    def figures(self):
        """The contender's entry in the results."""
        of_rows = self.contender.of_rows
        return {
            "name": self.contender.name,
            "kind": self.contender.kind,
            "library": self.contender.library if self.contender.kind != OURS else "numgumbel",
            "median_us": round(statistics.median(self.samples) * 1e6 / of_rows, 4),
            "min_us": round(min(self.samples) * 1e6 / of_rows, 4),
            "calls_a_sample": self.calls,
            **({"scaled_from_share_of_rows": of_rows} if of_rows != 1 else {}),
        }


def measure(workload, contenders, rounds):
    """The entry of one workload in the results."""
    workload.verify()
    inputs, cost = workload.inputs(), workload.cost()
    runners = [Runner(c, workload, inputs) for c in contenders if c.fits(workload)]
    if runners[0].call_s < WORTH_THREADS or ng.get_num_threads() == 1:
        runners = [runner for runner in runners if runner.contender is not ONE_THREAD]
    rounds = min(rounds, max(FEWEST, int(BUDGET / sum(runner.round_s for runner in runners))))
    order = random.Random(0)
    for _ in range(rounds):
        for runner in order.sample(runners, len(runners)):
            runner.sample()
    return {
        "id": workload.id,
        "operation": workload.operation,
        "shape": workload.shape,
        "dtype": workload.dtype,
        "elements": cost.elements,
        "draws": workload.n or 1,
        "bytes_read": cost.bytes_read,
        "bytes_written": cost.bytes_written,
        "rounds": rounds,
        "contenders": [runner.figures() for runner in runners],
    }


def installed(console):
    """The contenders whose libraries are there; a line for each library that is not."""
    missing = {contender.library: contender.missing() for contender in EVERYBODY}
    for line in filter(None, missing.values()):
        console.print(line)
    return [contender for contender in EVERYBODY if not missing[contender.library]]


def table_of(rows, columns, names):
    """A table for the console; columns of those numbers hold names."""
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number in names else "right", no_wrap=number in names)
    for row in rows:
        table.add_row(*row)
    return table


@click.command()
@click.option("--only", multiple=True, metavar="ID", type=click.Choice(list(WORKLOADS)), help="A workload; may be repeated.")
@click.option("--rounds", type=click.IntRange(min=1), default=21, show_default=True, help="Samples of each, if time allows.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures to this file.")
def main(only, rounds, path):
    """Time the frozen workloads."""
    console, progress = Console(highlight=False), Console(stderr=True)
    console.width = max(console.width, 200)
    contenders = installed(progress)
    started, entries = time.perf_counter(), []
    for name in only or WORKLOADS:
        if line := WORKLOADS[name].missing():
            progress.print(line, soft_wrap=True)
            continue
        with progress.status(name):
            entries.append(measure(WORKLOADS[name], contenders, rounds))
        gc.collect()
    console.print(table_of(map(summary.row, entries), summary.COLUMNS, summary.NAMES))
    console.print(summary.NOTE, soft_wrap=True)
    if comparisons := summary.comparisons(entries):
        console.print(table_of(comparisons, summary.AGAINST_COLUMNS, summary.AGAINST_NAMES))
        console.print(summary.AGAINST_NOTE, soft_wrap=True)
    console.print(f"{ng.get_num_threads()} threads, {time.perf_counter() - started:.0f} s")
    if path:
        libraries = dict.fromkeys((*LIBRARIES, *(contender.library for contender in contenders)))
        facts = {"machine": machine(libraries), "threads": ng.get_num_threads(), "workloads": entries}
        path.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
