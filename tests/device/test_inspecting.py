"""Which kernels a function runs on a device, and with which types: those that `kernels_of` gives for it."""

import os

import numpy as np
import pytest

if os.environ.get("NUMGUMBEL_TEST_DEVICE") != "emulated":
    pytest.skip("of the emulated GPU only", allow_module_level=True)

from numba import cuda

import numgumbel as ng
from numgumbel.backends.gpu import compiled, launches, repeats
from numgumbel.inspecting.signatures import OF_OPERATION

KEY = ng.key(1, "inspecting")


def logits(*shape, dtype="float32"):
    return cuda.to_device(np.random.default_rng(shape).normal(size=shape).astype(dtype))


SHORT, LONG = logits(6, 9), logits(2, 9000)
AT, IDS = cuda.to_device(np.arange(6)), cuda.to_device(np.arange(9) * 2)
OFFSETS = cuda.to_device(np.array([0, 4, 9]))
DRAWN = ng.draw(KEY, SHORT, want=("score", "log_prob"))
TOP = ng.gumbel_topk(KEY, SHORT, 3)

CALLS = {
    "categorical": [
        lambda: ng.categorical(KEY, SHORT),
        lambda: ng.categorical(KEY, LONG),
        lambda: ng.categorical(KEY, SHORT, method="inverse_cdf", n=2),
        lambda: ng.categorical(KEY, SHORT, rows=AT, cols=IDS, step=AT),
    ],
    "categorical_ragged": [lambda: ng.categorical_ragged(KEY, logits(9), OFFSETS)],
    "draw": [lambda: ng.draw(KEY, SHORT), lambda: ng.draw(KEY, SHORT, cols=IDS, want=("score", "entropy"))],
    "sample_actions": [lambda: ng.sample_actions(KEY, SHORT)],
    "log_prob_entropy": [lambda: ng.log_prob_entropy(SHORT, AT)],
    "log_prob_entropy_vjp": [lambda: ng.log_prob_entropy_vjp(SHORT, AT)],
    "merge": [lambda: ng.merge([DRAWN, DRAWN], temperature=cuda.to_device(np.ones(6)))],
    "conditional_gumbel": [lambda: ng.conditional_gumbel(KEY, SHORT, AT)],
    "gumbel": [lambda: ng.gumbel(KEY, (2, 5), dtype=np.float32, out=cuda.device_array((2, 5), np.float32))],
    "gumbel_softmax": [lambda: ng.gumbel_softmax(KEY, SHORT), lambda: ng.gumbel_softmax(KEY, LONG)],
    "gumbel_softmax_vjp": [
        lambda: ng.gumbel_softmax_vjp(KEY, SHORT, SHORT),
        lambda: ng.gumbel_softmax_vjp(KEY, LONG, LONG),
        lambda: ng.gumbel_softmax_vjp(KEY, SHORT, SHORT, sample=SHORT),
    ],
    "gumbel_topk": [lambda: ng.gumbel_topk(KEY, SHORT, 3)],
    "inclusion_log_prob": [lambda: ng.inclusion_log_prob(SHORT, TOP)],
}


@pytest.fixture
def launched(monkeypatch):
    """Run calls: names of kernels and types that they are launched with."""
    seen = []

    def noted(kernel, signature, function_of=launches.function_of):
        seen.append((kernel.py_func.__name__, compiled.numba_types(signature)))
        return function_of(kernel, signature)

    monkeypatch.setattr(launches, "function_of", noted)

    def run(calls):
        seen.clear()
        for call in calls:
            repeats._known.calls.clear()  # of a call like one before, the launch is there
            call()
        return set(seen)

    return run


def known(operation, dtype="float32"):
    found = ng.kernels_of(operation, dtype, "gpu").values()
    return {(kernel.py_func.__name__, kernel.signatures[0]) for kernel in found}


@pytest.mark.parametrize("operation", OF_OPERATION)
def test_kernels_are_those_that_run(launched, operation):
    """All of them, and with these types."""
    assert launched(CALLS[operation]) == known(operation)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_dtypes(launched, dtype):
    assert launched([lambda: ng.categorical(KEY, logits(6, 9, dtype=dtype))]) < known("categorical", dtype)
    assert not launched([lambda: ng.categorical(KEY, logits(6, 9, dtype=dtype))]) & known("categorical")


def test_reported():
    """Of each kernel and signature an entry, the dtype of its logits, and whether it was kept on disk."""
    ng.categorical(KEY, logits(6, 9, dtype="float16"))
    found = [each for each in ng.compile_report() if each.backend == "gpu" and each.label == "argmax_rows[float16]"]
    (one,) = found
    assert one.cache in ("hit", "miss")
    assert one.signature.startswith("uint32, uint32, int64, int64[:, :], int64[:, :], int64[:, :, :], uint16[:, :, :], ")
    assert one.seconds > 0
