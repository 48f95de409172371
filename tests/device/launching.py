"""Arguments of kernels made from NumPy arrays, as a driver makes them."""

import numpy as np

from numgumbel.kernels.cpu.cells import HAS_COLS, HAS_MASK, HAS_ROWS, HAS_STEPS, HAS_TEMPERATURES, IS_PROBS
from numgumbel.kernels.gpu.cells import ALIGNED_IDS, PACKED
from numgumbel.kernels.gpu.loading import SIMULATED

if SIMULATED:
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
else:
    import emulator

    from numgumbel.backends.gpu.launches import launch as drivers_launch

WARP = 32


def words_of(key):
    """Key words k0 and k1."""
    return np.uint32(int(key) & 0xFFFFFFFF), np.uint32(int(key) >> 32)


def address(key, shape, *, step=0, steps=None, rows=None, cols=None, first_row=0, first_col=0):
    """(k0, k1, step, steps, rows, cols) and the flags of what is given; `shape` is (outer, inner, K)."""
    flags = (steps is not None) * HAS_STEPS | (rows is not None) * HAS_ROWS | (cols is not None) * HAS_COLS
    flags |= ALIGNED_IDS if cols is None and first_col % 8 == 0 else 0
    steps = np.zeros((1, 1), np.int64) if steps is None else np.array(np.broadcast_to(steps, shape[:2]))
    rows = np.full((1, 1), first_row) if rows is None else np.array(np.broadcast_to(rows, shape[:2]))
    cols = np.full((1, 1, 1), first_col) if cols is None else np.array(np.broadcast_to(cols, shape))
    return (*words_of(key), step, steps, rows, cols), flags


def sampling(key, cells, *, mask=None, probs=False, temperature=1.0, temperatures=None, flags=0, **where):
    """What sampling kernels take first, up to the temperatures. `cells`: (outer, inner, K)."""
    first, given = address(key, cells.shape, **where)
    flags |= given | (mask is not None) * HAS_MASK | probs * IS_PROBS | (temperatures is not None) * HAS_TEMPERATURES
    pieces = [cells.ctypes.data, *(stride for stride, size in zip(cells.strides[:2], cells.shape, strict=False) if size > 1)]
    flags |= PACKED if cells.strides[2] == cells.itemsize and all(piece % 16 == 0 for piece in pieces) else 0
    mask = np.ones((1, 1, 1), np.uint8) if mask is None else np.broadcast_to(mask, cells.shape).astype(np.uint8)
    temperatures = np.ones((1, 1)) if temperatures is None else np.array(np.broadcast_to(temperatures, cells.shape[:2]), float)
    return (*first, as_stored(cells), mask, flags, temperature, temperatures)


def as_stored(cells):
    """Halves as the integers that kernels read: uint16 for float16, int16 for bfloat16."""
    if cells.dtype == np.float16:
        return cells.view(np.uint16)
    return cells.view(np.int16) if cells.dtype.itemsize == 2 else cells


def rows_at_the_ends(dtype):
    """Rows of nine logits: excluded, NaN, the smallest and largest numbers, +inf, both zeros, both ends of the range."""
    top, inf = np.finfo(dtype).max, np.inf
    return np.array(
        [
            [-inf] * 9,
            [1, np.nan, 2] * 3,
            [-top] * 9,
            [-inf, -top] * 4 + [-inf],
            [1, inf, 2] * 3,
            [top] * 9,
            [0.0, -0.0, 0] * 3,
            [top, -top, 0] * 3,
        ],
        dtype,
    )


def launch(kernel, threads, *arguments, block=256):
    """Run a kernel with so many threads, in whole warps, on host arrays as they lie."""
    threads = -(-threads // WARP) * WARP
    block = min(block, threads)
    arrays = [argument for argument in arguments if isinstance(argument, np.ndarray)]
    if SIMULATED:  # passed by themselves they would be copied, and may have to be contiguous
        given = [FakeCUDAArray(each) if isinstance(each, np.ndarray) else each for each in arguments]
        kernel[-(-threads // block), block](*given)
        return
    given = [each if isinstance(each, (np.ndarray, np.uint32, float)) else int(each) for each in arguments]
    with emulator.lent(arrays):
        drivers_launch(kernel, threads, 0, *given, block=block)
