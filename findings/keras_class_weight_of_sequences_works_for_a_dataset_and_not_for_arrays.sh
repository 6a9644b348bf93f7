#!/usr/bin/env bash
# keras 3.15.1 with tensorflow 2.21.0, Python 3.11.
#
# Behaviour: according to the documentation of `fit`, class_weight needs labels that are one-hot or
# have a last dimension of 1, if their rank is 2 or greater. With labels of sequences in either shape,
# a `tf.data.Dataset` gives each token the weight of its class. The same labels as arrays raise
# TypeError, as Keras converts the classes of a whole sentence to one integer. Integer labels of shape
# (batch, length), the usual ones for sparse crossentropy, are read as one-hot rows: the class of a
# sentence is the position of its largest id. The weights have shape (batch,), and the loss raises an
# error, unless this broadcasts to (batch, length): in a batch of one sentence, the loss is wrong
# without an error.
#
# Output seen (every sentence has the labels 7 2 1; loss with a weight of 10 for one class, divided
# by the loss without; class 7 should give (10 + 1 + 1) / 3 = 4.0; class 0 does not occur, so 1.0):
#                                   class 7     class 0
#   dataset, labels (1, 3, 1)       4.0         1.0
#   dataset, one-hot (1, 3, 8)      4.0         1.0
#   arrays, labels (1, 3, 1)        TypeError   TypeError
#   arrays, one-hot (1, 3, 8)       TypeError   TypeError
#   arrays, labels (1, 3)           1.0         10.0
#   dataset, labels (1, 3)          1.0         10.0
#   arrays, labels (2, 3)           ValueError  ValueError
#
# The guess before: arrays and a dataset of the same labels give the same loss, in which each token
# has the weight of its class.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 tensorflow==2.21.0
cd "$folder"
export KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
cat > weights.py <<'PYTHON'
import keras
import numpy as np
import tensorflow as tf

CLASSES = 8


def loss(labels, class_weight, from_dataset):
    inputs = np.ones(labels.shape[:2], "int32")
    one_hot = labels.shape[-1] == CLASSES
    model = keras.Sequential(
        [keras.layers.Embedding(CLASSES, CLASSES, embeddings_initializer="zeros")]
        + [keras.layers.Softmax()]
    )
    model.compile(
        "sgd", "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    )
    if from_dataset:
        dataset = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(len(labels))
        history = model.fit(dataset, class_weight=class_weight, shuffle=False, verbose=0)
    else:
        history = model.fit(
            inputs, labels, batch_size=len(labels), class_weight=class_weight, verbose=0
        )
    return history.history["loss"][0]


def ratio(labels, heavy, from_dataset):
    class_weight = {number: 10.0 if number == heavy else 1.0 for number in range(CLASSES)}
    try:
        return f"{loss(labels, class_weight, from_dataset) / loss(labels, None, from_dataset):.1f}"
    except (TypeError, ValueError) as error:
        return type(error).__name__


sentence = np.array([[7, 2, 1]])
print(f"{'':31} class 7     class 0")
for from_dataset, name, labels in (
    (True, "labels", sentence[..., None]),
    (True, "one-hot", np.eye(CLASSES)[sentence]),
    (False, "labels", sentence[..., None]),
    (False, "one-hot", np.eye(CLASSES)[sentence]),
    (False, "labels", sentence),
    (True, "labels", sentence),
    (False, "labels", np.repeat(sentence, 2, axis=0)),
):
    title = f"{'dataset' if from_dataset else 'arrays'}, {name} {labels.shape}"
    print(f"{title:31} {ratio(labels, 7, from_dataset):11} {ratio(labels, 0, from_dataset)}")
PYTHON
venv/bin/python weights.py | tee found
diff found - <<'FOUND'
                                class 7     class 0
dataset, labels (1, 3, 1)       4.0         1.0
dataset, one-hot (1, 3, 8)      4.0         1.0
arrays, labels (1, 3, 1)        TypeError   TypeError
arrays, one-hot (1, 3, 8)       TypeError   TypeError
arrays, labels (1, 3)           1.0         10.0
dataset, labels (1, 3)          1.0         10.0
arrays, labels (2, 3)           ValueError  ValueError
FOUND
