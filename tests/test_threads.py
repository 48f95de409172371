"""Threads: results never depend on them, and every kind of caller survives, at fork, at exit and beside others."""

import os
import subprocess
import sys
import threading
import weakref

import dense
import numpy as np
import pytest

import numgumbel as ng
from numgumbel import threads
from numgumbel.backends.cpu import pieces, plain, samples
from numgumbel.kernels.cpu.cells import TILE

KEY = ng.key(7, "threads")


@pytest.fixture(autouse=True)
def restored():
    before = ng.get_num_threads()
    yield
    ng.set_num_threads(before)


@pytest.fixture
def eager(monkeypatch):
    """Split the smallest call, so that small arrays meet every kind of piece."""
    for name in ("WORTH_A_THREAD", "LEAST_PIECE"):
        monkeypatch.setattr(pieces, name, 1)
    for name in ("PLAIN_BYTES", "PLAIN_DRAW_BYTES", "WORTH_A_WATCHER"):
        monkeypatch.setattr(plain, name, 0)


def results(x, **given):
    top = ng.gumbel_topk(KEY, x, 2, **given)
    soft = ng.gumbel_softmax(KEY, x, tau=0.7, **given)
    known = ng.draw(KEY, x, want=("score", "log_prob", "logsumexp", "entropy"), **given)
    actions = ng.sample_actions(KEY, x, nvec=(7, 30), **given)
    return [
        ng.categorical(KEY, x, **given),
        ng.categorical(KEY, x, method="inverse_cdf", **given),
        soft,
        *top,
        *known,
        *actions,
        ng.conditional_gumbel(KEY, x, np.full(x.shape[:-1], 3), **given),
        ng.gumbel_softmax_vjp(KEY, x, np.cos(x), tau=0.7, **given) if "n" not in given else None,
        ng.gumbel(KEY, x.shape, dtype=x.dtype, **given),
    ]


@pytest.mark.parametrize("count", [2, 3, 16])
@pytest.mark.parametrize("given", [{}, {"n": 3}])
def test_any_number_of_threads_gives_the_same_bits(eager, count, given):
    x = np.random.default_rng(1).normal(size=(2, 5, 2, 37)).astype(np.float32).transpose(2, 1, 0, 3)
    ng.set_num_threads(1)
    wanted = results(x, **given)
    ng.set_num_threads(count)
    for got, expected in zip(results(x, **given), wanted, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 2])
def test_columns_shared_by_threads(eager, rows, dtype):
    """Few long rows: parts of the columns, joined. Ties across parts go to the lowest column, a NaN anywhere counts."""
    ng.set_num_threads(3)
    columns = 5 * TILE + 77
    rng = np.random.default_rng(2)
    cases = [
        rng.normal(size=(rows, columns)),
        np.zeros((rows, columns)),
        np.where(np.arange(columns) >= 3 * TILE, rng.normal(size=(rows, columns)), -np.inf),
        np.where(np.arange(columns) % 1500 == 1499, 1e30, 0.0) + np.zeros((rows, 1)),
    ]
    for x in cases:
        x = x.astype(dtype)
        for given in ({}, {"temperature": 0.0}, {"cols": np.arange(columns) + 5}, {"n": 2} if rows == 1 else {}):
            assert samples._shares_columns(_request(x, given))
            wanted = dense_categorical(x, **given)
            np.testing.assert_array_equal(ng.categorical(KEY, x, **given), wanted)
    for place in (0, TILE, columns - 1):
        for nan in (np.nan, -np.nan):
            bad = cases[0].astype(dtype)
            bad[-1, place] = nan
            marked = ng.categorical(KEY, bad, invalid="mark")
            assert marked[-1] == -1
            assert (marked[:-1] >= 0).all()
            with pytest.raises(ValueError, match=f"1 of {rows} rows invalid"):
                ng.categorical(KEY, bad)
    nothing = np.full((rows, columns), -np.inf, dtype)
    assert (ng.categorical(KEY, nothing, invalid="mark") == -1).all()


def _request(x, given):
    from numgumbel.arguments import sampling_request

    options = {"step": 0, "rows": None, "cols": None, "mask": None, "temperature": 1.0} | given
    options = {"axis": -1, "n": None, "invalid": None} | options
    return sampling_request(KEY, x, None, temperature_name="temperature", **options)


def dense_categorical(x, n=None, **given):
    cells = dense.cells(x, mask=None)
    if n is None:
        return dense.categorical(KEY, cells, **given)
    return np.stack([dense.categorical(KEY, cells, step=step, **given) for step in range(n)])


def test_invalid_rows_are_named_in_order(eager):
    x = np.zeros((100, 4), np.float32)
    x[[97, 3, 50, 51, 52, 8]] = np.nan
    ng.set_num_threads(4)
    with pytest.raises(ValueError, match=r"6 of 100 rows invalid .*: row 3, 8, 50, 51, 52, \.\.\.;"):
        ng.categorical(KEY, x)


def test_a_problem_in_a_piece_reaches_the_caller():
    def work(piece):
        if piece == 5:
            raise OSError("piece 5")

    ng.set_num_threads(4)
    with pytest.raises(OSError, match="piece 5"):
        threads.run(work, 50)
    done = []
    threads.run(done.append, 50)  # and the pool works on
    assert sorted(done) == list(range(50))


def test_an_interrupt_waits_for_the_helpers(monkeypatch):
    """They write into the caller's arrays: nothing is raised before the last of them is out."""
    monkeypatch.setattr(threads, "_pool", threads._Pool())  # no job of an earlier test in the way: a helper will come
    ng.set_num_threads(2)
    helping, go_on, log = threading.Event(), threading.Event(), []

    def work(piece):
        if threading.current_thread() is threading.main_thread():
            helping.wait()
            threading.Thread(target=go_on.set).start()
            raise KeyboardInterrupt
        helping.set()
        go_on.wait()
        log.append(piece)

    with pytest.raises(KeyboardInterrupt):
        threads.run(work, 2)  # one each: with more, the helper might begin another before the interrupt is noted
    assert len(log) == 1


def test_nothing_of_a_call_is_kept(eager):
    """Neither by workers that wait, nor by a queue that they are too busy to look at, nor by what was raised."""
    ng.set_num_threads(3)
    kept = []

    def call(fails=False):
        x = np.zeros((64, 300), np.float32)
        x[3] = np.nan if fails else 0
        kept.append(weakref.ref(x))
        index = ng.categorical(KEY, x, invalid="raise")
        kept.append(weakref.ref(index))

    go_on = threading.Event()
    long_call = threading.Thread(target=threads.run, args=(lambda piece: go_on.wait(), 100))
    long_call.start()
    for _ in range(20):
        call()
    go_on.set()
    long_call.join()
    call()
    with pytest.raises(ValueError, match="row 3"):
        call(fails=True)
    assert len(kept) == 43
    assert all(reference() is None for reference in kept)


def test_more_threads_than_the_system_has(monkeypatch):
    """Where no thread can be started the caller does it all."""
    monkeypatch.setattr(threads, "_pool", threads._Pool())

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads.threading.Thread, "start", refuse)
    ng.set_num_threads(4)
    done = []
    threads.run(done.append, 9)
    assert done == list(range(9))


def test_limits():
    ng.set_num_threads(np.int64(3))
    assert ng.get_num_threads() == 3
    for wrong in (True, 1.5, "2", None):
        with pytest.raises(TypeError, match="n must be an integer"):
            ng.set_num_threads(wrong)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="n must be 1 or more"):
            ng.set_num_threads(wrong)


PRELUDE = """
import os, sys, threading, atexit, multiprocessing
import numpy as np, numgumbel as ng
from numba.core.compiler_lock import global_compiler_lock
from numgumbel.backends.cpu import pieces, plain
pieces.WORTH_A_THREAD, pieces.LEAST_PIECE, plain.PLAIN_BYTES = 1, 1, 0
ng.set_num_threads(3)
key, x = ng.key(1), np.zeros((64, 300), np.float32)
def draw(step=0):
    return int(ng.categorical(key, x, step=step).sum())
"""

CALLERS = {
    "many threads at once": """
from concurrent.futures import ThreadPoolExecutor
wanted = [draw(step) for step in range(40)]
with ThreadPoolExecutor(8) as pool:
    assert list(pool.map(draw, list(range(40)) * 5)) == wanted * 5
""",
    "after fork": """
wanted = draw()
if hasattr(os, "fork"):
    for _ in range(5):
        child = os.fork()
        if child == 0:
            os._exit(0 if draw() == wanted and draw() == wanted else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert draw() == wanted
""",
    "fork while another thread draws": """
wanted, stop = draw(), threading.Event()
def busy():
    while not stop.is_set():
        draw()
others = [threading.Thread(target=busy) for _ in range(2)]
[t.start() for t in others]
if hasattr(os, "fork"):
    for _ in range(10):
        child = os.fork()
        if child == 0:
            os._exit(0 if draw() == wanted else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
[t.join() for t in others]
""",
    "fork while another thread compiles": """
if hasattr(os, "fork"):
    from numgumbel.kernels.cpu.inverse_cdf import inverse_cdf_rows
    begun = threading.Event()
    def compile_one():
        with global_compiler_lock:
            begun.set()
            inverse_cdf_rows[x.dtype]
    compiling = threading.Thread(target=compile_one)
    compiling.start()
    begun.wait()
    child = os.fork()
    if child == 0:
        ng.categorical(key, x, method="inverse_cdf")
        os._exit(0 if draw() == draw() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    compiling.join()
""",
    "daemon thread at exit": """
drawn = threading.Event()
def forever():
    while True:
        draw()
        drawn.set()
threading.Thread(target=forever, daemon=True).start()
drawn.wait()
""",
    "at exit": """
wanted = draw()
def last():
    assert draw() == wanted
    print("drawn at exit")
atexit.register(last)
""",
    "first call at exit": """
def last():
    draw()
    print("drawn at exit")
atexit.register(last)
""",
}

PROCESSES = """
if __name__ == "__main__":
    wanted = [draw(step) for step in range(6)]
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(draw, range(6)) == wanted, method
        print(method)
"""


def run(code, tmp_path, **environment):
    script = tmp_path / "caller.py"
    script.write_text(code)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", str(script)]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("code", CALLERS.values(), ids=CALLERS)
def test_every_caller_survives(code, tmp_path):
    done = run(PRELUDE + code, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("drawn at exit" in done.stdout) == ("drawn at exit" in code)


def test_every_start_method(tmp_path):
    done = run(PRELUDE + PROCESSES, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "spawn" in done.stdout


def test_the_environment_sets_the_limit(tmp_path):
    code = "import numgumbel as ng; print(ng.get_num_threads())"
    assert run(code, tmp_path, NUMGUMBEL_NUM_THREADS="5").stdout == "5\n"
    for wrong in ("0", "two", "-1"):
        assert f"must be a whole number of 1 or more, got '{wrong}'" in run(code, tmp_path, NUMGUMBEL_NUM_THREADS=wrong).stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no processor affinity")
def test_affinity_is_respected(tmp_path):
    code = "import os, numgumbel as ng; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(ng.get_num_threads())"
    assert run(code, tmp_path, NUMGUMBEL_NUM_THREADS="").stdout == "1\n"
