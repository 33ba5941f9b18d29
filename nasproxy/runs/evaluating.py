"""The work of `nasproxy evaluate`."""

import json
from pathlib import Path

import torch

from nasproxy.config import EvaluateConfig
from nasproxy.device import describe_device, find_device
from nasproxy.errors import SettingsError
from nasproxy.evaluating import Evaluation, evaluate
from nasproxy.images import load_images
from nasproxy.proxyset import ProxySet
from nasproxy.rundir import find_run, versions
from nasproxy.runs.listener import Listener
from nasproxy.runs.references import find_proxy


def run_evaluate(config: EvaluateConfig, *, root: Path, listener: Listener) -> list[Evaluation]:
    """Test accuracy of nets trained on a proxy set; a condense run keeps the figures in its `evaluations.jsonl`.

    Raises:
        NasproxyError: see `find_proxy`, `load_images`, `evaluate`.
    """
    settings = config.evaluate
    device = find_device(config.machine.device)
    proxy = find_proxy(settings.proxy, root)
    if not isinstance(proxy, ProxySet):
        raise SettingsError(f"{settings.proxy!r} is no proxy set; name a condense run or a .safetensors file")
    data = load_images(settings=config.images, progress=listener.progress).to(device)
    is_run = Path(settings.proxy).suffix != ".safetensors"
    record_path = find_run(settings.proxy, root).path / "evaluations.jsonl" if is_run else None

    def keep(evaluation: Evaluation) -> None:
        if record_path is not None:
            with record_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_record(evaluation, config, device)) + "\n")

    return evaluate(
        proxy,
        data,
        config,
        on_progress=lambda net, done, total, work: listener.progress("training nets", done, total, net, work=work),
        on_evaluation=keep,
        on_left_out=lambda reasons: listener.say(f"{len(reasons)} net(s) left out: {'; '.join(reasons)}"),
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
