"""Triton's configuration of an exported ONNX file is one, and says what the file says."""

import os
import sys

import keras
import onnxruntime
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from resnet_keras import export, zoo
from resnet_keras.deployment import exported, triton
from resnet_keras.errors import InputError

NAMES = ["cat", "dog", 'a "quoted" größe']
# Triton's names of what onnxruntime calls so.
TYPES = {"tensor(float)": "TYPE_FP32", "tensor(uint8)": "TYPE_UINT8"}

# What is used of triton-inference-server/common, protobuf/model_config.proto, in version 2.73.
MESSAGES = {
    "ModelTensorReshape": [("shape", 1, "int64", True)],
    "ModelInput": [
        ("name", 1, "string", False),
        ("data_type", 2, "DataType", False),
        ("format", 3, "Format", False),
        ("dims", 4, "int64", True),
        ("reshape", 5, ".ModelTensorReshape", False),
    ],
    "ModelOutput": [
        ("name", 1, "string", False),
        ("data_type", 2, "DataType", False),
        ("dims", 3, "int64", True),
        ("label_filename", 4, "string", False),
        ("reshape", 5, ".ModelTensorReshape", False),
    ],
    "ModelDynamicBatching": [],
    "ModelConfig": [
        ("name", 1, "string", False),
        ("platform", 2, "string", False),
        ("max_batch_size", 4, "int32", False),
        ("input", 5, ".ModelInput", True),
        ("output", 6, ".ModelOutput", True),
        ("dynamic_batching", 11, ".ModelDynamicBatching", False),
    ],
}
ENUMS = {
    "DataType": {
        **{"TYPE_INVALID": 0, "TYPE_BOOL": 1, "TYPE_UINT8": 2, "TYPE_INT32": 8, "TYPE_INT64": 9},
        **{"TYPE_FP16": 10, "TYPE_FP32": 11},
    },
    "Format": {"FORMAT_NONE": 0, "FORMAT_NHWC": 1, "FORMAT_NCHW": 2},
}


def message_type():
    """The message ModelConfig, as protobuf makes a class of it."""
    file = descriptor_pb2.FileDescriptorProto(name="model_config.proto", syntax="proto3")
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            described = message.field.add(name=field, number=number, label=label)
            if kind in ENUMS:
                described.type, described.type_name = kinds.TYPE_ENUM, f".{kind}"
            elif kind.startswith("."):
                described.type, described.type_name = kinds.TYPE_MESSAGE, kind
            else:
                described.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("ModelConfig"))


MODEL_CONFIG = message_type()


def parsed(text):
    return text_format.Parse(text, MODEL_CONFIG())


def named(kind, number):
    return next(name for name, value in ENUMS[kind].items() if value == number)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network of three classes as ONNX, and beside it Triton's repository."""
    folder = tmp_path_factory.mktemp("triton")
    keras.utils.set_random_seed(0)
    model = zoo.get("resnet8", num_classes=3, input_shape=(16, 16, 3))
    zoo.save(model, folder / "network", preprocessing=zoo.Preprocessing(16, 20), class_names=NAMES)
    flags = ["--format=onnx", f"--out={folder / 'mine'}", f"--triton={folder / 'models'}"]
    assert export.main(["export", str(folder / "network"), *flags]) == 0
    return folder


@pytest.fixture(scope="module")
def found(folder):
    return exported.read(folder / "mine")


def test_a_repository_as_triton_wants_it(folder, found):
    model = folder / "models/mine"
    files = sorted(path.relative_to(model).as_posix() for path in model.rglob("*"))
    assert files == ["1", "1/model.onnx", "config.pbtxt", "labels.txt"]
    assert (model / "1/model.onnx").read_bytes() == found.path.read_bytes()
    assert (model / "labels.txt").read_text("utf-8").splitlines() == NAMES
    assert os.listdir(folder / "models") == ["mine"]


def test_the_configuration_is_what_the_file_says(folder):
    text = (folder / "models/mine/config.pbtxt").read_text("utf-8")
    config = parsed(text)
    session = onnxruntime.InferenceSession(str(folder / "models/mine/1/model.onnx"))
    assert (config.name, config.platform) == ("mine", "onnxruntime_onnx")
    assert config.max_batch_size > 1
    assert config.HasField("dynamic_batching")
    assert config.output[0].label_filename == "labels.txt"
    assert named("Format", config.input[0].format) == "FORMAT_NHWC"
    for given, own in (
        (config.input, session.get_inputs()),
        (config.output, session.get_outputs()),
    ):
        assert [tensor.name for tensor in given] == [tensor.name for tensor in own]
        for tensor, other in zip(given, own, strict=True):
            assert named("DataType", tensor.data_type) == TYPES[other.type]
            batch, *sides = other.shape
            assert isinstance(batch, str)  # any number
            assert [*tensor.dims] == sides


def test_fixed_batches_free_sides_and_other_outputs(found):
    fixed = found._replace(
        task="detection",
        input=exported.Tensor("image", "uint8", (4, None, None, 3)),
        outputs=(
            exported.Tensor("boxes", "float32", (4, 100, 4)),
            exported.Tensor("count", "int32", (4,)),
        ),
    )
    config = parsed(triton.config(fixed, 'my "own"'))
    assert (config.name, config.max_batch_size) == ('my "own"', 0)
    assert not config.HasField("dynamic_batching")
    assert [*config.input[0].dims] == [4, -1, -1, 3]
    assert [[*output.dims] for output in config.output] == [[4, 100, 4], [4]]
    assert not any(output.label_filename for output in config.output)
    count = exported.Tensor("count", "int32", (None,))
    free = fixed._replace(input=found.input, outputs=(count,))
    (output,) = parsed(triton.config(free)).output
    assert [*output.dims] == [1]
    assert output.HasField("reshape")
    assert not output.reshape.shape


def test_what_is_refused(folder, found, tmp_path, capsys):
    with pytest.raises(InputError, match="of format litert, and Triton is given ONNX"):
        triton.config(found._replace(format="litert"))
    with pytest.raises(InputError, match=r"something at .*mine already"):
        triton.write(found, folder / "models")
    damaged = found._replace(sizes={**found.sizes, "missing.bin": 1})
    with pytest.raises(InputError, match="Cannot write to"):
        triton.write(damaged, tmp_path / "models")
    assert not os.listdir(tmp_path / "models")
    command = ["export", str(folder / "network"), f"--triton={folder / 'models'}"]
    for flags, message in (
        (["--format=litert"], "--triton is for --format=onnx, not litert: leave it out."),
        (["--format=onnx", "--out=elsewhere/mine"], "something at"),
    ):
        assert export.main([*command, *flags]) == 2
        assert message in capsys.readouterr().err


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
