"""The paper's test protocols, against loops over crops, positions and scales."""

import numpy as np
import pytest

from resnet_keras import pipelines, zoo
from resnet_keras.classification import protocols
from resnet_keras.errors import InputError
from resnet_keras.pipelines import encoded, stream

SIZE = 64  # of crops; its features are 2x2, the window that slides over larger images


@pytest.fixture(scope="module")
def network():
    """An untrained network of two classes whose answers differ from image to image."""
    import keras

    keras.utils.set_random_seed(0)
    return zoo.get("resnet18", num_classes=2, input_shape=(None, None, 3))


def pillow_images(folder, side):
    """Images of val/ in order, their shorter side resized by Pillow, with labels."""
    image_module = pytest.importorskip("PIL.Image")
    for label, kind in enumerate(("discs", "stripes")):
        for path in sorted((folder / "val" / kind).iterdir()):
            image = image_module.open(path)
            width, height = image.size
            short = min(width, height)
            size = (side * width // short, side * height // short)
            yield np.asarray(image.resize(size, image_module.Resampling.BILINEAR)), label


def softmax(logits):
    raised = np.exp(np.float64(logits) - np.max(logits))
    return raised / raised.sum()


def test_counts_every_example_of_a_ragged_stream():
    model = zoo.get("resnet8", num_classes=6)
    images = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), "uint8")
    labels = np.argmax(model(images), axis=1).astype("int32")
    labels[10] = (labels[10] + 1) % 6  # the one wrong answer is in the last, ragged batch
    errors = protocols.measure(model, stream.evaluation(images, labels, 4))
    assert errors.examples == 11
    assert errors.top1 == pytest.approx(1 / 11)


def test_ten_crop_is_the_mean_of_ten_softmaxes(network, photographs):
    dataset = pipelines.evaluation(
        "folder", "val", 5, data_dir=photographs, image_size=SIZE, resize=72, crops="ten"
    )
    scores = protocols.crop_scores(network, dataset)
    assert len(scores.labels) == 12
    for row, (image, label) in enumerate(pillow_images(photographs, 72)):
        height, width, _ = image.shape
        places = [(y, x) for y in (0, height - SIZE) for x in (0, width - SIZE)]
        places.append((round((height - SIZE) / 2), round((width - SIZE) / 2)))
        crops = [image[y : y + SIZE, x : x + SIZE] for y, x in places]
        views = np.stack([view for crop in crops for view in (crop, crop[:, ::-1])])
        expected = np.mean([softmax(logits) for logits in np.asarray(network(views))], axis=0)
        np.testing.assert_allclose(np.exp(scores.log_shares[row]), expected, atol=5e-3)
        assert scores.labels[row] == label


@pytest.mark.slow
def test_multi_scale_is_the_mean_over_positions_mirror_images_and_scales(network, photographs):
    """Against a loop over every position of the features, window by window."""
    import keras

    scales = (64, 96)
    dense = protocols.fully_convolutional(network, SIZE)
    source = pipelines.open_split("folder", "val", data_dir=photographs)
    scores = protocols.multi_scale_scores(dense, source, scales, pixels_per_batch=30_000)
    trunk = keras.Model(network.input, network.get_layer("conv5_block2_out").output)
    kernel, bias = (np.asarray(v) for v in network.get_layer("logits").weights)
    expected = np.zeros((12, 2))
    for scale in scales:
        for row, (image, _) in enumerate(pillow_images(photographs, scale)):
            for features in np.asarray(trunk(np.stack([image, image[:, ::-1]]))):
                positions = [
                    softmax(features[y : y + 2, x : x + 2].mean(axis=(0, 1)) @ kernel + bias)
                    for y in range(features.shape[0] - 1)
                    for x in range(features.shape[1] - 1)
                ]
                expected[row] += np.mean(positions, axis=0) / (2 * len(scales))
    np.testing.assert_allclose(np.exp(scores.log_shares), expected, atol=5e-3)
    np.testing.assert_array_equal(scores.labels, [0] * 6 + [1] * 6)


def test_at_its_own_size_the_fully_convolutional_network_is_the_network(network):
    images = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype("float32")
    dense = protocols.fully_convolutional(network, SIZE)(images)
    assert dense.shape == (3, 1, 1, 2)
    np.testing.assert_allclose(dense[:, 0, 0], network(images), rtol=1e-4, atol=1e-4)


def test_a_photograph_is_resized_once_for_each_scale(photographs):
    source = pipelines.open_split("folder", "val", data_dir=photographs)
    shapes = [images.shape[1:3] for _, images, _ in encoded.whole_images(source, 80, 30_000)]
    assert all(min(shape) == 80 for shape in shapes)


def test_a_protocol_tells_what_is_recorded():
    assert protocols.Protocol().facts() == {"protocol": "single view"}
    shown = zoo.Preprocessing(96, 128, "bicubic")
    single = protocols.of_photographs("single_crop", shown, "resnet18")
    assert single.input_shape == (96, 96, 3)
    assert single.facts() == {
        "protocol": "single_crop",
        "image_size": 96,
        "resize": 128,
        "interpolation": "bicubic",
    }
    several = protocols.of_photographs("multi_scale", shown, "resnet18", [96, 128])
    assert several.input_shape == (None, None, 3)
    assert several.facts() == {
        "protocol": "multi_scale",
        "image_size": 96,
        "scales": [96, 128],
        "interpolation": "bicubic",
    }
    stretched = protocols.of_photographs("single_crop", shown.stretched(96), "resnet18")
    assert stretched.facts()["crop_mode"] == "stretch"
    assert stretched.facts()["antialias"] is False


def test_a_network_that_was_not_made_for_a_protocol():
    shown = zoo.Preprocessing(96, 128)
    with pytest.raises(InputError, match="scales must be 96 or more, for resnet18"):
        protocols.of_photographs("multi_scale", shown, "resnet18", [64, 128])
    with pytest.raises(InputError, match="resnet18 was made for stretched ones"):
        protocols.of_photographs("ten_crop", shown.stretched(96), "resnet18")


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
