"""UPF files whose numbers cannot be those of an ion."""

import dataclasses

import pytest
from qe_fixtures import DEBIAN_PSEUDOS, debian_pseudo

from aiida_hamlr.electronic.pseudo.checks import check_local_potential, density_note
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.pseudo.upf import parse_upf
from aiida_hamlr.electronic.pseudo.upf_writing import format_upf


@pytest.fixture(scope='module')
def content():
    return parse_upf(debian_pseudo('Al.pz-vbc.UPF').text, 'Al.upf')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: {'v_local': 0.0 * c.v_local}, 'PP_LOCAL is zero everywhere'),
        (lambda c: {'v_local': 0.5 * c.v_local}, r'r V is -3 Ry bohr at 9.* bohr instead of -2 Z = -6'),
        (lambda c: {'v_local': 13.6057 * c.v_local}, 'is not in Ry'),
        (lambda c: {'z_valence': 2.9}, 'z_valence is wrong'),
    ],
)
def test_potential_without_the_tail_of_its_ion(content, tmp_path, change, message):
    text = format_upf(dataclasses.replace(content, **change(content)), 'changed', 'test')
    (tmp_path / 'Al.upf').write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        Pseudopotential.read(tmp_path / 'Al.upf')
    assert str(caught.value).startswith(str(tmp_path / 'Al.upf'))


def test_mesh_that_ends_early(content):
    """SG15 files end at 6 bohr: the tail is looked at there."""
    inside = content.r < 6.0
    short = dataclasses.replace(content, r=content.r[inside], v_local=content.v_local[inside])
    check_local_potential(short, 'Al')


def test_generated_files_have_their_tail():
    for element in ('H', 'Al', 'As', 'Zn'):
        check_local_potential(parse_upf(make_pseudopotential(element).text, element), element)


@pytest.mark.parametrize('name', sorted(path.name for path in DEBIAN_PSEUDOS.glob('*.UPF')))
def test_every_supported_file_of_debian_passes(name):
    try:
        found = parse_upf((DEBIAN_PSEUDOS / name).read_text(errors='replace'), name)
    except ValueError:
        pytest.skip('not supported')
    check_local_potential(found, name)


def test_density_of_another_number_of_electrons_is_noted():
    assert density_note(4.0, 4.001, 'Si.upf') is None
    assert debian_pseudo('Si.pz-vbc.UPF').notes == []
    (note,) = debian_pseudo('C.pbe-mt_gipaw.UPF').notes
    assert 'PP_RHOATOM holds 3.5000 electrons, the ion has a charge of 4' in note
