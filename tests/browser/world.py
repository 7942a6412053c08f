"""A browser in front of a Muster that has just been made; both come from `main.rs` by the environment."""

import contextlib
import os
import pathlib
import subprocess

from playwright.sync_api import sync_playwright

import judge

PASSWORD = "correct horse battery staple"
DATA = pathlib.Path(os.environ["DATA"])
PUBLIC = os.environ["PUBLIC"]
# As long as anything may take on a machine that does something else as well.
PATIENCE = 20_000
DESK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


def muster(*arguments, stdin=None):
    """Runs the command line against the same server."""
    done = subprocess.run(
        [os.environ["MUSTER"], *arguments, "--data", DATA],
        input=stdin,
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("MUSTER")},
    )
    # 5: done, and something needs attention.
    assert done.returncode in (0, 5), f"muster {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


class World:
    """The browser, and what was found wrong."""

    def __init__(self, browser):
        self.browser = browser
        self.setup = (DATA / "setup-link").read_text().strip()
        self.home = self.setup.split("setup/")[0]
        self.wrong = judge.Wrong()

    def open(self, **options):
        """A new browser window without cookies."""
        options = {"viewport": DESK, "reduced_motion": "reduce", **options}
        context = self.browser.new_context(base_url=self.home, **options)
        context.set_default_timeout(PATIENCE)
        judge.listen(context, self.home, self.wrong)
        return context.new_page()

    def make_admin(self, page):
        """From the setup link to the dashboard."""
        page.goto(self.setup)
        page.get_by_label("Your name here").fill("alice")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Set up").click()
        page.get_by_role("heading", name="Log in").wait_for()
        self.log_in(page)

    def log_in(self, page):
        page.goto("login")
        page.get_by_label("Name").fill("alice")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("heading", name="Dashboard").wait_for()


@contextlib.contextmanager
def world():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ["CHROMIUM"],
            args=["--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update"],
        )
        try:
            yield World(browser)
        finally:
            browser.close()
