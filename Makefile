# A thin face on CMake. `make` installs what is missing (Debian's packages) and builds build/unet.
BUILD ?= build
JOBS  ?= $(shell nproc)
PREFIX ?= /usr/local
MAKEFLAGS += --no-print-directory

PACKAGES = build-essential cmake pkg-config libzip-dev zlib1g-dev libpng-dev libjpeg62-turbo-dev \
           libtiff-dev libjansson-dev libxxhash-dev
TEST_PACKAGES = libcmocka-dev python3-venv
FUZZ_PACKAGES = clang libclang-rt-dev
VENV = $(BUILD)/venv
PYTEST = UNET_PROGRAM=$(abspath $(BUILD)/unet) $(VENV)/bin/python -m pytest -q -p no:cacheprovider

.PHONY: all configure packages test-packages fuzz-packages demo test test-cli test-gpu bench install clean

all: $(BUILD)/Makefile
	@cmake --build $(BUILD) -j$(JOBS)

$(BUILD)/Makefile: | packages
	@cmake -S . -B $(BUILD) -DCMAKE_INSTALL_PREFIX=$(PREFIX) -DUNET_TESTS=OFF $(CMAKE_FLAGS)

packages:
	@scripts/packages $(PACKAGES)

test-packages:
	@scripts/packages $(PACKAGES) $(TEST_PACKAGES)

fuzz-packages:
	@scripts/packages $(PACKAGES) $(TEST_PACKAGES) $(FUZZ_PACKAGES)

demo: all
	@demo/run $(BUILD)/unet

$(VENV)/done: tests/cli/requirements.txt | test-packages
	@python3 -m venv $(VENV)
	@$(VENV)/bin/pip install -q -r tests/cli/requirements.txt
	@touch $@

# What times itself runs alone, all else as many at once as there are cores.
test: test-packages $(VENV)/done
	@cmake -S . -B $(BUILD) -DCMAKE_INSTALL_PREFIX=$(PREFIX) -DUNET_TESTS=ON $(CMAKE_FLAGS)
	@cmake --build $(BUILD) -j$(JOBS)
	@[ -d ../shared/models ] || echo "../shared is not there: tests on the large checkpoints do not run" >&2
	@cd $(BUILD) && ctest -j$(JOBS) --output-on-failure
	@$(PYTEST) -n $(JOBS) --dist worksteal --ignore tests/cli/test_timing.py tests/cli
	@$(PYTEST) tests/cli/test_timing.py

# Every kernel of the GPU against the scalar reference.
test-gpu: test-packages
	@cmake -S . -B $(BUILD) -DCMAKE_INSTALL_PREFIX=$(PREFIX) -DUNET_TESTS=ON $(CMAKE_FLAGS)
	@cmake --build $(BUILD) -j$(JOBS) --target gpu-tests
	@$(BUILD)/tests/gpu-tests

bench: all
	@bench/run $(BUILD)/unet

install: all
	@cmake -S . -B $(BUILD) -DCMAKE_INSTALL_PREFIX=$(PREFIX) $(CMAKE_FLAGS) >/dev/null
	@cmake --install $(BUILD)

clean:
	@rm -rf $(BUILD)
