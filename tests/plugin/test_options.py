"""The table of settings: each is read where it says, in the published order, and documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from qfkit.testing.options import SETTINGS, of_run, of_test

DOCUMENT = Path(__file__).parents[2] / "docs" / "pytest.md"

#: Setting -> what is said in the ini file, on the command line, in the class's marker and in the test's own.
SAID = {
    "config": ("a.yaml", "b.yaml"),
    "seed": (1, 2),
    "dialect": ("v1", "v2", "text_generation", "v1"),
    "guard": (True, False, True, False),
    "strict": (False, True, "script", "requests"),
    "live": (None, True),
    "live_max_requests": (3, 4),
    "live_max_tokens": (5, 6),
    "live_gateway": (None, "https://b.invalid"),
    "allow": (None, None, ["a"], ["b"]),
    "keys": (None, None, {"ak": "a", "sk": "b"}, {"ak": "c", "sk": "d"}),
    "hosts": (None, None, ["a"], ["b"]),
    "mock_only": (None, None, True, False),
}


def item(pytester: pytest.Pytester, line: list[str], ini: str, outer: str, inner: str) -> pytest.Item:
    """A test, as far as the settings are concerned."""
    pytester.makeini(f"[pytest]\n{ini}\n")
    path = pytester.makepyfile(f"""
        import pytest

        @pytest.mark.qianfan({outer})
        class TestIt:
            @pytest.mark.qianfan({inner})
            def test_it(self):
                pass
    """)
    [found], _ = pytester.inline_genitems(path, "-p", "qfkit.testing.plugin", *line)
    return found


@pytest.mark.parametrize("name", SETTINGS)
def test_marker_before_command_line_before_ini_before_default(pytester: pytest.Pytester, name, monkeypatch):
    monkeypatch.setenv("QIANFAN_BEARER_TOKEN", "bce-v3/ALTAK-nobody/0")  # for --qianfan-live, which wants keys
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    setting = SETTINGS[name]
    ini, line, outer, inner = (*SAID[name], None, None)[:4]
    assert [place for place, said in zip("icm", (ini, line, outer), strict=True) if said is not None] == [
        place for place in "icm" if place in setting.places
    ]
    option = (setting.option if line else setting.off) if setting.switch else f"{setting.option}={line}"

    def found(*, ini_=False, line_=False, outer_=False, inner_=False):
        node = item(
            pytester,
            [option] if line_ else [],
            f"{setting.ini} = {ini}" if ini_ else "",
            f"{name}={outer!r}" if outer_ else "",
            f"{name}={inner!r}" if inner_ else "",
        )
        return of_test(node, name) if "m" in setting.places else of_run(node.config, name)

    assert found() == setting.default
    if "i" in setting.places:
        assert found(ini_=True) == ini
    if "c" in setting.places:
        assert found(ini_="i" in setting.places, line_=True) == line
    if "m" in setting.places:
        assert found(line_="c" in setting.places, outer_=True) == outer
        assert found(line_="c" in setting.places, outer_=True, inner_=True) == inner


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_it_is_documented(setting):
    text = DOCUMENT.read_text("utf-8")
    names = {"m": f"`{setting.name}=", "c": f"`{setting.option}`", "i": f"`{setting.ini}`"}
    assert [name for place, name in names.items() if place in setting.places and name not in text] == []
