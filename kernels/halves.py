"""float16 and bfloat16 to float32 and back, in integers and a sum or none: any CPU will do, also one without F16C.

A half is the low 16 bits of a uint32. To float32 is exact, subnormal halves included. Back, a number is rounded once, to the
nearest half and to the even one of two; beyond the range it becomes infinite, and a NaN stays one.

float16 is often widened as its bits times 2^112, which makes subnormal float32 numbers on the way: a product of those takes a
processor from Intel 30 times as long, and small probabilities are such halves; with denormals-are-zero, as other libraries
leave it, they would be lost. The rounding is Giesen's (float_to_half_fast3_rtne, https://gist.github.com/rygorous/2156668).
"""

from numpy import float32, int32, uint32

from .elementary import bits_of_f32, f32_of_bits
from .jit import scalar

INF_F16 = int32(0x7C00)
SMALLEST_NORMAL_F16 = int32(0x0400)
BIAS_F16 = int32(112 << 23)  # how far the exponents of float16 and float32 are apart, in bits of a float32
SMALLEST_NORMAL = int32(113 << 23)  # of float16, 2^-14, in bits of a float32
OVERFLOW = int32(143 << 23)  # 2^16 in bits of a float32: from here on infinite without any rounding
INF = int32(255 << 23)
MAGNITUDE = int32(0x7FFFFFFF)


@scalar
def f32_of_f16(half):
    """The float32 of the same value. IN uint32, of which the low 16 bits are a float16."""
    magnitude = int32(int32(half) & int32(0x7FFF))
    normal = int32(int32(magnitude << int32(13)) + BIAS_F16)
    # A subnormal half as the fraction of a number of 2^-14 on, which then goes off again.
    small = f32_of_bits(int32(normal + int32(1 << 23))) - f32_of_bits(SMALLEST_NORMAL)
    bits = normal if magnitude >= SMALLEST_NORMAL_F16 else bits_of_f32(small)
    bits = int32(bits + (BIAS_F16 if magnitude >= INF_F16 else int32(0)))
    return f32_of_bits(int32(bits | int32(uint32(uint32(half & uint32(0x8000)) << uint32(16)))))


@scalar
def f32_of_bf16(half):
    """The float32 of the same value. IN uint32, of which the low 16 bits are a bfloat16."""
    return f32_of_bits(int32(uint32(half << uint32(16))))


@scalar
def f16_of_f32(x):
    """The nearest float16, as the low 16 bits of a uint32."""
    bits = bits_of_f32(x)
    magnitude = int32(bits & MAGNITUDE)
    # Normal: the last place kept decides which way a tie goes.
    odd = int32(int32(magnitude >> int32(13)) & int32(1))
    normal = int32(int32(int32(magnitude - BIAS_F16) + int32(0xFFF + odd)) >> int32(13))
    # Subnormal: added to 1/2, whose last place is that of the smallest halves, the number is rounded by the addition.
    small = int32(bits_of_f32(f32_of_bits(magnitude) + float32(0.5)) - int32(126 << 23))
    half = normal if magnitude >= SMALLEST_NORMAL else small
    half = INF_F16 if magnitude >= OVERFLOW else half
    half = int32(INF_F16 | int32(0x0200)) if magnitude > INF else half
    return uint32(uint32(half) | uint32(uint32(uint32(bits) >> uint32(16)) & uint32(0x8000)))


@scalar
def bf16_of_f32(x):
    """The nearest bfloat16, as the low 16 bits of a uint32."""
    bits = uint32(bits_of_f32(x))
    odd = uint32(uint32(bits >> uint32(16)) & uint32(1))
    nearest = uint32(uint32(bits + uint32(uint32(0x7FFF) + odd)) >> uint32(16))
    quiet = uint32(uint32(bits >> uint32(16)) | uint32(0x0040))
    return quiet if int32(int32(bits) & MAGNITUDE) > INF else nearest
