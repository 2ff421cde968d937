"""Every public class, enum and function is there, documented, and its properties work."""

import ast
import inspect
import pathlib

import cermet
import numpy as np
import pytest
from help import SURFACE, Source, device, permanent, run

Neuron = cermet.NNNeuronDescriptor.cnn_neuron_descriptor


def find(name):
    found = cermet
    for part in name.split("."):
        found = getattr(found, part)
    return found


def test_every_class_has_its_members_and_a_docstring():
    for name, description in SURFACE["classes"].items():
        one = find(name)
        assert inspect.isclass(one) and one.__doc__ and one.__doc__.strip(), name
        for member in description["members"]:
            assert hasattr(one, member), f"{name}.{member}"
        for base in description["bases"]:
            assert issubclass(one, find(base.replace("::", "."))), name
    for name in SURFACE["handwritten"]:
        assert issubclass(find(name), cermet.Error)


def test_every_enum_has_its_cases():
    for name, cases in SURFACE["enums"].items():
        one = find(name)
        assert one.__doc__, name
        for case in cases:
            assert hasattr(one, case if case != "None" else "None_"), f"{name}.{case}"


def test_every_function_and_constant():
    for name in SURFACE["functions"]:
        assert getattr(cermet, name).__doc__, name
    for name in SURFACE["constants"]:
        assert hasattr(cermet, name)
    assert cermet.RectNoClip == cermet.CNNNeuron(device, Neuron(cermet.CNNNeuronType.ReLU)).clip_rect


def test_inherited_members_are_not_repeated():
    """A class has what C++ declares in it; the rest comes from its bases."""
    assert "label" in SURFACE["classes"]["Kernel"]["members"]
    assert "label" not in SURFACE["classes"]["CNNAdd"]["members"]


class BatchNormalizationSource(cermet.CNNBatchNormalizationDataSource):
    def number_of_feature_channels(self):
        return 2

    def gamma(self):
        return np.array([1.5, 2])

    def beta(self):
        return None

    mean = variance = beta

    def load(self):
        return True

    def purge(self):
        pass

    def label(self):
        return "batch normalization"


class Bits(Source):
    """Weights of one bit: words [output, kernel height, kernel width, ceil(input / 32)]."""

    def __init__(self, words, inputs):
        super().__init__(np.zeros((*np.shape(words)[:3], inputs)), label="bits")
        self.array = np.asarray(words, "u4")

    def data_type(self):
        return cermet.DataType.UInt32


ARGUMENTS = {
    "convolution_data": lambda: Bits(np.zeros((2, 3, 3, 1)), 2),
    "scale_value": lambda: 0.5,
    "type": lambda: cermet.CNNBinaryConvolutionType.XNOR,
    "flags": lambda: cermet.CNNBinaryConvolutionFlags.None_,
    "neuron_descriptor": lambda: Neuron(cermet.CNNNeuronType.ReLU),
    "weights": lambda: Source(np.zeros((2, 3, 3, 2))),
    "data_source": BatchNormalizationSource,
    "loss_descriptor": lambda: cermet.CNNLossDescriptor.cnn_loss_descriptor(
        cermet.CNNLossType.MeanSquaredError, cermet.CNNReductionType.Sum
    ),
    "keep_probability": lambda: 0.5,
    "mask_stride_in_pixels": lambda: cermet.Size(1, 1, 1),
    "is_secondary_source_filter": lambda: False,
    "learning_rate": lambda: 0.125,
    "a": lambda: 1.0,
    "b": lambda: 1.0,
    "c": lambda: 1.0,
    "seed": lambda: 7,
    "regions": lambda: [cermet.RegionD(cermet.OriginD(0, 0, 0), cermet.SizeD(1, 0.5, 1))],
    "source_count": lambda: 2,
    "optimizer_descriptor": cermet.NNOptimizerDescriptor,
}


def made(name):
    """A fresh kernel: by the first initialiser whose arguments are known."""
    if name == "CNNNeuronPReLU":
        return cermet.CNNNeuronPReLU(device, np.ones(2))
    if name == "CNNYOLOLoss":
        types = [cermet.CNNLossType.MeanSquaredError] * 4
        return cermet.CNNYOLOLoss(device, cermet.CNNYOLOLossDescriptor.cnn_loss_descriptor(
            *types, cermet.CNNReductionType.Sum, np.ones(4, np.float32), 2))
    problem = "no initialiser takes a device"
    for arguments in SURFACE["classes"][name]["inits"]:
        if arguments[:1] != ["device"]:
            continue
        known = [a for a in arguments[1:] if a != "fused_neuron_descriptor"]  # which has a default
        try:
            return find(name)(device, *[ARGUMENTS[a]() if a in ARGUMENTS else 3 for a in known])
        except (TypeError, cermet.InvalidArgument) as refused:
            problem = f"{arguments}: {refused}"
    return pytest.skip(f"no known arguments for {name}, add some to ARGUMENTS: {problem}")


def is_a(name, wanted):
    bases = SURFACE["classes"].get(name, {}).get("bases", [])
    return name == wanted or any(is_a(base.replace("::", "."), wanted) for base in bases)


def properties(name):
    """(name, writable) of a class and its bases."""
    description = SURFACE["classes"][name]
    for base in description["bases"]:
        yield from properties(base.replace("::", "."))
    for member, entry in description["members"].items():
        if entry["kind"] == "property":
            yield member, entry["writable"]


def equal(a, b):
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b or repr(a) == repr(b)


KERNELS = [
    name
    for name, description in SURFACE["classes"].items()
    if description["inits"] and not description["abstract"] and is_a(name, "Kernel") and name != "NNGraph"
]


@pytest.mark.parametrize("name", KERNELS)
def test_properties_of(name):
    """Every getter works, and what was set comes back."""
    kernel = made(name)
    for member, writable in properties(name):
        value = getattr(kernel, member)
        if not writable:
            continue
        setattr(kernel, member, value)
        assert equal(getattr(kernel, member), value), member
        if type(value) in (int, float, bool):
            changed = not value if type(value) is bool else 4 if type(value) is int else 0.25
            setattr(kernel, member, changed)
            assert getattr(kernel, member) == changed, member
    kernel.label = "a label"
    assert "a label" in repr(kernel)
    assert isinstance(made(name).copy(), cermet.Kernel)


PLAIN = [
    name
    for name, description in SURFACE["classes"].items()
    if [] in description["inits"] or description["aggregate"]
]


@pytest.mark.parametrize("name", PLAIN)
def test_structure(name):
    """Made without arguments, its properties work; an empty handle is an object that refuses."""
    value = find(name)()
    for member, writable in properties(name):
        try:
            got = getattr(value, member)
        except cermet.InvalidArgument:
            continue
        if writable and got is not None:
            setattr(value, member, got)
            assert equal(getattr(value, member), got), member


def test_nothing_is_left_without_a_base_encode():
    """What C++ deletes, Python refuses with the reason."""
    statistics = cermet.CNNBatchNormalizationStatistics(device)
    with pytest.raises(TypeError, match="CNNBatchNormalizationStatistics has no encode"):
        statistics.encode(None, None)


def test_keyword_arguments_and_defaults():
    pool = cermet.CNNPoolingMax(device=device, kernel_width=2, kernel_height=3, stride_in_pixels_y=2)
    assert (pool.kernel_width, pool.kernel_height, pool.stride_in_pixels_x, pool.stride_in_pixels_y) == (2, 3, 1, 2)
    descriptor = cermet.ImageDescriptor(width=5, feature_channels=2)
    assert (descriptor.width, descriptor.height, descriptor.number_of_images) == (5, 1, 1)
    with pytest.raises(TypeError, match="kernel_width"):
        cermet.CNNPoolingMax(device)


def test_words_and_terms_of_a_binary_convolution():
    """The specification's example of four channels: 7.2 and 2."""
    image = cermet.Image.from_numpy(device, np.array([0.5, -2, 0, -0.1], "f4").reshape(1, 1, 4))
    for kind, wanted in (("BinaryWeights", 7.2), ("AND", 2)):
        kernel = permanent(cermet.CNNBinaryConvolution(
            device, Bits([[[[0b1001]]]], 4), None, None, np.full(4, 0.2, "f4"), np.full(4, 3, "f4"),
            getattr(cermet.CNNBinaryConvolutionType, kind), cermet.CNNBinaryConvolutionFlags.None_))
        assert np.allclose(run(lambda commands: kernel.encode(commands, image)).numpy().ravel(), wanted)
    with pytest.raises(cermet.InvalidArgument, match="4"):
        cermet.CNNBinaryConvolution(device, Bits([[[[0b1001]]]], 4), None, None, np.zeros(3, "f4"), None,
                                    cermet.CNNBinaryConvolutionType.AND, cermet.CNNBinaryConvolutionFlags.None_)
    with pytest.raises(cermet.InvalidArgument, match="1"):
        cermet.CNNBinaryConvolution(device, Bits([[[[1, 2]]]], 4), 1, cermet.CNNBinaryConvolutionType.AND,
                                    cermet.CNNBinaryConvolutionFlags.None_)


def test_options_combine():
    kernel = cermet.CNNSoftMax(device)
    kernel.options = cermet.KernelOptions.Verbose | cermet.KernelOptions.AllowReducedPrecision
    assert cermet.KernelOptions.Verbose in kernel.options
    assert cermet.KernelOptions.SkipAPIValidation not in kernel.options


def test_the_stub_has_what_the_module_has():
    """Every class, function and member, by hand or not, is in the stub, and nothing else."""
    stub = ast.parse((pathlib.Path(cermet.__file__).parent / "cermet.pyi").read_text())

    def names(node):
        for child in node.body:
            if isinstance(child, (ast.ClassDef, ast.FunctionDef)):
                yield child.name, child
            elif isinstance(child, ast.AnnAssign):
                yield child.target.id, child
            elif isinstance(child, ast.Assign):
                yield child.targets[0].id, child

    def check(node, found, path):
        told = dict(names(node))
        public = {n for n in vars(found) if not n.startswith("_")}
        if inspect.isclass(found) and issubclass(found, int):
            public = {n for n in told if hasattr(found, n)}  # enums have more than their cases
        missing = {n for n in public if n not in told and not refuses(path, n)}
        assert not missing, f"{path} has {missing}, the stub does not"
        for name, child in told.items():
            assert name in ("__init__", "__iter__", "code") or hasattr(found, name), f"{path}.{name}"
            if isinstance(child, ast.ClassDef):
                check(child, getattr(found, name), f"{path}.{name}".removeprefix("cermet."))

    def refuses(path, name):
        return SURFACE["classes"].get(path, {}).get("members", {}).get(name, {}).get("deleted", False)

    check(stub, cermet, "cermet")


def test_random_words_and_numbers():
    """The specification's words of seed 0, and uniform numbers made of them."""
    words = cermet.Vector.from_numpy(device, np.zeros(4, "u4"))
    numbers = cermet.Matrix.from_numpy(device, np.zeros((2, 2), "f4"))
    kernel = cermet.MatrixRandomPhilox(device)
    distribution = cermet.MatrixRandomDistributionDescriptor.uniform_distribution_descriptor(-1, 3)
    uniform = cermet.MatrixRandomPhilox(device, cermet.DataType.Float32, 0, distribution)
    run(lambda commands: (kernel.encode(commands, words), uniform.encode(commands, numbers)))
    assert [f"{word:08x}" for word in words.numpy()] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    wanted = np.array([0.5961856842041016, 2.522080421447754, 1.9428510665893555, 1.4219269752502441], "f4")
    assert np.array_equal(numbers.numpy().ravel(), wanted)
    assert kernel.block_offset == uniform.block_offset == kernel.copy().block_offset == 1
    with pytest.raises(cermet.InvalidArgument, match="UInt32"):
        run(lambda commands: kernel.encode(commands, numbers))
