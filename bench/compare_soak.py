"""How often `numgumbel bench --compare` is right here: two runs of the same code, and one whose kernels do 1.3 times the rows.

    python bench/compare_soak.py                  20 pairs of each, into bench/results/compare-soak-DATE.json
    python bench/compare_soak.py --pairs 3        a quick look, written only where --json says

Each run is a process of its own. Runs of the code as it is are compared with the one before, and each slowed run with the run
of the code as it is before it. The slowed kernel is given the first rows a second time, below all others, until there are 1.3
times as many; what is verified is the part that was asked for.
"""

import collections
import functools
import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import click
import numpy as np
from machine import machine
from rich.console import Console
from rich.table import Table

from numgumbel.bench import compare, files
from numgumbel.workloads import Workload

RESULTS = Path(__file__).parent / "results"
WORKLOADS = "rl.b4096_a18.f32", "sim.b65536_a6.f32", "sim.b1024_a1000.f32", "vocab.b32_k128256.f32"
WANTED = 0.95


def slow_down(factor):
    """Make every workload that is bound from now on do so many times its rows."""
    bind = Workload.bind

    def slowed(workload, inputs=None, **given):
        inputs = workload.inputs() if inputs is None else inputs
        rows = workload.shape[0]
        extra = round((factor - 1) * rows)
        more = (None if array is None else np.concatenate([array, array[:extra]]) for array in inputs)
        call = bind(workload, type(inputs)(*more), **given)
        return functools.partial(lambda **options: call(**options)[:rows])

    Workload.bind = slowed


def run(folder, name, factor, options):
    """The results of one run in a process of its own."""
    path = folder / f"{name}.json"
    command = [sys.executable, __file__, "--worker", str(factor), "--json", str(path), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return files.load(path)


def counted(pairs):
    """Verdicts by workload, and of all."""
    counts = collections.defaultdict(collections.Counter)
    for old, new in pairs:
        for each in compare.compare(old, new):
            counts[each.workload][each.verdict] += 1
    counts["all"] = sum(counts.values(), collections.Counter())
    return {name: dict(count) for name, count in counts.items()}


def rate(counts, verdict):
    """Share of all comparisons with that verdict."""
    return counts["all"].get(verdict, 0) / sum(counts["all"].values())


@click.command(help="Count the verdicts of --compare where the truth is known.")
@click.option("--pairs", type=click.IntRange(1), default=20, show_default=True, help="Pairs of runs of each kind.")
@click.option("--factor", type=float, default=1.3, show_default=True, help="Of the rows of the slowed kernel.")
@click.option("--full", is_flag=True, help="Runs without --quick.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the counts to this file.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the files of all runs in this folder.")
@click.option("--worker", type=float, hidden=True, help="Be one run, slowed by this.")
def main(pairs, factor, full, path, keep, worker):
    """Run pairs and count."""
    options = [] if full else ["--quick"]
    if worker is not None:
        from numgumbel.cli import main as numgumbel

        if worker != 1:
            slow_down(worker)
        sys.exit(numgumbel(["bench", *WORKLOADS, "--json", str(path), *options]))
    console, seconds = Console(stderr=True), []
    with tempfile.TemporaryDirectory() as temporary, console.status("") as status:
        folder = keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        same, slower, before = [], [], run(folder, "first", 1, ["--full"] if full else [])
        for pair in range(pairs):
            status.update(f"pair {pair + 1} of {pairs}")
            slowed = run(folder, f"slowed-{pair}", factor, ["--full"] if full else [])
            now = run(folder, f"same-{pair}", 1, ["--full"] if full else [])
            slower.append((before, slowed))
            same.append((before, now))
            before = now
            seconds += [slowed["seconds"], now["seconds"]]
    found = {"same code": counted(same), f"{factor} times the rows": counted(slower)}
    rates = [rate(counts, right) for counts, right in zip(found.values(), (compare.SAME, compare.SLOWER), strict=True)]
    table = Table("truth", "workload", *compare.VERDICTS, box=None, title=f"{pairs} pairs of runs")
    for truth, counts in found.items():
        for name, count in counts.items():
            table.add_row(truth, name, *(str(count.get(verdict, 0)) for verdict in compare.VERDICTS))
    Console().print(table)
    results = {
        "machine": machine(),
        "pairs": pairs,
        "factor": factor,
        "quick": not full,
        "margin": compare.MARGIN,
        "seconds_a_run": round(float(np.median(seconds)), 1),
        "verdicts": found,
        "right": dict(zip(found, rates, strict=True)),
        "wanted": WANTED,
    }
    target = path or (RESULTS / f"compare-soak-{date.today().isoformat()}.json" if pairs >= 20 else None)
    if target:
        target.write_text(json.dumps(results, indent=1) + "\n")
    sys.exit(min(rates) < WANTED)


if __name__ == "__main__":
    main()
