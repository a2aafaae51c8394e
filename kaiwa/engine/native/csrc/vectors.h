// Sixteen floats at a time (AVX-512). Products and sums are written as explicit fused operations, so that a row's result
// is the same bits whichever rows are computed beside it.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

using Floats = __m512;
using Ints = __m512i;
using bf16 = uint16_t;  // the upper half of an fp32

constexpr int LANES = 16;

inline Floats load(const float* p) { return _mm512_loadu_ps(p); }
inline Floats load(const bf16* p) {
    const Ints wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
inline Ints load_bits(const void* p) { return _mm512_loadu_si512(p); }
inline void store(float* p, Floats x) { _mm512_storeu_ps(p, x); }
inline Floats all(float x) { return _mm512_set1_ps(x); }
inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }

// Round to nearest, ties to even.
inline bf16 to_bf16(float x) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x, 4);
    return static_cast<bf16>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}
inline float to_float(bf16 x) {
    const uint32_t bits = static_cast<uint32_t>(x) << 16;
    float y;
    __builtin_memcpy(&y, &bits, 4);
    return y;
}
inline float to_float(float x) { return x; }
inline void put(float* p, float x) { *p = x; }
inline void put(bf16* p, float x) { *p = to_bf16(x); }

// e^x: 2^n e^r with |r| <= ln(2)/2, e^r by its series to r^7 (relative error below 1e-7). 0 below -104, NaN of NaN.
inline Floats exponential(Floats x) {
    x = _mm512_max_ps(all(-110.0f), x);  // of two of which one is NaN this takes the second
    const Floats n = _mm512_roundscale_ps(_mm512_mul_ps(x, all(1.44269504f)), 0);
    const Floats r = fma(n, all(2.12194440e-4f), fma(n, all(-0.693359375f), x));
    Floats y = all(1.0f / 5040);
    for (float c : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) y = fma(y, r, all(c));
    return _mm512_scalef_ps(y, n);
}

// cap x tanh(x / cap): tanh(z) = 1 - 2 / (e^2z + 1).
inline Floats capped(Floats x, float cap) {
    const Floats e = exponential(_mm512_mul_ps(x, all(2.0f / cap)));
    const Floats tanh = _mm512_sub_ps(all(1.0f), _mm512_div_ps(all(2.0f), _mm512_add_ps(e, all(1.0f))));
    return _mm512_mul_ps(tanh, all(cap));
}
