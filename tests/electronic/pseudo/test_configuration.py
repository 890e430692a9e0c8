"""Occupied shells from files and from the electron configuration of the elements."""

import gzip
from pathlib import Path

import pytest

from aiida_hamlr.electronic.pseudo.configuration import occupied_shells, valence_shells
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential

EXAMPLES = Path('/usr/share/doc/quantum-espresso/examples')


@pytest.mark.parametrize(
    ('element', 'n_valence', 'expected'),
    [
        ('H', 1, '1s1'),
        ('Al', 3, '3s2 3p1'),
        ('Al', 11, '2s2 2p6 3s2 3p1'),
        ('Ga', 13, '3d10 4s2 4p1'),
        ('Ga', 3, '4s2 4p1'),
        ('Zn', 20, '3s2 3p6 3d10 4s2'),
        ('Cu', 11, '3d10 4s1'),
        ('Mo', 14, '4s2 4p6 4d5 5s1'),
        ('W', 14, '5s2 5p6 5d4 6s2'),
        ('Tl', 13, '5d10 6s2 6p1'),
    ],
)
def test_valence_shells(element, n_valence, expected):
    shells = valence_shells(element, n_valence)
    assert ' '.join(f'{shell.label}{shell.occupation:g}' for shell in shells) == expected


def test_charge_that_ends_no_shell_is_refused():
    with pytest.raises(ValueError, match=r'no closed core of Ga .* leaves 5 valence electrons'):
        valence_shells('Ga', 5)


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason='no examples of Quantum ESPRESSO')
@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('Ga_ONCV_LDA-1.0.upf.gz', ['4s', '4p', '3d']),
        # Without orbitals, and with orbitals that are not named.
        ('Ag_ONCV_PBE-1.0.upf.gz', ['4s', '5s', '4p', '4d']),
        ('O_HSCV_PBE-1.0.UPF.gz', ['2s', '2p']),
    ],
)
def test_shells_of_files(name, expected):
    text = gzip.decompress(next(EXAMPLES.rglob(name)).read_bytes()).decode(errors='replace')
    assert [shell.label for shell in occupied_shells(Pseudopotential.from_text(text))] == expected
