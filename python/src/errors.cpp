// The library's exceptions as Python classes.

#include "handwritten.h"

namespace cermet::python {
namespace {

struct Classes {
  py::object error, invalid_argument, file_error, device_error;
};
Classes& classes() {
  static auto* const one = new Classes;  // lives as long as the process
  return *one;
}

py::object make(py::module_& m, const char* name, const py::tuple& bases, const char* doc) {
  const std::string full = std::string("cermet.") + name;
  auto type = py::reinterpret_steal<py::object>(
      PyErr_NewExceptionWithDoc(full.c_str(), doc, bases.ptr(), nullptr));
  if (!type) throw py::error_already_set();
  m.attr(name) = type;
  return type;
}

}  // namespace

py::object exception_object(const DeviceError& error) {
  py::object object = classes().device_error(error.what());
  object.attr("code") = py::cast(error.code());
  return object;
}

void declare_errors(py::module_& m) {
  Classes& c = classes();
  const auto with = [&](PyObject* builtin) { return py::make_tuple(c.error, py::handle(builtin)); };
  c.error = make(m, "Error", py::make_tuple(py::handle(PyExc_Exception)),
                 "Base of everything that Cermet raises.");
  c.invalid_argument =
      make(m, "InvalidArgument", with(PyExc_ValueError),
           "A call that cannot be carried out as written: the message names the kernel and its "
           "label, the argument, what it got, what it needs and what to do.");
  c.file_error = make(
      m, "FileError", with(PyExc_OSError),
      "A file that cannot be read, written or understood. Nothing that existed before is lost.");
  c.device_error = make(
      m, "DeviceError", with(PyExc_RuntimeError),
      "A failure of a device: a missing or unfit one, lack of memory, or a step that went wrong. "
      "`code` is a CommandBufferError.");
  py::register_exception_translator([](std::exception_ptr problem) {
    try {
      if (problem) std::rethrow_exception(problem);
    } catch (const InvalidArgument& error) {
      PyErr_SetString(classes().invalid_argument.ptr(), error.what());
    } catch (const FileError& error) {
      PyErr_SetString(classes().file_error.ptr(), error.what());
    } catch (const DeviceError& error) {
      PyErr_SetObject(classes().device_error.ptr(), exception_object(error).ptr());
    } catch (const Error& error) {
      PyErr_SetString(classes().error.ptr(), error.what());
    }
  });
}

}  // namespace cermet::python
