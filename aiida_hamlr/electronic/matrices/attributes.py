"""What a Hamiltonian file records beside its matrices."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

from aiida_hamlr.electronic.attributes import StoredAttributes, stored_as


@dataclass(slots=True, kw_only=True)
class HamiltonianAttributes(StoredAttributes):
    """Attributes of a `Hamiltonian`; None stands for what is not known or does not apply.

    Where the key in the file differs from the name, it follows in parentheses.

    Parameters
    ----------
    origin : str
        'reference' (from a DFT run), 'predicted', 'h0' or 'imported' (from a file of another program).
    source_format : str
        Of what was imported: 'deepx', 'deeph', 'deeptb', 'sisl' or 'cp2k'.
    functional : str
        Exchange-correlation functional of the pseudopotentials.
    gauge : str
        Zero of energy: 'neutral_atom'.
    gauge_shift : float
        What was added to the Hamiltonian of the DFT code, per overlap, eV (``gauge_shift_eV``).
    vacuum_level : float
        Electrostatic potential in the vacuum, in the gauge of H, eV (``vacuum_level_eV``). None without a vacuum, or if
        only the potential of the run was given, from which exchange and correlation cannot be subtracted.
    vacuum_levels : list of two float
        The same below and above a slab, seen along the lattice vector through the vacuum, eV (``vacuum_levels_eV``).
        None unless the run had a dipole correction or cut off the interaction of slabs.
    planar_potentials : list of three lists of float
        Electrostatic potential averaged over planes across each lattice vector, in the gauge of H, eV
        (``planar_potentials_eV``), see `planar_potential`. None unless the density of the run was given.
    electrostatics : str
        Of the run: 'periodic', '2D' (``assume_isolated``) or 'dipole correction'.
    n_electrons : float
        Valence electrons per cell.
    n_spin : int
        1, or 2 with collinear spin.
    grid : list of three int
        Dimensions of the FFT grid.
    ecutrho, ecutwfc : float
        Cutoffs of density and wave functions, Ry (``ecutrho_Ry``, ``ecutwfc_Ry``).
    kpoints : list of three int
        Mesh of the density matrix.
    scf_kpoints : list of three int
        Mesh of the self-consistent run; None if its points were listed.
    overlap_threshold : float
        Fermi level and gap were computed without the eigenvectors of S(k) whose eigenvalues are at or below it. A
        record: solvers take the threshold as an argument.
    fermi_level, gap, direct_gap : float
        eV (``fermi_level_eV``, ``gap_eV``, ``direct_gap_eV``); the gaps over mesh and band path together.
    spin_gaps : list of two float
        Gaps of spin up and down on their own, eV (``spin_gaps_eV``), see `BandAttributes`.
    vbm, cbm : float
        Band edges, eV (``vbm_eV``, ``cbm_eV``).
    vbm_kpoint, cbm_kpoint : list of three float
        Where they are, fractions of the reciprocal vectors.
    magnetization : float
        Bohr magnetons per cell.
    magnetic_moments : list of N float
        Mulliken moments of the atoms, Bohr magnetons.
    magnetization_axis : list of three float
        With collinear spin and a spin-orbit part: Cartesian unit vector that spin up points along; None: z.
    fixed_magnetization : float
        At which the run held the magnetization, Bohr magnetons per cell; None if it was free.
    spin_fermi_levels : list of two float
        Of spin up and spin down if the magnetization was fixed, eV (``spin_fermi_levels_eV``).
    born_charge_sum : float
        Largest element of the sum of the Born charges before it was subtracted, |e| (``born_charge_sum_e``).
    model : dict
        Which model predicted: ``identity``, ``variant``, ``data_hash``.
    long_range_charges : list of N float
        Charges of the model's long range, |e|.
    long_range_polarisabilities : list of N float
        Its polarisabilities, Å^3.
    long_range_permanent_dipoles : list of N lists of three float
        Its permanent dipoles, |e| Å.
    uncertainty : list of N float
        Expected errors of the blocks of the atoms, see `aiida_hamlr.model.uncertainty`, meV (``uncertainty_meV``).
    code : str
        Programs that made the numbers, and their versions.
    verification : dict
        Checks of a reconstruction, see `verify`.
    warnings : list of str
        What speaks against its use, see `find_warnings`.
    """

    origin: str | None = None
    source_format: str | None = None
    functional: str | None = None
    gauge: str | None = None
    gauge_shift: float | None = stored_as('gauge_shift_eV')
    vacuum_level: float | None = stored_as('vacuum_level_eV')
    vacuum_levels: list[float] | None = stored_as('vacuum_levels_eV')
    planar_potentials: list[list[float]] | None = stored_as('planar_potentials_eV')
    electrostatics: str | None = None
    n_electrons: float | None = None
    n_spin: int | None = None
    grid: list[int] | None = None
    ecutrho: float | None = stored_as('ecutrho_Ry')
    ecutwfc: float | None = stored_as('ecutwfc_Ry')
    kpoints: list[int] | None = None
    scf_kpoints: list[int] | None = None
    overlap_threshold: float | None = None
    fermi_level: float | None = stored_as('fermi_level_eV')
    gap: float | None = stored_as('gap_eV')
    direct_gap: float | None = stored_as('direct_gap_eV')
    spin_gaps: list[float | None] | None = stored_as('spin_gaps_eV')
    vbm: float | None = stored_as('vbm_eV')
    cbm: float | None = stored_as('cbm_eV')
    vbm_kpoint: list[float] | None = None
    cbm_kpoint: list[float] | None = None
    magnetization: float | None = None
    magnetic_moments: list[float] | None = None
    magnetization_axis: list[float] | None = None
    fixed_magnetization: float | None = None
    spin_fermi_levels: list[float] | None = stored_as('spin_fermi_levels_eV')
    born_charge_sum: float | None = stored_as('born_charge_sum_e')
    model: dict[str, Any] | None = None
    long_range_charges: list[float] | None = None
    long_range_polarisabilities: list[float] | None = None
    long_range_permanent_dipoles: list[list[float]] | None = None
    uncertainty: list[float] | None = stored_as('uncertainty_meV')
    code: str | None = None
    verification: dict[str, Any] | None = None
    warnings: list[str] | None = None

    def record_edges(self, edges):
        """Take over Fermi level, gaps and band edges from the attributes of bands, `BandAttributes`."""
        for name in ('fermi_level', 'gap', 'direct_gap', 'spin_gaps', 'vbm', 'cbm', 'vbm_kpoint', 'cbm_kpoint'):
            setattr(self, name, getattr(edges, name))

    @property
    def filled_bands(self) -> tuple[int, int] | None:
        """Numbers of bands that spin up and down fill; None if their electrons are unknown or no integers.

        Without collinear spin both are alike.
        """
        if self.n_electrons is None or (self.n_spin == 2 and self.magnetization is None):
            return None
        excess = self.magnetization if self.n_spin == 2 else 0.0
        numbers = [(self.n_electrons + sign * excess) / 2 for sign in (1, -1)]
        if any(abs(number - round(number)) > (WHOLE if self.n_spin == 2 else 1e-6) for number in numbers):
            return None
        return round(numbers[0]), round(numbers[1])


#: Electrons of a spin that are this near to an integer fill its bands.
WHOLE = 1e-3


def count_occupied(n_electrons: float, electrons_per_band: int = 2) -> int:
    """Number of bands that ``n_electrons`` need; the last may be half filled."""
    return ceil(n_electrons / electrons_per_band - 1e-6)
