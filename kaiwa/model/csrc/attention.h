// Causal attention within documents, forward and backward, in the order of memory: scores of a few queries at a time,
// never all of them; keys behind a query are not computed.
#pragma once

#include "lanes.h"

// C [m, n] (+)= sum over k of A(m, k) B[k, n]; A by strides, rows of B and C lie in one piece.
template <int M, int N>
inline void tile(int64_t depth, const float* a, int64_t am, int64_t ak, const float* b, int64_t ldb, float* c,
                 int64_t ldc, bool add) {
    Floats sums[M][N];
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) sums[i][j] = add ? load(c + i * ldc + j * LANES) : Floats{};
    for (int64_t k = 0; k < depth; k++) {
        Floats row[N];
        for (int j = 0; j < N; j++) row[j] = load(b + k * ldb + j * LANES);
        for (int i = 0; i < M; i++) {
            const Floats x = all(a[i * am + k * ak]);
            for (int j = 0; j < N; j++) sums[i][j] += x * row[j];
        }
    }
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) store(c + i * ldc + j * LANES, sums[i][j]);
}

constexpr int ROWS = 6, WIDE = LANES == 16 ? 4 : 2;

template <int M>
inline void row_of_tiles(int64_t n, int64_t depth, const float* a, int64_t am, int64_t ak, const float* b, int64_t ldb,
                         float* c, int64_t ldc, bool add) {
    int64_t j = 0;
    for (; j + WIDE * LANES <= n; j += WIDE * LANES)
        tile<M, WIDE>(depth, a, am, ak, b + j, ldb, c + j, ldc, add);
    for (; j < n; j += LANES) tile<M, 1>(depth, a, am, ak, b + j, ldb, c + j, ldc, add);
}

// At most ROWS rows; n is a multiple of LANES.
inline void product(int m, int64_t n, int64_t depth, const float* a, int64_t am, int64_t ak, const float* b,
                    int64_t ldb, float* c, int64_t ldc, bool add) {
    switch (m) {
        case 6: return row_of_tiles<6>(n, depth, a, am, ak, b, ldb, c, ldc, add);
        case 5: return row_of_tiles<5>(n, depth, a, am, ak, b, ldb, c, ldc, add);
        case 4: return row_of_tiles<4>(n, depth, a, am, ak, b, ldb, c, ldc, add);
        case 3: return row_of_tiles<3>(n, depth, a, am, ak, b, ldb, c, ldc, add);
        case 2: return row_of_tiles<2>(n, depth, a, am, ak, b, ldb, c, ldc, add);
        case 1: return row_of_tiles<1>(n, depth, a, am, ak, b, ldb, c, ldc, add);
    }
}

struct Attention {
    int64_t n_head, kv_heads, size, n_documents, threads;
    int64_t q_stride, k_stride, v_stride;  // floats from a token to the next
    const int64_t* documents;              // [n_documents, 4]: first and end of its queries, first and end of its keys
    const int64_t* last;                   // [queries] the last key that each sees
    const float *q, *k, *v;
    float* out;  // [queries, n_head, size]
    float* lse;  // [queries, n_head] logarithm of the sum of exponentials
    const float* d_out;
    float *d_q, *d_k, *d_v;  // in one piece each; d_k and d_v are added to
};

inline int64_t rounded(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

// x [n, size] by its stride -> its transpose [size, rounded(n)], filled up with zeros.
inline void transpose(const float* x, int64_t stride, int64_t n, int64_t size, float* y) {
    const int64_t width = rounded(n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t e = 0; e < size; e++) y[e * width + i] = x[i * stride + e];
    for (int64_t e = 0; e < size; e++) std::fill(y + e * width + n, y + (e + 1) * width, 0.0f);
}

// A row of scores becomes probabilities over its first `seen` keys, 0 behind, and its lse.
inline float softmax(float* row, int64_t seen, int64_t width, float scale) {
    float high = row[0];
    for (int64_t i = 1; i < seen; i++) high = row[i] > high ? row[i] : high;
    Floats sums{};
    for (int64_t i = 0; i < width; i += LANES) {
        Floats p = exponential((load(row + i) - high) * scale);
        if (i + LANES > seen)
            for (int l = 0; l < LANES; l++) p[l] = i + l < seen ? p[l] : 0.0f;
        store(row + i, p);
        sums += p;
    }
    const float total = sum(sums), over = 1 / total;
    for (int64_t i = 0; i < width; i += LANES) store(row + i, load(row + i) * over);
    return high * scale + std::log(total);
}

inline void attend(const Attention& a, int64_t document, int64_t kv, std::vector<float>& space) {
    const int64_t E = a.size, *d = a.documents + 4 * document, keys = d[3] - d[2], width = rounded(keys);
    const float scale = 1 / std::sqrt(static_cast<float>(E));
    space.resize(E * width + ROWS * width);
    float *turned = space.data(), *scores = turned + E * width;
    const float* v = a.v + d[2] * a.v_stride + kv * E;
    transpose(a.k + d[2] * a.k_stride + kv * E, a.k_stride, keys, E, turned);
    const int64_t each = a.n_head / a.kv_heads;
    for (int64_t h = kv * each; h < (kv + 1) * each; h++)
        for (int64_t at = d[0]; at < d[1]; at += ROWS) {
            const int m = static_cast<int>(std::min<int64_t>(ROWS, d[1] - at));
            const int64_t most = a.last[at + m - 1] + 1 - d[2];
            product(m, rounded(most), E, a.q + at * a.q_stride + h * E, a.q_stride, 1, turned, width, scores, width, false);
            for (int i = 0; i < m; i++)
                a.lse[(at + i) * a.n_head + h] =
                    softmax(scores + i * width, a.last[at + i] + 1 - d[2], rounded(most), scale);
            product(m, E, most, scores, width, 1, v, a.v_stride, a.out + (at * a.n_head + h) * E, a.n_head * E, false);
        }
}

// The queries [at, at + n) of one head. p, ds [n, width].
inline void backward_some(const Attention& a, const int64_t* d, int64_t kv, int64_t h, int64_t at, int64_t n,
                          const float* k_turned, const float* v_turned, float* p, float* ds) {
    const int64_t E = a.size, keys = d[3] - d[2], width = rounded(keys), H = a.n_head;
    const float scale = 1 / std::sqrt(static_cast<float>(E));
    const float *q = a.q + at * a.q_stride + h * E, *g = a.d_out + (at * H + h) * E;
    for (int64_t i = 0; i < n; i += ROWS) {
        const int m = static_cast<int>(std::min<int64_t>(ROWS, n - i));
        const int64_t most = a.last[at + i + m - 1] + 1 - d[2], wide = rounded(most);
        product(m, wide, E, q + i * a.q_stride, a.q_stride, 1, k_turned, width, p + i * width, width, false);
        product(m, wide, E, g + i * H * E, H * E, 1, v_turned, width, ds + i * width, width, false);
        for (int64_t r = i; r < i + m; r++) {
            float *pr = p + r * width, *dr = ds + r * width;
            const int64_t seen = a.last[at + r] + 1 - d[2];
            const float lse = a.lse[(at + r) * H + h];
            Floats dots{};
            for (int64_t j = 0; j < wide; j += LANES) {
                Floats x = exponential(load(pr + j) * scale - lse);
                if (j + LANES > seen)
                    for (int l = 0; l < LANES; l++) x[l] = j + l < seen ? x[l] : 0.0f;
                store(pr + j, x);
                dots += x * load(dr + j);
            }
            const float dot = sum(dots);
            for (int64_t j = 0; j < wide; j += LANES) store(dr + j, load(pr + j) * (load(dr + j) - dot) * scale);
            std::fill(pr + wide, pr + width, 0.0f);
            std::fill(dr + wide, dr + width, 0.0f);
        }
        product(m, E, most, ds + i * width, width, 1, a.k + d[2] * a.k_stride + kv * E, a.k_stride,
                a.d_q + ((at + i) * H + h) * E, H * E, false);
    }
    int64_t first = 0;  // the first query that sees a key
    const int64_t out = a.kv_heads * E;
    for (int64_t key = 0; key < keys; key += ROWS) {
        const int m = static_cast<int>(std::min<int64_t>(ROWS, keys - key));
        while (first < n && a.last[at + first] - d[2] < key) first++;
        if (first == n) break;
        const int64_t to = (d[2] + key) * out + kv * E, from = first * width + key;
        product(m, E, n - first, p + from, 1, width, g + first * H * E, H * E, a.d_v + to, out, true);
        product(m, E, n - first, ds + from, 1, width, q + first * a.q_stride, a.q_stride, a.d_k + to, out, true);
    }
}

inline void attend_backward(const Attention& a, int64_t document, int64_t kv, std::vector<float>& space) {
    constexpr int64_t MOST = 16 * ROWS;  // queries at a time
    const int64_t E = a.size, *d = a.documents + 4 * document, keys = d[3] - d[2], width = rounded(keys);
    space.resize(2 * E * width + 2 * MOST * width);
    float *k_turned = space.data(), *v_turned = k_turned + E * width, *p = v_turned + E * width, *ds = p + MOST * width;
    transpose(a.k + d[2] * a.k_stride + kv * E, a.k_stride, keys, E, k_turned);
    transpose(a.v + d[2] * a.v_stride + kv * E, a.v_stride, keys, E, v_turned);
    const int64_t each = a.n_head / a.kv_heads;
    for (int64_t h = kv * each; h < (kv + 1) * each; h++)
        for (int64_t at = d[0]; at < d[1]; at += MOST)
            backward_some(a, d, kv, h, at, std::min(MOST, d[1] - at), k_turned, v_turned, p, ds);
}
