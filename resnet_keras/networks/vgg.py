"""Networks of Simonyan and Zisserman (arXiv 1409.1556), the baseline of the paper's detectors.

`vgg` builds configurations D and E, of 16 and 19 layers. Each 3x3 convolution is a block of its
stage, `conv5_block3_out` and so on, so that a stage's endpoint is what its max pooling takes: conv5
has stride 16. What follows the stages, the last max pooling first, is the head.
"""

from typing import Unpack

import keras
from keras import layers, ops

from resnet_keras.errors import InputError
from resnet_keras.facts import BATCH, VGG_BLOCKS, VGG_SIDE

from .blocks import CHANNELS_LAST, he_normal
from .layers import Dropout
from .network import Shared, network, positive

WIDTHS = (1, 2, 4, 8, 8)  # of the stages, in widths of the first


def vgg(
    depth: int,
    *,
    batch_norm: bool = False,
    width: int = 64,
    hidden: int = 4096,
    name: str | None = None,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Builds VGG-16 or VGG-19.

    At 224x224 pixels the last stage's pooled features are 7x7, as the first hidden layer takes
    them. At other sizes they are averaged in 7x7 bins that may overlap, as torchvision does it.

    Args:
        depth: 16 or 19.
        batch_norm: whether batch normalization stands behind each convolution, as in torchvision's
            variants; the authors' have none.
        width: channels of the first stage; the others have 2, 4, 8 and 8 times as many.
        hidden: units of each of the two hidden layers, `fc6` and `fc7`.
        num_classes, input_shape, mean, std, **shared: as of `network.network`; but `dropout` stands
            behind each hidden layer and is 0.5 by default, as in the paper (Sec. 3.1).
        name: of the model.

    Returns:
        A model from pixels (batch, height, width, channels), uint8 or float in [0, 255], to
        float32 logits (batch, num_classes); with `include_top=False` to features
        (batch, height / 16, width / 16, 8 * width), rounded down.

    Raises:
        InputError: an argument is none of the above.
    """
    if depth not in VGG_BLOCKS:
        raise InputError(f"VGG networks have depth 16 or 19, not {depth!r}.")
    width = positive("width", width, "the channels of the first stage")
    hidden = positive("hidden", hidden)
    include_top = shared.get("include_top", True)
    _check_sides(shared.get("input_shape"), 32 if include_top else 16)
    if not batch_norm and shared.get("normalization", BATCH) != BATCH:
        raise InputError(
            f"vgg{depth} has no normalization behind its convolutions: leave it out, or take "
            f"vgg{depth}_bn."
        )
    shared.setdefault("dropout", 0.5 if include_top else 0.0)

    def trunk(x, norm, drop_rates):
        for index, rates in enumerate(drop_rates):
            stage = f"conv{index + 1}"
            if index:
                x = _pool(x, f"conv{index}_pool")
            for number in range(1, len(rates) + 1):
                place = f"{stage}_block{number}"
                x = _block(x, WIDTHS[index] * width, place, norm if batch_norm else None)
        return x

    def head(x):
        x = _pool(x, "conv5_pool")
        x = AdaptiveAveragePooling(VGG_SIDE, name="avg_pool")(x)
        x = layers.Flatten(CHANNELS_LAST, name="flatten")(x)
        x = _hidden(x, hidden, "fc6")
        if rate := shared.get("dropout"):
            x = Dropout(rate, name="fc6_dropout")(x)
        return _hidden(x, hidden, "fc7")

    return network(
        trunk,
        head=head,
        blocks=VGG_BLOCKS[depth],
        residual=False,
        name=name or f"vgg{depth}{'_bn' if batch_norm else ''}",
        **shared,
    )


def _check_sides(input_shape, least):
    """Refuses images of which pooling would leave nothing; `network` checks the rest."""
    for side in input_shape[:2] if isinstance(input_shape, tuple | list) else ():
        if isinstance(side, int) and 0 < side < least:
            raise InputError(
                f"VGG takes images of {least}x{least} pixels at least, not input_shape "
                f"{tuple(input_shape)}."
            )


def _block(x, filters, name, norm):
    """A 3x3 convolution with a bias, which torchvision keeps before batch normalization, too."""
    x = layers.Conv2D(
        filters,
        3,
        padding="same",
        data_format=CHANNELS_LAST,
        kernel_initializer=he_normal(),
        name=f"{name}_conv",
    )(x)
    if norm is not None:
        x = norm(name=f"{name}_bn")(x)
    return layers.Activation("relu", name=f"{name}_out")(x)


def _pool(x, name):
    return layers.MaxPooling2D(2, data_format=CHANNELS_LAST, name=name)(x)


def _hidden(x, units, name):
    return layers.Dense(units, "relu", kernel_initializer=he_normal(), name=name)(x)


@keras.saving.register_keras_serializable(package="resnet_keras")
class AdaptiveAveragePooling(layers.Layer):
    """Means over `side` x `side` bins, as torch's AdaptiveAvgPool2d has them.

    Bin i of n over h rows begins at row floor(i h / n) and ends before row ceil((i + 1) h / n), so
    that bins overlap where n does not divide h, and repeat rows where there are fewer. Maps
    (batch, height, width, channels) to (batch, side, side, channels). Keras's layer of this kind
    needs sides that are known when the network is built.
    """

    def __init__(self, side, **kwargs):
        super().__init__(**kwargs)
        self.side = side

    def call(self, x):
        if x.shape[1:3] == (self.side, self.side):
            return x
        rows, columns = (self._weights(ops.shape(x)[axis]) for axis in (1, 2))
        means = ops.einsum("bhwc,ih,jw->bijc", ops.cast(x, "float32"), rows, columns)
        return ops.cast(means, x.dtype)

    def _weights(self, size):
        """Of each row in each bin's mean, float32 (side, size)."""
        bins, places = ops.arange(self.side, dtype="int32"), ops.arange(size, dtype="int32")
        start, end = bins * size // self.side, ((bins + 1) * size + self.side - 1) // self.side
        inside = (places >= start[:, None]) & (places < end[:, None])
        return ops.cast(inside, "float32") / ops.cast(end - start, "float32")[:, None]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.side, self.side, input_shape[3])

    def get_config(self):
        return {**super().get_config(), "side": self.side}
