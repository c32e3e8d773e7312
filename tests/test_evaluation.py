"""One model through the whole protocol with tiny budgets: rows, files, going on, and refusals."""
import json
import numpy as np
import pytest
import torch
from diffsda import evaluation
from diffsda.evaluation import Evaluation, as_frame, open_judge, other_people
from diffsda.detectors import PersonReID
from diffsda.factors import as_pixels, refusal
from diffsda.model import DiffSDA
from diffsda.presets import ModelConfig
from diffsda.programs import evaluate as main
from diffsda.protocol import fixed_pairs, write_pairs
from diffsda.settings import EvaluationSettings, read_settings
from diffsda.toys import CartoonFaces
from fixtures_notebooks import run_cells

TINY = ModelConfig(frame=(3, 64, 64), base=16, mults=(1, 2), n_res=1, attn=(), patch=8, hidden=16, s_dim=4, d_dim=2,
                   enc_base=16, enc_mults=(1, 2), enc_n_res=1, enc_patch=8, enc_attn=())
FEW = dict(n_clips=12, pairs=6, n_frames=3, n_steps=2, seeds=2, judge='none')

@pytest.fixture(scope='module')
def model(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('model')
    DiffSDA(TINY).save_pretrained(folder)
    (folder / 'metrics.json').write_text('{"dataset": "cartoon"}')
    return folder

def settings(folder, out, **given):
    return read_settings(FEW | dict(model=str(folder), out=str(out)) | given, EvaluationSettings)

def test_rows_of_all_kinds_of_noise(model, tmp_path):
    e = Evaluation(settings(model, tmp_path, noise='all'))
    rows = e.swaps()
    assert list(rows) == ['Oracle (rendered)', 'copy of the static source', 'copy of the dynamic source',
                          'DiffSDA, fresh noise', 'DiffSDA, donor noise', 'DiffSDA, reference noise',
                          'DiffSDA, static noise']
    table = e.table(rows)
    assert table['Oracle (rendered)']['swap error'].mean == 0
    assert table['copy of the static source']['AED'].mean == 0 == table['copy of the dynamic source']['AKD'].mean
    assert len(rows['DiffSDA, fresh noise']) == 2 and len(rows['DiffSDA, donor noise']) == 1
    assert '[' in as_frame(table).loc['copy of the static source', 'swap error']

def test_it_goes_on_where_it_stopped(model, tmp_path, monkeypatch):
    Evaluation(settings(model, tmp_path)).swaps()
    calls = []
    monkeypatch.setattr(evaluation, 'swap_both', lambda *a, **k: calls.append(k['seed']) or (a[1].float() / 255,) * 2)
    again = Evaluation(settings(model, tmp_path))
    first = again.table(again.swaps())
    assert not calls                                                   # nothing was computed a second time
    Evaluation(settings(model, tmp_path, seeds=3)).swaps()
    assert calls == [2]                                                # one seed more
    Evaluation(settings(model, tmp_path, temperature=.5)).swaps()
    assert calls == [2, 0, 1]                                          # other noise is another row
    assert again.table(again.swaps())['DiffSDA, fresh noise'] == first['DiffSDA, fresh noise']

def test_rows_with_holes_come_back_as_they_were(model, tmp_path):
    e = Evaluation(settings(model, tmp_path))
    make = lambda: ({'AED': np.array([1., np.nan])}, {})
    a, b = (e.kept('x', 0, make)[0]['AED'] for _ in range(2))
    assert np.isnan(b[1]) and b[0] == 1 and a is not b

def test_terminal_writes_results(model, tmp_path, capsys):
    main([w for k, v in (FEW | dict(model=model, out=tmp_path)).items() for w in (f'--{k}', str(v))])
    said, found = capsys.readouterr().out, json.loads((tmp_path / 'results.json').read_text())
    assert 'Table 1, swaps' in said and (tmp_path / 'pairs.csv').is_file()
    assert found['table1']['DiffSDA, fresh noise']['swap error']['n'] == 6 and found['table2']['DiffSDA, own']['MSE']
    assert found['evaluations'] == 3 and not found['zero_shot'] and found['depends_on']['pairs']

@pytest.mark.parametrize('given, words', [
    (dict(model=''), 'model: none was given'), (dict(model='nowhere'), 'nowhere'),
    (dict(seeds=0), 'parameter seeds: 0'), (dict(pairs=0), 'parameter pairs: 0'), (dict(noise='frsh'), "'fresh' or"),
    (dict(dataset='mug'), 'dataset mug: no prepared clips'), (dict(n_frames=99), '0 identity'),
    (dict(points='opnepose'), 'opnepose'), (dict(judge='nowhere'), 'nowhere'), (dict(prior='nowhere'), 'nowhere'),
    (dict(pairs_file='nowhere.csv'), 'nowhere.csv: not readable'), (dict(split='tset'), 'tset'),
    (dict(device='gpu'), "device='gpu'")])
def test_one_sentence(given, words, model, tmp_path):
    assert words in refusal(lambda: Evaluation(settings(model, tmp_path, **given)))
    assert not list(tmp_path.iterdir())

def test_pairs_of_another_dataset(model, tmp_path):
    faces = CartoonFaces('test', 12, 8)
    faces.name = 'mug'
    write_pairs(tmp_path / 'pairs.csv', fixed_pairs(faces, 6, 3))
    assert "'mug'" in refusal(lambda: Evaluation(settings(model, tmp_path, pairs_file=str(tmp_path / 'pairs.csv'))))

def test_the_usual_judge_reads_frames_of_its_size_only():
    assert open_judge('', 'cartoon', 32) is None and open_judge('', 'vowels', 64) is None
    assert open_judge('', 'cartoon', 64).config.dataset == 'cartoon' and open_judge('none', 'cartoon', 64) is None

class Reads:
    "A network whose vectors are mean colours; set as the authors do, 255 times smaller."
    name, version, squared = 'reads', '1', True
    def __init__(self, scale=1.): self.scale = scale
    def embed(self, frames):
        colours = as_pixels('frames', frames).float().mean((2, 3))
        return self.scale * colours, torch.ones(len(frames)) > 0

def test_the_authors_column_asks_their_network(model, tmp_path):
    "Squared, and of the network as they set it: not the sound network under another name."
    e = Evaluation(settings(model, tmp_path, points='none', identity='none'))
    e.identity = Reads()
    e.identity.authors = Reads(1 / 255)
    x = torch.zeros(1, 2, 3, 8, 8)
    found = e.distances(x, x + .3, None)
    assert found['AED'].mean == pytest.approx(.3 * 3 ** .5)
    assert found['AED (authors)'].mean == pytest.approx(.27 / 255 ** 2)
    assert PersonReID.squared

def test_another_clip_for_each():
    pairs = fixed_pairs(CartoonFaces('test', 12, 8), 10, 3)
    order = other_people(pairs, 0)
    assert all(pairs.x[i] != pairs.x[k] for k, i in enumerate(order)) and len(set(order)) == 10

def test_notebook(model, tmp_path):
    space = run_cells('evaluate', **FEW, model=model, out=tmp_path)
    assert json.loads((tmp_path / 'results.json').read_text())['table1'] and space['facts']['seeds'] == 2
    with pytest.raises(Exception, match='did you mean pairs'): run_cells('evaluate', pair=3)
