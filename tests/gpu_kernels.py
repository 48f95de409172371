"""What is asked of the machine code of every kernel: its signature for each dtype of cells, and how many registers it may take.

Kernels have up to 256 threads a block: 128 registers leave room for two blocks a multiprocessor, 255 for one. Two is what all
have but for rows of float64 (`kernels.gpu.jit.launch_bounds`).
"""

from numgumbel.inspecting.signatures import KERNELS as _KERNELS

# Registers a thread in float32 and in float64, on sm_90.
REGISTERS = {
    "topk_rows": (128, 200),
    "log_prob_vjp_rows": (128, 168),
    "draw_rows": (128, 200),
    "inclusion_rows": (96, 96),
    "merge_rows": (96, 96),
    "chosen_columns": (64, 64),
    "copy_rows": (64, 64),
    "conditional_rows": (128, 192),
    "softmax_rows": (128, 152),
    "softmax_long_rows": (128, 192),
    "softmax_vjp_rows": (128, 128),
    "noise_rows": (96, 128),
    "argmax_ragged": (128, 168),
    "inverse_cdf_rows": (128, 168),
    "argmax_rows": (128, 168),
    "argmax_parts": (128, 168),
    "argmax_join": (64, 64),
}

# name: (kernel, signature of a cell type, dtypes, registers)
KERNELS = {name: (*known, REGISTERS[name]) for name, known in _KERNELS.items()}
