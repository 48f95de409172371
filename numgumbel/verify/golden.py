"""Golden values of version 1 of the field: keys, noise, and what a few rows give, written down once.

They are a part of ``tests/golden.json``. ``tests/test_verify.py`` computes them again from the definition, in plain NumPy and
without a kernel: keys, folds and indices must be equal, noise within the field's error.
"""

from __future__ import annotations

import numpy as np

from ..workloads import WORKLOADS
from .outcome import Outcome, equal, joined
from .subject import Subject

__all__ = ["DRAWS", "FOLDS", "KEYS", "NOISE", "NVEC", "draws", "golden_logits", "keys", "noise", "workloads"]

# Parts of a key, and the key.
KEYS = (
    ((0,), 1251070390236783571),
    ((42, "mode_choice", 2030), 12139505502964692016),
    ((42, "golden"), 0x1C5BBAB23D32ADE0),
)
# Seed, number, tag, and the folded key.
FOLDS = ((42, 7, 1 << 16, 10906758445970121122),)

# Step, row, column, and G in float32 and float64, all under the key of (42, "golden"): both halves of words, every end of a
# range, and the tail, where 32 bits more are drawn.
NOISE = (
    (0, 0, 0, "-0x1.aa4bcep-1", "-0x1.aa4bcef6158fep-1"),
    (0, 0, 7, "0x1.af2334p-3", "0x1.af2333597c881p-3"),
    (0, 0, 8, "0x1.c50daap-4", "0x1.c50dad410e680p-4"),
    (2**30 - 1, 7, 12345, "0x1.5299b4p+0", "0x1.5299b4758fd4cp+0"),
    (2**30, 7, 12345, "0x1.d57596p-4", "0x1.d575a2c8eb9f8p-4"),
    (2**63 - 1, 7, 12345, "0x1.5a8a68p-1", "0x1.5a8a6691124afp-1"),
    (3, -1, 9, "0x1.88e206p-1", "0x1.88e205c000364p-1"),
    (3, 2**63 - 1, 9, "-0x1.50cc9ap-2", "-0x1.50cc95087033ep-2"),
    (3, -(2**63), 9, "0x1.d4916ap-2", "0x1.d491623f31ed8p-2"),
    (3, 4, 1024, "-0x1.05d16cp+0", "-0x1.05d16a1014632p+0"),
    (3, 4, 2**32 + 3, "0x1.036fe0p-1", "0x1.036fddea36d34p-1"),
    (3, 4, 2**35 - 17, "0x1.257472p-1", "0x1.2574715b3342cp-1"),
    (0, 0, 9491328, "0x1.0c15ecp+4", "0x1.0c15ec95fc919p+4"),
    (0, 0, 15280860, "0x1.0ab18ap+4", "0x1.0ab1890ca69cep+4"),
    (0, 0, 44487953, "0x1.1e1ae8p+4", "0x1.1e1ae8ab51e34p+4"),
)

# What rows of `golden_logits` give under that key, in both precisions.
NVEC = (4, 6)
DRAWS = {
    "categorical": [7, 4, 4, 3, 5, 9, 7, 2, 2, 8, 9, 8],
    "inverse CDF": [7, 1, 4, 3, 5, 2, 0, 2, 1, 8, 9, 3],
    "top-k": [
        *([7, 3, 1], [4, 2, 9], [4, 6, 5], [3, 0, 6], [5, 3, 7], [9, 4, 2]),
        *([7, 4, 1], [2, 5, 9], [2, 3, 9], [8, 4, 0], [9, 5, 4], [8, 6, 7]),
    ],
    "softmax": [7, 4, 4, 3, 5, 9, 7, 2, 2, 8, 9, 8],
    "actions": [
        *([3, 3], [2, 0], [1, 0], [3, 2], [3, 1], [2, 5]),
        *([1, 3], [2, 1], [2, 5], [0, 4], [1, 5], [0, 4]),
    ],
}

# Workloads of more cells than this take too long here; ``python -m numgumbel.workloads`` runs all of them.
QUICK_CELLS = 4_500_000


def golden_logits(dtype: type) -> np.ndarray:
    """Twelve rows of ten logits, multiples of 1/4, equal in every dtype."""
    return (np.add.outer(7 * np.arange(12), 3 * np.arange(10)) % 11 / 4).astype(dtype)


def keys(subject: Subject, seed: int) -> Outcome:
    """Keys from seeds and streams, and folded ones."""
    return joined(
        [
            *(equal(f"key{parts}", int(subject.key(*parts)), wanted) for parts, wanted in KEYS),
            *(
                equal(f"fold(key({s}), {x})", int(subject.fold(subject.key(s), x, tag=tag)), wanted)
                for s, x, tag, wanted in FOLDS
            ),
        ]
    )


def noise(subject: Subject, seed: int) -> Outcome:
    """Noise in both precisions, at ordinary addresses and at the ends of their ranges."""
    key, found = subject.key(42, "golden"), []
    for step, row, column, single, double in NOISE:
        for dtype, wanted in ((np.float32, single), (np.float64, double)):
            got = subject.gumbel(key, rows=np.int64(row), cols=[column], step=step, dtype=dtype)
            name = f"{np.dtype(dtype)}, step {step}, row {row}, column {column}"
            found.append(equal(name, got, np.array([float.fromhex(wanted)], dtype)))
    return joined(found)


def draws(subject: Subject, seed: int) -> Outcome:
    """Indices of categorical, top-k, relaxed samples and actions, from logits in both precisions."""
    key, found = subject.key(42, "golden"), []
    for dtype in (np.float32, np.float64):
        x = golden_logits(dtype)
        got = {
            "categorical": subject.categorical(key, x),
            "inverse CDF": subject.categorical(key, x, method="inverse_cdf"),
            "top-k": subject.gumbel_topk(key, x, 3).index,
            "softmax": subject.gumbel_softmax(key, x, tau=0.5).argmax(axis=1),
            "actions": subject.sample_actions(key, x, nvec=NVEC).action,
        }
        found += [equal(f"{name}, {np.dtype(dtype)}", got[name], np.array(DRAWS[name])) for name in DRAWS]
    return joined(found)


def workloads(subject: Subject, seed: int) -> Outcome:
    """Checksums of the frozen workloads that are quick, and for which nothing is missing here."""
    found = []
    for workload in WORKLOADS.values():
        if workload.cost().elements <= QUICK_CELLS and not workload.missing():
            checksum = workload.checksum(subject.workload(workload))
            found.append(equal(workload.id, checksum, workload.expected))
    return joined(found)
