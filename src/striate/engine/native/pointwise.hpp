// Operations on each value by itself, on pairs of values, and copies of channels.
#pragma once

#include "activation.hpp"
#include "layout.hpp"

namespace STRIATE_NAMESPACE {

// Call `body(channel, row)` for each row of this thread's share, block after block.
template <class Body> inline void each_row(const Call& call, const Extent& extent, Body body) {
    const Share share(extent.channels * extent.rows, call.part, call.parts);
    for (int64_t block = 0; block < call.blocks; block++)
        for (int64_t unit = share.begin; unit < share.end; unit++) body(block, unit / extent.rows, unit % extent.rows);
}

template <int64_t KIND> inline void activate_row(const float* x, float* y, int64_t columns, float a, float b) {
    for (int64_t j = 0; j < columns; j++) store(y + j * W, activate(KIND, load(x + j * W), a, b));
}

// operands: x, y.
inline void activate_values(const Call& call) {
    const auto& a = call.arguments<ActivateArguments>();
    const float p = call.number(0), q = call.number(1);
    each_row(call, a.extent, [&](int64_t block, int64_t c, int64_t i) {
        const float* x = a.x.at(call.f(0, block), c, i);
        float* y = a.y.at(call.f(1, block), c, i);
        if (a.activation == RELU) return activate_row<RELU>(x, y, a.extent.columns, p, q);
        for (int64_t j = 0; j < a.extent.columns; j++) store(y + j * W, activate(a.activation, load(x + j * W), p, q));
    });
}

// operands: dy, v (output or input of the activation), dx.
inline void multiply_by_slope(const Call& call) {
    const auto& a = call.arguments<SlopeArguments>();
    const float p = call.number(0), q = call.number(1);
    each_row(call, a.extent, [&](int64_t block, int64_t c, int64_t i) {
        const float* dy = a.dy.at(call.f(0, block), c, i);
        const float* v = a.v.at(call.f(1, block), c, i);
        float* dx = a.dx.at(call.f(2, block), c, i);
        for (int64_t j = 0; j < a.extent.columns; j++) {
            const vec d = load(dy + j * W), value = load(v + j * W);
            const vec g = a.activation == RELU ? select(value <= 0.0f, vec{}, d) : d * slope(a.activation, value, p, q);
            store(dx + j * W, a.accumulate ? load(dx + j * W) + g : g);
        }
    });
}

// operands: a, b, y.
inline void combine(const Call& call) {
    const auto& a = call.arguments<CombineArguments>();
    const float p = call.number(0), q = call.number(1);
    each_row(call, a.extent, [&](int64_t block, int64_t c, int64_t i) {
        const float* first = a.a.at(call.f(0, block), c, i);
        const float* second = a.b.at(call.f(1, block), c, i);
        float* y = a.y.at(call.f(2, block), c, i);
        for (int64_t j = 0; j < a.extent.columns; j++) {
            const vec u = load(first + j * W), v = load(second + j * a.b_columns);
            vec r = a.kind == 0 ? u + v : (a.kind == 1 ? u - v : u * v);
            if (a.activation) r = activate(a.activation, r, p, q);
            store(y + j * W, a.accumulate ? load(y + j * W) + r : r);
        }
    });
}

// One value a channel: the sum over positions of a b. operands: a, b, y.
inline void sum_products(const Call& call) {
    const auto& a = call.arguments<SumProductsArguments>();
    const Share share(a.extent.channels, call.part, call.parts);
    for (int64_t block = 0; block < call.blocks; block++)
        for (int64_t c = share.begin; c < share.end; c++) {
            vec sum = {};
            for (int64_t i = 0; i < a.extent.rows; i++) {
                const float* first = a.a.at(call.f(0, block), c, i);
                const float* second = a.b.at(call.f(1, block), c, i);
                for (int64_t j = 0; j < a.extent.columns; j++) sum += load(first + j * W) * load(second + j * W);
            }
            float* y = a.y.at(call.f(2, block), c, 0);
            store(y, a.accumulate ? load(y) + sum : sum);
        }
}

// Values moved to other places: concatenation, slices, padding, shuffles, and their gradients. tables: place in x of each
// value (-1: zero), place in y, in floats. operands: x, y.
inline void move_values(const Call& call) {
    const auto& a = call.arguments<MoveArguments>();
    if (a.serial && call.part != 0) return;
    const Share share(call.table_size(0), a.serial ? 0 : call.part, a.serial ? 1 : call.parts);
    const int32_t *from = call.table(0), *to = call.table(1);
    const float scale = call.number(0);
    for (int64_t block = 0; block < call.blocks; block++) {
        const float* x = call.f(0, block);
        float* y = call.f(1, block);
        for (int64_t n = share.begin; n < share.end; n++) {
            const vec v = from[n] < 0 ? vec{} : load(x + from[n]) * scale;
            store(y + to[n], a.accumulate ? load(y + to[n]) + v : v);
        }
    }
}

// operands: y. All of a block, borders included, becomes one value.
inline void fill(const Call& call) {
    const auto& a = call.arguments<FillArguments>();
    const Share share(a.floats / W, call.part, call.parts);
    const vec value = splat(call.number(0));
    for (int64_t block = 0; block < call.blocks; block++)
        for (int64_t v = share.begin; v < share.end; v++) store(call.f(0, block) + v * W, value);
}

// Which values are silent is a hash of (seed, layer, image, place): nothing is stored, and neither the batch size nor the
// number of threads matters. The finaliser is that of MurmurHash3, taken twice. operands: x, y.
inline void drop(const Call& call) {
    const auto& a = call.arguments<DropoutArguments>();
    const float scale = call.number(0);
    const uint32_t key = static_cast<uint32_t>(call.seed) ^ static_cast<uint32_t>(a.layer * 0x9E3779B9u);
    const uint32_t high = static_cast<uint32_t>(call.seed >> 32);
    each_row(call, a.extent, [&](int64_t block, int64_t c, int64_t i) {
        const float* x = a.x.at(call.f(0, block), c, i);
        float* y = a.y.at(call.f(1, block), c, i);
        uvec image;
        for (int l = 0; l < W; l++) image[l] = static_cast<uint32_t>((call.first_block + block) * W + l);
        for (int64_t j = 0; j < a.extent.columns; j++) {
            const uint32_t place =
                static_cast<uint32_t>(a.whole_channels ? c : (c * a.extent.rows + i) * a.extent.columns + j);
            uvec h = image * 0x85EBCA6Bu + key;
            h = (h ^ (h >> 16)) * 0x85EBCA6Bu;
            h = (h ^ (h >> 13)) * 0xC2B2AE35u;
            h = (h ^ (h >> 16)) + place * 0x9E3779B9u + high;
            h = (h ^ (h >> 16)) * 0x85EBCA6Bu;
            h = (h ^ (h >> 13)) * 0xC2B2AE35u;
            h ^= h >> 16;
            const ivec silent = __builtin_convertvector(h >> 8, ivec) < static_cast<int32_t>(a.threshold);
            const vec v = select(silent, vec{}, load(x + j * W) * scale);
            store(y + j * W, a.accumulate ? load(y + j * W) + v : v);
        }
    });
}

}  // namespace STRIATE_NAMESPACE
