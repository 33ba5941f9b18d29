"""Estimates of how long a comparison takes; and which earlier runs serve a piece of it."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nasproxy.config import CompareConfig, Tree, dump_config, make_config
from nasproxy.files import write_text
from nasproxy.images import ImageData
from nasproxy.nets.zoo import parse_net
from nasproxy.rundir import RunDir, create_run
from nasproxy.runs.asked import Asked
from nasproxy.runs.estimating import Estimates
from nasproxy.runs.pieces import Condensing, Experiment, RunIndex, Searching
from nasproxy.runs.place import Place
from nasproxy.runs.speed import Speed
from nasproxy.scoring import measure_costs
from nasproxy.space import SearchSpace
from nasproxy.talk import Silence

TREE: Tree = {
    "compare": {"proxies": "random,early-stop,params,naswot", "space": "convnet-mini", "seeds": 2},
    "condense": {"images_per_class": 5},
    "recipe": {"epochs": 20},
    "truth_recipe": {"epochs": 3},
    "machine": {"workers": 1, "threads_per_worker": 1},
}


@pytest.fixture
def experiment(digits: ImageData, mini_space: SearchSpace, tmp_path: Path) -> Experiment:
    return Experiment(Place(tmp_path, Silence()), make_config(CompareConfig, TREE), digits, mini_space, RunIndex([]))


def found(searching: Searching) -> RunDir | None:
    """What is found among the runs that there are now."""
    experiment = replace(searching.experiment, index=RunIndex.of(searching.experiment.place))
    return replace(searching, experiment=experiment).find()


def test_time_between_measured_sizes_lies_on_a_line_of_logarithms_and_beyond_grows_with_flops() -> None:
    speed = Speed((1e6, 1e8), (1e-4, 1e-3))
    assert speed.seconds_per_image(1e6) == pytest.approx(1e-4)
    assert speed.seconds_per_image(1e7) == pytest.approx(math.sqrt(1e-7))
    assert speed.seconds_per_image(1e9) == pytest.approx(1e-2)
    assert speed.seconds_per_image(1e5) == pytest.approx(1e-5)


def test_time_of_a_search_counts_images_trained_and_measured_seeds_and_workers(experiment: Experiment) -> None:
    estimates = Estimates(Speed((1e6,), (1e-4,)), experiment, 1)
    one = sum(estimates.speed.seconds_per_image(trial) for trial in flops_of(experiment))
    measured = (len(experiment.data.val) + len(experiment.data.test)) / 3
    whole, early = Searching(experiment, "whole"), Searching(experiment, "early-stop")
    assert estimates.of(whole) == pytest.approx(2 * one * (3 * len(experiment.data.train) + measured))
    assert early.recipe.steps == 20
    batches = -(-len(experiment.data.train) // 250)
    assert estimates.of(early) == pytest.approx(2 * one * (20 * len(experiment.data.train) / batches + measured))
    by_set = Searching(experiment, "random", Condensing(experiment, "random"))
    assert estimates.of(by_set) == pytest.approx(2 * one * (20 * 50 + measured))
    assert replace(estimates, num_workers=2).of(whole) == pytest.approx(estimates.of(whole) / 2)
    assert estimates.of(Searching(experiment, "params")) == 0
    assert estimates.of(Searching(experiment, "naswot")) == pytest.approx(2 * one * 128)


def test_time_of_selecting_images_is_that_of_training_the_net_and_nothing_is_trained(experiment: Experiment) -> None:
    estimates = Estimates(Speed((1e6,), (1e-4,)), experiment, 1)
    settings = Condensing(experiment, "herding").config.condense
    assert settings.selection_epochs == 10
    flops = measure_costs(parse_net("auto", (1, 16, 16)), (1, 16, 16), 10).flops
    expected = 10 * len(experiment.data.train) * estimates.speed.seconds_per_image(flops)
    started = time.process_time()
    assert estimates.of(Condensing(experiment, "herding")) == pytest.approx(expected)
    assert estimates.of(Condensing(experiment, "forgetting")) == pytest.approx(10 * expected)
    assert estimates.of(Condensing(experiment, "random")) == 0
    assert time.process_time() - started < 1


def flops_of(experiment: Experiment) -> list[int]:
    return [
        measure_costs(arch, experiment.data.image_shape, experiment.data.num_classes).flops for arch in experiment.archs
    ]


def test_the_measured_time_of_a_training_is_near_the_estimate(experiment: Experiment) -> None:
    """Within a factor of five: machines are noisy, and the smallest nets are mostly overhead."""
    from nasproxy.training import train_seeds

    estimates = Estimates.measure(experiment)
    arch = experiment.archs[-1]
    recipe = experiment.config.truth_recipe
    started = time.perf_counter()
    train_seeds(arch, experiment.data.train, recipe, val=None, test=experiment.data.test, num_seeds=1, seed=0)
    seconds = time.perf_counter() - started
    single = replace(estimates, experiment=replace(experiment, asked=Asked((arch.id,))))
    estimate = single.of(Searching(single.experiment, "whole")) / 2
    assert estimate / 5 < seconds < estimate * 5


def record(
    experiment: Experiment, searching: Searching, *, status: str, archs: list[str] | None = None, **changes: Any
) -> RunDir:
    """A run as a search leaves it, without its trials."""
    config = searching.config(searching.proxy)
    search = config.search.model_copy(update=changes)
    parents = experiment.parents | {"space": experiment.space.content_hash()}
    text = dump_config(config.model_copy(update={"search": search}))
    run = create_run(experiment.place.root, None, "a-search", command="search", config_text=text, parents=parents)
    run.update_meta(status=status)
    if archs:
        write_text(run.archs_path, "".join(f"{arch_id}\n" for arch_id in archs))
    return run


def test_a_finished_equal_run_is_found_before_one_that_can_go_on(experiment: Experiment) -> None:
    whole = Searching(experiment, "whole")
    assert found(whole) is None
    done = record(experiment, whole, status="done")
    record(experiment, whole, status="interrupted")
    assert found(whole) == done
    assert found(Searching(experiment, "early-stop")) is None


def test_a_run_that_was_cut_short_is_found_where_there_is_no_finished_one(experiment: Experiment) -> None:
    cut = record(experiment, Searching(experiment, "params"), status="interrupted")
    assert found(Searching(experiment, "params")) == cut
    assert found(Searching(experiment, "naswot")) is None


@pytest.mark.parametrize("change", [{"seed": 1}, {"seeds": 3}, {"strategy": "random"}])
def test_a_run_with_another_setting_is_not_equal(experiment: Experiment, change: dict[str, Any]) -> None:
    record(experiment, Searching(experiment, "whole"), status="done", **change)
    assert found(Searching(experiment, "whole")) is None


def test_a_run_of_other_images_is_not_equal(experiment: Experiment) -> None:
    run = record(experiment, Searching(experiment, "whole"), status="done")
    run.update_meta(parents=run.meta["parents"] | {"data": "others"})
    assert found(Searching(experiment, "whole")) is None


def test_where_a_run_was_made_makes_no_difference(experiment: Experiment) -> None:
    run = record(experiment, Searching(experiment, "whole"), status="done")
    elsewhere = make_config(CompareConfig, TREE, {"machine": {"workers": 7}})
    assert found(Searching(replace(experiment, config=elsewhere), "whole")) == run


def test_a_finished_search_of_more_architectures_serves_for_some(experiment: Experiment) -> None:
    ids = [arch.id for arch in experiment.archs]
    some = Searching(experiment, "whole", arch_ids=tuple(ids[:4]), archs="somewhere.csv")
    unfinished = record(experiment, Searching(experiment, "whole"), status="interrupted")
    assert found(some) is None
    unfinished.update_meta(status="done")
    assert found(some) == unfinished
    part = record(experiment, Searching(experiment, "whole"), status="done", archs=ids[:5])
    assert found(some) == part
    assert found(Searching(experiment, "whole", arch_ids=tuple(ids[:6]), archs="x.csv")) == unfinished
    assert found(Searching(experiment, "whole")) == unfinished


def test_a_run_written_with_settings_that_are_gone_is_passed_over(experiment: Experiment) -> None:
    run = record(experiment, Searching(experiment, "whole"), status="done")
    write_text(run.config_path, run.config_path.read_text() + "\n[gone]\nkey = 1\n")
    assert found(Searching(experiment, "whole")) is None
