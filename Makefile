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
	@examples/demo/run

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
	@luacheck --quiet lua plugins spec examples
	@.ci/tidy

format:
	@clang-format-14 -i $$(find runtime -name '*.[ch]')

asan:
	@.ci/install test
	@cmake --preset asan >/dev/null
	@cmake --build build-asan
	@ASAN_OPTIONS=detect_stack_use_after_return=0:abort_on_error=0 ctest --test-dir build-asan --output-on-failure
	@build-asan/moongate spec

fuzz:
	@.ci/install ci
	@runtime/fuzz/run.sh

bench: build
	@bench/run

soak: build
	@build/moongate spec spec/soak

clean:
	@rm -rf build build-dev build-asan
