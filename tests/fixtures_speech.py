"""Stand-ins for three speech corpora, in the true layout on the disk; what is said in them is babble, made here."""
import functools, hashlib
from pathlib import Path
import numpy as np
import soundfile

CORE = dict(DR1='MDAB0 MWBT0 FELC0', DR2='MTAS1 MWEW0 FPAS0', DR3='MJMP0 MLNT0 FPKT0', DR4='MLLL0 MTLS0 FJLM0',
            DR5='MBPM0 MKLT0 FNLP0', DR6='MCMJ0 MJDH0 FMGD0', DR7='MGRT0 MNJM0 FDHC0',
            DR8='MJLN0 MPAM0 FMLD0') # TIMIT's testset.doc
# Hz, Peterson & Barney 1952: men
VOWELS = np.array([[270, 2290, 3010], [390, 1990, 2550], [660, 1720, 2410],
                   [730, 1090, 2440], [570, 840, 2410], [300, 870, 2240]])


def rng_of(*words): return np.random.default_rng(list(hashlib.sha256('/'.join(map(str, words)).encode()).digest()[:8]))


@functools.lru_cache(maxsize=None)
def babble(speaker, # any name: pitch and length of the vocal tract come from it
           text,    # any name: the vowels and the melody come from it
           seconds=1., rate=16_000) -> np.ndarray: # (n,) float64 in [-1, 1]
    "Harmonics of a wandering pitch, weighted by three wandering formants, four syllables a second."
    who, what = rng_of(speaker), rng_of(text)
    pitch, tract, n = who.uniform(85, 240), who.uniform(.9, 1.25), int(seconds * rate)
    t, knots = np.arange(n) / rate, np.arange(0, seconds + .5, .25)
    path = VOWELS[what.integers(len(VOWELS), size=len(knots))] * tract
    formants = np.stack([np.interp(t, knots, f) for f in path.T])
    f0 = pitch * np.exp(.15 * np.interp(t, knots, what.standard_normal(len(knots))))
    phase, sound = 2 * np.pi * np.cumsum(f0) / rate, who.standard_normal(n) * 3e-3
    for k in range(1, int(min(4500, rate / 2.2) / pitch)):
        gain = (1 / (1 + ((k * f0 - formants) / 90) ** 2) / [[1], [2], [4]]).sum(0)
        sound += gain * np.sin(k * phase) * (k * f0 < rate / 2)
    sound *= .55 - .45 * np.cos(8 * np.pi * t)
    return .5 * sound / np.abs(sound).max()


# coding: a line sample_coding, which TIMIT's own headers do not have
def write_sphere(path, sound, rate=16_000, coding=''):
    "NIST SPHERE as TIMIT has it: 1024 bytes of header, then 16 bit little endian."
    name = f'{Path(path).parent.name[1:]}_{Path(path).stem}'.lower()
    pcm = np.round(np.asarray(sound) * 32767).astype('<i2')
    lines = ['NIST_1A', '   1024', 'database_id -s5 TIMIT', 'database_version -s3 1.0',
             f'utterance_id -s{len(name)} {name}', 'channel_count -i 1', f'sample_count -i {len(pcm)}',
             f'sample_rate -i {rate}', f'sample_min -i {pcm.min()}', f'sample_max -i {pcm.max()}',
             'sample_n_bytes -i 2', 'sample_byte_format -s2 01',
             'sample_sig_bits -i 16', *([f'sample_coding -s{len(coding)} {coding}'] if coding else []), 'end_head', '']
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes('\n'.join(lines).encode().ljust(1024) + pcm.tobytes())


CORE_PATHS = tuple(f'{d}/{s}' for d, who in CORE.items() for s in who.split())

def make_timit(folder, train=('DR1/FCJF0', 'DR2/MARC0', 'DR8/FCLT0'), test=(*CORE_PATHS, 'DR1/FAKS0'),
               sentences=('SA1', 'SX37', 'SI1027'), lower=False, seconds=.7, write=write_sphere): # -> Path
    "As LDC93S1: TRAIN/DR1/FCJF0/SA1.WAV, or all in lower case. FAKS0 is a test speaker who is not in the core test."
    for side, speakers in (('TRAIN', train), ('TEST', test)):
        for speaker in speakers:
            for sentence in sentences:
                name = f'{side}/{speaker}/{sentence}.WAV'
                path = Path(folder) / (name.lower() if lower else name)
                path.parent.mkdir(parents=True, exist_ok=True)
                write(path, babble(speaker[-5:], sentence, seconds))
                path.with_suffix('.phn' if lower else '.PHN').write_text('0 3050 h#\n') # what else lies there
    return Path(folder)


# -> Path
def make_librispeech(folder, speakers=range(10, 20), utterances=1, subset='train-clean-100', flat=False, seconds=1.3):
    "As openslr.org/12, or all files in one folder as the subset at hand."
    folder = Path(folder); folder.mkdir(parents=True, exist_ok=True)
    for who in speakers:
        for i in range(utterances):
            path = folder / ('' if flat else f'{subset}/{who}/{who}7') / f'{who}-{who}7-{i:04d}.flac'
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, babble(who, f'{who} {i}', seconds), 16_000)
    rows = [f'{s:<4} | {"FM"[s % 2]} | train-clean-100  | 25.03 | Somebody\n' for s in speakers]
    (folder / 'SPEAKERS.TXT').write_text(';ID  |SEX| SUBSET           |MINUTES| NAME\n' + ''.join(rows))
    return folder


def make_fsdd(folder, speakers=('george', 'jackson', 'lucas'), digits=range(10), takes=(0, 5), seconds=.45): # -> Path
    "As GitHub Jakobovski/free-spoken-digit-dataset: recordings/7_george_32.wav, 8 kHz."
    (Path(folder) / 'recordings').mkdir(parents=True, exist_ok=True)
    for speaker in speakers:
        for digit in digits:
            for take in takes:
                path = Path(folder) / f'recordings/{digit}_{speaker}_{take}.wav'
                soundfile.write(path, babble(speaker, digit, seconds + .01 * take, 8_000), 8_000)
    return Path(folder)
