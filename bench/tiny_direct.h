#pragma once
// The tiny network without a graph: every kernel encoded by hand, every step anew.

#include "cermet/cnn/convolution.h"
#include "cermet/cnn/neuron.h"
#include "digits.h"

namespace cermet::bench {

class TinyDirect {
 public:
  TinyDirect(const Device& device, std::size_t batch, KernelOptions options)
      : queue_(device.makeCommandQueue()),
        random_(1),
        digits_(device, batch, random_),
        convolution_(parameters(device, random_, "conv", 3, 1, 8)),
        full_(parameters(device, random_, "full", 28, 8, 10)),
        convolve_(device, convolution_),
        convolve_gradient_(device, convolution_),
        relu_(device, 0.0F),
        relu_gradient_(device, NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::ReLU)),
        connect_(device, full_),
        connect_gradient_(device, full_),
        loss_(device, mean_cross_entropy(batch)),
        ones_(device),
        loss_gradient_(device, mean_cross_entropy(batch)),
        losses_(device, floats(1, 1, 1), batch),
        of_pictures_(device, floats(28, 28, 1), batch) {
    convolve_gradient_.setGradientOption(CNNConvolutionGradientOption::GradientWithWeightsAndBias);
    for (Kernel* kernel : std::initializer_list<Kernel*>{&convolve_, &convolve_gradient_, &connect_,
                                                         &connect_gradient_})
      kernel->setOptions(options);
  }

  CommandBuffer start() {
    CommandBuffer commands = queue_.makeCommandBuffer();
    const auto read_twice = [](ImageBatch images) {
      ImageBatchIncrementReadCount(images, 1);
      return images;
    };
    StateBatch of_convolution, of_relu, of_full;
    const ImageBatch convolved =
        read_twice(convolve_.encodeBatch(commands, digits_.pictures, &of_convolution, true));
    const ImageBatch active = read_twice(relu_.encodeBatch(commands, convolved, &of_relu, true));
    const ImageBatch logits = read_twice(connect_.encodeBatch(commands, active, &of_full, true));
    loss_.encodeBatch(commands, logits, digits_.labels, {}, {}, losses_);
    ImageBatch gradient = ones_.encodeBatch(commands, losses_);
    gradient = loss_gradient_.encodeBatch(commands, gradient, logits, digits_.labels, {}, {});
    of_full[0]->setReadCount(2);  // the gradient and the update
    gradient = connect_gradient_.encodeBatch(commands, gradient, active, of_full);
    gradient = relu_gradient_.encodeBatch(commands, gradient, convolved, of_relu);
    const auto full = update(commands, *full_, of_full);
    connect_.reloadWeightsAndBiases(commands, full);
    connect_gradient_.reloadWeightsAndBiases(commands, full);
    of_convolution[0]->setReadCount(2);
    convolve_gradient_.encodeBatch(commands, gradient, digits_.pictures, of_convolution,
                                   of_pictures_);
    convolve_.reloadWeightsAndBiases(commands, update(commands, *convolution_, of_convolution));
    commands.commit();
    return commands;
  }
  double step() {
    start().waitUntilCompleted();
    return sum(losses_);
  }

 private:
  static std::shared_ptr<CNNConvolutionWeightsAndBiasesState> update(
      const CommandBuffer& commands, ConvolutionParameters& parameters, const StateBatch& states) {
    return parameters.update(commands, states.at<CNNConvolutionGradientState>(0), nullptr);
  }

  CommandQueue queue_;
  RandomNumbers random_;
  Digits digits_;
  std::shared_ptr<ConvolutionParameters> convolution_, full_;
  CNNConvolution convolve_;
  CNNConvolutionGradient convolve_gradient_;
  CNNNeuronReLU relu_;
  CNNNeuronGradient relu_gradient_;
  CNNFullyConnected connect_;
  CNNFullyConnectedGradient connect_gradient_;
  NNForwardLoss loss_;
  NNInitialGradient ones_;
  NNLossGradient loss_gradient_;
  ImageBatch losses_;
  ImageBatch of_pictures_;  // the gradient that nobody needs and nobody computes
};

}  // namespace cermet::bench
