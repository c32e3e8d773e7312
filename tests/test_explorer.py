"The explorer: quick enough, never in the kernel's way, and a real browser moves its slider"
import os, shutil, socket, subprocess, sys, time, urllib.error, urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
import pytest
from diffsda.explorer import Explorer, explore, open_studio

root = Path(__file__).resolve().parents[1]
BROWSER = next((path for name in ('chromium', 'chromium-browser', 'google-chrome') if (path := shutil.which(name))), None)

@pytest.fixture(scope='module')
def studio(): return open_studio(root / 'checkpoints/cartoon64', n=4)

def wait(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end: time.sleep(.01)
    assert condition()

def test_a_draft_follows_the_slider(studio, tmp_path):
    "Within 0.7 s on two cores while nothing else runs; here with room for a busy machine. Setting a slider does not wait for the picture."
    e = Explorer(studio, tmp_path)
    wait(lambda: e.status.value.startswith('full'))
    took = []
    for alpha in (1., 2., 3.):
        before, began = e.image.value, time.monotonic()
        e.alpha.value = alpha
        assert time.monotonic() - began < .2
        wait(lambda: e.image.value != before); took.append(time.monotonic() - began)
    print('draft after', [round(seconds, 2) for seconds in took])
    assert sorted(took)[1] < float(os.environ.get('DIFFSDA_DRAFT_SECONDS', 2))
    wait(lambda: e.status.value.startswith('full'))

def test_pictures_come_while_the_slider_moves(studio, tmp_path):
    e, seen = Explorer(studio, tmp_path), set()
    wait(lambda: e.status.value.startswith('full'))
    end, k = time.monotonic() + 4, 0
    while time.monotonic() < end: k += 1; e.alpha.value = .25 * (k % 20); time.sleep(.05); seen.add(e.image.value)
    assert len(seen) >= 3

def test_a_broken_picture_does_not_end_it(studio, tmp_path, monkeypatch):
    e = Explorer(studio, tmp_path)
    wait(lambda: e.status.value.startswith('full'))
    whole = studio.paint
    monkeypatch.setattr(studio, 'paint', lambda *a: ['no picture']); e.painter.paint = studio.paint
    e.alpha.value = 2.; wait(lambda: e.status.value.startswith('<b>'))
    e.painter.paint = whole; e.alpha.value = 3.
    wait(lambda: e.status.value.startswith('full'))

def test_mistakes_are_said(studio, tmp_path, monkeypatch):
    e = Explorer(studio, tmp_path / 'file' / 'deep')
    wait(lambda: e.status.value.startswith('full'))
    (tmp_path / 'file').write_text('in the way')
    e.save.click(); assert 'cannot write' in e.status.value
    monkeypatch.setattr(studio, 'paint', lambda *a: 1 / 0)
    broken = Explorer(studio, tmp_path)
    wait(lambda: 'ZeroDivisionError' in broken.status.value)
    text = explore(tmp_path / 'nothing').value; assert 'cannot start' in text and 'nothing' in text
    assert 'sound' in explore(root / 'checkpoints/librispeech').value
    assert 'unknown setting' in explore(root / 'checkpoints/cartoon64', prior=str(root / 'checkpoints/cartoon64')).value

def test_without_prior(tmp_path):
    shutil.copytree(root / 'checkpoints/cartoon64', tmp_path / 'mine')
    studio = open_studio(tmp_path / 'mine', n=3)
    assert studio.prior is None and len(studio.components['static']) == 10
    e = Explorer(studio, tmp_path)
    e.tabs.selected_index = 2
    assert 'train_prior' in e.tabs.children[2].children[0].value

def serve(folder, *command, at='/'): # of the server; a module of Jupyter's with its options -> a server on a free port, once it answers
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    (folder / 'nbs').mkdir(); shutil.copy(root / 'nbs/explorer.ipynb', folder / 'nbs')
    for name in ('checkpoints', 'figures'): (folder / name).symlink_to(root / name)
    (folder / 'config/labconfig').mkdir(parents=True); (folder / 'config/labconfig/page_config.json').write_text('{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}')
    env = {**os.environ, 'OMP_NUM_THREADS': '2', 'HOME': str(folder), 'JUPYTER_CONFIG_DIR': str(folder / 'config'), 'JUPYTER_PATH': f'{sys.prefix}/share/jupyter', 'JUPYTER_PREFER_ENV_PATH': '1'}
    server = subprocess.Popen([sys.executable, '-m', *command, '--no-browser', f'--port={port}'], env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        if server.poll() is not None: break
        try: urllib.request.urlopen(f'http://127.0.0.1:{port}{at}', timeout=5); return server, port
        except urllib.error.HTTPError: return server, port
        except OSError: time.sleep(.2)
    server.kill(); raise AssertionError(f'{command[0]} did not start')

@contextmanager
def page_of(server): # a page of headless Chromium; the server ends with it
    from playwright.sync_api import sync_playwright
    try:
        with sync_playwright() as p:
            browser = p.chromium.launch(executable_path=BROWSER, args='--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync'.split())
            yield browser.new_page(viewport=dict(width=1180, height=1000))
            browser.close()
    finally: server.terminate(); server.wait(20)

def play(page, folder, screenshot=None, first=60_000): # milliseconds for the first full picture; 0: do not wait for it
    "Press arrow keys on two sliders, see other pictures; then the other tabs."
    picture = page.locator('img.widget-image')
    picture.wait_for(timeout=90_000)
    full = "() => [...document.querySelectorAll('.widget-html-content')].some(e => e.textContent.startsWith('full picture'))"
    if first: page.wait_for_function(full, timeout=first)
    source = lambda: picture.get_attribute('src')
    def changes(act):
        before = source(); act()
        page.wait_for_function('before => document.querySelector("img.widget-image").src !== before', arg=before, timeout=30_000)
        page.wait_for_function(full, timeout=60_000)
    handle = page.locator('.widget-slider', has_text='how far').locator('.noUi-handle')
    handle.focus(); began = time.monotonic()
    changes(lambda: [page.keyboard.press('ArrowRight') for _ in range(12)])
    print(f'the picture followed and was full after {time.monotonic() - began:.1f} s')
    if screenshot: page.wait_for_timeout(4000); page.locator('.jp-OutputArea .widget-vbox').first.screenshot(path=screenshot)
    page.locator('.widget-slider', has_text='component').locator('.noUi-handle').focus()
    changes(lambda: page.keyboard.press('ArrowRight'))
    changes(lambda: page.get_by_role('tab', name='Swap').click())
    changes(lambda: page.get_by_role('tab', name='New').click())
    changes(lambda: page.get_by_role('button', name='draw again').click())
    page.get_by_role('button', name='save picture').click()
    page.get_by_text('saved:').wait_for(timeout=20_000)
    assert len(list((folder / 'runs/explorer/cartoon64').glob('new_*.gif'))) == 1

@pytest.mark.skipif(not BROWSER or not find_spec('playwright'), reason='no Chromium or no Playwright on this machine')
def test_a_browser_moves_the_sliders(tmp_path):
    "In JupyterLab: run the notebook, then play."
    server, port = serve(tmp_path, 'jupyterlab', '--allow-root', '--ip=127.0.0.1', '--IdentityProvider.token=', f'--ServerApp.root_dir={tmp_path}', '--expose-app-in-browser', at='/lab')
    with page_of(server) as page:
        page.goto(f'http://127.0.0.1:{port}/lab/tree/nbs/explorer.ipynb?reset')
        page.wait_for_selector('.jp-NotebookPanel .jp-Cell', timeout=90_000)
        page.wait_for_function("() => window.jupyterapp && window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.connectionStatus === 'connected'", timeout=90_000)
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
        play(page, tmp_path, os.environ.get('DIFFSDA_SCREENSHOT'))

@pytest.mark.skipif(not BROWSER or not find_spec('playwright') or not find_spec('voila'), reason='no Chromium, Playwright or Voila on this machine')
def test_voila_shows_it_as_a_page(tmp_path):
    "Without a line of code in sight."
    server, port = serve(tmp_path, 'voila', 'nbs/explorer.ipynb', at='/voila/static/')
    with page_of(server) as page:
        page.goto(f'http://127.0.0.1:{port}/', timeout=90_000)
        play(page, tmp_path, first=0) # Voila runs the notebook before the page is there to hear of it
        assert 'explore(' not in page.locator('body').inner_text()
