"""What a person is asked to say for each emotion, and how. The sentences mean nothing in particular, on purpose."""

PROMPTS = {
    "neutral": "The train leaves from platform four this afternoon.",
    "happiness": "You will not believe who called me this morning.",
    "sadness": "The house has been very quiet since they left.",
    "anger": "I have told you three times to leave that alone.",
    "fear": "Did you hear that noise behind the door?",
    "disgust": "There is something growing in the back of the fridge.",
    "surprise": "Wait, you mean it was here the whole time?",
}
"""Sentence to read aloud, by emotion; any sentence in any language does as well."""

HINTS = {
    "neutral": "As you would read a timetable to somebody.",
    "happiness": "As if you had just heard wonderful news.",
    "sadness": "As if you missed somebody very much.",
    "anger": "As if you had had enough. It need not be loud.",
    "fear": "As if you were alone in the dark and heard a step.",
    "disgust": "As if something smelt rotten.",
    "surprise": "As if you could not believe your eyes.",
}
"""How to speak it, by emotion."""
