"""The frozen workloads: known inputs, known bytes, known answers."""

import dataclasses
import pickle
import re
import subprocess
import sys

import dense
import make_workloads_golden
import numpy as np
import pytest

import numgumbel as ng
from numgumbel import workloads
from numgumbel.workloads import GOLDEN, WORKLOADS, Inputs, Workload

NAMED = ["rl.b6144_a78.heads7.f32", "vocab.b32_k128256.draw.f32"]  # results are named tuples
SMALL = [name for name, workload in WORKLOADS.items() if workload.cost().elements <= 100_000]


def arrays(result):
    """The arrays of a result, each once."""
    if not isinstance(result, tuple):
        return (result,)
    return tuple({id(array): array for array in result if array is not None}.values())


def runnable(name):
    """The workload of that name, if it can be run here."""
    if missing := WORKLOADS[name].missing():
        pytest.skip(missing)
    return WORKLOADS[name]


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_answer_is_the_known_one(name):
    runnable(name).verify()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_answer_does_not_depend_on_threads(threads):
    before = ng.get_num_threads()
    ng.set_num_threads(threads)
    try:
        workloads.get("vocab.b64_k32000.top5.f32").verify()
        workloads.get("vae.b64_k32000.softmax.f32").verify()
    finally:
        ng.set_num_threads(before)


def test_registry():
    assert list(GOLDEN) == list(WORKLOADS)
    assert len(set(GOLDEN.values())) == len(GOLDEN)
    for name, workload in WORKLOADS.items():
        assert workload.id == name
        assert workloads.get(name) is workload
        assert workload.expected == GOLDEN[name]
        assert len({workload.key, ng.key(0, "numgumbel.workloads", name, "logits")}) == 2
        assert name.rsplit(".", 1)[1] == workload.dtype.replace("float", "f")
        rows, columns = name.split(".")[1].split("_")
        assert (int(rows[1:]), int(columns[1:])) == workload.shape
    with pytest.raises(ValueError, match=r"no workload has the id 'rl\.b2'; there are rl\.b1_a6\.f32, "):
        workloads.get("rl.b2")
    for name, id in workloads.ALIASES.items():
        assert name not in WORKLOADS
        assert workloads.get(name) is WORKLOADS[id]
    with pytest.raises(TypeError):
        WORKLOADS["mine"] = workload


def test_work_that_is_counted():
    """Philox calls and elementary functions, by hand."""
    wanted = {
        "rl.b4096_a18.f32": (4096 * 3, 2 * 4096),
        "sim.b100000_a30.ids7787.f64": (3_000_000, 200_000),
        "sim.b1_k10000.n1000000.inverse_cdf.f32": (1_000_000, 10_000),
        "vae.b1024_k8192.softmax.f32": (2 * 1024 * 1024, 2 * 1024 * 8192),
        "vocab.b64_k32000.top5.f32": (64 * 4000, 2 * 64 * 6),
        "rl.b4096_a18.actions.f32": (4096 * 3, 4096 * (2 + 18 + 1)),
        "rl.b6144_a78.heads7.f32": (6144 * 10, 6144 * (14 + 78 + 7)),
        "vocab.b32_k128256.draw.f32": (32 * 16032, 32 * (2 + 128256 + 1)),
    }
    costs = {id: workloads.get(id).cost() for id in wanted}
    assert {id: (cost.philox_calls, cost.elementary) for id, cost in costs.items()} == wanted


def test_exact_parts_and_hosts():
    """Sums are left out of what is the same everywhere, and results come from any library's memory."""
    workload = workloads.get("rl.b8_a6.actions.f32")
    result = workload.run()
    assert list(workload.parts(result)) == ["action", "log_prob", "entropy"]
    assert list(workload.exact(result)) == ["action"]
    assert workloads.get("vae.b64_k32000.softmax.f32").exact(result.log_prob) == {}

    class Elsewhere:
        def __init__(self, array):
            self.array = array

        def copy_to_host(self):
            return self.array

    there = type(result)(*(None if part is None else Elsewhere(part) for part in result))
    workload.verify(workloads.host(there))


def test_workloads_are_frozen():
    workload = workloads.get("rl.b8_a6.f32")
    with pytest.raises(dataclasses.FrozenInstanceError):
        workload.scale = 2.0
    assert pickle.loads(pickle.dumps(workload)) == workload
    soft = {"operation": "gumbel_softmax"}
    for changed in (
        {"operation": "argmax"},
        {"k": 3},
        {"operation": "gumbel_topk"},
        soft | {"n": 2},
        soft | {"method": "race"},
        soft | {"ids": 10},
        {"dtype": "float128"},
        {"dtype": "int64"},
        {"want": ("score",)},
        {"operation": "draw"},
        {"nvec": (2, 4)},
    ):
        message = r"(operation|dtype) must be one of .*, got|(k|want|nvec) goes with|n, method and ids go with"
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(workload, **changed)


@pytest.mark.parametrize("name", WORKLOADS)
def test_cost_is_what_the_arrays_say(name):
    workload = runnable(name)
    logits, mask, rows, cols = inputs = workload.inputs()
    assert logits.shape == workload.shape
    assert logits.dtype == workload.dtype
    assert (mask is not None) == workload.masked
    assert (rows is not None) == (cols is not None) == (workload.ids is not None)
    written = arrays(workload.run(inputs))
    cost = workload.cost()
    assert cost.elements == logits.size
    assert cost.bytes_read == sum(array.nbytes for array in inputs if array is not None)
    assert cost.bytes_written == sum(array.nbytes for array in written)
    for made, array in zip(arrays(workload.new_out()), written, strict=True):
        assert (made.shape, made.dtype) == (array.shape, array.dtype)


@pytest.mark.parametrize("name", SMALL)
def test_inputs_are_the_field(name):
    """The same each time, and equal to the bit to the field read address by address."""
    workload = WORKLOADS[name]
    logits, mask, *_ = workload.inputs()
    again, mask_again, *_ = workload.inputs()
    assert again is not logits
    np.testing.assert_array_equal(again, logits)
    key = ng.key(0, "numgumbel.workloads", name, "logits")
    np.testing.assert_array_equal(logits, dense.gumbel(key, workload.shape, workload.dtype) * logits.dtype.type(workload.scale))
    if mask is not None:
        np.testing.assert_array_equal(mask, mask_again)
        key = ng.key(0, "numgumbel.workloads", name, "mask")
        allowed = dense.gumbel(key, workload.shape, np.float32) > 0
        allowed[:, 0] = True
        np.testing.assert_array_equal(mask, allowed)
        assert 0.6 < mask.mean() < 0.7


@pytest.mark.parametrize("name", SMALL)
def test_the_answer_is_the_dense_one(name):
    workload = WORKLOADS[name]
    logits, mask, *_ = workload.inputs()
    x = dense.cells(logits, mask=mask)
    if workload.operation == "sample_actions":
        assert workload.nvec is None
        action, *known = dense.actions(workload.key, x, (0, workload.shape[1]))
        wanted = (action[:, 0], *known)
    elif workload.method == "inverse_cdf":
        wanted = dense.inverse_cdf_draws(workload.key, x, workload.n)
    else:
        assert (workload.operation, workload.n) == ("categorical", None)
        wanted = dense.categorical(workload.key, x)
    workload.verify(wanted)


@pytest.mark.parametrize(("operation", "k"), [("gumbel_topk", 2), ("gumbel_softmax", None)])
def test_operations_of_small_relatives_are_the_dense_ones(operation, k):
    """All that no small workload of the registry does."""
    workload = Workload("relative", operation, (7, 300), "", scale=4.0, k=k, reuse_out=True)
    logits = workload.inputs().logits
    wanted = dense.topk(workload.key, logits, k) if k else dense.softmax(workload.key, logits)
    assert workload.checksum(workload.run()) == workload.checksum(wanted)


def test_a_small_draw_is_the_dense_one():
    workload = Workload("relative", "draw", (7, 300), "", scale=4.0, want=("log_prob", "logsumexp"))
    logits = workload.inputs().logits
    index = dense.categorical(workload.key, logits)
    log_prob, logsumexp, _ = dense.known(logits, index).astype(np.float32)
    wanted = ng.Draw(index, index, log_prob=log_prob, logsumexp=logsumexp)
    assert workload.checksum(workload.run()) == workload.checksum(wanted)
    assert workload.checksum(wanted._replace(logsumexp=None)) != workload.checksum(wanted)


@pytest.mark.parametrize("masked", [False, True])
def test_small_actions_of_several_heads_are_the_dense_ones(masked):
    workload = Workload("relative", "sample_actions", (50, 12), "", masked=masked, nvec=(6, 4, 2))
    logits, mask, *_ = workload.inputs()
    if masked:
        mask[:, [6, 10]] = True  # the first of each head
    wanted = dense.actions(workload.key, dense.cells(logits, mask=mask), (0, 6, 10, 12))
    assert workload.checksum(workload.run(Inputs(logits, mask))) == workload.checksum(wanted)


def test_small_choices_with_ids_are_the_dense_ones():
    """Ids of a row are different ones below the limit, and all of them come."""
    workload = Workload("relative", "categorical", (400, 5), "", ids=17)
    logits, mask, rows, cols = workload.inputs()
    assert mask is None
    assert cols.shape == (400, 5)
    assert (np.diff(np.sort(cols, axis=1)) > 0).all()
    counts = np.bincount(cols.ravel(), minlength=17)
    expected = 2000 / 17  # of variance below that of independent ones
    assert len(counts) == 17
    assert (abs(counts - expected) < 5 * np.sqrt(expected)).all()
    np.testing.assert_array_equal(rows, 1_000_000 + np.arange(400))
    wanted = dense.categorical(workload.key, logits, rows=rows, cols=cols)
    assert workload.checksum(workload.run()) == workload.checksum(wanted)
    assert workload.checksum(dense.categorical(workload.key, logits, rows=rows)) != workload.checksum(wanted)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_rounded_and_answered_as_float32(dtype):
    workload = Workload("relative", "categorical", (20, 300), "", dtype=dtype)
    if missing := workload.missing():
        pytest.skip(missing)
    logits = workload.inputs().logits
    exact = dataclasses.replace(workload, dtype="float32").inputs().logits
    np.testing.assert_array_equal(logits, exact.astype(logits.dtype))
    assert (logits.astype(np.float32) != exact).any()
    assert workload.checksum(workload.run()) == workload.checksum(dense.categorical(workload.key, logits.astype(np.float32)))


def test_without_bfloat16(monkeypatch, capsys):
    """What is missing is said; everything else is as ever."""
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    name = "vocab.b32_k128256.bf16"
    line = f"{name} needs bfloat16, of a package that is not there: python -m pip install ml_dtypes"
    few = {chosen: WORKLOADS[chosen] for chosen in ("rl.b8_a6.f32", name)}
    assert WORKLOADS[name].missing() == line
    with pytest.raises(ModuleNotFoundError, match=f"^{re.escape(line)}$"):
        WORKLOADS[name].verify()
    assert WORKLOADS[name].cost().bytes_read == 2 * 32 * 128256
    monkeypatch.setattr(workloads, "WORKLOADS", few)
    assert list(workloads.recompute()) == ["rl.b8_a6.f32"]
    with pytest.raises(ModuleNotFoundError):
        make_workloads_golden.main()
    assert workloads.main() == 0
    assert f"{line}\n" in capsys.readouterr().out


def test_peaked_rows_are_peaked():
    x = workloads.get("vocab.b32_k128256.peaked.f32").inputs().logits.astype(np.float64)
    shares = np.sort(np.exp(x - x.max(axis=1, keepdims=True)), axis=1)
    shares /= shares.sum(axis=1, keepdims=True)
    assert np.median(shares[:, -10:].sum(axis=1)) > 0.99


def test_a_wrong_result_is_refused():
    workload = workloads.get("vocab.b64_k32000.top5.f32")
    right = workload.run()
    workload.verify(right)
    for number, array in enumerate(right):
        wrong = list(right)
        wrong[number] = array.copy()
        wrong[number].flat[-1] = np.nextafter(wrong[number].flat[-1], 0) if number else array.flat[-1] + 1
        with pytest.raises(ValueError, match=r"vocab\.b64_k32000\.top5\.f32: the result's checksum is [0-9a-f]{16}, "):
            workload.verify(tuple(wrong))
    with pytest.raises(ValueError, match="checksum"):
        workload.verify(right.index)
    with pytest.raises(ValueError, match="checksum"):
        workload.verify(ng.TopK(right.index.T.reshape(64, 5), right.score, right.threshold))


def test_checksums_see_bytes_and_not_layout():
    workload = workloads.get("rl.b8_a6.f32")
    array = np.arange(12.0).reshape(3, 4)
    plain = workload.checksum(array)
    assert len(plain) == 16
    assert workload.checksum(np.asfortranarray(array)) == plain
    assert workload.checksum(array[::-1][::-1]) == plain
    assert workload.checksum(array.astype(">f8")) == plain
    assert workload.checksum(array.reshape(4, 3)) != plain
    assert workload.checksum(array.astype(np.float32)) != plain
    index = np.arange(6)
    assert workload.checksum(index.astype(np.int32)) == workload.checksum(index)
    assert workload.checksum((index, index)) != workload.checksum(index)


@pytest.mark.parametrize("name", ["rl.b8_a6.f32", "vae.b64_k32000.softmax.f32", "vocab.b64_k32000.top5.f32", *NAMED])
def test_bound_calls(name):
    """A bound call draws at any step, into the given result if there is one."""
    workload = WORKLOADS[name]
    inputs, out = workload.inputs(), workload.new_out()
    call = workload.bind(inputs, out=out)
    for array, given in zip(arrays(call()), arrays(out), strict=True):
        assert array is given
    workload.verify(out)
    assert workload.checksum(call(step=1)) != workload.expected
    other = workload.bind(inputs)
    assert not np.shares_memory(np.asarray(other()[0]), np.asarray(other()[0]))


def test_reused_results():
    workload = workloads.get("vae.b1024_k8192.softmax.f32")
    call = workload.bind()
    assert call() is call()


def test_the_module_prints_what_it_finds(monkeypatch, capsys):
    """Exit code 0 when all answers are right, 1 otherwise."""
    few = {name: WORKLOADS[name] for name in SMALL}
    monkeypatch.setattr(workloads, "WORKLOADS", few)
    monkeypatch.setattr(workloads, "GOLDEN", {name: GOLDEN[name] for name in few})
    assert workloads.main() == 0
    printed = capsys.readouterr().out
    for name, workload in few.items():
        assert name in printed
        assert GOLDEN[name] in printed
        assert f"{workload.cost().bytes_read:,}" in printed
    monkeypatch.setitem(workloads.GOLDEN, SMALL[0], "0" * 16)
    assert workloads.main() == 1
    assert " no" in capsys.readouterr().out


def test_the_package_does_not_import_it():
    code = "import sys, numgumbel; sys.exit('numgumbel.workloads' in sys.modules or 'rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 0


def test_golden_values_are_written_where_they_are_read(monkeypatch, tmp_path):
    """The script changes the lines between the marks, and nothing else."""
    path = tmp_path / "workloads.py"
    path.write_text(make_workloads_golden.PATH.read_text())
    monkeypatch.setattr(make_workloads_golden, "PATH", path)
    monkeypatch.setattr(workloads, "recompute", lambda ids: {id: GOLDEN[id] for id in ids})
    text = path.read_text()
    make_workloads_golden.main()
    assert path.read_text() == text
    changed = {**GOLDEN, SMALL[0]: "0" * 16}
    monkeypatch.setattr(workloads, "recompute", lambda ids: changed)
    make_workloads_golden.main()
    assert path.read_text() == text.replace(f'"{GOLDEN[SMALL[0]]}"', f'"{"0" * 16}"')
