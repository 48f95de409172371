"""Write the checksums of the frozen workloads into numgumbel/workloads.py: ``python tests/make_workloads_golden.py``.

To be run when a workload is added, or when a change means to change results. It prints what differs from before, and
refuses to run where a workload cannot be run.
"""

import re
from pathlib import Path

from numgumbel import workloads

PATH = Path(__file__).parents[1] / "numgumbel" / "workloads.py"


def golden(checksums):
    """The lines between the marks."""
    lines = [f'        "{name}": "{checksum}",\n' for name, checksum in checksums.items()]
    return f"GOLDEN: Mapping[str, str] = MappingProxyType(\n    {{\n{''.join(lines)}    }}\n)\n"


def main():
    """Recompute and write."""
    checksums = workloads.recompute(workloads.WORKLOADS)
    for name, checksum in checksums.items():
        before = workloads.GOLDEN.get(name)
        if checksum != before:
            print(f"{name}: {before or 'new'} -> {checksum}")
    text, found = re.subn(
        r"(# <golden>\n).*?(# </golden>\n)", lambda m: m[1] + golden(checksums) + m[2], PATH.read_text(), flags=re.S
    )
    assert found == 1
    PATH.write_text(text)


if __name__ == "__main__":
    main()
