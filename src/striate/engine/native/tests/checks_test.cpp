// What the checks refuse, and that there is a check for every kernel.
#include "checks.hpp"

#include "reach.hpp"
#include "testing.hpp"

using namespace testing;

namespace {

// load -> activate -> store of 2 x 3 x 4, with a border of 1 around what is loaded.
struct Small {
    Maker maker{isas().back()};
    Map x{2, 3, 4, 1, maker.width()}, y{2, 3, 4, 0, maker.width()};

    Small() {
        const int64_t in = maker.external(), out = maker.external();
        const int64_t from = maker.buffer(Kind::local, x.bytes()), to = maker.buffer(Kind::local, y.bytes());
        maker.load(in, from, x);
        maker.emit("activate", Scope::block, join(x.extent(), x.placement(), y.placement(), Numbers{1}), {0, 0}, {from, to});
        maker.store(to, out, y);
    }
    Instruction& activate() { return maker.instructions[1]; }
    void refused(const std::string& words, std::source_location at = std::source_location::current()) {
        expect_throws<std::invalid_argument>(words, [&] { maker.program(); }, at);
    }
};

}  // namespace

TEST(sums_and_products_do_not_overflow) {
    expect(plus(3, -4) == -1 && times(-3, 4) == -12 && quotient_up(9, 4) == 3 && quotient_up(8, 4) == 2);
    expect(plus(ENDLESS, ENDLESS) == ENDLESS && plus(-ENDLESS, -ENDLESS) == -ENDLESS);
    expect(times(INT64_MAX, INT64_MAX) == ENDLESS && times(INT64_MAX, -2) == -ENDLESS && times(-ENDLESS, -ENDLESS) == ENDLESS);
    const Reach reach = Reach{}.from(8).steps(3, -4).steps(1, 1000).steps(5, 16);
    expect(reach.low == 0 && reach.high == 72 && reach.divisor == 4);
}

TEST(every_kernel_has_a_check) {
    for (const std::string& isa : isas()) {
        const KernelTable& table = *kernels_of(isa);
        for (int64_t op = 0; op < table.count; op++) {
            const KernelEntry& entry = table.entries[op];
            Maker maker(isa);
            maker.emit(entry.name, Scope::block, Numbers(static_cast<size_t>(entry.ints)),
                       std::vector<float>(static_cast<size_t>(std::max<int64_t>(entry.floats, 0))),
                       Numbers(static_cast<size_t>(entry.operands), -1), Tables(static_cast<size_t>(entry.tables)));
            expect_throws<std::invalid_argument>(std::string("instruction 0 (") + entry.name + ")", [&] {
                try {
                    maker.program();
                } catch (const std::invalid_argument& error) {
                    expect(std::string(error.what()).find("no check") == std::string::npos, error.what());
                    throw;
                }
            });
        }
    }
}

TEST(what_fits_is_taken) {
    const Program program = Small().maker.program();
    expect(program.externals()[0].of_image == 4 * 24 && program.externals()[0].once == 0);
    expect(program.stages()[0].externals == Numbers{0, 1});
}

TEST(operands_must_hold_what_is_touched) {
    Small fitting;  // the border behind the last value is not touched
    fitting.maker.buffers[2].bytes = 4 * (fitting.x.at(1, 2, 3) + fitting.maker.width());
    fitting.maker.program();
    for (const size_t buffer : {2, 3}) {
        Small one = fitting;
        one.maker.buffers[buffer].bytes -= 4;
        one.refused("bytes at least, got");
    }
    for (const int64_t number : {3, 4, 5, 6, 7, 8}) {  // plane, row and first of x and of y
        Small larger, smaller, crooked;
        larger.activate().ints[static_cast<size_t>(number)] *= 1000000;
        if (larger.activate().ints[static_cast<size_t>(number)]) larger.refused("bytes at least, got");
        smaller.activate().ints[static_cast<size_t>(number)] = -1000 * smaller.maker.width();
        smaller.refused("is reached before its beginning");
        crooked.activate().ints[static_cast<size_t>(number)] += 1;
        for (const size_t buffer : {2, 3}) crooked.maker.buffers[buffer].bytes *= 2;
        crooked.refused("is not in whole vectors");
    }
    Small without;
    without.activate().operands[0] = -1;
    without.refused("instruction 1 (activate): needs operand 0");
    Small elsewhere;
    elsewhere.activate().operands[0] = 4;
    elsewhere.refused("an operand must be -1 to 3, got 4");
}

TEST(numbers_must_be_in_range) {
    for (const int64_t size : {int64_t{0}, int64_t{-1}, int64_t{1} << 62, INT64_MIN, INT64_MAX})
        for (const size_t number : {0, 1, 2}) {
            Small one;
            one.activate().ints[number] = size;
            one.refused("must be");
        }
    Small endless;  // 2^39 rows in the same place
    endless.activate().ints[1] = int64_t{1} << 39;
    endless.activate().ints[4] = endless.activate().ints[7] = 0;
    endless.refused("channels x rows x columns must be 1 to");
    Small unknown;
    unknown.activate().ints.back() = 14;
    unknown.refused("activation must be 0 to 13, got 14");
    Small few;
    few.activate().ints.pop_back();
    few.refused("must have 10 ints, got 9");
}

TEST(memory_must_be_of_a_kind_that_the_scope_allows) {
    Small whole;
    for (Instruction& instruction : whole.maker.instructions) instruction.scope = Scope::whole;
    whole.refused("operand 1 cannot be of the kind `local`");
    Small chunk;
    chunk.activate().scope = Scope::chunk;
    chunk.refused("operand 0 cannot be of the kind `local`");
    for (const Kind kind : {Kind::shared, Kind::slot, Kind::partial, Kind::kept, Kind::external}) {
        Small one;
        one.maker.buffers[2].kind = kind;
        one.refused("cannot be of the kind");
    }
    Small halves;  // blocks of a chunk lie behind each other
    halves.maker.buffers[2] = {Kind::chunk, halves.x.bytes() + 4, 0};
    halves.refused("is not in whole vectors");
}

TEST(sizes_of_a_program) {
    for (const int64_t wrong : {int64_t{0}, int64_t{-1}, INT64_MAX}) {
        Small one;
        one.maker.most_chunk_blocks = wrong;
        one.refused("most_chunk_blocks must be 1 to");
    }
    for (const int64_t wrong : {int64_t{-1}, INT64_MAX}) {
        Small one;
        one.maker.buffers[2].bytes = wrong;
        one.refused("bytes of buffer 2 must be 0 to");
        Small other;
        other.maker.buffers[0].index = wrong;
        other.refused("index of buffer 0 must be 0 to 1");
    }
    Small one;
    const auto make = [&](std::vector<Stage> stages) {
        return Program(isas().back(), one.maker.buffers, one.maker.instructions, std::move(stages), Sizes{one.maker.width(), 1, 2, 0, SCRATCH_BYTES});
    };
    make({{false, 0, 2}, {false, 2, 3}});
    for (const auto& stages : {std::vector<Stage>{}, {{false, 0, 2}}, {{false, 0, 4}}, {{false, 0, 2}, {false, 1, 3}},
                               {{false, 1, 3}}, {{false, 0, INT64_MAX}}, {{false, 0, -1}, {false, -1, 3}}, {{true, 0, 3}}})
        expect_throws<std::invalid_argument>("stage", [&] { make(stages); });
}
