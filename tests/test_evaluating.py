"""How good a proxy set is: several nets, each trained from several initialisations."""

import statistics

import pytest

from nasproxy.condensing import condense
from nasproxy.config import EvaluateConfig, make_config
from nasproxy.errors import SettingsError
from nasproxy.evaluating import Evaluation, evaluate
from nasproxy.images import ImageData
from nasproxy.nets.zoo import parse_net
from nasproxy.proxyset import ProxySet
from nasproxy.scoring import measure_costs

SMALL, LARGE = "w4-d1-none-relu-max", "w16-d2-batch-relu-avg"


@pytest.fixture(scope="module")
def proxy(digits: ImageData) -> ProxySet:
    return condense(digits, "random", images_per_class=4)


def config_of(nets: str, **settings: int) -> EvaluateConfig:
    return make_config(EvaluateConfig, {"evaluate": {"proxy": "x", "nets": nets, **settings}, "recipe": {"epochs": 2}})


def test_every_net_is_evaluated_as_if_alone(proxy: ProxySet, digits: ImageData) -> None:
    together = evaluate(proxy, digits, config_of(f"{LARGE},lenet", num_nets=2))
    alone = [evaluate(proxy, digits, config_of(name, num_nets=2))[0] for name in (LARGE, "lenet")]
    assert [result.net for result in together] == [LARGE, "lenet"]
    assert [result.test_accuracies for result in together] == [result.test_accuracies for result in alone]


def test_progress_goes_by_work_over_all_nets(proxy: ProxySet, digits: ImageData) -> None:
    seen: list[tuple[str, int, int, float]] = []
    evaluate(proxy, digits, config_of(f"{SMALL},{LARGE}", num_nets=2), on_progress=lambda *news: seen.append(news))
    sizes = [
        measure_costs(parse_net(name, digits.image_shape), digits.image_shape, 10).flops for name in (SMALL, LARGE)
    ]
    small = sizes[0] / sum(sizes)
    assert small < 0.1
    assert [(net, done, total) for net, done, total, _ in seen] == [
        *((SMALL, 0, 4), (SMALL, 1, 4), (SMALL, 2, 4), (LARGE, 2, 4), (LARGE, 3, 4), (LARGE, 4, 4)),
    ]
    assert [work for *_, work in seen] == pytest.approx([0, small / 2, small, small, small + (1 - small) / 2, 1])


def test_an_evaluation_is_told_of_before_the_next_net_is_trained(proxy: ProxySet, digits: ImageData) -> None:
    events: list[str] = []
    results = evaluate(
        proxy,
        digits,
        config_of(f"{SMALL},mlp", num_nets=1),
        on_progress=lambda net, done, total, work: events.append(f"trained {done}"),
        on_evaluation=lambda evaluation: events.append(evaluation.net),
    )
    assert events == ["trained 0", "trained 1", SMALL, "trained 1", "trained 2", "mlp"]
    assert [result.net for result in results] == [SMALL, "mlp"]


def test_nets_that_do_not_fit_are_left_out_with_the_reasons(proxy: ProxySet, digits: ImageData) -> None:
    told: list[list[str]] = []
    nets = f"vgg11-batch,{SMALL},w4-d5-none-relu-max"
    results = evaluate(proxy, digits, config_of(nets, num_nets=1), on_left_out=told.append)
    assert [result.net for result in results] == [SMALL]
    assert [reason.partition(":")[0] for reason in told[0]] == ["vgg11-batch", "w4-d5-none-relu-max"]
    assert len(told) == 1


def test_no_net_that_fits_is_a_settings_error(proxy: ProxySet, digits: ImageData) -> None:
    with pytest.raises(SettingsError, match="no net fits these images: vgg11-instance: layer 13"):
        evaluate(proxy, digits, config_of("vgg11"))


def test_mean_and_standard_deviation_over_nets() -> None:
    accuracies = (0.5, 0.25, 0.75)
    evaluation = Evaluation("mlp", accuracies, 1.0)
    assert evaluation.mean == 0.5
    assert evaluation.std == statistics.stdev(accuracies) == 0.25
    assert Evaluation("mlp", (0.5,), 1.0).std is None
