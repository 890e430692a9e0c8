"""Where commands write: never over their input, and nothing of an earlier run that could pass for a new result."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from aiida_hamlr.plotting.formats import check_suffix

#: Written beside the output of every command.
SUMMARY = 'summary.json'

#: What follows from a Hamiltonian: bands along a path, and all other properties that are arrays.
BANDS, PROPERTIES = 'bands.h5', 'properties.h5'

#: First bytes of the files that commands write.
_STARTS = {'HDF5': b'\x89HDF', 'JSON': b'{'}

#: Names that are safe as those of folders: no separators, nothing hidden, nothing that leads out of a folder.
_SAFE_NAME = re.compile(r'\w[\w.+=@ -]{0,199}')


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path | None], figure: Path | None = None):
    """Look, before any work, whether a command may and can write.

    Parameters
    ----------
    outputs : paths
        HDF5 files, or folders.
    inputs : paths
        Files or folders; those that are None do not count.
    figure : path, optional
        Another output: a PNG, SVG or PDF file.

    Raises
    ------
    ValueError
        If an output is an input or the summary, two are the same, a file that is not HDF5 would be replaced by one that
        is, or the suffix of the figure is unknown.
    OSError
        If the folder of an output cannot be made, or no file in it.
    """
    read = [path for path in inputs if path]
    for path in outputs:
        check_replaceable(path, 'HDF5')
    if figure is not None:
        check_suffix(figure)
    written = [*outputs, *([figure] if figure else [])]
    for path in written:
        check_folder(path.parent)
        if path.name == SUMMARY:
            raise ValueError(f'{path}: {SUMMARY} is the name of the summary; give another name for the output')
    check_overwriting(written, read)
    for index, path in enumerate(written):
        if any(_same(path, other) for other in written[:index]):
            raise ValueError(f'{path}: given for two outputs')
    for path in read:
        if any(_same(path, summary_path(output)) for output in written):
            raise ValueError(f'{path}: would be replaced by the summary; write the output into another folder')


def check_overwriting(outputs: Iterable[Path], inputs: Iterable[Path]):
    """Raise ``ValueError`` if an output is an input, also through links."""
    known = {_identity(path) for path in inputs}
    for path in outputs:
        if _identity(path) in known:
            raise ValueError(f'{path}: is both input and output; give another name for the output')


def check_folder(folder: Path):
    """Raise ``ValueError`` if a folder of outputs is a file or below one, ``OSError`` if no file can be made in it."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise ValueError(f'{existing}: is a file, and the output needs a folder of this name; give another output')
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = f'no file can be written in this folder ({error.strerror}); give another output'
        raise OSError(error.errno, reason, str(existing)) from error


def check_outside(output: Path, model: Path):
    """Raise ``ValueError`` if a folder of outputs is a model folder or in one."""
    if output.resolve().is_relative_to(model.resolve()):
        raise ValueError(f'{output}: is in the model folder {model}; give another folder for the output')


def check_replaceable(path: Path, kind: str):
    """Raise ``ValueError`` if a file with content of another kind, 'HDF5' or 'JSON', would be replaced."""
    if not path.is_file():
        return
    with path.open('rb') as stream:
        start = stream.read(len(_STARTS[kind]))
    if start and start != _STARTS[kind]:
        raise ValueError(
            f'{path}: exists and is not {kind}, so the output does not replace it; give another name for the output'
        )


def summary_path(output: str | Path) -> Path:
    """``summary.json`` beside an output file."""
    return Path(output).resolve().parent / SUMMARY


def remove_earlier(paths: Iterable[str | Path]):
    """Remove files of an earlier run, before a run begins that may end without them."""
    for path in map(Path, paths):
        if path.is_file():
            path.unlink()


def folder_names(stems: Sequence[str]) -> list[str]:
    """Names of folders for several results: the stems if these are unique and safe, else running numbers."""
    plain = [stem.casefold() for stem in stems]
    safe = all(_SAFE_NAME.fullmatch(stem) and stem == stem.strip(' .') for stem in plain)
    if safe and len(set(plain)) == len(plain) and SUMMARY not in plain:
        return list(stems)
    width = len(str(len(stems) - 1))
    return [f'{index:0{width}d}' for index in range(len(stems))]


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and its folders; none if there is no such folder."""
    return [path for path in folder.rglob('*') if path.is_file()]


def _same(path: Path, other: Path) -> bool:
    """Whether two paths name the same file, also through links."""
    return _identity(path) == _identity(other)


def _identity(path: Path) -> tuple[int, int] | Path:
    """What two paths of one file have in common."""
    try:
        found = os.stat(path)
    except OSError:
        return Path(path).resolve()
    return found.st_dev, found.st_ino
