"""Nanoseconds a value of the vectorised scalar loops, one thread, with the machine and its vector width beside them.

    python bench/scalars.py                     prints the table
    python bench/scalars.py --json FILE         writes it too; README's table is made from such a file by bench/readme.py

Every loop works on one tile of 2048 columns that stays in the first-level cache, many tiles a call, so that the cost of the
call does not show. Medians of 31 repetitions.
"""

import json
import re
import statistics
import time
from pathlib import Path

import click
import numpy as np
from machine import machine
from numpy import float32, float64, uint32, uint64
from rich.console import Console
from rich.table import Table

from numgumbel.kernels import elementary, field
from numgumbel.kernels.cpu import bits, noise
from numgumbel.kernels.cpu.cells import TILE
from numgumbel.kernels.jit import loop

TILES, REPETITIONS = 100, 31
ADDRESS = (uint32(1), uint32(2), uint32(4), uint32(5), uint32(6))


@loop
def philox_words(pairs, address, tiles):
    """Words of Philox, four a call, TILE words a tile."""
    for tile in range(tiles):
        bits.fill_words(pairs, address, field.DOMAIN_COARSE, tile * TILE * 2, TILE // 4)


@loop
def field_bits_f32(g, scratch, cols, tiles):
    """The bits of the float32 field."""
    for tile in range(tiles):
        bits.fill_words(scratch[0], ADDRESS, field.DOMAIN_COARSE, tile * TILE, TILE // 8)
        bits.fill_words(scratch[1], ADDRESS, field.DOMAIN_FINE, tile * TILE, TILE // 8)


@loop
def field_bits_f64(g, scratch, cols, tiles):
    """The bits of the float64 field."""
    for tile in range(tiles):
        bits.fill_words(scratch[0], ADDRESS, field.DOMAIN_COARSE, tile * TILE, TILE // 8)
        bits.fill_words(scratch[1], ADDRESS, field.DOMAIN_FINE, tile * TILE, TILE // 8)
        bits.fill_tails(scratch[2], ADDRESS, tile * TILE, TILE // 8)


@loop
def dense(g, scratch, cols, tiles):
    """Bits, E and G, the tail included: the dense field."""
    for tile in range(tiles):
        noise.fill_noise(g, scratch, ADDRESS, cols, 0, 0, 0, tile * TILE)


def new_scratch():
    """Room for the bits of a tile."""
    return bits.scratch_of(np.empty(bits.HALVES, uint64), np.empty(bits.HALVES, uint64), np.empty(bits.TAILS, uint64))


def elementwise(function, real):
    """A loop of one scalar over a tile."""

    @loop
    def run(x, y, tiles):
        for _ in range(tiles):
            for j in range(x.shape[0]):
                y[j] = function(x[j])

    x = np.linspace(-20, 20, TILE).astype(real)
    return run, (np.exp(x) if "log" in function.__name__ else x, np.empty(TILE, real), TILES)


def loops():
    """(name, what a value is, function, arguments)."""
    g32, g64 = np.empty(TILE, float32), np.empty(TILE, float64)
    scratch, cols = new_scratch(), np.zeros((1, 1, 1), np.int64)
    yield "Philox4x32-10", "word", philox_words, (np.empty(TILE // 2, uint64), ADDRESS, TILES)
    yield "field bits, float32", "category", field_bits_f32, (g32, scratch, cols, TILES)
    yield "dense G, float32", "category", dense, (g32, scratch, cols, TILES)
    yield "field bits, float64", "category", field_bits_f64, (g64, scratch, cols, TILES)
    yield "dense G, float64", "category", dense, (g64, scratch, cols, TILES)
    for name, real, function in (
        ("E from bits, float32", uint32, field.exponential_f32),
        ("G from E, float32", float32, field.gumbel_of_exponential_f32),
        ("exp, float32", float32, elementary.exp_f32),
        ("log, float32", float32, elementary.log_f32),
        ("exp, float64", float64, elementary.exp_f64),
        ("log, float64", float64, elementary.log_f64),
    ):
        run, arguments = elementwise(function, real)
        if real is uint32:
            arguments = (np.random.default_rng(0).integers(0, 2**32, TILE, uint32), np.empty(TILE, float32), TILES)
        yield name, "value", run, arguments


def peers():
    """What NumPy takes for a noise value of the same kind, in the same run."""
    rng, out = np.random.default_rng(0), np.empty(TILE, float32)

    def one_value():
        for _ in range(TILES):
            np.log(rng.standard_exponential(out=out, dtype=float32), out=out)

    yield "NumPy, log(standard_exponential), float32", "value", one_value, ()
    yield "NumPy, Generator.gumbel, float64", "value", lambda: [rng.gumbel(size=TILE) for _ in range(TILES)], ()


def measure(function, arguments):
    """(median, smallest) nanoseconds a value."""
    function(*arguments)
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        function(*arguments)
        times.append((time.perf_counter() - start) / (TILES * TILE) * 1e9)
    return statistics.median(times), min(times)


def vector_bits(function):
    """Width of the widest vector register in the machine code: 512, 256, 128, or 0 where there is none to read."""
    if not hasattr(function, "inspect_asm"):
        return 0
    text = "".join(function.inspect_asm().values())
    return next((bits for bits, name in ((512, "zmm"), (256, "ymm"), (128, "xmm")) if re.search(f"%{name}", text)), 0)


@click.command()
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures to this file.")
def main(path):
    """Time the scalar loops."""
    rows = []
    for name, unit, function, arguments in (*loops(), *peers()):
        median, least = measure(function, arguments)
        rows.append(
            {
                "name": name,
                "unit": unit,
                "median_ns": round(median, 3),
                "min_ns": round(least, 3),
                "vector_bits": vector_bits(function),
            }
        )
    table = Table("loop", "ns (median)", "ns (least)", "a", "vector bits")
    for row in rows:
        table.add_row(
            row["name"], f"{row['median_ns']:.2f}", f"{row['min_ns']:.2f}", row["unit"], str(row["vector_bits"] or "")
        )
    Console().print(table)
    if path:
        path.write_text(json.dumps({"machine": machine(), "loops": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
