"""The steps of a work chain that run pw.x, and run it again when the files of a finished run are gone."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext, append_
from aiida.plugins import WorkflowFactory
from aiida_quantumespresso.calculations.functions.create_kpoints_from_distance import create_kpoints_from_distance

from aiida_hamlr.calculations.functions.kpoints import even_mesh, shift_mesh
from aiida_hamlr.data.structures import choose_species
from aiida_hamlr.data.upf import has_spin_orbit
from aiida_hamlr.workflows.remote_folders import has_files, is_usable

__all__ = ('STARTING', 'ScfStepsMixin', 'count_bands', 'find_kpoints_problem', 'magnetize_kinds')

PwBaseWorkChain = WorkflowFactory('quantumespresso.pw.base')

#: Keyword of the namelist SYSTEM: starting moments by kind, as shares of the valence electrons.
STARTING = 'starting_magnetization'

#: Files of the folder of pw.x that the reconstruction and pp.x read.
SCF_FILES = ('out/aiida.save/data-file-schema.xml', 'out/aiida.save/charge-density.*')


def validate_kpoints_offset(value, _) -> str | None:
    """Return what is wrong with the offset, or nothing."""
    offset = value.get_list() if value is not None else [0, 0, 0]
    if len(offset) != 3 or not all(step in (0, 0.5) for step in offset):
        return f'`kpoints_offset` must be 0 or 0.5 along each of the three axes, not {offset}'
    return None


def find_kpoints_problem(inputs: Mapping) -> str | None:
    """Return why the k-points of pw.x and their offset do not fit together, or nothing.

    :param inputs: inputs of a `ReferenceWorkChain`.
    """
    scf = inputs.get('scf', {})
    if 'kpoints_offset' in inputs and 'kpoints_distance' not in scf:
        return '`kpoints_offset` shifts the mesh of `scf.kpoints_distance`, but `scf.kpoints` already has an offset'
    listed = 'kpoints' in scf and 'mesh' not in scf['kpoints'].base.attributes
    if listed and 'kpoints' not in inputs.get('reconstruct', {}):
        return '`scf.kpoints` is a list: give a mesh, or a mesh for the density matrix in `reconstruct.kpoints`'
    return None


class ScfStepsMixin:
    """Outline steps for a work chain with the ports of `define_scf`: `run_scf`, `inspect_scf` while `should_run_scf`.

    The work chain has the inputs `structure` and `pseudos` and the methods of `StepsMixin`, and calls `setup_scf`.
    Steps that follow use `repeat` and `go_back_to_scf` when files are gone.
    """

    #: Maximum number of reruns of a step when the files of its finished job are missing.
    _MAX_REPEATS = 1

    @classmethod
    def define_scf(cls, spec):
        """Define the inputs and the exit codes."""
        spec.input(
            'conduction_bands',
            valid_type=orm.Int,
            default=lambda: orm.Int(8),
            help='Number of empty bands that pw.x computes to check the Hamiltonian; `SYSTEM.nbnd` takes precedence.',
        )
        spec.input(
            'kpoints_offset',
            valid_type=orm.List,
            required=False,
            validator=validate_kpoints_offset,
            help='Offset of the mesh of `scf.kpoints_distance`, 0 or 0.5 steps along each axis; by default the mesh '
            'includes Gamma.',
        )
        spec.expose_inputs(
            PwBaseWorkChain,
            namespace='scf',
            exclude=('clean_workdir', 'pw.structure', 'pw.pseudos', 'pw.parent_folder'),
            namespace_options={'help': 'Inputs of the pw.x run.'},
        )
        spec.exit_code(
            402,
            'ERROR_SUB_PROCESS_FAILED_SCF',
            message='The pw.x work chain failed: {reason}. See its report.',
        )
        spec.exit_code(
            410,
            'ERROR_SCF_NOT_CONVERGED',
            message='pw.x did not reach self-consistency: change the mixing, the smearing or the number of steps.',
        )
        spec.exit_code(
            411,
            'ERROR_SCF_FOLDER_GONE',
            message='The files of the finished pw.x run are missing, even after it was run again: find out what '
            'deletes '
            'them on the computer.',
        )

    def setup_scf(self):
        """Initialise the context."""
        self.ctx.scf_is_done = False
        self.ctx.repeats = {'scf': 0}

    def should_run_scf(self) -> bool:
        """Return whether a usable pw.x run is still missing."""
        return not self.ctx.scf_is_done

    def run_scf(self):
        """Run pw.x."""
        inputs = AttributeDict(self.exposed_inputs(PwBaseWorkChain, 'scf'))
        complete_pw_inputs(inputs, self.inputs.structure, self.inputs.pseudos, self.inputs.conduction_bands.value)
        inputs.pw.parameters = orm.Dict(self.change_parameters(inputs.pw.parameters.get_dict()))
        if 'kpoints_distance' in inputs and (inputs.kpoints_force_parity.value or 'kpoints_offset' in self.inputs):
            inputs.kpoints = self._make_mesh(inputs.pop('kpoints_distance'), inputs.kpoints_force_parity.value)
        if self.ctx.repeats['scf']:
            inputs.pw.metadata.disable_cache = True
        node = self.launch(PwBaseWorkChain, inputs, 'scf')
        return ToContext(scf=append_(node))

    def change_parameters(self, parameters: dict) -> dict:
        """Return the parameters of pw.x for this run; here those of the inputs."""
        return parameters

    def _make_mesh(self, distance: orm.Float, is_even: bool) -> orm.KpointsData:
        # The parity of aiida-quantumespresso would also put two points along the vacuum of a slab.
        mesh = create_kpoints_from_distance(
            structure=self.inputs.structure,
            distance=distance,
            force_parity=orm.Bool(False),
            metadata={'call_link_label': 'create_kpoints_from_distance'},
        )
        if is_even:
            mesh = even_mesh(mesh, self.inputs.structure, metadata={'call_link_label': 'even_mesh'})
        if 'kpoints_offset' in self.inputs:
            mesh = shift_mesh(mesh, self.inputs.kpoints_offset, metadata={'call_link_label': 'shift_mesh'})
        return mesh

    def inspect_scf(self):
        """Check that pw.x converged and that its files exist."""
        node = self.ctx.scf[-1]
        reason = self.find_failure(node)
        if reason is not None:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_SCF.format(reason=reason)
        convergence = node.outputs.output_parameters.get_dict().get('convergence_info', {})
        if not convergence.get('scf_conv', {}).get('convergence_achieved', False):
            return self.exit_codes.ERROR_SCF_NOT_CONVERGED
        if is_usable(node.outputs.remote_folder, SCF_FILES):
            self.ctx.scf_is_done = True
            return None
        return None if self.repeat('scf', node) else self.exit_codes.ERROR_SCF_FOLDER_GONE

    def repeat(self, step: str, node) -> bool:
        """Note that a step runs again without the cache because its files are gone; return whether it may."""
        self.ctx.repeats[step] = self.ctx.repeats.get(step, 0) + 1
        if self.ctx.repeats[step] > self._MAX_REPEATS:
            return False
        self.report(f'the files of {node.process_label}<{node.pk}> are missing: running it again')
        return True

    def go_back_to_scf(self) -> bool:
        """Prepare to run pw.x again if its missing files may have caused a failure; return whether to."""
        node = self.ctx.scf[-1]
        if has_files(node.outputs.remote_folder, SCF_FILES) or not self.repeat('scf', node):
            return False
        self.ctx.scf_is_done = False
        return True


def complete_pw_inputs(inputs: AttributeDict, structure: orm.StructureData, pseudos: Mapping, n_empty: int):
    """Fill in the inputs of pw.x that follow from those of a reference.

    :param inputs: inputs of a `PwBaseWorkChain`, which are completed.
    :param pseudos: pseudopotentials by species: names of kinds, or chemical symbols for all other kinds.
    :param n_empty: empty bands that pw.x computes unless the parameters have `nbnd`.
    """
    inputs.pw.structure = structure
    inputs.pw.pseudos = {name: pseudos[species] for name, species in choose_species(structure, pseudos).items()}
    inputs.clean_workdir = orm.Bool(False)  # The next jobs read the files.
    parameters = inputs.pw.parameters.get_dict()
    system = parameters.setdefault('SYSTEM', {})
    if 'nbnd' not in system:
        valence = {name: pseudo.z_valence for name, pseudo in inputs.pw.pseudos.items()}
        system['nbnd'] = count_bands(structure, valence, system, n_empty)
    inputs.pw.parameters = orm.Dict(parameters)
    if inputs.pw.code.with_mpi is not None:
        # The port has a default, which could contradict the code.
        inputs.pw.metadata.options.withmpi = inputs.pw.code.with_mpi


def magnetize_kinds(parameters: orm.Dict, structure: orm.StructureData) -> orm.Dict:
    """Return the parameters of pw.x for one structure of several, without the starting moments of absent kinds.

    pw.x refuses kinds that the structure lacks. Without any, the node stays the same.
    """
    content = parameters.get_dict()
    starting = content.get('SYSTEM', {}).get(STARTING)
    names = set(structure.get_kind_names())
    if not isinstance(starting, dict) or set(starting) <= names:
        return parameters
    content['SYSTEM'][STARTING] = {name: value for name, value in starting.items() if name in names}
    return orm.Dict(content)


def couple_spin_orbit(parameters: orm.Dict, pseudos: Mapping) -> orm.Dict:
    """Return the parameters of a run of pw.x with spin-orbit coupling and without magnetization.

    :param pseudos: pseudopotentials of the run.
    :raises ValueError: if all are scalar-relativistic: there would be no coupling.
    """
    if not any(has_spin_orbit(node) for node in pseudos.values()):
        raise ValueError(
            'spin-orbit coupling needs fully relativistic pseudopotentials, and those of '
            f'{", ".join(sorted(pseudos))} are scalar-relativistic; give a family such as PseudoDojo FR'
        )
    content = parameters.get_dict()
    content['SYSTEM'] = {**content.get('SYSTEM', {}), 'noncolin': True, 'lspinorb': True}
    return orm.Dict(content)


def count_bands(structure: orm.StructureData, valences: dict, system: dict, n_empty: int) -> int:
    """Return the number of bands that pw.x must compute; with collinear spin, for each spin.

    The majority spin fills half of the sum of electrons and magnetization. The latter is the total magnetization if it
    is fixed, and otherwise at most the sum of the starting magnetizations. Bands of spinors (``noncolin``) hold one
    electron each, so that there are twice as many.

    :param valences: valence electrons by name of the kind.
    :param system: the namelist SYSTEM.
    :param n_empty: number of empty bands.
    """
    system = {key.lower(): value for key, value in system.items()}
    electrons = [valences[site.kind_name] for site in structure.sites]
    if system.get('noncolin', False):
        return ceil(sum(electrons) - 1e-6) + 2 * n_empty
    excess = 0.0
    if system.get('nspin', 1) == 2:
        starting = system.get(STARTING, {})
        moments = (abs(starting.get(site.kind_name, 0.0)) for site in structure.sites)
        excess = sum(share * number for share, number in zip(moments, electrons, strict=True))
        excess = abs(system.get('tot_magnetization', excess))
    return ceil((sum(electrons) + excess) / 2 - 1e-6) + n_empty
