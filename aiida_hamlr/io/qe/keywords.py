"""Keywords of pw.x that change the potential, its zero, or the geometry: which are supported, which are refused.

A Hamiltonian is rebuilt from the density or the potential of a run as ``V_loc + V_H + V_xc``. Whatever adds a term to
that must be known. One table serves finished runs (`keywords_of_xml`) and inputs that are about to be submitted: in
both cases the keywords are those of the input of pw.x, in lower case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from aiida_hamlr.electronic.reference.electrostatics import DipoleCorrection, Electrostatics

#: Keywords that leave the Hamiltonian of a converged scf run as it is, by namelist.
HARMLESS = {
    'CONTROL': """calculation title verbosity restart_mode wf_collect nstep iprint tstress tprnfor dt
        outdir wfcdir prefix lkpoint_dir max_seconds etot_conv_thr forc_conv_thr disk_io pseudo_dir gdir
        nppstr memory lorbm point_label_type""",
    'SYSTEM': """ibrav celldm a b c cosab cosac cosbc nat ntyp nbnd ecutwfc ecutrho nr1 nr2 nr3 nr1s nr2s
        nr3s nosym nosym_evc noinv no_t_rev force_symmorphic use_all_frac occupations
        one_atom_occupations degauss smearing starting_magnetization starting_charge starting_spin_angle
        tot_magnetization report lforcet uniqueb origin_choice rhombohedral space_group angle1 angle2
        lambda fixed_magnetization ecfixed q2sigma london xdm london_s6 london_c6 london_rvdw
        london_rcut dftd3_version dftd3_threebody ts_vdw_econv_thr ts_vdw_isolated xdm_a1 xdm_a2 emaxpos
        eopreg edir zgate relaxz block block_1 block_2 block_height esm_bc esm_w esm_efield esm_nfit
        esm_a esm_zb esm_debug esm_debug_gpmax ecutfock nqx1 nqx2 nqx3 exxdiv_treatment
        x_gamma_extrapolation ecutvcut localization_thr use_ace ace nbndproj scdm starting_ns_eigenvalue
        u_projection_type hubbard_occ max_nelec fcp_mu gcscf_mu gcscf_conv_thr gcscf_gk gcscf_gh
        gcscf_beta gcscf_ignore_mun""",
    'ELECTRONS': """electron_maxstep exx_maxstep scf_must_converge conv_thr adaptive_thr conv_thr_init
        conv_thr_multi mixing_mode mixing_beta mixing_ndim mixing_fixed_ns diagonalization
        diago_thr_init diago_cg_maxiter diago_ppcg_maxiter diago_david_ndim diago_rmm_ndim
        diago_rmm_conv diago_gs_nblock diago_full_acc efield efield_phase startingpot startingwfc tqr
        tq_smoothing
        ortho_para exx_nstep""",
    'IONS': """ion_positions ion_velocities ion_dynamics pot_extrapolation wfc_extrapolation
        remove_rigid_rot ion_temperature tempw tolp delta_t nraise refold_pos upscale bfgs_ndim
        trust_radius_max trust_radius_min trust_radius_ini w_1 w_2 fire_alpha_init fire_falpha fire_nmin
        fire_f_inc fire_f_dec fire_dtmax""",
    'CELL': 'cell_dynamics press wmass cell_factor press_conv_thr cell_dofree cell_do_free',
}
_HARMLESS = frozenset(' '.join(HARMLESS.values()).split())

#: Namelists of which no keyword counts unless a keyword of the table switches them on.
SWITCHED = ('FCP', 'RISM')

_OFF = (False, 0, None, 'none', '')

#: Dispersion corrections that add to energy and forces only.
ENERGY_ONLY_DISPERSION = (
    'none',
    'grimme-d2', 'grimme-d3', 'dft-d', 'dft-d2', 'dft-d3', 'd2', 'd3', 'xdm',
)  # fmt: skip


@dataclass(frozen=True)
class Refusal:
    """Why a keyword is refused when its value is none of those that do nothing.

    Parameters
    ----------
    reason : str
        A sentence without a full stop: what the keyword does to the Hamiltonian, and what to do.
    allowed : tuple
        Values with which it is not refused; of strings the case does not matter.
    """

    reason: str
    allowed: tuple = _OFF

    def applies(self, value) -> bool:
        """Whether a value is refused; of an array, whether one of its elements is."""
        if isinstance(value, Mapping):
            return any(self.applies(element) for element in value.values())
        if isinstance(value, list | tuple):
            return any(self.applies(element) for element in value)
        value = value.strip().lower() if isinstance(value, str) else value
        return value not in self.allowed


_HUBBARD = Refusal(
    'Hubbard corrections are not supported: they add a potential on the orbitals that neither density nor local '
    'potential holds; use a plain LDA or GGA functional'
)
_HYBRID = Refusal(
    'hybrid functionals are not supported: exact exchange is no local potential; use a plain LDA or GGA functional'
)
_NONLOCAL = Refusal(
    'nonlocal van der Waals functionals (vdW-DF, rVV10) are not supported: their potential is not rebuilt here; use '
    'LDA or GGA, with a correction by Grimme (vdw_corr) if energies or forces matter'
)
_SPINORS = Refusal(
    'noncollinear runs without spin-orbit coupling, or with a magnetization, are not supported; set noncolin and '
    'lspinorb and no magnetization, or nspin = 1 or 2',
    (1, 2),
)
_TWO_CHEMICAL = Refusal(
    'two chemical potentials are not supported: the states are not those of the ground state; leave it out'
)
_FIELD = Refusal(
    'electric fields by the modern theory of polarisation are not supported: they are no local potential; leave it '
    'out, or use the dipole correction of slabs (tefield and dipfield)'
)
_REAL_SPACE = Refusal(
    'projectors that are applied or smoothed in real space are not supported: they move the levels by some meV; leave '
    'it out'
)
_RESERVOIR = Refusal(
    'constant-potential runs are not supported: the cell is charged; run a neutral cell', (*_OFF, 'no-fcp')
)

#: Keywords that are refused unless they are off, with the reason.
REFUSED = {
    'nspin': _SPINORS,
    'gate': Refusal('charged gates are not supported: they add a potential and charge the cell; leave it out'),
    'tot_charge': Refusal(
        'charged cells are not supported: their potential has no zero that could be compared; run a neutral cell'
    ),
    'assume_isolated': Refusal(
        "isolated cells other than slabs (assume_isolated = '2D') are not supported: their electrostatics are neither "
        'periodic nor those of a slab; leave it out and give molecules enough vacuum',
        (*_OFF, '2d'),
    ),
    'lelfield': _FIELD,
    'efield_cart': _FIELD,
    'lberry': Refusal('Berry-phase runs (lberry) are nscf runs without a density of their own; give the scf run'),
    'constrained_magnetization': Refusal(
        'constrained magnetic moments are not supported: the eigenvalues contain a penalty field that no file of the '
        'density holds; start from starting_magnetization, or hold the total moment with tot_magnetization'
    ),
    'b_field': Refusal(
        'magnetic fields (B_field) are not supported: they shift the levels of both spins; leave it out'
    ),
    'qcutz': Refusal(
        'modified kinetic energies (qcutz, ecfixed, q2sigma) are not supported: the kinetic energy of the orbitals is '
        'exact; leave qcutz out'
    ),
    'sci_vb': Refusal('scissor shifts are not supported: they add an operator to the Hamiltonian; leave it out'),
    'sci_cb': Refusal('scissor shifts are not supported: they add an operator to the Hamiltonian; leave it out'),
    'nextffield': Refusal('external force fields are not supported: leave it out'),
    'input_dft': Refusal('the functional must be that of the pseudopotentials; leave it out'),
    'lda_plus_u': _HUBBARD,
    'lda_plus_u_kind': _HUBBARD,
    'hubbard_u': _HUBBARD,
    'hubbard_v': _HUBBARD,
    'hubbard_j': _HUBBARD,
    'hubbard_j0': _HUBBARD,
    'hubbard_u2': _HUBBARD,
    'hubbard_um': _HUBBARD,
    'hubbard_alpha': _HUBBARD,
    'hubbard_beta': _HUBBARD,
    'dmft': Refusal('self-energies of dynamical mean-field theory are not supported: leave dmft out'),
    'exx_fraction': _HYBRID,
    'screening_parameter': _HYBRID,
    'vdw_corr': Refusal(
        'this dispersion correction changes the potential and is not supported; Grimme-D2, Grimme-D3 and XDM, which '
        'change energies and forces only, are',
        (*_OFF, *ENERGY_ONLY_DISPERSION),
    ),
    'ts_vdw': Refusal('Tkatchenko-Scheffler corrections change the potential and are not supported; use Grimme-D3'),
    'non_local_term': _NONLOCAL,
    'real_space': _REAL_SPACE,
    'tbeta_smoothing': _REAL_SPACE,
    'twochem': _TWO_CHEMICAL,
    'nbnd_cond': _TWO_CHEMICAL,
    'degauss_cond': _TWO_CHEMICAL,
    'nelec_cond': _TWO_CHEMICAL,
    'lfcp': _RESERVOIR,
    'lfcpopt': _RESERVOIR,
    'lfcpdyn': _RESERVOIR,
    'lgcscf': _RESERVOIR,
    'trism': Refusal('solvents (RISM) are not supported: they add a potential; run without'),
    'tqmmm': Refusal('QM/MM runs are not supported: the charges outside add a potential; run without', (*_OFF, -1)),
    'qmmm': Refusal('QM/MM runs are not supported: the charges outside add a potential; run without', (*_OFF, -1)),
}

#: Electric field of pw.x, Hartree atomic units, if tefield is set and eamp is not.
DEFAULT_AMPLITUDE = 0.001

#: Keywords whose zero means something.
_SAW_TOOTH = ('eamp', 'edir', 'emaxpos', 'eopreg')

#: What a geometry optimisation or dynamics leaves behind.
MOVED_AFTER_SCF = {
    'md': 'in molecular dynamics the atoms move after the last scf cycle, so that the positions are not those of the '
    'density; run scf at one structure of the trajectory',
    'vc-md': 'in molecular dynamics cell and atoms move after the last scf cycle, so that they are not those of the '
    'density; run scf at one structure of the trajectory',
    'nscf': "a run of type 'nscf' does not tell whether the scf cycle converged; give the scf run",
    'bands': "a run of type 'bands' does not tell whether the scf cycle converged; give the scf run",
}


def known_keywords() -> frozenset[str]:
    """All keywords that the table has an opinion on."""
    return _HARMLESS | frozenset(REFUSED) | {'tefield', 'dipfield', 'eamp', 'noncolin', 'lspinorb'}


def find_keyword_problem(keywords: Mapping[str, object]) -> str | None:
    """Return why the Hamiltonian of a run cannot be rebuilt, or nothing.

    Parameters
    ----------
    keywords : mapping of str to object
        Keywords of pw.x, lower case, of all namelists together; those that are left out have their defaults.

    Returns
    -------
    str or None
        One line that names the keyword, its value, the reason and the remedy.
    """
    for name, refusal in REFUSED.items():
        if name in keywords and refusal.applies(keywords[name]):
            return f'{name} = {_shown(keywords[name])}: {refusal.reason}'
    problem = _find_spinor_problem(keywords) or _find_field_problem(keywords)
    if problem is not None:
        return problem
    for name, value in keywords.items():
        if name not in known_keywords() and Refusal('').applies(value):
            return (
                f'{name} = {_shown(value)}: this keyword is not known to leave potential, zero of energy and geometry '
                'unchanged; leave it out'
            )
    return None


def _shown(value) -> str:
    text = str(value)
    return text if len(text) <= 40 else f'{text[:37]}...'


def _find_spinor_problem(keywords: Mapping[str, object]) -> str | None:
    """Spinors: supported with spin-orbit coupling and without magnetization only."""
    noncollinear, spin_orbit = (keywords.get(name) not in (None, *_OFF) for name in ('noncolin', 'lspinorb'))
    if noncollinear and not spin_orbit:
        return f'noncolin = True without lspinorb: {_SPINORS.reason}'
    if spin_orbit and not noncollinear:
        return 'lspinorb = True: spin-orbit runs without noncolin are not supported; set noncolin too'
    if not spin_orbit:
        return None
    for name in ('starting_magnetization', 'tot_magnetization', 'angle1', 'angle2'):
        values = keywords.get(name, 0)
        if any(value not in _OFF for value in (values.values() if isinstance(values, Mapping) else [values])):
            return f'{name} with lspinorb: spin-orbit runs with a magnetization are not supported; leave it out'
    if keywords.get('nspin', 1) != 1:
        return f'nspin = {_shown(keywords["nspin"])} with lspinorb: leave nspin out'
    return None


def _find_field_problem(keywords: Mapping[str, object]) -> str | None:
    """The saw-tooth potential: supported as the dipole correction of a slab only."""
    if not keywords.get('tefield'):
        return None
    amplitude = keywords.get('eamp', DEFAULT_AMPLITUDE)
    if amplitude not in _OFF:
        return (
            f'eamp = {_shown(amplitude)}: electric fields from outside are not supported, the '
            'Hamiltonian would not follow from the structure; set eamp = 0, with dipfield for the dipole correction of '
            'a slab'
        )
    if keywords.get('dipfield') and keywords.get('edir') not in (1, 2, 3):
        return f'edir = {_shown(keywords.get("edir"))}: the dipole correction runs along lattice vector 1, 2 or 3'
    if keywords.get('dipfield') and str(keywords.get('assume_isolated', '')).lower() == '2d':
        return "dipfield = True: a slab with assume_isolated = '2D' needs no dipole correction; leave out one of both"
    return None


def electrostatics_of(keywords: Mapping[str, object]) -> Electrostatics:
    """Electrostatics of a run whose keywords are supported, see `find_keyword_problem`."""
    correction = None
    if keywords.get('tefield') and keywords.get('dipfield'):
        start, width = (float(keywords.get(name, default)) for name, default in (('emaxpos', 0.5), ('eopreg', 0.1)))
        correction = DipoleCorrection(int(keywords['edir']) - 1, start, width)
    return Electrostatics(str(keywords.get('assume_isolated', '')).strip().lower() == '2d', correction)


#: Elements of the input section of the XML file and the keyword that each comes from, where the names differ; sections
#: that are not listed go by the last name of their path.
_XML_NAMES = {
    'control_variables/stress': 'tstress',
    'control_variables/forces': 'tprnfor',
    'control_variables/print_every': 'iprint',
    'control_variables/fcp': 'lfcp',
    'control_variables/rism': 'trism',
    'spin/spinorbit': 'lspinorb',
    'spin_constraints/spin_constraints': 'constrained_magnetization',
    'electric_field/dipole_correction': 'dipfield',
    'electric_field/electric_field_direction': 'edir',
    'electric_field/potential_max_position': 'emaxpos',
    'electric_field/potential_decrease_width': 'eopreg',
    'electric_field/electric_field_amplitude': 'eamp',
    'electric_field/electric_field_vector': 'efield_cart',
    'electric_field/gate_settings/use_gate': 'gate',
    'boundary_conditions/fcp_opt': 'lfcpopt',
    'electron_control/real_space_beta': 'real_space',
    'electron_control/max_nstep': 'electron_maxstep',
}

#: Sections that say what the atoms, k-points, cutoffs and the relaxation are, and are read or checked elsewhere.
_XML_ELSEWHERE = (
    'atomic_species', 'atomic_structure', 'k_points_IBZ', 'basis', 'bands/inputOccupations', 'dft/functional',
    'dft/dftU', 'dft/hybrid', 'dft/vdW', 'ion_control', 'cell_control', 'external_atomic_forces', 'free_positions',
    'starting_atomic_velocities', 'atomic_constraints', 'fcp', 'fcp_settings', 'rism', 'rism_settings', 'solvents',
    'boundary_conditions/esm', 'boundary_conditions/gcscf', 'boundary_conditions/fcp_mu',
    'spin_constraints/lagrange_multiplier', 'spin_constraints/target_magnetization', 'spin/lsda',
    'electron_control/real_space_q', 'electric_field/nk_per_string',
    'electric_field/n_berry_cycles', 'electric_field/electric_potential', 'twoch_/ef_cond',
    'control_variables/press_conv_thr',
)  # fmt: skip


def keywords_of_xml(root: Element) -> dict[str, object]:
    """Keywords of pw.x that the XML file of a run says were set.

    Parameters
    ----------
    root : Element
        Of data-file-schema.xml. What the output section says of functional, boundary conditions and fields counts too.

    Returns
    -------
    dict
        As `find_keyword_problem` takes them.
    """
    keywords: dict[str, object] = {}
    section = root.find('input')
    for path, element in _leaves(section if section is not None else ()):
        if not path.startswith(_XML_ELSEWHERE):
            keywords[_XML_NAMES.get(path, path.rsplit('/', 1)[-1]).lower()] = _value(element.text)
    for name in ('input', 'output'):
        keywords |= _functional_keywords(root.find(f'{name}/dft'))
        isolated = root.findtext(f'{name}/boundary_conditions/assume_isolated')
        if isolated is not None:
            keywords['assume_isolated'] = isolated.strip()
        if root.find(f'{name}/boundary_conditions/gcscf') is not None:
            keywords['lgcscf'] = True
    potential = (root.findtext('input/electric_field/electric_potential') or '').strip().lower()
    keywords['tefield'] = potential == 'sawtooth_potential' or root.find('output/electric_field/dipoleInfo') is not None
    keywords['lelfield'] = potential == 'homogenous_field'
    keywords['lberry'] = potential == 'berry_phase'
    if root.find('output/electric_field/gateInfo') is not None:
        keywords['gate'] = True
    return {
        key: value
        for key, value in keywords.items()
        if value not in _OFF or key in ('eamp', 'edir', 'emaxpos', 'eopreg')
    }


def _functional_keywords(dft: Element | None) -> dict[str, object]:
    if dft is None:
        return {}
    keywords: dict[str, object] = {}
    if dft.find('hybrid') is not None:
        keywords['exx_fraction'] = _value(dft.findtext('hybrid/exx_fraction')) or True
    if dft.find('dftU') is not None:
        keywords['lda_plus_u'] = True
    for name in ('vdw_corr', 'non_local_term'):
        value = dft.findtext(f'vdW/{name}')
        if value is not None:
            keywords[name] = value.strip()
    return keywords


def _leaves(section, path: str = '') -> Iterator[tuple[str, Element]]:
    for element in section:
        name = f'{path}/{element.tag}'.lstrip('/')
        if len(element):
            yield from _leaves(element, name)
        else:
            yield name, element


def _value(text: str | None):
    """Text of an element as a boolean, a number, several numbers or a string."""
    text = (text or '').strip()
    if text.lower() in ('true', '.true.', 'false', '.false.'):
        return text.lower().strip('.') == 'true'
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        return text
    if len(numbers) == 1:
        return numbers[0]
    return numbers if numbers else ''
