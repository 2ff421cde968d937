#pragma once
// The parts of the module that are written by hand; python/generate/rules.py says why.

#include "generated_types.h"

namespace cermet::python {

void declare_errors(py::module_& m);
void define_commands();
void define_arrays(py::module_& m);
void define_dlpack();
void define_coder(py::module_& m);

/// The class of T, to add to.
template <class T, class... Options>
auto class_of() {
  return py::reinterpret_borrow<py::class_<T, Options...>>(py::type::of<T>());
}

/// Adds a method, or with `py::staticmethod` a function, that is no overload of what is there.
template <class T>
class Adder {
 public:
  Adder() : class_(py::type::of<T>()) {}
  template <class F, class... Extra>
  Adder& method(const char* name, F&& f, const Extra&... extra) {
    const py::cpp_function made(std::forward<F>(f), py::name(name), py::is_method(class_),
                                py::sibling(py::getattr(class_, name, py::none())), extra...);
    class_.attr(name) = made;
    return *this;
  }
  template <class F, class... Extra>
  Adder& function(const char* name, F&& f, const Extra&... extra) {
    const py::cpp_function made(std::forward<F>(f), py::name(name), py::scope(class_),
                                py::sibling(py::getattr(class_, name, py::none())), extra...);
    class_.attr(name) = py::staticmethod(made);
    return *this;
  }

 private:
  py::object class_;
};

}  // namespace cermet::python
