"""The report in a real browser, from a file, without a network."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Request, Route, sync_playwright

from nasproxy.comparing import Comparison
from nasproxy.reporting import RunRecord, write_report
from tests.reporting.comparisons import degenerate_comparison, make_comparison

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
LOCAL = ("file:", "data:", "blob:")
DESK, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
RECORD = RunRecord("cifar10-whole", "truth", {"recipe": {"epochs": 100}}, {"arguments": ["search", "--proxy", "whole"]})

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or chrome on this machine to open the page with")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return make_comparison()


@pytest.fixture(scope="module")
def report(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(comparison, [RECORD], tmp_path_factory.mktemp("report"), title="Four proxies")


class Visit:
    """A page that was opened, with all that it asked for and complained of."""

    def __init__(self, browser: Browser, report: Path, viewport: dict[str, int], color_scheme: str = "light") -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        context = browser.new_context(viewport=viewport, color_scheme=color_scheme)  # type: ignore[arg-type]
        context.set_offline(True)
        context.route("**/*", self._allow_local)
        self.page: Page = context.new_page()
        self.page.on("request", self._remember)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(report.as_uri())
        self.page.wait_for_function(
            "[...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('svg'))"
        )

    def _remember(self, request: Request) -> None:
        self.requests.append(request.url)

    def _allow_local(self, route: Route) -> None:
        if route.request.url.startswith(LOCAL):
            route.continue_()
        else:
            route.abort()

    def column(self, number: int) -> list[str]:
        """Texts of a column of the table of proxies, top to bottom."""
        return self.page.locator(f".proxies tbody tr > :nth-child({number}) .value").all_inner_texts()

    def press_header(self, label: str) -> None:
        header = self.page.get_by_role("button", name=label, exact=True)
        header.focus()
        self.page.keyboard.press("Enter")


@pytest.fixture(scope="module")
def desk(browser: Browser, report: Path) -> Iterator[Visit]:
    visit = Visit(browser, report, DESK)
    yield visit
    visit.page.context.close()


@pytest.fixture(scope="module")
def phone(browser: Browser, report: Path) -> Iterator[Visit]:
    visit = Visit(browser, report, PHONE)
    yield visit
    visit.page.context.close()


def test_the_page_is_silent_and_asks_for_nothing(desk: Visit, report: Path) -> None:
    assert desk.complaints == []
    assert desk.requests[0] == report.as_uri()
    assert [url[:60] for url in desk.requests if not url.startswith(LOCAL)] == []


def test_every_figure_has_drawn(desk: Visit) -> None:
    plots = desk.page.locator(".plot")
    assert plots.count() == 3 + 5 + 2  # scatter, regret, forest; five factors; two costs
    for index in range(plots.count()):
        plot = plots.nth(index)
        assert plot.locator(".scatterlayer .trace path").count() > 0
        assert (plot.bounding_box() or {"width": 0})["width"] > 300


def test_a_column_sorts_by_keyboard_both_ways(desk: Visit) -> None:
    at_first = desk.column(1)
    desk.press_header("search, min")
    desk.press_header("ρ, all")
    assert desk.column(1) == at_first
    desk.press_header("ρ, all")
    assert desk.column(1) == at_first[::-1]
    header = desk.page.locator(".proxies th[aria-sort]")
    assert header.count() == 1
    assert (header.inner_text(), header.get_attribute("aria-sort")) == ("ρ, all", "ascending")
    desk.press_header("proxy")
    assert desk.column(1) == sorted(at_first)


def test_a_point_says_which_architecture_it_is(desk: Visit, comparison: Comparison) -> None:
    plot = desk.page.locator("#scatter .plot")
    plot.scroll_into_view_if_needed()
    plot.locator(".scatterlayer .trace").last.locator("path.point").first.hover(force=True)
    text = plot.locator(".hoverlayer").text_content() or ""
    assert comparison.rankings[0].selected in text
    assert "(rank 1 of 40)" in text
    assert "norm" in text


def test_another_proxy_can_be_chosen(desk: Visit) -> None:
    plot = desk.page.locator("#scatter .plot")
    assert plot.locator(".xtitle").text_content() == "test accuracy on the proxy (%)"
    choose = desk.page.get_by_label("Proxy", exact=True)
    choose.select_option("params")
    assert plot.locator(".xtitle").text_content() == "params score"
    assert plot.locator("path.point").count() == 40
    assert desk.complaints == []
    choose.select_option(index=0)


def test_nothing_sticks_out_on_a_phone(phone: Visit) -> None:
    assert phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for plot in phone.page.locator(".plot").all():
        box, drawn = plot.bounding_box(), plot.locator("svg.main-svg").first.bounding_box()
        assert box is not None
        assert drawn is not None
        assert drawn["x"] + drawn["width"] <= 390


def test_all_columns_are_seen_on_a_desk_even_with_sets(browser: Browser, desk: Visit, tmp_path: Path) -> None:
    sets = Visit(browser, write_report(make_comparison(num_sets=2), [], tmp_path, title="t"), DESK)
    for page in (desk.page, sets.page):
        assert page.locator("#table .scroller").evaluate("(box) => box.scrollWidth <= box.clientWidth")
        assert page.locator("#table .hint").is_hidden()
    assert sets.page.locator(".proxies thead th").count() == 14
    sets.page.context.close()


def test_a_table_says_on_a_phone_that_it_scrolls(phone: Visit) -> None:
    scroller, box = phone.page.locator("#table .scroller"), phone.page.locator("#table .box")
    hint = phone.page.locator("#table .hint")
    assert hint.is_visible()
    assert scroller.get_attribute("aria-describedby") == hint.get_attribute("id")
    assert scroller.evaluate("(node) => getComputedStyle(node).maskImage") != "none"
    scroller.evaluate("(node) => { node.scrollLeft = node.scrollWidth; }")
    phone.page.wait_for_function("!document.querySelector('#table .box').classList.contains('has-rest')")
    assert box.locator(".scroller").evaluate("(node) => getComputedStyle(node).maskImage") == "none"
    scroller.evaluate("(node) => { node.scrollLeft = 0; }")


def test_a_hundred_classes_stand_beside_their_rows_in_a_box(browser: Browser, tmp_path: Path) -> None:
    Image.new("RGB", (512, 3402), "red").save(tmp_path / "proxy.png")
    names = tuple(f"a class of quite a long name, number {number}" for number in range(100))
    record = RunRecord("dm", "condense", {}, {}, tmp_path / "proxy.png", names)
    visit = Visit(browser, write_report(make_comparison(), [record], tmp_path, title="t"), PHONE)
    box, image = (visit.page.locator(f"#pictures {part}").bounding_box() for part in (".scroller", "img"))
    last = visit.page.locator(".classes li").last.bounding_box()
    assert box and image and last  # noqa: PT018  # bounding boxes of what is there
    assert box["height"] < 800
    assert image["height"] == 3402
    assert abs(last["y"] + last["height"] / 2 - image["y"] - 3402 * 99.5 / 100) < 3
    assert last["width"] < 150
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visit.page.context.close()


def test_the_name_stays_while_the_table_scrolls_on_a_phone(phone: Visit) -> None:
    name = phone.page.locator(".proxies tbody th").first
    before = name.bounding_box()
    phone.page.evaluate("document.querySelector('#table .scroller').scrollLeft = 400")
    assert name.bounding_box() == before


def test_a_dark_page_has_light_text_in_its_figures(browser: Browser, report: Path) -> None:
    visit = Visit(browser, report, DESK, "dark")
    fill = visit.page.locator("#forest .xtitle").evaluate("(node) => getComputedStyle(node).fill")
    assert min(int(part) for part in fill.removeprefix("rgb(").removesuffix(")").split(",")) > 200
    visit.page.context.close()


def test_on_paper_details_are_open_and_figures_fit(desk: Visit) -> None:
    assert desk.page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    desk.page.emulate_media(media="print")
    desk.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert desk.page.locator("details:not([open])").count() == 0
    widths = desk.page.locator(".plot .main-svg").evaluate_all("(all) => all.map((svg) => svg.clientWidth)")
    assert max(widths) <= 640
    desk.page.evaluate("dispatchEvent(new Event('afterprint'))")
    desk.page.emulate_media(media="screen")
    assert (desk.page.locator("#forest .plot .main-svg").first.bounding_box() or {"width": 0})["width"] > 640


def test_a_degenerate_report_is_silent_too(browser: Browser, tmp_path: Path) -> None:
    visit = Visit(browser, write_report(degenerate_comparison(), [], tmp_path, title="t"), PHONE)
    assert visit.complaints == []
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "NaN" not in visit.page.inner_text("body")
    visit.page.context.close()
