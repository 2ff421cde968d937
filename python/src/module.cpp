// The module: first all classes and enums, so that each can name the others, then their members.

#include "handwritten.h"

namespace cermet::python {
void declare_all(py::module_& m);
void define_all(py::module_& m);
}  // namespace cermet::python

PYBIND11_MODULE(cermet, m) {
  using namespace cermet::python;
  m.doc() =
      "Neural-network training kernels and graphs on CPUs and GPUs. Classes and enum cases have "
      "the names of the "
      "C++ library; methods, arguments and properties are their snake_case.";
  m.attr("__version__") = CERMET_VERSION;
  py::options options;
  options.disable_enum_members_docstring();
  declare_errors(m);
  declare_all(m);
  define_all(m);
  define_commands();
  define_arrays(m);
  define_dlpack();
  define_coder(m);
  define_interpreter(m);
}
