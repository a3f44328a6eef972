// Convolutions and dense layers in bfloat16: their numbers rounded and laid out as tiles, products of which are summed in
// float32. Everything between layers, and the weights that are updated, remains float32.
//
// Three layouts of a tensor of lanes:
//     pairs       (channel pair, place): in each lane the two bfloat16 of an image          y = w x, dx = w' dy
//     halves      (channel, place): the 16 bfloat16 of the block's images                  rows of dw
//     transposed  (16 channels, pair of neighbouring pixels): a tile                       columns of dw
#pragma once

#include "taps.hpp"
#include "tiles.hpp"

namespace STRIATE_NAMESPACE {

// Layouts ---------------------------------------------------------------------------------------------------------------

// operands: x, pairs of channels; a last channel without a partner gets zeros.
inline void pair_channels(const Call& call) {
    const auto& a = call.arguments<PairChannelsArguments>();
    const int64_t pairs = (a.extent.channels + 1) / 2;
    const Share share(pairs * a.extent.rows, call.part, call.parts);
    for (int64_t block = 0; block < call.blocks; block++)
        for (int64_t unit = share.begin; unit < share.end; unit++) {
            const int64_t q = unit / a.extent.rows, i = unit % a.extent.rows;
            const float* first = a.x.at(call.f(0, block), 2 * q, i);
            const float* second = 2 * q + 1 < a.extent.channels ? a.x.at(call.f(0, block), 2 * q + 1, i) : nullptr;
            float* y = a.y.at(call.f(1, block), q, i);
            for (int64_t j = 0; j < a.extent.columns * W; j += W)
                _mm512_store_si512(y + j, pairs_of(load(first + j), second ? load(second + j) : vec{}));
        }
}

// operands: x, pairs of features, one after the other. tables: places of each two of them, -1: zeros.
inline void pair_features(const Call& call) {
    const int64_t pairs = call.table_size(0) / 2;
    const Share share(pairs, call.part, call.parts);
    const int32_t* places = call.table(0);
    const auto of = [](const float* x, int32_t place) { return place < 0 ? vec{} : load(x + place); };
    for (int64_t block = 0; block < call.blocks; block++) {
        const float* x = call.f(0, block);
        for (int64_t q = share.begin; q < share.end; q++)
            _mm512_store_si512(call.f(1, block) + q * W, pairs_of(of(x, places[2 * q]), of(x, places[2 * q + 1])));
    }
}

template <int PART> inline void halve_row(const float* x, uint16_t* y, int64_t end) {
    int64_t j = 0;
    for (; j + 2 * W <= end; j += 2 * W)
        _mm512_storeu_si512(y + j, halves_of(part_of<PART>(load(x + j)), part_of<PART>(load(x + j + W))));
    if (j == end) return;
    const auto last = (__m512)part_of<PART>(load(x + j));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + j), (__m256i)_mm512_cvtneps_pbh(last));
}

// operands: x, halves.
inline void half_images(const Call& call) {
    constexpr decltype(&halve_row<0>) PARTS[] = {halve_row<0>, halve_row<1>, halve_row<2>, halve_row<3>};
    const auto& a = call.arguments<HalfImagesArguments>();
    const Share share(a.extent.channels * a.extent.rows, call.part, call.parts);
    for (int64_t block = 0; block < call.blocks; block++)
        for (int64_t unit = share.begin; unit < share.end; unit++) {
            const int64_t c = unit / a.extent.rows, i = unit % a.extent.rows;
            auto* y = reinterpret_cast<uint16_t*>(call.u(1, block)) + a.y.first + c * a.y.plane + i * a.y.row;
            PARTS[a.part](a.x.at(call.f(0, block), c, i), y, a.extent.columns * W);
        }
}

// 16 channels at two places as a tile whose rows are pairs of images, first those at the one place.
template <int PART>
inline void transpose_tile(const float* const (&first)[TILE], const float* const (&second)[TILE], float* tile) {
    vec rows[TILE];
#pragma GCC unroll 16
    for (int c = 0; c < TILE; c++)
        rows[c] = (vec)halves_of(first[c] ? part_of<PART>(load(first[c])) : vec{},
                                 second[c] ? part_of<PART>(load(second[c])) : vec{});
    transpose(rows);
#pragma GCC unroll 16
    for (int r = 0; r < TILE; r++) store(tile + r * W, rows[r]);
}

// operands: x, tiles of neighbouring pixels; channels and pixels that are missing are 0.
inline void transpose_outputs(const Call& call) {
    constexpr decltype(&transpose_tile<0>) PARTS[] = {transpose_tile<0>, transpose_tile<1>, transpose_tile<2>,
                                                      transpose_tile<3>};
    const auto& a = call.arguments<TransposeOutputsArguments>();
    const int64_t tiles = (a.extent.channels + TILE - 1) / TILE, pairs = (a.extent.columns + 1) / 2;
    const Share share(tiles * a.extent.rows, call.part, call.parts);
    for (int64_t block = 0; block < call.blocks; block++)
        for (int64_t unit = share.begin; unit < share.end; unit++) {
            const int64_t t = unit / a.extent.rows, i = unit % a.extent.rows;
            float* y = call.f(1, block) + t * a.y_plane + i * pairs * TILE_FLOATS;
            for (int64_t q = 0; q < pairs; q++, y += TILE_FLOATS) {
                const float *first[TILE], *second[TILE];
                for (int64_t c = 0; c < TILE; c++) {
                    const bool is_there = t * TILE + c < a.extent.channels;
                    first[c] = is_there ? a.x.at(call.f(0, block), t * TILE + c, i) + 2 * q * W : nullptr;
                    second[c] = is_there && 2 * q + 1 < a.extent.columns ? first[c] + W : nullptr;
                }
                PARTS[a.part](first, second, y);
            }
        }
}

// Weights as tiles: [tile of outputs][step][output][32 inputs]. operands: weights, tiles, coefficients of a batch norm that
// follows. tables: element of each input of each step, -1: zero.
inline void tile_pack(const Call& call) {
    const auto& a = call.arguments<TilePackArguments>();
    const int64_t tiles = (a.outputs + TILE - 1) / TILE;
    const Share share(tiles * a.steps, call.part, call.parts);
    const __m512i none = _mm512_set1_epi32(-1);
    for (int64_t unit = share.begin; unit < share.end; unit++) {
        const int32_t* elements = call.table(0) + unit % a.steps * TILE_DEPTH;
        const __m512i first = _mm512_loadu_si512(elements), second = _mm512_loadu_si512(elements + TILE);
        const __mmask16 has_first = _mm512_cmpgt_epi32_mask(first, none), has_second = _mm512_cmpgt_epi32_mask(second, none);
        float* to = call.f(1) + unit * TILE_FLOATS;
        for (int64_t o = 0; o < TILE; o++, to += W) {
            const int64_t output = unit / a.steps * TILE + o;
            if (output >= a.outputs) {
                store(to, vec{});
                continue;
            }
            const float* from = call.f(0) + output * a.output_stride;
            const float scale = call.has(2) ? call.f(2)[2 * a.outputs + output] : 1.0f;
            const auto low = (vec)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), has_first, first, from, 4);
            const auto high = (vec)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), has_second, second, from, 4);
            _mm512_store_si512(to, halves_of(low * scale, high * scale));
        }
    }
}

// Sums ------------------------------------------------------------------------------------------------------------------

// Where `n` pixels, or the four of one window, are read and written.
struct TilePixels {
    const float* x[4];
    float* y[4];
    const float* added[4];
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

inline TilePixels pixels_of_group(const Call& call, const TileSumsArguments& a, int64_t block, int64_t group, int64_t most) {
    TilePixels pixels{};
    const bool adds = a.accumulate || (!a.pooled && call.has(4));
    if (a.pooled) {
        pixels.count = 4;
        for (int64_t n = 0; n < 4; n++) pixels.x[n] = call.f(0, block) + call.table(1)[4 * group + n];
        pixels.y[0] = call.f(3, block) + call.table(2)[group];
        pixels.argmax = call.has(4) ? call.u(4, block) + call.table(4)[group] : nullptr;
        return pixels;
    }
    const int64_t all = a.over_blocks ? call.blocks : call.table_size(2), begin = group * most;
    pixels.count = all - begin < most ? all - begin : most;
    for (int64_t n = 0; n < pixels.count; n++) {
        const int64_t of = a.over_blocks ? begin + n : block;
        const int64_t in = a.over_blocks ? 0 : call.table(1)[begin + n], out = a.over_blocks ? 0 : call.table(2)[begin + n];
        pixels.x[n] = call.f(0, of) + in;
        pixels.y[n] = call.f(3, of) + out;
        pixels.added[n] = adds ? (a.accumulate ? call.f(3, of) : call.f(4, of)) + out : nullptr;
    }
    return pixels;
}

inline void gather_rows(const Call& call, const TileSumsArguments& a, const TilePixels& pixels, float* panel) {
    const int32_t *begin = call.table(0), *end = begin + a.gathered;
    for (int64_t n = 0; n < pixels.count; n++) {
        const float* x = pixels.x[n];
        float* to = panel + n * a.steps * TILE_FLOATS;
        for (const int32_t* row = begin; row < end; row++, to += W) store(to, load(x + *row));
    }
}

// What gathered rows do not fill is 0, and remains so.
inline void clear_panel(const TileSumsArguments& a, float* panel) {
    for (int64_t n = 0; n < 4; n++)
        for (int64_t r = a.gathered; r < a.steps * TILE; r++) store(panel + (n * a.steps * TILE + r) * W, vec{});
}

// operands: x (pairs), weights (tiles), bias, y, maxima where it pools, else what is added, with the places of y. tables:
// rows of x of a pixel that are gathered, or tiles of x, one a step; pixels in (four of each window where it pools), pixels
// out, outputs, maxima out.
inline void tile_sums(const Call& call) {
    const auto& a = call.arguments<TileSumsArguments>();
    const Tiles tiles;
    const int64_t all_tiles = (a.outputs + TILE - 1) / TILE;
    const int64_t width = a.pooled || a.gathered || all_tiles == 1 ? 1 : 2, most = width == 1 ? 4 : 2;
    const int64_t count = a.over_blocks ? call.blocks : call.table_size(2);
    const int64_t groups = a.pooled ? count : (count + most - 1) / most, columns = (all_tiles + width - 1) / width;
    float *sums = call.scratch, *panel = sums + 4 * TILE_FLOATS;
    Products products{};
    products.a_row = 64;
    products.steps = a.steps;
    const auto run = [&](int64_t column, const TilePixels& pixels) {
        const int64_t first = column * width, own = all_tiles - first < width ? all_tiles - first : width;
        for (int64_t i = 0; i < own; i++)
            products.a[i] = reinterpret_cast<const char*>(call.f(1) + (first + i) * a.steps * TILE_FLOATS);
        multiply(own, pixels.count, products, sums, false);
        finish_pixels(call, a, sums, first * TILE, own, pixels);
    };
    if (a.gathered) clear_panel(a, panel);
    for (int64_t block = 0; block < (a.over_blocks ? 1 : call.blocks); block++) {
        if (a.gathered) {
            products.b_row = 64;
            const Share share(groups, call.part, call.parts);
            for (int64_t group = share.begin; group < share.end; group++) {
                const TilePixels pixels = pixels_of_group(call, a, block, group, most);
                gather_rows(call, a, pixels, panel);
                for (int64_t n = 0; n < pixels.count; n++) products.b[n] = reinterpret_cast<const char*>(panel + n * a.steps * TILE_FLOATS);
                for (int64_t column = 0; column < columns; column++) run(column, pixels);
            }
            continue;
        }
        products.b_row = a.x_row * 4;
        products.b_steps = call.table(0);
        const Share share(columns * groups, call.part, call.parts);
        for (int64_t unit = share.begin; unit < share.end; unit++) {
            const TilePixels pixels = pixels_of_group(call, a, block, unit % groups, most);
            for (int64_t n = 0; n < pixels.count; n++) products.b[n] = reinterpret_cast<const char*>(pixels.x[n]);
            run(unit / groups, pixels);
        }
    }
}

// Weight gradients ------------------------------------------------------------------------------------------------------

// Rows of x for two pixels each, a tile after the other.
inline void gather_pixels(const Call& call, const TileOuterArguments& a, const uint16_t* x, int64_t tile, int64_t begin,
                          int64_t end, float* panel) {
    const int32_t *rows = call.table(0) + tile * TILE, *steps = call.table(1);
    for (int64_t n = begin; n < end; n++)
        for (int64_t r = 0; r < TILE; r++, panel += W) {
            if (rows[r] < 0) {
                store(panel, vec{});
                continue;
            }
            const uint16_t* first = x + steps[n] + rows[r];
            if (a.x_column == W) {
                _mm512_store_si512(panel, _mm512_loadu_si512(first));
                continue;
            }
            const auto low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first));
            const auto high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first + a.x_column));
            _mm512_store_si512(panel, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
        }
}

inline void outer_tiles(const Call& call, const TileOuterArguments& a, int64_t block, Products& products, int64_t tile,
                        int64_t count, int64_t begin, float* sums) {
    const float* dy = call.f(1, block) + begin * TILE_FLOATS;
    for (int64_t o = 0; o < a.outputs; o += 2) {
        const int64_t own = a.outputs - o < 2 ? 1 : 2;
        for (int64_t j = 0; j < own; j++) products.b[j] = reinterpret_cast<const char*>(dy + (o + j) * a.dy_plane);
        const auto slot = [&](int64_t i, int64_t j) { return call.f(2) + ((tile + i) * a.outputs + o + j) * TILE_FLOATS; };
        if (own == a.outputs && count == 1) {
            multiply(count, own, products, slot(0, 0), true);
            continue;
        }
        for (int64_t i = 0; i < count; i++)
            for (int64_t j = 0; j < own; j++) std::memcpy(sums + (i * own + j) * TILE_FLOATS, slot(i, j), TILE_FLOATS * 4);
        multiply(count, own, products, sums, true);
        for (int64_t i = 0; i < count; i++)
            for (int64_t j = 0; j < own; j++) std::memcpy(slot(i, j), sums + (i * own + j) * TILE_FLOATS, TILE_FLOATS * 4);
    }
}

// operands: x (halves), dy (transposed), sums of the slot: [tile of rows of x][tile of outputs], see `sum_tile_slots`. tables:
// where a tile of x begins, or each of its rows where they are gathered (-1: zeros); pairs of pixels.
inline void tile_outer(const Call& call) {
    const auto& a = call.arguments<TileOuterArguments>();
    const Tiles tiles;
    const Share share(a.inputs, call.part, call.parts);
    float *sums = call.scratch, *panel = sums + 4 * TILE_FLOATS;
    Products products{};
    products.b_row = 64;
    for (int64_t block = 0; block < call.blocks; block++) {
        const auto* x = reinterpret_cast<const uint16_t*>(call.u(0, block));
        for (int64_t begin = 0; begin < a.steps; begin += a.piece) {
            const int64_t steps = a.steps - begin < a.piece ? a.steps - begin : a.piece;
            products.steps = steps;
            for (int64_t tile = share.begin; tile < share.end; tile += 2) {
                const int64_t count = share.end - tile < 2 ? 1 : 2;
                for (int64_t i = 0; i < count; i++) {
                    if (a.gathers) {
                        float* own = panel + i * a.piece * TILE_FLOATS;
                        gather_pixels(call, a, x, tile + i, begin, begin + steps, own);
                        products.a[i] = reinterpret_cast<const char*>(own);
                    } else {
                        products.a[i] = reinterpret_cast<const char*>(x + call.table(0)[tile + i]);
                    }
                }
                products.a_row = a.gathers ? 64 : 2 * a.x_row;
                products.a_steps = a.gathers ? nullptr : call.table(1) + begin;
                outer_tiles(call, a, block, products, tile, count, begin, sums);
            }
        }
    }
}

// operands: slots as `tile_outer` leaves them, gradient. tables: row of each tap. In the order of the slots.
inline void sum_tile_slots(const Call& call) {
    const auto& a = call.arguments<SumTileSlotsArguments>();
    const int64_t tiles = (a.outputs + TILE - 1) / TILE, pieces = (a.taps + TILE - 1) / TILE;
    const Share share(tiles * pieces, call.part, call.parts);
    for (int64_t unit = share.begin; unit < share.end; unit++) {
        const int64_t tile = unit / pieces, first = unit % pieces * TILE;
        const int64_t taps = a.taps - first < TILE ? a.taps - first : TILE;
        vec rows[TILE] = {};
        for (int64_t t = 0; t < taps; t++) {
            const int64_t row = call.table(0)[first + t];
            const int64_t place = ((row / TILE * tiles + tile) * TILE + row % TILE) * W;
            for (int64_t slot = 0; slot < call.slots; slot++) rows[t] += load(call.f(0, slot) + place);
        }
        transpose(rows);
        const auto mask = static_cast<__mmask16>((1u << taps) - 1);
        for (int64_t o = 0; o < TILE && tile * TILE + o < a.outputs; o++) {
            float* to = call.f(1) + (tile * TILE + o) * a.taps + first;
            const __m512 sum = a.accumulate ? _mm512_add_ps((__m512)rows[o], _mm512_maskz_loadu_ps(mask, to)) : (__m512)rows[o];
            _mm512_mask_storeu_ps(to, mask, sum);
        }
    }
}

// A feature of a block, 0 in lanes without an image.
inline vec valid_feature(const Call& call, int64_t block, int32_t place) {
    if (block >= call.all_blocks) return vec{};
    const int64_t left = call.batch - block * W;
    const auto mask = static_cast<__mmask16>(left < W ? (1u << left) - 1 : 0xFFFFu);
    return (vec)_mm512_maskz_loadu_ps(mask, call.f(0, block) + place);
}

// operands: lanes of all blocks, tiles [16 features][two blocks][feature][32 images]. tables: place of each feature.
inline void dense_rows(const Call& call) {
    const auto& a = call.arguments<DenseTilesArguments>();
    const int64_t tiles = (a.features + TILE - 1) / TILE, pairs = (call.all_blocks + 1) / 2;
    const Share share(tiles * pairs, call.part, call.parts);
    for (int64_t unit = share.begin; unit < share.end; unit++) {
        float* to = call.f(1) + unit * TILE_FLOATS;
        for (int64_t r = 0; r < TILE; r++, to += W) {
            const int64_t feature = unit / pairs * TILE + r, block = unit % pairs * 2;
            if (feature >= a.features) store(to, vec{});
            else
                _mm512_store_si512(to, halves_of(valid_feature(call, block, call.table(0)[feature]),
                                                 valid_feature(call, block + 1, call.table(0)[feature])));
        }
    }
}

// The same, transposed: [16 features][two blocks][pair of images][feature].
inline void dense_columns(const Call& call) {
    const auto& a = call.arguments<DenseTilesArguments>();
    const int64_t tiles = (a.features + TILE - 1) / TILE, pairs = (call.all_blocks + 1) / 2;
    const Share share(tiles * pairs, call.part, call.parts);
    for (int64_t unit = share.begin; unit < share.end; unit++) {
        vec rows[TILE] = {};
        for (int64_t r = 0; r < TILE; r++) {
            const int64_t feature = unit / pairs * TILE + r, block = unit % pairs * 2;
            if (feature < a.features)
                rows[r] = (vec)halves_of(valid_feature(call, block, call.table(0)[feature]),
                                         valid_feature(call, block + 1, call.table(0)[feature]));
        }
        transpose(rows);
        for (int64_t r = 0; r < TILE; r++) store(call.f(1) + unit * TILE_FLOATS + r * W, rows[r]);
    }
}

// Weight gradient of a dense layer over the whole batch. operands: dy (`dense_rows`), x (`dense_columns`), gradient.
inline void tile_dense_gradient(const Call& call) {
    const auto& a = call.arguments<TileDenseGradientArguments>();
    const Tiles tiles;
    const int64_t outputs = (a.outputs + TILE - 1) / TILE, features = (a.features + TILE - 1) / TILE;
    const int64_t pairs = (call.all_blocks + 1) / 2;
    const Share share((features + 1) / 2, call.part, call.parts);
    float* sums = call.scratch;
    Products products{};
    products.a_row = products.b_row = 64;
    products.steps = pairs;
    for (int64_t f = 2 * share.begin; f < 2 * share.end && f < features; f += 2) {
        const int64_t n = features - f < 2 ? 1 : 2;
        for (int64_t j = 0; j < n; j++) products.b[j] = reinterpret_cast<const char*>(call.f(1) + (f + j) * pairs * TILE_FLOATS);
        for (int64_t o = 0; o < outputs; o += 2) {
            const int64_t m = outputs - o < 2 ? 1 : 2;
            for (int64_t i = 0; i < m; i++) products.a[i] = reinterpret_cast<const char*>(call.f(0) + (o + i) * pairs * TILE_FLOATS);
            multiply(m, n, products, sums, false);
            for (int64_t k = o * TILE; k < (o + m) * TILE && k < a.outputs; k++)
                for (int64_t j = 0; j < n; j++) {
                    const int64_t first = (f + j) * TILE, left = a.features - first;
                    const auto mask = static_cast<__mmask16>(left < TILE ? (1u << left) - 1 : 0xFFFFu);
                    const int64_t i = k / TILE - o;
                    __m512 sum = _mm512_load_ps(sums + ((i * n + j) * TILE + k % TILE) * W);
                    float* to = call.f(2) + k * a.features + first;
                    if (a.accumulate) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, to));
                    _mm512_mask_storeu_ps(to, mask, sum);
                }
        }
    }
}

}  // namespace STRIATE_NAMESPACE
