"""One contestant of the segmentation benchmark, in a process of its own; see `contestants`.

Ours and torchvision's are whole networks, from pixels to logits at the size of the images.
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from resnet_keras import zoo

from . import contestants
from .clocks import Timing
from .peers import import_torchvision

OURS, TORCHVISION = "resnet_keras", "torchvision"
CLASSES = 21  # Pascal VOC's


class Spec(NamedTuple):
    """What a contestant is to do; the fields are the arguments of `segmentation.compare`."""

    contestant: str
    task: str
    model: str
    head: str
    output_stride: int
    batch_size: int
    height: int
    width: int
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
        lambda: _step(spec),
        lambda torch: _torch_step(spec, torch),
    )


def _batch(spec):
    """Random pixels, uint8 (batch, height, width, 3), and classes (batch, height, width)."""
    import numpy as np

    generator = np.random.default_rng(0)
    shape = (spec.batch_size, spec.height, spec.width)
    images = generator.integers(0, 256, (*shape, 3), "uint8")
    return images, generator.integers(0, CLASSES, shape, "uint8")


def _step(spec):
    import keras

    from resnet_keras import segmentation

    backbone = zoo.backbone(
        spec.model,
        input_shape=(spec.height, spec.width, 3),
        output_stride=spec.output_stride,
        **({"stride_in_1x1": False} if spec.model in ("resnet50", "resnet101") else {}),
    )
    model = segmentation.segmenter(backbone, CLASSES, head=spec.head)
    images, labels = map(keras.ops.convert_to_tensor, _batch(spec))
    model.compile(keras.optimizers.SGD(1e-6, momentum=0.9), loss=segmentation.PixelCrossEntropy())
    if spec.task == "inference":
        return lambda: model.predict_on_batch(images)
    return lambda: model.train_on_batch(images, labels)


def _torch_step(spec, torch):
    models = import_torchvision(torch).models.segmentation
    network = getattr(models, f"{spec.head}_{spec.model}")(
        weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=False
    )
    images, labels = map(torch.from_numpy, _batch(spec))
    images, labels = images.permute(0, 3, 1, 2), labels.long()
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

    def logits():
        return network((images.float() / 255 - mean) / deviation)["out"]

    if spec.task == "inference":
        network.eval()

        def infer():
            with torch.inference_mode():
                return logits().numpy()

        return infer
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), 1e-6, momentum=0.9)

    def train():
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(logits(), labels)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return train


if __name__ == "__main__":
    sys.exit(main())
