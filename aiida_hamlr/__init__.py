"""Machine-learned density-functional Hamiltonians with long-range electrostatics, for AiiDA.

The names below are what a Python program needs; each is loaded when it is first used. None of them needs AiiDA.
Type checkers read ``__init__.pyi``.
"""

from __future__ import annotations

from importlib import import_module

__version__ = '0.1.0'

#: Module of every public name.
_HOMES = {
    'Bands': 'electronic.bands.band_structure',
    'Basis': 'electronic.orbitals.basis',
    'BlockPattern': 'electronic.matrices.blocks',
    'DensityOfStates': 'electronic.bands.density_of_states',
    'Hamiltonian': 'electronic.matrices.hamiltonian',
    'HamiltonianAttributes': 'electronic.matrices.attributes',
    'Predictor': 'model.inference',
    'Pseudopotential': 'electronic.pseudo.pseudopotential',
    'SpeciesBasis': 'electronic.orbitals.basis',
    'band_path': 'electronic.bands.kpoints',
    'band_velocities': 'electronic.bands.derivatives',
    'band_structure': 'electronic.bands.band_structure',
    'compute_properties': 'electronic.bands.calculation',
    'compute_h0': 'electronic.integrals.h0',
    'contract_bases': 'electronic.contraction.optimisation',
    'density_of_states': 'electronic.bands.density_of_states',
    'effective_mass': 'electronic.bands.derivatives',
    'eigenvalues': 'electronic.bands.kspace',
    'eigenvectors': 'electronic.bands.kspace',
    'evaluate': 'model.evaluation',
    'generate_basis': 'electronic.orbitals.generation',
    'load_model': 'model.inference',
    'magnetic_moments': 'electronic.bands.spin',
    'make_pseudopotential': 'electronic.pseudo.gth',
    'make_structures': 'electronic.structures',
    'mulliken_charges': 'electronic.bands.charges',
    'onsite_levels': 'electronic.bands.levels',
    'plot_bands': 'plotting.bands',
    'potential_profile': 'electronic.bands.levels',
    'read_basis': 'io.bases',
    'reconstruct': 'jobs.reconstruct',
    'set_species_labels': 'electronic.species',
    'solve_mesh': 'electronic.bands.mesh',
    'species_labels': 'electronic.species',
    'train': 'jobs.train',
}

__all__ = ['__version__', *_HOMES]  # noqa: PLE0604


def __getattr__(name: str):
    """Load a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    globals()[name] = found = getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
