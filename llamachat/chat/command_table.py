"""The table of commands, and finding one in it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from llamachat import paths
from llamachat.chat import look_command, preset_command, reading
from llamachat.chat.code_blocks import code_blocks
from llamachat.chat.command import Command, Face
from llamachat.chat.command_line import READ
from llamachat.chat.conversation import Message, Role
from llamachat.chat.info import NO_SYSTEM, beside, describe
from llamachat.chat.model_names import model_names
from llamachat.chat.names import NO_MODEL_HERE, find_model, find_session, model_files
from llamachat.chat.path_completion import CHAT, FILE, MODEL, NEW_FILE
from llamachat.chat.prompt_formats import FORMATS
from llamachat.chat.shown_prompt import shown_prompt
from llamachat.display import clean_line, counted
from llamachat.engine.settings import PARAMETERS, parameter_named
from llamachat.errors import LlamachatError

if TYPE_CHECKING:
    from llamachat.chat.session import ChatSession

_AUTO = "auto"
_NO_ANSWER = "there is no answer here yet"
_NOTHING = "there is nothing here yet: ask something first"


# ---- what there is to act on ---------------------------------------------------


def _last(session: ChatSession, role: Role) -> Message | None:
    return next((message for message in reversed(session.conversation.path) if message.role is role), None)


def _answer(session: ChatSession) -> Message:
    answer = _last(session, Role.ASSISTANT)
    if answer is None:
        raise LlamachatError(_NO_ANSWER)
    return answer


def _question(session: ChatSession) -> Message:
    question = _last(session, Role.USER)
    if question is None:
        raise LlamachatError(_NOTHING)
    return question


def _has_messages(session: ChatSession) -> bool:
    return len(session.conversation) > 0


def _has_answer(session: ChatSession) -> bool:
    return _last(session, Role.ASSISTANT) is not None


def _ends_with_answer(session: ChatSession) -> bool:
    leaf = session.conversation.leaf
    return leaf is not None and leaf.role is Role.ASSISTANT


def _has_siblings(session: ChatSession) -> bool:
    return _fork(session) is not None


def _fork(session: ChatSession) -> Message | None:
    """The last visible message that has alternatives."""
    conversation = session.conversation
    return next((m for m in reversed(conversation.path) if conversation.siblings(m)[1] > 1), None)


def _is_stoppable(session: ChatSession) -> bool:
    return session.busy or session.queued is not None


# ---- chats ---------------------------------------------------------------------


def _new(session: ChatSession, _face: Face, _argument: str) -> None:
    session.new()


def _open(session: ChatSession, face: Face, argument: str) -> None:
    if not argument:
        face.pick_session()
        return
    session.open(find_session(session.sessions(), argument).id)


def _complete_sessions(session: ChatSession, _face: Face, typed: str) -> list[str]:
    titles = [clean_line(summary.shown_title, 60) for summary in session.sessions()]
    return [title for title in dict.fromkeys(titles) if title.casefold().startswith(typed.casefold())][:20]


def _rename(session: ChatSession, face: Face, argument: str) -> None:
    conversation = session.conversation
    if argument:
        session.rename(conversation.id, argument)
    else:
        face.edit_line("Title", conversation.title, lambda title: session.rename(conversation.id, title))


def _delete(session: ChatSession, face: Face, argument: str) -> None:
    if argument:
        found = find_session(session.sessions(), argument)
        session_id, title, n_messages = found.id, found.shown_title, found.n_messages
    else:
        conversation = session.conversation
        if not _has_messages(session):
            raise LlamachatError(_NOTHING)
        session_id, title, n_messages = conversation.id, conversation.shown_title, len(conversation)
    question = f"Delete {clean_line(title, 60)!r} with its {counted(n_messages, 'message')}?"
    face.confirm(question, lambda: session.delete(session_id))


def _examples(session: ChatSession, face: Face, argument: str) -> None:
    from llamachat.chat.examples import add_examples

    face.say("example chats: " + ", ".join(f"“{title}”" for title in add_examples(session, argument)))


def _complete_examples(_session: ChatSession, _face: Face, typed: str) -> list[str]:
    from llamachat.chat.examples import example_names

    return [name for name in example_names() if name.startswith(typed)]


def _export(session: ChatSession, face: Face, argument: str) -> None:
    from llamachat.chat.exchange.commands import export

    export(session, face, argument)


def _import(session: ChatSession, face: Face, argument: str) -> None:
    from llamachat.chat.exchange.commands import import_chats

    import_chats(session, face, argument)


# ---- messages ------------------------------------------------------------------


def _regenerate(session: ChatSession, _face: Face, _argument: str) -> None:
    session.regenerate()


def _continue(session: ChatSession, _face: Face, _argument: str) -> None:
    session.continue_answer()


def _edit(session: ChatSession, face: Face, argument: str) -> None:
    _change(session, face, _question(session), argument)


def _correct(session: ChatSession, face: Face, argument: str) -> None:
    _change(session, face, _answer(session), argument)


def _change(session: ChatSession, face: Face, message: Message, text: str) -> None:
    if text:
        session.edit(message.id, text)
    else:
        face.edit_message(message)


def _previous(session: ChatSession, _face: Face, _argument: str) -> None:
    _step(session, -1)


def _next(session: ChatSession, _face: Face, _argument: str) -> None:
    _step(session, +1)


def _step(session: ChatSession, step: int) -> None:
    fork = _fork(session)
    if fork is not None and session.select_sibling(fork.id, step) is fork:
        raise LlamachatError(f"there is no alternative {'after' if step > 0 else 'before'} this one")


def _stop(session: ChatSession, _face: Face, _argument: str) -> None:
    session.stop()


def _copy(session: ChatSession, face: Face, argument: str) -> None:
    answer = _answer(session)
    if not argument:
        face.copy(answer.text)
    elif argument == "code":
        blocks = code_blocks(answer.text)
        if not blocks:
            raise LlamachatError("there is no code block in this answer")
        face.copy(blocks[-1])
    elif argument == "question":
        face.copy(_question(session).text)
    else:
        raise LlamachatError("/copy takes nothing (the answer), code or question")


def _complete_copy(_session: ChatSession, _face: Face, typed: str) -> list[str]:
    return [word for word in ("code", "question") if word.startswith(typed)]


# ---- model and sampling ----------------------------------------------------------


def _set(session: ChatSession, face: Face, argument: str) -> None:
    name, _, value = argument.replace("=", " ", 1).partition(" ")
    parameter = parameter_named(name)
    if value.strip():
        session.set_parameter(parameter.name, value.strip())
    now = session.settings.to_dict()[parameter.name]
    face.say(f"{parameter.key} {parameter.format(now)}  ({parameter.range_text})")


def _complete_set(session: ChatSession, _face: Face, typed: str) -> list[str]:
    word = typed.replace("_", "-").lower()
    values = session.settings.to_dict()
    return [f"{p.key} {p.format(values[p.name])}" for p in PARAMETERS if f"{p.key} ".startswith(word)]


def _params(session: ChatSession, face: Face, _argument: str) -> None:
    values = session.settings.to_dict()
    width = max(len(p.key) for p in PARAMETERS)
    shown = [beside(f"{p.key:<{width}}  {p.format(values[p.name]):>6}  ", p.help) for p in PARAMETERS]
    face.say("\n".join(shown))


def _reset(session: ChatSession, face: Face, argument: str) -> None:
    names = [parameter_named(argument).name] if argument else [p.name for p in PARAMETERS]
    settings = session.settings
    for parameter in PARAMETERS:
        if parameter.name in names:
            settings = settings.with_value(parameter.name, parameter.default)
    session.set_settings(settings)
    _params(session, face, "")


def _complete_names(_session: ChatSession, _face: Face, typed: str) -> list[str]:
    return [p.key for p in PARAMETERS if p.key.startswith(typed.replace("_", "-").lower())]


def _system(session: ChatSession, face: Face, argument: str) -> None:
    if argument:
        session.set_system("" if argument == "-" else argument)
    elif face.asks:
        face.edit_text("System prompt", session.conversation.system, session.set_system)
    else:
        face.say(f"system prompt: {session.system_in_use or NO_SYSTEM}")


def _model(session: ChatSession, face: Face, argument: str) -> None:
    if not argument:
        face.pick_model()
        return
    session.open_file(find_model(argument, session.store.data_dir or paths.data_dir(), NO_MODEL_HERE))


def _complete_models(session: ChatSession, _face: Face, typed: str) -> list[str]:
    names = model_names(model_files(paths.models_dir(session.store.data_dir or paths.data_dir())))
    return [name for name in names if name.casefold().startswith(typed.casefold())]


def _format(session: ChatSession, face: Face, argument: str) -> None:
    if argument:
        session.set_prompt_format(None if argument.lower() == _AUTO else argument)
    in_use = session.prompt_format or "chosen when a model is there"
    how = "set for this chat" if session.conversation.prompt_format else "detected"
    face.say(f"prompt format: {in_use} ({how})\nthere are: {', '.join([_AUTO, *FORMATS])}")


def _complete_formats(_session: ChatSession, _face: Face, typed: str) -> list[str]:
    return [name for name in (_AUTO, *FORMATS) if name.startswith(typed.lower())]


def _prompt(session: ChatSession, face: Face, _argument: str) -> None:
    face.say(shown_prompt(session))


def _info(session: ChatSession, face: Face, _argument: str) -> None:
    face.say(describe(session))


# ---- the program -----------------------------------------------------------------


def _theme(_session: ChatSession, face: Face, argument: str) -> None:
    if argument:
        face.set_theme(argument)
    else:
        face.say("themes: " + (", ".join(face.themes()) or "none here"))


def _complete_themes(_session: ChatSession, face: Face, typed: str) -> list[str]:
    return [name for name in face.themes() if name.startswith(typed)]


def _help(_session: ChatSession, face: Face, argument: str) -> None:
    if not argument:
        face.show_help()
        return
    command = find_command(argument.removeprefix("/"))
    face.say(f"{command.usage}  {command.help}")


def _complete_help(_session: ChatSession, _face: Face, typed: str) -> list[str]:
    return [command.name for command in COMMANDS if command.name.startswith(typed.removeprefix("/"))]


def _quit(_session: ChatSession, face: Face, _argument: str) -> None:
    face.quit()


COMMANDS: tuple[Command, ...] = (
    Command("new", "Start an empty chat.", _new, aliases=("clear",)),
    Command("open", "Open a stored chat.", _open, "[TITLE]", complete=_complete_sessions),
    Command("sessions", "Choose among the stored chats.", lambda _, face, __: face.pick_session(), aliases=("chats",)),
    Command("rename", "Give this chat another title.", _rename, "[TITLE]",
            available=_has_messages, otherwise=_NOTHING),
    Command("delete", "Delete this chat, or another, after asking.", _delete, "[TITLE]", complete=_complete_sessions),
    Command("examples", "Add the example chats to yours.", _examples, "[NAME]", complete=_complete_examples),
    Command("export", "Write this chat to a file: .json holds all of it, .md and .txt what is visible.", _export,
            "[FILE]", available=_has_messages, otherwise=_NOTHING, path=NEW_FILE),
    Command("import", "Add the chats in a file: of llamachat, or of ChatGPT's export.", _import, "FILE", path=CHAT),
    Command(READ, "Put a text file into the message that you write.", reading.run, "FILE", path=FILE),
    Command("regenerate", "Ask for another answer; the one before stays beside it.", _regenerate,
            aliases=("again", "retry"), available=_has_messages, otherwise=_NOTHING),
    Command("continue", "Let the last answer go on where it ended.", _continue,
            available=_ends_with_answer, otherwise="there is no answer here to continue: /regenerate asks for one"),
    Command("edit", "Change the last question and ask again, as a new branch.", _edit, "[TEXT]",
            available=_has_messages, otherwise=_NOTHING),
    Command("correct", "Change the last answer, as a new branch; /continue goes on from it.", _correct, "[TEXT]",
            available=_has_answer, otherwise=_NO_ANSWER),
    Command("previous", "Show the alternative before this one.", _previous, aliases=("prev",),
            available=_has_siblings, otherwise="nothing here has alternatives: /regenerate makes one"),
    Command("next", "Show the alternative after this one.", _next,
            available=_has_siblings, otherwise="nothing here has alternatives: /regenerate makes one"),
    Command("stop", "Stop the answer; what is there stays.", _stop,
            available=_is_stoppable, otherwise="nothing is running"),
    Command("copy", "Copy the last answer, its last code block, or the question.", _copy, "[code|question]",
            complete=_complete_copy, available=_has_answer, otherwise=_NO_ANSWER),
    Command("tokens", "Show how sure the model was of its last answer, token by token.", look_command.run,
            "[PLACE [NUMBER]]", available=_has_answer, otherwise=_NO_ANSWER),
    Command("set", "Change one sampling parameter, from the next token on.", _set, "NAME [VALUE]",
            complete=_complete_set),
    Command("params", "Show all sampling parameters.", _params, aliases=("show",)),
    Command("reset", "Put one sampling parameter, or all, back to the defaults.", _reset, "[NAME]",
            complete=_complete_names),
    Command("preset", "Take a preset's sampling, or list the presets.", preset_command.run, "[NAME]",
            complete=preset_command.complete),
    Command("system", "Change the system prompt of this chat ('-' for the model's own).", _system, "[TEXT]"),
    Command("model", "Open another model: a file, or a name in the models folder.", _model, "[FILE|NAME]",
            complete=_complete_models, path=MODEL),
    Command("pull", "Fetch the default model, and open it.", lambda _, face, __: face.fetch_model()),
    Command("format", "Show or change the prompt format of this chat.", _format, "[NAME]", complete=_complete_formats),
    Command("prompt", "Show the exact prompt, with its control tokens.", _prompt,
            available=_has_messages, otherwise=_NOTHING),
    Command("info", "Show the model, the context, and the figures of the last answer.", _info),
    Command("theme", "Change the theme.", _theme, "[NAME]", complete=_complete_themes),
    Command("help", "Show keys and commands.", _help, "[COMMAND]", aliases=("?",), complete=_complete_help),
    Command("quit", "End the program.", _quit, aliases=("exit", "q", "bye")),
)  # fmt: skip

_BY_NAME = {name: command for command in COMMANDS for name in (command.name, *command.aliases)}


def command_named(name: str) -> Command | None:
    """The command with this name or alias, in any case."""
    return _BY_NAME.get(name.strip().lower())


def find_command(name: str) -> Command:
    """The same; ``LlamachatError`` names the nearest one where there is none."""
    found = command_named(name)
    if found is not None:
        return found
    word = name.strip().lower()
    meant = {known: f"/{known}" for known in _BY_NAME} | {p.name: f"/set {p.key}" for p in PARAMETERS}
    begun = [known for known in meant if word and known.startswith(word)]
    near = begun or difflib.get_close_matches(word.replace("-", "_"), meant, n=1, cutoff=0.6)
    hint = f"did you mean {meant[near[0]]}?" if near else "/help lists the commands"
    raise LlamachatError(f"no command /{name[:40]}: {hint} (a message that begins with a slash is typed with two)")
