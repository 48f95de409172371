"""Distribution and independence of the samples, each check also shown to reject samplers that are wrong on purpose.

Every check is a function of a sampler (`samplers.py` says what that is) that returns p-values by name, exact or asymptotic
probabilities of what was seen under the hypothesis that the sampler is right. Seeds are fixed, so a run repeats to the digit;
``pytest -rP`` prints the p-values. Chi-square values count from both sides: frequencies that fit too well are rejected too.
"""

import itertools
import math

import numpy as np
import pytest
import samplers
from samplers import SEED, Package, PackageNames, Textbook

stats = pytest.importorskip("scipy.stats", reason="needs SciPy: pip install scipy")

# The level of significance of every p-value in this file: that of 4 standard deviations, 6.3e-5.
ALPHA = math.erfc(4 / math.sqrt(2))

SKEWED = np.array([0.0, 3.0, -1.5, 1.0, -4.0, 2.0])


# --- from counts to p-values -----------------------------------------------------------------------------------------------


def chi_square(observed, expected):
    """Two-sided p-value of counts against expected counts with the same sum."""
    observed, expected = np.ravel(observed), np.ravel(expected)
    assert expected.min() > 5, "too few expected for the asymptotic distribution"
    value = ((observed - expected) ** 2 / expected).sum()
    return two_sided(value, observed.size - 1)


def two_sided(value, freedom):
    return min(1.0, 2 * min(stats.chi2.cdf(value, freedom), stats.chi2.sf(value, freedom)))


def normal(z):
    """Two-sided p-value of a standard normal variable."""
    return math.erfc(abs(z) / math.sqrt(2))


def frequencies(index, probabilities):
    """p-value of sampled indices."""
    probabilities = np.asarray(probabilities) / np.sum(probabilities)
    counts = np.bincount(index, minlength=len(probabilities))
    assert len(counts) == len(probabilities)
    return chi_square(counts, len(index) * probabilities)


def softmax(logits):
    weights = np.exp(np.asarray(logits) - np.max(logits))
    return weights / weights.sum()


def uniformised(sampler, seeds=4, steps=4, rows=250, columns=256):
    """About a million values v = P(G' > G), uniform where the noise is Gumbel, with axes key, step, row, column.

    For the package v is the field's own fixed-point fraction: 16 bits of the coarse half-word, then 16 of the fine.
    """
    noise = [[sampler.gumbel(SEED + seed, step, rows, columns) for step in range(steps)] for seed in range(seeds)]
    return np.minimum(-np.expm1(-np.exp(-np.asarray(noise, np.float64))), 1 - 2.0**-53)


# --- the checks ------------------------------------------------------------------------------------------------------------


def check_distribution(sampler):
    """Kolmogorov-Smirnov of a million values over rows, columns and steps, with and without location and scale."""
    found = {}
    for loc, scale in ((0.0, 1.0), (-3.0, 0.5)):
        values = np.concatenate([sampler.gumbel(SEED, step, 1000, 250, loc, scale).ravel() for step in range(4)])
        test = stats.kstest(values.astype(np.float64), stats.gumbel_r(loc, scale).cdf, method="asymp")
        found[f"loc {loc}, scale {scale}"] = test.pvalue
    return found


def check_distinct(sampler):
    """Equal pairs among a million values: with 64 bits a value one pair in 37 million such sets, with 24 bits some 30,000."""
    values = sampler.gumbel(SEED, 0, 1000, 1000)
    equal = values.size - np.unique(values).size
    return {"equal pairs": stats.poisson.sf(equal - 1, values.size**2 / 2**65)}


def check_correlation(sampler):
    """Correlation of neighbours along each part of the address; a sum of products of centred uniforms is normal."""
    x = math.sqrt(12) * (uniformised(sampler) - 0.5)
    found = {}
    for name, axis, lags in (("columns", 3, (1, 2, 4, 8)), ("rows", 2, (1, 2)), ("steps", 1, (1,)), ("keys", 0, (1,))):
        for lag in lags:
            ahead, behind = np.moveaxis(x, axis, 0)[lag:], np.moveaxis(x, axis, 0)[:-lag]
            found[f"{name}, lag {lag}"] = normal((ahead * behind).sum() / math.sqrt(ahead.size))
    return found


def check_pairs(sampler):
    """Chi-square of the 16 x 16 table of the leading four bits of disjoint pairs of neighbours: sees more than correlation."""
    v = uniformised(sampler)
    pairs = {
        "columns of one Philox call": (v[..., ::2], v[..., 1::2]),
        "columns of two calls": (v[..., 7:-1:8], v[..., 8::8]),
        "columns in one place of two calls": (v[..., :128], v[..., 128:]),
        "rows": (v[:, :, ::2], v[:, :, 1::2]),
        "steps": (v[:, ::2], v[:, 1::2]),
        "keys": (v[::2], v[1::2]),
        "coarse and fine half-word": (v, np.fmod(v * 2**16, 1)),
    }
    found = {}
    for name, (first, second) in pairs.items():
        cell = (np.floor(first * 16) * 16 + np.floor(second * 16)).astype(np.int64)
        found[name] = frequencies(cell.ravel(), np.ones(256))
    return found


CATEGORICAL = {
    "flat": {"logits": np.zeros(7)},
    "skewed": {"logits": SKEWED},
    "unnormalised": {"logits": SKEWED[::-1] + 50},
    "many": {"logits": np.sin(np.arange(100.0)) * 2, "draws": 50_000},
    "probs": {"probs": np.array([0.1, 0.7, 0.2])},
    "unnormalised probs": {"probs": np.array([3.0, 0.5, 12.0, 1.0])},
    "cold": {"logits": SKEWED * 0.3, "temperature": 0.5},
    "hot": {"logits": SKEWED * 3, "temperature": 2.5},
}


def _check_categorical(sampler, method):
    found = {}
    for name, case in CATEGORICAL.items():
        logits = np.log(case["probs"]) if "probs" in case else case["logits"]
        index = sampler.categorical(**{"draws": 200_000, **case}, method=method)
        found[name] = frequencies(index, softmax(logits / case.get("temperature", 1.0)))
    return found


def check_categorical(sampler):
    """Chi-square of Gumbel-max samples against softmax."""
    return _check_categorical(sampler, "gumbel")


def check_inverse_cdf(sampler):
    """Chi-square of inverse-CDF samples against softmax."""
    return _check_categorical(sampler, "inverse_cdf")


def check_maximum(sampler):
    """max - logsumexp is Gumbel and independent of the index.

    P(index = i, max <= x) = p_i exp(-exp(-(x - logsumexp))) is a product, so index and decile are independent in the table.
    """
    index, score = sampler.topk(SKEWED, 1, 500_000)
    excess = score[:, 0] - np.log(np.exp(SKEWED).sum())
    decile = np.minimum((stats.gumbel_r.cdf(excess) * 10).astype(np.int64), 9)
    table = np.zeros((len(SKEWED), 10))
    np.add.at(table, (index[:, 0], decile), 1)
    with np.errstate(divide="ignore", invalid="ignore"):  # a wrong sampler may leave a decile empty
        expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
        value = np.where(table == expected, 0, (table - expected) ** 2 / expected).sum()
    return {
        "index": frequencies(index[:, 0], softmax(SKEWED)),
        "Gumbel": stats.kstest(excess, stats.gumbel_r.cdf, method="asymp").pvalue,
        "independent": two_sided(value, (len(SKEWED) - 1) * 9),
    }


def check_topk(sampler):
    """Ordered pairs and triples against p_i p_j / (1 - p_i) and p_i p_j p_k / ((1 - p_i) (1 - p_i - p_j))."""
    logits = np.array([0.5, -0.3, 1.0, 0.0, -1.0])
    p = softmax(logits)
    index, score = sampler.topk(logits, 3, 300_000)
    assert (np.diff(score, axis=1) <= 0).all()
    found = {}
    for k in (2, 3):
        orders = list(itertools.permutations(range(5), k))
        chances = [math.prod(p[place] / (1 - p[list(o[:at])].sum()) for at, place in enumerate(o)) for o in orders]
        number = {sum(c * 5**at for at, c in enumerate(o)): n for n, o in enumerate(orders)}
        seen = (index[:, :k] * 5 ** np.arange(k)).sum(1)
        found["pairs" if k == 2 else "triples"] = frequencies(np.array([number[s] for s in seen.tolist()]), chances)
    return found


def check_softmax(sampler):
    """Relaxed samples: their argmax samples softmax, at large tau they tend to 1/K, and two categories make a logistic.

    K tau (y_j - 1/K) tends to the centred score of j, so its mean over n draws is normal about the centred logit; squares of
    its K deviations, over pi^2/6 / n, sum to a chi-square of K - 1 degrees of freedom, centring taking one. With two categories
    tau logit(y_0) = l_0 - l_1 + G_0 - G_1, and the difference of two Gumbels is logistic (Maddison, Mnih, Teh 2017, section 3).
    """
    draws, k = 200_000, len(SKEWED)
    found = {}
    for tau in (0.1, 1.0):
        found[f"argmax, tau {tau}"] = frequencies(sampler.softmax(SKEWED, tau, draws).argmax(1), softmax(SKEWED))
    tau = 2.0**14
    mean = sampler.softmax(SKEWED, tau, draws).mean(0, dtype=np.float64)
    z = (k * tau * (mean - 1 / k) - (SKEWED - SKEWED.mean())) / math.sqrt(math.pi**2 / 6 / draws)
    found["mean at large tau"] = stats.chi2.sf((z**2).sum(), k - 1)
    for tau in (0.7, 3.0):
        y = sampler.softmax(np.array([0.4, -0.3]), tau, draws)
        difference = tau * (np.log(y[:, 0]) - np.log(y[:, 1]))
        found[f"logistic, tau {tau}"] = stats.kstest(difference, stats.logistic(0.7).cdf, method="asymp").pvalue
    return found


# The tail race, and a limit below which few favourites and many upsets lie.
GAP, OTHERS, LIMIT = 20.5, 262_144, -math.log(8)


def check_race(sampler, draws=33_000_000):
    """The tail race: one category against 262,144, each of which lies 20.5 below it; how often does it lose?

    With probability 262144 exp(-20.5) / (1 + 262144 exp(-20.5)), or 32.8 times in 100,000 draws. It takes a G of 20.5 plus the
    winning score, itself Gumbel(0, 1); noise that ends at 17.3, as that of 24-bit uniforms does, never gets there.

    All 100,000 draws are 2.6e10 values (`check_full_race`). The noise is a field, so the favourite's can be looked up first;
    given that it is x, the others win with probability 1 - exp(-262144 exp(-20.5 - x)), exactly, being independent of it. Of 33
    million draws this runs the 11,000 with x < -log 8, where some 33 upsets are expected: a ninth of the work for as many.
    """
    noise, upsets = sampler.race(GAP, OTHERS, draws, LIMIT)
    chances = -np.expm1(-OTHERS * np.exp(-GAP - noise))
    expected, deviation = chances.sum(), math.sqrt((chances * (1 - chances)).sum())
    print(f"{sampler}: {upsets} upsets in {noise.size} draws, {expected:.1f} +- {deviation:.1f} expected")
    p = math.exp(-math.exp(-LIMIT))
    return {
        "upsets": normal((upsets - expected) / deviation),
        "draws below the limit": normal((noise.size - draws * p) / math.sqrt(draws * p * (1 - p))),
    }


def check_full_race(sampler, draws=100_000):
    """The same race, every draw of it: 32.8 upsets expected, whatever the favourite's noise."""
    _, upsets = sampler.race(GAP, OTHERS, draws)
    expected = draws / (1 + math.exp(GAP) / OTHERS)
    assert round(expected, 1) == 32.8
    print(f"{sampler}: {upsets} upsets in {draws} draws, {expected:.1f} expected")
    return {"upsets": normal((upsets - expected) / math.sqrt(expected))}


# Which wrong samplers each check must reject.
CHECKS = {
    check_distribution: [samplers.Flipped, samplers.Wide],
    check_distinct: [samplers.Uniform24, samplers.SharedColumns, samplers.SharedRows],
    check_correlation: [samplers.SharedColumns, samplers.SharedRows, samplers.StepIgnored, samplers.SeedIgnored],
    check_pairs: [
        samplers.SharedColumns,
        samplers.FoldedColumns,
        samplers.SharedRows,
        samplers.StepIgnored,
        samplers.SeedIgnored,
        samplers.HalfWordTwice,
        samplers.Flipped,
    ],
    check_categorical: [samplers.Flipped, samplers.Wide, samplers.SharedColumns, samplers.TemperatureIgnored],
    check_inverse_cdf: [samplers.Unnormalised, samplers.TemperatureIgnored, samplers.Stratified],
    check_maximum: [samplers.Flipped, samplers.Wide, samplers.SharedColumns],
    check_topk: [samplers.Flipped, samplers.Wide, samplers.SharedColumns, samplers.RestUniform],
    check_softmax: [samplers.Flipped, samplers.Wide, samplers.SharedColumns, samplers.TauOnNoise],
    check_race: [samplers.Uniform24, samplers.Flipped, samplers.Wide],
}


def verdict(found, label):
    """Print p-values and return those that reject."""
    for name, p in found.items():
        print(f"{label}: {name}: p = {p:.3g}")
        assert 0 <= p <= 1
    return {name: p for name, p in found.items() if p < ALPHA}


def package_runs():
    """Each check in both precisions; the race in float64 takes too long for every day, and equal float32 values are right."""
    for check, dtype in itertools.product(CHECKS, ("float32", "float64")):
        slow = [pytest.mark.slow] if (check, dtype) == (check_race, "float64") else []
        if (check, dtype) != (check_distinct, "float32"):
            yield pytest.param(check, dtype, marks=slow, id=f"{check.__name__[6:]}-{dtype}")


@pytest.mark.parametrize(("check", "dtype"), list(package_runs()))
def test_package(check, dtype):
    assert not verdict(check(Package(dtype)), dtype)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__[6:])
def test_textbook(check):
    """A right sampler on other bits passes: the checks reject for what is wrong, not for what is different."""
    assert not verdict(check(Textbook()), "textbook")


@pytest.mark.parametrize(
    ("check", "wrong"),
    [(check, wrong) for check, wrongs in CHECKS.items() for wrong in wrongs],
    ids=lambda value: value.__name__.removeprefix("check_"),
)
def test_wrong_sampler_is_rejected(check, wrong):
    assert verdict(check(wrong()), wrong.__name__)


def test_every_wrong_sampler_is_used():
    """And every check rejects something; 24 bits and the flipped sign among them."""
    used = {wrong for wrongs in CHECKS.values() for wrong in wrongs}
    wrong = {kind for kind in vars(samplers).values() if isinstance(kind, type) and issubclass(kind, Textbook)} - {Textbook}
    assert used == wrong
    assert all(CHECKS.values())


@pytest.mark.slow
def test_full_tail_race():
    """32.8 upsets expected, seen within 4 standard deviations; with 24 bits there is none."""
    assert not verdict(check_full_race(Package(np.float32)), "float32")
    assert not verdict(check_full_race(Textbook()), "textbook")
    assert verdict(check_full_race(samplers.Uniform24()), "Uniform24")


# --- names: keys and row ids -----------------------------------------------------------------------------------------------


def _check_words(words):
    """Distinct, and each of 64 bits set in half of them."""
    words = np.asarray(words, np.uint64)
    collisions = words.size - np.unique(words).size
    bits = np.array([np.count_nonzero(words & (np.uint64(1) << np.uint64(bit))) for bit in range(64)])
    z = (bits - words.size / 2) / math.sqrt(words.size / 4)
    return {
        "collisions": stats.poisson.sf(collisions - 1, words.size**2 / 2**65),
        "bits": two_sided((z**2).sum(), 64),
    }


def check_row_ids(names, side=1000):
    """A million (household, person): no two ids equal, bits balanced, each id bit turned by half of the one-bit changes."""
    household, person = np.divmod(np.arange(side**2), side)
    ids = names.row_ids(household, person).view(np.uint64)
    found = _check_words(ids)
    for bit in (0, 9, 40):
        low = (person >> bit & 1) == 0  # each pair of neighbours once
        turned = ids[low] ^ names.row_ids(household[low], person[low] | 1 << bit).view(np.uint64)
        found[f"bits turned by person's bit {bit}"] = _check_words(turned)["bits"]
    return found


def combinations(size):
    """About `size` different seeds and streams that are easily taken for each other."""
    unit = size // 1000
    yield from ((i,) for i in range(250 * unit))
    yield from ((str(i),) for i in range(250 * unit))
    yield from ((i, 0) for i in range(150 * unit))
    yield from ((i, 0, 0) for i in range(100 * unit))
    for text in itertools.islice(itertools.product("abcdefghij", repeat=4), 10 * unit):
        word = "".join(text)
        for cuts in itertools.product((False, True), repeat=3):  # "abcd"; "a", "bcd"; "ab", "cd"; ...
            ends = [at + 1 for at, cut in enumerate(cuts) if cut] + [4]
            yield tuple(word[first:end] for first, end in zip([0, *ends], ends, strict=False))
    side = math.isqrt(85 * unit)
    for i, j in itertools.product(range(side), repeat=2):
        yield i, str(j)
        yield str(i), j


def check_keys(names, size=1_000_000):
    """Keys of many seeds and streams: all different, bits balanced."""
    return _check_words([names.key(*parts) for parts in combinations(size)])


def test_combinations_are_different():
    some = list(combinations(20_000))
    assert len({tuple(map(repr, parts)) for parts in some}) == len(some) > 19_000
    assert {(1,), ("1",), (42,), (42, 0), (42, 0, 0), ("aaab",), ("aaa", "b"), ("a", "a", "a", "b"), (3, "4"), ("3", 4)} < set(
        some
    )


@pytest.mark.parametrize("check", [check_row_ids, check_keys])
def test_package_names(check):
    assert not verdict(check(PackageNames()), check.__name__)


@pytest.mark.parametrize("wrong", [samplers.JoinedParts, samplers.Seeds])
def test_wrong_names_are_rejected(wrong):
    for found in (check_row_ids(wrong()), check_keys(wrong(), 20_000)):
        assert verdict(found, wrong.__name__)


def test_neighbouring_names_by_hand():
    """Three names that other libraries take for one, and texts cut in different places."""
    names = PackageNames()
    assert len({names.key(42), names.key(42, 0), names.key(42, 0, 0), names.key("42")}) == 4
    assert names.key("a", "b") != names.key("ab")
    wrong = samplers.Seeds()
    assert wrong.key(42) == wrong.key(42, 0) == wrong.key(42, 0, 0)
    assert samplers.JoinedParts().key("a", "b") == samplers.JoinedParts().key("ab")
