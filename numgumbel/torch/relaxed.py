"""Relaxed one-hot samples with gradients, and straight-through estimators of the gradient of a discrete choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch as _torch

from .. import ops as _ops
from ..keys import Key
from .keys import key_of, key_tensor
from .operators import relaxed

__all__ = ["ESTIMATORS", "gumbel_softmax"]


def gumbel_softmax(
    logits: Any,
    tau: Any = 1.0,
    hard: bool = False,
    dim: int = -1,
    *,
    key: Key | None = None,
    step: int = 0,
    generator: Any = None,
    rows: Any = None,
    cols: Any = None,
    mask: Any = None,
    invalid: str | None = None,
    estimator: str = "st",
    samples: int = 8,
    gap: float = 1.0,
) -> Any:
    """Relaxed one-hot sample, differentiable in the logits: `torch.nn.functional.gumbel_softmax` on this package's noise.

    Parameters
    ----------
    logits : tensor of float32, float64, float16 or bfloat16, shape (..., K, ...)
        Unnormalised log-probabilities, on the CPU or on a CUDA device.
    tau : float or tensor of float64, default 1
        Relaxation temperature; a tensor holds one for all or one a row, and may require a gradient.
    hard : bool, default False
        Return the exact one-hot (0.0 and 1.0) of the largest entry, with the gradient that `estimator` names.
    dim : int, default -1
        Axis of the categories.
    key : Key, optional
        From `numgumbel.key`; with `step`, the address of the noise. By default one is drawn from a generator.
    step : int, default 0
        Draw counter.
    generator : torch.Generator, optional
        Where the key is drawn, in place of torch's default generator.
    rows, cols, mask, invalid
        As in `numgumbel.gumbel_softmax`.
    estimator : {"st", "gumbel_rao", "gapped", "reinmax"}
        With `hard`, whose gradient stands for that of the discrete choice:

        - "st": that of the soft sample of the same noise, the straight-through Gumbel-softmax (Jang et al. 2017);
        - "gumbel_rao": its mean over `samples` conditional samples given the choice (Paulus et al. 2020);
        - "gapped": that of a softmax whose logits are pushed `gap` apart in favour of the choice (Fan et al. 2022);
        - "reinmax": a second-order approximation without relaxed noise (Liu et al. 2023), best at `tau` of 1 or more.
    samples : int, default 8
        Conditional samples of "gumbel_rao".
    gap : float, default 1
        Of "gapped".

    Returns
    -------
    tensor of the logits' dtype and shape
        To the bit what `numgumbel.gumbel_softmax` gives at the same address.

    Raises
    ------
    TypeError
        For logits of another dtype, a key that is none, or both of key and generator.
    ValueError
        For an unknown estimator, `estimator` without `hard`, a temperature out of range, invalid rows.
    RuntimeError
        In a second backward pass through the gradient; for "gumbel_rao" under transforms of torch.func, `vmap` among them.

    Notes
    -----
    A soft sample is all that is kept for the backward pass. A hard one keeps the logits and its address, and is made again.

    References
    ----------
    Jang, Gu, Poole, arXiv:1611.01144. Paulus, Maddison, Krause, "Rao-Blackwellizing the straight-through Gumbel-softmax
    gradient estimator", ICLR 2021, arXiv:2010.04838. Fan, Chi, Rudnicky, Ramadge, "Training discrete deep generative models
    via gapped straight-through estimator", ICML 2022, arXiv:2206.07235. Liu, Dong, Liu, Yu, Gao, "Bridging discrete and
    backpropagation: straight-through and beyond", NeurIPS 2023, arXiv:2304.08612.

    Examples
    --------
    >>> import torch
    >>> import numgumbel as ng
    >>> from numgumbel.torch import gumbel_softmax
    >>> logits = torch.log(torch.tensor([[0.1, 0.7, 0.2]] * 4)).requires_grad_()
    >>> y = gumbel_softmax(logits, tau=0.5, key=ng.key(42), hard=True)
    >>> y.argmax(-1), bool(((y == 0) | (y == 1)).all())
    (tensor([1, 1, 1, 1]), True)
    >>> y[:, 1].sum().backward()
    >>> logits.grad.shape
    torch.Size([4, 3])
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}")
    if estimator != "st" and not hard:
        raise ValueError(f'estimator {estimator!r} is of discrete samples: pass hard=True, or estimator="st"')
    if estimator == "gumbel_rao" and _torch._C._are_functorch_transforms_active():
        raise RuntimeError('estimator "gumbel_rao" goes with no transform of torch.func: take another, or torch.autograd')
    where = key_tensor(key, generator)
    number, taus = (float(tau), None) if not _torch.is_tensor(tau) else (1.0, tau.to(_torch.float64))
    address = where, step, number, taus, dim, mask, rows, cols, invalid
    if estimator == "st":
        return relaxed(logits, hard, *address)
    if mask is not None:  # a masked category has no probability
        logits = logits.masked_fill(mask == 0, -_torch.inf)
    one_hot = relaxed(logits.detach(), True, *address)
    scale = tau if not _torch.is_tensor(tau) or not tau.dim() else tau.unsqueeze(dim)
    soft = _SURROGATES[estimator](logits, one_hot, scale, dim, samples=samples, gap=gap, where=where, step=step)
    return one_hot + (soft - soft.detach())  # x - x is 0, and a number plus 0 the number: the one-hot stays exact


def _gumbel_rao(logits: Any, one_hot: Any, tau: Any, dim: int, *, samples: int, where: Any, step: int, **_: Any) -> Any:
    """Mean of relaxed samples whose noise is conditioned on the choice (algorithm 1 of the paper)."""
    index = one_hot.argmax(dim)
    given = _ops.conditional_gumbel(key_of(where), logits.detach(), index, step=step, axis=dim, n=samples)
    place = dim if dim < 0 else dim + 1
    return _torch.softmax((logits + given.to(logits.dtype)) / tau, place).mean(0)


def _gapped(logits: Any, one_hot: Any, tau: Any, dim: int, *, gap: float, **_: Any) -> Any:
    """Softmax of logits pushed so far apart that the choice leads by a gap (equations 9 and 10 of the paper)."""
    fixed = logits.detach()
    largest = fixed.amax(dim, keepdim=True)
    chosen = (fixed * one_hot).nan_to_num(nan=0.0).sum(dim, keepdim=True)
    raised = one_hot * (largest - chosen)
    lowered = (1 - one_hot) * (fixed + gap - largest).clamp(min=0.0)
    return _torch.softmax((logits + raised - lowered) / tau, dim)


def _reinmax(logits: Any, one_hot: Any, tau: Any, dim: int, **_: Any) -> Any:
    """2 pi_1 - pi_0 / 2, where pi_1 is half way from the tempered distribution to the choice (algorithm 2 of the paper)."""
    plain = _torch.softmax(logits, dim)
    half = (one_hot + _torch.softmax(logits.detach() / tau, dim)) / 2
    return 2 * _through(half, logits, dim) - plain / 2


def _through(weights: Any, logits: Any, dim: int) -> Any:
    """Given weights, as the softmax of logits that have been shifted there."""
    shift = (weights.log() - logits).detach().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return _torch.softmax(shift + logits, dim)


_SURROGATES: dict[str, Callable[..., Any]] = {"gumbel_rao": _gumbel_rao, "gapped": _gapped, "reinmax": _reinmax}
ESTIMATORS = ("st", *_SURROGATES)
