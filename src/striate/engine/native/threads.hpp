// Threads: those of PyTorch where they are GNU OpenMP's, else a small pool, which waits a moment for the next task and then
// sleeps.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

namespace striate {

// All of a group of threads wait here for the last.
class Barrier {
public:
    // Thrown to those that would wait for ever.
    struct Abandoned {};

    explicit Barrier(int64_t size = 1) : size_(size) {}
    void resize(int64_t size) { size_ = size; }
    void wait();
    // One of the group will not come any more, and so nobody passes.
    void abandon() { abandoned_.store(true, std::memory_order_release); }

private:
    int64_t size_;
    std::atomic<int64_t> arrived_{0};
    std::atomic<uint32_t> generation_{0};
    std::atomic<bool> abandoned_{false};
};

// Run `task(index)` for every index below `count`, each on a thread of its own; the caller is index 0. Returns when all
// are done; what the first of them to fail has thrown is thrown here. In the pool, calls from several threads come one after
// the other.
// After a fork the child starts its own threads. Throws std::runtime_error where so many threads cannot be started.
void run_in_parallel(int64_t count, const std::function<void(int64_t)>& task);

}  // namespace striate
