# `make` lists the targets. `make run` installs only the packages that the server needs; `make test` installs the rest.

PYTHON ?= python3

.DEFAULT_GOAL := help

server := .venv/.installed-server
server-s3 := .venv/.installed-s3
tests := .venv/.installed

pip := -m pip install --quiet --disable-pip-version-check

# Put before a slow command, this prints a dot every two seconds, so that nobody takes the command for a hanging one. If
# Ctrl-C ends the recipe, the dots end too.
dots := trap 'kill $$dots; echo' EXIT; while sleep 2 > /dev/null 2>&1 && kill -0 $$$$ 2> /dev/null; do printf .; done & dots=$$!;

# The tests of `make check`: about 15 seconds of unit tests without a server, a bucket or a container.
fast-tests := $(addprefix tests/,inspection/test_active_content.py inspection/test_archives.py inspection/test_pdf.py \
	inspection/test_policy.py inspection/test_text.py local/test_http1.py local/test_terminal.py test_documentation.py \
	test_logs.py test_packaging.py test_settings.py test_signing.py web/test_cors.py web/test_forms.py \
	web/test_part_headers.py)

.PHONY: help run deploy deployed deployed-clients redrive test check soak lint lint-template format contract browser clients bench bench-uploads \
	bench-cold-start bench-direct bench-gateway bench-gateway-matrix bench-local bench-pieces bench-readme clean coverage

# Only options on make's command line count, not the environment: conda sets a HOST, hosting sites set a PORT.
option = $(if $(and $(filter command,$(origin $(1))),$($(1))),$(2) "$($(1))")

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-20s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(if $(UPLOAD_BUCKET),$(server-s3),$(server))  ## start the local server: make run PORT=9000 HOST=127.0.0.1 FOLDER=uploads
	@exec .venv/bin/python -m handler $(call option,HOST,--host) $(call option,PORT,--port) $(call option,FOLDER,--folder)

deploy:  ## build with SAM and deploy to AWS: shows a fresh secret to paste, then SAM asks for each parameter
	@command -v sam > /dev/null || { echo "make deploy needs the SAM CLI: $(install-sam)" >&2; exit 1; }
	sam build
	@printf '%s\n' "" "SAM now asks for the name of the stack, the region and each parameter. Enter accepts the default." \
		"Only TokenSecret has none. Paste this new secret there (SAM does not show the text), and keep the secret:" \
		"" "    $$($(PYTHON) -c 'import secrets; print(secrets.token_hex(32))')" "" \
		"A stack that has a secret keeps the secret with 'sam build && sam deploy' instead." ""
	sam deploy --guided

# Stops unless make's command line names a deployment.
named-deployment = @[ -n "$(ENDPOINT)" ] && [ -n "$(BUCKET)" ] && [ -n "$$TOKEN_SECRET" ] || \
	{ echo "Name the deployment, with its secret in TOKEN_SECRET: make $@ ENDPOINT=https://… BUCKET=…" >&2; exit 2; }

deployed: $(tests)  ## check a deployment, with TOKEN_SECRET and AWS credentials: make deployed ENDPOINT=https://… BUCKET=…
	$(named-deployment)
	@ENDPOINT="$(ENDPOINT)" BUCKET="$(BUCKET)" .venv/bin/python -m pytest -m "deployed and not clients" tests/deployed

deployed-clients: .venv-browser/.installed .npm/clients/.installed  ## upload to a deployment with tus clients (needs npm)
	$(named-deployment)
	@ENDPOINT="$(ENDPOINT)" BUCKET="$(BUCKET)" .venv-browser/bin/python -m pytest -m "deployed and clients" tests/deployed

redrive: $(server-s3)  ## send the dead letters of a stack back to their queues: make redrive STACK=upload
	@.venv/bin/python -m handler redrive $(call option,STACK,--stack)

install-sam := https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/install-sam-cli.html

test: $(tests)  ## run every test that needs only this machine (takes minutes)
	@echo "Running all tests. This takes several minutes; make check takes less than half a minute."
	.venv/bin/python -m pytest --numprocesses auto --dist loadfile

check: $(tests)  ## run ruff and the fast unit tests: file types, forms, settings, log, documents (less than 30 seconds)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/python -m pytest -q -k "not s3" $(fast-tests)

soak: $(tests)  ## kill the local server 400 times, cut its disk's power 40 times (as root): make soak ROUNDS=10 SEED=1
	.venv/bin/python -m tests.soak $(call option,ROUNDS,--rounds) $(call option,SEED,--seed)
	.venv/bin/python -m tests.soak.webhooks $(call option,ROUNDS,--rounds) $(call option,SEED,--seed)

lint: $(tests)  ## run ruff and mypy
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

lint-template: .venv-sam/.installed .venv-checkov/.installed  ## check the template, as written and as CloudFormation receives it
	mkdir -p .aws-sam
	SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam validate --lint
	.venv-sam/bin/python .ci/expand > .aws-sam/expanded.json
	.venv-sam/bin/cfn-lint --append-rules cfn_lint_serverless.rules -- template.yaml .aws-sam/expanded.json
	.venv-checkov/bin/checkov --framework cloudformation --skip-download --quiet --compact \
		-f template.yaml -f .aws-sam/expanded.json

format: $(tests)  ## let ruff fix style errors
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

contract: .venv-contract/.installed  ## check the app against handler/openapi.json with generated requests (schemathesis)
	.venv-contract/bin/python -m pytest -m contract tests/test_contract.py

browser: .venv-browser/.installed .npm/.installed  ## upload with Uppy and with the page, in Chromium
	@# A failed test runs once more: on a busy machine a browser sometimes misses a key press.
	.venv-browser/bin/python -m pytest -m browser || \
		.venv-browser/bin/python -m pytest -m browser --last-failed --last-failed-no-failures none

clients: .venv-browser/.installed .npm/clients/.installed  ## upload with editors, widgets, programs and generated clients; run docs/examples
	@# A failed test runs once more, as above.
	.venv-browser/bin/python -m pytest -m clients tests/clients tests/examples || \
		.venv-browser/bin/python -m pytest -m clients tests/clients tests/examples --last-failed --last-failed-no-failures none

bench: bench-uploads bench-cold-start bench-direct bench-gateway  ## run every benchmark (no test depends on a time)

results := build/benchmark.json

bench-uploads: .venv-bench/.installed  ## measure an upload, next to the textbook's version and the lowest possible cost
	.venv-bench/bin/python benchmarks/uploads.py --results $(results)

bench-cold-start: .venv-bench/.installed  ## measure the built artifact's cold start and size (needs Docker, or DOCKER_HOST)
	.venv-bench/bin/python benchmarks/cold_start.py --results $(results)

bench-direct: .venv-bench/.installed  ## measure the bytes that pass through Lambda while 1 GiB goes straight to S3
	.venv-bench/bin/python benchmarks/direct.py --results $(results)

bench-pieces: .venv-bench/.installed  ## measure two designs of resumable uploads (on moto, or on the S3 at STRICT_S3_URL)
	.venv-bench/bin/python benchmarks/pieces.py

bench-local: .venv-bench/.installed  ## measure the local server next to flask run and gunicorn (takes minutes)
	.venv-bench/bin/python benchmarks/local_server.py

bench-readme: .venv-bench/.installed  ## write the README's tables and its chart from the last results of make bench
	cp $(results) benchmarks/results.json
	.venv-bench/bin/python benchmarks/readme.py

bench-gateway: .venv-bench/.installed  ## measure the gateway, next to other adapters
	.venv-bench/bin/python benchmarks/gateway.py

bench-gateway-matrix: .venv-bench/.installed  ## run the tests' matrix of event formats on other adapters too
	.venv-bench/bin/python benchmarks/gateway_matrix.py

.venv-bench/.installed: pyproject.toml handler/requirements.txt benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python $(pip) -r handler/requirements.txt --editable '.[s3]' -r benchmarks/requirements.txt
	@touch $@

.venv-contract/.installed: pyproject.toml handler/requirements.txt
	$(PYTHON) -m venv .venv-contract
	.venv-contract/bin/python $(pip) -r handler/requirements.txt --editable '.[contract]'
	@touch $@

.venv-browser/.installed: pyproject.toml handler/requirements.txt
	$(PYTHON) -m venv .venv-browser
	.venv-browser/bin/python $(pip) -r handler/requirements.txt --editable '.[s3,dev,browser,clients]'
	@touch $@

.npm/.installed: Makefile  ## packages for the pages of the tests; never committed
	npm install --silent --no-save --no-package-lock --prefix .npm uppy@6.0.1 axe-core@4.14.1
	@touch $@

.npm/clients/.installed: tests/clients/packages.txt  ## the packages of make clients; never committed
	npm install --silent --no-save --no-package-lock --ignore-scripts --prefix .npm/clients $$(cat $<)
	@touch $@

$(server): handler/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "This needs Python 3.11 or newer: make PYTHON=python3.13 run")'
	@echo "Making a virtual environment in .venv (a few seconds) ..."
	@$(dots) $(PYTHON) -m venv .venv
	@echo "Installing Flask, aws-wsgi and the other packages that the server needs into .venv (33 MB, about 10 seconds) ..."
	@$(dots) .venv/bin/python $(pip) --requirement handler/requirements.txt
	@touch $@

$(server-s3): $(server) pyproject.toml
	@echo "UPLOAD_BUCKET is set: installing boto3 into .venv (about 20 seconds) ..."
	@$(dots) .venv/bin/python $(pip) --requirement handler/requirements.txt --editable '.[s3]'
	@touch $@

$(tests): $(server) pyproject.toml
	@echo "Installing the packages that the tests need into .venv (240 MB more, one to three minutes) ..."
	@$(dots) .venv/bin/python $(pip) --requirement handler/requirements.txt --editable '.[s3,dev]'
	@touch $@

.venv-sam/.installed: Makefile  ## SAM CLI needs an environment of its own, because it pins other versions than this project
	$(PYTHON) -m venv .venv-sam
	.venv-sam/bin/python $(pip) aws-sam-cli==1.170.0 cfn_lint_serverless==0.3.6
	@touch $@

.venv-checkov/.installed: Makefile  ## checkov does, too
	$(PYTHON) -m venv .venv-checkov
	.venv-checkov/bin/python $(pip) checkov==3.3.30
	@touch $@

clean:  ## remove every file that make created
	rm -rf .npm .venv .venv-bench .venv-browser .venv-checkov .venv-contract .venv-sam .aws-sam .mypy_cache .pytest_cache .ruff_cache build *.egg-info

coverage: $(tests)  ## measure which lines of handler/ the tests run
	.venv/bin/python -m coverage erase
	.venv/bin/python -m coverage run -m pytest
	.venv/bin/python -m coverage combine --quiet
	.venv/bin/python -m coverage report --skip-covered
