"""Dask arrays in the functions of the package: equal to the whole array in memory, for any chunks, workers and accidents."""

import doctest
import itertools
import os
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

dask = pytest.importorskip("dask", reason='pip install -e ".[dask]"')

import dask.array as da  # noqa: E402

import numgumbel as ng  # noqa: E402
import numgumbel.dask as nd  # noqa: E402
from numgumbel import blocks, dispatch  # noqa: E402

KEY = ng.key(5, "dask")
KNOWN = ("score", "log_prob", "logsumexp", "entropy")
SUMS = ("log_prob", "logsumexp", "entropy")
INF = np.inf
quick = settings(max_examples=60, deadline=None, derandomize=True)


@pytest.fixture(autouse=True)
def in_this_thread():
    """One task after the other, unless a test asks for more."""
    with dask.config.set(scheduler="synchronous"):
        yield


def normal(*shape, dtype=np.float64):
    return np.random.default_rng(list(shape)).normal(scale=2, size=shape).astype(dtype)


def parts(result):
    return [each for each in result if each is not None] if isinstance(result, tuple) else [result]


def check_equal(lazy, whole, tolerance=None):
    """Same types of tuples, shapes, dtypes; to the bit, but for the sums of a draw within `tolerance`, one a row."""
    assert type(lazy) is type(whole) or isinstance(lazy, da.Array)
    names = whole._fields if isinstance(whole, tuple) else [""]
    pairs = list(zip(names, lazy, whole, strict=True)) if isinstance(whole, tuple) else [("", lazy, whole)]
    assert [a is None for _, a, _ in pairs] == [b is None for _, _, b in pairs]
    for name, a, b in pairs:
        if a is None:
            continue
        assert isinstance(a, da.Array)
        got = np.asarray(a.compute())
        assert a.dtype == got.dtype == np.asarray(b).dtype, name
        assert a._meta.dtype == got.dtype, name
        assert a.shape == got.shape == np.shape(b), name
        assert [np.shape(block) for block in dask.compute(*a.to_delayed().flat)] == list(itertools.product(*a.chunks)), name
        if tolerance is not None and name in SUMS:
            assert np.array_equal(np.isfinite(got), np.isfinite(b)), name
            finite = np.isfinite(b)
            error, allowed = np.abs(got[finite] - np.asarray(b)[finite]), np.broadcast_to(tolerance, np.shape(b))
            assert (error <= allowed[finite]).all(), name
            np.testing.assert_array_equal(got[~finite], np.asarray(b)[~finite])
        else:
            np.testing.assert_array_equal(got, b, name)


# --- any chunks ---------------------------------------------------------------------------------------------------------------


@st.composite
def chunks_of(draw, shape):
    """Chunks of a shape, some of length 0."""
    chunks = []
    for size in shape:
        cuts = sorted(draw(st.lists(st.integers(0, size), max_size=4)))
        chunks.append(tuple(int(c) for c in np.diff([0, *cuts, size])))
    return tuple(chunks)


@st.composite
def cases(draw):
    """(array, lazy, axis, options, the same with lazy ones among them, generator), with special values among the logits."""
    shape = (*draw(st.lists(st.integers(1, 6), max_size=2)), draw(st.integers(1, 20)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.normal(scale=3, size=shape).astype(draw(st.sampled_from([np.float32, np.float64, np.float16])))
    if draw(st.booleans()):
        x = np.round(x)  # ties at temperature 0
    if draw(st.booleans()):
        x[rng.random(shape) < 0.2] = -INF
        x[rng.random(shape) < 0.02] = INF
        x[rng.random(shape) < 0.01] = np.nan
    axis = draw(st.integers(0, len(shape) - 1))
    x = np.moveaxis(x, -1, axis)
    batch = (*x.shape[:axis], *x.shape[axis + 1 :])
    eager, lazy = {"invalid": "mark"}, {"invalid": "mark"}

    def add(name, array):
        eager[name] = array
        lazy[name] = da.from_array(array, chunks=draw(chunks_of(array.shape))) if draw(st.booleans()) else array

    if draw(st.booleans()):
        add("rows", rng.integers(-(2**63), 2**63, batch))
    cols = draw(st.sampled_from(["positions", "ids", "cells"]))
    if cols != "positions":
        shape = x.shape if cols == "cells" else (x.shape[axis],)
        add("cols", rng.permutation(1000)[: shape[0]] if cols == "ids" else rng.integers(0, 2**35 - 16, shape))
    if draw(st.booleans()):
        allowed = rng.random(x.shape[draw(st.integers(0, x.ndim)) :]) < 0.8
        whole = draw(st.integers(0, allowed.ndim))
        add("mask", allowed[tuple(slice(None) if i == whole else slice(0, 1) for i in range(allowed.ndim))])
    if draw(st.booleans()):
        add("step", rng.integers(0, 2**40, batch))
    return x, da.from_array(x, chunks=draw(chunks_of(x.shape))), axis, eager, lazy, rng


def temperature_of(draw, rng, batch, name="temperature"):
    """Nothing, a number, or one a row, some of them 0."""
    kind = draw(st.sampled_from(["none", "number", "rows"]))
    if kind == "none":
        return {}, {}
    if kind == "number":
        return ({name: 0.7},) * 2
    values = rng.choice([0.0, 0.5, 2.0], size=batch)
    return {name: values}, {name: da.from_array(values, chunks=draw(chunks_of(values.shape))) if batch else values}


def tolerance_of(x, axis, temperatures):
    """8 ulp of the largest logit / T, or of 1, in each row."""
    t = np.asarray(temperatures.get("temperature", 1.0))
    largest = np.where(np.isfinite(x), np.abs(x.astype(np.float64)), 0).max(axis=axis)
    real = np.float64 if x.dtype == np.float64 else np.float32
    return 8 * np.finfo(real).eps * np.maximum(1, largest / np.where(t == 0, 1, t))


@quick
@given(st.data())
def test_categorical_draw_and_topk(data):
    x, lazy, axis, eager, mixed, rng = data.draw(cases())
    batch = (*x.shape[:axis], *x.shape[axis + 1 :])
    t, lazy_t = temperature_of(data.draw, rng, batch)
    draws = {"n": data.draw(st.sampled_from([0, 3]))} if data.draw(st.booleans()) else {}
    options, lazy_options = {**eager, **t, **draws, "axis": axis}, {**mixed, **lazy_t, **draws, "axis": axis}
    check_equal(ng.categorical(KEY, lazy, **lazy_options), ng.categorical(KEY, x, **options))
    inverse = {"method": "inverse_cdf"}
    check_equal(ng.categorical(KEY, lazy, **lazy_options, **inverse), ng.categorical(KEY, x, **options, **inverse))
    want = data.draw(st.lists(st.sampled_from(KNOWN), unique=True))
    whole = lazy.numblocks[axis] == 1
    got, wanted = ng.draw(KEY, lazy, want=want, **lazy_options), ng.draw(KEY, x, want=want, **options)
    check_equal(got, wanted, None if whole else tolerance_of(x, axis, t))
    k = data.draw(st.integers(1, x.shape[axis]))
    top, lazy_top = ng.gumbel_topk(KEY, x, k, **options), ng.gumbel_topk(KEY, lazy, k, **lazy_options)
    check_equal(lazy_top, top)
    wanted = ng.inclusion_log_prob(x, top, axis=axis, **t)
    check_equal(ng.inclusion_log_prob(lazy, lazy_top, axis=axis, **lazy_t), wanted)
    check_equal(ng.inclusion_log_prob(lazy, top, axis=axis, **lazy_t), wanted)


@quick
@given(st.data())
def test_relaxed_and_conditional(data):
    x, lazy, axis, eager, mixed, rng = data.draw(cases())
    batch = (*x.shape[:axis], *x.shape[axis + 1 :])
    n = data.draw(st.sampled_from([None, 2]))
    t, lazy_t = temperature_of(data.draw, rng, batch, "tau")
    options, lazy_options = {**eager, "axis": axis}, {**mixed, "axis": axis}
    hard = data.draw(st.booleans())
    wanted = ng.gumbel_softmax(KEY, x, hard=hard, n=n, **t, **options)
    check_equal(ng.gumbel_softmax(KEY, lazy, hard=hard, n=n, **lazy_t, **lazy_options), wanted)
    c, sample = rng.normal(size=x.shape).astype(x.dtype), ng.gumbel_softmax(KEY, x, tau=0.5, **options)
    other = da.from_array(c, chunks=data.draw(chunks_of(c.shape)))
    given_sample = {"sample": sample} if data.draw(st.booleans()) else {}
    wanted = ng.gumbel_softmax_vjp(KEY, x, c, tau=0.5, **options, **given_sample)
    check_equal(ng.gumbel_softmax_vjp(KEY, lazy, other, tau=0.5, **lazy_options, **given_sample), wanted)
    index = ng.categorical(KEY, x, **options)
    chosen = da.from_array(index, chunks=data.draw(chunks_of(batch))) if batch else index
    wanted = ng.conditional_gumbel(KEY, x, index, sample=4, n=n, **options)
    check_equal(ng.conditional_gumbel(KEY, lazy, chosen, sample=4, n=n, **lazy_options), wanted)


@quick
@given(st.data())
def test_actions(data):
    x, lazy, axis, eager, mixed, rng = data.draw(cases())
    batch, columns = (*x.shape[:axis], *x.shape[axis + 1 :]), x.shape[axis]
    left = data.draw(st.integers(0, columns - 1))
    nvec = data.draw(st.sampled_from([None, (columns,), (left, columns - left) if left else (columns,)]))
    t, lazy_t = temperature_of(data.draw, rng, batch)
    more = {"nvec": nvec, "axis": axis, "deterministic": data.draw(st.booleans())}
    acted = ng.sample_actions(KEY, x, **eager, **t, **more)
    check_equal(ng.sample_actions(KEY, lazy, **mixed, **lazy_t, **more), acted)
    more.pop("deterministic")
    options = {name: value for name, value in eager.items() if name in ("mask", "invalid")}
    lazy_options = {name: value for name, value in mixed.items() if name in ("mask", "invalid")}
    action = acted.action
    actions = da.from_array(action, chunks=data.draw(chunks_of(action.shape))) if action.shape else action
    wanted = ng.log_prob_entropy(x, action, **options, **t, **more)
    check_equal(ng.log_prob_entropy(lazy, actions, **lazy_options, **lazy_t, **more), wanted)
    a = rng.normal(size=batch).astype(wanted.log_prob.dtype)
    cotangent = da.from_array(a, chunks=data.draw(chunks_of(batch))) if batch else a
    wanted = ng.log_prob_entropy_vjp(x, action, a, 0.5, **options, **more)
    check_equal(ng.log_prob_entropy_vjp(lazy, actions, cotangent, 0.5, **lazy_options, **more), wanted)


@quick
@given(st.data())
def test_the_field(data):
    shape = tuple(data.draw(st.lists(st.integers(0, 7), min_size=1, max_size=3)))
    chunks = data.draw(chunks_of(shape))
    options = {"loc": 1.0, "scale": 2.0, "dtype": data.draw(st.sampled_from([np.float32, np.float64]))}
    options |= {"n": 2} if data.draw(st.booleans()) else {}
    check_equal(nd.gumbel(KEY, shape, chunks=chunks, **options), ng.gumbel(KEY, shape, **options))
    rows = np.arange(np.prod(shape[:-1], dtype=int)).reshape(shape[:-1]) * 7 - 3
    cols = np.arange(shape[-1]) * 5
    wanted = ng.gumbel(KEY, rows=rows, cols=cols, **options)
    lazy = da.from_array(rows, chunks=chunks[:-1]) if shape[:-1] else rows
    check_equal(nd.gumbel(KEY, rows=lazy, cols=da.from_array(cols, chunks=chunks[-1:]), chunks=chunks, **options), wanted)
    if shape[:-1]:
        got = ng.gumbel(KEY, rows=lazy, cols=cols, step=4, **options)
        assert got.chunks[-len(shape) : -1] == chunks[:-1]
        check_equal(got, ng.gumbel(KEY, rows=rows, cols=cols, step=4, **options))


@pytest.mark.parametrize("temperature", [1.0, np.array([0.0, 0.5, 2.0, 1.0, 0.0])])
def test_merge_of_lazy_draws(temperature):
    x = np.round(normal(5, 30))
    lazy_t = temperature if isinstance(temperature, float) else da.from_array(temperature, chunks=3)
    whole = ng.draw(KEY, x, want=KNOWN, temperature=temperature)
    shards = [(da.from_array(x[:, c], chunks=(2, 4)), c) for c in (np.arange(12), np.arange(12, 30))]
    draws = [ng.draw(KEY, part, cols=c, want=KNOWN, temperature=lazy_t) for part, c in shards]
    tolerance = tolerance_of(x, 1, {"temperature": temperature})
    check_equal(ng.merge(draws, temperature=lazy_t), whole, tolerance)
    fewer = ng.merge([each._replace(logsumexp=None) for each in draws], temperature=lazy_t)
    assert fewer.entropy is fewer.log_prob is None
    with pytest.raises(ValueError, match=r"draws\[1\].col must have shape \(5,\)"):
        ng.merge([draws[0], ng.draw(KEY, shards[1][0][:4], want=KNOWN)])


def test_probs():
    p = np.random.default_rng(0).random((7, 9))
    lazy = da.from_array(p, chunks=(3, 4))
    check_equal(ng.categorical(KEY, probs=lazy), ng.categorical(KEY, probs=p))
    check_equal(ng.draw(KEY, probs=lazy, want="score"), ng.draw(KEY, probs=p, want="score"))
    check_equal(ng.gumbel_softmax(KEY, probs=lazy), ng.gumbel_softmax(KEY, probs=p))


def test_bfloat16():
    x = normal(7, 9).astype(pytest.importorskip("ml_dtypes").bfloat16)
    check_equal(ng.categorical(KEY, da.from_array(x, chunks=(3, 4))), ng.categorical(KEY, x))
    check_equal(ng.gumbel_topk(KEY, da.from_array(x, chunks=(3, 4)), 3), ng.gumbel_topk(KEY, x, 3))


def test_iterators_are_read_once():
    x = normal(7, 9)
    for chunks in [(3, 9), (3, 4)]:
        lazy = da.from_array(x, chunks=chunks)
        check_equal(ng.draw(KEY, lazy, want=iter(["score"])), ng.draw(KEY, x, want="score"))
        check_equal(ng.sample_actions(KEY, lazy, nvec=iter([4, 5])), ng.sample_actions(KEY, x, nvec=(4, 5)))


def test_generators():
    x, rng = normal(7, 9), ng.default_rng(3)
    lazy = da.from_array(x, chunks=(3, 4))
    first, second = rng.categorical(lazy), rng.categorical(lazy, n=2)
    check_equal(first, ng.categorical(rng.key, x))
    check_equal(second, ng.categorical(rng.key, x, step=1, n=2))
    assert rng.step == 3


# --- what is wrong is noticed -------------------------------------------------------------------------------------------------


def local_rows(first, shape, whole):
    return None


def first_column(index, first):
    return index


def lost_threshold(parts, axis=None, keepdims=None):
    joined = RIGHT_JOIN(parts)
    return joined._replace(result=joined.result._replace(threshold=parts[0].result.threshold))


def no_shard_but_the_first(parts, axis=None, keepdims=None):
    return parts[0] if isinstance(parts, list) else parts


RIGHT_JOIN = blocks.join_topk


@pytest.mark.parametrize(
    ("name", "wrong", "chunks"),
    [
        ("positions", local_rows, (5, 12)),
        ("_in_row", first_column, (20, 5)),
        ("join_topk", lost_threshold, (20, 5)),
        ("join_draws", no_shard_but_the_first, (20, 5)),
    ],
)
def test_wrong_answers_are_noticed(monkeypatch, name, wrong, chunks):
    x = normal(20, 12)

    def compare():
        lazy = da.from_array(x, chunks=chunks)
        check_equal(ng.categorical(KEY, lazy), ng.categorical(KEY, x))
        check_equal(ng.gumbel_topk(KEY, lazy, 3), ng.gumbel_topk(KEY, x, 3))

    compare()
    monkeypatch.setattr(blocks, name, wrong)
    with pytest.raises(AssertionError):
        compare()


def test_a_wrong_sum_is_noticed(monkeypatch):
    x = normal(20, 12)
    lazy = da.from_array(x, chunks=(7, 5))
    whole, tolerance = ng.draw(KEY, x, want=KNOWN), tolerance_of(x, 1, {})
    check_equal(ng.draw(KEY, lazy, want=KNOWN), whole, tolerance)

    def one_off(draws, **options):
        joined = ng.merge(draws, **options)
        return joined._replace(logsumexp=joined.logsumexp * (1 + 1e-14))

    monkeypatch.setattr(blocks, "merge", one_off)
    with pytest.raises(AssertionError, match="logsumexp"):
        check_equal(ng.draw(KEY, lazy, want=KNOWN), whole, tolerance)


# --- graphs -------------------------------------------------------------------------------------------------------------------


def unreadable(shape, chunks, dtype=np.float64):
    """An array whose blocks cannot be had."""

    def fail(block):
        raise OSError("a block was computed")

    return da.map_blocks(fail, da.empty(shape, chunks=chunks), dtype=dtype, meta=np.empty((0,) * len(shape), dtype))


@pytest.mark.parametrize("chunks", [(4, 9), (4, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_nothing_runs_before_it_is_asked_for(chunks, dtype):
    x = unreadable((10, 9), chunks, dtype)
    ids, numbers = unreadable((10,), 4, np.int64), unreadable((10,), 3)
    real = np.float32 if dtype == np.float16 else dtype
    top = ng.gumbel_topk(KEY, x, 2, rows=ids, temperature=numbers)
    results = [
        (ng.categorical(KEY, x, rows=ids, step=ids, cols=unreadable((9,), 2, np.int64), n=3), (3, 10), np.int64),
        *zip(top, [(10, 2), (10, 2), (10,)], [np.int64, real, real], strict=True),
        *zip(ng.draw(KEY, x, want=KNOWN), [(10,)] * 6, [np.int64] * 2 + [real] * 4, strict=True),
        (ng.gumbel_softmax(KEY, x, tau=numbers, mask=unreadable((9,), 3, np.bool_)), (10, 9), dtype),
        (ng.gumbel_softmax_vjp(KEY, x, x), (10, 9), dtype),
        *zip(ng.sample_actions(KEY, x, nvec=(4, 5)), [(10, 2), (10,), (10,)], [np.int64, real, real], strict=True),
        *zip(ng.log_prob_entropy(x, ids), [(10,)] * 2, [real] * 2, strict=True),
        (ng.log_prob_entropy_vjp(x, ids, 1.0), (10, 9), dtype),
        (ng.conditional_gumbel(KEY, x, ids, n=2), (2, 10, 9), real),
        (ng.inclusion_log_prob(x, top), (10, 2), real),
        (ng.gumbel(KEY, rows=ids, cols=[1, 2, 3]), (10, 3), np.float64),
    ]
    for array, shape, kind in results:
        assert isinstance(array, da.Array)
        assert array.shape == shape
        assert array.dtype == array._meta.dtype == kind
        assert type(array._meta) is np.ndarray
        with pytest.raises(OSError, match="a block was computed"):
            array.compute()


def test_names_are_those_of_the_call():
    """The same call has the same name, so that Dask runs it once; another has another."""
    x = da.from_array(normal(6, 5), chunks=(2, 3))
    name = ng.categorical(KEY, x).name
    assert ng.categorical(KEY, x).name == name
    others = [
        ng.categorical(ng.key(6, "dask"), x),
        ng.categorical(KEY, x, step=1),
        ng.categorical(KEY, x.rechunk((3, 3))),
        ng.categorical(KEY, x, rows=range(6)),
    ]
    assert len({name, *(each.name for each in others)}) == 5
    drawn = ng.draw(KEY, x)
    assert drawn.index is drawn.col


def test_chunks_of_results():
    x = da.from_array(normal(12, 8), chunks=(4, 8))
    assert ng.categorical(KEY, x).chunks == ((4, 4, 4),)
    assert ng.gumbel_softmax(KEY, x).chunks == x.chunks
    assert ng.gumbel_topk(KEY, x, 3, n=2).index.chunks == ((2,), (4, 4, 4), (3,))
    cut = x.rechunk((6, 2))
    assert ng.categorical(KEY, cut).chunks == ((6, 6),)
    assert ng.gumbel_softmax(KEY, cut).chunks == ((2,) * 6, (8,))  # blocks of 16 cells, where there were blocks of 12


def test_all_columns_are_never_in_one_place():
    """Joining is a tree: no task reads more than 8 blocks of columns."""
    x = da.zeros((4, 640), chunks=(4, 10))
    for lazy in (ng.categorical(KEY, x), ng.gumbel_topk(KEY, x, 3).index, ng.draw(KEY, x).log_prob):
        graph = dict(lazy.__dask_graph__())
        dependents = dask.core.get_deps(graph)[0]
        assert max(map(len, dependents.values())) == 8


# --- errors -------------------------------------------------------------------------------------------------------------------


def test_what_is_refused_at_once():
    x = da.from_array(normal(6, 5), chunks=(2, 3))
    frame = lambda: da.from_array(normal(6, 5))[da.from_array(np.arange(6) < 3)]
    for call, kind, match in [
        (lambda: ng.categorical(5, x), TypeError, "key must be a Key"),
        (lambda: ng.categorical(KEY, x, probs=x), TypeError, "got both"),
        (lambda: ng.categorical(KEY, x, axis=2), ValueError, "axis 2 is out of range"),
        (lambda: ng.categorical(KEY, x, method="best"), ValueError, "method must be"),
        (lambda: ng.categorical(KEY, x, temperature=-1.0), ValueError, "temperature must be 0 or"),
        (lambda: ng.categorical(KEY, x, invalid="ask"), ValueError, "invalid must be"),
        (lambda: ng.categorical(KEY, x, rows=range(5)), ValueError, r"rows must hold one value a row, shape \(6,\)"),
        (lambda: ng.categorical(KEY, x, rows=x[:, 0]), TypeError, "rows must be integers, got float64"),
        (lambda: ng.categorical(KEY, x, cols=[1, 2]), ValueError, r"cols must hold one id a column, shape \(5,\)"),
        (lambda: ng.categorical(KEY, x, mask=np.ones((6, 4), bool)), ValueError, r"mask must broadcast .* got shape \(6, 4\)"),
        (lambda: ng.categorical(KEY, x, mask=x), TypeError, "mask must be bool, int8 or uint8"),
        (lambda: ng.categorical(KEY, x, out=np.empty(6, np.int64)), TypeError, "out cannot be given .* dask.array.store"),
        (lambda: ng.categorical(KEY, x.astype(int)), TypeError, r"call logits.astype\(np.float64\)"),
        (lambda: ng.categorical(KEY, x[:, :0]), ValueError, r"logits has no categories: axis 1 of shape \(6, 0\)"),
        (lambda: ng.categorical(KEY, x[0, 0]), ValueError, "at least one axis"),
        (lambda: ng.categorical(KEY, frame()), ValueError, r"chunks of unknown size.*compute_chunk_sizes\(\)"),
        (lambda: ng.categorical(KEY, da.ma.masked_greater(x, 1)), TypeError, "masked array"),
        (lambda: ng.gumbel_topk(KEY, x, 6), ValueError, "k must be from 1"),
        (lambda: ng.draw(KEY, x, want="luck"), ValueError, "want must be of"),
        (lambda: ng.sample_actions(KEY, x, nvec=(2, 2)), ValueError, "nvec must be"),
        (lambda: ng.log_prob_entropy(x, x[:, :3].astype(int)), ValueError, r"actions must hold one value a row, shape \(6,\)"),
        (lambda: ng.log_prob_entropy(x, x[:, 0].astype(int), nvec=(2, 3)), ValueError, "actions must have one axis of heads"),
        (lambda: ng.gumbel_softmax_vjp(KEY, x, x[:5]), ValueError, "cotangent must have the logits' shape"),
        (lambda: ng.gumbel_softmax_vjp(KEY, x, x, tau=0.0), ValueError, "tau must be positive"),
        (lambda: ng.inclusion_log_prob(x, x), TypeError, "top must be a TopK"),
        (lambda: ng.inclusion_log_prob(x, ng.gumbel_topk(KEY, x[:5], 2)), ValueError, "top.index must have shape"),
        (lambda: ng.categorical_ragged(KEY, x[0], [0, 5]), TypeError, "categorical_ragged takes no dask arrays"),
        (lambda: ng.gumbel(KEY, cols=x[0]), TypeError, "cols must be integers"),
        (lambda: ng.gumbel(KEY, rows=da.zeros(3, dtype=int)), TypeError, "the shape is missing"),
        (lambda: ng.categorical(KEY, normal(6, 5), mask=x > 0), TypeError, r"call .compute\(\)"),
        (lambda: ng.plan("categorical", KEY, x), TypeError, r"call .compute\(\)"),
    ]:  # fmt: skip
        with pytest.raises(kind, match=match):
            call()


@pytest.mark.parametrize("chunks", [(4, 6), (4, 4), (12, 6), (12, 4)])
def test_invalid_rows_are_found_when_it_is_computed(chunks):
    x = normal(12, 6)
    x[9, 5] = np.nan
    x[10] = -INF
    lazy = da.from_array(x, chunks=chunks)
    cut = chunks[0] == 4
    where = "in the block whose row 0 is row 8 of the whole array: " if cut else ""
    rows = "2 of 4 rows invalid .*: row 1, 2" if cut else "2 of 12 rows invalid .*: row 9, 10"
    calls = [
        lambda **o: ng.categorical(KEY, lazy, **o),
        lambda **o: ng.draw(KEY, lazy, **o).log_prob,
        lambda **o: ng.gumbel_topk(KEY, lazy, 2, **o).score,
        lambda **o: ng.categorical(KEY, lazy, n=2, **o),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"^{where}.*{rows}"):
            call().compute()
        with pytest.raises(ValueError, match=rows):
            call(invalid="raise").compute()
        marked = call(invalid="mark").compute()
        assert marked.shape[-1] in (2, 12)
    check_equal(ng.gumbel_softmax(KEY, lazy, invalid="mark"), ng.gumbel_softmax(KEY, x, invalid="mark"))


def test_elements_out_of_range_are_found_when_it_is_computed():
    x = da.from_array(normal(6, 5), chunks=(3, 5))
    lazy = ng.categorical(KEY, x, temperature=da.from_array(np.array([1.0, 1, 1, 1, -2, 1]), chunks=6))
    with pytest.raises(ValueError, match=r"row 0 is row 3 of the whole array: temperature must be 0 or .* got -2.0 in row 1"):
        lazy.compute()


# --- families of blocks -------------------------------------------------------------------------------------------------------


class Elsewhere(np.ndarray):
    """An array of another family, in host memory, whose functions take none of NumPy's beside it: as CuPy's."""

    def __array_function__(self, function, types, arguments, options):
        assert all(kind is Elsewhere for kind in types), function
        result = super().__array_function__(function, types, arguments, options)
        return result.view(Elsewhere) if isinstance(result, np.ndarray) else result


@pytest.fixture
def elsewhere():
    family = dispatch.Family(
        "elsewhere", "cpu", lambda kind: kind is Elsewhere, lambda a: a.view(np.ndarray), lambda a: a.view(Elsewhere)
    )
    dispatch.register(family)
    yield
    dispatch._families.remove(family)
    dispatch._by_type.clear()


@pytest.mark.parametrize("chunks", [(3, 9), (3, 4)])
def test_blocks_of_another_family(elsewhere, chunks):
    x = normal(7, 9)
    lazy = da.from_array(x.view(Elsewhere), chunks=chunks, asarray=False)
    assert type(lazy._meta) is Elsewhere
    functions = [ng.categorical, lambda *a: ng.gumbel_topk(*a, 3).score, lambda *a: ng.draw(*a).log_prob]
    if chunks == (3, 9):  # Dask joins only the blocks of families that it knows
        functions.append(ng.gumbel_softmax)
    for function in functions:
        got = function(KEY, lazy)
        first = dask.delayed(lambda block: block)(got.to_delayed().flat[0])
        assert type(got._meta) is type(first.compute()) is Elsewhere
    check_equal(ng.categorical(KEY, lazy), ng.categorical(KEY, x))


def test_ids_are_where_the_block_is():
    class Device:
        """An array that NumPy's functions leave to."""

        def __array_function__(self, function, types, arguments, options):
            return "moved", function, arguments[0].tolist()

    assert blocks.beside(np.arange(3), Device()) == ("moved", np.asarray, [0, 1, 2])
    ids = np.arange(3)
    assert blocks.beside(ids, normal(3)) is ids


# --- where tasks run ----------------------------------------------------------------------------------------------------------


def test_threads():
    x = normal(50, 40)
    lazy = da.from_array(x, chunks=(3, 7))
    for workers in (1, 2, 5):
        with dask.config.set(scheduler="threads", num_workers=workers):
            check_equal(ng.categorical(KEY, lazy), ng.categorical(KEY, x))


def test_zarr(tmp_path):
    """From disk to disk, and back."""
    pytest.importorskip("zarr", reason="pip install zarr")
    x = normal(50, 8)
    da.from_array(x, chunks=(20, 8)).to_zarr(str(tmp_path / "x.zarr"))
    ng.categorical(KEY, da.from_zarr(str(tmp_path / "x.zarr"))).to_zarr(str(tmp_path / "index.zarr"))
    np.testing.assert_array_equal(da.from_zarr(str(tmp_path / "index.zarr")).compute(), ng.categorical(KEY, x))


@pytest.fixture(scope="module")
def cluster():
    """Two processes on this machine."""
    distributed = pytest.importorskip("distributed", reason="pip install distributed")
    with (
        dask.config.set({"distributed.worker.daemon": True, "distributed.scheduler.allowed-failures": 5}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_processes(cluster):
    x = normal(60, 30, dtype=np.float32)
    for chunks in [(60, 30), (7, 30), (16, 9)]:
        lazy, kept = da.from_array(x, chunks=chunks), []
        kept += [ng.categorical(KEY, lazy), *ng.gumbel_topk(KEY, lazy, 4), ng.gumbel_softmax(KEY, lazy, tau=0.5)]
        kept += [ng.draw(KEY, lazy, want="score").score]
        wanted = [ng.categorical(KEY, x), *ng.gumbel_topk(KEY, x, 4), ng.gumbel_softmax(KEY, x, tau=0.5)]
        wanted += [ng.draw(KEY, x, want="score").score]
        for got, right in zip(cluster.gather(cluster.compute(kept)), wanted, strict=True):
            np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize("chunks", [(5, 30), (20, 6)])
def test_a_worker_killed_half_way(cluster, tmp_path, chunks):
    """The worker that comes to a block in the middle dies at it, once, with all that it had made."""
    x = normal(60, 30)
    marker = tmp_path / "killed"
    half = (30, 0) if chunks[1] == 30 else (20, 12)

    def load(block, block_info=None):
        place = tuple(start for start, _ in block_info[0]["array-location"])
        if place == half and not marker.exists():
            marker.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    lazy = da.map_blocks(load, da.from_array(x, chunks=chunks), dtype=x.dtype, meta=np.empty((0, 0)))
    before = set(cluster.scheduler_info()["workers"])
    got = cluster.gather(cluster.compute([ng.categorical(KEY, lazy), *ng.draw(KEY, lazy, want="score")[1:3]]))
    whole = ng.draw(KEY, x, want="score")
    for array, wanted in zip(got, (whole.index, whole.col, whole.score), strict=True):
        np.testing.assert_array_equal(array, wanted)
    cluster.wait_for_workers(2)
    assert int(marker.read_text()) != os.getpid()
    assert set(cluster.scheduler_info()["workers"]) != before  # another has taken its place


def test_docstrings():
    result = doctest.testmod(nd)
    assert result.failed == 0
    assert result.attempted > 0
