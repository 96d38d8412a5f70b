"""A table as an array of numbers and back, checked before anything is fitted."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

FEWEST, MOST, MANY = 20, 1000, 50  # rows; columns; categories of a column
MISSING = "(missing)"


@dataclass(frozen=True)
class Columns:
    """What the columns of an encoded array (n, d) mean: names, kinds 'number' or 'category', and categories, one tuple a column.

    A number stands as it is, a category as its place 0, 1, … in its column's categories; those of a number are ().
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    categories: tuple[tuple, ...]

    @property
    def numbers(self) -> np.ndarray:
        """Which columns are numbers, (d,)."""
        return np.array(self.kinds) == "number"


@dataclass(frozen=True)
class Frame:
    """Encoded rows (n, d), float64 and read-only, with what they mean, where they are from, their SHA-256, and what was done to them."""

    rows: np.ndarray
    columns: Columns
    name: str
    sha256: str
    notes: tuple[str, ...] = ()


def of(table: pd.DataFrame, name: str, missing: str = "refuse") -> Frame:
    """Return the Frame of a pandas table, checked; text and booleans are categories. Raises ValueError as read does."""
    _check_shape(table)
    table, notes = _without_missing(table, missing)
    _check_rows(len(table))
    kinds = tuple(_kind(column, table[column]) for column in table)
    categories = tuple(
        tuple(sorted(table[column].unique(), key=str)) if kind == "category" else () for column, kind in zip(table, kinds)
    )
    columns = Columns(tuple(map(str, table.columns)), kinds, categories)
    if named := [str(level) for level in table.index.names if level is not None]:
        notes = [*notes, f"the index {', '.join(named)} is no column and was left out"]
    return framed(encode(table, columns), columns, name, notes)


def encode(table: pd.DataFrame, columns: Columns, who: str = "data") -> np.ndarray:
    """Return a table with these columns, in any order, as an array (n, d), float64.

    Raises ValueError, on behalf of who, for other columns, another type, a category that is not there, and what is not finite.
    """
    found = [str(column) for column in table]
    if sorted(found) != sorted(columns.names):
        strange = sorted(set(found) ^ set(columns.names)) or sorted({name for name in found if found.count(name) > 1})
        raise ValueError(
            f"{who}: must have the {len(columns.names)} columns of the data; got {len(found)}, and they differ in {strange[0]!r}."
        )
    table = table.set_axis(found, axis=1)
    rows = np.empty((len(table), len(columns.names)))
    for j, (name, kind, known) in enumerate(zip(columns.names, columns.kinds, columns.categories)):
        values = table[name]
        if kind == "category":
            codes = pd.Index(known, dtype=object).get_indexer(values.astype(object))
            if (codes < 0).any():
                strange = values.iloc[int(np.argmin(codes))]
                raise ValueError(f"{who}: column {name} must keep to its {len(known)} categories; got {shown(strange)}.")
            rows[:, j] = codes
            continue
        if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
            raise ValueError(
                f"{who}: column {name} must hold numbers, as in the data; got {values.dtype} ({shown(values.iloc[0])})."
            )
        rows[:, j] = values.to_numpy(float, na_value=np.nan)
    return check(rows, columns, who)


def check(rows: np.ndarray, columns: Columns, who: str) -> np.ndarray:
    """Return an array (n, d) that stands for rows of a table with these columns; ValueError, on behalf of who, if it does not."""
    if rows.ndim != 2 or rows.shape[1] != len(columns.names):
        raise ValueError(f"{who}: must be rows of {len(columns.names)} columns; got an array of shape {rows.shape}.")
    for j in np.flatnonzero(~np.isfinite(rows).all(axis=0)):
        row = int(np.argmin(np.isfinite(rows[:, j])))
        raise ValueError(f"{who}: column {columns.names[j]} must be finite; got {rows[row, j]} in row {row}.")
    for j in np.flatnonzero(~columns.numbers):
        codes, known = rows[:, j], len(columns.categories[j])
        if (wrong := (codes % 1 != 0) | (codes < 0) | (codes >= known)).any():
            raise ValueError(
                f"{who}: column {columns.names[j]} must hold places 0 to {known - 1} of categories; got {codes[wrong][0]:g}."
            )
    return rows


def decode(rows: np.ndarray, columns: Columns) -> pd.DataFrame:
    """Return an encoded array (n, d) as a pandas table with the names and the categories of the data."""
    return pd.DataFrame({
        name: rows[:, j] if kind == "number" else np.array(known, object)[rows[:, j].astype(int)]
        for j, (name, kind, known) in enumerate(zip(columns.names, columns.kinds, columns.categories))
    })  # fmt: skip


def shown(value: object) -> str:
    """Return a value of a table as Python writes it: 3.5, not np.float64(3.5)."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def framed(rows: np.ndarray, columns: Columns, name: str, notes: Sequence[str]) -> Frame:
    """Return encoded rows as a Frame, read-only from now on."""
    digest = hashlib.sha256(repr(columns).encode() + np.ascontiguousarray(rows, "<f8").tobytes()).hexdigest()
    rows.flags.writeable = False
    return Frame(rows, columns, name, digest, tuple(notes))


def _check_shape(table: pd.DataFrame) -> None:
    names = [str(column) for column in table]
    if table.empty:
        raise ValueError(f"data: must hold rows and columns; got {len(table)} rows of {len(names)} columns.")
    if twice := sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
        raise ValueError(f"data: column {twice[0]} must stand there once; got {names.count(twice[0])} of that name; rename one.")
    if "" in (bare := [name.strip() for name in names]):
        raise ValueError(
            f"data: column {bare.index('') + 1} must have a name; got {names[bare.index('')]!r}; give it one, or, if it numbers the rows, leave it out."
        )
    if len(names) > MOST:
        raise ValueError(
            f"data: must have at most {MOST:,} columns; got {len(names):,}, from {names[0]} on; choose some of them."
        )
    for name in table:
        if table[name].isna().all():
            raise ValueError(f"data: column {name} must hold values; all {len(table)} are missing; leave it out.")
    _check_rows(len(table))


def _check_rows(n: int) -> None:
    if n < FEWEST:
        raise ValueError(f"data: must have at least {FEWEST} rows, half of them to learn from; got {n}.")


def _without_missing(table: pd.DataFrame, missing: str) -> tuple[pd.DataFrame, list[str]]:
    """The table by the policy, and what was done in words."""
    if missing not in ("refuse", "drop", "fill"):
        raise ValueError(f"data: missing must be refuse, drop or fill; got {missing!r}.")
    empty = table.isna().sum()
    if not empty.any():
        return table, []
    worst, cells = empty.idxmax(), f"{int(empty.sum())} missing values in {int((empty > 0).sum())} columns"
    if missing == "refuse":
        raise ValueError(f"data: {cells}, most in column {worst} ({int(empty[worst])}); say drop or fill for missing.")
    if missing == "drop":
        kept = table.dropna()
        return kept, [f"{cells}: {len(table) - len(kept)} of {len(table)} rows were left out"]
    return table.apply(_filled), [f"{cells}: numbers got the column's median, categories the category {MISSING}"]


def _filled(values: pd.Series) -> pd.Series:
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return values.fillna(values.median()) if numeric else values.astype(object).where(values.notna(), MISSING)


def _kind(name: str, values: pd.Series) -> str:
    """Number or category; refuses what is neither."""
    if pd.api.types.is_datetime64_any_dtype(values) or _dates(values):
        raise ValueError(
            f"data: column {name} holds dates ({values.iloc[0]!s}); turn them into numbers, such as days since the first, or leave it out."
        )
    counts = (values.astype(object) if isinstance(values.dtype, pd.CategoricalDtype) else values).value_counts()
    if len(counts) == 1:
        raise ValueError(f"data: column {name} must vary; got {shown(counts.index[0])} in all {len(values)} rows; leave it out.")
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        _check_numbers(name, values, len(counts))
        return "number"
    _check_categories(name, counts)
    return "category"


def _check_numbers(name: str, values: pd.Series, different: int) -> None:
    """Refuse numbers that are not finite, or no longer so many different ones, with a finite spread, as float64."""
    numbers = values.to_numpy(float)
    if not np.isfinite(numbers).all():
        row = int(np.argmin(np.isfinite(numbers)))
        raise ValueError(f"data: column {name} must be finite; got {numbers[row]} in row {row}; mend or leave out the row.")
    with np.errstate(over="ignore", invalid="ignore"):
        apart = len(np.unique(numbers)) == different and 0 < numbers.std() < np.inf
    if not apart:
        raise ValueError(
            f"data: column {name} must keep its differences as float64; got {shown(values.min())} to {shown(values.max())}; "
            "subtract its least value, change its unit, or leave it out."
        )


def _check_categories(name: str, counts: pd.Series) -> None:
    """Refuse numbers among text, too many categories, and one that occurs once."""
    kinds = {isinstance(value, int | float | np.number) and not isinstance(value, bool): value for value in counts.index}
    if len(kinds) > 1:
        raise ValueError(
            f"data: column {name} must hold numbers or text; got both, {shown(kinds[True])} and {shown(kinds[False])}."
        )
    if len(counts) > MANY or counts.iloc[-1] == 1:
        _check_numerals(name, counts.index)
    if len(counts) > MANY:
        raise ValueError(
            f"data: column {name} must have at most {MANY} categories; got {len(counts)}, such as {shown(counts.index[0])}; group them, or leave it out."
        )
    if counts.iloc[-1] == 1:
        raise ValueError(
            f"data: column {name} has the category {shown(counts.index[-1])} once, and no half of the rows can be held out for it; "
            "merge it with another, or leave out the row."
        )


def _check_numerals(name: str, values: pd.Index) -> None:
    """Refuse text that is numbers but for a few words."""
    words = pd.to_numeric(pd.Series(values.astype(str)), errors="coerce").isna().to_numpy()
    if words.any() and words.mean() < 0.5:
        raise ValueError(
            f"data: column {name} must hold numbers or text; got both, {shown(values[int(words.argmin())])} and "
            f"{shown(values[int(words.argmax())])}; write numbers, and leave empty what is missing."
        )


def _dates(values: pd.Series) -> bool:
    """Whether text says dates: two separators and digits, and pandas can read all of it."""
    text = values.iloc[:200]
    if pd.api.types.is_numeric_dtype(text) or not text.map(lambda value: isinstance(value, str)).all():
        return hasattr(text.iloc[0], "isoformat")
    if not text.str.fullmatch(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?").all():
        return False
    return bool(pd.to_datetime(text, errors="coerce", format="mixed").notna().all())
