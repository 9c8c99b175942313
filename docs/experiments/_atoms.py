"""Atoms in symmetric arrangements: forces keep the symmetry, and the energy has a saddle there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from _fits import energy
from _stand_in import Call
from _truth import differenced

import negopt

#: Largest entry of the gradient at an end, in the units of the potential.
GTOL = 1e-4
#: Step of the differences.
STEP = 1e-3
#: Relative to the largest, a curvature below this is that of a rigid motion.
ZERO = 1e-5


def planar_gold() -> Any:
    """Return a hexagon of gold atoms around a seventh, in a plane (EMT)."""
    from ase import Atoms
    from ase.calculators.emt import EMT

    angles = np.arange(6) * np.pi / 3.0
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(6)], axis=1)
    return Atoms("Au7", positions=2.8 * np.vstack([np.zeros(3), ring]), calculator=EMT())


def lennard_jones(positions: Any) -> Any:
    """Return Lennard-Jones atoms, all pairs of them."""
    from ase import Atoms
    from ase.calculators.lj import LennardJones

    return Atoms(f"Ar{len(positions)}", positions=positions, calculator=LennardJones(rc=1e3))


def line_of_six() -> Any:
    """Return six Lennard-Jones atoms in a line."""
    return lennard_jones(np.outer(1.12 * np.arange(6), [1.0, 0.0, 0.0]))


def ring_of_seven() -> Any:
    """Return seven Lennard-Jones atoms in a ring."""
    angles = np.arange(7) * 2.0 * np.pi / 7.0
    radius = 1.12 / (2.0 * np.sin(np.pi / 7.0))
    return lennard_jones(radius * np.stack([np.cos(angles), np.sin(angles), np.zeros(7)], axis=1))


def oxygen_on_copper() -> Any:
    """Return oxygen on top of an atom of Cu(111), the lower layers fixed (EMT)."""
    from ase.build import add_adsorbate, fcc111
    from ase.calculators.emt import EMT
    from ase.constraints import FixAtoms

    slab = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    add_adsorbate(slab, "O", 1.5, "ontop")
    slab.set_constraint(FixAtoms(mask=[atom.tag > 1 for atom in slab]))
    slab.calc = EMT()
    return slab


ARRANGEMENTS: dict[str, Callable[[], Any]] = {
    "planar Au7": planar_gold,
    "line of six Lennard-Jones atoms": line_of_six,
    "ring of seven": ring_of_seven,
    "O on Cu(111), on top": oxygen_on_copper,
}

#: Who relaxes them: package and optimiser; negopt's default has no name.
OPTIMISERS = (
    *(("ase", name) for name in ("BFGS", "LBFGS", "FIRE")),
    *(("SciPy", name) for name in ("BFGS", "L-BFGS-B", "CG")),
    *(("negopt", name) for name in (None, "lqn-tr")),
)


def relaxed(atoms: Any, package: str, name: str | None) -> Any:
    """Return the coordinates, shape (n,), where an optimiser ends."""
    import ase.optimize
    from scipy import optimize

    if package == "ase":
        getattr(ase.optimize, str(name))(atoms, logfile=None).run(fmax=GTOL, steps=2000)
        return free_coordinates(atoms)
    minimize = negopt.minimize if package == "negopt" else optimize.minimize
    options = {"gtol": GTOL, "maxiter": 2000}
    return minimize(
        energy(atoms), free_coordinates(atoms), jac=True, method=name, options=options
    ).x


def free_coordinates(atoms: Any) -> Any:
    """Return the coordinates of the atoms that are free, flat."""
    fixed = [i for constraint in atoms.constraints for i in constraint.index]
    return np.delete(atoms.positions, fixed, axis=0).ravel()


def curvatures(atoms: Any, x: Any) -> Any:
    """Return the eigenvalues of the Hessian at `x`, in rising order, by differences of forces."""
    call = Call(energy(atoms), True, None, x)
    H = differenced(call, x, np.full(x.size, STEP))
    return np.linalg.eigvalsh(0.5 * (H + H.T))


def relaxations() -> Iterator[dict[str, Any]]:
    """Yield one row an arrangement and optimiser."""
    for arrangement, build in ARRANGEMENTS.items():
        for package, name in OPTIMISERS:
            x = relaxed(build(), package, name)
            atoms = build()
            f, g = energy(atoms)(x)
            values = curvatures(atoms, x)
            yield {
                "start": arrangement,
                "optimiser": f"{package}, {name}" if name else package,
                "energy": f"{f:.6f}",
                "max|g|": f"{np.max(np.abs(g)):.0e}",
                "negative eigenvalues": int(np.sum(values < -ZERO * values[-1])),
                "lowest": f"{values[0]:.1e}",
            }
