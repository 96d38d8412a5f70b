#!/usr/bin/env bash
# rdkit 2026.9.1: FindPotentialStereo lists a double bond of every allene with different ends on one side, although a
# cumulated double bond of an allene has no cis and no trans, and although buta-1,2-diene, CC=C=C, has no stereoisomers at all.
# A count of open stereo elements is therefore one too high for it. And the SMILES of an allene with a hand, [C@AL1], is read
# without an error or a warning and written back without the hand: both hands become the same molecule.
#
# Seen:
#   CC=C=C: ['Bond_Double']
#   hands: CC=C=CC CC=C=CC True
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check rdkit==2026.9.1 numpy==2.4.6
"$work/venv/bin/python" - <<'P' | tee "$work/seen"
from rdkit import Chem

diene = Chem.MolFromSmiles("CC=C=C")
print("CC=C=C:", [str(found.type) for found in Chem.FindPotentialStereo(diene)])
hands = [Chem.MolToSmiles(Chem.MolFromSmiles(f"CC=[C@AL{hand}]=CC")) for hand in (1, 2)]
print("hands:", *hands, hands[0] == hands[1])
P
grep -qx "CC=C=C: \['Bond_Double'\]" "$work/seen"
grep -qx "hands: CC=C=CC CC=C=CC True" "$work/seen"
