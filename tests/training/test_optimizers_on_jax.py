"""Every option of the optimizer takes the same steps on JAX as on TensorFlow, or is refused."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
from optimizer_options import OPTIONS

from resnet_keras import optimizers
from resnet_keras.classification.classifier import compile_classifier
from resnet_keras.networks import layers

HERE = Path(__file__).parent
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(32, 8, 8, 3)).astype("float32")
Y = GENERATOR.integers(0, 3, 32)
START = [  # kernel, gamma, beta, mean, variance, kernel, bias
    GENERATOR.normal(0, 0.2, (3, 3, 3, 4)),
    *(np.ones(4), np.zeros(4), np.zeros(4), np.ones(4)),
    *(GENERATOR.normal(0, 0.1, (144, 3)), np.zeros(3)),
]


def compiled(name, plain=False, frozen=None):
    """A network that is compiled plainly or by `compile_classifier`.

    Its statistics are frozen where they would be averaged, which JAX cannot do.
    """
    if frozen is None:
        frozen = "ema" in OPTIONS[name]
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, use_bias=False),
            layers.BatchNormalization(trainable=not frozen),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    arrays = dict(zip(map(id, in_order(model)), START, strict=True))
    for variable in model.weights:
        variable.assign(arrays[id(variable)])
    optimizer = optimizers.SGD(optimizers.StepDecay(0.05, [2]), **OPTIONS[name])
    if plain:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, auto_scale_loss=False)
    else:
        compile_classifier(model, optimizer)
    return model


def in_order(model):
    """Kernel, gamma, beta, mean, variance, kernel, bias."""
    return [variable for layer in model.layers for variable in layer.weights]


def trained(model):
    """Weights after four calls and their averages; the averages are predicted with in between."""
    model.run_eagerly = keras.backend.backend() == "tensorflow"  # quick to begin
    model.train_on_batch(X[:8], Y[:8])
    if model.optimizer.ema:
        with model.optimizer.averaged():
            model.predict(X, verbose=0)
    model.fit(X[8:], Y[8:], batch_size=8, shuffle=False, verbose=0)
    arrays = [keras.ops.convert_to_numpy(v) for v in in_order(model)]
    with model.optimizer.averaged():
        return arrays + [keras.ops.convert_to_numpy(v) for v in in_order(model)]


@pytest.mark.slow
def test_every_option_on_jax(tmp_path):
    pytest.importorskip("jax")
    code = """
        import sys
        import keras, numpy as np, pytest
        import test_optimizers_on_jax as cases
        from resnet_keras.errors import InputError
        assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules

        # Otherwise Keras runs every operation by itself on JAX, and training does not end.
        assert cases.compiled("plain").jit_compile is True

        for name in cases.OPTIONS:
            np.savez(f"{name}.npz", *cases.trained(cases.compiled(name)))
        np.savez("all_plain.npz", *cases.trained(cases.compiled("all", plain=True)))

        for plain in (False, True):
            model = cases.compiled("ema", plain, frozen=False)
            with pytest.raises(InputError, match="On JAX, ema cannot average the statistics"):
                model.fit(cases.X, cases.Y, verbose=0)

        model = cases.compiled("all")
        cases.trained(model)
        model.save("model.keras")
        model.save("model.h5")
        expected = cases.trained(model)
        for name in ("model.keras", "model.h5"):
            for one, other in zip(cases.trained(keras.models.load_model(name)), expected):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        check=False,
        cwd=tmp_path,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": os.pathsep.join(map(str, (HERE.parent.parent, HERE.parent, HERE))),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for file in [*OPTIONS, "all_plain"]:
        with np.load(tmp_path / f"{file}.npz") as stored:
            arrays = list(stored.values())
        expected = trained(compiled(file.removesuffix("_plain")))
        for one, other in zip(arrays, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6, err_msg=file)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
