"""The flags of `resnet_keras.export`."""

from typing import TYPE_CHECKING

from resnet_keras import pipelines
from resnet_keras.classification.classifier import check_inputs
from resnet_keras.deployment import calibration, formats
from resnet_keras.errors import InputError

from . import shared_flags
from .definitions import Group, new_flags

if TYPE_CHECKING:
    from resnet_keras import zoo

FLAGS = new_flags()
_run = Group(FLAGS, "Run")
_run.path("out", "Folder to write. Without the flag, NAME_FORMAT or NAME_FORMAT_QUANTIZE here.")
_model = Group(FLAGS, "Model")
_model.path("weights", "Registered tag such as imagenet, or a weights file.")
_model.path("weights_dir", "Folder with files of registered weights. For machines without network.")
_file = Group(FLAGS, "File")
_file.choice(
    "format", None, [*formats.FORMATS], "Kind of file: savedmodel, litert, onnx or openvino."
)
_file.choice(
    "quantize", "none", formats.QUANTIZATIONS, "Quantize to: none, float16, dynamic or int8."
)
_file.whole(
    "batch_size", None, "Inputs at once. Without the flag, any number, and 1 for litert.", 1
)
_detector = Group(FLAGS, "Detector")
_detector.items(
    "sides",
    [],
    "Height and width of a detector's images. Such as 480,640; savedmodel takes any without.",
)
_classifier = Group(FLAGS, "Classifier")
_classifier.path("triton", "Model repository of Triton to copy the model into. For onnx.")
_classifier.switch("any_size", False, "Take inputs of any size. Not for litert, nor for int8.")
_classifier.whole(
    "calibration_images",
    None,
    f"Images that int8 is calibrated with. Without the flag {calibration.DEFAULT:,}, or all of the "
    f"training split where there are fewer; {calibration.LEAST} are the least.",
)
_classifier.switch(
    "reduce_range",
    None,
    "Give weights of int8 in onnx 7 bits. Processors without VNNI lose accuracy otherwise. On "
    "without the flag.",
)
shared_flags.define_data_flags(FLAGS, None)
shared_flags.define_crop_flags(FLAGS)


def check(network: "zoo.networks.Network") -> None:
    """Refuses flags of a classifier that contradict each other or have no effect."""
    if FLAGS.sides:
        raise InputError("--sides is for detectors; the side of a classifier's is --image_size.")
    int8 = FLAGS.quantize == formats.INT8
    if network.takes_series:
        shared_flags.refuse_of_images(FLAGS, network.name, ("calibration_images",))
        formats.check_series(FLAGS.quantize)
    if int8 and FLAGS.dataset is None:
        raise InputError("--quantize=int8 is calibrated with images: name them with --dataset.")
    if FLAGS.calibration_images is not None:
        if not int8:
            raise InputError("--calibration_images is for --quantize=int8: leave it out.")
        calibration.check_count(FLAGS.calibration_images)
    if FLAGS.reduce_range is not None and not (int8 and FLAGS.format == "onnx"):
        raise InputError("--reduce_range is for --format=onnx --quantize=int8: leave it out.")
    if FLAGS.any_size and (int8 or not formats.FORMATS[FLAGS.format].free):
        raise InputError("--any_size is neither for --format=litert nor for --quantize=int8.")
    if FLAGS.dataset is None:
        for name in ("data_dir", "exif_orientation"):
            if FLAGS[name].present:
                raise InputError(f"--{name} belongs to --dataset, which is not given.")
    else:
        check_inputs(network.takes_series, network.name, FLAGS.dataset)
        split = "test" if network.takes_series else "train"
        place = {"data_dir": FLAGS.data_dir, "exif_orientation": FLAGS.exif_orientation}
        pipelines.check_names(FLAGS.dataset, (split,), **place)
