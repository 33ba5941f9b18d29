"""Records of trials written by hand: six architectures, a proxy that trains, one that does not, and a truth of some."""

import math
from dataclasses import replace

from nasproxy.talk import Silence
from nasproxy.trials import ProxyCost, ProxyKind, Rung, SearchInfo, State, Trial, Trials

INFO = SearchInfo(
    name="digits-search",
    proxy="digits-dm",
    kind=ProxyKind.PROXY_SET,
    space="convnet-mini",
    space_hash="cc",
    dataset="digits",
    data_hash="aa",
    split_hash="bb",
    cost=ProxyCost(num_images=2000, num_stored_images=500, num_stored_numbers=128_000, condense_seconds=72.5),
)
TRUTH_INFO = replace(
    INFO,
    name="digits-whole",
    proxy="whole",
    kind=ProxyKind.FULL_TRAINING,
    cost=replace(INFO.cost, num_stored_images=1294, condense_seconds=0.0),
)


def make_trial(
    arch_id: str, val: tuple[float, ...], test: tuple[float, ...] | None = None, state: State = State.COMPLETE
) -> Trial:
    factors: dict[str, str | int] = {"width": 8 * len(arch_id), "norm": "none"}
    rung = Rung(val, val if test is None else test)
    return Trial(arch_id, factors, state, (rung,), 1000, 2**33, train_seconds=1.5)


def make_failed(arch_id: str) -> Trial:
    return Trial(arch_id, {"width": 8, "norm": "none"}, State.FAILED, reason="ArchError: too deep", train_seconds=0.25)


def make_proxy() -> Trials:
    """Six architectures: by validation a > b > c > d > e, f failed; by test the order is quite another."""
    items = (
        make_failed("f"),
        make_trial("c", (0.5, 0.7), (0.9, 0.9), State.DIVERGED),
        make_trial("a", (0.9, 0.8), (0.4, 0.5)),
        make_trial("e", (0.1, 0.1), (0.2, 0.1), State.AT_CHANCE),
        make_trial("b", (0.7, 0.9), (0.6, 0.7)),
        make_trial("d", (0.5, 0.4), (0.3, 0.25)),
    )
    return Trials(INFO, items)


def make_truth() -> Trials:
    """Full training of four of the six, and of one more."""
    items = (
        make_trial("b", (0.80,), (0.85,)),
        make_trial("c", (0.95,), (0.93,)),
        make_trial("d", (0.80,), (0.70,)),
        make_failed("a"),
        make_trial("f", (0.60,), (0.99,)),
        make_trial("z", (0.99,), (0.97,)),
    )
    return Trials(TRUTH_INFO, items)


def make_scored(arch_id: str, *scores: float) -> Trial:
    state = State.COMPLETE if all(map(math.isfinite, scores)) else State.NOT_FINITE
    factors: dict[str, str | int] = {"width": 8, "norm": "none"}
    return Trial(arch_id, factors, state, (Rung(scores, scores),), num_params=1000, train_seconds=0.5)


def make_training_free() -> Trials:
    """By score b > d > a > c; e and f have none."""
    items = (
        make_scored("a", -2.0, -1.0),
        make_scored("b", 900.0, 1100.0),
        make_scored("c", -5.0, -5.0),
        make_scored("d", 0.0, 1.0),
        make_scored("e", 7e9, -math.inf),
        make_failed("f"),
    )
    info = replace(INFO, name="digits-naswot", proxy="naswot", kind=ProxyKind.FORMULA, score_name="naswot")
    return Trials(info, items)


class Notes(Silence):
    """A listener that writes down how far the work is."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []
        """What, how many of it are done, and of how many."""

    def progress(self, what: str, done: int, total: int, note: str = "", *, work: float | None = None) -> None:
        self.steps.append((what, done, total))

    def of(self, what: str) -> list[tuple[int, int]]:
        """Steps of one kind of work."""
        return [(done, total) for name, done, total in self.steps if name == what]
