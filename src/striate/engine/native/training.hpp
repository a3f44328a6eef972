// The ends of a fused training step: the loss, sums over slots, and the updates of optimizers.
#pragma once

#include <stdexcept>

#include "pointwise.hpp"

namespace STRIATE_NAMESPACE {

// Softmax cross-entropy, averaged over the batch: the sum of the chunk's losses, and the gradient of the logits.
// operands: logits, targets (int64), gradient, partial (one double). floats: label smoothing.
inline void cross_entropy(const Call& call) {
    const auto& a = call.arguments<CrossEntropyArguments>();
    if (call.part != 0) return;
    const auto* targets = reinterpret_cast<const int64_t*>(call.data[1]);
    const float smoothing = call.number(0), even = smoothing / static_cast<float>(a.classes);
    const float share = 1.0f / static_cast<float>(call.batch);
    double total = 0;
    for (int64_t block = 0; block < call.blocks; block++) {
        const float* x = call.f(0, block) + a.x_first;
        float* dx = call.f(2, block) + a.dx_first;
        const int64_t valid = valid_lanes(call, block);
        const int64_t* own = targets + (call.first_block + block) * W;
        vec largest = load(x);
        for (int64_t k = 1; k < a.classes; k++) largest = maximum(largest, load(x + k * a.x_plane));
        vec sum = {}, logits = {};
        for (int64_t k = 0; k < a.classes; k++) {
            const vec shifted = load(x + k * a.x_plane) - largest, e = exponential(shifted);
            sum += e;
            logits += shifted;
            store(dx + k * a.dx_plane, e);
        }
        const ivec is_valid = [&] { ivec index; for (int l = 0; l < W; l++) index[l] = l; return index < static_cast<int32_t>(valid); }();
        const vec inverse = share / sum;
        for (int64_t k = 0; k < a.classes; k++) {
            float* place = dx + k * a.dx_plane;
            store(place, select(is_valid, load(place) * inverse - even * share, vec{}));
        }
        for (int64_t l = 0; l < valid; l++) {
            if (own[l] < 0 || own[l] >= a.classes) striate::refuse_target(own[l], a.classes);
            dx[own[l] * a.dx_plane + l] -= (1.0f - smoothing) * share;
            const float target = x[own[l] * a.x_plane + l] - largest[l];
            total += std::log(sum[l]) - (1.0f - smoothing) * target - even * logits[l];
        }
    }
    *reinterpret_cast<double*>(call.data[3]) = total;
}

// The mean loss of the batch. operands: partial, loss.
inline void sum_losses(const Call& call) {
    if (call.part != 0) return;
    double total = 0;
    for (int64_t chunk = 0; chunk < call.chunks; chunk++)
        total += *reinterpret_cast<const double*>(call.data[0] + chunk * call.stride[0]);
    call.f(1)[0] = static_cast<float>(total / static_cast<double>(call.batch));
}

// operands: slots. All become 0.
inline void clear_slots(const Call& call) {
    const auto& a = call.arguments<CountArguments>();
    const Share share(a.count, call.part, call.parts);
    for (int64_t slot = 0; slot < call.slots; slot++)
        std::memset(call.f(0, slot) + share.begin, 0, static_cast<size_t>(share.end - share.begin) * sizeof(float));
}

// operands: slots, sum. In the order of the slots.
inline void sum_slots(const Call& call) {
    const auto& a = call.arguments<SumSlotsArguments>();
    const Share share(a.count, call.part, call.parts);
    float* out = call.f(1);
    for (int64_t i = share.begin; i < share.end; i++) {
        float sum = call.f(0)[i];
        for (int64_t slot = 1; slot < call.slots; slot++) sum += call.f(0, slot)[i];
        out[i] = a.accumulate ? out[i] + sum : sum;
    }
}

// SGD as `torch.optim.SGD` computes it. operands: weights, gradient, momentum. scalars: rate, momentum, 1 - dampening,
// decay, nesterov.
inline void update_sgd(const Call& call) {
    const auto& a = call.arguments<UpdateArguments>();
    const float* s = call.scalars + a.scalars;
    const float rate = s[0], momentum = s[1], fresh = s[2], decay = s[3];
    const bool nesterov = s[4] != 0.0f, keeps = momentum != 0.0f;
    if (keeps && !call.has(2)) throw std::invalid_argument("update_sgd: there is no memory for a momentum");
    const Share share(a.count, call.part, call.parts);
    float *w = call.f(0), *m = keeps ? call.f(2) : nullptr;
    const float* g = call.f(1);
    for (int64_t i = share.begin; i < share.end; i++) {
        float d = g[i] + decay * w[i];
        if (keeps) {
            m[i] = momentum * m[i] + fresh * d;
            d = nesterov ? d + momentum * m[i] : m[i];
        }
        w[i] -= rate * d;
    }
}

// Adam and AdamW as `torch.optim` computes them. operands: weights, gradient, first moment, second moment. scalars: rate,
// beta1, beta2, eps, decay, 1 - beta1^t, sqrt(1 - beta2^t), decoupled.
inline void update_adam(const Call& call) {
    const auto& a = call.arguments<UpdateArguments>();
    const float* s = call.scalars + a.scalars;
    const float rate = s[0], beta1 = s[1], beta2 = s[2], eps = s[3], decay = s[4], step = rate / s[5], root = s[6];
    const bool decoupled = s[7] != 0.0f;
    const Share share(a.count, call.part, call.parts);
    float *w = call.f(0), *m = call.f(2), *v = call.f(3);
    const float* g = call.f(1);
    for (int64_t i = share.begin; i < share.end; i++) {
        float d = g[i];
        if (decoupled) w[i] *= 1.0f - rate * decay;
        else d += decay * w[i];
        m[i] += (d - m[i]) * (1.0f - beta1);
        v[i] = v[i] * beta2 + (1.0f - beta2) * d * d;
        w[i] -= step * m[i] / (std::sqrt(v[i]) / root + eps);
    }
}

}  // namespace STRIATE_NAMESPACE
