from importlib.util import find_spec

# atheris has no wheels for some machines and Pythons.
collect_ignore = [] if find_spec("atheris") else ["test_guided.py"]
