#!/usr/bin/env bash
# sentencex 1.0.32, Python 3.11.
#
# Behaviour: `segment` returns two sentences of Khmer (km), which end with U+17D4, as one, and
# likewise two of Tibetan (bo) and Dzongkha (dz), which end with U+0F0D. It divides at the marks of
# Hindi, Amharic, Burmese, Armenian, Urdu and Santali.
#
# Output seen, sentences found of two:
#   km 1, bo 1, dz 1
#   hi 2, am 2, my 2, hy 2, ur 2, sat 2
#
# The guess before: two of each. The package describes itself as a segmenter for some 300 languages,
# and these marks, khan and shad, end sentences in Khmer and Tibetan texts. As it is, a translator
# that was trained on sentences gets a whole paragraph at once.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sentencex==1.0.32
"$folder/venv/bin/python" - <<'PYTHON'
import sentencex

TEXTS = {
    "km": "នេះជាផ្ទះ។ នោះជាសៀវភៅ។",
    "bo": "འདི་ཁང་པ་རེད། དེ་དཔེ་ཆ་རེད།",
    "dz": "འདི་ཁྱིམ་ཨིན། འདི་དཔེ་དེབ་ཨིན།",
    "hi": "यह घर है। वह किताब है।",
    "am": "ይህ ቤት ነው። ያ መጽሐፍ ነው።",
    "my": "ဒါကအိမ်ပါ။ ဒါကစာအုပ်ပါ။",
    "hy": "Սա տուն է։ Սա գիրք է։",
    "ur": "یہ گھر ہے۔ وہ کتاب ہے۔",
    "sat": "ᱱᱚᱣᱟ ᱚᱲᱟᱜ ᱠᱟᱱᱟ᱾ ᱚᱱᱟ ᱯᱩᱛᱷᱤ ᱠᱟᱱᱟ᱾",
}
found = {code: len(list(sentencex.segment(code, text))) for code, text in TEXTS.items()}
print(", ".join(f"{code} {count}" for code, count in found.items()))
assert found == {code: 1 if code in ("km", "bo", "dz") else 2 for code in TEXTS}, found
PYTHON
