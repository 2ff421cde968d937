#pragma once
// The interpreter's lock, objects that threads without it own, and the end of the interpreter.

#include <memory>
#include <stdexcept>

#include "traits.h"

namespace cermet::python {

/// Gives the interpreter's lock back while the library works, so that other Python threads run. A
/// thread that wants it again after the end of the interpreter stays here for ever: Python would
/// end it, and C++ cannot be unwound so.
class Unlock {
 public:
  Unlock() : thread_(PyEval_SaveThread()) {}
  ~Unlock();
  Unlock(const Unlock&) = delete;
  Unlock& operator=(const Unlock&) = delete;

 private:
  PyThreadState* thread_;
};
using Unlocked = py::call_guard<Unlock>;

/// Holds the interpreter's lock, from any thread. Throws once the interpreter has come to its end:
/// a thread of the library must not wait for a lock that nobody gives back.
class Locked {
 public:
  Locked();
  ~Locked();
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  /// Whether the thread is the library's: an exception of Python would outlive its lock there.
  [[nodiscard]] bool on_foreign_thread() const { return foreign_; }

 private:
  bool foreign_;
  std::unique_ptr<py::gil_scoped_acquire> lock_;
};

/// Gives up one reference. Without the lock the main thread does it later, so that no thread of the
/// library ever waits for the lock just to forget something.
void drop(PyObject* object) noexcept;

/// Keeps a Python object from C++, on any thread.
[[nodiscard]] std::shared_ptr<PyObject> keep(py::handle object);

/// Runs `f` with the lock; exceptions of Python leave a thread of the library as text.
template <class F>
auto locked(F&& f) {
  const Locked lock;
  try {
    return f();
  } catch (py::error_already_set& problem) {
    if (!lock.on_foreign_thread()) throw;
    const std::string text = problem.what();
    throw std::runtime_error(text);
  }
}

/// Counts as work that the interpreter waits for at its end, as long as the pointer lives.
[[nodiscard]] std::shared_ptr<void> work_in_flight();

void define_interpreter(py::module_& m);

}  // namespace cermet::python
