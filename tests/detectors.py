"""Small detectors and batches for tests."""

import numpy as np

SMALL = {
    "anchor_sizes": (16, 32),
    "detections": 10,
    "proposal_side": 0.0,
    "proposals": (40, 20),
    "proposals_before": (200, 100),
    "roi_samples": 16,
    "rpn_samples": 32,
    "score_threshold": 0.0,
}
PYRAMID = {**SMALL, "anchor_sizes": ((8,), (16,), (32,), (64,), (128,))}
CLASSES = 3


def detector(*, network="resnet10_shapes", seed=0, dtype=None, masks=False, **options):
    """A `FasterRCNN` of one small network, or a `MaskRCNN`; scores differ from box to box."""
    import keras

    from resnet_keras import zoo
    from resnet_keras.detection import FasterRCNN, MaskRCNN, backbones, statistics

    assert backbones  # registers the small networks
    keras.utils.set_random_seed(seed)
    backbone = zoo.backbone(network, input_shape=(None, None, 3), dtype=dtype)
    statistics.recompute(backbone, [images()])
    changes = SMALL if options.get("neck", "c4") == "c4" else PYRAMID
    model = (MaskRCNN if masks else FasterRCNN)(
        statistics.frozen(backbone), CLASSES, **{**changes, **options}
    )
    generator = np.random.default_rng(seed)
    for layer in (model.rpn.get_layer("rpn_objectness"), *model.predictor.layers[1:]):
        kernel = layer.kernel
        kernel.assign(generator.normal(0, kernel.shape[-2] ** -0.5, kernel.shape))
    return model


def images(count=2, height=64, width=96, seed=0):
    """uint8 (count, height, width, 3), smooth enough that features differ from place to place."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, height // 8, width // 8, 3))
    return coarse.repeat(8, 1).repeat(8, 2).astype("uint8")


def batch(count=2, seed=0):
    """Images and targets, the second image with one object and one of padding."""
    boxes = np.zeros((count, 2, 4), "float32")
    labels = np.full((count, 2), -1, "int32")
    boxes[:, 0], labels[:, 0] = (5, 6, 40, 38), 1
    boxes[0, 1], labels[0, 1] = (50, 20, 90, 60), 2
    key = np.arange(2 * count, dtype="int32").reshape(count, 2)
    return images(count, seed=seed), {"boxes": boxes, "labels": labels, "key": key}


def masks(labels, side=56, seed=0):
    """Masks of objects within their boxes: ellipses, of which the half of some is hidden."""
    places = (np.arange(side) + 0.5) / side * 2 - 1
    ellipse = places[:, None] ** 2 + places**2 <= 1
    hidden = np.random.default_rng(seed).random(labels.shape) < 0.5
    shown = ellipse & ~(hidden[..., None, None] & (places > 0))
    return (255 * (shown & (labels >= 0)[..., None, None])).astype("uint8")
