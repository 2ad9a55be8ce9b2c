"""How a run is stopped, on one machine and on several."""

import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from resnet_keras.training import replicas, signals
from resnet_keras.training.replicas import Workers
from resnet_keras.training.signals import Agreement, Preempted, Signals


@pytest.fixture
def usual_signals():
    """Signals act as in a terminal; in the background of a shell SIGINT is ignored."""
    usual = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_is_remembered_and_its_echo_is_not_a_second_one(usual_signals):
    with Signals(held=True) as held:
        assert held.received == 0
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert held.received == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_a_signal_is_said_to_be_heard_once_and_at_once(capfd, usual_signals):
    with Signals(held=True):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    said = capfd.readouterr().err
    assert said == "SIGTERM: stopping after this step; again to quit at once\n"


def test_a_later_signal_acts_as_ever(monkeypatch, usual_signals):
    monkeypatch.setattr(signals, "REPEATS", -1)
    with Signals(held=True):
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_signals_that_are_ignored_stay_so(usual_signals):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Signals() as held:
        signal.raise_signal(signal.SIGINT)
        assert held.received == 0


def test_a_signal_before_training_ends_it_at_once(usual_signals):
    said = "before the first step by SIGTERM"
    with pytest.raises(Preempted, match=said), Signals():
        signal.raise_signal(signal.SIGTERM)


def test_no_other_thread_takes_signals():
    said = []

    def run():
        with Signals(held=True) as held:
            said.append(held.received)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert said == [0]


def test_workers_ask_one_another_about_once_a_second(monkeypatch):
    """Two workers of which the second is asked to stop; a step takes a tenth of a second."""
    clock, messages = SimpleNamespace(now=0.0), []

    def agreement(place, received):
        monkeypatch.setattr(replicas, "workers", lambda strategy: Workers(place, 2))
        return Agreement(SimpleNamespace(received=received), None)

    monkeypatch.setattr(signals.time, "monotonic", lambda: clock.now)
    first, second = agreement(0, 0), agreement(1, 0)

    def said():
        return [second._signals.received, 0]

    asked = []
    for step in range(100):
        clock.now += 0.1
        if step == 50:
            second._signals.received = signal.SIGINT
        # What the second would say is added to what the first one says.
        monkeypatch.setattr(
            replicas,
            "total",
            lambda _, values: messages.append(values) or np.add(values, said()),
        )
        before = len(messages)
        stop = first.asked()
        if len(messages) > before:
            agreed = np.add(messages[-1], said())
            monkeypatch.setattr(replicas, "total", lambda _, values, agreed=agreed: agreed)
            assert bool(second.asked()) == bool(stop)
        else:
            assert second.asked() == 0  # without a message
        asked.append(stop)
        if stop:
            break
    assert asked[-1] == signal.SIGTERM
    assert 50 <= len(asked) <= 62
    assert len(messages) < 15


def test_one_worker_sends_no_message(monkeypatch):
    monkeypatch.setattr(replicas, "total", None)
    monkeypatch.setattr(replicas, "workers", lambda strategy: Workers())
    assert Agreement(SimpleNamespace(received=15), None).asked() == 15


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
