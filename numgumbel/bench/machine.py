"""What a results file says about the machine and the versions that its figures come from."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

LIBRARIES = "numba", "numpy", "numgumbel"
SMI = "driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "clocks.max.mem", "power.limit", "ecc.mode.current"


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


def gpu() -> dict[str, Any]:
    """Name, driver, clocks and sizes of the current GPU; of what NVIDIA's tool tells, what it tells."""
    from numba.cuda.cudadrv.driver import driver

    from numgumbel.kernels.gpu.loading import cuda

    device = cuda.get_current_device()
    facts = {
        "name": device.name if isinstance(device.name, str) else device.name.decode(),
        "compute_capability": "{}.{}".format(*device.compute_capability),
        "multiprocessors": device.MULTIPROCESSOR_COUNT,
        "l2_bytes": device.L2_CACHE_SIZE,
        "cuda_of_driver": "{}.{}".format(*driver.get_version()),
    }
    query = ["--query-gpu=" + ",".join(SMI), "--format=csv,noheader,nounits", f"--id={device.uuid}"]
    try:
        told = subprocess.run(["nvidia-smi", *query], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return facts
    return facts | dict(zip(SMI, (text.strip() for text in told.splitlines()[0].split(",")), strict=True))
