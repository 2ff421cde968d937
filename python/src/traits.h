#pragma once
// What the generated header says of types before their casters are defined.

#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace cermet::python {

/// Handles of which an empty one is Python's None.
template <class T>
inline constexpr bool is_handle = false;

/// `value`: the name of an enum in Python.
template <class E>
struct EnumName;

}  // namespace cermet::python
