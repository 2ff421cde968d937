#include <pybind11/eval.h>

#include "generated_types.h"

namespace cermet::python {

const float* Floats::data(std::size_t count, const char* function, const char* argument) const {
  if (!given_) return nullptr;
  if (size() != count) {
    fail({function, "", argument, std::to_string(size()) + " numbers",
          std::to_string(count) + " numbers", ""});
  }
  return array_.data();
}

PyObject* make_enum_class(py::handle scope, const char* name, bool flags, const EnumCases& cases,
                          const char* doc) {
  py::list pairs;
  for (const auto& [key, value] : cases) pairs.append(py::make_tuple(key, value));
  py::object type = py::module_::import("enum").attr(flags ? "IntFlag" : "IntEnum")(
      name, pairs, py::arg("module") = "cermet");
  type.attr("__doc__") = doc;
  scope.attr(name) = type;
  return type.release().ptr();
}

py::object method_of(const PythonSide& self, const char* name) {
  if (self.python_self == nullptr) return {};
  const py::handle object(self.python_self);
  const py::object of_class = py::getattr(py::type::handle_of(object), name, py::none());
  const bool librarys = of_class.is_none() || PyCFunction_Check(of_class.ptr()) != 0;
  return librarys ? py::object() : object.attr(name);
}

std::string full_name(const PythonSide& self, const char* name) {
  return std::string(Py_TYPE(self.python_self)->tp_name) + "." + name;
}

void not_defined(const void*, const char* class_name, const char* function) {
  const std::string text =
      std::string("a subclass of cermet.") + class_name + " must define " + function;
  const py::gil_scoped_acquire lock;
  PyErr_SetString(PyExc_NotImplementedError, text.c_str());
  throw py::error_already_set();
}

const char* number_type(DataType type) {
  switch (type) {
    case DataType::Float32:
      return "float32";
    case DataType::Float16:
      return "float16";
    case DataType::BFloat16:
      return "uint16";
    case DataType::UInt8:
    case DataType::Unorm8:
      return "uint8";
    case DataType::Int8:
      return "int8";
    case DataType::UInt32:
      return "uint32";
    default:
      throw py::value_error("no array has elements of this cermet.DataType");
  }
}

const void* hold_numbers(const py::object& result, const std::string& name, KeptArray& kept,
                         const char* type, std::size_t element, std::size_t count) {
  if (result.is_none()) {
    kept = nullptr;
    return nullptr;
  }
  const py::module_ numpy = py::module_::import("numpy");
  py::object given = numpy.attr("asarray")(result);
  const auto given_type = py::str(given.attr("dtype")).cast<std::string>();
  const std::string kind = py::str(given.attr("dtype").attr("kind"));
  const bool floats = std::string_view(type).starts_with("float");
  if (floats ? kind != "f" && kind != "i" && kind != "u" : given_type != type) {
    fail({name, "", "the result", "an array of " + given_type, std::string("an array of ") + type,
          ""});
  }
  const py::array array = numpy.attr("ascontiguousarray")(given, type);
  const auto bytes = static_cast<std::size_t>(array.nbytes());
  if (bytes != count * element) {
    const std::string unit = element > 4 ? " values" : " elements";
    fail({name, "", "the result", std::to_string(array.size()) + unit,
          std::to_string(
              bytes == 0 ? count : count * element / static_cast<std::size_t>(array.itemsize())) +
              unit,
          ""});
  }
  kept = keep(array);
  return array.data();
}

py::object array_of(const float* data, std::size_t count) {
  return data == nullptr ? py::object(py::none()) : array_copy(data, count);
}
py::object array_of(const std::array<float, 2>* data, std::size_t count) {
  if (data == nullptr) return py::none();
  return py::array_t<float>({count, std::size_t{2}}, data->data());
}
py::object array_of(const void* data, std::size_t count, DataType type) {
  if (data == nullptr) return py::none();
  return py::array(py::dtype(number_type(type)), {count}, data);
}

std::size_t weight_count(const CNNConvolutionDescriptor& descriptor, DataType type) {
  const std::size_t window = descriptor.kernelWidth() * descriptor.kernelHeight();
  if (type == DataType::UInt32) {
    constexpr std::size_t bits = 32;
    return window * descriptor.outputFeatureChannels() *
           ((descriptor.inputFeatureChannels() + bits - 1) / bits);
  }
  if (descriptor.channelMultiplier() != 0) return window * descriptor.outputFeatureChannels();
  return window * descriptor.outputFeatureChannels() * descriptor.inputFeatureChannels() /
         descriptor.groups();
}

std::size_t input_channels(const std::shared_ptr<CNNConvolutionDataSource>& source) {
  const auto descriptor = source ? source->descriptor() : nullptr;
  return descriptor ? descriptor->inputFeatureChannels() : 0;
}
std::size_t output_channels(const std::shared_ptr<CNNConvolutionDataSource>& source) {
  const auto descriptor = source ? source->descriptor() : nullptr;
  return descriptor ? descriptor->outputFeatureChannels() : 0;
}

void def_repr(py::handle c, std::initializer_list<const char*> fields) {
  std::vector<std::string> names(fields.begin(), fields.end());
  const py::cpp_function repr(
      [names](const py::object& self) {
        std::string text = py::str(py::type::of(self).attr("__qualname__"));
        const char* before = "(";
        for (const std::string& name : names) {
          text += before + name + "=" + std::string(py::repr(self.attr(name.c_str())));
          before = ", ";
        }
        return text + ")";
      },
      py::name("__repr__"), py::is_method(c));
  c.attr("__repr__") = repr;
}

void def_kernel_repr(py::handle c) {
  c.attr("__repr__") = py::cpp_function(
      [](const Kernel& self) {
        const std::string label = self.label().empty() ? "" : " \"" + self.label() + "\"";
        return "<cermet." + std::string(self.class_name()) + label + ">";
      },
      py::name("__repr__"), py::is_method(c));
}

void set_static_beside(py::handle c, const char* name, const char* function) {
  static PyObject* descriptor = [] {
    py::dict space;
    py::exec(R"(
class PropertyAndFunction:
    """A property of objects that is a function of their class."""

    def __init__(self, prop, function):
        self.prop, self.function, self.__doc__ = prop, function, prop.__doc__

    def __get__(self, instance, owner=None):
        return self.function if instance is None else self.prop.__get__(instance, owner)

    def __set__(self, instance, value):
        self.prop.__set__(instance, value)
)",
             py::module_::import("builtins").attr("__dict__"), space);
    return py::object(space["PropertyAndFunction"]).release().ptr();
  }();
  const py::object property = c.attr("__dict__")[name];
  const py::object called = c.attr(function);
  py::delattr(c, function);
  py::setattr(c, name, py::handle(descriptor)(property, called));
}

}  // namespace cermet::python
