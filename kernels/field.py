"""The Gumbel field, version 1: (key, step, row id, column id) -> bits -> E -> G, a pure function.

One Philox call at (c0 = column >> 3, row low, row high, step << 2 | domain) serves eight neighbouring columns: column h of the
eight takes the 16-bit half-word h (word h >> 1, low half first).

    coarse = half-word h of domain 0          fine = half-word h of domain 1          b32 = coarse << 16 | fine
    float32   v = (b32 + 1/2) 2^-32, and where b32 < 256, once in 2^24, 32 bits more: v = (b32 2^32 + tail + 1/2) 2^-64
    float64   v = (b32 2^32 + tail + 1/2) 2^-64 always          tail = word h & 3 of domain 2 (h < 4) or 3 (h >= 4)
    E = -log1p(-v)      standard exponential
    G = -log(E)         standard Gumbel, from -3.13 (float32) or -3.81 (float64) to 65 ln 2 = 45.05

Small v is the winning side and keeps full relative precision. From v = 1/2 on, E is taken from the complement 1 - v, which is
also (integer + 1/2) 2^-32 or 2^-64 exactly, so that the other side keeps its precision too.
"""

from numpy import float32, float64, int32, int64, uint32, uint64

from .elementary import (
    MAX_F32,
    MAX_F64,
    bits_of_f32,
    bits_of_f64,
    f32_of_bits,
    f64_of_bits,
    fma,
    neglog1m_absolute_f32,
    neglog1m_absolute_f64,
    neglog1m_f32,
    neglog1m_f64,
)
from .jit import scalar
from .philox import COUNTER_UNIFORM, fold, philox4x32

# Column ids: c0 = 0xFFFFFFFE and 0xFFFFFFFF are taken by `fold` and by the uniform of the inverse CDF.
COLUMN_END = 2**35 - 16
STEP_BITS = 30

DOMAIN_COARSE = uint32(0)
DOMAIN_FINE = uint32(1)
DOMAIN_TAIL_LOW = uint32(2)
DOMAIN_TAIL_HIGH = uint32(3)

# Below this b32 the float32 field reads 32 bits more.
TAIL_BELOW = uint32(256)

HALF_F32 = int32(0x3F000000)  # bits of 1/2
HALF_F64 = int64(0x3FE0000000000000)
MANTISSA_F32 = int32(0x007FFFFF)
MANTISSA_F64 = int64(0x000FFFFFFFFFFFFF)

FOLD_STEP = uint32(1)
FOLD_SAMPLE = uint32(2)
FOLD_SPLIT = uint32(3)


@scalar
def counter_of_step(step, domain):
    """c3: the step's low 30 bits and the domain."""
    return uint32(uint32(uint32(step & int64(0x3FFFFFFF)) << uint32(2)) | domain)


@scalar
def key_of_step(k0, k1, step):
    """The key under which a step is read: folded once for steps of 2^30 and more (step >= 0)."""
    above = uint64(step >> int64(30))
    if above == uint64(0):
        return k0, k1
    return fold(k0, k1, above, FOLD_STEP)


@scalar
def address_of(k0, k1, step, row):
    """(k0, k1, c3, r0, r1): all of an address but the column; the step has been folded, c3 is that of domain 0."""
    k0, k1 = key_of_step(k0, k1, step)
    return k0, k1, counter_of_step(step, DOMAIN_COARSE), uint32(row), uint32(uint64(row) >> uint64(32))


@scalar
def half_word(h, w0, w1, w2, w3):
    """The 16-bit half-word h of four words, low half first, as uint32."""
    pair = uint32(h >> uint32(1))
    word = w0 if pair == uint32(0) else (w1 if pair == uint32(1) else (w2 if pair == uint32(2) else w3))
    return uint32(uint32(word >> uint32(uint32(h & uint32(1)) << uint32(4))) & uint32(0xFFFF))


@scalar
def field_b32(k0, k1, c3, r0, r1, column):
    """The 32 leading bits at one address; c3 is `counter_of_step` of domain 0, the key already that of the step."""
    c0 = uint32(column >> int64(3))
    h = uint32(column & int64(7))
    a0, a1, a2, a3 = philox4x32(c0, r0, r1, uint32(c3 | DOMAIN_COARSE), k0, k1)
    b0, b1, b2, b3 = philox4x32(c0, r0, r1, uint32(c3 | DOMAIN_FINE), k0, k1)
    return uint32(uint32(half_word(h, a0, a1, a2, a3) << uint32(16)) | half_word(h, b0, b1, b2, b3))


@scalar
def field_tail(k0, k1, c3, r0, r1, column):
    """The 32 bits below `field_b32` at the same address."""
    c0 = uint32(column >> int64(3))
    h = uint32(column & int64(7))
    domain = DOMAIN_TAIL_LOW if h < uint32(4) else DOMAIN_TAIL_HIGH
    w0, w1, w2, w3 = philox4x32(c0, r0, r1, uint32(c3 | domain), k0, k1)
    word = uint32(h & uint32(3))
    return w0 if word == uint32(0) else (w1 if word == uint32(1) else (w2 if word == uint32(2) else w3))


@scalar
def exponential_f32(b32):
    """E in float32 from the 32 leading bits alone: the value of the field wherever b32 >= 256.

    Within 1.88 ulp of -log1p(-(b32 + 1/2) 2^-32), over all 2^32 words.
    """
    upper = int32(int32(b32) >> int32(31))  # all ones from v = 1/2 on, where the complement is used
    x = fma(float32(int32(int32(b32) ^ upper)), float32(2.0**-32), float32(2.0**-33))
    bits = bits_of_f32(x)
    e = int32(int32(bits - HALF_F32) >> int32(23))
    m = f32_of_bits(int32(int32(bits & MANTISSA_F32) | HALF_F32))  # x = m 2^e with m in [1/2, 1)
    g = float32(1.0) - m if upper != int32(0) else x
    return neglog1m_f32(g, float32(int32(e & upper)))


@scalar
def exponential_tail_f32(b32, tail):
    """E in float32 where b32 < 256, from all 64 bits; within 1.00 ulp.

    v is below 2^-24 here, so that two terms of the series, v + v^2 / 2, are enough.
    """
    whole = (uint64(b32) << uint64(32)) | uint64(tail)
    v = float32(float64(int64(whole)) + float64(0.5)) * float32(2.0**-64)
    return fma(v * v, float32(0.5), v)


@scalar
def exponential_f64(whole):
    """E in float64 from 64 bits: within 1.53 ulp of -log1p(-(whole + 1/2) 2^-64)."""
    upper = int64(int64(whole) >> int64(63))
    x = fma(float64(int64(int64(whole) ^ upper)), float64(2.0**-64), float64(2.0**-65))
    bits = bits_of_f64(x)
    e = int64(int64(bits - HALF_F64) >> int64(52))
    m = f64_of_bits(int64(int64(bits & MANTISSA_F64) | HALF_F64))
    g = float64(1.0) - m if upper != int64(0) else x
    return neglog1m_f64(g, float64(int64(e & upper)))


@scalar
def gumbel_of_exponential_f32(exponential):
    """G = -log(E) in float32, for E from 2^-65 to 22.9; within 0.45 * 2^-21 max(1, |G|) of the true value of the field.

    The exponent's part is added last, so that the error is absolute: G crosses zero at E = 1.
    """
    bits = bits_of_f32(exponential)
    e = int32(int32(bits - HALF_F32) >> int32(23))
    m = f32_of_bits(int32(int32(bits & MANTISSA_F32) | HALF_F32))
    return neglog1m_absolute_f32(float32(1.0) - m, float32(e))


@scalar
def gumbel_of_exponential_f64(exponential):
    """G = -log(E) in float64, for E from 2^-65 to 44.4; within 0.38 * 2^-50 max(1, |G|) of the true value of the field."""
    bits = bits_of_f64(exponential)
    e = int64(int64(bits - HALF_F64) >> int64(52))
    m = f64_of_bits(int64(int64(bits & MANTISSA_F64) | HALF_F64))
    return neglog1m_absolute_f64(float64(1.0) - m, float64(e))


@scalar
def bits_at(k0, k1, step, row, column):
    """(b32, tail) at an address, every step and row id: the 64 bits of the field there.

    Parameters
    ----------
    k0, k1 : uint32
        Key words.
    step : int64
        Draw counter, 0 or more; from 2^30 on the key is folded.
    row : int64
        Row id, two's complement.
    column : int64
        Column id, 0 <= column < 2^35 - 16.
    """
    k0, k1, c3, r0, r1 = address_of(k0, k1, step, row)
    return field_b32(k0, k1, c3, r0, r1, column), field_tail(k0, k1, c3, r0, r1, column)


@scalar
def exponential_of_f32(k0, k1, c3, r0, r1, column):
    """E in float32 at an address as `address_of` gives it, and a column."""
    b32 = field_b32(k0, k1, c3, r0, r1, column)
    if b32 < TAIL_BELOW:
        return exponential_tail_f32(b32, field_tail(k0, k1, c3, r0, r1, column))
    return exponential_f32(b32)


@scalar
def exponential_of_f64(k0, k1, c3, r0, r1, column):
    """E in float64 at an address as `address_of` gives it, and a column."""
    b32 = field_b32(k0, k1, c3, r0, r1, column)
    tail = field_tail(k0, k1, c3, r0, r1, column)
    return exponential_f64((uint64(b32) << uint64(32)) | uint64(tail))


@scalar
def exponential_at_f32(k0, k1, step, row, column):
    """E in float32 at an address; arguments as in `bits_at`."""
    k0, k1, c3, r0, r1 = address_of(k0, k1, step, row)
    return exponential_of_f32(k0, k1, c3, r0, r1, column)


@scalar
def exponential_at_f64(k0, k1, step, row, column):
    """E in float64 at an address; arguments as in `bits_at`."""
    k0, k1, c3, r0, r1 = address_of(k0, k1, step, row)
    return exponential_of_f64(k0, k1, c3, r0, r1, column)


@scalar
def gumbel_at_f32(k0, k1, step, row, column):
    """G in float32 at an address; arguments as in `bits_at`."""
    return gumbel_of_exponential_f32(exponential_at_f32(k0, k1, step, row, column))


@scalar
def gumbel_at_f64(k0, k1, step, row, column):
    """G in float64 at an address; arguments as in `bits_at`."""
    return gumbel_of_exponential_f64(exponential_at_f64(k0, k1, step, row, column))


@scalar
def uniform_bits_at(k0, k1, step, row):
    """The 64 bits of one row's uniform, for the inverse CDF: word 1 above word 0 at a counter no column reaches."""
    k0, k1, c3, r0, r1 = address_of(k0, k1, step, row)
    w0, w1, _w2, _w3 = philox4x32(COUNTER_UNIFORM, r0, r1, c3, k0, k1)
    return (uint64(w1) << uint64(32)) | uint64(w0)


@scalar
def score_f32(logit, inverse_temperature, gumbel):
    """logit / T + G in float32: one fused multiply-add, kept finite for a finite logit, so that none counts as excluded."""
    s = fma(logit, inverse_temperature, gumbel)
    s = MAX_F32 if s > MAX_F32 else s
    s = -MAX_F32 if s < -MAX_F32 else s
    return s if abs(logit) <= MAX_F32 else logit


@scalar
def score_f64(logit, inverse_temperature, gumbel):
    """logit / T + G in float64; see `score_f32`."""
    s = fma(logit, inverse_temperature, gumbel)
    s = MAX_F64 if s > MAX_F64 else s
    s = -MAX_F64 if s < -MAX_F64 else s
    return s if abs(logit) <= MAX_F64 else logit
