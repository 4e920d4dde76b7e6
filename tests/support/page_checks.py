"""What a page in a browser is looked at for: what axe finds in it, where the keyboard is, what a screen reader says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = ROOT / "po_jupyter/ui/node_modules/axe-core/axe.min.js"
IMPACTS = ("serious", "critical")

# Where the keyboard is: the element's role, its name, whether it is seen to have the focus, and whose part it is in.
FOCUSED = """() => {
  const ring = e => {
    const style = getComputedStyle(e);
    const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
    return outlined || style.boxShadow !== 'none';
  };
  const e = document.activeElement;
  if (!e || e === document.body) { return null; }
  const name = e.getAttribute('aria-label') || [...(e.labels ?? [])].map(l => l.innerText).join(' ')
    || e.innerText || e.getAttribute('placeholder') || '';
  const place = e.closest('.jp-Dialog, .po-RunPage, .po-Side, .po-Output');
  const box = e.getBoundingClientRect();
  const active = e.getAttribute('aria-activedescendant');
  return {
    tag: e.tagName.toLowerCase(), role: e.getAttribute('role') ?? '', name: name.trim().slice(0, 120),
    ring: ring(e) || (active ? ring(document.getElementById(active)) : false),
    place: place ? place.className.match(/jp-Dialog|po-RunPage|po-Side|po-Output/)[0] : '',
    seen: box.width > 0 && box.height > 0,
  };
}"""
# Collects what the live regions of our parts say, in `window.said`.
LISTEN = """() => {
  if (window.said) { return; }
  window.said = [];
  const live = '[role=status], [role=alert], [aria-live=polite], [aria-live=assertive]';
  const hear = node => {
    const region = (node.nodeType === 1 ? node : node.parentElement)?.closest?.(live);
    const text = region?.textContent.trim();
    if (text && region.closest('.po-RunPage, .po-Side, .po-Output') && window.said.at(-1) !== text) {
      window.said.push(text);
    }
  };
  new MutationObserver(all => {
    for (const one of all) {
      hear(one.target);
      for (const node of one.addedNodes) {
        if (node.nodeType === 1 && node.matches(live)) { hear(node); }
        if (node.nodeType === 1) { node.querySelectorAll(live).forEach(hear); }
      }
    }
  }).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


def serious(page: Page, where: str) -> list[str]:
    """What axe finds in the elements `where` that keeps somebody out."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: jlpm install in po_jupyter/ui")
    page.evaluate(AXE.read_text() + ";undefined")
    found = page.evaluate(
        "async where => (await axe.run(where, {resultTypes: ['violations']})).violations", where
    )
    return [
        f"{each['id']}: {each['help']} {[node['html'][:160] for node in each['nodes'][:3]]}"
        for each in found
        if each["impact"] in IMPACTS
    ]


class Keyboard:
    """A person with a keyboard alone. Each stop has the focus, is seen to have it, and is in sight."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.page.evaluate(LISTEN)

    def focused(self) -> dict[str, Any] | None:
        """The element with the focus; None when it is lost."""
        found = self.page.evaluate(FOCUSED)
        return None if found is None else dict(found)

    def stop(self, where: str = "") -> dict[str, Any]:
        """The element with the focus, which can be seen to have it; in the part `where`."""
        found = self.focused()
        assert found is not None, "the focus is lost"
        if where:
            assert found["place"] == where, found
        assert found["ring"], f"nobody sees that it has the focus: {found}"
        assert found["seen"], f"it cannot be seen: {found}"
        return found

    def press(self, key: str) -> None:
        """Buttons that have just come take nothing for half a second, and no person is as quick as this."""
        self.page.wait_for_function("() => document.activeElement?.getAttribute('aria-disabled') !== 'true'")
        self.page.keyboard.press(key)

    def to(self, name: str, where: str = "", *, key: str = "Tab", most: int = 60) -> dict[str, Any]:
        """Press `key` until the element of that name has the focus."""
        passed = []
        for _ in range(most):
            self.page.keyboard.press(key)
            found = self.stop(where)
            if found["name"].startswith(name):
                return found
            passed.append(found["name"][:30])
        raise AssertionError(f"{name!r} is not reached by {key}: {passed}")

    def says(self, words: str, seconds: float = 20) -> None:
        """Wait until a live region has said so."""
        self.page.wait_for_function(
            "words => window.said.some(text => text.includes(words))", arg=words, timeout=seconds * 1000
        )

    def keeps(self, where: str, seconds: float = 5) -> dict[str, Any]:
        """The focus is in that part, now or as soon as what is under way has ended."""
        self.page.wait_for_function(
            "where => document.activeElement?.closest('.' + where)", arg=where, timeout=seconds * 1000
        )
        return self.stop(where)
