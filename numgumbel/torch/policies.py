"""Log-probability and entropy of given actions, differentiable: the update phase of policy gradients."""

from __future__ import annotations

from typing import Any

import torch as _torch

from .. import actions as _actions
from ..actions import LogProbEntropy
from ..backends.cpu.tensors import direct

__all__ = ["log_prob_entropy"]


def log_prob_entropy(
    logits: Any,
    actions: Any,
    *,
    nvec: Any = None,
    mask: Any = None,
    temperature: float = 1.0,
    dim: int = -1,
    invalid: str | None = None,
) -> LogProbEntropy:
    """`numgumbel.log_prob_entropy` with gradients in the logits.

    Parameters
    ----------
    logits : tensor of float32, float64, float16 or bfloat16, shape (..., K)
        On the CPU or on a CUDA device.
    actions : tensor of int64, shape (...), or (..., H) for H heads
        As `numgumbel.sample_actions` returns them.
    nvec, mask, temperature, invalid
        As in `numgumbel.log_prob_entropy`.
    dim : int, default -1
        Axis of the categories.

    Returns
    -------
    LogProbEntropy
        ``log_prob`` and ``entropy``, shape (...). Both are of one node of the graph, so that one pass over the logits is the
        backward pass of both.

    Raises
    ------
    TypeError, ValueError
        As in `numgumbel.log_prob_entropy`.
    RuntimeError
        In a second backward pass through the gradient.

    Examples
    --------
    >>> import torch
    >>> from numgumbel.torch import log_prob_entropy
    >>> logits = torch.zeros(2, 4, requires_grad=True)
    >>> told = log_prob_entropy(logits, torch.tensor([1, 3]))
    >>> (told.log_prob.sum() + 0.01 * told.entropy.sum()).backward()
    >>> logits.grad[0]
    tensor([-0.2500,  0.7500, -0.2500, -0.2500])
    """
    options = {"nvec": nvec, "mask": mask, "temperature": temperature, "axis": dim, "invalid": invalid}
    return LogProbEntropy(*LogProbAndEntropy.apply(logits, actions, options, None))


class LogProbAndEntropy(_torch.autograd.Function):  # type: ignore[misc]  # torch is not looked at
    """(log_prob, entropy) of actions; `known` are both where they are known already."""

    @staticmethod
    def forward(ctx: Any, logits: Any, actions: Any, options: dict[str, Any], known: Any) -> Any:
        """Look the actions up."""
        mask = options["mask"]
        ctx.save_for_backward(logits, actions, mask if _torch.is_tensor(mask) else None)
        ctx.options = options
        if known is not None:
            return known
        return tuple(_actions.log_prob_entropy(logits.detach(), actions, **options))

    @staticmethod
    def backward(ctx: Any, log_prob: Any, entropy: Any) -> Any:
        """One pass over the logits."""
        logits, actions, mask = ctx.saved_tensors
        options = ctx.options if mask is None else {**ctx.options, "mask": mask}
        if _torch.is_grad_enabled():  # with create_graph=True: a graph that tells that it ends here
            return _Slopes.apply(logits, actions, log_prob, entropy, options), None, None, None
        return _slopes(logits, actions, log_prob, entropy, options), None, None, None


def _slopes(logits: Any, actions: Any, log_prob: Any, entropy: Any, options: dict[str, Any]) -> Any:
    return direct(_actions.log_prob_entropy_vjp, logits.detach(), actions, log_prob, entropy, **options)


class _Slopes(_torch.autograd.Function):  # type: ignore[misc]
    """The gradient, which has none."""

    @staticmethod
    def forward(ctx: Any, logits: Any, actions: Any, log_prob: Any, entropy: Any, options: dict[str, Any]) -> Any:
        return _slopes(logits, actions, log_prob, entropy, options)

    @staticmethod
    def backward(ctx: Any, *_cotangents: Any) -> Any:
        raise RuntimeError(
            "numgumbel: the gradient of log_prob_entropy has no gradient: write it in torch for second derivatives"
        )
