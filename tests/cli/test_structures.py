"""Tests of the structures that commands are given."""

import click
import pytest
from aiida import orm

from aiida_hamlr.cli.options import Settings
from aiida_hamlr.cli.structures import load_named_structures, load_source, load_structures


def test_structures(aiida_profile_clean, zincblende, zincblende_cif, structure, tmp_path):
    """Structures come from files with all their frames, from nodes and from groups."""
    import ase.io

    path = tmp_path / 'frames.extxyz'
    ase.io.write(path, [zincblende(), zincblende(cubic=True)])
    group = orm.Group(label='study').store()
    group.add_nodes(structure)
    found = load_structures([str(path), str(structure.pk), 'study'])
    assert list(found) == ['s0', 's1', 's2', 's3']
    assert [len(node.sites) for node in found.values()] == [2, 8, 2, 2]
    with pytest.raises(click.BadParameter, match='nothing_here'):
        load_structures(['nothing_here'])
    with pytest.raises(click.BadParameter, match='not a structure'):
        load_structures([str(orm.Int(1).store().pk)])
    orm.Group(label='nothing').store()
    with pytest.raises(click.BadParameter, match='nothing: an empty group'):
        load_structures(['nothing'])
    disordered = zincblende_cif('Al1 Al 0 0 0 0.7\nSi1 Si 0 0 0 0.3\nAs1 As 0.25 0.25 0.25 1')
    for name, content, reason in (
        ('bad.xyz', '2\n\nAl 0 0 0\n', 'cannot be read as a structure'),
        ('bad.xyz', '1\n\nAl 0 0 0\n', 'cell'),
        ('alloy.cif', disordered, 'the structure is disordered, a site is occupied by Al 0.7, Si 0.3'),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(click.BadParameter, match=reason):
            load_structures([str(tmp_path / name)])


def test_structures_into_a_group(aiida_profile, zincblende, tmp_path, monkeypatch):
    """A file adds to the group what is not in it yet; a group alone is taken as it is."""
    import ase.io

    monkeypatch.chdir(tmp_path)
    ase.io.write('alloys.extxyz', [zincblende(a=a) for a in (5.6, 5.7)])
    first = load_source(['alloys.extxyz'], 'screened alloys')
    assert first.count() == 2
    ase.io.write('alloys.extxyz', [zincblende(a=a) for a in (5.7, 5.8, 5.8)])
    again = load_source(['alloys.extxyz'], 'screened alloys')
    assert (again.pk, again.count()) == (first.pk, 3)
    assert load_source(['screened alloys'], None).pk == first.pk
    assert len(load_source(['alloys.extxyz'], None)) == 3
    assert orm.QueryBuilder().append(orm.Group, filters={'label': 'screened alloys'}).count() == 1


def test_labels_of_predictions_tell_where_a_structure_is_from(aiida_profile_clean, zincblende, structure, tmp_path):
    """Name and frame of a file, label of a node, place in a group, formula and PK; no label occurs twice."""
    import ase.io

    ase.io.write(tmp_path / 'my slabs-2.extxyz', [zincblende(a=a) for a in (5.6, 5.7)])
    ase.io.write(tmp_path / '4H.cif', zincblende())
    named = orm.StructureData(ase=zincblende(a=5.8))
    named.label = 'strained__AlAs'
    named.store()
    group = orm.Group(label='hot/study').store()
    group.add_nodes([orm.StructureData(ase=zincblende(a=5.9)).store()])
    arguments = [tmp_path / 'my slabs-2.extxyz', tmp_path / '4H.cif', named.pk, 'hot/study', structure.pk, named.pk]
    found = load_named_structures([str(argument) for argument in arguments])
    assert list(found) == [
        'my_slabs_2_0',
        'my_slabs_2_1',
        's4H',
        'strained_AlAs',
        'hot_study_0',
        f'AlAs_{structure.pk}',
        'strained_AlAs_2',
    ]
    assert found['my_slabs_2_1'].label == 'my slabs-2_1' and found['my_slabs_2_1'].cell[0][1] == pytest.approx(2.85)


def test_starting_moments_of_files(aiida_profile, zincblende, tmp_path):
    """They become kinds and their moments, unless the command line gives some."""
    import ase.io

    anti, ferro = (zincblende().repeat((1, 1, 2)) for _ in range(2))
    anti.set_initial_magnetic_moments([1.5, 0, -1.5, 0])
    ferro.set_initial_magnetic_moments([1.5, 0, 1.5, 0])
    ase.io.write(tmp_path / 'orders.extxyz', [anti, ferro])
    arguments = [str(tmp_path / 'orders.extxyz')]
    settings = Settings()
    found = load_structures(arguments, settings.starting_moments)
    assert [node.get_site_kindnames() for node in found.values()] == [
        ['Al1', 'As', 'Al2', 'As'],
        ['Al1', 'As', 'Al1', 'As'],
    ]
    types = settings._electronic_types()
    assert types['initial_magnetic_moments'] == {'Al1': 1.5, 'Al2': -1.5}
    assert settings.with_moments({}, 'parameters') == {'parameters': {'magnetic_moments': {'Al1': 1.5, 'Al2': -1.5}}}
    given = Settings(moments=('Al=2',))
    assert list(load_named_structures(arguments, given.starting_moments)) == ['orders_0', 'orders_1']
    assert given._electronic_types()['initial_magnetic_moments'] == {'Al': 2.0}
    anti.arrays.pop('initial_magmoms')
    anti.set_initial_magnetic_moments([[0, 0, 1.5]] * 4)
    ase.io.write(tmp_path / 'vectors.traj', anti)
    with pytest.raises(click.BadParameter, match='noncollinear magnetism is not supported'):
        load_structures([str(tmp_path / 'vectors.traj')], settings.starting_moments)
