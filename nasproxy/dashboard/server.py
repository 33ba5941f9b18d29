"""Optuna's dashboard on 127.0.0.1, behind a guard (`guard.py`).

Not optuna-dashboard's own server: that one loses a Ctrl-C which comes while it answers, and answers one at a time.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from socketserver import ThreadingMixIn
from tempfile import TemporaryDirectory
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna_dashboard
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import BaseStorage

from nasproxy.comparing import Comparison
from nasproxy.dashboard.guard import Guard
from nasproxy.dashboard.snapshot import Snapshot
from nasproxy.errors import StudyNotFoundError
from nasproxy.store import find_study
from nasproxy.trials import Trials


class Dashboard:
    """The Optuna dashboard, as a context: made, it listens; left, it is closed.

    Made by `of_search`, `of_searches` or `of_comparison`.
    """

    def __init__(
        self,
        storage: BaseStorage,
        first_study: int,
        wanted_port: int,
        artifacts: FileSystemArtifactStore | None = None,
        on_close: Callable[[], None] = lambda: None,
        *,
        allow_changes: bool = False,
    ) -> None:
        self._storage = storage
        self._first_study = first_study
        self._on_close = on_close
        app = optuna_dashboard.wsgi(storage, artifact_store=artifacts)
        self._server = _listen(Guard(app, allow_changes=allow_changes), wanted_port)

    @classmethod
    def of_search(cls, name: str, url: str, wanted_port: int, *, allow_changes: bool = False) -> Self:
        """Of one search, on its own record: it follows a search that runs, and changes that are allowed stay.

        Args:
            name: of the study.
            url: Optuna storage URL.
            wanted_port: where to listen; any free port if it is taken.
            allow_changes: whether notes, renaming and deleting are let through.

        Raises:
            StudyNotFoundError: no such study.
            InputError: the storage cannot be reached.
        """
        storage, study_id = find_study(name, url)
        return cls(storage, study_id, wanted_port, allow_changes=allow_changes)

    @classmethod
    def of_searches(cls, searches: Sequence[Trials], wanted_port: int, *, allow_changes: bool = False) -> Self:
        """Of searches as they are now, with a note on each study and trial; changes are never kept.

        Ids of studies: with several searches 0 has all of them side by side, and 1, 2, ... are the searches in the
        order given; one search is 0.

        Args:
            searches: at least one, all in one space.
            wanted_port: where to listen; any free port if it is taken.
            allow_changes: whether they are let through, until the dashboard is closed.

        Raises:
            InputError: the searches are in different spaces.
            SettingsError: two searches have one name.
        """
        return cls._of_snapshot(lambda snapshot: snapshot.add_searches(searches), wanted_port, allow_changes)

    @classmethod
    def of_comparison(
        cls,
        name: str,
        comparison: Comparison,
        pictures: Mapping[str, Path],
        wanted_port: int,
        *,
        allow_changes: bool = False,
    ) -> Self:
        """Of proxies beside the truth, as they are now; changes are never kept.

        Ids of studies: 0 is 'NAME: proxies beside the truth', 1 the truth, and 2, 3, ... are the proxies in the order
        of `comparison.proxies`.

        Args:
            name: of the comparison.
            comparison: truth and proxies.
            pictures: image files of proxy sets, by the name of the search that trained on them.
            wanted_port: where to listen; any free port if it is taken.
            allow_changes: whether they are let through, until the dashboard is closed.

        Raises:
            InputError: a picture cannot be read.
            SettingsError: two searches have one name.
        """
        return cls._of_snapshot(
            lambda snapshot: snapshot.add_comparison(name, comparison, pictures), wanted_port, allow_changes
        )

    @classmethod
    def _of_snapshot(cls, fill: Callable[[Snapshot], None], wanted_port: int, allow_changes: bool) -> Self:
        with ExitStack() as stack:
            snapshot = Snapshot(Path(stack.enter_context(TemporaryDirectory(prefix="nasproxy-"))))
            fill(snapshot)
            dashboard = cls(snapshot.storage, 0, wanted_port, snapshot.artifacts, allow_changes=allow_changes)
            dashboard._on_close = stack.pop_all().close
        return dashboard

    @property
    def address(self) -> str:
        """Where a browser finds the first study."""
        return self._address(self._first_study)

    def address_of(self, study_name: str) -> str:
        """Where a browser finds a study.

        Raises:
            StudyNotFoundError: no such study.
        """
        try:
            return self._address(self._storage.get_study_id_from_name(study_name))
        except KeyError:
            names = ", ".join(study.study_name for study in self._storage.get_all_studies())
            raise StudyNotFoundError(f"no study {study_name!r} in the dashboard; it has {names}") from None

    def _address(self, study_id: int) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/dashboard/studies/{study_id}"

    def serve(self) -> None:
        """Answers until interrupted, or until `stop` from another thread."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            thread.join()
        finally:
            self._server.shutdown()

    def stop(self) -> None:
        """Ends `serve`, which must have begun."""
        self._server.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.server_close()
        self._on_close()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """A line for every request of a page that polls is noise."""


def _listen(app: Any, wanted_port: int) -> WSGIServer:
    try:
        return make_server("127.0.0.1", wanted_port, app, _Server, _SilentHandler)
    except OSError:
        return make_server("127.0.0.1", 0, app, _Server, _SilentHandler)
