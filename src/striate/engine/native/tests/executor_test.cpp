// Programs of a few instructions over several stages and kinds of memory, for every instruction set, batch and number of
// threads; with fewer blocks than threads, several threads share one block.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <new>
#include <thread>

#include "testing.hpp"

using namespace testing;

namespace {

constexpr int64_t CHANNELS = 3, ROWS = 4, COLUMNS = 5, POSITIONS = ROWS * COLUMNS, IMAGE = CHANNELS * POSITIONS;
constexpr int64_t RELU_CODE = 1, AFFINE_CODE = 13;

Map bordered(const Maker& maker, int64_t border) { return {CHANNELS, ROWS, COLUMNS, border, maker.width()}; }

// y = max(x, 0), by way of `kind`.
Program rectifier(const std::string& isa, Kind kind, Scope scope) {
    Maker maker(isa);
    const Map x = bordered(maker, 1), y = bordered(maker, 0);
    const int64_t in = maker.external(), out = maker.external();
    const int64_t from = maker.buffer(kind, x.bytes()), to = maker.buffer(kind, y.bytes());
    maker.load(in, from, x, scope);
    maker.emit("activate", scope, join(x.extent(), x.placement(), y.placement(), Numbers{RELU_CODE}), {0, 0}, {from, to});
    maker.store(to, out, y, scope);
    return maker.program();
}

struct Placed {
    Kind kind;
    Scope scope;
};

}  // namespace

TEST(values_pass_through_every_kind_of_memory) {
    for (const std::string& isa : isas())
        for (const auto& [kind, scope] : {Placed{Kind::local, Scope::block}, Placed{Kind::chunk, Scope::block},
                                          Placed{Kind::batch, Scope::block}, Placed{Kind::chunk, Scope::chunk},
                                          Placed{Kind::batch, Scope::chunk}, Placed{Kind::batch, Scope::whole}}) {
            const Program program = rectifier(isa, kind, scope);
            Workspace workspace;
            for (const How& how : ways(Maker(isa).width())) {
                const auto x = random_floats(how.batch * IMAGE, 1);
                std::vector<float> y(x.size(), -1);
                run_program(program, workspace, how, {x.data(), y.data()});
                for (size_t n = 0; n < x.size(); n++) expect(y[n] == std::max(x[n], 0.0f), name(how));
            }
        }
}

TEST(statistics_of_the_whole_batch) {
    for (const std::string& isa : isas()) {
        Maker maker(isa);
        const Map map = bordered(maker, 1);
        const int64_t in = maker.external(), out = maker.external(), mean = maker.external(), variance = maker.external();
        const int64_t x = maker.buffer(Kind::batch, map.bytes()), y = maker.buffer(Kind::local, map.bytes());
        const int64_t sums = maker.buffer(Kind::partial, 8 * CHANNELS), all = maker.buffer(Kind::shared, 16 * CHANNELS);
        maker.load(in, x, map);
        maker.emit("batch_statistics", Scope::block, join(map.extent(), map.placement()), {}, {x, sums});
        maker.emit("batch_coefficients", Scope::whole, {CHANNELS, POSITIONS, 1}, {1e-5f, 0.25f},
                   {sums, -1, -1, mean, variance, all});
        maker.emit("normalize", Scope::block,
                   join(map.extent(), map.placement(), map.placement(), Numbers{0, 0, 0}, Numbers{0}), {0, 0},
                   {x, all, y, -1});
        maker.store(y, out, map);
        const Program program = maker.program();
        Workspace workspace;
        for (const How& how : ways(maker.width())) {
            const auto input = random_floats(how.batch * IMAGE, 2);
            std::vector<float> output(input.size()), running_mean(CHANNELS, 1), running_variance(CHANNELS, 2);
            run_program(program, workspace, how, {input.data(), output.data(), running_mean.data(), running_variance.data()});
            const auto count = static_cast<double>(how.batch * POSITIONS);
            for (int64_t c = 0; c < CHANNELS; c++) {
                const auto each = [&](auto body) {
                    for (int64_t n = 0; n < how.batch; n++)
                        for (int64_t i = 0; i < POSITIONS; i++)
                            body(static_cast<size_t>(n * IMAGE + c * POSITIONS + i));
                };
                double sum = 0, squares = 0;
                each([&](size_t at) { sum += input[at]; });
                const double average = sum / count;
                each([&](size_t at) { squares += (input[at] - average) * (input[at] - average); });
                each([&](size_t at) { expect_near(output[at], (input[at] - average) / std::sqrt(squares / count + 1e-5), 1e-4); });
                const auto channel = static_cast<size_t>(c);
                expect_near(running_mean[channel], 0.75 + 0.25 * average, 1e-5);
                expect_near(running_variance[channel], 0.75 * 2 + 0.25 * squares / (count - 1), 1e-5);
            }
        }
    }
}

TEST(slots_are_summed_in_order) {
    for (const std::string& isa : isas()) {
        Maker maker(isa);
        const Map map = bordered(maker, 0);
        const int64_t in = maker.external(), out = maker.external();
        const int64_t x = maker.buffer(Kind::local, map.bytes()), slots = maker.buffer(Kind::slot, 4 * CHANNELS);
        maker.emit("clear_slots", Scope::whole, {CHANNELS}, {}, {slots});
        maker.load(in, x, map);
        maker.emit("channel_sums", Scope::block, {CHANNELS, map.plane(), ROWS, COLUMNS, map.row(), map.first()}, {}, {x, slots});
        maker.emit("sum_slots", Scope::whole, {CHANNELS, 0}, {}, {slots, out});
        const Program program = maker.program();
        Workspace workspace;
        std::vector<float> first;
        int64_t batch = 0;
        for (const How& how : ways(maker.width())) {
            const auto input = random_floats(how.batch * IMAGE, 3);
            std::vector<float> sums(CHANNELS), again(CHANNELS);
            run_program(program, workspace, how, {input.data(), sums.data()});
            run_program(program, workspace, how, {input.data(), again.data()});
            expect(sums == again, "the same bits, run after run: " + name(how));
            for (int64_t c = 0; c < CHANNELS; c++) {
                double sum = 0;
                for (int64_t n = 0; n < how.batch; n++)
                    for (int64_t i = 0; i < POSITIONS; i++) sum += input[static_cast<size_t>(n * IMAGE + c * POSITIONS + i)];
                expect_near(sums[static_cast<size_t>(c)], sum, 1e-5 * std::sqrt(how.batch));
            }
            if (!how.independent) continue;
            if (batch != how.batch) first = sums;
            batch = how.batch;
            expect(sums == first, "the same bits whatever the threads: " + name(how));
        }
    }
}

TEST(weights_are_kept_from_run_to_run) {
    for (const std::string& isa : isas()) {
        Maker maker(isa);
        const int64_t in = maker.external(), kept = maker.buffer(Kind::kept, 4 * 6), out = maker.external();
        // 3 outputs of 2 taps; a tile of 1.
        maker.emit("pack_dense", Scope::whole, {3, 2, 1, 2, 0}, {}, {in, kept, -1});
        maker.emit("pack_dense", Scope::whole, {1, 6, 1, 6, 0}, {}, {kept, out, -1});
        const Program program = maker.program();
        Workspace workspace;
        expect(workspace.prepare(program, Division(program, 1, 1, false)), "new");
        const float weights[6] = {1, 2, 3, 4, 5, 6};
        float result[6] = {};
        Run request{0, 1, {reinterpret_cast<uintptr_t>(weights), 0}, {}, 0, nullptr};
        run(program, workspace, request);
        expect(!workspace.prepare(program, Division(program, 9, 2, false)), "another batch changes nothing");
        request = {1, 2, {0, reinterpret_cast<uintptr_t>(result)}, {}, 0, nullptr};
        run(program, workspace, request);
        for (int n = 0; n < 6; n++) expect(result[n] == weights[n]);
    }
}

TEST(what_a_kernel_throws_stops_all_threads) {
    for (const std::string& isa : isas()) {
        Maker maker(isa);
        const int64_t width = maker.width();
        const Map map{CHANNELS, 1, 1, 0, width};
        const int64_t in = maker.external(), targets = maker.external(), out = maker.external();
        const int64_t x = maker.buffer(Kind::batch, map.bytes()), dx = maker.buffer(Kind::batch, map.bytes());
        const int64_t losses = maker.buffer(Kind::partial, 8);
        maker.load(in, x, map);
        maker.emit("cross_entropy", Scope::chunk, {CHANNELS, map.plane(), 0, map.plane(), 0}, {0}, {x, targets, dx, losses});
        maker.emit("sum_losses", Scope::whole, {}, {}, {losses, out});
        const Program program = maker.program();
        Workspace workspace;
        for (const How& how : ways(width)) {
            const std::vector<float> input(static_cast<size_t>(how.batch * CHANNELS));
            std::vector<int64_t> classes(static_cast<size_t>(how.batch), 1);
            float loss = 0;
            for (const int64_t wrong : {int64_t{-1}, CHANNELS, INT64_MAX}) {
                classes[static_cast<size_t>(how.batch / 2)] = wrong;
                expect_throws<std::out_of_range>("must be 0 to 2", [&] {
                    run_program(program, workspace, how, {input.data(), classes.data(), &loss});
                });
            }
            classes[static_cast<size_t>(how.batch / 2)] = 2;
            run_program(program, workspace, how, {input.data(), classes.data(), &loss});
            expect_near(loss, std::log(3.0), 1e-6);
        }
    }
}

TEST(optimizers_change_the_weights) {
    for (const std::string& isa : isas()) {
        Maker maker(isa);
        maker.scalars = 5;
        const int64_t weights = maker.external(), gradient = maker.external();
        maker.emit("update_sgd", Scope::whole, {100, 0}, {}, {weights, gradient, -1});
        const Program program = maker.program();
        Workspace workspace;
        std::vector<float> w(100, 1), g(100, 2);
        run_program(program, workspace, {1, 3}, {w.data(), g.data()}, {0.25f, 0, 1, 0.5f, 0});
        for (const float value : w) expect(value == 1 - 0.25f * (2 + 0.5f));
        expect_throws<std::invalid_argument>("no memory for a momentum", [&] {
            run_program(program, workspace, {1, 3}, {w.data(), g.data()}, {0.25f, 0.9f, 1, 0, 0});
        });
    }
}

TEST(threads_run_one_program_at_once) {
    for (const std::string& isa : isas()) {
        const Program program = rectifier(isa, Kind::local, Scope::block);
        std::vector<std::thread> callers;
        std::atomic<int> wrong{0};
        for (unsigned caller = 0; caller < 3; caller++)
            callers.emplace_back([&, caller] {
                Workspace workspace;
                for (int repeat = 0; repeat < 20; repeat++) {
                    const How how{static_cast<int64_t>(5 * caller + 1), caller + 1};
                    const auto x = random_floats(how.batch * IMAGE, caller);
                    std::vector<float> y(x.size());
                    run_program(program, workspace, how, {x.data(), y.data()});
                    for (size_t n = 0; n < x.size(); n++) wrong += y[n] != std::max(x[n], 0.0f);
                }
            });
        for (std::thread& caller : callers) caller.join();
        expect(wrong == 0);
    }
}

TEST(a_workspace_outlives_its_program) {
    const std::string isa = isas().back();
    Workspace workspace;
    const std::vector<float> x(IMAGE, 1);
    std::vector<float> y(IMAGE);
    for (const Kind kind : {Kind::local, Kind::batch})
        run_program(rectifier(isa, kind, Scope::block), workspace, {1, 2}, {x.data(), y.data()});
    const Program other = rectifier(isa, Kind::chunk, Scope::block);
    Run request{0, 1, {1, 1}, {}, 0, nullptr};
    expect_throws<std::invalid_argument>("must be prepared for this program", [&] { run(other, workspace, request); });
}

TEST(a_run_says_what_is_missing) {
    const std::string isa = isas().back();
    const Program program = rectifier(isa, Kind::local, Scope::block);
    Workspace workspace;
    const std::vector<float> x(IMAGE, 1);
    std::vector<float> y(IMAGE);
    expect_throws<std::invalid_argument>("must have an address of whole floats, got 0", [&] {
        run_program(program, workspace, {1, 2}, {x.data(), nullptr});
    });
    expect_throws<std::invalid_argument>("must be 2 external memories, got 1", [&] {
        run_program(program, workspace, {1, 2}, {x.data()});
    });
    for (const int64_t last : {int64_t{-1}, int64_t{2}, INT64_MAX}) {
        Run request{0, last, {0, 0}, {}, 0, nullptr};
        expect_throws<std::invalid_argument>("stages must be 0 to 1", [&] { run(program, workspace, request); });
    }
    for (const int64_t batch : {int64_t{0}, int64_t{-1}, INT64_MAX})
        expect_throws<std::invalid_argument>("`batch` must be 1 to", [&] { Division(program, batch, 1, false); });
    for (const int64_t threads : {int64_t{0}, int64_t{-1}, INT64_MAX})
        expect_throws<std::invalid_argument>("`threads` must be 1 to", [&] { Division(program, 1, threads, false); });
    run_program(program, workspace, {1, 2}, {x.data(), y.data()});
    expect(y == x);
}

TEST(too_little_memory_leaves_a_workspace_usable) {
    const std::string isa = isas().back();
    for (const Kind kind : {Kind::batch, Kind::chunk, Kind::shared, Kind::kept}) {
        Maker maker(isa);
        maker.buffer(kind, int64_t{1} << 40, 0);
        const int64_t image_bytes = kind == Kind::shared ? int64_t{1} << 40 : 0;
        maker.buffer(kind, int64_t{1} << 40, image_bytes);
        const Program large = maker.program(), small = rectifier(isa, Kind::local, Scope::block);
        Workspace workspace;
        const std::vector<float> x(IMAGE, 1);
        std::vector<float> y(IMAGE);
        for (int repeat = 0; repeat < 2; repeat++) {
            run_program(small, workspace, {1, 2}, {x.data(), y.data()});
            expect(y == x);
            expect_throws<std::bad_alloc>("do not fit into memory", [&] {
                workspace.prepare(large, Division(large, int64_t{1} << 30, 1, false));
            });
            Run request{0, 0, {}, {}, 0, nullptr};
            expect_throws<std::invalid_argument>("prepared", [&] { run(large, workspace, request); });
        }
    }
}

TEST(a_workspace_serves_one_thread_at_a_time) {
    Workspace workspace;
    const Workspace::Use use(workspace);
    expect_throws<std::runtime_error>("in use by another thread", [&] { Workspace::Use{workspace}; });
}

TEST(seconds_are_added_up) {
    const Program program = rectifier(isas().back(), Kind::local, Scope::block);
    Workspace workspace;
    workspace.prepare(program, Division(program, 1, 2, false));
    const std::vector<float> x(IMAGE, 1);
    std::vector<float> y(IMAGE);
    double seconds[3] = {-1, -1, -1};
    const Run request{0, 1, {reinterpret_cast<uintptr_t>(x.data()), reinterpret_cast<uintptr_t>(y.data())}, {}, 0, seconds};
    run(program, workspace, request);
    for (const double one : seconds) expect(one > -1 && one < 1);
}

TEST(the_peak_is_measured) {
    for (const std::string& isa : isas()) expect(peak_gflops(isa, 2, 0) > 0);
    expect_throws<std::invalid_argument>("`threads` must be", [] { peak_gflops(isas().back(), 0, 0); });
    expect_throws<std::invalid_argument>("`seconds` must be", [] { peak_gflops(isas().back(), 1, NAN); });
    expect_throws<std::invalid_argument>("no kernels for nothing", [] { peak_gflops("nothing", 1, 0); });
}
