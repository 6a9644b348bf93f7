#!/usr/bin/env bash
# sacrebleu 2.6.0 with numpy 2.4.6 (what pip chooses for it), and with numpy 1.26.4, Python 3.11.
#
# Behaviour: `sacrebleu REFERENCE -i A B -m chrf --paired-bs` raises TypeError ("Object of type
# float32 is not JSON serializable") after all the work and prints no result; the same with TER.
# Statistics are float32, and since numpy 2 (NEP 50) they stay float32 when they meet a Python float.
# BLEU works, and so does -f text. With numpy 1.26.4 they become float64, which json writes.
#
# Output seen (format: JSON, which is the default):
#   numpy   BLEU  chrF       TER
#   2.4.6   ok    TypeError  TypeError
#   1.26.4  ok    ok         ok
#
# The guess before: a test that works for BLEU works for the other metrics, in the default format.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset SACREBLEU_SEED SACREBLEU_FORMAT
for version in 2.4.6 1.26.4; do
    python3 -m venv "$version"
    "$version/bin/pip" install --quiet --disable-pip-version-check sacrebleu==2.6.0 numpy==$version
done
for name in dog cat bird horse child; do
    echo "the $name sees a small house near the river" >> reference
    echo "the $name sees a large house near the river" >> a
    echo "the $name saw a small house near a river" >> b
done

tried() {
    if "$1/bin/sacrebleu" reference -i a b -m "$2" --paired-bs > out 2> errors; then
        grep -q p_value out && echo ok
    else
        grep -q '^TypeError: .*float32 is not JSON serializable' errors && echo TypeError
    fi
}

result=
printf '%-7s %-5s %-10s %s\n' numpy BLEU chrF TER
for version in 2.4.6 1.26.4; do
    row=("$(tried $version bleu)" "$(tried $version chrf)" "$(tried $version ter)")
    printf '%-7s %-5s %-10s %s\n' "$version" "${row[@]}"
    result+="${row[*]} "
done
test "$result" = 'ok TypeError TypeError ok ok ok '
