"""NumPy and DLPack: what goes in comes out, and wrong shapes and types are named."""

import gc
import weakref

import cermet
import numpy as np
import pytest
from help import batch, device, permanent, run

random = np.random.default_rng(4)


@pytest.mark.parametrize(
    "type_, format_",
    [("f4", "Float32"), ("f2", "Float16"), ("u1", "Unorm8"), ("u2", "Unorm16")],
)
def test_images_round_trip(type_, format_):
    array = (random.random((3, 5, 2)) * 100).astype(type_)
    image = cermet.Image.from_numpy(device, array)
    assert image.feature_channel_format == getattr(cermet.ImageFeatureChannelFormat, format_)
    assert (image.height, image.width, image.feature_channels) == (3, 5, 2)
    assert np.array_equal(image.numpy(raw=True), array) and image.numpy(raw=True).dtype == array.dtype
    scale = {"u1": 255, "u2": 65535}.get(type_, 1)
    assert np.allclose(image.numpy(), array.astype("f4") / scale, rtol=1e-6) and image.numpy().dtype == np.float32
    image.write(array[::-1])
    assert np.array_equal(image.numpy(raw=True), array[::-1])
    bytes_ = np.zeros_like(array)
    image.read_bytes(bytes_, cermet.DataLayout.HeightxWidthxFeatureChannels)
    assert np.array_equal(bytes_, array[::-1])
    planes = np.zeros((2, 3, 5), type_)
    image.read_bytes(planes, cermet.DataLayout.FeatureChannelsxHeightxWidth)
    assert np.array_equal(planes, array[::-1].transpose(2, 0, 1))
    with pytest.raises(cermet.InvalidArgument, match="bytes"):
        image.read_bytes(np.zeros(3, "u1"), cermet.DataLayout.HeightxWidthxFeatureChannels)


def test_batches_round_trip_and_are_sequences():
    array = random.random((4, 3, 5, 2)).astype("f4")
    images = batch(array)
    assert len(images) == 4 and np.array_equal(images.numpy(), array)
    assert np.array_equal(images[1].numpy(), array[1]) and np.array_equal(images[-1].numpy(), array[3])
    assert np.array_equal(images[1:3].numpy(), array[1:3]) and np.array_equal(images[::2].numpy(), array[::2])
    assert [image.width for image in images] == [5] * 4
    with pytest.raises(IndexError):
        images[4]
    half = cermet.ImageBatch.from_numpy(device, array, cermet.ImageFeatureChannelFormat.Float16)
    assert np.array_equal(half.numpy(raw=True), array.astype("f2"))
    images.write(array * 2)
    assert np.array_equal(images.numpy(), array * 2)


def test_wrong_arrays_are_named():
    with pytest.raises(cermet.InvalidArgument, match=r"shape \(2, 3\) and type int64; needed 3 dimensions .* float32"):
        cermet.Image.from_numpy(device, np.zeros((2, 3), "i8"))
    image = cermet.Image.from_numpy(device, np.zeros((2, 3, 4), "f4"))
    with pytest.raises(cermet.InvalidArgument, match=r"shape \(3, 2, 4\) and type float64; needed shape \(2, 3, 4\) and type float32"):
        image.write(np.zeros((3, 2, 4)))
    with pytest.raises(cermet.InvalidArgument, match="sourceImage is nil"):
        run(lambda c: cermet.CNNSoftMax(device).encode(c, None))


def test_buffers_share_memory():
    buffer = cermet.Buffer.from_numpy(device, np.arange(6, dtype="f4"))
    view = buffer.numpy("f4")
    view[2] = 7
    assert np.array_equal(buffer.read("f4"), [0, 1, 7, 3, 4, 5])
    buffer.write(np.array([9], "f4"), offset=4)
    assert view[1] == 9
    del buffer
    gc.collect()
    assert view[1] == 9, "the array keeps the buffer"
    with pytest.raises(cermet.InvalidArgument):
        device.make_buffer(4).write(np.zeros(2, "f4"))


def test_vectors_and_matrices():
    array = random.random((3, 5)).astype("f4")
    matrix = cermet.Matrix.from_numpy(device, array)
    assert (matrix.rows, matrix.columns) == (3, 5) and matrix.row_bytes % 16 == 0
    assert np.array_equal(matrix.numpy(), array)
    matrix.write(array + 1)
    assert np.array_equal(np.from_dlpack(matrix), array + 1)
    many = cermet.Matrix.from_numpy(device, np.stack([array, array * 2]))
    assert many.matrices == 2 and np.array_equal(many.numpy()[1], array * 2)
    vector = cermet.Vector.from_numpy(device, array[0].astype("f2"))
    assert vector.data_type == cermet.DataType.Float16 and np.array_equal(vector.numpy(), array[0].astype("f2"))
    with pytest.raises(cermet.InvalidArgument, match=r"\(4,\) and type float32; needed shape \(5,\) and type float16"):
        vector.write(np.zeros(4, "f4"))


def test_dlpack_shares_the_memory_of_permanent_images():
    images = batch(np.zeros((2, 3, 4, 5)))
    shared = np.from_dlpack(images)
    images[1].write(np.ones((3, 4, 5), "f4"))
    on_host = device.name.startswith("CPU")
    assert shared.shape == (2, 3, 4, 5) and (shared[1].any() == on_host) and not shared[0].any()
    part = np.from_dlpack(images[1])
    assert part.shape == (3, 4, 5) and part.all()
    del images
    gc.collect()
    assert shared[1].any() == on_host, "the array keeps the images"
    loose = cermet.ImageBatch([cermet.Image.from_numpy(device, np.ones((1, 1, 2), "f4")) for _ in range(3)])
    assert np.from_dlpack(loose).shape == (3, 1, 1, 2)


def test_dlpack_comes_in():
    array = random.random((2, 3, 4, 5)).astype("f4")
    assert np.array_equal(cermet.ImageBatch.from_dlpack(device, array).numpy(), array)
    assert np.array_equal(cermet.Matrix.from_dlpack(device, array[0, 0]).numpy(), array[0, 0])


def test_a_capsule_that_nobody_takes_frees_its_tensor():
    buffer = device.make_buffer(1 << 20)
    before = device.memory_use.in_use
    capsules = [cermet.Buffer.from_numpy(device, np.zeros(1 << 18, "f4")).__dlpack__() for _ in range(4)]
    assert device.memory_use.in_use >= before + 4 * (1 << 20)
    del capsules
    gc.collect()
    assert device.memory_use.in_use == before
    assert buffer.length == 1 << 20


def test_dlpack_and_torch():
    torch = pytest.importorskip("torch")
    array = random.random((2, 3, 4, 5)).astype("f4")
    tensor = torch.from_dlpack(batch(array))
    assert torch.equal(tensor, torch.from_numpy(array))
    again = cermet.ImageBatch.from_dlpack(device, tensor * 2)
    assert np.array_equal(again.numpy(), array * 2)
    half = torch.from_dlpack(cermet.Image.from_numpy(device, array[0].astype("f2")))
    assert half.dtype == torch.float16 or not device.name.startswith("CPU")
    assert torch.from_dlpack(cermet.Vector.from_numpy(device, array[0, 0, 0])).shape == (5,)


def test_safetensors(tmp_path):
    array = random.random((2, 3)).astype("f4")
    tensors = [cermet.SafeTensor.from_numpy("a", array), cermet.SafeTensor.from_numpy("b", np.arange(3))]
    file = tmp_path / "file.safetensors"
    cermet.write_safetensors(file, cermet.SafeTensors(metadata={"made": "by hand"}, tensors=tensors))
    read = cermet.read_safetensors(str(file))
    assert read.metadata == {"made": "by hand"} and np.array_equal(read.at("a").numpy(), array)
    assert np.array_equal(read.at("b").numpy(), np.arange(3))
    assert cermet.parse_safetensors(file.read_bytes(), "bytes").at("a").shape.tolist() == [2, 3]
    with pytest.raises(cermet.FileError, match="nothing"):
        cermet.read_safetensors(tmp_path / "nothing")


def test_temporary_images_cannot_be_read():
    image = run(lambda c: cermet.CNNSoftMax(device).encode_batch(c, batch(np.ones((1, 1, 1, 2)))))
    with pytest.raises(cermet.InvalidArgument, match="temporary"):
        image.numpy()


def test_none_is_an_empty_handle():
    kernel = permanent(cermet.CNNSoftMax(device))
    assert kernel.copy(None).device == kernel.copy().device == device
    state = cermet.CNNConvolutionWeightsAndBiasesState(cermet.Buffer.from_numpy(device, np.ones(4, "f4")), None)
    assert state.biases is None and state.weights is not None
    seen = weakref.ref(state)
    del state
    assert seen() is None
