"""`numgumbel.jax`: samples that JAX traces, on its own memory; and JAX's arrays in the functions of the package."""

import subprocess
import sys

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason='pip install -e ".[jax]"')

import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

import numgumbel as ng  # noqa: E402
import numgumbel.jax as nj  # noqa: E402

K = jax.random.key(5)
KEY = nj.key(K)


def logits(*shape, dtype=np.float32, seed=0):
    return jnp.asarray(np.random.default_rng([seed, *shape]).normal(scale=2, size=shape).astype(dtype))


# --- arrays in the functions of the package -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16])
def test_arrays_in_arrays_out(dtype):
    x, mask = logits(4, 3, 7, dtype=dtype), jnp.asarray(np.random.default_rng(1).random((4, 3, 7)) < 0.8).at[..., 0].set(True)
    here = np.asarray(x)
    got, want = (
        ng.draw(KEY, x, mask=mask, want=("score", "log_prob")),
        ng.draw(KEY, here, mask=np.asarray(mask), want=("score", "log_prob")),
    )
    for name in ("index", "score", "log_prob"):
        assert isinstance(getattr(got, name), jax.Array)
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
    soft = ng.gumbel_softmax(KEY, x, axis=1)
    assert soft.dtype == x.dtype
    np.testing.assert_array_equal(np.asarray(soft, np.float32), ng.gumbel_softmax(KEY, here, axis=1).astype(np.float32))
    np.testing.assert_array_equal(ng.categorical(KEY, here, mask=mask), ng.categorical(KEY, here, mask=np.asarray(mask)))


def test_other_arrays_by_dlpack():
    class Array:
        """Of a library that knows DLPack and the array API's namespace, which is NumPy's here."""

        def __init__(self, values, device=1):
            self.values, self.device = values, device

        def __dlpack__(self, **options):
            return self.values.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.device, 0

        def __array_namespace__(self):
            return np

    x = np.asarray(logits(3, 4))
    np.testing.assert_array_equal(ng.categorical(KEY, Array(x)), ng.categorical(KEY, x))
    with pytest.raises(TypeError, match=r"got one on DLPack device 2: move it there, or hand it to CuPy by cupy\.from_dlpack"):
        ng.categorical(KEY, Array(x, device=2))


def test_what_is_traced_is_sent_to_the_other_functions():
    with pytest.raises(TypeError, match=r"an array that JAX traces is taken by the functions of numgumbel\.jax"):
        jax.jit(lambda a: ng.categorical(KEY, a))(logits(3, 4))


def test_it_is_not_imported_unasked():
    code = "import sys, numgumbel as ng; ng.categorical(ng.key(1), [[0.0, 1.0]]); assert 'jax' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- keys ---------------------------------------------------------------------------------------------------------------------


def test_keys():
    words = np.asarray(jax.random.key_data(jax.random.key(2**40 + 3)))
    assert int(nj.key(jax.random.key(2**40 + 3))) == int(words[0]) << 32 | int(words[1])
    assert nj.key(jax.random.PRNGKey(7)) == nj.key(jax.random.key(7))
    x = logits(5, 6)
    np.testing.assert_array_equal(nj.categorical(KEY, x), nj.categorical(K, x))
    for wrong in (3, jax.random.key(1, impl="rbg"), jax.random.split(K), jnp.zeros(2)):
        with pytest.raises(TypeError, match=r"key must be a Key, or one of jax\.random's with two words"):
            nj.categorical(wrong, x)


# --- every function, traced and not -------------------------------------------------------------------------------------------

X = logits(8, 6)
MASK = np.random.default_rng(3).random((8, 6)) < 0.7
MASK[:, 2] = True
CALLS = {
    "categorical": (lambda k, x: nj.categorical(k, x), lambda k, x: ng.categorical(k, x)),
    "options": (
        lambda k, x: nj.categorical(k, x, step=7, mask=MASK, rows=np.arange(8) + 3, cols=np.arange(6) * 2, temperature=0.7),
        lambda k, x: ng.categorical(k, x, step=7, mask=MASK, rows=np.arange(8) + 3, cols=np.arange(6) * 2, temperature=0.7),
    ),
    "axis": (lambda k, x: nj.categorical(k, x, axis=0), lambda k, x: ng.categorical(k, x, axis=0)),
    "inverse CDF": (
        lambda k, x: nj.categorical(k, x, method="inverse_cdf"),
        lambda k, x: ng.categorical(k, x, method="inverse_cdf"),
    ),
    "field": (lambda k, x: nj.gumbel(k, (3, 9), step=4), lambda k, x: ng.gumbel(k, (3, 9), step=4, dtype=np.float32)),
    "top-k": (lambda k, x: nj.gumbel_topk(k, x, 3), lambda k, x: ng.gumbel_topk(k, x, 3)),
    "soft": (lambda k, x: nj.gumbel_softmax(k, x, 0.5), lambda k, x: ng.gumbel_softmax(k, x, tau=0.5)),
    "hard": (
        lambda k, x: nj.gumbel_softmax(k, x, 0.5, True, axis=0),
        lambda k, x: ng.gumbel_softmax(k, x, tau=0.5, hard=True, axis=0),
    ),
    "actions": (lambda k, x: nj.sample_actions(k, x, nvec=(2, 4)), lambda k, x: ng.sample_actions(k, x, nvec=(2, 4))),
    "told": (
        lambda k, x: nj.log_prob_entropy(x, jnp.zeros(8, jnp.int32) + 2, mask=MASK),
        lambda k, x: ng.log_prob_entropy(x, np.zeros(8, np.int64) + 2, mask=MASK),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_equal_to_numpy(name):
    traced, plain = CALLS[name]
    want = plain(KEY, np.asarray(X))
    for got in (traced(K, X), jax.jit(traced)(K, X)):
        many = isinstance(want, tuple)
        assert type(got) is type(want) or not many
        for a, b in zip(got if many else [got], want if many else [want], strict=True):
            assert isinstance(a, jax.Array)
            np.testing.assert_array_equal(a, b)
    assert (
        not np.array_equal(*(np.asarray(jax.tree.leaves(jax.jit(traced)(k, X))[0]) for k in (K, jax.random.key(9))))
        or name == "told"
    )


@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("field", "options", "told")])
def test_vmap(name):
    """Every example has what it would have alone; keys and logits may both be mapped over."""
    traced, plain = CALLS[name]
    several, keys = jnp.stack([X, X + 1, X[::-1]]), jax.random.split(K, 3)
    for in_axes, arguments in (((None, 0), (K, several)), ((0, 0), (keys, several)), ((0, None), (keys, X))):
        got = jax.jit(jax.vmap(traced, in_axes=in_axes))(*arguments)
        for i in range(3):
            k, x = keys[i] if in_axes[0] == 0 else K, several[i] if in_axes[1] == 0 else X
            want = plain(nj.key(k), np.asarray(x))
            for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
                np.testing.assert_array_equal(a[i], b)


def test_a_step_that_is_traced():
    draw = jax.jit(lambda step: nj.categorical(K, X, step=step))
    for step in (0, 5, 2**31 - 1):
        np.testing.assert_array_equal(draw(step), ng.categorical(KEY, np.asarray(X), step=step))
    scanned = jax.lax.scan(lambda step, _: (step + 1, nj.categorical(K, X, step=step)), jnp.int32(3), None, length=4)[1]
    np.testing.assert_array_equal(scanned, ng.categorical(KEY, np.asarray(X), step=3, n=4))


def test_64_bit_ids_are_not_cut():
    rows = np.arange(8) + 2**40
    with pytest.raises(TypeError, match="rows must fit int32 unless jax_enable_x64 is set"):
        nj.categorical(K, X, rows=rows)
    with jax.enable_x64(True):
        x = jnp.asarray(np.asarray(X, np.float64))
        got = nj.categorical(K, x, rows=rows)
        assert got.dtype == jnp.int64
        np.testing.assert_array_equal(got, ng.categorical(KEY, np.asarray(x), rows=rows))


def test_halves():
    for dtype in (jnp.float16, jnp.bfloat16):
        x = X.astype(dtype)
        np.testing.assert_array_equal(nj.categorical(K, x), ng.categorical(KEY, np.asarray(x)))
        soft = jax.jit(lambda a: nj.gumbel_softmax(K, a, 0.5))(x)
        assert soft.dtype == dtype
        np.testing.assert_array_equal(
            np.asarray(soft, np.float32), ng.gumbel_softmax(KEY, np.asarray(x), tau=0.5).astype(np.float32)
        )


# --- gradients ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"axis": 0}, {"mask": MASK}, {"rows": np.arange(8) + 9}])
def test_gradients_of_relaxed_samples(options):
    with jax.enable_x64(True):
        x = jnp.asarray(np.asarray(X, np.float64))
        check_grads(lambda a: nj.gumbel_softmax(K, a, 0.7, **options), (x,), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)
        c = logits(8, 6, dtype=np.float64, seed=4)
        soft, hard = (jax.grad(lambda a, h=h: (c * nj.gumbel_softmax(K, a, 0.7, h, **options)).sum())(x) for h in (False, True))
        np.testing.assert_allclose(soft, hard, rtol=1e-12, atol=1e-14)


def test_gradients_of_policies():
    with jax.enable_x64(True):
        x, actions = jnp.asarray(np.asarray(X, np.float64)), jnp.zeros(8, jnp.int64) + 2
        check_grads(
            lambda a: tuple(nj.log_prob_entropy(a, actions, mask=MASK)), (x,), order=1, modes=["rev"], atol=1e-6, rtol=1e-6
        )


def test_gradients_under_jit_and_vmap():
    several = jnp.stack([X, X + 1])
    loss = lambda a: (nj.gumbel_softmax(K, a, 0.5) ** 2).sum()
    got = jax.jit(jax.vmap(jax.grad(loss)))(several)
    for i in range(2):
        np.testing.assert_array_equal(got[i], jax.grad(loss)(several[i]))
    np.testing.assert_array_equal(jax.grad(lambda a: nj.gumbel_topk(K, a, 2).score.sum())(X), jnp.zeros_like(X))


# --- errors -------------------------------------------------------------------------------------------------------------------


def test_invalid_rows():
    x = X.at[3, 1].set(jnp.nan)
    assert nj.categorical(K, x)[3] == -1
    with pytest.raises(Exception, match="1 of 8 rows invalid"):
        jax.block_until_ready(jax.jit(lambda a: nj.categorical(K, a, invalid="raise"))(x))
    np.testing.assert_array_equal(nj.categorical(K, X), ng.categorical(KEY, np.asarray(X)))  # and it goes on


def test_wrong_arguments():
    with pytest.raises(TypeError, match="logits must be float32, float64, float16 or bfloat16, got int32"):
        nj.categorical(K, jnp.zeros((2, 3), jnp.int32))
    with pytest.raises(ValueError, match="at least one axis"):
        nj.categorical(K, jnp.float32(1))
    with pytest.raises(Exception, match="temperature must be 0 or from"):
        jax.block_until_ready(nj.categorical(K, X, temperature=-1.0))


def test_another_device_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(TypeError, match=r"numgumbel.jax works on the CPU, and JAX on gpu: run it under jax.default_device"):
        nj.categorical(K, X)
    with jax.default_device(jax.devices("cpu")[0]):
        nj.categorical(K, X)


def test_no_memory_is_copied():
    """Arguments and results are XLA's own buffers: a function of the interface sees the addresses of arrays that JAX tells."""
    from numgumbel.jax import calls

    seen = []

    def look(options, given, wanted):
        seen.extend(array.ctypes.data for array in (*given, *wanted))
        wanted[0][...] = given[0]

    x = jnp.asarray(np.random.default_rng(0).random((64, 1000)).astype(np.float32))
    (y,) = calls.call(look, {}, [jax.ShapeDtypeStruct(x.shape, x.dtype)], x)
    y.block_until_ready()
    assert seen == [x.unsafe_buffer_pointer(), y.unsafe_buffer_pointer()]


def test_docstrings():
    """Every example in a docstring."""
    import doctest

    from numgumbel.jax import samples

    for module in (samples,):
        result = doctest.testmod(module)
        assert result.failed == 0, module
        assert result.attempted > 0, module
