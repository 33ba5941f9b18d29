"""The settings there are: one class a section, one class a command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _split_names(value: Any) -> Any:
    """'a, b' -> ['a', 'b']; a list stays what it is."""
    return [name for part in value.split(",") if (name := part.strip())] if isinstance(value, str) else value


Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Names = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_split_names)]
"""A list of names, or a text with commas between them."""
Precision = Literal["float32", "bfloat16"]
"""Of convolutions and matrix products; parameters, losses and sums are float32 in both."""

DASHBOARD_PORT = 8080
"""Where the Optuna dashboard is served, on 127.0.0.1, unless asked otherwise."""

DSA = "color_crop_cutout_flip_scale_rotate"
"""The full augmentation strategy (science: DSA, section 4.1); 'auto' is this one, without 'flip' for digits."""


class Settings(BaseModel):
    """Base of all settings: frozen, keyword-only, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ImageSettings(Settings):
    """Which images, and how they are split."""

    dataset: str = "digits"
    """Name of a known data set, or a folder of class folders (train/CLASS/*, test/CLASS/*)."""
    data_dir: Path = Path("~/.cache/nasproxy")
    """Folder of downloaded data sets and decoded image folders."""
    image_size: Count | None = None
    """Side in pixels that images of a folder are resized and centre-cropped to; none: as they are."""
    channels: Literal[1, 3] | None = None
    """Channel count that images of a folder are converted to; none: 1 if all are grey, else 3."""
    flippable: bool | None = None
    """Whether a mirrored image keeps its class; none: as the data set says, yes for folders."""
    val_fraction: Fraction = 0.1
    """Fraction of the training images held out for validation, class by class."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Fraction held out for testing where the data has no test split of its own."""
    split_seed: int = 0
    """Seed of the splits, together with the hash of the data."""
    train_per_class: Count | None = None
    """At most so many training images a class (the first of a seeded order); none: all."""


class CondenseSettings(Settings):
    """How a proxy set is made. What is not given is the method's own: `nasproxy show RUN` prints all of a run."""

    method: str = "dm"
    """Condensation method."""
    images_per_class: Count = 50
    """Memory a class, in images of the data set's size; storage formats may make more images of it."""
    encoding: str | None = None
    """How synthetic images are kept: 'pixels', 'multi-formation' or 'low-rank'."""
    factor: Count | None = None
    """Multi-formation: tiles a side of a stored image; none: 2, or 3 from 128 pixels a side."""
    rank: Count | None = None
    """Low-rank: rank of each channel; none: 2, or 4 from 50 images a class."""
    init: Literal["real", "noise"] | None = None
    """What the synthetic images start from: random training images, or normal noise."""
    embedding_net: str = "auto"
    """Net that images are compared by, by name; 'auto': w128, instance norm, relu, avg, 4x4 final map."""
    embedding_weights: str = "random"
    """Weights of that net: 'random' at every step (of dc, dsa, idc: at every outer loop), or 'trained:LOW-HIGH', from
    nets trained until their accuracy in percent lies in that range."""
    num_embedding_nets: Count = 20
    """Nets that 'trained:LOW-HIGH' draws from."""
    steps: Annotated[int, Field(ge=0)] | None = None
    """Updates of the synthetic images."""
    outer_loop: Count | None = None
    """Gradient matching: updates of the images after which the net is a fresh one."""
    inner_loop: Annotated[int, Field(ge=0)] | None = None
    """dc, dsa: epochs that the net is trained on the synthetic images after each of those updates."""
    inner_images: Count = 2000
    """idc: real images that it is trained on instead."""
    net_lr: Positive = 0.01
    """Gradient matching: learning rate of the net."""
    real_batch_size: Count = 256
    """Real images a class and step."""
    synthetic_batch_size: Count | None = None
    """Synthetic images a class and step; none: all."""
    image_lr: Positive | None = None
    """Learning rate of the images."""
    image_momentum: Fraction = 0.5
    """Momentum of the image updates."""
    augmentation: str | None = None
    """Siamese augmentation: groups joined by '_', 'auto' (all; no flip for digits) or 'none'."""
    classes_per_step: Count | None = None
    """Classes that are worked on at a time, where memory does not hold all of them; changes speed, not results."""
    seed: int = 0
    """Seed of every random draw."""
    selection_epochs: Count = 10
    """Epochs that the net of herding, forgetting and k-center is trained on the training images."""
    checkpoint_every: Count = 500
    """Steps between checkpoints; there is one every five minutes as well."""
    engine: str = "auto"
    """How images go through the net: 'auto' (the fastest here, measured where it pays), or a name like
    'eager-float32-64', 'compiled-bfloat16-16': kind, precision, images a pass. Changes speed and rounding."""


class RecipeSettings(Settings):
    """How one net is trained (main paper, section 3.6 and appendix A.3)."""

    epochs: Count = 200
    """Passes over the training images; ignored where `steps` is given."""
    steps: Count | None = None
    """Updates in all, instead of epochs."""
    batch_size: Count = 250
    """Images an update, at most: an epoch is cut into batches of nearly equal size."""
    lr: Positive = 0.01
    """Learning rate of SGD at the start."""
    lr_drops: tuple[Fraction, ...] = (0.5,)
    """Parts of all updates after which the learning rate is multiplied by `lr_factor`."""
    lr_factor: Positive = 0.1
    """What it is multiplied by."""
    momentum: Fraction = 0.9
    """Momentum of SGD."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """L2 penalty on all parameters."""
    augmentation: str = "auto"
    """Augmentation: groups joined by '_', 'auto' (all; no flip for digits) or 'none'."""
    cutmix: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability that a batch is mixed by cutmix after augmentation."""
    precision: Precision = "float32"
    """Arithmetic of convolutions and matrix products in training; evaluation is float32 (on a GPU, as torch has it,
    convolutions in TF32)."""


RECIPES: Mapping[str, RecipeSettings] = {
    "proxy-set": RecipeSettings(),
    "early-stop": RecipeSettings(steps=400),
    "whole": RecipeSettings(epochs=100, augmentation="none"),
}
"""The recipe of each kind of proxy, before overrides. The paper augments proxy sets and early stopping (A.3)."""


EVALUATION_RECIPES: Mapping[str, RecipeSettings] = {
    "dm": RecipeSettings(epochs=1000, batch_size=256),
    "idc": RecipeSettings(epochs=1000, batch_size=64, lr_drops=(2 / 3, 5 / 6), lr_factor=0.2, cutmix=0.5),
}
"""How proxy sets are judged: in the main paper and those before it, and in IDC's."""


class SearchSettings(Settings):
    """Which architectures are scored, by which proxy, how often."""

    proxy: str
    """A condense run, a proxy set file, or a name: 'whole', 'early-stop', a training-free score like 'naswot'."""
    space: str = "convnet720"
    """Name or file of the search space."""
    strategy: str = "grid"
    """Which architectures, in which order: 'grid', 'random' or 'tpe'."""
    archs: str = "all"
    """'all', a file of architecture ids, or top:RUN:N or top:RUN:P% (the best of another search)."""
    num_archs: Count | None = None
    """At most so many architectures; none: all (grid, random), or a tenth of the space (tpe)."""
    seeds: Count = 5
    """Nets trained or scored for each architecture, which is ranked by their mean."""
    seed: int = 0
    """Seed of every random draw."""
    round_size: Count = 8
    """Architectures that 'tpe' proposes at once, whatever the number of workers."""
    storage: str | None = None
    """Optuna storage URL; none: study.db in the run folder."""


class EvaluateSettings(Settings):
    """How a proxy set itself is judged (main paper, section 3.1)."""

    proxy: str
    """A condense run or a proxy set file."""
    nets: Names = ("auto",)
    """Nets that are trained, by name: ConvNet ids, those of `nasproxy ls nets`, 'auto' (as for condensing), 'all'."""
    num_nets: Count = 20
    """Nets trained of each, from different initialisations."""
    seed: int = 0
    """Seed of every random draw."""


class MachineSettings(Settings):
    """Where it runs. Changes no result beyond rounding."""

    device: str = "auto"
    """'cpu', 'cuda', 'cuda:N', or 'auto': the GPU where there is one."""
    workers: Count | None = None
    """Processes that train side by side; none: one a core, or one a GPU share."""
    threads_per_worker: Count | None = None
    """CPU threads of a worker; none: cores / workers."""
    gpus_per_worker: Annotated[float, Field(ge=0)] = 1.0
    """GPU share of a worker, where the device is a GPU."""
    cuda_graphs: bool = True
    """Replay the steps of a training as a CUDA graph, where the device is a GPU."""
    address: str | None = None
    """Address of a running Ray cluster; none: Ray on this machine."""


class CommandConfig(Settings):
    """Base of the settings of one command."""

    command: ClassVar[str]
    """Name of the command."""


class CondenseConfig(CommandConfig):
    """Settings of `nasproxy condense`."""

    command = "condense"
    images: ImageSettings = ImageSettings()
    condense: CondenseSettings = CondenseSettings()
    machine: MachineSettings = MachineSettings()


class SearchConfig(CommandConfig):
    """Settings of `nasproxy search`."""

    command = "search"
    images: ImageSettings = ImageSettings()
    search: SearchSettings
    recipe: RecipeSettings = RecipeSettings()
    machine: MachineSettings = MachineSettings()

    @model_validator(mode="after")
    def _has_validation_images(self) -> Self:
        if self.images.val_fraction == 0:
            raise ValueError("val_fraction=0 leaves no validation images to select by; give a fraction above 0")
        return self


class EvaluateConfig(CommandConfig):
    """Settings of `nasproxy evaluate`."""

    command = "evaluate"
    images: ImageSettings = ImageSettings()
    evaluate: EvaluateSettings
    recipe: RecipeSettings = EVALUATION_RECIPES["dm"]
    machine: MachineSettings = MachineSettings()


class CompareSettings(Settings):
    """Which proxies are compared with which truth."""

    proxies: Names = ("dm", "random", "early-stop", "params", "flops", "synflow", "naswot")
    """Condensation methods, names of `nasproxy ls proxies`, condense runs, proxy set files, or searches."""
    space: str = "convnet720"
    """Name or file of the search space."""
    archs: str = "all"
    """'all', or a file of architecture ids."""
    seeds: Count = 5
    """Nets trained or scored for each architecture and proxy."""
    truth: str = "train"
    """'train': full training; a search by 'whole'; or a CSV file of true accuracies."""
    truth_seeds: Count | None = None
    """Nets trained for each architecture as the truth; none: as many as for a proxy."""
    truth_for: str = "all"
    """Architectures that are trained as the truth: 'all', 'top:K%' (the best of each proxy) or 'sample:N' (of all
    fifths of the proxies' average rank, most of the best one)."""
    top: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Fraction of the architectures that a proxy selects."""
    combine: tuple[str, ...] = ()
    """Combinations of all these proxies that are compared as well: 'average', 'fitted'."""
    per_method: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings of [condense] for one method alone, e.g. per_method={dm={steps=500}}."""
    seed: int = 0
    """Seed of every random draw of the searches and the statistics; condensing has its own."""
    storage: str | None = None
    """Optuna storage URL of all searches; none: study.db in each run folder."""


class CompareConfig(CommandConfig):
    """Settings of `nasproxy compare`."""

    command = "compare"
    images: ImageSettings = ImageSettings()
    compare: CompareSettings = CompareSettings()
    condense: CondenseSettings = CondenseSettings()
    recipe: RecipeSettings = RECIPES["proxy-set"]
    truth_recipe: RecipeSettings = RECIPES["whole"]
    machine: MachineSettings = MachineSettings()

    @model_validator(mode="after")
    def _names_methods_as_proxies(self) -> Self:
        if self.condense.method != CondenseSettings().method:
            raise ValueError(f"condense.method={self.condense.method!r}: a comparison has methods in compare.proxies")
        if strangers := self.compare.per_method.keys() - set(self.compare.proxies):
            raise ValueError(f"per_method names {', '.join(sorted(strangers))}, which compare.proxies does not")
        return self


class CombineSettings(Settings):
    """Which searches become one proxy."""

    runs: Annotated[Names, Field(min_length=2)]
    """Searches of the same space and data."""
    how: str = "average"
    """'average' or 'fitted'."""
    truth: str | None = None
    """For 'fitted': a search by 'whole' or a CSV file, of some of the architectures."""
    seed: int = 0
    """Seed of the folds."""


class CombineConfig(CommandConfig):
    """Settings of `nasproxy combine`."""

    command = "combine"
    combine: CombineSettings
