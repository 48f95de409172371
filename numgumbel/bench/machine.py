"""What a results file says about the machine and the versions that its figures come from."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

LIBRARIES = "numba", "numpy", "numgumbel"


def machine(libraries: Iterable[str] = LIBRARIES) -> dict[str, Any]:
    """Date, processor, system, Python, and the versions of those libraries that are installed."""
    facts = {
        "date": date.today().isoformat(),
        "cpu": llvm.get_host_cpu_name(),
        "processor": processor(),
        "system": platform.system(),
        "python": platform.python_version(),
    }
    for name in libraries:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            continue
    return facts


def processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.processor()
