"""A finished run for machines: JSON, and JUnit's XML as CI systems read it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from oncrpc.check.case import GROUPS, Status

if TYPE_CHECKING:
    from oncrpc.check.runner import Result, Suite

__all__ = ["as_json", "as_junit", "result_object"]


def result_object(result: Result) -> dict[str, Any]:
    """One result as JSON has it; every key is always there."""
    return {
        "code": result.case.code,
        "group": GROUPS[result.case.group],
        "title": result.case.title,
        "status": result.status.value,
        "section": result.case.section,
        "quote": result.case.quote,
        "destructive": result.case.destructive,
        "sent": list(result.sent),
        "expected": result.expected,
        "got": result.got,
        "seconds": round(result.seconds, 6),
    }


def as_json(suite: Suite) -> str:
    """The whole run as one JSON object."""
    report = {
        "target": str(suite.target),
        "program": suite.target.program,
        "version": suite.target.version,
        "summary": {status.value: suite.count(status) for status in Status},
        "results": [result_object(result) for result in suite.results],
    }
    return json.dumps(report, indent=2)


def as_junit(suite: Suite) -> str:
    """The whole run as JUnit XML: a test suite for each group; warnings pass and stand in system-out."""
    root = ET.Element("testsuites", name=f"oncrpc check {suite.target}")
    for group, title in GROUPS.items():
        results = [result for result in suite.results if result.case.group == group]
        if not results:
            continue
        element = ET.SubElement(
            root,
            "testsuite",
            name=title,
            tests=str(len(results)),
            failures=str(sum(result.status is Status.FAIL for result in results)),
            skipped=str(sum(result.status is Status.SKIP for result in results)),
            errors="0",
            time=f"{sum(result.seconds for result in results):.3f}",
        )
        for result in results:
            _add_case(element, result)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_case(suite: ET.Element, result: Result) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=f"oncrpc.check.{result.case.group}",
        name=f"{result.case.code} {result.case.title}",
        time=f"{result.seconds:.3f}",
    )
    if result.status is Status.SKIP:
        ET.SubElement(case, "skipped", message=_printable(result.got))
        return
    text = "\n".join(
        [
            f'{result.case.section}: "{result.case.quote}"',
            *(f"sent: {line}" for line in result.sent),
            f"expected: {result.expected}",
            f"got: {result.got}",
        ]
    )
    if result.status is Status.FAIL:
        message = _printable(f"expected {result.expected}; got {result.got}")
        ET.SubElement(case, "failure", message=message).text = _printable(text)
    elif result.status is Status.WARN:
        ET.SubElement(case, "system-out").text = _printable(f"warning\n{text}")


def _printable(text: str) -> str:
    """Without the control characters that XML cannot hold: some of it came from the server."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)
