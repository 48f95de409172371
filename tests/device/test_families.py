"""CuPy arrays and torch tensors: what comes in goes out, on the library's stream and in its memory. Stand-ins for both."""

import os

import numpy as np
import pytest

if os.environ.get("NUMGUMBEL_TEST_DEVICE") != "emulated":
    pytest.skip("of the emulated GPU only: the libraries themselves are tested by pytest -m gpu", allow_module_level=True)

import standins

import numgumbel as ng
from numgumbel.backends.gpu import repeats

KEY = ng.key(4, "families")


def logits(*shape, dtype=np.float32):
    return np.random.default_rng(shape).normal(scale=2, size=shape).astype(dtype)


@pytest.fixture
def cupy():
    with standins.installed("cupy", standins.cupy()) as module:
        yield module


@pytest.fixture
def torch():
    with standins.installed("torch", standins.torch()) as module:
        yield module


def test_cupy(cupy):
    x, r = logits(6, 10), np.random.default_rng(0)
    there, mask, rows = cupy.asarray(x), r.random((6, 10)) < 0.7, r.integers(0, 2**60, 6)
    for step in range(3):
        got = ng.categorical(KEY, there, step=step, mask=cupy.asarray(mask), rows=cupy.asarray(rows))
        assert type(got) is cupy.ndarray
        np.testing.assert_array_equal(got.get(), ng.categorical(KEY, x, step=step, mask=mask, rows=rows))
        turned = ng.categorical(KEY, there.turned(), axis=0, step=step)
        np.testing.assert_array_equal(turned.get(), ng.categorical(KEY, x.T, axis=0, step=step))
        soft = ng.gumbel_softmax(KEY, there.turned(), axis=0, step=step)
        np.testing.assert_allclose(soft.get(), ng.gumbel_softmax(KEY, x.T, axis=0, step=step), atol=1e-6)
        top, want = ng.gumbel_topk(KEY, there, 3, n=2, step=step), ng.gumbel_topk(KEY, x, 3, n=2, step=step)
        for a, b in zip(top, want, strict=True):
            np.testing.assert_array_equal(a.get(), b)
    out = cupy.asarray(np.zeros(6, np.int32))
    for _ in range(2):
        assert ng.categorical(KEY, there, out=out) is out
        np.testing.assert_array_equal(out.get(), ng.categorical(KEY, x))
    assert ng.categorical(KEY, cupy.asarray(np.zeros((0, 4)))).shape == (0,)


def test_cupys_stream(cupy, monkeypatch):
    seen, there = [], cupy.asarray(logits(3, 6))
    monkeypatch.setattr(repeats.Launch, "queue", lambda self, values: seen.append(self.stream))
    for stream in (0, 64, 64, 128):
        cupy.stream.ptr = stream
        ng.categorical(KEY, there)
    assert seen == [0, 64, 64, 128]


def test_torch(torch):
    x = logits(6, 10)
    there = torch.tensor(x)
    for step in range(3):
        got = ng.sample_actions(KEY, there, step=step, nvec=[4, 6])
        want = ng.sample_actions(KEY, x, step=step, nvec=[4, 6])
        assert all(type(each) is torch.Tensor for each in got)
        np.testing.assert_array_equal(got.action.numpy(), want.action)
        np.testing.assert_allclose(got.log_prob.numpy(), want.log_prob, atol=1e-5)
        part = there.as_strided((3, 4), (20, 2), 1)
        np.testing.assert_array_equal(
            ng.categorical(KEY, part, step=step).numpy(), ng.categorical(KEY, x[::2, 1:9:2], step=step)
        )
    with pytest.raises(TypeError, match="mask is a NumPy array and the logits are a torch CUDA array"):
        ng.categorical(KEY, there, mask=np.ones((6, 10), bool))


def test_torchs_bfloat16(torch):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = logits(6, 10).astype(ml_dtypes.bfloat16)
    there = torch.tensor(x.view(np.int16), torch.bfloat16)
    for _ in range(2):
        np.testing.assert_array_equal(ng.categorical(KEY, there).numpy(), ng.categorical(KEY, x))
        soft = ng.gumbel_softmax(KEY, there)
        assert soft.dtype is torch.bfloat16
        np.testing.assert_array_equal(soft.numpy().view(ml_dtypes.bfloat16), ng.gumbel_softmax(KEY, x))
