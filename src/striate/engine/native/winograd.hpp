// 3 x 3 convolutions with 16 multiply-adds where the sum over taps has 36 (Winograd; Lavin and Gray 2016, F(2 x 2, 3 x 3)).
//
//     y = A' [ (G g G') * (B' d B) ] A        for each 2 x 2 outputs, from a tile d of 4 x 4 inputs
//
// Inputs are transformed tile by tile; then each of the 16 places is a matrix product over the channels, in registers as in
// `taps`; then outputs are transformed back. In lanes the transforms are a few additions of vectors. The weight gradient in
// the same manner was tried: what it saves, it loses to the second-level cache, from which every product then comes.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "taps.hpp"

namespace STRIATE_NAMESPACE {

constexpr int PLACES = 16;
constexpr int WINOGRAD_OUTPUTS = REGISTERS == 32 ? 6 : 4, WINOGRAD_TILES = REGISTERS == 32 ? 4 : 3;

// Memory of a thread that grows to what the largest instruction needs.
inline float* room(int64_t floats) {
    struct Room {
        float* memory = nullptr;
        int64_t size = 0;
        ~Room() { std::free(memory); }
    };
    static thread_local Room own;
    if (floats > own.size) {
        std::free(own.memory);
        own.size = 0;
        constexpr int64_t HUGE_PAGE = int64_t{1} << 21;
        const int64_t bytes = (floats * 4 + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        own.memory = static_cast<float*>(std::aligned_alloc(HUGE_PAGE, static_cast<size_t>(bytes)));
        if (!own.memory) throw std::bad_alloc();
#if defined(__linux__)
        madvise(own.memory, static_cast<size_t>(bytes), MADV_HUGEPAGE);
#endif
        own.size = floats;
    }
    return own.memory;
}

// v = B' d B of the tile at `x`; value (i, j) goes to v + (4 i + j) place.
inline void transform_input(const float* x, int64_t row, float* v, int64_t place) {
    vec t[4][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        const vec a = load(x + j * W), b = load(x + row + j * W), c = load(x + 2 * row + j * W), d = load(x + 3 * row + j * W);
        t[0][j] = a - c;
        t[1][j] = b + c;
        t[2][j] = c - b;
        t[3][j] = b - d;
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        store(v + (4 * i) * place, t[i][0] - t[i][2]);
        store(v + (4 * i + 1) * place, t[i][1] + t[i][2]);
        store(v + (4 * i + 2) * place, t[i][2] - t[i][1]);
        store(v + (4 * i + 3) * place, t[i][1] - t[i][3]);
    }
}

// y = A' m A, 2 x 2.
inline void transform_output(const float* m, int64_t place, vec (&y)[4]) {
    vec s[2][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        const vec a = load(m + j * place), b = load(m + (4 + j) * place), c = load(m + (8 + j) * place), d = load(m + (12 + j) * place);
        s[0][j] = a + b + c;
        s[1][j] = b - c - d;
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        y[2 * i] = s[i][0] + s[i][1] + s[i][2];
        y[2 * i + 1] = s[i][1] - s[i][2] - s[i][3];
    }
}

// G g G' of every filter: [tile of outputs][place][channel][output]. operands: weights, packed, scales of outputs (or none).
inline void winograd_pack(const Call& call) {
    const auto& a = call.arguments<WinogradPackArguments>();
    constexpr int64_t K = WINOGRAD_OUTPUTS;
    const int64_t tiles = (a.outputs + K - 1) / K;
    const Share share(tiles, call.part, call.parts);
    for (int64_t tile = share.begin; tile < share.end; tile++)
        for (int64_t c = 0; c < a.channels; c++)
            for (int64_t q = 0; q < K; q++) {
                const int64_t k = tile * K + q;
                float g[9] = {}, h[4][3], u[4][4];
                if (k < a.outputs) {
                    const float* w = call.f(0) + k * a.output_stride + c * a.channel_stride;
                    const float scale = call.has(2) ? call.f(2)[2 * a.outputs + k] : 1.0f;
                    for (int i = 0; i < 9; i++) g[i] = scale * w[a.flipped ? 8 - i : i];
                }
                for (int j = 0; j < 3; j++) {
                    h[0][j] = g[j];
                    h[1][j] = 0.5f * (g[j] + g[3 + j] + g[6 + j]);
                    h[2][j] = 0.5f * (g[j] - g[3 + j] + g[6 + j]);
                    h[3][j] = g[6 + j];
                }
                for (int i = 0; i < 4; i++) {
                    u[i][0] = h[i][0];
                    u[i][1] = 0.5f * (h[i][0] + h[i][1] + h[i][2]);
                    u[i][2] = 0.5f * (h[i][0] - h[i][1] + h[i][2]);
                    u[i][3] = h[i][2];
                }
                for (int p = 0; p < PLACES; p++)
                    call.f(1)[((tile * PLACES + p) * a.channels + c) * K + q] = u[p / 4][p % 4];
            }
}

template <int K, int P>
void winograd_product(const float* v, const float* u, float* m, int64_t channels, int64_t pitch) {
    vec sums[P][K] = {};
    for (int64_t c = 0; c < channels; c++) {
        if constexpr (P <= K) {
            vec values[P];
#pragma GCC unroll 16
            for (int p = 0; p < P; p++) values[p] = load(v + p * W);
#pragma GCC unroll 16
            for (int k = 0; k < K; k++) {
                const vec weight = splat(u[k]);
#pragma GCC unroll 16
                for (int p = 0; p < P; p++) sums[p][k] += values[p] * weight;
            }
        } else {
            vec weights[K];
#pragma GCC unroll 16
            for (int k = 0; k < K; k++) weights[k] = splat(u[k]);
#pragma GCC unroll 16
            for (int p = 0; p < P; p++) {
                const vec value = load(v + p * W);
#pragma GCC unroll 16
                for (int k = 0; k < K; k++) sums[p][k] += value * weights[k];
            }
        }
        v += pitch;
        u += K;
    }
#pragma GCC unroll 16
    for (int k = 0; k < K; k++)
#pragma GCC unroll 16
        for (int p = 0; p < P; p++) store(m + k * pitch + p * W, sums[p][k]);
}

template <int P>
inline void winograd_products(const float* v, const float* u, float* m, int64_t channels, int64_t pitch) {
    winograd_product<WINOGRAD_OUTPUTS, P>(v, u, m, channels, pitch);
}

// Store 2 x 2 outputs of one channel. `valid` has bit 0 where there is a second column, bit 1 where there is a second row.
// What is added has the same places from `start`, or is null.
inline void put_outputs(vec (&y)[4], float* place, const float* start, int64_t row, int valid, const WinogradArguments& a,
                        float p, float q) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        if ((i & 1 && !(valid & 1)) || (i & 2 && !(valid & 2))) continue;
        float* to = place + (i / 2) * row + (i % 2) * W;
        const vec v = start ? load(start + (i / 2) * row + (i % 2) * W) + y[i] : y[i];
        store(to, a.activation == RELU ? rectify(v) : activate(a.activation, v, p, q));
    }
}

inline void put_pooled(vec (&y)[4], float* place, uint8_t* argmax, int64_t activation) {
    vec largest = y[0];
    ivec at = ivec{};
#pragma GCC unroll 3
    for (int i = 1; i < 4; i++) {
        const ivec greater = (y[i] > largest) | (y[i] != y[i]);
        largest = select(greater, y[i], largest);
        at = greater ? ivec{} + i : at;
    }
    if (activation == RELU) {
        at = (largest <= 0.0f) ? ivec{} + 4 : at;
        largest = rectify(largest);
    }
    store(place, largest);
    if (argmax) narrow(at, argmax);
}

// operands: x, packed weights, bias, y, argmax where it pools, else what is added, with the places of y. tables: corner of each
// tile in x, corner in y, what of it is valid, offset
// of each output in y, place of each tile in argmax.
inline void winograd(const Call& call) {
    const auto& a = call.arguments<WinogradArguments>();
    constexpr int64_t K = WINOGRAD_OUTPUTS, P = WINOGRAD_TILES;
    const float p = call.number(0), q = call.number(1);
    const int64_t groups = (a.tiles + a.group - 1) / a.group, blocks_of_outputs = (a.outputs + K - 1) / K;
    const Share share(groups, call.part, call.parts);
    const int64_t pitch = ((a.group + P - 1) / P * P | 1) * W, place = a.channels * pitch, out = K * pitch;
    float* v = room(PLACES * (place + out));
    float* m = v + PLACES * place;
    for (int64_t block = 0; block < call.blocks; block++)
        for (int64_t g = share.begin; g < share.end; g++) {
            const int64_t first = g * a.group, count = a.tiles - first < a.group ? a.tiles - first : a.group;
            for (int64_t c = 0; c < a.channels; c++)
                for (int64_t n = 0; n < count; n++)
                    transform_input(call.f(0, block) + c * a.x_plane + call.table(0)[first + n], a.x_row, v + c * pitch + n * W, place);
            for (int64_t tile = 0; tile < blocks_of_outputs; tile++) {
                const float* u = call.f(1) + tile * PLACES * a.channels * K;
                for (int64_t i = 0; i < PLACES; i++, u += a.channels * K)
                    for (int64_t n = 0; n < count; n += P)  // the last few may be of tiles that nobody reads
                        winograd_products<P>(v + i * place + n * W, u, m + i * out + n * W, a.channels, pitch);
                const int64_t width = a.outputs - tile * K < K ? a.outputs - tile * K : K;
                for (int64_t k = 0; k < width; k++) {
                    const int64_t output = tile * K + k;
                    const vec bias = call.has(2) ? splat(call.f(2)[output]) : vec{};
                    float* y = call.f(3, block) + call.table(3)[output];
                    const float* start = a.accumulate ? y : nullptr;
                    if (!a.pooled && call.has(4)) start = call.f(4, block) + call.table(3)[output];
                    for (int64_t n = 0; n < count; n++) {
                        vec values[4];
                        transform_output(m + k * pitch + n * W, out, values);
#pragma GCC unroll 4
                        for (int i = 0; i < 4; i++) values[i] += bias;
                        float* to = y + call.table(1)[first + n];
                        if (a.pooled)
                            put_pooled(values, to, call.has(4) ? call.u(4, block) + output * a.argmax_plane * W + call.table(4)[first + n] : nullptr, a.activation);
                        else put_outputs(values, to, start ? start + (to - y) : nullptr, a.y_row, call.table(2)[first + n], a, p, q);
                    }
                }
            }
        }
}

}  // namespace STRIATE_NAMESPACE
