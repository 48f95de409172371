"""A prepared call gives what the call itself gives, in the same arrays, at every step."""

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
