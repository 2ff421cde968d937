// Dropout: each encode has a mask of its own, which the oracle knows from seed and encode number.

#include "../oracle/dropout.h"
#include "bench.h"
#include "dropout.h"
#include "report.h"

namespace cermet::test {
namespace {

class DriveDropout {
 public:
  explicit DriveDropout(const DropoutRow& row)
      : r_(row),
        g_(resolve(row.row, {}, NNPaddingMethod::SizeSame)),
        report_("CNNDropout", row.row.name) {
    source_ = {row.row.batch, row.row.source.h, row.row.source.w, row.row.source.c};
    const auto size = [](int value) { return static_cast<std::size_t>(value); };
    target_ = {{row.row.batch, size(g_.height), size(g_.width), source_.c},
               size(g_.x),
               size(g_.y),
               size(g_.w),
               size(g_.h),
               0,
               source_.c};
    x_ = floats(source_.count(), 31);
    e_ = floats(target_.image.count(), 32);
  }

  void run() {
    CNNDropout kernel = made(bench_);
    for (std::uint64_t encode = 0; encode < 3; ++encode)
      expect("encode " + std::to_string(encode), forward(kernel, bench_).y, encode);
    CNNDropout copy = kernel;  // goes on where the kernel is
    expect("copy", forward(copy, bench_).y, 3);
    kernel.set_encode_number(1);
    expect("encode number set back", forward(kernel, bench_).y, 1);
    const Bench& one = Bench::with(1);
    expect("one thread", forward(made(one), one).y, 0);
    gradient();
  }

 private:
  using Format = ImageFeatureChannelFormat;
  struct Pass {
    Values y;
    std::vector<std::uint8_t> masks;
    Values dx;
  };

  [[nodiscard]] CNNDropout made(const Bench& bench) const {
    CNNDropout kernel(bench.device, r_.keepProbability, r_.seed, r_.maskStrideInPixels);
    kernel.setOffset({g_.offset_x, g_.offset_y, 0});
    kernel.setClipRect(r_.row.clip);
    kernel.setEdgeMode(r_.row.edge);
    return kernel;
  }
  [[nodiscard]] Dropout op() const {
    const auto i32 = [](std::size_t value) { return static_cast<std::int32_t>(value); };
    const Size& s = r_.maskStrideInPixels;
    return {r_.keepProbability, i32(s.width), i32(s.height), i32(s.depth)};
  }
  [[nodiscard]] oracle::Tensor mask(std::uint64_t encode) const {
    return oracle::dropout_mask(op(), {r_.seed, encode, 0, 0}, g_.n, g_.h, g_.w,
                                static_cast<int>(source_.c));
  }

  Pass forward(const CNNDropout& kernel, const Bench& bench,
               CNNDropoutGradient* gradient = nullptr) const {
    const ImageBatch x = upload(bench.device, Format::Float32, source_, x_);
    const ImageBatch y =
        upload(bench.device, Format::Float32, target_.image, Values(target_.image.count(), 5));
    const StateBatch states = kernel.resultStateBatch(x, {}, y);
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    kernel.encodeBatch(buffer, x, states, y);
    ImageBatch dx;
    if (gradient != nullptr)
      dx = gradient->encodeBatch(buffer, upload(bench.device, Format::Float32, target_.image, e_),
                                 x, states);
    finish(buffer);
    Pass pass{region_of(target_, read(y)), {}, gradient != nullptr ? read(dx) : Values()};
    for (std::size_t i = 0; i < states.size(); ++i) {
      const auto one = states.at<CNNDropoutGradientState>(i)->maskData();
      pass.masks.insert(pass.masks.end(), one.begin(), one.end());
    }
    return pass;
  }
  void expect(const std::string& what, const Values& got, std::uint64_t encode) {
    const auto wanted =
        oracle::apply_dropout_mask(op(), aligned(tensor_of(source_, x_), g_), mask(encode));
    report_.expect(what, got, wanted, {1e-6, 1e-30});
  }

  void gradient() {
    CNNDropoutGradient kernel(bench_.device, r_.keepProbability, r_.seed, r_.maskStrideInPixels);
    kernel.setDestinationImageAllocator(Image::defaultAllocator());
    const Pass pass = forward(made(bench_), bench_, &kernel);
    const auto m = mask(0);
    const std::vector<std::uint8_t> wanted_mask(m.v.begin(), m.v.end());
    report_.expect_true("maskData", pass.masks == wanted_mask,
                        "another mask than seed and encode say");
    Images region = target_.image;
    region.h = target_.h;
    region.w = target_.w;
    const auto e = oracle::apply_dropout_mask(op(), tensor_of(region, region_of(target_, e_)), m);
    report_.expect("gradient", pass.dx, scattered(e, g_), {1e-6, 1e-30});
  }

  const DropoutRow& r_;
  Geometry g_;
  const Bench& bench_ = Bench::with(2);
  Report report_;
  Images source_;
  Target target_;
  Values x_, e_;
};

}  // namespace

void check(const DropoutRow& row) { DriveDropout(row).run(); }

}  // namespace cermet::test
