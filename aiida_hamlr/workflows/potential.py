"""The steps of a work chain that runs pp.x for the potential, if asked to."""

from __future__ import annotations

from aiida.common import AttributeDict
from aiida.engine import ToContext

from aiida_hamlr.calculations.potential import PotentialCalculation
from aiida_hamlr.workflows.remote_folders import is_usable

__all__ = ('PotentialStepsMixin',)

#: What the reconstruction reads of the folder of pp.x.
POTENTIAL_FILES = (PotentialCalculation._FILPLOT,)


class PotentialStepsMixin:
    """Outline steps: `run_potential`, `inspect_potential` while `should_run_potential`; see `ScfStepsMixin`."""

    @classmethod
    def define_potential(cls, spec):
        """Define the inputs and the exit code."""
        spec.expose_inputs(
            PotentialCalculation,
            namespace='potential',
            exclude=('parent_folder',),
            namespace_options={
                'required': False,
                'populate_defaults': False,
                'help': 'Inputs of a pp.x run that writes the potential; by default `hamlr` computes it from the '
                'density.',
            },
        )
        spec.exit_code(
            403,
            'ERROR_SUB_PROCESS_FAILED_POTENTIAL',
            message='The pp.x job failed: {reason}. Look into its output, or leave `potential` out.',
        )

    def forget_potential(self):
        """Note that pp.x has to run, unless `hamlr` makes the potential from the density."""
        self.ctx.potential_is_done = 'potential' not in self.inputs

    def should_run_potential(self) -> bool:
        """Return whether pp.x has to write the potential."""
        return self.ctx.scf_is_done and not self.ctx.potential_is_done

    def run_potential(self):
        """Run pp.x for the total local potential."""
        inputs = AttributeDict(self.exposed_inputs(PotentialCalculation, 'potential'))
        inputs.parent_folder = self.ctx.scf[-1].outputs.remote_folder
        if self.ctx.repeats.get('potential'):
            inputs.metadata.disable_cache = True
        node = self.launch(PotentialCalculation, inputs, 'potential')
        return ToContext(potential=node)

    def inspect_potential(self):
        """Check that pp.x wrote the potential."""
        node = self.ctx.potential
        reason = self.find_failure(node)
        if reason is not None:
            exit_code = self.exit_codes.ERROR_SUB_PROCESS_FAILED_POTENTIAL.format(reason=reason)
            return None if self.go_back_to_scf() else exit_code
        if is_usable(node.outputs.remote_folder, POTENTIAL_FILES):
            self.ctx.potential_is_done = True
            return None
        reason = 'its files are gone, even after a repetition'
        exit_code = self.exit_codes.ERROR_SUB_PROCESS_FAILED_POTENTIAL.format(reason=reason)
        return None if self.repeat('potential', node) else exit_code
