"""Tests of pp.x for the potential."""

from aiida import orm
from aiida_fixtures import find_problem as problem


def test_potential(prepare, make_inputs):
    """Links instead of copies, no cube, and nothing but the output is retrieved."""
    calc_info, folder = prepare('hamlr.potential', make_inputs('hamlr.potential'))
    assert not calc_info.remote_copy_list
    assert [entry[1:] for entry in calc_info.remote_symlink_list] == [
        ('/scratch/pw/./out/aiida.save/data-file-schema.xml', './out/aiida.save/data-file-schema.xml'),
        ('/scratch/pw/./out/aiida.save/charge-density.*', './out/aiida.save'),
        ('/scratch/pw/./out/aiida.save/*.[uU][pP][fF]', './out/aiida.save'),
    ]
    with folder.open('aiida.in') as stream:
        text = stream.read()
    assert 'plot_num = 1' in text
    assert 'PLOT\n' not in text.replace('&INPUTPP\n', '')
    assert calc_info.retrieve_list == ['aiida.out']
    wrong = orm.Dict({'INPUTPP': {'plot_num': 0}})
    assert 'plot_num' in problem('hamlr.potential', {**make_inputs('hamlr.potential'), 'parameters': wrong})
