// Products of tiles of bfloat16 with sums in float32, on which `tile_sums.hpp` and `tile_gradients.hpp` build: by AMX
// where the processor has it, else by AVX-512's dot products of pairs.
//
//     c[o][l] += sum over k of a[o][k] b[k][l]
//
// a: 16 rows of 32 bfloat16. b: 16 rows of 16 pairs, the two of a pair belonging to neighbours k. c: 16 rows of 16 float32.
//
// In float32 each factor is the sum of three numbers of bfloat16, which lie in three tiles, and of their nine products those six
// are summed that are larger than the rounding of float32. Infinity, times a part that is 0, becomes NaN.
#pragma once

#include <immintrin.h>

#include <utility>

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
    int64_t parts;           // tiles that a factor is the sum of: 1 or BFLOAT16_PARTS
    int64_t a_part, b_part;  // bytes from part to part

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

// One product of each pair of tiles; sums of pair (i, j) are in register N i + j. Where there are 2 x 2, or fewer, the factors
// stay in the other registers, and are loaded again where they are `NEW`; else the one factor does, and the others take turns.
template <int M, int N, bool NEW_A, bool NEW_B> inline void tile_products(const Products& p, int64_t to_a, int64_t to_b) {
    if constexpr (M <= 2 && N <= 2) {
        if constexpr (NEW_A) tile_load<4>(p.a[0] + to_a, p.a_row);
        if constexpr (NEW_B) tile_load<6>(p.b[0] + to_b, p.b_row);
        tile_multiply<0, 4, 6>();
        if constexpr (NEW_B && N == 2) tile_load<7>(p.b[1] + to_b, p.b_row);
        if constexpr (N == 2) tile_multiply<1, 4, 7>();
        if constexpr (NEW_A && M == 2) tile_load<5>(p.a[1] + to_a, p.a_row);
        if constexpr (M == 2) tile_multiply<N, 5, 6>();
        if constexpr (M == 2 && N == 2) tile_multiply<3, 5, 7>();
    } else {
        static_assert(M == 1);
        tile_load<4>(p.a[0] + to_a, p.a_row);
        [&]<int... J>(std::integer_sequence<int, J...>) {
            ((tile_load<5 + J % 3>(p.b[J] + to_b, p.b_row), tile_multiply<J, 4, 5 + J % 3>()), ...);
        }(std::make_integer_sequence<int, N>());
    }
}

// Six products of each pair of tiles, small ones first. Of 2 x 2, only one factor changes from one to the next; of fewer, the
// parts of the one factor remain in registers.
template <int M, int N> inline void part_products(const Products& p, int64_t a, int64_t b) {
    const int64_t a_part = p.a_part, b_part = p.b_part;
    if constexpr (M == 2 && N == 2) {
        tile_products<M, N, true, true>(p, a + 2 * a_part, b);
        tile_products<M, N, true, false>(p, a + a_part, b);
        tile_products<M, N, false, true>(p, a + a_part, b + b_part);
        tile_products<M, N, true, false>(p, a, b + b_part);
        tile_products<M, N, false, true>(p, a, b + 2 * b_part);
        tile_products<M, N, false, true>(p, a, b);
    } else if constexpr (M == 1) {
        tile_load<2>(p.a[0] + a, p.a_row);
        tile_load<5>(p.b[0] + b + 2 * b_part, p.b_row);
        if constexpr (N == 2) tile_load<6>(p.b[1] + b + 2 * b_part, p.b_row);
        tile_multiply<0, 2, 5>();
        if constexpr (N == 2) tile_multiply<1, 2, 6>();
        tile_load<3>(p.a[0] + a + a_part, p.a_row);
        tile_load<7>(p.b[0] + b + b_part, p.b_row);
        tile_multiply<0, 3, 7>();
        tile_multiply<0, 2, 7>();
        if constexpr (N == 2) tile_load<7>(p.b[1] + b + b_part, p.b_row);
        if constexpr (N == 2) tile_multiply<1, 3, 7>();
        if constexpr (N == 2) tile_multiply<1, 2, 7>();
        tile_load<4>(p.a[0] + a + 2 * a_part, p.a_row);
        tile_load<5>(p.b[0] + b, p.b_row);
        if constexpr (N == 2) tile_load<6>(p.b[1] + b, p.b_row);
        tile_multiply<0, 4, 5>();
        if constexpr (N == 2) tile_multiply<1, 4, 6>();
        tile_multiply<0, 3, 5>();
        if constexpr (N == 2) tile_multiply<1, 3, 6>();
        tile_multiply<0, 2, 5>();
        if constexpr (N == 2) tile_multiply<1, 2, 6>();
    } else {
        static_assert(M == 2 && N == 1);
        tile_load<2>(p.b[0] + b, p.b_row);
        tile_load<5>(p.a[0] + a + 2 * a_part, p.a_row);
        tile_load<6>(p.a[1] + a + 2 * a_part, p.a_row);
        tile_multiply<0, 5, 2>();
        tile_multiply<1, 6, 2>();
        tile_load<3>(p.b[0] + b + b_part, p.b_row);
        tile_load<7>(p.a[0] + a + a_part, p.a_row);
        tile_multiply<0, 7, 3>();
        tile_multiply<0, 7, 2>();
        tile_load<7>(p.a[1] + a + a_part, p.a_row);
        tile_multiply<1, 7, 3>();
        tile_multiply<1, 7, 2>();
        tile_load<4>(p.b[0] + b + 2 * b_part, p.b_row);
        tile_load<5>(p.a[0] + a, p.a_row);
        tile_load<6>(p.a[1] + a, p.a_row);
        tile_multiply<0, 5, 4>();
        tile_multiply<1, 6, 4>();
        tile_multiply<0, 5, 3>();
        tile_multiply<1, 6, 3>();
        tile_multiply<0, 5, 2>();
        tile_multiply<1, 6, 2>();
    }
}

template <int M, int N> void multiply_tiles(const Products& p, float* c, int64_t c_row, bool adds) {
    static_assert(M * N <= 4);
    constexpr auto SUMS = std::make_integer_sequence<int, M * N>();
    const auto place = [&](int s) { return c + s / N * c_row + s % N * TILE_FLOATS; };
    [&]<int... S>(std::integer_sequence<int, S...>) { (tile_begin<S>(place(S), adds), ...); }(SUMS);
    if (p.parts == 1) {
        for (int64_t n = 0; n < p.steps; n++) tile_products<M, N, true, true>(p, p.to_a(n), p.to_b(n));
    } else if constexpr (N <= 2) {
        for (int64_t n = 0; n < p.steps; n++) part_products<M, N>(p, p.to_a(n), p.to_b(n));
    }
    [&]<int... S>(std::integer_sequence<int, S...>) { (tile_store<S>(place(S), 64), ...); }(SUMS);
}

#else

struct Tiles {
    Tiles() {}
    ~Tiles() {}
};

inline void add_products(const Products& p, const char* first_a, const char* first_b, __m512 (&sums)[TILE]) {
    for (int64_t n = 0; n < p.steps; n++) {
        const char *a = first_a + p.to_a(n), *b = first_b + p.to_b(n);
        for (int64_t k = 0; k < TILE; k++) {
            const auto pairs = (__m512bh)_mm512_loadu_si512(b + k * p.b_row);
#pragma GCC unroll 16
            for (int o = 0; o < TILE; o++) {
                const int weights = *reinterpret_cast<const int*>(a + o * p.a_row + 4 * k);
                sums[o] = _mm512_dpbf16_ps(sums[o], (__m512bh)_mm512_set1_epi32(weights), pairs);
            }
        }
    }
}

template <int M, int N> void multiply_tiles(const Products& p, float* first, int64_t c_row, bool adds) {
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            float* c = first + i * c_row + j * TILE_FLOATS;
            __m512 sums[TILE];
#pragma GCC unroll 16
            for (int o = 0; o < TILE; o++) sums[o] = adds ? _mm512_load_ps(c + o * TILE) : _mm512_setzero_ps();
            for (int64_t q = 0; q < p.parts; q++)
                for (int64_t r = 0; r < p.parts - q; r++) add_products(p, p.a[i] + q * p.a_part, p.b[j] + r * p.b_part, sums);
#pragma GCC unroll 16
            for (int o = 0; o < TILE; o++) _mm512_store_ps(c + o * TILE, sums[o]);
        }
}

#endif

// So many tiles: up to 2 x 2 or 1 x 4. `c_row`: floats from the sums of a tile of a to those of the next one.
inline void multiply(int64_t m, int64_t n, Products p, float* c, int64_t c_row, bool adds) {
    if (m == 2 && n == 2) return multiply_tiles<2, 2>(p, c, c_row, adds);
    if (p.parts > 1) {  // all parts of one tile and of two others, and their sums, fill the registers
        for (; n > 2; n -= 2, p.b[0] = p.b[2], p.b[1] = p.b[3], c += 2 * TILE_FLOATS) multiply_tiles<1, 2>(p, c, c_row, adds);
    }
    if (m == 2) return multiply_tiles<2, 1>(p, c, c_row, adds);
    switch (n) {
        case 1: return multiply_tiles<1, 1>(p, c, c_row, adds);
        case 2: return multiply_tiles<1, 2>(p, c, c_row, adds);
        case 3: return multiply_tiles<1, 3>(p, c, c_row, adds);
        default: return multiply_tiles<1, 4>(p, c, c_row, adds);
    }
}

// A number as the sum of `PARTS` of bfloat16, which has 8 of the 24 bits; of 1, it is rounded when it is stored. Infinity and NaN
// are in the first.
template <int PARTS> struct Parts {
    vec of[PARTS];

    explicit Parts(vec x) {
        of[0] = x;
        if constexpr (PARTS > 1) {
            constexpr auto UPPER = static_cast<int32_t>(0xFFFF0000);
            of[0] = (vec)((ivec)x & UPPER);
            vec rest = x - of[0];
            rest = select(rest == rest, rest, vec{});
            of[1] = (vec)(((ivec)rest + 0x8000) & UPPER);
            of[2] = rest - of[1];
        }
    }
};

// Calls `body` with the number of parts as a constant.
template <class Body> inline void with_parts(int64_t parts, const Body& body) {
    if (parts == 1) return body.template operator()<1>();
    body.template operator()<BFLOAT16_PARTS>();
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
