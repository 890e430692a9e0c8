"""Reading the folder of a job that ran without AiiDA."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from aiida.orm import RemoteData

from aiida_hamlr.electronic.reading import read_text
from aiida_hamlr.jobs.yaml_files import LARGEST, parse_yaml

__all__ = ('OutsideFolder', 'open_folder')


class OutsideFolder:
    """The folder of a job that ran without AiiDA, and the files fetched from it.

    :param remote_data: the folder.
    :param transport: an open connection to its computer.
    :param scratch: local folder for fetched files.
    """

    def __init__(self, remote_data: RemoteData, transport, scratch: Path):
        self.computer = remote_data.computer
        self.path = PurePosixPath(remote_data.get_remote_path())
        self._transport = transport
        self._scratch = scratch

    def resolve(self, name: str) -> PurePosixPath:
        """Return the absolute path of a file; its name may be absolute or point outside the folder."""
        return PurePosixPath(self._transport.normalize(str(self.path / name)))

    def fetch(self, name: str, filename: str | None = None) -> Path:
        """Return a local copy of a file.

        :param filename: name of the copy; by default the name of the file.
        :raises ValueError: if the file does not exist.
        """
        source = self.path / name
        if not self._transport.isfile(str(source)):
            raise ValueError(f'{source} on {self.computer.label}: no such file')
        target = self._scratch / (filename or source.name)
        self._transport.getfile(str(source), str(target))
        return target

    def load_config(self, filename: str) -> dict:
        """Return the content of a configuration in YAML.

        :raises ValueError: if the file does not exist, or its content is not a mapping.
        """
        return parse_yaml(read_text(self.fetch(filename), LARGEST), str(self.path / filename))


@contextmanager
def open_folder(remote_data: RemoteData) -> Iterator[OutsideFolder]:
    """Yield the folder of a job, through an open connection."""
    with tempfile.TemporaryDirectory() as scratch, remote_data.get_authinfo().get_transport() as transport:
        yield OutsideFolder(remote_data, transport, Path(scratch))
