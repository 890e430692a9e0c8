"""Parser of `hamlr reconstruct`."""

from __future__ import annotations

from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.parsers.base import HamlrParser

__all__ = ('ReconstructParser',)


class ReconstructParser(HamlrParser):
    """Make a Hamiltonian node of the file."""

    def parse_outputs(self, folder, summary, exit_code):
        """Attach the Hamiltonian."""
        path = folder / HamiltonianData.FILENAME
        if not path.is_file():
            return self.missing(path.name, exit_code)
        try:
            self.out('hamiltonian', HamiltonianData.from_file(path))
        except ValueError as error:
            return self.unreadable(error)
        return None
