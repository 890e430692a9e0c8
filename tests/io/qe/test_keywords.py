"""Which runs of pw.x are taken and which are refused, on small real runs of every kind that pw.x 6.7 knows."""

import lzma
import re
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from qe_fixtures import PSEUDO_FILES, debian_pseudo, pw_input, run_executable

from aiida_hamlr.electronic.pseudo.upf import parse_upf
from aiida_hamlr.electronic.pseudo.upf_writing import format_upf
from aiida_hamlr.io.qe import check_supported, read_scf_xml
from aiida_hamlr.io.qe.keywords import HARMLESS, REFUSED, find_keyword_problem, keywords_of_xml
from aiida_hamlr.jobs.reconstruct import reconstruct

FIXTURES = Path(__file__).parents[1] / 'fixtures'
SMEARING = "occupations='smearing' degauss=0.02"


def test_no_keyword_is_both_harmless_and_refused():
    names = ' '.join(HARMLESS.values()).split()
    assert len(names) == len(set(names))
    assert not set(names) & set(REFUSED)
    assert all(name == name.lower() for name in [*names, *REFUSED])


@pytest.mark.parametrize('name', REFUSED)
def test_what_is_refused_is_named_with_a_reason_and_what_to_do(name):
    problem = find_keyword_problem({name: 3})
    assert problem.startswith(f'{name} = 3: ')
    assert '\n' not in problem and re.search('; |leave|run without', problem)
    for off in (False, None, 0, 'none'):
        assert name == 'nspin' or find_keyword_problem({name: off}) is None


def test_unknown_keywords_count_once_they_are_set():
    assert find_keyword_problem({'new_physics': False, 'other': 0}) is None
    assert 'new_physics = 0.1: this keyword is not known' in find_keyword_problem({'new_physics': 0.1})


@pytest.mark.parametrize(
    ('section', 'words'),
    [
        ('<twoch_><twochem>true</twochem><nbnd_cond>4</nbnd_cond></twoch_>', 'two chemical potentials'),
        ('<control_variables><rism>true</rism></control_variables>', 'RISM'),
        ('<control_variables><fcp>true</fcp></control_variables>', 'constant-potential'),
        ('<spin_constraints><spin_constraints>atomic</spin_constraints></spin_constraints>', 'penalty field'),
        ('<electric_field><electric_potential>Berry_Phase</electric_potential></electric_field>', 'Berry'),
        ('<later_section><strength>0.3</strength></later_section>', 'strength = 0.3: this keyword is not known'),
        ('<later_section><strength>0.0</strength></later_section>', None),
    ],
)
def test_sections_of_other_versions(section, words):
    root = fromstring(f'<espresso><input>{section}</input><output/></espresso>')  # noqa: S314
    problem = find_keyword_problem(keywords_of_xml(root))
    assert problem is None if words is None else words in problem


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Function: XML file of a small run of silicon with these keywords, calculation and cards."""

    def make(control='', system='', electrons='', calculation='scf', pseudo=None, text=str, slab=False):
        folder = tmp_path_factory.mktemp('run')
        if slab:
            cell = [[3.9, 0, 0], [-1.95, 3.9 * np.sqrt(0.75), 0], [0, 0, 11.0]]
            atoms = Atoms('AlAs', scaled_positions=[[1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.56]], cell=cell, pbc=True)
            atoms.positions[:, 2] -= slab if isinstance(slab, float) else 0.0
        else:
            atoms = bulk('Si', 'diamond', a=5.43)
            atoms.positions[1] += [0.05, 0.02, 0.03]
        for element in set(atoms.symbols):
            name = pseudo or PSEUDO_FILES[element].name
            (folder / f'{element}.upf').write_text(debian_pseudo(name).text)
        content = pw_input(atoms, 8, (1, 1, 1), 8, system, electrons).replace('conv_thr=1e-13', 'conv_thr=1e-9')
        content = content.replace("&control calculation='scf'", f"&control calculation='{calculation}' {control}")
        if calculation != 'scf':
            content = content.replace('ATOMIC_SPECIES', '&ions /\n&cell /\nATOMIC_SPECIES')
        printed = run_executable('pw.x', text(content), folder)
        assert 'JOB DONE' in printed, printed[-2000:]
        return folder / 'out/aiida.save/data-file-schema.xml'

    return make


def more_kpoints(text):
    return text.replace('1 1 1 0 0 0', '2 2 1 0 0 0')


@pytest.mark.qe
@pytest.mark.parametrize(
    ('keywords', 'words'),
    [
        ({'system': "assume_isolated='mt'"}, 'assume_isolated = martyna'),
        ({'system': "assume_isolated='esm' esm_bc='bc1'", 'slab': 5.8}, 'assume_isolated = esm'),
        ({'system': f'tot_charge=0.1 {SMEARING}'}, 'tot_charge = 0.1'),
        ({'system': 'noncolin=.true.', 'text': lambda text: text.replace('nbnd=8', 'nbnd=12')}, 'noncollinear'),
        (
            {
                'system': f'noncolin=.true. starting_magnetization(1)=0.1 B_field(3)=0.01 {SMEARING}',
                'text': lambda text: text.replace('nbnd=8', 'nbnd=12'),
            },
            'noncollinear',
        ),
        ({'system': 'lda_plus_u=.true. Hubbard_U(2)=2.0', 'slab': True}, 'Hubbard'),
        ({'system': 'lda_plus_u=.true. lda_plus_u_kind=2 Hubbard_V(2,2,1)=1.0', 'slab': True}, 'Hubbard'),
        ({'system': 'lda_plus_u=.true. Hubbard_U(2)=1e-8 Hubbard_alpha(2)=0.1', 'slab': True}, 'Hubbard'),
        ({'system': 'lda_plus_u=.true. Hubbard_J0(2)=1.0', 'slab': True}, 'Hubbard'),
        ({'system': "input_dft='pbe0' nqx1=1 nqx2=1 nqx3=1"}, 'hybrid'),
        ({'system': "input_dft='hse' nqx1=1 nqx2=1 nqx3=1"}, 'hybrid'),
        ({'system': "input_dft='blyp'"}, "functional 'BLYP' is not supported"),
        ({'system': 'qcutz=10. q2sigma=2. ecfixed=5.'}, 'qcutz = 10'),
        ({'system': "vdw_corr='ts'", 'pseudo': 'Si.pbe-rrkj.UPF'}, 'vdw_corr = ts'),
        ({'system': "vdw_corr='mbd'", 'pseudo': 'Si.pbe-rrkj.UPF'}, 'vdw_corr = mbd'),
        ({'electrons': 'tbeta_smoothing=.true.'}, 'tbeta_smoothing = True'),
        (
            {'control': 'lelfield=.true.', 'electrons': 'efield_cart(3)=0.001', 'slab': True, 'text': more_kpoints},
            'modern theory of polarisation',
        ),
        ({'control': 'tefield=.true.', 'system': 'edir=3 eamp=0.001'}, 'eamp = 0.001'),
        (
            {
                'control': 'tefield=.true. dipfield=.true.',
                'system': "edir=3 eamp=0.0 emaxpos=0.9 assume_isolated='2D'",
                'slab': True,
            },
            "a slab with assume_isolated = '2D' needs no dipole correction",
        ),
        (
            {
                'calculation': 'relax',
                'control': 'lfcpopt=.true.',
                'system': f"assume_isolated='esm' esm_bc='bc2' fcp_mu=-0.2 {SMEARING}",
                'slab': 5.8,
            },
            'assume_isolated = esm',
        ),
        (
            {
                'control': 'tefield=.true. dipfield=.true. gate=.true.',
                'system': f'edir=3 eamp=0.0 zgate=0.7 tot_charge=-0.05 {SMEARING}',
                'slab': True,
            },
            'gate = True',
        ),
        (
            {
                'system': "nspin=2 starting_magnetization(1)=0.5 constrained_magnetization='atomic' lambda=0.5 "
                + SMEARING,
                'electrons': 'mixing_beta=0.3',
            },
            'constrained_magnetization = atomic',
        ),
        ({'calculation': 'relax', 'control': 'nstep=1'}, 'the relaxation did not converge'),
        ({'calculation': 'vc-relax', 'control': 'nstep=1'}, 'the relaxation did not converge'),
        ({'calculation': 'md', 'control': 'nstep=2'}, 'molecular dynamics'),
        ({'calculation': 'vc-md', 'control': 'nstep=2'}, 'molecular dynamics'),
        ({'system': "input_dft='rvv10'", 'pseudo': 'Si.pbe-rrkj.UPF'}, 'van der Waals functionals (vdW-DF, rVV10)'),
    ],
)
def test_real_runs_that_are_refused(run, keywords, words):
    check_refused(run(**keywords), words)


def check_refused(file, words):
    """By both routes, before density or potential are read."""
    (file.parent / 'not_read').touch()
    settings = {
        'structure': file,
        'pseudos': {path.stem: path for path in file.parents[2].glob('*.upf')},
        'basis': {'size': 'sz'},
    }
    for route in ({'density': file.parent}, {'potential': file.parent / 'not_read'}):
        with pytest.raises(ValueError, match=re.escape(words)) as caught:
            reconstruct(**settings, **route)
        assert str(caught.value).startswith(str(file)) and '\n' not in str(caught.value)


CP_INPUT = """&control calculation='cp' restart_mode='from_scratch' nstep=2 iprint=1 dt=5.0 prefix='aiida'
    outdir='./out' pseudo_dir='.' /
&system ibrav=1 celldm(1)=8.0 nat=2 ntyp=1 ecutwfc=8 nbnd=1 /
&electrons emass=400. emass_cutoff=2.5 electron_dynamics='sd' /
&ions ion_dynamics='none' /
ATOMIC_SPECIES
H 1.0 H.upf
ATOMIC_POSITIONS bohr
H 0 0 0
H 0 0 1.4
"""


@pytest.mark.qe
def test_files_of_cp_are_refused(tmp_path):
    (tmp_path / 'H.upf').write_text(debian_pseudo('H.pz-vbc.UPF').text)
    assert 'JOB DONE' in run_executable('cp.x', CP_INPUT, tmp_path)
    file = tmp_path / 'out/aiida_50.save/data-file-schema.xml'
    # The folder of the pseudopotential is two above the file, as in `check_refused`.
    (tmp_path / 'out/H.upf').write_text(debian_pseudo('H.pz-vbc.UPF').text)
    check_refused(file, 'written by cp.x, whose wave functions are no eigenstates; run pw.x (scf)')


def test_a_run_with_a_nonlocal_functional_is_refused(tmp_path):
    """The file of a run of silicon with vdW-DF, for pw.x 6.7 needs minutes for the kernel."""
    folder = tmp_path / 'out/aiida.save'
    folder.mkdir(parents=True)
    (tmp_path / 'Si.upf').write_text(debian_pseudo('Si.pbe-rrkj.UPF').text)
    content = lzma.decompress((FIXTURES / 'vdw_df.xml.xz').read_bytes())
    (folder / 'data-file-schema.xml').write_bytes(content)
    check_refused(folder / 'data-file-schema.xml', 'van der Waals functionals (vdW-DF, rVV10)')


@pytest.mark.qe
def test_a_pseudopotential_of_another_valence_is_refused(run):
    """A silicon of three electrons in the place of one of four, by both routes."""
    file = run()
    folder = file.parents[2]
    text = "&inputpp prefix='aiida' outdir='./out' filplot='potential' plot_num=1 /\n"
    assert 'JOB DONE' in run_executable('pp.x', text, folder)
    content = parse_upf(debian_pseudo('Si.pz-vbc.UPF').text)
    changes = {'z_valence': 3.0, 'v_local': 0.75 * content.v_local, 'rho_atom': 0.75 * content.rho_atom}
    waves = tuple(replace(wave, occupation=0.75 * wave.occupation) for wave in content.wavefunctions)
    other = folder / 'Si.other.upf'
    other.write_text(format_upf(replace(content, wavefunctions=waves, **changes), 'three electrons', 'test'))
    # The copy that pw.x keeps would tell by its content.
    next(file.parent.glob('*.upf')).unlink()
    settings = {'structure': file, 'pseudos': {'Si': other}, 'basis': {'size': 'sz', 'recipe': 'plain'}}
    with pytest.raises(ValueError, match=r'holds 8\.0000 electrons, the pseudopotentials leave 6'):
        reconstruct(**settings, density=file.parent)
    with pytest.raises(ValueError, match='the pseudopotentials leave 6 electrons, the run has 8'):
        reconstruct(**settings, potential=folder / 'potential')


@pytest.mark.qe
def test_berry_phase_runs_are_refused(run):
    """They are nscf runs, which replace the XML file of the scf run."""
    file = run()
    folder = file.parents[2]
    text = (
        (folder / 'pw.in').read_text().replace("calculation='scf'", "calculation='nscf' lberry=.true. gdir=3 nppstr=3")
    )
    assert 'JOB DONE' in run_executable('pw.x', text.replace('nbnd=8', 'nbnd=4'), folder)
    berry = read_scf_xml(file)
    assert 'Berry' in find_keyword_problem(berry.keywords)
    with pytest.raises(ValueError, match="a run of type 'nscf'"):
        check_supported(berry)


@pytest.mark.qe
@pytest.mark.parametrize(
    'keywords',
    [
        {'system': 'nosym=.true. noinv=.true. nr1=16 nr2=16 nr3=16'},
        {'text': lambda text: more_kpoints(text).replace('2 2 1 0', '2 2 1 1')},
        {'text': lambda text: text.split('K_POINTS')[0] + 'K_POINTS crystal\n2\n0.1 0.2 0 1\n-0.1 -0.2 0 1\n'},
        {'calculation': 'relax', 'control': 'forc_conv_thr=1e-2 etot_conv_thr=1e-2'},
        {'electrons': "mixing_mode='TF' diagonalization='cg'"},
        # Of augmentation charges, which norm-conserving pseudopotentials lack.
        {'electrons': 'tqr=.true. tq_smoothing=.true.'},
    ],
)
def test_real_runs_that_are_taken(run, keywords):
    check_supported(read_scf_xml(run(**keywords)))


@pytest.mark.qe
def test_dispersion_corrections_of_energies_leave_the_levels_alone(run):
    plain = read_scf_xml(run(pseudo='Si.pbe-rrkj.UPF'))
    for name in ('grimme-d2', 'grimme-d3', 'xdm'):
        corrected = read_scf_xml(run(system=f"vdw_corr='{name}'", pseudo='Si.pbe-rrkj.UPF'))
        check_supported(corrected)
        assert corrected.keywords['vdw_corr'] == name
        assert np.abs(corrected.eigenvalues - plain.eigenvalues).max() < 1e-6
