#!/usr/bin/env bash
# papermill 2.7.0: a line of the parameters cell is not parsed when its comment holds an equals sign, e.g. "# c = trace / d", and
# neither is a type with a call or a string in it. The help of the notebook leaves such a parameter out, and passing it warns that
# it is unknown, although the run then uses it. Names, numbers, commas and brackets are the only types that are read.
#
# Seen:
#   listed: ['plain', 'bracket']
#   warned of: ['equals', 'literal']
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check papermill==2.7.0 nbformat==5.11.1 ipykernel==6.31.0
cd "$work"
"$work/venv/bin/python" - <<'P' | tee "$work/seen"
import logging

import nbformat
import papermill

LINES = [
    "plain: int = 1  # rows",
    "bracket: Int[1, 9] = 2  # rows",
    "equals: int = 3  # rows, c = trace / d",
    'literal: Literal["a", "b"] = "a"  # kind',
]
cell = nbformat.v4.new_code_cell("\n".join(LINES), metadata={"tags": ["parameters"]})
kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), "in.ipynb")
names = [line.partition(":")[0] for line in LINES]


class Kept(logging.Handler):
    said: list[str] = []

    def emit(self, record):
        self.said.append(record.getMessage())


logger = logging.getLogger("papermill")
logger.addHandler(Kept())
print("listed:", [name for name in names if name in papermill.inspect_notebook("in.ipynb")])
Kept.said.clear()
papermill.execute_notebook("in.ipynb", None, {name: 1 for name in names}, prepare_only=True, progress_bar=False)
print("warned of:", [name for name in names if any("unknown parameter" in said and name in said for said in Kept.said)])
P
grep -qx "listed: \['plain', 'bracket'\]" "$work/seen"
grep -qx "warned of: \['equals', 'literal'\]" "$work/seen"
