"""The settings there are: one class a section, one class a command.

The docstring of a setting is what `--help` says about it, and `flags` of a command are its dashed options: name to
setting, or to several. A section's title there is the docstring of its place in the command, else of its class.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from nasproxy.errors import SettingsError, unknown_name


@dataclass(frozen=True)
class Metavar:
    """Marks a setting that is written as text on the command line, and says of what form."""

    metavar: str


def parse_share(text: str) -> float:
    """'5%' or '0.05' -> 0.05.

    Raises:
        SettingsError: nothing in (0, 1].
    """
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise SettingsError(f"{text!r} is no share; write a percentage like 5%, up to 100%")
    return share


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> float:
    """'90s', '30m', '2h' or '1d' -> seconds.

    Raises:
        SettingsError: of another form, or no time at all.
    """
    try:
        seconds = float(text[:-1]) * _UNITS[text[-1:]]
    except (KeyError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise SettingsError(f"{text!r} is no length of time; write 90s, 30m, 2h or 1d")
    return seconds


def _read_share(value: Any) -> float:
    try:
        return parse_share(str(value))
    except SettingsError as error:
        raise ValueError(str(error)) from None  # pydantic adds which setting it is


def parse_sample(text: str) -> tuple[int, str | None]:
    """'100' -> (100, None), drawn uniformly; '100:params' -> (100, 'params'), by strata of that.

    Raises:
        SettingsError: of another form, or of nothing.
    """
    count, colon, by = text.partition(":")
    if not count.isdigit() or int(count) == 0 or (colon and not by):
        raise SettingsError(
            f"{text!r} is no sample; write a whole number above 0 like 100, or 100:params, 100:flops or 100:RUN"
        )
    return int(count), by or None


_THOUSANDS = {"k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}


def _read_size(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    try:
        size = round(float(text[:-1]) * _THOUSANDS[text[-1]]) if text[-1:] in _THOUSANDS else int(text)
    except (ValueError, OverflowError):
        size = 0
    if size < 1:
        raise ValueError(f"{value!r} is no size; write a number above 0 like 500000, 500k, 5M or 1.2G")
    return size


_PARTS_OF_A_SECOND = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}


def _read_seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([0-9.]+(?:e-?[0-9]+)?) ?([a-zµ]*)", value.strip().lower())
    try:
        seconds = float(match[1]) * _PARTS_OF_A_SECOND[match[2] or "s"] if match else 0.0
    except (KeyError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{value!r} is no time; write one above 0 like 5ms or 0.2s")
    return seconds


def _read_sample(value: Any) -> Any:
    if value is None:
        return None
    try:
        parse_sample(str(value))
    except SettingsError as error:
        raise ValueError(str(error)) from None  # pydantic adds which setting it is
    return str(value)


def split_names(value: Any) -> Any:
    """'a, b' -> ['a', 'b']; a list stays what it is."""
    return [name for part in value.split(",") if (name := part.strip())] if isinstance(value, str) else value


def _split_numbers(value: Any) -> Any:
    """'0.6, 0.8' -> ['0.6', '0.8'], 0.6 -> [0.6]."""
    return [value] if isinstance(value, int | float) else split_names(value)


def _absolute_function(value: Any) -> Any:
    module, colon, function = str(value).rpartition(":")
    if value is None or not module.endswith(".py"):
        return value
    return f"{Path(module).expanduser().absolute()}{colon}{function}"


Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Size = Annotated[Count | None, BeforeValidator(_read_size), Metavar("N")]
"""A count above 0, or a text like '5M' or '1.2G'; None: no limit."""
Seconds = Annotated[Positive | None, BeforeValidator(_read_seconds), Metavar("TIME")]
"""Seconds, or a text like '5ms'; None: no limit."""
Share = Annotated[float, BeforeValidator(_read_share), Metavar("SHARE")]
"""A fraction above 0 and up to 1, or a text like '5%'."""
Sample = Annotated[str | None, BeforeValidator(_read_sample), Metavar("N|N:BY")]
"""A number of architectures, and what the strata are of that they are drawn by."""
Names = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(split_names), Metavar("NAME,...")]
"""A list of names, or a text with commas between them."""
Precision = Literal["float32", "bfloat16"]
"""Of convolutions and matrix products; parameters, losses and sums are float32 in both."""

DASHBOARD_PORT = 8080
"""Where the Optuna dashboard is served, on 127.0.0.1, unless asked otherwise."""


class Settings(BaseModel):
    """Base of all settings: frozen, keyword-only, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ImageSettings(Settings):
    """Images and their split."""

    dataset: str = "digits"
    """Data set by name, see 'nasproxy ls datasets'; a folder with train/CLASS/* and maybe val/CLASS/* and test/CLASS/*,
    or with files in MNIST's format (train-images-idx3-ubyte.gz and so on); a .csv file of paths and labels; or .tar
    (WebDataset) or .parquet shards, a file or a folder of them."""
    data_dir: Path = Path("~/.cache/nasproxy")
    """Folder of downloaded data sets and decoded image folders."""
    image_size: Count | None = None
    """Side in pixels that images of a folder are resized and cropped to. Default: as they are."""
    channels: Literal[1, 3] | None = None
    """Channels that images of a folder are converted to. Default: 1 if all are grey, else 3."""
    skip_broken: bool = False
    """Leave out image files of a folder that cannot be decoded, and say which; else they are an error."""
    flippable: bool | None = None
    """Whether a mirrored image keeps its class. Default: as the data set says, yes for folders of pictures."""
    val_fraction: Fraction = 0.1
    """Fraction of the training images held out for validation, class by class. Not where there is a val/ (valid/,
    validation/): its images select."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Fraction of the training images held out for testing where the data has no test split of its own."""
    split_seed: int = 0
    """Seed of the splits. The hash of the data goes into them as well."""
    train_per_class: Count | None = None
    """At most this many training images per class, the first of a seeded order. Default: all."""
    test_per_class: Count | None = None
    """At most this many test images per class, the first of a seeded order: where nets are trained for seconds,
    measuring them takes most of the time. Default: all."""


class CondenseSettings(Settings):
    """How a proxy set is made.

    What is not given is the method's own: `nasproxy show RUN` prints all of a run.
    """

    method: str = "dm"
    """Condensation method, see 'nasproxy ls methods'."""
    images_per_class: Count = 50
    """Memory per class, in images of the data set's size. Some encodings make more images of it."""
    encoding: str | None = None
    """How synthetic images are kept: pixels, multi-formation or low-rank. Default: as the method has it."""
    factor: Count | None = None
    """Tiles per side of a stored image (multi-formation). Default: 2, or 3 from 128 pixels a side."""
    tiles_along: Literal["both", "width"] = "both"
    """Sides that a stored image is cut along (multi-formation): both, or width alone, the time of a spectrogram."""
    rank: Count | None = None
    """Rank of each channel (low-rank). Default: 2, or 4 from 50 images per class; from 64 pixels a side, side / 16."""
    init: Literal["real", "noise"] | None = None
    """What the synthetic images start from. Default: as the method has it."""
    embedding_net: str = "auto"
    """Net that images are compared by, e.g. w128-d3-batch-relu-avg. 'auto' is a ConvNet with width 128, instance norm,
    relu, average pooling and a final map of 4x4."""
    embedding_weights: str = "random"
    """Weights of that net: random, or trained:LOW-HIGH. Random ones are fresh at every step (of dc, dsa, idc: at every
    outer loop); trained ones come from nets trained until their accuracy in percent lies in that range."""
    num_embedding_nets: Count = 20
    """Nets that 'trained:LOW-HIGH' draws from."""
    steps: Annotated[int, Field(ge=0)] | None = None
    """Updates of the synthetic images. Default: as the method has it."""
    outer_loop: Count | None = None
    """Updates of the images after which the net is a fresh one (gradient matching). Default: as the method has it."""
    inner_loop: Annotated[int, Field(ge=0)] | None = None
    """Epochs that the net is trained on the synthetic images after each of those updates (dc, dsa). Default: as the
    method has it."""
    inner_images: Count = 2000
    """Real images that the net is trained on instead (idc)."""
    first_epochs: Annotated[int, Field(ge=0)] | None = None
    """Epochs that a fresh net is trained on all real images before the first of those updates (idc). Default: 0, or 10
    from 128 pixels a side with up to 10 classes."""
    net_lr: Positive = 0.01
    """Learning rate of the net (gradient matching)."""
    distance: Literal["squared", "absolute"] | None = None
    """Differences of gradients that are summed (idc). Default: squared for images in colour, absolute for grey ones and
    from 128 pixels a side."""
    real_batch_size: Count | None = None
    """Real images per class and step. Default: as the method has it (64 for idc, else 256)."""
    synthetic_batch_size: Count | None = None
    """Synthetic images per class and step, at most. Default: as the method has it (128 for idc, else all)."""
    image_lr: Positive | None = None
    """Learning rate of the images. Default: as the method has it; that of idc goes with the distance."""
    image_momentum: Fraction = 0.5
    """Momentum of the image updates."""
    augmentation: str | None = None
    """Augmentation that real and synthetic images share: groups of color, crop, cutout, flip, scale, rotate joined by
    '_' (one of them, drawn) and '+' (and then), as in color+crop_scale+cutout; auto (one of all; no flip for digits) or
    none. Default: as the method has it. The net that dsa or idc trains sees it too, with cutmix without cutout."""
    classes_per_step: Count | None = None
    """Classes worked on at a time, where memory is short. It changes speed, not results. Default: all."""
    seed: int = 0
    """Seed of every random draw."""
    selection_epochs: Count | None = None
    """Epochs that the net of herding, forgetting and k-center is trained on the training images. Default: 10; 100 for
    forgetting."""
    checkpoint_every: Count = 500
    """Steps between checkpoints. There is one every five minutes as well."""
    engine: str = "auto"
    """How images go through the net: 'auto' (the fastest here, measured where it pays), or a name like
    'eager-float32-64', 'compiled-bfloat16-16': kind, precision, images per pass. It changes speed and rounding."""


class RecipeSettings(Settings):
    """How a net is trained.

    The main paper has epochs, batch size and augmentation of proxy sets (section 3.6, appendix A.3). Learning rate and
    its drop, momentum and weight decay are those with which its authors' public code trains nets on synthetic images.
    """

    epochs: Count = 200
    """Passes over the training images, where no steps are given."""
    steps: Count | None = None
    """Updates in all, instead of epochs. Default: as many as the epochs have."""
    batch_size: Count = 250
    """Images per update, at most. An epoch is cut into batches of nearly equal size."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Optimiser: sgd, or adamw (fused, decoupled weight decay)."""
    lr: Positive = 0.01
    """Learning rate: the highest."""
    schedule: Literal["step", "cosine", "one-cycle"] = "step"
    """How the rate goes: step (drops), cosine (to 0) or one-cycle (up in three tenths of all updates, and down)."""
    warmup: Fraction = 0.0
    """Fraction of all updates in which the rate rises to its highest in a straight line; one-cycle has its own rise."""
    lr_drops: Annotated[tuple[Fraction, ...], BeforeValidator(_split_numbers), Metavar("X,...")] = (0.5,)
    """Fractions of all updates after which the learning rate of 'step' is multiplied by `lr_factor`."""
    lr_factor: Positive = 0.1
    """What the learning rate is multiplied by."""
    momentum: Fraction = 0.9
    """Momentum of sgd; of adamw the first beta (the second is 0.999)."""
    nesterov: bool = False
    """Nesterov's momentum, with sgd."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """L2 penalty on all parameters; with adamw decoupled from the gradient."""
    label_smoothing: Fraction = 0.0
    """Part of a label that is spread over all classes."""
    augmentation: str = "auto"
    """Augmentation: groups of color, crop, cutout, flip, scale, rotate joined by '_' (one of them, drawn) and '+' (and
    then), or auto (one of all), idc (flip+color+crop_scale_rotate), both without flip for digits, or none."""
    cutmix: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability that a batch is mixed by cutmix after augmentation."""
    trainer: Annotated[str | None, BeforeValidator(_absolute_function), Metavar("FILE.py:FUNCTION")] = None
    """file.py:function that trains a net instead of our loop: (net, images, recipe, seed) -> the training loss of every
    update. It trains in place, as long as it likes; what it is worth is measured as ever. Default: our loop."""
    precision: Precision | Literal["auto"] = "float32"
    """Arithmetic of convolutions and matrix products in training; auto: a search trains its largest architectures for a
    moment and takes bfloat16 where that is 1.2 times as fast. Evaluation is float32 (on a GPU, as torch has it,
    convolutions in TF32)."""

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError("nesterov=true is of sgd with a momentum above 0; leave it out, or give these")
        if self.warmup and self.schedule == "one-cycle":
            raise ValueError(f"warmup={self.warmup:g}: one-cycle has a rise of its own; leave warmup out")
        return self


RECIPES: Mapping[str, RecipeSettings] = {
    "proxy-set": RecipeSettings(),
    "early-stop": RecipeSettings(steps=400),
    "whole": RecipeSettings(epochs=100, augmentation="none"),
}
"""The recipe of each kind of proxy, before overrides.

The main paper has 200 epochs for proxy sets, as many updates for early stopping (400 at 500 images), 100 epochs for the
whole set (section 3.6), and augmentation of the first two (A.3). That the whole set is trained on without augmentation,
and by the learning rate, momentum and weight decay of the others, is ours: the paper says nothing of it.
"""


EVALUATION_RECIPES: Mapping[str, RecipeSettings] = {
    "dm": RecipeSettings(epochs=1000, batch_size=256),
    "idc": RecipeSettings(
        epochs=1000, batch_size=64, lr_drops=(2 / 3, 5 / 6), lr_factor=0.2, augmentation="idc", cutmix=0.5
    ),
}
"""How proxy sets are judged: as in the public code of DC, DSA and DM, and in that of IDC."""


def evaluation_recipe(name: str) -> dict[str, Any]:
    """The settings of one of `EVALUATION_RECIPES`.

    Raises:
        SettingsError: an unknown name (the nearest is named).
    """
    if name not in EVALUATION_RECIPES:
        raise unknown_name("recipe", name, EVALUATION_RECIPES)
    return EVALUATION_RECIPES[name].model_dump()


DEFAULT_SEEDS = 5
"""Nets that are trained of an architecture (main paper, section 3.6)."""


class SearchSettings(Settings):
    """Architectures that are scored, and by what."""

    proxy: Annotated[str, Metavar("RUN|NAME")]
    """A condense run, a .safetensors file, a proxy by name, see 'nasproxy ls proxies', or scores from elsewhere:
    table:NAME, FILE.csv (accuracies), FILE.csv:COLUMN."""
    space: str = "convnet720"
    """Search space: a name, see 'nasproxy ls spaces', a .toml file, or file.py:function of an Optuna trial."""
    strategy: str = "grid"
    """Which architectures, in which order: grid, random, asha, tpe or nsga2."""
    archs: str = "all"
    """Architectures: all, a file of ids, or the best of another search or of a table (top:RUN:5% or top:RUN:36)."""
    sample: Sample = None
    """Draw this many of those at random: 100, from all alike; 100:params, 100:flops or 100:RUN, from each fifth of that
    (a search has its scores), twice as many from the best one. Of one kind, a smaller sample is part of a larger one.
    Default: all."""
    sample_seed: int = 0
    """Seed of that draw, which is the same for all proxies and seeds of a search."""
    max_params: Size = None
    """Leave out architectures with more parameters: 500000, 500k, 5M. Default: none."""
    max_flops: Size = None
    """Leave out architectures with more FLOPs an image, a multiply-add counted as two: 200M, 1.2G. Default: none."""
    latency: bool = False
    """Time a forward pass of every architecture on this machine before the search, for tables and the Pareto front."""
    max_latency: Seconds = None
    """Leave out architectures whose forward pass takes longer than that: 5ms, 0.2s. Default: none."""
    latency_batch_size: Count = 1
    """Images of such a pass."""
    against: Literal["params", "flops", "latency"] | None = None
    """A cost to be small beside a score that is high: tpe and nsga2 then look for what is worth its cost. Default:
    the score alone."""
    screen: Annotated[str | None, Metavar("NAME|RUNGS")] = None
    """Cut architectures in rungs, cheap ones first, then the search's own recipe and seeds: naswot:20%,steps=40:25%
    scores all, trains the best 20% for 40 updates, and the best 25% of those to the end. A rung is a training-free
    score, az-nas, or some of steps=40 (or 10%), epochs=5, seeds=2, joined by '+'; with a share or a number that go on.
    With +tse (or another signal) it ranks by that, and by the mean of ranks with scores that are named beside it:
    steps=100+tse+synflow:20%. By name: see 'nasproxy ls screens'. Default: none is cut."""
    first_rung: Share = 0.0625
    """Of 'asha': part of all updates after which a training may be stopped for the first time."""
    reduction_factor: Annotated[int, Field(ge=2)] = 4
    """Of 'asha': times as many updates until the next rung, to which the best of so many go on."""
    num_archs: Count | None = None
    """At most this many architectures: with grid the first ones of the space, which do not stand for it (--sample draws
    some that do). Default: all (grid, random), or a tenth of the space (tpe, nsga2)."""
    seeds: Count = DEFAULT_SEEDS
    """Nets trained per architecture, which is ranked by their mean; of a training-free score, nets scored: 1 by
    default."""
    seed: int = 0
    """Seed of every random draw but that of a sample."""
    round_size: Count = 8
    """Architectures that 'tpe' or 'nsga2' proposes at once, whatever the number of workers; a generation."""
    keep_nets: bool = False
    """Keep the weights of every net that is trained, in nets/, and the best one as a model: model.safetensors and
    model.json. Trainings that are cut short go on from where they were kept last."""
    storage: str | None = None
    """Optuna storage URL. Default: study.db in the run folder."""
    loggers: Annotated[tuple[str, ...], BeforeValidator(split_names), Metavar("NAME,...")] = ()
    """Ray Tune's own loggers that are told of every trial: tensorboard, csv, json, mlflow, wandb. Default: none."""


class EvaluateSettings(Settings):
    """How a proxy set is judged.

    Main paper, section 3.1.
    """

    proxy: Annotated[str, Metavar("RUN")]
    """A condense run or a .safetensors file."""
    nets: Names = ("auto",)
    """Nets to train, with commas, see 'nasproxy ls nets': ConvNet ids too, auto (as for condensing) or all."""
    num_nets: Count = 20
    """Nets of each, from different initialisations."""
    seed: int = 0
    """Seed of every random draw."""


class MachineSettings(Settings):
    """Where it runs.

    Changes no result beyond rounding.
    """

    device: str = "auto"
    """cpu, cuda, cuda:N, or auto: the GPU where there is one."""
    workers: Count | None = None
    """Processes that train side by side. Default: one per core, or one per GPU share."""
    threads_per_worker: Count | None = None
    """CPU threads of a worker, or of condensing. Default: cores / workers; for condensing all cores."""
    gpus_per_worker: Annotated[float, Field(ge=0)] = 1.0
    """GPU share of a worker, where the device is a GPU."""
    cuda_graphs: bool = True
    """Replay the steps of a training as a CUDA graph, where the device is a GPU."""
    address: str | None = None
    """Address of a running Ray cluster. Default: Ray on this machine."""


AnySettings = TypeVar("AnySettings", bound=Settings)


def refuse_auto(settings: AnySettings, *recipes: RecipeSettings) -> AnySettings:
    """Refuses an arithmetic that is left open where several trainings are compared."""
    if any(recipe.precision == "auto" for recipe in recipes):
        raise ValueError("precision=auto: what is compared trains in one arithmetic; give float32 or bfloat16")
    return settings


class CommandConfig(Settings):
    """Base of the settings of one command."""

    command: ClassVar[str]
    """Name of the command."""
    flags: ClassVar[Mapping[str, str | tuple[str, ...]]] = {}
    """Its dashed options, without the dashes, and the settings that each one sets, as section.key."""


_IMAGE_FLAGS = {
    "dataset": "images.dataset",
    "data-dir": "images.data_dir",
    "image-size": "images.image_size",
    "skip-broken": "images.skip_broken",
    "val-fraction": "images.val_fraction",
}
_MACHINE_FLAGS = {
    "device": "machine.device",
    "workers": "machine.workers",
    "gpus-per-worker": "machine.gpus_per_worker",
    "address": "machine.address",
}


class CondenseConfig(CommandConfig):
    """Settings of `nasproxy condense`."""

    command = "condense"
    flags = {
        **_IMAGE_FLAGS,
        "method": "condense.method",
        "ipc": "condense.images_per_class",
        "encoding": "condense.encoding",
        "steps": "condense.steps",
        "init": "condense.init",
        "embedding-net": "condense.embedding_net",
        "embedding-weights": "condense.embedding_weights",
        "classes-per-step": "condense.classes_per_step",
        "seed": "condense.seed",
        "device": "machine.device",
    }
    images: ImageSettings = ImageSettings()
    condense: CondenseSettings = CondenseSettings()
    machine: MachineSettings = MachineSettings()


class SearchConfig(CommandConfig):
    """Settings of `nasproxy search`."""

    command = "search"
    flags = {
        "proxy": "search.proxy",
        "space": "search.space",
        "strategy": "search.strategy",
        "archs": "search.archs",
        "sample": "search.sample",
        "screen": "search.screen",
        "max-params": "search.max_params",
        "max-flops": "search.max_flops",
        "max-latency": "search.max_latency",
        "num-archs": "search.num_archs",
        "seeds": "search.seeds",
        "seed": "search.seed",
        "storage": "search.storage",
        "epochs": "recipe.epochs",
        "steps": "recipe.steps",
        "trainer": "recipe.trainer",
        **_IMAGE_FLAGS,
        **_MACHINE_FLAGS,
    }
    images: ImageSettings = ImageSettings()
    search: SearchSettings
    recipe: RecipeSettings = RecipeSettings()
    """How a net is trained (whole: 100 epochs, early-stop: 400 steps)."""
    machine: MachineSettings = MachineSettings()

    @model_validator(mode="after")
    def _has_validation_images(self) -> Self:
        if self.images.val_fraction == 0:
            raise ValueError("val_fraction=0 leaves no validation images to select by; give a fraction above 0")
        return self


class EvaluateConfig(CommandConfig):
    """Settings of `nasproxy evaluate`."""

    command = "evaluate"
    flags = {
        "nets": "evaluate.nets",
        "num-nets": "evaluate.num_nets",
        "seed": "evaluate.seed",
        "epochs": "recipe.epochs",
        **_IMAGE_FLAGS,
        "device": "machine.device",
    }
    images: ImageSettings = ImageSettings()
    evaluate: EvaluateSettings
    recipe: RecipeSettings = EVALUATION_RECIPES["dm"]
    machine: MachineSettings = MachineSettings()

    @model_validator(mode="after")
    def _has_one_precision(self) -> Self:
        return refuse_auto(self, self.recipe)


class CompareSettings(Settings):
    """Proxies and the truth that they are compared with."""

    proxies: Names = ("dm", "random", "early-stop", "params", "flops", "synflow", "naswot")
    """Methods, proxies of 'nasproxy ls proxies', condense runs, .safetensors files, searches, or scores from elsewhere
    (table:NAME, FILE.csv:COLUMN), with commas. Nets that are trained are ranked by accuracy, or by a finer signal that
    is named: dm:cross-entropy, dm:training-loss, dm:tse."""
    space: str = "convnet720"
    """Search space: a name, see 'nasproxy ls spaces', or a .toml file."""
    archs: str = "all"
    """Architectures: all, a file of ids, or the best of a search or of a table (top:RUN:5% or top:RUN:36)."""
    sample: Sample = None
    """Draw this many of those at random, for proxies and truth: 100, from all alike; 100:params, 100:flops or 100:RUN,
    from each fifth of that (a search has its scores), twice as many from the best one; figures are weighted to all. Of
    one kind, a smaller sample is part of a larger one. Default: all."""
    sample_seed: int = 0
    """Seed of that draw."""
    seeds: Count | None = None
    """Nets trained or scored per architecture and proxy. Default: 5 trained, 1 scored."""
    sets: Count = 1
    """Proxy sets that each method makes, with seeds of their own: how much a set owes to its draw."""
    truth: Annotated[str, Metavar("RUN|NAME|CSV")] = "train"
    """A search with --proxy whole, a name of 'ls truths', a CSV file of true accuracies, or train: full training, done
    here."""
    truth_seeds: Count | None = None
    """Nets trained per architecture as the truth. Default: as many as for a proxy."""
    truth_for: str = "all"
    """Architectures that are trained as the truth: all, top:5% (the best of each proxy) or sample:36 (of all fifths of
    the proxies' average rank, most of the best one)."""
    top: Share = 0.05
    """Share of the architectures that a proxy selects, e.g. 5%."""
    combine: Annotated[tuple[str, ...], BeforeValidator(split_names), Metavar("NAME,...")] = ()
    """Combinations of all these proxies to compare as well: average, log-average, fitted, with commas. Default: none
    of them."""
    per_method: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings of [condense] for one method alone, e.g. per_method={dm={steps=500}}."""
    seed: int = 0
    """Seed of every random draw but that of a sample."""
    storage: str | None = None
    """Optuna storage URL of all searches. Default: study.db in each run folder."""


class CompareConfig(CommandConfig):
    """Settings of `nasproxy compare`."""

    command = "compare"
    flags = {
        "proxies": "compare.proxies",
        "space": "compare.space",
        "sample": "compare.sample",
        "seeds": "compare.seeds",
        "sets": "compare.sets",
        "truth": "compare.truth",
        "truth-seeds": "compare.truth_seeds",
        "truth-for": "compare.truth_for",
        "top": "compare.top",
        "combine": "compare.combine",
        "seed": ("compare.seed", "condense.seed"),
        "storage": "compare.storage",
        **_IMAGE_FLAGS,
        "ipc": "condense.images_per_class",
        "epochs": "recipe.epochs",
        "truth-epochs": "truth_recipe.epochs",
        **_MACHINE_FLAGS,
    }
    images: ImageSettings = ImageSettings()
    compare: CompareSettings = CompareSettings()
    condense: CondenseSettings = CondenseSettings()
    recipe: RecipeSettings = RECIPES["proxy-set"]
    """How a net is trained on a proxy set."""
    truth_recipe: RecipeSettings = RECIPES["whole"]
    """How a net is trained as the truth."""
    machine: MachineSettings = MachineSettings()

    @model_validator(mode="after")
    def _has_one_precision(self) -> Self:
        return refuse_auto(self, self.recipe, self.truth_recipe)

    @model_validator(mode="after")
    def _names_methods_as_proxies(self) -> Self:
        if self.condense.method != CondenseSettings().method:
            raise ValueError(f"condense.method={self.condense.method!r}: a comparison has methods in compare.proxies")
        if strangers := self.compare.per_method.keys() - {name.partition(":")[0] for name in self.compare.proxies}:
            raise ValueError(f"per_method names {', '.join(sorted(strangers))}, which compare.proxies does not")
        return self


class CombineSettings(Settings):
    """Searches that become one proxy."""

    runs: Annotated[Names, Field(min_length=2)]
    """Searches of the same space and data."""
    how: str = "average"
    """average (of ranks), or fitted (to a truth of some architectures, cross-validated)."""
    truth: Annotated[str | None, Metavar("RUN|NAME|CSV")] = None
    """A search with --proxy whole, a name of 'ls truths', or a CSV file, of some of the architectures. Default: none;
    fitted needs one."""
    seed: int = 0
    """Seed of the folds."""


class CombineConfig(CommandConfig):
    """Settings of `nasproxy combine`."""

    command = "combine"
    flags = {"how": "combine.how", "truth": "combine.truth", "seed": "combine.seed"}
    combine: CombineSettings


class ReplaySettings(Settings):
    """Searches that are repeated on tables of scores."""

    scores: Names
    """Tables of scores, with commas, the cheapest first: table:NAME, FILE.csv, FILE.csv:COLUMN, or searches. 'halving'
    goes through all of them, other strategies are replayed on each."""
    truth: Annotated[str, Metavar("RUN|NAME|CSV")]
    """What picks are judged by: a search with --proxy whole, a name of 'ls truths', or a CSV file."""
    space: str = "convnet720"
    """Search space: a name, see 'nasproxy ls spaces', or a .toml file."""
    dataset: str = "cifar10"
    """Data set whose accuracies are meant where a published table has several, by name: no images are read."""
    strategy: Names = ("tpe", "random", "grid")
    """Strategies, with commas: grid, random, tpe, and halving where there are several tables."""
    num_archs: Count = 100
    """At most this many architectures a search; 'halving' begins with so many."""
    repetitions: Count = 1000
    """Searches of each strategy, with seeds of their own."""
    costs: Annotated[tuple[Positive, ...], BeforeValidator(_split_numbers), Metavar("COST,...")] = ()
    """What a score of each table costs, with commas, e.g. epochs: 12,200. Default: 1 each."""
    cost_unit: str = "scores"
    """What costs are counted in, for people, e.g. epochs."""
    eta: Annotated[float, Field(gt=1, allow_inf_nan=False)] | None = None
    """One in so many goes on to the next table (halving). Default: the ratio of the costs of both."""
    round_size: Count = 8
    """Architectures that 'tpe' proposes at once."""
    processes: Count = 1
    """Processes that share the repetitions. The result does not depend on it."""
    seed: int = 0
    """Seed of every random draw."""


class ReplayConfig(CommandConfig):
    """Settings of `nasproxy replay`."""

    command = "replay"
    flags = {
        "scores": "replay.scores",
        "truth": "replay.truth",
        "space": "replay.space",
        "dataset": "replay.dataset",
        "strategy": "replay.strategy",
        "num-archs": "replay.num_archs",
        "repetitions": "replay.repetitions",
        "costs": "replay.costs",
        "eta": "replay.eta",
        "processes": "replay.processes",
        "seed": "replay.seed",
    }
    replay: ReplaySettings


class RankSettings(Settings):
    """What proxies are judged by."""

    truth: Annotated[str | None, Metavar("RUN|NAME|CSV")] = None
    """A search with --proxy whole, a name of 'ls truths', or a CSV file of true accuracies. Default: the truth that a
    comparison has."""
    top: Share = 0.05
    """Share of the architectures that a proxy selects, e.g. 5%."""
    seed: int = 0
    """Seed of every random draw."""


class RankConfig(CommandConfig):
    """Settings of `nasproxy rank` and `nasproxy report`."""

    command = "rank"
    flags = {"truth": "rank.truth", "top": "rank.top", "seed": "rank.seed"}
    rank: RankSettings = RankSettings()


CONFIGS: Mapping[str, type[CommandConfig]] = {
    kind.command: kind
    for kind in (
        CompareConfig,
        CondenseConfig,
        EvaluateConfig,
        SearchConfig,
        CombineConfig,
        RankConfig,
        ReplayConfig,
    )
}
"""Command -> its settings."""
