"""The GPU's gradients of log-probability and entropy against the CPU's."""

import itertools

import numpy as np
import pytest
from launching import as_stored, launch, rows_at_the_ends, sampling

import numgumbel as ng
from numgumbel.kernels.gpu import log_prob

KEY = ng.key(7, "simulated gradients")
REALS = np.float32, np.float64
BLOCK = 256
UNTOUCHED = 7


def lanes_for(columns):
    return min(32, 1 << max(-(-columns // 8) - 1, 0).bit_length())


def run(cells, actions, a=0.0, b=0.0, nvec=None, threads=None, *, part=None, out=None, **request):
    """(gradient, invalid rows) of the kernel, for cells of (rows, K) or (outer, inner, K); `part` is (first, last)."""
    shape = cells.shape
    cells = cells if cells.ndim == 3 else cells[None]
    outer, inner, columns = cells.shape
    heads = np.concatenate([[0], np.cumsum((columns,) if nvec is None else nvec)]).astype(np.int64)
    index = np.array(actions, np.int64).reshape(outer, inner, len(heads) - 1)
    real = np.float64 if cells.dtype == np.float64 else np.float32
    slopes = [np.array(np.broadcast_to(np.reshape(each, np.shape(each) or 1), outer * inner), real) for each in (a, b)]
    slopes = [each.reshape(outer, inner) for each in slopes]
    gradient = np.full(cells.shape, UNTOUCHED, cells.dtype) if out is None else out.reshape(cells.shape)
    invalid = np.zeros(1 + outer * inner, np.int64)
    threads = threads or lanes_for(columns)
    first, last = part or (0, outer * inner)
    common = sampling(KEY, cells, **request)[6:]
    given = threads, heads, index, *slopes, 0.0, 0.0
    launch(log_prob.log_prob_vjp_rows, (last - first) * threads, *common, first, last, *given, as_stored(gradient), invalid)
    return gradient.reshape(shape), sorted(invalid[1 : 1 + invalid[0]].tolist())


def check(x, actions, a, b, nvec=None, mask=None, temperature=1.0, **options):
    """Equal to the CPU's within 8 ulp of what a slope is made of; zeros, NaNs and invalid rows are the same."""
    public = {"nvec": nvec, "mask": mask, "temperature": temperature, "invalid": "mark"}
    chosen = np.reshape(actions, (len(x), -1)) if nvec is not None else np.reshape(actions, len(x))
    real = x.dtype if x.dtype in REALS else np.dtype(np.float32)
    slopes = [np.asarray(each, real) if np.ndim(each) else float(each) for each in (a, b)]
    want = ng.log_prob_entropy_vjp(x, chosen, *slopes, **public)
    entropy = np.nan_to_num(
        ng.log_prob_entropy(x, chosen, nvec=nvec, mask=mask, temperature=temperature, invalid="mark").entropy
    )
    temperatures = {"temperatures": temperature} if np.ndim(temperature) else {"temperature": temperature}
    got, invalid = run(x, actions, a, b, nvec, mask=mask, **temperatures, **options)
    assert invalid == np.flatnonzero(np.isnan(want.astype(float)).all(axis=1)).tolist()
    got, want = got.astype(float), want.astype(float)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(got == 0, want == 0)
    if mask is not None:
        assert (np.delete(got, invalid, axis=0)[~np.delete(mask, invalid, axis=0)] == 0).all()
    size = (np.abs(a) + np.abs(b) * (1 + entropy)) / temperature * np.ones(len(x))
    error = np.abs(np.nan_to_num(got - want))
    eps = 2.0**-7 if x.dtype.itemsize == 2 and x.dtype != np.float16 else float(np.finfo(x.dtype).eps)
    assert (error <= (1 if x.dtype.itemsize == 2 else 8) * eps * size[:, None]).all()
    return got


def logits(rows, columns, dtype=np.float32, seed=0):
    return np.random.default_rng([seed, rows, columns]).normal(scale=2, size=(rows, columns)).astype(dtype)


def some_actions(rows, nvec):
    return np.random.default_rng([rows, *nvec]).integers(0, nvec, (rows, len(nvec)))


def bits_of(values):
    return values.view(f"u{values.itemsize}")


@pytest.mark.parametrize("columns", [*range(1, 19), 31, 32, 33, 63, 64, 65, 70])
def test_every_length(columns):
    x, r = logits(3, columns, REALS[columns % 2]), np.random.default_rng(columns)
    check(x, some_actions(3, (columns,)), r.normal(size=3), r.normal(size=3))


@pytest.mark.parametrize("threads", [1, 2, 4, 8, 16, 32, BLOCK])
def test_any_number_of_threads(threads):
    check(logits(2, 70), [[69], [8]], 1.0, -0.5, threads=threads)


def test_a_block_has_a_long_row():
    check(logits(1, 2100, np.float64), [[2090]], 1.5, 0.5, threads=BLOCK)


def test_a_gradient_by_hand():
    p = np.array([[0.1, 0.7, 0.2]])
    gradient, _ = run(np.log(p), [[1]], 1.0)
    np.testing.assert_allclose(gradient, [[-0.1, 0.3, -0.2]], atol=1e-15)
    entropy = -(p * np.log(p)).sum()
    gradient, _ = run(np.log(p), [[1]], 0.0, 1.0, temperature=1.0)
    np.testing.assert_allclose(gradient, -p * (np.log(p) + entropy), atol=1e-15)


def test_wrong_calls_are_noticed():
    x, nvec = logits(5, 18), (9, 9)
    actions = some_actions(5, nvec) % 8
    want = ng.log_prob_entropy_vjp(x, actions, 1.0, 0.5, nvec=nvec)
    np.testing.assert_allclose(run(x, actions, 1.0, 0.5, nvec)[0], want, rtol=0, atol=1e-6)
    wrong = (
        run(x, actions + 1, 1.0, 0.5, nvec),
        run(x, actions, 1.0, 0.5, (8, 10)),
        run(x, actions, 1.0, -0.5, nvec),
        run(x, actions, 1.0, 0.5, nvec, temperature=1.1),
    )
    for gradient, _ in wrong:
        assert (np.abs(gradient - want).max(axis=1) > 1e-3).all()


@pytest.mark.parametrize("nvec", [(1, 1, 1), (3, 11, 5), (8, 8, 3), (7, 9, 16), (1, 15, 1), (17, 30, 2), (5, 64, 1)])
def test_heads_begin_anywhere(nvec):
    x = logits(3, sum(nvec), REALS[len(nvec) % 2 ^ nvec[0] % 2])
    check(x, some_actions(3, nvec), 1.0, 0.5, nvec)


def test_heads_of_a_block():
    check(logits(1, 34), some_actions(1, (30, 4)), 1.0, 0.5, (30, 4), threads=BLOCK)


def test_cotangents():
    x, nvec = logits(4, 13), (5, 8)
    actions, r = some_actions(4, nvec), np.random.default_rng(2)
    for a, b in ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (r.normal(size=4), r.normal(size=4)), (-3.0, 1e-3)):
        check(x, actions, a, b, nvec)


def test_temperatures_and_masks():
    x, nvec, r = logits(6, 23, np.float64), (6, 9, 8), np.random.default_rng(8)
    mask = r.random((6, 23)) < 0.5
    mask[:, [2, 9, 20]] = True
    actions = some_actions(6, nvec)  # some of them forbidden: they have no slope of their own
    assert not np.take_along_axis(mask, actions + np.array([0, 6, 15]), axis=1).all()
    for temperature in (1.0, 0.3, 1e9, np.array([0.5, 1, 2, 1e-9, 1e9, 3.0])):
        check(x, actions, 1.0, 0.5, nvec, mask, temperature)
        check(x, actions, 1.0, 0.5, nvec, None, temperature)


def test_invalid_rows():
    """A head without an allowed column, a NaN, an action outside of its head; a NaN elsewhere is not looked at."""
    x, nvec = logits(9, 19), (3, 11, 5)
    mask, actions = np.ones((9, 19), bool), some_actions(9, nvec)
    mask[0, 3:14], mask[1, 7] = False, False
    x[1, 7], x[2, 7], x[3, :3] = np.nan, np.nan, -np.inf
    actions[4, 0], actions[5, 1], actions[6, 2], actions[7, 1] = 3, -1, 2**62, -(2**62)
    got = check(x, actions, 1.0, 0.5, nvec, mask)
    np.testing.assert_array_equal(np.isnan(got).all(axis=1), [True, False, True, True, True, True, True, True, False])
    check(x[:1], actions[:1], 1.0, 0.5, nvec, mask[:1], threads=BLOCK)


def test_numbers_at_the_ends():
    for dtype in REALS:
        x = rows_at_the_ends(dtype)
        for chosen, temperature in itertools.product((0, 1, 8), (1.0, 2.0**-20, 2.0**64)):
            got = check(x, np.full((8, 1), chosen), 1.0, 0.5, temperature=temperature)
            assert (got[4] == 0).all()  # one category is all there is: it does not move
        negative = x.copy()
        negative[1, 1] = np.array([0xFFC00000], np.uint32).view(np.float32)[0]  # the NaN that 0 / 0 makes
        check(negative, np.zeros((8, 1), int), 1.0, 0.5)


def test_temperatures_out_of_range_mark_the_row():
    x = logits(6, 12)
    temperatures = np.array([1, -1, np.nan, 2.0**65, 0, 3.0])
    gradient, invalid = run(x, np.zeros((6, 1)), 1.0, 0.5, temperatures=temperatures)
    assert invalid == [1, 2, 3, 4]
    np.testing.assert_array_equal(np.isnan(gradient).all(axis=1), [False, True, True, True, True, False])


def test_layouts():
    x, nvec = logits(6, 19), (3, 11, 5)
    actions = some_actions(6, nvec)
    want = bits_of(run(x, actions, 1.0, 0.5, nvec)[0])
    wide, target = np.full((6, 24), 9, np.float32), np.full((6, 40), UNTOUCHED, np.float32)
    wide[:, :19] = x
    for cells in (np.asfortranarray(x), wide[:, :19], x.reshape(2, 3, 19)):
        np.testing.assert_array_equal(bits_of(run(cells, actions, 1.0, 0.5, nvec)[0]).reshape(6, 19), want)
    run(x, actions, 1.0, 0.5, nvec, out=target[None, :, 1:39:2])
    np.testing.assert_array_equal(bits_of(np.ascontiguousarray(target[:, 1:39:2])), want)
    assert (target[:, ::2] == UNTOUCHED).all()


def test_halves():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="pip install ml_dtypes")
    for dtype, columns in itertools.product((np.float16, ml_dtypes.bfloat16), (5, 16, 37)):
        x, nvec = logits(3, columns).astype(dtype), (2, columns - 2)
        actions = some_actions(3, nvec)
        got, _ = run(x, actions, 1.0, 0.5, nvec)
        wide, _ = run(x.astype(np.float32), actions, 1.0, 0.5, nvec)
        np.testing.assert_array_equal(got, wide.astype(dtype))
    check(x, actions, 1.0, 0.5, nvec)


def test_a_row_has_the_same_bits_in_any_batch():
    x, nvec = logits(5, 40), (13, 27)
    actions = some_actions(5, nvec)
    whole, _ = run(x, actions, 1.0, 0.5, nvec)
    for row in range(5):
        alone, _ = run(x[row : row + 1], actions[row], 1.0, 0.5, nvec)
        np.testing.assert_array_equal(bits_of(alone[0]), bits_of(whole[row]))
    some, _ = run(x, actions, 1.0, 0.5, nvec, part=(1, 4))
    np.testing.assert_array_equal(bits_of(some[1:4]), bits_of(whole[1:4]))
    assert (some[[0, 4]] == UNTOUCHED).all()
