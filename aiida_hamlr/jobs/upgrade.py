"""`hamlr upgrade`: a file or model of an earlier version, written again in the newest."""

from __future__ import annotations

from pathlib import Path

from aiida_hamlr import __version__
from aiida_hamlr.electronic.bands.band_structure import FORMAT as BANDS
from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.properties import FORMAT as PROPERTIES
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.electronic.files import open_hdf5
from aiida_hamlr.electronic.matrices.description import description_path, write_described
from aiida_hamlr.electronic.matrices.hamiltonian import FORMAT as HAMILTONIAN
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import FORMAT as BASIS
from aiida_hamlr.electronic.orbitals.basis import SpeciesBasis
from aiida_hamlr.jobs.outputs import check_outputs, remove_earlier
from aiida_hamlr.jobs.progress import log

#: What model.json says that `write_model` finds itself.
_WRITTEN = ('format', 'version', 'architecture', 'species', 'basis_hash', 'n_parameters', 'files', 'sha256')


def upgrade(source: Path, output: Path):
    """Read a Hamiltonian, basis, bands or properties file or a model folder with all checks; write its newest version.

    Parameters
    ----------
    source, output : path
        The content stays the same; the source is left as it is.

    Raises
    ------
    ValueError
        If the source is damaged or of no kind of ours, or the output is the source.
    """
    check_outputs([output], [source])
    if source.is_dir():
        old, new = _upgrade_model(source, output)
    else:
        old, new = _upgrade_file(source, output)
    log(f'{source}: version {old}; {output}: version {new}')


def _upgrade_model(source: Path, output: Path) -> tuple[int, int]:
    # Brings torch.
    from aiida_hamlr.model.files import read_model, write_model
    from aiida_hamlr.model.folder import VERSION

    if output.exists():
        raise ValueError(f'{output}: is there already; give the name of a new folder')
    model, description, basis, pseudopotentials = read_model(source)
    metadata = {key: value for key, value in description.items() if key not in _WRITTEN}
    metadata['upgraded_by'] = f'aiida-hamlr {__version__}'
    write_model(output, model, model.state_dict(), basis, pseudopotentials, metadata)
    return description['version'], VERSION


def _upgrade_file(source: Path, output: Path) -> tuple[int, int]:
    with open_hdf5(source) as handle:
        kind, old = handle.attrs.get('format'), handle.attrs.get('version')
    kinds = {
        HAMILTONIAN: (Hamiltonian.read, write_described),
        BASIS: (SpeciesBasis.read, SpeciesBasis.write),
        BANDS: (Bands.read, Bands.write),
        PROPERTIES: (Properties.read, Properties.write),
    }
    if kind not in kinds:
        raise ValueError(f'{source}: an HDF5 file of unknown format {kind!r}')
    read, write = kinds[kind]
    remove_earlier([output, description_path(output)])
    write(read(source), output)
    # Some versions are written only if their content is there.
    with open_hdf5(output) as handle:
        return int(old), int(handle.attrs['version'])
