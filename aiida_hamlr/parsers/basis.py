"""Parser of `hamlr basis`."""

from __future__ import annotations

from aiida_hamlr.data.basis import BasisData
from aiida_hamlr.parsers.base import HamlrParser

__all__ = ('BasisParser',)


class BasisParser(HamlrParser):
    """Make a basis node of the files."""

    def parse_outputs(self, folder, summary, exit_code):
        """Attach the orbitals of all elements."""
        elements = sorted(self.node.inputs.pseudos)
        paths = [folder / BasisData.filename(element) for element in elements]
        for path in paths:
            if not path.is_file():
                return self.missing(path.name, exit_code)
        try:
            basis = BasisData.from_files(paths)
            if basis.elements != elements:
                raise ValueError(f'orbitals of {", ".join(basis.elements)} in files of {", ".join(elements)}')
        except ValueError as error:
            return self.unreadable(error)
        self.out('basis', basis)
        return None
