// Pooling over windows. The rows and columns of each window come as tables, so that padding, dilation, ceil_mode and
// adaptive sizes are settled in Python.
#pragma once

#include "pointwise.hpp"

namespace STRIATE_NAMESPACE {

// operands: x, y, argmax. tables: input row of each (output row, tap), input column of each (output column, tap).
inline void max_pool(const Call& call) {
    const auto& a = call.arguments<MaxPoolArguments>();
    const int32_t *row_of = call.table(0), *column_of = call.table(1);
    each_row(call, Extent{a.channels, a.rows, a.columns}, [&](int64_t block, int64_t c, int64_t i) {
        const float* x = call.f(0, block) + a.x.first + c * a.x.plane;
        float* y = a.y.at(call.f(1, block), c, i);
        uint8_t* argmax = call.has(2) ? call.u(2, block) + c * a.argmax_plane + i * a.columns * W : nullptr;
        for (int64_t j = 0; j < a.columns; j++) {
            vec largest = splat(-__builtin_inff());
            ivec place = ivec{} - 1;
            for (int64_t u = 0; u < a.kernel_rows; u++) {
                const int32_t row = row_of[i * a.kernel_rows + u];
                if (row < 0) continue;
                for (int64_t v = 0; v < a.kernel_columns; v++) {
                    const int32_t column = column_of[j * a.kernel_columns + v];
                    if (column < 0) continue;
                    const vec value = load(x + row * a.x.row + column * W);
                    const ivec greater = (value > largest) | (value != value) | (place < 0);
                    largest = select(greater, value, largest);
                    place = greater ? ivec{} + static_cast<int32_t>(u * a.kernel_columns + v) : place;
                }
            }
            store(y + j * W, largest);
            if (argmax) narrow(place, argmax + j * W);
        }
    });
}

// operands: dy, argmax, dx. The gradient goes to the place that was largest; others get 0.
inline void max_pool_backward(const Call& call) {
    const auto& a = call.arguments<MaxPoolArguments>();
    const int32_t *row_of = call.table(0), *column_of = call.table(1);
    const Share share(a.channels, call.part, call.parts);
    for (int64_t block = 0; block < call.blocks; block++)
        for (int64_t c = share.begin; c < share.end; c++) {
            float* dx = call.f(2, block) + a.x.first + c * a.x.plane;
            if (!a.accumulate)
                for (int64_t i = 0; i < a.x_rows; i++)
                    for (int64_t j = 0; j < a.x_columns; j++) store(dx + i * a.x.row + j * W, vec{});
            for (int64_t i = 0; i < a.rows; i++)
                for (int64_t j = 0; j < a.columns; j++) {
                    const vec d = load(a.y.at(call.f(0, block), c, i) + j * W);
                    const ivec place = widen(call.u(1, block) + c * a.argmax_plane + (i * a.columns + j) * W);
                    for (int64_t u = 0; u < a.kernel_rows; u++) {
                        const int32_t row = row_of[i * a.kernel_rows + u];
                        if (row < 0) continue;
                        for (int64_t v = 0; v < a.kernel_columns; v++) {
                            const int32_t column = column_of[j * a.kernel_columns + v];
                            if (column < 0) continue;
                            float* to = dx + row * a.x.row + column * W;
                            const ivec here = place == static_cast<int32_t>(u * a.kernel_columns + v);
                            store(to, load(to) + select(here, d, vec{}));
                        }
                    }
                }
        }
}

// Backward of the 2 x 2 pooling that `taps` does in its registers. operands: dy, argmax, dx.
inline void unpool(const Call& call) {
    const auto& a = call.arguments<UnpoolArguments>();
    each_row(call, Extent{a.channels, a.rows, a.columns}, [&](int64_t block, int64_t c, int64_t i) {
        const float* dy = a.dy.at(call.f(0, block), c, i);
        const uint8_t* argmax = call.u(1, block) + c * a.argmax_plane + i * a.columns * W;
        float* upper = a.dx.at(call.f(2, block), c, 2 * i);
        float* lower = upper + a.dx.row;
        for (int64_t j = 0; j < a.columns; j++) {
            const vec d = load(dy + j * W);
            const ivec place = widen(argmax + j * W);
            store(upper + 2 * j * W, select(place == 0, d, vec{}));
            store(upper + (2 * j + 1) * W, select(place == 1, d, vec{}));
            store(lower + 2 * j * W, select(place == 2, d, vec{}));
            store(lower + (2 * j + 1) * W, select(place == 3, d, vec{}));
        }
    });
}

// operands: x, y. tables: first and last row of each window (half open), columns alike. floats: 0, 0, then the factor of
// each window.
inline void avg_pool(const Call& call) {
    const auto& a = call.arguments<AvgPoolArguments>();
    const int32_t *rows = call.table(0), *columns = call.table(1);
    each_row(call, Extent{a.channels, a.rows, a.columns}, [&](int64_t block, int64_t c, int64_t i) {
        const float* x = call.f(0, block) + a.x.first + c * a.x.plane;
        float* y = a.y.at(call.f(1, block), c, i);
        for (int64_t j = 0; j < a.columns; j++) {
            vec sum = {};
            for (int32_t u = rows[2 * i]; u < rows[2 * i + 1]; u++)
                for (int32_t v = columns[2 * j]; v < columns[2 * j + 1]; v++) sum += load(x + u * a.x.row + v * W);
            store(y + j * W, sum * call.number(2 + i * a.columns + j));
        }
    });
}

// operands: dy, dx.
inline void avg_pool_backward(const Call& call) {
    const auto& a = call.arguments<AvgPoolArguments>();
    const int32_t *rows = call.table(0), *columns = call.table(1);
    const Share share(a.channels, call.part, call.parts);
    for (int64_t block = 0; block < call.blocks; block++)
        for (int64_t c = share.begin; c < share.end; c++) {
            float* dx = call.f(1, block) + a.x.first + c * a.x.plane;
            if (!a.accumulate)
                for (int64_t i = 0; i < a.x_rows; i++)
                    for (int64_t j = 0; j < a.x_columns; j++) store(dx + i * a.x.row + j * W, vec{});
            for (int64_t i = 0; i < a.rows; i++)
                for (int64_t j = 0; j < a.columns; j++) {
                    const vec d = load(a.y.at(call.f(0, block), c, i) + j * W) * call.number(2 + i * a.columns + j);
                    for (int32_t u = rows[2 * i]; u < rows[2 * i + 1]; u++)
                        for (int32_t v = columns[2 * j]; v < columns[2 * j + 1]; v++) {
                            float* to = dx + u * a.x.row + v * W;
                            store(to, load(to) + d);
                        }
                }
        }
}

}  // namespace STRIATE_NAMESPACE
