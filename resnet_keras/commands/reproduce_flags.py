"""The flags of `resnet_keras.reproduce`."""

from .definitions import Group, new_flags

FLAGS = new_flags()

_run = Group(FLAGS, "Run")
_run.choice(
    "scale",
    "paper",
    ["paper", "quick"],
    "Length of the runs: paper or quick. paper makes every run of the experiment at full length "
    "(on digits, by this package's recipes); quick fewer and shorter ones, or single crops, to see "
    "it work.",
)
_run.path("folder", "Folder for the runs. Other experiments find them there.", "reproduced")
_run.path("out", "Path without suffix of what is written. Without the flag, below --folder.")
_run.switch("run", True, "Make the runs. --norun tells only of those that are there.")
_data = Group(FLAGS, "Data")
_data.text(
    "dataset",
    None,
    "digits, cifar10 or fashion_mnist. imagenet has imagenet2012 and folder, and detection shapes. "
    "The first of each is the default.",
)
_data.path("data_dir", "The data set's folder, as train takes it.", local=False)
_networks = Group(FLAGS, "Networks")
_networks.items("depths", [], "Layers of the networks. Without the flag, the experiment's own.")
_seeds = Group(FLAGS, "Seeds")
_seeds.items(
    "seeds", [], "A run of each network for each. Without the flag, 0,1,2, or 0 for quick."
)
_imagenet = Group(FLAGS, "ImageNet")
_imagenet.paths("trained", "Runs of train to evaluate, or folders of them.")
_imagenet.items(
    "weights",
    None,
    "Tags of registered weights to evaluate. Without the flag, imagenet, or none beside --trained. "
    "The ensemble has all residual networks that are evaluated.",
)
_imagenet.path("weights_dir", "Folder with files of registered weights.")
_devices = Group(FLAGS, "Devices")
_devices.whole("workers", 1, "Runs at a time on this machine.", 1)
_devices.whole(
    "gpus_per_worker",
    0,
    "GPUs that each run has for itself. With 0, one worker has all there are, and several have "
    "none.",
    0,
)
