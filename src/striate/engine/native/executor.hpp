// Programs, the memory they work in, and how they run.
#pragma once

#include <cstdint>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "checks.hpp"
#include "program.hpp"

namespace striate {

const KernelTable* kernels_of(const std::string& isa);  // null: not compiled in, or not on this processor

// Neighbouring instructions that run without waiting for other threads, or one step over the whole batch.
struct Stage {
    bool is_whole;
    int64_t begin, end;  // instructions
    std::vector<int64_t> externals = {};  // which external memories they touch
};

// Numbers of a program that hold for all of it.
struct Sizes {
    int64_t block_images;  // images of a block: a vector's lanes, or 1 where a vector holds channels
    int64_t most_chunk_blocks;
    int64_t externals, scalars;  // how many a run must bring
    int64_t scratch_bytes;       // of each thread
};

class Program {
public:
    // Throws std::invalid_argument where an instruction does not fit its kernel, its buffers or its tables.
    Program(const std::string& isa, std::vector<Buffer> buffers, std::vector<Instruction> instructions,
            std::vector<Stage> stages, const Sizes& sizes);

    const KernelTable& kernels() const { return *kernels_; }
    const std::vector<Buffer>& buffers() const { return buffers_; }
    const std::vector<Instruction>& instructions() const { return instructions_; }
    const std::vector<Stage>& stages() const { return stages_; }
    const Sizes& sizes() const { return sizes_; }
    // How much a run must bring of each external memory.
    const std::vector<ExternalBytes>& externals() const { return externals_; }
    uint64_t number() const { return number_; }  // unlike that of any other program

private:
    const KernelTable* kernels_;
    std::vector<Buffer> buffers_;
    std::vector<Instruction> instructions_;
    std::vector<Stage> stages_;
    Sizes sizes_;
    std::vector<ExternalBytes> externals_;
    uint64_t number_;
};

// How a batch is divided: blocks of images, chunks of blocks, slots of chunks, teams of threads.
struct Division {
    int64_t batch = 0, blocks = 0, chunk_blocks = 0, chunks = 0, slots = 0, threads = 0, teams = 0;
    Division() = default;
    // Where `independent`, chunks and slots do not depend on the number of threads, and so neither do the bits.
    Division(const Program& program, int64_t batch, int64_t threads, bool independent);
    bool operator==(const Division&) const = default;
};

constexpr int64_t LINE = 64;  // bytes of a line of the cache

// The memory of one pass: what the forward run leaves for the backward run. Where memory does not suffice, std::bad_alloc is
// thrown and the workspace remains usable.
class Workspace {
public:
    // Whoever prepares a workspace and runs in it holds one of these: of several threads, all but the first get a
    // std::runtime_error in place of memory that changes under their hands.
    class Use {
    public:
        explicit Use(Workspace& workspace);
        ~Use() { workspace_.is_used_ = false; }
        Use(const Use&) = delete;

    private:
        Workspace& workspace_;
    };

    // Returns whether what is kept from run to run was laid out anew, and so must be computed again.
    bool prepare(const Program& program, const Division& division);
    // Whether some numbers of external memory are not those of the last time: PyTorch does not count edits through `data`
    // and NumPy. Looks at 16 of each tensor; `counts` says how many it has, 0 for what is not looked at.
    bool has_other_numbers(const Program& program, const std::vector<uintptr_t>& externals, const std::vector<int64_t>& counts);
    const Division& division() const { return division_; }
    bool is_prepared_for(const Program& program) const { return program_ == program.number(); }
    int64_t bytes() const { return memory_.size + kept_.size; }
    char* of_buffer(int64_t index) const { return places_[index]; }
    // Bytes from team to team of chunk and local buffers.
    int64_t team_stride(int64_t index) const { return team_strides_[index]; }

private:
    // Memory that begins at a line of the cache.
    struct Memory {
        struct Free {
            void operator()(char* memory) const { std::free(memory); }
        };
        std::unique_ptr<char, Free> all;
        char* base = nullptr;
        int64_t size = 0;
        void grow(int64_t wanted);
    };

    bool lay_out_kept(const Program& program);

    Division division_;
    std::atomic<bool> is_used_{false};
    uint64_t program_ = 0, kept_of_ = 0, numbers_ = 0;
    Memory memory_, kept_;
    std::vector<char*> places_;
    std::vector<int64_t> team_strides_;
};

struct Run {
    int64_t first_stage, last_stage;  // half open
    std::vector<uintptr_t> externals;
    std::vector<float> scalars;
    uint64_t seed = 0;
    double* seconds = nullptr;  // of each instruction in the first thread, added up; or null
};

void run(const Program& program, Workspace& workspace, const Run& run);

// A forward pass without gradients. The first `packing` stages, which depend on parameters alone, run where those have changed
// (as the caller says, or as some of their numbers show: of each external so many are looked at as `counts` says), or where
// what the stages left is not there. The caller holds a `Workspace::Use`.
void infer(const Program& program, Workspace& workspace, const Division& division, int64_t packing, bool is_changed,
           const std::vector<uintptr_t>& externals, const std::vector<int64_t>& counts, uint64_t seed = 0);

double peak_gflops(const std::string& isa, int64_t threads, double seconds);

}  // namespace striate
