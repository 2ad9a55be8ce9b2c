"""Networks of the zoo to stand something on; small ones, for images of about 100 pixels, made here.

Importing this module, which imports no Keras, adds them to the zoo: `resnet10_shapes`,
`plain10_shapes` and `vgg16_shapes`.
"""

import functools
from typing import TYPE_CHECKING, Any

from resnet_keras import zoo
from resnet_keras.errors import InputError

if TYPE_CHECKING:
    import keras

OUTPUT_STRIDES = (16, 8, 4)


def small_resnet(
    width: int = 16, shortcut: str | None = "B", output_stride: int = 16, **shared: Any
) -> "keras.Model":
    """Four stages of one block, with strides 2, 4, 8 and 16: half those of ImageNet's networks.

    Args:
        width: channels of conv2; each stage has twice as many as the one before.
        shortcut: "A", "B" or "C", or None for a plain network.
        output_stride: of the last features, 16, or 8 or 4 with dilated stages; see
            `blocks.stages`.
        **shared: as of `network.network`.
    """
    from resnet_keras.networks.blocks import checked_output_stride, conv_bn_relu, stages
    from resnet_keras.networks.network import network
    from resnet_keras.networks.resnet import basic_block, plain_block

    output_stride = checked_output_stride(output_stride, OUTPUT_STRIDES)

    def trunk(x, norm, drop_rates):
        x = conv_bn_relu(x, width, 3, 2, "conv1", norm)
        block = plain_block
        if shortcut is not None:
            block = functools.partial(basic_block, shortcut=shortcut)
        return stages(x, block, width, norm, drop_rates, stem=2, output_stride=output_stride)

    return network(trunk, blocks=(1, 1, 1, 1), residual=shortcut is not None, **shared)


def thin_vgg(width: int = 8, hidden: int = 64, **shared: Any) -> "keras.Model":
    """VGG-16 of an eighth of its width.

    Args:
        width: channels of conv1.
        hidden: units of fc6 and fc7.
        **shared: as of `network.network`.
    """
    from resnet_keras.networks.vgg import vgg

    return vgg(16, width=width, hidden=hidden, **shared)


def endpoints(name: str, neck: str) -> tuple[str, ...] | None:
    """What a detector with this neck takes of a network: endpoints of `zoo.backbone`.

    None stands for all stages. With "c4", of VGG it is the stage and the hidden layers that the
    network's row names.
    """
    if neck != "c4" or not zoo.networks.is_name(name):
        return None
    return zoo.networks.find(name).family.head


def build(
    name: str,
    weights: str | None = None,
    *,
    weights_dir: str | None = None,
    dtype: str | None = None,
    frozen_statistics: bool = True,
    freeze: str | None = None,
    **options: Any,
) -> "tuple[keras.Model, bool]":
    """A network of the zoo to stand something on, for images of any size.

    Args:
        name: of the network.
        weights: of the network; None for new ones.
        weights_dir: see `zoo.get`.
        dtype: the policy of the layers.
        frozen_statistics: whether batch normalization becomes a scale and an offset, see
            `statistics.frozen`; with `weights` only.
        freeze: the last stage that is not trained.
        **options: others of `zoo.backbone`.

    Returns:
        The backbone, and whether it had batch statistics that are constant now.

    Raises:
        InputError: an argument is none of the above, or does not fit the others.
    """
    from . import statistics

    network = zoo.backbone(
        name,
        weights=weights,
        weights_dir=weights_dir,
        input_shape=(None, None, 3),
        dtype=dtype,
        **options,
    )
    frozen = weights is not None and frozen_statistics and bool(statistics.normalizations(network))
    if frozen:
        network = statistics.frozen(network)
    if freeze:
        if weights is None:
            raise InputError("freeze is for backbones with weights.")
        zoo.freeze(network, freeze)
    return network, frozen


def register() -> None:
    """Adds the networks to the zoo's registry."""
    for name, shortcut in (("resnet10_shapes", "B"), ("plain10_shapes", None)):
        arguments: dict[str, Any] = {"width": 16, "shortcut": shortcut}
        zoo.register(
            name, small_resnet, arguments=arguments, free=("output_stride",), dataset="shapes"
        )
    zoo.register("vgg16_shapes", thin_vgg, dataset="shapes", head=("conv5", "fc7"))


register()
