"""What Ray must not take from us."""

import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from nasproxy.images import ImageData
from nasproxy.searching.cluster import noticing_interrupts
from nasproxy.searching.search import search
from nasproxy.space import SearchSpace


@pytest.fixture(autouse=True)
def _terminable() -> Iterator[None]:
    """A termination request is an exception here, as in the command line."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    yield
    for number, answer in zip(numbers, before, strict=True):
        signal.signal(number, answer)


@pytest.mark.usefixtures("local_ray")
def test_all_cores_of_a_cluster_work_where_nobody_says_how_many(mini_space: SearchSpace, digits: ImageData) -> None:
    trials = search(mini_space, "early-stop", digits, seeds=1, steps=1, address="auto", threads_per_worker=1)
    assert len(trials) == 24
    assert len({trial.worker for trial in trials}) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_that_was_swallowed_comes_again(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    notices = noticing_interrupts()
    interrupts = notices.__enter__()
    interrupts.check()
    with suppress(KeyboardInterrupt):
        signal.raise_signal(number)
    with pytest.raises(KeyboardInterrupt):
        interrupts.check()
    with pytest.raises(KeyboardInterrupt):
        notices.__exit__(None, None, None)
    assert signal.getsignal(number) is before


def test_an_interrupt_that_broke_something_is_no_error() -> None:
    def start() -> None:
        with noticing_interrupts():
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            raise RuntimeError("no cluster")

    with pytest.raises(KeyboardInterrupt):
        start()


def test_answers_that_were_put_in_place_inside_are_taken_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with noticing_interrupts():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with noticing_interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
        assert not interrupts.has_come
    finally:
        signal.signal(signal.SIGINT, before)
