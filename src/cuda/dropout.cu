// Dropout: destination = kept ? source / keepProbability : +0 with Philox4x32-10 decisions.
// DropoutGradient: the stored mask applied to the gradient (cnn/dropout.h).

#include <cmath>

#include "cuda/dropout.cuh"
#include "cuda/pointwise.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

__device__ unsigned word(const uint4& block, unsigned k) {
  return k < 2 ? (k == 0 ? block.x : block.y) : (k == 2 ? block.z : block.w);
}

__global__ void drop(Dropout op, unsigned threshold, ScalarsOf<Dropout::Scalars> scalars,
                     Tensor source, Tensor mask, Tensor destination) {
  begin_kernel();
  const Dropout::Scalars encode = scalars.get();
  const long long mask_w = op.maskStrideX != 0 ? source.desc.w : 1;
  const long long mask_c = op.maskStrideC != 0 ? source.desc.c : 1;
  for (const Index at : elements(destination)) {
    const Index decided{at.n, at.y * op.maskStrideY, at.x * op.maskStrideX, at.c * op.maskStrideC};
    const long long e = (decided.y * mask_w + decided.x) * mask_c + decided.c;
    const uint4 block = philox(encode, static_cast<unsigned>(e / 4),
                               encode.first_image + static_cast<unsigned>(at.n));
    const bool kept = is_kept(word(block, static_cast<unsigned>(e % 4)), threshold);
    const bool stores = decided.y == at.y && decided.x == at.x && decided.c == at.c;
    if (mask.present() && stores) store(mask, at, kept ? 1.0F : 0.0F);
    store(destination, at, kept ? load(source, at) / op.keepProbability : 0.0F);
  }
}

/// The same for arrays of float4, `fours` of them an image: a Philox block decides four elements.
/// `mask` may be null.
__global__ void drop_flat(float keep, unsigned threshold, ScalarsOf<Dropout::Scalars> scalars,
                          int fours, const float4* source, uchar4* mask, float4* destination,
                          long long count) {
  begin_kernel();
  const Dropout::Scalars encode = scalars.get();
  for (const long long i : grid_stride(count)) {
    const uchar4 decided = decide(encode, threshold, static_cast<unsigned>(i % fours),
                                  static_cast<unsigned>(i / fours));
    if (mask != nullptr) mask[i] = decided;
    destination[i] = apply(decided, source[i], keep);
  }
}

__global__ void drop_gradient(DropoutGradient op, Tensor gradient, Tensor mask,
                              Tensor destination) {
  begin_kernel();
  const Dropout& forward = op.forward;
  for (const Index at : elements(destination)) {
    const Index decided{at.n, forward.maskStrideY != 0 ? at.y + op.shiftY : 0,
                        forward.maskStrideX != 0 ? at.x + op.shiftX : 0,
                        forward.maskStrideC != 0 ? at.c : 0};
    const bool kept = mask.inside(decided.y, decided.x) && load(mask, decided) != 0.0F;
    store(destination, at, kept ? load(gradient, at) / forward.keepProbability : 0.0F);
  }
}

__global__ void drop_gradient_flat(float keep, const float4* gradient, const uchar4* mask,
                                   float4* destination, long long count) {
  begin_kernel();
  for (const long long i : grid_stride(count)) destination[i] = apply(mask[i], gradient[i], keep);
}

/// Whether each element of `of` has a decision of its own, and four of them lie in one image.
bool has_own_decisions(const Dropout& op, const TensorDesc& of) {
  return (op.maskStrideX == 1 || of.w == 1) && (op.maskStrideY == 1 || of.h == 1) &&
         (op.maskStrideC == 1 || of.c == 1) && std::int64_t{of.h} * of.w * of.c % 4 == 0;
}
/// Whether the mask of `of`, if it is there, is an array of uchar4.
bool is_flat_mask(const Tensor& mask, const TensorDesc& of) {
  const TensorDesc& desc = mask.desc;
  return !mask.present() || (desc.type == ElementType::uint8 && desc.dense() && desc.n == of.n &&
                             desc.h == of.h && desc.w == of.w && desc.c == of.c &&
                             reinterpret_cast<std::uintptr_t>(mask.data) % sizeof(uchar4) == 0);
}

/// What the step of dropout does.
class DropoutBody : public Pointwise {
 public:
  using Op = Dropout;
  DropoutBody(const Op& op, Descs slots)
      : op_(op),
        threshold_(
            static_cast<unsigned>(std::ceil(static_cast<double>(op.keepProbability) * 0x1p24))),
        source_(slots[Op::source]),
        mask_(slots[Op::mask]),
        destination_(slots[Op::destination]) {}

  void operator()(const Args& args) const {
    const Tensor source{source_, args.slots[Op::source]}, mask = mask_of(args.slots);
    const Tensor destination{destination_, args.slots[Op::destination]};
    const auto given = scalars<Op::Scalars>(args);
    if (is_flat(args.slots)) {
      launch(args, destination.count() / 4, drop_flat, op_.keepProbability, threshold_, given,
             image_fours(), args.at<float4>(Op::source), static_cast<uchar4*>(mask.data),
             args.at<float4>(Op::destination), destination.count() / 4);
      return;
    }
    launch(args, destination.count(), drop, op_, threshold_, given, source, mask, destination);
  }

  [[nodiscard]] std::size_t input_slot() const override { return Op::source; }
  [[nodiscard]] std::size_t result_slot() const override { return Op::destination; }
  [[nodiscard]] bool fits(const StepRun& run) const override { return is_flat(run.slots); }
  void describe(const StepRun& run, CudaStream& stream, PointwiseStage& stage) const override {
    const Args args{run.slots, run.scratch, run.scalars.data(), &stream};
    stage.kind = PointwiseStage::Kind::dropout;
    stage.keep = op_.keepProbability;
    stage.threshold = threshold_;
    stage.image_fours = image_fours();
    stage.scalars = scalars<Op::Scalars>(args);
    stage.mask = static_cast<uchar4*>(mask_of(run.slots).data);
    stage.result = args.at<float4>(Op::destination);
  }

 private:
  [[nodiscard]] Tensor mask_of(const Slots& slots) const {
    return {mask_, mask_.present() ? slots[Op::mask] : nullptr};
  }
  [[nodiscard]] int image_fours() const {
    return static_cast<int>(destination_.count() / destination_.n / 4);
  }
  [[nodiscard]] bool is_flat(const Slots& slots) const {
    return has_own_decisions(op_, destination_) &&
           are_flat({{source_, slots[Op::source]}, {destination_, slots[Op::destination]}}) &&
           is_flat_mask(mask_of(slots), destination_);
  }

  Op op_;
  unsigned threshold_;
  TensorDesc source_, mask_, destination_;
};

/// What the step of dropout's gradient does.
class DropoutGradientBody : public Pointwise {
 public:
  using Op = DropoutGradient;
  DropoutGradientBody(const Op& op, Descs slots)
      : op_(op),
        gradient_(slots[Op::gradient]),
        mask_(slots[Op::mask]),
        destination_(slots[Op::destination]) {}

  void operator()(const Args& args) const {
    const Tensor gradient{gradient_, args.slots[Op::gradient]}, mask{mask_, args.slots[Op::mask]};
    const Tensor destination{destination_, args.slots[Op::destination]};
    if (is_flat(args.slots)) {
      launch(args, destination.count() / 4, drop_gradient_flat, op_.forward.keepProbability,
             args.at<float4>(Op::gradient), args.at<const uchar4>(Op::mask),
             args.at<float4>(Op::destination), destination.count() / 4);
      return;
    }
    launch(args, destination.count(), drop_gradient, op_, gradient, mask, destination);
  }

  [[nodiscard]] std::size_t input_slot() const override { return Op::gradient; }
  [[nodiscard]] std::size_t result_slot() const override { return Op::destination; }
  [[nodiscard]] bool fits(const StepRun& run) const override { return is_flat(run.slots); }
  void describe(const StepRun& run, CudaStream&, PointwiseStage& stage) const override {
    stage.kind = PointwiseStage::Kind::dropout_gradient;
    stage.keep = op_.forward.keepProbability;
    stage.mask = static_cast<uchar4*>(run.slots[Op::mask]);
    stage.result = static_cast<float4*>(run.slots[Op::destination]);
  }

 private:
  [[nodiscard]] bool is_flat(const Slots& slots) const {
    return op_.shiftX == 0 && op_.shiftY == 0 && has_own_decisions(op_.forward, destination_) &&
           are_flat({{gradient_, slots[Op::gradient]}, {destination_, slots[Op::destination]}}) &&
           is_flat_mask({mask_, slots[Op::mask]}, destination_);
  }

  Op op_;
  TensorDesc gradient_, mask_, destination_;
};

}  // namespace

StepPtr prepare(const Dropout& op, Descs slots, Engine&) {
  return make_step(slots, "cuda dropout", DropoutBody(op, slots));
}

StepPtr prepare(const DropoutGradient& op, Descs slots, Engine&) {
  return make_step(slots, "cuda dropout", DropoutGradientBody(op, slots));
}

}  // namespace cermet::cuda
