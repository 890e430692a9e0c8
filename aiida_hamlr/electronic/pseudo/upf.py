"""Reading UPF files, Quantum ESPRESSO's format of pseudopotentials, versions 1 and 2."""

from __future__ import annotations

import re

import numpy as np
from ase.data import atomic_numbers

from aiida_hamlr.electronic.fortran import parse_numbers
from aiida_hamlr.electronic.pseudo.relativistic import TotalMomenta, separate_spin_orbit
from aiida_hamlr.electronic.pseudo.upf_content import Projector, PseudoWavefunction, UpfContent
from aiida_hamlr.electronic.units import RYDBERG

#: Quantum ESPRESSO's names of the functionals that this package knows (upper case, single spaces).
FUNCTIONALS = {
    'SLA PZ NOGX NOGC': 'lda_pz',
    'SLA PZ': 'lda_pz',
    'PZ': 'lda_pz',
    'LDA': 'lda_pz',
    'SLA PW NOGX NOGC': 'lda_pw',
    'SLA PW': 'lda_pw',
    'PW': 'lda_pw',
    'SLA PW PBX PBC': 'pbe',
    'SLA PW PBE PBE': 'pbe',
    'PBE': 'pbe',
    'SLA PW PSX PSC': 'pbesol',
    'PBESOL': 'pbesol',
}

UNSUPPORTED_TYPES = {
    'US': 'an ultrasoft',
    'USPP': 'an ultrasoft',
    'PAW': 'a PAW',
    'SL': 'a semilocal (SL)',
    '1/R': 'a bare Coulomb (1/r)',
}

_ATTRIBUTE = re.compile(r"""(\w+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_ATTRIBUTES = r"""((?:\s+\w+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*"""


def parse_upf(text: str, name: str = 'UPF') -> UpfContent:
    """Read the text of a UPF file, version 1 or 2.

    A fully relativistic file is separated into its scalar-relativistic and its spin-orbit part, see
    `separate_spin_orbit`.

    Parameters
    ----------
    text : str
        The whole file.
    name : str
        What errors call the file.

    Raises
    ------
    ValueError
        If it is not a UPF file, truncated or inconsistent, or not a norm-conserving pseudopotential of a functional in
        ``FUNCTIONALS``.
    """
    reader = _Version2 if re.search(r'<UPF\s+version', text) else _Version1
    try:
        reading = reader(text, name)
        content = reading.read()
        if reading.is_fully_relativistic:
            content = separate_spin_orbit(content, reading.total_momenta(content), name)
    except (ValueError, IndexError, OverflowError) as error:
        message = str(error)
        raise ValueError(message if message.startswith(name) else f'{name}: damaged UPF file: {message}') from error
    _check_numbers(content, name)
    return content


def _check_numbers(content: UpfContent, name: str):
    arrays = {'PP_R': content.r, 'PP_RAB': content.rab, 'PP_LOCAL': content.v_local, 'PP_RHOATOM': content.rho_atom}
    if content.core_density is not None:
        arrays['PP_NLCC'] = content.core_density
    for i, projector in enumerate(content.projectors, 1):
        arrays[f'PP_BETA.{i}'] = projector.values
    for i, wavefunction in enumerate(content.wavefunctions, 1):
        arrays[f'PP_CHI.{i}'] = wavefunction.values
    for section, values in arrays.items():
        if len(values) != len(content.r):
            raise ValueError(f'{name}: {section} has {len(values)} values, PP_R has {len(content.r)}')
        if not np.isfinite(values).all():
            raise ValueError(f'{name}: {section} holds values that are not finite')
    if not np.isfinite(content.dij).all():
        raise ValueError(f'{name}: PP_DIJ holds values that are not finite')
    if not np.allclose(content.dij, content.dij.T, rtol=1e-6, atol=1e-8):
        raise ValueError(f'{name}: PP_DIJ is not symmetric')
    l = np.array([projector.angular_momentum for projector in content.projectors])
    if np.any(content.dij[l[:, None] != l[None, :]] if len(l) else False):
        raise ValueError(f'{name}: PP_DIJ couples projectors of different angular momenta')
    for i, projector in enumerate(content.projectors):
        if content.dij[i, i] and not projector.values.any():
            # Six files of PseudoDojo 0.5 are so: their s levels are off by electronvolts.
            raise ValueError(f'{name}: PP_BETA.{i + 1} is zero everywhere; the file has lost a projector')
    momenta = [*l, *(wavefunction.angular_momentum for wavefunction in content.wavefunctions)]
    if any(not 0 <= momentum <= 4 for momentum in momenta):
        raise ValueError(f'{name}: angular momentum out of range in {sorted(set(momenta))}')
    if len(content.r) < 10 or content.r[0] < 0 or np.any(np.diff(content.r) <= 0):
        raise ValueError(f'{name}: PP_R is not an increasing mesh of at least 10 radii')
    if np.any(content.rab <= 0):
        raise ValueError(f'{name}: PP_RAB is not positive')
    if not 0 < content.z_valence <= atomic_numbers[content.element] + 1:
        raise ValueError(f'{name}: z_valence {content.z_valence} is not possible for {content.element}')


class _Reader:
    """What both versions share: sections, numbers, and what is refused."""

    def __init__(self, text: str, name: str):
        self.name = name
        # PP_INFO is free text; what looks like a section in it is none.
        self.text = re.sub(r'<PP_INFO>.*?</PP_INFO>', '', text, flags=re.DOTALL)

    def fail(self, message: str):
        raise ValueError(f'{self.name}: {message}')

    def section(self, tag: str, text: str | None = None) -> tuple[dict, str] | None:
        """Attributes and body of a section; None if the file does not have it."""
        text = self.text if text is None else text
        opening = re.search(f'<{re.escape(tag)}{_ATTRIBUTES}(/?)>', text)
        if opening is None:
            return None
        attributes = {key: (a or b).strip() for key, a, b in _ATTRIBUTE.findall(opening[1])}
        if opening[2]:
            return attributes, ''
        end = text.find(f'</{tag}>', opening.end())
        if end < 0:
            self.fail(f'truncated: {tag} has no end')
        return attributes, text[opening.end() : end]

    def required(self, tag: str) -> tuple[dict, str]:
        found = self.section(tag)
        if found is None:
            self.fail(f'no section {tag}; the file is truncated or not a UPF file')
        return found

    def array(self, tag: str) -> np.ndarray:
        attributes, body = self.required(tag)
        values = self.numbers(body, tag)
        if attributes.get('size', '').isdigit() and int(attributes['size']) != len(values):
            self.fail(f'{tag} announces {attributes["size"]} values and has {len(values)}')
        return values

    def numbers(self, text: str, tag: str) -> np.ndarray:
        try:
            return parse_numbers(text)
        except ValueError as error:
            self.fail(f'{tag} holds something that is not a number ({error})')

    def number(self, text: str, what: str) -> float:
        values = self.numbers(text, what)
        if len(values) != 1:
            self.fail(f'{what} is {text!r} instead of a number')
        return float(values[0])

    def integer(self, text: str, what: str) -> int:
        value = self.number(text, what)
        if value != int(value):
            self.fail(f'{what} is {text!r} instead of an integer')
        return int(value)

    def check_element(self, element: str) -> str:
        symbol = element.strip().capitalize()
        if atomic_numbers.get(symbol, 0) < 1:
            self.fail(f'{element.strip()!r} is not a chemical element')
        return symbol

    def check_type(self, kind: str):
        kind = kind.strip().upper()
        if kind != 'NC':
            described = UNSUPPORTED_TYPES.get(kind, f'an unknown ({kind})')
            self.fail(f'{described} pseudopotential; only norm-conserving ones are supported')

    def check_functional(self, text: str) -> str:
        words = ' '.join(re.split(r'[\s+-]+', text.strip().upper()))
        if words not in FUNCTIONALS:
            known = 'LDA (PZ, PW), PBE and PBEsol'
            self.fail(f'functional {text.strip()!r} is not supported; known are {known}')
        return FUNCTIONALS[words]


class _Version2(_Reader):
    """Version 2: sections with attributes."""

    @property
    def is_fully_relativistic(self) -> bool:
        header, _ = self.required('PP_HEADER')
        return self.boolean(header, 'has_so') or header.get('relativistic', '').lower() == 'full'

    def total_momenta(self, content: UpfContent) -> TotalMomenta:
        """l and j of every projector and wave function."""

        def read(tag: str, l: str, j: str) -> tuple[int, float]:
            attributes, _ = self.required(tag)
            momentum = self.integer(self.header_value(attributes, l), f'{l} of {tag}')
            return momentum, self.number(self.header_value(attributes, j), f'{j} of {tag}')

        return TotalMomenta(
            tuple(read(f'PP_RELBETA.{i + 1}', 'lll', 'jjj') for i in range(len(content.projectors))),
            tuple(read(f'PP_RELWFC.{i + 1}', 'lchi', 'jchi') for i in range(len(content.wavefunctions))),
        )

    def read(self) -> UpfContent:
        header, _ = self.required('PP_HEADER')
        element = self.check_element(self.header_value(header, 'element'))
        for flag, kind in (('is_paw', 'PAW'), ('is_ultrasoft', 'US'), ('is_coulomb', '1/r')):
            if self.boolean(header, flag):
                self.check_type(kind)
        self.check_type(self.header_value(header, 'pseudo_type'))
        functional = self.check_functional(self.header_value(header, 'functional'))
        if '</UPF>' not in self.text:
            self.fail('truncated: no </UPF> at the end')
        r = self.array('PP_R')
        announced = self.integer(self.header_value(header, 'mesh_size'), 'mesh_size')
        if announced != len(r):
            self.fail(f'mesh_size is {announced}, PP_R has {len(r)} values')
        n_projectors = self.integer(self.header_value(header, 'number_of_proj'), 'number_of_proj')
        projectors = tuple(self.projector(i + 1) for i in range(n_projectors))
        dij = self.array('PP_DIJ') if n_projectors else np.zeros(0)
        if len(dij) != n_projectors**2:
            self.fail(f'PP_DIJ has {len(dij)} values for {n_projectors} projectors')
        n_wavefunctions = self.integer(self.header_value(header, 'number_of_wfc'), 'number_of_wfc')
        return UpfContent(
            element=element,
            z_valence=self.number(self.header_value(header, 'z_valence'), 'z_valence'),
            functional=functional,
            r=r,
            rab=self.array('PP_RAB'),
            v_local=self.array('PP_LOCAL'),
            rho_atom=self.array('PP_RHOATOM'),
            core_density=self.array('PP_NLCC') if self.boolean(header, 'core_correction') else None,
            projectors=projectors,
            dij=dij.reshape(n_projectors, n_projectors),
            wavefunctions=tuple(self.wavefunction(i + 1) for i in range(n_wavefunctions)),
        )

    def header_value(self, header: dict, key: str) -> str:
        if key not in header:
            self.fail(f'PP_HEADER has no {key}')
        return header[key]

    def boolean(self, header: dict, key: str) -> bool:
        value = header.get(key, 'F').strip('.').lower()
        if value not in ('t', 'true', 'f', 'false'):
            self.fail(f'{key} is {header[key]!r} instead of a boolean')
        return value.startswith('t')

    def projector(self, index: int) -> Projector:
        tag = f'PP_BETA.{index}'
        attributes, _ = self.required(tag)
        values = self.array(tag)
        l = self.integer(self.header_value(attributes, 'angular_momentum'), f'angular_momentum of {tag}')
        cutoff = self.integer(attributes.get('cutoff_radius_index', '0'), f'cutoff_radius_index of {tag}')
        return Projector(l, values, cutoff if 0 < cutoff <= len(values) else len(values))

    def wavefunction(self, index: int) -> PseudoWavefunction:
        tag = f'PP_CHI.{index}'
        attributes, _ = self.required(tag)
        l = self.integer(self.header_value(attributes, 'l'), f'l of {tag}')
        occupation = self.number(self.header_value(attributes, 'occupation'), f'occupation of {tag}')
        energy = self.number(attributes.get('pseudo_energy', '0'), f'pseudo_energy of {tag}') * RYDBERG
        label = attributes.get('label', tag)
        return PseudoWavefunction(label, l, occupation, self.array(tag), energy if energy else None)


class _Version1(_Reader):
    """Version 1: a header that goes by the order of its lines."""

    @property
    def is_fully_relativistic(self) -> bool:
        return '<PP_ADDINFO>' in self.text

    def total_momenta(self, content: UpfContent) -> TotalMomenta:
        """l and j of every projector and wave function."""
        lines = [line.split() for line in self.required('PP_ADDINFO')[1].strip().splitlines()]
        n_waves, n_projectors = len(content.wavefunctions), len(content.projectors)
        if len(lines) < n_waves + n_projectors:
            self.fail(f'PP_ADDINFO has {len(lines)} lines for {n_waves} wave functions and {n_projectors} projectors')
        pairs = [line[2:4] for line in lines[:n_waves]] + [line[:2] for line in lines[n_waves:][:n_projectors]]
        momenta = [(self.integer(l, 'l in PP_ADDINFO'), self.number(j, 'j in PP_ADDINFO')) for l, j in pairs]
        return TotalMomenta(tuple(momenta[n_waves:]), tuple(momenta[:n_waves]))

    def read(self) -> UpfContent:
        if '<PP_HEADER>' not in self.text:
            self.fail('not a UPF file (no PP_HEADER)')
        lines = [line for line in self.required('PP_HEADER')[1].splitlines() if line.strip()]
        if len(lines) < 11:
            self.fail('PP_HEADER is incomplete')
        first = [line.split()[0] for line in lines[:11]]
        element = self.check_element(first[1])
        self.check_type(first[2])
        functional = self.check_functional(' '.join(lines[4].split()[:4]))
        mesh = self.integer(first[9], 'number of mesh points')
        n_wavefunctions, n_projectors = (self.integer(word, 'count in PP_HEADER') for word in lines[10].split()[:2])
        r = self.array('PP_R')
        if mesh != len(r):
            self.fail(f'PP_HEADER announces {mesh} mesh points, PP_R has {len(r)}')
        nonlocal_text = self.required('PP_NONLOCAL')[1] if n_projectors else ''
        projectors = tuple(self.projectors(nonlocal_text, n_projectors, mesh))
        return UpfContent(
            element=element,
            z_valence=self.number(first[5], 'Z valence'),
            functional=functional,
            r=r,
            rab=self.array('PP_RAB'),
            v_local=self.array('PP_LOCAL'),
            rho_atom=self.array('PP_RHOATOM'),
            core_density=self.array('PP_NLCC') if first[3].strip('.').upper().startswith('T') else None,
            projectors=projectors,
            dij=self.dij(n_projectors),
            wavefunctions=tuple(self.wavefunctions(n_wavefunctions, mesh)),
        )

    def projectors(self, text: str, count: int, mesh: int):
        bodies = re.findall(r'<PP_BETA>(.*?)</PP_BETA>', text, flags=re.DOTALL)
        if len(bodies) != count:
            self.fail(f'{len(bodies)} complete PP_BETA sections instead of {count}')
        for body in bodies:
            first, second, rest = body.strip().split('\n', 2)
            length = self.integer(second.split()[0], 'length of PP_BETA')
            # Cutoff radii may follow the values.
            values = self.numbers(' '.join(rest.split()[:length]), 'PP_BETA')
            if len(values) != length or length > mesh:
                self.fail(f'PP_BETA announces {length} values and has {len(values)}; the mesh has {mesh}')
            yield Projector(self.integer(first.split()[1], 'l of PP_BETA'), np.pad(values, (0, mesh - length)), length)

    def dij(self, count: int) -> np.ndarray:
        matrix = np.zeros((count, count))
        if count == 0:
            return matrix
        lines = [line.split() for line in self.required('PP_DIJ')[1].strip().splitlines()]
        entries = lines[1:]
        if len(entries) != self.integer(lines[0][0], 'number of nonzero Dij'):
            self.fail(f'PP_DIJ announces {lines[0][0]} entries and has {len(entries)}')
        for i, j, value in entries:
            row, column = self.integer(i, 'index in PP_DIJ'), self.integer(j, 'index in PP_DIJ')
            if not (1 <= row <= count and 1 <= column <= count):
                self.fail(f'PP_DIJ names projectors {row}, {column} of {count}')
            matrix[row - 1, column - 1] = matrix[column - 1, row - 1] = self.number(value, 'PP_DIJ')
        return matrix

    def wavefunctions(self, count: int, mesh: int):
        if count == 0:
            return
        lines = self.required('PP_PSWFC')[1].strip().splitlines()
        starts = [i for i, line in enumerate(lines) if 'wavefunction' in line.lower()]
        if len(starts) != count:
            self.fail(f'PP_PSWFC has {len(starts)} wavefunctions instead of {count}')
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            label, l, occupation = lines[start].split()[:3]
            values = self.numbers(' '.join(lines[start + 1 : end]), f'PP_PSWFC {label}')
            if len(values) != mesh:
                self.fail(f'PP_PSWFC {label} has {len(values)} values, the mesh {mesh}')
            yield PseudoWavefunction(
                label, self.integer(l, 'l in PP_PSWFC'), self.number(occupation, 'occupation in PP_PSWFC'), values
            )
