"""The steps of a work chain that generate orbitals unless a basis is given."""

from __future__ import annotations

from contextlib import nullcontext

from aiida.common import AttributeDict
from aiida.engine import ToContext
from aiida.manage.caching import enable_caching
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_hamlr.calculations.basis import BasisCalculation
from aiida_hamlr.calculations.validation import validate_pseudos
from aiida_hamlr.data.basis import BasisData


def find_basis_problem(inputs, species: set[str]) -> str | None:
    """Return why `basis` or `generate_basis` do not give orbitals of the species, or nothing."""
    basis = inputs.get('basis')
    if basis is None and 'code' not in inputs.get('generate_basis', {}):
        return 'give `basis`, or `generate_basis.code` to generate the orbitals'
    if basis is not None and species - set(basis.species):
        return f'`basis` (node {basis.pk}) has no orbitals of {", ".join(sorted(species - set(basis.species)))}'
    return None


class BasisStepsMixin:
    """Outline steps for a work chain with the ports of `define_basis`.

    The work chain sets ``ctx.basis``, and has the property ``pseudos`` and the methods of `StepsMixin`.
    """

    @classmethod
    def define_basis(cls, spec):
        """Define the inputs, the output and the exit code."""
        spec.input_namespace(
            'pseudos',
            valid_type=UpfData,
            dynamic=True,
            validator=validate_pseudos,
            help='Norm-conserving pseudopotentials by chemical symbol, or by the name of a kind that is a species; '
            'those that do not occur are ignored.',
        )
        spec.input(
            'basis',
            valid_type=BasisData,
            required=False,
            help='Orbitals of the elements; if not given, they are generated first.',
        )
        spec.expose_inputs(
            BasisCalculation,
            namespace='generate_basis',
            exclude=('pseudos',),
            namespace_options={
                'required': False,
                'populate_defaults': False,
                'help': 'Inputs of the generation of the basis.',
            },
        )
        spec.output('basis', valid_type=BasisData, required=False, help='The generated orbitals.')
        spec.exit_code(
            401,
            'ERROR_SUB_PROCESS_FAILED_BASIS',
            message='The job that generates the orbitals failed: {reason}. Look into its output, or give `basis`.',
        )

    @property
    def reuses_basis(self) -> bool:
        """Return whether orbitals generated from the same inputs are reused even if caching is off."""
        return 'reuse' in self.inputs and self.inputs.reuse.value

    def should_generate_basis(self) -> bool:
        """Return whether there is no basis yet."""
        return self.ctx.basis is None

    def run_basis(self):
        """Generate the orbitals of all elements once."""
        inputs = AttributeDict(self.exposed_inputs(BasisCalculation, 'generate_basis'))
        inputs.pseudos = self.pseudos
        # Orbitals depend on these inputs only, so that those of an earlier work chain can be reused.
        with enable_caching(identifier='aiida.calculations:hamlr.basis') if self.reuses_basis else nullcontext():
            node = self.launch(BasisCalculation, inputs, 'basis')
        return ToContext(basis_job=node)

    def inspect_basis(self):
        """Check that there are orbitals."""
        node = self.ctx.basis_job
        reason = self.find_failure(node)
        if reason is not None:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_BASIS.format(reason=reason)
        self.ctx.basis = node.outputs.basis
        self.out('basis', node.outputs.basis)
        return None
