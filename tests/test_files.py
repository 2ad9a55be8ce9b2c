"""Nothing is half-written."""

import os
from pathlib import Path

import pytest

from resnet_keras import files
from resnet_keras.errors import InputError


def test_replaces_the_whole_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    files.write_atomically(path, "one")
    files.write_atomically(path, b"two")
    assert path.read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]
    plain = tmp_path / "b.txt"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    files.write_atomically(path, "one")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        files.write_atomically(path, "two")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for bad in (tmp_path / "file", tmp_path / "file" / "below", "/proc/nowhere"):
        with pytest.raises(InputError, match="Cannot write"):
            files.make_folder(bad)


@pytest.mark.parametrize("path", ["gs://bucket/run", "s3://b", Path("hdfs://host/x"), "gs:/b/x"])
def test_an_address_is_no_folder(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for function in (files.check_local, files.make_folder, lambda p: files.write_atomically(p, "")):
        with pytest.raises(InputError, match="is no local path"):
            function(path)
    assert list(tmp_path.iterdir()) == []
    files.check_local("C:/run")
    files.check_local("run:1/a://b")


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
