"""Philox4x32-10, fold and the uniform bits against Random123's vectors and independent implementations."""

import numpy as np
import oracle
import pytest
from numba import njit

from numgumbel.kernels import field, philox

# Random123's kat_vectors: counter, key, output.
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@njit(error_model="numpy")
def philox_of_rows(words, out):
    for i in range(len(words)):
        w = words[i]
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = philox.philox4x32(w[0], w[1], w[2], w[3], w[4], w[5])


@njit(error_model="numpy")
def fold(k0, k1, x, tag):
    return philox.fold(k0, k1, x, tag)


@njit(error_model="numpy")
def bits_at(k0, k1, step, row, column):
    return field.bits_at(k0, k1, step, row, column)


@njit(error_model="numpy")
def uniform_bits_at(k0, k1, step, row):
    return field.uniform_bits_at(k0, k1, step, row)


def words(count, size):
    return np.random.default_rng(0).integers(0, 2**32, (count, size), np.uint32)


@pytest.mark.parametrize(("counter", "key", "wanted"), KNOWN)
def test_random123_vectors(counter, key, wanted):
    out = np.empty((1, 4), np.uint32)
    philox_of_rows(np.array([counter + key], np.uint32), out)
    assert out[0].tolist() == wanted
    assert [int(word) for word in oracle.philox4x32(*counter, *key)] == wanted


def test_ten_thousand_random_counters_against_plain_numpy():
    given = words(10_000, 6)
    out = np.empty((len(given), 4), np.uint32)
    philox_of_rows(given, out)
    wanted = np.array([[int(w) for w in oracle.philox4x32(*row)] for row in given[:2000].tolist()], np.uint32)
    np.testing.assert_array_equal(out[:2000], wanted)
    # The rest with one key, vectorised over counters.
    given[:, 4:] = given[0, 4:]
    philox_of_rows(given, out)
    np.testing.assert_array_equal(out, np.stack(oracle.philox4x32(*given.T[:4], *given[0, 4:].tolist()), axis=1))
    given[17, 2] ^= 1  # the comparison itself
    assert not np.array_equal(out[17], np.stack(oracle.philox4x32(*given.T[:4], *given[0, 4:].tolist()), axis=1)[17])


def test_against_randomgen():
    """Another independent implementation."""
    randomgen = pytest.importorskip("randomgen", reason="an independent Philox: pip install randomgen")
    for counter, key in zip(words(50, 4).tolist(), words(50, 2).tolist(), strict=True):
        whole_counter = sum(word << 32 * i for i, word in enumerate(counter))
        generator = randomgen.Philox(counter=whole_counter, key=key[1] << 32 | key[0], number=4, width=32)
        raw = generator.random_raw(4, output=True).astype(np.uint32)
        following = (whole_counter + 1) % 2**128  # it counts up before it draws
        out = np.empty((1, 4), np.uint32)
        philox_of_rows(np.array([[following >> 32 * i & 0xFFFFFFFF for i in range(4)] + key], np.uint32), out)
        np.testing.assert_array_equal(out[0], raw)


def test_fold():
    for x, tag in ((0, 0), (1, 1), (2**32, 2), (2**63, 3), (2**64 - 1, 2**32 - 1)):
        got = fold(np.uint32(7), np.uint32(2**32 - 9), np.uint64(x), np.uint32(tag))
        assert tuple(map(int, got)) == oracle.fold((7, 2**32 - 9), x, tag)


STEPS = [0, 1, 2**30 - 1, 2**30, 2**30 + 1, 2**62, 2**63 - 1]
ROWS = [0, 1, -1, 2**31, 2**32, 2**63 - 1, -(2**63)]
COLUMNS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 2**31, 2**35 - 24, 2**35 - 18, 2**35 - 17]


def test_bits_at_every_end_of_the_address():
    key = (123, 2**32 - 1)
    k0, k1 = (np.uint32(word) for word in key)
    for step in STEPS:
        for row in ROWS:
            b32, tail = oracle.bits(key, step, row, np.array(COLUMNS))
            got = [bits_at(k0, k1, np.int64(step), np.int64(row), np.int64(column)) for column in COLUMNS]
            assert [(int(b), int(t)) for b, t in got] == list(zip(b32.tolist(), tail.tolist(), strict=True))
            assert int(uniform_bits_at(k0, k1, np.int64(step), np.int64(row))) == oracle.uniform_bits(key, step, row)


def test_no_two_addresses_share_a_counter():
    """Different steps, rows and columns around the ends give different bits: nothing is cut off."""
    key = (np.uint32(5), np.uint32(6))
    seen = {
        tuple(map(int, bits_at(*key, np.int64(step), np.int64(row), np.int64(column))))
        for step in STEPS
        for row in ROWS
        for column in COLUMNS
    }
    assert len(seen) == len(STEPS) * len(ROWS) * len(COLUMNS)
