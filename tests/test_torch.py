"""`numgumbel.torch`: relaxed samples and distributions in place of torch's, with gradients, compiled, mapped.

Tests named after torch's are its own, of the files that they cite, rewritten for this package's functions.
"""

import doctest
import importlib
import math
import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch", reason='pip install -e ".[torch]"')

import torch.nn.functional as F  # noqa: E402
from torch import distributions  # noqa: E402

import numgumbel as ng  # noqa: E402
import numgumbel.torch as nt  # noqa: E402

KEY = ng.key(5, "torch")
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def logits(*shape, dtype=torch.float64, seed=0):
    return torch.from_numpy(np.random.default_rng([seed, *shape]).normal(scale=2, size=shape)).to(dtype)


# --- tensors in the functions of the package ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_in_tensors_out(dtype):
    x = logits(4, 3, 7, dtype=dtype)
    array = (
        x.view(torch.int16).numpy().view(pytest.importorskip("ml_dtypes").bfloat16) if dtype == torch.bfloat16 else x.numpy()
    )
    mask = torch.rand(4, 3, 7, generator=torch.Generator().manual_seed(1)) < 0.8
    mask[..., 0] = True
    calls = {
        "index": lambda a, m: ng.categorical(KEY, a, mask=m, n=2),
        "axis": lambda a, m: ng.categorical(KEY, a, axis=1, step=9),
        "draw": lambda a, m: ng.draw(KEY, a, mask=m, want=("score", "log_prob", "logsumexp", "entropy")),
        "actions": lambda a, m: ng.sample_actions(KEY, a, mask=m),
        "top-k": lambda a, m: ng.gumbel_topk(KEY, a, 3),
        "soft": lambda a, m: ng.gumbel_softmax(KEY, a, tau=0.5, axis=0),
        "slope": lambda a, m: ng.gumbel_softmax_vjp(KEY, a, a, tau=0.5),
        "field": lambda a, m: ng.conditional_gumbel(KEY, a, ng.categorical(KEY, a)),
    }
    for name, call in calls.items():
        got, want = call(x, mask), call(array, mask.numpy())
        many = isinstance(want, tuple)
        for a, b in zip(got if many else [got], want if many else [want], strict=True):
            if b is None:
                assert a is None
                continue
            assert isinstance(a, torch.Tensor), name
            there = a.view(torch.int16).numpy() if a.dtype == torch.bfloat16 else a.numpy()
            np.testing.assert_array_equal(there, b.view(np.int16) if b.dtype.kind == "V" else b, name)


def test_out_and_memory():
    x = logits(5, 9)
    out, top = torch.empty(5, dtype=torch.int32), ng.gumbel_topk(KEY, x, 2)
    assert ng.categorical(KEY, x, out=out) is out
    np.testing.assert_array_equal(out.numpy(), ng.categorical(KEY, x.numpy()))
    again = ng.TopK(*(torch.empty_like(each) for each in top))
    got = ng.gumbel_topk(KEY, x, 2, out=again)
    assert all(a is b for a, b in zip(got, again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(got, top, strict=True))
    before = x.clone()
    ng.gumbel_softmax(KEY, x)
    assert torch.equal(x, before)


def test_families_may_mix_on_the_host():
    x, mask = logits(3, 4), np.array([True, False, True, True])
    np.testing.assert_array_equal(ng.categorical(KEY, x, mask=mask).numpy(), ng.categorical(KEY, x.numpy(), mask=mask))
    np.testing.assert_array_equal(
        ng.categorical(KEY, x.numpy(), mask=torch.from_numpy(mask)), ng.categorical(KEY, x.numpy(), mask=mask)
    )


def test_tensors_that_are_not_taken():
    with pytest.raises(TypeError, match="logits must be float32, float64, float16 or bfloat16, got int64"):
        ng.categorical(KEY, torch.zeros(3, 4, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"got torch.sparse_coo: call tensor.to_dense\(\)"):
        ng.categorical(KEY, torch.eye(3).to_sparse())
    with pytest.raises(TypeError, match="got one on meta"):
        ng.categorical(KEY, torch.zeros(3, 4, device="meta"))
    with pytest.raises(ValueError, match="1 of 2 rows invalid"):
        ng.categorical(KEY, torch.tensor([[0.0, 1.0], [0.0, math.nan]]))


def test_it_is_not_imported_unasked():
    code = "import sys, numgumbel as ng; ng.categorical(ng.key(1), [[0.0, 1.0]]); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_docstrings():
    """Every example in a docstring."""
    for name in ("distributions", "keys", "policies", "relaxed"):
        result = doctest.testmod(importlib.import_module(f"numgumbel.torch.{name}"))
        assert result.failed == 0, name
        assert result.attempted > 0, name


# --- keys ---------------------------------------------------------------------------------------------------------------------


def test_manual_seed_decides():
    x = logits(6, 5)
    torch.manual_seed(7)
    first = [nt.gumbel_softmax(x) for _ in range(3)]
    torch.manual_seed(7)
    again = [nt.gumbel_softmax(x) for _ in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    a, b = (torch.Generator().manual_seed(3) for _ in range(2))
    state = torch.get_rng_state()
    assert torch.equal(nt.gumbel_softmax(x, generator=a), nt.gumbel_softmax(x, generator=b))
    assert torch.equal(torch.get_rng_state(), state)


def test_addresses():
    x = logits(6, 5)
    got = nt.gumbel_softmax(x, 0.7, key=KEY, step=3, rows=torch.arange(6) + 9)
    np.testing.assert_array_equal(got.numpy(), ng.gumbel_softmax(KEY, x.numpy(), tau=0.7, step=3, rows=np.arange(6) + 9))
    with pytest.raises(TypeError, match="one of key and generator"):
        nt.gumbel_softmax(x, key=KEY, generator=torch.Generator())
    with pytest.raises(TypeError, match="key must be a Key"):
        nt.gumbel_softmax(x, key=5)
    assert len({int(nt.draw_key(torch.Generator().manual_seed(seed))) for seed in range(1000)}) == 1000


# --- torch's tests of gumbel_softmax: test/test_nn.py -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "dim", "count_expected"),
    [((5,), 0, 1), ((5,), -1, 1), ((5, 4), 0, 4), ((5, 4), 1, 5), ((5, 4), -1, 5), ((5, 4), -2, 4), ((5, 4, 3), 1, 15),
     ((5, 4, 3), -3, 12)],
)  # fmt: skip
def test_gumbel_softmax_st_shapes(dtype, shape, dim, count_expected):
    """test_nn.py, _test_gumbel_softmax_st_shapes: sums, ones and shapes of hard samples."""
    x = torch.randn(shape, dtype=torch.float64).to(dtype)
    y = nt.gumbel_softmax(x, hard=True, dim=dim)
    assert y.dtype == dtype
    assert y.min() >= 0
    assert y.shape == x.shape
    assert int(y.sum().item()) == count_expected
    assert int((y == 1).sum()) == count_expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gumbel_softmax_straight_through(dtype):
    """test_nn.py, _test_gumbel_softmax_straight_through: counts of 100 hard samples are within 5 standard deviations."""
    num_draws = 100
    x = torch.tensor([[0.2, 0.8, 0.1]], dtype=dtype).reshape(1, 3).requires_grad_()
    probs = x.softmax(dim=-1)
    counts, torch_counts = torch.zeros_like(x), torch.zeros_like(x)
    for _ in range(num_draws):
        counts = counts + nt.gumbel_softmax(x, hard=True)
    assert counts.min() >= 0
    assert counts.sum().item() == num_draws
    expected = probs * num_draws
    z = (counts - expected) / (expected * (1 - probs)).sqrt()
    assert z.abs().max().item() < 5
    counts.sum().backward()
    assert torch_counts.sum() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gumbel_softmax_grad(dtype):
    """test_nn.py, _test_gumbel_softmax_grad: soft and hard samples of one seed have the same gradient."""
    x_soft = torch.zeros(10, 10, dtype=dtype, requires_grad=True)
    x_hard = torch.zeros(10, 10, dtype=dtype, requires_grad=True)
    seed = torch.random.get_rng_state()
    y_soft = nt.gumbel_softmax(x_soft, hard=False)
    torch.random.set_rng_state(seed)
    y_hard = nt.gumbel_softmax(x_hard, hard=True)
    y_soft.sum().backward()
    y_hard.sum().backward()
    tol = 2 * torch.finfo(dtype).eps
    torch.testing.assert_close(x_soft.grad, x_hard.grad, atol=tol, rtol=0)


def test_edge_values():
    """Logits of +-255 in every dtype (test_nn.py has float16 among them), tau 0, one category, an empty batch."""
    for dtype in DTYPES:
        x = torch.tensor([[255.0, -255.0, 0.0]] * 4, dtype=dtype, requires_grad=True)
        y = nt.gumbel_softmax(x, 0.1)
        assert y.isfinite().all()
        y[:, 0].sum().backward()
        assert x.grad.isfinite().all()
    x = logits(3, 6).requires_grad_()
    zero = nt.gumbel_softmax(x, 0.0, key=KEY)
    assert torch.equal(zero, nt.gumbel_softmax(x, 1.0, key=KEY, hard=True))
    with pytest.raises(ValueError, match="tau"):
        zero.sum().backward()
    assert torch.equal(nt.gumbel_softmax(logits(3, 1)), torch.ones(3, 1, dtype=torch.float64))
    assert nt.gumbel_softmax(torch.zeros(0, 4)).shape == (0, 4)


# --- gradients ----------------------------------------------------------------------------------------------------------------

CASES = {
    "plain": {},
    "axis": {"dim": 0},
    "mask": {"mask": torch.tensor([True, False, True, True])},
    "ids": {"rows": torch.tensor([7, 3, 5]), "cols": torch.tensor([9, 1, 2, 30])},
}


@pytest.mark.parametrize("case", CASES)
def test_gradcheck(case):
    x = logits(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: nt.gumbel_softmax(a, 0.7, key=KEY, **CASES[case]), x)


@pytest.mark.parametrize("case", CASES)
def test_gradcheck_of_the_hard_surrogate(case):
    """The gradient of a hard sample is that of the soft one, which is what is differentiated."""
    x, c = logits(3, 4).requires_grad_(), logits(3, 4, seed=1)
    soft, hard = (nt.gumbel_softmax(x, 0.7, key=KEY, hard=hard, **CASES[case]) for hard in (False, True))
    a, b = (torch.autograd.grad((c * y).sum(), x)[0] for y in (soft, hard))
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_gradcheck_of_the_temperature(shape):
    x, tau = logits(3, 4), torch.full(shape, 0.8, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: nt.gumbel_softmax(x, t, key=KEY), tau)
    y = nt.gumbel_softmax(x, tau, key=KEY, hard=True)
    slope = torch.autograd.grad((logits(3, 4, seed=1) * y).sum(), tau)[0]
    soft = nt.gumbel_softmax(x, tau, key=KEY)
    torch.testing.assert_close(slope, torch.autograd.grad((logits(3, 4, seed=1) * soft).sum(), tau)[0])


@pytest.mark.parametrize("nvec", [None, (2, 3)])
def test_gradcheck_of_policies(nvec):
    x = logits(4, 5).requires_grad_()
    mask = torch.tensor([True, True, True, False, True])
    actions = ng.sample_actions(KEY, x, nvec=nvec, mask=mask).action
    assert torch.autograd.gradcheck(lambda a: tuple(nt.log_prob_entropy(a, actions, nvec=nvec, mask=mask)), x)


def test_a_second_gradient_is_a_clear_error():
    x = logits(3, 4).requires_grad_()
    (slope,) = torch.autograd.grad(nt.gumbel_softmax(x, key=KEY)[:, 0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="the gradient of gumbel_softmax has no gradient"):
        slope.sum().backward()
    told = nt.log_prob_entropy(x, torch.tensor([0, 1, 2]))
    (slope,) = torch.autograd.grad(told.log_prob.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="the gradient of log_prob_entropy has no gradient"):
        slope.sum().backward()


def test_what_is_kept_for_the_backward_pass():
    """A soft sample keeps itself, a hard one the logits: nothing of the size of either beside."""
    x = logits(64, 1000).requires_grad_()
    for hard in (False, True):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):  # noqa: B023
            y = nt.gumbel_softmax(x, hard=hard)
        large = [each for each in kept if each.numel() >= x.numel()]
        assert len(large) == 1
        assert large[0].data_ptr() == (x if hard else y).data_ptr()


def test_memory_stays_below_torchs():
    """Peak of NumPy's and Python's allocations here, all of which results are; torch's own are not seen by it."""
    x = torch.zeros(64, 20_000, requires_grad=True)
    nt.gumbel_softmax(x[:2]).sum().backward()
    tracemalloc.start()
    nt.gumbel_softmax(x, hard=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2 * 4 * x.numel()


# --- memory of large results --------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(monkeypatch):
    """Memory that nobody else has left something in: of 8 MiB at most."""
    memory = importlib.import_module("numgumbel.torch.memory").Kept(8 << 20)
    monkeypatch.setattr(importlib.import_module("numgumbel.torch.operators"), "empty_like", memory.empty_like)
    return memory


def test_memory_of_a_dead_result_is_that_of_the_next(kept):
    x = torch.zeros(16, 32_000)
    first = nt.gumbel_softmax(x, key=KEY)
    place, want = first.data_ptr(), first.clone()
    assert kept.nbytes == 0
    del first
    assert kept.nbytes == x.nbytes
    again = nt.gumbel_softmax(x, key=KEY)
    assert (again.data_ptr(), kept.nbytes) == (place, 0)
    assert torch.equal(again, want)


@pytest.mark.parametrize(
    "holder", [lambda y: y[3:], lambda y: y.numpy(), lambda y: y.numpy()[2:, 5], lambda y: y.detach().view(-1), np.asarray]
)
def test_memory_that_is_referred_to_is_not_given_again(kept, holder):
    x = torch.zeros(16, 32_000)
    first = nt.gumbel_softmax(x, key=KEY)
    place, held = first.data_ptr(), holder(first)
    del first
    assert kept.nbytes == 0
    assert nt.gumbel_softmax(x, key=KEY).data_ptr() != place
    kept.clear()
    del held
    assert kept.nbytes == x.nbytes


def test_no_new_memory_in_a_training_step(kept):
    """A sample and a gradient lie where those of the step before lay; with gradients that are right."""
    x = logits(32, 32_000, dtype=torch.float32).requires_grad_()
    slopes, places = logits(32, 32_000, dtype=torch.float32, seed=1), []
    for step in range(4):
        y = nt.gumbel_softmax(x, 0.5, key=KEY, step=step)
        y.backward(slopes)
        places.append({y.data_ptr(), x.grad.data_ptr()})
        want = ng.gumbel_softmax_vjp(KEY, x.detach().numpy(), slopes.numpy(), tau=0.5, step=step, sample=y.detach().numpy())
        np.testing.assert_array_equal(x.grad.numpy(), want)
        del y
        x.grad = None
    assert places == places[:1] * 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_kept_memory_is_of_any_dtype_and_layout(kept, dtype):
    """What lies in it before is not seen."""
    x = logits(700, 1100, dtype=dtype)
    want = [ng.gumbel_softmax(KEY, each, hard=hard) for each in (x, x.T) for hard in (False, True)]
    for _ in range(2):
        got = [nt.gumbel_softmax(each, key=KEY, hard=hard) for each in (x, x.T) for hard in (False, True)]
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
        assert {each.dtype for each in got} == {dtype}
        for each in got:
            each.fill_(7)


def test_what_is_kept_is_bounded(kept):
    """The oldest goes first, what is too large at once, and small results are left to the allocator."""
    x = torch.zeros(8, 1 << 17)  # 4 MiB
    several = [nt.gumbel_softmax(x, key=KEY) for _ in range(3)]
    places = [each.data_ptr() for each in several]
    while several:
        del several[0]
    assert kept.nbytes == 8 << 20
    assert [nt.gumbel_softmax(x, key=KEY).data_ptr() in places[1:] for _ in range(2)] == [True, True]
    kept.clear()
    nt.gumbel_softmax(torch.zeros(9, 1 << 18), key=KEY)  # 9 MiB
    nt.gumbel_softmax(torch.zeros(100, 100), key=KEY)
    assert kept.nbytes == 0


def test_kept_memory_does_not_wait(kept):
    """Where another thread, or the collection of garbage at any moment, finds it at work."""
    x = torch.zeros(8, 1 << 17)
    y = nt.gumbel_softmax(x, key=KEY)
    with kept._busy:
        other = nt.gumbel_softmax(x, key=KEY)
        assert torch.equal(y, other)
        del y, other
    assert kept.nbytes == 0


FORKED = """
import os
import numgumbel.torch.memory as memory

with memory._kept._busy:
    child = os.fork()
    if child == 0:
        os._exit(memory._kept._busy.locked())
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_waits_for_no_thread_of_its_parent():
    """In a process of its own: other packages warn of forks in this one."""
    subprocess.run([sys.executable, "-c", FORKED], check=True)


def test_kept_memory_in_many_threads(kept):
    """Every sample is its own."""
    x = torch.zeros(8, 1 << 15)
    want = [nt.gumbel_softmax(x, key=KEY, step=step).clone() for step in range(4)]

    def work(step):
        return all(torch.equal(nt.gumbel_softmax(x, key=KEY, step=step), want[step]) for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_empty_cache():
    memory = importlib.import_module("numgumbel.torch.memory")._kept
    nt.gumbel_softmax(torch.zeros(8, 1 << 17), key=KEY)
    assert memory.nbytes > 0
    nt.empty_cache()
    assert memory.nbytes == 0


# --- compiled, mapped, autocast -----------------------------------------------------------------------------------------------


def test_opcheck():
    x, number = logits(3, 4).requires_grad_(), torch.tensor(7)
    address = number, 2, 0.5, None, -1, None, None, None, None
    for hard in (False, True):
        torch.library.opcheck(torch.ops.numgumbel.gumbel_softmax.default, (x, hard, *address))
    sample = nt.gumbel_softmax(x.detach(), 0.5)
    torch.library.opcheck(torch.ops.numgumbel.gumbel_softmax_vjp.default, (x.detach(), sample, sample, *address))


def test_compile_without_a_graph_break():
    """(The backend that traces and plans, without a C++ compiler: what it gets is what every other gets.)"""

    def loss(a):
        return nt.gumbel_softmax(a, 0.5).square().sum(0)

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    x, y = logits(6, 5).requires_grad_(), logits(6, 5).requires_grad_()
    torch.manual_seed(3)
    eager = [loss(x) for _ in range(3)]
    torch.manual_seed(3)
    traced = [compiled(y) for _ in range(3)]
    for a, b in zip(eager, traced, strict=True):
        torch.testing.assert_close(a, b)
    assert len({float(each[0].detach()) for each in traced}) == 3
    sum(each.sum() for each in eager).backward()
    sum(each.sum() for each in traced).backward()
    torch.testing.assert_close(x.grad, y.grad)

    def two(a):
        return nt.gumbel_softmax(a), nt.gumbel_softmax(a)

    first, second = torch.compile(two, fullgraph=True, backend="aot_eager")(x)
    assert not torch.equal(first, second)
    with pytest.raises(Exception, match=r"generator cannot be passed where torch\.compile traces"):
        torch.compile(lambda a: nt.gumbel_softmax(a, generator=torch.default_generator), backend="aot_eager", fullgraph=True)(x)


@pytest.mark.filterwarnings("ignore")  # of what torch.compile meets on its way
def test_compile_around_what_breaks_the_graph():
    """Plain functions and policies run between two graphs, as they do eagerly."""
    actions = torch.tensor([0, 1, 2])

    def policy(a):
        made = nt.Categorical(logits=a)
        action = made.sample()
        return (made.log_prob(action) * torch.arange(3)).sum() + made.entropy().sum()

    for function in (
        lambda a: ng.categorical(KEY, a) + 1,
        lambda a: ng.sample_actions(KEY, a).action + 1,
        lambda a: nt.log_prob_entropy(a, actions).log_prob.sum() * 2,
        lambda a: nt.gumbel_softmax(a, hard=True, estimator="gumbel_rao")[:, 0].sum(),
        policy,
    ):
        x, results = logits(3, 4).requires_grad_(), []
        for each in (function, torch.compile(function, backend="aot_eager")):
            torch.manual_seed(1)
            result = each(x)
            results.append((result.detach(), torch.autograd.grad(result, x)[0] if result.requires_grad else None))
        for a, b in zip(*results, strict=True):
            assert (a is b is None) or torch.allclose(a, b)


def test_vmap():
    x, rows = logits(4, 3, 5), torch.arange(12).reshape(4, 3)
    want = torch.stack([nt.gumbel_softmax(each, 0.5, key=KEY) for each in x])
    assert torch.equal(torch.vmap(lambda a: nt.gumbel_softmax(a, 0.5, key=KEY))(x), want)
    turned = torch.vmap(lambda a: nt.gumbel_softmax(a, 0.5, key=KEY), in_dims=2, out_dims=2)(x.movedim(0, 2))
    assert torch.equal(turned, want.movedim(0, 2))
    named = torch.vmap(lambda a, r: nt.gumbel_softmax(a, 0.5, key=KEY, rows=r))(x, rows)
    assert torch.equal(named, nt.gumbel_softmax(x, 0.5, key=KEY, rows=rows))
    slopes = torch.vmap(torch.func.grad(lambda a: nt.gumbel_softmax(a, 0.5, key=KEY)[:, 0].sum()))(x)
    for each, slope in zip(x, slopes, strict=True):
        single = torch.func.grad(lambda a: nt.gumbel_softmax(a, 0.5, key=KEY)[:, 0].sum())(each)
        torch.testing.assert_close(slope, single)


def test_autocast():
    x = logits(6, 5, dtype=torch.float32).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = nt.gumbel_softmax(x @ torch.eye(5), key=KEY)
    assert y.dtype == torch.bfloat16
    y[:, 0].sum().backward()
    assert x.grad.dtype == torch.float32
    torch.testing.assert_close(y.float(), nt.gumbel_softmax(x.bfloat16().float(), key=KEY), atol=2.0**-8, rtol=2.0**-8)


# --- estimators of a gradient whose true value is known -----------------------------------------------------------------------


def true_gradient(x, f):
    """Of E[f(one-hot)], by adding up the categories."""
    x = x.clone().requires_grad_()
    probabilities = torch.softmax(x, -1)
    values = torch.stack([f(torch.eye(x.shape[-1], dtype=x.dtype)[i]) for i in range(x.shape[-1])])
    return torch.autograd.grad((probabilities * values).sum(), x)[0]


def estimate(x, f, count, **options):
    """(mean, standard deviation of one estimate) over so many samples."""
    rows = x.expand(count, -1).clone().requires_grad_()
    y = nt.gumbel_softmax(rows, hard=True, key=ng.key(3, "estimators"), **options)
    slopes = torch.autograd.grad(f(y).sum(), rows)[0]
    return slopes.mean(0), slopes.std(0)


GOAL = torch.tensor([0.45, 0.1, 0.3, 0.15], dtype=torch.float64)


def quadratic(y):
    return (y - GOAL).square().sum(-1)


def linear(y):
    return (y * GOAL).sum(-1)


# The largest bias allowed, in parts of the gradient's size: all but the last are of first order only, and it shows here.
BIASES = {"st": ({}, 1.0), "gumbel_rao": ({"samples": 20}, 1.0), "gapped": ({}, 1.5), "reinmax": ({}, 0.05)}


@pytest.mark.parametrize("estimator", BIASES)
def test_estimators(estimator):
    """Bias and deviation on a quadratic of four categories (printed, pytest -s); all point down the true gradient."""
    x, (options, most) = torch.tensor([0.5, -0.5, 1.0, 0.0], dtype=torch.float64), BIASES[estimator]
    true = true_gradient(x, quadratic)
    mean, deviation = estimate(x, quadratic, 200_000, estimator=estimator, tau=1.0, **options)
    off = float((mean - true).norm() / true.norm())
    print(f"{estimator}: bias {off:.2f}, standard deviation {float(deviation.norm() / true.norm()):.2f} of the gradient's size")
    assert off < most
    for f, least in ((quadratic, 0.2), (linear, 0.95)):
        true, mean = true_gradient(x, f), estimate(x, f, 200_000, estimator=estimator, tau=1.0, **options)[0]
        assert mean @ true > least * mean.norm() * true.norm()


def test_reinmax_is_of_second_order():
    """Its bias is below straight-through's, and it has none where the loss is linear; a wrong weight would."""
    x = torch.tensor([0.5, -0.5, 1.0, 0.0], dtype=torch.float64)
    for f in (linear, quadratic):
        true = true_gradient(x, f)
        mean, deviation = estimate(x, f, 400_000, estimator="reinmax", tau=1.0)
        assert ((mean - true).abs() < 5 * deviation / math.sqrt(400_000) + 1e-12).all(), f
        wrong = estimate(x, f, 400_000, estimator="st", tau=1.0)[0]
        assert ((wrong - true).abs() > 5 * deviation / math.sqrt(400_000)).any()


def test_gumbel_rao_has_the_mean_of_straight_through_and_less_variance():
    x = torch.tensor([0.5, -0.5, 1.0, 0.0], dtype=torch.float64)
    st, spread = estimate(x, quadratic, 200_000, estimator="st", tau=0.5)
    rao, less = estimate(x, quadratic, 200_000, estimator="gumbel_rao", tau=0.5, samples=16)
    assert ((st - rao).abs() < 5 * spread / math.sqrt(200_000)).all()
    assert less.norm() < 0.8 * spread.norm()


def test_the_gap_and_the_choice():
    """The surrogate's logits lead by a gap for the choice: it is consistent with the sample (the paper's properties)."""
    x = logits(50, 6).requires_grad_()
    y = nt.gumbel_softmax(x, hard=True, key=KEY, estimator="gapped", gap=2.0)
    index = y.argmax(-1)
    np.testing.assert_array_equal(index.numpy(), ng.categorical(KEY, x.detach().numpy()))
    slope = torch.autograd.grad(y.gather(-1, index[:, None]).sum(), x)[0]
    p = 1 / (
        1 + 5 * math.exp(-2.0)
    )  # at least this, by the gap, so the slope of p in its own logit is at most that of p (1 - p)
    assert (slope.gather(-1, index[:, None]) <= p * (1 - p) + 1e-12).all()


def test_estimators_wrongly_asked_for():
    x = logits(3, 4)
    with pytest.raises(ValueError, match="estimator must be one of st, gumbel_rao, gapped, reinmax, got 'none'"):
        nt.gumbel_softmax(x, estimator="none")
    with pytest.raises(ValueError, match="pass hard=True"):
        nt.gumbel_softmax(x, estimator="reinmax")
    with pytest.raises(RuntimeError, match=r"goes with no transform of torch\.func"):
        torch.vmap(lambda a: nt.gumbel_softmax(a, hard=True, key=KEY, estimator="gumbel_rao"))(x[None])


def test_estimators_under_a_mask():
    x, mask = logits(40, 6).requires_grad_(), torch.tensor([True, True, False, True, True, False])
    for estimator in nt.ESTIMATORS:
        y = nt.gumbel_softmax(x, hard=True, key=KEY, mask=mask, estimator=estimator)
        assert (y[:, ~mask] == 0).all()
        assert (y.sum(-1) == 1).all()
        slope = torch.autograd.grad((y * logits(40, 6, seed=2)).sum(), x)[0]
        assert slope.isfinite().all(), estimator
        assert (slope[:, ~mask] == 0).all(), estimator


# --- torch's tests of Categorical: test/distributions/test_distributions.py ---------------------------------------------------


def test_categorical_1d():
    """test_distributions.py, TestDistributions.test_categorical_1d: shapes, mode, gradient of log_prob."""
    p = torch.tensor([0.1, 0.2, 0.3], requires_grad=True)
    categorical = nt.Categorical(p)
    assert torch.isnan(categorical.mean).all()
    assert torch.isnan(categorical.variance).all()
    assert categorical.sample().size() == ()
    assert not categorical.sample().requires_grad
    assert categorical.sample((2, 2)).size() == (2, 2)
    assert categorical.sample((1,)).size() == (1,)
    assert categorical.mode == 2
    assert torch.autograd.gradcheck(lambda q: nt.Categorical(q).log_prob(torch.tensor(1)), p.double().detach().requires_grad_())
    with pytest.raises(NotImplementedError):
        categorical.rsample()


def test_categorical_2d():
    """test_distributions.py, TestDistributions.test_categorical_2d: rows apart, and certain ones."""
    p = torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]], requires_grad=True)
    s = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    assert nt.Categorical(p).sample().size() == (2,)
    assert nt.Categorical(p).sample(sample_shape=(3, 4)).size() == (3, 4, 2)
    assert nt.Categorical(p).sample((6,)).size() == (6, 2)
    for _ in range(20):
        assert nt.Categorical(s).sample().tolist() == [0, 1]
    assert nt.Categorical(s).entropy().detach().tolist() == pytest.approx([0, 0], abs=1e-5)


def test_categorical_enumerate_support():
    """test_distributions.py, TestDistributions.test_categorical_enumerate_support."""
    for probs, expanded in (([0.1, 0.2, 0.7], [0, 1, 2]), ([[0.1, 0.9], [0.3, 0.7]], [[0, 0], [1, 1]])):
        for given in ({"probs": torch.tensor(probs)}, {"logits": torch.tensor(probs).log()}):
            got = nt.Categorical(**given)
            assert got.enumerate_support().tolist() == expanded
            assert got.enumerate_support(expand=False).flatten().tolist() == list(range(len(expanded)))


@pytest.mark.parametrize("validate", [True, False])
def test_categorical_shape(validate):
    """test_distributions.py, TestDistributionShapes.test_categorical_shape and test_entropy_shape."""
    scalar = nt.Categorical(logits=torch.zeros(3), validate_args=validate)
    assert scalar._batch_shape == torch.Size(())
    assert scalar._event_shape == torch.Size(())
    assert scalar.sample().size() == torch.Size(())
    assert scalar.sample(torch.Size((3, 2))).size() == torch.Size((3, 2))
    batch = nt.Categorical(logits=torch.zeros(4, 3), validate_args=validate)
    assert batch._batch_shape == torch.Size((4,))
    assert batch.sample().size() == torch.Size((4,))
    assert batch.sample((3, 2)).size() == torch.Size((3, 2, 4))
    assert batch.log_prob(batch.sample((3, 2))).size() == torch.Size((3, 2, 4))
    assert batch.log_prob(torch.zeros(4, dtype=torch.int64)).size() == torch.Size((4,))
    assert batch.entropy().size() == torch.Size((4,))
    assert batch.expand((5, 4)).sample().size() == torch.Size((5, 4))
    assert batch.param_shape == torch.Size((4, 3))


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("kind", ["logits", "probs"])
def test_it_says_what_torchs_says(validate, kind):
    """log_prob, entropy, mode, probs, logits, KL divergence and their gradients, against torch's on the same parameters."""
    a, b = (logits(4, 5).softmax(-1).requires_grad_() if kind == "probs" else logits(4, 5).requires_grad_() for _ in range(2))
    ours = nt.Categorical(**{kind: a}, validate_args=validate)
    theirs = distributions.Categorical(**{kind: b}, validate_args=validate)
    action = ours.sample()
    for name in ("logits", "probs", "mode"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name))
    torch.testing.assert_close(ours.log_prob(action), theirs.log_prob(action))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    many = ours.sample((3,))
    torch.testing.assert_close(ours.log_prob(many), theirs.log_prob(many))
    other = nt.Categorical(logits=logits(4, 5, seed=3), validate_args=validate)
    reference = distributions.Categorical(logits=logits(4, 5, seed=3))
    torch.testing.assert_close(distributions.kl_divergence(ours, other), distributions.kl_divergence(theirs, reference))
    (ours.log_prob(action).sum() + ours.entropy().sum() + ours.log_prob(many).sum()).backward()
    (theirs.log_prob(action).sum() + theirs.entropy().sum() + theirs.log_prob(many).sum()).backward()
    torch.testing.assert_close(a.grad, b.grad)


def test_what_a_sample_brings_along():
    """Its log-probability and the entropy are those of a pass of their own, to the bit; of another action they are not."""
    x = logits(8, 6, dtype=torch.float32)
    policy = nt.Categorical(logits=x, validate_args=False, key=KEY)
    action = policy.sample()
    told = ng.log_prob_entropy(x, action)
    assert torch.equal(policy.log_prob(action), told.log_prob)
    assert torch.equal(policy.entropy(), told.entropy)
    other = (action + 1) % 6
    assert torch.equal(policy.log_prob(other), ng.log_prob_entropy(x, other).log_prob)
    assert torch.equal(policy.entropy(), told.entropy)
    action.copy_(other)
    assert torch.equal(policy.log_prob(action), ng.log_prob_entropy(x, other).log_prob)
    np.testing.assert_array_equal(policy.sample().numpy(), ng.categorical(KEY, x.numpy(), step=1))
    np.testing.assert_array_equal(policy.sample((2, 2)).reshape(4, 8).numpy(), ng.categorical(KEY, x.numpy(), step=2, n=4))
    np.testing.assert_array_equal(policy.sample().numpy(), ng.categorical(KEY, x.numpy(), step=6))


def test_rollout_and_update():
    """A sample without gradients, then log_prob and entropy with them, of one object and of one made anew."""
    x = logits(8, 6).requires_grad_()
    policy = nt.Categorical(logits=x, validate_args=False)
    with torch.no_grad():
        action = policy.sample()
        before = policy.log_prob(action)
        assert not before.requires_grad
    after = policy.log_prob(action)
    assert after.requires_grad
    assert torch.equal(before, after.detach())
    again = nt.Categorical(logits=x, validate_args=False)
    assert torch.equal((again.log_prob(action) - before).exp(), torch.ones(8, dtype=torch.float64))
    with torch.no_grad():
        assert not policy.entropy().requires_grad
    (policy.log_prob(action).sum() + policy.entropy().sum()).backward()
    mine, x.grad = x.grad, None
    reference = distributions.Categorical(logits=x)
    (reference.log_prob(action).sum() + reference.entropy().sum()).backward()
    torch.testing.assert_close(mine, x.grad)


def test_masks():
    x, mask = logits(50, 6).requires_grad_(), torch.rand(50, 6, generator=torch.Generator().manual_seed(2)) < 0.6
    mask[:, 1] = True
    for validate in (True, False):
        policy = nt.Categorical(logits=x, mask=mask, validate_args=validate)
        reference = distributions.Categorical(logits=x.masked_fill(~mask, -1e30))
        action = policy.sample()
        assert mask.gather(-1, action[:, None]).all()
        torch.testing.assert_close(policy.probs, reference.probs)
        torch.testing.assert_close(policy.log_prob(action), reference.log_prob(action))
        torch.testing.assert_close(policy.entropy(), reference.entropy())
        assert torch.equal(policy.mode, reference.mode)
        many = policy.sample((7,))
        assert mask.expand(7, 50, 6).gather(-1, many[..., None]).all()
        slope = torch.autograd.grad(policy.log_prob(action).sum() + policy.entropy().sum(), x)[0]
        assert (slope[~mask] == 0).all()
        assert slope.isfinite().all()
        assert policy.expand((2, 50)).sample().shape == (2, 50)
    with pytest.raises(TypeError, match="mask goes with logits"):
        nt.Categorical(torch.ones(3), mask=torch.ones(3, dtype=torch.bool))


def test_wrong_parameters():
    with pytest.raises(ValueError, match="Either `probs` or `logits` must be specified, but not both"):
        nt.Categorical()
    with pytest.raises(ValueError, match="Either `probs` or `logits`"):
        nt.Categorical(torch.ones(3), torch.ones(3), validate_args=False)
    with pytest.raises(ValueError, match="at least one-dimensional"):
        nt.Categorical(logits=torch.tensor(1.0), validate_args=False)
    with pytest.raises(ValueError, match="logits"):
        nt.Categorical(logits=torch.tensor([0.0, math.nan]), validate_args=True)  # torch.compile turns the default off
    with pytest.raises(ValueError, match=r"within the support"):
        nt.Categorical(logits=torch.zeros(2, 3), validate_args=True).log_prob(torch.tensor([3, 0]))
    with pytest.raises(TypeError, match="one of key and generator"):
        nt.Categorical(logits=torch.zeros(3), key=KEY, generator=torch.Generator())
    with pytest.raises(TypeError, match="one of key and generator"):
        nt.RelaxedOneHotCategorical(1.0, logits=torch.zeros(3), key=KEY, generator=torch.Generator())
    with pytest.raises(AttributeError):
        nt.Categorical(logits=torch.zeros(3), validate_args=False).nothing  # noqa: B018


@pytest.mark.parametrize("validate", [True, False])
def test_samples_follow_the_probabilities(validate):
    """Chi-square over 20,000 draws; of a sampler that never draws the first category it is rejected."""
    x = logits(1, 5)[0]
    draws = nt.Categorical(logits=x, key=KEY, validate_args=validate).sample((20_000,))
    expected = x.softmax(-1).numpy() * 20_000
    assert stats.chisquare(np.bincount(draws, minlength=5), expected).pvalue > 1e-4
    wrong = np.bincount(draws.clamp(min=1), minlength=5)
    assert stats.chisquare(wrong, expected).pvalue < 1e-4


def test_relaxed_one_hot_categorical():
    """test_distributions.py, TestRelaxed: shapes, density against torch's, and that the argmax is categorical."""
    x, temperature = logits(4, 5).requires_grad_(), torch.tensor(0.67, dtype=torch.float64, requires_grad=True)
    ours, theirs = (
        each(temperature, logits=x) for each in (nt.RelaxedOneHotCategorical, distributions.RelaxedOneHotCategorical)
    )
    y = ours.rsample()
    assert y.shape == (4, 5)
    assert y.requires_grad
    assert not ours.sample().requires_grad
    assert ours.sample((3, 2)).shape == (3, 2, 4, 5)
    assert ours.expand((2, 4)).sample().shape == (2, 4, 5)
    torch.testing.assert_close(ours.log_prob(y.detach()), theirs.log_prob(y.detach()))
    slopes = torch.autograd.grad(y[:, 0].sum(), (x, temperature))
    assert all(each.isfinite().all() for each in slopes)
    each = nt.RelaxedOneHotCategorical(torch.full((4, 1), 0.5, dtype=torch.float64), logits=x, key=KEY)
    torch.testing.assert_close(each.rsample(), nt.gumbel_softmax(x - x.logsumexp(-1, keepdim=True), 0.5, key=KEY))
    assert not torch.equal(each.rsample(), each.rsample())
    one = nt.RelaxedOneHotCategorical(1.0, probs=torch.tensor([0.1, 0.7, 0.2]), key=KEY)
    counts = np.bincount(one.sample((20_000,)).argmax(-1), minlength=3)
    assert stats.chisquare(counts, np.array([0.1, 0.7, 0.2]) * 20_000).pvalue > 1e-4


def test_it_is_torchs_gumbel_softmax_in_distribution():
    """One category of relaxed samples, by Kolmogorov and Smirnov; a sample at another temperature is rejected."""
    x = logits(1, 4).expand(20_000, 4)
    torch.manual_seed(1)
    ours, theirs = nt.gumbel_softmax(x, 0.7)[:, 1], F.gumbel_softmax(x, 0.7)[:, 1]
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-4
    assert stats.ks_2samp(nt.gumbel_softmax(x, 0.6)[:, 1], theirs).pvalue < 1e-4
