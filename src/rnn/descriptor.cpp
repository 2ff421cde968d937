#include "cermet/rnn/descriptor.h"

#include <string>

#include "cermet/core/error.h"
#include "cermet/rnn/gru.h"
#include "cermet/rnn/lstm.h"
#include "cermet/rnn/single_gate.h"

namespace cermet {
namespace {

template <class Descriptor>
std::shared_ptr<Descriptor> made(std::size_t inputs, std::size_t outputs) {
  auto descriptor = std::make_shared<Descriptor>();
  for (const auto& [argument, channels] :
       {std::pair{"inputFeatureChannels", inputs}, {"outputFeatureChannels", outputs}}) {
    if (channels == 0) fail({descriptor->class_name(), "", argument, "0", "1 or more", ""});
  }
  descriptor->setInputFeatureChannels(inputs);
  descriptor->setOutputFeatureChannels(outputs);
  return descriptor;
}

}  // namespace

std::shared_ptr<RNNSingleGateDescriptor> RNNSingleGateDescriptor::createRNNSingleGateDescriptor(
    std::size_t inputFeatureChannels, std::size_t outputFeatureChannels) {
  return made<RNNSingleGateDescriptor>(inputFeatureChannels, outputFeatureChannels);
}
std::shared_ptr<GRUDescriptor> GRUDescriptor::createGRUDescriptor(
    std::size_t inputFeatureChannels, std::size_t outputFeatureChannels) {
  return made<GRUDescriptor>(inputFeatureChannels, outputFeatureChannels);
}
std::shared_ptr<LSTMDescriptor> LSTMDescriptor::createLSTMDescriptor(
    std::size_t inputFeatureChannels, std::size_t outputFeatureChannels) {
  return made<LSTMDescriptor>(inputFeatureChannels, outputFeatureChannels);
}

}  // namespace cermet
