"""`nasproxy export`: ranked architectures as a table, or a trained net as ONNX."""

from pathlib import Path
from typing import Annotated

import nasproxy as nap
from nasproxy.cli import options


def export(
    run: Annotated[str, options.run_argument("A search, a combination, or a comparison; for .onnx one with a net.")],
    output: Annotated[
        str,
        options.run_option("-o", "--output", metavar="FILE", help=".csv, .parquet, .json, .onnx; '-': CSV on stdout."),
    ] = "-",
    truth: Annotated[
        str | None,
        options.run_option(
            metavar="RUN|NAME|CSV",
            help="True accuracies to write beside: a search with --proxy whole, a name of 'ls truths', or a CSV file.",
        ),
    ] = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    verbose: options.Verbose = None,
    json: Annotated[bool, options.run_option("--json", help="With '-': JSON instead of CSV.")] = False,
) -> None:
    """Write one row per architecture, best score first; a comparison's with every proxy's score, best truth first.

    To FILE.onnx: the net that 'train' or 'find' has handed out, pixels in, probabilities out.
    """
    path = None if output == "-" else Path(output).expanduser()
    if json and path:
        raise nap.SettingsError(f"--json: the name says what is written to {output!r}; give one of both")
    if path and path.suffix == ".onnx":
        if truth is not None:
            raise nap.SettingsError("--truth: a net has no table that it could be written into; leave it out")
        nap.Runs(runs_dir).export_onnx(run, path)
        print(output)
        return
    with nap.Talk(verbose=verbose) as talk:
        frame = nap.Runs(runs_dir, progress=talk).export(run, path, truth=truth)
    if path:
        print(output)
    elif json:
        print(frame.to_json(orient="records", indent=1))
    else:
        print(nap.csv_text(frame), end="")
