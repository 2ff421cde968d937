"""A small classifier trained in Python, by kernels and as a graph, with sources whose update runs
in Python."""

import cermet
import numpy as np
import pytest
from help import Float32, TrainedSource, batch, device

SIDE, CLASSES, BATCH, STEPS = 8, 5, 6, 30


def data(seed):
    """Pictures of noise around a pattern of their class, and their labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, BATCH)
    pattern = np.arange(SIDE * SIDE * 2).reshape(SIDE, SIDE, 2) % CLASSES
    pictures = random.random((BATCH, SIDE, SIDE, 2)) - 0.5 + 0.5 * (pattern == labels[:, None, None, None])
    return batch(pictures), batch(np.eye(CLASSES)[labels].reshape(BATCH, 1, 1, CLASSES))


def sources():
    random = np.random.default_rng(7)
    convolution = random.uniform(-0.5, 0.5, (6, 3, 3, 2))
    full = random.uniform(-0.2, 0.2, (CLASSES, SIDE // 2, SIDE // 2, 6))
    return TrainedSource(convolution, np.zeros(6)), TrainedSource(full, np.zeros(CLASSES))


def loss_descriptor():
    descriptor = cermet.CNNLossDescriptor.cnn_loss_descriptor(
        cermet.CNNLossType.SoftMaxCrossEntropy, cermet.CNNReductionType.Sum
    )
    descriptor.weight = 1 / BATCH
    return descriptor


def losses_by_hand():
    first, second = sources()
    convolution, convolution_gradient = cermet.CNNConvolution(device, first), cermet.CNNConvolutionGradient(device, first)
    relu_descriptor = cermet.NNNeuronDescriptor.cnn_neuron_descriptor(cermet.CNNNeuronType.ReLU)
    relu, relu_gradient = cermet.CNNNeuron(device, relu_descriptor), cermet.CNNNeuronGradient(device, relu_descriptor)
    pool, pool_gradient = cermet.CNNPoolingMax(device, 2, 2, 2, 2), cermet.CNNPoolingMaxGradient(device, 2, 2, 2, 2)
    full, full_gradient = cermet.CNNFullyConnected(device, second), cermet.CNNFullyConnectedGradient(device, second)
    loss, loss_gradient = cermet.NNForwardLoss(device, loss_descriptor()), cermet.NNLossGradient(device, loss_descriptor())
    ones = cermet.NNInitialGradient(device)
    pool.edge_mode = cermet.ImageEdgeMode.Clamp
    convolution_gradient.gradient_option = cermet.CNNConvolutionGradientOption.GradientWithWeightsAndBias
    loss.destination_image_allocator = cermet.Image.default_allocator()
    queue = device.make_command_queue()

    def update(commands, source, forward, gradient, states):
        state = source.update(commands, states[0], None)
        forward.reload_weights_and_biases(commands, state)
        gradient.reload_weights_and_biases(commands, state)

    result = []
    for step in range(STEPS):
        pictures, labels = data(step % 4)
        commands = queue.make_command_buffer()

        def kept(images):
            cermet.image_batch_increment_read_count(images, 1)
            return images

        def forward(kernel, images):
            images, states = kernel.encode_batch(commands, images, destination_state_is_temporary=False)
            return kept(images), states

        c, c_states = forward(convolution, pictures)
        r, r_states = forward(relu, c)
        p, p_states = forward(pool, r)
        logits, f_states = forward(full, p)
        losses, l_states = loss.encode_batch(commands, logits, labels, None, destination_state_is_temporary=False)
        g = ones.encode_batch(commands, losses)
        g = loss_gradient.encode_batch(commands, g, logits, labels, None, l_states)
        g = full_gradient.encode_batch(commands, g, p, f_states)
        update(commands, second, full, full_gradient, f_states)
        g = pool_gradient.encode_batch(commands, g, r, p_states)
        g = relu_gradient.encode_batch(commands, g, c, r_states)
        g = convolution_gradient.encode_batch(commands, g, pictures, c_states)
        cermet.image_batch_increment_read_count(g, -1)
        update(commands, first, convolution, convolution_gradient, c_states)
        commands.commit()
        commands.wait_until_completed()
        assert commands.error is None
        result.append(losses.numpy().sum(dtype="f8"))
    return result


class Graph:
    def __init__(self, rewrites=False):
        self.sources = sources()
        self.pictures = cermet.NNImageNode(cermet.named_handle("pictures"))
        self.labels = cermet.NNImageNode(cermet.named_handle("labels"))
        convolution = cermet.CNNConvolutionNode(self.pictures, self.sources[0])
        relu = cermet.CNNNeuronReLUNode(convolution.result_image)
        pool = cermet.CNNPoolingMaxNode(relu.result_image, filter_size=2)
        full = cermet.CNNFullyConnectedNode(pool.result_image, self.sources[1])
        loss = cermet.NNForwardLossNode(full.result_image, self.labels, loss_descriptor())
        self.ones = cermet.NNInitialGradientNode(loss.result_image)
        self.visited = []
        ends = self.ones.training_graph(None, lambda *nodes: self.visited.append(nodes))
        loss.result_image.export_from_graph = True
        self.graph = cermet.NNGraph(device, [end.result_image for end in ends], [False] * len(ends))
        self.graph.format = Float32
        self.graph.rewrites = rewrites
        loss.result_image.image_allocator = cermet.Image.default_allocator()
        self.graph = cermet.NNGraph(device, [end.result_image for end in ends], [False] * len(ends))
        self.graph.format = Float32
        self.graph.rewrites = rewrites

    def step(self, queue, pictures, labels):
        commands = queue.make_command_buffer()
        by_name = {"pictures": pictures, "labels": labels}
        inputs = [by_name[handle.label()] for handle in self.graph.source_image_handles]
        _, images, _ = self.graph.encode_batch(commands, inputs, (), outputs=True)
        commands.commit()
        commands.wait_until_completed()
        assert commands.error is None
        return images[0].numpy().sum(dtype="f8")


def test_graph_equals_kernels_bit_for_bit():
    by_hand = losses_by_hand()
    graph, queue = Graph(), device.make_command_queue()
    by_graph = [graph.step(queue, *data(step % 4)) for step in range(STEPS)]
    assert by_graph == by_hand
    assert np.mean(by_hand[-4:]) < 0.7 * np.mean(by_hand[:4])
    assert graph.sources[0].updates == STEPS


def test_rewrites_change_rounding_alone():
    graph, queue = Graph(rewrites=True), device.make_command_queue()
    assert np.allclose([graph.step(queue, *data(step % 4)) for step in range(STEPS)], losses_by_hand(), rtol=1e-5)


def test_the_node_handler_sees_nodes_of_their_own_classes():
    visited = Graph().visited
    names = [type(gradient).__name__ for gradient, *_ in visited]
    assert "CNNConvolutionGradientNode" in names and "CNNPoolingMaxGradientNode" in names
    convolution = next(nodes for nodes in visited if type(nodes[0]).__name__ == "CNNConvolutionGradientNode")
    assert isinstance(convolution[1], cermet.CNNConvolutionNode)


def test_an_exception_in_update_reaches_the_caller():
    graph, queue = Graph(), device.make_command_queue()

    def broken(*_):
        raise LookupError("no update today")

    type(graph.sources[0]).update, kept = broken, type(graph.sources[0]).update
    try:
        with pytest.raises(LookupError, match="no update today"):
            graph.step(queue, *data(0))
    finally:
        type(graph.sources[0]).update = kept
    graph = Graph()
    assert graph.step(queue, *data(0)) > 0


def test_an_update_on_the_cpu_runs_in_python():
    random = np.random.default_rng(3)

    class OnCpu(TrainedSource):
        seen = 0

        def update(self, gradient_state, source_state):
            gradient = gradient_state.gradient_for_weights.numpy("f4").reshape(self.array.shape)
            self.array = self.array - 0.1 * gradient
            OnCpu.seen += 1
            return True

    source = OnCpu(random.random((2, 1, 1, 3)), np.zeros(2))
    image, labels = cermet.NNImageNode(), cermet.NNImageNode()
    convolution = cermet.CNNConvolutionNode(image, source)
    convolution.training_style = cermet.NNTrainingStyle.UpdateDeviceCPU
    descriptor = cermet.CNNLossDescriptor.cnn_loss_descriptor(
        cermet.CNNLossType.MeanSquaredError, cermet.CNNReductionType.Sum
    )
    loss = cermet.NNForwardLossNode(convolution.result_image, labels, descriptor)
    ends = cermet.NNInitialGradientNode(loss.result_image).training_graph(None)
    for end in ends:
        if isinstance(end, cermet.CNNConvolutionGradientNode):
            end.training_style = cermet.NNTrainingStyle.UpdateDeviceCPU
    graph = cermet.NNGraph(device, ends[0].result_image, False)
    graph.format = Float32
    before = source.array.copy()
    commands = device.make_command_queue().make_command_buffer()
    graph.encode_batch(commands, [batch(random.random((2, 3, 3, 3))), batch(random.random((2, 3, 3, 2)))])
    commands.commit()
    commands.wait_until_completed()
    assert commands.error is None
    assert OnCpu.seen == 1 and not np.array_equal(before, source.array)


def test_the_library_s_own_source_trains():
    """ConvolutionParameters needs no Python in its update."""
    settings = cermet.OptimizerSettings(kind=cermet.OptimizerKind.adam, learning_rate=0.01)
    descriptor = cermet.CNNConvolutionDescriptor.cnn_convolution_descriptor(3, 3, 2, 4)
    parameters = cermet.ConvolutionParameters(device, "layer", descriptor, settings)
    parameters.initialise(cermet.RandomNumbers(1))
    weights = parameters.weights()
    assert weights.shape == (72,) and weights.any()
    kernel = cermet.CNNConvolution(device, parameters)
    assert kernel.data_source is parameters
