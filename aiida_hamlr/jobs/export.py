"""`hamlr export`: Hamiltonian files in the formats of other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.io.exchange import FORMATS, find_format
from aiida_hamlr.io.structure_notes import structure_notes
from aiida_hamlr.jobs.outputs import SUMMARY, check_overwriting, files_below, folder_names, remove_earlier
from aiida_hamlr.jobs.progress import log
from aiida_hamlr.jobs.summary import JobSummary

#: Names of the formats, for commands that must not load what the formats need.
NAMES = tuple(FORMATS)


def export_hamiltonians(
    hamiltonians: Sequence[Hamiltonian], names: Sequence[str], format_name: str, folder: Path
) -> dict:
    """Write Hamiltonians in a foreign format.

    Parameters
    ----------
    hamiltonians : sequence of Hamiltonian
        With ``hamiltonian`` and ``overlap``.
    names : sequence of str
        Of the subfolders if there are several and the format holds one structure; DeePTB's have numbers.
    format_name : str
        One of ``NAMES``.
    folder : path
        For the files.

    Returns
    -------
    dict
        ``folders`` written to, and ``not_carried``: matrices, labels and parts of the structure that the format does
        not hold.

    Raises
    ------
    ValueError
        If a matrix is missing, or the format cannot hold a Hamiltonian; the message says which.
    """
    item = find_format(format_name)
    for hamiltonian, name in zip(hamiltonians, names, strict=True):
        missing = [key for key in ('hamiltonian', 'overlap') if key not in hamiltonian.matrices]
        if missing:
            raise ValueError(f'{name}: holds no {" and no ".join(missing)}, so there is nothing to export')
    folders = [folder]
    if item.joins:
        item.write(list(hamiltonians), folder)
    else:
        if len(hamiltonians) > 1:
            numbered = [f'{item.subfolder}{index}' for index in range(len(names))]
            folders = [folder / name for name in (numbered if item.subfolder else folder_names(names))]
        if item.write_together and len(hamiltonians) > 1:
            item.write_together(hamiltonians, folder)
        for hamiltonian, target in zip(hamiltonians, folders, strict=True):
            item.write(hamiltonian, target)
    held = {*item.carries}
    not_carried = {key for each in hamiltonians for key in _content(each) if key not in held}
    return {'folders': [str(target) for target in folders], 'not_carried': sorted(not_carried)}


def _content(hamiltonian: Hamiltonian) -> tuple[str, ...]:
    """What a format may not hold."""
    return (*hamiltonian.matrices, *hamiltonian.labels, *structure_notes(hamiltonian.atoms))


def run_export(files: Sequence[Path], format_name: str, output: Path):
    """Write the files of a foreign format, and ``summary.json``, into a folder.

    Parameters
    ----------
    files : sequence of path
        Hamiltonian files; each gets a subfolder if there are several, unless the format joins them in one file.
    format_name : str
        One of ``NAMES``.
    output : path
        Folder to write.

    Raises
    ------
    ValueError
        If a file is no Hamiltonian file, or the format cannot hold it.
    """
    summary = JobSummary('export')
    find_format(format_name)
    if output.exists() and not output.is_dir():
        raise ValueError(f'{output}: is a file; -o names the folder for the files of the format')
    check_overwriting(files, [output / SUMMARY, *files_below(output)])
    hamiltonians = [Hamiltonian.read(path) for path in files]
    remove_earlier([output / SUMMARY])
    names = [path.stem for path in files]
    found = export_hamiltonians(hamiltonians, names, format_name, output)
    if found['not_carried']:
        log(f'not carried by {format_name}: {", ".join(found["not_carried"])}')
    summary |= {'format': format_name, 'inputs': [str(path) for path in files], **found}
    summary.write(output / SUMMARY)
    log(f'{len(files)} Hamiltonian{"s" if len(files) > 1 else ""} written to {output} in the format {format_name}')
