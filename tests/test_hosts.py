"""A host that cannot be reached is told of at once, and so is the proxy on the way to it."""

import socket
import sys

import pytest

from resnet_keras import hosts


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def listener():
    with socket.create_server(("localhost", 0)) as server:
        yield f"localhost:{server.getsockname()[1]}"


@pytest.fixture
def closed():
    with socket.socket() as taken:  # bound, and not listened to
        taken.bind(("localhost", 0))
        yield f"localhost:{taken.getsockname()[1]}"


def test_one_that_answers_and_ones_that_do_not(listener, closed):
    assert hosts.unreachable(f"http://{listener}/file") is None
    assert hosts.unreachable(f"https://{closed}/file") == "localhost (Connection refused)"
    assert "no-such-host.invalid (" in str(hosts.unreachable("https://no-such-host.invalid/file"))


def test_without_an_answer_it_is_given_up(monkeypatch):
    def wait(place, seconds):
        assert 0 < seconds < 10
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", wait)
    assert hosts.unreachable("https://host/file") == "host (no answer)"


def test_it_is_the_proxy_that_must_answer(listener, closed, monkeypatch):
    monkeypatch.setenv("https_proxy", listener)
    assert hosts.unreachable("https://no-such-host.invalid/file") is None
    monkeypatch.setenv("https_proxy", f"http://{closed}")
    said = hosts.unreachable("https://no-such-host.invalid/file")
    assert said == "the proxy localhost (Connection refused)"
    assert hosts.unreachable(f"http://{listener}/file") is None  # has no proxy
    monkeypatch.setenv("no_proxy", "localhost")
    assert hosts.unreachable(f"https://{listener}/file") is None


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
