"""A table, a text or a folder of pictures as an array of numbers and back, checked before anything is fitted."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Columns:
    """What the columns of an encoded array (n, d) mean: names, kinds 'number' or 'category', and categories, one tuple a column.

    A number stands as it is, a category as its place 0, 1, … in its column's categories; those of a number are ().
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    categories: tuple[tuple, ...]
