"""tf.data service, for hosts whose own processors cannot keep up with their accelerators.

Each helping host runs `python -m resnet_keras.pipelines serve --port=5050`, with the data set under
the same path; `training(..., services=["grpc://host1:5050", "grpc://host2:5050"])` then has them
make every second batch each. The order and, on processors of one kind, every byte stay what they
are without: TensorFlow's own ways of sharing work between workers do not keep the order.
"""

import socket
from collections.abc import Callable, Sequence

import tensorflow as tf

from resnet_keras.errors import InputError

from .stream import Chunks

REMOTE = tf.data.experimental.service


def distribute(
    batches: Callable[[Chunks], tf.data.Dataset], chunks: Chunks, services: Sequence[str]
) -> tf.data.Dataset:
    """Has `services` make the batches of a stream in turn.

    Args:
        batches: makes the stream of some chunks.
        chunks: batch size, start and share of the whole stream.
        services: addresses, each of one `Server`.
    """
    for address in services:
        if not address.startswith("grpc://"):
            raise InputError(f"The address of a service is grpc://HOST:PORT, not {address!r}.")
        _connect(address)

    def from_one(turn, address):
        own = chunks._replace(
            start_step=chunks.start_step + turn, stride=chunks.stride * len(services)
        )
        everything = REMOTE.ShardingPolicy.OFF  # for each service has one worker
        return batches(own).apply(REMOTE.distribute(everything, address))

    streams = [from_one(turn, address) for turn, address in enumerate(services)]
    turns = tf.data.Dataset.range(len(streams)).repeat()
    return tf.data.Dataset.choose_from_datasets(streams, turns)


def _connect(address):
    """Fails where nobody answers; TensorFlow would try for ever, without a word."""
    host, _, port = address.removeprefix("grpc://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"No service answers at {address} ({error}): start `python -m resnet_keras.pipelines "
            "serve` there."
        ) from error


class Server:
    """A dispatcher and one worker in this process; port 0 takes a free one."""

    def __init__(self, port: int = 0, host: str = "localhost"):
        self._dispatcher = REMOTE.DispatchServer(REMOTE.DispatcherConfig(port=port))
        self.address = self._dispatcher.target.replace("localhost", host)
        self._worker = REMOTE.WorkerServer(
            REMOTE.WorkerConfig(
                dispatcher_address=self._dispatcher.target.split("://")[1],
                worker_address=f"{host}:%port%",
            )
        )

    def join(self) -> None:
        """Serves until the process ends."""
        self._dispatcher.join()
