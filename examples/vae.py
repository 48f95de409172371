"""A categorical variational autoencoder of small digits, trained with numgumbel's `gumbel_softmax` and with torch's own.

    python examples/vae.py [--seeds 5] [--steps 2000] [--hard] [--estimator reinmax] [--picture FILE]

An image of 8 x 8 pixels (scikit-learn's digits, which come with that package) becomes ten variables of ten categories each, and
these the image again, as in Jang, Gu, Poole, arXiv:1611.01144. The gradient reaches the encoder through relaxed samples, whose
temperature falls from `--tau` to `--tau-end`. Printed for each seed: the loss on images that were held out, with exact samples
in place of relaxed ones; then whether the two agree within the spread of the seeds.

`--picture FILE` draws loss curves, and digits decoded from categories drawn at random. Needs torch, scikit-learn, and for the
picture matplotlib: pip install -e ".[examples,examples-torch]". Takes half a minute.
"""

import statistics
from functools import partial
from typing import NamedTuple

import click
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch import nn

import numgumbel as ng
from numgumbel.torch import ESTIMATORS, gumbel_softmax

PIXELS, VARIABLES, CATEGORIES, HIDDEN = 64, 10, 10, 128
HELD_OUT, BATCH, RATE = 297, 100, 0.005
ROWS, COLUMNS = 5, 8  # of the picture


class Autoencoder(nn.Module):
    """Images to the logits of categories, and one-hots, exact or relaxed, to the logits of pixels."""

    def __init__(self):
        super().__init__()
        codes = VARIABLES * CATEGORIES
        self.encoder = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, codes))
        self.decoder = nn.Sequential(nn.Linear(codes, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS))

    def logits(self, images):
        """Of the categories, shape (images, variables, categories)."""
        return self.encoder(images).unflatten(-1, (VARIABLES, CATEGORIES))

    def decode(self, codes):
        """Logits of the pixels."""
        return self.decoder(codes.flatten(-2))

    def loss(self, images, sample):
        """Negative evidence lower bound, nats an image: pixels given a sample, and divergence from uniform categories."""
        logits = self.logits(images)
        log_q = logits.log_softmax(-1)
        divergence = (log_q.exp() * (log_q - log_q.new_tensor(1 / CATEGORIES).log())).sum()
        pixels = F.binary_cross_entropy_with_logits(self.decode(sample(logits)), images, reduction="sum")
        return (pixels + divergence) / len(images)


class Run(NamedTuple):
    """A trained model, its loss at each step, and its loss on the images held out."""

    model: Autoencoder
    curve: list[float]
    held_out: float


def digits():
    """Images to learn from and images held out, float32 from 0 to 1, in an order that no seed changes."""
    images = torch.from_numpy(load_digits().data).float() / 16
    images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
    return images[HELD_OUT:], images[:HELD_OUT]


def exact(logits):
    """One-hot samples, by torch's Categorical."""
    return F.one_hot(torch.distributions.Categorical(logits=logits).sample(), CATEGORIES).to(logits.dtype)


def train(sample, seed, steps, tau=1.0, tau_end=0.5):
    """Train with relaxed samples `sample(logits, tau)`. Weights and images are those of the seed, whatever is sampled."""
    images, held_out = digits()
    torch.manual_seed(seed)
    model, shuffled = Autoencoder(), torch.Generator().manual_seed(seed)
    optimiser, curve = torch.optim.Adam(model.parameters(), RATE), []
    for step in range(steps):
        batch = images[torch.randint(len(images), (BATCH,), generator=shuffled)]
        now = tau * (tau_end / tau) ** (step / steps)
        loss = model.loss(batch, lambda logits: sample(logits, now))  # noqa: B023  # called at once
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        curve.append(loss.item())
    with torch.no_grad():
        return Run(model, curve, statistics.mean(model.loss(held_out, exact).item() for _ in range(10)))


def samplers(hard=False, estimator="st"):
    """torch's function and this package's; torch's has no estimator but straight-through."""
    return {
        "torch": partial(F.gumbel_softmax, hard=hard),
        "numgumbel": partial(gumbel_softmax, hard=hard, estimator=estimator),
    }


def difference(runs):
    """Of the mean losses on held-out images, numgumbel's less torch's, and its standard error by the spread of the seeds."""
    losses = [[run.held_out for run in runs[name]] for name in ("numgumbel", "torch")]
    error = sum(statistics.variance(each) / len(each) for each in losses) ** 0.5
    return statistics.mean(losses[0]) - statistics.mean(losses[1]), error


def table(runs, seeds):
    """A line a seed."""
    made = Table(title="Loss on held-out images, nats", title_justify="left")
    for column in ("seed", *(f"{name}'s" for name in runs)):
        made.add_column(column, justify="right")
    for place, seed in enumerate(seeds):
        made.add_row(f"{seed}", *(f"{each[place].held_out:.2f}" for each in runs.values()))
    made.add_section()
    made.add_row("mean", *(f"{statistics.mean(run.held_out for run in each):.2f}" for each in runs.values()))
    return made


def generate(model, count, key):
    """Images of categories drawn at random, shape (count, 8, 8)."""
    codes = F.one_hot(ng.categorical(key, torch.zeros(count, VARIABLES, CATEGORIES)), CATEGORIES).float()
    with torch.no_grad():
        return model.decode(codes).sigmoid().reshape(count, 8, 8)


def picture(path, runs):
    """Loss curves of every seed and their mean, and what numgumbel's first model makes of random categories."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt
    from temperature import STYLE, WINNER

    with plt.rc_context(STYLE):
        fig, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.8), width_ratios=[1, 1.3], layout="constrained")
        top = 0.0
        for (name, each), colour in zip(runs.items(), ("#4f7cac", WINNER), strict=True):
            curves = torch.tensor([run.curve for run in each])
            width = max(curves.shape[1] // 100, 1)  # of what a point is the mean of
            curves = curves[:, : curves.shape[1] // width * width].unflatten(1, (-1, width)).mean(-1)
            steps = ((torch.arange(curves.shape[1]) + 0.5) * width).numpy()
            left.plot(steps, curves.T.numpy(), color=colour, linewidth=0.6, alpha=0.35)
            left.plot(steps, curves.mean(0).numpy(), color=colour, linewidth=1.6, label=f"{name}'s gumbel_softmax")
            top = max(top, float(curves[:, 2:].max()))
        left.set_ylim(top=top + 0.5)  # the first points, of untrained models, would press all others together
        left.set_xlabel("step")
        left.set_ylabel("nats an image")
        left.set_title(f"loss, {len(each)} seeds and their mean", fontsize=11, fontweight="bold")
        left.legend(frameon=False)
        images = generate(runs["numgumbel"][0].model, ROWS * COLUMNS, ng.key(42, "vae", "picture"))
        padded = F.pad(images.reshape(ROWS, COLUMNS, 8, 8), (1, 1, 1, 1))
        right.imshow(padded.transpose(1, 2).reshape(10 * ROWS, 10 * COLUMNS).numpy(), cmap="gray_r", vmin=0, vmax=1)
        right.set_axis_off()
        right.set_title("decoded from random categories", fontsize=11, fontweight="bold")
        fig.get_layout_engine().set(w_pad=0.12, h_pad=0.08, wspace=0.04)
        fig.savefig(path, dpi=160, metadata={"Software": None} if str(path).endswith(".png") else None)
        plt.close(fig)


@click.command()
@click.option("--seed", default=0, show_default=True, help="The first seed.")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(2), help="How many: a spread takes two.")
@click.option("--steps", default=2000, show_default=True, type=click.IntRange(1), help="Of training, 100 images each.")
@click.option("--tau", default=1.0, show_default=True, help="Temperature at the first step.")
@click.option("--tau-end", default=0.5, show_default=True, help="Temperature at the last, geometrically approached.")
@click.option("--hard", is_flag=True, help="Exact one-hots forward, a gradient by the estimator.")
@click.option("--estimator", default="st", show_default=True, type=click.Choice(ESTIMATORS), help="numgumbel's, with --hard.")
@click.option("--picture", "path", type=click.Path(dir_okay=False), help="Draw curves and digits to this file.")
def main(seed, seeds, steps, tau, tau_end, hard, estimator, path):
    """Train with both, compare the losses."""
    if estimator != "st" and not hard:
        raise click.UsageError(f"--estimator {estimator} goes with --hard")
    torch.set_num_threads(1)  # layers of 128 are no work for two
    every = range(seed, seed + seeds)
    ways = samplers(hard, estimator)
    runs = {name: [train(sample, each, steps, tau, tau_end) for each in every] for name, sample in ways.items()}
    console = Console(highlight=False, soft_wrap=True)
    console.print(table(runs, every))
    off, error = difference(runs)
    verdict = "they agree within" if abs(off) <= 3 * error else "they differ by more than"
    console.print(f"numgumbel's less torch's: {off:+.2f}, standard error {error:.2f}; {verdict} three of them")
    if path:
        picture(path, runs)


if __name__ == "__main__":
    main()
