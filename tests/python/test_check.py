"""Gradient checks from Python: of a function, of a data source, of kernels by name."""

import cermet
import numpy as np
import pytest
from help import Source, device


class Cube(cermet.Differentiable):
    """y = x^3 with a factor in its gradient."""

    def __init__(self, factor=3.0):
        super().__init__()
        self.factor = factor

    def variables(self):
        return [cermet.CheckedVariable(name="x", shape=[2, 2], values=[0.5, 1, 2, -1.5])]

    def results(self, point):
        return np.asarray(point[0]) ** 3

    def gradients(self, point, incoming):
        return [self.factor * np.asarray(incoming) * np.asarray(point[0]) ** 2]


def test_a_function_and_its_gradient():
    found = cermet.check_gradient(Cube())
    assert cermet.passed(found)
    assert (found[0].name, found[0].checked, found[0].undecided) == ("x", 4, 0)
    wrong = cermet.check_gradient(Cube(3.05))
    assert not cermet.passed(wrong)
    assert "FAILED" in cermet.text_of(wrong) and "x" in cermet.text_of(wrong)


def test_a_data_source_of_python():
    rng = np.random.default_rng(3)
    source = Source(rng.standard_normal((4, 3, 3, 3)))
    images = cermet.CheckedImages(count=2, height=5, width=6, feature_channels=3)
    check = cermet.CheckedKernel(
        cermet.CNNConvolution(device, source), cermet.CNNConvolutionGradient(device, source), images
    )
    found = cermet.check_gradient(check)
    assert cermet.passed(found), cermet.text_of(found)
    assert [one.name for one in found][:2] == ["source", "weights"]
    assert list(found[1].shape) == [4, 3, 3, 3]


def test_kernels_by_name():
    assert "CNNPoolingMax" in cermet.checked_kernels()
    assert cermet.has_gradient("CNNPoolingMax") and not cermet.has_gradient("NNSlice")
    names = [setting.name for setting in cermet.check_settings("CNNPoolingMax")]
    assert names[:2] == ["kernelWidth", "kernelHeight"]
    options = cermet.GradientCheckOptions(elements=20)
    check = cermet.make_check(device, "CNNPoolingMax", {"kernelWidth": 3, "strideInPixelsX": 2})
    found = cermet.check_gradient(check, options)
    assert cermet.passed(found) and found[0].checked + found[0].undecided == 20
    with pytest.raises(cermet.InvalidArgument, match="kernel is"):
        cermet.make_check(device, "CNNPoolingMedian")


def test_boxes_are_a_list():
    boxes = [cermet.RegionD(cermet.OriginD(0, 0, 0), cermet.SizeD(1, k / 4, 1)) for k in range(1, 4)]
    crop = cermet.NNCropAndResizeBilinear(device, 4, 5, boxes)
    assert crop.number_of_regions == 3
    assert [box.size.height for box in crop.regions] == [0.25, 0.5, 0.75]
    with pytest.raises(cermet.InvalidArgument):
        cermet.NNCropAndResizeBilinear(device, 4, 5, [])
