"""Write the tables of README and docs from the newest JSON of bench/results: ``python bench/readme.py``."""

import json
import re
from pathlib import Path

import summary

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
README = ROOT / "README.md"
GPU, DASK, TORCH = (ROOT / "docs" / f"{name}.md" for name in ("gpu", "dask", "torch"))


def newest(kind):
    """The results file of one kind with the latest date in its name."""
    return max(RESULTS.glob(f"{kind}-*.json"))


def cpu_table(results, source):
    """Markdown table of the workloads beside other libraries."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {machine[key]}" for key, name in summary.LIBRARIES.items() if key in machine)
    lines = [
        f"{results['threads']} threads, {machine['processor']} ({machine['cpu']}), medians; {versions};",
        f"from `{source}`, written by `bench/cpu.py`.",
        "",
        f"| {' | '.join(summary.COLUMNS)} |",
        "|" + "---|" * len(summary.COLUMNS),
    ]
    lines += [f"| {' | '.join(summary.row(entry))} |" for entry in results["workloads"]]
    return "\n".join(line.replace("  |", " |") for line in lines) + "\n\n" + summary.NOTE


def against_table(results, source):
    """Markdown table of the named comparisons."""
    lines = [f"| {' | '.join(summary.AGAINST_COLUMNS)} |", "|" + "---|" * len(summary.AGAINST_COLUMNS)]
    lines += [f"| {' | '.join(texts)} |" for texts in summary.comparisons(results["workloads"])]
    return "\n".join(line.replace("  |", " |") for line in lines) + "\n\n" + summary.AGAINST_NOTE


def scalar_table(results, source):
    """Markdown table of the scalar loops."""
    machine = results["machine"]
    lines = [
        f"One thread, {machine['processor']} ({machine['cpu']}), values in the first-level cache, medians; from `{source}`,",
        "written by `bench/scalars.py`.",
        "",
        "| loop | ns | a |",
        "|---|---|---|",
    ]
    lines += [f"| {row['name']} | {row['median_ns']:.2f} | {row['unit']} |" for row in results["loops"]]
    return "\n".join(lines) + "\n"


def gpu_code_table(results, source):
    """Markdown table of what the machine code of long rows implies."""
    implied, gpu = results["implied"], results["H200"]
    lines = [
        f"| a category, float32 (from `{source}`, written by `bench/gpu_code.py`) | |",
        "|---|---|",
        f"| instructions | {implied['instructions']:.1f} |",
        f"| of arithmetic: Philox, bounds, maximum and the search for a NaN | {implied['arithmetic']:.1f} |",
        f"| of these at half rate | {implied['at half rate']:.1f} |",
        f"| an H200 ({gpu['multiprocessors']} multiprocessors, {gpu['GHz']} GHz) at best | "
        f"{1e3 * max(implied['ns by issue'], implied['ns by half-rate units']):.2f} ps |",
        f"| its memory at {gpu['TB/s']} TB/s | {1e3 * implied['ns by memory']:.2f} ps |",
    ]
    return "\n".join(lines) + "\n"


SOFTMAX_LOOPS = {
    "logits": "logits read and kept, the largest",
    "noise and terms, tau 1": "tau 1: noise, exp(logit - largest) / E, their sum",
    "noise": "other tau: noise, the largest",
    "terms": "other tau: exponentials, their sum",
    "result": "quotients, written",
}


def gpu_softmax_table(results, source):
    """Markdown table of what the machine code of relaxed samples implies."""
    found = results["softmax_rows, float32"]
    lines = [
        f"| instructions a category, float32 (from `{source}`) | all | at half rate |",
        "|---|---|---|",
    ]
    lines += [
        f"| {text} | {found[name]['instructions']:.1f} | {found[name]['at half rate']:.1f} |"
        for name, text in SOFTMAX_LOOPS.items()
    ]
    for name in ("tau 1", "any tau"):
        best = max(found[name]["ns by issue"], found[name]["ns by half-rate units"])
        lines.append(
            f"| **{name}**: an H200 {1e3 * best:.2f} ps at best, its memory {1e3 * found[name]['ns by memory']:.2f} ps | "
            f"{found[name]['instructions']:.1f} | {found[name]['at half rate']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def gpu_host_table(results, source):
    """Markdown table of what calls cost the host."""
    lines = [
        f"| 4096 x 18 float32 (from `{source}`, written by `bench/gpu_host.py`, with a driver that does nothing) | us |",
        "|---|---|",
    ]
    lines += [f"| {row['name']} | {row['us']:.1f} |" for row in results["calls"]]
    return "\n".join(lines) + "\n"


def dask_table(results, source):
    """Markdown table of what Dask adds to a block."""
    told = f"blocks (from `{source}`, written by `bench/dask_chunks.py`)"
    lines = [f"| {told} | beyond a loop over them, us a block | a task that does nothing |", "|---|---|---|"]
    for row in results["lines"]:
        blocks = f"{row['down']} x {row['across']} of {row['rows']} x {row['columns']}"
        lines.append(f"| {blocks} | {1e6 * row['beyond']:.0f} | {1e6 * row['alone']:.0f} |")
    return "\n".join(lines) + "\n"


def torch_table(results, source):
    """Markdown table of passes forward and backward beside torch's own."""
    machine = results["machine"]
    lines = [
        f"{machine['processor']} ({machine['cpu']}), torch {machine['torch']}, medians; from `{source}`, written by",
        "`bench/torch_gradients.py`.",
        "",
        "| what | numgumbel | torch | times faster |",
        "|---|---|---|---|",
    ]
    for row in results["times"]:
        ours, theirs = summary.duration(row["us"]), summary.duration(row["torch_us"])
        lines.append(f"| {row['name']} | {ours} | {theirs} | {row['times']:.1f} |")
    lines += ["", "| memory at its peak, forward and backward | numgumbel, MiB | torch, MiB |", "|---|---|---|"]
    for row in results["memory"]:
        shape = f"{row['shape'][0]} x {row['shape'][1]}{', hard' if row['hard'] else ''}"
        lines.append(f"| {shape} | {row['MiB']:.0f} | {row['torch_MiB']:.0f} |")
    return "\n".join(lines) + "\n"


def ppo_table(results, source):
    """Markdown table of what PPO has learnt with either distribution."""
    names = list(results["mean"])
    steps, episodes = results["steps"], results["episodes"]
    lines = [
        f"| seed: mean of the last {episodes} episodes, {steps:,} steps (from `{source}`) | {' | '.join(names)} |",
        "|---|" + "---|" * len(names),
    ]
    for seed in sorted({run["seed"] for run in results["runs"]}):
        found = {run["categorical"]: run["mean"] for run in results["runs"] if run["seed"] == seed}
        lines.append(f"| {seed} | {' | '.join(f'{found[name]:.1f}' for name in names)} |")
    lines.append(f"| **mean** | {' | '.join(f'**{mean:.1f}**' for mean in results['mean'].values())} |")
    return "\n".join(lines) + "\n"


# What stands between the marks of that name: the kind of results that it is made from, how, and the page.
TABLES = {
    "cpu": ("cpu", cpu_table, README),
    "against": ("cpu", against_table, README),
    "scalars": ("scalars", scalar_table, README),
    "torch-gradients": ("torch-gradients", torch_table, TORCH),
    "ppo": ("ppo-cartpole", ppo_table, TORCH),
    "dask-chunks": ("dask-chunks", dask_table, DASK),
    "gpu-host": ("gpu-host", gpu_host_table, GPU),
    "gpu-softmax": ("gpu-code", gpu_softmax_table, GPU),
    "gpu-code": ("gpu-code", gpu_code_table, GPU),
}


def table(name):
    """The table of one name, from the newest results of its kind."""
    kind, made, _ = TABLES[name]
    source = newest(kind)
    return made(json.loads(source.read_text()), source.relative_to(ROOT).as_posix())


def between_marks(name, text):
    """What stands between the marks now, and the text with the table there instead."""
    found = re.search(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", text, re.S)
    if found is None:
        raise ValueError(f"the page has no marks <!-- {name} --> and <!-- /{name} -->")
    return found[0], text[: found.start()] + table(name) + text[found.end() :]


def main():
    """Replace what stands between the marks."""
    for name, (_, _, page) in TABLES.items():
        _, text = between_marks(name, page.read_text())
        page.write_text(text)


if __name__ == "__main__":
    main()
