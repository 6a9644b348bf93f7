#!/usr/bin/env bash
# sentencex 1.0.32, Python 3.11.
#
# Behaviour: a sentence that goes on after a quotation which ends with a mark like ！ is kept whole in
# English, German and French, and cut in two in Japanese: behind 」, but in front of 』, so that the
# second sentence begins with a closing quotation mark. （） protects the same words. sentencex goes on
# if a lower-case letter follows, which Japanese has not, and 『』 is not among its pairs of marks.
#
# Output seen:
#   en  He cried “Great!” and left.
#   de  Er rief „Toll!“ und ging.
#   fr  Il cria « Super ! » et partit.
#   ja  彼は「すごい！」 | と言った。
#   ja  彼は『すごい！ | 』と言った。
#   ja  彼は（すごい！）と言った。
#
# The guess before: one sentence each; its README promises "quote-aware rules" and says that it
# prefers to leave two sentences together to a "sentence being split in middle".
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sentencex==1.0.32
cd "$folder"
export PYTHONUTF8=1
venv/bin/python - <<'PYTHON'
import sentencex

wanted = [
    ("en", ["He cried “Great!” and left."]),
    ("de", ["Er rief „Toll!“ und ging."]),
    ("fr", ["Il cria « Super ! » et partit."]),
    ("ja", ["彼は「すごい！」", "と言った。"]),
    ("ja", ["彼は『すごい！", "』と言った。"]),
    ("ja", ["彼は（すごい！）と言った。"]),
]
found = [(code, list(sentencex.segment(code, "".join(parts)))) for code, parts in wanted]
for code, parts in found:
    print(f"{code}  {' | '.join(parts)}")
raise SystemExit(found != wanted)
PYTHON
