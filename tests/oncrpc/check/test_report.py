"""oncrpc.check.report: for machines."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

from oncrpc.check.case import Case, Status
from oncrpc.check.probe import Target
from oncrpc.check.report import as_json, as_junit
from oncrpc.check.runner import Result, Suite


def suite() -> Suite:
    def case(code: str) -> Case:
        return Case(code, f"title of {code}", "RFC 5531", "quote", frozenset({"tcp"}), False, lambda probe: None)

    made = Suite(Target("tcp", "host", 600, 5, 1), [])
    made.results = [
        Result(case("RM-1"), Status.PASS, ("sent",), got="fine", seconds=0.5),
        Result(case("RM-2"), Status.FAIL, (), "this", "a \x00 and \ud800 from the server"),
        Result(case("ER-1"), Status.WARN, (), "this", "that"),
        Result(case("ER-2"), Status.SKIP, got="not here"),
    ]
    return made


def test_json_has_target_summary_and_results() -> None:
    report = json.loads(as_json(suite()))
    assert report["target"] == "tcp:host:600"
    assert report["summary"] == {"pass": 1, "fail": 1, "warn": 1, "skip": 1}
    assert [result["code"] for result in report["results"]] == ["RM-1", "RM-2", "ER-1", "ER-2"]


def test_junit_is_xml_whatever_the_server_sent() -> None:
    text = as_junit(suite())
    text.encode()
    root = ET.fromstring(text)
    assert [(one.get("name"), one.get("tests"), one.get("failures"), one.get("skipped")) for one in root] == [
        ("record marking", "2", "1", "0"),
        ("errors", "2", "0", "1"),
    ]
    failure = root.find(".//failure")
    assert failure is not None
    assert "\N{REPLACEMENT CHARACTER}" in (failure.text or "")
