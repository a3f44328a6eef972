// Layers against loops that are as plain as their definitions.
#include <algorithm>
#include <cmath>

#include "testing.hpp"

using namespace testing;

namespace {

struct Shape {
    int64_t groups, in_channels, out_channels, rows, columns, kernel_rows, kernel_columns, stride, padding;
    int64_t group_inputs() const { return in_channels / groups; }
    int64_t group_outputs() const { return out_channels / groups; }
    int64_t kernel() const { return kernel_rows * kernel_columns; }
    int64_t taps() const { return group_inputs() * kernel(); }
    int64_t out_rows() const { return (rows + 2 * padding - kernel_rows) / stride + 1; }
    int64_t out_columns() const { return (columns + 2 * padding - kernel_columns) / stride + 1; }
};

constexpr Shape SHAPES[] = {
    {1, 1, 1, 3, 3, 1, 1, 1, 0}, {1, 3, 5, 6, 7, 3, 3, 1, 1}, {2, 4, 6, 8, 6, 3, 2, 2, 1}, {4, 4, 4, 5, 5, 3, 3, 1, 1},
    {1, 2, 9, 9, 9, 5, 5, 1, 2},
};

// Call `body(output, input, weight)`, indices of an image and of the weights, for every product of a convolution.
template <class Body> void each_product(const Shape& s, Body body) {
    for (int64_t k = 0; k < s.out_channels; k++)
        for (int64_t i = 0; i < s.out_rows(); i++)
            for (int64_t j = 0; j < s.out_columns(); j++)
                for (int64_t c = 0; c < s.group_inputs(); c++)
                    for (int64_t u = 0; u < s.kernel_rows; u++)
                        for (int64_t v = 0; v < s.kernel_columns; v++) {
                            const int64_t row = i * s.stride + u - s.padding, column = j * s.stride + v - s.padding;
                            if (row < 0 || row >= s.rows || column < 0 || column >= s.columns) continue;
                            const int64_t channel = k / s.group_outputs() * s.group_inputs() + c;
                            body((k * s.out_rows() + i) * s.out_columns() + j, (channel * s.rows + row) * s.columns + column,
                                 (k * s.group_inputs() + c) * s.kernel() + u * s.kernel_columns + v);
                        }
}

// The instructions of a convolution from `x`, a map bordered by the padding, to `y`.
class Layer {
public:
    Layer(Maker& maker, const Shape& s)
        : s_(s),
          x{s.in_channels, s.rows, s.columns, s.padding, maker.width()},
          y{s.out_channels, s.out_rows(), s.out_columns(), 0, maker.width()} {
        tile_outputs = std::min<int64_t>(3, s.group_outputs());
        tile_pixels = 4;
        for (int64_t c = 0; c < s.group_inputs(); c++)
            for (int64_t u = 0; u < s.kernel_rows; u++)
                for (int64_t v = 0; v < s.kernel_columns; v++) {
                    taps.push_back(static_cast<int32_t>(c * x.plane() + u * x.row() + v * maker.width()));
                    elements.push_back(static_cast<int32_t>(elements.size()));
                }
    }

    int64_t packed_floats() const {
        return s_.groups * ((s_.group_outputs() + tile_outputs - 1) / tile_outputs) * tile_outputs * s_.taps();
    }

    void pack(Maker& maker, int64_t weights, int64_t packed) const {
        maker.emit("pack", Scope::whole,
                   {s_.groups, s_.group_outputs(), s_.taps(), tile_outputs, s_.taps(), s_.group_outputs() * s_.taps()}, {},
                   {weights, packed, -1}, {elements});
    }

    // `window` pixels become one: 4 for 2 x 2 pooling.
    void sums(Maker& maker, int64_t from, int64_t packed, int64_t bias, const Map& out, int64_t to, int64_t argmax,
              int64_t activation) const {
        const bool pools = argmax >= 0;
        const int64_t corner = x.first() - s_.padding * (x.row() + maker.width()), step = pools ? 2 : 1;
        std::vector<int32_t> in, places, maxima, outputs, segments, pieces;
        for (int64_t i = 0; i < out.rows; i++) {
            pieces.push_back(static_cast<int32_t>(i));
            const auto first = static_cast<int32_t>(places.size());
            for (int64_t j = 0; j < out.columns; j++) {
                for (int64_t u = 0; u < step; u++)
                    for (int64_t v = 0; v < step; v++)
                        in.push_back(static_cast<int32_t>(corner + (step * i + u) * s_.stride * x.row() +
                                                          (step * j + v) * s_.stride * maker.width()));
                places.push_back(static_cast<int32_t>(out.at(0, i, j)));
                maxima.push_back(static_cast<int32_t>((i * out.columns + j) * maker.width()));
            }
            for (const int64_t number : {int64_t{first}, static_cast<int64_t>(places.size()), int64_t{0}, s_.taps(), int64_t{1}, int64_t{0}})
                segments.push_back(static_cast<int32_t>(number));
        }
        pieces.push_back(static_cast<int32_t>(out.rows));
        for (int64_t k = 0; k < s_.out_channels; k++) outputs.push_back(static_cast<int32_t>(k * out.plane()));
        const int64_t tile = tile_outputs * s_.taps(), tiles = (s_.group_outputs() + tile_outputs - 1) / tile_outputs;
        maker.emit("taps", Scope::block,
                   {s_.groups, s_.group_outputs(), s_.taps(), tile_outputs, tile_pixels, tile_outputs, tile, tiles * tile,
                    s_.group_inputs() * x.plane(), activation, 0, 0, pools, out.rows * out.columns, s_.taps()},
                   {0, 0}, {from, packed, bias, to, argmax}, {taps, in, places, segments, outputs, pieces, maxima});
    }

    Shape s_;
    Map x, y;
    int64_t tile_outputs, tile_pixels;
    std::vector<int32_t> taps, elements;
};

}  // namespace

TEST(convolutions_are_sums_over_taps) {
    for (const std::string& isa : isas())
        for (const Shape& s : SHAPES) {
            Maker maker(isa);
            const Layer layer(maker, s);
            const int64_t in = maker.external(), weights = maker.external(), bias = maker.external(), out = maker.external();
            const int64_t packed = maker.buffer(Kind::shared, 4 * layer.packed_floats());
            const int64_t x = maker.buffer(Kind::local, layer.x.bytes()), y = maker.buffer(Kind::local, layer.y.bytes());
            layer.pack(maker, weights, packed);
            maker.load(in, x, layer.x);
            layer.sums(maker, x, packed, bias, layer.y, y, -1, 0);
            maker.store(y, out, layer.y);
            const Program program = maker.program();
            Workspace workspace;
            const auto w = random_floats(s.out_channels * s.taps(), 4), b = random_floats(s.out_channels, 5);
            const int64_t in_size = s.in_channels * s.rows * s.columns;
            const int64_t positions = s.out_rows() * s.out_columns(), out_size = s.out_channels * positions;
            for (const How& how : {How{1, 1}, How{maker.width() + 1, 3}, How{5 * maker.width(), 2}}) {
                const auto image = random_floats(how.batch * in_size, 6);
                std::vector<float> result(static_cast<size_t>(how.batch * out_size));
                std::vector<double> expected(result.size());
                run_program(program, workspace, how, {image.data(), w.data(), b.data(), result.data()});
                for (int64_t n = 0; n < how.batch; n++) {
                    for (int64_t k = 0; k < out_size; k++)
                        expected[static_cast<size_t>(n * out_size + k)] = b[static_cast<size_t>(k / positions)];
                    each_product(s, [&](int64_t o, int64_t i, int64_t t) {
                        expected[static_cast<size_t>(n * out_size + o)] +=
                            static_cast<double>(image[static_cast<size_t>(n * in_size + i)]) * w[static_cast<size_t>(t)];
                    });
                }
                for (size_t n = 0; n < result.size(); n++) expect_near(result[n], expected[n], 1e-5);
            }
        }
}

TEST(pooled_sums_know_where_they_came_from) {
    for (const std::string& isa : isas()) {
        const Shape s{1, 2, 3, 7, 8, 3, 3, 1, 1};
        Maker maker(isa);
        const int64_t width = maker.width();
        const Layer layer(maker, s);
        const Map pooled{3, 3, 4, 1, width}, whole{3, 7, 8, 0, width};
        const int64_t in = maker.external(), weights = maker.external(), out = maker.external(), back = maker.external();
        const int64_t packed = maker.buffer(Kind::shared, 4 * layer.packed_floats());
        const int64_t x = maker.buffer(Kind::local, layer.x.bytes()), y = maker.buffer(Kind::chunk, pooled.bytes());
        const int64_t maxima = maker.buffer(Kind::batch, 3 * 12 * width), dx = maker.buffer(Kind::local, whole.bytes());
        layer.pack(maker, weights, packed);
        maker.load(in, x, layer.x);
        layer.sums(maker, x, packed, -1, pooled, y, maxima, 0);
        maker.store(y, out, pooled);
        maker.emit("unpool", Scope::block, join(pooled.extent(), pooled.placement(), whole.placement(), Numbers{12 * width}),
                   {}, {y, maxima, dx});
        maker.store(dx, back, whole);
        const Program program = maker.program();
        Workspace workspace;
        const auto w = random_floats(s.out_channels * s.taps(), 7);
        for (const How& how : ways(width)) {
            const auto image = random_floats(how.batch * 2 * 56, 8);
            std::vector<float> result(static_cast<size_t>(how.batch * 3 * 12)), spread(static_cast<size_t>(how.batch * 3 * 56));
            run_program(program, workspace, how, {image.data(), w.data(), result.data(), spread.data()});
            for (int64_t n = 0; n < how.batch; n++) {
                std::vector<double> sums(3 * 56);
                each_product(s, [&](int64_t o, int64_t i, int64_t t) {
                    sums[static_cast<size_t>(o)] += static_cast<double>(image[static_cast<size_t>(n * 112 + i)]) * w[static_cast<size_t>(t)];
                });
                for (int64_t k = 0; k < 3; k++)
                    for (int64_t i = 0; i < 3; i++)
                        for (int64_t j = 0; j < 4; j++) {
                            size_t largest = 0;
                            for (int64_t q = 0; q < 4; q++) {
                                const auto at = static_cast<size_t>(k * 56 + (2 * i + q / 2) * 8 + 2 * j + q % 2);
                                if (q == 0 || sums[at] > sums[largest]) largest = at;
                            }
                            const float value = result[static_cast<size_t>(((n * 3 + k) * 3 + i) * 4 + j)];
                            expect_near(value, sums[largest], 1e-5);
                            expect(spread[static_cast<size_t>(n) * 3 * 56 + largest] == value, "goes back to where it was");
                        }
            }
        }
    }
}

TEST(weight_gradients_are_outer_products) {
    for (const std::string& isa : isas())
        for (const Shape& s : SHAPES) {
            Maker maker(isa);
            const int64_t width = maker.width();
            const Layer layer(maker, s);
            const int64_t in = maker.external(), gradient = maker.external(), out = maker.external();
            const int64_t x = maker.buffer(Kind::chunk, layer.x.bytes()), dy = maker.buffer(Kind::chunk, layer.y.bytes());
            const int64_t count = s.out_channels * s.taps(), slots = maker.buffer(Kind::slot, 4 * count);
            const int64_t corner = layer.x.first() - s.padding * (layer.x.row() + width);
            std::vector<int32_t> taps = layer.taps;
            for (int32_t& tap : taps) tap += static_cast<int32_t>(corner);
            maker.emit("clear_slots", Scope::whole, {count}, {}, {slots});
            maker.load(in, x, layer.x, Scope::chunk);
            maker.load(gradient, dy, layer.y, Scope::chunk);
            maker.emit("outer", Scope::chunk,
                       {s.groups, s.group_outputs(), s.taps(), 3, 4, s.group_inputs() * layer.x.plane(), layer.y.plane(),
                        s.out_rows(), s.out_columns(), s.stride * layer.x.row(), s.stride * width, layer.y.row(), 3, 0},
                       {}, {x, dy, slots}, {taps});
            maker.emit("sum_slots", Scope::whole, {count, 0}, {}, {slots, out});
            const Program program = maker.program();
            Workspace workspace;
            const int64_t in_size = s.in_channels * s.rows * s.columns, out_size = s.out_channels * s.out_rows() * s.out_columns();
            for (const How& how : {How{1, 3}, How{2 * width + 1, 2}, How{7 * width, 1}}) {
                const auto image = random_floats(how.batch * in_size, 9), error = random_floats(how.batch * out_size, 10);
                std::vector<float> result(static_cast<size_t>(count));
                std::vector<double> expected(result.size());
                run_program(program, workspace, how, {image.data(), error.data(), result.data()});
                for (int64_t n = 0; n < how.batch; n++)
                    each_product(s, [&](int64_t o, int64_t i, int64_t t) {
                        expected[static_cast<size_t>(t)] += static_cast<double>(image[static_cast<size_t>(n * in_size + i)]) *
                                                            error[static_cast<size_t>(n * out_size + o)];
                    });
                for (size_t n = 0; n < result.size(); n++) expect_near(result[n], expected[n], 1e-5 * std::sqrt(how.batch * out_size));
            }
        }
}

TEST(dense_layers_take_all_blocks_of_a_chunk) {
    for (const std::string& isa : isas()) {
        constexpr int64_t FEATURES = 37, OUTPUTS = 11, TILE = 3, PIECE = 16;
        Maker maker(isa);
        maker.most_chunk_blocks = 4;
        const int64_t width = maker.width();
        const Map from{FEATURES, 1, 1, 0, width}, to{OUTPUTS, 1, 1, 0, width};
        const int64_t in = maker.external(), weights = maker.external(), bias = maker.external(), out = maker.external();
        const int64_t packed = maker.buffer(Kind::shared, 4 * FEATURES * 4 * TILE);
        const int64_t x = maker.buffer(Kind::chunk, from.bytes()), y = maker.buffer(Kind::chunk, to.bytes());
        std::vector<int32_t> features, outputs;
        for (int64_t n = 0; n < FEATURES; n++) features.push_back(static_cast<int32_t>(n * width));
        for (int64_t n = 0; n < OUTPUTS; n++) outputs.push_back(static_cast<int32_t>(n * width));
        maker.emit("pack_dense", Scope::whole, {OUTPUTS, FEATURES, TILE, PIECE, 0}, {}, {weights, packed, -1});
        maker.load(in, x, from);
        maker.emit("taps", Scope::chunk,
                   {1, OUTPUTS, FEATURES, TILE, 4, TILE, FEATURES * TILE, 0, 0, 1, 0, 1, 0, 0, PIECE}, {0, 0},
                   {x, packed, bias, y, -1}, {features, {}, {}, {}, outputs, {0}, {}});
        maker.store(y, out, to);
        const Program program = maker.program();
        Workspace workspace;
        const auto w = random_floats(OUTPUTS * FEATURES, 11), b = random_floats(OUTPUTS, 12);
        for (const How& how : ways(width)) {
            const auto image = random_floats(how.batch * FEATURES, 13);
            std::vector<float> result(static_cast<size_t>(how.batch * OUTPUTS));
            run_program(program, workspace, how, {image.data(), w.data(), b.data(), result.data()});
            for (int64_t n = 0; n < how.batch; n++)
                for (int64_t k = 0; k < OUTPUTS; k++) {
                    double sum = b[static_cast<size_t>(k)];
                    for (int64_t f = 0; f < FEATURES; f++)
                        sum += static_cast<double>(image[static_cast<size_t>(n * FEATURES + f)]) * w[static_cast<size_t>(k * FEATURES + f)];
                    expect_near(result[static_cast<size_t>(n * OUTPUTS + k)], std::max(sum, 0.0), 1e-5);
                }
        }
    }
}
