SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

# What `make sim` explores, how long `make fuzz` does, what `make bench` measures, and where `make run` keeps its cluster.
SEEDS ?= 100
MOUNTS ?=
SHARED ?=
FOCUS ?=
DISASTER ?=
PEERS ?=
PROFILE ?=
SECONDS ?= 60
SEED ?=
KEEP ?=
RECORD ?=
DIR ?= .cairn
MOUNT ?= mnt

setup_done := node_modules/.cairn-setup
generated := src/wire/gen

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(setup_done) ## install the packages that building and testing need (skipped while the lockfile is unchanged)

$(setup_done): package-lock.json tools/debian-packages.sh tools/npm-ci.sh
	bash tools/debian-packages.sh
	bash tools/npm-ci.sh
	@touch $@

.PHONY: build
build: $(setup_done) ## compile src/ to dist/, test/ and bench/ to build/
	tsc --build tsconfig.json src/console/page test $(wildcard bench/tsconfig.json)
	node tools/console-files.js

.PHONY: gen
gen: $(setup_done) ## write the wire types of proto/ into src/wire/gen
	buf generate

.PHONY: reference
reference: build ## write what is made of the table of settings: docs/configuration.md, ops/config
	for daemon in master chunkserver mount; do \
	  node dist/cli/cairn.js config example $$daemon > ops/config/$$daemon.toml || exit; \
	done
	node dist/cli/cairn.js config reference > docs/configuration.md

.PHONY: lint
lint: build ## check types, style, the borders between folders, the wire types and the format
	buf lint
	bash tools/check-generated.sh
	depcruise --config .dependency-cruiser.js src
	eslint --max-warnings 0 --cache --cache-strategy content --cache-location build/eslint .
	biome format .

.PHONY: format
format: $(setup_done) ## format everything but the generated code
	biome format --write .

.PHONY: test
test: lint test-unit test-sim test-real bench-smoke ## lint, every group of tests, and the counts of the benchmark

.PHONY: test-unit
test-unit: build ## tests of single modules, in memory
	node tools/test-group.js unit

.PHONY: test-sim
test-sim: build ## whole clusters in the simulator
	node tools/test-group.js sim

.PHONY: test-real
test-real: build ## real processes and mounts (root and /dev/fuse)
	node tools/test-group.js real

.PHONY: run
run: build ## start a cluster on this machine and mount it: DIR=.cairn MOUNT=mnt
	node dist/cli/cairn.js up --dir '$(DIR)' --mount '$(MOUNT)'

.PHONY: sim
sim: build ## run the simulator on SEEDS=100 seeds: MOUNTS=2, SHARED=1 for programs that share files, DISASTER=1 for masters that lose their disk, FOCUS=crowded|rotten|lonely|away for one fault above all
	node dist/sim/main.js --seeds '$(SEEDS)' $(if $(MOUNTS),--mounts '$(MOUNTS)') $(if $(SHARED),--shared) $(if $(DISASTER),--disaster) $(if $(FOCUS),--focus '$(FOCUS)')

.PHONY: fuzz
fuzz: build ## feed every decoder with wrong bytes for SECONDS=60: SEED= to do it again, KEEP=1 to keep what reached new code
	node build/test/fuzz/fuzz.js --seconds '$(SECONDS)' $(if $(SEED),--seed '$(SEED)') $(if $(KEEP),--keep)

.PHONY: bench
bench: build ## measure a cluster on this machine: PEERS=1 against others (installs them), PROFILE=1 what bounds it, BENCH='--help'
	$(if $(PEERS),bash tools/bench-peers.sh)
	node build/bench/run.js $(if $(PEERS),--peers) $(if $(PROFILE),--profile build/profile) $(BENCH)

.PHONY: bench-repair
bench-repair: build ## measure how fast lost copies are made anew, beside a plain program that copies as much: BENCH='--into FILE'
	node build/bench/repair/run.js $(BENCH)

.PHONY: bench-growth
bench-growth: build ## measure the master while its namespace grows to five million files, by a load generator on the wire: BENCH='--files N'
	node build/bench/growth/run.js $(BENCH)

.PHONY: bench-tls
bench-tls: build ## measure what mutual TLS costs: the same work on a cluster with it, and on one without
	node build/bench/tls/run.js $(BENCH)

.PHONY: bench-smoke
bench-smoke: build ## compare round trips, syncs and bytes with bench/smoke.json: RECORD=1 to record them anew
	node build/bench/smoke/smoke.js $(if $(RECORD),--record)

.PHONY: deb
deb: build ## make a Debian package in build/deb
	bash tools/make-deb.sh

.PHONY: test-deploy
test-deploy: build ## install, upgrade, break and restore a cluster in containers with systemd (root, /dev/fuse, the network at first)
	bash tools/test-deploy.sh

.PHONY: test-npm
test-npm: build ## of that, install what `npm pack` makes and use it (root, /dev/fuse, npm's registry or a warm cache)
	node build/test/deploy/npm-run.js

.PHONY: clean
clean: ## remove what was built, keep node_modules and the cluster of `make run`
	rm -rf dist build
