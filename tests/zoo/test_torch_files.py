"""PyTorch's own files, with torch installed: `pip install 'resnet_keras[torch]'`, as CI does."""

import importlib.util
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from resnet_keras import zoo
from resnet_keras.errors import InputError

torch = pytest.importorskip("torch")

spec = importlib.util.spec_from_file_location("parity", Path(__file__).parent / "parity.py")
assert spec is not None
assert spec.loader is not None
parity = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parity)
TENSORS = json.loads(parity.NAMES.read_text())["tensors"]


def state(name, prefix=""):
    made = {}
    for tensor, shape in TENSORS[name]:
        made[prefix + tensor] = torch.from_numpy(parity.torch_weights(tensor, tuple(shape)))
        if tensor.endswith("running_var"):
            counter = tensor.replace("running_var", "num_batches_tracked")
            made[prefix + counter] = torch.tensor(7)
    return made


@pytest.mark.parametrize("zipped", [True, False])
def test_akamasters_checkpoints(tmp_path, zipped):
    """A dict with a state dict of a DataParallel module, in torch's new and old format."""
    path = tmp_path / "resnet20-12fca82f.th"
    checkpoint = {"state_dict": state("resnet20", "module."), "best_prec1": 91.73}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
    model = zoo.get("resnet20", weights=path)
    expected = np.load(parity.LOGITS)["resnet20 32x32"]
    found = np.asarray(model(parity.images(32, 32)))
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_torchvisions_files(tmp_path):
    torch.save(state("resnet18"), tmp_path / "resnet18.pth")
    model = zoo.get("resnet18", weights=tmp_path / "resnet18.pth")
    expected = np.load(parity.LOGITS)["resnet18 224x224"]
    found = np.asarray(model(parity.images(224, 224)))
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_conversion_that_is_shown_without_torch(tmp_path, monkeypatch):
    safetensors_torch = pytest.importorskip("safetensors.torch")
    path = tmp_path / "resnet20.th"
    torch.save({"state_dict": state("resnet20", "module.")}, path)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "torch", None)
        with pytest.raises(InputError) as error:
            zoo.get("resnet20", weights=path)
    import safetensors

    assert safetensors_torch
    code = str(error.value).split("installed: ")[1].removesuffix(".")
    exec(code, {"torch": torch, "safetensors": safetensors})
    one, other = (
        zoo.get("resnet20", weights=path.with_suffix(suffix)) for suffix in (".th", ".safetensors")
    )
    images = parity.images(32, 32)
    np.testing.assert_array_equal(one(images), other(images))


class Bomb:
    """Unpickled, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_that_call_something_are_refused_and_not_run(tmp_path, zipped):
    path, ran = tmp_path / "w.pth", tmp_path / "ran"
    tensors = {**state("resnet20"), "bomb": Bomb(ran)}
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="weights_only=True"):
        zoo.get("resnet20", weights=path)
    path.write_bytes(pickle.dumps(Bomb(ran)))
    with pytest.raises(InputError, match="weights_only=True"):
        zoo.get("resnet20", weights=path)
    assert not ran.exists()


def test_broken_files(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(state("resnet20"), path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(30):
        content = bytearray(whole[: generator.integers(100, len(whole))])
        content[generator.integers(len(content))] ^= 255
        path.write_bytes(content)
        with pytest.raises(InputError):
            zoo.get("resnet20", weights=path)
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="no state dict"):
        zoo.get("resnet20", weights=path)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
