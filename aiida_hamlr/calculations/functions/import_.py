"""Make a Hamiltonian node from files of another program."""

from __future__ import annotations

import tempfile
from pathlib import Path

from aiida.engine import ExitCode, calcfunction
from aiida.orm import Dict, FolderData, SinglefileData
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_hamlr.data.basis import BasisData
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential

__all__ = ('import_hamiltonian',)

#: What `parameters` may hold.
_PARAMETERS = ('format', 'file', 'shells', 'frame', 'ecutrho', 'n_electrons')


@calcfunction
def import_hamiltonian(
    source: FolderData | SinglefileData, parameters: Dict, basis: BasisData | None = None, **pseudos: UpfData
) -> HamiltonianData:
    """Return the Hamiltonian that files of another program hold.

    :param source: the files, as the format has them.
    :param parameters: ``format``, and, where needed, ``file`` (the file to read in a folder, such as the output
        of CP2K), ``shells`` (angular momenta by element), ``frame``, ``ecutrho`` (Ry, of the grid of H0) and
        ``n_electrons``.
    :param basis: the orbitals of all elements.
    :param pseudos: the pseudopotentials by element; with them H0 is added, as training needs it.
    """
    # Imported here because it loads torch, which most daemon workers do not need.
    from aiida_hamlr.io.exchange import read_foreign
    from aiida_hamlr.jobs.import_ import ImportSettings, complete

    given = parameters.get_dict()
    unknown = sorted(set(given) - set(_PARAMETERS))
    if unknown or 'format' not in given:
        return ExitCode(
            400, f'The parameters are not valid: {f"unknown {unknown[0]}" if unknown else "format is missing"}.'
        )
    with tempfile.TemporaryDirectory() as folder:
        try:
            settings = ImportSettings(
                basis=None if basis is None else basis.get_basis(),
                pseudos={s: Pseudopotential.from_text(upf.get_content(), upf.filename) for s, upf in pseudos.items()}
                or None,
                **{key: given[key] for key in ('ecutrho', 'n_electrons') if key in given},
            )
            path = _unpack(source, Path(folder), given.get('file'))
            foreign = read_foreign(path, given['format'], given.get('shells'), given.get('frame'))
            hamiltonian, _ = complete(foreign, settings)
        except ValueError as error:
            return ExitCode(401, f'The files cannot be imported: {str(error).replace(folder, "source")}')
        return HamiltonianData.from_hamiltonian(hamiltonian)


def _unpack(source: FolderData | SinglefileData, folder: Path, name: str | None) -> Path:
    """Copy the files of a node into a folder, and return the path to read.

    :raises ValueError: if the named file is not one of them.
    """
    names = source.base.repository.list_object_names()
    source.base.repository.copy_tree(folder)
    if isinstance(source, SinglefileData):
        return folder / source.filename
    if name is None:
        return folder
    if name not in names:
        raise ValueError(f'{name}: the folder has no such file')
    return folder / name
