# Two commands: `make demo` and `make test`. Each makes its own environment; neither needs more than Python 3.10, a C
# compiler and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types clean warnings sanitize valgrind fuzz arm disassembly

demo: $(VENV)/demo.stamp
	$(BIN)/babar-tls demo

# What is mostly installed and hardly run goes two by two, and the rest, which uses all cores by itself, one by one. pyenv
# hides its interpreters behind shims that work for one version at a time: show tox the real ones.
LIGHT := lint|types|extra-(native|cli|bench|asyncpg|pg8000|sqlalchemy|otel|truststore)
TOX := PATH="$$(sh tools/interpreters)$$PATH" $(BIN)/tox

test: $(VENV)/tox.stamp
ifdef TOXARGS
	@$(TOX) run $(TOXARGS)
else
	@$(TOX) run-parallel --parallel 2 --parallel-no-spinner --skip-env '^(?!($(LIGHT))$$)'
	@$(TOX) run --skip-env '^($(LIGHT))$$'
endif

lint types: $(VENV)/tox.stamp
	$(BIN)/tox run -e $@

clean:
	rm -rf $(VENV) .tox build dist *.egg-info

$(VENV)/created.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "babar-tls needs Python 3.10 or later; say which: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/demo.stamp: $(VENV)/created.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[native,openssl,rustls,cli,demo]'
	@touch $@

$(VENV)/tox.stamp: $(VENV)/created.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'tox>=4.20'
	@touch $@

# The C helper on its own, without Python. Each target runs with the tools that there are, and says which it went without.

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

# libFuzzer where clang has it, else the driver's mutations under any compiler's sanitizers.
# An input of pbkdf2 is some hundred derivations: it gets a hundredth of the runs.
fuzz: | $(NATIVE_BUILD)
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

# Is a wipe still there after the optimizer? tests/native/test_wiping.py asks the same and judges the answer.
disassembly: | $(NATIVE_BUILD)
	$(CC) -std=c99 -O3 -c $(NATIVE)/pbkdf2.c -o $(NATIVE_BUILD)/pbkdf2.o
	objdump -d --no-show-raw-insn --disassemble=babar_pbkdf2_finish $(NATIVE_BUILD)/pbkdf2.o
