"""What the recipes of the paper's detectors say: one template, and what differs in each.

The files hold all of it, so that each can be read and copied alone; here it is stated once.
"""

PAPER = """\
# Faster R-CNN with {backbone} on {title}, as in appendix A of arXiv 1512.03385.
#
#   python -m resnet_keras.detection.train --recipe={name} --data_dir=FOLDER
#
# FOLDER is TensorFlow Datasets'. Hardware: {hardware}. Time: not measured.
# Paper: {paper}. This recipe: not measured.
# Other than the paper: it trains the region proposal network and Fast R-CNN in alternation ([32],
# arXiv 1506.01497), and here both learn in each step, as in py-faster-rcnn's end-to-end training.
# {steps}
--model={network}
{freeze}\
{data}\
--scale=600,1000
--neck=c4
# RoI pooling is a maximum over bins; RoIAlign (--roi=align) is younger and places boxes better.
--roi=max_pool
{detector}\
{rate}\
--momentum=0.9
# [32]'s (Sec. 3.1.3) and py-faster-rcnn's; the paper names none for detectors.
--weight_decay=5e-4
"""
RESNET = {
    "network": "resnet101",
    "backbone": "ResNet-101",
    "freeze": """\
# The authors' released network. Its batch statistics are fixed; the paper first computes them once
# more, on ImageNet's training images.
--weights=imagenet
""",
}
VGG = {
    "network": "vgg16",
    "backbone": "VGG-16",
    "freeze": """\
# Its authors' released network, of which [32] tunes "conv3_1 and up".
--weights=imagenet
--freeze=conv2
""",
}
VOC = {
    "hardware": "the paper names none for VOC",
    "detector": "",
    "steps": "The paper gives no steps for PASCAL VOC: {steps}.",
    "rate": """\
--batch_size=2
--eval_batch_size=2
--train_steps={train_steps}
--eval_every=10000
--schedule=step
--learning_rate=0.001
--boundaries={boundary}
""",
}
VOC07 = {
    "title": "PASCAL VOC 2007",
    "data": """\
--dataset=tfds/voc/2007
--train_split=trainval
--eval_split=test
""",
    "steps": "these, and two images a step, are py-faster-rcnn's\n"
    "# (faster_rcnn_end2end); [32] has 80,000 mini-batches, a smaller rate from 60,000 on",
    "train_steps": 70000,
    "boundary": 50000,
}
VOC0712 = {
    "title": "PASCAL VOC 2007 and 2012",
    "data": """\
# Trainval of both years, tested on the test images of 2007.
--dataset=tfds/voc/2007+2012
--train_split=trainval
--eval_dataset=tfds/voc/2007
--eval_split=test
""",
    "steps": "these are about 1.6 times py-faster-rcnn's 70,000 for VOC\n"
    "# 2007 alone, a choice of this package. Two images a step are py-faster-rcnn's",
    "train_steps": 110000,
    "boundary": 80000,
}
COCO = {
    "title": "COCO",
    "hardware": "the paper used 8 GPUs",
    "data": """\
--dataset=tfds/coco/2014
--train_split=train
--eval_split=val
""",
    "steps": "Steps are the paper's for each of the two; so are 8 images, for the region proposal "
    "network\n# (it takes 16 for Fast R-CNN).",
    "detector": """\
# [32]'s for COCO, in the journal's version: one smaller anchor, and RoIs of the background that
# touch no object.
--anchor_sizes=64,128,256,512
--settings=roi_negative=0.0/0.5
""",
    "rate": """\
--batch_size=8
--eval_batch_size=2
# "240k iterations with a learning rate of 0.001 and then for 80k iterations with 0.0001."
--train_steps=320000
--eval_every=20000
--schedule=step
--learning_rate=0.001
--boundaries=240000
""",
}
RECIPES = {
    "fasterrcnn_resnet101_voc07": (RESNET, VOC07, "none for these training images alone"),
    "fasterrcnn_resnet101_voc0712": (RESNET, VOC0712, "76.4 % mAP by VOC's metric (Table 7)"),
    "fasterrcnn_resnet101_coco": (RESNET, COCO, "48.4 % AP50, 27.2 % AP (Table 8)"),
    "fasterrcnn_vgg16_voc07": (
        VGG,
        VOC07,
        "none for these training images alone; [32] has 69.9 % mAP",
    ),
    "fasterrcnn_vgg16_voc0712": (VGG, VOC0712, "73.2 % mAP by VOC's metric (Table 7)"),
    "fasterrcnn_vgg16_coco": (VGG, COCO, "41.5 % AP50, 21.2 % AP (Table 8)"),
}


def texts() -> dict[str, str]:
    """The text of every recipe of the family, by its name."""
    made = {}
    for name, (network, data, paper) in RECIPES.items():
        values = {**network, **data, "name": name, "paper": paper}
        if data is not COCO:
            values |= {
                "hardware": VOC["hardware"],
                "detector": VOC["detector"],
                "steps": VOC["steps"].format(**data),
                "rate": VOC["rate"].format(**data),
            }
        made[name] = PAPER.format(**values)
    return made
