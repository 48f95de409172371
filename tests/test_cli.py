"""The command line: results equal the functions', and wrong input gets one line, exit code 2 and no output."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numgumbel as ng
from numgumbel import cli, threads

KEY = ng.key(42, "test", 7)
COMMON = ["--seed", "42", "--stream", "test", "--stream", "7"]


@pytest.fixture
def run(tmp_path, command_line, monkeypatch):
    """Run a command in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    return command_line


def logits(rows=200, columns=7, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(dtype)


def write_csv(name, values, header=None, ids=None):
    lines = [",".join([*(["id"] if ids is not None else []), *header])] if header else []
    for i, row in enumerate(values):
        lines.append(",".join([*([str(ids[i])] if ids is not None else []), *(repr(float(v)) for v in row)]))
    Path(name).write_text("\n".join(lines) + "\n")


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def sampled(run, *arguments):
    code, out, err = run("sample", *arguments, *COMMON)
    assert (code, err) == (0, ""), err
    return out


# --- results -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("block", [pytest.param(1 << 23, marks=pytest.mark.slow), 8 * 7 * 3])
def test_npy_equals_the_functions(run, monkeypatch, dtype, block):
    """Also in blocks of three rows, or fewer: the result is that of the whole array."""
    monkeypatch.setattr(cli, "BLOCK_BYTES", block)
    x = logits(dtype=dtype)
    np.save("x.npy", x)
    cases = {
        (): ng.categorical(KEY, x),
        ("--n", "3", "--step", "5"): ng.categorical(KEY, x, n=3, step=5),
        ("--temperature", "0.5"): ng.categorical(KEY, x, temperature=0.5),
        ("--temperature", "0"): x.argmax(axis=1),
        ("--topk", "3"): ng.gumbel_topk(KEY, x, 3).index,
        ("--topk", "3", "--n", "2"): ng.gumbel_topk(KEY, x, 3, n=2).index,
        ("--softmax", "0.5"): ng.gumbel_softmax(KEY, x, tau=0.5),
        ("--softmax", "0.5", "--n", "2"): ng.gumbel_softmax(KEY, x, tau=0.5, n=2),
    }
    for options, wanted in cases.items():
        sampled(run, "x.npy", *options, "--out", "out.npy", "--force")
        got = np.load("out.npy")
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


def test_layouts_of_npy(run):
    x = logits()
    np.save("fortran.npy", np.asfortranarray(x))
    np.save("row.npy", x[0])
    sampled(run, "fortran.npy", "--out", "f.npy")
    np.testing.assert_array_equal(np.load("f.npy"), ng.categorical(KEY, x))
    sampled(run, "row.npy", "--out", "r.npy")
    np.testing.assert_array_equal(np.load("r.npy"), ng.categorical(KEY, x[:1]))
    np.save("none.npy", x[:0])
    assert "0 rows" in sampled(run, "none.npy", "--out", "n.npy")
    assert np.load("n.npy").shape == (0,)


def test_probabilities(run):
    p = np.exp(logits())
    np.save("p.npy", p)
    sampled(run, "p.npy", "--probs", "--out", "out.npy")
    np.testing.assert_array_equal(np.load("out.npy"), ng.categorical(KEY, probs=p))


@pytest.mark.parametrize("kind", ["npy", "csv"])
@pytest.mark.parametrize("one_row", [False, True])
def test_masks(run, monkeypatch, kind, one_row):
    monkeypatch.setattr(cli, "BLOCK_BYTES", 8 * 7 * 10)
    x = logits()
    x[:, 3] = np.nan  # never looked at
    mask = np.ones((1 if one_row else len(x), 7), bool)
    mask[:, 3] = False
    mask[-1, 0] = False
    np.save("x.npy", x)
    if kind == "npy":
        np.save("m.npy", mask)
    else:
        np.savetxt("m.csv", mask, fmt="%d", delimiter=",")
    sampled(run, "x.npy", "--mask", f"m.{kind}", "--out", "out.npy")
    np.testing.assert_array_equal(np.load("out.npy"), ng.categorical(KEY, x, mask=mask))


def test_csv_without_header(run, monkeypatch):
    monkeypatch.setattr(cli, "BLOCK_BYTES", 8 * 7 * 10)
    x = logits()
    write_csv("x.csv", x)
    sampled(run, "x.csv", "--out", "out.npy")
    np.testing.assert_array_equal(np.load("out.npy"), ng.categorical(KEY, x))
    sampled(run, "x.csv", "--out", "out.csv")
    lines = Path("out.csv").read_text().splitlines()
    assert lines[0] == "row,choice"
    assert lines[1:] == [f"{i},{j}" for i, j in enumerate(ng.categorical(KEY, x))]


def test_csv_with_header_and_ids(run, monkeypatch):
    monkeypatch.setattr(cli, "BLOCK_BYTES", 8 * 3 * 10)
    x, names = logits(50, 3), ["air", "train", "bus"]
    # Each id is read for itself: a text among integers changes nobody else's noise.
    write_csv("mixed.csv", x, names, [*range(48), "x", "007"])
    sampled(run, "mixed.csv", "--out", "mixed.npy")
    ids = np.concatenate([np.arange(48), ng.row_ids(["x", "007"])])
    np.testing.assert_array_equal(np.load("mixed.npy"), ng.categorical(KEY, x, rows=ids))
    numbers = np.random.default_rng(1).permutation(50) - 7
    write_csv("numbers.csv", x, names, numbers)
    sampled(run, "numbers.csv", "--out", "out.npy")
    np.testing.assert_array_equal(np.load("out.npy"), ng.categorical(KEY, x, rows=numbers))
    people = [f"person {i}" for i in range(49)] + ["7"]
    write_csv("people.csv", x, names, people)
    out = sampled(run, "people.csv", "--out", "out.csv", "--n", "2", "--step", "4")
    ids = np.append(ng.row_ids(people[:-1]), 7)
    wanted = ng.categorical(KEY, x, rows=ids, n=2, step=4)
    lines = [line.split(",") for line in Path("out.csv").read_text().splitlines()]
    assert lines[0] == ["id", "draw_4", "draw_5"]
    assert lines[1:] == [[person, names[a], names[b]] for person, a, b in zip(people, *wanted, strict=True)]
    assert all(name in out for name in names)
    # Another column may name the rows, and the order of lines does not matter to anybody's draw.
    head, *rest = Path("people.csv").read_text().splitlines()
    lines = [head.replace("id", "who"), *rest[::-1], "", ""]
    Path("shuffled.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    sampled(run, "shuffled.csv", "--id-column", "who", "--out", "s.npy", "--step", "4", "--n", "2")
    np.testing.assert_array_equal(np.load("s.npy"), wanted[:, ::-1])


def test_csv_results_of_topk_and_softmax(run):
    x, names = logits(20, 3), ["air", "train", "bus"]
    write_csv("x.csv", x, names)
    sampled(run, "x.csv", "--topk", "2", "--out", "k.csv")
    lines = [line.split(",") for line in Path("k.csv").read_text().splitlines()]
    assert lines[0] == ["row", "choice_1", "choice_2"]
    assert lines[1:] == [[str(i), *(names[j] for j in row)] for i, row in enumerate(ng.gumbel_topk(KEY, x, 2).index)]
    sampled(run, "x.csv", "--softmax", "2", "--n", "1", "--out", "s.csv")
    assert Path("s.csv").read_text().split("\n")[0].strip() == "row,air,train,bus"
    np.testing.assert_array_equal(np.loadtxt("s.csv", delimiter=",", skiprows=1)[:, 1:], ng.gumbel_softmax(KEY, x, tau=2))


def test_table(run):
    x = logits(1000, 50)
    np.save("x.npy", x)
    out = sampled(run, "x.npy")
    counts = np.bincount(ng.categorical(KEY, x), minlength=50)
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["category", "count", "share"]
    table = {line[0]: int(line[-2]) for line in lines[1:21]}
    assert len(table) == 20
    assert all(counts[int(j)] == count for j, count in table.items())
    assert min(table.values()) >= max(c for j, c in enumerate(counts) if str(j) not in table)
    assert lines[21][:2] == ["30", "more"]
    assert int(lines[21][2]) == 1000 - sum(table.values())
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "1,000 rows in" in out
    assert "rows/s" in out
    assert "\x1b" not in out
    soft = sampled(run, "x.npy", "--softmax", "1")
    assert "mean" in soft


def test_progress_is_for_people_and_patience(run, monkeypatch, capsys):
    """A bar appears only on a terminal, and only after a while."""
    monkeypatch.setattr(cli, "BLOCK_BYTES", 8 * 7 * 10)
    np.save("x.npy", logits())
    monkeypatch.setattr(cli, "PATIENCE_SECONDS", -1.0)
    _, _, err = run("sample", "x.npy")
    assert err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    _, out, err = run("sample", "x.npy")
    assert "sampling" in err
    assert "sampling" not in out
    monkeypatch.setattr(cli, "PATIENCE_SECONDS", 1e9)
    _, _, err = run("sample", "x.npy")
    assert "sampling" not in err


# --- wrong input ---------------------------------------------------------------------------------------------------------

NAN_ROW = [[0.0, 1.0, 2.0], [0.0, 1.0, np.nan]]
BAD = {
    # name: (what makes the input, arguments, words of the message)
    "missing": (None, ["no.npy"], "no.npy: no such file"),
    "folder": (lambda: Path("d.npy").mkdir(), ["d.npy"], "d.npy: is a folder"),
    "extension": (lambda: Path("x.txt").write_text("1"), ["x.txt"], "must end in .npy or .csv"),
    "empty csv": (lambda: Path("x.csv").touch(), ["x.csv"], "x.csv: the file is empty"),
    "empty npy": (lambda: Path("x.npy").touch(), ["x.npy"], "x.npy: not a .npy file that can be read"),
    "corrupt npy": (lambda: Path("x.npy").write_text("hello"), ["x.npy"], "not a .npy file that can be read"),
    "cut npy": (
        lambda: (np.save("x.npy", np.ones((9, 9))), os.truncate("x.npy", 300)),
        ["x.npy"],
        "not a .npy file that can be read",
    ),
    "pickle": (lambda: np.save("x.npy", np.array([{}]), allow_pickle=True), ["x.npy"], "x.npy:"),
    "integers": (lambda: np.save("x.npy", np.ones((2, 3), int)), ["x.npy"], "must be float32, float64 or float16, got int64"),
    "longdouble": (lambda: np.save("x.npy", np.ones((2, 3), np.longdouble)), ["x.npy"], "must be float32, float64 or float16"),
    "bytes of bfloat16": (lambda: np.save("x.npy", np.ones((2, 3), "V2")), ["x.npy"], "must be float32, float64 or float16"),
    "byte order": (lambda: np.save("x.npy", np.ones((2, 3), ">f8")), ["x.npy"], "native byte order"),
    "three axes": (lambda: np.save("x.npy", np.ones((2, 3, 4))), ["x.npy"], "got shape (2, 3, 4)"),
    "no categories": (lambda: np.save("x.npy", np.ones((2, 0))), ["x.npy"], "no categories"),
    "no categories csv": (lambda: Path("x.csv").write_text("id\n1\n"), ["x.csv"], "no categories"),
    "ragged": (
        lambda: Path("x.csv").write_text("1,2,3\n4,5\n"),
        ["x.csv"],
        "x.csv: line 2 has 2 columns, the first line has 3",
    ),
    "text": (
        lambda: Path("x.csv").write_text("a,b\n1,2\n3,x\n"),
        ["x.csv"],
        "x.csv: line 3, column 'b': 'x' is not a number in range",
    ),
    "empty cell": (
        lambda: Path("x.csv").write_text("a,b\n1,2\n\n3,\n"),
        ["x.csv"],
        "x.csv: line 4, column 'b': the cell is empty",
    ),
    "unclosed": (lambda: Path("x.csv").write_text('a,b\n1,"2\n'), ["x.csv"], "x.csv: line 2"),
    "damaged header": (lambda: Path("x.csv").write_text("1.0,,3.0\n1,2,3\n"), ["x.csv"], "line 1 mixes numbers and text"),
    "unnamed column": (lambda: Path("x.csv").write_text(",air,car\n0,1,2\n"), ["x.csv"], "line 1, column 1: the name is empty"),
    "empty id": (lambda: Path("x.csv").write_text("id,a,b\n1,1,2\n,1,2\n"), ["x.csv"], "line 3, column 'id': the id is empty"),
    "overflow": (
        lambda: Path("x.csv").write_text("1,2\n1e400,3\n"),
        ["x.csv"],
        "line 2, column 1: '1e400' is not a number in range",
    ),
    "underscore": (lambda: Path("x.csv").write_text("1,2\n1_000,3\n"), ["x.csv"], "'1_000' is not a number"),
    "archive": (lambda: (np.savez("x.npz", a=1), Path("x.npz").rename("x.npy")), ["x.npy"], "it is an archive"),
    "stream": (lambda: np.save("x.npy", np.ones((2, 3))), ["x.npy", "--stream", "\udcff"], "--stream is not text"),
    "mask names": (
        lambda: (Path("x.csv").write_text("a,b\n1,2\n"), Path("m.csv").write_text("b,a\n1,1\n")),
        ["x.csv", "--mask", "m.csv"],
        "m.csv: the mask's columns are b, a, the data's are a, b",
    ),
    "mask ids": (
        lambda: (Path("x.csv").write_text("id,a\n1,2\n2,2\n"), Path("m.csv").write_text("id,a\n2,1\n1,1\n")),
        ["x.csv", "--mask", "m.csv"],
        "m.csv: line 2: the id is '2', in the data it is '1'",
    ),
    "not text": (lambda: Path("x.csv").write_bytes(b"a,b\n1,\xff\n"), ["x.csv"], "x.csv: not UTF-8 text"),
    "repeated name": (lambda: Path("x.csv").write_text("a,a\n1,2\n"), ["x.csv"], "two columns are named 'a'"),
    "unknown id": (
        lambda: Path("x.csv").write_text("a,b\n1,2\n"),
        ["x.csv", "--id-column", "c"],
        "no column is named 'c', only a, b",
    ),
    "id without header": (lambda: Path("x.csv").write_text("1,2\n"), ["x.csv", "--id-column", "c"], "no header"),
    "id of npy": (lambda: np.save("x.npy", np.ones((2, 3))), ["x.npy", "--id-column", "c"], "--id-column is for .csv"),
    "nan npy": (lambda: np.save("x.npy", NAN_ROW), ["x.npy"], "x.npy: row 1, column 2: nan is not a logit"),
    "nan csv": (
        lambda: Path("x.csv").write_text("a,b\n1,2\nnan,3\n"),
        ["x.csv"],
        "x.csv: line 3, column 'a': nan is not a logit",
    ),
    "nan csv plain": (
        lambda: Path("x.csv").write_text("1,2\nnan,3\n"),
        ["x.csv"],
        "x.csv: line 2, column 1: nan is not a logit",
    ),
    "negative": (lambda: np.save("x.npy", [[0.5, -0.5]]), ["x.npy", "--probs"], "row 0, column 1: -0.5 is not a probability"),
    "all excluded": (lambda: np.save("x.npy", [[1.0, 1.0], [-np.inf, -np.inf]]), ["x.npy"], "row 1: no category is left"),
    "all masked": (
        lambda: (np.save("x.npy", np.ones((2, 2))), np.save("m.npy", np.array([[True, True], [False, False]]))),
        ["x.npy", "--mask", "m.npy"],
        "x.npy: row 1: no category is left, all are masked or -inf",
    ),
    "mask shape": (
        lambda: (np.save("x.npy", np.ones((2, 2))), np.save("m.npy", np.ones((3, 2), bool))),
        ["x.npy", "--mask", "m.npy"],
        "m.npy: the mask must have 1 or 2 rows of 2 columns, got 3 of 2",
    ),
    "mask dtype": (
        lambda: (np.save("x.npy", np.ones((2, 2))), np.save("m.npy", np.ones((2, 2), np.int32))),
        ["x.npy", "--mask", "m.npy"],
        "m.npy: the array must be bool, int8 or uint8, got int32",
    ),
    "mask values": (
        lambda: (np.save("x.npy", np.ones((2, 2))), Path("m.csv").write_text("1,0\n1,2\n")),
        ["x.npy", "--mask", "m.csv"],
        "m.csv: line 2, column 2: a mask holds 0 and 1, got 2",
    ),
    "mask missing": (lambda: np.save("x.npy", np.ones((2, 2))), ["x.npy", "--mask", "m.npy"], "m.npy: no such file"),
    "mask extension": (
        lambda: (np.save("x.npy", np.ones((2, 2))), Path("m.txt").touch()),
        ["x.npy", "--mask", "m.txt"],
        "must end in .npy or .csv",
    ),
    "topk 0": (
        lambda: np.save("x.npy", np.ones((2, 3))),
        ["x.npy", "--topk", "0"],
        "--topk must be from 1 to the number of categories, 3, got 0",
    ),
    "topk 4": (lambda: np.save("x.npy", np.ones((2, 3))), ["x.npy", "--topk", "4"], "got 4"),
    "n 0": (lambda: np.save("x.npy", np.ones((2, 3))), ["x.npy", "--n", "0"], "--n must be 1 or more"),
    "temperature": (
        lambda: np.save("x.npy", np.ones((2, 3))),
        ["x.npy", "--temperature", "-1"],
        "temperature must be 0 or from",
    ),
    "tau": (lambda: np.save("x.npy", np.ones((2, 3))), ["x.npy", "--softmax", "nan"], "tau must be 0 or from"),
    "step": (lambda: np.save("x.npy", np.ones((2, 3))), ["x.npy", "--step", "-1"], "step must be 0 or more"),
    "both": (lambda: np.save("x.npy", np.ones((2, 3))), ["x.npy", "--topk", "1", "--softmax", "1"], "exclude each other"),
    "two temperatures": (
        lambda: np.save("x.npy", np.ones((2, 3))),
        ["x.npy", "--temperature", "1", "--softmax", "1"],
        "with --softmax TAU is the temperature",
    ),
    "three axes out": (
        lambda: np.save("x.npy", np.ones((2, 3))),
        ["x.npy", "--topk", "1", "--n", "2", "--out", "y.csv"],
        ".npy file",
    ),
    "unknown option": (lambda: np.save("x.npy", np.ones((2, 3))), ["x.npy", "--colour"], "--colour"),
    "text for a number": (
        lambda: np.save("x.npy", np.ones((2, 3))),
        ["x.npy", "--seed", "abc"],
        "'abc' is not a valid integer",
    ),
    "no file at all": (None, [], "Missing argument 'FILE'"),
}


@pytest.mark.parametrize(("make", "arguments", "words"), BAD.values(), ids=BAD)
def test_wrong_input(run, make, arguments, words):
    if make is not None:
        make()
    before = names_in(".")
    out_given = [] if "--out" in arguments or not arguments else ["--out", "result.npy"]
    code, out, err = run("sample", *arguments, *out_given)
    assert code == 2
    assert out == ""
    assert err.startswith("numgumbel: error: ")
    assert err.count("\n") == 1
    assert words in err
    assert names_in(".") == before  # no output, nothing half-written


def test_error_late_in_a_large_file_leaves_nothing(run, monkeypatch):
    monkeypatch.setattr(cli, "BLOCK_BYTES", 8 * 7 * 10)
    x = logits()
    x[150, 2] = np.nan
    np.save("x.npy", x)
    Path("keep.npy").write_text("precious")
    code, out, err = run("sample", "x.npy", "--out", "keep.npy", "--force")
    assert (code, out) == (2, "")
    assert "x.npy: row 150, column 2: nan is not a logit" in err
    assert Path("keep.npy").read_text() == "precious"
    assert names_in(".") == ["keep.npy", "x.npy"]


def test_outputs_that_are_refused(run):
    np.save("x.npy", logits())
    np.save("m.npy", np.ones((1, 7), bool))
    np.save("there.npy", np.ones(3))
    Path("d.npy").mkdir()
    for arguments, words in (
        (["--out", "there.npy"], "there.npy: exists already; --force replaces it"),
        (["--out", "x.npy", "--force"], "x.npy: the output is an input too"),
        (["--mask", "m.npy", "--out", "m.npy", "--force"], "m.npy: the output is an input too"),
        (["--out", "nowhere/y.npy"], "there is no folder nowhere"),
        (["--out", "y.parquet"], "must end in .npy or .csv"),
        (["--out", "d.npy", "--force"], "d.npy: is a folder"),
    ):
        code, _, err = run("sample", "x.npy", *arguments)
        assert code == 2
        assert words in err
    np.testing.assert_array_equal(np.load("there.npy"), np.ones(3))
    np.testing.assert_array_equal(np.load("x.npy"), logits())
    assert run("sample", "x.npy", "--out", "there.npy", "--force")[0] == 0
    assert np.load("there.npy").shape == (200,)


# --- info and processes --------------------------------------------------------------------------------------------------


def test_info(run):
    code, out, _ = run("info")
    assert code == 0
    assert all(word in out for word in (ng.__version__, "numba", "kernel cache", "NumPy"))
    facts = json.loads(run("info", "--json")[1])
    assert facts["backends"] == (["cpu", "gpu"] if facts["gpu"] == "there is one" else ["cpu"])
    assert facts["numpy"] == np.__version__
    assert run("--version")[1] == f"numgumbel, version {ng.__version__}\n"
    assert "sample" in run("--help")[1]


def test_a_wrong_number_of_threads_in_the_environment(run, monkeypatch):
    """One line, and no file is touched."""
    monkeypatch.setattr(threads, "_limit", None)
    monkeypatch.setenv("NUMGUMBEL_NUM_THREADS", "abc")
    np.save("x.npy", logits())
    for arguments in (["info"], ["info", "--json"], ["sample", "x.npy", "--out", "y.npy"]):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert err == "numgumbel: error: NUMGUMBEL_NUM_THREADS must be a whole number of 1 or more, got 'abc'\n"
    assert names_in(".") == ["x.npy"]


def process(*arguments, **options):
    # Tests that are run in the background of a shell would hand down that interrupts are ignored.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from numgumbel.cli import main; sys.exit(main())"
    return subprocess.Popen([sys.executable, "-c", code, *arguments], text=True, **options)


def test_broken_pipe(tmp_path):
    """`numgumbel info | head -0`: no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    child = process("info", stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path)
    os.close(writing)
    _, err = child.communicate(timeout=120)
    assert err == ""


@pytest.mark.skipif(os.name == "nt", reason="signals as on Unix")
def test_interrupt_leaves_nothing(tmp_path):
    """Ctrl-C in the middle: exit code 130, one line, no output and no partial file."""
    rows = 3_000_000
    values = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(rows, 8))
    del values  # zeros, sparse on disk
    child = process(
        "sample", "x.npy", "--n", "50", "--out", "y.npy", stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    )
    while not any(name.endswith(".partial.npy") for name in names_in(tmp_path)):
        assert child.poll() is None, child.communicate()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 130
    assert out == ""
    assert err.strip() == "numgumbel: interrupted"
    assert names_in(tmp_path) == ["x.npy"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak memory from Linux's /proc")
def test_memory_does_not_grow_with_the_file(tmp_path):
    """A file of 400 MB, read and sampled, adds less than 100 MB to the memory of a small one."""
    code = (
        "import sys; from numgumbel.cli import main; assert main(sys.argv[1:]) == 0; "
        "print([l for l in open('/proc/self/status') if l.startswith('VmHWM')][0].split()[1])"
    )
    peaks = {}
    for name, rows in (("small", 1000), ("large", 2_000_000)):
        values = np.lib.format.open_memmap(tmp_path / f"{name}.npy", mode="w+", dtype=np.float32, shape=(rows, 50))
        del values
        command = [sys.executable, "-c", code, "sample", f"{name}.npy", "--temperature", "0", "--out", f"{name}-out.npy"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True)
        peaks[name] = int(done.stdout.split()[-1]) / 1024
    print(f"peak memory, MB: {peaks}")
    assert peaks["large"] - peaks["small"] < 100
