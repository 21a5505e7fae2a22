# llamachat: `make chat` talks, `make test` checks everything. Both set up .venv on first use.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL ?=
ARGS ?=

CORE := $(shell find native -name '*.[ch]' -o -name '*.py') setup.py
OBJECTS := $(patsubst native/%.c,build/core/%.o,$(filter %.c,$(CORE)))
WARNINGS := -std=c11 -O3 -Wall -Wextra -Werror

.PHONY: chat test lint types contracts core tests sanitized sanitize fuzz format pictures clean

# ---- use ----------------------------------------------------------------

chat: $(VENV)/installed
	$(if $(MODEL),,@$(BIN)/llamachat pull --if-missing)
	@$(BIN)/llamachat $(if $(MODEL),--model "$(MODEL)") $(ARGS)

# ---- check --------------------------------------------------------------

test: lint types contracts core tests

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

contracts: $(VENV)/installed-dev
	$(BIN)/lint-imports

core: $(OBJECTS)

build/core/%.o: native/%.c $(filter %.h,$(CORE))
	@mkdir -p $(@D)
	$(CC) $(WARNINGS) -pthread -Inative -c $< -o $@

# The tests that need the default model say so and are skipped where it cannot be fetched.
tests: $(VENV)/installed-dev
	-$(BIN)/llamachat pull --if-missing
	$(BIN)/python -m pytest $(ARGS)

# The C core under AddressSanitizer and UBSan: a copy of the package with its own build, and the tests that compute
# or hand it broken models.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
SANITIZED := LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
sanitized: $(VENV)/installed-dev
	rm -rf build/sanitize
	LLAMACHAT_CFLAGS="$(SANITIZE) -g -O1" LLAMACHAT_LDFLAGS="$(SANITIZE)" \
		$(BIN)/python setup.py --quiet build --build-base build/sanitize --build-lib build/sanitize/lib

sanitize: sanitized
	$(SANITIZED) $(BIN)/python -m pytest --capture=no -o pythonpath="build/sanitize/lib ." tests/native tests/engine \
		tests/hostile/test_hostile.py $(ARGS)

# Models spoiled at random, through the readers and that core: make fuzz ARGS="--minutes 10 --seed 7". Freed memory is
# set aside up to 16 MB, not 256, so that the memory gained is seen.
fuzz: sanitized
	$(SANITIZED):quarantine_size_mb=16 PYTHONPATH=build/sanitize/lib:. $(BIN)/python -P -m tests.hostile.fuzz $(ARGS)

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The README's pictures, drawn from the running program with the default model.
pictures: $(VENV)/installed
	$(BIN)/python docs/pictures.py

# ---- set up -------------------------------------------------------------

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "llamachat needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml $(CORE)
	@echo "Setting up llamachat in $(VENV): packages and the C core. This takes a minute, once."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "Adding what the tests need."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info llamachat/_native.*so .mypy_cache .pytest_cache .ruff_cache
