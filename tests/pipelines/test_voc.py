"""VOC's format, and that XML files, a JSON file and TFDS's records give the same boxes."""

import numpy as np
import object_files
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from resnet_keras.errors import InputError
from resnet_keras.pipelines import annotations, check, coco, objects, voc

CLASSES = ("cup", "fork", "plate")


@pytest.fixture
def root(tmp_path):
    return object_files.write_voc(tmp_path / "mine")


def read(root, split):
    content, problems = voc.read(root, split)
    return annotations.checked(content, problems)


def test_corners_are_counted_from_0_and_half_open(root):
    content = read(root, "trainval")
    assert content.class_names == CLASSES
    expected = [box for _, rows in object_files.VOC.values() for _, box, _ in rows]
    np.testing.assert_array_equal(content.boxes, np.array(expected) - [1, 1, 0, 0])
    assert content.boxes[0].tolist() == [0, 0, 60, 40]  # all of the image
    assert content.boxes[3].tolist() == [49, 49, 50, 50]  # one pixel, the last
    difficult = [row[2] for _, rows in object_files.VOC.values() for row in rows]
    assert content.difficult.tolist() == [bool(flag) for flag in difficult]
    assert content.row_splits.tolist() == [0, 2, 3, 5, 5, 6, 8]


def test_splits_share_their_classes(root):
    train, val = read(root, "train"), read(root, "val")
    assert train.class_names == val.class_names == CLASSES
    assert [len(train.paths), len(val.paths)] == [4, 2]
    with pytest.raises(
        InputError, match=r"no ImageSets/Main/test\.txt; it has train, trainval, val"
    ):
        voc.read(root, "test")


def test_without_lists_a_share_is_held_out(root):
    for path in (root / "ImageSets" / "Main").iterdir():
        path.unlink()
    train, val = read(root, "train"), read(root, "val")
    assert [len(train.paths), len(val.paths)] == [5, 1]
    assert sorted([*train.paths, *val.paths]) == read(root, "trainval").paths
    assert len(read(root, "trainval[:50%]").paths) == 3
    for split, message in {
        "test": "the splits are train",
        "train[:5]": "shares of trainval",
    }.items():
        with pytest.raises(InputError, match=message):
            voc.read(root, split)


def test_devkits_are_found(tmp_path):
    object_files.write_voc(tmp_path / "VOCdevkit" / "VOC2007")
    assert len(read(tmp_path, "train").paths) == 4
    object_files.write_voc(tmp_path / "VOCdevkit" / "VOC2012")
    with pytest.raises(InputError, match=r"holds several data sets: give .*VOC2007, or .*VOC2012"):
        voc.read(tmp_path, "train")
    with pytest.raises(InputError, match="has no folder Annotations/"):
        voc.read(tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages", "train")


def replaced(old, new):
    return lambda root: _edit(root / "Annotations" / "b.xml", old, new)


def _edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


FAULTS = {
    "broken": (replaced("</annotation>", "</annot"), r"b\.xml is not valid XML: .*line 1"),
    "inverted": (replaced("<xmax>20<", "<xmax>0.5<"), r"b\.xml: object 0: .* is inverted"),
    "not a number": (replaced("<xmax>20<", "<xmax>wide<"), "object 0: bndbox/xmax is 'wide'"),
    "nan": (replaced("<xmax>20<", "<xmax>nan<"), r"b\.xml: object 0: .* is not finite"),
    "outside": (replaced("<xmax>20<", "<xmax>42<"), r"object 0: .* leaves its image"),
    "no corner": (replaced("<xmax>20</xmax>", ""), "object 0: there is no bndbox/xmax"),
    "no name": (replaced("<name>fork</name>", ""), r"b\.xml.*: an object has no name"),
    "no size": (replaced("<width>40</width>", ""), "there is no size/width"),
    "size of 0": (replaced("<width>40<", "<width>0<"), "the size 0 x 60 is not of whole pixels"),
    "no image": (
        lambda root: (root / "JPEGImages/b.png").unlink(),
        r"b\.xml: the image is missing",
    ),
    "no file": (
        lambda root: (root / "Annotations/b.xml").unlink(),
        r"Cannot read .*b\.xml: No such",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_one_sentence_in_check_and_in_training(root, name):
    change, message = FAULTS[name]
    change(root)
    with pytest.raises(InputError, match=message) as error:
        objects.training("voc", "train", 2, seed=0, data_dir=root)
    sentence = str(error.value)
    assert "\n" not in sentence
    findings = check.boxes("voc", root, decode=False, limit=1)
    assert any(sentence.startswith(finding.text) for finding in findings if not finding.ok)


def records(root, kind):
    return object_files.tfds_rows(read(root, "trainval"), kind)


def scored(batches):
    """Of each image: boxes, labels and difficult flags, as they are scored."""
    found = []
    for features, targets in batches.as_numpy_iterator():
        for n in range(len(features["size"])):
            chosen = targets["labels"][n] >= 0
            columns = ("original_boxes", "boxes", "labels", "area")
            found.append([targets[name][n][chosen] for name in columns])
    return found


@pytest.mark.slow
def test_xml_json_and_records_give_the_same_boxes_to_the_pixel(root):
    options = {"scale": (32, 64), "device": None}
    expected = scored(objects.evaluation("voc", "trainval", 3, data_dir=root, **options))
    (root / "annotations").mkdir()
    coco.write(root / "annotations" / "instances_trainval.json", read(root, "trainval"))
    (root / "JPEGImages").rename(root / "trainval")
    json = scored(objects.evaluation("coco", "trainval", 3, data_dir=root, **options))
    (root / "trainval").rename(root / "JPEGImages")
    found = {"json": json}
    for kind in ("voc", "coco"):
        rows = records(root, kind)
        with tfds.testing.mock_data(num_examples=6, as_dataset_fn=rows):
            name, split = (f"tfds/{kind}/{2007 if kind == 'voc' else 2017}", "train")
            found[kind] = scored(objects.evaluation(name, split, 3, **options))
    for name, images in found.items():
        for one, other in zip(images, expected, strict=True):
            for column, right in zip(one, other, strict=True):
                np.testing.assert_array_equal(column, right, err_msg=name)


@pytest.mark.slow
def test_records_are_resumed_at_any_step(root):
    def batches(count, **options):
        options = {"seed": 0, "scales": ((32, 64),), **options}
        made = objects.training("tfds/voc/2007", "trainval", 2, **options)
        return list(made.take(count).as_numpy_iterator())

    with tfds.testing.mock_data(num_examples=6, as_dataset_fn=records(root, "voc")):
        first, second, third = batches(3)
        (resumed,) = batches(1, start_step=2)
    assert first[0]["image"].shape[0] == 2
    for one, other in zip(tf.nest.flatten(resumed), tf.nest.flatten(third), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first[1]["key"], second[1]["key"])


@pytest.mark.slow
def test_years_are_taken_together(root):
    """One after the other in evaluation, and mixed in training, each image once an epoch."""
    content = records(root, "voc")

    def of_year(builder, *args, **kwargs):
        def named(row):
            name = tf.strings.join([builder.builder_config.name, row["image/filename"]], "/")
            return {**row, "image/filename": name}

        return content().map(named)

    def names(rows):
        return [row["name"].decode() for row in rows.as_numpy_iterator()]

    with tfds.testing.mock_data(num_examples=6, as_dataset_fn=of_year):
        source = objects.open_split("tfds/voc/2007+2012", "trainval")
        in_order = names(source.ordered())
        epoch = source.num_examples
        drawn = names(
            source.training(0, 0, epoch).map(lambda _, rows: rows).unbatch().take(3 * epoch)
        )
        again = names(source.training(0, 1, epoch).map(lambda _, rows: rows).unbatch().take(epoch))
        with pytest.raises(InputError, match="names a data set twice"):
            objects.open_split("tfds/voc/2007+2007", "trainval")
        with pytest.raises(InputError, match="COCO's years are of the same images"):
            objects.open_split("tfds/coco/2014+2017", "train")
        with pytest.raises(InputError, match="voc/2012's test split has no boxes"):
            objects.open_split("tfds/voc/2007+2012", "test")
    years = [name.split("/")[0] for name in in_order]
    assert years == ["2007"] * (epoch // 2) + ["2012"] * (epoch // 2)
    epochs = [drawn[n : n + epoch] for n in range(0, len(drawn), epoch)]
    assert all(sorted(names) == sorted(in_order) for names in epochs)
    assert epochs[1] == again  # of the seed and the step alone
    orders = {tuple(name.split("/")[0] for name in names) for names in epochs}
    assert len({*orders, tuple(years)}) > 1


@pytest.mark.slow
def test_records_with_wrong_boxes_are_refused(root):
    content = records(root, "coco")

    def inverted(*args, **kwargs):
        def turn(row):
            row["objects"]["bbox"] = tf.reverse(row["objects"]["bbox"], [1])
            return row

        return content().map(turn)

    with tfds.testing.mock_data(num_examples=6, as_dataset_fn=inverted):
        made = objects.evaluation("tfds/coco/2017", "val", 3)
        with pytest.raises(
            tf.errors.OpError, match=r"a\.png: a box is not finite, inverted or lea"
        ):
            list(made)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
