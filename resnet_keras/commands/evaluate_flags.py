"""The flags of `resnet_keras.evaluate`."""

from resnet_keras.classification import protocols

from . import shared_flags
from .definitions import Group, new_flags

FLAGS = new_flags()


_run = Group(FLAGS, "Run")
_run.path("per_class", "CSV file to write the errors of each class in.")
_run.path(
    "results",
    "JSON file to add the measurement to. It takes the place of an older one of the same model, "
    "weights, data set and protocol.",
)
shared_flags.define_model_flags(FLAGS, "resnet20")
Group(FLAGS, "Model").paths(
    "ensemble",
    "Models to average: NAME=WEIGHTS for each of them. They stand instead of --model and "
    "--weights; softmax scores are averaged.",
)
shared_flags.define_data_flags(FLAGS, "digits")
Group(FLAGS, "Data").split(
    "split", "Split to measure on. Without the flag, test, or val of photographs."
)
_view = Group(FLAGS, "View")
_view.choice(
    "protocol",
    protocols.SINGLE_CROP,
    protocols.PROTOCOLS,
    "Test of photographs. single_crop is the centre of the image, its shorter side resized; "
    "ten_crop averages over corners, centre and their mirror images, multi_scale over positions "
    "and scales.",
)
shared_flags.define_crop_flags(FLAGS)
_view.items("scales", [str(scale) for scale in protocols.SCALES], "Shorter sides of multi_scale.")
_speed = Group(FLAGS, "Speed")
_speed.whole("batch_size", 100, "Crops that are evaluated at once.", 1)
_speed.choice(
    "dtype", "float32", ["float32", "mixed_bfloat16"], "Precision: float32 or mixed_bfloat16."
)
