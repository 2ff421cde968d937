def matrix(*shape):
    """A matrix of random numbers."""
    return cermet.Matrix.from_numpy(device, np.random.default_rng(1).random(shape, "float32"))


def layer(inputs, outputs):
    """A layer of one gate, h1 = tanh(W x + U h0 + b)."""
    tanh = cermet.NNNeuronDescriptor.cnn_neuron_descriptor(cermet.CNNNeuronType.TanH, 1, 1)
    descriptor = cermet.RNNSingleGateDescriptor.create_rnn_single_gate_descriptor(inputs, outputs)
    descriptor.input_weights = Weights(random(outputs, 1, 1, inputs), random(outputs), fused_neuron_descriptor=tanh)
    descriptor.recurrent_weights = Weights(random(outputs, 1, 1, outputs))
    return descriptor
