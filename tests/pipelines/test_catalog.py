"""Names of data sets and of the fields of a view, and what is said of those that are none."""

import sys

import pytest

from resnet_keras import pipelines
from resnet_keras.errors import InputError, MissingExtraError
from resnet_keras.pipelines import catalog


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("food101", "tfds/food101"),
        ("KMNIST", "arrays/kmnist"),
        ("MNIST", "mnist"),
        ("fashion-mnist", "fashion_mnist"),
        ("svhn", "svhn_cropped"),
        ("imagenet", "imagenet2012"),
        ("cifar", "cifar10"),
        ("CIFAR-100", "cifar100"),
        ("digit", "digits"),
        ("folders", "folder"),
    ],
)
def test_the_data_set_that_was_meant(given, meant):
    words = rf"Unknown dataset {given!r}. Did you mean {meant!r}\? Choose one of digits"
    for function in (pipelines.info, pipelines.is_in_memory):
        with pytest.raises(InputError, match=words):
            function(given)
    assert meant.startswith(("tfds/", "arrays/")) or meant in (
        *pipelines.DATASETS,
        pipelines.FOLDER,
    )


def test_data_sets_in_memory_are_known_by_their_names():
    for name, known in pipelines.DATASETS.items():
        assert pipelines.is_in_memory(name) == known.in_memory
    assert not pipelines.is_in_memory("folder")
    assert not pipelines.is_in_memory("tfds/anything")


def test_names_that_fit(monkeypatch):
    catalog.check_names("digits", ("train", "trainval[:80%]"), image_size=16)
    catalog.check_names("imagenet2012", ("train", "validation"), image_size=299)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match="digits"):
        catalog.check_names("digits", ("train",))


@pytest.mark.parametrize(
    ("given", "meant"), [("color_jitter", "colour_jitter"), ("flips", "flip"), ("scale", "scales")]
)
def test_the_field_of_a_view_that_was_meant(given, meant):
    words = f"Unknown field of View {given!r}. Did you mean {meant!r}"
    with pytest.raises(InputError, match=words):
        pipelines.View(**{given: 1})


def test_a_view_is_a_tuple_of_its_fields():
    view = pipelines.View(image_size=64, flip=False)
    assert view == pipelines.View(64, flip=False)
    assert view._replace(mixup=0.2).mixup == 0.2
    assert repr(view).startswith("View(image_size=64, scales=None, min_area=0.0, flip=False")
    assert isinstance(view._replace(mixup=0.2), pipelines.View)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
