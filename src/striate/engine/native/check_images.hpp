// What the kernels for one image read and write, whose channels lie side by side. Part of checks.cpp.
#pragma once

#include "check_kernels.hpp"

namespace striate {

// All pixels of an image, each with `channels` floats from `step` to `step`.
inline Reach pixels_of(const Extent& e, const Pixels& pixels, int64_t step) {
    return Reach{}
        .from(pixels.first)
        .steps(e.rows, pixels.row)
        .steps(e.columns, pixels.pitch)
        .steps(quotient_up(e.channels, step), step);
}

// The same in whole vectors, as all kernels take them but those that talk to PyTorch.
inline void check_pixels(Check& c, int operand, const Extent& e, const Pixels& pixels) {
    c.lanes(operand, pixels_of(e, pixels, c.width()));
}

inline void check_image_extent(Check& c, const Extent& e) {
    check_extent(c, e);
    c.require(e.channels % c.width() == 0, "channels are not in whole vectors");
}

template <int PYTORCH, int IMAGE> void check_image_layout(Check& c) {
    const auto& a = c.arguments<ImageLayoutArguments>();
    check_extent(c, a.extent);
    c.images(PYTORCH, a.extent.channels * a.extent.rows * a.extent.columns);
    c.scattered(IMAGE, pixels_of(a.extent, a.pixels, 1));
}

// What tiles of outputs are given and write, and the bias and the numbers to be added that belong to it.
inline void check_image_sums(Check& c, const Reach& outputs, const int32_t* pixel_out, int64_t pixels) {
    if (c.has(2)) c.vectors_once(2, outputs, c.width());
    const Reach places = Reach(outputs).any_of(pixel_out, pixel_out + pixels);
    c.lanes(3, places);
    if (c.has(4)) c.lanes(4, places);
}

// Offsets from image to image of a chunk are 32-bit numbers.
inline void check_neighbours(const Check& c, std::initializer_list<int> operands) {
    constexpr int64_t MOST_IMAGE = int64_t{1} << 30;
    const Scope scope = c.instruction().scope;
    const int64_t blocks = scope == Scope::block ? 1 : (scope == Scope::chunk ? c.program().sizes().most_chunk_blocks : MOST);
    const int64_t images = std::min<int64_t>(blocks, MOST_TILE_PIXELS);
    for (const int operand : operands) {
        const int64_t index = c.instruction().operands[static_cast<size_t>(operand)];
        c.require(index < 0 || times(c.program().buffers()[static_cast<size_t>(index)].bytes, images) <= 4 * MOST_IMAGE,
                  "images are too large to be taken together");
    }
}

inline void check_image_taps(Check& c) {
    const auto& a = c.arguments<ImageTapsArguments>();
    c.positive("tiles", {a.tiles});
    c.positive("pixels", {a.pixels});
    c.within("tile_pixels", a.tile_pixels, 1, a.pooled ? 2 : MOST_TILE_PIXELS);
    check_activation(c, a.activation);
    const int64_t window = a.pooled ? 4 : 1, all_taps = c.table_size(1);
    const int64_t most_pixels = window * a.tile_pixels;
    check_neighbours(c, {0, 3});
    const int32_t *tiles = c.table(0, times(5, a.tiles)), *taps = c.table(1, 0);
    const int32_t *in = c.table(2, times(window, a.pixels)), *out = c.table(3, a.pixels);
    Reaches read, weights, outputs;
    for (int64_t n = 0; n < a.tiles; n++) {
        const auto& tile = reinterpret_cast<const ImageTileRow*>(tiles)[n];
        c.within("vectors of a tile", tile.vectors, 1, MOST_VECTORS);
        c.require(most_pixels == 1 || most_pixels * tile.vectors <= c.accumulators(),
                  "a tile is too large for the registers");
        c.require(tile.first_tap >= 0 && tile.first_tap <= tile.end_tap && tile.end_tap <= all_taps,
                  "a tile has taps that do not exist");
        const int64_t own = tile.end_tap - tile.first_tap;
        if (own > 0) {
            read.add(Reach{}.any_of(taps + tile.first_tap, taps + tile.end_tap));
            weights.add(Reach{}.from(tile.weights).steps(times(own, tile.vectors), c.width()));
        }
        outputs.add(Reach{}.from(tile.output).steps(tile.vectors, c.width()));
    }
    c.scattered(0, read.some ? read.all.any_of(in, in + window * a.pixels) : Reach{}, read.some);
    c.vectors_once(1, weights.all, weights.some ? c.width() : 0);
    check_image_sums(c, outputs.all, out, a.pixels);
}

inline void check_image_depthwise(Check& c) {
    const auto& a = c.arguments<ImageDepthwiseArguments>();
    c.positive("vectors", {a.vectors});
    c.positive("pixels", {a.pixels});
    c.positive("taps", {a.taps});
    check_activation(c, a.activation);
    const int32_t *taps = c.table(0, a.taps), *in = c.table(1, a.pixels), *out = c.table(2, a.pixels);
    const Reach channels = Reach{}.steps(a.vectors, c.width());
    c.lanes(0, Reach(channels).any_of(taps, taps + a.taps).any_of(in, in + a.pixels));
    c.vectors_once(1, Reach{}, times(times(a.vectors, a.taps), c.width()));
    check_image_sums(c, channels, out, a.pixels);
}

inline void check_image_depthwise3(Check& c) {
    const auto& a = c.arguments<ImageDepthwise3Arguments>();
    c.positive("vectors", {a.vectors});
    c.positive("rows x columns", {a.rows, a.columns});
    c.within("stride", a.stride, 1, 2);
    c.within("y_pitch", a.y_pitch, 1, INT32_MAX / 8);
    check_activation(c, a.activation);
    const Reach channels = Reach{}.steps(a.vectors, c.width());
    c.lanes(0, Reach(channels)
                   .from(a.x_first)
                   .steps(a.rows, a.x_row)
                   .steps(3, a.x_tap_row)
                   .steps(plus(times(a.columns - 1, a.stride), 3), a.x_pitch));
    c.vectors_once(1, Reach{}, times(times(a.vectors, 9), c.width()));
    if (c.has(2)) c.vectors_once(2, channels, c.width());
    const Reach places = Reach(channels).from(a.y_first).steps(a.rows, a.y_row).steps(a.columns, a.y_pitch);
    c.lanes(3, places);
    if (c.has(4)) c.lanes(4, places);
}

// Outputs and places of a tile of the map.
inline int64_t winograd_places(Check& c, int64_t size) {
    c.require(size == 2 || size == 4, "a tile of the map has 2 x 2 or 4 x 4 outputs");
    return (size + 2) * (size + 2);
}

// The outputs of all tiles of outputs; the weights of each are within operand 1.
inline Reach outputs_of_winograd(Check& c, const ImageTileRow* tiles, int64_t count, int64_t most_vectors, int64_t weights) {
    Reaches all, outputs;
    for (int64_t n = 0; n < count; n++) {
        c.within("vectors of a tile", tiles[n].vectors, 1, most_vectors);
        c.within("output of a tile", tiles[n].output, 0, INT32_MAX);
        outputs.add(Reach{}.from(tiles[n].output).steps(tiles[n].vectors, c.width()));
        all.add(Reach{}.from(tiles[n].weights).steps(times(weights, tiles[n].vectors), c.width()));
    }
    c.vectors_once(1, all.all, c.width());
    return outputs.all;
}

inline void check_image_winograd_pack(Check& c) {
    const auto& a = c.arguments<ImageWinogradPackArguments>();
    const int64_t places = winograd_places(c, a.size);
    c.positive("channels x outputs", {a.channels, a.outputs});
    c.positive("tiles", {a.tiles});
    c.once(0, times(times(a.outputs, a.channels), 9));
    const auto* tiles = reinterpret_cast<const ImageTileRow*>(c.table(0, times(5, a.tiles)));
    outputs_of_winograd(c, tiles, a.tiles, MOST_VECTORS, times(places, a.channels));
    if (c.has(2)) c.once(2, times(3, a.outputs));
}

// Where the outputs of the map's tiles go: those that are within the map, or one for each 2 x 2 of them.
inline Reach places_of_winograd(Check& c, const ImageWinogradArguments& a) {
    const int32_t *corners = c.table(2, a.map_tiles), *valid = c.table(3, a.map_tiles);
    Reaches places;
    for (int64_t n = 0; n < a.map_tiles; n++) {
        int64_t rows = valid[n] / 8, columns = valid[n] % 8;
        c.within("rows of a tile", rows, a.pooled ? 2 : 1, a.size);
        c.within("columns of a tile", columns, a.pooled ? 2 : 1, a.size);
        if (a.pooled) rows /= 2, columns /= 2;
        places.add(Reach{}.from(corners[n]).steps(rows, a.y_row).steps(columns, a.y_pitch));
    }
    return places.all;
}

inline void check_image_winograd(Check& c) {
    const auto& a = c.arguments<ImageWinogradArguments>();
    const int64_t places = winograd_places(c, a.size), width = c.width();
    c.positive("tiles", {a.tiles});
    c.positive("tiles of the map", {a.map_tiles});
    c.within("x_channels", a.x_channels, 1, INT32_MAX);
    c.within("channels", a.channels, 1, a.x_channels);
    c.require(a.x_channels % width == 0, "channels are not in whole vectors");
    c.within("group", a.group, 1, MOST_GROUP);
    c.within("tile_pixels", a.tile_pixels, 1, MOST_TILE_PIXELS);
    check_activation(c, a.activation);
    const auto* tiles = reinterpret_cast<const ImageTileRow*>(c.table(0, times(5, a.tiles)));
    int64_t most = 1;
    for (int64_t n = 0; n < a.tiles; n++) most = std::max<int64_t>(most, tiles[n].vectors);
    c.require(a.tile_pixels == 1 || times(a.tile_pixels, most) <= c.accumulators(), "a tile is too large for the registers");
    const Reach outputs = outputs_of_winograd(c, tiles, a.tiles, MOST_VECTORS, times(places, a.channels));
    const int64_t scratch = times(times(places, a.group), plus(a.x_channels, times(most, width)));
    c.require(times(4, scratch) <= c.program().sizes().scratch_bytes, "a group does not fit into the scratch memory");
    const int32_t *corners = c.table(1, a.map_tiles), *channels = c.table(4, a.channels);
    for (int64_t n = 0; n < a.channels; n++) c.within("a channel", channels[n], 0, a.x_channels - 1);
    c.lanes(0, Reach{}
                   .any_of(corners, corners + a.map_tiles)
                   .steps(a.size + 2, a.x_row)
                   .steps(a.size + 2, a.x_channels)
                   .steps(a.x_channels / width, width));
    if (c.has(2)) c.vectors_once(2, outputs, width);
    const Reach written = places_of_winograd(c, a).add(outputs);
    c.lanes(3, written);
    if (c.has(4)) c.lanes(4, written);
}

inline void check_image_pack(Check& c) {
    const auto& a = c.arguments<ImagePackArguments>();
    c.positive("outputs x group_inputs x kernel", {a.outputs, a.group_inputs, a.kernel});
    c.positive("group_outputs", {a.group_outputs});
    c.positive("tiles", {a.tiles});
    const int64_t all_taps = c.table_size(1) / 2;
    const int32_t *tiles = c.table(0, times(5, a.tiles)), *taps = c.table(1, 0);
    for (int64_t t = 0; t < all_taps; t++) c.within("element of a tap", taps[2 * t + 1], 0, a.kernel - 1);
    int64_t packed = 0;
    for (int64_t n = 0; n < a.tiles; n++) {
        const auto& tile = reinterpret_cast<const ImagePackRow*>(tiles)[n];
        c.within("vectors of a tile", tile.vectors, 1, MOST_VECTORS);
        c.within("output of a tile", tile.output, 0, a.outputs - 1);
        c.within("weights of a tile", tile.weights, 0, INT32_MAX);
        c.require(tile.first_tap >= 0 && tile.first_tap <= tile.end_tap && tile.end_tap <= all_taps,
                  "a tile has taps that do not exist");
        const int64_t lanes = tile.vectors * c.width();
        packed = std::max(packed, tile.weights + (tile.end_tap - tile.first_tap) * lanes);
    }
    c.once(0, a.outputs * a.group_inputs * a.kernel);
    c.once(1, packed);
    if (c.has(2)) c.once(2, times(3, a.outputs));
}

// The places of rows or columns, from 0 to the largest in a table; negative ones are padding.
inline Reach reached(const int32_t* places, int64_t count, int64_t stride) {
    return Reach{}.steps(plus(*std::max_element(places, places + count), 1), stride);
}

inline void check_image_max_pool(Check& c) {
    const auto& a = c.arguments<ImageMaxPoolArguments>();
    check_image_extent(c, a.extent);
    c.positive("kernel_rows x kernel_columns", {a.kernel_rows, a.kernel_columns});
    c.within("cells of a window", a.kernel_rows * a.kernel_columns, 1, MOST_IMAGE_CELLS);
    const int64_t row_cells = times(a.extent.rows, a.kernel_rows), column_cells = times(a.extent.columns, a.kernel_columns);
    const int32_t *rows = c.table(0, row_cells), *columns = c.table(1, column_cells);
    c.lanes(0, pixels_of({a.extent.channels, 1, 1}, a.x, c.width())
                   .add(reached(rows, row_cells, a.x.row))
                   .add(reached(columns, column_cells, a.x.pitch)));
    check_pixels(c, 1, a.extent, a.y);
}

inline void check_image_avg_pool(Check& c) {
    const auto& a = c.arguments<ImageAvgPoolArguments>();
    check_image_extent(c, a.extent);
    const int32_t *rows = c.table(0, times(2, a.extent.rows)), *columns = c.table(1, times(2, a.extent.columns));
    const auto last = [](const int32_t* ranges, int64_t count) {
        return *std::max_element(ranges, ranges + 2 * count);
    };
    check_ranges(c, "a window has rows that do not exist", rows, a.extent.rows, INT32_MAX);
    check_ranges(c, "a window has columns that do not exist", columns, a.extent.columns, INT32_MAX);
    c.require(static_cast<int64_t>(c.instruction().floats.size()) >= times(a.extent.rows, a.extent.columns),
              "each window must have a factor");
    c.lanes(0, pixels_of({a.extent.channels, 1, 1}, a.x, c.width())
                   .steps(last(rows, a.extent.rows), a.x.row)
                   .steps(last(columns, a.extent.columns), a.x.pitch));
    check_pixels(c, 1, a.extent, a.y);
}

inline void check_image_normalize(Check& c) {
    const auto& a = c.arguments<ImageNormalizeArguments>();
    check_image_extent(c, a.extent);
    check_activation(c, a.activation);
    c.within("real_channels", a.real_channels, 1, a.extent.channels);
    check_pixels(c, 0, a.extent, a.x);
    c.once(1, plus(times(3, a.real_channels), a.extent.channels));
    check_pixels(c, 2, a.extent, a.y);
    if (c.has(3)) check_pixels(c, 3, a.extent, a.added);
}

inline void check_image_combine(Check& c) {
    const auto& a = c.arguments<ImageCombineArguments>();
    check_image_extent(c, a.extent);
    c.within("kind", a.kind, 0, 2);
    check_pixels(c, 0, a.extent, a.a);
    check_pixels(c, 1, a.extent, a.b);
    check_pixels(c, 2, a.extent, a.y);
}

inline void check_image_activate(Check& c) {
    const auto& a = c.arguments<ImageActivateArguments>();
    check_image_extent(c, a.extent);
    check_activation(c, a.activation);
    check_pixels(c, 0, a.extent, a.x);
    check_pixels(c, 1, a.extent, a.y);
}

inline void check_image_local_response(Check& c) {
    const auto& a = c.arguments<ImageLocalResponseArguments>();
    check_image_extent(c, a.extent);
    c.positive("size", {a.size});
    c.within("real_channels", a.real_channels, 1, a.extent.channels);
    const int64_t squares = a.size / 2 + a.extent.channels + a.size + c.width();
    c.require(times(4, squares) <= c.program().sizes().scratch_bytes, "more channels than fit into the scratch memory");
    check_pixels(c, 0, a.extent, a.x);
    check_pixels(c, 1, a.extent, a.y);
}

inline void check_image_move(Check& c) {
    const int64_t runs = c.table_size(0) / 3;
    c.positive("runs", {runs});
    const int32_t* table = c.table(0, 3 * runs);
    Reaches read, written;
    for (int64_t n = 0; n < runs; n++) {
        const int32_t from = table[3 * n], to = table[3 * n + 1], length = table[3 * n + 2];
        c.within("length of a run", length, 0, INT32_MAX);
        if (length == 0) continue;
        written.add(Reach{}.from(to).steps(length, 1));
        if (from >= 0) read.add(Reach{}.from(from).steps(length, 1));
    }
    c.scattered(0, read.all, read.some);
    c.scattered(1, written.all, written.some);
}

inline void check_fold_bias(Check& c) {
    const auto& a = c.arguments<FoldBiasArguments>();
    c.positive("channels", {a.channels});
    if (c.has(0)) c.once(0, a.channels);
    if (c.has(1)) c.once(1, times(4, a.channels));
    c.once(2, a.channels);
}

}  // namespace striate
