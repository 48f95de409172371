"""Write the tables of README and docs from the newest JSON of bench/results: ``python bench/readme.py``."""

import json
import re
from pathlib import Path

import summary

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
README, GPU, DASK = ROOT / "README.md", ROOT / "docs" / "gpu.md", ROOT / "docs" / "dask.md"
TORCH, PERFORMANCE = ROOT / "docs" / "torch.md", ROOT / "docs" / "performance.md"


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


def where(results, source, script):
    """The line above a table that says where its figures come from."""
    machine = results["machine"]
    return f"{machine['processor']} ({machine['cpu']}), medians; from `{source}`, written by `{script}`."


def speed_table(results, source):
    """Markdown table of the workloads beside the fastest of other libraries, for a narrow page."""
    lines = [
        f"{results['threads']} threads, {where(results, source, 'bench/cpu.py')}",
        "",
        "| workload | numgumbel | ready-made | times faster | hand-tuned | times faster |",
        "|---|---|---|---|---|---|",
    ]
    for entry in results["workloads"]:
        found = summary.summary(entry)
        cells = [f"`{entry['id']}`", summary.duration(found["us"])]
        for kind in ("ready-made", "hand-tuned"):
            name, us, times = found[kind]
            cells += [f"{name}: {summary.duration(us)}", summary.ratio(times)] if name else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(line.replace("  |", " |") for line in lines) + "\n"


def growth_table(results, source):
    """Markdown table of the fitted slopes."""
    lines = [
        where(results, source, "bench/scaling.py"),
        "",
        "| rows x categories | threads | logits | slope | ns a logit |",
        "|---|---|---|---|---|",
    ]
    for series in results["series"]:
        for fit in series["fits"]:
            if fit["slope"] is not None:
                size = f"{fit['from']:,} to {fit['to']:,}"
                told = f"{fit['slope']:.3f} ± {fit['standard_error']:.3f} | {fit['ns_an_element']:.2f}"
                lines.append(f"| {series['series']} | {series['threads']} {fit['side']}".rstrip() + f" | {size} | {told} |")
    return "\n".join(lines) + "\n"


def one_row_table(results, source):
    """Markdown table of draws of one row, of those that a decision hangs on."""
    names = list(results["rows"][0]["us"])
    lines = [
        f"{results['threads']} thread, {where(results, source, 'bench/one_row.py')}",
        "",
        f"| categories | draws | {' | '.join(names)} |",
        "|" + "---|" * (2 + len(names)),
    ]
    for row in results["rows"]:
        if row["draws"] in (1, 100, 10_000, 1_000_000):
            cells = " | ".join(summary.duration(row["us"].get(name)) or "not timed" for name in names)
            lines.append(f"| {row['categories']:,} | {row['draws']:,} | {cells} |")
    return "\n".join(lines) + "\n"


def estimators_table(results, source):
    """Markdown table of bias and deviation of gradients by temperature."""
    names = list(results["estimators"])
    lines = [
        f"From `{source}`, written by `bench/estimators.py`.",
        "",
        f"| tau | {' | '.join(f'`{name}`' for name in names)} |",
        "|" + "---|" * (1 + len(names)),
    ]
    for rows in zip(*results["estimators"].values(), strict=True):
        if rows[0]["tau"] in (0.1, 0.5, 1.0, 2.0):
            cells = " | ".join(f"{row['bias']:.2f}, {row['deviation']:.2f}" for row in rows)
            lines.append(f"| {rows[0]['tau']:g} | {cells} |")
    return "\n".join(lines) + f"\n\nThe score function, which has no bias: {results['score_function']:.2f}.\n"


def torch_table(results, source):
    """Markdown table of times beside torch's, and of peak memory."""
    lines = [
        where(results, source, "bench/torch_gradients.py"),
        "",
        "| what | numgumbel.torch | torch | times faster |",
        "|---|---|---|---|",
    ]
    for row in results["times"]:
        us, theirs = summary.duration(row["us"]), summary.duration(row["torch_us"])
        lines.append(f"| {row['name']} | {us} | {theirs} | {summary.ratio(row['times'])} |")
    for row in results["memory"]:
        name = f"peak memory, {row['shape'][0]} x {row['shape'][1]}{', hard' if row['hard'] else ''}"
        lines.append(f"| {name} | {row['MiB']:.0f} MiB | {row['torch_MiB']:.0f} MiB | |")
    return "\n".join(lines) + "\n"


def ppo_table(results, source):
    """Markdown table of what either distribution learns, a line a seed."""
    told = f"mean return of the last {results['episodes']} episodes, after {results['steps']:,} steps"
    lines = [f"| seed ({told}; from `{source}`) | torch's | numgumbel's |", "|---|---|---|"]
    for seed in sorted({run["seed"] for run in results["runs"]}):
        found = {run["categorical"]: run["mean"] for run in results["runs"] if run["seed"] == seed}
        lines.append(f"| {seed} | {found['torch']:.1f} | {found['numgumbel']:.1f} |")
    return "\n".join(lines) + "\n"


# What stands between the marks of that name: the kind of results that it is made from, how, and the page.
TABLES = {
    "cpu": ("cpu", cpu_table, README),
    "against": ("cpu", against_table, README),
    "scalars": ("scalars", scalar_table, README),
    "speed": ("cpu", speed_table, PERFORMANCE),
    "growth": ("scaling", growth_table, PERFORMANCE),
    "one-row": ("one-row", one_row_table, PERFORMANCE),
    "estimators": ("estimators", estimators_table, TORCH),
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
