// The pool and the barrier.
#include "threads.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <numeric>
#include <thread>

#include "testing.hpp"

using namespace testing;

TEST(every_index_runs_once) {
    for (const int64_t count : {1, 2, 7, 3, 16, 2}) {
        std::vector<int> times_run(static_cast<size_t>(count));
        run_in_parallel(count, [&](int64_t index) { times_run[static_cast<size_t>(index)]++; });
        for (const int times : times_run) expect(times == 1);
    }
}

TEST(callers_take_turns) {
    std::vector<std::thread> callers;
    std::vector<int64_t> sums(4);
    for (size_t caller = 0; caller < sums.size(); caller++)
        callers.emplace_back([&, caller] {
            for (int repeat = 0; repeat < 200; repeat++) {
                std::vector<int64_t> parts(5);
                run_in_parallel(5, [&](int64_t index) { parts[static_cast<size_t>(index)] = index + 1; });
                sums[caller] += std::accumulate(parts.begin(), parts.end(), int64_t{0});
            }
        });
    for (std::thread& caller : callers) caller.join();
    for (const int64_t sum : sums) expect(sum == 200 * 15);
}

TEST(a_sleeping_pool_wakes) {
    std::atomic<int> times_run{0};
    for (int repeat = 0; repeat < 3; repeat++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        run_in_parallel(3, [&](int64_t) { times_run++; });
    }
    expect(times_run == 9);
}

TEST(what_a_task_throws_reaches_the_caller) {
    for (const int64_t thrower : {0, 1, 4}) {
        std::atomic<int> done{0};
        expect_throws<std::out_of_range>("number", [&] {
            run_in_parallel(5, [&](int64_t index) {
                if (index == thrower) throw std::out_of_range("number " + std::to_string(index));
                done++;
            });
        });
        expect(done == 4, "the others must have finished");
    }
    expect_throws<std::out_of_range>("all", [] { run_in_parallel(5, [](int64_t) { throw std::out_of_range("all"); }); });
    expect_throws<std::out_of_range>("one", [] { run_in_parallel(1, [](int64_t) { throw std::out_of_range("one"); }); });
    every_index_runs_once();
}

TEST(nobody_passes_a_barrier_early) {
    constexpr int64_t THREADS = 4, ROUNDS = 300;
    Barrier barrier(THREADS);
    std::vector<int64_t> round(THREADS);
    std::atomic<int> early{0};
    run_in_parallel(THREADS, [&](int64_t index) {
        for (int64_t r = 1; r <= ROUNDS; r++) {
            round[static_cast<size_t>(index)] = r;
            barrier.wait();
            for (const int64_t other : round) early += other < r;
            barrier.wait();
        }
    });
    expect(early == 0);
}

TEST(an_abandoned_barrier_lets_go) {
    Barrier barrier(4);
    std::atomic<int> freed{0};
    expect_throws<std::runtime_error>("gone", [&] {
        run_in_parallel(4, [&](int64_t index) {
            if (index == 2) {
                barrier.abandon();
                throw std::runtime_error("gone");
            }
            try {
                barrier.wait();
            } catch (const Barrier::Abandoned&) {
                freed++;
            }
        });
    });
    expect(freed == 3);
}

#if !defined(__SANITIZE_THREAD__)  // which does not know threads of a process that was forked
TEST(a_forked_process_has_threads_of_its_own) {
    if (is_emulated()) throw Skipped{"qemu starts no threads in a process that was forked from one with threads"};
    run_in_parallel(3, [](int64_t) {});
    const pid_t child = fork();
    if (child == 0) {
        std::atomic<int> times_run{0};
        run_in_parallel(4, [&](int64_t) { times_run++; });
        _exit(times_run == 4 ? 0 : 1);
    }
    int status = 0;
    expect(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    every_index_runs_once();
}
#endif
