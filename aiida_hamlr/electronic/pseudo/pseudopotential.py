"""Norm-conserving pseudopotentials and their Fourier transforms, with the conventions of Quantum ESPRESSO."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.special import erf, spherical_jn

from aiida_hamlr.electronic.pseudo.checks import check_local_potential, density_note
from aiida_hamlr.electronic.pseudo.upf import parse_upf
from aiida_hamlr.electronic.pseudo.upf_content import Projector, PseudoWavefunction, UpfContent

__all__ = ['Projector', 'PseudoWavefunction', 'Pseudopotential']

#: Radius beyond which Quantum ESPRESSO does not integrate the local potential and the core density, bohr.
INTEGRATION_RADIUS = 10.0

#: Elements of the table r x q that a transform holds at a time.
CHUNK = 4_000_000


@dataclass(frozen=True, eq=False)
class Pseudopotential:
    """A norm-conserving pseudopotential as its UPF file gives it.

    Of a fully relativistic file this is the scalar-relativistic part, and beside it the coupling of the spin-orbit
    part, see `aiida_hamlr.electronic.pseudo.relativistic`.

    Lengths are in bohr, energies in Ry (e^2 = 2). ``n`` is the number of points of the file's radial mesh.

    Parameters
    ----------
    element : str
        Chemical symbol.
    z_valence : float
        Charge of the ion, |e|; may be fractional.
    functional : str
        'lda_pz', 'lda_pw', 'pbe' or 'pbesol'.
    r, rab : (n,) arrays
        Radial mesh and its derivative with respect to the index.
    v_local : (n,) array
        Local potential, Ry.
    rho_atom : (n,) array
        ``4 pi r^2 rho(r)`` of the free pseudo-atom, electrons per bohr.
    core_density : (n,) array or None
        Density of the nonlinear core correction, bohr^-3.
    projectors : tuple of Projector
        Nonlocal part.
    dij : (n_projectors, n_projectors) array
        ``V_nl = sum_pq |beta_p> D_pq <beta_q|``, Ry; of a fully relativistic file its scalar part.
    wavefunctions : tuple of PseudoWavefunction
        Of the free pseudo-atom.
    text : str
        The whole UPF file.
    spin_orbit_dij : (n_projectors, n_projectors) array or None
        ``V_SO = sum_pq |beta_p> D_pq (L . sigma) <beta_q|``, Ry; None of a scalar-relativistic file.
    """

    element: str
    z_valence: float
    functional: str
    r: np.ndarray
    rab: np.ndarray
    v_local: np.ndarray
    rho_atom: np.ndarray
    core_density: np.ndarray | None
    projectors: tuple[Projector, ...]
    dij: np.ndarray
    wavefunctions: tuple[PseudoWavefunction, ...]
    text: str
    spin_orbit_dij: np.ndarray | None = None

    @classmethod
    def read(cls, path: str | Path) -> Pseudopotential:
        """Read a UPF file, version 1 or 2.

        Raises
        ------
        ValueError
            If there is no such file, or for any of the reasons of `from_text`; the message names the file.
        """
        try:
            text = Path(path).read_text(encoding='utf-8', errors='replace')
        except OSError as error:
            raise ValueError(f'{path}: cannot be read ({error.strerror})') from error
        return cls.from_text(text, str(path))

    @classmethod
    def from_text(cls, text: str, name: str = 'UPF') -> Pseudopotential:
        """Read the text of a UPF file.

        Parameters
        ----------
        text : str
            The whole file.
        name : str
            What errors call the file.

        Raises
        ------
        ValueError
            If the text is no UPF file, truncated or inconsistent; if the pseudopotential is ultrasoft, PAW, semilocal,
            or a bare Coulomb potential; if its functional or element is not known; if its local potential does not end
            as that of an ion.
        """
        content = parse_upf(text, name)
        check_local_potential(content, name)
        pseudo = cls(**{f.name: getattr(content, f.name) for f in fields(UpfContent)}, text=text)
        if not pseudo._valence_charge > 0:
            raise ValueError(f'{name}: PP_RHOATOM holds no electrons')
        return pseudo

    @property
    def has_spin_orbit(self) -> bool:
        """Whether the file is fully relativistic and has projectors with an angular momentum."""
        return self.spin_orbit_dij is not None and bool(np.any(self.spin_orbit_dij))

    @cached_property
    def content_hash(self) -> str:
        """sha256 of the file's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def _local_mesh_size(self) -> int:
        """Points up to the first radius beyond 10 bohr, made odd."""
        beyond = np.flatnonzero(self.r > INTEGRATION_RADIUS)
        points = int(beyond[0]) + 1 if len(beyond) else len(self.r)
        return 2 * ((points + 1) // 2) - 1

    def _weights(self, points: int) -> np.ndarray:
        """Simpson weights of the first ``points`` mesh points; of an even number the last is left out."""
        points -= 1 - points % 2
        weights = np.full(points, 2.0 / 3.0)
        weights[1::2] = 4.0 / 3.0
        weights[0] = weights[-1] = 1.0 / 3.0
        return weights * self.rab[:points]

    @cached_property
    def _valence_charge(self) -> float:
        weights = self._weights(len(self.r))
        return float(weights @ self.rho_atom[: len(weights)])

    @property
    def notes(self) -> list[str]:
        """What a user should know of the file though it can be used, a line each."""
        note = density_note(self.z_valence, self._valence_charge, f'pseudopotential of {self.element}')
        return [] if note is None else [note]

    @property
    def density_scale(self) -> float:
        """What ``rho_atom`` has to be multiplied with for ``z_valence`` electrons."""
        return self.z_valence / self._valence_charge

    @cached_property
    def r2_moment(self) -> float:
        """``<r^2> = int rho r^2 d^3r`` of the free pseudo-atom with its density scaled to ``z_valence``, bohr^2."""
        weights = self._weights(len(self.r))
        n = len(weights)
        return float(weights @ (self.rho_atom[:n] * self.r[:n] ** 2)) * self.density_scale

    def _transform(self, l: int, weighted: np.ndarray, q) -> np.ndarray:
        """``sum_r weighted(r) j_l(q r)`` for every q."""
        q = np.asarray(q, dtype=float)
        flat, r = q.ravel(), self.r[: len(weighted)]
        result = np.empty(len(flat))
        step = max(1, CHUNK // len(r))
        for start in range(0, len(flat), step):
            argument = flat[start : start + step, None] * r
            bessel = np.sinc(argument / np.pi) if l == 0 else spherical_jn(l, argument)
            result[start : start + step] = bessel @ weighted
        return result.reshape(q.shape)

    def local_form_factor(self, q) -> np.ndarray:
        """Fourier transform of the local potential, Ry bohr^3.

        The long range ``-z e^2 erf(r) / r`` is transformed analytically; at ``q = 0`` its divergent part, which the
        electrons' cancels, is left out, as in Quantum ESPRESSO's ``vloc_of_g``.

        Parameters
        ----------
        q : array
            Wave vectors' lengths, bohr^-1.

        Returns
        -------
        array
            ``int V(r) exp(-i q r) d^3r``, of the shape of ``q``.
        """
        q = np.asarray(q, dtype=float)
        weights = self._weights(self._local_mesh_size)
        n = len(weights)
        r, charge = self.r[:n], 2.0 * self.z_valence
        product = r * self.v_local[:n]
        finite = q > 1e-8
        safe = np.where(finite, q, 1.0)
        short = self._transform(0, weights * r * (product + charge * erf(r)), q)
        result = 4.0 * np.pi * (short - charge * np.exp(-(safe**2) / 4.0) / safe**2)
        limit = 4.0 * np.pi * (weights @ (r * (product + charge)))
        return np.where(finite, result, limit)

    def density_form_factor(self, q) -> np.ndarray:
        """Fourier transform of the density of the free pseudo-atom, scaled to ``z_valence`` electrons.

        The whole mesh of the file is integrated (Quantum ESPRESSO, which needs this density for its start only, stops
        at 10 bohr), so that the neutral atom is neutral.

        Parameters
        ----------
        q : array
            Wave vectors' lengths, bohr^-1.
        """
        weights = self._weights(len(self.r))
        return self._transform(0, weights * self.rho_atom[: len(weights)] * self.density_scale, q)

    def core_form_factor(self, q) -> np.ndarray:
        """Fourier transform of the core density, electrons; zero without a core correction.

        Parameters
        ----------
        q : array
            Wave vectors' lengths, bohr^-1.
        """
        if self.core_density is None:
            return np.zeros(np.shape(q))
        weights = self._weights(self._local_mesh_size)
        n = len(weights)
        return self._transform(0, 4.0 * np.pi * weights * self.r[:n] ** 2 * self.core_density[:n], q)

    def projector_form_factor(self, index: int, q) -> np.ndarray:
        """Spherical Bessel transform ``int r^2 beta(r) j_l(q r) dr`` of a projector, bohr^3/2.

        All projectors are integrated up to the end of the longest, as in Quantum ESPRESSO's ``init_us_1``.

        Parameters
        ----------
        index : int
            Which projector, from 0.
        q : array
            Wave vectors' lengths, bohr^-1.
        """
        projector = self.projectors[index]
        weights = self._weights(max(p.cutoff_index for p in self.projectors))
        n = len(weights)
        return self._transform(projector.angular_momentum, weights * self.r[:n] * projector.values[:n], q)
