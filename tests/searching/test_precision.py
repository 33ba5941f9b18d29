"""precision=auto: one arithmetic for a whole search, chosen by a trial on its largest architectures."""

from pathlib import Path
from typing import Any

import pytest
import torch

import nasproxy as nap
from nasproxy.config import RecipeSettings
from nasproxy.images import ImageData
from nasproxy.searching.precision import choose_precision
from nasproxy.space import Arch, SearchSpace


@pytest.mark.parametrize(
    ("ratio", "chosen"), [(1.3, "bfloat16"), (1.2, "bfloat16"), (1.1, "float32"), (0.5, "float32")]
)
def test_bfloat16_must_be_worth_it_on_the_largest(
    mini_space: SearchSpace, digits: ImageData, ratio: float, chosen: str
) -> None:
    timed: list[tuple[str, str]] = []

    def time_training(arch: Arch, recipe: RecipeSettings) -> float:
        timed.append((arch.id, recipe.precision))
        first = 5.0 if len(timed) % 8 < 3 else 0.0  # warm-up does not count
        return (ratio if recipe.precision == "float32" else 1.0) + first

    def size_of(arch: Arch) -> float:
        return float(mini_space.archs().index(arch))

    found, measured = choose_precision(
        mini_space.archs(), size_of, digits.train, RecipeSettings(), num_threads=1, time_training=time_training
    )
    assert found == chosen
    assert measured == pytest.approx(ratio)
    assert {arch_id for arch_id, _ in timed} == {arch.id for arch in mini_space.archs()[-3:]}
    assert [precision for _, precision in timed] == ["float32", "bfloat16"] * 12
    assert torch.get_num_threads() >= 1


def test_the_choice_is_recorded_and_a_resumed_search_keeps_it(tmp_path: Path, digits: ImageData) -> None:
    runs = nap.Runs(tmp_path)
    given: dict[str, Any] = {
        "archs": ["w32-d1-none-relu-avg", "w32-d2-none-relu-avg"],
        "epochs": 1,
        "seeds": 1,
        "workers": 1,
    }
    trials = runs.search("convnet-mini", "whole", digits, precision="auto", name="chosen", **given)
    run = runs.find("chosen")
    precision = run.read_config()["recipe"]["precision"]
    assert precision in ("float32", "bfloat16")
    assert trials.info.recipe["precision"] == precision
    run.update_meta(status="interrupted")
    assert runs.search(resume="chosen").by_id == trials.by_id


def test_what_trains_nothing_has_no_arithmetic_to_choose(digits: ImageData, mini_space: SearchSpace) -> None:
    assert len(nap.search(mini_space, "early-stop", digits, precision="float32", steps=1, seeds=1, num_archs=1)) == 1


def test_what_does_not_train_is_passed_over(mini_space: SearchSpace, digits: ImageData) -> None:
    tried: list[str] = []

    def time_training(arch: Arch, recipe: RecipeSettings) -> float:
        tried.append(arch.id)
        if arch.factors["depth"] == 3:
            raise RuntimeError("out of memory")
        return 2.0 if recipe.precision == "float32" else 1.0

    def size_of(arch: Arch) -> float:
        return float(arch.factors["depth"])

    found, ratio = choose_precision(
        mini_space.archs(), size_of, digits.train, RecipeSettings(), num_threads=1, time_training=time_training
    )
    assert (found, ratio) == ("bfloat16", 2.0)
    assert len(set(tried)) == 8 + 3


def test_a_comparison_trains_in_one_arithmetic(tmp_path: Path) -> None:
    with pytest.raises(nap.SettingsError, match=r"precision=auto: what is compared trains in one arithmetic"):
        nap.Runs(tmp_path).compare(
            "digits", ["random", "params"], "convnet-mini", settings={"recipe": {"precision": "auto"}}
        )
