# Callwarden: every target says what it does; `make` alone lists them.
# Needs: Debian 12 or newer with python3.11 (and its venv), git, make. The rest is fetched by the targets themselves.

PYTHON := $(firstword $(wildcard /usr/bin/python3.11) $(shell command -v python3.11 2>/dev/null) $(shell command -v python3 2>/dev/null))
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
# Test files that run side by side: most of them wait for telephones. Tests marked `alone` follow one by one.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo up down test unit lint types imports bench soak prompts failpoints locks clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): locks/dev.txt locks/oracles.txt pyproject.toml rig/setup.sh
	@sh rig/setup.sh "$(PYTHON)" "$(VENV)"
	@touch $(STAMP)

setup: $(STAMP) ## make the virtual environment from the hashed locks

demo: $(STAMP) ## watch real calls being asked, recorded, sealed, reported and erased (STAY=1 leaves the stack up)
	@$(BIN)/python -m rig.demo $(if $(STAY),--stay)

up: $(STAMP) ## start Asterisk, edge and central in the background; writes .rig/env
	@$(BIN)/python -m rig.stack up

down: ## stop what `make up` started, by pid
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m rig.stack down; fi

test: $(STAMP) ## the whole test suite, real Asterisk included
	@$(BIN)/python -m rig.programs
	@$(BIN)/python -m rig.suite -n $(WORKERS) $(ARGS)

unit: $(STAMP) ## only the tests that need no Asterisk
	@$(BIN)/python -m pytest tests/unit $(ARGS)

lint: $(STAMP) ## ruff, import contracts, types, callers' words in the dialplan
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy
	@$(BIN)/python -m callwarden dialplan lint $$(find dialplan -name '*.conf' -o -name '*.sample')

types: $(STAMP) ## mypy --strict
	@$(BIN)/mypy

imports: $(STAMP) ## the import contracts
	@$(BIN)/lint-imports

bench: $(STAMP) ## side by side: sealing, reading, calls; ONLY=sealing measures one of them (bench/results/*.json)
	@if [ -z "$(filter sealing reading,$(ONLY))" ]; then $(BIN)/python -m rig.programs; fi
	@$(BIN)/python -m bench $(ONLY)

soak: $(STAMP) ## long: a ten-minute call with kills, random kills under load (bench/results/soak-*.json)
	@$(BIN)/python -m rig.programs
	@$(BIN)/python -m rig.soak

prompts: $(STAMP) ## build the shipped prompts from their texts
	@./prompts/build.sh

failpoints: ## list every named failpoint
	@grep -rhoE 'hit\("[a-z_.]+"\)' --include=*.py edge central callwarden | sed -E 's/hit\("(.*)"\)/\1/' | sort -u

locks: $(STAMP) ## renew the hashed locks (needs uv)
	@sh rig/locks.sh

clean: down ## remove the virtual environment and the rig's state, not the cache
	@rm -rf $(VENV) .rig
