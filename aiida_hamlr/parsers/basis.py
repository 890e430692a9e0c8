"""Parser of `hamlr basis`."""

from __future__ import annotations

from aiida_hamlr.data.basis import BasisData
from aiida_hamlr.parsers.base import HamlrParser

__all__ = ('BasisParser',)


class BasisParser(HamlrParser):
    """Make a basis node of the files."""

    def parse_outputs(self, folder, summary, exit_code):
        """Attach the orbitals of all species."""
        paths = {label: folder / BasisData.filename(label) for label in sorted(self.node.inputs.pseudos)}
        for path in paths.values():
            if not path.is_file():
                return self.missing(path.name, exit_code)
        try:
            basis = BasisData.from_files(paths)
        except ValueError as error:
            return self.unreadable(error)
        self.out('basis', basis)
        return None
