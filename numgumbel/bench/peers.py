"""Other libraries at the same workloads: logits plus Gumbel noise in a few plain lines, or the library's function for it.

One way a library, as a user would write it. ``bench/peers.py`` in the sources has faster ones. Peers know no ids, read halves
as copies in float32, and draw other numbers; their answers are looked at, and no checksum can be of them.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..threads import get_num_threads
from ..workloads import Inputs, Workload, host

LIBRARIES = "numpy", "torch", "jax", "cupy"
HINTS = {"cupy": "cupy-cuda13x"}  # where the distribution has another name
FORBIDDEN = -1e30  # in place of -inf, which times a probability of 0 is NaN


def missing(library: str) -> str | None:
    """What to install for a library, or None."""
    if importlib.util.find_spec(library):
        return None
    return f"{library} is not installed: python -m pip install {HINTS.get(library, library)}"


def places(library: str) -> tuple[str, ...]:
    """The backends beside which a library is timed."""
    return {"numpy": ("cpu",), "torch": ("cpu", "cuda"), "jax": ("cpu",), "cupy": ("cuda",)}[library]


def prepare(library: str, workload: Workload, inputs: Inputs, backend: str) -> Callable[[], Any] | None:
    """The call of a peer; None where it has no way to do the workload.

    Parameters
    ----------
    library : str
        One of `LIBRARIES`.
    workload : Workload
        What is to be done.
    inputs : Inputs
        Of it, in host memory.
    backend : str
        ``"cpu"`` or ``"cuda"``: where.

    Returns
    -------
    callable or None

    Examples
    --------
    >>> from numgumbel import workloads
    >>> from numgumbel.bench.peers import prepare
    >>> workload = workloads.get("rl.b8_a6.f32")
    >>> prepare("numpy", workload, workload.inputs(), "cpu")().shape
    (8,)
    """
    logits, mask = inputs.logits, inputs.mask
    x = logits if logits.dtype in (np.float32, np.float64) else logits.astype(np.float32)
    if mask is not None:
        x = np.where(mask, x, x.dtype.type(FORBIDDEN))
    if library == "numpy":
        return _arrays(np, workload, x)
    if library == "cupy":
        cupy = importlib.import_module("cupy")
        return _arrays(cupy, workload, cupy.asarray(x))
    return _torch(workload, x, backend) if library == "torch" else _jax(workload, x)


def check(workload: Workload, inputs: Inputs, result: Any) -> str | None:
    """What is wrong with a peer's answer, or None: shapes, categories that exist and are allowed, rows that add up to 1."""
    rows, columns = workload.shape
    result = host(result)
    first = result[0] if isinstance(result, tuple) else result
    if workload.operation == "gumbel_softmax":
        if first.shape != workload.shape or not np.allclose(first.sum(-1), 1, atol=1e-3):
            return "rows do not add up to 1"
        return None
    shape = {"gumbel_topk": (rows, workload.k)}.get(workload.operation, (rows,) if workload.n is None else (workload.n, rows))
    shape = shape if workload.nvec is None else (rows, len(workload.nvec))
    if first.shape != shape:
        return f"shape {first.shape}, wanted {shape}"
    if first.min() < 0 or first.max() >= columns:
        return f"a category that is not from 0 to {columns - 1}"
    if inputs.mask is not None and not inputs.mask[np.arange(rows), first].all():
        return "a category that is forbidden"
    return None


def _heads(workload: Workload) -> list[tuple[int, int]]:
    return list(itertools.pairwise((0, *itertools.accumulate(workload.nvec or (workload.shape[1],)))))


def _arrays(xp: Any, workload: Workload, x: Any) -> Callable[[], Any]:
    """NumPy's way, and CuPy's."""
    rng, operation = xp.random.default_rng(), workload.operation
    least = x.dtype.type(2.0**-149) if x.dtype == np.float32 else x.dtype.type(2.0**-1022)

    def noisy(part: Any) -> Any:
        return part - xp.log(xp.maximum(rng.standard_exponential(part.shape, dtype=part.dtype), least))

    def softmax(part: Any) -> Any:
        weights = xp.exp(part - part.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True)

    def of_head(first: int, end: int) -> tuple[Any, Any, Any]:
        part = x[:, first:end]
        action = noisy(part).argmax(-1)
        log_p = part - part.max(-1, keepdims=True)
        log_p = log_p - xp.log(xp.exp(log_p).sum(-1, keepdims=True))
        return action, xp.take_along_axis(log_p, action[:, None], -1)[:, 0], -(xp.exp(log_p) * log_p).sum(-1)

    def actions() -> Any:
        action, log_prob, entropy = zip(*(of_head(*head) for head in _heads(workload)), strict=True)
        return action[0] if workload.nvec is None else xp.stack(action, -1), sum(log_prob), sum(entropy)

    def topk() -> Any:
        scores, k = noisy(x), workload.k or 1
        index = xp.argpartition(scores, -k, axis=-1)[:, -k:]
        best = xp.take_along_axis(scores, index, -1)
        order = xp.argsort(-best, axis=-1)
        return xp.take_along_axis(index, order, -1), xp.take_along_axis(best, order, -1)

    def draw() -> Any:
        index, largest = noisy(x).argmax(-1), x.max(-1)
        logsumexp = largest + xp.log(xp.exp(x - largest[:, None]).sum(-1))
        return index, xp.take_along_axis(x, index[:, None], -1)[:, 0] - logsumexp, logsumexp

    def many() -> Any:
        sums = softmax(x.astype(np.float64)).cumsum(-1)
        return xp.stack([xp.searchsorted(row, rng.random(workload.n) * row[-1], side="right") for row in sums], -1)

    ways = {"gumbel_softmax": lambda: softmax(noisy(x)), "sample_actions": actions, "gumbel_topk": topk, "draw": draw}
    ways["categorical"] = (lambda: noisy(x).argmax(-1)) if workload.n is None else many
    return ways[operation]


def _torch(workload: Workload, x: np.ndarray, backend: str) -> Callable[[], Any] | None:
    import torch

    if workload.shape[1] >= 1 << 24:
        return None  # torch.multinomial refuses so many categories
    if backend == "cpu":
        torch.set_num_threads(get_num_threads())
    logits = torch.from_numpy(x).to(backend)

    def policy(part: Any) -> Any:
        return torch.distributions.Categorical(logits=part, validate_args=False)

    def actions() -> Any:
        known = []
        for first, end in _heads(workload):
            head = policy(logits[:, first:end])
            action = head.sample()
            known.append((action, head.log_prob(action), head.entropy()))
        action, log_prob, entropy = zip(*known, strict=True)
        return action[0] if workload.nvec is None else torch.stack(action, -1), sum(log_prob), sum(entropy)

    def draw() -> Any:
        head = policy(logits)
        index = head.sample()
        return index, head.log_prob(index), torch.logsumexp(logits, -1)

    def topk() -> Any:
        scores, index = torch.topk(logits - torch.empty_like(logits).exponential_().log_(), workload.k)
        return index, scores

    ways: dict[str, Callable[[], Any]] = {"sample_actions": actions, "draw": draw, "gumbel_topk": topk}
    ways["gumbel_softmax"] = lambda: torch.nn.functional.gumbel_softmax(logits)
    ways["categorical"] = (
        (lambda: policy(logits).sample())
        if workload.n is None
        else lambda: torch.multinomial(torch.softmax(logits, -1), workload.n, replacement=True).T
    )
    return ways[workload.operation]


def _jax(workload: Workload, x: np.ndarray) -> Callable[[], Any] | None:
    """Jitted, with a key folded from the number of the call."""
    if x.dtype == np.float64 or workload.n is not None:
        return None  # float64 is off in JAX, and many draws would make noise for all of them at once
    import jax

    jnp = jax.numpy

    def known(key: Any, part: Any) -> tuple[Any, Any, Any]:
        log_p = jax.nn.log_softmax(part, -1)
        action = jax.random.categorical(key, log_p)
        return action, jnp.take_along_axis(log_p, action[:, None], -1)[:, 0], -(jnp.exp(log_p) * log_p).sum(-1)

    def actions(key: Any, x: Any) -> Any:
        heads = _heads(workload)
        parts = [known(key, x[:, a:b]) for key, (a, b) in zip(jax.random.split(key, len(heads)), heads, strict=True)]
        action, log_prob, entropy = zip(*parts, strict=True)
        return action[0] if workload.nvec is None else jnp.stack(action, -1), sum(log_prob), sum(entropy)

    def draw(key: Any, x: Any) -> Any:
        index, log_prob, _ = known(key, x)
        return index, log_prob, jax.nn.logsumexp(x, -1)

    def noisy(key: Any, x: Any) -> Any:
        return x + jax.random.gumbel(key, x.shape, x.dtype)

    ways: dict[str, Callable[[Any, Any], Any]] = {
        "categorical": lambda key, x: jax.random.categorical(key, x),
        "sample_actions": actions,
        "draw": draw,
        "gumbel_topk": lambda key, x: tuple(jax.lax.top_k(noisy(key, x), workload.k)[::-1]),
        "gumbel_softmax": lambda key, x: jax.nn.softmax(noisy(key, x), -1),
    }
    way = ways[workload.operation]
    run, logits = jax.jit(lambda step, x: way(jax.random.fold_in(jax.random.key(0), step), x)), jnp.asarray(x)
    steps = itertools.count()
    return lambda: jax.block_until_ready(run(next(steps), logits))
