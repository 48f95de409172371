"""The Gumbel distribution's functions against mpmath and SciPy, from Python and inside compiled code."""

import math
import warnings

import numpy as np
import pytest
from numba import njit

from numgumbel import distribution

INF, NAN = math.inf, math.nan
SETTINGS = [(0.0, 1.0), (3.5, 0.25), (-120.0, 40.0), (1e-3, 1e6)]


def points(loc, scale):
    """Where the density lives, both tails and round numbers."""
    rng = np.random.default_rng(20260101)
    z = np.concatenate([rng.uniform(-6.5, -1, 100), rng.uniform(-1, 1, 100), rng.uniform(1, 600, 100), [0, 1, -1, 36, 37, 700]])
    return loc + scale * z


def probabilities():
    """Quantiles at all depths of either tail."""
    rng = np.random.default_rng(20260102)
    deep = np.exp(rng.uniform(math.log(1e-300), math.log(0.1), 100))
    near_one = 1 - np.exp(rng.uniform(math.log(1e-15), math.log(0.1), 100))
    return np.concatenate([deep, rng.uniform(0, 1, 200), near_one, [5e-324, 0.25, 0.5, 1 - 2**-53]])


def error_in_ulp(got, exact):
    """Distance of floats from numbers of arbitrary precision, in units in the last place of the latter."""
    return np.array([float(abs(g - e)) / math.ulp(float(e)) for g, e in zip(got.tolist(), exact, strict=True)])


# --- values ----------------------------------------------------------------------------------------------------------------


def test_values_against_mpmath():
    """The exponents' rounding is all the error there is: exp turns n ulp of an exponent of size s into about n s ulp.

    Worst cases are printed. Where the quantile crosses zero its error is bounded absolutely.
    """
    mpmath = pytest.importorskip("mpmath", reason="needs mpmath: pip install mpmath")
    with mpmath.workprec(200):
        z = points(0.0, 1.0)
        wide = [mpmath.mpf(value) for value in z.tolist()]
        pdf_error = error_in_ulp(distribution.pdf(z), [mpmath.exp(-(v + mpmath.exp(-v))) for v in wide])
        cdf_error = error_in_ulp(distribution.cdf(z), [mpmath.exp(-mpmath.exp(-v)) for v in wide])
        q = probabilities()
        exact = [-mpmath.log(-mpmath.log(mpmath.mpf(value))) for value in q.tolist()]
        ppf_error = np.array([float(abs(g - e)) for g, e in zip(distribution.ppf(q).tolist(), exact, strict=True)])
    size = np.abs(z) + np.exp(-z)
    middle = np.abs(z) < 1
    print(f"ulp, |z| < 1: pdf {pdf_error[middle].max():.2f}, cdf {cdf_error[middle].max():.2f}")
    print(f"ulp, |z| >= 1: pdf {pdf_error[~middle].max():.1f}, cdf {cdf_error[~middle].max():.1f}")
    print(f"per 1 + exponent: pdf {(pdf_error / (1 + size)).max():.2f}, cdf {(cdf_error / (1 + np.exp(-z))).max():.2f}")
    relative = ppf_error / np.maximum(1, [abs(float(e)) for e in exact])
    print(f"ppf: {relative.max():.2e} of max(1, |x|)")
    assert pdf_error[middle].max() <= 4  # the docstring's figure
    assert (pdf_error <= 3 + 1.5 * size).all()
    assert (cdf_error <= 3 + 1.5 * np.exp(-z)).all()
    assert (relative <= 2**-51).all()


@pytest.mark.parametrize(("loc", "scale"), SETTINGS)
def test_values_against_scipy(loc, scale):
    stats = pytest.importorskip("scipy.stats", reason="needs SciPy: pip install scipy")
    x, q = points(loc, scale), probabilities()
    # Both sides round z = (x - loc) / scale once or twice; the exponent exp(-z) of up to 665 magnifies that.
    np.testing.assert_allclose(distribution.pdf(x, loc, scale), stats.gumbel_r.pdf(x, loc, scale), rtol=2e-11)
    np.testing.assert_allclose(distribution.cdf(x, loc, scale), stats.gumbel_r.cdf(x, loc, scale), rtol=2e-11)
    wanted = stats.gumbel_r.ppf(q, loc, scale)
    np.testing.assert_allclose(distribution.ppf(q, loc, scale), wanted, rtol=1e-14, atol=1e-15 * scale)


def test_density_integrates_to_one_and_is_the_slope():
    """Simpson's rule over all but 2^-60 of the probability; central differences of cdf."""
    loc, scale = 2.0, 3.0
    x = np.linspace(loc - 4 * scale, loc + 42 * scale, 20001)
    f = distribution.pdf(x, loc, scale)
    weights = np.ones_like(x)
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    assert (weights * f).sum() * (x[1] - x[0]) / 3 == pytest.approx(1, abs=1e-12)
    h = 1e-4
    inner = x[:: len(x) // 200]
    slope = (distribution.cdf(inner + h, loc, scale) - distribution.cdf(inner - h, loc, scale)) / (2 * h)
    np.testing.assert_allclose(slope, distribution.pdf(inner, loc, scale), atol=1e-9)


@pytest.mark.parametrize(("loc", "scale"), SETTINGS)
def test_quantile_inverts_cumulative_probability(loc, scale):
    """Where the cumulative probability can tell points apart: it is 1 - exp(-z) for large z, so digits go with exp(z)."""
    z = np.linspace(-5, 12, 300)
    x = loc + scale * z
    back = (distribution.ppf(distribution.cdf(x, loc, scale), loc, scale) - loc) / scale
    rounding = 1e-15 * (1 + abs(loc / scale))
    assert (np.abs(back - z) <= 4e-16 * np.exp(np.maximum(z, 0)) + 8 * rounding * (1 + np.abs(z))).all()
    q = np.linspace(0.001, 0.999, 300)
    np.testing.assert_allclose(distribution.cdf(distribution.ppf(q, loc, scale), loc, scale), q, rtol=1e-12)


# --- limits ----------------------------------------------------------------------------------------------------------------

LIMITS = [
    ("pdf", -INF, 0.0),
    ("pdf", INF, 0.0),
    ("pdf", -8.0, 0.0),  # exp(-2989)
    ("pdf", -1e308, 0.0),
    ("pdf", 1e308, 0.0),
    ("pdf", NAN, NAN),
    ("cdf", -INF, 0.0),
    ("cdf", INF, 1.0),
    ("cdf", -8.0, 0.0),
    ("cdf", 1e308, 1.0),
    ("cdf", NAN, NAN),
    ("ppf", 0.0, -INF),
    ("ppf", -0.0, -INF),
    ("ppf", 1.0, INF),
    ("ppf", -5e-324, NAN),
    ("ppf", 1 + 2**-52, NAN),
    ("ppf", -INF, NAN),
    ("ppf", INF, NAN),
    ("ppf", NAN, NAN),
]


@pytest.mark.parametrize(("name", "x", "wanted"), LIMITS)
@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1.0), (2.0, 0.5)])
def test_limits(name, x, wanted, loc, scale):
    """The same for a number, an array and compiled code, and without a warning."""
    function = getattr(distribution, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_equal(float(function(x, loc, scale)), wanted)
        np.testing.assert_equal(function(np.array([x, x]), loc, scale), [wanted, wanted])
        np.testing.assert_equal(COMPILED[name](x, loc, scale), wanted)


@pytest.mark.parametrize("name", ["pdf", "cdf", "ppf"])
@pytest.mark.parametrize("scale", [0.0, -0.0, -1.0, -INF, NAN])
def test_scale_must_be_positive(name, scale):
    function = getattr(distribution, name)
    for x in (-INF, 0.0, 0.5, 1.0, INF):
        assert math.isnan(function(x, 0.0, scale))
        assert math.isnan(COMPILED[name](x, 0.0, scale))
    mixed = function(0.5, 0.0, [1.0, scale, 2.0])
    np.testing.assert_array_equal(np.isnan(mixed), [False, True, False])


@pytest.mark.parametrize("name", ["pdf", "cdf", "ppf"])
def test_missing_location(name):
    assert math.isnan(getattr(distribution, name)(0.5, NAN, 1.0))


def test_tiny_densities_are_kept():
    """Below the smallest normal number results round to subnormals, as the true values do."""
    np.testing.assert_allclose(distribution.pdf([709.0, 740.0]), [math.exp(-709), math.exp(-740)], rtol=1e-2)
    assert distribution.pdf(760.0) == 0


# --- kinds of arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pdf", "cdf", "ppf"])
def test_broadcasting_and_types(name):
    function = getattr(distribution, name)
    x = np.linspace(0.1, 0.9, 4)[:, None]
    loc, scale = np.array([0.0, 1.0, -2.0]), np.array([[1.0], [2.0], [3.0], [0.5]])
    table = function(x, loc, scale)
    assert table.shape == (4, 3)
    for i in range(4):
        for j in range(3):
            assert table[i, j] == function(float(x[i, 0]), float(loc[j]), float(scale[i, 0]))
    assert isinstance(function(0.5), float)
    np.testing.assert_array_equal(function([0.25, 0.5]), function(np.array([0.25, 0.5])))
    np.testing.assert_array_equal(function(np.array([0.25, 0.5], np.float32)), function(np.array([0.25, 0.5])))
    assert function(np.array([0.5], np.float32)).dtype == np.float64
    np.testing.assert_array_equal(function(np.array([0, 1])), function(np.array([0.0, 1.0])))
    assert function(0.5, scale=2) == function(0.5, 0.0, 2.0)
    assert function(np.empty((0, 3))).shape == (0, 3)
    strided = np.linspace(0, 1, 12).reshape(3, 4).T[::-1]
    np.testing.assert_array_equal(function(strided), function(strided.copy()))


@njit
def compiled_pdf(x, loc, scale):
    return distribution.pdf(x, loc, scale)


@njit
def compiled_cdf(x, loc, scale):
    return distribution.cdf(x, loc, scale)


@njit
def compiled_ppf(q, loc, scale):
    return distribution.ppf(q, loc, scale)


COMPILED = {"pdf": compiled_pdf, "cdf": compiled_cdf, "ppf": compiled_ppf}


@pytest.mark.parametrize("name", ["pdf", "cdf", "ppf"])
def test_inside_compiled_code(name):
    """Numbers and arrays, to the bit what Python gets."""
    function, compiled = getattr(distribution, name), COMPILED[name]
    x = np.linspace(0.01, 0.99, 50)
    np.testing.assert_array_equal(compiled(x, 0.5, 2.0), function(x, 0.5, 2.0))
    np.testing.assert_array_equal([compiled(value, 0.5, 2.0) for value in x], function(x, 0.5, 2.0))


def test_defaults_and_keywords_inside_compiled_code():
    @njit
    def defaults(x):
        return distribution.pdf(x), distribution.cdf(x, 1.0), distribution.ppf(x, scale=2.0)

    wanted = distribution.pdf(0.25), distribution.cdf(0.25, 1.0), distribution.ppf(0.25, scale=2.0)
    assert defaults(0.25) == wanted
    for got, value in zip(defaults(np.array([0.25, 0.25])), wanted, strict=True):
        np.testing.assert_array_equal(got, [value, value])
