#pragma once
// Calls from the library into Python: functions that subclasses override, handlers.

#include <string>
#include <utility>

#include "casters.h"

namespace cermet::python {

/// An argument on its way to Python. Kernels are lent; other objects are copied, and copied back
/// where the callee may change them.
template <class T>
class Passed {
 public:
  explicit Passed(T& value) : value_(value), object_(make(value)) {}
  [[nodiscard]] const py::object& object() const { return object_; }
  void finish() {
    if constexpr (!std::is_const_v<T> && std::copyable<T> && !std::derived_from<T, Kernel> &&
                  !std::same_as<T, Coder> && std::same_as<T, ImageDescriptor>) {
      value_ = py::cast<T&>(object_);
    }
  }

 private:
  static py::object make(T& value) {
    if constexpr (std::derived_from<std::remove_const_t<T>, Kernel>) {
      return py::cast(&value, py::return_value_policy::reference);
    } else if constexpr (std::is_pointer_v<std::remove_const_t<T>>) {
      return py::cast(value, py::return_value_policy::reference);
    } else {
      return py::cast(std::as_const(value), py::return_value_policy::copy);
    }
  }
  T& value_;
  py::object object_;
};

/// The result as an R. TypeError in the name of the function where it is something else.
template <class R>
R result_of(const py::object& result, const std::string& function, const char* needed) {
  if constexpr (!std::is_void_v<R>) {
    py::detail::make_caster<R> caster;
    try {
      if (caster.load(result, !std::same_as<R, bool>)) {
        return py::detail::cast_op<R>(std::move(caster));
      }
    } catch (const py::reference_cast_error&) {  // None for an object
    }
    throw py::type_error(function + " returned " + std::string(py::repr(result)) + " of type " +
                         Py_TYPE(result.ptr())->tp_name + "; needed " + needed);
  }
}

template <class R, class... A>
R call_python(const py::object& function, const std::string& name, const char* needed, A&... a) {
  const auto call = [&](auto... passed) -> R {
    const py::object result = function(passed.object()...);
    (passed.finish(), ...);
    return result_of<R>(result, name, needed);
  };
  return call(Passed<A>(a)...);
}

/// The method if the object's class, or the object, has one of its own; null: it is the library's.
[[nodiscard]] py::object method_of(const PythonSide& self, const char* name);
[[nodiscard]] std::string full_name(const PythonSide& self, const char* name);
[[noreturn]] void not_defined(const void* self, const char* class_name, const char* function);
template <class T>
[[noreturn]] void not_defined(const T& self, const char* class_name, const char* function) {
  not_defined(static_cast<const void*>(&self), class_name, function);
}

template <class T>
[[nodiscard]] bool of_python(const T& object) {
  return dynamic_cast<const PythonSide*>(&object) != nullptr;
}

/// Calls the method `name` of the Python object, or `fallback` where it has none of its own.
template <class R, class Fallback, class... A>
R call(const PythonSide& self, const char* name, const char* needed, Fallback&& fallback, A&... a) {
  bool defined = false;
  if constexpr (std::is_void_v<R>) {
    locked([&] {
      const py::object method = method_of(self, name);
      defined = static_cast<bool>(method);
      if (defined) call_python<void>(method, name, needed, a...);
    });
    if (!defined) fallback();
  } else {
    auto result = locked([&]() -> std::optional<R> {
      const py::object method = method_of(self, name);
      if (!method) return std::nullopt;
      return call_python<R>(method, full_name(self, name), needed, a...);
    });
    return result ? *std::move(result) : fallback();
  }
}

/// Numbers that a Python method returned, kept until it returns others.
using KeptArray = std::shared_ptr<PyObject>;
/// The result as `count` numbers of this type in a row; null of None.
[[nodiscard]] const void* hold_numbers(const py::object& result, const std::string& name,
                                       KeptArray& kept, const char* type, std::size_t element,
                                       std::size_t count);
[[nodiscard]] const char* number_type(DataType type);

template <class Count, class Fallback>
const void* numbers_as(const PythonSide& self, const char* name, KeptArray& kept, const char* type,
                       std::size_t element, Count&& count, Fallback&& fallback) {
  bool defined = false;
  const void* data = locked([&]() -> const void* {
    const py::object method = method_of(self, name);
    defined = static_cast<bool>(method);
    if (!defined) return nullptr;
    return hold_numbers(method(), full_name(self, name), kept, type, element, count());
  });
  return defined ? data : fallback();
}
template <class T, class Count, class Fallback>
const T* numbers(const PythonSide& self, const char* name, KeptArray& kept, Count&& count,
                 Fallback&& fallback) {
  return static_cast<const T*>(
      numbers_as(self, name, kept, "float32", sizeof(T), std::forward<Count>(count), fallback));
}
template <class Count, class Fallback>
const void* numbers_of(const PythonSide& self, const char* name, KeptArray& kept, DataType type,
                       Count&& count, Fallback&& fallback) {
  return numbers_as(self, name, kept, number_type(type), SizeofDataType(type),
                    std::forward<Count>(count), fallback);
}

/// A Python function as the library keeps it; may be called, copied and dropped on any thread.
template <class R, class... A>
struct Callback {
  std::shared_ptr<PyObject> function;
  R operator()(A... a) const {
    return locked([&]() -> R {
      const auto callee = py::reinterpret_borrow<py::object>(function.get());
      return call_python<R>(callee, "the function", "another type", a...);
    });
  }
};

}  // namespace cermet::python

namespace pybind11::detail {

template <class R, class... A>
class type_caster<std::function<R(A...)>> {
 public:
  PYBIND11_TYPE_CASTER(std::function<R(A...)>, const_name("Callable"));
  bool load(handle source, bool convert) {
    if (source.is_none()) return convert;
    if (PyCallable_Check(source.ptr()) == 0) return false;
    value = cermet::python::Callback<R, A...>{cermet::python::keep(source)};
    return true;
  }
};

}  // namespace pybind11::detail
