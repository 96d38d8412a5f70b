"""What a notebook hands on: tidy tables and numbers for the prose, both carried by the executed notebook itself."""

import base64
import io
import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

TABLE_MIME = "application/vnd.apache.parquet"
NUMBER_MIME = "application/vnd.collapse.number+json"
DATA_MIME = "application/vnd.collapse.data+json"
_tables: dict[str, pd.DataFrame] = {}


@dataclass(frozen=True)
class Table:
    """A tidy table as a cell's output: its Parquet bytes travel in the notebook."""

    name: str
    frame: pd.DataFrame

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        buffer = io.BytesIO()
        self.frame.to_parquet(buffer, index=False)
        shape = f"{len(self.frame)} rows: {', '.join(map(str, self.frame.columns))}"
        data = {"name": self.name, "base64": base64.b64encode(buffer.getvalue()).decode()}
        return {TABLE_MIME: json.dumps(data), "text/plain": f"table {self.name}: {shape}"}


def table(name: str, frame: pd.DataFrame | dict[Any, pd.DataFrame], key: str = "") -> None:
    """Publish a tidy table: the workflow stores it as <name>.parquet, the page offers it for download.

    {value: frame} are frames one below the other, with the values in a first column named key. A name belongs to one cell: the
    workflow refuses a notebook that gives it to two.
    """
    from IPython.display import display

    if isinstance(frame, dict):
        frame = pd.concat([part.assign(**{key: value})[[key, *part.columns]] for value, part in frame.items()])
    frame = frame.reset_index(drop=True)
    _tables[name] = frame
    display(Table(name, _tables[name]))


def number(key: str, name: str, column: str, spec: str = ".3g", **where: Any) -> None:
    """Glue one cell of a published table, formatted, for the prose: {glue:text}`key`.

    name, column and where say which row and column; the same lookup is repeated by the tests on the stored table.
    Raises LookupError unless exactly one row matches.
    """
    from IPython.display import display

    source = {"table": name, "column": column, "where": where, "spec": spec}
    text = lookup(_tables[name], source)
    bundle = {"application/papermill.record/text/plain": repr(text), NUMBER_MIME: {"key": key, "text": text, **source}}
    metadata = {"scrapbook": {"name": key, "mime_prefix": "application/papermill.record/"}}
    display(bundle, raw=True, metadata=metadata)


def numbers(name: str, specs: dict[str, str], **where: Any) -> None:
    """Glue several cells of one row of a published table: {key: "column:format"}, e.g. {"last": "mean:.2f", "last-se": "se:.3f"}."""
    for key, spec in specs.items():
        column, _, spec = spec.rpartition(":")
        number(key, name, column, spec, **where)


def rows(name: str, specs: dict[str, str], *by: str) -> None:
    """Glue cells of every row of a table, with the row's values in the key: rows("paths", {"last-{regime}": "mean:.2f"}, "regime").

    by: the columns that tell the rows apart; raises LookupError where they do not.
    """
    for where in _tables[name][list(by)].to_dict("records"):
        numbers(name, {key.format(**where): spec for key, spec in specs.items()}, **where)


def summary(prefix: str, values: dict[str, tuple[Any, str]]) -> None:
    """Publish single values {name: (value, format)} as a table "summary" of one row, and glue each of them as <prefix>-<name>."""
    table("summary", pd.DataFrame([{name: value for name, (value, _) in values.items()}]))
    numbers("summary", {f"{prefix}-{name}": f"{name}:{spec}" for name, (_, spec) in values.items()})


@dataclass(frozen=True)
class Data:
    """The data sets that a notebook read, by name, with their hashes, for its run card."""

    hashes: dict[str, str]

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        shown = ", ".join(f"{name} (SHA-256 {value[:12]}…)" for name, value in self.hashes.items())
        return {DATA_MIME: self.hashes, "text/plain": f"data: {shown}"}


def lookup(frame: pd.DataFrame, source: dict) -> str:
    """Return the formatted cell that a number's source names."""
    rows = frame
    for column, value in source["where"].items():
        rows = rows[rows[column] == value]
    if len(rows) != 1:
        raise LookupError(f"number: {source} must match one row of table {source['table']!r}; got {len(rows)}.")
    return format(rows[source["column"]].iloc[0], source["spec"])
