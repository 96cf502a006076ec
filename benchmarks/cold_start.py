"""What a cold start costs, from the start of the process to the handler imported, and how large the artifacts are.

The artifacts are made as ``sam build`` makes them, and imported by the Lambda runtime's own Python, in its image, by
Docker or by the engine whose socket DOCKER_HOST names. As on Lambda they cannot be written to, so no bytecode is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "cold-start"
IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"
BASE = "textbook"
BARS = {"this": 0.55, "this, without bytecode": 1.0}
ZIPPED_BARS = {"this": 2.5e6, "this, without bytecode": 1.2e6}

# Runs in the image, with nothing but its Python. Standard output is for the results.
MEASURE = """
import json, os, random, subprocess, sys, time
modules, rounds = json.loads(sys.argv[1]), int(sys.argv[2])
found = {name: {"wall": [], "cpu": []} for name in modules}
for round_ in range(-2, rounds):
    for name in random.sample(list(modules), len(modules)):
        environment = os.environ | {"PYTHONPATH": f"/artifacts/{name}:/var/runtime"}
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-c", f"import {modules[name]}, os; os._exit(0)"], env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        if status:
            sys.exit(f"{name} could not be imported")
        if round_ >= 0:
            found[name]["wall"].append(wall * 1000)
            found[name]["cpu"].append((usage.ru_utime + usage.ru_stime) * 1000)
print(json.dumps({"python": sys.version.split()[0], "found": found}))
"""


def build() -> dict[str, str]:
    """Make the artifacts.

    :return: for each the module that has its handler.
    """
    shutil.rmtree(BUILD, ignore_errors=True)
    this, textbook = BUILD / "this", BUILD / "textbook"
    this.mkdir(parents=True)
    source = BUILD / "source"
    shutil.copytree(ROOT / "handler", source, ignore=shutil.ignore_patterns("__pycache__"))
    if subprocess.run(["docker", "image", "inspect", IMAGE], stdout=subprocess.DEVNULL, check=False).returncode:
        subprocess.run(["docker", "pull", "--quiet", IMAGE], check=True)
    # The image's Python compiles, as `sam build` has it do where it finds no other one.
    make = ["make", "--silent", "build-UploadFunction", f"ARTIFACTS_DIR={this}", f"RUNTIME_IMAGE={IMAGE}"]
    subprocess.run(make, cwd=source, check=True)
    pins = [line for line in (ROOT / "handler/requirements.txt").read_text().splitlines() if line.startswith(TEXTBOOK)]
    target = ["--target", str(textbook), "--python-version", "3.13", "--only-binary", ":all:", "--no-compile"]
    platform = ["--platform", "manylinux2014_x86_64"]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *target, *platform, *pins], check=True)
    shutil.rmtree(textbook / "bin", ignore_errors=True)
    shutil.copy(ROOT / "benchmarks/textbook/textbook.py", textbook)
    shutil.copytree(this, BUILD / "this, without bytecode", ignore=shutil.ignore_patterns("__pycache__"))
    return {
        "this": "handler.lambda_function",
        "this, without bytecode": "handler.lambda_function",
        "textbook": "textbook",
    }


TEXTBOOK = ("aws-wsgi", "flask")


def zipped_bytes(artifact: Path) -> int:
    """As `sam package` and `sam deploy` zip it."""
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(artifact.rglob("*")):
            out.write(path, path.relative_to(artifact))
    return len(archive.getvalue())


def measure(modules: dict[str, str], *, rounds: int) -> dict[str, Any]:
    environment = {
        "UPLOAD_BUCKET": "uploads",
        "TOKEN_SECRET": "the secret of the benchmark protects nothing",
        "AWS_LAMBDA_FUNCTION_NAME": "benchmark",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    command = ["docker", "run", "--rm", "--network", "none", "--volume", f"{BUILD}:/artifacts:ro"]
    command += [argument for each in environment.items() for argument in ("--env", "=".join(each))]
    command += ["--entrypoint", "python3", IMAGE, "-c", MEASURE, json.dumps(modules), str(rounds)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--results", type=Path, help="a file with results, to add these to")
    options = parser.parse_args()
    modules = build()
    measured = measure(modules, rounds=options.rounds)
    found = measured["found"]
    summary: dict[str, Any] = {}
    print(f"Python {measured['python']} of {IMAGE}\n")
    print("| artifact | zipped | start, CPU | of the textbook's | wall time | of the textbook's |")
    print("|---" * 6 + "|")
    for name in modules:
        entry = summary[name] = {"zipped": zipped_bytes(BUILD / name)}
        cells = []
        for each in ("cpu", "wall"):
            entry[each] = statistics.median(found[name][each])
            pairs = zip(found[name][each], found[BASE][each], strict=True)
            entry[f"{each}_ratio"] = statistics.median(ours / theirs for ours, theirs in pairs)
            cells += [f"{entry[each]:.0f} ms", f"{entry[f'{each}_ratio']:.2f}"]
        print(f"| {name} | {entry['zipped'] / 1e6:.2f} MB | {' | '.join(cells)} |")
    print("\n| bar | at most | measured | |\n|---|---|---|---|")
    # The processor's time: an import waits for nothing else, and here it shares the machine.
    bars = [(f"{name}, cold start, CPU", bar, summary[name]["cpu_ratio"]) for name, bar in BARS.items()]
    bars += [(f"{name}, zipped, MB", bar / 1e6, summary[name]["zipped"] / 1e6) for name, bar in ZIPPED_BARS.items()]
    for name, bar, value in bars:
        print(f"| {name} | {bar:.2f} | {value:.2f} | {'met' if value <= bar else 'MISSED'} |")
    if options.results:
        results = json.loads(options.results.read_text()) | {"cold_start": summary, "lambda_python": measured["python"]}
        options.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
