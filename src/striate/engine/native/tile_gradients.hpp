// Weight gradients as products of tiles: see `tile_layout.hpp`.
#pragma once

#include "tile_layout.hpp"

namespace STRIATE_NAMESPACE {

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

// dy of pairs of neighbouring pixels as tiles whose rows are pairs of images: [part][16 channels][pair of pixels]. Channels and
// pixels that are missing are 0.
inline void transpose_pixels(const Call& call, const TileOuterArguments& a, int64_t block, int64_t begin, int64_t end,
                             float* tiles) {
    const int64_t outputs = a.outputs(), part = outputs * a.piece * TILE_FLOATS, row_pairs = a.row_pairs();
    with_parts(a.parts, [&]<int PARTS>() {
        for (int64_t t = 0; t < outputs; t++) {
            const int64_t missing = a.dy_extent.channels - t * TILE;
            float* to = tiles + t * a.piece * TILE_FLOATS;
            for (int64_t n = begin; n < end; n++, to += TILE_FLOATS) {
                const int64_t i = n / row_pairs, j = n % row_pairs * 2;
                const float* dy = a.dy.at(call.f(1, block), t * TILE, i) + j * W;
                const bool has_second = j + 1 < a.dy_extent.columns;
                transpose_pairs<PARTS>([&](int64_t c) {
                    if (c >= missing) return VectorPair{};
                    const float* first = dy + c * a.dy.plane;
                    return VectorPair{load(first), has_second ? load(first + W) : vec{}};
                }, to, part);
            }
        }
    });
}

// operands: x (halves), dy, sums of the slot: [tile of rows of x][tile of outputs], see `sum_tile_slots`. tables: where a tile of
// x begins, or each of its rows where they are gathered (-1: zeros); pairs of pixels.
inline void tile_outer(const Call& call) {
    const auto& a = call.arguments<TileOuterArguments>();
    const Tiles tiles;
    // Tiles are multiplied two by two, the same two for any number of threads: the order of sums depends on it.
    const Share share((a.inputs + 1) / 2, call.part, call.parts);
    const int64_t outputs = a.outputs(), all_steps = a.steps();
    float *columns = call.scratch, *panel = columns + a.parts * outputs * a.piece * TILE_FLOATS;
    Products products{};
    products.b_row = 64;
    products.parts = a.parts;
    products.b_part = outputs * a.piece * TILE_FLOATS * 4;
    products.a_row = a.gathers ? 64 : 2 * a.x_row;
    products.a_part = a.gathers ? a.piece * TILE_FLOATS * 4 : 2 * a.x_part;
    for (int64_t block = 0; block < call.blocks; block++) {
        const auto* x = reinterpret_cast<const uint16_t*>(call.u(0, block));
        for (int64_t begin = 0; begin < all_steps; begin += a.piece) {
            const int64_t end = all_steps - begin < a.piece ? all_steps : begin + a.piece;
            transpose_pixels(call, a, block, begin, end, columns);
            products.steps = end - begin;
            products.a_steps = a.gathers ? nullptr : call.table(1) + begin;
            for (int64_t tile = 2 * share.begin; tile < 2 * share.end && tile < a.inputs; tile += 2) {
                const int64_t count = a.inputs - tile < 2 ? 1 : 2;
                for (int64_t i = 0; i < count; i++) {
                    if (!a.gathers) {
                        products.a[i] = reinterpret_cast<const char*>(x + call.table(0)[tile + i]);
                        continue;
                    }
                    float* own = panel + i * a.parts * a.piece * TILE_FLOATS;
                    products.a[i] = reinterpret_cast<const char*>(own);
                    for (int64_t p = 0; p < a.parts; p++, own += a.piece * TILE_FLOATS)
                        gather_pixels(call, a, x + p * a.x_part, tile + i, begin, end, own);
                }
                for (int64_t o = 0; o < outputs; o += 2) {
                    const int64_t own = outputs - o < 2 ? 1 : 2;
                    for (int64_t j = 0; j < own; j++)
                        products.b[j] = reinterpret_cast<const char*>(columns + (o + j) * a.piece * TILE_FLOATS);
                    float* sums = call.f(2) + (tile * outputs + o) * TILE_FLOATS;
                    multiply(count, own, products, sums, outputs * TILE_FLOATS, true);
                }
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

// Features of x as tiles: [part][tile][two blocks][pair of images][feature]; of images of PyTorch, neighbours become pairs.
template <int PARTS>
void feature_tiles(const Call& call, const TileDenseGradientArguments& a, int64_t tile, int64_t begin, int64_t end, float* to,
                   int64_t part) {
    if (!a.from_images) {
        for (int64_t n = begin; n < end; n++, to += TILE_FLOATS)
            transpose_pairs<PARTS>([&](int64_t r) {
                return two_blocks(call, call.table(0), a.features, 1, tile * TILE + r, 2 * n);
            }, to, part);
        return;
    }
    for (int64_t image = begin * TILE_DEPTH; image < end * TILE_DEPTH; image += 2, to += W) {
        const auto features = [&](int64_t n) {
            return features_of(n < call.batch ? call.f(1) + n * a.features : nullptr, tile * TILE, a.features);
        };
        const Parts<PARTS> one(features(image)), other(features(image + 1));
        for (int p = 0; p < PARTS; p++) _mm512_store_si512(to + p * part, pairs_of(one.of[p], other.of[p]));
    }
}

// Sums of `m` tiles of outputs and `n` of features into the gradient.
inline void put_gradients(const Call& call, const TileDenseGradientArguments& a, const float* sums, int64_t output, int64_t m,
                          int64_t feature, int64_t n) {
    for (int64_t k = output * TILE; k < (output + m) * TILE && k < a.outputs; k++)
        for (int64_t j = 0; j < n; j++) {
            const int64_t first = (feature + j) * TILE, left = a.features - first;
            const auto mask = static_cast<__mmask16>(left < TILE ? (1u << left) - 1 : 0xFFFFu);
            __m512 sum = _mm512_load_ps(sums + (((k / TILE - output) * n + j) * TILE + k % TILE) * W);
            float* to = call.f(2) + k * a.features + first;
            if (a.accumulate) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, to));
            _mm512_mask_storeu_ps(to, mask, sum);
        }
}

// Weight gradient of a dense layer over the whole batch. operands: dy (`dense_rows`), x (lanes or images), gradient. tables: place
// of each feature in lanes.
inline void tile_dense_gradient(const Call& call) {
    const auto& a = call.arguments<TileDenseGradientArguments>();
    const Tiles tiles;
    const int64_t outputs = a.output_tiles(), features = a.feature_tiles(), pairs = (call.all_blocks + 1) / 2;
    const Share share((features + 1) / 2, call.part, call.parts);
    float *columns = call.scratch, *sums = columns + a.parts * 2 * a.piece * TILE_FLOATS;
    Products products{};
    products.a_row = products.b_row = 64;
    products.parts = a.parts;
    products.a_part = outputs * pairs * TILE_FLOATS * 4;
    products.b_part = 2 * a.piece * TILE_FLOATS * 4;
    for (int64_t f = 2 * share.begin; f < 2 * share.end && f < features; f += 2) {
        const int64_t n = features - f < 2 ? 1 : 2;
        for (int64_t j = 0; j < n; j++) products.b[j] = reinterpret_cast<const char*>(columns + j * a.piece * TILE_FLOATS);
        for (int64_t begin = 0; begin < pairs; begin += a.piece) {
            const int64_t end = pairs - begin < a.piece ? pairs : begin + a.piece;
            with_parts(a.parts, [&]<int PARTS>() {
                for (int64_t j = 0; j < n; j++)
                    feature_tiles<PARTS>(call, a, f + j, begin, end, columns + j * a.piece * TILE_FLOATS, 2 * a.piece * TILE_FLOATS);
            });
            products.steps = end - begin;
            for (int64_t o = 0; o < outputs; o += 2) {
                const int64_t m = outputs - o < 2 ? 1 : 2;
                for (int64_t i = 0; i < m; i++)
                    products.a[i] = reinterpret_cast<const char*>(call.f(0) + ((o + i) * pairs + begin) * TILE_FLOATS);
                float* own = pairs <= a.piece ? sums : sums + o * n * TILE_FLOATS;
                multiply(m, n, products, own, n * TILE_FLOATS, begin > 0);
                if (end == pairs) put_gradients(call, a, own, o, m, f, n);
            }
        }
    }
}

}  // namespace STRIATE_NAMESPACE
