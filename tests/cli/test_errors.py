"""What the command line says to bad input: one line, the right exit code, nothing half-written."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from nasproxy.cli.app import app
from tests.conftest import make_image_folder

TABLES = ["--space", "nasbench201", "--scores", "table:nasbench201:12-epochs", "--truth", "nasbench201"]
SMALL = ["images_per_class=2", "real_batch_size=4", "embedding_net=w8-d1-instance-relu-avg", "steps=2"]


def run(*arguments: str) -> Result:
    """The program in this process."""
    return CliRunner().invoke(app, list(arguments))


def assert_one_line(result: Result, exit_code: int, message: str) -> None:
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    assert message in result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NASPROXY_RUNS", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["condense", "--dataset", "digit"], 2, "did you mean 'digits'"),
        (["condense", "--dataset", "./nowhere"], 4, "no folder ./nowhere"),
        (["condense", "--method", "dmm"], 2, "did you mean 'dm'"),
        (["condense", "--encoding", "lowrank"], 2, "did you mean 'low-rank'"),
        (["condense", "--encoding", "low-rank", "rank=9"], 2, "use a rank of 8 or less"),
        (["condense", "--embedding-net", "resnet17"], 2, "did you mean 'resnet18'"),
        (["condense", "--embedding-weights", "trained:70"], 2, "write 'random' or 'trained:LOW-HIGH'"),
        (["condense", "--ipc", "1000"], 2, "--ipc 1000 is more than class"),
        (["condense", "--ipc", "0"], 2, "condense.images_per_class=0"),
        (["condense", "image_lrr=3"], 2, "did you mean 'image_lr'"),
        (["condense", "lr=3"], 2, "unknown setting 'lr': did you mean 'net_lr' or 'image_lr'? choose from address, "),
        (["condense", "nothing=3"], 2, "augmentation, channels, checkpoint_every, classes_per_step, ... ("),
        (["condense", "oops"], 2, "settings are given as key=value"),
        (["compare", "--proxies", "whole"], 2, "'whole' is the truth that proxies are compared with"),
        (["compare", "--proxies", "dmm"], 4, "no run 'dmm'"),
        (["compare", "--proxies", "params", "--truth-for", "best:3"], 2, "write all, top:5% or sample:36"),
        (["compare", "--proxies", "params", "--sample", "5:depht"], 4, "no run 'depht'"),
        (["search", "--proxy", "params", "--sample", "0"], 2, "search.sample: '0' is no sample; write a whole number"),
        (
            ["search", "--proxy", "params", "--sample", "x"],
            2,
            "'x' is no sample; write a whole number above 0 like 100",
        ),
        (["search", "--proxy", "params", "--sample", "9:"], 2, "100:params, 100:flops or 100:RUN"),
        (
            ["search", "--proxy", "params", "--sample", "9:parms"],
            4,
            "did you mean 'params'? sample by params, flops, or",
        ),
        (["compare", "--proxies", "params,flops", "--combine", "mean"], 2, "unknown way to combine proxies 'mean'"),
        (["compare", "--proxies", "params,params"], 2, "proxy 'params' is there twice; name each once"),
        (["compare", "--proxies", "params", "--combine", "average"], 2, "'params' alone is no combination"),
        (["compare", "--proxies", "params", "--truth", "t.csv", "--truth-for", "top:5%"], 2, "leave one of them out"),
        (
            ["compare", "--proxies", "params,flops", "--combine", "fitted", "--truth-for", "sample:7"],
            2,
            "a fitted combination needs 20 or more",
        ),
        (["compare", "--preset", "table-5"], 2, "unknown preset 'table-5': did you mean 'table5'?"),
        (["compare", "--proxies", "params", "per_method={dm={steps=5}}"], 2, "per_method names dm, which"),
        (["compare", "--proxies", "dm", "per_method={dm={stepz=5}}"], 2, "did you mean 'steps'?"),
        (["compare", "--proxies", "params", "condense.method=dsa"], 2, "a comparison has methods in compare.proxies"),
        (["compare", "--proxies", "params", "--truth", "none.csv"], 4, "cannot read the table none.csv"),
        (["combine", "one"], 2, "combine.runs"),
        (["combine", "one", "other"], 4, "no run 'one'"),
        (["report", "one", "--truth", "other"], 4, "no run 'one'"),
        (["condense", "--device", "cuda:99"], 2, "device 'cuda:99' is not there: this machine has"),
        (["condense", "--device", "tpu"], 2, "choose from auto, cpu, cuda"),
        (["condense", "--resume", "nothing"], 4, "no run 'nothing'"),
        (["condense", "--config", "nothing.toml"], 4, "cannot read nothing.toml"),
        (["condense", "--name", "../up"], 2, "no plain folder name"),
        (["replay", *TABLES, "--strategy", "rnadom"], 2, "did you mean 'random'"),
        (["replay", *TABLES, "--strategy", "halving"], 2, "'halving' goes by several tables, of rising cost, not by 1"),
        (["replay", *TABLES, "--costs", "12,200"], 2, "2 costs for 1 tables of scores; give one cost for each"),
        (["replay", *TABLES, "--num-archs", "0"], 2, "replay.num_archs=0"),
        (["replay", *TABLES, "--dataset", "digits"], 2, "nasbench201:12-epochs has no accuracies on 'digits'"),
        (["replay", *TABLES, "--space", "convnet-mini"], 4, "have no architecture of space convnet-mini in common"),
        (["replay", "--scores", "one", "--truth", "nasbench201"], 4, "no run 'one'"),
        (["replay", "--scores", "table:nasbench20", "--truth", "nasbench201"], 2, "did you mean 'nasbench201'"),
        (["replay", "--truth", "nasbench201"], 2, "replay.scores: Field required"),
        (["search"], 2, "no proxy: give --proxy"),
        (
            ["search", "--proxy", "dm"],
            4,
            "'dm' is a method, and no run has that name: make its set first, with 'nasproxy ",
        ),
        (["export", "any", "--json", "-o", "x.csv"], 2, "--json: the name says what is written to 'x.csv'"),
        (["search", "--proxy", "hole"], 4, "proxies that need no run: whole, early-stop"),
        (["search", "--proxy", "naswot", "--epochs", "3"], 2, "recipe.epochs=3: proxy 'naswot' trains nothing"),
        (["search", "--proxy", "whole", "--space", "convnet72"], 2, "did you mean 'convnet720'"),
        (["search", "--proxy", "whole", "--val-fraction", "0"], 2, "no validation images"),
        (["search", "--proxy", "whole", "--strategy", "rnadom"], 2, "did you mean 'random'"),
        (["search", "--proxy", "whole", "--archs", "top:x"], 2, "write top:RUN:5%"),
        (["search", "--proxy", "whole", "--archs", "ids.txt"], 4, "no such file of architecture ids"),
        (["search", "--proxy", "whole", "--space", "size.toml"], 2, "declares size = 3 but its factors span 2"),
        (["search", "--proxy", "whole", "--space", "twice.toml"], 2, "has the value 'a' twice"),
        (["search", "--proxy", "whole", "--storage", "sqlite:////nowhere/s.db"], 4, "cannot open storage"),
        (["search", "--proxy", "whole", "--archs", "top:x:0"], 4, "no run 'x'"),
        (["search", "--proxy", "whole", "--address", "127.0.0.1:1"], 2, "no Ray cluster at '127.0.0.1:1'"),
        (["rank", "x"], 2, "give --truth"),
        (["rank", "x", "--truth", "y"], 4, "no run 'x'"),
        (["rank", "x", "--truth", "y", "--top", "0%"], 2, "is no share"),
        (["export", "@last"], 4, "@last: no search or combine"),
        (["evaluate", "x.safetensors"], 4, "x.safetensors"),
        (["search", "--proxy", "bad.safetensors"], 4, "bad.safetensors is no image set of nasproxy"),
        (["condense", "--dataset", "pets"], 4, "only the class 'cat'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_line_and_leaves_nothing(
    folder: Path, arguments: list[str], exit_code: int, message: str
) -> None:
    (folder / "size.toml").write_text('size = 3\nbuilder = "m:f"\n[factors]\nkind = ["a", "b"]\n')
    (folder / "twice.toml").write_text('size = 2\nbuilder = "m:f"\n[factors]\nkind = ["a", "a"]\n')
    (folder / "bad.safetensors").write_bytes(b"\x00" * 100)
    (folder / "pets" / "train" / "cat").mkdir(parents=True)
    assert_one_line(run(*arguments), exit_code, message)
    assert list((folder / "runs").glob("*")) == []


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["condense", *SMALL, "--name", "few"], 2, "exists already"),
        (["condense", "--resume", "few"], 2, "is finished; nothing is left to resume"),
        (["condense", "--resume", "few", "--seed", "4"], 2, "condense.seed: 0 -> 4"),
        (["search", "--resume", "few"], 2, "was made by 'nasproxy condense'"),
        (["search", "--proxy", "few", "--dataset", "pets"], 4, "condense pets itself"),
        (["search", "--proxy", "few", "split_seed=9"], 4, "may have seen these validation or test images"),
        (["export", "few"], 2, "was made by 'nasproxy condense'"),
        (["evaluate", "few", "--recipe", "icd"], 2, "did you mean 'idc'"),
        (["evaluate", "few", "--nets", "mlp,resnt18"], 2, "did you mean 'resnet18'"),
        (["evaluate", "few", "--nets", "vgg11"], 2, "no net fits these images: vgg11-instance: layer 13 of 13"),
        (["evaluate", "few", "--nets", ","], 2, "evaluate.nets=[]"),
        (["search", "--config", "runs/few/config.toml"], 2, "holds settings of 'nasproxy condense'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_runs_are_not_overwritten_mixed_up_or_changed(
    folder: Path, arguments: list[str], exit_code: int, message: str
) -> None:
    make_image_folder(folder / "pets")
    assert run("condense", *SMALL, "--name", "few").exit_code == 0
    assert_one_line(run(*arguments), exit_code, message)
    assert [path.name for path in (folder / "runs").iterdir()] == ["few"]
