"""The training loop against a plain one, and its promises: seeded, independent of order, honest about divergence."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nasproxy.config import RecipeSettings
from nasproxy.images import ImageData, ImageSet, make_generator
from nasproxy.nets.convnet import parse_arch
from nasproxy.training import Fit, count_steps, make_net, measure_accuracy, train, train_seeds

ARCH = parse_arch("w8-d2-instance-relu-avg")
PLAIN = RecipeSettings(epochs=4, batch_size=5, augmentation="none")


def test_training_is_plain_sgd_with_the_rate_dropped_at_half(tiny_set: ImageSet) -> None:
    net, reference = make_net(ARCH, tiny_set, 1), make_net(ARCH, tiny_set, 1)
    train([net], tiny_set, PLAIN, [make_generator("order")])

    generator = make_generator("order")
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    images, step = tiny_set.normalized(), 0
    for _ in range(4):
        order = torch.randperm(12, generator=generator)
        for index in (order[:4], order[4:8], order[8:]):
            optimizer.param_groups[0]["lr"] = 0.01 if step < 6 else 0.001
            optimizer.zero_grad()
            F.cross_entropy(reference(images[index]), tiny_set.labels[index]).backward()
            optimizer.step()
            step += 1
    for mine, theirs in zip(net.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(
    ("recipe", "num_images", "steps"),
    [
        (RecipeSettings(), 500, 400),
        (RecipeSettings(epochs=100), 45_000, 18_000),
        (RecipeSettings(steps=400), 45_000, 400),
        (RecipeSettings(epochs=3), 251, 6),
    ],
)
def test_the_number_of_updates_is_that_of_the_protocol(recipe: RecipeSettings, num_images: int, steps: int) -> None:
    assert count_steps(recipe, num_images) == steps


def test_steps_end_training_within_an_epoch(tiny_set: ImageSet) -> None:
    recipe = RecipeSettings(steps=5, batch_size=6)
    (fit,) = train([make_net(ARCH, tiny_set, 0)], tiny_set, recipe, [make_generator(0)])
    assert fit.steps == 5


def test_a_net_learns_the_digits(digits: ImageData) -> None:
    recipe = RecipeSettings(epochs=8, augmentation="none")
    arch = parse_arch("w16-d1-instance-relu-max")
    scores = train_seeds(arch, digits.train, recipe, val=digits.val, test=digits.test, num_seeds=1, seed=0)
    assert scores.test_accuracies[0] > 0.85
    assert scores.val_accuracies[0] > 0.85


def test_scores_depend_on_the_seed_alone(digits: ImageData) -> None:
    train_set = digits.train.subset(torch.arange(100))
    recipe = RecipeSettings(epochs=3)

    def accuracies(num_seeds: int, seed: int) -> tuple[float, ...]:
        return train_seeds(
            ARCH, train_set, recipe, val=None, test=digits.test, num_seeds=num_seeds, seed=seed
        ).test_accuracies

    torch.manual_seed(1)
    three = accuracies(3, seed=7)
    torch.manual_seed(2)
    assert accuracies(2, seed=7) == three[:2]
    assert accuracies(3, seed=8) != three


def test_making_a_net_leaves_the_global_random_state_alone(tiny_set: ImageSet) -> None:
    before = torch.get_rng_state()
    make_net(ARCH, tiny_set, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_net_that_diverges_is_scored_and_counted(digits: ImageData) -> None:
    recipe = RecipeSettings(epochs=5, lr=1e20, augmentation="none")
    few = digits.train.subset(torch.arange(50))
    scores = train_seeds(ARCH, few, recipe, val=digits.val, test=digits.test, num_seeds=2, seed=0)
    assert scores.num_diverged == 2
    assert all(0 <= accuracy <= 0.3 for accuracy in scores.test_accuracies)


@pytest.mark.parametrize(("loss", "diverged"), [(2.3, False), (math.nan, True), (math.inf, True)])
def test_divergence_is_a_loss_that_is_not_finite(loss: float, diverged: bool) -> None:
    assert Fit(torch.tensor([2.3, loss, 2.3])).diverged is diverged


class _Constant(nn.Module):
    """Answers the same logits for every image."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(images), -1)


@pytest.mark.parametrize(
    ("logits", "accuracy"), [([1.0, 0.0, 0.0], 1 / 3), ([math.nan, 0.0, 0.0], 0.0), ([0.0, math.inf, 0.0], 0.0)]
)
def test_outputs_that_are_not_finite_count_as_wrong(tiny_set: ImageSet, logits: list[float], accuracy: float) -> None:
    assert measure_accuracy(_Constant(logits), tiny_set) == pytest.approx(accuracy)


def test_accuracy_does_not_depend_on_the_batches_of_evaluation(digits: ImageData) -> None:
    net = make_net(parse_arch("w8-d1-batch-relu-max"), digits.train, 0)
    one_by_one = [measure_accuracy(net, digits.test.subset(torch.tensor([i]))) for i in range(len(digits.test))]
    assert measure_accuracy(net, digits.test) == pytest.approx(sum(one_by_one) / len(one_by_one))
