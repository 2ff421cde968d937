"""What the tests share."""

import json
import os
import pathlib

import cermet
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What the generator made: classes, members, enums, functions.
SURFACE = json.loads(pathlib.Path(os.environ["CERMET_PYTHON_SURFACE"]).read_text())

device = cermet.Device.named(os.environ.get("CERMET_TEST_DEVICE", "cpu:2"))
Float32 = cermet.ImageFeatureChannelFormat.Float32


def run(encode):
    """The result of `encode(commands)` once its work is done."""
    commands = device.make_command_queue().make_command_buffer()
    result = encode(commands)
    commands.commit()
    commands.wait_until_completed()
    if commands.error:
        raise commands.error
    return result


def batch(array):
    return cermet.ImageBatch.from_numpy(device, np.asarray(array, "f4"))


def permanent(kernel):
    """The kernel, whose results the host can read."""
    kernel.destination_image_allocator = cermet.Image.default_allocator()
    return kernel


class Source(cermet.CNNConvolutionDataSource):
    """Weights [output, kernel height, kernel width, input / groups] and biases from arrays."""

    def __init__(self, weights, biases=None, label="source", **properties):
        super().__init__()
        self.array, self.biases, self.name, self.loads = np.asarray(weights, "f4"), biases, label, 0
        output, height, width, inputs = self.array.shape
        groups = properties.get("groups", 1)
        d = cermet.CNNConvolutionDescriptor.cnn_convolution_descriptor(width, height, inputs * groups, output)
        for key, value in properties.items():
            setattr(d, key, value)
        self.made = d

    def data_type(self):
        return cermet.DataType.Float32

    def descriptor(self):
        return self.made

    def weights(self):
        return self.array

    def bias_terms(self):
        return self.biases

    def load(self):
        self.loads += 1
        return True

    def purge(self):
        self.loads -= 1

    def label(self):
        return self.name


class TrainedSource(Source):
    """A source whose update, one step of an optimizer, runs in Python."""

    def __init__(self, weights, biases, rate=0.1, **properties):
        super().__init__(weights, np.asarray(biases, "f4"), **properties)
        self.optimizer = cermet.NNOptimizerStochasticGradientDescent(device, rate)
        self.state, self.updates = None, 0

    def update(self, command_buffer, gradient_state, source_state):
        if self.state is None:
            self.state = cermet.CNNConvolutionWeightsAndBiasesState(
                cermet.Buffer.from_numpy(device, self.array), cermet.Buffer.from_numpy(device, self.biases)
            )
        self.optimizer.encode(command_buffer, gradient_state, self.state, (), self.state)
        self.updates += 1
        return self.state
