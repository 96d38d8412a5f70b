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
    """Return the tetrahedral centres and double bonds of a molecule that can have either configuration."""
    from rdkit import Chem

    kinds = Chem.StereoType.Atom_Tetrahedral, Chem.StereoType.Bond_Double
    return [element for element in Chem.FindPotentialStereo(mol) if element.type in kinds]


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
    """Return the isomer that a molecule is in places (n, 3), as SMILES; what places leave open is left open."""
    from rdkit import Chem, rdBase

    mol = Chem.Mol(mol)
    mol.RemoveAllConformers()
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.SetPositions(np.ascontiguousarray(places[: mol.GetNumAtoms()], float))
    mol.AddConformer(conformer)
    with rdBase.BlockLogs():
        Chem.AssignStereochemistryFrom3D(mol, replaceExistingTags=True)
    _tag_nitrogen(mol, conformer.GetPositions())
    return Chem.MolToSmiles(mol)


def compare(molecules: Any, real: tuple[np.ndarray, np.ndarray], made: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
    """Return which isomer made rows are, those of molecules that can be several: owner, same, mirrored, chiral, each (k,).

    same: the isomer of the molecule's first real conformer; mirrored: its mirror image, where that is another isomer (chiral).
    """
    named = {}
    for m in np.unique(real[0]):
        if elements(molecules.mols[m]):
            first = real[1][np.flatnonzero(real[0] == m)[0]]
            named[m] = seen(molecules.mols[m], first), seen(molecules.mols[m], -first)
    found = [(m, seen(molecules.mols[m], places), *named[m]) for m, places in zip(*made, strict=True) if m in named]
    owner, got, one, other = (np.array(column) for column in zip(*found, strict=True)) if found else [np.array([])] * 4
    chiral = one != other
    return {"owner": owner, "same": got == one, "mirrored": (got == other) & chiral, "chiral": chiral}


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
