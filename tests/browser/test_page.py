"""The playground's page in a real Chromium: what a visitor sees, with a keyboard, on a phone, in both schemes.

Needs the package playwright and Debian's chromium; without either every test here says that it was skipped.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tiny
from recorded import record
from served import UNSAFE, eyes, listening, policy, words
from stanchion import GuardFailed
from stanchion.errors import Busy
from stanchion.server.playground.studio import PlaygroundStudio
from stanchion.server.policy import PlaygroundSettings, Rule
from stanchion.server.service import GuardedService

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LOOKING = (Path(__file__).parent / "looking.js").read_text(encoding="utf-8").partition("\n")[2]
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium, and make browser")


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """A service with a playground: words that name weapons are found, any picture is one of horror, and a monitor tells
    that it sees weapons in every step."""
    folder = record(tmp_path_factory.mktemp("red"))
    settings = PlaygroundSettings(True, unguarded=True, record=Path(folder))
    horror = Rule("horror", ("picture_check",), UNSAFE, "refuse")
    chosen = policy(words("say"), eyes(action="tell"), horror, playground=settings)
    return GuardedService(chosen, PlaygroundStudio(chosen, tiny.pipeline()))


@pytest.fixture(scope="module")
def address(serving):
    with listening(serving) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no playwright: pip install 'stanchion[browser-tests]'"
    )
    with playwright.sync_playwright() as started:
        args = ["--headless", "--no-sandbox", "--disable-gpu"]
        opened = started.chromium.launch(executable_path=CHROMIUM, args=args)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, address):
    """Opens the page, by screen and scheme. Fails on a request to another host, and on anything in the console."""
    contexts, wrong = [], []

    def only_home(route):
        if route.request.url.startswith(f"{address}/"):
            route.continue_()
        else:
            wrong.append(route.request.url)
            route.abort()

    def opened(viewport=DESK, **options):
        contexts.append(browser.new_context(viewport=viewport, **options))
        page = contexts[-1].new_page()
        page.route("**/*", only_home)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
        page.goto(address)
        page.locator("#guards input").first.wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def draw(page, prompt="a photo of a knife", concept="weapons"):
    """Draw it, and wait for what comes of it."""
    page.fill("#prompt", prompt)
    if page.input_value("#concept") != concept:
        page.select_option("#concept", concept)
    page.click("#draw")
    page.locator("#evidence:visible, .problem").first.wait_for()


def faults(page):
    """Texts and edges that are too pale, and controls without a name."""
    found = page.evaluate(LOOKING)
    assert len(found["texts"]) > 20
    return [one for one in (*found["texts"], *found["edges"]) if one["ratio"] < one["needs"]] + found["unnamed"]


def test_a_prompt_is_drawn_and_what_the_guards_did_is_shown(visit):
    page = visit()
    draw(page, "a photo of a knife")
    assert page.locator("#pictures img").count() == 2
    assert "knife" in page.inner_text("mark") and "steerdiff" in page.inner_text("#status")
    assert page.locator(".lanes .acted .on").count() == 1
    assert "times as long" in page.inner_text(".took")
    draw(page, "a photo of a cat", "horror")
    assert "Withheld" in page.inner_text(".frame.withheld") and page.locator("#pictures img").count() == 1
    assert page.locator("mark").count() == 0


def test_steps_stand_in_their_lane_and_only_one_guard_steers_them(visit):
    page = visit()
    page.check('#guards input[value="trasce"]')
    page.check('#guards input[value="sld"]')
    assert not page.is_checked('#guards input[value="trasce"]')
    assert page.is_checked('#guards input[value="monitor"]')  # it only looks
    page.locator("details.more summary").click()
    page.fill("#steps", "3")
    draw(page)
    assert page.locator(".lanes li:has-text('sld') .cells rect").count() == 3
    monitor = page.locator(".lanes li:has-text('monitor')")
    assert len(monitor.locator("polyline").get_attribute("points").split()) == 3
    assert monitor.locator(".hit").count() == 1 and "weapons seen" in monitor.inner_text()
    assert "Saw weapons" in monitor.inner_text()


def test_everything_is_reached_by_keyboard_and_shows_where_it_is(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    seen = []
    while "draw" not in seen:
        page.keyboard.press("Tab")
        at = page.evaluate(
            "(e => [e.id || e.value || e.tagName, getComputedStyle(e).outlineStyle])(document.activeElement)"
        )
        assert at[1] != "none", at
        seen.append(at[0])
        assert len(seen) < 40, seen
    wanted = ["tab-draw", "theme", "prompt", "concept", "seed", "another", "steerdiff", "safree", "bare", "draw"]
    assert [one for one in seen if one in wanted] == wanted
    page.focus('#guards input[value="steerdiff"]')
    page.keyboard.press("Space")
    assert not page.is_checked('#guards input[value="steerdiff"]')
    page.keyboard.press("Space")
    page.focus("#prompt")
    page.keyboard.press("Control+Enter")
    page.locator("#evidence").wait_for()
    page.focus("#tab-draw")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-attempts"
    page.locator("#panel-attempts li").first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_and_names(visit, scheme):
    page = visit(color_scheme=scheme)
    draw(page, "a photo of a knife", "weapons")
    assert faults(page) == []
    draw(page, "a photo of a cat", "horror")
    draw(page, "a child, nude")
    assert page.inner_text(".problem h2") == "Refused" and faults(page) == []
    page.click("#tab-attempts")
    page.locator("#attempt-list img").first.wait_for()
    assert faults(page) == []


def test_the_switch_wins_over_the_system(visit):
    page = visit(color_scheme="dark", reduced_motion="reduce")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    page.click("#theme")
    light = page.evaluate(ground)
    page.reload()
    assert page.evaluate(ground) == light != dark and page.inner_text("#theme") == "Theme: light"
    assert page.evaluate("document.getAnimations().length") == 0


def test_a_phone_scrolls_one_way_only(visit):
    page = visit(PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    width = "document.documentElement.scrollWidth <= innerWidth"
    assert page.evaluate(width)
    draw(page, "a photo of a knife " + "k" * 60)
    assert page.evaluate(width)
    page.tap("#tab-attempts")
    page.locator("#attempt-list li").first.wait_for()
    assert page.evaluate(width) and faults(page) == []  # where it was tapped it counts as hovered over


def test_the_attempts_of_a_red_team(visit):
    page = visit()
    page.click("#tab-attempts")
    page.locator("#attempt-list img").first.wait_for()
    page.select_option("#by-outcome", "through")
    page.locator("#attempt-list li:not(.through)").first.wait_for(state="detached")
    blurred = "getComputedStyle(document.querySelector('#attempt-list .through img')).filter"
    page.locator("#attempt-list .through img").first.wait_for()
    assert "blur" in page.evaluate(blurred)
    page.get_by_role("switch", name="Blur").uncheck()
    assert page.evaluate(blurred) == "none"


def test_errors_say_what_happened_and_what_to_do(visit, serving, monkeypatch):
    page = visit()

    def raising(error):
        def fails(*_):
            raise error

        return fails

    with monkeypatch.context() as patch:
        patch.setattr(serving, "submit", raising(Busy("3 pictures wait already.", 7.0)))
        draw(page)
        assert "Too many" in page.inner_text(".problem") and "in 7 s" in page.inner_text(".problem")
    with monkeypatch.context() as patch:
        patch.setattr(serving.studio, "_tried", raising(GuardFailed("on purpose")))
        page.click(".problem button")
        page.locator(".problem h2:has-text('a guard failed')").wait_for()
        assert "on purpose" in page.inner_text(".problem") and "503" in page.inner_text(".problem")
        assert page.locator("#pictures img").count() == 0
    for one in ("steerdiff", "monitor"):
        page.uncheck(f'#guards input[value="{one}"]')
    draw(page)
    assert "switch on one" in page.inner_text(".problem")
    page.route("**/v1/playground/pictures", lambda route: route.abort())
    draw(page)
    assert page.inner_text(".problem h2") == "No answer"
