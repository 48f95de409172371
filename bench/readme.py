"""Write the README's tables from the newest JSON of bench/results: ``python bench/readme.py``."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"


def newest(kind):
    """The results file of one kind with the latest date in its name."""
    return max(RESULTS.glob(f"{kind}-*.json"))


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


def main():
    """Replace what stands between the marks."""
    source = newest("scalars")
    table = scalar_table(json.loads(source.read_text()), source.relative_to(ROOT).as_posix())
    readme = ROOT / "README.md"
    text = re.sub(r"(<!-- scalars -->\n).*?(<!-- /scalars -->)", lambda m: m[1] + table + m[2], readme.read_text(), flags=re.S)
    readme.write_text(text)


if __name__ == "__main__":
    main()
