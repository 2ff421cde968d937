#include "interpreter.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

namespace cermet::python {
namespace {

using namespace std::chrono_literals;

std::atomic<bool> over{false};
std::atomic<int> inside{0};     // threads that wait for the lock, or call Python with it
std::atomic<int> in_flight{0};  // committed command buffers

struct Dropped {
  std::mutex mutex;
  std::vector<PyObject*> objects;
  bool scheduled = false;
};
Dropped& dropped() {
  static auto* const one = new Dropped;  // never destroyed: threads may outlive statics
  return *one;
}

int drop_now(void*) {
  std::vector<PyObject*> objects;
  {
    const std::scoped_lock lock(dropped().mutex);
    objects.swap(dropped().objects);
    dropped().scheduled = false;
  }
  for (PyObject* object : objects) Py_DECREF(object);
  return 0;
}

/// Lets committed work and its handlers end, as long as some of it does; then nobody else gets in.
void wait_for_the_end() {
  PyThreadState* const thread = PyEval_SaveThread();
  int left = in_flight;
  auto last = std::chrono::steady_clock::now();
  while (left > 0 && std::chrono::steady_clock::now() - last < 10s) {
    std::this_thread::sleep_for(1ms);
    const int now = in_flight;
    if (now != left) last = std::chrono::steady_clock::now();
    left = now;
  }
  over = true;
  while (inside > 0) std::this_thread::sleep_for(1ms);
  PyEval_RestoreThread(thread);
}

const std::thread::id main_thread =
    std::this_thread::get_id();  // which imports the module, as a rule
bool on_main_thread() { return std::this_thread::get_id() == main_thread; }

[[noreturn]] void wait_for_ever() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

}  // namespace

Unlock::~Unlock() {
  // The thread that ends the interpreter has nothing of this on its stack.
  ++inside;
  if (over) {
    --inside;
    if (!on_main_thread()) wait_for_ever();
    PyEval_RestoreThread(thread_);
    return;
  }
  PyEval_RestoreThread(thread_);
  --inside;
}

Locked::Locked() : foreign_(false) {
  ++inside;
  if (over) {
    --inside;
    throw std::runtime_error("the Python interpreter has ended");
  }
  foreign_ = PyGILState_GetThisThreadState() == nullptr;
  lock_ = std::make_unique<py::gil_scoped_acquire>();
}

Locked::~Locked() {
  lock_.reset();
  --inside;
}

void drop(PyObject* object) noexcept {
  if (object == nullptr || over) return;
  if (PyGILState_Check() != 0) {
    Py_DECREF(object);
    return;
  }
  const std::scoped_lock lock(dropped().mutex);
  dropped().objects.push_back(object);
  if (!dropped().scheduled) dropped().scheduled = Py_AddPendingCall(drop_now, nullptr) == 0;
}

std::shared_ptr<PyObject> keep(py::handle object) {
  return {object.inc_ref().ptr(), [](PyObject* kept) { drop(kept); }};
}

std::shared_ptr<void> work_in_flight() {
  ++in_flight;
  return {nullptr, [](void*) { --in_flight; }};
}

void define_interpreter(py::module_&) {
  py::module_::import("atexit").attr("register")(py::cpp_function(wait_for_the_end));
}

}  // namespace cermet::python
