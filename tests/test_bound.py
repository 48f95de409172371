"""The upper bound that lets most categories be passed over: never below the score, whatever the word, logit and temperature."""

import numpy as np
import pytest
from numba import njit

from numgumbel.kernels import field
from numgumbel.kernels.cpu import bound
from numgumbel.kernels.jit import larger, loop, scalar

MAX = {np.float32: np.finfo(np.float32).max, np.float64: np.finfo(np.float64).max}


def least_slack(gumbel_bound):
    """Smallest (bound - G) over the float32 field's words from 256 on, all 2^32 of them."""

    @loop
    def excess():
        most = np.float32(-np.inf)
        for coarse in range(1 << 16):
            limit = gumbel_bound(np.uint16(coarse))
            high = np.uint32(np.uint32(coarse) << np.uint32(16))
            for fine in range(np.uint32(256 if coarse == 0 else 0), np.uint32(1 << 16)):
                g = field.gumbel_of_exponential_f32(field.exponential_f32(np.uint32(high | np.uint32(fine))))
                most = larger(most, g - limit)
        return most

    return -float(excess())


def test_above_g_at_every_word():
    slack = least_slack(bound.gumbel_bound_f32)
    print(f"least slack of the float32 bound: {slack:.3g}")
    assert slack > 0


def test_a_bound_that_is_a_little_too_low_is_noticed():
    @scalar
    def low(coarse):
        return bound.gumbel_bound_f32(coarse) - np.float32(2 * bound.MARGIN)

    assert least_slack(low) < 0


def test_above_the_largest_g_where_the_tail_is_read():
    largest = 65 * np.log(2)
    assert bound.gumbel_bound_f32(np.uint16(0)) > largest
    assert bound.gumbel_bound_f64(np.uint16(0)) > largest


def test_above_g_in_float64():
    """G falls with the bits, so each half-word is checked where the bits below it are 0, and at random ones."""
    rng = np.random.default_rng(5)

    @njit(error_model="numpy")
    def slack_of(below):
        least = np.inf
        for coarse in range(below.size):
            for bits in (np.uint64(0), below[coarse]):
                whole = (np.uint64(coarse) << np.uint64(48)) | bits
                g = field.gumbel_of_exponential_f64(field.exponential_f64(whole))
                least = min(least, bound.gumbel_bound_f64(np.uint16(coarse)) - g)
        return least

    slack = slack_of(rng.integers(1 << 48, size=1 << 16, dtype=np.uint64))
    print(f"least slack of the float64 bound: {slack:.3g}")
    assert slack > 0


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_above_the_score_for_every_logit_and_temperature(real):
    rng = np.random.default_rng(6)
    count = 2_000_000
    if real is np.float32:
        gumbel, score, score_bound = field.gumbel_of_exponential_f32, field.score_f32, bound.score_bound_f32
        exponential, width = field.exponential_f32, 32
    else:
        gumbel, score, score_bound = field.gumbel_of_exponential_f64, field.score_f64, bound.score_bound_f64
        exponential, width = field.exponential_f64, 64
    word = np.uint32 if width == 32 else np.uint64

    @njit(error_model="numpy")
    def below(logits, inverses, words):
        """Cells whose score is above the bound, but for those clamped to the smallest number, whose bound is -inf."""
        wrong = 0
        for i in range(logits.size):
            s = score(logits[i], inverses[i], gumbel(exponential(words[i])))
            b = score_bound(logits[i], inverses[i], np.uint16(words[i] >> word(width - 16)))
            if s > b and not (s == -limit and b == -np.inf):
                wrong += 1
        return wrong

    limit = MAX[real]
    words = rng.integers(0, 2**width - 1, count, dtype=word, endpoint=True)
    if width == 32:
        words = np.maximum(words, np.uint32(256))  # below, 32 bits more are read: the bound of half-word 0 covers them
    top = np.log10(float(limit))
    logits = (rng.choice([-1.0, 1.0], count) * 10 ** rng.uniform(-30, top, count)).astype(real)
    logits[:6] = [0, -0.0, limit, -limit, np.inf, -np.inf]
    inverses = (1 / 2 ** rng.uniform(-64, 64, count)).astype(real)
    inverses[6 : count // 4] = 1
    inverses[:6] = 2.0**64
    assert below(logits, inverses, words) == 0
