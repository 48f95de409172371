"""The GPU's peers sample what they say, as far as a CPU shows it: on the host torch, JAX and NumPy in CuPy's place run them."""

import dataclasses
import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest

if importlib.util.find_spec("numba_cuda") is None:
    pytest.skip('numba-cuda is missing: pip install "numgumbel[cuda13]"', allow_module_level=True)

import gpu_contenders as contenders
from gpu_cases import Problem, case_of
from gpu_checks import Wrong, check_peer

from numgumbel.workloads import Workload

SHAPE = 500, 40
MANY = Workload("many", "categorical", (1, 1000), "", n=20_000, method="inverse_cdf")
WORKLOADS = {
    "categorical": Workload("peers", "categorical", SHAPE, ""),
    "masked": Workload("peers", "categorical", SHAPE, "", masked=True),
    "bfloat16": Workload("peers", "categorical", SHAPE, "", "bfloat16"),
    "softmax": Workload("peers", "gumbel_softmax", SHAPE, ""),
    "topk": Workload("peers", "gumbel_topk", SHAPE, "", k=5),
    "actions": Workload("peers", "sample_actions", SHAPE, ""),
    "masked actions": Workload("peers", "sample_actions", SHAPE, "", masked=True),
    "heads": Workload("peers", "sample_actions", SHAPE, "", nvec=(30, 10)),
    "draw": Workload("peers", "draw", SHAPE, "", want=("log_prob", "logsumexp")),
    "many": MANY,
}


def problem_of(name):
    workload = WORKLOADS[name]
    if line := workload.missing():
        pytest.skip(line)
    return Problem.of(case_of(workload))


def fitting(*libraries):
    return [
        pytest.param(peer, name, id=f"{peer.name}-{name}")
        for peer in contenders.CONTENDERS
        if peer.library in libraries and peer.check is check_peer
        for name, workload in WORKLOADS.items()
        if peer.fits(case_of(workload))
    ]


@pytest.mark.parametrize(("peer", "name"), fitting("torch"))
def test_torch(peer, name):
    torch = pytest.importorskip("torch", reason="python -m pip install torch")
    problem = problem_of(name)
    problem.on("torch", lambda array: contenders.to_torch(array, "cpu"))
    torch.manual_seed(0)
    result = peer.prepare(problem)(0)
    check_peer(problem, result)
    if name in ("actions", "draw"):
        for got, wanted in zip(result[1:], known(problem, result[0].numpy()), strict=True):
            np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("peer", "name"), fitting("jax"))
def test_jax(peer, name):
    pytest.importorskip("jax", reason="python -m pip install jax")
    problem = problem_of(name)
    result = peer.prepare(problem)(0)
    contenders.wait_for_jax(result)
    check_peer(problem, result)
    if name in ("actions", "draw"):
        for got, wanted in zip(result[1:], known(problem, np.asarray(result[0])), strict=True):
            np.testing.assert_allclose(np.asarray(got), wanted, rtol=1e-4, atol=1e-4)


def known(problem, index):
    """Log-probability of an index, and logsumexp or entropy."""
    x = problem.arrays["logits"].astype(np.float64)
    total = np.log(np.exp(x).sum(-1))
    log_p = x - total[:, None]
    other = total if problem.case.operation == "draw" else -(np.exp(log_p) * log_p).sum(-1)
    return log_p[np.arange(len(x)), index], other


@pytest.mark.parametrize("name", ["categorical", "masked"])
def test_cupy(name):
    rng = np.random.default_rng(1)
    draw = SimpleNamespace(random_sample=lambda shape, dtype: rng.random(shape, dtype))
    stand_in = SimpleNamespace(log=np.log, argmax=np.argmax, where=np.where, random=draw)
    problem = problem_of(name)
    mask = problem.arrays.get("mask")
    call = contenders.cupy_argmax(stand_in, problem.arrays["logits"], None if mask is None else ~mask)
    check_peer(problem, call(0))


def test_samples_that_are_none_are_refused():
    problem = problem_of("masked")
    x, mask = problem.arrays["logits"], problem.arrays["mask"]
    allowed = np.where(mask, x, -np.inf)
    for wrong, words in (
        (allowed.argmax(-1), "standard errors"),
        (np.where(mask, x, np.inf).argmin(-1), "standard errors"),
        ((~mask).argmax(-1), "forbidden"),
        (np.full(len(x), x.shape[1]), "out of range"),
        (allowed.argmax(-1)[1:], "shape"),
        (allowed.max(-1), "whole numbers"),
    ):
        with pytest.raises(Wrong, match=words):
            check_peer(problem, wrong)
    soft = problem_of("softmax")
    with pytest.raises(Wrong, match="add up"):
        check_peer(soft, soft.arrays["logits"])


def test_every_operation_has_peers():
    for name, workload in WORKLOADS.items():
        libraries = {
            peer.library for peer in contenders.CONTENDERS if peer.check is check_peer and peer.fits(case_of(workload))
        }
        assert "torch" in libraries, name
    long = case_of(dataclasses.replace(WORKLOADS["categorical"], shape=(64, 128256)))
    wanted = set(contenders.LIBRARIES)
    assert {peer.library for peer in contenders.CONTENDERS if peer.check is check_peer and peer.fits(long)} == wanted
