"""What is not bound mechanically, and why. Every entry must match a declaration, so none goes stale;
a public declaration that no rule covers stops the generator.
"""

import re

# ---- Not in Python ---------------------------------------------------------------------------------

BACKEND = "contract of a backend: nothing that a program calls"
OPERATOR = "operator of a backend; its enums are in Python"
HEADERS = {  # whole headers, but for their enums where the value begins with `operator`
    "cermet/core/engine.h": BACKEND,
    "cermet/core/operator.h": BACKEND,
    "cermet/core/step.h": BACKEND,
    "cermet/core/tensor_desc.h": BACKEND,
    "cermet/core/text.h": "text of messages",
    "cermet/core/file.h": "Python reads and writes files by itself",
    "cermet/train/progress.h": "draws on a FILE*: Python has progress bars",
    "cermet/train/training_run.h": "the run of `cermet train`: examples/python has one in Python",
}
OPERATOR_HEADERS = re.compile(r"cermet/ops/")

CLASSES = {
    "Complaint": "makes messages of the library",
    "Coder::Stock": "how the library names its own classes in archives",
    "ImageBatch::Iterator": "Python iterates over the batch",
}

MEMBERS = {  # "Class.member" or "function"
    "describe": "makes messages of the library",
    "fail": "makes messages of the library",
    "has": "Python asks `bit in options`",
    "operator|": "Python combines options with | by itself",
    "operator&": "Python combines options with & by itself",
    "register_codable<T>": "template; register_codable(name, factory) is in Python",
    "decode<T>": "template: python/src/coder.cpp has decode(coder, device, kind)",
    "metadata_entry": "Python looks into `metadata`",
    "metadata_count": "Python looks into `metadata`",
    "metadata_number": "Python looks into `metadata`",
    "CommandBuffer.commit": "python/src/commands.cpp: the interpreter waits for it at its end",
    "CommandBuffer.commitAndContinue": "python/src/commands.cpp: the interpreter waits for it at its end",
    "Buffer.contents": "python/src/arrays.cpp: Buffer.numpy",
    "Buffer.copy_in": "python/src/arrays.cpp: Buffer.write",
    "Buffer.copy_out": "python/src/arrays.cpp: Buffer.read",
    "Buffer.values": "template; Buffer.read(dtype)",
    "Buffer.as": "template; Buffer.numpy(dtype)",
    "Device.engine": BACKEND,
    "Device.makeBuffer(const void*, std::size_t)": "python/src/arrays.cpp: Buffer.from_numpy",
    "Image.readBytes": "python/src/arrays.cpp: Image.read_bytes",
    "Image.writeBytes": "python/src/arrays.cpp: Image.write_bytes",
    "ImageBatch.ImageBatch(std::initializer_list<Image>)": "a list of images is a batch",
    "ImageBatch.begin": "Python iterates over the batch",
    "ImageBatch.end": "Python iterates over the batch",
    "ImageBatch.operator[]": "python/src/arrays.cpp: batch[i], also of slices",
    "StateBatch.operator[]": "python/src/arrays.cpp: batch[i]",
    "StateBatch.at": "template; batch[i] has its own class in Python",
    "Coder.operator()": "python/src/coder.cpp: value = coder(key, value)",
    "Coder.flags": "template; coder(key, value) takes enums",
    "Coder.tensor": "python/src/coder.cpp: coder.tensor(key, array)",
    "ImageAllocator.stock": "how the library names its own classes in archives",
    "NNPadding.stock": "how the library names its own classes in archives",
    "CNNLossDescriptor.code": "encode_with_coder",
    "NNNeuronDescriptor.code": "encode_with_coder",
    "CNNConvolutionDescriptor.code": "encode_with_coder",
    "NNOptimizerDescriptor.code": "part of an optimizer's archive",
    "LossSwitches.code": "part of a loss's archive",
    "CNNYOLOLossDescriptor.code": "encode_with_coder",
    "YOLOLossSwitches.code": "part of a loss's archive",
    "SourceGeometry.code": "part of a kernel's archive",
    "NNNeuronDescriptor.activation": "an operator's parameter; type, a, b and c have properties",
}

# A function whose signature has one of these is for kernels and backends.
INTERNAL_TYPES = re.compile(r"^detail::|^Engine$|^TensorDesc$|^TensorView$|^StepPtr$|^Step$")

HANDWRITTEN_CLASSES = {  # bound in python/src
    "Error": "errors.cpp",
    "InvalidArgument": "errors.cpp",
    "FileError": "errors.cpp",
    "DeviceError": "errors.cpp",
}

# ---- Subclasses in Python --------------------------------------------------------------------------

# Classes that are derived from one of these can be derived from in Python, unless they are final.
SUBCLASSABLE = {"Codable", "Differentiable", "HeapProvider", "Handle"}
# Abstract, and not for subclasses in Python: their virtual functions deal with backends and graphs.
LIBRARY_BASES = {
    "CheckedEncode",
    "Kernel",
    "State",
    "ImageSizeEncodingState",
    "NNFilterNode",
    "NNStateNode",
    "NNPadding",
    "RNNDescriptor",
}
# Protected functions that subclasses override.
PROTECTED_HOOKS = {"code"}

# ---- Pointers to numbers and objects ---------------------------------------------------------------

# How many numbers, or objects of an aggregate, a pointer has, as C++: of arguments
# `Class.function(argument)`, of results `Class.function`. `self` is the object. A `std::size_t count`
# behind an argument says it by itself, and so does `numberOf<Argument>` before one that points to
# objects; sources with `numberOfFeatureChannels` have one float for each.
COUNTS = {
    "CNNConvolution.CNNConvolution(kernelWeights)": "weight_count(convolutionDescriptor)",
    "CNNConvolution.CNNConvolution(biasTerms)": "convolutionDescriptor.outputFeatureChannels()",
    "CNNFullyConnected.CNNFullyConnected(kernelWeights)": "weight_count(convolutionDescriptor)",
    "CNNFullyConnected.CNNFullyConnected(biasTerms)": "convolutionDescriptor.outputFeatureChannels()",
    "CNNConvolutionDescriptor.setBatchNormalizationParametersForInference": "self.outputFeatureChannels()",
    **{
        f"{name}.{name}({side}{kind}Terms)": f"{side}_channels(convolutionData)"
        for name in ("CNNBinaryConvolution", "CNNBinaryFullyConnected")
        for side in ("input", "output")
        for kind in ("Bias", "Scale")
    },
    "NNCropAndResizeBilinear.regions": "self.numberOfRegions()",
    "CNNConvolutionDataSource.weights": "weight_count(*self.descriptor(), self.dataType())",
    "CNNConvolutionDataSource.biasTerms": "self.descriptor()->outputFeatureChannels()",
    "CNNConvolutionDataSource.rangesForUInt8Kernel": "self.descriptor()->outputFeatureChannels()",
    "CNNConvolutionDataSource.lookupTableForUInt8Kernel": "256",
}

# ---- Properties ------------------------------------------------------------------------------------

# Names of the original decide by its inventory. Of ours, a const function without arguments is a
# property unless its name says that it does something.
DOING = re.compile(
    r"^(read_|make|copy|distinct$|bytes$|front$|inverse$|next$|uniform$|finish$|begin_|batchRepresentation$|"
    r"initialise$|encode|reload|reset$|resource$|consume|enqueue$|commit|waitUntil)"
)


def count_rule(owners, function, argument=None):
    """The C++ expression for the length behind a pointer, or None; `owners`: the class, then its bases."""
    for owner in owners:
        name = f"{owner}.{function}"
        for key in ([f"{name}({argument})"] if argument else []) + [name]:
            if key in COUNTS:
                return COUNTS[key]
    return None
