"""Nets by name: any ConvNet, and the other nets of the condensation papers.

A name is a ConvNet's id ('w128-d3-batch-relu-avg'), 'auto' (the default ConvNet), or one of `ZOO` with or without a
norm after it ('resnet18-batch'). Norms are named as in the ConvNets: 'instance' is GroupNorm with one group per
channel, 'batch' is BatchNorm2d, both with weight and bias. A plain name means the family's first norm: instance, if it
has any.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from nasproxy.errors import unknown_name
from nasproxy.nets.classifier import Classifier
from nasproxy.nets.convnet import default_arch, parse_arch
from nasproxy.nets.plain import ALEXNET, LENET, MLP, VGG11, build_plain
from nasproxy.nets.resnet import RESNET18, RESNET18AP, RESNETAP10, build_resnet
from nasproxy.space import Arch

BUILDER = "nasproxy.nets.zoo:build"
ALL = "all"
"""Name for several nets, see `parse_nets`."""


@dataclass(frozen=True)
class Family:
    """The nets under one name: one per norm."""

    build: Callable[[Arch, tuple[int, int, int], int], Classifier]
    norms: tuple[str, ...]
    """Norms that may follow the name, the default first; empty: it has no norm."""
    summary: str

    @property
    def papers_norm(self) -> str:
        """The norm in the cross-architecture tables (main paper, Table 3: batch norm in all nets)."""
        return "batch" if self.norms else "none"


ZOO: Mapping[str, Family] = {
    "mlp": Family(partial(build_plain, plan=MLP), (), "two hidden layers of 128 (DC, ICLR 2021)"),
    "lenet": Family(partial(build_plain, plan=LENET), (), "LeNet with ReLU and max pooling (DC, ICLR 2021)"),
    "alexnet": Family(
        partial(build_plain, plan=ALEXNET),
        ("instance", "batch", "none"),
        "AlexNet for 32x32 images, five convolutions (DC, ICLR 2021: without norm)",
    ),
    "vgg11": Family(
        partial(build_plain, plan=VGG11), ("instance", "batch"), "VGG-11 without hidden linear layers (DC, ICLR 2021)"
    ),
    "resnet18": Family(
        partial(build_resnet, plan=RESNET18), ("instance", "batch"), "ResNet-18 with a 3x3 stem (DC, ICLR 2021)"
    ),
    "resnet18ap": Family(
        partial(build_resnet, plan=RESNET18AP),
        ("instance", "batch"),
        "ResNet-18, average pooling for strides, no global pooling (DM, WACV 2023, appendix A.1)",
    ),
    "resnetap10": Family(
        partial(build_resnet, plan=RESNETAP10),
        ("instance", "batch"),
        "ResNet with one block per stage, average pooling for strides, for 224x224 images (IDC, ICML 2022)",
    ),
}
"""Every family of nets except the ConvNets."""


def build(arch: Arch, image_shape: tuple[int, int, int], num_classes: int) -> Classifier:
    """A net of the zoo for images (C, H, W), with PyTorch's default initialisation.

    Modules with parameters are created in the order of `modules()`.

    Raises:
        ArchError: the images are too small.
    """
    return ZOO[str(arch.factors["family"])].build(arch, image_shape, num_classes)


def parse_net(name: str, image_shape: tuple[int, int, int]) -> Arch:
    """The net called `name` for images (C, H, W); whether they are large enough is checked when it is built.

    Raises:
        SettingsError: no such net (the nearest is named).
    """
    if name == "auto":
        return default_arch(image_shape)
    if re.match(r"w\d", name):
        return parse_arch(name)
    if name not in _ARCHS:
        raise unknown_name("net (a name, or a ConvNet like 'w128-d3-instance-relu-avg')", name, ["auto", *_ARCHS])
    return _ARCHS[name]


def parse_nets(names: Iterable[str], image_shape: tuple[int, int, int]) -> list[Arch]:
    """The nets of these names, each once, in their order.

    'all' stands for those of the main paper's Table 3 and the rest of the zoo: the default ConvNet with instance norm
    and with batch norm, and every family of `ZOO`, with batch norm where it has norms.

    Raises:
        SettingsError: an unknown name.
    """
    archs: list[Arch] = []
    for name in names:
        if name == ALL:
            archs += [default_arch(image_shape), default_arch(image_shape, "batch")]
            archs += [_make_arch(family, ZOO[family].papers_norm) for family in ZOO]
        else:
            archs.append(parse_net(name, image_shape))
    return list(dict.fromkeys(archs))


def _make_arch(family: str, norm: str) -> Arch:
    """A family without norms has its name as its id."""
    arch_id = f"{family}-{norm}" if ZOO[family].norms else family
    return Arch(id=arch_id, factors={"family": family, "norm": norm}, builder=BUILDER)


def _name_archs() -> dict[str, Arch]:
    """Every name of a net of the zoo."""
    named: dict[str, Arch] = {}
    for name, family in ZOO.items():
        for norm in family.norms or ("none",):
            arch = _make_arch(name, norm)
            named.setdefault(name, arch)
            named[arch.id] = arch
    return named


_ARCHS = _name_archs()
