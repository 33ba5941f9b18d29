"""Where runs lie, and who is told about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nasproxy.config import CommandConfig, CondenseConfig, ImageSettings, dump_config
from nasproxy.errors import RunError
from nasproxy.rundir import RunDir, check_plain, create_run
from nasproxy.talk import Listener

if TYPE_CHECKING:
    from nasproxy.images import ImageData


@dataclass(frozen=True)
class Place:
    """Where runs lie, and who is told about them."""

    root: Path
    """Folder of all runs."""
    listener: Listener

    def load_images(self, settings: ImageSettings) -> "ImageData":
        """Images, with the progress of reading them.

        Raises:
            NasproxyError: see `load_images`.
        """
        from nasproxy.images import load_images  # only here: it loads torch

        return load_images(settings=settings, progress=self.listener)

    def tell_images(self, data: "ImageData") -> None:
        """Says what was read, once all that can be refused at once is checked."""
        if skipped := data.describe_skipped():
            self.listener.warn(skipped)
        self.listener.say(f"{data.name}: {data.describe()}")

    def check_name(self, name: str, command: str) -> None:
        """Refuses a name that no new run of a command can have, whether or not a run has it.

        Raises:
            RunError: it is no plain folder name, or means a proxy.
        """
        from nasproxy.proxies import COMPOSITES, PROXIES  # only here: it loads torch

        check_plain(name)
        if name in COMPOSITES or (command == CondenseConfig.command and name in PROXIES):
            raise RunError(f"run name {name!r} means a proxy of its own in 'ls proxies'; choose another --name")

    def begin_run(
        self,
        config: CommandConfig,
        parents: Mapping[str, str],
        default_name: str,
        *,
        name: str | None,
        resume: RunDir | None = None,
    ) -> RunDir:
        """A new run folder, or the one that goes on.

        Args:
            config: all settings.
            parents: what the run is made from: role -> hash.
            default_name: what a nameless run is called.
            name: of a new run; None: `default_name`, numbered where that exists.
            resume: the run that goes on; None: a new one.

        Raises:
            RunError: the name is taken or no plain folder name; or `resume` was made from something else.
        """
        if name is not None and resume is None:
            self.check_name(name, config.command)
        text = dump_config(config)
        run = resume or create_run(
            self.root, name, default_name, command=config.command, config_text=text, parents=parents
        )
        run.check_parents(parents)
        return run
