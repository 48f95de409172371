"""Special input beyond the table of docs/semantics.md, whose rows are checked in test_semantics_table.py."""

import pickle

import numpy as np
import pytest

import numgumbel as ng
from numgumbel.backends.cpu import layouts, plain

KEY = ng.key(7, "semantics")
INF, NAN = np.inf, np.nan
NEGATIVE_NAN = np.copysign(NAN, -1)  # what 0/0 and inf - inf give on x86

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
both_methods = pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])


def logits(*shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def equal(left, right):
    for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (left, right)), strict=True):
        np.testing.assert_array_equal(a, b)


# --- masks -------------------------------------------------------------------------------------------------------------


def test_mask_of_another_shape():
    with pytest.raises(ValueError, match=r"mask must broadcast to the logits' shape \(2, 3\), got shape \(2, 4\)"):
        ng.categorical(KEY, logits(2, 3), mask=np.ones((2, 4), bool))


# --- invalid rows --------------------------------------------------------------------------------------------------------


def test_all_masked_row_is_invalid():
    mask = np.ones((3, 4), bool)
    mask[1] = False
    equal(ng.categorical(KEY, logits(3, 4), mask=mask, invalid="mark") == -1, [False, True, False])


def test_invalid_rows_of_a_batch_are_named_by_their_place_and_counted():
    x = logits(2, 3, 4, 5)
    x[1, 2, 0, 0] = x[0, 0, 3, 1] = NAN
    with pytest.raises(ValueError, match=r"2 of 24 rows invalid .* row \(0, 0, 3\), \(1, 2, 0\);"):
        ng.categorical(KEY, x)
    x[:] = NAN
    with pytest.raises(ValueError, match=r"24 of 24 .* \(0, 0, 0\), .*\(0, 1, 0\), \.\.\.;"):
        ng.categorical(KEY, x.transpose(2, 0, 1, 3).copy().transpose(1, 2, 0, 3))
    with pytest.raises(ValueError, match=r"the row is invalid"):
        ng.categorical(KEY, x[0, 0, 0])


def test_invalid_takes_three_values():
    with pytest.raises(ValueError, match=r'invalid must be None, "raise" or "mark", got \'drop\''):
        ng.categorical(KEY, logits(2, 3), invalid="drop")


# --- probabilities -------------------------------------------------------------------------------------------------------


@both_methods
def test_probs_need_not_sum_to_one(method):
    p = np.random.default_rng(0).random((500, 6))
    equal(ng.categorical(KEY, probs=p * 4, method=method), ng.categorical(KEY, probs=p, method=method))


# --- infinities, ties ----------------------------------------------------------------------------------------------------


@both_dtypes
def test_extreme_finite_logits_are_not_excluded(dtype):
    """A product that overflows stays a finite score: the category stays allowed, and +inf stays above it."""
    big = np.finfo(dtype).max
    x = np.array([[-INF, -big, -big / 2]], dtype)
    assert ng.categorical(KEY, x, temperature=2.0**-64) == 1  # both clamp to the lowest finite score: a tie
    assert ng.categorical(KEY, np.array([[big, INF]], dtype), temperature=2.0**-64) == 1
    assert ng.gumbel_softmax(KEY, np.array([[-big, big]], dtype))[0, 1] == 1


# --- temperature and tau -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [2.0**-64, 2.0**64, 1, np.float32(0.5), np.array(2.0)])
def test_temperature_whole_range(temperature):
    assert ng.categorical(KEY, logits(3, 4), temperature=temperature).shape == (3,)


@both_dtypes
def test_per_row_step_and_temperature(dtype):
    x = logits(4, 300, dtype=dtype)
    steps, temperatures = np.array([5, 2**30, 2**62, 0]), np.array([0.5, 1, 0, 8])
    for method in ("gumbel", "inverse_cdf"):
        index = ng.categorical(KEY, x, step=steps, temperature=temperatures, method=method)
        for i in range(4):
            alone = ng.categorical(
                KEY, x[i], step=int(steps[i]), temperature=float(temperatures[i]), rows=np.int64(i), method=method
            )
            assert index[i] == alone


# --- top-k ---------------------------------------------------------------------------------------------------------------


def test_k_equal_to_the_number_of_categories_is_a_permutation():
    top = ng.gumbel_topk(KEY, logits(50, 9), 9)
    equal(np.sort(top.index, axis=1), np.tile(np.arange(9), (50, 1)))
    assert (top.threshold == -INF).all()
    equal(top.index[:, 0], ng.categorical(KEY, logits(50, 9)))


# --- shapes --------------------------------------------------------------------------------------------------------------


def test_axis_out_of_range():
    for axis in (2, -3):
        with pytest.raises(ValueError, match=r"axis -?\d is out of range for an array with 2 axes"):
            ng.categorical(KEY, logits(2, 3), axis=axis)
    with pytest.raises(TypeError, match="axis must be an integer"):
        ng.categorical(KEY, logits(2, 3), axis=0.5)


@both_dtypes
def test_cols_and_mask_follow_the_axis(dtype):
    x = logits(3, 4, 5, dtype=dtype)
    cols = np.random.default_rng(0).integers(0, 100, x.shape)
    mask = np.random.default_rng(1).random(x.shape) < 0.8
    mask[:, 0] = True
    wanted = ng.categorical(KEY, np.moveaxis(x, 1, -1), cols=np.moveaxis(cols, 1, -1), mask=np.moveaxis(mask, 1, -1))
    equal(ng.categorical(KEY, x, cols=cols, mask=mask, axis=1), wanted)


# --- out -----------------------------------------------------------------------------------------------------------------


def test_out_in_place():
    x = logits(5, 3000)
    wanted = ng.gumbel_softmax(KEY, x)
    ng.gumbel_softmax(KEY, x, out=x)
    equal(x, wanted)


BAD_OUTPUTS = {
    "dtype": (np.empty(5, np.float64), TypeError, "out must be int64 or int32, got float64"),
    "narrow": (np.empty(5, np.int16), TypeError, "got int16"),
    "unsigned": (np.empty(5, np.uint64), TypeError, "got uint64"),
    "shape": (np.empty(6, np.int64), ValueError, r"out must have shape \(5,\), got \(6,\)"),
    "axes": (np.empty((5, 1), np.int64), ValueError, r"got \(5, 1\)"),
    "list": ([0] * 5, TypeError, "out must be"),
    "read-only": (np.broadcast_to(np.int64(0), 5), ValueError, "read-only"),
}


@pytest.mark.parametrize(("out", "error", "message"), BAD_OUTPUTS.values(), ids=BAD_OUTPUTS)
def test_wrong_out_is_refused_and_nothing_written(out, error, message):
    before = list(out) if isinstance(out, list) else out.copy()
    with pytest.raises(error, match=message):
        ng.categorical(KEY, logits(5, 6), out=out)
    equal(np.asarray(out), np.asarray(before))


def test_unaligned_arguments():
    """Fields of a packed record: read through a copy, refused as output."""
    packed = np.zeros(5, np.dtype([("flag", np.int8), ("id", np.int64), ("t", np.float64), ("x", np.float64, 6)]))
    packed["id"], packed["t"], packed["x"] = np.arange(5) * 7, 0.5, logits(5, 6)
    assert not packed["id"].flags.aligned
    wanted = ng.categorical(KEY, logits(5, 6), rows=np.arange(5) * 7, temperature=0.5, step=np.arange(5) * 7)
    equal(ng.categorical(KEY, packed["x"], rows=packed["id"], temperature=packed["t"], step=packed["id"]), wanted)
    gradient = ng.gumbel_softmax_vjp(KEY, logits(5, 6), packed["x"], sample=packed["x"])
    equal(gradient, ng.gumbel_softmax_vjp(KEY, logits(5, 6), logits(5, 6), sample=logits(5, 6)))
    before = packed.copy()
    with pytest.raises(ValueError, match="out is not aligned"):
        ng.categorical(KEY, logits(5, 6), out=packed["id"])
    with pytest.raises(ValueError, match="out is not aligned"):
        ng.gumbel(KEY, out=packed["x"])
    equal(packed, before)


def test_out_that_overlaps():
    x = logits(6, 6)
    before = x.copy()
    with pytest.raises(ValueError, match="out overlaps an input"):
        ng.gumbel_softmax(KEY, x[:5], out=x[1:])
    with pytest.raises(ValueError, match="out overlaps an input"):
        ng.gumbel_softmax_vjp(KEY, x, x, out=x)
    shared = np.zeros((5, 6), np.int64)
    with pytest.raises(ValueError, match="out overlaps an input"):
        ng.categorical(KEY, x[:5], rows=shared[:, 0], out=shared[::-1, 0])
    equal(x, before)
    row = np.lib.stride_tricks.as_strided(np.empty(1, np.int64), (5,), (0,))
    with pytest.raises(ValueError, match="share memory"):
        ng.categorical(KEY, x[:5], out=row)


def test_empty_out():
    for shape in ((0, 4), (3, 0, 4)):
        index = np.empty(shape[:-1], np.int64)
        assert ng.categorical(KEY, np.zeros(shape), out=index) is index
        sample = np.empty(shape)
        assert ng.gumbel_softmax(KEY, np.zeros(shape), out=sample) is sample
        assert ng.gumbel(KEY, out=sample) is sample
    draws = np.empty((0, 3), np.int64)
    assert ng.categorical(KEY, logits(3, 4), n=0, out=draws) is draws


def test_an_element_of_an_array_is_no_output():
    """`out=result[i]` would be written to a copy and lost."""
    result = np.zeros(4, np.int64)
    with pytest.raises(TypeError, match="out must be an array that can be written to, got int64"):
        ng.categorical(KEY, logits(4), out=result[0])
    ng.categorical(KEY, np.array([-INF, -INF, 0.0]), out=result[0:1].reshape(()))
    assert result[0] == 2


def test_interleaved_memory_is_no_overlap():
    big = np.zeros((4, 6))
    big[:, :3] = logits(4, 3)
    ng.gumbel_softmax(KEY, big[:, :3], out=big[:, 3:])
    equal(big[:, 3:], ng.gumbel_softmax(KEY, logits(4, 3)))
    shared = np.zeros((4, 1))
    with pytest.raises(ValueError, match="the arrays of out overlap each other"):
        ng.gumbel_topk(KEY, logits(4, 3), 1, out=(np.zeros((4, 1), np.int64), shared, shared[:, 0]))


def test_out_of_topk():
    x = logits(5, 6)
    good = ng.gumbel_topk(KEY, x, 2)
    for place, wrong, error in (
        (0, np.empty((5, 2)), TypeError),
        (1, np.empty((5, 3)), ValueError),
        (2, np.empty(4), ValueError),
    ):
        places = [np.zeros_like(part) for part in good]
        places[place] = wrong
        with pytest.raises(error, match=r"out\.(index|score|threshold) must"):
            ng.gumbel_topk(KEY, x, 2, out=tuple(places))
        assert all((part == 0).all() for i, part in enumerate(places) if i != place)
    with pytest.raises(TypeError, match="out must be a TopK or a tuple of 3 arrays"):
        ng.gumbel_topk(KEY, x, 2, out=good.index)


# --- rows, cols, step, n -------------------------------------------------------------------------------------------------


BAD_ADDRESSES = {
    "rows float": ({"rows": np.zeros(3)}, TypeError, "rows must be integers, got float64"),
    "rows shape": ({"rows": np.zeros(4, int)}, ValueError, r"rows must hold one id a row, shape \(3,\), got shape \(4,\)"),
    "rows bool": ({"rows": np.zeros(3, bool)}, TypeError, "rows must be integers, got bool"),
    "cols float": ({"cols": np.zeros(4)}, TypeError, "cols must be integers"),
    "cols shape": ({"cols": np.zeros(3, int)}, ValueError, r"one id a column, shape \(4,\), or one a cell, shape \(3, 4\)"),
    "cols negative": (
        {"cols": np.array([0, 1, 2, -1])},
        ValueError,
        r"column ids must be from 0 to 2\^35 - 17, got values from -1",
    ),
    "cols beyond": ({"cols": np.array([0, 1, 2, 2**35 - 16])}, ValueError, r"column ids must be"),
    "cols huge": ({"cols": np.array([0, 1, 2, 2**64 - 1], np.uint64)}, ValueError, r"column ids must be"),
    "step negative": ({"step": -1}, ValueError, "step must be 0 or more"),
    "step beyond": ({"step": 2**63}, ValueError, "step must be 0 or more"),
    "last step beyond": ({"step": 2**63 - 1, "n": 2}, ValueError, "with the draws that follow"),
    "step float": ({"step": 1.0}, TypeError, "step"),
    "step bool": ({"step": True}, TypeError, "step must be an integer, got True"),
    "step shape": ({"step": np.zeros(2, int)}, ValueError, r"step must be a scalar or one a row, shape \(3,\)"),
    "steps negative": ({"step": np.array([0, -5, 0])}, ValueError, "got values from -5 to 0"),
    "n negative": ({"n": -1}, ValueError, "n must be 0 or more, got -1"),
    "n float": ({"n": 2.0}, TypeError, "n must be an integer"),
}


@pytest.mark.parametrize(("given", "error", "message"), BAD_ADDRESSES.values(), ids=BAD_ADDRESSES)
def test_wrong_addresses(given, error, message):
    with pytest.raises(error, match=message):
        ng.categorical(KEY, logits(3, 4), **given)


def test_integer_types_of_ids_do_not_matter():
    x = logits(3, 4)
    wanted = ng.categorical(KEY, x, rows=np.array([5, 6, 7]), cols=np.array([3, 1, 0, 9]), step=4)
    for dtype in (np.int8, np.uint16, np.int32, np.uint64, np.dtype(">i4"), np.dtype(">i8")):
        rows, cols = np.array([5, 6, 7], dtype), np.array([3, 1, 0, 9], dtype)
        equal(ng.categorical(KEY, x, rows=rows, cols=cols, step=np.uint8(4)), wanted)
        equal(ng.categorical(KEY, x, rows=rows, cols=cols, step=np.full(3, 4, dtype)), wanted)
    equal(ng.categorical(KEY, x, rows=[5, 6, 7], cols=(3, 1, 0, 9), step=[4, 4, 4]), wanted)
    ends = np.array([2**64 - 1, 2**63, 0], np.uint64)  # two's complement
    equal(ng.categorical(KEY, x, rows=ends), ng.categorical(KEY, x, rows=ends.view(np.int64)))


def test_n_adds_a_leading_axis():
    x = logits(2, 3, 4)
    assert ng.categorical(KEY, x, n=5).shape == (5, 2, 3)
    assert ng.categorical(KEY, x, n=1).shape == (1, 2, 3)
    assert ng.categorical(KEY, x, n=0).shape == (0, 2, 3)
    assert ng.categorical(KEY, x[0, 0], n=5).shape == (5,)
    assert ng.gumbel_softmax(KEY, x, n=5, axis=1).shape == (5, 2, 3, 4)
    top = ng.gumbel_topk(KEY, x, 2, n=5, axis=1)
    assert top.index.shape == top.score.shape == (5, 2, 2, 4)
    assert top.threshold.shape == (5, 2, 4)
    assert ng.gumbel(KEY, (2, 3), n=5).shape == (5, 2, 3)


def test_n_draws_in_one_round_or_several(monkeypatch):
    """Small batches take all draws in one kernel call, large ones one by one: nobody can tell."""
    x = logits(4, 3, 70).transpose(1, 0, 2)
    per_row = {"step": np.arange(12).reshape(3, 4), "rows": np.arange(100, 112).reshape(3, 4)}
    for given in ({}, per_row, {"cols": np.arange(70)[::-1], "temperature": np.linspace(0, 2, 12).reshape(3, 4)}):
        together = ng.categorical(KEY, x, n=5, **given), ng.gumbel_topk(KEY, x, 2, n=5, **given)
        field = ng.gumbel(KEY, x.shape, n=5, **{name: given[name] for name in given if name != "temperature"})
        with monkeypatch.context() as patch:
            patch.setattr(layouts, "ROWS_OF_ONE_ROUND", 0)
            equal(ng.categorical(KEY, x, n=5, **given), together[0])
            equal(ng.gumbel_topk(KEY, x, 2, n=5, **given), together[1])
            equal(ng.gumbel(KEY, x.shape, n=5, **{name: given[name] for name in given if name != "temperature"}), field)
    x = x.copy()
    x[1, 2, 5] = NAN
    for rows_of_one_round in (0, 1 << 14):
        monkeypatch.setattr(layouts, "ROWS_OF_ONE_ROUND", rows_of_one_round)
        with pytest.raises(ValueError, match=r"1 of 12 rows invalid .*: row \(1, 2\);"):
            ng.categorical(KEY, x, n=5)


def test_method():
    with pytest.raises(ValueError, match='method must be "gumbel" or "inverse_cdf"'):
        ng.categorical(KEY, logits(2, 3), method="icdf")


# --- the field -----------------------------------------------------------------------------------------------------------


def test_gumbel_shapes():
    full = ng.gumbel(KEY, (3, 4))
    equal(ng.gumbel(KEY, 4), full[0])
    equal(ng.gumbel(KEY, (1, 3, 4))[0], full)
    equal(ng.gumbel(KEY, rows=[2, 0], cols=[1, 3]), full[np.ix_([2, 0], [1, 3])])
    equal(ng.gumbel(KEY, cols=[[1, 2], [0, 3]]), [[full[0, 1], full[0, 2]], [full[1, 0], full[1, 3]]])
    equal(ng.gumbel(KEY, (2, 4), rows=[2, 1]), full[[2, 1]])
    assert ng.gumbel(KEY, (0, 4)).shape == (0, 4)
    assert ng.gumbel(KEY, (4, 0)).shape == (4, 0)


BAD_FIELDS = {
    "no shape": ({}, TypeError, "the shape is missing"),
    "rows only": ({"rows": [1, 2]}, TypeError, "the shape is missing"),
    "empty shape": ({"shape": ()}, ValueError, "shape must hold one or more sizes"),
    "negative": ({"shape": (2, -1)}, ValueError, "shape must hold"),
    "float": ({"shape": (2.0, 3)}, TypeError, "shape must be an integer"),
    "dtype": ({"shape": 3, "dtype": np.float16}, TypeError, "dtype must be float32 or float64, got float16"),
    "scale": ({"shape": 3, "scale": -1.0}, ValueError, "scale must be 0 or more and finite, got -1.0"),
    "scale NaN": ({"shape": 3, "scale": NAN}, ValueError, "scale must be"),
    "loc": ({"shape": 3, "loc": INF}, ValueError, "loc must be finite"),
    "loc in float32": ({"shape": 3, "loc": 1e300, "dtype": np.float32}, ValueError, "loc must be finite, got inf"),
    "scale in float32": ({"shape": 3, "scale": 1e39, "dtype": np.float32}, ValueError, "scale must be"),
    "loc array": ({"shape": 3, "loc": np.zeros(3)}, TypeError, "loc and scale must be numbers"),
    "rows shape": ({"shape": (2, 3), "rows": [1]}, ValueError, "rows must hold one id a row"),
    "cols shape": ({"shape": (2, 3), "cols": [1]}, ValueError, "cols must hold one id a column"),
    "out dtype": ({"out": np.empty(3, np.int64)}, TypeError, "out must be float32 or float64"),
    "out shape": ({"shape": 4, "out": np.empty(3)}, ValueError, r"out must have shape \(4,\), got \(3,\)"),
    "out scalar": ({"out": np.empty(())}, ValueError, "out must have at least one axis"),
    "wide": ({"shape": (0, 2**35)}, ValueError, r"the field has 2\^35 - 16 columns"),
}


@pytest.mark.parametrize(("given", "error", "message"), BAD_FIELDS.values(), ids=BAD_FIELDS)
def test_wrong_fields(given, error, message):
    with pytest.raises(error, match=message):
        ng.gumbel(KEY, **given)


# --- keys, generator -----------------------------------------------------------------------------------------------------


def test_the_same_key_and_step_is_the_same_noise():
    x = logits(20, 30)
    equal(ng.categorical(KEY, x), ng.categorical(pickle.loads(pickle.dumps(KEY)), x))
    assert not np.array_equal(ng.gumbel(KEY, (20, 30)), ng.gumbel(KEY, (20, 30), step=1))
    assert not np.array_equal(ng.gumbel(KEY, (20, 30)), ng.gumbel(ng.key(7, "other"), (20, 30)))


def test_an_output_that_every_row_reads_is_refused():
    """Column ids serve all rows: the first row's index must not overwrite the second row's ids."""
    ids = np.random.default_rng(1).permutation(1000)[:40]
    kept = ids.copy()
    with pytest.raises(ValueError, match="out overlaps an input"):
        ng.categorical(KEY, np.zeros((40, 40), np.float32), cols=ids, out=ids)
    with pytest.raises(ValueError, match="out overlaps an input"):
        ng.categorical(KEY, np.zeros(40, np.float32), cols=ids, n=40, out=ids)
    equal(ids, kept)


@both_dtypes
def test_the_gradient_of_a_marked_row_is_nan_all_over(dtype):
    x = np.zeros((3, 4), dtype)
    x[0, 0] = np.nan
    mask = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 1]], bool)
    gradient = ng.gumbel_softmax_vjp(KEY, x, np.ones_like(x), mask=mask, invalid="mark")
    assert np.isnan(gradient[:2]).all()
    assert np.isfinite(gradient[2]).all()
    sample = ng.gumbel_softmax(KEY, x, mask=mask, invalid="mark")
    equal(ng.gumbel_softmax_vjp(KEY, x, np.ones_like(x), sample=sample, mask=mask), gradient)


@both_dtypes
@pytest.mark.parametrize("columns", [6, 600])
@pytest.mark.parametrize("action", [-2, -1, 2, 2**40])
def test_an_action_outside_of_its_head_marks_the_row(columns, action, dtype):
    logits, actions = np.zeros((20, columns), dtype), np.zeros((20, 2), np.int64)
    actions[3, 0] = action
    for temperature in (1.0, 0.0):
        given = {"nvec": (2, columns - 2), "temperature": temperature}
        with pytest.raises(ValueError, match=r"1 of 20 rows invalid .* action outside of its head\): row 3"):
            ng.log_prob_entropy(logits, actions, **given)
        for known in ng.log_prob_entropy(logits, actions, invalid="mark", **given):
            np.testing.assert_array_equal(np.flatnonzero(np.isnan(known)), [3])
            assert np.isfinite(np.delete(known, 3)).all()


def test_column_ids_wider_than_an_index():
    logits, index = np.zeros((3, 4), np.float32), np.empty(3, np.int32)
    for first in (2**31 - 3, 2**31, 2**34):
        drawn = ng.draw(
            KEY, logits, cols=np.arange(first, first + 4), out=ng.Draw(index, None, log_prob=np.empty(3, np.float32))
        )
        assert drawn.col.dtype == np.int64
        np.testing.assert_array_equal(drawn.col, first + index.astype(np.int64))


@pytest.mark.parametrize(
    "call",
    [
        lambda **o: ng.draw(KEY, logits(5, 6), want=("score", "log_prob"), **o),
        lambda **o: ng.sample_actions(KEY, logits(5, 6), nvec=(2, 4), **o),
        lambda **o: ng.log_prob_entropy(logits(5, 6), np.zeros(5, np.int64), **o),
        lambda **o: ng.gumbel_topk(KEY, logits(5, 6), 2, **o),
    ],
)
def test_an_output_that_is_left_out_of_several_is_new(call):
    whole = call()
    for name in set(whole._fields) - {"col"}:
        if getattr(whole, name) is None:
            continue
        given = np.zeros_like(getattr(whole, name))
        got = call(out=type(whole)(**(dict.fromkeys(whole._fields) | {name: given})))
        assert getattr(got, name) is given
        for field, wanted in zip(whole._fields, whole, strict=True):
            if wanted is None:
                assert getattr(got, field) is None
            else:
                np.testing.assert_array_equal(getattr(got, field), wanted)


def test_what_is_not_wanted_of_a_draw_is_none():
    places = ng.Draw(np.empty(5, np.int64), None, score=np.full(5, 7.0), log_prob=np.empty(5))
    drawn = ng.draw(KEY, logits(5, 6), want="log_prob", out=places)
    assert drawn.score is None
    assert (places.score == 7).all()


def test_merge_takes_a_sequence_of_draws():
    with pytest.raises(TypeError, match="draws must be a sequence of Draws, got NoneType"):
        ng.merge(None)


@both_dtypes
def test_many_short_heads_stand_side_by_side(monkeypatch, dtype):
    """What counts is the length of a head, not of the row, in plain calls as in others."""
    x = logits(40, 600, dtype=dtype)
    given = {"nvec": [30] * 20}
    wanted = ng.sample_actions(KEY, x, invalid="mark", **given)
    monkeypatch.setattr(plain, "draw_rows", None)
    equal(ng.sample_actions(KEY, x, **given), wanted)
