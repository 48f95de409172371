"""What a driver can take as it is: the arguments of plain calls, told from others as fast as can be.

A call with no others takes a short way, without a `Request`. Everything else is looked at by `arguments`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arguments import STEP_END, in_range, is_logits
from .keys import Key

_F32, _F64, _INT64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)
_MASKS = np.dtype(np.bool_), np.dtype(np.int8), np.dtype(np.uint8)


def are_plain(key: Any, logits: Any, step: Any, temperature: Any) -> bool:
    """Whether these are: a key, NumPy logits of one to three axes, a whole step, a float temperature."""
    return (
        type(logits) is np.ndarray
        and type(key) is Key
        and (logits.dtype is _F32 or logits.dtype is _F64 or is_logits(logits.dtype))
        and logits.size > 0
        and 0 < logits.ndim < 4
        and logits.flags.aligned
        and type(step) is int
        and 0 <= step < STEP_END
        and type(temperature) is float
        and (temperature == 1.0 or in_range(temperature))
    )


def plain_rows(rows: Any, logits: np.ndarray) -> Any:
    """Row ids that are int64, one a row; None where there are none, False for others."""
    if rows is None:
        return None
    plain = type(rows) is np.ndarray and rows.dtype is _INT64 and rows.shape == logits.shape[:-1] and rows.flags.aligned
    return rows if plain else False


def plain_mask(mask: Any, logits: np.ndarray) -> Any:
    """A mask of the logits' shape; None where there is none, False for others."""
    if mask is None:
        return None
    return mask if type(mask) is np.ndarray and mask.shape == logits.shape and mask.dtype in _MASKS else False
