// A call of one image, as short as it can be: from the tensor that Python gives to the tensor that it gets.
//
// Python's part of a small network takes longer than its kernels do. Here it is one call, which notices whatever has changed
// and then leaves the matter to Python.
#pragma once

#include <nanobind/nanobind.h>

#include <utility>
#include <vector>

#include "executor.hpp"
#include "guard.hpp"

namespace striate {

class Ready {
public:
    // `tensors`: parameters and buffers, with their places among the externals; `counts`: numbers of each external that are
    // looked at; `input`, `output`: their places; `empty`: returns a new tensor like `like`; `threads`: says how many threads,
    // or None for one.
    Ready(nanobind::object guard, nanobind::object program, const nanobind::list& tensors, std::vector<int64_t> places,
          std::vector<int64_t> counts, int64_t input, int64_t output, nanobind::object empty, nanobind::object like,
          nanobind::object threads, int64_t batch, int64_t packing, bool independent)
        : held_{guard, program},
          guard_(nanobind::cast<const Guard&>(guard)),
          program_(nanobind::cast<const Program&>(program)),
          places_(std::move(places)),
          counts_(std::move(counts)),
          input_(static_cast<size_t>(input)),
          output_(static_cast<size_t>(output)),
          empty_(std::move(empty)),
          like_(std::move(like)),
          threads_(std::move(threads)),
          batch_(batch),
          packing_(packing),
          independent_(independent) {
        for (nanobind::handle tensor : tensors) tensors_.push_back(nanobind::borrow(tensor));
        const auto externals = static_cast<int64_t>(program_.externals().size());
        const auto check = [&](int64_t place) {
            if (place < 0 || place >= externals) throw std::invalid_argument("ready: there must be a place for each tensor");
        };
        check(input);
        check(output);
        for (const int64_t place : places_) check(place);
        if (places_.size() != tensors_.size()) throw std::invalid_argument("ready: there must be a place for each tensor");
        addresses_.assign(static_cast<size_t>(externals), 0);
        states_.assign(tensors_.size(), State{});
    }

    // The output; None where the network has changed, or another thread is here.
    nanobind::object run(nanobind::handle x) {
        if (is_busy_) return nanobind::none();
        const Busy busy(*this);  // from here on: whatever of Python is called may let other threads go on
        if (!guard_.holds()) return nanobind::none();
        for (size_t i = 0; i < tensors_.size(); i++)
            if (!(state_of(tensors_[i]) == states_[i])) return nanobind::none();
        nanobind::object y = nanobind::steal(PyObject_CallOneArg(empty_.ptr(), like_.ptr()));
        if (!y.is_valid()) throw nanobind::python_error();
        addresses_[input_] = address_of(x);
        addresses_[output_] = address_of(y);
        const int64_t threads = threads_.is_none() ? 1 : nanobind::cast<int64_t>(threads_());
        {
            const nanobind::gil_scoped_release release;
            const Workspace::Use use(workspace_);
            const Division division(program_, batch_, threads, independent_);
            infer(program_, workspace_, division, packing_, is_changed_, addresses_, counts_);
        }
        is_changed_ = false;
        return y;
    }

    // Note what the tensors are now. Whoever calls it has seen to it that they are what the program reads. While another
    // thread is here nothing is noted, and the next call finds that they have changed.
    void renew() {
        if (is_busy_) return;
        const Busy busy(*this);
        for (size_t i = 0; i < tensors_.size(); i++) {
            states_[i] = state_of(tensors_[i]);
            addresses_[static_cast<size_t>(places_[i])] = states_[i].address;
        }
        is_changed_ = true;
    }

private:
    // How often a tensor was written to, and where it is.
    struct State {
        int64_t version = -1;
        uintptr_t address = 0;
        bool operator==(const State&) const = default;
    };

    // Ends with the interpreter's lock held, as it begins.
    struct Busy {
        explicit Busy(Ready& ready) : ready_(ready) { ready.is_busy_ = true; }
        ~Busy() { ready_.is_busy_ = false; }
        Ready& ready_;
    };

    static uintptr_t address_of(nanobind::handle tensor) {
        static PyObject* const name = PyUnicode_InternFromString("data_ptr");
        const nanobind::object address = nanobind::steal(PyObject_CallMethodNoArgs(tensor.ptr(), name));
        if (!address.is_valid()) throw nanobind::python_error();
        return static_cast<uintptr_t>(PyLong_AsUnsignedLongLong(address.ptr()));
    }

    static State state_of(nanobind::handle tensor) {
        static PyObject* const name = PyUnicode_InternFromString("_version");
        const nanobind::object version = nanobind::steal(PyObject_GetAttr(tensor.ptr(), name));
        if (!version.is_valid()) throw nanobind::python_error();
        return {PyLong_AsLongLong(version.ptr()), address_of(tensor)};
    }

    const std::vector<nanobind::object> held_;
    const Guard& guard_;
    const Program& program_;
    std::vector<nanobind::object> tensors_;
    std::vector<int64_t> places_, counts_;
    size_t input_, output_;
    nanobind::object empty_, like_, threads_;
    int64_t batch_, packing_;
    bool independent_, is_changed_ = true;
    bool is_busy_ = false;  // read and written by whoever holds the interpreter's lock
    std::vector<State> states_;
    std::vector<uintptr_t> addresses_;
    Workspace workspace_;
};

}  // namespace striate
