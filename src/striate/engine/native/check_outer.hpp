// What gradients of weights and biases read and write. Part of checks.cpp.
#pragma once

#include "check.hpp"

namespace striate {

inline void check_outer(Check& c) {
    const auto& a = c.arguments<OuterArguments>();
    c.positive("groups x outputs x taps", {a.groups, a.outputs, a.taps});
    c.positive("rows x columns", {a.rows, a.columns});
    c.within("piece_rows", a.piece_rows, 1, MOST);
    c.within("tile_outputs", a.tile_outputs, 1, MOST_OUTER);
    c.within("tile_taps", a.tile_taps, 1, MOST_OUTER_TAPS);
    c.require(a.tile_outputs * a.tile_taps <= c.accumulators(), "a tile is too large for the registers");
    const int32_t* taps = c.table(0, a.taps);
    c.lanes(0, Reach{}
                   .any_of(taps, taps + a.taps)
                   .steps(a.groups, a.x_group_stride)
                   .steps(a.rows, a.x_row)
                   .steps(a.columns, a.x_column));
    const Extent extent{a.groups * a.outputs, a.rows, a.columns};
    c.lanes(1, extent, {a.dy_plane, a.dy_row, a.dy_first});
    c.slot(2, extent.channels * a.taps);
}

inline void check_channel_sums(Check& c) {
    const auto& a = c.arguments<ChannelSumsArguments>();
    c.positive("channels x rows x columns", {a.channels, a.rows, a.columns});
    c.lanes(0, {a.channels, a.rows, a.columns}, {a.plane, a.row, a.first});
    c.slot(1, a.channels);
}

// Floats of an image in panels of `length` features.
inline int64_t in_panels(int64_t features, int64_t length) { return times(quotient_up(features, length), length); }

inline void check_panels_of_rows(Check& c) {
    const auto& a = c.arguments<RowsArguments>();
    c.positive("features", {a.features});
    c.positive("panel", {a.panel});
    const int32_t* places = c.table(0, a.features);
    c.lanes(0, Reach{}.any_of(places, places + a.features));
    c.images(1, in_panels(a.features, a.panel));
}

inline void check_dense_weight_gradient(Check& c) {
    const auto& a = c.arguments<DenseGradientArguments>();
    c.positive("outputs x features", {a.outputs, a.features});
    const TileSize tile = dense_tile(c.accumulators());
    c.images(0, in_panels(a.features, tile.vectors * c.width()));
    c.images(1, in_panels(a.outputs, tile.outputs));
    c.once(2, a.outputs * a.features);
}

inline void check_dense_bias_gradient(Check& c) {
    const int64_t outputs = c.table_size(0);
    c.positive("outputs", {outputs});
    c.lanes(0, Reach{}.any_of(c.table(0, outputs), c.table(0, outputs) + outputs));
    c.once(1, outputs);
}

}  // namespace striate
