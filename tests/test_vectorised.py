"""The inner loops map onto packed instructions: read from the machine code that runs here."""

import platform
import re

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba import njit

from numgumbel.kernels import elementary, field
from numgumbel.kernels.cpu import bits, bound, cells, conditional, inverse_cdf_draws, lanes, lanes_of_ids, noise, sums

x86_64 = platform.machine().lower() in ("x86_64", "amd64")
pytestmark = [
    pytest.mark.skipif(not x86_64, reason="reads x86-64 assembly: run on such a machine"),
    pytest.mark.skipif(x86_64 and not llvm.get_host_cpu_features().get("avx2"), reason="needs a processor with AVX2"),
]

PACKED = {
    "integer products": r"\bvpmuludq\s.*%[yz]mm",
    "float32 multiply-adds": r"\bvfn?m(add|sub)\d+ps\s.*%[yz]mm",
    "float64 multiply-adds": r"\bvfn?m(add|sub)\d+pd\s.*%[yz]mm",
    "float32 sums": r"\bvaddps\s.*%[yz]mm",
    "float32 maxima": r"\bvmaxps\s.*%[yz]mm",
    "float64 maxima": r"\bvmaxpd\s.*%[yz]mm",
}

ADDRESS = (np.uint32(1), np.uint32(2), np.uint32(3), np.uint32(4), np.uint32(5))
BITS = np.zeros(2048, np.uint32)
PAIRS = BITS.view(np.uint64)
HALVES = np.zeros(2048, np.uint16)
LANES = lanes.LANES
ADDRESSES, CHOSEN = np.zeros(lanes.ADDRESSES, np.uint64), np.zeros(LANES, np.int64)
INTEGERS, LANES_F32, LANES_F64 = np.zeros(lanes.INTEGERS, np.uint32), np.ones(lanes.REALS, np.float32), np.ones(lanes.REALS)
F32, F64 = np.ones(1024, np.float32), np.ones(1024, np.float64)


def elementwise(function):
    @njit(error_model="numpy")
    def loop(x, y):
        for j in range(x.shape[0]):
            y[j] = function(x[j])

    return loop


def code_of(function, *arguments):
    """Assembly of a loop for these arguments, everything inlined."""
    names = ", ".join(f"a{i}" for i in range(len(arguments)))
    namespace = {"function": function}
    exec(f"def call({names}): return function({names})", namespace)
    call = njit(namespace["call"], error_model="numpy")
    call(*arguments)
    return "".join(call.inspect_asm().values())


LOOPS = {
    "bits": (bits.fill_words, (PAIRS, ADDRESS, np.uint32(0), 0, np.uint32(128)), "integer products"),
    "tails": (bits.fill_tails, (PAIRS, ADDRESS, 0, np.uint32(128)), "integer products"),
    "E float32": (noise._exponentials_of_bits_f32, (F32, HALVES, HALVES.copy(), BITS), "float32 multiply-adds"),
    "E float64": (noise._exponentials_of_bits_f64, (F64, HALVES, HALVES.copy(), BITS), "float64 multiply-adds"),
    "exp float32": (elementwise(elementary.exp_f32), (F32, F32.copy()), "float32 multiply-adds"),
    "exp float64": (elementwise(elementary.exp_f64), (F64, F64.copy()), "float64 multiply-adds"),
    "log float32": (elementwise(elementary.log_f32), (F32, F32.copy()), "float32 multiply-adds"),
    "log float64": (elementwise(elementary.log_f64), (F64, F64.copy()), "float64 multiply-adds"),
    "sum": (sums.add_sum, (0.0, F32, F32[:32].copy()), "float32 sums"),
    "dot": (sums.add_dot, (0.0, F32, F32.copy(), F32[:32].copy()), "float32 multiply-adds"),
    "maximum float32": (cells.largest_of, (F32,), "float32 maxima"),
    "maximum float64": (cells.largest_of, (F64,), "float64 maxima"),
    "bound float32": (bound.bound_piece, (F32, F32.copy(), HALVES, np.float32(1), 1024), "float32 maxima"),
    "bound float16": (bound.bound_piece, (F32, HALVES, HALVES.copy(), np.float32(1), 1024), "float32 maxima"),
    "bound bfloat16": (bound.bound_piece, (F32, HALVES.view(np.int16), HALVES, np.float32(1), 1024), "float32 maxima"),
    "rounding to float16": (cells.store_tile, (HALVES, F32), "float32 sums"),
    "bound float64": (bound.bound_piece, (F64, F64.copy(), HALVES, np.float64(1), 1024), "float64 maxima"),
    "words of lanes": (lanes.fill_lane_words, (INTEGERS, ADDRESSES, 0, *ADDRESS[:2], LANES), "integer products"),
    "half-words of ids": (
        lanes_of_ids.fill_halves_of_ids,
        (INTEGERS, ADDRESSES, CHOSEN, CHOSEN.copy(), *ADDRESS[:2], LANES),
        "integer products",
    ),
    "lanes float32": (
        lanes.compare_lanes,
        (LANES_F32, INTEGERS, F32, F32.copy(), BITS, np.uint32(0), LANES),
        "float32 multiply-adds",
    ),
    "lanes float64": (
        lanes.compare_lanes,
        (LANES_F64, INTEGERS, F64, F64.copy(), BITS, np.uint32(0), LANES),
        "float64 multiply-adds",
    ),
    "decision float32": (lanes.decide_lanes, (LANES_F32, INTEGERS, CHOSEN, LANES), "float32 multiply-adds"),
    "targets of draws": (
        inverse_cdf_draws.fill_targets,
        (PAIRS, BITS[:1024], *ADDRESS[:2], 0, 0, 10, np.uint64(1)),
        "integer products",
    ),
    "conditional noise float32": (
        conditional.condition_tile,
        (F32, F32.copy(), np.float32(1), np.float32(1), np.float32(1)),
        "float32 multiply-adds",
    ),
    "conditional noise float64": (conditional.condition_tile, (F64, F64.copy(), 1.0, 1.0, 1.0), "float64 multiply-adds"),
    "bits of any columns": (bits.fill_coarse_of_ids, (HALVES, ADDRESS, np.arange(1024)), "integer products"),
}


@pytest.mark.parametrize(("function", "arguments", "packed"), LOOPS.values(), ids=LOOPS)
def test_loops_are_packed(function, arguments, packed):
    assert re.search(PACKED[packed], code_of(function, *arguments)), f"no {packed} on packed registers"


@pytest.mark.skipif(not llvm.get_host_cpu_features().get("avx512f"), reason="needs a processor with AVX-512")
@pytest.mark.parametrize("name", ["bits", "E float32", "bound float32", "maximum float32", "lanes float32"])
def test_loops_take_the_widest_registers(name):
    function, arguments, packed = LOOPS[name]
    assert re.search(PACKED[packed].replace("[yz]", "z"), code_of(function, *arguments))


def test_a_scalar_loop_is_noticed():
    """One address at a time, with a branch for the tail, stays scalar."""

    @njit(error_model="numpy")
    def one_by_one(g, k0, k1):
        for j in range(g.shape[0]):
            g[j] = field.gumbel_at_f32(k0, k1, np.int64(0), np.int64(0), np.int64(j))

    code = code_of(one_by_one, F32, np.uint32(1), np.uint32(2))
    assert not re.search(PACKED["float32 multiply-adds"], code)
