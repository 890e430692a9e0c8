"""Selection and record of a round of active learning."""

import pytest
from aiida import orm

from aiida_hamlr.calculations.functions.learning import record_round, select_structures
from aiida_hamlr.data.structures import structure_from_atoms
from aiida_hamlr.jobs.tables import format_table


@pytest.fixture
def structures(aiida_profile, zincblende):
    """Return five structures: a crystal, two nearly equal ones, and two others."""
    nodes = []
    for amplitude, seed in ((0.0, 0), (0.2, 1), (0.201, 1), (0.2, 2), (0.1, 3)):
        atoms = zincblende()
        atoms.rattle(amplitude, seed=seed)
        nodes.append(structure_from_atoms(atoms).store())
    return nodes


def make_table(structures, uncertainties):
    """Return the table of a screening; a structure without uncertainty has failed."""
    rows = [
        {'structure': node.uuid, 'status': 'failed' if value is None else 'done', 'uncertainty_meV': value}
        for node, value in zip(structures, uncertainties, strict=True)
    ]
    rows[0]['n_unusual_distances'] = 2
    return orm.SinglefileData.from_string(format_table(rows), 'results.csv')


def settings(**given):
    return orm.Dict({'column': 'uncertainty_meV', 'number': 2, 'known': [], **given})


def test_uncertain_and_diverse(structures):
    """The most uncertain one, then not its twin but another one; what has no prediction does not count."""
    table = make_table(structures, (0.1, 3.0, 2.9, 2.5, None))
    result = select_structures(table, settings()).get_dict()
    assert result['structures'] == [structures[1].uuid, structures[3].uuid]
    assert result['uncertainties_meV'] == [3.0, 2.5]
    assert (result['n_candidates'], result['n_unusual_distances']) == (4, 1)
    assert result['uncertainty_mean_meV'] == pytest.approx((0.1 + 3.0 + 2.9 + 2.5) / 4)
    assert result['uncertainty_max_meV'] == 3.0


def test_known_structures_are_left_out(structures):
    """Also if nothing is left, which is an exit code and no exception."""
    table = make_table(structures, (0.1, 3.0, 2.9, 2.5, None))
    known = [structures[1].uuid, structures[3].uuid]
    assert select_structures(table, settings(known=known))['structures'][0] == structures[2].uuid
    _, node = select_structures.run_get_node(table, settings(known=[each.uuid for each in structures]))
    assert node.exit_status == 400


def test_infinite_uncertainty(structures):
    """Comes first, and is stored as no number."""
    table = make_table(structures, (0.1, float('inf'), 2.9, 2.5, 1.0))
    result = select_structures(table, settings(number=1)).get_dict()
    assert result['structures'] == [structures[1].uuid]
    assert result['uncertainties_meV'] == [None]
    assert result['uncertainty_max_meV'] is None


def test_record(aiida_profile):
    """Errors are means over the models; other entries of the summaries do not count."""
    numbers = orm.Dict({'round': 1, 'n_train': 4})
    one = orm.Dict({'validation_mae_meV': 1.0, 'test_mae_meV': 2.0, 'wall_s': 9.0, 'steps': 3})
    other = orm.Dict({'validation_mae_meV': 3.0, 'test_mae_meV': 4.0, 'wall_s': 9.0, 'test_gap_error_meV': 1.0})
    record = record_round(numbers, model_0=one, model_1=other).get_dict()
    assert record == {'round': 1, 'n_train': 4, 'validation_mae_meV': 2.0, 'test_mae_meV': 3.0}
    selection = orm.Dict(
        {
            'column': 'uncertainty_meV',
            'structures': ['a'],
            'uncertainties_meV': [3.0],
            'n_candidates': 7,
            'uncertainty_mean_meV': 1.0,
            'uncertainty_max_meV': 3.0,
        }
    )
    record = record_round(numbers, selection, model_0=one).get_dict()
    assert (record['selected'], record['n_candidates'], record['candidates_uncertainty_max_meV']) == (['a'], 7, 3.0)
