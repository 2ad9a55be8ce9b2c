"""What torchvision's own Mask R-CNN answers to weights and images that detector_parity.py makes.

Run as a script, it records the answers of the mask branch.

    pip install torch==2.13.0 torchvision==0.28.0
    PYTHONPATH=tests/zoo:tests/detection python tests/detection/mask_parity.py

It writes mask_parity.json (names and shapes of the networks' tensors) and mask_parity.npz (answers)
beside itself. All but the mask branch is a Faster R-CNN with the weights of detector_parity.py, and
the recording checks that it answers the same.
"""

import json
from pathlib import Path

import detector_parity
import numpy as np

HERE = Path(__file__).parent
NAMES, ANSWERS = HERE / "mask_parity.json", HERE / "mask_parity.npz"
V1, V2 = "maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2"
OF_BOXES = {V1: detector_parity.V1, V2: detector_parity.V2}
SIZE = detector_parity.SIZES[1]
# Of what is computed so much is recorded: classes, which torchvision counts from 1, and cells.
CLASSES, CELLS = slice(1, None, 23), slice(None, None, 3)
FOUND = 12  # detections whose masks are recorded, the best
LOGITS = "roi_heads.mask_predictor.mask_fcn_logits"
AIM = 4.0  # largest absolute logit, about
# Where a mask that is not random is drawn into an image.
PLACES = np.float32(
    [[5, 8, 60, 70], [40.4, 3.7, 105.2, 80.1], [-10, -6, 50, 40], [90, 60, 130, 90]]
)


def gains(name):
    """Factors of the predicting layers."""
    recorded = json.loads(NAMES.read_text())["networks"][name]
    boxes = json.loads(detector_parity.NAMES.read_text())["networks"][OF_BOXES[name]]
    return {**boxes["gains"], **recorded["gains"]}


def ellipse(side=28):
    """A mask (side, side) of a box: an ellipse without its lower right quarter."""
    places = (np.arange(side, dtype="float32") + 0.5) / side * 2 - 1
    inside = places[:, None] ** 2 + places**2 <= 1
    return (inside & ~((places[:, None] > 0) & (places > 0))).astype("float32")


def _networks(torchvision):
    """torchvision's, built as it builds them for its own weights."""
    from torchvision.models import detection, resnet50  # pyright: ignore
    from torchvision.models.detection._utils import overwrite_eps  # pyright: ignore
    from torchvision.models.detection.backbone_utils import (  # pyright: ignore
        _resnet_fpn_extractor,
    )

    body = resnet50(weights=None, norm_layer=torchvision.ops.misc.FrozenBatchNorm2d)
    v1 = detection.MaskRCNN(_resnet_fpn_extractor(body, 3), num_classes=91)
    overwrite_eps(v1, 0.0)
    v2 = detection.maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
    return {V1: v1.eval(), V2: v2.eval()}


def _answers(torch, model):
    from torchvision.models.detection.roi_heads import (  # pyright: ignore
        maskrcnn_inference,
        paste_masks_in_image,
    )

    model.transform.min_size, model.transform.max_size = (min(SIZE),), max(SIZE)
    model.rpn._post_nms_top_n["testing"] = detector_parity.PROPOSALS
    pixels = torch.from_numpy(detector_parity.image(SIZE)).permute(2, 0, 1).float() / 255
    heads = model.roi_heads
    with torch.no_grad():
        images, _ = model.transform([pixels])
        features = model.backbone(images.tensors)

        def logits(boxes):
            pooled = heads.mask_roi_pool(features, [boxes], [SIZE])
            return heads.mask_predictor(heads.mask_head(pooled))

        own = logits(torch.from_numpy(detector_parity.ROIS))
        found = model([pixels])[0]
        best = {name: value[:FOUND] for name, value in found.items()}
        likely = maskrcnn_inference(logits(best["boxes"]), [best["labels"]])[0][:, 0]
        made = torch.from_numpy(np.stack([ellipse()] * len(PLACES)))
        whole = paste_masks_in_image(made[:, None], torch.from_numpy(PLACES), SIZE)[:, 0] >= 0.5
    return {
        "logits": own[:, CLASSES, CELLS, CELLS].numpy(),
        "boxes": found["boxes"].numpy(),
        "masks": likely[:, CELLS, CELLS].numpy(),
        "pasted": np.packbits(whole.numpy(), axis=None),
    }, own


def _record():
    import torch  # pyright: ignore[reportMissingImports]

    library = detector_parity._declare(torch)
    import torchvision  # pyright: ignore[reportMissingImports]

    torchvision.ops.boxes.nms = detector_parity._nms(torch)[0]
    torchvision.ops.poolers.roi_align = detector_parity._roi_align(torch)
    del library

    recorded, answers = {}, {}
    for name, model in _networks(torchvision).items():
        boxes = json.loads(detector_parity.NAMES.read_text())["networks"][OF_BOXES[name]]
        shapes = detector_parity._set_weights(torch, model, boxes["gains"])
        largest = float(_answers(torch, model)[1].abs().max())
        own = {LOGITS: float(np.float32(AIM / largest))}
        detector_parity._set_weights(torch, model, {**boxes["gains"], **own})
        given = _answers(torch, model)[0]
        expected = np.load(detector_parity.ANSWERS)
        known = expected[f"{OF_BOXES[name]} {SIZE[0]}x{SIZE[1]} found_boxes"]
        np.testing.assert_allclose(given.pop("boxes"), known, atol=1e-3)
        answers |= {f"{name} {key}": value for key, value in given.items()}
        recorded[name] = {
            "parameters": sum(p.numel() for p in model.parameters()),
            "gains": own,
            "tensors": [[key, list(shape)] for key, shape in shapes.items()],
        }
        print(name, recorded[name]["parameters"], {k: v.shape for k, v in given.items()})
    versions = {m.__name__: m.__version__ for m in (torch, torchvision)}
    NAMES.write_text(json.dumps({"versions": versions, "networks": recorded}) + "\n")
    np.savez_compressed(ANSWERS, **answers)
    print(f"{ANSWERS.stat().st_size:,} bytes")


if __name__ == "__main__":
    _record()
