"""PyTorch's own files, with torch installed: `pip install 'resnet_keras[torch]'`, as CI does."""

import json
import pickle
import sys

import numpy as np
import parity
import pytest

from resnet_keras import zoo
from resnet_keras.errors import InputError

torch = pytest.importorskip("torch")

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
    path = tmp_path / "resnet20.th"
    torch.save({"state_dict": state("resnet20", "module.")}, path)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "torch", None)
        with pytest.raises(InputError) as error:
            zoo.get("resnet20", weights=path)
    exec(str(error.value).split("installed: ")[1], {})
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


def test_bombs(tmp_path, peak_memory):
    """A record that unpacks to gigabytes, and a tensor that repeats one number."""
    import io
    import zipfile

    path = tmp_path / "w.pth"
    torch.save({"conv1.weight": torch.zeros(2**27)}, path)
    content = io.BytesIO()
    with (
        zipfile.ZipFile(path) as stored,
        zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in stored.namelist():
            new.writestr(name, stored.read(name))
    path.write_bytes(content.getvalue())
    del content

    def refused(words):
        with pytest.raises(InputError, match=words):
            zoo.get("resnet18", weights=path)

    assert peak_memory(lambda: refused("unpacks to more")) < 100 * 2**20
    torch.save({**state("resnet18"), "fc.bias": torch.zeros(1).expand(10**8)}, path)
    assert peak_memory(lambda: refused("declares")) < 200 * 2**20


@pytest.mark.parametrize(
    "kernel",
    [
        torch.zeros(64, 3, 7, 7, dtype=torch.int64),
        torch.zeros(64, 3, 7, 7, dtype=torch.complex64),
        torch.zeros(64, 3, 7, 7).to_sparse(),
        torch.zeros(64, 3, 7, 7, device="meta"),
    ],
)
def test_tensors_that_are_no_weights(tmp_path, kernel):
    torch.save({**state("resnet18"), "conv1.weight": kernel}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"conv1\.weight is no plain tensor"):
        zoo.get("resnet18", weights=tmp_path / "w.pth")


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
