"""RoIAlign and RoI max pooling against values of other projects and literal loops."""

import math

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.detection import roi
from resnet_keras.errors import InputError

# A map that is linear down and a parabola across, 6x8: what tells most mistakes apart.
PARABOLA = np.arange(6.0)[:, None] * 10 + np.arange(8.0) ** 2


def pooled(image, box, size, stride, **options):
    features = np.asarray(image, "float32")[None, :, :, None]
    return roi.align(features, np.array([[box]], "float32"), size, stride, **options)[0, 0, ..., 0]


def cells(position, side):
    """The cells that a sample reads along one axis, and their weights: none beyond the border."""
    if position < -1 or position > side:
        return []
    position = min(max(position, 0.0), side - 1)
    low = math.floor(position)
    return [(low, low + 1 - position), (min(low + 1, side - 1), position - low)]


def reference(features, boxes, upstream, size, stride, sampling, aligned):
    """RoIAlign sample by sample, and its gradient for the features."""
    height, width = features.shape[1:3]
    result, gradient = np.zeros(upstream.shape), np.zeros(features.shape)
    for image, number in np.ndindex(boxes.shape[:2]):
        x1, y1, x2, y2 = boxes[image, number] / stride - (0.5 if aligned else 0)
        box_height, box_width = y2 - y1, x2 - x1
        if not aligned:
            box_height, box_width = max(box_height, 1), max(box_width, 1)
        rows = sampling or math.ceil(box_height / size)
        columns = sampling or math.ceil(box_width / size)
        for i, j in np.ndindex(size, size):
            place = image, number, i, j
            for k, m in np.ndindex(rows, columns):
                y = y1 + (i + (k + 0.5) / rows) * box_height / size
                x = x1 + (j + (m + 0.5) / columns) * box_width / size
                for row, row_weight in cells(y, height):
                    for column, column_weight in cells(x, width):
                        weight = row_weight * column_weight / (rows * columns)
                        result[place] += weight * features[image, row, column]
                        gradient[image, row, column] += weight * upstream[place]
    return result, gradient


def max_reference(features, boxes, size, stride):
    """Caffe's RoI pooling, bin by bin; the gradient of its sum goes to the first largest cell."""
    height, width, channels = features.shape[1:]
    result = np.zeros((*boxes.shape[:2], size, size, channels))
    gradient = np.zeros(features.shape)
    for image, number in np.ndindex(boxes.shape[:2]):
        scaled = boxes[image, number] / stride
        x1, y1, x2, y2 = (math.copysign(math.floor(abs(c) + 0.5), c) for c in scaled)
        bin_height, bin_width = max(y2 - y1 + 1, 1) / size, max(x2 - x1 + 1, 1) / size
        for i, j in np.ndindex(size, size):
            top, bottom = math.floor(i * bin_height) + y1, math.ceil((i + 1) * bin_height) + y1
            left, right = math.floor(j * bin_width) + x1, math.ceil((j + 1) * bin_width) + x1
            top, bottom = (int(min(max(v, 0), height)) for v in (top, bottom))
            left, right = (int(min(max(v, 0), width)) for v in (left, right))
            part = features[image, top:bottom, left:right]
            if not part.size:
                continue
            result[image, number, i, j] = part.max(axis=(0, 1))
            for channel, place in enumerate(part.reshape(-1, channels).argmax(axis=0)):
                row, column = divmod(int(place), right - left)
                gradient[image, top + row, left + column, channel] += 1
    return result, gradient


def random_boxes(count, height, width):
    """Anywhere, at the borders, in one image exactly, outside and without area, (2, count, 4)."""
    generator = np.random.default_rng(0)
    span = np.array([width, height, width, height])
    boxes = generator.uniform(-0.4, 1.4, (2, count, 4)) * span
    boxes = np.concatenate([np.minimum(boxes[..., :2], boxes[..., 2:]), boxes[..., 2:]], axis=-1)
    boxes[..., 2:] = np.maximum(boxes[..., :2], boxes[..., 2:])
    kinds = np.arange(count) % 5
    boxes[:, kinds == 0] = np.clip(boxes[:, kinds == 0], 0, span)  # as proposals are
    boxes[:, kinds == 1] = np.round(np.clip(boxes[:, kinds == 1], 0, span))
    boxes[:, kinds == 2, 2] = boxes[:, kinds == 2, 0]  # no width
    boxes[:, 0] = 0, 0, width, height
    boxes[:, 1] = 0  # padding
    boxes[:, 2] = -1000, -1000, 3000, 3000
    return boxes.astype("float32")


@pytest.mark.parametrize("form", ["crop", "matmul"])
@pytest.mark.parametrize(("aligned", "first"), [(True, 4.5), (False, 7.5)])
def test_detectron2s_values(form, aligned, first):
    expected = first + 2.5 * np.arange(4)[:, None] + 0.5 * np.arange(4)
    image = np.arange(25).reshape(5, 5)
    for sampling in [2] if form == "crop" else [2, None]:
        result = pooled(image, [1, 1, 3, 3], 4, 1, form=form, aligned=aligned, sampling=sampling)
        np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("form", ["crop", "matmul"])
def test_a_box_beyond_the_map(form):
    image = np.arange(1, 37).reshape(6, 6)
    result = pooled(image, [-2, -2, 22, 22], 3, 4, aligned=False, form=form)
    expected = [[4.5, 6.5, 8.5], [16.5, 18.5, 20.5], [28.5, 30.5, 32.5]]
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_an_empty_box():
    """detectron2 asserts its zeros; with a fixed number all samples lie on a line."""
    for image in (PARABOLA, np.ones((6, 8))):
        result = pooled(image, [3, 4, 5, 4], 2, 1, sampling=None)
        np.testing.assert_array_equal(result, np.zeros((2, 2)))
    for form in ("crop", "matmul"):
        result = pooled(np.arange(25).reshape(5, 5), [3, 4, 5, 4], 2, 1, form=form)
        np.testing.assert_allclose(result, [[20.5, 21.375]] * 2, atol=1e-5)


PARABOLA_VALUES = [
    (
        [30.5, 20.25, 100.75, 70.5],
        [22.125, 38.04883, 37.82812, 53.75195],
        [22.33637, 38.10981, 38.0395, 53.81293],
        [30.08008, 48.04883, 45.7832, 63.75195],
    ),
    (
        [-20, 10, 60, 90],
        [6.9375, 18.375, 19.4375, 43.375],
        [9.27778, 18.30556, 25.94444, 43.30556],
        [19.0625, 25.5, 44.0625, 50.5],
    ),
    (
        [100, 60, 140, 110],
        [81.1875, 89.3125, 90.875, 99],
        [81.1875, 89.3125, 90.875, 99],
        [91.46875, 47.15625, 48.07812, 24.75],
    ),
]


@pytest.mark.parametrize(("box", "aligned", "adaptive", "unaligned"), PARABOLA_VALUES)
def test_values_that_discriminate(box, aligned, adaptive, unaligned):
    def check(expected, **options):
        result = np.ravel(pooled(PARABOLA, box, 2, 16, **options))
        np.testing.assert_allclose(result, expected, rtol=0, atol=1.5e-5)  # given to 5 places

    for form in ("crop", "matmul"):
        check(aligned, form=form)
        check(unaligned, form=form, aligned=False)
    check(adaptive, sampling=None)


@pytest.fixture(scope="module")
def problem():
    generator = np.random.default_rng(1)
    features = generator.normal(size=(2, 9, 13, 3)).astype("float32")
    boxes = random_boxes(500, 9 * 16, 13 * 16)
    return features, boxes, generator.normal(size=(2, 500, 3, 3, 3)).astype("float32")


def with_gradient(function, features, upstream):
    features = tf.convert_to_tensor(features)
    with tf.GradientTape() as tape:
        tape.watch(features)
        result = function(features)
    return result, tape.gradient(result, features, tf.constant(upstream))


@pytest.mark.parametrize("aligned", [True, False])
def test_forms_agree_on_a_thousand_boxes(problem, aligned):
    features, boxes, upstream = problem
    expected, gradient = reference(features, boxes, upstream, 3, 16, 2, aligned)
    assert np.abs(expected[:, 0]).min() > 0
    for form in ("auto", "crop", "matmul"):

        @tf.function(jit_compile=form == "matmul")
        def run(features, form=form):
            return with_gradient(
                lambda f: roi.align(f, boxes, 3, 16, aligned=aligned, form=form), features, upstream
            )

        result, slopes = run(features)
        assert result.shape == (2, 500, 3, 3, 3)
        np.testing.assert_allclose(result, expected, atol=1e-5)
        np.testing.assert_allclose(slopes, gradient, atol=3e-4)


def test_adaptive_sampling_agrees_too(problem):
    features, boxes, upstream = problem
    boxes, upstream = boxes[:, 3:40], upstream[:, 3:40]
    expected, gradient = reference(features, boxes, upstream, 3, 16, None, True)
    result, slopes = with_gradient(
        lambda f: roi.align(f, boxes, 3, 16, sampling=None), features, upstream
    )
    np.testing.assert_allclose(result, expected, atol=1e-5)
    np.testing.assert_allclose(slopes, gradient, atol=3e-4)


@pytest.mark.parametrize("form", ["crop", "matmul"])
@pytest.mark.parametrize(("size", "sampling"), [(1, 1), (1, 3), (4, 1)])
def test_other_sizes_and_tall_maps(problem, form, size, sampling):
    features, boxes = problem[0].transpose(0, 2, 1, 3), problem[1][:, 3:60, [1, 0, 3, 2]]
    upstream = np.ones((2, 57, size, size, 3))
    expected, _ = reference(features, boxes, upstream, size, 16, sampling, True)
    result = roi.align(features, boxes, size, 16, sampling=sampling, form=form)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_half_precision_features_are_pooled_in_float32(problem):
    features, boxes, _ = problem
    half = features.astype("float16")
    for form in ("crop", "matmul"):
        result = roi.align(half, boxes, 3, 16, form=form)
        expected = roi.align(half.astype("float32"), boxes, 3, 16, form=form)
        assert result.dtype == "float32"
        np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(
        roi.max_pool(half, boxes, 2, 16), roi.max_pool(half.astype("float32"), boxes, 2, 16)
    )


def test_boxes_have_no_gradient(problem):
    features, boxes, _ = problem
    boxes = tf.constant(boxes[:, :4])
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        results = [roi.align(features, boxes, 2, 16, form=f) for f in ("crop", "matmul")]
        results.append(roi.max_pool(features, boxes, 2, 16))
    assert tape.gradient(results, boxes) is None


def test_boxes_that_are_no_numbers_read_nothing(problem):
    boxes = np.array([[[0, 0, 50, 50], [0, 0, np.nan, 50], [np.inf, 0, np.inf, 50]]], "float32")
    boxes = np.concatenate([boxes, [[[-1e30, -1e30, 1e30, 1e30], [np.nan] * 4]]], axis=1)
    for form in ("crop", "matmul"):
        result = roi.align(problem[0][:1], boxes, 3, 16, form=form).numpy()
        assert result[0, 0].all()
        assert not result[0, 1:].any()


def test_a_box_does_not_depend_on_its_batch(problem):
    features, boxes, _ = problem
    whole = roi.align(features, boxes, 3, 16)
    part = roi.align(features[1:], boxes[1:, 7:9], 3, 16)
    np.testing.assert_array_equal(whole[1:, 7:9], part)


def test_unknown_forms():
    with pytest.raises(InputError, match=r"Unknown form .*sampling=2: 'matmull'.*'matmul'"):
        pooled(PARABOLA, [0, 0, 1, 1], 2, 1, form="matmull")
    with pytest.raises(InputError, match="Choose one of auto, matmul"):
        pooled(PARABOLA, [0, 0, 1, 1], 2, 1, form="crop", sampling=None)


@pytest.mark.parametrize(
    ("box", "stride", "expected"),
    [([1, 1, 4, 4], 1, [[14, 16], [26, 28]]), ([0, 0, 87, 87], 16, [[14, 17], [32, 35]])],
)
def test_max_pooling_values(box, stride, expected):
    image = np.arange(36, dtype="float32").reshape(1, 6, 6, 1)
    result = roi.max_pool(image, np.array([[box]]), 2, stride)
    np.testing.assert_array_equal(result[0, 0, ..., 0], expected)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_max_pooling_against_a_loop(problem, jit_compile):
    features, boxes = problem[0], problem[1][:, :100]
    features = np.round(features * 3)  # with ties
    expected, gradient = max_reference(features, boxes, 3, 16)

    @tf.function(jit_compile=jit_compile)
    def run(features):
        upstream = np.ones((2, 100, 3, 3, 3), "float32")
        return with_gradient(lambda f: roi.max_pool(f, boxes, 3, 16), features, upstream)

    result, slopes = run(features)
    assert result.shape == (2, 100, 3, 3, 3)
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(slopes, gradient)


def test_levels():
    sizes = [1, 16, 55.9, 56, 111.9, 112, 223.9, 224, 447.9, 448, 896, 1000]
    boxes = np.array([[3, 7, 3 + side, 7 + side] for side in sizes], "float32")
    np.testing.assert_array_equal(roi.level(boxes), [2, 2, 2, 2, 2, 3, 3, 4, 4, 5, 5, 5])
    oblong = np.array([[0, 0, 448, 112], [0, 0, 448, 111], [0, 0, 0, 0], [5, 5, 1, 1]])
    np.testing.assert_array_equal(roi.level(oblong), [4, 3, 2, 2])


@pytest.mark.parametrize("options", [{}, {"form": "matmul"}, {"sampling": None}])
def test_a_pyramid_pools_each_box_on_its_level(options):
    generator = np.random.default_rng(2)
    strides = (8, 16, 32)
    maps = [generator.normal(size=(2, 512 // s, 512 // s, 2)).astype("float32") for s in strides]
    boxes = random_boxes(30, 512, 512)
    levels = roi.level(boxes, 3, 5)
    assert set(np.ravel(levels)) == {3, 4, 5}
    pyramid = tf.function(roi.align_pyramid, jit_compile=options.get("form") == "matmul")
    result = pyramid(maps, boxes, 2, strides, **options)
    assert result.shape == (2, 30, 2, 2, 2)
    for number, (features, stride) in enumerate(zip(maps, strides, strict=True)):
        own = levels == number + 3
        expected = roi.align(features, boxes, 2, stride, sampling=options.get("sampling", 2))
        np.testing.assert_allclose(result[own], expected[own], atol=1e-5)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
