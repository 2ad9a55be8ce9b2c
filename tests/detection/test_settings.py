"""The numbers of detectors."""

import json

import pytest

from resnet_keras.detection.settings import PRESETS, Settings, settings
from resnet_keras.errors import InputError


def test_the_papers_numbers():
    paper = settings("paper", "c4")
    assert paper.anchor_sizes == ((128, 256, 512),)
    assert paper.anchor_ratios == (0.5, 1, 2)
    assert (paper.rpn_samples, paper.roi_samples) == (256, 128)
    assert (paper.roi_positive_share, paper.roi_negative) == (0.25, (0.1, 0.5))
    assert (paper.proposals_before, paper.proposals) == ((12000, 6000), (2000, 300))
    assert (paper.proposal_iou, paper.nms_iou, paper.rpn_beta) == (0.7, 0.3, 1 / 9)
    assert paper.masked
    assert not settings("torchvision", "fpn").masked


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_plain_data(preset):
    for neck in PRESETS[preset]:
        values = settings(preset, neck)
        assert Settings(**values._asdict()) == values
        restored = json.loads(json.dumps(values._asdict()))
        assert settings(preset, neck, **restored) == values


def test_short_forms():
    values = settings("paper", "c4", proposals=7, proposals_before=9, anchor_sizes=[8, 16.0])
    assert (values.proposals, values.proposals_before) == ((7, 7), (9, 9))
    assert values.anchor_sizes == ((8, 16.0),)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"nms": 0.5}, "setting of a detector"),
        ({"nms_iuo": 0.5}, "nms_iou"),
        ({"roi": "crop"}, "max_pool"),
        ({"roi_form": "crop"}, "matmul"),
        ({"roi_samples": 0}, "roi_samples must be positive, not 0"),
        ({"proposals": 0}, "proposals must be positive"),
        ({"score_threshold": 1.5}, r"score_threshold must be in \[0, 1\], not 1.5"),
        ({"rpn_negative": 0.9}, "rpn_negative=0.9 must not be above rpn_positive=0.7"),
        ({"anchor_sizes": ()}, "must not be empty"),
    ],
)
def test_what_is_no_setting(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        settings("paper", "c4", **changes)


def test_unknown_presets_and_necks():
    with pytest.raises(InputError, match="preset"):
        settings("mmdet", "c4")
    with pytest.raises(InputError, match="neck"):
        settings("torchvision", "c4")


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
