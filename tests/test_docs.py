"""The documentation site is built from the notebooks as they are committed, and opens in a browser."""
import functools, http.server, json, shutil, subprocess, sys, threading
from pathlib import Path
import pytest

root = Path(__file__).resolve().parent.parent
chromium = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')

@pytest.fixture(scope='module')
def site(tmp_path_factory):
    "The site, built; MkDocs is strict, so a link or anchor that leads nowhere is an error."
    to = tmp_path_factory.mktemp('site')
    done = subprocess.run([sys.executable, str(root/'.ci/docs.py'), str(to)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return to

def test_every_notebook_and_module_has_a_page(site):
    missing = [p.stem for p in (root/'nbs').glob('*.ipynb') if not (site/f'{p.stem}.html').is_file()]
    assert missing == []
    modules = [p.stem for p in (root/'diffsda').glob('*.py') if not p.stem.startswith('_')]
    assert [m for m in modules if not (site/f'api_{m}.html').is_file()] == []

def test_api_says_what_parameters_are(site):
    text = (site/'api_samplers.html').read_text()
    assert 'sigma_schedule' in text and 'n_steps' in text and 'github.com/diffsda' not in text

def test_search_finds_words_of_the_notebooks(site):
    index = json.loads((site/'search/search_index.json').read_text())
    assert any('preconditioning' in d['text'].lower() and d['location'].startswith('11_edm') for d in index['docs'])

@pytest.mark.skipif(not chromium, reason='no Chromium here')
def test_opens_in_the_browser(site):
    from playwright.sync_api import sync_playwright
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    handler.log_message = lambda *a: None
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = f'http://127.0.0.1:{server.server_address[1]}'
    try:
        with sync_playwright() as p:
            browser = p.chromium.launch(executable_path=chromium, args=['--no-sandbox'])
            page = browser.new_page()
            page.goto(f'{at}/11_edm.html')
            page.wait_for_selector('.MathJax', state='attached', timeout=60_000) # formulas are set without a network
            assert page.locator('.md-nav--secondary a').count() > 3 # a table of contents
            loaded = 'all => all.map(i => i.complete && i.naturalWidth > 0)'
            images = page.locator('.md-content img').evaluate_all(loaded)
            assert images and all(images)
            page.locator('.md-search__input').press_sequentially('preconditioning') # the search listens to keys
            page.wait_for_selector('.md-search-result__item', timeout=60_000)
            page.goto(f'{at}/index.html')
            page.get_by_role('link', name='Samplers').first.click()
            page.wait_for_url('**/12_samplers.html*')
            browser.close()
    finally: server.shutdown()
