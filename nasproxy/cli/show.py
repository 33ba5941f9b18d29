"""`nasproxy show`: one run."""

from typing import Annotated

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.printing import print_json


def show(
    run: Annotated[str, options.run_argument("Any run.")] = nap.LAST,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    json: options.Json = False,
) -> None:
    """Show how a run was made: settings, versions, parents, status, times, files."""
    found = nap.Runs(runs_dir).find(run)
    meta = {**found.meta, "status": found.status}
    files = sorted(path.name for path in found.path.iterdir() if not path.name.startswith("."))
    if json:
        print_json({"meta": meta, "config": found.read_config(), "files": files})
        return
    for key, value in meta.items():
        if value not in (None, {}, []):
            print(f"{key}: {nap.printable(str(value))}")
    print(f"files: {', '.join(files)}\n\n{found.config_path.read_text(encoding='utf-8')}", end="")
