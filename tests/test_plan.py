"""A prepared call gives what the call itself gives, in the same arrays, at every step."""

import gc
import tracemalloc

import numpy as np
import pytest

import numgumbel as ng

KEY = ng.key(3, "plan")
X = np.random.default_rng(3).normal(size=(6, 9))

CALLS = {
    "categorical": ((KEY, X), {}),
    "categorical_ragged": ((KEY, X[0], np.array([0, 4, 9])), {}),
    "conditional_gumbel": ((KEY, X, np.arange(6)), {}),
    "draw": ((KEY, X), {"want": ("score", "log_prob", "entropy")}),
    "gumbel": ((KEY, (2, 5)), {}),
    "gumbel_softmax": ((KEY, X), {"tau": 0.5}),
    "gumbel_topk": ((KEY, X, 3), {}),
    "sample_actions": ((KEY, X), {"nvec": (4, 5)}),
}


def arrays(result):
    return [each for each in (result if isinstance(result, tuple) else (result,)) if each is not None]


@pytest.mark.parametrize("operation", CALLS)
def test_every_operation(operation):
    arguments, options = CALLS[operation]
    prepared = ng.plan(operation, *arguments, **options, step=2)
    first = arrays(prepared.result)
    for step in (2, 7, 2**40, None):
        got = prepared.launch(step)
        assert all(a is b for a, b in zip(arrays(got), first, strict=True))
        want = getattr(ng, operation)(*arguments, **options, step=2 if step is None else step)
        for a, b in zip(arrays(got), arrays(want), strict=True):
            np.testing.assert_array_equal(a, b)


def test_all_operations_are_tried():
    from numgumbel import planning

    assert set(CALLS) == set(planning.OPERATIONS)


def test_changed_logits_are_read_anew():
    x = X.copy()
    prepared = ng.plan("categorical", KEY, x)
    x[:, 4] = 1e6
    assert (prepared.launch() == 4).all()


def test_wrong_calls():
    with pytest.raises(ValueError, match=r"operation must be one of categorical, .* got 'merge'"):
        ng.plan("merge", KEY, X)
    with pytest.raises(TypeError, match="key must be a Key"):
        ng.plan("categorical", 3, X)
    prepared = ng.plan("categorical", KEY, X)
    with pytest.raises(ValueError, match="step must be 0 or more"):
        prepared.launch(-1)
    with pytest.raises(TypeError, match="step must be an integer"):
        prepared.launch(1.5)
    with pytest.raises(TypeError, match="step must be left out"):
        ng.plan("categorical", KEY, X, step=np.arange(6)).launch(1)


def test_ids_of_chosen_columns_are_those_of_the_step():
    """They are made anew by every call, and so must be put where the first were."""
    cols = np.arange(9) * 3 + 5
    prepared = ng.plan("draw", KEY, X, cols=cols)
    kept = prepared.result.col
    for step in (7, 9):
        assert prepared.launch(step).col is kept
        np.testing.assert_array_equal(kept, ng.draw(KEY, X, cols=cols, step=step).col)


# --- memory --------------------------------------------------------------------------------------------------------------

ROWS = 100_000
LARGE = np.random.default_rng(4).normal(size=(ROWS, 9))

# A byte a row is more.
LIMIT = 1 << 16

LARGE_CALLS = {
    "categorical": ((KEY, LARGE), {}),
    "categorical_ragged": ((KEY, LARGE[0].repeat(ROWS), np.arange(ROWS + 1) * 9), {}),
    "conditional_gumbel": ((KEY, LARGE, np.zeros(ROWS, int)), {}),
    "draw": ((KEY, LARGE), {"want": ("score", "log_prob", "logsumexp", "entropy")}),
    "gumbel": ((KEY, (ROWS, 9)), {}),
    "gumbel_softmax": ((KEY, LARGE), {"tau": 0.5}),
    "gumbel_topk": ((KEY, LARGE, 3), {}),
    "sample_actions": ((KEY, LARGE), {"nvec": (4, 5)}),
}

# Besides: short cuts, other kernels, what is given by row, draws of a batch that are one kernel call. (name, operation, ...)
OTHERS = {
    "inverse CDF": ("categorical", (KEY, LARGE), {"method": "inverse_cdf"}),
    "ids": ("categorical", (KEY, LARGE), {"cols": np.arange(9) * 2, "rows": np.arange(ROWS), "mask": LARGE > -1}),
    "temperatures": ("categorical", (KEY, LARGE), {"temperature": np.full(ROWS, 0.5)}),
    "draws": ("categorical", (KEY, LARGE[:30_000]), {"n": 2}),
    "draws of softmax": ("gumbel_softmax", (KEY, LARGE[:30_000]), {"n": 2}),
    "long rows": ("draw", (KEY, LARGE.reshape(9, -1)), {}),
    "one head": ("sample_actions", (KEY, LARGE), {}),
}


def peak_of(call):
    """Bytes that are there at once during a call and were not before: of NumPy's buffers, Numba's and Python's objects."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = call()  # noqa: F841
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", [*LARGE_CALLS, *OTHERS])
def test_a_launch_makes_no_arrays(name, threads):
    operation, arguments, options = OTHERS[name] if name in OTHERS else (name, *LARGE_CALLS[name])
    before = ng.get_num_threads()
    ng.set_num_threads(threads)
    try:
        prepared = ng.plan(operation, *arguments, **options)
        prepared.launch(1)
        assert max(peak_of(lambda step=step: prepared.launch(step)) for step in (2, 3)) < LIMIT
    finally:
        ng.set_num_threads(before)


def test_arrays_of_a_launch_would_be_seen():
    """A byte a row is above the limit; so is a call that makes its result; and memory is tried for every operation."""
    assert set(LARGE_CALLS) == set(CALLS)
    assert peak_of(lambda: np.zeros(ROWS, bool)) > LIMIT
    assert peak_of(lambda: ng.categorical(KEY, LARGE)) > LIMIT


def test_a_step_may_be_numpys():
    x = np.zeros((4, 5))
    prepared = ng.plan("categorical", ng.key(1), x, step=np.int64(4))
    np.testing.assert_array_equal(prepared.result, ng.categorical(ng.key(1), x, step=4))
    np.testing.assert_array_equal(prepared.launch(9), ng.categorical(ng.key(1), x, step=9))
