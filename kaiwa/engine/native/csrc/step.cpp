// The forward pass of LLaMA and its relatives (dense ones) for any mixture of tokens (one of each answering row, chunks of prompts), in one call
// on a crew of threads. Residual stream, norms and attention are fp32; its twin is kaiwa.model.decoder.Decoder.forward.
// Every token's result depends on its own row alone: bits do not change with the batch, the chunking or the threads.
#include <cstring>
#include <memory>

#include "adapters.h"
#include "attention.h"
#include "pick.h"
#include "products.h"
#include "threads.h"

// The same fields in kaiwa/engine/native/step.py.
struct Shape {
    int64_t layers, width, heads, kv_heads, head, hidden, vocabulary, threads, wide_embed;
    int64_t rotated, joint_norm, gelu;  // rotated dimensions of a head; one norm for all heads; GELU by tanh, else SiLU
    float eps, embedding_scale, residual_scale, logit_scale, attention_scale, attention_cap, logit_cap;  // cap 0: none
};

struct Layer {
    const float *norm_attn, *norm_q, *norm_k, *norm_mlp, *norm_out, *norm_down;  // null where there are none
    const float *cos, *sin;  // [position, rotated / 2], null without rotary positions
    int64_t window;          // positions a query looks back over, its own included; 0: all
    Linear qkv, out, up, down;
};

// One call. positions, rows [tokens]; tables [rows, table_width]: the blocks of each row, by position / 16.
struct Batch {
    int64_t tokens, table_width, wide_cache;
    const int64_t* ids;
    const int32_t *positions, *rows, *tables;
    void* cache;   // blocks of [layer, 2, kv_head, 16 x head]
    float* states; // [tokens, width]: after the last norm
    const Adapter* const* adapters;  // of each token, null for the plain model; null where no token has one
    int64_t rank;                    // the highest of them, a multiple of 16
};

class Model {
  public:
    Model(const Shape& s, const Layer* layers, const void* embed, const float* norm, const Linear& unembed)
        : s(s), layers(layers, layers + s.layers), embed(embed), norm(norm), unembed(unembed),
          crew(static_cast<int>(s.threads)), inputs(s.threads) {}

    void forward(const Batch& batch) {
        b = batch;
        m = static_cast<int>(b.tokens);
        crew.n = pace.choose(m, crew.size);
        const size_t qkv = (s.heads + 2 * s.kv_heads) * s.head;
        grow(x, m * s.width);
        grow(mixed, m * qkv);
        grow(gated, m * s.hidden);
        if (has_result_norms()) grow(result, m * s.width);
        longest = 0;
        for (int t = 0; t < m; t++) longest = std::max(longest, b.positions[t] + 1);
        chunks = (longest + CHUNK - 1) / CHUNK;
        grow(parts, static_cast<size_t>(m) * s.heads * chunks * (s.head + 2));
        reserve_inputs();
        crew.run([this](int i) { b.wide_cache ? member<float>(i) : member<bf16>(i); });
        pace.note();
    }

    // states [n, width] -> out [n, vocabulary]
    void logits(int64_t n, const float* states, float* out) {
        m = static_cast<int>(n);
        crew.n = head_pace.choose(m, crew.size);
        reserve_inputs();
        crew.run([=, this](int i) { unembed_rows(i, states, out); });
        head_pace.note();
    }

    // states [n, width], temperature [n] (0: the likeliest), u [n] in [0, 1) -> ids and log-probabilities [n].
    void sample(int64_t n, const float* states, const float* temperature, const double* u, int64_t* ids, float* logprobs) {
        m = static_cast<int>(n);
        crew.n = head_pace.choose(m, crew.size);
        reserve_inputs();
        grow(scores, n * s.vocabulary);
        crew.run([=, this](int i) {
            unembed_rows(i, states, scores.data());
            crew.meet();
            const auto [first, last] = crew.share(m, i);
            for (int t = first; t < last; t++)
                pick(&scores[t * s.vocabulary], s.vocabulary, temperature[t], u[t], ids + t, logprobs + t);
        });
        head_pace.note();
    }

  private:
    static constexpr int PLAIN = -1;  // instead of a layer's part: a product that no adapter changes
    static constexpr int FEW = 2;  // up to so many rows every member prepares for itself, which is quicker than waiting

    static void grow(std::vector<float>& v, size_t n) {
        if (v.size() < n) v.resize(n);
    }

    void reserve_inputs() {
        const int widest = static_cast<int>(std::max({s.width, s.hidden, s.heads * s.head}));
        for (int i = 0; i < (m <= FEW ? crew.n : 1); i++) {
            inputs[i].resize(m, widest);
            if (b.adapters) grow(inputs[i].low, m * b.rank);
        }
    }

    // Fills the inputs of a product row by row; afterwards all rows are ready for this member.
    // `which`: layer x PARTS + part, for its adapters.
    template <class Fill>
    Inputs& prepare(int i, const Linear& w, int which, Fill fill) {
        const bool alone = m <= FEW;
        Inputs& a = inputs[alone ? i : 0];
        if (alone || i == 0) a.width = static_cast<int>(w.in);
        if (!alone) crew.meet();
        const auto [first, last] = alone ? std::pair(0, m) : crew.share(m, i);
        const auto code = [&](int t) {
            if (w.order) a.arrange(t, w.order);
            if (w.kind >= INT4) a.encode(t);
        };
        const bool changed = which != PLAIN && b.adapters;
        for (int t = first; t < last; t++) {
            fill(t, a.row(t));
            if (!changed) code(t);
        }
        if (changed) {
            narrow(b.adapters, which, a, first, last, a.low.data(), static_cast<int>(b.rank));
            for (int t = first; t < last; t++) code(t);
        }
        if (!alone) crew.meet();
        return a;
    }

    void unembed_rows(int i, const float* states, float* out) {
        Inputs& a = prepare(i, unembed, PLAIN, [&](int t, float* row) {
            std::memcpy(row, states + t * s.width, s.width * sizeof(float));
        });
        const int64_t V = s.vocabulary;
        multiply(i, unembed, PLAIN, a, [&](int t, int strip, Floats y) {
            const int64_t left = V - strip * LANES;
            const __mmask16 mask = left >= LANES ? 0xFFFF : static_cast<__mmask16>((1 << left) - 1);
            if (s.logit_scale != 1) y = _mm512_mul_ps(y, all(s.logit_scale));
            if (s.logit_cap != 0) y = capped(y, s.logit_cap);
            _mm512_mask_storeu_ps(out + t * V + strip * LANES, mask, y);
        });
    }

    // This member's strips of y = W x: store(row, strip, y) for each.
    template <class Store>
    void multiply(int i, const Linear& w, int which, const Inputs& a, Store store) {
        const auto [first, last] = crew.share(w.strips(), i);
        int strip = first;
        for (; w.kind == INT4 && strip + 1 < last; strip += 2)  // dense strips: one at a time fits the nearest cache
            two_strips(w, a, m, strip, strip + 1, [&](auto R, int row, Floats* y, Floats* z) {
                adapt<R>(which, a, row, strip, y);
                adapt<R>(which, a, row, strip + 1, z);
                for (int r = 0; r < R; r++) store(row + r, strip, y[r]), store(row + r, strip + 1, z[r]);
            });
        for (; strip < last; strip++)
            for_tiles(m, [&](auto R, int row) {
                Floats y[R];
                strip_product<R>(w, a, row, strip, y);
                adapt<R>(which, a, row, strip, y);
                for (int r = 0; r < R; r++) store(row + r, strip, y[r]);
            });
    }

    // Adds what the rows' adapters change.
    template <int R>
    void adapt(int which, const Inputs& a, int row, int strip, Floats* y) const {
        if (which == PLAIN || !b.adapters) return;
        for (int r = 0; r < R; r++)
            y[r] = widened(b.adapters[row + r], which, a.low.data() + (row + r) * b.rank, strip, y[r]);
    }

    // One member's part of a whole pass.
    template <class T>
    void member(int i) {
        const auto [first, last] = crew.share(m, i);
        for (int t = first; t < last; t++) embed_token(t);
        crew.meet();
        for (size_t l = 0; l < layers.size(); l++) {
            const Layer& layer = layers[l];
            const int parts = static_cast<int>(l) * PARTS;
            attend<T>(i, static_cast<int>(l), layer);
            Inputs& heads = prepare(i, layer.out, parts + OUT, [&](int t, float* row) { merge(t, static_cast<int>(l), row); });
            add_product(i, layer.out, parts + OUT, heads, layer.norm_out);
            feed_forward(i, layer, parts + UP);
            Inputs& inner = prepare(i, layer.down, parts + DOWN, [&](int t, float* row) {
                std::memcpy(row, &gated[t * s.hidden], s.hidden * sizeof(float));
            });
            add_product(i, layer.down, parts + DOWN, inner, layer.norm_down);
        }
        for (int t = first; t < last; t++) rms_norm(&x[t * s.width], norm, s.width, b.states + t * s.width);
    }

    bool has_result_norms() const { return !layers.empty() && layers[0].norm_out; }

    // Adds a product of the inputs to the residual stream, through a norm of the result where there is one. All members
    // have met afterwards.
    void add_product(int i, const Linear& w, int which, const Inputs& a, const float* result_norm) {
        const Floats scale = all(s.residual_scale);
        const bool scaled = s.residual_scale != 1;
        if (!result_norm) {
            multiply(i, w, which, a, [&](int t, int strip, Floats y) {
                float* to = &x[t * s.width + strip * LANES];
                ::store(to, _mm512_add_ps(load(to), scaled ? _mm512_mul_ps(y, scale) : y));
            });
            crew.meet();
            return;
        }
        multiply(i, w, which, a, [&](int t, int strip, Floats y) { ::store(&result[t * s.width + strip * LANES], y); });
        crew.meet();
        const auto [first, last] = crew.share(m, i);
        for (int t = first; t < last; t++) {
            float *from = &result[t * s.width], *to = &x[t * s.width];
            rms_norm(from, result_norm, s.width, from);
            for (int64_t d = 0; d < s.width; d += LANES) {
                const Floats y = load(from + d);
                ::store(to + d, _mm512_add_ps(load(to + d), scaled ? _mm512_mul_ps(y, scale) : y));
            }
        }
        crew.meet();
    }

    void embed_token(int t) {
        float* to = &x[t * s.width];
        if (b.ids[t] >= s.vocabulary) {
            std::memcpy(to, b.adapters[t]->soft + (b.ids[t] - s.vocabulary) * s.width, s.width * sizeof(float));
        } else {
            for (int64_t d = 0; d < s.width; d += LANES) {
                const int64_t at = b.ids[t] * s.width + d;
                ::store(to + d, s.wide_embed ? load(static_cast<const float*>(embed) + at)
                                             : load(static_cast<const bf16*>(embed) + at));
            }
        }
        if (s.embedding_scale != 1)
            for (int64_t d = 0; d < s.width; d += LANES) ::store(to + d, _mm512_mul_ps(load(to + d), all(s.embedding_scale)));
    }

    // A part's input: the residual stream, through a norm where there is one.
    void part_input(int t, const float* weight, float* row) const {
        if (weight)
            rms_norm(&x[t * s.width], weight, s.width, row);
        else
            std::memcpy(row, &x[t * s.width], s.width * sizeof(float));
    }

    void rms_norm(const float* from, const float* weight, int64_t n, float* to) const {
        Floats squares = _mm512_setzero_ps();
        for (int64_t d = 0; d < n; d += LANES) squares = fma(load(from + d), load(from + d), squares);
        const float scale = 1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / static_cast<float>(n) + s.eps);
        for (int64_t d = 0; d < n; d += LANES)
            ::store(to + d, _mm512_mul_ps(_mm512_mul_ps(load(from + d), all(scale)), load(weight + d)));
    }

    template <class T>
    void attend(int i, int l, const Layer& layer) {
        const int64_t width = (s.heads + 2 * s.kv_heads) * s.head;
        const int part = l * PARTS + QKV;
        Inputs& a = prepare(i, layer.qkv, part, [&](int t, float* row) { part_input(t, layer.norm_attn, row); });
        multiply(i, layer.qkv, part, a, [&](int t, int strip, Floats y) { ::store(&mixed[t * width + strip * LANES], y); });
        crew.meet();
        const auto [first, last] = crew.share(m, i);
        for (int t = first; t < last; t++) place<T>(t, l, layer);
        crew.meet();
        const int units = static_cast<int>(s.kv_heads) * chunks;
        for (int u = i; u < units; u += crew.n) look<T>(l, u % static_cast<int>(s.kv_heads), u / static_cast<int>(s.kv_heads));
        crew.meet();
    }

    int64_t block_size() const { return s.layers * 2 * s.kv_heads * BLOCK * s.head; }

    // Turns a token's queries and keys to its position, scales the queries, writes keys and values to the cache.
    template <class T>
    void place(int t, int l, const Layer& layer) {
        const int64_t E = s.head, half = layer.cos ? s.rotated / 2 : 0;
        float* q = &mixed[t * (s.heads + 2 * s.kv_heads) * E];
        const int position = b.positions[t];
        const float *c = layer.cos + position * half, *n = layer.sin + position * half;
        if (layer.norm_q && s.joint_norm) {
            rms_norm(q, layer.norm_q, s.heads * E, q);
            rms_norm(q + s.heads * E, layer.norm_k, s.kv_heads * E, q + s.heads * E);
        }
        for (int64_t h = 0; h < s.heads + s.kv_heads; h++) {
            float* v = q + h * E;
            if (layer.norm_q && !s.joint_norm) rms_norm(v, h < s.heads ? layer.norm_q : layer.norm_k, E, v);
            const float scale = h < s.heads ? s.attention_scale : 1.0f;
            for (int64_t e = 0; e < half; e++) {
                const float one = v[e], two = v[e + half];
                v[e] = (one * c[e] - two * n[e]) * scale;
                v[e + half] = (two * c[e] + one * n[e]) * scale;
            }
            for (int64_t e = 2 * half; e < E; e++) v[e] *= scale;
        }
        const int64_t block = b.tables[b.rows[t] * b.table_width + position / BLOCK];
        for (int64_t k = 0; k < s.kv_heads; k++) {
            T* keys = static_cast<T*>(b.cache) + block * block_size() + (2 * l * s.kv_heads + k) * BLOCK * E;
            T* values = keys + s.kv_heads * BLOCK * E + position % BLOCK * E;
            const float *key = q + (s.heads + k) * E, *value = key + s.kv_heads * E;
            for (int64_t e = 0; e < E; e++) put(keys + e * BLOCK + position % BLOCK, key[e]), put(values + e, value[e]);
        }
    }

    float* part(int t, int64_t h, int chunk) {
        return &parts[((t * s.heads + h) * chunks + chunk) * (s.head + 2)];
    }

    // The first position that a token sees in a layer.
    int first_visible(int t, int l) const {
        const int window = static_cast<int>(layers[l].window);
        return window ? std::max(0, b.positions[t] + 1 - window) : 0;
    }

    // One key head's queries of all tokens against one chunk of positions.
    template <class T>
    void look(int l, int k, int chunk) {
        const int64_t E = s.head, group = s.heads / s.kv_heads;
        const T* base = static_cast<const T*>(b.cache) + (2 * l * s.kv_heads + k) * BLOCK * E;
        const Blocks<T> blocks{base, block_size(), s.kv_heads * BLOCK * E};
        Queries a;
        for (int t = 0; t < m; t++) {
            const int visible = first_visible(t, l);
            if (b.positions[t] < chunk * CHUNK || visible >= (chunk + 1) * CHUNK) continue;
            for (int64_t g = 0; g < group; g++) {
                const int64_t h = k * group + g;
                a.q[a.n] = &mixed[(t * (s.heads + 2 * s.kv_heads) + h) * E];
                a.table[a.n] = b.tables + b.rows[t] * b.table_width;
                a.first[a.n] = visible;
                a.length[a.n] = b.positions[t] + 1;
                a.out[a.n] = part(t, h, chunk);
                a.last = std::max(a.last, a.length[a.n]);
                if (++a.n == QUERIES) flush(blocks, a, chunk);
            }
        }
        flush(blocks, a, chunk);
    }

    template <class T>
    void flush(const Blocks<T>& blocks, Queries& a, int chunk) {
        if (a.n) attend_chunk(blocks, a, chunk * CHUNK, static_cast<int>(s.head), s.attention_cap);
        a.n = a.last = 0;
    }

    void merge(int t, int l, float* row) {
        const int first = first_visible(t, l) / CHUNK, n = b.positions[t] / CHUNK + 1 - first;
        for (int64_t h = 0; h < s.heads; h++)
            merge_chunks(part(t, h, first), s.head + 2, n, static_cast<int>(s.head), row + h * s.head);
    }

    // x of the sigmoid by which a gate is multiplied: silu(g) = g sigmoid(g), and GELU by tanh is
    // g sigmoid(2 sqrt(2 / pi) (g + 0.044715 g^3)).
    Floats sigmoid_input(Floats g) const {
        if (!s.gelu) return g;
        const Floats cubed = _mm512_mul_ps(_mm512_mul_ps(g, g), g);
        return _mm512_mul_ps(all(1.5957691216f), fma(all(0.044715f), cubed, g));
    }

    // activation(gate) x up: strip j of the first half of the product's outputs beside strip j of the second.
    void feed_forward(int i, const Layer& layer, int part) {
        Inputs& a = prepare(i, layer.up, part, [&](int t, float* row) { part_input(t, layer.norm_mlp, row); });
        const int half = static_cast<int>(s.hidden / LANES);
        const auto [first, last] = crew.share(half, i);
        for (int strip = first; strip < last; strip++)
            two_strips(layer.up, a, m, strip, strip + half, [&](auto R, int row, Floats* gate, Floats* up) {
                adapt<R>(part, a, row, strip, gate);
                adapt<R>(part, a, row, strip + half, up);
                for (int r = 0; r < R; r++) {
                    const Floats below = _mm512_add_ps(all(1.0f), exponential(_mm512_sub_ps(_mm512_setzero_ps(), sigmoid_input(gate[r]))));
                    ::store(&gated[(row + r) * s.hidden + strip * LANES], _mm512_mul_ps(_mm512_div_ps(gate[r], below), up[r]));
                }
            });
        crew.meet();
    }

    const Shape s;
    const std::vector<Layer> layers;
    const void* embed;
    const float* norm;
    const Linear unembed;
    Crew crew;
    Pace pace, head_pace;
    std::vector<Inputs> inputs;               // a member's own, or the first for all
    // residual; q, k, v; activation(gate) x up; attention by chunk; a part's result before its norm
    std::vector<float> x, mixed, gated, parts, result;
    std::vector<float> scores;                 // logits that are sampled from here
    Batch b{};
    int m = 0, longest = 0, chunks = 0;
};

extern "C" {
void* kaiwa_model(const Shape* shape, const Layer* layers, const void* embed, const float* norm, const Linear* unembed) {
    return new Model(*shape, layers, embed, norm, *unembed);
}
void kaiwa_forward(void* model, const Batch* batch) { static_cast<Model*>(model)->forward(*batch); }
void kaiwa_logits(void* model, int64_t n, const float* states, float* out) {
    static_cast<Model*>(model)->logits(n, states, out);
}
void kaiwa_sample(void* model, int64_t n, const float* states, const float* temperature, const double* u, int64_t* ids,
                  float* logprobs) {
    static_cast<Model*>(model)->sample(n, states, temperature, u, ids, logprobs);
}
void kaiwa_repack_gptq(const uint32_t* words, int64_t in, int64_t out, const int32_t* order, int64_t first_strip,
                       int64_t strips, uint32_t* data) {
    repack_gptq(words, in, out, order, first_strip, strips, data);
}
void kaiwa_free(void* model) { delete static_cast<Model*>(model); }
}
