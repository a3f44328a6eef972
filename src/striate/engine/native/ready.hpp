// A call of one image and a training step, as short as they can be: from the tensors that Python gives to those that it gets.
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

// Where a tensor is.
inline uintptr_t address_of(nanobind::handle tensor) {
    static PyObject* const name = PyUnicode_InternFromString("data_ptr");
    const nanobind::object address = nanobind::steal(PyObject_CallMethodNoArgs(tensor.ptr(), name));
    if (!address.is_valid()) throw nanobind::python_error();
    return static_cast<uintptr_t>(PyLong_AsUnsignedLongLong(address.ptr()));
}

// A new tensor like another.
inline nanobind::object empty_like(const nanobind::object& empty, const nanobind::object& like) {
    nanobind::object made = nanobind::steal(PyObject_CallOneArg(empty.ptr(), like.ptr()));
    if (!made.is_valid()) throw nanobind::python_error();
    return made;
}

// Ends with the interpreter's lock held, as it begins.
struct Busy {
    explicit Busy(bool& is_busy) : is_busy_(is_busy) { is_busy = true; }
    ~Busy() { is_busy_ = false; }
    Busy(const Busy&) = delete;
    bool& is_busy_;  // read and written by whoever holds the interpreter's lock
};

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
        const Busy busy(is_busy_);  // from here on: whatever of Python is called may let other threads go on
        if (!guard_.holds()) return nanobind::none();
        for (size_t i = 0; i < tensors_.size(); i++)
            if (!(state_of(tensors_[i]) == states_[i])) return nanobind::none();
        nanobind::object y = empty_like(empty_, like_);
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
        const Busy busy(is_busy_);
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
    bool is_busy_ = false;
    std::vector<State> states_;
    std::vector<uintptr_t> addresses_;
    Workspace workspace_;
};

class ReadyStep {
public:
    // Places among the externals.
    struct Places {
        size_t input, targets, logits, loss;
    };

    // `guards`: of the network and of the optimizer's state; `tensors`: parameters, buffers and state, with their places;
    // `trained`: parameters, with whether each gets a gradient; `updated`: those that the step changes, and `increment`, which
    // notes it; `numbers`, `seed`: return those of this step, seed may be None; `logits`, `loss`: outputs like these are returned.
    ReadyStep(nanobind::list guards, nanobind::object program, nanobind::object workspace, const nanobind::list& tensors,
              std::vector<int64_t> places, const nanobind::list& trained, nanobind::object updated, nanobind::object increment,
              nanobind::object numbers, nanobind::object seed, nanobind::object empty, nanobind::object logits,
              nanobind::object loss, nanobind::object threads, const std::vector<int64_t>& own_places, int64_t batch, int64_t classes, bool independent)
        : held_{program, workspace},
          program_(nanobind::cast<const Program&>(program)),
          workspace_(nanobind::cast<Workspace&>(workspace)),
          places_(std::move(places)),
          updated_(std::move(updated)),
          increment_(std::move(increment)),
          numbers_(std::move(numbers)),
          seed_(std::move(seed)),
          empty_(std::move(empty)),
          logits_(std::move(logits)),
          loss_(std::move(loss)),
          threads_(std::move(threads)),
          batch_(batch),
          classes_(classes),
          independent_(independent) {
        for (nanobind::handle guard : guards) {
            held_.push_back(nanobind::borrow(guard));
            guards_.push_back(&nanobind::cast<const Guard&>(guard));
        }
        for (nanobind::handle tensor : tensors) tensors_.push_back(nanobind::borrow(tensor));
        for (nanobind::handle pair : trained) trained_.emplace_back(nanobind::borrow(pair[0]), nanobind::cast<bool>(pair[1]));
        const auto externals = static_cast<int64_t>(program_.externals().size());
        if (places_.size() != tensors_.size() || own_places.size() != 4)
            throw std::invalid_argument("ready: there must be a place for each tensor");
        for (const auto* list : std::initializer_list<const std::vector<int64_t>*>{&places_, &own_places})
            for (const int64_t place : *list)
                if (place < 0 || place >= externals) throw std::invalid_argument("ready: there is no such place");
        own_ = {static_cast<size_t>(own_places[0]), static_cast<size_t>(own_places[1]), static_cast<size_t>(own_places[2]),
                static_cast<size_t>(own_places[3])};
        addresses_.assign(static_cast<size_t>(externals), 0);
        for (size_t i = 0; i < tensors_.size(); i++) addresses_[static_cast<size_t>(places_[i])] = address_of(tensors_[i]);
    }

    // Loss and logits; None, and nothing is done, where the network has changed, a target is none of the classes, or another
    // thread is here. Whoever calls it has seen to it that inputs and targets are contiguous, of their types and sizes.
    nanobind::object run(nanobind::handle inputs, nanobind::handle targets) {
        if (is_busy_) return nanobind::none();
        const Busy busy(is_busy_);
        if (!is_current()) return nanobind::none();
        addresses_[own_.input] = address_of(inputs);
        addresses_[own_.targets] = address_of(targets);
        const auto* target = reinterpret_cast<const int64_t*>(addresses_[own_.targets]);
        for (int64_t n = 0; n < batch_; n++)
            if (target[n] < 0 || target[n] >= classes_) return nanobind::none();
        const nanobind::object logits = empty_like(empty_, logits_), loss = empty_like(empty_, loss_);
        addresses_[own_.logits] = address_of(logits);
        addresses_[own_.loss] = address_of(loss);
        const auto threads = nanobind::cast<int64_t>(threads_());
        const auto stages = static_cast<int64_t>(program_.stages().size());
        const uint64_t seed = seed_.is_none() ? 0 : nanobind::cast<uint64_t>(seed_());
        const Run request{0, stages, addresses_, nanobind::cast<std::vector<float>>(numbers_()), seed, nullptr};
        {
            const nanobind::gil_scoped_release release;
            const Workspace::Use use(workspace_);
            workspace_.prepare(program_, Division(program_, batch_, threads, independent_));
            striate::run(program_, workspace_, request);
        }
        increment_(updated_);
        return nanobind::make_tuple(loss, logits);
    }

private:
    bool is_current() const {
        static PyObject* const name = PyUnicode_InternFromString("requires_grad");
        for (const Guard* guard : guards_)
            if (!guard->holds()) return false;
        for (const auto& [parameter, is_trained] : trained_) {
            const nanobind::object now = nanobind::steal(PyObject_GetAttr(parameter.ptr(), name));
            if (!now.is_valid()) throw nanobind::python_error();
            if ((now.ptr() == Py_True) != is_trained) return false;
        }
        for (size_t i = 0; i < tensors_.size(); i++)
            if (address_of(tensors_[i]) != addresses_[static_cast<size_t>(places_[i])]) return false;
        return true;
    }

    std::vector<nanobind::object> held_;
    std::vector<const Guard*> guards_;
    const Program& program_;
    Workspace& workspace_;
    std::vector<nanobind::object> tensors_;
    std::vector<int64_t> places_;
    std::vector<std::pair<nanobind::object, bool>> trained_;
    nanobind::object updated_, increment_, numbers_, seed_, empty_, logits_, loss_, threads_;
    Places own_{};
    int64_t batch_, classes_;
    bool independent_, is_busy_ = false;
    std::vector<uintptr_t> addresses_;
};

}  // namespace striate
