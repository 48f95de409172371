"""float16 and bfloat16: conversions over all halves, and every operation against the same call on float32.

That is their definition. Logits in halves give the indices, scores and thresholds of ``logits.astype(np.float32)``; relaxed
samples and gradients are those of that call, ``.astype`` of the logits' dtype.
"""

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

import numgumbel as ng
from numgumbel.kernels import halves
from numgumbel.kernels.cpu import cells

KEY = ng.key(16, "halves")
NAN, INF = np.float32(np.nan), np.float32(np.inf)
profile = settings(deadline=None, max_examples=40, derandomize=True)

if importlib.util.find_spec("ml_dtypes"):
    import ml_dtypes

    BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
else:
    BFLOAT16 = None
DTYPES = [np.dtype(np.float16), BFLOAT16]


@pytest.fixture(params=["float16", "bfloat16"])
def dtype(request):
    dtype = DTYPES[request.param == "bfloat16"]
    if dtype is None:
        pytest.skip("bfloat16 is of a package that is not there: python -m pip install ml_dtypes")
    return dtype


def rounded(x, dtype):
    """`astype`, without what it says of infinities and of NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        return x.astype(dtype)


# --- conversions ---------------------------------------------------------------------------------------------------------


def over(function, x, out):
    """A scalar over all elements."""

    @njit(error_model="numpy")
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    loop(x, out)
    return out


def same_bits(got, wanted):
    """Equal to the bit; which NaN it is is nobody's promise."""
    assert got.dtype == wanted.dtype
    nan = np.isnan(wanted.astype(np.float32))
    np.testing.assert_array_equal(np.isnan(got.astype(np.float32)), nan)
    bits = f"u{got.dtype.itemsize}"
    np.testing.assert_array_equal(got.view(bits)[~nan], wanted.view(bits)[~nan])


def all_halves(dtype):
    return np.arange(1 << 16, dtype=np.uint16).view(dtype)


def hard_floats(dtype):
    """Every half, every midpoint of two neighbours, the numbers beside those, and random bit patterns."""
    exact = all_halves(dtype).astype(np.float32)
    exact = np.sort(exact[np.isfinite(exact)]).astype(np.float64)
    with np.errstate(over="ignore"):
        middle = ((exact[1:] + exact[:-1]) / 2).astype(np.float32)
    ends = np.array([65519.99, 65520, 65536, 1e30, 3.4e38, 1e-45, 2e-8, 3e-8, 0, np.inf, np.nan], np.float32)
    bits = np.random.default_rng(0).integers(0, 2**32, 1_000_000, np.uint32).view(np.float32)
    found = np.concatenate([exact.astype(np.float32), middle, ends, -ends, bits])
    beside = [np.nextafter(found[: len(exact) + len(middle)], np.float32(end)) for end in (-np.inf, np.inf)]
    return np.concatenate([found, *beside])


def widening(dtype):
    """The conversions to float32 that kernels may use."""
    if dtype == np.float16:
        return [halves.f32_of_f16, cells.widened_f16]
    return [halves.f32_of_bf16]


def test_every_half_is_widened_exactly(dtype):
    x = all_halves(dtype)
    for function in widening(dtype):
        got = over(function, x.view(np.uint16).astype(np.uint32), np.empty(len(x), np.float32))
        same_bits(got, x.astype(np.float32))


def test_rounding_to_the_nearest_even(dtype):
    x = hard_floats(dtype)
    function = halves.f16_of_f32 if dtype == np.float16 else halves.bf16_of_f32
    got = over(function, x, np.empty(len(x), np.uint32))
    assert got.max() < 1 << 16
    same_bits(got.astype(np.uint16).view(dtype), rounded(x, dtype))


def test_truncation_is_noticed(dtype):
    """The comparison itself: without rounding, midpoints come out wrong."""
    x = hard_floats(dtype)
    kept = np.uint32(0xFFFFE000 if dtype == np.float16 else 0xFFFF0000)
    with pytest.raises(AssertionError):
        same_bits(rounded((x.view(np.uint32) & kept).view(np.float32), dtype), rounded(x, dtype))


# --- operations ----------------------------------------------------------------------------------------------------------


def same(got, wanted):
    """Equal, with NaN in the same places and zeros of the same sign."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.dtype == wanted.dtype
    left, right = (x.astype(np.float64) if x.dtype.kind != "i" else x for x in (got, wanted))
    np.testing.assert_array_equal(left, right)
    if wanted.dtype.kind != "i":
        nan = np.isnan(right)
        np.testing.assert_array_equal(np.signbit(left)[~nan], np.signbit(right)[~nan])


def check(x, *, cotangent=None, **given):
    """All operations on halves and on the same numbers in float32."""
    dtype, name = x.dtype, given.pop("name", "logits")
    wide = x.astype(np.float32)
    given["invalid"] = "mark"
    temperature = given.pop("temperature", 1.0)
    k = min(3, x.shape[given.get("axis", -1)])
    for method in ("gumbel", "inverse_cdf"):
        options = {**given, "method": method, "temperature": temperature}
        same(ng.categorical(KEY, **{name: x}, **options), ng.categorical(KEY, **{name: wide}, **options))
    options = {**given, "temperature": temperature}
    for got, wanted in zip(
        ng.gumbel_topk(KEY, k=k, **{name: x}, **options), ng.gumbel_topk(KEY, k=k, **{name: wide}, **options), strict=True
    ):
        same(got, wanted)
    for hard in (False, True):
        options = {**given, "tau": temperature, "hard": hard}
        got = ng.gumbel_softmax(KEY, **{name: x}, **options)
        same(got, rounded(ng.gumbel_softmax(KEY, **{name: wide}, **options), dtype))
    if name == "logits" and "n" not in given and np.all(np.asarray(temperature) > 0):
        c = rounded(np.cos(np.arange(x.size, dtype=np.float32)).reshape(x.shape), dtype) if cotangent is None else cotangent
        options = {**given, "tau": temperature}
        got = ng.gumbel_softmax_vjp(KEY, x, c, **options)
        same(got, rounded(ng.gumbel_softmax_vjp(KEY, wide, c.astype(np.float32), **options), dtype))
        y = ng.gumbel_softmax(KEY, x, **options)
        got = ng.gumbel_softmax_vjp(KEY, x, c, sample=y, **options)
        wanted = ng.gumbel_softmax_vjp(KEY, wide, c.astype(np.float32), sample=y.astype(np.float32), **options)
        same(got, rounded(wanted, dtype))


layouts = st.sampled_from(["packed", "fortran", "reversed", "every other", "wide rows", "read-only"])
sizes = st.one_of(st.integers(1, 40), st.sampled_from([64, 127, 511, 513, 1025, 2050, 5000]))


def laid_out(x, layout):
    """The same numbers at other strides."""
    if layout == "fortran":
        return np.asfortranarray(x)
    if layout == "reversed":
        return np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    if layout == "every other":
        return np.repeat(x, 2, axis=1)[:, ::2]
    if layout == "wide rows":
        return np.concatenate([x, x[:, :3]], axis=1)[:, : x.shape[1]]
    x = x.copy()
    x.flags.writeable = layout != "read-only"
    return x


@profile
@given(data=st.data())
def test_equals_float32(dtype_of_example, data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, columns = draw(st.integers(1, 40)), draw(sizes)
    x = rng.normal(scale=draw(st.sampled_from([0.01, 1, 30, 3e4])), size=(rows, columns))
    x[rng.random(x.shape) < draw(st.sampled_from([0, 0.3]))] = -np.inf
    name = draw(st.sampled_from(["logits", "logits", "probs"]))
    x = laid_out(rounded(np.exp(np.minimum(x, 5)) if name == "probs" else x, dtype_of_example), draw(layouts))
    given_too = {"name": name}
    if draw(st.booleans()):
        given_too["mask"] = rng.random(x.shape) < 0.8
    if draw(st.booleans()):
        given_too["rows"] = rng.integers(-(2**63), 2**63 - 1, rows)
    if draw(st.booleans()):
        given_too["cols"] = rng.permutation(columns)
    if draw(st.booleans()):
        given_too["step"] = rng.integers(0, 2**40, rows)
    if draw(st.booleans()):
        given_too["temperature"] = rng.choice([0.3, 1, 2], rows)
    elif draw(st.booleans()):
        given_too["temperature"] = draw(st.sampled_from([0.0, 0.5]))
    if draw(st.booleans()):
        given_too["n"] = 2
    check(x, **given_too)


@pytest.fixture(params=["float16", "bfloat16"], scope="module")
def dtype_of_example(request):
    dtype = DTYPES[request.param == "bfloat16"]
    if dtype is None:
        pytest.skip("bfloat16 is of a package that is not there: python -m pip install ml_dtypes")
    return dtype


@pytest.mark.parametrize("columns", [*range(1, 20), 33, 500])
def test_short_rows_of_every_width(dtype, columns):
    """As the lanes take them: any halves there are, on both sides of a block's end."""
    rows = min(300, (1 << 16) // columns)
    x = np.random.default_rng(columns).permutation(all_halves(dtype))[: rows * columns].reshape(rows, columns)
    x = np.where(np.isnan(x.astype(np.float32)), dtype.type(0), x)
    for part in (x, x[:2], x[:259]):
        options = {"invalid": "mark", "temperature": 0.01}
        same(ng.categorical(KEY, part, **options), ng.categorical(KEY, part.astype(np.float32), **options))


def test_special_values(dtype):
    """Infinities, NaN of both signs and subnormals anywhere; signed zeros; the ends of the range."""
    least = all_halves(dtype)[1].astype(np.float32)
    largest = np.float32(65504 if dtype == np.float16 else 3.3895e38)
    special = [INF, -INF, NAN, -NAN, least, -least, least * 5, 0.0, -0.0, largest, -largest, 1.0]
    rng = np.random.default_rng(8)
    for columns in (1, 6, 17, 600, 2049):
        x = rng.choice(np.array(special, np.float32), (60, columns))
        x[:20][np.isnan(x[:20])] = 0.5
        x[:10][x[:10] == INF] = 2.0
        x = rounded(x, dtype)
        check(x)
        check(x, temperature=0.25, mask=rng.random(x.shape) < 0.7)


def test_sums_overflow_in_halves_only(dtype):
    """2 * 65504 is beyond float16, and neither scores nor sums are in it."""
    x = np.full((4, 3000), 65504 if dtype == np.float16 else 3e38, np.float32).astype(dtype)
    score = ng.gumbel_topk(KEY, x, 2).score
    assert score.dtype == np.float32
    assert np.isfinite(score).all()
    check(x)


def test_other_axes_and_batches(dtype):
    x = rounded(np.random.default_rng(9).normal(size=(4, 5, 3, 6)), dtype)
    check(x, axis=1)
    check(x.transpose(2, 0, 1, 3)[::-1])
    check(x[0, 0, 0])
    check(x[:0])
    check(x, mask=np.arange(6) != 2)


def test_out(dtype):
    x = rounded(np.random.default_rng(10).normal(size=(50, 700)), dtype)
    wide = x.astype(np.float32)
    for out in (np.empty(50, np.int32), np.empty(50, np.int64)):
        assert ng.categorical(KEY, x, out=out) is out
        np.testing.assert_array_equal(out, ng.categorical(KEY, wide))
    wanted = rounded(ng.gumbel_softmax(KEY, wide, tau=0.5), dtype)
    out = np.empty((700, 50), dtype).T
    same(ng.gumbel_softmax(KEY, x, tau=0.5, out=out), wanted)
    gradient = rounded(ng.gumbel_softmax_vjp(KEY, wide, wide, tau=0.5), dtype)
    same(ng.gumbel_softmax_vjp(KEY, x, x, tau=0.5, out=out), gradient)
    top = ng.TopK(np.empty((50, 4), np.int32), np.empty((50, 4), np.float32), np.empty(50, np.float32))
    assert ng.gumbel_topk(KEY, x, 4, out=top).index is top.index
    for got, want in zip(top, ng.gumbel_topk(KEY, wide, 4), strict=True):
        np.testing.assert_array_equal(got, want)
    inside = x.copy()
    same(ng.gumbel_softmax(KEY, inside, tau=0.5, out=inside), wanted)


def test_threads_share(dtype):
    """Enough work for two threads, of rows and of columns."""
    before = ng.get_num_threads()
    for threads in (1, 2):
        ng.set_num_threads(threads)
        try:
            for shape in ((100_000, 6), (1, 1_000_000), (60, 9000)):
                x = rounded(np.random.default_rng(3).standard_normal(shape, np.float32), dtype)
                same(ng.categorical(KEY, x), ng.categorical(KEY, x.astype(np.float32)))
                same(ng.gumbel_softmax(KEY, x), rounded(ng.gumbel_softmax(KEY, x.astype(np.float32)), dtype))
        finally:
            ng.set_num_threads(before)


def test_a_generator_takes_them(dtype):
    x = rounded(np.random.default_rng(4).normal(size=(5, 7)), dtype)
    rng = ng.default_rng(5)
    same(rng.categorical(x), rng.at(0).categorical(x.astype(np.float32)))


def test_a_wrong_result_is_noticed(dtype):
    """The comparison itself: noise of another step, and one last place."""
    x = rounded(np.random.default_rng(12).normal(size=(20, 400)), dtype)
    wide = x.astype(np.float32)
    with pytest.raises(AssertionError):
        same(ng.categorical(KEY, x), ng.categorical(KEY, wide, step=1))
    y = rounded(ng.gumbel_softmax(KEY, wide), dtype)
    y.view(np.uint16)[3, 5] += 1
    with pytest.raises(AssertionError):
        same(ng.gumbel_softmax(KEY, x), y)


# --- what is refused, and what is said -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [np.ones((2, 3), ">f2"), np.ones((2, 3), "V2"), np.ones((2, 3), np.uint16)])
def test_what_only_looks_like_halves_is_refused(wrong):
    with pytest.raises(TypeError, match="logits must be float32, float64, float16 or bfloat16, got "):
        ng.categorical(KEY, wrong)


def test_results_of_a_wrong_dtype_are_refused(dtype):
    x = np.zeros((2, 3), dtype)
    with pytest.raises(TypeError, match=f"out must be {dtype}, got float32"):
        ng.gumbel_softmax(KEY, x, out=np.empty((2, 3), np.float32))
    with pytest.raises(TypeError, match=rf"out\.score must be float32, got {dtype}"):
        ng.gumbel_topk(KEY, x, 1, out=(np.empty((2, 1), np.int64), np.empty((2, 1), dtype), np.empty(2, np.float32)))
    with pytest.raises(TypeError, match=f"cotangent must be {dtype} like the logits, got float32"):
        ng.gumbel_softmax_vjp(KEY, x, np.zeros((2, 3), np.float32))
    with pytest.raises(TypeError, match=f"dtype must be float32 or float64, got {dtype}"):
        ng.gumbel(KEY, 3, dtype=dtype)
    with pytest.raises(TypeError, match=rf"out must be float32 or float64, got {dtype}: call out\.astype\(np\.float32\)"):
        ng.gumbel(KEY, out=np.empty(3, dtype))


def test_invalid_rows_are_named(dtype):
    x = np.zeros((20, 6), dtype)
    x[[3, 11]] = np.nan
    with pytest.raises(ValueError, match=r"2 of 20 rows invalid .* row 3, 11"):
        ng.gumbel_softmax_vjp(KEY, x, x)
    marked = ng.gumbel_softmax_vjp(KEY, x, x, invalid="mark").astype(np.float32)
    assert np.flatnonzero(np.isnan(marked).all(axis=1)).tolist() == [3, 11]
    assert np.isfinite(np.delete(marked, [3, 11], axis=0)).all()


def test_warm_up(dtype):
    for name in (dtype, str(dtype), dtype.type):
        assert {f"argmax_short_rows[{dtype}]", f"argmax_rows[{dtype}]"} <= set(ng.warmup("categorical", name))
    assert list(ng.warmup("gumbel", [dtype, np.float32])) == ["noise_rows[float32]", "wait_until", "survey_columns"]
