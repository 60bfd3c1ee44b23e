"""Each Lua script is a file, and is loaded together with the functions that all of them share."""

from pathlib import Path

from pm_realtime.backends.redis import scripts

FOLDER = Path(scripts.__file__).parent / "lua"


def test_each_lua_file_is_loaded_behind_the_common_functions():
    common = (FOLDER / "common.lua").read_text()
    loaded = {
        name: text for name, text in vars(scripts).items() if name.isupper() and name[0] != "_"
    }
    written = {path.stem.upper(): path.read_text() for path in FOLDER.glob("*.lua")}
    del written["COMMON"]
    assert loaded == {name: common + text for name, text in written.items()}
