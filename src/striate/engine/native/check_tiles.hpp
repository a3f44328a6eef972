// What the kernels of tile_layout.hpp, tile_sums.hpp and tile_gradients.hpp read and write. Part of checks.cpp.
#pragma once

#include "arguments.hpp"
#include "check.hpp"
#include "check_kernels.hpp"

namespace striate {

inline void check_parts(Check& c, int64_t parts) {
    c.require(parts == 1 || parts == BFLOAT16_PARTS, "a number of bfloat16 has 1 part, one of float32 has 3");
}

inline void check_pair_channels(Check& c) {
    const auto& a = c.arguments<PairChannelsArguments>();
    check_parts(c, a.parts);
    c.positive("channels x rows x columns", {a.extent.channels, a.extent.rows, a.extent.columns});
    c.lanes(0, a.extent, a.x);
    const int64_t pairs = quotient_up(a.extent.channels, 2), row = times(a.extent.columns, pairs);
    c.lanes(1, Reach{}.from(a.y_first).steps(a.parts, a.y_part).steps(a.extent.rows, a.y_row).steps(row, c.width()));
}

inline void check_pair_features(Check& c) {
    const auto& a = c.arguments<PairFeaturesArguments>();
    check_parts(c, a.parts);
    const int64_t pairs = c.table_size(0) / 2;
    c.within("pairs of features", pairs, 1, MOST);
    const int32_t* places = c.table(0, 2 * pairs);
    Reaches read;
    for (int64_t n = 0; n < 2 * pairs; n++)
        if (places[n] >= 0) read.add(Reach{}.from(places[n]));
    c.lanes(0, read.all);
    c.lanes(1, Reach{}.steps(times(a.parts, pairs), c.width()));
}

inline void check_pair_images(Check& c) {
    const auto& a = c.arguments<PairImagesArguments>();
    check_parts(c, a.parts);
    c.positive("features", {a.features});
    c.images(0, a.features);
    c.lanes(1, Reach{}.steps(times(times(a.parts, quotient_up(a.features, TILE_DEPTH)), TILE), c.width()));
}

inline void check_half_images(Check& c) {
    const auto& a = c.arguments<HalfImagesArguments>();
    check_parts(c, a.parts);
    c.positive("channels x rows x columns", {a.extent.channels, a.extent.rows, a.extent.columns});
    c.within("planes", a.planes, a.extent.channels, MOST);
    c.lanes(0, a.extent, a.x);
    c.half_lanes(1, c.places({times(a.parts, a.planes), a.extent.rows, a.extent.columns}, a.y), c.width());
}

inline int64_t tile_weights(int64_t outputs, int64_t steps) {
    return times(times(quotient_up(outputs, TILE), steps), TILE_FLOATS);
}

inline void check_tile_pack(Check& c) {
    const auto& a = c.arguments<TilePackArguments>();
    check_parts(c, a.parts);
    c.positive("outputs", {a.outputs});
    c.within("steps", a.steps, 0, MOST);
    const int64_t inputs = times(a.steps, TILE_DEPTH);
    const int32_t* elements = c.table(0, inputs);
    Reaches read;
    for (int64_t n = 0; n < inputs; n++)
        if (elements[n] >= 0) read.add(Reach{}.from(elements[n]));
    c.once(0, Reach(read.all).steps(read.some ? a.outputs : 1, a.output_stride), read.some ? 1 : 0);
    c.vectors_once(1, Reach{}, times(a.parts, tile_weights(a.outputs, a.steps)));
    if (c.has(2)) c.once(2, times(3, a.outputs));
}

inline void check_tile_sums(Check& c) {
    const auto& a = c.arguments<TileSumsArguments>();
    check_parts(c, a.parts);
    c.positive("outputs", {a.outputs});
    c.within("steps", a.steps, 0, MOST);
    check_activation(c, a.activation);
    c.require(2 * TILE_PIXELS * TILE_FLOATS * 4 <= c.program().sizes().scratch_bytes, "tiles do not fit into the scratch memory");
    const int32_t* outputs = c.table(3, a.outputs);
    const Reach planes = Reach{}.any_of(outputs, outputs + a.outputs);
    c.vectors_once(1, Reach{}, times(a.parts, tile_weights(a.outputs, a.steps)));
    if (c.has(2)) c.once(2, a.outputs);
    const int32_t* met = c.table(0, a.steps);
    Reach read = a.steps ? Reach{}.any_of(met, met + a.steps).steps(TILE, c.width()).steps(a.parts, a.x_part) : Reach{};
    if (a.over_blocks) {
        c.require(!a.pooled, "over blocks nothing is pooled");
        c.lanes(0, read);
        c.lanes(3, planes);
        if (c.has(4)) c.lanes(4, planes);
        return;
    }
    const int64_t pixels = c.table_size(2), window = a.pooled ? 4 : 1;
    c.within("pixels", pixels, 1, MOST);
    const int32_t *in = c.table(1, window * pixels), *out = c.table(2, pixels);
    c.lanes(0, a.steps ? read.any_of(in, in + window * pixels) : Reach{});
    const Reach written = Reach(planes).any_of(out, out + pixels);
    c.lanes(3, written);
    if (!a.pooled) {
        if (c.has(4)) c.lanes(4, written);
        return;
    }
    c.require(a.activation <= RELU, "a pooled tile has no other activation than the ReLU");
    if (!c.has(4)) return;
    const int32_t* maxima = c.table(4, pixels);
    c.byte_lanes(4, Reach{}.any_of(maxima, maxima + pixels).steps(a.outputs, times(a.argmax_plane, c.width())));
}

inline void check_tile_outer(Check& c) {
    const auto& a = c.arguments<TileOuterArguments>();
    check_parts(c, a.parts);
    check_extent(c, a.dy_extent);
    c.positive("inputs", {a.inputs});
    const int64_t pairs = times(a.dy_extent.rows, quotient_up(a.dy_extent.columns, 2));
    c.within("piece", a.piece, 1, pairs);
    const int64_t outputs = quotient_up(a.dy_extent.channels, TILE), scratch = plus(outputs, a.gathers ? 2 : 0);
    c.require(times(times(times(a.parts, a.piece), scratch), TILE_FLOATS * 4) <= c.program().sizes().scratch_bytes,
              "tiles do not fit into the scratch memory");
    const int64_t count = a.gathers ? times(a.inputs, TILE) : a.inputs;
    const int32_t *rows = c.table(0, count), *steps = c.table(1, pairs);
    const Reach pixels = Reach{}.any_of(steps, steps + pairs);
    Reaches places;
    for (int64_t n = 0; n < count; n++)
        if (rows[n] >= 0 || !a.gathers) places.add(Reach{}.from(rows[n]));
    Reach read = Reach(pixels).add(places.all);
    if (a.gathers) {
        read.steps(2, a.x_column);
    } else {
        c.require(a.x_column == c.width(), "tiles that are not gathered must hold neighbours");
        read.steps(TILE, a.x_row).steps(2, a.x_column);
    }
    c.half_lanes(0, read.steps(a.parts, a.x_part), c.width());
    c.lanes(1, a.dy_extent, a.dy);
    c.slot(2, times(times(a.inputs, outputs), TILE_FLOATS));
}

inline void check_sum_tile_slots(Check& c) {
    const auto& a = c.arguments<SumTileSlotsArguments>();
    c.positive("outputs x taps", {a.outputs, a.taps});
    c.positive("inputs", {a.inputs});
    const int32_t* rows = c.table(0, a.taps);
    for (int64_t t = 0; t < a.taps; t++) c.within("row of a tap", rows[t], 0, a.inputs * TILE - 1);
    c.slots(0, times(times(a.inputs, quotient_up(a.outputs, TILE)), TILE_FLOATS));
    c.once(1, times(a.outputs, a.taps));
}

// Tiles of features, for each two blocks.
inline void check_dense_tiles(Check& c) {
    const auto& a = c.arguments<DenseTilesArguments>();
    check_parts(c, a.parts);
    c.positive("features", {a.features});
    const int32_t* places = c.table(0, a.features);
    c.lanes(0, Reach{}.any_of(places, places + a.features));
    const int64_t tiles = times(a.parts, quotient_up(a.features, TILE));
    c.vectors_once(1, Reach{}, times(tiles, TILE_FLOATS));  // and no memory of PyTorch
    c.images(1, times(tiles, TILE_FLOATS / TILE_DEPTH));
}

inline void check_tile_dense_gradient(Check& c) {
    const auto& a = c.arguments<TileDenseGradientArguments>();
    check_parts(c, a.parts);
    c.positive("outputs x features", {a.outputs, a.features});
    c.within("piece", a.piece, 1, MOST);
    const int64_t output_tiles = quotient_up(a.outputs, TILE), tiles = times(a.parts, output_tiles);
    c.vectors_once(0, Reach{}, times(tiles, TILE_FLOATS));
    c.images(0, times(tiles, TILE_FLOATS / TILE_DEPTH));
    if (a.from_images) {
        c.images(1, a.features);
    } else {
        const int32_t* places = c.table(0, a.features);
        c.lanes(1, Reach{}.any_of(places, places + a.features));
    }
    const int64_t scratch = times(2, plus(times(a.parts, a.piece), output_tiles));
    c.require(times(scratch, TILE_FLOATS * 4) <= c.program().sizes().scratch_bytes, "tiles do not fit into the scratch memory");
    c.once(2, times(a.outputs, a.features));
}

}  // namespace striate
