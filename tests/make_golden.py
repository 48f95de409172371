"""Write golden.json: bits, E and G of version 1 of the field at fixed addresses, fixed keys and a few draws.

To be run once, when the definition is final: ``python tests/make_golden.py``. From then on the file guards it.
"""

import json
from pathlib import Path

import numpy as np
from numba import njit

import numgumbel as ng
from numgumbel.kernels import field, philox

PATH = Path(__file__).parent / "golden.json"


@njit(error_model="numpy")
def values_at(k0, k1, step, row, column):
    b32, tail = field.bits_at(k0, k1, step, row, column)
    return (
        b32,
        tail,
        field.exponential_at_f32(k0, k1, step, row, column),
        field.gumbel_at_f32(k0, k1, step, row, column),
        field.exponential_at_f64(k0, k1, step, row, column),
        field.gumbel_at_f64(k0, k1, step, row, column),
    )


@njit(error_model="numpy")
def uniform_at(k0, k1, step, row):
    return field.uniform_bits_at(k0, k1, step, row)


@njit(error_model="numpy")
def tail_columns(k0, k1, step, row, count, found):
    """The first columns of a row whose b32 is below 256."""
    number, column = 0, 0
    while number < count:
        b32, _tail = field.bits_at(k0, k1, step, row, column)
        if b32 < 256:
            found[number] = column
            number += 1
        column += 1


def addresses():
    """(key, step, row, column): ordinary ones, every half-word, every end of a range, and the tail."""
    key = ng.key(42, "golden")
    for column in range(16):
        yield key, 0, 0, column
    for step in (1, 2**30 - 1, 2**30, 2**31 + 5, 2**62, 2**63 - 1):
        yield key, step, 7, 12_345
    for row in (-1, 2**32, 2**63 - 1, -(2**63)):
        yield key, 3, row, 9
    for column in (1023, 1024, 2**31, 2**32 + 3, 2**35 - 17):
        yield key, 3, 4, column
    found = np.empty(4, np.int64)
    tail_columns(*(np.uint32(word) for word in key.words), 0, 0, len(found), found)
    for column in found.tolist():
        yield key, 0, 0, column


def golden():
    """The content of golden.json."""
    table = []
    for key, step, row, column in addresses():
        words = [np.uint32(word) for word in key.words]
        b32, tail, e32, g32, e64, g64 = values_at(*words, np.int64(step), np.int64(row), np.int64(column))
        table.append(
            {
                "key": f"{int(key):#018x}",
                "step": step,
                "row": row,
                "column": column,
                "b32": f"{int(b32):#010x}",
                "tail": f"{int(tail):#010x}",
                "E32": float(e32).hex(),
                "G32": float(g32).hex(),
                "E64": float(e64).hex(),
                "G64": float(g64).hex(),
                "uniform": f"{int(uniform_at(*words, np.int64(step), np.int64(row))):#018x}",
            }
        )
    keys = {
        "0": int(ng.key(0)),
        "42, mode_choice, 2030": int(ng.key(42, "mode_choice", 2030)),
        "fold": int(ng.fold(ng.key(42), 7, tag=1 << 16)),
    }
    logits = ng.gumbel(ng.key(1, "logits"), (20, 1500), dtype=np.float32)
    draws = {
        "categorical": ng.categorical(ng.key(42, "golden"), logits).tolist(),
        "inverse_cdf": ng.categorical(ng.key(42, "golden"), logits, method="inverse_cdf").tolist(),
        "inverse_cdf, many": ng.categorical(ng.key(42, "golden"), logits[0], n=50, method="inverse_cdf").tolist(),
        "conditional": [
            float(g).hex() for g in ng.conditional_gumbel(ng.key(42, "golden"), logits[0, :9], 4, step=2**31, sample=3)
        ],
        "topk": ng.gumbel_topk(ng.key(42, "golden"), logits, 3).index.tolist(),
    }
    return {"version": 1, "keys": keys, "field": table, "draws": draws}


if __name__ == "__main__":
    assert philox.COUNTER_FOLD == 0xFFFFFFFE
    PATH.write_text(json.dumps(golden(), indent=1) + "\n")
