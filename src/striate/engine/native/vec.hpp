// Vectors of float32 lanes. One lane holds one image: whatever the number of channels, arithmetic is on full vectors.
//
// Included by kernels.cpp alone, which is compiled once for each instruction set; everything is in a namespace of its own.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "arguments.hpp"
#include "program.hpp"

namespace STRIATE_NAMESPACE {
using namespace striate;

#if defined(STRIATE_ISA_AVX512) || defined(STRIATE_ISA_AVX512BF16)
constexpr int W = 16;
constexpr int REGISTERS = 32;
#elif defined(STRIATE_ISA_AVX2)
constexpr int W = 8;
constexpr int REGISTERS = 16;
#else
constexpr int W = 4;
constexpr int REGISTERS = 32;
#endif

typedef float vec __attribute__((vector_size(W * 4), aligned(W * 4)));
typedef float vec_u __attribute__((vector_size(W * 4), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(W * 4), aligned(W * 4)));
typedef uint32_t uvec __attribute__((vector_size(W * 4), aligned(W * 4)));
typedef uint8_t bvec __attribute__((vector_size(W), aligned(W)));

template <int... I> struct Indices {};
template <int N, int... I> struct MakeIndices : MakeIndices<N - 1, N - 1, I...> {};
template <int... I> struct MakeIndices<0, I...> { using type = Indices<I...>; };

template <int... I> inline vec splat(float value, Indices<I...>) { return vec{((void)I, value)...}; }
inline vec splat(float value) { return splat(value, typename MakeIndices<W>::type{}); }
inline vec load(const float* p) { return *reinterpret_cast<const vec*>(p); }
inline void store(float* p, vec v) { *reinterpret_cast<vec*>(p) = v; }
inline vec load_unaligned(const float* p) { return *reinterpret_cast<const vec_u*>(p); }
inline void store_unaligned(float* p, vec v) { *reinterpret_cast<vec_u*>(p) = v; }
inline vec select(ivec condition, vec yes, vec no) { return condition ? yes : no; }
inline vec maximum(vec a, vec b) { return select(a > b, a, b); }
inline vec minimum(vec a, vec b) { return select(a < b, a, b); }
inline vec as_float(ivec bits) { return (vec)bits; }  // the same bits: a cast between vectors converts nothing
// Of a positive number and 0 alike; NaN stays NaN, as in PyTorch.
inline vec rectify(vec v) { return select(v < 0.0f, vec{}, v); }

// Places of a maximum between four bytes and one; compilers do this lane by lane where they are not told how.
inline ivec widen(const uint8_t* bytes) {
#if defined(STRIATE_ISA_AVX512) || defined(STRIATE_ISA_AVX512BF16)
    return (ivec)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
#elif defined(STRIATE_ISA_AVX2)
    return (ivec)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
#else
    return __builtin_convertvector(*reinterpret_cast<const bvec*>(bytes), ivec);
#endif
}
inline void narrow(ivec places, uint8_t* bytes) {
#if defined(STRIATE_ISA_AVX512) || defined(STRIATE_ISA_AVX512BF16)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes), _mm512_cvtepi32_epi8((__m512i)places));
#elif defined(STRIATE_ISA_AVX2)
    const __m256i first = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                           0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i packed = _mm256_shuffle_epi8((__m256i)places, first);
    const __m128i both = _mm_or_si128(_mm256_castsi256_si128(packed), _mm256_extracti128_si256(packed, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(bytes), both);
#else
    *reinterpret_cast<bvec*>(bytes) = __builtin_convertvector(places, bvec);
#endif
}

inline float lane_sum(vec v) {
    float sum = 0;
    for (int l = 0; l < W; l++) sum += v[l];
    return sum;
}

template <int... I> inline vec interleave_low(vec a, vec b, Indices<I...>) {
    return __builtin_shufflevector(a, b, (I % 2 ? W + I / 2 : I / 2)...);
}
template <int... I> inline vec interleave_high(vec a, vec b, Indices<I...>) {
    return __builtin_shufflevector(a, b, (W / 2 + (I % 2 ? W + I / 2 : I / 2))...);
}

// Transpose a W x W matrix: log2(W) rounds of interleaving the first half of its rows with the second.
inline void transpose(vec rows[W]) {
    using All = typename MakeIndices<W>::type;
#pragma GCC unroll 4
    for (int round = 1; round < W; round *= 2) {
        vec next[W];
#pragma GCC unroll 16
        for (int i = 0; i < W / 2; i++) {
            next[2 * i] = interleave_low(rows[i], rows[i + W / 2], All{});
            next[2 * i + 1] = interleave_high(rows[i], rows[i + W / 2], All{});
        }
#pragma GCC unroll 16
        for (int i = 0; i < W; i++) rows[i] = next[i];
    }
}

// Lane sums of W vectors, as one vector, in a fixed order.
inline vec lane_sums(vec rows[W]) {
    transpose(rows);
#pragma GCC unroll 4
    for (int step = W / 2; step > 0; step /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < step; i++) rows[i] += rows[i + step];
    return rows[0];
}

// Cephes' expf: about one unit in the last place; what is over the range of float32 becomes 0 or infinity.
inline vec exponential(vec x) {
    const vec upper = splat(88.7228394f), lower = splat(-103.9720841f);
    ivec over = x > upper, under = x < lower;
    vec clamped = minimum(maximum(x, splat(-87.33654f)), splat(88.3762626f));
    vec n = clamped * 1.44269504088896341f;
    ivec k = __builtin_convertvector(n + select(n < 0.0f, splat(-0.5f), splat(0.5f)), ivec);
    vec kf = __builtin_convertvector(k, vec);
    vec r = clamped - kf * 0.693359375f;
    r = r - kf * -2.12194440e-4f;
    vec p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    vec y = p * as_float((k + 127) << 23);
    y = select(over, splat(__builtin_inff()), y);
    y = select(under, vec{}, y);
    return select(x != x, x, y);
}

inline vec logistic(vec x) { return 1.0f / (1.0f + exponential(-x)); }

// Cephes' tanhf: a polynomial near 0, where the quotient of exponentials loses digits.
inline vec hyperbolic_tangent(vec x) {
    vec z = x * x;
    vec p = splat(-5.70498872745e-3f);
    p = p * z + 2.06390887954e-2f;
    p = p * z + -5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z + -3.33332819422e-1f;
    vec small = p * z * x + x;
    vec size = select(x < 0.0f, -x, x);
    vec large = 1.0f - 2.0f / (exponential(2.0f * size) + 1.0f);
    return select(size < 0.625f, small, select(x < 0.0f, -large, large));
}

// Cephes' erff near 0; elsewhere the complement as a Chebyshev fit (Numerical Recipes, erfcc: 1.2e-7 of the value).
inline vec error_function(vec x) {
    vec size = select(x < 0.0f, -x, x), z = x * x;
    vec p = splat(7.853861353153693e-5f);
    p = p * z + -8.010193625184903e-4f;
    p = p * z + 5.188327685732524e-3f;
    p = p * z + -2.685381193529856e-2f;
    p = p * z + 1.128358514861418e-1f;
    p = p * z + -3.761262582423300e-1f;
    p = p * z + 1.128379165726710f;
    vec small = p * x;
    vec t = 1.0f / (1.0f + 0.5f * size);
    vec q = splat(0.17087277f);
    q = q * t + -0.82215223f;
    q = q * t + 1.48851587f;
    q = q * t + -1.13520398f;
    q = q * t + 0.27886807f;
    q = q * t + -0.18628806f;
    q = q * t + 0.09678418f;
    q = q * t + 0.37409196f;
    q = q * t + 1.00002368f;
    q = q * t + -1.26551223f;
    vec large = 1.0f - t * exponential(q - z);
    return select(size < 1.0f, small, select(x < 0.0f, -large, large));
}

}  // namespace STRIATE_NAMESPACE
