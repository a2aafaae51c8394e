// Attention over a cache in blocks of 16 positions, which rows may share: a block in the common prefix of several
// rows is read once for all of them (the idea of PagedAttention, Kwon et al., 2023, and of cascade attention).
//
// Positions are taken in chunks of 128; softmax is exact within a chunk, and chunks are merged in order. A query's
// result depends on its own position alone, not on the rest of the batch or the number of threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "vectors.h"

constexpr int BLOCK = 16;   // positions; keys are stored as [E, 16], values as [16, E]
constexpr int CHUNK = 128;  // positions
constexpr int QUERIES = 8;  // at a time

// Addresses of a head's keys and values of one block.
template <class T>
struct Blocks {
    const T* base;         // of this layer and head
    int64_t stride;        // from block to block
    int64_t values;        // from keys to values
    const T* at(int block) const { return base + block * stride; }
};

// Up to 8 queries of one or several tokens, all of one key head.
struct Queries {
    int n = 0, last = 0;               // last: the highest length
    const float* q[QUERIES];           // [E], scaled
    const int32_t* table[QUERIES];     // blocks of its row
    int first[QUERIES];                // the first position it may look at
    int length[QUERIES];               // one more than the last
    float* out[QUERIES];               // [E], then the maximum, then the sum
};

// Scores of 16 positions for N queries.
template <class T, int N>
inline void score(const T* keys, const Queries& a, int first, int E, float (*scores)[CHUNK], int place) {
    Floats sums[N];
    for (int n = 0; n < N; n++) sums[n] = _mm512_setzero_ps();
    for (int e = 0; e < E; e++) {
        const Floats k = load(keys + e * BLOCK);
        for (int n = 0; n < N; n++) sums[n] = fma(k, all(a.q[first + n][e]), sums[n]);
    }
    for (int n = 0; n < N; n++) store(&scores[first + n][place], sums[n]);
}

// Adds 16 positions' values, V x 16 of the head from e on, to N queries' outputs.
template <class T, int N, int V>
inline void collect(const T* values, const Queries& a, int first, int E, int e, float (*p)[CHUNK], int place) {
    Floats sums[N][V];
    for (int n = 0; n < N; n++)
        for (int v = 0; v < V; v++) sums[n][v] = load(a.out[first + n] + e + v * LANES);
    for (int i = 0; i < BLOCK; i++) {
        Floats x[V];
        for (int v = 0; v < V; v++) x[v] = load(values + i * E + e + v * LANES);
        for (int n = 0; n < N; n++)
            for (int v = 0; v < V; v++) sums[n][v] = fma(x[v], all(p[first + n][place + i]), sums[n][v]);
    }
    for (int n = 0; n < N; n++)
        for (int v = 0; v < V; v++) store(a.out[first + n] + e + v * LANES, sums[n][v]);
}

template <class T, int N>
inline void block_scores(const Blocks<T>& b, const Queries& a, int first, int block, int E, float (*s)[CHUNK], int at) {
    score<T, N>(b.at(block), a, first, E, s, at);
}

template <class T, int N>
inline void block_values(const Blocks<T>& b, const Queries& a, int first, int block, int E, float (*p)[CHUNK], int at) {
    const T* values = b.at(block) + b.values;
    int e = 0;
    for (; e + 2 * LANES <= E; e += 2 * LANES) collect<T, N, 2>(values, a, first, E, e, p, at);
    for (; e < E; e += LANES) collect<T, N, 1>(values, a, first, E, e, p, at);
}

// Calls f(constant N, first) so that n queries are covered.
template <class F>
inline void for_queries(int n, F f) {
    int i = 0;
    for (; i + 8 <= n; i += 8) f(std::integral_constant<int, 8>(), i);
    for (; i + 6 <= n; i += 6) f(std::integral_constant<int, 6>(), i);
    for (; i + 3 <= n; i += 3) f(std::integral_constant<int, 3>(), i);
    for (; i < n; i++) f(std::integral_constant<int, 1>(), i);
}

// For each block of the chunk: once for all queries where they share it, else query by query.
template <class T, class F>
inline void for_blocks(const Queries& a, int begin, F f) {
    const int end = std::min(begin + CHUNK, a.last);
    for (int at = begin; at < end; at += BLOCK) {
        const int b = at / BLOCK;
        bool shared = true;
        for (int n = 0; n < a.n; n++) shared &= at < a.length[n] && a.table[n][b] == a.table[0][b];
        if (shared)
            for_queries(a.n, [&](auto N, int first) { f(N, first, a.table[0][b], at - begin); });
        else
            for (int n = 0; n < a.n; n++)
                if (at < a.length[n]) f(std::integral_constant<int, 1>(), n, a.table[n][b], at - begin);
    }
}

// The chunk of positions from `begin` on: weighted values, maximum and sum of weights of every query.
template <class T>
void attend_chunk(const Blocks<T>& blocks, const Queries& a, int begin, int E, float cap) {
    alignas(64) float s[QUERIES][CHUNK];
    for_blocks<T>(a, begin, [&](auto N, int first, int block, int at) {
        block_scores<T, N>(blocks, a, first, block, E, s, at);
    });
    for (int n = 0; n < a.n; n++) {
        std::memset(a.out[n], 0, (E + 2) * sizeof(float));
        const int count = std::min(CHUNK, a.length[n] - begin);
        float peak = -INFINITY, total = 0;
        if (cap != 0)
            for (int i = 0; i < count; i += LANES) store(&s[n][i], capped(load(&s[n][i]), cap));
        for (int j = 0; begin + j < a.first[n]; j++) s[n][j] = -INFINITY;
        for (int i = 0; i < count; i += LANES) {
            if (count - i < LANES)
                for (int j = count; j < i + LANES; j++) s[n][j] = -INFINITY;
            const float top = _mm512_reduce_max_ps(load(&s[n][i]));
            peak = top > peak || std::isnan(top) ? top : peak;
        }
        for (int i = 0; i < count; i += LANES) {
            const Floats p = exponential(_mm512_sub_ps(load(&s[n][i]), all(peak)));
            store(&s[n][i], p);
            total += _mm512_reduce_add_ps(p);
        }
        a.out[n][E] = peak;
        a.out[n][E + 1] = total;
    }
    for_blocks<T>(a, begin, [&](auto N, int first, int block, int at) {
        block_values<T, N>(blocks, a, first, block, E, s, at);
    });
}

// parts [n, E + 2] -> out [E]: the chunks of one query put together.
inline void merge_chunks(const float* parts, int64_t stride, int n, int E, float* out) {
    float peak = -INFINITY, total = 0;
    for (int c = 0; c < n; c++) peak = std::max(peak, parts[c * stride + E]);
    std::memset(out, 0, E * sizeof(float));
    for (int c = 0; c < n; c++) {
        const float* part = parts + c * stride;
        const float weight = std::exp(part[E] - peak);
        total += weight * part[E + 1];
        for (int e = 0; e < E; e += LANES) store(out + e, fma(load(part + e), all(weight), load(out + e)));
    }
    for (int e = 0; e < E; e += LANES) store(out + e, _mm512_mul_ps(load(out + e), all(1.0f / total)));
}
