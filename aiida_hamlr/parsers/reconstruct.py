"""Parser of `hamlr reconstruct`."""

from __future__ import annotations

from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.parsers.base import HamlrParser

__all__ = ('ReconstructParser',)


class ReconstructParser(HamlrParser):
    """Make a Hamiltonian node of the file."""

    def parse_outputs(self, folder, summary, exit_code):
        """Attach the Hamiltonian."""
        if self.is_not_stashed:
            return exit_code or self.exit_codes.ERROR_NOT_STASHED
        try:
            hamiltonian = self.make_hamiltonian(folder, HamiltonianData.FILENAME)
            if hamiltonian is not None:
                self._check(hamiltonian)
        except ValueError as error:
            return self.unreadable(error)
        if hamiltonian is None:
            return self.missing(HamiltonianData.FILENAME, exit_code)
        self.out('hamiltonian', hamiltonian)
        return None

    def _check(self, hamiltonian: HamiltonianData):
        """Check that the Hamiltonian is that of the run, in the orbitals that the job had."""
        inputs = self.node.inputs
        run = inputs.parent_folder.creator if 'parent_folder' in inputs else None
        structure = run.inputs.structure if run is not None and 'structure' in run.inputs else None
        if 'basis' in inputs:
            # Orbitals of other species may be in the node too.
            hashes = {
                label: basis.content_hash
                for label, basis in inputs.basis.get_basis().items()
                if 'pseudos' not in inputs or label in inputs.pseudos
            }
            self.check_hamiltonian(hamiltonian, 'reference', structure, hashes)
