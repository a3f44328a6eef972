#include "isas.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
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

// Tile registers are large: Linux keeps them only for processes that have asked for them.
bool has_amx() {
#if defined(__linux__) && defined(SYS_arch_prctl)
    constexpr unsigned BF16 = 1u << 22, TILE = 1u << 24, ASK_FOR_PERMISSION = 0x1023, TILE_DATA = 18;
    unsigned a, b, c, d;
    if (!has_avx512bf16() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & BF16) == 0 || (d & TILE) == 0) return false;
    return syscall(SYS_arch_prctl, ASK_FOR_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

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
#if defined(STRIATE_WITH_AMX)
    if (has_amx()) names.emplace_back("amx");
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
