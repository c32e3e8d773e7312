"""What timit.py, librispeech.py and fsdd.py share: recordings to log-mel frames. Not a program itself."""
import re
from diffsda import speech
from diffsda.sound import BANDS, HOP, RATE, SEGMENT, log_mel
from diffsda.files import walk
from diffsda.preparation import Clip, Source, left_over, parser, run

def sources(folder, args, corpus): # name of the corpus: a function of diffsda.speech that lists its utterances
    files, left_out = walk(folder)
    pattern = re.compile(speech.CORPORA[corpus].pattern, re.I)
    def why_not(path): # copies of an utterance match, too, and count once
        if path.suffix.lower() not in speech.SOUNDS or pattern.search(path.as_posix()): return ''
        return f'not a name of {corpus} ({speech.CORPORA[corpus].layout}); rename it, or take it away'
    found = left_over(folder, files, left_out, [], why_not)
    for u in getattr(speech, corpus)(folder):
        labels = {k: getattr(u, k) for k in ('speaker', 'content', 'sex') if getattr(u, k)}
        found.append(Source(u.path.relative_to(folder).as_posix(), str(u.path), u.split, labels))
    return found

def read(source, args): # what had to be done to a recording becomes a label
    notes = []
    mel = log_mel(speech.read_sound(source.path, notes)).numpy()
    yield Clip('', {'note': '; '.join(what for _, what in notes)} if notes else {})
    yield mel

def program(doc,      # docstring of the program
            corpus,   # 'timit', 'librispeech' or 'fsdd'
            licence,
            expected, # dict: what -> number that the paper states
           ):
    args = parser(doc, corpus, size=0).parse_args()
    info = dict(modality='sound', frame=[BANDS], rate=RATE / HOP, source=speech.CORPORA[corpus].source, licence=licence)
    def listed(folder, args): return sources(folder, args, corpus)
    run(args, corpus, listed, read, info, expected, least=SEGMENT)
