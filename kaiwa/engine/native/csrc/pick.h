// Sampling one token of a row of logits, as kaiwa/engine/sampling.py does it without filters: the first token whose
// cumulative probability exceeds u (inverse transform). Sums are stored for blocks of 64 tokens, so that few tokens
// are read twice.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "vectors.h"

constexpr int TOKENS = 64;  // in a block

// logits [V] (overwritten by their exponentials) -> id, and its log-probability at that temperature (0: the likeliest
// token, its log-probability at temperature 1). NaN among the logits gives token 0 with log-probability NaN.
inline void pick(float* logits, int64_t V, float temperature, double u, int64_t* id, float* logprob) {
    static thread_local std::vector<double> sums;
    sums.clear();
    const Floats scale = all(temperature > 0 ? 1.0f / temperature : 1.0f);
    const auto lanes = [&](int64_t at) {
        return static_cast<__mmask16>(V - at >= LANES ? 0xFFFF : (1 << (V - at)) - 1);
    };
    Floats top = all(-INFINITY);
    for (int64_t at = 0; at < V; at += LANES)
        top = _mm512_max_ps(top, _mm512_mask_loadu_ps(all(-INFINITY), lanes(at), logits + at));
    const float peak = _mm512_reduce_max_ps(top);
    double total = 0;
    for (int64_t begin = 0; begin < V; begin += TOKENS) {
        Floats sum = _mm512_setzero_ps();
        for (int64_t at = begin; at < std::min(begin + TOKENS, V); at += LANES) {
            const __mmask16 mask = lanes(at);
            const Floats x = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, logits + at), all(peak)), scale);
            const Floats p = _mm512_maskz_mov_ps(mask, exponential(x));
            _mm512_mask_storeu_ps(logits + at, mask, p);
            sum = _mm512_add_ps(sum, p);
        }
        sums.push_back(total += _mm512_reduce_add_ps(sum));
    }
    *id = 0;
    *logprob = NAN;
    if (!std::isfinite(total)) return;
    if (temperature > 0) {
        const double target = u * total;
        int64_t block = 0;
        while (block + 1 < static_cast<int64_t>(sums.size()) && sums[block] <= target) block++;
        double so_far = block ? sums[block - 1] : 0;
        int64_t last = -1;  // rounding may leave the target at the block's very end: the last token that can be
        for (int64_t at = block * TOKENS; at < std::min((block + 1) * TOKENS, V); at++) {
            if (logits[at] > 0) last = at;
            if ((so_far += logits[at]) > target && last == at) break;
        }
        *id = last < 0 ? 0 : last;
    } else {
        while (logits[*id] != 1.0f) ++*id;  // the likeliest, e^0
    }
    *logprob = static_cast<float>(std::log(logits[*id] / total));
}
