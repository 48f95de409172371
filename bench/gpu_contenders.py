"""Whoever does the cases on a GPU: numgumbel, peers by torch, CuPy, JAX and Triton, and bars that only read the logits.

Ready-made is what a library has for the job, and logits plus Gumbel noise in a few plain lines; hand-tuned is where more
thought has gone into speed. All torch peers run as they are and through ``torch.compile``, but for those that write into
buffers, or do not compile to anything else. Noise is float32 beside half-precision logits, which are read as they are. Peers
know no ids.

Libraries are imported when their contenders are prepared; calls take the number of a step, which only numgumbel and Triton use.
"""

import functools
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from contender import BAR, HAND_TUNED, OURS, READY_MADE
from gpu_cases import Case, Problem
from gpu_checks import check_bar, check_ours, check_peer

import numgumbel as ng
from numgumbel.kernels.gpu.loading import cuda

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take most of the memory from the others

EVENTS, HOST = "events", "host"
LIBRARIES = "torch", "torch.compile", "cupy", "jax", "triton"
LONG = 1000  # columns from which a block a part of a row makes sense
FORBIDDEN = -1e30  # in place of -inf, which times a probability of 0 is NaN


@dataclass(frozen=True)
class GpuContender:
    """A way to do some cases.

    Attributes
    ----------
    name, kind : str
        Kinds are those of `contender`.
    library : str
        ``"numba"``, or one of `LIBRARIES`.
    prepare : callable
        Problem -> call, which takes a step. All that need not be timed is done here.
    fits : callable
        Case -> bool.
    check : callable
        (problem, result), raises `Wrong`.
    clock : str
        `EVENTS`, or `HOST` for who works on streams of its own.
    """

    name: str
    kind: str
    library: str
    prepare: Callable[[Problem], Callable[[int], Any]]
    fits: Callable[[Case], bool] = lambda case: True
    check: Callable[[Problem, Any], None] = check_peer
    clock: str = EVENTS


CONTENDERS: list[GpuContender] = []


@functools.cache
def missing(library):
    """A line that says what to install for a library, or None."""
    install = f"python -m pip install {INSTALL[library]}"
    try:
        if library == "cupy":
            there = importlib.import_module("cupy").cuda.is_available()
        elif library == "jax":
            there = importlib.import_module("jax").default_backend() == "gpu"
        else:
            there = importlib.import_module("torch").cuda.is_available()
            if there and library != "torch":
                importlib.import_module("triton")
    except ImportError as absent:
        return f"{library} is left out, {absent.name} is not installed: {install}"
    except Exception as trouble:  # whatever a library raises that finds no driver to its liking
        return f"{library} is left out: {trouble}"
    return None if there else f"{library} is left out, it sees no GPU: {install}"


INSTALL = {
    "torch": "torch",
    "torch.compile": "torch triton",
    "cupy": "cupy-cuda13x",
    "jax": '"jax[cuda13]"',
    "triton": "torch triton",
}


# numgumbel


def to_numba(array, stream=0):
    """An array in the memory of Numba, which knows bfloat16 by its bits only."""
    if array.dtype.kind == "V":
        return cuda.to_device(array.view(np.int16), stream=stream).view(array.dtype)
    return cuda.to_device(array, stream=stream)


def to_torch(array, device="cuda"):
    """An array as a tensor."""
    import torch

    if array.dtype.kind == "V":
        return torch.from_numpy(array.view(np.int16)).to(device).view(torch.bfloat16)
    return torch.from_numpy(array).to(device)


def _to_cupy(array):
    return importlib.import_module("cupy").asarray(array)


def _new_numba(array, stream=0):
    return cuda.device_array(array.shape, array.dtype, stream=stream)


def _new_torch(array):
    torch = importlib.import_module("torch")
    return torch.empty(array.shape, dtype=getattr(torch, array.dtype.name), device="cuda")


def _new_cupy(array):
    return importlib.import_module("cupy").empty(array.shape, array.dtype)


def bound_to(problem, stream):
    """numgumbel's call, of one step, on arrays of a stream."""
    arrays = {name: to_numba(array, stream) for name, array in problem.arrays.items()}
    out = problem.empty(lambda array: _new_numba(array, stream))
    return lambda: problem.case.run(arrays, 0, out)


def _call_on(place, to, new):
    def prepare(problem):
        arrays, out = problem.on(place, to), problem.empty(new)
        return lambda step: problem.case.run(arrays, step, out)

    return prepare


def _planned(problem):
    case, out = problem.case, problem.empty(_new_numba)
    prepared = ng.plan(case.operation, case.key, **problem.on("numba", to_numba), **case.options, invalid="mark", out=out)
    return prepared.launch


CONTENDERS += [
    GpuContender("numgumbel", OURS, "numba", _call_on("numba", to_numba, _new_numba), check=check_ours),
    GpuContender("numgumbel, plan", OURS, "numba", _planned, check=check_ours),
    GpuContender("numgumbel, torch tensors", OURS, "torch", _call_on("torch", to_torch, _new_torch), check=check_ours),
    GpuContender(
        "numgumbel, CuPy arrays",
        OURS,
        "cupy",
        _call_on("cupy", _to_cupy, _new_cupy),
        lambda case: case.dtype != "bfloat16",
        check_ours,
    ),
]


# Bars

BLOCKS, THREADS = 1056, 256  # eight blocks for each of some 132 multiprocessors


@cuda.jit
def device_wide_max(x, out):
    """Largest of all numbers: in the memory of a block first, then in `out`, which holds -inf or that number already."""
    shared = cuda.shared.array(THREADS, np.float32)
    thread = cuda.threadIdx.x
    best = np.float32(-np.inf)
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        best = max(best, x[i])
    shared[thread] = best
    half = THREADS // 2
    while half:
        cuda.syncthreads()
        if thread < half:
            shared[thread] = max(shared[thread], shared[thread + half])
        half //= 2
    if thread == 0:
        cuda.atomic.max(out, 0, shared[0])


def _numba_max(problem):
    x = problem.on("numba", to_numba)["logits"]
    flat, out = x.reshape(x.size), cuda.to_device(np.full(1, -np.inf, np.float32))
    kernel = device_wide_max[min(BLOCKS, -(-x.size // THREADS)), THREADS]

    def call(step):
        kernel(flat, out)
        return out

    return call


def _torch_max(problem):
    torch, x = importlib.import_module("torch"), problem.on("torch", to_torch)["logits"]
    return lambda step: torch.amax(x)


def _cupy_max(problem):
    x = problem.on("cupy", _to_cupy)["logits"]
    return lambda step: x.max()


CONTENDERS += [
    GpuContender("max, Numba", BAR, "numba", _numba_max, lambda case: case.dtype == "float32", check_bar),
    GpuContender("max, torch", BAR, "torch", _torch_max, lambda case: case.dtype in ("float32", "float64"), check_bar),
    GpuContender("max, CuPy", BAR, "cupy", _cupy_max, lambda case: case.dtype in ("float32", "float64"), check_bar),
]


def _once(case):
    return case.options.get("n") is None


def _no_more(case):
    return case.dtype in ("float32", "float64") and _once(case)


# torch

TORCH = {}  # name: function (torch, case) -> function of (logits, forbidden cells or None), on any device


def torch_peer(name, *operations, kind=READY_MADE, compiled=True, fits=_once):
    """Register a torch peer, as it is and compiled."""

    def register(made):
        TORCH[name] = made

        def suits(case):
            return case.operation in operations and fits(case)

        def eager(problem):
            import torch

            x, forbidden = on_torch(problem)
            function = made(torch, problem.case)
            return lambda step: function(x, forbidden)

        def through_compiler(problem):
            import torch

            x, forbidden = on_torch(problem)
            function = torch.compile(made(torch, problem.case), dynamic=False)
            return lambda step: function(x, forbidden)

        CONTENDERS.append(GpuContender(f"torch, {name}", kind, "torch", eager, suits))
        if compiled:
            CONTENDERS.append(GpuContender(f"torch.compile, {name}", kind, "torch.compile", through_compiler, suits))
        return made

    return register


def on_torch(problem):
    """Logits and forbidden cells, or None, as tensors."""
    arrays = problem.on("torch", to_torch)
    return arrays["logits"], ~arrays["mask"] if "mask" in arrays else None


def _noise_type(torch, x):
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _noisy(torch, x, forbidden):
    """Logits plus Gumbel noise."""
    u = torch.rand(x.shape, dtype=_noise_type(torch, x), device=x.device)
    scores = x - torch.log(-torch.log(u))
    return scores if forbidden is None else scores.masked_fill(forbidden, -torch.inf)


def _allowed(torch, x, forbidden, instead=-float("inf")):
    return x if forbidden is None else x.masked_fill(forbidden, instead)


@torch_peer("argmax of noisy logits", "categorical")
def _torch_argmax(torch, case):
    return lambda x, forbidden: torch.argmax(_noisy(torch, x, forbidden), -1)


@torch_peer("softmax over exponentials", "categorical", kind=HAND_TUNED)
def _torch_race(torch, case):
    """As servers of language models sample."""

    def function(x, forbidden):
        p = torch.softmax(_allowed(torch, x, forbidden), -1, dtype=_noise_type(torch, x))
        return torch.argmax(p / torch.empty_like(p).exponential_(1), -1)

    return function


@torch_peer("argmax in a buffer", "categorical", kind=HAND_TUNED, compiled=False)
def _torch_buffer(torch, case):
    buffers = []

    def function(x, forbidden):
        if not buffers:
            buffers.append(torch.empty(x.shape, dtype=_noise_type(torch, x), device=x.device))
        (buffer,) = buffers
        torch.sub(x, buffer.exponential_().log_(), out=buffer)
        if forbidden is not None:
            buffer.masked_fill_(forbidden, -torch.inf)
        return torch.argmax(buffer, -1)

    return function


@torch_peer("Categorical", "categorical", compiled=False, fits=lambda case: _once(case) and case.shape[1] < 1 << 24)
def _torch_categorical(torch, case):
    categorical = torch.distributions.Categorical
    return lambda x, forbidden: categorical(logits=_allowed(torch, x, forbidden), validate_args=False).sample()


@torch_peer("multinomial of many", "categorical", compiled=False, fits=lambda case: not _once(case))
def _torch_many(torch, case):
    return lambda x, forbidden: torch.multinomial(torch.softmax(x, -1), case.options["n"], replacement=True).T


@torch_peer("searchsorted", "categorical", kind=HAND_TUNED, compiled=False, fits=lambda case: not _once(case))
def _torch_searchsorted(torch, case):
    def function(x, forbidden):
        sums = torch.softmax(x, -1, dtype=torch.float64).cumsum(-1)
        u = torch.rand(len(x), case.options["n"], dtype=torch.float64, device=x.device)
        return torch.searchsorted(sums, u * sums[:, -1:], right=True).T

    return function


@torch_peer("F.gumbel_softmax", "gumbel_softmax", fits=_no_more)
def _torch_gumbel_softmax(torch, case):
    tau = case.options.get("tau", 1.0)
    return lambda x, forbidden: torch.nn.functional.gumbel_softmax(x, tau)


@torch_peer("topk of noisy logits", "gumbel_topk")
def _torch_topk(torch, case):
    k = case.options["k"]

    def function(x, forbidden):
        top = torch.topk(_noisy(torch, x, forbidden), k)
        return top.indices, top.values

    return function


def _torch_known(torch, x):
    policy = torch.distributions.Categorical(logits=x, validate_args=False)
    index = policy.sample()
    return index, policy.log_prob(index), policy.entropy()


@torch_peer("Categorical, log_prob, entropy", "sample_actions")
def _torch_actions(torch, case):
    """Where cells are forbidden, by a very small number, as reinforcement learning does it."""
    nvec = case.options.get("nvec")

    def function(x, forbidden):
        x = _allowed(torch, x, forbidden, FORBIDDEN)
        if nvec is None:
            return _torch_known(torch, x)
        parts = [_torch_known(torch, part) for part in torch.split(x, nvec, -1)]
        action, log_prob, entropy = zip(*parts, strict=True)
        return torch.stack(action, -1), torch.stack(log_prob).sum(0), torch.stack(entropy).sum(0)

    return function


@torch_peer("argmax of noisy logits, log_softmax", "draw", "sample_actions", fits=lambda case: "nvec" not in case.options)
def _torch_draw(torch, case):
    """Index, log-probability, and logsumexp or entropy."""

    def function(x, forbidden):
        index = torch.argmax(_noisy(torch, x, forbidden), -1, keepdim=True)
        allowed = _allowed(torch, x, forbidden, FORBIDDEN)
        total = torch.logsumexp(allowed, -1, keepdim=True)
        log_p = allowed - total
        other = total if case.operation == "draw" else -(log_p.exp() * log_p).sum(-1, keepdim=True)
        return index[:, 0], log_p.gather(-1, index)[:, 0], other[:, 0]

    return function


# CuPy


def cupy_argmax(cupy, x, forbidden):
    """Argmax over logits minus log(-log u)."""
    kind = np.float64 if x.dtype == np.float64 else np.float32

    def call(step):
        scores = x - cupy.log(-cupy.log(cupy.random.random_sample(x.shape, dtype=kind)))
        return cupy.argmax(scores if forbidden is None else cupy.where(forbidden, -np.inf, scores), axis=-1)

    return call


def _cupy(problem):
    arrays = problem.on("cupy", _to_cupy)
    return cupy_argmax(importlib.import_module("cupy"), arrays["logits"], ~arrays["mask"] if "mask" in arrays else None)


CONTENDERS.append(
    GpuContender(
        "CuPy, argmax of noisy logits",
        READY_MADE,
        "cupy",
        _cupy,
        lambda case: case.operation == "categorical" and _once(case) and case.dtype != "bfloat16",
    )
)


# JAX


def jax_peer(name, *operations):
    """Register a function (jax, case) -> function of (key, logits, forbidden cells or None), which is compiled."""

    def register(made):
        def prepare(problem):
            import jax

            arrays = problem.on("jax", jax.numpy.asarray)
            x, forbidden = arrays["logits"], ~arrays["mask"] if "mask" in arrays else None
            function, key = jax.jit(made(jax, problem.case)), jax.random.key(0)
            return lambda step: function(key, x, forbidden)

        def suits(case):
            return case.operation in operations and case.dtype != "float64" and _once(case) and "nvec" not in case.options

        CONTENDERS.append(GpuContender(f"JAX, {name}", READY_MADE, "jax", prepare, suits, clock=HOST))
        return made

    return register


def _jax_allowed(jax, x, forbidden):
    x = x.astype(np.float32)
    return x if forbidden is None else jax.numpy.where(forbidden, FORBIDDEN, x)


@jax_peer("categorical", "categorical")
def _jax_categorical(jax, case):
    return lambda key, x, forbidden: jax.random.categorical(key, _jax_allowed(jax, x, forbidden))


@jax_peer("gumbel and softmax", "gumbel_softmax")
def _jax_softmax(jax, case):
    tau = case.options.get("tau", 1.0)
    return lambda key, x, forbidden: jax.nn.softmax((x + jax.random.gumbel(key, x.shape, x.dtype)) / tau, -1)


@jax_peer("gumbel and top_k", "gumbel_topk")
def _jax_topk(jax, case):
    k = case.options["k"]
    return lambda key, x, forbidden: tuple(jax.lax.top_k(x + jax.random.gumbel(key, x.shape, x.dtype), k))


@jax_peer("categorical, log_softmax", "draw", "sample_actions")
def _jax_draw(jax, case):
    def function(key, x, forbidden):
        x = _jax_allowed(jax, x, forbidden)
        index, total = jax.random.categorical(key, x), jax.nn.logsumexp(x, -1)
        log_p = x - total[:, None]
        other = total if case.operation == "draw" else -(jax.numpy.exp(log_p) * log_p).sum(-1)
        return index, jax.numpy.take_along_axis(log_p, index[:, None], -1)[:, 0], other

    return function


def wait_for_jax(result):
    """Wait until a result of JAX is there."""
    importlib.import_module("jax").block_until_ready(result)


# Triton


def _triton(problem):
    """The fastest of some block shapes."""
    import gpu_triton

    return gpu_triton.fastest(on_torch(problem)[0])


CONTENDERS.append(
    GpuContender(
        "Triton, two stages",
        HAND_TUNED,
        "triton",
        _triton,
        lambda case: case.operation == "categorical" and _once(case) and case.shape[1] >= LONG and case.dtype != "float64",
    )
)


def clear():
    """Give memory back, and let torch forget what it has compiled: it compiles a function only so many times."""
    if not missing("torch"):
        import torch

        torch.compiler.reset()
        torch.cuda.empty_cache()
    if not missing("cupy"):
        importlib.import_module("cupy").get_default_memory_pool().free_all_blocks()
