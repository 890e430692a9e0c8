"""`hamlr reconstruct`: the Hamiltonian in the orbital basis from the density or the potential of a pw.x run."""

from __future__ import annotations

from aiida import orm
from aiida_pseudo.data.pseudo.upf import UpfData
from aiida_quantumespresso.calculations.ph import PhCalculation
from aiida_quantumespresso.calculations.pp import PpCalculation

from aiida_hamlr.calculations.base import HamlrCalculation
from aiida_hamlr.calculations.properties import define_single, make_parameters_validator
from aiida_hamlr.calculations.storage import define_storage, is_remote_storage
from aiida_hamlr.calculations.validation import validate_pseudos
from aiida_hamlr.data.basis import BasisData
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.jobs.outputs import BANDS, PROPERTIES
from aiida_hamlr.jobs.schemas import ReferenceProperties

__all__ = ('ReconstructCalculation',)

#: Keys of the properties that name files, which have no node.
BLOCKED = ('path',)


def validate_kpoints(value, _) -> str | None:
    """Return what is wrong with the k-points, or nothing."""
    if value is None:
        return None
    try:
        _, offset = value.get_kpoints_mesh()
    except AttributeError:
        return '`kpoints` must be a mesh, not a list of points'
    return None if not any(offset) else f'`kpoints` must be a mesh without offset, not {offset}'


def phonon_filename(node: orm.SinglefileData | orm.FolderData) -> str:
    """Return the name of the output of ph.x in a node."""
    return node.filename if isinstance(node, orm.SinglefileData) else PhCalculation._DEFAULT_OUTPUT_FILE


def validate_phonon(value, _) -> str | None:
    """Return what is wrong with the node that has the output of ph.x, or nothing."""
    if value is None or phonon_filename(value) in value.base.repository.list_object_names():
        return None
    return (
        f'`phonon` (node {value.pk}) has no file {phonon_filename(value)}; give the output `retrieved` of a '
        '`PhCalculation`, or the file as `SinglefileData`'
    )


class ReconstructCalculation(HamlrCalculation):
    """Represent the Kohn-Sham Hamiltonian of a pw.x run in a basis of atomic orbitals."""

    _COMMAND = 'reconstruct'
    _CONFIG_FILENAME = 'reconstruct.yaml'
    _REMOTE_FOLDERS = ('parent_folder', 'potential_folder')
    _STASHED = (HamiltonianData.FILENAME,)
    _RUN_FILENAME = 'scf.xml'
    _PHONON_FILENAME = 'ph.out'
    #: Folder for the link to charge-density.dat, or .hdf5 if Quantum ESPRESSO was built with HDF5.
    _SAVE_FOLDER = 'scf.save'

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input('parent_folder', valid_type=orm.RemoteData, help='Remote folder of the finished `PwCalculation`.')
        spec.input(
            'potential_folder',
            valid_type=orm.RemoteData,
            required=False,
            help='Remote folder of a finished `PotentialCalculation`; if not given, the potential is computed from the '
            'charge density of the run.',
        )
        spec.input('basis', valid_type=BasisData, help='Orbitals of all species of the structure.')
        spec.input_namespace(
            'pseudos',
            valid_type=UpfData,
            dynamic=True,
            validator=validate_pseudos,
            help='Pseudopotentials of the run by chemical symbol, or by the names of kinds that are species.',
        )
        spec.input(
            'kpoints',
            valid_type=orm.KpointsData,
            validator=validate_kpoints,
            help='Mesh of k-points, without offset, for the density matrix and the Fermi level.',
        )
        spec.input(
            'phonon',
            valid_type=(orm.SinglefileData, orm.FolderData),
            required=False,
            validator=validate_phonon,
            help='Output of ph.x for the same structure (epsil, zeu, q = 0), as a file or as the output `retrieved` of '
            'a `PhCalculation`: the dielectric tensor and the Born charges become labels of the Hamiltonian.',
        )
        spec.input(
            'quality_assurance',
            valid_type=orm.Bool,
            required=False,
            help='Whether to measure the error of the plane-wave cutoff (`cutoff_error_meV`); by default only where '
            'it is cheap.',
        )
        spec.input(
            'properties',
            valid_type=orm.Dict,
            required=False,
            validator=make_parameters_validator(ReferenceProperties, BLOCKED),
            help='What to compute of the Hamiltonian, with the keys of a prediction: `outputs` (gap, bands, dos, '
            'projections, masses, charges, profile, layers), `spacing`, `broadening` and so on.',
        )
        define_storage(spec, 'the Hamiltonian is')
        spec.output(
            'hamiltonian',
            valid_type=HamiltonianData,
            required=False,
            help='Hamiltonian, overlap, H0 and density matrix in atomic orbitals.',
        )
        define_single(spec, 'If `properties` asks for it')
        spec.output(
            'arrays',
            valid_type=orm.ArrayData,
            required=False,
            help='If `properties` asks for them: charges, levels, band edges by layer, averages of the potential and '
            'effective masses.',
        )

    @classmethod
    def validate_inputs(cls, inputs, _) -> str | None:
        """Return why the inputs do not fit together, or nothing."""
        problem = super().validate_inputs(inputs, _)
        if problem is None and 'basis' in inputs:
            missing = sorted(set(inputs.get('pseudos', {})) - set(inputs['basis'].species))
            if missing:
                return f'`basis` (node {inputs["basis"].pk}) has no orbitals of {", ".join(missing)}'
        return problem

    def prepare_for_submission(self, folder):
        """Write the configuration and list the links to the files of pw.x, and of pp.x if it ran."""
        labels = sorted(self.inputs.pseudos)
        basis, parent = self.inputs.basis, self.inputs.parent_folder
        save = f'{parent.get_remote_path()}/{PpCalculation._OUTPUT_SUBFOLDER}{PpCalculation._PREFIX}.save'
        links = [(parent.computer.uuid, f'{save}/data-file-schema.xml', self._RUN_FILENAME)]
        if 'potential_folder' in self.inputs:
            potential = self.inputs.potential_folder
            path = f'{potential.get_remote_path()}/{PpCalculation._FILPLOT}'
            links.append((potential.computer.uuid, path, PpCalculation._FILPLOT))
            source = {'potential': PpCalculation._FILPLOT}
        else:
            # The target of a link with a pattern is a folder, which must exist.
            folder.get_subfolder(self._SAVE_FOLDER, create=True)
            links.append((parent.computer.uuid, f'{save}/charge-density.*', self._SAVE_FOLDER))
            source = {'density': self._SAVE_FOLDER}
        mesh, _ = self.inputs.kpoints.get_kpoints_mesh()
        checks = {key: self.inputs[key].value for key in ('quality_assurance',) if key in self.inputs}
        self.write_config(
            folder,
            {
                'structure': self._RUN_FILENAME,
                **source,
                **({'phonon': self._PHONON_FILENAME} if 'phonon' in self.inputs else {}),
                'pseudos': {label: f'{label}.upf' for label in labels},
                'basis': {label: basis.filename(label) for label in labels},
                'kpoints': [int(n) for n in mesh],
                'plane_wave_bands': self._RUN_FILENAME,
                **checks,
                **({'properties': self.inputs.properties.get_dict()} if 'properties' in self.inputs else {}),
                'output': HamiltonianData.FILENAME,
            },
        )
        calc_info = self.get_calc_info([[self._COMMAND, self._CONFIG_FILENAME]])
        for label in labels:
            pseudo = self.inputs.pseudos[label]
            calc_info.local_copy_list.append((pseudo.uuid, pseudo.filename, f'{label}.upf'))
            calc_info.local_copy_list.append((basis.uuid, basis.filename(label), basis.filename(label)))
        if 'phonon' in self.inputs:
            phonon = self.inputs.phonon
            calc_info.local_copy_list.append((phonon.uuid, phonon_filename(phonon), self._PHONON_FILENAME))
        calc_info.remote_symlink_list = links
        calc_info.retrieve_list.append(self._SUMMARY_FILENAME)
        remote = is_remote_storage(self.inputs)
        calc_info.retrieve_temporary_list = [HamiltonianData.DESCRIPTION if remote else HamiltonianData.FILENAME]
        if 'properties' in self.inputs:
            calc_info.retrieve_temporary_list += [BANDS, PROPERTIES]
        return calc_info
