"""Builds networks by name and loads weights into them."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from resnet_keras.errors import InputError, unknown
from resnet_keras.facts import BATCH
from resnet_keras.networks import maxout, projections, widths

from . import networks
from .network import FREE, MAXOUT, NORMALIZATION, PROJECTIONS, WIDTH, of_weights
from .weights import assignment, finding, foreign, layouts, publish, record

if TYPE_CHECKING:
    import keras


def get(
    name: str | os.PathLike,
    *,
    weights: str | os.PathLike | None = None,
    weights_dir: str | os.PathLike | None = None,
    num_classes: int | None = None,
    input_shape: Sequence[int | None] | None = None,
    include_top: bool | None = None,
    pooling: str | None = None,
    **overrides: Any,
) -> "keras.Model":
    """Builds a network, and loads weights into it.

    Args:
        name: one of `list_models()`, resnetN or plainN of any other depth 6n+2, or a folder that
            has weights: that `save` wrote, or of a run of `train`, of which a warning says what is
            taken (as "./resnet50" or a `Path` where it is called as a network).
        weights: None (He initialization); a registered tag, such as "a1_in1k", or "imagenet" or
            "cifar10" for the network's default; or the path of a file: .safetensors in this
            package's, torchvision's, timm's or transformers' layout (or transformers' folder),
            .weights.h5, .keras or .h5 of this package or keras.applications, or PyTorch's .pth.
            What they settle (classes, shortcut, normalization) becomes the default of the other
            arguments; another value of what belongs to them is refused. Dicts and prefixes around
            torch's weights are taken off; where a file has the weights and their average, the
            average is taken, and a warning says so. A file that is a registered one by its name
            or hash brings what its tag would; timm's config.json beside its weights is read.
        weights_dir: a folder in which registered files are looked for, instead of downloading
            them to the cache folder (RESNET_KERAS_HOME).
        num_classes: with weights of another number, or of none, the head is new and the rest is
            loaded.
        input_shape: (height, width, channels); height and width may be None. One channel of grey
            pixels is seen as RGB. Of networks for series (length, channels); the length may be
            None.
        include_top: False ends at the last stage's features; by default True.
        pooling: of those features, "avg", "max" or None.
        **overrides: options of the network, those below and, of a network of `register`, its own.

    Options of every network:
        dtype: a Keras dtype policy such as "mixed_bfloat16"; by default Keras's current one.
            Logits are float32 under each.
        mean, std: of the pixels, per channel or per pixel, in units of 0 to 255; by default those
            of the data set that the network is made for.
        normalization: what stands behind convolutions: "batch" (the default), "synchronized" (of
            the batch over all replicas), "group" (Wu and He, arXiv 1803.08494: 32 groups of
            channels, or the next divisor with 2 in each), "layer" (one group), or "frozen" (batch
            normalization of which nothing is trained). Weights of "batch" load into "synchronized"
            and "frozen" ones too. VGG without batch normalization has none.
        epsilon: of the normalizations; by default 1e-5.
        synchronized: True is "synchronized"; by default False.
        stochastic_depth: rate in [0, 1) at which the last block drops its residual branch in
            training, block l of L at l/L of it; by default 0. Residual networks only.
        maxout: None, the default, or a whole number of 2 or more: so many linear maps of the pooled
            features, of which the largest value is taken for each of as many units, stand between
            them and the logits (Goodfellow et al., arXiv 1302.4389). It belongs to the weights,
            unless the head is new. VGG has none.
        dropout: rate in [0, 1) at which features are dropped before the logits in training; by
            default 0, and of VGG, where it stands behind each hidden layer, 0.5.

    Options of residual networks:
        shortcut: "A" (zero-padded), "B" (projection where dimensions grow) or "C" (projection
            everywhere); by default "B" for ImageNet's networks and ResNeXts, and "A" for CIFAR's.
            C, D and SE networks have none.
        projections: of resnetN: share in [0, 1] of the blocks, counted from the first, whose
            shortcuts are projections even where dimensions stay; by default 0. With "A" the other
            blocks that grow are zero-padded, with "B" they are projected; 1 is "C". It is rounded
            to whole blocks, a half up, and belongs to the weights.
        block_dropout: of resnetN: rate in [0, 1) at which features are dropped in front of the
            last convolution of each block in training; by default 0.
        width: of ResNets, plain ones too, of C, D and SE networks and of preact_resnetN: times how
            many channels all convolutions have, such as 0.5; by default 1. Channels of the first
            stage are rounded, for ImageNet to a multiple of 8 and for CIFAR to a whole number, and
            the stages after it have 2, 4 and 8 times as many. It belongs to the weights.
        inner_widths: of the same networks, of wide ones and of resnetv2_50 and deeper: how many
            channels are between the convolutions of each block in turn; by default None, as many as
            by their papers. Files of pruned networks (`resnet_keras.prune`) have them.
        stride_in_1x1: of resnet50 and deeper ones for ImageNet: True strides in the first 1x1 of a
            block (the paper), False in its 3x3 ("v1.5"); by default True.
        output_stride: how many times smaller than the images the last features are: 32, 16 or 8
            for ImageNet, 4, 2 or 1 for CIFAR. Below the default, the first of these, the last
            stages are dilated instead of striding: of the same weights, a finer map, of which the
            default's is every second value or every fourth. Any weights load.

    Options of pre-activation networks (`resnetv2_50`, `preact_resnet164`, `wrn28_10`, ...):
        output_stride: as above; those of keras.applications' form (`resnet50v2`) have none.
        width: of `resnetv2_50`, `101` and `152`: channels of the stem, 64; stages have 4, 8, 16 and
            32 times as many.
        block_dropout: of wide networks: rate in [0, 1) at which features are dropped between the
            convolutions of each block in training; by default 0.

    Options of DenseNets:
        growth_rate: of densenet121, 169 and 201: channels that each block adds, 32.
        block_dropout: rate in [0, 1) at which channels are dropped behind each convolution but the
            stem's in training; by default 0.

    Options of VGG:
        width: channels of the first stage, 64; the others have 2, 4, 8 and 8 times as many.
        hidden: units of each of the two hidden layers, 4096.

    Options of resnet1d, the network for time series:
        width: channels of the first block, 64; the two others have twice as many.
        z_normalization: True, the default, brings each channel of each series to mean 0 and
            deviation 1, as is usual with the UCR archive; False keeps levels and amplitudes.

    `synchronized`, `stochastic_depth`, `dropout` and `block_dropout` are of the training and not of
    the weights, as are a "synchronized" and a "frozen" normalization: no file settles them.

    Weights of another network are refused, and the message names it. What no file can tell: by
    its tensors a residual network without projections (option A) is the plain one of its depth,
    so that in torch's layout, or in safetensors without this package's header, both are loaded as
    the network that is asked for. A .weights.h5 has no epsilon and no dtype, torch's layout no
    normalization, epsilon or stride: give them where they are not the defaults.

    Returns:
        A model from raw RGB pixels (batch, height, width, channels) in [0, 255], uint8 or float,
        or from series (batch, length, channels), to float32 logits (batch, classes).

    Raises:
        InputError: unknown name, weights or option, arguments that contradict one another or the
            weights, or weights of another network or another shape.
    """
    given = {
        "num_classes": num_classes,
        "input_shape": input_shape,
        "include_top": include_top,
        "pooling": pooling,
    }
    given = {key: value for key, value in given.items() if value is not None}
    network, file = finding.find(name, weights, weights_dir)
    return build(network, file, **given, **overrides)


def build(
    network: networks.Network, file: "finding.WeightsFile | None", **given: Any
) -> "keras.Model":
    """Builds a network with what `weights.find` returns; `given` are the arguments of `get`."""
    options = given = _checked(network, given)
    if file is not None:
        _check_said(network, file, given)
        options = {**_settled(file, given), **given}
    model = network.build(**options)
    record.write(model, network, options)
    if file is not None:
        head = None if file.headless else file.options.get("num_classes")
        kept = options.get("include_top", True) and options.get("num_classes") == head
        if head is None and options.get("include_top", True):
            foreign.warn_of_new_head(file.path, file.tensors)
        hidden = getattr(network.files, "HIDDEN", ())  # belongs to the head, whatever the classes
        whole = file.headless or not options.get("include_top", True)
        new = () if kept else ("logits", *hidden) if whole else ("logits",)
        if options.get(MAXOUT) != file.options.get(MAXOUT):
            new = (*new, MAXOUT)  # of this head, or none
        assignment.assign(model, file, skip=new)
        publish.remember(
            model,
            file,
            class_names=file.class_names if kept else None,
            new_head=options.get("include_top", True) and not kept,
        )
    return model


def check_options(
    network: networks.Network, file: "finding.WeightsFile | None", **given: Any
) -> None:
    """Refuses options that `build` would refuse, without Keras.

    Raises:
        InputError: the network has no such option, or it belongs to the weights.
    """
    options = _checked(network, given)
    if file is not None:
        _check_settled(file, options)


def backbone(
    name: str | os.PathLike,
    *,
    weights: str | os.PathLike | None = None,
    weights_dir: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] | None = None,
    endpoints: str | Sequence[str] | None = None,
    **overrides: Any,
) -> "keras.Model":
    """Builds a network that returns the features of its stages.

    Args:
        name, weights, weights_dir, input_shape: as for `get`.
        **overrides: as for `get`: `dtype`, `mean`, `std`, `epsilon`, `normalization`,
            `synchronized` and `stochastic_depth`; of residual networks `shortcut`, `projections`,
            `block_dropout` and `stride_in_1x1`; of these and of plain ones `width`, `inner_widths`
            and `output_stride`, as 16 or 8 for segmentation; of VGG `width` and, with "fc7",
            `hidden` and `dropout`; of resnet1d `width` and `z_normalization`.
        endpoints: of "conv2" to "conv5" (ImageNet, strides 4 to 32), "conv2" to "conv4" (CIFAR,
            strides 1 to 4), "conv1" to "conv5" (VGG, strides 1 to 16: before the pooling behind
            each stage), or "conv1" to "conv3" (resnet1d, all of the series' length); None takes
            all of these. VGG has "fc7", its hidden layers, too.
            Pre-activation networks give sums that are yet to be normalized and rectified, but for
            the last stage's; `resnet50v2`, `101` and `152` at strides of 8, 16, 32 and 32.

    Returns:
        A model from pixels to a dict of features by endpoint, each (batch, h, w, channels), of
        series (batch, length, channels), and those of "fc7" (batch, hidden).
    """
    import keras

    from resnet_keras.networks.network import dtype_policy
    from resnet_keras.networks.surgery import endpoints as outputs_of

    if {"include_top", "num_classes", "pooling"} & overrides.keys():
        raise InputError(
            "A backbone has no head: include_top, num_classes and pooling are for zoo.get."
        )
    if isinstance(endpoints, str):
        endpoints = (endpoints,)

    model = get(
        name,
        weights=weights,
        weights_dir=weights_dir,
        input_shape=input_shape,
        include_top="fc7" in (endpoints or ()),
        **overrides,
    )
    outputs = outputs_of(model)
    for endpoint in endpoints or ():
        if endpoint not in outputs:
            raise unknown(f"endpoint of {name}:", endpoint, outputs)
    stages = [key for key in outputs if key.startswith("conv")]
    chosen = {key: outputs[key] for key in endpoints or stages}
    with dtype_policy(model.dtype_policy):
        return keras.Model(model.input, chosen, name=f"{model.name}_backbone")


def freeze(model: "keras.Model", through: str | None) -> None:
    """Freezes a network's stages up to one, batch normalization too; see `surgery.freeze`."""
    from resnet_keras.networks import surgery

    surgery.freeze(model, through)


def _checked(network, given):
    """The options that are given to a network, its own as a file would give them back.

    Raises:
        InputError: it has no such option, or not this value of it.
    """
    if given.get("include_top") is False:
        for option in ("num_classes", MAXOUT):
            if given.get(option) is not None:
                raise InputError(f"{option} is of a head: leave it out with include_top=False.")
    options = {}
    for option, value in given.items():
        if option in network.arguments and value == network.arguments[option]:
            continue  # what the network is anyway
        if option in network.family.choices and option not in network.options:
            raise InputError(
                f"{network.name} has no option {option}, which other networks of its kind have."
            )
        if option == MAXOUT and value is None:
            options[option] = value
            continue  # as all networks are
        if option in network.family.lacks:
            raise InputError(
                f"{network.name} has no option {option}: {network.family.lacks[option]}."
            )
        if option not in network.accepted:
            raise unknown(f"option of {network.name}:", option, ["weights", *network.accepted])
        if option == NORMALIZATION:
            network.check_normalization(value)
        if option == MAXOUT:
            maxout.check(value)
            value = int(value)
        if option in network.options:
            value = networks.canonical(f"{option} of {network.name}", value)
            choices = network.family.choices.get(option)
            if choices and value not in choices:
                raise unknown(f"{option} of {network.name}:", value, choices)
            if option == WIDTH and option in network.late:
                value = widths.exact(network.dataset, value)  # as files show it
            if option == PROJECTIONS and option in network.late:
                value = _projections(network, value, given)
        options[option] = value
    return options


def _projections(network, share, given):
    """The share as files show it."""
    projections.check(share, given.get("shortcut", network.shortcut))
    return projections.exact(network.dataset, network.depth, share)


def _check_said(network, file, given):
    """Raises `InputError` where neither the file nor the user says what has no sure default."""
    said = {**file.defaults, **file.options, **given}
    if network.files is not None:
        unsaid = network.files.unsaid(network, said)
    else:
        unknown_options = [option for option in network.settled if option not in said]
        unsaid = unknown_options and (
            f"does not say {', '.join(unknown_options)} of {network.name}: give what it was "
            "trained with"
        )
    if unsaid:
        raise InputError(f"{file.path} {unsaid}, or save the model with zoo.save or as .keras.")


def _settled(file, given):
    """The arguments that a file brings: those it settles, and its project's defaults."""
    settled = {**file.defaults, **file.options}
    with_top = settled.pop("include_top", True) or "num_classes" in given  # which asks for a head
    if not given.get("include_top", with_top):
        settled = {**settled, "include_top": False}
        for option in ("num_classes", MAXOUT):
            settled.pop(option, None)
    elif "num_classes" not in {**settled, **given}:
        raise foreign.no_classes(file.path, file.tensors)
    else:
        settled.pop("pooling", None)
    _check_settled(file, given)
    _check_maxout(file, {**settled, **given})
    if given.get("shortcut") == "C":
        settled.pop(PROJECTIONS, None)  # all of them, which was the same
    return settled


def _check_settled(file, given):
    """Raises `InputError` for what belongs to the weights and is given otherwise."""
    network = networks.find(file.model)
    free = {*FREE, NORMALIZATION, MAXOUT, *network.free}
    has_both = PROJECTIONS in network.late and not network.plain and "shortcut" in file.options
    asked = {**file.options, **given}
    if has_both and network.files.same_shortcuts(network, asked, file.options):
        free |= {"shortcut", PROJECTIONS}
    for option in given.keys() & file.options.keys() - free:
        if option in ("mean", "std") or given[option] != file.options[option]:
            shown = option in (WIDTH, PROJECTIONS)
            own = f", where it is {file.options[option]:g}," if shown else ""
            raise InputError(
                f"{option} belongs to the weights in {file.path}{own} and cannot be set beside "
                "them."
            )
    _check_normalization(file, given.get(NORMALIZATION))


def _check_maxout(file, options):
    """Raises `InputError` where a head that is kept is of another `maxout`."""
    kept = options.get("include_top", True) and not file.headless
    kept = kept and options.get("num_classes") == file.options.get("num_classes")
    own = file.options.get(MAXOUT)
    if kept and options.get(MAXOUT) != own:
        raise InputError(
            f"maxout belongs to the weights in {file.path}, where it is {own}, and cannot be "
            f"{options.get(MAXOUT)} beside them, unless num_classes makes the head a new one."
        )


def _check_normalization(file, given):
    """Raises `InputError` where weights are of another normalization than is given."""
    unsaid = NORMALIZATION not in file.options
    if unsaid and layouts.normalizes_groups(file.tensors):  # which it does not tell apart
        if given is None or of_weights(given) == BATCH:
            raise InputError(
                f"{file.path} holds weights of group or layer normalization, and does not say of "
                'which: give normalization="group" or "layer".'
            )
        return
    own = file.options.get(NORMALIZATION, BATCH)
    if given is not None and of_weights(given) != own:
        raise InputError(
            f"normalization belongs to the weights in {file.path}, where it is {own}, and cannot "
            f"be {given} beside them."
        )
