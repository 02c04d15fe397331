"""What Jenkins' xUnit plugin (schema junit-10) and GitLab ask of a JUnit document."""

from __future__ import annotations

import re
from xml.etree import ElementTree

_TIME = re.compile(r"\d*(\.\d*)?")
_ATTRIBUTES = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, set()),
    "testsuite": (
        {"name", "time", "tests", "failures", "errors", "skipped", "timestamp", "hostname"},
        {"name", "tests", "failures", "errors"},
    ),
    "testcase": ({"name", "classname", "time"}, {"name", "classname"}),
    "failure": ({"type", "message"}, {"message"}),
    "error": ({"type", "message"}, {"message"}),
    "skipped": ({"type", "message"}, set[str]()),
    "system-out": (set[str](), set[str]()),
}  # fmt: skip
"""Of each element: the attributes that it may have, and those that it must."""
_CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase", "system-out"},
    "testcase": {"failure", "error", "skipped"},
}


def checked(data: bytes) -> ElementTree.Element:
    """Return the root of *data*; fail if a reader would refuse it or show something else."""
    root = ElementTree.fromstring(data)
    assert root.tag == "testsuites"
    for element in root.iter():
        allowed, needed = _ATTRIBUTES[element.tag]
        given = set(element.keys())
        assert needed <= given <= allowed, (element.tag, given)
        assert {child.tag for child in element} <= _CHILDREN.get(element.tag, set())
        if "time" in given:
            assert _TIME.fullmatch(element.get("time", "")), element.attrib
    for suite in root:
        cases = suite.findall("testcase")
        keys = [(case.get("classname"), case.get("name")) for case in cases]
        assert len(keys) == len(set(keys)), keys
        assert all(len(case) <= 1 for case in cases)
        assert int(suite.get("tests", "")) == len(cases) > 0
        for kind, plural in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert int(suite.get(plural, "")) == sum(1 for _ in suite.iter(kind))
    for name in ("tests", "failures", "errors"):
        assert int(root.get(name, "")) == sum(int(suite.get(name, "")) for suite in root)
    return root
