"""Importer of reconstructions that ran without AiiDA."""

from __future__ import annotations

from pathlib import PurePosixPath

from aiida import orm
from aiida.engine import CalcJobImporter

from aiida_hamlr.calculations.importers.folder import OutsideFolder, open_folder
from aiida_hamlr.calculations.reconstruct import ReconstructCalculation
from aiida_hamlr.data.basis import BasisData
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.upf import create_upf

__all__ = ('ReconstructCalculationImporter',)


class ReconstructCalculationImporter(CalcJobImporter):
    """Make the inputs of a reconstruction from the folder where `hamlr reconstruct` ran."""

    @staticmethod
    def parse_remote_data(
        remote_data: orm.RemoteData, config_filename: str = ReconstructCalculation._CONFIG_FILENAME, **kwargs
    ) -> dict[str, orm.Node | dict]:
        """Return the inputs from the configuration and the files that it names.

        :param remote_data: the folder where `hamlr reconstruct` ran.
        :param config_filename: name of the configuration file in that folder.
        :param kwargs: inputs that replace those found in the folder, for example ``parent_folder``.
        :raises ValueError: if a file is missing, or the calculation cannot describe the run.
        """
        with open_folder(remote_data) as folder:
            config = folder.load_config(config_filename)
            where = f'{folder.path / config_filename}'
            output = config.get('output', HamiltonianData.FILENAME)
            if PurePosixPath(output) != PurePosixPath(HamiltonianData.FILENAME):
                raise ValueError(
                    f'{where}: output is {output!r}; rename the file to {HamiltonianData.FILENAME} in this folder, and '
                    'change the configuration'
                )
            if not isinstance(config.get('kpoints'), list):
                raise ValueError(f'{where}: kpoints is missing; add the mesh that the run reported')
            kpoints = orm.KpointsData()
            kpoints.set_kpoints_mesh(config['kpoints'])
            pseudos, basis = _mapping(config, 'pseudos', where), _mapping(config, 'basis', where)
            labels = sorted(set(pseudos) & set(basis))
            if not labels or not all(isinstance(basis[label], str) for label in labels):
                raise ValueError(
                    f'{where}: basis does not name files; orbitals that were generated on the fly cannot be imported, '
                    'so write them with `hamlr basis` and name these files'
                )
            files = {label: folder.fetch(basis[label], BasisData.filename(label)) for label in labels}
            inputs = {
                'pseudos': {s: create_upf(folder.fetch(pseudos[s], f'{s}.upf'), f'{s}.upf') for s in labels},
                'basis': BasisData.from_files(files),
                'kpoints': kpoints,
                'parent_folder': _run_folder(folder, config, where),
            }
            if config.get('potential') is not None:
                path = folder.resolve(config['potential']).parent
                inputs['potential_folder'] = orm.RemoteData(computer=folder.computer, remote_path=str(path))
            if config.get('phonon') is not None:
                name = ReconstructCalculation._PHONON_FILENAME
                inputs['phonon'] = orm.SinglefileData(folder.fetch(config['phonon'], name), filename=name)
            if config.get('properties') is not None:
                inputs['properties'] = orm.Dict(config['properties'])
        return inputs | kwargs


def _mapping(config: dict, key: str, where: str) -> dict:
    content = config.get(key)
    if not isinstance(content, dict):
        raise ValueError(f'{where}: {key} is not a mapping of species to files')
    return content


def _run_folder(folder: OutsideFolder, config: dict, where: str) -> orm.RemoteData:
    """Return the folder of the pw.x run: the one that contains the save folder, or the one above if that is `out`."""
    xml = config.get('plane_wave_bands') or config.get('structure')
    if not isinstance(xml, str) or not xml.endswith('.xml'):
        raise ValueError(f'{where}: neither plane_wave_bands nor structure is the XML file of the run')
    path = folder.resolve(xml).parent
    if path.suffix == '.save':
        path = path.parent
    if path.name == 'out':
        path = path.parent
    return orm.RemoteData(computer=folder.computer, remote_path=str(path))
