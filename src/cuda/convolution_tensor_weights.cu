// Weight gradient of a convolution on tensor cores. A block has the products of 64 gradient
// channels with 32 source channels under a few taps, and sums them over its share of the boxes of
// pixels; a second kernel adds the shares in order.

#include <type_traits>

#include "cuda/convolution_tensor.h"
#include "cuda/convolution_warpgroup.h"
#include "cuda/tensor.cuh"
#include "cuda/tensor_core.cuh"

namespace cermet::cuda {
namespace {

constexpr int threads = 256;
constexpr int outputs = 64, inputs = 32;                             // channels of a block
constexpr int together = 5;                                          // taps of a block
constexpr int output_pitch = outputs + 8, input_pitch = inputs + 8;  // rows in other banks

struct Task {
  Boxes boxes;  // their patches have the rows of one group of taps
  Window window{};
  Grid source, gradient;  // the gradient may be the pooled one
  int taps = 1, groups = 1, chunks = 1, shares = 1;
  Divisor by_half_height;
  bool biased = false;

  [[nodiscard]] __host__ __device__ int patch_floats() const {
    return boxes.patch_pixels() * input_pitch;
  }
  /// Floats of what is fetched of the gradient for a box: pooled, or as it is.
  [[nodiscard]] __host__ __device__ int pooled_pixels() const {
    return boxes.box_images * (boxes.box_height / 2) * (boxes.box_width / 2);
  }
  /// Of one share: weights, then biases.
  [[nodiscard]] __host__ __device__ long long sums() const {
    return static_cast<long long>(gradient.channels) * taps * source.channels +
           (biased ? gradient.channels : 0);
  }
};

struct Pointers {
  const float* gradient;
  const unsigned char* winners;  // of a pooled gradient
  const float* source;
  float* sums;  // a share after the other
};

constexpr int tile_floats = Boxes::slots * output_pitch;

/// A pixel that is fetched for every box: where it lies from the corner of the box, in the tensor
/// and in shared memory.
struct Item {
  int place;   // image, y and x, 10 bits each
  int from;    // floats in the tensor
  int winner;  // of a pooled gradient: bytes
  int to;      // floats in shared memory; of a pooled gradient: in the tile
};
__device__ inline Item item_at(const Slot& at, int from, int winner, int to) {
  return {at.image << 20 | at.y << 10 | at.x, from, winner, to};
}
/// Whether it is a pixel of the tensor.
__device__ inline bool exists(const Item& item, const Grid& grid, int images, int top, int left) {
  return (item.place >> 20) < images &&
         grid.has(top + (item.place >> 10 & 1023), left + (item.place & 1023));
}

template <bool pooled>
std::size_t shared_bytes(const Task& task) {
  const std::size_t floats =
      static_cast<std::size_t>(2 * task.patch_floats()) + (pooled ? 1 : 2) * tile_floats;
  const std::size_t staged =
      pooled ? static_cast<std::size_t>(2 * task.pooled_pixels() * outputs) * (sizeof(float) + 1)
             : 0;
  const auto items = static_cast<std::size_t>(task.boxes.patch_count() + Boxes::slots);
  return floats * sizeof(float) + staged + items * sizeof(Item) + Boxes::slots * sizeof(int);
}

/// `in_row`: the taps of a block lie next to each other.
template <bool pooled, bool in_row>
__global__ void __launch_bounds__(threads) weigh(Task task, Pointers pointers) {
  begin_kernel();
  extern __shared__ float4 memory[];
  const Boxes& boxes = task.boxes;
  const Window& window = task.window;
  auto* const patches = reinterpret_cast<float*>(memory);
  float* const tiles = patches + 2 * task.patch_floats();
  float* const staged = tiles + (pooled ? 1 : 2) * tile_floats;
  const int staged_floats = pooled ? task.pooled_pixels() * outputs : 0;
  auto* const staged_winners = reinterpret_cast<unsigned char*>(staged + 2 * staged_floats);
  auto* const patch_items = reinterpret_cast<Item*>(staged_winners + 2 * staged_floats);
  Item* const gradient_items = patch_items + boxes.patch_count();
  int* const bases = reinterpret_cast<int*>(gradient_items + Boxes::slots);

  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int g = lane / 4, t = lane % 4, warp_k = warp / 4, warp_c = warp % 4;
  const int share = static_cast<int>(blockIdx.x);
  const int group = static_cast<int>(blockIdx.y) % task.groups,
            first_c = static_cast<int>(blockIdx.y) / task.groups * inputs;
  const int first_k = static_cast<int>(blockIdx.z) * outputs;
  const int first_tap = group * together, first_row = first_tap / window.kernelWidth;
  const bool aligned = is_aligned(pointers.gradient) && is_aligned(pointers.source);

  constexpr int pixel_bytes = input_pitch * static_cast<int>(sizeof(float));
  int shifts[together];  // in bytes
#pragma unroll
  for (int j = 0; j < together; ++j) {
    const int tap = min(first_tap + j, task.taps - 1);
    const int pixel =
        (tap / window.kernelWidth - first_row) * window.dilationY * boxes.patch_pitch +
        tap % window.kernelWidth * window.dilationX;
    shifts[j] = (pixel * input_pitch + warp_c * 8 + g) * static_cast<int>(sizeof(float));
  }
  const int steps = (boxes.used() + 7) / 8;
  for (int i = thread; i < steps * 8; i += threads) {
    const Slot slot = slot_of(boxes, i);
    const int pixel =
        patch_pixel(boxes, {slot.image, slot.y * window.strideY, slot.x * window.strideX});
    bases[i] = i < boxes.used() ? pixel * input_pitch * static_cast<int>(sizeof(float)) : 0;
  }
  for (int i = thread; i < boxes.patch_count(); i += threads) {
    const Slot at = patch_slot_of(boxes, i);
    patch_items[i] = item_at(at, static_cast<int>(task.source.at(at.image, at.y, at.x)), 0,
                             patch_pixel(boxes, at) * input_pitch);
  }
  const int gradient_count = pooled ? task.pooled_pixels() : boxes.used();
  for (int i = thread; i < gradient_count; i += threads) {
    Slot at = slot_of(boxes, i);
    int tile = i;
    if constexpr (pooled) {
      const auto [row, x] = divide(i, boxes.by_half_width);
      const auto [image, y] = divide(row, task.by_half_height);
      at = {image, y, x};
      tile = 2 * row * boxes.box_width + 2 * x;  // rows of windows are two rows of pixels apart
    }
    gradient_items[i] = item_at(
        at, static_cast<int>(task.gradient.at(at.image, at.y, at.x)),
        static_cast<int>(task.gradient.pixel(at.image, at.y, at.x)) * task.gradient.channels,
        tile * output_pitch);
  }
  for (int i = thread; i < (pooled ? 1 : 2) * tile_floats; i += threads) tiles[i] = 0;
  __syncthreads();

  // Threads share pixels out so that each has always the same four channels.
  constexpr int quads = outputs / 4, quad_step = threads / quads;
  constexpr int parts = inputs / 4, part_step = threads / parts;
  const int quad = thread % quads * 4, part = thread % parts * 4;
  const int k = first_k + quad, c = first_c + part;
  const bool k_in = k < task.gradient.channels, c_in = c < task.source.channels;
  const auto fetch_as = [&]<bool aligned>(std::bool_constant<aligned>, int box, int buffer) {
    const Corner corner = corner_of(boxes, box);
    const int images = boxes.count - corner.image;
    constexpr int halves = pooled ? 2 : 1;
    const int y = corner.y / halves, x = corner.x / halves;
    const float* from = pointers.gradient + task.gradient.at(corner.image, y, x) + k;
    if constexpr (pooled) {
      float* to = staged + buffer * staged_floats + quad;
      unsigned char* winners = staged_winners + buffer * staged_floats + quad;
      const unsigned char* from_winners =
          pointers.winners + task.gradient.pixel(corner.image, y, x) * task.gradient.channels + k;
      for (int i = thread / quads; i < gradient_count; i += quad_step) {
        const Item item = gradient_items[i];
        const bool valid = k_in && exists(item, task.gradient, images, y, x);
        copy_four<aligned>(to + i * outputs, valid ? from + item.from : pointers.gradient, valid);
        copy_bytes(winners + i * outputs, valid ? from_winners + item.winner : pointers.winners,
                   valid);
      }
    } else {
      float* to = tiles + buffer * tile_floats + quad;
      for (int i = thread / quads; i < gradient_count; i += quad_step) {
        const Item item = gradient_items[i];
        const bool valid = k_in && exists(item, task.gradient, images, y, x);
        copy_four<aligned>(to + item.to, valid ? from + item.from : pointers.gradient, valid);
      }
    }
    const int top = corner.y * window.strideY - window.padTop + first_row * window.dilationY;
    const int left = corner.x * window.strideX - window.padLeft;
    float* to = patches + buffer * task.patch_floats() + part;
    const float* from_source = pointers.source + task.source.at(corner.image, top, left) + c;
    for (int i = thread / parts; i < boxes.patch_count(); i += part_step) {
      const Item item = patch_items[i];
      const bool valid = c_in && exists(item, task.source, images, top, left);
      copy_four<aligned>(to + item.to, valid ? from_source + item.from : pointers.source, valid);
    }
  };
  const auto fetch = [&](int box, int buffer) {
    if (aligned) {
      fetch_as(std::true_type{}, box, buffer);
    } else {
      fetch_as(std::false_type{}, box, buffer);
    }
  };

  float4 bias{};
  /// Rounds what was fetched; spreads a pooled gradient over the tile.
  const auto refine = [&](int buffer) {
    const auto add = [&](const float4& value) {
      bias = each([](float a, float b) { return a + b; }, bias, value);
    };
    if constexpr (pooled) {
      const float* from = staged + buffer * staged_floats + quad;
      const unsigned char* winners = staged_winners + buffer * staged_floats + quad;
      for (int i = thread / quads; i < gradient_count; i += quad_step) {
        const float4 value = *reinterpret_cast<const float4*>(from + i * outputs);
        const uchar4 winner = *reinterpret_cast<const uchar4*>(winners + i * outputs);
        constexpr int nobody = NeuronPoolingMax::nobody;
        add({winner.x != nobody ? value.x : 0.0F, winner.y != nobody ? value.y : 0.0F,
             winner.z != nobody ? value.z : 0.0F, winner.w != nobody ? value.w : 0.0F});
        const float4 rounded = to_tf32(value);
        float* to = tiles + gradient_items[i].to + quad;
#pragma unroll
        for (int tap = 0; tap < 4; ++tap) {
          *reinterpret_cast<float4*>(to + (tap / 2 * boxes.box_width + tap % 2) * output_pitch) = {
              winner.x == tap ? rounded.x : 0.0F, winner.y == tap ? rounded.y : 0.0F,
              winner.z == tap ? rounded.z : 0.0F, winner.w == tap ? rounded.w : 0.0F};
        }
      }
    } else {
      float* at = tiles + buffer * tile_floats + quad;
      for (int i = thread / quads; i < gradient_count; i += quad_step) {
        auto* four = reinterpret_cast<float4*>(at + i * output_pitch);
        add(*four);
        *four = to_tf32(*four);
      }
    }
    float* at = patches + buffer * task.patch_floats() + part;
    for (int i = thread / parts; i < boxes.patch_pixels(); i += part_step) {
      auto* four = reinterpret_cast<float4*>(at + i * input_pitch);
      *four = to_tf32(*four);
    }
  };

  float sums[2][together][4] = {};
  const int begin = static_cast<int>(static_cast<long long>(boxes.total) * share / task.shares);
  const int end = static_cast<int>(static_cast<long long>(boxes.total) * (share + 1) / task.shares);
  if (begin < end) fetch(begin, begin % 2);
  commit_copies();
  for (int box = begin; box < end; ++box) {
    wait_for_copies<0>();
    __syncthreads();
    if (box + 1 < end) fetch(box + 1, (box + 1) % 2);
    commit_copies();
    refine(box % 2);
    __syncthreads();
    const char* patch = reinterpret_cast<const char*>(patches + box % 2 * task.patch_floats());
    const float* tile = tiles + (pooled ? 0 : box % 2 * tile_floats) + warp_k * 32 + g;
#pragma unroll 2
    for (int step = 0; step < steps; ++step) {
      const int slot = step * 8 + t;
      const char* near = patch + bases[slot];
      const char* far = patch + bases[slot + 4];
      const float* rows = tile + slot * output_pitch;
      float a[2][4];
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        a[m][0] = rows[m * 16];
        a[m][1] = rows[m * 16 + 8];
        a[m][2] = rows[4 * output_pitch + m * 16];
        a[m][3] = rows[4 * output_pitch + m * 16 + 8];
      }
#pragma unroll
      for (int j = 0; j < together; ++j) {
        const int shift = in_row ? shifts[0] + j * pixel_bytes : shifts[j];
        const float b[2] = {*reinterpret_cast<const float*>(near + shift),
                            *reinterpret_cast<const float*>(far + shift)};
        multiply_tile(sums[0][j], a[0], b);
        multiply_tile(sums[1][j], a[1], b);
      }
    }
  }

  float* const to = pointers.sums + share * task.sums();
  const int column = first_c + warp_c * 8 + 2 * t;
#pragma unroll
  for (int j = 0; j < together; ++j) {
    const int tap = first_tap + j;
    if (tap >= task.taps || column >= task.source.channels) continue;
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = first_k + warp_k * 32 + m * 16 + half * 8 + g;
        if (row >= task.gradient.channels) continue;
        *reinterpret_cast<float2*>(
            to + (static_cast<long long>(row) * task.taps + tap) * task.source.channels +
            column) = {sums[m][j][2 * half], sums[m][j][2 * half + 1]};
      }
    }
  }
  if (!task.biased || blockIdx.y != 0) return;
  auto* const biases = reinterpret_cast<float4*>(patches);
  __syncthreads();
  biases[thread] = bias;
  __syncthreads();
  if (thread >= outputs || first_k + thread >= task.gradient.channels) return;
  float sum = 0;
  for (int i = 0; i < quad_step; ++i) sum += reinterpret_cast<float*>(biases)[i * outputs + thread];
  to[static_cast<long long>(task.gradient.channels) * task.taps * task.source.channels + first_k +
     thread] = sum;
}

__global__ void add_shares(const float* sums, int shares, long long stride, long long weight_count,
                           bool accumulate, float* weights, float* biases) {
  begin_kernel();
  for (const long long i : grid_stride(stride)) {
    float sum = 0;
#pragma unroll 8
    for (int share = 0; share < shares; ++share) sum += sums[share * stride + i];
    float* to = i < weight_count ? weights + i : biases + (i - weight_count);
    *to = accumulate ? *to + sum : sum;
  }
}

/// `result`: height and width of the convolution's result.
template <bool pooled>
StepPtr make(const Convolution& op, bool accumulate, Descs slots, const TensorDesc& gradient,
             const TensorDesc& source, std::array<int, 2> result, std::size_t first_slot,
             const Engine& engine) {
  const TensorDesc weights = slots[first_slot], biases = slots[first_slot + 1];
  if (op.reducedPrecision == 0 || op.groups != 1 || op.window.clampEdges != 0 ||
      !comes_in_fours(gradient) || !comes_in_fours(source) || !weights.present() ||
      !comes_in_fours(weights) || (biases.present() && biases.type != ElementType::float32))
    return nullptr;
  const Window& w = op.window;
  const char* const name =
      pooled ? "cuda TF32 weight gradient behind ReLU and 2x2" : "cuda TF32 weight gradient";
  const std::size_t at_source = first_slot - 1;
  const bool biased = biases.present();
  if (const auto warpgroups = WarpgroupWeightGradient::of(
          {w, source, gradient, result[0], result[1], pooled, biased}, engine)) {
    const auto body = [=](const Args& args) {
      (*warpgroups)(args,
                    {args.at(0), pooled ? args.at<unsigned char>(1) : nullptr, args.at(at_source),
                     args.at(first_slot), biased ? args.at(first_slot + 1) : nullptr},
                    accumulate);
    };
    return make_step(slots, name, body, warpgroups->scratch_bytes());
  }
  Task task;
  task.window = w;
  task.source = Grid(source);
  task.gradient = Grid(gradient);
  task.taps = w.kernelWidth * w.kernelHeight;
  task.groups = (task.taps + together - 1) / together;
  task.chunks = (source.c + inputs - 1) / inputs;
  task.biased = biases.present();
  Window rows = w;  // that a group of taps spans
  rows.kernelHeight = 1;
  for (int i = 0; i < task.groups; ++i) {
    const int first = i * together / w.kernelWidth,
              last = std::min(i * together + together - 1, task.taps - 1) / w.kernelWidth;
    rows.kernelHeight = std::max(rows.kernelHeight, last - first + 1);
  }
  task.boxes = Boxes::of(gradient.n, result[0], result[1], pooled, rows);
  task.by_half_height = Divisor(std::max(1, task.boxes.box_height / 2));
  constexpr int most_side = 1024;  // of an Item's places
  if (task.boxes.patch_height >= most_side || task.boxes.patch_width >= most_side ||
      shared_bytes<pooled>(task) > most_shared_bytes)
    return nullptr;
  const int tiles = (gradient.c + outputs - 1) / outputs;
  // Two blocks share a multiprocessor where there is work for both.
  const auto shares = [&](int blocks) {
    return std::clamp(blocks / (task.groups * task.chunks * tiles), 1, task.boxes.total);
  };
  constexpr int one_each = 132, boxes_worth_it = 4;
  task.shares = shares(2 * one_each);
  if (task.boxes.total < boxes_worth_it * task.shares) task.shares = shares(one_each);
  const bool in_row = w.kernelWidth == together && w.dilationX == 1;
  const auto kernel = in_row ? &weigh<pooled, true> : &weigh<pooled, false>;
  const auto body = [=](const Args& args) {
    auto* sums = static_cast<float*>(args.scratch);
    const dim3 grid(static_cast<unsigned>(task.shares),
                    static_cast<unsigned>(task.groups * task.chunks), static_cast<unsigned>(tiles));
    launch_with(args, grid, threads, shared_bytes<pooled>(task), kernel, task,
                Pointers{args.at(0), pooled ? args.at<unsigned char>(1) : nullptr,
                         args.at(at_source), sums});
    launch(args, task.sums(), add_shares, sums, task.shares, task.sums(), weights.count(),
           accumulate, args.at(first_slot), biased ? args.at(first_slot + 1) : nullptr);
  };
  return make_step(slots, name, body,
                   static_cast<std::size_t>(task.shares) * static_cast<std::size_t>(task.sums()) *
                       sizeof(float));
}

}  // namespace

StepPtr tensor_gradient_weights(const ConvolutionGradientWeights& op, Descs slots, Engine& engine) {
  using Op = ConvolutionGradientWeights;
  const TensorDesc gradient = slots[Op::gradient];
  return make<false>(op.forward, op.accumulate != 0, slots, gradient, slots[Op::source],
                     {gradient.h, gradient.w}, Op::weightGradient, engine);
}

StepPtr tensor_gradient_weights(const PooledConvolutionGradientWeights& op, Descs slots,
                                Engine& engine) {
  using Op = PooledConvolutionGradientWeights;
  const TensorDesc gradient = slots[Op::gradient];
  if (!slots[Op::winners].dense()) return nullptr;
  return make<true>(op.forward, op.accumulate != 0, slots, gradient, slots[Op::source],
                    {2 * gradient.h, 2 * gradient.w}, Op::weightGradient, engine);
}

}  // namespace cermet::cuda
