"""Functions for a user's own compiled code: equal to the array functions in every bit, from whatever caller."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import dense
import hard_rows
import numba
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import cfunc, guvectorize, njit

import numgumbel as ng
from numgumbel import nb

settings.register_profile("numgumbel", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("numgumbel")

REALS = np.float32, np.float64
KEY = ng.key(2024, "own kernels")


def same(left, right):
    """Equal to the bit, NaN and signs of zero included."""
    left, right = np.asarray(left), np.asarray(right)
    assert left.dtype == right.dtype
    np.testing.assert_array_equal(left, right)
    if left.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(left[~np.isnan(left)]), np.signbit(right[~np.isnan(right)]))


def everything_else(x):
    """Places for two indices, validity, relaxed sample, G and scores of rows like x."""
    count = len(x)
    return (np.full(count, -9), np.full(count, -9), np.zeros(count, bool), *(np.full_like(x, 7) for _ in range(3)))


def plain(key, steps, rows, x, temperature, index, cdf, valid, soft, g, s):
    for i in range(len(x)):
        index[i] = nb.categorical_row(key, steps[i], rows[i], x[i], temperature[i])
        cdf[i] = nb.inverse_cdf_row(key, steps[i], rows[i], x[i], temperature[i])
        valid[i] = nb.gumbel_softmax_row(key, steps[i], rows[i], x[i], temperature[i], soft[i])
        nb.gumbel_row(key, steps[i], rows[i], g[i])
        nb.score_row(key, steps[i], rows[i], x[i], s[i], temperature[i])


@njit
def masked_with_ids(key, steps, rows, x, temperature, mask, cols, index, cdf, valid, soft, g, s):
    for i in range(len(x)):
        step, row, t = steps[i], rows[i], temperature[i]
        index[i] = nb.categorical_row(key, step, row, x[i], mask=mask[i], cols=cols[i], temperature=t)
        cdf[i] = nb.inverse_cdf_row(key, step, row, x[i], t, mask[i])
        valid[i] = nb.gumbel_softmax_row(key, step, row, x[i], t, soft[i], mask[i], cols=cols[i])
        nb.gumbel_row(key, step, row, g[i], cols[i])
        nb.score_row(key, step, row, x[i], s[i], t, mask[i], cols[i])


@njit
def weighted(key, steps, rows, p, temperature, mask, cols, index):
    for i in range(len(p)):
        index[i] = nb.categorical_row_probs(key, steps[i], rows[i], p[i], temperature[i], mask[i], cols[i])


compiled_plain = njit(plain)


def spread(x):
    """The same numbers with others between them, so that no axis is packed."""
    wide = np.zeros((x.shape[0], 2 * x.shape[1] + 1), x.dtype)
    wide[:, 1::2] = x
    return wide[:, 1::2]


def wanted(key, x, steps, rows, temperature, mask=None, cols=None):
    """What the array functions give, in the order of `everything_else`."""
    given_ids = {"step": steps, "rows": rows, "mask": mask, "invalid": "mark"}
    index = ng.categorical(key, x, temperature=temperature, cols=cols, **given_ids)
    cdf = ng.categorical(key, x, temperature=temperature, method="inverse_cdf", **given_ids)
    soft = ng.gumbel_softmax(key, x, tau=temperature, cols=cols, **given_ids)
    address = {"step": steps, "rows": rows, "cols": cols}
    g = ng.gumbel(key, x.shape, dtype=x.dtype, **address)
    return index, cdf, index >= 0, soft, g, dense.scores(key, dense.cells(x, mask=mask), temperature, **address)


def check_plain(key, x, steps, rows, temperature, run=compiled_plain):
    got = everything_else(x)
    run(key, steps, rows, x, temperature, *got)
    for left, right in zip(got, wanted(key, x, steps, rows, temperature), strict=True):
        same(left, right)


def check_masked_with_ids(key, x, steps, rows, temperature, mask, cols):
    got = everything_else(x)
    got = (*got[:3], *map(spread, got[3:]))
    masked_with_ids(key, steps, rows, spread(x), temperature, spread(mask), spread(cols), *got)
    for left, right in zip(got, wanted(key, x, steps, rows, temperature, mask, cols), strict=True):
        same(left, right)


# --- rows --------------------------------------------------------------------------------------------------------------------


@st.composite
def batches(draw):
    """(logits, steps, row ids, temperatures, mask, column ids), extreme ones among them."""
    count = draw(st.integers(1, 5))
    columns = draw(st.one_of(st.integers(1, 70), st.sampled_from([1023, 1024, 1025, 2500])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.normal(scale=draw(st.sampled_from([0.1, 1, 30, 1e30])), size=(count, columns)).astype(draw(st.sampled_from(REALS)))
    for value in (-np.inf, np.inf, np.nan):
        x[rng.random(x.shape) < draw(st.sampled_from([0, 0, 0, 0.5 / columns, 0.3]))] = value
    step = st.one_of(st.integers(0, 9), st.sampled_from([2**30 - 1, 2**30, 2**62, 2**63 - 1]))
    row = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, -1, 2**32, 2**63 - 1, -(2**63)]))
    temperature = st.sampled_from([1.0, 1.0, 0.0, 0.3, 5.0, 2.0**-64, 2.0**64])
    steps, rows = (np.array([draw(kind) for _ in range(count)], np.int64) for kind in (step, row))
    temperatures = np.array([draw(temperature) for _ in range(count)])
    mask = rng.random(x.shape) < draw(st.sampled_from([0.05, 0.7, 1]))
    top = draw(st.sampled_from([columns, 10 * columns, 2**35 - 16]))
    cols = rng.integers(max(0, top - 10**6), top, x.shape)
    cols[0] = draw(st.sampled_from([0, 3, 2**35 - 16 - columns])) + np.arange(columns)
    return x, steps, rows, temperatures, mask.astype(draw(st.sampled_from([bool, np.uint8]))), cols


@settings(max_examples=40)
@given(batches(), st.integers(0, 2**64 - 1).map(ng.Key))
def test_rows_equal_the_array_functions(batch, key):
    x, steps, rows, temperatures, mask, cols = batch
    check_plain(key, x, steps, rows, temperatures)
    check_masked_with_ids(key, x, steps, rows, temperatures, mask.astype(np.uint8), cols)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize(
    "request_of", [hard_rows.plain, hard_rows.everything, hard_rows.cells_columns, hard_rows.probabilities]
)
def test_hard_rows(request_of, dtype):
    """Every kind of row: ties, scores level to a rounding, clamped ones, NaN of either sign, infinities."""
    for columns in (1, 2, 5, 8, 19, 70):
        b = hard_rows.batch(columns, dtype, request_of, 30)
        steps, rows, cols = (np.array(ids) for ids in b.ids())
        temperatures = np.array(np.broadcast_to(b.temperature, len(rows)), np.float64)
        mask = np.array(np.broadcast_to(b.given.get("mask", True), b.cells.shape), np.uint8)
        if b.is_probs:
            index = np.empty(len(rows), np.int64)
            weighted(hard_rows.KEY, steps, rows, b.cells, temperatures, mask, cols, index)
            same(index, b.sample(ng.categorical))
        elif request_of is hard_rows.plain:
            check_plain(hard_rows.KEY, b.cells, steps, rows, temperatures)
        else:
            check_masked_with_ids(hard_rows.KEY, b.cells, steps, rows, temperatures, mask, cols)


def some_rows(columns=6, dtype=np.float64, count=3000):
    rng = np.random.default_rng(columns)
    x = rng.normal(size=(count, columns)).astype(dtype)
    return x, rng.integers(0, 2**40, count), rng.integers(-(2**63), 2**63 - 1, count), np.ones(count)


@pytest.mark.parametrize("dtype", REALS)
def test_another_step_is_noticed(dtype):
    """The comparison itself: one row of one step later, and it must fail."""
    x, steps, rows, temperatures = some_rows(dtype=dtype)
    check_plain(KEY, x, steps, rows, temperatures)

    def shifted(key, steps, *rest):
        steps = steps.copy()
        steps[1234] += 1
        compiled_plain(key, steps, *rest)

    with pytest.raises(AssertionError):
        check_plain(KEY, x, steps, rows, temperatures, shifted)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("fastmath", "first"),
    [
        (True, True),
        pytest.param({"contract", "reassoc"}, True, marks=SLOW),
        pytest.param(True, False, marks=SLOW),
    ],
)
def test_a_caller_with_fastmath_changes_no_bit(fastmath, first, tmp_path):
    """Whether it is the first to have the functions compiled or not: in a process of its own, therefore."""
    code = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import test_nb
        from numba import njit
        x, steps, rows, temperatures = test_nb.some_rows()
        x[5, 3], x[6], x[7, 4], x[8] = float("nan"), float("-inf"), float("inf"), 1e308
        x[9:1000] *= 40
        temperatures[1000:] = 0.7
        fast, slow = njit(fastmath={fastmath!r})(test_nb.plain), njit(test_nb.plain)
        for run in (fast, slow) if {first} else (slow, fast):
            test_nb.check_plain(test_nb.KEY, x, steps, rows, temperatures, run)
        flags = " fast " if {fastmath!r} is True else " reassoc "
        print(sum(flags in line for line in next(iter(fast.inspect_llvm().values())).splitlines()))
    """
    assert run_python(code) == "0"


def run_python(code, *arguments, **environment):
    """What a script prints, in a fresh process."""
    environment = os.environ | {"NUMBA_NUM_THREADS": "2"} | environment
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_prange_gives_the_same_for_any_number_of_threads():
    """In a process of its own: threads of OpenMP, once started, do not survive a fork."""
    code = """
        import numba, numpy as np, numgumbel as ng
        from numba import njit, prange

        key = ng.key(5, "prange")

        @njit(parallel=True)
        def run(x, index, soft):
            for i in prange(len(x)):
                index[i] = ng.nb.categorical_row(key, 3, i, x[i])
                ng.nb.gumbel_softmax_row(key, 3, i, x[i], 0.5, soft[i])

        x = np.random.default_rng(1).normal(size=(20_001, 9))
        for threads in (1, 2):
            numba.set_num_threads(threads)
            index, soft = np.empty(len(x), np.int64), np.empty_like(x)
            run(x, index, soft)
            assert (index == ng.categorical(key, x, step=3)).all()
            assert (soft == ng.gumbel_softmax(key, x, step=3, tau=0.5)).all()
        print(numba.threading_layer() != "", len(np.unique(index)))
    """
    assert run_python(code) == "True 9"


def test_a_cached_caller(tmp_path):
    """Numba's disk cache of the user's function: loaded by the next process, with the same results."""
    script = tmp_path / "own.py"
    script.write_text(
        textwrap.dedent("""
        import numpy as np, numgumbel as ng
        from numba import njit
        from numgumbel import nb

        @njit(cache=True)
        def run(key, x, index):
            for i in range(len(x)):
                index[i] = nb.categorical_row(key, 1, i, x[i])

        x = np.random.default_rng(1).normal(size=(1000, 4))
        index = np.empty(len(x), np.int64)
        run(ng.key(6), x, index)
        assert (index == ng.categorical(ng.key(6), x, step=1)).all()
        print(sum(run.stats.cache_hits.values()))
        """)
    )
    code = f"import runpy; runpy.run_path({str(script)!r})"
    assert [run_python(code, NUMBA_CACHE_DIR=str(tmp_path / "cache")) for _ in range(2)] == ["0", "1"]


def test_other_callers():
    """Functions that Numba compiles by other ways."""
    x = np.random.default_rng(2).normal(size=(300, 6))
    wanted, g = ng.categorical(KEY, x), ng.gumbel(KEY, x.shape)

    @guvectorize(["void(int64, float64[:], int64[:])"], "(),(k)->()")
    def sample(row, logits, out):
        out[0] = nb.categorical_row(KEY, 0, row, logits)

    @cfunc("float64(int64, int64)")
    def noise(row, col):
        return nb.gumbel(KEY, 0, row, col)

    @njit(debug=True, boundscheck=True)
    def debugged(x, index):
        for i in range(len(x)):
            index[i] = nb.categorical_row(KEY, 0, i, x[i])

    same(sample(np.arange(len(x)), x), wanted)
    assert [noise.ctypes(3, col) for col in range(6)] == g[3].tolist()
    index = np.empty(len(x), np.int64)
    debugged(x, index)
    same(index, wanted)


# --- cells -------------------------------------------------------------------------------------------------------------------


@njit
def cells(key, step, row, col):
    first = nb.bits(key, step, row, col), nb.exponential(key, step, row, col), nb.exponential_f32(key, step, row, col)
    return first, nb.gumbel(key, step, row, col), nb.gumbel_f32(key, step, row, col)


edges = st.sampled_from([0, 1, 2**30 - 1, 2**30, 2**62, 2**63 - 1])
columns_of_any_size = st.one_of(st.integers(0, 20), st.integers(0, 2**35 - 17), st.just(2**35 - 17))


@given(st.integers(0, 2**64 - 1).map(ng.Key), edges, st.integers(-(2**63), 2**63 - 1), columns_of_any_size)
def test_cells_equal_the_array_functions(key, step, row, col):
    address = {"step": step, "rows": [row], "cols": [col]}
    (words, e, e32), g, g32 = cells(key, step, row, col)
    assert words == tuple(int(word[()]) for word in oracle.bits(key.words, step, row, col))
    same(g, ng.gumbel(key, **address)[0, 0])
    same(np.float32(g32), ng.gumbel(key, dtype=np.float32, **address)[0, 0])
    same(e, dense.exponential(key, (1, 1), np.float64, **address)[0, 0])
    same(np.float32(e32), dense.exponential(key, (1, 1), np.float32, **address)[0, 0])
    # From Python too.
    assert nb.bits(key, step, row, col) == words
    assert (nb.gumbel(key, step, row, col), nb.gumbel_f32(key, step, row, col)) == (g, g32)


@njit
def uniforms(key, step, row):
    return nb.uniform_bits(key, step, row), nb.uniform(key, step, row)


@given(st.integers(0, 2**64 - 1).map(ng.Key), edges, st.integers(-(2**63), 2**63 - 1))
def test_uniforms(key, step, row):
    bits, u = uniforms(key, step, row)
    assert bits == oracle.uniform_bits(key.words, step, row)
    assert u == ((bits >> 12) + 0.5) / 2**52
    assert 0 < u < 1


def test_extreme_bits_stay_inside():
    """The rounding that would give 1 is not there: the largest and smallest values of the same expression."""
    from numgumbel.kernels import rows

    for bits, expected in ((0, 2.0**-53), (2**64 - 1, 1 - 2.0**-53)):
        namespace = vars(rows) | {"row_uniform_bits": lambda key, step, row, bits=bits: np.uint64(bits)}
        function = type(rows.row_uniform.py_func)(rows.row_uniform.py_func.__code__, namespace)
        assert function(0, 0, 0) == expected


@njit
def folded(key, x, tag):
    return nb.fold(key, x, tag)


@given(st.integers(0, 2**64 - 1).map(ng.Key), st.integers(-(2**63), 2**64 - 1), st.integers(0, 2**32 - 1))
def test_fold(key, x, tag):
    wanted = int(ng.fold(key, x, tag))
    assert nb.fold(key, x, tag) == nb.fold(int(key), x, tag) == wanted
    assert folded(key, np.uint64(x % 2**64), tag) == wanted
    if x < 2**63:
        assert folded(key, x, tag) == wanted


def test_tail_addresses():
    """Where b32 is below 256 and the float32 field reads its tail: see `test_tail_addresses_are_exact`."""
    key = ng.key(4, "tail")
    b32, _ = oracle.bits(key.words, 0, 0, np.arange(1_300_000))
    found = np.flatnonzero(b32 < 256)
    assert len(found) >= 1
    expected = dense.gumbel(key, (1, len(found)), np.float32, cols=found)[0]
    assert (expected > 16.6).all()
    same(np.array([nb.gumbel_f32(key, 0, 0, col) for col in found], np.float32), expected)
    out = np.empty(len(found), np.float32)
    nb.gumbel_row(key, 0, 0, out, found)
    same(out, expected)
    nb.exponential_row(key, 0, 0, out, found)
    same(out, dense.exponential(key, (1, len(found)), np.float32, cols=found)[0])
    # A whole group of eight around it, by position and by id; and as the sample of a row.
    group = int(found[0]) // 8 * 8
    around = np.arange(group, group + 8)
    nb.gumbel_row(key, 0, 0, np.empty(8, np.float32), around)
    assert nb.categorical_row(key, 0, 0, np.zeros(8, np.float32), cols=around) == found[0] - group


def test_groups_with_a_tail_by_position():
    """The same column met on the way along a row."""
    key = ng.key(4, "tail")
    b32, _ = oracle.bits(key.words, 0, 0, np.arange(1_300_000))
    end = int(np.flatnonzero(b32 < 256)[0]) + 1
    out = np.empty(end, np.float32)
    nb.gumbel_row(key, 0, 0, out)
    same(out, ng.gumbel(key, (1, end), dtype=np.float32)[0])
    nb.exponential_row(key, 0, 0, out)
    same(out, dense.exponential(key, (1, end), np.float32)[0])
    assert nb.categorical_row(key, 0, 0, np.zeros(end, np.float32)) == end - 1


# --- keys, defaults, errors --------------------------------------------------------------------------------------------------

GLOBAL_KEY = ng.key(1, "global")


def test_a_key_is_a_number_in_compiled_code():
    closed_over = ng.Key(2**64 - 1)

    @njit
    def run(key):
        return key, nb.gumbel(GLOBAL_KEY, 1, 2, 3), nb.gumbel(closed_over, 1, 2, 3)

    number, first, second = run(KEY)
    assert number == int(KEY)
    assert run(ng.Key(2**64 - 1))[0] == 2**64 - 1
    assert first == ng.gumbel(GLOBAL_KEY, rows=[2], cols=[3], step=1)[0, 0]
    assert second == ng.gumbel(closed_over, rows=[2], cols=[3], step=1)[0, 0]
    assert numba.typeof(KEY) == numba.uint64
    for key in (ng.Key(3), ng.Key(2**64 - 1)):
        assert nb.gumbel(int(key), 1, 2, 3) == nb.gumbel(key, 1, 2, 3)


def test_other_global_numbers_are_what_they_were():
    """The rule for constants serves every uint64 of a compiled module."""
    large = np.uint64(2**64 - 5)

    @njit
    def run():
        return large

    assert run() == 2**64 - 5


def test_defaults_and_integer_types():
    x = np.log([0.1, 0.7, 0.2])

    @njit
    def run(key, step, row, x):
        return nb.categorical_row(key, step, row, x), nb.categorical_row(key, step, row, x, 1)

    wanted = ng.categorical(KEY, x, step=3, rows=-4)
    for kind in (int, np.int32, np.int64):
        assert run(KEY, kind(3), kind(-4), x) == (wanted, wanted)
    assert run(KEY, np.uint8(3), np.uint64(2**64 - 4), x) == (wanted, wanted)


@pytest.mark.parametrize("temperature", [-1.0, np.nan, np.inf, 2.0**-65, 2.0**65])
@pytest.mark.parametrize("dtype", REALS)
def test_a_temperature_out_of_range_marks_the_row(temperature, dtype):
    x = np.zeros(5, dtype)
    out = np.zeros(5, dtype)
    assert nb.categorical_row(KEY, 0, 0, x, temperature) == -1
    assert nb.inverse_cdf_row(KEY, 0, 0, x, temperature) == -1
    assert not nb.gumbel_softmax_row(KEY, 0, 0, x, temperature, out)
    assert np.isnan(out).all()
    nb.score_row(KEY, 0, 0, x, out, temperature)
    assert np.isnan(out).all()


def test_empty_rows():
    x = np.empty(0)
    assert nb.categorical_row(KEY, 0, 0, x) == nb.inverse_cdf_row(KEY, 0, 0, x) == nb.categorical_row_probs(KEY, 0, 0, x) == -1
    assert not nb.gumbel_softmax_row(KEY, 0, 0, x, 1.0, x.copy())
    nb.gumbel_row(KEY, 0, 0, x)


def test_read_only_logits():
    x = np.log([0.1, 0.7, 0.2])
    wanted = nb.categorical_row(KEY, 3, 5, x)
    x.flags.writeable = False
    assert nb.categorical_row(KEY, 3, 5, x) == wanted


def test_errors_come_while_compiling():
    for bad in (np.zeros(3, np.int64), np.zeros((3, 3)), 1.0):
        with pytest.raises(numba.TypingError, match="1-D arrays of float32 or float64"):
            nb.categorical_row(KEY, 0, 0, bad)
    with pytest.raises(numba.TypingError, match="dtype of the logits, float64, got float32"):
        nb.gumbel_softmax_row(KEY, 0, 0, np.zeros(3), 1.0, np.zeros(3, np.float32))


def test_the_module_is_imported_when_asked_for():
    code = """
        import sys, numgumbel as ng
        print("numgumbel.nb" in sys.modules, ng.nb.__name__, "numgumbel.nb" in sys.modules)
        try:
            ng.nothing
        except AttributeError as error:
            print(error)
    """
    said = ["False numgumbel.nb True", "module 'numgumbel' has no attribute 'nothing'"]
    assert run_python(code).splitlines() == said


@pytest.mark.parametrize("name", nb.__all__)
def test_docstrings_are_complete(name):
    text = getattr(nb, name).__doc__
    for section in ("Parameters", "Examples"):
        assert f"    {section}\n    {'-' * len(section)}" in text, section


# --- device code -------------------------------------------------------------------------------------------------------------


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["gumbel", "gumbel_f32", "exponential", "exponential_f32", "uniform", "uniform_bits", "fold"])
def test_cells_give_the_bits_of_the_cpu(name):
    """Their PTX in the interpreter of `test_ptx`."""
    import cuda_compile
    import test_ptx
    from numba import float32, float64, int64, uint32, uint64

    cuda_compile.need_compilers()
    result = {"uniform_bits": uint64, "fold": uint64}.get(name, float32 if name.endswith("_f32") else float64)
    address = {"uniform": (int64, int64), "uniform_bits": (int64, int64), "fold": (uint64, uint32)}.get(name, (int64,) * 3)
    count = 50_000
    makers = (test_ptx.words64, test_ptx.words32) if name == "fold" else (test_ptx.steps, test_ptx.rows, test_ptx.columns)
    arguments = [test_ptx.words64(count), *(make(count) for make in makers[: len(address)])]
    ((call, signature, _, _),) = test_ptx.one(getattr(nb, name), result(uint64, *address), ())
    assert test_ptx.differing(call, signature, arguments) == 0


@pytest.mark.cuda
def test_rows_compile_for_a_gpu():
    """The same functions in a ``@cuda.jit`` kernel: nothing on the heap, no spill, no product added but by `fma`."""
    import cuda_compile
    from numba import types

    cuda_compile.need_compilers()
    cuda = cuda_compile.cuda()

    def sample(out, x, key):
        i = cuda.grid(1)
        out[i] = nb.categorical_row(key, 0, i, x[i])

    def relax(out, x, key):
        i = cuda.grid(1)
        nb.gumbel_softmax_row(key, 0, i, x[i], 0.5, out[i])

    for real in (types.float32, types.float64):
        matrix = types.Array(real, 2, "C")
        for kernel, out in ((sample, types.Array(types.int64, 1, "C")), (relax, matrix)):
            signature = types.void(out, matrix, types.uint64)
            ptx = cuda_compile.kernel_ptx(kernel, signature)
            with cuda_compile.without_contraction():
                explicit = cuda_compile.kernel_ptx(kernel, signature)
            assert cuda_compile.fused(ptx) == cuda_compile.fused(explicit)
            assert "malloc" not in ptx
            assert cuda_compile.assemble(ptx)[1] == 0
