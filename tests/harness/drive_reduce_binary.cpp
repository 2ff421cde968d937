// Every way to encode a kernel over NNReduceBinary, against the oracle and against each other.

#include <algorithm>
#include <array>
#include <cmath>

#include "bench.h"
#include "cermet/cnn/neuron.h"
#include "reduce_binary.h"
#include "report.h"

namespace cermet::test {
namespace {

using Format = ImageFeatureChannelFormat;

std::size_t cut(std::size_t origin, std::size_t size, std::size_t whole) {
  return std::min(size, whole - origin);
}

class DriveReduceBinary {
 public:
  explicit DriveReduceBinary(const ReduceBinarySubject& subject)
      : s_(subject),
        r_(subject.row),
        report_(std::string(subject.make(bench_.device)->class_name()), subject.row.name) {
    n_ = r_.x.empty() ? r_.batch : r_.x.size() / (r_.primary.w * r_.primary.h * r_.primary.c);
    primary_ = {n_, r_.primary.h, r_.primary.w, r_.primary.c};
    secondary_ = {n_, r_.secondary.h, r_.secondary.w, r_.secondary.c};
    read_ = std::min(r_.primary_channels, r_.primary.c - r_.primary_channel);
    written_ = s_.channels_written(read_);
    const Region& region = r_.primarySourceClipRect;
    const std::size_t w = cut(region.origin.x, region.size.width, r_.primary.w),
                      h = cut(region.origin.y, region.size.height, r_.primary.h);
    const Extent whole = r_.destination.w != 0 ? r_.destination : Extent{w, h};
    plain_ = {{n_, whole.h, whole.w, r_.destination_channel + written_},
              r_.clip.origin.x,
              r_.clip.origin.y,
              std::min(w, cut(r_.clip.origin.x, r_.clip.size.width, whole.w)),
              std::min(h, cut(r_.clip.origin.y, r_.clip.size.height, whole.h)),
              r_.destination_channel,
              written_};
    framed_ = plain_;
    framed_.image.h += 2;
    framed_.image.w += 3;
    framed_.image.c += 7;
    framed_.x += 2;
    framed_.y += 1;
    framed_.channel += 4;
    x_ = r_.x.empty() ? test_data(r_.data, primary_.count(), 1, r_.low, r_.high) : r_.x;
    y_ = r_.y.empty() ? test_data(r_.data, secondary_.count(), 2, r_.low, r_.high) : r_.y;
  }

  void run() {
    const oracle::Tensor wanted = value(x_, y_);
    const Values result = forward("forward", bench_, plain_);
    report_.expect("forward", result, wanted, tolerance());
    if (!r_.result.empty())
      report_.expect("forward, specification's numbers", result, r_.result, region_extents(),
                     tolerance());
    report_.expect("forward, framed", forward("forward, framed", bench_, framed_), wanted,
                   tolerance());
    same("one thread", forward("one thread", Bench::with(1), plain_), result);
    same("loose images", forward("loose images", bench_, plain_, true), result);
    same("copy of the kernel", forward("copy of the kernel", bench_, plain_, false, true), result);
    single_images(result);
    stacked(result);
    temporaries(result);
    if (r_.clip == RectNoClip && r_.destination.w == 0) returned(result);
    if (!r_.float32_only) formats();
  }

 private:
  [[nodiscard]] Tolerance tolerance() const { return {r_.tolerance, 1e-30}; }
  [[nodiscard]] Extents region_extents() const {
    return {static_cast<int>(n_), static_cast<int>(plain_.h), static_cast<int>(plain_.w),
            static_cast<int>(written_)};
  }
  void same(std::string_view what, const Values& got, const Values& wanted) {
    report_.expect_same(what, got, wanted, region_extents(), false, tolerance());
  }

  /// The part of an image that a region names, with the channels that are read.
  [[nodiscard]] static oracle::Tensor part(const Images& e, const Values& values,
                                           const Region& region, std::size_t channel,
                                           std::size_t channels) {
    const auto image = channels_of(tensor_of(e, values), channel, channels);
    const auto x = static_cast<int>(region.origin.x), y = static_cast<int>(region.origin.y);
    auto out =
        oracle::filled(image.n, static_cast<int>(cut(region.origin.y, region.size.height, e.h)),
                       static_cast<int>(cut(region.origin.x, region.size.width, e.w)), image.c);
    oracle::for_each(
        out, [&](int n, int j, int i, int c) { out(n, j, i, c) = image(n, y + j, x + i, c); });
    return out;
  }
  [[nodiscard]] oracle::Tensor value(const Values& x, const Values& y) const {
    auto a = part(primary_, x, r_.primarySourceClipRect, r_.primary_channel, read_);
    const auto b = part(secondary_, y, r_.secondarySourceClipRect, r_.secondary_channel, read_);
    auto written = oracle::filled(a.n, static_cast<int>(plain_.h), static_cast<int>(plain_.w), a.c);
    oracle::for_each(written,
                     [&](int n, int j, int i, int c) { written(n, j, i, c) = a(n, j, i, c); });
    return s_.value(written, b);
  }

  [[nodiscard]] std::unique_ptr<NNReduceBinary> made(const Device& device,
                                                     const Target& target) const {
    auto kernel = s_.make(device);
    kernel->setPrimarySourceClipRect(r_.primarySourceClipRect);
    kernel->setSecondarySourceClipRect(r_.secondarySourceClipRect);
    kernel->setPrimarySourceFeatureChannelOffset(r_.primary_channel);
    kernel->setPrimarySourceFeatureChannelMaxCount(r_.primary_channels);
    kernel->setSecondarySourceFeatureChannelOffset(r_.secondary_channel);
    kernel->setSecondarySourceFeatureChannelMaxCount(r_.secondary_channels);
    kernel->setDestinationFeatureChannelOffset(target.channel);
    kernel->setSecondaryEdgeMode(r_.secondary_edge);
    kernel->setPrimaryOffset(r_.offset);
    kernel->setSecondaryOffset(r_.offset);
    const bool framed = target.image.w != plain_.image.w;
    kernel->setClipRect(framed ? Region{{target.x, target.y, 0}, {target.w, target.h, 1}}
                               : r_.clip);
    return kernel;
  }

  /// Into given images; checks that nothing else was written. Returns the region.
  Values into(std::string_view what, const NNReduceBinary& kernel, const Bench& bench,
              const Target& target, const ImageBatch& a, const ImageBatch& b,
              const ImageBatch& to) {
    Values before(target.image.count());
    for (std::size_t i = 0; i < before.size(); ++i) before[i] = static_cast<float>(100 + i % 50);
    write(to, before);
    before = read(to);  // as its format holds them
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    kernel.encodeBatch(buffer, a, b, to);
    finish(buffer);
    const Values after = read(to), region = region_of(target, after);
    report_.expect_same(std::string(what) + ", outside the region",
                        with_region(target, before, region), after,
                        {static_cast<int>(n_), static_cast<int>(target.image.h),
                         static_cast<int>(target.image.w), static_cast<int>(target.image.c)},
                        false, tolerance());
    return region;
  }
  Values forward(std::string_view what, const Bench& bench, const Target& target,
                 bool loose = false, bool copied = false) {
    const auto images = [&](const Images& e, const Values& values) {
      return loose ? upload_loose(bench.device, Format::Float32, e, values)
                   : upload(bench.device, Format::Float32, e, values);
    };
    const auto kernel = made(bench.device, target);
    const auto copy = kernel->Kernel::copy();
    return into(what, copied ? dynamic_cast<const NNReduceBinary&>(*copy) : *kernel, bench, target,
                images(primary_, x_), images(secondary_, y_),
                images(target.image, Values(target.image.count())));
  }

  void single_images(const Values& result) {
    const auto kernel = made(bench_.device, plain_);
    const ImageBatch a = upload(bench_.device, Format::Float32, primary_, x_),
                     b = upload(bench_.device, Format::Float32, secondary_, y_),
                     to = upload(bench_.device, Format::Float32, plain_.image,
                                 Values(plain_.image.count()));
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    for (std::size_t i = 0; i < n_; ++i) kernel->encode(buffer, a[i], b[i], to[i]);
    finish(buffer);
    same("single images", region_of(plain_, read(to)), result);
  }

  /// All images of the batch in one object.
  void stacked(const Values& result) {
    const auto image = [&](const Images& e, const Values& values) {
      ImageDescriptor descriptor = e.descriptor(Format::Float32);
      descriptor.numberOfImages = e.n;
      const Image made(bench_.device, descriptor);
      made.write_floats(values);
      return made;
    };
    const auto kernel = made(bench_.device, plain_);
    const auto every_image = [](Region region) {
      region.size.depth = all_channels;
      return region;
    };
    kernel->setPrimarySourceClipRect(every_image(r_.primarySourceClipRect));
    kernel->setSecondarySourceClipRect(every_image(r_.secondarySourceClipRect));
    const Image to = image(plain_.image, Values(plain_.image.count()));
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    kernel->encode(buffer, image(primary_, x_), image(secondary_, y_), to);
    finish(buffer);
    same("images of one object", region_of(plain_, to.read_floats()), result);
  }

  void temporaries(const Values& result) {
    const auto kernel = made(bench_.device, plain_);
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    const ImageBatch a(buffer, primary_.descriptor(Format::Float32), n_),
        b(buffer, secondary_.descriptor(Format::Float32), n_);
    const auto fill = [&](const ImageBatch& to, const Images& e, const Values& values) {
      const CNNNeuron same_values(bench_.device,
                                  NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::None));
      same_values.encodeBatch(buffer, upload(bench_.device, Format::Float32, e, values), to);
    };
    fill(a, primary_, x_);
    fill(b, secondary_, y_);
    const ImageBatch to =
        upload(bench_.device, Format::Float32, plain_.image, Values(plain_.image.count()));
    kernel->encodeBatch(buffer, a, b, to);
    report_.expect_true("temporaries", a.front().readCount() == 0 && b.front().readCount() == 0,
                        "a source has reads left");
    finish(buffer);
    same("temporaries", region_of(plain_, read(to)), result);
  }

  void returned(const Values& result) {
    const auto kernel = made(bench_.device, plain_);
    kernel->setDestinationImageAllocator(Image::defaultAllocator());
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    const ImageBatch images =
        kernel->encodeBatch(buffer, upload(bench_.device, Format::Float32, primary_, x_),
                            upload(bench_.device, Format::Float32, secondary_, y_));
    finish(buffer);
    const Image first = images.front();
    const bool fits = first.width() == plain_.image.w && first.height() == plain_.image.h &&
                      first.featureChannels() == plain_.image.c;
    report_.expect_true("returned", fits, "an image of another size");
    if (fits) same("returned", region_of(plain_, read(images)), result);
  }

  void formats() {
    struct Rounding {
      Format format;
      const char* name;
      double relative;
      bool unit;
    };
    constexpr std::array roundings{Rounding{Format::Float16, "float16", 0x1.02p-11, false},
                                   Rounding{Format::BFloat16, "bfloat16", 0x1.02p-8, false},
                                   Rounding{Format::Unorm8, "unorm8", 0.5 / 255, true},
                                   Rounding{Format::Unorm16, "unorm16", 0.5 / 65535, true}};
    for (const Rounding& r : roundings) {
      const auto kernel = made(bench_.device, plain_);
      const ImageBatch a = upload(bench_.device, r.format, primary_, x_),
                       b = upload(bench_.device, r.format, secondary_, y_);
      auto wanted = value(read(a), read(b));
      const auto result = [&](const std::string& what, Format format) {
        return into(what, *kernel, bench_, plain_, a, b,
                    upload(bench_.device, format, plain_.image, Values(plain_.image.count())));
      };
      const std::string wide = std::string(r.name) + " to float32";
      report_.expect(wide, result(wide, Format::Float32), wanted, tolerance());
      if (r.unit)
        for (double& v : wanted.v) v = std::isnan(v) ? 0 : std::clamp(v, 0.0, 1.0);
      report_.expect(r.name, result(r.name, r.format), wanted,
                     {r_.tolerance + r.relative, r.unit ? 1.0 : 1e-30});
    }
  }

  const ReduceBinarySubject& s_;
  const ReduceBinaryRow& r_;
  const Bench& bench_ = Bench::with(2);
  Report report_;
  std::size_t n_ = 1, read_ = 0, written_ = 0;
  Images primary_, secondary_;
  Target plain_, framed_;
  Values x_, y_;
};

}  // namespace

void check(const ReduceBinarySubject& subject) { DriveReduceBinary(subject).run(); }

TEST_P(ReduceBinaryRows, hold) {
  try {
    check(GetParam());
  } catch (const std::exception& error) {
    FAIL() << "FAIL " << GetParam().row.name << " [threw] " << error.what() << "\n" << repro();
  }
}

}  // namespace cermet::test
