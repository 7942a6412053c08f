"""Journeys through the GUI: `journeys.py NAME`. Prints what is wrong; exits 1 if there was something."""

import os
import pathlib
import subprocess
import sys
import time
import urllib.parse
import zipfile

from playwright.sync_api import Error

import judge
from broker import broker, wait_for
from keyboard import Keyboard
from world import PASSWORD, muster, world

SERVER = "mqtt.example.org"
DESK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
PICTURES = [("dashboard", "", DESK), ("issue", "issue", DESK), ("devices", "devices", DESK), ("phone", "", PHONE)]


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
            page.get_by_role("link", name="Download crl.pem").click()
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


def every_page(world):
    """Every page that links lead to, beginning with the menu."""
    page = world.open()
    page.goto(world.setup)
    judge.look_at(page, "setup", world.wrong)
    page.goto("login")
    judge.look_at(page, "login", world.wrong)
    world.make_admin(page)
    make_fleet()
    began = time.monotonic()
    texts = 0
    kinds = {}
    waiting = [(world.home, world.home)]
    while waiting:
        found_on, url = waiting.pop(0)
        try:
            answer = page.context.request.get(url)
        except Error:
            world.wrong.add(found_on, f"a link to {url}, whose answer breaks off")
            continue
        if not answer.ok:
            world.wrong.add(found_on, f"a link to {url}, which answers {answer.status}")
        if not answer.ok or "text/html" not in answer.headers.get("content-type", ""):
            continue
        page.goto(url)
        texts += judge.look_at(page, urllib.parse.urlsplit(url).path, world.wrong)
        for link in page.eval_on_selector_all("a[href]", "(all) => all.map((one) => one.href)"):
            link = link.split("#")[0]
            kind = kind_of(link)
            if link.startswith(world.home) and kind not in kinds:
                kinds[kind] = link
                waiting.append((url, link))
    texts += answers_to_forms(world, page)
    take_pictures(world, page)
    print(f"measured: {len(kinds)} kinds of addresses, {texts} texts, {time.monotonic() - began:.0f} s")


def answers_to_forms(world, page):
    """Pages that no link leads to, and what a form looks like that is refused."""
    menu(page, "Issue Certificate")
    page.get_by_label("Site/Device Name").fill("Not a Name")
    page.get_by_role("button", name="Issue certificate").click()
    page.locator("[aria-invalid]").first.wait_for()
    texts = judge.look_at(page, "issue, refused", world.wrong)
    page.get_by_label("Site/Device Name").fill("site-700")
    page.get_by_role("button", name="Issue certificate").click()
    page.get_by_role("link", name="Download site-700-certs.zip").wait_for()
    texts += judge.look_at(page, "issue, done", world.wrong)
    find_to_revoke(page, "site-700")
    texts += judge.look_at(page, "revoke, chosen", world.wrong)
    page.get_by_label("Type the device's name").fill("site-700")
    page.get_by_role("button", name="Revoke the device").click()
    page.get_by_role("link", name="Download crl.pem").wait_for()
    texts += judge.look_at(page, "revoke, done", world.wrong)
    page.goto(world.home + "users/ci")
    page.get_by_role("button", name="Replace the API key").click()
    page.get_by_role("button", name="Copy", exact=True).wait_for()
    return texts + judge.look_at(page, "users, a new key", world.wrong)


def make_fleet():
    """Something of everything, so that no page is empty."""
    muster("cert", "issue", SERVER, "--kind", "server", "--san", "localhost,10.0.80.50", "--out", SERVER)
    for number in range(1, 9):
        name = f"site-{number:03}"
        muster("cert", "issue", name, "--out", name)
    muster("device", "revoke", "site-002", "--reason", "key-compromise", "--yes")
    muster("device", "suspend", "site-004")
    muster("device", "create", "site-900", "--profile", "client", "--note", "a pump by the river")
    muster("token", "create", "site-900")
    muster("token", "create", "--wave", "sites-2026", "--count", "1000")
    muster("user", "create", "ci", "--role", "operator")
    muster("user", "create", "bob", "--role", "auditor", "--person")


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
    """Logging in, issuing and revoking without a pointer."""
    page = world.open()
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
    assert page.get_by_role("link", name="Download crl.pem").is_visible()


def without_javascript(world):
    """Issuing and revoking in a browser that runs no script."""
    page = world.open(java_script_enabled=False)
    world.make_admin(page)
    bundle(page, "site-001")
    find_to_revoke(page, "site-001")
    page.get_by_label("Type the device's name").fill("site-001")
    page.get_by_role("button", name="Revoke the device").click()
    assert page.get_by_role("link", name="Download crl.pem").is_visible()
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


SCRIPT = "'\"><script>alert(1)</script><img src=x onerror=alert(2)>"
# Pages whose lines can be run as they stand.
LINED = [
    "", "devices", "devices?state=new", "devices/site-001", "certificates", "certificates?status=active", "tokens", "profiles",
    "ca", "audit", "audit?actor=alice", "users", "search?q=site-", "devices/site-001/suspend", "devices/site-001/resume",
    "devices/site-001/access", "brokers", "brokers/-/new",
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
            command, call = (which.locator(f".{kind} code").text_content() for kind in ("cli", "api"))
            # 5: done, and something needs attention. curl would be told of a refusal by its status alone.
            done = subprocess.run(command, shell=True, cwd=data, env=shell, capture_output=True, text=True)
            if done.returncode not in (0, 5):
                world.wrong.append(f"{path}: {command}: {done.returncode} {done.stderr}")
            called = call.replace("curl ", "curl --silent --show-error --fail-with-body ", 1)
            if path.endswith("/suspend") or path.endswith("/resume"):
                # The command has done it already.
                called = called.replace('/suspend"', '/suspend?dry_run=true"').replace('/resume"', '/resume?dry_run=true"')
            answer = subprocess.run(called, shell=True, cwd=data, env=shell | remote, capture_output=True, text=True)
            done_before = "409" in answer.stderr
            if answer.returncode and not done_before:
                world.wrong.append(f"{path}: {call}: {answer.stdout} {answer.stderr}")
    for path in ["devices", "devices/site-002", "tokens", "audit", "", "search?q=" + urllib.parse.quote(SCRIPT)]:
        page.goto(path)
    assert not fired, fired


def main():
    journeys = (first_day, every_page, by_keyboard, without_javascript, live_list, shown_lines_work)
    journey = {one.__name__: one for one in journeys}[sys.argv[1]]
    with world() as here:
        journey(here)
        print("\n".join(here.wrong))
        return 1 if here.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
