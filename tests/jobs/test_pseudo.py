"""`hamlr pseudo`: charges of single elements."""

import pytest

from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential


def test_charges_belong_to_elements(hamlr, tmp_path):
    result = hamlr('pseudo', 'Ga', 'P', '--charge', 'Ga=3', '-o', 'pseudos')
    assert result.exit_code == 0, result.stderr
    valence = {path.name: Pseudopotential.read(path).z_valence for path in (tmp_path / 'pseudos').iterdir()}
    assert valence == {'Ga.q3.upf': 3, 'P.upf': 5}
    assert 'no 3d electrons' in result.stdout


def test_of_one_element_the_charge_alone_is_enough(hamlr, tmp_path):
    assert hamlr('pseudo', 'H', '--charge', '1.25', '-o', 'caps').exit_code == 0
    assert Pseudopotential.read(tmp_path / 'caps/H.q1.25.upf').z_valence == 1.25


def test_a_cheaper_entry_is_named(hamlr):
    assert '--charge Zn=2 is without them' in hamlr('pseudo', 'Zn', '-o', 'pseudos').stdout


@pytest.mark.parametrize(
    ('charges', 'message'),
    [
        (['3'], '--charge 3: of which element? Give Ga=3'),
        (['In=3'], '--charge In=3: In is not among the elements, Ga, P'),
        (['Ga=x'], "--charge Ga=x: 'x' is no number of electrons"),
        (['Ga='], '--charge Ga=: give a value'),
        (['Ga=3', 'Ga=13'], '--charge Ga=13: given twice for Ga'),
        (['P=3'], 'no GTH parameters of P with charge 3; there are some with 5'),
    ],
)
def test_charges_that_do_not_fit_are_refused(hamlr, tmp_path, charges, message):
    options = [option for value in charges for option in ('--charge', value)]
    result = hamlr('pseudo', 'Ga', 'P', *options, '-o', 'pseudos')
    assert result.exit_code != 0 and message in result.stderr
    assert not (tmp_path / 'pseudos').exists()
