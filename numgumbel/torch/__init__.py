"""PyTorch: relaxed samples with gradients, straight-through estimators, and distributions that take the place of torch's.

Importing this needs torch. Noise comes from an address, as everywhere in the package: from `key` and `step` where they are
given, else from a key drawn from a `torch.Generator`, torch's default one unless another is passed, so that `torch.manual_seed`
decides.

The functions of `numgumbel` itself take tensors, too, on the CPU and on CUDA devices, and know of no gradients.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as problem:
    raise ImportError('numgumbel.torch needs PyTorch: pip install "numgumbel[torch]"') from problem

from .distributions import Categorical, RelaxedOneHotCategorical
from .keys import draw_key
from .memory import empty_cache
from .policies import log_prob_entropy
from .relaxed import ESTIMATORS, gumbel_softmax

__all__ = [
    "ESTIMATORS",
    "Categorical",
    "RelaxedOneHotCategorical",
    "draw_key",
    "empty_cache",
    "gumbel_softmax",
    "log_prob_entropy",
]
