"""PPO learns CartPole with the actions of torch's Categorical, and with those of numgumbel's: nothing else differs.

    python examples/ppo_cartpole.py [--seeds 5] [--steps 200000] [--jobs 2] [--json FILE]

Stable-Baselines3 as published, in which the name of `torch.distributions.Categorical` stands for `numgumbel.torch.Categorical`
while a model is made and learns: samples, log-probabilities, entropies and their gradients are then numgumbel's, and seeds go
the same way, by `torch.manual_seed`. Settings are those of rl-baselines3-zoo for CartPole-v1. Printed for each seed: the mean
return of the last 20 episodes of training, of 500 at most, and the seconds it took.

Needs torch and stable-baselines3: pip install -e ".[examples-torch]". A minute a run, of which there are ten.
"""

import json
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table
from stable_baselines3 import PPO
from stable_baselines3.common import distributions
from stable_baselines3.common.env_util import make_vec_env

import numgumbel.torch

CATEGORICAL = {"torch": torch.distributions.Categorical, "numgumbel": numgumbel.torch.Categorical}
EPISODES, GOAL = 20, 475
ENVIRONMENTS = 8
# https://github.com/DLR-RM/rl-baselines3-zoo, hyperparams/ppo.yml, CartPole-v1; rate and clip fall to 0.
SETTINGS = {"n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20, "ent_coef": 0.0}
RATE, CLIP = 0.001, 0.2


@contextmanager
def actions_by(categorical):
    """While it lasts, the policies of Stable-Baselines3 draw from that distribution."""
    usual, distributions.Categorical = distributions.Categorical, categorical
    try:
        yield
    finally:
        distributions.Categorical = usual


def learn(name, seed, steps):
    """Returns of the last episodes of one training, in order, and the seconds it took."""
    torch.set_num_threads(1)  # layers of 64 are no work for two
    environments = make_vec_env("CartPole-v1", n_envs=ENVIRONMENTS, seed=seed)
    with actions_by(CATEGORICAL[name]):
        model = PPO(
            "MlpPolicy",
            environments,
            learning_rate=lambda left: RATE * left,
            clip_range=lambda left: CLIP * left,
            seed=seed,
            device="cpu",
            **SETTINGS,
        )
        start = time.perf_counter()
        model.learn(steps)
        seconds = time.perf_counter() - start
    assert type(model.policy.action_dist.distribution) is CATEGORICAL[name]  # what it drew from to the end
    environments.close()
    return [episode["r"] for episode in model.ep_info_buffer][-EPISODES:], seconds


def compare(seeds, steps, jobs=1):
    """A run for each seed and distribution, which take turns: a list of dicts."""
    todo = [(name, seed, steps) for seed in range(seeds) for name in CATEGORICAL]
    if jobs == 1:
        done = [learn(*each) for each in todo]
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            done = list(pool.map(learn, *zip(*todo, strict=True)))
    return [
        {"categorical": name, "seed": seed, "mean": statistics.mean(returns), "returns": returns, "seconds": round(seconds, 1)}
        for (name, seed, _), (returns, seconds) in zip(todo, done, strict=True)
    ]


def means(runs):
    """The mean over seeds for each distribution."""
    return {name: statistics.mean(run["mean"] for run in runs if run["categorical"] == name) for name in CATEGORICAL}


def table(runs):
    """A line a seed."""
    made = Table(title=f"Mean return of the last {EPISODES} episodes", title_justify="left")
    for column in ("seed", *(f"{name}'s" for name in CATEGORICAL), *(f"{name}'s, s" for name in CATEGORICAL)):
        made.add_column(column, justify="right")
    for seed in sorted({run["seed"] for run in runs}):
        pair = [run for name in CATEGORICAL for run in runs if (run["categorical"], run["seed"]) == (name, seed)]
        made.add_row(f"{seed}", *(f"{run['mean']:.1f}" for run in pair), *(f"{run['seconds']:.0f}" for run in pair))
    made.add_section()
    made.add_row("mean", *(f"{mean:.1f}" for mean in means(runs).values()))
    return made


def write(path, runs, steps):
    """All of it and what it ran on, for the docs."""
    sys.path.append(str(Path(__file__).parents[1] / "bench"))
    from machine import machine

    facts = machine(("numgumbel", "numpy", "numba", "torch", "stable-baselines3", "gymnasium"))
    told = {"machine": facts, "steps": steps, "episodes": EPISODES, "goal": GOAL, "mean": means(runs), "runs": runs}
    Path(path).write_text(json.dumps(told, indent=1) + "\n")


@click.command()
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1), help="Runs of each distribution.")
@click.option("--steps", default=200_000, show_default=True, type=click.IntRange(1), help="Of training, over all environments.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Processes that runs are shared by.")
@click.option("--json", "path", type=click.Path(dir_okay=False), help="A file for the results.")
def main(seeds, steps, jobs, path):
    """Train with either distribution and compare the returns."""
    console = Console(highlight=False, soft_wrap=True)
    runs = compare(seeds, steps, jobs)
    console.print(table(runs))
    reached = [name for name, mean in means(runs).items() if mean >= GOAL]
    console.print(f"at least {GOAL}: " + ("both" if len(reached) == len(CATEGORICAL) else ", ".join(reached) or "neither"))
    if path:
        write(path, runs, steps)


if __name__ == "__main__":
    main()
