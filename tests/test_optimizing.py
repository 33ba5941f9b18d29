"""Optimisers and learning rates against torch's own."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nasproxy.config import RecipeSettings, SearchConfig, list_recipes, make_config, read_recipe
from nasproxy.errors import SettingsError
from nasproxy.images import ImageSet, make_generator
from nasproxy.nets.convnet import parse_arch
from nasproxy.optimizing import learning_rates, make_optimizer, state_of
from nasproxy.training import make_net, train

ARCH = parse_arch("w8-d2-batch-relu-avg")


def _torch_rates(num_steps: int, lr: float, make: Any) -> list[float]:
    """What a scheduler of torch sets before each update."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler, rates = make(optimizer), []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("num_steps", [1, 2, 7, 40, 1000])
def test_a_cosine_falls_as_torchs_does(num_steps: int) -> None:
    expected = _torch_rates(num_steps, 0.3, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, num_steps))
    rates = learning_rates(RecipeSettings(lr=0.3, schedule="cosine"), num_steps)
    torch.testing.assert_close(rates, torch.tensor(expected), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("num_steps", [10, 100, 1000])
def test_one_cycle_rises_and_falls_as_torchs_does(num_steps: int) -> None:
    """torch reaches the highest rate one update earlier: at most by a part of 1 / T of the rise."""
    expected = _torch_rates(num_steps, 0.3, lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.3, num_steps))
    rates = learning_rates(RecipeSettings(lr=0.3, schedule="one-cycle"), num_steps)
    torch.testing.assert_close(rates, torch.tensor(expected), rtol=0, atol=0.3 * math.pi / 2 / (0.3 * num_steps))
    assert float(rates.max()) == pytest.approx(0.3)
    assert float(rates[0]) == pytest.approx(0.3 / 25, rel=1e-4)
    assert float(rates[-1]) == pytest.approx(0.3 / 250_000, abs=1e-7)


def test_steps_drop_at_parts_of_all_updates() -> None:
    rates = learning_rates(RecipeSettings(lr=1.0, lr_drops=(0.5, 0.75), lr_factor=0.5), 8)
    assert rates.tolist() == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_a_warm_up_rises_in_a_straight_line(schedule: Any) -> None:
    rates = learning_rates(RecipeSettings(lr=1.0, schedule=schedule, warmup=0.4, lr_drops=()), 10)
    torch.testing.assert_close(rates[:4], torch.tensor([0.25, 0.5, 0.75, 1.0]))
    after = learning_rates(RecipeSettings(lr=1.0, schedule=schedule, lr_drops=()), 6)
    torch.testing.assert_close(rates[4:], after)


@pytest.mark.parametrize(
    ("settings", "make"),
    [
        ({"momentum": 0.8, "nesterov": True}, lambda p, lr: torch.optim.SGD(p, lr, 0.8, 0, 5e-4, True)),
        ({"momentum": 0.0}, lambda p, lr: torch.optim.SGD(p, lr, 0.0, 0, 5e-4)),
        (
            {"optimizer": "adamw", "momentum": 0.8, "weight_decay": 0.1},
            lambda p, lr: torch.optim.AdamW(p, lr, (0.8, 0.999), 1e-8, 0.1),
        ),
    ],
)
def test_training_is_what_torchs_optimisers_do(tiny_set: ImageSet, settings: dict[str, Any], make: Any) -> None:
    recipe = RecipeSettings(
        steps=12, batch_size=12, lr=0.01, augmentation="none", schedule="cosine", warmup=0.25, label_smoothing=0.2,
        **settings,
    )  # fmt: skip
    arch = parse_arch("w8-d2-none-sigmoid-avg")
    net, reference = (make_net(arch, tiny_set, 1) for _ in range(2))
    (fit,) = train([net], tiny_set, recipe, [make_generator("order")])
    optimizer = make(list(reference.parameters()), 0.0)
    odds = functional.one_hot(tiny_set.labels, 3) * 0.8 + 0.2 / 3
    losses = []
    for rate in learning_rates(recipe, 12).tolist():
        optimizer.param_groups[0]["lr"] = rate
        loss = -(odds * reference(tiny_set.normalized()).log_softmax(dim=1)).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    torch.testing.assert_close(fit.losses, torch.tensor(losses), rtol=1e-3, atol=1e-4)
    for mine, theirs in zip(net.state_dict().values(), reference.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_its_state_is_made_before_the_first_update_and_stays_where_it_is(optimizer: Any) -> None:
    """A graph of updates, and what keeps them in a file, hold on to these tensors."""
    net = nn.Linear(3, 2)
    made = make_optimizer([net], RecipeSettings(optimizer=optimizer), torch.tensor(0.1))
    before = [tensor.data_ptr() for tensor in state_of(made)]
    assert len(before) == {"sgd": 2, "adamw": 6}[optimizer]
    for _ in range(2):
        net(torch.ones(1, 3)).sum().backward()
        made.step()
    assert [tensor.data_ptr() for tensor in state_of(made)] == before
    assert all(bool((tensor != 0).any()) for tensor in state_of(made))


@pytest.mark.parametrize("name", list_recipes())
def test_every_shipped_recipe_is_one_and_trains(tiny_set: ImageSet, name: str) -> None:
    config = make_config(SearchConfig, {"search": {"proxy": "whole"}, "recipe": read_recipe(name)})
    recipe = config.recipe.model_copy(update={"steps": 30, "batch_size": 6})
    (fit,) = train([make_net(ARCH, tiny_set, 0)], tiny_set, recipe, [make_generator("order")])
    assert fit.losses[-5:].mean() < fit.losses[:5].mean()


def test_the_papers_recipe_is_the_default() -> None:
    recipe = make_config(SearchConfig, {"search": {"proxy": "few"}, "recipe": read_recipe("paper")}).recipe
    assert recipe == RecipeSettings()


def test_recipes_are_read_from_files_too(tmp_path: Any) -> None:
    (tmp_path / "my.toml").write_text("[recipe]\nlr = 0.3\n")
    assert read_recipe(str(tmp_path / "my.toml")) == {"lr": 0.3}
    (tmp_path / "none.toml").write_text("lr = 0.3\n")
    with pytest.raises(SettingsError, match=r"none.toml has no section \[recipe\]"):
        read_recipe(str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match=r"unknown recipe .* 'one-cycel': did you mean 'one-cycle'"):
        read_recipe("one-cycel")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"nesterov": True, "optimizer": "adamw"}, "nesterov=true is of sgd with a momentum above 0"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov=true is of sgd with a momentum above 0"),
        ({"schedule": "one-cycle", "warmup": 0.1}, "warmup=0.1: one-cycle has a rise of its own"),
        ({"schedule": "cosin"}, "'cosine'"),
        ({"label_smoothing": 1.5}, "label_smoothing"),
    ],
)
def test_settings_that_contradict_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError) as error:
        make_config(SearchConfig, {"search": {"proxy": "whole"}, "recipe": settings})
    assert problem in str(error.value)
    assert "\n" not in str(error.value)
