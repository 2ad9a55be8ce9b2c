"""One contestant of the detection benchmark, in a process of its own; see `contestants`.

A whole detector is only ours: torchvision's RoIAlign and NMS, where its build has no compiled
operations, are too slow to compare with. So it is timed on its dense parts: body, feature pyramid,
region proposal network, and the head on RoIs that are there already; RoIAlign, NMS, anchors and the
choice of examples are given to it free. Ours is timed whole, and on the same dense parts.
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from resnet_keras import zoo

from . import contestants
from .clocks import Timing
from .peers import import_torchvision, use_papers_stride

OURS, DENSE, TORCHVISION = "resnet_keras", "resnet_keras dense", "torchvision dense"
TASKS = ("inference", "training")
CLASSES = 90
OBJECTS = 8  # in an image
ANCHORS = 9  # of each cell of C4
# What of each preset has the arithmetic that the peer has.
PRESETS = {"fpn": "torchvision", "c4": "paper"}


class Spec(NamedTuple):
    """What a contestant is to do; the fields are the arguments of `detection.compare`."""

    contestant: str
    task: str
    model: str
    neck: str
    batch_size: int
    height: int
    width: int
    rois: int
    steps: int


def main(argv: Sequence[str] = sys.argv) -> int:
    """Answers to lines on stdin until it ends."""
    spec = Spec(**json.loads(argv[1]))
    return contestants.serve(lambda: make(spec))


def make(spec: Spec) -> tuple[Callable[[], Timing], dict[str, Any]]:
    """Builds a contestant: a function that makes a round, and facts for the record.

    Raises:
        InputError: its packages are not installed.
    """
    return contestants.of_keras_or_torch(
        spec.contestant == TORCHVISION,
        spec.steps,
        lambda: _whole_step(spec) if spec.contestant == OURS else _dense_step(spec),
        lambda torch: _torch_step(spec, torch),
    )


def _detector(spec):
    """Ours, with the scores of RoIs spread as those of a trained one, so that some are objects."""
    import keras
    import numpy as np

    from resnet_keras.detection import FasterRCNN, statistics

    keras.utils.set_random_seed(0)
    backbone = zoo.backbone(spec.model, input_shape=(None, None, 3))
    counts = {"roi_samples": spec.rois} if spec.task == "training" else {"proposals": spec.rois}
    if spec.neck == "c4":  # as many as the peer's, which has no fewer than there are features
        counts["rpn_channels"] = 1024
    model = FasterRCNN(
        statistics.frozen(backbone), CLASSES, neck=spec.neck, preset=PRESETS[spec.neck], **counts
    )
    generator = np.random.default_rng(0)
    for layer in (model.rpn.get_layer("rpn_objectness"), model.predictor.get_layer("class_logits")):
        kernel = layer.kernel
        kernel.assign(generator.normal(0, 2 * kernel.shape[-2] ** -0.5, kernel.shape))
    model.compile(keras.optimizers.SGD(1e-6, momentum=0.9))
    return model


def _images(spec):
    """Random pixels, uint8 (batch, height, width, 3), constant over squares of 16."""
    import numpy as np

    shape = (spec.batch_size, -(-spec.height // 16), -(-spec.width // 16), 3)
    coarse = np.random.default_rng(0).integers(0, 256, shape, "uint8")
    return coarse.repeat(16, 1).repeat(16, 2)[:, : spec.height, : spec.width]


def _targets(spec):
    import numpy as np

    generator = np.random.default_rng(1)
    shape = (spec.batch_size, OBJECTS, 2)
    corner = generator.uniform(0, 0.5, shape) * (spec.width, spec.height)
    sides = generator.uniform(0.05, 0.5, shape) * (spec.width, spec.height)
    return {
        "boxes": np.concatenate([corner, corner + sides], -1).astype("float32"),
        "labels": generator.integers(0, CLASSES, shape[:2], "int32"),
        "key": generator.integers(0, 2**31 - 1, (spec.batch_size, 2), "int32"),
    }


def _whole_step(spec):
    import tensorflow as tf

    model, images = _detector(spec), tf.constant(_images(spec))
    if spec.task == "inference":
        return lambda: model.predict_on_batch(images)
    targets = {name: tf.constant(values) for name, values in _targets(spec).items()}
    return lambda: model.train_on_batch(images, targets)


def _dense_step(spec):
    import numpy as np
    import tensorflow as tf

    model, images = _detector(spec), tf.constant(_images(spec))
    sizes = tf.constant([[spec.height, spec.width]] * spec.batch_size)
    shape = model.box_head.input.shape[1:]
    side = {"c4": 14, "fpn": 7}[spec.neck]
    count = spec.batch_size * spec.rois
    pooled = np.random.default_rng(2).random((count, side, side, shape[-1]), "float32")
    pooled = tf.constant(pooled)

    def answers(training):
        maps, levels = model.look(images, sizes, training)
        head = model.predictor(model.box_head(pooled, training=training), training=training)
        rpn = [x for level in levels for x in (level.objectness, level.deltas)]
        return [*rpn, *head], maps

    @tf.function(autograph=False)
    def infer():
        return answers(False)

    @tf.function(autograph=False)
    def train():
        with tf.GradientTape() as tape:
            outputs, maps = answers(True)
            # As RoIAlign would give gradients to all that it reads.
            loss = tf.add_n([tf.reduce_mean(x * x) for x in (*outputs, *maps)])
        variables = model.trainable_variables
        gradients = tape.gradient(loss, variables)
        model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    if spec.task == "training":
        model.optimizer.build(model.trainable_variables)
        return lambda: float(train())
    return lambda: [x.numpy() for x in infer()[0]]


def _torch_step(spec, torch):
    """torchvision's dense parts, frozen batch normalization as there, all layers trained."""
    body, rpn, head, predictor, shape = _torch_parts(spec, torch)
    network = torch.nn.ModuleList([body, rpn, head, predictor])
    images = torch.from_numpy(_images(spec).copy()).permute(0, 3, 1, 2)
    generator = torch.Generator().manual_seed(2)
    pooled = torch.rand((spec.batch_size * spec.rois, *shape), generator=generator)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

    def answers():
        maps = body((images.float() / 255 - mean) / deviation)
        maps = list(maps.values()) if isinstance(maps, dict) else [maps]
        objectness, deltas = rpn(maps)
        return [*objectness, *deltas, *predictor(head(pooled))], maps

    if spec.task == "inference":
        network.eval()

        def infer():
            with torch.inference_mode():
                return [x.numpy() for x in answers()[0]]

        return infer
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), 1e-6, momentum=0.9)

    def train():
        optimizer.zero_grad(set_to_none=True)
        outputs, maps = answers()
        loss = sum((x * x).mean() for x in (*outputs, *maps))
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return train


def _torch_parts(spec, torch):
    """Body, RPN head, box head and predictor of torchvision, and the shape of a pooled RoI."""
    torchvision = import_torchvision(torch)
    detection, norm = torchvision.models.detection, torchvision.ops.FrozenBatchNorm2d
    if spec.neck == "fpn":
        body = detection.backbone_utils.resnet_fpn_backbone(
            backbone_name=spec.model, weights=None, norm_layer=norm, trainable_layers=5
        )
        use_papers_stride(body)
        network = detection.FasterRCNN(body, CLASSES + 1)
        heads = network.roi_heads
        return body, network.rpn.head, heads.box_head, heads.box_predictor, (256, 7, 7)
    network = getattr(torchvision.models, spec.model)(weights=None, norm_layer=norm)
    use_papers_stride(network)
    shared = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")
    body = torch.nn.Sequential(*[getattr(network, name) for name in shared])
    head = torch.nn.Sequential(network.layer4, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    width = network.fc.in_features
    rpn = detection.rpn.RPNHead(width // 2, ANCHORS)
    predictor = detection.faster_rcnn.FastRCNNPredictor(width, CLASSES + 1)
    return body, rpn, head, predictor, (width // 2, 14, 14)


if __name__ == "__main__":
    sys.exit(main())
