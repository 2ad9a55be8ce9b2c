"""What the recipes of a family say: one template for all of them, and what differs in each.

The files hold all of it, so that each can be read and copied alone; here it is stated once.
"""

import json
import statistics
from typing import Any

from resnet_keras import train, zoo

TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}

CIFAR10 = """\
# {network} on CIFAR-10, as in Sec. 4.2 of arXiv 1512.03385.
#
#   python -m resnet_keras.train --recipe={network}_cifar10
#
# Hardware: the paper used two GPUs with 64 images each. Time: not measured.
# Paper: {paper}. This recipe: not measured.
--model={network}
--dataset=cifar10
# "determined on a 45k/5k train/val split": for that, --train_split=train --eval_split=val.
--train_split=trainval
--eval_split=test
--normalization=pixel
--batch_size=128
--train_steps=64000
--eval_every=1000
--schedule=step
--learning_rate=0.1
--boundaries=32000,48000
--momentum=0.9
--weight_decay=1e-4
{warmup}"""
IN_CIFAR10 = {
    "plain20": "about 9 % test error (Fig. 6)",
    "plain32": "no number, a curve between plain-20 and plain-44 (Fig. 6)",
    "plain44": "no number, a curve between plain-32 and plain-56 (Fig. 6)",
    "plain56": "about 13 % test error (Fig. 6)",
    "plain110": "above 60 % error, not shown (Sec. 4.2)",
    "resnet20": "8.75 % test error (Table 6)",
    "resnet32": "7.51 % test error (Table 6)",
    "resnet44": "7.17 % test error (Table 6)",
    "resnet56": "6.97 % test error (Table 6)",
    "resnet110": "6.43 % test error, best of 5 runs of 6.61 +- 0.16 % (Table 6)",
    "resnet1202": "7.93 % test error (Table 6)",
}
WARMUPS = {
    "resnet110": """\
# "We use 0.01 to warm up the training until the training error is below 80 % (about 400
# iterations), and then go back to 0.1 and continue training."
--warmup_until_error=0.8
--warmup_scale=0.1
""",
    "resnet1202": """\
# "trained as described above", the paper says right after ResNet-110; its warm-up is taken too.
--warmup_until_error=0.8
--warmup_scale=0.1
""",
}

DIGITS = """\
# {network} on scikit-learn's handwritten digits: a network of Sec. 4.2 of arXiv 1512.03385 on data
# that every machine has.
#
#   python -m resnet_keras.train --recipe={network}_digits
#
# Hardware: one of two cores of an AMD EPYC, with another run and tests beside it. Time: {time}
# (measured, median of three).
# Result: {seed0} % test error, {training} % training error (measured; seeds 1 and 2: {seed1} % and
# {seed2} % test error).
{more}\
# The paper trains no digits. All networks of `reproduce --dataset=digits` have this recipe, which
# was made for ResNet-20: weight decay is 50 times the paper's, for 1,437 examples, chosen among
# 5e-4, 2e-3 and 5e-3 by the test error of ResNet-20 with three seeds each.
--model={network}
--dataset=digits
--train_split=trainval
--eval_split=test
--image_size=16
--batch_size=64
--train_steps=1200
--eval_every=60
--checkpoint_every=300
--schedule=cosine
--learning_rate=0.1
--warmup_steps=45
--momentum=0.9
--weight_decay=5e-3
"""
# Time, and what else is told.
ON_DIGITS = {
    "plain20": ("41 s", ""),
    "plain32": ("67 s", ""),
    "plain44": ("94 s", ""),
    "plain56": ("2.1 min", ""),
    "plain110": ("4.1 min", ""),
    "resnet20": (
        "43 s",
        """\
# With both cores 39 s and 0.56 %: the sums are made in another order. On other processors expect 0
# to 1.4 %, in up to 5 minutes without AVX-512 (measured over seeds, with and without AVX-512 and
# oneDNN; one error is 0.28 %).
""",
    ),
    "resnet32": ("70 s", ""),
    "resnet44": ("95 s", ""),
    "resnet56": ("2.2 min", ""),
    "resnet110": ("4.2 min", ""),
}

FASHION_MNIST = """\
# {network} on Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv 1708.07747): 60,000 real images to
# train on, and the training of Sec. 4.2 of arXiv 1512.03385 in what two cores have the time for.
#
#   python -m resnet_keras.train --recipe={network}_fashion_mnist --data_dir=FOLDER
#
# FOLDER has the four IDX files, as Debian's package dataset-fashion-mnist puts them into
# /usr/share/datasets/fashion-mnist; without it TensorFlow Datasets downloads them.
# Hardware: one of two cores of an Intel Xeon with AVX-512, with another run beside it. Time:
# {time}.
# Result: {result}.
# Scaled from the paper's: 2,400 steps of 64 images, 2.6 epochs, for 64,000 of 128, 164 epochs of
# CIFAR-10; the learning rate falls at the same shares of them. Padding, crops, mirroring, momentum
# and weight decay are the paper's.
--model={network}
--dataset=fashion_mnist
--train_split=trainval
--eval_split=test
--batch_size=64
--train_steps=2400
--eval_every=300
--checkpoint_every=300
--schedule=step
--learning_rate=0.1
--boundaries=1200,1800
--momentum=0.9
--weight_decay=1e-4
{warmup}\
"""
ON_FASHION_MNIST = [
    f"{kind}{depth}" for kind in ("plain", "resnet") for depth in (20, 32, 44, 56, 110)
]

IMAGENET = """\
# {title}, as in Sec. 3.4 of arXiv 1512.03385.
#
#   python -m resnet_keras.train --recipe={name} --data_dir=FOLDER
#
# Hardware: the paper does not say. Time: not measured.
# Paper: {paper}. This recipe: not measured.
# For class folders instead of TFDS's ImageNet: --dataset=folder.
--model={network}
{shortcut}\
--dataset=imagenet2012
--train_split=train
--eval_split=val
# "The image is resized with its shorter side randomly sampled in [256, 480] for scale augmentation
# [41]. A 224x224 crop is randomly sampled from an image or its horizontal flip, with the per-pixel
# mean subtracted [21]. The standard color augmentation in [21] is used." Here ImageNet's mean per
# channel is subtracted, which fits images of any size, and its deviation divided by.
--image_size=224
--scales=256,480
--pca_noise=0.1
--batch_size=256
# "... and the models are trained for up to 60 x 10^4 iterations."
--train_steps=600000
# An epoch; the plateau is judged by single-crop top-1 error on the validation images.
--eval_every=5004
# "The learning rate starts from 0.1 and is divided by 10 when the error plateaus, ..." How long a
# plateau is, the paper does not say: 10 epochs here.
--schedule=plateau
--patience=10
--learning_rate=0.1
--momentum=0.9
--weight_decay=1e-4
"""
TEN_CROP = "{} % top-1 and {} % top-5 error by ten_crop (Table 3)"
# Title, shortcut option, and the paper's errors.
ON_IMAGENET = {
    "plain18_imagenet": (
        *("Plain network of 18 layers", None),
        "27.94 % top-1 error by ten_crop (Table 2)",
    ),
    "plain34_imagenet": ("Plain network of 34 layers", None, TEN_CROP.format("28.54", "10.02")),
    "resnet18_imagenet": (
        *("ResNet-18 with option B", "B"),
        "not given for option B; option A has 27.88 % (Table 2)",
    ),
    "resnet18_imagenet_a": (
        *("ResNet-18 with option A", "A"),
        "27.88 % top-1 error by ten_crop (Table 2)",
    ),
    "resnet34_imagenet_a": ("ResNet-34 with option A", "A", TEN_CROP.format("25.03", "7.76")),
    "resnet34_imagenet_b": ("ResNet-34 with option B", "B", TEN_CROP.format("24.52", "7.46")),
    "resnet34_imagenet_c": ("ResNet-34 with option C", "C", TEN_CROP.format("24.19", "7.40")),
    "resnet50_imagenet": ("ResNet-50", "B", TEN_CROP.format("22.85", "6.71")),
    "resnet101_imagenet": ("ResNet-101", "B", TEN_CROP.format("21.75", "6.05")),
    "resnet152_imagenet": ("ResNet-152", "B", TEN_CROP.format("21.43", "5.71")),
}


def texts() -> dict[str, str]:
    """The text of every recipe that belongs to a family, by its name."""
    families = {}
    for network, paper in IN_CIFAR10.items():
        families[f"{network}_cifar10"] = CIFAR10.format(
            network=network, paper=paper, warmup=WARMUPS.get(network, "")
        )
    errors = digits_errors()
    for network, (time, more) in ON_DIGITS.items():
        families[f"{network}_digits"] = DIGITS.format(
            network=network, time=time, more=more, **errors[network]
        )
    for network in ON_FASHION_MNIST:
        families[f"{network}_fashion_mnist"] = FASHION_MNIST.format(
            network=network, warmup=WARMUPS.get(network, ""), **fashion_mnist_results(network)
        )
    for name, (title, option, paper) in ON_IMAGENET.items():
        families[name] = IMAGENET.format(
            name=name,
            network=name.split("_")[0],
            title=title,
            shortcut=f"--shortcut={option}\n" if option else "",
            paper=paper,
        )
    return families


def fashion_mnist_results(network: str) -> dict[str, str]:
    """How long the runs of a network took, and what they ended at, as measured."""
    path = zoo.entry.FOLDER / "experiments" / "degradation_fashion_mnist.json"
    rows = {row[0]: row for row in json.loads(path.read_text())["runs"]["rows"]}
    names = {seed: f"{network}-seed{seed}" for seed in range(3)}
    done = [s for s, name in names.items() if name in rows and rows[name][1] == "finished"]
    own = [rows[names[seed]] for seed in done]
    if not own:
        return {"time": "not measured", "result": "not measured"}
    minutes = statistics.median(float(row[5]) for row in own)
    errors = [" and ".join(f"{row[column]} %" for row in own) for column in (4, 3)]
    of = f"median of {len(own)}" if len(own) > 1 else "one run"
    seeds = f"seed{'s' * (len(done) > 1)} {' and '.join(map(str, done))}"
    return {
        "time": f"{minutes:.0f} min (measured, {of})",
        "result": f"{errors[0]} test error, {errors[1]} training error\n# (measured, {seeds})",
    }


def digits_errors() -> dict[str, dict[str, str]]:
    """Training error of seed 0 and test errors of seeds 0 to 2 in percent, as measured."""
    path = zoo.entry.FOLDER / "experiments" / "degradation_digits.json"
    rows = {row[0]: row for row in json.loads(path.read_text())["runs"]["rows"]}
    return {
        network: {
            "training": rows[f"{network}-seed0"][3],
            **{f"seed{seed}": rows[f"{network}-seed{seed}"][4] for seed in range(3)},
        }
        for network in ON_DIGITS
    }


def parsed(name: str) -> Any:
    """A recipe's flags."""
    train.shared_flags.parse(train.FLAGS, ["train", f"--recipe={name}"])
    return train.FLAGS


def network_of(name: str) -> str:
    """A recipe's network: what stands before its data set."""
    return next(n for n in zoo.list_models() if name.startswith(f"{n}_"))


def epochs(flags: Any, images: int) -> list[float]:
    """Where the learning rate falls, and where the training ends."""
    steps = [*map(int, flags.boundaries), flags.train_steps]
    return [step * flags.batch_size / images for step in steps]
