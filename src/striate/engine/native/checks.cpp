#include "checks.hpp"

#include <cstring>
#include <stdexcept>
#include <string>

#include "check_images.hpp"
#include "check_tiles.hpp"

namespace striate {
namespace {

constexpr int BLOCK = 1 << static_cast<int>(Scope::block), CHUNK = 1 << static_cast<int>(Scope::chunk),
              WHOLE = 1 << static_cast<int>(Scope::whole), ANY = BLOCK | CHUNK | WHOLE;

// What a block of the program must be: as many images as a vector has lanes, one image, or no matter.
enum class Block { lanes, image, either };

struct KernelCheck {
    const char* name;
    int scopes;  // in which it does what it is meant to
    Block block;
    void (*check)(Check&);
};

constexpr KernelCheck KERNEL_CHECKS[] = {
    {"taps", ANY, Block::lanes, check_taps},
    {"pack", WHOLE, Block::either, check_pack},
    {"pack_dense", WHOLE, Block::either, check_pack_dense},
    {"winograd_pack", WHOLE, Block::either, check_winograd_pack},
    {"winograd", ANY, Block::lanes, check_winograd},
    {"winograd4_pack", WHOLE, Block::either, check_winograd4_pack},
    {"winograd4", ANY, Block::lanes, check_winograd4},
    {"outer", BLOCK | CHUNK, Block::lanes, check_outer},
    {"channel_sums", BLOCK | CHUNK, Block::lanes, check_channel_sums},
    {"load", ANY, Block::lanes, check_layout<0, 1>},
    {"store", ANY, Block::lanes, check_layout<1, 0>},
    {"panels_of_rows", WHOLE, Block::lanes, check_panels_of_rows},
    {"dense_weight_gradient", WHOLE, Block::lanes, check_dense_weight_gradient},
    {"dense_bias_gradient", WHOLE, Block::lanes, check_dense_bias_gradient},
    {"activate", ANY, Block::lanes, check_activate},
    {"slope", ANY, Block::lanes, check_slope},
    {"combine", ANY, Block::lanes, check_combine},
    {"sum_products", ANY, Block::lanes, check_sum_products},
    {"move", ANY, Block::lanes, check_move},
    {"fill", ANY, Block::lanes, check_fill},
    {"drop", ANY, Block::lanes, check_drop},
    {"max_pool", ANY, Block::lanes, check_max_pool<0, 1, 2>},
    {"max_pool_backward", ANY, Block::lanes, check_max_pool<2, 0, 1>},
    {"unpool", ANY, Block::lanes, check_unpool},
    {"avg_pool", ANY, Block::lanes, check_avg_pool<0, 1>},
    {"avg_pool_backward", ANY, Block::lanes, check_avg_pool<1, 0>},
    {"batch_statistics", BLOCK, Block::lanes, check_batch_statistics},
    {"batch_coefficients", WHOLE, Block::either, check_batch_coefficients},
    {"normalize", ANY, Block::lanes, check_normalize},
    {"normalize_sums", BLOCK, Block::lanes, check_normalize_sums},
    {"normalize_gradients", WHOLE, Block::either, check_normalize_gradients},
    {"normalize_input", ANY, Block::lanes, check_normalize_input},
    {"local_response", ANY, Block::lanes, check_local_response},
    {"local_response_backward", ANY, Block::lanes, check_local_response_backward},
    {"cross_entropy", CHUNK, Block::lanes, check_cross_entropy},
    {"sum_losses", WHOLE, Block::either, check_sum_losses},
    {"clear_slots", WHOLE, Block::either, check_clear_slots},
    {"sum_slots", WHOLE, Block::either, check_sum_slots},
    {"update_sgd", WHOLE, Block::either, check_update<SGD_SCALARS, false>},
    {"update_adam", WHOLE, Block::either, check_update<ADAM_SCALARS, true>},
    {"image_load", ANY, Block::image, check_image_layout<0, 1>},
    {"image_store", ANY, Block::image, check_image_layout<1, 0>},
    {"image_taps", ANY, Block::image, check_image_taps},
    {"image_depthwise", ANY, Block::image, check_image_depthwise},
    {"image_depthwise3", ANY, Block::image, check_image_depthwise3},
    {"image_winograd", ANY, Block::image, check_image_winograd},
    {"image_winograd_pack", WHOLE, Block::image, check_image_winograd_pack},
    {"image_pack", WHOLE, Block::image, check_image_pack},
    {"image_max_pool", ANY, Block::image, check_image_max_pool},
    {"image_avg_pool", ANY, Block::image, check_image_avg_pool},
    {"image_normalize", ANY, Block::image, check_image_normalize},
    {"image_combine", ANY, Block::image, check_image_combine},
    {"image_activate", ANY, Block::image, check_image_activate},
    {"image_local_response", ANY, Block::image, check_image_local_response},
    {"image_move", ANY, Block::image, check_image_move},
    {"fold_bias", WHOLE, Block::either, check_fold_bias},
    {"pair_channels", ANY, Block::lanes, check_pair_channels},
    {"pair_features", ANY, Block::lanes, check_pair_features},
    {"pair_images", ANY, Block::lanes, check_pair_images},
    {"half_images", ANY, Block::lanes, check_half_images},
    {"tile_pack", WHOLE, Block::either, check_tile_pack},
    {"tile_sums", ANY, Block::lanes, check_tile_sums},
    {"tile_outer", BLOCK | CHUNK, Block::lanes, check_tile_outer},
    {"sum_tile_slots", WHOLE, Block::either, check_sum_tile_slots},
    {"dense_rows", WHOLE, Block::lanes, check_dense_tiles},
    {"tile_dense_gradient", WHOLE, Block::lanes, check_tile_dense_gradient},
};

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("program: " + what); }

void within(const std::string& name, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most)
        refuse(name + " must be " + std::to_string(least) + " to " + std::to_string(most) + ", got " + std::to_string(value));
}

void check_sizes(const Program& program) {
    const Sizes& sizes = program.sizes();
    constexpr int64_t MANY = int64_t{1} << 20;
    within("most_chunk_blocks", sizes.most_chunk_blocks, 1, MANY);
    within("externals", sizes.externals, 0, MANY);
    within("scalars", sizes.scalars, 0, MANY);
    within("scratch_bytes", sizes.scratch_bytes, SCRATCH_BYTES, int64_t{1} << 32);
    if (sizes.block_images != 1 && sizes.block_images != program.kernels().width)
        refuse("block_images must be 1 or " + std::to_string(program.kernels().width) + ", got " +
               std::to_string(sizes.block_images));
}

void check_buffers(const Program& program) {
    int64_t number = 0;
    for (const Buffer& buffer : program.buffers()) {
        const std::string name = "buffer " + std::to_string(number++);
        within("bytes of " + name, buffer.bytes, 0, MOST);
        if (buffer.kind == Kind::external) within("index of " + name, buffer.index, 0, program.sizes().externals - 1);
        else within("bytes an image of " + name, buffer.index, 0, buffer.kind == Kind::shared ? MOST : 0);
    }
}

void check_stages(const Program& program) {
    int64_t next = 0;
    const auto count = static_cast<int64_t>(program.instructions().size());
    for (const Stage& stage : program.stages()) {
        if (stage.begin != next || stage.end < stage.begin || stage.end > count)
            refuse("stages must follow each other, and have instructions that are there");
        next = stage.end;
        for (int64_t i = stage.begin; i < stage.end; i++)
            if ((program.instructions()[static_cast<size_t>(i)].scope == Scope::whole) != stage.is_whole)
                refuse("a stage is for the whole batch, or none of its instructions is");
    }
    if (next != count) refuse("every instruction must belong to a stage");
}

// How many of each kind of number there must be.
void check_counts(const Check& c, const Program& program) {
    const Instruction& instruction = c.instruction();
    const auto wants = [&](const char* what, size_t got, int64_t wanted) {
        if (wanted >= 0 && static_cast<int64_t>(got) != wanted)
            c.refuse("must have " + std::to_string(wanted) + " " + what + ", got " + std::to_string(got));
    };
    wants("ints", instruction.ints.size(), c.entry().ints);
    wants("floats", instruction.floats.size(), c.entry().floats);
    wants("operands", instruction.operands.size(), c.entry().operands);
    wants("tables", instruction.tables.size(), c.entry().tables);
    for (const int64_t value : instruction.ints) c.within("an int", value, -MOST, MOST);
    for (const int64_t operand : instruction.operands)
        c.within("an operand", operand, -1, static_cast<int64_t>(program.buffers().size()) - 1);
}

void check_instruction(const Program& program, int64_t number, std::vector<ExternalBytes>& externals) {
    const Instruction& instruction = program.instructions()[static_cast<size_t>(number)];
    if (instruction.op < 0 || instruction.op >= program.kernels().count) refuse("unknown instruction");
    Check c(program, number, externals);
    check_counts(c, program);
    for (const KernelCheck& known : KERNEL_CHECKS) {
        if (std::strcmp(known.name, c.entry().name) != 0) continue;
        c.require(known.scopes >> static_cast<int>(instruction.scope) & 1, "does not run in this scope");
        const int64_t images = known.block == Block::image ? 1 : c.width();
        c.require(known.block == Block::either || program.sizes().block_images == images,
                  "does not run on blocks of so many images");
        known.check(c);
        c.finish();
        return;
    }
    c.refuse("has a kernel but no check");
}

}  // namespace

std::vector<ExternalBytes> check_program(const Program& program) {
    check_sizes(program);
    check_buffers(program);
    check_stages(program);
    std::vector<ExternalBytes> externals(static_cast<size_t>(program.sizes().externals));
    for (size_t number = 0; number < program.instructions().size(); number++)
        check_instruction(program, static_cast<int64_t>(number), externals);
    return externals;
}

}  // namespace striate
