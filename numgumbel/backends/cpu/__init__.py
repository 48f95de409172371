"""CPU drivers: requests laid out as rows, output arrays' views, and the row kernels run over them on several threads.

Threads share the rows of a kernel call; where there are fewer rows than threads, `categorical` shares columns instead and joins
the parts, largest score first. Neither shows in a result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .draws import chosen_columns, conditional, draw, inclusion, log_prob_vjp, merge
from .plain import plain_categorical, plain_draw, plain_log_prob_vjp, plain_softmax, plain_topk
from .samples import categorical, inverse_cdf, noise, ragged, softmax, softmax_gradient, softmax_vjp, topk

OPERATIONS: dict[str, Callable[..., Any]] = {
    "categorical": categorical,
    "plain_categorical": plain_categorical,
    "inverse_cdf": inverse_cdf,
    "ragged": ragged,
    "topk": topk,
    "plain_topk": plain_topk,
    "inclusion": inclusion,
    "draw": draw,
    "plain_draw": plain_draw,
    "log_prob_vjp": log_prob_vjp,
    "plain_log_prob_vjp": plain_log_prob_vjp,
    "merge": merge,
    "chosen_columns": chosen_columns,
    "softmax": softmax,
    "plain_softmax": plain_softmax,
    "softmax_gradient": softmax_gradient,
    "softmax_vjp": softmax_vjp,
    "noise": noise,
    "conditional": conditional,
}
