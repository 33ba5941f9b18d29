"""The best net of a search that has kept its nets, as a model of its own."""

import shutil
from dataclasses import asdict
from datetime import UTC, datetime

from nasproxy.errors import InputError
from nasproxy.files import write_atomically
from nasproxy.model import WEIGHTS, write_about
from nasproxy.rundir import RunDir, versions
from nasproxy.searching.plan import Plan
from nasproxy.training import NetFolder
from nasproxy.trials import State, Trials


def write_model(run: RunDir, plan: Plan, trials: Trials) -> None:
    """Writes `model.safetensors` and `model.json` into a run; nothing where no architecture is better than guessing.

    Of the architecture with the best mean validation accuracy, the net with the best one: test images choose nothing.

    Raises:
        InputError: the net was not kept.
    """
    best = trials.best
    if best is None:
        return
    vals = best.selection_scores
    repeat = vals.index(max(vals))
    weights = NetFolder(run.nets_path).weights_path(best.arch_id, repeat)
    if not weights.is_file():
        raise InputError(f"the nets of {best.arch_id} were not kept: {weights} is missing; put it back, or train again")
    (arch,) = plan.space.pick([best.arch_id])
    data, info = plan.data, trials.info
    write_atomically(run.path / WEIGHTS, lambda scratch: shutil.copyfile(weights, scratch))
    write_about(
        run.path,
        {
            "arch": asdict(arch),
            "space": info.space,
            "num_params": best.num_params,
            "flops": best.flops,
            "image_shape": data.image_shape,
            "classes": data.classes,
            "normalisation": {"mean": data.train.mean, "std": data.train.std},
            "accuracies": {
                "validation": vals[repeat],
                "num_validation": len(data.val),
                "test": best.evaluation_scores[repeat],
                "num_test": len(data.test),
            },
            "data": {"dataset": info.dataset, "data_hash": info.data_hash, "split_hash": info.split_hash},
            "training": {"proxy": info.proxy, "seed": plan.config.search.seed, "net": repeat, **info.recipe},
            "chosen": {
                "run": run.name,
                "from": plan.config.search.archs,
                "num_archs": len(trials),
                "num_failed": trials.count(State.FAILED, State.LOST),
                "num_seeds": info.num_seeds,
                "by": info.selection_metric,
            },
            "device": info.device,
            "versions": versions(),
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
