"""Options that several commands share, and how they become settings."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from nasproxy.config import (
    CommandConfig,
    Tree,
    changed_settings,
    merge_layers,
    parse_overrides,
    read_config,
    read_sections,
)
from nasproxy.errors import SettingsError
from nasproxy.rundir import RunDir

ConfigT = TypeVar("ConfigT", bound=CommandConfig)

Dataset = Annotated[
    str | None,
    typer.Option(
        help="digits, mnist, fashion-mnist, svhn, cifar10, cifar100, tinyimagenet, or a folder with train/CLASS/*."
    ),
]
DataDir = Annotated[Path | None, typer.Option(help="Downloaded data sets and decoded folders. [~/.cache/nasproxy]")]
ImageSize = Annotated[int | None, typer.Option(help="Resize images of a folder to this side, in pixels.")]
ValFraction = Annotated[float | None, typer.Option(help="Fraction of train held out for validation. [0.1]")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N. [auto]")]
Seed = Annotated[int | None, typer.Option(help="Seed of every random draw. [0]")]
Config = Annotated[Path | None, typer.Option("--config", help="Settings from a TOML file, e.g. a run's config.toml.")]
Name = Annotated[str | None, typer.Option(help="Name of the run folder. [after data and method]")]
RunsDir = Annotated[Path, typer.Option(envvar="NASPROXY_RUNS", help="Folder of all runs.")]
Resume = Annotated[str | None, typer.Option(metavar="RUN", help="Go on with a run that was cut short.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Truth = Annotated[
    str | None, typer.Option(metavar="RUN|CSV", help="The search with --proxy whole, or a CSV of true accuracies.")
]
Space = Annotated[str | None, typer.Option(help="Name or .toml file of the search space. [convnet720]")]
Seeds = Annotated[int | None, typer.Option(help="Nets trained or scored for each architecture. [5]")]
Workers = Annotated[int | None, typer.Option(help="Processes side by side. [one a core or GPU share]")]
GpusPerWorker = Annotated[float | None, typer.Option(help="GPU share of a worker. [1]")]
Address = Annotated[str | None, typer.Option(help="A running Ray cluster.")]
Storage = Annotated[str | None, typer.Option(help="Optuna storage URL. [study.db in each run folder]")]
Top = Annotated[str, typer.Option(help="Share of the architectures that the proxy selects.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Any other setting; 'nasproxy show RUN' lists them."),
]
RUNS_DIR = Path("runs")


def image_flags(
    dataset: str | None, data_dir: Path | None, image_size: int | None, val_fraction: float | None
) -> dict[str, Any]:
    """The [images] section of the flags above; a folder or a data folder is kept as an absolute path."""
    if dataset is not None and Path(dataset).expanduser().is_dir():
        dataset = str(Path(dataset).expanduser().resolve())
    return {
        "dataset": dataset,
        "data_dir": data_dir and data_dir.expanduser().resolve(),
        "image_size": image_size,
        "val_fraction": val_fraction,
    }


def absolute_if_file(text: str | None) -> str | None:
    """A path of an existing file made absolute, so that a run can be resumed from anywhere."""
    return str(Path(text).expanduser().resolve()) if text and Path(text).expanduser().is_file() else text


def given_settings(kind: type[CommandConfig], *, file: Path | None, flags: Tree, overrides: list[str] | None) -> Tree:
    """What was asked for, in one tree: the file, then flags, then key=value.

    Raises:
        SettingsError: an unknown key=value, or a file of another command.
        InputError: the file cannot be read.
    """
    sections = read_sections(kind, file) if file else {}
    return merge_layers(sections, flags, parse_overrides(kind, overrides or ()))


def resumed_settings(kind: type[ConfigT], run: RunDir, given: Tree) -> ConfigT:
    """A run's own settings; what is asked for beside them may only say where it goes on.

    Raises:
        SettingsError: an unknown or invalid setting, or one that would change the run.
    """
    stored = read_config(kind, run.config_path)
    config = read_config(kind, run.config_path, given)
    if changes := changed_settings(stored, config):
        raise SettingsError(f"run {run.name} cannot go on with other settings ({'; '.join(changes)}); start a new run")
    return config
