"""PyTorch's own files, with torch installed: `pip install 'resnet_keras[torch]'`, as CI does."""

import argparse
import contextlib
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


def prefixed(prefix, tensors):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def checkpoint(kind):
    """ResNet-20's weights as a training script saves them."""
    weights = state("resnet20")
    momenta = {0: {"momentum_buffer": torch.zeros(3, dtype=torch.int64), "step": 3}}
    optimizer = {"state": momenta, "param_groups": [{"lr": 0.1}]}
    other = {name: tensor * 2 for name, tensor in weights.items()}
    return {
        "akamaster": {"state_dict": prefixed("module.", weights), "best_prec1": 91.73},
        "lightning": {
            "state_dict": prefixed("model.", weights),
            "pytorch-lightning_version": "2.5",
            "optimizer_states": [optimizer],
        },
        "script": {"epoch": 3, "model_state_dict": weights, "optimizer_state_dict": optimizer},
        "flags": {"model": weights, "optimizer": optimizer, "args": argparse.Namespace(lr=0.1)},
        "nested": {"checkpoint": {"net": prefixed("_orig_mod.module.", weights)}},
        "average": {
            "model": other,
            "model_ema": {"n_averaged": torch.tensor(9), **prefixed("module.module.", weights)},
        },
    }[kind]


KINDS = ("akamaster", "lightning", "script", "flags", "nested", "average")


@pytest.fixture(scope="module")
def logits(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "w.pth"
    torch.save(state("resnet20"), path)
    return np.asarray(zoo.get("resnet20", weights=path)(parity.images(32, 32)))


def told(kind):
    """That of two sets the average is taken; no other checkpoint makes a warning."""
    if kind == "average":
        return pytest.warns(UserWarning, match=r"averaged ones, model_ema\.module.*not model\.")
    return contextlib.nullcontext()


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoints_and_the_conversion_that_is_shown_without_torch(
    tmp_path, monkeypatch, logits, kind
):
    path = tmp_path / "w.th"
    torch.save(checkpoint(kind), path)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "torch", None)
        with pytest.raises(InputError) as error:
            zoo.get("resnet20", weights=path)
    exec(str(error.value).split("installed: ")[1], {})
    for file in (path, path.with_suffix(".safetensors")):
        with told(kind):
            model = zoo.get("resnet20", weights=file)
        np.testing.assert_array_equal(model(parity.images(32, 32)), logits)


class Net(torch.nn.Module):
    """A module with the weights of a state dict."""

    def __init__(self, weights):
        super().__init__()
        for name, tensor in weights.items():
            first, _, rest = name.partition(".")
            if not rest:
                self.register_buffer(first, tensor)
            elif not hasattr(self, first):
                inner = {n: t for n, t in weights.items() if n.startswith(f"{first}.")}
                bare = {n.removeprefix(f"{first}."): t for n, t in inner.items()}
                self.add_module(first, Net(bare))

    def forward(self, pixels):
        return pixels


def whole(path, net):
    torch.save(net, path)


def whole_in_the_old_format(path, net):
    torch.save(net, path, _use_new_zipfile_serialization=False)


def module_in_a_dict(path, net):
    torch.save({"epoch": 3, "anything": net}, path)


def number_of_numpy(path, net):
    torch.save({"best": np.float64(3), "checkpoint": {"model": net.state_dict()}}, path)


def script(path, net):
    torch.jit.script(net).save(path)


@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:.*TorchScript")
@pytest.mark.parametrize(
    ("save", "words"),
    [
        (whole, f"is a whole pickled model ({__name__}.Net)"),
        (whole_in_the_old_format, f"is a whole pickled model ({__name__}.Net)"),
        (module_in_a_dict, f"holds other objects beside its weights ({__name__}.Net)"),
        (number_of_numpy, "holds other objects beside its weights (numpy"),
        (script, "is a TorchScript archive"),
    ],
)
def test_what_torch_refuses_is_named_and_the_advice_works(tmp_path, logits, save, words):
    path = tmp_path / "w.pth"
    save(path, Net(state("resnet20")))
    with pytest.raises(InputError) as error:
        zoo.get("resnet20", weights=path)
    message = str(error.value)
    assert words in message
    assert "\x1b" not in message
    exec(message[message.index("import torch") :], {})
    model = zoo.get("resnet20", weights=path.with_suffix(".safetensors"))
    np.testing.assert_array_equal(model(parity.images(32, 32)), logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(tmp_path, dtype):
    halves = {n: t.to(dtype) if t.is_floating_point() else t for n, t in state("resnet20").items()}
    torch.save(halves, tmp_path / "w.pth")
    model = zoo.get("resnet20", weights=tmp_path / "w.pth")
    kernel = halves["conv1.weight"].float().numpy().transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(model.get_layer("conv1_conv").kernel, kernel)


def test_a_file_without_weights(tmp_path):
    torch.save({"epoch": 3, "log": []}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="no tensors; at its top level are epoch, log"):
        zoo.get("resnet20", weights=tmp_path / "w.pth")


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
