// 3 x 3 convolutions of one image by Winograd's method (transforms.hpp).
//
// Inputs are transformed in groups of tiles of the map (those of several images after each other), a vector of channels at a time; then each place is a matrix product
// over the channels, by the same tiles of sums as in `image_taps`, whose pixels are the tiles of the map; then outputs are
// transformed back. What a group needs stays in the cache.
#pragma once

#include "images.hpp"
#include "transforms.hpp"

namespace STRIATE_NAMESPACE {

// Weights in the order of the products: [tile of outputs][place][channel][output], the last outputs filled up with 0.
// operands: weights, packed, coefficients of a batch norm that follows. tables: tiles, as in `image_taps`.
template <int M> inline void image_winograd_pack_of(const Call& call) {
    const auto& a = call.arguments<ImageWinogradPackArguments>();
    constexpr int PLACES = Transform<M>::N * Transform<M>::N;
    const float* scales = call.has(2) ? call.f(2) + 2 * a.outputs : nullptr;
    const Share share(a.tiles, call.part, call.parts);
    for (int64_t unit = share.begin; unit < share.end; unit++) {
        const auto& row = reinterpret_cast<const ImageTileRow*>(call.table(0))[unit];
        const int64_t lanes = row.vectors * W;
        for (int64_t lane = 0; lane < lanes && row.output + lane < a.outputs; lane++) {
            const int64_t k = row.output + lane;
            for (int64_t c = 0; c < a.channels; c++) {
                float u[PLACES];
                filter_to_places<M>(call.f(0) + (k * a.channels + c) * 9, scales ? scales[k] : 1.0, u);
                float* to = call.f(1) + row.weights + c * lanes + lane;
                for (int64_t i = 0; i < PLACES; i++) to[i * a.channels * lanes] = u[i];
            }
        }
    }
}

inline void image_winograd_pack(const Call& call) {
    if (call.arguments<ImageWinogradPackArguments>().size == 2) image_winograd_pack_of<2>(call);
    else image_winograd_pack_of<4>(call);
}

// Where the outputs of one tile go, and what happens to them before.
struct WinogradEnd {
    const float* bias;
    const float* added;
    float* y;
    int64_t row, pitch;
    int64_t rows, columns;  // of the tile's outputs that are within the map
    vec floor, ceiling;
    int64_t activation;
    float a, b;

    vec of(vec sum) const {
        sum = select(sum < floor, floor, sum);
        sum = select(sum > ceiling, ceiling, sum);
        return activation > RELU ? activate(activation, sum, a, b) : sum;
    }
};

template <int M> inline void put_image_outputs(vec (&y)[M][M], const WinogradEnd& end) {
    for (int64_t i = 0; i < end.rows; i++)
        for (int64_t j = 0; j < end.columns; j++) {
            const int64_t place = i * end.row + j * end.pitch;
            store(end.y + place, end.of(end.added ? y[i][j] + load(end.added + place) : y[i][j]));
        }
}

// The largest of each 2 x 2 outputs, as after 2 x 2 max pooling: an activation that rises may come afterwards.
template <int M> inline void put_image_pooled(vec (&y)[M][M], const WinogradEnd& end) {
    for (int64_t i = 0; i < end.rows / 2; i++)
        for (int64_t j = 0; j < end.columns / 2; j++) {
            vec largest = y[2 * i][2 * j];
            for (const vec& v : {y[2 * i][2 * j + 1], y[2 * i + 1][2 * j], y[2 * i + 1][2 * j + 1]})
                largest = select((v > largest) | (v != v), v, largest);
            store(end.y + i * end.row + j * end.pitch, end.of(largest));
        }
}

// Products and outputs of `count` tiles of the map from `first`, whose transformed inputs are at v, for one tile of outputs.
template <int M> inline void image_winograd_outputs(const Call& call, int64_t first, int64_t count, const ImageTileRow& row,
                                                    const float* v, float* m) {
    const auto& a = call.arguments<ImageWinogradArguments>();
    constexpr int PLACES = Transform<M>::N * Transform<M>::N;
    const int64_t lanes = row.vectors * W, v_place = a.group * a.x_channels, m_place = a.group * lanes;
    int32_t in[MOST_GROUP], out[MOST_GROUP];
    for (int64_t n = 0; n < count; n++) {
        in[n] = static_cast<int32_t>(n * a.x_channels);
        out[n] = static_cast<int32_t>(n * lanes);
    }
    ImageTile tile{};
    tile.taps = call.table(4);
    tile.end = tile.taps + a.channels;
    for (int64_t i = 0; i < PLACES; i++) {
        tile.x = v + i * v_place;
        tile.w = call.f(1) + row.weights + i * a.channels * lanes;
        tile.y = m + i * m_place;
        for (int64_t n = 0; n < count; n += a.tile_pixels) {
            tile.pixel_in = in + n;
            tile.pixel_out = out + n;
            const int64_t own = count - n < a.tile_pixels ? count - n : a.tile_pixels;
            image_tile_for(image_products, row.vectors, own, a.tile_pixels)(tile);
        }
    }
    WinogradEnd end{};
    end.row = a.y_row;
    end.pitch = a.y_pitch;
    end.floor = splat(call.number(2));
    end.ceiling = splat(call.number(3));
    end.activation = a.activation;
    end.a = call.number(0);
    end.b = call.number(1);
    for (int64_t n = 0; n < count; n++) {
        const int64_t block = (first + n) / a.map_tiles, place = (first + n) % a.map_tiles;
        const int32_t corner = call.table(2)[place], valid = call.table(3)[place];
        end.rows = valid / 8;
        end.columns = valid % 8;
        for (int64_t q = 0; q < row.vectors; q++) {
            vec y[M][M];
            from_places<M>(m + n * lanes + q * W, m_place, y);
            const int64_t output = row.output + q * W;
            const vec bias = call.has(2) ? load(call.f(2) + output) : vec{};
#pragma GCC unroll 4
            for (int i = 0; i < M; i++)
#pragma GCC unroll 4
                for (int j = 0; j < M; j++) y[i][j] += bias;
            end.y = call.f(3, block) + corner + output;
            end.added = call.has(4) ? call.f(4, block) + corner + output : nullptr;
            if (a.pooled) put_image_pooled<M>(y, end);
            else put_image_outputs<M>(y, end);
        }
    }
}

template <int M> inline void image_winograd_of(const Call& call) {
    const auto& a = call.arguments<ImageWinogradArguments>();
    constexpr int PLACES = Transform<M>::N * Transform<M>::N;
    const int64_t all = call.blocks * a.map_tiles, groups = (all + a.group - 1) / a.group;
    // Threads take groups; where there are too few, each transforms all inputs and takes some of the outputs.
    const bool takes_groups = groups >= 4 * call.parts || groups % call.parts == 0;
    const Share whole_groups(groups, takes_groups ? call.part : 0, takes_groups ? call.parts : 1);
    const Share outputs(a.tiles, takes_groups ? 0 : call.part, takes_groups ? 1 : call.parts);
    float* v = call.scratch;
    float* m = v + PLACES * a.group * a.x_channels;
    for (int64_t g = whole_groups.begin; g < whole_groups.end; g++) {
        const int64_t first = g * a.group, count = all - first < a.group ? all - first : a.group;
        for (int64_t n = 0; n < count; n++) {
            const int64_t block = (first + n) / a.map_tiles, place = (first + n) % a.map_tiles;
            const float* x = call.f(0, block) + call.table(1)[place];
            for (int64_t c = 0; c < a.x_channels; c += W)
                to_places<M>(x + c, a.x_row, a.x_channels, v + n * a.x_channels + c, a.group * a.x_channels);
        }
        for (int64_t t = outputs.begin; t < outputs.end; t++)
            image_winograd_outputs<M>(call, first, count, reinterpret_cast<const ImageTileRow*>(call.table(0))[t], v, m);
    }
}

// operands: x, weights, bias, y, added. tables: tiles of outputs, corner of each tile of the map in x, corner in y, its rows
// and columns within the map (8 rows + columns), numbers of the channels. floats: as in `image_taps`.
inline void image_winograd(const Call& call) {
    if (call.arguments<ImageWinogradArguments>().size == 2) image_winograd_of<2>(call);
    else image_winograd_of<4>(call);
}

}  // namespace STRIATE_NAMESPACE
