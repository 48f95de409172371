"""Reading PTX, and what NVIDIA's assembler makes of it where that is installed."""

from __future__ import annotations

import collections
import dataclasses
import importlib.util
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

COMPILERS = 'NVIDIA\'s {} is missing: pip install "numgumbel[cuda-compile]"'


@dataclasses.dataclass
class Reading:
    """What a kernel's PTX has. Its registers are virtual: how many there are on a GPU, the assembler says.

    Attributes
    ----------
    instructions, calls, barriers : int
        Of them.
    fma : dict of str to int
        Fused multiply-adds, "f32" and "f64".
    loads, stores : dict of int to int
        Instructions that read or write global memory, or by an address that may be of any, by the bytes that a thread moves.
    shared, local : int
        Instructions that read or write a block's shared memory, and a thread's own, which is no register.
    """

    instructions: int = 0
    calls: int = 0
    barriers: int = 0
    fma: dict[str, int] = dataclasses.field(default_factory=lambda: {"f32": 0, "f64": 0})
    loads: dict[int, int] = dataclasses.field(default_factory=dict)
    stores: dict[int, int] = dataclasses.field(default_factory=dict)
    shared: int = 0
    local: int = 0


def read(text: str) -> Reading:
    """Read a PTX text."""
    found = Reading()
    loads, stores = collections.Counter[int](), collections.Counter[int]()
    for line in text.splitlines():
        code = re.match(r"\s+(?:\{\s*)?(?:@!?%\w+\s+)?([a-z][A-Za-z0-9_.:]*)\b[^;]*;", line)
        if code is None:
            continue
        name = code[1]
        found.instructions += 1
        found.calls += name.startswith("call")
        found.barriers += name.startswith(("bar.", "barrier."))
        for kind in found.fma:
            found.fma[kind] += re.fullmatch(rf"fma\.rn(?:\.ftz|\.sat)*\.{kind}(?:x2)?", name) is not None
        first, *parts = name.split(".")
        if first not in ("ld", "st") or "param" in parts or "const" in parts:
            continue
        if "shared" in parts or "local" in parts:
            found.shared += "shared" in parts
            found.local += "local" in parts
        else:
            vector = next((int(part[1:]) for part in parts if re.fullmatch(r"v\d", part)), 1)
            (loads if first == "ld" else stores)[vector * int(re.sub(r"\D", "", parts[-1])) // 8] += 1
    found.loads, found.stores = dict(sorted(loads.items())), dict(sorted(stores.items()))
    return found


@dataclasses.dataclass
class Assembled:
    """What NVIDIA's assembler says of a kernel: registers a thread, bytes spilled, bytes of shared memory."""

    registers: int
    spilled: int
    shared: int


def tool(name: str) -> str | None:
    """Path of one of NVIDIA's tools, or None."""
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.pathfinder") is None:
        return None
    from cuda import pathfinder

    found: str | None = pathfinder.find_nvidia_binary_utility(name)
    return found


def assembled(text: str, capability: tuple[int, int]) -> tuple[Assembled, bytes] | None:
    """What ptxas says of a PTX text, and the machine code; None where it is not installed.

    Raises
    ------
    ValueError
        If it does not know the compute capability, or refuses the text.
    """
    ptxas = tool("ptxas")
    if ptxas is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        source, code = Path(name) / "kernel.ptx", Path(name) / "kernel.cubin"
        source.write_text(text)
        command: list[str | Path] = [ptxas, f"-arch=sm_{capability[0]}{capability[1]}", "-v", source, "-o", code]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        if said.returncode:
            raise ValueError(f"ptxas refuses: {said.stderr.strip()}")
        return _said(said.stderr), code.read_bytes()


def _said(text: str) -> Assembled:
    def numbers(pattern: str) -> list[int]:
        return [int(number) for number in re.findall(pattern, text)]

    registers, shared = (max(numbers(pattern), default=0) for pattern in (r"Used (\d+) registers", r"(\d+) bytes smem"))
    return Assembled(registers, sum(numbers(r"(\d+) bytes spill stores")), shared)


def disassembled(code: Any) -> str:
    """SASS of machine code.

    Raises
    ------
    ImportError
        Where nvdisasm is not installed.
    """
    nvdisasm = tool("nvdisasm")
    if nvdisasm is None:
        raise ImportError(COMPILERS.format("nvdisasm"))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "kernel.cubin"
        path.write_bytes(code)
        return subprocess.run([nvdisasm, "-c", path], capture_output=True, text=True, check=True).stdout
