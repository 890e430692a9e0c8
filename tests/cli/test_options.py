"""Tests of the options that commands share."""

import click
import pytest
from aiida import orm
from aiida_quantumespresso.common.types import ElectronicType, SpinType

from aiida_hamlr.cli.options import Settings, load_pseudos, read_moments


@pytest.mark.parametrize(
    ('with_mpi', 'given', 'option'), [(None, False, False), (None, True, True), (True, False, None)]
)
def test_mpi_is_that_of_the_code(localhost, with_mpi, given, option):
    """An option that is not given does not contradict the code."""
    code = orm.InstalledCode(computer=localhost, filepath_executable='/bin/true', with_mpi=with_mpi)
    assert Settings(with_mpi=given or None).job_options(code).get('withmpi') == option


def test_mpi_against_the_code(localhost):
    """One that is given and contradicts it is named."""
    code = orm.InstalledCode(computer=localhost, filepath_executable='/bin/true', with_mpi=False, label='pw')
    with pytest.raises(click.BadParameter, match='code pw is set up with `with_mpi` False'):
        Settings(with_mpi=True).job_options(code)


def test_moments_are_finite():
    """NaN and infinity are refused with the option's name."""
    assert read_moments(['Fe1=2.5', 'O=-1']) == {'Fe1': 2.5, 'O': -1.0}
    for wrong in ('Fe', 'Fe=x', 'Fe=nan', 'Fe=inf'):
        with pytest.raises(click.BadParameter, match=f'{wrong}: give a kind and its moment'):
            read_moments([wrong])


def test_pseudopotentials_of_kinds(aiida_profile, tmp_path):
    """From a file or a node, by the name of the kind."""
    from aiida_hamlr.data.upf import FractionalUpfData
    from aiida_hamlr.electronic.pseudo.gth import write_upf

    write_upf(tmp_path / 'H1.upf', 'H', 1.25)
    node = load_pseudos([f'H1={tmp_path}/H1.upf'])['H1'].store()
    assert isinstance(node, FractionalUpfData)
    assert load_pseudos([f'H2={node.pk}'])['H2'].uuid == node.uuid
    for wrong in ('H1', 'H1=nothing.upf'):
        with pytest.raises(click.BadParameter, match=wrong):
            load_pseudos([wrong])


def test_electronic_types():
    """Moments imply a metal; nothing given is an insulator without spin."""
    plain = Settings()._electronic_types()
    assert plain == {'electronic_type': ElectronicType.INSULATOR}
    assert Settings(metal=True)._electronic_types()['electronic_type'] is ElectronicType.METAL
    spin = Settings(moments=('Fe1=2.5', 'Fe2=-2.5'))._electronic_types()
    assert spin['electronic_type'] is ElectronicType.METAL and spin['spin_type'] is SpinType.COLLINEAR
    assert spin['initial_magnetic_moments'] == {'Fe1': 2.5, 'Fe2': -2.5}
    fixed = Settings(moments=('Fe=2',), metal=False)._electronic_types()
    assert fixed['electronic_type'] is ElectronicType.INSULATOR
    assert Settings(spin_orbit=True)._electronic_types()['spin_type'] is SpinType.SPIN_ORBIT
    with pytest.raises(click.BadParameter, match='excludes --spin, and starting moments in files'):
        Settings(spin_orbit=True, moments=('Fe=2',))._electronic_types()
    with pytest.raises(click.BadParameter, match='as in Fe1=2.5'):
        Settings(moments=('Fe',))._electronic_types()
