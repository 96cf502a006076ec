# The two commands that matter: `make run` and `make test`. Both make .venv first, and again when what it holds changes.

PYTHON ?= python3

venv := .venv/.installed

.PHONY: run test soak lint lint-template format contract browser clients bench bench-uploads bench-cold-start bench-direct \
	bench-gateway bench-gateway-matrix bench-readme clean

# Of the environment nothing is taken: conda sets a HOST, hosting sites a PORT.
option = $(if $(and $(filter command,$(origin $(1))),$($(1))),$(2) "$($(1))")

run: $(venv)  ## start the local server: make run PORT=9000 HOST=127.0.0.1 FOLDER=uploads
	@exec .venv/bin/python -m handler $(call option,HOST,--host) $(call option,PORT,--port) $(call option,FOLDER,--folder)

test: $(venv)  ## every test that needs nothing but this machine
	.venv/bin/python -m pytest

soak: $(venv)  ## kill the local server 100 times, and 40 times cut its disk's power (as root): make soak ROUNDS=10 SEED=1
	.venv/bin/python -m tests.soak $(call option,ROUNDS,--rounds) $(call option,SEED,--seed)

lint: $(venv)  ## ruff and mypy
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

lint-template: .venv-sam/.installed .venv-checkov/.installed  ## the template, as it is and as CloudFormation gets it
	mkdir -p .aws-sam
	SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam validate --lint
	.venv-sam/bin/python .ci/expand > .aws-sam/expanded.json
	.venv-sam/bin/cfn-lint --append-rules cfn_lint_serverless.rules -- template.yaml .aws-sam/expanded.json
	.venv-checkov/bin/checkov --framework cloudformation --skip-download --quiet --compact \
		-f template.yaml -f .aws-sam/expanded.json

format: $(venv)  ## let ruff mend what it can
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

contract: .venv-contract/.installed  ## every answer to requests that schemathesis makes up is one of handler/openapi.json
	.venv-contract/bin/python -m pytest -m contract tests/test_contract.py

browser: .venv-browser/.installed .npm/.installed  ## Uppy, in a real Chromium, uploads to this endpoint
	@# What fails is tried once more: a browser on a busy machine now and then misses a key or a moment.
	.venv-browser/bin/python -m pytest -m browser || \
		.venv-browser/bin/python -m pytest -m browser --last-failed --last-failed-no-failures none

clients: .venv-browser/.installed .npm/clients/.installed  ## editors, widgets and programs upload to this endpoint
	@# What fails is tried once more, as above.
	.venv-browser/bin/python -m pytest -m clients tests/clients || \
		.venv-browser/bin/python -m pytest -m clients tests/clients --last-failed --last-failed-no-failures none

bench: bench-uploads bench-cold-start bench-direct bench-gateway  ## every benchmark; no test depends on a timing

results := build/benchmark.json

bench-uploads: .venv-bench/.installed  ## what an upload costs, beside the textbook's version and the floor
	.venv-bench/bin/python benchmarks/uploads.py --results $(results)

bench-cold-start: .venv-bench/.installed  ## the built artifact's cold start and size; needs Docker, or DOCKER_HOST
	.venv-bench/bin/python benchmarks/cold_start.py --results $(results)

bench-direct: .venv-bench/.installed  ## what passes through Lambda while 1 GiB goes straight to S3
	.venv-bench/bin/python benchmarks/direct.py --results $(results)

bench-readme: .venv-bench/.installed  ## the README's tables and its chart, from what `make bench` measured last
	cp $(results) benchmarks/results.json
	.venv-bench/bin/python benchmarks/readme.py

bench-gateway: .venv-bench/.installed  ## what the way through the gateway costs, beside other adapters
	.venv-bench/bin/python benchmarks/gateway.py

bench-gateway-matrix: .venv-bench/.installed  ## the tests' matrix of event shapes, on other adapters too
	.venv-bench/bin/python benchmarks/gateway_matrix.py

.venv-bench/.installed: pyproject.toml handler/requirements.txt benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[s3]' -r benchmarks/requirements.txt
	@touch $@

.venv-contract/.installed: pyproject.toml handler/requirements.txt
	$(PYTHON) -m venv .venv-contract
	.venv-contract/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[contract]'
	@touch $@

.venv-browser/.installed: pyproject.toml handler/requirements.txt
	$(PYTHON) -m venv .venv-browser
	.venv-browser/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[s3,dev,browser]'
	@touch $@

.npm/.installed: Makefile  ## what pages use in tests; never committed
	npm install --silent --no-save --no-package-lock --prefix .npm uppy@6.0.1 axe-core@4.14.1
	@touch $@

.npm/clients/.installed: tests/clients/packages.txt  ## the clients of `make clients`; never committed
	npm install --silent --no-save --no-package-lock --ignore-scripts --prefix .npm/clients $$(cat $<)
	@touch $@

$(venv): pyproject.toml handler/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.13 run")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[s3,dev]'
	@touch $@

.venv-sam/.installed: Makefile  ## SAM CLI, in an environment of its own: what it pins is not what we pin
	$(PYTHON) -m venv .venv-sam
	.venv-sam/bin/python -m pip install --quiet --disable-pip-version-check aws-sam-cli==1.170.0 cfn_lint_serverless==0.3.6
	@touch $@

.venv-checkov/.installed: Makefile  ## checkov, likewise
	$(PYTHON) -m venv .venv-checkov
	.venv-checkov/bin/python -m pip install --quiet --disable-pip-version-check checkov==3.3.30
	@touch $@

clean:  ## forget everything that was made here
	rm -rf .npm .venv .venv-bench .venv-browser .venv-checkov .venv-contract .venv-sam .aws-sam .mypy_cache .pytest_cache .ruff_cache build *.egg-info

.PHONY: coverage
coverage: .venv/.installed  ## measure which lines of handler/ the tests run
	.venv/bin/python -m coverage erase
	.venv/bin/python -m coverage run -m pytest
	.venv/bin/python -m coverage combine --quiet
	.venv/bin/python -m coverage report --skip-covered
