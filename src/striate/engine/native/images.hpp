// Layers on one image whose channels lie side by side: a vector holds channels, so that one image alone is fast.
//
//     y[pixel][k] = bias[k] + sum over taps of x[pixel_in + tap] w[tap][k]
//
// An image is [row][column][channel]. A tile of P pixels x V vectors of outputs is summed in registers: P broadcasts of x
// and V loads of weights for P V multiply-adds. Where pixels and taps are is in tables of offsets (in floats), made in Python.
#pragma once

#include "activation.hpp"
#include "program.hpp"

namespace STRIATE_NAMESPACE {

struct ImageTile {
    const float* x;
    const float* w;
    const float* bias;       // at the first output of the tile, or null
    const float* added;      // to the sums, at the first output, or null
    float* y;                // at the first output
    const int32_t* taps;
    const int32_t* end;      // of the taps
    const int32_t* pixel_in;
    const int32_t* pixel_out;
    float floor, ceiling;
    int64_t activation;
    float a, b;
};

// The rarer activations, on what a tile has stored.
__attribute__((noinline)) inline void activate_pixels(const ImageTile& tile, int pixels, int vectors) {
    for (int p = 0; p < pixels; p++)
        for (int v = 0; v < vectors; v++) {
            float* place = tile.y + tile.pixel_out[p] + v * W;
            store(place, activate(tile.activation, load(place), tile.a, tile.b));
        }
}

// Raw sums are stored as they are: `image_winograd` goes on with them.
template <int P, int V, bool RAW> __attribute__((always_inline)) inline void finish_tile(vec (&sums)[P][V], const ImageTile& tile) {
    if constexpr (RAW) {
#pragma GCC unroll 16
        for (int p = 0; p < P; p++)
#pragma GCC unroll 16
            for (int v = 0; v < V; v++) store(tile.y + tile.pixel_out[p] + v * W, sums[p][v]);
        return;
    }
    const vec floor = splat(tile.floor), ceiling = splat(tile.ceiling);
#pragma GCC unroll 16
    for (int p = 0; p < P; p++)
#pragma GCC unroll 16
        for (int v = 0; v < V; v++) {
            vec sum = sums[p][v];
            if (tile.added) sum += load(tile.added + tile.pixel_out[p] + v * W);
            sum = select(sum < floor, floor, sum);
            store(tile.y + tile.pixel_out[p] + v * W, select(sum > ceiling, ceiling, sum));
        }
    if (tile.activation > RELU) activate_pixels(tile, P, V);
}

template <int P, int V, bool RAW> __attribute__((always_inline)) inline void sum_pixels(vec (&sums)[P][V], const ImageTile& tile) {
#pragma GCC unroll 16
    for (int v = 0; v < V; v++) {
        const vec start = !RAW && tile.bias ? load(tile.bias + v * W) : vec{};
#pragma GCC unroll 16
        for (int p = 0; p < P; p++) sums[p][v] = start;
    }
    const float *x[P], *w = tile.w;
#pragma GCC unroll 16
    for (int p = 0; p < P; p++) x[p] = tile.x + tile.pixel_in[p];
    for (const int32_t* tap = tile.taps; tap < tile.end; tap++, w += V * W) {
        const int64_t offset = *tap;
        vec weights[V];
#pragma GCC unroll 16
        for (int v = 0; v < V; v++) weights[v] = load(w + v * W);
#pragma GCC unroll 16
        for (int p = 0; p < P; p++) {
            const vec value = splat(x[p][offset]);
#pragma GCC unroll 16
            for (int v = 0; v < V; v++) sums[p][v] += value * weights[v];
        }
    }
}

template <int P, int V, bool RAW> void run_image_tile(const ImageTile& tile) {
    vec sums[P][V];
    sum_pixels<P, V, RAW>(sums, tile);
    finish_tile<P, V, RAW>(sums, tile);
}

// P windows of four pixels, each of which leaves the largest, as 2 x 2 max pooling: an activation that rises may follow.
template <int P, int V> void run_pooled_pixels(const ImageTile& tile) {
    vec sums[4 * P][V], largest[P][V];
    sum_pixels<4 * P, V, false>(sums, tile);
#pragma GCC unroll 16
    for (int p = 0; p < P; p++)
#pragma GCC unroll 16
        for (int v = 0; v < V; v++) {
            largest[p][v] = sums[4 * p][v];
#pragma GCC unroll 3
            for (int q = 1; q < 4; q++) {
                const vec sum = sums[4 * p + q][v];
                largest[p][v] = select((sum > largest[p][v]) | (sum != sum), sum, largest[p][v]);
            }
        }
    finish_tile<P, V, false>(largest, tile);
}

// One pixel: where there are few outputs, sums of several taps are in flight, since an addition takes several cycles.
template <int V, bool RAW> void run_one_pixel(const ImageTile& tile) {
    constexpr int S = V == 1 ? 8 : (V == 2 ? 4 : (V == 3 ? 3 : (V <= 6 ? 2 : 1)));
    vec parts[S][V] = {};
    const float *x = tile.x + tile.pixel_in[0], *w = tile.w;
    const int32_t* tap = tile.taps;
    for (; tap + S <= tile.end; tap += S, w += S * V * W) {
#pragma GCC unroll 16
        for (int s = 0; s < S; s++) {
            const vec value = splat(x[tap[s]]);
#pragma GCC unroll 16
            for (int v = 0; v < V; v++) parts[s][v] += value * load(w + (s * V + v) * W);
        }
    }
    for (; tap < tile.end; tap++, w += V * W) {
        const vec value = splat(x[*tap]);
#pragma GCC unroll 16
        for (int v = 0; v < V; v++) parts[0][v] += value * load(w + v * W);
    }
    vec sums[1][V];
#pragma GCC unroll 16
    for (int v = 0; v < V; v++) {
        sums[0][v] = !RAW && tile.bias ? load(tile.bias + v * W) : vec{};
#pragma GCC unroll 16
        for (int s = 0; s < S; s++) sums[0][v] += parts[s][v];
    }
    finish_tile<1, V, RAW>(sums, tile);
}

using ImageTileFunction = void (*)(const ImageTile&);
// More pixels would want more pointers than there are registers for. Python has the same numbers, in `tile_of`.
constexpr int IMAGE_SUMS = REGISTERS == 32 ? 24 : 12;

template <int P, int V, bool RAW> constexpr ImageTileFunction image_tile_function() {
    if constexpr (P * V <= IMAGE_SUMS) return run_image_tile<P, V, RAW>;
    else return nullptr;
}
template <int V, bool RAW> struct ImageTileFunctions {
    // 0: of tiles of one pixel, see `image_tile_for`.
    ImageTileFunction by_pixels[MOST_TILE_PIXELS + 1] = {
        run_one_pixel<V, RAW>, image_tile_function<1, V, RAW>(), image_tile_function<2, V, RAW>(), image_tile_function<3, V, RAW>(),
        image_tile_function<4, V, RAW>(), image_tile_function<5, V, RAW>(), image_tile_function<6, V, RAW>(),
        image_tile_function<7, V, RAW>(), image_tile_function<8, V, RAW>()};
};
template <bool RAW> struct ImageTileTable {
    ImageTileFunctions<1, RAW> v1; ImageTileFunctions<2, RAW> v2; ImageTileFunctions<3, RAW> v3;
    ImageTileFunctions<4, RAW> v4; ImageTileFunctions<5, RAW> v5; ImageTileFunctions<6, RAW> v6;
    ImageTileFunctions<7, RAW> v7; ImageTileFunctions<8, RAW> v8; ImageTileFunctions<9, RAW> v9;
    ImageTileFunctions<10, RAW> v10; ImageTileFunctions<11, RAW> v11; ImageTileFunctions<12, RAW> v12;
    const ImageTileFunction* by_vectors[MOST_VECTORS + 1] = {
        nullptr, v1.by_pixels, v2.by_pixels, v3.by_pixels, v4.by_pixels, v5.by_pixels, v6.by_pixels,
        v7.by_pixels, v8.by_pixels, v9.by_pixels, v10.by_pixels, v11.by_pixels, v12.by_pixels};
};
template <int P, int V> constexpr ImageTileFunction pooled_function() {
    if constexpr (4 * P * V <= IMAGE_SUMS) return run_pooled_pixels<P, V>;
    else return nullptr;
}
// By windows and vectors.
constexpr ImageTileFunction POOLED_PIXELS[3][7] = {
    {},
    {nullptr, pooled_function<1, 1>(), pooled_function<1, 2>(), pooled_function<1, 3>(), pooled_function<1, 4>(),
     pooled_function<1, 5>(), pooled_function<1, 6>()},
    {nullptr, pooled_function<2, 1>(), pooled_function<2, 2>(), pooled_function<2, 3>()}};

inline constinit const ImageTileTable<false> image_tiles{};
inline constinit const ImageTileTable<true> image_products{};

// The function for `count` pixels of a tile that has room for `pixels`. Sums of a pixel are added up in the same order wherever
// it lies in a tile, so that its bits depend neither on its neighbours nor on the number of threads.
template <bool RAW> inline ImageTileFunction image_tile_for(const ImageTileTable<RAW>& table, int64_t vectors, int64_t count,
                                                            int64_t pixels) {
    return table.by_vectors[vectors][pixels == 1 ? 0 : count];
}

inline ImageTile image_tile(const Call& call, int64_t activation) {
    ImageTile tile{};
    tile.a = call.number(0);
    tile.b = call.number(1);
    tile.floor = call.number(2);
    tile.ceiling = call.number(3);
    tile.activation = activation;
    return tile;
}

// operands: x, weights, bias, y, added. tables: tiles, taps, pixels in (four of each window where it pools), pixels out.
// floats: the activation's two, floor, ceiling.
inline void image_taps(const Call& call) {
    const auto& a = call.arguments<ImageTapsArguments>();
    // Several images that lie alike are one row of pixels: weights are read once for all of them.
    const bool joins = call.blocks > 1 && (!call.has(4) || call.stride[4] == call.stride[3]);
    const int64_t rows = joins ? 1 : call.blocks, all = joins ? call.blocks * a.pixels : a.pixels;
    const int64_t pieces = (all + a.tile_pixels - 1) / a.tile_pixels, window = a.pooled ? 4 : 1;
    const Share share(a.tiles * pieces, call.part, call.parts);
    ImageTile tile = image_tile(call, a.activation);
    int32_t in[MOST_TILE_PIXELS], out[MOST_TILE_PIXELS];
    for (int64_t row = 0; row < rows; row++)
        for (int64_t unit = share.begin, index = unit / pieces, piece = unit % pieces; unit < share.end; unit++, piece++) {
            if (piece == pieces) index++, piece = 0;
            const auto& own = reinterpret_cast<const ImageTileRow*>(call.table(0))[index];
            const int64_t begin = piece * a.tile_pixels, block = joins ? begin / a.pixels : row;
            const int64_t pixel = joins ? begin % a.pixels : begin;
            const int64_t count = all - begin < a.tile_pixels ? all - begin : a.tile_pixels;
            tile.x = call.f(0, block);
            tile.w = call.f(1) + own.weights;
            tile.bias = call.has(2) ? call.f(2) + own.output : nullptr;
            tile.y = call.f(3, block) + own.output;
            tile.added = call.has(4) ? call.f(4, block) + own.output : nullptr;
            tile.taps = call.table(1) + own.first_tap;
            tile.end = call.table(1) + own.end_tap;
            tile.pixel_in = call.table(2) + window * pixel;
            tile.pixel_out = call.table(3) + pixel;
            if (pixel + count > a.pixels) {  // the tile goes on in the next image
                for (int64_t n = 0; n < count; n++) {
                    const int64_t image = (pixel + n) / a.pixels, place = (pixel + n) % a.pixels;
                    for (int64_t q = 0; q < window; q++)
                        in[window * n + q] = call.table(2)[window * place + q] + static_cast<int32_t>(image * call.stride[0] / 4);
                    out[n] = call.table(3)[place] + static_cast<int32_t>(image * call.stride[3] / 4);
                }
                tile.pixel_in = in;
                tile.pixel_out = out;
            }
            if (a.pooled) POOLED_PIXELS[count][own.vectors](tile);
            else image_tile_for(image_tiles, own.vectors, count, a.tile_pixels)(tile);
        }
}

template <int P> void run_depthwise_tile(const ImageTile& tile) {
    vec sums[P][1];
#pragma GCC unroll 16
    for (int p = 0; p < P; p++) sums[p][0] = tile.bias ? load(tile.bias) : vec{};
    const float *x[P], *w = tile.w;
#pragma GCC unroll 16
    for (int p = 0; p < P; p++) x[p] = tile.x + tile.pixel_in[p];
    for (const int32_t* tap = tile.taps; tap < tile.end; tap++, w += W) {
        const vec weight = load(w);
        const int64_t offset = *tap;
#pragma GCC unroll 16
        for (int p = 0; p < P; p++) sums[p][0] += load(x[p] + offset) * weight;
    }
    finish_tile<P, 1, false>(sums, tile);
}

constexpr ImageTileFunction DEPTHWISE_TILES[9] = {
    nullptr, run_depthwise_tile<1>, run_depthwise_tile<2>, run_depthwise_tile<3>, run_depthwise_tile<4>,
    run_depthwise_tile<5>, run_depthwise_tile<6>, run_depthwise_tile<7>, run_depthwise_tile<8>};

// P neighbours of a row, S apart in x, under three taps of each of three rows: values that several of them meet are loaded once.
template <int P, int S> __attribute__((always_inline)) inline void sum_neighbours(const float* x, const float* w, int64_t tap_row, int64_t pitch, vec (&sums)[P][1]) {
#pragma GCC unroll 3
    for (int a = 0; a < 3; a++) {
        const vec weights[3] = {load(w + 3 * a * W), load(w + (3 * a + 1) * W), load(w + (3 * a + 2) * W)};
#pragma GCC unroll 32
        for (int j = 0; j < (P - 1) * S + 3; j++) {
            const vec value = load(x + a * tap_row + j * pitch);
#pragma GCC unroll 3
            for (int b = 0; b < 3; b++)
                if (j >= b && (j - b) % S == 0 && (j - b) / S < P) sums[(j - b) / S][0] += value * weights[b];
        }
    }
}

template <int P, int S> void run_neighbours(const ImageTile& tile, const ImageDepthwise3Arguments& a) {
    ImageTile own = tile;
    for (int64_t v = 0; v < a.vectors; v++) {
        vec sums[P][1];
#pragma GCC unroll 16
        for (int p = 0; p < P; p++) sums[p][0] = tile.bias ? load(tile.bias + v * W) : vec{};
        sum_neighbours<P, S>(tile.x + v * W, tile.w + 9 * v * W, a.x_tap_row, a.x_pitch, sums);
        own.y = tile.y + v * W;
        own.added = tile.added ? tile.added + v * W : nullptr;
        finish_tile<P, 1, false>(sums, own);
    }
}

using NeighboursFunction = void (*)(const ImageTile&, const ImageDepthwise3Arguments&);
template <int S> constexpr NeighboursFunction NEIGHBOURS[9] = {
    nullptr, run_neighbours<1, S>, run_neighbours<2, S>, run_neighbours<3, S>, run_neighbours<4, S>,
    run_neighbours<5, S>, run_neighbours<6, S>, run_neighbours<7, S>, run_neighbours<8, S>};

// One filter of 3 x 3 for each channel, whose columns are 1 or 2 apart. operands: x, weights, bias, y, added. floats: as above.
inline void image_depthwise3(const Call& call) {
    const auto& a = call.arguments<ImageDepthwise3Arguments>();
    const Share share(a.rows, call.part, call.parts);
    ImageTile tile = image_tile(call, a.activation);
    int32_t out[8];
    for (int32_t p = 0; p < 8; p++) out[p] = p * static_cast<int32_t>(a.y_pitch);
    tile.pixel_out = out;
    tile.w = call.f(1);
    tile.bias = call.has(2) ? call.f(2) : nullptr;
    for (int64_t block = 0; block < call.blocks; block++)
        for (int64_t i = share.begin; i < share.end; i++)
            for (int64_t j = 0; j < a.columns; j += 8) {
                const int64_t count = a.columns - j < 8 ? a.columns - j : 8, place = a.y_first + i * a.y_row + j * a.y_pitch;
                tile.x = call.f(0, block) + a.x_first + i * a.x_row + j * a.stride * a.x_pitch;
                tile.y = call.f(3, block) + place;
                tile.added = call.has(4) ? call.f(4, block) + place : nullptr;
                (a.stride == 1 ? NEIGHBOURS<1> : NEIGHBOURS<2>)[count](tile, a);
            }
}

// One filter for each channel. operands: x, weights, bias, y, added. tables: taps, pixels in, pixels out. floats: as above.
inline void image_depthwise(const Call& call) {
    const auto& a = call.arguments<ImageDepthwiseArguments>();
    const int64_t pieces = (a.pixels + 7) / 8;
    const Share share(pieces * a.vectors, call.part, call.parts);
    ImageTile tile = image_tile(call, a.activation);
    tile.taps = call.table(0);
    tile.end = call.table(0) + a.taps;
    for (int64_t block = 0; block < call.blocks; block++)
        for (int64_t unit = share.begin; unit < share.end; unit++) {
            const int64_t pixel = unit / a.vectors * 8, channel = unit % a.vectors * W;
            const int64_t count = a.pixels - pixel < 8 ? a.pixels - pixel : 8;
            tile.x = call.f(0, block) + channel;
            tile.w = call.f(1) + channel * a.taps;
            tile.bias = call.has(2) ? call.f(2) + channel : nullptr;
            tile.y = call.f(3, block) + channel;
            tile.added = call.has(4) ? call.f(4, block) + channel : nullptr;
            tile.pixel_in = call.table(1) + pixel;
            tile.pixel_out = call.table(2) + pixel;
            DEPTHWISE_TILES[count](tile);
        }
}

// Weights in the order in which `image_taps` reads them: [tile][tap][output]; where an output does not read a channel,
// since that belongs to another group or there is no such output, 0. operands: weights, packed, coefficients of a batch norm
// that follows. tables: tiles, taps (channel and element of the kernel; channel -1: the output's own).
inline void image_pack(const Call& call) {
    const auto& a = call.arguments<ImagePackArguments>();
    const Share share(a.tiles, call.part, call.parts);
    const float* scales = call.has(2) ? call.f(2) + 2 * a.outputs : nullptr;
    for (int64_t unit = share.begin; unit < share.end; unit++) {
        const auto& row = reinterpret_cast<const ImagePackRow*>(call.table(0))[unit];
        const int64_t lanes = row.vectors * W;
        for (int64_t lane = 0; lane < lanes; lane++) {
            const int64_t k = row.output + lane, first = k / a.group_outputs * a.group_inputs;
            float* to = call.f(1) + row.weights + lane;
            const float* from = call.f(0) + k * a.group_inputs * a.kernel;
            const float scale = k < a.outputs && scales ? scales[k] : 1.0f;
            for (int32_t t = row.first_tap; t < row.end_tap; t++, to += lanes) {
                const int32_t* tap = call.table(1) + 2 * t;
                const int64_t c = tap[0] < 0 ? 0 : tap[0] - first;
                *to = k < a.outputs && c >= 0 && c < a.group_inputs ? from[c * a.kernel + tap[1]] * scale : 0.0f;
            }
        }
    }
}

}  // namespace STRIATE_NAMESPACE
