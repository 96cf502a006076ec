"""Write the measured results and their cost into docs/performance.md, and draw the chart: `make bench-readme`."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from handler.storage.direct import HASHED_BYTES
from handler.units import GIB, ceil_div

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results.json"
CHART = ROOT / "benchmarks/chart.svg"
DOCUMENT = ROOT / "docs/performance.md"
SECTION = re.compile(r"(?<=<!-- made by make bench-readme -->\n).*(?=<!-- end -->)", re.DOTALL)
UPLOADS = ("20 KB upload", "1 MB upload", "4 MB upload")

# US dollars, as AWS listed them for us-east-1 in December 2025, without free tiers: aws.amazon.com/lambda/pricing,
# /api-gateway/pricing, /s3/pricing.
PRICES_DATED = "December 2025"
DOLLARS_GB_SECOND = 0.0000166667  # Lambda, x86
DOLLARS_MILLION_INVOCATIONS = 0.20
DOLLARS_MILLION_API_REQUESTS = 3.50  # REST API
DOLLARS_MILLION_S3_PUTS = 5.00  # PUT, COPY, POST, LIST
DOLLARS_MILLION_S3_GETS = 0.40
MEMORY_MB = 512  # template.yaml
FULL_PROCESSOR_MB = 1769  # AWS: "Configure Lambda function memory"
S3_MILLISECONDS = 30  # how long S3 takes to answer: an assumption, which cannot be measured here
COPY_SECONDS = 2.7  # for parts of 256 MiB side by side, at 100 MB/s, which cannot be measured here
REQUESTS_GIB = 1024**3 // (4 * 1024 * 1024)  # of as much as fits through Lambda


def dollars(*, cpu: float, s3_waits: int, requests: int, events: int = 0, puts: int, gets: int = 0) -> dict[str, float]:
    """What a million uploads cost.

    :param cpu: milliseconds of a whole processor. Lambda gives a share of one that grows with the memory.
    :param s3_waits: how often the function waits for S3.
    :param requests: those that pass through API Gateway, each of which calls the function.
    :param events: further calls of the function.
    """
    seconds = (cpu * FULL_PROCESSOR_MB / MEMORY_MB + s3_waits * S3_MILLISECONDS) / 1000
    parts = {
        "API Gateway": requests * DOLLARS_MILLION_API_REQUESTS,
        "Lambda": (requests + events) * DOLLARS_MILLION_INVOCATIONS
        + seconds * MEMORY_MB / 1024 * DOLLARS_GB_SECOND * 1e6,
        "S3": puts * DOLLARS_MILLION_S3_PUTS + gets * DOLLARS_MILLION_S3_GETS,
    }
    return parts | {"all": sum(parts.values())}


def costs(results: dict[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """By upload and by who takes it."""

    def of(case: str, name: str) -> dict[str, float]:
        return dollars(cpu=results["uploads"]["cpu"][case][name]["median"], s3_waits=1, requests=1, puts=1)

    found = {
        case.removesuffix(" upload"): {"this": of(case, "this"), "textbook": of(case, "textbook")} for case in UPLOADS
    }
    direct = results["direct"]
    calls = Counter(direct["s3_calls"]) + Counter(direct["event_s3_calls"])
    copies = ceil_div(GIB, HASHED_BYTES)
    calls |= {"UploadPartCopy": copies, "UploadPart": direct["parts"]}  # the measured file is smaller than 1 GiB
    gets = calls["GetObject"] + calls["HeadObject"]
    found["1 GiB"] = {
        "this": dollars(
            cpu=direct["cpu"] + direct["event_cpu"],
            s3_waits=sum(direct["s3_calls"].values()) + sum(direct["event_s3_calls"].values()),
            requests=direct["calls"],
            events=1,  # S3's own, which discards the bytes
            puts=sum(calls.values()) - gets - calls["DeleteObject"],
            gets=gets,
        ),
        # As many requests as it takes; what would put the pieces together is not counted.
        "textbook": {name: value * REQUESTS_GIB for name, value in found["4 MB"]["textbook"].items()},
    }
    return found


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def section(results: dict[str, Any]) -> str:
    measured, cold, direct, small = (results[name] for name in ("uploads", "cold_start", "direct", "direct_small"))
    cases = list(measured["cpu"])
    names = list(measured["cpu"][cases[0]])
    python = results["lambda_python"]
    parts, calls, passed = direct["parts"], direct["calls"], f"{direct['body_bytes']:,}"
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())

    def rows(measure: str) -> list[list[str]]:
        return [[name, *(show(measured[measure][case][name]) for case in cases)] for name in names]

    def s3_calls(of: dict[str, int]) -> str:
        return ", ".join(f"{count} {name}" for name, count in of.items())

    starts = [
        [name, f"{of['zipped'] / 1e6:.2f} MB", f"{of['cpu']:.0f} ms", f"{of['cpu_ratio']:.2f}"]
        for name, of in cold.items()
    ]
    money = [
        [
            size,
            *(f"{of['this'][part]:,.2f}" for part in ("API Gateway", "Lambda", "S3", "all")),
            f"{of['textbook']['all']:,.2f}",
        ]
        for size, of in costs(results).items()
    ]
    return f"""
{results["date"]}, {results["machine"]}; {versions}.
In brackets: the ratio to the textbook's version, as the median of the ratios of all rounds.

![CPU of a request as a ratio to the textbook's version](../benchmarks/chart.svg)

CPU, in milliseconds:

{table(["", *cases], rows("cpu"))}

Wall time, in milliseconds. S3 is a process on the same machine:

{table(["", *cases], rows("wall"))}

Memory that a request adds to the idle process, in MiB, with the event:

{table(["", *cases], rows("memory"))}

Cold start, from the start of the process to the imported handler, with Python {python} of the runtime's image.
`sam build` compiles nothing by itself, so the textbook's version has no bytecode. This one has, if the build finds
Python 3.13 or the image:

{table(["artifact", "zipped", "CPU", "of the textbook's"], starts)}

1 GiB straight to S3, in {parts} parts: {calls} requests through Lambda, with bodies of {passed} bytes in all.

6 MB straight to S3: {small["calls"]} requests through Lambda, {small["cpu"]:.0f} ms of CPU. Their calls to S3 are
{s3_calls(small["s3_calls"])}. The event takes {small["event_cpu"]:.0f} ms, and {s3_calls(small["event_s3_calls"])}.

Dollars for a million uploads, at the list prices of {PRICES_DATED} in us-east-1 (Lambda, API Gateway's REST API, S3's
requests), without free tiers, storage and logs. The paid time is the CPU above at the share of a processor that
{MEMORY_MB} MB buy, and an assumed {S3_MILLISECONDS} ms for each response of S3. In the last column the textbook's
version takes the bytes itself: 1 GiB in {REQUESTS_GIB} requests, without the work of joining them.
The event is included, with its calls to S3. S3 copies 1 GiB in about {COPY_SECONDS} s, at 100 MB/s for each part. The
function waits for that, which is not included: ${COPY_SECONDS * MEMORY_MB / 1024 * DOLLARS_GB_SECOND * 1e6:.0f}.

{table(["upload", "API Gateway", "Lambda", "S3", "all", "all, textbook"], money)}

"""


def show(of: dict[str, Any]) -> str:
    return f"{of['median']:.2f}" + ("" if of["ratio"] is None else f" ({of['ratio']:.2f})")


COLORS = {"this": "#2f6fde", "textbook": "#8a8f98", "floor": "#3f9c5a"}
ROW, GAP, LEFT, SCALE = 18, 14, 270, 400


def chart(results: dict[str, Any]) -> str:
    """Bars of CPU as ratios to the textbook's, for what uploads."""
    measured = results["uploads"]["cpu"]
    lines, y = [], GAP
    for case, contenders in measured.items():
        if case.startswith("GET"):  # there is no upload to pay for
            continue
        lines.append(f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end" font-weight="bold">{case}</text>')
        y += ROW
        for name, of in contenders.items():
            width = of["ratio"] * SCALE
            color = COLORS.get(name, COLORS["textbook"])
            lines += [
                f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{name}</text>',
                f'<rect x="{LEFT}" y="{y}" width="{width:.0f}" height="{ROW - 4}" fill="{color}"/>',
                f'<text x="{LEFT + width + 6:.0f}" y="{y + 12}">{of["ratio"]:.2f} ({of["median"]:.1f} ms)</text>',
            ]
            y += ROW
        y += GAP
    width = LEFT + int(SCALE * 1.5)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}" height="{y}"'
            ' font-family="sans-serif" font-size="12">',
            "<title>CPU of a request, as a ratio to the textbook's version</title>",
            f'<rect width="{width}" height="{y}" fill="white"/>',
            *lines,
            "</svg>\n",
        ]
    )


def main() -> None:
    results = json.loads(RESULTS.read_text())
    CHART.write_text(chart(results))
    DOCUMENT.write_text(SECTION.sub(lambda _: section(results), DOCUMENT.read_text(), count=1))


if __name__ == "__main__":
    main()
