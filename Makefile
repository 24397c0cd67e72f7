# Two commands matter to a newcomer: `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
ROOT := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))
.PHONY: help demo test test-deps lint fmt bench bench-quick bench-long bench-build bench-deps release audit

help: ## lists the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: ## builds and runs the engine on the embedded store with a small simulated market
	cd $(ROOT) && cargo build --release --workspace --bin mlinzi && exec $${CARGO_TARGET_DIR:-target}/release/mlinzi demo

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

bench: bench-build ## the measures of docs/BENCHMARKS.md into target/bench.json; NAME=… for one
	cd $(ROOT) && scripts/with-postgres.sh target/release/mlinzi-bench $(or $(NAME),all)

bench-quick: bench-build ## the same, at most five minutes
	cd $(ROOT) && scripts/with-postgres.sh target/release/mlinzi-bench --quick $(or $(NAME),all)

bench-long: bench-build ## kill rounds and soaks
	cd $(ROOT) && scripts/with-postgres.sh target/release/mlinzi-bench --long $(or $(NAME),all)

release: ## the binary as it is shipped: target/dist/mlinzi, which knows its commit
	cd $(ROOT) && MLINZI_COMMIT=$$(git rev-parse --short=12 HEAD) cargo build --profile dist --bin mlinzi

bench-build: bench-deps
	cd $(ROOT) && cargo build --release --workspace

bench-deps:
	$(ROOT)scripts/install-test-deps.sh strace

audit: ## licences, bans and sources by cargo-deny, where it is installed
	cd $(ROOT) && if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; else echo "cargo-deny is not installed: cargo install --locked cargo-deny"; exit 1; fi
