"""What the recipes of DenseNets and of stochastic depth say; see recipe_texts.py."""

import recipe_texts

CIFAR = """\
# {network} on {title}, as in Sec. 4.2 of arXiv 1608.06993.
#
#   python -m resnet_keras.train --recipe={network}_{dataset}
#
# Hardware: the authors used one GPU. Time: not measured.
# Paper: {paper} % test error (Table 2, "{mark}"). This recipe: not measured.
--model={network}
--dataset={dataset}
--train_split=trainval
--eval_split=test
# "For preprocessing, we normalize the data using the channel means and standard deviations." Crops
# and flips are the paper's "+". (Without them it drops 0.2 behind each convolution but the first:
# --block_dropout=0.2.)
--normalization=channel
# "On CIFAR and SVHN we train using batch size 64 for 300 and 40 epochs, respectively." An epoch of
# CIFAR has 781.25 steps.
--batch_size=64
--train_steps=234375
--eval_every=1250
# "The initial learning rate is set to 0.1, and is divided by 10 at 50% and 75% of the total number
# of training epochs."
--schedule=step
--learning_rate=0.1
--boundaries=117187,175781
--momentum=0.9
--nesterov
# Torch decays every parameter.
--decayed=all
--weight_decay=1e-4
"""

IMAGENET = """\
# densenet121, as in Sec. 4.2 of arXiv 1608.06993.
#
#   python -m resnet_keras.train --recipe=densenet121_imagenet --data_dir=FOLDER
#
# Hardware: the authors used 4 GPUs. Time: not measured.
# Paper: 25.0 % top-1 error, one crop (their README). This recipe: not measured.
# For class folders instead of TFDS's ImageNet: --dataset=folder.
--model=densenet121
--dataset=imagenet2012
--train_split=train
--eval_split=val
# "We adopt the same data augmentation scheme for training images as in [8, 11, 12]": that of
# fb.resnet.torch, within which the authors' code runs.
--image_size=224
--min_area=0.08
--pca_noise=0.1
--colour_jitter=0.4
# "On ImageNet, we train models for 90 epochs with a batch size of 256. The learning rate is set to
# 0.1 initially, and is lowered by 10 times at epoch 30 and 60." An epoch has 5004.6 steps.
--batch_size=256
--train_steps=450410
--eval_every=5004
--schedule=step
--learning_rate=0.1
--boundaries=150137,300274
--momentum=0.9
--nesterov
# Torch decays every parameter.
--decayed=all
--weight_decay=1e-4
"""

STOCHASTIC_DEPTH = """\
# {network} on {title} with stochastic depth, as in Sec. 4 of arXiv 1603.09382.
#
#   python -m resnet_keras.train --recipe={network}_{dataset}_stochastic_depth
#
# Hardware: the authors used one GPU. Time: not measured.
# Paper: {paper} % test error. This recipe: not measured.
# Two differences: option A's shortcut subsamples here, where the authors' code averages 2x2 before
# it adds zero channels; and here each example drops blocks of its own, there each batch.
--model={network}
# The last block survives with p_L = 0.5, those before it more often, linearly.
--stochastic_depth=0.5
--dataset={dataset}
# The authors hold 5,000 images out and give the test error of the epoch that is best on them; here
# it is that of the last one.
--train_split=train
--eval_split=test
--normalization=channel
{settings}\
# Their main.lua: 500 epochs, here of 351.6 steps; 0.1, divided by 10 after half and three quarters.
--batch_size=128
--train_steps=175781
--eval_every=1000
--schedule=step
--learning_rate=0.1
--boundaries=87890,131835
--momentum=0.9
--nesterov
# Torch decays every parameter.
--decayed=all
--weight_decay=1e-4
"""
_STANDARD = """\
# "The 1202-layer architecture on CIFAR-10 can be trained ... under our standard settings" (their
# README). Where memory is short: --remat.
"""

# By network and data set, errors in percent.
ON_CIFAR = {
    ("densenet40_12", "cifar10"): "5.24",
    ("densenet40_12", "cifar100"): "24.42",
    ("densenet_bc100_12", "cifar10"): "4.51",
    ("densenet_bc100_12", "cifar100"): "22.27",
}
DROPPING = {
    ("resnet110", "cifar10"): "5.25",
    ("resnet110", "cifar100"): "24.58",
    ("resnet1202", "cifar10"): "4.91",
}


def texts() -> dict[str, str]:
    """The text of every recipe of these, by its name."""
    found = {"densenet121_imagenet": IMAGENET}
    for (network, dataset), paper in ON_CIFAR.items():
        found[f"{network}_{dataset}"] = CIFAR.format(
            network=network,
            title=recipe_texts.TITLES[dataset],
            dataset=dataset,
            paper=paper,
            mark="C10+" if dataset == "cifar10" else "C100+",
        )
    for (network, dataset), paper in DROPPING.items():
        found[f"{network}_{dataset}_stochastic_depth"] = STOCHASTIC_DEPTH.format(
            network=network,
            title=recipe_texts.TITLES[dataset],
            dataset=dataset,
            paper=paper,
            settings=_STANDARD if network == "resnet1202" else "",
        )
    return found
