"""Each Lua script is a file, and is loaded together with the functions that its kind shares."""

from pathlib import Path

from pm_realtime.backends.redis import scripts

FOLDER = Path(scripts.__file__).parent / "lua"


STREAMS = {"PUBLISH", "GET_TOPS", "READ", "FIND_START", "COUNT_TOPS", "FORGET"}
RESULTS = {"CLAIM", "KEEP", "GIVE_UP", "RENEW_CLAIMS"}


def test_each_lua_file_is_loaded_behind_the_functions_that_it_shares():
    loaded = {
        name: text for name, text in vars(scripts).items() if name.isupper() and name[0] != "_"
    }
    written = {path.stem.upper(): path.read_text() for path in FOLDER.glob("*.lua")}
    state, streams = written.pop("COMMON"), written.pop("STREAMS")
    results, presence = written.pop("RESULTS"), written.pop("PRESENCE")
    shared = dict.fromkeys(written, state) | dict.fromkeys(STREAMS, streams)
    shared |= dict.fromkeys(RESULTS, results)
    shared |= {name: presence for name in written if name.startswith("PRESENCE_")}
    assert loaded == {name: shared[name] + text for name, text in written.items()}
