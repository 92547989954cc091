# A thin front: CMake builds, build/moongate does the rest.
#   make run      install what is missing, build, start conf/gateway.yaml with a demo upstream
#   make test     install what is missing, build, run every test
#   make lint     format, luacheck, clang-tidy      make format   put it right
#   make asan     every test under ASan and UBSan    make fuzz     60 s a parser
#   make bench    side by side with other gateways   make soak     long loops, large bodies
.PHONY: all build run test lint format asan fuzz bench soak clean

all: build

build/build.ninja:
	@.ci/install build
	@cmake --preset release -DMOONGATE_TESTS=$$(pkg-config --exists cmocka && echo ON || echo OFF) >/dev/null

build: build/build.ninja
	@cmake --build build --target moongate

run: build
	@examples/demo/start

test:
	@.ci/install test
	@cmake --preset release -DMOONGATE_TESTS=ON >/dev/null
	@cmake --build build
	@ctest --test-dir build --output-on-failure
	@build/moongate spec

lint:
	@.ci/install ci
	@cmake --preset release -DMOONGATE_TESTS=ON >/dev/null
	@clang-format-14 --dry-run -Werror $$(find runtime -name '*.[ch]')
	@luacheck --quiet --no-color lua plugins spec examples
	@.ci/tidy

format:
	@clang-format-14 -i $$(find runtime -name '*.[ch]')

# Slices have no end mark, so strict_string_checks stays off; a report ends the process, and with it
# the test. Stacks of coroutines would confuse detect_stack_use_after_return.
asan: export ASAN_OPTIONS = detect_stack_use_after_return=0:strict_string_checks=0:detect_leaks=1:halt_on_error=1
asan: export LSAN_OPTIONS = print_suppressions=0
asan: export UBSAN_OPTIONS = print_stacktrace=1:halt_on_error=1
asan:
	@.ci/install test
	@cmake --preset asan >/dev/null
	@cmake --build build-asan
	@ctest --test-dir build-asan --output-on-failure
	@build-asan/moongate spec

fuzz:
	@.ci/install ci
	@runtime/fuzz/run.sh

bench: build
	@bench/run

soak: build
	@build/moongate spec spec/soak

clean:
	@rm -rf build build-dev build-asan .cache
