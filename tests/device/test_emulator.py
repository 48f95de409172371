"""The emulated GPU itself: what a kernel does wrong is noticed, and what it computes is what IEEE 754 and PTX say."""

import os

import numpy as np
import pytest

if os.environ.get("NUMGUMBEL_TEST_DEVICE") != "emulated":
    pytest.skip("of the emulated GPU only", allow_module_level=True)

import emulator
from numba import int32, int64, uint32, uint64

from numgumbel.backends.gpu.launches import launch
from numgumbel.dispatch import family_of
from numgumbel.kernels.gpu.loading import cuda


def view(values):
    """A view of a copy in device memory, as kernels are given."""
    array = cuda.to_device(np.array(values))
    return family_of(array, "values").view(array)


def run(kernel, threads, *arguments, block=256):
    launch(kernel, threads, 0, *arguments, block=block)


@cuda.jit
def reads_at(values, at, out):
    out[cuda.threadIdx.x] = values[at + cuda.threadIdx.x]


def test_what_is_not_there_is_not_read(capfd):
    values, out = view(np.arange(64.0)), view(np.zeros(32))
    run(reads_at, 32, values, 32, out)
    np.testing.assert_array_equal(out.owner.copy_to_host(), np.arange(32, 64))
    with pytest.raises(RuntimeError, match="CUDA could not launch reads_at: CUDA_ERROR_ILLEGAL_ADDRESS"):
        run(reads_at, 32, values, 33, out)
    assert "an address where nothing is, thread 31 of block 0" in capfd.readouterr().err


@cuda.jit
def sums_up(values, out, ordered):
    """Each thread adds its value to the sum; without a barrier the first writes what others have not yet added."""
    total = cuda.shared.array(1, int64)
    if cuda.threadIdx.x == 0:
        total[0] = 0
    if ordered:
        cuda.syncthreads()
    cuda.atomic.add(total, 0, values[cuda.threadIdx.x])
    if ordered:
        cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        out[0] = total[0]


def test_a_missing_barrier_shows():
    values = view(np.arange(64))
    for ordered in (1, 0):
        found = []
        for backwards in (False, True):
            out = view(np.zeros(1, np.int64))
            if backwards:
                with emulator.backwards():
                    run(sums_up, 64, values, out, ordered)
            else:
                run(sums_up, 64, values, out, ordered)
            found.append(int(out.owner.copy_to_host()[0]))
        assert (found == [2016, 2016]) == bool(ordered)


@cuda.jit
def reads_shared(out):
    room = cuda.shared.array(4, uint32)
    out[cuda.threadIdx.x] = room[cuda.threadIdx.x & 3]


def test_shared_memory_holds_rubbish_at_first():
    out = view(np.zeros(32, np.uint32))
    run(reads_shared, 32, out)
    assert (out.owner.copy_to_host() == 0xA5A5A5A5).all()


@cuda.jit
def waits_alone(out):
    if cuda.threadIdx.x < 31:
        cuda.syncthreads()
    out[0] = 1


@cuda.jit
def meets_alone(out):
    if cuda.laneid < 16:
        out[cuda.laneid] = cuda.shfl_xor_sync(0xFFFFFFFF, int32(cuda.laneid), 1)


@cuda.jit
def meets_elsewhere(out):
    lane = cuda.laneid
    if lane < 16:
        out[lane] = cuda.shfl_xor_sync(0xFFFFFFFF, int32(lane), 1)
    else:
        out[lane] = cuda.shfl_xor_sync(0xFFFFFFFF, int32(lane + 1), 2)


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (waits_alone, "a thread waits for others that never come"),
        (meets_alone, "a thread waits for others that never come"),
        (meets_elsewhere, "lanes of a warp at different places"),
    ],
)
def test_waiting_for_nobody(kernel, words, capfd):
    with pytest.raises(RuntimeError, match="could not launch"):
        run(kernel, 32, view(np.zeros(32, np.int32)))
    assert words in capfd.readouterr().err
    test_shared_memory_holds_rubbish_at_first()  # and the next launch is as good as the first


@cuda.jit
def shuffles(values, out):
    lane = cuda.laneid
    x = values[lane]
    out[0, lane] = cuda.shfl_sync(0xFFFFFFFF, x, 5)
    out[1, lane] = cuda.shfl_up_sync(0xFFFFFFFF, x, 3)
    out[2, lane] = cuda.shfl_down_sync(0xFFFFFFFF, x, 4)
    out[3, lane] = cuda.shfl_xor_sync(0xFFFFFFFF, x, 16)
    out[4, lane] = cuda.ballot_sync(0xFFFFFFFF, x & 1) & 0x7FFFFFFF
    out[5, lane] = cuda.any_sync(0xFFFFFFFF, x > 1000)
    out[6, lane] = cuda.all_sync(0xFFFFFFFF, x >= 0)


def test_shuffles(order):
    x = np.random.default_rng(0).integers(0, 1000, 32).astype(np.int32)
    out = view(np.zeros((7, 32), np.int32))
    run(shuffles, 32, view(x), out)
    lanes = np.arange(32)
    ballot = int(((x & 1).astype(np.uint64) << lanes.astype(np.uint64)).sum()) & 0x7FFFFFFF
    want = [
        x[np.full(32, 5)],
        x[np.where(lanes >= 3, lanes - 3, lanes)],
        x[np.where(lanes < 28, lanes + 4, lanes)],
        x[lanes ^ 16],
    ]
    want += [np.full(32, ballot), np.zeros(32), np.ones(32)]
    np.testing.assert_array_equal(out.owner.copy_to_host(), np.array(want, np.int64).astype(np.int32))


NUMBERS = np.array([0.0, -0.0, 1.5, -2.5, 1e-45, 3e38, np.inf, -np.inf, np.nan, 7.999999, -1e10, 65504.5])


@cuda.jit
def computes(a, b, out, whole):
    i = cuda.threadIdx.x
    x, y = a[i], b[i]
    out[0, i], out[1, i], out[2, i], out[3, i] = x + y, x * y, x / y, min(x, y)
    out[4, i], out[5, i], out[6, i] = abs(x), (1.0 if x < y else 0.0), (1.0 if x == y else 0.0)
    whole[0, i] = int64(x) if abs(x) < 1e18 else 0
    whole[1, i] = (uint64(i) << uint64(61 + i)) ^ (uint64(whole[0, i]) >> uint64(3))
    whole[2, i] = (int64(i) - 7) // 3
    whole[3, i] = (int64(i) - 7) >> 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arithmetic(dtype):
    with np.errstate(all="ignore"):
        a, b = (each.ravel().astype(dtype) for each in np.meshgrid(NUMBERS, NUMBERS))
        a, b = np.resize(a, 160), np.resize(b, 160)
        out, whole = view(np.zeros((7, 160), dtype)), view(np.zeros((4, 160), np.int64))
        run(computes, 160, view(a), view(b), out, whole)
        want = np.array([a + b, a * b, a / b, np.fmin(a, b), np.abs(a), a < b, a == b]).astype(dtype)
        got = out.owner.copy_to_host()
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        np.testing.assert_array_equal(got[~np.isnan(want)], want[~np.isnan(want)])
        i, got = np.arange(160), whole.owner.copy_to_host()
        towards = np.where(np.abs(a) < 1e18, a, 0).astype(np.int64)
        np.testing.assert_array_equal(got[0], towards)
        shifted = np.where(61 + i < 64, i.astype(np.uint64) << np.minimum(61 + i, 63).astype(np.uint64), np.uint64(0))
        np.testing.assert_array_equal(got[1].view(np.uint64), shifted ^ (towards.view(np.uint64) >> np.uint64(3)))
        np.testing.assert_array_equal(got[2], (i - 7) // 3)
        np.testing.assert_array_equal(got[3], (i - 7) >> 1)


def test_sixteen_bytes_at_once_are_aligned():
    """A kernel that is told so loads whole pieces of 16 bytes; where they are not, that is an error, as on a GPU."""
    from numgumbel.kernels.gpu.argmax import argmax_rows
    from numgumbel.kernels.gpu.cells import ALIGNED_IDS, PACKED

    values = view(np.random.default_rng(1).normal(size=32).astype(np.float32))
    ids, mask, none = view(np.zeros((1, 1), np.int64)), view(np.zeros((1, 1, 1), np.uint8)), view(np.zeros(0, np.int64))
    index, narrow, score = (view(np.zeros((1, 1), kind)) for kind in (np.int64, np.int32, np.float32))

    def call(cells, flags):
        where = np.uint32(1), np.uint32(2), 0, ids, ids, ids[None], cells[None, None], mask
        run(argmax_rows, 32, *where, flags, 1.0, view(np.ones((1, 1))), 0, 1, 4, index, narrow, score, none)
        return int(index.owner.copy_to_host()[0, 0])

    assert call(values[:24], ALIGNED_IDS | PACKED) == call(values[:24], ALIGNED_IDS)
    call(values[1:25], ALIGNED_IDS)
    with pytest.raises(RuntimeError, match="MISALIGNED"):
        call(values[1:25], ALIGNED_IDS | PACKED)


def test_an_unknown_instruction_is_an_error():
    from translate import Translation

    body = [".reg .b32 %r<3>;", "mov.u32 %r1, 3;", "lop3.b32 %r2, %r1, %r1, %r1, 5;", "ret;"]
    text = "\n".join([".visible .entry k(", ".param .u64 k_param_0", ")", "{", *body, "}"])
    with pytest.raises(NotImplementedError, match=r"lop3\.b32"):
        Translation(text)
    assert Translation(text.replace("lop3.b32 %r2, %r1, %r1, %r1, 5", "add.u32 %r2, %r1, %r1")).sizes == [8]
