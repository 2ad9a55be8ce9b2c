"""Data sets of TensorFlow Datasets, written to disk in several shards."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from resnet_keras import pipelines
from resnet_keras.errors import InputError
from resnet_keras.pipelines import records, stream

EXAMPLES, VAL = 100, 20
VIEW = pipelines.View(image_size=8, scales=(10, 14), pca_noise=0.0)


def write(root, name, features, rows, **splits):
    """Prepares a data set; `rows` makes a row from a number, splits are lists of numbers."""
    specs = tf.nest.map_structure(tf.type_spec_from_value, rows(0))

    def split(numbers):
        return tf.data.Dataset.from_generator(
            lambda: (rows(n) for n in numbers), output_signature=specs
        )

    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={key: split(numbers) for key, numbers in splits.items()},
        data_dir=root,
        download_config=tfds.download.DownloadConfig(num_shards=5),
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """TFDS's folder with "tiny", whose images each have a grey of their own, in 5 shards."""

    def row(number):
        image = tf.fill([20, 16, 3], tf.constant(number, tf.uint8))
        return {"image": image, "label": tf.constant(number % 7, tf.int64)}

    path = tmp_path_factory.mktemp("tfds")
    features = {
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
        "label": tfds.features.ClassLabel(names=list("abcdefg")),
    }

    write(path, "tiny", features, row, train=range(EXAMPLES), validation=range(VAL))
    return path


def order(root, chunks, count, seed=0):
    """(chunk's number, names) of the first chunks."""
    rows = records.open_split("tiny", root, "train").training(seed, chunks).take(count)
    return [(int(number), list(names)) for number, _, _, names in rows.as_numpy_iterator()]


def files_of(names):
    """The record file of each example, without repetitions in a row."""
    files = [name.split(b"__")[0] for name in names]
    return [file for file, before in zip(files, [None, *files], strict=False) if file != before]


def test_each_epoch_visits_every_example_once_in_another_order(root):
    names = np.concatenate([names for _, names in order(root, stream.Chunks(16), 25)])
    epochs = [tuple(epoch) for epoch in names.reshape(4, EXAMPLES)]
    assert [len(set(epoch)) for epoch in epochs] == [EXAMPLES] * 4
    assert len(set(epochs)) == 4
    assert {len(set(files_of(epoch))) for epoch in epochs} == {5}


def test_each_epoch_reads_the_files_in_another_order(root, monkeypatch):
    monkeypatch.setattr(records, "SHUFFLED_RECORDS", 1)
    monkeypatch.setattr(records, "SHARDS_AT_ONCE", 1)
    names = np.concatenate([names for _, names in order(root, stream.Chunks(16), 25)])
    files = [tuple(files_of(epoch)) for epoch in names.reshape(4, EXAMPLES)]
    assert [len(epoch) for epoch in files] == [5] * 4
    assert len(set(files)) > 1


def test_the_order_depends_on_the_seed_only(root):
    first = order(root, stream.Chunks(16), 8)
    assert order(root, stream.Chunks(16), 8, seed=1) != first
    tf.random.set_seed(5)
    try:
        assert order(root, stream.Chunks(16), 8) == first
    finally:
        tf.random.set_seed(None)


@pytest.mark.parametrize(
    ("batch", "step"),
    [
        pytest.param(16, 1, marks=pytest.mark.slow),
        pytest.param(16, 9, marks=pytest.mark.slow),
        pytest.param(10, 3, marks=pytest.mark.slow),
        (10, 23),
        (48, 30),
    ],
)
def test_a_start_at_any_step_finds_the_same_chunks(root, batch, step):
    """Step 9 of 16 examples lies in the second epoch, steps 23 and 30 in the third and later."""
    chunks = stream.Chunks(batch, step)
    everything = order(root, stream.Chunks(batch), chunks.first + 3)
    assert order(root, chunks, 3) == everything[-3:]


@pytest.mark.slow
def test_shares_hold_what_the_whole_does(root):
    whole = order(root, stream.Chunks(64), 40)
    for turn in range(2):
        for shard in range(2):
            share = stream.Chunks(64, turn, shard, shards=2, stride=2)
            expected = [whole[n] for n in share.numbers().take(10).as_numpy_iterator()]
            assert order(root, share, 10) == expected


def batches(root, count, **options):
    made = pipelines.training("tfds/tiny", "train", 10, seed=3, data_dir=root, view=VIEW, **options)
    return list(made.take(count).as_numpy_iterator())


def test_batches_hold_images_with_their_labels(root):
    (images, labels), *_ = found = batches(root, 11)
    assert (images.shape, images.dtype) == ((10, 8, 8, 3), np.uint8)
    assert labels.dtype == np.int32
    greys = np.concatenate([images[:, 0, 0, 0] for images, _ in found])
    assert all((images == images[:, :1, :1]).all() for images, _ in found)
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), greys % 7)
    np.testing.assert_array_equal(np.sort(greys[:EXAMPLES]), np.arange(EXAMPLES))


def test_batches_from_any_step_are_byte_identical(root):
    reached = batches(root, 14)
    ((images, labels),) = batches(root, 1, start_step=13)
    np.testing.assert_array_equal(images, reached[13][0])
    np.testing.assert_array_equal(labels, reached[13][1])


def test_val_is_tfdss_validation_in_a_fixed_order(root):
    found = [
        list(
            pipelines.evaluation("tfds/tiny", "val", 8, data_dir=root, image_size=8, resize=8)
            .unbatch()
            .map(lambda image, label: (image[0, 0, 0], label))
            .as_numpy_iterator()
        )
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert sorted(grey for grey, _ in found[0]) == list(range(VAL))
    assert all(label == grey % 7 for grey, label in found[0])


def test_classes_are_those_of_the_data_set(root):
    assert records.open_split("tiny", root, "val").class_names == tuple("abcdefg")
    assert pipelines.info("tfds/tiny", root).num_classes == 7


def test_a_missing_split_names_those_there(root):
    with pytest.raises(InputError, match="tiny has no split 'test'; it has train, validation"):
        pipelines.open_split("tfds/tiny", "test", data_dir=root)


def test_an_unknown_data_set_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"Cannot load no_such_set .* data_dir=FOLDER") as error:
        pipelines.open_split("tfds/no_such_set", "train", data_dir=tmp_path)
    assert "\n" not in str(error.value)


def test_a_data_set_without_images_or_labels_is_refused(tmp_path):
    def row(number):
        return {"image": tf.zeros([4, 4, 3], tf.uint8), "label": tf.constant(float(number))}

    features = {
        "image": tfds.features.Image(shape=(4, 4, 3), encoding_format="png"),
        "label": tfds.features.Scalar(tf.float32),
    }
    write(tmp_path, "ages", features, row, train=range(5))
    with pytest.raises(InputError, match="ages is no data set of images with one label each"):
        pipelines.open_split("tfds/ages", "train", data_dir=tmp_path)


def test_imagenet_by_its_name():
    with tfds.testing.mock_data(num_examples=20):
        made = pipelines.training("imagenet2012", "train", 16, seed=0, image_size=64)
        ((images, labels),) = made.take(1).as_numpy_iterator()
        found = pipelines.evaluation("imagenet2012", "val", 16, image_size=64)
        assert [len(labels) for _, labels in found] == [16, 4]
    assert (images.shape, images.dtype) == ((16, 64, 64, 3), np.uint8)
    assert labels.max() < 1000
    assert pipelines.info("imagenet2012").num_classes == 1000


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
