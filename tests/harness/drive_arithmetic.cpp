// Arithmetic on two images: forward and the gradients of both operands, against the oracle.
// Comparisons have no gradient.

#include "../oracle/arithmetic.h"
#include "../oracle/compare.h"
#include "arithmetic.h"
#include "bench.h"
#include "report.h"

namespace cermet::test {
namespace {

class DriveArithmetic {
 public:
  explicit DriveArithmetic(const ArithmeticRow& row)
      : r_(row), report_(row.comparison ? "NNCompare" : "CNNArithmetic", row.name) {
    n_ = row.x.empty()
             ? row.batch
             : row.x.size() / (row.primary.image.w * row.primary.image.h * row.primary.image.c);
    primary_ = {n_, row.primary.image.h, row.primary.image.w, row.primary.image.c};
    secondary_ = {n_, row.secondary.image.h, row.secondary.image.w, row.secondary.image.c};
    const auto axis = [&](std::size_t stride, std::size_t first, std::size_t second) {
      return stride != 0 ? first : second;
    };
    Images image{n_, axis(row.primary.strideY, primary_.h, secondary_.h),
                 axis(row.primary.strideX, primary_.w, secondary_.w),
                 axis(row.primary.strideC, primary_.c, secondary_.c)};
    if (row.destination.w != 0) {
      image.w = row.destination.w;
      image.h = row.destination.h;
    }
    const auto cut = [](std::size_t origin, std::size_t size, std::size_t whole) {
      return std::min(size, whole - origin);
    };
    target_ = {image,
               row.clip.origin.x,
               row.clip.origin.y,
               cut(row.clip.origin.x, row.clip.size.width, image.w),
               cut(row.clip.origin.y, row.clip.size.height, image.h),
               0,
               image.c};
    const auto values = [&](const Images& e, std::uint64_t seed, float low, float high) {
      auto made = floats(e.count(), seed, low, high);
      if (!row.comparison) return made;
      for (float& value : made) value = std::round(2 * value) / 2;  // so that many are equal
      return made;
    };
    x_ = row.x.empty() ? values(primary_, 71, -1, 1) : row.x;
    y_ = row.y.empty() ? values(secondary_, 72, row.comparison ? -1 : 0.5F, row.comparison ? 1 : 2)
                       : row.y;
    e_ = row.incoming.empty() ? floats(image.count(), 73) : row.incoming;
  }

  void run() {
    const auto a = operand(r_.primary, primary_, x_), b = operand(r_.secondary, secondary_, y_);
    const Arithmetic op{r_.kind, r_.primaryScale, r_.secondaryScale,
                        r_.bias, r_.minimumValue, r_.maximumValue};
    const auto wanted =
        r_.comparison
            ? oracle::ArithmeticResult{oracle::compare({*r_.comparison, r_.threshold}, a, b), {}}
            : oracle::arithmetic(op, a, b);
    const Tolerance tolerance{1e-5, 1e-30};
    const Values result = forward(bench_, false);
    report_.expect("forward", result, wanted.destination, tolerance);
    if (!r_.result.empty())
      report_.expect("forward, specification's numbers", result, r_.result, extents(target_.image),
                     tolerance);
    report_.expect_same("one thread", forward(Bench::with(1), false), result, region_extents(),
                        false, tolerance);
    report_.expect_same("loose images", forward(bench_, true), result, region_extents(), false,
                        tolerance);
    if (r_.destination.w == 0) returned(result);
    if (r_.comparison) with_states(result);
    if (r_.comparison || r_.kind == ArithmeticKind::divide) return;
    gradient(false, a, b, wanted.mask);
    gradient(true, b, a, wanted.mask);
  }

 private:
  using Format = ImageFeatureChannelFormat;
  static Extents extents(const Images& e) {
    return {static_cast<int>(e.n), static_cast<int>(e.h), static_cast<int>(e.w),
            static_cast<int>(e.c)};
  }
  [[nodiscard]] Extents region_extents() const {
    return extents({n_, target_.h, target_.w, target_.channels});
  }
  [[nodiscard]] oracle::EdgeRule edge() const {
    return r_.edge == ImageEdgeMode::Clamp ? oracle::EdgeRule::Clamp : oracle::EdgeRule::Zero;
  }
  /// visit(place in the operand's part, pixel and channel of its image); an axis of stride 0 has
  /// extent 1.
  template <class Visit>
  void for_each_read(const ArithmeticOperand& o, const oracle::Tensor& part, Visit visit) const {
    oracle::for_each(part, [&](int n, int y, int x, int c) {
      visit(n, y, x, c, y + static_cast<int>(o.offset.y), x + static_cast<int>(o.offset.x));
    });
  }
  [[nodiscard]] oracle::Tensor part_of(const ArithmeticOperand& o) const {
    return oracle::filled(static_cast<int>(n_), static_cast<int>(o.strideY != 0 ? target_.h : 1),
                          static_cast<int>(o.strideX != 0 ? target_.w : 1),
                          static_cast<int>(o.strideC != 0 ? target_.channels : 1));
  }
  [[nodiscard]] oracle::Tensor operand(const ArithmeticOperand& o, const Images& e,
                                       const Values& values) const {
    const auto image = tensor_of(e, values);
    auto part = part_of(o);
    for_each_read(o, part, [&](int n, int y, int x, int c, int at_y, int at_x) {
      part(n, y, x, c) = oracle::read(image, n, at_y, at_x, c, edge());
    });
    return part;
  }

  [[nodiscard]] std::unique_ptr<CNNArithmetic> made(const Device& device) const {
    std::unique_ptr<CNNArithmetic> kernel;
    if (r_.comparison) {
      auto compare = std::make_unique<NNCompare>(device);
      compare->setComparisonType(*r_.comparison);
      compare->setThreshold(r_.threshold);
      kernel = std::move(compare);
    } else {
      kernel = made_arithmetic(device);
    }
    set(*kernel);
    return kernel;
  }
  [[nodiscard]] std::unique_ptr<CNNArithmetic> made_arithmetic(const Device& device) const {
    switch (r_.kind) {
      case ArithmeticKind::add:
        return std::make_unique<CNNAdd>(device);
      case ArithmeticKind::subtract:
        return std::make_unique<CNNSubtract>(device);
      case ArithmeticKind::multiply:
        return std::make_unique<CNNMultiply>(device);
      case ArithmeticKind::divide:
        break;
    }
    return std::make_unique<CNNDivide>(device);
  }
  void set(CNNArithmetic& kernel) const {
    kernel.setPrimaryScale(r_.primaryScale);
    kernel.setSecondaryScale(r_.secondaryScale);
    kernel.setBias(r_.bias);
    kernel.setMinimumValue(r_.minimumValue);
    kernel.setMaximumValue(r_.maximumValue);
    kernel.setPrimaryStrideInPixelsX(r_.primary.strideX);
    kernel.setPrimaryStrideInPixelsY(r_.primary.strideY);
    kernel.setPrimaryStrideInFeatureChannels(r_.primary.strideC);
    kernel.setSecondaryStrideInPixelsX(r_.secondary.strideX);
    kernel.setSecondaryStrideInPixelsY(r_.secondary.strideY);
    kernel.setSecondaryStrideInFeatureChannels(r_.secondary.strideC);
    kernel.setPrimaryOffset(r_.primary.offset);
    kernel.setSecondaryOffset(r_.secondary.offset);
    kernel.setPrimaryEdgeMode(r_.edge);
    kernel.setSecondaryEdgeMode(r_.edge);
    kernel.setClipRect(r_.clip);
  }

  Values forward(const Bench& bench, bool loose) {
    const auto make = [&](const Images& e, const Values& v) {
      return loose ? upload_loose(bench.device, Format::Float32, e, v)
                   : upload(bench.device, Format::Float32, e, v);
    };
    Values before(target_.image.count());
    for (std::size_t i = 0; i < before.size(); ++i) before[i] = static_cast<float>(100 + i % 50);
    const ImageBatch to = make(target_.image, before);
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    made(bench.device)->encodeBatch(buffer, make(primary_, x_), make(secondary_, y_), to);
    finish(buffer);
    const Values after = read(to), region = region_of(target_, after);
    report_.expect_same("outside the region", with_region(target_, before, region), after,
                        extents(target_.image), false, {});
    return region;
  }
  void returned(const Values& result) {
    const auto kernel = made(bench_.device);
    kernel->setDestinationImageAllocator(Image::defaultAllocator());
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    const ImageBatch images =
        kernel->encodeBatch(buffer, upload(bench_.device, Format::Float32, primary_, x_),
                            upload(bench_.device, Format::Float32, secondary_, y_));
    finish(buffer);
    report_.expect_same("returned", region_of(target_, read(images)), result, region_extents(),
                        false, {});
  }

  /// There is no gradient that could use them, but the encode exists and does the same.
  void with_states(const Values& result) {
    const auto kernel = made(bench_.device);
    const ImageBatch x = upload(bench_.device, Format::Float32, primary_, x_),
                     y = upload(bench_.device, Format::Float32, secondary_, y_),
                     z = upload(bench_.device, Format::Float32, target_.image,
                                Values(target_.image.count()));
    const StateBatch states = kernel->resultStateBatch(x, y, {}, z);
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    kernel->encodeBatch(buffer, x, y, states, z);
    finish(buffer);
    report_.expect_same("with states", region_of(target_, read(z)), result, region_extents(), false,
                        {});
    report_.expect_true("states", states[0]->resourceSize() == 0, "hold a mask of limits");
  }

  /// `target`: what the forward encode read of the operand whose gradient is wanted.
  void gradient(bool of_secondary, const oracle::Tensor& target, const oracle::Tensor& other,
                const oracle::Tensor& mask) {
    const ArithmeticOperand& o = of_secondary ? r_.secondary : r_.primary;
    const Images& image = of_secondary ? secondary_ : primary_;
    ArithmeticGradient op;
    op.kind = r_.kind;
    op.primaryScale = r_.kind == ArithmeticKind::multiply ? r_.primaryScale
                      : of_secondary                      ? r_.secondaryScale
                                                          : r_.primaryScale;
    if (of_secondary && r_.kind == ArithmeticKind::subtract) op.primaryScale = -op.primaryScale;
    op.secondaryScale = r_.secondaryScale;
    const auto e = tensor_of({n_, target_.h, target_.w, target_.channels}, region_of(target_, e_));
    const auto part = oracle::arithmetic_gradient(op, e, other, mask, target.h, target.w, target.c);
    auto wanted = oracle::filled(static_cast<int>(n_), static_cast<int>(image.h),
                                 static_cast<int>(image.w), static_cast<int>(image.c));
    for_each_read(o, part, [&](int n, int y, int x, int c, int at_y, int at_x) {
      oracle::scatter(wanted, n, at_y, at_x, c, part(n, y, x, c), edge());
    });

    std::unique_ptr<CNNArithmeticGradient> kernel;
    switch (r_.kind) {
      case ArithmeticKind::add:
        kernel = std::make_unique<CNNAddGradient>(bench_.device, of_secondary);
        break;
      case ArithmeticKind::subtract:
        kernel = std::make_unique<CNNSubtractGradient>(bench_.device, of_secondary);
        break;
      default:
        kernel = std::make_unique<CNNMultiplyGradient>(bench_.device, of_secondary);
        break;
    }
    kernel->setPrimaryScale(op.primaryScale);
    kernel->setSecondaryScale(op.secondaryScale);
    kernel->setDestinationImageAllocator(Image::defaultAllocator());
    const auto forward_kernel = made(bench_.device);
    const ImageBatch x = upload(bench_.device, Format::Float32, primary_, x_),
                     y = upload(bench_.device, Format::Float32, secondary_, y_);
    const ImageBatch z =
        upload(bench_.device, Format::Float32, target_.image, Values(target_.image.count()));
    const StateBatch states = forward_kernel->resultStateBatch(x, y, {}, z);
    const bool second_is_primary = (r_.kind == ArithmeticKind::multiply) == of_secondary;
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    forward_kernel->encodeBatch(buffer, x, y, states, z);
    const ImageBatch e_images = upload(bench_.device, Format::Float32, target_.image, e_);
    const ImageBatch made_gradient =
        kernel->encodeBatch(buffer, e_images, second_is_primary ? x : y, states);
    std::vector<Image> singles;
    for (std::size_t i = 0; i < n_; ++i)
      singles.push_back(
          kernel->encode(buffer, e_images[i], second_is_primary ? x[i] : y[i], states[i]));
    finish(buffer);
    const std::string name = of_secondary ? "gradient of the secondary" : "gradient of the primary";
    const Values got = read(made_gradient);
    report_.expect(name, got, wanted, {1e-5, 1e-30});
    const auto& given = of_secondary ? r_.by_y : r_.by_x;
    if (!given.empty())
      report_.expect(name + ", specification's numbers", got, given, extents(image), {1e-5, 1e-30});
    report_.expect_same(name + ", single images", read(ImageBatch(singles)), got, extents(image),
                        false, {});
  }

  const ArithmeticRow& r_;
  const Bench& bench_ = Bench::with(2);
  Report report_;
  std::size_t n_ = 1;
  Images primary_, secondary_;
  Target target_;
  Values x_, y_, e_;
};

}  // namespace

void check(const ArithmeticRow& row) { DriveArithmetic(row).run(); }

}  // namespace cermet::test
