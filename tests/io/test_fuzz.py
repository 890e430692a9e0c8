"""Damaged files: each is refused with a ValueError that names it, or reads as if it were whole."""

import json

import numpy as np
import pytest
from ase import Atoms
from fuzzing import damage, fuzz, read_or_refuse
from hypothesis import given

from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis, Shell, SpeciesBasis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.io.bases import read_basis

R = 0.1 * np.arange(61)
SHAPE = np.cos(np.pi * R / 12) ** 2


def shell(l, label):
    radial = R**l * np.exp(-0.4 * R**2) * SHAPE
    return Shell(l, 6.0, radial / np.sqrt(np.sum((R * radial) ** 2) * 0.1), label, 1.0)


BASIS = SpeciesBasis('Si', 0.1, (shell(0, '3s'), shell(1, '3p')), {'size': 'test'})


def hamiltonian():
    pairs = np.array([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [-1, 0, 0, 0, 0]])
    pattern = BlockPattern(pairs, np.array([4]))
    rng = np.random.default_rng(0)
    names = {'hamiltonian': (), 'overlap': (), 'h0': (), 'density_matrix': (2,)}
    return Hamiltonian(
        Atoms('Si', cell=2.7 * np.eye(3), pbc=True),
        Basis({'Si': BASIS}),
        pattern,
        {name: pattern.symmetrize(rng.normal(size=(*axes, pattern.n_entries))) for name, axes in names.items()},
        {'Si': 'text of a pseudopotential'},
        HamiltonianAttributes(origin='reference', gauge_shift=1.25, n_electrons=4.0),
        {'hirshfeld_charges': np.array([0.25]), 'hirshfeld_dipoles': np.array([[0.1, -0.2, 0.3]])},
    )


def basis_content(basis):
    shells = [(s.angular_momentum, s.cutoff_radius, s.radial.tobytes(), s.label, s.occupation) for s in basis.shells]
    return basis.element, basis.step, shells, json.dumps(basis.metadata)


def hamiltonian_content(read):
    return (
        [a.tobytes() for a in (read.atoms.numbers, read.atoms.positions, read.atoms.cell[:], read.atoms.pbc)],
        {element: basis_content(basis) for element, basis in read.basis.items()},
        read.pattern.atom_pairs.tobytes(),
        {name: (entries.shape, entries.tobytes()) for name, entries in read.matrices.items()},
        dict(read.pseudopotentials),
        json.dumps(read.attributes.to_dict()),
        {name: (values.shape, values.tobytes()) for name, values in read.labels.items()},
    )


def ion_xml():
    parts = ['<ion version="0.1">\n<symbol> Si </symbol>\n<norbs_nl> 2 </norbs_nl>\n<paos>\n']
    for l, name in ((0, '3s'), (1, '3p')):
        radial = shell(l, name).radial[1:] / R[1:] ** l
        rows = '\n'.join(f'{a:.11E} {b:.11E}' for a, b in zip(R, [radial[0], *radial], strict=True))
        parts.append(
            f'<orbital l="{l}" n="3" z="1" ispol="0" population="2.0">\n<radfunc>\n<npts> 61 </npts>\n'
            f'<delta> 0.1 </delta>\n<cutoff> 6.0 </cutoff>\n<data>\n{rows}\n</data>\n</radfunc>\n</orbital>\n'
        )
    return ''.join(parts) + '</paos>\n</ion>\n'


def orb():
    header = (
        '---\nElement                     Si\nEnergy Cutoff(Ry)          100\nRadius Cutoff(a.u.)         6\n'
        'Lmax                        1\nNumber of Sorbital-->       1\nNumber of Porbital-->       1\n---\n'
        'SUMMARY  END\n\nMesh                        61\ndr                          0.1\n'
    )
    sections = [
        f'   Type  L  N\n   0  {l}  0\n' + '\n'.join(f'{value:.11e}' for value in shell(l, '').radial) + '\n'
        for l in (0, 1)
    ]
    return header + ''.join(sections)


def pao():
    x = np.linspace(-7.0, np.log(6.0), 80)
    parts = ['AtomSpecies 14\ngrid.num.output 80\nradial.cutoff.pao 6.0\nPAO.Lmax 1\nPAO.Mul 1\n']
    for l in (0, 1):
        radial = np.interp(np.exp(x), R, shell(l, '').radial)
        rows = '\n'.join(f'{a:.9f} {np.exp(a):.9f} {b:.9f}' for a, b in zip(x, radial, strict=True))
        parts.append(f'<pseudo.atomic.orbitals.L={l}\n{rows}\npseudo.atomic.orbitals.L={l}>\n')
    return ''.join(parts)


def written(tmp_path_factory, write, name):
    path = tmp_path_factory.mktemp('whole') / name
    write(path)
    return path.read_bytes()


@pytest.fixture(scope='module')
def hamiltonian_file(tmp_path_factory):
    return written(tmp_path_factory, hamiltonian().write, 'hamiltonian.h5')


@pytest.fixture(scope='module')
def basis_file(tmp_path_factory):
    return written(tmp_path_factory, BASIS.write, 'Si.basis.h5')


@pytest.fixture(scope='module')
def upf_file():
    return make_pseudopotential('H').text.encode()


@fuzz(200)
@given(damage=damage())
def test_hamiltonian_files(tmp_path, hamiltonian_file, damage):
    read = read_or_refuse(tmp_path / 'damaged.h5', damage(hamiltonian_file), Hamiltonian.read)
    assert read is None or hamiltonian_content(read) == hamiltonian_content(hamiltonian())


@fuzz(150)
@given(damage=damage())
def test_basis_files(tmp_path, basis_file, damage):
    read = read_or_refuse(tmp_path / 'damaged.basis.h5', damage(basis_file), read_basis)
    assert read is None or basis_content(read) == basis_content(BASIS)


@fuzz(150)
@given(damage=damage())
def test_upf_files(tmp_path, upf_file, damage):
    """UPF has no checksum: another digit is another pseudopotential, but it is one whose numbers are sound."""
    read = read_or_refuse(tmp_path / 'damaged.upf', damage(upf_file), Pseudopotential.read)
    if read is not None:
        arrays = [read.r, read.rab, read.v_local, read.rho_atom, read.dij]
        arrays += [item.values for item in (*read.projectors, *read.wavefunctions)]
        assert all(np.isfinite(array).all() for array in arrays)
        assert np.isfinite(read.r2_moment) and np.isfinite(read.local_form_factor(np.array([0.0, 1.0]))).all()


@pytest.mark.parametrize(('name', 'make'), [('Si.ion.xml', ion_xml), ('Si.orb', orb), ('Si.pao', pao)])
@fuzz(80)
@given(damage=damage())
def test_imported_bases(tmp_path, name, make, damage):
    selection = 's1p1' if name.endswith('.pao') else None
    read = read_or_refuse(tmp_path / name, damage(make().encode()), lambda path: read_basis(path, selection))
    if read is not None:
        r = read.step * np.arange(len(read.shells[0].radial))
        for each in read.shells:
            assert np.isfinite(each.radial).all()
            assert np.sum((r * each.radial) ** 2) * read.step == pytest.approx(1, abs=1e-3)


def test_whole_files_are_read(tmp_path, hamiltonian_file, basis_file, upf_file):
    contents = {
        'a.h5': basis_file,
        'Si.ion.xml': ion_xml().encode(),
        'Si.orb': orb().encode(),
        'Si.pao': pao().encode(),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        read = read_basis(tmp_path / name, 's1p1' if name.endswith('.pao') else None)
        assert read.angular_momenta == (0, 1)
    (tmp_path / 'hamiltonian.h5').write_bytes(hamiltonian_file)
    assert hamiltonian_content(Hamiltonian.read(tmp_path / 'hamiltonian.h5')) == hamiltonian_content(hamiltonian())
    assert Pseudopotential.from_text(upf_file.decode()).element == 'H'
