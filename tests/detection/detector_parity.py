"""The rule that makes what parity tests of detectors need, and what torchvision answers to it.

Run as a script, it records the answers of torchvision's own Faster R-CNN.

    pip install torch==2.13.0 torchvision==0.28.0
    PYTHONPATH=tests/zoo python tests/detection/detector_parity.py

It writes detector_parity.json (names and shapes of the networks' tensors, versions) and
detector_parity.npz (answers) beside itself. Neither holds weights or images: both follow from the
rule. The tests need none of these packages.

NMS and RoIAlign are written out here, after the definitions of torchvision's compiled operations,
so that it does not matter whether those are there: its own RoIAlign in Python leaves out that
samples more than a cell outside of the map are 0.
"""

import json
from pathlib import Path

import numpy as np
import parity

HERE = Path(__file__).parent
NAMES, ANSWERS = HERE / "detector_parity.json", HERE / "detector_parity.npz"
V1, V2 = "fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2"
# An image that needs no padding, and one that needs some on both sides.
SIZES = ((96, 128), (90, 110))
# Fewer than torchvision takes by itself, as the box head is what costs time.
PROPOSALS = 40
# Of each level of features so many channels are recorded.
CHANNELS = slice(None, None, 16)
# Of all levels, at borders, beyond them, and thinner than a cell.
ROIS = np.float32(
    [
        *([0, 0, 110, 90], [3.5, 2.25, 40.75, 61.5], [60, 30, 109.5, 89.5], [20, 10, 21, 70]),
        *([0, 0, 16, 16], [100.25, 80.5, 110, 90], [-8, -12, 30, 20], [90, 70, 150, 130]),
        *([-60, -60, 180, 190], [-200, -180, 260, 280], [50, 50, 50.5, 50.25], [8, 0, 104, 33]),
    ]
)
# The first normalization has variances that the epsilon matters for: torchvision's is 0 in one
# file. Deltas are small enough for proposals and boxes to differ from one another, and the logits
# of classes spread enough for some to be likely.
SCALES = {
    "backbone.body.conv1.weight": 1e-2,
    "backbone.body.bn1.running_mean": 1e-2,
    "backbone.body.bn1.running_var": 1e-4,
}
AIMS = {  # largest absolute value of each, about
    "rpn.head.cls_logits": 4.0,
    "rpn.head.bbox_pred": 1.5,
    "roi_heads.box_predictor.cls_score": 8.0,
    "roi_heads.box_predictor.bbox_pred": 8.0,
}


def image(size):
    """uint8 pixels (height, width, 3)."""
    return parity.images(*size, count=1)[0]


def weights(name, shape, gains):
    """Values of a tensor in torch's layout, float32.

    Args:
        name: of the tensor.
        shape: of it.
        gains: factors that the recording found for the predicting layers, by their names.
    """
    factor = SCALES.get(name, gains.get(name.rpartition(".")[0], 1.0))
    return np.float32(factor) * parity.torch_weights(name, tuple(shape))


def _declare(torch):
    """Declares torchvision's operations, for it to be imported without its compiled ones."""
    if hasattr(torch.ops.torchvision, "nms"):
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def _nms(torch):
    def nms(boxes, scores, iou_threshold):
        order = torch.argsort(scores, descending=True, stable=True)
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        suppressed = torch.zeros(len(boxes), dtype=torch.bool)
        kept = []
        for i in order.tolist():
            if suppressed[i]:
                continue
            kept.append(i)
            low = torch.maximum(boxes[i, :2], boxes[:, :2])
            high = torch.minimum(boxes[i, 2:], boxes[:, 2:])
            shared = (high - low).clamp(min=0).prod(dim=1)
            iou = shared / (area[i] + area - shared)
            margins.append(float((iou - iou_threshold).abs().min()))
            suppressed |= iou > iou_threshold
        return torch.tensor(kept, dtype=torch.int64)

    margins = []
    return nms, margins


def _roi_align(torch):
    def weights_of(start, bin_size, bins, samples, side):
        """How much each cell of an axis counts in each bin: (bins, side)."""
        matrix = torch.zeros(bins, side, dtype=torch.float64)
        for place in range(bins):
            for sample in range(samples):
                at = start + place * bin_size + (sample + 0.5) * bin_size / samples
                if at < -1.0 or at > side:
                    continue
                at = max(at, 0.0)
                low = int(at)
                if low >= side - 1:
                    low = high = side - 1
                    at = float(low)
                else:
                    high = low + 1
                matrix[place, low] += (1 - (at - low)) / samples
                matrix[place, high] += (at - low) / samples
        return matrix

    def align(features, rois, scale, height, width, sampling, aligned):
        assert sampling == 2
        assert not aligned
        result = torch.zeros(len(rois), features.shape[1], height, width)
        for number, roi in enumerate(rois.double()):
            x1, y1, x2, y2 = (float(v) * scale for v in roi[1:])
            rows, columns = max(y2 - y1, 1.0), max(x2 - x1, 1.0)
            vertical = weights_of(y1, rows / height, height, sampling, features.shape[2])
            horizontal = weights_of(x1, columns / width, width, sampling, features.shape[3])
            maps = features[int(roi[0])].double()
            pooled = torch.einsum("ph,chw,qw->cpq", vertical, maps, horizontal)
            result[number] = pooled.float()
        return result

    def roi_align(input, boxes, output_size, spatial_scale=1.0, sampling_ratio=-1, aligned=False):
        height, width = (output_size,) * 2 if isinstance(output_size, int) else output_size
        return align(input, boxes, spatial_scale, height, width, sampling_ratio, aligned)

    return roi_align


def _networks(torchvision):
    """torchvision's, built as it builds them for its own weights."""
    from torchvision.models import detection, resnet50  # pyright: ignore
    from torchvision.models.detection._utils import overwrite_eps  # pyright: ignore
    from torchvision.models.detection.backbone_utils import (  # pyright: ignore
        _resnet_fpn_extractor,
    )

    body = resnet50(weights=None, norm_layer=torchvision.ops.misc.FrozenBatchNorm2d)
    v1 = detection.FasterRCNN(_resnet_fpn_extractor(body, 3), num_classes=91)
    overwrite_eps(v1, 0.0)
    v2 = detection.fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
    return {V1: v1.eval(), V2: v2.eval()}


def _set_weights(torch, model, gains):
    state = model.state_dict()
    shapes = {k: tuple(v.shape) for k, v in state.items() if "num_batches" not in k}
    for name, shape in shapes.items():
        state[name] = torch.from_numpy(weights(name, shape, gains))
    model.load_state_dict(state)
    return shapes


def _find_gains(torch, model):
    """Factors that bring the outputs of the predicting layers to `AIMS`."""
    _set_weights(torch, model, {})
    largest = dict.fromkeys(AIMS, 0.0)

    def watch(name):
        def hook(module, inputs, output):
            largest[name] = max(largest[name], float(output.abs().max()))

        return model.get_submodule(name).register_forward_hook(hook)

    hooks = [watch(name) for name in AIMS]
    _answers(torch, model, SIZES[0])
    for hook in hooks:
        hook.remove()
    return {name: float(np.float32(aim / largest[name])) for name, aim in AIMS.items()}


def _answers(torch, model, size):
    """What a network answers to the image of a size, step by step."""
    from torchvision.models.detection.rpn import (  # pyright: ignore
        concat_box_prediction_layers,
    )

    # The image as it is: its scale is 1.
    model.transform.min_size, model.transform.max_size = (min(size),), max(size)
    model.rpn._post_nms_top_n["testing"] = PROPOSALS
    pixels = torch.from_numpy(image(size)).permute(2, 0, 1).float() / 255
    answers = {}
    with torch.no_grad():
        images, _ = model.transform([pixels])
        assert images.image_sizes == [size], images.image_sizes
        features = model.backbone(images.tensors)
        for level, values in zip(("p2", "p3", "p4", "p5", "p6"), features.values(), strict=True):
            answers[level] = values[0].permute(1, 2, 0)[..., CHANNELS]
        objectness, deltas = model.rpn.head(list(features.values()))
        anchors = model.rpn.anchor_generator(images, list(features.values()))
        objectness, deltas = concat_box_prediction_layers(objectness, deltas)
        answers |= {"anchors": anchors[0], "objectness": objectness[:, 0], "deltas": deltas}
        answers["decoded"] = model.rpn.box_coder.decode(deltas, anchors)[:, 0]
        answers["proposals"] = model.rpn(images, features)[0][0]
        heads, rois = model.roi_heads, torch.from_numpy(ROIS)
        pooled = heads.box_roi_pool(features, [rois], [size])
        logits, box_deltas = heads.box_predictor(heads.box_head(pooled))
        answers |= {"logits": logits, "box_deltas": box_deltas}
        found = model([pixels])[0]
    answers |= {f"found_{name}": value for name, value in found.items()}
    return {name: value.numpy().copy() for name, value in answers.items()}


def _record():
    import torch  # pyright: ignore[reportMissingImports]

    library = _declare(torch)
    import torchvision  # pyright: ignore[reportMissingImports]

    nms, margins = _nms(torch)
    torchvision.ops.boxes.nms = nms
    roi_align = _roi_align(torch)
    torchvision.ops.poolers.roi_align = roi_align
    del library

    recorded, answers = {}, {}
    for name, model in _networks(torchvision).items():
        gains = _find_gains(torch, model)
        shapes = _set_weights(torch, model, gains)
        parameters = sum(p.numel() for p in model.parameters())
        recorded[name] = {
            "parameters": parameters,
            "gains": gains,
            "tensors": [[n, list(s)] for n, s in shapes.items()],
        }
        for size in SIZES if name == V1 else SIZES[1:]:
            margins.clear()
            given = _answers(torch, model, size)
            if name == V2:  # which differs in its heads: the rest was compared
                given = {k: v for k, v in given.items() if k not in ("anchors", "decoded")}
            answers |= {f"{name} {size[0]}x{size[1]} {k}": v for k, v in given.items()}
            scores = np.sort(given["found_scores"])
            print(
                f"{name} {size}: {parameters:,} parameters, {len(given['proposals'])} proposals, "
                f"{len(scores)} found, scores {scores.min():.4f} to {scores.max():.4f}, "
                f"apart {np.diff(scores).min():.1e}, IoUs from the limits {min(margins):.1e}, "
                f"largest { ({k: float(np.abs(v).max()) for k, v in given.items()}) }"
            )
    versions = {m.__name__: m.__version__ for m in (torch, torchvision)}
    NAMES.write_text(json.dumps({"versions": versions, "networks": recorded}) + "\n")
    np.savez_compressed(ANSWERS, **answers)
    print(f"{ANSWERS.stat().st_size:,} bytes")


if __name__ == "__main__":
    _record()
