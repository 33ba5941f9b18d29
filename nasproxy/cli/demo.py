"""`nasproxy demo`: the whole job on the built-in digits, in about two minutes on two cores."""

import sys
from typing import Annotated

import typer

from nasproxy.cli import options
from nasproxy.cli.rank import print_rankings
from nasproxy.cli.talk import Talk
from nasproxy.config import CondenseConfig, Tree, make_config, merge_layers

SPACE = "convnet-mini"
TOP = 0.5
CONDENSE = {"images_per_class": 10, "steps": 200, "real_batch_size": 64, "embedder": "w64-d2-instance-relu-avg"}
PROXY_SEARCH: Tree = {"search": {"seeds": 2, "space": SPACE}, "recipe": {"epochs": 100}}
TRUTH_SEARCH: Tree = {"search": {"seeds": 2, "space": SPACE, "proxy": "whole"}, "recipe": {"epochs": 20}}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("demo")(demo)


def demo(
    runs_dir: options.RunsDir = options.RUNS_DIR,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Condense the digits, search 24 ConvNets on the proxy set and on all images, compare the two rankings."""
    from nasproxy.jobs.condensing import run_condense
    from nasproxy.jobs.references import settings_of_search
    from nasproxy.jobs.searching import run_search
    from nasproxy.tables import rank, rankings_frame, trials_frame, write_table

    machine = {"machine": {"device": device}}
    with Talk() as talk:
        talk.say("1/4 condense: 10 synthetic images a class stand in for 129 real ones")
        condensed, _ = run_condense(
            make_config(CondenseConfig, {"condense": CONDENSE}, machine),
            root=runs_dir, name=None, resume=None, listener=talk,
        )  # fmt: skip
        talk.say(f"2/4 search: 24 architectures on {condensed.name}")
        by_proxy = merge_layers(PROXY_SEARCH, {"search": {"proxy": condensed.name}}, machine)
        searched, trials = run_search(
            settings_of_search(by_proxy, runs_dir),
            root=runs_dir, name=None, resume=None, retry_failed=False, listener=talk,
        )  # fmt: skip
        talk.say("3/4 the truth: the same architectures on all training images")
        true_run, truth = run_search(
            settings_of_search(merge_layers(TRUTH_SEARCH, machine), runs_dir),
            root=runs_dir, name=None, resume=None, retry_failed=False, listener=talk,
        )  # fmt: skip
    print("4/4 rank: the proxy's ranking beside the truth's", file=sys.stderr)
    ranking = rank(trials, truth, top=TOP)
    write_table(rankings_frame([ranking]), searched.path / "ranking.csv")
    table = searched.path / "ranked_architectures.csv"
    write_table(trials_frame(trials, truth), table)
    print_rankings([ranking])
    print(
        f"""
look at next:
  {condensed.picture_path}    the synthetic images
  {table}    every architecture, ranked, with its truth
  nasproxy dashboard {searched.name}    accuracies in the browser
  nasproxy rank {searched.name} --truth {true_run.name} --top 25%
  nasproxy condense --dataset cifar10 --ipc 50    the real thing"""
    )
