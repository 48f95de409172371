"""Keys, generators, row ids and the dispatcher."""

import ast
import copy
import hashlib
import json
import pickle
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import oracle
import pytest

import numgumbel as ng
from numgumbel import dispatch

PACKAGE = Path(ng.__file__).parent


# --- keys ----------------------------------------------------------------------------------------------------------------


def test_key_is_blake2b_of_its_parts():
    parts = b"i42;" + b"s11:mode_choice" + b"i2030;"
    digest = hashlib.blake2b(parts, digest_size=8, person=b"numgumbel.v1").digest()
    key = ng.key(42, "mode_choice", 2030)
    assert key.words == (int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little"))
    assert int(key) == key.words[1] << 32 | key.words[0]
    assert key.words == oracle.key_words(42, "mode_choice", 2030)
    assert ng.key("é").words == oracle.key_words("é")
    assert ng.key(-1, "") == ng.Key(int(ng.key(-1, "")))


def test_key_golden():
    """Golden values of version 1: a change here changes every sample ever drawn."""
    assert int(ng.key(0)) == GOLDEN_KEYS["0"]
    assert int(ng.key(42, "mode_choice", 2030)) == GOLDEN_KEYS["42, mode_choice, 2030"]
    assert int(ng.fold(ng.key(42), 7, tag=1 << 16)) == GOLDEN_KEYS["fold"]


GOLDEN_KEYS = json.loads((Path(__file__).parent / "golden.json").read_text())["keys"]


def test_parts_are_told_apart():
    keys = [
        ng.key(1),
        ng.key("1"),
        ng.key(1, 0),
        ng.key(1, 0, 0),
        ng.key("a", "b"),
        ng.key("ab"),
        ng.key("a", ""),
        ng.key("", "a"),
    ]
    keys += [ng.key(12, 3), ng.key(1, 23), ng.key("1;"), ng.key("i1;"), ng.key(-1), ng.key(2**64 + 1), ng.key(2**200)]
    assert len(set(keys)) == len(keys)
    assert ng.key(np.int64(5), np.uint8(3)) == ng.key(5, 3)


@pytest.mark.parametrize("part", [True, 1.0, None, b"x", (1,), np.float64(1), np.bool_(True), ng.key(1)])
def test_parts_of_another_type(part):
    for parts in ((part,), (1, part)):
        with pytest.raises(TypeError, match="a key is made of int and str parts, got"):
            ng.key(*parts)


def test_key_objects():
    key = ng.key(5)
    assert pickle.loads(pickle.dumps(key)) == copy.deepcopy(key) == key
    assert hash(ng.key(5)) == hash(key)
    assert key != int(key)
    assert eval(repr(key), {"Key": ng.Key}) == key
    with pytest.raises(AttributeError, match="immutable"):
        key._value = 3
    with pytest.raises(TypeError, match=r"numgumbel\.key makes keys"):
        ng.Key(1.5)
    with pytest.raises(TypeError):
        ng.Key(True)
    for value in (-1, 2**64):
        with pytest.raises(ValueError, match=r"from 0 to 2\^64 - 1"):
            ng.Key(value)


def test_fold():
    key = ng.key(9)
    for x, tag in ((0, 0), (1, 1), (-1, 3), (2**64 - 1, 3), (2**63, 2**32 - 1)):
        assert ng.fold(key, x, tag).words == oracle.fold(key.words, x % 2**64, tag)
    assert ng.fold(key, -1, 3) == ng.fold(key, 2**64 - 1, 3)
    for x, tag in ((2**64, 0), (-(2**63) - 1, 0), (0, 2**32), (0, -1)):
        with pytest.raises(ValueError, match="must be from"):
            ng.fold(key, x, tag)
    for arguments in ((3, 0, 0), (key, True, 0), (key, 1.5, 0), (key, 0, "a")):
        with pytest.raises(TypeError, match=r"must be an? (Key|int)"):
            ng.fold(*arguments)


def test_steps_beyond_2_to_30_fold_the_key():
    key, step = ng.key(9), 5 * 2**30 + 17
    folded = ng.fold(key, 5, tag=1)
    np.testing.assert_array_equal(ng.gumbel(key, (3, 40), step=step), ng.gumbel(folded, (3, 40), step=17))
    across = ng.gumbel(key, (3, 40), step=2**30 - 1, n=2)
    np.testing.assert_array_equal(across[1], ng.gumbel(ng.fold(key, 1, tag=1), (3, 40)))


# --- generator -----------------------------------------------------------------------------------------------------------


def test_generator_counts_steps():
    rng, x = ng.default_rng(1, "test"), np.zeros((4, 9))
    assert rng.key == ng.key(1, "test")
    draws = [
        rng.categorical(x),
        rng.categorical(x, n=3),
        rng.gumbel_softmax(x, tau=0.5),
        rng.gumbel_topk(x, 2),
        rng.gumbel((4, 9)),
    ]
    assert rng.step == 7
    np.testing.assert_array_equal(draws[0], ng.categorical(rng.key, x, step=0))
    np.testing.assert_array_equal(draws[1], ng.categorical(rng.key, x, step=1, n=3))
    np.testing.assert_array_equal(draws[2], ng.gumbel_softmax(rng.key, x, step=4, tau=0.5))
    np.testing.assert_array_equal(draws[3].index, ng.gumbel_topk(rng.key, x, 2, step=5).index)
    np.testing.assert_array_equal(draws[4], ng.gumbel(rng.key, (4, 9), step=6))
    np.testing.assert_array_equal(rng.at(1).categorical(x, n=3), draws[1])
    assert rng.categorical(x, n=0).shape == (0, 4)
    assert rng.step == 7
    np.testing.assert_array_equal(rng.categorical(probs=x + 1), ng.categorical(rng.key, probs=x + 1, step=7))


def test_generator_state():
    rng = ng.default_rng(1, "test")
    rng.gumbel(3)
    rng.split(2)
    for other in (pickle.loads(pickle.dumps(rng)), copy.deepcopy(rng), ng.Generator.from_json(rng.to_json())):
        assert other == rng
        assert other is not rng
        np.testing.assert_array_equal(other.gumbel(3), rng.at(rng.step).gumbel(3))
        assert other.split(1)[0].key == ng.Generator.from_json(rng.to_json()).split(1)[0].key
    assert json.loads(rng.to_json()) == {"version": 1, "key": f"{int(rng.key):#018x}", "step": 1, "children": 2}
    assert repr(rng) == f"Generator({rng.key!r}, step=1)"
    for wrong in ("{}", "[]", '{"version": 2, "key": "0x0", "step": 0, "children": 0}'):
        with pytest.raises(ValueError, match="not the state of a Generator"):
            ng.Generator.from_json(wrong)
    for wrong in (
        '{"version": 1, "key": 5, "step": 0, "children": 0}',
        '{"version": 1, "key": "0x0", "step": "a", "children": 0}',
    ):
        with pytest.raises(ValueError, match="not the state of a Generator"):
            ng.Generator.from_json(wrong)
    with pytest.raises(ValueError, match="Expecting"):
        ng.Generator.from_json("{")


def test_generator_split_gives_new_children_each_time():
    rng = ng.default_rng(1)
    first, second = rng.split(3), rng.split(2)
    keys = {child.key for child in (*first, *second)} | {rng.key}
    assert len(keys) == 6
    assert [child.key for child in ng.default_rng(1).split(5)] == [child.key for child in (*first, *second)]
    assert first[0].key == ng.fold(rng.key, 0, tag=3)
    assert rng.split(0) == []
    with pytest.raises(ValueError, match="n must be 0 or more"):
        rng.split(-1)


def test_generator_refuses():
    rng = ng.default_rng(1)
    with pytest.raises(TypeError, match="a Generator counts the steps itself"):
        rng.categorical(np.zeros(3), step=4)
    with pytest.raises(TypeError, match="key must be a Key"):
        ng.Generator(3)
    for step in (-1, 2**63):
        with pytest.raises(ValueError, match=r"step must be from 0 to 2\^63 - 1"):
            rng.at(step)
    with pytest.raises(TypeError):
        hash(rng)


def test_generator_is_safe_under_threads():
    """Every call gets steps of its own: 8 threads together draw exactly what one draws in a row."""
    rng, calls = ng.default_rng(5), 200
    start = threading.Barrier(8)

    def work(_):
        start.wait()
        return [rng.gumbel(1)[0] for _ in range(calls)]

    with ThreadPoolExecutor(8) as pool:
        together = sorted(value for part in pool.map(work, range(8)) for value in part)
    alone = sorted(ng.gumbel(rng.key, 1, n=8 * calls)[:, 0])
    assert rng.step == 8 * calls
    assert together == alone


# --- row ids -------------------------------------------------------------------------------------------------------------


def test_row_ids_are_folds_of_their_columns():
    def reference(*values):
        words = oracle.key_words("row_ids")
        for value in values:
            if isinstance(value, int):
                words = oracle.fold(words, value % 2**64, 16)
                continue
            tag, data = (17, value.encode()) if isinstance(value, str) else (19, value)
            for start in range(0, len(data), 8):
                words = oracle.fold(words, int.from_bytes(data[start : start + 8], "little"), tag)
            words = oracle.fold(words, len(data), tag + 1)
        return np.uint64(words[1] << 32 | words[0]).astype(np.int64)

    rows = [(1, "ann", b"\0"), (-5, "", b"12345678"), (2**40, "a longer name, é", b"123456789")]
    columns = list(zip(*rows, strict=True))
    wanted = [reference(*row) for row in rows]
    np.testing.assert_array_equal(ng.row_ids(*columns), wanted)
    np.testing.assert_array_equal(ng.row_ids(np.array(columns[0]), np.array(columns[1]), columns[2]), wanted)
    np.testing.assert_array_equal(ng.row_ids(np.array(columns[0], object), np.array(columns[1], object), columns[2]), wanted)


def test_row_ids_kinds_and_shapes():
    assert ng.row_ids([1, 2])[0] == ng.row_ids(np.array([1], np.int8))[0] == ng.row_ids(np.array([1], np.uint64))[0]
    assert ng.row_ids([-1])[0] == ng.row_ids(np.array([2**64 - 1], np.uint64))[0]
    assert ng.row_ids(["1"]) != ng.row_ids([1])
    assert ng.row_ids([b"1"]) != ng.row_ids(["1"])
    assert ng.row_ids(["ab"], ["c"]) != ng.row_ids(["a"], ["bc"])
    assert ng.row_ids([1], [2]) != ng.row_ids([2], [1])
    person = uuid.uuid5(uuid.NAMESPACE_DNS, "x")
    assert ng.row_ids([person]) == ng.row_ids([person.bytes])
    assert ng.row_ids(7).shape == ()
    assert ng.row_ids(np.zeros((2, 3), int)).shape == (2, 3)
    np.testing.assert_array_equal(ng.row_ids("wave 1", [1, 2]), ng.row_ids(["wave 1"] * 2, [1, 2]))
    assert ng.row_ids([], []).shape == (0,)
    assert ng.row_ids(np.array([], int)).dtype == np.int64
    np.testing.assert_array_equal(ng.row_ids([-1, 2**63]), [ng.row_ids(-1), ng.row_ids(np.uint64(2**63))])
    np.testing.assert_array_equal(ng.row_ids(np.array([np.int64(1), 2], object)), ng.row_ids([1, 2]))


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ((), TypeError, "takes one or more columns"),
        (([1.0],), TypeError, "column 0 must hold integers, text, bytes or UUIDs, all of one kind, got float64"),
        (([1], [True]), TypeError, "column 1 must hold .* got bool"),
        ((["a", None],), TypeError, "got NoneType, str"),
        ((np.array(["a", b"b"], object),), TypeError, "got bytes, str"),
        ((np.array([1, True], object),), TypeError, "got bool, int"),
        ((np.array(["2030-01-01"], "datetime64[D]"),), TypeError, "got datetime64"),
        (([1, 2], [1, 2, 3]), ValueError, "columns must have one shape"),
        ((np.array([2**64, 1], object),), ValueError, "integer ids must be from"),
        (([True, 2],), TypeError, "got bool, int"),
        ((np.ma.masked_equal([1, 2], 2),), TypeError, "masked array"),
    ],
)
def test_row_ids_refuse(columns, error, message):
    with pytest.raises(error, match=message):
        ng.row_ids(*columns)


# --- dispatch ------------------------------------------------------------------------------------------------------------


class Boxed:
    """An array family of its own, as a library outside would have it."""

    def __init__(self, values):
        self.values = values


@pytest.fixture
def boxes(monkeypatch):
    monkeypatch.setattr(dispatch, "_families", list(dispatch._families))
    monkeypatch.setattr(dispatch, "_by_type", {})
    dispatch.register(dispatch.Family("boxed", "cpu", lambda kind: kind is Boxed, lambda box: box.values, Boxed))


def test_a_new_family_is_one_registration(boxes):
    key, x = ng.key(1), np.random.default_rng(0).normal(size=(4, 5))
    result = ng.categorical(key, Boxed(x))
    assert isinstance(result, Boxed)
    np.testing.assert_array_equal(result.values, ng.categorical(key, x))
    assert isinstance(ng.gumbel_softmax(key, Boxed(x)), Boxed)
    assert all(isinstance(part, Boxed) for part in ng.gumbel_topk(key, Boxed(x), 2))
    # Host families mix, and the logits' family comes out.
    mask = np.ones((4, 5), bool)
    assert isinstance(ng.categorical(key, Boxed(x), mask=mask, rows=[1, 2, 3, 4]), Boxed)
    assert isinstance(ng.categorical(key, x, mask=Boxed(mask)), np.ndarray)
    out = Boxed(np.empty(4, np.int64))
    assert ng.categorical(key, Boxed(x), out=out) is out
    np.testing.assert_array_equal(out.values, result.values)


def test_a_device_family_does_not_mix_with_host_arrays(boxes):
    dispatch.register(dispatch.Family("far away", "gpu", lambda kind: kind is Boxed, lambda box: box.values, Boxed))
    with pytest.raises(TypeError, match="mask is a far away array and the logits are a NumPy array: move one to the other"):
        ng.categorical(ng.key(1), np.zeros((2, 3)), mask=Boxed(np.ones((2, 3), bool)))


def test_unknown_types_are_told_the_families():
    with pytest.raises(TypeError, match=r"logits is a test_face\.Boxed, which is none of: CUDA, CuPy, DLPack, NumPy, "):
        ng.categorical(ng.key(1), Boxed(np.zeros(3)))


# --- layers --------------------------------------------------------------------------------------------------------------


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_kernels_import_neither_face_nor_array_libraries():
    allowed = ("numba", "numpy", "llvmlite", ".", *sys.stdlib_module_names)
    for path in (PACKAGE / "kernels").rglob("*.py"):
        depth = len(path.relative_to(PACKAGE / "kernels").parts)
        for name in imports_of(path):
            assert name.startswith(allowed), (path, name)
            assert len(name) - len(name.lstrip(".")) <= depth, (path, name)  # no relative import climbs out of kernels/


def test_import_is_light():
    """No array library, no command line, no CUDA at import."""
    heavy = [
        "torch",
        "jax",
        "cupy",
        "dask",
        "pandas",
        "numba.cuda",
        "click",
        "rich",
        "numgumbel.cli",
        "numgumbel.backends",
    ]
    code = f"import sys, numgumbel; sys.exit(','.join(n for n in {heavy} if n in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_kernels_under_another_name_are_refused():
    code = "import kernels"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=120, check=False)
    assert "this package is imported as 'numgumbel.kernels', not as 'kernels'" in done.stderr
