"""Published truths: the facts that everybody knows of them, which column is meant, and that the package has them."""

import statistics
from importlib.resources import files
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from nasproxy.comparing import compare_trials
from nasproxy.errors import SettingsError
from nasproxy.spacefile import load_space
from nasproxy.tables import trials_frame
from nasproxy.trials import ProxyKind, Rung, SearchInfo, State, Trial, Trials
from nasproxy.truths import EARLY_STOPS, TRUTHS, load_published, load_published_scores, names_truth, task_of
from nasproxy.truths.published import CIFAR10_CLASSES, read_rows


@pytest.fixture(scope="module")
def cifar10() -> Trials:
    return load_published("nasbench201", "cifar10")


@pytest.mark.parametrize(
    ("reference", "best", "num_archs"),
    [
        ("nasbench201:cifar10", 0.94373, 6_461),
        ("nasbench201:cifar100", 0.73513, 6_461),
        ("nasbench201:imagenet16-120", 0.47311, 6_461),
        ("nasbench-macro:cifar10", 0.93127, 3_969),
    ],
)
def test_the_best_test_accuracy_is_the_published_one(reference: str, best: float, num_archs: int) -> None:
    truth = load_published(reference)
    assert max(trial.evaluation_score for trial in truth) == pytest.approx(best, abs=5e-6)
    assert {trial.arch_id for trial in truth} == {arch.id for arch in load_space(reference.partition(":")[0]).archs()}
    assert len(truth) == num_archs
    assert truth.info.is_truth


def test_parameters_and_early_stopping_rank_as_published() -> None:
    """One per network: .786 and .756 on CIFAR-10, .744 and .814 on CIFAR-100, .679 and .811 on ImageNet16-120."""
    rows = read_rows("nasbench201")
    num_params = [int(row["params"]) for row in rows]
    for dataset, by_params, by_12_epochs in (
        ("cifar10", 0.786, 0.756),
        ("cifar100", 0.744, 0.814),
        ("imagenet16-120", 0.679, 0.811),
    ):
        true = [trial.evaluation_score for trial in load_published(f"nasbench201:{dataset}")]
        early = load_published_scores(f"nasbench201:12-epochs:{dataset}")
        assert spearmanr(num_params, true).statistic == pytest.approx(by_params, abs=0.003)
        scores = [trial.selection_score for trial in early]
        assert spearmanr(scores, true).statistic == pytest.approx(by_12_epochs, abs=0.003)


def test_accuracies_are_seed_by_seed_one_that_is_not_published_from_the_mean(cifar10: Trials) -> None:
    rows = {row["arch_id"]: row for row in read_rows("nasbench201")}
    for trial in cifar10:
        row = rows[trial.arch_id]
        published = [row[f"c10_test_{seed}"] for seed in "abc"]
        known = tuple(float(text) for text in published if text)
        assert trial.evaluation_scores[: len(known)] == known
        assert int(row["n_seeds"]) - len(known) <= 1  # and the mean tells that one
        assert statistics.fmean(trial.evaluation_scores) == pytest.approx(float(row["c10_test"]), abs=1e-6)
        assert 0 < min(trial.evaluation_scores) <= max(trial.evaluation_scores) < 1
        assert trial.selection_score == pytest.approx(float(row["c10_val"]), abs=1e-6)
    assert {trial.num_seeds for trial in cifar10} == {2, 3}


def test_a_truth_without_validation_accuracies_says_so() -> None:
    truth = load_published("nasbench-macro:cifar10")
    assert not truth.info.has_validation
    assert truth.info.num_seeds == 3
    assert all(trial.selection_scores == trial.evaluation_scores for trial in truth)


@pytest.mark.parametrize(
    ("dataset", "classes", "column", "is_caution"),
    [
        ("cifar10", (), "cifar10", False),
        ("cifar100", (), "cifar100", False),
        ("ImageNet16-120", (), "imagenet16-120", True),
        ("cifar10-jpeg", sorted(CIFAR10_CLASSES), "cifar10", True),
        ("my-images", sorted(CIFAR10_CLASSES, reverse=True), "cifar10", True),
    ],
)
def test_the_data_set_decides_the_column(dataset: str, classes: list[str], column: str, is_caution: bool) -> None:
    truth = load_published("nasbench201", dataset, classes)
    assert truth.info.name == f"nasbench201:{column}"
    caution = truth.info.recipe.get("caution")
    assert (caution is not None) is is_caution
    if caution is not None:
        assert caution.startswith(f"Accuracies of nasbench201 were measured on {column}; {dataset} is taken for it")


def test_a_reference_that_names_its_data_set_needs_no_other() -> None:
    assert load_published("nasbench201:cifar100").info.name == "nasbench201:cifar100"
    assert "caution" in load_published("nasbench201:cifar100", "flowers").info.recipe


@pytest.mark.parametrize(
    ("reference", "dataset", "problem"),
    [
        ("nasbench21", "cifar10", "unknown truth 'nasbench21': did you mean 'nasbench201'"),
        ("nasbench201:cifar", "", "unknown data set of nasbench201 'cifar': did you mean 'cifar10'"),
        ("nasbench201", "pets", "no accuracies on 'pets', only on cifar10, .* write nasbench201:cifar10, "),
        ("nasbench-macro", "cifar100", "no accuracies on 'cifar100', only on cifar10"),
        ("nasbench201", "", "no accuracies on 'unknown data'"),
    ],
)
def test_a_truth_that_is_not_there_is_refused(reference: str, dataset: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        load_published(reference, dataset)


def test_names_of_truths_are_told_from_files_and_runs() -> None:
    assert names_truth("nasbench201")
    assert names_truth("nasbench201:cifar10")
    assert not names_truth("nasbench201.csv")
    assert not names_truth("digits-convnet720-whole")


def test_a_published_truth_judges_a_proxy(cifar10: Trials) -> None:
    """As a table that was read from a file does: it takes the factors that the proxy knows."""
    archs = load_space("nasbench201").archs()[::200]
    info = SearchInfo("p", "params", ProxyKind.FORMULA, space="nasbench201", space_hash="s", score_name="params")
    trials = [
        Trial(arch.id, arch.factors, State.COMPLETE, (Rung((score := float(len(arch.id) + n),), (score,)),))
        for n, arch in enumerate(archs)
    ]
    comparison = compare_trials([Trials(info, tuple(trials))], cifar10)
    assert comparison.rankings[0].num_archs == len(archs)
    frame = trials_frame(Trials(info, tuple(trials)), cifar10)
    assert frame["truth_test_accuracy"].notna().all()


@pytest.mark.parametrize("name", [*TRUTHS, *EARLY_STOPS])
def test_the_package_ships_the_tables_their_source_and_licence(name: str) -> None:
    folder = files("nasproxy.truths")
    assert folder.joinpath(f"{name.partition(':')[0]}.csv.gz").is_file()
    assert "Permission is hereby granted" in folder.joinpath("LICENSE-NAS-Bench-201").read_text()
    assert "Apache License" in folder.joinpath("LICENSE-NAS-Bench-Macro").read_text()
    assert "issues/36" in folder.joinpath("README.md").read_text()


def test_the_tables_are_small() -> None:
    folder = Path(str(files("nasproxy.truths")))
    assert sum(path.stat().st_size for path in folder.glob("*.csv.gz")) < 1_000_000


@pytest.mark.parametrize(
    ("reference", "task"),
    [
        ("nasbench201", ("nasbench201", "cifar10")),
        ("nasbench201:cifar100", ("nasbench201", "cifar100")),
        ("nasbench201:12-epochs", ("nasbench201", "cifar10")),
        ("nasbench201:12-epochs:imagenet16-120", ("nasbench201", "imagenet16-120")),
        ("nasbench-macro", ("nasbench-macro", "cifar10")),
        ("convnet-narrow-fashion", ("convnet-narrow", "fashion-mnist")),
        ("pets-convnet720-whole", None),
    ],
)
def test_a_published_table_is_about_a_space_and_a_data_set(reference: str, task: tuple[str, str] | None) -> None:
    assert task_of(reference) == task
