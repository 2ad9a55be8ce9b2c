"""Streams of images with boxes: what they hold, in which order, and in batches of which size."""

import math

import numpy as np
import object_files
import pytest
import tensorflow as tf

from resnet_keras import pipelines
from resnet_keras.errors import InputError
from resnet_keras.pipelines import buckets, objects

SCALES = ((32, 64), (48, 64))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return object_files.write_coco(tmp_path_factory.mktemp("coco"))


def stream(root, batch_size=4, seed=3, **options):
    options = {"scales": SCALES, "device": None, **options}
    return objects.training("coco", "train", batch_size, seed=seed, data_dir=root, **options)


def taken(batches, count):
    return list(batches.take(count).as_numpy_iterator())


def assert_same(one, other):
    for first, second in zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.fixture(scope="module")
def batches(root):
    return taken(stream(root), 70)


def test_what_a_batch_holds(batches, root):
    spec = (
        {
            "image": tf.TensorSpec([4, None, None, 3], tf.uint8),
            "size": tf.TensorSpec([4, 2], tf.int32),
        },
        {
            "boxes": tf.TensorSpec([4, 3, 4], tf.float32),
            "labels": tf.TensorSpec([4, 3], tf.int32),
            "crowd": tf.TensorSpec([4, 3], tf.bool),
            "key": tf.TensorSpec([4, 2], tf.int32),
        },
    )
    assert stream(root).element_spec == spec
    for features, targets in batches:
        nothing = targets["labels"] < 0
        assert (targets["boxes"][nothing] == 0).all()
        assert not targets["crowd"][nothing].any()
        low, high = targets["boxes"][~nothing][:, :2], targets["boxes"][~nothing][:, 2:]
        assert (low >= 0).all()
        assert (high > low).all()
        limits = np.broadcast_to(features["size"][:, None, ::-1], [4, 3, 2])[~nothing]
        assert (high <= limits).all()
    keys = np.concatenate([targets["key"] for _, targets in batches])
    assert len(np.unique(keys, axis=0)) == len(keys)
    assert any(targets["crowd"].any() for _, targets in batches)
    assert any((targets["labels"] < 0).all(axis=1).any() for _, targets in batches)


def test_images_are_padded_with_zeros_to_one_of_the_buckets(batches):
    sides = buckets.buckets(SCALES)
    shapes = [features["image"].shape[1:3] for features, _ in batches]
    assert set(shapes) <= set(sides)
    assert len(set(shapes)) > 2
    for features, _ in batches:
        for image, (height, width) in zip(features["image"], features["size"], strict=True):
            assert not image[height:].any()
            assert not image[:, width:].any()
            assert image[:height, :width].any(axis=(1, 2)).all()


def test_the_step_alone_decides_about_a_batch(root, batches):
    for step in (63, 66):  # the last of a window of two, and the first
        ((features, targets),) = taken(stream(root, start_step=step), 1)
        assert_same((features, targets), batches[step])
    ((_, targets),) = taken(stream(root, seed=4), 1)
    assert not np.array_equal(targets["key"], batches[0][1]["key"])


def test_parts_and_shards_are_parts_of_the_batch(root, batches):
    parts = taken(stream(root, parts=2, start_step=63), 2)
    whole = tf.nest.map_structure(lambda *columns: np.concatenate(columns), *parts)
    assert_same(whole, batches[63])
    share = taken(stream(root, shard=(1, 2), start_step=61), 3)
    for found, expected in zip(share, batches[61:64], strict=True):
        assert_same(found, tf.nest.map_structure(lambda x: x[2:], expected))


def test_a_window_holds_each_position_once():
    sizes = np.random.default_rng(0).integers(20, 100, [64, 2])
    scales = np.tile([[32, 64]], [64, 1])
    wanted = buckets.resized(sizes, scales)
    sides = buckets.buckets([(32, 64)])
    assert sides == [(32, 32), (32, 64), (64, 32), (64, 64)]
    order, bucket = buckets.dealt(wanted, 4, sides, tf.constant([1, 2], tf.int64))
    np.testing.assert_array_equal(np.sort(order), np.arange(64))
    wanted = wanted.numpy()[order.numpy()].reshape([16, 4, 2])
    bucket = bucket.numpy().reshape([16, 4, 2])
    assert (bucket == bucket[:, :1]).all()  # one for each batch
    assert (wanted <= bucket).all()
    square = (bucket == 64).all(axis=(1, 2)).sum()
    assert square <= 2  # only where shapes meet


def test_an_epoch_visits_every_image_once(root):
    counts = [len(found) for _, found in object_files.COCO.values()]
    made = stream(root, batch_size=8, scales=((32, 64),), flip=False)
    source = objects.open_split("coco", "train", data_dir=root)
    _, rows = next(iter(source.training(0, 0, 24).as_numpy_iterator()))
    for epoch in rows["name"].reshape([3, 8]):
        assert len(set(epoch)) == 8
    assert len({tuple(epoch) for epoch in rows["name"].reshape([3, 8])}) > 1
    window = taken(made, 64)
    found = sum((targets["labels"] >= 0).sum() for _, targets in window)
    assert found == 64 * sum(counts)


def bilinear(image, height, width):
    """Literally: of each pixel's middle, between the four pixels around."""

    def places(length, wanted):
        middle = np.clip((np.arange(wanted) + 0.5) * length / wanted - 0.5, 0, length - 1)
        low = np.floor(middle).astype(int)
        return low, np.minimum(low + 1, length - 1), middle - low

    top, bottom, down = places(image.shape[0], height)
    left, right, across = places(image.shape[1], width)
    image = image.astype(float)
    rows = image[top] * (1 - down)[:, None, None] + image[bottom] * down[:, None, None]
    return rows[:, left] * (1 - across)[:, None] + rows[:, right] * across[:, None]


def test_pixels_and_boxes_are_scaled_and_mirrored_together(root, batches):
    """Against numpy, from the files on: each image is found by the size of its first box."""
    seen = set()
    originals = {
        (number, mirrored): object_files.image(number, *size)[:, :: -1 if mirrored else 1]
        for number, (size, _) in enumerate(object_files.COCO.values())
        for mirrored in (False, True)
    }
    rows = list(object_files.COCO.values())
    for features, targets in batches[:24]:
        for n, (height, width) in enumerate(features["size"]):
            image = features["image"][n, :height, :width].astype(float)
            errors = {
                which: np.abs(bilinear(original, height, width) - image).max()
                for which, original in originals.items()
            }
            number, mirrored = min(errors, key=errors.__getitem__)
            assert errors[number, mirrored] <= 0.51
            seen.add((number, mirrored))
            size, found = rows[number]
            assert (height, width) in {scaled(size, scale) for scale in SCALES}
            for place, (_, (x, y, w, h), crowd) in enumerate(found):
                box = np.array([x, y, x + w, y + h], float)
                box *= np.tile([width / size[1], height / size[0]], 2)
                if mirrored:
                    box[[0, 2]] = width - box[[2, 0]]
                np.testing.assert_allclose(targets["boxes"][n, place], box, rtol=1e-6, atol=1e-5)
                assert targets["crowd"][n, place] == bool(crowd)
            assert (targets["labels"][n] >= 0).sum() == len(found)
    assert len(seen) > 12


def scaled(size, scale):
    times = min(scale[0] / min(size), scale[1] / max(size))
    return tuple(math.floor(side * times + 0.5) for side in size)


def test_evaluation_visits_every_image_once_with_what_is_scored(root):
    made = objects.evaluation("coco", "train", 3, data_dir=root, scale=(32, 64), device=None)
    assert len(made) == 3
    batches = list(made.as_numpy_iterator())
    assert [len(features["size"]) for features, _ in batches] == [3, 3, 2]
    found = {}
    for features, targets in batches:
        assert features["image"].shape[1:3] in buckets.buckets([(32, 64)])
        for n, key in enumerate(targets["image_id"]):
            found[int(key)] = {name: column[n] for name, column in targets.items()}
            number = list(object_files.COCO).index(key)
            height, width = features["size"][n]
            expected = bilinear(
                object_files.image(number, *object_files.COCO[key][0]), height, width
            )
            assert np.abs(features["image"][n, :height, :width] - expected).max() <= 0.51
    assert sorted(found) == sorted(object_files.COCO)
    for key, (_, rows) in object_files.COCO.items():
        target = found[key]
        expected = [[x, y, x + w, y + h] for _, (x, y, w, h), _ in rows]
        np.testing.assert_array_equal(
            target["original_boxes"][: len(rows)], np.reshape(expected, [-1, 4])
        )
        np.testing.assert_array_equal(
            target["labels"][: len(rows)], [(3, 7, 90).index(row[0]) for row in rows]
        )
        np.testing.assert_array_equal(
            target["area"][: len(rows)], [r[1][2] * r[1][3] for r in rows]
        )
        back = target["boxes"] / np.tile(target["scale"], 2)
        np.testing.assert_allclose(back, target["original_boxes"], rtol=1e-5, atol=1e-5)
        assert (target["labels"][len(rows) :] == -1).all()


def test_replicas_share_evaluation_equally(root):
    options = {"data_dir": root, "scale": (32, 64), "device": None, "replicas": 2}
    whole = list(objects.evaluation("coco", "train", 3, **options).as_numpy_iterator())
    assert [list(weights) for *_, weights in whole] == [[1] * 4] * 2
    whole = list(objects.evaluation("coco", "train[:5]", 3, **options).as_numpy_iterator())
    assert [list(weights) for *_, weights in whole] == [[1] * 4, [1, 0, 0, 0]]
    second = objects.evaluation("coco", "train[:5]", 3, shard=(1, 2), **options)
    for found, expected in zip(second.as_numpy_iterator(), whole, strict=True):
        assert_same(found, tf.nest.map_structure(lambda x: x[2:], expected))


def test_a_broken_image_teaches_nothing_and_is_told_of(tmp_path, capfd):
    root = object_files.write_coco(tmp_path / "coco", {3: ((40, 60), [(3, [1, 1, 9, 9], 0)])})
    (root / "train" / "3.png").write_bytes(b"no image")
    (features, targets), *_ = taken(stream(root, batch_size=2, scales=((32, 64),)), 2)
    assert not features["image"].any()
    np.testing.assert_array_equal(targets["boxes"], [[[0, 0, 48, 32]]] * 2)
    assert targets["crowd"].all()
    said = capfd.readouterr().err
    assert said.count("cannot decode") == 1
    assert "3.png; nothing is learnt of them (1 such images so far, 100 allowed)" in said
    with pytest.raises(tf.errors.OpError, match="more than 0 images cannot be decoded"):
        taken(stream(root, batch_size=2, max_corrupt=0), 1)
    with pytest.raises(tf.errors.OpError, match=r"cannot decode .*3\.png"):
        list(objects.evaluation("coco", "train", 1, data_dir=root))


def test_an_image_of_another_size_than_annotated_is_refused(tmp_path):
    root = object_files.write_coco(tmp_path / "coco", {3: ((40, 60), [])})
    (root / "train" / "3.png").write_bytes(object_files.png(0, 60, 40))
    with pytest.raises(
        tf.errors.OpError, match=r"3\.png is not 60 pixels wide and 40 high, as its"
    ):
        taken(stream(root, batch_size=2), 1)


def test_large_jpegs_are_shrunk_while_they_are_decoded(tmp_path):
    root = object_files.write_coco(tmp_path / "coco", {3: ((99, 201), [(3, [0, 0, 201, 99], 0)])})
    rows, columns = np.mgrid[:99, :201]
    smooth = np.stack([rows, columns, (rows + columns) // 2], axis=-1).astype(np.uint8)
    (root / "train" / "3.png").write_bytes(tf.io.encode_jpeg(smooth, quality=100).numpy())
    ((features, targets),) = taken(stream(root, batch_size=1, flip=False, scales=((24, 64),)), 1)
    np.testing.assert_array_equal(features["size"], [[24, 49]])
    np.testing.assert_array_equal(targets["boxes"][0, 0], [0, 0, 49, 24])
    expected = bilinear(smooth, 24, 49)
    assert np.abs(features["image"][0, :24, :49] - expected).max() < 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": 3}, "no 3 equal parts"),
        ({"shard": (2, 2)}, "There is no shard 2 of 2"),
        ({"shard": (0, 3)}, "make it a multiple of 3"),
        ({"batch_size": 0}, "must be positive"),
        ({"start_step": -1}, "must not be negative"),
        ({"scales": ((64, 32),)}, "A scale is"),
        ({"class_names": ("cup", "fork", "plate")}, "has the classes cup, plate, fork, and not"),
    ],
)
def test_what_cannot_be_is_refused(root, options, message):
    with pytest.raises(InputError, match=message):
        stream(root, **options)


def test_other_names_of_data_sets_are_refused():
    with pytest.raises(InputError, match=r"Unknown dataset 'kitti'.* coco, voc"):
        objects.training("kitti", "train", 1, seed=0)
    assert pipelines.objects.has_objects("tfds/voc/2007")
    assert not pipelines.objects.has_objects("tfds/cifar10")


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
