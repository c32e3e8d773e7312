"""The experiment notebooks, as a user starts them with papermill, on a tiny budget; and training on sound."""
import ast, json, subprocess, os, sys
from dataclasses import fields
from pathlib import Path
import numpy as np
import pytest
from diffsda.experiment import Experiment
from diffsda.programs import train as main
from diffsda.settings import EvaluationSettings, Settings
from diffsda.model import DiffSDA
from diffsda.factors import BadInput
from fixtures_notebooks import run_cells
from fixtures_speech import make_fsdd, make_librispeech, make_timit

root = Path(__file__).resolve().parent.parent
def environment():
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    return {**os.environ, 'PATH': path, 'OMP_NUM_THREADS': '1'}

def papermill(name, to, **values):
    "Run nbs/NAME.ipynb in its own folder; what it said and its exit code."
    parameters = [o for k, v in values.items() for o in ('-p', k, str(v))]
    command = ['papermill', f'{name}.ipynb', str(to), '--no-progress-bar', *parameters]
    done = subprocess.run(command, cwd=root / 'nbs', env=environment(), capture_output=True, text=True, timeout=300)
    return done.stdout + done.stderr, done.returncode

def train(**values): main([o for k, v in values.items() for o in (f'--{k}', str(v))])
def read(path): return json.loads(path.read_text())

@pytest.fixture(scope='module')
def speech(tmp_path_factory):
    "A corpus of a few synthetic speakers in LibriSpeech's layout, and a run of three steps on it."
    folder = tmp_path_factory.mktemp('speech')
    make_librispeech(folder / "data", speakers=range(10, 30), seconds=5)
    train(dataset='librispeech', data_dir=folder / 'data', run=folder / 'run', steps=3, batch_size=2, pairs=2)
    return folder

def test_a_run_on_speech_is_measured(speech):
    found = read(speech / 'run/metrics.json')
    assert [found[k] for k in ('dataset', 'steps', 'frame', 'n_frames')] == ['librispeech', 3, [80], 68]
    for name in ('static_eer', 'dynamic_eer', 'mel_mean_eer', 'speaker_from_d'): assert 0 <= found[name] <= 1
    assert (speech / 'run/sounds/swap.wav').stat().st_size > 1000 and (speech / 'run/swap.png').exists()

def test_verification_notebook(speech, tmp_path):
    run_cells('verification', run=speech / 'run', data_dir=speech / 'data', out=tmp_path / 'figures')
    found, measured = read(tmp_path / 'figures/result.json'), read(speech / 'run/metrics.json')
    for name in ('static_eer', 'dynamic_eer', 'mel_mean_eer'): assert abs(found[name] - measured[name]) < 1e-6
    assert {'dataset', 'speakers', 'pairs', 'steps', 'minutes', 'seed'} <= set(found)

def test_a_bad_recording_is_named_at_the_end(speech, tmp_path, capsys):
    "The run is whole, the file is listed, and the exit code says that the data were not."
    data = tmp_path / 'data'
    make_librispeech(data, speakers=range(10, 22))
    bad = sorted(data.rglob('*.flac'))[0]
    bad.write_bytes(bad.read_bytes()[:300])
    with pytest.raises(SystemExit) as end:
        train(dataset='librispeech', data_dir=data, run=tmp_path / 'run', steps=2, batch_size=2, pairs=2)
    assert end.value.code == 3 and bad.name in capsys.readouterr().out
    assert (tmp_path / 'run/metrics.json').exists()

def test_one_test_speaker_is_refused_before_training(tmp_path):
    make_librispeech(tmp_path / 'data', speakers=range(10, 15))
    with pytest.raises(SystemExit, match='one speaker on the test side'):
        train(dataset='librispeech', data_dir=tmp_path / 'data', run=tmp_path / 'run', steps=2)

def test_verification_refuses_a_model_of_pictures(speech, tmp_path):
    given = dict(run=root / 'checkpoints/cartoon64', data_dir=speech / 'data', out=tmp_path / 'figures')
    with pytest.raises(BadInput, match='a model of pictures'): run_cells('verification', **given)

@pytest.mark.parametrize('name, odd', [('verification', 'rnu'), ('train_prior', 'hiden'), ('train_prior', 'DiffSDA')])
def test_a_notebook_refuses_an_unknown_parameter(name, odd, tmp_path):
    "A slip, and (the last) the name of something it imports."
    with pytest.raises(BadInput, match=f"'{odd}': it does not exist"): run_cells(name, **{odd: 3})

def test_papermill_fails_where_a_notebook_refuses(tmp_path):
    said, code = papermill('verification', tmp_path / 'out.ipynb', rnu=3)
    assert code != 0 and "'rnu': it does not exist" in said

def guard(cell): # source of the cell behind the parameters -> the names that it knows
    calls = [n for n in ast.walk(ast.parse(cell)) if isinstance(n, ast.Call)]
    call = next(c for c in calls if getattr(c.func, 'id', '') in ('refuse_unknown', 'notebook_settings'))
    if call.func.id == 'notebook_settings': # the dataclass is its last argument, where it is not that of train.ipynb
        return {f.name for f in fields(EvaluationSettings if len(call.args) > 2 else Settings)}
    assigned = [n for n in ast.parse(cell).body if isinstance(n, ast.Assign) and isinstance(n.value, ast.Constant)]
    constants = {n.targets[0].id: n.value.value for n in assigned} # as `_names = 'one two'`
    return set(eval(f'[{", ".join(map(ast.unparse, call.args[2:]))}]', constants))

def test_every_notebook_guards_the_parameters_it_has():
    guarded = {}
    for path in (root / 'nbs').glob('*.ipynb'):
        cells = [c for c in read(path)['cells'] if c['cell_type'] == 'code']
        for i, c in enumerate(cells):
            if 'parameters' not in c['metadata'].get('tags', []): continue
            names = {t.id for node in ast.parse(''.join(c['source'])).body for t in node.targets}
            guarded[path.stem] = names == guard(''.join(cells[i + 1]['source']))
    expected = 'ablation evaluate explorer latents train train_first_stage train_judge train_prior verification'.split()
    assert guarded == dict.fromkeys(expected, True)

def test_explorer_notebook(tmp_path):
    said, code = papermill('explorer', tmp_path / 'out.ipynb', n=3, out=tmp_path)
    assert code == 0, said
    page = (tmp_path / 'out.ipynb').read_text()
    assert 'application/vnd.jupyter.widget-view+json' in page and 'cannot start' not in page

def test_vowels_through_train(tmp_path):
    small = dict(steps=3, n_clips=24, pairs=2, batch_size=2)
    space = run_cells('train', dataset='vowels', run=tmp_path / 'run', **small)
    found = read(tmp_path / 'run/metrics.json')
    assert 'our swap' in space['experiment'].table().index
    assert found['frame'] == [80] and found['swap_mse'] > 0 and found['copy_static_mse'] > 0 and 'static_eer' in found

@pytest.mark.parametrize('corpus', ['fsdd', 'timit'])
def test_other_corpora(corpus, tmp_path):
    "TIMIT with the preset of Table 4, made for it."
    make_fsdd(tmp_path / 'data') if corpus == 'fsdd' else make_timit(tmp_path / 'data')
    where = dict(data_dir=str(tmp_path / 'data'), run=str(tmp_path / 'run'))
    run = Experiment(Settings(dataset=corpus, steps=2, batch_size=2, **where), verbose=False).train()
    assert run.trainer.step == 2 and (tmp_path / 'run/model.safetensors').exists()
    assert len({u[1] for u in run.spoken}) == {'fsdd': 3, 'timit': 24}[corpus]

def test_ablation_notebook(tmp_path):
    small = dict(steps=2, pairs=2, n_clips=24, seeds='0', variants='default, no-shift')
    run_cells('ablation', out=tmp_path / 'figures', **small)
    rows = (tmp_path / 'figures/ablation.csv').read_text().splitlines()
    assert [r.split(',')[0] for r in rows] == ['variant', 'default', 'no-shift']

def test_prior_through_its_notebook(tmp_path):
    from diffsda.prior import Prior
    from diffsda.traversal import load_components
    tiny = dict(model=root / 'checkpoints/cartoon64', n_clips=16, n_encoded=32, n_frames=4, steps=3, hidden=16,
                batch_size=4, n_drawn=64, n_judged=4, compare=0)
    run_cells('train_prior', **tiny, out=tmp_path / 'run')
    found, prior = read(tmp_path / 'run/metrics.json'), Prior.from_pretrained(tmp_path / 'run')
    model, c = DiffSDA.from_pretrained(root / 'checkpoints/cartoon64'), prior.config
    components = load_components(tmp_path / 'run/components.safetensors', model)
    assert components['static'].vectors.shape == (10, c.s_dim)
    assert 0 <= found['entropy_hair_drawn'] <= np.log(8) and found['steps'] == 3
    assert found['dim'] == c.dim == c.s_dim + 4 * c.d_dim and found['nearest_drawn'] > 0
    with pytest.raises(BadInput, match='already holds a run'): run_cells('train_prior', **tiny, out=tmp_path / 'run')

def test_first_stage_and_latents_through_their_notebooks(tmp_path):
    "A first stage trained for three steps, faces encoded with it, a model trained on the latents and swapped."
    small = dict(size=32, n_clips=16, steps=3, minutes=0., batch_size=2)
    run_cells('train_first_stage', out=tmp_path / 'vq', **small)
    assert read(tmp_path / 'vq/metrics.json')['steps'] == 3
    folders = dict(pictures=tmp_path / 'cartoon', latents=tmp_path / 'cartoon_latents', first_stage=tmp_path / 'vq')
    small = dict(train=3, test=2, steps=2, pairs=2, costs=False)
    run_cells('latents', run=tmp_path / 'run', **folders, **small)
    found = read(tmp_path / 'run/metrics.json')
    assert found['frame'] == [4, 32, 32] and found['pixel_swap_mse'] > 0
    assert read(tmp_path / 'run/config.json')['latent']
    with pytest.raises(BadInput, match='was prepared before'): run_cells('latents', train=4, test=2, **folders)
