"""What calls ask of the driver: one launch and nothing else, on the right stream and device, and in CUDA graphs."""

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

if os.environ.get("NUMGUMBEL_TEST_DEVICE") != "emulated":
    pytest.skip("of the emulated GPU only", allow_module_level=True)

import emulator
from cuda.bindings import driver
from numba import cuda

import numgumbel as ng
from numgumbel import planning
from numgumbel.backends.gpu import compiled, memory, repeats
from numgumbel.backends.gpu.launches import launch
from numgumbel.dispatch import family_of
from numgumbel.kernels.gpu import argmax

KEY, OTHER = ng.key(1, "launches"), ng.key(2, "launches")


def logits(*shape, dtype=np.float32):
    return np.random.default_rng(shape).normal(scale=2, size=shape).astype(dtype)


def device(values, stream=0):
    return cuda.to_device(np.array(values), stream=stream)


def counted(call):
    """(launches, copies, synchronisations) of a call."""
    before = emulator.counts()
    call()
    return tuple(emulator.counts()[name] - before[name] for name in ("launches", "copies", "synchronisations"))


CALLS = {
    "categorical": lambda x, key, step: ng.categorical(key, x, step=step),
    "long rows": lambda x, key, step: ng.categorical(key, x[:2], step=step),
    "inverse CDF": lambda x, key, step: ng.categorical(key, x, step=step, method="inverse_cdf"),
    "draw": lambda x, key, step: ng.draw(key, x, step=step, want=("score", "log_prob", "logsumexp", "entropy")),
    "actions": lambda x, key, step: ng.sample_actions(key, x, step=step),
    "heads": lambda x, key, step: ng.sample_actions(key, x, step=step, nvec=np.array([9, 11])),
    "soft": lambda x, key, step: ng.gumbel_softmax(key, x, step=step, tau=0.5),
    "soft gradient": lambda x, key, step: ng.gumbel_softmax_vjp(key, x, x, step=step, tau=0.5),
    "top-k": lambda x, key, step: ng.gumbel_topk(key, x, 3, step=step),
    "draws": lambda x, key, step: ng.categorical(key, x, step=step, n=3),
}


def parts(result):
    return [each for each in (result if isinstance(result, tuple) else (result,)) if each is not None]


def same(got, want):
    for a, b in zip(parts(got), parts(want), strict=True):
        a = a.copy_to_host()
        assert a.dtype == b.dtype
        if b.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_like_one_before_is_a_launch(name):
    call, x = CALLS[name], logits(7, 20)
    x = logits(3, 5000) if name == "long rows" else x
    there = device(x)
    call(there, KEY, 0)
    assert repeats._NEVER not in repeats._known.calls.values()
    launches = {"long rows": 2}.get(name, 1)
    assert counted(lambda: call(there, KEY, 0)) == (launches, 0, 0)
    for key, step in ((KEY, 5), (OTHER, 2**40), (OTHER, 3)):
        same(call(there, key, step), call(x, key, step))
    other = logits(*x.shape[::-1]).T.copy()
    same(call(device(other), KEY, 4), call(other, KEY, 4))


def test_results_are_new_arrays():
    there = device(logits(7, 20))
    first = [ng.categorical(KEY, there, step=step) for step in range(4)]
    assert len({array.device_ctypes_pointer.value for array in first}) == 4
    want = [ng.categorical(KEY, logits(7, 20), step=step) for step in range(4)]
    np.testing.assert_array_equal([array.copy_to_host() for array in first], want)


def test_nothing_of_a_call_is_kept():
    """Neither the caller's arrays nor results live longer because a call has been prepared."""
    import weakref

    x = device(logits(5, 9))
    result = ng.categorical(KEY, x)
    seen = [weakref.ref(x), weakref.ref(result)]
    del x, result
    assert [each() for each in seen] == [None, None]


def test_arguments_of_other_layouts():
    """What a kernel depends on is told apart: strides, masks, temperatures, types that are equal, arrays that are one."""
    x = logits(6, 10)
    mask, temperatures = np.random.default_rng(1).random((6, 10)) < 0.7, np.linspace(0.5, 2, 6)
    turned = logits(10, 6)
    for _ in range(2):
        same(ng.categorical(KEY, device(x)), ng.categorical(KEY, x))
        same(ng.categorical(KEY, device(turned.T)), ng.categorical(KEY, turned.T))
        same(ng.categorical(KEY, device(x), mask=device(mask)), ng.categorical(KEY, x, mask=mask))
        same(ng.categorical(KEY, device(x), temperature=device(temperatures)), ng.categorical(KEY, x, temperature=temperatures))
        same(ng.categorical(KEY, device(x), temperature=2.0), ng.categorical(KEY, x, temperature=2.0))
        same(ng.categorical(KEY, probs=device(np.exp(x))), ng.categorical(KEY, probs=np.exp(x)))
        a, b = device(x), device(np.abs(x))
        same(ng.gumbel_softmax_vjp(KEY, a, a), ng.gumbel_softmax_vjp(KEY, x, x))
        same(ng.gumbel_softmax_vjp(KEY, a, b), ng.gumbel_softmax_vjp(KEY, x, np.abs(x)))
        whole = device(np.arange(61, dtype=np.float32))
        same(ng.categorical(KEY, whole[1:]), ng.categorical(KEY, np.arange(1, 61, dtype=np.float32)))
        same(ng.categorical(KEY, whole[:60]), ng.categorical(KEY, np.arange(60, dtype=np.float32)))
        with pytest.raises(TypeError, match="step must be an integer"):
            ng.categorical(KEY, device(x), step=True)
        with pytest.raises(ValueError, match="step must be 0 or more"):
            ng.categorical(KEY, device(x), step=-1)


def test_results_that_would_overwrite_inputs():
    """Overlap is found anew for every call, not once a layout."""
    memory_ = device(np.zeros(400, np.int64))
    x, rows = logits(20, 8), np.arange(20) + 5
    there = device(x)
    apart, ids = memory_[200:220], memory_[:20]
    ids.copy_to_device(rows)
    for _ in range(2):
        ng.categorical(KEY, there, rows=ids, out=apart)
        np.testing.assert_array_equal(apart.copy_to_host(), ng.categorical(KEY, x, rows=rows))
    with pytest.raises(ValueError, match="out overlaps an input"):
        ng.categorical(KEY, there, rows=ids, out=memory_[10:30])
    np.testing.assert_array_equal(ids.copy_to_host(), rows)
    ng.categorical(KEY, there, rows=ids, out=ids)  # element for element, it may
    np.testing.assert_array_equal(ids.copy_to_host(), ng.categorical(KEY, x, rows=rows))


def test_a_growing_workspace():
    """A call whose workspace has been replaced by a larger one takes the new one."""
    small, large = logits(2, 4000), logits(40, 50_000)
    for _ in range(2):
        same(ng.gumbel_topk(KEY, device(small), 5), ng.gumbel_topk(KEY, small, 5))
        same(ng.gumbel_topk(KEY, device(large), 200), ng.gumbel_topk(KEY, large, 200))


def test_threads():
    x, there, wrong = logits(9, 3000), device(logits(9, 3000)), []

    def work(number):
        for step in range(number, number + 5):
            got = ng.gumbel_topk(KEY, there, 4, step=step).index.copy_to_host()
            if not np.array_equal(got, ng.gumbel_topk(KEY, x, 4, step=step).index):
                wrong.append(step)

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- streams and graphs -------------------------------------------------------------------------------------------------------


class Captured:
    """What is queued on a stream meanwhile, as a graph."""

    def __init__(self, stream):
        self._stream = driver.CUstream(stream.handle)

    def __enter__(self):
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL
        memory.checked(driver.cuStreamBeginCapture(self._stream, mode), "capture")
        return self

    def __exit__(self, *problem):
        graph = memory.checked(driver.cuStreamEndCapture(self._stream), "end a capture")
        self._graph = memory.checked(driver.cuGraphInstantiate(graph, 0), "instantiate a graph")

    def replay(self):
        memory.checked(driver.cuGraphLaunch(self._graph, self._stream), "launch a graph")


@cuda.jit
def adds_one(step):
    if cuda.threadIdx.x == 0:
        step[0] += 1


def add_one(step, stream):
    launch(adds_one, 1, stream.handle, family_of(step, "step").view(step)[None])


def test_a_graph_draws_afresh():
    stream, x = cuda.stream(), logits(3, 5000)
    there, step, out = device(x, stream), device(np.array(0), stream), device(np.zeros(3, np.int64), stream)
    ng.categorical(KEY, there, step=step, out=out)
    add_one(step, stream)
    step.copy_to_device(np.array(0))
    with Captured(stream) as graph:
        ng.categorical(KEY, there, step=step, out=out)
        add_one(step, stream)
    for draw in range(4):
        graph.replay()
        np.testing.assert_array_equal(out.copy_to_host(), ng.categorical(KEY, x, step=draw))
    # A larger workspace takes the place of the graph's, which goes on using its own.
    ng.gumbel_topk(KEY, device(logits(40, 50_000), stream), 300)
    graph.replay()
    np.testing.assert_array_equal(out.copy_to_host(), ng.categorical(KEY, x, step=4))


def test_a_plan_in_a_graph():
    stream, x = cuda.stream(), logits(3, 5000)
    step = device(np.array(7), stream)
    prepared = ng.plan("categorical", KEY, device(x, stream), step=step)
    with Captured(stream) as graph:
        assert counted(prepared.launch) == (0, 0, 0)
    for draw in (7, 9):
        step.copy_to_device(np.array(draw))
        graph.replay()
        np.testing.assert_array_equal(prepared.result.copy_to_host(), ng.categorical(KEY, x, step=draw))


# Every operation that can be prepared, with the launches that it is.
PLANS = {
    "categorical": (lambda x: (KEY, x), {}, 1),
    "categorical_ragged": (lambda x: (KEY, x[0], device(np.array([0, 4, 9]))), {}, 1),
    "conditional_gumbel": (lambda x: (KEY, x, device(np.arange(6))), {}, 1),
    "draw": (lambda x: (KEY, x), {"want": ("score", "log_prob", "logsumexp", "entropy")}, 1),
    "gumbel": (lambda x: (KEY, (2, 5)), {}, 1),
    "gumbel_softmax": (lambda x: (KEY, x), {"tau": 0.5}, 1),
    "gumbel_topk": (lambda x: (KEY, x, 3), {}, 1),
    "sample_actions": (lambda x: (KEY, x), {"nvec": (4, 5)}, 1),
}


def test_launches_of_plans_make_no_arrays():
    """Neither in the device's memory, nor copies, nor waits; a call by itself makes its result."""
    assert set(PLANS) == set(planning.OPERATIONS)
    there = device(logits(6, 9))
    for name, (arguments, options, launches) in PLANS.items():
        out = {"out": device(np.zeros((2, 5), np.float32)), "dtype": np.float32} if name == "gumbel" else {}
        prepared = ng.plan(name, *arguments(there), **options, **out)
        before = emulator.counts()
        assert counted(lambda prepared=prepared: prepared.launch(3)) == (launches, 0, 0), name
        assert emulator.counts()["allocations"] == before["allocations"], name
    before = emulator.counts()
    kept = ng.categorical(KEY, there, step=1), ng.categorical(KEY, there, step=2)
    assert emulator.counts()["allocations"] == before["allocations"] + len(kept)


def test_what_a_capture_refuses():
    stream, x = cuda.stream(), logits(3, 5000)
    there, out = device(x, stream), device(np.zeros(3, np.int64), stream)
    small, few = device(logits(3, 6), stream), device(np.zeros(3, np.int64), stream)
    ng.categorical(KEY, small, out=few)
    with Captured(stream):
        with pytest.raises(RuntimeError, match=r"a workspace of \d+ bytes is needed and the stream is being captured"):
            ng.categorical(KEY, there, out=out)
        with pytest.raises(RuntimeError, match='invalid="raise" would wait for the stream, which is being captured'):
            ng.categorical(KEY, small, out=few, invalid="raise")
        ng.categorical(KEY, small, out=few)
    np.testing.assert_array_equal(few.copy_to_host(), ng.categorical(KEY, logits(3, 6)))
    ng.categorical(KEY, there, out=out)
    np.testing.assert_array_equal(out.copy_to_host(), ng.categorical(KEY, x))


def test_the_arrays_stream(monkeypatch):
    seen, stream = [], cuda.stream()
    monkeypatch.setattr(repeats.Launch, "queue", lambda self, values: seen.append(self.stream))
    ng.categorical(KEY, device(logits(3, 6), stream))
    ng.categorical(KEY, device(logits(3, 6)))

    class Array:
        """Of a library that says in the interface on which stream it works."""

        def __init__(self, array, told):
            self._told = {**array.__cuda_array_interface__, "stream": told}

        @property
        def __cuda_array_interface__(self):
            return self._told

    there = device(logits(3, 6))
    for told in (None, 1, 2, stream.handle):
        ng.categorical(KEY, Array(there, told))
    assert seen == [int(stream.handle), 0, 0, 1, 2, int(stream.handle)]


# --- devices ------------------------------------------------------------------------------------------------------------------


def test_the_device_of_the_array():
    x = logits(4, 3000)
    with cuda.gpus[1]:
        there = device(x)
    for _ in range(2):
        got = ng.categorical(KEY, there)
        assert got.gpu_data.context.device.id == 1
        assert memory.current_gpu() == 0
        np.testing.assert_array_equal(got.copy_to_host(), ng.categorical(KEY, x))
        with cuda.gpus[1]:
            same(ng.gumbel_topk(KEY, there, 3), ng.gumbel_topk(KEY, x, 3))


def test_two_devices_are_refused():
    x, here = logits(4, 30), device(logits(4, 30))
    with cuda.gpus[1]:
        mask, out = device(np.ones((4, 30), bool)), device(np.zeros(4, np.int64))
    with pytest.raises(TypeError, match="mask is on GPU 1 and logits on GPU 0: move one to the other"):
        ng.categorical(KEY, here, mask=mask)
    with pytest.raises(TypeError, match="out is on GPU 1 and logits on GPU 0"):
        ng.categorical(KEY, here, out=out)
    same(ng.categorical(KEY, here), ng.categorical(KEY, x))


# --- code on disk -------------------------------------------------------------------------------------------------------------


def fresh(signature=("i:1",)):
    """A kernel that has not been compiled in this process, and what compiles it is counted."""
    calls = []

    class Counted:
        py_func, targetoptions = argmax.argmax_rows.py_func, argmax.argmax_rows.targetoptions

        def compile(self, types):
            calls.append(types)
            return argmax.argmax_rows.compile(types)

    return Counted(), calls


def test_code_is_kept_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "cache_folder", lambda: tmp_path)
    x, there = logits(3, 6), device(logits(3, 6))
    signature = next(s for kernel, s, _ in compiled._functions if kernel is argmax.argmax_rows)
    for number in range(3):
        kernel, calls = fresh()
        assert compiled.function_of(kernel, signature) is not None
        assert len(calls) == (1 if number == 0 else 0)
    (kept,) = tmp_path.glob("argmax_rows-*.cubin")
    kept.write_bytes(kept.read_bytes()[:-1])  # not whole: compiled anew, and kept anew
    kernel, calls = fresh()
    compiled.function_of(kernel, signature)
    assert len(calls) == 1
    monkeypatch.setattr(compiled, "capability", lambda gpu: (8, 0))
    kernel, calls = fresh()
    compiled.function_of(kernel, signature)
    assert len(calls) == 1
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(compiled, "cache_folder", lambda: tmp_path / "nowhere")  # cannot be written to
    kernel, calls = fresh()
    assert compiled.function_of(kernel, signature) is not None
    same(ng.categorical(KEY, there), ng.categorical(KEY, x))


def test_the_first_call_of_a_process_compiles_nothing_that_is_kept():
    """And Numba warns of nothing: its own launches find small grids wasteful."""
    code = """
        import sys, warnings
        warnings.simplefilter("error")
        import emulator
        emulator.start()
        import numpy as np, numgumbel as ng
        from numba import cuda
        from numgumbel.kernels.gpu.argmax import argmax_rows
        x = cuda.to_device(np.zeros((3, 6), np.float32))
        argmax_rows.compile = None
        ng.categorical(ng.key(1), x)
    """
    ng.categorical(KEY, device(np.zeros((3, 6), np.float32)))
    place = Path(emulator.__file__).parent
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=place, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
