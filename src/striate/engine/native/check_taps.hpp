// What sums over taps and their packed weights read and write. Part of checks.cpp.
#pragma once

#include "check.hpp"

namespace striate {

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

}  // namespace striate
