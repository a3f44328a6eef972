// Notices changes of a network's modules: looks up entries of dictionaries, faster than Python could.
#pragma once

#include <nanobind/nanobind.h>

#include <utility>
#include <vector>

namespace striate {

class Guard {
public:
    // `same`: (dictionary, key, object that must be there); `equal`: (dictionary, key, value); `counts`: (dictionary, length).
    Guard(const nanobind::list& same, const nanobind::list& equal, const nanobind::list& counts) {
        for (nanobind::handle entry : same) entries_.push_back(read(entry, false));
        for (nanobind::handle entry : equal) entries_.push_back(read(entry, true));
        for (nanobind::handle pair : counts)
            counts_.emplace_back(dictionary(pair[0]), nanobind::cast<Py_ssize_t>(pair[1]));
    }

    bool holds() const {
        for (const auto& [dict, count] : counts_)
            if (PyDict_Size(dict.ptr()) != count) return false;
        for (const Entry& entry : entries_) {
            PyObject* now = PyDict_GetItemWithError(entry.dict.ptr(), entry.key.ptr());
            if (now == entry.value.ptr()) continue;
            if (!now && PyErr_Occurred()) throw nanobind::python_error();
            if (!now || !entry.by_value) return false;
            // The comparison may run Python, which may drop the entry.
            const nanobind::object held = nanobind::borrow(now);
            const int is_equal = PyObject_RichCompareBool(held.ptr(), entry.value.ptr(), Py_EQ);
            if (is_equal < 0) throw nanobind::python_error();
            if (!is_equal) return false;
        }
        return true;
    }

private:
    struct Entry {
        nanobind::object dict, key, value;
        bool by_value;
    };

    static nanobind::object dictionary(nanobind::object candidate) {
        if (!PyDict_Check(candidate.ptr())) throw std::invalid_argument("a guard looks into dictionaries");
        return candidate;
    }
    static Entry read(nanobind::handle entry, bool by_value) {
        return {dictionary(entry[0]), entry[1], entry[2], by_value};
    }

    std::vector<Entry> entries_;
    std::vector<std::pair<nanobind::object, Py_ssize_t>> counts_;
};

}  // namespace striate
