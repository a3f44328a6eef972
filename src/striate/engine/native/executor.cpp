#include "executor.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>

#include "isas.hpp"
#include "threads.hpp"

extern "C" {
#if defined(STRIATE_WITH_AVX2)
const striate::KernelTable* striate_avx2_kernels();
#endif
#if defined(STRIATE_WITH_AVX512)
const striate::KernelTable* striate_avx512_kernels();
#endif
#if defined(STRIATE_WITH_AMX)
const striate::KernelTable* striate_amx_kernels();
#endif
#if defined(STRIATE_WITH_AVX512BF16)
const striate::KernelTable* striate_avx512bf16_kernels();
#endif
#if defined(STRIATE_WITH_NEON)
const striate::KernelTable* striate_neon_kernels();
#endif
#if defined(STRIATE_WITH_GENERIC)
const striate::KernelTable* striate_generic_kernels();
#endif
}

namespace striate {
namespace {

std::atomic<uint64_t> programs_made{0};

constexpr int64_t MOST_IMAGES = int64_t{1} << 30, MOST_THREADS = 1024;

void within(const char* name, int64_t value, int64_t most) {
    if (value < 1 || value > most)
        throw std::invalid_argument(std::string(name) + " must be 1 to " + std::to_string(most) + ", got " +
                                    std::to_string(value));
}

}  // namespace

const KernelTable* kernels_of(const std::string& isa) {
    const auto usable = isas();
    if (std::find(usable.begin(), usable.end(), isa) == usable.end()) return nullptr;
#if defined(STRIATE_WITH_AVX2)
    if (isa == "avx2") return striate_avx2_kernels();
#endif
#if defined(STRIATE_WITH_AVX512)
    if (isa == "avx512") return striate_avx512_kernels();
#endif
#if defined(STRIATE_WITH_AMX)
    if (isa == "amx") return striate_amx_kernels();
#endif
#if defined(STRIATE_WITH_AVX512BF16)
    if (isa == "avx512bf16") return striate_avx512bf16_kernels();
#endif
#if defined(STRIATE_WITH_NEON)
    if (isa == "neon") return striate_neon_kernels();
#endif
#if defined(STRIATE_WITH_GENERIC)
    if (isa == "generic") return striate_generic_kernels();
#endif
    return nullptr;
}

void refuse_target(int64_t target, int64_t classes) {
    throw std::out_of_range("cross_entropy: `targets` must be 0 to " + std::to_string(classes - 1) + ", got " +
                            std::to_string(target));
}

Program::Program(const std::string& isa, std::vector<Buffer> buffers, std::vector<Instruction> instructions,
                 std::vector<Stage> stages, const Sizes& sizes)
    : kernels_(kernels_of(isa)),
      buffers_(std::move(buffers)),
      instructions_(std::move(instructions)),
      stages_(std::move(stages)),
      sizes_(sizes),
      number_(++programs_made) {
    if (!kernels_) throw std::invalid_argument("no kernels for " + isa + " on this processor");
    externals_ = check_program(*this);
    for (Stage& stage : stages_) {
        std::vector<bool> is_touched(static_cast<size_t>(sizes_.externals));
        for (int64_t i = stage.begin; i < stage.end; i++)
            for (const int64_t operand : instructions_[static_cast<size_t>(i)].operands)
                if (operand >= 0 && buffers_[static_cast<size_t>(operand)].kind == Kind::external)
                    is_touched[static_cast<size_t>(buffers_[static_cast<size_t>(operand)].index)] = true;
        stage.externals.clear();
        for (int64_t index = 0; index < sizes_.externals; index++)
            if (is_touched[static_cast<size_t>(index)]) stage.externals.push_back(index);
    }
}

Division::Division(const Program& program, int64_t batch_, int64_t threads_, bool independent) {
    within("division: `batch`", batch_, MOST_IMAGES);
    within("division: `threads`", threads_, MOST_THREADS);
    const auto ceiling = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
    constexpr int64_t FIXED_SLOTS = 16;
    batch = batch_;
    threads = threads_;
    blocks = ceiling(batch, program.sizes().block_images);
    const int64_t workers = independent ? std::min(FIXED_SLOTS, blocks) : std::min(threads, blocks);
    // As few rounds of chunks as the cache allows, each with a chunk for every worker.
    const int64_t rounds = ceiling(blocks, workers * program.sizes().most_chunk_blocks);
    chunk_blocks = ceiling(blocks, workers * rounds);
    chunks = ceiling(blocks, chunk_blocks);
    slots = std::min(workers, chunks);
    teams = std::min(threads, slots);
}

namespace {

// Runs instructions as one thread of a run.
class Worker {
public:
    Worker(const Program& program, const Workspace& workspace, const Run& run, int64_t thread, char* scratch)
        : program_(program), workspace_(workspace), run_(run), d_(workspace.division()), thread_(thread) {
        call_.scalars = run.scalars.data();
        call_.seed = run.seed;
        call_.batch = d_.batch;
        call_.all_blocks = d_.blocks;
        call_.chunks = d_.chunks;
        call_.slots = d_.slots;
        call_.chunk_blocks = d_.chunk_blocks;
        call_.scratch = reinterpret_cast<float*>(scratch);
        team_ = thread * d_.teams / d_.threads;
        const int64_t first = (team_ * d_.threads + d_.teams - 1) / d_.teams;
        const int64_t next = ((team_ + 1) * d_.threads + d_.teams - 1) / d_.teams;
        part_ = thread - first;
        parts_ = next - first;
    }

    void whole(const Stage& stage) {
        call_.part = thread_;
        call_.parts = d_.threads;
        call_.blocks = d_.blocks;
        call_.first_block = 0;
        for (int64_t i = stage.begin; i < stage.end; i++) {
            const Instruction& instruction = program_.instructions()[i];
            for (size_t o = 0; o < instruction.operands.size(); o++) resolve_whole(instruction.operands[o], o);
            execute(instruction);
        }
    }

    void chunked(const Stage& stage, Barrier& team) {
        call_.part = part_;
        call_.parts = parts_;
        const int64_t first_slot = ceiling(team_ * d_.slots, d_.teams), last_slot = ceiling((team_ + 1) * d_.slots, d_.teams);
        for (int64_t slot = first_slot; slot < last_slot; slot++) {
            const int64_t from = ceiling(slot * d_.chunks, d_.slots), to = ceiling((slot + 1) * d_.chunks, d_.slots);
            for (int64_t chunk = from; chunk < to; chunk++) one_chunk(stage, slot, chunk, team);
        }
    }

private:
    static int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }

    void one_chunk(const Stage& stage, int64_t slot, int64_t chunk, Barrier& team) {
        const int64_t first = chunk * d_.chunk_blocks, blocks = std::min(d_.chunk_blocks, d_.blocks - first);
        for (int64_t i = stage.begin; i < stage.end;) {
            if (program_.instructions()[i].scope == Scope::chunk) {
                call(program_.instructions()[i++], slot, chunk, first, 0, blocks, team);
                continue;
            }
            int64_t end = i;
            while (end < stage.end && program_.instructions()[end].scope == Scope::block) end++;
            for (int64_t block = 0; block < blocks; block++)
                for (int64_t n = i; n < end; n++) call(program_.instructions()[n], slot, chunk, first, block, 1, team);
            i = end;
        }
    }

    void call(const Instruction& instruction, int64_t slot, int64_t chunk, int64_t first, int64_t block, int64_t blocks,
              Barrier& team) {
        call_.blocks = blocks;
        call_.first_block = first + block;
        for (size_t o = 0; o < instruction.operands.size(); o++) resolve(instruction.operands[o], o, slot, chunk, block);
        execute(instruction);
        team.wait();
    }

    void execute(const Instruction& instruction) {
        call_.instruction = &instruction;
        const Kernel kernel = program_.kernels().entries[instruction.op].kernel;
        if (!run_.seconds || thread_ != 0) return kernel(call_);
        using Clock = std::chrono::steady_clock;
        const auto begin = Clock::now();
        kernel(call_);
        run_.seconds[&instruction - program_.instructions().data()] +=
            std::chrono::duration<double>(Clock::now() - begin).count();
    }

    void resolve(int64_t index, size_t operand, int64_t slot, int64_t chunk, int64_t block) {
        char*& data = call_.data[operand];
        int64_t& stride = call_.stride[operand];
        stride = 0;
        if (index < 0) {
            data = nullptr;
            return;
        }
        const Buffer& buffer = program_.buffers()[index];
        const int64_t pitch = workspace_.team_stride(index);
        char* base = workspace_.of_buffer(index);
        switch (buffer.kind) {
            case Kind::batch:
                stride = pitch;
                data = base + call_.first_block * pitch;
                break;
            case Kind::chunk:
                stride = buffer.bytes;
                data = base + team_ * pitch + block * buffer.bytes;
                break;
            case Kind::local: data = base + team_ * pitch; break;
            case Kind::kept:
            case Kind::shared: data = base; break;
            case Kind::slot: data = base + slot * pitch; break;
            case Kind::partial: data = base + chunk * pitch; break;
            case Kind::external: data = reinterpret_cast<char*>(run_.externals[buffer.index]); break;
        }
    }

    void resolve_whole(int64_t index, size_t operand) {
        call_.stride[operand] = 0;
        call_.data[operand] = nullptr;
        if (index < 0) return;
        const Buffer& buffer = program_.buffers()[index];
        if (buffer.kind == Kind::external) {
            call_.data[operand] = reinterpret_cast<char*>(run_.externals[buffer.index]);
            return;
        }
        call_.data[operand] = workspace_.of_buffer(index);
        if (buffer.kind != Kind::shared && buffer.kind != Kind::kept) call_.stride[operand] = workspace_.team_stride(index);
    }

    const Program& program_;
    const Workspace& workspace_;
    const Run& run_;
    const Division& d_;
    Call call_{};
    int64_t thread_, team_, part_, parts_;
};

// Memory of each thread that begins at a line of the cache, kept from run to run.
char* scratch_of_thread(int64_t bytes) {
    static thread_local std::unique_ptr<char[]> scratch;
    static thread_local int64_t size = 0;
    if (size < bytes) {
        size = 0;
        scratch.reset(new char[static_cast<size_t>(bytes + LINE)]);
        size = bytes;
    }
    return scratch.get() + (LINE - reinterpret_cast<uintptr_t>(scratch.get()) % LINE) % LINE;
}

}  // namespace

namespace {

// What kernels rely on, since they do not look.
void check_run(const Program& program, const Workspace& workspace, const Run& run) {
    const auto require = [](bool holds, const std::string& what) {
        if (!holds) throw std::invalid_argument("run: " + what);
    };
    require(workspace.is_prepared_for(program), "the workspace must be prepared for this program");
    require(run.first_stage >= 0 && run.first_stage <= run.last_stage &&
                run.last_stage <= static_cast<int64_t>(program.stages().size()),
            "stages must be 0 to " + std::to_string(program.stages().size()));
    require(static_cast<int64_t>(run.externals.size()) == program.sizes().externals,
            "there must be " + std::to_string(program.sizes().externals) + " external memories, got " +
                std::to_string(run.externals.size()));
    require(static_cast<int64_t>(run.scalars.size()) >= program.sizes().scalars,
            "there must be " + std::to_string(program.sizes().scalars) + " scalars, got " +
                std::to_string(run.scalars.size()));
    for (int64_t s = run.first_stage; s < run.last_stage; s++)
        for (const int64_t index : program.stages()[static_cast<size_t>(s)].externals) {
            const uintptr_t address = run.externals[static_cast<size_t>(index)];
            if (!address || address % sizeof(float))
                require(false, "external memory " + std::to_string(index) + " must have an address of whole floats, got " +
                                   std::to_string(address));
        }
}

}  // namespace

void run(const Program& program, Workspace& workspace, const Run& run) {
    check_run(program, workspace, run);
    const Division& d = workspace.division();
    Barrier all(d.threads);
    std::vector<Barrier> teams(static_cast<size_t>(d.teams));
    for (int64_t team = 0; team < d.teams; team++)
        teams[static_cast<size_t>(team)].resize(((team + 1) * d.threads + d.teams - 1) / d.teams -
                                                (team * d.threads + d.teams - 1) / d.teams);
    const auto work = [&](int64_t thread) {
        Worker worker(program, workspace, run, thread, scratch_of_thread(program.sizes().scratch_bytes));
        for (int64_t s = run.first_stage; s < run.last_stage; s++) {
            const Stage& stage = program.stages()[s];
            if (stage.is_whole) {
                worker.whole(stage);
            } else {
                worker.chunked(stage, teams[static_cast<size_t>(thread * d.teams / d.threads)]);
            }
            all.wait();
        }
    };
    run_in_parallel(d.threads, [&](int64_t thread) {
        try {
            work(thread);
        } catch (const Barrier::Abandoned&) {
            // Another thread has thrown.
        } catch (...) {
            all.abandon();
            for (Barrier& team : teams) team.abandon();
            throw;
        }
    });
}

void infer(const Program& program, Workspace& workspace, const Division& division, int64_t packing, bool is_changed,
           const std::vector<uintptr_t>& externals, const std::vector<int64_t>& counts, uint64_t seed) {
    const bool is_other = workspace.has_other_numbers(program, externals, counts);
    const bool is_new = workspace.prepare(program, division);
    const auto stages = static_cast<int64_t>(program.stages().size());
    run(program, workspace, {is_new || is_other || is_changed ? 0 : packing, stages, externals, {}, seed, nullptr});
}

double peak_gflops(const std::string& isa, int64_t threads, double seconds) {
    const KernelTable* kernels = kernels_of(isa);
    if (!kernels) throw std::invalid_argument("no kernels for " + isa + " on this processor");
    within("peak_gflops: `threads`", threads, MOST_THREADS);
    if (!(seconds >= 0 && seconds <= 60)) throw std::invalid_argument("peak_gflops: `seconds` must be 0 to 60");
    using Clock = std::chrono::steady_clock;
    double best = 0;
    const auto begin = Clock::now();
    do {
        std::vector<double> done(static_cast<size_t>(threads));
        const auto start = Clock::now();
        run_in_parallel(threads, [&](int64_t t) { done[static_cast<size_t>(t)] = kernels->peak(1000000); });
        const double time = std::chrono::duration<double>(Clock::now() - start).count();
        double total = 0;
        for (double multiply_adds : done) total += 2.0 * multiply_adds;
        best = std::max(best, total / time / 1e9);
    } while (std::chrono::duration<double>(Clock::now() - begin).count() < seconds);
    return best;
}

}  // namespace striate
