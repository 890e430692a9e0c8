"""Where the energies of a figure count from: a band edge, the Fermi level, the vacuum level, or the stored zero."""

from __future__ import annotations

from dataclasses import dataclass

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.properties import Properties

__all__ = ('ZEROS', 'Levels', 'energy_label')

#: Choices; 'edge' is the valence band maximum, or the Fermi level of a metal.
ZEROS = ('edge', 'vbm', 'fermi', 'vacuum', 'none')

_SYMBOLS = {'vbm': r'$E_\mathrm{VBM}$', 'fermi': r'$E_\mathrm{F}$', 'vacuum': r'$E_\mathrm{vacuum}$'}


@dataclass(frozen=True)
class Levels:
    """Energies that can be the zero of a figure, eV; None where one is not known or does not exist.

    Parameters
    ----------
    vbm : float
        Valence band maximum; None for a metal.
    fermi : float
        Fermi level.
    vacuum : float
        Electrostatic potential energy far from a slab or molecule.
    cbm : float
        Conduction band minimum; None for a metal.
    """

    vbm: float | None = None
    fermi: float | None = None
    vacuum: float | None = None
    cbm: float | None = None

    @classmethod
    def of_bands(cls, bands: Bands, vacuum: float | None = None) -> Levels:
        """Levels of bands; the vacuum level has to be given."""
        attributes = bands.attributes
        vbm, cbm = (attributes.vbm, attributes.vbm + attributes.gap) if attributes.gap else (None, None)
        return cls(vbm, attributes.fermi_level, vacuum, cbm)

    @classmethod
    def of_properties(cls, properties: Properties, vacuum: float | None = None) -> Levels:
        """Levels of properties; those that earlier versions wrote know the Fermi level alone."""
        attributes = properties.attributes
        gap = attributes.get('gap_eV')
        vbm = attributes.get('vbm_eV') if gap else None
        cbm = None if vbm is None else vbm + gap
        return cls(vbm, attributes.get('fermi_level_eV'), vacuum, cbm)

    def resolve(self, choice: str) -> str:
        """What a choice means here: 'vbm', 'fermi', 'vacuum' or 'none'.

        Raises
        ------
        ValueError
            If the choice is unknown, or its level is not known here.
        """
        if choice not in ZEROS:
            raise ValueError(f'zero {choice!r}: choose of {", ".join(ZEROS)}')
        if choice == 'edge':
            return next((name for name in ('vbm', 'fermi') if getattr(self, name) is not None), 'none')
        if choice != 'none' and getattr(self, choice) is None:
            reason = {
                'vbm': 'a metal has no valence band maximum',
                'fermi': 'the Fermi level is not known',
                'vacuum': 'the vacuum level is known only of references of slabs and molecules',
            }[choice]
            raise ValueError(f'no zero at {choice}: {reason}; choose another, for example edge')
        return choice

    def of(self, choice: str) -> float:
        """The energy of a choice, eV; 0 for 'none'."""
        resolved = self.resolve(choice)
        return 0.0 if resolved == 'none' else getattr(self, resolved)

    def window(self, choice: str, reach: float) -> tuple[float, float]:
        """Energies to show, eV from the zero of a choice, of which both band edges are part.

        Parameters
        ----------
        choice : str
            As of `resolve`.
        reach : float
            How far the window reaches from the valence band maximum or Fermi level, eV; above a wide gap it is half as
            far from the conduction band minimum.
        """
        edge = self.of('edge')
        middle = edge - self.of(choice)
        above = reach if self.cbm is None else max(reach, self.cbm - edge + 0.5 * reach)
        return middle - reach, middle + above


def energy_label(resolved: str) -> str:
    """Label of an axis of energies with a zero that `Levels.resolve` returned."""
    return f'Energy − {_SYMBOLS[resolved]} (eV)' if resolved in _SYMBOLS else 'Energy (eV)'
