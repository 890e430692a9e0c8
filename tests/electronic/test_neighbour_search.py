"""Close atoms against a loop over images, and without loading torch."""

import subprocess
import sys

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.neighbour_search import close_atoms


def test_pairs_are_those_of_a_loop_over_images():
    cell = np.array([[3.0, 0.2, 0.0], [0.5, 3.5, 0.0], [0.0, 0.7, 4.0]])
    atoms = Atoms('AlAs', positions=[[0.1, 0.2, 0.3], [1.5, 4.0, -1.0]], cell=cell, pbc=False)
    first, second, images, vectors, distances = close_atoms(atoms, 3.7)
    found = {tuple(map(int, (i, j, *image))) for i, j, image in zip(first, second, images, strict=True)}
    expected = set()
    for image in np.ndindex(9, 9, 9):
        image = np.array(image) - 4
        for i in range(2):
            for j in range(2):
                length = np.linalg.norm(atoms.positions[j] + image @ cell - atoms.positions[i])
                if 1e-9 < length < 3.7:
                    expected.add((i, j, *map(int, image)))
    assert found == expected
    assert np.allclose(vectors, atoms.positions[second] + images @ cell - atoms.positions[first])
    assert np.allclose(distances, np.linalg.norm(vectors, axis=1))


def test_torch_is_not_loaded_and_can_be_loaded_afterwards():
    code = (
        'import sys; from ase.build import bulk; from aiida_hamlr.electronic.neighbour_search import close_atoms; '
        "close_atoms(bulk('Si'), 3.0); assert 'torch' not in sys.modules; import torch"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
