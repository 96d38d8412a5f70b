"""Your data: a file of a table, a text, a folder of pictures, or a data set that scikit-learn carries, as a Frame."""

import csv
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from collapse_utils.practice.frames import FEWEST, Columns, Frame, framed, of, shown

EMBEDDED = ("breast_cancer", "diabetes", "wine", "iris", "linnerud")
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm"}
WINDOW, SIDE, RARE = 16, 12, 10  # characters of a row of text; pixels of a picture's side; times a character must occur
HARDLY = 0.1  # a pixel that has its most frequent grey in all but so few pictures tells nothing
OTHER = "\N{REPLACEMENT CHARACTER}"


def read(source: str | Path, missing: str = "refuse") -> Frame:
    """Return the Frame of a .csv or .parquet table, a .txt text, a folder of pictures, or a data set that scikit-learn carries.

    missing: what is done with empty cells: "refuse"; "drop" leaves their rows out; "fill" puts the median of the column, or the
    category (missing). What was done stands in notes. A text is cut into rows of 16 characters, pictures are grey, 12 × 12 pixels.
    Raises ValueError in one sentence, with column and value, for what cannot be used.
    """
    path = Path(source).expanduser()
    if str(source) in EMBEDDED:
        return of(_embedded(str(source)), str(source), missing)
    if path.is_dir():
        return _pictures(path)
    if not path.is_file():
        known = ", ".join(EMBEDDED)
        raise ValueError(
            f"data: must be a file, a folder of pictures or one of {known}; got {str(source)!r}, which is not there."
        )
    if path.suffix.lower() == ".txt":
        return _text(path)
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"data: must be a .csv, .parquet or .txt file; got {path.name}; save it as one of them.")
    return of(_table(path), path.name, missing)


def _table(path: Path) -> pd.DataFrame:
    """The table of a file, or one sentence that says why it is none."""
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        with path.open(encoding="utf-8-sig", newline="") as stream:
            names = [name.strip() for name in next(csv.reader(stream, skipinitialspace=True), [])]
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            table = pd.read_csv(path, skipinitialspace=True, index_col=False)
    except pd.errors.EmptyDataError:
        raise ValueError(f"data: {path.name} must hold a table; got an empty file.") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"data: {path.name} must be text in UTF-8; got {_byte(error)}; save it as UTF-8.") from None
    except pd.errors.ParserWarning:  # cells would be lost
        raise ValueError(
            f"data: {path.name} must have a name for each cell of a row; got more cells than the {len(names)} names of its first line; "
            "save it with commas between the columns and points in the numbers."
        ) from None
    except (ValueError, OSError, csv.Error) as error:  # of pandas and pyarrow
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"data: {path.name} must hold a table; it cannot be read as one ({reason}).") from None
    if len(names) == 1 and (mark := next((mark for mark in ";\t|" if mark in names[0]), "")):
        raise ValueError(
            f"data: {path.name} must have commas between its columns; got {mark!r} in its first line; save it with commas."
        )
    return table.set_axis(names, axis=1) if len(names) == table.shape[1] else table  # pandas renames a name that comes twice


def _embedded(name: str) -> pd.DataFrame:
    from sklearn import datasets

    bunch = (
        datasets.load_diabetes(as_frame=True, scaled=False)
        if name == "diabetes"
        else getattr(datasets, f"load_{name}")(as_frame=True)
    )
    table = bunch.frame
    if name in ("breast_cancer", "wine", "iris"):
        table["target"] = np.array(bunch.target_names, object)[table["target"]]
    if name == "diabetes":
        table["sex"] = np.array(["one", "two"], object)[table["sex"].astype(int) - 1]
    return table


def _text(path: Path) -> Frame:
    """Rows of WINDOW characters, one column a place; what is rare in the whole text is one character, OTHER."""
    try:
        text = " ".join(path.read_text(encoding="utf-8").split())
    except UnicodeDecodeError as error:
        raise ValueError(f"data: {path.name} must be text in UTF-8; got {_byte(error)}; save it as UTF-8.") from None
    n = len(text) // WINDOW
    if n < FEWEST:
        raise ValueError(f"data: {path.name} must have at least {FEWEST * WINDOW} characters; got {len(text)}.")
    letters = np.array(list(text[: n * WINDOW]))
    known, counts = np.unique(letters, return_counts=True)
    rare = known[counts < RARE]
    letters[np.isin(letters, rare)] = OTHER
    known, codes = np.unique(letters, return_inverse=True)
    if len(known) < 2:
        raise ValueError(f"data: {path.name} must have characters that differ; got {shown(known[0])} alone.")
    names = tuple(f"place {place:02d}" for place in range(1, WINDOW + 1))
    columns = Columns(names, ("category",) * WINDOW, (tuple(map(str, known)),) * WINDOW)
    notes = [f"text in rows of {WINDOW} characters; {len(rare)} kinds that occur fewer than {RARE} times are one, {OTHER}"]
    return framed(codes.reshape(n, WINDOW).astype(float), columns, path.name, notes)


def _byte(error: UnicodeDecodeError) -> str:
    return f"the byte {error.object[error.start]:#x}"


def _pictures(folder: Path) -> Frame:
    """Grey pictures of SIDE × SIDE pixels between 0 and 1, one a row; pixels that never vary are left out."""
    from PIL import Image, UnidentifiedImageError

    folder = folder.resolve()
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if len(files) < FEWEST:
        raise ValueError(
            f"data: {folder.name} must hold at least {FEWEST} pictures ({', '.join(sorted(PICTURES))}); got {len(files)}."
        )
    rows = []
    for path in files:
        try:
            with Image.open(path) as picture:
                rows.append(np.asarray(picture.convert("L").resize((SIDE, SIDE)), float).ravel() / 255)
        except (UnidentifiedImageError, OSError):
            raise ValueError(f"data: {path.name} must be a picture; it cannot be read as one.") from None
    rows = np.array(rows)
    varies = (rows != np.median(rows, axis=0)).mean(axis=0) > HARDLY
    if not varies.any():
        raise ValueError(f"data: the {len(files)} pictures of {folder.name} must differ; all are the same.")
    names = tuple(f"pixel {y:02d} {x:02d}" for y, x in np.argwhere(varies.reshape(SIDE, SIDE)))
    notes = [
        f"grey, {SIDE} × {SIDE} pixels"
        + (f"; {(~varies).sum()} pixels that hardly vary were left out" if not varies.all() else "")
    ]
    columns = Columns(names, ("number",) * len(names), ((),) * len(names))
    return framed(np.ascontiguousarray(rows[:, varies]), columns, folder.name, notes)
