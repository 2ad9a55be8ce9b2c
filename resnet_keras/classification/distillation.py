"""A small network learns from the labels and from the logits of a large one.

    model = distilled(zoo.get("resnet8", ...), zoo.get("resnet56", weights="digits"))
    compile_classifier(model, optimizer)

Hinton, Vinyals and Dean, *Distilling the Knowledge in a Neural Network*, arXiv 1503.02531, Sec. 2.
The loss is (1 - d) * cross-entropy(labels, student) + d * T^2 * KL(softmax(teacher / T) ||
softmax(student / T)), with d of `distill` and T the temperature: T^2 keeps the gradient of the
second term, which falls with 1 / T^2, comparable at every temperature.

Keras has `keras.distillation.Distiller`. It overrides `compute_loss`, so that under mirrored
replicas its loss is as many times too large as there are replicas, and with the default of its
`LogitsDistillation` (3.15) the logits go into the divergence without softmax and T^2. Here the
model puts out both networks' logits, and an ordinary loss takes them apart.
"""

import functools
from typing import Any

import keras
from keras import ops

from resnet_keras.errors import InputError
from resnet_keras.networks import rematerialize
from resnet_keras.networks.network import dtype_policy

from . import teachers
from .metrics import cross_entropy, top1_error, top5_error


def distilled(
    student: keras.Model,
    teacher: keras.Model,
    *,
    distill: float = teachers.DISTILL,
    temperature: float = teachers.TEMPERATURE,
) -> "Distilled":
    """Returns a model that trains the student by the labels and by the teacher.

    Compile it with `compile_classifier`, or by `compile(optimizer, loss=model.loss_of())`. It has
    the student's variables and no others: the teacher's are neither trained nor kept in
    checkpoints, and its batch normalization uses its moving statistics. Keep the student, by
    `zoo.save(student, ...)`. Under a strategy call this in its scope, as both networks are built.

    Args:
        student: from pixels, or series, to logits, as `zoo.get` builds it.
        teacher: a trained network of the same classes, in the same order, which sees what the
            student sees: the normalization of pixels is in each of them.
        distill: the teacher's share of the loss, above 0 and at most 1.
        temperature: by which both networks' logits are divided, above 0.

    Raises:
        InputError: the networks do not fit each other, or a number is out of range.
    """
    return Distilled(student, teacher, distill=distill, temperature=temperature)


class Distilled(keras.Model):
    """A student and its teacher; `distilled` makes it.

    From the student's input to float32 (batch, 2 * classes): the student's logits, then the
    teacher's.
    """

    def __init__(self, student, teacher, *, distill, temperature):
        teachers.check_amounts(distill, temperature)
        _check_models(student, teacher)
        with dtype_policy("float32"):  # each network has its own
            inputs = keras.Input(student.input_shape[1:], dtype=student.inputs[0].dtype)
            logits = [student(inputs), Teacher(teacher, name="teacher")(inputs)]
            outputs = keras.layers.Concatenate(name="logits_of_both")(logits)
            super().__init__(inputs, outputs, name=f"{student.name}_distilled")
        self.distill, self.temperature = float(distill), float(temperature)
        # Past Keras, which would have it a second time among the layers.
        object.__setattr__(self, "_student", student)

    @property
    def student(self) -> keras.Model:
        """The network that is trained."""
        return self._student

    def loss_of(self, label_smoothing: float = 0.0) -> "DistillationLoss":
        """The loss to compile with; of the labels, `label_smoothing` is spread over all classes."""
        return DistillationLoss(self.distill, self.temperature, label_smoothing)

    def measures(self) -> list[Any]:
        """Metrics to compile with: the student's, called as of one that is trained alone.

        And `distillation`, its divergence from the teacher as the loss has it.
        """

        def distillation(labels, outputs):
            student, teacher = _apart(outputs)
            return divergence(teacher, student, self.temperature)

        return [*map(_of_student, (cross_entropy, top1_error, top5_error)), distillation]

    def compile(self, optimizer="rmsprop", *arguments, auto_scale_loss=True, **options):
        if auto_scale_loss:  # as Keras does by a model's own policy
            optimizer = rematerialize.scaling(optimizer, self.student.layers)
        super().compile(optimizer, *arguments, auto_scale_loss=auto_scale_loss, **options)

    def save(self, *arguments, **options):
        """Refused: it holds a teacher; the student is what is kept."""
        raise InputError(
            f"{self.name!r} holds a teacher, which is not saved with it: save its student, by "
            "zoo.save(model.student, folder) or model.student.save(path)."
        )

    get_config = save  # by which Keras would clone it


class Teacher(keras.layers.Layer):
    """The logits of a trained network, which stays as it is: float32 (batch, classes)."""

    def __init__(self, network, **options):
        super().__init__(trainable=False, dtype="float32", **options)
        # Past Keras: its weights are in a file of their own, and belong to no checkpoint.
        object.__setattr__(self, "_network", network)

    def call(self, inputs):
        # In training, too, with moving statistics and without dropout.
        return ops.stop_gradient(self._network(inputs, training=False))


@keras.saving.register_keras_serializable(package="resnet_keras")
class DistillationLoss(keras.losses.Loss):
    """The loss above, of a `Distilled` model's outputs, for `compile`.

    Args:
        distill: the teacher's share.
        temperature: of both networks.
        label_smoothing: of the labels' part.
    """

    def __init__(
        self,
        distill=teachers.DISTILL,
        temperature=teachers.TEMPERATURE,
        label_smoothing=0.0,
        name="distillation_loss",
        dtype="float32",  # as of `CrossEntropy`
        **kwargs,
    ):
        super().__init__(name=name, dtype=dtype, **kwargs)
        teachers.check_amounts(distill, temperature)
        self.distill = distill
        self.temperature = temperature
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        """Per-example losses, float32 (batch,).

        Args:
            y_true: labels, as of `metrics.cross_entropy`.
            y_pred: (batch, 2 * classes), the student's logits and the teacher's.
        """
        student, teacher = _apart(y_pred)
        of_labels = cross_entropy(y_true, student, self.label_smoothing)
        of_teacher = divergence(teacher, student, self.temperature)
        return (1.0 - self.distill) * of_labels + self.distill * of_teacher

    def get_config(self):
        """The arguments that make this loss."""
        own = {name: getattr(self, name) for name in ("distill", "temperature", "label_smoothing")}
        return {**super().get_config(), **own}


def divergence(teacher, student, temperature):
    """T^2 * KL(softmax(teacher / T) || softmax(student / T)) of each example, float32 (batch,).

    Args:
        teacher, student: logits, (batch, classes).
        temperature: T.
    """
    of_teacher, of_student = (
        ops.log_softmax(ops.cast(logits, "float32") / temperature) for logits in (teacher, student)
    )
    shares = ops.exp(of_teacher)
    return temperature**2 * ops.sum(shares * (of_teacher - of_student), axis=-1)


def student_of(model: keras.Model) -> keras.Model:
    """The network that a run trains: a distilled model's student, or the model itself."""
    return model.student if isinstance(model, Distilled) else model


def _apart(outputs):
    """The student's logits and the teacher's."""
    classes = outputs.shape[-1] // 2
    return outputs[:, :classes], outputs[:, classes:]


def _of_student(measure):
    @functools.wraps(measure)
    def measured(labels, outputs):
        return measure(labels, _apart(outputs)[0])

    return measured


def _check_models(student, teacher):
    """Raises `InputError` unless both map one input of one shape to logits of as many classes."""
    for network in (student, teacher):
        if len(network.inputs) != 1 or len(network.outputs) != 1 or network.outputs[0].ndim != 2:
            raise InputError(
                f"{network.name!r} must have one input and one output, logits (batch, classes)."
            )
        activation = getattr(network.layers[-1], "activation", None)
        if activation is keras.activations.softmax:  # as of keras.applications
            raise InputError(
                f"{network.name!r} puts out probabilities, and logits are needed: build it without "
                "its last softmax (of keras.applications, classifier_activation=None)."
            )
    names = f"{teacher.name!r} cannot teach {student.name!r}"
    if {id(v) for v in student.variables} & {id(v) for v in teacher.variables}:
        raise InputError(f"{names}: they share variables, and a teacher stays as it is.")
    classes = [network.output_shape[-1] for network in (teacher, student)]
    if classes[0] != classes[1]:
        raise InputError(f"{names}: it tells {classes[0]} classes, and the student {classes[1]}.")
    shapes = [tuple(network.input_shape[1:]) for network in (teacher, student)]
    if not teachers.fits(*shapes):
        raise InputError(f"{names}: it takes {shapes[0]}, and the student {shapes[1]}.")
