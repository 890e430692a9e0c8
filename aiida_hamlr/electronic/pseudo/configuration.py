"""Which shells of a pseudo-atom are occupied."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ase.data import atomic_numbers

from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential

LETTERS = 'spdfg'


@dataclass(frozen=True)
class OccupiedShell:
    """A shell of the free atom.

    Parameters
    ----------
    n, angular_momentum : int
        Quantum numbers of the all-electron atom.
    occupation : float
        Electrons.
    """

    n: int
    angular_momentum: int
    occupation: float

    @property
    def label(self) -> str:
        """As in '3s'."""
        return f'{self.n}{LETTERS[self.angular_momentum]}'


def occupied_shells(pseudo: Pseudopotential) -> list[OccupiedShell]:
    """The shells that the pseudo-atom's electrons occupy, by angular momentum, the lowest first.

    They are the occupied orbitals of the file; for a file without orbitals (SG15, for one) they follow from the
    electron configuration of the element.

    Raises
    ------
    ValueError
        If the file has no orbitals and its charge does not end a shell of the atom.
    """
    shells = []
    for orbital in pseudo.wavefunctions:
        if orbital.occupation <= 0:
            continue
        label = re.fullmatch(rf'([1-8])[{LETTERS}]', orbital.label.strip().lower())
        if label is None:
            shells = []
            break
        shells.append(OccupiedShell(int(label[1]), orbital.angular_momentum, orbital.occupation))
    if not shells:
        shells = valence_shells(pseudo.element, pseudo.z_valence)
    return sorted(shells, key=lambda shell: (shell.angular_momentum, shell.n))


def valence_shells(element: str, n_valence: float) -> list[OccupiedShell]:
    """The outer shells of the neutral atom that hold a number of electrons.

    Shells belong to the core in the order of their principal quantum number, then of their angular momentum (3d before
    4s), which is how semicore shells are chosen.

    Parameters
    ----------
    element : str
        Chemical symbol.
    n_valence : float
        Electrons outside the core.

    Raises
    ------
    ValueError
        If no core of closed shells leaves this number of electrons.
    """
    from pyscf.data.elements import CONFIGURATION

    shells = []
    for l, electrons in enumerate(CONFIGURATION[atomic_numbers[element]]):
        n, capacity = l + 1, 2 * (2 * l + 1)
        while electrons > 0:
            shells.append(OccupiedShell(n, l, float(min(electrons, capacity))))
            electrons, n = electrons - capacity, n + 1
    shells.sort(key=lambda shell: (shell.n, shell.angular_momentum))
    for i in range(len(shells)):
        if abs(sum(shell.occupation for shell in shells[i:]) - n_valence) < 1e-6:
            return shells[i:]
    configuration = ' '.join(f'{shell.label}{shell.occupation:g}' for shell in shells)
    raise ValueError(f'no closed core of {element} ({configuration}) leaves {n_valence:g} valence electrons')
