"""GPU drivers: requests laid out as rows, kernels queued on the caller's stream. Imported when a device array first arrives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .samples import categorical, inverse_cdf, ragged

OPERATIONS: dict[str, Callable[..., Any]] = {
    "categorical": categorical,
    "inverse_cdf": inverse_cdf,
    "ragged": ragged,
}
