"""The training loop against a plain one, and its promises: seeded, independent of order, honest about divergence."""

import math
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks import naive
from nasproxy.checkpoint import Checkpoint
from nasproxy.config import Precision, RecipeSettings
from nasproxy.errors import ArchError, SettingsError, SpaceError
from nasproxy.images import ImageData, ImageSet, make_generator
from nasproxy.nets.convnet import parse_arch
from nasproxy.space import Arch
from nasproxy.training import (
    LOOK_EVERY,
    Fit,
    Measure,
    NetFolder,
    SeedScores,
    count_steps,
    make_net,
    make_update,
    mean_losses,
    measure,
    train,
    train_seeds,
)
from tests.nets.odd import ODD_KINDS, odd_arch

ARCH = parse_arch("w8-d2-instance-relu-avg")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
PLAIN_20 = RecipeSettings(epochs=1, batch_size=20, augmentation="none")
PLAIN = RecipeSettings(epochs=4, batch_size=5, augmentation="none")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("arch_id", ["w8-d2-instance-relu-avg", "w8-d2-batch-sigmoid-max", "w8-d1-none-leakyrelu-none"])
def test_training_is_plain_sgd_with_the_rate_dropped_at_half(tiny_set: ImageSet, arch_id: str, device: str) -> None:
    images = tiny_set.subset(torch.arange(11)).to(device)
    net, reference = (make_net(parse_arch(arch_id), images, 1) for _ in range(2))
    (fit,) = train([net], images, PLAIN, [make_generator("order")])

    generator, pixels = make_generator("order"), images.normalized()
    orders = (torch.randperm(11, generator=generator).split([4, 4, 3]) for _ in range(4))
    epochs = ([(pixels[index], images.labels[index]) for index in order] for order in orders)
    losses = [loss for loss, _ in naive.train(reference, epochs, lambda batch: batch, drop_at=6)]

    torch.testing.assert_close(fit.losses, torch.tensor(losses), rtol=1e-3, atol=1e-3)
    for mine, theirs in zip(net.state_dict().values(), reference.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("norm", ["none", "batch", "layer", "instance", "group"])
def test_a_net_learns_the_same_beside_others_as_alone(tiny_set: ImageSet, norm: str, device: str) -> None:
    images, recipe = tiny_set.to(device), RecipeSettings(epochs=10, batch_size=6)
    archs = [parse_arch(f"w8-d{depth}-{norm}-relu-avg") for depth in (1, 2, 2)]

    def fresh() -> list[nn.Module]:
        return [make_net(arch, images, seed) for seed, arch in enumerate(archs)]

    together = train(fresh(), images, recipe, [make_generator(seed) for seed in range(3)])
    for seed, net in enumerate(fresh()):
        (alone,) = train([net], images, recipe, [make_generator(seed)])
        torch.testing.assert_close(together[seed].losses, alone.losses, rtol=1e-3, atol=1e-3)
    assert not torch.equal(together[1].losses, together[2].losses)


def test_bfloat16_learns_what_float32_learns(digits: ImageData) -> None:
    train_set = digits.train.subset(torch.arange(100))

    def learn(precision: Precision) -> tuple[torch.Tensor, float]:
        net = make_net(ARCH, train_set, 0)
        recipe = RecipeSettings(epochs=40, precision=precision, augmentation="none")
        (fit,) = train([net], train_set, recipe, [make_generator(0)])
        return fit.losses, measure(net, digits.test).accuracy

    (exact_losses, exact), (rounded_losses, rounded) = learn("float32"), learn("bfloat16")
    assert exact > 0.4
    assert rounded == pytest.approx(exact, abs=0.05)
    assert not torch.equal(rounded_losses, exact_losses)
    torch.testing.assert_close(rounded_losses, exact_losses, rtol=0.02, atol=0.02)


def test_training_ends_early_once_all_nets_have_diverged(tiny_set: ImageSet) -> None:
    recipe = RecipeSettings(epochs=300, batch_size=12, lr=1e20, augmentation="none")
    nets = [make_net(ARCH, tiny_set, seed) for seed in range(2)]
    fits = train(nets, tiny_set, recipe, [make_generator(seed) for seed in range(2)])
    assert [fit.steps for fit in fits] == [LOOK_EVERY] * 2
    assert all(fit.diverged for fit in fits)


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


def test_every_epoch_is_told_with_its_losses(tiny_set: ImageSet) -> None:
    told: list[torch.Tensor] = []
    recipe = RecipeSettings(steps=5, batch_size=6)
    nets = [make_net(ARCH, tiny_set, seed) for seed in range(2)]
    fits = train(nets, tiny_set, recipe, [make_generator(seed) for seed in range(2)], on_epoch=told.append)
    assert [losses.shape for losses in told] == [(2, 2), (2, 2), (1, 2)]
    assert torch.equal(torch.cat(told), torch.stack([fit.losses for fit in fits], dim=1))


def test_a_look_at_every_epoch_changes_nothing(tiny_set: ImageSet) -> None:
    recipe = RecipeSettings(epochs=3, batch_size=6)
    plain, watched = (make_net(parse_arch("w8-d1-batch-relu-avg"), tiny_set, 0) for _ in range(2))

    def look(losses: torch.Tensor) -> None:
        measure(watched, tiny_set)
        watched.train()

    (fit,) = train([plain], tiny_set, recipe, [make_generator(0)])
    (watched_fit,) = train([watched], tiny_set, recipe, [make_generator(0)], on_epoch=look)
    assert torch.equal(fit.losses, watched_fit.losses)


def test_a_net_learns_the_digits(digits: ImageData) -> None:
    recipe = RecipeSettings(epochs=8, augmentation="none")
    arch = parse_arch("w16-d1-instance-relu-max")
    scores = train_seeds(arch, digits.train, recipe, val=digits.val, test=digits.test, num_seeds=1, seed=0)
    assert scores.test[0].accuracy > 0.85
    assert scores.val[0].accuracy > 0.85
    assert scores.val[0].loss < 0.7


def test_scores_depend_on_the_seed_alone(digits: ImageData) -> None:
    train_set = digits.train.subset(torch.arange(100))
    recipe = RecipeSettings(epochs=3)

    def measures(num_seeds: int, seed: int) -> tuple[Measure, ...]:
        return train_seeds(ARCH, train_set, recipe, val=None, test=digits.test, num_seeds=num_seeds, seed=seed).test

    torch.manual_seed(1)
    three = measures(3, seed=7)
    torch.manual_seed(2)
    assert measures(2, seed=7) == three[:2]
    assert measures(3, seed=8) != three


def test_making_a_net_leaves_the_global_random_state_alone(tiny_set: ImageSet) -> None:
    before = torch.get_rng_state()
    make_net(ARCH, tiny_set, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_net_that_diverges_is_scored_and_its_curve_says_so(digits: ImageData) -> None:
    recipe = RecipeSettings(epochs=5, lr=1e20, augmentation="none")
    few = digits.train.subset(torch.arange(50))
    scores = train_seeds(ARCH, few, recipe, val=digits.val, test=digits.test, num_seeds=2, seed=0)
    assert not math.isfinite(list(scores.loss_curve.values())[-1])
    assert all(0 <= measure.accuracy <= 0.3 for measure in scores.test)


@pytest.mark.parametrize("kind", ODD_KINDS)
def test_a_net_that_returns_anything_but_scores_of_classes_is_refused(
    digits: ImageData, tmp_path: Path, kind: str
) -> None:
    few, returned = digits.train.subset(torch.arange(20)), re.escape(ODD_KINDS[kind].format(n=20))
    with pytest.raises(ArchError, match=rf"^{kind}: for 20 images of 10 classes the net returns {returned}; let it"):
        train_seeds(odd_arch(tmp_path, kind), few, PLAIN_20, val=None, test=few, num_seeds=1, seed=0)
    train_seeds(odd_arch(tmp_path, "fine"), few, PLAIN_20, val=None, test=few, num_seeds=1, seed=0)


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
    assert measure(_Constant(logits), tiny_set).accuracy == pytest.approx(accuracy)


def test_the_loss_is_the_cross_entropy_of_the_images_at_hand(tiny_set: ImageSet) -> None:
    odds = [0.5, 0.25, 0.25]
    expected = -sum(math.log(odds[label]) for label in tiny_set.labels.tolist()) / len(tiny_set)
    assert measure(_Constant([math.log(part) for part in odds]), tiny_set).loss == pytest.approx(expected)
    assert math.isnan(measure(_Constant([math.nan, 0.0, 0.0]), tiny_set).loss)


def test_measures_do_not_depend_on_the_batches_of_evaluation(digits: ImageData) -> None:
    net = make_net(parse_arch("w8-d1-batch-relu-max"), digits.train, 0)
    one_by_one = [measure(net, digits.test.subset(torch.tensor([i]))) for i in range(len(digits.test))]
    assert measure(net, digits.test) == pytest.approx(torch.tensor(one_by_one).mean(dim=0).tolist(), rel=1e-5)


def test_the_rate_drops_after_each_part_of_the_updates(tiny_set: ImageSet) -> None:
    """Plain SGD without momentum on one net: how far a step goes shows the rate."""
    recipe = RecipeSettings(
        steps=9, batch_size=12, augmentation="none", momentum=0, weight_decay=0, lr=0.1, lr_drops=(1 / 3, 2 / 3),
        lr_factor=0.2,
    )  # fmt: skip
    net, reference = (make_net(ARCH, tiny_set, 1) for _ in range(2))
    train([net], tiny_set, recipe, [make_generator("order")])
    for step in range(9):
        loss = nn.functional.cross_entropy(reference(tiny_set.normalized()), tiny_set.labels)
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(reference.parameters(), gradients, strict=True):
                parameter.sub_(gradient, alpha=0.1 * 0.2 ** (step // 3))
    for mine, theirs in zip(net.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_the_loss_curve_has_the_means_of_ten_parts() -> None:
    """25 updates of one net and 23 of another: parts of three and two updates of both."""
    first, second = torch.arange(25.0), 10 * torch.arange(23.0)
    curve = mean_losses([Fit(first), Fit(second)])
    ends = [3, 6, 9, 11, 13, 15, 17, 19, 21, 23]
    expected = [
        sum(step + 10 * step for step in range(start, end)) / (2 * (end - start))
        for start, end in zip([0, *ends], ends, strict=False)
    ]
    assert list(curve) == ends
    assert list(curve.values()) == pytest.approx(expected)


def test_a_short_loss_curve_has_every_update_and_keeps_what_is_not_finite() -> None:
    curve = mean_losses([Fit(torch.tensor([2.0, math.nan])), Fit(torch.tensor([4.0, 1.0]))])
    assert curve[1] == 3.0
    assert math.isnan(curve[2])
    assert len(curve) == 2


@pytest.mark.parametrize("device", DEVICES)
def test_training_with_cutmix_learns_and_is_seeded(tiny_set: ImageSet, device: str) -> None:
    images = tiny_set.to(device)
    recipe = RecipeSettings(epochs=60, batch_size=6, cutmix=0.5, augmentation="none")
    nets = [make_net(ARCH, images, 1) for _ in range(3)]
    fits = [
        train([net], images, recipe.model_copy(update={"cutmix": cutmix}), [make_generator("order")])[0]
        for net, cutmix in zip(nets, (0.5, 0.5, 0.0), strict=True)
    ]
    torch.testing.assert_close(fits[0].losses, fits[1].losses, rtol=1e-3, atol=1e-3)
    assert not torch.equal(fits[0].losses, fits[2].losses)
    assert measure(nets[0], images).accuracy > 0.9


RESUMED = {
    "sgd": RecipeSettings(epochs=6, batch_size=20, lr=0.05, lr_drops=(0.4, 0.8), augmentation="crop_flip", cutmix=0.5),
    "adamw": RecipeSettings(epochs=6, batch_size=20, lr=0.01, optimizer="adamw", schedule="one-cycle"),
}


class StoppedError(Exception):
    pass


def _train(
    images: ImageSet, optimizer: str, path: Path | None, stop_at: int | None = None, about: str = ""
) -> tuple[list[Fit], list[Tensor]]:
    """Two nets with batch norm; losses and weights. StoppedError in an epoch, what was kept is of the one before."""
    nets = [make_net(parse_arch(f"w8-d1-{norm}-relu-avg"), images, 5) for norm in ("batch", "none")]
    generators = [make_generator(0, name) for name in ("a", "b")]
    epochs = [0]

    def on_epoch(losses: Tensor) -> None:
        epochs[0] += 1
        if epochs[0] == stop_at:
            raise StoppedError

    checkpoint = Checkpoint(path, {"about": about}, every=0) if path else None
    fits = train(nets, images, RESUMED[optimizer], generators, on_epoch=on_epoch, checkpoint=checkpoint)
    return fits, [tensor for net in nets for tensor in net.state_dict().values()]


def _equal(one: tuple[list[Fit], list[Tensor]], other: tuple[list[Fit], list[Tensor]]) -> bool:
    losses = all(torch.equal(a.losses, b.losses) for a, b in zip(one[0], other[0], strict=True))
    return losses and all(torch.equal(a, b) for a, b in zip(one[1], other[1], strict=True))


@pytest.mark.parametrize("optimizer", RESUMED)
@pytest.mark.parametrize("stops", [(2,), (3, 2), (6,), (1,)])
def test_a_training_that_was_cut_short_goes_on_bit_for_bit(
    digits: ImageData, tmp_path: Path, optimizer: str, stops: tuple[int, ...]
) -> None:
    few, path = digits.train.subset(torch.arange(50)), tmp_path / "x.safetensors"
    whole = _train(few, optimizer, None)
    for stop in stops:
        with pytest.raises(StoppedError):
            _train(few, optimizer, path, stop)
    assert path.exists() is (stops != (1,))
    assert _equal(_train(few, optimizer, path), whole)
    assert _equal(_train(few, optimizer, path, stop_at=1), whole)  # it is over: no epoch is left
    for other in ("about", "damaged"):
        if other == "damaged":
            path.write_bytes(path.read_bytes()[:-50])
        with pytest.raises(StoppedError):
            _train(few, optimizer, path, 1, about=other)


def test_kept_nets_are_those_that_were_measured_and_trainings_are_forgotten_when_told(
    digits: ImageData, tmp_path: Path
) -> None:
    few, folder = digits.train.subset(torch.arange(50)), NetFolder(tmp_path / "nets", every=0)
    recipe = RecipeSettings(epochs=3, batch_size=20)
    kept = train_seeds(ARCH, few, recipe, val=digits.val, test=digits.test, num_seeds=2, seed=0, keep=folder)
    alone = train_seeds(ARCH, few, recipe, val=digits.val, test=digits.test, num_seeds=2, seed=0)
    assert (kept.val, kept.test, kept.loss_curve) == (alone.val, alone.test, alone.loss_curve)
    other = folder.checkpoint_path(f"{ARCH.id}-more", 0)
    other.touch()
    folder.forget_trainings(ARCH.id)
    assert other.exists()
    other.unlink()
    assert sorted(path.name for path in folder.path.iterdir()) == [f"{ARCH.id}-{n}.safetensors" for n in (0, 1)]
    for repeat in (0, 1):
        net = make_net(ARCH, few, 7)
        net.load_state_dict(load_file(folder.weights_path(ARCH.id, repeat)))
        assert measure(net, digits.test) == kept.test[repeat]


def test_a_net_that_was_trained_before_its_trial_was_cut_short_is_not_trained_again(
    digits: ImageData, tmp_path: Path
) -> None:
    few, folder = digits.train.subset(torch.arange(50)), NetFolder(tmp_path / "nets")
    job = partial(
        train_seeds, ARCH, few, RecipeSettings(epochs=3, batch_size=20),
        val=digits.val, test=digits.test, num_seeds=2, seed=0, keep=folder,
    )  # fmt: skip

    def stop(done: int) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        job(on_seed=stop)
    checkpoint = folder.checkpoint_path(ARCH.id, 0)
    written = checkpoint.stat().st_mtime_ns
    with pytest.raises(StoppedError):
        job(on_seed=stop)
    assert checkpoint.stat().st_mtime_ns == written  # nothing was left to do
    assert (
        job().test
        == train_seeds(
            ARCH, few, RecipeSettings(epochs=3, batch_size=20), val=None, test=digits.test, num_seeds=2, seed=0
        ).test
    )


TRAINERS = """
import torch
import torch.nn.functional as F

def train(net, images, recipe, seed):
    optimizer, losses = torch.optim.SGD(net.parameters(), lr=recipe.lr), []
    generator = torch.Generator().manual_seed(seed)
    for _ in range(recipe.steps):
        index = torch.randint(len(images), (recipe.batch_size,), generator=generator)
        loss = F.cross_entropy(net(images.normalized(index)), images.labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses

def forgets(net, images, recipe, seed):
    return None

def diverges(net, images, recipe, seed):
    return [1.0, float("nan")]
"""


def test_a_loop_of_ones_own_trains_what_is_measured_and_recorded_as_ever(tmp_path: Path, digits: ImageData) -> None:
    (tmp_path / "loops.py").write_text(TRAINERS)
    arch, recipe = parse_arch("w16-d1-instance-relu-avg"), RecipeSettings(steps=40, lr=0.1, batch_size=64)

    def scores(trainer: str, seed: int = 0) -> SeedScores:
        given = recipe.model_copy(update={"trainer": f"{tmp_path / 'loops.py'}:{trainer}"})
        return train_seeds(arch, digits.train, given, val=digits.val, test=digits.test, num_seeds=2, seed=seed)

    first = scores("train")
    assert min(first.val_accuracies) > 0.5
    assert max(first.loss_curve) == 40
    assert scores("train").test == first.test
    assert scores("train", seed=1).test != first.test
    assert not math.isfinite(list(scores("diverges").loss_curve.values())[-1])
    (tmp_path / "two.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.body = nn.Linear(256, 10)\n"
        "    def forward(self, x):\n        y = self.body(x.flatten(1))\n"
        "        return (y, y) if self.training else y\n"
        "def build(arch, shape, num_classes):\n    return Net()\n"
        "def train(net, images, recipe, seed):\n"
        "    main, extra = net(images.normalized(slice(8)))\n    return [(main - extra).sum()]\n"
    )
    two = Arch("two", {}, f"{tmp_path / 'two.py'}:build")
    given = recipe.model_copy(update={"trainer": f"{tmp_path / 'two.py'}:train"})
    assert len(train_seeds(two, digits.train, given, val=None, test=digits.test, num_seeds=2, seed=0).test) == 2
    with pytest.raises(ArchError, match="returns a tuple of 2"):
        train_seeds(two, digits.train, recipe, val=None, test=digits.test, num_seeds=1, seed=0)
    with pytest.raises(SettingsError, match=r"loops.py:forgets returned NoneType; return the training loss of every"):
        scores("forgets")
    with pytest.raises(SpaceError, match=r"trainer .*loops.py:missing' cannot be imported"):
        scores("missing")


def test_a_net_without_parameters_is_refused(digits: ImageData) -> None:
    with pytest.raises(ArchError, match="the net has no parameters to train; correct its builder"):
        make_update([nn.Flatten()], RecipeSettings(), torch.tensor(0.1))
