# Every target sets up what it needs: Python 3.11 to 3.13 with venv is enough. `make PYTHON=python3.12
# test` chooses the interpreter.
PYTHON ?= python3
BIN := .venv/bin
LOWEST := .venv-lowest/bin
NEXT := .venv-next/bin
TORCH := .venv-torch/bin
DOCS := .venv-docs/bin
BEAM := .venv-beam/bin
AUDIT := .venv-audit/bin
MODEL_TESTS := $(addprefix tests/test_,$(addsuffix .py, \
	attention averages cells decoder diverse_search encoder fit gradients losses masks metrics model products \
	quantized reading readout search))

# Python keeps what it compiles, also where the environment says not to: dozens of processes import
# TensorFlow.
export PYTHONDONTWRITEBYTECODE =

# In the order of the folders, exports first: the files with fewest tests are not the quickest ones.
PARALLEL := -n 2 --dist loadgroup --no-loadscope-reorder

# JAX compiles most of the time: once for both workers, and for the next run.
ON_JAX := KERAS_BACKEND=jax JAX_COMPILATION_CACHE_DIR=$(CURDIR)/build/jax \
	JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1

.PHONY: help demo docs test test-all test-release lint format test-lowest test-next test-jax \
	test-core-on-jax test-beam test-torch test-arm benchmark campaign sbom audit clean FORCE

help:
	@echo 'make demo         train a small model and look at its attention (build/demo)'
	@echo 'make docs         build the documentation (build/site)'
	@echo 'make test         linters, types and the tests that take seconds'
	@echo 'make test-all     linters, types and all tests'
	@echo 'make lint         linters and types alone'
	@echo 'make format       format the code'
	@echo 'make test-release what takes minutes a test: the whole tutorial'
	@echo 'make test-lowest  tests with the oldest supported dependencies (PYTHON: 3.11 or 3.12)'
	@echo 'make test-next    tests of the core with the newest keras-nightly'
	@echo 'make test-beam    tests of bulk translation on Apache Beam, in an environment of its own'
	@echo 'make test-jax     every test of the core on JAX'
	@echo 'make test-torch   tests of the core on PyTorch (a download of several GB)'
	@echo 'make test-arm     .tflite files on ARM64: emulated on Debian for x86-64, or as it is'
	@echo 'make benchmark    measure speed (CORPUS: folder with Multi30k; SHORT=1: a short form)'
	@echo 'make campaign     an hour of faults, kills and hostile input (SEED: 1; docs/reliability.md)'
	@echo 'make sbom         list all dependencies with hashes (build/requirements.txt, build/sbom.json)'
	@echo 'make audit        look them up in the advisories of PyPI'
	@echo 'make clean        remove everything that the other targets made'

demo: .venv/ready
	rm -rf build/demo
	$(BIN)/keras-attn-nmt demo --output build/demo

docs: .venv-docs/ready
	NO_MKDOCS_2_WARNING=1 $(DOCS)/mkdocs build --strict

# Two targets at once, each of which prints what it has to say at its end.
TWO := $(MAKE) --no-print-directory --jobs 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync)

# Tests are collected once, beside other work, for which Python compiles what they import. What is
# wrong with them is said when they run.
.venv/collected: .venv/ready
	@KERAS_BACKEND=tensorflow $(BIN)/python -m pytest --collect-only -q > /dev/null 2>&1 || :
	@touch $@

# What is left out here takes whole trainings, compilers, kills or full disks: see setup.cfg. JAX and
# Beam run one process each, as every process imports and compiles for itself.
test: .venv/ready
	+$(TWO) lint .venv-beam/ready .venv/collected
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest $(PARALLEL) -m 'not slow'
	+$(TWO) PARALLEL= test-core-on-jax test-beam

test-core-on-jax: .venv/ready
	$(ON_JAX) $(BIN)/python -m pytest $(PARALLEL) -m 'not slow' $(MODEL_TESTS)

test-all: lint
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest $(PARALLEL) -m 'not release'
	$(MAKE) test-core-on-jax
	$(MAKE) test-beam BEAM_TESTS=tests/export/test_client.py

# What depends on protobuf, too, of which Beam needs an older version: the client's messages.
BEAM_TESTS := -m 'not slow'
test-beam: .venv-beam/ready
	KERAS_BACKEND=tensorflow $(BEAM)/python -m pytest $(PARALLEL) $(BEAM_TESTS) tests/bulk \
		tests/export/test_client_faults.py tests/export/test_client_messages.py

# Before a release, with test-lowest, test-next, test-jax, test-torch and test-arm.
test-release: .venv/ready
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -m release

# Every case on JAX, too, where each compiles for seconds: before a release.
test-jax: .venv/ready
	$(ON_JAX) $(BIN)/python -m pytest $(PARALLEL) $(MODEL_TESTS)

# mypy cannot know of package_dir in setup.cfg, so it reads a copy that is laid out as installed.
lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/typed
	mkdir -p build/typed
	cp -R keras_attn_nmt build/typed/
	cp -R training export build/typed/keras_attn_nmt/
	cd build/typed && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache \
		-p keras_attn_nmt

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-lowest: .venv-lowest/ready
	KERAS_BACKEND=tensorflow $(LOWEST)/python -m pytest $(PARALLEL)
	$(ON_JAX) $(LOWEST)/python -m pytest $(PARALLEL) $(MODEL_TESTS)

test-arm: .venv/ready
	mkdir -p build/arm
	test "$$(uname -m)" = aarch64 || test -e build/arm/ready || \
		tests/arm/prepare.sh build/arm $(BIN)/python
	KERAS_BACKEND=tensorflow $(BIN)/python tests/arm/run.py build/arm

sbom: build/sbom.json

# What `pip install '.[all,jax]'` installs today; the package itself has no hash.
build/requirements.txt: .venv-audit/ready FORCE
	@mkdir -p build
	@echo 'Resolving all dependencies, which takes some minutes ...'
	@$(AUDIT)/pip-compile --quiet --allow-unsafe --strip-extras --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--extra all --extra jax --output-file - setup.cfg > $@.unfinished
	@sed '/^keras-attn-nmt @/d' $@.unfinished > $@
	@rm $@.unfinished

build/sbom.json: build/requirements.txt
	$(AUDIT)/cyclonedx-py requirements --output-reproducible -o $@ $<

FORCE:

audit: build/requirements.txt
	$(AUDIT)/pip-audit --disable-pip --requirement $<

.venv-audit/ready:
	@echo 'Installing the tools of sbom and audit ...'
	@$(PYTHON) -m venv --clear .venv-audit
	@$(AUDIT)/pip install --quiet 'cyclonedx-bom>=7,<8' 'pip-audit>=2.9,<3' 'pip-tools>=7.5,<8'
	@touch $@

# A newer pip first: the one that comes with Python 3.11 takes very long to choose versions
# that fit together. And no warnings: setuptools has one for the package lying in the root folder.
# Python compiles what it imports; to compile all of it takes almost as long as to install it.
.venv/ready: setup.cfg
	@echo 'Installing into .venv (TensorFlow among others, which takes some minutes) ...'
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install --quiet --upgrade pip
	@PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --no-compile --editable '.[dev]'
	@touch $@

# The extra `docs` of setup.cfg, without the package and TensorFlow: the sources are read, not run.
.venv-docs/ready: setup.cfg
	@echo 'Installing into .venv-docs ...'
	@$(PYTHON) -m venv --clear .venv-docs
	@$(DOCS)/pip install --quiet --upgrade pip
	@sed -n '/^docs =/,/^[a-z]* =/s/^    //p' setup.cfg > .venv-docs/requirements.txt
	@$(DOCS)/pip install --quiet --requirement .venv-docs/requirements.txt
	@touch $@

# Only what .venv does not have in the versions that the extra `beam` needs: its other packages are
# found there, as is pip.
.venv-beam/ready: .venv/ready
	@echo 'Installing Apache Beam into .venv-beam ...'
	@$(BIN)/python -m venv --clear --without-pip .venv-beam
	@$(BIN)/python -c 'import site; print(f"import site; site.addsitedir({site.getsitepackages()[0]!r})")' \
		> "$$($(BEAM)/python -c 'import site; print(site.getsitepackages()[0])')/venv.pth"
	@sed -n '/^beam =/,/^[a-z]* =/s/^    //p' setup.cfg > .venv-beam/requirements.txt
	@$(BEAM)/python -m pip install --quiet --no-compile --requirement .venv-beam/requirements.txt
	@touch $@

# The constraints are the dependencies of setup.cfg, those of dev aside, with == in place of >=.
.venv-lowest/ready: setup.cfg
	@echo 'Installing into .venv-lowest (TensorFlow among others, which takes some minutes) ...'
	@$(PYTHON) -m venv --clear .venv-lowest
	@$(LOWEST)/pip install --quiet --upgrade pip
	@sed -n '/^install_requires/,/^dev =/s/^ *\([A-Za-z0-9_-]*\)>=\([0-9.]*\).*/\1==\2/p' setup.cfg \
		> .venv-lowest/constraints.txt
	@PYTHONWARNINGS=ignore $(LOWEST)/pip install --quiet --editable '.[dev]' \
		--constraint .venv-lowest/constraints.txt
	@touch $@

# Before a release: the core's tests with the Keras to come.
test-next: .venv-next/ready
	KERAS_BACKEND=tensorflow $(NEXT)/python -m pytest $(PARALLEL) $(MODEL_TESTS)
	$(ON_JAX) $(NEXT)/python -m pytest $(PARALLEL) $(MODEL_TESTS)

# With its own environment: PyTorch brings CUDA along, and only Keras' third backend needs it.
test-torch: .venv-torch/ready
	CUDA_VISIBLE_DEVICES= KERAS_BACKEND=torch $(TORCH)/python -m pytest $(PARALLEL) \
		$(MODEL_TESTS) tests/test_hand_built.py

.venv-torch/ready: setup.cfg
	@echo 'Installing into .venv-torch (TensorFlow and PyTorch, which takes some minutes) ...'
	@$(PYTHON) -m venv --clear .venv-torch
	@$(TORCH)/pip install --quiet --upgrade pip
	@PYTHONWARNINGS=ignore $(TORCH)/pip install --quiet --editable '.[dev]' torch
	@touch $@

# keras-nightly is another distribution of the same package: one of them at a time.
.venv-next/ready: setup.cfg
	@echo 'Installing into .venv-next (TensorFlow among others, which takes some minutes) ...'
	@$(PYTHON) -m venv --clear .venv-next
	@$(NEXT)/pip install --quiet --upgrade pip
	@PYTHONWARNINGS=ignore $(NEXT)/pip install --quiet --editable '.[dev]'
	@$(NEXT)/pip uninstall --quiet --yes keras
	@$(NEXT)/pip install --quiet --no-deps --pre keras-nightly
	@touch $@

benchmark: .venv/ready
	@test -n "$(CORPUS)" || (echo 'make benchmark CORPUS=FOLDER, with train.de.gz and so on' >&2; exit 2)
	@test -n "$(SHORT)" || benchmarks/peers/install.sh
	$(BIN)/python benchmarks/run.py $(CORPUS) --work build/benchmark $(if $(SHORT),--short)

# An hour, on a machine with a C compiler. The model is that of `make demo`.
SEED ?= 1
campaign: .venv/ready .venv-beam/ready
	test -e build/demo/report.json || $(MAKE) demo
	$(BIN)/python benchmarks/campaign.py build/demo/model --work build/campaign --seed $(SEED) \
		--beam-python $(CURDIR)/$(BEAM)/python

clean:
	rm -rf .venv .venv-audit .venv-beam .venv-docs .venv-lowest .venv-next .venv-torch build dist *.egg-info \
		.pytest_cache .mypy_cache .ruff_cache
