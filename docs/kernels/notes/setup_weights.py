class Weights(cermet.CNNConvolutionDataSource):
    """Weights [output, kernel height, kernel width, input / groups] and biases of a layer."""

    def __init__(self, weights, biases=None, descriptor=cermet.CNNConvolutionDescriptor, **properties):
        super().__init__()
        self.array, self.biases = np.asarray(weights, "float32"), biases
        outputs, height, width, inputs = self.array.shape
        inputs *= properties.get("groups", 1)
        self.made = descriptor.cnn_convolution_descriptor(width, height, inputs, outputs)
        for name, value in properties.items():
            setattr(self.made, name, value)

    def data_type(self):
        return cermet.DataType.Float32

    def descriptor(self):
        return self.made

    def weights(self):
        return self.array

    def bias_terms(self):
        return self.biases

    def load(self):
        return True

    def purge(self):
        pass

    def label(self):
        return "layer"


def random(*shape):
    return np.random.default_rng(2).random(shape, "float32") - 0.5
