// What normalisation reads and writes. Part of checks.cpp.
#pragma once

#include "check.hpp"

namespace striate {

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

}  // namespace striate
