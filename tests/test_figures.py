"""The figures of the documentation: the scripts run and write the same bytes twice, and what they draw is right."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

pytest.importorskip("matplotlib", reason='pip install -e ".[examples]"')

ROOT = Path(__file__).parents[1]
FIGURES, BENCH = ROOT / "docs" / "figures", ROOT / "bench"
SMALL = {
    "relaxed_samples": {"count": 500},
    "densities": {"count": 2000},
    "gradient_estimators": {},
    "growth": {},
    "repeated_draws": {},
}


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The scripts can be imported, in this file only."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FIGURES))
    monkeypatch.syspath_prepend(str(BENCH))
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith((str(FIGURES), str(BENCH))):
            del sys.modules[name]


def test_every_script_is_known():
    assert {path.stem for path in FIGURES.glob("*.py")} == {*SMALL, "style"}


@pytest.mark.parametrize("name", SMALL)
def test_figures(name, tmp_path):
    """Two runs write the same file, on an opaque ground; the one in the documentation has its words."""
    script = importlib.import_module(name)
    for folder in ("a", "b"):
        script.main(tmp_path / folder, **SMALL[name])
    made, again = ((tmp_path / folder / f"{name}.svg").read_text() for folder in ("a", "b"))
    assert made == again
    assert "fill: #ffffff" in made
    kept = (ROOT / "docs" / "images" / f"{name}.svg").read_text()
    if not SMALL[name]:  # the same input: the same words, whichever matplotlib
        words = [text.split("<")[0] for text in made.split("<text")[1:]]
        assert [text.split("<")[0] for text in kept.split("<text")[1:]] == words
    assert any(name in page.read_text() for page in (ROOT / "docs").glob("*.md"))


def test_density_is_that_of_the_samples():
    """It adds up to 1, is the derivative of the distribution function, and samples have it; those of another tau have not."""
    import densities

    p, tau = densities.P, 0.7

    def density(y):
        return float(densities.relaxed_density(np.array([y, 1 - y]), p, tau))

    assert integrate.quad(density, 0, 1)[0] == pytest.approx(1, abs=1e-6)
    assert integrate.quad(density, 0, 0.4)[0] == pytest.approx(densities.relaxed_cdf(0.4, p, tau), abs=1e-6)
    samples = densities.relaxed_samples(p, tau, 20_000)
    assert stats.kstest(samples, lambda y: densities.relaxed_cdf(y, p, tau)).pvalue > 1e-4
    assert stats.kstest(samples, lambda y: densities.relaxed_cdf(y, p, 0.8)).pvalue < 1e-10


def test_density_of_three_categories():
    """Over the triangle it adds up to 1, for weights with any sum."""
    import densities

    def density(b, a):
        return float(densities.relaxed_density(np.array([a, b, 1 - a - b]), np.array([0.4, 1.0, 0.6]), 1.5))

    assert integrate.dblquad(density, 0, 1, 0, lambda a: 1 - a)[0] == pytest.approx(1, abs=1e-4)


def test_true_gradient_of_the_estimators():
    """By differences; and the table's figures come out again."""
    torch = pytest.importorskip("torch", reason='pip install -e ".[torch]"')
    import estimators

    def expected(logits):
        return float((torch.softmax(logits, -1) * estimators.loss(torch.eye(4, dtype=torch.float64))).sum())

    steps = 1e-6 * torch.eye(4, dtype=torch.float64)
    by_hand = [(expected(estimators.LOGITS + h) - expected(estimators.LOGITS - h)) / 2e-6 for h in steps]
    assert estimators.true_gradient().numpy() == pytest.approx(by_hand, abs=1e-8)
    kept = json.loads(max((BENCH / "results").glob("estimators-*.json")).read_text())
    assert kept["score_function"] == pytest.approx(estimators.score_function())
    fewer = estimators.estimate("reinmax", 1.0, 20_000)
    then = next(row for row in kept["estimators"]["reinmax"] if row["tau"] == 1.0)
    assert fewer["deviation"] == pytest.approx(then["deviation"], rel=0.05)
    assert fewer["bias"] < 5 * fewer["chance"]
    assert estimators.estimate("reinmax", 2.0, 20_000)["bias"] > 5 * fewer["chance"]


def test_draws_of_one_row_are_checked_and_timed(tmp_path):
    import one_row
    from click.testing import CliRunner

    path = tmp_path / "one-row.json"
    done = CliRunner().invoke(
        one_row.main, ["--rounds", "1", "--most-draws", "10", "--json", str(path)], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    rows = json.loads(path.read_text())["rows"]
    assert [(row["categories"], row["draws"]) for row in rows] == [(k, n) for k in one_row.CATEGORIES for n in (1, 10)]
    assert all(set(row["us"]) == set(one_row.METHODS) for row in rows)


def test_another_distribution_is_not_timed(monkeypatch):
    import one_row

    monkeypatch.setitem(one_row.METHODS, "wrong", lambda p, n: np.random.default_rng(0).integers(0, len(p), n))
    with pytest.raises(ValueError, match="wrong draws from other probabilities"):
        one_row.check("wrong", one_row.probabilities(6))
