"""Every family of kernels that PyTorch has, forward and backward, against it in float32."""

import cermet
import numpy as np
import pytest
from help import Source, batch, device, permanent, run

torch = pytest.importorskip("torch", reason="python3-torch is not installed")
F = torch.nn.functional
random = np.random.default_rng(11)


def near(got, wanted, tolerance=1e-5):
    """Relative to the largest number."""
    wanted = wanted.detach().numpy() if isinstance(wanted, torch.Tensor) else wanted
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= tolerance * max(np.abs(wanted).max(), 1e-3)


def numbers(*shape):
    return random.standard_normal(shape).astype("f4")


def nchw(array):
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2))).requires_grad_()


def nhwc(tensor):
    return tensor.detach().numpy().transpose(0, 2, 3, 1)


def compare(forward, backward, function, x, gradient_of_result=False, forward_again=None):
    """Encodes forward and backward on x and compares with `function` and its gradient; returns the states."""
    t = nchw(x)
    wanted = function(t)
    g = numbers(*nhwc(wanted).shape)
    wanted.backward(torch.from_numpy(g.transpose(0, 3, 1, 2).copy()))
    permanent(forward), permanent(backward)

    def encode(commands):
        images = batch(x)
        result, states = forward.encode_batch(commands, images, destination_state_is_temporary=False)
        source = result if gradient_of_result else images
        return result, backward.encode_batch(commands, batch(g), source, states), states

    result, gradient, states = run(encode)
    near(result.numpy(), nhwc(wanted))
    near(gradient.numpy(), nhwc(t.grad))
    return states


@pytest.mark.parametrize(
    "channels, outputs, kernel, stride, dilation, groups",
    [(3, 8, 3, 1, 1, 1), (4, 8, 5, 2, 1, 1), (8, 8, 3, 1, 2, 1), (8, 16, 3, 1, 1, 4), (6, 6, 3, 2, 1, 6), (5, 7, 1, 1, 1, 1)],
)
def test_convolution(channels, outputs, kernel, stride, dilation, groups):
    weights, biases = numbers(outputs, kernel, kernel, channels // groups), numbers(outputs)
    source = Source(
        weights, biases, groups=groups, stride_in_pixels_x=stride, stride_in_pixels_y=stride,
        dilation_rate_x=dilation, dilation_rate_y=dilation,
    )
    forward, backward = cermet.CNNConvolution(device, source), cermet.CNNConvolutionGradient(device, source)
    forward.padding = cermet.NNDefaultPadding(cermet.NNPaddingMethod.SizeValidOnly)
    w, b = nchw(weights), torch.from_numpy(biases).requires_grad_()
    function = lambda t: F.conv2d(t, w, b, stride, 0, dilation, groups)  # noqa: E731
    states = compare(forward, backward, function, numbers(2, 11, 11, channels))
    near(states[0].gradient_for_weights.numpy("f4").reshape(weights.shape), nhwc(w.grad), 2e-5)
    near(states[0].gradient_for_biases.numpy("f4"), b.grad, 2e-5)


def test_fully_connected():
    weights, biases = numbers(10, 4, 5, 6), numbers(10)
    source = Source(weights, biases)
    w = nchw(weights)
    function = lambda t: F.linear(t.flatten(1), w.flatten(1), torch.from_numpy(biases))[:, :, None, None]  # noqa: E731
    forward, backward = cermet.CNNFullyConnected(device, source), cermet.CNNFullyConnectedGradient(device, source)
    states = compare(forward, backward, function, numbers(3, 4, 5, 6))
    near(states[0].gradient_for_weights.numpy("f4").reshape(weights.shape), nhwc(w.grad), 2e-5)


@pytest.mark.parametrize("window, stride", [(2, 2), (3, 1), (3, 2)])
@pytest.mark.parametrize("kind", ["Max", "Average"])
def test_pooling(kind, window, stride):
    make = lambda name: getattr(cermet, name)(device, window, window, stride, stride)  # noqa: E731
    forward, backward = make(f"CNNPooling{kind}"), make(f"CNNPooling{kind}Gradient")
    forward.padding = cermet.NNDefaultPadding(cermet.NNPaddingMethod.SizeValidOnly)
    pool = F.max_pool2d if kind == "Max" else F.avg_pool2d
    compare(forward, backward, lambda t: pool(t, window, stride), numbers(2, 9, 9, 5))


@pytest.mark.parametrize("logarithmic", [False, True])
def test_soft_max(logarithmic):
    name = "CNNLogSoftMax" if logarithmic else "CNNSoftMax"
    function = F.log_softmax if logarithmic else F.softmax
    forward, backward = getattr(cermet, name)(device), getattr(cermet, name + "Gradient")(device)
    compare(forward, backward, lambda t: function(t, 1), numbers(2, 3, 4, 7), gradient_of_result=True)


NEURONS = {
    "ReLU": ((0.1,), lambda t: F.leaky_relu(t, 0.1)),
    "Linear": ((2.0, 0.5), lambda t: 2 * t + 0.5),
    "Sigmoid": ((), torch.sigmoid),
    "HardSigmoid": ((0.2, 0.5), lambda t: torch.clamp(0.2 * t + 0.5, 0, 1)),
    "TanH": ((1.5, 0.5), lambda t: 1.5 * torch.tanh(0.5 * t)),
    "Absolute": ((), torch.abs),
    "SoftPlus": ((1.0, 2.0), lambda t: F.softplus(t, 2.0) * 2.0),
    "SoftSign": ((), F.softsign),
    "ELU": ((0.7,), lambda t: F.elu(t, 0.7)),
    "ReLUN": ((0.0, 1.0), lambda t: torch.clamp(t, 0, 1)),
    "Exponential": ((0.5, 0.25, -1.0), lambda t: torch.exp(0.5 * t + 0.25)),
    "GeLU": ((), F.gelu),
}


@pytest.mark.parametrize("name", NEURONS)
def test_neuron(name):
    parameters, function = NEURONS[name]
    descriptor = cermet.NNNeuronDescriptor.cnn_neuron_descriptor(getattr(cermet.CNNNeuronType, name), *parameters)
    forward, backward = cermet.CNNNeuron(device, descriptor), cermet.CNNNeuronGradient(device, descriptor)
    compare(forward, backward, function, numbers(2, 3, 4, 5))


class Normalized(cermet.CNNBatchNormalizationDataSource):
    def __init__(self, gamma, beta):
        super().__init__()
        self.numbers = gamma, beta

    def number_of_feature_channels(self):
        return len(self.numbers[0])

    def gamma(self):
        return self.numbers[0]

    def beta(self):
        return self.numbers[1]

    def mean(self):
        return None

    variance = mean

    def load(self):
        return True

    def purge(self):
        pass

    def label(self):
        return "normalized"

    def epsilon(self):
        return 1e-5


def test_batch_normalization():
    x, g, gamma, beta = numbers(4, 5, 6, 3), numbers(4, 5, 6, 3), numbers(3), numbers(3)
    t, w, b = nchw(x), torch.from_numpy(gamma).requires_grad_(), torch.from_numpy(beta).requires_grad_()
    wanted = F.batch_norm(t, None, None, w, b, training=True, eps=1e-5)
    wanted.backward(torch.from_numpy(g.transpose(0, 3, 1, 2).copy()))
    forward = permanent(cermet.CNNBatchNormalization(device, Normalized(gamma, beta)))
    statistics = cermet.CNNBatchNormalizationStatistics(device)
    statistics_gradient = cermet.CNNBatchNormalizationStatisticsGradient(device)
    backward = permanent(cermet.CNNBatchNormalizationGradient(device))

    def encode(commands):
        images, gradients = batch(x), batch(g)
        result = cermet.ImageBatch(device, cermet.ImageDescriptor.image_descriptor(
            cermet.ImageFeatureChannelFormat.Float32, 6, 5, 3), 4)
        state = forward.result_state(images[0], (), result[0])
        statistics.encode_batch(commands, images, state)
        forward.encode_batch(commands, images, state, result)
        statistics_gradient.encode_batch(commands, gradients, images, state)
        return result, backward.encode_batch(commands, gradients, images, state), state

    result, gradient, state = run(encode)
    near(result.numpy(), nhwc(wanted))
    near(gradient.numpy(), nhwc(t.grad), 2e-5)
    near(state.gradient_for_gamma.numpy("f4"), w.grad, 2e-5)
    near(state.gradient_for_beta.numpy("f4"), b.grad, 2e-5)
    near(state.mean.numpy("f4"), x.mean((0, 1, 2)), 1e-4)


LOSSES = {
    "MeanAbsoluteError": lambda y, t: F.l1_loss(y, t, reduction="none"),
    "MeanSquaredError": lambda y, t: F.mse_loss(y, t, reduction="none"),
    "SigmoidCrossEntropy": lambda y, t: F.binary_cross_entropy_with_logits(y, t, reduction="none"),
    "Huber": lambda y, t: F.huber_loss(y, t, reduction="none", delta=1.0),
}


@pytest.mark.parametrize("name", [*LOSSES, "SoftMaxCrossEntropy"])
def test_loss(name):
    x, labels = numbers(3, 1, 1, 6), random.random((3, 1, 1, 6)).astype("f4")
    if name == "SoftMaxCrossEntropy":
        labels = np.eye(6, dtype="f4")[[1, 5, 2]].reshape(3, 1, 1, 6)
    t, target = nchw(x), nchw(labels).detach()
    if name in LOSSES:
        wanted = LOSSES[name](t, target).sum((1, 2, 3))
    else:
        wanted = -(F.log_softmax(t, 1) * target).sum((1, 2, 3))
    wanted.sum().backward()
    descriptor = cermet.CNNLossDescriptor.cnn_loss_descriptor(getattr(cermet.CNNLossType, name), cermet.CNNReductionType.Sum)
    forward, backward = permanent(cermet.NNForwardLoss(device, descriptor)), permanent(cermet.NNLossGradient(device, descriptor))
    ones = cermet.NNInitialGradient(device)

    def encode(commands):
        images, targets = batch(x), batch(labels)
        losses, states = forward.encode_batch(commands, images, targets, None, destination_state_is_temporary=False)
        first = ones.encode_batch(commands, losses)
        return losses, backward.encode_batch(commands, first, images, targets, None, states)

    losses, gradient = run(encode)
    near(losses.numpy().ravel(), wanted)
    near(gradient.numpy(), nhwc(t.grad))


@pytest.mark.parametrize("name", ["Add", "Subtract", "Multiply"])
def test_arithmetic(name):
    x, y, g = numbers(2, 3, 4, 5), numbers(2, 3, 4, 5), numbers(2, 3, 4, 5)
    a, b = nchw(x), nchw(y)
    wanted = {"Add": torch.add, "Subtract": torch.sub, "Multiply": torch.mul}[name](a, b)
    wanted.backward(torch.from_numpy(g.transpose(0, 3, 1, 2).copy()))
    forward = permanent(getattr(cermet, f"CNN{name}")(device))
    backward = [permanent(getattr(cermet, f"CNN{name}Gradient")(device, second)) for second in (False, True)]
    if name == "Subtract":
        backward[1].primary_scale = -1

    def encode(commands):
        left, right, gradient = batch(x), batch(y), batch(g)
        result, states = forward.encode_batch(commands, left, right, destination_state_is_temporary=False)
        others = (right, left) if name == "Multiply" else (left, right)
        return result, [k.encode_batch(commands, gradient, o, states) for k, o in zip(backward, others)]

    result, gradients = run(encode)
    near(result.numpy(), nhwc(wanted))
    near(gradients[0].numpy(), nhwc(a.grad))
    near(gradients[1].numpy(), nhwc(b.grad))


def test_dropout():
    """The mask is random: its share, its scale, and the gradient's mask are PyTorch's."""
    keep, x = 0.7, np.ones((4, 16, 16, 32), "f4")
    arguments = (device, keep, 3, cermet.Size(1, 1, 1))
    forward, backward = permanent(cermet.CNNDropout(*arguments)), permanent(cermet.CNNDropoutGradient(*arguments))

    def encode(commands):
        images = batch(x)
        result, states = forward.encode_batch(commands, images, destination_state_is_temporary=False)
        return result, backward.encode_batch(commands, images, images, states), states

    result, gradient, states = run(encode)
    y = result.numpy()
    assert np.allclose(np.unique(y), [0, 1 / keep])
    share, trials = (y != 0).mean(), y.size
    assert abs(share - keep) < 4 * np.sqrt(keep * (1 - keep) / trials)
    theirs = F.dropout(torch.ones(4, 16, 16, 32), 1 - keep)
    assert np.allclose(np.unique(theirs.numpy()), np.unique(y))
    assert np.array_equal(gradient.numpy(), y)
    assert np.array_equal(states[0].mask_data.reshape(16, 16, 32) != 0, y[0] != 0)


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "rmsprop", "adam", "amsgrad"])
def test_optimizer(name):
    start, rate = numbers(33), 0.01
    w = torch.from_numpy(start.copy()).requires_grad_()
    theirs = {
        "sgd": lambda: torch.optim.SGD([w], rate, weight_decay=0.1),
        "momentum": lambda: torch.optim.SGD([w], rate, momentum=0.9),
        "nesterov": lambda: torch.optim.SGD([w], rate, momentum=0.9, nesterov=True),
        "rmsprop": lambda: torch.optim.RMSprop([w], rate, alpha=0.9, eps=1e-5),
        "adam": lambda: torch.optim.Adam([w], rate, eps=1e-8),
        "amsgrad": lambda: torch.optim.Adam([w], rate, eps=1e-8, amsgrad=True),
    }[name]()
    decay = cermet.NNRegularizationType.L2 if name == "sgd" else cermet.NNRegularizationType.None_
    descriptor = cermet.NNOptimizerDescriptor(rate, 1.0, decay, 0.1)
    if name in ("sgd", "momentum", "nesterov"):
        momentum = 0.0 if name == "sgd" else 0.9
        ours = cermet.NNOptimizerStochasticGradientDescent(device, momentum, name == "nesterov", descriptor)
    elif name == "rmsprop":
        ours = cermet.NNOptimizerRMSProp(device, 0.9, 1e-5, descriptor)
    else:
        ours = cermet.NNOptimizerAdam(device, 0.9, 0.999, 1e-8, 0, descriptor)
    values = cermet.Vector.from_numpy(device, start)
    moments = [cermet.Vector.from_numpy(device, np.zeros(33, "f4")) for _ in range(3)]
    used = {"sgd": [None], "adam": moments[:2], "amsgrad": moments}.get(name, moments[:1])
    for _ in range(10):
        g = numbers(33)
        w.grad = torch.from_numpy(g)
        theirs.step()
        gradient = cermet.Vector.from_numpy(device, g)
        run(lambda commands: ours.encode(commands, gradient, values, *used, values))
    near(values.numpy(), w)


def matrix(array):
    """A matrix of its own buffer; `array` of one matrix."""
    array = np.ascontiguousarray(array, "f4")
    rows, columns = array.shape
    descriptor = cermet.MatrixDescriptor.matrix_descriptor(rows, columns, columns * 4, cermet.DataType.Float32)
    return cermet.Matrix(cermet.Buffer.from_numpy(device, array), descriptor)


def gate_weights(weights, biases=None, neuron="None_"):
    """A source for one gate of a recurrent layer, of 1x1 pixels."""
    function = cermet.NNNeuronDescriptor.cnn_neuron_descriptor(getattr(cermet.CNNNeuronType, neuron))
    return Source(weights[:, None, None, :], biases, fused_neuron_descriptor=function)


def compare_recurrent(descriptor, torch_layer, gates, letters):
    """Forward and back through time, weights included. `gates`: PyTorch's order of the layer's gates."""
    steps, rows, outputs = 4, 3, descriptor.output_feature_channels
    x = torch.from_numpy(numbers(steps, rows, descriptor.input_feature_channels)).requires_grad_()
    wanted, _ = torch_layer(x)
    g = numbers(steps, rows, outputs)
    wanted.backward(torch.from_numpy(g))
    weights = []
    layer = cermet.RNNMatrixTrainingLayer(device, descriptor, weights)
    assert len(weights) == 3 * len(gates)
    of_torch = [p.grad.numpy() for p in (torch_layer.weight_ih_l0, torch_layer.weight_hh_l0, torch_layer.bias_ih_l0)]
    sources = [matrix(step) for step in x.detach().numpy()]
    results = [matrix(np.zeros((rows, outputs))) for _ in range(steps)]
    gradients = [matrix(step) for step in g]
    source_gradients = [matrix(np.zeros_like(step)) for step in x.detach().numpy()]
    (weight_gradients,) = layer.create_weight_gradient_matrices(cermet.DataType.Float32, outputs=True)

    def encode(commands):
        (states,) = layer.encode_forward_sequence(commands, sources, results, weights, outputs=True)
        layer.encode_gradient_sequence(
            commands, sources, gradients, source_gradients, weight_gradients, states, weights
        )

    run(encode)
    near(np.stack([m.numpy() for m in results]), wanted)
    near(np.stack([m.numpy() for m in source_gradients]), x.grad)
    for gate, letter in zip(gates, letters):
        rows_of_gate = slice(gate * outputs, (gate + 1) * outputs)
        for part, gradient in zip(("InputWeights", "RecurrentWeights", "BiasTerms"), of_torch):
            name = getattr(cermet.RNNMatrixId, letter + part)
            out = matrix(np.zeros((1, outputs) if part == "BiasTerms" else gradient[rows_of_gate].shape))
            run(lambda c: layer.encode_copy_weights(c, weight_gradients, name, out, True, cermet.Origin()))
            near(out.numpy().reshape(gradient[rows_of_gate].shape), gradient[rows_of_gate], 2e-5)


def test_lstm():
    inputs, outputs = 5, 6
    theirs = torch.nn.LSTM(inputs, outputs)
    torch.nn.init.zeros_(theirs.bias_hh_l0)  # one bias for a gate here
    w, u, b = (p.detach().numpy() for p in (theirs.weight_ih_l0, theirs.weight_hh_l0, theirs.bias_ih_l0))
    descriptor = cermet.LSTMDescriptor.create_lstm_descriptor(inputs, outputs)
    for k, (name, neuron) in enumerate(
        [("input", "Sigmoid"), ("forget", "Sigmoid"), ("cell", "TanH"), ("output", "Sigmoid")]
    ):
        rows = slice(k * outputs, (k + 1) * outputs)
        setattr(descriptor, f"{name}_gate_input_weights", gate_weights(w[rows], b[rows], neuron))
        setattr(descriptor, f"{name}_gate_recurrent_weights", gate_weights(u[rows]))
    names = ["LSTMInputGate", "LSTMForgetGate", "LSTMMemoryGate", "LSTMOutputGate"]
    compare_recurrent(descriptor, theirs, [0, 1, 2, 3], names)


def test_single_gate():
    theirs = torch.nn.RNN(5, 6, nonlinearity="tanh")
    torch.nn.init.zeros_(theirs.bias_hh_l0)
    w, u, b = (p.detach().numpy() for p in (theirs.weight_ih_l0, theirs.weight_hh_l0, theirs.bias_ih_l0))
    descriptor = cermet.RNNSingleGateDescriptor.create_rnn_single_gate_descriptor(5, 6)
    descriptor.input_weights = gate_weights(w, b, "TanH")
    descriptor.recurrent_weights = gate_weights(u)
    compare_recurrent(descriptor, theirs, [0], ["SingleGate"])
