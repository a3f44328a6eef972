// Weight gradients: sums over pixels of products of output gradients and inputs.
//
//     dw[k][t] += sum over p of dy[k][p] x[pixel[p] + tap[t]]
//
// A tile of K outputs x T taps is summed in registers over the pixels of a piece: K + T loads for K T multiply-adds. The
// lanes (images) are summed at the end of a piece, in a fixed order.
#pragma once

#include "program.hpp"
#include "vec.hpp"

namespace STRIATE_NAMESPACE {

struct OuterTile {
    const float* x;
    const float* dy;
    const int32_t* taps;
    int64_t rows, columns, x_row, x_column, dy_row, dy_plane, blocks, x_block, dy_block;
    float* sums;             // at the first output and tap of the tile
    int64_t output_stride;   // of the sums
};

template <int K, int T>
void run_outer_tile(const OuterTile& tile) {
    vec sums[K][T] = {};
    for (int64_t block = 0; block < tile.blocks; block++)
        for (int64_t i = 0; i < tile.rows; i++) {
            const float* x[T];
            const float* dy[K];
#pragma GCC unroll 16
            for (int t = 0; t < T; t++) x[t] = tile.x + block * tile.x_block + i * tile.x_row + tile.taps[t];
#pragma GCC unroll 16
            for (int k = 0; k < K; k++) dy[k] = tile.dy + block * tile.dy_block + k * tile.dy_plane + i * tile.dy_row;
            int64_t in = 0;
            for (int64_t j = 0; j < tile.columns; j++) {
                // The fewer of the two stay in registers, as in `sum_taps`.
                if constexpr (T <= K) {
                    vec values[T];
#pragma GCC unroll 16
                    for (int t = 0; t < T; t++) values[t] = load(x[t] + in);
#pragma GCC unroll 16
                    for (int k = 0; k < K; k++) {
                        const vec gradient = load(dy[k] + j * W);
#pragma GCC unroll 16
                        for (int t = 0; t < T; t++) sums[k][t] += gradient * values[t];
                    }
                } else {
                    vec gradients[K];
#pragma GCC unroll 16
                    for (int k = 0; k < K; k++) gradients[k] = load(dy[k] + j * W);
#pragma GCC unroll 16
                    for (int t = 0; t < T; t++) {
                        const vec value = load(x[t] + in);
#pragma GCC unroll 16
                        for (int k = 0; k < K; k++) sums[k][t] += value * gradients[k];
                    }
                }
                in += tile.x_column;
            }
        }
#pragma GCC unroll 24
    for (int first = 0; first < K * T; first += W) {
        vec rows[W];
#pragma GCC unroll 16
        for (int i = 0; i < W; i++) {
            const int n = first + i < K * T ? first + i : 0;
            rows[i] = sums[n / T][n % T];
        }
        const vec totals = lane_sums(rows);
#pragma GCC unroll 16
        for (int i = 0; i < W; i++) {
            const int n = first + i;
            if (n < K * T) tile.sums[n / T * tile.output_stride + n % T] += totals[i];
        }
    }
}

using OuterFunction = void (*)(const OuterTile&);

template <int K, int T> constexpr OuterFunction outer_function() {
    if constexpr (K * T <= (REGISTERS == 32 ? 24 : 12)) return run_outer_tile<K, T>;
    else return nullptr;
}
template <int K> struct OuterRow {
    OuterFunction by_taps[10] = {nullptr, outer_function<K, 1>(), outer_function<K, 2>(), outer_function<K, 3>(),
                                 outer_function<K, 4>(), outer_function<K, 5>(), outer_function<K, 6>(),
                                 outer_function<K, 7>(), outer_function<K, 8>(), outer_function<K, 9>()};
};
struct OuterFunctions {
    OuterRow<1> k1; OuterRow<2> k2; OuterRow<3> k3; OuterRow<4> k4; OuterRow<5> k5; OuterRow<6> k6; OuterRow<7> k7; OuterRow<8> k8;
    const OuterFunction* rows[MOST_OUTER + 1] = {nullptr, k1.by_taps, k2.by_taps, k3.by_taps, k4.by_taps,
                                                 k5.by_taps, k6.by_taps, k7.by_taps, k8.by_taps};
};
inline constinit const OuterFunctions outer_functions{};

inline void outer_pieces(const Call& call, const OuterArguments& a, OuterTile& tile, int64_t group, int64_t first,
                         int64_t row, int64_t block, int64_t blocks) {
    const int64_t width = a.outputs - first < a.tile_outputs ? a.outputs - first : a.tile_outputs;
    const float* x = call.f(0, block) + group * a.x_group_stride + row * a.x_row;
    const int64_t k = group * a.outputs + first;
    tile.dy = call.f(1, block) + a.dy_first + k * a.dy_plane + row * a.dy_row;
    tile.rows = a.rows - row < a.piece_rows ? a.rows - row : a.piece_rows;
    tile.blocks = blocks;
    tile.x = x;
    for (int64_t t = 0; t < a.taps; t += a.tile_taps) {
        const int64_t count = a.taps - t < a.tile_taps ? a.taps - t : a.tile_taps;
        tile.taps = call.table(0) + t;
        tile.sums = call.f(2) + k * a.taps + t;
        outer_functions.rows[width][count](tile);
    }
}

// operands: x, dy, sums of the slot (weight's shape). tables: taps.
inline void outer(const Call& call) {
    const auto& a = call.arguments<OuterArguments>();
    OuterTile tile{};
    tile.columns = a.columns;
    tile.x_row = a.x_row;
    tile.x_column = a.x_column;
    tile.dy_row = a.dy_row;
    tile.dy_plane = a.dy_plane;
    tile.x_block = call.stride[0] / 4;
    tile.dy_block = call.stride[1] / 4;
    tile.output_stride = a.taps;
    const int64_t tiles = (a.outputs + a.tile_outputs - 1) / a.tile_outputs;
    const Share share(a.groups * tiles, call.part, call.parts);
    // Small maps are summed over several blocks before their lanes are.
    const int64_t together = a.rows <= a.piece_rows ? 1 + 127 / (a.rows * a.columns) : 1;
    for (int64_t unit = share.begin; unit < share.end; unit++)
        for (int64_t block = 0; block < call.blocks; block += together) {
            const int64_t blocks = call.blocks - block < together ? call.blocks - block : together;
            for (int64_t row = 0; row < a.rows; row += a.piece_rows)
                outer_pieces(call, a, tile, unit / tiles, unit % tiles * a.tile_outputs, row, block, blocks);
        }
}

// Bias gradients: sums of all values of a channel. operands: dy, sums of the slot.
inline void channel_sums(const Call& call) {
    const auto& a = call.arguments<ChannelSumsArguments>();
    const Share share(a.channels, call.part, call.parts);
    for (int64_t c = share.begin; c < share.end; c++) {
        vec sums[4] = {};
        for (int64_t block = 0; block < call.blocks; block++)
            for (int64_t i = 0; i < a.rows; i++) {
                const float* dy = call.f(0, block) + a.first + c * a.plane + i * a.row;
                int64_t j = 0;
                for (; j + 4 <= a.columns; j += 4)
                    for (int q = 0; q < 4; q++) sums[q] += load(dy + (j + q) * W);
                for (; j < a.columns; j++) sums[0] += load(dy + j * W);
            }
        call.f(1)[c] += lane_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
    }
}

}  // namespace STRIATE_NAMESPACE
