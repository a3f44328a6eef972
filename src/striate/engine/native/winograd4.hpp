// 3 x 3 convolutions with 36 multiply-adds where the sum over taps has 144: Winograd's F(4 x 4, 3 x 3), see transforms.hpp.
//
// As winograd.hpp, with larger tiles: fewer products, twice the error, and 4 times as many weights as the filters have, so
// it is for maps that are large and weights that are few.
#pragma once

#include "transforms.hpp"
#include "winograd.hpp"

namespace STRIATE_NAMESPACE {

// G g G' of every filter: [tile of outputs][place][channel][output]. operands: weights, packed, coefficients of a batch norm
// that follows.
inline void winograd4_pack(const Call& call) {
    const auto& a = call.arguments<Winograd4PackArguments>();
    const int64_t width = a.tile_outputs, tiles = (a.outputs + width - 1) / width;
    const Share share(tiles, call.part, call.parts);
    for (int64_t tile = share.begin; tile < share.end; tile++)
        for (int64_t c = 0; c < a.channels; c++)
            for (int64_t q = 0; q < width; q++) {
                const int64_t k = tile * width + q;
                float u[36] = {};
                if (k < a.outputs) {
                    const float* from = call.f(0) + k * a.output_stride + c * a.channel_stride;
                    float g[9];
                    for (int i = 0; i < 9; i++) g[i] = from[a.flipped ? 8 - i : i];
                    filter_to_places<4>(g, call.has(2) ? call.f(2)[2 * a.outputs + k] : 1.0, u);
                }
                for (int64_t p = 0; p < 36; p++) call.f(1)[((tile * 36 + p) * a.channels + c) * width + q] = u[p];
            }
}

using ProductFunction = void (*)(const float*, const float*, float*, int64_t, int64_t);

// By tiles of the map and outputs; Python has the same, in `_product_tile`.
inline ProductFunction product_function(int64_t tiles, int64_t outputs) {
    if constexpr (REGISTERS == 32) {
        if (tiles == 4 && outputs == 6) return winograd_product<6, 4>;
        if (tiles == 6 && outputs == 4) return winograd_product<4, 6>;
        if (tiles == 1 && outputs == 8) return winograd_product<8, 1>;
    } else {
        if (tiles == 3 && outputs == 4) return winograd_product<4, 3>;
        if (tiles == 4 && outputs == 3) return winograd_product<3, 4>;
        if (tiles == 1 && outputs == 8) return winograd_product<8, 1>;
    }
    return nullptr;
}

// Where 4 x 4 outputs of one channel go, and what happens to them before.
struct Winograd4End {
    float* y;
    const float* start;  // what is added, or null
    int64_t row;
    int64_t rows, columns;  // of the tile's outputs that are within the map
    uint8_t* argmax;        // of the tile's first window, or null
    int64_t argmax_row;     // bytes from row to row
    int64_t activation;
    float a, b;
};

inline void put_tile(const vec (&y)[4][4], const Winograd4End& end) {
    for (int64_t i = 0; i < end.rows; i++)
        for (int64_t j = 0; j < end.columns; j++) {
            const int64_t place = i * end.row + j * W;
            const vec v = end.start ? load(end.start + place) + y[i][j] : y[i][j];
            store(end.y + place, end.activation == RELU ? rectify(v) : activate(end.activation, v, end.a, end.b));
        }
}

inline void put_pooled_tile(const vec (&y)[4][4], const Winograd4End& end) {
    for (int64_t i = 0; i < end.rows / 2; i++)
        for (int64_t j = 0; j < end.columns / 2; j++) {
            vec window[4] = {y[2 * i][2 * j], y[2 * i][2 * j + 1], y[2 * i + 1][2 * j], y[2 * i + 1][2 * j + 1]};
            uint8_t* argmax = end.argmax ? end.argmax + i * end.argmax_row + j * W : nullptr;
            put_pooled(window, end.y + i * end.row + j * W, argmax, end.activation);
        }
}

// Products and outputs of the tiles of a group for some outputs from `first_output`. m has room for them.
inline void winograd4_outputs(const Call& call, int64_t block, int64_t first, int64_t count, int64_t first_output,
                              const float* v, float* m, int64_t pitch) {
    const auto& a = call.arguments<Winograd4Arguments>();
    const int64_t place = a.channels * pitch, out = a.tile_outputs * pitch, width = a.tile_outputs;
    const float* u = call.f(1) + first_output * 36 * a.channels;
    const ProductFunction product = product_function(a.tile_tiles, width);
    for (int64_t i = 0; i < 36; i++, u += a.channels * width)
        for (int64_t n = 0; n < count; n += a.tile_tiles)  // the last few may be of tiles that nobody reads
            product(v + i * place + n * W, u, m + i * out + n * W, a.channels, pitch);
    Winograd4End end{};
    end.row = a.y_row;
    end.argmax_row = a.argmax_row * W;
    end.activation = a.activation;
    end.a = call.number(0);
    end.b = call.number(1);
    for (int64_t k = 0; k < width && first_output + k < a.outputs; k++) {
        const int64_t output = first_output + k;
        const vec bias = call.has(2) ? splat(call.f(2)[output]) : vec{};
        for (int64_t n = 0; n < count; n++) {
            vec y[4][4];
            from_places<4>(m + k * pitch + n * W, out, y);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
#pragma GCC unroll 4
                for (int j = 0; j < 4; j++) y[i][j] += bias;
            const int32_t valid = call.table(2)[first + n];
            const int64_t corner = call.table(3)[output] + call.table(1)[first + n];
            end.rows = valid / 8;
            end.columns = valid % 8;
            end.y = call.f(3, block) + corner;
            if (a.pooled) {
                end.argmax = call.has(4) ? call.u(4, block) + output * a.argmax_plane * W + call.table(4)[first + n] : nullptr;
                put_pooled_tile(y, end);
            } else {
                end.start = a.accumulate ? end.y : (call.has(4) ? call.f(4, block) + corner : nullptr);
                put_tile(y, end);
            }
        }
    }
}

// operands: x, packed weights, bias, y, argmax where it pools, else what is added, with the places of y. tables: corner of each
// tile in x, corner in y, its rows and columns within the map (8 rows + columns), offset of each output in y, place of each tile
// in argmax.
inline void winograd4(const Call& call) {
    const auto& a = call.arguments<Winograd4Arguments>();
    const int64_t groups = (a.tiles + a.group - 1) / a.group, sets = (a.outputs + a.tile_outputs - 1) / a.tile_outputs;
    const bool takes_groups = groups >= 4 * call.parts || groups % call.parts == 0;
    const Share own_groups(groups, takes_groups ? call.part : 0, takes_groups ? call.parts : 1);
    const Share own_sets(sets, takes_groups ? 0 : call.part, takes_groups ? 1 : call.parts);
    // An odd number of vectors: see `Lanes.plane`.
    const int64_t pitch = ((a.group + a.tile_tiles - 1) / a.tile_tiles * a.tile_tiles | 1) * W, place = a.channels * pitch;
    float* v = room(36 * (place + a.tile_outputs * pitch));
    for (int64_t block = 0; block < call.blocks; block++)
        for (int64_t g = own_groups.begin; g < own_groups.end; g++) {
            const int64_t first = g * a.group, count = a.tiles - first < a.group ? a.tiles - first : a.group;
            for (int64_t c = 0; c < a.channels; c++)
                for (int64_t n = 0; n < count; n++)
                    to_places<4>(call.f(0, block) + c * a.x_plane + call.table(0)[first + n], a.x_row, W,
                                 v + c * pitch + n * W, place);
            for (int64_t set = own_sets.begin; set < own_sets.end; set++)
                winograd4_outputs(call, block, first, count, set * a.tile_outputs, v, v + 36 * place, pitch);
        }
}

}  // namespace STRIATE_NAMESPACE
