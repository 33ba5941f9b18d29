"""Condensing against references written straight from the equations, and its promises: seeded, resumable, honest."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from benchmarks import naive
from nasproxy.augment import GROUPS, Strategy, parse_strategy
from nasproxy.cli.app import app
from nasproxy.condensing import METHODS, condense, embedding
from nasproxy.condensing.condense import complete_settings
from nasproxy.condensing.matching import _MeanMatching, matching_loss
from nasproxy.condensing.methods import low_rank
from nasproxy.condensing.state import CondenseState, Task, load_state
from nasproxy.condensing.updating import MAX_SCALE, update_images
from nasproxy.config import CondenseSettings
from nasproxy.errors import DivergedError, InputError, SettingsError
from nasproxy.images import ImageData, ImageSet, make_generator
from nasproxy.nets.classifier import Classifier
from nasproxy.nets.convnet import parse_arch
from nasproxy.seeding import derive_seed

SMALL: dict[str, Any] = {"images_per_class": 3, "real_batch_size": 8, "embedding_net": "w8-d2-instance-relu-avg"}


def relative_error(value: Tensor, reference: Tensor) -> float:
    return float((value - reference).detach().norm() / reference.detach().norm())


def make_embedding_net(arch_id: str, images: ImageSet, seed: int = 0) -> Classifier:
    return embedding.make_embedding_net(parse_arch(arch_id), images, seed)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("norm", ["instance", "layer", "none"])
def test_loss_and_image_gradient_agree_with_the_naive_reference(tiny_set: ImageSet, norm: str, group: str) -> None:
    net = make_embedding_net(f"w8-d2-{norm}-relu-avg", tiny_set)
    real = tiny_set.normalized().unflatten(0, (4, 3)).transpose(0, 1)
    start = torch.randn(3, 2, *tiny_set.image_shape, generator=torch.Generator().manual_seed(1))

    images = start.clone().requires_grad_()
    pair = naive.augment_classes((real, images), Strategy(((group,),)), make_generator(3))
    loss = matching_loss(net.embed, *pair, chunk=5)
    (gradient,) = torch.autograd.grad(loss, images)

    reference_images = start.clone().requires_grad_()
    real_augmented, synthetic = naive.augment_classes(
        (real, reference_images), Strategy(((group,),)), make_generator(3)
    )
    reference = naive.matching_loss(net, list(real_augmented), list(synthetic))
    (reference_gradient,) = torch.autograd.grad(reference, reference_images)

    assert relative_error(loss, reference) < 1e-4
    assert relative_error(gradient, reference_gradient) < 1e-4


def test_batch_norm_embeds_all_classes_as_one_batch(tiny_set: ImageSet) -> None:
    net = make_embedding_net("w8-d1-batch-relu-avg", tiny_set)
    real = tiny_set.normalized().unflatten(0, (4, 3)).transpose(0, 1)
    synthetic = torch.randn(3, 2, *tiny_set.image_shape, generator=torch.Generator().manual_seed(1))
    features_real = net.embed(real.flatten(0, 1)).view(3, 4, -1)
    features_synthetic = net.embed(synthetic.flatten(0, 1)).view(3, 2, -1)
    reference = torch.zeros(())
    for k in range(3):
        reference = reference + ((features_real[k].mean(0) - features_synthetic[k].mean(0)) ** 2).sum()
    assert relative_error(matching_loss(net.embed, real, synthetic), reference) < 1e-4


def test_steps_agree_with_algorithm_1_written_naively(tiny_set: ImageSet) -> None:
    steps, per_class, real_batch = 4, 2, 3
    data = ImageData("tiny", tiny_set, tiny_set.subset(torch.arange(0)), tiny_set, "hash", "split")
    settings: dict[str, Any] = {
        "images_per_class": per_class,
        "real_batch_size": real_batch,
        "seed": 5,
        "image_lr": 0.3,
    }
    result = condense(data, "dm", **settings, steps=steps, embedding_net="w8-d2-instance-relu-avg")

    start = condense(data, "dm", **settings, steps=0, embedding_net="w8-d2-instance-relu-avg")
    images, drawn = start.images.normalized().unflatten(0, (3, per_class)).clone(), itertools.count()

    def make_net_of_step() -> Classifier:
        return make_embedding_net("w8-d2-instance-relu-avg", tiny_set, derive_seed(5, "embedder", next(drawn)))

    def draw_pairs(synthetic: Tensor) -> naive.Pairs:
        generator = make_generator(5, "pairs", next(steps_drawn))
        index = tiny_set.sample_classes(real_batch, generator)
        real = tiny_set.normalized(index.flatten()).unflatten(0, index.shape)
        strategy = parse_strategy("auto", flippable=True)
        return zip(*naive.augment_classes((real, synthetic), strategy, generator), strict=True)

    steps_drawn = itertools.count()
    for _ in itertools.islice(naive.condense(images, make_net_of_step, draw_pairs, lr=0.3), steps):
        pass
    assert relative_error(result.images.normalized(), images.detach().flatten(0, 1)) < 1e-4


def test_matching_lowers_the_distance_to_the_real_images(digits: ImageData) -> None:
    real = digits.train.normalized(digits.train.sample_classes(100, make_generator(0)).flatten()).unflatten(
        0, (10, 100)
    )
    nets = [make_embedding_net("w8-d2-instance-relu-avg", digits.train, seed) for seed in range(100, 105)]

    def distance(steps: int) -> float:
        proxy = condense(digits, "dm", **SMALL, init="noise", augmentation="none", steps=steps)
        synthetic = proxy.images.normalized().unflatten(0, (10, 3))
        return sum(float(matching_loss(net.embed, real, synthetic).detach()) for net in nets)

    assert distance(80) < 0.5 * distance(0)


def test_random_takes_training_images_none_twice(digits: ImageData) -> None:
    proxy = condense(digits, "random", images_per_class=20)
    chosen = {image.numpy().tobytes() for image in (proxy.images.images * 255).round().to(torch.uint8)}
    available = {image.numpy().tobytes() for image in digits.train.images}
    assert len(chosen) == 200
    assert chosen <= available


def test_real_initialisation_starts_from_training_images_of_the_class(digits: ImageData) -> None:
    start = condense(digits, "dm", **SMALL, steps=0)
    for image, label in zip(start.images.images, start.images.labels, strict=True):
        same_class = digits.train.images[digits.train.labels == label].float() / 255
        assert float((same_class - image).abs().amax(dim=(1, 2, 3)).min()) < 1e-5


def test_checkpoints_come_every_so_many_steps(digits: ImageData) -> None:
    kept: list[CondenseState] = []
    condense(digits, "dm", **SMALL, steps=9, checkpoint_every=4, on_checkpoint=kept.append)
    assert [state.step for state in kept] == [4, 8]


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(digits: ImageData) -> None:
    kept: list[CondenseState] = []
    with pytest.raises(DivergedError, match="smaller image_lr"):
        condense(digits, "dm", **SMALL, steps=50, image_lr=1e38, on_checkpoint=kept.append)
    assert bool(kept[-1].variables["images"].isfinite().all())


FEW: dict[str, Any] = {"real_batch_size": 4, "embedding_net": "w8-d2-instance-relu-avg", "inner_images": 64}
"""A cheap step at the default memory per class."""


def test_images_that_leave_image_scale_stop_and_keep_the_last_good_state(digits: ImageData) -> None:
    kept: list[CondenseState] = []
    told: list[int] = []
    message = (
        r"^condensing diverged at step \d\d: the images' root mean square is 1\d\d standard deviations of the training "
        r"images, the limit is 100; step \d\d was kept, start again with a smaller image_lr or init=real$"
    )
    with pytest.raises(DivergedError, match=message) as caught:
        condense(
            digits, "lodm", **FEW, images_per_class=50, rank=4, steps=90, image_lr=460,
            on_checkpoint=kept.append, on_step=lambda step, loss: told.append(step),
        )  # fmt: skip
    assert [state.step for state in kept] == told[-1:]
    assert f"step {told[-1]} was kept" in str(caught.value)
    left, right = kept[0].variables["left"], kept[0].variables["right"]
    assert 10 < float((left @ right).square().mean().sqrt()) <= MAX_SCALE


def test_image_scale_is_looked_at_once_more_after_the_last_step(digits: ImageData) -> None:
    with pytest.raises(DivergedError, match=r"diverged at step 3: .*; step 0 was kept, start again with a smaller im"):
        condense(digits, "lodm", **FEW, images_per_class=50, image_lr=1000, steps=3)


def test_image_scale_is_that_of_normalised_images(tiny_set: ImageSet) -> None:
    """Pixels of any brightness stay far below the limit, in parts of classes as well."""
    data = ImageData("tiny", tiny_set, tiny_set.subset(torch.arange(0)), tiny_set, "hash", "split")
    settings: dict[str, Any] = {"images_per_class": 2, "embedding_net": "w8-d2-instance-relu-avg", "steps": 1}
    assert len(condense(data, "idc-i", **settings, image_lr=1e6, classes_per_step=2).images) == 6
    with pytest.raises(DivergedError, match=r"start again with a smaller image_lr$"):
        condense(data, "mmd", **settings, image_lr=1e6, classes_per_step=2)


class _Explodes(_MeanMatching):
    """Leaves the images as they are, but for one update that takes them far away."""

    def __init__(self, task: Task, at: int) -> None:
        super().__init__(task)
        self._at = at

    def begin_step(self, step: int) -> None:
        super().begin_step(step)
        self._update = step + 1

    def loss(self, classes: slice, synthetic: Tensor) -> Tensor:
        return synthetic.sum() * (1e4 if self._update == self._at else 0.0)


@pytest.mark.parametrize(
    ("explodes_at", "steps", "good"), [(3, 3, 0), (7, 20, 5), (12, 20, 10), (14, 14, 10), (15, 20, 10), (20, 20, 15)]
)
def test_every_state_that_is_kept_is_good(tiny_set: ImageSet, explodes_at: int, steps: int, good: int) -> None:
    """Whether images leave their scale at the last step, at a checkpoint, or between two of them or two checks."""
    kept: list[CondenseState] = []
    settings = CondenseSettings(
        images_per_class=2, real_batch_size=2, encoding="pixels", init="real", steps=steps, image_lr=1.0,
        checkpoint_every=5,
    )  # fmt: skip
    task = Task(tiny_set, settings, tiny_set.device, on_checkpoint=kept.append)
    with pytest.raises(DivergedError, match=f"step {good} was kept"):
        update_images(task, _Explodes(task, explodes_at))
    assert kept[-1].step == good
    for state in kept:
        assert float(state.variables["images"].square().mean().sqrt()) < 2, state.step


@pytest.mark.parametrize(
    ("method", "encoding"),
    [(name, None) for name in METHODS] + [(name, "low-rank") for name in ("dc", "dsa", "idc-i", "mmd")],
)
def test_no_method_leaves_image_scale(digits: ImageData, method: str, encoding: str | None) -> None:
    """See also `test_image_scale`."""
    updates = METHODS[method].num_steps(CondenseSettings(steps=1)) == 1
    steps: dict[str, Any] = {"steps": 3, "inner_loop": 1} if updates else {}
    proxy = condense(digits, method, **FEW, **steps, encoding=encoding, selection_epochs=2)
    assert float(proxy.images.normalized().square().mean().sqrt()) < MAX_SCALE / 10


@pytest.mark.parametrize("steps", [3, 14, 20], ids=["last-step", "after-a-check", "checked"])
def test_a_condensation_that_leaves_image_scale_ends_with_one_line_and_no_proxy_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = [f"{name}={value}" for name, value in FEW.items()]
    settings += ["image_lr=1000", "train_per_class=20", "init=noise", "rank=4", "checkpoint_every=2"]
    result = CliRunner(env={"NASPROXY_RUNS": None}).invoke(
        app, ["condense", "--method", "lodm", "--ipc", "10", "--steps", str(steps), "--name", "far", *settings]
    )
    assert result.exit_code == 3, result.output
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "the images' root mean square is" in errors[0]
    folder = tmp_path / "runs" / "far"
    assert not {"proxy.safetensors", "proxy.png"} & {path.name for path in folder.iterdir()}
    state = load_state(folder / "checkpoint.safetensors")
    assert f"step {state.step} was kept" in errors[0]
    images = state.variables["left"] @ state.variables["right"]
    assert float(images.square().mean().sqrt()) <= MAX_SCALE


def test_a_damaged_checkpoint_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="remove it to start over"):
        load_state(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "dn"}, "did you mean 'dm'"),
        ({"images_per_class": 500}, "--ipc 500 is more than class"),
        ({"embedding_net": "resnet"}, "did you mean 'resnet18'"),
        ({"embedding_net": "w8-d9-instance-relu-avg"}, "leaves no pixel"),
        ({"embedding_weights": "trained"}, "write 'random' or 'trained:LOW-HIGH'"),
        ({"method": "idc", "embedding_net": "mlp"}, "embedding_net 'mlp' has no Conv2d, whose gradients idc matches"),
        ({"encoding": "lowrank"}, "did you mean 'low-rank'"),
        ({"encoding": "low-rank", "rank": 9}, "use a rank of 8 or less"),
        ({"classes_per_step": 3, "embedding_net": "w8-d2-batch-relu-avg"}, "batch norm sees all classes at once"),
        ({"augmentation": "color_crob"}, "did you mean 'crop'"),
        ({"stepz": 3}, "did you mean 'steps'"),
        ({"steps": -1}, "condense.steps=-1"),
    ],
)
def test_wrong_settings_are_refused(digits: ImageData, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        condense(digits, **{"method": "dm", "steps": 1, **settings})


def test_settings_at_once_and_one_by_one_are_not_mixed(digits: ImageData) -> None:
    with pytest.raises(SettingsError, match="steps given beside settings"):
        condense(digits, settings=CondenseSettings(), steps=5)


@pytest.mark.parametrize("engine", ["eager-float32-5", "eager-float32-all", "eager-bfloat16-16"])
def test_engines_change_rounding_only(digits: ImageData, engine: str) -> None:
    reference = condense(digits, "dm", **SMALL, steps=5)
    proxy = condense(digits, "dm", **SMALL, steps=5, engine=engine)
    moved = relative_error(reference.images.images, condense(digits, "dm", **SMALL, steps=0).images.images)
    assert (
        relative_error(proxy.images.images, reference.images.images) < (0.1 if "bfloat16" in engine else 1e-4) * moved
    )
    assert proxy.settings["engine"] == engine
    assert reference.settings["engine"] == "eager-float32-64"


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch hides it itself
def test_a_compiled_engine_agrees_with_the_eager_one(digits: ImageData) -> None:
    told: list[tuple[str, dict[str, float]]] = []
    eager, compiled = (
        condense(digits, "dm", **SMALL, steps=3, engine=engine, on_engine=lambda *choice: told.append(choice))
        for engine in ("eager-float32-32", "compiled-float32-32")
    )
    assert relative_error(compiled.images.images, eager.images.images) < 1e-4
    assert told == [("eager-float32-32", {}), ("compiled-float32-32", {})]


def test_a_resumed_run_keeps_the_engine_that_it_was_begun_with(digits: ImageData) -> None:
    kept: list[CondenseState] = []
    condense(digits, "dm", **SMALL, steps=4, engine="eager-float32-16", checkpoint_every=2, on_checkpoint=kept.append)
    rest = condense(digits, "dm", **SMALL, steps=4, resume_from=kept[0])
    assert kept[0].engine == rest.settings["engine"] == "eager-float32-16"


def test_an_embedding_net_with_batch_norm_takes_all_images_at_once(digits: ImageData) -> None:
    settings = SMALL | {"embedding_net": "w8-d2-batch-relu-avg"}
    assert condense(digits, "dm", **settings, steps=1).settings["engine"] == "eager-float32-all"
    with pytest.raises(SettingsError, match="batch norm sees all classes at once"):
        condense(digits, "dm", **settings, steps=1, engine="eager-float32-64")


@pytest.mark.parametrize(
    ("method", "encoding", "norm"),
    [
        ("dm", "pixels", "instance"),
        ("dsa", "low-rank", "instance"),
        ("idc", "multi-formation", "instance"),
        ("dc", "pixels", "batch"),
        ("idc", "multi-formation", "batch"),
    ],
)
def test_classes_may_be_worked_on_a_few_at_a_time(digits: ImageData, method: str, encoding: str, norm: str) -> None:
    """With batch norm too, where it is frozen while images are compared."""
    settings = SMALL | {"encoding": encoding, "outer_loop": 2, "inner_loop": 1, "inner_images": 64}
    settings["embedding_net"] = f"w8-d2-{norm}-relu-avg"
    whole, shards = (
        condense(digits, method, **settings, steps=3, engine="eager-float32-all", classes_per_step=size).images.images
        for size in (None, 3)
    )
    start = condense(digits, method, **settings, steps=0).images.images
    assert relative_error(shards, whole) < 1e-3 * relative_error(whole, start)


def test_the_methods_own_values_fill_in_what_is_not_given(digits: ImageData) -> None:
    def values(method: str, **given: Any) -> dict[str, Any]:
        settings = CondenseSettings(method=method, **given)
        return complete_settings(settings, digits.train).model_dump()

    dm, lodm = values("dm", images_per_class=10), values("lodm", images_per_class=10)
    assert (dm["steps"], dm["image_lr"], dm["init"], dm["augmentation"]) == (20_000, 1.0, "real", "auto")
    assert (lodm["encoding"], lodm["rank"], lodm["init"], lodm["image_lr"]) == ("low-rank", 2, "noise", 1.0)
    assert (values("lodm")["rank"], values("lodm")["image_lr"]) == (4, 1.0)  # no CIFAR-10
    dc = values("dc", images_per_class=10)
    assert (dc["steps"], dc["outer_loop"], dc["inner_loop"], dc["augmentation"]) == (10_000, 10, 50, "none")
    assert values("dc", outer_loop=3)["steps"] == 3000
    idc = values("idc", images_per_class=20)
    assert (idc["encoding"], idc["factor"], idc["steps"], idc["image_lr"]) == ("multi-formation", 2, 200_000, 2e-4)
    assert values("idc", outer_loop=50)["steps"] == 200_000
    assert values("idc-i", encoding="low-rank", rank=1)["rank"] == 1
    assert values("random")["steps"] == 0
    assert values("dm", steps=7)["steps"] == 7


@pytest.mark.parametrize("method", METHODS)
def test_batches_of_a_step_are_the_methods_own_where_not_given(digits: ImageData, method: str) -> None:
    found = complete_settings(CondenseSettings(method=method, images_per_class=10), digits.train)
    given = complete_settings(found.model_copy(update={"real_batch_size": 9, "synthetic_batch_size": 3}), digits.train)
    sizes = {"idc": (64, 128), "idc-i": (64, 128), **dict.fromkeys(("random", "herding", "forgetting", "k-center"))}
    assert (found.real_batch_size, found.synthetic_batch_size) == (sizes.get(method, (256, None)) or (None, None))
    assert (given.real_batch_size, given.synthetic_batch_size) == (9, 3)


@pytest.mark.parametrize(
    ("image_shape", "num_classes", "expected"),
    [
        pytest.param((3, 32, 32), 10, ("squared", 5e-3, 200_000, 0), id="cifar10-svhn"),
        pytest.param((3, 32, 32), 100, ("squared", 5e-3, 200_000, 0), id="cifar100"),
        pytest.param((1, 28, 28), 10, ("absolute", 1e-4, 200_000, 0), id="mnist"),
        pytest.param((1, 64, 64), 8, ("absolute", 3e-3, 100_000, 0), id="speech"),
        pytest.param((3, 224, 224), 10, ("absolute", 3e-3, 50_000, 10), id="imagenet10"),
        pytest.param((3, 224, 224), 100, ("absolute", 1e-3, 50_000, 0), id="imagenet100"),
    ],
)
@pytest.mark.parametrize("method", ["idc", "idc-i"])
def test_idc_follows_the_images_as_its_public_code_does(
    method: str, image_shape: tuple[int, int, int], num_classes: int, expected: tuple[str, float, int, int]
) -> None:
    channels = image_shape[0]
    classes = tuple(map(str, range(num_classes)))
    blank = torch.zeros(num_classes, *image_shape, dtype=torch.uint8)
    images = ImageSet(blank, torch.arange(num_classes), classes, (0.5,) * channels, (0.25,) * channels)
    for per_class in (1, 10, 50):
        asked = CondenseSettings(method=method, images_per_class=per_class, init="noise")
        found = complete_settings(asked, images)
        distance, lr, steps, first_epochs = expected
        assert (found.distance, found.steps, found.first_epochs) == (distance, steps, first_epochs)
        assert found.image_lr == pytest.approx(lr * per_class / 10)
        assert found.augmentation == "color+crop+cutout"
        assert complete_settings(asked.model_copy(update={"distance": "squared"}), images).distance == "squared"


def test_spectrograms_are_cut_along_their_time_alone(digits: ImageData) -> None:
    settings: dict[str, Any] = SMALL | {"tiles_along": "width", "factor": 3, "augmentation": "none", "steps": 1}
    proxy = condense(digits, "idc", **settings)
    assert len(proxy.images) == 10 * 3 * 3
    assert proxy.stored is not None
    mosaic = proxy.stored.tensors["images"][0]  # 16 pixels wide, padded to 18: tiles of 6, 6 and 4 columns
    first = torch.nn.functional.interpolate(mosaic[None, :, :, :6], size=(16, 16), mode="bilinear")[0]
    assert torch.allclose(proxy.images.images[0], first, atol=1e-6)


def _blank_set(image_shape: tuple[int, int, int], num_classes: int = 10, *, flippable: bool = True) -> ImageSet:
    images, channels = torch.zeros(1, *image_shape), image_shape[0]
    classes = tuple(f"class {k}" for k in range(num_classes))
    return ImageSet(images, torch.zeros(1).long(), classes, (0.0,) * channels, (1.0,) * channels, flippable)


@pytest.mark.parametrize(
    ("images", "settings", "lr"),
    [
        (_blank_set((3, 32, 32)), {"images_per_class": 50}, 30.0),
        (_blank_set((3, 32, 32)), {"images_per_class": 100}, 30.0),
        (_blank_set((3, 32, 32)), {"images_per_class": 49}, 1.0),
        (_blank_set((3, 32, 32)), {"images_per_class": 10, "rank": 4}, 1.0),
        (_blank_set((3, 32, 32)), {"images_per_class": 50, "init": "real"}, 1.0),
        (_blank_set((3, 32, 32), flippable=False), {"images_per_class": 50}, 1.0),
        (_blank_set((3, 32, 32), 100), {"images_per_class": 50}, 1.0),
        (_blank_set((3, 64, 64), 200), {"images_per_class": 50}, 1.0),
        (_blank_set((1, 28, 28)), {"images_per_class": 50}, 1.0),
    ],
    ids=["cifar10", "more", "fewer", "rank-4", "real", "svhn", "cifar100", "tinyimagenet", "mnist"],
)
@pytest.mark.parametrize("method", ["lodm", "dm"])
def test_low_rank_has_a_large_rate_where_the_plugin_has_one(
    images: ImageSet, settings: dict[str, Any], lr: float, method: str
) -> None:
    asked = CondenseSettings(method=method, encoding="low-rank", **settings)
    assert METHODS[method].defaults(asked, images)["image_lr"] == lr


@pytest.mark.parametrize(
    ("image_shape", "at_10", "at_50"),
    [
        ((3, 32, 32), 2, 4),
        ((3, 64, 64), 4, 4),
        ((1, 28, 28), 2, 4),
        ((1, 16, 16), 2, 4),
        ((1, 8, 8), 2, 4),
        ((1, 6, 6), 2, 3),
        ((1, 1, 1), 1, 1),
        ((1, 40, 64), 2, 4),
        ((3, 128, 128), 8, 8),
        ((3, 224, 224), 14, 14),
    ],
)
def test_ranks_are_those_of_the_plugin_and_save_memory(
    image_shape: tuple[int, int, int], at_10: int, at_50: int
) -> None:
    assert (low_rank(10, image_shape), low_rank(50, image_shape)) == (at_10, at_50)


def test_mean_matching_of_pixels_moves_the_mean_and_nothing_else(digits: ImageData) -> None:
    """The gradient is the same for all images of a class, so each keeps its difference from the others."""
    settings: dict[str, Any] = {"images_per_class": 3, "real_batch_size": 100, "image_lr": 0.3}
    start, end = (
        condense(digits, "mmd", **settings, steps=steps).images.normalized().unflatten(0, (10, 3)) for steps in (0, 200)
    )
    real = torch.stack([digits.train.normalized(index).mean(0) for index in digits.train.class_indices])
    assert relative_error(end.mean(1), real) < 0.1 < relative_error(start.mean(1), real)
    assert torch.allclose(end - end.mean(1, keepdim=True), start - start.mean(1, keepdim=True), atol=1e-4)


def test_mean_matching_of_pixels_agrees_with_its_equation(tiny_set: ImageSet) -> None:
    real = tiny_set.normalized().unflatten(0, (4, 3)).transpose(0, 1)
    synthetic = torch.randn(3, 2, *tiny_set.image_shape, generator=torch.Generator().manual_seed(1))
    reference = sum(
        (float(real[k, :, c, row, column].mean() - synthetic[k, :, c, row, column].mean())) ** 2
        for k in range(3) for c in range(3) for row in range(8) for column in range(8)
    )  # fmt: skip
    loss = matching_loss(lambda images: images.flatten(1), real, synthetic)
    assert float(loss) == pytest.approx(reference, rel=1e-4)


@pytest.mark.parametrize("embedding_net", ["mlp", "lenet", "alexnet-instance", "resnet18ap-batch"])
def test_any_net_can_embed(digits: ImageData, embedding_net: str) -> None:
    settings: dict[str, Any] = {
        "images_per_class": 1,
        "real_batch_size": 2,
        "embedding_net": embedding_net,
        "init": "noise",
    }
    start, end = (condense(digits, "dm", **settings, steps=steps).images.images for steps in (0, 2))
    assert bool(end.isfinite().all())
    assert not torch.equal(start, end)
