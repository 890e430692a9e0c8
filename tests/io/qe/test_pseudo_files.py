"""Pseudopotentials that are given against those that a run read."""

import dataclasses
from types import SimpleNamespace

import pytest
from qe_fixtures import debian_pseudo

from aiida_hamlr.electronic.pseudo.upf import parse_upf
from aiida_hamlr.electronic.pseudo.upf_writing import format_upf
from aiida_hamlr.io.qe import check_saved_pseudos, find_other_names

RUN = SimpleNamespace(pseudo_files={'Si1': 'Si.run.UPF', 'Si2': 'Si.run.UPF'})


@pytest.fixture
def pseudos():
    return {'Si': debian_pseudo('Si.pz-vbc.UPF')}


def test_other_names_are_told(tmp_path):
    assert find_other_names(RUN, {'Si': tmp_path / 'Si.run.UPF'}) is None
    found = find_other_names(RUN, {'Si': tmp_path / 'Si.pz-vbc.UPF'})
    assert 'Si1 Si.run.UPF (given: Si.pz-vbc.UPF)' in found


def test_copies_are_compared(tmp_path, pseudos):
    copy = tmp_path / 'Si.run.UPF'
    assert check_saved_pseudos(RUN, pseudos, [tmp_path]) == []
    copy.write_text(pseudos['Si'].text.replace('\n', '\r\n'))
    assert check_saved_pseudos(RUN, pseudos, [tmp_path / 'absent', tmp_path]) == ['Si1', 'Si2']
    content = parse_upf(pseudos['Si'].text)
    copy.write_text(format_upf(content, 'the same numbers', 'test'))
    assert check_saved_pseudos(RUN, pseudos, [tmp_path]) == ['Si1', 'Si2']
    copy.write_text(format_upf(dataclasses.replace(content, dij=0.98 * content.dij), 'others', 'test'))
    with pytest.raises(ValueError, match=r'Si\.run\.UPF: the run read another pseudopotential of Si1'):
        check_saved_pseudos(RUN, pseudos, [tmp_path])
    copy.write_text('not a UPF file')
    with pytest.raises(ValueError, match='another pseudopotential'):
        check_saved_pseudos(RUN, pseudos, [tmp_path])


def test_names_lead_to_no_other_folder(tmp_path, pseudos):
    """A damaged XML file may name any path."""
    (tmp_path / 'save').mkdir()
    (tmp_path / 'secret.UPF').write_text('x')
    run = SimpleNamespace(pseudo_files={'Si': '../secret.UPF'})
    assert check_saved_pseudos(run, pseudos, [tmp_path / 'save']) == []
