from importlib.util import find_spec

# There is no atheris for every machine and Python.
collect_ignore = [] if find_spec("atheris") else ["test_guided.py"]
