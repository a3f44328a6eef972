// What kernels that take one value after the other read and write. Part of checks.cpp.
#pragma once

#include "check.hpp"

namespace striate {

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

}  // namespace striate
