/* A GPU of one multiprocessor on the host: what driver.c, threads.c and the C of translated kernels (translate.py) share. */
#ifndef GPU_H
#define GPU_H

#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

enum { WARP = 32, MOST_THREADS = 1024, SHARED_BYTES = 232448 };

typedef struct Thread Thread;
typedef void (*Kernel)(Thread *, void **);

struct Thread {
    uint32_t tid[3], ctaid[3], ntid[3], nctaid[3], lane;
    unsigned char *shared;
    int state, warp, number, place; /* place: line of the PTX that it waits at */
    jmp_buf here;
};

/* Address of n bytes in memory that exists, of a multiple of n; ends the launch otherwise. */
void *mem(Thread *, uint64_t address, unsigned n, int place);
void *shared_mem(Thread *, uint64_t address, unsigned n, int place);
void barrier(Thread *, int place);
/* What all lanes of `mask` bring together; every lane of it must come to the same place. */
enum { SYNC, SHFL_IDX, SHFL_UP, SHFL_DOWN, SHFL_BFLY, BALLOT };
uint32_t meet(Thread *, int what, uint32_t mask, uint32_t value, uint32_t with, uint32_t clamp, int *valid, int place);
/* Ends the launch with an error code of the driver. */
void fault(Thread *, int code, const char *what, int place);

/* Bits of numbers, as PTX moves them. */
static inline uint32_t bits_f32(float x) { uint32_t b; memcpy(&b, &x, 4); return b; }
static inline float f32_bits(uint32_t b) { float x; memcpy(&x, &b, 4); return x; }
static inline uint64_t bits_f64(double x) { uint64_t b; memcpy(&b, &x, 8); return b; }
static inline double f64_bits(uint64_t b) { double x; memcpy(&x, &b, 8); return x; }
static inline uint16_t bits_f16(_Float16 x) { uint16_t b; memcpy(&b, &x, 2); return b; }
static inline _Float16 f16_bits(uint16_t b) { _Float16 x; memcpy(&x, &b, 2); return x; }

/* Shifts by the width or more leave nothing, or the sign. */
#define SHIFTS(N)                                                                                                    \
    static inline uint##N##_t shl##N(uint##N##_t a, uint32_t n) { return n >= N ? 0 : (uint##N##_t)(a << n); }       \
    static inline uint##N##_t shr_u##N(uint##N##_t a, uint32_t n) { return n >= N ? 0 : (uint##N##_t)(a >> n); }     \
    static inline uint##N##_t shr_s##N(uint##N##_t a, uint32_t n) {                                                  \
        return (uint##N##_t)((int##N##_t)a >> (n >= N ? N - 1 : n));                                                 \
    }
SHIFTS(16)
SHIFTS(32)
SHIFTS(64)

/* Divisions by zero give all ones, as on the device; the one overflow wraps. */
#define DIVISIONS(N)                                                                                                 \
    static inline uint##N##_t div_u##N(uint##N##_t a, uint##N##_t b) { return b ? a / b : (uint##N##_t)-1; }         \
    static inline uint##N##_t rem_u##N(uint##N##_t a, uint##N##_t b) { return b ? a % b : a; }                       \
    static inline uint##N##_t div_s##N(uint##N##_t a, uint##N##_t b) {                                               \
        return !b ? (uint##N##_t)-1 : (int##N##_t)b == -1 ? (uint##N##_t)-a : (uint##N##_t)((int##N##_t)a / (int##N##_t)b); \
    }                                                                                                                \
    static inline uint##N##_t rem_s##N(uint##N##_t a, uint##N##_t b) {                                               \
        return !b ? a : (int##N##_t)b == -1 ? 0 : (uint##N##_t)((int##N##_t)a % (int##N##_t)b);                      \
    }
DIVISIONS(32)
DIVISIONS(64)

/* Real to whole numbers: towards zero, clamped, NaN to 0 (or to the sign bit alone where 64 bits are wanted). */
static inline int64_t s64_of(double x) {
    return x != x ? INT64_MIN : x <= -0x1p63 ? INT64_MIN : x >= 0x1p63 ? INT64_MAX : (int64_t)x;
}
static inline uint64_t u64_of(double x) {
    return x != x ? (uint64_t)1 << 63 : x <= 0 ? 0 : x >= 0x1p64 ? UINT64_MAX : (uint64_t)x;
}
static inline int32_t s32_of(double x) { return x != x ? 0 : x <= -0x1p31 ? INT32_MIN : x >= 0x1p31 ? INT32_MAX : (int32_t)x; }
static inline uint32_t u32_of(double x) { return x != x ? 0 : x <= 0 ? 0 : x >= 0x1p32 ? UINT32_MAX : (uint32_t)x; }

/* A unit's approximation of a number, off by as much as the PTX ISA allows, up or down by chance: what relies on more fails. */
static inline float approximated(double exact, float argument, double error) {
    uint32_t b = bits_f32(argument) * 2654435761u;
    if (exact != exact || exact - exact != 0 || exact == 1) return exact;
    float x = (float)(exact * (1 + ((b >> 16 & 1) ? error : -error)));
    return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}
static inline float ex2_ftz(float x) { return approximated(exp2(x), x, 0x1.6a09e6p-23); } /* 2^-22.5 */
static inline float rcp_ftz(float x) { return approximated(1 / (double)x, x, 0x1p-23); }

static inline uint32_t prmt(uint32_t a, uint32_t b, uint32_t selector) {
    uint64_t both = (uint64_t)b << 32 | a;
    uint32_t result = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t s = selector >> 4 * i & 15, byte = both >> 8 * (s & 7) & 255;
        result |= (s & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;
    }
    return result;
}
#define FIELDS(N)                                                                                                    \
    static inline uint##N##_t bfi##N(uint##N##_t a, uint##N##_t b, uint32_t at, uint32_t n) {                        \
        uint##N##_t ones = shl##N(n >= N ? (uint##N##_t)-1 : (uint##N##_t)(((uint##N##_t)1 << n) - 1), at);          \
        return (b & ~ones) | (shl##N(a, at) & ones);                                                                 \
    }                                                                                                                \
    static inline uint##N##_t bfe_u##N(uint##N##_t a, uint32_t at, uint32_t n) {                                     \
        return shr_u##N(a, at) & (n >= N ? (uint##N##_t)-1 : (uint##N##_t)(((uint##N##_t)1 << n) - 1));              \
    }
FIELDS(32)
FIELDS(64)
static inline uint32_t shf_l(uint32_t a, uint32_t b, uint32_t n) { n &= 31; return n ? b << n | a >> (32 - n) : b; }
static inline uint32_t shf_r(uint32_t a, uint32_t b, uint32_t n) { n &= 31; return n ? b << (32 - n) | a >> n : a; }
static inline uint32_t brev32(uint32_t a) {
    uint32_t result = 0;
    for (int i = 0; i < 32; i++) result |= (a >> i & 1) << (31 - i);
    return result;
}

#endif
