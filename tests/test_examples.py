"""The examples with loops of their own: run as written, and what they print holds."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
INSTALL = "needs the examples' libraries: pip install -e '.[examples]'"


def module(name):
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def rows_of_table(name):
    """{first cell: other cells} of the table that a script prints, on two threads; in a process of its own, as threads are."""
    environment = os.environ | {"NUMBA_NUM_THREADS": "2", "COLUMNS": "120", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, EXAMPLES / f"{name}.py"]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    rows = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in done.stdout.splitlines() if "│" in line]
    return done.stdout, {first: rest for first, *rest in rows}


@pytest.fixture(scope="module")
def hmm():
    pytest.importorskip("statsmodels", reason=INSTALL)
    return module("hmm_ffbs")


@pytest.fixture(scope="module")
def model(hmm):
    """Filtered, smoothed and transition probabilities."""
    y = hmm.growth()
    start, moves, mean, spread = hmm.fit(y)
    return *hmm.smooth(y, start, moves, mean, spread)[:2], moves


def test_hmm_prints_what_it_claims(hmm):
    text, rows = rows_of_table("hmm_ffbs")
    assert "202 quarters" in text
    same, other = "the same", "others"
    assert rows["numgumbel.nb"][1:4] == [same, same, same]
    assert rows["np.random"][1:4] == [other, other, other]
    assert rows["rng.choice"][1:4] == [same, "-", other]
    # The largest of about 500 normal deviations is above 5 once in 3000 times; the noise is fixed, that of np.random is not.
    assert float(rows["numgumbel.nb"][4]) < 4
    assert float(rows["np.random"][4]) < 6


def test_hmm_smoothing_is_exact(hmm):
    """Against the sum over all paths of a short series."""
    y, start = np.array([-1.0, 0.5, 2.0, 4.0, 0.0]), np.array([0.5, 0.3, 0.2])
    moves = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    mean, spread = np.array([-1.0, 1.0, 3.0]), np.array([1.0, 2.0, 1.5])
    density = np.exp(-0.5 * ((y[:, None] - mean) / spread) ** 2) / spread
    paths = np.array(np.meshgrid(*[range(3)] * len(y), indexing="ij")).reshape(len(y), -1)
    weight = start[paths[0]] * density[np.arange(len(y))[:, None], paths].prod(0) * moves[paths[:-1], paths[1:]].prod(0)
    exact = np.array([[weight[path == k].sum() for k in range(3)] for path in paths]) / weight.sum()
    np.testing.assert_allclose(hmm.smooth(y, start, moves, mean, spread)[1], exact, rtol=1e-12)


def test_hmm_check_notices_other_transitions(hmm, model):
    """The same deviation, of paths under a transition matrix that is a little off."""
    filtered, smoothed, moves = model
    with np.errstate(divide="ignore"):
        wrong = np.log(0.95 * moves + 0.05 / len(moves))
        log_filtered = np.log(filtered)
    regimes = np.empty((3000, len(filtered)), np.int8)
    for path, place in enumerate(regimes):
        hmm.sample_path(hmm.KEY, path, log_filtered, wrong, np.empty(len(moves)), place)
    assert hmm.worst_deviation(regimes, smoothed) > 8


def test_potts_prints_what_it_claims():
    pytest.importorskip("sklearn", reason=INSTALL)
    pytest.importorskip("PIL", reason=INSTALL)
    text, rows = rows_of_table("potts")
    before = float(re.search(r"([\d.]+)% of them wrong", text).group(1))
    _, *ours, wrong = rows["numgumbel.nb"]
    assert len(set(ours)) == 1
    _, *usual, wrong_usually = rows["np.random"]
    assert len(set(usual)) == 3
    _, *seeded, _ = rows["np.random, seeds"]
    assert seeded[0] == seeded[1] != seeded[2]
    wrong, wrong_usually = (float(share.rstrip("%")) for share in (wrong, wrong_usually))
    assert wrong < before / 2
    assert abs(wrong - wrong_usually) < 0.3  # of the same distribution: the chains differ by 0.1 from run to run
