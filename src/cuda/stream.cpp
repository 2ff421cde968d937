#include "cuda/stream.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "cermet/core/error.h"
#include "cuda/branches.h"
#include "cuda/chains.h"
#include "cuda/cudnn.h"
#include "cuda/joining.h"
#include "cuda/pointwise.h"
#include "cuda/scalars.h"

namespace cermet::cuda {
namespace {

constexpr std::size_t fewest_runs = 3;   // shorter lists gain nothing
constexpr std::size_t most_lists = 128;  // each step in flight has results of its own
// Events of a capture: where streams part, where the scalars are written, where streams meet again,
// and ends of launches.
enum Fork : std::size_t { begin_fork, scalars_fork, end_fork, first_fork };
constexpr std::size_t key_bytes = offsetof(StepRun, scalars);

}  // namespace

/// A list of steps, and the graph that stands for it.
struct CudaStream::Captured {
  std::size_t hash = 0;
  std::vector<StepRun> runs;
  std::vector<std::shared_ptr<const Step>> steps;  // so that no other takes the address of one
  cudaGraphExec_t graph = nullptr;
  std::byte* scalars = nullptr;      // those of `runs`, on the device
  cudaGraph_t source = nullptr;      // of `graph`
  cudaGraphNode_t writer = nullptr;  // its node that writes the scalars; null: a copy does
  bool hopeless = false;

  Captured() = default;
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;
  ~Captured() {
    if (scalars != nullptr) static_cast<void>(cudaFree(scalars));  // waits for the work
    if (graph != nullptr) static_cast<void>(cudaGraphExecDestroy(graph));
    if (source != nullptr) static_cast<void>(cudaGraphDestroy(source));
  }
  [[nodiscard]] bool is(std::size_t of, std::span<const StepRun> list) const {
    return hash == of && std::equal(runs.begin(), runs.end(), list.begin(), list.end(),
                                    [](const StepRun& a, const StepRun& b) {
                                      return std::memcmp(&a, &b, key_bytes) == 0;
                                    });
  }
};

CudaStream::CudaStream(int device) : device_(device) {
  check(cudaSetDevice(device), "cudaSetDevice");
  int major = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
        "cudaDeviceGetAttribute");
  overlaps_kernels_ = major >= 9;
  int least = 0, greatest = 0;  // of priorities
  check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
  check(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, greatest),
        "cudaStreamCreate");
  check(cudaStreamCreateWithPriority(&aside_, cudaStreamNonBlocking, least), "cudaStreamCreate");
  current_ = stream_;
  for (cudaEvent_t& event : events_)
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
}

CudaStream::~CudaStream() {
  static_cast<void>(cudaSetDevice(device_));
  for (cudaEvent_t event : events_) static_cast<void>(cudaEventDestroy(event));
  for (cudaEvent_t event : forks_) static_cast<void>(cudaEventDestroy(event));
  static_cast<void>(cudaStreamDestroy(stream_));
  static_cast<void>(cudaStreamDestroy(aside_));
}

// ---- lists of steps

void CudaStream::run(std::span<const StepRun> runs) {
  if (runs.size() < fewest_runs) {
    Stream::run(runs);
    return;
  }
  Captured& list = find(runs);
  if (list.steps.empty()) {  // seen for the first time
    for (const StepRun& run : runs) list.steps.push_back(run.step->shared_from_this());
    Stream::run(runs);
    return;
  }
  if (list.graph == nullptr && (list.hopeless || !capture(list, runs))) {
    list.hopeless = true;
    Stream::run(runs);
    return;
  }
  replay(list, runs);
}

CudaStream::Captured& CudaStream::find(std::span<const StepRun> runs) {
  std::size_t hash = 14695981039346656037U;
  for (const StepRun& run : runs) {
    const auto mix = [&](const void* pointer) {
      hash = (hash ^ reinterpret_cast<std::uintptr_t>(pointer)) * 1099511628211U;
    };
    mix(run.step);
    for (std::size_t slot = 0; slot < run.step->slots.size(); ++slot) mix(run.slots[slot]);
  }
  const auto found = std::find_if(lists_.begin(), lists_.end(),
                                  [&](const Captured& list) { return list.is(hash, runs); });
  if (found != lists_.end()) {
    lists_.splice(lists_.begin(), lists_, found);
    return lists_.front();
  }
  if (lists_.size() == most_lists) lists_.pop_back();
  Captured& fresh = lists_.emplace_front();
  fresh.hash = hash;
  fresh.runs.assign(runs.begin(), runs.end());
  return fresh;
}

bool CudaStream::capture(Captured& list, std::span<const StepRun> runs) {
  const std::size_t bytes = runs.size() * max_scalar_bytes;
  if (cudaMalloc(reinterpret_cast<void**>(&list.scalars), bytes) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return false;
  }
  capturing_ = &list;
  being_captured_ = runs;
  const bool made = capture_into(list);
  capturing_ = nullptr;
  if (!made) return false;
  for (StepRun& run : list.runs) run.scalars.fill(std::byte{0xFF});  // on the device there are none
  return true;
}

bool CudaStream::capture_into(Captured& list) {
  if (cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return false;
  }
  run_in_branches(list);
  cudaGraph_t graph = nullptr;
  const bool ended = cudaStreamEndCapture(stream_, &graph) == cudaSuccess && graph != nullptr;
  const bool made = ended && cudaGraphInstantiate(&list.graph, graph, 0) == cudaSuccess;
  static_cast<void>(cudaGetLastError());
  if (made) {
    list.source = graph;
    return true;
  }
  if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
  list.graph = nullptr;
  list.writer = nullptr;
  const std::scoped_lock lock(mutex_);  // steps complain of a capture that they break
  if (failed_mark_ == marks_) failure_ = cudaSuccess;
  return false;
}

void CudaStream::mark_as(std::size_t number) {
  while (forks_.size() <= number) {
    cudaEvent_t& event = forks_.emplace_back(nullptr);
    note(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
  }
  note(cudaEventRecord(forks_[number], current_), "an event");
}
void CudaStream::follow_fork(std::size_t number) {
  note(cudaStreamWaitEvent(current_, forks_[number], 0), "a wait");
  waits_ = true;
}

/// Runs what is captured, with fewer launches than runs: those that the longest chain need not wait
/// for on the other stream, where the scalars are written first.
void CudaStream::run_in_branches(Captured& list) {
  std::vector<std::vector<std::size_t>> launches = launches_of(being_captured_);
  join_chains(being_captured_, launches);
  std::vector<RunMemory> memory(launches.size());
  for (std::size_t i = 0; i < launches.size(); ++i) {
    for (const std::size_t run : launches[i]) memory[i].add(RunMemory(being_captured_[run]));
  }
  const std::vector<Place> places = places_of(memory);
  std::vector<bool> awaited(launches.size(), false);
  for (const Place& place : places) {
    if (place.waits_for) awaited[*place.waits_for] = true;
  }
  scalars_ = Scalars::to_be_written;
  waits_ = false;  // a graph follows all that is enqueued before it
  if (list.runs.size() * max_scalar_bytes > ScalarBlock::size) scalars_ = Scalars::followed;
  bool forked = false;
  for (const Place& place : places) {
    current_ = place.aside ? aside_ : stream_;
    if (place.aside && !forked) fork(list);
    forked = forked || place.aside;
    if (place.waits_for) follow_fork(first_fork + *place.waits_for);
    launch(launches[place.launch]);
    if (awaited[place.launch]) mark_as(first_fork + place.launch);
    if (!forked) fork(list);  // a graph with one root begins sooner
    forked = true;
    waits_ = false;
  }
  current_ = aside_;
  mark_as(end_fork);
  current_ = stream_;
  follow_fork(end_fork);
  waits_ = false;
}

/// The second stream begins here, with the scalars.
void CudaStream::fork(Captured& list) {
  cudaStream_t const back = current_;
  current_ = stream_;
  mark_as(begin_fork);
  current_ = aside_;
  follow_fork(begin_fork);
  if (scalars_ == Scalars::to_be_written) write_scalars_of(list);
  current_ = back;
}

void CudaStream::write_scalars_of(Captured& list) {
  write_scalars(*this, {}, list.scalars, list.runs.size() * max_scalar_bytes);
  const cudaGraphNode_t* node = nullptr;
  std::size_t count = 0;
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  if (cudaStreamGetCaptureInfo(current_, &status, nullptr, nullptr, &node, nullptr, &count) ==
          cudaSuccess &&
      count == 1)
    list.writer = *node;
  mark_as(scalars_fork);
  scalars_ = current_ == stream_ ? Scalars::followed : Scalars::written_aside;
}

/// Enqueues these runs as one. What reads the scalars of a run finds them by its address, so these
/// are the runs that are captured.
void CudaStream::launch(const std::vector<std::size_t>& together) {
  const StepRun& first = being_captured_[together.front()];
  if (together.size() == 1) {
    first.step->run(first.slots, first.scratch, first.scalars.data(), *this);
    return;
  }
  std::vector<const StepRun*> runs;
  runs.reserve(together.size());
  for (const std::size_t i : together) runs.push_back(&being_captured_[i]);
  if (const auto* joinable = dynamic_cast<const Joinable*>(first.step)) {
    joinable->launch_joined(runs, *this);
  } else {
    launch_chain(runs, *this);
  }
}

void CudaStream::replay(Captured& list, std::span<const StepRun> runs) {
  bool differs = false;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (list.runs[i].scalars == runs[i].scalars) continue;
    list.runs[i].scalars = runs[i].scalars;
    differs = true;
  }
  if (differs) {
    block_.clear();
    for (const StepRun& run : runs)
      block_.insert(block_.end(), run.scalars.begin(), run.scalars.end());
    if (list.writer != nullptr) {
      ScalarBlock scalars{};
      std::copy(block_.begin(), block_.end(), scalars.bytes);
      note(change_scalars(list.graph, list.writer, scalars, list.scalars, block_.size()),
           "a change of scalars");
    } else {  // the driver has copied pageable memory when it returns
      note(cudaMemcpyAsync(list.scalars, block_.data(), block_.size(), cudaMemcpyHostToDevice,
                           stream_),
           "a copy of scalars");
    }
  }
  note(cudaGraphLaunch(list.graph, stream_), "a graph launch");
}

const void* CudaStream::scalars_on_device(const void* scalars) {
  if (capturing_ == nullptr || scalars == nullptr) return nullptr;
  if (scalars_ == Scalars::to_be_written) write_scalars_of(*capturing_);
  if (current_ == stream_ && std::exchange(scalars_, Scalars::followed) == Scalars::written_aside)
    follow_fork(scalars_fork);
  const auto* at = static_cast<const std::byte*>(scalars);
  const auto* first = reinterpret_cast<const std::byte*>(being_captured_.data());
  const auto number = static_cast<std::size_t>(at - first) / sizeof(StepRun);
  return capturing_->scalars + number * max_scalar_bytes;
}

void CudaStream::run(const CudnnPlan& plan, CudnnBinding& binding,
                     const std::array<void*, 3>& addresses, void* workspace) noexcept {
  try {
    if (!cudnn_) cudnn_ = std::make_shared<CudnnHandle>();
    cudnn_->enqueue_on(current_);
    plan.run(*cudnn_, binding, addresses, workspace);
  } catch (const std::exception& problem) {
    fail(cudaErrorUnknown, problem.what());
  }
}

// ---- progress and failure

std::uint64_t CudaStream::mark() {
  // An event that is used again belonged to work which `wait` must have seen the end of.
  cudaEvent_t event = events_[marks_ % most_in_flight];
  if (marks_ >= most_in_flight) note(cudaEventSynchronize(event), "a step");
  note(cudaEventRecord(event, stream_), "an event");
  waits_ = false;
  return marks_++;
}

void CudaStream::follow(Stream& other, std::uint64_t mark) {
  // The other thread may have used the event again, for a later mark: then the work of this one is
  // done. To wait for the later one is safe, if longer: it is enqueued already, and work follows
  // only what was enqueued before it, so it cannot wait for what is enqueued here from now on.
  const CudaStream& first = static_cast<CudaStream&>(other);
  note(cudaStreamWaitEvent(stream_, first.events_[mark % most_in_flight], 0), "a wait");
  waits_ = true;
}

void CudaStream::wait(std::uint64_t mark) {
  check(cudaSetDevice(device_), "cudaSetDevice");
  check(cudaEventSynchronize(events_[mark % most_in_flight]), "a step");
  const std::scoped_lock lock(mutex_);
  if (failure_ != cudaSuccess && mark >= failed_mark_)
    check(std::exchange(failure_, cudaSuccess), failed_);
}

void CudaStream::fail(cudaError_t code, std::string what) {
  const std::scoped_lock lock(mutex_);
  if (failure_ != cudaSuccess) return;
  failure_ = code;
  failed_ = std::move(what);
  failed_mark_ = marks_;
}

void CudaStream::copy(void* to, const void* from, std::size_t bytes) {
  note(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_), "a copy");
}

}  // namespace cermet::cuda
