"""A student that learns from a teacher: the loss, the run, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import torture

from resnet_keras import optimizers, train, zoo
from resnet_keras.classification import compile_classifier, distillation, distilled, teachers
from resnet_keras.errors import InputError
from resnet_keras.training import checkpoint

SHAPE = (16, 16, 3)
GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (8, *SHAPE)).astype("float32")
LABELS = np.arange(8)


def logits(*shape, scale=5.0):
    return GENERATOR.normal(0, scale, shape).astype("float32")


def expected(labels, student, teacher, distill, temperature, smoothing=0.0):
    """The mean loss, in float64."""

    def log_shares(values):
        values = values.astype("float64")
        values = values - values.max(-1, keepdims=True)
        return values - np.log(np.exp(values).sum(-1, keepdims=True))

    shares = np.eye(student.shape[-1])[labels] if labels.ndim == 1 else labels
    shares = (1 - smoothing) * shares + smoothing / student.shape[-1]
    of_labels = -(shares * log_shares(student)).sum(-1)
    one, other = log_shares(teacher / temperature), log_shares(student / temperature)
    of_teacher = temperature**2 * (np.exp(one) * (one - other)).sum(-1)
    return ((1 - distill) * of_labels + distill * of_teacher).mean()


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
@pytest.mark.parametrize("distill", [0.1, 0.9, 1.0])
def test_the_loss_is_the_papers(distill, temperature):
    student, teacher, labels = logits(64, 10), logits(64, 10), np.arange(64) % 10
    loss = distillation.DistillationLoss(distill, temperature)
    value = float(loss(labels, np.concatenate([student, teacher], -1)))
    assert value == pytest.approx(expected(labels, student, teacher, distill, temperature), 1e-6)


def test_smoothing_and_mixed_labels_act_on_the_labels_part():
    student, teacher = logits(64, 10), logits(64, 10)
    labels = GENERATOR.dirichlet(np.ones(10), 64).astype("float32")
    loss = distillation.DistillationLoss(0.5, 3.0, label_smoothing=0.1)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    value = expected(labels, student, teacher, 0.5, 3.0, smoothing=0.1)
    for each in (loss, again):
        outputs = np.concatenate([student, teacher], -1)
        assert float(each(labels, outputs)) == pytest.approx(value, 1e-6)


def test_large_logits_and_a_perfect_student():
    """Where softmax alone is 0 or 1, nothing is lost or becomes NaN."""
    teacher = logits(16, 10, scale=1e4)
    np.testing.assert_allclose(distillation.divergence(teacher, teacher, 4.0), 0, atol=1e-6)
    student = logits(16, 10, scale=1e4)
    value = expected(np.arange(16) % 10, student, teacher, 1.0, 4.0)
    assert float(np.mean(distillation.divergence(teacher, student, 4.0))) == pytest.approx(value)


def test_keras_agrees_once_its_loss_is_an_instance():
    """Its default leaves softmax and T^2 out; see the module."""
    student, teacher = logits(64, 10), logits(64, 10)
    loss = keras.losses.KLDivergence()
    theirs = keras.distillation.LogitsDistillation(temperature=4.0, loss=loss)
    value = float(theirs.compute_loss(teacher, student))
    ours = float(np.mean(distillation.divergence(teacher, student, 4.0)))
    assert ours == pytest.approx(value, rel=1e-4)  # Keras cuts shares off at 1e-7


@pytest.fixture(scope="module")
def networks():
    """A student and a teacher that differ, by seeds and by moving statistics."""
    keras.utils.set_random_seed(1)
    student = zoo.get("resnet8", num_classes=10, input_shape=SHAPE)
    teacher = zoo.get("resnet8", num_classes=10, input_shape=SHAPE)
    for variable in teacher.non_trainable_variables:
        if variable.path.endswith("moving_mean"):
            variable.assign(variable + 0.1)
    return student, teacher


@pytest.mark.slow
def test_only_the_student_is_trained_and_its_teacher_is_as_in_inference(networks):
    student, teacher = networks
    model = distilled(student, teacher, distill=0.7, temperature=3.0)
    assert [v.path for v in model.variables] == [v.path for v in student.variables]
    assert teacher.trainable  # nothing was done to it
    before = [value.numpy().copy() for value in teacher.variables]
    shown = teacher(IMAGES).numpy()
    np.testing.assert_array_equal(model(IMAGES, training=True)[:, 10:], shown)
    np.testing.assert_array_equal(model(IMAGES)[:, :10], student(IMAGES))
    compile_classifier(model, optimizers.SGD(0.05), label_smoothing=0.1)
    own = [value.numpy().copy() for value in student.trainable_variables]
    first = keras.models.clone_model(student)
    first.set_weights(student.get_weights())
    logs = model.fit(IMAGES, LABELS, batch_size=8, verbose=0).history
    in_training = first(IMAGES, training=True).numpy()
    loss = expected(LABELS, in_training, shown, 0.7, 3.0, smoothing=0.1)
    assert logs["loss"] == [pytest.approx(loss, 1e-5)]
    divergence = expected(LABELS, in_training, shown, 1.0, 3.0)
    assert logs["distillation"] == [pytest.approx(divergence, 1e-5)]
    assert {"cross_entropy", "top1_error", "top5_error"} < logs.keys()
    for value, variable in zip(before, teacher.variables, strict=True):
        np.testing.assert_array_equal(variable, value)
    pairs = zip(own, student.trainable_variables, strict=True)
    assert not any(np.array_equal(variable, value) for value, variable in pairs)


@pytest.mark.slow
def test_two_replicas_make_the_same_update(networks, mirrored):
    """Batch normalization apart, which is synchronized."""
    updates = []
    for strategy in (tf.distribute.get_strategy(), mirrored):
        with strategy.scope():
            keras.utils.set_random_seed(2)
            options = {"num_classes": 10, "input_shape": SHAPE, "synchronized": True}
            student, teacher = (zoo.get("resnet8", **options) for _ in range(2))
            model = distilled(student, teacher)
            compile_classifier(model, optimizers.SGD(0.01))
        batch = tf.data.Dataset.from_tensors((IMAGES, LABELS))
        logs = model.fit(batch, epochs=2, shuffle=False, verbose=0).history
        updates.append((logs, student.get_weights()))
    (one, weights), (two, others) = updates
    for name in ("loss", "distillation"):
        assert one[name][0] == pytest.approx(two[name][0], rel=1e-5)
        assert one[name][1] == pytest.approx(two[name][1], rel=1e-3)  # rounding has grown
    for value, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(other, value, rtol=1e-3, atol=1e-4)


def test_losses_are_scaled_for_float16(networks):
    student, teacher = networks
    model = distilled(student, teacher)
    model.compile("sgd", loss=model.loss_of())
    assert not isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    half = zoo.get("resnet8", num_classes=10, input_shape=SHAPE, dtype="mixed_float16")
    model = distilled(half, teacher)
    model.compile("sgd", loss=model.loss_of())
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


@pytest.mark.slow
def test_it_trains_on_jax(run_on_jax):
    run_on_jax(
        """
        import numpy as np
        from resnet_keras import optimizers, zoo
        from resnet_keras.classification import compile_classifier, distilled

        options = {"num_classes": 10, "input_shape": (8, 8, 3)}
        student, teacher = (zoo.get("resnet8", **options) for _ in range(2))
        model = distilled(student, teacher)
        compile_classifier(model, optimizers.SGD(0.01))
        before = [np.array(v) for v in teacher.variables]
        images = np.random.default_rng(0).uniform(0, 255, (8, 8, 8, 3))
        logs = model.fit(images, np.arange(8), batch_size=8, epochs=2, verbose=0).history
        assert logs["loss"][1] < logs["loss"][0]
        assert all((a == np.array(v)).all() for a, v in zip(before, teacher.variables))
        """
    )


def test_networks_that_do_not_fit_are_refused(networks, tmp_path):
    student, teacher = networks
    other = zoo.get("resnet8", num_classes=9, input_shape=SHAPE)
    with pytest.raises(InputError, match="tells 9 classes, and the student 10"):
        distilled(student, other)
    other = zoo.get("resnet8", num_classes=10, input_shape=(32, 32, 3))
    with pytest.raises(InputError, match=r"takes \(32, 32, 3\), and the student \(16, 16, 3\)"):
        distilled(student, other)
    other = zoo.get("resnet1d", num_classes=10)
    with pytest.raises(InputError, match=r"cannot teach 'resnet8'"):
        distilled(student, other)
    other = zoo.get("resnet8", include_top=False, input_shape=SHAPE)
    with pytest.raises(InputError, match="logits"):
        distilled(student, other)
    pooled = keras.layers.GlobalAveragePooling2D()(other.output)
    softmax = keras.layers.Dense(10, activation="softmax")(pooled)
    with pytest.raises(InputError, match="classifier_activation=None"):
        distilled(student, keras.Model(other.input, softmax))
    with pytest.raises(InputError, match="share variables"):
        distilled(student, student)
    for amounts in ({"distill": 1.1}, {"distill": 0}, {"temperature": 0}):
        with pytest.raises(InputError, match=next(iter(amounts))):
            distilled(student, teacher, **amounts)
    with pytest.raises(InputError, match=r"zoo.save\(model.student"):
        distilled(student, teacher).save(tmp_path / "model.keras")
    assert not (tmp_path / "model.keras").exists()


SMALL = (
    *("--model=resnet8", "--dataset=digits", "--image_size=16", "--batch_size=32"),
    *("--train_steps=8", "--eval_every=4", "--learning_rate=0.02", "--strategy=one_device"),
    *("--teacher=resnet20", "--teacher_weights=digits"),
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert train.main(["train", *SMALL, f"--workdir={folder}"]) == 0
    return folder


def test_the_student_of_a_run_is_a_network_of_its_own(undisturbed, capsys):
    from resnet_keras import evaluate

    network, file = zoo.weights.find(undisturbed, None)
    alone = zoo.get("resnet8", weights=undisturbed / "weights.safetensors")
    assert network.name == alone.name == "resnet8"
    assert file.tensors.keys() == {v.path for v in alone.weights}
    told = {name: file.training[name] for name in ("teacher", "teacher_weights", "temperature")}
    assert told == {"teacher": "resnet20", "teacher_weights": "digits", "temperature": 4.0}
    weights = f"--weights={undisturbed / 'weights.safetensors'}"
    assert evaluate.main(["evaluate", "--model=resnet8", weights, "--dataset=digits"]) == 0
    last = torture.rows(undisturbed)[-1]
    assert f"top-1 error {100 * float(last['val_top1_error']):.2f} %" in capsys.readouterr().out
    assert float(last["distillation"]) > 0
    # Checkpoints hold the student alone: weights, momenta and metrics of 75,290 values.
    sizes = [path.stat().st_size for path in (undisturbed / "checkpoints").glob("step-*")]
    assert max(sizes) < 2 * 4 * 75_290 + 60_000


def test_card_and_report_name_the_teacher(undisturbed, tmp_path):
    from resnet_keras import publish, report

    pytest.importorskip("matplotlib")
    assert publish.main(["publish", str(undisturbed), str(tmp_path / "card")]) == 0
    assert "| teacher | resnet20 |" in (tmp_path / "card" / "README.md").read_text()
    assert report.main(["report", str(undisturbed), f"--out={tmp_path / 'curves'}"]) == 0
    page = (tmp_path / "curves.html").read_text()
    assert "<li>teacher=resnet20</li>" in page
    assert "<li>teacher_weights=digits</li>" in page


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bits(undisturbed, tmp_path, monkeypatch):
    class Died(BaseException):
        pass

    def die(*arguments, **options):
        write(*arguments, **options)
        raise Died

    write = checkpoint.write
    arguments = ["train", *SMALL, "--checkpoint_every=3", f"--workdir={tmp_path / 'run'}"]
    monkeypatch.setattr(checkpoint, "write", die)
    with pytest.raises(Died):
        train.main(arguments)
    monkeypatch.setattr(checkpoint, "write", write)
    assert train.main(arguments) == 0
    assert torture.differences(undisturbed, tmp_path / "run") == []


def test_another_teacher_is_refused(undisturbed, capsys):
    again = ["train", *SMALL, f"--workdir={undisturbed}"]
    assert train.main(again) == 0
    assert "holds a finished run" in capsys.readouterr().out
    for flags, words in (
        (["--teacher=resnet32"], "--teacher=resnet20 there, --teacher=resnet32 here"),
        (["--temperature=2"], "--temperature=4.0 there"),
        (["--teacher_checksum=0123456789abcdef"], "and not --teacher_checksum=0123456789abcdef"),
    ):
        assert train.main([*again, *flags]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.slow
def test_another_file_of_the_same_name_is_another_teacher(tmp_path, capsys):
    def make(seed):
        keras.utils.set_random_seed(seed)
        model = zoo.get("resnet8", num_classes=10, input_shape=(8, 8, 3))
        zoo.weights.save(tmp_path / "teacher.safetensors", model)

    weights = f"--teacher_weights={tmp_path / 'teacher.safetensors'}"
    size = ("--image_size=8", "--train_steps=1", "--eval_every=1", "--teacher=resnet8")
    arguments = ["train", *SMALL, *size, weights, f"--workdir={tmp_path / 'run'}"]
    make(0)
    assert train.main(arguments) == 0
    make(1)
    assert train.main(arguments) == 2
    said = capsys.readouterr().err
    assert "--teacher_checksum=" in said
    assert "Choose another workdir" in said


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ["--teacher=resnet20"],
            "teacher_weights (akamaster_cifar10, digits, fashion_mnist or a file)",
        ),
        (["--teacher=resnet21"], "6n+2"),
        (["--teacher=resnet20", "--teacher_weights=none"], "digits"),
        (["--teacher=resnet20", "--teacher_weights=digits", "--distill=0"], "--distill=0"),
        (["--teacher=resnet20", "--teacher_weights=digits", "--temperature=0"], "--temperature=0"),
        (["--teacher=resnet20", "--teacher_weights=digits", "--image_size=8"], "--image_size=16"),
        (["--teacher=resnet20", "--teacher_weights=nine"], "tells 9 classes"),
        (["--teacher=resnet20", "--teacher_weights=turned"], "another order: class 0"),
        (["--teacher=resnet1d", "--teacher_weights=series"], "takes series, and the data are"),
        (["--teacher=resnet20", "--teacher_weights=headless"], "has no head"),
    ],
)
def test_mistakes_end_in_one_sentence(flags, words, files, tmp_path, capsys):
    made = ("nine", "turned", "series", "headless")
    flags = [
        f"{flag.rsplit('=', 1)[0]}={files / name}.safetensors"
        if (name := flag.rsplit("=", 1)[1]) in made
        else flag
        for flag in flags
    ]
    own = [flag for flag in SMALL if not flag.startswith("--teacher")]
    assert train.main(["train", *own, *flags, f"--workdir={tmp_path / 'run'}"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1, said
    assert not (tmp_path / "run").exists()


def differing(one, other):
    """Names of tensors that are not the same in two runs' last weights."""
    here, there = (weights_in(folder) for folder in (one, other))
    return [name for name, value in here.items() if not np.array_equal(value, there[name])]


def weights_in(folder):
    tensors = zoo.weights.find("resnet8", folder / "weights.safetensors")[1].tensors
    return {name: tensor.read() for name, tensor in tensors.items()}


@pytest.mark.slow
def test_how_a_run_is_computed_does_not_change_its_weights(undisturbed, tmp_path):
    for name, more in {"remat": ["--remat"], "graph": ["--steps_per_execution=4"]}.items():
        assert train.main(["train", *SMALL, *more, f"--workdir={tmp_path / name}"]) == 0
        assert differing(undisturbed, tmp_path / name) == []


RECIPE = "resnet8_digits_distilled"


def test_the_recipe_is_that_of_the_digits_with_a_teacher():
    def lines(name):
        text = zoo.recipes.path(name).read_text()
        return {line for line in text.splitlines() if line.startswith("--")}, text

    flags, text = lines(RECIPE)
    others, _ = lines("resnet20_digits")
    teacher = {"--teacher=resnet56", "--teacher_weights=digits"}
    amounts = {f"--distill={teachers.DISTILL}", f"--temperature={teachers.TEMPERATURE:g}"}
    assert flags - others == {"--model=resnet8", *teacher, *amounts}
    assert others - flags == {"--model=resnet20"}
    header = text[: text.index("\n--")]
    for words in (f"--recipe={RECIPE}", "1503.02531", "Sec. 4.2", "Hardware", "Time", "measured"):
        assert words in header


@pytest.mark.slow
def test_the_recipe_runs(tmp_path):
    few = ("--train_steps=1", "--warmup_steps=0", "--strategy=one_device", f"--workdir={tmp_path}")
    assert train.main(["train", f"--recipe={RECIPE}", *few]) == 0
    assert zoo.get("resnet8", weights=tmp_path / "weights.safetensors").output_shape == (None, 10)


@pytest.mark.slow
def test_two_replicas_of_a_run_equal_one(tmp_path):
    two = ["--strategy=mirrored", "--logical_cpus=2", "--sync_batch_norm"]
    slow = ("--learning_rate=0.001", "--train_steps=6", "--eval_every=2")
    for name, more in {"one": [], "two": two}.items():
        assert train.main(["train", *SMALL, *slow, *more, f"--workdir={tmp_path / name}"]) == 0
    torture.assert_near(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        *(["--dtype=mixed_bfloat16", "--remat", "--ema=0.5"],),
        *(["--accumulate_steps=2", "--strategy=mirrored", "--logical_cpus=2", "--ema=0.5"],),
        *(["--jit_compile", "--label_smoothing=0.1", "--eval_batch_size=360"],),
    ],
)
def test_it_goes_with_other_flags(more, tmp_path, capsys):
    from resnet_keras import evaluate

    assert train.main(["train", *SMALL, *more, f"--workdir={tmp_path}"]) == 0
    last = torture.rows(tmp_path)[-1]
    assert 0 < float(last["distillation"]) < 100
    # What was evaluated is what was saved: the average, too.
    shown = [f"--weights={tmp_path / 'weights.safetensors'}", "--dataset=digits"]
    shown += [flag for flag in more if flag.startswith("--dtype")]
    assert evaluate.main(["evaluate", "--model=resnet8", *shown]) == 0
    assert f"top-1 error {100 * float(last['val_top1_error']):.2f} %" in capsys.readouterr().out


@pytest.mark.slow
def test_float16_on_two_replicas(tmp_path):
    more = ("--dtype=mixed_float16", "--strategy=mirrored", "--logical_cpus=2")
    assert train.main(["train", *SMALL, *more, f"--workdir={tmp_path}"]) == 0
    last = torture.rows(tmp_path)[-1]
    assert 0 < float(last["distillation"]) < 100


@pytest.mark.slow
def test_frozen_stages_stay_as_they_are(tmp_path):
    more = ("--model=resnet20", "--weights=digits", "--freeze=conv3", "--teacher=resnet56")
    assert train.main(["train", *SMALL, *more, f"--workdir={tmp_path}"]) == 0
    before = zoo.weights.find("resnet20", "digits")[1].tensors
    after = zoo.weights.find("resnet20", tmp_path / "weights.safetensors")[1].tensors
    for name, tensor in after.items():
        same = np.array_equal(tensor.read(), before[name].read())
        assert same == name.startswith(("normalization", "conv1", "conv2", "conv3")), name


@pytest.mark.slow
def test_photographs_with_mixed_labels_and_the_folder_of_a_run(photographs, tmp_path):
    common = (
        *("--dataset=folder", f"--data_dir={photographs}", "--image_size=32", "--batch_size=16"),
        *("--train_steps=2", "--eval_every=2", "--strategy=one_device"),
    )
    assert train.main(["train", "--model=resnet14", *common, f"--workdir={tmp_path / '1'}"]) == 0
    mixed = ("--mixup=0.2", "--cutmix=1", "--label_smoothing=0.1", f"--teacher={tmp_path / '1'}")
    run = ["train", "--model=resnet8", *common, *mixed, f"--workdir={tmp_path / '2'}"]
    assert train.main(run) == 0
    assert float(torture.rows(tmp_path / "2")[-1]["val_distillation"]) > 0


@pytest.mark.slow
def test_series(tmp_path):
    common = (
        *("--model=resnet1d", "--dataset=digits_series", "--train_steps=2", "--eval_every=2"),
        *("--strategy=one_device", "--width=16"),
    )
    assert train.main(["train", *common, f"--workdir={tmp_path / '1'}"]) == 0
    taught = ("--width=8", f"--teacher={tmp_path / '1'}", f"--workdir={tmp_path / '2'}")
    assert train.main(["train", *common, *taught]) == 0


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Weights of teachers that do not fit the digits."""
    folder = tmp_path_factory.mktemp("files")
    options = {"num_classes": 10, "input_shape": SHAPE}
    names = [str(digit) for digit in range(10)]
    for name, model, more in (
        ("nine", zoo.get("resnet20", **{**options, "num_classes": 9}), {}),
        ("turned", zoo.get("resnet20", **options), {"class_names": names[::-1]}),
        ("series", zoo.get("resnet1d", num_classes=10, input_shape=(64, 1)), {}),
        ("headless", zoo.get("resnet20", include_top=False, input_shape=SHAPE), {}),
    ):
        zoo.weights.save(folder / f"{name}.safetensors", model, **more)
    return folder


def test_what_no_file_settles_is_warned_of():
    network, file = zoo.weights.find("resnet20", "digits")
    other = file._replace(options={**file.options, "input_shape": None})
    with pytest.warns(UserWarning, match="measured on images of 16 pixels, and is shown such of 8"):
        teachers.check(teachers.Teacher(network, other, ""), 10, (8, 8, 3))
    names = ("0", "one", *"23456789")
    with pytest.warns(UserWarning, match="class 1 of the teacher is '1', and of the data 'one'"):
        teachers.check_names(teachers.Teacher(network, file, ""), names)


def test_flags_of_teachers_do_nothing_without_one(tmp_path, capsys):
    own = [flag for flag in SMALL if not flag.startswith("--teacher")]
    idle = ("--temperature=2", "--train_steps=1", "--eval_every=1", f"--workdir={tmp_path}")
    assert train.main(["train", *own, *idle]) == 0
    said = capsys.readouterr().err
    assert "warning: --temperature has no effect: it belongs to --teacher" in said
    assert "distillation" not in torture.rows(tmp_path)[0]


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
