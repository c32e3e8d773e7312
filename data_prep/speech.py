"""What timit.py, librispeech.py and fsdd.py share: recordings to log-mel frames. Not a program itself."""
from diffsda import speech
from diffsda.sound import BANDS, HOP, RATE, SEGMENT, log_mel
from diffsda.preparation import Source, parser, run

def sources(folder, args, corpus): # name of the corpus: a function of diffsda.speech that lists its utterances
    found = []
    for u in getattr(speech, corpus)(folder):
        labels = {k: getattr(u, k) for k in ('speaker', 'content', 'sex') if getattr(u, k)}
        found.append(Source(u.path.relative_to(folder).as_posix(), str(u.path), u.split, labels))
    return found

def read(source, args): yield log_mel(speech.read_sound(source.path)).numpy()

def program(doc,      # docstring of the program
            corpus,   # 'timit', 'librispeech' or 'fsdd'
            licence,
            expected, # dict: what -> number that the paper states
           ):
    args = parser(doc, corpus, size=0).parse_args()
    info = dict(modality='sound', frame=[BANDS], rate=RATE / HOP, source=speech.CORPORA[corpus].source, licence=licence)
    def listed(folder, args): return sources(folder, args, corpus)
    run(args, corpus, listed, read, info, expected, least=SEGMENT)
