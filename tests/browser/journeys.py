"""Journeys through the GUI: `journeys.py NAME`. Prints what is wrong; exits 1 if there was something."""

import os
import pathlib
import sys
import time
import urllib.parse
import zipfile

import judge
from broker import Mosquitto
from keyboard import Keyboard
from world import PASSWORD, world

DESK = {"width": 1440, "height": 900}
PICTURES = [("dashboard", "", DESK)]


def first_day(world):
    """First run from the setup link to a client that talks to a broker, and is shut out once the new CRL is there."""
    page = world.open()
    world.make_admin(page)
    broker = issue(page, "localhost", "server", "127.0.0.1")
    client = issue(page, "site-001", "client")
    crl = download(page, "revoke/done", "Download crl.pem")
    with Mosquitto(broker, crl) as mosquitto:
        assert mosquitto.lets_in(client), "the client is not let in"
        revoke(page, "site-001")
        # In the place of the one before.
        assert download(page, None, "Download crl.pem") == crl
        mosquitto.reload()
        mosquitto.wait_for("the revoked client to be shut out", lambda: not mosquitto.lets_in(client))


def issue(page, name, kind, sans=""):
    """Fills in the form and unpacks what is downloaded: the directory with the files."""
    page.goto("issue")
    page.get_by_label("Site/Device Name").fill(name)
    page.get_by_label("Certificate Type").select_option(kind)
    page.get_by_label("Subject Alternative Names").fill(sans)
    page.get_by_role("button", name="Issue certificate").click()
    archive = download(page, None, f"Download {name}-certs.zip")
    with zipfile.ZipFile(archive) as files:
        files.extractall()
    return pathlib.Path(name).absolute()


def download(page, path, link):
    """The file behind a link."""
    if path:
        page.goto(path)
    with page.expect_download() as waiting:
        page.get_by_role("link", name=link).click()
    file = pathlib.Path(waiting.value.suggested_filename).absolute()
    waiting.value.save_as(file)
    return file


def revoke(page, name):
    """Shuts a device out by typing its name."""
    page.goto("revoke")
    page.get_by_label("Name or serial number").fill(name)
    page.get_by_role("button", name="Find").click()
    page.get_by_label("Type the device's name").fill(name)
    page.get_by_role("button", name="Revoke the device").click()
    page.get_by_text("Unconfirmed").wait_for()


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
    hands.go("Issue Certificate").focus("Site/Device Name").type("site-001").go("Issue certificate")
    assert page.get_by_role("link", name="Download site-001-certs.zip").is_visible()
    hands.go("Revoke Certificate").focus("Name or serial number").type("site-001").go("Find")
    hands.focus("Type the device's name").type("site-001").go("Revoke the device")
    assert page.get_by_text("Unconfirmed").is_visible()


def without_javascript(world):
    """Everything that an operator has to do, in a browser that runs no script."""
    page = world.open(java_script_enabled=False)
    world.make_admin(page)
    page.goto("issue")
    page.get_by_label("Site/Device Name").fill("site-001")
    page.get_by_role("button", name="Preview").click()
    page.get_by_text("identify itself to a broker as a client").wait_for()
    page.get_by_role("button", name="Issue certificate").click()
    page.get_by_role("link", name="Download site-001-certs.zip").wait_for()
    page.goto("certificates")
    page.get_by_role("link", name="site-001").click()
    page.get_by_text("In force").wait_for()
    revoke(page, "site-001")


def main():
    journey = {one.__name__: one for one in (first_day, every_page, by_keyboard, without_javascript)}[sys.argv[1]]
    with world() as here:
        journey(here)
        print("\n".join(here.wrong))
        return 1 if here.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
