// Which instruction sets there are kernels for, and which of them this processor has.
#pragma once

#include <string>
#include <vector>

namespace striate {

// Compiled in and usable on this processor and its operating system: "avx2", "avx512", "avx512bf16", "amx", "neon", "generic".
// The best comes last; empty where none is.
std::vector<std::string> isas();

}  // namespace striate
