def matrix(*shape):
    """A matrix of random numbers."""
    return cermet.Matrix.from_numpy(device, np.random.default_rng(1).random(shape, "float32"))


def vector(length):
    return cermet.Vector.from_numpy(device, np.random.default_rng(2).random(length, "float32"))
