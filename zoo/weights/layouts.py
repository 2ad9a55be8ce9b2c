"""Other projects' names and shapes of weights, and the same weights under this package's.

Every translation keeps the function of the network: what it computes agrees up to rounding.
"""

import re
from collections.abc import Callable, Collection, Mapping

from resnet_keras.errors import InputError
from resnet_keras.facts import CAFFE_MEAN, CAFFE_STD, IMAGENET_MEAN, IMAGENET_STD

from ..networks import BOTTLENECK_DEPTHS, Network
from .formats import Tensor
from .wrappers import FOREIGN_HEAD

OWN, KERAS, KERAS_APPLICATIONS, TORCH = "resnet_keras", "keras", "keras_applications", "torch"

_LEAVES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_TORCH_BLOCK = re.compile(r"layer(\d)\.(\d+)\.(?:(conv|bn)(\d)|(?:downsample|shortcut)\.([01]))")
_KERAS_LAYER = re.compile(r"(?:model_weights/)?(?:[^/]+/)*?([^/]+)/([^/:]+)(?::0)?")
_DENSE = re.compile(r"(?!conv\d|logits/)[^/]+/(kernel|bias|gamma|beta|moving_mean|moving_variance)")
_KERAS_VARIABLE = re.compile(r"((?:.*/)?layers/(\w+))/vars/(\d+)")
# The variables of this package's layers in Keras's order, trainable ones first.
_KERAS_LEAVES = {
    "conv": ("kernel",),
    "bn": ("gamma", "beta", "moving_mean", "moving_variance"),
    "logits": ("kernel", "bias"),
    "normalization": ("mean", "std"),
}


def recognise(tensors: dict[str, Tensor]) -> str | None:
    """Tells a layout by the names of its tensors; None for one that is not known."""
    if any(_KERAS_VARIABLE.fullmatch(name) for name in tensors):
        return KERAS
    if "conv1.weight" in tensors:  # of `wrappers.bare`
        return TORCH
    names = {_keras_name(name) for name in tensors}
    if "conv1_conv/kernel" not in names or "post_bn/gamma" in names:  # that of ResNet V2
        return None
    # keras.applications' convolutions have biases, this package's have none.
    return KERAS_APPLICATIONS if "conv1_conv/bias" in names else OWN


def translate(
    layout: str, tensors: dict[str, Tensor], network: Network, layers: Mapping[str, str]
) -> dict[str, Tensor]:
    """Renames a file's tensors to this package's variables, and reshapes them as they are read.

    What has no counterpart keeps its name. The layout `KERAS` numbers layers in the order of a
    model; where `layers` (see `hdf5.layer`) has no names for the numbers, `keras_variables` is
    needed.
    """
    if layout == TORCH:
        return _from_torch(tensors, network)
    if layout == KERAS_APPLICATIONS:
        return _from_keras_applications(tensors)
    if layout == KERAS:
        return _renamed((_named(name, layers), tensor) for name, tensor in tensors.items())
    return _renamed((_keras_name(name), tensor) for name, tensor in tensors.items())


def defaults(layout: str, network: Network) -> dict[str, object]:
    """Arguments of `zoo.get` that a file in this layout does not say, as its project has them."""
    if layout == KERAS_APPLICATIONS:
        return {"mean": CAFFE_MEAN, "std": CAFFE_STD, "epsilon": 1.001e-5, "stride_in_1x1": True}
    if layout != TORCH:
        return {}
    bottleneck = {"stride_in_1x1": False} if network.depth in BOTTLENECK_DEPTHS else {}
    return {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, **bottleneck}


def options(
    tensors: dict[str, Tensor], network: Network, layers: Collection[str] = ()
) -> dict[str, object]:
    """Arguments of `zoo.get` that the tensors themselves show: classes, shortcut, normalization.

    Args:
        tensors: of `translate`.
        layers: the names of all layers, where the file has them: they show where bottlenecks
            stride.
    """
    shown: dict[str, object] = {}
    if numbered(tensors):
        head, mean, std = "dense/vars/0", "pixel_normalization/vars/0", "pixel_normalization/vars/1"
        tensors = {name.rpartition("layers/")[2]: tensor for name, tensor in tensors.items()}
        kernels = sum(re.fullmatch(r"conv2d(_\d+)?/vars/0", name) is not None for name in tensors)
        projections = kernels - (network.depth - 1)
    else:
        head, mean, std = "logits/kernel", "normalization/mean", "normalization/std"
        projections = sum(name.endswith("_0_conv/kernel") for name in tensors)
    # The whole kernel, so that a small file cannot ask for a large head.
    if head in tensors and tensors[head].shape[:-1] == (_features(network),):
        shown["num_classes"] = tensors[head].shape[-1]
    if mean in tensors and std in tensors:
        shown |= {"mean": tensors[mean].read(), "std": tensors[std].read()}
        if len(tensors[mean].shape) == 3:  # one per pixel
            shown["input_shape"] = tensors[mean].shape
    if not network.plain:
        shown["shortcut"] = _shortcut(projections, network)
    if network.depth in BOTTLENECK_DEPTHS and "conv3_block1_1_conv" in layers:
        # Only a 3x3 convolution that strides is padded by a layer of its own.
        shown["stride_in_1x1"] = "conv3_block1_2_pad" not in layers
    return shown


def _features(network):
    if network.dataset == "cifar10":
        return 64
    return 2048 if network.depth in BOTTLENECK_DEPTHS else 512


def _shortcut(projections, network):
    """The option by the number of convolutions beside the network's own layers."""
    bottleneck = network.depth in BOTTLENECK_DEPTHS
    growing = 2 if network.dataset == "cifar10" else 4 if bottleneck else 3
    if projections <= 0:
        return "A"
    return "B" if projections <= growing else "C"


def numbered(tensors: Collection[str]) -> bool:
    """Whether tensors have Keras's numbers, which `translate` had no names for."""
    return any(_KERAS_VARIABLE.fullmatch(name) for name in tensors)


def keras_variables(tensors: dict[str, Tensor], model) -> dict[str, Tensor]:
    """Names the tensors of a `.weights.h5` file by the variables of the model they belong to.

    Keras numbers the layers of each class in the model's order, and the variables of each layer,
    trainable ones first. What comes before the head has the same numbers with any head.
    """
    paths, counts = {("dense", "0"): "logits/kernel", ("dense", "1"): "logits/bias"}, {}
    for layer in model.layers:
        name = re.sub(r"(?<!^)(?=[A-Z][a-z])", "_", type(layer).__name__).lower()
        number = counts[name] = counts.get(name, -1) + 1
        group = f"{name}_{number}" if number else name
        for index, variable in enumerate(layer.variables):
            paths[group, str(index)] = variable.path

    def path(name):
        match = _KERAS_VARIABLE.fullmatch(name)
        return paths.get((match[2], match[3]), name) if match else name

    return _renamed((path(name), tensor) for name, tensor in tensors.items())


def _named(name, layers):
    """`conv1_conv/kernel` of `layers/conv2d/vars/0`, whose group is named so in the file."""
    match = _KERAS_VARIABLE.fullmatch(name)
    layer = layers.get(match[1]) if match else None
    if match is None or layer is None or layer == match[2]:
        return name
    leaves, index = _KERAS_LEAVES.get(layer.rpartition("_")[2], ()), int(match[3])
    return f"{layer}/{leaves[index] if index < len(leaves) else index}"


def _renamed(pairs):
    """A dict of tensors; `InputError` where two of a file come to one name."""
    named = {}
    for name, tensor in pairs:
        if name in named:
            raise InputError(f"There are two tensors for {name}.")
        named[name] = tensor
    return named


def _from_torch(tensors, network):
    ours = ((_torch_name(name) or name, tensor) for name, tensor in tensors.items())
    renamed = _renamed((name, _reshaped(name, tensor)) for name, tensor in ours)
    projections = any(re.search(r"_0_conv/kernel$", name) for name in renamed)
    if network.dataset == "cifar10" and not network.plain and not projections:
        return _zeros_behind(renamed)
    return renamed


def _torch_name(name):
    layer, _, leaf = name.rpartition(".")
    if layer in ("fc", "linear"):
        return {"weight": "logits/kernel", "bias": "logits/bias"}.get(leaf)
    match = _TORCH_BLOCK.fullmatch(layer)
    if layer in ("conv1", "bn1"):
        prefix, kind = "conv1", layer[:-1]
    elif match:
        stage, block, kind, number, place = match.groups()
        kind = kind or ("conv", "bn")[int(place)]
        prefix = f"conv{int(stage) + 1}_block{int(block) + 1}_{number or 0}"
    else:
        return None
    if kind == "conv":
        return f"{prefix}_conv/kernel" if leaf == "weight" else None
    return f"{prefix}_bn/{_LEAVES[leaf]}" if leaf in _LEAVES else None


def _reshaped(name, tensor):
    """torch's kernels are (out, in, height, width), its matrices (out, in)."""
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(len(tensor.shape))
    if axes is None or not name.endswith("/kernel"):
        return tensor
    return _changed(tensor, lambda values: values.transpose(axes), axes)


def _changed(tensor, change: Callable, axes=None):
    """A tensor whose values are changed when they are read; `axes` say how its shape is."""
    shape = tensor.shape if axes is None else tuple(tensor.shape[axis] for axis in axes)
    return Tensor(shape, lambda: change(tensor.read()))


def _zeros_behind(tensors):
    """akamaster's networks, whose option A adds zero channels on both sides of the others.

    This package adds them behind, as the paper's "extra zero entries". To renumber the channels of
    each stage makes one of the other: what each network computes stays the same.
    """
    orders = {2: list(range(16))}
    for stage in (3, 4):
        width, before = 16 * 2 ** (stage - 2), orders[stage - 1]
        front, back = range(width // 4), range(3 * width // 4, width)
        orders[stage] = [*(channel + width // 4 for channel in before), *front, *back]

    def reordered(name, tensor):
        match = re.fullmatch(r"conv(\d)_block(\d+)_([12])_(conv|bn)/\w+", name)
        if name == "logits/kernel":
            return _along(tensor, 0, orders[4])
        if not match:
            return tensor
        stage, block, number, kind = match.groups()
        if number == "2":  # into the sum with the shortcut
            return _along(tensor, -1, orders[int(stage)])
        if kind == "conv":  # out of the sum before
            return _along(tensor, 2, orders[int(stage) - (block == "1" and stage != "2")])
        return tensor

    return {name: reordered(name, tensor) for name, tensor in tensors.items()}


def _along(tensor, axis, order):
    if len(tensor.shape) <= axis or tensor.shape[axis] != len(order):
        return tensor  # it does not fit, which is said when it is assigned
    return _changed(tensor, lambda values: values.take(order, axis))


def _keras_name(name):
    """`conv1_conv/kernel` of `conv1_conv/conv1_conv/kernel:0`."""
    match = _KERAS_LAYER.fullmatch(name)
    return f"{match.group(1)}/{match.group(2)}" if match else name


def _from_keras_applications(tensors):
    split = ((_keras_name(name).rpartition("/"), tensor) for name, tensor in tensors.items())
    named = _renamed(
        (f"{'logits' if layer in ('probs', 'predictions') else layer}/{leaf}", tensor)
        for (layer, _, leaf), tensor in split
    )
    biases = {name: named.pop(name) for name in list(named) if name.endswith("_conv/bias")}
    for name, bias in biases.items():
        mean = name.replace("_conv/bias", "_bn/moving_mean")
        if mean not in named or named[mean].shape != bias.shape:
            raise InputError(f"The bias {name} belongs to no batch normalization.")
        named[mean] = _without(named[mean], bias)
    kernel = "conv1_conv/kernel"
    # Its input is BGR.
    named[kernel] = _changed(named[kernel], lambda values: values[:, :, ::-1])
    # Users' own layers behind the network.
    return {
        f"{FOREIGN_HEAD}{name}" if _DENSE.fullmatch(name) else name: tensor
        for name, tensor in named.items()
    }


def _without(mean, bias):
    """A convolution's bias moves into the mean that the batch normalization subtracts."""
    return _changed(mean, lambda values: values - bias.read())
