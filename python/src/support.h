#pragma once
// What the generated files call.

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "calls.h"

namespace cermet::python {

/// The holder of classes that are bases alone: it owns nothing.
template <class T>
class Unowned {
 public:
  Unowned() = default;
  explicit Unowned(T* pointer) : pointer_(pointer) {}
  [[nodiscard]] T* get() const { return pointer_; }

 private:
  T* pointer_ = nullptr;
};

}  // namespace cermet::python
PYBIND11_DECLARE_HOLDER_TYPE(T, cermet::python::Unowned<T>)
namespace cermet::python {

/// Appends to a list of Python's, from a call that other threads run beside.
template <class T>
void append_all(const py::list& list, std::vector<T>&& values) {
  const py::gil_scoped_acquire locked;
  py::list same = list;
  for (T& value : values) same.append(py::cast(std::move(value)));
}

using EnumCases = std::initializer_list<std::pair<const char*, long long>>;
[[nodiscard]] PyObject* make_enum_class(py::handle scope, const char* name, bool flags,
                                        const EnumCases& cases, const char* doc);
template <class E>
void make_enum(py::handle scope, const char* name, bool flags, const EnumCases& cases,
               const char* doc) {
  enum_class<E>() = make_enum_class(scope, name, flags, cases, doc);
}

/// The Python object of a kernel that Python knows, else None: the pointer may dangle.
template <class T>
py::object live(const T* pointer) {
  if (pointer != nullptr) {
    const auto* info = py::detail::get_type_info(typeid(*pointer));
    if (info == nullptr) info = py::detail::get_type_info(typeid(T));
    if (py::handle found = py::detail::get_object_handle(pointer, info)) {
      return py::reinterpret_borrow<py::object>(found);
    }
  }
  return py::none();
}

/// Copies of numbers that a source shows; None of null.
[[nodiscard]] py::object array_of(const float* data, std::size_t count);
[[nodiscard]] py::object array_of(const std::array<float, 2>* data, std::size_t count);
[[nodiscard]] py::object array_of(const void* data, std::size_t count, DataType type);
/// Elements of the weights that a descriptor asks for; UInt32: words of 32 weights of one bit.
[[nodiscard]] std::size_t weight_count(const CNNConvolutionDescriptor& descriptor,
                                       DataType type = DataType::Float32);
/// Of the descriptor of a data source; 0 for None.
[[nodiscard]] std::size_t input_channels(const std::shared_ptr<CNNConvolutionDataSource>& source);
[[nodiscard]] std::size_t output_channels(const std::shared_ptr<CNNConvolutionDataSource>& source);

// Parts of a class.
template <class T, class... A, class C, class... Extra>
void def_init(C& c, Extra&&... extra) {
  if constexpr (std::is_constructible_v<T, A...>) {
    c.def(py::init([](A... a) { return std::make_shared<T>(a...); }),
          std::forward<Extra>(extra)...);
  }
}
template <class T, class Alias = T, class C>
void def_default_init(C& c) {
  if constexpr (std::is_default_constructible_v<Alias>) {
    c.def(py::init([] { return std::shared_ptr<T>(std::make_shared<Alias>()); }));
  }
}
template <class C>
void def_deleted(C& c, const char* class_name, const char* name, const char* doc) {
  const std::string text = std::string(class_name) + " has no " + name + ". " + doc;
  c.def(
      name,
      [text](const py::object&, const py::args&, const py::kwargs&) -> py::object {
        throw py::type_error(text);
      },
      doc);
}
/// `Class(field=value, ...)`
void def_repr(py::handle c, std::initializer_list<const char*> fields);
/// A name that is a property of objects and a function of the class.
void set_static_beside(py::handle c, const char* name, const char* function);
template <class C, class Define>
void static_beside(C& c, const char* name, Define&& define) {
  const std::string other = std::string("_static_") + name;
  define(other.c_str());
  set_static_beside(c, name, other.c_str());
}
void def_kernel_repr(py::handle c);

/// What C++ gives every class: comparison and copies.
template <class C>
void finish_class(C& c) {
  using T = typename C::type;
  if constexpr (std::equality_comparable<T>) {
    c.def(
        "__eq__", [](const T& self, const T& other) { return self == other; }, py::is_operator());
    c.def(
        "__eq__", [](const T&, const py::object&) { return false; }, py::is_operator());
  }
  if constexpr (std::is_copy_constructible_v<T> && !std::is_abstract_v<T> && !Subclassable<T> &&
                std::is_destructible_v<T>) {
    c.def("__copy__", [](const T& self) { return std::make_shared<T>(self); });
  }
  if constexpr (std::same_as<T, Kernel>) def_kernel_repr(c);
}

}  // namespace cermet::python
