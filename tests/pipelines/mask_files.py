"""Small data sets of images with masks, in each layout, for tests."""

import json

import numpy as np
import object_files

from resnet_keras.pipelines import png

# name: (height, width)
SIZES = {"a": (40, 60), "b": (60, 40), "c": (50, 50), "d": (30, 90), "e": (40, 60), "f": (90, 30)}
CLASSES = ("ground", "cup", "plate")


def mask(number, height, width, classes=3):
    """Every class, and a border that is ignored."""
    rows, columns = np.mgrid[:height, :width]
    labels = ((rows // 7 + columns // 5 + number) % classes).astype(np.uint8)
    labels[:2] = 255
    return labels


def write_pairs(images, masks, names=SIZES, classes=3):
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    for name in names:
        number, size = list(SIZES).index(name), SIZES[name]
        (images / f"{name}.png").write_bytes(object_files.png(number, *size))
        (masks / f"{name}.png").write_bytes(png.encode(mask(number, *size, classes)))


def write_folder(root, classes=CLASSES):
    """images/ and masks/, and classes.txt."""
    write_pairs(root / "images", root / "masks")
    if classes:
        (root / "classes.txt").write_text("\n".join([*classes, ""]))
    return root


def write_voc(root):
    """A folder in VOC's format: train holds all images but the last two, which are val's."""
    write_pairs(root / "JPEGImages", root / "SegmentationClass", classes=21)
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    names = list(SIZES)
    for split, chosen in {"train": names[:-2], "val": names[-2:], "trainval": names}.items():
        (lists / f"{split}.txt").write_text("".join(f"{n}\n" for n in chosen))
    return root


def write_coco(root, split="train"):
    """COCO's format: a polygon, run lengths of numbers, and a crowd region."""
    content = object_files.coco_content()
    object_files.write_coco(root, split=split)
    by_image = {image["id"]: image for image in content["images"]}
    for entry in content["annotations"]:
        image = by_image[entry["image_id"]]
        entry["segmentation"] = outline(entry, image["height"], image["width"])
    (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))
    return root


def outline(entry, height, width):
    """The box itself: run lengths of crowd regions, and polygons of others."""
    x, y, w, h = entry["bbox"]
    if not entry["iscrowd"]:
        return [[x, y, x + w, y, x + w, y + h, x, y + h]]
    inside = np.zeros([height, width], bool)
    inside[int(y) : int(y + h), int(x) : int(x + w)] = True
    flat = inside.T.ravel()  # columns come first
    borders = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *borders, flat.size]).tolist()
    return {"size": [height, width], "counts": [0, *counts] if flat[0] else counts}
