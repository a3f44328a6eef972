// A program is checked once, when it is made: then nothing in it can read or write outside its buffers, whatever the batch.
#pragma once

#include <cstdint>
#include <vector>

namespace striate {

class Program;

// How much of an external memory instructions reach: bytes in all, or bytes times the images of the batch.
struct ExternalBytes {
    int64_t once = 0, of_image = 0;
};

// Returns what is needed of each external memory. Throws std::invalid_argument, which names the instruction and what is
// wrong with it.
std::vector<ExternalBytes> check_program(const Program& program);

}  // namespace striate
