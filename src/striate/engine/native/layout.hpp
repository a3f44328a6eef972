// Between PyTorch's layout (image, channel, row, column) and lanes (channel, row, column, image of the block).
#pragma once

#include "program.hpp"
#include "vec.hpp"

namespace STRIATE_NAMESPACE {

inline int64_t valid_lanes(const Call& call, int64_t block) {
    const int64_t left = call.batch - (call.first_block + block) * W;
    return left < 0 ? 0 : (left < W ? left : W);
}

// operands: images of PyTorch, lanes. Lanes without an image are 0.
inline void load_images(const Call& call) {
    const auto& a = call.arguments<LayoutArguments>();
    const int64_t size = a.channels * a.rows * a.columns;
    const Share share(a.channels * a.rows, call.part, call.parts);
    for (int64_t block = 0; block < call.blocks; block++) {
        const int64_t valid = valid_lanes(call, block);
        const float* images = call.f(0) + (call.first_block + block) * W * size;
        for (int64_t unit = share.begin; unit < share.end; unit++) {
            const int64_t c = unit / a.rows, i = unit % a.rows;
            const float* from = images + unit * a.columns;
            float* to = call.f(1, block) + a.first + c * a.plane + i * a.row;
            int64_t j = 0;
            for (; j + W <= a.columns; j += W) {
                vec rows[W];
                for (int l = 0; l < W; l++) rows[l] = l < valid ? load_unaligned(from + l * size + j) : vec{};
                transpose(rows);
                for (int l = 0; l < W; l++) {
                    float* place = to + (j + l) * W;
                    store(place, a.accumulate ? load(place) + rows[l] : rows[l]);
                }
            }
            for (; j < a.columns; j++) {
                vec v = {};
                for (int l = 0; l < valid; l++) v[l] = from[l * size + j];
                store(to + j * W, a.accumulate ? load(to + j * W) + v : v);
            }
        }
    }
}

// operands: lanes, images of PyTorch.
inline void store_images(const Call& call) {
    const auto& a = call.arguments<LayoutArguments>();
    const int64_t size = a.channels * a.rows * a.columns;
    const Share share(a.channels * a.rows, call.part, call.parts);
    for (int64_t block = 0; block < call.blocks; block++) {
        const int64_t valid = valid_lanes(call, block);
        float* images = call.f(1) + (call.first_block + block) * W * size;
        for (int64_t unit = share.begin; unit < share.end; unit++) {
            const float* from = call.f(0, block) + a.first + unit / a.rows * a.plane + unit % a.rows * a.row;
            float* to = images + unit * a.columns;
            int64_t j = 0;
            for (; j + W <= a.columns; j += W) {
                vec rows[W];
                for (int l = 0; l < W; l++) rows[l] = load(from + (j + l) * W);
                transpose(rows);
                for (int l = 0; l < valid; l++) store_unaligned(to + l * size + j, rows[l]);
            }
            for (; j < a.columns; j++)
                for (int l = 0; l < valid; l++) to[l * size + j] = from[j * W + l];
        }
    }
}

// Features of all images for the weight gradient of a dense layer: [panel of features][image][feature], the last panel
// filled with 0. operands: lanes, panels. tables: offset of each feature.
inline void panels_of_rows(const Call& call) {
    const auto& a = call.arguments<RowsArguments>();
    const int64_t panels = (a.features + a.panel - 1) / a.panel;
    const Share share(panels, call.part, call.parts);
    const int32_t* features = call.table(0);
    for (int64_t panel = share.begin; panel < share.end; panel++)
        for (int64_t block = 0; block < call.all_blocks; block++) {
            const float* from = call.f(0, block);
            const int64_t valid = valid_lanes(call, block);
            float* to = call.f(1) + (panel * call.batch + block * W) * a.panel;
            for (int64_t q = 0; q < a.panel; q += W) {
                const int64_t f = panel * a.panel + q;
                vec rows[W];
                for (int l = 0; l < W; l++) rows[l] = f + l < a.features ? load(from + features[f + l]) : vec{};
                if (a.panel - q >= W) {
                    transpose(rows);
                    for (int l = 0; l < valid; l++) store_unaligned(to + l * a.panel + q, rows[l]);
                } else {
                    for (int l = 0; l < valid; l++)
                        for (int64_t r = 0; r < a.panel - q; r++) to[l * a.panel + q + r] = rows[r][l];
                }
            }
        }
}

struct DenseTile {
    const float* x;   // of a panel
    const float* dy;  // of a panel of outputs
    int64_t images, panel, width, features;
    bool accumulates;
    float* sums;
};

template <int K, int P>
void run_dense_tile(const DenseTile& tile) {
    vec sums[P][K] = {};
    const float *x = tile.x, *dy = tile.dy;
    for (int64_t n = 0; n < tile.images; n++) {
        vec values[P];
#pragma GCC unroll 16
        for (int p = 0; p < P; p++) values[p] = load_unaligned(x + p * W);
#pragma GCC unroll 16
        for (int k = 0; k < K; k++) {
            const vec gradient = splat(dy[k]);
#pragma GCC unroll 16
            for (int p = 0; p < P; p++) sums[p][k] += values[p] * gradient;
        }
        x += P * W;
        dy += K;
    }
#pragma GCC unroll 16
    for (int k = 0; k < K; k++)
#pragma GCC unroll 16
        for (int p = 0; p < P; p++) {
            if (k >= tile.width) continue;
            float* to = tile.sums + k * tile.features + p * W;
            const int64_t left = (tile.panel - p * W);
            if (left >= W) store_unaligned(to, tile.accumulates ? load_unaligned(to) + sums[p][k] : sums[p][k]);
            else
                for (int64_t r = 0; r < left; r++) to[r] = tile.accumulates ? to[r] + sums[p][k][r] : sums[p][k][r];
        }
}

constexpr int DENSE_OUTPUTS = REGISTERS == 32 ? 6 : 4, DENSE_VECTORS = REGISTERS == 32 ? 4 : 3;

// Weight gradient of a dense layer over the whole batch, a matrix product. operands: panels of x, panels of dy, gradient.
inline void dense_weight_gradient(const Call& call) {
    const auto& a = call.arguments<DenseGradientArguments>();
    const int64_t panel = DENSE_VECTORS * W;
    const int64_t panels = (a.features + panel - 1) / panel, tiles = (a.outputs + DENSE_OUTPUTS - 1) / DENSE_OUTPUTS;
    const Share share(panels * tiles, call.part, call.parts);
    DenseTile tile{};
    tile.images = call.batch;
    tile.features = a.features;
    tile.accumulates = a.accumulate;
    for (int64_t unit = share.begin; unit < share.end; unit++) {
        const int64_t p = unit / tiles, k = unit % tiles;
        tile.x = call.f(0) + p * call.batch * panel;
        tile.dy = call.f(1) + k * call.batch * DENSE_OUTPUTS;
        tile.panel = a.features - p * panel < panel ? a.features - p * panel : panel;
        tile.width = a.outputs - k * DENSE_OUTPUTS < DENSE_OUTPUTS ? a.outputs - k * DENSE_OUTPUTS : DENSE_OUTPUTS;
        tile.sums = call.f(2) + k * DENSE_OUTPUTS * a.features + p * panel;
        run_dense_tile<DENSE_OUTPUTS, DENSE_VECTORS>(tile);
    }
}

// Bias gradient of a dense layer: operands: dy (lanes), gradient. tables: offset of each output.
inline void dense_bias_gradient(const Call& call) {
    const int64_t outputs = call.table_size(0);
    const Share share(outputs, call.part, call.parts);
    for (int64_t k = share.begin; k < share.end; k++) {
        vec sum = {};
        for (int64_t block = 0; block < call.all_blocks; block++) sum += load(call.f(0, block) + call.table(0)[k]);
        const float total = lane_sum(sum);
        call.f(1)[k] = call.instruction->ints[0] ? call.f(1)[k] + total : total;  // accumulate
    }
}

}  // namespace STRIATE_NAMESPACE
