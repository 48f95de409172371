"""PTX of a kernel as C: registers are variables, branches are gotos, and what waits for other threads is a call of threads.c.

Instructions that nobody here has written are errors, never guesses.
"""

import re

C_TYPES = {
    "pred": "uint8_t",
    **{f"{kind}{bits}": f"uint{bits}_t" for kind in "bu" for bits in (8, 16, 32, 64)},
    **{f"s{bits}": f"int{bits}_t" for bits in (8, 16, 32, 64)},
    "f16": "_Float16",
    "f32": "float",
    "f64": "double",
}
REALS = ("f16", "f32", "f64")
_SPECIAL = {
    **{f"%{name}.{axis}": f"self->{name}[{i}]" for name in ("tid", "ctaid", "ntid", "nctaid") for i, axis in enumerate("xyz")},
    "%laneid": "self->lane",
    "%lanemask_lt": "((1u << self->lane) - 1)",
    "%lanemask_gt": "(self->lane == 31 ? 0u : ~0u << (self->lane + 1))",
    "%lanemask_le": "(~0u >> (31 - self->lane))",
    "%lanemask_eq": "(1u << self->lane)",
    "%lanemask_ge": "(~0u << self->lane)",
    "WARP_SZ": "32u",
}
_COMPARISONS = {
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "eq": "==",
    "ne": "!=",
    "lo": "<",
    "ls": "<=",
    "hi": ">",
    "hs": ">=",
}
_SHUFFLES = {"idx": "SHFL_IDX", "up": "SHFL_UP", "down": "SHFL_DOWN", "bfly": "SHFL_BFLY"}


def bits_of(kind):
    """Width of a PTX type."""
    return 8 if kind == "pred" else int(kind[1:])


def without_comments(ptx):
    """The text with blanks in place of comments, its lines as they were."""
    return re.sub(r"//[^\n]*", "", ptx)


class Translation:
    """The C source of the one entry of a PTX text.

    Attributes
    ----------
    name : str
        Of the entry.
    sizes : list of int
        Bytes of each parameter.
    source : str
        C.
    """

    def __init__(self, ptx):
        text = without_comments(ptx)
        entry = re.search(r"\.entry\s+([\w$]+)\s*\((.*?)\)[^{]*\{(.*)\}", text, re.S)
        self.name = entry[1]
        parameters = re.findall(r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+([\w$]+)", entry[2])
        self.sizes = [bits_of(kind) // 8 for kind, _ in parameters]
        self._parameters = {name: i for i, (_, name) in enumerate(parameters)}
        self._shared, at = {}, 0
        for align, name, size in re.findall(r"\.shared\s+\.align\s+(\d+)\s+\.b8\s+([\w$]+)\[(\d+)\]", text):
            at = -(-at // int(align)) * int(align)
            self._shared[name], at = at, at + int(size)
        self._registers, self._declared = {}, []
        first = text[: entry.start(3)].count("\n") + 1
        body = "\n".join(self._line(statement, number) for statement, number in _statements(entry[3], first))
        self.source = (
            '#include "gpu.h"\n\n'
            f"const int n_parameters = {len(self.sizes)};\n"
            f"const int parameter_sizes[] = {{{', '.join(map(str, [*self.sizes, 0]))}}};\n"
            f"const unsigned shared_bytes = {at};\n\n"
            "void entry(Thread *self, void **parameters) {\n" + "".join(self._declared) + body + "\n}\n"
        )

    def _line(self, statement, number):
        if statement in "{}":
            return statement
        if statement.endswith(":"):
            return statement.lstrip("$") + ";"
        if statement.startswith(".reg"):
            return self._declare(*re.match(r"\.reg\s+\.(\w+)\s+%?([\w]+)(?:<(\d+)>)?", statement).groups())
        if statement.startswith("."):
            if statement.split()[0] == ".pragma":
                return ""
            raise NotImplementedError(statement)
        guard = re.match(r"@(!?)(%?\w+)\s+(.*)", statement, re.S)
        if guard:
            return f"if ({guard[1]}{self._name(guard[2])}) {{ {self._instruction(guard[3], number)} }}"
        return self._instruction(statement, number)

    def _declare(self, kind, prefix, count):
        if count is None:
            self._registers[prefix] = kind
            return f"{C_TYPES[kind]} {prefix} = 0;"
        names = [f"{prefix}{i}" for i in range(int(count))]
        self._registers.update(dict.fromkeys(names, kind))
        for i in range(0, len(names), 16):
            self._declared.append(f"    {C_TYPES[kind]} " + ", ".join(f"{name} = 0" for name in names[i : i + 16]) + ";\n")
        return ""

    def _name(self, operand):
        name = operand.lstrip("%")
        if name not in self._registers:
            raise NotImplementedError(f"operand {operand}")
        return name

    def _value(self, operand, kind):
        """An operand read as a type."""
        if operand in _SPECIAL:
            return f"(({C_TYPES[kind]}){_SPECIAL[operand]})"
        if operand in self._shared:
            return f"((uint64_t)(uintptr_t)self->shared + {self._shared[operand]}u)"
        if re.fullmatch(r"0f[0-9A-Fa-f]{8}", operand):
            return f"f32_bits(0x{operand[2:]}u)"
        if re.fullmatch(r"0d[0-9A-Fa-f]{16}", operand):
            return f"f64_bits(0x{operand[2:]}ull)"
        if re.fullmatch(r"-?(\d+|0x[0-9A-Fa-f]+)U?", operand):
            number = int(operand.rstrip("U"), 0)
            number = int(number != 0) if kind == "pred" else number % (1 << bits_of(kind))
            return f"(({C_TYPES[kind]}){number}ull)"
        name, holds = self._name(operand), self._registers[operand.lstrip("%")]
        if holds in REALS and kind != holds:
            return f"(({C_TYPES[kind]})bits_{holds}({name}))"
        if kind in REALS and holds != kind:
            return f"{kind}_bits({name})"
        return name if C_TYPES[kind] == C_TYPES[holds] else f"(({C_TYPES[kind]}){name})"

    def _assign(self, operand, value, kind):
        """Write a value of a type to a register."""
        if operand == "_":
            return f"(void)({value});"
        name, holds = self._name(operand), self._registers[operand.lstrip("%")]
        if holds in REALS and kind != holds:
            return f"{name} = {holds}_bits({value});"
        if kind in REALS and holds != kind:
            return f"{name} = bits_{kind}({value});"
        if kind[0] == "s" and bits_of(holds) > bits_of(kind):  # the sign goes on where a register is wider
            return f"{name} = ({C_TYPES[holds]})(int64_t)({C_TYPES[kind]})({value});"
        return f"{name} = ({C_TYPES[kind]})({value});"

    def _address(self, operand):
        base, _, offset = operand.strip("[]").replace(" ", "").partition("+")
        place = self._value(base, "u64")
        return f"({place} + {int(offset)}ll)" if offset else place

    def _instruction(self, text, number):
        opcode, rest = re.match(r"(\S+)\s*(.*)", text, re.S).groups()
        parts = opcode.split(".")
        operands = [each.strip() for each in re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*", rest)]
        handler = getattr(self, "_" + parts[0], None)
        kind = parts[-1]
        if handler:
            return handler(parts, operands, number)
        values = [self._value(operand, kind) for operand in operands[1:]] if kind in C_TYPES else []
        pattern = self._pattern(parts, kind)
        return self._assign(operands[0], pattern.format(*values), kind)

    def _pattern(self, parts, kind):
        """The C expression of an instruction all operands of which have its type."""
        name, width, real = parts[0], bits_of(kind), kind in REALS
        middle, suffix = set(parts[1:-1]), "f" if kind == "f32" else ""
        if middle - {"rn", "lo", "hi", "wide", "wrap", "l", "r"}:
            raise NotImplementedError(".".join(parts))
        sign = "s" if kind[0] == "s" else "u"
        if real:
            found = {
                "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}", "rcp": "1 / {0}",
                "neg": "-{0}", "abs": f"fabs{suffix}({{0}})", "min": f"fmin{suffix}({{0}}, {{1}})",
                "max": f"fmax{suffix}({{0}}, {{1}})", "fma": f"fma{suffix}({{0}}, {{1}}, {{2}})",
                "sqrt": f"sqrt{suffix}({{0}})",
            }  # fmt: skip
            if name in ("div", "rcp", "sqrt", "fma") and "rn" not in middle:
                raise NotImplementedError(".".join(parts))
        else:
            found = {
                "add": "{0} + {1}", "sub": "{0} - {1}", "and": "{0} & {1}", "or": "{0} | {1}", "xor": "{0} ^ {1}",
                "not": "!{0}" if kind == "pred" else "~{0}", "neg": "-{0}", "min": "({0} < {1} ? {0} : {1})",
                "max": "({0} > {1} ? {0} : {1})", "abs": "({0} < 0 ? -{0} : {0})",
                "div": f"div_{sign}{width}({{0}}, {{1}})", "rem": f"rem_{sign}{width}({{0}}, {{1}})",
                "bfi": f"bfi{width}({{0}}, {{1}}, {{2}}, {{3}})", "bfe": f"bfe_u{width}({{0}}, {{1}}, {{2}})",
                "prmt": "prmt({0}, {1}, {2})", "popc": f"__builtin_popcount{'ll' if width == 64 else ''}({{0}})",
                "brev": "brev32({0})",
                "clz": f"({{0}} ? __builtin_clz{'ll' if width == 64 else ''}({{0}}) : {width})",
            }  # fmt: skip
            if "lo" in middle:
                found |= {"mul": "{0} * {1}", "mad": "{0} * {1} + {2}"}
            if "hi" in middle:
                wide = f"({'' if kind[0] == 's' else 'unsigned '}{'__int128' if width == 64 else 'long long'})"
                found |= {"mul": f"({wide}{{0}} * {wide}{{1}}) >> {width}"}
            found |= {"shf": "shf_l({0}, {1}, {2})" if "l" in middle else "shf_r({0}, {1}, {2})"}
            if kind[0] == "s" and "hi" not in middle:  # signed overflow wraps on a device, and is nothing in C
                found = {
                    key: _unsigned(value, kind) if key in ("add", "sub", "mul", "mad", "neg") else value
                    for key, value in found.items()
                }
        if name not in found:
            raise NotImplementedError(".".join(parts))
        return found[name]

    def _ex2(self, parts, operands, number):
        return self._approximate(parts, operands, ["ex2", "approx", "ftz", "f32"])

    def _rcp(self, parts, operands, number):
        if "rn" in parts:
            return self._assign(
                operands[0], self._pattern(parts, parts[-1]).format(self._value(operands[1], parts[-1])), parts[-1]
            )
        return self._approximate(parts, operands, ["rcp", "approx", "ftz", "f32"])

    def _approximate(self, parts, operands, known):
        if parts != known:
            raise NotImplementedError(".".join(parts))
        return self._assign(operands[0], f"{parts[0]}_ftz({self._value(operands[1], 'f32')})", "f32")

    def _shl(self, parts, operands, number):
        return self._shift("shl", parts, operands)

    def _shr(self, parts, operands, number):
        return self._shift("shr_s" if parts[1][0] == "s" else "shr_u", parts, operands)

    def _shift(self, name, parts, operands):
        bits, kind = bits_of(parts[1]), f"u{bits_of(parts[1])}"
        value, by = self._value(operands[1], kind), self._value(operands[2], "u32")
        return self._assign(operands[0], f"{name}{bits}({value}, {by})", kind)

    def _mov(self, parts, operands, number):
        target, source = operands
        if target.startswith("{"):
            names = [each.strip() for each in target.strip("{}").split(",")]
            width = bits_of(parts[1]) // len(names)
            whole = self._value(source, f"b{bits_of(parts[1])}")
            return " ".join(self._assign(name, f"{whole} >> {i * width}", f"b{width}") for i, name in enumerate(names))
        if source.startswith("{"):
            names = [each.strip() for each in source.strip("{}").split(",")]
            width, kind = bits_of(parts[1]) // len(names), f"b{bits_of(parts[1])}"
            pieces = [f"(({C_TYPES[kind]}){self._value(name, f'b{width}')} << {i * width})" for i, name in enumerate(names)]
            return self._assign(target, " | ".join(pieces), kind)
        return self._assign(target, self._value(source, parts[1]), parts[1])

    def _selp(self, parts, operands, number):
        yes, no = (self._value(operand, parts[1]) for operand in operands[1:3])
        return self._assign(operands[0], f"{self._name(operands[3])} ? {yes} : {no}", parts[1])

    def _setp(self, parts, operands, number):
        comparison, kind = parts[1], parts[-1]
        if len(parts) != 3:
            raise NotImplementedError(".".join(parts))
        a, b = (self._value(operand, kind) for operand in operands[1:])
        either = f"({a} != {a} || {b} != {b})"
        if comparison == "nan":
            result = either
        elif comparison == "num":
            result = f"!{either}"
        elif kind in REALS and comparison == "ne":
            result = f"!{either} && {a} != {b}"
        elif kind in REALS and comparison.endswith("u"):  # also where there is no order
            result = f"{either} || {a} {_COMPARISONS[comparison[:-1]]} {b}"
        else:
            result = f"{a} {_COMPARISONS[comparison]} {b}"
        return self._assign(operands[0], result, "pred")

    def _mul(self, parts, operands, number):
        if parts[1] != "wide":
            values = [self._value(operand, parts[-1]) for operand in operands[1:]]
            return self._assign(operands[0], self._pattern(parts, parts[-1]).format(*values), parts[-1])
        kind, wide = parts[2], f"{parts[2][0]}{2 * bits_of(parts[2])}"
        a, b = (f"({C_TYPES[wide]}){self._value(operand, kind)}" for operand in operands[1:])
        return self._assign(operands[0], f"{a} * {b}", wide)

    def _mad(self, parts, operands, number):
        kind = parts[2]
        if parts[1] == "lo":
            values = [self._value(operand, kind) for operand in operands[1:]]
            return self._assign(operands[0], self._pattern(parts, kind).format(*values), kind)
        if parts[1] != "wide":
            raise NotImplementedError(".".join(parts))
        wide = f"{kind[0]}{2 * bits_of(kind)}"
        a, b = (f"({C_TYPES[wide]}){self._value(operand, kind)}" for operand in operands[1:3])
        return self._assign(operands[0], f"{a} * {b} + {self._value(operands[3], wide)}", wide)

    def _cvt(self, parts, operands, number):
        *how, target, source = parts[1:]
        value = self._value(operands[1], source)
        if source in REALS and target not in REALS:
            if how not in (["rzi"], ["rni"]):
                raise NotImplementedError(".".join(parts))
            value = value if how == ["rzi"] else f"rint({value})"
            small = bits_of(target) < 64
            value = f"{'s' if target[0] == 's' else 'u'}{32 if small else 64}_of({value})"
        elif how not in ([], ["rn"]):
            raise NotImplementedError(".".join(parts))
        return self._assign(operands[0], f"({C_TYPES[target]})({value})", target)

    def _cvta(self, parts, operands, number):
        return self._assign(operands[0], self._value(operands[1], "u64"), "u64")

    def _ld(self, parts, operands, number):
        kind = parts[-1]
        if "param" in parts:
            name, _, offset = operands[1].strip("[]").partition("+")
            if offset:
                raise NotImplementedError(operands[1])
            return self._assign(operands[0], f"*({C_TYPES[kind]} *)parameters[{self._parameters[name]}]", kind)
        many = next((int(part[1]) for part in parts if re.fullmatch(r"v[24]", part)), 1)
        place = f"({C_TYPES[kind]} *)" + self._place(parts, operands[1], many * bits_of(kind) // 8, number)
        if many == 1:
            return self._assign(operands[0], f"*{place}", kind)
        names = [each.strip() for each in operands[0].strip("{}").split(",")]
        return (
            f"{{ {C_TYPES[kind]} *from = {place}; "
            + " ".join(self._assign(name, f"from[{i}]", kind) for i, name in enumerate(names))
            + " }"
        )

    def _place(self, parts, operand, size, number):
        known = {"ld", "st", "atom", "red", "global", "shared", "nc", "volatile", "relaxed", "sys", "gpu", "weak"}
        if set(parts[:-1]) - known - {"v2", "v4", "add", "max", "min", "or", "and", "exch", "cas"}:
            raise NotImplementedError(".".join(parts))
        return f"{'shared_mem' if 'shared' in parts else 'mem'}(self, {self._address(operand)}, {size}, {number})"

    def _st(self, parts, operands, number):
        kind = parts[-1]
        many = next((int(part[1]) for part in parts if re.fullmatch(r"v[24]", part)), 1)
        place = f"({C_TYPES[kind]} *)" + self._place(parts, operands[0], many * bits_of(kind) // 8, number)
        names = [each.strip() for each in operands[1].strip("{}").split(",")]
        return (
            f"{{ {C_TYPES[kind]} *to = {place}; "
            + " ".join(f"to[{i}] = {self._value(name, kind)};" for i, name in enumerate(names))
            + " }"
        )

    def _atom(self, parts, operands, number):
        kind, what = parts[-1], parts[-2]
        place = f"({C_TYPES[kind]} *)" + self._place(parts, operands[1], bits_of(kind) // 8, number)
        value = self._value(operands[2], kind)
        new = {
            "add": f"*at + {value}", "exch": value, "max": f"(*at > {value} ? *at : {value})", "or": f"*at | {value}",
            "min": f"(*at < {value} ? *at : {value})", "and": f"*at & {value}",
        }  # fmt: skip
        if what == "cas":
            new["cas"] = f"(*at == {value} ? {self._value(operands[3], kind)} : *at)"
        return f"{{ {C_TYPES[kind]} *at = {place}, was = *at; *at = {new[what]}; {self._assign(operands[0], 'was', kind)} }}"

    def _red(self, parts, operands, number):
        return self._atom(parts, ["_", *operands], number)

    def _shfl(self, parts, operands, number):
        target, _, valid = operands[0].partition("|")
        value, by, clamp, mask = (self._value(operand, "u32") for operand in operands[1:])
        call = f"meet(self, {_SHUFFLES[parts[2]]}, {mask}, {value}, {by}, {clamp}, &valid, {number})"
        tail = self._assign(valid, "valid", "pred") if valid else ""
        return f"{{ int valid; {self._assign(target, call, 'u32')} {tail} }}"

    def _vote(self, parts, operands, number):
        negated = operands[1].startswith("!")
        value, mask = ("!" if negated else "") + self._name(operands[1].lstrip("!")), self._value(operands[2], "u32")
        ballot = f"meet(self, BALLOT, {mask}, {value}, 0, 0, 0, {number})"
        kind = "pred" if parts[2] in ("any", "all") else "u32"
        result = {"any": f"{ballot} != 0", "all": f"{ballot} == {mask}", "ballot": ballot}[parts[2]]
        return self._assign(operands[0], result, kind)

    def _bar(self, parts, operands, number):
        if parts[1] == "warp":
            return f"meet(self, SYNC, {self._value(operands[0], 'u32')}, 0, 0, 0, 0, {number});"
        if len(operands) != 1:
            raise NotImplementedError(".".join(parts))
        return f"barrier(self, {number});"

    def _barrier(self, parts, operands, number):
        return self._bar(["bar", "sync"], operands, number)

    def _membar(self, parts, operands, number):
        return ""

    def _bra(self, parts, operands, number):
        return f"goto {operands[0].lstrip('$')};"

    def _ret(self, parts, operands, number):
        return "return;"

    def _exit(self, parts, operands, number):
        return "return;"


def _unsigned(pattern, kind):
    unsigned = C_TYPES["u" + kind[1:]]
    return re.sub(r"\{(\d)\}", lambda found: f"({unsigned}){{{found[1]}}}", pattern)


def _statements(body, first):
    """(statement, line) one by one; braces of blocks and labels are statements of their own."""
    for number, line in enumerate(body.split("\n"), first):
        rest = line.strip()
        if re.match(r"\{\s*(\.reg|$)", rest):
            yield "{", number
            rest = rest[1:].strip()
        for statement in rest.split(";"):
            statement = statement.strip()
            label = re.match(r"[$\w]+:(?!:)", statement)
            if label:
                yield label[0], number
                statement = statement[label.end() :].strip()
            if statement:
                yield statement, number
