#!/usr/bin/env python3
"""Trains a classifier of handwritten digits on data/digits and prints its accuracy.

    train_digits.py [--steps N] [--batch N] [--device cpu|cpu:N|cuda] [--data FOLDER]
"""

import argparse
import pathlib

import cermet
import numpy as np

DATA = pathlib.Path(__file__).resolve().parents[2] / "data" / "digits"
Float32 = cermet.ImageFeatureChannelFormat.Float32


class Layer(cermet.CNNConvolutionDataSource):
    """The weights of one layer, and the optimizer that trains them."""

    def __init__(self, device, label, width, inputs, outputs, random):
        super().__init__()
        self.name = label
        self.made = cermet.CNNConvolutionDescriptor.cnn_convolution_descriptor(width, width, inputs, outputs)
        bound = np.sqrt(6 / (width * width * inputs))
        weights = random.uniform(-bound, bound, outputs * width * width * inputs).astype("f4")
        self.buffers = cermet.Buffer.from_numpy(device, weights), device.make_buffer(4 * outputs)
        self.state = cermet.CNNConvolutionWeightsAndBiasesState(*self.buffers)
        self.optimizer = cermet.NNOptimizerAdam(device, 1e-3)
        zeros = [[np.zeros(weights.size, "f4"), np.zeros(outputs, "f4")] for _ in range(2)]
        self.momentum, self.velocity = [[cermet.Vector.from_numpy(device, z) for z in pair] for pair in zeros]

    def data_type(self):
        return cermet.DataType.Float32

    def descriptor(self):
        return self.made

    def weights(self):
        return self.buffers[0].read("f4")

    def bias_terms(self):
        return self.buffers[1].read("f4")

    def load(self):
        return True

    def purge(self):
        pass

    def label(self):
        return self.name

    def update(self, command_buffer, gradient_state, source_state):
        self.optimizer.encode(command_buffer, gradient_state, self.state, self.momentum, self.velocity, self.state)
        return self.state


def logits(image, layers):
    """The nodes of the network."""
    for layer in layers[:2]:
        convolution = cermet.CNNConvolutionNode(image, layer)
        relu = cermet.CNNNeuronReLUNode(convolution.result_image)
        image = cermet.CNNPoolingMaxNode(relu.result_image, filter_size=2).result_image
    hidden = cermet.CNNNeuronReLUNode(cermet.CNNFullyConnectedNode(image, layers[2]).result_image)
    return cermet.CNNFullyConnectedNode(hidden.result_image, layers[3]).result_image


def training_graph(device, layers, batch):
    image = cermet.NNImageNode(cermet.named_handle("image"))
    labels = cermet.NNImageNode(cermet.named_handle("labels"))
    descriptor = cermet.CNNLossDescriptor.cnn_loss_descriptor(
        cermet.CNNLossType.SoftMaxCrossEntropy, cermet.CNNReductionType.Sum
    )
    descriptor.weight = 1 / batch
    loss = cermet.NNForwardLossNode(logits(image, layers), labels, descriptor)
    loss.result_image.export_from_graph = True
    loss.result_image.image_allocator = cermet.Image.default_allocator()
    ends = cermet.NNInitialGradientNode(loss.result_image).training_graph(None)
    graph = cermet.NNGraph(device, [end.result_image for end in ends], [False] * len(ends))
    graph.format = Float32
    return graph


def load(folder, train):
    """Images as [n, h, w, 1] from 0 to 1, and labels."""
    digits = cermet.load_digits(folder, train)
    pixels = digits.pixels.reshape(digits.count, digits.height, digits.width, 1)
    return (pixels / 255).astype("f4"), digits.labels.astype(int)


def accuracy(device, queue, layers, images, labels, batch=500):
    graph = cermet.NNGraph(device, logits(cermet.NNImageNode(), layers))
    graph.format = Float32
    correct = 0
    for start in range(0, len(images), batch):
        commands = queue.make_command_buffer()
        part = cermet.ImageBatch.from_numpy(device, images[start : start + batch])
        result = graph.encode_batch(commands, [part])
        commands.commit()
        commands.wait_until_completed()
        guesses = result.numpy().reshape(len(part), 10).argmax(1)
        correct += (guesses == labels[start : start + batch]).sum()
    return correct / len(images)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", help="default: what CERMET_DEVICE says, else the CPU")
    parser.add_argument("--data", type=pathlib.Path, default=DATA)
    options = parser.parse_args()

    device = cermet.Device.named(options.device) if options.device else cermet.create_system_default_device()
    queue, random = device.make_command_queue(), np.random.default_rng(1)
    images, labels = load(options.data, train=True)
    height = images.shape[1]
    layers = [
        Layer(device, "convolution1", 5, 1, 16, random),
        Layer(device, "convolution2", 5, 16, 32, random),
        Layer(device, "full1", height // 4, 32, 128, random),
        Layer(device, "full2", 1, 128, 10, random),
    ]
    graph = training_graph(device, layers, options.batch)
    one_hot = np.eye(10, dtype="f4").reshape(10, 1, 1, 10)
    for step in range(1, options.steps + 1):
        chosen = random.integers(0, len(images), options.batch)
        inputs = {
            "image": cermet.ImageBatch.from_numpy(device, images[chosen]),
            "labels": cermet.ImageBatch.from_numpy(device, one_hot[labels[chosen]]),
        }
        commands = queue.make_command_buffer()
        sources = [inputs[handle.label()] for handle in graph.source_image_handles]
        _, (losses, *_), _ = graph.encode_batch(commands, sources, (), outputs=True)
        commands.commit()
        commands.wait_until_completed()
        if step % 50 == 0 or step == options.steps:
            print(f"step {step}: loss {losses.numpy().sum():.4f}", flush=True)
    share = accuracy(device, queue, layers, *load(options.data, train=False))
    print(f"accuracy on the test images: {100 * share:.2f} %")


if __name__ == "__main__":
    main()
