// Batch normalisation, whose statistics are over the whole batch, and local response normalisation.
//
// Each chunk leaves its sums in a `partial` buffer; one step for the whole batch combines them in double precision and in
// the order of the chunks (Chan, Golub and LeVeque 1979), so the result depends neither on time nor on threads.
#pragma once

#include "pointwise.hpp"

namespace STRIATE_NAMESPACE {

inline ivec lanes_below(int64_t count) {
    ivec index;
    for (int l = 0; l < W; l++) index[l] = l;
    return index < static_cast<int32_t>(count);
}

// Images of the chunk that this block is in, and that come before it.
inline int64_t images_before(const Call& call) { return call.first_block % call.chunk_blocks * W; }

// Mean and sum of squared deviations of each channel over the images of a chunk, to which this block is added. The mean of the
// first row is taken off before squares are summed, whose sum is then at most as many times as there are rows what is sought.
// operands: x, partial (2 x channels).
inline void batch_statistics(const Call& call) {
    const auto& a = call.arguments<BatchStatisticsArguments>();
    const Share share(a.extent.channels, call.part, call.parts);
    const int64_t columns = a.extent.columns, positions = a.extent.rows * columns, images = valid_lanes(call, 0);
    const ivec valid = lanes_below(images);
    const auto of_valid = [&](vec v) { return static_cast<double>(lane_sum(select(valid, v, vec{}))); };
    const double before = static_cast<double>(images_before(call) * positions), own = static_cast<double>(images * positions);
    for (int64_t c = share.begin; c < share.end; c++) {
        vec first = {};
        for (int64_t j = 0; j < columns; j++) first += load(a.x.at(call.f(0), c, 0) + j * W);
        const float about = static_cast<float>(of_valid(first) / static_cast<double>(images * columns));
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < a.extent.rows; i++) {
            const float* x = a.x.at(call.f(0), c, i);
            vec row[4] = {}, row_squares[4] = {};
            const auto add = [&](int q, int64_t j) {
                const vec v = load(x + j * W) - about;
                row[q] += v;
                row_squares[q] += v * v;
            };
            int64_t j = 0;
            for (; j + 4 <= columns; j += 4)
                for (int q = 0; q < 4; q++) add(q, j + q);
            for (; j < columns; j++) add(0, j);
            sum += of_valid((row[0] + row[1]) + (row[2] + row[3]));
            squares += of_valid((row_squares[0] + row_squares[1]) + (row_squares[2] + row_squares[3]));
        }
        const double mean = about + sum / own;
        squares -= sum * sum / own;
        float &all_mean = call.f(1)[c], &all_squares = call.f(1)[a.extent.channels + c];
        const double delta = before > 0 ? mean - all_mean : 0, whole = before + own;
        all_squares = static_cast<float>((before > 0 ? all_squares : 0) + squares + delta * delta * before * own / whole);
        all_mean = static_cast<float>(before > 0 ? all_mean + delta * own / whole : mean);
    }
}

// Mean, 1 / deviation, scale and shift of each channel; in training the running statistics move. operands: partial,
// weight, bias, running mean, running variance, coefficients (4 x channels). floats: eps, momentum.
inline void batch_coefficients(const Call& call) {
    const auto& a = call.arguments<BatchCoefficientsArguments>();
    const Share share(a.channels, call.part, call.parts);
    const double eps = call.number(0), momentum = call.number(1);
    for (int64_t c = share.begin; c < share.end; c++) {
        double mean, variance;
        if (a.training) {
            double count = 0, squares = 0;
            mean = 0;
            for (int64_t chunk = 0; chunk < call.chunks; chunk++) {
                const int64_t first = chunk * call.chunk_blocks * W, end = (chunk + 1) * call.chunk_blocks * W;
                const double n = static_cast<double>(((end < call.batch ? end : call.batch) - first) * a.positions);
                const float* partial = call.f(0, chunk);
                const double delta = partial[c] - mean, whole = count + n;
                mean += delta * n / whole;
                squares += partial[a.channels + c] + delta * delta * count * n / whole;
                count = whole;
            }
            variance = squares / count;
            if (call.has(3)) {
                float &old_mean = call.f(3)[c], &old_variance = call.f(4)[c];
                old_mean = static_cast<float>((1 - momentum) * old_mean + momentum * mean);
                old_variance = static_cast<float>((1 - momentum) * old_variance + momentum * squares / (count - 1));
            }
        } else {
            mean = call.f(3)[c];
            variance = call.f(4)[c];
        }
        const double inverse = 1.0 / std::sqrt(variance + eps);
        const double scale = inverse * (call.has(1) ? call.f(1)[c] : 1.0f);
        float* out = call.f(5);
        out[c] = static_cast<float>(mean);
        out[a.channels + c] = static_cast<float>(inverse);
        out[2 * a.channels + c] = static_cast<float>(scale);
        out[3 * a.channels + c] = static_cast<float>((call.has(2) ? call.f(2)[c] : 0.0f) - mean * scale);
    }
}

// y = activation(x scale + shift [+ residual]); 0 in lanes without an image, which nothing else keeps from growing from layer to
// layer until they overflow. operands: x, coefficients, y, residual.
inline void normalize(const Call& call) {
    const auto& a = call.arguments<NormalizeArguments>();
    const float p = call.number(0), q = call.number(1);
    each_row(call, a.extent, [&](int64_t block, int64_t c, int64_t i) {
        const float* x = a.x.at(call.f(0, block), c, i);
        float* y = a.y.at(call.f(2, block), c, i);
        const float* residual = call.has(3) ? a.residual.at(call.f(3, block), c, i) : nullptr;
        const vec scale = splat(call.f(1)[2 * a.extent.channels + c]), shift = splat(call.f(1)[3 * a.extent.channels + c]);
        const ivec valid = lanes_below(valid_lanes(call, block));
        if (a.activation == RELU || a.activation == IDENTITY) {
            const vec floor = splat(a.activation == RELU ? 0.0f : -__builtin_inff());
            for (int64_t j = 0; j < a.extent.columns; j++) {
                vec v = load(x + j * W) * scale + shift;
                if (residual) v += load(residual + j * W);
                store(y + j * W, select(valid, select(v < floor, floor, v), vec{}));
            }
            return;
        }
        for (int64_t j = 0; j < a.extent.columns; j++) {
            vec v = load(x + j * W) * scale + shift;
            if (residual) v += load(residual + j * W);
            store(y + j * W, select(valid, activate(a.activation, v, p, q), vec{}));
        }
    });
}

// dz = dy times the slope, and for each channel the sums of dz and of dz (x - mean) / deviation over the chunk, to which this
// block is added.
// operands: dy, v (output of the activation, or none), x, coefficients, dz (or none), partial (2 x channels).
inline void normalize_sums(const Call& call) {
    const auto& a = call.arguments<NormalizeSumsArguments>();
    const float p = call.number(0), q = call.number(1);
    const Share share(a.extent.channels, call.part, call.parts);
    const bool is_first = images_before(call) == 0;
    for (int64_t c = share.begin; c < share.end; c++) {
        const vec mean = splat(call.f(3)[c]);
        vec sums = {}, products = {};
        for (int64_t i = 0; i < a.extent.rows; i++) {
            const float* dy = a.dy.at(call.f(0), c, i);
            const float* v = call.has(1) ? a.v.at(call.f(1), c, i) : nullptr;
            const float* x = a.x.at(call.f(2), c, i);
            float* dz = call.has(4) ? a.dz.at(call.f(4), c, i) : nullptr;
            vec row_sums[2] = {}, row_products[2] = {};
            for (int64_t j = 0; j < a.extent.columns; j++) {
                vec d = load(dy + j * W);
                if (v) {
                    const vec value = load(v + j * W);
                    d = a.activation == RELU ? select(value <= 0.0f, vec{}, d) : d * slope(a.activation, value, p, q);
                }
                if (dz) store(dz + j * W, d);
                row_sums[j & 1] += d;
                row_products[j & 1] += d * (load(x + j * W) - mean);
            }
            sums += row_sums[0] + row_sums[1];
            products += row_products[0] + row_products[1];
        }
        const float product = lane_sum(products) * call.f(3)[a.extent.channels + c];
        float &all_sums = call.f(5)[c], &all_products = call.f(5)[a.extent.channels + c];
        all_sums = (is_first ? 0.0f : all_sums) + lane_sum(sums);
        all_products = (is_first ? 0.0f : all_products) + product;
    }
}

// Gradients of scale and shift, and the factors of dx = a dz + b x + c. operands: partial, coefficients, factors (3 x
// channels), gradient of weight, gradient of bias.
inline void normalize_gradients(const Call& call) {
    const auto& a = call.arguments<NormalizeGradientsArguments>();
    const Share share(a.channels, call.part, call.parts);
    const double count = static_cast<double>(call.batch * a.positions);
    for (int64_t c = share.begin; c < share.end; c++) {
        double sum = 0, product = 0;
        for (int64_t chunk = 0; chunk < call.chunks; chunk++) {
            sum += call.f(0, chunk)[c];
            product += call.f(0, chunk)[a.channels + c];
        }
        const auto put = [&](int operand, double value) {
            if (call.has(operand)) call.f(operand)[c] = static_cast<float>((a.accumulate ? call.f(operand)[c] : 0.0f) + value);
        };
        put(3, product);
        put(4, sum);
        const double mean = call.f(1)[c], inverse = call.f(1)[a.channels + c], scale = call.f(1)[2 * a.channels + c];
        const double slope = a.training ? -scale * product / count * inverse : 0.0;
        call.f(2)[c] = static_cast<float>(scale);
        call.f(2)[a.channels + c] = static_cast<float>(slope);
        call.f(2)[2 * a.channels + c] = static_cast<float>(a.training ? -slope * mean - scale * sum / count : 0.0);
    }
}

// operands: dz, x (none with running statistics), factors, dx. Lanes without an image stay 0.
inline void normalize_input(const Call& call) {
    const auto& a = call.arguments<NormalizeInputArguments>();
    each_row(call, a.extent, [&](int64_t block, int64_t c, int64_t i) {
        const float* dz = a.dz.at(call.f(0, block), c, i);
        const float* x = call.has(1) ? a.x.at(call.f(1, block), c, i) : nullptr;
        float* dx = a.dx.at(call.f(3, block), c, i);
        const float* factors = call.f(2);
        const vec f = splat(factors[c]), g = splat(factors[a.extent.channels + c]), h = splat(factors[2 * a.extent.channels + c]);
        const ivec valid = lanes_below(valid_lanes(call, block));
        for (int64_t j = 0; j < a.extent.columns; j++) {
            const vec own = load(dz + j * W) * f;
            const vec v = select(valid, x ? own + load(x + j * W) * g + h : own, vec{});
            store(dx + j * W, a.accumulate ? load(dx + j * W) + v : v);
        }
    });
}

inline vec root(vec v) {
    for (int l = 0; l < W; l++) v[l] = std::sqrt(v[l]);
    return v;
}

inline vec power(vec v, float exponent) {
    if (exponent == -0.75f) return 1.0f / (root(v) * root(root(v)));
    if (exponent == -0.5f) return 1.0f / root(v);
    if (exponent == -1.0f) return 1.0f / v;
    for (int l = 0; l < W; l++) v[l] = std::pow(v[l], exponent);
    return v;
}

inline vec local_scale(const float* x, int64_t c, const LocalResponseArguments& a, float alpha, float k) {
    const int64_t from = c - a.size / 2 < 0 ? 0 : c - a.size / 2;
    const int64_t to = c + (a.size - 1) / 2 >= a.extent.channels ? a.extent.channels - 1 : c + (a.size - 1) / 2;
    vec sum = {};
    for (int64_t n = from; n <= to; n++) {
        const vec v = load(x + n * a.x.plane);
        sum += v * v;
    }
    return k + alpha / static_cast<float>(a.size) * sum;
}

// y = x (k + alpha / size sum of squares of neighbouring channels)^-beta. operands: x, y. floats: alpha, beta, k.
inline void local_response(const Call& call) {
    const auto& a = call.arguments<LocalResponseArguments>();
    const float alpha = call.number(0), beta = call.number(1), k = call.number(2);
    each_row(call, a.extent, [&](int64_t block, int64_t c, int64_t i) {
        const float* x = a.x.at(call.f(0, block), 0, i);
        float* y = a.y.at(call.f(1, block), c, i);
        // With k = 0 the scale of a lane without an image is 0.
        const ivec valid = lanes_below(valid_lanes(call, block));
        for (int64_t j = 0; j < a.extent.columns; j++) {
            const vec scale = local_scale(x + j * W, c, a, alpha, k);
            store(y + j * W, select(valid, load(x + j * W + c * a.x.plane) * power(scale, -beta), vec{}));
        }
    });
}

// operands: dy, x, dx. The products that neighbours share are kept in the thread's scratch memory.
inline void local_response_backward(const Call& call) {
    const auto& a = call.arguments<LocalResponseArguments>();
    const float alpha = call.number(0), beta = call.number(1), k = call.number(2);
    const float factor = 2.0f * alpha * beta / static_cast<float>(a.size);
    const Share share(a.extent.rows * a.extent.columns, call.part, call.parts);
    const int64_t channels = a.extent.channels;
    for (int64_t block = 0; block < call.blocks; block++) {
        const ivec valid = lanes_below(valid_lanes(call, block));
        for (int64_t unit = share.begin; unit < share.end; unit++) {
            const int64_t i = unit / a.extent.columns, j = unit % a.extent.columns;
            const float* dy = a.y.at(call.f(0, block), 0, i) + j * W;
            const float* x = a.x.at(call.f(1, block), 0, i) + j * W;
            float* dx = a.dx.at(call.f(2, block), 0, i) + j * W;
            for (int64_t c = 0; c < channels; c++) {
                const vec scale = local_scale(x, c, a, alpha, k), d = load(dy + c * a.y.plane), down = power(scale, -beta);
                store(call.scratch + c * W, select(valid, d * load(x + c * a.x.plane) * down / scale, vec{}));
                const vec own = select(valid, d * down, vec{});
                store(dx + c * a.dx.plane, a.accumulate ? load(dx + c * a.dx.plane) + own : own);
            }
            for (int64_t c = 0; c < channels; c++) {
                // Channel c is a neighbour of those whose window holds it: the window mirrored.
                const int64_t from = c - (a.size - 1) / 2 < 0 ? 0 : c - (a.size - 1) / 2;
                const int64_t to = c + a.size / 2 >= channels ? channels - 1 : c + a.size / 2;
                vec sum = {};
                for (int64_t n = from; n <= to; n++) sum += load(call.scratch + n * W);
                float* place = dx + c * a.dx.plane;
                store(place, load(place) - factor * load(x + c * a.x.plane) * sum);
            }
        }
    }
}

}  // namespace STRIATE_NAMESPACE
