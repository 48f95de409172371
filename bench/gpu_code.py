"""What the machine code of the GPU's kernels implies, read without a GPU: ``python bench/gpu_code.py --json FILE``.

Registers of every kernel, and of the main loops of argmax and softmax their instructions a category, with the time that these
take on an H200 at best, next to the time that its memory takes. Needs the compilers: ``pip install -e ".[cuda-compile]"``.
"""

import collections
import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import cuda_compile  # of the tests
import gpu_kernels

# H200: NVIDIA's data sheet for multiprocessors, clock and memory. Lanes a clock of a multiprocessor: CUDA C++ Programming
# Guide, "Throughput of native arithmetic instructions", compute capability 9.0.
H200 = {"multiprocessors": 132, "GHz": 1.98, "TB/s": 4.8}
ISSUED, FULL, HALF = 128, 128, 64

# Opcodes that run at full rate; other arithmetic runs at half.
AT_FULL_RATE = ("FFMA", "FADD", "FMUL")
BESIDE = ("LDG", "STG", "LDS", "STS", "BRA", "VOTE", "BSSY", "BSYNC", "WARPSYNC", "NOP", "U")
BYTES, SOFTMAX_BYTES = 4, 8


def main_loop():
    """Opcode counts of the main loop of `argmax_parts` in float32, and its categories."""
    kernel, signature, dtypes, _ = gpu_kernels.KERNELS["argmax_parts"]
    sass, _ = cuda_compile.assembled(cuda_compile.KernelCode(kernel.py_func, signature(dtypes["f32"])).ptx())
    (loop,) = [body for body in cuda_compile.loops(sass) if any(text.startswith("LDG.E.128") for text in body)]
    counts = collections.Counter(text.split()[0] for text in loop)
    return counts, 4 * sum(n for opcode, n in counts.items() if opcode.startswith("LDG.E.128"))


def loops_of_softmax():
    """Opcode counts of each loop over a row of `softmax_rows` in float32, on its shortest way round, and its categories."""
    kernel, signature, dtypes, _ = gpu_kernels.KERNELS["softmax_rows"]
    sass, _ = cuda_compile.assembled(cuda_compile.KernelCode(kernel.py_func, signature(dtypes["f32"])).ptx())
    found = {}
    for body, way in zip(cuda_compile.loops(sass), cuda_compile.loops(sass, shortest=True), strict=True):
        # (Where logits are read, the branch is that of the largest, at tau 1.)
        counts = collections.Counter(text.split()[0] for text in (body if len(body) < 100 else way))
        loads, stores, kept, taken, units, stored = (
            sum(n for opcode, n in counts.items() if opcode.startswith(start))
            for start in ("LDG.E.128", "STG.E.128", "STS.128", "LDS.128", "MUFU", "STG")
        )
        name = {
            (True, False, True, False, False): "logits",
            (False, False, True, True, True): "noise and terms, tau 1" if units > taken * 4 else "terms",
            (False, False, True, True, False): "noise",
            (False, True, False, True, False): "result",
        }.get((loads > 0, stores > 0 and stores == stored, kept > 0, taken > 0, units > 0))
        categories = 4 * (loads or taken)
        if name and categories > found.get(name, (None, 0))[1]:  # the loop of whole groups, before that of what is left
            found[name] = counts, categories
    return found


# What a row goes through at tau 1, and at another.
ROUNDS = {
    "tau 1": ("logits", "noise and terms, tau 1", "result"),
    "any tau": ("logits", "noise", "terms", "result"),
}


def softmax():
    """What the loops over a row imply, for each and for all that a row goes through."""
    loops = loops_of_softmax()
    found = {name: implied(*loop, bytes_moved=0) for name, loop in loops.items()}
    for name, parts in ROUNDS.items():
        whole = {key: sum(found[part][key] for part in parts) for key in found[parts[0]]}
        found[name] = whole | {"ns by memory": SOFTMAX_BYTES / H200["TB/s"] / 1000}
    return found


def implied(counts, categories, bytes_moved=BYTES):
    """Instructions a category, and what an H200 takes for a category at best: by issue, by half-rate units, by memory; ns."""
    total = sum(counts.values())
    arithmetic = sum(n for opcode, n in counts.items() if not opcode.startswith(BESIDE))
    half = sum(n for opcode, n in counts.items() if not opcode.startswith((*BESIDE, *AT_FULL_RATE)))
    lanes = H200["multiprocessors"] * H200["GHz"]
    return {
        "instructions": total / categories,
        "arithmetic": arithmetic / categories,
        "at half rate": half / categories,
        "ns by issue": total / categories / ISSUED / lanes,
        "ns by half-rate units": half / categories / HALF / lanes,
        "ns by memory": bytes_moved / H200["TB/s"] / 1000,
    }


def registers():
    """Registers of every kernel and dtype."""
    rows = []
    for name, (kernel, signature, dtypes, _) in gpu_kernels.KERNELS.items():
        for dtype, cell in dtypes.items():
            _, figures = cuda_compile.assembled(cuda_compile.KernelCode(kernel.py_func, signature(cell)).ptx())
            rows.append({"kernel": name, "dtype": dtype, **figures})
    return rows


@click.command()
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures to this file.")
def main(file):
    """Read the machine code."""
    counts, categories = main_loop()
    found = {
        "capability": "{}.{}".format(*cuda_compile.CAPABILITY),
        "H200": H200,
        "main loop of argmax_parts, float32": {"categories": categories, "opcodes": dict(counts.most_common())},
        "implied": implied(counts, categories),
        "softmax_rows, float32": softmax(),
        "kernels": registers(),
    }
    console = Console()
    table = Table(title="argmax_parts, float32, main loop: a category")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for name, figure in found["implied"].items():
        table.add_row(name, f"{figure:.3g}")
    console.print(table)
    table = Table(title="softmax_rows, float32: a category")
    for name in ("loop", *found["implied"]):
        table.add_column(name)
    for name, figures in found["softmax_rows, float32"].items():
        table.add_row(name, *(f"{figure:.3g}" for figure in figures.values()))
    console.print(table)
    table = Table(title=f"compute capability {found['capability']}")
    for name in ("kernel", "dtype", "registers", "shared", "spilled"):
        table.add_column(name)
    for row in found["kernels"]:
        table.add_row(*(str(row[column.header]) for column in table.columns))
    console.print(table)
    if file:
        file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
