// Convolutions and dense layers, forward and back to their inputs, as products of tiles: see `tile_layout.hpp`.
#pragma once

#include "taps.hpp"
#include "tile_layout.hpp"

namespace STRIATE_NAMESPACE {

// Where `n` pixels, or the four of one window, are read and written.
struct TilePixels {
    const float* x[TILE_PIXELS];
    float* y[TILE_PIXELS];
    const float* added[TILE_PIXELS];
    uint8_t* argmax;
    int64_t count;
};

inline void finish_pixels(const Call& call, const TileSumsArguments& a, const float* sums, int64_t first, int64_t width,
                          const TilePixels& pixels) {
    const float p = call.number(0), q = call.number(1);
    const int64_t end = first + width * TILE < a.outputs ? first + width * TILE : a.outputs;
    for (int64_t o = first; o < end; o++) {
        const float* from = sums + ((o - first) / TILE * pixels.count * TILE + (o - first) % TILE) * W;
        const vec bias = call.has(2) ? splat(call.f(2)[o]) : vec{};
        const int64_t plane = call.table(3)[o];
        if (a.pooled) {
            const vec window[4] = {load(from) + bias, load(from + TILE_FLOATS) + bias, load(from + 2 * TILE_FLOATS) + bias,
                                   load(from + 3 * TILE_FLOATS) + bias};
            ivec place;
            store(pixels.y[0] + plane, largest_of_window(window, a.activation == RELU, place));
            if (pixels.argmax) narrow(place, pixels.argmax + o * a.argmax_plane * W);
            continue;
        }
        for (int64_t n = 0; n < pixels.count; n++, from += TILE_FLOATS) {
            vec sum = load(from) + bias;
            if (pixels.added[n]) sum += load(pixels.added[n] + plane);
            store(pixels.y[n] + plane, a.activation == IDENTITY ? sum : (a.activation == RELU ? rectify(sum) : activate(a.activation, sum, p, q)));
        }
    }
}

inline TilePixels pixels_of_group(const Call& call, const TileSumsArguments& a, int64_t block, int64_t group) {
    TilePixels pixels{};
    const bool adds = a.accumulate || (!a.pooled && call.has(4));
    if (a.pooled) {
        pixels.count = 4;
        for (int64_t n = 0; n < 4; n++) pixels.x[n] = call.f(0, block) + call.table(1)[4 * group + n];
        pixels.y[0] = call.f(3, block) + call.table(2)[group];
        pixels.argmax = call.has(4) ? call.u(4, block) + call.table(4)[group] : nullptr;
        return pixels;
    }
    const int64_t all = a.over_blocks ? call.blocks : call.table_size(2), begin = group * TILE_PIXELS;
    pixels.count = all - begin < TILE_PIXELS ? all - begin : TILE_PIXELS;
    for (int64_t n = 0; n < pixels.count; n++) {
        const int64_t of = a.over_blocks ? begin + n : block;
        const int64_t in = a.over_blocks ? 0 : call.table(1)[begin + n], out = a.over_blocks ? 0 : call.table(2)[begin + n];
        pixels.x[n] = call.f(0, of) + in;
        pixels.y[n] = call.f(3, of) + out;
        pixels.added[n] = adds ? (a.accumulate ? call.f(3, of) : call.f(4, of)) + out : nullptr;
    }
    return pixels;
}

// operands: x (pairs), weights (tiles), bias, y, maxima where it pools, else what is added, with the places of y. tables:
// tiles of x that a pixel meets; pixels in (four of each window where it pools), pixels out, outputs, maxima out.
inline void tile_sums(const Call& call) {
    const auto& a = call.arguments<TileSumsArguments>();
    const Tiles tiles;
    const int64_t all_tiles = (a.outputs + TILE - 1) / TILE, width = all_tiles == 1 ? 1 : 2;
    const int64_t count = a.over_blocks ? call.blocks : call.table_size(2);
    const int64_t groups = a.pooled ? count : (count + TILE_PIXELS - 1) / TILE_PIXELS, columns = (all_tiles + width - 1) / width;
    float* sums = call.scratch;
    Products products{};
    products.a_row = products.b_row = 64;
    products.b_steps = call.table(0);
    products.steps = a.steps;
    products.parts = a.parts;
    products.a_part = all_tiles * a.steps * TILE_FLOATS * 4;
    products.b_part = a.x_part * 4;
    const Share share(columns * groups, call.part, call.parts);
    for (int64_t block = 0; block < (a.over_blocks ? 1 : call.blocks); block++)
        for (int64_t unit = share.begin; unit < share.end; unit++) {
            const TilePixels pixels = pixels_of_group(call, a, block, unit % groups);
            const int64_t first = unit / groups * width, own = all_tiles - first < width ? all_tiles - first : width;
            for (int64_t i = 0; i < own; i++)
                products.a[i] = reinterpret_cast<const char*>(call.f(1) + (first + i) * a.steps * TILE_FLOATS);
            const int64_t together = own == 2 ? 2 : TILE_PIXELS;
            for (int64_t n = 0; n < pixels.count; n += together) {
                const int64_t some = pixels.count - n < together ? pixels.count - n : together;
                for (int64_t j = 0; j < some; j++) products.b[j] = reinterpret_cast<const char*>(pixels.x[n + j]);
                multiply(own, some, products, sums + n * TILE_FLOATS, pixels.count * TILE_FLOATS, false);
            }
            finish_pixels(call, a, sums, first * TILE, own, pixels);
        }
}

}  // namespace STRIATE_NAMESPACE
