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
        except ValueError as error:
            return self.unreadable(error)
        if hamiltonian is None:
            return self.missing(HamiltonianData.FILENAME, exit_code)
        self.out('hamiltonian', hamiltonian)
        return None
