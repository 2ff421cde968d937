// Archives: fields of Python objects, and kernels of any class.

#include "cermet/nn/archive.h"
#include "handwritten.h"

namespace cermet::python {
namespace {

template <class T>
py::object field(const Coder& coder, std::string_view key, const py::object& value) {
  T coded = value.cast<T>();
  coder(key, coded);
  return py::cast(coded);
}

/// Writes the value, or reads one of its kind.
py::object code(const Coder& coder, std::string_view key, const py::object& value) {
  if (py::isinstance<py::bool_>(value)) return field<bool>(coder, key, value);
  const py::object enum_type = py::module_::import("enum").attr("Enum");
  if (py::isinstance(value, enum_type)) {
    const py::object number = field<std::int64_t>(coder, key, value.attr("value"));
    return py::type::of(value)(number);
  }
  if (py::isinstance<py::int_>(value)) return field<std::int64_t>(coder, key, value);
  if (py::isinstance<py::float_>(value)) return field<double>(coder, key, value);
  if (py::isinstance<py::str>(value)) return field<std::string>(coder, key, value);
  if (py::isinstance<Offset>(value)) return field<Offset>(coder, key, value);
  if (py::isinstance<Size>(value)) return field<Size>(coder, key, value);
  if (py::isinstance<Region>(value)) return field<Region>(coder, key, value);
  if (value.is_none() || py::isinstance<Codable>(value)) {
    auto object = value.cast<std::shared_ptr<Codable>>();
    coder(key, object);
    return py::cast(object);
  }
  if (py::isinstance<py::array>(value) || py::isinstance<py::list>(value)) {
    auto numbers = value.cast<std::vector<float>>();
    coder(key, numbers);
    return py::cast(numbers);
  }
  throw py::type_error(
      "Coder: " + std::string(key) + " is a " + Py_TYPE(value.ptr())->tp_name +
      "; needed a bool, int, float, str, enum, Offset, Size, Region, array, Codable or None");
}

}  // namespace

void define_coder(py::module_& m) {
  Adder<Coder>()
      .method("__call__", code, py::arg("key"), py::arg("value"),
              "Writes the value under the key and returns it, or, where the coder reads, returns "
              "what the archive\n"
              "has: `self.margin = coder(\"margin\", self.margin)`. The value given says of which "
              "kind.")
      .method(
          "tensor",
          [](const Coder& self, std::string_view key,
             const py::array_t<float, py::array::c_style | py::array::forcecast>& array) {
            std::vector<std::size_t> shape(array.shape(), array.shape() + array.ndim());
            std::vector<float> values(array.data(), array.data() + array.size());
            self.tensor(key, values, shape);
            return py::array_t<float>(shape, values.data());
          },
          py::arg("key"), py::arg("array"), "Numbers of the array's shape, else FileError.");
  Adder<Codable>().method(
      "code", [](const Codable&, const Coder&) {}, py::arg("coder"),
      "For subclasses: lists the fields, `self.x = coder(\"x\", self.x)` each.");
  m.def(
      "decode",
      [](Coder& coder, const Device& device, const py::object& kind,
         const std::vector<std::string_view>& classes) {
        std::shared_ptr<Kernel> kernel;
        {
          const Unlock unlocked;
          kernel = decode_kernel(coder, device, classes);
        }
        py::object result = py::cast(kernel);
        if (!kind.is_none() && !py::isinstance(result, kind)) {
          coder.refuse("class", std::string(kernel->class_name()),
                       std::string(py::str(kind.attr("__name__"))),
                       "Ask for Kernel, or for a base of that class.");
        }
        return result;
      },
      py::arg("coder"), py::arg_v("device", py::none(), "None"),
      py::arg_v("kind", py::none(), "None"), py::arg_v("classes", py::tuple(), "()"),
      "The kernel at the coder's place, of class `kind` or one derived from it. `classes`: the "
      "names that are\n"
      "allowed, all if empty. FileError where it is something else.");
}

}  // namespace cermet::python
