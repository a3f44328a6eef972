// Sums over taps: the one kernel behind convolutions, their input gradients and dense layers.
//
//     y[k][p] = bias[k] + sum over t of w[t][k] x[pixel_in[p] + tap[t]]
//
// A tap is a place relative to a pixel: (c, a, b) for a convolution, (k, a, b) for its input gradient, a feature for a
// dense layer, whose "pixels" are the blocks of a chunk. All geometry is in tables of offsets (in floats), made in Python.
// A tile of `K` outputs x `P` pixels is summed in registers: K + P loads for K P multiply-adds of full vectors.
#pragma once

#include "activation.hpp"
#include "program.hpp"

namespace STRIATE_NAMESPACE {

struct Tile {
    const float* x;
    const float* w;
    const float* bias;       // at the first output of the tile, or null
    float* y;
    const int32_t* taps;
    int64_t begin, length, runs, run_step;  // taps: `runs` times `length` neighbours, from `begin`, each `run_step` on
    int64_t tap_stride;
    int64_t pixel_in[MOST_PIXELS], pixel_out[MOST_PIXELS];
    const int32_t* output;   // offset of each output of the tile
    int64_t activation;
    float a, b;
    const float* start;      // what the sums are added to, with the places of y; or null
    bool is_last;            // of the pieces of taps: the activation follows
    uint8_t* argmax;         // at the first output of the tile
    int64_t argmax_plane;
};

template <int K, int P>
inline void sum_taps(vec (&sums)[P][K], const Tile& tile) {
    const float* x[P];
#pragma GCC unroll 16
    for (int p = 0; p < P; p++) x[p] = tile.x + (P > MOST_POINTERS ? tile.pixel_in[0] + p * W : tile.pixel_in[p]);
    for (int64_t run = 0, begin = tile.begin; run < tile.runs; run++, begin += tile.run_step) {
        const float* w = tile.w + begin * tile.tap_stride;
        const int32_t *tap = tile.taps + begin, *end = tap + tile.length;
        for (; tap < end; tap++) {
        const int64_t offset = *tap;
        // The fewer of the two stay in registers while the others pass by: more would push sums out of them.
        if constexpr (P <= K) {
            vec values[P];
#pragma GCC unroll 16
            for (int p = 0; p < P; p++) values[p] = load(x[p] + offset);
#pragma GCC unroll 16
            for (int k = 0; k < K; k++) {
                const vec weight = splat(w[k]);
#pragma GCC unroll 16
                for (int p = 0; p < P; p++) sums[p][k] += values[p] * weight;
            }
        } else {
            vec weights[K];
#pragma GCC unroll 16
            for (int k = 0; k < K; k++) weights[k] = splat(w[k]);
#pragma GCC unroll 16
            for (int p = 0; p < P; p++) {
                const vec value = load(x[p] + offset);
#pragma GCC unroll 16
                for (int k = 0; k < K; k++) sums[p][k] += value * weights[k];
            }
        }
        w += tile.tap_stride;
        }
    }
}

// The rarer activations, on what a tile has stored: here once, and not in every size of tile.
__attribute__((noinline)) inline void activate_tile(const Tile& tile, int outputs, int pixels) {
    for (int k = 0; k < outputs; k++)
        for (int p = 0; p < pixels; p++) {
            float* place = tile.y + tile.output[k] + tile.pixel_out[p];
            store(place, activate(tile.activation, load(place), tile.a, tile.b));
        }
}

template <int K, int P>
void run_tile(const Tile& tile) {
    vec sums[P][K];
#pragma GCC unroll 16
    for (int k = 0; k < K; k++) {
        const vec start = tile.bias ? splat(tile.bias[k]) : vec{};
#pragma GCC unroll 16
        for (int p = 0; p < P; p++)
            sums[p][k] = tile.start ? start + load(tile.start + tile.output[k] + tile.pixel_out[p]) : start;
    }
    sum_taps<K, P>(sums, tile);
    const vec floor = splat(tile.is_last && tile.activation == RELU ? 0.0f : -__builtin_inff());
#pragma GCC unroll 16
    for (int k = 0; k < K; k++)
#pragma GCC unroll 16
        for (int p = 0; p < P; p++)
            store(tile.y + tile.output[k] + tile.pixel_out[p], select(sums[p][k] < floor, floor, sums[p][k]));
    if (tile.is_last && tile.activation > RELU) activate_tile(tile, K, P);
}

// The largest of four, after a ReLU if there is one, and which it was (4: the ReLU was silent).
inline vec largest_of_window(const vec (&values)[4], bool rectifies, ivec& place) {
    vec largest = values[0];
    place = ivec{};
#pragma GCC unroll 3
    for (int p = 1; p < 4; p++) {
        const vec v = values[p];
        const ivec greater = (v > largest) | (v != v);
        largest = select(greater, v, largest);
        place = greater ? ivec{} + p : place;
    }
    if (!rectifies) return largest;
    place = (largest <= 0.0f) ? ivec{} + 4 : place;
    return rectify(largest);
}

// Four pixels that one 2 x 2 window pools.
template <int K>
void run_pooled_tile(const Tile& tile) {
    vec sums[4][K];
#pragma GCC unroll 16
    for (int k = 0; k < K; k++)
#pragma GCC unroll 16
        for (int p = 0; p < 4; p++) sums[p][k] = tile.bias ? splat(tile.bias[k]) : vec{};
    sum_taps<K, 4>(sums, tile);
#pragma GCC unroll 16
    for (int k = 0; k < K; k++) {
        const vec window[4] = {sums[0][k], sums[1][k], sums[2][k], sums[3][k]};
        ivec place;
        const vec largest = largest_of_window(window, tile.activation == RELU, place);
        store(tile.y + tile.output[k] + tile.pixel_out[0], largest);
        if (tile.argmax)
            narrow(place, tile.argmax + k * tile.argmax_plane * W + tile.pixel_out[1]);
    }
}

using TileFunction = void (*)(const Tile&);
constexpr int ACCUMULATORS = REGISTERS == 32 ? 24 : 12;

template <int K, int P> constexpr TileFunction tile_function() {
    if constexpr (K * P <= ACCUMULATORS) return run_tile<K, P>;
    else return nullptr;
}
template <int K> struct TileRow {
    TileFunction by_pixels[MOST_PIXELS + 1] = {
        nullptr, tile_function<K, 1>(), tile_function<K, 2>(), tile_function<K, 3>(), tile_function<K, 4>(),
        tile_function<K, 5>(), tile_function<K, 6>(), tile_function<K, 7>(), tile_function<K, 8>(),
        tile_function<K, 9>(), tile_function<K, 10>(), tile_function<K, 11>(), tile_function<K, 12>()};
    TileFunction pooled = [] {
        if constexpr (4 * K <= ACCUMULATORS) return run_pooled_tile<K>;
        else return TileFunction{nullptr};
    }();
};

struct TileFunctions {
    TileRow<1> k1; TileRow<2> k2; TileRow<3> k3; TileRow<4> k4; TileRow<5> k5; TileRow<6> k6; TileRow<7> k7; TileRow<8> k8;
    const TileFunction* rows[MOST_OUTPUTS + 1] = {nullptr, k1.by_pixels, k2.by_pixels, k3.by_pixels, k4.by_pixels,
                                                  k5.by_pixels, k6.by_pixels, k7.by_pixels, k8.by_pixels};
    TileFunction pooled[MOST_OUTPUTS + 1] = {nullptr, k1.pooled, k2.pooled, k3.pooled, k4.pooled,
                                             k5.pooled, k6.pooled, k7.pooled, k8.pooled};
};
inline constinit const TileFunctions tile_functions{};

inline void run_pixels(Tile& tile, const TapsArguments& a, int64_t width, const int32_t* in, const int32_t* out,
                       const int32_t* argmax_out, int64_t begin, int64_t end) {
    auto &pixel_in = tile.pixel_in, &pixel_out = tile.pixel_out;
    if (a.pooled) {
        for (int64_t p = begin; p < end; p++) {
            for (int q = 0; q < 4; q++) pixel_in[q] = in[4 * p + q];
            pixel_out[0] = out[p];
            pixel_out[1] = argmax_out[p];
            tile_functions.pooled[width](tile);
        }
        return;
    }
    const TileFunction* functions = tile_functions.rows[width];
    for (int64_t p = begin; p < end;) {
        int64_t count = end - p < a.tile_pixels ? end - p : a.tile_pixels;
        for (int64_t q = 0; q < count; q++) {
            pixel_in[q] = in[p + q];
            pixel_out[q] = out[p + q];
        }
        if (count > MOST_POINTERS) {
            int64_t neighbours = 1;
            while (neighbours < count && pixel_in[neighbours] == pixel_in[0] + neighbours * W) neighbours++;
            count = neighbours > MOST_POINTERS ? neighbours : MOST_POINTERS;
        }
        functions[count](tile);
        p += count;
    }
}

inline void aim(Tile& tile, const Call& call, const TapsArguments& a, int64_t group, int64_t first) {
    const int64_t k = group * a.outputs + first;
    tile.w = call.f(1) + group * a.group_stride + first / a.tile_outputs * a.tile_stride;
    tile.bias = call.has(2) ? call.f(2) + k : nullptr;
    tile.output = call.table(4) + k;
}

// Dense layers: the pixels are the blocks of the chunk; taps come in pieces whose features stay in the cache.
inline void taps_over_blocks(const Call& call, const TapsArguments& a, Tile& tile) {
    const int64_t tiles = (a.outputs + a.tile_outputs - 1) / a.tile_outputs;
    const Share share(tiles, call.part, call.parts);
    const bool adds = a.accumulate;
    for (int64_t begin = 0; begin < a.taps; begin += a.tap_piece) {
        tile.begin = begin;
        tile.length = begin + a.tap_piece < a.taps ? a.tap_piece : a.taps - begin;
        tile.is_last = begin + tile.length == a.taps;
        tile.start = adds || begin > 0 ? tile.y : nullptr;
        for (int64_t index = share.begin; index < share.end; index++) {
            const int64_t first = index * a.tile_outputs;
            const int64_t width = a.outputs - first < a.tile_outputs ? a.outputs - first : a.tile_outputs;
            aim(tile, call, a, 0, first);
            // Packed by pieces: see `pack_dense`.
            tile.w = call.f(1) + (begin * tiles + index * tile.length - begin) * a.tap_stride;
            if (begin > 0) tile.bias = nullptr;
            for (int64_t block = 0; block < call.blocks;) {
                const int64_t left = call.blocks - block, count = left < a.tile_pixels ? left : a.tile_pixels;
                for (int64_t q = 0; q < count; q++) {
                    tile.pixel_in[q] = (block + q) * call.stride[0] / 4;
                    tile.pixel_out[q] = (block + q) * call.stride[3] / 4;
                }
                tile_functions.rows[width][count](tile);
                block += count;
            }
        }
    }
}

// operands: x, weights, bias, y, argmax where it pools, else what is added, with the places of y. tables: taps, pixels in, pixels out, segments (pixels from, to; first tap, taps of
// a run, runs, step from run to run), outputs, pieces (first segment of each), argmax pixels.
inline void taps(const Call& call) {
    const auto& a = call.arguments<TapsArguments>();
    Tile tile{};
    tile.taps = call.table(0);
    tile.tap_stride = a.tap_stride;
    tile.activation = a.activation;
    tile.a = call.number(0);
    tile.b = call.number(1);
    tile.is_last = true;
    tile.runs = 1;
    tile.x = call.f(0);
    tile.y = call.f(3);
    if (a.over_blocks) return taps_over_blocks(call, a, tile);
    const int64_t tiles = (a.outputs + a.tile_outputs - 1) / a.tile_outputs, per_piece = a.groups * tiles;
    const int64_t pieces = call.table_size(5) - 1;
    const Share share(pieces * per_piece, call.part, call.parts);
    for (int64_t block = 0; block < call.blocks; block++) {
        tile.y = call.f(3, block);
        tile.start = a.accumulate ? tile.y : (!a.pooled && call.has(4) ? call.f(4, block) : nullptr);
        for (int64_t unit = share.begin; unit < share.end; unit++) {
            const int64_t piece = unit / per_piece, group = unit % per_piece / tiles;
            const int64_t first = unit % tiles * a.tile_outputs;
            const int64_t width = a.outputs - first < a.tile_outputs ? a.outputs - first : a.tile_outputs;
            aim(tile, call, a, group, first);
            tile.x = call.f(0, block) + group * a.x_group_stride;
            if (a.pooled && call.has(4)) {
                tile.argmax = call.u(4, block) + (group * a.outputs + first) * a.argmax_plane * W;
                tile.argmax_plane = a.argmax_plane;
            }
            for (int32_t s = call.table(5)[piece]; s < call.table(5)[piece + 1]; s++) {
                const int32_t* segment = call.table(3) + 6 * s;
                tile.begin = segment[2];
                tile.length = segment[3];
                tile.runs = segment[4];
                tile.run_step = segment[5];
                run_pixels(tile, a, width, call.table(1), call.table(2), call.table(6), segment[0], segment[1]);
            }
        }
    }
}

// Weights in the order in which `taps` reads them: [group][tile of outputs][tap][output]; the last tile is filled with 0.
// operands: weights, packed, coefficients of a batch norm that follows. tables: element of each tap.
inline void pack(const Call& call) {
    const auto& a = call.arguments<PackArguments>();
    const int64_t tiles = (a.outputs + a.tile_outputs - 1) / a.tile_outputs;
    const Share share(a.groups * tiles, call.part, call.parts);
    const int32_t* taps = call.table(0);
    for (int64_t unit = share.begin; unit < share.end; unit++) {
        const int64_t group = unit / tiles, first = unit % tiles * a.tile_outputs;
        const float* from = call.f(0) + group * a.group_stride + first * a.output_stride;
        float* to = call.f(1) + unit * a.taps * a.tile_outputs;
        const int64_t width = a.outputs - first < a.tile_outputs ? a.outputs - first : a.tile_outputs;
        if (width < a.tile_outputs)
            for (int64_t n = 0; n < a.taps * a.tile_outputs; n++) to[n] = 0.0f;
        // One output after the other: reads follow each other, and what is written stays in the cache.
        for (int64_t begin = 0; begin < a.taps; begin += 512) {
            const int64_t end = begin + 512 < a.taps ? begin + 512 : a.taps;
            for (int64_t q = 0; q < width; q++) {
                const float* row = from + q * a.output_stride;
                float* place = to + begin * a.tile_outputs + q;
                const float scale = call.has(2) ? call.f(2)[2 * a.groups * a.outputs + group * a.outputs + first + q] : 1.0f;
                for (int64_t t = begin; t < end; t++, place += a.tile_outputs) *place = scale * row[taps[t]];
            }
        }
    }
}

// Some taps of a tile: `step` floats from output to output, `tap_step` from tap to tap.
template <int K>
void pack_tile(const float* from, float* to, int64_t taps, int64_t step, int64_t tap_step, int64_t valid) {
    if (valid < K) {
        for (int64_t t = 0; t < taps; t++)
            for (int64_t q = 0; q < K; q++) to[t * K + q] = q < valid ? from[t * tap_step + q * step] : 0.0f;
        return;
    }
    for (int64_t t = 0; t < taps; t++) {
#pragma GCC unroll 8
        for (int q = 0; q < K; q++) to[q] = from[q * step];
        from += tap_step;
        to += K;
    }
}

using PackFunction = void (*)(const float*, float*, int64_t, int64_t, int64_t, int64_t);
constexpr PackFunction PACK_FUNCTIONS[MOST_OUTPUTS + 1] = {nullptr,      pack_tile<1>, pack_tile<2>, pack_tile<3>, pack_tile<4>,
                                                           pack_tile<5>, pack_tile<6>, pack_tile<7>, pack_tile<8>};

// Weights of a dense layer in the order in which they are read: [piece of taps][tile of outputs][tap][output]. Transposed,
// for the input's gradient, outputs are the columns of the matrix. operands: weights, packed, coefficients of a batch norm
// that follows.
inline void pack_dense(const Call& call) {
    const auto& a = call.arguments<PackDenseArguments>();
    const int64_t width = a.tile_outputs, tiles = (a.outputs + width - 1) / width;
    const Share share(tiles, call.part, call.parts);
    constexpr int64_t LINE = 16;  // taps at a time: what one line of the cache holds of a row, or of a tile
    const PackFunction pack_some = PACK_FUNCTIONS[width];
    const int64_t step = a.transposed ? 1 : a.taps, tap_step = a.transposed ? a.outputs : 1;
    for (int64_t piece = 0; piece < a.taps; piece += a.tap_piece) {
        const int64_t length = a.taps - piece < a.tap_piece ? a.taps - piece : a.tap_piece;
        float* base = call.f(1) + piece * tiles * width;
        // Along the rows of the matrix, whichever way they lie.
        const int64_t stretch = a.transposed ? LINE : length;
        for (int64_t begin = 0; begin < length; begin += stretch) {
            const int64_t count = begin + stretch < length ? stretch : length - begin;
            for (int64_t index = share.begin; index < share.end; index++) {
                const int64_t first = index * width, left = a.outputs - first;
                float* to = base + (index * length + begin) * width;
                pack_some(call.f(0) + first * step + (piece + begin) * tap_step, to, count, step, tap_step,
                          left < width ? left : width);
                if (call.has(2))
                    for (int64_t q = 0; q < width && q < left; q++)
                        for (int64_t t = 0; t < count; t++) to[t * width + q] *= call.f(2)[2 * a.outputs + first + q];
            }
        }
    }
}

}  // namespace STRIATE_NAMESPACE
