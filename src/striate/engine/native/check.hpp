// The vocabulary in which checks.cpp says what a kernel reads and writes of each operand.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "arguments.hpp"
#include "executor.hpp"
#include "reach.hpp"

namespace striate {

// One instruction under examination. Whatever does not fit throws std::invalid_argument.
class Check {
public:
    Check(const Program& program, int64_t number, std::vector<ExternalBytes>& externals)
        : program_(program),
          instruction_(program.instructions()[static_cast<size_t>(number)]),
          entry_(program.kernels().entries[instruction_.op]),
          number_(number),
          externals_(externals) {}

    [[noreturn]] void refuse(const std::string& what) const {
        throw std::invalid_argument("instruction " + std::to_string(number_) + " (" + entry_.name + "): " + what);
    }
    void require(bool holds, const char* what) const {
        if (!holds) refuse(what);
    }
    void within(const char* name, int64_t value, int64_t least, int64_t most) const {
        if (value < least || value > most)
            refuse(std::string(name) + " must be " + std::to_string(least) + " to " + std::to_string(most) + ", got " +
                   std::to_string(value));
    }
    // Positive lengths, of which there are not too many positions.
    void positive(const char* name, std::initializer_list<int64_t> lengths) const {
        int64_t all = 1;
        for (const int64_t length : lengths) {
            within(name, length, 1, MOST);
            all = times(all, length);
        }
        within(name, all, 1, MOST);
    }

    template <class Arguments> const Arguments& arguments() const {
        return *reinterpret_cast<const Arguments*>(instruction_.ints.data());
    }
    const Program& program() const { return program_; }
    const KernelEntry& entry() const { return entry_; }
    const Instruction& instruction() const { return instruction_; }
    int64_t width() const { return program_.kernels().width; }
    int64_t accumulators() const { return program_.kernels().accumulators; }
    bool has(int operand) const { return instruction_.operands[static_cast<size_t>(operand)] >= 0; }

    // The first `size` numbers of a table, which must have as many.
    const int32_t* table(int index, int64_t size) const {
        const auto& table = instruction_.tables[static_cast<size_t>(index)];
        if (static_cast<int64_t>(table.size()) < size)
            refuse("table " + std::to_string(index) + " must hold " + std::to_string(size) + " numbers, got " +
                   std::to_string(table.size()));
        return table.data();
    }
    int64_t table_size(int index) const {
        return static_cast<int64_t>(instruction_.tables[static_cast<size_t>(index)].size());
    }

    // Operands ---------------------------------------------------------------------------------------------------------

    // A tensor of lanes, whose places are whole vectors; each block has its own.
    void lanes(int operand, const Reach& reach) { of_block(operand, reach, width(), 4, width()); }
    void lanes(int operand, const Extent& extent, const Placement& placement) {
        lanes(operand, places(extent, placement));
    }
    // The same with bytes in place of floats.
    void byte_lanes(int operand, const Reach& reach) { of_block(operand, reach, width(), 1, width()); }
    // The same with `count` bfloat16, at whole vectors of them.
    void half_lanes(int operand, const Reach& reach, int64_t count) { of_block(operand, reach, count, 2, width()); }
    // Floats of a block that are taken one by one.
    void scattered(int operand, const Reach& reach, int64_t floats = 1) { of_block(operand, reach, floats, 4, 1); }

    // Floats that there are once: weights, coefficients, results.
    void once(int operand, const Reach& reach, int64_t floats = 1) {
        inside(operand, {Kind::shared, Kind::kept, Kind::external}, reach, floats, 4);
    }
    void once(int operand, int64_t floats) { once(operand, Reach{}, floats); }
    // The same in whole vectors, as memory of PyTorch need not be.
    void vectors_once(int operand, const Reach& reach, int64_t floats) {
        inside(operand, {Kind::shared, Kind::kept}, reach, floats, 4);
        if (reach.divisor % width() != 0) refuse(name(operand) + " is not in whole vectors");
    }

    // Something for each image of the batch, one after the other.
    void images(int operand, int64_t elements, int64_t bytes = 4) {
        const Buffer& buffer = given(operand, {Kind::shared, Kind::external});
        const int64_t size = times(elements, bytes);
        if (size > MOST_IMAGE_BYTES) refuse(name(operand) + " is too large: " + std::to_string(size) + " bytes an image");
        if (buffer.kind == Kind::external) {
            int64_t& known = externals_[static_cast<size_t>(buffer.index)].of_image;
            known = std::max(known, size);
        } else if (buffer.index < size) {
            too_small(operand, size, buffer.index, "an image");
        }
    }

    // What the own slot or chunk keeps.
    void slot(int operand, int64_t floats) { own(operand, Kind::slot, times(floats, 4)); }
    void partial(int operand, int64_t bytes) { own(operand, Kind::partial, bytes); }
    // What every slot or chunk has kept.
    void slots(int operand, int64_t floats) { all(operand, Kind::slot, times(floats, 4)); }
    void partials(int operand, int64_t bytes) { all(operand, Kind::partial, bytes); }

    // All places of an extent.
    Reach places(const Extent& extent, const Placement& placement) const {
        return Reach{}
            .from(placement.first)
            .steps(extent.channels, placement.plane)
            .steps(extent.rows, placement.row)
            .steps(extent.columns, width());
    }

    // Operands that are given must have been looked at, one way or another.
    void finish() const {
        for (size_t operand = 0; operand < instruction_.operands.size(); operand++)
            if (has(static_cast<int>(operand)) && !(seen_ >> operand & 1))
                refuse(name(static_cast<int>(operand)) + " is not used, it must be -1");
    }

private:
    // Images x bytes must not overflow either.
    static constexpr int64_t MOST_IMAGE_BYTES = int64_t{1} << 32;

    static std::string name(int operand) { return "operand " + std::to_string(operand); }

    [[noreturn]] void too_small(int operand, int64_t wanted, int64_t bytes, const char* of) const {
        refuse(name(operand) + " must have " + std::to_string(wanted) + " bytes " + of + ", got " + std::to_string(bytes));
    }

    const Buffer& given(int operand, std::initializer_list<Kind> kinds) {
        const int64_t index = instruction_.operands[static_cast<size_t>(operand)];
        if (index < 0) refuse("needs " + name(operand));
        seen_ |= 1u << operand;
        const Buffer& buffer = program_.buffers()[static_cast<size_t>(index)];
        if (std::find(kinds.begin(), kinds.end(), buffer.kind) == kinds.end())
            refuse(name(operand) + " cannot be of the kind `" + kind_name(buffer.kind) + "`");
        return buffer;
    }

    static const char* kind_name(Kind kind) {
        constexpr const char* NAMES[] = {"batch", "chunk", "local", "shared", "slot", "partial", "external", "kept"};
        return NAMES[static_cast<int64_t>(kind)];
    }

    void inside(int operand, std::initializer_list<Kind> kinds, const Reach& reach, int64_t length, int64_t bytes) {
        const Buffer& buffer = given(operand, kinds);
        if (reach.low < 0) refuse(name(operand) + " is reached before its beginning, at " + std::to_string(reach.low));
        const int64_t end = times(plus(reach.high, length), bytes);
        if (buffer.kind == Kind::external) {
            if (end > MOST) refuse(name(operand) + " is too large: " + std::to_string(end) + " bytes");
            int64_t& known = externals_[static_cast<size_t>(buffer.index)].once;
            known = std::max(known, end);
        } else if (end > buffer.bytes) {
            too_small(operand, end, buffer.bytes, "at least");
        }
    }

    // `length` elements of so many bytes, at offsets which `unit` must divide.
    void of_block(int operand, const Reach& reach, int64_t length, int64_t bytes, int64_t unit) {
        switch (instruction_.scope) {
            case Scope::block: inside(operand, {Kind::batch, Kind::chunk, Kind::local}, reach, length, bytes); break;
            case Scope::chunk: inside(operand, {Kind::batch, Kind::chunk}, reach, length, bytes); break;
            case Scope::whole: inside(operand, {Kind::batch}, reach, length, bytes); break;
        }
        const Buffer& buffer = program_.buffers()[static_cast<size_t>(instruction_.operands[static_cast<size_t>(operand)])];
        const bool has_whole_blocks = buffer.kind != Kind::chunk || buffer.bytes % (width() * bytes) == 0;
        if (reach.divisor % unit != 0 || !has_whole_blocks) refuse(name(operand) + " is not in whole vectors");
    }

    void own(int operand, Kind kind, int64_t bytes) {
        if (instruction_.scope == Scope::whole) refuse(name(operand) + " belongs to one chunk or slot");
        inside(operand, {kind}, Reach{}, bytes, 1);
    }

    void all(int operand, Kind kind, int64_t bytes) {
        if (instruction_.scope != Scope::whole) refuse(name(operand) + " is that of all chunks or slots");
        inside(operand, {kind}, Reach{}, bytes, 1);
    }

    const Program& program_;
    const Instruction& instruction_;
    const KernelEntry& entry_;
    const int64_t number_;
    std::vector<ExternalBytes>& externals_;
    uint32_t seen_ = 0;
};

// What many kernels have alike -------------------------------------------------------------------------------------------

inline void check_activation(Check& c, int64_t code) { c.within("activation", code, IDENTITY, AFFINE); }

inline void check_extent(Check& c, const Extent& e) {
    c.positive("channels x rows x columns", {e.channels, e.rows, e.columns});
}

}  // namespace striate
