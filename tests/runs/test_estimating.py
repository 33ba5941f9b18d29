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
from nasproxy.rundir import RunDir, create_run
from nasproxy.runs.estimating import Speed
from nasproxy.runs.listener import Place, Silence
from nasproxy.runs.pieces import Condensing, RunIndex, Searching, Task
from nasproxy.space import SearchSpace

TREE: Tree = {
    "compare": {"proxies": "random,early-stop,params,naswot", "space": "convnet-mini", "seeds": 2},
    "condense": {"images_per_class": 5},
    "recipe": {"epochs": 20},
    "truth_recipe": {"epochs": 3},
    "machine": {"workers": 1, "threads_per_worker": 1},
}


@pytest.fixture
def task(digits: ImageData, mini_space: SearchSpace, tmp_path: Path) -> Task:
    return Task(Place(tmp_path, Silence()), make_config(CompareConfig, TREE), digits, mini_space, RunIndex([]))


def found(searching: Searching) -> RunDir | None:
    """What is found among the runs that there are now."""
    task = replace(searching.task, index=RunIndex.of(searching.task.place))
    return replace(searching, task=task).find()


def test_time_between_measured_sizes_lies_on_a_line_of_logarithms_and_beyond_grows_with_flops(task: Task) -> None:
    speed = Speed((1e6, 1e8), (1e-4, 1e-3), task, 1)
    assert speed.seconds_per_image(1e6) == pytest.approx(1e-4)
    assert speed.seconds_per_image(1e7) == pytest.approx(math.sqrt(1e-7))
    assert speed.seconds_per_image(1e9) == pytest.approx(1e-2)
    assert speed.seconds_per_image(1e5) == pytest.approx(1e-5)


def test_time_of_a_search_counts_images_trained_and_measured_seeds_and_workers(task: Task) -> None:
    speed = Speed((1e6,), (1e-4,), task, 1)
    one = sum(speed.seconds_per_image(trial) for trial in flops_of(task))
    measured = (len(task.data.val) + len(task.data.test)) / 3
    whole, early = Searching(task, "whole"), Searching(task, "early-stop")
    assert speed.of(whole) == pytest.approx(2 * one * (3 * len(task.data.train) + measured))
    assert early.recipe.steps == 20
    batches = -(-len(task.data.train) // 250)
    assert speed.of(early) == pytest.approx(2 * one * (20 * len(task.data.train) / batches + measured))
    by_set = Searching(task, "random", Condensing(task, "random"))
    assert speed.of(by_set) == pytest.approx(2 * one * (20 * 50 + measured))
    assert replace(speed, num_workers=2).of(whole) == pytest.approx(speed.of(whole) / 2)
    assert speed.of(Searching(task, "params")) == 0
    assert speed.of(Searching(task, "naswot")) == pytest.approx(2 * one * 128)


def flops_of(task: Task) -> list[int]:
    from nasproxy.scoring import measure_costs

    return [measure_costs(arch, task.data.image_shape, task.data.num_classes).flops for arch in task.archs]


def test_the_measured_time_of_a_training_is_near_the_estimate(task: Task) -> None:
    """Within a factor of five: machines are noisy, and the smallest nets are mostly overhead."""
    from nasproxy.training import train_seeds

    speed = Speed.measure(task)
    arch = task.archs[-1]
    recipe = task.config.truth_recipe
    started = time.perf_counter()
    train_seeds(arch, task.data.train, recipe, val=None, test=task.data.test, num_seeds=1, seed=0)
    seconds = time.perf_counter() - started
    single = replace(speed, task=replace(task, arch_ids=(arch.id,)))
    estimate = single.of(Searching(single.task, "whole")) / 2
    assert estimate / 5 < seconds < estimate * 5


def record(task: Task, searching: Searching, *, status: str, archs: list[str] | None = None, **changes: Any) -> RunDir:
    """A run as a search leaves it, without its trials."""
    config = searching.config(searching.proxy)
    search = config.search.model_copy(update=changes)
    parents = task.parents | {"space": task.space.content_hash()}
    text = dump_config(config.model_copy(update={"search": search}))
    run = create_run(task.place.root, None, "a-search", command="search", config_text=text, parents=parents)
    run.update_meta(status=status)
    if archs:
        write_text(run.archs_path, "".join(f"{arch_id}\n" for arch_id in archs))
    return run


def test_a_finished_equal_run_is_found_before_one_that_can_go_on(task: Task) -> None:
    whole = Searching(task, "whole")
    assert found(whole) is None
    done = record(task, whole, status="done")
    record(task, whole, status="interrupted")
    assert found(whole) == done
    assert found(Searching(task, "early-stop")) is None


def test_a_run_that_was_cut_short_is_found_where_there_is_no_finished_one(task: Task) -> None:
    cut = record(task, Searching(task, "params"), status="interrupted")
    assert found(Searching(task, "params")) == cut
    assert found(Searching(task, "naswot")) is None


@pytest.mark.parametrize("change", [{"seed": 1}, {"seeds": 3}, {"strategy": "random"}])
def test_a_run_with_another_setting_is_not_equal(task: Task, change: dict[str, Any]) -> None:
    record(task, Searching(task, "whole"), status="done", **change)
    assert found(Searching(task, "whole")) is None


def test_a_run_of_other_images_is_not_equal(task: Task) -> None:
    run = record(task, Searching(task, "whole"), status="done")
    run.update_meta(parents=run.meta["parents"] | {"data": "others"})
    assert found(Searching(task, "whole")) is None


def test_where_a_run_was_made_makes_no_difference(task: Task) -> None:
    run = record(task, Searching(task, "whole"), status="done")
    elsewhere = make_config(CompareConfig, TREE, {"machine": {"workers": 7}})
    assert found(Searching(replace(task, config=elsewhere), "whole")) == run


def test_a_finished_search_of_more_architectures_serves_for_some(task: Task) -> None:
    ids = [arch.id for arch in task.archs]
    some = Searching(task, "whole", arch_ids=tuple(ids[:4]), archs="somewhere.csv")
    unfinished = record(task, Searching(task, "whole"), status="interrupted")
    assert found(some) is None
    unfinished.update_meta(status="done")
    assert found(some) == unfinished
    part = record(task, Searching(task, "whole"), status="done", archs=ids[:5])
    assert found(some) == part
    assert found(Searching(task, "whole", arch_ids=tuple(ids[:6]), archs="x.csv")) == unfinished
    assert found(Searching(task, "whole")) == unfinished


def test_a_run_written_with_settings_that_are_gone_is_passed_over(task: Task) -> None:
    run = record(task, Searching(task, "whole"), status="done")
    write_text(run.config_path, run.config_path.read_text() + "\n[gone]\nkey = 1\n")
    assert found(Searching(task, "whole")) is None
