"""What a page must not do to anybody: what axe-core finds, text that is too pale, scrolling sideways.

`listen` notes on the way what the content security policy refuses, requests to other hosts, and mistakes of scripts.
"""

import urllib.parse

from axe_playwright_python.base import AXE_FILE_PATH

AXE = AXE_FILE_PATH.read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]
WIDTHS = [(1440, 900), (390, 844), (360, 640)]
SCHEMES = ["light", "dark"]
LEAST_CONTRAST = 4.5

# WCAG 2.2, 1.4.3. The canvas turns every notation of colours into bytes; axe-core gives up on oklch().
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const pixel = (colour) => {
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(colour, [r, g, b, a / 255]);
    }
    return known.get(colour);
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((byte) => {
      const part = byte / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const colour = pixel(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), pixel(getComputedStyle(document.documentElement).colorScheme.startsWith("dark") ? "black" : "white"));
  };
  const pale = new Set();
  let seen = 0;
  const check = (text, element, colour, host) => {
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return;
    const ground = behind(host);
    const [high, low] = [luminance(over(pixel(colour), ground)), luminance(ground)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    seen += 1;
    if (ratio < LEAST) pale.add(`${ratio.toFixed(2)} ${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""} ${JSON.stringify(text.trim().slice(0, 40))}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent;
    const element = walker.currentNode.parentElement;
    if (!text.trim() || element.closest("script, style, :disabled, [aria-disabled=true]")) continue;
    const drawn = element instanceof SVGElement;
    const style = getComputedStyle(element);
    check(text, element, drawn ? style.fill : style.color, drawn ? element.closest("svg").parentElement : element);
  }
  for (const input of document.querySelectorAll("input:not([type=hidden], [type=checkbox], [type=radio]), textarea, select")) {
    if (input.disabled) continue;
    check(input.value || "value", input, getComputedStyle(input).color, input);
    if (input.placeholder) check(input.placeholder, input, getComputedStyle(input, "::placeholder").color, input);
  }
  return { seen, pale: [...pale] };
}""".replace("LEAST", str(LEAST_CONTRAST))

# Only what can be scrolled there: what is hidden on purpose may be anywhere.
SIDEWAYS = """() => {
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide <= 0) return "";
  const out = [...document.body.querySelectorAll("*")].filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5);
  const names = out.slice(0, 3).map((one) => `${one.tagName.toLowerCase()}.${one.getAttribute("class") ?? ""}`);
  return `${wide} px too wide: ${names.join(", ")}`;
}"""

AXE_RUN = """(rules) => axe
  .run(document, { runOnly: rules, resultTypes: ["violations"] })
  .then((found) => found.violations.map((one) => `${one.id}: ${one.nodes.length} times, such as ${one.nodes[0].html.slice(0, 160)} (${(one.nodes[0].any[0] ?? one.nodes[0].all[0] ?? one.nodes[0].none[0])?.message ?? one.help})`))"""

# The menu of colours lies over others when it is open; `colours_change_where_one_is` has it.
OPEN_ALL = "() => document.querySelectorAll('details:not(.theme)').forEach((one) => { one.open = true; })"


class Wrong(list):
    """What was found, each once."""

    def add(self, where, what):
        line = f"{where}: {what}"
        if line not in self:
            self.append(line)


def listen(context, home, wrong):
    """Notes what pages of a context do that they must not."""
    host = urllib.parse.urlsplit(home).netloc

    def requested(request):
        if urllib.parse.urlsplit(request.url).netloc != host:
            wrong.add(request.url, "a request to another host")

    def said(message):
        # The browser also reports every status of 400 and more this way; journeys look at these themselves.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            wrong.add(message.page.url if message.page else home, message.text)

    context.on("request", requested)
    context.on("console", said)
    context.on("weberror", lambda error: wrong.add(error.page.url if error.page else home, str(error.error)))
    context.add_init_script(
        """addEventListener("securitypolicyviolation", (event) =>
          console.error(`Content Security Policy: ${event.violatedDirective} ${event.blockedURI}`), true)"""
    )


def look_at(page, where, wrong):
    """Looks at the page in every width and scheme, and at each of its dialogs. Returns how many texts it looked at."""
    page.evaluate(OPEN_ALL)
    page.evaluate(AXE)
    seen = 0
    dialogs = page.evaluate("() => [...document.querySelectorAll('dialog')].map((one) => one.id)")
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for width, height in WIDTHS:
            page.set_viewport_size({"width": width, "height": height})
            seen += look_once(page, f"{where}, {scheme}, {width} px", wrong)
        for dialog in dialogs:
            page.evaluate("(id) => document.getElementById(id).showModal()", dialog)
            seen += look_once(page, f"{where}, dialog {dialog}, {scheme}, {width} px", wrong)
            page.evaluate("(id) => document.getElementById(id).close()", dialog)
    page.emulate_media(color_scheme=None)
    page.set_viewport_size({"width": WIDTHS[0][0], "height": WIDTHS[0][1]})
    return seen


def look_once(page, where, wrong):
    contrast = page.evaluate(CONTRAST)
    for text in contrast["pale"]:
        wrong.add(where, f"contrast below {LEAST_CONTRAST}: {text}")
    for found in page.evaluate(AXE_RUN, RULES):
        wrong.add(where, f"axe: {found}")
    sideways = page.evaluate(SIDEWAYS)
    if sideways:
        wrong.add(where, sideways)
    return contrast["seen"]
