// The memory that programs work in: how large it is, and where each buffer lies.
#include "executor.hpp"

#include <algorithm>
#include <cstring>
#include <cstdlib>
#include <new>
#include <stdexcept>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#include <unistd.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "reach.hpp"

namespace striate {
namespace {

constexpr int64_t HUGE_PAGE = int64_t{1} << 21;
#if defined(__SANITIZE_ADDRESS__)
constexpr int64_t FENCE = 256;  // bytes behind everything that must not be touched
#else
constexpr int64_t FENCE = 0;
#endif

int64_t whole_lines(int64_t bytes) { return (plus(bytes, LINE - 1)) / LINE * LINE + FENCE; }

// AddressSanitizer knows the memory as a whole; here it learns what lies between its parts.
void fence([[maybe_unused]] char* begin, [[maybe_unused]] int64_t bytes, [[maybe_unused]] int64_t copies) {
#if defined(__SANITIZE_ADDRESS__)
    const int64_t stride = whole_lines(bytes);
    for (int64_t copy = 0; copy < copies; copy++)
        __asan_poison_memory_region(begin + copy * stride + bytes, static_cast<size_t>(stride - bytes));
#endif
}

void clear(char* begin, int64_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(begin, static_cast<size_t>(bytes));
#endif
    std::memset(begin, 0, static_cast<size_t>(bytes));
}

class OutOfMemory : public std::bad_alloc {
public:
    explicit OutOfMemory(int64_t bytes) : what_("workspace: " + std::to_string(bytes) + " bytes do not fit into memory") {}
    const char* what() const noexcept override { return what_.c_str(); }

private:
    std::string what_;
};

// More than the machine has would only be noticed when it is written to, and then by the end of the process.
int64_t machine_bytes() {
    static const int64_t bytes = times(sysconf(_SC_PHYS_PAGES), sysconf(_SC_PAGESIZE));
    return bytes > 0 ? bytes : int64_t{1} << 46;
}

// How many copies of a buffer the workspace holds, and the bytes of each.
struct Copies {
    int64_t count, bytes;
};

Copies copies_of(const Buffer& buffer, const Division& division) {
    switch (buffer.kind) {
        case Kind::batch: return {division.blocks, buffer.bytes};
        case Kind::chunk: return {division.teams, times(buffer.bytes, division.chunk_blocks)};
        case Kind::local: return {division.teams, buffer.bytes};
        case Kind::shared: return {1, plus(buffer.bytes, times(buffer.index, division.batch))};
        case Kind::slot: return {division.slots, buffer.bytes};
        case Kind::partial: return {division.chunks, buffer.bytes};
        case Kind::kept:
        case Kind::external: break;
    }
    return {0, 0};
}

}  // namespace

void Workspace::Memory::grow(int64_t wanted) {
    if (base && wanted <= size) return;
    if (wanted > machine_bytes()) throw OutOfMemory(wanted);
    all.reset();
    base = nullptr;
    size = 0;
    // Sums over taps touch many channels in turn, each on pages of its own: with pages of 2 MB the processor knows them all.
    const bool is_large = wanted >= HUGE_PAGE / 4;
    const int64_t alignment = is_large ? HUGE_PAGE : LINE;
    const int64_t whole = (std::max<int64_t>(wanted, 1) + alignment - 1) / alignment * alignment;
    all.reset(static_cast<char*>(std::aligned_alloc(static_cast<size_t>(alignment), static_cast<size_t>(whole))));
    if (!all) throw OutOfMemory(wanted);
#if defined(__linux__)
    if (is_large) madvise(all.get(), static_cast<size_t>(whole), MADV_HUGEPAGE);
#endif
    base = all.get();
    size = wanted;
}

bool Workspace::has_other_numbers(const Program& program, const std::vector<uintptr_t>& externals,
                                  const std::vector<int64_t>& counts) {
    constexpr int64_t LOOKED_AT = 8;
    uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
    for (size_t i = 0; i < std::min({counts.size(), externals.size(), program.externals().size()}); i++) {
        const auto* numbers = reinterpret_cast<const uint32_t*>(externals[i]);
        const int64_t count = numbers ? std::min(counts[i], program.externals()[i].once / 4) : 0;
        const int64_t step = std::max<int64_t>(1, count / LOOKED_AT);
        for (int64_t n = 0; n < count; n += step) hash = (hash ^ numbers[n]) * 0x100000001B3u;
    }
    const bool is_other = hash != numbers_;
    numbers_ = hash;
    return is_other;
}

bool Workspace::lay_out_kept(const Program& program) {
    if (kept_of_ == program.number()) return false;
    kept_of_ = 0;
    int64_t size = 0;
    for (const Buffer& buffer : program.buffers())
        if (buffer.kind == Kind::kept) size = plus(size, whole_lines(buffer.bytes));
    kept_.grow(size);
    clear(kept_.base, size);
    return true;
}

Workspace::Use::Use(Workspace& workspace) : workspace_(workspace) {
    if (workspace.is_used_.exchange(true)) throw std::runtime_error("workspace: it is in use by another thread");
}

bool Workspace::prepare(const Program& program, const Division& division) {
    if (is_prepared_for(program) && division_ == division) return false;
    program_ = 0;
    const bool is_new = lay_out_kept(program);
    std::vector<int64_t> offsets(program.buffers().size(), 0);
    team_strides_.assign(program.buffers().size(), 0);
    int64_t size = 0;
    for (size_t i = 0; i < program.buffers().size(); i++) {
        const Copies copies = copies_of(program.buffers()[i], division);
        offsets[i] = size;
        team_strides_[i] = whole_lines(copies.bytes);
        size = plus(size, times(team_strides_[i], copies.count));
    }
    memory_.grow(size);
    // Borders of padded maps are never written: they stay 0.
    clear(memory_.base, size);
    places_.assign(program.buffers().size(), nullptr);
    int64_t kept = 0;
    for (size_t i = 0; i < program.buffers().size(); i++) {
        const Buffer& buffer = program.buffers()[i];
        const bool is_kept = buffer.kind == Kind::kept;
        const Copies copies = is_kept ? Copies{1, buffer.bytes} : copies_of(buffer, division);
        places_[i] = is_kept ? kept_.base + kept : memory_.base + offsets[i];
        if (is_kept) kept += whole_lines(buffer.bytes);
        fence(places_[i], copies.bytes, copies.count);
    }
    division_ = division;
    program_ = kept_of_ = program.number();
    return is_new;
}

}  // namespace striate
