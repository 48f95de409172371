"""Errors of the scalars in units in the last place, the worst case printed; each checker is also shown a wrong function.

float32 against float64 libm, float64 against mpmath.
"""

import math
import os
import random
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from numba import njit

from numgumbel.kernels import elementary, field

# Bounds of the definition: E, log and exp in ulp; G relative to max(1, |G|).
ULP = 2.0
G32, G64 = 2.0**-21, 2.0**-50

# Stride over all 2^32 words in the soak test: 1 looks at every word (ten minutes).
SOAK_STRIDE = int(os.environ.get("NUMGUMBEL_SOAK_STRIDE", "61"))
STRIDE = 4099


# --- float32 against libm in float64 ---------------------------------------------------------------------------------------


@njit(error_model="numpy")
def ulp32(x):
    """Distance between neighbouring float32 at |x|."""
    return 2.0 ** max(math.floor(math.log2(abs(x))) - 23, -149)


def sweep_words(exponential, gumbel):
    """A sweep over 32-bit words: (worst error of E in ulp, where, worst of G over max(1, |G|), where)."""

    @njit(error_model="numpy")
    def sweep(first, stride, stop=2**32):
        worst_e, at_e, worst_g, at_g = 0.0, 0, 0.0, 0
        for word in range(first, stop, stride):
            e = exponential(np.uint32(word))
            g = gumbel(e)
            if word < 2**31:
                true = -math.log1p(-(word + 0.5) * 2.0**-32)
            else:
                true = -math.log((2.0**32 - 1 - word + 0.5) * 2.0**-32)
            error = abs(np.float64(e) - true) / ulp32(true)
            if not error <= worst_e:
                worst_e, at_e = error, word
            log = -math.log(true)
            error = abs(np.float64(g) - log) / max(1.0, abs(log))
            if not error <= worst_g:
                worst_g, at_g = error, word
        return worst_e, at_e, worst_g, at_g

    return sweep


def sweep_floats(function, kind):
    """A sweep over the bit patterns of float32: (worst error in ulp, where). `kind` is "log" or "exp"."""
    is_log = kind == "log"

    @njit(error_model="numpy")
    def sweep(first, stride):
        worst, at = 0.0, 0
        for pattern in range(first - 2**31, 2**31, stride):
            x = np.int32(pattern).view(np.float32)
            y, wide = np.float64(function(x)), np.float64(x)
            if math.isnan(wide):
                error = 0.0 if math.isnan(y) else np.inf
            elif is_log and wide <= 0:
                error = 0.0 if (y == -np.inf if wide == 0 else math.isnan(y)) else np.inf
            else:
                true = math.log(wide) if is_log else math.exp(wide)
                if abs(true) >= 3.4028235677973366e38 or true == 0 or (not is_log and true < 2.0**-150):
                    error = 0.0 if y == np.float64(np.float32(true)) else np.inf
                else:
                    error = abs(y - true) / ulp32(true)
            if not error <= worst:
                worst, at = error, pattern
        return worst, at

    return sweep


e32 = njit(lambda word: field.exponential_f32(word), error_model="numpy")
g32 = njit(lambda e: field.gumbel_of_exponential_f32(e), error_model="numpy")
log32 = njit(lambda x: elementary.log_f32(x), error_model="numpy")
exp32 = njit(lambda x: elementary.exp_f32(x), error_model="numpy")


def check_words(exponential, gumbel, first, stride):
    worst_e, at_e, worst_g, at_g = sweep_words(exponential, gumbel)(first, stride)
    print(
        f"stride {stride}: E float32 {worst_e:.4f} ulp at {at_e:#010x}; G float32 {worst_g * 2**21:.4f} * 2^-21 at {at_g:#010x}"
    )
    return worst_e <= ULP and worst_g <= G32


def test_e_and_g_float32():
    assert check_words(e32, g32, 0, STRIDE)


@pytest.mark.parametrize("first", [0, 2**31 - 2**15, 2**32 - 2**16])
def test_e_and_g_float32_at_the_ends(first):
    """Every word near 0, 2^31 and 2^32."""
    worst_e, _, worst_g, _ = sweep_words(e32, g32)(first, 1, first + 2**16)
    assert worst_e <= ULP
    assert worst_g <= G32


@pytest.mark.slow
def test_e_and_g_float32_soak():
    assert check_words(e32, g32, 0, SOAK_STRIDE)


def test_wrong_e_and_g_are_noticed():
    """The checker itself: an E from 24 bits, and a G one part in a million off."""
    coarse = njit(lambda word: field.exponential_f32(np.uint32(word & np.uint32(0xFFFFFF00))), error_model="numpy")
    assert not check_words(coarse, g32, 0, STRIDE)
    off = njit(lambda e: np.float32(field.gumbel_of_exponential_f32(e) * np.float32(1.000001)), error_model="numpy")
    assert not check_words(e32, off, 0, STRIDE)


def check_floats(function, kind, stride):
    worst, at = sweep_floats(function, kind)(0, stride)
    print(f"stride {stride}: {kind} float32 {worst:.4f} ulp at bits {at & 0xFFFFFFFF:#010x}")
    return worst <= ULP


@pytest.mark.parametrize(("function", "kind"), [(log32, "log"), (exp32, "exp")])
def test_log_and_exp_float32(function, kind):
    assert check_floats(function, kind, STRIDE)


@pytest.mark.slow
@pytest.mark.parametrize(("function", "kind"), [(log32, "log"), (exp32, "exp")])
def test_log_and_exp_float32_soak(function, kind):
    assert check_floats(function, kind, SOAK_STRIDE)


def test_wrong_log_and_exp_are_noticed():
    unreduced = njit(lambda x: np.float32(elementary.log_f32(x) + np.float32(2e-7)), error_model="numpy")
    assert not check_floats(unreduced, "log", STRIDE)
    flushed = njit(lambda x: np.float32(0) if elementary.exp_f32(x) < np.float32(1.2e-38) else elementary.exp_f32(x))
    assert not check_floats(flushed, "exp", STRIDE)


# --- float64 (and the float32 tail) against mpmath ---------------------------------------------------------------------------

WORDS = [0, 1, 255, 256, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1]


def words64(count=20_000):
    rng = random.Random(1)
    plain = [rng.getrandbits(64) for _ in range(count // 2)]
    small = [rng.getrandbits(rng.randint(1, 64)) for _ in range(count // 4)]
    return WORDS + plain + small + [2**64 - 1 - word for word in small]


def ulp_of(true, digits, least):
    return mpmath.mpf(2) ** max(int(mpmath.floor(mpmath.log(abs(true), 2))) - digits + 1, least)


def worst_of(values, true, digits=53, least=-1074):
    """(largest |value - true| in ulp, its argument), with `values` of (argument, value)."""
    worst = (mpmath.mpf(0), None)
    with mpmath.workprec(160):
        for argument, value in values:
            exact = true(argument)
            error = abs(mpmath.mpf(float(value)) - exact) / ulp_of(exact, digits, least) if exact else abs(float(value))
            if not error <= worst[0]:
                worst = (error, argument)
    return float(worst[0]), worst[1]


def true_e(word):
    return -mpmath.log1p(-(mpmath.mpf(word) + 0.5) / mpmath.mpf(2) ** 64)


e64 = njit(lambda word: field.exponential_f64(word), error_model="numpy")
g64 = njit(lambda e: field.gumbel_of_exponential_f64(e), error_model="numpy")
log64 = njit(lambda x: elementary.log_f64(x), error_model="numpy")
exp64 = njit(lambda x: elementary.exp_f64(x), error_model="numpy")
tail32 = njit(lambda b32, tail: field.exponential_tail_f32(b32, tail), error_model="numpy")


def test_e_float64():
    worst, at = worst_of([(word, e64(np.uint64(word))) for word in words64()], true_e)
    print(f"E float64 {worst:.4f} ulp at {at:#018x}")
    assert worst <= ULP
    # The checker itself: the bits of float32's coarser field are not good enough.
    worst, _ = worst_of([(word, e64(np.uint64(word & ~0x3FF))) for word in words64(2000)], true_e)
    assert worst > ULP


def test_g_float64():
    worst = 0.0
    with mpmath.workprec(160):
        for word in words64():
            true = -mpmath.log(true_e(word))
            error = float(abs(mpmath.mpf(float(g64(e64(np.uint64(word))))) - true) / max(1, abs(true)))
            worst = max(worst, error)
    print(f"G float64 {worst * 2**50:.4f} * 2^-50")
    assert worst <= G64


def test_e_float32_in_the_tail():
    """b32 < 256: all 64 bits count, in float32."""
    rng = random.Random(2)
    words = [rng.getrandbits(40) for _ in range(10_000)] + [rng.getrandbits(rng.randint(1, 40)) for _ in range(10_000)]
    words += [0, 1, 2**32 - 1, 2**32, 2**40 - 1]
    values = [(word, tail32(np.uint32(word >> 32), np.uint32(word & 0xFFFFFFFF))) for word in words]
    worst, at = worst_of(values, true_e, 24, -149)
    print(f"E float32 in the tail {worst:.4f} ulp at {at:#012x}")
    assert worst <= ULP
    values = [(word, e32(np.uint32(word >> 32))) for word in words]
    assert worst_of(values, true_e, 24, -149)[0] > 1000  # without the tail


def points(low, high, count=10_000):
    rng = random.Random(3)
    return [rng.uniform(low, high) for _ in range(count)]


def test_log_float64():
    rng = random.Random(4)
    patterns = [float(np.int64(rng.getrandbits(63)).view(np.float64)) for _ in range(10_000)]
    edges = [
        5e-324,
        2.0**-1022,
        np.nextafter(2.0**-1022, 0),
        1.0,
        np.nextafter(1.0, 0),
        np.nextafter(1.0, 2),
        2 / 3,
        4 / 3,
        1.7e308,
    ]
    x = [p for p in patterns if math.isfinite(p) and p > 0] + points(0.3, 3) + edges
    worst, at = worst_of([(p, log64(p)) for p in x], mpmath.log)
    print(f"log float64 {worst:.4f} ulp at {at!r}")
    assert worst <= ULP
    assert log64(1.0) == 0
    assert log64(0.0) == log64(-0.0) == -math.inf
    assert log64(math.inf) == math.inf
    assert all(math.isnan(log64(bad)) for bad in (-1.0, -math.inf, math.nan, -5e-324))
    worst, _ = worst_of([(p, log64(p) * (1 + 1e-15)) for p in x[:2000]], mpmath.log)
    assert worst > ULP


def test_exp_float64():
    edges = [709.78, -708.3, -745.1, -744.4, 1e-300, -1e-20, 0.34657, -0.34657]
    x = points(-745, 709.7) + points(-1, 1) + edges
    worst, at = worst_of([(p, exp64(p)) for p in x], mpmath.exp)
    print(f"exp float64 {worst:.4f} ulp at {at!r}")
    assert worst <= ULP
    assert exp64(0.0) == exp64(-0.0) == 1
    assert exp64(709.79) == exp64(1e300) == exp64(math.inf) == math.inf
    assert exp64(-745.2) == exp64(-1e300) == exp64(-math.inf) == 0
    assert math.isnan(exp64(math.nan))
    worst, _ = worst_of([(p, exp64(p) * (1 + 1e-15)) for p in x[:2000]], mpmath.exp)
    assert worst > ULP


# --- the rest ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fma_rounds_once(dtype):
    fma = njit(lambda a, b, c: elementary.fma(a, b, c), error_model="numpy")
    rng, twice = np.random.default_rng(5), 0
    for _ in range(3000):
        a, b = rng.normal(size=2).astype(dtype)
        c = dtype(-(a * b)) if rng.random() < 0.5 else dtype(rng.normal())
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        got = dtype(fma(a, b, c))
        near = [np.nextafter(got, dtype(-np.inf)), got, np.nextafter(got, dtype(np.inf))]
        assert min(near, key=lambda n: abs(Fraction(float(n)) - exact)) == got
        twice += got != a * b + c
    assert twice > 500  # rounding twice gives something else: the check can fail


def test_mulhi64():
    mulhi = njit(lambda a, b: elementary.mulhi64(a, b))
    rng = random.Random(6)
    edges = [0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1]
    pairs = [(a, b) for a in edges for b in edges] + [(rng.getrandbits(64), rng.getrandbits(64)) for _ in range(2000)]
    for a, b in pairs:
        assert int(mulhi(np.uint64(a), np.uint64(b))) == a * b >> 64


@pytest.mark.parametrize(("function", "dtype"), [(field.score_f32, np.float32), (field.score_f64, np.float64)])
def test_scores_of_finite_logits_are_finite(function, dtype):
    score = njit(lambda x, t, g: function(x, t, g), error_model="numpy")
    most = np.finfo(dtype).max
    one, noise = dtype(1), dtype(0.75)
    assert score(dtype(2), one, noise) == 2.75
    assert score(dtype(2), dtype(0.5), noise) == 1.75
    assert score(most, dtype(2), noise) == most
    assert score(-most, dtype(2.0**60), noise) == -most
    assert score(dtype(-np.inf), dtype(2.0**-60), noise) == -np.inf
    assert score(dtype(np.inf), one, noise) == np.inf
    assert math.isnan(score(dtype(np.nan), one, noise))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_of_what_is_not_positive_is_exp(dtype):
    """The shorter function gives the same bits, down to 0 and through the subnormals."""
    general, shorter, limit = (
        (elementary.exp_f32, elementary.exp_nonpositive_f32, 110.0)
        if dtype == np.float32
        else (elementary.exp_f64, elementary.exp_nonpositive_f64, 760.0)
    )

    @njit(error_model="numpy")
    def differing(x):
        count = 0
        for i in range(x.size):
            count += general(x[i]) != shorter(x[i])
        return count

    x = -np.concatenate([np.linspace(0, limit, 2_000_000), 10.0 ** np.random.default_rng(4).uniform(-40, 38, 200_000)])
    x = np.concatenate([x, [-0.0, -np.inf, -np.finfo(dtype).max]]).astype(dtype)
    assert differing(x) == 0
    assert differing(np.array([1.0, 100.0], dtype)) == (1 if dtype == np.float32 else 0)  # above the limit it may differ


def test_exp_flushed_f64_is_exp_or_nothing():
    """The same bits as exp down to 2^-1022.5, 0 below, and NaN where that came in."""
    flushed, end = elementary.exp_flushed_f64, 1022.5

    @njit(error_model="numpy")
    def differing(x, limit):
        count = 0
        for i in range(x.size):
            count += flushed(x[i]) != (elementary.exp_f64(x[i]) if x[i] > limit else 0.0)
        return count

    limit = -end * math.log(2)
    x = -np.concatenate([np.linspace(0, 1.1 * end, 2_000_000), 10.0 ** np.random.default_rng(4).uniform(-40, 38, 200_000)])
    x = np.concatenate([x, [-0.0, -np.inf, -np.finfo(float).max]])
    x = x[np.abs(x - limit) > 1e-5]  # which of two neighbours is the first below is not promised
    assert differing(x, limit) == 0
    assert differing(x, limit / 2) > 0
    assert math.isnan(flushed(np.nan))


def test_exp_flushed_f32_is_within_its_bounds():
    """1.1 ulp down to 2^-16 and 4.6 to 2^-126, 0 below that in the end, 1 at 0, and NaN where that came in."""

    def worst_of(function, low, high):
        @njit(error_model="numpy")
        def sweep(first, last, stride):
            worst = 0.0
            for word in range(first, last, stride):
                x = -elementary.f32_of_bits(np.int32(word))
                true = math.exp(np.float64(x))
                error = abs(np.float64(function(x)) - true) / ulp32(true)
                worst = worst if error <= worst else error
            return worst

        first, last = (int(np.float32(x).view(np.int32)) for x in (low, high))
        return sweep(first, last, 499)

    near, far = worst_of(elementary.exp_flushed_f32, 1e-30, 16 * math.log(2)), worst_of(elementary.exp_flushed_f32, 11, 87.3)
    print(f"exp_flushed_f32: {near:.3f} ulp to 2^-16, {far:.3f} to the end")
    assert near <= 1.1
    assert far <= 4.6

    @njit(error_model="numpy")
    def coarse(x):
        return elementary.exp_flushed_f32(x) * np.float32(1.0 + 2e-7)

    assert not worst_of(coarse, 1e-30, 16 * math.log(2)) <= 1.1
    ends = np.array([0.0, -0.0, -88.1, -1e30, -np.inf], np.float32)
    assert [float(elementary.exp_flushed_f32(x)) for x in ends] == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert math.isnan(elementary.exp_flushed_f32(np.float32(np.nan)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quotient(dtype):
    """Within an ulp of the division, and 1 where numerator and divisor are equal."""

    @njit(error_model="numpy")
    def quotients(x, divisor, out):
        for i in range(x.size):
            out[i] = elementary.quotient(x[i], divisor[i], x.dtype.type(1.0) / divisor[i])

    rng = np.random.default_rng(9)
    x, divisor = (np.exp(rng.uniform(-20, 20, 1_000_000)).astype(dtype) for _ in range(2))
    out = np.empty_like(x)
    quotients(x, divisor, out)
    error = np.abs(out - x / divisor) / np.spacing(x / divisor)
    print(f"{dtype.__name__}: {int((error > 0).sum())} of a million differ from the division, by at most {error.max():.0f} ulp")
    assert error.max() <= 1
    quotients(x, x, out)
    assert (out == 1).all()
