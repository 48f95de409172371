"""Whether a result is right, before it is timed: numgumbel's is the CPU's, a peer's is a sample of the same distribution."""

import numpy as np
from gpu_cases import Problem

ULP = 8  # that sums may differ by between CPU and GPU
SUMS = "log_prob", "logsumexp", "entropy"
ERRORS = 6.0  # standard errors that the mean of a peer's samples may be off
CELLS = 1 << 22  # that a peer's samples are looked at in, some of the first rows


class Wrong(Exception):
    """A result that is refused."""


def host(result):
    """A result of any library in host memory; of a tuple, every part."""
    if isinstance(result, tuple):
        return tuple(None if part is None else host(part) for part in result)
    if hasattr(result, "copy_to_host"):  # Numba
        return result.copy_to_host()
    if hasattr(result, "cpu"):  # torch
        return result.cpu().numpy()
    return result.get() if hasattr(result, "get") else np.asarray(result)  # CuPy, JAX


def check_ours(problem: Problem, result) -> None:
    """Refuse what is not the CPU's answer: sums within some ulp, all else to the bit."""
    parts = result if isinstance(result, tuple) else (result,)
    names = result._fields if isinstance(result, tuple) else ("result",)
    given = {name: host(part) for name, part in zip(names, parts, strict=True) if part is not None}
    for name, expected in problem.results().items():
        got = given[name]
        if got.shape != expected.shape or got.dtype != expected.dtype:
            raise Wrong(f"{name} is {got.dtype} of shape {got.shape}, wanted {expected.dtype} of shape {expected.shape}")
        same = got == expected
        if got.dtype.kind == "f":
            same |= np.isnan(got) & np.isnan(expected)
            if name in SUMS or problem.case.operation in ("gumbel_softmax", "conditional_gumbel"):
                off = np.abs(got.astype(np.float64) - expected.astype(np.float64))
                same |= off <= ULP * np.spacing(np.maximum(np.abs(expected), expected.dtype.type(1)))
        if not same.all():
            place = tuple(int(axis[0]) for axis in np.nonzero(~same))
            raise Wrong(f"{name}: {(~same).sum()} of {same.size} differ from the CPU's, the first at {place}")


def check_peer(problem: Problem, result) -> None:
    """Refuse what is not of the shape, in range, and on average as good as samples of the distribution are.

    The mean logit of the samples is compared with its expectation, which finds samples without noise, or with too little.
    """
    case = problem.case
    rows, columns = case.shape
    index = _index(case.operation, host(result), (rows, columns))
    if case.options.get("nvec"):  # of the heads the first
        index, columns = index[..., 0], case.options["nvec"][0]
    shape = (rows,) if case.options.get("n") is None else (case.options["n"], rows)
    if index.shape != shape or index.dtype.kind not in "iu":
        raise Wrong(f"{index.dtype} of shape {index.shape}, wanted whole numbers of shape {shape}")
    if index.min() < 0 or index.max() >= columns:
        raise Wrong(f"an index is out of range: from {index.min()} to {index.max()}")
    some = min(rows, max(1, CELLS // columns))
    x, drawn = problem.arrays["logits"][:some, :columns].astype(np.float64), index[..., :some]
    allowed = problem.arrays["mask"][:some, :columns] if "mask" in problem.arrays else np.True_
    if not np.broadcast_to(allowed, x.shape)[np.arange(some), drawn].all():
        raise Wrong("a forbidden category was drawn")
    p = np.where(allowed, np.exp(x - x.max(-1, keepdims=True)), 0)
    p /= p.sum(-1, keepdims=True)
    mean = (p * x).sum(-1)
    variance = (p * x * x).sum(-1) - mean**2
    found, error = (x[np.arange(some), drawn] - mean).mean(), np.sqrt(variance.sum() * drawn.size / some) / drawn.size
    if abs(found) > ERRORS * error + 1e-9:
        raise Wrong(f"the mean logit of the samples is off by {found / error:.1f} standard errors")


def _index(operation, result, shape):
    """The (first) sample of every row in a peer's result."""
    if operation == "gumbel_softmax":
        if result.shape != shape:
            raise Wrong(f"shape {result.shape}, wanted {shape}")
        if not np.allclose(result.sum(-1), 1, atol=1e-3):
            raise Wrong("rows do not add up to 1")
        return result.argmax(-1)
    if operation == "gumbel_topk":
        return next(part for part in result if part.dtype.kind in "iu")[:, 0]
    return result[0] if isinstance(result, tuple) else result


def check_bar(problem: Problem, result) -> None:
    """Refuse what is not the largest of all logits."""
    got, largest = host(result), problem.arrays["logits"].max()
    if np.asarray(got, np.float64).reshape(-1)[0] != np.float64(largest):
        raise Wrong(f"the largest logit is {largest}, got {got}")
