// Activations on vectors, and their slopes.
#pragma once

#include "vec.hpp"

namespace STRIATE_NAMESPACE {

constexpr float SQRT_HALF = 0.70710678118654752f;
constexpr float SQRT_TWO_OVER_PI = 0.79788456080286536f;

inline vec activate(int64_t kind, vec x, float a, float b) {
    switch (kind) {
        case RELU: return rectify(x);
        case LEAKY_RELU: return select(x < 0.0f, x * a, x);
        case CLAMP: return select(x < a, splat(a), select(x > b, splat(b), x));
        case ELU: {
            // expm1 near 0, where exp(x) - 1 loses digits: a Taylor polynomial.
            vec near = x * (1.0f + x * (0.5f + x * (0.16666667f + x * (0.041666667f + x * 0.0083333333f))));
            vec negative = select(x > -0.1f, near, exponential(x) - 1.0f);
            return select(x < 0.0f, a * negative, x);
        }
        case SIGMOID: return logistic(x);
        case TANH: return hyperbolic_tangent(x);
        case GELU: return 0.5f * x * (1.0f + error_function(x * SQRT_HALF));
        case SILU: return x * logistic(x);
        case HARDSWISH: return x * minimum(maximum(x + 3.0f, vec{}), splat(6.0f)) * (1.0f / 6.0f);
        case HARDSIGMOID:  // NaN stays NaN
            return select(x < -3.0f, vec{}, select(x > 3.0f, splat(1.0f), (x + 3.0f) * (1.0f / 6.0f)));
        case GELU_TANH:
            return 0.5f * x * (1.0f + hyperbolic_tangent(SQRT_TWO_OVER_PI * (x + 0.044715f * x * x * x)));
        case SOFTPLUS: {  // log(1 + exp(x)); lanes that overflow are x itself
            vec result = x;
            for (int l = 0; l < W; l++)
                if (!(x[l] * a > b)) result[l] = std::log1p(std::exp(x[l] * a)) / a;
            return result;
        }
        case AFFINE: return x * a + b;
        default: return x;
    }
}

// Whether the slope is told by the output alone: then the input need not be kept.
constexpr bool slope_from_output(int64_t kind) { return kind < GELU || kind == HARDSIGMOID || kind == AFFINE; }

// dy/dx from the output y where that is enough, else from the input.
inline vec slope(int64_t kind, vec v, float a, float b) {
    const vec one = splat(1.0f), zero = vec{};
    switch (kind) {
        case RELU: return select(v <= 0.0f, zero, one);
        case LEAKY_RELU: return select(v > 0.0f, one, splat(a));
        case CLAMP: return select((v > a) & (v < b), one, zero);
        case ELU: return select(v > 0.0f, one, v + a);
        case SIGMOID: return v * (1.0f - v);
        case TANH: return 1.0f - v * v;
        case GELU: {
            vec density = exponential(-0.5f * v * v) * 0.3989422804f;
            return 0.5f * (1.0f + error_function(v * SQRT_HALF)) + v * density;
        }
        case SILU: {
            vec s = logistic(v);
            return s * (1.0f + v * (1.0f - s));
        }
        case HARDSWISH:
            return select(v <= -3.0f, zero, select(v >= 3.0f, one, v * (1.0f / 3.0f) + 0.5f));
        case HARDSIGMOID: return select((v > 0.0f) & (v < 1.0f), splat(1.0f / 6.0f), zero);
        case GELU_TANH: {
            vec inner = SQRT_TWO_OVER_PI * (v + 0.044715f * v * v * v), t = hyperbolic_tangent(inner);
            return 0.5f * (1.0f + t) + 0.5f * v * (1.0f - t * t) * SQRT_TWO_OVER_PI * (1.0f + 0.134145f * v * v);
        }
        case SOFTPLUS: return select(v * a > b, one, logistic(v * a));
        case AFFINE: return splat(a);
        default: return one;
    }
}

}  // namespace STRIATE_NAMESPACE
