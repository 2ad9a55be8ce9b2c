"""The flags of `resnet_keras.export`."""

from resnet_keras.deployment import calibration, formats

from . import shared_flags
from .definitions import Group, new_flags

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
    "batch_size", None, "Images at once. Without the flag, any number, and 1 for litert.", 1
)
_detector = Group(FLAGS, "Detector")
_detector.items("sides", [], "Height and width of a detector's images. Such as 480,640.")
_classifier = Group(FLAGS, "Classifier")
_classifier.path("triton", "Model repository of Triton to copy the model into. For onnx.")
_classifier.switch("any_size", False, "Take images of any size. Not for litert, nor for int8.")
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
