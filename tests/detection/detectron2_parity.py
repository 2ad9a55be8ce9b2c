"""What detectron2 computes, written out once more in torch, and what that answers.

detectron2 could not be installed where this was written. `answers` is its arithmetic after its
source (modeling/backbone/resnet.py and fpn.py, anchor_generator.py, box_regression.py, poolers.py,
proposal_generator, roi_heads; the base configurations C4 and FPN), step by step and by hand. So
that a detector here agrees with it shows that two readings of one source agree, and not, as the
recording of torchvision's does, that the other project's own code answers so.

Run as a script, it records these answers to weights that follow from a rule, as detector_parity.py:

    pip install torch==2.13.0
    PYTHONPATH=tests/zoo:tests/detection python tests/detection/detectron2_parity.py

It writes detectron2_parity.json (factors of the rule, versions) and detectron2_parity.npz beside
itself. The tests need no torch.
"""

import json
import math
from pathlib import Path

import detector_parity
import numpy as np
import parity

HERE = Path(__file__).parent
FACTORS, ANSWERS = HERE / "detectron2_parity.json", HERE / "detectron2_parity.npz"
C4, FPN = "fasterrcnn_resnet50_c4_detectron2", "fasterrcnn_resnet50_fpn_detectron2"
# Neither side is a multiple of 16 or 32: a pyramid's images are padded, and C4's are not.
SIZE = (90, 110)
CLASSES, PROPOSALS = 80, 40
# RoIs for the head. C4's end with the image, as proposals do: farther than a cell beyond its border
# detectron2 sees zeros, and a detector here, which pads, the border's values.
ROIS = {
    FPN: detector_parity.ROIS,
    C4: np.clip(detector_parity.ROIS, 0, np.float32([*SIZE[::-1], *SIZE[::-1]])),
}
CHANNELS = {C4: slice(None, None, 64), FPN: detector_parity.CHANNELS}
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
MEAN = (103.53, 116.28, 123.675)  # blue, green, red; nothing divides
RATIOS = (0.5, 1.0, 2.0)
AIMS = {
    "proposal_generator.rpn_head.objectness_logits": 4.0,
    "proposal_generator.rpn_head.anchor_deltas": 1.5,
    "roi_heads.box_predictor.cls_score": 8.0,
    "roi_heads.box_predictor.bbox_pred": 8.0,
}


def shapes(neck, depth=50, classes=CLASSES):
    """Shapes of a detector's tensors by detectron2's names."""
    body = "backbone.bottom_up." if neck == "fpn" else "backbone."
    found = {f"{body}stem.conv1.weight": (64, 3, 7, 7), **_norm(f"{body}stem.conv1", 64)}
    before = 64
    for stage, blocks in enumerate(BLOCKS[depth], 2):
        prefix = "roi_heads." if neck == "c4" and stage == 5 else body
        width, after = 64 * 2 ** (stage - 2), 256 * 2 ** (stage - 2)
        for block in range(blocks):
            name = f"{prefix}res{stage}.{block}"
            layers = {
                "conv1": (width, before, 1, 1),
                "conv2": (width, width, 3, 3),
                "conv3": (after, width, 1, 1),
            }
            if before != after:
                layers["shortcut"] = (after, before, 1, 1)
            for layer, shape in layers.items():
                found[f"{name}.{layer}.weight"] = shape
                found |= _norm(f"{name}.{layer}", shape[0])
            before = after
    channels, anchors, width = (256, 3, 1024) if neck == "fpn" else (1024, 15, 2048)
    if neck == "fpn":
        for level in range(2, 6):
            found |= _layer(f"backbone.fpn_lateral{level}", (256, 64 * 2**level, 1, 1))
            found |= _layer(f"backbone.fpn_output{level}", (256, 256, 3, 3))
        found |= _layer("roi_heads.box_head.fc1", (1024, 256 * 7 * 7))
        found |= _layer("roi_heads.box_head.fc2", (1024, 1024))
    rpn = "proposal_generator.rpn_head."
    found |= _layer(f"{rpn}conv", (channels, channels, 3, 3))
    found |= _layer(f"{rpn}objectness_logits", (anchors, channels, 1, 1))
    found |= _layer(f"{rpn}anchor_deltas", (4 * anchors, channels, 1, 1))
    found |= _layer("roi_heads.box_predictor.cls_score", (classes + 1, width))
    return found | _layer("roi_heads.box_predictor.bbox_pred", (4 * classes, width))


def _norm(layer, channels):
    leaves = ("weight", "bias", "running_mean", "running_var")
    return {f"{layer}.norm.{leaf}": (channels,) for leaf in leaves}


def _layer(name, shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def weights(name, shape, factors):
    """Values of a tensor in torch's layout, float32, as those of `detector_parity`."""
    factor = factors.get(name.rpartition(".")[0], 1.0)
    if name.endswith("stem.conv1.weight"):
        factor = 1e-2
    if ".stem.conv1.norm.running_" in name:  # variances that the epsilon matters for
        factor = 1e-4 if name.endswith("var") else 1e-2
    return np.float32(factor) * parity.torch_weights(name, tuple(shape))


def _convolved(torch, state, x, name, stride=1, relu=True):
    """Convolution, with FrozenBatchNorm2d (epsilon 1e-5) where there is one."""
    kernel = state[f"{name}.weight"]
    padding = kernel.shape[-1] // 2
    x = torch.nn.functional.conv2d(x, kernel, state.get(f"{name}.bias"), stride, padding)
    if f"{name}.norm.weight" in state:
        gamma, beta, mean, variance = (
            state[f"{name}.norm.{leaf}"][:, None, None]
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma * (variance + 1e-5).rsqrt()
        x = x * scale + (beta - mean * scale)
    return x.relu() if relu else x


def _stage(torch, state, x, name):
    """Bottlenecks, of which the first strides in its first 1x1 (STRIDE_IN_1X1)."""
    for block in range(100):
        prefix = f"{name}.{block}"
        if f"{prefix}.conv1.weight" not in state:
            return x
        stride = 2 if block == 0 and not name.endswith("res2") else 1
        y = _convolved(torch, state, x, f"{prefix}.conv1", stride)
        y = _convolved(torch, state, y, f"{prefix}.conv2")
        y = _convolved(torch, state, y, f"{prefix}.conv3", relu=False)
        if f"{prefix}.shortcut.weight" in state:
            x = _convolved(torch, state, x, f"{prefix}.shortcut", stride, relu=False)
        x = (x + y).relu()
    raise AssertionError


def _features(torch, state, pixels, neck):
    """{name: (1, channels, h, w)} that the RPN sees, finest first."""
    functional = torch.nn.functional
    body = "backbone.bottom_up." if neck == "fpn" else "backbone."
    x = _convolved(torch, state, pixels, f"{body}stem.conv1", 2)
    x = functional.max_pool2d(x, 3, 2, 1)
    stages = {}
    for stage in range(2, 6 if neck == "fpn" else 5):
        x = stages[stage] = _stage(torch, state, x, f"{body}res{stage}")
    if neck == "c4":
        return {"conv4": x}
    levels, above = {}, None
    for stage in (5, 4, 3, 2):
        lateral = f"backbone.fpn_lateral{stage}"
        x = _convolved(torch, state, stages[stage], lateral, relu=False)
        if above is not None:
            x = x + functional.interpolate(above, scale_factor=2.0, mode="nearest")
        above = x
        levels[f"p{stage}"] = _convolved(torch, state, x, f"backbone.fpn_output{stage}", relu=False)
    levels = dict(sorted(levels.items()))
    return levels | {"p6": functional.max_pool2d(levels["p5"], 1, 2)}


def _anchors(torch, sizes, stride, height, width):
    """Those of a cell together, the size varying slowest; centred at the cell's corner."""
    cell = []
    for size in sizes:
        for ratio in RATIOS:
            w = math.sqrt(size**2 / ratio)
            cell.append([-w / 2, -ratio * w / 2, w / 2, ratio * w / 2])
    y, x = torch.meshgrid(
        torch.arange(height) * float(stride), torch.arange(width) * float(stride), indexing="ij"
    )
    shifts = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4)
    return (shifts + torch.tensor(cell)).reshape(-1, 4)


def _decoded(torch, deltas, boxes, weights=(1.0, 1.0, 1.0, 1.0)):
    """Box2BoxTransform.apply_deltas; deltas (n, 4), boxes (n, 4)."""
    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + 0.5 * size
    deltas = deltas / torch.tensor(weights)
    centre = deltas[:, :2] * size + centre
    size = deltas[:, 2:].clamp(max=math.log(1000.0 / 16)).exp() * size
    return torch.cat([centre - 0.5 * size, centre + 0.5 * size], 1)


def _clipped(torch, boxes):
    height, width = SIZE
    return torch.minimum(boxes.clamp(min=0), torch.tensor([width, height, width, height]))


def _suppressed(torch, boxes, scores, groups, iou):
    """batched_nms: boxes of different groups are moved apart."""
    nms, margins = detector_parity._nms(torch)
    kept = nms(boxes + groups[:, None].float() * (boxes.max() + 1), scores, iou)
    return kept, min(margins)


def _axis(start, length, bins, cells):
    """How much each cell counts in each bin of ROIAlign with sampling ratio 0: (bins, cells)."""
    matrix = np.zeros((bins, cells))
    samples = math.ceil(length / bins)
    for place in range(bins):
        for sample in range(samples):
            at = start + (place + (sample + 0.5) / samples) * length / bins
            if at < -1.0 or at > cells:
                continue
            at = min(max(at, 0.0), cells - 1.0)
            low = int(at)
            matrix[place, low] += (1 - (at - low)) / samples
            matrix[place, min(low + 1, cells - 1)] += (at - low) / samples
    return matrix


def _pooled(torch, features, rois, side):
    """ROIPooler of ROIAlignV2, which shifts by half a cell; each RoI on its level."""
    maps = [values[0].double().numpy() for values in features.values()]
    pooled = []
    for x1, y1, x2, y2 in np.asarray(rois, "float64"):
        area = np.float32(x2 - x1) * np.float32(y2 - y1)
        level = math.floor(4 + math.log2(math.sqrt(area) / 224 + 1e-8))
        level = min(max(level, 2), 5) if len(maps) > 1 else 4
        values = maps[level - 2] if len(maps) > 1 else maps[0]
        stride = 2**level
        rows = _axis(y1 / stride - 0.5, (y2 - y1) / stride, side, values.shape[1])
        columns = _axis(x1 / stride - 0.5, (x2 - x1) / stride, side, values.shape[2])
        pooled.append(np.einsum("ph,chw,qw->cpq", rows, values, columns))
    return torch.from_numpy(np.float32(pooled))


def _head(torch, state, features, rois):
    """Class logits (n, 81), the last the background's, and deltas (n, 320)."""
    if "roi_heads.box_head.fc1.weight" in state:
        without = {name: values for name, values in features.items() if name != "p6"}
        x = _pooled(torch, without, rois, 7).flatten(1)
        for name in ("fc1", "fc2"):
            layer = f"roi_heads.box_head.{name}"
            x = (x @ state[f"{layer}.weight"].T + state[f"{layer}.bias"]).relu()
    else:
        x = _pooled(torch, features, rois, 14)
        x = _stage(torch, state, x, "roi_heads.res5").mean(dim=[2, 3])
    return [
        x @ state[f"roi_heads.box_predictor.{name}.weight"].T
        + state[f"roi_heads.box_predictor.{name}.bias"]
        for name in ("cls_score", "bbox_pred")
    ]


def _rpn(torch, state, features):
    """Anchors (n, 4), logits (n,) and deltas (n, 4) of each level."""
    sizes = [[32], [64], [128], [256], [512]] if len(features) > 1 else [[32, 64, 128, 256, 512]]
    levels = []
    for place, values in enumerate(features.values()):
        rpn = "proposal_generator.rpn_head."
        x = _convolved(torch, state, values, f"{rpn}conv")
        logits = _convolved(torch, state, x, f"{rpn}objectness_logits", relu=False)
        deltas = _convolved(torch, state, x, f"{rpn}anchor_deltas", relu=False)
        stride = 4 * 2**place if len(features) > 1 else 16
        levels.append(
            (
                _anchors(torch, sizes[place], stride, *values.shape[2:]),
                logits[0].permute(1, 2, 0).flatten(),
                deltas[0].unflatten(0, (-1, 4)).permute(2, 3, 0, 1).reshape(-1, 4),
            )
        )
    return levels


def _proposals(torch, levels, most_before):
    """find_top_rpn_proposals."""
    boxes, scores, groups = [], [], []
    for place, (anchors, logits, deltas) in enumerate(levels):
        best, index = logits.topk(min(len(logits), most_before))
        boxes.append(_decoded(torch, deltas[index], anchors[index]))
        scores.append(best)
        groups.append(torch.full_like(index, place))
    boxes, scores, groups = (torch.cat(x) for x in (boxes, scores, groups))
    boxes = _clipped(torch, boxes)
    keep = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
    boxes, scores, groups = boxes[keep], scores[keep], groups[keep]
    kept, margin = _suppressed(torch, boxes, scores, groups, 0.7)
    return boxes[kept[:PROPOSALS]], margin


def _found(torch, logits, deltas, rois):
    """fast_rcnn_inference_single_image."""
    scores = logits.softmax(-1)[:, :-1]
    repeated = rois.repeat_interleave(CLASSES, 0)
    boxes = _decoded(torch, deltas.reshape(-1, 4), repeated, (10.0, 10.0, 5.0, 5.0))
    boxes = _clipped(torch, boxes).reshape(-1, CLASSES, 4)
    mask = scores > 0.05
    boxes, labels, scores = boxes[mask], mask.nonzero()[:, 1], scores[mask]
    kept, margin = _suppressed(torch, boxes, scores, labels, 0.5)
    kept = kept[:100]
    return boxes[kept], scores[kept], labels[kept], margin


def answers(torch, state, neck):
    """What detectron2 computes of the image, step by step, and how near IoUs are to limits."""
    pixels = torch.from_numpy(detector_parity.image(SIZE)[..., ::-1].copy())
    pixels = pixels.permute(2, 0, 1).float() - torch.tensor(MEAN)[:, None, None]
    if neck == "fpn":  # ImageList.from_tensors; a ResNet alone asks for no divisible sides
        height, width = SIZE
        pixels = torch.nn.functional.pad(pixels, (0, -width % 32, 0, -height % 32))
    features = _features(torch, state, pixels[None], neck)
    levels = _rpn(torch, state, features)
    anchors, objectness, deltas = (torch.cat(part) for part in zip(*levels, strict=True))
    proposals, near = _proposals(torch, levels, 1000 if neck == "fpn" else 6000)
    name = FPN if neck == "fpn" else C4
    logits, box_deltas = _head(torch, state, features, ROIS[name])
    boxes, scores, labels, nearer = _found(
        torch, *_head(torch, state, features, proposals.numpy()), proposals
    )
    given = {k: x[0].permute(1, 2, 0)[..., CHANNELS[name]] for k, x in features.items()}
    given |= {"anchors": anchors, "objectness": objectness, "deltas": deltas}
    given |= {"decoded": _decoded(torch, deltas, anchors), "proposals": proposals}
    given |= {"logits": logits, "box_deltas": box_deltas}
    given |= {"found_boxes": boxes, "found_scores": scores, "found_labels": labels}
    return {k: x.numpy().copy() for k, x in given.items()}, min(near, nearer)


def _record():
    import torch  # pyright: ignore[reportMissingImports]

    factors, recorded = {}, {}
    for name, neck in ((C4, "c4"), (FPN, "fpn")):
        state = {k: torch.from_numpy(weights(k, s, {})) for k, s in shapes(neck).items()}
        given, _ = answers(torch, state, neck)
        largest = dict(zip(AIMS, ("objectness", "deltas", "logits", "box_deltas"), strict=True))
        factors[name] = {
            layer: float(np.float32(aim / np.abs(given[largest[layer]]).max()))
            for layer, aim in AIMS.items()
        }
        for k, s in shapes(neck).items():
            if k.rpartition(".")[0] in AIMS:
                state[k] = torch.from_numpy(weights(k, s, factors[name]))
        given, near = answers(torch, state, neck)
        recorded |= {f"{name} {k}": v for k, v in given.items()}
        scores = np.sort(given["found_scores"])
        print(
            f"{name}: {len(given['proposals'])} proposals, {len(scores)} found, "
            f"scores {scores.min():.4f} to {scores.max():.4f}, apart {np.diff(scores).min():.1e}, "
            f"IoUs from the limits {near:.1e}, "
            f"largest { ({k: float(np.abs(v).max()) for k, v in given.items()}) }"
        )
    content = {"versions": {"torch": torch.__version__}, "factors": factors}
    FACTORS.write_text(json.dumps(content) + "\n")
    np.savez_compressed(ANSWERS, **recorded)
    print(f"{ANSWERS.stat().st_size:,} bytes")


if __name__ == "__main__":
    _record()
