#!/usr/bin/env bash
# numpy 2.4.6: `tofile`, and `save` with it, writes the values through a buffer of C whose last flush, when that file is closed,
# is not looked at. Of values that fit into that buffer (4 kB) nothing may reach a full disk, and no error is raised: `save`
# returns, and the file that it leaves is refused by `load`. More values than that raise OSError, as Python's own `write` does
# in either case. Whoever keeps work by `np.save` and then renames the file has to look at its length, or write `tobytes()`.
#
# Seen (/dev/full is always full; a limit of 1 kB on the size of a file stands for a disk that has room for the header):
#   tofile, 500 values, full disk: no error
#   tofile, 600 values, full disk: OSError
#   write, 500 values, full disk: OSError
#   save, 375 values, room for 1024 bytes: no error, 1024 bytes of 3128
#   load: ValueError
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'P' | tee "$work/seen"
import os
import resource

import numpy as np


def tried(call):
    try:
        call()
    except (OSError, ValueError) as error:
        return type(error).__name__
    return "no error"


def full(write):
    with open("/dev/full", "wb") as stream:
        write(stream)


for n in (500, 600):
    print(f"tofile, {n} values, full disk:", tried(lambda n=n: full(np.zeros(n).tofile)))
print("write, 500 values, full disk:", tried(lambda: full(lambda stream: stream.write(np.zeros(500).tobytes()))))
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
said = tried(lambda: np.save("a.npy", np.zeros(375)))
print(f"save, 375 values, room for 1024 bytes: {said}, {os.path.getsize('a.npy')} bytes of {128 + 375 * 8}")
print("load:", tried(lambda: np.load("a.npy")))
P
diff "$work/seen" - <<'S'
tofile, 500 values, full disk: no error
tofile, 600 values, full disk: OSError
write, 500 values, full disk: OSError
save, 375 values, room for 1024 bytes: no error, 1024 bytes of 3128
load: ValueError
S
