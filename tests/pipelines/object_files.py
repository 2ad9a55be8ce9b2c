"""Small data sets of images with boxes, in each format, for tests."""

import json

import numpy as np
import tensorflow as tf

# name: (height, width) and (class, VOC's corners counted from 1, difficult); the fourth is empty.
VOC = {
    "a": ((40, 60), [("cup", (1, 1, 60, 40), 0), ("plate", (11, 6, 30, 25), 1)]),
    "b": ((60, 40), [("fork", (2, 3, 20, 50), 0)]),
    "c": ((50, 50), [("cup", (50, 50, 50, 50), 0), ("cup", (7, 9, 31, 44), 0)]),
    "d": ((30, 90), []),
    "e": ((40, 60), [("plate", (5, 5, 10, 10), 1)]),
    "f": ((90, 30), [("cup", (3, 3, 9, 80), 0), ("fork", (1, 1, 30, 90), 0)]),
}


def image(number, height, width):
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


def png(number, height, width):
    return tf.io.encode_png(image(number, height, width)).numpy()


def voc_xml(name, size, objects):
    items = "".join(
        f"<object><name>{kind}</name><difficult>{difficult}</difficult><part><name>head</name>"
        "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
        + "<bndbox>"
        + "".join(
            f"<{corner}>{value}</{corner}>"
            for corner, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        + "</bndbox></object>"
        for kind, box, difficult in objects
    )
    return (
        f"<annotation><filename>{name}.png</filename><size><width>{size[1]}</width>"
        f"<height>{size[0]}</height><depth>3</depth></size>{items}</annotation>"
    )


def write_voc(root, rows=None):
    """A folder in VOC's format: train holds all images but the last two, which are val's."""
    rows = VOC if rows is None else rows
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for number, (name, (size, objects)) in enumerate(rows.items()):
        (root / "Annotations" / f"{name}.xml").write_text(voc_xml(name, size, objects))
        (root / "JPEGImages" / f"{name}.png").write_bytes(png(number, *size))
    names = list(rows)
    for split, chosen in {"train": names[:-2], "val": names[-2:], "trainval": names}.items():
        (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{n}\n" for n in chosen))
    return root


# number: (height, width) and (category, xywh, crowd)
COCO = {
    11: ((40, 60), [(7, [0, 0, 60, 40], 0), (3, [10.5, 5, 20, 20.25], 0)]),
    5: ((60, 40), [(90, [1, 2, 19, 48], 0), (3, [0, 10, 40, 30], 1)]),
    8: ((50, 50), [(7, [49, 49, 1, 1], 0)]),
    2: ((30, 90), []),
    1: ((90, 30), [(3, [2, 2, 7, 78], 0), (3, [0, 0, 30, 90], 0), (7, [5, 5, 5, 5], 0)]),
    30: ((64, 48), [(3, [8, 8, 16, 16], 0)]),
    31: ((32, 32), [(7, [4, 8, 16, 16], 0)]),
    32: ((128, 128), [(7, [16, 32, 64, 64], 0)]),
}


def coco_content(rows=None):
    rows = COCO if rows is None else rows
    objects = [(key, *row) for key, (_, objects) in rows.items() for row in objects]
    return {
        "images": [
            {"id": key, "file_name": f"{key}.png", "height": size[0], "width": size[1]}
            for key, (size, _) in rows.items()
        ],
        "annotations": [
            {"id": 100 + n, "image_id": key, "category_id": kind, "bbox": box, "iscrowd": crowd}
            for n, (key, kind, box, crowd) in enumerate(objects)
        ],
        "categories": [
            {"id": 90, "name": "fork"},
            {"id": 3, "name": "cup"},
            {"id": 7, "name": "plate"},
        ],
    }


def write_coco(root, rows=None, split="train"):
    """A folder in COCO's format."""
    rows = COCO if rows is None else rows
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / split).mkdir()
    for number, (key, (size, _)) in enumerate(rows.items()):
        (root / split / f"{key}.png").write_bytes(png(number, *size))
    rewrite_coco(root, coco_content(rows), split)
    return root


def rewrite_coco(root, content, split="train"):
    (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))


def tfds_rows(content, kind):
    """TFDS's own rows of images: corners in shares of the sides, as its builders make them.

    Args:
        content: `annotations.Annotations`.
        kind: "voc" or "coco".

    Returns:
        What `tfds.testing.mock_data` takes as `as_dataset_fn`.
    """

    def rows():
        for number, path in enumerate(content.paths):
            own = slice(*content.row_splits[number : number + 2])
            height, width = content.sizes[number]
            shift = [1, 1, 0, 0] if kind == "voc" else 0
            x1, y1, x2, y2 = (content.boxes[own] + shift).T
            box = np.stack([y1 / height, x1 / width, y2 / height, x2 / width], axis=1)
            flags = {
                "voc": {"is_difficult": content.difficult[own]},
                "coco": {"is_crowd": content.crowd[own], "area": content.areas[own].astype(int)},
            }
            with open(path, "rb") as file:
                image = file.read()
            yield {
                "image": image,
                "image/filename": path,
                "image/id": 70 + number,
                "tfds_id": str(number),
                "objects": {
                    "bbox": box.astype(np.float32),
                    "label": content.labels[own],
                    **flags[kind],
                },
            }

    def spec(name, value):
        value = np.asarray(value)
        kinds = {"U": tf.string, "S": tf.string, "O": tf.string, "b": tf.bool}
        kinds |= {"f": tf.float32, "i": tf.int64}
        shape = [None, *value.shape[1:]] if value.ndim else []
        return tf.TensorSpec(shape, kinds[value.dtype.kind])

    first = next(rows())
    specs = {
        name: {key: spec(key, column) for key, column in value.items()}
        if isinstance(value, dict)
        else spec(name, value)
        for name, value in first.items()
    }
    return lambda *args, **kwargs: tf.data.Dataset.from_generator(rows, output_signature=specs)
