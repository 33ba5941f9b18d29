"""`nasproxy predict`: classify images with a trained network."""

import csv
import sys
from pathlib import Path
from typing import Annotated

import typer

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.printing import print_json

BROKEN_IMAGES = 3
"""Exit code where some images could not be decoded."""


def predict(
    model: Annotated[str, options.run_argument("A run of 'nasproxy train', or a model.json.", metavar="MODEL")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files, or folders of them.")],
    device: Annotated[str, options.run_option(metavar="NAME", help="cpu, cuda, cuda:N or auto. Default: cpu.")] = "cpu",
    runs_dir: options.RunsDir = options.RUNS_DIR,
    verbose: options.Verbose = None,
    json: options.Json = False,
) -> None:
    """Classify images: file, class and probability as CSV; with --json the probability of every class.

    Images are resized, cropped and converted as the training images were.
    """
    with nap.Talk(verbose=verbose) as talk:
        loaded = nap.Runs(runs_dir).model(model, device=device)
        predictions, broken = loaded.predict_files(images, progress=talk.progress)
        for path, reason in broken.items():
            talk.warn(f"cannot decode {path}: {reason}")
    if json:
        print_json(
            [
                {
                    "file": str(one.path),
                    "class": one.label,
                    "probability": one.probability,
                    "probabilities": dict(zip(loaded.classes, one.probabilities, strict=True)),
                }
                for one in predictions
            ]
        )
    else:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["file", "class", "probability"])
        writer.writerows((one.path, one.label, f"{one.probability:.6f}") for one in predictions)
    if broken:
        raise typer.Exit(BROKEN_IMAGES)
