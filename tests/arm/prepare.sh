#!/usr/bin/env bash
# Unpacks what runs a .tflite file on emulated ARM64: prepare.sh FOLDER [PYTHON]
#
# FOLDER/bin/python PROGRAM runs ARM64 Python of Debian with LiteRT, NumPy and SentencePiece, on
# the processor that QEMU_CPU names. Needs Debian's apt on x86-64, and no root.
set -euo pipefail
mkdir -p "$1"
folder=$(cd "$1" && pwd)
python=${2:-python3}
# qemu 7.2, which bookworm has, shows the host's /proc/cpuinfo and computes SME wrongly.
release=bookworm

mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' |
    awk -v release="$release" '$2 == release && $3 == "main" { print $1; exit }')
if [ -z "$mirror" ]; then
    echo "The sources of apt name no Debian $release, which ARM64 packages are taken of." >&2
    exit 1
fi

# apt as of another machine, whose state is all in the folder.
mkdir -p "$folder"/apt/{state/lists,cache/archives}/partial "$folder"/{bin,arm64,qemu,wheels}
touch "$folder/apt/status"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
for suite in "$release" "$release-backports"; do
    echo "deb [arch=amd64,arm64 signed-by=$keys] $mirror $suite main"
done >"$folder/apt/sources.list"
apt=(apt-get -qq -o "Dir::State=$folder/apt/state" -o "Dir::State::status=$folder/apt/status"
    -o "Dir::Cache=$folder/apt/cache" -o "Dir::Etc::sourcelist=$folder/apt/sources.list"
    -o Dir::Etc::sourceparts=- -o "APT::Sandbox::User=$(id -un)" -o APT::Architecture=arm64
    -o APT::Architectures::=arm64 -o APT::Architectures::=amd64)
"${apt[@]}" update
"${apt[@]}" install --download-only -y --no-install-recommends \
    python3.11-minimal libpython3.11-stdlib libstdc++6 >/dev/null
for package in "$folder"/apt/cache/archives/*.deb; do
    dpkg-deb --extract "$package" "$folder/arm64"
done
(cd "$folder/apt/cache" && "${apt[@]}" download "qemu-user:amd64/$release-backports" >/dev/null)
dpkg-deb --extract "$folder"/apt/cache/qemu-user_*.deb "$folder/qemu"

"$python" -m pip install --quiet --upgrade --target "$folder/wheels" --only-binary=:all: \
    --implementation cp --python-version 3.11 --platform manylinux_2_28_aarch64 \
    --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 \
    --platform manylinux2014_aarch64 ai-edge-litert numpy sentencepiece

cat >"$folder/bin/python" <<END
#!/bin/sh
export PYTHONHOME="$folder/arm64/usr" PYTHONPATH="$folder/wheels:\$PYTHONPATH" PYTHONDONTWRITEBYTECODE=1
exec "$folder/qemu/usr/bin/qemu-aarch64" -L "$folder/arm64" "$folder/arm64/usr/bin/python3.11" "\$@"
END
chmod +x "$folder/bin/python"
touch "$folder/ready"
