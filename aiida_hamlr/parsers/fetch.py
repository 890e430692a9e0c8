"""Parser of the job that copies Hamiltonians into the repository."""

from __future__ import annotations

from pathlib import Path

from aiida.parsers import Parser

from aiida_hamlr.calculations.fetch import FetchCalculation
from aiida_hamlr.data.hamiltonian import HamiltonianData

__all__ = ('FetchParser',)


class FetchParser(Parser):
    """Check the copied files and make nodes of them."""

    def parse(self, retrieved_temporary_folder: str | None = None, **kwargs):
        """Compare every file with its node, and attach it."""
        if retrieved_temporary_folder is None:
            return self.exit_codes.ERROR_NO_RETRIEVED_TEMPORARY_FOLDER
        gone, changed = [], []
        for label, node in sorted(self.node.inputs.hamiltonians.items()):
            path = Path(retrieved_temporary_folder) / FetchCalculation.filename(label)
            if not path.is_file():
                gone.append(f'node {node.pk} on {node.computer.label} at {node.base.attributes.get("remote_path")}')
                continue
            try:
                node.check_file(path)
                self.out(f'hamiltonians.{label}', HamiltonianData.from_file(path))
            except ValueError as error:
                changed.append(str(error))
        if gone:
            return self.exit_codes.ERROR_FILES_GONE.format(reason='; '.join(gone))
        if changed:
            return self.exit_codes.ERROR_FILES_CHANGED.format(reason='; '.join(changed))
        return None
