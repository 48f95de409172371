"""Rows of different lengths: each one's sample is that of the row alone, and of the dense oracle."""

import dense
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numgumbel as ng
from numgumbel.kernels.cpu import ragged

KEY = ng.key(3, "ragged")
NAN, INF = np.nan, np.inf
REALS = [np.float32, np.float64]
END = 2**35 - 16


def offsets_of(lengths, first=0):
    return np.concatenate([[first], first + np.cumsum(lengths)]).astype(np.int64)


def spread(lengths, values, fill):
    """Values as a matrix, a row a line, with `fill` behind them."""
    out = np.full((len(lengths), max([1, *lengths])), fill, np.asarray(values).dtype)
    for row, (start, length) in enumerate(zip(offsets_of(lengths), lengths, strict=False)):
        out[row, :length] = values[start : start + length]
    return out


def wanted(lengths, x, cols=None, mask=None, probs=False, **address):
    """The dense oracle over the rows filled up with -inf."""
    x = dense.log(x) if probs else x
    if mask is not None:
        x = np.where(mask, x, x.dtype.type(-INF))
    cols = None if cols is None else spread(lengths, cols, 0)
    return dense.categorical(KEY, spread(lengths, x, -INF), cols=cols, **address)


def hard_values(rng, size, dtype):
    """Flat, far apart, tied, with infinities and NaN."""
    x = rng.normal(size=size) * np.exp(rng.normal(0, 2, size))
    x[rng.random(size) < 0.3] = 1.25
    for value, share in ((-INF, 0.1), (INF, 0.002), (NAN, 0.001), (-NAN, 0.001)):
        x[rng.random(size) < share] = value
    return x.astype(dtype)


LENGTHS = {
    "short": lambda rng: rng.integers(0, 31, 2000),
    "around a group": lambda rng: rng.integers(6, 11, 700),
    "one each": lambda rng: np.ones(300, int),
    "few": lambda rng: np.array([3, 1]),
    "one of every kind": lambda rng: np.array([0, 1, 8, 9, 511, 512, 513, 2047, 2048, 2049, 5000]),
    "some long": lambda rng: np.where(rng.random(900) < 0.02, rng.integers(100, 3000, 900), rng.integers(0, 71, 900)),
    "many long": lambda rng: rng.integers(300, 530, 300),
    "a ladder": lambda rng: np.arange(400),
    "empty": lambda rng: np.zeros(260, int),
}


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("name", LENGTHS)
def test_equals_the_dense_oracle(name, dtype):
    rng = np.random.default_rng(len(name))
    lengths = LENGTHS[name](rng)
    rows, size = len(lengths), int(lengths.sum())
    x, ends = hard_values(rng, size, dtype), offsets_of(lengths)
    ids = {"rows": rng.integers(-(2**63), 2**63 - 1, rows)}
    cols = {"cols": np.where(rng.random(size) < 0.5, rng.integers(0, END, size), rng.integers(0, 12, size))}
    mask = {"mask": rng.random(size) < 0.8}
    temperature = {"temperature": np.where(rng.random(rows) < 0.2, 0.0, np.exp(rng.normal(0, 2, rows)))}
    step = {"step": np.where(np.arange(rows) % 200 < 90, rng.integers(0, 9, rows), 2**30 - 3 + rng.integers(0, 6, rows))}
    for options in ({}, ids, cols, mask, temperature, step, ids | cols | mask | temperature | step, {"temperature": 0.0}):
        got = ng.categorical_ragged(KEY, x, ends, invalid="mark", **options)
        np.testing.assert_array_equal(got, wanted(lengths, x, **options), err_msg=str(list(options)))
    p = np.exp(np.clip(x, -50, 50))
    for options in ({}, ids | cols | mask | temperature):
        got = ng.categorical_ragged(KEY, probs=p, offsets=ends, invalid="mark", **options)
        np.testing.assert_array_equal(got, wanted(lengths, p, probs=True, **options))


@st.composite
def problems(draw):
    """A few rows and what may be given with them."""
    lengths = draw(st.lists(st.integers(0, 70), min_size=1, max_size=40))
    for _ in range(draw(st.integers(0, 2))):
        lengths.insert(draw(st.integers(0, len(lengths))), draw(st.integers(2049, 4500)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, size = len(lengths), sum(lengths)
    has = draw(st.sets(st.sampled_from(["rows", "cols", "mask", "temperature", "step", "scalars"])))
    options = {
        "rows": rng.integers(-(2**63), 2**63 - 1, rows),
        "cols": rng.integers(0, END, size),
        "mask": rng.random(size) < 0.7,
        "temperature": np.exp(rng.normal(size=rows)),
        "step": rng.integers(0, 2**63 - 1, rows),
    }
    options = {name: value for name, value in options.items() if name in has}
    if "scalars" in has:
        options |= {"temperature": 0.7, "step": 2**31 + 5}
    x = rng.normal(0, draw(st.sampled_from([0.0, 1.0, 30.0])), size).astype(draw(st.sampled_from(REALS)))
    return lengths, x, options, draw(st.sampled_from([1, 2, -1, -3])), draw(st.integers(0, 9))


def strided(values, step, fill):
    """The same values at another distance, with something else between."""
    wide = np.full(max(len(values), 1) * abs(step), fill, values.dtype)
    view = wide[::step][: len(values)]
    view[:] = values
    return view


@settings(max_examples=60, deadline=None)
@given(problems())
def test_a_row_alone(problem):
    """Each row is what `categorical` gives for it alone, whatever the strides and whatever lies before and behind."""
    lengths, x, options, step, first = problem
    ends = offsets_of(lengths)
    alone = []
    for row, length in enumerate(lengths):
        here = slice(ends[row], ends[row + 1])
        own = {name: value[here] if name in ("cols", "mask") else value for name, value in options.items()}
        own |= {name: value[row : row + 1] for name, value in own.items() if name in ("step", "temperature") and np.ndim(value)}
        own["rows"] = options["rows"][row : row + 1] if "rows" in options else [row]
        alone.append(ng.categorical(KEY, x[None, here], invalid="mark", **own)[0] if length else -1)
    around = np.full(first, NAN, x.dtype)
    wide = {"cols": np.zeros(first, int), "mask": np.ones(first, bool)}
    spaced = {
        name: strided(np.concatenate([wide[name], value, wide[name]]), step, 0) if name in wide else value
        for name, value in options.items()
    }
    got = ng.categorical_ragged(
        KEY, strided(np.concatenate([around, x, around]), step, NAN), ends + first, invalid="mark", **spaced
    )
    np.testing.assert_array_equal(got, alone)


def test_a_wrong_sampler_is_noticed():
    """Other row ids, positions of the whole vector for column ids, and a row that borrows its neighbour's first value."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 31, 500)
    x, ends = rng.normal(size=lengths.sum()), offsets_of(lengths)
    right = wanted(lengths, x)
    for wrong in (
        ng.categorical_ragged(KEY, x, ends, rows=np.arange(1, 501)),
        ng.categorical_ragged(KEY, x, ends, cols=np.arange(len(x))),
        ng.categorical_ragged(KEY, x, np.minimum(ends + (ends > 0), len(x)), invalid="mark"),
    ):
        assert (wrong != right).any()
    np.testing.assert_array_equal(ng.categorical_ragged(KEY, x, ends), right)


def test_threads_and_parts_do_not_matter():
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 40, 60_000)
    lengths[::7000] = 3000
    x, ends = rng.normal(size=lengths.sum()).astype(np.float32), offsets_of(lengths)
    before = ng.get_num_threads()
    try:
        ng.set_num_threads(1)
        one = ng.categorical_ragged(KEY, x, ends)
        ng.set_num_threads(2)
        np.testing.assert_array_equal(ng.categorical_ragged(KEY, x, ends), one)
    finally:
        ng.set_num_threads(before)
    for first, last in ((0, 1), (17, 300), (40_001, 60_000)):
        part = ng.categorical_ragged(KEY, x, ends[first : last + 1], rows=np.arange(first, last))
        np.testing.assert_array_equal(part, one[first:last])


def test_draws_outputs_and_generator():
    lengths = [3, 1, 9, 2]
    x, ends = np.random.default_rng(3).normal(size=15), offsets_of(lengths)
    draws = ng.categorical_ragged(KEY, x, ends, n=4, step=2**30 - 2)
    assert draws.shape == (4, 4)
    for draw in range(4):
        np.testing.assert_array_equal(draws[draw], ng.categorical_ragged(KEY, x, ends, step=2**30 - 2 + draw))
    narrow = np.empty(4, np.int32)
    assert ng.categorical_ragged(KEY, x, ends, out=narrow) is narrow
    np.testing.assert_array_equal(narrow, ng.categorical_ragged(KEY, x, ends))
    rng = ng.Generator(KEY)
    rng.categorical_ragged(x, ends, n=3)
    np.testing.assert_array_equal(rng.categorical_ragged(x, ends), ng.categorical_ragged(KEY, x, ends, step=3))
    assert ng.categorical_ragged(KEY, x, [4]).shape == (0,)
    assert ng.categorical_ragged(KEY, x[:0], [0]).shape == (0,)
    for integers in (np.int32, np.uint64, np.uint8):
        np.testing.assert_array_equal(ng.categorical_ragged(KEY, x, ends.astype(integers)), narrow)
    ids = np.array([5, 6, 7, 8])
    expected = ng.categorical_ragged(KEY, x, ends, rows=ids.copy())
    np.testing.assert_array_equal(ng.categorical_ragged(KEY, x, ends, rows=ids, out=ids), expected)


def test_invalid_rows():
    x = np.array([0.0, NAN, -INF, -INF, 1.0])
    ends = [0, 1, 1, 2, 4, 5]
    with pytest.raises(ValueError, match=r"categorical_ragged: 3 of 5 rows invalid .*: row 1, 2, 3;"):
        ng.categorical_ragged(KEY, x, ends)
    with pytest.raises(ValueError, match=r"3 of 5 rows invalid"):
        ng.categorical_ragged(KEY, x, ends, n=2)
    out = np.full(5, 9)
    with pytest.raises(ValueError, match="rows invalid"):
        ng.categorical_ragged(KEY, x, ends, out=out)
    assert out.tolist() == [0, -1, -1, -1, 0]
    np.testing.assert_array_equal(ng.categorical_ragged(KEY, x, ends, invalid="mark"), out)
    mask = np.array([1, 0, 1, 1, 0], np.uint8)
    assert ng.categorical_ragged(KEY, x, ends, mask=mask, invalid="mark").tolist() == [0, -1, -1, -1, -1]


X, ENDS = np.zeros(6), np.array([0, 2, 6])
MISTAKES = {
    "no offsets": ({}, TypeError, "offsets must be given"),
    "float": ({"offsets": ENDS * 1.0}, TypeError, "offsets must be integers, got float64"),
    "axes": ({"offsets": ENDS[None]}, ValueError, r"offsets must have one axis and at least one element, got shape \(1, 3\)"),
    "none": ({"offsets": []}, ValueError, r"at least one element, got shape \(0,\)"),
    "decrease": ({"offsets": [0, 3, 2, 1, 6]}, ValueError, "offsets must not decrease, got 2 behind 3 at position 2"),
    "negative": ({"offsets": [-2, 3]}, ValueError, "offsets must be 0 or more, got -2 at position 0"),
    "beyond": ({"offsets": [0, 6, 7, 9]}, ValueError, "offsets must end within the 6 logits, got 7 at position 2"),
    "matrix": ({"logits": np.zeros((2, 3)), "offsets": ENDS}, ValueError, r"one axis, .* got shape \(2, 3\)"),
    "both": ({"probs": X, "offsets": ENDS}, TypeError, "exactly one of logits and probs must be given, got both"),
    "neither": ({"logits": None, "offsets": ENDS}, TypeError, "got neither"),
    "rows": ({"offsets": ENDS, "rows": [1, 2, 3]}, ValueError, r"rows must hold one id a row, shape \(2,\), got shape \(3,\)"),
    "cols": ({"offsets": ENDS, "cols": [1, 2]}, ValueError, r"cols must hold one id a value, shape \(6,\), got shape \(2,\)"),
    "ids": ({"offsets": ENDS, "cols": [0, 1, 2, 3, 4, END]}, ValueError, f"column ids must be .* from 0 to {END}"),
    "id below": ({"offsets": ENDS, "cols": [0, 1, 2, 3, 4, -1]}, ValueError, "column ids must be .* from -1 to 4"),
    "mask": ({"offsets": ENDS, "mask": np.ones(5, bool)}, ValueError, r"mask must broadcast to the logits' shape \(6,\)"),
    "step": ({"offsets": ENDS, "step": [1, 2, 3]}, ValueError, "step must be a scalar or one a row"),
    "temperature": ({"offsets": ENDS, "temperature": [1.0, -1.0]}, ValueError, "temperature must be 0 or from .* in row 1"),
    "out": ({"offsets": ENDS, "out": np.zeros(6, int)}, ValueError, r"out must have shape \(2,\)"),
    "invalid": ({"offsets": ENDS, "invalid": "skip"}, ValueError, "invalid must be"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name):
    options, error, message = MISTAKES[name]
    with pytest.raises(error, match=message):
        ng.categorical_ragged(KEY, **({"logits": X} | options))


def test_a_place_far_along_is_named():
    """Offsets are looked at in parts."""
    ends = np.arange(100_001)
    ends[70_000:] -= 5
    ends[32_768] = 32_767
    message = "got 69995 behind 69999 at position 70000"
    with pytest.raises(ValueError, match=message):
        ng.categorical_ragged(KEY, np.zeros(100_001), ends)
    ends = np.arange(65_537)
    ends[32_768] = 0
    with pytest.raises(ValueError, match="got 0 behind 32767 at position 32768"):
        ng.categorical_ragged(KEY, np.zeros(65_537), ends)


def test_an_output_over_an_input_is_refused():
    cols, ends = np.array([3, 1, 2]), np.array([0, 1, 2, 3])
    for options in ({"offsets": ends, "cols": cols, "out": cols}, {"offsets": ends, "out": ends[1:]}):
        with pytest.raises(ValueError, match="out overlaps an input"):
            ng.categorical_ragged(KEY, np.zeros(3), **options)
    assert cols.tolist() == [3, 1, 2]


def test_the_longest_side_by_side_is_a_whole_number_of_groups():
    """The column of the best is 16 bits of a lane's code."""
    assert ragged.GROUPS * ragged.GROUP < 1 << 16
