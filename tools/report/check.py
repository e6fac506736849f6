"""Is report.html what it promises: small, quick, quiet, and readable on a phone? Makes a report of 2,000 problems, opens it at two widths
and in both colour schemes, folded and unfolded, and fails on anything that a reader would trip over."""

import argparse
import datetime
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import material
from browser import Browser

LARGEST_BYTES = 3_000_000
LONGEST_SECONDS = 1.0


def make(aludel, folder, problems):
    """A report of made-up evaluations, and the seconds that the comparison took."""
    material.evaluation(folder / "before", "student-135m", 0, problems)
    material.evaluation(folder / "after", "student-135m-tuned", 1, problems)
    material.run(folder / "run")
    begun = time.monotonic()
    command = [aludel, "compare", folder / "before", folder / "after", "--run", folder / "run", "--output-dir", folder / "report"]
    subprocess.run(command, check=True)
    return folder / "report" / "report.html", time.monotonic() - begun


def look(browser, report, width, dark, shots):
    """Everything wrong with the page at one width in one scheme, and the seconds it took to open."""
    name = f"{width}-{'dark' if dark else 'light'}"
    seconds = browser.open(report.resolve().as_uri(), width, dark)
    browser.screenshot(shots / f"{name}.png", True)
    wrong = []
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for unfolded in (False, True):
        if unfolded:
            browser.value("document.querySelectorAll('details').forEach(one => one.open = true)")
        if browser.value(wide) > 0:
            wrong.append(f"{browser.value(wide)} px wider than the window, {'unfolded' if unfolded else 'folded'}")
    browser.screenshot(shots / f"{name}-unfolded.png", True)
    if "owned" in browser.value("document.title") or browser.value("document.querySelectorAll('script,img,iframe,a,form').length"):
        wrong.append("text became markup")
    if not browser.value("document.querySelectorAll('h1').length") or not browser.value("document.querySelectorAll('svg').length"):
        wrong.append("the verdict or the drawings are missing")
    handlers = "[...document.querySelectorAll('*')].some(e => e.getAttributeNames().some(n => n.startsWith('on')))"
    if browser.value(handlers):
        wrong.append("there are event handlers")
    wrong += browser.complaints()
    if seconds > LONGEST_SECONDS:
        wrong.append(f"opened in {seconds:.2f} s")
    return [f"{name}: {line}" for line in wrong], seconds


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--aludel", default="target/debug/aludel", help="the binary [default: %(default)s]")
    options.add_argument("--report", type=pathlib.Path, help="look at this report and make none")
    options.add_argument("--problems", type=int, default=2000)
    options.add_argument("--screenshots", type=pathlib.Path, help="keep the screenshots in this folder")
    given = options.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="aludel-report-"))
    try:
        report, made = (given.report, None) if given.report else make(given.aludel, work, given.problems)
        shots = given.screenshots or work / "screenshots"
        shots.mkdir(parents=True, exist_ok=True)
        size = report.stat().st_size
        wrong = [f"{size} bytes"] if size > LARGEST_BYTES else []
        slowest = 0.0
        with Browser() as browser:
            for width in (360, 1280):
                for dark in (False, True):
                    found, seconds = look(browser, report, width, dark, shots)
                    wrong, slowest = wrong + found, max(slowest, seconds)
            version = browser.version
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for line in wrong:
        print("wrong:", line, file=sys.stderr)
    date = datetime.date.today().isoformat()
    took = "" if made is None else f" | compared in {made:.1f} s"
    verdict = "bad" if wrong else "ok"
    print(f"{date} | {version} | {size / 1e6:.2f} MB | opened in {slowest:.2f} s at most{took} | {len(wrong)} complaints | {verdict}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
