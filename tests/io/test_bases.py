"""Orbitals of other codes: files written from known functions give these functions back."""

import numpy as np
import pytest
from ase.data import atomic_numbers
from scipy.integrate import quad

from aiida_hamlr.electronic.orbitals.basis import SpeciesBasis
from aiida_hamlr.io.bases import read_basis

#: (l, exponent, cutoff radius) of the functions below, bohr.
FUNCTIONS = [(0, 0.5, 6.0), (0, 1.3, 4.87), (1, 0.6, 6.3), (2, 0.8, 5.0)]


def radial(l, exponent, cutoff):
    """A function that vanishes smoothly at its cutoff radius, normalised."""

    def shape(r):
        return r**l * np.exp(-exponent * r**2) * np.where(r < cutoff, np.cos(0.5 * np.pi * r / cutoff) ** 2, 0.0)

    norm = np.sqrt(quad(lambda r: (r * shape(r)) ** 2, 0, cutoff, limit=200)[0])
    return lambda r: shape(r) / norm


def ion_xml(element='Si', functions=FUNCTIONS):
    """As SIESTA writes it: R / r^l on 500 points that end at the cutoff radius of each orbital."""
    parts = [
        f'<ion version="0.1">\n<symbol> {element} </symbol> \n<label> {element}.x </label> \n'
        f'<z>                        {atomic_numbers[element]} </z> \n<valence>      4.00000000000 </valence> \n'
        f'<mass>      28.0900000000 </mass> \n'
        f'<lmax_basis>                         2 </lmax_basis> \n'
        f'<norbs_nl>                         {len(functions)} </norbs_nl> \n'
        '<preamble>\n\n<basis_specs>\n======\nSi   Charge= 0.17977+309\n</basis_specs>\n</preamble>\n<paos>\n'
    ]
    zetas = {}
    for l, exponent, cutoff in functions:
        zetas[l] = zetas.get(l, 0) + 1
        r = np.linspace(0, cutoff, 500)
        safe = np.where(r > 0, r, 1e-4)
        values = radial(l, exponent, cutoff)(safe) / safe**l
        rows = '\n'.join(f'    {a:.12E}        {b:.12E}    ' for a, b in zip(r, values, strict=True))
        parts.append(
            f'<orbital \n l="                        {l}" \n n="                        3" \n z="      {zetas[l]}" \n'
            f' ispol="           {int(l == 2)}" \n population="     {2.0 if zetas[l] == 1 and l < 2 else 0.0}" \n >\n'
            f'<radfunc>\n<npts>                       500 </npts> \n<delta>     {r[1]:.12E} </delta> \n'
            f'<cutoff>      {cutoff:.11f} </cutoff> \n<data>\n{rows}\n</data>\n</radfunc>\n</orbital>\n'
        )
    return ''.join(parts) + '</paos>\n<kbs>\n</kbs>\n</ion>\n'


def orb(element='Si', functions=FUNCTIONS, cutoff=6.3):
    """As ABACUS writes it: all functions on one mesh of an odd number of points."""
    mesh = int(round(cutoff / 0.01)) + 1
    mesh += 1 - mesh % 2
    line = '-' * 75
    numbers = [sum(function[0] == l for function in functions) for l in range(3)]
    parts = [
        f'{line}\nElement                     {element}\nEnergy Cutoff(Ry)          100\n'
        f'Radius Cutoff(a.u.)         {cutoff}\nLmax                        2\n'
        + ''.join(f'Number of {l}orbital-->       {n}\n' for l, n in zip('SPD', numbers, strict=True))
        + f'{line}\nSUMMARY  END\n\nMesh                        {mesh}\ndr                          0.01\n'
    ]
    count = {}
    for l, exponent, radius in functions:
        values = radial(l, exponent, radius)(0.01 * np.arange(mesh))
        rows = '\n'.join(' '.join(f'{v: .12e}' for v in values[i : i + 4]) for i in range(0, mesh, 4))
        parts.append(f'{"Type":>20}{"L":>20}{"N":>20}\n{0:>20}{l:>20}{count.get(l, 0):>20}\n{rows}\n')
        count[l] = count.get(l, 0) + 1
    return ''.join(parts)


def pao(element='Si', rows=400, cutoff=6.0):
    """As OpenMX writes it: two functions of every l on a logarithmic mesh that goes beyond the cutoff radius."""
    x = -7.8 + np.arange(rows) * (np.log(7.0) + 7.8) / (rows - 1)
    parts = [
        '****\n The numerical atomic orbitals were generated\n****\n\n'
        f'AtomSpecies             {atomic_numbers[element]}\ngrid.num              10000         # default=4000\n'
        f'grid.num.output         {rows}         # default=2000\n'
        f'maxL.pao                2            # default=2\nradial.cutoff.pao     {cutoff}            # (Bohr)\n'
        '<valence.charge.density\n-7.8 0.0004 0.2\nvalence.charge.density>\nPAO.Lmax   2\nPAO.Mul    2\n'
    ]
    for l in range(3):
        columns = [radial(l, exponent, cutoff)(np.exp(x)) for exponent in (0.5, 1.1)]
        table = '\n'.join(
            f'{a:18.15f} {np.exp(a):18.15f} {b:18.15f} {c:18.15f} ' for a, b, c in zip(x, *columns, strict=True)
        )
        parts.append(f'<pseudo.atomic.orbitals.L={l}\n{table}\npseudo.atomic.orbitals.L={l}>\n')
    return ''.join(parts)


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def check_functions(basis, functions):
    r = basis.step * np.arange(len(basis.shells[0].radial))
    assert basis.angular_momenta == tuple(l for l, _, _ in functions)
    for shell, function in zip(basis.shells, functions, strict=True):
        np.testing.assert_allclose(shell.radial, radial(*function)(r), atol=2e-6)
        assert np.all(shell.radial[r >= shell.cutoff_radius] == 0)
        assert len(shell.radial) == len(basis.shells[0].radial)


def test_siesta_functions_come_back(write):
    basis = read_basis(write('Si.ion.xml', ion_xml()))
    check_functions(basis, FUNCTIONS)
    assert [shell.cutoff_radius for shell in basis.shells] == pytest.approx([6.0, 4.87, 6.3, 5.0], abs=1e-9)
    assert [shell.label for shell in basis.shells] == ['3s', '3s second zeta', '3p', '3d polarisation']
    assert [shell.occupation for shell in basis.shells] == [2.0, 0.0, 2.0, 0.0]
    assert basis.metadata['format'] == 'SIESTA .ion.xml' and basis.metadata['file'] == 'Si.ion.xml'


def test_siesta_functions_are_those_that_sisl_reads(write):
    sisl = pytest.importorskip('sisl')
    path = write('Si.ion.xml', ion_xml())
    basis = read_basis(path)
    atom = sisl.get_sile(str(path)).read_basis()
    bohr = sisl.unit_convert('Bohr', 'Ang')
    orbitals = [orbital for orbital in atom.orbitals if orbital.m == 0]
    r = basis.step * np.arange(len(basis.shells[0].radial))
    for shell, orbital in zip(basis.shells, orbitals, strict=True):
        assert orbital.l == shell.angular_momentum
        inner = r < shell.cutoff_radius - 0.05
        np.testing.assert_allclose(shell.radial[inner], orbital.radial(r[inner] * bohr) * bohr**1.5, atol=2e-5)


@pytest.mark.parametrize('cutoff', [6.3, 6.31])
def test_abacus_functions_come_back(write, cutoff):
    basis = read_basis(write('Si_gga_6au.orb', orb(cutoff=cutoff)))
    check_functions(basis, FUNCTIONS)
    assert [shell.label for shell in basis.shells] == ['s 1', 's 2', 'p 1', 'd 1']
    assert basis.cutoff_radius == cutoff


def test_abacus_counts_of_no_orbitals_above_lmax(write):
    """One s function, and the numbers of p and d orbitals given as zero: ABACUS reads it."""
    text = orb(functions=FUNCTIONS[:1]).replace('Lmax                        2', 'Lmax                        0')
    assert 'Number of Porbital-->       0' in text
    check_functions(read_basis(write('H.orb', text)), FUNCTIONS[:1])


def test_openmx_functions_come_back(write):
    path = write('Si6.0.pao', pao())
    check_functions(read_basis(path, 's2p1d1'), [(0, 0.5, 6.0), (0, 1.1, 6.0), (1, 0.5, 6.0), (2, 0.5, 6.0)])
    assert read_basis(path, 'p2').angular_momenta == (1, 1)
    with pytest.raises(ValueError, match=r'Si6\.0\.pao: holds 2 orbitals of each of s, p, d; .* --size s2p2d1'):
        read_basis(path)
    for wrong in ('s3', 'f1', 's1s1', '2s', ''):
        with pytest.raises(ValueError, match=r'Si6\.0\.pao: the selection'):
            read_basis(path, wrong)


def test_imported_basis_survives_our_own_format(write, tmp_path):
    basis = read_basis(write('Si.ion.xml', ion_xml()))
    basis.write(tmp_path / 'Si.basis.h5')
    again = read_basis(tmp_path / 'Si.basis.h5')
    assert isinstance(again, SpeciesBasis)
    assert again.content_hash == basis.content_hash and again.metadata == basis.metadata


def test_functions_that_are_not_quite_normalised_are_normalised(write):
    text = ion_xml(functions=FUNCTIONS[:1])
    head, data = text.split('<data>')
    rows, tail = data.split('</data>')
    scaled = '\n'.join(f'{r} {1.005 * float(v):.12E}' for r, v in (line.split() for line in rows.strip().splitlines()))
    check_functions(read_basis(write('Si.ion.xml', f'{head}<data>\n{scaled}\n</data>{tail}')), FUNCTIONS[:1])


@pytest.mark.parametrize(
    ('name', 'make', 'old', 'new', 'message'),
    [
        ('Si.ion.xml', ion_xml, '</ion>', '', 'not an XML file, or truncated'),
        ('Si.ion.xml', ion_xml, '<symbol> Si', '<symbol> Xx', 'not a chemical element'),
        (
            'Si.ion.xml',
            ion_xml,
            '<norbs_nl>                         4',
            '<norbs_nl> 5',
            'announces 5 orbitals and has 4',
        ),
        ('Si.ion.xml', ion_xml, '500 </npts>', '499 </npts>', 'announces 499 points and has 500'),
        ('Si.ion.xml', ion_xml, '<cutoff>      6.0', '<cutoff>      7.0', 'instead of its cutoff radius 7'),
        ('Si.ion.xml', ion_xml, ' n="  ', ' m="  ', "an orbital has no 'n'"),
        ('Si.ion.xml', ion_xml, ' l="                        2', ' l="                        7', 'l = 7'),
        ('Si.ion.xml', ion_xml, '<ion version="0.1">', '<!DOCTYPE a [<!ENTITY b "c">]><ion>', 'declares XML entities'),
        ('Si.orb', orb, 'Lmax                        2', 'Lmax                        3', 'Lmax is 3'),
        ('Si.orb', orb, 'Mesh                        631', 'Mesh  630', 'has 631 values, the mesh 630'),
        ('Si.orb', orb, '0.01\n', '0.02\n', 'do not make up the cutoff radius'),
        ('Si.orb', orb, 'Dorbital-->       1', 'Dorbital-->       2', 'announces 5 orbitals and has 4'),
        ('Si.orb', orb, 'Element ', 'Elemental ', 'no Element in its header'),
        ('Si.pao', pao, 'pseudo.atomic.orbitals.L=2>', '', 'L=2 is missing or has no end'),
        ('Si.pao', pao, 'PAO.Mul    2', 'PAO.Mul    3', 'instead of 400 rows of 5'),
        ('Si.pao', pao, 'AtomSpecies             14', 'AtomSpecies 0', 'AtomSpecies 0'),
        ('Si.pao', pao, 'radial.cutoff.pao     6.0', 'radial.cutoff.pao     9.0', 'before its cutoff radius 9'),
    ],
)
def test_inconsistent_files_are_refused_by_name(write, name, make, old, new, message):
    text = make()
    assert old in text
    path = write(name, text.replace(old, new, 1))
    with pytest.raises(ValueError, match=r'Si\.\w+') as caught:
        read_basis(path, 's1p1d1' if name.endswith('.pao') else None)
    assert message in str(caught.value) and '\n' not in str(caught.value)


def test_unknown_files_are_refused(write, tmp_path):
    with pytest.raises(ValueError, match=r'Si\.txt: not a known format of orbitals'):
        read_basis(write('Si.txt', ''))
    with pytest.raises(ValueError, match=r'none\.orb: cannot be read \(No such file'):
        read_basis(tmp_path / 'none.orb')
    with pytest.raises(ValueError, match='only of .pao files'):
        read_basis(write('Si.orb', orb()), 's1')
    (tmp_path / 'binary.orb').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(ValueError, match=r'binary\.orb: is not a text file'):
        read_basis(tmp_path / 'binary.orb')
