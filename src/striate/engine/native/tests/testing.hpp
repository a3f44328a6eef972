// What the tests of the native part share: how a test is written, and programs made by hand.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <source_location>
#include <stdexcept>
#include <string>
#include <vector>

#include "executor.hpp"
#include "isas.hpp"

namespace testing {

using namespace striate;

struct Test {
    const char* name;
    void (*body)();
};

inline std::vector<Test>& tests() {
    static std::vector<Test> all;
    return all;
}

#define TEST(name)                                                                             \
    static void name();                                                                        \
    [[maybe_unused]] static const bool name##_is_known = (testing::tests().push_back({#name, name}), true); \
    static void name()

// Thrown by a test that cannot hold here; says why.
struct Skipped {
    const char* reason;
};

// As tools/neon.sh says: the processor is emulated, and so are the calls of the system.
inline bool is_emulated() { return std::getenv("STRIATE_EMULATED") != nullptr; }

inline void expect(bool holds, const std::string& what = "", std::source_location at = std::source_location::current()) {
    if (!holds) throw std::runtime_error(std::string(at.file_name()) + ":" + std::to_string(at.line()) + " " + what);
}

inline void expect_near(double value, double expected, double tolerance,
                        std::source_location at = std::source_location::current()) {
    const double most = tolerance * (expected < 0 ? 1 - expected : 1 + expected);
    expect(value >= expected - most && value <= expected + most,
           std::to_string(value) + " instead of " + std::to_string(expected), at);
}

// The body must throw an error of this class whose message holds these words.
template <class Error>
void expect_throws(const std::string& words, const std::function<void()>& body,
                   std::source_location at = std::source_location::current()) {
    try {
        body();
    } catch (const Error& error) {
        return expect(std::string(error.what()).find(words) != std::string::npos, error.what(), at);
    }
    expect(false, "nothing was thrown", at);
}

inline std::vector<float> random_floats(int64_t count, unsigned seed) {
    std::mt19937 bits(seed);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = static_cast<float>(bits() % 4001) / 2000.0f - 1.0f;
    return values;
}

// A tensor of lanes with a border all around.
struct Map {
    int64_t channels, rows, columns, border, width;
    int64_t row() const { return (columns + 2 * border) * width; }
    int64_t plane() const { return (rows + 2 * border) * row(); }
    int64_t first() const { return border * row() + border * width; }
    int64_t bytes() const { return channels * plane() * 4; }
    int64_t at(int64_t c, int64_t i, int64_t j) const { return c * plane() + first() + i * row() + j * width; }
    std::vector<int64_t> extent() const { return {channels, rows, columns}; }
    std::vector<int64_t> placement() const { return {plane(), row(), first()}; }
};

template <class... Lists> std::vector<int64_t> join(const Lists&... lists) {
    std::vector<int64_t> all;
    (all.insert(all.end(), lists.begin(), lists.end()), ...);
    return all;
}

using Numbers = std::vector<int64_t>;
using Tables = std::vector<std::vector<int32_t>>;

// Makes a program, instruction after instruction.
class Maker {
public:
    explicit Maker(const std::string& isa) : isa_(isa), kernels_(kernels_of(isa)) {
        if (!kernels_) throw std::invalid_argument(isa);
    }
    int64_t width() const { return kernels_->width; }
    int64_t accumulators() const { return kernels_->accumulators; }
    int64_t most_chunk_blocks = 2;
    int64_t scalars = 0;

    int64_t buffer(Kind kind, int64_t bytes, int64_t index = 0) {
        buffers.push_back({kind, bytes, index});
        return static_cast<int64_t>(buffers.size()) - 1;
    }
    int64_t external() { return buffer(Kind::external, 0, externals_++); }

    void emit(const std::string& name, Scope scope, Numbers ints, std::vector<float> floats, Numbers operands,
              Tables tables = {}) {
        int64_t op = 0;
        while (op < kernels_->count && name != kernels_->entries[op].name) op++;
        instructions.push_back({op, scope, std::move(ints), std::move(floats), std::move(operands), std::move(tables)});
    }
    void load(int64_t external, int64_t lanes, const Map& map, Scope scope = Scope::block) {
        emit("load", scope, join(map.extent(), map.placement(), Numbers{0}), {}, {external, lanes});
    }
    void store(int64_t lanes, int64_t external, const Map& map, Scope scope = Scope::block) {
        emit("store", scope, join(map.extent(), map.placement(), Numbers{0}), {}, {lanes, external});
    }

    // Each instruction for the whole batch is a stage of its own.
    Program program() const {
        std::vector<Stage> stages;
        for (int64_t i = 0; i < static_cast<int64_t>(instructions.size()); i++) {
            const bool is_whole = instructions[static_cast<size_t>(i)].scope == Scope::whole;
            if (is_whole || stages.empty() || stages.back().is_whole) stages.push_back({is_whole, i, i});
            stages.back().end = i + 1;
        }
        return Program(isa_, buffers, instructions, stages,
                       Sizes{width(), most_chunk_blocks, externals_, scalars, SCRATCH_BYTES});
    }

    std::vector<Buffer> buffers;
    std::vector<Instruction> instructions;

private:
    std::string isa_;
    const KernelTable* kernels_;
    int64_t externals_ = 0;
};

struct How {
    int64_t batch, threads;
    bool independent = false;
};

inline std::string name(const How& how) {
    return "batch " + std::to_string(how.batch) + ", threads " + std::to_string(how.threads);
}

// Partial and whole blocks, fewer blocks than threads and more.
inline std::vector<How> ways(int64_t width) {
    std::vector<How> all;
    for (const int64_t batch : {int64_t{1}, width, 3 * width - 1, 7 * width + 2})
        for (const int64_t threads : {1, 2, 3, 5})
            for (const bool independent : {false, true}) all.push_back({batch, threads, independent});
    return all;
}

inline void run_program(const Program& program, Workspace& workspace, const How& how, const std::vector<const void*>& memory,
                        const std::vector<float>& scalars = {}) {
    workspace.prepare(program, Division(program, how.batch, how.threads, how.independent));
    Run request{0, static_cast<int64_t>(program.stages().size()), {}, scalars, 0, nullptr};
    for (const void* address : memory) request.externals.push_back(reinterpret_cast<uintptr_t>(address));
    run(program, workspace, request);
}

}  // namespace testing
