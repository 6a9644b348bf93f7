#!/usr/bin/env bash
# subword-nmt 0.3.8, Python 3.11.
#
# Behaviour: `subword-nmt apply-bpe --dropout 0.1 --seed 5` segments the same text in another way in
# each run: the command takes --seed, which its help names for BPE dropout, and never reads it.
# `python -m subword_nmt.apply_bpe` with the same arguments reads it, but not for --num-workers 2,
# where each run differs, too. (subword_nmt.py has a copy of the main program of apply_bpe.py, in
# which the call of random.seed and the workers are missing.)
#
# Output seen (different results of five runs):
#   subword-nmt apply-bpe                            5
#   python -m subword_nmt.apply_bpe                  1
#   python -m subword_nmt.apply_bpe --num-workers 2  5
#
# The guess before: one result, as the README says of `subword-nmt apply-bpe`: "In order to obtain
# reproducible results, argument `--seed` can be used to set the random seed."
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check subword-nmt==0.3.8
cd "$folder"
for animal in dog cat bird horse child; do
    for place in river mountain village garden station; do
        echo "the $animal sees a small house near the $place"
    done
done > text
venv/bin/subword-nmt learn-bpe -s 60 < text > codes 2> learning

results() {
    for run in 1 2 3 4 5; do
        "$@" -c codes -i text -o "segmented.$run" --dropout 0.1 --seed 5 2>> errors
    done
    sha256sum segmented.* | cut -d ' ' -f 1 | sort -u | wc -l
}

command=$(results venv/bin/subword-nmt apply-bpe)
module=$(results venv/bin/python -m subword_nmt.apply_bpe)
workers=$(results venv/bin/python -m subword_nmt.apply_bpe --num-workers 2)
echo "subword-nmt apply-bpe                            $command"
echo "python -m subword_nmt.apply_bpe                  $module"
echo "python -m subword_nmt.apply_bpe --num-workers 2  $workers"
test "$command" -gt 1 && test "$module" = 1
