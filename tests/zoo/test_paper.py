"""The paper's numbers agree with each other and with the networks."""

import pytest

from resnet_keras import zoo
from resnet_keras.zoo import paper


def test_errors_are_of_networks_that_there_are():
    for found in (*paper.IMAGENET, *paper.CIFAR10):
        network = zoo.NETWORKS[found.network]
        assert (found.shortcut is None) == (network.shortcut is None)
        assert (network.dataset == "imagenet") == (found in paper.IMAGENET)
        assert paper.errors(*found[:3]) == found  # each once
    assert paper.errors("resnet20", "A", paper.TEN_CROP) is None


def test_what_the_paper_says_of_its_numbers():
    """Statements of Sec. 4.1, 4.2 and 4.3, which a mistyped number would make wrong."""

    def top1(network, shortcut, protocol=paper.TEN_CROP):
        return float(paper.errors(network, shortcut, protocol).top1)

    # "ResNet reduces the top-1 error by 3.5%", and 34 layers are better than 18 by 2.8 %.
    assert top1("plain34", None) - top1("resnet34", "A") == pytest.approx(3.5, abs=0.05)
    assert top1("resnet18", "A") - top1("resnet34", "A") == pytest.approx(2.85, abs=0.001)
    assert top1("plain34", None) > top1("plain18", None)
    assert top1("resnet34", "A") > top1("resnet34", "B") > top1("resnet34", "C")
    deep = ("resnet50", "resnet101", "resnet152")
    for protocol in (paper.TEN_CROP, paper.MULTI_SCALE):
        errors = [top1("resnet34", "C", protocol), *(top1(name, "B", protocol) for name in deep)]
        assert errors == sorted(errors, reverse=True)
    assert paper.errors("resnet152", "B", paper.MULTI_SCALE).top5 == "4.49"  # Sec. 4.1's text
    cifar = [top1(f"resnet{n}", "A", paper.SINGLE_VIEW) for n in (20, 32, 44, 56, 110)]
    assert cifar == sorted(cifar, reverse=True)
    assert top1("resnet1202", "A", paper.SINGLE_VIEW) > cifar[-1]


@pytest.mark.parametrize("table", [*paper.TABLES, paper.REFERENCES], ids=lambda table: table[0])
def test_tables_are_whole(table):
    title, columns, rows = table
    assert title
    assert all(len(row) == len(columns) for row in rows)


def test_coco_gains_are_those_of_the_text():
    cells = {
        (row.network, row.system): (float(row.ap50), float(row.ap))
        for row in paper.DETECTION
        if row.tested == "COCO val"
    }
    vgg, resnet = cells["VGG-16", "baseline"], cells["ResNet-101", "baseline"]
    assert resnet[0] - vgg[0] == pytest.approx(6.9)  # appendix A
    assert resnet[1] - vgg[1] == pytest.approx(6.0)  # 28 % of 21.2
    # Each improvement adds to those before it (Table 9).
    gains = [found for key, found in cells.items() if key[0] == "ResNet-101"]
    assert gains == sorted(gains)


def test_detection_rows_are_each_once_and_their_recipes_there():
    keys = [(row.network, row.system, row.tested) for row in paper.DETECTION]
    assert len(set(keys)) == len(keys) == 14
    recipes = {row.recipe for row in paper.DETECTION} - {None}
    assert recipes <= set(zoo.recipes.names("detection"))


def test_localization_rows_are_each_once_and_their_recipes_there():
    keys = [(row.method, row.network, row.testing) for row in paper.LOCALIZATION]
    assert len(set(keys)) == len(keys) == 5
    recipes = {row.recipe for row in paper.LOCALIZATION} - {None}
    assert recipes <= set(zoo.recipes.names("localization"))
    ours = paper.LOCALIZATION[1:]
    assert [row.true_class for row in ours] == ["13.3", "11.7", None, None]  # dense is better
    # R-CNN and the ensemble improve (appendix C), the latter to 9.0 % in the competition.
    assert [row.top5 for row in ours] == [None, "14.4", "10.6", "8.9"]
    assert ours[-1].top5_test == "9.0"
    (header,) = {zoo.recipes.path(name, "localization").read_text() for name in recipes}
    for number in ("13.3 %", "11.7 %", "14.4 %", "10.6 %"):
        assert number in header


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
