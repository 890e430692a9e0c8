"""Tests of the checks before anything runs."""

import numpy as np
import pytest
from aiida import orm
from aiida.plugins import CalculationFactory
from aiida_quantumespresso.data.hubbard_structure import HubbardStructureData
from ase.build import bulk

from aiida_hamlr.calculations.validation import find_pw_problem, find_structure_problem


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({'SYSTEM': {'nspin': 1, 'tot_charge': 0, 'noncolin': False}}, None),
        ({'SYSTEM': {'nspin': 2, 'tot_magnetization': 1}}, None),
        ({'system': {'NSPIN': 4}}, 'nspin = 4: noncollinear'),
        ({'SYSTEM': {'tot_magnetization': 1}}, 'need `nspin` 2'),
        ({'SYSTEM': {'nspin': 2, 'occupations': 'fixed', 'tot_magnetization': 0}}, None),
        ({'SYSTEM': {'nspin': 2, 'occupations': 'fixed', 'starting_magnetization': {'Fe': 0.5}}}, 'needs `tot_mag'),
        ({'SYSTEM': {'LSPINORB': True}}, 'spin-orbit'),
        ({'system': {'tot_charge': -1}}, 'tot_charge = -1: charged cells'),
        ({'SYSTEM': {'lda_plus_u': True}}, 'Hubbard'),
        ({'CONTROL': {'tefield': True}}, 'electric fields'),
        ({'CONTROL': {'dipfield': True}, 'SYSTEM': {'eamp': 0.001, 'edir': 3}}, None),
        ({'SYSTEM': {'constrained_magnetization': 'atomic', 'nspin': 2, 'lambda': 0.1}}, 'penalty field'),
        ({'SYSTEM': {'input_dft': 'PBE'}}, 'input_dft = PBE'),
        ({'SYSTEM': {'vdw_corr': 'Grimme-D3'}}, None),
        ({'SYSTEM': {'vdw_corr': 'ts'}}, 'vdw_corr = ts'),
        ({'SYSTEM': {'twochem': True}}, 'two chemical potentials'),
        ({'SYSTEM': {'Hubbard_U': {'Fe': 3.0}}}, 'Hubbard'),
        ({'SYSTEM': {'sci_vb': 0.5}}, 'scissor'),
        ({'CONTROL': {'lberry': True}}, 'Berry'),
        ({'CONTROL': {'gate': True}}, 'gates'),
        ({'CONTROL': {'trism': True}, 'RISM': {'nsolv': 1}}, 'RISM'),
        ({'ELECTRONS': {'real_space': True}}, 'real space'),
        ({'SYSTEM': {'assume_isolated': 'mt'}}, 'assume_isolated = mt'),
        ({'SYSTEM': {'assume_isolated': '2D'}}, None),
        ({'SYSTEM': {'assume_isolated': 'esm', 'esm_bc': 'bc1'}}, 'assume_isolated = esm'),
        ({'SYSTEM': {'noncolin': True}}, 'noncollinear'),
        ({'SYSTEM': {'input_dft': 'rvv10'}}, 'input_dft = rvv10'),
        ({'SYSTEM': {'vdw_corr': 'xdm'}}, None),
        ({'SYSTEM': {'hubbard_v': [[1, 2, 0.5]]}}, 'Hubbard'),
        ({'SYSTEM': {'exx_fraction': 0.25}}, 'hybrid'),
        ({'SYSTEM': {'qcutz': 10.0, 'ecfixed': 5.0, 'q2sigma': 2.0}}, 'qcutz = 10'),
        ({'CONTROL': {'lelfield': True}, 'ELECTRONS': {'efield_cart': [0, 0, 0.001]}}, 'theory of polarisation'),
        ({'CONTROL': {'calculation': 'relax'}}, "'relax'"),
        ({'CONTROL': {'calculation': 'vc-relax'}}, "'vc-relax'"),
        ({'CONTROL': {'calculation': 'md'}}, "'md'"),
        ({'SYSTEM': {'wholly_new': 1}}, 'wholly_new = 1: this keyword is not known'),
        ({'SYSTEM': {'wholly_new': False}}, None),
        ({'SYSTEM': {'ecutwfcs': 30}}, "did you mean 'ecutwfc'"),
        ({'control': {'Calculation': 'nscf'}}, "'nscf'"),
    ],
)
def test_unsupported_runs_of_pw(parameters, words):
    """What is not supported is found however the names are written."""
    found = find_pw_problem({'parameters': orm.Dict(parameters)})
    assert found is None if words is None else words in found


def test_spin_needs_the_density():
    """The potential of pp.x is that of one spin."""
    for name in ('nspin', 'NSPIN'):
        pw = {'parameters': orm.Dict({'SYSTEM': {name: 2}})}
        assert find_pw_problem(pw) is None
        assert 'leave `potential` out' in find_pw_problem(pw, with_pp=True)


def test_environ_and_hubbard_files_are_refused():
    assert 'Environ' in find_pw_problem({'settings': orm.Dict({'cmdline': ['--environ']})})
    assert 'Environ' in find_pw_problem({'settings': orm.Dict({'ENVIRON': {}})})
    assert 'Hubbard' in find_pw_problem({'hubbard_file': orm.SinglefileData.from_string('', 'hubbard.in')})
    assert find_pw_problem({'settings': orm.Dict({'gamma_only': True})}) is None


def test_structures_with_hubbard_parameters_are_refused():
    structure = orm.StructureData(ase=bulk('Si', 'diamond', a=5.43))
    assert find_structure_problem(structure) is None
    hubbard = HubbardStructureData.from_structure(structure)
    assert find_structure_problem(hubbard) is None
    hubbard.initialize_onsites_hubbard('Si', '3p', 2.0)
    assert 'Hubbard' in find_structure_problem(hubbard)


def test_no_parameters():
    """Inputs without parameters are the business of another check."""
    assert find_pw_problem({}) is None


def test_structures_that_ase_cannot_hold(aiida_profile, structure):
    """They are refused before a job begins, and named."""
    alloy = orm.StructureData(cell=[[4, 0, 0], [0, 4, 0], [0, 0, 4]])
    alloy.append_atom(position=(0, 0, 0), symbols=('Al', 'As'), weights=(0.5, 0.5))
    with pytest.raises(ValueError, match='alloy'):
        alloy.get_ase()
    for entry_point in ('hamlr.predict', 'hamlr.basis'):
        port = CalculationFactory(entry_point).spec().inputs['structures']
        assert port.validate({'good': structure}) is None
        assert 'b: the structure has sites with mixed' in port.validate({'good': structure, 'b': alloy}).message
    trajectory = orm.TrajectoryData()
    trajectory.set_trajectory(symbols=['Al'], positions=np.zeros((1, 1, 3)))
    assert (
        'has no cells' in CalculationFactory('hamlr.predict').spec().inputs['trajectory'].validate(trajectory).message
    )
