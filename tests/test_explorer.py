"The explorer: quick enough, never in the kernel's way, and a real browser moves its controls"
import json, os, shutil, socket, subprocess, sys, time, urllib.error, urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
import pytest
from PIL import Image
from diffsda.explorer import (Explorer, New, Swap, Walk, data_settings, explore, located, open_names, open_session,
                              recorded)
from diffsda.factors import BadInput, refusal
from diffsda.viz import compact

root = Path(__file__).resolve().parents[1]
CARTOON = root / 'checkpoints/cartoon64'
SPRITES = root.parent / 'shared/data/sprites'
BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
browser = pytest.mark.skipif(not BROWSER or not find_spec('playwright'), reason='no Chromium or no Playwright here')

@pytest.fixture(scope='module')
def session(): return open_session(CARTOON, n=4)

def wait(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end: time.sleep(.01)
    assert condition()

@pytest.fixture
def opened(): # makes Explorers, and ends their threads after the test
    made = []
    yield lambda *args: made.append(Explorer(*args)) or made[-1]
    for e in made: e.renderer.close()
    for e in made: e.renderer.thread.join(20)

@pytest.fixture
def started(opened): # the same, once the first full sample is there
    def start(*args):
        e = opened(*args)
        wait(lambda: e.status.value.startswith('full'))
        return e
    return start


# what a run remembers

def write_run(folder, **settings):
    folder.mkdir(parents=True)
    (folder / 'run.json').write_text(json.dumps(dict(settings=settings)))
    return folder

def test_the_data_of_a_run_are_remembered(tmp_path):
    (tmp_path / 'data/mine').mkdir(parents=True)
    run = write_run(tmp_path / 'runs/a', dataset='mine', data_dir='data/mine', clips='action', first_stage='', steps=3)
    found = data_settings(run)
    assert found['dataset'] == 'mine' and found['clips'] == 'action' and found['first_stage'] == ''
    assert Path(found['data_dir']) == tmp_path / 'data/mine'        # from the folder where the training was started
    assert data_settings(run, data_dir='there')['data_dir'] == 'there'
    assert data_settings(run, clips='character')['clips'] == 'character'
    other = data_settings(run, dataset='other')
    assert (other['dataset'], other['data_dir'], other['clips']) == ('other', '', 'character')
    assert located('nowhere/at/all', run) == 'nowhere/at/all'

def test_a_folder_without_settings(tmp_path):
    assert recorded(tmp_path) == {} and recorded(CARTOON) == {'dataset': 'cartoon'} # metrics.json of a script
    assert data_settings(CARTOON)['dataset'] == 'cartoon'
    assert "dataset='cartoon'" in refusal(lambda: data_settings(tmp_path))
    assert data_settings(tmp_path, dataset='cartoon')['dataset'] == 'cartoon'
    for text in ('{', '[]', '{"settings": 3}'):
        (tmp_path / 'run.json').write_text(text)
        assert 'run.json' in refusal(lambda: recorded(tmp_path))

@pytest.mark.skipif(not SPRITES.is_dir(), reason='no Sprites on this machine')
def test_a_run_is_opened_without_arguments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)                                    # not where it was trained
    session = open_session(root / 'checkpoints/sprites', n=2, n_frames=2)
    assert session.clips.shape == (2, 2, 3, 64, 64)
    assert session.render(Swap(0, 1), draft=True)[-1].clip.shape == (2, 3, 64, 64)


# requests

def test_rows_of_requests(session):
    shown = {request: [(row.name, row.note) for row in session.render(request, draft=True)]
             for request in (Swap(0, 1), New(2, 'both', 1), New(2, 'static', 1), New(2, 'dynamic', 1))}
    assert shown[Swap(0, 1)] == [('who', 'clip 0'), ('what', 'clip 1'), ('swap', 'who does what')]
    assert [rows[:-1] for rows in list(shown.values())[1:]] == [[], [('what', 'clip 2')], [('who', 'clip 2')]]

def test_factors_of_requests(session):
    a, b = session.factors[0], session.factors[1]
    swap, static, dynamic = (r.factors(session) for r in (Swap(0, 1), New(0, 'static', 3), New(0, 'dynamic', 3)))
    assert (swap.s == a.s).all() and (swap.d == b.d).all()
    assert (static.d == a.d).all() and (static.s != a.s).any() and (dynamic.s == a.s).all() and (dynamic.d != a.d).any()
    one = session.alpha_std('dynamic', 2)
    walked, c = Walk(0, 'dynamic', 2, 2 * one).factors(session), session.components['dynamic']
    step = c.scores(walked.d) - c.scores(a.d)
    dim = len(c.std)
    assert abs(step[..., 2] - 2 * one * dim ** .5).max() < 1e-4 and abs(step[..., :2]).max() < 1e-4
    assert (walked.s == a.s).all()

@pytest.mark.parametrize('alpha, component', [(1., 99), (1., -1), (float('nan'), 0), (float('inf'), 0)])
def test_a_walk_that_does_not_exist(session, alpha, component):
    with pytest.raises(BadInput): session.render(Walk(0, 'static', component, alpha), draft=True)


# the widget

def test_alpha_reaches_four_standard_deviations(session, tmp_path, started):
    e = started(session, tmp_path)
    for factor in ('static', 'dynamic'):
        e.factor.value = factor
        for component in (0, 3):
            e.component.value = component
            std = session.components[factor].explained_variance_ratio[component].item() ** .5
            assert abs(e.alpha.max - 4 * std) < 1e-6 and abs(e.alpha.min + 4 * std) < 1e-6
            assert abs(e.alpha.step - std / 10) < 1e-6 and e.alpha.value == 0
    e.alpha.value = e.alpha.max
    e.tabs.selected_index = 1
    wait(lambda: '+4.0 std' in e.caption.value)
    e.component.value = 0
    wait(lambda: '+0.0 std' in e.caption.value)                    # another component begins at the clip itself

def test_components_have_names(session, tmp_path, started, monkeypatch):
    monkeypatch.setattr(session, 'names', {'static': ['hair colour, r = 0.90', 'component 1']})
    found = [session.component_name('static', i) for i in range(3)]
    assert found == ['component 0: hair colour, r = 0.90', 'component 1', 'component 2']
    e = started(session, tmp_path)
    assert e.component.options[0] == ('component 0: hair colour, r = 0.90', 0) and len(e.component.options) == 10
    e.factor.value = 'dynamic'
    assert e.component.options[0] == ('component 0', 0)
    assert open_names(tmp_path) == {}
    (tmp_path / 'components.json').write_text('[1]')
    assert 'components.json' in refusal(lambda: open_names(tmp_path))

def test_a_draft_follows_the_slider(session, tmp_path, started):
    "Setting a slider does not wait for the image; the draft follows soon, with patience for a busy machine."
    e, took = started(session, tmp_path), []
    e.tabs.selected_index = 1
    wait(lambda: 'walk' in e.caption.value)
    for alpha in (.5, .7, .9):
        before, began = e.image.value, time.monotonic()
        e.alpha.value = alpha
        assert time.monotonic() - began < .2
        wait(lambda: e.image.value != before)
        took.append(time.monotonic() - began)
    print('draft after', [round(seconds, 2) for seconds in took])
    assert sorted(took)[1] < float(os.environ.get('DIFFSDA_DRAFT_SECONDS', 2))
    wait(lambda: e.status.value.startswith('full'))

def test_images_come_while_the_slider_moves(session, tmp_path, started):
    e, seen = started(session, tmp_path), set()
    e.tabs.selected_index = 1
    end, k = time.monotonic() + 4, 0
    while time.monotonic() < end:
        k += 1
        e.alpha.value = .05 * (k % 20)
        time.sleep(.05)
        seen.add(e.image.value)
    assert len(seen) >= 3

def test_the_same_request_is_the_same_image(session, tmp_path, started):
    e = started(session, tmp_path)
    first = e.image.value, e.strip.value
    e.what.value = 3
    wait(lambda: e.shown[0] == Swap(0, 3) and not e.shown[1])
    assert e.image.value != first[0] and e.strip.value != first[1]
    e.what.value = 1
    wait(lambda: e.shown[0] == Swap(0, 1) and not e.shown[1])
    assert (e.image.value, e.strip.value) == first

def test_a_broken_result_does_not_end_it(session, tmp_path, started):
    e = started(session, tmp_path)
    whole, e.renderer.render = e.renderer.render, lambda *a: ['no row']
    e.who.value = 2
    wait(lambda: e.status.value.startswith('<b>'))
    e.renderer.render = whole
    e.who.value = 3
    wait(lambda: e.status.value.startswith('full'))

def test_mistakes_are_said(session, tmp_path, opened, started, monkeypatch):
    e = started(session, tmp_path / 'file' / 'deep')
    (tmp_path / 'file').write_text('in the way')
    e.save.click()
    assert 'cannot write' in e.status.value
    monkeypatch.setattr(session, 'render', lambda *a: 1 / 0)
    broken = opened(session, tmp_path)
    wait(lambda: 'ZeroDivisionError' in broken.status.value)
    broken.save.click()
    assert 'nothing is rendered yet' in broken.status.value

@pytest.mark.parametrize('words, model, options', [
    (('cannot start', 'nothing'), 'nothing', {}),
    (('sound',), 'checkpoints/librispeech', {}),
    (('one clip or more',), 'checkpoints/cartoon64', dict(n=0)),
    (('works on pixels',), 'checkpoints/cartoon64', dict(first_stage='nope')),
    (('the folder of a DiffSDA',), 'checkpoints/cartoon64', dict(prior=str(CARTOON))),
    (('8 frames', 'n_frames=5'), 'checkpoints/cartoon64', dict(n_frames=5))])
def test_it_says_why_it_cannot_start(words, model, options):
    said = explore(root / model, **options).value
    assert all(word in said for word in words), said

def test_without_prior(tmp_path, opened):
    shutil.copytree(CARTOON, tmp_path / 'mine')
    session = open_session(tmp_path / 'mine', n=3)
    assert session.prior is None and len(session.components['static']) == 10
    e = opened(session, tmp_path)
    e.tabs.selected_index = 2
    assert 'train_prior' in e.tabs.children[2].children[0].value and e.request() is None


# in a browser

def serve(folder, *command, at='/'): # working folder; a module of Jupyter's with its options -> the server and its port
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    (folder / 'nbs').mkdir()
    shutil.copy(root / 'nbs/explorer.ipynb', folder / 'nbs')
    for name in ('checkpoints', 'figures'): (folder / name).symlink_to(root / name)
    lab = folder / 'config/labconfig/page_config.json'
    lab.parent.mkdir(parents=True)
    lab.write_text('{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}')
    env = {**os.environ, 'OMP_NUM_THREADS': '2', 'HOME': str(folder), 'JUPYTER_CONFIG_DIR': str(folder / 'config'),
           'JUPYTER_PATH': f'{sys.prefix}/share/jupyter', 'JUPYTER_PREFER_ENV_PATH': '1'}
    server = subprocess.Popen([sys.executable, '-m', *command, '--no-browser', f'--port={port}'], env=env, cwd=folder,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        if server.poll() is not None: break
        try: urllib.request.urlopen(f'http://127.0.0.1:{port}{at}', timeout=5)
        except urllib.error.HTTPError: pass
        except OSError:
            time.sleep(.2)
            continue
        return server, port
    server.kill()
    raise AssertionError(f'{command[0]} did not start')

FLAGS = ('--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync '
         '--disable-background-networking --disable-component-update')

@contextmanager
def page_of(server): # a page of headless Chromium; the server ends with it
    from playwright.sync_api import sync_playwright
    try:
        with sync_playwright() as p:
            chromium = p.chromium.launch(executable_path=BROWSER, args=FLAGS.split())
            yield chromium.new_page(viewport=dict(width=1180, height=1000))
            chromium.close()
    finally:
        server.terminate()
        server.wait(20)

FULL = "() => [...document.querySelectorAll('.widget-html-content')].some(e => e.textContent.startsWith('full sample'))"
CHANGED = 'before => document.querySelector("img.widget-image").src !== before'

def handle(page, label): return page.locator('.widget-slider:visible', has_text=label).locator('.noUi-handle')

def play(page, folder, screenshot=None, first=60_000): # milliseconds for the first full sample; 0: do not wait for it
    "Press arrow keys on sliders and choose a component, tab by tab; see other images."
    image = page.locator('img.widget-image').first
    image.wait_for(timeout=90_000)
    if first: page.wait_for_function(FULL, timeout=first)
    def changes(act):
        before = image.get_attribute('src')
        act()
        page.wait_for_function(CHANGED, arg=before, timeout=30_000)
        page.wait_for_function(FULL, timeout=60_000)
    def press(label, key, times=1):
        handle(page, label).focus()
        for _ in range(times): page.keyboard.press(key)
    began = time.monotonic()
    changes(lambda: press('what (d)', 'ArrowRight', 2))
    print(f'the images followed and were full after {time.monotonic() - began:.1f} s')
    if screenshot:
        changes(lambda: press('who (s)', 'ArrowRight', 5))
        page.wait_for_timeout(4000)
        page.locator('.jp-OutputArea .widget-vbox').first.screenshot(path=screenshot)
        compact(Image.open(screenshot), 160).save(screenshot, optimize=True) # a third of the bytes
    changes(lambda: page.get_by_role('tab', name='Walk').click())
    changes(lambda: press('α', 'ArrowRight', 12))
    page.locator('.widget-dropdown:visible select').select_option(index=1)
    changes(lambda: press('α', 'ArrowLeft', 12))
    changes(lambda: page.get_by_role('tab', name='Generate').click())
    changes(lambda: page.get_by_role('button', name='another sample').click())
    page.get_by_role('button', name='save picture').click()
    page.get_by_text('saved:').wait_for(timeout=20_000)
    assert len(list((folder / 'runs/explorer/cartoon64').glob('new_*.gif'))) == 1

CONNECTED = '''() => window.jupyterapp &&
    window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.connectionStatus === 'connected\''''

@browser
def test_a_browser_moves_the_sliders(tmp_path):
    "In JupyterLab: run the notebook, then play."
    options = '--allow-root --ip=127.0.0.1 --IdentityProvider.token= --expose-app-in-browser'.split()
    server, port = serve(tmp_path, 'jupyterlab', *options, f'--ServerApp.root_dir={tmp_path}', at='/lab')
    with page_of(server) as page:
        page.goto(f'http://127.0.0.1:{port}/lab/tree/nbs/explorer.ipynb?reset')
        page.wait_for_selector('.jp-NotebookPanel .jp-Cell', timeout=90_000)
        page.wait_for_function(CONNECTED, timeout=90_000)
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
        play(page, tmp_path, os.environ.get('DIFFSDA_SCREENSHOT'))

@browser
@pytest.mark.skipif(not find_spec('voila'), reason='no Voila on this machine')
def test_voila_shows_it_as_a_page(tmp_path):
    "Without a line of code in sight."
    server, port = serve(tmp_path, 'voila', 'nbs/explorer.ipynb', at='/voila/static/')
    with page_of(server) as page:
        page.goto(f'http://127.0.0.1:{port}/', timeout=90_000)
        play(page, tmp_path, first=0) # Voila runs the notebook before the page is there to see it
        assert 'explore(' not in page.locator('body').inner_text()
