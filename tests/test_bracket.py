"""The bracket that decides short rows: it holds G at every address, and what it decides is the argmax of the scores."""

import numpy as np
import pytest
from numba import njit

import numgumbel as ng
from numgumbel.kernels import field
from numgumbel.kernels.cpu import bracket, lanes
from numgumbel.kernels.jit import larger, loop, scalar

KEY = ng.key(3, "bracket")


def slack(above, width):
    """Least U - G and least G - (U - W) over the float32 field's words from 256 on, all 2^32 of them."""

    @loop
    def excess():
        over = np.float32(-np.inf)
        under = np.float32(-np.inf)
        for coarse in range(1 << 16):
            limit = above(np.int32(coarse))
            floor = limit - width(np.int32(coarse))
            high = np.uint32(np.uint32(coarse) << np.uint32(16))
            for fine in range(np.uint32(256 if coarse == 0 else 0), np.uint32(1 << 16)):
                g = field.gumbel_of_exponential_f32(field.exponential_f32(np.uint32(high | np.uint32(fine))))
                over = larger(over, g - limit)
                under = larger(under, floor - g)
        return over, under

    return tuple(-float(worst) for worst in excess())


def test_holds_g_at_every_word():
    upper, lower = slack(bracket.gumbel_above, bracket.gumbel_width)
    print(f"least slack above {upper:.3g}, below {lower:.3g}")
    assert upper > 0
    assert lower > 0


def test_a_bracket_a_little_off_is_noticed():
    @scalar
    def low(coarse):
        return bracket.gumbel_above(coarse) - np.float32(5e-5)

    @scalar
    def narrow(coarse):
        return bracket.gumbel_width(coarse) - np.float32(1e-3)

    assert slack(low, bracket.gumbel_width)[0] < 0
    assert slack(bracket.gumbel_above, narrow)[1] < 0


def test_the_ends_decide_nothing():
    assert bracket.gumbel_above(np.int32(0)) > 65 * np.log(2)
    assert bracket.gumbel_width(np.int32(0)) == bracket.gumbel_width(np.int32(65535)) == np.inf


def test_holds_g_in_float64():
    """G falls with the bits, so the ends of each half-word are enough."""

    @njit(error_model="numpy")
    def worst():
        over = under = np.inf
        for coarse in range(1, 1 << 16):
            limit = np.float64(bracket.gumbel_above(np.int32(coarse)))
            width = np.float64(bracket.gumbel_width(np.int32(coarse)))
            for below in (np.uint64(0), np.uint64((1 << 48) - 1)):
                g = field.gumbel_of_exponential_f64(field.exponential_f64((np.uint64(coarse) << np.uint64(48)) | below))
                over, under = min(over, limit - g), min(under, g - (limit - width))
        return over, under

    upper, lower = worst()
    print(f"least slack above {upper:.3g}, below {lower:.3g}")
    assert upper > 0
    assert lower > 0


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_what_is_decided_is_right_for_every_logit_and_temperature(real):
    """Two categories of any size and distance, also near the ends of the range: where the bracket decides, the scores agree."""
    score = field.score_f32 if real is np.float32 else field.score_f64
    gumbel = field.gumbel_of_exponential_f32 if real is np.float32 else field.gumbel_of_exponential_f64
    exponential = field.exponential_f32 if real is np.float32 else field.exponential_f64
    width = 32 if real is np.float32 else 64
    word = np.uint32 if width == 32 else np.uint64

    @njit(error_model="numpy")
    def count(x, inverse, words):
        decided = wrong = 0
        for i in range(x.shape[0]):
            bounds = np.empty(2, real)
            scores = np.empty(2, real)
            for j in range(2):
                coarse = np.int32(words[i, j] >> word(width - 16))
                bounds[j] = lanes.score_above(x[i, j], inverse[i], coarse)
                scores[j] = score(x[i, j], inverse[i], gumbel(exponential(words[i, j])))
            first = 1 if bounds[1] > bounds[0] else 0
            near = bracket.gumbel_width(np.int32(words[i, first] >> word(width - 16)))
            if lanes.is_decided(bounds[first], bounds[1 - first], bounds[0] + bounds[1], near):
                decided += 1
                wrong += 0 if scores[first] > scores[1 - first] else 1
        return decided, wrong

    rng, size = np.random.default_rng(8), 2_000_000
    words = rng.integers(0, 2**width - 1, (size, 2), dtype=word, endpoint=True)
    if width == 32:
        words = np.maximum(words, np.uint32(256))
    inverse = (1 / 2 ** rng.uniform(-64, 64, size)).astype(real)
    inverse[: size // 2] = 1
    top = np.log10(np.finfo(real).max)
    with np.errstate(over="ignore", under="ignore"):
        x = rng.choice([-1.0, 1.0], (size, 2)) * 10 ** rng.uniform(-30, top, (size, 2))
        x[::4, 1] = x[::4, 0] * (1 + rng.normal(size=size // 4) * 10 ** rng.uniform(-17, 0, size // 4))
        x[1::4] = rng.normal(size=(size // 4, 2))
        x = x.astype(real)
    x[:6] = [[0, -0.0], [np.inf, 1], [-np.inf, 1], [-np.inf, -np.inf], [np.nan, 1], [1, -np.nan]]
    decided, wrong = count(x, inverse, words)
    print(f"{real.__name__}: {decided} of {size} decided")
    assert decided > size // 4
    assert wrong == 0


@pytest.mark.parametrize(("columns", "most"), [(2, 0.012), (6, 0.006), (32, 0.004)])
def test_most_rows_are_decided(columns, most, monkeypatch):
    """The brackets are as close as is claimed: of the rows of a normal batch, hardly any is computed in full."""
    rows = 1 << 16
    x = np.random.default_rng(columns).normal(size=(1, rows, columns)).astype(np.float32)

    @njit
    def open_rows(reals, integers, addresses, chosen, steps, temperatures, x, mask):
        open_ = 0
        for start in range(0, x.shape[1], lanes.LANES):
            lanes.start_lanes(
                reals, addresses, 0, steps, steps, 0, 1.0, temperatures, start, lanes.LANES, lanes.LANES, x.shape[1]
            )
            for group in range((x.shape[2] + 7) // 8):
                width = min(8, x.shape[2] - 8 * group)
                lanes.fill_lane_words(integers, addresses, group, np.uint32(5), np.uint32(6), lanes.LANES)
                lanes.load_lanes(reals, chosen, x, mask, 0, start, lanes.LANES, 8 * group, width, lanes.LANES)
                for h in range(0, width, 2):
                    left = reals[lanes.LOGITS + h * lanes.LANES :]
                    words = integers[lanes.WORDS + (h >> 1) * lanes.LANES :]
                    lanes.compare_lanes(
                        reals, integers, left, left[lanes.LANES :], words, np.uint32(8 * group + h), lanes.LANES
                    )
            open_ += lanes.decide_lanes(reals, integers, chosen, lanes.LANES)
        return open_

    scratch = np.zeros(lanes.REALS, np.float32), np.zeros(lanes.INTEGERS, np.uint32), np.zeros(lanes.ADDRESSES, np.uint64)
    nothing = np.zeros((1, 1), np.int64), np.ones((1, 1))
    share = open_rows(*scratch, np.zeros(lanes.LANES, np.int64), *nothing, x, np.zeros((1, 1, 1), np.uint8)) / rows
    print(f"{columns} categories: {share:.5f} of the rows left open")
    assert share < most


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [1, 3, 6, 7, 8, 11, 16])
def test_rows_are_turned_whatever_their_layout(columns, dtype):
    """Packed rows, rows with a gap, reversed, transposed and with a stride of 0: block ends included."""
    rng = np.random.default_rng(columns)
    wide = rng.normal(size=(700, 2 * columns + 3)).astype(dtype)
    for x in (
        np.ascontiguousarray(wide[:, :columns]),
        wide[:, 1 : columns + 1],
        wide[::-1, :columns],
        wide[:, columns - 1 :: -1] if columns > 1 else wide[:, :1],
        wide[:, : 2 * columns : 2],
        np.asfortranarray(wide[:, :columns]),
        np.broadcast_to(wide[:1, :columns], (700, columns)),
    ):
        for rows in (1, 2, 3, 15, 16, 17, 255, 256, 257, 700):
            wanted = (x[:rows] + ng.gumbel(KEY, (rows, columns), dtype=dtype)).argmax(axis=1)
            np.testing.assert_array_equal(ng.categorical(KEY, x[:rows]), wanted)
