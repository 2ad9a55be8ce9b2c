"""What other projects' networks answer to weights and images by the rule of parity.py.

A family's script builds the projects' networks and records them; its tests read the record:

    record = recorded.Record("vgg")
    record.write(cases, versions)          # vgg_parity.npz beside this file
    record.torch_file(path, "thin vgg16")  # the weights that the answers belong to
    record.logits("thin vgg16", 224, 224)  # the answers to `parity.images(224, 224)`

The file holds neither weights nor images: both follow from the rule.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import parity

HERE = Path(__file__).parent
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Record:
    """The names and shapes of a family's tensors, and the logits of its networks.

    Args:
        family: names the file.
    """

    def __init__(self, family: str):
        self.file = HERE / f"{family}_parity.npz"

    @property
    def tensors(self) -> dict[str, list[tuple[str, tuple[int, ...]]]]:
        """By network, (name, shape) of its tensors, in the file's order."""
        with np.load(self.file) as file:
            recorded = json.loads(file["about"].tobytes())["tensors"]
        return {n: [(key, tuple(shape)) for key, shape in t] for n, t in recorded.items()}

    def logits(self, name: str, height: int, width: int) -> np.ndarray:
        """What a network answered to `parity.images(height, width)`."""
        with np.load(self.file) as file:
            return file[f"{name} {height}x{width}"]

    def torch_weights(self, name: str) -> dict[str, Any]:
        """The weights that a network had, in torch's layout."""
        return {key: parity.torch_weights(key, shape) for key, shape in self.tensors[name]}

    def torch_file(self, path: Path, name: str, prefix: str = "") -> Path:
        """Writes these weights as converted files are laid out (safetensors)."""
        from safetensors.numpy import save_file

        tensors = {f"{prefix}{key}": value for key, value in self.torch_weights(name).items()}
        save_file(tensors, path, metadata={"format": "pt"})
        return path

    def write(
        self,
        cases: Iterable[tuple[str, Callable[[], Any], Iterable[tuple[int, int]]]],
        versions: dict[str, str],
        normalization: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET,
    ) -> None:
        """Records torch's networks.

        Args:
            cases: name, a function that returns the network, and the sizes of its images.
            versions: of the projects.
            normalization: mean and std of the pixels in [0, 1].
        """
        import torch  # pyright: ignore[reportMissingImports]

        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in normalization)
        names, logits = {}, {}
        for name, build, sizes in cases:
            model = build()
            state = model.state_dict()
            shapes = {k: tuple(v.shape) for k, v in state.items() if "num_batches" not in k}
            for key, shape in shapes.items():
                state[key] = torch.from_numpy(parity.torch_weights(key, shape))
            model.load_state_dict(state)
            model.eval()
            names[name] = [[key, list(shape)] for key, shape in shapes.items()]
            for height, width in sizes:
                pixels = torch.from_numpy(parity.images(height, width)).permute(0, 3, 1, 2).float()
                with torch.no_grad():
                    answer = model((pixels / 255 - mean) / std).numpy()
                logits[f"{name} {height}x{width}"] = answer
            print(name, flush=True)
        # As text, and compressed with the rest: names of deep networks are many, and much alike.
        about = json.dumps({"versions": versions, "tensors": names}).encode()
        np.savez_compressed(self.file, about=np.frombuffer(about, "uint8"), **logits)


def declare_torchvision():
    """Declares operations that torchvision's Python code asks for as it is imported.

    Keep what is returned as long as torchvision is used.
    """
    import torch  # pyright: ignore[reportMissingImports]

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def difference(found: Any, expected: Any) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())
