"""What the harness adds to a short call: its median beside timeit's, of a call of 2 us.

    python bench/overhead.py                into bench/results/overhead-DATE.json
    python bench/overhead.py --rounds 9     a quick look, written only where --json says

Both time the same callable, numgumbel's shortest call, and take turns. The difference may be 10 %.
"""

import itertools
import json
import statistics
import sys
import timeit
from datetime import date
from pathlib import Path

import click
from machine import machine

from numgumbel.bench.clock import FULL, Clock
from numgumbel.workloads import get

RESULTS = Path(__file__).parent / "results"
ID, ALLOWED, ROUNDS = "rl.b1_a6.f32", 0.1, 101


@click.command(help="Compare the harness with timeit.")
@click.option("--rounds", type=click.IntRange(3), default=ROUNDS, show_default=True, help="Blocks of each.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the figures to this file.")
def main(rounds, path):
    """Measure and print both."""
    bound, steps = get(ID).bind(), itertools.count()

    def call():
        return bound(step=next(steps))

    clock, timer = Clock(), timeit.Timer(call)
    number, _ = clock.calls(call, FULL.sample_ns)
    medians = {"harness_ns": [], "timeit_ns": []}
    for _ in range(rounds):
        medians["harness_ns"] += clock.block(call, number, FULL.samples, number)
        timer.timeit(number)
        medians["timeit_ns"] += [timer.timeit(number) / number * 1e9 for _ in range(FULL.samples)]
    found = {name: round(statistics.median(samples), 1) for name, samples in medians.items()}
    difference = found["harness_ns"] / found["timeit_ns"] - 1
    results = {"machine": machine(), "workload": ID, "rounds": rounds, **found, "difference": round(difference, 4)}
    print(f"harness {found['harness_ns']:.0f} ns, timeit {found['timeit_ns']:.0f} ns, difference {difference:+.1%}")
    target = path or (RESULTS / f"overhead-{date.today().isoformat()}.json" if rounds >= ROUNDS else None)
    if target:
        target.write_text(json.dumps({**results, "allowed": ALLOWED}, indent=1) + "\n")
    sys.exit(abs(difference) > ALLOWED)


if __name__ == "__main__":
    main()
