"""What a sample must not depend on, over random shapes, ids and layouts (hypothesis)."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import numgumbel as ng

settings.register_profile("numgumbel", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("numgumbel")

reals = st.sampled_from([np.float32, np.float64])
keys = st.builds(ng.key, st.integers(), st.text(max_size=5))
steps = st.one_of(st.integers(0, 5), st.sampled_from([2**30 - 1, 2**30, 2**62]))
ids = st.integers(-(2**63), 2**63 - 1)
sizes = st.one_of(st.integers(1, 40), st.sampled_from([64, 65, 127, 1023, 1024, 1025, 2050]))


@st.composite
def batches(draw, min_rows=1):
    """(logits, row ids, column ids): a batch with ids of its own, some cells excluded."""
    rows, columns = draw(st.integers(min_rows, 8)), draw(sizes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.normal(scale=draw(st.sampled_from([0.1, 1, 30])), size=(rows, columns)).astype(draw(reals))
    x[rng.random(x.shape) < draw(st.sampled_from([0, 0.3]))] = -np.inf
    x[np.arange(rows), rng.integers(columns, size=rows)] = 0
    row_ids = np.array(draw(st.lists(ids, min_size=rows, max_size=rows, unique=True)), np.int64)
    col_ids = (
        rng.choice(draw(st.sampled_from([columns, 10 * columns, 2**35 - 16])), columns, replace=False)
        if columns < 1000
        else None
    )
    return x, row_ids, np.arange(columns) if col_ids is None else col_ids


def everything(key, x, **given):
    """All results of one request, each with its rows along the first axis."""
    k = min(3, x.shape[-1])
    top = ng.gumbel_topk(key, x, k, **given)
    drawn = ng.draw(key, x, want=("score", "log_prob", "logsumexp", "entropy"), **given)
    nvec = [x.shape[-1]] if x.shape[-1] < 3 else [x.shape[-1] // 3, x.shape[-1] - x.shape[-1] // 3]
    actions = ng.sample_actions(key, x, nvec=nvec, invalid="mark", **given)
    return (
        *drawn,
        *actions,
        *ng.sample_actions(key, x, deterministic=True, **given),
        *ng.log_prob_entropy(x, actions.action, nvec=nvec, invalid="mark"),
        ng.log_prob_entropy_vjp(x, drawn.index, np.ones(len(x), x.dtype), np.full(len(x), 0.5, x.dtype)),
        ng.conditional_gumbel(key, x, drawn.index, sample=3, **given),
        ng.categorical(key, x, **given),
        ng.categorical(key, x, method="inverse_cdf", **given),
        ng.gumbel_softmax(key, x, **given),
        ng.gumbel_softmax(key, x, hard=True, **given),
        ng.gumbel_softmax_vjp(
            key, x, np.cos(np.arange(x.size)).reshape(x.shape)[:1].repeat(len(x), 0).astype(x.dtype), **given
        ),
        *top,
    )


def assert_same(left, right):
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a, b)


@given(keys, steps, batches(), st.randoms())
def test_permuting_rows_with_their_ids_permutes_results(key, step, batch, random):
    x, rows, cols = batch
    order = random.sample(range(len(x)), len(x))
    wanted = [part[order] for part in everything(key, x, rows=rows, cols=cols, step=step)]
    assert_same(everything(key, x[order], rows=rows[order], cols=cols, step=step), wanted)


@given(keys, steps, batches(min_rows=2), st.data())
def test_splitting_a_batch_changes_nothing(key, step, batch, data):
    x, rows, cols = batch
    at = data.draw(st.integers(1, len(x) - 1))
    whole = everything(key, x, rows=rows, cols=cols, step=step)
    parts = [everything(key, x[s], rows=rows[s], cols=cols, step=step) for s in (slice(at), slice(at, None))]
    assert_same([np.concatenate(pair) for pair in zip(*parts, strict=True)], whole)
    # Positions are the default ids, so a split batch that says where it starts gives the same too.
    positions = np.arange(len(x))
    rest = everything(key, x[at:], rows=positions[at:], cols=cols, step=step)
    assert_same(rest, [part[at:] for part in everything(key, x, cols=cols, step=step)])


@given(keys, steps, batches(), st.data())
def test_a_subset_of_columns_with_their_ids_keeps_the_noise(key, step, batch, data):
    x, rows, cols = batch
    chosen = np.array(data.draw(st.lists(st.integers(0, x.shape[1] - 1), min_size=1, unique=True)))
    whole = ng.gumbel(key, rows=rows, cols=cols, step=step, dtype=x.dtype)
    np.testing.assert_array_equal(ng.gumbel(key, rows=rows, cols=cols[chosen], step=step, dtype=x.dtype), whole[:, chosen])
    # Independence of irrelevant alternatives, sample by sample: a winner that is still there still wins.
    index = ng.categorical(key, x, rows=rows, cols=cols, step=step)
    x[:, chosen] = np.where(x[:, chosen] == -np.inf, -1, x[:, chosen])
    index = ng.categorical(key, x, rows=rows, cols=cols, step=step)
    subset = ng.categorical(key, x[:, chosen], rows=rows, cols=cols[chosen], step=step)
    kept = np.isin(index, chosen)
    np.testing.assert_array_equal(chosen[subset][kept], index[kept])


@given(keys, steps, batches(), st.integers(1, 4))
def test_n_draws_equal_n_calls(key, step, batch, n):
    x, rows, cols = batch
    given_ids = {"rows": rows, "cols": cols}
    for function in (
        lambda **o: ng.categorical(key, x, **given_ids, **o),
        lambda **o: ng.categorical(key, x, method="inverse_cdf", **given_ids, **o),
        lambda **o: ng.gumbel_softmax(key, x, **given_ids, **o),
        lambda **o: ng.gumbel_topk(key, x, 1, **given_ids, **o),
        lambda **o: ng.gumbel(key, x.shape, **given_ids, **o),
        lambda **o: tuple(ng.draw(key, x, want=("score", "log_prob", "logsumexp", "entropy"), **given_ids, **o)),
        lambda **o: tuple(ng.sample_actions(key, x, **given_ids, **o)),
        lambda **o: ng.conditional_gumbel(
            key, x, x.argmax(axis=1), **given_ids, **{"sample" if name == "step" else name: o[name] for name in o}
        ),
    ):
        together = function(n=n, step=step)
        apart = [function(step=step + d) for d in range(n)]
        if isinstance(together, tuple):
            for number, part in enumerate(together):
                np.testing.assert_array_equal(part, np.stack([a[number] for a in apart]))
        else:
            np.testing.assert_array_equal(together, np.stack(apart))


@given(keys, batches(), st.data())
def test_layout_does_not_matter(key, batch, data):
    x, rows, cols = batch
    wide = np.full((len(x) * 2, x.shape[1] * 3), np.nan, x.dtype)
    view = wide[::-2, 1::3]
    view[:] = x
    fortran = np.asfortranarray(x)
    read_only = x.copy()
    read_only.flags.writeable = False
    wanted = everything(key, x, rows=rows, cols=cols)
    for other in (view, fortran, read_only):
        assert_same(everything(key, other, rows=rows, cols=cols), wanted)


@given(
    keys,
    hnp.array_shapes(min_dims=1, max_dims=5, max_side=5),
    st.data(),
    reals,
)
def test_any_shape_and_axis_equals_its_rows_one_by_one(key, shape, data, dtype):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=shape).astype(dtype)
    order = data.draw(st.permutations(range(len(shape))))
    x = x.transpose(order)
    rows_last = np.moveaxis(x, axis, -1)
    flat = rows_last.reshape(-1, rows_last.shape[-1])
    alone = [ng.categorical(key, row, rows=np.int64(i)) for i, row in enumerate(flat)]
    np.testing.assert_array_equal(ng.categorical(key, x, axis=axis), np.reshape(alone, rows_last.shape[:-1]))


@given(keys, steps, batches(min_rows=2), st.data())
def test_one_changed_logit_changes_no_other_row(key, step, batch, data):
    x, rows, cols = batch
    changed = x.copy()
    i, j = data.draw(st.integers(0, len(x) - 1)), data.draw(st.integers(0, x.shape[1] - 1))
    changed[i, j] = data.draw(st.sampled_from([50.0, -50.0, np.inf, 0.1]))
    others = np.arange(len(x)) != i
    before = everything(key, x, rows=rows, cols=cols, step=step)
    after = everything(key, changed, rows=rows, cols=cols, step=step)
    assert_same([part[others] for part in after], [part[others] for part in before])


@given(keys, batches())
def test_greedy_index_and_relaxation_agree_with_the_sample(key, batch):
    """One field under all operations: top-1, the largest relaxed entry and the sample are the same category."""
    x, rows, cols = batch
    index = ng.categorical(key, x, rows=rows, cols=cols)
    np.testing.assert_array_equal(ng.gumbel_topk(key, x, 1, rows=rows, cols=cols).index[:, 0], index)
    hard = ng.gumbel_softmax(key, x, hard=True, rows=rows, cols=cols)
    np.testing.assert_array_equal(hard.argmax(axis=1), index)
    soft = ng.gumbel_softmax(key, x, tau=0.5, rows=rows, cols=cols)
    np.testing.assert_array_equal(soft[np.arange(len(x)), index], soft.max(axis=1))


def test_a_sampler_that_depends_on_the_batch_is_caught():
    """The checks above can fail: noise that is drawn in order of arrival does not survive a split."""
    x = np.zeros((8, 6))

    def stream(x):
        return (x + np.random.default_rng(0).gumbel(size=x.shape)).argmax(axis=1)

    split = np.concatenate([stream(x[:3]), stream(x[3:])])
    assert not np.array_equal(split, stream(x))
