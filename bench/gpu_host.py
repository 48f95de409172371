"""What a call on a GPU costs the host, measured without one: ``python bench/gpu_host.py --json FILE``.

The driver is that of the tests' emulated GPU, and launches end where they begin: what is timed is Python, the CUDA bindings and
the empty call of a driver. Needs a C compiler and ``pip install -e ".[cuda-compile]"``.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import click
import numpy as np
from machine import machine
from rich.console import Console
from rich.table import Table

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS / "emulated"))

import emulator  # noqa: E402  # of the tests

emulator.start()

from numba import cuda  # noqa: E402  # once there is a driver

import numgumbel as ng  # noqa: E402

ROWS, COLUMNS = 4096, 18
KEY = ng.key(1, "host")


@cuda.jit
def stock(x, out):
    """A kernel of two arrays, for a launch by Numba itself."""
    out[0, 0] = x[0, 0]


def calls():
    """(name, call) of what is timed, all on 4096 x 18 float32."""
    values = np.zeros((ROWS, COLUMNS), np.float32)
    x, out = cuda.to_device(values), cuda.to_device(np.zeros(ROWS, np.int64))
    actions = ng.sample_actions(KEY, x)
    plan = ng.plan("sample_actions", KEY, x)
    step = iter(range(1 << 40)).__next__
    yield "plan.launch: action, log_prob and entropy", lambda: plan.launch(step())
    yield "sample_actions, out=", lambda: ng.sample_actions(KEY, x, step=step(), out=actions)
    yield "categorical, out=", lambda: ng.categorical(KEY, x, step=step(), out=out)
    yield "categorical, a new array of Numba's", lambda: ng.categorical(KEY, x, step=step())
    yield "an array of Numba's by itself", lambda: cuda.device_array(ROWS, np.int64)
    yield "Numba's launch of a kernel with two arrays", lambda: stock[1, 32](x, x)


def median(call, seconds):
    """Median time of a call in us, over batches that take so many seconds together."""
    with emulator.skipping():
        for _ in range(20):
            call()
        started, times = time.perf_counter(), []
        while time.perf_counter() - started < seconds:
            before = time.perf_counter()
            for _ in range(50):
                call()
            times.append((time.perf_counter() - before) / 50)
    return float(np.median(times)) * 1e6


@click.command()
@click.option("--seconds", default=2.0, show_default=True, help="For each call.")
@click.option("--json", "path", type=click.Path(dir_okay=False), help="Write the results there.")
def main(seconds, path):
    """Time calls and print a table."""
    warnings.simplefilter("ignore")
    rows = [{"name": name, "us": median(call, seconds)} for name, call in calls()]
    table = Table("call", "us", title=f"The host's part of a call, {ROWS} x {COLUMNS} float32")
    for row in rows:
        table.add_row(row["name"], f"{row['us']:.1f}")
    Console().print(table)
    if path:
        Path(path).write_text(json.dumps({"machine": machine(("numba-cuda", "cuda-bindings")), "calls": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
