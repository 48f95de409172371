"""Any request on a device gives what it gives on the CPU: every operation, any layout, and whatever stands around a row."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

if os.environ.get("NUMGUMBEL_TEST_DEVICE") not in ("emulated", "gpu"):
    pytest.skip("compiled for a device only", allow_module_level=True)

import numgumbel as ng
from numgumbel.kernels.gpu.loading import cuda

ml_dtypes = pytest.importorskip("ml_dtypes", reason='pip install -e ".[test]"')

DTYPES = np.float32, np.float64, np.float16, ml_dtypes.bfloat16
# Around whatever makes a difference to a kernel: pieces of eight, lanes of a warp, blocks, rows of a block.
LENGTHS = sorted({*range(1, 71), *(n + d for n in (128, 256, 512, 1024, 2048, 4096) for d in (-1, 0, 1)), 8191, 8193})
WANT = ("score", "log_prob", "logsumexp", "entropy")
EXACT = {"index", "col", "score", "threshold", "action"}

many = settings(
    max_examples=int(os.environ.get("NUMGUMBEL_DEVICE_EXAMPLES", "150")),
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


class Bfloat16:
    """Bfloat16 on a device, of which Numba's arrays are two bytes of anything."""

    def __init__(self, words):
        self.words, self.shape = words, words.shape

    @property
    def __cuda_array_interface__(self):
        return {**self.words.__cuda_array_interface__, "typestr": "<V2"}


def device(values):
    """The same numbers in a device's memory, with the same strides."""
    if values is None:
        return None
    whole = values if values.base is None else values.base
    plain = whole.view(np.int16) if whole.dtype.kind == "V" else whole
    there = cuda.to_device(plain)
    offset = values.ctypes.data - whole.ctypes.data
    dtype = np.dtype(np.int16) if values.dtype.kind == "V" else values.dtype
    told = {
        "shape": values.shape,
        "strides": values.strides if values.size else None,
        "typestr": dtype.str,
        "data": (there.device_ctypes_pointer.value + offset, False),
        "version": 3,
    }
    array = cuda.from_cuda_array_interface(told, owner=there, sync=False)
    return Bfloat16(array) if values.dtype.kind == "V" else array


def host(array):
    return array.copy_to_host()


@st.composite
def layouts(draw, shape, dtype):
    """A view of this shape with strides of any kind, of an array of its own."""
    kind = draw(st.sampled_from(["packed", "gaps", "backwards", "turned", "shifted"]))
    if kind == "gaps":
        return np.zeros((*shape[:-1], 2 * shape[-1] + 1), dtype)[..., 1::2]
    if kind == "backwards":
        return np.zeros(shape, dtype)[..., ::-1]
    if kind == "turned":
        return np.zeros(shape[::-1], dtype).T
    if kind == "shifted":
        return np.zeros((*shape[:-1], shape[-1] + 3), dtype)[..., 3:]
    return np.zeros(shape, dtype)


@st.composite
def requests(draw, dtypes=DTYPES, lengths=LENGTHS, probs=True):
    """(logits or probs, arguments): what an operation is called with, in host memory."""
    dtype, columns = draw(st.sampled_from(dtypes)), draw(st.sampled_from(lengths))
    batch = draw(st.sampled_from([(), (1,), (3,), (2, 2), (2, 1, 2)] if columns < 600 else [(), (2,)]))
    r = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = draw(layouts((*batch, columns), dtype))
    values = r.normal(scale=draw(st.sampled_from([0.0, 1.0, 8.0])), size=x.shape)
    hard = draw(st.sampled_from(["nothing", "nothing", "excluded", "infinite", "NaN", "all excluded"]))
    if hard in ("excluded", "all excluded"):
        values[r.random(x.shape) < (0.6 if hard == "excluded" else 1.0)] = -np.inf
    if hard in ("infinite", "NaN"):
        values[r.random(x.shape) < 1.5 / columns] = np.inf if hard == "infinite" else np.nan
    is_probs = probs and draw(st.booleans()) and hard != "infinite"
    with np.errstate(over="ignore"):
        x[...] = np.exp(np.minimum(values, 10)) if is_probs else values
    options = {}
    if draw(st.booleans()):
        mask = draw(layouts((*batch, columns), np.bool_))
        mask[...] = r.random(x.shape) < 0.7
        options["mask"] = mask
    if draw(st.booleans()):
        options["rows"] = r.integers(-(2**63), 2**63 - 1, batch)
    if draw(st.booleans()):
        shape = draw(st.sampled_from([(columns,), (*batch, columns)]))
        options["cols"] = r.integers(0, 2**35 - 17, shape)
    step = draw(st.sampled_from([0, 7, 2**30 - 1, 2**30, 2**62]))
    options["step"] = r.integers(0, 2**40, batch) if draw(st.booleans()) and batch else step
    return x, is_probs, options


def sent(options):
    return {name: device(value) if isinstance(value, np.ndarray) else value for name, value in options.items()}


def fields(result):
    if isinstance(result, tuple):
        return {name: value for name, value in result._asdict().items() if value is not None}
    return {"result": result}


def compare(got, want, exact, scale=1.0):
    """Equal to the bit, or, for sums, within 8 ulp of what is `scale` or larger."""
    got, want = fields(got), fields(want)
    assert set(got) == set(want)
    for name, value in want.items():
        there = host(got[name])
        if value.dtype.kind == "V":
            there = there.view(value.dtype)
        assert there.shape == value.shape
        assert there.dtype == value.dtype
        if exact or name in EXACT:
            both = (each.astype(np.float32) if each.dtype.kind == "V" else each for each in (there, value))
            np.testing.assert_array_equal(*both, name)
        else:
            there, value = there.astype(np.float64), value.astype(np.float64)
            np.testing.assert_array_equal(np.isnan(there), np.isnan(value), name)
            finite = np.isfinite(value)
            np.testing.assert_array_equal(there[~finite], value[~finite], name)
            eps = np.finfo(np.float64 if want[name].dtype == np.float64 else np.float32).eps
            unit = np.maximum(np.abs(value[finite]), scale) * (eps if want[name].dtype.itemsize > 2 else 2.0**-8)
            assert (np.abs(there[finite] - value[finite]) <= 8 * unit).all(), name


def cells_of(x, is_probs):
    return {"probs" if is_probs else "logits": x}


@many
@given(requests(), st.sampled_from([1.0, 0.0, 0.5, 3.0, "each"]), st.sampled_from([None, 1, 3]), st.booleans())
def test_categorical(request, temperature, n, inverse):
    x, is_probs, options = request
    if temperature == "each":
        temperature = np.array(np.random.default_rng(3).uniform(0.3, 3, x.shape[:-1]))
    options = {**options, "temperature": temperature, "n": n, "method": "inverse_cdf" if inverse else "gumbel"}
    want = ng.categorical(ng.key(1), **cells_of(x, is_probs), invalid="mark", **options)
    compare(ng.categorical(ng.key(1), **cells_of(device(x), is_probs), **sent(options)), want, exact=True)


@many
@given(requests(), st.sampled_from([1.0, 0.0, 0.5]), st.integers(1, 9), st.sampled_from([None, 2]))
def test_top_k(request, temperature, k, n):
    x, is_probs, options = request
    k, options = min(k, x.shape[-1]), {**options, "temperature": temperature, "n": n}
    want = ng.gumbel_topk(ng.key(2), **cells_of(x, is_probs), k=k, invalid="mark", **options)
    compare(ng.gumbel_topk(ng.key(2), **cells_of(device(x), is_probs), k=k, **sent(options)), want, exact=True)


@many
@given(requests(), st.sampled_from([1.0, 0.0, 0.5, 4.0]), st.booleans(), st.sampled_from([None, 2]))
def test_relaxed_samples(request, tau, hard, n):
    x, is_probs, options = request
    options = {**options, "tau": tau, "hard": hard, "n": n}
    want = ng.gumbel_softmax(ng.key(3), **cells_of(x, is_probs), invalid="mark", **options)
    got = ng.gumbel_softmax(ng.key(3), **cells_of(device(x), is_probs), **sent(options))
    compare(got, want, exact=hard or tau == 0)


@many
@given(requests(probs=False), st.sampled_from([1.0, 0.5, 4.0]))
def test_gradients_of_relaxed_samples(request, tau):
    x, _, options = request
    c = np.random.default_rng(5).uniform(-1, 1, x.shape).astype(x.dtype)
    options = {**options, "tau": tau}
    want = ng.gumbel_softmax_vjp(ng.key(4), x, c, invalid="mark", **options)
    compare(ng.gumbel_softmax_vjp(ng.key(4), device(x), device(c), **sent(options)), want, exact=False, scale=1 / tau)


@many
@given(requests(probs=False), st.sampled_from([1.0, 0.0, 0.5]), st.sampled_from([None, 2]))
def test_draws(request, temperature, n):
    x, _, options = request
    options = {**options, "temperature": temperature, "n": n}
    want = ng.draw(ng.key(5), x, want=WANT, invalid="mark", **options)
    size = np.abs(np.where(np.isfinite(x.astype(np.float64)), x.astype(np.float64), 0)).max(initial=1) / (temperature or 1)
    compare(ng.draw(ng.key(5), device(x), want=WANT, **sent(options)), want, exact=False, scale=size)


@many
@given(requests(dtypes=(np.float32, np.float64), probs=False), st.booleans(), st.integers(1, 4))
def test_actions(request, deterministic, heads):
    x, _, options = request
    columns = x.shape[-1]
    heads = min(heads, columns)
    nvec = tuple(columns // heads + (1 if i < columns % heads else 0) for i in range(heads))
    given = {name: options[name] for name in ("mask",) if name in options}
    want = ng.sample_actions(ng.key(6), x, nvec=nvec, deterministic=deterministic, invalid="mark", **options)
    got = ng.sample_actions(ng.key(6), device(x), nvec=nvec, deterministic=deterministic, **sent(options))
    size = np.abs(np.where(np.isfinite(x), x, 0)).max(initial=1) * heads
    compare(got, want, exact=False, scale=size)
    action = np.maximum(want.action, 0)
    told = ng.log_prob_entropy(x, action, nvec=nvec, invalid="mark", **given)
    compare(ng.log_prob_entropy(device(x), device(action), nvec=nvec, **sent(given)), told, exact=False, scale=size)
    slope = ng.log_prob_entropy_vjp(x, action, 1.0, 0.5, nvec=nvec, invalid="mark", **given)
    there = ng.log_prob_entropy_vjp(device(x), device(action), 1.0, 0.5, nvec=nvec, **sent(given))
    compare(there, slope, exact=False, scale=size)


@many
@given(requests(probs=False), st.booleans(), st.sampled_from([None, 2]))
def test_conditional_noise(request, scores, n):
    x, _, options = request
    index = np.random.default_rng(7).integers(0, x.shape[-1], x.shape[:-1])
    options = {**options, "scores": scores, "n": n, "sample": 3}
    want = ng.conditional_gumbel(ng.key(7), x, np.array(index), invalid="mark", **options)
    got = ng.conditional_gumbel(ng.key(7), device(x), device(np.array(index)), **sent(options))
    compare(got, want, exact=True)


@many
@given(st.data())
def test_ragged(data):
    dtype, rows = data.draw(st.sampled_from(DTYPES)), data.draw(st.integers(1, 6))
    r = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    lengths = r.choice([0, 1, 5, 8, 9, 31, 64, 70, 300, 2500], rows)
    offsets = np.concatenate([[3], 3 + np.cumsum(lengths)]).astype(np.int64)
    x = r.normal(scale=2, size=int(offsets[-1]) + 2).astype(dtype)
    options = {}
    if data.draw(st.booleans()):
        options["mask"] = r.random(len(x)) < 0.7
    if data.draw(st.booleans()):
        options["cols"] = r.integers(0, 2**35 - 17, len(x))
    if data.draw(st.booleans()):
        options["temperature"] = r.uniform(0.5, 2, rows)
    options["n"] = data.draw(st.sampled_from([None, 2]))
    want = ng.categorical_ragged(ng.key(8), x, offsets, invalid="mark", **options)
    compare(ng.categorical_ragged(ng.key(8), device(x), device(offsets), **sent(options)), want, exact=True)


def test_ragged_rows_that_leave_the_values():
    x, offsets = np.zeros(10, np.float32), np.array([0, 4, 2, 12, 10, -3, 5])
    got = host(ng.categorical_ragged(ng.key(8), device(x), device(offsets)))
    assert (got[[1, 2, 3, 4, 5]] == -1).all()
    assert 0 <= got[0] < 4


def test_a_gradient_with_masked_cells_in_an_invalid_row_is_nan_all_over():
    x, c = np.zeros((3, 40), np.float32), np.ones((3, 40), np.float32)
    mask = np.arange(40)[None] % 2 == np.zeros((3, 1))
    x[1, 4], x[2, 5] = np.nan, np.nan
    got = host(ng.gumbel_softmax_vjp(ng.key(4), device(x), device(c), mask=device(mask)))
    assert np.isnan(got[1]).all()
    assert not np.isnan(got[[0, 2]]).any()


@many
@given(requests(dtypes=(np.float32, np.float64), lengths=[1, 5, 8, 18, 70, 300, 2049], probs=False), st.randoms())
def test_rows_do_not_depend_on_what_stands_around_them(request, random):
    """Order and company of rows: the same ids give the same samples, and sums that are the same to the bit."""
    x, _, _ = request
    x = np.array(x.reshape(-1, x.shape[-1]))
    order = np.array(random.sample(range(len(x)), len(x))[: max(len(x) - 1, 1)])
    ids = np.arange(len(x)) + 5
    whole = ng.draw(ng.key(9), device(x), rows=device(ids), want=WANT)
    some = ng.draw(ng.key(9), device(np.array(x[order])), rows=device(ids[order]), want=WANT)
    soft, part = (
        ng.gumbel_softmax(ng.key(9), device(a), rows=device(b), tau=0.5)
        for a, b in ((x, ids), (np.array(x[order]), ids[order]))
    )
    for a, b in zip([*some, part], [*whole, soft], strict=True):
        np.testing.assert_array_equal(host(a), host(b)[order])


def test_a_wrong_kernel_is_noticed(monkeypatch):
    """The comparison sees one step too many, and one ulp times nine."""
    x = np.random.default_rng(0).normal(size=(30, 9)).astype(np.float32)
    want = ng.draw(ng.key(1), x, want=WANT)
    compare(ng.draw(ng.key(1), device(x), want=WANT), want, exact=False)
    with pytest.raises(AssertionError):
        compare(ng.draw(ng.key(1), device(x), step=1, want=WANT), want, exact=False)
    off = want._replace(entropy=(want.entropy + 10 * np.spacing(np.maximum(want.entropy, 1))).astype(np.float32))
    with pytest.raises(AssertionError, match="entropy"):
        compare(ng.draw(ng.key(1), device(x), want=WANT), off, exact=False)
