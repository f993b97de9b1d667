"""Attune: speech emotion recognition that adapts to the person who speaks.

The rooms, in the order the data walks:

    data        from files on disk to batches of tensors
    encoders    a recording to vectors
    nn          small pieces of networks that methods share
    methods     one paper, one file: network, losses and stages together
    evaluation  from a table of predictions to numbers (no torch)
    inference   one recording in, two answers out; the profiles people keep
    figures     plotly figures
    training    recipe in, run folder out
    commands    the command line
    ui          the app (the only room that imports gradio)

and five files that every room may use: imports, labels, recipe, weights, workspace.
"""

__version__ = "0.1.0"
