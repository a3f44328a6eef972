// Numbers of layers laid out as tiles of bfloat16, see `tiles.hpp`: rounded to it, or as sums of parts, which follow each other.
// Everything between layers, and the weights that are updated, remains float32.
//
// Two layouts of a tensor of lanes:
//     pairs       (place, channel pair): in each lane the two bfloat16 of an image, so that what neighbouring places hold
//                 follows each other, whole rows of a kernel as tiles                      y = w x, dx = w' dy
//     halves      (channel, place): the 16 bfloat16 of the block's images                  rows of dw
#pragma once

#include "pointwise.hpp"
#include "tiles.hpp"

namespace STRIATE_NAMESPACE {

// operands: x, pairs of channels; a last channel without a partner gets zeros.
inline void pair_channels(const Call& call) {
    const auto& a = call.arguments<PairChannelsArguments>();
    const int64_t pairs = (a.extent.channels + 1) / 2, end = a.extent.columns * W;
    const Share share(a.extent.rows, call.part, call.parts);
    with_parts(a.parts, [&]<int PARTS>() {
        for (int64_t block = 0; block < call.blocks; block++)
            for (int64_t i = share.begin; i < share.end; i++)
                for (int64_t q = 0; q < pairs; q++) {
                    const float* first = a.x.at(call.f(0, block), 2 * q, i);
                    const float* second = 2 * q + 1 < a.extent.channels ? first + a.x.plane : nullptr;
                    float* y = call.f(1, block) + a.y_first + i * a.y_row + q * W;
                    for (int64_t j = 0; j < end; j += W, y += pairs * W) {
                        const Parts<PARTS> one(load(first + j)), other(second ? load(second + j) : vec{});
                        for (int p = 0; p < PARTS; p++) _mm512_store_si512(y + p * a.y_part, pairs_of(one.of[p], other.of[p]));
                    }
                }
    });
}

// operands: x, pairs of features, one after the other. tables: places of each two of them, -1: zeros.
inline void pair_features(const Call& call) {
    const auto& a = call.arguments<PairFeaturesArguments>();
    const int64_t pairs = call.table_size(0) / 2;
    const Share share(pairs, call.part, call.parts);
    const int32_t* places = call.table(0);
    const auto of = [](const float* x, int32_t place) { return place < 0 ? vec{} : load(x + place); };
    with_parts(a.parts, [&]<int PARTS>() {
        for (int64_t block = 0; block < call.blocks; block++) {
            const float* x = call.f(0, block);
            for (int64_t q = share.begin; q < share.end; q++) {
                const Parts<PARTS> one(of(x, places[2 * q])), other(of(x, places[2 * q + 1]));
                for (int p = 0; p < PARTS; p++)
                    _mm512_store_si512(call.f(1, block) + (p * pairs + q) * W, pairs_of(one.of[p], other.of[p]));
            }
        }
    });
}

// operands: x, halves.
inline void half_images(const Call& call) {
    const auto& a = call.arguments<HalfImagesArguments>();
    const int64_t part = a.planes * a.y.plane, end = a.extent.columns * W;
    const Share share(a.extent.channels * a.extent.rows, call.part, call.parts);
    with_parts(a.parts, [&]<int PARTS>() {
        for (int64_t block = 0; block < call.blocks; block++)
            for (int64_t unit = share.begin; unit < share.end; unit++) {
                const int64_t c = unit / a.extent.rows, i = unit % a.extent.rows;
                const float* x = a.x.at(call.f(0, block), c, i);
                auto* y = reinterpret_cast<uint16_t*>(call.u(1, block)) + a.y.first + c * a.y.plane + i * a.y.row;
                int64_t j = 0;
                for (; j + 2 * W <= end; j += 2 * W) {
                    const Parts<PARTS> one(load(x + j)), other(load(x + j + W));
                    for (int p = 0; p < PARTS; p++) _mm512_storeu_si512(y + p * part + j, halves_of(one.of[p], other.of[p]));
                }
                if (j == end) continue;
                const Parts<PARTS> last(load(x + j));
                for (int p = 0; p < PARTS; p++) {
                    const auto half = (__m256i)_mm512_cvtneps_pbh((__m512)last.of[p]);
                    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + p * part + j), half);
                }
            }
    });
}

struct VectorPair {
    vec first = {}, second = {};
};

// 16 pairs of vectors as a tile of each part: rows are pairs of lanes, first those of the first vectors.
template <int PARTS, class Pair> inline void transpose_pairs(const Pair& pair, float* tile, int64_t part) {
    vec rows[PARTS][TILE];
#pragma GCC unroll 16
    for (int c = 0; c < TILE; c++) {
        const auto [first, second] = pair(c);
        const Parts<PARTS> one(first), other(second);
        for (int p = 0; p < PARTS; p++) rows[p][c] = (vec)halves_of(one.of[p], other.of[p]);
    }
    for (int p = 0; p < PARTS; p++) {
        transpose(rows[p]);
#pragma GCC unroll 16
        for (int r = 0; r < TILE; r++) store(tile + p * part + r * W, rows[p][r]);
    }
}

// Weights as tiles: [part][tile of outputs][step][output][32 inputs]. operands: weights, tiles, coefficients of a batch norm that
// follows. tables: element of each input of each step, -1: zero.
inline void tile_pack(const Call& call) {
    const auto& a = call.arguments<TilePackArguments>();
    const int64_t tiles = (a.outputs + TILE - 1) / TILE, part = tiles * a.steps * TILE_FLOATS;
    const Share share(tiles * a.steps, call.part, call.parts);
    const __m512i none = _mm512_set1_epi32(-1);
    with_parts(a.parts, [&]<int PARTS>() {
        for (int64_t unit = share.begin; unit < share.end; unit++) {
            const int32_t* elements = call.table(0) + unit % a.steps * TILE_DEPTH;
            const __m512i first = _mm512_loadu_si512(elements), second = _mm512_loadu_si512(elements + TILE);
            const __mmask16 has_first = _mm512_cmpgt_epi32_mask(first, none);
            const __mmask16 has_second = _mm512_cmpgt_epi32_mask(second, none);
            float* to = call.f(1) + unit * TILE_FLOATS;
            for (int64_t o = 0; o < TILE; o++, to += W) {
                const int64_t output = unit / a.steps * TILE + o;
                if (output >= a.outputs) {
                    for (int p = 0; p < PARTS; p++) store(to + p * part, vec{});
                    continue;
                }
                const float* from = call.f(0) + output * a.output_stride;
                const float scale = call.has(2) ? call.f(2)[2 * a.outputs + output] : 1.0f;
                const auto low = (vec)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), has_first, first, from, 4);
                const auto high = (vec)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), has_second, second, from, 4);
                const Parts<PARTS> one(low * scale), other(high * scale);
                for (int p = 0; p < PARTS; p++) _mm512_store_si512(to + p * part, halves_of(one.of[p], other.of[p]));
            }
        }
    });
}

// A feature of a block, 0 in lanes without an image.
inline vec valid_feature(const Call& call, int64_t block, int32_t place) {
    if (block >= call.all_blocks) return vec{};
    const int64_t left = call.batch - block * W;
    const auto mask = static_cast<__mmask16>(left < W ? (1u << left) - 1 : 0xFFFFu);
    return (vec)_mm512_maskz_loadu_ps(mask, call.f(0, block) + place);
}

// A feature of a block and of the next one; a feature that is missing is 0.
inline VectorPair two_blocks(const Call& call, const DenseTilesArguments& a, int64_t feature, int64_t block) {
    if (feature >= a.features) return {};
    const int32_t place = call.table(0)[feature];
    return {valid_feature(call, block, place), valid_feature(call, block + 1, place)};
}

// operands: lanes of all blocks, tiles [part][16 features][two blocks][feature][32 images]. tables: place of each feature.
inline void dense_rows(const Call& call) {
    const auto& a = call.arguments<DenseTilesArguments>();
    const int64_t tiles = (a.features + TILE - 1) / TILE, pairs = (call.all_blocks + 1) / 2, part = tiles * pairs * TILE_FLOATS;
    const Share share(tiles * pairs, call.part, call.parts);
    with_parts(a.parts, [&]<int PARTS>() {
        for (int64_t unit = share.begin; unit < share.end; unit++) {
            float* to = call.f(1) + unit * TILE_FLOATS;
            for (int64_t r = 0; r < TILE; r++, to += W) {
                const auto [first, second] = two_blocks(call, a, unit / pairs * TILE + r, unit % pairs * 2);
                const Parts<PARTS> one(first), other(second);
                for (int p = 0; p < PARTS; p++) _mm512_store_si512(to + p * part, halves_of(one.of[p], other.of[p]));
            }
        }
    });
}

// The same, transposed: [part][16 features][two blocks][pair of images][feature].
inline void dense_columns(const Call& call) {
    const auto& a = call.arguments<DenseTilesArguments>();
    const int64_t tiles = (a.features + TILE - 1) / TILE, pairs = (call.all_blocks + 1) / 2, part = tiles * pairs * TILE_FLOATS;
    const Share share(tiles * pairs, call.part, call.parts);
    with_parts(a.parts, [&]<int PARTS>() {
        for (int64_t unit = share.begin; unit < share.end; unit++) {
            const auto pair = [&](int64_t r) { return two_blocks(call, a, unit / pairs * TILE + r, unit % pairs * 2); };
            transpose_pairs<PARTS>(pair, call.f(1) + unit * TILE_FLOATS, part);
        }
    });
}

}  // namespace STRIATE_NAMESPACE
