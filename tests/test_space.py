from pathlib import Path

import pytest
import torch
from torch import nn

from nasproxy.errors import InputError, SettingsError, SpaceError
from nasproxy.space import SearchSpace, build, load_builder
from nasproxy.spacefile import list_spaces, load_space

BUILDER_FILE = """
from torch import nn

def build(arch, image_shape, num_classes):
    channels, height, width = image_shape
    sizes = [channels * height * width] + [arch.factors["units"]] * arch.factors["layers"] + [num_classes]
    layers = [nn.Linear(a, b, bias=arch.factors["bias"]) for a, b in zip(sizes, sizes[1:])]
    return nn.Sequential(nn.Flatten(), *layers)
"""
MLPS = """
name = "mlps"
size = 6
builder = "builder.py:build"
arch_id = "u{units}-l{layers}-{bias}"
[factors]
units = [3, 5]
layers = [1, 2]
bias = [true, false]
[[exclude]]
layers = 2
bias = false
"""


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "space.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def mlps(tmp_path: Path) -> SearchSpace:
    (tmp_path / "builder.py").write_text(BUILDER_FILE, encoding="utf-8")
    return load_space(_write(tmp_path, MLPS))


@pytest.mark.parametrize(
    ("name", "size"), [("convnet720", 720), ("convnet-mini", 24), ("nasbench201", 6_461), ("nasbench-macro", 3_969)]
)
def test_shipped_space_has_its_size_and_unique_ids(name: str, size: int) -> None:
    space = load_space(name)
    assert space.name == name
    assert len(space) == size
    assert len({arch.id for arch in space.archs()}) == size


@pytest.mark.parametrize("name", list_spaces())
def test_every_shipped_file_loads_under_its_own_name(name: str) -> None:
    assert load_space(name).name == name


def test_mini_space_is_part_of_the_720(mini_space: SearchSpace) -> None:
    assert set(mini_space.archs()) < set(load_space("convnet720").archs())


def test_last_factor_varies_fastest() -> None:
    ids = [arch.id for arch in load_space("convnet720").archs()]
    assert ids[:4] == [
        "w32-d1-none-sigmoid-none",
        "w32-d1-none-sigmoid-max",
        "w32-d1-none-sigmoid-avg",
        "w32-d1-none-relu-none",
    ]
    assert ids[-1] == "w256-d4-group-leakyrelu-avg"


def test_pick_keeps_the_order_and_drops_repeats(mini_space: SearchSpace) -> None:
    ids = ["w32-d3-none-relu-max", "w32-d1-instance-sigmoid-avg"]
    picked = mini_space.pick([*ids, ids[0]])
    assert [arch.id for arch in picked] == ids
    assert picked[0].factors == {"width": 32, "depth": 3, "norm": "none", "activation": "relu", "pooling": "max"}


def test_pick_names_the_nearest_of_an_unknown_id(mini_space: SearchSpace) -> None:
    with pytest.raises(
        SettingsError, match=r"space convnet-mini 'w32-d3-none-rel-max': did you mean 'w32-d3-none-relu"
    ):
        mini_space.pick(["w32-d1-none-relu-max", "w32-d3-none-rel-max"])


def test_shuffled_is_a_permutation_that_depends_on_the_seed_only(mini_space: SearchSpace) -> None:
    archs = mini_space.archs()
    first, again, other = mini_space.shuffled(0), load_space("convnet-mini").shuffled(0), mini_space.shuffled(1)
    assert first == again
    assert first != other
    assert first != archs
    for order in (first, other):
        assert sorted(arch.id for arch in order) == sorted(arch.id for arch in archs)


def test_exclude_rule_leaves_out_only_what_matches_all_its_factors(mlps: SearchSpace) -> None:
    assert [arch.id for arch in mlps.archs()] == [
        "u3-l1-True",
        "u3-l1-False",
        "u3-l2-True",
        "u5-l1-True",
        "u5-l1-False",
        "u5-l2-True",
    ]


def test_exclude_rule_with_a_list_means_any_of_it(tmp_path: Path) -> None:
    text = 'size = 4\nbuilder = "m:f"\n[factors]\na = [1, 2, 3]\nb = ["x", "y"]\n[[exclude]]\na = [1, 3]\nb = "y"\n'
    space = load_space(_write(tmp_path, text))
    assert [arch.id for arch in space.archs()] == ["a=1-b=x", "a=2-b=x", "a=2-b=y", "a=3-b=x"]


def test_name_and_arch_id_have_defaults(tmp_path: Path) -> None:
    space = load_space(_write(tmp_path, 'size = 1\nbuilder = "m:f"\n[factors]\na = [1]\nb = ["x"]\n'))
    assert space.name == "space"
    assert space.archs()[0].id == "a=1-b=x"


PAIRS_FILE = """
from nasproxy.errors import ArchError

def build(arch, image_shape, num_classes):
    raise AssertionError("built")

def canonical(factors):
    if factors["a"] == factors["b"] == 3:
        raise ArchError("3 and 3 are too much")
    return frozenset(factors.values())

def alias(text):
    if not text.startswith("pair "):
        return None
    if text.count(",") != 1:
        raise ArchError(f"{text!r} is no pair; write 'pair 1,2'")
    return dict(zip("ab", map(int, text.removeprefix("pair ").split(","))))

def costs(arch, image_shape, num_classes):
    return arch.factors["a"] * num_classes, image_shape[0]
"""
PAIRS = """
size = 5
builder = "pairs.py:build"
canonical = "pairs.py:canonical"
alias = "pairs.py:alias"
costs = "pairs.py:costs"
arch_id = "{a}{b}"
[factors]
a = [1, 2, 3]
b = [1, 2, 3]
"""


@pytest.fixture
def pairs(tmp_path: Path) -> SearchSpace:
    (tmp_path / "pairs.py").write_text(PAIRS_FILE, encoding="utf-8")
    return load_space(_write(tmp_path, PAIRS))


def test_of_equal_architectures_the_first_stands_for_all(pairs: SearchSpace) -> None:
    assert [arch.id for arch in pairs.archs()] == ["11", "12", "13", "22", "23"]
    assert [arch.id for arch in pairs.pick(["21", "12", "32", "11"])] == ["12", "23", "11"]
    found = pairs.standing_for("31")
    assert found is not None
    assert (found.id, found.factors) == ("13", {"a": 1, "b": 3})
    assert pairs.standing_for("33") is None


def test_what_the_canonical_form_refuses_is_left_out_with_its_reason(pairs: SearchSpace) -> None:
    assert pairs.left_out == {"33": "3 and 3 are too much"}
    for arch_id in ("33", "pair 3,3"):
        with pytest.raises(
            SettingsError, match=f"'{arch_id}' is left out of space space: 3 and 3 are too much; choose"
        ):
            pairs.pick([arch_id])


def test_an_id_that_people_know_is_read_wherever_ids_are(pairs: SearchSpace) -> None:
    assert [arch.id for arch in pairs.pick(["pair 3,1", "22", "pair 2,2"])] == ["13", "22"]
    with pytest.raises(SettingsError, match=r"space space: 'pair 3' is no pair; write 'pair 1,2'"):
        pairs.find("pair 3")
    with pytest.raises(SettingsError, match=r"unknown architecture of space space 'pair 3,4'.*choose from 11, 12"):
        pairs.find("pair 3,4")
    with pytest.raises(SettingsError, match="unknown architecture of space space '44'"):
        pairs.find("44")


def test_the_content_hash_is_of_the_architectures_that_stand(pairs: SearchSpace, tmp_path: Path) -> None:
    again = load_space(_write(tmp_path, PAIRS.replace("pairs.py:canonical", f"{tmp_path}/pairs.py:canonical")))
    assert again.content_hash() == pairs.content_hash()
    everything = load_space(_write(tmp_path, PAIRS.replace("size = 5", "size = 9").replace("canonical", "#canonical")))
    assert len(everything) == 9
    assert everything.content_hash() != pairs.content_hash()


def test_a_function_that_cannot_be_imported_is_named_with_its_key(tmp_path: Path) -> None:
    (tmp_path / "pairs.py").write_text(PAIRS_FILE, encoding="utf-8")
    with pytest.raises(SpaceError, match=r"canonical '.*pairs.py:nothing' cannot be imported: .*nothing"):
        load_space(_write(tmp_path, PAIRS.replace("pairs.py:canonical", "pairs.py:nothing")))


@pytest.mark.parametrize("body", ["int('x')", "[1]"])
def test_a_canonical_form_that_fails_is_a_space_error(body: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.py").write_text(f"{PAIRS_FILE}\ndef broken(factors):\n    return {body}\n", encoding="utf-8")
    with pytest.raises(SpaceError, match=r"canonical '.*pairs.py:broken' fails for 11: (Value|Type)Error: .*correct"):
        load_space(_write(tmp_path, PAIRS.replace("pairs.py:canonical", "pairs.py:broken")))


def test_an_error_that_could_name_thousands_names_a_few() -> None:
    with pytest.raises(SettingsError, match=r"choose from 33-333-333, .*\.\.\. \(3,969 in all\)$") as caught:
        load_space("nasbench-macro").pick(["33-333-33x"])
    assert len(str(caught.value)) < 200


def test_builder_file_beside_the_space_builds_nets(mlps: SearchSpace, tmp_path: Path) -> None:
    arch = mlps.pick(["u5-l2-True"])[0]
    assert arch.builder == f"{tmp_path / 'builder.py'}:build"
    net = build(arch, (1, 2, 3), 4)
    assert [tuple(p.shape) for p in net.parameters()] == [(5, 6), (5,), (5, 5), (5,), (4, 5), (4,)]
    assert net(torch.zeros(7, 1, 2, 3)).shape == (7, 4)


def test_builder_in_a_module_is_imported() -> None:
    builder: object = load_builder("torch.nn:Linear")
    assert builder is nn.Linear


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            """
            bilder = "m:f"
            arch_id = "{a}-{bb}-{cccc}"
            [factors]
            a = [1, 2, 1]
            bbb = 3
            empty = []
            nested = [[1]]
            [[exclude]]
            nestd = 1
            """,
            [
                "unknown key 'bilder': did you mean 'builder'?",
                "the key 'builder' is missing",
                "factor 'a' has the value 1 twice",
                "factor 'bbb' must be a list of at least one value, or a range, not 3",
                "factor 'empty' must be a list of at least one value, or a range, not []",
                "factor 'nested': [1] is neither text, number nor boolean",
                "unknown factor in exclude 'nestd': did you mean 'nested'?",
                "unknown factor in arch_id 'bb': did you mean 'bbb'?",
                "unknown factor in arch_id 'cccc'",
            ],
        ),
        ('size = 1\nbuilder = "m:f"\n[factors]\nstate = ["a"]', ["factor 'state' has the name of a column"]),
        ("", ["the key 'builder' is missing", "the key 'factors' is missing"]),
        ('size = 5\nbuilder = "m:f"\n[factors]\na = [1, 2]', ["size = 5 but its factors span 2 architectures"]),
        ('size = 2\nbuilder = "m:f"\narch_id = "x"\n[factors]\na = [1, 2]', ["arch_id gives 'x' twice"]),
        ('size = 1\nbuilder = "m:f"\nfactors = 3', ["factors"]),
        ('size = 1\nbuilder = 3\n[factors]\na = [1]', ["builder"]),
        ('size = 1\nbuilder = "m:f"\narch_id = 3\n[factors]\na = [1]', ["arch_id"]),
        ('size = 1\nbuilder = "m:f"\narch_id = "{a"\n[factors]\na = [1]', ["arch_id"]),
        ('size = 1\nbuilder = "m:f"\narch_id = "{a:q}"\n[factors]\na = [1]', ["arch_id"]),
        ('size = 1\nbuilder = "m:f"\nexclude = 3\n[factors]\na = [1]', ["exclude"]),
        ('size = 1\nbuilder = "m:f"\nexclude = [3]\n[factors]\na = [1]', ["exclude"]),
        ('size = 1\nbuilder = "m:f"\nalias = "f"\n[factors]\na = [1]', ["alias 'f' is no import path: write module:f"]),
        ('size = 1\nbuilder = "m:f"\ncanonical = 3\n[factors]\na = [1]', ["'canonical' must be text"]),
    ],
    ids=[
        "everything at once", "reserved factor", "empty file",
        "size", "repeated id", "factors no table", "builder no text",
        "arch_id no text", "arch_id unclosed", "arch_id format", "exclude no list", "exclude no tables",
        "alias no path", "canonical no text",
    ],
)  # fmt: skip
def test_space_file_that_contradicts_itself_names_every_problem(text: str, problems: list[str], tmp_path: Path) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(SpaceError) as caught:
        load_space(path)
    message = str(caught.value)
    assert message.startswith(f"search space {path}: ")
    for problem in problems:
        assert problem in message


def test_space_file_that_is_no_toml_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no valid TOML"):
        load_space(_write(tmp_path, "size ="))


def test_missing_space_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*nothing\.toml: No such file"):
        load_space(tmp_path / "nothing.toml")


def test_unknown_space_name_gives_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"'convnet721': did you mean 'convnet720'\?.* convnet-mini"):
        load_space("convnet721")


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (None, "no_colon"),
        (None, "no.such.module:build"),
        (None, "torch.nn:NoSuchLayer"),
        (None, ":build"),
        (None, ".relative:build"),
        (None, "missing.py:build"),
        ("def build(:", "bad.py:build"),
        ("import no_such_package_anywhere", "bad.py:build"),
        ("def other(): ...", "bad.py:build"),
        ("nonsense + 1", "bad.py:build"),
    ],
)
def test_builder_that_cannot_be_imported_is_a_space_error(content: str | None, path: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "bad.py").write_text(content, encoding="utf-8")
    reference = f"{tmp_path / path}" if ".py:" in path else path
    with pytest.raises(SpaceError) as caught:
        load_builder(reference)
    assert repr(reference) in str(caught.value)
