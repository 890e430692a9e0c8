"""GTH pseudopotentials: formulas, the table, the pseudo-atoms' levels, and a crystal in Quantum ESPRESSO."""

import gzip
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from aiida_hamlr.electronic.pseudo.atom import PseudoAtom
from aiida_hamlr.electronic.pseudo.gth import available_elements, gth_parameters, make_pseudopotential, write_upf
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.units import HARTREE

ESPRESSO = Path('/usr/share/espresso/pseudo')
EXAMPLES = Path('/usr/share/doc/quantum-espresso/examples')
ELEMENTS = (
    'H Li B C N O F Na Mg Al Si P S Cl K Ca Ti Zn Ga Ge As Se Br Sr Cd In Sn Sb Te I Ba Pb Bi'
).split()  # fmt: skip
VALENCES = [(element, None) for element in ELEMENTS] + [('Zn', 2), ('Ga', 3), ('Cd', 2), ('In', 3)]


def test_table_has_the_documented_elements():
    assert set(available_elements()) == set(ELEMENTS)


@pytest.mark.parametrize(('element', 'charge'), VALENCES)
def test_table_agrees_with_the_published_file(element, charge):
    from pyscf.pbc.gto.pseudo import load

    entry = gth_parameters(element, charge)
    electrons, radius, n_coefficients, coefficients, n_channels, *channels = load(
        f'gth-pade-q{entry.charge:.0f}', element
    )
    assert entry.local_radius == pytest.approx(radius)
    assert len(entry.coefficients) == n_coefficients
    np.testing.assert_allclose(entry.coefficients, coefficients)
    occupied = {'spdf'[l]: n for l, n in enumerate(electrons) if n}
    shells = Counter()
    for label, n in entry.shells.items():
        shells[label[-1]] += n
    assert shells == occupied
    assert sum(entry.shells.values()) == entry.charge
    published = {l: channel for l, channel in enumerate(channels) if channel[1]}
    assert {l for l, _, _ in entry.channels} == set(published) and len(channels) == n_channels
    for l, width, h in entry.channels:
        assert width == pytest.approx(published[l][0])
        np.testing.assert_allclose(h, published[l][2])


@pytest.mark.parametrize('element', ['H', 'N', 'As', 'Cd'])
def test_local_form_factor_is_the_published_formula(element):
    # Goedecker, Teter, Hutter, Phys. Rev. B 54, 1703, equation 5, in Ry.
    entry, pseudo = gth_parameters(element), make_pseudopotential(element)
    q = np.array([0.5, 1.5, 4.0, 9.0])
    x2 = (q * entry.local_radius) ** 2
    c1, c2 = (*entry.coefficients, 0.0, 0.0)[:2]
    polynomial = np.sqrt(8 * np.pi**3) * entry.local_radius**3 * (c1 + c2 * (3 - x2))
    expected = 2 * np.exp(-x2 / 2) * (-4 * np.pi * entry.charge / q**2 + polynomial)
    np.testing.assert_allclose(pseudo.local_form_factor(q), expected, atol=1e-8)


@pytest.mark.parametrize('element', ['Al', 'Zn'])
def test_projectors_are_normalised_and_coefficients_in_rydberg(element):
    entry, pseudo = gth_parameters(element), make_pseudopotential(element)
    for projector in pseudo.projectors:
        assert (projector.values**2).sum() * 0.01 == pytest.approx(1, abs=1e-9)
        assert projector.cutoff_index % 2 == 1
        assert np.abs(projector.values[projector.cutoff_index :]).max() < 1e-10
    blocks = [h for _, _, h in entry.channels]
    assert len(pseudo.projectors) == sum(map(len, blocks))
    assert pseudo.dij[0, 1] == pytest.approx(2 * blocks[0][0, 1]) and pseudo.dij[1, 0] == pseudo.dij[0, 1]
    first = [p.angular_momentum for p in pseudo.projectors].index(1)
    assert pseudo.dij[first, first] == pytest.approx(2 * blocks[1][0, 0])
    # A Gaussian times r^l transforms into one times q^l.
    q, width = np.array([0.5, 2.0]), entry.channels[0][1]
    gauss = np.sqrt(2) * np.pi**0.25 * np.exp(-((q * width) ** 2) / 2) * width**1.5
    np.testing.assert_allclose(pseudo.projector_form_factor(0, q), gauss, rtol=1e-8)


@pytest.mark.parametrize(('element', 'charge'), VALENCES)
def test_recommended_cutoff_converges_the_levels(element, charge):
    pseudo, cutoff = make_pseudopotential(element, charge), gth_parameters(element, charge).ecutwfc
    assert pseudo.r[0] == 0.0 and len(pseudo.r) % 2 == 1
    assert (pseudo.rho_atom @ pseudo.rab) == pytest.approx(pseudo.z_valence, abs=1e-4)
    atom = PseudoAtom(pseudo)
    for l in {orbital.angular_momentum for orbital in pseudo.wavefunctions}:
        energies = [orbital.energy for orbital in pseudo.wavefunctions if orbital.angular_momentum == l]
        levels = atom.solve(l, 16.0, len(energies))[0]
        np.testing.assert_allclose(levels, energies, atol=1e-4)
        assert (atom.solve(l, 16.0, len(energies), kinetic_cutoff=cutoff)[0] - levels).max() < 0.025


def reference(name):
    path = ESPRESSO / name
    if path.exists():
        return Pseudopotential.read(path)
    packed = list(EXAMPLES.rglob(name + '.gz'))
    if not packed:
        pytest.skip(f'{name} is not installed')
    return Pseudopotential.from_text(gzip.decompress(packed[0].read_bytes()).decode(errors='replace'), name)


@pytest.mark.parametrize(
    ('element', 'name'),
    [
        ('H', 'H.pz-vbc.UPF'),
        ('B', 'B.pz-vbc.UPF'),
        ('C', 'C.UPF'),
        ('N', 'N_ONCV_LDA-1.0.upf'),
        ('Al', 'Al.pz-vbc.UPF'),
        ('Si', 'Si.pz-vbc.UPF'),
        ('Ga', 'Ga_ONCV_LDA-1.0.upf'),
        ('As', 'As.pz-bhs.UPF'),
    ],
)
def test_levels_agree_with_other_pseudopotentials(element, name):
    ours, other = PseudoAtom(make_pseudopotential(element)), PseudoAtom(reference(name))
    for orbital in ours.pseudo.wavefunctions:
        l = orbital.angular_momentum
        assert ours.solve(l)[0][0] == pytest.approx(other.solve(l)[0][0], abs=0.1)


@pytest.mark.parametrize('element', ['Mg', 'Ca'])
@pytest.mark.filterwarnings('ignore:Function int1e_r2_origi_sph')
def test_levels_are_those_of_another_program(element):
    """PySCF solves the same atom in Gaussians: also with two shells of one angular momentum, as Ca has."""
    from pyscf import dft, gto

    pseudo = make_pseudopotential(element)
    basis = {element: [[l, [exponent, 1.0]] for l in (0, 1, 2) for exponent in np.geomspace(0.02, 60.0, 22)]}
    name = f'gth-pade-q{pseudo.z_valence:.0f}'
    atom = dft.RKS(gto.M(atom=element, basis=basis, pseudo={element: name}, verbose=0))
    atom.xc = 'lda,pw'
    atom.kernel()
    expected = np.sort(atom.mo_energy[atom.mo_occ > 0]) * HARTREE
    levels = np.sort([w.energy for w in pseudo.wavefunctions for _ in range(2 * w.angular_momentum + 1)])
    np.testing.assert_allclose(levels, expected, atol=0.002)


@pytest.mark.parametrize('charge', [0.5, 1.5])
def test_capping_hydrogen(charge):
    hydrogen, capping = make_pseudopotential('H'), make_pseudopotential('H', charge)
    assert capping.z_valence == charge
    np.testing.assert_allclose(capping.v_local, charge * hydrogen.v_local, rtol=1e-10, atol=1e-12)
    assert (capping.rho_atom @ capping.rab) == pytest.approx(charge, abs=1e-3)
    assert capping.wavefunctions[0].occupation == charge
    deeper = capping.wavefunctions[0].energy < hydrogen.wavefunctions[0].energy
    assert deeper == (charge > 1)


def test_cations_without_d_say_so():
    for element, charge in (('Zn', 2), ('Ga', 3), ('Cd', 2)):
        caveat = gth_parameters(element, charge).caveat
        assert 'd electrons' in caveat
        assert caveat in make_pseudopotential(element, charge).text
        assert not gth_parameters(element).caveat


def test_written_file_is_the_pseudopotential(tmp_path):
    pseudo = write_upf(tmp_path / 'P.upf', 'P')
    read = Pseudopotential.read(tmp_path / 'P.upf')
    assert read.content_hash == pseudo.content_hash
    assert (read.element, read.z_valence, read.functional) == ('P', 5.0, 'lda_pw')
    assert [w.label for w in read.wavefunctions] == ['3S', '3P']
    assert [path.name for path in tmp_path.iterdir()] == ['P.upf']


@pytest.mark.parametrize(
    ('element', 'charge', 'message'),
    [
        ('Fe', None, "no GTH parameters of 'Fe'; there are some of H, Li, B"),
        ('Zn', 3, 'no GTH parameters of Zn with charge 3; there are some with 12 and 2'),
        ('Al', 1.5, 'no GTH parameters of Al with charge 1.5; there are some with 3'),
        ('H', 0, 'charge 0 of hydrogen is out of the range'),
        ('H', float('nan'), 'charge nan of hydrogen is out of the range'),
    ],
)
def test_what_is_not_in_the_table_is_refused(element, charge, message):
    with pytest.raises(ValueError, match=message):
        make_pseudopotential(element, charge)


INPUT = """&control
  calculation = 'scf', pseudo_dir = '.', outdir = 'out', prefix = '{prefix}', disk_io = 'none'
/
&system
  ibrav = 2, a = {a}, nat = 2, ntyp = 2, ecutwfc = 20
/
&electrons
  conv_thr = 1d-7
/
ATOMIC_SPECIES
Al 26.98 Al.upf
As 74.92 As.upf
ATOMIC_POSITIONS crystal
Al 0.00 0.00 0.00
As 0.25 0.25 0.25
K_POINTS automatic
4 4 4 0 0 0
"""


@pytest.mark.qe
def test_lattice_constant_of_aluminium_arsenide(tmp_path):
    if shutil.which('pw.x') is None:
        pytest.skip('no pw.x')
    for element in ('Al', 'As'):
        write_upf(tmp_path / f'{element}.upf', element)
    constants, energies = np.array([5.45, 5.55, 5.65, 5.75]), []
    for i, a in enumerate(constants):
        run = subprocess.run(
            ['pw.x'],
            input=INPUT.format(prefix=f'a{i}', a=a),
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
            timeout=120,
            check=False,
        )
        assert 'convergence has been achieved' in run.stdout, run.stdout[-2000:]
        start = float(re.search(r'starting charge\s+(\S+),', run.stdout)[1])
        assert start == pytest.approx(8.0, abs=0.005)
        energies.append(float(re.search(r'!\s+total energy\s+=\s+(\S+)', run.stdout)[1]))
    slopes = np.roots(np.polyder(np.polyfit(constants, energies, 3)))
    minimum = [x.real for x in slopes if abs(x.imag) < 1e-9 and constants[0] < x.real < constants[-1]]
    assert minimum == [pytest.approx(5.66, rel=0.015)]
