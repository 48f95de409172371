"""The gradient of relaxed samples against finite differences, the closed form, and the limits in tau."""

from itertools import pairwise

import dense
import numpy as np
import pytest

import numgumbel as ng

KEY = ng.key(3, "gradients")


def logits(rows=6, columns=9):
    return np.random.default_rng(0).normal(size=(rows, columns))


def worst_difference(vjp, x, tau, h=1e-6):
    """Largest difference between vjp(c) and central differences of <c, y> over every logit, relative to the gradient's size."""
    c = np.random.default_rng(1).normal(size=x.shape)
    gradient = vjp(x, c, tau)
    numeric = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[place] += h
        down[place] -= h
        rise = ng.gumbel_softmax(KEY, up, tau=tau) - ng.gumbel_softmax(KEY, down, tau=tau)
        numeric[place] = (c * rise).sum() / (2 * h)
    return np.abs(gradient - numeric).max() / max(np.abs(numeric).max(), 1e-300)


@pytest.mark.parametrize("tau", [0.3, 1.0, 5.0])
def test_finite_differences(tau):
    worst = worst_difference(lambda x, c, t: ng.gumbel_softmax_vjp(KEY, x, c, tau=t), logits(), tau)
    print(f"worst difference from finite differences at tau {tau}: {worst:.1e}")
    assert worst < 1e-7


def test_a_wrong_gradient_is_noticed():
    """Without the factor 1 / tau, and without the mean: both are far off."""
    for wrong in (
        lambda x, c, t: ng.gumbel_softmax_vjp(KEY, x, c, tau=t) * t,
        lambda x, c, t: ng.gumbel_softmax(KEY, x, tau=t) * c / t,
    ):
        assert worst_difference(wrong, logits(), 0.3) > 1e-2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("hard", [False, True])
def test_closed_form_soft_and_hard(dtype, hard):
    """y_j (c_j - <c, y>) / tau with y the soft sample, whichever sample the forward pass returned."""
    x = logits(5, 1500).astype(dtype)
    c = np.random.default_rng(2).normal(size=x.shape).astype(dtype)
    for tau in (0.5, 2.0):
        forward = ng.gumbel_softmax(KEY, x, tau=tau, hard=hard)
        assert hard == bool(np.isin(forward, [0, 1]).all())
        y = dense.softmax(KEY, x, tau).astype(np.float64)
        wanted = y * (c - (c * y).sum(axis=1, keepdims=True)) / tau
        got = ng.gumbel_softmax_vjp(KEY, x, c, tau=tau)
        assert got.dtype == dtype
        assert np.abs(got - wanted).max() <= 16 * np.finfo(dtype).eps * np.abs(c).max() / tau


def test_per_row_tau():
    x, c = logits(), np.random.default_rng(1).normal(size=(6, 9))
    tau = np.array([0.1, 0.5, 1, 2, 5, 50])
    together = ng.gumbel_softmax_vjp(KEY, x, c, tau=tau)
    for i in range(6):
        alone = ng.gumbel_softmax_vjp(KEY, x[i], c[i], tau=tau[i], rows=np.int64(i))
        np.testing.assert_array_equal(together[i], alone)


def test_masked_categories_have_no_gradient():
    x, c = logits(), np.ones((6, 9))
    mask = np.random.default_rng(5).random(x.shape) < 0.7
    mask[:, 0] = True
    c[~mask] = np.nan  # nor is their cotangent looked at
    gradient = ng.gumbel_softmax_vjp(KEY, x, c, mask=mask)
    assert (gradient[~mask] == 0).all()
    assert np.isfinite(gradient).all()
    assert not np.signbit(gradient[~mask]).any()
    c[~mask] = np.inf
    anything = np.full_like(x, 0.25)  # a sample that is not 0 where masked
    assert (ng.gumbel_softmax_vjp(KEY, x, c, sample=anything, mask=mask)[~mask] == 0).all()
    excluded = ng.gumbel_softmax_vjp(KEY, np.where(mask, x, -np.inf), np.where(mask, c, 0))
    np.testing.assert_array_equal(excluded, gradient)


def test_shapes_and_dtypes_of_cotangent_and_sample():
    x = logits()
    for name, wrong, error in (
        ("cotangent", np.ones((6, 8)), ValueError),
        ("cotangent", np.ones((6, 9), np.float32), TypeError),
        ("sample", np.ones((6, 8)), ValueError),
        ("sample", np.ones((6, 9), np.float32), TypeError),
    ):
        given = {"cotangent": np.ones((6, 9)), name: wrong}
        with pytest.raises(error, match=f"{name} must"):
            ng.gumbel_softmax_vjp(KEY, x, **given)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_as_tau_falls_the_sample_tends_to_the_argmax_of_the_same_field(dtype):
    x = np.random.default_rng(0).normal(size=(200, 30)).astype(dtype)
    onehot = np.eye(30, dtype=dtype)[ng.categorical(KEY, x)]
    distances = [np.abs(ng.gumbel_softmax(KEY, x, tau=tau) - onehot).mean() for tau in (10, 1, 0.1, 0.01, 1e-3, 1e-6)]
    assert all(later < earlier for earlier, later in pairwise(distances))
    assert distances[-1] < 1e-6
    uniform = np.abs(ng.gumbel_softmax(KEY, x, tau=1e6) - 1 / 30).max()
    assert uniform < 1e-5
