"""Every parameter of a run, from a notebook and a terminal: names, values, what they change, what is refused."""
import ast, json, re, subprocess, sys
from dataclasses import fields
from pathlib import Path
import pytest
from fastcore.docments import docments
from diffsda.programs import train as main, train_options
from diffsda.factors import BadInput, refusal
from diffsda.presets import PRESETS
from diffsda.settings import (CHOICES, GROUPS, ModelSettings, Settings, TrainSettings, configure, kind_of,
                              notebook_settings, preset_of, read_settings, refuse_unknown, since)
from diffsda.training import TrainConfig

root = Path(__file__).resolve().parent.parent
names = [f.name for f in fields(Settings)]
each = pytest.mark.parametrize('name', names)

def other_value(name):
    "A value that is not the default."
    kind, default = kind_of(name)[0], getattr(Settings, name)
    if name in CHOICES: return next(c for c in CHOICES[name] if c != default)
    return {bool: not default, int: 3, float: 0.7, str: 'other'}[kind]


def parameters_cell():
    cells = json.loads((root / 'nbs/train.ipynb').read_text())['cells']
    return next(''.join(c['source']) for c in cells if 'parameters' in c['metadata'].get('tags', []))

def test_train_notebook_has_exactly_the_settings():
    "The same names in the same order, the same defaults, the same words."
    cell = parameters_cell()
    given = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell).body}
    assert list(given) == names and given == {f.name: f.default for f in fields(Settings)}
    words = dict(re.findall(r'^(\w+) = .*?  # (.*)$', cell, re.M))
    assert words == {name: text for group in GROUPS for name, text in docments(group).items() if name in names}

def test_every_setting_is_in_one_group():
    assert [f.name for group in GROUPS for f in fields(group)] == names == list(dict.fromkeys(names))


@each
def test_the_default_and_another_value_are_accepted(name):
    value = other_value(name)
    assert read_settings({name: getattr(Settings, name)}) == Settings()
    assert getattr(read_settings({name: value}), name) == value

@each
def test_a_value_of_another_kind_is_refused(name):
    kind, optional = kind_of(name)
    wrong = {bool: (1, 'yes', 0.), int: ('many', 2.5, True, [3]),
             float: ('much', True, (1.,)), str: (3, True, ['a'])}[kind]
    for value in wrong + (() if optional else (None,)):
        said = refusal(lambda: read_settings({name: value}))
        assert said.startswith(f'parameter {name}: {value!r}; expected {kind.__name__}'), said

@each
def test_a_number_out_of_range_is_refused(name):
    kind = kind_of(name)[0]
    if kind not in (int, float): return
    for value in [-21, 2 ** 70] + [float('nan'), float('inf')] * (kind is float):
        assert f'parameter {name}' in refusal(lambda: read_settings({name: value}))

@pytest.mark.parametrize('given, words', [
    (dict(datset='mug'), 'did you mean dataset'),
    ({'quiet': True}, "'quiet': it does not exist"),
    ({'residual': True}, "'residual': it does not exist"),
    (dict(d_noise=True), 'expected float or None'),            # a flag in earlier versions
    (dict(d_noise=-.1), 'expected 0 or more'),
    (dict(minutes=-1), 'expected 0 or more'),
    (dict(seed=2 ** 70), 'below 2**63'),
    (dict(ema=1.), 'below 1'),
    (dict(P_mean=50.), 'below 20'),
    (dict(s_dim=0), 'expected 1 or more'),
    (dict(n_steps=0), 'expected 1 or more'),
    (dict(pairs=0), 'expected 1 or more'),
    (dict(clips='foo'), "expected 'character' or 'action'"),
    (dict(input_scaling='loud'), "expected 'unit' or 'wiener'"),
    (dict(static_pooling='max'), "expected 'last' or 'mean'"),
], ids=lambda v: next(iter(v)) if isinstance(v, dict) else '')
def test_refused_with_a_sentence(given, words): assert words in refusal(lambda: read_settings(given))

def test_an_integer_is_accepted_for_a_float():
    "papermill reads `-p P_mean 2` as the integer 2."
    settings = read_settings(dict(P_mean=2, lr=1, minutes=3))
    assert (settings.P_mean, settings.lr, settings.minutes) == (2., 1., 3.)
    assert all(type(v) is float for v in (settings.P_mean, settings.lr, settings.minutes))

kinds = [('2', int), ('0.5', float), ('None', type(None)), ('True', bool), ('wiener', str)]
@pytest.mark.parametrize('words, kind', kinds)
def test_what_papermill_makes_of_a_word(words, kind):
    from papermill.cli import _resolve_type
    assert type(_resolve_type(words)) is kind

@pytest.mark.parametrize('words, expected', [
    ('--P_mean 2', dict(P_mean=2.)), ('--s_dim None', {}), ('--s_dim 7', dict(s_dim=7)),
    ('--standardise', dict(standardise=True)), ('--no-standardise', dict(standardise=False)),
    ('--d_noise 0', dict(d_noise=0.)), ('--no-per_band', dict(per_band=False)),
    ('--input_scaling unit --temperature 1', dict(input_scaling='unit', temperature=1.)), ('', {}),
])
def test_from_a_terminal(words, expected):
    assert read_settings(vars(train_options().parse_args(words.split()))) == Settings(**expected)

@pytest.mark.parametrize('words', ['--s_dim 2.5', '--P_mean much', '--rnu x', '--stand'])
def test_a_terminal_refuses(words, capsys):
    with pytest.raises(SystemExit) as end: train_options().parse_args(words.split())
    assert end.value.code == 2 and words.split()[0] in capsys.readouterr().err

def test_help_has_every_parameter_in_its_group():
    said = ' '.join(train_options().format_help().split())
    for group in GROUPS:
        assert f'{group.__doc__}:' in said
        for f in fields(group): assert f'--{f.name}' in said and docments(group)[f.name].split(';')[0] in said
    assert "[the preset's]" in said and 'diffsda-train --dataset cartoon' in said


@pytest.mark.parametrize('name', [f.name for f in fields(ModelSettings)])
def test_a_dial_of_the_model_reaches_the_model(name):
    preset = PRESETS['cartoon'].model
    value = not getattr(preset, name) if kind_of(name)[0] is bool else other_value(name)
    if name in CHOICES: value = next(c for c in CHOICES[name] if c != getattr(preset, name))
    model, _ = configure(read_settings({name: value}))
    changed = {k for k, v in vars(model).items() if v != getattr(preset, k)}
    assert getattr(model, name) == value and changed == {name}

@pytest.mark.parametrize('name', [f.name for f in fields(TrainSettings)])
def test_a_dial_of_training_reaches_the_trainer(name):
    value = 'bf16' if name == 'precision' else other_value(name)
    _, train = configure(read_settings({'precision': 'no', name: value})) # 'auto' is settled by the experiment
    config = TrainConfig(**train)
    assert getattr(config, name) == value and bool(config.minutes) == (name != 'steps')

def test_presets_by_name():
    assert preset_of(Settings(preset='vowels')) is PRESETS['vowels'] and preset_of(Settings()) is PRESETS['cartoon']
    assert "preset 'huge'" in refusal(lambda: configure(Settings(preset='huge')))

def test_no_budget_at_all(tmp_path):
    with pytest.raises(SystemExit, match='neither steps nor minutes'):
        main(['--steps', '0', '--minutes', '0', '--run', str(tmp_path / 'run')])


def test_a_notebook_takes_what_is_new():
    before = dict(json=json, steps=None)
    after = {**before, 'before': before, 'steps': 3, 'P_mean': 2, '_i12': "IPython's own", 'In': [], 'main': main}
    assert since(before, after).keys() == {'before', 'steps', 'P_mean', 'main'}
    assert notebook_settings({**before, 'before': before}, after) == Settings(steps=3, P_mean=2.)
    assert notebook_settings(after, after) == Settings(steps=3, P_mean=2.) # its cells run a second time
    assert 'did you mean steps' in refusal(lambda: notebook_settings(before, {**before, 'stepz': 3}))

def test_the_guard_of_other_notebooks():
    refuse_unknown(dict(json=json), dict(json=json, run=''), 'run', 'out')
    said = refusal(lambda: refuse_unknown({}, dict(run='', rnu='', _i3=''), 'run', 'out'))
    assert "'rnu': it does not exist; The parameters are run, out" in said
    said = refusal(lambda: refuse_unknown(dict(json=json), dict(json=3, run=''), 'run')) # the name of an import
    assert "'json': it does not exist" in said

@pytest.mark.parametrize('given, value', [(dict(lr='1e-3'), .001), (dict(steps='8'), 8), (dict(minutes='5'), 5.)])
def test_numbers_that_yaml_takes_for_a_text(given, value):
    (name, _), = given.items()
    found = getattr(read_settings(given), name)
    assert found == value and type(found) is type(value)

@pytest.mark.parametrize('given', [dict(steps='8.5'), dict(steps='many'), dict(lr='nan'), dict(lr='1e-3x')])
def test_texts_that_are_no_such_number(given):
    with pytest.raises(BadInput, match=next(iter(given))): read_settings(given)

def test_the_home_folder_in_paths(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    given = dict(run='~/runs/x', start='~/a', data_dir='~/b', first_stage='')
    found = read_settings(given)
    assert (found.run, found.start, found.data_dir) == tuple(f'{tmp_path}/{p}' for p in ('runs/x', 'a', 'b'))
    assert found.first_stage == ''

@pytest.mark.parametrize('program', ['train', 'evaluate', 'paper'])
@pytest.mark.parametrize('words', ['--help', '--mistyped 1'])
def test_the_terminal_is_answered_before_torch_is_loaded(program, words):
    code = f'''
import sys
from diffsda import programs
try: programs.{program}({words.split()!r})
except SystemExit as end: print("code", end.code, "torch" in sys.modules, "numpy" in sys.modules)'''
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == f'code {2 * (words != "--help")} False False', done.stderr

def test_ctrl_c_while_torch_is_loaded(monkeypatch):
    import builtins
    from diffsda import programs
    def impatient(name, *words, real=builtins.__import__):
        if name.endswith('factors'): raise KeyboardInterrupt
        return real(name, *words)
    monkeypatch.setattr(builtins, '__import__', impatient)
    with pytest.raises(SystemExit) as end: programs.train([])
    assert end.value.code == 130
