#include "cermet/nn/batch_normalization_nodes.h"

#include "nn/graph_filter.h"

namespace cermet {

using detail::GraphFilter;

namespace {

class BatchNormalizationFilter final : public GraphFilter {
 public:
  BatchNormalizationFilter(CNNBatchNormalization kernel, const NNFilterNode& node, bool statistics)
      : kernel_(std::move(kernel)), statistics_kernel_(kernel_.device()), statistics_(statistics) {
    detail::set_up(kernel_, node);
    statistics_kernel_.setLabel(kernel_.label());
  }
  [[nodiscard]] CNNBatchNormalization& kernel() override { return kernel_; }
  [[nodiscard]] std::size_t reads_of_source(std::size_t) const override {
    return statistics_ ? 2 : 1;
  }

  [[nodiscard]] Result encode(const Run& run) override {
    const Image first = run.sources[0].front();
    Result result;
    result.images = detail::make_result(kernel_, run, {&first, 1}, {});
    if (!statistics_ && !run.wants_state) {
      kernel_.encodeBatch(run.commands, run.sources[0], result.images);
      return result;
    }
    const auto state = std::dynamic_pointer_cast<CNNBatchNormalizationState>(
        kernel_.resultState(first, {}, result.images.front()));
    if (statistics_) statistics_kernel_.encodeBatch(run.commands, run.sources[0], state);
    kernel_.encodeBatch(run.commands, run.sources[0], state, result.images);
    result.states = StateBatch::repeated(state, run.sources[0].size());
    return result;
  }
  [[nodiscard]] bool can_replay() const override { return false; }
  void reload_from_data_source() override {
    kernel_.reloadGammaAndBetaFromDataSource();
    kernel_.reloadMeanAndVarianceFromDataSource();
  }

 private:
  CNNBatchNormalization kernel_;
  CNNBatchNormalizationStatistics statistics_kernel_;
  bool statistics_;
};

class BatchNormalizationGradientFilter final : public GraphFilter {
 public:
  BatchNormalizationGradientFilter(const Device& device, const NNFilterNode& node,
                                   NNTrainingStyle style,
                                   std::shared_ptr<CNNBatchNormalizationDataSource> source,
                                   std::shared_ptr<CNNBatchNormalization> forward)
      : kernel_(device),
        statistics_kernel_(device),
        style_(style),
        source_(std::move(source)),
        forward_(std::move(forward)) {
    detail::set_up(kernel_, node);
    statistics_kernel_.setLabel(kernel_.label());
  }
  [[nodiscard]] CNNBatchNormalizationGradient& kernel() override { return kernel_; }
  [[nodiscard]] std::size_t reads_of_source(std::size_t) const override { return 2; }

  [[nodiscard]] Result encode(const Run& run) override {
    const auto state = run.states[0].at<CNNBatchNormalizationState>(0);
    if (!state) {
      fail({"CNNBatchNormalizationGradientNode", kernel_.label(), "gradientState",
            "of another kind", "the state of a batch normalisation", ""});
    }
    const Image sources[] = {run.sources[0].front(), run.sources[1].front()};
    const StatePtr plain = state;
    static_cast<void>(statistics_kernel_.destinationImageDescriptor(sources, {&plain, 1}));
    statistics_kernel_.encodeBatch(run.commands, run.sources[0], run.sources[1], state);
    Result result;
    std::shared_ptr<ImageAllocator>
        own;  // of a gradient that nobody needs: its reads are counted all the same
    Run with_allocator = run;
    if (run.allocator == nullptr) {
      own = TemporaryImage::defaultAllocator();
      with_allocator.allocator = own.get();
    }
    result.images = detail::make_result(kernel_, with_allocator, sources, {&plain, 1});
    kernel_.encodeBatch(run.commands, run.sources[0], run.sources[1], state, result.images);
    if (own) ImageBatchIncrementReadCount(result.images, -1);
    state_ = state;
    return result;
  }

  [[nodiscard]] bool updates() const override {
    return has(NNTrainingStyle::UpdateDeviceGPU) && source_ != nullptr;
  }
  void update(const CommandBuffer& commands, std::span<const StateBatch> states) override {
    const auto state = states[0].at<CNNBatchNormalizationState>(0);
    if (const auto fresh = source_->updateMeanAndVariance(commands, state)) {
      if (forward_ != nullptr) forward_->reloadMeanAndVariance(commands, fresh);
    }
    if (const auto fresh = source_->updateGammaAndBeta(commands, state)) {
      if (forward_ != nullptr) forward_->reloadGammaAndBeta(commands, fresh);
    }
  }
  /// Reloads make new buffers.
  [[nodiscard]] bool can_replay() const override { return false; }

  [[nodiscard]] std::function<void()> on_completion() override {
    if (!has(NNTrainingStyle::UpdateDeviceCPU) || !source_) return {};
    return [source = source_, forward = forward_, state = state_] {
      if (source->updateMeanAndVariance(state) && forward)
        forward->reloadMeanAndVarianceFromDataSource();
      if (source->updateGammaAndBeta(state) && forward) forward->reloadGammaAndBetaFromDataSource();
    };
  }

 private:
  [[nodiscard]] bool has(NNTrainingStyle bit) const {
    return (static_cast<unsigned>(style_) & static_cast<unsigned>(bit)) != 0;
  }
  CNNBatchNormalizationGradient kernel_;
  CNNBatchNormalizationStatisticsGradient statistics_kernel_;
  NNTrainingStyle style_;
  std::shared_ptr<CNNBatchNormalizationDataSource> source_;
  std::shared_ptr<CNNBatchNormalization> forward_;
  std::shared_ptr<CNNBatchNormalizationState> state_;
};

}  // namespace

CNNBatchNormalizationNode::CNNBatchNormalizationNode(
    NNImageNodePtr source, std::shared_ptr<CNNBatchNormalizationDataSource> dataSource)
    : NNFilterNode({std::move(source)}, {}, std::make_shared<NNGradientStateNode>()),
      source_(std::move(dataSource)) {
  if (!source_) fail({"CNNBatchNormalizationNode", "", "dataSource", "null", "a data source", ""});
}

std::unique_ptr<GraphFilter> CNNBatchNormalizationNode::instantiate(
    const detail::GraphBuild& build) const {
  bool statistics = build.consumed_states.contains(result_state_nodes()[0].get());
  if (flags_ == CNNBatchNormalizationFlags::CalculateStatisticsAlways) statistics = true;
  if (flags_ == CNNBatchNormalizationFlags::CalculateStatisticsNever) statistics = false;
  return std::make_unique<BatchNormalizationFilter>(CNNBatchNormalization(build.device, source_),
                                                    *this, statistics);
}

NNFilterNode::Gradients CNNBatchNormalizationNode::make_gradients(const NNImageNodePtr& gradient) {
  auto node =
      std::make_shared<CNNBatchNormalizationGradientNode>(gradient, sources()[0], resultState());
  node->setTrainingStyle(trainingStyle());
  return {{node}, {0}};
}

std::unique_ptr<GraphFilter> CNNBatchNormalizationGradientNode::instantiate(
    const detail::GraphBuild& build) const {
  const NNFilterNode* producer = source_states()[0]->producer();
  const auto* forward = dynamic_cast<const CNNBatchNormalizationNode*>(producer);
  return std::make_unique<BatchNormalizationGradientFilter>(
      build.device, *this, trainingStyle(), forward != nullptr ? forward->data_source() : nullptr,
      detail::built_kernel<CNNBatchNormalization>(build, producer));
}

}  // namespace cermet
