"""Mode choice before and after a policy, with the same noise in both: who switches, how precisely, and what it is worth.

    python examples/choice_simulation.py [--picture]

On the 210 travellers and the fitted logit of `examples/modechoice`, two policies: the car's in-vehicle cost up by 20 %, and 5
minutes less waiting for the train. Printed, each beside the usual way or the exact value:

- who switches: with the same noise only for cause, away from what got worse or to what got better; with other noise half of all
  travellers, most of them for no cause;
- the simulated change of the shares beside the exact one, its standard deviation with the same noise and with other noise, and
  how many times fewer draws the same noise needs for one precision (the ratio of the variances);
- what common random numbers from a reseeded stream do when the table between the scenarios is sorted, cut, or given one more
  alternative: the draws shift, and nothing says so. Noise of a traveller's and an alternative's id stays where it was;
- the consumer surplus (logsum) before and after, from the same call that draws the choices;
- what the travellers who were *observed* to choose would have done after the policy, by `numgumbel.conditional_gumbel`.

`--picture` draws docs/images/common_noise.svg and .png instead. Needs statsmodels, which holds the survey, and for the picture
matplotlib: pip install -e ".[examples]". Takes a few seconds.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from modechoice import fit
from rich.console import Console
from rich.table import Table
from statsmodels.datasets import modechoice as survey

import numgumbel as ng

DRAWS = 2000
KEY = ng.key(42, "mode choice")
OTHER = ng.key(42, "mode choice", "other noise")
AIR, TRAIN, BUS, CAR = range(4)
COST, WAIT = fit.NAMES.index("gc"), fit.NAMES.index("ttme")


class Policy(NamedTuple):
    """A name, the mode that it touches, whether that gets better, and the utilities with it, shape (travellers, modes)."""

    name: str
    mode: int
    better: bool
    utilities: np.ndarray


class Corridor(NamedTuple):
    """The survey with its logit: travellers' numbers, what they chose, utilities today and with each policy, and the value of
    one unit of generalised cost in utility.
    """

    traveller: np.ndarray
    observed: np.ndarray
    today: np.ndarray
    policies: tuple[Policy, ...]
    utility_of_cost: float


def corridor():
    """Fit the logit as `examples/modechoice/fit.py` does, and apply the policies to its regressors."""
    x, observed, traveller = fit.survey()
    beta, _ = fit.fit(x, observed)
    table = survey.load_pandas().data.sort_values(["individual", "mode"])
    cost = table["invc"].to_numpy(float).reshape(-1, len(fit.MODES))
    dearer, sooner = x.copy(), x.copy()
    dearer[:, CAR, COST] += 0.2 * cost[:, CAR]
    sooner[:, TRAIN, WAIT] = np.maximum(x[:, TRAIN, WAIT] - 5, 0)
    policies = (
        Policy("car cost +20 %", CAR, False, dearer @ beta),
        Policy("train wait -5 min", TRAIN, True, sooner @ beta),
    )
    return Corridor(traveller, observed, x @ beta, policies, float(-beta[COST]))


def probabilities(utilities):
    """Of a logit: exp(utility), divided by its sum over modes."""
    p = np.exp(utilities - utilities.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def choices(key, utilities, rows, cols=None, draws=DRAWS):
    """Choices of shape (draws, travellers)."""
    return ng.categorical(key, utilities, rows=rows, cols=cols, n=draws)


def switches(before, after, policy):
    """Share of choices that differ, and the share of these that the policy can have caused."""
    changed = before != after
    caused = (after if policy.better else before)[changed] == policy.mode
    return changed.mean(), caused.mean() if changed.any() else 1.0


def shares(choice):
    """Share of each mode in each draw, shape (draws, modes)."""
    return np.stack([(choice == mode).mean(axis=1) for mode in range(len(fit.MODES))], axis=1)


def changes(place, policy):
    """Change of each mode's share in each draw, with the same noise and with other noise; shape (draws, modes)."""
    before = shares(choices(KEY, place.today, place.traveller))
    return tuple(shares(choices(key, policy.utilities, place.traveller)) - before for key in (KEY, OTHER))


def precision(place, policy):
    """Of the change of each mode's share: exact value, mean over draws, standard deviations of one draw with the same noise and
    with other noise.
    """
    exact = (probabilities(policy.utilities) - probabilities(place.today)).mean(axis=0)
    same, other = changes(place, policy)
    return exact, same.mean(axis=0), same.std(axis=0, ddof=1), other.std(axis=0, ddof=1)


def numpy_choices(utilities, draws, seed=42):
    """Common random numbers the usual way: a generator seeded alike in each scenario, its numbers used in order of arrival."""
    return (utilities + np.random.default_rng(seed).gumbel(size=(draws, *utilities.shape))).argmax(axis=-1)


def upkeep(place, draws=200):
    """Share of choices that differ when nothing about anybody's alternatives does, by a change of the table between scenarios.

    Gives (change, with numgumbel, with a reseeded NumPy generator). The new alternative, a coach with the bus's utility less 1,
    is listed between train and bus; whoever takes it does not count. (A stream's numbers can be kept in memory and moved along
    with the rows, as long as somebody sees to it.)
    """
    order = np.argsort(place.today[:, CAR], kind="stable")  # say, by how good the car is
    coach = np.insert(place.today, BUS, place.today[:, BUS] - 1, axis=1)
    columns = np.insert(np.arange(4), BUS, 4)  # its id is new, all others keep theirs
    back = np.array([AIR, TRAIN, -1, BUS, CAR])
    field, stream = choices(KEY, place.today, place.traveller, draws=draws), numpy_choices(place.today, draws)

    def differ(first, second):
        return float(((first != second) & (second >= 0)).mean())

    return (
        (
            "none",
            differ(field, choices(KEY, place.today, place.traveller, draws=draws)),
            differ(stream, numpy_choices(place.today, draws)),
        ),
        (
            "sorted",
            differ(field[:, order], choices(KEY, place.today[order], place.traveller[order], draws=draws)),
            differ(stream[:, order], numpy_choices(place.today[order], draws)),
        ),
        (
            "first traveller left out",
            differ(field[:, 1:], choices(KEY, place.today[1:], place.traveller[1:], draws=draws)),
            differ(stream[:, 1:], numpy_choices(place.today[1:], draws)),
        ),
        (
            "a coach added",
            differ(field, back[choices(KEY, coach, place.traveller, columns, draws)]),
            differ(stream, back[numpy_choices(coach, draws)]),
        ),
    )


def surplus(place, policy):
    """Mean change of the logsum, in units of generalised cost a traveller: exact, and by the draws' best scores.

    A draw's score is the utility of what was chosen, noise included; its mean is the logsum plus Euler's constant, which drops
    out. Gives (exact, mean of the scores' change, its standard error, that with other noise).
    """
    want = ("logsumexp", "score")
    before = ng.draw(KEY, place.today, rows=place.traveller, n=DRAWS, want=want)
    after = ng.draw(KEY, policy.utilities, rows=place.traveller, n=DRAWS, want=want)
    other = ng.draw(OTHER, policy.utilities, rows=place.traveller, n=DRAWS, want="score")
    exact = (after.logsumexp[0] - before.logsumexp[0]).mean() / place.utility_of_cost
    same, independent = ((drawn.score - before.score).mean(axis=1) / place.utility_of_cost for drawn in (after, other))
    return exact, same.mean(), *(change.std(ddof=1) / np.sqrt(DRAWS) for change in (same, independent))


def what_if(place, policy):
    """Where the travellers observed on each mode would be, as counts of shape (observed mode, mode): by draws, and exact."""
    noise = ng.conditional_gumbel(KEY, place.today, place.observed, rows=place.traveller, n=DRAWS)
    assert ((place.today + noise).argmax(axis=2) == place.observed).all()  # today, everybody does what was observed
    then = (policy.utilities + noise).argmax(axis=2)
    modes = range(len(fit.MODES))
    drawn = np.array([[(then[:, place.observed == seen] == mode).sum() / DRAWS for mode in modes] for seen in modes])
    return drawn, exact_what_if(place, policy)


def exact_what_if(place, policy):
    """The same by formula, for a policy that touches one mode k, with p before and q after.

    Where k got better, whoever was seen on i stays with probability q_i / p_i and else takes k. Where it got worse, whoever was
    seen on k goes to j with probability (q_j - p_j) / p_k, and all others stay.
    """
    p, q, k = probabilities(place.today), probabilities(policy.utilities), policy.mode
    expected = np.zeros((len(fit.MODES),) * 2)
    for person, seen in enumerate(place.observed):
        if policy.better:
            stays = 1.0 if seen == k else q[person, seen] / p[person, seen]
            expected[seen, seen] += stays
            expected[seen, k] += 1 - stays
        elif seen == k:
            leaves = np.maximum(q[person] - p[person], 0) / p[person, k]
            expected[k] += leaves
            expected[k, k] += 1 - leaves.sum()
        else:
            expected[seen, seen] += 1
    return expected


def table(*columns):
    """A table whose columns but the first are numbers."""
    made = Table()
    for place, column in enumerate(columns):
        made.add_column(column, justify="right" if place else "left")
    return made


def picture(folder, place):
    """For each policy, the changes that simulations find for the mode it touches, with the same and with other noise."""
    from matplotlib import pyplot as plt
    from temperature import INK, QUIET, STYLE, WINNER

    with plt.rc_context(STYLE):
        fig, panels = plt.subplots(1, len(place.policies), figsize=(9.6, 2.9), sharey=True)
        for axes, policy in zip(panels, place.policies, strict=True):
            exact = 100 * precision(place, policy)[0][policy.mode]
            travellers = len(place.traveller)
            for change, colour, label in zip(
                reversed(changes(place, policy)), (QUIET, WINNER), ("other noise", "the same noise"), strict=True
            ):
                counts = np.rint(travellers * change[:, policy.mode]).astype(int)  # a share moves by whole travellers
                value, times = np.unique(counts, return_counts=True)
                axes.bar(100 * value / travellers, 100 * times / DRAWS, 88 / travellers, color=colour, label=label)
            axes.axvline(exact, color=INK, linewidth=1.1, label="exact mean change")
            axes.axvline(0, color=INK, linewidth=0.6, linestyle=(0, (2, 3)))
            axes.set_title(policy.name, fontsize=11, fontweight="bold")
            axes.set_xlabel(f"change of the {fit.MODES[policy.mode]}'s share, percentage points")
        panels[0].set_ylabel("% of simulations")
        fig.tight_layout(rect=(0, 0.09, 1, 1), w_pad=2)
        fig.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=3, frameon=False)
        folder.mkdir(parents=True, exist_ok=True)
        fig.savefig(folder / "common_noise.svg", metadata={"Date": None, "Creator": None})
        fig.savefig(folder / "common_noise.png", dpi=160, metadata={"Software": None})
        plt.close(fig)


def main():
    """Print all of it."""
    console = Console(highlight=False, soft_wrap=True)
    place = corridor()

    console.print(f"Who switches, of {len(place.traveller)} travellers in {DRAWS} draws", style="bold")
    who = table("policy", "noise after", "switch", "of them with cause")
    for policy in place.policies:
        before = choices(KEY, place.today, place.traveller)
        for name, key in (("the same", KEY), ("other", OTHER)):
            changed, caused = switches(before, choices(key, policy.utilities, place.traveller), policy)
            who.add_row(policy.name, name, f"{changed:.1%}", f"{caused:.1%}")
    console.print(who)

    console.print("\nChange of the shares, percentage points; s.d. of one draw", style="bold")
    precise = table("policy", "mode", "exact", "drawn", "s.d.", "other noise", "fewer draws")
    for policy in place.policies:
        for mode, (exact, mean, same, other) in enumerate(zip(*precision(place, policy), strict=True)):
            numbers = (f"{100 * exact:+.2f}", f"{100 * mean:+.2f}", f"{100 * same:.2f}", f"{100 * other:.2f}")
            precise.add_row("" if mode else policy.name, fit.MODES[mode], *numbers, f"{(other / same) ** 2:.0f} x")
    console.print(precise)

    console.print("\nChoices that differ though nobody's alternatives do", style="bold")
    kept = table("the table meanwhile", "numgumbel", "NumPy, reseeded")
    for change, field, stream in upkeep(place):
        kept.add_row(change, f"{field:.1%}", f"{stream:.1%}")
    console.print(kept)

    console.print("\nConsumer surplus a traveller, units of generalised cost", style="bold")
    worth = table("policy", "logsum", "by scores", "s.e.", "s.e., other noise")
    for policy in place.policies:
        exact, mean, *errors = surplus(place, policy)
        worth.add_row(policy.name, f"{exact:+.3f}", f"{mean:+.3f}", *(f"{error:.3f}" for error in errors))
    console.print(worth)

    for policy in place.policies:
        console.print(f"\nWhat those observed would have done, mean number (exact): {policy.name}", style="bold")
        answers = table("observed", *fit.MODES)
        for mode, (drawn, exact) in enumerate(zip(*what_if(place, policy), strict=True)):
            cells = (f"{a:.1f} ({b:.1f})" if a or b else "" for a, b in zip(drawn, exact, strict=True))
            answers.add_row(f"{(place.observed == mode).sum()} {fit.MODES[mode]}", *cells)
        console.print(answers)
    seen = probabilities(place.today)[np.arange(len(place.observed)), place.observed].mean()
    console.print(f"Draws that are not conditioned would put {seen:.0%} of the travellers on the mode they were seen on.")


if __name__ == "__main__":
    if "--picture" in sys.argv[1:]:
        picture(Path(__file__).parents[1] / "docs" / "images", corridor())
    else:
        main()
