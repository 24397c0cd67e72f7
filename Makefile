# Two commands matter to a newcomer: `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
ROOT := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))
.PHONY: help demo test test-deps lint fmt bench bench-quick bench-long bench-build bench-deps bench-models release audit loom fuzz fuzz-build

help: ## lists the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: ## builds and runs the engine on the embedded store with a small simulated market
	cd $(ROOT) && cargo build --release --workspace --bin mlinzi --bin mlinzi-sim && exec $${CARGO_TARGET_DIR:-target}/release/mlinzi demo

test-deps: ## installs what the tests need on a bare Debian (root), or says what is missing
	$(ROOT)scripts/install-test-deps.sh

test: test-deps ## everything: format, lints, all tests against private servers, the real files where they are
	cd $(ROOT) && cargo fmt --all --check
	cd $(ROOT) && cargo clippy --workspace --all-targets -- -D warnings
	cd $(ROOT) && cargo build --workspace --all-targets
	cd $(ROOT) && scripts/with-postgres.sh scripts/run-tests.sh

lint: ## format and lints
	cd $(ROOT) && cargo fmt --all --check && cargo clippy --workspace --all-targets -- -D warnings

fmt: ## formats
	cd $(ROOT) && cargo fmt --all

# a build of its own, of two to three minutes, for seconds of tests: that is why `make test` leaves it to `make audit`
loom: ## the index under every order of steps that loom finds
	cd $(ROOT) && RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$${CARGO_TARGET_DIR:-target}/loom cargo test -p engine --release --lib loom

FUZZ_SECONDS ?= 600
FUZZ_TARGETS := token phone mapping ndjson evidence
# libFuzzer's instrumentation is a flag of nightly compilers; the pinned one takes it when told to
FUZZ_CARGO := RUSTC_BOOTSTRAP=1 cargo fuzz

fuzz: fuzz-build ## every target of fuzz/ for FUZZ_SECONDS each (600); NAME=… for one
	cd $(ROOT)fuzz && for target in $(or $(NAME),$(FUZZ_TARGETS)); do \
	  mkdir -p corpus/$$target; \
	  dictionary=$$(ls dictionaries/$$target.dict 2>/dev/null || true); \
	  $(FUZZ_CARGO) run -s none $$target corpus/$$target seeds/$$target -- -max_total_time=$(FUZZ_SECONDS) \
	    -rss_limit_mb=2048 -timeout=20 -print_final_stats=1 $${dictionary:+-dict=$$dictionary}; \
	done

fuzz-build: ## builds the targets of fuzz/, or says what is missing
	@command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is not installed: cargo install --locked cargo-fuzz"; exit 1; }
	@command -v c++ >/dev/null || { echo "libFuzzer is built by a C++ compiler, and c++ is not there: apt-get install g++"; exit 1; }
	cd $(ROOT)fuzz && $(FUZZ_CARGO) build -s none

bench: bench-build ## the measures of docs/BENCHMARKS.md into target/bench.json; NAME=… for one
	cd $(ROOT) && scripts/with-postgres.sh target/dist/mlinzi-bench $(or $(NAME),all)

bench-quick: bench-build ## the same, at most five minutes
	cd $(ROOT) && scripts/with-postgres.sh target/dist/mlinzi-bench --quick $(or $(NAME),all)

bench-long: bench-build ## kill rounds and soaks
	cd $(ROOT) && scripts/with-postgres.sh target/dist/mlinzi-bench --long $(or $(NAME),all)

bench-models: ## rules and models into target/bench-models.json; MLINZI_SHARED_DATA names the public data; NAME=… for one
	cd $(ROOT) && cargo build --profile dist --workspace --bin mlinzi --bin mlinzi-bench-models
	cd $(ROOT) && $${CARGO_TARGET_DIR:-target}/dist/mlinzi-bench-models $(or $(NAME),all)

release: ## the binary as it is shipped: target/dist/mlinzi, which knows its commit
	cd $(ROOT) && MLINZI_COMMIT=$$(git rev-parse --short=12 HEAD) cargo build --profile dist --bin mlinzi

bench-build: bench-deps
	cd $(ROOT) && cargo build --profile dist --workspace

bench-deps:
	$(ROOT)scripts/install-test-deps.sh strace redis-server

audit: ## licences, bans and sources by cargo-deny, loom, then a minute of each target of fuzz/; says which tool is missing
	cd $(ROOT) && if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; else echo "cargo-deny is not installed: cargo install --locked cargo-deny"; exit 1; fi
	$(MAKE) -C $(ROOT) loom
	$(MAKE) -C $(ROOT) fuzz FUZZ_SECONDS=60
