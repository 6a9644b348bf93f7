#!/usr/bin/env bash
# keras 3.15.1, h5py 3.14.0, numpy 2.4.6, Python 3.11, Linux with a C compiler. The disk is simulated
# by a library that lets one write to the file fail (EIO), as a faulty disk or a network file
# system may.
#
# Behaviour: `model.save_weights("k.weights.h5")` returns as usual although a write of its file
# failed; the error only becomes "Exception ignored in ObjectID.__dealloc__" on stderr. The file is
# loaded without a word, with other weights in one layer. (What runs at the exit of Python ends with
# a segmentation fault then, so this script leaves without.)
#
# Output seen:
#   write 42 failed
#   saving: no exception
#   loading: no exception, 1 of 60 weights are others
#
# The guess before: h5py raises an OSError for a write that failed, as it does for others of this
# file, and Keras passes it on.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cd "$folder"
venv/bin/pip install --quiet --disable-pip-version-check keras==3.15.1 h5py==3.14.0 numpy==2.4.6 \
  scipy==1.17.1 jax==0.10.2
cat > disk.c <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int writes;

/* Whether this write is to a .h5 file, and the one that fails. It is also said. */
static int fails(int descriptor) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path);
    if (size < 3 || strncmp(path + size - 3, ".h5", 3)) return 0;
    writes++;
    const char *chosen = getenv("FAILING_WRITE");
    if (!chosen || writes != atoi(chosen)) return 0;
    dprintf(1, "write %d failed\n", writes);
    errno = EIO;
    return 1;
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off64_t place) {
    static ssize_t (*next)(int, const void *, size_t, off64_t);
    if (!next) next = dlsym(RTLD_NEXT, "pwrite64");
    return fails(descriptor) ? -1 : next(descriptor, bytes, size, place);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t place) {
    return pwrite64(descriptor, bytes, size, place);
}
C
cc -shared -fPIC -o disk.so disk.c -ldl
cat > model.py <<'PYTHON'
import os
import sys

import keras

keras.utils.set_random_seed(1)
layers = [keras.layers.Dense(64) for _ in range(30)]
model = keras.Sequential([keras.Input((64,)), *layers])
wanted = model.get_weights()
try:
    if sys.argv[1] == "saving":
        model.save_weights("k.weights.h5")
    else:
        model.set_weights([each + 1 for each in wanted])
        model.load_weights("k.weights.h5")
    found = "no exception"
except Exception as error:
    found = type(error).__name__
if sys.argv[1] == "loading":
    pairs = zip(wanted, model.get_weights(), strict=True)
    found += f", {sum((a != b).any() for a, b in pairs)} of {len(wanted)} weights are others"
print(f"{sys.argv[1]}: {found}", flush=True)
os._exit(0)
PYTHON
export KERAS_BACKEND=numpy
{
  FAILING_WRITE=42 LD_PRELOAD="$folder/disk.so" venv/bin/python model.py saving
  venv/bin/python model.py loading
} 2> messages > found
grep -q 'Exception ignored' messages
cat found
diff found - <<'FOUND'
write 42 failed
saving: no exception
loading: no exception, 1 of 60 weights are others
FOUND
