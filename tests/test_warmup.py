"""Warming up: afterwards nothing is compiled any more, here or in the next process; and wrong names compile nothing."""

import functools
import importlib
import json
import os
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

import numgumbel as ng
from numgumbel import kernels, warming
from numgumbel.kernels import jit
from numgumbel.kernels.jit import RowKernel

# Every function in every form that runs a kernel of its own: rows short and long, columns named, work for two threads.
CALLS = """
import gc, json, sys
import numpy as np
from numba.core import event
import numgumbel as ng
from numgumbel.kernels.jit import RowKernel, cache_folder

compilations = event.RecordingListener()
event.register("numba:compile", compilations)

def state():
    kernels = [thing for thing in gc.get_objects() if isinstance(thing, RowKernel)]
    compiled = sorted(f"{kernel.__name__} {dtype}" for kernel in kernels for dtype in kernel.dispatchers)
    files = sorted((path.name, path.stat().st_mtime_ns) for path in cache_folder().iterdir())
    return {"compilations": len(compilations.buffer), "kernels": compiled, "files": files}

seconds = ng.warmup(dtypes="float32") | ng.warmup("gumbel", "float64")
warm = state()
ng.set_num_threads(2)
key = ng.fold(ng.key(1), 2, tag=30)
for rows, columns in ((3, 5), (3, 1000), (1, 1_000_000), (400_000, 3)):
    x = np.zeros((rows, columns), np.float32)
    ids = np.arange(columns)[::-1]
    for given in ({}, {"cols": ids, "step": 1 << 31, "rows": ng.row_ids(np.arange(rows))}, {"mask": x == 0, "n": 2}):
        ng.categorical(key, x, **given)
        ng.categorical(key, probs=x + 1, method="inverse_cdf", **given)
        ng.gumbel_softmax(key, x, tau=0.5, **given)
        ng.conditional_gumbel(key, x, np.zeros(rows, int), **given)
        drawn = ng.draw(key, x, want=("score", "log_prob", "logsumexp", "entropy"), **given)
        ng.merge([drawn, drawn])
        ng.sample_actions(key, x, **given)
        top = ng.gumbel_topk(key, x, 2, **given)
        ng.inclusion_log_prob(x, top)
        if "n" not in given:
            ng.gumbel_softmax_vjp(key, x, x, **given)
            masked = {"mask": given["mask"]} if "mask" in given else {}
            ng.log_prob_entropy(x, np.zeros(rows, int), **masked)
            ng.log_prob_entropy_vjp(x, np.zeros(rows, int), **masked)
        if "mask" not in given:
            ng.gumbel(key, x.shape, dtype=x.dtype, **given)
ng.categorical_ragged(key, x.reshape(-1), np.arange(400_001) * 3)
ng.gumbel(key, 3)
ng.row_ids(["ann", "bob"], [1, 2])
ng.default_rng(1).split(2)
print(json.dumps([seconds, warm, state()]))
"""


def process(cache):
    """What the calls print, with that cache folder."""
    environment = {**os.environ, "NUMGUMBEL_CACHE_DIR": str(cache)}
    command = [sys.executable, "-W", "error", "-c", CALLS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_calls_after_warming_up_compile_nothing(tmp_path):
    """Neither in the process that compiled, nor in the next, which loads what it finds."""
    seconds, warm, after = process(tmp_path)
    assert after == warm
    assert warm["compilations"] > 0
    assert len(warm["kernels"]) == len(seconds)
    assert len([name for name, _ in warm["files"] if name.endswith(".nbi")]) == len(seconds)
    again, loaded, later = process(tmp_path)
    assert list(again) == list(seconds)
    assert later == loaded == warm | {"compilations": 0}


def test_every_row_kernel_is_warmed_by_some_name():
    found = set()
    for module in pkgutil.walk_packages(kernels.__path__, "numgumbel.kernels."):
        if module.name.startswith("numgumbel.kernels.gpu"):  # compiled by numba-cuda, which may be missing
            continue
        things = vars(importlib.import_module(module.name)).values()
        found |= {thing.__name__ for thing in things if isinstance(thing, RowKernel)}
    assert {kernel.__name__ for pair in warming._table().values() for part in pair for kernel in part} == found


@pytest.mark.parametrize(
    ("operations", "dtypes", "kernels"),
    [
        ("fold", None, ["fold_key"]),
        (["row_ids", "fold"], "float32", ["fold_integers", "fold_bytes", "fold_key"]),
        ("gumbel", np.float64, ["noise_rows[float64]", "wait_until", "survey_columns"]),
        (iter(["gumbel", "gumbel"]), (np.dtype("f4"), "f4"), ["noise_rows[float32]", "wait_until", "survey_columns"]),
        ("gumbel", None, ["noise_rows[float32]", "noise_rows[float64]", "wait_until", "survey_columns"]),
        ((), None, []),
    ],
)
def test_what_is_asked_for(operations, dtypes, kernels):
    """No more than that, each kernel once."""
    seconds = ng.warmup(operations, dtypes)
    assert list(seconds) == kernels
    assert all(isinstance(taken, float) and taken >= 0 for taken in seconds.values())


@pytest.fixture
def nothing_compiles(monkeypatch):
    monkeypatch.setattr(RowKernel, "__getitem__", lambda kernel, dtype: pytest.fail(f"{kernel.__name__} is compiled"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("argmax",), ValueError, "operations must be of categorical, .*, fold, got 'argmax'"),
        ((["gumbel", "inverse_cdf"],), ValueError, "operations must be of .* got 'inverse_cdf'"),
        ((["gumbel", None],), TypeError, "operations must be names such as 'categorical', got NoneType: None"),
        ((ng.gumbel,), TypeError, "operations must be a name or several, got function"),
        (("gumbel", "int16"), TypeError, "dtypes must be float32, float64, float16 or bfloat16, got 'int16'"),
        (("gumbel", ["float32", int]), TypeError, "dtypes must be float32, .* got <class 'int'>"),
        (("gumbel", [None]), TypeError, "dtypes must be float32, .* got None"),
        (("gumbel", "real"), TypeError, "dtypes must be float32, .* got 'real'"),
        (("gumbel", np.dtype(np.float32).newbyteorder()), TypeError, "dtypes must be float32, "),
        (("gumbel", 32), TypeError, "dtypes must be a name or several, got int: 32"),
    ],
)
def test_wrong_names(nothing_compiles, arguments, error, message):
    with pytest.raises(error, match=message):
        ng.warmup(*arguments)


# --- the command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(command_line):
    """Run the command: (exit code, standard output, standard error)."""
    return functools.partial(command_line, "warmup")


def test_command(command):
    code, out, err = command("gumbel", "fold", "--dtype", "float32")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert [line[0] for line in lines[:-1]] == ["kernel", "noise_rows[float32]", "wait_until", "survey_columns", "fold_key"]
    assert " ".join(lines[-1]).startswith("4 kernels in ")
    assert out.rstrip().endswith(f"kept in {jit.cache_folder()}")
    assert "noise_rows[float64]" in command("gumbel", "--dtype", "float32", "--dtype", "float64")[1]


def test_command_names_every_operation(command):
    code, out, _ = command("--help")
    assert code == 0
    assert all(name in out for name in warming._table())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["argmax"], "operations must be of categorical"),
        (["gumbel", "--dtype", "int16"], "'int16' is not one of 'float32', 'float64', 'float16', 'bfloat16'"),
        (["--colour"], "--colour"),
    ],
)
def test_command_refuses(nothing_compiles, command, arguments, words):
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("numgumbel: error: ")
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("", "NUMGUMBEL_CACHE_DIR is empty, which turns the cache off; unset it, or name a folder"),
        ("/no/where", "no folder can be made or written in NUMGUMBEL_CACHE_DIR=/no/where; name another"),
        (None, "no folder for the cache can be written; name one in NUMGUMBEL_CACHE_DIR"),
    ],
)
def test_command_without_a_cache(nothing_compiles, command, monkeypatch, named, words):
    """What is compiled would be lost: said before the wait, with what to do."""
    monkeypatch.delenv("NUMGUMBEL_CACHE_DIR", raising=False)
    if named is not None:
        monkeypatch.setenv("NUMGUMBEL_CACHE_DIR", named)
    monkeypatch.setattr(jit, "cache_folder", lambda: None)
    code, out, err = command("gumbel")
    assert (code, out) == (2, "")
    assert err == f"numgumbel: error: nothing would be kept: {words}\n"
