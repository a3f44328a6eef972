// Arithmetic that cannot overflow, and the offsets that a kernel adds to an operand.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace striate {

// No number of a program may be larger, nor may a buffer have more bytes.
constexpr int64_t MOST = int64_t{1} << 40;

// Sums and products that stay at plus or minus 2^62 once they are there: too large remains too large.
constexpr int64_t ENDLESS = int64_t{1} << 62;

inline int64_t clamp(int64_t value) { return std::clamp(value, -ENDLESS, ENDLESS); }

inline int64_t plus(int64_t a, int64_t b) {
    int64_t sum = 0;
    if (__builtin_add_overflow(a, b, &sum)) return a < 0 ? -ENDLESS : ENDLESS;
    return clamp(sum);
}

inline int64_t times(int64_t a, int64_t b) {
    int64_t product = 0;
    if (__builtin_mul_overflow(a, b, &product)) return (a < 0) == (b < 0) ? ENDLESS : -ENDLESS;
    return clamp(product);
}

// Of positive numbers.
inline int64_t quotient_up(int64_t a, int64_t b) { return a / b + (a % b != 0); }

// All offsets that loops of a kernel make: the smallest, the largest, and a number that divides every one of them.
struct Reach {
    int64_t low = 0, high = 0, divisor = 0;

    // Every offset is `by` further on.
    Reach& from(int64_t by) { return widen(by, by, by); }

    // A loop that adds 0, stride, ... (count - 1) stride.
    Reach& steps(int64_t count, int64_t stride) {
        const int64_t last = times(count - 1, stride);
        return count > 1 ? widen(std::min<int64_t>(last, 0), std::max<int64_t>(last, 0), stride) : *this;
    }

    // Adds one of another's offsets.
    Reach& add(const Reach& other) { return widen(other.low, other.high, other.divisor); }

    // Adds one of the numbers, of which there must be some.
    template <class Number> Reach& any_of(const Number* begin, const Number* end) {
        Reach found{*begin, *begin, 0};
        for (const Number* place = begin; place < end; place++) {
            found.low = std::min<int64_t>(found.low, *place);
            found.high = std::max<int64_t>(found.high, *place);
            found.divisor = std::gcd(found.divisor, static_cast<int64_t>(*place));
        }
        return add(found);
    }

private:
    Reach& widen(int64_t lowest, int64_t highest, int64_t divides) {
        low = plus(low, lowest);
        high = plus(high, highest);
        divisor = std::gcd(divisor, divides);
        return *this;
    }
};

// The offsets of several loops.
struct Reaches {
    Reach all;
    bool some = false;

    void add(const Reach& reach) {
        if (some) {
            all.low = std::min(all.low, reach.low);
            all.high = std::max(all.high, reach.high);
            all.divisor = std::gcd(all.divisor, reach.divisor);
        } else {
            all = reach;
        }
        some = true;
    }
};

}  // namespace striate
