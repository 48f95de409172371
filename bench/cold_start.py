"""What a process waits for before its first sample: the import, and the first call with an empty and with a filled cache.

    python bench/cold_start.py                  prints the tables; about a minute
    python bench/cold_start.py --json FILE      writes the figures too

Every figure is the median of several fresh processes, all kinds taken in turn. Imports are counted from before the import to
its end, with the files in the system's cache; first calls from the end of the import to the result. A call with an empty cache
compiles its kernel and stores it; the next process, which finds it there, is the one with a filled cache.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from machine import machine
from rich.console import Console
from rich.table import Table

IMPORT = """
import time
start = time.perf_counter()
import {name}
print(time.perf_counter() - start)
"""

FIRST_CALL = """
import time
import numpy as np
import numgumbel as ng
start = time.perf_counter()
x = np.zeros(({rows}, {columns}), np.float32)
ng.categorical(ng.key(1), x)
print(time.perf_counter() - start)
"""

IMPORTED = "numpy", "numba", "numgumbel"
SHAPES = {"1 x 6": (1, 6), "short rows, 1000 x 6": (1000, 6), "long rows, 32 x 128256": (32, 128_256)}


def seconds(code, **environment):
    """What a fresh process that runs the code prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def import_times(processes):
    """Seconds of each import."""
    for name in IMPORTED:
        seconds(IMPORT.format(name=name))  # the first writes byte code and reads the disk
    times = {name: [] for name in IMPORTED}
    for _ in range(processes):
        for name in IMPORTED:
            times[name].append(seconds(IMPORT.format(name=name)))
    return times


def first_call_times(processes):
    """Seconds of each first call: with an empty cache, and of the next process."""
    times = {name: {"empty": [], "filled": []} for name in SHAPES}
    for _ in range(processes):
        for name, (rows, columns) in SHAPES.items():
            with tempfile.TemporaryDirectory() as cache:
                for state in ("empty", "filled"):
                    code = FIRST_CALL.format(rows=rows, columns=columns)
                    times[name][state].append(seconds(code, NUMGUMBEL_CACHE_DIR=cache))
    return times


@click.command(help="Time import and first call.")
@click.option("--processes", type=click.IntRange(1), default=5, show_default=True, help="Fresh processes a figure.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures to this file.")
def main(processes, path):
    """Time import and first call in fresh processes."""
    imports = {name: statistics.median(times) for name, times in import_times(processes).items()}
    calls = {
        name: {state: statistics.median(times) for state, times in states.items()}
        for name, states in first_call_times(processes).items()
    }
    console = Console()
    table = Table("import", "s", "over numba's")
    for name, median in imports.items():
        table.add_row(name, f"{median:.3f}", f"{median / imports['numba']:.2f}")
    console.print(table)
    table = Table("first categorical, float32", "empty cache, s", "filled cache, s")
    for name, states in calls.items():
        table.add_row(name, f"{states['empty']:.2f}", f"{states['filled']:.3f}")
    console.print(table)
    if path:
        rounded = {name: {state: round(s, 4) for state, s in states.items()} for name, states in calls.items()}
        results = {
            "machine": machine(),
            "processes": processes,
            "import_s": {name: round(s, 4) for name, s in imports.items()},
            "import_over_numba": round(imports["numgumbel"] / imports["numba"], 3),
            "first_call_s": rounded,
        }
        path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
