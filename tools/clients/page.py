#!/usr/bin/env python3
"""Opens the page of a running `aludel serve` in headless Chromium and uses it: ask, watch it stream, stop, begin a new conversation while an answer is
written; narrow and wide, light and dark. The browser is driven by tools/report/browser.py; nothing of Python's needs to be installed.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/report"))
from browser import Browser  # noqa: E402

PATIENCE = 120  # seconds that an answer may take
AXE = """axe.run(document).then(found => found.violations.filter(one => one.impact === 'serious' || one.impact === 'critical')
    .map(one => one.id + ': ' + one.nodes.map(node => node.target.join(' ')).slice(0, 3).join(', ')))"""


def until(browser, expression):
    """Waits until an expression is true in the page."""
    end = time.monotonic() + PATIENCE
    while not browser.value(f"Boolean({expression})"):
        if time.monotonic() > end:
            raise AssertionError(f"never true: {expression}")
        time.sleep(0.05)


def ask(browser, text):
    browser.value(f"document.getElementById('prompt').value = {json.dumps(text)}; document.getElementById('form').requestSubmit()")


def begin_anew(browser):
    """A new conversation that is begun while an answer is written has nothing of the old one."""
    browser.value(
        "window.sent = []; const send = window.fetch;"
        "window.fetch = (url, options) => { if (options?.body) window.sent.push(JSON.parse(options.body)); return send(url, options); }; undefined"
    )
    ask(browser, "Tell another long story.")
    until(browser, "[...document.querySelectorAll('article.assistant .text')].at(-1)?.textContent")
    browser.value("document.getElementById('clear').click()")
    until(browser, "!document.getElementById('send').hidden")
    browser.value("document.getElementById('max-tokens').value = '12'")
    ask(browser, "Hello.")
    until(browser, "document.querySelector('article.assistant .note')")
    roles = browser.value("window.sent.at(-1).messages.map(message => message.role).join(' ')")
    assert roles == "user", f"a new conversation is sent with {roles}"


def use(browser, url, width, dark, axe):
    browser.open(url, width, dark)
    until(browser, "document.querySelector('#model option')")
    browser.value("document.getElementById('open-settings').click()")
    for field, value in [("temperature", "0"), ("max-tokens", "12")]:
        browser.value(f"document.getElementById('{field}').value = '{value}'")
    ask(browser, "Say <b>hello</b>.")
    until(browser, "document.querySelector('article.assistant .text').textContent")
    until(browser, "document.querySelector('article.assistant .note')")
    assert not browser.value("document.querySelector('main b')"), "what was typed became markup"
    note = browser.value("document.querySelector('article.assistant .note').textContent")
    assert "tokens in" in note, note
    browser.value("document.getElementById('max-tokens').value = '4000'")
    browser.value("document.getElementById('temperature').value = '100'")
    ask(browser, "Tell a long story.")
    until(browser, "document.querySelectorAll('article.assistant')[1]?.querySelector('.text').textContent")
    browser.value("document.getElementById('stop').click()")
    until(browser, "[...document.querySelectorAll('.note')].some(note => note.textContent === 'stopped')")
    until(browser, "!document.getElementById('send').hidden")
    begin_anew(browser)
    assert browser.value("document.documentElement.scrollWidth <= innerWidth"), f"wider than {width} pixels"
    assert not browser.value("document.querySelector('.error')"), browser.value("document.querySelector('.error').textContent")
    found = []
    if axe:
        browser.value(axe + ";undefined")
        found = browser.value(AXE, promised=True)
    # requests of the page to its own server are what it is for
    complaints = [told for told in browser.complaints() if not told.startswith(f"it asks for {url}")]
    assert not complaints and not found, (complaints, found)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a GGUF file or a folder")
    parser.add_argument("--aludel", default=ROOT / "target/release/aludel")
    parser.add_argument("--axe", type=pathlib.Path, help="axe.min.js of the package axe-core; without it, accessibility is not checked")
    parser.add_argument("--screenshots", type=pathlib.Path, help="a folder for a picture of each size")
    args = parser.parse_args()
    axe = args.axe.read_text() if args.axe else None
    command = [args.aludel, "serve", "--model", args.model, "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    failed = 0
    try:
        url = server.stdout.readline().rsplit(" at ", 1)[-1].strip()
        with Browser() as browser:
            for width, dark in [(360, False), (1280, True)]:
                name = f"{width} pixels, {'dark' if dark else 'light'}"
                try:
                    use(browser, url, width, dark, axe)
                    print(f"ok      {name}")
                except AssertionError as error:
                    failed += 1
                    print(f"FAILED  {name}: {error}")
                if args.screenshots:
                    args.screenshots.mkdir(exist_ok=True)
                    browser.screenshot(args.screenshots / f"{width}.png")
    finally:
        server.terminate()
        server.wait()
    sys.exit(1 if failed else 0)


main()
