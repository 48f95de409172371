"""What a block costs beyond its kernel in Dask: ``python bench/dask_chunks.py --json FILE``.

`categorical` on an array of blocks that are in memory, by Dask's synchronous scheduler, takes turns with the same blocks in a
plain loop, ids and joining and all, and with a `map_blocks` that does nothing. The difference between the first two over the
number of blocks is what Dask and this package add to each; the third is what Dask takes by itself. Making the graph counts.
"""

import json
import time
from pathlib import Path

import click
import dask
import dask.array as da
import numpy as np
from machine import machine
from rich.console import Console
from rich.table import Table

import numgumbel as ng

KEY = ng.key(1, "chunks")

# Rows and columns of a block, and how many blocks there are along either.
CASES = (4096, 18, 1, 1), (4096, 18, 16, 1), (4096, 18, 256, 1), (64, 16384, 1, 8), (64, 16384, 16, 8)


def calls(rows, columns, down, across):
    """Dask's call, a loop over the same blocks, and a call of Dask that does nothing."""
    x = np.random.default_rng(0).normal(size=(rows * down, columns * across)).astype(np.float32)
    blocks = [[np.ascontiguousarray(part) for part in np.split(row, across, axis=1)] for row in np.split(x, down)]
    lazy = da.block([[da.from_array(part, chunks=-1) for part in row] for row in blocks]).persist()
    ids = [np.arange(i * rows, (i + 1) * rows) for i in range(down)]
    numbers = [np.arange(i * columns, (i + 1) * columns) for i in range(across)]

    def loop():
        if across == 1:
            return [ng.categorical(KEY, part, rows=i) for (part,), i in zip(blocks, ids, strict=True)]
        return [
            ng.merge([ng.draw(KEY, a, rows=i, cols=c, want="score") for a, c in zip(row, numbers, strict=True)])
            for row, i in zip(blocks, ids, strict=True)
        ]

    def nothing():
        return da.map_blocks(first_column, lazy, chunks=(1,) * 2, dtype=x.dtype, meta=lazy._meta).compute()

    return lambda: ng.categorical(KEY, lazy).compute(), loop, nothing


def first_column(block):
    """A view."""
    return block[:1, :1]


def medians(calls, seconds):
    """Median time of each call in s; they take turns."""
    for call in calls:
        call()
    started, times = time.perf_counter(), [[] for _ in calls]
    while time.perf_counter() - started < seconds or len(times[0]) < 5:
        for call, mine in zip(calls, times, strict=True):
            before = time.perf_counter()
            call()
            mine.append(time.perf_counter() - before)
    return [float(np.median(mine)) for mine in times]


@click.command()
@click.option("--seconds", default=5.0, show_default=True, help="For each line.")
@click.option("--json", "path", type=click.Path(dir_okay=False), help="Write the results there.")
def main(seconds, path):
    """Time calls and print a table."""
    ng.set_num_threads(1)
    lines = []
    titles = "a block", "blocks", "Dask, ms", "loop, ms", "beyond it, us a block", "Dask alone, us a block"
    table = Table(*titles, title="categorical, float32")
    with dask.config.set(scheduler="synchronous"):
        for rows, columns, down, across in CASES:
            lazy, loop, nothing = medians(calls(rows, columns, down, across), seconds)
            beyond, alone = (each / (down * across) for each in (lazy - loop, nothing))
            names = "rows", "columns", "down", "across", "dask", "loop", "beyond", "alone"
            lines.append(dict(zip(names, (rows, columns, down, across, lazy, loop, beyond, alone), strict=True)))
            times = f"{1e3 * lazy:.2f}", f"{1e3 * loop:.2f}", f"{1e6 * beyond:.0f}", f"{1e6 * alone:.0f}"
            table.add_row(f"{rows} x {columns}", f"{down} x {across}", *times)
    Console().print(table)
    if path:
        Path(path).write_text(json.dumps({"machine": machine(("dask", "numba", "numpy")), "lines": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
