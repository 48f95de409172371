"""`Categorical` and `RelaxedOneHotCategorical` in place of those of torch.distributions: one import changes."""

from __future__ import annotations

from typing import Any

import torch as _torch
import torch.distributions as _distributions
from torch.distributions.utils import lazy_property as _lazy_property
from torch.distributions.utils import probs_to_logits as _probs_to_logits

from .. import actions as _actions
from .. import ops as _ops
from ..backends.cpu.tensors import direct
from ..keys import Key, check_key
from .keys import draw_key
from .policies import LogProbAndEntropy
from .relaxed import gumbel_softmax

__all__ = ["Categorical", "RelaxedOneHotCategorical"]

_NONE = _torch.Size()


def _check_source(key: Any, generator: Any) -> None:
    """TypeError for a key that is none, or both."""
    if key is not None:
        check_key(key)
        if generator is not None:
            raise TypeError("one of key and generator may be given, got both")


class Categorical(_distributions.Categorical):  # type: ignore[misc]  # torch is not looked at
    """torch's `Categorical`, drawn by Gumbel-max: a sample, its log-probability and the entropy in one pass.

    What it is asked for, it is asked as torch's is: `sample`, `log_prob`, `entropy`, `probs`, `logits`, `mode`, `expand`,
    `enumerate_support`, `torch.distributions.kl_divergence`.

    Parameters
    ----------
    probs, logits : tensor, shape (..., K)
        One of them, as in torch.
    validate_args : bool, optional
        As in torch.
    mask : tensor of bool, int8 or uint8, optional
        Nonzero where a category is allowed; broadcast to the logits. Others have probability 0, and no gradient.
    key : Key, optional
        From `numgumbel.key`; samples then come from its field at `step`, `step` + 1, ... By default each call draws a key.
    step : int, default 0
        Of the first sample.
    generator : torch.Generator, optional
        Where keys are drawn, in place of torch's default generator.

    Raises
    ------
    TypeError, ValueError
        As torch's, and as `numgumbel.categorical`.

    Examples
    --------
    >>> import torch
    >>> from numgumbel.torch import Categorical
    >>> _ = torch.manual_seed(0)
    >>> policy = Categorical(logits=torch.zeros(3, 4, requires_grad=True))
    >>> action = policy.sample()
    >>> loss = -(policy.log_prob(action) + 0.01 * policy.entropy()).mean()
    >>> loss.backward()
    """

    _validate_args: bool

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
        *,
        mask: Any = None,
        key: Key | None = None,
        step: int = 0,
        generator: Any = None,
    ) -> None:
        _check_source(key, generator)
        self._key, self._step, self._generator, self._mask = key, step, generator, mask
        self._raw, self._known = logits, None  # type: Any, Any
        if mask is not None:
            if logits is None:
                raise TypeError("mask goes with logits, got probs: multiply them with it")
            self._mask = mask = mask.expand(logits.shape)
            logits = logits.masked_fill(mask == 0, -_torch.inf)
        validated = self._validate_args if validate_args is None else validate_args
        if logits is None or validated or logits.dim() < 1 or probs is not None:
            # A masked category's -inf is no real number, and meant: what the mask leaves is looked at.
            looked_at = validated and mask is None
            if validated and mask is not None and _torch.isnan(logits).any():
                raise ValueError("Expected parameter logits of distribution Categorical to have no NaN in allowed categories")
            super().__init__(probs, logits, validate_args=looked_at)
            self._validate_args = validated
            return
        # What torch's normalises at once is normalised when it is asked for.
        self._validate_args = False
        self._num_events = logits.shape[-1]
        self._batch_shape, self._event_shape = logits.shape[:-1], _NONE
        self._unnormalised = logits

    def __getattr__(self, name: str) -> Any:
        if name == "_param" and "_unnormalised" in self.__dict__:
            return self.logits
        raise AttributeError(f"{type(self).__name__} has no attribute {name}")

    @_lazy_property  # type: ignore[untyped-decorator]
    def logits(self) -> Any:
        """Normalised log-probabilities."""
        raw = self.__dict__.get("_unnormalised")
        return _probs_to_logits(self.probs) if raw is None else raw - raw.logsumexp(-1, keepdim=True)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Categorical:
        """The same distributions, repeated to a larger batch."""
        shape = _torch.Size(batch_shape)
        if self._raw is None:
            new = self._get_checked_instance(Categorical, _instance)
            super().expand(shape, new)
            new._raw, new._mask = None, None
        else:
            full = (*shape, self._num_events)
            mask = None if self._mask is None else self._mask.expand(full)
            new = Categorical(logits=self._raw.expand(full), validate_args=False, mask=mask)
            new._validate_args = self._validate_args
        new._key, new._step, new._generator, new._known = self._key, self._step, self._generator, None
        return new

    def sample(self, sample_shape: Any = _NONE) -> Any:
        """Categories of the field, at addresses of their own for each sample and row."""
        shape = sample_shape if isinstance(sample_shape, _torch.Size) else _torch.Size(sample_shape)
        count = shape.numel()
        key, step = (draw_key(self._generator), 0) if self._key is None else (self._key, self._step)
        if self._key is not None:
            self._step += count
        if self._raw is None:
            drawn = _ops.categorical(key, probs=self.probs.detach(), step=step, n=count)
            return drawn.reshape(shape + self._batch_shape)
        raw = self._raw.detach()
        if shape:
            return _ops.categorical(key, raw, step=step, mask=self._mask, n=count).reshape(shape + self._batch_shape)
        drawn = direct(_actions.sample_actions, raw, key=key, step=step, mask=self._mask)
        # With the sample come both numbers that a policy asks for next.
        self._known = drawn.action, drawn.action._version, (drawn.log_prob, drawn.entropy)
        return drawn.action

    def log_prob(self, value: Any) -> Any:
        """Log-probability of categories."""
        if self._validate_args:
            self._validate_sample(value)
        if self._raw is None or value.shape != self._batch_shape or value.is_floating_point():
            return super().log_prob(value)
        return self._told(value)[0]

    def entropy(self) -> Any:
        """Entropy, in nats."""
        if self._raw is None:
            return super().entropy()
        if self._known is not None:
            return self._told(self._known[0])[1]
        return self._told(_torch.zeros(self._batch_shape, dtype=_torch.int64, device=self._raw.device))[1]

    def _told(self, value: Any) -> Any:
        """(log_prob, entropy), from the sample where it is of that, else in a pass of its own, kept for the other."""
        tracked = _torch.is_grad_enabled() and self._raw.requires_grad
        known = self._known
        if known is not None and (known[0] is not value or known[1] != value._version):
            known = None
        if known is not None and known[2][0].requires_grad == tracked:
            return known[2]
        options = {"nvec": None, "mask": self._mask, "temperature": 1.0, "axis": -1, "invalid": None}
        if tracked:
            pair = LogProbAndEntropy.apply(self._raw, value, options, None if known is None else known[2])
        elif known is not None:
            pair = tuple(each.detach() for each in known[2])
        else:
            pair = tuple(_actions.log_prob_entropy(self._raw.detach(), value.to(_torch.int64), mask=self._mask))
        self._known = value, value._version, pair
        return pair

    @property
    def mode(self) -> Any:
        """The likeliest category."""
        return (self.probs if self._raw is None else self._unmasked()).argmax(-1)

    def _unmasked(self) -> Any:
        return self._raw if self._mask is None else self._raw.masked_fill(self._mask == 0, -_torch.inf)


class RelaxedOneHotCategorical(_distributions.RelaxedOneHotCategorical):  # type: ignore[misc]
    """torch's `RelaxedOneHotCategorical`, whose samples are fused, and differentiable in logits and temperature.

    Parameters
    ----------
    temperature : tensor or float
        Of the relaxation; broadcast over the batch.
    probs, logits : tensor, shape (..., K)
        One of them, as in torch.
    validate_args : bool, optional
        As in torch.
    key, step, generator
        As in `Categorical`.

    Examples
    --------
    >>> import torch
    >>> import numgumbel as ng
    >>> from numgumbel.torch import RelaxedOneHotCategorical
    >>> relaxed = RelaxedOneHotCategorical(torch.tensor(0.5), logits=torch.zeros(3, 4), key=ng.key(42))
    >>> y = relaxed.rsample()
    >>> bool(torch.allclose(y.sum(-1), torch.ones(3)))
    True
    """

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
        *,
        key: Key | None = None,
        step: int = 0,
        generator: Any = None,
    ) -> None:
        temperature = temperature if _torch.is_tensor(temperature) else _torch.tensor(float(temperature))
        super().__init__(temperature, probs, logits, validate_args=validate_args)
        _check_source(key, generator)
        self._key, self._step, self._generator = key, step, generator

    def expand(self, batch_shape: Any, _instance: Any = None) -> RelaxedOneHotCategorical:
        """The same distributions, repeated to a larger batch."""
        new = self._get_checked_instance(RelaxedOneHotCategorical, _instance)
        super().expand(batch_shape, _instance=new)
        new._key, new._step, new._generator = self._key, self._step, self._generator
        return new

    def rsample(self, sample_shape: Any = _NONE) -> Any:
        """Relaxed one-hot samples, at addresses of their own."""
        shape = _torch.Size(sample_shape) + self.logits.shape
        logits = self.logits.expand(shape)
        temperature = self.temperature
        tau: Any = temperature
        if temperature.dim():  # with the axis of the categories, of size 1, as torch broadcasts it
            tau = temperature.expand(*shape[:-1], 1)[..., 0]
        elif not temperature.requires_grad:
            tau = float(temperature)
        key, step = (draw_key(self._generator), 0) if self._key is None else (self._key, self._step)
        if self._key is not None:
            self._step += 1
        return gumbel_softmax(logits, tau, key=key, step=step)

    def sample(self, sample_shape: Any = _NONE) -> Any:
        """`rsample` without a gradient."""
        with _torch.no_grad():
            return self.rsample(sample_shape)
