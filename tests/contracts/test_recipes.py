"""What every recipe keeps: nets trained together are what each is alone, and a training cut short goes on as it was."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nasproxy.checkpoint import Checkpoint
from nasproxy.config import RecipeSettings, SearchConfig, list_recipes, make_config, read_recipe
from nasproxy.images import ImageData, ImageSet, make_generator
from nasproxy.nets.convnet import parse_arch
from nasproxy.training import make_net, train

CASES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "no momentum": {"momentum": 0.0, "weight_decay": 0.0},
    "nesterov": {"nesterov": True, "lr": 0.02},
    "adamw": {"optimizer": "adamw", "lr": 0.003},
    "two drops": {"lr_drops": "0.3,0.7", "lr_factor": 0.2},
    "constant rate": {"lr_drops": ""},
    "cosine": {"schedule": "cosine", "warmup": 0.2},
    "one-cycle, adamw": {"schedule": "one-cycle", "optimizer": "adamw", "lr": 0.01},
    "label smoothing": {"label_smoothing": 0.1},
    "cutmix": {"cutmix": 0.7},
    "every augmentation": {"augmentation": "color+crop+cutout+flip+scale+rotate"},
    "no augmentation": {"augmentation": "none"},
    "bfloat16": {"precision": "bfloat16"},
    "steps that end within an epoch": {"steps": 8},
    **{f"recipe {name}": read_recipe(name) for name in list_recipes()},
}
LAYERS = ("w8-d1-batch-relu-avg", "w8-d2-instance-sigmoid-max", "w8-d2-none-relu-avg")


class StoppedError(Exception):
    pass


@pytest.fixture(scope="module")
def few(digits: ImageData) -> ImageSet:
    return digits.train.subset(torch.arange(50))


@pytest.fixture(params=CASES)
def recipe(request: pytest.FixtureRequest) -> RecipeSettings:
    given = {**CASES[request.param], "batch_size": 20, "epochs": 4}
    return make_config(SearchConfig, {"search": {"proxy": "whole"}, "recipe": given}).recipe


def train_nets(
    names: tuple[str, ...], images: ImageSet, recipe: RecipeSettings, path: Path | None = None, stop_at: int = 0
) -> dict[str, list[Tensor]]:
    """Losses and weights of each net; StoppedError in an epoch, what is kept is of the one before."""
    nets: dict[str, nn.Module] = {name: make_net(parse_arch(name), images, LAYERS.index(name)) for name in names}
    epochs = [0]

    def stop(losses: Tensor) -> None:
        epochs[0] += 1
        if epochs[0] == stop_at:
            raise StoppedError

    checkpoint = Checkpoint(path, {}, every=0) if path else None
    generators = [make_generator(name) for name in names]
    fits = train(list(nets.values()), images, recipe, generators, on_epoch=stop, checkpoint=checkpoint)
    pairs = zip(nets.items(), fits, strict=True)
    return {name: [fit.losses, *net.state_dict().values()] for (name, net), fit in pairs}


def assert_same(one: dict[str, list[Tensor]], other: dict[str, list[Tensor]]) -> None:
    assert one.keys() == other.keys()
    for name, tensors in one.items():
        assert [tensor.tolist() for tensor in tensors] == [tensor.tolist() for tensor in other[name]], name


def test_nets_learn_together_what_each_learns_alone(few: ImageSet, recipe: RecipeSettings) -> None:
    together = train_nets(LAYERS, few, recipe)
    assert all(bool(tensors[0].isfinite().all()) for tensors in together.values())
    for name in LAYERS:
        assert_same({name: together[name]}, train_nets((name,), few, recipe))


@pytest.mark.parametrize("stops", [(3,), (2, 2)])
def test_it_goes_on_bit_for_bit(few: ImageSet, recipe: RecipeSettings, stops: tuple[int, ...], tmp_path: Path) -> None:
    for stop in stops:
        with pytest.raises(StoppedError):
            train_nets(LAYERS, few, recipe, tmp_path / "kept.safetensors", stop)
    assert_same(train_nets(LAYERS, few, recipe, tmp_path / "kept.safetensors"), train_nets(LAYERS, few, recipe))
