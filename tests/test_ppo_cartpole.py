"""PPO of Stable-Baselines3 with the distribution swapped, shortly: it is the one that is drawn from, and learning starts."""

import importlib.util
import json
import statistics
from pathlib import Path

import pytest

INSTALL = 'pip install -e ".[examples-torch]"'
torch = pytest.importorskip("torch", reason=INSTALL)
pytest.importorskip("stable_baselines3", reason=INSTALL)

from click.testing import CliRunner  # noqa: E402

import numgumbel.torch as nt  # noqa: E402

STEPS = 8192


@pytest.fixture(scope="module")
def example():
    path = Path(__file__).parents[1] / "examples" / "ppo_cartpole.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def counted(monkeypatch):
    """How often numgumbel's distribution was asked for a sample, a log-probability and an entropy."""
    counts = dict.fromkeys(("sample", "log_prob", "entropy"), 0)
    for name in counts:
        usual = getattr(nt.Categorical, name)

        def counting(self, *arguments, name=name, usual=usual):
            counts[name] += 1
            return usual(self, *arguments)

        monkeypatch.setattr(nt.Categorical, name, counting)
    return counts


def test_learning_starts_with_numgumbels(example, counted):
    """Actions at random hold the pole for some 22 steps."""
    returns, _ = example.learn("numgumbel", 0, STEPS)
    print(returns)
    rollouts = STEPS // example.ENVIRONMENTS
    updates = STEPS // example.SETTINGS["batch_size"] * example.SETTINGS["n_epochs"]
    assert counted == {"sample": rollouts, "log_prob": rollouts + updates, "entropy": updates}
    assert len(returns) == example.EPISODES
    assert statistics.mean(returns) > 60


def test_torchs_is_left_alone(example, counted):
    example.learn("torch", 0, 256)
    assert not any(counted.values())
    with example.actions_by(nt.Categorical):
        assert example.distributions.Categorical is nt.Categorical
    assert example.distributions.Categorical is torch.distributions.Categorical


def test_a_sampler_that_is_none_does_not_learn(example, monkeypatch):
    """One that always takes the first action."""

    class First(nt.Categorical):
        def sample(self, shape=()):
            return torch.zeros_like(super().sample(shape))

    monkeypatch.setitem(example.CATEGORICAL, "numgumbel", First)
    returns, _ = example.learn("numgumbel", 0, STEPS)
    print(returns)
    assert statistics.mean(returns) < 15


def test_seeds_decide(example):
    first, again, other = (example.learn("numgumbel", seed, 1024)[0] for seed in (1, 1, 2))
    assert first == again != other


def test_it_prints_and_writes(example, tmp_path):
    path = tmp_path / "ppo.json"
    done = CliRunner().invoke(example.main, ["--seeds", "2", "--steps", "512", "--json", str(path)])
    assert done.exit_code == 0, done.output
    assert "at least 475: neither" in done.output
    told = json.loads(path.read_text())
    assert [(run["seed"], run["categorical"]) for run in told["runs"]] == [
        (seed, name) for seed in range(2) for name in ("torch", "numgumbel")
    ]
    assert all(run["mean"] == statistics.mean(run["returns"]) for run in told["runs"])
    assert told["machine"]["stable-baselines3"]
