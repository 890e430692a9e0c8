"""Tests of the parser of bases."""

from aiida.plugins import CalculationFactory

STATUS = {'hamlr.status': '0'}
CODES = CalculationFactory('hamlr.basis').exit_codes


def test_basis(parse, make_hamiltonian, zincblende, al_as_pseudos, tmp_path):
    """The files of all elements make one node."""
    for element, species in make_hamiltonian(zincblende()).basis.items():
        species.write(tmp_path / f'{element}.basis.h5')
    files = {**STATUS, 'summary.json': '{"band_error_occupied_meV": 12.5}'}
    results, node = parse('hamlr.basis', files, inputs={'pseudos': al_as_pseudos})
    assert node.is_finished_ok, node.exit_message
    assert results['basis'].elements == ['Al', 'As']
    assert results['output_parameters'].get_dict() == {'band_error_occupied_meV': 12.5}
    (tmp_path / 'As.basis.h5').unlink()
    _, node = parse('hamlr.basis', files, inputs={'pseudos': al_as_pseudos})
    assert 'As.basis.h5' in node.exit_message
