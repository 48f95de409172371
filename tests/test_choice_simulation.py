"""The example of policies under common random numbers: what it prints holds, by its own functions."""

import importlib
from pathlib import Path

import numpy as np
import pytest

import numgumbel as ng

pytest.importorskip("statsmodels", reason="needs statsmodels: pip install -e '.[examples]'")

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def example():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)  # as for a script there
        return importlib.import_module("choice_simulation")


@pytest.fixture(scope="module")
def place(example):
    return example.corridor()


@pytest.fixture(params=[0, 1], ids=["car dearer", "train sooner"])
def policy(request, place):
    return place.policies[request.param]


def test_policies_touch_one_mode(place, policy):
    gain = policy.utilities - place.today
    assert ((gain > 0) if policy.better else (gain < 0))[:, policy.mode].all()
    assert (np.delete(gain, policy.mode, axis=1) == 0).all()


def test_whoever_switches_has_cause(example, place, policy):
    before = example.choices(example.KEY, place.today, place.traveller)
    changed, caused = example.switches(before, example.choices(example.KEY, policy.utilities, place.traveller), policy)
    assert changed > 0
    assert caused == 1
    fresh, caused = example.switches(before, example.choices(example.OTHER, policy.utilities, place.traveller), policy)
    assert fresh > 2 * changed
    assert caused < 0.6


def test_precision(example, place, policy):
    """Means within 4 standard errors of the exact change; standard deviations within 4 % of Bernoulli sums'.

    With the same noise, a traveller moves mode j's count by one or not at all, with the probability by which p changes: whoever
    leaves j would have to gain elsewhere. With other noise, two independent choices are subtracted.
    """
    exact, mean, same, other = example.precision(place, policy)
    p, q = example.probabilities(place.today), example.probabilities(policy.utilities)
    moved, people = np.abs(q - p), len(p)
    expected = np.sqrt((moved * (1 - moved)).sum(0)) / people
    independent = np.sqrt((p * (1 - p) + q * (1 - q)).sum(0)) / people
    print(same / expected, other / independent)
    assert (np.abs(mean - exact) < 4 * expected / np.sqrt(example.DRAWS)).all()
    # A standard deviation from 2000 draws has a relative error near 1 / sqrt(4000); that of a rare event's count a larger one.
    np.testing.assert_allclose(other, independent, rtol=4 / np.sqrt(2 * example.DRAWS))
    error = np.sqrt((2 + 1 / moved.sum(0)) / example.DRAWS) / 2
    assert (np.abs(same / expected - 1) < 4 * error).all()
    assert (other**2 > 4 * same**2).all()


def test_upkeep(example, place):
    """Nobody changes for a change of the table; a reseeded stream changes half of all, once rows or columns move."""
    for change, field, stream in example.upkeep(place):
        assert field == 0, change
        assert (stream == 0) if change == "none" else (stream > 0.4), change


def test_surplus(example, place, policy):
    exact, mean, error, other = example.surplus(place, policy)
    logsum = [np.logaddexp.reduce(utilities, axis=1).mean() for utilities in (place.today, policy.utilities)]
    assert exact == pytest.approx((logsum[1] - logsum[0]) / place.utility_of_cost, rel=1e-10)
    assert abs(mean - exact) < 4 * error
    assert other > 10 * error


def test_what_if(example, place, policy):
    """Counts within 4 standard errors of the formula, whose rows add up to those observed and whose columns need not."""
    drawn, exact = example.what_if(place, policy)
    observed = np.bincount(place.observed)
    np.testing.assert_allclose(exact.sum(1), observed)
    np.testing.assert_allclose(drawn.sum(1), observed)
    assert (exact >= 0).all()
    assert (drawn[exact == 0] == 0).all()
    # A count's variance is at most its mean, and at most that of the rest.
    bound = np.minimum(exact, observed[:, None] - exact)
    assert (np.abs(drawn - exact) <= 4 * np.sqrt(bound / example.DRAWS) + 1e-12).all()
    # Averaged over what the model would have them observed on, it is the model's change: p and the formula belong together.
    p, q = example.probabilities(place.today), example.probabilities(policy.utilities)
    people = np.arange(len(p))
    total = np.zeros(4)
    for seen in range(4):
        everybody = place._replace(observed=np.full(len(p), seen))
        for person in people[:5]:
            one = everybody._replace(observed=everybody.observed[[person]], today=place.today[[person]])
            total += p[person, seen] * example.exact_what_if(one, policy._replace(utilities=policy.utilities[[person]])).sum(0)
    np.testing.assert_allclose(total, q[:5].sum(0))


def test_noise_of_another_choice_is_rejected(example, place):
    """Conditioned on choices that were not observed, what was observed does not come out."""
    wrong = (place.observed + 1) % 4
    noise = ng.conditional_gumbel(example.KEY, place.today, wrong, rows=place.traveller)
    assert ((place.today + noise).argmax(axis=1) != place.observed).all()


def test_it_prints(example, capsys):
    example.main()
    printed = capsys.readouterr().out
    for heading in (
        "Who switches",
        "Change of the shares",
        "nobody's alternatives",
        "Consumer surplus",
        "observed would have done",
    ):
        assert heading in printed


def test_picture(example, place, tmp_path):
    """It is drawn, twice the same; the committed one comes from another version of matplotlib, perhaps."""
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install -e '.[examples]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        for folder in ("a", "b"):
            example.picture(tmp_path / folder, place)
    for name in ("common_noise.svg", "common_noise.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert (EXAMPLES.parent / "docs" / "images" / name).exists()
