"""log, exp, fused multiply-add and bit-casts, with the same result on every CPU, at every SIMD width and on a GPU.

The functions of libm and of libdevice differ from each other in their last bits, so the package has its own. What makes them
reproducible: no operation but +, -, *, conversions and the explicit `fma`, each rounded once by IEEE 754; and no product is
ever added to anything except inside `fma`, because the CUDA compiler contracts ``a * b + c`` and nothing turns that off. (That
goes for the results of `exp` too, which ends in a product by a power of 2.)
No branches, so that LLVM maps them over SIMD lanes. The names end in the precision they work in.

The coefficients are minimax polynomials made by ``bench/minimax.py``. The errors given are the largest seen against
float64 libm (float32: every float for log and exp) or mpmath (float64: 20,000 points and the edges); the tests print them.
"""

from numba import types
from numba.extending import intrinsic
from numpy import float32, float64, int32, int64, uint64

from .jit import scalar


@intrinsic
def fma(typingctx, a, b, c):
    """a * b + c rounded once. Inlined to vfmadd or fma.rn; a call to libm's exact fma where a CPU has no instruction."""
    if isinstance(a, types.Float) and a == b == c:

        def codegen(context, builder, signature, arguments):
            return builder.fma(*arguments)

        return a(a, a, a), codegen
    return None


def _bitcast(source, target):
    @intrinsic
    def cast(typingctx, x):
        if x != source:
            return None

        def codegen(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(source), codegen

    return cast


bits_of_f32 = _bitcast(types.float32, types.int32)
f32_of_bits = _bitcast(types.int32, types.float32)
bits_of_f64 = _bitcast(types.float64, types.int64)
f64_of_bits = _bitcast(types.int64, types.float64)

INF_F32 = float32("inf")
INF_F64 = float64("inf")
NAN_F32 = float32("nan")
NAN_F64 = float64("nan")
MAX_F32 = float32(3.4028234663852886e38)
MAX_F64 = float64(1.7976931348623157e308)

# ln 2 in two parts: the first has so few bits that its product with any exponent is exact.
LN2_F32 = float32(0.6931471805599453)
LN2_HIGH_F32 = float32(0.693145751953125)
LN2_LOW_F32 = float32(1.42860676533018e-06)
LN2_F64 = float64(0.6931471805599453)
LN2_HIGH_F64 = float64(0.6931471803691238)
LN2_LOW_F64 = float64(1.9082149292705877e-10)

# Bits of 2/3: mantissas are taken from [2/3, 4/3), so that f = mantissa - 1 is within a third of zero and no cancellation
# meets the exponent.
TWO_THIRDS_F32 = int32(0x3F2AAAAB)
TWO_THIRDS_F64 = int64(0x3FE5555555555555)

MIN_NORMAL_F32 = float32(2.0**-126)
MIN_NORMAL_F64 = float64(2.0**-1022)


@scalar
def log1p_reduced_f32(f, e):
    """log(1 + f) + e ln 2 for f in [-1/3, 1/3] and a whole e."""
    p = fma(f, float32(-0.1263313861), float32(0.136359888))
    p = fma(f, p, float32(-0.1224581261))
    p = fma(f, p, float32(0.1408484081))
    p = fma(f, p, float32(-0.1667585717))
    p = fma(f, p, float32(0.2000485889))
    p = fma(f, p, float32(-0.2499990549))
    p = fma(f, p, float32(0.3333333256))
    p = fma(f, p, float32(-0.5))
    low = fma(e, LN2_LOW_F32, (f * f) * p)
    high = fma(e, LN2_HIGH_F32, f)
    return high + low


@scalar
def neglog1m_f32(g, e):
    """-log(1 - g) - e ln 2 for g in [0, 1/2] and a whole e <= 0, with a small relative error: the logarithm that gives E.

    Every term is positive, so that one part of ln 2 is enough. Even and odd powers apart: half the dependency chain of
    Horner's rule, and one multiplication more.
    """
    g2 = g * g
    even = fma(g2, float32(1.745943869), float32(1.976713539))
    even = fma(g2, even, float32(0.3410470407))
    even = fma(g2, even, float32(0.2518885309))
    even = fma(g2, even, float32(0.5000009169))
    odd = fma(g2, float32(-2.482322373), float32(-0.5953669706))
    odd = fma(g2, odd, float32(0.1756901257))
    odd = fma(g2, odd, float32(0.3332621514))
    q = fma(g, odd, even)
    return fma(e, -LN2_F32, fma(g2, q, g))


@scalar
def neglog1m_absolute_f32(g, e):
    """-log(1 - g) - e ln 2 for g in [0, 1/2] and any whole e, with a small absolute error: the logarithm that gives G."""
    g2 = g * g
    even = fma(g2, float32(1.453639401), float32(1.154305216))
    even = fma(g2, even, float32(0.2989792044))
    even = fma(g2, even, float32(0.5001226091))
    odd = fma(g2, float32(-1.580809848), float32(-0.09924313501))
    odd = fma(g2, odd, float32(0.3293393271))
    q = fma(g, odd, even)
    return fma(e, -LN2_F32, fma(g2, q, g))


@scalar
def log1p_reduced_f64(f, e):
    """log(1 + f) + e ln 2 for f in [-1/3, 1/3] and a whole e."""
    p = fma(f, float64(0.0842695700067924958), float64(-0.086149450837793838))
    p = fma(f, p, float64(0.0421764450403310106))
    p = fma(f, p, float64(-0.0457893546835377527))
    p = fma(f, p, float64(0.0604127614711400936))
    p = fma(f, p, float64(-0.0638965403957297881))
    p = fma(f, p, float64(0.0665211042869181623))
    p = fma(f, p, float64(-0.0713094953973006065))
    p = fma(f, p, float64(0.0769314316216100693))
    p = fma(f, p, float64(-0.0833396033155641748))
    p = fma(f, p, float64(0.0909087919477817014))
    p = fma(f, p, float64(-0.0999997983356063602))
    p = fma(f, p, float64(0.111111117477584713))
    p = fma(f, p, float64(-0.125000003747154552))
    p = fma(f, p, float64(0.14285714278503373))
    p = fma(f, p, float64(-0.166666666631291624))
    p = fma(f, p, float64(0.200000000000324186))
    p = fma(f, p, float64(-0.250000000000122576))
    p = fma(f, p, float64(0.333333333333333324))
    p = fma(f, p, float64(-0.5))
    low = fma(e, LN2_LOW_F64, (f * f) * p)
    high = fma(e, LN2_HIGH_F64, f)
    return high + low


@scalar
def neglog1m_f64(g, e):
    """-log(1 - g) - e ln 2 for g in [0, 1/2] and a whole e <= 0, with a small relative error: the logarithm that gives E.

    Every term is positive, so that one part of ln 2 is enough. Even and odd powers apart: half the dependency chain of
    Horner's rule, and one multiplication more.
    """
    g2 = g * g
    even = fma(g2, float64(-114.030662590272818), float64(-285.5601736859658))
    even = fma(g2, even, float64(-156.700795300730558))
    even = fma(g2, even, float64(-27.7503932929279493))
    even = fma(g2, even, float64(-1.71789987140105902))
    even = fma(g2, even, float64(0.0571275305746625478))
    even = fma(g2, even, float64(0.124653541324117424))
    even = fma(g2, even, float64(0.166665882872979637))
    even = fma(g2, even, float64(0.249999999673538656))
    even = fma(g2, even, float64(0.499999999999992492))
    odd = fma(g2, float64(26.9745216855132526), float64(228.863488833453705))
    odd = fma(g2, odd, float64(247.224925794089207))
    odd = fma(g2, odd, float64(75.2916308922519554))
    odd = fma(g2, odd, float64(8.0865777103705383))
    odd = fma(g2, odd, float64(0.406729245377909417))
    odd = fma(g2, odd, float64(0.115560976374999661))
    odd = fma(g2, odd, float64(0.142876824502035836))
    odd = fma(g2, odd, float64(0.20000002062092916))
    odd = fma(g2, odd, float64(0.33333333333597146))
    q = fma(g, odd, even)
    return fma(e, -LN2_F64, fma(g2, q, g))


@scalar
def neglog1m_absolute_f64(g, e):
    """-log(1 - g) - e ln 2 for g in [0, 1/2] and any whole e, with a small absolute error: the logarithm that gives G."""
    g2 = g * g
    even = fma(g2, float64(-83.6795941131694466), float64(-182.515412302303143))
    even = fma(g2, even, float64(-85.1935621796265027))
    even = fma(g2, even, float64(-12.3442920171457553))
    even = fma(g2, even, float64(-0.52693473831429096))
    even = fma(g2, even, float64(0.11428541220929344))
    even = fma(g2, even, float64(0.166612589774116672))
    even = fma(g2, even, float64(0.249999942377743189))
    even = fma(g2, even, float64(0.499999999995259684))
    odd = fma(g2, float64(21.1414538612210846), float64(157.133871485776532))
    odd = fma(g2, odd, float64(146.336617975846401))
    odd = fma(g2, odd, float64(37.3535022985685421))
    odd = fma(g2, odd, float64(3.27447398890435599))
    odd = fma(g2, odd, float64(0.205460498221550941))
    odd = fma(g2, odd, float64(0.143756554969509142))
    odd = fma(g2, odd, float64(0.200002219772489128))
    odd = fma(g2, odd, float64(0.333333334158294503))
    q = fma(g, odd, even)
    return fma(e, -LN2_F64, fma(g2, q, g))


@scalar
def log_f32(x):
    """Natural logarithm of any float32: -inf at 0, NaN below, +inf at +inf; within 1.74 ulp."""
    tiny = x < MIN_NORMAL_F32
    scaled = x * float32(2.0**23) if tiny else x
    shift = float32(-23.0) if tiny else float32(0.0)
    bits = bits_of_f32(scaled)
    e = int32(int32(bits - TWO_THIRDS_F32) >> int32(23))
    f = f32_of_bits(int32(bits - int32(e << int32(23)))) - float32(1.0)
    y = log1p_reduced_f32(f, float32(e) + shift)
    y = y if x < INF_F32 else x  # +inf and NaN stay
    y = y if x != float32(0.0) else -INF_F32
    return NAN_F32 if x < float32(0.0) else y


@scalar
def log_f64(x):
    """Natural logarithm of any float64: -inf at 0, NaN below, +inf at +inf; within 1.57 ulp."""
    tiny = x < MIN_NORMAL_F64
    scaled = x * float64(2.0**52) if tiny else x
    shift = float64(-52.0) if tiny else float64(0.0)
    bits = bits_of_f64(scaled)
    e = int64(int64(bits - TWO_THIRDS_F64) >> int64(52))
    f = f64_of_bits(int64(bits - int64(e << int64(52)))) - float64(1.0)
    y = log1p_reduced_f64(f, float64(e) + shift)
    y = y if x < INF_F64 else x
    y = y if x != float64(0.0) else -INF_F64
    return NAN_F64 if x < float64(0.0) else y


@scalar
def exp_reduced_f32(x):
    """(y, n) with e to the x = y 2^n and y from 0.7 to 1.42, for x from -104 to 89."""
    # Adding 1.5 * 2^23 rounds to a whole number and leaves that number in the low bits.
    shifted = fma(x, float32(1.4426950408889634), float32(12582912.0))
    k = shifted - float32(12582912.0)
    r = fma(k, -LN2_HIGH_F32, x)
    r = fma(k, -LN2_LOW_F32, r)
    p = fma(r, float32(0.0013814559894559861), float32(0.0083687355644324797))
    p = fma(r, p, float32(0.041668389859168726))
    p = fma(r, p, float32(0.16666520477724365))
    p = fma(r, p, float32(0.49999993437416170))
    return fma(r * r, p, r) + float32(1.0), int32(bits_of_f32(shifted) - int32(0x4B400000))


@scalar
def exp_f32(x):
    """e to the x for any float32: 0 below -104, +inf above 88.73, NaN kept; within 1.01 ulp, subnormals included."""
    clipped = float32(-104.0) if x < float32(-104.0) else x
    clipped = float32(89.0) if clipped > float32(89.0) else clipped
    y, n = exp_reduced_f32(clipped)
    # 2^n in two factors: the first product is exact, the second rounds once, also into the subnormals and to infinity.
    half = int32(n >> int32(1))
    first = f32_of_bits(int32(int32(half + int32(127)) << int32(23)))
    second = f32_of_bits(int32(int32(int32(n - half) + int32(127)) << int32(23)))
    return (y * first) * second


@scalar
def exp_nonpositive_f32(x):
    """`exp_f32` of an x of 0 or less, to the bit: no infinity is near, so that the second factor is a constant."""
    y, n = exp_reduced_f32(float32(-104.0) if x < float32(-104.0) else x)
    return (y * f32_of_bits(int32(int32(n + int32(127 + 64)) << int32(23)))) * float32(2.0**-64)


@scalar
def exp_reduced_f64(x):
    """(y, n) with e to the x = y 2^n and y from 0.7 to 1.42, for x from -746 to 710."""
    shifted = fma(x, float64(1.4426950408889634), float64(6755399441055744.0))
    k = shifted - float64(6755399441055744.0)
    r = fma(k, -LN2_HIGH_F64, x)
    r = fma(k, -LN2_LOW_F64, r)
    p = fma(r, float64(2.5000030975124431603e-8), float64(2.7630286712984627465e-7))
    p = fma(r, p, float64(2.7557586665445358216e-6))
    p = fma(r, p, float64(0.000024801493000041630469))
    p = fma(r, p, float64(0.00019841269506038668218))
    p = fma(r, p, float64(0.0013888888943716099543))
    p = fma(r, p, float64(0.008333333333494805979))
    p = fma(r, p, float64(0.041666666666529873683))
    p = fma(r, p, float64(0.16666666666666411847))
    p = fma(r, p, float64(0.50000000000000106547))
    return fma(r * r, p, r) + float64(1.0), int64(bits_of_f64(shifted) - int64(0x4338000000000000))


@scalar
def exp_f64(x):
    """e to the x for any float64: 0 below -746, +inf above 709.79, NaN kept; within 0.97 ulp, subnormals included."""
    clipped = float64(-746.0) if x < float64(-746.0) else x
    clipped = float64(710.0) if clipped > float64(710.0) else clipped
    y, n = exp_reduced_f64(clipped)
    half = int64(n >> int64(1))
    first = f64_of_bits(int64(int64(half + int64(1023)) << int64(52)))
    second = f64_of_bits(int64(int64(int64(n - half) + int64(1023)) << int64(52)))
    return (y * first) * second


@scalar
def exp_nonpositive_f64(x):
    """`exp_f64` of an x of 0 or less, to the bit: no infinity is near, so that the second factor is a constant."""
    y, n = exp_reduced_f64(float64(-746.0) if x < float64(-746.0) else x)
    return (y * f64_of_bits(int64(int64(n + int64(1023 + 512)) << int64(52)))) * float64(2.0**-512)


@scalar
def exp_flushed_f32(x):
    """e to the x of an x of 0 or less, 0 below -88, NaN kept; exactly 1 at 0. For sums in which 1 is the largest term.

    Within 1.1 ulp of the true value down to 2^-16 and 4.6 ulp to the end, where it no longer counts: log 2 is in one part,
    whose error of 2^-29 enters once a halving. The number that rounds to a whole one carries the bias of the exponent, whose
    field is 0 at the end, and so is the factor. Fourteen instructions, where `exp_f32` with one factor takes seventeen.
    """
    clipped = float32(-88.0) if x < float32(-88.0) else x
    shifted = fma(clipped, float32(1.4426950408889634), float32(12582912.0 + 127.0))
    r = fma(shifted - float32(12582912.0 + 127.0), float32(-0.6931471805599453), clipped)
    p = fma(r, float32(0.0013814559894559861), float32(0.0083687355644324797))
    p = fma(r, p, float32(0.041668389859168726))
    p = fma(r, p, float32(0.16666520477724365))
    p = fma(r, p, float32(0.49999993437416170))
    p = fma(r, fma(r, p, float32(1.0)), float32(1.0))
    return p * f32_of_bits(int32(bits_of_f32(shifted) << int32(23)))


@scalar
def exp_flushed_f64(x):
    """`exp_f64` of an x of 0 or less where that is 2^-1022.5 or more, else 0; NaN kept."""
    y, n = exp_reduced_f64(float64(-709.0) if x < float64(-709.0) else x)
    return y * f64_of_bits(int64(int64(n + int64(1023)) << int64(52)))


@scalar
def quotient(x, divisor, reciprocal):
    """x / divisor within an ulp, 1 where the two are equal, given the reciprocal: two multiply-adds in place of a division.

    Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", IBM J. Res. Dev. 34 (1990),
    doi:10.1147/rd.341.0111.
    """
    y = x * reciprocal
    return fma(fma(-y, divisor, x), reciprocal, y)


@scalar
def mulhi64(a, b):
    """High 64 bits of the product of two uint64, from four 32-bit products."""
    mask = uint64(0xFFFFFFFF)
    a0, a1 = a & mask, a >> uint64(32)
    b0, b1 = b & mask, b >> uint64(32)
    middle = a1 * b0 + ((a0 * b0) >> uint64(32))
    cross = a0 * b1 + (middle & mask)
    return a1 * b1 + (middle >> uint64(32)) + (cross >> uint64(32))
