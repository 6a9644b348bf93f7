#!/usr/bin/env bash
# Installs every peer that the registry has for this Python into an environment of its own under
# benchmarks/peers/.venv (PYTHON chooses the interpreter: 3.11). A peer that cannot be installed is named and left out.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
PYTHON=${PYTHON:-python3}

install() {  # NAME PIP_ARGUMENTS...
    local name=$1
    shift
    if [ -e ".venv/$name/ready" ]; then return; fi
    "$PYTHON" -m venv --clear ".venv/$name" \
        && ".venv/$name/bin/pip" install --quiet --upgrade pip \
        && ".venv/$name/bin/pip" install --quiet "$@" \
        && touch ".venv/$name/ready" \
        && echo "$name: installed" \
        || echo "$name: could not be installed" >&2
}

# JoeyNMT 2.3.0 does not declare importlib_metadata, and needs SetVocabulary of sentencepiece.
install joeynmt torch==2.13.0 joeynmt==2.3.0 importlib_metadata sentencepiece==0.2.0
install opennmt_tf 'tensorflow-cpu==2.13.*' OpenNMT-tf==2.32.0
# The dependencies that OpenNMT-py declares contradict torch 2.13; these are those it imports.
install opennmt_py torch==2.13.0 configargparse ctranslate2 pyonmttok rapidfuzz flask waitress \
    pyahocorasick fasttext-wheel spacy sacrebleu tensorboard sentencepiece pyyaml six
[ -e .venv/opennmt_py/ready ] && .venv/opennmt_py/bin/pip install --quiet --no-deps OpenNMT-py==3.5.1
install marian pymarian==1.12.42 sentencepiece
# Aligns words, for alignment.py.
install eflomal eflomal==2.0.0 nltk==3.10.4
