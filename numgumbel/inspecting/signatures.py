"""The kernels for GPUs: for which cells each is compiled, with which types of arguments, and which functions run it."""

from __future__ import annotations

from typing import Any

from numba import types

from ..kernels.cpu.cells import ADDRESS_TYPES, TEMPERATURE_TYPES, row_types
from ..kernels.gpu import (
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
from ..kernels.jit import BFLOAT16, FLOAT16, sink, view, working

CELLS = {"f32": types.float32, "f64": types.float64, "f16": FLOAT16, "bf16": BFLOAT16}
REALS = {"f32": types.float32, "f64": types.float64}

I32, I64 = types.int32, types.int64
INDEX = (sink(I64, 2), sink(I32, 2))
INVALID = sink(I64, 1)


def _argmax_rows(cell: Any) -> Any:
    return types.void(*row_types(cell), I64, I64, I64, *INDEX, sink(working(cell), 2), INVALID)


def _argmax_parts(cell: Any) -> Any:
    return types.void(*row_types(cell), I64, I64, I64, sink(I64, 2), sink(working(cell), 2))


def _argmax_join(real: Any) -> Any:
    return types.void(view(real, 2), view(I64, 2), I64, I64, I64, I64, *INDEX, sink(real, 2), INVALID)


def _argmax_ragged(cell: Any) -> Any:
    return types.void(*row_types(cell), view(I64, 1), I64, I64, I64, *INDEX, INVALID)


def _inverse_cdf_rows(cell: Any) -> Any:
    return types.void(*row_types(cell), I64, I64, I64, *INDEX, INVALID)


def _noise_rows(real: Any) -> Any:
    return types.void(*ADDRESS_TYPES, I64, types.float64, types.float64, I64, I64, sink(real, 3))


def _softmax_rows(cell: Any) -> Any:
    return types.void(*row_types(cell), I64, I64, I64, I64, view(cell, 3), sink(cell, 3), INVALID)


def _softmax_long_rows(cell: Any) -> Any:
    return types.void(*row_types(cell), I64, I64, I64, view(cell, 3), sink(cell, 3), INVALID)


def _softmax_vjp_rows(cell: Any) -> Any:
    return types.void(view(cell, 3), view(cell, 3), view(types.uint8, 3), I64, *TEMPERATURE_TYPES, I64, I64, I64, sink(cell, 3))


def _conditional_rows(cell: Any) -> Any:
    inputs = view(I64, 2), view(I64, 2), I64, I64, I64, I64, I64
    return types.void(*row_types(cell), *inputs, sink(working(cell), 3), INVALID)


def _inclusion_rows(cell: Any) -> Any:
    real = working(cell)
    return types.void(view(cell, 3), I64, *TEMPERATURE_TYPES, view(I64, 3), view(real, 2), I64, I64, sink(real, 3))


def _merge_rows(real: Any) -> Any:
    known = [view(real, 2)] * 4
    return types.void(view(I64, 2), *known, view(types.float64, 1), sink(I64, 1), *[sink(real, 1)] * 4)


def _chosen_columns(cell: Any) -> Any:
    return types.void(view(I64, 3), I64, view(I64, 2), view(I32, 2), sink(I64, 2))


def _copy_rows(real: Any) -> Any:
    return types.void(view(real, 2), sink(real, 2))


def _draw_rows(cell: Any) -> Any:
    real = working(cell)
    index = view(I64, 1), sink(I64, 3), sink(I32, 3)
    return types.void(
        *row_types(cell), I64, I64, I64, *index, sink(real, 3), sink(real, 3), sink(real, 2), sink(real, 2), INVALID
    )


def _log_prob_vjp_rows(cell: Any) -> Any:
    real = working(cell)
    given = view(I64, 1), view(I64, 3), view(real, 2), view(real, 2), types.float64, types.float64
    return types.void(
        view(cell, 3), view(types.uint8, 3), I64, *TEMPERATURE_TYPES, I64, I64, I64, *given, sink(cell, 3), INVALID
    )


def _topk_rows(cell: Any) -> Any:
    real = working(cell)
    results = sink(I64, 3), sink(I32, 3), sink(real, 3), sink(real, 2)
    return types.void(*row_types(cell), I64, I64, *results, sink(real, 2), sink(I64, 2), INVALID)


# Kernel, signature of a type of cells, dtypes of cells.
KERNELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "topk_rows": (topk.topk_rows, _topk_rows, CELLS),
    "log_prob_vjp_rows": (log_prob.log_prob_vjp_rows, _log_prob_vjp_rows, CELLS),
    "draw_rows": (draw.draw_rows, _draw_rows, CELLS),
    "inclusion_rows": (inclusion.inclusion_rows, _inclusion_rows, CELLS),
    "merge_rows": (merging.merge_rows, _merge_rows, REALS),
    "chosen_columns": (column_ids.chosen_columns, _chosen_columns, {"f32": types.float32}),
    "copy_rows": (column_ids.copy_rows, _copy_rows, REALS),
    "conditional_rows": (conditional.conditional_rows, _conditional_rows, CELLS),
    "softmax_rows": (softmax.softmax_rows, _softmax_rows, CELLS),
    "softmax_long_rows": (softmax.softmax_long_rows, _softmax_long_rows, CELLS),
    "softmax_vjp_rows": (softmax.softmax_vjp_rows, _softmax_vjp_rows, CELLS),
    "noise_rows": (noise.noise_rows, _noise_rows, REALS),
    "argmax_ragged": (ragged.argmax_ragged, _argmax_ragged, CELLS),
    "inverse_cdf_rows": (inverse_cdf.inverse_cdf_rows, _inverse_cdf_rows, CELLS),
    "argmax_rows": (argmax.argmax_rows, _argmax_rows, CELLS),
    "argmax_parts": (argmax.argmax_parts, _argmax_parts, CELLS),
    "argmax_join": (argmax.argmax_join, _argmax_join, REALS),
}

# A kernel that is compiled for ids and temperatures too, whatever the logits are.
BESIDE: dict[str, tuple[Any, Any]] = {
    "copy_rows[int64]": (column_ids.copy_rows, _copy_rows(I64)),
    "copy_rows[float64]": (column_ids.copy_rows, _copy_rows(types.float64)),
}

# What each function may run; those that are not here have none.
OF_OPERATION: dict[str, tuple[str, ...]] = {
    "categorical": ("argmax_rows", "argmax_parts", "argmax_join", "inverse_cdf_rows"),
    "categorical_ragged": ("argmax_ragged",),
    "draw": ("draw_rows", "chosen_columns"),
    "sample_actions": ("draw_rows",),
    "log_prob_entropy": ("draw_rows",),
    "log_prob_entropy_vjp": ("log_prob_vjp_rows",),
    "merge": ("copy_rows", "copy_rows[int64]", "copy_rows[float64]", "merge_rows"),
    "conditional_gumbel": ("conditional_rows",),
    "gumbel": ("noise_rows",),
    "gumbel_softmax": ("softmax_rows", "softmax_long_rows"),
    "gumbel_softmax_vjp": ("softmax_rows", "softmax_long_rows", "softmax_vjp_rows"),
    "gumbel_topk": ("topk_rows",),
    "inclusion_log_prob": ("inclusion_rows",),
}
