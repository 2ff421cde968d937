#pragma once
// What the measured networks share: pictures, labels, parameters, loss.

#include <memory>
#include <vector>

#include "cermet/cnn/loss.h"
#include "cermet/train/parameters.h"

namespace cermet::bench {

inline ImageDescriptor floats(std::size_t width, std::size_t height, std::size_t channels,
                              std::size_t images = 1) {
  return ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, width, height,
                                          channels, images);
}

/// A batch of 28x28x1 pictures with labels.
struct Digits {
  ImageBatch pictures, labels;

  Digits(const Device& device, std::size_t batch, RandomNumbers& random)
      : pictures(device, floats(28, 28, 1), batch), labels(device, floats(1, 1, 10), batch) {
    for (std::size_t i = 0; i < batch; ++i) {
      std::vector<float> pixels(28 * 28), one_hot(10, 0.0F);
      for (float& pixel : pixels) pixel = random.uniform();
      one_hot[i % 10] = 1;
      pictures[i].write_floats(pixels);
      labels[i].write_floats(one_hot);
    }
  }
};

inline std::shared_ptr<ConvolutionParameters> parameters(const Device& device,
                                                         RandomNumbers& random, const char* name,
                                                         std::size_t size, std::size_t in,
                                                         std::size_t out) {
  auto made = std::make_shared<ConvolutionParameters>(
      device, name, CNNConvolutionDescriptor::cnnConvolutionDescriptor(size, size, in, out),
      OptimizerSettings{OptimizerKind::sgd, 0.02F});
  made->initialise(random);
  return made;
}

/// The mean over the batch.
inline CNNLossDescriptor mean_cross_entropy(std::size_t batch) {
  auto descriptor =
      CNNLossDescriptor::cnnLossDescriptor(CNNLossType::SoftMaxCrossEntropy, CNNReductionType::Sum);
  descriptor.setWeight(1.0F / static_cast<float>(batch));
  return descriptor;
}

inline double sum(const ImageBatch& losses) {
  double sum = 0;
  for (const float loss : losses.read_floats()) sum += static_cast<double>(loss);
  return sum;
}

}  // namespace cermet::bench
