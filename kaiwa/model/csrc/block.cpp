// What lies between the products of a decoder's block, forward and backward, each in one pass over memory (fp32).
// The torch twins are in model/decoder.py; results do not depend on the number of threads.

#include "attention.h"
#include "lanes.h"

namespace {

constexpr int64_t CHUNK = 64;  // rows whose share of a norm's weight gradient is summed by itself

// Shares of work below this many floats are not worth a thread.
int useful(int64_t floats, int64_t threads) {
    return static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(threads, floats / 65536)));
}

Floats sigmoid(Floats x) { return 1.0f / (1.0f + exponential(-x)); }

}  // namespace

extern "C" {

// x, y [n,d], w [d], inverse [n]: y = x w / sqrt(mean(x^2) + eps), inverse = that root's.
void kaiwa_norm(int64_t n, int64_t d, const float* x, const float* w, float eps, float* y, float* inverse,
                int64_t threads) {
    shared(n, useful(n * d, threads), [=](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; i++) {
            const float* row = x + i * d;
            Floats squares{};
            strides(d, [&](int64_t j, int m) { squares += take(row + j, m) * take(row + j, m); });
            const float r = 1 / std::sqrt(sum(squares) / d + eps);
            inverse[i] = r;
            strides(d, [&](int64_t j, int m) { put(y + i * d + j, take(row + j, m) * r * take(w + j, m), m); });
        }
    });
}

// g: the gradient of y. dx [n,d], dw [d]; partial: room for [ceil(n / CHUNK), d].
void kaiwa_norm_backward(int64_t n, int64_t d, const float* x, const float* w, const float* inverse, const float* g,
                         float* dx, float* dw, float* partial, int64_t threads) {
    const int64_t chunks = (n + CHUNK - 1) / CHUNK;
    shared(chunks, useful(n * d, threads), [=](int64_t from, int64_t to) {
        for (int64_t chunk = from; chunk < to; chunk++) {
            float* sums = partial + chunk * d;
            std::fill_n(sums, d, 0.0f);
            for (int64_t i = chunk * CHUNK; i < std::min(n, (chunk + 1) * CHUNK); i++) {
                const float *row = x + i * d, *gr = g + i * d, r = inverse[i];
                Floats dots{};
                strides(d, [&](int64_t j, int m) { dots += take(gr + j, m) * take(w + j, m) * take(row + j, m); });
                const float c = sum(dots) * r * r * r / d;
                strides(d, [&](int64_t j, int m) {
                    const Floats xs = take(row + j, m), gs = take(gr + j, m);
                    put(dx + i * d + j, gs * take(w + j, m) * r - xs * c, m);
                    put(sums + j, take(sums + j, m) + gs * xs * r, m);
                });
            }
        }
    });
    std::fill_n(dw, d, 0.0f);
    for (int64_t chunk = 0; chunk < chunks; chunk++)
        for (int64_t j = 0; j < d; j++) dw[j] += partial[chunk * d + j];
}

// h [n,2f] gate then up, y [n,f] = silu(gate) up.
void kaiwa_swiglu(int64_t n, int64_t f, const float* h, float* y, int64_t threads) {
    shared(n, useful(n * f, threads), [=](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; i++)
            strides(f, [&](int64_t j, int m) {
                const Floats gate = take(h + 2 * i * f + j, m);
                put(y + i * f + j, gate * sigmoid(gate) * take(h + (2 * i + 1) * f + j, m), m);
            });
    });
}

void kaiwa_swiglu_backward(int64_t n, int64_t f, const float* h, const float* g, float* dh, int64_t threads) {
    shared(n, useful(n * f, threads), [=](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; i++)
            strides(f, [&](int64_t j, int m) {
                const int64_t at = 2 * i * f + j;
                const Floats gate = take(h + at, m), up = take(h + at + f, m), gs = take(g + i * f + j, m);
                const Floats s = sigmoid(gate), silu = gate * s;
                put(dh + at, gs * up * (s + silu * (1.0f - s)), m);
                put(dh + at + f, gs * silu, m);
            });
    });
}

// Turns x [n,heads,e], tokens `stride` apart, where it is. cos, sin [n,e/2]. way: 1, or -1 to turn back.
void kaiwa_rotate(int64_t n, int64_t heads, int64_t e, float* x, int64_t stride, const float* cos, const float* sin,
                  float way, int64_t threads) {
    const int64_t half = e / 2;
    shared(n, useful(n * heads * e, threads), [=](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; i++)
            for (int64_t h = 0; h < heads; h++) {
                float* head = x + i * stride + h * e;
                strides(half, [&](int64_t j, int m) {
                    const Floats a = take(head + j, m), b = take(head + half + j, m);
                    const Floats c = take(cos + i * half + j, m), s = take(sin + i * half + j, m) * way;
                    put(head + j, a * c - b * s, m);
                    put(head + half + j, b * c + a * s, m);
                });
            }
    });
}

void kaiwa_attention(const Attention* a, int64_t backward) {
    const int64_t count = a->n_documents * a->kv_heads;
    const int threads = count > 1 ? static_cast<int>(a->threads) : 1;
    shared(count, threads, [=](int64_t first, int64_t last) {
        std::vector<float> space;
        for (int64_t i = first; i < last; i++)
            (backward ? attend_backward : attend)(*a, i / a->kv_heads, i % a->kv_heads, space);
    });
}

}  // extern "C"
