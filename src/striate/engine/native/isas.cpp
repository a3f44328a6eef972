#include "isas.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace striate {

#if defined(__x86_64__)
namespace {

// __builtin_cpu_supports asks the operating system too: whether it keeps the wide registers when it switches threads.
// It does not know every one of these names in every compiler, hence cpuid for f16c.
bool has_f16c() {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

bool has_avx512bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }

}  // namespace
#endif

namespace {

std::vector<std::string> find_isas() {
    std::vector<std::string> names;
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
#if defined(STRIATE_WITH_AVX2)
    if (has_avx2()) names.emplace_back("avx2");
#endif
#if defined(STRIATE_WITH_AVX512)
    if (has_avx512()) names.emplace_back("avx512");
#endif
#if defined(STRIATE_WITH_AVX512BF16)
    if (has_avx512bf16()) names.emplace_back("avx512bf16");
#endif
#if defined(STRIATE_WITH_NEON)
    names.emplace_back("neon");
#endif
#if defined(STRIATE_WITH_GENERIC)
    names.emplace_back("generic");
#endif
    return names;
}

}  // namespace

std::vector<std::string> isas() {
    static const std::vector<std::string> names = find_isas();  // cpuid is slow in virtual machines
    return names;
}

}  // namespace striate
