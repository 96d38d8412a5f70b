"""What conformers look like: distances after alignment, coverage, bonds, angles and torsions, broken bonds and clashes."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import wasserstein_distance


def automorphisms(mol: Any, most: int = 200) -> np.ndarray:
    """Return the renumberings of the heavy atoms that leave the graph as it is, (s, h), the identity among them."""
    from rdkit import Chem

    bare = Chem.RemoveHs(mol, sanitize=False)
    found = bare.GetSubstructMatches(bare, uniquify=False, maxMatches=most)
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1]
    return np.array(heavy)[np.array(found)]


def rmsd(a: np.ndarray, b: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return the root mean square distance (p, q) of conformers a (p, n, 3) and b (q, n, 3), best rotation and renumbering.

    Kabsch: |a − b|² is least with Σ|a|² + Σ|b|² − 2(s_1 + s_2 ± s_3), s the singular values of aᵀb and ± the sign of its
    determinant: mirror images stay apart. maps (s, h), as by automorphisms, chooses the atoms that count.
    """
    identity = maps[np.flatnonzero((np.sort(maps, axis=1) == maps).all(axis=1))[0]]
    a, b = a[:, identity].astype(float), b[:, maps].astype(float)  # (p, h, 3), (q, s, h, 3)
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=2, keepdims=True)
    product = np.einsum("phi,qshj->pqsij", a, b)  # (p, q, s, 3, 3)
    values = np.linalg.svd(product, compute_uv=False)
    values[..., 2] *= np.sign(np.linalg.det(product))
    square = (a**2).sum((1, 2))[:, None] + (b[:, 0] ** 2).sum((1, 2)) - 2 * values.sum(-1).max(axis=2)
    return np.sqrt(np.maximum(square, 0) / len(identity))


def superpose(places: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Return conformers (c, n, 3), centred and each turned by the rotation that brings it nearest to one conformer (n, 3)."""
    places, onto = places - places.mean(axis=1, keepdims=True), onto - onto.mean(axis=0)
    u, _, v = np.linalg.svd(np.einsum("cni,nj->cij", places, onto))
    u[..., -1] *= np.sign(np.linalg.det(u @ v))[:, None]
    return places @ u @ v


def coverage(distances: np.ndarray, threshold: float) -> dict[str, float]:
    """Return cov_r, mat_r, cov_p, mat_p of distances (real, generated) in Å (Xu 2022, 2203.02923, Eqs. 10–11).

    Recall: of each real conformer to the nearest generated one; precision: the other way; the share within the threshold,
    and the mean.
    """
    recall, precision = distances.min(axis=1), distances.min(axis=0)
    return {
        "cov_r": (recall <= threshold).mean(),
        "mat_r": recall.mean(),
        "cov_p": (precision <= threshold).mean(),
        "mat_p": precision.mean(),
    }


def diversity(distances: np.ndarray) -> float:
    """Return the mean of distances (p, p) between different conformers of a molecule, in Å."""
    p = len(distances)
    return float(distances.sum() / (p * (p - 1)))


def internal(molecules: Any, rows: tuple[np.ndarray, np.ndarray]) -> dict[str, dict[tuple, np.ndarray]]:
    """Return bonds (Å), angles and torsions (degrees, 0 to 180, mirror images alike) of rows, each by kind of atoms."""
    owner, places = rows
    parts: dict[str, dict[tuple, list]] = {"bonds": {}, "angles": {}, "torsions": {}}
    for m in np.unique(owner):
        frame = places[owner == m].astype(float)  # (c, N, 3)
        chains, z, bonds = _chains(molecules.bonds[m]), molecules.numbers[m], molecules.bonds[m]
        for i, j in chains[2]:
            kind = (*sorted((z[i].item(), z[j].item())), bonds[i, j].item())
            parts["bonds"].setdefault(kind, []).append(np.linalg.norm(frame[:, i] - frame[:, j], axis=1))
        for i, j, k in chains[3]:
            kind = (*sorted((z[i].item(), z[k].item())), z[j].item(), (bonds[j] > 0).sum().item())
            parts["angles"].setdefault(kind, []).append(_angle(frame[:, i] - frame[:, j], frame[:, k] - frame[:, j]))
        for i, j, k, n in chains[4]:
            kind = (*sorted((z[j].item(), z[k].item())), bonds[j, k].item())
            axis = frame[:, k] - frame[:, j]
            turned = _angle(np.cross(frame[:, i] - frame[:, j], axis), np.cross(frame[:, n] - frame[:, k], axis))
            parts["torsions"].setdefault(kind, []).append(turned)
    return {name: {kind: np.concatenate(found) for kind, found in kinds.items()} for name, kinds in parts.items()}


def _chains(bonds: np.ndarray) -> dict[int, list[tuple]]:
    """Chains of 2, 3 and 4 bonded atoms, each once."""
    near = [np.flatnonzero(row).tolist() for row in bonds]
    two = [(i, j) for i in range(len(near)) for j in near[i]]
    three = [(*pair, k) for pair in two for k in near[pair[1]] if k != pair[0]]
    four = [(*triple, n) for triple in three for n in near[triple[2]] if n not in triple]
    return {len(found[0]): [c for c in found if c[0] < c[-1]] for found in (two, three, four) if found} | {
        length: [] for length, found in ((3, three), (4, four)) if not found
    }


def _angle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The angle between vectors (c, 3), in degrees."""
    cross, dot = np.linalg.norm(np.cross(u, v), axis=1), (u * v).sum(axis=1)
    return np.degrees(np.arctan2(cross, dot))


def distances_of_kinds(real: dict[tuple, np.ndarray], made: dict[tuple, np.ndarray]) -> float:
    """Return Wasserstein's distance between values of the same kind, averaged over kinds by their number in the real data."""
    weights = {kind: len(values) for kind, values in real.items() if kind in made}
    total = sum(weights[kind] * wasserstein_distance(real[kind], made[kind]) for kind in weights)
    return float(total / sum(weights.values())) if weights else 0.0


def well_formed(molecules: Any, rows: tuple[np.ndarray, np.ndarray], slack: float = 0.25) -> np.ndarray:
    """Return which conformers (n,) have every bond within 1 ± slack of the sum of covalent radii, and no other pair so near."""
    from rdkit import Chem

    table, (owner, places) = Chem.GetPeriodicTable(), rows
    radii = np.vectorize(lambda z: table.GetRcovalent(int(z)) if z else 0.0)(molecules.numbers)[owner]  # (n, N)
    usual = radii[:, :, None] + radii[:, None]
    ratio = np.linalg.norm(places[:, :, None] - places[:, None], axis=-1) / np.maximum(usual, 1e-9)
    atom = molecules.numbers[owner] > 0
    pair = np.triu(atom[:, :, None] & atom[:, None], 1)
    bonded = molecules.bonds[owner] > 0
    wrong = np.where(bonded, np.abs(ratio - 1) > slack, ratio < 1 + slack) & pair
    return ~wrong.any(axis=(1, 2))


@dataclass(frozen=True)
class Reference:
    """Real conformers, rows of some molecules, that samples of the same molecules are measured against."""

    molecules: Any
    rows: tuple[np.ndarray, np.ndarray]

    @cached_property
    def maps(self) -> dict[int, np.ndarray]:
        """The renumberings of every molecule that has rows, as by automorphisms."""
        return {m: automorphisms(self.molecules.mols[m]) for m in np.unique(self.rows[0]).tolist()}

    @cached_property
    def parts(self) -> dict[str, dict[tuple, np.ndarray]]:
        """The real bonds, angles and torsions, as by internal."""
        return internal(self.molecules, self.rows)

    def diversity(self, rows: tuple[np.ndarray, np.ndarray]) -> float:
        """Return the mean distance in Å between rows of one molecule, over the molecules that have several; NaN for none."""
        groups = [(rows[1][rows[0] == m], ways) for m, ways in self.maps.items()]
        found = [diversity(rmsd(group, group, ways)) for group, ways in groups if len(group) > 1]
        return float(np.mean(found)) if found else float("nan")

    def covered(self, made: tuple[np.ndarray, np.ndarray], threshold: float) -> dict[str, float]:
        """Return coverage at a threshold in Å, the mean over molecules; made must have rows of every one."""
        pairs = [(self.rows[1][self.rows[0] == m], made[1][made[0] == m], ways) for m, ways in self.maps.items()]
        found = [coverage(rmsd(*pair), threshold) for pair in pairs]
        return {name: float(np.mean([one[name] for one in found])) for name in found[0]}

    def scores(self, made: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
        """Return how far the bonds (Å), angles and torsions (degrees) of made rows are from the real ones, and what they are like.

        length: the mean bond over the real one; well_formed: the share that is; diversity in Å.
        """
        parts = internal(self.molecules, made)
        length, real = (np.concatenate(list(of["bonds"].values())).mean() for of in (parts, self.parts))
        return {name: distances_of_kinds(self.parts[name], parts[name]) for name in parts} | {
            "length": float(length / real),
            "well_formed": float(well_formed(self.molecules, made).mean()),
            "diversity": self.diversity(made),
        }
