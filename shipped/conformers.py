"""The embedded molecules: grown by rule, embedded by RDKit, written to one small file.

    python -m shipped.conformers shipped/conformers.npz

makes the file that is shipped, with RDKit 2026.9.1, in a few minutes; its SHA-256 stands in collapse_utils/molecules/conformers.py.
"""

import hashlib
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from collapse_utils.molecules.conformers import embed


def write(path: str, n_molecules: int = 300, n_conformers: int = 8, largest: int = 7) -> None:
    """Write isomeric SMILES and places of n_molecules with 5 to `largest` heavy atoms and a bond that can turn, chosen by a hash."""
    from rdkit import Chem
    from rdkit.Chem.rdMolDescriptors import CalcNumRotatableBonds

    grown = sorted(grow(largest), key=lambda line: hashlib.sha256(line.encode()).hexdigest())
    names, places, sizes = [], [], []
    for line in grown:
        mol = Chem.MolFromSmiles(line)
        if len(names) == n_molecules:
            break
        if mol.GetNumAtoms() < 5 or not CalcNumRotatableBonds(mol):
            continue
        name, mol, reason = embed(line, n_conformers)
        if reason is None:
            names.append(name)
            sizes.append(mol.GetNumAtoms())
            places += [conformer.GetPositions() for conformer in mol.GetConformers()]
    rounded = np.round(np.concatenate(places) * 1000).astype(np.int16)
    np.savez_compressed(path, smiles=np.array(names), atoms=np.array(sizes, np.int16), places=rounded)


def grow(largest: int, per_kind: int = 2) -> list[str]:
    """Return canonical SMILES of molecules grown by rule from one carbon atom to `largest` heavy atoms, sorted.

    A step adds C, N, O or F by a single bond, C, N or O by a double one, N by a triple one to a carbon with room, or closes a
    ring of 3 to 6 atoms by a single bond; no two hetero atoms touch in a chain, at most per_kind of them, at most one ring, and
    no atom has two double bonds.
    """

    found, layer = [], {"C"}
    for _ in range(largest - 1):
        layer = {grown for line in layer for grown in _grown(_drawn(line), per_kind)}
        closed = {ring for line in layer for ring in _closed(_drawn(line))}
        layer |= closed
        found += sorted(layer)
    return found


def _grown(mol: Any, per_kind: int) -> Iterable[str]:
    from rdkit import Chem

    crowded = sum(atom.GetAtomicNum() != 6 for atom in mol.GetAtoms()) >= per_kind
    for atom in mol.GetAtoms():
        room, carbon = atom.GetTotalNumHs(), atom.GetAtomicNum() == 6
        room = min(room, 1) if any(bond.GetBondTypeAsDouble() > 1 for bond in atom.GetBonds()) else room
        for number, order in ((6, 1), (7, 1), (8, 1), (9, 1), (6, 2), (7, 2), (8, 2), (7, 3)):
            if order > room or (number != 6 and (crowded or not carbon)) or (order > 1 and not carbon):
                continue
            grown = Chem.RWMol(mol)
            grown.AddBond(atom.GetIdx(), grown.AddAtom(Chem.Atom(number)), Chem.BondType.values[order])
            yield _canonical(grown)


def _closed(mol: Any) -> Iterable[str]:
    from rdkit import Chem

    if mol.GetRingInfo().NumRings():
        return
    apart = Chem.GetDistanceMatrix(mol)
    for a, b in zip(*np.nonzero(np.triu((apart >= 2) & (apart <= 5))), strict=True):
        pair = [mol.GetAtomWithIdx(int(i)) for i in (a, b)]
        if all(atom.GetTotalNumHs() for atom in pair) and any(atom.GetAtomicNum() == 6 for atom in pair):
            ring = Chem.RWMol(mol)
            ring.AddBond(int(a), int(b), Chem.BondType.SINGLE)
            yield _canonical(ring)


def _canonical(mol: Any) -> str:
    from rdkit import Chem

    Chem.SanitizeMol(mol)
    return Chem.MolToSmiles(mol)


def _drawn(line: str) -> Any:
    from rdkit import Chem

    mol = Chem.MolFromSmiles(line)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    return mol


if __name__ == "__main__":
    write(*sys.argv[1:])
