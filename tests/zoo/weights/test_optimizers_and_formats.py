"""What an optimizer keeps in a file is neither read nor judged, whatever the optimizer."""

import keras
import numpy as np
import pytest
import written

from resnet_keras import optimizers, zoo

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model")
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), "uint8")
LABELS = np.arange(4) % 3
OPTIMIZERS = {
    "plain": lambda: optimizers.SGD(1e-3),
    "nesterov": lambda: optimizers.SGD(1e-3, nesterov=True),
    "accumulated and clipped": lambda: optimizers.SGD(1e-3, accumulate_steps=2, clip_norm=1.0),
    "scaled": lambda: optimizers.SGD(1e-3, loss_scaling=True),
    "averaged": lambda: optimizers.SGD(1e-3, ema=0.9),
    "Adam": lambda: keras.optimizers.Adam(1e-3, use_ema=True),
    "Keras's scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-3)),
}
ALL_AT_ONCE = {"accumulate_steps": 2, "clip_norm": 1.0, "loss_scaling": True, "ema": 0.9}
OPTIMIZERS["all at once"] = lambda: optimizers.SGD(1e-3, nesterov=True, **ALL_AT_ONCE)
QUICK = ("all at once",)  # the others are parts of these
LENGTHS = {"fresh": 0, "short": 3, "long": 131}  # batches; 65 updates where two make one


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in OPTIMIZERS],
)
def test_networks_load_however_they_were_trained(name, tmp_path):
    keras.utils.set_random_seed(0)
    model = zoo.get("resnet8", num_classes=3, input_shape=(8, 8, 3))
    model.compile(
        OPTIMIZERS[name](),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
        auto_scale_loss=False,
    )
    model.optimizer.build(model.trainable_variables)
    for length, batches in LENGTHS.items():
        for _ in range(batches):
            model.train_on_batch(IMAGES, LABELS)
        folder = tmp_path / length
        folder.mkdir()
        expected = model(IMAGES)
        # Formats without the optimizer's variables load alike after any length.
        for kind in written.OWN if length == "short" else ("w.keras", "w.h5"):
            path = written.write(model, folder, kind)
            written.equal(zoo.get("resnet8", weights=path, input_shape=(8, 8, 3))(IMAGES), expected)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
