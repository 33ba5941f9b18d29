"""The work of `nasproxy evaluate`."""

import json

import torch

from nasproxy.config import EvaluateConfig
from nasproxy.device import describe_device, find_device
from nasproxy.errors import SettingsError
from nasproxy.evaluating import Evaluation, evaluate
from nasproxy.images import ImageData
from nasproxy.proxyset import ProxySet
from nasproxy.rundir import versions
from nasproxy.runs.place import Place
from nasproxy.runs.references import find_proxy


def run_evaluate(
    place: Place, config: EvaluateConfig, *, proxy: ProxySet | None = None, data: ImageData | None = None
) -> list[Evaluation]:
    """Test accuracy of nets trained on a proxy set; a condense run keeps the figures in its `evaluations.jsonl`.

    Args:
        place: where runs lie, and who is told about progress.
        config: all settings.
        proxy: the proxy set, where it is in memory already.
        data: the images, where they are loaded already.

    Raises:
        NasproxyError: see `find_proxy`, `load_images`, `evaluate`.
    """
    settings, listener = config.evaluate, place.listener
    device = find_device(config.machine.device)
    found = proxy or find_proxy(settings.proxy, place.root)
    if not isinstance(found, ProxySet):
        raise SettingsError(f"{settings.proxy!r} is no proxy set; name a condense run or a .safetensors file")
    is_read_here, images = data is None, (data or place.load_images(config.images)).to(device)
    record_path = found.run.path / "evaluations.jsonl" if found.run else None

    def keep(evaluation: Evaluation) -> None:
        if record_path is not None:
            with record_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_record(evaluation, config, device)) + "\n")

    def show(net: str, done: int, total: int, work: float) -> None:
        if is_read_here and done == 0:  # all is checked
            place.tell_images(images)
        listener.progress("training nets", done, total, net, work=work)

    return evaluate(
        found,
        images,
        config,
        on_progress=show,
        on_evaluation=keep,
        on_left_out=lambda reasons: listener.warn(f"{len(reasons)} net(s) left out: {'; '.join(reasons)}"),
    )


def _record(evaluation: Evaluation, config: EvaluateConfig, device: torch.device) -> dict[str, object]:
    """What is kept of an evaluation: its result, and all that it depends on."""
    return {
        "net": evaluation.net,
        "test_accuracies": evaluation.test_accuracies,
        "settings": config.model_dump(mode="json"),
        "device": describe_device(device),
        "versions": versions(),
    }
