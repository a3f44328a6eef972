// What Winograd's method reads and writes, of both sizes. Part of checks.cpp.
#pragma once

#include "check.hpp"

namespace striate {

constexpr int64_t WINOGRAD_PLACES = 16;

// Floats of all filters, transformed.
inline int64_t winograd_weights(const Check& c, int64_t channels, int64_t outputs) {
    const int64_t width = winograd_tile(c.accumulators()).outputs;
    return times(times(quotient_up(outputs, width), width), times(channels, WINOGRAD_PLACES));
}

inline void check_winograd_pack(Check& c) {
    const auto& a = c.arguments<WinogradPackArguments>();
    c.positive("channels x outputs", {a.channels, a.outputs});
    c.once(0, Reach{}.steps(a.outputs, a.output_stride).steps(a.channels, a.channel_stride), 9);
    c.once(1, winograd_weights(c, a.channels, a.outputs));
    if (c.has(2)) c.once(2, times(3, a.outputs));
}

// Where outputs go: 2 x 2 of a tile but those whose bit of `valid` is missing; 1 where they are pooled.
inline Reach outputs_of_tiles(const Check& c, const WinogradArguments& a) {
    const int32_t *corners = c.table(1, a.tiles), *valid = c.table(2, a.pooled ? 0 : a.tiles);
    Reaches places;
    for (int64_t n = 0; n < a.tiles; n++) {
        const Reach corner = Reach{}.from(corners[n]);
        if (a.pooled) places.add(corner);
        else places.add(Reach(corner).steps(valid[n] & 1 ? 2 : 1, c.width()).steps(valid[n] & 2 ? 2 : 1, a.y_row));
    }
    return places.all;
}

inline void check_winograd(Check& c) {
    const auto& a = c.arguments<WinogradArguments>();
    c.positive("channels x outputs", {a.channels, a.outputs});
    c.positive("tiles", {a.tiles});
    c.within("group", a.group, 1, MOST);
    check_activation(c, a.activation);
    const TileSize tile = winograd_tile(c.accumulators());
    c.positive("scratch memory", {WINOGRAD_PLACES * c.width(), a.channels + tile.outputs, a.group + tile.vectors});
    const int32_t *corners = c.table(0, a.tiles), *planes = c.table(3, a.outputs);
    c.lanes(0, Reach{}
                   .any_of(corners, corners + a.tiles)
                   .steps(a.channels, a.x_plane)
                   .steps(4, a.x_row)
                   .steps(4, c.width()));
    c.once(1, winograd_weights(c, a.channels, a.outputs));
    if (c.has(2)) c.once(2, a.outputs);
    const Reach written = outputs_of_tiles(c, a).any_of(planes, planes + a.outputs);
    c.lanes(3, written);
    if (!a.pooled) {
        if (c.has(4)) c.lanes(4, written);
        return;
    }
    c.require(a.activation <= RELU, "a pooled tile has no other activation than the ReLU");
    const int32_t* maxima = c.table(4, c.has(4) ? a.tiles : 0);
    if (c.has(4))
        c.byte_lanes(4, Reach{}.any_of(maxima, maxima + a.tiles).steps(a.outputs, times(a.argmax_plane, c.width())));
}

inline int64_t winograd4_weights(int64_t channels, int64_t outputs, int64_t width) {
    return times(times(quotient_up(outputs, width), width), times(channels, 36));
}

inline void check_winograd4_pack(Check& c) {
    const auto& a = c.arguments<Winograd4PackArguments>();
    c.positive("channels x outputs", {a.channels, a.outputs});
    c.within("tile_outputs", a.tile_outputs, 1, MOST_OUTPUTS);
    c.once(0, Reach{}.steps(a.outputs, a.output_stride).steps(a.channels, a.channel_stride), 9);
    c.once(1, winograd4_weights(a.channels, a.outputs, a.tile_outputs));
    if (c.has(2)) c.once(2, times(3, a.outputs));
}

// Where the outputs of tiles go: those within the map, or one for each 2 x 2 of them; `to_column`: from column to column.
inline Reach outputs_of_tiles4(const Check& c, const Winograd4Arguments& a, const int32_t* corners, int64_t row, int64_t to_column) {
    const int32_t* valid = c.table(2, a.tiles);
    Reaches places;
    for (int64_t n = 0; n < a.tiles; n++) {
        int64_t rows = valid[n] / 8, columns = valid[n] % 8;
        c.within("rows of a tile", rows, a.pooled ? 2 : 1, 4);
        c.within("columns of a tile", columns, a.pooled ? 2 : 1, 4);
        if (a.pooled) rows /= 2, columns /= 2;
        places.add(Reach{}.from(corners[n]).steps(rows, row).steps(columns, to_column));
    }
    return places.all;
}

inline void check_winograd4(Check& c) {
    const auto& a = c.arguments<Winograd4Arguments>();
    c.positive("channels x outputs", {a.channels, a.outputs});
    c.positive("tiles", {a.tiles});
    c.within("group", a.group, 1, MOST);
    check_activation(c, a.activation);
    c.require(is_winograd4_tile(c.accumulators(), a.tile_outputs, a.tile_tiles), "there are no products of this size");
    c.positive("scratch memory", {36 * c.width(), a.channels + a.tile_outputs, a.group + a.tile_tiles});
    const int32_t *corners = c.table(0, a.tiles), *planes = c.table(3, a.outputs);
    c.lanes(0, Reach{}
                   .any_of(corners, corners + a.tiles)
                   .steps(a.channels, a.x_plane)
                   .steps(6, a.x_row)
                   .steps(6, c.width()));
    c.once(1, winograd4_weights(a.channels, a.outputs, a.tile_outputs));
    if (c.has(2)) c.once(2, a.outputs);
    const Reach written = outputs_of_tiles4(c, a, c.table(1, a.tiles), a.y_row, c.width()).any_of(planes, planes + a.outputs);
    c.lanes(3, written);
    if (!c.has(4)) return;
    if (!a.pooled) return c.lanes(4, written);
    const Reach maxima = outputs_of_tiles4(c, a, c.table(4, a.tiles), times(a.argmax_row, c.width()), c.width());
    c.byte_lanes(4, Reach(maxima).steps(a.outputs, times(a.argmax_plane, c.width())));
}

}  // namespace striate
