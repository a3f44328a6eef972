#include "threads.hpp"

#include <unistd.h>

#if defined(__linux__) && !defined(__SANITIZE_THREAD__)
#define STRIATE_WITH_GOMP 1
#include <dlfcn.h>
#include <link.h>
#endif

#include <condition_variable>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace striate {
namespace {

// How often a waiting thread looks before it gives the processor away, and before it sleeps.
constexpr int LOOKS_BEFORE_YIELD = 2000;
constexpr int LOOKS_BEFORE_SLEEP = 20000;

inline void pause() {
#if defined(__x86_64__)
    _mm_pause();
#endif
}

class Pool {
public:
    void run(int64_t count, const std::function<void(int64_t)>& task) {
        std::lock_guard<std::mutex> one_at_a_time(caller_);
        start(count - 1);
        task_ = &task;
        count_ = count;
        running_ = static_cast<int64_t>(threads_.size());
        announce();
        attempt(0);
        for (int looks = 0; running_.load(std::memory_order_acquire) > 0; looks++)
            looks < LOOKS_BEFORE_YIELD ? pause() : std::this_thread::yield();
        if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    }

private:
    explicit Pool(Pool* before) : before_(before) {}

    void start(int64_t wanted) {
        while (static_cast<int64_t>(threads_.size()) < wanted) {
            const auto index = static_cast<int64_t>(threads_.size()) + 1;
            try {
                threads_.emplace_back([this, index, seen = generation_.load()] { work(index, seen); });
            } catch (const std::system_error&) {
                throw std::runtime_error("cannot start " + std::to_string(wanted + 1) + " threads, only " +
                                         std::to_string(index));
            }
        }
    }

    void announce() {
        {
            std::lock_guard<std::mutex> lock(sleep_);
            generation_.fetch_add(1, std::memory_order_release);
        }
        wake_.notify_all();
    }

    // The caller's task must outlive all who run it, so nothing is thrown before the last is done.
    void attempt(int64_t index) {
        try {
            (*task_)(index);
        } catch (...) {
            std::lock_guard<std::mutex> lock(sleep_);
            if (!failure_) failure_ = std::current_exception();
        }
    }

    void work(int64_t index, uint64_t seen) {
        while (true) {
            for (int looks = 0; generation_.load(std::memory_order_acquire) == seen; looks++) {
                if (looks < LOOKS_BEFORE_SLEEP) {
                    pause();
                    continue;
                }
                std::unique_lock<std::mutex> lock(sleep_);
                wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
            }
            seen = generation_.load(std::memory_order_acquire);
            if (index < count_) attempt(index);
            running_.fetch_sub(1, std::memory_order_release);
        }
    }

    const pid_t process_ = getpid();
    Pool* const before_;  // of the process that this one was forked from: never used, but not lost
    std::vector<std::thread> threads_;
    std::mutex caller_, sleep_;
    std::condition_variable wake_;
    std::atomic<uint64_t> generation_{0};
    std::atomic<int64_t> running_{0};
    const std::function<void(int64_t)>* task_ = nullptr;
    int64_t count_ = 0;
    std::exception_ptr failure_;

    friend Pool& pool();
};

// There is no end to it: threads sleep until the process is gone. To stop them at exit would be to wait for threads of
// Python that may be in the midst of a run, and a process that was forked has the memory of the pool but not its threads.
Pool& pool() {
    static std::atomic<Pool*> current{nullptr};
    Pool* known = current.load(std::memory_order_acquire);
    while (!known || known->process_ != getpid()) {
        auto* made = new Pool(known);
        if (current.compare_exchange_strong(known, made)) return *made;
        delete made;
    }
    return *known;
}

#if defined(STRIATE_WITH_GOMP)

// GNU's OpenMP as PyTorch has loaded it. Threads of its own beside these, which look for work for a while after each of
// PyTorch's steps, would share the processors with them: loops that use both take two to five times as long.
class Gomp {
public:
    // Whether every index was run. Not where the team would be smaller, as within another team, nor in a process that was
    // forked, where the threads are missing.
    bool run(int64_t count, const std::function<void(int64_t)>& task) const {
        if (!parallel_ || process_ != getpid()) return false;
        Team team{*this, count, task};
        parallel_(&Team::work, &team, static_cast<unsigned>(count), 0);
        if (team.failure) std::rethrow_exception(team.failure);
        return team.is_whole;
    }

    static const Gomp& loaded() {
        static const Gomp gomp;
        return gomp;
    }

private:
    struct Team {
        const Gomp& gomp;
        const int64_t count;
        const std::function<void(int64_t)>& task;
        std::atomic<bool> is_whole{false};
        std::mutex failing{};
        std::exception_ptr failure{};

        static void work(void* data) {
            Team& team = *static_cast<Team*>(data);
            if (team.gomp.team_size_() != team.count) return;
            team.is_whole = true;
            try {
                team.task(team.gomp.index_());
            } catch (...) {
                const std::lock_guard<std::mutex> lock(team.failing);
                if (!team.failure) team.failure = std::current_exception();
            }
        }
    };

    Gomp() {
        std::vector<std::string> paths;
        dl_iterate_phdr(
            [](dl_phdr_info* info, size_t, void* found) {
                const std::string path = info->dlpi_name;
                if (path.find("libgomp") != std::string::npos) static_cast<std::vector<std::string>*>(found)->push_back(path);
                return 0;
            },
            &paths);
        // Other packages bring copies too: PyTorch's is in its own folder, or the only one.
        for (const std::string& path : paths)
            if (paths.size() == 1 || path.find("/torch/") != std::string::npos) {
                void* library = dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
                if (!library) continue;
                index_ = reinterpret_cast<int (*)()>(dlsym(library, "omp_get_thread_num"));
                team_size_ = reinterpret_cast<int (*)()>(dlsym(library, "omp_get_num_threads"));
                if (index_ && team_size_) parallel_ = reinterpret_cast<Parallel>(dlsym(library, "GOMP_parallel"));
                return;
            }
    }

    using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);
    const pid_t process_ = getpid();
    Parallel parallel_ = nullptr;
    int (*index_)() = nullptr;
    int (*team_size_)() = nullptr;
};

bool run_in_gomp(int64_t count, const std::function<void(int64_t)>& task) { return Gomp::loaded().run(count, task); }

#else

bool run_in_gomp(int64_t, const std::function<void(int64_t)>&) { return false; }

#endif

}  // namespace

void Barrier::wait() {
    if (size_ == 1) return;
    if (abandoned_.load(std::memory_order_acquire)) throw Abandoned{};
    const uint32_t generation = generation_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
        arrived_.store(0, std::memory_order_relaxed);
        generation_.fetch_add(1, std::memory_order_release);
        return;
    }
    for (int looks = 0; generation_.load(std::memory_order_acquire) == generation; looks++) {
        if (abandoned_.load(std::memory_order_relaxed)) throw Abandoned{};
        looks < LOOKS_BEFORE_YIELD ? pause() : std::this_thread::yield();
    }
}

void run_in_parallel(int64_t count, const std::function<void(int64_t)>& task) {
    if (count <= 1) return task(0);
    if (!run_in_gomp(count, task)) pool().run(count, task);
}

}  // namespace striate
