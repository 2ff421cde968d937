// Losses: value, gradient by predictions and by labels, every encode variant, against the oracle.

#include <array>
#include <numeric>

#include "../oracle/loss.h"
#include "bench.h"
#include "cermet/cnn/neuron.h"
#include "loss.h"
#include "report.h"

namespace cermet::test {
namespace {

using Type = CNNLossType;
using Reduction = CNNReductionType;

/// Predictions, labels and weights that suit the type.
Values predictions_for(Type type, std::size_t count) {
  switch (type) {
    case Type::CategoricalCrossEntropy:
    case Type::Log:
      return floats(count, 21, 0.05F, 0.95F);
    case Type::KullbackLeiblerDivergence:
      return floats(count, 21, -4, -0.1F);
    default:
      return floats(count, 21, -2, 2);
  }
}
Values labels_for(Type type, std::size_t count) {
  Values values = floats(count, 22, -2, 2);
  Random random(23);
  for (float& value : values) {
    switch (type) {
      case Type::MeanAbsoluteError:
      case Type::MeanSquaredError:
      case Type::Huber:
      case Type::CosineDistance:
        break;
      case Type::Hinge:
      case Type::SigmoidCrossEntropy:
        value = static_cast<float>(random.below(2));
        break;
      default:
        value = random.below(4) == 0 ? 0.0F : random.unit();  // probabilities, some 0
    }
  }
  return values;
}
Values weights_for(std::size_t count) {
  Values values = floats(count, 24, 0.25F, 2);
  Random random(25);
  for (float& value : values)
    if (random.below(3) == 0) value = 0;
  return values;
}

class DriveLoss {
 public:
  explicit DriveLoss(const LossRow& row) : r_(row), report_("loss", row.name) {
    n_ = row.predictions.empty()
             ? row.batch
             : row.predictions.size() / (row.source.w * row.source.h * row.source.c);
    source_ = {n_, row.source.h, row.source.w, row.source.c};
    labels_ = source_;
    labels_.c += row.more_label_channels;
    weights_ = source_;
    weights_.c += row.more_weight_channels;
    reduced_ = row.reduction != Reduction::None;
    loss_ = reduced_ ? Images{n_, 1, 1, 1} : source_;
    y_ = row.predictions.empty() ? predictions_for(row.type, source_.count()) : row.predictions;
    t_ = row.labels.empty() ? labels_for(row.type, labels_.count()) : row.labels;
    if (row.weighted) w_ = row.weights.empty() ? weights_for(weights_.count()) : row.weights;
    g_ = row.incoming.empty() ? floats(loss_.count(), 26) : row.incoming;
    // Small elements beside large ones that cancel in a sum count by the size of the terms.
    floor_ = 1e-2;
  }

  void run() {
    forward();
    gradient(false);
    gradient(true);
    combined();
  }

 private:
  using Format = ImageFeatureChannelFormat;

  [[nodiscard]] Loss op() const {
    return {r_.type, r_.reduction, r_.across ? 1 : 0, static_cast<std::int32_t>(r_.classes)};
  }
  [[nodiscard]] Loss::Scalars scalars() const {
    return {r_.weight, r_.smoothing, r_.epsilon, r_.delta};
  }
  [[nodiscard]] CNNLossDescriptor descriptor() const {
    auto d = CNNLossDescriptor::cnnLossDescriptor(r_.type, r_.reduction);
    d.setReduceAcrossBatch(r_.across);
    d.setWeight(r_.weight);
    d.setLabelSmoothing(r_.smoothing);
    d.setNumberOfClasses(r_.classes);
    d.setEpsilon(r_.epsilon);
    d.setDelta(r_.delta);
    return d;
  }
  [[nodiscard]] oracle::Tensor weights_tensor() const {
    return w_.empty() ? oracle::Tensor() : tensor_of(weights_, w_);
  }
  [[nodiscard]] Tolerance tolerance() const { return {1e-5, floor_}; }
  static Extents extents(const Images& e) {
    return {static_cast<int>(e.n), static_cast<int>(e.h), static_cast<int>(e.w),
            static_cast<int>(e.c)};
  }
  ImageBatch batch(const Bench& bench, const Images& e, const Values& values,
                   bool loose = false) const {
    return loose ? upload_loose(bench.device, Format::Float32, e, values)
                 : upload(bench.device, Format::Float32, e, values);
  }
  ImageBatch weights(const Bench& bench, bool loose = false) const {
    return w_.empty() ? ImageBatch() : batch(bench, weights_, w_, loose);
  }
  void same(std::string_view what, const Values& got, const Values& wanted, const Images& e) {
    report_.expect_same(what, got, wanted, extents(e), false, tolerance());
  }

  // ---- NNForwardLoss
  // -------------------------------------------------------------------------------

  Values encode_forward(const NNForwardLoss& kernel, const Bench& bench, bool loose = false) const {
    const ImageBatch to = batch(bench, loss_, Values(loss_.count(), 77), loose);
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    kernel.encodeBatch(buffer, batch(bench, source_, y_, loose), batch(bench, labels_, t_, loose),
                       weights(bench, loose), {}, to);
    finish(buffer);
    return read(to);
  }

  void forward() {
    NNForwardLoss kernel(bench_.device, descriptor());
    kernel.setDestinationImageAllocator(Image::defaultAllocator());
    const auto wanted = oracle::loss(op(), oracle::widened(scalars()), tensor_of(source_, y_),
                                     tensor_of(labels_, t_), weights_tensor());
    losses_ = encode_forward(kernel, bench_);
    report_.expect("NNForwardLoss", losses_, wanted, tolerance());
    if (!r_.losses.empty())
      report_.expect("NNForwardLoss, specification's numbers", losses_, r_.losses, extents(loss_),
                     tolerance());
    same("NNForwardLoss, second run", encode_forward(kernel, bench_), losses_, loss_);
    same("NNForwardLoss, copy", encode_forward(NNForwardLoss(kernel), bench_), losses_, loss_);
    same("NNForwardLoss, loose images", encode_forward(kernel, bench_, true), losses_, loss_);
    const Bench& one = Bench::with(1);
    same("NNForwardLoss, one thread", encode_forward(NNForwardLoss(one.device, descriptor()), one),
         losses_, loss_);

    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    const ImageBatch y = batch(bench_, source_, y_), t = batch(bench_, labels_, t_),
                     w = weights(bench_);
    StateBatch states;
    const ImageBatch returned = kernel.encodeBatch(buffer, y, t, w, &states, false);
    Values singles;
    std::vector<ImageBatch> parts;
    for (std::size_t i = 0; i < n_ && !(r_.across && reduced_); ++i)
      parts.push_back(kernel.encodeBatch(
          buffer, {y[i]}, {t[i]}, w.empty() ? ImageBatch() : ImageBatch{w[i]}, nullptr, false));
    finish(buffer);
    same("NNForwardLoss, returned", read(returned), losses_, loss_);
    report_.expect_true("NNForwardLoss", states.size() == n_,
                        "made " + std::to_string(states.size()) + " states");
    for (const ImageBatch& part : parts) {
      const Values value = read(part);
      singles.insert(singles.end(), value.begin(), value.end());
    }
    if (!parts.empty()) same("NNForwardLoss, single images", singles, losses_, loss_);
    temporaries();
    half();
  }

  /// Sources, labels and weights lose one read each.
  void temporaries() {
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    const CNNNeuron identity(bench_.device,
                             NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::None));
    const auto temporary = [&](const Images& e, const Values& values) {
      const ImageBatch to(buffer, e.descriptor(Format::Float32), e.n);
      identity.encodeBatch(buffer, batch(bench_, e, values), to);
      return to;
    };
    const ImageBatch y = temporary(source_, y_), t = temporary(labels_, t_);
    const ImageBatch w = w_.empty() ? ImageBatch() : temporary(weights_, w_);
    NNForwardLoss kernel(bench_.device, descriptor());
    const ImageBatch made = kernel.encodeBatch(buffer, y, t, w, nullptr, true);
    const ImageBatch to(bench_.device, loss_.descriptor(Format::Float32), n_);
    identity.encodeBatch(buffer, made, to);
    for (const ImageBatch& consumed : {y, t, w, made})
      for (const Image image : consumed)
        report_.expect_true("temporaries", image.readCount() == 0,
                            std::to_string(image.readCount()) + " reads left");
    finish(buffer);
    same("temporaries", read(to), losses_, loss_);
  }

  /// Predictions in half precision: the oracle sees the rounded ones.
  void half() {
    const ImageBatch y = upload(bench_.device, Format::Float16, source_, y_);
    const ImageBatch to = batch(bench_, loss_, Values(loss_.count()));
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    NNForwardLoss(bench_.device, descriptor())
        .encodeBatch(buffer, y, batch(bench_, labels_, t_), weights(bench_), {}, to);
    finish(buffer);
    const auto wanted = oracle::loss(op(), oracle::widened(scalars()), tensor_of(source_, read(y)),
                                     tensor_of(labels_, t_), weights_tensor());
    report_.expect("NNForwardLoss, float16 predictions", read(to), wanted, tolerance());
  }

  // ---- NNLossGradient
  // ------------------------------------------------------------------------------

  Values encode_gradient(const NNLossGradient& kernel, const Bench& bench, const StateBatch& states,
                         bool loose = false) const {
    const Images e = kernel.computeLabelGradients() ? labels_ : source_;
    const ImageBatch to = batch(bench, e, Values(e.count(), 77), loose);
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    kernel.encodeBatch(buffer, batch(bench, loss_, g_, loose), batch(bench, source_, y_, loose),
                       batch(bench, labels_, t_, loose), weights(bench, loose), states, to);
    finish(buffer);
    return read(to);
  }

  void gradient(bool by_labels) {
    const std::string name = by_labels ? "NNLossGradient by labels" : "NNLossGradient";
    const Images e = by_labels ? labels_ : source_;
    LossGradient op_gradient;
    op_gradient.forward = op();
    op_gradient.byLabels = by_labels ? 1 : 0;
    op_gradient.ignoreReduction = r_.switches.loss_gradient_ignores_reduction ? 1 : 0;
    op_gradient.exactSoftMax = r_.switches.softmax_cross_entropy_exact_gradient ? 1 : 0;
    op_gradient.publishedKullbackLeibler = r_.switches.kl_gradient_published ? 1 : 0;
    const auto wanted =
        oracle::loss_gradient(op_gradient, oracle::widened(scalars()), tensor_of(loss_, g_),
                              tensor_of(source_, y_), tensor_of(labels_, t_), weights_tensor());
    const auto made = [&](const Bench& bench) {
      NNLossGradient kernel(bench.device, descriptor());
      kernel.setComputeLabelGradients(by_labels);
      kernel.set_switches(r_.switches);
      kernel.setDestinationImageAllocator(Image::defaultAllocator());
      return kernel;
    };
    NNLossGradient kernel = made(bench_);
    const Values result = encode_gradient(kernel, bench_, {});
    report_.expect(name, result, wanted, tolerance());
    const auto& given = by_labels ? r_.by_label : r_.by_prediction;
    if (!given.empty())
      report_.expect(name + ", specification's numbers", result, given, extents(e), tolerance());
    same(name + ", second run", encode_gradient(kernel, bench_, {}), result, e);
    same(name + ", copy", encode_gradient(NNLossGradient(kernel), bench_, {}), result, e);
    same(name + ", loose images", encode_gradient(kernel, bench_, {}, true), result, e);
    same(name + ", one thread", encode_gradient(made(Bench::with(1)), Bench::with(1), {}), result,
         e);

    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    const ImageBatch y = batch(bench_, source_, y_), t = batch(bench_, labels_, t_),
                     w = weights(bench_);
    NNForwardLoss forward(bench_.device, descriptor());
    forward.setDestinationImageAllocator(Image::defaultAllocator());
    StateBatch states;
    const ImageBatch loss = forward.encodeBatch(buffer, y, t, w, &states, false);
    const ImageBatch returned = kernel.encodeBatch(buffer, batch(bench_, loss_, g_), y, t, w, {});
    finish(buffer);
    same(name + ", returned", read(returned), result, e);
    NNLossGradient other = kernel;  // the state's values win
    other.setWeight(9);
    other.setLabelSmoothing(0.5F);
    other.setDelta(0.01F);
    other.setEpsilon(0.3F);
    same(name + ", the state's values", encode_gradient(other, bench_, states), result, e);
  }

  // ---- CNNLoss
  // -------------------------------------------------------------------------------------

  /// Labels objects from host data for even rows, from images else.
  CNNLossLabelsBatch labels_objects(const Bench& bench, bool from_images) const {
    CNNLossLabelsBatch objects;
    const Size loss_size{loss_.w, loss_.h, loss_.c};
    const ImageBatch t = batch(bench, labels_, t_), w = weights(bench);
    const auto part = [&](const Values& values, const Images& e, std::size_t i) {
      return std::span(values).subspan(i * e.one(), e.one());
    };
    for (std::size_t i = 0; i < n_; ++i) {
      if (from_images) {
        objects.push_back(std::make_shared<CNNLossLabels>(bench.device, loss_size, t[i],
                                                          w.empty() ? Image() : w[i]));
        continue;
      }
      constexpr auto hwc = DataLayout::HeightxWidthxFeatureChannels;
      const auto l = CNNLossDataDescriptor::cnnLossDataDescriptor(
          part(t_, labels_, i), hwc, {labels_.w, labels_.h, labels_.c});
      if (w_.empty()) {
        objects.push_back(std::make_shared<CNNLossLabels>(bench.device, loss_size, l, nullptr));
        continue;
      }
      const auto v = CNNLossDataDescriptor::cnnLossDataDescriptor(
          part(w_, weights_, i), hwc, {weights_.w, weights_.h, weights_.c});
      objects.push_back(std::make_shared<CNNLossLabels>(bench.device, loss_size, l, &v));
    }
    return objects;
  }
  static Values losses_of(const CNNLossLabelsBatch& objects) {
    Values values;
    for (const auto& one : objects) {
      const auto loss = one->lossImage().read_floats();
      values.insert(values.end(), loss.begin(), loss.end());
    }
    return values;
  }

  void combined() {
    LossGradient op_gradient;
    op_gradient.forward = op();
    op_gradient.ignoreReduction = r_.switches.cnn_loss_gradient_applies_reduction ? 0 : 1;
    op_gradient.exactSoftMax = r_.switches.softmax_cross_entropy_exact_gradient ? 1 : 0;
    op_gradient.publishedKullbackLeibler = r_.switches.kl_gradient_published ? 1 : 0;
    const auto wanted =
        oracle::loss_gradient(op_gradient, oracle::widened(scalars()), {}, tensor_of(source_, y_),
                              tensor_of(labels_, t_), weights_tensor());
    CNNLoss kernel(bench_.device, descriptor());
    kernel.set_switches(r_.switches);
    kernel.setDestinationImageAllocator(Image::defaultAllocator());
    const ImageBatch y = batch(bench_, source_, y_);
    Values gradient;
    for (const bool from_images : {false, true}) {
      const auto objects = labels_objects(bench_, from_images);
      const ImageBatch to = batch(bench_, source_, Values(source_.count(), 77));
      CommandBuffer buffer = bench_.queue.makeCommandBuffer();
      kernel.encodeBatch(buffer, y, objects, to);
      finish(buffer);
      gradient = read(to);
      report_.expect("CNNLoss, gradient", gradient, wanted, tolerance());
      if (!r_.cnn_loss_gradient.empty())
        report_.expect("CNNLoss, specification's numbers", gradient, r_.cnn_loss_gradient,
                       extents(source_), tolerance());
      same("CNNLoss, loss", losses_of(objects), losses_, loss_);
    }
    auto objects = labels_objects(bench_, true);
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    const ImageBatch returned = kernel.encodeBatch(buffer, y, objects);
    finish(buffer);
    same("CNNLoss, returned", read(returned), gradient, source_);

    if (r_.across && reduced_) return;  // one image alone is another batch
    objects = labels_objects(bench_, true);
    CommandBuffer again = bench_.queue.makeCommandBuffer();
    CNNLoss copy = kernel;
    std::vector<Image> images;
    for (std::size_t i = 0; i < n_; ++i) images.push_back(copy.encode(again, y[i], objects[i]));
    finish(again);
    same("CNNLoss, single images", read(ImageBatch(images)), gradient, source_);
    same("CNNLoss, losses of single images", losses_of(objects), losses_, loss_);
  }

  const LossRow& r_;
  const Bench& bench_ = Bench::with(2);
  Report report_;
  std::size_t n_ = 1;
  Images source_, labels_, weights_, loss_;
  bool reduced_ = true;
  Values y_, t_, w_, g_, losses_;
  double floor_ = 0;
};

}  // namespace

void check(const LossRow& row) { DriveLoss(row).run(); }

}  // namespace cermet::test
