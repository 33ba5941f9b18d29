"""Comparisons by name: settings to start from."""

from collections.abc import Mapping
from dataclasses import dataclass

from nasproxy.config import Tree, merge_layers, split_names
from nasproxy.errors import unknown_name


@dataclass(frozen=True)
class Preset:
    """Settings to start from."""

    summary: str
    settings: Tree


PRESETS: Mapping[str, Preset] = {
    "table5": Preset(
        "Zhao & Bilen, WACV 2023, Table 5: one GPU, days for the truth",
        {
            "images": {"dataset": "cifar10"},
            "compare": {"proxies": ["random", "dsa", "dm", "early-stop"], "space": "convnet720", "seeds": 5},
            "condense": {"images_per_class": 50},
        },
    ),
    "two-cores": Preset(
        "the same question in ninety minutes of two CPU cores: 60 narrow nets, 10 images per class, two sets a method",
        {
            "images": {"dataset": "fashion-mnist"},
            "compare": {
                "proxies": ["dm", "dsa", "random", "herding", "early-stop", "params", "flops", "synflow", "naswot"],
                "space": "convnet-narrow",
                "truth": "convnet-narrow-fashion",
                "seeds": 2,
                "sets": 2,
                "top": 0.2,
                "combine": ["average", "fitted"],
                "per_method": {"dm": {"steps": 1500}, "dsa": {"steps": 250}},
            },
            "condense": {"images_per_class": 10, "embedding_net": "w32-d3-instance-relu-avg"},
            "recipe": {"epochs": 100},
        },
    ),
    "demo": Preset(
        "what `nasproxy demo` does: the built-in digits, three minutes",
        {
            "images": {"dataset": "digits"},
            "compare": {
                "proxies": ["dm", "random", "params", "naswot"],
                "space": "convnet-mini",
                "seeds": 2,
                "top": 0.25,
                "per_method": {"dm": {"steps": 200, "real_batch_size": 64}},
            },
            "condense": {"images_per_class": 10, "embedding_net": "w64-d2-instance-relu-avg"},
            "recipe": {"epochs": 100},
            "truth_recipe": {"epochs": 20},
        },
    ),
}
"""Presets of `nasproxy compare`; what is asked for beside one wins over it."""


def start_from_preset(name: str, given: Tree) -> Tree:
    """The settings of a preset under those that are asked for; methods that are not compared then lose theirs.

    Raises:
        SettingsError: an unknown name (the nearest is named).
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    settings = PRESETS[name].settings
    if proxies := given.get("compare", {}).get("proxies"):
        own = settings["compare"].get("per_method", {})
        left = {method: own[method] for method in own.keys() & set(split_names(proxies))}
        settings = settings | {"compare": settings["compare"] | {"per_method": left}}
    return merge_layers(settings, given)
