"""Free Spoken Digit Dataset: ten digits, six speakers, fifty takes, to log-mel frames.

FOLDER is a clone of https://github.com/Jakobovski/free-spoken-digit-dataset: recordings/DIGIT_SPEAKER_TAKE.wav.
Takes 0 to 4 are the test side.
"""
from speech import program

if __name__ == '__main__': program(__doc__, 'fsdd', 'CC BY-SA 4.0', {})
