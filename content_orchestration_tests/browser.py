"""A headless Chromium that people's eyes are lent to: it reads text, clicks what a person would click, keeps pictures.

Elements are found by what is written on them, never by Dagster's class names. It reaches no other host than this one.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

T = TypeVar("T")
CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
# In Chromium's own words: it opens no window and asks nobody, on a machine without GPU and as root in a container.
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--window-size=1600,1100",
)  # fmt: skip


@dataclass
class Browser:
    """One window on one server."""

    driver: webdriver.Chrome
    base: str
    pictures: Path
    patience: float = 120.0

    def open(self, path: str) -> None:
        self.driver.get(self.base + path)

    def until(self, what: str, look: Callable[[], T]) -> T:
        """Wait until `look` finds something, and return it; fails with `what` and the text of the page."""

        def once(_: object) -> T | None:
            try:
                return look() or None
            except (NoSuchElementException, StaleElementReferenceException, ElementClickInterceptedException):
                return None

        try:
            return WebDriverWait(self.driver, self.patience, poll_frequency=0.2).until(once)  # type: ignore[return-value]
        except Exception as error:
            self.picture("failed")
            raise AssertionError(f"not seen: {what}, on {self.driver.current_url}:\n{self.text()}") from error

    def window_at(self, path: str) -> bool:
        """Go to the window or tab whose address has this in it; False where there is none."""
        for handle in reversed(self.driver.window_handles):
            self.driver.switch_to.window(handle)
            if path in self.driver.current_url:
                return True
        return False

    def text(self) -> str:
        """What is written on the page."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def see(self, *texts: str) -> None:
        """Wait until all of these are written on the page."""
        for text in texts:
            self.until(text, lambda text=text: text in self.text())  # type: ignore[misc]

    def dialog(self, *texts: str) -> str:
        """Wait for a dialog on which all of these are written, and return what is written on it."""

        def opened() -> str:
            for element in self.driver.find_elements(By.CSS_SELECTOR, "[role=dialog], [class*=dialog]"):
                if element.is_displayed() and all(text in element.text for text in texts):
                    return element.text
            return ""

        return self.until(f"a dialog with {texts}", opened)

    def find(self, text: str, kind: str = "*") -> WebElement:
        """The first visible element of that kind with this text of its own."""
        told = f"normalize-space(.)={json.dumps(text)}"
        # Where any element will do, the innermost: a click goes to the middle, and a cell is wider than its link.
        innermost = f"[not(.//*[{told}])]" if kind == "*" else ""
        found = self.driver.find_elements(By.XPATH, f"//{kind}[{told}]{innermost}")
        for element in found:
            if element.is_displayed():
                return element
        raise NoSuchElementException(text)

    def click(self, text: str, kind: str = "*") -> None:
        """Click the element with this text once it is there and can be clicked."""

        def press() -> bool:
            element = self.find(text, kind)
            if element.get_attribute("disabled"):
                return False
            element.click()
            return True

        self.until(f"{text} to click", press)

    def picture(self, name: str) -> None:
        """Keep what is seen as `<name>.png`."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(self.pictures / f"{name}.png"))

    def other_hosts(self) -> set[str]:
        """Whom the pages asked for something over the network, this machine left out."""
        asked = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                address = urlsplit(message["params"]["request"]["url"])
                if address.scheme in {"http", "https", "ws", "wss"}:
                    asked.add(address.hostname or "")
        return asked - {"127.0.0.1"}


@contextmanager
def browser(base: str, profile: Path, pictures: Path) -> Iterator[Browser]:
    """A browser with an empty profile; its pictures go to `pictures`."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER or ""))
    try:
        yield Browser(driver, base, pictures)
    finally:
        driver.quit()
