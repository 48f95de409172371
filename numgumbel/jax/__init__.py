"""JAX: samples inside `jit`, `vmap` and `grad`, on the CPU, whose memory the kernels read and write where it is.

Importing this needs jax. The functions of `numgumbel` itself take JAX's arrays, too, where nothing is traced.
"""

from .samples import categorical, gumbel, gumbel_softmax, gumbel_topk, key, log_prob_entropy, sample_actions

__all__ = ["categorical", "gumbel", "gumbel_softmax", "gumbel_topk", "key", "log_prob_entropy", "sample_actions"]
