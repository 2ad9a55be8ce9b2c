"""Batches made by tf.data services, here in this process, byte for byte as without."""

import numpy as np
import pytest

from resnet_keras import pipelines
from resnet_keras.errors import InputError
from resnet_keras.pipelines import service

VIEW = pipelines.View(image_size=32, scales=(36, 60), colour_jitter=0.4)


@pytest.fixture(scope="module")
def servers():
    return [service.Server() for _ in range(2)]


def batches(photographs, count, **options):
    made = pipelines.training(
        "folder", "train", 32, seed=3, data_dir=photographs, view=VIEW, **options
    )
    return list(made.take(count).as_numpy_iterator())


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for values, others in zip(one, other, strict=True):
            np.testing.assert_array_equal(values, others)


@pytest.fixture(scope="module")
def alone(photographs):
    return batches(photographs, 6)


@pytest.mark.slow
def test_batches_are_those_made_without(photographs, servers, alone):
    addresses = [server.address for server in servers]
    assert_same(batches(photographs, 5, services=addresses), alone[:5])


@pytest.mark.slow
def test_a_later_start_and_a_share_are_those_made_without(photographs, servers, alone):
    addresses = [server.address for server in servers]
    found = batches(photographs, 3, services=addresses, start_step=3, shard=(1, 2))
    assert_same(found, [(images[16:], labels[16:]) for images, labels in alone[3:]])


def test_batches_that_are_no_whole_chunks_cannot_be_shared_out(photographs, servers):
    with pytest.raises(InputError, match="multiple of 16"):
        pipelines.training(
            "folder",
            "train",
            20,
            seed=0,
            data_dir=photographs,
            services=[server.address for server in servers],
        )


@pytest.mark.parametrize("address", ["localhost:5050", "http://localhost:5050", ""])
def test_an_address_names_its_protocol(photographs, address):
    with pytest.raises(InputError, match="grpc://HOST:PORT"):
        batches(photographs, 1, services=[address])


def test_each_server_has_an_address_of_its_own(servers):
    addresses = {server.address for server in servers}
    assert len(addresses) == 2
    assert all(address.startswith("grpc://localhost:") for address in addresses)


def test_data_in_memory_take_no_services(servers):
    with pytest.raises(InputError, match="services"):
        pipelines.training("digits", "train", 16, seed=0, services=[servers[0].address])


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
