"""pandas: tables of utilities in, labels out, noise by labels."""

import doctest
import uuid

import numpy as np
import pytest

pd = pytest.importorskip("pandas", reason='pip install -e ".[pandas]"')

import numgumbel as ng  # noqa: E402
import numgumbel.pandas as adapter  # noqa: E402
from numgumbel.kernels.field import COLUMN_END  # noqa: E402
from numgumbel.pandas import column_ids  # noqa: E402

KEY = ng.key(5, "pandas")
MODES = ["air", "train", "bus", "car"]
KNOWN = ("score", "log_prob", "logsumexp", "entropy")


def table(rows=50, columns=MODES, dtype=np.float64):
    values = np.random.default_rng(0).normal(scale=2, size=(rows, len(columns))).astype(dtype)
    index = pd.Index([f"person {i}" for i in range(rows)], name="person")
    return pd.DataFrame(values, index=index, columns=pd.Index(columns, name="mode"))


def ids(frame):
    return {"rows": ng.row_ids(list(frame.index)), "cols": column_ids(frame.columns)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels_out(dtype):
    frame = table(dtype=dtype)
    chosen = ng.categorical(KEY, frame)
    index = ng.categorical(KEY, frame.to_numpy(), **ids(frame))
    assert isinstance(chosen, pd.Series)
    assert chosen.name == "mode"
    assert chosen.index.equals(frame.index)
    assert chosen.tolist() == [MODES[i] for i in index]
    assert set(chosen) == set(MODES)
    p = np.exp(frame)
    assert ng.categorical(KEY, probs=p).tolist() == chosen.tolist()
    assert ng.default_rng(3).categorical(frame).index.equals(frame.index)


def test_draws_are_columns():
    frame = table()
    drawn = ng.categorical(KEY, frame, n=3)
    assert drawn.shape == (50, 3)
    assert drawn.index.equals(frame.index)
    for d in range(3):
        assert drawn[d].tolist() == ng.categorical(KEY, frame, step=d).tolist()
    assert ng.categorical(KEY, frame, n=0).shape == (50, 0)
    assert ng.draw(KEY, frame, n=2).log_prob.shape == (50, 2)


def test_draw():
    frame = table()
    drawn = ng.draw(KEY, frame, want=KNOWN, temperature=pd.Series(0.5, frame.index))
    right = ng.draw(KEY, frame.to_numpy(), want=KNOWN, temperature=0.5, **ids(frame))
    assert drawn.col.tolist() == ng.categorical(KEY, frame, temperature=0.5).tolist()
    for name in ("index", *KNOWN):
        got = getattr(drawn, name)
        assert isinstance(got, pd.Series)
        assert got.name == name
        assert got.index.equals(frame.index)
        np.testing.assert_array_equal(got, getattr(right, name))
    assert ng.draw(KEY, frame).score is None


def test_relaxed_samples():
    frame = table()
    soft = ng.gumbel_softmax(KEY, frame, tau=0.5)
    np.testing.assert_array_equal(soft, ng.gumbel_softmax(KEY, frame.to_numpy(), tau=0.5, **ids(frame)))
    assert soft.index.equals(frame.index)
    assert soft.columns.equals(frame.columns)
    assert soft.idxmax(axis=1).tolist() == ng.categorical(KEY, frame).tolist()


# --- noise goes by labels -----------------------------------------------------------------------------------------------------


def check_by_labels(choose):
    """Rows and columns in any order, some of them left out: everybody else chooses as before."""
    frame = table()
    before = choose(frame)
    shuffled = frame.sample(frac=0.7, random_state=1)[["car", "air", "bus", "train"]]
    assert choose(shuffled).equals(before[shuffled.index])
    fewer = frame.drop(columns="train")
    after = choose(fewer)
    kept = before != "train"
    assert 0 < kept.sum() < len(frame)
    assert after[kept].equals(before[kept])
    assert (after != "train").all()
    more = frame.assign(bicycle=-1.0)
    after = choose(more)
    assert ((after == before) | (after == "bicycle")).all()
    assert (after == "bicycle").any()


def test_noise_goes_by_labels():
    check_by_labels(lambda frame: ng.categorical(KEY, frame))


@pytest.mark.parametrize("by", [{"rows": None}, {"cols": None}])
def test_noise_by_position_is_noticed(by):
    def choose(frame):
        positions = {"rows": np.arange(len(frame)), "cols": np.arange(frame.shape[1])}
        return ng.categorical(KEY, frame, **{name: positions[name] for name in by})

    with pytest.raises(AssertionError):
        check_by_labels(choose)


def test_column_ids():
    assert column_ids([0, 5, COLUMN_END - 1]).tolist() == [0, 5, COLUMN_END - 1]
    assert column_ids(pd.RangeIndex(4)).tolist() == [0, 1, 2, 3]
    labels = ["car", -1, COLUMN_END, b"car", uuid.UUID(int=5), ("car", 1), ("car", 2), "train", np.int64(7)]
    found = column_ids(labels)
    assert found.dtype == np.int64
    assert len(set(found.tolist())) == len(labels)
    assert found.min() >= 0
    assert found.max() < COLUMN_END
    assert column_ids(labels[::-1]).tolist() == found.tolist()[::-1]
    assert found[0] == ng.row_ids(["car"]).view(np.uint64)[0] % np.uint64(COLUMN_END)
    assert found[5] == ng.row_ids(["car"], [1]).view(np.uint64)[0] % np.uint64(COLUMN_END)
    assert column_ids([]).shape == (0,)
    # Frozen, as the field is: a label's noise is found again.
    assert column_ids(MODES).tolist() == [1593695855, 23453075962, 18241736075, 33000959721]


def test_labels_of_two_levels():
    columns = pd.MultiIndex.from_tuples([("car", "alone"), ("car", "shared"), ("bus", "alone")])
    index = pd.MultiIndex.from_tuples([(1, "ann"), (1, "bob"), (2, "ann")])
    frame = pd.DataFrame(np.zeros((3, 3)), index=index, columns=columns)
    chosen = ng.categorical(KEY, frame)
    assert set(chosen) <= set(columns)
    rows = ng.row_ids([1, 1, 2], ["ann", "bob", "ann"])
    wanted = ng.categorical(KEY, frame.to_numpy(), rows=rows, cols=column_ids(list(columns)))
    assert chosen.tolist() == [columns[i] for i in wanted]


def test_ids_given():
    frame = table()
    wanted = ng.categorical(KEY, frame.to_numpy(), step=2)
    got = ng.categorical(KEY, frame, rows=pd.Series(range(50), frame.index), cols=range(4), step=2)
    assert got.tolist() == [MODES[i] for i in wanted]


# --- masks and marked rows ----------------------------------------------------------------------------------------------------


def test_masks_go_by_labels():
    frame = table()
    mask = pd.DataFrame(np.random.default_rng(1).random(frame.shape) < 0.6, frame.index, frame.columns).assign(car=True)
    wanted = ng.categorical(KEY, frame, mask=mask.to_numpy())
    assert ng.categorical(KEY, frame, mask=mask[["car", "bus", "air", "train"]]).equals(wanted)
    assert not ng.categorical(KEY, frame).equals(wanted)
    closed = pd.Series({"car": True, "bus": True, "train": True, "air": False})
    assert "air" not in set(ng.categorical(KEY, frame, mask=closed))
    with pytest.raises(ValueError, match="mask must have the table's columns"):
        ng.categorical(KEY, frame, mask=mask.drop(columns="air"))
    with pytest.raises(ValueError, match="mask must have the table's columns"):
        ng.categorical(KEY, frame, mask=mask.rename(columns={"air": "ship"}))
    with pytest.raises(ValueError, match=r"mask must have the index of the table: call mask.reindex\(table.index\)"):
        ng.categorical(KEY, frame, mask=mask[::-1])


@pytest.mark.parametrize("columns", [MODES, [1, 2, 3, 4]])
def test_marked_rows_have_no_label(columns):
    frame = table(columns=columns)
    frame.iloc[3] = np.nan
    with pytest.raises(ValueError, match=r"1 of 50 rows invalid .*: row 3"):
        ng.categorical(KEY, frame)
    marked = ng.categorical(KEY, frame, invalid="mark")
    assert marked.isna().tolist() == [i == 3 for i in range(50)]
    drawn = ng.draw(KEY, frame, invalid="mark")
    assert drawn.index.iloc[3] == -1
    assert drawn.col.isna().tolist() == marked.isna().tolist()
    rest = frame.drop(index="person 3")
    assert (ng.categorical(KEY, rest) == marked[rest.index]).all()
    assert ng.categorical(KEY, frame, n=2, invalid="mark").isna().sum().tolist() == [1, 1]


def test_no_rows():
    chosen = ng.categorical(KEY, table().iloc[:0])
    assert isinstance(chosen, pd.Series)
    assert len(chosen) == 0


# --- errors -------------------------------------------------------------------------------------------------------------------


def test_what_is_refused():
    frame, array = table(), table().to_numpy()
    other = pd.Series(1.0, frame.index[::-1])
    for call, kind, match in [
        (lambda: ng.gumbel_topk(KEY, frame, 2), TypeError, r"gumbel_topk takes no DataFrame: pass table.to_numpy\(\)"),
        (lambda: ng.sample_actions(KEY, frame), TypeError, r"table.to_numpy\(\)"),
        (lambda: ng.gumbel_softmax_vjp(KEY, frame, frame), TypeError, r"table.to_numpy\(\)"),
        (lambda: ng.log_prob_entropy(frame, [0] * 50), TypeError, r"table.to_numpy\(\)"),
        (lambda: ng.conditional_gumbel(KEY, frame, [0] * 50), TypeError, r"table.to_numpy\(\)"),
        (lambda: ng.categorical_ragged(KEY, frame, [0]), TypeError, r"table.to_numpy\(\)"),
        (lambda: ng.gumbel_softmax(KEY, frame, n=2), TypeError, "three axes"),
        (lambda: ng.categorical(KEY, frame, out=np.empty(50, np.int64)), TypeError, "out cannot be given with a DataFrame"),
        (lambda: ng.categorical(KEY, frame, axis=0), ValueError, "pass table.T"),
        (lambda: ng.categorical(KEY, frame, temperature=other), ValueError, "temperature must have the index of the table"),
        (lambda: ng.categorical(KEY, frame.set_axis(np.arange(50.0))), TypeError, r"no row ids for this index: .*float64"),
        (lambda: ng.categorical(KEY, frame.set_axis([0.5, 1.5, 2, 3], axis=1)), TypeError, "no column id for the label 0.5"),
        (lambda: ng.categorical(KEY, frame.set_axis(list("abca"), axis=1)), ValueError, "'a' occurs twice"),
        (lambda: ng.categorical(KEY, frame.astype(int)), TypeError, "logits must be float32"),
        (lambda: ng.categorical(KEY, frame["car"]), TypeError, r"pandas.*Series.*call .to_numpy\(\)"),
        (lambda: ng.categorical(KEY, array, mask=frame > 0), TypeError, r"pandas.*DataFrame.*call .to_numpy\(\)"),
        (lambda: ng.categorical(KEY, frame, probs=frame), TypeError, "got both"),
        (lambda: ng.categorical(5, frame), TypeError, "key must be a Key"),
    ]:  # fmt: skip
        with pytest.raises(kind, match=match):
            call()


def test_ids_that_meet_by_chance(monkeypatch):
    monkeypatch.setattr(adapter, "COLUMN_END", 2)
    with pytest.raises(ValueError, match=r"columns must have ids of their own: .* have the same id; number them with cols="):
        column_ids(["a", "b", "c"])


def test_docstrings():
    result = doctest.testmod(adapter)
    assert result.failed == 0
    assert result.attempted > 0
