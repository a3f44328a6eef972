// Numbers of layers laid out as tiles of bfloat16, see `tiles.hpp`: rounded to it, or as sums of parts, which follow each other.
// Everything between layers, and the weights that are updated, remains float32.
//
// Two layouts of a tensor of lanes:
//     pairs       (place, channel pair): in each lane the two bfloat16 of an image, so that what neighbouring places hold
//                 follows each other, whole rows of a kernel as tiles                      y = w x, dx = w' dy
//     halves      (channel, place): the 16 bfloat16 of the block's images                  rows of dw
#pragma once

#include "layout.hpp"
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

// 16 features of an image from the first on, 0 where there are no more, and where there is no image.
inline vec features_of(const float* image, int64_t first, int64_t features) {
    const int64_t left = image ? features - first : 0;
    if (left <= 0) return vec{};
    return left >= W ? load_unaligned(image + first) : (vec)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << left) - 1), image + first);
}

// The same of images of PyTorch, whose features are in this order. operands: images, pairs of features.
inline void pair_images(const Call& call) {
    const auto& a = call.arguments<PairImagesArguments>();
    const int64_t steps = (a.features + TILE_DEPTH - 1) / TILE_DEPTH, part = steps * TILE_FLOATS;
    const Share share(steps, call.part, call.parts);
    with_parts(a.parts, [&]<int PARTS>() {
        for (int64_t block = 0; block < call.blocks; block++) {
            const int64_t valid = valid_lanes(call, block);
            const float* images = call.f(0) + (call.first_block + block) * W * a.features;
            for (int64_t step = share.begin; step < share.end; step++)
                transpose_pairs<PARTS>([&](int64_t l) {
                    const float* image = l < valid ? images + l * a.features : nullptr;
                    const int64_t first = step * TILE_DEPTH;
                    return VectorPair{features_of(image, first, a.features), features_of(image, first + W, a.features)};
                }, call.f(1, block) + step * TILE_FLOATS, part);
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

// 16 numbers by their elements, 0 for an element of -1.
class Gathered {
public:
    explicit Gathered(const int32_t* elements) : elements_(_mm512_loadu_si512(elements)), first_(elements[0]) {
        const __m512i next = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        exists_ = _mm512_cmpgt_epi32_mask(elements_, _mm512_set1_epi32(-1));
        follow_ = _mm512_cmpeq_epi32_mask(elements_, _mm512_add_epi32(_mm512_set1_epi32(first_), next)) == 0xFFFF;
    }

    vec of(const float* from) const {
        if (follow_ && first_ >= 0) return load_unaligned(from + first_);
        return (vec)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), exists_, elements_, from, 4);
    }

private:
    __m512i elements_;
    int32_t first_;
    __mmask16 exists_;
    bool follow_;
};

// Weights as tiles: [part][tile of outputs][step][output][32 inputs]. operands: weights, tiles, coefficients of a batch norm that
// follows. tables: element of each input of each step, -1: zero.
inline void tile_pack(const Call& call) {
    const auto& a = call.arguments<TilePackArguments>();
    const int64_t tiles = (a.outputs + TILE - 1) / TILE, part = tiles * a.steps * TILE_FLOATS;
    const Share share(tiles * a.steps, call.part, call.parts);
    with_parts(a.parts, [&]<int PARTS>() {
        for (int64_t unit = share.begin; unit < share.end; unit++) {
            const int32_t* elements = call.table(0) + unit % a.steps * TILE_DEPTH;
            const Gathered first(elements), second(elements + TILE);
            float* to = call.f(1) + unit * TILE_FLOATS;
            for (int64_t o = 0; o < TILE; o++, to += W) {
                const int64_t output = unit / a.steps * TILE + o;
                if (output >= a.outputs) {
                    for (int p = 0; p < PARTS; p++) store(to + p * part, vec{});
                    continue;
                }
                const float* from = call.f(0) + output * a.output_stride;
                const float scale = call.has(2) ? call.f(2)[2 * a.outputs + output] : 1.0f;
                const Parts<PARTS> one(first.of(from) * scale), other(second.of(from) * scale);
                for (int p = 0; p < PARTS; p++) _mm512_store_si512(to + p * part, halves_of(one.of[p], other.of[p]));
            }
        }
    });
}

// A feature of a block, 0 in lanes without an image.
inline vec valid_feature(const Call& call, int operand, int64_t block, int32_t place) {
    if (block >= call.all_blocks) return vec{};
    const int64_t left = call.batch - block * W;
    const auto mask = static_cast<__mmask16>(left < W ? (1u << left) - 1 : 0xFFFFu);
    return (vec)_mm512_maskz_loadu_ps(mask, call.f(operand, block) + place);
}

// A feature of a block and of the next one; a feature that is missing is 0.
inline VectorPair two_blocks(const Call& call, const int32_t* places, int64_t features, int operand, int64_t feature, int64_t block) {
    if (feature >= features) return {};
    return {valid_feature(call, operand, block, places[feature]), valid_feature(call, operand, block + 1, places[feature])};
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
                const auto [first, second] = two_blocks(call, call.table(0), a.features, 0, unit / pairs * TILE + r, unit % pairs * 2);
                const Parts<PARTS> one(first), other(second);
                for (int p = 0; p < PARTS; p++) _mm512_store_si512(to + p * part, halves_of(one.of[p], other.of[p]));
            }
        }
    });
}

}  // namespace STRIATE_NAMESPACE
