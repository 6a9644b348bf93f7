"""A translator of a few lines around a `.tflite` file: what an app in any language has to do.

    python translate_on_device.py demo.tflite "zweiundvierzig"

Needs ai-edge-litert, NumPy and sentencepiece, and nothing of keras_attn_nmt.
"""

import json
import pathlib
import sys
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from sentencepiece import SentencePieceProcessor

END = 2
# Soft hyphen, zero-width space, word joiner, byte order mark, and marks of direction.
INVISIBLE = (
    "\u00ad\u200b\u2060\ufeff"
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)

if len(sys.argv) != 3:
    sys.exit(__doc__)
path, text = pathlib.Path(sys.argv[1]), sys.argv[2]
metadata = json.loads(zipfile.ZipFile(path).read("metadata.json"))
if metadata.get("text"):
    sys.exit("This file takes text itself: see docs/devices.md, Text in, text out.")
source = SentencePieceProcessor(str(path.parent / metadata["source_vocabulary"]))
target = SentencePieceProcessor(str(path.parent / metadata["target_vocabulary"]))

if not "".join(each for each in text if each not in INVISIBLE).strip():
    sys.exit()  # Nothing to translate.
ids = [*source.encode(text), END]
if len(ids) > metadata["max_source_length"]:
    sys.exit(f"{len(ids)} tokens, and the file takes {metadata['max_source_length']}: split it.")
source_ids = np.zeros((1, metadata["max_source_length"]), "int32")
source_ids[0, : len(ids)] = ids

translate = Interpreter(str(path)).get_signature_runner("translate")
found = translate(source_ids=source_ids)

tokens = [int(token) for token in found["target_ids"][0] if token]
print(target.decode([token for token in tokens if token != END]))
print(f"score {found['score'][0]:.3f}")
for place, token in enumerate(tokens):
    weights = found["attention"][0, place, : len(ids)]
    seen = source.id_to_piece(ids[int(weights.argmax())])
    print(f"{target.id_to_piece(token):12} looked at {seen:12} {weights.max():.2f}")
