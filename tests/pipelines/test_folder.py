"""Folders of class folders."""

import os
import warnings

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import pipelines
from resnet_keras.errors import InputError
from resnet_keras.pipelines import folder, stream

NUMBERS = tf.io.encode_png(np.full((3, 4, 3), 9, "uint8")).numpy()


def tree(root, *paths):
    """Writes a small PNG at each path."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(NUMBERS)
    return root


def listed(source):
    """(class name, file name) of each example, in order."""
    return [
        (source.class_names[label], os.path.basename(name).decode())
        for _, label, name in source.ordered().as_numpy_iterator()
    ]


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def test_labels_are_numbered_by_sorted_class_names(tmp_path):
    tree(tmp_path, "train/b/1.png", "train/a10/1.png", "train/a2/1.png", "train/B/1.png")
    source = pipelines.open_split("folder", "train", data_dir=tmp_path)
    assert source.class_names == ("B", "a10", "a2", "b")
    assert listed(source) == [(name, "1.png") for name in source.class_names]
    assert source.num_examples == 4
    assert pipelines.info("folder", tmp_path).num_classes == 4


def test_files_come_in_the_order_of_their_names(tmp_path):
    tree(tmp_path, *(f"train/a/{n}.png" for n in (3, 1, 10, 2)))
    names = [name for _, name in listed(folder.open_split(tmp_path, "train"))]
    assert names == ["1.png", "10.png", "2.png", "3.png"]


def test_other_splits_have_the_classes_of_train(tmp_path):
    tree(tmp_path, "train/a/1.png", "train/b/1.png", "train/c/1.png", "val/c/2.png", "test/b/3.png")
    lacks = r"2 class folders of train's that {} lacks: {}; no error tells of these classes\."
    with pytest.warns(UserWarning, match=lacks.format("val", "a, b")):
        val = folder.open_split(tmp_path, "val")
    with pytest.warns(UserWarning, match=lacks.format("test", "a, c")):
        test = folder.open_split(tmp_path, "test")
    assert val.class_names == test.class_names == ("a", "b", "c")
    assert listed(val) == [("c", "2.png")]
    assert listed(test) == [("b", "3.png")]


def test_val_may_be_called_validation(tmp_path):
    tree(tmp_path, "train/a/1.png", "validation/a/2.png")
    assert listed(folder.open_split(tmp_path, "val")) == [("a", "2.png")]


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_without_train_has_its_own_classes(tmp_path, split):
    tree(tmp_path, f"{split}/b/1.png", f"{split}/c/1.png")
    assert folder.open_split(tmp_path, split).class_names == ("b", "c")


def test_val_can_be_evaluated_without_train(tmp_path):
    tree(tmp_path, "val/b/1.png", "val/c/1.png")
    assert pipelines.info("folder", tmp_path).num_classes == 2
    batches = pipelines.evaluation("folder", "val", 2, data_dir=tmp_path, image_size=8)
    assert [list(labels) for _, labels in batches.as_numpy_iterator()] == [[0, 1]]


def test_hidden_files_and_folders_are_ignored(tmp_path):
    tree(tmp_path, "train/a/1.png", "train/a/._1.png", "train/a/.DS_Store", "train/.cache/x.png")
    assert listed(folder.open_split(tmp_path, "train")) == [("a", "1.png")]


def test_files_beside_the_class_folders_are_ignored(tmp_path):
    tree(tmp_path, "train/a/1.png", "train/labels.txt", "README.md")
    assert listed(folder.open_split(tmp_path, "train")) == [("a", "1.png")]


def test_other_files_are_left_out_with_a_warning(tmp_path):
    tree(tmp_path, "train/a/1.png", "train/a/notes.txt", "train/b/1.png", "train/b/more/2.png")
    tree(tmp_path, "train/3.png")
    with (
        pytest.warns(UserWarning, match=r"1 file in .*train is left out .*: a/notes.txt\."),
        pytest.warns(UserWarning, match=r"1 folder in .* \(inside a class folder\): b/more\."),
        pytest.warns(UserWarning, match=r"1 file in .* \(outside the class folders\): 3.png\."),
    ):
        source = folder.open_split(tmp_path, "train")
    assert listed(source) == [("a", "1.png"), ("b", "1.png")]


def test_suffixes_may_be_upper_case(tmp_path):
    names = ["1.JPEG", "2.Png", "3.jpg", "4.JPG"]
    tree(tmp_path, *(f"train/a/{name}" for name in names))
    assert [name for _, name in listed(folder.open_split(tmp_path, "train"))] == names


def decoded(source):
    """Which examples' bytes can be read."""
    return [source.read(key).numpy() == NUMBERS for key, _, _ in source.ordered()]


def test_names_may_have_spaces_and_any_letters(tmp_path):
    tree(tmp_path, "train/große Katzen/été 1.png", "train/猫/写真 *[1]?.png")
    source = folder.open_split(tmp_path, "train")
    assert source.class_names == ("große Katzen", "猫")
    assert [name for _, name in listed(source)] == ["été 1.png", "写真 *[1]?.png"]
    assert decoded(source) == [True, True]


def test_names_need_not_be_utf_8(tmp_path):
    tree(tmp_path, "train/a/1.png")
    (tmp_path / "train/a/1.png").rename(tmp_path / os.fsdecode(b"train/a/caf\xe9.png"))
    assert decoded(folder.open_split(tmp_path, "train")) == [True]


def test_links_to_files_and_folders_are_followed(tmp_path):
    tree(tmp_path, "elsewhere/cats/1.png", "train/b/2.png")
    (tmp_path / "train/a").symlink_to(tmp_path / "elsewhere/cats")
    (tmp_path / "train/b/1.png").symlink_to(tmp_path / "elsewhere/cats/1.png")
    source = folder.open_split(tmp_path, "train")
    assert listed(source) == [("a", "1.png"), ("b", "1.png"), ("b", "2.png")]
    assert all(decoded(source))


def test_each_epoch_is_another_permutation(tmp_path):
    tree(tmp_path, *(f"train/{'abc'[n % 3]}/{n}.png" for n in range(40)))
    source = folder.open_split(tmp_path, "train")
    chunks = source.training(5, stream.Chunks(16)).take(10)
    numbers, keys, labels, names = zip(*chunks.as_numpy_iterator(), strict=True)
    assert list(numbers) == list(range(10))
    np.testing.assert_array_equal(keys, names)
    where = {name: label for _, label, name in source.ordered().as_numpy_iterator()}
    flat = np.concatenate(names)
    assert [where[name] for name in flat] == list(np.concatenate(labels))
    epochs = [tuple(epoch) for epoch in flat.reshape(4, 40)]
    assert {frozenset(epoch) for epoch in epochs} == {frozenset(where)}
    assert len(set(epochs)) == 4


def test_any_chunk_is_reached_at_once(tmp_path):
    tree(tmp_path, *(f"train/a/{n}.png" for n in range(20)))
    source = folder.open_split(tmp_path, "train")
    ((far, *_),) = source.training(0, stream.Chunks(16, 10**12)).take(1)
    assert far == 10**12


@pytest.mark.parametrize(
    ("paths", "split", "words"),
    [
        (["train/a/1.png"], "val", r"no folder val/; it has train\."),
        (["train/a/1.png"], "trainval", "no folder trainval/"),
        (["val/a/1.png"], "train", r"no folder train/; it has val\."),
        (["readme.txt"], "train", "it has no folders"),
        (["train/1.png"], "train", r"train holds 1 images and no class folders: move each"),
        (
            ["train/a/1.png", "val/z/1.png"],
            "val",
            "val has 1 class folder that the train folder lacks: z",
        ),
        (["train/a/1.png", "train/b/1.txt"], "train", "train has 1 class folder without images: b"),
        (["train/a/1.png", "train/b/.x"], "train", "train has 1 class folder without images: b"),
        (["a/1.png", "a/2.png", "b/1.png", "c/1.txt"], "val", "without images: c; .*only.*: b"),
        (["a/1.png", "a/2.png", "b/1.png", "b/2.png"], "test", r"it has train, val, trainval\."),
    ],
)
def test_what_is_missing_is_named(tmp_path, paths, split, words):
    with pytest.raises(InputError, match=words):
        folder.open_split(tree(tmp_path, *paths), split)


@pytest.mark.parametrize(
    "use", [pipelines.info, lambda *a: pipelines.open_split("folder", "train", data_dir=a[1])]
)
def test_the_folder_must_be_given_and_be_there(tmp_path, use):
    with pytest.raises(InputError, match="Give data_dir=FOLDER"):
        use("folder", None)
    with pytest.raises(InputError, match=r"no folder .*nowhere"):
        use("folder", tmp_path / "nowhere")


def test_a_folder_is_a_data_set_from_training_to_evaluation(photographs):
    view = pipelines.View(image_size=32, scales=(36, 50))
    made = pipelines.training("folder", "train", 16, seed=0, data_dir=photographs, view=view)
    images, labels = next(made.as_numpy_iterator())
    assert images.shape == (16, 32, 32, 3)
    assert set(labels) == {0, 1}
    found = pipelines.evaluation("folder", "val", 5, data_dir=photographs, image_size=32)
    labels = np.concatenate([labels for _, labels in found.as_numpy_iterator()])
    np.testing.assert_array_equal(labels, [0] * 6 + [1] * 6)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
