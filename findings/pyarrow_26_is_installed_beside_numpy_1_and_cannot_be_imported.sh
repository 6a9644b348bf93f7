#!/usr/bin/env bash
# pyarrow 26.0.0 and 25.0.0, NumPy 1.26.0, Python 3.11.
#
# Behaviour: pyarrow declares no dependency on NumPy, in metadata or extras, so that pip installs it
# beside NumPy 1.26 and `pip check` has no complaint. pyarrow 26 cannot be imported there, not even
# for tables that never become NumPy arrays; without any NumPy it can. pyarrow 25 works with both.
#
# Output seen:
#   No broken requirements found.
#   26.0.0 with NumPy 1.26.0: ImportError
#   25.0.0 with NumPy 1.26.0: 1 row
#   26.0.0 without NumPy: 1 row
#
# The guess before: a library that runs without NumPy also runs beside an old one, or declares which
# versions it conflicts with.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/pip" --disable-pip-version-check)
cat >"$folder/try.py" <<'PYTHON'
import importlib.metadata
import sys

try:
    numpy = f"with NumPy {importlib.metadata.version('numpy')}"
except importlib.metadata.PackageNotFoundError:
    numpy = "without NumPy"
assert not importlib.metadata.requires("pyarrow"), importlib.metadata.requires("pyarrow")
try:
    import pyarrow
except ImportError as error:
    found = type(error).__name__
else:
    found = f"{pyarrow.table({'de': ['Haus']}).num_rows} row"
print(f"{importlib.metadata.version('pyarrow')} {numpy}: {found}")
sys.exit(found != sys.argv[1])
PYTHON
"${pip[@]}" install --quiet pyarrow==26.0.0 numpy==1.26.0
"${pip[@]}" check
"$folder/venv/bin/python" "$folder/try.py" ImportError
"${pip[@]}" install --quiet pyarrow==25.0.0
"$folder/venv/bin/python" "$folder/try.py" "1 row"
"${pip[@]}" install --quiet pyarrow==26.0.0
"${pip[@]}" uninstall --quiet --yes numpy
"$folder/venv/bin/python" "$folder/try.py" "1 row"
