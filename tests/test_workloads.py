"""The frozen workloads: known inputs, known bytes, known answers."""

import dataclasses
import pickle
import subprocess
import sys

import dense
import make_workloads_golden
import numpy as np
import pytest

import numgumbel as ng
from numgumbel import workloads
from numgumbel.workloads import GOLDEN, WORKLOADS, Workload

SMALL = [name for name, workload in WORKLOADS.items() if workload.cost().elements <= 100_000]


def arrays(result):
    """The arrays of a result."""
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_answer_is_the_known_one(name):
    WORKLOADS[name].verify()


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
        letter, bits = name.rsplit(".", 1)[1][0], int(name.rsplit(".", 1)[1][1:])
        assert (letter, bits) == ("f", 8 * np.dtype(workload.dtype).itemsize)
        rows, columns = name.split(".")[1].split("_")
        assert (int(rows[1:]), int(columns[1:])) == workload.shape
    with pytest.raises(ValueError, match=r"no workload has the id 'rl\.b2'; there are rl\.b1_a6\.f32, "):
        workloads.get("rl.b2")
    with pytest.raises(TypeError):
        WORKLOADS["mine"] = workload


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
    ):
        with pytest.raises(ValueError, match=r"operation must be|k goes with|n and method go with"):
            dataclasses.replace(workload, **changed)


@pytest.mark.parametrize("name", WORKLOADS)
def test_cost_is_what_the_arrays_say(name):
    workload = WORKLOADS[name]
    logits, mask = inputs = workload.inputs()
    assert logits.shape == workload.shape
    assert logits.dtype == workload.dtype
    assert (mask is not None) == workload.masked
    written = arrays(workload.run(inputs))
    cost = workload.cost()
    assert cost.elements == logits.size
    assert cost.bytes_read == logits.nbytes + (0 if mask is None else mask.nbytes)
    assert cost.bytes_written == sum(array.nbytes for array in written)
    for made, array in zip(arrays(workload.new_out()), written, strict=True):
        assert (made.shape, made.dtype) == (array.shape, array.dtype)


@pytest.mark.parametrize("name", SMALL)
def test_inputs_are_the_field(name):
    """The same each time, and equal to the bit to the field read address by address."""
    workload = WORKLOADS[name]
    logits, mask = workload.inputs()
    again, mask_again = workload.inputs()
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
    logits, mask = workload.inputs()
    assert workload.operation == "categorical"
    x = dense.cells(logits, mask=mask)
    if workload.method == "inverse_cdf":
        wanted = dense.inverse_cdf_draws(workload.key, x, workload.n)
    else:
        assert workload.n is None
        wanted = dense.categorical(workload.key, x)
    workload.verify(wanted)


@pytest.mark.parametrize(("operation", "k"), [("gumbel_topk", 2), ("gumbel_softmax", None)])
def test_operations_of_small_relatives_are_the_dense_ones(operation, k):
    """All that no small workload of the registry does."""
    workload = Workload("relative", operation, (7, 300), "", scale=4.0, k=k, reuse_out=True)
    logits, _ = workload.inputs()
    wanted = dense.topk(workload.key, logits, k) if k else dense.softmax(workload.key, logits)
    assert workload.checksum(workload.run()) == workload.checksum(wanted)


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


@pytest.mark.parametrize("name", ["rl.b8_a6.f32", "vae.b64_k32000.softmax.f32", "vocab.b64_k32000.top5.f32"])
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
    monkeypatch.setattr(workloads, "recompute", lambda: dict(GOLDEN))
    text = path.read_text()
    make_workloads_golden.main()
    assert path.read_text() == text
    changed = {**GOLDEN, SMALL[0]: "0" * 16}
    monkeypatch.setattr(workloads, "recompute", lambda: changed)
    make_workloads_golden.main()
    assert path.read_text() == text.replace(f'"{GOLDEN[SMALL[0]]}"', f'"{"0" * 16}"')
