#!/usr/bin/env bash
# tensorflow-text 2.21.1, tensorflow 2.21.0, Python 3.11, x86-64.
#
# Behaviour: under `python -OO` or PYTHONOPTIMIZE=2, which leaves docstrings out, `import
# tensorflow_text` raises a TypeError: it formats the docstring of WordShape. tensorflow itself is
# imported.
#
# Output seen:
#   -O   imported
#   -OO  TypeError: unsupported operand type(s) for %: 'NoneType' and 'dict'
#
# The guess before: what runs with tensorflow under -OO runs with its text ops, too.
#
# Exits with 0 while -OO fails and -O does not, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    tensorflow==2.21.0 tensorflow-text==2.21.1
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
import() {
    "$folder/venv/bin/python" "$1" -c "import $2; print('imported')" 2>&1 | tail -n 1
}
test "$(import -OO tensorflow)" = imported
kept=$(import -O tensorflow_text)
left_out=$(import -OO tensorflow_text || :)
echo "-O   $kept"
echo "-OO  $left_out"
[[ $kept = imported && $left_out = TypeError*NoneType* ]]
