"""Statistics of batch normalization: computed once, then kept."""

import detectors
import keras
import numpy as np
import pytest

from resnet_keras import zoo
from resnet_keras.detection import backbones, statistics
from resnet_keras.errors import InputError


def backbone(**options):
    assert backbones
    keras.utils.set_random_seed(0)
    return zoo.backbone("resnet10_shapes", input_shape=(None, None, 3), **options)


@pytest.fixture(scope="module")
def recomputed():
    network = backbone()
    batches = [detectors.images(2), detectors.images(3, seed=1)]
    return network, batches, statistics.recompute(network, ((x, None) for x in batches))


def test_recompute_equals_two_passes(recomputed):
    network, batches, images = recomputed
    assert images == 5
    norms = [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]
    watched = keras.Model(network.input, [norm.input for norm in norms])
    found = [(np.array(norm.moving_mean), np.array(norm.moving_variance)) for norm in norms]
    inputs = [watched(x, training=True) for x in batches]  # which moves the statistics
    for norm, (mean, variance) in zip(norms, found, strict=True):
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(variance)
    for (found_mean, found_variance), *values in zip(found, *inputs, strict=True):
        values = np.concatenate([np.reshape(x, (-1, x.shape[-1])) for x in values])
        values = values.astype("float64")
        mean = np.sum(values, 0) / len(values)
        variance = np.sum((values - mean) ** 2, 0) / len(values)
        np.testing.assert_allclose(found_mean, mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found_variance, variance, rtol=1e-4)


def test_a_network_without_batch_normalization_is_not_copied():
    network = zoo.backbone("vgg16_shapes", input_shape=(None, None, 3))
    assert statistics.frozen(network) is network


def test_frozen_computes_the_same(recomputed):
    network, batches, _ = recomputed
    frozen = statistics.frozen(network)
    before = [np.array(weight) for weight in network.weights]
    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in frozen.layers)
    for name, features in network(batches[0]).items():
        scale = np.max(np.abs(features))
        np.testing.assert_allclose(frozen(batches[0])[name], features, atol=1e-5 * scale)
        training = frozen(batches[0], training=True)[name]
        np.testing.assert_array_equal(training, frozen(batches[0])[name])
    names = {weight.name for weight in frozen.trainable_variables}
    assert names == {"kernel"}
    for weight, earlier in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(weight, earlier)


def test_frozen_keeps_the_precision_and_is_saved(tmp_path):
    frozen = statistics.frozen(backbone(dtype="mixed_bfloat16"))
    assert frozen.dtype_policy.name == "mixed_bfloat16"
    frozen.save(tmp_path / "frozen.keras")
    loaded = keras.saving.load_model(tmp_path / "frozen.keras")
    image = detectors.images(1)
    for name, features in frozen(image).items():
        assert features.dtype == "bfloat16"
        np.testing.assert_array_equal(loaded(image)[name], features)


def test_nothing_to_compute():
    with pytest.raises(InputError, match="no batches"):
        statistics.recompute(backbone(), [])
    with pytest.raises(InputError, match="has no batch normalization"):
        statistics.recompute(statistics.frozen(backbone()), [detectors.images(1)])


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
