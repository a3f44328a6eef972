// Winograd's transforms for 3 x 3 filters, for tiles of M x M outputs from (M + 2) x (M + 2) inputs.
//
//     y = A' [ (G g G') * (B' d B) ] A
//
// M = 2 takes the points 0, 1, -1 and infinity. M = 4 takes 0, +-1/sqrt(2), +-sqrt(2) and infinity instead of the usual
// integers: with these, rounding makes errors 2 times those of the plain sum, with 0, +-1, +-2 it makes 5 times as much
// (measured on random data, 32 and 256 channels). Lavin and Gray 2016; Barabasz et al. 2020 on the choice of points.
#pragma once

#include "vec.hpp"

namespace STRIATE_NAMESPACE {

constexpr float SMALL_POINT = 0.70710678118654752f, LARGE_POINT = 1.4142135623730951f;  // squares 1/2 and 2

template <int M> struct Transform;

template <> struct Transform<2> {
    static constexpr int N = 4;

    static inline void input(const vec (&d)[4], vec (&v)[4]) {
        v[0] = d[0] - d[2];
        v[1] = d[1] + d[2];
        v[2] = d[2] - d[1];
        v[3] = d[1] - d[3];
    }
    static inline void output(const vec (&m)[4], vec (&y)[2]) {
        y[0] = m[0] + m[1] + m[2];
        y[1] = m[1] - m[2] - m[3];
    }
    static inline void filter(const double (&g)[3], double (&u)[4]) {
        u[0] = g[0];
        u[1] = 0.5 * (g[0] + g[1] + g[2]);
        u[2] = 0.5 * (g[0] - g[1] + g[2]);
        u[3] = g[2];
    }
};

template <> struct Transform<4> {
    static constexpr int N = 6;

    static inline void input(const vec (&d)[6], vec (&v)[6]) {
        const vec even_small = d[4] - 2.0f * d[2], odd_small = SMALL_POINT * d[3] - LARGE_POINT * d[1];
        const vec even_large = d[4] - 0.5f * d[2], odd_large = LARGE_POINT * d[3] - SMALL_POINT * d[1];
        v[0] = d[0] - 2.5f * d[2] + d[4];
        v[1] = even_small + odd_small;
        v[2] = even_small - odd_small;
        v[3] = even_large + odd_large;
        v[4] = even_large - odd_large;
        v[5] = d[1] - 2.5f * d[3] + d[5];
    }
    static inline void output(const vec (&m)[6], vec (&y)[4]) {
        const vec even_small = m[1] + m[2], odd_small = m[1] - m[2], even_large = m[3] + m[4], odd_large = m[3] - m[4];
        y[0] = m[0] + even_small + even_large;
        y[1] = SMALL_POINT * odd_small + LARGE_POINT * odd_large;
        y[2] = 0.5f * even_small + 2.0f * even_large;
        y[3] = 0.5f * SMALL_POINT * odd_small + 2.0f * LARGE_POINT * odd_large + m[5];
    }
    static inline void filter(const double (&g)[3], double (&u)[6]) {
        constexpr double s = 0.70710678118654752440, l = 1.41421356237309504880;
        u[0] = g[0];
        u[1] = (g[0] + s * g[1] + 0.5 * g[2]) / -1.5;
        u[2] = (g[0] - s * g[1] + 0.5 * g[2]) / -1.5;
        u[3] = (g[0] + l * g[1] + 2.0 * g[2]) / 6.0;
        u[4] = (g[0] - l * g[1] + 2.0 * g[2]) / 6.0;
        u[5] = g[2];
    }
};

// B' d B of the tile at x, whose places are `row` and `column` apart; value (i, j) goes to v + (N i + j) place.
template <int M> inline void to_places(const float* x, int64_t row, int64_t column, float* v, int64_t place) {
    constexpr int N = Transform<M>::N;
    vec half[N][N];
#pragma GCC unroll 6
    for (int j = 0; j < N; j++) {
        vec d[N], t[N];
#pragma GCC unroll 6
        for (int i = 0; i < N; i++) d[i] = load(x + i * row + j * column);
        Transform<M>::input(d, t);
#pragma GCC unroll 6
        for (int i = 0; i < N; i++) half[i][j] = t[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < N; i++) {
        vec t[N];
        Transform<M>::input(half[i], t);
#pragma GCC unroll 6
        for (int j = 0; j < N; j++) store(v + (N * i + j) * place, t[j]);
    }
}

// A' m A; value (i, j) of m is at m + (N i + j) place.
template <int M> inline void from_places(const float* m, int64_t place, vec (&y)[M][M]) {
    constexpr int N = Transform<M>::N;
    vec half[M][N];
#pragma GCC unroll 6
    for (int j = 0; j < N; j++) {
        vec d[N], t[M];
#pragma GCC unroll 6
        for (int i = 0; i < N; i++) d[i] = load(m + (N * i + j) * place);
        Transform<M>::output(d, t);
#pragma GCC unroll 4
        for (int i = 0; i < M; i++) half[i][j] = t[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < M; i++) Transform<M>::output(half[i], y[i]);
}

// G g G' of one filter, in double precision.
template <int M> inline void filter_to_places(const float* g, double scale, float (&u)[Transform<M>::N * Transform<M>::N]) {
    constexpr int N = Transform<M>::N;
    double half[N][3];
    for (int j = 0; j < 3; j++) {
        const double column[3] = {scale * g[j], scale * g[3 + j], scale * g[6 + j]};
        double t[N];
        Transform<M>::filter(column, t);
        for (int i = 0; i < N; i++) half[i][j] = t[i];
    }
    for (int i = 0; i < N; i++) {
        double t[N];
        Transform<M>::filter(half[i], t);
        for (int j = 0; j < N; j++) u[N * i + j] = static_cast<float>(t[j]);
    }
}

}  // namespace STRIATE_NAMESPACE
