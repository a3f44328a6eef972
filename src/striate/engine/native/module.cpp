// The Python module `striate.engine._native`: pointers and numbers in, nothing of PyTorch.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <tuple>

#include "executor.hpp"
#include "guard.hpp"
#include "isas.hpp"
#include "ready.hpp"

namespace nb = nanobind;
using namespace striate;

namespace {

using BufferTuple = std::tuple<int64_t, int64_t, int64_t>;  // kind, bytes, index
using InstructionTuple = std::tuple<std::string, int64_t, std::vector<int64_t>, std::vector<float>, std::vector<int64_t>,
                                    std::vector<std::vector<int32_t>>>;  // name, scope, ints, floats, operands, tables
using StageTuple = std::tuple<bool, int64_t, int64_t>;

Program* make_program(const std::string& isa, const std::vector<BufferTuple>& buffers,
                      std::vector<InstructionTuple> instructions, const std::vector<StageTuple>& stages,
                      Sizes sizes) {
    const KernelTable* kernels = kernels_of(isa);
    if (!kernels) throw std::invalid_argument("no kernels for " + isa + " on this processor");
    if (!sizes.block_images) sizes.block_images = kernels->width;
    std::vector<Buffer> own_buffers;
    for (const auto& [kind, bytes, index] : buffers) {
        if (kind < 0 || kind > static_cast<int64_t>(Kind::kept)) throw std::invalid_argument("unknown kind of buffer");
        own_buffers.push_back({static_cast<Kind>(kind), bytes, index});
    }
    std::vector<Instruction> own;
    for (auto& [name, scope, ints, floats, operands, tables] : instructions) {
        int64_t op = -1;
        for (int64_t i = 0; i < kernels->count; i++)
            if (name == kernels->entries[i].name) op = i;
        if (op < 0) throw std::invalid_argument("unknown instruction " + name);
        if (scope < 0 || scope > 2) throw std::invalid_argument("unknown scope");
        own.push_back({op, static_cast<Scope>(scope), std::move(ints), std::move(floats), std::move(operands), std::move(tables)});
    }
    std::vector<Stage> own_stages;
    for (const auto& [is_whole, begin, end] : stages) own_stages.push_back({is_whole, begin, end});
    return new Program(isa, std::move(own_buffers), std::move(own), std::move(own_stages), sizes);
}

nb::tuple describe(const Division& d) {
    return nb::make_tuple(d.blocks, d.chunk_blocks, d.chunks, d.slots, d.teams);
}

}  // namespace

NB_MODULE(_native, module) {
    nb::set_leak_warnings(false);  // what PyTorch keeps for a backward pass may live until the process ends
    module.def("isas", &isas, "Instruction sets with kernels that this processor can run, the best last.");
    module.def("width", [](const std::string& isa) {
        const KernelTable* kernels = kernels_of(isa);
        if (!kernels) throw std::invalid_argument("no kernels for " + isa + " on this processor");
        return nb::make_tuple(kernels->width, kernels->accumulators);
    }, "Float32 lanes of a vector, and vectors of sums that fit into the registers.");
    module.def("peak_gflops", &peak_gflops, nb::arg("isa"), nb::arg("threads"), nb::arg("seconds"),
               nb::call_guard<nb::gil_scoped_release>(), "2 x multiply-adds a nanosecond of a loop in registers.");

    nb::class_<Guard>(module, "Guard")
        .def(nb::init<const nb::list&, const nb::list&, const nb::list&>())
        .def("holds", &Guard::holds, "Whether every entry and every length is what it was.");
    nb::class_<Program>(module, "Program")
        .def("__init__", [](Program* self, const std::string& isa, const std::vector<BufferTuple>& buffers,
                            std::vector<InstructionTuple> instructions, const std::vector<StageTuple>& stages,
                            int64_t most_chunk_blocks, int64_t externals, int64_t scalars, int64_t block_images,
                            int64_t scratch_bytes) {
            const Sizes sizes{block_images, most_chunk_blocks, externals, scalars, std::max(scratch_bytes, SCRATCH_BYTES)};
            std::unique_ptr<Program> made(make_program(isa, buffers, std::move(instructions), stages, sizes));
            new (self) Program(std::move(*made));
        }, nb::arg("isa"), nb::arg("buffers"), nb::arg("instructions"), nb::arg("stages"), nb::arg("most_chunk_blocks"),
             nb::arg("externals"), nb::arg("scalars"), nb::arg("block_images") = 0, nb::arg("scratch_bytes") = 0,
             "Blocks of `block_images` images: 1, or (0) as many as a vector has lanes.")
        .def("external_bytes", [](const Program& program, int64_t index) {
            const ExternalBytes bytes = program.externals().at(static_cast<size_t>(index));
            return nb::make_tuple(bytes.once, bytes.of_image);
        }, nb::arg("index"), "Bytes that an external memory must have at least, in all, and for each image of the batch.");
    nb::class_<Workspace>(module, "Workspace")
        .def(nb::init<>())
        .def_prop_ro("bytes", &Workspace::bytes)
        .def_prop_ro("division", [](const Workspace& workspace) { return describe(workspace.division()); },
                     "Blocks, blocks of a chunk, chunks, slots, teams.")
        .def("prepare", [](Workspace& self, const Program& program, int64_t batch, int64_t threads, bool independent) {
            const Workspace::Use use(self);
            return self.prepare(program, Division(program, batch, threads, independent));
        }, "Lay out the memory; return whether what is kept from run to run must be computed again.")
        .def("run", [](Workspace& self, const Program& program, int64_t first, int64_t last,
                       std::vector<uintptr_t> externals, std::vector<float> scalars, uint64_t seed) {
            const Run request{first, last, std::move(externals), std::move(scalars), seed, nullptr};
            nb::gil_scoped_release release;
            const Workspace::Use use(self);
            run(program, self, request);
        })
        .def("infer", [](Workspace& self, const Program& program, int64_t batch, int64_t threads, bool independent,
                         int64_t packing, bool is_changed, const std::vector<uintptr_t>& externals,
                         const std::vector<int64_t>& counts, uint64_t seed) {
            nb::gil_scoped_release release;
            const Workspace::Use use(self);
            const Division division(program, batch, threads, independent);
            infer(program, self, division, packing, is_changed, externals, counts, seed);
        }, "Run all stages; the first `packing` of them only where parameters changed or what they left is not there.")
        .def("profile", [](Workspace& self, const Program& program, int64_t first, int64_t last,
                           std::vector<uintptr_t> externals, std::vector<float> scalars, uint64_t seed) {
            std::vector<double> seconds(program.instructions().size());
            const Run request{first, last, std::move(externals), std::move(scalars), seed, seconds.data()};
            {
                nb::gil_scoped_release release;
                const Workspace::Use use(self);
                run(program, self, request);
            }
            return seconds;
        }, "Run, and return the seconds of each instruction in the first thread.");
    nb::class_<ReadyStep>(module, "ReadyStep")
        .def(nb::init<nb::list, nb::object, nb::object, const nb::list&, std::vector<int64_t>, const nb::list&, nb::object,
                      nb::object, nb::object, nb::object, nb::object, nb::object, nb::object, nb::object,
                      const std::vector<int64_t>&, int64_t, int64_t, bool>(),
             nb::arg("guards"), nb::arg("program"), nb::arg("workspace"), nb::arg("tensors"), nb::arg("places"),
             nb::arg("trained"), nb::arg("updated"), nb::arg("increment"), nb::arg("numbers"), nb::arg("seed").none(),
             nb::arg("empty"), nb::arg("logits"), nb::arg("loss"), nb::arg("threads"), nb::arg("own_places"), nb::arg("batch"), nb::arg("classes"), nb::arg("independent"))
        .def("run", &ReadyStep::run, "Return loss and logits for contiguous inputs and targets; None where anything has changed.");
    nb::class_<Ready>(module, "Ready")
        .def(nb::init<nb::object, nb::object, const nb::list&, std::vector<int64_t>, std::vector<int64_t>, int64_t, int64_t,
                      nb::object, nb::object, nb::object, int64_t, int64_t, bool>(),
             nb::arg("guard"), nb::arg("program"), nb::arg("tensors"), nb::arg("places"), nb::arg("counts"), nb::arg("input"),
             nb::arg("output"), nb::arg("empty"), nb::arg("like"), nb::arg("threads").none(), nb::arg("batch"),
             nb::arg("packing"), nb::arg("independent"))
        .def("run", &Ready::run, "Return the output for a contiguous float32 tensor; None where the network has changed.")
        .def("renew", &Ready::renew, "Note what the parameters are now, which must be what the program reads.");
}
