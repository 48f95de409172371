"""`numgumbel verify` on a simulated device: it finds all operations equal, and notices one that is not."""

import dataclasses

import pytest

from numgumbel.cli import main
from numgumbel.verify import device as verify


def test_all_is_equal(monkeypatch):
    """(Halves of one kind: the simulator takes a second for each of these calls.)"""
    few = [dataclasses.replace(case, dtypes=tuple(each for each in case.dtypes if each != "float16")) for case in verify.CASES]
    monkeypatch.setattr(verify, "CASES", few)
    found = list(verify.verify(rows=2, columns=(9,)))
    assert {outcome.name for outcome in found} == {case.name for case in verify.CASES}
    for outcome in found:
        assert outcome.compared > 0
        assert outcome.different == 0, outcome
        assert outcome.right


def test_the_table_and_the_exit_code(monkeypatch, capsys):
    one = verify.CASES[0]
    few = dataclasses.replace(one, dtypes=("float32",))
    monkeypatch.setattr(verify, "CASES", [few])
    assert main(["verify", "--group", "gpu", "--rows", "40", "--columns", "5"]) == 0
    assert "categorical" in capsys.readouterr().out

    def wrong(key, x, array):
        import numgumbel as ng

        return {"index": ng.categorical(key, x, step=int(not isinstance(x, verify.np.ndarray)))}

    monkeypatch.setattr(verify, "CASES", [dataclasses.replace(few, run=wrong)])
    assert main(["verify", "--group", "gpu", "--rows", "40", "--columns", "5"]) == 1


def test_a_device_that_is_none():
    with pytest.raises(ValueError, match='device must be "cuda"'):
        list(verify.verify("tpu"))
