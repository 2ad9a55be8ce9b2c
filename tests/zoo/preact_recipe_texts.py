"""What the recipes of pre-activation and wide networks say; see recipe_texts.py."""

import recipe_texts

PREACT_CIFAR = """\
# {network} on {title}, as in the appendix of arXiv 1603.05027.
#
#   python -m resnet_keras.train --recipe={name}
#
# Hardware: the paper used two GPUs with 64 images each. Time: not measured.
# Paper: {paper}. This recipe: not measured.
--model={network}
--dataset={dataset}
--train_split=trainval
--eval_split=test
# "The implementation details and hyper-parameters are the same as those in [1]", ResNet's: the
# mean per pixel is subtracted.
--normalization=pixel
--batch_size=128
--train_steps=64000
--eval_every=1000
# "The learning rate starts from 0.1, and is divided by 10 at 32k and 48k iterations."
--schedule=step
--learning_rate=0.1
--boundaries=32000,48000
# "... we warm up the training by using a smaller learning rate of 0.01 at the beginning 400
# iterations and go back to 0.1 after that, although we remark that this is not necessary for our
# proposed Residual Unit." Here it grows to 0.1 over as many.
--warmup_steps=400
--momentum=0.9
--weight_decay=1e-4
"""

RELEASED = """\
# preact_resnet1001 on CIFAR-10 with the smaller batches of the authors' released code
# (github.com/KaimingHe/resnet-1k-layers, within fb.resnet.torch), for Table 4 of arXiv 1603.05027.
#
#   python -m resnet_keras.train --recipe=preact_resnet1001_cifar10_b64
#
# Hardware: the authors used two GPUs. Time: not measured.
# Paper: 4.62 % test error, median of 5; 4.69 +- 0.20 (Table 4). This recipe: not measured.
--model=preact_resnet1001
--dataset=cifar10
--train_split=trainval
--eval_split=test
# fb.resnet.torch's: mean and deviation per channel.
--normalization=channel
# -batchSize 64 -nEpochs 200; an epoch has 781.25 steps.
--batch_size=64
--train_steps=156250
--eval_every=1250
# Divided by 10 after 80 epochs and after 121.
--schedule=step
--learning_rate=0.1
--boundaries=62500,94531
--momentum=0.9
--nesterov
# Torch decays every parameter.
--decayed=all
--weight_decay=1e-4
"""

WIDE = """\
# {network} on {title}{with_dropout}, as in Sec. 3 of arXiv 1605.07146.
#
#   python -m resnet_keras.train --recipe={name}
#
# Hardware: the authors used one GPU. Time: not measured.
# Paper: {paper}. This recipe: not measured.
--model={network}
{dropout}\
--dataset={dataset}
--train_split=trainval
--eval_split=test
# Their "meanstd" of Table 5: mean and deviation per channel. Crops are of images padded by 4
# pixels, which the authors' code reflects and this package fills with the mean colour.
--normalization=channel
# The settings of their scripts/train_cifar.sh: 200 epochs, of which each has 390.625 steps; the
# learning rate is multiplied by 0.2 after 60, 120 and 160 of them.
--batch_size=128
--train_steps=78125
--eval_every=625
--schedule=step
--learning_rate=0.1
--boundaries=23437,46875,62500
--decay_factor=0.2
--momentum=0.9
--nesterov
# Torch decays every parameter.
--decayed=all
--weight_decay=5e-4
"""

IMAGENET = """\
# {network}, as in the appendix of arXiv 1603.05027.
#
#   python -m resnet_keras.train --recipe={network}_imagenet --data_dir=FOLDER
#
# Hardware: the paper used 8 GPUs with 32 images each. Time: not measured.
# Paper: {paper}.
# This recipe: not measured.
# For class folders instead of TFDS's ImageNet: --dataset=folder.
--model={network}
--dataset=imagenet2012
--train_split=train
--eval_split=val
# "On ImageNet, we train the models using the same data augmentation as in [1]": of ResNet, shorter
# sides of 256 to 480 pixels, crops, flips and colour noise. Here ImageNet's mean per channel is
# subtracted, which fits images of any size, and its deviation divided by.
--image_size=224
--scales=256,480
--pca_noise=0.1
--batch_size=256
# "The learning rate starts from 0.1 (no warming up), and is divided by 10 at 30 and 60 epochs."
# Where the training ends, the paper does not say: after 90 epochs here, each of 5004.6 steps.
--train_steps=450410
--eval_every=5004
--schedule=step
--learning_rate=0.1
--boundaries=150137,300274
--momentum=0.9
--weight_decay=1e-4
"""

# By network and data set: the papers' words. Medians of 5 runs.
ON_CIFAR = {
    ("preact_resnet110", "cifar10"): "6.37 % test error (Table 3)",
    ("preact_resnet164", "cifar10"): "5.46 % test error, median of 5 (Table 4)",
    ("preact_resnet164", "cifar100"): "24.33 % test error, median of 5 (Table 4)",
    ("preact_resnet1001", "cifar10"): ("4.92 % test error, median of 5; 4.89 +- 0.14 (Table 4)"),
    ("preact_resnet1001", "cifar100"): ("22.71 % test error, median of 5; 22.68 +- 0.22 (Table 4)"),
}
# By network, data set and whether there is dropout.
WIDE_ON_CIFAR = {
    ("wrn16_8", "cifar10", False): "4.27",
    ("wrn16_8", "cifar100", False): "20.43",
    ("wrn40_4", "cifar10", False): "4.53",
    ("wrn40_4", "cifar100", False): "21.18",
    ("wrn28_10", "cifar10", False): "4.00",
    ("wrn28_10", "cifar100", False): "19.25",
    ("wrn28_10", "cifar10", True): "3.89",
    ("wrn28_10", "cifar100", True): "18.85",
}
ON_IMAGENET = {
    "resnetv2_50": "no number for 50 layers",
    "resnetv2_152": "21.1 % top-1 and 5.5 % top-5 error, one crop of 320x320 (Table 5)",
}


def texts() -> dict[str, str]:
    """The text of every recipe of these networks, by its name."""
    found = {}
    for (network, dataset), paper in ON_CIFAR.items():
        name = f"{network}_{dataset}"
        found[name] = PREACT_CIFAR.format(
            network=network,
            name=name,
            title=recipe_texts.TITLES[dataset],
            dataset=dataset,
            paper=paper,
        )
    found["preact_resnet1001_cifar10_b64"] = RELEASED
    for (network, dataset, dropped), error in WIDE_ON_CIFAR.items():
        name = f"{network}_{dataset}{'_dropout' if dropped else ''}"
        dropout = "# Sec. 2.4: between the convolutions of each block.\n--block_dropout=0.3\n"
        found[name] = WIDE.format(
            network=network,
            name=name,
            title=recipe_texts.TITLES[dataset],
            dataset=dataset,
            with_dropout=" with dropout" if dropped else "",
            dropout=dropout if dropped else "",
            paper=f"{error} % test error, median of 5 ({'their README' if dropped else 'Table 5'})",
        )
    for network, paper in ON_IMAGENET.items():
        found[f"{network}_imagenet"] = IMAGENET.format(network=network, paper=paper)
    return found
