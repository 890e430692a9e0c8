"""Parser of `hamlr reconstruct`."""

from __future__ import annotations

from aiida import orm

from aiida_hamlr.calculations.properties import SINGLE
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.parsers.base import HamlrParser
from aiida_hamlr.parsers.properties import make_property_nodes, name_as_quantum_espresso

__all__ = ('ReconstructParser',)


class ReconstructParser(HamlrParser):
    """Make nodes of the Hamiltonian and of the properties that were asked for."""

    def parse_outputs(self, folder, summary, exit_code):
        """Attach the Hamiltonian, then what follows from it."""
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
        try:
            for name, node in make_property_nodes(folder, self._structure or hamiltonian.get_structure()):
                self.out(SINGLE[name][0] if name in SINGLE else name, node)
        except ValueError as error:
            return exit_code or self.unreadable(error)
        return None

    def name_as_quantum_espresso(self, summary):
        """Return the Fermi energy and what it belongs to."""
        return name_as_quantum_espresso(summary)

    @property
    def _structure(self) -> orm.StructureData | None:
        """Return the structure of the run, if it is known."""
        inputs = self.node.inputs
        run = inputs.parent_folder.creator if 'parent_folder' in inputs else None
        return run.inputs.structure if run is not None and 'structure' in run.inputs else None

    def _check(self, hamiltonian: HamiltonianData):
        """Check that the Hamiltonian is that of the run, in the orbitals that the job had."""
        inputs = self.node.inputs
        if 'basis' in inputs:
            # Orbitals of other species may be in the node too.
            hashes = {
                label: basis.content_hash
                for label, basis in inputs.basis.get_basis().items()
                if 'pseudos' not in inputs or label in inputs.pseudos
            }
            self.check_hamiltonian(hamiltonian, 'reference', self._structure, hashes)
