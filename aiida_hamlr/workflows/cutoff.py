"""The steps of a work chain that looks for the smallest plane-wave cutoff by computing one reference at several."""

from __future__ import annotations

from aiida import orm

from aiida_hamlr.calculations.functions.cutoff import choose_cutoff

__all__ = ('CutoffStepsMixin', 'next_cutoff')

#: Ratio of neighbouring cutoffs that are tried.
STEP = 1.25

#: Cutoffs of wave functions between which is searched, Ry.
LOWEST, HIGHEST = 8.0, 400.0


def validate_tolerance(value, _) -> str | None:
    """Return what is wrong with the tolerance, or nothing."""
    if value is not None and not value.value > 0:
        return f'`cutoff_tolerance` must be positive, in meV, not {value.value:g}'
    return None


def next_cutoff(tried: dict[float, float | None], tolerance: float) -> float | None:
    """Return the cutoff to try next, or nothing if the smallest one is known or none is enough.

    From one that is enough the search goes down, from one that is not it goes up, until two neighbours enclose the
    tolerance.

    :param tried: error in meV by cutoff in Ry, None where the cutoff was so low that the reference was refused.
    :param tolerance: largest accepted error, meV.
    """
    enough = sorted(cutoff for cutoff, error in tried.items() if error is not None and error <= tolerance)
    lower = round((enough[0] if enough else max(tried)) / STEP, 1)
    if not enough:
        higher = round(max(tried) * STEP, 1)
        return higher if higher <= HIGHEST else None
    is_enclosed = any(cutoff < enough[0] for cutoff in tried)
    return None if is_enclosed or lower < LOWEST else lower


class CutoffStepsMixin:
    """Search within the loop of a work chain that runs pw.x and reconstructs, see `ReferenceWorkChain`."""

    @classmethod
    def define_cutoff(cls, spec):
        """Define the input, the output and the exit code."""
        spec.input(
            'cutoff_tolerance',
            valid_type=orm.Float,
            required=False,
            validator=validate_tolerance,
            help='If given, the smallest `ecutwfc` is searched, in steps of a factor of 1.25, at which no compared '
            'level changes by more than this (meV) when the orbitals are truncated at the cutoff; pw.x runs once '
            'for each cutoff. The search starts from the cutoff of `scf.pw.parameters`.',
        )
        spec.output(
            'cutoff',
            valid_type=orm.Dict,
            required=False,
            help='The cutoff found (`ecutwfc_Ry`, `ecutrho_Ry`), its error (`cutoff_error_meV`), and `tried`: the '
            'error at each cutoff.',
        )
        spec.exit_code(
            413,
            'ERROR_CUTOFF_NOT_FOUND',
            message='No `ecutwfc` up to {highest} Ry has a cutoff error below {tolerance} meV. Use softer '
            'pseudopotentials or orbitals, or increase `cutoff_tolerance`.',
        )

    def setup_cutoff(self):
        """Initialise the context."""
        self.ctx.ecutwfc, self.ctx.tried, self.ctx.at_cutoff = None, {}, {}

    def change_parameters(self, parameters: dict) -> dict:
        """Return the parameters of pw.x with the cutoff that is tried now; the ratio of both cutoffs is kept."""
        if self.ctx.ecutwfc is None:
            return parameters
        system = dict(parameters['SYSTEM'])
        system['ecutrho'] = self.ctx.ecutwfc * system.get('ecutrho', 4 * system['ecutwfc']) / system['ecutwfc']
        return {**parameters, 'SYSTEM': {**system, 'ecutwfc': self.ctx.ecutwfc}}

    @property
    def searches_cutoff(self) -> bool:
        """Return whether a tolerance is given."""
        return 'cutoff_tolerance' in self.inputs

    def tries_another_cutoff(self, node: orm.CalcJobNode | None) -> bool:
        """Record the error at this cutoff, and prepare the context for the next one; return whether there is one.

        :param node: the reconstruction at this cutoff; nothing if it was refused. When the search ends,
            ``ctx.reconstruct`` and the last of ``ctx.scf`` are those of the cutoff that was found.
        """
        if not self.searches_cutoff:
            return False
        system = self.ctx.scf[-1].inputs.pw.parameters.get_dict()['SYSTEM']
        cutoff, error = float(system['ecutwfc']), None
        if node is not None:
            error = node.outputs.output_parameters.get_dict().get('cutoff_error_meV')
        if error is not None:
            self.ctx.at_cutoff[cutoff] = [self.ctx.scf[-1], node]
        self.ctx.tried[cutoff] = error
        words = 'the reference is refused' if error is None else f'cutoff error {error:.1f} meV'
        self.report(f'ecutwfc {cutoff:g} Ry: {words}')
        following = next_cutoff(self.ctx.tried, self.inputs.cutoff_tolerance.value)
        if following is None:
            return False
        self.ctx.ecutwfc, self.ctx.scf_is_done = following, False
        return True

    def finish_cutoff(self):
        """Take the reference at the smallest sufficient cutoff; if all are too low, return an exit code."""
        if not self.searches_cutoff:
            return None
        tolerance = self.inputs.cutoff_tolerance.value
        enough = [cutoff for cutoff, error in self.ctx.tried.items() if error is not None and error <= tolerance]
        if not enough:
            return self.exit_codes.ERROR_CUTOFF_NOT_FOUND.format(highest=f'{HIGHEST:g}', tolerance=f'{tolerance:g}')
        scf, node = self.ctx.at_cutoff[min(enough)]
        self.ctx.scf.append(scf)
        self.ctx.reconstruct = node
        results = {
            f'at_{str(cutoff).replace(".", "_")}': job.outputs.output_parameters
            for cutoff, (_, job) in self.ctx.at_cutoff.items()
        }
        found = choose_cutoff(self.inputs.cutoff_tolerance, **results, metadata={'call_link_label': 'choose_cutoff'})
        self.out('cutoff', found)
        self.report(
            f'use ecutwfc {found["ecutwfc_Ry"]:g} Ry, ecutrho {found["ecutrho_Ry"]:g} Ry: cutoff error '
            f'{found["cutoff_error_meV"]:.1f} meV'
        )
        return None
