"""What is asked of the machine code of every kernel: its signature for each dtype of cells, and how many registers it may take.

Kernels have up to 256 threads a block: 128 registers leave room for two blocks a multiprocessor, 255 for one. Two is what all
have but for rows of float64 (`kernels.gpu.jit.launch_bounds`).
"""

from numba import types

from numgumbel.kernels.cpu.cells import ADDRESS_TYPES, TEMPERATURE_TYPES, row_types
from numgumbel.kernels.gpu import (
    argmax,
    column_ids,
    conditional,
    draw,
    inclusion,
    inverse_cdf,
    log_prob,
    merging,
    noise,
    ragged,
    softmax,
    topk,
)
from numgumbel.kernels.jit import BFLOAT16, FLOAT16, sink, view, working

CELLS = {"f32": types.float32, "f64": types.float64, "f16": FLOAT16, "bf16": BFLOAT16}
REALS = {"f32": types.float32, "f64": types.float64}

I32, I64 = types.int32, types.int64
INDEX = (sink(I64, 2), sink(I32, 2))
INVALID = sink(I64, 1)


def argmax_rows(cell):
    return types.void(*row_types(cell), I64, I64, I64, *INDEX, sink(working(cell), 2), INVALID)


def argmax_parts(cell):
    return types.void(*row_types(cell), I64, I64, I64, sink(I64, 2), sink(working(cell), 2))


def argmax_join(real):
    return types.void(view(real, 2), view(I64, 2), I64, I64, I64, I64, *INDEX, sink(real, 2), INVALID)


def argmax_ragged(cell):
    return types.void(*row_types(cell), view(I64, 1), I64, I64, I64, *INDEX, INVALID)


def inverse_cdf_rows(cell):
    return types.void(*row_types(cell), I64, I64, I64, *INDEX, INVALID)


def noise_rows(real):
    return types.void(*ADDRESS_TYPES, I64, types.float64, types.float64, I64, I64, sink(real, 3))


def softmax_rows(cell):
    return types.void(*row_types(cell), I64, I64, I64, I64, view(cell, 3), sink(cell, 3), INVALID)


def softmax_long_rows(cell):
    return types.void(*row_types(cell), I64, I64, I64, view(cell, 3), sink(cell, 3), INVALID)


def softmax_vjp_rows(cell):
    return types.void(view(cell, 3), view(cell, 3), view(types.uint8, 3), I64, *TEMPERATURE_TYPES, I64, I64, I64, sink(cell, 3))


def conditional_rows(cell):
    inputs = view(I64, 2), view(I64, 2), I64, I64, I64, I64, I64
    return types.void(*row_types(cell), *inputs, sink(working(cell), 3), INVALID)


def inclusion_rows(cell):
    real = working(cell)
    return types.void(view(cell, 3), I64, *TEMPERATURE_TYPES, view(I64, 3), view(real, 2), I64, I64, sink(real, 3))


def merge_rows(real):
    known = [view(real, 2)] * 4
    return types.void(view(I64, 2), *known, view(types.float64, 1), sink(I64, 1), *[sink(real, 1)] * 4)


def chosen_columns(cell):
    return types.void(view(I64, 3), I64, view(I64, 2), view(I32, 2), sink(I64, 2))


def copy_rows(real):
    return types.void(view(real, 2), sink(real, 2))


def draw_rows(cell):
    real = working(cell)
    index = view(I64, 1), sink(I64, 3), sink(I32, 3)
    return types.void(
        *row_types(cell), I64, I64, I64, *index, sink(real, 3), sink(real, 3), sink(real, 2), sink(real, 2), INVALID
    )


def log_prob_vjp_rows(cell):
    real = working(cell)
    given = view(I64, 1), view(I64, 3), view(real, 2), view(real, 2), types.float64, types.float64
    return types.void(
        view(cell, 3), view(types.uint8, 3), I64, *TEMPERATURE_TYPES, I64, I64, I64, *given, sink(cell, 3), INVALID
    )


def topk_rows(cell):
    real = working(cell)
    results = sink(I64, 3), sink(I32, 3), sink(real, 3), sink(real, 2)
    return types.void(*row_types(cell), I64, I64, *results, sink(real, 2), sink(I64, 2), INVALID)


# name: (kernel, signature of a cell type, dtypes, registers a thread in float32 and in float64, on sm_90)
KERNELS = {
    "topk_rows": (topk.topk_rows, topk_rows, CELLS, (128, 200)),
    "log_prob_vjp_rows": (log_prob.log_prob_vjp_rows, log_prob_vjp_rows, CELLS, (128, 168)),
    "draw_rows": (draw.draw_rows, draw_rows, CELLS, (128, 200)),
    "inclusion_rows": (inclusion.inclusion_rows, inclusion_rows, CELLS, (96, 96)),
    "merge_rows": (merging.merge_rows, merge_rows, REALS, (96, 96)),
    "chosen_columns": (column_ids.chosen_columns, chosen_columns, {"f32": types.float32}, (64, 64)),
    "copy_rows": (column_ids.copy_rows, copy_rows, REALS, (64, 64)),
    "conditional_rows": (conditional.conditional_rows, conditional_rows, CELLS, (128, 192)),
    "softmax_rows": (softmax.softmax_rows, softmax_rows, CELLS, (128, 152)),
    "softmax_long_rows": (softmax.softmax_long_rows, softmax_long_rows, CELLS, (128, 192)),
    "softmax_vjp_rows": (softmax.softmax_vjp_rows, softmax_vjp_rows, CELLS, (128, 128)),
    "noise_rows": (noise.noise_rows, noise_rows, REALS, (96, 128)),
    "argmax_ragged": (ragged.argmax_ragged, argmax_ragged, CELLS, (128, 168)),
    "inverse_cdf_rows": (inverse_cdf.inverse_cdf_rows, inverse_cdf_rows, CELLS, (128, 168)),
    "argmax_rows": (argmax.argmax_rows, argmax_rows, CELLS, (128, 168)),
    "argmax_parts": (argmax.argmax_parts, argmax_parts, CELLS, (128, 168)),
    "argmax_join": (argmax.argmax_join, argmax_join, REALS, (64, 64)),
}

__all__ = ["CELLS", "INDEX", "INVALID", "KERNELS", "REALS", "sink", "view", "working"]
