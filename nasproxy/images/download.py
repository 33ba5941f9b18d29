"""The error for a data set that cannot be downloaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from nasproxy.errors import DataError


@contextmanager
def downloading(name: str, data_dir: Path, remedy: str) -> Iterator[None]:
    """Creates the data folder, and turns a failed download in its body into an error that names a remedy.

    Args:
        name: name of the data set.
        data_dir: target folder.
        remedy: what to put there manually.

    Raises:
        DataError: no network, or files that are not those of the data set.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except (OSError, RuntimeError, HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{name} is not, or not whole, in {data_dir} and cannot be downloaded ({reason}); connect to the network, "
            f"or put {remedy} (--data-dir)"
        ) from None
