"""Every page of the router, by links and by forms, for everybody."""

import json
import os
import re
import socket
import time
import urllib.parse

from playwright.sync_api import Error

import judge
from world import muster

SERVER = "mqtt.example.org"
# What no link of a page leads to: what does not end, and what pages load by themselves.
NOT_LINKED = {"live", "static/{file}"}


class Tour:
    """Goes through pages and, as `judge.py` does, looks at each."""

    def __init__(self, world, page, look=judge.look_at):
        self.world = world
        self.page = page
        self.look_at = look
        self.kinds = set()
        self.seen = set()
        self.texts = 0

    def look(self, where):
        """Looks at the page as it is now."""
        self.seen.add(self.path(self.page.url))
        self.texts += self.look_at(self.page, where, self.world.wrong)

    def follow(self, *waiting):
        """Follows links from these addresses on, one of each kind."""
        waiting = [(url, url) for url in waiting]
        while waiting:
            found_on, url = waiting.pop(0)
            if not self.is_page(found_on, url):
                continue
            self.page.goto(url)
            self.look(self.path(url))
            waiting += [(url, link) for link in self.new_links()]

    def is_page(self, found_on, url):
        try:
            answer = self.page.context.request.get(url)
        except Error:
            self.world.wrong.add(found_on, f"a link to {url}, whose answer breaks off")
            return False
        if not answer.ok:
            self.world.wrong.add(found_on, f"a link to {url}, which answers {answer.status}")
        self.seen.add(self.path(url))
        return answer.ok and "text/html" in answer.headers.get("content-type", "")

    def new_links(self):
        """Links of the page to kinds of addresses that are not known yet."""
        for link in self.page.eval_on_selector_all("a[href]", "(all) => all.map((one) => one.href)"):
            link = link.split("#")[0]
            if not link.startswith(self.world.home):
                self.world.wrong.add(self.page.url, f"a link out of the GUI: {link}")
            elif (kind := kind_of(self.path(link))) not in self.kinds:
                self.kinds.add(kind)
                yield link

    def path(self, url):
        return urllib.parse.urlsplit(url.removeprefix(self.world.home)).path

    def left_out(self):
        """The router's routes that nothing led to."""
        routes = set(os.environ["ROUTES"].split("\n")) - NOT_LINKED
        pattern = lambda route: re.sub(r"\\\{[a-z]+\\\}", "[^/]+", re.escape(route))
        return sorted(route for route in routes if not any(re.fullmatch(pattern(route), path) for path in self.seen))


def kind_of(path):
    """Pages of one kind differ in a name only: one of each is enough. Files are told apart by their ending."""
    parts = path.split("/")
    ending = path.rpartition(".")[2] if path.endswith((".csv", ".json")) else ""
    return parts[0], len(parts), tuple(parts[2:]), ending


def every_page(world):
    """Every page that the router has, beginning with the menu; what comes of forms; what is refused."""
    page = world.open()
    tour = Tour(world, page)
    began = time.monotonic()
    page.goto(world.setup)
    tour.look("setup")
    page.goto("login")
    tour.look("login")
    world.make_admin(page)
    make_fleet()
    tour.follow(world.home)
    issue(tour)
    revoke(tour)
    many(tour)
    told_once(tour)
    roll_over(tour)
    page.goto("nowhere")
    tour.look("nowhere")
    for route in tour.left_out():
        world.wrong.append(f"nothing leads to {route}")
    print(f"measured: {len(tour.seen)} addresses, {tour.texts} texts, {time.monotonic() - began:.0f} s")


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
    muster("user", "create", "ci", "--role", "operator")
    muster("user", "create", "bob", "--role", "auditor", "--person")
    muster("broker", "add", "hub.example.org", "--san", "localhost", "--ca-url", os.environ["API"], "--out", "hub.join")
    enrol(muster("token", "create", "--wave", "sites-2026", "--count", "1000"), "site-901")
    knock("site-001", "a gateway")


def knock(*names):
    """Comes to the diagnosis listener without TLS, under these names."""
    port = json.loads(muster("doctor", "listen", "--json"))["address"].rpartition(":")[2]
    for name in names:
        with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as client:
            tail = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(name).to_bytes(2) + name.encode()
            client.sendall(b"\x10" + bytes([len(tail)]) + tail)
            client.recv(4)


def enrol(line, name):
    """Does what the line of a token says, as this device."""
    code = line.split()[3]
    muster("agent", "enrol", code, "--name", name, "--dir", name)


def issue(tour):
    """A form that is refused, and what is handed out."""
    page = tour.page
    page.goto("issue")
    page.get_by_label("Site/Device Name").fill("Not a Name")
    page.get_by_role("button", name="Issue certificate").click()
    page.locator("[aria-invalid]").first.wait_for()
    tour.look("issue, refused")
    page.get_by_label("Site/Device Name").fill("site-700")
    page.get_by_role("button", name="Issue certificate").click()
    page.get_by_role("link", name="Download site-700-certs.zip").wait_for()
    tour.look("issue, done")
    tour.follow(page.url)


def revoke(tour):
    page = tour.page
    page.goto("revoke?what=site-700")
    tour.look("revoke, chosen")
    page.get_by_label("Type the device's name").fill("site-700")
    page.get_by_role("button", name="Revoke the device").click()
    page.get_by_role("button", name="Download crl.pem").wait_for()
    tour.look("revoke, done")
    tour.follow(page.url)


def many(tour):
    """Acts on what is ticked in a list, and a revocation that waits for a second operator."""
    page = tour.page
    for place, ticked, button in [
        ("devices", ["site-001", "site-003"], "Suspend"),
        ("tokens", ["site-900", "wave sites-2026"], "Withdraw"),
        ("users", ["ci", "bob"], "Remove"),
        ("brokers", ["hub.example.org"], "Retire"),
        ("certificates", ["site-001", "site-003"], "Revoke"),
    ]:
        page.goto(place)
        for name in ticked:
            page.get_by_label(f"Select {name}").first.check()
        page.locator(".acts-on").get_by_role("button", name=button).click()
        page.locator(".consequences").wait_for()
        tour.look(f"{place}, {button} several")
    page.get_by_label("Type how many they are").fill("2")
    page.get_by_role("button", name="Ask to revoke them").click()
    page.get_by_text("a second operator has to agree").first.wait_for()
    tour.look("revoke, waiting")
    page.goto("revoke")
    tour.look("revoke, somebody asked")


def roll_over(tour):
    """The issuing CA before, which cannot be retired while certificates of it live, and what is asked where somebody has its key."""
    page = tour.page
    page.goto("ca/rollover/default/activate")
    page.get_by_role("button", name="Let it issue").click()
    page.get_by_text("of the fleet live").wait_for()
    tour.look("ca, rolled over")
    page.get_by_role("link", name="Somebody has its key").click()
    page.get_by_label("Type how many certificates those are").wait_for()
    tour.look("ca/rollover/default/revoke")


def told_once(tour):
    """Pages that show a secret once, and what an invitation leads to."""
    page = tour.page
    for place, fields, button, seen in [
        ("users/ci", {}, "Replace the API key", "It is not shown again."),
        ("tokens/-/new?for=one", {"Name of the device": "site-902"}, "Make the token", "Copy the line now."),
        ("tokens/-/new?for=list", {"Names": "site-903\nsite-904"}, "Make them and show a sheet of QR codes", "Print this page now."),
        ("ca/provisioners/-/new", {"Name": "gateways"}, "Add it", "Copy the password now."),
        ("brokers/-/new", {"Name": "hub-2.example.org"}, "Add", "Copy this now."),
        ("users/bob", {}, "Invite to log in", "It is not shown again."),
    ]:
        page.goto(place)
        for label, text in fields.items():
            page.get_by_label(label, exact=True).fill(text)
        page.get_by_role("main").get_by_role("button", name=button, exact=True).click()
        page.get_by_text(seen).first.wait_for()
        tour.look(f"{place}, done")
    page.goto(page.locator("#secret").inner_text())
    tour.look("invitation")
