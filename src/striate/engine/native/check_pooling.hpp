// What pooling reads and writes. Part of checks.cpp.
#pragma once

#include "check.hpp"

namespace striate {

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

}  // namespace striate
