"""The weights that images are compared by: random ones of every step, or those of nets in training."""

from typing import Any

import pytest
import torch

from nasproxy.condensing import condense
from nasproxy.condensing.embedding import (
    EmbeddingNets,
    find_embedding_arch,
    initialize,
    make_embedding_net,
    parse_embedding_weights,
)
from nasproxy.condensing.state import Task
from nasproxy.config import CondenseSettings
from nasproxy.errors import SettingsError
from nasproxy.images import ImageData, ImageSet
from nasproxy.training import measure

NET = "w8-d2-instance-relu-avg"


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "instance", "group"])
def test_the_weights_of_a_step_are_those_of_a_net_built_from_its_seed(tiny_set: ImageSet, norm: str) -> None:
    arch = find_embedding_arch(f"w8-d2-{norm}-relu-avg", tiny_set)
    net, built = (make_embedding_net(arch, tiny_set, seed) for seed in (1, 2))
    net.embed(tiny_set.normalized())
    initialize(net, 2, tiny_set.device)
    for (name, mine), theirs in zip(net.state_dict().items(), built.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name


def task_for(digits: ImageData, **settings: Any) -> Task:
    return Task(
        digits.train, CondenseSettings(embedding_net=NET, num_embedding_nets=2, **settings), torch.device("cpu")
    )


def test_trained_embedding_nets_have_the_accuracy_asked_for(digits: ImageData) -> None:
    nets = EmbeddingNets(task_for(digits, embedding_weights="trained:40-70"))
    accuracies, weights = [], set()
    for step in range(8):
        nets.draw(step)
        accuracies.append(measure(nets.net, digits.train).accuracy)
        weights.add(float(nets.net.head.weight.sum()))
    assert len(weights) == 2
    assert all(0.35 < accuracy < 0.75 for accuracy in accuracies)
    assert not any(parameter.requires_grad for parameter in nets.net.parameters())


def test_random_embedding_nets_know_nothing_and_differ_from_step_to_step(digits: ImageData) -> None:
    nets = EmbeddingNets(task_for(digits))
    weights = set()
    for step in (0, 1, 0):
        nets.draw(step)
        weights.add(float(nets.net.head.weight.sum()))
    assert len(weights) == 2
    assert measure(nets.net, digits.train).accuracy < 0.3


def test_condensing_by_trained_embedding_nets_is_decided_by_the_seed(digits: ImageData) -> None:
    settings: dict[str, Any] = {
        "images_per_class": 2, "real_batch_size": 8, "embedding_net": NET,
        "embedding_weights": "trained:30-60", "num_embedding_nets": 2,
    }  # fmt: skip
    first, again = (condense(digits, "dm", **settings, steps=3).images.images for _ in range(2))
    by_random = condense(digits, "dm", **settings | {"embedding_weights": "random"}, steps=3).images.images
    assert torch.equal(first, again)
    assert not torch.equal(first, by_random)


def test_an_accuracy_out_of_reach_is_said(digits: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasproxy.condensing.embedding.LOOKS", 4)
    with pytest.raises(SettingsError, match="net 1 was never measured in that range, last at"):
        EmbeddingNets(task_for(digits, embedding_weights="trained:99-100"))


@pytest.mark.parametrize("text", ["trained", "trained:50", "trained:60-50", "train:10-20", "trained:0-101", "random:1"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="write 'random' or 'trained:LOW-HIGH'"):
        parse_embedding_weights(text)


def test_forms() -> None:
    assert parse_embedding_weights("random") is None
    assert parse_embedding_weights("trained:10-20") == (0.1, 0.2)


def test_images_may_stay_where_they_are(digits: ImageData) -> None:
    """The device is told apart from where the images are: the same set either way."""
    settings: dict[str, Any] = {"images_per_class": 2, "real_batch_size": 8, "embedding_net": NET, "steps": 2}
    told = condense(digits, "dm", **settings, device=torch.device("cpu"))
    assert torch.equal(told.images.images, condense(digits, "dm", **settings).images.images)
