"""What a reader of a run's results wants to know, and no flag tells."""

import math
import os
import platform
from typing import Any

import keras
import tensorflow as tf

from resnet_keras import __version__, tuning

from . import replicas


def facts(strategy: tf.distribute.Strategy, model: keras.Model) -> dict[str, Any]:
    """Versions, processor, devices and settings of this process, ready for JSON."""
    processor = tuning.processor()
    return {
        "resnet_keras": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "processor": processor["name"],
        "features": " ".join(processor["features"]),
        **tuning.settings(),
        "device": replicas.device_kind(),
        "replicas": strategy.num_replicas_in_sync,
        "workers": replicas.workers(strategy).total,
        "parameters": sum(math.prod(v.shape) for v in model.trainable_variables),
    }
