"""Subclasses in Python: how long they live, exceptions, wrong answers."""

import gc
import weakref

import cermet
import numpy as np
import pytest
from help import Source, batch, device, permanent, run


def weights():
    return np.random.default_rng(2).random((4, 3, 3, 2))


def test_a_source_lives_as_long_as_its_kernel():
    source = Source(weights())
    seen = weakref.ref(source)
    kernel = permanent(cermet.CNNConvolution(device, source))
    gradient = cermet.CNNConvolutionGradient(device, source)
    del source
    gc.collect()
    assert seen() is not None and kernel.data_source is seen() is gradient.data_source
    before = run(lambda c: kernel.encode_batch(c, batch(np.ones((1, 5, 5, 2))))).numpy()
    seen().array = seen().array * 2
    kernel.reload_weights_and_biases_from_data_source()  # calls the Python object
    assert np.allclose(run(lambda c: kernel.encode_batch(c, batch(np.ones((1, 5, 5, 2))))).numpy(), 2 * before)
    assert seen().loads == 0, "load and purge come in pairs"
    del kernel
    gc.collect()
    assert seen() is not None
    del gradient
    gc.collect()
    assert seen() is None


def test_sources_are_forgotten_while_work_runs():
    """Python objects that a thread of the library lets go are freed by Python's own."""
    alive = []
    for _ in range(30):
        source = Source(weights())
        alive.append(weakref.ref(source))
        kernel = cermet.CNNConvolution(device, source)
        commands = device.make_command_queue().make_command_buffer()
        kernel.encode_batch(commands, batch(np.ones((2, 9, 9, 2))))
        commands.add_completed_handler(lambda _, kept=source: None)
        commands.commit()
        del source, kernel, commands
    device.make_command_queue()
    done = run(lambda c: None)
    assert done is None
    for _ in range(200):
        gc.collect()
        if not any(one() for one in alive):
            break
        run(lambda c: None)
    assert not any(one() for one in alive)


def test_exceptions_leave_the_constructor():
    class Broken(Source):
        def load(self):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        cermet.CNNConvolution(device, Broken(weights()))


@pytest.mark.parametrize(
    "name, answer, message",
    [
        ("load", None, "Wrong.load returned None of type NoneType; needed bool"),
        ("data_type", 3, "Wrong.data_type returned 3 of type int; needed DataType"),
        ("descriptor", "text", "Wrong.descriptor returned 'text' of type str; needed CNNConvolutionDescriptor"),
    ],
)
def test_answers_of_the_wrong_type(name, answer, message):
    wrong = type("Wrong", (Source,), {name: lambda self: answer})
    with pytest.raises(TypeError, match=message):
        cermet.CNNConvolution(device, wrong(weights()))


def test_arrays_of_the_wrong_size_or_type():
    class Short(Source):
        def weights(self):
            return np.zeros(5)

    with pytest.raises(cermet.InvalidArgument, match="Short.weights: the result is 5 elements; needed 72 elements"):
        cermet.CNNConvolution(device, Short(weights()))

    class Bytes(Source):
        def data_type(self):
            return cermet.DataType.UInt8

    with pytest.raises(cermet.InvalidArgument, match="an array of float32; needed an array of uint8"):
        cermet.CNNConvolution(device, Bytes(weights()))


def test_what_a_subclass_must_define():
    with pytest.raises(NotImplementedError, match="CNNConvolutionDataSource must define"):
        cermet.CNNConvolution(device, cermet.CNNConvolutionDataSource())
    with pytest.raises(NotImplementedError, match="must define padding_method"):
        cermet.NNPadding().padding_method()


def test_super_calls_the_library():
    class Named(cermet.NNDefaultPadding):
        def __init__(self):
            super().__init__(cermet.NNPaddingMethod.SizeSame)

        def padding_method(self):
            return super().padding_method() | cermet.NNPaddingMethod.ExcludeEdges

    policy = Named()
    assert policy.padding_method() == cermet.NNPaddingMethod.SizeSame | cermet.NNPaddingMethod.ExcludeEdges
    kernel = cermet.CNNPoolingMax(device, 3, 3)
    kernel.padding = policy
    assert kernel.padding is policy


def test_a_padding_policy_changes_descriptor_and_kernel():
    class Wider(cermet.NNPadding):
        def padding_method(self):
            return cermet.NNPaddingMethod.SizeSame | cermet.NNPaddingMethod.Custom

        def destination_image_descriptor(self, source_images, source_states, kernel, suggested_descriptor):
            assert source_images[0].width == 5 and isinstance(kernel, cermet.CNNPoolingMax)
            suggested_descriptor.width += 1
            kernel.offset = cermet.Offset(0, 0, 0)
            return suggested_descriptor

    kernel = permanent(cermet.CNNPoolingMax(device, 3, 3))
    kernel.padding = Wider()
    gc.collect()
    assert run(lambda c: kernel.encode_batch(c, batch(np.ones((1, 5, 5, 2))))).numpy().shape == (1, 5, 6, 2)


def test_an_allocator_edits_the_descriptor():
    class Allocator(cermet.ImageAllocator):
        made = 0

        def image(self, command_buffer, descriptor, kernel):
            descriptor.channel_format = cermet.ImageFeatureChannelFormat.Float32
            Allocator.made += 1
            return cermet.Image(command_buffer.device, descriptor)

    kernel = cermet.CNNSoftMax(device)
    kernel.destination_image_allocator = Allocator()
    image = cermet.Image.from_numpy(device, np.ones((2, 2, 4), "f2"))
    result = run(lambda c: kernel.encode(c, image))
    assert Allocator.made == 1 and np.allclose(result.numpy(), 0.25)
    assert len(run(lambda c: kernel.encode_batch(c, [image, image]))) == 2 and Allocator.made == 3


def test_a_heap_provider_in_python():
    class Provider(cermet.HeapProvider):
        made, retired = 0, 0

        def new_heap(self, descriptor):
            Provider.made += 1
            return device.make_buffer(descriptor.size)

        def retire_heap(self, heap, seconds):
            Provider.retired += 1

    commands = device.make_command_queue().make_command_buffer()
    commands.heap_provider = Provider()
    kernel = cermet.CNNSoftMax(device)
    image = kernel.encode_batch(commands, batch(np.ones((2, 4, 4, 4))))
    permanent(kernel).encode_batch(commands, image)
    commands.commit()
    commands.wait_until_completed()
    assert commands.error is None and Provider.made >= 1


def test_handles_are_objects_of_python():
    class Name(cermet.Handle):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def label(self):
            return self.name

    one = Name("input")
    node = cermet.NNImageNode(one)
    graph = cermet.NNGraph(device, cermet.CNNSoftMaxNode(node).result_image)
    del node
    gc.collect()
    assert graph.source_image_handles == [one] and graph.source_image_handles[0] is one


def test_archives_of_classes_of_python():
    class Policy(cermet.NNPadding):
        def __init__(self, coder=None, margin=1):
            super().__init__()
            self.margin = margin
            if coder is not None:
                self.code(coder)

        def padding_method(self):
            return cermet.NNPaddingMethod.SizeSame

        def supports_secure_coding(self):
            return True

        def archive_name(self):
            return "PythonPolicy"

        def code(self, coder):
            self.margin = coder("margin", self.margin)

    cermet.register_codable("PythonPolicy", Policy)
    kernel = cermet.CNNPoolingMax(device, 3, 3)
    kernel.padding = Policy(margin=5)
    kernel.label = "pool"
    coder = cermet.Coder()
    kernel.encode_with_coder(coder)
    read = cermet.decode(cermet.Coder(coder.bytes()), device, cermet.CNNKernel)
    assert type(read) is cermet.CNNPoolingMax and read.label == "pool"
    assert type(read.padding) is Policy and read.padding.margin == 5
    with pytest.raises(cermet.FileError, match="CNNNeuron"):
        cermet.decode(cermet.Coder(coder.bytes()), device, cermet.CNNNeuron)
    with pytest.raises(OSError):
        cermet.Coder(b"no archive")


def test_handlers_run_and_their_exceptions_are_the_buffer_s_error():
    statuses = []
    commands = device.make_command_queue().make_command_buffer()
    commands.add_completed_handler(lambda done: statuses.append(done.status))
    commands.commit()
    commands.wait_until_completed()
    assert statuses == [cermet.CommandBufferStatus.Completed]

    commands = device.make_command_queue().make_command_buffer()
    commands.add_completed_handler(lambda done: [][1])
    commands.commit()
    commands.wait_until_completed()
    assert commands.status == cermet.CommandBufferStatus.Error
    assert isinstance(commands.error, cermet.DeviceError) and "list index out of range" in str(commands.error)
    assert commands.error.code == cermet.CommandBufferError.Internal
    with pytest.raises(cermet.InvalidArgument, match="committed already"):
        commands.commit()


def test_execute_async_gives_the_image_or_the_error():
    graph = cermet.NNGraph(device, cermet.CNNSoftMaxNode(cermet.NNImageNode()).result_image)
    graph.format = cermet.ImageFeatureChannelFormat.Float32
    results = []
    graph.execute_async([cermet.Image.from_numpy(device, np.zeros((1, 1, 4), "f4"))], lambda *r: results.append(r))
    for _ in range(2000):
        if results:
            break
        run(lambda c: None)
    (image, error), = results
    assert error is None and np.allclose(image.numpy(), 0.25)
