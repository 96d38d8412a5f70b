"""Molecules as graphs with conformers: enumerated, embedded from SMILES, or read; what cannot be used is counted and named."""

import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from collapse_utils import mirror
from collapse_utils.molecules import files as geometries, isomers

ELEMENTS = (1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 35, 53)
SHIPPED = mirror.SHIPPED / "conformers.npz"
SHIPPED_SHA256 = "46caeada365869c1ba6ebe48aa4ea6333ab2e7d0747414ee243535e2c83922a0"


class MoleculeError(ValueError):
    """A molecule that cannot be used, where the caller wants all of them."""


@dataclass(frozen=True)
class Molecules:
    """M graphs padded to N atoms: RDKit molecules, atomic numbers (M, N) (0: padding), bonds (M, N, N), features, edges.

    bonds: 0 none, 1, 2, 3, 4 aromatic. features (M, N, 18): element, hydrogens, ring, aromatic, sp, sp2, sp3; edges (M, N, N, 7): kind
    of bond, and 2, 3 or more bonds apart. refused: {reason: names}.
    """

    names: tuple[str, ...]
    mols: tuple[Any, ...]
    numbers: np.ndarray
    bonds: np.ndarray
    features: np.ndarray
    edges: np.ndarray
    refused: dict[str, list[str]] = field(default_factory=dict)

    def held_out(self) -> np.ndarray:
        """Return which molecules are for testing (M,): a fifth, by a hash of the graph, whatever else was loaded and its isomer.

        Where the hash puts all on one side it is every fifth graph in order. Raises MoleculeError for a single graph.
        """
        from rdkit import Chem

        graphs = [Chem.MolToSmiles(isomers.bare(mol), isomericSmiles=False) for mol in self.mols]
        alone = list(dict.fromkeys(graphs))
        if len(alone) < 2:
            raise MoleculeError(f"molecules: must be at least 2, one to train on and one to test with; got {len(alone)}.")
        held = {graph for graph in alone if int(hashlib.sha256(graph.encode()).hexdigest(), 16) % 5 == 0}
        held = held if 0 < len(held) < len(alone) else set(alone[::5])
        return np.array([graph in held for graph in graphs])


def load(source: str, n_molecules: int, n_conformers: int, largest: int, hydrogens: bool = False,
         run: Callable | None = None) -> tuple[Molecules, tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Return at most n_molecules of at most `largest` heavy atoms, and rows: molecule (n,), places (n, N, 3) in Å, centred.

    source: enumerated (shipped), qm7, gdb1k, qm9, geom-drugs, esol (from $COLLAPSE_DATA), or a file of SMILES, embedded here. What
    cannot be used is skipped and named in `refused`. run(function, jobs) embeds in parallel. Raises GeometryError for a file,
    MoleculeError where nothing is left or coordinates are no numbers.
    """
    refused: dict[str, list[str]] = {}
    kept = []
    for name, mol, reason in _source(source, n_molecules, n_conformers, largest, run):
        reason = reason or _fault(mol, largest)
        if reason:
            refused.setdefault(reason, []).append(name)
        elif len(kept) < n_molecules:
            kept.append((name, mol))
        else:
            break
    if not kept:
        raise MoleculeError(f"molecules: {source} must hold a usable molecule; got none ({_tally(refused) or 'it is empty'}).")
    return _assemble(kept, n_conformers, hydrogens, refused)


def sha256(source: str) -> str:
    """Return the SHA-256 of the file behind a source, for the run card. Raises as load does."""
    return mirror.digest(SHIPPED if source == "enumerated" else geometries.locate(source))


def _tally(refused: dict[str, list[str]]) -> str:
    return "; ".join(f"{len(names)} {reason}" for reason, names in refused.items())


def _source(source: str, n_molecules: int, n_conformers: int, largest: int, run: Callable | None) -> Iterable[tuple]:
    """(name, molecule with its conformers or None, reason or None), one after the other."""
    if source == "enumerated":
        yield from _shipped()
    elif source in geometries.FORMATS:
        for name, numbers, places in geometries.read(source):
            if not np.isfinite(places).all():
                raise MoleculeError(f"molecules: coordinates must be numbers; {name} in {source} has others.")
            try:
                yield name, geometries.perceive(numbers, places[:n_conformers]), None
            except ValueError:
                yield name, None, "has geometries in which bonds cannot be perceived"
    else:
        lines = smiles(geometries.locate(source))
        for start in range(0, len(lines), n_molecules):  # not much more is embedded than is needed
            jobs = [(line, n_conformers, largest) for line in lines[start : start + n_molecules]]
            yield from (run(embed, jobs) if run else [embed(*job) for job in jobs])


def smiles(path: Path) -> list[str]:
    """Return the SMILES of a file: the column `smiles` of a .csv, else the first word of each line; '#' begins a comment."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise geometries.GeometryError(f"molecules: {path} must be a readable text file; got {type(error).__name__}.") from None
    if path.suffix == ".csv":
        import csv

        rows = list(csv.DictReader(io.StringIO(text)))
        column = next((key for key in rows[0] if key and key.strip().lower() == "smiles"), None) if rows else None
        if column is None:
            raise geometries.GeometryError(f"molecules: {path} must have a column `smiles`; got none.")
        return [row[column].strip() for row in rows if row[column].strip()]
    return [line.split()[0] for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def embed(line: str, n_conformers: int, largest: int = 10**9, seed: int = 2021) -> tuple[str, Any, str | None]:
    """Return (SMILES, molecule with hydrogens and n_conformers by ETKDGv3 and MMFF94, None), or with a reason in place of None.

    All conformers are of one stereoisomer: the one that the line names, or the first of isomers.assigned that can be
    embedded; the SMILES returned names it.
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(line)
        if mol is None:
            return line, None, "does not parse"
        if (reason := _fault(mol, largest)) is not None:
            return line, None, reason
        for name in isomers.assigned(line):
            mol, reason = _embedded(name, n_conformers, seed)
            if reason is None:
                return name, mol, None
    return line, None, reason


def _embedded(name: str, n_conformers: int, seed: int) -> tuple[Any, str | None]:
    """The molecule with its conformers, or why there are none."""
    from rdkit.Chem import AllChem

    mol = isomers.built(name)
    settings = AllChem.ETKDGv3()
    settings.randomSeed, settings.maxIterations = seed, 50
    found = len(AllChem.EmbedMultipleConfs(mol, n_conformers, settings))
    if found < n_conformers:
        return None, f"can be embedded {found} times of {n_conformers} only" if found else "cannot be embedded"
    if not AllChem.MMFFHasAllMoleculeParams(mol):
        return None, "has no MMFF94 parameters"
    tense = sum(left != 0 for left, _ in AllChem.MMFFOptimizeMoleculeConfs(mol, maxIters=2000))
    if tense:
        return None, f"has {tense} conformers of {n_conformers} that MMFF94 does not relax in 2,000 steps"
    seen = {isomers.seen(mol, conformer.GetPositions()) for conformer in mol.GetConformers()}
    return mol, None if len(seen) == 1 else f"has conformers of {len(seen)} isomers"


def _fault(mol: Any, largest: int) -> str | None:
    """Why a molecule cannot be used, or None."""
    from rdkit import Chem

    atoms = list(mol.GetAtoms())
    if len(Chem.GetMolFrags(mol)) > 1:
        return "is disconnected"
    if Chem.GetFormalCharge(mol):
        return "is charged"
    if any(atom.GetNumRadicalElectrons() for atom in atoms):
        return "is a radical"
    if strange := sorted({atom.GetSymbol() for atom in atoms if atom.GetAtomicNum() not in ELEMENTS}):
        return f"has an element that the model was not built for ({', '.join(strange)})"
    heavy = sum(atom.GetAtomicNum() > 1 for atom in atoms)
    return f"has more than {largest} heavy atoms" if heavy > largest else "has fewer than 3 heavy atoms" if heavy < 3 else None


def _shipped() -> Iterable[tuple[str, Any, None]]:
    """The molecules of shipped/conformers.npz: SMILES and places of all atoms in thousandths of an Å."""
    from rdkit import Chem

    if not SHIPPED.is_file() or (found := mirror.digest(SHIPPED)) != SHIPPED_SHA256:
        got = found if SHIPPED.is_file() else "no such file"
        raise geometries.GeometryError(f"molecules: {SHIPPED.name} must have SHA-256 {SHIPPED_SHA256}; got {got}; check it out.")
    with np.load(SHIPPED, allow_pickle=False) as stored:
        names, places, sizes = stored["smiles"].tolist(), stored["places"] / 1000, stored["atoms"]
    count, start = len(places) // int(sizes.sum()), 0
    for name, n in zip(names, sizes.tolist(), strict=True):
        mol = isomers.built(name)
        for frame in places[start : start + count * n].reshape(count, n, 3):
            conformer = Chem.Conformer(n)
            conformer.SetPositions(np.ascontiguousarray(frame, float))
            mol.AddConformer(conformer, assignId=True)
        yield name, mol, None
        start += count * n


def _assemble(kept: list, n_conformers: int, hydrogens: bool, refused: dict) -> tuple[Molecules, tuple[np.ndarray, np.ndarray]]:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        mols = [Chem.Mol(mol) if hydrogens else isomers.bare(mol) for _, mol in kept]
        for mol in mols:
            Chem.SanitizeMol(mol)
            Chem.RemoveStereochemistry(mol)  # the graph that a model sees names no isomer
    n = max(mol.GetNumAtoms() for mol in mols)
    numbers, bonds = np.zeros((len(mols), n), np.int64), np.zeros((len(mols), n, n), np.int8)
    features, edges = np.zeros((len(mols), n, 18), np.float32), np.zeros((len(mols), n, n, 7), np.float32)
    owner, places = [], []
    for i, mol in enumerate(mols):
        for k, atom in enumerate(mol.GetAtoms()):
            numbers[i, k] = atom.GetAtomicNum()
            features[i, k, ELEMENTS.index(numbers[i, k])] = 1
            features[i, k, len(ELEMENTS) :] = _traits(atom)
        for bond in mol.GetBonds():
            a, b = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            bonds[i, a, b] = bonds[i, b, a] = 4 if bond.GetIsAromatic() else int(bond.GetBondTypeAsDouble())
        apart = np.minimum(Chem.GetDistanceMatrix(mol), 4).astype(int)
        edges[i, :, :, :4] = bonds[i, :, :, None] == [1, 2, 3, 4]
        for hop in (2, 3, 4):
            edges[i, : len(apart), : len(apart), hop + 2] = apart == hop
        for conformer in list(mol.GetConformers())[:n_conformers]:
            frame = np.zeros((n, 3), np.float32)
            frame[: mol.GetNumAtoms()] = conformer.GetPositions() - conformer.GetPositions().mean(axis=0)
            owner.append(i)
            places.append(frame)
    graphs = Molecules(tuple(name for name, _ in kept), tuple(mols), numbers, bonds, features, edges, refused)
    return graphs, (np.array(owner), np.stack(places))


def _traits(atom: Any) -> list[float]:
    from rdkit.Chem import HybridizationType as Hybrid

    kind = atom.GetHybridization()
    return [
        atom.GetTotalNumHs(includeNeighbors=True) / 4,
        atom.IsInRing(),
        atom.GetIsAromatic(),
        kind == Hybrid.SP,
        kind == Hybrid.SP2,
        kind == Hybrid.SP3,
    ]
