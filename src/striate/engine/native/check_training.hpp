// What the ends of a training step read and write: loss, sums of slots, updates. Part of checks.cpp.
#pragma once

#include "check.hpp"

namespace striate {

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
