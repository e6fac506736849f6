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
OPENINGS = 3
# Words of one drawing that cover each other, and text that a reader could not make out.
LABELS = """[...document.querySelectorAll('svg[role=img], svg.labels')].flatMap(svg => {
  const texts = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
  return texts.flatMap(([a, one], at) => texts.slice(at + 1)
    .filter(([, two]) => one.left < two.right && two.left < one.right && one.top + 3 < two.bottom && two.top + 3 < one.bottom)
    .map(([b]) => `"${a}" and "${b}" cover each other in: ${svg.getAttribute('aria-label')}`));
})"""
SMALLEST = """Math.min(...[...document.querySelectorAll('main *')].filter(e => e.childNodes.length && !e.closest('math')
  && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).map(e => parseFloat(getComputedStyle(e).fontSize)))"""
CLIPPED = "[...document.querySelectorAll('.wide')].some(e => e.scrollWidth > e.clientWidth)"
AXE = """axe.run(document, {preload: false, resultTypes: ['violations']}).then(found => found.violations.map(
  one => `${one.id} (${one.impact}): ${one.help}: ${one.nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(' | ')}`))"""


def make(aludel, folder, problems):
    """A report of made-up evaluations, and the seconds that the comparison took."""
    material.evaluation(folder / "before", "student-135m", 0, problems)
    material.evaluation(folder / "after", "student-135m-tuned", 1, problems)
    material.run(folder / "run")
    begun = time.monotonic()
    command = [aludel, "compare", folder / "before", folder / "after", "--run", folder / "run", "--output-dir", folder / "report"]
    subprocess.run(command, check=True)
    return folder / "report" / "report.html", time.monotonic() - begun


def axe_core(given):
    """The source of axe-core: as given, or where npm has put it; none if it is not installed."""
    folders = [pathlib.Path("node_modules")]
    if shutil.which("npm"):
        for arguments in (["root"], ["root", "--global"]):
            found = subprocess.run(["npm", *arguments], capture_output=True, text=True, check=False).stdout.strip()
            folders += [pathlib.Path(found)] if found else []
    candidates = [given] if given else [folder / "axe-core" / "axe.min.js" for folder in folders]
    path = next((path for path in candidates if path.is_file()), None)
    if given and path is None:
        raise SystemExit(f"{given}: there is no such file; name axe.min.js of the package axe-core")
    return path and path.read_text()


def look(browser, report, width, dark, shots, axe, has_formulas):
    """Everything wrong with the page at one width in one scheme, and the seconds it took to open."""
    name = f"{width}-{'dark' if dark else 'light'}"
    # What else the machine does adds to a time and takes nothing away: the least of several is nearest to the page's own.
    seconds = min(browser.open(report.resolve().as_uri(), width, dark) for _ in range(OPENINGS))
    browser.screenshot(shots / f"{name}.png")
    wrong = list(browser.value(LABELS))
    if width >= 1280 and browser.value(CLIPPED):
        wrong.append("a table is clipped")
    if not (smallest := browser.value(SMALLEST)) >= 11:
        wrong.append(f"text of {smallest} px")
    if axe:
        # All that stands in view, opened; pages of further problems hold more of the same.
        browser.value("document.querySelectorAll('details:not(.page):not(.page *)').forEach(one => one.open = true)")
        browser.value(axe + ";undefined")
        wrong += browser.value(AXE, promised=True)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for unfolded in (False, True):
        if unfolded:
            browser.value("document.querySelectorAll('details').forEach(one => one.open = true)")
        if browser.value(wide) > 0:
            wrong.append(f"{browser.value(wide)} px wider than the window, {'unfolded' if unfolded else 'folded'}")
    browser.screenshot(shots / f"{name}-unfolded.png")
    if has_formulas and not browser.value("document.querySelectorAll('math').length"):
        wrong.append("no formula is set")
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
    options.add_argument("--axe", type=pathlib.Path, help="axe.min.js of the package axe-core [default: where npm has put it]")
    given = options.parse_args()
    axe = axe_core(given.axe)
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
                    found, seconds = look(browser, report, width, dark, shots, axe, has_formulas=made is not None)
                    wrong, slowest = wrong + found, max(slowest, seconds)
            version = browser.version
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for line in wrong:
        print("wrong:", line, file=sys.stderr)
    date = datetime.date.today().isoformat()
    took = "" if made is None else f" | compared in {made:.1f} s"
    verdict = "bad" if wrong else "ok"
    axe_said = "axe ran" if axe else "axe is not installed (npm install axe-core), so accessibility was not looked at"
    print(f"{date} | {version} | {size / 1e6:.2f} MB | opened in {slowest:.2f} s at most{took} | {len(wrong)} complaints | {axe_said} | {verdict}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
