"""Figures and tables of the paper: each kind with a tiny budget, on stand-ins and in the layout of MUG; refusals."""
import json, shutil, subprocess, sys
from pathlib import Path
import pytest
from PIL import Image
from diffsda import figures, paper, programs
from diffsda.factors import BadInput
from fixtures import run_here
from fixtures_notebooks import run_cells
from fixtures_video import make_mug

root = Path(__file__).resolve().parent.parent
few = dict(n_steps=2, solver='dpmpp')

def program(*words): # of data_prep
    said, code = run_here([str(root / f'data_prep/{words[0]}.py'), *map(str, words[1:]), '--workers', '0'])
    assert code in (0, 3), said

@pytest.fixture(scope='module')
def other(tmp_path_factory):
    "The second world of faces, and a model that has never seen it."
    to = tmp_path_factory.mktemp('other') / 'cartoon_other'
    program('cartoon', '.', '--world', 'other', '--size', 64, '--train', 3, '--test', 9, '--out', to)
    return json.dumps({'voxceleb': dict(data_dir=str(to), model=str(root / 'checkpoints/cartoon64'))})

def about(folder, item):
    "What a figure says of itself; PDF and PNG are there, and the PNG is no blank page."
    assert (folder / f'{item}.pdf').read_bytes()[:5] == b'%PDF-'
    picture = Image.open(folder / f'{item}.png').convert('RGB')
    assert len(picture.getcolors(1 << 24)) > 50
    return json.loads((folder / f'{item}.json').read_text())

@pytest.mark.parametrize('name, given', [
    ('swaps', dict(panels=2, noise='donor')),
    ('reconstructions', dict(panels=2, skip=1)),
    ('unconditional', dict(panels=2)),
    ('traversals', dict(parts='celebv_hq', components='0 2', panels=2, across=1)),
    ('traversals', dict(parts='celebv_hq', factor='dynamic', components='1', panels=1)),
    ('traversals', dict(parts='celebv_hq', factor='dynamic', components='0 1', whole=False, panels=1)),
    ('failures', dict(panels=1))])
def test_figures_of_cartoon_faces(tmp_path, name, given):
    run_cells(f'paper/{name}', item='fig99', out=tmp_path, **few, **given)
    part, = about(tmp_path, 'fig99')['parts']
    assert part['model'] == 'checkpoints/cartoon64' and part['evaluations'] == 2 and part['training_steps'] == 23400
    assert part['checkpoint'] == 'a83790aa576a346a' and len(part['pairs']) >= 2

def test_zero_shot_is_of_two_datasets(tmp_path, other):
    parts = 'mug>voxceleb voxceleb>mug'
    run_cells('paper/swaps', item='fig22', parts=parts, panels=1, given=other, out=tmp_path, **few)
    one, two = about(tmp_path, 'fig22')['parts']
    assert (one['dataset'], two['dataset']) == ('cartoon_other', 'cartoon')
    assert one['pairs'] != two['pairs'] and one['data'] == 'faces of another world, by a model of cartoon faces'

def test_overview_and_architecture(tmp_path, other):
    run_cells('paper/overview', parts='mug mug>voxceleb celebv_hq', given=other, out=tmp_path, components='0 1', **few)
    run_cells('paper/architecture', out=tmp_path)
    assert len(about(tmp_path, 'fig01')['parts']) == 3 and about(tmp_path, 'fig02')['item'] == 'fig02'

def test_tables(tmp_path):
    for item in ('table1', 'table2', 'table6'):
        run_cells('paper/tables', item=item, pairs=4, n_frames=4, out=tmp_path, **few)
        assert 'DiffSDA' in (tmp_path / f'{item}.csv').read_text()
    swaps, back, judged = ((tmp_path / f'table{k}.md').read_text() for k in (1, 2, 6))
    assert 'Oracle (rendered)' in swaps and 'DiffSDA, own' in back and 'H(y|x)'.replace('|', '/') in judged
    run_cells('paper/presets', item='table4', out=tmp_path)
    assert '1600' in (tmp_path / 'table4.csv').read_text()

def test_a_table_of_a_judge_that_is_missing(tmp_path, other):
    with pytest.raises(BadInput, match='no judge.*train_judge'):
        run_cells('paper/tables', item='table6', parts='voxceleb', pairs=2, given=other, out=tmp_path, **few)

def test_the_other_world_is_another():
    sys.path.insert(0, str(root / 'data_prep'))
    import cartoon
    from diffsda.faces import HAIR, STATIC, hair_kind
    from diffsda.toys import sample_static
    first = sample_static(200)
    static = cartoon.other_world(first)
    for name, (low, high) in cartoon.OTHER.items():
        values = static[:, STATIC.index(name)]
        assert low <= values.min() and values.max() <= high and (high <= 0 or low >= 1) # none is of the first world
    assert {HAIR[i] for i in hair_kind(static)} == set(cartoon.OTHER_HAIR) and first.max() <= 1


# the command, in a repository of its own

@pytest.fixture
def home(tmp_path, monkeypatch):
    "Manifest, notebooks and code, in a folder where figures may be written."
    to = tmp_path / 'home'
    for name in ('nbs/paper', 'diffsda'): shutil.copytree(root / name, to / name)
    (to / 'figures').mkdir()
    for name in ('paper.csv', 'models.csv'): shutil.copy(root / 'figures' / name, to / 'figures')
    for module in (figures, paper): monkeypatch.setattr(module, 'repository', lambda: to)
    for cached in (figures.models, paper.manifest): cached.cache_clear()
    yield to
    for cached in (figures.models, paper.manifest): cached.cache_clear()

def given(home): return {'mug': dict(model=str(root / 'checkpoints/cartoon64'), prior=''), 'timit': dict(data_dir='')}

def test_made_once_and_again_when_something_changes(home):
    assert paper.state_of('table5', True, given(home)) == 'missing'
    assert paper.make_items(['table5'], True, given(home)) == {}
    made = home / 'figures/paper/standin/table5.json'
    first = made.stat().st_mtime_ns
    assert paper.state_of('table5', True, given(home)) == 'done'
    assert paper.make_items(['table5'], True, given(home)) == {}
    assert made.stat().st_mtime_ns == first                                      # nothing was run
    module = home / 'diffsda/presets.py'
    module.write_text(module.read_text() + '\n# changed\n')
    paper.imported.cache_clear()
    assert paper.state_of('table5', True, given(home)) == 'stale'
    assert paper.make_items(['table5'], True, given(home)) == {} and made.stat().st_mtime_ns > first
    paper.write_page()
    page = (home / 'figures/README.md').read_text()
    assert '### Table 5: The prior' in page and '1216' in page and 'papermill nbs/paper/presets.ipynb' in page

def test_mug_from_files_to_figures(home, tmp_path, capsys):
    "Videos in MUG's layout, prepared and trained for two steps: the paper's own items, by the command."
    from diffsda.programs import train
    program('mug', make_mug(tmp_path / 'files'), '--out', tmp_path / 'mug')
    train(f'--dataset mug --data_dir {tmp_path}/mug --run {tmp_path}/run --steps 2 --pairs 2 --batch_size 2 --base 16 '
          '--hidden 32 --n_frames 2 --n_steps 2'.split())
    words = [f'--data=mug={tmp_path}/mug', f'--model=mug={tmp_path}/run', '--only', 'fig12', 'table2']
    with pytest.MonkeyPatch.context() as m:
        rows = {k: v | dict(parameters='panels=1; n_frames=2' if k == 'fig12' else 'pairs=2; n_frames=2', parts='mug')
                for k, v in paper.manifest().items()}
        m.setattr(paper, 'manifest', lambda: rows)
        programs.paper(words)
        assert '2 of 2 items are up to date' in capsys.readouterr().out
        part, = about(home / 'figures/paper/paper', 'fig12')['parts']
        assert part['dataset'] == 'mug' and part['data'] == 'MUG' and part['training_steps'] == 2
        assert 'Figure 12' in (home / 'figures/README.md').read_text()

@pytest.mark.parametrize('words, said', [
    (['--only', 'fig48'], ["'fig48'", 'fig01 to fig47']),
    (['--data', 'mugg=x'], ["'mugg'", 'one of celebv_hq']),
    (['--model', 'mug'], ['NAME=FOLDER'])])
def test_refused(home, words, said):
    with pytest.raises(SystemExit) as stopped: programs.paper(words)
    assert all(s in str(stopped.value) for s in ['diffsda-paper: ', *said])

def test_what_is_missing_is_said(home, capsys):
    with pytest.raises(SystemExit) as stopped: programs.paper(['--only', 'fig16'])
    err = capsys.readouterr().err
    assert stopped.value.code == 3 and 'not here' in err and 'python data_prep/mug.py' in err and 'diffsda-train' in err
    programs.paper(['--list'])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 54 and sum('not here' in line for line in lines) == 51 # Tables 4 and 5 need no data

def test_a_model_that_does_not_fit(home):
    "Named before anything is written."
    wrong = {'mug': dict(model=str(root / 'checkpoints/librispeech'), prior='')}
    assert 'a model of frames' in paper.make_items(['fig16'], True, wrong)['fig16']
    assert not (home / 'figures/paper/standin/fig16.png').exists()

def test_a_folder_that_cannot_be_written(home):
    (home / 'figures/paper').write_text('a file in its place')
    assert 'cannot be written' in paper.make_items(['table5'], True, given(home))['table5']

def test_a_kernel_that_dies_is_said(home, monkeypatch):
    import papermill
    def dies(*args, **kw): raise RuntimeError('Kernel died')
    monkeypatch.setattr(papermill, 'execute_notebook', dies)
    assert 'its kernel ended (Kernel died)' in paper.make_items(['table5'], True, given(home))['table5']
