"""The report in a browser: headless Chromium opens it from disk; no page may log an error or make a request."""

from __future__ import annotations

import csv
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from seqeval_rl.plots import write_report
from seqeval_rl.plots.analysis.curves import segments
from seqeval_rl.plots.analysis.grouping import collect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.plots.conftest import Results


_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        reason = "needs a browser: install Debian's chromium"
        if os.environ.get("SEQEVAL_NEEDS_CHROMIUM"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=_FLAGS.split())
        yield found
        found.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Writes the report of results and opens it; fails at the end if a page logged an error or made a request."""
    wrong: list[str] = []
    contexts = []

    def open_report(results: Results, fragment: str = "", **context: Any) -> Page:
        path = write_report(results.read(), tmp_path / "report.html", "synthetic")
        contexts.append(browser.new_context(**{"viewport": {"width": 1000, "height": 900}} | context))
        page = contexts[-1].new_page()
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))

        def requested(request: Any) -> None:
            if not request.url.startswith((path.as_uri(), "blob:")):
                wrong.append(request.url)

        page.on("request", requested)
        page.goto(path.as_uri() + fragment)
        page.wait_for_selector("html[data-ready]", timeout=20_000)
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert wrong == []


def picture(page: Page) -> str:
    """The pixels of the charts."""
    pixels: str = page.evaluate(
        "[...document.querySelectorAll('.chart canvas')].map((canvas) => canvas.toDataURL()).join()"
    )
    return pixels


def rich(results: Results) -> Results:
    """Two datasets, three algorithms, a failed and an unfinished run, prequential scores, wall time, future data."""
    for dataset in ("one", "two"):
        for algorithm in ("td3_bc", "iql", "bc"):
            for seed in range(3):
                results.add(
                    algorithm,
                    seed,
                    dataset=dataset,
                    points=11,
                    uses_future_data=algorithm == "iql",
                    failed=(algorithm, seed) == ("td3_bc", 2),
                    upto=6 if (algorithm, seed) in (("td3_bc", 2), ("bc", 1)) else None,
                    prequential={"action_error": [0.5 / (place + 1) for place in range(11)]},
                    gradient_steps=[place * place for place in range(11)],
                )
    for path in results.root.glob("*/metrics.jsonl"):
        lines = path.read_text().replace('"metrics": {', '"metrics": {"seconds": 30.0, ')
        path.write_text(lines)
    return results


def test_each_control_changes_the_charts(results: Results, opened: Open) -> None:
    page = opened(rich(results))
    seen = [picture(page)]

    def differs(what: str) -> None:
        now = picture(page)
        assert now not in seen, what
        seen.append(now)

    for metric in ("return", "prequential_mean/action_error", "critic/loss"):
        page.select_option("#metric", metric)
        differs(metric)
    page.select_option("#metric", "score")
    assert picture(page) == seen[0]
    for axis in ("share", "g", "w"):
        page.select_option("#axis", axis)
        differs(axis)
    page.select_option("#axis", "t")
    assert page.locator("#seeds input").first.is_disabled()
    page.select_option("#mode", "seeds")
    differs("each seed")
    page.get_by_label("1", exact=True).uncheck()
    differs("seed 1")
    page.get_by_label("BC", exact=True).uncheck()
    differs("algorithm")
    page.get_by_role("checkbox", name="two").uncheck()
    differs("dataset")
    # The address contains the selected options.
    again = opened(results, "#" + page.url.partition("#")[2])
    assert picture(again) == seen[-1]
    assert again.locator(".panel").count() == 1


def test_hover_and_keys_show_the_number_in_the_file(results: Results, opened: Open) -> None:
    rich(results)
    page = opened(results)
    panel = collect(results.read())[0]
    group = next(group for group in panel.groups if group.label == "IQL (uses future data)")
    (part,) = segments(group)
    point = 5
    assert part.interval is not None
    x = page.evaluate("document.querySelector('.u-over').clientWidth") * part.transitions[point] / (panel.extent * 1.01)
    box = page.locator(".u-over").first.bounding_box()
    assert box
    texts = set()
    for step in range(0, int(box["height"]), 6):
        page.mouse.move(box["x"] + x, box["y"] + step)
        texts.add(page.locator(".tip").first.inner_text())
    (shown,) = {text for text in texts if "IQL" in text and f"{int(part.transitions[point]):,} transitions" in text}
    label, _, value, interval, seeds = shown.split("\n")
    assert (label, seeds) == ("IQL (uses future data)", "3 seeds")
    assert float(value) == pytest.approx(part.centre[point], rel=1e-6)
    low, high = interval.removeprefix("interval ").split(" to ")
    assert (float(low), float(high)) == pytest.approx((part.interval[0][point], part.interval[1][point]), rel=1e-6)

    page.mouse.move(0, 0)
    page.locator(".chart").first.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    assert page.locator(".tip").first.is_visible()
    assert page.locator("[aria-live]").first.inner_text() == page.locator(".tip").first.inner_text()
    page.keyboard.press("Escape")
    before = picture(page)
    page.keyboard.press("+")
    zoomed = picture(page)
    assert zoomed != before
    page.keyboard.press("Escape")
    assert picture(page) == before
    page.mouse.move(box["x"] + 100, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 160, steps=3)
    page.mouse.up()
    page.mouse.move(0, 0)
    assert picture(page) not in (before, zoomed)
    page.mouse.dblclick(box["x"] + 5, box["y"] + 5)
    assert picture(page) == before


def test_sorting_tabs_and_runs_by_keyboard(results: Results, opened: Open) -> None:
    page = opened(rich(results))
    board = page.locator("#board-0")
    header = board.get_by_role("columnheader", name="100 %")
    header.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"

    def column() -> list[float]:
        texts = board.locator("tbody tr td:nth-child(8)").evaluate_all("all => all.map(td => td.firstChild.data)")
        return [float(text.replace("−", "-")) for text in texts]

    assert column() == sorted(column(), reverse=True)
    page.keyboard.press("Space")
    assert header.get_attribute("aria-sort") == "ascending"
    assert column() == sorted(column())
    page.locator("#tab-0").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#board-1").is_visible()
    assert board.is_hidden()
    assert "IQM" in page.locator("#board-1").inner_text()
    first = page.locator("#run-list tbody tr").first.inner_text()
    assert "failed" in first
    assert "exploding Q value" in first
    assert "6 runs used future data" in page.locator("#notices").inner_text()


def test_downloads_contain_the_drawn_values(results: Results, opened: Open, tmp_path: Path) -> None:
    rich(results)
    page = opened(results)

    def download(name: str) -> Path:
        with page.expect_download() as found:
            page.get_by_role("button", name=name, exact=True).first.click()
        path = tmp_path / found.value.suggested_filename
        found.value.save_as(path)
        return path

    rows = list(csv.DictReader(download("CSV of the chart").read_text().splitlines()))
    panel = collect(results.read())[0]
    drawn = [(group.label, value) for group in panel.groups for part in segments(group) for value in part.centre]
    assert [row["algorithm"] for row in rows] == [label for label, _ in drawn]
    assert [float(row["value"]) for row in rows] == pytest.approx([value for _, value in drawn], rel=1e-6)
    assert download("PNG").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(download("Download all evaluations (CSV)").read_text().splitlines()))
    run = results.read()[0]
    scores = [float(row["value"]) for row in rows if (row["run"], row["metric"]) == (run.run, "score")]
    assert scores == pytest.approx(run.curve()[1].tolist(), rel=1e-6)


HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "a_b $x$ 50% {{DATA}} " + "long" * 15,
)


def test_hostile_text_is_shown_and_runs_nothing(results: Results, opened: Open) -> None:
    for place, name in enumerate(HOSTILE):
        path = results.add(name, 0, dataset=f"{name} data", suite=name, upto=3, failed=True)
        (path / "events.jsonl").write_text(
            (path / "events.jsonl").read_text().replace("exploding Q value", f"reason {place} {name}")
        )
    damaged = results.add("bc", 0)
    (damaged / "manifest.json").write_text("<script>alert(3)</script>")
    page = opened(results)
    text = page.locator("body").inner_text()
    for place, name in enumerate(HOSTILE):
        assert f"{name} data" in text
        assert f"reason {place} {name}" in text
        assert page.get_by_label(name, exact=True).is_checked()
    # No element comes from a name.
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 5
    assert page.locator("#damage li").count() == 1


def test_the_policy_refuses_scripts_handlers_and_requests(results: Results, browser: Browser, tmp_path: Path) -> None:
    results.add()
    path = write_report(results.read(), tmp_path / "report.html")
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(path.as_uri())
        policy = page.locator("meta[http-equiv]").get_attribute("content")
        assert policy is not None
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe" not in policy
        for attempt in (
            "Object.assign(document.createElement('script'), { textContent: 'window.ran = 1' })",
            'document.createRange().createContextualFragment(\'<img src="data:," onerror="window.ran = 1">\')',
            "(fetch('https://example.org/').catch(() => {}), '')",
        ):
            refused = page.evaluate(
                "new Promise((done) => { document.addEventListener('securitypolicyviolation', "
                f"(event) => done(event.violatedDirective), {{ once: true }}); document.body.append({attempt}); }})"
            )
            assert refused.startswith(("script-src", "connect-src"))
        assert page.evaluate("window.ran") is None


def test_phone_dark_and_forty_algorithms(results: Results, opened: Open) -> None:
    for number in range(40):
        results.add(f"algorithm <{number}> with a long name_{'x' * 40}", 0, points=5)
    results.add("bc", 0, points=5)
    page = opened(results, viewport={"width": 360, "height": 740}, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.locator("#algorithms input").count() == 41
    assert "One seed per curve, so no interval is drawn." in page.locator("#explained").inner_text()
    page.locator("#algorithms").get_by_role("button", name="none").click()
    page.get_by_label("BC", exact=True).check()
    # The brightest pixel of the chart is BC's, black on paper: contrast is tested with `on_dark`.
    brightest = page.evaluate(
        "(() => { const c = document.querySelector('.chart canvas'); "
        "const d = c.getContext('2d').getImageData(c.width / 2, 20, c.width / 2 - 20, c.height - 120).data; let most = 0; "
        "for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 200) most = Math.max(most, d[i]); return most; })()"
    )
    assert brightest > 200
    shown = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert shown == "rgb(21, 24, 29)"


def test_the_report_of_the_largest_suite_is_small_and_fast(results: Results, opened: Open) -> None:
    places = [(dataset, algorithm) for dataset in range(14) for algorithm in ("td3_bc", "iql", "cql", "awac", "bc")]
    for number in range(327):
        dataset, algorithm = places[number // 5]
        results.add(algorithm, number % 5, dataset=f"dataset {dataset}", points=40)
    runs = results.read()
    begun = time.perf_counter()
    path = write_report(runs, results.root / "report.html")
    assert time.perf_counter() - begun < 20
    assert path.stat().st_size < 5_000_000
    page = opened(results)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert paint < 2_000
    assert page.locator(".panel").count() == 12
    assert "Drawn: 12 of 14 datasets." in page.locator("#explained").inner_text()
