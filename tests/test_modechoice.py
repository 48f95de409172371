"""The mode-choice example: its fit, the shares of sampled choices, and a scenario under the same noise."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

import numgumbel as ng

FOLDER = Path(__file__).parents[1] / "examples" / "modechoice"
OBSERVED = {"air": 58, "train": 63, "bus": 30, "car": 59}
DRAWS = 2000


def script(name):
    """A script of the example as a module."""
    spec = importlib.util.spec_from_file_location(f"modechoice_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def survey():
    """Modes, traveller numbers and utilities as committed."""
    return script("share").read(FOLDER / "utilities.csv")


def probabilities(utilities):
    p = np.exp(utilities - utilities.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def deviations(choices, utilities):
    """Mean count of each mode over draws, less the observed count, in standard errors of that mean.

    Travellers choose independently, so a count has variance sum p (1 - p); the mean over the draws has that over their number.
    """
    p = probabilities(utilities)
    error = np.sqrt((p * (1 - p)).sum(0) / len(choices))
    mean = np.stack([(choices == mode).sum(1).mean() for mode in range(p.shape[1])])
    print("mean counts", mean, "standard errors", error)
    return (mean - list(OBSERVED.values())) / error


def test_utilities_file(survey):
    modes, traveller, utilities = survey
    assert modes == list(OBSERVED)
    np.testing.assert_array_equal(traveller, np.arange(1, 211))
    assert utilities.shape == (210, 4)
    # At the optimum of a logit with constants the expected counts are the observed ones.
    np.testing.assert_allclose(probabilities(utilities).sum(0), list(OBSERVED.values()), rtol=1e-9)


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
def test_mean_shares(survey, method):
    """Within 4 standard errors of what was observed."""
    _, traveller, utilities = survey
    choices = ng.categorical(ng.key(42, "mode_choice"), utilities, rows=traveller, n=DRAWS, method=method)
    assert (np.abs(deviations(choices, utilities)) < 4).all()


def test_wrong_scale_is_rejected(survey):
    """The same test rejects a sampler whose noise has the wrong scale."""
    _, traveller, utilities = survey
    choices = ng.categorical(ng.key(42, "mode_choice"), utilities, rows=traveller, n=DRAWS, temperature=1.1)
    assert (np.abs(deviations(choices, utilities)) > 4).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whoever_changes_changes_to_car(survey, dtype):
    """With 0.3 more for the car and the same noise; with fresh noise others change too, at random."""
    modes, traveller, utilities = survey
    key, car = ng.key(42, "mode_choice"), modes.index("car")
    scenario = utilities.astype(dtype)
    before = ng.categorical(key, scenario, rows=traveller, n=DRAWS)
    scenario[:, car] += dtype(0.3)
    after = ng.categorical(key, scenario, rows=traveller, n=DRAWS)
    changed = after != before
    assert changed.any()
    assert (after[changed] == car).all()
    # The sum of p over the car's gain: what the scenario itself moves, within 4 standard errors.
    gain = probabilities(scenario.astype(np.float64))[:, car] - probabilities(utilities)[:, car]
    moved = changed.sum(1).mean()
    print(f"{moved:.2f} of 210 change, {gain.sum():.2f} expected")
    assert abs(moved - gain.sum()) < 4 * math.sqrt((gain * (1 - gain)).sum() / DRAWS)

    fresh = ng.categorical(key, scenario, rows=traveller, n=DRAWS, step=DRAWS)
    changed = fresh != before
    assert not (fresh[changed] == car).all()
    assert changed.sum(1).mean() > 2 * moved


def test_fit(tmp_path, capsys):
    """The published figures, and the committed utilities to 12 digits: the last depends on the linear algebra library."""
    pytest.importorskip("statsmodels", reason="needs statsmodels: pip install -e '.[examples]'")
    fit = script("fit")
    x, choice, _ = fit.survey()
    assert np.bincount(choice).tolist() == list(OBSERVED.values())
    beta, log_likelihood = fit.fit(x, choice)
    assert log_likelihood == pytest.approx(-199.12837, abs=1e-5)
    np.testing.assert_allclose(beta, [5.20744, 3.86904, 3.16319, -0.01550, -0.09612, 0.01329], rtol=0, atol=1e-5)
    fit.main(tmp_path / "utilities.csv")
    assert "log-likelihood -199.12837" in capsys.readouterr().out
    read = script("share").read
    new, committed = read(tmp_path / "utilities.csv"), read(FOLDER / "utilities.csv")
    assert new[0] == committed[0]
    np.testing.assert_array_equal(new[1], committed[1])
    np.testing.assert_allclose(new[2], committed[2], rtol=1e-12, atol=1e-12)


def test_share_script(capsys):
    """It prints what its README shows."""
    script("share").main()
    assert capsys.readouterr().out in (FOLDER / "README.md").read_text(encoding="utf-8")
