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


def most_above(slack_of):
    """Largest of what a bound may exceed G by, less what `slack_of` allows, over all half-words at the lowest G of each.

    G falls with the bits below, so the lowest is at all ones. `slack_of` is also asked a little beside the bound, as rounding
    of large logits moves it.
    """

    @njit(error_model="numpy")
    def most(beside):
        worst = -np.inf
        for coarse in range(1, 1 << 16):
            word = np.uint32((coarse << 16) | 0xFFFF)
            g = np.float64(field.gumbel_of_exponential_f32(field.exponential_f32(word)))
            limit = np.float64(bound.gumbel_bound_f32(np.uint16(coarse)))
            worst = max(worst, limit - g - slack_of(limit + beside))
            whole = (np.uint64(word) << np.uint64(32)) | np.uint64(0xFFFFFFFF)
            g = field.gumbel_of_exponential_f64(field.exponential_f64(whole))
            limit = bound.gumbel_bound_f64(np.uint16(coarse))
            worst = max(worst, limit - g - slack_of(limit + beside))
        return worst

    return max(most(beside) for beside in (-(2.0**-5), 0.0, 2.0**-5))


def test_lower_bounds_of_scores():
    worst = most_above(bound.slack_of)
    print(f"least slack of the lower bound: {-worst:.3g}")
    assert worst < 0


def test_a_lower_bound_that_is_too_high_is_noticed():
    @scalar
    def less(limit):
        return bound.slack_of(limit) - 0.06

    assert most_above(less) > 0


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_lower_bounds_of_scores_of_any_logit(real):
    rng = np.random.default_rng(8)
    count = 1_000_000
    gumbel, score, score_bound, exponential, width = (
        (field.gumbel_of_exponential_f32, field.score_f32, bound.score_bound_f32, field.exponential_f32, 32)
        if real is np.float32
        else (field.gumbel_of_exponential_f64, field.score_f64, bound.score_bound_f64, field.exponential_f64, 64)
    )
    word = np.uint32 if width == 32 else np.uint64

    @njit(error_model="numpy")
    def above(logits, inverses, words):
        wrong, told = 0, 0
        for i in range(logits.size):
            s = score(logits[i], inverses[i], gumbel(exponential(words[i])))
            b = score_bound(logits[i], inverses[i], np.uint16(words[i] >> word(width - 16)))
            low = real(bound.score_at_least(b, logits[i] * inverses[i]))
            wrong += low > s
            told += low > -np.inf
        return wrong, told

    # Half-words of every size, since those that matter are small.
    bits = np.exp2(rng.uniform(0, 32, count)).astype(np.uint64)
    words = bits.astype(word) if width == 32 else (bits << np.uint64(32)) | rng.integers(1 << 32, size=count, dtype=np.uint64)
    if width == 32:
        words = np.maximum(words, np.uint32(256))
    logits = (rng.choice([-1.0, 1.0], count) * 10 ** rng.uniform(-10, 6, count)).astype(real)
    logits[:5] = [np.inf, -np.inf, MAX[real], -MAX[real], 0]
    inverses = np.exp2(rng.uniform(-4, 4, count)).astype(real)
    wrong, told = above(logits, inverses, words)
    assert wrong == 0
    assert told > count // 4
