"""The page of `taskaware serve` in headless Chromium, as a user meets it.

Skips where there is no Chromium or no Playwright (the extra ``browser``; a browser of the system
is used, none is downloaded).
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from typing import TYPE_CHECKING

import pytest
import soundfile

from taskaware.data.sound.synthesis import Synthesiser, voices
from tiny_service import random_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

api = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not there")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

KEY = "a key of some length"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]


def serving(api_key: str | None = None) -> Iterator[str]:
    """Serve a model of random weights, in a thread, and give its address."""
    import uvicorn  # of the extra `serve`, without which tiny_service has skipped all tests

    from taskaware.serve.app import create_app
    from taskaware.serve.service import Service
    from taskaware.serve.settings import ServeSettings

    service = Service(random_model(), name="tiny", settings=ServeSettings())
    app = create_app(service, api_key=api_key)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    yield from serving()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice: of what is no speech, the guards show no words."""
    pytest.importorskip("espeakng_loader", reason="the extra `demo` is not there")
    speaker = Synthesiser()
    path = tmp_path_factory.mktemp("sound") / "two words.wav"
    soundfile.write(path, speaker.synthesise("one two", voices()[0]), speaker.sample_rate_hz)
    return path


@pytest.fixture(scope="module")
def browser(recording: Path) -> Iterator[api.Browser]:
    with api.sync_playwright() as playwright:
        microphone = f"--use-file-for-fake-audio-capture={recording}"
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, microphone])
        yield started
        started.close()


@pytest.fixture
def page(browser: api.Browser, address: str) -> Iterator[api.Page]:
    """The page, loaded; the test fails where it complains or asks anybody else for anything."""
    context = browser.new_context(accept_downloads=True, permissions=["microphone"])
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))

    def heard(request: api.Request) -> None:
        if not request.url.startswith((address, "blob:", "data:")):
            wrong.append(request.url)

    page.on("request", heard)
    page.goto(address)
    page.wait_for_selector("#tasks input")
    yield page
    context.close()
    assert wrong == []


def outputs(page: api.Page) -> dict[str, str]:
    """Wait until outputs are there, and return their texts by task."""
    page.wait_for_selector("article.output")
    return {
        card.query_selector("h3").inner_text(): card.query_selector(".answer").inner_text()
        for card in page.query_selector_all("article.output")
    }


def test_a_recording_gets_the_output_of_every_task_for_speech_with_its_picture(
    page: api.Page, recording: Path
):
    page.set_input_files("#file", recording)
    page.click("#go")
    assert set(outputs(page)) == {"asr_en", "st_en_de"}
    assert page.is_visible("#spectrum")
    drawn = "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    assert page.eval_on_selector("#spectrum", drawn) > 20  # values of colours: not one plain area
    assert page.query_selector("#problem").is_hidden()


def test_a_text_gets_the_output_of_the_task_for_texts_by_the_keyboard_alone(page: api.Page):
    page.focus("#text")
    page.keyboard.type("one two three")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "go":
            break
    page.keyboard.press("Enter")
    assert set(outputs(page)) == {"mt_en_de"}


def test_the_microphone_is_heard(page: api.Page):
    page.click("#record")
    page.wait_for_selector("#record[aria-pressed=true]")
    page.wait_for_timeout(700)
    page.click("#record")
    page.wait_for_selector("#sound-facts:not(:empty)")
    page.click("#go")
    assert set(outputs(page)) == {"asr_en", "st_en_de"}
    seconds = float(re.match(r"([\d.]+) s", page.inner_text("#sound-facts"))[1])
    assert 0.3 < seconds < 10


def test_a_recording_can_be_dropped_on_the_page(page: api.Page, recording: Path):
    dropped = page.evaluate_handle(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "one.wav", { type: "audio/wav" }));
            return data;
        }""",
        list(recording.read_bytes()),
    )
    page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    page.wait_for_selector("#sound-facts:not(:empty)")
    page.click("#go")
    assert set(outputs(page)) == {"asr_en", "st_en_de"}


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_subtitles_are_downloaded_by_the_name_of_the_task(
    page: api.Page, recording: Path, form: str
):
    page.set_input_files("#file", recording)
    page.click("#go")
    outputs(page)
    with page.expect_download() as waiting:
        page.click(f"[aria-label='Download the subtitles of asr_en as {form.upper()}']")
    assert waiting.value.suggested_filename == f"asr_en.{form}"
    assert "-->" in waiting.value.path().read_text(encoding="utf-8")


def test_the_slider_between_two_tasks_writes_what_each_end_writes(page: api.Page, recording: Path):
    page.set_input_files("#file", recording)
    page.uncheck("#times")
    page.click("#go")
    ends = outputs(page)
    for share, task in (("0", "asr_en"), ("1", "st_en_de")):
        page.fill("#share", share)
        expected = ends[task]
        assert expected
        api.expect(page.locator("#between-output")).to_contain_text(expected)


def test_the_map_has_every_task_and_a_ring_for_each_output(page: api.Page, recording: Path):
    page.set_input_files("#file", recording)
    page.click("#go")
    outputs(page)
    assert len(page.query_selector_all("#map text")) == 3
    rings = page.query_selector_all("#map .example")
    assert len(page.query_selector_all("#map line")) == len(rings) == 2, "one to each ring's task"
    page.click("#map-part summary")
    assert "asr_en" in page.inner_text("#map-table")


def test_a_task_made_from_pairs_can_be_run_at_once(page: api.Page):
    page.fill("#pairs", "one two => eins zwei\nthree => drei")
    page.fill("#new-name", "mine")
    page.click("text=Make the task")
    page.wait_for_selector("#tasks input[value=mine]")
    page.fill("#text", "two one")
    page.click("#go")
    assert set(outputs(page)) == {"mt_en_de", "mine"}


def test_what_is_no_recording_is_said_where_the_user_looks(page: api.Page, tmp_path: Path):
    wrong = tmp_path / "letter.wav"
    wrong.write_text("Dear Sir,", encoding="utf-8")
    page.set_input_files("#file", wrong)
    api.expect(page.locator("#problem")).to_contain_text("but is a text")
    page.click("#go")
    api.expect(page.locator("#problem")).to_contain_text("first")
    assert page.query_selector_all("article.output") == []


def test_what_the_lines_below_words_mean_stands_there_once_there_are_words(
    page: api.Page, recording: Path
):
    assert page.query_selector("#legend").is_hidden()
    page.set_input_files("#file", recording)
    page.click("#go")
    outputs(page)
    assert page.query_selector("#legend").is_visible()
    style = "one => getComputedStyle(one).borderBottomStyle"
    shown = {page.eval_on_selector(f"#legend .{one}", style) for one in ("high", "middle", "low")}
    assert shown == {"solid", "dashed", "dotted"}, "not told by colour alone"


def test_no_key_is_asked_for_where_the_service_has_none(page: api.Page):
    assert page.query_selector("#key-part").is_hidden()


def test_a_service_with_a_key_asks_for_it_and_goes_on(browser: api.Browser):
    for address in serving(KEY):
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("#key-part[open]")
        assert page.query_selector_all("#tasks input") == []
        page.fill("#key", KEY)
        page.press("#key", "Enter")
        page.wait_for_selector("#tasks input")
        assert len(page.query_selector_all("#tasks input")) == 3
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_cut_off_and_every_text_can_be_read(
    browser: api.Browser, address: str, recording: Path, scheme: str, width: int
):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(address)
    page.wait_for_selector("#tasks input")
    page.set_input_files("#file", recording)
    page.click("#go")
    outputs(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # WCAG 2.1, 1.4.3: contrast of at least 4.5 to 1.
    contrasts = page.evaluate(CONTRASTS)
    page.close()
    assert len(contrasts) > 20
    assert [one for one in contrasts if one[0] < 4.5] == []


# Of each element with a text of its own: contrast with the nearest background that is not
# transparent (https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio), and the text.
CONTRASTS = """() => {
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
    const luminance = colour => {
        const [r, g, b] = numbers(colour).map(
            v => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = element => {
        for (let one = element; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if ((numbers(colour)[3] ?? 1) > 0.99) return colour;
        }
        return getComputedStyle(document.documentElement).colorScheme.startsWith("dark")
            ? "rgb(0, 0, 0)" : "rgb(255, 255, 255)";
    };
    return [...document.querySelectorAll("body *")]
        .filter(one => one.checkVisibility() && [...one.childNodes].some(
            child => child.nodeType === 3 && child.textContent.trim()))
        .filter(one => !one.closest("svg") && !one.matches(".visually-hidden, option, noscript *"))
        .map(one => {
            const both = [luminance(getComputedStyle(one).color), luminance(behind(one))];
            const ratio = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
            return [ratio, one.textContent.trim().slice(0, 40)];
        });
}"""
