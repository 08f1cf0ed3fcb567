# The few commands one needs. `make` lists them; CONTRIBUTING.md says more.
# Every step runs through scripts/step, which prints its heading, its time, and its name when it fails.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# A step writes to the terminal and to one target directory; two at once would only wait for each other.
.NOTPARALLEL:

# What is built lies outside the working tree, so that a backup skips it. Every clone has a directory of its own: to cargo
# the same package in two clones is one, and it would take what was built of one for the other's.
TYCOON_CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tycoon
CARGO_TARGET_DIR ?= $(TYCOON_CACHE)/target-$(shell pwd -P | sha256sum | cut -c 1-12)
# rustup's directory, also where a shell was opened before rustup was installed, and the tools of scripts/tool.
export PATH := $(TYCOON_CACHE)/tools/bin:$(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)
export CARGO_TARGET_DIR
export TYCOON_CACHE

step := @scripts/step

.PHONY: help
help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: try
try: packages toolchain build ## build Tycoon and bring up a first pool on simulated hosts
	$(step) "the first pool: bin/tycoon up examples/hello.kdl" bin/tycoon up examples/hello.kdl
	@echo
	@echo "The pool is up. Go on with:"
	@echo "  bin/tycoon status        what runs, and what it costs"
	@echo "  bin/tycoon down hello    stop it and get the rest of the money back"
	@echo "  bin/tycoon help          everything else"

.PHONY: test
test: test-quick ## check everything: format, lints, dependencies, documentation, tests, and real Xen hosts
	$(step) "real Xen hosts" scripts/lab-tests

# The tests come last, so that their summary is the last thing on the screen.
.PHONY: test-quick
test-quick: packages toolchain ## the same without the lab of real Xen hosts
	$(step) "space on the disk" scripts/space 8
	$(step) "format" cargo fmt --all --check
	$(step) "lints" cargo clippy --locked --workspace --all-targets -- -D warnings
	$(step) "lints of the shell scripts" scripts/shell-lints
	$(step) "lints of the rooms that take no host with them" \
	  cargo clippy --locked -p tycoon-xen -p tycoon-planner -p tycoon-executor --lib -- -D warnings
	$(step) "dependencies" scripts/dependencies
	$(step) "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
	$(step) "examples in the documentation" cargo test --locked --workspace --doc
	$(step) "tests" scripts/tests

.PHONY: build
build: ## build the program and link it as bin/tycoon
	$(step) "space on the disk" scripts/space 3
	$(step) "build" cargo build --locked
	@mkdir -p bin
	@ln -sfn "$$(realpath "$$CARGO_TARGET_DIR")/debug/tycoon" bin/tycoon

.PHONY: install
install: packages toolchain ## build with all optimisations and install into cargo's bin directory
	$(step) "install" cargo install --locked --path .

.PHONY: deb
deb: packages toolchain ## build the Debian package
	$(step) "Debian package" scripts/deb

.PHONY: fmt
fmt: ## format all code
	$(step) "format" cargo fmt --all

.PHONY: lint
lint: ## check format and lints only
	$(step) "format" cargo fmt --all --check
	$(step) "lints" cargo clippy --locked --workspace --all-targets -- -D warnings

.PHONY: doc
doc: ## build the documentation of all crates
	$(step) "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
	@echo "Open $$(realpath "$$CARGO_TARGET_DIR")/doc/tycoon/index.html"

.PHONY: bench
bench: ## run the benchmarks
	$(step) "benchmarks" cargo bench --locked --workspace

.PHONY: packages
packages: ## install the Debian packages that a build needs
	$(step) "packages" scripts/packages

.PHONY: toolchain
toolchain: ## check for the Rust toolchain of rust-toolchain.toml
	$(step) "toolchain" scripts/toolchain

# Where the lab cannot run, it says so in a line that begins with SKIPPED, and ends with 77.
.PHONY: lab
lab: ## bring up real Xen hosts under emulation (HOSTS=2 PROFILE=fast)
	@tests/lab/lab up --profile $(or $(PROFILE),fast) $(or $(HOSTS),2) || [ $$? -eq 77 ]

.PHONY: lab-down
lab-down: ## stop the lab's hosts and forget what was on them
	@tests/lab/lab down

.PHONY: lab-ssh
lab-ssh: ## open a shell on a host of the lab (HOST=1)
	@tests/lab/lab ssh $(or $(HOST),1)

.PHONY: target-dir
target-dir: ## print the directory of what is built
	@echo "$$CARGO_TARGET_DIR"

.PHONY: clean
clean: ## remove what was built, not the pools and not the money
	cargo clean
	rm -f bin/tycoon
