"""The flags of `resnet_keras.predict`."""

from resnet_keras import zoo
from resnet_keras.deployment import engines

from . import shared_flags
from .definitions import Group, new_flags

FLAGS = new_flags()
MOST_DRAWN = 100
OF_IMAGES = ("plot", "engine", "dtype")  # beside `shared_flags.OF_IMAGES`


shared_flags.define_model_flags(FLAGS, None)
_view = Group(FLAGS, "View")
_view.whole(
    "image_size",
    None,
    "Side of the crop in pixels. Without the flag, as the weights say.",
    1,
    zoo.entry.MAX_SIDE,
)
shared_flags.define_crop_flags(FLAGS)
_view.switch(
    "exif_orientation",
    None,
    "Turn photographs upright as EXIF says. Phones note it so. Without the flag they are turned, "
    "unless the network was trained on what Keras's loader shows, which does not.",
)
_speed = Group(FLAGS, "Speed")
_speed.whole("batch_size", 32, "Images that are seen at once.", 1)
_speed.choice(
    "engine",
    engines.KERAS,
    engines.ENGINES,
    f"Runtime that computes, or auto. It is one of {', '.join(engines.ENGINES)}. For all but keras "
    "the network is exported at the first use, into the cache folder. With auto, openvino or else "
    "onnxruntime computes on the CPU, where one is installed, and else keras.",
)
_speed.choice(
    "dtype",
    None,
    ["float32", "mixed_bfloat16"],
    "Precision: float32 or mixed_bfloat16. The latter is for --engine=keras, openvino and auto. "
    "Without the flag keras takes that of the weights, and the others float32.",
)
_output = Group(FLAGS, "Output")
_output.whole("top", 5, "Classes to name for each image.", 1)
_output.switch("json", False, "Print JSON instead of a table.")
_output.path(
    "plot",
    f"PNG file to draw the images and labels in. They are shown as the network sees them, the "
    f"first {MOST_DRAWN}.",
)
