"""Reading the assembly that LLVM writes for a CPU: x86-64 in AT&T's spelling, and AArch64, of any system.

What is a spill and what is a loop stands in LLVM's own comments, which `dispatchers.annotated` asks for: kernels have buffers
on the stack, so that an address by the stack pointer alone tells nothing. Text without comments has neither.
"""

from __future__ import annotations

import collections
import dataclasses
import re

# Arithmetic of floats: sums, products, quotients, roots, maxima, fused multiply-adds. Moves and conversions are none.
_X86_FLOAT = re.compile(r"v?(?:add|sub|mul|div|sqrt|max|min|fn?m(?:add|sub)\d*|addsub|hadd)([ps])[sdh]$")
# Names that end as those of single numbers do, or are; and names of whole vectors among them.
_X86_SINGLE = re.compile(r"(?:s[sdh]|2si[lq]?|s[sdh]2u?si[lq]?|si2s[sdh][lq]?)$|^v?mov[dq]$|^v?u?comis")
_X86_WHOLE = re.compile(r"v?p?(?:broadcast|abs|compress|expand)")
_ARM_FLOAT = re.compile(r"f(?:n?m?(?:add|sub|ul|la|ls)|div|sqrt|abd|max|min|maxnm|minnm|n?mul)$")

# What reads or writes by an address and moves nothing of the program's.
_NO_ACCESS = re.compile(r"(?:lea|nop|prefetch|prfm|push|pop|call|jmp|j[a-z]+$|clflush)")
_ONLY_READS = re.compile(r"(?:cmp|test|bt[lqw]?$|v?u?comis)")
_ONLY_WRITES = re.compile(r"(?:v|k?mov|set|pextr|extract|maskmov|stmxcsr)")

_LABEL = re.compile(r"^([^\s#:]+):")
_BLOCK = re.compile(r"^\s*(?:\.?L?BB(\d+_\d+):|(?:#|//|;) %bb\.)")
_COMMENT = re.compile(r"(?:#(?![\d$-])|//|;).*$")
_SPILLED = re.compile(r"(\d+)-byte (?:Folded )?(Spill|Reload)")
_HEADER = re.compile(r"=>\s*This (Inner )?Loop Header: Depth=(\d+)")
_INSIDE = re.compile(r"\bin Loop: Header=BB(\d+_\d+)")


@dataclasses.dataclass
class Counts:
    """What a stretch of code has.

    Attributes
    ----------
    instructions, calls : int
        Of them.
    packed, scalar : int
        Instructions of float arithmetic: on vectors, and on single numbers.
    wide : dict of int to int
        Vector instructions by the bits of their widest register: 512, 256 or 128.
    loads, stores : int
        Instructions that read or write memory, but for spills.
    spills, reloads : int
        Instructions that put a register aside on the stack or take it back, by LLVM's comments.
    spilled_bytes : int
        That all spills write.
    """

    instructions: int = 0
    calls: int = 0
    packed: int = 0
    scalar: int = 0
    wide: dict[int, int] = dataclasses.field(default_factory=lambda: {512: 0, 256: 0, 128: 0})
    loads: int = 0
    stores: int = 0
    spills: int = 0
    reloads: int = 0
    spilled_bytes: int = 0

    @property
    def width(self) -> int:
        """Bits of the widest vector register in use; 0 for none."""
        return max((bits for bits, count in self.wide.items() if count), default=0)

    def __add__(self, other: Counts) -> Counts:
        """Both together."""
        wide = {bits: self.wide[bits] + other.wide[bits] for bits in self.wide}
        names = (each.name for each in dataclasses.fields(self) if each.name != "wide")
        return Counts(wide=wide, **{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclasses.dataclass
class Loop:
    """An innermost loop: its function, its first label, what stands in it."""

    function: str
    label: str
    counts: Counts


@dataclasses.dataclass
class Function:
    """A function of the text: what stands in it, and its innermost loops."""

    name: str
    counts: Counts
    loops: list[Loop]


def functions(text: str) -> list[Function]:
    """The functions of an assembly text, without what Numba adds: entries for Python and C, counting of references."""
    arm = re.search(r"%(?:[re](?:[abcd]x|[sb]p|[sd]i)|[xyz]mm\d+)\b", text) is None  # registers of x86 have a percent sign
    found = []
    for name, lines in _bodies(text):
        if not name.startswith(("_ZN7cpython", "cfunc.", "NRT_")):
            found.append(_function(plain_name(name), lines, arm))
    return found


def total(found: list[Function]) -> Counts:
    """All functions together."""
    return sum((each.counts for each in found), Counts())


def vector_loops(found: list[Function]) -> list[Loop]:
    """Innermost loops with vector instructions: the most of them first, those of the widest registers before all."""
    loops = [loop for each in found for loop in each.loops if loop.counts.width]
    return sorted(loops, key=lambda loop: sorted(loop.counts.wide.items(), reverse=True), reverse=True)


def plain_name(symbol: str) -> str:
    """The Python function's name in a symbol of Numba's: the last of its parts, each behind its length."""
    rest, part = re.sub(r"^_+Z?N?", "", symbol) if "_ZN" in symbol else "", symbol
    while (size := re.match(r"\d+", rest)) is not None:
        end = size.end() + int(size[0])
        part, rest = rest[size.end() : end], rest[end:]
    return part


def _bodies(text: str) -> list[tuple[str, list[str]]]:
    """Symbol and lines of each function: from its label to the label of its end."""
    symbols = set(re.findall(r"^\s+\.type\s+\"?([^\s,\"]+)\"?,\s*[@%]function|-- Begin function (\S+)", text, re.M))
    names = {name for pair in symbols for name in pair if name}
    found: list[tuple[str, list[str]]] = []
    inside = False
    for line in text.splitlines():
        label = _LABEL.match(line)
        name = "" if label is None else label[1].strip('"')
        if name in names or name.removeprefix("_") in names:  # macOS adds an underscore
            found.append((name if name in names else name.removeprefix("_"), []))
            inside = True
        elif "-- End function" in line or re.match(r"\.?Lfunc_end", name):
            inside = False
        elif inside:
            found[-1][1].append(line)
    return found


def _function(name: str, lines: list[str], arm: bool) -> Function:
    whole, loops = Counts(), collections.defaultdict[str, Counts](Counts)
    inner: set[str] = set()
    block, header = "", ""
    for line in lines:
        if (start := _BLOCK.match(line)) is not None:
            block, header = start[1] or "", ""
        if (told := _HEADER.search(line)) is not None:
            header = block
            if told[1]:
                inner.add(block)
        elif (told := _INSIDE.search(line)) is not None:
            header = told[1]
        counts = _line(line, arm)
        if counts is not None:
            whole += counts
            if header:
                loops[header] += counts
    return Function(name, whole, [Loop(name, f"BB{label}", counts) for label, counts in loops.items() if label in inner])


def _line(line: str, arm: bool) -> Counts | None:
    """What one line is; None where it is no instruction."""
    code = _COMMENT.sub("", line).strip()
    if not code or code.startswith(".") or code.endswith(":") or not line[:1].isspace():
        return None
    name, _, rest = code.replace("\t", " ").partition(" ")
    if name in ("lock", "rep", "repz", "repne"):
        name, _, rest = rest.strip().partition(" ")
    counts = (_arm if arm else _x86)(name, rest)
    counts.instructions = 1
    if (moved := _SPILLED.search(line)) is not None:
        counts.loads = counts.stores = 0
        if moved[2] == "Spill":
            counts.spills, counts.spilled_bytes = 1, int(moved[1])
        else:
            counts.reloads = 1
    return counts


def _x86(name: str, rest: str) -> Counts:
    counts = Counts(calls=int(name.startswith("call")))
    kind = _X86_FLOAT.match(name)
    if kind is not None:
        counts.packed, counts.scalar = int(kind[1] == "p"), int(kind[1] == "s")
    single = _X86_SINGLE.search(name) is not None and _X86_WHOLE.match(name) is None
    if not single:
        bits = next((bits for register, bits in (("%zmm", 512), ("%ymm", 256), ("%xmm", 128)) if register in rest), 0)
        if bits:
            counts.wide[bits] = 1
    if _NO_ACCESS.match(name):
        return counts
    operands = re.split(r",\s*(?![^(]*\))", rest.strip())
    in_memory = [re.search(r"\(.*%|\(%|^\w+:|\(%rip\)", operand) is not None for operand in operands]
    if any(in_memory[:-1]):
        counts.loads = 1
    elif in_memory[-1:] == [True]:
        alone = len(operands) == 1 and not _ONLY_WRITES.match(name)
        changes = alone and re.match(r"(?:inc|dec|neg|not|sh[lr]|sa[lr]|ro[lr])", name) is not None
        counts.loads = int(not _ONLY_WRITES.match(name))
        counts.stores = int(not _ONLY_READS.match(name) and (changes or not alone))
    return counts


def _arm(name: str, rest: str) -> Counts:
    counts = Counts(calls=int(name in ("bl", "blr")))
    vector = re.search(r"\bv\d+\.\d+[bhsd]\b", rest) is not None or re.search(r"\.\d+[bhsd]$", name) is not None
    name = name.partition(".")[0]  # macOS has the arrangement behind the name: fmul.4s v1, v0, v0
    if _ARM_FLOAT.match(name):
        counts.packed, counts.scalar = int(vector), int(not vector)
    if vector or (name.startswith(("ld", "st")) and re.match(r"\s*q\d+", rest)):
        counts.wide[128] = 1
    if "[" in rest and not _NO_ACCESS.match(name):
        counts.loads, counts.stores = int(name.startswith("ld")), int(name.startswith("st"))
    return counts
