"""A comparison on NAS-Bench-201 that trains nothing: counted proxies, judged by the published truth."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr

from nasproxy.nets.cells import format_id
from nasproxy.reporting.cautions import describe_cautions
from nasproxy.runs.comparing import settings_of_compare
from nasproxy.runs.loading import Task, load_trials, load_truth
from nasproxy.runs.place import Place
from nasproxy.runs.references import settings_of_search
from nasproxy.runs.reporting import load_comparison
from nasproxy.spacefile import load_space
from nasproxy.talk import Silence
from nasproxy.truths import load_published, load_published_scores
from nasproxy.truths.published import CIFAR10_CLASSES
from tests.cli.shell import Shell

SPACE = load_space("nasbench201")
ARCHS = SPACE.archs()[::150]
COMPARE = [
    "compare", "--dataset", "photos", "--proxies", "params,flops", "--space", "nasbench201", "--truth", "nasbench201",
    "--seeds", "1",
]  # fmt: skip


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with JPEGs of CIFAR-10's classes, and the comparison 'published' of architectures by benchmark ids."""
    shell = Shell(tmp_path_factory.mktemp("published"))
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 4), ("test", 2)):
        for name in CIFAR10_CLASSES:
            folder = shell.cwd / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = torch.randint(0, 256, (32, 32, 3), generator=generator, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(folder / f"{number}.jpg")
    ids = [format_id(arch.factors) for arch in ARCHS]
    (shell.cwd / "archs.txt").write_text("\n".join([*ids, ids[0], "3-nn-snn"]))  # the last is n-nn-snn, which is there
    shell.run(*COMPARE, "compare.archs=archs.txt", "--name", "published")
    return shell


def test_a_comparison_reads_benchmark_ids_and_a_published_truth(shell: Shell) -> None:
    with (shell.run_dir("published").path / "architectures.csv").open(newline="") as file:
        rows = {row["arch_id"]: row for row in csv.DictReader(file)}
    assert set(rows) == {arch.id for arch in ARCHS}
    published = load_published("nasbench201:cifar10").by_id
    for arch_id, row in rows.items():
        assert float(row["truth_test_accuracy"]) == pytest.approx(published[arch_id].evaluation_score)


@pytest.mark.usefixtures("local_ray")
def test_a_composite_is_one_proxy_whose_parts_are_searched(shell: Shell) -> None:
    """AZ-NAS over six networks: the mean of the logarithms of the ranks of four scores."""
    six = [arch.id for arch in ARCHS[::7][:6]]
    (shell.cwd / "six.txt").write_text("\n".join(six))
    asked = [*COMPARE, "compare.archs=six.txt", "--proxies", "az-nas,params,flops", "--image-size", "8", "--top", "50%"]
    planned = json.loads(shell.run(*asked, "--dry-run", "--json").stdout)
    parts = ["flops", "az_expressivity", "az_progressivity", "az_trainability"]
    assert [step["what"] for step in planned] == [f"search by {name}" for name in ("params", *parts)]
    shell.run(*asked, "--name", "composed")
    run = shell.run_dir("composed")
    comparison, kept = load_comparison(run, Place(run.path.parent, Silence()))
    assert {ranking.label for ranking in comparison.rankings} == {"az-nas", "params", "flops"}
    assert len(kept.proxies) == 2
    scores = [
        {arch_id: load_trials(shell.run_dir(name)).by_id[arch_id].selection_score for arch_id in six}
        for name in kept.composites["az-nas"]
    ]
    ranks = {arch_id: [sorted(each.values()).index(each[arch_id]) + 1 for each in scores] for arch_id in scores[0]}
    expected = {arch_id: sum(math.log(rank / 6) for rank in of_arch) / 4 for arch_id, of_arch in ranks.items()}
    (composed,) = (trials for trials in comparison.proxies if trials.info.proxy == "az-nas")
    assert {trial.arch_id: trial.selection_score for trial in composed} == pytest.approx(expected)
    refused = shell.run("rm", kept.composites["az-nas"][0], "--yes", expect=2)
    assert "composed" in refused.stderr
    assert "nasproxy compare --proxies az-nas" in shell.run("search", "--proxy", "az-nas", expect=2).stderr


def test_its_report_says_that_the_images_are_others_also_when_it_is_written_again(shell: Shell) -> None:
    run, caution = shell.run_dir("published"), "Accuracies of nasbench201 were measured on cifar10; photos is taken"
    assert caution in (run.path / "report.html").read_text()
    assert run.meta["parts"]["truth"] == "nasbench201:cifar10"
    again, _ = load_comparison(run, Place(shell.cwd / "runs", Silence()))
    assert [sentence for sentence in describe_cautions(again) if sentence.startswith(caution)]


def test_rank_and_export_take_a_published_truth_that_names_its_data(shell: Shell) -> None:
    shell.run("rank", "photos-nasbench201-params", "--truth", "nasbench201:cifar10")
    table = shell.call("export", "photos-nasbench201-params", "--truth", "nasbench201:cifar10")
    assert len([row for row in csv.DictReader(table.splitlines()) if row["truth_test_accuracy"]]) == len(ARCHS)
    done = shell.run("rank", "photos-nasbench201-params", "--truth", "nasbench201", expect=2)
    assert "has no accuracies on 'photos'" in done.stderr
    assert "write nasbench201:cifar10, " in done.stderr


def test_a_truth_from_a_file_may_have_the_ids_that_people_know(shell: Shell) -> None:
    ids = [format_id(arch.factors) for arch in ARCHS]
    equal = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"  # stood for by the first of ids
    rows = [f"{equal},0.1", *(f"{arch_id},0.{number + 2}" for number, arch_id in enumerate(ids[:3])), "elsewhere,0.5"]
    (shell.cwd / "truth.csv").write_text("\n".join(["arch_id,test_accuracy", *rows]))
    truth = load_truth(str(shell.cwd / "truth.csv"), Place(shell.cwd, Silence()), Task(space=SPACE))
    assert {trial.arch_id: trial.evaluation_score for trial in truth} == {
        **{arch.id: float(f"0.{number + 2}") for number, arch in enumerate(ARCHS[:3])},
        "elsewhere": 0.5,
    }
    table = shell.call("export", "photos-nasbench201-params", "--truth", "truth.csv")
    assert len([row for row in csv.DictReader(table.splitlines()) if row["truth_test_accuracy"]]) == 3
    strangers = "1 row(s) of truth are no architectures of nasbench201, e.g. elsewhere: left out"
    assert strangers in shell.run("rank", "photos-nasbench201-params", "--truth", "truth.csv").stderr
    assert strangers in shell.run(*COMPARE, "--truth", "truth.csv", "--dry-run").stderr


def test_the_whole_space_is_planned_without_building_or_timing_a_net(shell: Shell) -> None:
    planned = json.loads(shell.run(*COMPARE, "--name", "whole", "--dry-run", "--json").stdout)
    assert [(step["what"], step["seconds"]) for step in planned] == [("search by params", 0), ("search by flops", 0)]


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["--truth", "nasbench21"], 4, "no run 'nasbench21' in "),
        (["--truth", "nasbench21"], 4, "; did you mean 'nasbench201'"),
        (["--truth", "elsewhere"], 4, "truths that need no run: nasbench201, nasbench-macro"),
        (["--truth", "nasbench201:svhn"], 2, "unknown data set of nasbench201 'svhn'"),
        (["--dataset", "digits"], 2, "nasbench201 has no accuracies on 'digits', only on cifar10, cifar100"),
        (
            ["--space", "convnet-mini"],
            4,
            "truth nasbench201:cifar10 has no architecture that is compared here, e.g. w32",
        ),
    ],
)
def test_a_truth_that_does_not_fit_is_refused_before_anything_starts(
    arguments: list[str], code: int, problem: str, shell: Shell
) -> None:
    before = sorted((shell.cwd / "runs").iterdir())
    assert problem in shell.run(*COMPARE, *arguments, expect=code).stderr
    assert sorted((shell.cwd / "runs").iterdir()) == before


def test_published_truths_are_listed(shell: Shell) -> None:
    rows = {row["name"]: row["summary"] for row in shell.json("ls", "truths")}
    assert set(rows) == {"nasbench201", "nasbench-macro", "convnet-narrow-fashion"}
    assert "cifar10, cifar100, imagenet16-120" in rows["nasbench201"]
    assert "nasbench201" in {row["name"] for row in shell.json("ls", "spaces")}


def test_published_early_stopping_is_a_proxy(shell: Shell) -> None:
    proxies = "table:nasbench201:12-epochs,photos-nasbench201-params"
    rows = shell.json(*COMPARE, "--proxies", proxies, "compare.archs=archs.txt", "--name", "early", "--json")
    early = next(row for row in rows if row["kind"] == "table")
    published = load_published_scores("nasbench201:12-epochs:cifar10").by_id
    true = load_published("nasbench201:cifar10").by_id
    scores, accuracies = ([table[arch.id].evaluation_score for arch in ARCHS] for table in (published, true))
    expected = spearmanr(scores, accuracies)
    assert early["spearman_value"] == pytest.approx(expected.statistic)
    assert (early["label"], early["search_seconds"]) == ("nasbench201:12-epochs", None)
    report = (shell.run_dir("early").path / "report.html").read_text()
    assert "Accuracies of nasbench201:12-epochs were measured on cifar10; photos is taken" in report


def test_a_search_by_a_table_is_a_search_by_any_strategy(shell: Shell) -> None:
    search = ["search", "--dataset", "photos", "--space", "nasbench201", "--proxy", "table:nasbench201:12-epochs"]
    shell.run(*search, "--strategy", "tpe", "--num-archs", "24", "--name", "by-tpe")
    shell.run(*search, "--archs", "top:table:nasbench201:12", "--name", "best")
    table = load_published_scores("nasbench201:12-epochs:cifar10").by_id
    rows = list(csv.DictReader(shell.call("export", "by-tpe").splitlines()))
    assert len(rows) == 24
    for row in rows:
        assert float(row["val_accuracy"]) == pytest.approx(table[row["arch_id"]].selection_score)
        assert int(row["num_params"]) > 0
    shell.run(*search[:-1], "params", "--sample", "12:table:nasbench201:12-epochs", "--name", "by-strata")
    drawn = list(csv.DictReader(shell.call("export", "by-strata").splitlines()))
    assert sum(float(row["weight"]) for row in drawn) == pytest.approx(len(SPACE))
    fifth = set(load_published_scores("nasbench201:12-epochs:cifar10").top(0.2))
    assert sum(row["arch_id"] in fifth for row in drawn) == 4  # twice as many as of each other fifth
    best = {row["arch_id"] for row in csv.DictReader(shell.call("export", "best").splitlines())}
    assert best == set(load_published("nasbench201:cifar10").top(12))


def test_scores_from_a_file_enter_a_comparison_and_are_read_again_when_they_change(shell: Shell) -> None:
    """A column may be called like a signal."""
    ids = [format_id(arch.factors) for arch in ARCHS]
    rows = [f"{arch_id},{number}" for number, arch_id in enumerate(ids)]
    scores = shell.cwd / "scores.csv"
    scores.write_text("\n".join(["arch_id,accuracy", *rows, "elsewhere,5"]))
    arguments = [*COMPARE, "--proxies", "scores.csv:accuracy,params", "compare.archs=archs.txt", "--json"]
    first = shell.run(*arguments, "--name", "mine")
    assert "1 row(s) of scores:accuracy are no architectures of nasbench201, e.g. elsewhere: left out" in first.stderr
    scores.write_text("\n".join(["arch_id,accuracy", *(f"{arch_id},{-n}" for n, arch_id in enumerate(ids))]))
    second = shell.run(*arguments, "--name", "mine-2")
    rho, other = ({row["label"]: row["spearman_value"] for row in json.loads(done.stdout)} for done in (first, second))
    assert rho["accuracy"] == pytest.approx(-other["accuracy"])
    assert rho["params"] == other["params"]


@pytest.mark.parametrize(
    ("proxy", "code", "problem"),
    [
        ("table:nasbench201:13-epochs", 2, "unknown data set of nasbench201 '13-epochs'"),
        ("table:nasbench", 2, "unknown published table 'nasbench': did you mean 'nasbench201'"),
        ("none.csv:mine", 4, "cannot read the table none.csv"),
        (
            "archs.csv:mine",
            2,
            "no architecture of nasbench201 can be scored: archs.csv:mine has no row for it, e.g. one",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_refused(proxy: str, code: int, problem: str, shell: Shell) -> None:
    (shell.cwd / "archs.csv").write_text("arch_id,mine\nw32,1\n")
    done = shell.run("search", "--dataset", "photos", "--space", "nasbench201", "--proxy", proxy, expect=code)
    assert problem in done.stderr


def test_a_table_takes_no_recipe(shell: Shell) -> None:
    search = ["search", "--dataset", "photos", "--space", "nasbench201", "--proxy", "table:nasbench201:12-epochs"]
    assert "trains nothing; leave it out" in shell.run(*search, "--epochs", "3", expect=2).stderr


def test_images_and_space_are_those_of_the_published_table_where_nothing_else_is_asked_for(tmp_path: Path) -> None:
    compared = settings_of_compare({"compare": {"truth": "nasbench201:cifar100"}}, tmp_path)
    assert (compared.images.dataset, compared.compare.space) == ("cifar100", "nasbench201")
    asked = {"compare": {"truth": "nasbench201", "space": "my.toml"}, "images": {"dataset": "pets"}}
    compared = settings_of_compare(asked, tmp_path)
    assert (compared.images.dataset, compared.compare.space) == ("pets", "my.toml")
    searched = settings_of_search({"search": {"proxy": "table:nasbench201:12-epochs"}}, tmp_path)
    assert (searched.images.dataset, searched.search.space) == ("cifar10", "nasbench201")
