#!/usr/bin/env bash
# pytest 9.1.1, and 8.3.5 for comparison, Python 3.11.
#
# Behaviour: with files of a folder named before and after a file of another folder, pytest 9.1.1
# does not find the fixtures of the folder's conftest.py for the files named after it. Named in
# another order, the same files pass.
#
# Output seen (a/ has a conftest.py with the fixture that a/test_y.py uses):
#   pytest 9.1.1  a/test_x.py a/test_y.py test_b.py  3 passed
#   pytest 9.1.1  a/test_x.py test_b.py a/test_y.py  2 passed, 1 error   fixture 'f' not found
#   pytest 8.3.5  a/test_x.py test_b.py a/test_y.py  3 passed
#
# The guess before: the order of the files on the command line is only the order of the tests.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 9.1.1 8.3.5; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check pytest==$version
done
mkdir -p "$folder/tests/a"
cd "$folder/tests"
touch pytest.ini
printf 'import pytest\n\n@pytest.fixture\ndef f():\n    return 1\n' > a/conftest.py
printf 'def test_x():\n    pass\n' > a/test_x.py
printf 'def test_y(f):\n    assert f\n' > a/test_y.py
printf 'def test_b():\n    pass\n' > test_b.py

run() {
    "$folder/$1/bin/python" -m pytest -q -p no:cacheprovider "${@:2}" > out 2>&1 || true
    result=$(tail -1 out | sed 's/ in .*//')
    echo "pytest $1  ${*:2}  $result  $(grep -o "fixture 'f' not found" out || true)"
    results+=("$result")
}

results=()
run 9.1.1 a/test_x.py a/test_y.py test_b.py
run 9.1.1 a/test_x.py test_b.py a/test_y.py
run 8.3.5 a/test_x.py test_b.py a/test_y.py
[ "${results[*]}" = "3 passed 2 passed, 1 error 3 passed" ]
