"""The architectures that a search or a comparison is asked for: named, or drawn; decided once, then kept in its run."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nasproxy.config import parse_sample
from nasproxy.files import read_lines, write_text
from nasproxy.rundir import RunDir
from nasproxy.searching.sample import Sample
from nasproxy.trials import Trials


@dataclass(frozen=True)
class Asked:
    """Some architectures of a space, or all."""

    arch_ids: tuple[str, ...] | None = None
    """Our ids; None: the whole space."""
    sample: Sample | None = None
    """The draw that they come from; None: none."""

    @classmethod
    def kept_in(cls, run: RunDir) -> "Asked | None":
        """What a run was asked for, where it has written that down: the run that it came from may have gone on."""
        if not run.archs_path.is_file():
            return None
        sample = None
        if run.sample_path.is_file():
            asked = run.read_config()[run.command].get("sample")  # none where it was drawn for a budget
            sample = Sample(read_numbers(run.sample_path, "weight"), parse_sample(asked)[1] if asked else None)
        return cls(tuple(read_lines(run.archs_path)), sample)

    def narrowed_to(self, arch_ids: Sequence[str]) -> "Asked":
        """The same of fewer architectures; those of a sample then stand for the others as well."""
        sample = self.sample
        if sample is not None and arch_ids:
            share = sum(sample.weights.values()) / sum(sample.weights[arch_id] for arch_id in arch_ids)
            sample = Sample({arch_id: share * sample.weights[arch_id] for arch_id in arch_ids}, sample.by)
        return Asked(tuple(arch_ids), sample)

    def keep_in(self, run: RunDir) -> None:
        """Writes it down."""
        if self.sample is not None:
            write_numbers(run.sample_path, "weight", self.sample.weights)
        if self.arch_ids is not None:
            write_text(run.archs_path, "".join(f"{arch_id}\n" for arch_id in self.arch_ids))

    def part_of(self, trials: Trials) -> Trials:
        """Trials of these architectures, with the weights that they have here; still of their run: the comparison
        knows which they are."""
        if self.arch_ids is None:
            return trials
        part = trials.of(self.arch_ids)
        weighted = part.weighted(self.sample.weights, self.sample.info) if self.sample else part.weighted({}, None)
        return replace(weighted, run=trials.run)


def write_numbers(path: Path, name: str, numbers: Mapping[str, float]) -> None:
    """A number of each architecture: its weight, its latency."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("arch_id", name), *numbers.items()])
    write_text(path, text.getvalue())


def read_numbers(path: Path, name: str) -> dict[str, float]:
    """What `write_numbers` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["arch_id"]: float(row[name]) for row in csv.DictReader(file)}
