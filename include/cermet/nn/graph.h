#pragma once
// NNGraph: filters compiled from nodes, encoded together (spec: graph 5).

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cermet/core/kernel.h"
#include "cermet/nn/node.h"

namespace cermet {

/// A compiled copy of the filters that one or more result images need. It has its own kernels and
/// parameters; data sources are kept, never copied. One thread at a time. What its options allow
/// (AllowReducedPrecision), all of its kernels may do.
class NNGraph final : public Kernel {
 public:
  /// Throws InvalidArgument where a node is invalid or a data source refuses to load.
  NNGraph(const Device& device, const NNImageNodePtr& resultImage, bool resultImageIsNeeded = true);
  /// Several results: the first is what encodes return, the others come among the intermediate
  /// images. `resultsAreNeeded`: one entry each; missing ones count as needed.
  NNGraph(const Device& device, std::span<const NNImageNodePtr> resultImages,
          const std::vector<bool>& resultsAreNeeded);
  ~NNGraph() override;
  NNGraph(const NNGraph&) = delete;
  NNGraph& operator=(const NNGraph&) = delete;
  NNGraph(NNGraph&&) noexcept;
  NNGraph& operator=(NNGraph&&) noexcept;

  [[nodiscard]] std::string_view class_name() const override { return "NNGraph"; }

  /// One entry for each image input, in the order that encodes expect; null where the node has
  /// none.
  [[nodiscard]] std::vector<HandlePtr> sourceImageHandles() const;
  [[nodiscard]] std::vector<HandlePtr> sourceStateHandles() const;
  /// Exported images, in the order of the `intermediateImages` of an encode.
  [[nodiscard]] std::vector<HandlePtr> intermediateImageHandles() const;
  [[nodiscard]] std::vector<HandlePtr> resultStateHandles() const;
  [[nodiscard]] HandlePtr resultHandle() const;
  [[nodiscard]] bool resultImageIsNeeded() const;
  /// Whether exported states are temporary. Default false.
  [[nodiscard]] bool outputStateIsTemporary() const;
  void setOutputStateIsTemporary(bool temporary);
  /// Makes the returned image. Default: permanent images.
  [[nodiscard]] const std::shared_ptr<ImageAllocator>& destinationImageAllocator() const;
  void setDestinationImageAllocator(std::shared_ptr<ImageAllocator> allocator);
  /// Storage of every image whose node has format None. Default Float16. Read at each encode.
  [[nodiscard]] ImageFeatureChannelFormat format() const;
  void setFormat(ImageFeatureChannelFormat format);
  /// Whether groups of steps are replaced by cheaper ones with the same results up to rounding
  /// (ours). Default true; without, an encode computes what its kernels by hand compute, bit for
  /// bit.
  [[nodiscard]] bool rewrites() const;
  void set_rewrites(bool rewrites);

  /// Encodes the graph for one image per input; nil where the result is not needed.
  [[nodiscard]] Image encode(const CommandBuffer& commandBuffer,
                             std::span<const Image> sourceImages);
  /// Exported images and further results are appended to `intermediateImages`, exported states to
  /// `destinationStates`; either may be null.
  [[nodiscard]] Image encode(const CommandBuffer& commandBuffer,
                             std::span<const Image> sourceImages,
                             std::span<const StatePtr> sourceStates,
                             std::vector<Image>* intermediateImages,
                             std::vector<StatePtr>* destinationStates);
  /// The same for a batch per input: `sourceImages[input][image]`. Batch and image sizes may change
  /// from encode to encode.
  ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                         std::span<const ImageBatch> sourceImages,
                         std::span<const StateBatch> sourceStates = {});
  ImageBatch encodeBatch(const CommandBuffer& commandBuffer,
                         std::span<const ImageBatch> sourceImages,
                         std::span<const StateBatch> sourceStates,
                         std::vector<ImageBatch>* intermediateImages,
                         std::vector<StateBatch>* destinationStates);
  /// Encodes on a command buffer of its own and commits; the handler gets the image once it is
  /// valid, or the error.
  Image executeAsync(std::span<const Image> sourceImages,
                     std::function<void(Image, std::optional<DeviceError>)> completionHandler);

  /// Reads all parameters again from their data sources, at once. No work of this graph may be in
  /// flight.
  void reloadFromDataSources();

  /// How far the count of a temporary source is lowered by an encode.
  [[nodiscard]] std::size_t readCountForSourceImage(std::size_t index) const;
  [[nodiscard]] std::size_t readCountForSourceState(std::size_t index) const;

  /// The filters in the order they run, one a line, then the steps of every program made so far,
  /// or why there is none (ours, for people).
  [[nodiscard]] std::string debugDescription() const;

 private:
  /// Graphs are not archived: their nodes make them again.
  void code(Coder&) override {
    complain("the graph", "archived", "made from its nodes again",
             "Archive its kernels, or save its parameters.");
  }
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cermet
