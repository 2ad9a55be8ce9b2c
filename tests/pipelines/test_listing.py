"""Which files are images: the same for training, `check` and `predict`."""

import os

import pytest

from resnet_keras import pipelines
from resnet_keras.classification import prediction
from resnet_keras.pipelines import class_folders, listing

FILES = (
    *("cats/2.jpg", "cats/10.PNG", "cats/.hidden.jpg", "cats/notes.txt", "cats/deep/3.jpg"),
    *("cats/.ipynb_checkpoints/2-checkpoint.jpg", ".ipynb_checkpoints/4.jpg", "dogs/1.jpeg"),
    "dogs/folder.jpg/readme",
)


@pytest.fixture
def root(tmp_path):
    """A training folder with what people have in theirs: hidden files, links, other files."""
    for name in FILES:
        path = tmp_path / "data" / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    birds = tmp_path / "elsewhere" / "birds"
    birds.mkdir(parents=True)
    (birds / "5.jpg").write_bytes(b"")
    train = tmp_path / "data" / "train"
    (train / "birds").symlink_to(birds)
    (train / "cats" / "6.jpg").symlink_to(birds / "5.jpg")
    (train / "dogs" / "around").symlink_to(train)
    (birds / "itself").symlink_to("itself")
    return tmp_path / "data"


def names(paths, root):
    return [os.path.relpath(path, root / "train") for path in paths]


def test_training_check_and_predict_list_the_same_files(root):
    with (
        pytest.warns(UserWarning, match=r"2 files in .*/train are left out \(not JPEG, PNG or "),
        pytest.warns(UserWarning, match=r"3 folders in .* \(inside a class folder\): cats/deep, "),
    ):
        source = pipelines.open_split("folder", "train", data_dir=root)
    trained = [os.fsdecode(name) for _, _, name in source.ordered().as_numpy_iterator()]
    expected = ("birds/5.jpg", "cats/10.PNG", "cats/2.jpg", "cats/6.jpg", "dogs/1.jpeg")
    assert tuple(names(trained, root)) == expected
    classes = class_folders.list_split(root, "train").classes
    assert [path for paths in classes.values() for path in paths] == trained
    with pytest.warns(UserWarning, match=r"3 files in .*/train are left out .*cats/notes\.txt, "):
        predicted = prediction.image_files([str(root / "train")])
    # Of a folder, all below it; and a link to a folder around is not followed.
    assert [path for path in predicted if "deep" not in path] == trained
    assert names(set(predicted) - set(trained), root) == ["cats/deep/3.jpg"]


def test_a_folder_is_named_as_it_was_given(root, monkeypatch):
    monkeypatch.chdir(root / "train" / "dogs")
    with pytest.warns(UserWarning, match=r"3 files in \. are left out .*, folder\.jpg/readme\."):
        assert prediction.image_files(["."])[0] == "1.jpeg"
    with pytest.warns(UserWarning, match=r"in \.\./cats/ is left out .*: notes\.txt\."):
        assert prediction.image_files(["../cats/"])[0] == "../cats/10.PNG"
    assert listing.entries_in("../dogs").folders == ["../dogs/around", "../dogs/folder.jpg"]


def test_links_among_each_other_come_to_an_end(tmp_path):
    for here, there in (("a", "b"), ("b", "a")):
        (tmp_path / here).mkdir()
        (tmp_path / here / "1.png").write_bytes(b"")
        (tmp_path / here / "other").symlink_to(tmp_path / there)
    found, others = listing.files_below(tmp_path)
    assert not others
    assert [os.path.relpath(path, tmp_path) for path in found] == [
        *("a/1.png", "a/other/1.png"),
        *("b/1.png", "b/other/1.png"),
    ]


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
