"""The peers sample what they say: a fast peer that is wrong would be no peer."""

import dataclasses

import numpy as np
import peers
import pytest
from contender import BAR

from numgumbel.workloads import Workload

DRAWS, ROWS, COLUMNS = 1500, 20, 6
OPERATIONS = {"categorical": None, "gumbel_softmax": None, "gumbel_topk": 2}
MANY = Workload("many", "categorical", (3, COLUMNS), "", n=20_000, method="inverse_cdf")
CASES = [
    (peer, operation, masked)
    for peer in peers.PEERS
    for operation, k in OPERATIONS.items()
    for masked in (False, True)
    if peer.kind != BAR
    and peer.fits(Workload("", operation, (ROWS, 10_000), "", k=k))
    and not (masked and operation != "categorical")
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("peer", "operation", "masked"), CASES, ids=lambda value: getattr(value, "name", None))
def test_frequencies(peer, operation, masked, dtype):
    """The best category of a row is each in turn as often as its probability says."""
    if missing := peer.missing():
        pytest.skip(missing)
    workload = Workload("peers", operation, (ROWS, COLUMNS), "", dtype, k=OPERATIONS[operation], masked=masked)
    logits, mask, *_ = inputs = workload.inputs()
    call = peer.prepare(workload, inputs)
    counts = np.zeros((ROWS, COLUMNS))
    for _ in range(DRAWS if not peer.name.startswith("JAX") else 1):
        counts[np.arange(ROWS), best(operation, call())] += 1
    p = np.exp(logits.astype(np.float64))
    p = np.where(True if mask is None else mask, p, 0)
    p /= p.sum(axis=1, keepdims=True)
    assert (counts[p == 0] == 0).all()
    if not peer.name.startswith("JAX"):  # its key is the same in every call
        error = np.sqrt(p * (1 - p) / DRAWS)
        assert (np.abs(counts / DRAWS - p) <= 5 * error + 1 / DRAWS).all()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "peer", [peer for peer in peers.PEERS if peer.fits(MANY) and peer.kind != BAR], ids=lambda peer: peer.name
)
def test_frequencies_of_many_draws(peer, masked):
    """Every category of every row as often as its probability says, and draws that follow one another are independent."""
    if missing := peer.missing():
        pytest.skip(missing)
    logits, mask, *_ = inputs = dataclasses.replace(MANY, masked=masked).inputs()
    index = np.asarray(peer.prepare(MANY, inputs)())
    assert index.shape == (MANY.n, 3)
    p = np.exp(logits.astype(np.float64)) * (1 if mask is None else mask)
    p /= p.sum(axis=1, keepdims=True)
    for row in range(3):
        counts = np.bincount(index[:, row], minlength=COLUMNS) / MANY.n
        assert (np.abs(counts - p[row]) <= 5 * np.sqrt(p[row] * (1 - p[row]) / MANY.n)).all()
        repeats, wanted = (index[1:, row] == index[:-1, row]).mean(), (p[row] ** 2).sum()
        assert abs(repeats - wanted) < 5 * np.sqrt(wanted / MANY.n)


KNOWN = {
    "actions": Workload("known", "sample_actions", (3, COLUMNS), ""),
    "heads": Workload("known", "sample_actions", (3, COLUMNS), "", nvec=(4, 2)),
    "draw": Workload("known", "draw", (3, COLUMNS), "", want=("log_prob", "logsumexp")),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("peer", "name"),
    [(peer, name) for name, workload in KNOWN.items() for peer in peers.PEERS if peer.fits(workload) and peer.kind != BAR],
    ids=lambda value: getattr(value, "name", value),
)
def test_what_is_known_of_a_sample(peer, name, masked):
    """Every category as often as its probability says; log-probability, entropy or logsumexp are those of the distribution."""
    if missing := peer.missing():
        pytest.skip(missing)
    workload = dataclasses.replace(KNOWN[name], masked=masked)
    inputs = workload.inputs()
    allowed = np.ones(workload.shape, bool) if inputs.mask is None else inputs.mask
    allowed[:, 4] = True  # of the second head
    inputs = inputs._replace(mask=allowed if masked else None)
    x = np.where(allowed, inputs.logits.astype(np.float64), -np.inf)
    call, counts = peer.prepare(workload, inputs), np.zeros(workload.shape)
    heads = [(0, 4), (4, 6)] if name == "heads" else [(0, COLUMNS)]
    logsumexp = [np.log(np.exp(x[:, a:b]).sum(axis=1)) for a, b in heads]
    log_p = np.concatenate([x[:, a:b] - total[:, None] for (a, b), total in zip(heads, logsumexp, strict=True)], axis=1)
    p = np.exp(log_p)
    draws = DRAWS if not peer.name.startswith("JAX") else 1  # its key is the same in every call
    for _ in range(draws):
        index, log_prob, other = (np.asarray(part) for part in call())
        assert index.shape == ((3, 2) if name == "heads" else (3,))
        columns = index.reshape(3, -1) + [a for a, _ in heads]
        np.add.at(counts, (np.arange(3)[:, None], columns), 1)
        chosen = np.take_along_axis(log_p, columns, axis=1).sum(axis=1)
        np.testing.assert_allclose(log_prob, chosen, rtol=1e-5, atol=1e-5)
        wanted = logsumexp[0] if name == "draw" else -(p * np.where(p > 0, log_p, 0)).sum(axis=1)
        np.testing.assert_allclose(other, wanted, rtol=1e-5, atol=1e-5)
    assert (counts[p == 0] == 0).all()
    if draws > 1:
        assert (np.abs(counts / draws - p) <= 5 * np.sqrt(p * (1 - p) / draws) + 1 / draws).all()


def test_a_generator_a_row():
    """It does one row in a hundred, and others in every call; each as often as its probability says."""
    peer = next(peer for peer in peers.PEERS if peer.of_rows != 1)
    workload = Workload("ids", "categorical", (201, COLUMNS), "", ids=50)
    assert not peer.fits(dataclasses.replace(workload, ids=None))
    inputs = workload.inputs()
    call = peer.prepare(workload, inputs)
    index = np.array([call() for _ in range(DRAWS)])
    assert index.shape == (DRAWS, 3)
    p = np.exp(inputs.logits[::100].astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    for row in range(3):
        counts = np.bincount(index[:, row], minlength=COLUMNS) / DRAWS
        assert (np.abs(counts - p[row]) <= 5 * np.sqrt(p[row] * (1 - p[row]) / DRAWS)).all()


def best(operation, result):
    """Index of the best category of every row."""
    if operation == "gumbel_softmax":
        sample = np.asarray(result)
        np.testing.assert_allclose(sample.sum(axis=1), 1, rtol=1e-5)
        return sample.argmax(axis=1)
    if operation == "gumbel_topk":
        if hasattr(result, "indices"):  # torch
            result = result.indices, result.values
        first, second = (np.asarray(part) for part in result)
        index, score = (first, second) if first.dtype.kind == "i" else (second, first)
        assert index.shape == (ROWS, 2)
        assert (np.diff(score, axis=1) <= 0).all()
        return index[:, 0]
    return np.asarray(result).reshape(ROWS)


def test_one_long_row_is_shared_among_threads():
    """Each thread samples its part; the best of all is the sample."""
    peer = next(peer for peer in peers.PEERS if peer.name == "NumPy, uniform race, threads")
    workload = Workload("long row", "categorical", (1, 6), "")
    call = peer.prepare(workload, workload.inputs())
    p = np.exp(workload.inputs().logits[0].astype(np.float64))
    p /= p.sum()
    counts = np.bincount([call() for _ in range(DRAWS)], minlength=6)
    assert (np.abs(counts / DRAWS - p) <= 5 * np.sqrt(p * (1 - p) / DRAWS) + 1 / DRAWS).all()
