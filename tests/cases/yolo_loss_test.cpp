// The YOLO loss: values, gradients against difference quotients of the loss, every encode.

#include "cermet/cnn/yolo_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <ostream>

#include "../harness/bench.h"
#include "../harness/report.h"
#include "../oracle/differences.h"
#include "../oracle/loss.h"
#include "cermet/cnn/neuron.h"

namespace cermet::test {
namespace {

using Type = CNNLossType;
using Reduction = CNNReductionType;
using Format = ImageFeatureChannelFormat;

// ---- the formula
// ----------------------------------------------------------------------------------

struct Scene {
  YOLOLoss op;
  YOLOLoss::Scalars scalars;
  Values anchors;
  oracle::Tensor labels, weights;  // weights may be empty
  [[nodiscard]] int count() const { return static_cast<int>(anchors.size() / 2); }
  [[nodiscard]] double width(int a) const { return anchors.at(2 * static_cast<std::size_t>(a)); }
  [[nodiscard]] double height(int a) const {
    return anchors.at(2 * static_cast<std::size_t>(a) + 1);
  }
};

struct Rectangle {
  double x, y, w, h;  // x and y: the centre
};
double iou(const Rectangle& a, const Rectangle& b) {
  const double w = std::min(a.x + a.w / 2, b.x + b.w / 2) - std::max(a.x - a.w / 2, b.x - b.w / 2);
  const double h = std::min(a.y + a.h / 2, b.y + b.h / 2) - std::max(a.y - a.h / 2, b.y - b.h / 2);
  const double both = w > 0 && h > 0 ? w * h : 0, either = a.w * a.h + b.w * b.h - both;
  return either == 0 ? 0 : both / either;
}

/// The terms of each channel, and the gradients where they are wanted, as published. `boxes`: the
/// predictions that rescoring looks at, which no gradient goes through.
struct Terms {
  oracle::Tensor losses, gradients;
  std::vector<double> extra;  // of each image, beside its terms
};
Terms terms(const Scene& s, const oracle::Tensor& y, const oracle::Tensor& boxes) {
  Terms out{oracle::like(y), oracle::like(y), std::vector<double>(static_cast<std::size_t>(y.n))};
  const int anchors = s.count(), channels = y.c / anchors;
  const bool plain = s.op.plainSum != 0;
  const auto shape_iou = [&](int n, int j, int i, int a) {
    const auto label = [&](int c) { return s.labels(n, j, i, a * channels + c); };
    return iou({0, 0, s.width(a), s.height(a)}, {0, 0, label(2), label(3)});
  };
  const auto is_object = [&](int n, int j, int i, int a) {
    if (s.labels(n, j, i, a * channels + 4) != 1) return false;
    bool best = true;
    for (int b = 0; b < anchors; ++b) best &= shape_iou(n, j, i, a) >= shape_iou(n, j, i, b);
    return best || shape_iou(n, j, i, a) > double{s.scalars.minIOUForObjectPresence};
  };
  const auto each_anchor = [&](auto visit) {
    for (int n = 0; n < y.n; ++n)
      for (int j = 0; j < y.h; ++j)
        for (int i = 0; i < y.w; ++i)
          for (int a = 0; a < anchors; ++a) visit(n, j, i, a);
  };
  double count = 1e-4;
  each_anchor([&](int n, int j, int i, int a) { count += is_object(n, j, i, a) ? 1 : 0; });
  if (plain) count = 1;
  const double area = plain ? 1 : double(y.w) * y.h;

  each_anchor([&](int n, int j, int i, int a) {
    const auto at = [&](int c) { return a * channels + c; };
    const auto raw = [&](int c) { return y(n, j, i, at(c)); };
    const auto label = [&](int c) { return s.labels(n, j, i, at(c)); };
    const auto judge = [&](const YOLOLoss::Part& part, int first, std::vector<double> predicted,
                           std::vector<double> wanted, double factor, bool through_sigmoid) {
      Loss f;
      f.type = part.type;
      f.numberOfClasses = part.numberOfClasses;
      const auto scalars = oracle::widened(part.scalars);
      const bool cosine = part.type == Type::CosineDistance;
      double sum = 0;
      for (const double p : predicted) sum += std::exp(p);
      std::vector<double> slopes, weights;
      for (std::size_t k = 0; k < predicted.size(); ++k) {
        const int c = at(first + static_cast<int>(k));
        double w = part.scalars.weight;
        if (!cosine && !s.weights.empty()) w *= s.weights(n, j, i, c);
        const auto term =
            oracle::loss_term(f, scalars, predicted[k], wanted[k], predicted[k] - std::log(sum));
        double slope = term.by_prediction;
        if (part.type == Type::KullbackLeiblerDivergence && s.op.publishedKullbackLeibler != 0)
          slope = wanted[k] == 0 ? 0 : -wanted[k] / predicted[k];
        weights.push_back(w);
        slopes.push_back(w == 0 ? 0 : w * slope);
        out.losses(n, j, i, c) = w == 0 ? 0 : factor * w * term.loss;
      }
      for (std::size_t k = 0; k < predicted.size(); ++k) {
        if (part.type == Type::SoftMaxCrossEntropy && s.op.exactSoftMax != 0) {
          slopes[k] = -weights[k] * oracle::smoothed(f, scalars, wanted[k]);
          for (std::size_t m = 0; m < predicted.size(); ++m)
            slopes[k] +=
                std::exp(predicted[k]) / sum * weights[m] * oracle::smoothed(f, scalars, wanted[m]);
        }
        const double chain = through_sigmoid ? predicted[k] * (1 - predicted[k]) : 1;
        out.gradients(n, j, i, at(first + static_cast<int>(k))) = factor * slopes[k] * chain;
      }
      if (cosine) out.extra.at(static_cast<std::size_t>(n)) += factor * part.scalars.weight;
    };
    const bool object = is_object(n, j, i, a);
    const bool absent = !object && shape_iou(n, j, i, a) < double{s.scalars.maxIOUForObjectAbsence};
    double confidence = 0;
    if (object) {
      const auto seen = [&](int c) { return boxes(n, j, i, at(c)); };
      const Rectangle predicted{oracle::sigmoid(seen(0)), oracle::sigmoid(seen(1)),
                                s.width(a) * std::exp(seen(2)), s.height(a) * std::exp(seen(3))};
      const Rectangle truth{label(0), label(1), label(2), label(3)};
      confidence = s.op.rescore != 0 ? iou(predicted, truth) : 1;
      judge(s.op.xy, 0, {oracle::sigmoid(raw(0)), oracle::sigmoid(raw(1))}, {label(0), label(1)},
            s.scalars.scaleXY / count, true);
      judge(s.op.wh, 2, {raw(2), raw(3)},
            {std::log(label(2) / s.width(a) + 1e-5), std::log(label(3) / s.height(a) + 1e-5)},
            s.scalars.scaleWH / count / (plain ? 1 : 2), false);
      std::vector<double> classes, truths;
      for (int k = 5; k < channels; ++k) {
        classes.push_back(raw(k));
        truths.push_back(label(k));
      }
      judge(s.op.classes, 5, classes, truths, s.scalars.scaleClass / count, false);
    }
    if (object || absent) {
      judge(s.op.confidence, 4, {raw(4)}, {confidence},
            (object ? s.scalars.scaleObject : s.scalars.scaleNoObject) / area, false);
    }
  });
  return out;
}

double sum_of(const Terms& terms) {
  double sum = 0;
  for (const double value : terms.losses.v) sum += value;
  for (const double value : terms.extra) sum += value;
  return sum;
}
oracle::Tensor loss_images(const Scene& s, const Terms& terms) {
  const auto& t = terms.losses;
  if (s.op.reduction == Reduction::None) return t;
  auto out = oracle::filled(t.n, 1, 1, 1);
  const auto into = [&](int n) -> double& {
    return out(s.op.reduceAcrossBatch != 0 ? 0 : n, 0, 0, 0);
  };
  oracle::for_each(t, [&](int n, int y, int x, int c) { into(n) += t(n, y, x, c); });
  for (int n = 0; n < t.n; ++n) into(n) += oracle::entry(terms.extra, n);
  return out;
}

// ---- the rows
// -------------------------------------------------------------------------------------

struct YOLORow {
  std::string name{};
  std::string why{};
  std::size_t w = 3, h = 2, classes = 2, batch = 2;
  Values anchors{1, 2, 2, 1, 0.5F, 0.5F};
  Type xy = Type::MeanSquaredError, wh = Type::Huber, confidence = Type::SigmoidCrossEntropy,
       classes_type = Type::SoftMaxCrossEntropy;
  Reduction reduction = Reduction::Sum;
  bool across = false, rescore = true, weighted = false;
  std::size_t more_label_channels = 0, more_weight_channels = 0;
  float smoothing = 0, weight = 1, delta = 1, epsilon = 1e-7F;  // of every part
  YOLOLoss::Scalars scalars{};
  YOLOLossSwitches switches{};
  bool positive = false;           // predictions between 0 and 1
  bool empty = false;              // no cell has an object
  bool soft_classes = false;       // labels of classes do not sum to 1
  bool is_derivative = true;       // the gradient is that of the loss
  Values predictions{}, labels{};  // of the specification
  std::vector<double> losses{}, gradient{};
  bool quick = false;
};
void PrintTo(const YOLORow& row, std::ostream* out) { *out << row.name; }

class DriveYOLO {
 public:
  explicit DriveYOLO(const YOLORow& row) : r_(row), report_("CNNYOLOLoss", row.name) {
    const std::size_t anchors = row.anchors.size() / 2;
    source_ = {row.batch, row.h, row.w, (5 + row.classes) * anchors};
    labels_ = weights_ = source_;
    labels_.c += row.more_label_channels;
    weights_.c += row.more_weight_channels;
    loss_ = row.reduction == Reduction::None ? source_ : Images{row.batch, 1, 1, 1};
    y_ = !row.predictions.empty() ? row.predictions
         : row.positive           ? floats(source_.count(), 31, 0.05F, 0.95F)
                                  : floats(source_.count(), 31, -2, 2);
    t_ = row.labels.empty() ? made_labels() : row.labels;
    if (row.weighted) {
      w_ = floats(weights_.count(), 33, 0.25F, 2);
      Random random(34);
      for (float& value : w_)
        if (random.below(4) == 0) value = 0;
    }
    scene_.op = op();
    scene_.scalars = row.scalars;
    scene_.anchors = row.anchors;
    scene_.labels = tensor_of(labels_, t_);
    if (row.weighted) scene_.weights = tensor_of(weights_, w_);
  }

  void run() {
    const oracle::Tensor y = tensor_of(source_, y_);
    const Terms wanted = terms(scene_, y, y);
    gradient_is_derivative(y, wanted);
    const CNNYOLOLoss kernel = made(bench_.device);
    for (const bool loose : {false, true}) {
      for (const bool from_images : {false, true}) {
        const Result result = encode(kernel, bench_, from_images, loose);
        report_.expect("gradient", result.gradient, wanted.gradients, tolerance);
        report_.expect("loss", result.losses, loss_images(scene_, wanted), tolerance);
        if (first_.gradient.empty()) first_ = result;
        same("again", result);
      }
    }
    if (!r_.losses.empty())
      report_.expect("specification's loss", first_.losses, r_.losses, extents(loss_), tolerance);
    if (!r_.gradient.empty()) {
      report_.expect("specification's gradient", first_.gradient, r_.gradient, extents(source_),
                     tolerance);
    }
    same("copy", encode(kernel.copy(), bench_, true, false));
    const Bench& one = Bench::with(1);
    same("one thread", encode(made(one.device), one, true, false));
    returned();
    singles();
    half();
    temporaries();
  }

 private:
  struct Result {
    Values gradient, losses;
  };
  static constexpr Tolerance tolerance{1e-5, 1e-3};

  static Extents extents(const Images& e) {
    return {static_cast<int>(e.n), static_cast<int>(e.h), static_cast<int>(e.w),
            static_cast<int>(e.c)};
  }
  [[nodiscard]] YOLOLoss::Part part(Type type) const {
    return {type,
            static_cast<std::int32_t>(r_.classes),
            {r_.weight, r_.smoothing, r_.epsilon, r_.delta}};
  }
  [[nodiscard]] YOLOLoss op() const {
    YOLOLoss op;
    op.xy = part(r_.xy);
    op.wh = part(r_.wh);
    op.confidence = part(r_.confidence);
    op.classes = part(r_.classes_type);
    op.reduction = r_.reduction;
    op.reduceAcrossBatch = r_.across && r_.reduction != Reduction::None ? 1 : 0;
    op.rescore = r_.rescore ? 1 : 0;
    op.plainSum = r_.switches.yolo_plain_sum ? 1 : 0;
    op.exactSoftMax = r_.switches.softmax_cross_entropy_exact_gradient ? 1 : 0;
    op.publishedKullbackLeibler = r_.switches.kl_gradient_published ? 1 : 0;
    return op;
  }
  [[nodiscard]] CNNYOLOLoss made(const Device& device) const {
    auto d =
        CNNYOLOLossDescriptor::cnnLossDescriptor(r_.xy, r_.wh, r_.confidence, r_.classes_type,
                                                 r_.reduction, r_.anchors, r_.anchors.size() / 2);
    const auto edited = [&](CNNLossDescriptor one) {
      one.setWeight(r_.weight);
      one.setLabelSmoothing(r_.smoothing);
      one.setNumberOfClasses(r_.classes);
      one.setEpsilon(r_.epsilon);
      one.setDelta(r_.delta);
      return one;
    };
    d.setXYLossDescriptor(edited(d.XYLossDescriptor()));
    d.setWHLossDescriptor(edited(d.WHLossDescriptor()));
    d.setConfidenceLossDescriptor(edited(d.confidenceLossDescriptor()));
    d.setClassesLossDescriptor(edited(d.classesLossDescriptor()));
    d.setReduceAcrossBatch(r_.across);
    d.setRescore(r_.rescore);
    d.setScaleXY(r_.scalars.scaleXY);
    d.setScaleWH(r_.scalars.scaleWH);
    d.setScaleNoObject(r_.scalars.scaleNoObject);
    d.setScaleObject(r_.scalars.scaleObject);
    d.setScaleClass(r_.scalars.scaleClass);
    d.setMinIOUForObjectPresence(r_.scalars.minIOUForObjectPresence);
    d.setMaxIOUForObjectAbsence(r_.scalars.maxIOUForObjectAbsence);
    CNNYOLOLoss kernel(device, d);
    kernel.set_switches(r_.switches);
    kernel.setDestinationImageAllocator(Image::defaultAllocator());
    return kernel;
  }

  /// Half of the cells have an object, one in ten a record whose confidence is not 1.
  [[nodiscard]] Values made_labels() const {
    Values values(labels_.count(), 0.75F);  // beyond the source's channels: not looked at
    Random random(32);
    const std::size_t channels = 5 + r_.classes, anchors = r_.anchors.size() / 2;
    for (std::size_t cell = 0; cell < labels_.n * labels_.h * labels_.w; ++cell) {
      const bool object = !r_.empty && random.below(2) == 0;
      const float confidence = random.below(10) == 0 ? 0.5F : 1.0F;
      const Values record{random.unit(), random.unit(), 0.3F + 2.5F * random.unit(),
                          0.3F + 2.5F * random.unit(), confidence};
      const std::uint64_t of_class = random.below(r_.classes);
      for (std::size_t a = 0; a < anchors; ++a) {
        float* to = values.data() + cell * labels_.c + a * channels;
        for (std::size_t c = 0; c < 5; ++c) to[c] = object ? record[c] : 0.0F;
        for (std::size_t k = 0; k < r_.classes; ++k) {
          to[5 + k] =
              object ? (k == of_class ? 1.0F : 0.0F) : 1.0F / static_cast<float>(r_.classes);
          if (r_.soft_classes) to[5 + k] = random.unit();
        }
      }
    }
    return values;
  }

  /// The oracle's own gradient is the difference quotient of its loss.
  void gradient_is_derivative(const oracle::Tensor& y, const Terms& analytic) {
    if (!r_.is_derivative || y.v.size() > 700) return;
    const auto loss = [&](const std::vector<double>& x) {
      oracle::Tensor moved = y;
      moved.v = x;
      return sum_of(terms(scene_, moved, y));
    };
    double largest = 1e-3;
    for (const double value : analytic.gradients.v) largest = std::max(largest, std::abs(value));
    for (std::size_t i = 0; i < y.v.size(); ++i) {
      ASSERT_NEAR(analytic.gradients.v[i], oracle::central_difference(loss, y.v, i), 1e-6 * largest)
          << r_.name << " [" << i << "]";
    }
  }

  ImageBatch batch(const Bench& bench, const Images& e, const Values& values, bool loose) const {
    return loose ? upload_loose(bench.device, Format::Float32, e, values)
                 : upload(bench.device, Format::Float32, e, values);
  }
  [[nodiscard]] CNNLossLabelsBatch objects(const Bench& bench, bool from_images) const {
    CNNLossLabelsBatch made;
    const Size size{loss_.w, loss_.h, loss_.c};
    const ImageBatch t = batch(bench, labels_, t_, false);
    const ImageBatch w = w_.empty() ? ImageBatch() : batch(bench, weights_, w_, false);
    const auto described = [](const Values& values, const Images& e, std::size_t i) {
      return CNNLossDataDescriptor::cnnLossDataDescriptor(
          std::span(values).subspan(i * e.one(), e.one()), DataLayout::HeightxWidthxFeatureChannels,
          {e.w, e.h, e.c});
    };
    for (std::size_t i = 0; i < source_.n; ++i) {
      if (from_images) {
        made.push_back(
            std::make_shared<CNNLossLabels>(bench.device, size, t[i], w.empty() ? Image() : w[i]));
      } else if (w_.empty()) {
        made.push_back(std::make_shared<CNNLossLabels>(bench.device, size,
                                                       described(t_, labels_, i), nullptr));
      } else {
        const auto weights = described(w_, weights_, i);
        made.push_back(std::make_shared<CNNLossLabels>(bench.device, size,
                                                       described(t_, labels_, i), &weights));
      }
    }
    return made;
  }
  static Values losses_of(const CNNLossLabelsBatch& objects) {
    Values values;
    for (const auto& one : objects) {
      const auto loss = one->lossImage().read_floats();
      values.insert(values.end(), loss.begin(), loss.end());
    }
    return values;
  }

  Result encode(const CNNYOLOLoss& kernel, const Bench& bench, bool from_images, bool loose) const {
    const auto labels = objects(bench, from_images);
    const ImageBatch to = batch(bench, source_, Values(source_.count(), 77), loose);
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    kernel.encodeBatch(buffer, batch(bench, source_, y_, loose), labels, to);
    finish(buffer);
    return {read(to), losses_of(labels)};
  }
  void same(const std::string& what, const Result& result) {
    report_.expect_same(what + ", gradient", result.gradient, first_.gradient, extents(source_),
                        false, tolerance);
    report_.expect_same(what + ", loss", result.losses, first_.losses, extents(loss_), false,
                        tolerance);
  }

  void returned() {
    CNNYOLOLoss kernel = made(bench_.device);
    const auto labels = objects(bench_, true);
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    const ImageBatch result = kernel.encodeBatch(buffer, batch(bench_, source_, y_, false), labels);
    finish(buffer);
    same("returned", {read(result), losses_of(labels)});
  }

  /// Each image by itself is a batch of one; both single encodes.
  void singles() {
    CNNYOLOLoss kernel = made(bench_.device);
    const ImageBatch y = batch(bench_, source_, y_, false);
    const auto labels = objects(bench_, true), other = objects(bench_, true);
    const ImageBatch to(bench_.device, source_.descriptor(Format::Float32), source_.n);
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    std::vector<Image> results;
    for (std::size_t i = 0; i < source_.n; ++i) {
      results.push_back(kernel.encode(buffer, y[i], labels[i]));
      kernel.encode(buffer, y[i], other[i], to[i]);
    }
    finish(buffer);
    for (std::size_t i = 0; i < source_.n; ++i) {
      const auto part = [&](const Images& of, const Values& values) {
        const auto first = values.begin() + static_cast<std::ptrdiff_t>(i * of.one());
        Images one = of;
        one.n = 1;
        return tensor_of(one, {first, first + static_cast<std::ptrdiff_t>(of.one())});
      };
      Scene scene = scene_;
      scene.labels = part(labels_, t_);
      if (!w_.empty()) scene.weights = part(weights_, w_);
      const auto prediction = part(source_, y_);
      const Terms wanted = terms(scene, prediction, prediction);
      report_.expect("single", results[i].read_floats(), wanted.gradients, tolerance);
      report_.expect("single, given destination", to[i].read_floats(), wanted.gradients, tolerance);
      report_.expect("single, loss", labels[i]->lossImage().read_floats(),
                     loss_images(scene, wanted), tolerance);
      report_.expect("single, given destination, loss", other[i]->lossImage().read_floats(),
                     loss_images(scene, wanted), tolerance);
    }
  }

  /// Predictions in half precision: the oracle sees the rounded ones. The destination is deeper.
  void half() {
    const ImageBatch y = upload(bench_.device, Format::Float16, source_, y_);
    Images deep = source_;
    deep.c += 3;
    const ImageBatch to = batch(bench_, deep, Values(deep.count(), 77), false);
    const auto labels = objects(bench_, true);
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    made(bench_.device).encodeBatch(buffer, y, labels, to);
    finish(buffer);
    const auto rounded = tensor_of(source_, read(y));
    const Terms wanted = terms(scene_, rounded, rounded);
    auto padded = oracle::filled(wanted.gradients.n, wanted.gradients.h, wanted.gradients.w,
                                 static_cast<int>(deep.c));
    oracle::for_each(wanted.gradients, [&](int n, int j, int i, int c) {
      padded(n, j, i, c) = wanted.gradients(n, j, i, c);
    });
    report_.expect("float16 predictions, gradient", read(to), padded, tolerance);
    report_.expect("float16 predictions, loss", losses_of(labels), loss_images(scene_, wanted),
                   tolerance);
  }

  void temporaries() {
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    const CNNNeuron identity(bench_.device,
                             NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::None));
    const ImageBatch y(buffer, source_.descriptor(Format::Float32), source_.n);
    identity.encodeBatch(buffer, batch(bench_, source_, y_, false), y);
    const auto labels = objects(bench_, true);
    CNNYOLOLoss kernel = made(bench_.device);
    const ImageBatch result = kernel.encodeBatch(buffer, y, labels);
    for (const Image image : y)
      report_.expect_true("temporaries", image.readCount() == 0, "a read is left");
    finish(buffer);
    same("temporaries", {read(result), losses_of(labels)});
  }

  const YOLORow& r_;
  const Bench& bench_ = Bench::with(2);
  Report report_;
  Images source_, labels_, weights_, loss_;
  Values y_, t_, w_;
  Scene scene_;
  Result first_;
};

/// Anchors of the detector in grid cells.
Values fifteen_anchors() {
  Values boxes;
  for (const float size : {0.5F, 1.0F, 2.0F, 4.0F, 8.0F})
    for (const float aspect : {1.0F, 2.0F, 0.5F}) {
      boxes.push_back(size * std::sqrt(aspect));
      boxes.push_back(size / std::sqrt(aspect));
    }
  return boxes;
}

/// E12 of the specification.
YOLORow example_12() {
  YOLORow row{.name = "E12", .w = 2, .h = 1, .batch = 1, .quick = true};
  row.predictions = {0.2F,  -0.4F, 0.1F,  -0.3F, 0.5F,  1,    -1,     //
                     0,     0.3F,  0.4F,  -0.2F, -1,    0.2F, 0.1F,   //
                     0.1F,  0.1F,  0,     0,     -0.5F, 0,    0.3F,   //
                     0,     0,     0,     0,     -2,    0,    0,      //
                     0.5F,  -0.5F, 0.2F,  0.2F,  0.3F,  0.4F, -0.4F,  //
                     -0.2F, 0.6F,  -0.1F, 0.3F,  1.5F,  0,    1};
  for (int a = 0; a < 3; ++a)
    for (const float value : {0.6F, 0.4F, 1.2F, 1.8F, 1.0F, 1.0F, 0.0F})
      row.labels.push_back(value);
  for (int a = 0; a < 3; ++a)
    for (const float value : {0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.5F, 0.5F})
      row.labels.push_back(value);
  row.losses = {38.11714688};
  row.gradient.assign(42, 0);
  const std::vector<double> first{-0.248313510, 0.00630544466, -0.411608290, -0.973155661,
                                  -6.61564192,  -0.238382006,  0.238382006};
  std::copy(first.begin(), first.end(), row.gradient.begin());
  row.gradient[2 * 7 + 4] = 0.943851672;
  row.gradient[3 * 7 + 4] = 0.298007305;
  row.gradient[4 * 7 + 4] = 1.43610629;
  row.gradient[5 * 7 + 4] = 2.04393619;
  return row;
}
/// Its four parts, and the elements of None, by switching the others off.
std::vector<YOLORow> parts_of_example_12() {
  std::vector<YOLORow> rows;
  const std::vector<std::pair<std::string, double>> parts{{"XY", 0.02518098252},
                                                          {"WH", 0.1116564971},
                                                          {"confidence", 37.72647876},
                                                          {"classes", 0.2538306390}};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    YOLORow row = example_12();
    row.name = "E12_" + parts[i].first;
    row.gradient.clear();
    row.losses = {parts[i].second};
    if (i != 0) row.scalars.scaleXY = 0;
    if (i != 1) row.scalars.scaleWH = 0;
    if (i != 2) row.scalars.scaleObject = row.scalars.scaleNoObject = 0;
    if (i != 3) row.scalars.scaleClass = 0;
    rows.push_back(row);
  }
  return rows;
}

std::vector<YOLORow> yolo_rows() {
  std::vector<YOLORow> rows{
      example_12(),
      {.name = "plain", .quick = true},
      {.name = "single_cell", .w = 1, .h = 1, .classes = 1, .batch = 1, .quick = true},
      {.name = "one_anchor", .classes = 3, .batch = 7, .anchors = {1.5F, 1}},
      {.name = "odd_grid", .w = 5, .h = 7, .classes = 5, .batch = 2},
      {.name = "even_grid", .w = 4, .h = 6, .classes = 8, .batch = 1},
      {.name = "detector",
       .why = "the grid, anchors and classes of a real one; several blocks of a GPU an image",
       .w = 13,
       .h = 13,
       .classes = 20,
       .batch = 3,
       .anchors = fifteen_anchors()},
      {.name = "one_class", .classes = 1, .batch = 7},
      {.name = "across_batch", .batch = 7, .across = true, .quick = true},
      {.name = "no_object", .empty = true, .quick = true},
      {.name = "mean", .why = "as Sum", .reduction = Reduction::Mean},
      {.name = "sum_by_non_zero_weights",
       .why = "as Sum",
       .reduction = Reduction::SumByNonZeroWeights,
       .weighted = true,
       .is_derivative = false},
      {.name = "none", .reduction = Reduction::None, .quick = true},
      {.name = "none_across_batch", .reduction = Reduction::None, .across = true},
      {.name = "none_weights",
       .reduction = Reduction::None,
       .weighted = true,
       .is_derivative = false},
      {.name = "without_rescore", .rescore = false, .quick = true},
      {.name = "weights",
       .weighted = true,
       .is_derivative = false,  // soft-max weights differ between channels
       .quick = true},
      {.name = "weights_exact_soft_max",
       .weighted = true,
       .switches = {.softmax_cross_entropy_exact_gradient = true},
       .quick = true},
      {.name = "deeper_labels_and_weights",
       .weighted = true,
       .more_label_channels = 3,
       .more_weight_channels = 2,
       .switches = {.softmax_cross_entropy_exact_gradient = true}},
      {.name = "soft_classes", .soft_classes = true, .is_derivative = false},
      {.name = "soft_classes_exact_soft_max",
       .switches = {.softmax_cross_entropy_exact_gradient = true},
       .soft_classes = true},
      {.name = "plain_sum", .switches = {.yolo_plain_sum = true}, .quick = true},
      {.name = "plain_sum_across_batch", .across = true, .switches = {.yolo_plain_sum = true}},
      {.name = "smoothing", .classes = 3, .smoothing = 0.1F, .quick = true},
      {.name = "weight_of_parts", .weight = -1.5F},
      {.name = "weight_0", .weight = 0},
      {.name = "delta", .delta = 0.25F},
      {.name = "scales", .scalars = {3, 4, 5, 6, 7, 0.5F, 0.4F}, .quick = true},
      {.name = "every_overlap_is_an_object", .scalars = {.minIOUForObjectPresence = 0}},
      {.name = "the_best_alone_is_an_object", .scalars = {.minIOUForObjectPresence = 1}},
      {.name = "no_overlap_is_absence", .scalars = {.maxIOUForObjectAbsence = 0}},
      {.name = "any_overlap_is_absence", .scalars = {.maxIOUForObjectAbsence = 1}},
      {.name = "tied_anchors",
       .why = "equal shapes are all responsible",
       .batch = 2,
       .anchors = {1, 1, 2, 2, 1, 1, 2, 2},
       .quick = true},
  };
  for (const YOLORow& row : parts_of_example_12()) rows.push_back(row);

  // Each type in each part; those that take logarithms see predictions between 0 and 1.
  const char* names[] = {"MeanAbsoluteError",
                         "MeanSquaredError",
                         "SoftMaxCrossEntropy",
                         "SigmoidCrossEntropy",
                         "CategoricalCrossEntropy",
                         "Hinge",
                         "Huber",
                         "CosineDistance",
                         "Log",
                         "KullbackLeiblerDivergence"};
  for (int type = 0; type < 10; ++type) {
    const auto t = static_cast<Type>(type);
    YOLORow row{.classes = 3};
    row.positive = t == Type::CategoricalCrossEntropy || t == Type::Log;
    row.epsilon = 1e-3F;
    row.switches.softmax_cross_entropy_exact_gradient = true;
    for (int part = 0; part < 4; ++part) {
      YOLORow one = row;
      one.name = std::string(names[type]) + "_of_" +
                 std::array{"XY", "WH", "confidence", "classes"}.at(static_cast<std::size_t>(part));
      if (part == 0) one.xy = t;
      if (part == 1) one.wh = t;
      if (part == 2) one.confidence = t;
      if (part == 3) one.classes_type = t;
      rows.push_back(one);
    }
    YOLORow all = row;
    all.name = std::string(names[type]) + "_weights";
    all.xy = all.confidence = all.classes_type = t;
    all.weighted = true;
    rows.push_back(all);
    if (t == Type::KullbackLeiblerDivergence) {
      all.name = "published_kullback_leibler";
      all.positive = true;
      all.is_derivative = false;
      all.switches.kl_gradient_published = true;
      rows.push_back(all);
    }
  }
  return rows;
}

class YOLOLossRows : public testing::TestWithParam<YOLORow> {};
TEST_P(YOLOLossRows, hold) {
  try {
    DriveYOLO(GetParam()).run();
  } catch (const std::exception& error) {
    FAIL() << "FAIL CNNYOLOLoss " << GetParam().name << " [threw] " << error.what() << "\n"
           << repro();
  }
}
std::string name_of_yolo_row(const testing::TestParamInfo<YOLORow>& row) {
  return row.param.name + (row.param.quick ? "_quick" : "");
}
INSTANTIATE_TEST_SUITE_P(YOLOLoss, YOLOLossRows, testing::ValuesIn(yolo_rows()), name_of_yolo_row);

// ---- properties and errors
// ------------------------------------------------------------------------

const Device& device() { return Bench::with(1).device; }
CNNYOLOLossDescriptor usual(std::vector<float> anchors = {1, 2, 2, 1}, std::size_t count = 2,
                            Reduction reduction = Reduction::Sum) {
  return CNNYOLOLossDescriptor::cnnLossDescriptor(
      Type::MeanSquaredError, Type::Huber, Type::SigmoidCrossEntropy, Type::SoftMaxCrossEntropy,
      reduction, anchors, count);
}
template <class Call>
std::string message_of(Call&& call) {
  try {
    call();
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  return "no exception";
}

TEST(YOLOLossProperties, DescriptorHasTheDocumentedDefaults_quick) {
  const auto d = usual();
  EXPECT_EQ(d.XYLossDescriptor().lossType(), Type::MeanSquaredError);
  EXPECT_EQ(d.WHLossDescriptor().lossType(), Type::Huber);
  EXPECT_EQ(d.confidenceLossDescriptor().lossType(), Type::SigmoidCrossEntropy);
  EXPECT_EQ(d.classesLossDescriptor().lossType(), Type::SoftMaxCrossEntropy);
  EXPECT_EQ(d.reductionType(), Reduction::Sum);
  EXPECT_FALSE(d.reduceAcrossBatch());
  EXPECT_TRUE(d.rescore());
  EXPECT_EQ(d.scaleXY(), 10);
  EXPECT_EQ(d.scaleWH(), 10);
  EXPECT_EQ(d.scaleNoObject(), 5);
  EXPECT_EQ(d.scaleObject(), 100);
  EXPECT_EQ(d.scaleClass(), 2);
  EXPECT_EQ(d.minIOUForObjectPresence(), 0.7F);
  EXPECT_EQ(d.maxIOUForObjectAbsence(), 0.3F);
  EXPECT_EQ(d.numberOfAnchorBoxes(), 2U);
  EXPECT_EQ(d.anchorBoxes(), (std::vector<float>{1, 2, 2, 1}));
}

TEST(YOLOLossProperties, KernelKeepsACopyOfTheDescriptor_quick) {
  auto d = usual();
  auto wh = d.WHLossDescriptor();
  wh.setDelta(0.5F);
  d.setWHLossDescriptor(wh);
  d.setReductionType(Reduction::None);
  d.setReduceAcrossBatch(true);
  d.setScaleXY(1);
  d.setScaleWH(2);
  d.setScaleNoObject(3);
  d.setScaleObject(4);
  d.setScaleClass(6);
  d.setMinIOUForObjectPresence(0.8F);
  d.setMaxIOUForObjectAbsence(0.2F);
  d.setNumberOfAnchorBoxes(1);
  d.setAnchorBoxes({3, 4, 5});
  const CNNYOLOLoss kernel(device(), d);
  d.setScaleXY(99);
  EXPECT_EQ(kernel.scaleXY(), 1);
  EXPECT_EQ(kernel.scaleWH(), 2);
  EXPECT_EQ(kernel.scaleNoObject(), 3);
  EXPECT_EQ(kernel.scaleObject(), 4);
  EXPECT_EQ(kernel.scaleClass(), 6);
  EXPECT_EQ(kernel.minIOUForObjectPresence(), 0.8F);
  EXPECT_EQ(kernel.maxIOUForObjectAbsence(), 0.2F);
  EXPECT_EQ(kernel.reductionType(), Reduction::None);
  EXPECT_TRUE(kernel.reduceAcrossBatch());
  EXPECT_TRUE(kernel.rescore());
  EXPECT_EQ(kernel.numberOfAnchorBoxes(), 1U);
  EXPECT_EQ(kernel.anchorBoxes(), (std::vector<float>{3, 4, 5}));
  EXPECT_EQ(kernel.lossXY().lossType(), Type::MeanSquaredError);
  EXPECT_EQ(kernel.lossWH().lossType(), Type::Huber);
  EXPECT_EQ(kernel.lossWH().delta(), 0.5F);
  EXPECT_EQ(kernel.lossWH().reductionType(), Reduction::None);
  EXPECT_TRUE(kernel.lossWH().reduceAcrossBatch());
  EXPECT_EQ(kernel.lossConfidence().lossType(), Type::SigmoidCrossEntropy);
  EXPECT_EQ(kernel.lossClasses().lossType(), Type::SoftMaxCrossEntropy);
}

TEST(YOLOLossErrors, OfDescriptors_quick) {
  EXPECT_EQ(message_of([] {
              usual({1, 2, 2});
            }),
            "CNNYOLOLossDescriptor: anchorBoxes is 3 numbers; needed 4, a width and a height for "
            "each anchor. Correct the loss descriptor.");
  EXPECT_EQ(message_of([] { usual({}, 0); }),
            "CNNYOLOLossDescriptor: numberOfAnchorBoxes is 0; needed 1 or more. Correct the loss "
            "descriptor.");
  EXPECT_EQ(message_of([] {
              usual({1, 0, 2, 2});
            }),
            "CNNYOLOLossDescriptor: anchorBoxes is 0.000000 as number 1; needed widths and heights "
            "above 0. Correct the loss descriptor.");
  EXPECT_NE(message_of([] { usual({1, 2, 2, NAN}); }), "no exception");
  EXPECT_EQ(message_of([] {
              usual({1, 2}, 1, static_cast<Reduction>(4));
            }),
            "CNNLossDescriptor: reductionType is 4; needed None, Sum, Mean or "
            "SumByNonZeroWeights. Correct the loss descriptor.");
  auto d = usual();
  d.setReductionType(Reduction::Mean);
  d.setXYLossDescriptor(CNNLossDescriptor::cnnLossDescriptor(Type::CosineDistance, Reduction::Sum));
  EXPECT_EQ(message_of([&] { CNNYOLOLoss(device(), d); }),
            "CNNYOLOLoss: reductionType is 2; needed Sum for CosineDistance. Correct the loss "
            "descriptor.");
  d = usual();
  d.setNumberOfAnchorBoxes(3);
  EXPECT_EQ(message_of([&] { CNNYOLOLoss(device(), d); }),
            "CNNYOLOLoss: anchorBoxes is 4 numbers; needed 6, a width and a height for each "
            "anchor. Correct the loss descriptor.");
  EXPECT_EQ(message_of([&] { CNNYOLOLoss(device(), CNNYOLOLossDescriptor()); }),
            "CNNYOLOLoss: numberOfAnchorBoxes is 0; needed 1 or more. Correct the loss "
            "descriptor.");
}

class YOLOLossCalls : public testing::Test {
 protected:
  static ImageBatch images(std::size_t w, std::size_t h, std::size_t c, std::size_t n = 1) {
    return {device(), ImageDescriptor::imageDescriptor(Format::Float32, w, h, c), n};
  }
  static CNNLossLabelsBatch labels(std::size_t w, std::size_t h, std::size_t c, std::size_t n = 1,
                                   Size loss = {1, 1, 1}) {
    CNNLossLabelsBatch batch;
    for (const Image image : images(w, h, c, n))
      batch.push_back(std::make_shared<CNNLossLabels>(device(), loss, image, Image()));
    return batch;
  }
  /// What the encode says, which must then be possible with correct arguments.
  std::string refusal(const ImageBatch& source, const CNNLossLabelsBatch& truth,
                      const ImageBatch& to) {
    CommandBuffer buffer = Bench::with(1).queue.makeCommandBuffer();
    std::string message = message_of([&] { kernel.encodeBatch(buffer, source, truth, to); });
    CNNYOLOLoss(device(), usual())
        .encodeBatch(buffer, images(2, 2, 12), labels(2, 2, 12), images(2, 2, 12));
    finish(buffer);
    return message;
  }
  CNNYOLOLoss kernel{device(), usual()};
};

TEST_F(YOLOLossCalls, RefuseWrongChannels_quick) {
  for (const std::size_t c : {13U, 10U, 2U}) {
    EXPECT_EQ(refusal(images(2, 2, c), labels(2, 2, c), images(2, 2, c)),
              "CNNYOLOLoss: sourceImages is 2x2x" + std::to_string(c) +
                  " Float32; needed (5 + classes) * 2 feature channels, with 1 class or more. "
                  "Predict x, y, width, height, a confidence and the classes for each anchor.");
  }
}
TEST_F(YOLOLossCalls, RefuseLabelsThatDoNotFit_quick) {
  EXPECT_EQ(refusal(images(2, 2, 12), labels(2, 2, 11), images(2, 2, 12)),
            "CNNYOLOLoss: labels is 2x2x11 Float32; needed 2x2 with at least 12 feature channels, "
            "as the source image. Labels and weights are images of the predictions' size.");
  EXPECT_NE(refusal(images(2, 2, 12), labels(3, 2, 12), images(2, 2, 12)), "no exception");
  EXPECT_NE(refusal(images(2, 2, 12), labels(2, 3, 12), images(2, 2, 12)), "no exception");
  EXPECT_EQ(refusal(images(2, 2, 12, 2), labels(2, 2, 12), images(2, 2, 12, 2)),
            "CNNYOLOLoss: labels is 1; needed 2, one for each image.");
  EXPECT_EQ(refusal(images(2, 2, 12), {nullptr}, images(2, 2, 12)),
            "CNNYOLOLoss: labels is null; needed a labels object for each image.");
  EXPECT_EQ(refusal(images(2, 2, 12), labels(2, 2, 12, 1, {2, 2, 12}), images(2, 2, 12)),
            "CNNYOLOLoss: lossImageSize is 2x2x12 Float32; needed 1x1x1 for a reduced loss. Make "
            "the labels with that loss image size.");
  auto mixed = labels(2, 2, 12, 2);
  mixed[1] = std::make_shared<CNNLossLabels>(device(), Size{1, 1, 1}, images(2, 2, 12).front(),
                                             images(2, 2, 12).front());
  EXPECT_EQ(refusal(images(2, 2, 12, 2), mixed, images(2, 2, 12, 2)),
            "CNNYOLOLoss: labels is a batch where only some have weights; needed weights for all "
            "or for none.");
}
TEST_F(YOLOLossCalls, RefuseDestinationsThatDoNotFit_quick) {
  for (const auto& to : {images(2, 2, 11), images(1, 2, 12), images(2, 1, 12), images(3, 2, 12)}) {
    EXPECT_EQ(refusal(images(2, 2, 12), labels(2, 2, 12), to),
              "CNNYOLOLoss: destinationImages is 1 images of " +
                  std::to_string(to.front().width()) + "x" + std::to_string(to.front().height()) +
                  "x" + std::to_string(to.front().featureChannels()) +
                  " Float32; needed images as large as the source images.");
  }
  EXPECT_NE(refusal(images(2, 2, 12, 2), labels(2, 2, 12, 2), images(2, 2, 12)), "no exception");
}
TEST_F(YOLOLossCalls, RefuseAnotherGeometry_quick) {
  const auto call = [&] { return refusal(images(2, 2, 12), labels(2, 2, 12), images(2, 2, 12)); };
  EXPECT_EQ(call(), "no exception");
  kernel.setOffset({1, 0, 0});
  EXPECT_EQ(call(),
            "CNNYOLOLoss: offset or clipRect is not the default; needed the default. Loss filters "
            "work on whole images.");
  kernel.setOffset({});
  kernel.setClipRect({{0, 0, 0}, {1, 1, 1}});
  EXPECT_NE(call(), "no exception");
  kernel.setClipRect(RectNoClip);
  kernel.setSourceFeatureChannelOffset(4);
  EXPECT_EQ(call(),
            "CNNYOLOLoss: a feature channel offset or count is not the default; needed the "
            "default. Loss filters work on whole images.");
  kernel.setSourceFeatureChannelOffset(0);
  kernel.setDestinationFeatureChannelOffset(4);
  EXPECT_NE(call(), "no exception");
}
TEST_F(YOLOLossCalls, RefuseEncodesWithoutLabels_quick) {
  CommandBuffer buffer = Bench::with(1).queue.makeCommandBuffer();
  const CNNKernel& base = kernel;
  EXPECT_EQ(message_of([&] { base.encodeBatch(buffer, images(2, 2, 12), images(2, 2, 12)); }),
            "CNNYOLOLoss: labels is absent; needed a labels object for each image. Use the encodes "
            "that take labels.");
}
TEST_F(YOLOLossCalls, DoNothingForNoImages_quick) {
  CommandBuffer buffer = Bench::with(1).queue.makeCommandBuffer();
  kernel.encodeBatch(buffer, ImageBatch(), CNNLossLabelsBatch(), ImageBatch());
  EXPECT_TRUE(kernel.encodeBatch(buffer, ImageBatch(), CNNLossLabelsBatch()).empty());
}
/// The same checks hold for the loss that is not of boxes.
TEST_F(YOLOLossCalls, CNNLossRefusesSmallerDestinations_quick) {
  const CNNLoss loss(device(),
                     CNNLossDescriptor::cnnLossDescriptor(Type::MeanSquaredError, Reduction::Sum));
  CommandBuffer buffer = Bench::with(1).queue.makeCommandBuffer();
  EXPECT_EQ(message_of([&] {
              loss.encodeBatch(buffer, images(2, 2, 12), labels(2, 2, 12), images(1, 2, 12));
            }),
            "CNNLoss: destinationImages is 1 images of 1x2x12 Float32; needed images as large as "
            "the source images.");
}
TEST_F(YOLOLossCalls, ReadChangedLabelsAtTheNextEncode_quick) {
  const auto truth = labels(1, 1, 12);
  const ImageBatch source = images(1, 1, 12), to = images(1, 1, 12);
  source.front().write_floats(floats(12, 5));
  Values record{0.5F, 0.5F, 1, 2, 1, 1, 0.5F, 0.5F, 1, 2, 1, 1}, losses;
  for (const float confidence : {1.0F, 0.0F}) {
    record[4] = record[10] = confidence;
    truth[0]->labelsImage().write_floats(record);
    CommandBuffer buffer = Bench::with(1).queue.makeCommandBuffer();
    kernel.encodeBatch(buffer, source, truth, to);
    finish(buffer);
    losses.push_back(truth[0]->lossImage().read_floats()[0]);
  }
  EXPECT_GT(losses[0], 10 * std::abs(losses[1]));
}

}  // namespace
}  // namespace cermet::test
