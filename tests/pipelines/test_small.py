"""Small images in memory: MNIST's files, a user's arrays and TensorFlow Datasets' own."""

import gzip
import itertools
import struct

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from resnet_keras import pipelines, train, zoo
from resnet_keras.classification.classifier import class_names
from resnet_keras.errors import InputError
from resnet_keras.pipelines import idx

SIDE = 12


def made(examples, seed, side=SIDE, classes=2):
    """Grey images with a bright stripe across, whose place is the class; labels (examples,)."""
    draws = np.random.default_rng(seed)
    labels = (np.arange(examples) % classes).astype("uint8")
    images = draws.integers(0, 60, (examples, side, side), "uint8")
    rows = (labels * (side // classes))[:, None] + np.arange(2)
    images[np.arange(examples)[:, None], rows] = 230
    return images, labels


def packed(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def write_idx(folder, train=40, test=20, zipped=True, **given):
    """MNIST's four files."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, examples, seed in (("train", train, 0), ("t10k", test, 1)):
        for kind, array in zip(
            ("images-idx3", "labels-idx1"), made(examples, seed, **given), strict=True
        ):
            path = folder / f"{split}-{kind}-ubyte"
            if zipped:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(packed(array)))
            else:
                path.write_bytes(packed(array))
    return folder


def write_npz(path, **changed):
    (x_train, y_train), (x_test, y_test) = made(40, 0), made(20, 1)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    np.savez(path, **{**arrays, **changed})
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_files_are_what_was_written(tmp_path, zipped):
    folder = write_idx(tmp_path, zipped=zipped)
    images, labels = pipelines.arrays("arrays", "trainval", data_dir=str(folder))
    grey, numbers = made(40, 0)
    np.testing.assert_array_equal(images, np.repeat(grey[..., None], 3, axis=-1))
    np.testing.assert_array_equal(labels, numbers)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    info = pipelines.info("arrays", folder)
    assert (info.num_classes, info.image_size, info.class_names) == (2, SIDE, ("0", "1"))
    assert info.mean == pytest.approx((grey.mean(),) * 3)
    assert info.std == pytest.approx((grey.std(),) * 3)
    sizes = {
        s: len(pipelines.arrays("arrays", s, data_dir=str(folder))[1])
        for s in ("train", "val", "test")
    }
    assert sizes == {"train": 36, "val": 4, "test": 20}
    _, held_out = pipelines.arrays("arrays", "val", data_dir=str(folder))
    assert sorted(held_out) == [0, 0, 1, 1]  # each class has its share


def test_arrays_of_a_user_may_be_in_colour_and_have_names(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (40, SIDE, SIDE, 3), "uint8")
    names = np.array(["dog", "cat"])[np.arange(40) % 2]
    path = write_npz(
        tmp_path / "mine.npz", x_train=colour, y_train=names, x_test=colour, y_test=names[:, None]
    )
    for place in (path, tmp_path):  # the file, or the folder that it is alone in
        images, labels = pipelines.arrays("arrays", "test", data_dir=str(place))
        np.testing.assert_array_equal(images, colour)
        assert labels[:2].tolist() == [1, 0]
    assert class_names("arrays", "test", str(path)) == ("cat", "dog")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x_train": np.zeros((40, 12, 9), "uint8")}, "12 x 9 pixels: they must be square"),
        ({"x_train": np.zeros((40, 12, 12), "float32")}, "must be uint8, pixels from 0 to 255"),
        ({"x_train": np.zeros((40, 144), "uint8")}, r"not of shape \(40, 144\)"),
        ({"x_test": np.zeros((20, 8, 8), "uint8")}, "of side 12, and x_test of .* of 8"),
        ({"y_train": np.zeros(39, "uint8")}, "for each of 40 images"),
        ({"y_train": np.zeros(40, "uint8")}, "has a class 1 that y_train of .* lacks"),
        ({"y_test": np.full(20, 0.5)}, "a whole number or text"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changed, message):
    path = write_npz(tmp_path / "mine.npz", **changed)
    with pytest.raises(InputError, match=message):
        pipelines.arrays("arrays", "train", data_dir=str(path))


def test_files_that_are_no_data_set_are_refused(tmp_path):
    for folder in (None, str(tmp_path)):
        with pytest.raises(InputError, match="arrays needs data_dir, a folder that has the IDX"):
            pipelines.check_names("arrays", ("train",), data_dir=folder)
    folder = write_idx(tmp_path / "idx")
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match="has IDX files, but no t10k-labels-idx1-ubyte and no"):
        pipelines.check_names("mnist", ("train",), data_dir=str(folder))
    write_npz(tmp_path / "a.npz")
    write_npz(tmp_path / "b.npz")
    side = np.zeros((40, 28, 28), "uint8")
    ten = np.arange(40) % 10
    one = {"x_train": side, "x_test": side[:20], "y_train": ten + 1, "y_test": ten[:20] + 1}
    path = write_npz(tmp_path / "idx" / "from_one.npz", **one)
    with pytest.raises(InputError, match=r"has the classes 1, 2, .* and mnist numbers them from 0"):
        pipelines.arrays("mnist", "train", data_dir=str(path))
    with pytest.raises(InputError, match=r"a.npz and b.npz: name the one"):
        pipelines.arrays("arrays", "train", data_dir=str(tmp_path))
    with pytest.raises(
        InputError, match=r'of side 12 in 2 classes, and mnist .*"arrays" takes any'
    ):
        pipelines.arrays("mnist", "train", data_dir=str(tmp_path / "a.npz"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no IDX file"),
        (b"\x89PNG....", "no IDX file"),
        (struct.pack(">HBBI", 0, 13, 1, 0), "no IDX file of bytes"),  # float32
        (struct.pack(">HBBI", 0, 8, 3, 5), "ends within its header"),
        (struct.pack(">HBB2I", 0, 8, 2, 5, 5) + bytes(24), "24 bytes .* of 5 x 5: it is not whole"),
        (gzip.compress(b"\0\0\x08\x01", mtime=0)[:-3], "cannot be read"),
    ],
    ids=["empty", "png", "floats", "header", "short", "gzip"],
)
def test_broken_idx_files_are_refused(tmp_path, content, message):
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        idx.read(path)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "svhn_cropped"])
def test_known_names_are_read_by_tensorflow_datasets_or_from_files(tmp_path, name):
    known = pipelines.DATASETS[name]
    with tfds.testing.mock_data(num_examples=30):
        images, labels = pipelines.arrays(name, "trainval", data_dir=str(tmp_path))
    assert images.shape == (30, known.image_size, known.image_size, 3)
    assert labels.max() < known.num_classes == len(class_names(name, "test") or ())
    folder = write_idx(tmp_path / "files", side=known.image_size, classes=10)
    images, _ = pipelines.arrays(name, "test", data_dir=str(folder))
    np.testing.assert_array_equal(images[..., 1], made(20, 1, known.image_size, 10)[0])
    with pytest.raises(InputError, match=f"{name} images have side {known.image_size}"):
        pipelines.check_names(name, ("train",), image_size=64)


def test_any_small_data_set_of_tensorflow_datasets(tmp_path):
    write_npz(tmp_path / "stray.npz")
    with tfds.testing.mock_data(num_examples=30):
        images, labels = pipelines.arrays("arrays/kmnist", "test", data_dir=str(tmp_path))
        info = pipelines.info("arrays/kmnist", str(tmp_path))
        with pytest.raises(InputError, match=r'of one size .* "tfds/imagenette" takes any'):
            pipelines.info("arrays/imagenette", str(tmp_path))
    assert images.shape == (30, 28, 28, 3)
    assert (images[..., 0] == images[..., 2]).all()
    assert (info.num_classes, len(labels), info.class_names[0]) == (10, 30, "o")
    assert not info.flip  # letters
    with pytest.raises(InputError, match="Did you mean 'arrays/kmnist'"):
        pipelines.info("kmnist")


@pytest.mark.parametrize(
    ("there", "words", "sizes"),
    [
        (("train",), "has no test split: the last tenth of train is taken for it", (27, 3)),
        (("train", "validation"), "has no test split: validation is taken for it", (30, 30)),
        (("other",), "has no split train: it has other", None),
    ],
)
def test_what_is_tested_on_without_a_test_split(there, words, sizes, tmp_path):
    def rows():
        for number in range(30):
            pixels = tf.fill([SIDE, SIDE, 3], tf.constant(number, tf.uint8))
            yield {"image": pixels, "label": tf.constant(number % 2, tf.int64)}

    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(SIDE, SIDE, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=["cats", "dogs"]),
        }
    )
    signature = {"image": tf.TensorSpec(None, tf.uint8), "label": tf.TensorSpec((), tf.int64)}
    name = f"pets_{len(there)}_{there[0]}"
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=features,
        split_datasets={
            split: tf.data.Dataset.from_generator(rows, output_signature=signature)
            for split in there
        },
        data_dir=tmp_path,
    )

    def read():
        splits = ("trainval", "test")
        read = (pipelines.arrays(f"arrays/{name}", s, data_dir=str(tmp_path))[0] for s in splits)
        return [*map(len, read)]

    if sizes is None:
        with pytest.raises(InputError, match=words):
            read()
    else:
        with pytest.warns(UserWarning, match=words):
            assert read() == list(sizes)


def test_files_with_a_dot_before_idx(tmp_path):
    folder = write_idx(tmp_path / "data")
    expected, _ = pipelines.arrays("arrays", "trainval", data_dir=str(folder))
    for path in [*folder.iterdir()]:
        path.rename(folder / path.name.replace("-idx", ".idx"))
    images, _ = pipelines.arrays("arrays", "trainval", data_dir=str(folder))
    np.testing.assert_array_equal(images, expected)


def shown(folder, dataset="arrays", **given):
    """Images of two steps of a training stream, and those they were made of, by their labels."""
    stream = pipelines.training(
        dataset, "trainval", 40, seed=0, data_dir=str(folder), device=None, **given
    )
    return [images for images, _ in itertools.islice(stream.as_numpy_iterator(), 2)]


def test_padding_and_mirroring_are_as_asked(tmp_path):
    draws = np.random.default_rng(0).integers(0, 256, (40, SIDE, SIDE), "uint8")
    path = write_npz(tmp_path / "mine.npz", x_train=draws)
    originals = {image.tobytes() for image in np.repeat(draws[..., None], 3, axis=-1)}
    mirrored = {image[:, ::-1].tobytes() for image in np.repeat(draws[..., None], 3, axis=-1)}

    def share(images, known):
        return np.mean([image.tobytes() in known for image in np.concatenate(images)])

    assert share(shown(path, padding=0, flip=False), originals) == 1
    flipped = shown(path, padding=0, flip=True)
    assert 0.2 < share(flipped, mirrored) < 0.8
    assert share(flipped, originals | mirrored) == 1
    padded = np.concatenate(shown(path, padding=3, flip=False))
    assert share([padded], originals) < 0.2
    frame = [round(draws.mean())] * 3
    assert (padded[:, 0, :, :] == frame).all(axis=(1, 2)).any()  # a crop that begins in the frame
    np.testing.assert_array_equal(shown(path)[0], shown(path, padding=4, flip=True)[0])


def test_what_a_data_set_is_not_varied_by_is_refused():
    with pytest.raises(InputError, match="digits is not varied by padding=2"):
        pipelines.training("digits", "train", 8, seed=0, padding=2)
    with pytest.raises(InputError, match="of series: flip=True is for images"):
        pipelines.training("digits_series", "train", 8, seed=0, flip=True)
    with pytest.raises(InputError, match="folder is not varied by padding=4"):
        pipelines.check_padding("folder", 4, None)


def test_a_run_on_idx_files_learns_and_says_what_it_saw(tmp_path, capsys):
    folder = write_idx(tmp_path / "data", train=96, test=40)
    flags = (
        *("--model=resnet8", "--dataset=arrays", f"--data_dir={folder}", "--batch_size=32"),
        *("--train_steps=24", "--eval_every=12", "--learning_rate=0.05", "--schedule=cosine"),
        *("--padding=1", "--noflip", "--notensorboard", "--strategy=one_device"),
    )
    status = train.main(["train", *flags, f"--workdir={tmp_path / 'run'}"])
    said = capsys.readouterr()
    assert status == 0, said.err
    network, file = zoo.weights.find(tmp_path / "run", None)
    assert (network.name, file.class_names) == ("resnet8", ("0", "1"))
    assert file.options["input_shape"] == (SIDE, SIDE, 3)
    model = zoo.get("resnet8", weights=tmp_path / "run")
    images, labels = pipelines.arrays("arrays", "test", data_dir=str(folder))
    assert np.mean(model.predict(images, verbose=0).argmax(-1) == labels) >= 0.9
    for given, message in (
        (("--padding=2", "--dataset=digits"), "digits is not varied by --padding=2"),
        (("--mixup=0.2",), "arrays has its own augmentation"),
        (("--image_size=32",), "arrays images have one size: leave --image_size out"),
    ):
        assert train.main(["train", *flags, *given, f"--workdir={tmp_path / 'other'}"]) == 2
        assert message in capsys.readouterr().err
    # The run is bound to what the files hold, and not to where they lie.
    moved = folder.rename(tmp_path / "moved")
    again = [*flags, f"--data_dir={moved}", f"--workdir={tmp_path / 'run'}"]
    assert train.main(["train", *again]) == 0
    assert "finished" in capsys.readouterr().out
    write_idx(moved, train=90, test=40)
    assert train.main(["train", *again]) == 2
    assert "--data_sha256=" in capsys.readouterr().err


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
