"""Coresets against their definitions, spelt out in loops; and the kept net that they select by."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nasproxy.condensing import condense
from nasproxy.condensing.coresets import (
    count_forgetting,
    herd,
    pick_centers,
    select_forgetting,
    select_herding,
    select_k_center,
    select_random,
)
from nasproxy.condensing.selector import Selector, train_selector
from nasproxy.condensing.state import Task
from nasproxy.config import CondenseConfig, CondenseSettings, make_config
from nasproxy.errors import DivergedError, SettingsError
from nasproxy.images import ImageData, ImageSet
from nasproxy.runs.condensing import run_condense
from nasproxy.runs.place import Place
from tests.records import Notes

SELECTORS: dict[str, Callable[[Task], Tensor]] = {
    "random": select_random,
    "herding": select_herding,
    "forgetting": select_forgetting,
    "k-center": select_k_center,
}

NARROW = "w8-d2-instance-relu-avg"


def _task(images: ImageSet, *, cache_dir: Path | None = None, **settings: Any) -> Task:
    chosen = CondenseSettings(**{"images_per_class": 2, "selection_epochs": 3, **settings})
    return Task(images, chosen, images.device, cache_dir=cache_dir)


def _features(seed: int, *, num_images: int = 9, size: int = 3) -> Tensor:
    return torch.randn(num_images, size, generator=torch.Generator().manual_seed(seed))


def _herd_by_definition(features: Tensor, count: int) -> list[int]:
    points = [row.double() for row in features]
    mean = sum(points, torch.zeros(1)) / len(points)
    chosen: list[int] = []
    for _ in range(count):
        best, nearest = -1, float("inf")
        for i in range(len(points)):
            if i not in chosen:
                mean_of_chosen = sum((points[j] for j in [*chosen, i]), torch.zeros(1)) / (len(chosen) + 1)
                distance = float(((mean_of_chosen - mean) ** 2).sum())
                if distance < nearest:
                    best, nearest = i, distance
        chosen.append(best)
    return chosen


def _centers_by_definition(features: Tensor, count: int) -> list[int]:
    points = [row.double() for row in features]
    mean = sum(points, torch.zeros(1)) / len(points)

    def distance(a: Tensor, b: Tensor) -> float:
        return float(((a - b) ** 2).sum())

    chosen = [min(range(len(points)), key=lambda i: distance(points[i], mean))]
    while len(chosen) < count:
        left = [i for i in range(len(points)) if i not in chosen]
        chosen.append(max(left, key=lambda i: min(distance(points[i], points[j]) for j in chosen)))
    return chosen


@pytest.mark.parametrize("count", [1, 4, 9])
@pytest.mark.parametrize("seed", range(5))
def test_herding_and_k_center_are_their_definitions(seed: int, count: int) -> None:
    features = _features(seed) + 5  # a mean that is not zero
    assert herd(features, count).tolist() == _herd_by_definition(features, count)
    assert pick_centers(features, count).tolist() == _centers_by_definition(features, count)


def test_herding_brings_the_mean_nearer_than_random_choice() -> None:
    features = _features(0, num_images=200, size=8)
    distance = float((features[herd(features, 10)].mean(dim=0) - features.mean(dim=0)).norm())
    others = [features[torch.randperm(200, generator=torch.Generator().manual_seed(s))[:10]] for s in range(100)]
    assert distance < min(float((other.mean(dim=0) - features.mean(dim=0)).norm()) for other in others)


def test_centers_on_a_line_are_the_middle_then_the_ends() -> None:
    line = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.5]])
    assert pick_centers(line, 4).tolist() == [2, 4, 0, 1]


@pytest.mark.parametrize("choose", [herd, pick_centers])
def test_ties_go_to_the_first_image_and_no_image_is_chosen_twice(choose: Callable[[Tensor, int], Tensor]) -> None:
    assert choose(torch.ones(5, 2), 5).tolist() == [0, 1, 2, 3, 4]
    pairs = torch.tensor([[-1.0], [1.0], [-1.0], [1.0]])
    assert choose(pairs, 4).tolist()[:2] == [0, 1]
    assert sorted(choose(pairs, 4).tolist()) == [0, 1, 2, 3]


def test_forgetting_counts_correct_then_wrong() -> None:
    history = ["111111", "000001", "101010", "110011", "000000", "011110"]
    correct = torch.tensor([[mark == "1" for mark in image] for image in history]).T
    assert count_forgetting(correct).tolist() == [0, 0, 3, 1, 0, 1]


def test_after_one_epoch_nothing_is_forgotten() -> None:
    assert count_forgetting(torch.tensor([[True, False, True]])).tolist() == [0, 0, 0]


def test_the_record_says_what_the_net_knew_after_each_epoch(digits: ImageData) -> None:
    train_set = digits.train.subset(torch.arange(200))
    told: list[tuple[int, float]] = []
    task = replace(_task(train_set, selection_epochs=4), on_step=lambda *step: told.append(step))
    selector = train_selector(task)
    logits = selector.net(train_set.normalized())
    assert selector.correct.shape == (4, 200)
    assert torch.equal(selector.correct[-1], logits.argmax(dim=1) == train_set.labels)
    assert selector.correct.float().mean(dim=1).diff().sum() > 0.2  # it learns
    assert [step for step, _ in told] == [1, 2, 3, 4]
    assert told[-1][1] < told[0][1]


def test_each_selector_takes_what_its_rule_says_of_each_class(digits: ImageData, tmp_path: Path) -> None:
    images = digits.train.subset(torch.arange(100))
    task = _task(images, images_per_class=3, selection_epochs=30, cache_dir=tmp_path, embedding_net=NARROW)
    selector, members = train_selector(task), [index.tolist() for index in images.class_indices]
    features, counts = selector.net.embed(images.normalized()).detach(), count_forgetting(selector.correct).tolist()

    def by_features(choose: Callable[[Tensor, int], list[int]]) -> list[list[int]]:
        return [[of_class[i] for i in choose(features[of_class], 3)] for of_class in members]

    assert len(set(counts)) > 2
    assert select_herding(task).tolist() == by_features(_herd_by_definition)
    assert select_k_center(task).tolist() == by_features(_centers_by_definition)
    for of_class, chosen in zip(members, select_forgetting(task).tolist(), strict=True):
        most_forgotten = sorted((counts[i] for i in of_class), reverse=True)[:3]
        assert [counts[i] for i in chosen] == most_forgotten


@pytest.mark.parametrize("name", ["herding", "forgetting", "k-center"])
def test_a_coreset_does_not_depend_on_the_order_of_the_files(digits: ImageData, name: str) -> None:
    """Also where images tie: after three epochs most were never forgotten."""
    images = digits.train.subset(torch.arange(150))
    mixed = images.subset(torch.randperm(150, generator=torch.Generator().manual_seed(0)))
    first, other = (
        given.images[SELECTORS[name](_task(given, images_per_class=5, embedding_net=NARROW))]
        for given in (images, mixed)
    )
    assert torch.equal(first, other)


def test_images_that_were_forgotten_as_often_are_drawn(digits: ImageData) -> None:
    """After one epoch all tie: another seed takes others, none of them the first of their class in the files."""
    images = digits.train.subset(torch.arange(150))
    first, other = (
        select_forgetting(_task(images, selection_epochs=1, seed=seed, embedding_net=NARROW)) for seed in (0, 1)
    )
    in_files = torch.stack([members[:2] for members in images.class_indices])
    for chosen in (first, other):
        assert (chosen == in_files).sum() < 5
    assert (first == other).sum() < 5


def test_the_order_by_content_is_that_of_the_images_not_of_the_files(tiny_set: ImageSet) -> None:
    mixed = tiny_set.subset(torch.tensor([3, 1, 2, 0, 11, 10, 9, 8, 4, 5, 7, 6]))
    one, two = (images.subset(images.content_order()) for images in (tiny_set, mixed))
    assert one.content_hash() == two.content_hash()
    relabelled = replace(tiny_set, images=tiny_set.images[:1].expand(12, -1, -1, -1))  # they differ by label only
    assert relabelled.subset(relabelled.content_order()).labels.unique_consecutive().numel() == 3


@pytest.mark.parametrize("name", SELECTORS)
def test_a_coreset_is_balanced_has_no_image_twice_and_is_decided_by_the_seed(digits: ImageData, name: str) -> None:
    images = digits.train.subset(torch.arange(150))
    first, again, other = (SELECTORS[name](_task(images, images_per_class=5, seed=seed)) for seed in (1, 1, 2))
    assert first.shape == (10, 5)
    assert torch.equal(images.labels[first], torch.arange(10).unsqueeze(1).expand(10, 5))
    assert len(first.unique()) == 50
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", SELECTORS)
def test_a_whole_class_may_be_chosen(tiny_set: ImageSet, name: str) -> None:
    chosen = SELECTORS[name](_task(tiny_set, images_per_class=4))
    assert chosen.sort(dim=1).values.tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]


@pytest.mark.parametrize("name", SELECTORS)
def test_the_proxy_set_of_a_coreset_holds_the_chosen_images(tiny_set: ImageSet, name: str) -> None:
    data = ImageData("tiny", tiny_set, tiny_set.subset(torch.arange(0)), tiny_set, "hash", "split")
    proxy = condense(data, name, images_per_class=2, selection_epochs=3)
    chosen = tiny_set.images[SELECTORS[name](_task(tiny_set)).flatten()]
    torch.testing.assert_close(proxy.images.images * 255, chosen.float(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", SELECTORS)
def test_more_images_than_a_class_has_are_refused(tiny_set: ImageSet, name: str) -> None:
    data = ImageData("tiny", tiny_set, tiny_set, tiny_set, "hash", "split")
    with pytest.raises(SettingsError, match=r"--ipc 5 is more than class 'a' has \(4 training images\)"):
        condense(data, name, images_per_class=5)


def test_a_net_that_diverges_selects_nothing(tiny_set: ImageSet, tmp_path: Path) -> None:
    images = replace(tiny_set, std=(1e-30, 1.0, 1.0))
    with pytest.raises(DivergedError, match="diverged in epoch 1: its loss is nan; look at the images' mean and std"):
        select_herding(_task(images, cache_dir=tmp_path))
    assert not list(tmp_path.iterdir())


def _equal(first: Selector, second: Selector) -> bool:
    pairs = zip(first.net.state_dict().values(), second.net.state_dict().values(), strict=True)
    return torch.equal(first.correct, second.correct) and all(torch.equal(mine, theirs) for mine, theirs in pairs)


def test_a_kept_net_is_read_the_second_time(tiny_set: ImageSet, tmp_path: Path) -> None:
    task = _task(tiny_set, cache_dir=tmp_path / "kept")
    first = train_selector(task)
    (path,) = (tmp_path / "kept").iterdir()
    written = path.stat().st_mtime_ns
    told: list[int] = []
    second = train_selector(replace(task, on_step=lambda step, loss: told.append(step)))
    assert told == []
    assert path.stat().st_mtime_ns == written
    assert _equal(first, second)
    assert _equal(first, train_selector(_task(tiny_set)))


def test_one_kept_net_serves_all_selectors(tiny_set: ImageSet, tmp_path: Path) -> None:
    for select in (select_herding, select_forgetting, select_k_center):
        kept, alone = (select(_task(tiny_set, cache_dir=cache_dir)) for cache_dir in (tmp_path, None))
        assert torch.equal(kept, alone)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("settings", "changes"),
    [({"seed": 1}, True), ({"selection_epochs": 2}, True), ({"images_per_class": 1}, False), ({"steps": 7}, False)],
)
def test_a_net_of_other_settings_is_kept_apart(
    tiny_set: ImageSet, tmp_path: Path, settings: dict[str, int], changes: bool
) -> None:
    for given in ({}, settings):
        train_selector(_task(tiny_set, cache_dir=tmp_path, **given))
    assert len(list(tmp_path.iterdir())) == 1 + changes


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda images: replace(images, images=255 - images.images), id="pixels"),
        pytest.param(lambda images: replace(images, labels=images.labels.flip(0)), id="labels"),
        pytest.param(lambda images: replace(images, mean=(0.1, 0.1, 0.1)), id="mean"),
        pytest.param(lambda images: images.subset(torch.arange(11)), id="fewer"),
    ],
)
def test_a_net_of_other_images_is_kept_apart(
    tiny_set: ImageSet, tmp_path: Path, change: Callable[[ImageSet], ImageSet]
) -> None:
    train_selector(_task(tiny_set, cache_dir=tmp_path))
    other = change(tiny_set)
    assert _equal(train_selector(_task(other, cache_dir=tmp_path)), train_selector(_task(other)))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("kept_part", [0.0, 0.01, 0.9])
def test_a_damaged_kept_net_is_trained_again(tiny_set: ImageSet, tmp_path: Path, kept_part: float) -> None:
    task = _task(tiny_set, cache_dir=tmp_path)
    first = train_selector(task)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept_part)])
    assert _equal(train_selector(task), first)
    assert len(path.read_bytes()) == pytest.approx(len(whole), abs=64)  # the seconds in its header differ


def test_a_proxy_set_names_the_seconds_of_a_kept_net(tiny_set: ImageSet, tmp_path: Path) -> None:
    data = ImageData("tiny", tiny_set, tiny_set.subset(torch.arange(0)), tiny_set, "hash", "split")
    settings: dict[str, Any] = {"images_per_class": 2, "selection_epochs": 3, "cache_dir": tmp_path}
    first, second = (condense(data, method, **settings) for method in ("herding", "k-center"))
    spent = train_selector(_task(tiny_set, cache_dir=tmp_path)).seconds
    assert spent > 0
    assert min(first.seconds, second.seconds) >= spent


def test_a_run_shows_the_epochs_and_keeps_the_net_in_the_data_folder(tmp_path: Path) -> None:
    images = {"data_dir": tmp_path / "data", "train_per_class": 5}
    chosen = {"method": "herding", "images_per_class": 2, "selection_epochs": 2}
    config = make_config(CondenseConfig, {"images": images, "condense": chosen, "machine": {"device": "cpu"}})
    notes = Notes()
    for name in ("first", "second"):
        run_condense(Place(tmp_path / "runs", notes), config, name=name)
    assert notes.of("condensing") == [(0, 2), (1, 2), (2, 2), (0, 2)]
    assert len(list((tmp_path / "data" / "selectors").iterdir())) == 1
