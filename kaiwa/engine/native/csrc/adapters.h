// Adapters of tokens: a low-rank change beside each product (Hu et al., 2021, section 4.1), and vectors before a text
// (Lester et al., 2021). The base's products stay as they are; what a token's adapter adds to them is computed from that
// token alone, in one order, so the rest of the batch changes no bit here either.
#pragma once

#include "products.h"

enum Part { QKV, OUT, UP, DOWN, PARTS };

// y += b (a x), both FP32; a.out is 0 where the adapter leaves this product as it is. b.in is the rank.
struct Low {
    Linear a, b;
};

// The same fields in kaiwa/engine/native/step.py.
struct Adapter {
    const float* soft;  // [tokens, width]: what ids from the vocabulary's end on stand for, or null
    const Low* lows;    // [layers, PARTS] or null
};

// Thin products A x of rows [first, last), each with its own adapter's A: narrow [rows, stride]. Neighbouring
// rows with the same adapter are computed together.
inline void narrow(const Adapter* const* adapters, int which, const Inputs& x, int first, int last, float* to, int stride) {
    for (int t = first; t < last;) {
        int end = t + 1;
        while (end < last && adapters[end] == adapters[t]) end++;
        if (const Low* low = adapters[t] && adapters[t]->lows ? adapters[t]->lows + which : nullptr)
            for (int strip = 0; strip < low->a.strips(); strip++)
                for_tiles(end - t, [&](auto R, int row) {
                    Floats y[R];
                    strip_dense<R, float>(low->a, x, t + row, strip, y);
                    for (int r = 0; r < R; r++) store(to + static_cast<size_t>(t + row + r) * stride + strip * LANES, y[r]);
                });
        t = end;
    }
}

// A strip of one row's outputs with what its adapter adds. u: the row's thin product.
inline Floats widened(const Adapter* adapter, int which, const float* u, int strip, Floats y) {
    if (!adapter || !adapter->lows || !adapter->lows[which].a.out) return y;
    const Linear& b = adapter->lows[which].b;
    const float* data = static_cast<const float*>(b.data) + static_cast<size_t>(strip) * b.in * LANES;
    Floats change = _mm512_setzero_ps();
    for (int64_t i = 0; i < b.in; i++) change = fma(load(data + i * LANES), all(u[i]), change);
    return _mm512_add_ps(y, change);
}
