#pragma once
// How arguments and results of the library become Python objects and back: handles and None,
// batches and sequences, enums, numbers, functions, objects that Python and C++ both keep.

#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <array>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "interpreter.h"

namespace cermet::python {

/// What stands behind an object of a Python subclass, besides the class itself.
class PythonSide {
 public:
  virtual ~PythonSide() = default;
  /// Known from the first time on that the object is given to the library.
  mutable PyObject* python_self = nullptr;  // borrowed

 protected:
  PythonSide() = default;
  PythonSide(const PythonSide&) {}
  PythonSide& operator=(const PythonSide&) { return *this; }
};

/// Classes that Python can derive from; `shared_ptr`s to them keep the Python object.
template <class T>
concept Subclassable = std::derived_from<T, Codable> || std::derived_from<T, HeapProvider> ||
    std::derived_from<T, Handle> || std::derived_from<T, Differentiable>;
template <class E>
concept PythonEnum = std::is_enum_v<E> && requires {
  EnumName<E>::value;
};
template <class T>
concept NilHandle = is_handle<T>;
template <class T>
concept ByteType = std::same_as<T, std::byte> || std::same_as<T, std::uint8_t>;

/// The Python class of an enum; lives as long as the process.
template <class E>
PyObject*& enum_class() {
  static PyObject* one = nullptr;
  return one;
}

/// An argument that is a pointer to numbers in C++: any array of numbers, or None.
class Floats {
 public:
  Floats() = default;
  explicit Floats(py::array_t<float, py::array::c_style | py::array::forcecast> array)
      : array_(std::move(array)), given_(true) {}
  [[nodiscard]] const float* data() const { return given_ ? array_.data() : nullptr; }
  [[nodiscard]] std::size_t size() const {
    return given_ ? static_cast<std::size_t>(array_.size()) : 0;
  }
  /// Throws InvalidArgument where there are not `count` numbers; null of None.
  [[nodiscard]] const float* data(std::size_t count, const char* function,
                                  const char* argument) const;

 private:
  py::array_t<float, py::array::c_style | py::array::forcecast> array_{};
  bool given_ = false;
};

/// A result of the library's that is no error of the caller's: an exception object, not raised.
[[nodiscard]] py::object exception_object(const DeviceError& error);

template <class T>
py::array_t<T> array_copy(const T* data, std::size_t count) {
  return py::array_t<T>(static_cast<py::ssize_t>(count), data);
}

}  // namespace cermet::python

namespace pybind11::detail {

using cermet::python::NilHandle;
using cermet::python::PythonEnum;
using cermet::python::PythonSide;
using cermet::python::Subclassable;

template <NilHandle T>
class type_caster<T> : public type_caster_base<T> {
 public:
  bool load(handle source, bool convert) {
    if (!source.is_none()) return type_caster_base<T>::load(source, convert);
    if (!convert) return false;
    this->value = &nil_;
    return true;
  }
  template <class U>
  static handle cast(U&& source, return_value_policy policy, handle parent) {
    if (!source) return none().release();
    return type_caster_base<T>::cast(std::forward<U>(source), policy, parent);
  }

 private:
  T nil_{};
};

/// A batch is also any sequence of its elements, and None is an empty one.
template <class Batch, class Element>
class BatchCaster : public type_caster_base<Batch> {
 public:
  bool load(handle source, bool convert) {
    if (type_caster_base<Batch>::load(source, false)) return true;
    if (source.is_none()) {
      if (!convert) return false;
    } else if (!isinstance<list>(source) && !isinstance<tuple>(source)) {
      return false;
    } else {
      make_caster<std::vector<Element>> elements;
      if (!elements.load(source, convert)) return false;
      made_ = Batch(cast_op<std::vector<Element>&&>(std::move(elements)));
    }
    this->value = &made_;
    return true;
  }

 private:
  Batch made_;
};
template <>
class type_caster<cermet::ImageBatch> : public BatchCaster<cermet::ImageBatch, cermet::Image> {};
template <>
class type_caster<cermet::StateBatch> : public BatchCaster<cermet::StateBatch, cermet::StatePtr> {};

template <PythonEnum E>
class type_caster<E> {
 public:
  PYBIND11_TYPE_CASTER(E, cermet::python::EnumName<E>::value);
  bool load(handle source, bool) {
    if (!isinstance(source, cermet::python::enum_class<E>())) return false;
    value = static_cast<E>(source.attr("value").template cast<std::underlying_type_t<E>>());
    return true;
  }
  static handle cast(E source, return_value_policy, handle) {
    const handle type = cermet::python::enum_class<E>();
    return type(static_cast<std::underlying_type_t<E>>(source)).release();
  }
};

/// The library's pointer owns a reference to the Python object, whose class may override functions.
template <Subclassable T>
class type_caster<std::shared_ptr<T>> : public type_caster_holder<T, std::shared_ptr<T>> {
  using Base = type_caster_holder<T, std::shared_ptr<T>>;

 public:
  bool load(handle source, bool convert) {
    if (!Base::load(source, convert)) return false;
    if (source.is_none()) return true;
    kept_ = static_cast<std::shared_ptr<T>&>(static_cast<Base&>(*this));
    if (const auto* side = dynamic_cast<const PythonSide*>(kept_.get())) {
      side->python_self = source.ptr();
      kept_ = std::shared_ptr<T>(kept_.get(), [owner = cermet::python::keep(source)](T*) {});
    }
    return true;
  }
  static handle cast(const std::shared_ptr<T>& source, return_value_policy policy, handle parent) {
    const auto* side = dynamic_cast<const PythonSide*>(source.get());
    if (side != nullptr && side->python_self != nullptr) {
      return handle(side->python_self).inc_ref();
    }
    return Base::cast(source, policy, parent);
  }
  template <class>
  using cast_op_type = std::shared_ptr<T>&;
  explicit operator std::shared_ptr<T>&() { return kept_; }  // NOLINT

 private:
  std::shared_ptr<T> kept_;
};

/// Python has no const.
template <class T>
class type_caster<std::shared_ptr<const T>> {
 public:
  PYBIND11_TYPE_CASTER(std::shared_ptr<const T>, make_caster<std::shared_ptr<T>>::name);
  bool load(handle source, bool convert) {
    make_caster<std::shared_ptr<T>> inner;
    if (!inner.load(source, convert)) return false;
    value = cast_op<std::shared_ptr<T>&>(inner);
    return true;
  }
  static handle cast(const std::shared_ptr<const T>& source, return_value_policy policy,
                     handle parent) {
    return make_caster<std::shared_ptr<T>>::cast(std::const_pointer_cast<T>(source), policy,
                                                 parent);
  }
};

/// Any sequence, borrowed for the call; None is an empty one.
template <class T>
class type_caster<std::span<const T>> {
  using List = std::vector<T>;

 public:
  bool load(handle source, bool convert) {
    if (source.is_none()) return convert;
    return list_.load(source, convert) && (given_ = true);
  }
  static handle cast(std::span<const T> source, return_value_policy policy, handle parent) {
    return make_caster<List>::cast(List(source.begin(), source.end()), policy, parent);
  }
  static constexpr auto name = const_name("Sequence[") + make_caster<T>::name + const_name("]");
  template <class>
  using cast_op_type = std::span<const T>;
  explicit operator std::span<const T>() {
    return given_ ? std::span<const T>(cast_op<List&>(list_)) : std::span<const T>();
  }

 private:
  make_caster<List> list_;
  bool given_ = false;
};

/// Any array or sequence of numbers.
template <class T>
requires(std::is_arithmetic_v<T> &&
         !cermet::python::ByteType<T>) class type_caster<std::span<const T>> {
  using Array = array_t<T, array::c_style | array::forcecast>;

 public:
  bool load(handle source, bool convert) {
    if (source.is_none()) return convert;
    if (isinstance<str>(source) || (!convert && !isinstance<array_t<T>>(source))) return false;
    array_ = Array::ensure(source);
    if (!array_) PyErr_Clear();
    return static_cast<bool>(array_);
  }
  static handle cast(std::span<const T> source, return_value_policy, handle) {
    return cermet::python::array_copy(source.data(), source.size()).release();
  }
  static constexpr auto name = const_name("numpy.ndarray");
  template <class>
  using cast_op_type = std::span<const T>;
  explicit operator std::span<const T>() {
    if (!array_) return {};
    return {array_.data(), static_cast<std::size_t>(array_.size())};
  }

 private:
  Array array_ = reinterpret_steal<Array>(handle());
};

/// Bytes of anything that has some.
template <cermet::python::ByteType T>
class type_caster<std::span<const T>> {
 public:
  bool load(handle source, bool) {
    if (PyObject_CheckBuffer(source.ptr()) == 0) return false;
    if (PyObject_GetBuffer(source.ptr(), &view_, PyBUF_SIMPLE) != 0) {
      PyErr_Clear();
      return false;
    }
    return true;
  }
  static handle cast(std::span<const T> source, return_value_policy, handle) {
    return bytes(reinterpret_cast<const char*>(source.data()), source.size()).release();
  }
  type_caster() = default;
  type_caster(const type_caster&) = delete;
  type_caster(type_caster&& other) noexcept : view_(std::exchange(other.view_, Py_buffer{})) {}
  type_caster& operator=(const type_caster&) = delete;
  ~type_caster() { PyBuffer_Release(&view_); }
  static constexpr auto name = const_name("bytes");
  template <class>
  using cast_op_type = std::span<const T>;
  explicit operator std::span<const T>() {
    return {static_cast<const T*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
};

/// Numbers come and go as arrays.
template <class T>
requires(std::is_arithmetic_v<T> && !std::same_as<T, bool>) class type_caster<std::vector<T>> {
 public:
  PYBIND11_TYPE_CASTER(std::vector<T>, const_name("numpy.ndarray"));
  bool load(handle source, bool convert) {
    make_caster<std::span<const T>> numbers;
    if (!numbers.load(source, convert)) return false;
    const auto span = cast_op<std::span<const T>>(numbers);
    value.assign(span.begin(), span.end());
    return true;
  }
  static handle cast(const std::vector<T>& source, return_value_policy, handle) {
    return cermet::python::array_copy(source.data(), source.size()).release();
  }
};
template <>
class type_caster<std::vector<std::byte>> {
 public:
  PYBIND11_TYPE_CASTER(std::vector<std::byte>, const_name("bytes"));
  bool load(handle source, bool convert) {
    make_caster<std::span<const std::byte>> inner;
    if (!inner.load(source, convert)) return false;
    const auto span = cast_op<std::span<const std::byte>>(inner);
    value.assign(span.begin(), span.end());
    return true;
  }
  static handle cast(const std::vector<std::byte>& source, return_value_policy, handle) {
    return bytes(reinterpret_cast<const char*>(source.data()), source.size()).release();
  }
};

template <>
class type_caster<cermet::python::Floats> {
 public:
  PYBIND11_TYPE_CASTER(cermet::python::Floats, const_name("numpy.ndarray"));
  bool load(handle source, bool) {
    if (source.is_none()) return true;
    auto array = array_t<float, array::c_style | array::forcecast>::ensure(source);
    if (!array) {
      PyErr_Clear();
      return false;
    }
    value = cermet::python::Floats(std::move(array));
    return true;
  }
};

template <>
class type_caster<cermet::DeviceError> {
 public:
  static handle cast(const cermet::DeviceError& source, return_value_policy, handle) {
    return cermet::python::exception_object(source).release();
  }
  bool load(handle, bool) { return false; }
  static constexpr auto name = const_name("cermet.DeviceError");
  template <class>
  using cast_op_type = cermet::DeviceError;
};

}  // namespace pybind11::detail
