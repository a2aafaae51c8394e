// As many floats at a time as a register holds, in the compiler's own vector types: the same source for AVX-512, AVX2
// and others. And the shares that threads take.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));

inline Floats load(const float* p) {
    Floats x;
    std::memcpy(&x, p, sizeof x);
    return x;
}
inline void store(float* p, Floats x) { std::memcpy(p, &x, sizeof x); }
inline Floats all(float x) { return x - Floats{}; }
inline float sum(Floats x) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += x[i];
    return total;
}

// The first n of the lanes, the others 0; and back.
inline Floats load_some(const float* p, int n) {
    Floats x{};
    std::memcpy(&x, p, sizeof(float) * n);
    return x;
}
inline void store_some(float* p, Floats x, int n) { std::memcpy(p, &x, sizeof(float) * n); }

// f(i, n) for every LANES of `count` floats; n: how many there are from i on.
template <class F> inline void strides(int64_t count, F f) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) f(i, LANES);
    if (i < count) f(i, static_cast<int>(count - i));
}
inline Floats take(const float* p, int n) { return n == LANES ? load(p) : load_some(p, n); }
inline void put(float* p, Floats x, int n) { n == LANES ? store(p, x) : store_some(p, x, n); }

// e^x: 2^n e^r with |r| <= ln(2)/2, e^r by its series to r^7 (relative error about 1e-7). x is held within +-87.
inline Floats exponential(Floats x) {
    x = x < -87.0f ? all(-87.0f) : x;
    x = x > 87.0f ? all(87.0f) : x;  // NaN stays NaN
    const Floats n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;  // to the nearest whole number
    const Floats r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Floats y = all(1.0f / 5040);
    for (float c : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) y = y * r + c;
    const Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
    Floats scale;
    std::memcpy(&scale, &power, sizeof scale);
    return y * scale;
}

// work(first, last) on shares of `count` things. Results must not depend on how they are shared.
template <class F> void shared(int64_t count, int threads, F work) {
    const int n = static_cast<int>(std::min<int64_t>(threads, count));
    if (n <= 1) return work(static_cast<int64_t>(0), count);
    std::vector<std::thread> others;
    for (int i = 1; i < n; i++) others.emplace_back(work, count * i / n, count * (i + 1) / n);
    work(static_cast<int64_t>(0), count / n);
    for (auto& other : others) other.join();
}
