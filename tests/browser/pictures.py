"""A fleet that renews by itself, and the pictures of it for the documentation."""

import os
import pathlib

import judge
from tour import enrol
from world import DESK, PHONE, muster

BROKER = "mqtt.ak-sg.com"
# How many devices of each profile there are; `main.rs` gives each profile another validity.
FLEET = [("client", 9), ("gateway", 6), ("pump", 8), ("meter", 12)]
PICTURES = [
    ("dashboard", "", DESK), ("issue", f"issue?name={BROKER}&profile=server", DESK), ("devices", "devices", DESK),
    ("certificates", "certificates", DESK), ("phone", "", PHONE),
]  # fmt: skip


def pictures(world):
    """What an operator sees whose devices renew by themselves: nothing to do but what it takes a person for."""
    page = world.open()
    world.make_admin(page)
    make_fleet()
    page.goto("")
    page.get_by_role("heading", name="Everything keeps working until").wait_for()
    assert page.locator("svg .bar:not(.yours)").count() >= len(FLEET), "devices that renew are shown"
    # The broker's certificate, which an operator issued, is the first that nobody renews by itself.
    verdict = page.get_by_text(f"Then the certificate of {BROKER} ends")
    verdict.filter(has_text="unless somebody sees to it. Nothing needs you now.").wait_for()
    take(world, page)


def make_fleet():
    """Devices that enrolled with a token, as agents do, and a broker."""
    muster("cert", "issue", BROKER, "--kind", "server", "--san", "localhost", "--out", BROKER)
    number = 0
    for profile, count in FLEET:
        line = muster("token", "create", "--wave", "autumn-2026", "--count", str(count), "--profile", profile)
        for _ in range(count):
            number += 1
            enrol(line, f"site-{number:03}")
    muster("device", "revoke", "site-002", "--reason", "key-compromise", "--yes")
    muster("device", "suspend", "site-004", "--note", "being repaired")
    muster("token", "create", "--wave", "spring-2027", "--count", "200")
    (pathlib.Path(os.environ["DATA"]) / "recovery-secret").unlink()


def take(world, page):
    """Takes them if they are wanted."""
    images = os.environ.get("MUSTER_TEST_IMAGES")
    for name, path, size in PICTURES if images else []:
        page.set_viewport_size(size)
        for scheme in judge.SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.goto(world.home + path)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=f"{images}/{name}-{scheme}.png")
