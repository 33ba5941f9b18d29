"""The work of `nasproxy evaluate`."""

import json
from pathlib import Path

from nasproxy.config import EvaluateConfig
from nasproxy.device import describe_device, find_device
from nasproxy.errors import SettingsError
from nasproxy.evaluating import Evaluation, evaluate
from nasproxy.images import load_images
from nasproxy.jobs.listener import Listener
from nasproxy.jobs.references import find_proxy
from nasproxy.proxyset import ProxySet
from nasproxy.rundir import find_run, versions


def run_evaluate(config: EvaluateConfig, *, root: Path, listener: Listener) -> Evaluation:
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
    listener.progress("training nets", 0, settings.num_nets)
    result = evaluate(proxy, data, config, lambda done: listener.progress("training nets", done, settings.num_nets))
    if Path(settings.proxy).suffix != ".safetensors":
        record = {
            "net": result.net,
            "test_accuracies": result.test_accuracies,
            "settings": config.model_dump(mode="json"),
            "device": describe_device(device),
            "versions": versions(),
        }
        with (find_run(settings.proxy, root).path / "evaluations.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    return result
