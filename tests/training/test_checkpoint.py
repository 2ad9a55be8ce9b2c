"""Checkpoints prove themselves whole, and put everything back."""

import numpy as np
import pytest

from resnet_keras.errors import InputError
from resnet_keras.training import checkpoint
from resnet_keras.training.checkpoint import Checkpoint


def state_at(step):
    values = np.arange(50, dtype="float32") + step
    return Checkpoint(step, {"a": values, "count": np.array(step, "int64")}, {"best": 0.1 * step})


def test_the_last_ones_are_kept_and_read(tmp_path):
    assert checkpoint.latest(tmp_path) is None
    for step in (3, 6, 9, 12):
        checkpoint.write(tmp_path, state_at(step), keep=2)
    assert [path.name[:13] for path in sorted(tmp_path.iterdir())] == [
        "step-00000009",
        "step-00000012",
    ]
    last = checkpoint.latest(tmp_path)
    assert last.step == 12
    assert last.record == {"best": 0.1 * 12}  # to the bit
    assert last.tensors["count"].shape == ()
    np.testing.assert_array_equal(last.tensors["a"], state_at(12).tensors["a"])


def test_any_flipped_bit_and_any_cut_is_noticed(tmp_path):
    checkpoint.write(tmp_path, state_at(3), keep=2)
    last = checkpoint.write(tmp_path, state_at(6), keep=2)
    whole = last.read_bytes()
    flipped = [(place, 1 << place % 8) for place in range(len(whole))]
    for place, bit in flipped:
        content = bytearray(whole)
        content[place] ^= bit
        last.write_bytes(content)
        with pytest.warns(UserWarning, match="step 6 is damaged"):
            assert checkpoint.latest(tmp_path).step == 3
    for size in (0, 1, 8, 100, len(whole) - 1):
        last.write_bytes(whole[:size])
        with pytest.warns(UserWarning, match="step 6 is damaged"):
            assert checkpoint.latest(tmp_path).step == 3
    last.unlink()
    last.mkdir()  # not even a file
    with pytest.warns(UserWarning, match="step 6 is damaged"):
        assert checkpoint.latest(tmp_path).step == 3


def test_a_damaged_one_makes_way_for_the_step_done_again(tmp_path):
    checkpoint.write(tmp_path, state_at(3), keep=3)
    damaged = checkpoint.write(tmp_path, state_at(6), keep=3)
    damaged.write_bytes(b"")
    checkpoint.write(tmp_path, state_at(5), keep=3)
    assert not damaged.exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_write_keeps_what_is_there(tmp_path, monkeypatch):
    checkpoint.write(tmp_path, state_at(3), keep=1)

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(InputError, match="No space left"):
            checkpoint.write(tmp_path, state_at(6), keep=1)
    assert checkpoint.latest(tmp_path).step == 3
    assert len(list(tmp_path.iterdir())) == 1


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
