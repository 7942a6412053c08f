"""Journeys through the GUI: `journeys.py NAME`. Prints what is wrong; exits 1 if there was something."""

import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.parse
import zipfile

from broker import broker, wait_for
from keyboard import Keyboard
from pictures import pictures
from tour import SERVER, Tour, every_page
from world import PASSWORD, PHONE, muster, world



def first_day(world):
    """First run from the setup link to a bundle with which a client connects; then it is revoked and refused."""
    page = world.open()
    world.make_admin(page)
    server = bundle(page, SERVER, kind="server", sans="localhost")
    device = bundle(page, "site-001")
    other = bundle(page, "site-002")
    crl = pathlib.Path("crl.pem").absolute()
    muster("ca", "crl", "--out", crl)
    with broker(server, crl) as mosquitto:
        assert mosquitto.takes(device), "a certificate of the GUI does not connect"
        find_to_revoke(page, "site-001")
        page.get_by_label("Type the device's name").fill("site-002")
        page.get_by_role("button", name="Revoke the device").click()
        page.get_by_text("this is not its name").wait_for()
        assert muster("cert", "list", "--status", "revoked", "--json").count("site-001") == 0
        page.get_by_label("Type the device's name").fill("site-001")
        page.get_by_role("button", name="Revoke the device").click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download crl.pem").click()
        mosquitto.install(download.value.path().read_bytes())
        wait_for("the client to be refused", lambda: not mosquitto.takes(device))
        assert mosquitto.takes(other), "another client is refused as well"


def bundle(page, name, kind="client", sans=""):
    """Issues by the form and unpacks what is downloaded."""
    menu(page, "Issue Certificate")
    page.get_by_label("Site/Device Name").fill(name)
    page.get_by_label("Certificate Type").select_option(kind)
    page.get_by_label("Subject Alternative Names").fill(sans)
    page.get_by_role("button", name="Issue certificate").click()
    with page.expect_download() as download:
        page.get_by_role("link", name=f"Download {name}-certs.zip").click()
    return unpack(download.value, name)


def unpack(download, name):
    assert download.suggested_filename == f"{name}-certs.zip", download.suggested_filename
    with zipfile.ZipFile(download.path()) as archive:
        assert sorted(archive.namelist()) == sorted(
            f"{name}/{file}" for file in ("README.txt", "ca.crt", f"{name}.crt", f"{name}.key")
        )
        archive.extractall()
    return pathlib.Path(name).absolute()


def find_to_revoke(page, name):
    menu(page, "Revoke Certificate")
    page.get_by_label("Name or serial number").fill(name)
    page.get_by_role("button", name="Find").click()


def menu(page, label):
    page.get_by_role("navigation").get_by_role("link", name=label).click()
    page.locator("nav a[aria-current=page]", has_text=label).wait_for()


def by_keyboard(world, **options):
    """Logging in, issuing and revoking without a pointer."""
    page = world.open(**options)
    world.make_admin(page)
    page.context.clear_cookies()
    page.goto("login")
    hands = Keyboard(page, world.wrong)
    hands.focus("Name").type("alice").focus("Password").type(PASSWORD)
    hands.go("Log in")
    assert page.get_by_role("heading", name="Dashboard").is_visible()
    hands.go("Issue Certificate")
    hands.focus("Site/Device Name").type("site-001")
    hands.go("Issue certificate", "button")
    with page.expect_download() as download:
        hands.focus("Download site-001-certs.zip").press()
    unpack(download.value, "site-001")
    hands.go("Revoke Certificate")
    hands.focus("Name or serial number").type("site-001")
    hands.go("Find")
    hands.focus("Type the device's name").type("site-001")
    hands.go("Revoke the device")
    assert page.get_by_role("button", name="Download crl.pem").is_visible()


def by_keyboard_without_javascript(world):
    """The same in a browser that runs no script."""
    by_keyboard(world, java_script_enabled=False)


def without_javascript(world):
    """Issuing and revoking in a browser that runs no script."""
    page = world.open(java_script_enabled=False)
    world.make_admin(page)
    bundle(page, "site-001")
    find_to_revoke(page, "site-001")
    page.get_by_label("Type the device's name").fill("site-001")
    page.get_by_role("button", name="Revoke the device").click()
    assert page.get_by_role("button", name="Download crl.pem").is_visible()
    menu(page, "All certificates")
    assert page.get_by_role("row", name="site-001").get_by_text("Revoked").is_visible()
    # On a phone the menu is behind a button.
    page.set_viewport_size(PHONE)
    page.get_by_role("button", name="Open the menu").click()
    page.get_by_role("navigation").get_by_role("link", name="Devices").click()
    page.wait_for_url("**/devices")


def live_list(world):
    """A device that is registered elsewhere appears by itself; what somebody does in the list stays. Then it is sorted."""
    page = world.open()
    world.make_admin(page)
    muster("device", "create", "site-001")
    page.goto("devices")
    page.get_by_text("Live", exact=True).wait_for()
    muster("device", "create", "site-002")
    page.get_by_role("link", name="site-002").wait_for()
    page.get_by_label("Select site-001").check()
    muster("device", "create", "site-003")
    page.get_by_label("Select site-001").uncheck()
    page.get_by_role("link", name="site-003").wait_for()
    hands = Keyboard(page, world.wrong)
    hands.go("Registered", "a")
    assert page.locator("th[aria-sort=ascending]").inner_text().strip() == "Registered"
    hands.go("Registered", "a")
    assert page.locator("th[aria-sort=descending]").inner_text().strip() == "Registered"
    assert page.locator("tbody .key a").first.inner_text() == "site-003"


def colours_change_where_one_is(page):
    """Light on a dark system and back, on a page whose secret is shown this once."""
    page.emulate_media(color_scheme="dark")
    page.goto("tokens/-/new?for=one")
    page.get_by_label("Name of the device", exact=True).fill("site-003")
    page.get_by_role("button", name="Make the token").click()
    secret = page.locator("#line").inner_text()
    canvas = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = canvas()
    for name, theme, same in [("Light", "light", False), ("Dark", "dark", True), ("As the system", None, True)]:
        page.get_by_label("Colours").click()
        with page.expect_response(lambda answer: answer.url.endswith("/theme")) as kept:
            page.get_by_role("button", name=name, exact=True).click()
        assert kept.value.status == 303, kept.value.status
        assert page.evaluate("document.documentElement.dataset.theme ?? null") == theme
        assert (canvas() == dark) is same, (name, canvas())
        assert page.locator("#line").inner_text() == secret
        cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
        assert cookies.get("muster_theme") == theme, cookies
    # Escape closes the menu and leaves the focus where one opened it.
    page.get_by_label("Colours").press("Enter")
    page.get_by_role("button", name="Dark", exact=True).focus()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.matches('.theme:not([open]) > summary')")
    # What is printed is dark on white, whatever was chosen.
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    page.emulate_media(media="screen", color_scheme="light")
    page.evaluate("delete document.documentElement.dataset.theme")


def below_a_base_path(world):
    """The GUI below `/pki/`, where a proxy serves other things as well: nothing is asked for outside of it."""
    base = urllib.parse.urlsplit(world.home).path
    assert base == "/pki/", world.home
    page = world.open()
    page.context.on("request", lambda request: below(base, request.url, world.wrong))
    world.make_admin(page)
    bundle(page, "site-001")
    page.goto("devices")
    page.get_by_text("Live", exact=True).wait_for()
    muster("device", "create", "site-002")
    page.get_by_role("link", name="site-002").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("site-00")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="site-002").wait_for()
    colours_change_where_one_is(page)
    with page.expect_download() as download:
        menu(page, "All certificates")
        page.get_by_role("link", name="CSV").click()
    assert "site-001" in download.value.path().read_text()
    tour = Tour(world, page, look=lambda page, where, wrong: 0)
    tour.follow(world.home)
    assert len(tour.seen) > 40, tour.seen
    find_to_revoke(page, "site-001")
    page.get_by_label("Type the device's name").fill("site-001")
    page.get_by_role("button", name="Revoke the device").click()
    page.get_by_role("button", name="Download crl.pem").wait_for()
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("heading", name="Log in").wait_for()
    page.goto("devices")
    assert page.url.startswith(f"{world.home}login?next=devices"), page.url


def below(base, url, wrong):
    if not urllib.parse.urlsplit(url).path.startswith(base):
        wrong.add(url, f"a request outside of {base}")


SCRIPT = "'\"><script>alert(1)</script><img src=x onerror=alert(2)>"
# Pages whose lines can be run as they stand.
LINED = [
    "", "devices", "devices?state=new", "devices/site-001", "certificates", "certificates?status=active", "tokens", "profiles",
    "ca", "audit", "audit?actor=alice", "users", "search?q=site-", "devices/site-001/suspend", "devices/site-001/resume",
    "devices/site-001/access", "brokers", "brokers/-/new", "settings", "revoke/waiting", "users/bob", "diagnosis",
]


def shown_lines_work(world):
    """What a page shows as a command and as a call of the API does what it says; script that was written as text stays text."""
    page = world.open()
    fired = []
    page.context.on("dialog", lambda dialog: (fired.append(dialog.message), dialog.dismiss()))
    world.make_admin(page)
    bundle(page, "site-001")
    muster("device", "create", "site-002", "--profile", "client", "--note", SCRIPT)
    muster("token", "create", "--wave", SCRIPT, "--count", "3")
    muster("user", "create", "bob", "--role", "viewer")
    key = muster("user", "create", "ci", "--role", "admin").strip()
    data = pathlib.Path(os.environ["DATA"])
    shell = {
        "PATH": f"{pathlib.Path(os.environ['MUSTER']).parent}:{os.environ['PATH']}",
        "MUSTER_DATA": str(data),
        "HOME": os.environ.get("HOME", "/"),
    }
    remote = {"MUSTER_URL": os.environ["API"], "MUSTER_API_KEY": key}
    for path in LINED:
        page.goto(path)
        for which in page.locator(".lines").all():
            command, call = ("".join(which.locator(f".{kind} code").all_text_contents()) for kind in ("cli", "api"))
            # curl would be told of a refusal by its status alone.
            called = call.replace("curl ", "curl --silent --show-error --fail-with-body ", 1)
            # What changes something is only tried by the API, before the command does it.
            called = re.sub(r'(-X \w+ "[^"?]+)"', r'\1?dry_run=true"', called)
            answer = subprocess.run(called, shell=True, cwd=data, env=shell | remote, capture_output=True, text=True)
            if answer.returncode:
                world.wrong.append(f"{path}: {call}: {answer.stdout} {answer.stderr}")
            done = subprocess.run(command, shell=True, cwd=data, env=shell, capture_output=True, text=True)
            # 5: done, and something needs attention.
            if done.returncode not in (0, 5):
                world.wrong.append(f"{path}: {command}: {done.returncode} {done.stderr}")
    for path in ["devices", "devices/site-002", "tokens", "audit", "", "search?q=" + urllib.parse.quote(SCRIPT)]:
        page.goto(path)
    assert not fired, fired


def main():
    journeys = (
        first_day, every_page, by_keyboard, by_keyboard_without_javascript, without_javascript, below_a_base_path, live_list,
        shown_lines_work, pictures,
    )  # fmt: skip
    journey = {one.__name__: one for one in journeys}[sys.argv[1]]
    with world() as here:
        journey(here)
        print("\n".join(here.wrong))
        return 1 if here.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
