"""True accuracies from the tables of published benchmarks, and of our own example, as trials.

A reference is the name of a table, `nasbench201`, whose accuracies are those of the data set at hand, or says which:
`nasbench201:cifar10`. Sources, licences and how the tables were made: `README.md` beside this file.
"""

import csv
import gzip
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files

from nasproxy.errors import SettingsError, unknown_name
from nasproxy.trials import ProxyKind, Rung, SearchInfo, State, Trial, Trials

PUBLISHED_DIGITS = 6
CIFAR10_CLASSES = frozenset(("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"))
"""Names of the classes of CIFAR-10: a data set that has just these counts as it."""


@dataclass(frozen=True)
class Columns:
    """Where a table has the accuracies on one data set: means over seeds, and seed by seed where that is published."""

    test: str
    val: str | None = None
    """None: there are no validation accuracies."""
    test_seeds: tuple[str, ...] = ()
    val_seeds: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishedTable:
    """Accuracies of the architectures of one shipped space."""

    space: str
    columns: Mapping[str, Columns]
    """By data set."""
    summary: str


def _nasbench201(suffix: str, seeds: Mapping[str, Columns]) -> dict[str, Columns]:
    prefixes = {"cifar10": "c10", "cifar100": "c100", "imagenet16-120": "im16"}
    means = {
        dataset: Columns(f"{prefix}_test{suffix}", f"{prefix}_val{suffix}") for dataset, prefix in prefixes.items()
    }
    return means | dict(seeds)


TRUTHS: Mapping[str, PublishedTable] = {
    "nasbench201": PublishedTable(
        "nasbench201",
        _nasbench201(
            "",
            {
                "cifar10": Columns(
                    "c10_test",
                    "c10_val",
                    ("c10_test_a", "c10_test_b", "c10_test_c"),
                    ("c10_val_s777", "c10_val_s888", "c10_val_s999"),
                )
            },
        ),
        "NAS-Bench-201, 200 epochs, 2 or 3 seeds: cifar10, cifar100, imagenet16-120",
    ),
    "nasbench-macro": PublishedTable(
        "nasbench-macro",
        {"cifar10": Columns("c10_test", None, ("c10_test_a", "c10_test_b", "c10_test_c"))},
        "NAS-Bench-Macro, 50 epochs of which the best on the test images, 3 seeds: cifar10",
    ),
    "convnet-narrow-fashion": PublishedTable(
        "convnet-narrow",
        {"fashion-mnist": Columns("fashion_test", "fashion_val")},
        "our example runs/published/two-cores, 5 epochs, 1 seed: fashion-mnist",
    ),
}
"""Full training, by name."""
EARLY_STOPS: Mapping[str, PublishedTable] = {
    "nasbench201:12-epochs": PublishedTable(
        "nasbench201",
        _nasbench201("_12ep", {}),
        "NAS-Bench-201, a schedule of 12 epochs, 1 seed: cifar10, cifar100, imagenet16-120",
    ),
}
"""Early stopping, by name: what a proxy could have."""
_TABLES = {**EARLY_STOPS, **TRUTHS}
"""Longer names first: some begin with another one."""


def names_truth(reference: str) -> bool:
    """Whether a reference means one of `TRUTHS`, perhaps with a data set."""
    return reference.partition(":")[0] in TRUTHS


def task_of(reference: str) -> tuple[str, str] | None:
    """Space and data set of a reference to `TRUTHS` or `EARLY_STOPS`, the table's first data set where it names none.

    None: it is no such reference.
    """
    name = _find_table(_TABLES, reference)
    if name is None:
        return None
    return _TABLES[name].space, reference.removeprefix(name).removeprefix(":") or next(iter(_TABLES[name].columns))


def load_published(reference: str, dataset: str = "", classes: Collection[str] = ()) -> Trials:
    """A published truth, as a truth that was read from a CSV file would be.

    A seed that is not published while its mean and the others are is worked out from them.

    Args:
        reference: a key of `TRUTHS`, or one with a data set: `nasbench201:cifar10`.
        dataset: name of the data set at hand, which decides where the reference does not say.
        classes: names of its classes, where they are known: CIFAR-10's ten mean CIFAR-10.

    Raises:
        SettingsError: no such truth or data set (the nearest is named), or a truth of other data.
    """
    return _load(TRUTHS, "truth", reference, dataset, classes)


def load_published_scores(reference: str, dataset: str = "", classes: Collection[str] = ()) -> Trials:
    """Published accuracies as a proxy: after a few epochs (`nasbench201:12-epochs`), or those of a truth.

    Otherwise as `load_published`.

    Raises:
        SettingsError: as for `load_published`.
    """
    return _load(_TABLES, "published table", reference, dataset, classes)


def _load(
    tables: Mapping[str, PublishedTable], kind: str, reference: str, dataset: str, classes: Collection[str]
) -> Trials:
    name = _find_table(tables, reference)
    if name is None:
        raise unknown_name(kind, reference, tables)
    table, asked = tables[name], reference.removeprefix(name).removeprefix(":")
    if asked and asked not in table.columns:
        raise unknown_name(f"data set of {name}", asked, table.columns)
    column = asked or _find_column(name, table, dataset, classes)
    recipe = {"published": table.summary}
    if dataset and column != dataset:
        recipe["caution"] = describe_substitute(name, column, dataset)
    columns = table.columns[column]
    trials = tuple(_trial(row, columns) for row in read_rows(name.partition(":")[0]))
    info = SearchInfo(
        name=f"{name}:{column}",
        proxy=name,
        kind=ProxyKind.TABLE,
        num_seeds=max(trial.num_seeds for trial in trials),
        has_validation=columns.val is not None,
        recipe=recipe,
    )
    return Trials(info, trials)


def _find_table(tables: Mapping[str, PublishedTable], reference: str) -> str | None:
    """Name of the table that a reference means: of several the first."""
    return next((name for name in tables if reference == name or reference.startswith(f"{name}:")), None)


def describe_substitute(name: str, column: str, dataset: str) -> str:
    """The caution where the data set of a table is not quite the one at hand."""
    return (
        f"Accuracies of {name} were measured on {column}; {dataset} is taken for it, though its images may differ "
        "(compression, number, split), and architectures may rank otherwise on them."
    )


def _find_column(name: str, table: PublishedTable, dataset: str, classes: Collection[str]) -> str:
    """The data set of the table that the one at hand is: by its name, or by the classes of CIFAR-10.

    Raises:
        SettingsError: it is none of them.
    """
    plain = {re.sub(r"[^a-z0-9]", "", column): column for column in table.columns}
    found = plain.get(re.sub(r"[^a-z0-9]", "", dataset.lower()))
    if found is None and frozenset(classes) == CIFAR10_CLASSES:
        found = "cifar10"
    if found is None:
        choices = ", ".join(f"{name}:{column}" for column in table.columns)
        raise SettingsError(
            f"{name} has no accuracies on {dataset or 'unknown data'!r}, only on {', '.join(table.columns)}; "
            f"if it is one of these under another name, write {choices}"
        )
    return found


def _trial(row: Mapping[str, str], columns: Columns) -> Trial:
    test = _scores(row, columns.test, columns.test_seeds)
    val = _scores(row, columns.val, columns.val_seeds) if columns.val else test
    return Trial(row["arch_id"], {}, State.COMPLETE, (Rung(val, test),), train_seconds=None)


def _scores(row: Mapping[str, str], mean: str, seeds: Iterable[str]) -> tuple[float, ...]:
    """Seed by seed where at most one is not published: that one is what the mean lacks. Else the mean."""
    known = tuple(float(row[name]) for name in seeds if row[name])
    missing = int(row["n_seeds"]) - len(known)
    if missing == 1 and known:
        return (*known, round(int(row["n_seeds"]) * float(row[mean]) - sum(known), PUBLISHED_DIGITS))
    return known if missing == 0 else (float(row[mean]),)


def read_rows(name: str) -> list[dict[str, str]]:
    """The rows of a table as published, one per architecture of its space; see `README.md`."""
    packed = files("nasproxy.truths").joinpath(f"{name}.csv.gz").read_bytes()
    return list(csv.DictReader(gzip.decompress(packed).decode().splitlines()))
