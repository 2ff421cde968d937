// Convolution and its data gradient with the warpgroup products of sm_90. The weights are the left
// factor: 64 rows are result channels. The columns are pixels: eight of a row of the result, for
// `rows` rows, twice (two segments). The source patch lies in shared memory as planes of four
// channels with a pixel in each 16 bytes, so that the pixels under a tap are the patch itself from
// another address on, and no instruction moves them.
//
// Two warpgroups multiply, each an item of pixels; one warp streams packed weights through a ring
// that both use; seven warps fetch, round and store the patches of the items to come.
//
// Results of up to 32 channels fill the 64 rows as well: even rows of eight have a tap, odd ones
// its right neighbour, whose products belong to the pixel on the left (`paired`). Where the last
// tap of a row has no neighbour, its place is multiplied by 0: a NaN there is seen one pixel too
// far.

#include <algorithm>
#include <cstdint>

#include "cuda/convolution_warpgroup.cuh"
#include "cuda/pooled.cuh"
#include "cuda/tensor.cuh"
#include "cuda/warpgroup.cuh"

namespace cermet::cuda {
namespace {

using namespace warpgroup_convolution;

// ---- weights

/// Weights by block of result channels, chunk and tap, in the order of a product's left factor;
/// rounded, 0 where there are none.
__global__ void pack(WarpgroupTask task, int taps, long long count, const float* weights,
                     float* packed) {
  begin_kernel();
  let_next_begin();
  const int width = task.window.kernelWidth, pairs = (width + 1) / 2;
  for (const long long i : grid_stride(count)) {
    const int in = static_cast<int>(i % stage_floats);
    const long long stage = i / stage_floats;
    const int step = static_cast<int>(stage % task.steps);
    const int number = static_cast<int>(stage / task.steps % task.chunks);
    const int tile = static_cast<int>(stage / task.steps / task.chunks);
    const int c = number * chunk + in / 256 % 8 * 4 + in % 4;  // halves of 64 rows x 4 columns
    const int row = in / 4 % side;
    int k = tile * side + row, q = step / width, p = step % width;
    if (task.paired) {
      k = tile * (side / 2) + row / 16 * 8 + row % 8;
      q = step / pairs;
      p = step % pairs * 2 + row / 8 % 2;
    }
    float value = 0;
    if (p < width && k < task.result.channels && c < task.source.channels) {
      const int tap = q * width + p;
      const long long at =
          task.turned
              ? (static_cast<long long>(c) * taps + taps - 1 - tap) * task.result.channels + k
              : (static_cast<long long>(k) * taps + tap) * task.source.channels + c;
      value = to_tf32(weights[at]);
    }
    packed[i] = value;
  }
}

// ---- products

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// Takes the sums of a warpgroup to the result, by way of the patch that it has done with.
template <int rows, Kind kind>
struct Results {
  static constexpr bool pooled = kind == Kind::pooled_result;
  static constexpr int across = pooled ? segment / 2 : segment;  // pixels
  static constexpr int pixels = (pooled ? rows / 2 : rows) * across;
  static constexpr int padding = pooled ? 8 : 4;  // lanes of a warp write to different banks
  const WarpgroupTask& task;
  const ConvolutionPointers& pointers;
  float* staged;
  float2 biases;  // of the channels that this thread stages
  int group, warp, lane;

  [[nodiscard]] __device__ int channels() const { return task.paired ? side / 2 : side; }
  [[nodiscard]] __device__ int pitch() const { return channels() + padding; }
  [[nodiscard]] __device__ unsigned char* winners() const {
    return reinterpret_cast<unsigned char*>(staged + pixels * pitch());
  }
  __device__ void meet() const {
    asm volatile("bar.sync %0, %1;" ::"r"(group + 1), "n"(group_threads) : "memory");
  }

  /// `sums`: of each segment four for each row: two channels (or taps) x two pixels. Both take the
  /// same instructions: those that were never run take longest.
  __device__ void store(const Corner& corner, const float (&sums)[2][rows * 4]) const {
#pragma unroll 1
    for (int s = 0; s < 2; ++s) {
      const int image = corner.image + (task.second == 0 ? s : 0);
      if (image >= task.images) return;
      float own[rows * 4];
#pragma unroll
      for (int i = 0; i < rows * 4; ++i) own[i] = s == 0 ? sums[0][i] : sums[1][i];
      meet();
      if (!pooled && task.paired) {
        stage_paired(own);
      } else {
        stage(own);
      }
      meet();
      write(image, corner.y, corner.x + s * task.second);
    }
  }
  __device__ void stage(const float (&sums)[rows * 4]) const {
    const int t = lane % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int channel = warp * 16 + half * 8 + lane / 4;
      const float bias = half == 0 ? biases.x : biases.y;
      float* to = staged + channel;
#pragma unroll
      for (int row = 0; row < rows; ++row) {
        const float* two = sums + row * 4 + half * 2;
        if constexpr (!pooled) {
          put(to + (row * across + 2 * t) * pitch(), two[0] + bias);
          put(to + (row * across + 2 * t + 1) * pitch(), two[1] + bias);
        } else if (row % 2 == 0 && row + 1 < rows) {
          const int pixel = row / 2 * across + t;
          to[pixel * pitch()] = pool_window(two[0] + bias, two[1] + bias, two[4] + bias,
                                            two[5] + bias, winners()[pixel * side + channel]);
        }
      }
    }
  }
  /// Adds the products of the right taps to the pixels on their left.
  __device__ void stage_paired(const float (&sums)[rows * 4]) const {
    const int t = lane % 4, channel = warp * 8 + lane / 4;
    const float bias = biases.x;
    float* to = staged + channel;
#pragma unroll
    for (int row = 0; row < rows; ++row) {
      const float* four = sums + row * 4;
      const float right = __shfl_down_sync(0xFFFFFFFFU, four[2], 1);  // of the next lane
      put(to + (row * across + 2 * t) * pitch(), four[0] + four[3] + bias);
      put(to + (row * across + 2 * t + 1) * pitch(), four[1] + right + bias);
    }
  }
  __device__ void put(float* to, float value) const {
    *to = value >= 0.0F ? value : task.slope * value;
  }
  /// `y`, `x`: before pooling.
  __device__ void write(int image, int y, int x) const {
    const int fours = channels() / 4, thread = warp * 32 + lane;
    const int four = thread % fours * 4, first = thread / fours, step = group_threads / fours;
    const int channel = static_cast<int>(blockIdx.y) * channels() + four;
    if (channel >= task.result.channels) return;
    const bool aligned = is_aligned(pointers.result);
    const int last = task.paired ? across - 1 : across;
    if (pooled) {
      y /= 2;
      x /= 2;
    }
    float* const to = pointers.result + task.result.at(image, y, x) + channel;
    unsigned char* const to_winners =
        pointers.winners + task.result.pixel(image, y, x) * task.result.channels + channel;
    constexpr int together = 4;  // pixels under way
    for (int begin = first; begin < pixels; begin += together * step) {
      float4 values[together];
      uchar4 won[together];
#pragma unroll
      for (int i = 0; i < together; ++i) {
        const int pixel = min(begin + i * step, pixels - 1);
        values[i] = *reinterpret_cast<const float4*>(staged + pixel * pitch() + four);
        if (pooled) won[i] = *reinterpret_cast<const uchar4*>(winners() + pixel * side + four);
      }
#pragma unroll
      for (int i = 0; i < together; ++i) {
        const int pixel = begin + i * step, row = pixel / across, column = pixel % across;
        if (pixel >= pixels || column >= last || !task.result.has(y + row, x + column)) continue;
        float* const four_of = to + row * task.result.row + column * task.result.column;
        if (aligned) {
          *reinterpret_cast<float4*>(four_of) = values[i];
        } else {
          four_of[0] = values[i].x;
          four_of[1] = values[i].y;
          four_of[2] = values[i].z;
          four_of[3] = values[i].w;
        }
        if (pooled && pointers.winners != nullptr) {
          *reinterpret_cast<uchar4*>(to_winners +
                                     static_cast<long long>(row * task.result.width + column) *
                                         task.result.channels) = won[i];
        }
      }
    }
  }
};

/// Of the two channels that a thread stages (Results), or of the one.
__device__ inline float2 biases_of(const WarpgroupTask& task, const float* biases, int warp,
                                   int lane) {
  const auto of = [&](int channel) {
    return biases != nullptr && channel < task.result.channels ? biases[channel] : 0.0F;
  };
  const int of_warp = task.paired ? 8 : 16;
  const int first =
      static_cast<int>(blockIdx.y) * (side / 16) * of_warp + warp * of_warp + lane / 4;
  return {of(first), task.paired ? 0.0F : of(first + 8)};
}

template <int rows, Kind kind>
__device__ void multiply_items(const WarpgroupTask& task, const Shared& shared,
                               const ConvolutionPointers& pointers, int warp) {
  const int group = warp / 4, lane = static_cast<int>(threadIdx.x) % 32;
  const unsigned second = task.second == 0
                              ? static_cast<unsigned>(task.patch_height * task.patch_width)
                              : static_cast<unsigned>(task.second);
  const unsigned across = 2 * static_cast<unsigned>(task.plane);
  const Rounds rounds(task);
  const float2 biases = biases_of(task, pointers.biases, warp % 4, lane);
  int stage = 0;
  unsigned phase = 0;
  const auto next_stage = [&] {
    if (++stage == task.stages) {
      stage = 0;
      phase ^= 1;
    }
  };
  const auto release = [&](int which) { arrive(shared.stage_empty(which), lane == 0); };
  for (int round = 0; round < rounds.count; ++round) {
    const int item = Rounds::item(round, group);
    if (item >= task.items) {
      for (int i = task.chunks * task.steps; i > 0; --i) {
        wait(shared.stage_full(stage), phase);
        release(stage);
        next_stage();
      }
      continue;
    }
    float sums[2][rows * 4];
    unsigned more = 0;
    int patch = 0, before = 0;
    for (int turn = 0; turn < task.chunks; ++turn) {
      const int use = round * task.chunks + turn;
      if (turn > 0) arrive(shared.patch_empty(patch), lane == 0);
      patch = shared.patch_of(group, use);
      wait(shared.patch_full(patch), shared.phase_of(use));
      const unsigned pixels =
          low_of(shared.patches + static_cast<unsigned>(patch) *
                                      static_cast<unsigned>(shared.patch_fours) *
                                      static_cast<unsigned>(sizeof(float4)),
                 task.plane);
      int step = rounds.first_step;
      for (int i = 0; i < task.steps; ++i) {
        wait(shared.stage_full(stage), phase);
        unsigned tap = pixels + task.offsets[step];
        unsigned weights = low_of(shared.ring + static_cast<unsigned>(stage) * stage_bytes, side);
        begin_products();
#pragma unroll
        for (int k = 0; k < chunk / 8; ++k) {
          Product<rows * segment>::add(sums[0], matrix_at(weights, segment),
                                       matrix_at(tap, task.patch_width), more);
          Product<rows * segment>::add(sums[1], matrix_at(weights, segment),
                                       matrix_at(tap + second, task.patch_width), more);
          more = 1;
          weights += 2 * side;
          tap += across;
        }
        commit_products();
        wait_for_products<1>();
        if (i > 0) release(before);
        before = stage;
        next_stage();
        if (++step == task.steps) step = 0;
      }
      wait_for_products<0>();
      release(before);
    }
#pragma unroll
    for (int i = 0; i < rows * 4; ++i)  // no use of the sums moves up from here
      asm volatile("" : "+f"(sums[0][i]), "+f"(sums[1][i])::"memory");
    const Results<rows, kind> results{
        task,
        pointers,
        reinterpret_cast<float*>(shared.patch_memory + patch * shared.patch_fours),
        biases,
        group,
        warp % 4,
        lane};
    const Corner corner = corner_of(task, item);
    results.store(corner, sums);
    results.meet();
    arrive(shared.patch_empty(patch), lane == 0);
  }
}

#endif

template <int rows, Kind kind>
__global__ void __launch_bounds__(threads, 1)
    multiply(WarpgroupTask task, ConvolutionPointers pointers, const float* packed) {
  begin_beside_previous();
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  const Shared shared(task, shared_memory());
  if (threadIdx.x == 0) shared.set_up_barriers();
  __syncthreads();
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  // The compiler must see that a warp takes one path, else it makes every product wait.
  const int warp = __shfl_sync(0xFFFFFFFFU, thread / 32, 0);
  constexpr int helper_warps = helpers * group_threads / 32;
  if (warp >= helper_warps) {
    limit_registers<other_registers, true>();
    multiply_items<rows, kind>(task, shared, pointers, warp - helper_warps);
    return;
  }
  limit_registers<helper_registers, false>();
  if (warp > 0) {
    const int number = warp - 1, quad = lane % quads, first = lane / quads;
    if (is_aligned(pointers.source)) {
      Loader<kind, true>{task, shared, pointers, number, quad, first}.load_all();
    } else {
      Loader<kind, false>{task, shared, pointers, number, quad, first}.load_all();
    }
  } else if (lane == 0) {
    wait_for_previous();  // it packs the weights
    feed_weights(task, shared, packed);
  }
#endif
}

using Kernel = void (*)(WarpgroupTask, ConvolutionPointers, const float*);
template <Kind kind>
Kernel kernel_for(int rows) {
  switch (rows) {
    case 7:
      return kind == Kind::pooled_result ? nullptr : &multiply<7, kind>;
    case 8:
      return &multiply<8, kind>;
    case 14:
      return &multiply<14, kind>;
    case 16:
      return &multiply<16, kind>;
    default:
      return nullptr;
  }
}
Kernel kernel_for(Kind kind, int rows) {
  switch (kind) {
    case Kind::plain:
      return kernel_for<Kind::plain>(rows);
    case Kind::pooled_result:
      return kernel_for<Kind::pooled_result>(rows);
    case Kind::pooled_source:
      return kernel_for<Kind::pooled_source>(rows);
  }
  return nullptr;
}

/// The task with items of `rows` rows; no steps: it cannot be done.
WarpgroupTask task_of(const ConvolutionProblem& problem, int rows) {
  const Window& w = problem.window;
  WarpgroupTask task;
  task.kind = problem.kind;
  task.window = w;
  task.source = Grid(problem.source);
  task.result = Grid(problem.result);
  task.images = problem.result.n;
  task.slope = problem.slope;
  task.turned = problem.turned;
  task.paired = problem.kind != Kind::pooled_result && problem.result.c <= side / 2 &&
                w.kernelWidth > 1 && w.dilationX == 1;
  const int usable = task.paired ? segment - 1 : segment;  // pixels of a segment
  task.width = problem.width();
  task.rows = rows;
  task.down = divide_up(problem.height(), rows);
  if (task.width <= usable) {
    task.columns = usable;
    task.patch_images = 2;
  } else {
    // A narrow rest is covered twice rather than beyond the edge.
    task.columns = 2 * usable;
    task.across = divide_up(task.width, task.columns);
    task.second = usable;
    if (task.across == 1 && !task.paired) task.second = (task.width + 1) / 2 * 2 - segment;
  }
  task.items = divide_up(task.images, task.patch_images) * task.down * task.across;
  task.patch_height = rows + (w.kernelHeight - 1) * w.dilationY;
  task.patch_width = task.second + segment + (w.kernelWidth - 1) * w.dilationX +
                     (task.paired && w.kernelWidth % 2 != 0 ? 1 : 0);
  const int staged = rows * segment * (side + 4);  // floats that Results needs
  task.plane =
      std::max(task.patch_images * task.patch_height * task.patch_width, divide_up(staged, chunk)) |
      1;  // odd: the quads of a pixel lie in different banks
  const int in_row = task.paired ? divide_up(w.kernelWidth, 2) : w.kernelWidth;
  task.steps = w.kernelHeight * in_row;
  if (task.steps > WarpgroupTask::most_steps) return {};
  for (int step = 0; step < task.steps; ++step) {
    task.offsets[step] = static_cast<unsigned>(step / in_row * w.dilationY * task.patch_width +
                                               step % in_row * w.dilationX * (task.paired ? 2 : 1));
  }
  task.chunks = divide_up(problem.source.c, chunk);
  task.by_across = Divisor(task.across);
  task.by_down = Divisor(task.down);
  task.by_patch_height = Divisor(task.patch_height);
  task.by_pooled_width = Divisor(task.patch_width / 2 + 1);
  task.by_pooled_height = Divisor(task.patch_height / 2 + 1);
  // Two patches for each warpgroup rather than many stages.
  for (task.patches = 2 * groups; task.patches >= groups; task.patches -= groups) {
    for (task.stages = most_stages; task.stages >= fewest_stages; --task.stages) {
      if (shared_bytes(task) <= most_warpgroup_bytes) return task;
    }
  }
  task.steps = 0;  // it does not fit
  return task;
}

}  // namespace

std::optional<WarpgroupConvolution> WarpgroupConvolution::of(const ConvolutionProblem& problem,
                                                             const Engine& engine) {
  const Window& w = problem.window;
  if (engine.architecture() != warpgroup_architecture || w.strideX != 1 || w.strideY != 1)
    return std::nullopt;
  std::optional<WarpgroupConvolution> best;
  int cost = 0;
  for (const int rows : {7, 8, 14, 16}) {
    if (kernel_for(problem.kind, rows) == nullptr) continue;
    WarpgroupConvolution one;
    one.task_ = task_of(problem, rows);
    one.multiprocessors_ = engine.multiprocessors();
    if (one.task_.steps == 0) continue;
    constexpr int overhead = 2;  // rows that the beginning and the end of an item take
    const int at_once = std::max(1, one.multiprocessors_ / one.tiles());
    const int now = divide_up(one.task_.items, at_once) * (rows + overhead);
    if (best && now >= cost) continue;
    best = one;
    cost = now;
  }
  return best;
}

int WarpgroupConvolution::tiles() const {
  return divide_up(task_.result.channels, task_.paired ? side / 2 : side);
}

long long WarpgroupConvolution::packed_floats() const {
  return static_cast<long long>(tiles()) * task_.chunks * task_.steps * stage_floats;
}

std::size_t WarpgroupConvolution::scratch_bytes() const {
  return static_cast<std::size_t>(packed_floats()) * sizeof(float);
}

void WarpgroupConvolution::operator()(const Args& args, const ConvolutionPointers& pointers) const {
  auto* packed = static_cast<float*>(args.scratch);
  const Window& w = task_.window;
  launch(args, packed_floats(), pack, task_, w.kernelWidth * w.kernelHeight, packed_floats(),
         pointers.weights, packed);
  const int blocks = std::min(task_.items, std::max(1, multiprocessors_ / tiles()));
  launch_with(args, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(tiles())), threads,
              shared_bytes(task_), kernel_for(task_.kind, task_.rows), task_, pointers, packed);
}

}  // namespace cermet::cuda
