// What each kernel reads and writes, said once more than in the kernel: by loops, tables and operands. Part of checks.cpp.
#pragma once

#include "arguments.hpp"
#include "check.hpp"

namespace striate {

// Sums ------------------------------------------------------------------------------------------------------------------

inline void check_activation(Check& c, int64_t code) { c.within("activation", code, IDENTITY, AFFINE); }

// Taps of a segment: runs of neighbours in the table of taps.
inline Reach taps_of_segment(const Check& c, const int32_t* segment, const int32_t* taps, int64_t all) {
    const int64_t first = segment[2], length = segment[3], runs = segment[4], step = segment[5];
    c.within("taps of a segment", times(length, runs), 1, all);
    c.require(length > 0, "a run of taps must have some");
    const Reach indices = Reach{}.from(first).steps(runs, step).steps(length, 1);
    c.require(indices.low >= 0 && indices.high < all, "a segment has taps that do not exist");
    Reaches reach;
    for (int64_t run = 0; run < runs; run++) {
        const int32_t* begin = taps + first + run * step;
        reach.add(Reach{}.any_of(begin, begin + length));
    }
    return reach.all;
}

// Where segments read, and where they write: pixels, and bytes of the places of maxima.
struct Segments {
    Reaches x, y, argmax;
};

inline Segments segments_of_taps(const Check& c, const TapsArguments& a) {
    const int64_t window = a.pooled ? 4 : 1, pixels = c.table_size(2), segments = c.table_size(3) / 6;
    const int32_t *taps = c.table(0, a.taps), *in = c.table(1, window * pixels), *out = c.table(2, 0);
    const int32_t *table = c.table(3, 6 * segments), *pieces = c.table(5, 1);
    const int32_t* argmax = c.table(6, a.pooled ? pixels : 0);
    for (int64_t piece = 0; piece < c.table_size(5); piece++)
        c.require(pieces[piece] >= (piece ? pieces[piece - 1] : 0) && pieces[piece] <= segments,
                  "pieces must be numbers of segments, ascending");
    Segments all;
    Reach reach;
    const int32_t* known = nullptr;
    for (int64_t s = pieces[0]; s < pieces[c.table_size(5) - 1]; s++) {
        const int32_t* segment = table + 6 * s;
        c.require(segment[0] >= 0 && segment[0] <= segment[1] && segment[1] <= pixels,
                  "a segment has pixels that do not exist");
        if (segment[0] == segment[1]) continue;
        all.y.add(Reach{}.any_of(out + segment[0], out + segment[1]));
        if (a.pooled) all.argmax.add(Reach{}.any_of(argmax + segment[0], argmax + segment[1]));
        if (segment[4] <= 0 || segment[3] == 0) continue;  // all of it in the padding
        if (!known || !std::equal(segment + 2, segment + 6, known)) {
            reach = taps_of_segment(c, segment, taps, a.taps);
            known = segment + 2;
        }
        all.x.add(Reach{}.any_of(in + window * segment[0], in + window * segment[1]).add(reach));
    }
    return all;
}

inline void check_taps(Check& c) {
    const auto& a = c.arguments<TapsArguments>();
    c.positive("groups x outputs", {a.groups, a.outputs});
    c.within("taps", a.taps, 0, MOST);
    c.within("tile_outputs", a.tile_outputs, 1, MOST_OUTPUTS);
    c.within("tile_pixels", a.tile_pixels, 1, MOST_PIXELS);
    c.require(a.tile_outputs * (a.pooled ? 4 : a.tile_pixels) <= c.accumulators(), "a tile is too large for the registers");
    check_activation(c, a.activation);
    const int64_t outputs = a.groups * a.outputs;
    const int32_t *places = c.table(4, outputs), *taps = c.table(0, a.taps);
    const Reach planes = Reach{}.any_of(places, places + outputs);
    const int64_t tiles = quotient_up(a.outputs, a.tile_outputs);
    if (c.has(2)) c.once(2, outputs);
    if (a.over_blocks) {
        c.require(a.groups == 1 && !a.pooled, "over blocks there are no groups and no pooling");
        // A tile of more pixels takes neighbours, and blocks are none.
        const bool is_whole = c.instruction().scope == Scope::whole;
        const int64_t blocks = is_whole ? MOST : c.program().sizes().most_chunk_blocks;
        c.within("blocks of a tile", std::min(a.tile_pixels, blocks), 1, MOST_POINTERS);
        c.within("tap_piece", a.tap_piece, 1, MOST);
        c.require(a.taps > 0, "over blocks there must be taps");
        c.once(1, Reach{}.steps(times(tiles, a.taps), a.tap_stride), a.tile_outputs);
        c.lanes(0, Reach{}.any_of(taps, taps + a.taps));
        c.lanes(3, planes);
        return;
    }
    const Reach weights = Reach{}.steps(a.groups, a.group_stride).steps(tiles, a.tile_stride).steps(a.taps, a.tap_stride);
    c.once(1, weights, a.taps ? a.tile_outputs : 0);
    const Segments segments = segments_of_taps(c, a);
    const Reach groups = Reach{}.steps(a.groups, a.x_group_stride);
    c.lanes(0, segments.x.some ? Reach(groups).add(segments.x.all) : Reach{});
    const Reach written = Reach(planes).add(segments.y.all);
    c.lanes(3, written);
    if (!a.pooled) {
        if (c.has(4)) c.lanes(4, written);
        return;
    }
    c.require(a.activation <= RELU, "a pooled tile has no other activation than the ReLU");
    if (c.has(4)) c.byte_lanes(4, Reach(segments.argmax.all).steps(outputs, times(a.argmax_plane, c.width())));
}

inline void check_pack(Check& c) {
    const auto& a = c.arguments<PackArguments>();
    c.positive("groups x outputs", {a.groups, a.outputs});
    c.within("taps", a.taps, 0, MOST);
    c.within("tile_outputs", a.tile_outputs, 1, MOST_OUTPUTS);
    const int32_t* taps = c.table(0, a.taps);
    Reach weights = Reach{}.steps(a.groups, a.group_stride).steps(a.outputs, a.output_stride);
    if (a.taps) weights.any_of(taps, taps + a.taps);
    c.once(0, weights, a.taps ? 1 : 0);
    c.once(1, times(times(a.groups, quotient_up(a.outputs, a.tile_outputs)), times(a.taps, a.tile_outputs)));
    if (c.has(2)) c.once(2, times(3, times(a.groups, a.outputs)));
}

inline void check_pack_dense(Check& c) {
    const auto& a = c.arguments<PackDenseArguments>();
    c.positive("outputs x taps", {a.outputs, a.taps});
    c.within("tile_outputs", a.tile_outputs, 1, MOST_OUTPUTS);
    c.within("tap_piece", a.tap_piece, 1, MOST);
    c.once(0, a.outputs * a.taps);
    c.once(1, times(times(quotient_up(a.outputs, a.tile_outputs), a.tile_outputs), a.taps));
    if (c.has(2)) c.once(2, times(3, a.outputs));
}

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

// One value after the other ---------------------------------------------------------------------------------------------

inline void check_extent(Check& c, const Extent& e) {
    c.positive("channels x rows x columns", {e.channels, e.rows, e.columns});
}

// Images of PyTorch and lanes, in whichever order they are operands.
template <int IMAGES, int LANES> void check_layout(Check& c) {
    const auto& a = c.arguments<LayoutArguments>();
    const Extent extent{a.channels, a.rows, a.columns};
    check_extent(c, extent);
    c.images(IMAGES, a.channels * a.rows * a.columns);
    c.lanes(LANES, extent, {a.plane, a.row, a.first});
}

inline void check_activate(Check& c) {
    const auto& a = c.arguments<ActivateArguments>();
    check_extent(c, a.extent);
    check_activation(c, a.activation);
    c.lanes(0, a.extent, a.x);
    c.lanes(1, a.extent, a.y);
}

inline void check_slope(Check& c) {
    const auto& a = c.arguments<SlopeArguments>();
    check_extent(c, a.extent);
    check_activation(c, a.activation);
    c.lanes(0, a.extent, a.dy);
    c.lanes(1, a.extent, a.v);
    c.lanes(2, a.extent, a.dx);
}

inline void check_combine(Check& c) {
    const auto& a = c.arguments<CombineArguments>();
    check_extent(c, a.extent);
    check_activation(c, a.activation);
    c.within("kind", a.kind, 0, 2);
    c.lanes(0, a.extent, a.a);
    c.lanes(1, c.places({a.extent.channels, a.extent.rows, 1}, a.b).steps(a.extent.columns, a.b_columns));
    c.lanes(2, a.extent, a.y);
}

inline void check_sum_products(Check& c) {
    const auto& a = c.arguments<SumProductsArguments>();
    check_extent(c, a.extent);
    c.lanes(0, a.extent, a.a);
    c.lanes(1, a.extent, a.b);
    c.lanes(2, {a.extent.channels, 1, 1}, a.y);
}

inline void check_move(Check& c) {
    const int64_t values = c.table_size(0);
    const int32_t *from = c.table(0, values), *to = c.table(1, values);
    c.positive("values", {values});
    Reaches read;
    for (int64_t n = 0; n < values; n++)
        if (from[n] >= 0) read.add(Reach{}.from(from[n]));
    c.lanes(0, read.all);
    c.lanes(1, Reach{}.any_of(to, to + values));
}

inline void check_fill(Check& c) {
    const auto& a = c.arguments<FillArguments>();
    c.positive("floats", {a.floats});
    c.lanes(0, Reach{}.steps(quotient_up(a.floats, c.width()), c.width()));
}

inline void check_drop(Check& c) {
    const auto& a = c.arguments<DropoutArguments>();
    check_extent(c, a.extent);
    c.within("layer", a.layer, 0, INT32_MAX);
    c.within("threshold", a.threshold, 0, int64_t{1} << 24);
    c.lanes(0, a.extent, a.x);
    c.lanes(1, a.extent, a.y);
}

// Pooling ---------------------------------------------------------------------------------------------------------------

// Bytes of the places of maxima: planes of rows without borders.
inline Reach places_of_maxima(const Check& c, const Extent& e, int64_t plane) {
    return Reach{}.steps(e.channels, plane).steps(times(e.rows, e.columns), c.width());
}

// A table of rows or columns of windows: places below `size`, or negative ones.
inline void check_cells(const Check& c, const char* what, const int32_t* cells, int64_t count, int64_t size) {
    for (int64_t n = 0; n < count; n++) c.require(cells[n] < size, what);
}

template <int MAPS, int POOLED, int ARGMAX> void check_max_pool(Check& c) {
    const auto& a = c.arguments<MaxPoolArguments>();
    const Extent extent{a.channels, a.rows, a.columns};
    check_extent(c, extent);
    c.positive("x_rows x x_columns", {a.x_rows, a.x_columns});
    c.positive("kernel_rows x kernel_columns", {a.kernel_rows, a.kernel_columns});
    c.within("cells of a window", a.kernel_rows * a.kernel_columns, 1, MOST_CELLS);
    const int64_t row_cells = times(a.rows, a.kernel_rows), column_cells = times(a.columns, a.kernel_columns);
    check_cells(c, "a window has rows that do not exist", c.table(0, row_cells), row_cells, a.x_rows);
    check_cells(c, "a window has columns that do not exist", c.table(1, column_cells), column_cells, a.x_columns);
    c.lanes(MAPS, {a.channels, a.x_rows, a.x_columns}, a.x);
    c.lanes(POOLED, extent, a.y);
    if (MAPS != 0 || c.has(ARGMAX)) c.byte_lanes(ARGMAX, places_of_maxima(c, extent, a.argmax_plane));
}

inline void check_unpool(Check& c) {
    const auto& a = c.arguments<UnpoolArguments>();
    const Extent extent{a.channels, a.rows, a.columns};
    check_extent(c, extent);
    c.lanes(0, extent, a.dy);
    c.byte_lanes(1, places_of_maxima(c, extent, a.argmax_plane));
    c.lanes(2, {a.channels, 2 * a.rows, 2 * a.columns}, a.dx);
}

// A table of first and last places, half open.
inline void check_ranges(const Check& c, const char* what, const int32_t* ranges, int64_t count, int64_t size) {
    for (int64_t n = 0; n < count; n++)
        c.require(ranges[2 * n] >= ranges[2 * n + 1] || (ranges[2 * n] >= 0 && ranges[2 * n + 1] <= size), what);
}

template <int MAPS, int POOLED> void check_avg_pool(Check& c) {
    const auto& a = c.arguments<AvgPoolArguments>();
    const Extent extent{a.channels, a.rows, a.columns};
    check_extent(c, extent);
    c.positive("x_rows x x_columns", {a.x_rows, a.x_columns});
    check_ranges(c, "a window has rows that do not exist", c.table(0, 2 * a.rows), a.rows, a.x_rows);
    check_ranges(c, "a window has columns that do not exist", c.table(1, 2 * a.columns), a.columns, a.x_columns);
    c.require(static_cast<int64_t>(c.instruction().floats.size()) >= plus(2, times(a.rows, a.columns)),
              "each window must have a factor");
    c.lanes(MAPS, {a.channels, a.x_rows, a.x_columns}, a.x);
    c.lanes(POOLED, extent, a.y);
}

// Normalisation ---------------------------------------------------------------------------------------------------------

// Channels and their positions, which are multiplied by the images of the batch.
inline void check_channels(Check& c, int64_t channels, int64_t positions) {
    c.within("channels", channels, 1, int64_t{1} << 32);
    c.within("positions", positions, 1, int64_t{1} << 32);
}

inline void check_batch_statistics(Check& c) {
    const auto& a = c.arguments<BatchStatisticsArguments>();
    check_extent(c, a.extent);
    check_channels(c, a.extent.channels, a.extent.rows * a.extent.columns);
    c.lanes(0, a.extent, a.x);
    c.partial(1, 8 * a.extent.channels);
}

inline void check_batch_coefficients(Check& c) {
    const auto& a = c.arguments<BatchCoefficientsArguments>();
    check_channels(c, a.channels, a.positions);
    c.require(c.has(3) == c.has(4), "a running mean and a running variance belong together");
    if (a.training || c.has(0)) c.partials(0, 8 * a.channels);
    for (int operand = 1; operand <= 4; operand++)
        if (c.has(operand) || (operand >= 3 && !a.training)) c.once(operand, a.channels);
    c.once(5, 4 * a.channels);
}

inline void check_normalize(Check& c) {
    const auto& a = c.arguments<NormalizeArguments>();
    check_extent(c, a.extent);
    check_activation(c, a.activation);
    c.lanes(0, a.extent, a.x);
    c.once(1, 4 * a.extent.channels);
    c.lanes(2, a.extent, a.y);
    if (c.has(3)) c.lanes(3, a.extent, a.residual);
}

inline void check_normalize_sums(Check& c) {
    const auto& a = c.arguments<NormalizeSumsArguments>();
    check_extent(c, a.extent);
    check_activation(c, a.activation);
    c.lanes(0, a.extent, a.dy);
    if (c.has(1)) c.lanes(1, a.extent, a.v);
    c.lanes(2, a.extent, a.x);
    c.once(3, 2 * a.extent.channels);
    if (c.has(4)) c.lanes(4, a.extent, a.dz);
    c.partial(5, 8 * a.extent.channels);
}

inline void check_normalize_gradients(Check& c) {
    const auto& a = c.arguments<NormalizeGradientsArguments>();
    check_channels(c, a.channels, a.positions);
    c.partials(0, 8 * a.channels);
    c.once(1, 3 * a.channels);
    c.once(2, 3 * a.channels);
    for (int operand = 3; operand <= 4; operand++)
        if (c.has(operand)) c.once(operand, a.channels);
}

inline void check_normalize_input(Check& c) {
    const auto& a = c.arguments<NormalizeInputArguments>();
    check_extent(c, a.extent);
    c.lanes(0, a.extent, a.dz);
    if (c.has(1)) c.lanes(1, a.extent, a.x);
    c.once(2, 3 * a.extent.channels);
    c.lanes(3, a.extent, a.dx);
}

inline void check_local_response(Check& c) {
    const auto& a = c.arguments<LocalResponseArguments>();
    check_extent(c, a.extent);
    c.positive("size", {a.size});
    c.lanes(0, a.extent, a.x);
    c.lanes(1, a.extent, a.y);
}

inline void check_local_response_backward(Check& c) {
    const auto& a = c.arguments<LocalResponseArguments>();
    check_extent(c, a.extent);
    c.positive("size", {a.size});
    c.require(times(a.extent.channels, 4 * c.width()) <= c.program().sizes().scratch_bytes,
              "more channels than fit into the scratch memory");
    c.lanes(0, a.extent, a.y);
    c.lanes(1, a.extent, a.x);
    c.lanes(2, a.extent, a.dx);
}

// The ends of a training step -------------------------------------------------------------------------------------------

inline void check_cross_entropy(Check& c) {
    const auto& a = c.arguments<CrossEntropyArguments>();
    c.positive("classes", {a.classes});
    const Extent extent{a.classes, 1, 1};
    c.lanes(0, extent, {a.x_plane, 0, a.x_first});
    c.images(1, 1, sizeof(int64_t));
    c.lanes(2, extent, {a.dx_plane, 0, a.dx_first});
    c.partial(3, sizeof(double));
}

inline void check_sum_losses(Check& c) {
    c.partials(0, sizeof(double));
    c.once(1, 1);
}

inline void check_clear_slots(Check& c) {
    const auto& a = c.arguments<CountArguments>();
    c.positive("count", {a.count});
    c.slots(0, a.count);
}

inline void check_sum_slots(Check& c) {
    const auto& a = c.arguments<SumSlotsArguments>();
    c.positive("count", {a.count});
    c.slots(0, a.count);
    c.once(1, a.count);
}

// Weights, their gradient, and what the optimizer keeps of them, which without a momentum is nothing.
template <int64_t SCALARS, bool HAS_STATE> void check_update(Check& c) {
    const auto& a = c.arguments<UpdateArguments>();
    c.positive("count", {a.count});
    c.within("scalars", a.scalars, 0, c.program().sizes().scalars - SCALARS);
    for (int operand = 0; operand < c.entry().operands; operand++)
        if (HAS_STATE || operand < 2 || c.has(operand)) c.once(operand, a.count);
}

}  // namespace striate
