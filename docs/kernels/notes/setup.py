import cermet
import numpy as np

device = cermet.create_system_default_device()
queue = device.make_command_queue()


def images(*shape):
    """A batch [image, height, width, channels] of random numbers."""
    return cermet.ImageBatch.from_numpy(device, np.random.default_rng(1).random(shape, "float32"))


def keep(kernel):
    """The kernel, whose results live longer than the command buffer."""
    kernel.destination_image_allocator = cermet.Image.default_allocator()
    return kernel


def run(encode):
    """What `encode(commands)` returns, once its work is done."""
    commands = queue.make_command_buffer()
    result = encode(commands)
    commands.commit()
    commands.wait_until_completed()
    return result
