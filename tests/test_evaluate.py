"""The evaluation command and its results file."""

import csv
import json

import numpy as np
import pytest

from resnet_keras import evaluate, pipelines, zoo
from resnet_keras.pipelines import encoded, stream

DIGITS = ("--model=resnet20", "--weights=digits", "--dataset=digits")


def test_prints_and_records_a_measurement(tmp_path, capsys):
    results = tmp_path / "results.json"
    results.write_text(json.dumps([{"model": "resnet20", "weights": "other"}]))
    for batch_size in (360, 7):  # a second measurement takes the first one's place
        arguments = ["evaluate", *DIGITS, f"--batch_size={batch_size}", f"--results={results}"]
        assert evaluate.main(arguments) == 0, capsys.readouterr().err
        said = capsys.readouterr().out
        assert "top-1 error 0.28 %, top-5 error 0.00 % (360 examples, single view)" in said
    other, row = json.loads(results.read_text())
    assert other["weights"] == "other"
    (shipped,) = zoo.ENTRIES["resnet20", "digits"].measured
    assert {k: row[k] for k in row if k != "versions"} == {
        k: shipped[k] for k in shipped if k != "versions"
    }


def test_counts_every_example_of_a_ragged_stream():
    model = zoo.get("resnet8", num_classes=6)
    images = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), "uint8")
    labels = np.argmax(model(images), axis=1).astype("int32")
    labels[10] = (labels[10] + 1) % 6  # the one wrong answer is in the last, ragged batch
    errors = evaluate.measure(model, stream.evaluation(images, labels, 4))
    assert errors.examples == 11
    assert errors.top1 == pytest.approx(1 / 11)


SIZE = 64  # of crops; its features are 2x2, the window that slides over larger images


@pytest.fixture(scope="module")
def network():
    """An untrained network of two classes whose answers differ from image to image."""
    import keras

    keras.utils.set_random_seed(0)
    return zoo.get("resnet18", num_classes=2, input_shape=(None, None, 3))


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    sized = zoo.get("resnet18", num_classes=2, input_shape=(SIZE, SIZE, 3))
    sized.set_weights(network.get_weights())
    zoo.weights.save(path, sized)
    return path


def pillow_images(folder, side):
    """Images of val/ in order, their shorter side resized by Pillow, with labels."""
    image_module = pytest.importorskip("PIL.Image")
    for label, kind in enumerate(("discs", "stripes")):
        for path in sorted((folder / "val" / kind).iterdir()):
            image = image_module.open(path)
            width, height = image.size
            short = min(width, height)
            size = (side * width // short, side * height // short)
            yield np.asarray(image.resize(size, image_module.Resampling.BILINEAR)), label


def softmax(logits):
    raised = np.exp(np.float64(logits) - np.max(logits))
    return raised / raised.sum()


def test_ten_crop_is_the_mean_of_ten_softmaxes(network, photographs):
    dataset = pipelines.evaluation(
        "folder", "val", 5, data_dir=photographs, image_size=SIZE, resize=72, crops="ten"
    )
    scores = evaluate.crop_scores(network, dataset)
    assert len(scores.labels) == 12
    for row, (image, label) in enumerate(pillow_images(photographs, 72)):
        height, width, _ = image.shape
        places = [(y, x) for y in (0, height - SIZE) for x in (0, width - SIZE)]
        places.append((round((height - SIZE) / 2), round((width - SIZE) / 2)))
        shares = []
        for y, x in places:
            crop = image[y : y + SIZE, x : x + SIZE]
            for view in (crop, crop[:, ::-1]):
                shares.append(softmax(network(view[None].astype("float32"))[0]))
        expected = np.mean(shares, axis=0)
        np.testing.assert_allclose(np.exp(scores.log_shares[row]), expected, atol=5e-3)
        assert scores.labels[row] == label


def test_multi_scale_is_the_mean_over_positions_mirror_images_and_scales(network, photographs):
    """Against a loop over every position of the features, window by window."""
    import keras

    scales = (64, 96)
    dense = evaluate.fully_convolutional(network, SIZE)
    source = pipelines.open_split("folder", "val", data_dir=photographs)
    scores = evaluate.multi_scale_scores(dense, source, scales, pixels_per_batch=30_000)
    trunk = keras.Model(network.input, network.get_layer("conv5_block2_out").output)
    kernel, bias = (np.asarray(v) for v in network.get_layer("logits").weights)
    expected = np.zeros((12, 2))
    for scale in scales:
        for row, (image, _) in enumerate(pillow_images(photographs, scale)):
            for view in (image, image[:, ::-1]):
                features = np.asarray(trunk(view[None].astype("float32"))[0])
                positions = [
                    softmax(features[y : y + 2, x : x + 2].mean(axis=(0, 1)) @ kernel + bias)
                    for y in range(features.shape[0] - 1)
                    for x in range(features.shape[1] - 1)
                ]
                expected[row] += np.mean(positions, axis=0) / (2 * len(scales))
    np.testing.assert_allclose(np.exp(scores.log_shares), expected, atol=5e-3)
    np.testing.assert_array_equal(scores.labels, [0] * 6 + [1] * 6)


def test_at_its_own_size_the_fully_convolutional_network_is_the_network(network):
    images = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype("float32")
    dense = evaluate.fully_convolutional(network, SIZE)(images)
    assert dense.shape == (3, 1, 1, 2)
    np.testing.assert_allclose(dense[:, 0, 0], network(images), rtol=1e-4, atol=1e-4)


def test_an_ensemble_averages_softmax_scores():
    labels = np.array([0, 1], "int32")
    shares = np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.4, 0.6], [0.1, 0.9]]])
    members = [evaluate.Scores(np.log(s), labels) for s in shares]
    together = evaluate.average(members)
    np.testing.assert_allclose(np.exp(together.log_shares), [[0.65, 0.35], [0.35, 0.65]])
    assert [evaluate.count_errors(m).top1 for m in (*members, together)] == [0.5, 0.5, 0.0]


def test_scores_too_small_for_float32_are_told_apart():
    """Six classes; the label's score underflows and is still the second largest."""
    logits = np.array([[900.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0]])
    scores = evaluate.Scores(evaluate.log_softmax(logits), np.array([1], "int32"))
    errors = evaluate.count_errors(scores)
    assert (errors.top1, errors.top5) == (1.0, 0.0)


def test_a_published_folder_is_measured_as_its_weights_are(tmp_path, capsys):
    zoo.save(zoo.get("resnet20", weights="digits"), tmp_path / "mine")
    results = tmp_path / "results.json"
    arguments = [f"--model={tmp_path / 'mine'}", "--dataset=digits", f"--results={results}"]
    assert evaluate.main(["evaluate", *arguments]) == 0, capsys.readouterr().err
    assert f"{tmp_path / 'mine'} on digits/test: top-1 error 0.28 %" in capsys.readouterr().out
    (row,) = json.loads(results.read_text())
    assert row["weights"] == "its own"
    assert row["training"]["began as"].startswith("resnet20 digits")


@pytest.mark.parametrize("protocol", evaluate.PROTOCOLS)
def test_protocols_on_the_command_line(protocol, photographs, weights, tmp_path, capsys):
    arguments = [
        "evaluate",
        "--dataset=folder",
        f"--data_dir={photographs}",
        f"--protocol={protocol}",
        "--scales=64,80",
        "--batch_size=5",
        f"--results={tmp_path / 'results.json'}",
        f"--per_class={tmp_path / 'classes.csv'}",
    ]
    single = ["--model=resnet18", f"--weights={weights}"]
    assert evaluate.main([*arguments, *single]) == 0, capsys.readouterr().err
    ensemble = [f"--ensemble=resnet18={weights},resnet18={weights}"]
    assert evaluate.main([*arguments, *ensemble]) == 0, capsys.readouterr().err
    alone, together = json.loads((tmp_path / "results.json").read_text())
    assert together["model"] == "resnet18+resnet18"
    for row in (alone, together):
        assert (row["split"], row["protocol"], row["examples"]) == ("val", protocol, 12)
        assert row["image_size"] == SIZE
        assert row["top1_error"] == alone["top1_error"]  # of twins
        if protocol == "multi_scale":
            assert row["scales"] == [64, 80]
        else:
            assert row["resize"] == 73  # 64 * 256 / 224
    with open(tmp_path / "classes.csv", newline="") as file:
        discs, stripes = csv.DictReader(file)
    assert (discs["name"], stripes["name"]) == ("discs", "stripes")
    assert discs["examples"] == stripes["examples"] == "6"
    mean = (float(discs["top1_error"]) + float(stripes["top1_error"])) / 2
    assert mean == pytest.approx(alone["top1_error"], abs=1e-5)


def test_a_broken_image_is_an_error_that_names_it(photographs, weights, tmp_path, capsys):
    folder = tmp_path / "val" / "discs"
    folder.mkdir(parents=True)
    (tmp_path / "val" / "stripes").mkdir()
    for kind in ("discs", "stripes"):
        image = next((photographs / "val" / kind).iterdir())
        (tmp_path / "val" / kind / "good.jpg").write_bytes(image.read_bytes())
    (folder / "half.jpg").write_bytes((folder / "good.jpg").read_bytes()[:900])
    for protocol in evaluate.PROTOCOLS:
        arguments = ["--dataset=folder", f"--data_dir={tmp_path}", f"--weights={weights}"]
        arguments += ["--model=resnet18", f"--protocol={protocol}", "--scales=64"]
        assert evaluate.main(["evaluate", *arguments]) == 2
        said = [s for s in capsys.readouterr().err.splitlines() if s.startswith("error: ")]
        assert len(said) == 1
        assert said[0].startswith(f"error: cannot decode {folder / 'half.jpg'}; ")


def test_resize_crop_and_interpolation_come_from_the_weights(network, tmp_path):
    path = tmp_path / "resnet18.safetensors"
    shown = zoo.entries.Preprocessing(image_size=96, resize=128, interpolation="bicubic")
    zoo.weights.save(path, network, preprocessing=shown)
    evaluate.shared_flags.parse(evaluate.FLAGS, ["evaluate"])
    _, file = zoo.weights.find("resnet18", path)
    assert evaluate._protocol(file) == {
        "protocol": "single_crop",
        "image_size": 96,
        "resize": 128,
        "interpolation": "bicubic",
    }


def test_a_photograph_is_resized_once_for_each_scale(photographs):
    source = pipelines.open_split("folder", "val", data_dir=photographs)
    shapes = [images.shape[1:3] for _, images, _ in encoded.whole_images(source, 80, 30_000)]
    assert all(min(shape) == 80 for shape in shapes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset=folder", "--weights=digits"], "--data_dir"),
        ([*DIGITS, "--protocol=ten_crop"], "photographs"),
        ([*DIGITS, "--resize=64"], "photographs"),
        (["--ensemble=resnet20", "--dataset=digits"], "NAME=WEIGHTS"),
        (["--ensemble=resnet20=digits", "--weights=digits"], "--ensemble"),
        (["--model=resnet20", "--dataset=digits"], "--weights"),
        (["--model=resnet20", "--weights=nothing", "--dataset=digits"], "digits"),
        (["--model=resnet20", "--weights=w.safetensors"], "w.safetensors"),
        (["--model=resnet19", "--weights=digits"], "6n+2"),
        ([*DIGITS, "--dataset=cifar100"], "side 16"),
        ([*DIGITS, "--dataset=cifar10"], "side 16"),
        ([*DIGITS, "--split=validation"], "val"),
        ([*DIGITS, "--results=broken.json"], "broken.json"),
        ([*DIGITS, "--results=/proc/nowhere/r.json"], "/proc/nowhere"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text("{")
    assert evaluate.main(["evaluate", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert words in said
    assert said.count("\n") == 1
    assert (tmp_path / "broken.json").read_text() == "{"


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
