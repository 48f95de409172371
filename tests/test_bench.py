"""`numgumbel bench`: what it says, what it refuses, and that its checks see what is wrong."""

import contextlib
import functools
import io
import itertools
import json
import os
import subprocess
import sys
import time
import types
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import numgumbel as ng
from numgumbel.bench import clock, compare, compiling, files, nvtx, passes, peers, plot, report, roofline, subjects
from numgumbel.bench.clock import Clock, Effort
from numgumbel.workloads import ALIASES, WORKLOADS, Cost, Workload

BENCH = Path(__file__).parents[1] / "bench"
SHORT = Effort(20_000, 50_000, 2, 0, 6, 6, 0.5, 0.0, 60.0, 0.0)
FEW = "rl.b1_a6.f32", "rl.b8_a6.actions.f32"


@pytest.fixture
def run(tmp_path, command_line, monkeypatch):
    """The command in an empty folder, with few and short samples: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(clock, "QUICK", SHORT)
    monkeypatch.setattr(roofline, "QUICK_SIZE", 1 << 18)
    return functools.partial(command_line, "bench")


def entry(id, blocks, backend="cpu", contender="numgumbel", **more):
    workload = WORKLOADS[id]
    cost = workload.cost()
    return {
        "workload": id,
        "backend": backend,
        "contender": contender,
        **clock.summary(blocks),
        "ns_a_category": 1234.5,
        "bytes_a_second": 1.2345e12,
        "share_of_roofline": 0.987,
        "elements": cost.elements,
        "draws": workload.n or 1,
        "bytes_read": cost.bytes_read,
        "bytes_written": cost.bytes_written,
        "blocks_ns": blocks,
        **more,
    }


def results_of(*entries, backends=("cpu",)):
    kernels = [{"workload": "w", "kernel": "argmax_short_rows_of_ids[float32]", "seconds": 12.34, "cached": False}]
    return {
        "format": files.FORMAT,
        "machine": {"processor": "p"},
        "threads": 2,
        "seconds": 100.0,
        "bandwidth": {backend: {"read": 123e9, "copy": 234e9} for backend in backends},
        "kernels": kernels,
        "times": list(entries),
    }


def printed(show, *arguments):
    """What is printed 80 columns wide, as lines."""
    console = Console(file=io.StringIO(), width=80, highlight=False)
    show(console, *arguments)
    return console.file.getvalue().splitlines()


# --- the command ---------------------------------------------------------------------------------------------------------


def test_a_run_is_told_written_and_read(run, tmp_path):
    code, out, err = run(*FEW, "--quick", "--peers", "numpy", "--json", "a.json")
    assert (code, err) == (0, "")
    assert all(out.count(id) == 2 for id in FEW)
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "\x1b" not in out
    results = files.load(tmp_path / "a.json")
    assert [(e["workload"], e["contender"]) for e in results["times"]] == [
        (id, c) for id in FEW for c in ("numgumbel", "numpy")
    ]
    for each in results["times"]:
        cost = WORKLOADS[each["workload"]].cost()
        samples = [sample for block in each["blocks_ns"] for sample in block]
        assert each["median_ns"] == pytest.approx(np.median(samples), abs=0.01)
        assert each["min_ns"] <= each["quantiles_ns"]["10"] <= each["quantiles_ns"]["90"]
        assert each["bytes_a_second"] == pytest.approx(
            (cost.bytes_read + cost.bytes_written) / each["median_ns"] * 1e9, rel=0.01
        )
        assert (each["philox_calls"], each["elementary"]) == (cost.philox_calls, cost.elementary)
        own = each["contender"] == "numgumbel"
        assert (each["checksum"], "steady_ns" in each) == (
            (WORKLOADS[each["workload"]].expected, True) if own else (None, False)
        )
    assert results["bandwidth"]["cpu"]["read"] > 0
    files.save(tmp_path / "b.json", results)
    assert files.load(tmp_path / "b.json") == results


def test_a_picture_of_a_run(run, tmp_path):
    pytest.importorskip("matplotlib", reason='pip install -e ".[bench]"')
    assert run(*FEW, "--quick", "--plot", "a.png")[0] == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("factor", "verdict", "failing"), [(1e-3, "slower", 1), (1e3, "faster", 0)])
def test_another_run_is_compared_with(run, tmp_path, factor, verdict, failing):
    assert run(*FEW, "--quick", "--json", "a.json")[0] == 0
    results = files.load(tmp_path / "a.json")
    results["threads"] += 1
    for each in results["times"][:1]:
        for name in ("blocks_ns", "steady_ns"):
            each[name] = [[sample * factor for sample in block] for block in each[name]]
    del results["times"][1]
    files.save(tmp_path / "other.json", results)
    code, out, err = run(*FEW, "--quick", "--compare", "other.json", "--fail-slower", "1.5")
    assert code == failing
    assert verdict in out.split("verdict")[1].splitlines()[1]
    assert f"Not in the other run: {FEW[1]}" in out
    assert "The threads differs" in out
    assert (f"slower by more than 1.5: {FEW[0]}" in err) == bool(failing)
    assert run(*FEW, "--quick", "--compare", "other.json")[0] == 0


def test_a_wrong_kernel_is_caught(run, monkeypatch):
    """A swapped-in kernel fails the command, which says where."""
    right = ng.categorical
    monkeypatch.setattr(ng, "categorical", lambda key, logits, **given: (right(key, logits, **given) + 1) % 6)
    code, out, err = run(*FEW, "--quick", "--json", "a.json")
    assert code == 1
    assert out == ""
    assert err.startswith("numgumbel: wrong result: rl.b1_a6.f32 on cpu: the checksum is ")
    assert not Path("a.json").exists()


def test_a_kernel_that_goes_wrong_later_is_caught(run, monkeypatch):
    """Verifications are the calls at step 0, of which the first finds nothing; how many others there are depends on speed."""
    right, verifications = ng.categorical, itertools.count()
    monkeypatch.setattr(
        ng,
        "categorical",
        lambda key, logits, **given: right(key, logits, **given) + (given["step"] == 0 and next(verifications) > 0),
    )
    assert run(FEW[0], "--quick")[0] == 1
    assert next(verifications) == 2


def test_list(run):
    code, out, err = run("--list")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split() == ["rl.b1_a6.f32", "categorical", "1", "x", "6", "24", "B"]
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(WORKLOADS)
    assert all(len(line) <= 80 for line in out.splitlines())
    listed = [line.split()[0] for line in run("--list", "rl.b8*", next(iter(ALIASES)))[1].splitlines()[1:]]
    assert listed == ["rl.b8_a6.f32", "rl.b8_a6.actions.f32", "rl.b6144_a78.heads7.f32"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rl.b2"], "no workload matches 'rl.b2'; numgumbel bench --list tells all"),
        (["--quick", "--compare", "absent.json"], "No such file"),
        (["--quick", "--compare", "text.json"], "text.json is no JSON"),
        (["--quick", "--compare", "other.json"], "was not written by numgumbel bench --json"),
        (["--quick", "--compare", "damaged.json"], "damaged.json is damaged"),
        (["--quick", "--fail-slower", "1.1"], "--fail-slower needs --compare"),
        (["--fail-slower", "1"], "--fail-slower"),
        (["--precision", "0"], "--precision"),
        (["--quick", "--plot", "a.txt"], "--plot must be a file of .png, .svg, .pdf, got a.txt"),
        (
            ["--quick", "--peers", "numpy,pandas"],
            "--peers must be all or of numpy, torch, jax, cupy, with commas, got 'pandas'",
        ),
        (["--quick", "--peers", "cupy"], "--peers cupy has nothing to do on cpu"),
        (["--quick", "--profile-range"], "--profile-range is for a GPU"),
    ],
)
def test_wrong_input(run, arguments, words):
    """One line, exit code 2, and nothing is measured."""
    Path("text.json").write_text("time: 3")
    Path("other.json").write_text('{"format": "another"}')
    Path("damaged.json").write_text(json.dumps({"format": files.FORMAT, "times": [{"workload": "rl.b1_a6.f32"}]}))
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_entries_without_samples_are_damaged(tmp_path):
    good = entry(FEW[0], [[1.0]] * 6)
    files.save(tmp_path / "good.json", results_of(good))
    files.load(tmp_path / "good.json")
    for blocks in ([], [[]], [[0.0]], [["1"]], [1.0]):
        files.save(tmp_path / "bad.json", results_of({**good, "blocks_ns": blocks}))
        with pytest.raises(ValueError, match="damaged"):
            files.load(tmp_path / "bad.json")


def test_without_a_gpu(run):
    """In a process of its own, as other tests may have a GPU played by the host."""
    code = "import sys; from numgumbel.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "bench", FEW[0], "--quick", "--backend", "cuda"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("numgumbel: error: --backend cuda: ")
    assert len(done.stderr.splitlines()) == 1


def test_what_is_missing_is_said(run, monkeypatch):
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    assert "jax is not installed: python -m pip install jax" in run("--quick", "--peers", "jax")[2]
    monkeypatch.setitem(sys.modules, "nvtx", None)
    assert 'python -m pip install "numgumbel[profile]"' in run(FEW[0], "--quick", "--nvtx")[2]
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert 'python -m pip install "numgumbel[bench]"' in run("--quick", "--plot", "a.png")[2]
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    code, _, err = run("vocab.b32_k128256.bf16", "--quick")
    assert code == 2
    assert "python -m pip install ml_dtypes" in err


# --- times ---------------------------------------------------------------------------------------------------------------


class FakeTime:
    """A clock that moves when it is looked at and when a call is made, and by nothing else."""

    def __init__(self, look, call):
        self.time, self.look, self.call_ns = 0, look, call

    def __call__(self):
        self.time += self.look
        return self.time

    def call(self):
        self.time += self.call_ns


@pytest.mark.parametrize("look", [0, 60, 2000])
def test_the_harness_adds_little(look):
    """Looking at the clock may take as long as the call itself: a sample is of so many calls that it does not show."""
    fake = FakeTime(look, 2000)
    measured = Clock(fake)
    number, about = measured.calls(fake.call, clock.FULL.sample_ns)
    block = measured.block(fake.call, number, 5, warm_ups=3)
    assert np.median(block) == pytest.approx(2000, rel=0.1)
    assert about == pytest.approx(2000, rel=0.1)
    alone = measured.block(fake.call, 1, 5)
    assert (np.median(alone) == pytest.approx(2000, rel=0.1)) == (look < 200), "one call a sample would show it"


def test_warm_ups_are_not_counted():
    fake = FakeTime(0, 1000)
    seen = []
    measured = Clock(fake)
    block = measured.block(lambda: (seen.append(fake.time), fake.call()), 2, 3, warm_ups=4)
    assert block == [1000.0] * 3
    assert len(seen) == 4 + 2 * 3


def test_a_slow_first_call_makes_no_short_samples():
    durations = iter([5 * 10**7, *[1000] * 10**5])
    fake = FakeTime(0, 0)

    def call():
        fake.time += next(durations)

    number, about = Clock(fake).calls(call, 10**6)
    assert (number, about) == (1024, 1000)


def test_precision_of_a_median():
    rng = np.random.default_rng(0)
    noisy, quiet = ([list(1000 * (1 + scale * rng.random(3))) for _ in range(20)] for scale in (1.0, 0.01))
    assert clock.precision(quiet) < 0.005 < 0.05 < clock.precision(noisy)
    assert clock.precision(noisy * 20) < clock.precision(noisy)


def test_more_blocks_until_precise():
    def subject(contender, blocks):
        made = subjects.Subject(WORKLOADS[FEW[0]], "cpu", contender, lambda: None, lambda: None, SHORT, Clock())
        made.blocks = {"call": blocks}
        return made

    effort = Effort(1, 1, 1, 1, 6, 9, 0.05, 10.0, 60.0, 5.0)
    for contender, blocks, seconds, wanted in (
        ("numgumbel", [[1.0]] * 5, 99, True),
        ("numgumbel", [[1.0]] * 6, 99, False),
        ("numgumbel", [[1.0]] * 6, 1, True),
        ("numgumbel", [[1.0]] * 4 + [[2.0]] * 4, 99, True),
        ("numgumbel", [[1.0]] * 5 + [[2.0]] * 5, 1, False),
        ("numpy", [[1.0]] * 2, 99, True),
        ("numpy", [[1.0]] * 6, 1, False),
    ):
        made = subject(contender, blocks)
        made._effort = effort
        assert made.wants_more(seconds) == wanted, (contender, blocks, seconds)


class Device:
    """A GPU's clock: calls are made, and their times are known."""

    def __init__(self):
        self.queued = []

    def timed(self, what, call, host_ns=None):
        call()
        self.queued.append((what, host_ns))
        return {"cold": 900, "warm": 500, "enqueue": 70, "completion": 1200}[what]

    def __getattr__(self, what):
        return functools.partial(self.timed, what)


def test_a_device_is_timed_by_its_own_clock():
    """Four times of each block, the cold one counts; all wait for the queueing that was seen first."""
    made, verified, device = [], [], Device()
    subject = subjects.Subject(
        WORKLOADS[FEW[0]], "cuda", "numgumbel", lambda: made.append(1), lambda: verified.append(1), SHORT, Clock(), device
    )
    kernels, seconds = subject.first()
    assert (kernels, len(verified), seconds > 0) == ([], 1, True)
    assert [what for what, _ in device.queued] == ["completion", *["enqueue"] * SHORT.samples]
    device.queued.clear()
    subject.block()
    assert dict(device.queued) == {"cold": 70, "warm": 70, "enqueue": None, "completion": None}
    assert len(verified) == 2
    assert subject.steady == []
    figures = subject.figures()
    assert (figures["timed"], figures["median_ns"], figures["backend"]) == ("cold", 900, "cuda")
    assert (figures["warm_ns"], figures["enqueue_ns"], figures["completion_ns"]) == (500, 70, 1200)
    assert "steady_ns" not in figures


def test_roofline():
    bandwidth = {"read": 2e9, "copy": 1e9}
    assert roofline.least_ns(Cost(0, 2000, 0, 0, 0), bandwidth) == 1000
    assert roofline.least_ns(Cost(0, 1000, 1000, 0, 0), bandwidth) == 2000
    fake = FakeTime(1000, 0)
    found = roofline.of_host(Clock(fake), 1 << 16)
    assert (found["read"], found["copy"]) == (65536 * 10**6, 2 * 65536 * 10**6)


def test_kernels_that_are_made_ready(tmp_path):
    """Compiled by the first process, from the cache in the second."""
    code = """
import json, numpy as np, numgumbel as ng
from numgumbel.bench.compiling import watched
with watched() as first:
    ng.gumbel(ng.key(1), (1, 1), dtype=np.float32)
with watched() as second:
    ng.gumbel(ng.key(1), (1, 1), dtype=np.float32)
print(json.dumps([first, second]))
"""
    for cached in (False, True):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "NUMGUMBEL_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        first, second = json.loads(done.stdout)
        assert [kernel["kernel"] for kernel in first if "noise" in kernel["kernel"]] == ["noise_rows[float32]"]
        assert {kernel["cached"] for kernel in first} == {cached}
        assert all(kernel["seconds"] > 0 for kernel in first)
        assert second == []


def test_watching_ends_with_the_block():
    from numgumbel.kernels import journal

    with contextlib.suppress(KeyError), compiling.watched() as seen:
        journal.enter("inside", np.dtype(np.float32), (), "cpu", 0.5, journal.CACHE_HIT)
        raise KeyError
    journal.enter("behind", None, (), "cpu", 0.5, journal.CACHE_MISS)
    del journal.entries[-2:]
    assert seen == [{"kernel": "inside[float32]", "seconds": 0.5, "cached": True}]


# --- verification --------------------------------------------------------------------------------------------------------


def test_what_a_device_gives():
    """Sums may differ by some ulp, all else not at all."""
    workload = WORKLOADS["rl.b8_a6.actions.f32"]
    expected = workload.run()
    assert subjects.differs(workload, expected, expected) is None
    near = expected._replace(log_prob=np.nextafter(expected.log_prob, np.float32(-9)))
    assert subjects.differs(workload, near, expected) is None
    far = expected._replace(log_prob=expected.log_prob + np.float32(1e-3))
    assert "8 of log_prob differ from the CPU's by more than 8 ulp" in subjects.differs(workload, far, expected)
    other = expected._replace(action=(expected.action + 1) % 6)
    assert "the checksum of action is" in subjects.differs(workload, other, expected)


RELATIVES = [
    Workload("relative", "categorical", (50, 7), "", masked=True),
    Workload("relative", "categorical", (50, 7), "", dtype="float64"),
    Workload("relative", "categorical", (2, 7), "", n=40, method="inverse_cdf"),
    Workload("relative", "draw", (50, 7), "", want=("log_prob", "logsumexp")),
    Workload("relative", "gumbel_softmax", (50, 7), ""),
    Workload("relative", "gumbel_topk", (50, 7), "", k=3),
    Workload("relative", "sample_actions", (50, 7), ""),
    Workload("relative", "sample_actions", (50, 7), "", nvec=(3, 4)),
]


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("workload", RELATIVES, ids=lambda workload: f"{workload.operation}-{workload.dtype}")
def test_peers_do_what_is_asked(library, workload):
    """First choices come as often as they should, and log-probabilities are those of what was chosen."""
    if missing := peers.missing(library):
        pytest.skip(missing)
    inputs = workload.inputs()
    call = peers.prepare(library, workload, inputs, "cpu")
    if call is None:
        assert library == "jax"
        assert workload.dtype == "float64" or workload.n
        return
    result = call()
    if workload.nvec is None:
        assert peers.check(workload, inputs, result) is None
    counts, calls = np.zeros(workload.shape), 300
    rows = np.arange(workload.shape[0])
    for _ in range(calls):
        result = call()
        first = np.asarray(result[0] if isinstance(result, tuple) else result)
        if workload.operation == "gumbel_softmax":
            first = first.argmax(-1)
        elif workload.operation == "gumbel_topk" or workload.nvec:
            first = first[:, 0]
        for drawn in np.atleast_2d(first):
            counts[rows, drawn] += 1
    x = np.where(True if inputs.mask is None else inputs.mask, inputs.logits.astype(float), -np.inf)
    x = x if workload.nvec is None else np.where(np.arange(7) < 3, x, -np.inf)
    p = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    draws = counts[0].sum()
    assert (np.abs(counts / draws - p) <= 5 * np.sqrt(p * (1 - p) / draws) + 2 / draws).all()
    if workload.operation == "draw":
        np.testing.assert_allclose(np.asarray(result[1]), np.log(p[rows, np.asarray(result[0])]), atol=1e-4)


def test_wrong_peers_are_caught():
    masked, soft, top = RELATIVES[0], RELATIVES[4], RELATIVES[5]
    inputs = masked.inputs()
    allowed = np.zeros(50, int)  # the first of a row is never forbidden
    assert peers.check(masked, inputs, allowed) is None
    assert "forbidden" in peers.check(masked, inputs, inputs.mask.argmin(-1))
    assert "from 0 to 6" in peers.check(masked, inputs, allowed + 7)
    assert "shape" in peers.check(masked, inputs, allowed[:40])
    assert "add up" in peers.check(soft, soft.inputs(), np.ones((50, 7)))
    assert "shape" in peers.check(top, top.inputs(), (np.zeros((50, 2), int), None))


# --- two runs ------------------------------------------------------------------------------------------------------------


def run_of(rng, factor, blocks=40):
    """Blocks of a machine that drifts, is disturbed for many blocks in a row, and half of the time is disturbed anyway."""
    level, made, busy = 0.0, [], False
    for _ in range(blocks):
        level = 0.8 * level + rng.normal(0, 0.01)
        busy = rng.random() < (0.75 if busy else 0.25)
        samples = 1e6 * factor * np.exp(abs(level)) * (1 + 0.9 * busy + rng.exponential(0.15, 5) * (rng.random(5) < 0.5))
        made.append(list(samples * (1 + rng.normal(0, 0.005, 5))))
    return made


def verdicts(factor, tries=200):
    rng = np.random.default_rng(17)
    found = [compare.verdict(compare.ratio_of(run_of(rng, 1.0), run_of(rng, factor))) for _ in range(tries)]
    return {verdict: found.count(verdict) / tries for verdict in compare.VERDICTS}


def test_the_same_code_is_the_same():
    found = verdicts(1.0)
    assert found["same"] >= 0.95, found


def test_slower_and_faster_code_is_told():
    found = verdicts(1.3)
    assert found["slower"] >= 0.95, found
    found = verdicts(1 / 1.3)
    assert found["faster"] >= 0.95, found


def test_a_difference_at_the_margin_is_not_called_the_same():
    found = verdicts(1.1)
    assert found["same"] < 0.3, found
    assert found["slower"] < 0.3, found


def test_medians_of_such_machines_would_not_do():
    """What the lowest twentieth of least samples is for."""
    rng = np.random.default_rng(17)
    ratios = [np.median(run_of(rng, 1.0)) / np.median(run_of(rng, 1.0)) for _ in range(200)]
    assert np.mean(np.abs(np.log(ratios)) > np.log(1.1)) > 0.3


def test_too_few_blocks_say_nothing():
    few, many = (results_of(entry(FEW[0], [[1000.0]] * count)) for count in (compare.FEWEST - 1, compare.FEWEST))
    (found,) = compare.compare(few, many)
    assert (found.ratio, found.verdict) == (None, compare.NOISY)
    assert compare.compare(many, many)[0].verdict == compare.SAME
    assert compare.compare(results_of(), many) == []


def test_processor_time_is_what_is_compared():
    """Of runs that have it; the other time, which threads share, is shown."""
    old = results_of(entry(FEW[0], [[1000.0]] * 9, steady_ns=[[500.0]] * 9))
    new = results_of(entry(FEW[0], [[3000.0]] * 9, steady_ns=[[500.0]] * 9))
    (found,) = compare.compare(old, new)
    assert (found.verdict, found.old_ns, found.new_ns) == (compare.SAME, 1000.0, 3000.0)
    del old["times"][0]["steady_ns"]
    (found,) = compare.compare(old, new)
    assert (found.verdict, found.ratio.value) == (compare.SLOWER, 3.0), "like is compared with like"


def test_neighbouring_blocks_are_drawn_together():
    """So that the interval of a machine that drifts is wider than that of one whose blocks are independent."""
    drifting = [float(number // 10) for number in range(40)]
    mixed = list(np.random.default_rng(0).permutation(drifting))
    wide, narrow = (np.std(compare.resampled(levels, 0.5)) for levels in (drifting, mixed))
    assert wide > 1.1 * narrow


# --- tables and pictures -------------------------------------------------------------------------------------------------


def widest(backend):
    """Entries of all workloads, with times that take as much room as any."""
    more = {f"{name}_ns": 8_888_000.0 for name in ("warm", "enqueue", "completion")}
    rng = np.random.default_rng(0)
    return [
        entry(id, [list(8.888e8 * (1 + rng.random(2)))] * 6, backend, contender, **more)
        for id in WORKLOADS
        for contender in ("numgumbel", *peers.LIBRARIES)
    ]


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_tables_fit_80_columns(backend):
    lines = printed(report.show, results_of(*widest(backend), backends=(backend,)))
    assert max(map(len, lines)) <= 80
    for id in WORKLOADS:
        rows = [line.split() for line in lines if line.split()[:1] == [id]]
        assert len(rows) == 2, "each a line of its own, with the whole id"
        assert all(cell and "…" not in cell for row in rows for cell in row)
    assert any("argmax_short_rows_of_ids[float32]" in line and "compiled" in line for line in lines)


def test_the_comparison_fits_80_columns():
    found = [
        compare.Comparison(id, "cpu", 8.888e9, 8.888e9, compare.Ratio(1.234, 1.123, 1.345), verdict)
        for id, verdict in zip(WORKLOADS, itertools.cycle(compare.VERDICTS), strict=False)
    ]
    lines = printed(report.show_comparison, found, [], 1.1)
    assert max(map(len, lines)) <= 80
    for each in found:
        (row,) = (line.split() for line in lines if line.split()[:1] == [each.workload])
        assert row[-1] == ("noisy" if each.verdict == compare.NOISY else each.verdict)
        assert row[-2] == "1.12-1.34"


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_picture_has_a_background(tmp_path, suffix):
    pytest.importorskip("matplotlib", reason='pip install -e ".[bench]"')
    path = tmp_path / f"a{suffix}"
    entries = [
        entry(id, [[1000.0 * number]] * 6, contender=c) for number, id in enumerate(FEW, 1) for c in ("numgumbel", "numpy")
    ]
    plot.plot(results_of(*entries), path)
    if suffix == ".svg":
        text = path.read_text()
        assert all(id in text for id in FEW)
        assert "fill: #ffffff" in text
        return
    from matplotlib import pyplot

    pixels = pyplot.imread(path)
    assert pixels[:5, :5, :3].min() == 1
    if pixels.shape[2] == 4:
        assert pixels[..., 3].min() == 1, "nothing shines through"
    assert pixels.min() < 0.5


def test_durations_of_all_sizes():
    assert [report.duration(ns) for ns in (1, 9994, 9996, 999_400, 999_600)] == [
        "0.00 us",
        "9.99 us",
        "10.0 us",
        "999 us",
        "1.00 ms",
    ]


# --- profilers -----------------------------------------------------------------------------------------------------------


def test_ranges_cost_nothing_when_off(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvtx", None)
    ranges = nvtx.ranges(False)
    assert ranges("a") is ranges("b")
    assert isinstance(ranges("a"), nullcontext)


def test_every_block_is_a_range(run, monkeypatch):
    seen = []
    monkeypatch.setitem(
        sys.modules,
        "nvtx",
        types.SimpleNamespace(annotate=lambda name, domain: (seen.append((domain, name)), nullcontext())[1]),
    )
    assert run(FEW[0], "--quick", "--nvtx")[0] == 0
    assert seen == [("numgumbel", f"{FEW[0]} numgumbel cpu")] * SHORT.fewest
    seen.clear()
    assert run(FEW[0], "--quick")[0] == 0
    assert seen == []


def test_the_profiled_part(monkeypatch):
    """It begins and ends around what is timed, also where that fails."""
    seen = []
    names = "profile_start", "profile_stop", "synchronize"
    cuda = types.SimpleNamespace(**{name: lambda name=name: seen.append(name) for name in names})
    monkeypatch.setitem(sys.modules, "numgumbel.kernels.gpu.loading", types.SimpleNamespace(cuda=cuda))

    def fails():
        with nvtx.profiled(True):
            seen.append("timed")
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert seen == ["profile_start", "timed", "synchronize", "profile_stop"]
    with nvtx.profiled(False):
        assert len(seen) == 4


def test_people_see_progress(run, monkeypatch):
    """On a terminal only, and on standard error."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    code, _, err = run(FEW[0], "--quick")
    assert code == 0
    assert "pass 1" in err
    monkeypatch.delenv("FORCE_COLOR")
    assert run(FEW[0], "--quick")[2] == ""


def test_processor_time_where_it_is_fine_enough(monkeypatch):
    for resolution, wanted in ((1e-9, time.thread_time_ns), (1e-2, time.perf_counter_ns)):
        monkeypatch.setattr(time, "get_clock_info", lambda name, r=resolution: types.SimpleNamespace(resolution=r))
        assert subjects.processor_time(10**6) is wanted


def test_progress_is_told():
    """From 0 to 1, in order, and only to who asks."""
    told = []
    passes.measure(
        [WORKLOADS[id] for id in FEW], ["cpu"], [], SHORT, quick=True, say=lambda text, share: told.append((share, text))
    )
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[0][0] == 0 <= told[-1][0] <= 1
    assert any(FEW[1] in text for _, text in told)


# --- scripts -------------------------------------------------------------------------------------------------------------


def test_the_soak_counts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import compare_soak

    def made(factor, id=compare_soak.WORKLOADS[0]):
        return results_of(entry(id, [[1000.0 * factor]] * 9))

    counts = compare_soak.counted([(made(1), made(1)), (made(1), made(1.3)), (made(1), made(1))])
    assert counts == {compare_soak.WORKLOADS[0]: {"same": 2, "slower": 1}, "all": {"same": 2, "slower": 1}}
    assert compare_soak.rate(counts, "slower") == pytest.approx(1 / 3)
    before = Workload.bind
    try:
        compare_soak.slow_down(1.3)
        rows = []
        right = ng.categorical
        monkeypatch.setattr(
            ng, "categorical", lambda key, logits, **given: (rows.append(len(logits)), right(key, logits, **given))[1]
        )
        workload = WORKLOADS["rl.b4096_a18.f32"]
        workload.verify(workload.bind()(step=0))
        assert rows == [round(1.3 * 4096)]
    finally:
        Workload.bind = before
    for module in ("compare_soak", "machine"):
        sys.modules.pop(module, None)


SUITE = """
import pytest
import numgumbel as ng
from numgumbel import workloads
from numgumbel.bench.fixtures import inputs, verified_call

WORKLOAD = workloads.get("rl.b1_a6.f32")


def test_right(inputs, verified_call):
    call = verified_call(WORKLOAD)
    assert inputs(WORKLOAD) is inputs(WORKLOAD)
    assert len({int(call()[0]) for _ in range(50)}) > 1


def test_wrong(verified_call):
    verified_call(WORKLOAD)
    workloads.Workload.checksum = lambda workload, result: "wrong"
"""


def test_fixtures(tmp_path):
    """A result that is wrong after the test is an error of that test."""
    (tmp_path / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "test_suite.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed, 1 error" in done.stdout, done.stdout
    assert "the result's checksum is wrong" in done.stdout


@pytest.mark.parametrize("name", ["compare-soak", "overhead"])
def test_results_say_that_it_is_right_often_enough(name):
    found = json.loads(sorted(BENCH.glob(f"results/{name}-*.json"))[-1].read_text())
    if name == "overhead":
        assert abs(found["difference"]) <= found["allowed"] == 0.1
        return
    assert found["wanted"] == 0.95
    assert found["pairs"] >= 20
    assert min(found["right"].values()) >= 0.95
