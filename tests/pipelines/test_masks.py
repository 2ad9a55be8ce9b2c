"""Streams of images with masks: what they hold, in which order, and that both move together."""

import json

import mask_files
import numpy as np
import object_files
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from resnet_keras import pipelines
from resnet_keras.errors import InputError, told
from resnet_keras.pipelines import maps, masks, png, scenes, shapes

IGNORED = 255


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return mask_files.write_folder(tmp_path_factory.mktemp("folder"))


def stream(root, batch_size=4, seed=3, **options):
    options = {"crop_size": (32, 48), "device": None, "split": "trainval", **options}
    split = options.pop("split")
    return masks.training("folder", split, batch_size, seed=seed, data_dir=root, **options)


def taken(batches, count):
    return list(batches.take(count).as_numpy_iterator())


def assert_same(one, other):
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.fixture(scope="module")
def batches(root):
    return taken(stream(root), 8)


def test_what_a_batch_holds(batches, root):
    spec = (
        tf.TensorSpec([4, 32, 48, 3], tf.uint8),
        tf.TensorSpec([4, 32, 48], tf.uint8),
    )
    assert stream(root).element_spec == spec
    labels = np.concatenate([batch[1] for batch in batches])
    assert set(np.unique(labels)) == {0, 1, 2, IGNORED}
    assert masks.open_split("folder", "val", data_dir=root).class_names == mask_files.CLASSES


def test_the_step_alone_decides_about_a_batch(root, batches):
    for found, wanted in zip(taken(stream(root, start_step=5), 3), batches[5:], strict=True):
        assert_same(found, wanted)
    (other,) = taken(stream(root, seed=4), 1)
    assert not np.array_equal(other[0], batches[0][0])


@pytest.mark.slow
def test_parts_and_shards_are_parts_of_the_batch(root, batches):
    parts = taken(stream(root, parts=2, start_step=3), 2)
    assert_same([np.concatenate(columns) for columns in zip(*parts, strict=True)], batches[3])
    share = taken(stream(root, shard=(1, 2), start_step=5), 3)
    for found, wanted in zip(share, batches[5:8], strict=True):
        assert_same(found, [column[2:] for column in wanted])
    both = taken(stream(root, shard=(1, 2), parts=2, start_step=3), 2)
    wanted = [column[[1, 3]] for column in batches[3]]
    assert_same([np.concatenate(columns) for columns in zip(*both, strict=True)], wanted)


def test_image_and_mask_move_together(tmp_path):
    """The image's red level tells each pixel's label: the two must agree after every draw."""
    tones = np.array([0, 80, 160, 240], np.uint8)
    names = []
    for number in range(6):
        labels = np.kron(np.random.default_rng(number).integers(0, 4, (4, 5)), np.ones([16, 16]))
        labels = labels.astype(np.uint8)
        image = np.repeat(tones[labels][..., None], 3, 2)
        for folder, content in (
            ("images", tf.io.encode_png(image).numpy()),
            ("masks", png.encode(labels)),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{number}.png").write_bytes(content)
        names.append(number)
    agree = []
    for images, labels in taken(stream(tmp_path, crop_size=(96, 64)), 10):
        beside = labels == IGNORED
        assert (images[beside] == maps.FILL).all()
        nearest = np.abs(images[..., :1].astype(int) - tones.astype(int)).argmin(-1)
        agree.append((nearest == labels)[~beside])
    # At the borders of blocks bilinear pixels are of neither tone.
    assert np.concatenate(agree).mean() > 0.95
    assert all(part.size for part in agree)


def test_known_pixels():
    """Twice as large, from (1, 2) on, 4 x 5 of the 6 x 8 pixels and one row and column beside."""
    image = np.zeros([3, 4, 3], np.uint8)
    image[..., 0] = 10 * np.arange(12).reshape([3, 4])
    mask = np.arange(12, dtype=np.uint8).reshape([3, 4])
    moved, labels = maps.window(image, mask, tf.constant([6, 8]), tf.constant([3, 4]), (4, 5))
    f = IGNORED
    np.testing.assert_array_equal(
        labels, [[6, 6, 7, 7, f], [10, 10, 11, 11, f], [10, 10, 11, 11, f], [f, f, f, f, f]]
    )
    # Pixel (3, 4) lies at (1.25, 1.75) of the image: 50 + 7.5 + 10.
    np.testing.assert_allclose(moved[0, :4, 0], [68, 73, 78, 80], atol=1)
    np.testing.assert_allclose(moved[2, :4, 0], [98, 103, 108, 110], atol=1)
    assert (moved.numpy()[3] == maps.FILL).all()
    assert (moved.numpy()[:, 4] == maps.FILL).all()


@pytest.mark.parametrize("shown", [(37, 53), (61, 44), (20, 25)])
def test_a_window_is_that_of_the_whole_image_resized(shown):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, [37, 53, 3], np.uint8)
    mask = rng.integers(0, 21, [37, 53], np.uint8)
    whole = scenes.resize(tf.constant(image), *shown).numpy().astype(int)
    labels = tf.image.resize(mask[..., None], shown, "nearest").numpy()[..., 0]
    corner, size = (5, 7), (11, 13)
    part, cut = maps.window(image, mask, tf.constant(shown), tf.constant(corner), size)
    where = tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))
    assert np.abs(part.numpy() - whole[where]).max() <= 1  # rounding
    if shown[0] != 20:  # where TensorFlow rounds in float32, at middles of 37 / 20 pixels
        np.testing.assert_array_equal(cut, labels[where])


def test_evaluation_shows_every_image_once_and_whole(root):
    ones = list(
        masks.evaluation("folder", "trainval", 1, data_dir=root, device=None).as_numpy_iterator()
    )
    assert len(ones) == len(mask_files.SIZES)
    for number, ((images, labels), size) in enumerate(
        zip(ones, mask_files.SIZES.values(), strict=True)
    ):
        np.testing.assert_array_equal(images[0], object_files.image(number, *size))
        np.testing.assert_array_equal(labels[0], mask_files.mask(number, *size))
    together = masks.evaluation("folder", "trainval", 4, data_dir=root, device=None, replicas=2)
    (first, second) = together.as_numpy_iterator()
    assert first[0].shape == (4, 60, 90, 3)
    assert (first[0][0, 40:] == maps.FILL).all()
    assert (first[1][0, 40:] == IGNORED).all()
    np.testing.assert_array_equal(first[1][0, :40, :60], ones[0][1][0])
    assert second[1].shape[0] == 4
    assert (second[1][2:] == IGNORED).all()  # copies
    assert not (second[1][1] == IGNORED).all()


def test_evaluation_at_a_scale(root):
    ((images, labels), *_) = masks.evaluation(
        "folder", "trainval", 1, data_dir=root, scale=(20, 40), device=None
    ).as_numpy_iterator()
    assert images.shape == (1, 20, 30, 3)
    np.testing.assert_array_equal(labels[0], mask_files.mask(0, 40, 60)[1::2, 1::2])


def test_shapes_have_masks():
    source = masks.open_split("shapes", "val[:3]")
    assert source.class_names == ("background", *shapes.CLASSES)
    (batch,) = masks.evaluation("shapes", "val[:3]", 3, device=None).as_numpy_iterator()
    for image, mask, one in zip(*batch, shapes.examples("val[:3]"), strict=True):
        np.testing.assert_array_equal(image, one.image)
        np.testing.assert_array_equal(mask, one.mask)
    made = masks.training("shapes", "train[:8]", 2, seed=0, device=None)
    assert made.element_spec[0].shape == [2, 128, 128, 3]


def test_voc(tmp_path):
    mask_files.write_voc(tmp_path / "VOCdevkit/VOC2012")
    source = masks.open_split("voc", "val", data_dir=tmp_path)
    assert (source.num_examples, len(source.class_names)) == (2, 21)
    assert source.class_names[:2] == ("background", "aeroplane")
    found = list(
        masks.evaluation("voc", "val", 1, data_dir=tmp_path, device=None).as_numpy_iterator()
    )
    np.testing.assert_array_equal(found[1][1][0], mask_files.mask(5, 90, 30, 21))
    with pytest.raises(InputError, match=r"no ImageSets/Segmentation/test.txt; it has train, "):
        masks.open_split("voc", "test", data_dir=tmp_path)


def test_coco(tmp_path):
    mask_files.write_coco(tmp_path)
    source = masks.open_split("coco", "train", data_dir=tmp_path)
    assert source.class_names == ("background", "cup", "plate", "fork")
    found = [
        labels[0]
        for _, labels in masks.evaluation(
            "coco", "train", 1, data_dir=tmp_path, device=None
        ).as_numpy_iterator()
    ]
    numbers = {key: place for place, key in enumerate(object_files.COCO)}
    crowd = found[numbers[5]]
    assert (crowd[12, 5], crowd[20, 30], crowd[5, 5], crowd[0, 39]) == (3, IGNORED, 3, 0)
    # A cup covers a plate that is the whole image: which is seen there, nobody knows.
    both = found[numbers[11]]
    assert (both[0, 0], both[15, 20]) == (2, IGNORED)
    assert (found[numbers[2]] == 0).all()
    shared = masks.open_split("coco", "train[50%:]", data_dir=tmp_path)
    for row in shared.ordered():
        number = numbers[int(bytes(row["name"].numpy()).split(b"/")[-1][:-4])]
        np.testing.assert_array_equal(shared.mask(row), found[number])


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        (None, "has no segmentation"),
        ([[1, 2, 3, 4]], "has no segmentation"),
        ([[1, 2, 3, 4, "x", 6]], "has no segmentation"),
        ({"size": [4, 6], "counts": [24]}, r"of the size \[4, 6\]"),
        ({"size": [40, 60], "counts": [24]}, "do not add up"),
        ({"size": [40, 60], "counts": "??"}, "run lengths that"),
    ],
)
def test_faulty_outlines_are_told(tmp_path, segmentation, words):
    mask_files.write_coco(tmp_path)
    path = tmp_path / "annotations/instances_train.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"] = segmentation
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"instances_train.json: annotation 100 .*{words}"):
        masks.open_split("coco", "train", data_dir=tmp_path)


def test_folders_of_splits(tmp_path):
    names = list(mask_files.SIZES)
    mask_files.write_pairs(tmp_path / "one/images/train", tmp_path / "one/masks/train", names[:4])
    mask_files.write_pairs(tmp_path / "one/images/val", tmp_path / "one/masks/val", names[4:])
    mask_files.write_pairs(tmp_path / "two/train/images", tmp_path / "two/train/masks", names[:4])
    for folder in ("one", "two"):
        source = masks.open_split("folder", "train", data_dir=tmp_path / folder)
        assert (source.num_examples, source.class_names) == (4, ("0", "1", "2"))
    assert masks.open_split("folder", "val", data_dir=tmp_path / "one").num_examples == 2
    with pytest.raises(InputError, match="hold out a share of train"):
        masks.open_split("folder", "val", data_dir=tmp_path / "two")


def test_shares_have_no_image_in_common(root):
    def names(split):
        source = masks.open_split("folder", split, data_dir=root)
        return {bytes(row["name"].numpy()) for row in source.ordered()}

    assert len(names("train")) == 5
    assert len(names("val")) == 1
    assert names("train") | names("val") == names("trainval")
    assert names("trainval[:50%]") | names("trainval[50%:]") == names("trainval")


@pytest.mark.slow
def test_records_of_tfds(tmp_path):
    """Masks of 1 to 3 become 0 to 2."""
    whole = {
        name: mask_files.mask(n, *size) for n, (name, size) in enumerate(mask_files.SIZES.items())
    }

    shortage = 0

    def rows(self, *args, **kwargs):
        def generate():
            for number, (name, labels) in enumerate(whole.items()):
                shifted = np.where(labels == IGNORED, labels, labels + 1 - shortage)
                yield {
                    "image": object_files.png(number, *labels.shape),
                    "segmentation_mask": tf.io.encode_png(shifted[..., None]).numpy(),
                    "tfds_id": name,
                }

        spec = dict.fromkeys(
            ("image", "segmentation_mask", "tfds_id"), tf.TensorSpec([], tf.string)
        )
        return tf.data.Dataset.from_generator(generate, output_signature=spec)

    with tfds.testing.mock_data(num_examples=6, as_dataset_fn=rows):
        options = {"device": None, "data_dir": str(tmp_path)}
        made = masks.evaluation("tfds/oxford_iiit_pet", "test", 1, **options)
        for (_, labels), wanted in zip(made.as_numpy_iterator(), whole.values(), strict=True):
            np.testing.assert_array_equal(labels[0], wanted)
        options |= {"seed": 0, "crop_size": (16, 16)}
        made = taken(masks.training("tfds/oxford_iiit_pet", "train", 2, **options), 4)
        later = masks.training("tfds/oxford_iiit_pet", "train", 2, start_step=2, **options)
        for found, wanted in zip(taken(later, 2), made[2:], strict=True):
            assert_same(found, wanted)
        shortage = 1
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            taken(masks.evaluation("tfds/oxford_iiit_pet", "test", 1, device=None), 1)
        assert "has the label 0, and those of oxford_iiit_pet begin at 1" in str(told(caught.value))


def test_unknown_data_sets():
    assert pipelines.masks.has_masks("tfds/oxford_iiit_pet")
    assert not masks.has_masks("tfds/voc/2012")
    with pytest.raises(InputError, match=r"tfds/voc/2012 has no masks.*dataset=voc"):
        masks.open_split("tfds/voc/2012", "train")
    with pytest.raises(InputError, match="Did you mean 'shapes'"):
        masks.open_split("shape", "train")
    with pytest.raises(InputError, match="annotations=FILE is for coco"):
        masks.open_split("shapes", "train", annotations="x.json")


def told_by(root, **options):
    """What the user is told, when the data set is opened or read."""
    try:
        taken(stream(root, **options), 6)
    except InputError as error:
        return str(error)
    except tf.errors.OpError as error:
        return str(told(error))
    return ""


def test_an_image_that_cannot_be_decoded_is_left_out(tmp_path, capfd):
    mask_files.write_folder(tmp_path)
    (tmp_path / "images/a.png").write_bytes(b"nothing")
    assert told_by(tmp_path) == ""
    assert "nothing is learnt of them" in capfd.readouterr().err
    assert "more than 0 images cannot be decoded" in told_by(tmp_path, max_corrupt=0)
    made = masks.evaluation("folder", "trainval", 1, data_dir=tmp_path, device=None)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"cannot decode .*a.png"):
        list(made)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: (root / "masks/b.png").unlink(), "b.png: the mask is missing"),
        (lambda root: (root / "images/c.png").unlink(), "c.png: the image is missing"),
        (
            lambda root: (root / "masks/b.png").write_bytes(png.encode(np.zeros([40, 60]))),
            "b.png is not 60 pixels wide and 40 high, as its mask",
        ),
        (
            lambda root: (root / "masks/b.png").write_bytes(png.encode(np.full([60, 40], 3))),
            "b.png has the label 3, and there are 3 classes",
        ),
        (lambda root: (root / "masks/b.png").write_bytes(b"no"), "masks/b.png is no PNG file"),
        (
            lambda root: (root / "masks/b.png").write_bytes(object_files.png(1, 60, 40)),
            "masks/b.png is a picture of colours",
        ),
        (
            lambda root: (root / "images/a.jpg").write_bytes(b""),
            "a.jpg and ",
        ),
        (lambda root: (root / "classes.txt").write_text("one\n"), "names 1 classes"),
        (lambda root: (root / "classes.txt").write_text("a\nb\na\n"), "has the class a twice"),
    ],
)
def test_what_is_wrong_with_people_s_own_is_told(tmp_path, change, words):
    mask_files.write_folder(tmp_path)
    change(tmp_path)
    assert words in told_by(tmp_path)


def test_masks_of_0_and_255_are_told(tmp_path):
    mask_files.write_folder(tmp_path, classes=None)
    for path in (tmp_path / "masks").iterdir():
        labels = png.labels(path.read_bytes(), str(path)).numpy()
        path.write_bytes(png.encode(np.where(labels > 0, 255, 0)))
    assert "written with 0 and 1, not with 0 and 255" in told_by(tmp_path)


def test_mistakes_in_arguments(root, tmp_path):
    for options, words in (
        ({"crop_size": (0, 4)}, "crop_size"),
        ({"scales": (2.0, 0.5)}, "range of factors"),
        ({"scale": (60, 40)}, "shorter side"),
        ({"shard": (0, 3)}, "cannot be shared out"),
        ({"split": "test"}, "the splits are train, val, trainval"),
        ({"split": "train[:50%]"}, "take shares of trainval"),
        ({"class_names": ("a", "b", "c")}, "and not a, b, c in this order"),
    ):
        assert words in told_by(root, **options)
    assert "holds no folders images/ and masks/" in told_by(tmp_path)
    assert "There is no folder" in told_by(tmp_path / "nothing")
    with pytest.raises(InputError, match="Give data_dir=FOLDER"):
        masks.open_split("folder", "train")


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
