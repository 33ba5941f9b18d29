"""Settings of every command: frozen, typed, read from and written to TOML, overridden by `key=value`.

A command's settings are a tree of sections. What a run writes as `config.toml` is complete and is accepted back by
`--config`. Later sources win: defaults, the file, flags, trailing `key=value`.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from nasproxy.errors import InputError, SettingsError, unknown_name


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
    storage_format: str | None = None
    """How synthetic images are kept: 'pixels', 'multi-formation' or 'low-rank'."""
    factor: Count | None = None
    """Multi-formation: tiles a side of a stored image; none: 2, or 3 from 128 pixels a side."""
    rank: Count | None = None
    """Low-rank: rank of each channel; none: 2, or 4 from 50 images a class."""
    init: Literal["real", "noise"] | None = None
    """What the synthetic images start from: random training images, or normal noise."""
    embedder: str = "auto"
    """Net that images are compared by, by name; 'auto': w128, instance norm, relu, avg, 4x4 final map."""
    embedders: str = "random"
    """Weights of that net: 'random' at every step (of dc, dsa, idc: at every outer loop), or 'trained:LOW-HIGH', from
    nets trained until their accuracy in percent lies in that range."""
    num_embedders: Count = 20
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


ConfigT = TypeVar("ConfigT", bound=CommandConfig)
Tree = dict[str, dict[str, Any]]


def make_config(kind: type[ConfigT], *layers: Mapping[str, Mapping[str, Any]]) -> ConfigT:
    """Settings from layers of {section: {key: value}}, later layers winning. None means 'not given'.

    Raises:
        SettingsError: an unknown section or key (the nearest is named), or a value that breaks its rule.
    """
    given = merge_layers(*layers)
    sections = _keys_of(kind)
    for section, values in given.items():
        if section not in sections:
            raise unknown_name("section of settings", section, sections)
        for key in values:
            if key not in sections[section]:
                raise unknown_name(f"setting of [{section}]", key, sections[section])
    # a section may have defaults of its own in this command
    own = {name: field.default for name, field in kind.model_fields.items() if isinstance(field.default, Settings)}
    tree = merge_layers({name: settings.model_dump() for name, settings in own.items()}, given)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(_one_line(error)) from None


def parse_overrides(kind: type[CommandConfig], overrides: Iterable[str]) -> Tree:
    """{section: {key: value}} from `key=value` or `section.key=value`; values are TOML, else plain text.

    Raises:
        SettingsError: no '=', an unknown key (the nearest is named), or a key that several sections have.
    """
    sections = _keys_of(kind)
    tree: Tree = {}
    for override in overrides:
        dotted, equals, text = override.partition("=")
        if not equals:
            raise SettingsError(f"unexpected argument {override!r}: settings are given as key=value, e.g. seed=1")
        section, dot, key = dotted.rpartition(".")
        homes = [name for name, keys in sections.items() if key in keys and (not dot or name == section)]
        if not homes:
            every = [f"{name}.{key}" if dot else key for name, keys in sections.items() for key in keys]
            raise unknown_name("setting", dotted, set(every))
        if len(homes) > 1:
            raise SettingsError(f"setting {key!r} is in several sections: write one of {[f'{h}.{key}' for h in homes]}")
        tree.setdefault(homes[0], {})[key] = _parse_value(text, kind, homes[0], key)
    return tree


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        InputError: missing, unreadable, or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no valid TOML: {error}; correct that place") from None


def read_config(kind: type[ConfigT], path: Path, *layers: Mapping[str, Mapping[str, Any]]) -> ConfigT:
    """Settings from a `config.toml`, with further layers over it (see `make_config`)."""
    return make_config(kind, read_sections(kind, path), *layers)


def read_sections(kind: type[CommandConfig], path: Path) -> Tree:
    """The sections of a settings file; their keys and values are checked by `make_config`.

    Raises:
        InputError: the file cannot be read.
        SettingsError: settings of another command.
    """
    tree = read_toml(path)
    if (command := tree.pop("command", kind.command)) != kind.command:
        raise SettingsError(f"{path} holds settings of 'nasproxy {command}', not of 'nasproxy {kind.command}'")
    return tree


def merge_layers(*layers: Mapping[str, Mapping[str, Any]]) -> Tree:
    """One {section: {key: value}} of several, later ones winning; None means 'not given'.

    Raises:
        SettingsError: a section that is no table.
    """
    tree: Tree = {}
    for layer in layers:
        for section, values in layer.items():
            if not isinstance(values, Mapping):
                raise SettingsError(f"[{section}] must be a table of settings, not {values!r}")
            tree.setdefault(section, {}).update({key: value for key, value in values.items() if value is not None})
    return tree


def dump_config(config: CommandConfig) -> str:
    """TOML of all settings; keys that are not set are left out (TOML has no null), passwords too."""
    tree = config.model_dump(mode="json", exclude_none=True)
    storage = tree.get("search", {}).get("storage")
    if storage:
        tree["search"]["storage"] = without_password(storage)
    return tomli_w.dumps({"command": config.command} | tree)


def without_password(url: str) -> str:
    """A storage URL without its password, safe to write down."""
    address, question, query = url.partition("?")
    scheme, separator, rest = address.partition("://")
    credentials, at, host = rest.rpartition("@")
    safe = f"{scheme}{separator}{credentials.partition(':')[0]}{at}{host}" if at else address
    kept = "&".join(part for part in query.split("&") if not part.lower().startswith("password="))
    return f"{safe}{question}{kept}" if kept else safe


def changed_settings(old: CommandConfig, new: CommandConfig) -> list[str]:
    """`section.key: old -> new` of all that a resumed run may not change: everything but [machine] and passwords."""
    before, after = (config.model_dump(mode="json") for config in (old, new))
    for tree in (before, after):
        if storage := tree.get("search", {}).get("storage"):
            tree["search"]["storage"] = without_password(storage)
    return [
        f"{section}.{key}: {before[section][key]} -> {value}"
        for section, values in after.items()
        if section != "machine"
        for key, value in values.items()
        if before[section][key] != value
    ]


def _keys_of(kind: type[CommandConfig]) -> dict[str, set[str]]:
    return {
        name: set(field.annotation.model_fields)
        for name, field in kind.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings)
    }


def _parse_value(text: str, kind: type[CommandConfig], section: str, key: str) -> Any:
    """A TOML value; plain text where it is none, or where the setting is a text."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    model = kind.model_fields[section].annotation
    assert model is not None
    wants_text = model.model_fields[key].annotation in (str, str | None)
    return text if wants_text and not isinstance(value, str) else value


def _one_line(error: ValidationError) -> str:
    problems = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        rule = item["msg"].removeprefix("Value error, ")
        value = "" if item["type"] in ("missing", "value_error") else f"={item['input']!r}"
        problems.append(f"{where}{value}: {rule}" if where else rule)
    return "invalid setting " + "; ".join(problems)
