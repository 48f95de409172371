"""Policies that act in vector environments: CartPole learnt from scratch, Taxi under its action mask.

    python examples/rl_actions.py

A small policy learns CartPole by policy gradients (proximal, with a linear baseline) in NumPy alone:
`numgumbel.sample_actions` acts, `numgumbel.log_prob_entropy` and its `_vjp` make the gradient. Printed on the way:

- returns while it learns, then with the likeliest action (`deterministic=True`);
- that the ratio of probabilities before the first update of a batch is exactly 1, in every batch;
- what one environment does when it is run again without the other seven: the same, action for action, since its noise belongs
  to its id and the step and not to the order of arrival, as that of a seeded stream does;
- Taxi with and without its mask: no action that cannot be carried out, and the entropy of what is left;
- what a step's sampling costs, beside NumPy by hand and torch's Categorical, if torch is installed.

Needs gymnasium: pip install -e ".[examples]". Takes some ten seconds.
"""

import statistics
import time
from typing import NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv
from rich.console import Console
from rich.table import Table

import numgumbel as ng

ENVIRONMENTS = 8
STEPS = 128  # of each environment between two updates
UPDATES = 30
EPOCHS = 8
DISCOUNT, TRACE = 0.99, 0.95
RATE, CLIP, ENTROPY_BONUS = 0.05, 0.2, 0.0001
ALONE, REPLAYED = 5, 400  # the environment that is run again alone, and for how many steps
SEED = 42
ACTING = ng.key(SEED, "cartpole", "acting")
EVALUATING = ng.key(SEED, "cartpole", "evaluation")
DRIVING = ng.key(SEED, "taxi", "acting")
TAXI = max(name for name in gym.registry if name.startswith("Taxi-v"))  # -v4 since gymnasium 1.3, which refuses -v3


class Batch(NamedTuple):
    """What happened in some steps of all environments; arrays of shape (steps, environments, ...)."""

    observation: np.ndarray  # float32, (steps + 1, environments, features): the last is where the next batch begins
    action: np.ndarray  # int64
    log_prob: np.ndarray  # float32, when the action was taken
    reward: np.ndarray  # float32
    terminated: np.ndarray  # bool: the pole fell
    ended: np.ndarray  # bool: that, or time was up
    acted: np.ndarray  # float32, 0 where the environment was only reset and the action not used, otherwise 1


def vector(name, count=ENVIRONMENTS):
    """`count` environments stepped together; one that ended is reset in the following step."""
    return SyncVectorEnv([lambda: gym.make(name)] * count)


def logits_of(weights, observation):
    """The policy: linear in the observation.

    Added up feature by feature, so that a row's logits are the same bits in any batch. A matrix product need not do that: its
    order of summation may depend on the shape.
    """
    logits = observation[..., :1] * weights[0]
    for feature in range(1, len(weights)):
        logits = logits + observation[..., feature, None] * weights[feature]
    return logits


def act(environment, weights, observation, restarts, first_step, steps=STEPS):
    """Steps `first_step` and on, from `observation`; `restarts` says which environments ended in the step before."""
    observations, fields = [observation], []
    for step in range(first_step, first_step + steps):
        taken = ng.sample_actions(ACTING, logits_of(weights, observation), step=step)
        observation, reward, terminated, truncated, _ = environment.step(taken.action)
        ended = terminated | truncated
        fields.append((taken.action, taken.log_prob, np.float32(reward), terminated, ended, np.float32(~restarts)))
        observations.append(observation)
        restarts = ended
    return Batch(np.stack(observations), *map(np.stack, zip(*fields, strict=True)))


def advantages(batch):
    """Generalised advantage estimates, over a baseline quadratic in the observation, fitted to the batch itself."""
    features = np.concatenate([np.ones_like(batch.observation[..., :1]), batch.observation, batch.observation**2], axis=-1)
    features = features.astype(np.float64)
    target = np.zeros_like(batch.reward, dtype=np.float64)
    for _ in range(3):  # returns beyond the batch's end come from the baseline, so fit it again with better ones
        kept = batch.acted.astype(bool)
        coefficients = np.linalg.lstsq(features[:-1][kept], target[kept], rcond=None)[0]
        value = features @ coefficients
        error = batch.reward + DISCOUNT * value[1:] * ~batch.terminated - value[:-1]
        advantage, running = np.zeros_like(error), 0.0
        for step in reversed(range(len(error))):
            running = error[step] + DISCOUNT * TRACE * running * ~batch.ended[step]
            advantage[step] = running
        target = value[:-1] + advantage
    kept = advantage[batch.acted == 1]
    return ((advantage - kept.mean()) / kept.std() * batch.acted).astype(np.float32)


class Adam:
    """Steps along the gradient, scaled by how large each weight's gradient has been."""

    def __init__(self, weights):
        self.weights, self.mean, self.square, self.count = weights, 0.0, 0.0, 0

    def step(self, gradient):
        """One step downhill."""
        self.count += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.99 * self.square + 0.01 * gradient**2
        mean, square = self.mean / (1 - 0.9**self.count), self.square / (1 - 0.99**self.count)
        self.weights = (self.weights - RATE * mean / (np.sqrt(square) + 1e-8)).astype(np.float32)


def improve(optimiser, batch):
    """Some steps on one batch. Gives the ratios of probabilities before the first, and the mean entropy."""
    observation, advantage, size = batch.observation[:-1], advantages(batch), batch.acted.sum()
    for epoch in range(EPOCHS):
        logits = logits_of(optimiser.weights, observation)
        now = ng.log_prob_entropy(logits, batch.action)
        ratio = np.exp(now.log_prob - batch.log_prob)
        if epoch == 0:
            before, entropy = ratio, (now.entropy * batch.acted).sum() / size
        inside = np.where(advantage > 0, ratio < 1 + CLIP, ratio > 1 - CLIP)
        gradient = ng.log_prob_entropy_vjp(
            logits, batch.action, -advantage * ratio * inside / size, -ENTROPY_BONUS * batch.acted / size
        )
        optimiser.step(np.einsum("tef,tea->fa", observation, gradient))
    return before, float(entropy)


def learn(updates=UPDATES):
    """Weights, and a line for each update: mean return of the episodes that ended, entropy, whether all ratios were 1."""
    environment = vector("CartPole-v1")
    observation, _ = environment.reset(seed=SEED)
    optimiser = Adam(np.zeros((observation.shape[1], 2), np.float32))
    ended, running, progress = np.zeros(ENVIRONMENTS, bool), np.zeros(ENVIRONMENTS), []
    for update in range(updates):
        batch = act(environment, optimiser.weights, observation, ended, update * STEPS)
        returns = []
        for reward, over in zip(batch.reward, batch.ended, strict=True):
            running += reward
            returns.extend(running[over])
            running[over] = 0
        ratio, entropy = improve(optimiser, batch)
        progress.append((np.mean(returns) if returns else np.nan, entropy, bool((ratio == 1).all())))
        observation, ended = batch.observation[-1], batch.ended[-1]
    environment.close()
    return optimiser.weights, progress


def evaluate(weights, deterministic, episodes=ENVIRONMENTS):
    """Return of one episode of each environment."""
    environment = vector("CartPole-v1", episodes)
    observation, _ = environment.reset(seed=SEED + 1000)
    returns, running, step = np.zeros(episodes), np.ones(episodes, bool), 0
    while running.any():
        taken = ng.sample_actions(EVALUATING, logits_of(weights, observation), step=step, deterministic=deterministic)
        observation, reward, terminated, truncated, _ = environment.step(taken.action)
        returns += reward * running
        running &= ~(terminated | truncated)
        step += 1
    environment.close()
    return returns


def run(ids, weights, choose, steps):
    """Actions of the environments `ids`, run together; each is seeded by its id. Shape (steps, environments)."""
    environment = vector("CartPole-v1", len(ids))
    observation, _ = environment.reset(seed=[SEED + int(number) for number in ids])
    actions = []
    for step in range(steps):
        actions.append(choose(logits_of(weights, observation), step, ids))
        observation, *_ = environment.step(actions[-1])
    environment.close()
    return np.stack(actions)


def from_the_field(logits, step, ids):
    """Noise of the id and the step."""
    return ng.sample_actions(ACTING, logits, step=step, rows=ids).action


def from_a_stream(seed=SEED):
    """Noise in order of arrival, from a generator seeded alike in every run."""
    generator = np.random.default_rng(seed)
    return lambda logits, step, ids: numpy_actions(generator, logits)[0]


def replay(weights, number=ALONE):
    """For noise of either kind: the share of equal actions when environment `number` is run without the others."""
    shares = []
    for chooser in (lambda: from_the_field, from_a_stream):
        together = run(np.arange(ENVIRONMENTS), weights, chooser(), REPLAYED)
        alone = run(np.array([number]), weights, chooser(), REPLAYED)
        shares.append(float((together[:, number] == alone[:, 0]).mean()))
    return shares


def drive(masked, steps=200):
    """Taxis driven at random. Gives the share of actions that could not be carried out, and reward and entropy a step."""
    environment = vector(TAXI)
    _, info = environment.reset(seed=SEED)
    logits, ended = np.zeros((ENVIRONMENTS, 6), np.float32), np.zeros(ENVIRONMENTS, bool)
    useless, rewards, entropies = [], [], []
    for step in range(steps):
        mask = info["action_mask"]  # int8, as it comes
        taken = ng.sample_actions(DRIVING, logits, mask=mask if masked else None, step=step)
        useless.extend((np.take_along_axis(mask, taken.action[:, None], axis=1)[:, 0] == 0)[~ended])
        _, reward, terminated, truncated, info = environment.step(taken.action)
        rewards.extend(reward[~ended])
        entropies.extend(taken.entropy[~ended])
        ended = terminated | truncated
    environment.close()
    return float(np.mean(useless)), float(np.mean(rewards)), float(np.mean(entropies))


def numpy_actions(generator, logits, mask=None):
    """Action, log-probability and entropy in plain NumPy."""
    if mask is not None:
        logits = np.where(mask, logits, -np.inf)
    log_p = logits - logits.max(axis=-1, keepdims=True)
    p = np.exp(log_p)
    total = p.sum(axis=-1, keepdims=True)
    log_p -= np.log(total)
    p /= total
    action = (log_p + generator.gumbel(size=logits.shape)).argmax(axis=-1)
    log_prob = np.take_along_axis(log_p, action[..., None], axis=-1)[..., 0]
    return action, log_prob, -(p * np.where(p > 0, log_p, 0)).sum(axis=-1)


def torch_actions():
    """The same by torch's Categorical, or None without torch."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)  # eight rows are no work for two, and on a busy machine the wait for a second takes milliseconds

    def sample(logits, mask):
        if mask is not None:
            logits = logits.masked_fill(~mask, torch.finfo(logits.dtype).min)
        policy = torch.distributions.Categorical(logits=logits, validate_args=False)
        action = policy.sample()
        return action, policy.log_prob(action), policy.entropy()

    return torch, sample


def times(name, rounds=30, calls=50):
    """Microseconds of a step of the environments, and of sampling for it in each way that there is; they take turns."""
    environment = vector(name)
    _, info = environment.reset(seed=SEED)
    mask = info.get("action_mask")
    shape = (ENVIRONMENTS, int(environment.single_action_space.n))
    logits, generator = np.random.default_rng(SEED).normal(size=shape).astype(np.float32), np.random.default_rng(SEED)
    ids, drawn = np.arange(ENVIRONMENTS), ng.sample_actions(DRIVING, logits, mask=mask).action
    ways = {
        "env.step": lambda: environment.step(drawn),
        "numgumbel": lambda: ng.sample_actions(DRIVING, logits, mask=mask, step=7),
        "numgumbel, rows=ids": lambda: ng.sample_actions(DRIVING, logits, mask=mask, step=7, rows=ids),
        "NumPy by hand": lambda: numpy_actions(generator, logits, mask),
    }
    if (found := torch_actions()) is not None:
        torch, sample = found
        tensor = torch.from_numpy(logits)  # made beforehand, and results are left as tensors
        allowed = None if mask is None else torch.from_numpy(mask.astype(bool))
        ways["torch, Categorical"] = lambda: sample(tensor, allowed)
    spent = {way: [] for way in ways}
    for _ in range(rounds):
        for way, call in ways.items():
            start = time.perf_counter()
            for _ in range(calls):
                call()
            spent[way].append((time.perf_counter() - start) / calls * 1e6)
    environment.close()
    return {way: statistics.median(spent[way][1:]) for way in ways}


def table(*columns):
    """A table whose columns but the first are numbers."""
    made = Table()
    for place, column in enumerate(columns):
        made.add_column(column, justify="right" if place else "left")
    return made


def main(updates=UPDATES):
    """Learn, replay, drive, time."""
    console = Console(highlight=False, soft_wrap=True)
    weights, progress = learn(updates)
    console.print(f"CartPole, {ENVIRONMENTS} environments, {STEPS} steps of each an update", style="bold")
    learning = table("update", "mean return", "entropy, nats")
    for update in sorted({*range(0, updates, max(updates // 6, 1)), updates - 1}):
        learning.add_row(f"{update + 1}", f"{progress[update][0]:.0f}", f"{progress[update][1]:.3f}")
    console.print(learning)
    exact = sum(ones for _, _, ones in progress)
    console.print(f"{exact} of {updates} batches had all ratios of probabilities exactly 1 before the first update")
    for name, deterministic in (("sampled", False), ("deterministic=True", True)):
        console.print(
            f"{evaluate(weights, deterministic).mean():.0f} is the mean return of {ENVIRONMENTS} more episodes, {name}"
        )

    console.print(f"\nEnvironment {ALONE} run again without the others, {REPLAYED} steps", style="bold")
    again = table("noise", "equal actions")
    for name, share in zip(("numgumbel, by id and step", "NumPy, seeded stream"), replay(weights), strict=True):
        again.add_row(name, f"{share:.1%}")
    console.print(again)

    console.print(f"\n{TAXI} driven at random", style="bold")
    driving = table("actions", "cannot be carried out", "reward a step", "entropy, nats")
    for name, masked in (("under the mask", True), ("without it", False)):
        useless, reward, entropy = drive(masked)
        driving.add_row(name, f"{useless:.1%}", f"{reward:.2f}", f"{entropy:.2f}")
    console.print(driving)

    console.print(f"\nAction, log-probability and entropy for {ENVIRONMENTS} environments, us a step", style="bold")
    step, cartpole, taxi = "env.step", times("CartPole-v1"), times(TAXI)
    cost = table("", "CartPole", "of the step", f"{TAXI}, masked", "of the step")
    for way in cartpole:
        cells = [(spent[way], "" if way == step else f"{spent[way] / spent[step]:.0%}") for spent in (cartpole, taxi)]
        cost.add_row(way, *(text for spent, share in cells for text in (f"{spent:.1f}", share)))
    console.print(cost)
    if torch_actions() is None:
        console.print("torch is not installed and so not timed: pip install torch")


if __name__ == "__main__":
    main()
