// Products of tiles of bfloat16 with sums in float32, on which `bfloat.hpp` builds: by AMX where the processor has it, else
// by AVX-512's dot products of pairs.
//
//     c[o][l] += sum over k of a[o][k] b[k][l]
//
// a: 16 rows of 32 bfloat16. b: 16 rows of 16 pairs, the two of a pair belonging to neighbours k. c: 16 rows of 16 float32.
#pragma once

#include <immintrin.h>

#include "program.hpp"
#include "vec.hpp"

namespace STRIATE_NAMESPACE {

// M tiles of a and N of b, all pairs of them, over a row of steps.
struct Products {
    const char* a[2];
    const char* b[4];
    int64_t a_row, b_row;    // bytes from row to row
    const int32_t* a_steps;  // bfloat16 to each step; null: tiles follow each other
    const int32_t* b_steps;  // floats to each step
    int64_t steps;

    int64_t to_a(int64_t n) const { return a_steps ? int64_t{2} * a_steps[n] : n * 1024; }
    int64_t to_b(int64_t n) const { return b_steps ? int64_t{4} * b_steps[n] : n * 1024; }
};

#if defined(STRIATE_ISA_AMX)

// Tile registers, all of 16 rows of 64 bytes, as long as it lives.
class Tiles {
public:
    Tiles() {
        struct alignas(64) Configuration {
            uint8_t palette = 1, first_row = 0, reserved[14] = {};
            uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
            uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
        };
        static constexpr Configuration CONFIGURATION{};
        asm volatile("ldtilecfg %0" ::"m"(CONFIGURATION));
    }
    ~Tiles() { asm volatile("tilerelease"); }
    Tiles(const Tiles&) = delete;
};

// What the compiler's own functions do, with the register as a parameter of a template.
template <int T> inline void tile_load(const void* base, int64_t row) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(base), "r"(row), "i"(T) : "memory");
}
template <int T> inline void tile_store(void* base, int64_t row) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(base), "r"(row), "i"(T) : "memory");
}
template <int T> inline void tile_zero() { asm volatile("tilezero %%tmm%c0" ::"i"(T)); }
template <int C, int A, int B> inline void tile_multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

template <int C> inline void tile_begin(const float* c, bool adds) {
    if (adds) tile_load<C>(c, 64);
    else tile_zero<C>();
}

// Sums of tile (i, j) are in register 2 i + j; tiles of a in 4 and 5, tiles of b by turns in 6 and 7.
template <int M, int J> inline void tile_column(const Products& p, int64_t to_b) {
    tile_load<6 + J % 2>(p.b[J] + to_b, p.b_row);
    tile_multiply<J, 4, 6 + J % 2>();
    if constexpr (M == 2) tile_multiply<2 + J, 5, 6 + J % 2>();
}

template <int M, int N> void multiply(const Products& p, float* c, bool adds) {
    static_assert((M == 1 && N <= 4) || (M == 2 && N <= 2));
    tile_begin<0>(c, adds);
    if constexpr (N > 1) tile_begin<1>(c + TILE_FLOATS, adds);
    if constexpr (M == 1 && N > 2) tile_begin<2>(c + 2 * TILE_FLOATS, adds);
    if constexpr (M == 1 && N > 3) tile_begin<3>(c + 3 * TILE_FLOATS, adds);
    if constexpr (M == 2) tile_begin<2>(c + N * TILE_FLOATS, adds);
    if constexpr (M == 2 && N > 1) tile_begin<3>(c + (N + 1) * TILE_FLOATS, adds);
    for (int64_t n = 0; n < p.steps; n++) {
        const int64_t to_a = p.to_a(n), to_b = p.to_b(n);
        tile_load<4>(p.a[0] + to_a, p.a_row);
        if constexpr (M == 2) tile_load<5>(p.a[1] + to_a, p.a_row);
        tile_column<M, 0>(p, to_b);
        if constexpr (N > 1) tile_column<M, 1>(p, to_b);
        if constexpr (N > 2) tile_column<M, 2>(p, to_b);
        if constexpr (N > 3) tile_column<M, 3>(p, to_b);
    }
    tile_store<0>(c, 64);
    if constexpr (N > 1) tile_store<1>(c + TILE_FLOATS, 64);
    if constexpr (M == 1 && N > 2) tile_store<2>(c + 2 * TILE_FLOATS, 64);
    if constexpr (M == 1 && N > 3) tile_store<3>(c + 3 * TILE_FLOATS, 64);
    if constexpr (M == 2) tile_store<2>(c + N * TILE_FLOATS, 64);
    if constexpr (M == 2 && N > 1) tile_store<3>(c + (N + 1) * TILE_FLOATS, 64);
}

#else

struct Tiles {
    Tiles() {}
    ~Tiles() {}
};

template <int M, int N> void multiply(const Products& p, float* c, bool adds) {
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++, c += TILE_FLOATS) {
            __m512 sums[TILE];
#pragma GCC unroll 16
            for (int o = 0; o < TILE; o++) sums[o] = adds ? _mm512_load_ps(c + o * TILE) : _mm512_setzero_ps();
            for (int64_t n = 0; n < p.steps; n++) {
                const char *a = p.a[i] + p.to_a(n), *b = p.b[j] + p.to_b(n);
                for (int64_t k = 0; k < TILE; k++) {
                    const auto pairs = (__m512bh)_mm512_loadu_si512(b + k * p.b_row);
#pragma GCC unroll 16
                    for (int o = 0; o < TILE; o++) {
                        const int weights = *reinterpret_cast<const int*>(a + o * p.a_row + 4 * k);
                        sums[o] = _mm512_dpbf16_ps(sums[o], (__m512bh)_mm512_set1_epi32(weights), pairs);
                    }
                }
            }
#pragma GCC unroll 16
            for (int o = 0; o < TILE; o++) _mm512_store_ps(c + o * TILE, sums[o]);
        }
}

#endif

// The function for so many tiles; up to 2 x 2 or 1 x 4.
inline void multiply(int64_t m, int64_t n, const Products& p, float* c, bool adds) {
    if (m == 2) return n == 2 ? multiply<2, 2>(p, c, adds) : multiply<2, 1>(p, c, adds);
    switch (n) {
        case 1: return multiply<1, 1>(p, c, adds);
        case 2: return multiply<1, 2>(p, c, adds);
        case 3: return multiply<1, 3>(p, c, adds);
        default: return multiply<1, 4>(p, c, adds);
    }
}

// A number is the sum of three of bfloat16, which has 8 of its 24 bits: `PART` 1, 2 and 3. 0: all of it. Infinity and NaN are
// in the first.
template <int PART> inline vec part_of(vec x) {
    if constexpr (PART == 0) return x;
    const vec first = (vec)((ivec)x & static_cast<int32_t>(0xFFFF0000));
    if constexpr (PART == 1) return first;
    vec rest = x - first;
    rest = select(rest == rest, rest, vec{});
    const vec second = (vec)((ivec)rest & static_cast<int32_t>(0xFFFF0000));
    return PART == 2 ? second : rest - second;
}

// Bfloat16 of two vectors, one after the other; or by turns, as pairs.
inline __m512i halves_of(vec first, vec second) {
    return (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
}
inline __m512i pairs_of(vec first, vec second) {
    alignas(64) static constexpr int16_t BY_TURNS[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                         8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(_mm512_load_si512(BY_TURNS), halves_of(first, second));
}

}  // namespace STRIATE_NAMESPACE
