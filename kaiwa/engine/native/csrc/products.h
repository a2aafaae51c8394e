// y = W x for a few rows or many, one strip of 16 outputs at a time: one lane for each output, so that nothing is summed
// across lanes and every row is computed in the same order, however many rows there are.
//
// 4- and 8-bit weights are multiplied with 16-bit activations (a scale for each 32 of them: finer than bf16) and summed
// exactly in integers, 32 at a time: one instruction for 32 products, where fp32 needs two.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "vectors.h"

constexpr int GROUP = 32;  // inputs that share an activation scale
constexpr int TILE = 8;    // rows at a time

enum Kind : int64_t { FP32 = 0, BF16 = 1, INT4 = 2, INT8 = 3 };

// data, by kind: FP32, BF16 [strip, in, 16]; INT4 [strip, in/32, 4, 16 words], a word has inputs 0 2 4 6 1 3 5 7 of its
// eight from the lowest nibble on; INT8 [strip, in/2, 16, 2].
// scales: INT4 bf16 [strip, in/group, 2, 16] (scale, zero: w = scale (code - 8) + zero); INT8 fp32 [strip, 16].
struct Linear {
    int64_t kind, in, out, group;
    const void* data;
    const void* scales;
    const float* bias;     // [strips x 16] or null
    const int32_t* order;  // INT4: which input each column of the weight belongs to, or null where they are in order

    int strips() const { return static_cast<int>((out + LANES - 1) / LANES); }
};

// Rows of activations as the products read them.
struct Inputs {
    std::vector<float> x;        // [rows, width]
    std::vector<int16_t> codes;  // [rows, width]
    std::vector<float> scale;    // [rows, width/32]
    std::vector<float> sum;      // of a group's values, [rows, width/32]
    std::vector<int32_t> start;  // -8 x the sum of a group's codes, [rows, width/32]
    std::vector<float> low;      // thin products of the rows' adapters, [rows, rank]
    int width = 0;

    void resize(int rows, int w) {
        width = w;
        const size_t n = static_cast<size_t>(rows) * w, g = static_cast<size_t>(rows) * (w / GROUP + 1);
        if (x.size() < n) x.resize(n), codes.resize(n);
        if (scale.size() < g) scale.resize(g), sum.resize(g), start.resize(g);
    }
    float* row(int r) { return x.data() + static_cast<size_t>(r) * width; }

    // A row's values in the order of the weight's columns.
    void arrange(int r, const int32_t* order) {
        static thread_local std::vector<float> copy;
        float* values = row(r);
        copy.assign(values, values + width);
        for (int i = 0; i < width; i++) values[i] = copy[order[i]];
    }

    // From a row's fp32 values to its codes.
    void encode(int r) {
        const int groups = width / GROUP;
        for (int g = 0; g < groups; g++) {
            const size_t at = static_cast<size_t>(r) * width + g * GROUP, to = static_cast<size_t>(r) * groups + g;
            const Floats a = load(&x[at]), b = load(&x[at + LANES]);
            const float peak = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
            const Floats up = all(peak > 0 ? 32767.0f / peak : 0.0f);
            const Ints i = _mm512_cvtps_epi32(_mm512_mul_ps(a, up)), j = _mm512_cvtps_epi32(_mm512_mul_ps(b, up));
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(&codes[at]), _mm512_cvtsepi32_epi16(i));
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(&codes[at + LANES]), _mm512_cvtsepi32_epi16(j));
            const int total = _mm512_reduce_add_epi32(_mm512_add_epi32(i, j));
            // Damaged values must stay damaged: an integer cannot be NaN, the scale can.
            const bool sound = std::isfinite(peak) && !_mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q);
            scale[to] = sound ? peak / 32767.0f : NAN;
            sum[to] = scale[to] * static_cast<float>(total);
            start[to] = -8 * total;
        }
    }
};

// Prefetches the weights of a few pages later: the processor's own prefetcher stops at every page, and with few rows
// memory is the bottleneck. Prefetching beyond the last weight has no effect.
constexpr int AHEAD = 8192;
inline void ask_ahead(const uint8_t* weights, int bytes) {
    for (int i = 0; i < bytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(weights + AHEAD + i), _MM_HINT_T0);
}

// What a group's exact sums add to R rows: scale x sum + zero x the sum of the row's values.
template <int R>
inline void add_group(const bf16* pair, const Inputs& a, size_t first, int groups, const Ints* sums, Floats* out) {
    const Floats scale = load(pair), zero = load(pair + LANES);
    for (int r = 0; r < R; r++) {
        const size_t at = first + static_cast<size_t>(r) * groups;
        out[r] = fma(_mm512_mul_ps(scale, all(a.scale[at])), _mm512_cvtepi32_ps(sums[r]), out[r]);
        out[r] = fma(zero, all(a.sum[at]), out[r]);
    }
}

template <int R>
inline void strip_int4(const Linear& w, const Inputs& a, int row, int strip, Floats* out) {
    constexpr int SUMS = R > 1 ? 1 : 4;  // side by side: additions to one sum depend on each other
    const int groups = static_cast<int>(w.in / GROUP), per = static_cast<int>(w.group / GROUP);
    const auto* data = static_cast<const uint8_t*>(w.data) + static_cast<size_t>(strip) * groups * 256;
    const auto* pairs = static_cast<const bf16*>(w.scales) + static_cast<size_t>(strip) * (groups / per) * 2 * LANES;
    const Ints nibbles = _mm512_set1_epi32(0x000F000F);
    const size_t first = static_cast<size_t>(row) * groups;
    for (int r = 0; r < R; r++) out[r] = _mm512_setzero_ps();
    for (int g = 0; g < groups; g++) {
        ask_ahead(data + g * 256, 256);
        Ints sums[R * SUMS];
        for (int r = 0; r < R; r++) sums[r] = _mm512_set1_epi32(a.start[first + static_cast<size_t>(r) * groups + g]);
        for (int i = R; i < R * SUMS; i++) sums[i] = _mm512_setzero_si512();
        const int16_t* x = &a.codes[static_cast<size_t>(row) * w.in + g * GROUP];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            const Ints word = load_bits(data + g * 256 + j * 64);
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) {
                const Ints two = _mm512_and_si512(_mm512_srli_epi32(word, 4 * k), nibbles);
#pragma GCC unroll 8
                for (int r = 0; r < R; r++) {
                    int32_t both;
                    __builtin_memcpy(&both, x + static_cast<size_t>(r) * w.in + 8 * j + 2 * k, 4);
                    Ints& sum = sums[r + j % SUMS];
                    sum = _mm512_dpwssd_epi32(sum, two, _mm512_set1_epi32(both));
                }
            }
        }
        for (int i = R; i < R * SUMS; i++) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
        add_group<R>(pairs + g / per * 2 * LANES, a, first + g, groups, sums, out);
    }
}

template <int R>
inline void strip_int8(const Linear& w, const Inputs& a, int row, int strip, Floats* out) {
    const int groups = static_cast<int>(w.in / GROUP);
    const auto* data = static_cast<const uint8_t*>(w.data) + static_cast<size_t>(strip) * w.in * LANES;
    for (int r = 0; r < R; r++) out[r] = _mm512_setzero_ps();
    for (int g = 0; g < groups; g++) {
        ask_ahead(data + g * GROUP * LANES, GROUP * LANES);
        Ints sums[R];
        for (int r = 0; r < R; r++) sums[r] = _mm512_setzero_si512();
        const int16_t* x = &a.codes[static_cast<size_t>(row) * w.in + g * GROUP];
#pragma GCC unroll 16
        for (int j = 0; j < GROUP / 2; j++) {
            const auto* bytes = reinterpret_cast<const __m256i*>(data + (g * GROUP / 2 + j) * 2 * LANES);
            const Ints two = _mm512_cvtepi8_epi16(_mm256_loadu_si256(bytes));
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
                int32_t both;
                __builtin_memcpy(&both, x + static_cast<size_t>(r) * w.in + 2 * j, 4);
                sums[r] = _mm512_dpwssd_epi32(sums[r], two, _mm512_set1_epi32(both));
            }
        }
        for (int r = 0; r < R; r++) {
            const Floats scale = all(a.scale[static_cast<size_t>(row + r) * groups + g]);
            out[r] = fma(scale, _mm512_cvtepi32_ps(sums[r]), out[r]);
        }
    }
    const Floats scales = load(static_cast<const float*>(w.scales) + strip * LANES);
    for (int r = 0; r < R; r++) out[r] = _mm512_mul_ps(out[r], scales);
}

template <int R, class T>
inline void strip_dense(const Linear& w, const Inputs& a, int row, int strip, Floats* out) {
    const T* data = static_cast<const T*>(w.data) + static_cast<size_t>(strip) * w.in * LANES;
    const float* x = &a.x[static_cast<size_t>(row) * w.in];
    Floats odd[R];
    for (int r = 0; r < R; r++) out[r] = odd[r] = _mm512_setzero_ps();
    int64_t i = 0;
    for (; i + 1 < w.in; i += 2) {
        if (R <= 2) ask_ahead(reinterpret_cast<const uint8_t*>(data + i * LANES), 2 * LANES * sizeof(T));
        const Floats even_weights = load(data + i * LANES), odd_weights = load(data + (i + 1) * LANES);
        for (int r = 0; r < R; r++) {
            out[r] = fma(even_weights, all(x[r * w.in + i]), out[r]);
            odd[r] = fma(odd_weights, all(x[r * w.in + i + 1]), odd[r]);
        }
    }
    for (; i < w.in; i++)
        for (int r = 0; r < R; r++) out[r] = fma(load(data + i * LANES), all(x[r * w.in + i]), out[r]);
    for (int r = 0; r < R; r++) out[r] = _mm512_add_ps(out[r], odd[r]);
}

// One strip for R rows -> out [R].
template <int R>
inline void strip_product(const Linear& w, const Inputs& a, int row, int strip, Floats* out) {
    switch (w.kind) {
        case FP32: strip_dense<R, float>(w, a, row, strip, out); break;
        case BF16: strip_dense<R, bf16>(w, a, row, strip, out); break;
        case INT4: strip_int4<R>(w, a, row, strip, out); break;
        default: strip_int8<R>(w, a, row, strip, out);
    }
    if (w.bias)
        for (int r = 0; r < R; r++) out[r] = _mm512_add_ps(out[r], load(w.bias + strip * LANES));
}

inline Ints all_bits(int x) { return _mm512_set1_epi32(x); }

// Nibbles 0, 2, 4 and 6 of each word, in its lower half.
inline Ints every_other_nibble(Ints word) {
    word = _mm512_and_si512(word, all_bits(0x0F0F0F0F));
    word = _mm512_and_si512(_mm512_or_si512(word, _mm512_srli_epi32(word, 4)), all_bits(0x00FF00FF));
    return _mm512_and_si512(_mm512_or_si512(word, _mm512_srli_epi32(word, 8)), all_bits(0xFFFF));
}

// The codes of a strip, two inputs a lane as the products read them: [in/2] words of 16 lanes.
inline void spread_int4(const Linear& w, int strip, Ints* to) {
    const auto* data = static_cast<const uint8_t*>(w.data) + static_cast<size_t>(strip) * w.in * LANES / 2;
    const Ints nibbles = _mm512_set1_epi32(0x000F000F);
    for (int64_t eight = 0; eight < w.in / 8; eight++) {
        const Ints word = load_bits(data + eight * 64);
        for (int k = 0; k < 4; k++) to[4 * eight + k] = _mm512_and_si512(_mm512_srli_epi32(word, 4 * k), nibbles);
    }
}

// Two strips for R rows -> y, z [R]. `codes`: of both, spread. A value of the activations is fetched once for both.
template <int R>
inline void pair_int4(const Linear& w, const Ints* codes, const Inputs& a, int row, int one, int two, Floats* y, Floats* z) {
    const int groups = static_cast<int>(w.in / GROUP), per = static_cast<int>(w.group / GROUP);
    const size_t scales = static_cast<size_t>(groups / per) * 2 * LANES, first = static_cast<size_t>(row) * groups;
    const auto* pairs = static_cast<const bf16*>(w.scales);
    for (int r = 0; r < R; r++) y[r] = z[r] = _mm512_setzero_ps();
    for (int g = 0; g < groups; g++) {
        Ints sums[R], more[R];
        for (int r = 0; r < R; r++)
            sums[r] = more[r] = _mm512_set1_epi32(a.start[first + static_cast<size_t>(r) * groups + g]);
        const int16_t* x = &a.codes[static_cast<size_t>(row) * w.in + g * GROUP];
        const Ints* left = codes + g * GROUP / 2;
        const Ints* right = left + w.in / 2;
#pragma GCC unroll 4
        for (int j = 0; j < GROUP / 2; j++) {
            const Ints a_two = left[j], b_two = right[j];
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
                int32_t both;
                __builtin_memcpy(&both, x + static_cast<size_t>(r) * w.in + 2 * j, 4);
                const Ints value = _mm512_set1_epi32(both);
                sums[r] = _mm512_dpwssd_epi32(sums[r], a_two, value);
                more[r] = _mm512_dpwssd_epi32(more[r], b_two, value);
            }
        }
        add_group<R>(pairs + one * scales + g / per * 2 * LANES, a, first + g, groups, sums, y);
        add_group<R>(pairs + two * scales + g / per * 2 * LANES, a, first + g, groups, more, z);
    }
    if (w.bias)
        for (int r = 0; r < R; r++) {
            y[r] = _mm512_add_ps(y[r], load(w.bias + one * LANES));
            z[r] = _mm512_add_ps(z[r], load(w.bias + two * LANES));
        }
}

// GPTQ's words [in/8, out], eight inputs a word from the lowest nibble on, as the INT4 data of whole strips. order: as in
// Linear, or null. Row by row of a few strips: the words of a row are neighbours, those of a strip are far apart.
inline void repack_gptq(const uint32_t* words, int64_t in, int64_t out, const int32_t* order, int64_t first_strip,
                        int64_t strips, uint32_t* data) {
    constexpr int64_t TOGETHER = 16;
    constexpr int place[8] = {0, 4, 1, 5, 2, 6, 3, 7};  // the nibble that input i of eight goes to
    for (int64_t from = 0; from < strips; from += TOGETHER)
        for (int64_t eight = 0; eight < in / 8; eight++)
            for (int64_t s = from; s < std::min(from + TOGETHER, strips); s++) {
                const uint32_t* column = words + (first_strip + s) * LANES;
                Ints made = _mm512_setzero_si512();
                if (order)
                    for (int i = 0; i < 8; i++) {
                        const int64_t input = order[eight * 8 + i];
                        const Ints word = _mm512_srli_epi32(load_bits(column + input / 8 * out), 4 * (input % 8));
                        made = _mm512_or_si512(made, _mm512_slli_epi32(_mm512_and_si512(word, all_bits(15)), 4 * place[i]));
                    }
                else {
                    const Ints word = load_bits(column + eight * out);
                    made = _mm512_or_si512(every_other_nibble(word),
                                           _mm512_slli_epi32(every_other_nibble(_mm512_srli_epi32(word, 4)), 16));
                }
                _mm512_storeu_si512(data + (s * (in / 8) + eight) * LANES, made);
            }
}

// Calls tile(R, row) for tiles that cover `rows` rows; R is a constant of its type.
template <class Tile>
inline void for_tiles(int rows, Tile tile) {
    int row = 0;
    for (; row + 8 <= rows; row += 8) tile(std::integral_constant<int, 8>(), row);
    if (row + 4 <= rows) tile(std::integral_constant<int, 4>(), row), row += 4;
    if (row + 2 <= rows) tile(std::integral_constant<int, 2>(), row), row += 2;
    if (row < rows) tile(std::integral_constant<int, 1>(), row);
}

constexpr int MANY = 24;  // rows from which codes are spread once for all of them
constexpr int PAIRED = 8;  // rows at a time then

// Two strips for `rows` rows: use(R, row, y, z) for tiles that cover them. How many rows there are changes no bit.
template <class Use>
inline void two_strips(const Linear& w, const Inputs& a, int rows, int one, int two, Use use) {
    int row = 0;
    if (w.kind == INT4 && rows >= MANY) {
        static thread_local std::vector<Ints> codes;
        codes.resize(w.in);
        spread_int4(w, one, codes.data());
        spread_int4(w, two, codes.data() + w.in / 2);
        for (; row + PAIRED <= rows; row += PAIRED) {
            Floats y[PAIRED], z[PAIRED];
            pair_int4<PAIRED>(w, codes.data(), a, row, one, two, y, z);
            use(std::integral_constant<int, PAIRED>(), row, y, z);
        }
    }
    for_tiles(rows - row, [&](auto R, int more) {
        Floats y[R], z[R];
        strip_product<R>(w, a, row + more, one, y);
        strip_product<R>(w, a, row + more, two, z);
        use(R, row + more, y, z);
    });
}
