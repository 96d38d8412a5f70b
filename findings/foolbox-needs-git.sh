#!/usr/bin/env bash
# foolbox 3.3.4 with GitPython 3.2.1: `import foolbox` raises ImportError on a machine that has no `git` program, such as a slim
# container, though no attack has to do with git: the package imports its zoo of models, which is fetched by GitPython, and
# GitPython looks for the program when it is imported. `GIT_PYTHON_REFRESH=quiet`, set before the import, is enough to attack.
#
# Seen:
#   without git: ImportError
#   without git, GIT_PYTHON_REFRESH=quiet: LinfProjectedGradientDescentAttack
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 foolbox==3.3.4 GitPython==3.2.1
cat >"$work/attack.py" <<'P'
try:
    from foolbox import attacks
except ImportError:
    print("ImportError")
else:
    print(attacks.LinfPGD.__name__)
P
cd "$work"
echo "without git: $(PATH=/nonexistent "$work/venv/bin/python" attack.py)" | tee seen
echo "without git, GIT_PYTHON_REFRESH=quiet: $(PATH=/nonexistent GIT_PYTHON_REFRESH=quiet "$work/venv/bin/python" attack.py)" | tee -a seen
grep -qx "without git: ImportError" seen
grep -qx "without git, GIT_PYTHON_REFRESH=quiet: LinfProjectedGradientDescentAttack" seen
