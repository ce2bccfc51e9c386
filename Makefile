# Run `make help` for the list. Everything heavy is cached outside the checkout, keyed by what it is made from.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The binding of libguestfs is built for the system's Python: the environment has to be made from that one.
PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
IMAGE := Debian-Atomic-12-x86_64.qcow2
SHELL_SCRIPTS = git ls-files -z | xargs -0 awk 'FNR == 1 && /^\#!.*[\/ ](ba)?sh( |$$)/ { print FILENAME }'
PYTEST := $(BIN)/pytest --durations=8

.PHONY: help venv demo test e2e lint types unit functional fuzz sample-image ramdisk service-images clean

help:  ## list what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/.ready  ## system packages and the Python environment: .venv/bin/imgprep, .venv/bin/provision

$(VENV)/.ready: pyproject.toml constraints.txt bindep.txt setup.py tools/system-packages tools/link-guestfs
	tools/system-packages bindep.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[lab,build,test]'
	tools/link-guestfs $(BIN)/python
	touch $@

demo:  ## from nothing to a machine that booted the sample image and answers ssh
	@tools/demo

test: lint types unit functional  ## everything but the lab's boots

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(SHELL_SCRIPTS) | xargs -r shellcheck
	PATH="$(abspath $(BIN)):$$PATH" ELEMENTS_DIR=elements LIB_DIR=elements dib-lint
	$(BIN)/reno lint

types: venv
	$(BIN)/mypy

unit: venv
	$(PYTEST) --numprocesses=2 tests/unit

functional: venv
	$(PYTEST) --numprocesses=2 --dist=loadfile tests/functional

fuzz: venv  ## a million inputs, guided by coverage, to each parser that sees an image's bytes
	nice -n 19 $(BIN)/python -m tests.fuzz.run --inputs 1000000

e2e: venv  ## the lab: conversion, deployed nodes, reboots, release, services on a node
	$(PYTEST) --capture=no tests/e2e

sample-image: venv  ## build the sample Atomic host image (cached) and link it here
	image=$$($(BIN)/python -m provision.lab.build sample-image) && ln -sf "$$image" $(IMAGE)

ramdisk: venv  ## build the deploy ramdisk with our agent extension (cached)
	$(BIN)/python -m provision.lab.build ramdisk

service-images: venv  ## build the example services' container images (cached)
	$(BIN)/python -m provision.lab.build service-images

clean:  ## remove what was made in the checkout; the cache stays
	rm -rf $(VENV) build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis $(IMAGE) $(IMAGE:.qcow2=)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
