"""Tests of the generation of orbitals."""

from aiida import orm
from aiida_fixtures import find_problem as problem


def test_basis(prepare, make_inputs):
    """One run for all elements, each on its own pseudopotential."""
    parameters = {'size': 'dzp', 'cutoff_radius': {'Al': 7.5}}
    calc_info, _ = prepare('hamlr.basis', {**make_inputs('hamlr.basis'), 'parameters': orm.Dict(parameters)})
    expected = ['basis', '--upf', 'Al.upf', '--upf', 'As.upf', '--size', 'dzp', '--cutoff-radius', 'Al=7.5']
    assert [code.cmdline_params for code in calc_info.codes_info] == [[*expected, '-o', 'basis']]
    assert [entry[2] for entry in calc_info.local_copy_list] == ['Al.upf', 'As.upf']
    assert [entry[0] for entry in calc_info.retrieve_temporary_list] == ['basis/Al.basis.h5', 'basis/As.basis.h5']
    assert 'size' in problem('hamlr.basis', {**make_inputs('hamlr.basis'), 'parameters': orm.Dict({'sizes': 'dzp'})})


def test_contracted_basis(prepare, make_inputs, structure):
    """The crystals travel as files, and not with plain orbitals."""
    inputs = {**make_inputs('hamlr.basis'), 'structures': {'bulk': structure}}
    inputs['parameters'] = orm.Dict({'size': 'szp', 'recipe': 'plain'})
    assert 'plain' in problem('hamlr.basis', inputs)
    for size in ('dzq', {'Al': 'dzp', 'As': 'dzq'}):
        inputs['parameters'] = orm.Dict({'size': size})
        assert "`size` is 'dzq'" in problem('hamlr.basis', inputs)
    inputs['parameters'] = orm.Dict({'size': 'szp', 'recipe': 'lean'})
    assert "'lean'; known are contracted, plain" in problem('hamlr.basis', inputs)
    inputs['parameters'] = orm.Dict({'size': 'szp', 'recipe': 'contracted'})
    calc_info, folder = prepare('hamlr.basis', inputs)
    command = calc_info.codes_info[0].cmdline_params
    assert command[-6:] == ['--recipe', 'contracted', '--structure', 'structure_0.extxyz', '-o', 'basis']
    assert ('basis/summary.json', '.', 0) in calc_info.retrieve_list
    assert 'structure_0.extxyz' in folder.get_content_list()


def test_pseudopotential_of_another_kind(make_inputs, al_as_pseudos, tmp_path):
    """An ultrasoft pseudopotential, or one of another element, is named before anything runs."""
    from aiida_pseudo.data.pseudo.upf import UpfData

    text = al_as_pseudos['Al'].get_content()
    assert 'pseudo_type="NC"' in text.replace("'", '"')
    ultrasoft = tmp_path / 'Al.us.UPF'
    ultrasoft.write_text(text.replace('pseudo_type="NC"', 'pseudo_type="US"'))
    valid = make_inputs('hamlr.basis')
    message = problem('hamlr.basis', {**valid, 'pseudos': {**al_as_pseudos, 'Al': UpfData(ultrasoft)}})
    assert 'Al.us.UPF' in message
    assert 'ultrasoft' in message.lower()
    message = problem('hamlr.basis', {**valid, 'pseudos': {'Al': al_as_pseudos['As']}})
    assert 'given for Al is one of As' in message
