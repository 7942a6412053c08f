"""Hands on a keyboard: Tab until the right thing has the focus, then type. No pointer, and no reaching into the page."""

# More stops than any page has.
MANY = 250

FOCUSED = """() => {
  const one = document.activeElement;
  const style = getComputedStyle(one);
  const label = one.labels?.[0] ?? one.closest("label");
  return {
    name: (one.getAttribute("aria-label") ?? label?.textContent ?? one.textContent).trim().replace(/\\s+/g, " "),
    tag: one.tagName.toLowerCase(),
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0,
    hidden: !one.checkVisibility({ visibilityProperty: true }),
  };
}"""


class Keyboard:
    def __init__(self, page, wrong):
        self.page = page
        self.wrong = wrong

    def focus(self, name, tag=None):
        """Presses Tab until something of this name has the focus. Every stop on the way must be seen."""
        passed = []
        for _ in range(MANY):
            self.page.keyboard.press("Tab")
            at = self.page.evaluate(FOCUSED)
            if at["tag"] == "body":
                continue
            if at["hidden"]:
                self.wrong.add(self.page.url, f"the focus is on something hidden: {at['name']!r}")
            # A radio button shows its ring on its label.
            if not at["ring"] and at["tag"] not in ("input", "main"):
                self.wrong.add(self.page.url, f"nobody sees that {at['name']!r} has the focus")
            if at["name"].startswith(name) and tag in (None, at["tag"]):
                return self
            passed.append(at["name"])
        raise AssertionError(f"Tab does not reach {name!r} on {self.page.url}; it passes {passed[:60]}")

    def type(self, text):
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)
        return self

    def press(self, key="Enter"):
        self.page.keyboard.press(key)
        return self

    def go(self, name, tag=None):
        """Follows a link or presses a button."""
        with self.page.expect_navigation():
            self.focus(name, tag).press()
        return self
