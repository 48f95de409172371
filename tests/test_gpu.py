"""What only a GPU can show: ``pytest -m gpu`` on a machine that has one.

With ``pip install -e ".[cuda13,test]"`` and, for their families, CuPy and torch.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numgumbel as ng

pytestmark = pytest.mark.gpu

KEY = ng.key(2026, "device")


def devices():
    """Numba's CUDA module where there is a GPU, else None."""
    if importlib.util.find_spec("numba_cuda") is None:
        return None
    from numgumbel.kernels.gpu.loading import cuda

    return cuda if cuda.is_available() else None


@pytest.fixture(autouse=True)
def cuda():
    found = devices()
    if found is None:
        pytest.skip('an NVIDIA GPU with its driver is needed, and: pip install -e ".[cuda13,test]"')
    return found


def logits(*shape, dtype=np.float32):
    return np.random.default_rng(shape).normal(scale=2, size=shape).astype(dtype)


def test_every_operation_equals_the_cpu():
    from numgumbel.verify import verify

    outcomes = list(verify(rows=200, columns=(1, 2, 7, 8, 9, 31, 32, 33, 255, 256, 257, 2047, 2048, 2049, 5000)))
    wrong = [outcome for outcome in outcomes if outcome.different]
    assert not wrong, wrong


def test_the_public_functions():
    """The tests that run on the emulated GPU and in the simulator, on the device."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "tests/device"],
        env={**os.environ, "NUMGUMBEL_TEST_DEVICE": "gpu"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]


def test_many_categories(cuda):
    """10^8 of them, index for index."""
    x = logits(800, 128256)
    np.testing.assert_array_equal(ng.categorical(KEY, cuda.to_device(x)).copy_to_host(), ng.categorical(KEY, x))


@pytest.mark.parametrize("columns", [2**31, 2**32])
def test_rows_beyond_32_bits(cuda, columns):
    """The winner is put where only 64-bit arithmetic reaches."""
    free, _ = cuda.current_context().get_memory_info()
    if free < 2 * columns + 2**30:
        pytest.skip(f"{2 * columns / 2**30:.0f} GiB of GPU memory are needed")
    x = cuda.device_array((1, columns), np.float16)
    zero = np.zeros(1 << 20, np.float16)
    for start in range(0, columns, len(zero)):
        x[0, start : start + len(zero)].copy_to_device(zero)
    x[0, columns - 3 :].copy_to_device(np.array([0, 1000, 0], np.float16))
    assert ng.categorical(KEY, x).copy_to_host()[0] == columns - 2


def test_the_callers_stream(cuda):
    """Work queued before is waited for, and nobody else waits."""
    stream = cuda.stream()
    x = logits(64, 5000)
    with stream.auto_synchronize():
        there = cuda.to_device(x, stream=stream)
        got = ng.categorical(KEY, there)
    np.testing.assert_array_equal(got.copy_to_host(), ng.categorical(KEY, x))


def test_torch_tensors():
    torch = pytest.importorskip("torch", reason="pip install torch")
    x = logits(64, 1000)
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        there = torch.from_numpy(x).to("cuda", dtype)
        got = ng.categorical(KEY, there)
        assert isinstance(got, torch.Tensor)
        assert got.device == there.device
        if dtype == torch.bfloat16:
            here = there.cpu().view(torch.int16).numpy().view(pytest.importorskip("ml_dtypes").bfloat16)
        else:
            here = there.cpu().numpy()
        np.testing.assert_array_equal(got.cpu().numpy(), ng.categorical(KEY, here))
    turned = torch.from_numpy(x).cuda().T
    np.testing.assert_array_equal(ng.categorical(KEY, turned, axis=0).cpu().numpy(), ng.categorical(KEY, x.T, axis=0))
    wanted = torch.from_numpy(x).cuda().requires_grad_()
    np.testing.assert_array_equal(ng.categorical(KEY, wanted).cpu().numpy(), ng.categorical(KEY, x))


def test_a_captured_graph_draws_afresh():
    torch = pytest.importorskip("torch", reason="pip install torch")
    x = torch.from_numpy(logits(32, 3000)).cuda()
    step, out = torch.zeros((), dtype=torch.int64, device="cuda"), torch.empty(32, dtype=torch.int64, device="cuda")
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        ng.categorical(KEY, x, step=step, out=out)  # compiled, and the stream's workspace there, before the capture
    with torch.cuda.graph(graph, stream=stream):
        ng.categorical(KEY, x, step=step, out=out)
        step += 1
    step.zero_()
    for draw in range(3):
        graph.replay()
        torch.cuda.synchronize()
        np.testing.assert_array_equal(out.cpu().numpy(), ng.categorical(KEY, x.cpu().numpy(), step=draw))


def test_cupy_arrays():
    cupy = pytest.importorskip("cupy", reason="pip install cupy-cuda13x")
    x = logits(64, 1000)
    got = ng.categorical(KEY, cupy.asarray(x))
    assert isinstance(got, cupy.ndarray)
    np.testing.assert_array_equal(got.get(), ng.categorical(KEY, x))
    with cupy.cuda.Stream(non_blocking=True):
        np.testing.assert_array_equal(ng.categorical(KEY, cupy.asarray(x), step=4).get(), ng.categorical(KEY, x, step=4))


def test_concurrent_streams():
    torch = pytest.importorskip("torch", reason="pip install torch")
    x = [torch.from_numpy(logits(8, 60_000 + i)).cuda() for i in range(4)]
    torch.cuda.synchronize()
    streams, results = [torch.cuda.Stream() for _ in x], []
    for _ in range(20):
        for stream, each in zip(streams, x, strict=True):
            with torch.cuda.stream(stream):
                results.append(ng.categorical(KEY, each))
    torch.cuda.synchronize()
    wanted = [ng.categorical(KEY, each.cpu().numpy()) for each in x]
    for number, result in enumerate(results):
        np.testing.assert_array_equal(result.cpu().numpy(), wanted[number % len(x)])
