"""Translates the lines of standard input with a `.tflite` file: `answers.py FILE`.

Prints the machine, then a line of JSON for each line: `greedy` and `beam`, with tokens, scores and
attention. Runs without TensorFlow and Keras.
"""

import json
import platform
import sys

from keras_attn_nmt.export.runner import TFLiteTranslator

translator = TFLiteTranslator(sys.argv[1])
print(json.dumps(platform.machine()))
for line in sys.stdin:
    text = line.rstrip("\n")
    answer = {}
    for search, beam_size in (("greedy", 1), ("beam", translator.metadata["beam_size"])):
        (found,) = translator([text], beam_size=beam_size)
        answer[search] = {
            "text": found.text,
            "tokens": found.target_tokens,
            "scores": found.token_scores.tolist(),
            "attention": found.attention.tolist(),
        }
    print(json.dumps(answer), flush=True)
