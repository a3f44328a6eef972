// What Python hands over: a program of instructions over buffers, and what a kernel is given to run one of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace striate {

// Where a buffer lives, and how much of it there is.
enum class Kind : int64_t {
    batch,    // bytes for each block of images, kept from stage to stage
    chunk,    // bytes for each block of one chunk, for each team of threads
    local,    // bytes for one block, for each team: used again for the next block
    shared,   // bytes once
    slot,     // bytes for each slot: sums over the chunks of a slot, in order
    partial,  // bytes for each chunk: what whole-batch steps combine
    external,  // memory of PyTorch: parameters, statistics, gradients, inputs, outputs
    kept       // bytes once, whatever the batch, and left alone by `prepare`: weights that were packed for inference
};

struct Buffer {
    Kind kind;
    int64_t bytes;
    int64_t index = 0;  // of external memory, in the list that a run is given
};

// How an instruction runs: for one block after the other, for a chunk of blocks at once, or once for the whole batch.
enum class Scope : int64_t { block, chunk, whole };

struct Instruction {
    int64_t op;
    Scope scope;
    std::vector<int64_t> ints;
    std::vector<float> floats;
    std::vector<int64_t> operands;  // buffers; -1: none
    std::vector<std::vector<int32_t>> tables;
};

// What one call of a kernel works on: operands resolved to memory, blocks, and which part of the team this thread is.
struct Call {
    const Instruction* instruction;
    std::array<char*, 12> data;       // of each operand, at the first block of the call
    std::array<int64_t, 12> stride;   // bytes from block to block
    int64_t blocks;                   // blocks of this call
    int64_t first_block;              // of the batch
    int64_t batch;                    // images of the batch
    int64_t all_blocks, chunks, slots, chunk_blocks;
    int64_t part, parts;
    const float* scalars;             // numbers that change from run to run: learning rates ...
    uint64_t seed;                    // of dropout
    float* scratch;                   // of this thread: `Program::scratch_bytes`

    float* f(int operand, int64_t block = 0) const {
        return reinterpret_cast<float*>(data[operand] + block * stride[operand]);
    }
    uint8_t* u(int operand, int64_t block = 0) const {
        return reinterpret_cast<uint8_t*>(data[operand] + block * stride[operand]);
    }
    bool has(int operand) const { return data[operand] != nullptr; }
    template <class Arguments> const Arguments& arguments() const {
        return *reinterpret_cast<const Arguments*>(instruction->ints.data());
    }
    const int32_t* table(int index) const { return instruction->tables[index].data(); }
    int64_t table_size(int index) const { return static_cast<int64_t>(instruction->tables[index].size()); }
    float number(int index) const { return instruction->floats[index]; }
};

using Kernel = void (*)(const Call&);

// Throws std::out_of_range: the one number that kernels find in memory of PyTorch and take for a place.
[[noreturn]] void refuse_target(int64_t target, int64_t classes);

// The half-open share of `count` units that part `part` of `parts` does.
struct Share {
    int64_t begin, end;
    Share(int64_t count, int64_t part, int64_t parts) : begin(count * part / parts), end(count * (part + 1) / parts) {}
};

struct KernelEntry {
    const char* name;
    Kernel kernel;
    int64_t ints, floats, operands, tables;  // how many of each an instruction must bring
};

struct KernelTable {
    const char* isa;
    int64_t width;          // float32 lanes of a vector
    int64_t accumulators;   // vectors of sums that fit into the registers
    const KernelEntry* entries;
    int64_t count;
    double (*peak)(int64_t repeats);  // multiply-adds a register-only loop does, `repeats` times; returns how many
};

// Bytes of scratch memory of each thread.
constexpr int64_t SCRATCH_BYTES = 1 << 16;

}  // namespace striate
