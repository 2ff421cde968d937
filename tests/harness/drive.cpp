// Every way to encode a kernel and its gradient, against the oracle and against each other.

#include <array>
#include <cmath>
#include <functional>
#include <numeric>

#include "bench.h"
#include "cermet/cnn/neuron.h"
#include "report.h"
#include "rows_test.h"

namespace cermet::test {
namespace {

using Format = ImageFeatureChannelFormat;

/// Sizes the result and places the window as a row with `destination` says.
class RowPadding final : public NNPadding {
 public:
  RowPadding(const Geometry& g, std::size_t channels) : g_(g), channels_(channels) {}
  [[nodiscard]] NNPaddingMethod paddingMethod() const override {
    return NNPaddingMethod::Custom | NNPaddingMethod::SizeSame;
  }
  [[nodiscard]] ImageDescriptor destinationImageDescriptor(
      std::span<const Image>, std::span<const StatePtr>, Kernel& kernel,
      const ImageDescriptor& suggested) override {
    dynamic_cast<CNNKernel&>(kernel).setOffset({g_.offset_x, g_.offset_y, 0});
    ImageDescriptor descriptor = suggested;
    descriptor.width = static_cast<std::size_t>(g_.width);
    descriptor.height = static_cast<std::size_t>(g_.height);
    descriptor.featureChannels = channels_;
    return descriptor;
  }

 private:
  Geometry g_;
  std::size_t channels_;
};

struct Rounding {
  Format format;
  const char* name;
  double relative;  // half a step, of the largest element
  bool unit;        // holds 0 ... 1
};
constexpr Rounding whole_floats{Format::Float32, "float32", 0, false};
constexpr std::array small_formats{Rounding{Format::Float16, "float16", 0x1.02p-11, false},
                                   Rounding{Format::BFloat16, "bfloat16", 0x1.02p-8, false},
                                   Rounding{Format::Unorm8, "unorm8", 0.5 / 255, true},
                                   Rounding{Format::Unorm16, "unorm16", 0.5 / 65535, true}};

/// A destination that holds other values all around: of every image, in every channel.
Values guards(std::size_t count) {
  Values values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(100 + i % 50);
  return values;
}

class Drive {
 public:
  explicit Drive(const Subject& subject)
      : s_(subject),
        row_(subject.row()),
        g_(subject.geometry()),
        report_(std::string(subject.forward(bench_.device)->class_name()), row_.name) {
    const std::size_t have = std::min(row_.source_channels, row_.source.c - row_.source_channel);
    read_ = s_.channels_read(have);
    written_ = s_.channels_written(read_);
    source_ = {size(g_.n), row_.source.h, row_.source.w, row_.source.c};
    plain_ = {{size(g_.n), size(g_.height), size(g_.width), row_.destination_channel + written_},
              size(g_.x),
              size(g_.y),
              size(g_.w),
              size(g_.h),
              row_.destination_channel,
              written_};
    framed_ = plain_;
    framed_.image.h += 2;
    framed_.image.w += 3;
    framed_.image.c += s_.fills_channels() ? 4U : 7U;
    framed_.x += 2;
    framed_.y += 1;
    framed_.channel += 4;
    x_ = row_.given.source.empty() ? test_data(row_.data, source_.count(), 1, row_.low, row_.high)
                                   : row_.given.source;
    e_ = row_.given.incoming.empty() ? floats(region_count(), 2) : row_.given.incoming;
  }

  void run() {
    if (row_.tolerance != Row().tolerance && row_.loosened.empty())
      report_.fail("row", "another tolerance needs a sentence in `loosened`");
    forward();
    forward_variants();
    returned();
    if (!row_.forward_only) {
      gradient();
      gradient_variants();
      temporaries();
    }
    if (!row_.float32_only) formats();
  }

 private:
  static std::size_t size(int value) { return static_cast<std::size_t>(value); }
  [[nodiscard]] std::size_t region_count() const { return size(g_.n * g_.w * g_.h) * written_; }
  [[nodiscard]] Extents region_extents() const {
    return {g_.n, g_.h, g_.w, static_cast<int>(written_)};
  }
  [[nodiscard]] Extents source_extents() const {
    return {g_.n, g_.source_h, g_.source_w, static_cast<int>(row_.source.c)};
  }
  [[nodiscard]] Tolerance tolerance() const { return {row_.tolerance, 1e-30}; }
  [[nodiscard]] oracle::Tensor region_tensor(const Values& values) const {
    return tensor_of({size(g_.n), size(g_.h), size(g_.w), written_}, values);
  }
  /// The channels that are read of whole source images.
  [[nodiscard]] oracle::Tensor read_part(const Values& source) const {
    return channels_of(tensor_of(source_, source), row_.source_channel, read_);
  }

  // ---- forward
  // -----------------------------------------------------------------------------------

  void place(CNNKernel& kernel, const Target& target) const {
    kernel.setOffset({g_.offset_x, g_.offset_y, 0});
    kernel.setEdgeMode(row_.edge);
    kernel.setSourceFeatureChannelOffset(row_.source_channel);
    kernel.setSourceFeatureChannelMaxCount(row_.source_channels);
    kernel.setDestinationFeatureChannelOffset(target.channel);
    const bool framed = target.image.w != plain_.image.w;
    kernel.setClipRect(framed ? Region{{target.x, target.y, 0}, {target.w, target.h, all_channels}}
                              : row_.clip);
  }
  [[nodiscard]] std::unique_ptr<CNNKernel> placed(const Bench& bench, const Target& target) const {
    auto kernel = s_.forward(bench.device);
    place(*kernel, target);
    return kernel;
  }

  /// Encodes into given images; checks that nothing else was written. Returns the region.
  Values encode_into(std::string_view what, const CNNKernel& kernel, const Bench& bench,
                     const Target& target, const ImageBatch& source, const ImageBatch& destination,
                     const StateBatch& states = {}) {
    write(destination, guards(target.image.one() * destination.size()));
    const Values before = read(destination);
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    kernel.encodeBatch(buffer, source, states, destination);
    finish(buffer);
    Target these = target;
    these.image.n = destination.size();
    const Values after = read(destination);
    const Values region = region_of(these, after);
    report_.expect_same(std::string(what) + ", outside the region",
                        with_region(these, before, region), after,
                        {static_cast<int>(these.image.n), static_cast<int>(these.image.h),
                         static_cast<int>(these.image.w), static_cast<int>(these.image.c)},
                        false, tolerance());
    return region;
  }
  Values encode_plain(std::string_view what, const CNNKernel& kernel, const Bench& bench) {
    return encode_into(
        what, kernel, bench, plain_, upload(bench.device, Format::Float32, source_, x_),
        upload(bench.device, Format::Float32, plain_.image, Values(plain_.image.count())));
  }

  void forward() {
    const auto wanted = s_.value(read_part(x_), g_);
    const auto kernel = placed(bench_, plain_);
    y_ = encode_plain("forward", *kernel, bench_);
    report_.expect("forward", y_, wanted, tolerance());
    if (!row_.given.result.empty())
      report_.expect("forward, specification's numbers", y_, row_.given.result, region_extents(),
                     tolerance());
    const auto framed = placed(bench_, framed_);
    const Values inner = encode_into(
        "forward, framed", *framed, bench_, framed_,
        upload(bench_.device, Format::Float32, source_, x_),
        upload(bench_.device, Format::Float32, framed_.image, Values(framed_.image.count())));
    report_.expect("forward, framed", inner, wanted, tolerance());
  }

  void forward_variants() {
    const auto same = [&](std::string_view what, const Values& got, const Values& wanted,
                          bool may_differ = false) {
      Extents extents = region_extents();
      extents.n =
          static_cast<int>(got.size() / std::max<std::size_t>(region_count() / size(g_.n), 1));
      report_.expect_same(what, got, wanted, extents, may_differ, tolerance());
    };
    const auto kernel = placed(bench_, plain_);
    same("second run", encode_plain("second run", *kernel, bench_), y_);
    same("same kernel again", encode_plain("same kernel again", *kernel, bench_), y_);
    same("copy of the kernel", encode_plain("copy of the kernel", *s_.copy(*kernel), bench_), y_);
    const Bench& one = Bench::with(1);
    same("one thread", encode_plain("one thread", *placed(one, plain_), one), y_);

    const ImageBatch source = upload(bench_.device, Format::Float32, source_, x_);
    Values singles;
    for (std::size_t i = 0; i < source.size(); ++i) {
      const ImageBatch destination =
          upload(bench_.device, Format::Float32, one_of(plain_.image), Values(plain_.image.one()));
      CommandBuffer buffer = bench_.queue.makeCommandBuffer();
      kernel->encode(buffer, source[i], destination[0]);
      finish(buffer);
      Target target = plain_;
      target.image.n = 1;
      const Values region = region_of(target, read(destination));
      singles.insert(singles.end(), region.begin(), region.end());
    }
    same("single images", singles, y_, s_.bits_depend_on_batch());

    const ImageBatch loose = upload_loose(bench_.device, Format::Float32, source_, x_);
    const auto loose_target = [&](std::size_t count) {
      Images extents = plain_.image;
      extents.n = count;
      return upload_loose(bench_.device, Format::Float32, extents, Values(extents.count()));
    };
    same("loose images",
         encode_into("loose images", *kernel, bench_, plain_, loose, loose_target(loose.size())),
         y_);
    std::vector<std::size_t> order(loose.size());
    std::iota(order.rbegin(), order.rend(), std::size_t{0});
    order.push_back(0);
    std::vector<Image> mixed;
    for (const std::size_t i : order) mixed.push_back(loose[i]);
    same("reversed and repeated images",
         encode_into("reversed and repeated images", *kernel, bench_, plain_, mixed,
                     loose_target(mixed.size())),
         picked(y_, y_.size() / source.size(), order), s_.bits_depend_on_batch());
  }
  [[nodiscard]] static Images one_of(Images images) {
    images.n = 1;
    return images;
  }

  /// A kernel whose returned results have the row's geometry.
  [[nodiscard]] std::unique_ptr<CNNKernel> planning(const Bench& bench) const {
    auto kernel = placed(bench, plain_);
    kernel->setOffset({7, -5, 0});  // overwritten by the policy
    if (row_.padding) {
      kernel->setPadding(row_.padding);
      kernel->setEdgeMode(ImageEdgeMode::Zero);  // a policy sets it
    } else if (row_.destination.w != 0) {
      kernel->setPadding(std::make_shared<RowPadding>(g_, plain_.image.c));
    } else if (row_.policy) {
      kernel->setPadding(NNDefaultPadding::padding(*row_.policy));
    }
    return kernel;
  }

  void returned() {
    const auto kernel = planning(bench_);
    kernel->setDestinationImageAllocator(Image::defaultAllocator());
    const ImageBatch source = upload(bench_.device, Format::Float32, source_, x_);
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    const ImageBatch results = kernel->encodeBatch(buffer, source);
    const Image single = kernel->encode(buffer, source[0]);
    finish(buffer);
    const Image first = results.front();
    const bool fits = first.width() == plain_.image.w && first.height() == plain_.image.h &&
                      first.featureChannels() == plain_.image.c && results.size() == plain_.image.n;
    report_.expect_true(
        "returned images", fits,
        "made " + std::to_string(first.width()) + "x" + std::to_string(first.height()) + "x" +
            std::to_string(first.featureChannels()) + ", wanted " + std::to_string(plain_.image.w) +
            "x" + std::to_string(plain_.image.h) + "x" + std::to_string(plain_.image.c));
    if (!fits) return;
    const Offset offset = kernel->offset();
    report_.expect_true("returned images", offset == Offset{g_.offset_x, g_.offset_y, 0},
                        "offset is " + std::to_string(offset.x) + "," + std::to_string(offset.y) +
                            ", wanted " + std::to_string(g_.offset_x) + "," +
                            std::to_string(g_.offset_y));
    report_.expect_true("returned images", kernel->edgeMode() == row_.edge, "another edge mode");
    report_.expect_same("returned images", region_of(plain_, read(results)), y_, region_extents(),
                        false, tolerance());
    Target one = plain_;
    one.image.n = 1;
    const Values alone = region_of(one, read(ImageBatch{single}));
    report_.expect_same("returned image", alone,
                        Values(y_.begin(), y_.begin() + static_cast<std::ptrdiff_t>(alone.size())),
                        {1, g_.h, g_.w, static_cast<int>(written_)}, s_.bits_depend_on_batch(),
                        tolerance());
  }

  // ---- gradient
  // ----------------------------------------------------------------------------------

  struct How {
    const Bench& bench;
    const Target& target;
    bool region = false;       // the incoming gradient covers the written region alone
    bool early_state = false;  // made before the kernel had its geometry
    Format format = Format::Float32;
  };
  /// Where the incoming gradient lies in its image for this forward target.
  [[nodiscard]] Target incoming(const Target& target, bool region) const {
    Target e = target;
    if (region) {
      e.image.w = e.w;
      e.image.h = e.h;
      e.x = e.y = 0;
    }
    return e;
  }
  /// Gradient images whose other pixels and channels, which must not count, hold values too.
  [[nodiscard]] ImageBatch upload_incoming(const How& how) const {
    const Target at = incoming(how.target, how.region);
    return upload(how.bench.device, how.format, at.image,
                  with_region(at, floats(at.image.count(), 3), e_));
  }

  struct Pass {
    Values image;  // whole gradient images
    std::vector<Values> parameters;
    StateBatch states;
    ImageBatch source, result, incoming;
  };
  [[nodiscard]] How how() const { return {bench_, plain_, s_.incoming_is_region()}; }

  /// Forward with a state, then what `encode` does, on one command buffer.
  template <class Encode>
  Pass pass(const How& how, Encode encode) {
    const Device& device = how.bench.device;
    const auto forward = placed(how.bench, how.target);
    Pass p;
    p.source = upload(device, how.format, source_, x_);
    p.result = upload(device, how.format, how.target.image, Values(how.target.image.count()));
    p.incoming = upload_incoming(how);
    const auto unplaced = s_.forward(device);  // its geometry is not the row's yet
    const bool early = how.early_state && !s_.state_has_extents();
    p.states = (early ? unplaced : forward)->resultStateBatch(p.source, {}, p.result);
    CommandBuffer buffer = how.bench.queue.makeCommandBuffer();
    forward->encodeBatch(buffer, p.source, p.states, p.result);
    const ImageBatch image = encode(buffer, p, s_.gradient_reads_result() ? p.result : p.source);
    finish(buffer);
    p.image = read(image);
    p.parameters = s_.parameters(p.states);
    return p;
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> gradient_kernel(const Bench& bench) const {
    auto kernel = s_.gradient(bench.device);
    kernel->setDestinationImageAllocator(Image::defaultAllocator());
    return kernel;
  }
  Pass returned_gradient(const How& how, CNNGradientKernel& kernel) {
    return pass(how, [&](const CommandBuffer& buffer, const Pass& p, const ImageBatch& second) {
      return kernel.encodeBatch(buffer, p.incoming, second, p.states);
    });
  }

  void expect_gradients(const std::string& what, const Pass& got, const Gradients& wanted,
                        const Tolerance& tolerance, const Tolerance& parameter_tolerance) {
    Target part = source_target();
    report_.expect(what + ", image", region_of(part, got.image), wanted.image, tolerance);
    for (std::size_t i = 0; i < wanted.parameters.size(); ++i) {
      const auto& parameter = wanted.parameters[i];
      report_.expect(what + (i == 0 ? ", weights or gamma" : ", biases or beta"),
                     got.parameters.at(i), parameter, {1, 1, 1, static_cast<int>(parameter.size())},
                     parameter_tolerance);
    }
  }
  /// The part of a whole source image that the forward kernel reads.
  [[nodiscard]] Target source_target() const {
    return {source_, 0, 0, source_.w, source_.h, row_.source_channel, read_};
  }

  void gradient() {
    const auto source = read_part(x_);
    const auto wanted = s_.gradients(s_.gradient_reads_result() ? s_.value(source, g_) : source,
                                     region_tensor(e_), g_);
    const auto kernel = gradient_kernel(bench_);
    kernel->setPrimaryOffset({3, 4, 0});  // overwritten by the state
    kernel->setSecondaryOffset({-2, 9, 0});
    dx_ = returned_gradient(how(), *kernel);
    expect_gradients("gradient", dx_, wanted, tolerance(), tolerance());
    if (!row_.given.source_gradient.empty())
      report_.expect("gradient, specification's numbers", dx_.image, row_.given.source_gradient,
                     source_extents(), tolerance());
    const auto given = s_.given_parameters();
    for (std::size_t i = 0; i < given.size(); ++i)
      report_.expect("parameter gradient, specification's numbers", dx_.parameters.at(i), given[i],
                     {1, 1, 1, static_cast<int>(given[i].size())}, tolerance());
    const Values unread = with_region(source_target(), dx_.image, Values(wanted.image.v.size()));
    report_.expect("gradient, channels that were not read", unread,
                   std::vector<double>(unread.size()), source_extents(), {0, 1});

    const auto framed = gradient_kernel(bench_);
    for (const bool region :
         {false, true}) {  // its incoming gradient: the whole result's, or the region's
      if (!region && s_.incoming_is_region()) continue;
      expect_gradients(
          region ? "gradient of a framed result's region" : "gradient of a framed result",
          returned_gradient({bench_, framed_, region, true}, *framed), wanted, tolerance(),
          tolerance());
    }

    explicit_gradient(wanted);
  }

  /// Into a given destination with other channels around, after the descriptor was asked for.
  void explicit_gradient(const Gradients& wanted) {
    const auto kernel = gradient_kernel(bench_);
    Target to{source_, 0, 0, source_.w, source_.h, 4, read_};
    to.image.c = 4 + read_ + 3;
    const auto p = pass(how(), [&](const CommandBuffer& buffer, const Pass& pass_,
                                   const ImageBatch& second) {
      const Image sources[] = {pass_.incoming.front(), second.front()};
      const auto descriptor = kernel->destinationImageDescriptor(sources, {&pass_.states[0], 1});
      report_.expect_true("gradient's descriptor",
                          descriptor.width == source_.w && descriptor.height == source_.h,
                          "another size than the source's");
      kernel->setDestinationFeatureChannelOffset(to.channel);  // the state had set its own
      const ImageBatch images =
          upload(bench_.device, Format::Float32, to.image, guards(to.image.count()));
      kernel->encodeBatch(buffer, pass_.incoming, second, pass_.states, images);
      return images;
    });
    report_.expect("gradient into a given image", region_of(to, p.image), wanted.image,
                   tolerance());
    report_.expect_same("gradient into a given image, outside its channels",
                        with_region(to, guards(to.image.count()), region_of(to, p.image)), p.image,
                        {g_.n, g_.source_h, g_.source_w, static_cast<int>(to.image.c)}, false,
                        tolerance());
  }

  void gradient_variants() {
    const auto same = [&](const std::string& what, const Pass& got) {
      report_.expect_same(what + ", image", got.image, dx_.image, source_extents(), false,
                          tolerance());
      for (std::size_t i = 0; i < dx_.parameters.size(); ++i)
        report_.expect_same(what + (i == 0 ? ", weights or gamma" : ", biases or beta"),
                            got.parameters.at(i), dx_.parameters[i],
                            {1, 1, 1, static_cast<int>(dx_.parameters[i].size())}, false,
                            tolerance());
    };
    const auto kernel = gradient_kernel(bench_);
    same("gradient, second run", returned_gradient(how(), *kernel));
    same("gradient, same kernel again", returned_gradient(how(), *kernel));
    same("gradient, copy of the kernel", returned_gradient(how(), *s_.copy(*kernel)));
    const Bench& one = Bench::with(1);
    same("gradient, one thread",
         returned_gradient({one, plain_, s_.incoming_is_region()}, *gradient_kernel(one)));

    // Parts of the batch one after the other: gradients of parameters add up.
    const auto in_parts = [&](const std::string& what, std::size_t length, bool loose, bool alone) {
      auto p = pass(
          how(), [&](const CommandBuffer& buffer, const Pass& pass_, const ImageBatch& second) {
            std::vector<Image> images;
            const auto take = [&](const ImageBatch& batch, std::size_t first, std::size_t count) {
              if (!loose) return batch.subrange({first, count});
              std::vector<Image> list;
              for (std::size_t i = first; i < first + count; ++i)
                list.push_back(one_copy(batch[i]));
              return ImageBatch(list);
            };
            for (std::size_t first = 0; first < source_.n; first += length) {
              const std::size_t count = std::min(length, source_.n - first);
              const auto e = take(pass_.incoming, first, count), x = take(second, first, count);
              if (alone) {
                images.push_back(kernel->encode(buffer, e[0], x[0], pass_.states[first]));
                continue;
              }
              const auto part =
                  kernel->encodeBatch(buffer, e, x, states_of(pass_.states, first, count));
              for (const Image image : part) images.push_back(image);
            }
            return ImageBatch(images);
          });
      report_.expect_same(what + ", image", p.image, dx_.image, source_extents(),
                          length < source_.n && s_.bits_depend_on_batch(), tolerance());
      for (std::size_t i = 0; i < dx_.parameters.size(); ++i)  // another order of the sum
        report_.expect(what + (i == 0 ? ", weights or gamma" : ", biases or beta"),
                       p.parameters.at(i),
                       std::vector<double>(dx_.parameters[i].begin(), dx_.parameters[i].end()),
                       {1, 1, 1, static_cast<int>(dx_.parameters[i].size())}, tolerance());
    };
    in_parts("gradient of single images", 1, false, true);
    if (!s_.gradient_reads_result())  // which is not there yet to be copied
      in_parts("gradient of loose images", source_.n, true, false);
    if (source_.n > 1) in_parts("gradient of sub-batches", (source_.n + 1) / 2, false, false);
  }
  [[nodiscard]] Image one_copy(const Image& image) const {
    const Image fresh(bench_.device,
                      ImageDescriptor::imageDescriptor(image.featureChannelFormat(), image.width(),
                                                       image.height(), image.featureChannels()));
    fresh.write_floats(image.read_floats());
    return fresh;
  }
  [[nodiscard]] static StateBatch states_of(const StateBatch& states, std::size_t first,
                                            std::size_t count) {
    if (states.shared()) return StateBatch::repeated(states.shared(), count);
    std::vector<StatePtr> list;
    for (std::size_t i = first; i < first + count; ++i) list.push_back(states[i]);
    return {list};
  }

  // ---- temporaries
  // -------------------------------------------------------------------------------

  /// A temporary batch with the values of `from`: one read by a neuron that changes nothing.
  ImageBatch temporary(const CommandBuffer& buffer, const ImageBatch& from) const {
    const Image one = from.front();
    const ImageBatch to(buffer,
                        ImageDescriptor::imageDescriptor(one.featureChannelFormat(), one.width(),
                                                         one.height(), one.featureChannels()),
                        from.size());
    identity_.encodeBatch(buffer, from, to);
    return to;
  }
  ImageBatch kept(const CommandBuffer& buffer, const ImageBatch& from) const {
    const Image one = from.front();
    const ImageBatch to(bench_.device,
                        ImageDescriptor::imageDescriptor(one.featureChannelFormat(), one.width(),
                                                         one.height(), one.featureChannels()),
                        from.size());
    identity_.encodeBatch(buffer, from, to);
    return to;
  }
  void expect_reads(const std::string& what, const ImageBatch& batch, std::size_t wanted) {
    for (const Image image : batch)
      report_.expect_true("temporaries", image.readCount() == wanted,
                          what + " has " + std::to_string(image.readCount()) +
                              " reads left, wanted " + std::to_string(wanted));
  }

  /// The training chain of the specification (core 6.2): the gradient reads the source once more.
  void temporaries() {
    const auto forward = planning(bench_);
    const auto backward = s_.gradient(bench_.device);
    const ImageBatch x = upload(bench_.device, Format::Float32, source_, x_);
    const ImageBatch e = upload_incoming(how());
    CommandBuffer buffer = bench_.queue.makeCommandBuffer();
    const ImageBatch source = temporary(buffer, x), gradient_in = temporary(buffer, e);
    const bool reads_source = !s_.gradient_reads_result();
    if (reads_source) ImageBatchIncrementReadCount(source, 1);
    StateBatch states;
    const ImageBatch result = forward->encodeBatch(buffer, source, &states, true);
    expect_reads("the source after the forward encode", source, reads_source ? 1 : 0);
    expect_reads("the result", result, 1);
    report_.expect_true("temporaries", states.size() == source_.n && states[0]->isTemporary(),
                        "no temporary states");
    if (!reads_source) ImageBatchIncrementReadCount(result, 1);
    const ImageBatch y = kept(buffer, result);
    const ImageBatch image =
        backward->encodeBatch(buffer, gradient_in, reads_source ? source : result, states);
    expect_reads("the source", source, 0);
    expect_reads("the incoming gradient", gradient_in, 0);
    expect_reads("the result after its last read", result, 0);
    expect_reads("the gradient", image, 1);
    for (std::size_t i = 0; i < states.size(); ++i)
      report_.expect_true("temporaries", states[i]->readCount() == 0,
                          "a state has reads left after the gradient encode");
    const ImageBatch dx = kept(buffer, image);
    expect_reads("the gradient after its last read", image, 0);
    finish(buffer);
    const Values all = read(dx);
    const Values unread =
        with_region(source_target(), all, Values(region_of(source_target(), all).size()));
    report_.expect("temporaries, channels that were not read", unread,
                   std::vector<double>(unread.size()), source_extents(), {0, 1});
    report_.expect_same("temporaries, result", region_of(plain_, read(y)), y_, region_extents(),
                        false, tolerance());
    report_.expect_same("temporaries, gradient", region_of(source_target(), read(dx)),
                        region_of(source_target(), dx_.image), source_extents(), false,
                        tolerance());
  }

  // ---- element formats
  // ---------------------------------------------------------------------------

  void formats() {
    for (const Rounding& r : small_formats) {
      const ImageBatch source = upload(bench_.device, r.format, source_, x_);
      auto wanted = s_.value(read_part(read(source)), g_);
      Tolerance tolerance{row_.tolerance + r.relative, 1e-30};
      const auto kernel = placed(bench_, plain_);
      const std::string what = std::string("forward ") + r.name;
      if (r.unit) {  // a wide destination first, then one that cuts to 0 ... 1
        report_.expect(what + " to float32",
                       encode_into(what, *kernel, bench_, plain_, source,
                                   upload(bench_.device, Format::Float32, plain_.image,
                                          Values(plain_.image.count()))),
                       wanted, this->tolerance());
        for (double& value : wanted.v) value = std::isnan(value) ? 0 : std::clamp(value, 0.0, 1.0);
        tolerance.floor = 1;
      }
      report_.expect(
          what,
          encode_into(what, *kernel, bench_, plain_, source,
                      upload(bench_.device, r.format, plain_.image, Values(plain_.image.count()))),
          wanted, tolerance);
    }
    if (row_.forward_only) return;
    for (const Rounding& r : small_formats) {
      if (r.unit) continue;
      const auto kernel = gradient_kernel(bench_);
      const auto got =
          returned_gradient({bench_, plain_, s_.incoming_is_region(), false, r.format}, *kernel);
      const auto e = region_of(incoming(plain_, s_.incoming_is_region()), read(got.incoming));
      const auto second = s_.gradient_reads_result()
                              ? region_tensor(region_of(plain_, read(got.result)))
                              : read_part(read(got.source));
      const auto wanted = s_.gradients(second, region_tensor(e), g_);
      expect_gradients(std::string("gradient ") + r.name, got, wanted,
                       {row_.tolerance + r.relative, 1e-30}, tolerance());
    }
  }

  const Subject& s_;
  const Row& row_;
  Geometry g_;
  const Bench& bench_ = Bench::with(2);
  CNNNeuron identity_{bench_.device, NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::None)};
  Report report_;
  std::size_t read_ = 0, written_ = 0;
  Images source_;
  Target plain_, framed_;
  Values x_, e_, y_;
  Pass dx_;
};

}  // namespace

void check(const Subject& subject) { Drive(subject).run(); }

TEST_P(Rows, hold) {
  try {
    check(*GetParam());
  } catch (const std::exception& error) {
    FAIL() << "FAIL " << GetParam()->row().name << " [threw] " << error.what() << "\n" << repro();
  }
}

}  // namespace cermet::test
