"""Networks handed out: trained in full, chosen by validation images, loaded again as they were."""

import json
import shutil
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from PIL import Image

import nasproxy as nap
from nasproxy.errors import InputError, RunNotFoundError, SettingsError
from nasproxy.images import ImageData
from nasproxy.runs.loading import load_trials
from nasproxy.training import measure

QUICK: dict[str, Any] = {"workers": 1, "threads_per_worker": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> nap.Runs:
    return nap.Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def model(runs: nap.Runs) -> nap.Model:
    """Of the three nets with the most parameters."""
    runs.search("convnet-mini", "params", name="by-params", **QUICK)
    return runs.train("by-params", name="best", epochs=2, seeds=2, **QUICK)


@pytest.fixture(scope="module")
def files(digits: ImageData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test images as PNG files, called by their labels."""
    folder = tmp_path_factory.mktemp("images")
    for number, (image, label) in enumerate(zip(digits.test.images, digits.test.labels.tolist(), strict=True)):
        Image.fromarray(image[0].numpy()).save(folder / f"{number:04d}-{label}.png")
    return folder


def test_the_net_with_the_best_validation_accuracy_is_handed_out(runs: nap.Runs, model: nap.Model) -> None:
    trials = load_trials(runs.find("best"))
    assert len(trials) == 3
    assert {trial.arch_id for trial in trials} == set(load_trials(runs.find("by-params")).top(3))
    best = max(trials, key=lambda trial: trial.selection_score)
    net = best.selection_scores.index(max(best.selection_scores))
    assert (model.arch_id, model.about["training"]["net"]) == (best.arch_id, net)
    accuracies = model.about["accuracies"]
    assert accuracies["validation"] == best.selection_scores[net]
    assert accuracies["test"] == best.evaluation_scores[net]
    assert len(list((runs.find("best").path / "nets").iterdir())) == 6
    assert model.about["chosen"] == {
        "run": "best", "from": "top:by-params:3", "num_archs": 3, "num_seeds": 2, "num_failed": 0,
        "by": "mean validation accuracy",
    }  # fmt: skip


def test_it_is_exported_as_onnx_pixels_in_probabilities_out(
    runs: nap.Runs, model: nap.Model, digits: ImageData, tmp_path: Path
) -> None:
    runs.export_onnx("best", tmp_path / "new" / "best.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "new" / "best.onnx")
    pixels = digits.test.images[:7]
    (found,) = session.run(None, {"images": (pixels.float() / 255).numpy()})
    assert torch.allclose(torch.from_numpy(found), model.predict(pixels), atol=1e-5)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(model.classes)
    assert json.loads(metadata["arch"]) == model.arch_id
    with pytest.raises(InputError, match=r"model.json: No such file or directory; 'nasproxy train RUN'"):
        runs.export_onnx("by-params", tmp_path / "none.onnx")


def test_it_is_loaded_as_it_was_measured(model: nap.Model, digits: ImageData) -> None:
    assert measure(model.net, digits.test).accuracy == model.about["accuracies"]["test"]
    probabilities = model.predict(digits.test.images)
    assert probabilities.shape == (len(digits.test), 10)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(len(digits.test)))
    right = (probabilities.argmax(dim=1) == digits.test.labels).float().mean()
    assert float(right) == pytest.approx(model.about["accuracies"]["test"])
    torch.testing.assert_close(model.predict(digits.test.images.float() / 255), probabilities)


def test_files_are_classified_as_the_images_in_them(model: nap.Model, digits: ImageData, files: Path) -> None:
    predictions, broken = model.predict_files([files])
    assert broken == {}
    assert [one.path.name for one in predictions] == sorted(path.name for path in files.iterdir())
    right = [one.label == one.path.stem.partition("-")[2] for one in predictions]
    assert sum(right) / len(right) == pytest.approx(model.about["accuracies"]["test"])
    probabilities = model.predict(digits.test.images)
    torch.testing.assert_close(torch.tensor([one.probabilities for one in predictions]), probabilities)
    assert all(one.probability == max(one.probabilities) for one in predictions)


def test_other_sizes_and_colours_are_fitted_and_what_is_no_image_is_named(model: nap.Model, tmp_path: Path) -> None:
    Image.new("RGB", (90, 50), "red").save(tmp_path / "a.jpg")
    (tmp_path / "b.png").write_text("no image")
    (tmp_path / "notes.txt").write_text("no image either, and not called like one")
    predictions, broken = model.predict_files([tmp_path])
    assert [one.path.name for one in predictions] == ["a.jpg"]
    assert broken == {tmp_path / "b.png": "it is no image"}
    assert model.predict_files([tmp_path / "b.png"]) == ([], broken)


def test_what_cannot_be_classified_is_refused(model: nap.Model, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"images are \(2, 3, 16, 16\); this net takes \(N, C, H, W\) of \(1, 16, 16\)"
    ):
        model.predict(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    with pytest.raises(InputError, match="holds no images; name another one, or files"):
        model.predict_files([tmp_path])
    with pytest.raises(InputError, match=r"there is no .*/missing.png; name image files"):
        model.predict_files([tmp_path / "missing.png"])


def test_a_run_without_a_model_says_how_to_make_one(runs: nap.Runs, model: nap.Model) -> None:
    with pytest.raises(InputError, match=r"cannot read .*model.json: .*; 'nasproxy train RUN' makes a model"):
        runs.model("by-params")
    with pytest.raises(RunNotFoundError, match="no run 'worst'"):
        runs.model("worst")
    with pytest.raises(SettingsError, match="name a search to train the best of"):
        runs.train()
    with pytest.raises(SettingsError, match="--top 2: the run that goes on knows what it trains"):
        runs.train(resume="best", top=2)
    with pytest.raises(SettingsError, match="keep_nets: proxy 'naswot' trains no nets"):
        runs.search("convnet-mini", "naswot", keep_nets=True, **QUICK)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda folder, about: about.update(nasproxy_model=9),
            "is of format 9; this nasproxy reads format 1, train again",
        ),
        (lambda folder, about: about.pop("nasproxy_model"), "describes no model"),
        (
            lambda folder, about: about["classes"].pop(),
            r"nasproxy.nets.convnet:build no longer makes the net of .*size",
        ),
        (lambda folder, about: about["arch"].update(builder="gone:build"), "builder 'gone:build' cannot be imported"),
        (lambda folder, about: (folder / "model.safetensors").write_bytes(b"x"), "model.safetensors cannot be read"),
        (lambda folder, about: (folder / "model.safetensors").unlink(), "model.safetensors cannot be read"),
    ],
)
def test_a_damaged_model_is_one_line(model: nap.Model, tmp_path: Path, change: Any, problem: str) -> None:
    for name in ("model.json", "model.safetensors"):
        shutil.copy(model.path.parent / name, tmp_path / name)
    about = json.loads((tmp_path / "model.json").read_text())
    change(tmp_path, about)
    (tmp_path / "model.json").write_text(json.dumps(about))
    with pytest.raises(nap.NasproxyError, match=problem) as error:
        nap.load_model(tmp_path)
    assert "\n" not in str(error.value)


def test_a_training_that_is_gone_on_with_hands_out_the_same_net(runs: nap.Runs, model: nap.Model) -> None:
    folder = runs.find("best").path
    before = {name: (folder / name).read_bytes() for name in ("model.safetensors",)}
    for name in ("model.json", "model.safetensors"):
        (folder / name).unlink()
    again = runs.train(resume="best")
    assert again.about["accuracies"] == model.about["accuracies"]
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_nets_at_chance_are_not_handed_out(runs: nap.Runs, model: nap.Model) -> None:
    with pytest.raises(InputError, match=r"run worst hands out no network: none is better than guessing; train longer"):
        runs.train("by-params", top=1, name="worst", steps=1, **{**QUICK, "recipe.lr": 1e-9})
