"""`hamlr import`: from the files of others to something that can be trained on, or why it cannot."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from ase.io import write as write_structure
from foreign_examples import assert_same, example
from scipy.integrate import trapezoid

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.kpoints import find_band_path
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.species import set_species_labels
from aiida_hamlr.io.exchange import FORMATS
from aiida_hamlr.model.training.references import Reference


def test_with_basis_and_pseudopotentials_it_can_be_learned(hamlr, study, tmp_path):
    """What another program knows nothing of comes back: H0, and a zero of energy near that of H0."""
    original = Hamiltonian.read(study / 'train/0.h5')
    original.matrices['hamiltonian'] = original.hamiltonian + 3.0 * original.overlap
    FORMATS['deepx'].write(original, tmp_path / 'deepx')
    options = ('--basis', study / 'basis', '--pseudos', study / 'pseudos', '--ecutrho', 60)
    result = hamlr('import', 'deepx', '--format', 'deepx', *options, '-o', 'full.h5')
    assert result.exit_code == 0, result.stderr
    found = Hamiltonian.read('full.h5')
    np.testing.assert_allclose(found.overlap, original.overlap, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.h0, original.h0, rtol=0, atol=1e-10)
    attributes, summary = found.attributes, json.loads((tmp_path / 'summary.json').read_text())
    assert (attributes.origin, attributes.gauge, attributes.n_electrons) == ('imported', 'fitted', 8.0)
    shift = summary['gauge_shift_eV']
    np.testing.assert_allclose(found.hamiltonian, original.hamiltonian + shift * found.overlap, rtol=0, atol=1e-10)
    assert shift == pytest.approx(-3, abs=0.5) and summary['missing_for_training'] == []
    assert summary['overlap_max_difference'] < 1e-12
    assert Reference.read('full.h5').pseudopotentials.keys() == {'Al', 'As'}


def test_a_network_learns_from_imports(hamlr, study, tmp_path):
    """What it learns is good for references of our own: the same orbitals, the same zero of energy."""
    options = ('--basis', study / 'basis', '--pseudos', study / 'pseudos', '--ecutrho', 60)
    for index in range(2):
        FORMATS['deeph'].write(Hamiltonian.read(study / f'train/{index}.h5'), tmp_path / str(index))
        assert hamlr('import', index, '--format', 'deeph', *options, '-o', f'import/{index}.h5').exit_code == 0
    short_range = {'layers': 1, 'scalar_channels': 4, 'natural_channels': 4, 'unnatural_channels': 2}
    content = {
        'data': {'train': ['import/0.h5'], 'validation': ['import/1.h5']},
        'model': {'variant': 'sr', 'short_range': short_range},
        'training': {'max_steps': 2, 'device': 'cpu'},
        'output': 'run',
    }
    (tmp_path / 'train.yaml').write_text(json.dumps(content))
    result = hamlr('train', 'train.yaml')
    assert result.exit_code == 0, result.stderr
    result = hamlr('evaluate', 'run/model', study / 'test/4.h5', 'import/1.h5', '--json', 'errors.json')
    assert result.exit_code == 0, result.stderr
    assert json.loads((tmp_path / 'errors.json').read_text())['n_structures'] == 2


def test_without_them_training_says_what_is_missing(hamlr, study, tmp_path):
    FORMATS['deeph'].write(Hamiltonian.read(study / 'train/0.h5'), tmp_path / 'deeph')
    result = hamlr('import', 'deeph', '--format', 'deeph', '--electrons', 8, '-o', 'bare.h5')
    assert result.exit_code == 0, result.stderr
    assert 'for training radial functions, H0, pseudopotentials are missing: import with --basis' in result.output
    with pytest.raises(
        ValueError, match=r'bare\.h5: holds no h0; train on files of .* or import with --basis'
    ) as caught:
        Reference.read('bare.h5')
    assert '\n' not in str(caught.value)
    assert 'radial functions are not known' in hamlr('info', 'bare.h5').output
    assert hamlr('bands', 'bare.h5', '--mesh', 2, 2, 2, '-o', 'bands.h5').exit_code == 0


def test_without_a_number_of_electrons_energies_are_as_stored(hamlr, study, tmp_path):
    original = Hamiltonian.read(study / 'train/0.h5')
    FORMATS['deeph'].write(original, tmp_path / 'deeph')
    result = hamlr('import', 'deeph', '--format', 'deeph', '-o', 'h.h5')
    assert 'warning: h.h5: the number of electrons is not known' in result.output
    path = find_band_path(original.atoms, 'auto', 0.5)
    for arguments in (
        ('bands', 'h.h5', '--path', 'auto', '--spacing', 0.5, '-o', 'bands.h5', '--plot', 'bands.png'),
        ('bands', 'h.h5', '--around-gap', 4, '--energy', -3, '-o', 'near.h5'),
        ('properties', 'h.h5', '--outputs', 'bands,projections,dos', '--mesh', 2, 2, 2, '-o', 'all', '--plot'),
    ):
        result = hamlr(*arguments)
        assert result.exit_code == 0, result.stderr
        assert 'the number of electrons is not known: energies as stored' in result.output
    bands, properties = Bands.read('bands.h5'), Properties.read('all/properties.h5')
    np.testing.assert_allclose(bands.eigenvalues[0], eigenvalues(original, path.kpoints), rtol=0, atol=1e-9)
    assert bands.attributes.fermi_level is None and bands.attributes.gap is None
    assert trapezoid(properties.dos, properties.dos_energies) == pytest.approx(2 * original.n_orbitals, rel=1e-3)
    for arguments, message in {
        ('properties', 'h.h5', '--outputs', 'gap,masses', '-o', 'x'): (
            'h.h5: its number of electrons is not known, so no gap and no masses can be computed; give it to hamlr '
            'import with --electrons N'
        ),
        ('bands', 'h.h5', '--around-gap', 4, '-o', 'x.h5'): 'h.h5: its number of electrons is not known',
    }.items():
        result = hamlr(*arguments)
        assert result.exit_code == 2 and message in result.stderr and result.stderr.count('\n') == 1


def test_a_charged_cell_is_said(hamlr, study, tmp_path):
    FORMATS['deeph'].write(Hamiltonian.read(study / 'train/0.h5'), tmp_path / 'deeph')
    options = ('--basis', study / 'basis', '--pseudos', study / 'pseudos', '--ecutrho', 60, '-o', 'h.h5')
    result = hamlr('import', 'deeph', '--format', 'deeph', '--electrons', 6, *options)
    assert result.exit_code == 0, result.stderr
    assert 'warning: h.h5: 6 electrons, but the pseudopotentials have 8' in result.output
    assert 'a cell of charge +2 |e|' in result.output
    assert Hamiltonian.read('h.h5').n_electrons == 6
    result = hamlr('import', 'deeph', '--format', 'deeph', *options)
    assert 'warning' not in result.output and Hamiltonian.read('h.h5').n_electrons == 8


def test_other_orbitals_are_noticed_by_their_overlap(hamlr, study, tmp_path):
    original = Hamiltonian.read(study / 'train/0.h5')
    original.matrices['overlap'][original.pattern.chunk_boundaries[5]] += 0.1
    original.matrices['overlap'] = original.pattern.symmetrize(original.matrices['overlap'])
    FORMATS['deepx'].write(original, tmp_path / 'deepx')
    options = ('--basis', study / 'basis', '--pseudos', study / 'pseudos', '--ecutrho', 60)
    result = hamlr('import', 'deepx', '--format', 'deepx', *options, '-o', 'full.h5')
    assert result.exit_code == 2 and not (tmp_path / 'full.h5').exists()
    assert 'deepx: the overlap differs by 0.05 from that of the basis, between Al' in result.stderr


def test_structures_with_more_digits(hamlr, tmp_path):
    """CP2K prints three decimals of the cell."""
    original = example()
    exact = original.atoms.copy()
    FORMATS['cp2k'].write(original, tmp_path / 'cp2k')
    exact.positions += 1e-4
    write_structure(tmp_path / 'exact.extxyz', exact)
    result = hamlr('import', 'cp2k', '--format', 'cp2k', '--structure', 'exact.extxyz', '-o', 'h.h5')
    assert result.exit_code == 0, result.stderr
    np.testing.assert_allclose(Hamiltonian.read('h.h5').atoms.positions, exact.positions, atol=1e-8)
    exact.positions += 0.1
    write_structure(tmp_path / 'exact.extxyz', exact)
    result = hamlr('import', 'cp2k', '--format', 'cp2k', '--structure', 'exact.extxyz', '-o', 'h.h5')
    assert result.exit_code == 2 and 'cell or positions differ by 0.100 Å' in result.stderr


@pytest.mark.parametrize('from_structure', [False, True])
def test_species_have_orbitals_and_pseudopotentials_of_their_own(hamlr, study, tmp_path, from_structure):
    """They are those that the export or the structure of the user names."""
    original = Hamiltonian.read(study / 'train/0.h5')
    labels = [f'{symbol}_1' if symbol == 'Al' else symbol for symbol in original.symbols]
    for kind, suffix in (('basis', 'basis.h5'), ('pseudos', 'upf')):
        (tmp_path / kind).mkdir()
        for path in (study / kind).glob(f'*.{suffix}'):
            shutil.copy(path, tmp_path / kind / path.name.replace('Al.', 'Al_1.'))
    atoms = original.atoms.copy()
    set_species_labels(atoms, labels)
    write_structure(tmp_path / 'labelled.extxyz', atoms)
    if not from_structure:
        basis = Basis({label.replace('Al', 'Al_1'): each for label, each in original.basis.items()})
        original = replace(original, atoms=atoms, basis=basis, pseudopotentials={})
    FORMATS['deeptb'].write(original, tmp_path / 'deeptb')
    options = ('--basis', 'basis', '--pseudos', 'pseudos', '--ecutrho', 60, '-o', 'h.h5')
    structure = ('--structure', 'labelled.extxyz') if from_structure else ()
    result = hamlr('import', 'deeptb', '--format', 'deeptb', *options, *structure)
    assert result.exit_code == 0, result.stderr
    found = Hamiltonian.read('h.h5')
    assert found.species == labels and sorted(found.pseudopotentials) == ['Al_1', 'As']
    shift = json.loads((tmp_path / 'summary.json').read_text())['gauge_shift_eV']
    np.testing.assert_allclose(found.hamiltonian - shift * found.overlap, original.hamiltonian, rtol=0, atol=1e-9)


def test_shells_that_only_the_user_knows(hamlr, tmp_path):
    original = example()
    FORMATS['deeptb'].write(original, tmp_path / 'deeptb')
    (tmp_path / 'deeptb/basis.json').unlink()
    result = hamlr('import', 'deeptb', '--format', 'deeptb', '-o', 'h.h5')
    assert result.exit_code == 2 and 'give --shells Al=2s2p1d' in result.stderr
    shells = ('--shells', 'Al=2s1p1d', '--shells', 'As=1s1p1f')
    assert hamlr('import', 'deeptb', '--format', 'deeptb', *shells, '-o', 'h.h5').exit_code == 0
    assert Hamiltonian.read('h.h5').basis['Al'].angular_momenta == (0, 0, 1, 2)
    result = hamlr('import', 'deeptb', '--format', 'deeptb', '--shells', 'Al=many', '-o', 'h.h5')
    assert result.exit_code == 2 and "--shells Al=many: 'many' does not name shells as 2s2p1d does" in result.stderr


def test_spins_go_along(hamlr, tmp_path):
    original = example(2, True)
    FORMATS['deepx'].write(original, tmp_path / 'deepx')
    assert hamlr('import', 'deepx', '--format', 'deepx', '-o', 'h.h5').exit_code == 0
    assert_same(Hamiltonian.read('h.h5'), original)


def test_refusals(hamlr, tmp_path):
    FORMATS['deepx'].write(example(), tmp_path / 'deepx')
    for arguments, message in {
        ('none', '--format', 'deepx', '-o', 'x.h5'): 'none: no such file or folder',
        ('.', '--format', 'hamgnn', '-o', 'x.h5'): "'hamgnn' is not one of 'deepx', 'deeph', 'deeptb', 'sisl', 'cp2k'",
        ('.', '--format', 'deepx', '--ecutrho', -4, '-o', 'x.h5'): "Invalid value for '--ecutrho'",
        ('.', '--format', 'deepx', '--ecutrho', 'nan', '-o', 'x.h5'): '--ecutrho',
        ('.', '--format', 'deepx', '--electrons', 'nan', '-o', 'x.h5'): '--electrons',
        ('deepx', '--format', 'deepx', '--electrons', 100, '-o', 'x.h5'): (
            'deepx: --electrons 100: the 31 orbitals of the cell hold at most 62'
        ),
        ('.', '--format', 'deepx', '--pseudos', '.', '-o', 'x.h5'): '--pseudos needs --basis',
        ('.', '--format', 'deepx', '-o', 'x.h5'): 'info.json: no such file',
    }.items():
        result = hamlr('import', *arguments)
        assert result.exit_code == 2 and message in result.stderr, result.stderr
