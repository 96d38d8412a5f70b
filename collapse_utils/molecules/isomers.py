"""Which isomer a molecule is: stereo that a SMILES leaves open is assigned once, and read back from places."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np


def assigned(line: str, most: int = 32) -> Iterator[str]:
    """Yield SMILES of stereoisomers with every tetrahedral centre and double bond named, hydrogens of imines included.

    What the line names is kept; what it leaves open is tried in an order drawn by a hash, at most `most` isomers, so that no
    hand and neither E nor Z is the usual one. A line that leaves nothing open is yielded as it is. N–H of a ring of three turns
    over: RDKit's SMILES do not name its side, nor does this.
    """
    from rdkit import Chem
    from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions

    mol = Chem.AddHs(Chem.MolFromSmiles(line))
    if not _open(mol):
        yield line
        return
    options = StereoEnumerationOptions(onlyUnassigned=True, unique=True, maxIsomers=most, rand=2021)
    found = {Chem.MolToSmiles(Chem.RemoveHs(isomer)) for isomer in EnumerateStereoisomers(mol, options=options)}
    yield from sorted(found, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


def _open(mol: Any) -> bool:
    """Whether a molecule has a centre or double bond whose configuration is not given."""
    from rdkit import Chem

    return any(element.specified != Chem.StereoSpecified.Specified for element in elements(mol))


def elements(mol: Any) -> list[Any]:
    """Return the tetrahedral centres and double bonds of a molecule that can have either configuration.

    RDKit counts each double bond of an allene too; what such bonds have in common is found by `cumulated`.
    """
    from rdkit import Chem

    inner = _inner(mol)

    def alone(bond):
        return inner.isdisjoint((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))

    return [
        element
        for element in Chem.FindPotentialStereo(mol)
        if element.type == Chem.StereoType.Atom_Tetrahedral
        or (element.type == Chem.StereoType.Bond_Double and alone(mol.GetBondWithIdx(element.centeredOn)))
    ]


def cumulated(mol: Any) -> list[tuple[list[int], list[int], list[list[int]]]]:
    """Return the rows of cumulated double bonds that can have either configuration: (ranks, atoms, substituents of both ends).

    An even number of bonds (allenes) has two hands, an odd one (butatrienes) two sides, where each end is a carbon with two
    substituents that differ by their graphs, the higher-ranked first. RDKit's SMILES name neither.
    """
    from rdkit import Chem

    inner, found = _inner(mol), []
    if not inner:
        return found
    ranks = list(Chem.CanonicalRankAtoms(mol, breakTies=False, includeChirality=False))
    for first in (atom.GetIdx() for atom in mol.GetAtoms() if atom.GetIdx() not in inner):
        for second in inner.intersection(_doubly(mol, first)):
            row = [first, second]
            while row[-1] in inner:
                row += [atom for atom in _doubly(mol, row[-1]) if atom != row[-2]]
            ends = [_substituents(mol, end, ranks, row) for end in (first, row[-1])]
            if first < row[-1] and all(ends):
                found.append((sorted(ranks[atom] for atom in row), row, ends))
    return found


def _inner(mol: Any) -> set[int]:
    """The carbons between two double bonds."""
    from rdkit import Chem

    return {inner for _, inner, _ in mol.GetSubstructMatches(Chem.MolFromSmarts("*=[#6]=*"))}


def _doubly(mol: Any, atom: int) -> list[int]:
    """The atoms that an atom is doubly bound to."""
    from rdkit import Chem

    bonds = mol.GetAtomWithIdx(atom).GetBonds()
    return [bond.GetOtherAtomIdx(atom) for bond in bonds if bond.GetBondType() == Chem.BondType.DOUBLE]


def _substituents(mol: Any, end: int, ranks: list[int], row: list[int]) -> list[int]:
    """The substituents of a carbon that are atoms, the higher-ranked first; none where its two are alike."""
    atom = mol.GetAtomWithIdx(end)
    near = [other.GetIdx() for other in atom.GetNeighbors() if other.GetIdx() not in row]
    two = atom.GetAtomicNum() == 6 and len(near) + atom.GetTotalNumHs() == 2
    differ = len({ranks[other] for other in near}) == len(near)
    return sorted(near, key=lambda other: -ranks[other]) if two and differ else []


def built(line: str) -> Any:
    """Return the molecule of a SMILES with all hydrogens, the heavy atoms first: an imine's hydrogen may stand among them."""
    from rdkit import Chem

    mol = Chem.AddHs(Chem.MolFromSmiles(line))
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1]
    light = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() == 1]
    return Chem.RenumberAtoms(mol, heavy + light)


def bare(mol: Any) -> Any:
    """Return a molecule without its hydrogens, and without stereo, which would keep those of imines."""
    from rdkit import Chem

    mol = Chem.Mol(mol)
    Chem.RemoveStereochemistry(mol)
    return Chem.RemoveHs(mol, sanitize=False)


def seen(mol: Any, places: np.ndarray) -> str:
    """Return the isomer that a molecule is in places (n, 3), as SMILES; what places leave open is left open.

    Behind it stand the hands or sides of cumulated double bonds, + or − by a rule of our own; of two alike, + first.
    """
    from rdkit import Chem, rdBase

    mol = Chem.Mol(mol)
    mol.RemoveAllConformers()
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.SetPositions(np.ascontiguousarray(places[: mol.GetNumAtoms()], float))
    mol.AddConformer(conformer)
    with rdBase.BlockLogs():
        Chem.AssignStereochemistryFrom3D(mol, replaceExistingTags=True)
    _tag_nitrogen(mol, conformer.GetPositions())
    turns = [(ranks, _turn(row, ends, conformer.GetPositions())) for ranks, row, ends in cumulated(mol)]
    return " ".join([Chem.MolToSmiles(mol), *(turn for _, turn in sorted(turns))])


def compare(molecules: Any, real: tuple[np.ndarray, np.ndarray], made: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
    """Return which isomer made rows are, those of molecules that can be several: owner, same, mirrored, chiral, each (k,).

    same: the isomer of the molecule's first real conformer; mirrored: its mirror image, where that is another isomer (chiral).
    """
    named = {}
    for m in np.unique(real[0]):
        if elements(molecules.mols[m]) or cumulated(molecules.mols[m]):
            first = real[1][np.flatnonzero(real[0] == m)[0]]
            named[m] = seen(molecules.mols[m], first), seen(molecules.mols[m], -first)
    found = [(m, seen(molecules.mols[m], places), *named[m]) for m, places in zip(*made, strict=True) if m in named]
    owner, got, one, other = (np.array(column) for column in zip(*found, strict=True)) if found else [np.array([])] * 4
    chiral = one != other
    return {"owner": owner, "same": got == one, "mirrored": (got == other) & chiral, "chiral": chiral}


def hands(found: dict[str, np.ndarray]) -> np.ndarray:
    """Return which rows of chiral molecules are of the real hand (k,), of those that are of the real one or of its mirror image."""
    same = found["same"].astype(bool)
    return same[(same | found["mirrored"].astype(bool)) & found["chiral"].astype(bool)]


def _turn(row: list[int], ends: list[list[int]], places: np.ndarray) -> str:
    """The hand of an allene, the side of a butatriene: + or −, or ? where the places leave it open."""
    axis = places[row[-1]] - places[row[0]]
    axis = axis / np.linalg.norm(axis)
    arms = [places[near[0]] - places[[*near, end][1]] for near, end in zip(ends, (row[0], row[-1]), strict=True)]
    one, other = (arm - (arm @ axis) * axis for arm in arms)
    turn = np.cross(one, other) @ axis if len(row) % 2 else one @ other
    clear = abs(turn) > 0.1 * np.linalg.norm(one) * np.linalg.norm(other)
    return ("+" if turn > 0 else "−") if clear else "?"


def _tag_nitrogen(mol: Any, places: np.ndarray) -> None:
    """Mark the side of nitrogen in rings of three, which RDKit names in SMILES and does not read from places."""
    from rdkit import Chem

    for element in elements(mol):
        atom = mol.GetAtomWithIdx(element.centeredOn)
        ends = [near.GetIdx() for near in atom.GetNeighbors()]
        if element.type == Chem.StereoType.Atom_Tetrahedral and (atom.GetAtomicNum(), atom.GetTotalNumHs(True), len(ends)) == (
            7,
            0,
            3,
        ):
            arms = places[ends] - places[element.centeredOn]
            arms = arms / np.linalg.norm(arms, axis=1, keepdims=True)
            volume = np.linalg.det(arms)
            kinds = Chem.ChiralType.CHI_TETRAHEDRAL_CW, Chem.ChiralType.CHI_TETRAHEDRAL_CCW
            atom.SetChiralTag(kinds[int(volume > 0)] if abs(volume) > 0.1 else Chem.ChiralType.CHI_UNSPECIFIED)
