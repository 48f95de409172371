"""The README's figures are what bench/readme.py makes of the newest results; and the script that takes them runs."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import numgumbel as ng

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The scripts of bench/ can be imported, in this file only."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCH))
    yield
    for name in set(sys.modules) - before:
        if str(BENCH) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_figures_come_from_the_newest_results():
    import readme

    for name, (_, _, page) in readme.TABLES.items():
        now, text = readme.between_marks(name, page.read_text())
        assert now == readme.table(name)
        assert text == page.read_text()
        with pytest.raises(ValueError, match=f"<!-- {name} -->"):
            readme.between_marks(name, "no marks at all")


def test_the_newest_results_are_of_every_workload():
    import readme
    import summary

    from numgumbel.workloads import WORKLOADS

    results = json.loads(readme.newest("cpu").read_text())
    assert [entry["id"] for entry in results["workloads"]] == list(WORKLOADS)
    assert len(summary.comparisons(results["workloads"])) == len(summary.AGAINST)


@pytest.fixture
def numpy_alone(monkeypatch):
    """torch and JAX cannot be imported, installed or not; NumPy's error handling, which peers change, comes back."""
    for library in ("torch", "jax"):
        monkeypatch.setitem(sys.modules, library, None)
    before = np.geterr()
    yield
    np.seterr(**before)


def test_workloads_are_timed_without_other_libraries(numpy_alone, tmp_path):
    """What is missing is said, and everything else is measured."""
    import cpu

    path, threads = tmp_path / "cpu.json", ng.get_num_threads()
    done = CliRunner().invoke(cpu.main, ["--only", "rl.b8_a6.f32", "--rounds", "2", "--json", str(path)])
    assert done.exit_code == 0, done.output
    assert "python -m pip install torch" in done.output
    assert "python -m pip install jax" in done.output
    (entry,) = json.loads(path.read_text())["workloads"]
    assert (entry["id"], entry["elements"], entry["rounds"]) == ("rl.b8_a6.f32", 48, 2)
    kinds = {contender["kind"] for contender in entry["contenders"]}
    assert kinds == {"numgumbel", "ready-made", "hand-tuned", "bar"}
    assert all(contender["median_us"] >= contender["min_us"] > 0 for contender in entry["contenders"])
    assert ng.get_num_threads() == threads


@pytest.mark.slow
def test_numgumbel_stands_beside_itself(numpy_alone, tmp_path):
    """A draw beside the bare index, and halves beside float32."""
    import cpu

    path, names = tmp_path / "cpu.json", ["vocab.b32_k128256.draw.f32", "vocab.b32_k128256.f16"]
    only = [word for name in names for word in ("--only", name)]
    done = CliRunner().invoke(cpu.main, [*only, "--rounds", "1", "--json", str(path)])
    assert done.exit_code == 0, done.output
    draw, half = json.loads(path.read_text())["workloads"]
    ours = [{c["name"] for c in entry["contenders"] if c["kind"] == "numgumbel"} for entry in (draw, half)]
    assert ours[0] - {"numgumbel, one thread"} == {"numgumbel", "numgumbel, categorical"}
    assert ours[1] - {"numgumbel, one thread"} == {"numgumbel", "numgumbel, float32"}
    assert "against" in done.output
    assert not any("scaled_from_share_of_rows" in c for c in draw["contenders"])


def test_a_workload_that_cannot_be_run_is_left_out(monkeypatch, tmp_path):
    import cpu

    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    path = tmp_path / "cpu.json"
    done = CliRunner().invoke(cpu.main, ["--only", "vocab.b32_k128256.bf16", "--rounds", "1", "--json", str(path)])
    assert done.exit_code == 0, done.output
    assert "python -m pip install ml_dtypes" in done.output
    assert json.loads(path.read_text())["workloads"] == []


def test_times_of_a_part_are_scaled():
    """A contender that does one row in a hundred takes a hundred times as long for all."""
    import contender
    import cpu

    from numgumbel.workloads import WORKLOADS

    def times(of_rows):
        def idle(workload, inputs):
            return lambda: None

        runner = cpu.Runner(
            contender.Contender("idle", contender.READY_MADE, idle, of_rows=of_rows), WORKLOADS["rl.b1_a6.f32"], None
        )
        runner.samples = [1e-6, 2e-6, 5e-6]
        return runner.figures()

    part, whole = times(0.01), times(1.0)
    assert (whole["median_us"], whole["min_us"]) == (2, 1)
    assert (part["median_us"], part["min_us"], part["scaled_from_share_of_rows"]) == (200, 100, 0.01)
    assert "scaled_from_share_of_rows" not in whole


def test_a_wrong_answer_is_not_timed(numpy_alone, monkeypatch):
    import cpu

    monkeypatch.setattr(ng, "categorical", lambda key, logits, **given: logits.argmin(axis=-1))
    done = CliRunner().invoke(cpu.main, ["--only", "rl.b8_a6.f32", "--rounds", "1"])
    assert isinstance(done.exception, ValueError)
    assert "checksum" in str(done.exception)


def test_summary():
    """The best of each kind of peer is the fastest that samples; bars and one thread stand apart."""
    import summary

    def contender(name, kind, median):
        return {"name": name, "kind": kind, "median_us": median}

    entry = {
        "id": "some",
        "elements": 1000,
        "contenders": [
            contender("numgumbel", "numgumbel", 20.0),
            contender("numgumbel, one thread", "numgumbel", 30.0),
            contender("np.max", "bar", 4.0),
            contender("slow", "ready-made", 400.0),
            contender("usual", "ready-made", 200.0),
            contender("fast", "hand-tuned", 50.0),
            contender("too clever", "hand-tuned", 500.0),
        ],
    }
    ours, ready, tuned = ["some", "20.0 us", "20.00"], ["usual", "200 us", "10.0"], ["fast", "50.0 us", "2.5"]
    assert summary.row(entry) == [*ours, *ready, *tuned, "5.0", "", "1.5"]
    entry["contenders"] = [c for c in entry["contenders"] if c["kind"] != "hand-tuned" and "thread" not in c["name"]]
    assert summary.row(entry) == [*ours, *ready, "", "", "", "5.0", "", ""]
    entry["contenders"][1:] = [contender("np.max", "bar", 4.0), contender("torch.softmax", "bar", 10.0)]
    assert summary.row(entry) == [*ours, "", "", "", "", "", "", "5.0", "2.0", ""]
    assert len(summary.COLUMNS) == len(summary.row(entry))
    assert [summary.COLUMNS[number] for number in summary.NAMES] == ["workload", "ready-made", "hand-tuned"]
    entry["draws"] = 5000
    assert summary.row(entry)[:3] == ["some", "20.0 us", "4.00 a draw"]
    entry["contenders"].append(contender("of no kind", "peer", 1.0))
    with pytest.raises(KeyError, match="peer"):
        summary.row(entry)


def test_comparisons(monkeypatch):
    """Those that the figures hold, in the order of the list; a goal only where there is one."""
    import summary

    monkeypatch.setattr(summary, "AGAINST", (("a", "fast", 2), ("a", "slow", None), ("a", "away", 9), ("b", "fast", 0.5)))
    entry = {
        "id": "a",
        "contenders": [{"name": n, "median_us": t} for n, t in (("slow", 300.0), ("numgumbel", 20.0), ("fast", 30.0))],
    }
    assert summary.comparisons([entry]) == [
        ["a", "20.0 us", "fast", "30.0 us", "1.50", "2"],
        ["a", "20.0 us", "slow", "300 us", "15.0", ""],
    ]
    b = {"id": "b", "contenders": [{"name": "numgumbel", "median_us": 4.0}, {"name": "fast", "median_us": 2.0}]}
    assert summary.comparisons([b, entry])[2] == ["b", "4.00 us", "fast", "2.00 us", "0.50", "0.5"]
    assert {len(row) for row in summary.comparisons([entry])} == {len(summary.AGAINST_COLUMNS)}


def test_all_that_is_compared_is_there():
    import contender
    import peers
    import summary

    from numgumbel.workloads import WORKLOADS

    listed = [id for id, _, _ in summary.AGAINST]
    assert listed == sorted(listed, key=list(WORKLOADS).index)
    everybody = [contender.CATEGORICAL, contender.IN_FLOAT32, *peers.PEERS]
    for id, name, _ in summary.AGAINST:
        assert [other for other in everybody if other.name == name and other.fits(WORKLOADS[id])], (id, name)


def test_every_peer_is_of_a_kind():
    """Each is marked, and every operation has ready-made and hand-tuned ones."""
    import contender
    import peers

    from numgumbel.workloads import WORKLOADS

    assert {peer.kind for peer in peers.PEERS} == {contender.READY_MADE, contender.HAND_TUNED, contender.BAR}
    for workload in WORKLOADS.values():
        kinds = {peer.kind for peer in peers.PEERS if peer.fits(workload)}
        assert kinds >= {contender.READY_MADE, contender.HAND_TUNED, contender.BAR}, workload.id


def test_the_table_says_what_its_columns_are():
    import readme
    import summary

    assert readme.table("against").endswith("\n\n" + summary.AGAINST_NOTE)
    table = readme.table("cpu")
    assert table.endswith("\n\n" + summary.NOTE)
    assert "ready-made | its time | times faster | hand-tuned | its time | times faster" in table


@pytest.mark.parametrize(
    ("us", "text"), [(1.234, "1.23 us"), (12.34, "12.3 us"), (123.4, "123 us"), (1234, "1.23 ms"), (12345678, "12346 ms")]
)
def test_durations(us, text):
    import summary

    assert summary.duration(us) == text


def gpu_results(**times):
    """A results file of bench/gpu.py with one workload, whose contenders take so many microseconds."""
    kinds = {"numgumbel": "numgumbel", "torch": "ready-made", "max": "bar"}
    contenders = [
        {"name": name, "kind": kinds[name.split(",")[0]], "cold_us": us, "warm_us": us / 2, "enqueue_us": us}
        for name, us in times.items()
    ]
    entry = {"id": "vocab.b512_k128256.f32", "bytes_read": 8000, "bytes_written": 800, "contenders": contenders}
    return {"quick": False, "copy": {"bytes_a_second": 1e9}, "workloads": [entry]}


def test_what_is_asked_of_a_gpu():
    import gpu_summary

    results = gpu_results(**{"numgumbel": 10.0, "torch, a": 40.0, "torch, b": 29.0, "max, torch": 1.0})
    results["workloads"][0]["contenders"].append({"name": "torch, c", "kind": "ready-made", "refused": "wrong"})
    lines = {line["asked"]: line for line in gpu_summary.asked_entries(results)}
    share, torch = (
        lines[f"categorical 512 x 128256, {what}"] for what in ("cold, bytes read of copy", "torch's best over ours")
    )
    assert (share["seen"], share["met"]) == (0.8, True)
    assert (torch["seen"], torch["met"]) == (2.9, False)
    absent = lines["sample_actions 4096 x 18, warm"]
    assert (absent["seen"], absent["met"]) == (None, None)
    assert gpu_summary.asked_row(share)[1:] == ["at least 80 %", "80 %", "yes"]
    assert gpu_summary.asked_row(absent)[1:] == ["at most 10.0 us", "not timed", ""]
    assert all(line["met"] is None for line in gpu_summary.asked_entries({**results, "quick": True}))


def test_rows_of_a_gpu():
    """Bytes read and written over time; who was refused has a reason in place of figures."""
    import gpu_summary

    results = gpu_results(**{"numgumbel": 10.0})
    results["workloads"][0]["contenders"].append({"name": "JAX", "kind": "ready-made", "failed": "no memory"})
    ours, jax = gpu_summary.rows(results["workloads"][0], results["copy"]["bytes_a_second"])
    assert ours[2:] == ["10.0 us", "5.00 us", "10.0 us", "1 GB/s", "88 %", "2 GB/s", "176 %"]
    assert jax[-1] == "no memory"
    assert len(ours) == len(jax) == len(gpu_summary.ROW_COLUMNS)
