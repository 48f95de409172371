"""What stands in for arguments and results that are not given: kernels take every argument."""

from __future__ import annotations

import numpy as np

# The first row's and the first column's ids are 0.
NO_ROWS = NO_STEPS = np.zeros((1, 1), np.int64)
NO_COLS = np.zeros((1, 1, 1), np.int64)
NO_TEMPERATURES = np.zeros((1, 1))
NO_MASK = np.zeros((1, 1, 1), np.uint8)
UNREAD = np.zeros(1, np.int64)  # for invalid rows, where the kernel's count is enough

INT64, INT32, FLOAT32 = np.dtype(np.int64), np.dtype(np.int32), np.dtype(np.float32)
REALS = FLOAT32, np.dtype(np.float64)

# By dtype, and for indices by the number of axes behind the rows.
NO_INDEX = {dtype: (np.zeros((1, 1), dtype), np.zeros((1, 1, 1), dtype)) for dtype in (INT64, INT32)}
NO_NARROW = NO_INDEX[INT32][0]
NO_REALS = {dtype: (np.zeros((1, 1), dtype), np.zeros((1, 1, 1), dtype)) for dtype in REALS}
NO_SPARE = {dtype: np.zeros(1, dtype) for dtype in REALS}

# By itemsize: logits, or what is like them.
NO_CELLS = {dtype.itemsize: np.zeros((1, 1, 1), dtype) for dtype in (np.dtype(np.float16), *REALS)}
