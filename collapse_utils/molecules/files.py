"""Files of molecular geometries in their published formats, read without trusting them: (name, elements, conformers)."""

import contextlib
import gzip
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from collapse_utils.mirror import fetch

PLACES = {  # below $COLLAPSE_DATA; qm9 and geom-drugs with the official sums, and pinned files to download
    "qm7": ("molecules/qm7/qm7_all.xyz.gz", "sha256:97f9d3db1a60b6d504c6da547c45d323ed42b6111fa6389e854225c628656ea7", None),
    "gdb1k": ("molecules/moleculenet/gdb1k.sdf", "sha256:d10b7ebd226f2b4ef9bf47b57c6e03323dd9e023541b8262ad35b225da971a68", None),
    "esol": (
        "molecules/moleculenet/delaney-processed.csv",
        "sha256:8c06a76f0c6487d29ab0f903e6a7a7139f189ab3c1178f159c8be8964602f189",
        None,
    ),
    "qm9": (
        "molecules/qm9/dsgdb9nsd.xyz.tar.bz2",
        "md5:ad1ebd51ee7f5b3a6e32e974e5d54012",
        "https://ndownloader.figshare.com/files/3195389",
    ),
    "geom-drugs": (
        "molecules/geom/drugs_crude.msgpack.tar.gz",
        "md5:7778e84c50b7cde755cca670d1f75091",
        "https://dataverse.harvard.edu/api/access/datafile/4360331",
    ),
}
FORMATS = {"qm7", "gdb1k", "qm9", "geom-drugs"}  # those that carry geometries; esol is a list of SMILES


class GeometryError(OSError):
    """A file of molecules that is missing, damaged, or not what it should be."""


def locate(name: str) -> Path:
    """Return the file of a named data set, official and checked (see mirror.fetch), or a path as it is.

    Raises GeometryError where there is none, OSError for a named one that is missing or damaged.
    """
    if name in PLACES:
        return fetch(f"molecules: {name}", *PLACES[name])
    path = Path(os.path.expandvars(name)).expanduser()
    if not path.is_file():
        raise GeometryError(f"molecules: must be enumerated, {', '.join(PLACES)} or a file of SMILES; got {name!r}.")
    return path


def read(name: str) -> Iterator[tuple[str, list[int], np.ndarray]]:
    """Yield (name, atomic numbers, conformers (c, n, 3) in Å) of qm7, gdb1k, qm9 or geom-drugs, one molecule at a time.

    qm9: the tar of extended xyz files (Ramakrishnan 2014). geom-drugs: the msgpack release (Axelrod 2022); never a pickle.
    Raises GeometryError, with the file's name, for what is not of that format.
    """
    path = locate(name)
    readers = {"qm7": _xyz, "gdb1k": _sdf, "qm9": _qm9, "geom-drugs": _geom}
    with _sound(path):
        yield from readers[name](path)


@contextlib.contextmanager
def _sound(path: Path) -> Iterator[None]:
    try:
        yield
    except GeometryError:
        raise
    except Exception as error:  # a damaged archive can break in any reader
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GeometryError(f"molecules: {path} must be a sound file of its format; got {reason!r}; replace it.") from error


def _number(symbol: str) -> int:
    from rdkit import Chem

    return Chem.GetPeriodicTable().GetAtomicNumber(symbol)


def _frame(lines: list[str], name: str) -> tuple[str, list[int], np.ndarray]:
    fields = [line.replace("*^", "e").split() for line in lines]
    places = np.array([[float(value) for value in row[1:4]] for row in fields]).reshape(-1, 3)
    return name, [_number(row[0]) for row in fields], places[None]


def _xyz(path: Path):
    """Frames of an xyz file, one after the other; the name is id=… of the comment, or the frame's number."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as stream:
        count = 0
        while head := stream.readline().strip():
            comment, count = stream.readline(), count + 1
            lines = [stream.readline() for _ in range(int(head))]
            label = re.search(r"id=(\S+)", comment)
            yield _frame(lines, label.group(1) if label else f"{count}")


def _sdf(path: Path):
    from rdkit import Chem

    for i, mol in enumerate(Chem.SDMolSupplier(str(path), sanitize=False, removeHs=False)):
        if mol is None:
            raise GeometryError(f"molecules: {path} must hold readable records; record {i + 1} is not; replace it.")
        yield f"{i + 1}", [atom.GetAtomicNum() for atom in mol.GetAtoms()], mol.GetConformer().GetPositions()[None]


def _qm9(path: Path):
    """dsgdb9nsd_000001.xyz …: number of atoms; properties; symbol x y z charge, where 1.2*^-6 is 1.2e-6; the rest is not read."""
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(".xyz"):
                lines = archive.extractfile(member).read().decode().splitlines()
                yield _frame(lines[2 : 2 + int(lines[0])], Path(member.name).stem)


def _geom(path: Path):
    """Chunks {SMILES: {conformers: [{xyz: [[Z, x, y, z], …], …}, …]}}, in the order of the file."""
    import msgpack

    with tarfile.open(path, "r|gz") as archive:
        stream = archive.extractfile(next(iter(archive)))
        for chunk in msgpack.Unpacker(stream, raw=False, strict_map_key=False, max_buffer_size=2**31 - 1):
            for smiles, entry in chunk.items():
                table = np.array([conformer["xyz"] for conformer in entry["conformers"]], float)  # (c, n, 4)
                yield smiles, table[0, :, 0].astype(int).tolist(), table[:, :, 1:]


def perceive(numbers: list[int], places: np.ndarray, charge: int = 0):
    """Return an RDKit molecule with bonds perceived from the first conformer (rdDetermineBonds) and all conformers in it.

    Raises ValueError where no assignment of bonds fits the charge.
    """
    from rdkit import Chem, Geometry, rdBase
    from rdkit.Chem import rdDetermineBonds

    mol = Chem.RWMol()
    for number in numbers:
        mol.AddAtom(Chem.Atom(int(number)))
    for conformer in places:
        frame = Chem.Conformer(len(numbers))
        for i, (x, y, z) in enumerate(conformer.tolist()):
            frame.SetAtomPosition(i, Geometry.Point3D(x, y, z))
        mol.AddConformer(frame, assignId=True)
    with rdBase.BlockLogs():
        rdDetermineBonds.DetermineBonds(mol, charge=charge, maxIterations=20_000)
        Chem.SanitizeMol(mol)
    return mol.GetMol()
