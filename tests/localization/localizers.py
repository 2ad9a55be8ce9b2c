"""Small localizers and batches for tests."""

import numpy as np

CLASSES = 3


def localizer(*, seed=0, dtype=None, frozen=True, **options):
    """A `Localizer` of one small network, whose scores differ from box to box."""
    import keras

    from resnet_keras import zoo
    from resnet_keras.detection import backbones, statistics
    from resnet_keras.localization import Localizer

    assert backbones  # registers the small networks
    keras.utils.set_random_seed(seed)
    backbone = zoo.backbone("resnet10_shapes", input_shape=(None, None, 3), dtype=dtype)
    if frozen:
        statistics.recompute(backbone, [images()])
        backbone = statistics.frozen(backbone)
    small = {"anchor_sizes": (24, 40), "anchor_ratios": (1.0,), "channels": 16, "crop": 64}
    model = Localizer(backbone, CLASSES, **{**small, "scale": (64, 96), **options})
    generator = np.random.default_rng(seed)
    for layer in (model.per_class, model.classifier):
        kernel = layer.kernel
        kernel.assign(generator.normal(0, kernel.shape[-2] ** -0.5, kernel.shape))
    return model


def images(count=2, height=64, width=96, seed=0):
    """uint8 (count, height, width, 3), smooth enough that features differ from place to place."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, height // 8, width // 8, 3))
    return coarse.repeat(8, 1).repeat(8, 2).astype("uint8")


def batch(count=4, seed=0):
    """Images and targets; of the second two boxes, the last without any object."""
    boxes = np.zeros((count, 2, 4), "float32")
    label = np.arange(count, dtype="int32") % CLASSES
    boxes[:, 0] = (5, 6, 40, 38)
    boxes[1, 1] = (50, 20, 90, 60)
    boxes[-1], label[-1] = 0, -1
    key = np.arange(2 * count, dtype="int32").reshape(count, 2)
    return images(count, seed=seed), {"label": label, "boxes": boxes, "key": key}
