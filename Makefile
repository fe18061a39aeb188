# SPDX-License-Identifier: Apache-2.0
.DEFAULT_GOAL := help
.PHONY: help setup demo round-trip test check format clean
BIN := .venv/bin
# Given to scripts/bootstrap.sh; see there.
export RESIP_PYTHON RESIP_TORCH_INDEX

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@echo
	@echo "make demo RESIP_PYTHON=python3.12          use this Python (3.11 or 3.12)"
	@echo "make demo RESIP_TORCH_INDEX=ADDRESS        take torch from this index (e.g. its CPU builds)"

setup:  ## make .venv and install everything (the other targets do it by themselves)
	@bash scripts/bootstrap.sh

demo: setup  ## one_leg on the simulated robot, one episode; video, plot and result.json in out/demo
	$(BIN)/resip up one_leg --robot sim --episodes 1 --headless --out out/demo

round-trip: setup  ## 10 demonstrations on the live simulated robot to a policy that runs; out/round_trip
	$(BIN)/python examples/round_trip.py --episodes 10

test: setup  ## all tests
	$(BIN)/python -m pytest -q

check: setup  ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: setup  ## format and fix what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove .venv and caches; out/, data/ and runs/ stay
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
