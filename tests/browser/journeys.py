"""Journeys through the GUI: `journeys.py NAME`. Prints what is wrong; exits 1 if there was something."""

import os
import sys
import time
import urllib.parse

import judge
from keyboard import Keyboard
from world import PASSWORD, world

DESK = {"width": 1440, "height": 900}
PICTURES = [("dashboard", "", DESK)]


def first_day(world):
    """First run from the setup link to logging in."""
    page = world.open()
    world.make_admin(page)


def every_page(world):
    """Every page that links lead to, beginning with the menu."""
    page = world.open()
    page.goto(world.setup)
    judge.look_at(page, "setup", world.wrong)
    page.goto("login")
    judge.look_at(page, "login", world.wrong)
    world.make_admin(page)
    began = time.monotonic()
    texts = 0
    kinds = {}
    waiting = [world.home]
    while waiting:
        url = waiting.pop(0)
        answer = page.context.request.get(url)
        if "text/html" not in answer.headers.get("content-type", ""):
            continue
        where = urllib.parse.urlsplit(url).path
        page.goto(url)
        texts += judge.look_at(page, where, world.wrong)
        for link in page.eval_on_selector_all("a[href]", "(all) => all.map((one) => one.href)"):
            link = link.split("#")[0]
            kind = kind_of(link)
            if link.startswith(world.home) and kind not in kinds:
                kinds[kind] = link
                waiting.append(link)
    take_pictures(world, page)
    print(f"measured: {len(kinds)} kinds of pages, {texts} texts, {time.monotonic() - began:.0f} s")


def take_pictures(world, page):
    """The pictures of the documentation, if they are wanted."""
    images = os.environ.get("MUSTER_TEST_IMAGES")
    if not images:
        return
    for name, path, size in PICTURES:
        page.set_viewport_size(size)
        for scheme in judge.SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.goto(world.home + path)
            page.screenshot(path=f"{images}/{name}-{scheme}.png")


def kind_of(link):
    """Pages of one kind differ in a name only: one of each is enough."""
    parts = urllib.parse.urlsplit(link).path.strip("/").split("/")
    return parts[0], len(parts), tuple(parts[2:])


def by_keyboard(world):
    """Logging in without a pointer."""
    page = world.open()
    world.make_admin(page)
    page.context.clear_cookies()
    page.goto("login")
    hands = Keyboard(page, world.wrong)
    hands.focus("Name").type("alice").focus("Password").type(PASSWORD)
    hands.go("Log in")
    assert page.get_by_role("heading", name="Dashboard").is_visible()


def without_javascript(world):
    """Everything that an operator has to do, in a browser that runs no script."""
    page = world.open(java_script_enabled=False)
    world.make_admin(page)


def main():
    journey = {one.__name__: one for one in (first_day, every_page, by_keyboard, without_javascript)}[sys.argv[1]]
    with world() as here:
        journey(here)
        print("\n".join(here.wrong))
        return 1 if here.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
