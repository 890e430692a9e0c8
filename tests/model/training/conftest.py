"""What several tests of training share."""

import pytest

from aiida_hamlr.model.training.references import Reference


@pytest.fixture
def reference(tmp_path, make_reference, rattled):
    """Return a function that writes a Hamiltonian of rattled AlAs and reads it to be learned from."""

    def make(seed=0, **arguments):
        path = tmp_path / f'{seed}-{len(list(tmp_path.iterdir()))}.h5'
        make_reference(rattled(seed), **arguments).write(path)
        return Reference.read(path)

    return make
