"""Other libraries' ways to do a GPU workload. Each is imported when asked for; one that is missing says what to install."""

import importlib
from dataclasses import dataclass

import numpy as np

TAU = 0.5


@dataclass(frozen=True)
class Peer:
    """A way of another library: `prepare` takes logits in host memory and a workload, and gives the call to time.

    `wait` waits for a result where a library does not work on the default stream.
    """

    name: str
    library: str
    operation: str
    prepare: object
    install: str
    wait: object = None

    def missing(self):
        """What to install for it, or None."""
        try:
            module = importlib.import_module(self.library)
        except ImportError:
            return f"{self.name} is left out: pip install {self.install}"
        usable = {"torch": lambda: module.cuda.is_available(), "jax": lambda: module.default_backend() == "gpu"}
        return (
            None if usable.get(self.library, lambda: True)() else f"{self.name} is left out: {self.library} finds no GPU here"
        )


def _tensor(logits):
    import torch

    words = logits.view(np.int16) if logits.dtype.kind == "V" else logits
    tensor = torch.from_numpy(words).cuda()
    return tensor.view(torch.bfloat16) if logits.dtype.kind == "V" else tensor


def _race(x):
    """Gumbel-max by exponentials, the fastest that torch has."""
    import torch

    return (x - torch.empty_like(x).exponential_().log()).argmax(-1)


def _multinomial(x):
    import torch

    return torch.multinomial(torch.softmax(x, -1), 1)


def _relaxed(x, tau):
    import torch.nn.functional as F

    return F.gumbel_softmax(x, tau)


def _policy(x):
    from torch.distributions import Categorical

    policy = Categorical(logits=x, validate_args=False)
    action = policy.sample()
    return action, policy.log_prob(action), policy.entropy()


def _fused_policy(x):
    """What a compiler can fuse: the same by a race."""
    import torch

    log_p = torch.log_softmax(x, -1)
    action = (log_p - torch.empty_like(x).exponential_().log()).argmax(-1)
    return action, log_p.gather(-1, action[:, None])[:, 0], -(log_p.exp() * log_p).sum(-1)


def _top(x, k):
    import torch

    return torch.topk((x - torch.empty_like(x).exponential_().log()).float(), k)


def _largest(x):
    return x.max()


def _torch(function, compiled=False):
    def prepare(logits, workload):
        x, options = _tensor(logits), workload.peer_options
        call = function
        if compiled:
            import torch

            call = torch.compile(function, dynamic=False)
        call(x, **options)
        return lambda: call(x, **options)

    return prepare


def _cupy(logits, workload):
    import cupy

    x = cupy.asarray(logits)
    return lambda: (x - cupy.log(cupy.random.standard_exponential(x.shape, dtype=x.dtype))).argmax(-1)


def _jax(logits, workload):
    import jax

    x, key = jax.device_put(logits), jax.random.key(0)
    draw = jax.jit(lambda key, x: jax.random.categorical(key, x))
    draw(key, x).block_until_ready()
    return lambda: draw(key, x)


def _triton(logits, workload):
    from gpu_triton import two_stages  # which needs Triton at its top

    return two_stages(_tensor(logits))


PEERS = [
    Peer("torch, race", "torch", "categorical", _torch(_race), "torch"),
    Peer("torch, race, compiled", "torch", "categorical", _torch(_race, True), "torch"),
    Peer("torch, multinomial", "torch", "categorical", _torch(_multinomial), "torch"),
    Peer("CuPy, race", "cupy", "categorical", _cupy, "cupy-cuda13x"),
    Peer("JAX, categorical", "jax", "categorical", _jax, '"jax[cuda13]"', lambda result: result.block_until_ready()),
    Peer("Triton, two stages", "triton", "categorical", _triton, "triton"),
    Peer("torch.max", "torch", "max", _torch(_largest), "torch"),
    Peer("torch, gumbel_softmax", "torch", "gumbel_softmax", _torch(_relaxed), "torch"),
    Peer("torch, gumbel_softmax, compiled", "torch", "gumbel_softmax", _torch(_relaxed, True), "torch"),
    Peer("torch, Categorical", "torch", "sample_actions", _torch(_policy), "torch"),
    Peer("torch, race and log_softmax, compiled", "torch", "sample_actions", _torch(_fused_policy, True), "torch"),
    Peer("torch, race and topk", "torch", "gumbel_topk", _torch(_top), "torch"),
    Peer("torch, race and topk, compiled", "torch", "gumbel_topk", _torch(_top, True), "torch"),
]
