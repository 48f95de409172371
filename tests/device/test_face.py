"""Public functions on device arrays, simulated or not: what comes in goes out, and equals what the CPU gives."""

import numpy as np
import pytest

import numgumbel as ng
from numgumbel.kernels.gpu.loading import cuda

pytestmark = pytest.mark.simulated

KEY = ng.key(11, "device")


def device(array):
    return cuda.to_device(np.array(array, order="C"))


def logits(*shape, dtype=np.float32):
    return np.random.default_rng(shape).normal(scale=2, size=shape).astype(dtype)


@pytest.mark.parametrize("shape", [(5,), (3, 7), (2, 3, 9), (4, 2, 2, 5), (0, 4)])
def test_shapes(shape):
    x = logits(*shape)
    got = ng.categorical(KEY, device(x))
    assert type(got).__module__.startswith("numba.cuda")
    np.testing.assert_array_equal(got.copy_to_host(), ng.categorical(KEY, x))


def test_axis_draws_and_out():
    x = logits(4, 6, 3, dtype=np.float64)
    np.testing.assert_array_equal(ng.categorical(KEY, device(x), axis=1).copy_to_host(), ng.categorical(KEY, x, axis=1))
    np.testing.assert_array_equal(
        ng.categorical(KEY, device(x), n=3, step=5).copy_to_host(), ng.categorical(KEY, x, n=3, step=5)
    )
    out = device(np.zeros((4, 6), np.int32))
    assert ng.categorical(KEY, device(x), out=out) is out
    np.testing.assert_array_equal(out.copy_to_host(), ng.categorical(KEY, x))


def test_addresses_masks_and_temperatures():
    x, r = logits(6, 10), np.random.default_rng(1)
    given = {
        "rows": r.integers(0, 2**62, 6),
        "step": r.integers(0, 2**33, 6),
        "cols": r.integers(0, 2**34, 10),
        "mask": r.random((6, 10)) < 0.7,
        "temperature": r.uniform(0.5, 2, 6),
    }
    for name, value in given.items():
        want = ng.categorical(KEY, x, **{name: value})
        np.testing.assert_array_equal(ng.categorical(KEY, device(x), **{name: device(value)}).copy_to_host(), want, name)
    everything = {name: device(value) for name, value in given.items()}
    np.testing.assert_array_equal(ng.categorical(KEY, device(x), **everything).copy_to_host(), ng.categorical(KEY, x, **given))


def test_a_step_on_the_device():
    x, step = logits(3, 5), device(np.array(7))
    np.testing.assert_array_equal(ng.categorical(KEY, device(x), step=step).copy_to_host(), ng.categorical(KEY, x, step=7))


def test_invalid_rows():
    x = logits(4, 6)
    x[1], x[3, 2] = -np.inf, np.nan
    want = ng.categorical(KEY, x, invalid="mark")
    np.testing.assert_array_equal(ng.categorical(KEY, device(x)).copy_to_host(), want)
    with pytest.raises(ValueError, match=r"2 of 4 rows invalid .* row 1, 3"):
        ng.categorical(KEY, device(x), invalid="raise")


def test_long_rows():
    x = logits(2, 4100)
    np.testing.assert_array_equal(ng.categorical(KEY, device(x)).copy_to_host(), ng.categorical(KEY, x))


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"rows": np.arange(3)}, TypeError, "rows is a NumPy array and the logits are a Numba device array"),
        ({"rows": [1, 2, 3]}, TypeError, "rows is a list and the logits are a Numba device array"),
        ({"rows": device(np.arange(3, dtype=np.int32))}, TypeError, "rows must be int64 in a GPU's memory, got int32"),
        ({"temperature": device(np.ones(3, np.float32))}, TypeError, "temperature must be float64 in a GPU's memory"),
        ({"temperature": -1.0}, ValueError, "temperature must be 0 or from"),
        ({"out": np.zeros(3, np.int64)}, TypeError, "out is a NumPy array"),
        ({"out": device(np.zeros(3, np.float32))}, TypeError, "out must be int64 or int32, got float32"),
        ({"mask": device(np.ones((3, 4), bool))}, ValueError, "mask must broadcast"),
    ],
)
def test_wrong_arguments(wrong, error, words):
    with pytest.raises(error, match=words):
        ng.categorical(KEY, device(logits(3, 5)), **wrong)


def test_a_view_is_never_read():
    from numgumbel.dispatch import family_of

    array = device(logits(3, 5))
    view = family_of(array, "x").view(array)
    assert "shape (3, 5)" in repr(view)
    for read in (lambda: view + 1, lambda: view.astype(np.float64), lambda: view.copy(), lambda: np.exp(view)):
        with pytest.raises(TypeError):
            read()


def test_inverse_cdf():
    x = logits(5, 20)
    want = ng.categorical(KEY, x, method="inverse_cdf", n=3)
    np.testing.assert_array_equal(ng.categorical(KEY, device(x), method="inverse_cdf", n=3).copy_to_host(), want)


def test_ragged():
    x, offsets = logits(30), np.array([0, 4, 4, 21, 30])
    want = ng.categorical_ragged(KEY, x, offsets, invalid="mark")
    np.testing.assert_array_equal(ng.categorical_ragged(KEY, device(x), device(offsets)).copy_to_host(), want)
    with pytest.raises(ValueError, match="1 of 4 rows invalid"):
        ng.categorical_ragged(KEY, device(x), device(offsets), invalid="raise")


def test_a_plan():
    x = logits(6, 12)
    prepared = ng.plan("categorical", KEY, device(x), step=3)
    first = prepared.result
    for step in (3, 9, 2**35, None):
        assert prepared.launch(step) is first
        np.testing.assert_array_equal(first.copy_to_host(), ng.categorical(KEY, x, step=3 if step is None else step))
    several = ng.plan("categorical", KEY, device(x), n=2)
    np.testing.assert_array_equal(several.launch(5).copy_to_host(), ng.categorical(KEY, x, n=2, step=5))
    step = device(np.array(4))
    moving = ng.plan("categorical", KEY, device(x), step=step)
    step.copy_to_device(np.array(8))
    np.testing.assert_array_equal(moving.launch().copy_to_host(), ng.categorical(KEY, x, step=8))
    with pytest.raises(ValueError, match='invalid must be None or "mark" in a plan on a GPU'):
        ng.plan("categorical", KEY, device(x), invalid="raise")


def test_the_field():
    r = np.random.default_rng(4)
    rows, cols = r.integers(0, 2**60, 3), r.integers(0, 2**34, (3, 11))
    got = ng.gumbel(KEY, rows=device(rows), cols=device(cols), step=6, dtype=np.float32)
    np.testing.assert_array_equal(got.copy_to_host(), ng.gumbel(KEY, rows=rows, cols=cols, step=6, dtype=np.float32))
    for dtype in (np.float32, np.float64):
        out = device(np.zeros((2, 3, 21), dtype))
        assert ng.gumbel(KEY, out=out, loc=1.5, scale=2.0, step=2**33) is out
        np.testing.assert_array_equal(
            out.copy_to_host(), ng.gumbel(KEY, (2, 3, 21), loc=1.5, scale=2.0, step=2**33, dtype=dtype)
        )
    draws = device(np.zeros((2, 3, 5)))
    ng.gumbel(KEY, out=draws, n=2)
    np.testing.assert_array_equal(draws.copy_to_host(), ng.gumbel(KEY, (3, 5), n=2))


def close(got, want):
    """Within 8 ulp of what is 1 or less."""
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_allclose(got, want, rtol=0, atol=8 * float(np.finfo(want.dtype).eps))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relaxed_samples(dtype):
    x, c = logits(5, 13, dtype=dtype), logits(13, 5, dtype=dtype).T.copy()
    x[1], x[2, 3], x[3, 4] = -np.inf, np.nan, np.inf
    mask = np.random.default_rng(3).random((5, 13)) < 0.8
    mask[:, 4] = True
    for tau in (1.0, 0.3, 0.0):
        want = ng.gumbel_softmax(KEY, x, tau=tau, mask=mask, invalid="mark")
        close(ng.gumbel_softmax(KEY, device(x), tau=tau, mask=device(mask)).copy_to_host(), want)
        hard = ng.gumbel_softmax(KEY, device(x), tau=tau, hard=True, mask=device(mask)).copy_to_host()
        np.testing.assert_array_equal(hard, ng.gumbel_softmax(KEY, x, tau=tau, hard=True, mask=mask, invalid="mark"))
    taus = np.array([1, 0.5, 2, 1, 3.0])
    for tau in (1.0, 0.3, taus):
        there = device(tau) if isinstance(tau, np.ndarray) else tau
        want = ng.gumbel_softmax_vjp(KEY, x, c, tau=tau, mask=mask, invalid="mark")
        got = ng.gumbel_softmax_vjp(KEY, device(x), device(c), tau=there, mask=device(mask)).copy_to_host()
        np.testing.assert_allclose(got, want, rtol=0, atol=100 * float(np.finfo(dtype).eps))
        sample = ng.gumbel_softmax(KEY, device(x), tau=there, mask=device(mask))
        again = ng.gumbel_softmax_vjp(KEY, device(x), device(c), sample=sample, tau=there, mask=device(mask)).copy_to_host()
        np.testing.assert_allclose(again, want, rtol=0, atol=100 * float(np.finfo(dtype).eps))


def test_relaxed_samples_of_long_rows():
    x = logits(1, 2100)
    close(ng.gumbel_softmax(KEY, device(x), tau=0.7).copy_to_host(), ng.gumbel_softmax(KEY, x, tau=0.7))


def host(result):
    """Results of a call as NumPy arrays, by name."""
    return {name: value.copy_to_host() for name, value in result._asdict().items() if value is not None}


def same_draws(got, want, exact):
    got, want = host(got), {name: value for name, value in want._asdict().items() if value is not None}
    assert set(got) == set(want)
    for name, value in want.items():
        if name in exact:
            np.testing.assert_array_equal(got[name], value, name)
        else:
            np.testing.assert_array_equal(np.isnan(got[name]), np.isnan(value))
            scale = np.maximum(1, np.abs(np.where(np.isfinite(value), value, 1)).max())
            np.testing.assert_allclose(got[name], value, rtol=0, atol=8 * float(np.finfo(value.dtype).eps) * scale)


WANTED = ("score", "log_prob", "logsumexp", "entropy")
EXACT = ("index", "col", "score", "action", "threshold")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_draws(dtype):
    x, r = logits(7, 21, dtype=dtype), np.random.default_rng(2)
    x[1], x[2, 3], x[3, 4], x[4, 5:] = -np.inf, np.nan, np.inf, -np.inf
    cols, mask = r.permutation(1000)[:21], r.random((7, 21)) < 0.8
    mask[:, 4] = True
    temperatures = np.array([1, 1, 1, 0.5, 2, 0, 3.0])
    for given in ({}, {"cols": cols, "mask": mask}, {"temperature": temperatures}):
        there = {name: device(value) for name, value in given.items()}
        want = ng.draw(KEY, x, want=WANTED, invalid="mark", **given)
        same_draws(ng.draw(KEY, device(x), want=WANTED, **there), want, EXACT)
    same_draws(ng.draw(KEY, device(x), n=2, cols=device(cols)), ng.draw(KEY, x, n=2, cols=cols, invalid="mark"), EXACT)


def test_a_draw_of_a_long_row():
    x = logits(1, 2100)
    same_draws(ng.draw(KEY, device(x), want=WANTED), ng.draw(KEY, x, want=WANTED), EXACT)


def test_actions():
    x, r = logits(6, 19), np.random.default_rng(7)
    mask, nvec = r.random((6, 19)) < 0.7, (3, 11, 5)
    mask[:, [0, 5, 17]] = True
    mask[2, :3] = False
    for options in ({"nvec": nvec}, {"nvec": nvec, "deterministic": True, "temperature": 0.5}, {}):
        want = ng.sample_actions(KEY, x, mask=mask, invalid="mark", **options)
        got = ng.sample_actions(KEY, device(x), mask=device(mask), **options)
        same_draws(got, want, EXACT)
    actions = ng.sample_actions(KEY, x, nvec=nvec).action
    actions[4, 1] = 99
    given = device(actions)
    want = ng.log_prob_entropy(x, actions, nvec=nvec, mask=mask, invalid="mark")
    same_draws(ng.log_prob_entropy(device(x), given, nvec=nvec, mask=device(mask)), want, ())
    for a, b in ((1.0, 0.5), (r.normal(size=6).astype(np.float32), None)):
        there = device(a) if isinstance(a, np.ndarray) else a
        want = ng.log_prob_entropy_vjp(x, actions, a, b, nvec=nvec, mask=mask, invalid="mark")
        got = ng.log_prob_entropy_vjp(device(x), given, there, b, nvec=nvec, mask=device(mask)).copy_to_host()
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_merged_shards():
    x = logits(5, 30, dtype=np.float64)
    x[1, :12], x[2] = -np.inf, -np.inf
    cols = np.arange(30)

    def shards(array):
        parts = (slice(0, 12), slice(12, 13), slice(13, 30))
        return [ng.draw(KEY, array(x[:, p]), cols=array(cols[p]), want=WANTED, invalid="mark") for p in parts]

    same_draws(ng.merge(shards(device)), ng.merge(shards(np.array)), EXACT)


def test_conditional_noise():
    x, index = logits(5, 12), np.array([3, 0, 11, 12, 5])
    x[4, 5] = -np.inf
    for options in ({}, {"scores": True, "sample": 4}, {"n": 2}):
        want = ng.conditional_gumbel(KEY, x, index, invalid="mark", **options)
        got = ng.conditional_gumbel(KEY, device(x), device(index), **options)
        np.testing.assert_array_equal(got.copy_to_host(), want)


def test_top_k_and_inclusion():
    x, temperatures = logits(4, 15), np.array([1, 0.5, 2, 0.0])
    x[1, 4:], x[2, 3] = -np.inf, np.nan
    for k in (1, 6, 15):
        want = ng.gumbel_topk(KEY, x, k, temperature=temperatures, invalid="mark")
        got = ng.gumbel_topk(KEY, device(x), k, temperature=device(temperatures))
        same_draws(got, want, ("index", "score", "threshold"))
        inclusion = ng.inclusion_log_prob(device(x), got, temperature=device(temperatures)).copy_to_host()
        np.testing.assert_array_equal(inclusion, ng.inclusion_log_prob(x, want, temperature=temperatures))
    several = ng.gumbel_topk(KEY, device(x), 2, n=2)
    same_draws(several, ng.gumbel_topk(KEY, x, 2, n=2, invalid="mark"), ("index", "score", "threshold"))


def test_every_operation_has_a_driver():
    from numgumbel.dispatch import _table

    here = {name for name in _table("cpu") if not name.startswith("plain_")}
    assert set(_table("gpu")) == here
