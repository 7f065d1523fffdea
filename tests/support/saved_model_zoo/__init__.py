"""A hundred and more small SavedModels of many kinds, with requests for each.

They are the proof that another engine than TensorFlow never gives another answer. What is here first is variety: the
layers of Keras, control flow, tables, strings, state, delicate numbers, and errors, which are answers too.

`entry` and `requests` know no TensorFlow. `export` is a program of its own, since importing TensorFlow takes seconds
and half a gigabyte; the modules that it lists hold the models, by kind.
"""
