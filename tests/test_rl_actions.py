"""The example of policies in vector environments: what it prints holds, by its own functions."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import numgumbel as ng

gymnasium = pytest.importorskip("gymnasium", reason="needs gymnasium: pip install -e '.[examples]'")


@pytest.fixture(scope="module")
def example():
    path = Path(__file__).parents[1] / "examples" / "rl_actions.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def learnt(example):
    return example.learn()


def test_it_learns(example, learnt):
    """From some 20 steps to some hundreds, of 500 at most. Training is chaotic: a last bit changes which."""
    weights, progress = learnt
    returns = [line[0] for line in progress]
    print(returns)
    assert returns[0] < 40
    assert np.mean(returns[-5:]) > 150
    assert example.evaluate(weights, deterministic=True).mean() > 300
    assert example.evaluate(np.zeros_like(weights), deterministic=False).mean() < 40


def test_ratios_are_exactly_one(example, learnt):
    assert all(ones for _, _, ones in learnt[1])
    # Another policy's ratios are not.
    environment = example.vector("CartPole-v1")
    observation, _ = environment.reset(seed=1)
    batch = example.act(environment, learnt[0], observation, np.zeros(example.ENVIRONMENTS, bool), 0, steps=16)
    environment.close()
    ratio, _ = example.improve(example.Adam(np.nextafter(learnt[0], np.float32(9))), batch)
    assert (ratio != 1).any()


def test_what_was_only_reset_does_not_count(example):
    """The step after an end resets the environment, and its action is not used: no advantage, no gradient."""
    environment = example.vector("CartPole-v1")
    observation, _ = environment.reset(seed=1)
    batch = example.act(environment, np.zeros((4, 2), np.float32), observation, np.zeros(example.ENVIRONMENTS, bool), 0)
    environment.close()
    np.testing.assert_array_equal(batch.acted[1:] == 0, batch.ended[:-1])
    assert batch.ended.any()
    assert (batch.reward[batch.acted == 0] == 0).all()
    assert (example.advantages(batch)[batch.acted == 0] == 0).all()


def test_an_environment_alone_acts_as_in_the_batch(example, learnt):
    by_id, by_arrival = example.replay(learnt[0])
    assert by_id == 1
    assert by_arrival < 0.9


def test_logits_do_not_depend_on_the_batch(example):
    rng = np.random.default_rng(3)
    weights, observation = rng.normal(size=(4, 2)).astype(np.float32), rng.normal(size=(16, 8, 4)).astype(np.float32)
    together = example.logits_of(weights, observation)
    np.testing.assert_allclose(together, observation @ weights, rtol=1e-4, atol=1e-5)
    for row in np.ndindex(16, 8):
        np.testing.assert_array_equal(example.logits_of(weights, observation[row][None])[0], together[row])


def test_taxi(example):
    useless, reward, entropy = example.drive(masked=True)
    assert useless == 0
    assert reward >= -1
    free = example.drive(masked=False)
    assert free[0] > 0.3
    assert free[1] < reward
    assert free[2] == pytest.approx(np.log(6), rel=1e-6)
    assert 0 < entropy < np.log(4) + 1e-6


@pytest.mark.parametrize("masked", [False, True])
def test_the_ways_that_are_timed_agree(example, masked):
    """Same entropy, same log-probability for the action drawn: all three do the same job."""
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(8, 6)).astype(np.float32)
    mask = (np.arange(48).reshape(8, 6) % 3 > 0).astype(np.int8) if masked else None
    ways = [example.numpy_actions(rng, logits, mask)]
    if (found := example.torch_actions()) is not None:
        torch, sample = found
        allowed = None if mask is None else torch.from_numpy(mask.astype(bool))
        ways.append(tuple(result.numpy() for result in sample(torch.from_numpy(logits), allowed)))
    for action, log_prob, entropy in ways:
        known = ng.log_prob_entropy(logits, action, mask=mask)
        np.testing.assert_allclose(log_prob, known.log_prob, rtol=1e-5)
        np.testing.assert_allclose(entropy, known.entropy, rtol=1e-5)
        if masked:
            assert np.take_along_axis(mask, action[:, None], axis=1).all()


def test_it_prints(example, capsys):
    example.main(updates=3)
    printed = capsys.readouterr().out
    assert "3 of 3 batches" in printed
    assert "100.0%" in printed
    assert example.TAXI in printed


def test_sizes_of_heads_that_can_be_read_but_once_are_refused():
    with pytest.raises(TypeError, match="nvec must be a sequence of integers, got a list_iterator"):
        ng.sample_actions(ng.key(1), np.zeros((2, 5)), nvec=iter([2, 3]))
