"""The steps of a work chain that computes many references: a limited number at a time, reusing finished ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiida import orm
from aiida.common import AttributeDict
from aiida.common.hashing import make_hash

from aiida_hamlr.calculations.validation import find_computer_problem, find_pw_problem
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.structures import moments_of_kinds, select_pseudos
from aiida_hamlr.workflows.engine import WaitsForFirstMixin
from aiida_hamlr.workflows.protocols.utils import remove_inputs
from aiida_hamlr.workflows.reference import ReferenceWorkChain
from aiida_hamlr.workflows.reuse import find_reference, known_hashes
from aiida_hamlr.workflows.scf import STARTING, find_kpoints_problem, magnetize_kinds

__all__ = ('ReferencesMixin', 'find_equal_structures', 'find_references_problem')


#: Inputs of a reference that the work chain sets, or that have no use in it: a reference that is reused has properties
#: of another study, or none.
_EXCLUDED = ('structure', 'pseudos', 'basis', 'generate_basis', 'clean_workdir', 'reconstruct.properties')


def find_equal_structures(structures: Mapping[str, orm.StructureData]) -> str | None:
    """Return which structures, by label, are equal, or nothing; a dataset cannot contain a Hamiltonian twice."""
    known = {}
    for label, structure in structures.items():
        # Nodes that are not stored yet have no hash.
        other = known.setdefault(make_hash(structure.base.attributes.all), label)
        if other != label:
            return f'{other} and {label} are the same structure'
    return None


def find_references_problem(reference: Mapping) -> str | None:
    """Return why the inputs of references do not fit together, or nothing.

    :param reference: the inputs `reference` of a work chain.
    """
    pw = reference.get('scf', {}).get('pw', {})
    codes = {f'reference.{name}.code': reference.get(name, {}).get('code') for name in ('potential', 'reconstruct')}
    return (
        find_kpoints_problem(reference)
        or find_pw_problem(pw, with_pp='potential' in reference)
        or find_computer_problem({'reference.scf.pw.code': pw.get('code'), **codes})
    )


class ReferencesMixin(WaitsForFirstMixin):
    """Outline steps that compute the references of `self.get_reference_structures()`, structures by name.

    ``while_(cls.should_run_references)(cls.run_references)`` after `self.setup_references()`, then
    `self.inspect_references`. ``ctx.references`` then holds the Hamiltonians and ``ctx.failures`` the reasons, by name.
    The work chain has the inputs of `define_references` and `clean_workdir`, the property ``pseudos`` and the methods
    of `StepsMixin`, and sets ``ctx.basis``.
    """

    @classmethod
    def define_references(cls, spec):
        """Define the inputs and the output of the references."""
        spec.input(
            'max_concurrent',
            valid_type=orm.Int,
            default=lambda: orm.Int(4),
            validator=lambda value, _: None if value.value > 0 else '`max_concurrent` must be positive',
            help='Maximum number of references that run at a time; when one ends, the next starts.',
        )
        spec.input(
            'max_failures',
            valid_type=orm.Int,
            default=lambda: orm.Int(0),
            validator=lambda value, _: None if value.value >= 0 else '`max_failures` must not be negative',
            help='Maximum number of failed references; they are left out.',
        )
        spec.input(
            'reuse',
            valid_type=orm.Bool,
            default=lambda: orm.Bool(True),
            help='Whether to reuse finished references in the database that have the same inputs.',
        )
        spec.expose_inputs(
            ReferenceWorkChain,
            namespace='reference',
            exclude=_EXCLUDED,
            namespace_options={'help': 'Inputs of the references.'},
        )
        spec.output_namespace(
            'references', valid_type=HamiltonianData, dynamic=True, help='Reference Hamiltonians by label.'
        )
        spec.exit_code(
            402,
            'ERROR_SUB_PROCESS_FAILED_REFERENCE',
            message='More references failed than `max_failures` allows: {labels}. Correct their inputs, or increase '
            '`max_failures`.',
        )

    @staticmethod
    def fill_references(builder, inputs: Mapping, structures: Iterable[orm.StructureData], **arguments):
        """Put the inputs of these steps, and `pseudos`, `seed`, `basis` or `generate_basis`, into a builder.

        :param builder: of a work chain with these steps, or of one that submits such a work chain.
        :param inputs: values of `seed`, `clean_workdir` and of the inputs of these steps but `reference`.
        :param structures: structures that together have all elements.
        :param arguments: of the builder of a reference, all but the structure.
        """
        if 'properties' in (arguments.get('overrides') or {}).get('reconstruct', {}):
            raise ValueError(
                'overrides.reference.reconstruct.properties: only a `hamlr.reference` of its own computes properties, '
                'because references of other studies are reused; leave them out'
            )
        # One structure with every kind names all pseudopotentials, and between them they have the highest cutoffs.
        kinds = {kind.name: node for node in structures for kind in node.kinds}
        moments = arguments.pop('initial_magnetic_moments', None)
        moments = moments_of_kinds(kinds.values(), moments) if moments else {}
        builders = {
            node.uuid: ReferenceWorkChain.get_builder_from_protocol(
                structure=node,
                initial_magnetic_moments={name: moments[name] for name in node.get_kind_names()} if moments else None,
                **arguments,
            )
            for node in kinds.values()
        }
        if not builders:
            raise ValueError('there is no structure: give at least one structure, or a trajectory')
        first = next(iter(builders.values()))
        builder.pseudos = {label: node for entry in builders.values() for label, node in entry.pseudos.items()}
        if arguments.get('basis') is not None:
            builder.basis = arguments['basis']
        else:
            builder.generate_basis = first.generate_basis
        unused = () if arguments.get('pp_code') is not None else ('potential',)
        remove_inputs(first, (*_EXCLUDED, *unused))
        parameters = [entry.scf.pw.parameters.get_dict() for entry in builders.values()]
        for name in ('ecutwfc', 'ecutrho'):
            parameters[0]['SYSTEM'][name] = max(entry['SYSTEM'][name] for entry in parameters)
        starting = [entry['SYSTEM'].get(STARTING, {}) for entry in parameters]
        if any(starting):
            parameters[0]['SYSTEM'][STARTING] = {name: value for entry in starting for name, value in entry.items()}
        first.scf.pw.parameters = orm.Dict(parameters[0])
        builder.reference = first
        for name in ('seed', 'max_concurrent', 'max_failures'):
            builder[name] = orm.Int(inputs[name])
        for name in ('reuse', 'clean_workdir'):
            builder[name] = orm.Bool(inputs[name])

    def setup_references(self):
        """Initialise the context."""
        self.ctx.queue = list(self.get_reference_structures())
        self.ctx.running = {}
        self.ctx.references = {}
        self.ctx.failures = {}

    def get_reference_structures(self) -> dict[str, orm.StructureData]:
        """Return the structures by name, in the order in which to compute them."""
        raise NotImplementedError

    def should_run_references(self) -> bool:
        """Return whether references are waiting or running."""
        return bool(self.ctx.queue or self.ctx.running)

    def run_references(self):
        """Collect the references that ended, and submit the next ones."""
        for name, pk in list(self.ctx.running.items()):
            node = orm.load_node(pk)
            if node.is_terminated:
                del self.ctx.running[name]
                self._collect(name, node)
        if len(self.ctx.failures) > self.inputs.max_failures.value:
            self.ctx.queue = []
        structures = self.get_reference_structures() if self.ctx.queue else {}
        while self.ctx.queue and len(self.ctx.running) < self.inputs.max_concurrent.value:
            name, *self.ctx.queue = self.ctx.queue
            self._submit_reference(name, structures[name])
        self.wait_for_first(self.ctx.running.values())

    def _submit_reference(self, name: str, structure: orm.StructureData):
        inputs = AttributeDict(self.exposed_inputs(ReferenceWorkChain, 'reference'))
        inputs.structure = structure
        # Only stored nodes have a hash.
        inputs.scf.pw.parameters = magnetize_kinds(inputs.scf.pw.parameters, structure).store()
        inputs.basis = self.ctx.basis
        inputs.pseudos = select_pseudos(self.pseudos, structure)
        known = find_reference(*known_hashes(inputs)) if self.inputs.reuse.value else None
        if known is not None:
            self.report(f'{name}: reusing HamiltonianData<{known.pk}> of an earlier run with the same inputs')
            self._keep(name, known)
            return
        inputs.clean_workdir = self.inputs.clean_workdir
        self.ctx.running[name] = self.launch(ReferenceWorkChain, inputs, f'reference_{name}').pk

    def _collect(self, name: str, node: orm.WorkChainNode):
        reason = self.find_failure(node)
        if reason is None:
            self._keep(name, node.outputs.hamiltonian)
        else:
            self.ctx.failures[name] = reason

    def _keep(self, name: str, hamiltonian: HamiltonianData):
        self.ctx.references[name] = hamiltonian
        self.out(f'references.{name}', hamiltonian)

    def inspect_references(self):
        """Check that no more references failed than `max_failures`."""
        if len(self.ctx.failures) > self.inputs.max_failures.value:
            labels = '; '.join(f'{name} ({reason})' for name, reason in self.ctx.failures.items())
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_REFERENCE.format(labels=labels)
        return None

    def on_terminated(self):
        """Clean the remote folders of successful references if `clean_workdir` is set."""
        super().on_terminated()
        if self.inputs.clean_workdir.value:
            self.clean_folders()
