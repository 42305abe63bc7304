"""The report in a real browser: nothing wider than the window, runs sorted and filtered, links that lead somewhere."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import expand
from test_load import write_run
from test_report import write

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install -e '.[dev]'")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    outputs = tmp_path_factory.mktemp("outputs")
    for config in expand(["experiment=fig1", "seed=1,2,3,4,5,6", f"outputs={outputs}"]):
        write_run(config, [0.9 + 0.001 * config.seed + 0.01 * (config.model.name == "pool")] * config.train.epochs)
        (outputs / "runs" / config_folder(outputs, config) / "run.log").write_text("it ran\n")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = selenium.Chrome(options=options, service=selenium.ChromeService(executable_path=driver))
    browser.get(write("fig1", outputs=outputs).as_uri())
    yield browser
    browser.quit()


def config_folder(outputs: Path, config: Any) -> str:
    (folder,) = [
        path.name
        for path in (outputs / "runs").iterdir()
        if path.name.startswith(f"mnist-{config.model.name}-") and f"-s{config.seed}-" in path.name
    ]
    return folder


def cells(page: Any, column: int) -> list[str]:
    rows = page.find_elements("css selector", ".sortable tbody tr")
    return [row.find_elements("css selector", "td")[column].text for row in rows if row.is_displayed()]


@pytest.mark.parametrize("width", [390, 820, 1200])
def test_nothing_is_wider_than_the_window(page: Any, width: int) -> None:
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                         {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})  # fmt: skip
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    overflowing = "return [...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth).length"
    assert page.execute_script(overflowing) == 0
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_runs_are_sorted_and_filtered(page: Any) -> None:
    page.set_window_size(1200, 900)
    heading = next(each for each in page.find_elements("css selector", ".sortable th") if each.text.startswith("seed"))
    heading.click()
    assert cells(page, 3) == sorted(map(str, [1, 2, 3, 4, 5, 6] * 2))
    heading.click()
    assert cells(page, 3) == sorted(map(str, [1, 2, 3, 4, 5, 6] * 2), reverse=True)
    field = page.find_element("css selector", "input[type=search]")
    field.send_keys("pool 3")
    assert cells(page, 2) == ["pool"] and cells(page, 3) == ["3"]
    assert "1 of 12 runs" in page.find_element("css selector", ".count").text
    field.clear()
    field.send_keys(" ")
    assert len(cells(page, 3)) == 12


def test_links_lead_to_files_and_nothing_is_wrong(page: Any) -> None:
    links = [link.get_attribute("href") for link in page.find_elements("css selector", "td a")]
    assert len(links) == 24 and all(Path(link.removeprefix("file://")).is_file() for link in links)
    assert page.get_log("browser") == []
