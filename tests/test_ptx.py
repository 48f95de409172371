"""The same bits on a GPU, shown without one.

The PTX of every scalar is run in an interpreter on a million words, boundary words and tail included, and must equal the CPU's
result bit for bit. The SASS must hold just the fused multiply-adds that the source asks for, and spill nothing.
"""

import inspect
import math
from fractions import Fraction

import cuda_compile
import numpy as np
import pytest
from numba import float32, float64, int32, int64, njit, types, uint32, uint64
from numba.core.dispatcher import Dispatcher
from ptx_machine import Machine, fma32, fma64

from numgumbel.kernels import distribution, elementary, field, halves, moments, philox

pytestmark = pytest.mark.cuda

WORDS = 1_000_000
RNG = np.random.default_rng(20260101)


@pytest.fixture(autouse=True)
def _compilers():
    cuda_compile.need_compilers()


# --- inputs --------------------------------------------------------------------------------------------------------------

EDGES32 = [
    0,
    1,
    2,
    254,
    255,
    256,
    257,
    2**16 - 1,
    2**16,
    2**23,
    2**24 - 1,
    2**24 + 1,
    2**31 - 1,
    2**31,
    2**31 + 1,
    2**32 - 2,
    2**32 - 1,
]
EDGES64 = [*EDGES32, 2**32, 2**52, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1]


def words32(count=WORDS, edges=EDGES32):
    return np.concatenate([np.array(edges, np.uint32), RNG.integers(0, 2**32, count - len(edges), np.uint32)])


def words64(count=WORDS):
    whole = np.concatenate([np.array(EDGES64, np.uint64), RNG.integers(0, 2**64, count - len(EDGES64), np.uint64)])
    whole[len(EDGES64) : count // 4] >>= RNG.integers(0, 64, count // 4 - len(EDGES64)).astype(np.uint64)  # small ones too
    return whole


def floats(dtype, count=WORDS):
    """Bit patterns of every kind: normal, subnormal, infinite, NaN; and values of ordinary size."""
    # Few raw patterns in float64: tiny operands take the interpreter's slow path through fractions.
    raw = words32(count // 2).view(dtype) if dtype == np.float32 else words64(20_000).view(dtype)
    signs = RNG.choice([-1, 1], count)
    ordinary = np.where(
        RNG.random(count) < 0.5, RNG.normal(scale=200, size=count), signs * np.exp2(RNG.uniform(-60, 10, count))
    )
    special = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 0.5, 2 / 3, 4 / 3, 88.7, 89, -103.9, 709.7, -745.1, 1e-45, 1e-320], dtype
    )
    return np.concatenate([np.array(special, dtype), raw, ordinary.astype(dtype)])[:count]


def positive(dtype, low, high):
    return lambda count=WORDS: np.exp2(RNG.uniform(low, high, count)).astype(dtype)


def reduced(dtype, low, high):
    return lambda count=WORDS: RNG.uniform(low, high, count).astype(dtype)


def exponents(dtype, low, high):
    return lambda count=WORDS: RNG.integers(low, high + 1, count).astype(dtype)


def steps(count=WORDS):
    s = RNG.integers(0, 2**63 - 1, count) >> RNG.integers(0, 62, count)
    s[:6] = [0, 1, 2**30 - 1, 2**30, 2**62, 2**63 - 1]
    return s


def rows(count=WORDS):
    r = RNG.integers(-(2**63), 2**63 - 1, count)
    r[:5] = [0, -1, 2**32, 2**63 - 1, -(2**63)]
    return r


def columns(count=WORDS):
    c = RNG.integers(0, 2**35 - 16, count)
    c[:20] = [*range(17), 2**34, 2**35 - 18, 2**35 - 17]
    return c


# --- cases: name -> [(function, signature, a maker of inputs for each parameter, lanes)] -----------------------------------

ADDRESS_TYPES = (uint32, uint32, int64, int64, int64)
ADDRESS = (words32, words32, steps, rows, columns)
MANY, FEW = WORDS, 100_000


def steps_low(count=WORDS):
    """c3 of domain 0: the two low bits are the domain's."""
    return words32(count) & ~np.uint32(3)


def below(bound):
    return lambda count=WORDS: words32(count) % np.uint32(bound)


def any_f32(count=WORDS):
    return floats(np.float32, count)


def any_f64(count=WORDS):
    return floats(np.float64, count)


def all_halves(count=WORDS):
    """Every pattern of 16 bits, several times, with anything above them."""
    return (words32(count) & ~np.uint32(0xFFFF)) | (np.arange(count, dtype=np.uint32) & np.uint32(0xFFFF))


def each(pick, function, signature, makers, lanes=MANY):
    """Cases for the elements of a tuple result."""
    return [(pick(function, element), signature, makers, lanes) for element in range(pick.size)]


def element_of(size, arity):
    """A maker of functions that return one element of a tuple, since the C ABI returns one value."""
    names = ", ".join("abcdef"[:arity])

    def pick(function, element):
        namespace = {"function": function}
        exec(f"def call({names}): return function({names})[{element}]", namespace)
        return namespace["call"]

    pick.size = size
    return pick


def one(function, signature, makers, lanes=MANY):
    """A case for a function of one result. (A plain function around it: the compilers take no dispatcher as an entry.)"""
    names = ", ".join("abcdef"[: len(signature.args)])
    namespace = {"function": function}
    exec(f"def call({names}): return function({names})", namespace)
    return [(namespace["call"], signature, makers, lanes)]


half_f32, half_f64 = reduced(np.float32, 0, 0.5), reduced(np.float64, 0, 0.5)
third_f32, third_f64 = reduced(np.float32, -1 / 3, 1 / 3), reduced(np.float64, -1 / 3, 1 / 3)
loc, scale = reduced(np.float64, -5, 5), positive(np.float64, -3, 3)
f32_f32 = float32(float32, float32)
f64_f64 = float64(float64, float64)
f64_3 = float64(float64, float64, float64)
cell = (words32, words32, steps_low, words32, words32, columns)

CASES = {
    "philox4x32": each(element_of(4, 6), philox.philox4x32, uint32(*[uint32] * 6), [words32] * 6),
    "philox4x32_wide": each(element_of(4, 6), philox.philox4x32_wide, uint64(*[uint32] * 6), [words32] * 6, FEW),
    "philox_nine_rounds": each(element_of(6, 6), philox.philox_nine_rounds, uint64(*[uint64] * 6), [words64] * 6, FEW),
    "fold": each(element_of(2, 4), philox.fold, uint32(uint32, uint32, uint64, uint32), [words32, words32, words64, words32]),
    "log1p_reduced_f32": one(elementary.log1p_reduced_f32, f32_f32, [third_f32, exponents(np.float32, -126, 127)]),
    "log1p_reduced_f64": one(elementary.log1p_reduced_f64, f64_f64, [third_f64, exponents(np.float64, -1022, 1023)]),
    "neglog1m_f32": one(elementary.neglog1m_f32, f32_f32, [half_f32, exponents(np.float32, -33, 0)]),
    "neglog1m_f64": one(elementary.neglog1m_f64, f64_f64, [half_f64, exponents(np.float64, -65, 0)]),
    "neglog1m_absolute_f32": one(elementary.neglog1m_absolute_f32, f32_f32, [half_f32, exponents(np.float32, -65, 5)]),
    "neglog1m_absolute_f64": one(elementary.neglog1m_absolute_f64, f64_f64, [half_f64, exponents(np.float64, -65, 6)]),
    "log_f32": one(elementary.log_f32, float32(float32), [any_f32]),
    "log_f64": one(elementary.log_f64, float64(float64), [any_f64]),
    "exp_f32": one(elementary.exp_f32, float32(float32), [any_f32]),
    "exp_f64": one(elementary.exp_f64, float64(float64), [any_f64]),
    "exp_nonpositive_f32": one(elementary.exp_nonpositive_f32, float32(float32), [reduced(np.float32, -120, 0)]),
    "exp_nonpositive_f64": one(elementary.exp_nonpositive_f64, float64(float64), [reduced(np.float64, -760, 0)]),
    "exp_flushed_f32": one(elementary.exp_flushed_f32, float32(float32), [reduced(np.float32, -120, 0)]),
    "exp_flushed_f64": one(elementary.exp_flushed_f64, float64(float64), [reduced(np.float64, -760, 0)]),
    "exp_reduced_f32": [
        (element_of(2, 1)(elementary.exp_reduced_f32, 0), float32(float32), [reduced(np.float32, -104, 89)], FEW),
        (element_of(2, 1)(elementary.exp_reduced_f32, 1), int32(float32), [reduced(np.float32, -104, 89)], FEW),
    ],
    "exp_reduced_f64": [
        (element_of(2, 1)(elementary.exp_reduced_f64, 0), float64(float64), [reduced(np.float64, -746, 710)], FEW),
        (element_of(2, 1)(elementary.exp_reduced_f64, 1), int64(float64), [reduced(np.float64, -746, 710)], FEW),
    ],
    "quotient": [
        *one(elementary.quotient, float32(*[float32] * 3), [positive(np.float32, -60, 60)] * 3),
        *one(elementary.quotient, f64_3, [positive(np.float64, -400, 400)] * 3),
    ],
    "mulhi64": one(elementary.mulhi64, uint64(uint64, uint64), [words64, words64]),
    "counter_of_step": one(field.counter_of_step, uint32(int64, uint32), [steps, below(4)]),
    "key_of_step": each(element_of(2, 3), field.key_of_step, uint32(uint32, uint32, int64), [words32, words32, steps]),
    "address_of": each(element_of(5, 4), field.address_of, uint32(*ADDRESS_TYPES[:4]), (words32, words32, steps, rows)),
    "half_word": one(field.half_word, uint32(*[uint32] * 5), [below(8), *[words32] * 4]),
    "field_b32": one(field.field_b32, uint32(*[uint32] * 5, int64), cell),
    "field_tail": one(field.field_tail, uint32(*[uint32] * 5, int64), cell),
    "exponential_f32": one(field.exponential_f32, float32(uint32), [words32]),
    "exponential_tail_f32": one(field.exponential_tail_f32, float32(uint32, uint32), [below(256), words32]),
    "exponential_f64": one(field.exponential_f64, float64(uint64), [words64]),
    "gumbel_of_exponential_f32": one(field.gumbel_of_exponential_f32, float32(float32), [positive(np.float32, -65, 4.5)]),
    "gumbel_of_exponential_f64": one(field.gumbel_of_exponential_f64, float64(float64), [positive(np.float64, -65, 5.4)]),
    "bits_at": each(element_of(2, 5), field.bits_at, uint32(*ADDRESS_TYPES), ADDRESS, FEW),
    "exponential_of_f32": one(field.exponential_of_f32, float32(*[uint32] * 5, int64), cell, FEW),
    "exponential_of_f64": one(field.exponential_of_f64, float64(*[uint32] * 5, int64), cell, FEW),
    "exponential_at_f32": one(field.exponential_at_f32, float32(*ADDRESS_TYPES), ADDRESS, FEW),
    "exponential_at_f64": one(field.exponential_at_f64, float64(*ADDRESS_TYPES), ADDRESS, FEW),
    "gumbel_at_f32": one(field.gumbel_at_f32, float32(*ADDRESS_TYPES), ADDRESS, FEW),
    "gumbel_at_f64": one(field.gumbel_at_f64, float64(*ADDRESS_TYPES), ADDRESS, FEW),
    "uniform_bits_at": one(field.uniform_bits_at, uint64(*ADDRESS_TYPES[:4]), ADDRESS[:4], FEW),
    "score_f32": one(
        field.score_f32,
        float32(float32, float32, float32),
        [any_f32, positive(np.float32, -64, 64), reduced(np.float32, -3, 45)],
    ),
    "score_f64": one(field.score_f64, f64_3, [any_f64, positive(np.float64, -60, 60), reduced(np.float64, -3, 45)], FEW),
    "tempered_f32": one(moments.tempered_f32, f32_f32, [any_f32, positive(np.float32, -64, 64)]),
    "tempered_f64": one(moments.tempered_f64, f64_f64, [any_f64, positive(np.float64, -60, 60)], FEW),
    "joined_moments": each(
        element_of(3, 6),
        moments.joined_moments,
        float64(*[float64] * 6),
        [reduced(np.float64, -40, 40), positive(np.float64, 0, 20), reduced(np.float64, -90, 0)] * 2,
        FEW,
    ),
    "f32_of_f16": one(halves.f32_of_f16, float32(uint32), [all_halves]),
    "f32_of_bf16": one(halves.f32_of_bf16, float32(uint32), [all_halves]),
    "f16_of_f32": one(halves.f16_of_f32, uint32(float32), [any_f32]),
    "bf16_of_f32": one(halves.bf16_of_f32, uint32(float32), [any_f32]),
    "pdf": one(distribution.pdf, f64_3, [reduced(np.float64, -20, 60), loc, scale], FEW),
    "cdf": one(distribution.cdf, f64_3, [reduced(np.float64, -20, 60), loc, scale], FEW),
    "ppf": one(distribution.ppf, f64_3, [reduced(np.float64, -0.1, 1.1), loc, scale], FEW),
}


def on_cpu(function, signature, arguments):
    """The compiled function over all lanes, an array of the signature's result."""
    compiled = njit(function, error_model="numpy")

    @njit(error_model="numpy")
    def loop(columns, out):
        for i in range(out.size):
            out[i] = call(columns, i)

    body = ", ".join(f"columns[{j}][i]" for j in range(len(arguments)))
    namespace = {"compiled": compiled}
    exec(f"def call(columns, i): return compiled({body})", namespace)
    call = njit(namespace["call"])
    out = np.empty(len(arguments[0]), str(signature.return_type))
    loop(tuple(arguments), out)
    return out


def differing(function, signature, arguments, machine=None):
    """Number of lanes in which the interpreter's result and the CPU's differ in any bit (NaN equals NaN)."""
    machine = machine or Machine(cuda_compile.function_ptx(function, signature))
    device, host = machine(*arguments), on_cpu(function, signature, arguments)
    bits = np.dtype(f"u{host.dtype.itemsize}")
    differs = device.view(bits) != host.view(bits)
    if host.dtype.kind == "f":
        differs &= ~(np.isnan(device.view(host.dtype)) & np.isnan(host))
    return int(differs.sum())


ALL = [pytest.param(*case, id=f"{name}-{number}") for name, cases in CASES.items() for number, case in enumerate(cases)]


def test_every_scalar_has_a_case():
    public = {
        name
        for module in (philox, elementary, field, halves, moments, distribution)
        for name, value in vars(module).items()
        if isinstance(value, Dispatcher) and inspect.getmodule(value.py_func) is module
    }
    assert public == set(CASES)


@pytest.mark.parametrize(("function", "signature", "makers", "lanes"), ALL)
def test_ptx_gives_the_bits_of_the_cpu(function, signature, makers, lanes):
    arguments = [make(lanes) for make in makers]
    assert differing(function, signature, arguments) == 0


def test_tail_addresses():
    """Addresses whose b32 is below 256, where the float32 field branches: searched for, and run beside ordinary ones."""
    from make_golden import tail_columns

    found = np.empty(3, np.int64)
    k0, k1 = np.uint32(5), np.uint32(6)
    tail_columns(k0, k1, np.int64(0), np.int64(0), len(found), found)
    ids = np.concatenate([found, np.arange(997)])
    fixed = [np.full(1000, k0), np.full(1000, k1), np.zeros(1000, np.int64), np.zeros(1000, np.int64), ids]
    for name in ("gumbel_at_f32", "exponential_at_f32", "gumbel_at_f64", "bits_at"):
        function, signature, _, _ = CASES[name][0]
        assert differing(function, signature, fixed) == 0
    assert (on_cpu(*CASES["gumbel_at_f32"][0][:2], fixed)[:3] > 16).all()


def test_a_different_function_is_noticed():
    """Negative controls: one coefficient's last bit, a contracted multiply-add, one round less, a branch not taken."""
    b = words32(FEW)

    def last_bit(b32):
        return field.exponential_f32(uint32(b32 ^ uint32(1 << 8)))

    machine = Machine(cuda_compile.function_ptx(last_bit, float32(uint32)))
    assert differing(CASES["exponential_f32"][0][0], float32(uint32), [b], machine) > 0

    machine = Machine(cuda_compile.function_ptx(CASES["exponential_f32"][0][0], float32(uint32)))
    changed = [i for i, (_, _, opcode, _) in enumerate(machine.program) if opcode[:2] == ["fma", "rn"]][2]
    guard, negated, opcode, operands = machine.program[changed]
    constant = next(k for k, text in enumerate(operands) if text.startswith("0f"))
    operands = operands.copy()
    operands[constant] = f"0f{int(operands[constant][2:], 16) ^ 1:08X}"
    machine.program[changed] = guard, negated, opcode, operands
    assert differing(CASES["exponential_f32"][0][0], float32(uint32), [b], machine) > 0

    def plain(x, y, z):
        return x * y + z

    # On the CPU a product is rounded before it is added; here it is fused, which is why the scalars never write it so.
    three = [RNG.normal(size=FEW).astype(np.float32) for _ in range(3)]
    assert differing(plain, float32(float32, float32, float32), three) > 0


# --- multiply-adds and spills ----------------------------------------------------------------------------------------------


def as_kernel(function, signature):
    """A kernel that applies a scalar function to one value of each array a thread, and its signature."""
    arrays = [types.Array(kind, 1, "C") for kind in (signature.return_type, *signature.args)]
    names = [f"a{j}" for j in range(len(signature.args))]
    device = cuda_compile.cuda().jit(device=True)(function)
    code = f"def kernel(out, {', '.join(names)}):\n i = cuda.grid(1)\n out[i] = device({', '.join(f'{n}[i]' for n in names)})"
    namespace = {"cuda": cuda_compile.cuda(), "device": device}
    exec(code, namespace)
    return namespace["kernel"], types.void(*arrays)


@pytest.mark.parametrize(("function", "signature", "makers", "lanes"), ALL)
def test_multiply_adds_are_the_explicit_ones(function, signature, makers, lanes):
    """Contraction changes nothing, because no product is ever added outside `fma`; and nothing is spilled."""
    kernel, kernel_signature = as_kernel(function, signature)
    ptx = cuda_compile.kernel_ptx(kernel, kernel_signature)
    with cuda_compile.without_contraction():
        explicit = cuda_compile.kernel_ptx(*as_kernel(function, signature))
    singles, doubles = cuda_compile.fused(ptx)
    assert (singles, doubles) == cuda_compile.fused(explicit)
    opcodes, spilled = cuda_compile.assemble(ptx)
    assert spilled == 0
    if "div.rn" not in ptx:  # a division is a routine of its own, with multiply-adds inside
        assert opcodes["FFMA"] + opcodes["FFMA2"] == singles
        assert opcodes["DFMA"] == doubles


def test_a_contracted_product_is_counted():
    """The negative control of the counts: a * b + c becomes one."""

    def plain(a, b, c):
        return a * b + c

    signature = float32(float32, float32, float32)
    assert cuda_compile.fused(cuda_compile.kernel_ptx(*as_kernel(plain, signature))) == (1, 0)
    with cuda_compile.without_contraction():
        ptx = cuda_compile.kernel_ptx(*as_kernel(plain, signature))
    assert cuda_compile.fused(ptx) == (0, 0)


# --- the interpreter itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fused", "dtype"), [(fma32, np.float32), (fma64, np.float64)])
def test_emulated_fma_is_correctly_rounded(fused, dtype):
    """Against exact fractions, cancellation and the ends of the range included."""
    count = 3000
    a, b = (RNG.normal(size=count).astype(dtype) for _ in range(2))
    c = np.where(RNG.random(count) < 0.5, -(a * b), RNG.normal(size=count)).astype(dtype)
    c *= np.where(RNG.random(count) < 0.5, 1, np.exp2(RNG.integers(-60, 60, count))).astype(dtype)
    if dtype == np.float64:
        a[:300] *= 2.0**-700
        b[:200] *= 2.0**-340
        c[:300] *= 2.0**-1000
        a[300:400] *= 2.0**1000
    got = fused(a, b, c)
    for x, y, z, value in zip(a, b, c, got, strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        if dtype == np.float64:
            assert float(exact) == value
        else:
            best = min((abs(Fraction(float(n)) - exact), n) for n in _around(dtype(float(exact))))[0]
            assert abs(Fraction(float(value)) - exact) == best
    special = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1.0]
    grid = np.array(np.meshgrid(special, special, special)).reshape(3, -1).astype(dtype)
    with np.errstate(all="ignore"):
        plain = grid[0] * grid[1] + grid[2]
    np.testing.assert_array_equal(fused(*grid), plain)
    np.testing.assert_array_equal(np.signbit(fused(*grid))[~np.isnan(plain)], np.signbit(plain)[~np.isnan(plain)])


def _around(x):
    return [np.nextafter(x, x.dtype.type(-math.inf)), x, np.nextafter(x, x.dtype.type(math.inf))]


def test_lanes_part_and_meet_again():
    """Branches and a loop with a different number of turns in every lane."""

    def collatz(n):
        count = uint64(0)
        while n != uint64(1):
            n = uint64(3) * n + uint64(1) if n & uint64(1) else n >> uint64(1)
            count += uint64(1)
        return count

    n = np.arange(1, 500, dtype=np.uint64)
    assert differing(collatz, uint64(uint64), [n]) == 0
    assert on_cpu(collatz, uint64(uint64), [n]).max() > 100


def test_unknown_instructions_are_errors():
    def root(x):
        return math.sqrt(x)

    with pytest.raises(NotImplementedError, match="sqrt"):
        Machine(cuda_compile.function_ptx(root, float64(float64)))(np.ones(3))
