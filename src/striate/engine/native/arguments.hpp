// What the ints of each instruction mean, in their order. Python makes them (engine/lowering/), checks.cpp checks them once,
// kernels read them. Offsets and distances are in floats unless said otherwise.
#pragma once

#include <cstdint>

namespace striate {

// Codes and their order are those of engine/_codes.py.
enum Activation : int64_t {
    IDENTITY, RELU, LEAKY_RELU, CLAMP, ELU, SIGMOID, TANH, GELU, SILU, HARDSWISH, HARDSIGMOID, GELU_TANH, SOFTPLUS, AFFINE
};

// The largest tiles there are functions for.
constexpr int MOST_OUTPUTS = 8, MOST_PIXELS = 12, MOST_OUTER = 8, MOST_OUTER_TAPS = 9;
// Tiles of more pixels take neighbours only: one pointer serves them all.
constexpr int MOST_POINTERS = 4;
// Of max pooling: which cell of a window was the largest is kept in one byte.
constexpr int MOST_CELLS = 255;

// Of a tile of sums: how many outputs, and how many vectors of something else.
struct TileSize {
    int64_t outputs, vectors;
};

struct Extent {
    int64_t channels, rows, columns;
};

// Where the values of a tensor of lanes are, within a block.
struct Placement {
    int64_t plane, row, first;
    const float* at(const float* base, int64_t c, int64_t i) const { return base + first + c * plane + i * row; }
    float* at(float* base, int64_t c, int64_t i) const { return base + first + c * plane + i * row; }
};

// Sums ------------------------------------------------------------------------------------------------------------------

struct TapsArguments {
    int64_t groups, outputs, taps, tile_outputs, tile_pixels;
    int64_t tap_stride, tile_stride, group_stride;  // of the weights
    int64_t x_group_stride;
    int64_t activation, accumulate, over_blocks, pooled, argmax_plane, tap_piece;
};

struct PackArguments {
    int64_t groups, outputs, taps, tile_outputs, output_stride, group_stride;
};

struct PackDenseArguments {
    int64_t outputs, taps, tile_outputs, tap_piece, transposed;
};

// Weights are read at output * output_stride + channel * channel_stride; flipped for the input's gradient.
struct WinogradPackArguments {
    int64_t channels, outputs, output_stride, channel_stride, flipped;
};

struct WinogradArguments {
    int64_t channels, outputs, tiles, group;  // group: tiles that are transformed together
    int64_t x_plane, x_row, y_row;
    int64_t activation, accumulate, pooled, argmax_plane;
};

struct Winograd4PackArguments {
    int64_t channels, outputs, output_stride, channel_stride, flipped, tile_outputs;
};

struct Winograd4Arguments {
    int64_t channels, outputs, tiles, group;
    int64_t tile_outputs, tile_tiles;  // outputs and tiles of the map that are summed together
    int64_t x_plane, x_row, y_row;
    int64_t activation, accumulate, pooled, argmax_plane, argmax_row;
};

// Whether there are products of so many outputs and tiles of the map, by how many vectors fit into the registers.
constexpr bool is_winograd4_tile(int64_t accumulators, int64_t outputs, int64_t tiles) {
    if (outputs == 8 && tiles == 1) return true;
    return accumulators >= 24 ? (outputs == 6 && tiles == 4) || (outputs == 4 && tiles == 6)
                              : (outputs == 4 && tiles == 3) || (outputs == 3 && tiles == 4);
}

// Outputs x tiles whose sums `winograd` has in registers, by how many vectors fit into them.
constexpr TileSize winograd_tile(int64_t accumulators) { return accumulators >= 24 ? TileSize{6, 4} : TileSize{4, 3}; }

struct OuterArguments {
    int64_t groups, outputs, taps, tile_outputs, tile_taps;
    int64_t x_group_stride, dy_plane;
    int64_t rows, columns, x_row, x_column, dy_row;  // from one row or column to the next
    int64_t piece_rows;
    int64_t dy_first;                                // of pixel (0, 0) within a plane
};

struct ChannelSumsArguments {
    int64_t channels, plane, rows, columns, row, first;
};

struct RowsArguments {
    int64_t features, panel;  // features of a panel
};

struct DenseGradientArguments {
    int64_t outputs, features, accumulate;
};

// The same of `dense_weight_gradient`: outputs x vectors of features.
constexpr TileSize dense_tile(int64_t accumulators) { return accumulators >= 24 ? TileSize{6, 4} : TileSize{4, 3}; }

// One value after the other ---------------------------------------------------------------------------------------------

struct LayoutArguments {
    int64_t channels, rows, columns;
    int64_t plane, row, first;  // of the lanes
    int64_t accumulate;
};

struct ActivateArguments {
    Extent extent;
    Placement x, y;
    int64_t activation;
};

struct SlopeArguments {
    Extent extent;
    Placement dy, v, dx;
    int64_t activation, accumulate;
};

struct CombineArguments {
    Extent extent;
    Placement a, b, y;
    int64_t kind;  // 0: a + b, 1: a - b, 2: a b
    int64_t activation, accumulate;
    int64_t b_columns;  // from column to column of b: W, or 0 where one value of a channel serves all positions
};

struct SumProductsArguments {
    Extent extent;
    Placement a, b, y;
    int64_t accumulate;
};

struct MoveArguments {
    int64_t accumulate, serial;  // serial: places of y occur more than once
};

struct FillArguments {
    int64_t floats;
};

struct DropoutArguments {
    Extent extent;
    Placement x, y;
    int64_t whole_channels, accumulate, layer, threshold;  // silent where the 24 bits of the hash are below
};

// Pooling ---------------------------------------------------------------------------------------------------------------

// Taps of a window: rows first; the tables hold -1 where a tap lies in the padding.
struct MaxPoolArguments {
    int64_t channels, rows, columns, kernel_rows, kernel_columns;
    Placement x, y;
    int64_t argmax_plane;  // in bytes
    int64_t x_rows;        // of the input: the backward pass clears them
    int64_t x_columns, accumulate;
};

struct UnpoolArguments {
    int64_t channels, rows, columns;  // of the pooled map
    Placement dy, dx;
    int64_t argmax_plane;  // in bytes
};

struct AvgPoolArguments {
    int64_t channels, rows, columns;
    Placement x, y;
    int64_t x_rows, x_columns, accumulate;
};

// Normalisation ---------------------------------------------------------------------------------------------------------

struct BatchStatisticsArguments {
    Extent extent;
    Placement x;
};

struct BatchCoefficientsArguments {
    int64_t channels, positions, training;
};

struct NormalizeArguments {
    Extent extent;
    Placement x, y, residual;
    int64_t activation;
};

struct NormalizeSumsArguments {
    Extent extent;
    Placement dy, v, x, dz;
    int64_t activation;
};

struct NormalizeGradientsArguments {
    int64_t channels, positions, training, accumulate;
};

struct NormalizeInputArguments {
    Extent extent;
    Placement dz, x, dx;
    int64_t accumulate;
};

struct LocalResponseArguments {
    Extent extent;
    Placement x, y, dx;
    int64_t size, accumulate;
};

// One image whose channels lie side by side -----------------------------------------------------------------------------

// The largest tiles there are functions for: pixels x vectors of outputs.
constexpr int MOST_TILE_PIXELS = 8, MOST_VECTORS = 12;
// Cells of a window of `image_max_pool`.
constexpr int MOST_IMAGE_CELLS = 256;

// Where the pixels of an image are.
struct Pixels {
    int64_t pitch, row, first;
    const float* at(const float* base, int64_t i, int64_t j) const { return base + first + i * row + j * pitch; }
    float* at(float* base, int64_t i, int64_t j) const { return base + first + i * row + j * pitch; }
};

struct ImageLayoutArguments {
    Extent extent;
    Pixels pixels;
};

struct ImageTapsArguments {
    int64_t tiles, pixels, tile_pixels, activation;
    int64_t pooled;  // pixels are windows of four
};

// A row of the table of tiles.
struct ImageTileRow {
    int32_t output, vectors, first_tap, end_tap, weights;  // offsets of outputs and weights
};

struct ImageDepthwiseArguments {
    int64_t vectors, pixels, taps, activation;
};

// From row to row and from tap to tap of x; `stride`: of the columns, 1 or 2.
struct ImageDepthwise3Arguments {
    int64_t vectors, rows, columns, stride;
    int64_t x_first, x_row, x_tap_row, x_pitch;
    int64_t y_first, y_row, y_pitch;
    int64_t activation;
};

// Tiles of the map whose inputs `image_winograd` transforms together.
constexpr int MOST_GROUP = 64;

struct ImageWinogradArguments {
    int64_t size;                                // outputs of a tile of the map along each axis: 2 or 4
    int64_t channels, x_channels;                // read, and what a pixel of x has room for
    int64_t tiles, tile_pixels;                  // tiles of outputs, and tiles of the map that are summed together
    int64_t map_tiles, group;                    // in all, and those whose inputs are transformed together
    int64_t x_row, y_row, y_pitch;
    int64_t activation, pooled;
};

struct ImageWinogradPackArguments {
    int64_t size, channels, outputs, tiles;
};

struct ImagePackArguments {
    int64_t outputs, group_outputs, group_inputs, kernel, tiles;
};

// A row of the table of tiles: its outputs, its taps (half open), where its weights go.
struct ImagePackRow {
    int32_t output, vectors, first_tap, end_tap, weights;
};

// `channels` is a multiple of W in all that follows.
struct ImageMaxPoolArguments {
    Extent extent;  // of y
    Pixels x, y;
    int64_t kernel_rows, kernel_columns;
};

struct ImageAvgPoolArguments {
    Extent extent;  // of y
    Pixels x, y;
};

struct ImageNormalizeArguments {
    Extent extent;
    Pixels x, y, added;
    int64_t real_channels, activation;
};

struct ImageCombineArguments {
    Extent extent;
    Pixels a, b, y;  // b: pitch and row are 0 where one value of a channel serves all positions
    int64_t kind;    // 0: a + b, 1: a - b, 2: a b
};

struct ImageActivateArguments {
    Extent extent;
    Pixels x, y;
    int64_t activation;
};

struct ImageLocalResponseArguments {
    Extent extent;
    Pixels x, y;
    int64_t real_channels, size;
};

struct FoldBiasArguments {
    int64_t channels;
};

// bfloat16 ----------------------------------------------------------------------------------------------------------------
// Products of tiles: 16 rows of 32 bfloat16, times 16 rows of 16 pairs of them. A step is one such product.

constexpr int64_t TILE = 16, TILE_DEPTH = 32, TILE_FLOATS = 256;  // rows; bfloat16 of a row; floats that a tile fills

// Numbers of bfloat16 whose sum is one of float32, which has as many bits. Where there are `parts`, they are 1 (a number rounded
// to bfloat16) or so many, and each part is laid out like the first.
constexpr int64_t BFLOAT16_PARTS = 3;
constexpr int64_t TILE_PIXELS = 4;  // at most, which are summed together

struct PairChannelsArguments {
    Extent extent;  // of x
    Placement x;
    int64_t y_part, y_row, y_first;  // floats from part to part, from row to row, and to the first place
    int64_t parts;
};

struct PairFeaturesArguments {
    int64_t parts;
};

struct PairImagesArguments {
    int64_t features, parts;
};

struct HalfImagesArguments {
    Extent extent;
    Placement x, y;  // y: in bfloat16
    int64_t parts, planes;  // planes: of a part
};

struct TilePackArguments {
    int64_t outputs, steps, output_stride, parts;
};

struct TileSumsArguments {
    int64_t outputs, steps;
    int64_t activation, accumulate, over_blocks, pooled, argmax_plane;
    int64_t parts, x_part;  // floats from part to part of x
};

struct TileOuterArguments {
    Extent dy_extent;
    Placement dy;
    int64_t inputs;         // tiles of rows of x
    int64_t x_row;          // bfloat16 from row to row of a tile of x
    int64_t x_column;       // and from pixel to pixel
    int64_t gathers;        // whether rows of x are gathered
    int64_t piece;          // pairs of pixels at a time
    int64_t parts, x_part;  // bfloat16 from part to part of x

    int64_t outputs() const { return (dy_extent.channels + TILE - 1) / TILE; }
    int64_t row_pairs() const { return (dy_extent.columns + 1) / 2; }
    int64_t steps() const { return dy_extent.rows * row_pairs(); }
};

struct SumTileSlotsArguments {
    int64_t outputs, taps, inputs, accumulate;  // inputs: tiles, as above
};

struct DenseTilesArguments {
    int64_t features, parts;
};

struct TileDenseGradientArguments {
    int64_t outputs, features, accumulate, parts;
    int64_t piece;        // pairs of blocks that are multiplied before the next ones
    int64_t from_images;  // x is images of PyTorch, not lanes

    int64_t output_tiles() const { return (outputs + 15) / 16; }
    int64_t feature_tiles() const { return (features + 15) / 16; }
};

// The ends of a training step -------------------------------------------------------------------------------------------

struct CrossEntropyArguments {
    int64_t classes, x_plane, x_first, dx_plane, dx_first;
};

struct CountArguments {
    int64_t count;
};

struct SumSlotsArguments {
    int64_t count, accumulate;
};

struct UpdateArguments {
    int64_t count, scalars;  // how many numbers, and where the group's scalars begin
};

// How many scalars of a group `update_sgd` and `update_adam` read.
constexpr int64_t SGD_SCALARS = 5, ADAM_SCALARS = 8;

}  // namespace striate
