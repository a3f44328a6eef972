// What the kernels of bfloat.hpp read and write. Part of checks.cpp.
#pragma once

#include "arguments.hpp"
#include "check.hpp"
#include "check_kernels.hpp"

namespace striate {

inline void check_pair_channels(Check& c) {
    const auto& a = c.arguments<PairChannelsArguments>();
    c.positive("channels x rows x columns", {a.extent.channels, a.extent.rows, a.extent.columns});
    c.lanes(0, a.extent, a.x);
    c.lanes(1, {quotient_up(a.extent.channels, 2), a.extent.rows, a.extent.columns}, a.y);
}

inline void check_pair_features(Check& c) {
    const int64_t pairs = c.table_size(0) / 2;
    c.within("pairs of features", pairs, 1, MOST);
    const int32_t* places = c.table(0, 2 * pairs);
    Reaches read;
    for (int64_t n = 0; n < 2 * pairs; n++)
        if (places[n] >= 0) read.add(Reach{}.from(places[n]));
    c.lanes(0, read.all);
    c.lanes(1, Reach{}.steps(pairs, c.width()));
}

inline void check_half_images(Check& c) {
    const auto& a = c.arguments<HalfImagesArguments>();
    c.within("part", a.part, 0, BFLOAT16_PARTS);
    c.positive("channels x rows x columns", {a.extent.channels, a.extent.rows, a.extent.columns});
    c.lanes(0, a.extent, a.x);
    c.half_lanes(1, c.places(a.extent, a.y), c.width());
}

inline void check_transpose_outputs(Check& c) {
    const auto& a = c.arguments<TransposeOutputsArguments>();
    c.within("part", a.part, 0, BFLOAT16_PARTS);
    c.positive("channels x rows x columns", {a.extent.channels, a.extent.rows, a.extent.columns});
    c.lanes(0, a.extent, a.x);
    const int64_t tiles = quotient_up(a.extent.channels, TILE), pairs = times(a.extent.rows, quotient_up(a.extent.columns, 2));
    c.lanes(1, Reach{}.steps(tiles, a.y_plane).steps(times(pairs, TILE), c.width()));
}

inline int64_t tile_weights(int64_t outputs, int64_t steps) {
    return times(times(quotient_up(outputs, TILE), steps), TILE_FLOATS);
}

inline void check_tile_pack(Check& c) {
    const auto& a = c.arguments<TilePackArguments>();
    c.positive("outputs", {a.outputs});
    c.within("steps", a.steps, 0, MOST);
    const int64_t inputs = times(a.steps, TILE_DEPTH);
    const int32_t* elements = c.table(0, inputs);
    Reaches read;
    for (int64_t n = 0; n < inputs; n++)
        if (elements[n] >= 0) read.add(Reach{}.from(elements[n]));
    c.once(0, Reach(read.all).steps(read.some ? a.outputs : 1, a.output_stride), read.some ? 1 : 0);
    c.vectors_once(1, Reach{}, tile_weights(a.outputs, a.steps));
    if (c.has(2)) c.once(2, times(3, a.outputs));
}

// Where the rows of x that belong to a pixel are.
inline Reach rows_of_tiles(Check& c, const TileSumsArguments& a) {
    const int64_t count = a.gathered ? a.gathered : a.steps;
    const int32_t* rows = c.table(0, count);
    if (!count) return Reach{};
    Reach reach = Reach{}.any_of(rows, rows + count);
    return a.gathered ? reach : reach.steps(TILE, a.x_row);
}

inline void check_tile_sums(Check& c) {
    const auto& a = c.arguments<TileSumsArguments>();
    c.positive("outputs", {a.outputs});
    c.within("steps", a.steps, 0, MOST);
    c.within("gathered", a.gathered, 0, times(a.steps, TILE));
    check_activation(c, a.activation);
    const int64_t panel = a.gathered ? times(a.steps, 4) : 0;
    c.require(times(4 * TILE_FLOATS, plus(panel, 4)) <= c.program().sizes().scratch_bytes,
              "tiles do not fit into the scratch memory");
    const int32_t* outputs = c.table(3, a.outputs);
    const Reach planes = Reach{}.any_of(outputs, outputs + a.outputs);
    c.vectors_once(1, Reach{}, tile_weights(a.outputs, a.steps));
    if (c.has(2)) c.once(2, a.outputs);
    Reach read = rows_of_tiles(c, a);
    if (a.over_blocks) {
        c.require(!a.pooled && !a.gathered, "over blocks nothing is pooled or gathered");
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
    c.positive("inputs x outputs", {a.inputs, a.outputs});
    c.positive("steps", {a.steps});
    c.within("piece", a.piece, 1, a.steps);
    const int64_t count = a.gathers ? times(a.inputs, TILE) : a.inputs, panel = a.gathers ? times(a.piece, 2) : 0;
    c.require(times(4 * TILE_FLOATS, plus(panel, 4)) <= c.program().sizes().scratch_bytes,
              "tiles do not fit into the scratch memory");
    const int32_t *rows = c.table(0, count), *steps = c.table(1, a.steps);
    const Reach pixels = Reach{}.any_of(steps, steps + a.steps);
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
    c.half_lanes(0, read, c.width());
    c.lanes(1, Reach{}.steps(a.outputs, a.dy_plane).steps(times(a.steps, TILE), c.width()));
    c.slot(2, times(times(a.inputs, a.outputs), TILE_FLOATS));
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

// Of both orders: tiles of features, for each two blocks.
inline void check_dense_tiles(Check& c) {
    const auto& a = c.arguments<DenseTilesArguments>();
    c.positive("features", {a.features});
    const int32_t* places = c.table(0, a.features);
    c.lanes(0, Reach{}.any_of(places, places + a.features));
    const int64_t tiles = quotient_up(a.features, TILE);
    c.vectors_once(1, Reach{}, times(tiles, TILE_FLOATS));  // and no memory of PyTorch
    c.images(1, times(tiles, TILE_FLOATS / TILE_DEPTH));
}

inline void check_tile_dense_gradient(Check& c) {
    const auto& a = c.arguments<TileDenseGradientArguments>();
    c.positive("outputs x features", {a.outputs, a.features});
    int operand = 0;
    for (const int64_t count : {a.outputs, a.features}) {
        const int64_t tiles = quotient_up(count, TILE);
        c.vectors_once(operand, Reach{}, times(tiles, TILE_FLOATS));
        c.images(operand, times(tiles, TILE_FLOATS / TILE_DEPTH));
        operand++;
    }
    c.once(2, times(a.outputs, a.features));
}

}  // namespace striate
