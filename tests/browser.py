"""A real browser: Debian's chromium, without a screen and without its own talk to the network."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

from tests.cast import password_of
from tests.programs import program

# Software GL, so that WebGL is there on a machine without a graphics card.
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium-browser") or program("chromium", of="chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=SWITCHES)
        try:
            yield browser
        finally:
            browser.close()


class Seat:
    """One person at one screen. `complaints` is what the page's console said that it should not."""

    def __init__(
        self,
        browser: Browser,
        url: str,
        username: str,
        *,
        width: int = 1440,
        height: int = 900,
        scale: float = 1,
    ) -> None:
        self.url = url
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, device_scale_factor=scale, locale="zh-CN"
        )
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda message: self.complaints.append(message.text) if message.type == "error" else None,
        )
        self.page.goto(f"{url}/sign-in")
        self.page.fill("[name=username]", username)
        self.page.fill("[name=password]", password_of(username))
        self.page.press("[name=password]", "Enter")
        self.page.wait_for_url(lambda address: "/sign-in" not in address)

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.url}{path}")
        return self.page
