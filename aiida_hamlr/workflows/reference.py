"""From a structure to its DFT Hamiltonian in a basis of atomic orbitals."""

from __future__ import annotations

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext, WorkChain, if_, while_
from aiida.plugins import CalculationFactory, WorkflowFactory
from aiida_quantumespresso.common.types import ElectronicType, SpinType

from aiida_hamlr.calculations.functions.kpoints import shift_mesh
from aiida_hamlr.calculations.reconstruct import ReconstructCalculation
from aiida_hamlr.calculations.storage import stash_options
from aiida_hamlr.calculations.validation import (
    find_computer_problem,
    find_misspelt_keyword,
    find_pw_problem,
    find_structure_problem,
)
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.remote import find_gone
from aiida_hamlr.data.structures import (
    choose_species,
    find_missing_species,
    get_atoms,
    moments_of_kinds,
    name_pseudos,
    select_pseudos,
)
from aiida_hamlr.electronic.geometry import describe_periodicity
from aiida_hamlr.electronic.reference.verification import TOO_LOW
from aiida_hamlr.workflows.basis import BasisStepsMixin, find_basis_problem
from aiida_hamlr.workflows.cutoff import CutoffStepsMixin
from aiida_hamlr.workflows.paused import PlaysPausedMixin
from aiida_hamlr.workflows.potential import PotentialStepsMixin
from aiida_hamlr.workflows.protocols.utils import (
    StrictProtocolMixin,
    get_protocol_path,
    load_codes,
    recursive_options,
    take_settings,
    without_relaxation,
)
from aiida_hamlr.workflows.reuse import INPUTS_HASH, hash_inputs
from aiida_hamlr.workflows.scf import ScfStepsMixin, couple_spin_orbit, find_kpoints_problem
from aiida_hamlr.workflows.steps import StepsMixin

__all__ = ('ReferenceWorkChain',)

#: Outputs of the reconstruction that follow from the Hamiltonian.
PROPERTY_OUTPUTS = ('band_structure', 'dos', 'projwfc', 'arrays')

PwCalculation = CalculationFactory('quantumespresso.pw')
PwBaseWorkChain = WorkflowFactory('quantumespresso.pw.base')


def validate_band_tolerance(value, _) -> str | None:
    """Return what is wrong with the tolerance, or nothing."""
    if value is not None and not value.value > 0:
        return f'`band_tolerance` must be positive, in meV, not {value.value:g}'
    return None


def validate_reference(inputs, _) -> str | None:
    """Return why the inputs of a reference do not fit together, or nothing; nothing has run yet."""
    if 'structure' not in inputs or 'pseudos' not in inputs:
        return None
    missing = find_missing_species([inputs['structure']], inputs['pseudos'])
    if missing:
        return f'`pseudos` has no pseudopotential of {", ".join(missing)}'
    problem = find_basis_problem(inputs, set(choose_species(inputs['structure'], inputs['pseudos']).values()))
    if problem is not None:
        return problem
    codes = {
        'scf.pw.code': inputs.get('scf', {}).get('pw', {}).get('code'),
        'potential.code': inputs.get('potential', {}).get('code'),
        'reconstruct.code': inputs.get('reconstruct', {}).get('code'),
    }
    return (
        find_kpoints_problem(inputs)
        or find_pw_problem(inputs.get('scf', {}).get('pw', {}), with_pp='potential' in inputs)
        or find_computer_problem(codes)
    )


class ReferenceWorkChain(
    PlaysPausedMixin,
    BasisStepsMixin,
    CutoffStepsMixin,
    PotentialStepsMixin,
    ScfStepsMixin,
    StepsMixin,
    StrictProtocolMixin,
    WorkChain,
):
    """Run pw.x and represent its Hamiltonian in atomic orbitals, with a potential from its density or from pp.x."""

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input(
            'structure',
            valid_type=orm.StructureData,
            validator=lambda value, _: find_structure_problem(value),
            help='The crystal, slab or molecule.',
        )
        cls.define_basis(spec)
        cls.define_scf(spec)
        cls.define_cutoff(spec)
        spec.input(
            'band_tolerance',
            valid_type=orm.Float,
            required=False,
            validator=validate_band_tolerance,
            help='Largest accepted mean error in meV of the occupied bands with respect to pw.x; above it the work '
            'chain '
            'fails. Not checked if not given.',
        )
        spec.input(
            'clean_workdir',
            valid_type=orm.Bool,
            default=lambda: orm.Bool(False),
            help='Whether to clean the remote folders of all jobs after the Hamiltonian is stored.',
        )
        cls.define_potential(spec)
        spec.expose_inputs(
            ReconstructCalculation,
            namespace='reconstruct',
            exclude=('parent_folder', 'potential_folder', 'basis', 'pseudos'),
            namespace_options={'help': 'Inputs of the reconstruction.'},
        )
        spec.inputs['reconstruct']['kpoints'].required = False
        spec.inputs['reconstruct']['kpoints'].help += ' If not given, the mesh of pw.x without offset.'
        spec.inputs.validator = validate_reference
        spec.outline(
            cls.setup,
            if_(cls.should_generate_basis)(cls.run_basis, cls.inspect_basis),
            while_(cls.should_run_reconstruct)(
                while_(cls.should_run_scf)(cls.run_scf, cls.inspect_scf),
                while_(cls.should_run_potential)(cls.run_potential, cls.inspect_potential),
                if_(cls.has_potential)(cls.run_reconstruct, cls.inspect_reconstruct),
            ),
            if_(cls.should_inspect_bands)(cls.inspect_bands),
        )
        spec.output('hamiltonian', valid_type=HamiltonianData, help='The Hamiltonian in atomic orbitals.')
        spec.output('output_parameters', valid_type=orm.Dict, help='Summary of the reconstruction and of its checks.')
        spec.expose_outputs(ReconstructCalculation, include=PROPERTY_OUTPUTS)
        spec.output('bands', valid_type=orm.BandsData, required=False, help='Eigenvalues of pw.x.')
        spec.output(
            'remote_folder',
            valid_type=orm.RemoteData,
            help='Remote folder of the pw.x run, for further runs that start from its density.',
        )
        spec.default_output_node = 'output_parameters'
        spec.exit_code(
            404,
            'ERROR_SUB_PROCESS_FAILED_RECONSTRUCT',
            message='The reconstruction failed: {reason}. Look into the output of the job.',
        )
        spec.exit_code(
            412,
            'ERROR_BAND_TOLERANCE_EXCEEDED',
            message='The mean error of the occupied bands is {error} meV, more than `band_tolerance`; the outputs are '
            'attached. {remedy}',
        )

    @classmethod
    def get_protocol_filepath(cls):
        """Return the path of the protocols."""
        return get_protocol_path('reference.yaml')

    @classmethod
    def get_builder_from_protocol(
        cls, pw_code, hamlr_code, structure, *, protocol=None, overrides=None, options=None, **settings
    ):
        """Return a builder with the inputs of a protocol.

        :param pw_code: code of pw.x, or its label.
        :param hamlr_code: code of the `hamlr` executable, or its label.
        :param structure: the structure.
        :param protocol: ``fast``, ``balanced`` or ``stringent``.
        :param overrides: inputs that override those of the protocol; ``scf.pseudo_family`` names the pseudopotentials;
            ``storage: remote`` leaves the Hamiltonian in the folder ``stash_folder`` of the computer.
        :param options: ``metadata.options`` of all jobs.
        :param basis: orbitals; if not given, they are generated first.
        :param pp_code: code of pp.x, or its label; if given, pp.x writes the potential. By default `hamlr` computes it
            from the density of pw.x.
        :param electronic_type: ``ElectronicType`` of aiida-quantumespresso: an insulator (default) has fixed
            occupations, a metal smeared ones.
        :param spin_type: ``SpinType`` of aiida-quantumespresso: none (default), collinear or spin_orbit; the last
            without magnetization, with fully relativistic pseudopotentials.
        :param initial_magnetic_moments: initial magnetic moments, Bohr magnetons, by name of the kind or by element;
            kinds without one have zero.
        :param pseudos: pseudopotentials by name of the kind that take the place of those of the family, as of capping
            hydrogens ``H1`` and ``H2``: each of these kinds is a species. Names that the structure lacks do not matter.
        :raises ValueError: if a setting, an override or an option is unknown, or a keyword of pw.x is misspelt.
        """
        basis, pp_code, pseudos, electronic_type, spin_type, moments = take_settings(
            settings,
            basis=None,
            pp_code=None,
            pseudos=None,
            electronic_type=ElectronicType.INSULATOR,
            spin_type=SpinType.NONE,
            initial_magnetic_moments=None,
        )
        if spin_type not in (SpinType.NONE, SpinType.COLLINEAR, SpinType.SPIN_ORBIT):
            raise ValueError(f'spin type {spin_type.value!r} is not supported; use none, collinear or spin_orbit')
        spin_orbit = spin_type is SpinType.SPIN_ORBIT
        if spin_orbit and moments:
            raise ValueError(
                'spin-orbit coupling and magnetic moments are not supported together; leave out one of both'
            )
        if moments:
            moments = moments_of_kinds([structure], moments)
        pw_code, hamlr_code, pp_code = load_codes(pw_code, hamlr_code, pp_code)
        inputs = cls.get_protocol_inputs(protocol, overrides)
        scf = PwBaseWorkChain.get_builder_from_protocol(
            pw_code,
            structure,
            protocol=protocol,
            overrides=inputs['scf'],
            electronic_type=electronic_type,
            # With spin-orbit coupling it would start from a magnetization.
            spin_type=SpinType.NONE if spin_orbit else spin_type,
            initial_magnetic_moments=moments,
            options=options,
        )
        parameters = without_relaxation(scf.pw.parameters.get_dict(), inputs['scf'])
        scf.pw.parameters = orm.Dict(parameters)
        misspelt = find_misspelt_keyword(parameters)
        if misspelt is not None:
            raise ValueError(misspelt)
        given = {name: node for name, node in (pseudos or {}).items() if name in structure.get_kind_names()}
        scf.pw.pop('structure')
        scf.pop('clean_workdir')

        def metadata_of(name, code, **more):
            job_options = recursive_options(
                inputs.get(name, {}), options, code, cls.set_default_resources, mpi=name == 'potential'
            )
            return {'options': job_options | more}

        builder = cls.get_builder()
        builder.structure = structure
        builder.pseudos = name_pseudos({**scf.pw.pop('pseudos'), **given}, structure, given)
        if spin_orbit:
            scf.pw.parameters = couple_spin_orbit(scf.pw.parameters, builder.pseudos)
        types = {
            'clean_workdir': orm.Bool,
            'conduction_bands': orm.Int,
            'kpoints_offset': orm.List,
            'band_tolerance': orm.Float,
            'cutoff_tolerance': orm.Float,
        }
        for name, node_type in types.items():
            if inputs.get(name) is not None:
                builder[name] = node_type(inputs[name])
        builder.scf = scf
        if pp_code is not None:
            builder.potential = {'code': pp_code, 'metadata': metadata_of('potential', pp_code)}
        stash = stash_options(inputs['storage'], inputs.get('stash_folder'), ReconstructCalculation._STASHED)
        builder.reconstruct = {
            'code': hamlr_code,
            'storage': orm.Str(inputs['storage']),
            'metadata': metadata_of('reconstruct', hamlr_code, **stash),
        }
        properties = inputs.get('reconstruct', {}).get('properties')
        if properties is not None:
            builder.reconstruct.properties = orm.Dict(properties)
        if basis is not None:
            builder.basis = basis
        else:
            builder.generate_basis = {
                'code': hamlr_code,
                'parameters': orm.Dict(inputs['generate_basis']['parameters']),
                'metadata': metadata_of('generate_basis', hamlr_code),
            }
        return builder

    def setup(self):
        """Initialise the context."""
        self.ctx.basis = self.inputs.get('basis')
        self.forget_potential()
        self.ctx.hamiltonian = None
        self.setup_scf()
        self.setup_cutoff()
        for text in describe_periodicity(get_atoms(self.inputs.structure, self.inputs.pseudos)):
            self.report(f'warning: the structure is {text}')

    @property
    def pseudos(self) -> dict:
        """Return the pseudopotentials of the species of the structure."""
        return select_pseudos(self.inputs.pseudos, self.inputs.structure)

    def go_back_to_scf(self) -> bool:
        """Prepare to run pw.x again, and pp.x after it, if the files of pw.x are gone; return whether to."""
        goes_back = super().go_back_to_scf()
        if goes_back:
            self.forget_potential()
        return goes_back

    def has_potential(self) -> bool:
        """Return whether the inputs of the reconstruction are complete."""
        return self.ctx.scf_is_done and self.ctx.potential_is_done

    def should_run_reconstruct(self) -> bool:
        """Return whether the Hamiltonian is still missing."""
        return self.ctx.hamiltonian is None

    def run_reconstruct(self):
        """Represent the Hamiltonian in atomic orbitals."""
        inputs = AttributeDict(self.exposed_inputs(ReconstructCalculation, 'reconstruct'))
        folder = self.ctx.scf[-1].outputs.remote_folder
        inputs.parent_folder = folder
        if 'potential' in self.inputs:
            inputs.potential_folder = self.ctx.potential.outputs.remote_folder
        inputs.basis = self.ctx.basis
        inputs.pseudos = self.pseudos
        if 'kpoints' not in inputs:
            inputs.kpoints = folder.creator.inputs.kpoints
            if any(inputs.kpoints.get_kpoints_mesh()[1]):
                inputs.kpoints = shift_mesh(
                    inputs.kpoints, orm.List([0, 0, 0]), metadata={'call_link_label': 'centre_mesh'}
                )
        if self.searches_cutoff:
            inputs.quality_assurance = orm.Bool(True)
        if self.ctx.repeats.get('reconstruct'):
            inputs.metadata.disable_cache = True
        node = self.launch(ReconstructCalculation, inputs, 'reconstruct')
        return ToContext(reconstruct=node)

    def inspect_reconstruct(self):
        """Attach the outputs."""
        node = self.ctx.reconstruct
        reason = self.find_failure(node)
        refused = reason is not None and self.searches_cutoff and TOO_LOW in reason
        if reason is not None and not refused:
            exit_code = self.exit_codes.ERROR_SUB_PROCESS_FAILED_RECONSTRUCT.format(reason=reason)
            return None if self.go_back_to_scf() else exit_code
        if self.tries_another_cutoff(None if refused else node):
            self.forget_potential()
            return None
        exit_code = self.finish_cutoff()
        if exit_code is not None:
            return exit_code
        node = self.ctx.reconstruct
        hamiltonian = node.outputs.hamiltonian
        if node.base.caching.is_created_from_cache and find_gone([hamiltonian]):
            reason = 'its file is gone, even after a repetition'
            exit_code = self.exit_codes.ERROR_SUB_PROCESS_FAILED_RECONSTRUCT.format(reason=reason)
            return None if self.repeat('reconstruct', node) else exit_code
        self.ctx.hamiltonian = hamiltonian
        self.report_warnings(hamiltonian)
        self.node.base.extras.set(INPUTS_HASH, self._hash_inputs())
        self.out('hamiltonian', hamiltonian)
        self.out('output_parameters', node.outputs.output_parameters)
        self.out('remote_folder', self.ctx.scf[-1].outputs.remote_folder)
        self.out_many(self.exposed_outputs(node, ReconstructCalculation))
        if 'output_band' in self.ctx.scf[-1].outputs:
            self.out('bands', self.ctx.scf[-1].outputs.output_band)
        return None

    def report_warnings(self, hamiltonian: HamiltonianData):
        """Report what speaks against the use of the Hamiltonian."""
        for warning in hamiltonian.base.attributes.get('warnings', None) or ():
            self.report(f'warning: {warning}')

    def _hash_inputs(self) -> str:
        """Return the hash by which later work chains find this reference; generated orbitals count as given ones."""
        inputs = {key: value for key, value in self.inputs.items() if key != 'generate_basis'}
        return hash_inputs({**inputs, 'basis': self.ctx.basis, 'pseudos': self.pseudos})

    def should_inspect_bands(self) -> bool:
        """Return whether a tolerance was given."""
        return 'band_tolerance' in self.inputs

    def inspect_bands(self):
        """Compare the error of the bands with the tolerance."""
        found = self.ctx.hamiltonian.base.attributes
        error, of_cutoff = (found.get(name, None) for name in ('band_mae_occupied_meV', 'cutoff_error_meV'))
        if error is not None and error <= self.inputs.band_tolerance.value:
            return None
        remedy = 'Use a larger basis, or increase `band_tolerance`.'
        if of_cutoff is not None and of_cutoff > self.inputs.band_tolerance.value:
            remedy = (
                f'`ecutwfc` is too low, levels change by up to {of_cutoff:.0f} meV at the cutoff: raise it, or let '
                '`cutoff_tolerance` (`--converge`) find one.'
            )
        return self.exit_codes.ERROR_BAND_TOLERANCE_EXCEEDED.format(
            error='of unknown size in' if error is None else f'{error:.1f}', remedy=remedy
        )

    def on_terminated(self):
        """Clean the remote folders if `clean_workdir` is set."""
        super().on_terminated()
        # The folders of a failed work chain are kept for inspection.
        if self.inputs.clean_workdir.value and 'hamiltonian' in self.outputs:
            self.clean_folders()
