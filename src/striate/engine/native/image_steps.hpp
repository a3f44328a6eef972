// Everything but layers on one image whose channels lie side by side: in and out, pooling, normalisation, movement.
#pragma once

#include "images.hpp"
#include "normalize.hpp"

namespace STRIATE_NAMESPACE {

// operands: images of PyTorch, image.
inline void image_load(const Call& call) {
    const auto& a = call.arguments<ImageLayoutArguments>();
    const auto& [channels, rows, columns] = a.extent;
    const Share share(rows, call.part, call.parts);
    for (int64_t block = 0; block < call.blocks; block++) {
        const float* from = call.f(0) + (call.first_block + block) * channels * rows * columns;
        for (int64_t i = share.begin; i < share.end; i++) {
            float* to = a.pixels.at(call.f(1, block), i, 0);
            if (a.pixels.pitch == 1) {
                std::memcpy(to, from + i * columns, static_cast<size_t>(columns) * sizeof(float));
                continue;
            }
            int64_t c = 0;
            for (; c + W <= channels; c += W) {
                int64_t j = 0;
                for (; j + W <= columns; j += W) {
                    vec square[W];
                    for (int l = 0; l < W; l++) square[l] = load_unaligned(from + ((c + l) * rows + i) * columns + j);
                    transpose(square);
                    for (int l = 0; l < W; l++) store_unaligned(to + (j + l) * a.pixels.pitch + c, square[l]);
                }
                for (; j < columns; j++)
                    for (int l = 0; l < W; l++) to[j * a.pixels.pitch + c + l] = from[((c + l) * rows + i) * columns + j];
            }
            for (; c < channels; c++)
                for (int64_t j = 0; j < columns; j++) to[j * a.pixels.pitch + c] = from[(c * rows + i) * columns + j];
        }
    }
}

// operands: image, images of PyTorch.
inline void image_store(const Call& call) {
    const auto& a = call.arguments<ImageLayoutArguments>();
    const auto& [channels, rows, columns] = a.extent;
    const Share share(rows, call.part, call.parts);
    for (int64_t block = 0; block < call.blocks; block++) {
        float* to = call.f(1) + (call.first_block + block) * channels * rows * columns;
        for (int64_t i = share.begin; i < share.end; i++) {
            const float* from = a.pixels.at(call.f(0, block), i, 0);
            if (rows * columns == 1) {
                std::memcpy(to, from, static_cast<size_t>(channels) * sizeof(float));
                continue;
            }
            int64_t c = 0;
            for (; c + W <= channels; c += W) {
                int64_t j = 0;
                for (; j + W <= columns; j += W) {
                    vec square[W];
                    for (int l = 0; l < W; l++) square[l] = load_unaligned(from + (j + l) * a.pixels.pitch + c);
                    transpose(square);
                    for (int l = 0; l < W; l++) store_unaligned(to + ((c + l) * rows + i) * columns + j, square[l]);
                }
                for (; j < columns; j++)
                    for (int l = 0; l < W; l++) to[((c + l) * rows + i) * columns + j] = from[j * a.pixels.pitch + c + l];
            }
            for (; c < channels; c++)
                for (int64_t j = 0; j < columns; j++) to[(c * rows + i) * columns + j] = from[j * a.pixels.pitch + c];
        }
    }
}

// Call `body(block, row, column)` for each pixel of this thread's share, image after image.
template <class Body> inline void each_pixel(const Call& call, const Extent& extent, Body body) {
    const Share share(extent.rows * extent.columns, call.part, call.parts);
    for (int64_t block = 0; block < call.blocks; block++)
        for (int64_t unit = share.begin; unit < share.end; unit++) body(block, unit / extent.columns, unit % extent.columns);
}

// operands: x, y. tables: input row of each (output row, tap), -1 in the padding; columns alike.
inline void image_max_pool(const Call& call) {
    const auto& a = call.arguments<ImageMaxPoolArguments>();
    const int64_t heights = a.kernel_rows, widths = a.kernel_columns;
    each_pixel(call, a.extent, [&](int64_t block, int64_t i, int64_t j) {
        const float *x = call.f(0, block) + a.x.first, *cells[256];
        float* y = a.y.at(call.f(1, block), i, j);
        int count = 0;
        for (const int32_t* row = call.table(0) + i * heights; row < call.table(0) + (i + 1) * heights; row++)
            for (const int32_t* column = call.table(1) + j * widths; column < call.table(1) + (j + 1) * widths; column++)
                if (*row >= 0 && *column >= 0) cells[count++] = x + *row * a.x.row + *column * a.x.pitch;
        for (int64_t c = 0; c < a.extent.channels; c += W) {
            vec largest = count ? load(cells[0] + c) : splat(-__builtin_inff());
            for (int n = 1; n < count; n++) {
                const vec value = load(cells[n] + c);
                largest = select((value > largest) | (value != value), value, largest);
            }
            store(y + c, largest);
        }
    });
}

template <int V> inline void average_window(const float* x, float* y, const ImageAvgPoolArguments& a, const int32_t* rows,
                                            const int32_t* columns, float factor) {
    vec sums[V] = {};
    for (int64_t u = rows[0]; u < rows[1]; u++)
        for (int64_t w = columns[0]; w < columns[1]; w++) {
            const float* from = x + u * a.x.row + w * a.x.pitch;
#pragma GCC unroll 8
            for (int v = 0; v < V; v++) sums[v] += load(from + v * W);
        }
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) store(y + v * W, sums[v] * factor);
}

// operands: x, y. tables: first and last row of each window (half open), columns alike. floats: the factor of each window.
inline void image_avg_pool(const Call& call) {
    const auto& a = call.arguments<ImageAvgPoolArguments>();
    each_pixel(call, a.extent, [&](int64_t block, int64_t i, int64_t j) {
        const float* x = call.f(0, block) + a.x.first;
        float* y = a.y.at(call.f(1, block), i, j);
        const int32_t *rows = call.table(0) + 2 * i, *columns = call.table(1) + 2 * j;
        const float factor = call.number(i * a.extent.columns + j);
        int64_t c = 0;
        for (; c + 8 * W <= a.extent.channels; c += 8 * W) average_window<8>(x + c, y + c, a, rows, columns, factor);
        for (; c < a.extent.channels; c += W) average_window<1>(x + c, y + c, a, rows, columns, factor);
    });
}

// y = activation(x scale + shift [+ added]). operands: x, coefficients (with room for a vector behind), y, added.
inline void image_normalize(const Call& call) {
    const auto& a = call.arguments<ImageNormalizeArguments>();
    const float p = call.number(0), q = call.number(1);
    const float *scale = call.f(1) + 2 * a.real_channels, *shift = call.f(1) + 3 * a.real_channels;
    each_pixel(call, a.extent, [&](int64_t block, int64_t i, int64_t j) {
        const float* x = a.x.at(call.f(0, block), i, j);
        float* y = a.y.at(call.f(2, block), i, j);
        const float* added = call.has(3) ? a.added.at(call.f(3, block), i, j) : nullptr;
        for (int64_t c = 0; c < a.extent.channels; c += W) {
            vec v = load(x + c) * load_unaligned(scale + c) + load_unaligned(shift + c);
            if (added) v += load(added + c);
            store(y + c, a.activation == RELU ? rectify(v) : activate(a.activation, v, p, q));
        }
    });
}

// operands: a, b, y.
inline void image_combine(const Call& call) {
    const auto& a = call.arguments<ImageCombineArguments>();
    each_pixel(call, a.extent, [&](int64_t block, int64_t i, int64_t j) {
        const float* first = a.a.at(call.f(0, block), i, j);
        const float* second = a.b.at(call.f(1, block), i, j);
        float* y = a.y.at(call.f(2, block), i, j);
        for (int64_t c = 0; c < a.extent.channels; c += W) {
            const vec u = load(first + c), v = load(second + c);
            store(y + c, a.kind == 0 ? u + v : (a.kind == 1 ? u - v : u * v));
        }
    });
}

// operands: x, y. floats: the activation's two.
inline void image_activate(const Call& call) {
    const auto& a = call.arguments<ImageActivateArguments>();
    const float p = call.number(0), q = call.number(1);
    each_pixel(call, a.extent, [&](int64_t block, int64_t i, int64_t j) {
        const float* x = a.x.at(call.f(0, block), i, j);
        float* y = a.y.at(call.f(1, block), i, j);
        for (int64_t c = 0; c < a.extent.channels; c += W) store(y + c, activate(a.activation, load(x + c), p, q));
    });
}

// y = x (k + alpha / size sum of squares of neighbouring channels)^-beta. operands: x, y. floats: alpha, beta, k.
// The squares wait in the thread's scratch memory, between zeros.
inline void image_local_response(const Call& call) {
    const auto& a = call.arguments<ImageLocalResponseArguments>();
    const float alpha = call.number(0) / static_cast<float>(a.size), beta = call.number(1), k = call.number(2);
    float* squares = call.scratch;
    const int64_t before = a.size / 2, all = before + a.extent.channels + a.size + W;
    std::memset(squares, 0, static_cast<size_t>(all) * sizeof(float));
    each_pixel(call, a.extent, [&](int64_t block, int64_t i, int64_t j) {
        const float* x = a.x.at(call.f(0, block), i, j);
        float* y = a.y.at(call.f(1, block), i, j);
        for (int64_t c = 0; c < a.real_channels; c++) squares[before + c] = x[c] * x[c];
        for (int64_t c = 0; c < a.extent.channels; c += W) {
            vec sum = {};
            for (int64_t n = 0; n < a.size; n++) sum += load_unaligned(squares + c + n);
            store(y + c, load(x + c) * power(k + alpha * sum, -beta));
        }
    });
}

// Numbers copied in runs: concatenation, slices, padding, shuffles. operands: x, y. tables: runs (from, -1: zeros; to;
// length), in floats.
inline void image_move(const Call& call) {
    const Share share(call.table_size(0) / 3, call.part, call.parts);
    for (int64_t block = 0; block < call.blocks; block++)
        for (const int32_t* run = call.table(0) + 3 * share.begin; run < call.table(0) + 3 * share.end; run += 3) {
            const auto bytes = static_cast<size_t>(run[2]) * sizeof(float);
            if (run[0] < 0) std::memset(call.f(1, block) + run[1], 0, bytes);
            else if (run[2] == 1) call.f(1, block)[run[1]] = call.f(0, block)[run[0]];
            else std::memcpy(call.f(1, block) + run[1], call.f(0, block) + run[0], bytes);
        }
}

// The bias of a layer with a batch norm behind it: scale bias + shift. operands: bias, coefficients, folded; either of the
// first two may be missing.
inline void fold_bias(const Call& call) {
    const auto& a = call.arguments<FoldBiasArguments>();
    if (call.part != 0) return;
    for (int64_t k = 0; k < a.channels; k++) {
        const float bias = call.has(0) ? call.f(0)[k] : 0.0f;
        call.f(2)[k] = call.has(1) ? call.f(1)[2 * a.channels + k] * bias + call.f(1)[3 * a.channels + k] : bias;
    }
}

}  // namespace STRIATE_NAMESPACE
