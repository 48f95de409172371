"""An interpreter for the PTX of one scalar device function (C ABI), vectorised over lanes.

Registers are NumPy arrays with one lane an element, so that a million inputs take seconds. Each lane has a program counter
of its own: at every branch the lanes part, the group furthest behind goes on, and groups meet where their counters meet.
Memory, shuffles and calls are not known: a function that needs them is an error here.

    Machine(ptx)(np.array([...], np.uint32))      -> array of results
"""

import re
from fractions import Fraction

import numpy as np

_TYPES = {
    **{f"u{n}": np.dtype(f"u{n // 8}") for n in (8, 16, 32, 64)},
    **{f"b{n}": np.dtype(f"u{n // 8}") for n in (8, 16, 32, 64)},
    **{f"s{n}": np.dtype(f"i{n // 8}") for n in (8, 16, 32, 64)},
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "pred": np.dtype(bool),
}
_COMPARE = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip
_ARITHMETIC = {"add": np.add, "sub": np.subtract, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}


def fma32(a, b, c):
    """Correctly rounded float32 a * b + c: the product is exact in float64, the sum is rounded to odd, then to float32."""
    with np.errstate(all="ignore"):
        return _sum_to_odd(a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)).astype(np.float32)


def fma64(a, b, c):
    """Correctly rounded float64 a * b + c.

    Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", IEEE
    Transactions on Computers 57 (2008), doi:10.1109/TC.2007.70819; lanes near the ends of the exponent range go
    through exact fractions.
    """
    with np.errstate(all="ignore"):
        high, low = _exact_product(a, b)
        sum_high, sum_low = _exact_sum(c, low)
        top, rest = _exact_sum(high, sum_high)
        result = top + _sum_to_odd(sum_low, rest)
        sizes = np.abs(np.stack([a, b, c, a * b]))
        risky = ~(((sizes < 2.0**900) & (sizes > 2.0**-900)) | (sizes == 0)).all(axis=0) & np.isfinite(a * b + c)
        result = np.where(np.isfinite(a * b + c), result, a * b + c)
        # A zero result takes the sign that IEEE 754 gives the plain sum.
        result = np.where((result == 0) & ~risky, a * b + c, result)
    for i in np.flatnonzero(risky):
        exact = Fraction(float(a[i])) * Fraction(float(b[i])) + Fraction(float(c[i]))
        result[i] = float(exact) if exact else a[i] * b[i] + c[i]
    return result


def _exact_sum(x, y):
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


def _exact_product(x, y):
    product = x * y
    (xh, xl), (yh, yl) = _halves(x), _halves(y)
    return product, ((xh * yh - product) + xh * yl + xl * yh) + xl * yl


def _halves(x):
    scaled = x * 134217729.0  # 2^27 + 1
    high = scaled - (scaled - x)
    return high, x - high


def _sum_to_odd(x, y):
    """x + y in float64 rounded to odd: an inexact result gets an odd last bit, so that one more rounding is as if the first."""
    total, error = _exact_sum(x, y)
    bits = total.view(np.int64)
    inexact_even = (error != 0) & np.isfinite(total) & ((bits & 1) == 0)
    away_from_zero = (error > 0) == (total > 0)
    return np.where(inexact_even, np.where(away_from_zero, bits + 1, bits - 1), bits).view(np.float64)


class Machine:
    """One ``.func`` named ``fn`` of a PTX text; call it with one array a parameter, all of one length."""

    def __init__(self, ptx):
        func = re.search(r"\.func\s*\(([^)]*)\)\s*fn\s*\(([^)]*)\)\s*\{(.*?)\n\}", ptx, re.S)
        self.result = re.search(r"\.param\s+\.(\w+)\s+(\w+)", func.group(1)).group(2)
        self.parameters = re.findall(r"\.param\s+\.(\w+)\s+(\w+)", func.group(2))
        self.program, self.labels = [], {}
        for line in func.group(3).split("\n"):
            text = line.split("//")[0].strip().rstrip(";")
            if not text or text.startswith(".reg"):
                continue
            if text.endswith(":"):
                self.labels[text[:-1]] = len(self.program)
            else:
                self.program.append(self._decode(text))
        self.executed = 0

    @staticmethod
    def _decode(text):
        """(guard or None, negated, opcode parts, operands)."""
        guard, negated = None, False
        if text.startswith("@"):
            guard, text = text[1:].split(None, 1)
            negated, guard = guard.startswith("!"), guard.lstrip("!")
        opcode, _, rest = text.partition("\t") if "\t" in text else text.partition(" ")
        return (
            guard,
            negated,
            opcode.strip().split("."),
            [operand.strip() for operand in rest.split(",")] if rest.strip() else [],
        )

    def __call__(self, *arguments):
        lanes = len(arguments[0])
        self.registers, self.output = {}, None
        self.inputs = {name: np.asarray(value) for (_, name), value in zip(self.parameters, arguments, strict=True)}
        waiting = {0: np.ones(lanes, bool)}
        while waiting:
            at = min(waiting)
            active = waiting.pop(at)
            while at < len(self.program):
                if at in waiting:  # others wait here: go on together
                    active = active | waiting.pop(at)
                guard, negated, opcode, operands = self.program[at]
                taken = active if guard is None else active & (self.registers[guard] ^ negated)
                if opcode[0] == "bra":
                    if taken.any():
                        target = self.labels[operands[0]]
                        waiting[target] = waiting[target] | taken if target in waiting else taken
                    active = active & ~taken
                    if not active.any() or (waiting and min(waiting) <= at):
                        if active.any():
                            waiting[at + 1] = waiting[at + 1] | active if at + 1 in waiting else active
                        break
                elif opcode[0] == "ret":
                    break
                else:
                    assert guard is None or taken.all(), "predicated instructions other than branches are not known"
                    self.executed += 1
                    with np.errstate(all="ignore"):
                        self._step(opcode, operands, active, lanes)
                at += 1
        return self.output

    def _read(self, operand, dtype, lanes):
        if operand.startswith("0f"):
            return np.full(lanes, int(operand[2:], 16), np.uint32).view(np.float32)
        if operand.startswith("0d"):
            return np.full(lanes, int(operand[2:], 16), np.uint64).view(np.float64)
        if re.fullmatch(r"-?\d+", operand):
            return np.full(lanes, int(operand) % (1 << 8 * dtype.itemsize), f"u{dtype.itemsize}").view(dtype)
        value = self.registers[operand]
        if value.dtype == dtype or value.dtype == bool:
            return value
        if value.dtype.itemsize == dtype.itemsize:
            return value.view(dtype)
        assert value.dtype.kind != "f", f"{operand} read as {dtype}"
        return value.view(f"u{value.dtype.itemsize}").astype(f"u{dtype.itemsize}").view(dtype)

    def _write(self, target, value, active):
        old = self.registers.get(target)
        if old is not None and old.dtype != value.dtype and old.dtype.itemsize == value.dtype.itemsize:
            old = old.view(value.dtype)
        self.registers[target] = value if active.all() or old is None else np.where(active, value, old)

    def _step(self, parts, operands, active, lanes):
        op, dtype = parts[0], _TYPES.get(parts[-1])
        source = [None, *(lambda text=text: self._read(text, dtype, lanes) for text in operands[1:])]
        target = operands[0]
        if op == "ld" and parts[1] == "param":
            name, offset = re.match(r"\[(\w+)(?:\+(\d+))?\]", operands[1]).groups()
            value = self.inputs[name]
            if value.dtype.itemsize != dtype.itemsize:  # a part of a wider parameter
                value = value.view(f"u{value.dtype.itemsize}") >> np.uint64(8 * int(offset or 0))
                value = value.astype(f"u{dtype.itemsize}")
            value = value.view(dtype).copy()
        elif op == "st" and parts[1] == "param":
            value = source[1]()
            self.output = value.copy() if self.output is None else np.where(active, value, self.output)
            return
        elif op == "mov":
            value = source[1]().copy()
        elif op in _ARITHMETIC and (op not in ("and", "or", "xor") or dtype.kind in "ub"):
            value = _ARITHMETIC[op](source[1](), source[2]())
        elif op == "not":
            value = ~source[1]()
        elif op == "neg":
            value = -source[1]()
        elif op == "abs":
            value = np.abs(source[1]())
        elif op == "mul" and "wide" in parts:
            wide = np.dtype(f"{dtype.kind}{2 * dtype.itemsize}")
            value = source[1]().astype(wide) * source[2]().astype(wide)
        elif op == "mul" and "hi" in parts and dtype == np.uint32:
            value = ((source[1]().astype(np.uint64) * source[2]()) >> np.uint64(32)).astype(np.uint32)
        elif op == "mul" and ("lo" in parts or dtype.kind == "f"):
            value = source[1]() * source[2]()
        elif op == "mad" and "lo" in parts:
            value = source[1]() * source[2]() + source[3]()
        elif op == "fma" and parts[1] == "rn":
            value = (fma32 if dtype == np.float32 else fma64)(source[1](), source[2](), source[3]())
        elif op == "div" and "rn" in parts:
            value = source[1]() / source[2]()
        elif op in ("shl", "shr"):
            amount = self._read(operands[2], np.dtype(np.uint32), lanes).astype(dtype)
            assert (amount < 8 * dtype.itemsize).all(), "shifts by the width and more saturate in PTX"
            value = source[1]() << amount if op == "shl" else source[1]() >> amount
        elif op == "bfi":
            value = self._bit_field_insert(operands, dtype, lanes)
        elif op == "prmt" and parts[-1] == "b32":
            value = self._permute(operands, lanes)
        elif op == "cvt":
            to, of = _TYPES[parts[-2]], dtype
            assert to.kind != "f" or of.kind != "f" or to.itemsize > of.itemsize or "rn" in parts
            assert to.kind == "f" or of.kind != "f" or "rzi" in parts
            value = source[1]().astype(to)
        elif op == "setp":
            unordered = parts[1].endswith("u") and parts[1][:-1] in _COMPARE and dtype.kind == "f"
            a, b = source[1](), source[2]()
            value = _COMPARE[parts[1][:-1] if unordered else parts[1]](a, b)
            if dtype.kind == "f":
                nan = np.isnan(a) | np.isnan(b)
                value = (value | nan) if unordered else (value & ~nan)
        elif op == "selp":
            value = np.where(self.registers[operands[3]], source[1](), source[2]())
        else:
            raise NotImplementedError(".".join(parts))
        self._write(target, value, active)

    def _bit_field_insert(self, operands, dtype, lanes):
        """bfi d, a, b, position, length: the low bits of a into b."""
        position, length = int(operands[3]), int(operands[4])
        field = ((1 << length) - 1) << position
        a, b = (self._read(text, dtype, lanes) for text in operands[1:3])
        return ((a << dtype.type(position)) & dtype.type(field)) | (b & dtype.type(~field % (1 << 8 * dtype.itemsize)))

    def _permute(self, operands, lanes):
        """prmt d, a, b, selector: four bytes picked from the eight of (b, a)."""
        a, b = (self._read(text, np.dtype(np.uint32), lanes).astype(np.uint64) for text in operands[1:3])
        both, selector = (b << np.uint64(32)) | a, int(operands[3], 0)
        value = np.zeros(lanes, np.uint64)
        for place in range(4):
            pick = selector >> 4 * place & 15
            assert pick < 8, "sign replication is not known"
            value |= ((both >> np.uint64(8 * pick)) & np.uint64(255)) << np.uint64(8 * place)
        return value.astype(np.uint32)
