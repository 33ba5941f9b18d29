"""What a run keeps of its trials beside their study, for people and for lists of runs."""

from nasproxy.files import write_text
from nasproxy.rundir import RunDir
from nasproxy.tables import csv_text, trials_frame
from nasproxy.trials import Trials


def write_trials(run: RunDir, trials: Trials) -> None:
    """Writes `trials.csv`, and the best architecture to `meta.json`, where lists of runs find it."""
    write_text(run.path / "trials.csv", csv_text(trials_frame(trials)))
    best = trials.best
    run.update_meta(best=best and {"arch_id": best.arch_id, "score": best.selection_score})
