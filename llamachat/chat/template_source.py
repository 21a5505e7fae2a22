"""A format of the table as the Jinja chat template that a model file can hold, so that other programs know it too."""

from __future__ import annotations

import re

from llamachat.chat.prompt_formats import FORMATS, PromptFormat

#: Texts that templates have as variables, since vocabularies may spell them otherwise.
_VARIABLES = {"<s>": "bos_token", "<|begin_of_text|>": "bos_token", "</s>": "eos_token"}


def template_source(written: PromptFormat) -> str | None:
    """The template, which is recognised as this format again; None for plain text, where none is needed."""
    if written is FORMATS["plain"]:
        return None
    trim = " | trim" if written.strip else ""
    in_question = "{system}" in written.user
    system = _expression(written.system, f"messages[0]['content']{trim}")
    default = _expression(written.system, _literal(written.default_system)) if written.default_system else "''"
    question, answer, close = written.user.replace("{system}", ""), written.answer, written.close
    if in_question:
        opening, question = written.user.split("{system}")
        first = "system if loop.index0 == given else ''"
        asked = " ~ ".join(
            part for part in (_expression(opening), f"({first})", _content(question, trim)) if part != "''"
        )
    else:
        asked = _content(question, trim)
    lines = (
        "{% set given = 1 if messages and messages[0]['role'] == 'system' else 0 %}",
        f"{{% set system = {system} if given else {default} %}}",
        _written(_expression(written.begin)),
        "" if in_question else "{{ system }}",
        "{% for message in messages %}",
        f"{{% if message['role'] == 'user' %}}{_written(asked)}",
        f"{{% elif message['role'] == 'assistant' %}}{_written(_content(answer + written.lead + '{}' + close, trim))}",
        "{% endif %}{% endfor %}",
        f"{{% if add_generation_prompt %}}{_written(_expression(answer))}{{% endif %}}" if answer else "",
    )
    return "".join(lines)


def _content(pattern: str, trim: str) -> str:
    return _expression(pattern, f"message['content']{trim}")


def _expression(pattern: str, content: str = "") -> str:
    """A Jinja expression that writes a pattern of a format, with an expression in place of ``{}``.

    Neighbouring texts are one literal, by which formats are recognised.
    """
    parts = re.split("(" + "|".join(map(re.escape, (*_VARIABLES, "{}"))) + ")", pattern)
    terms: list[str] = []
    for part in parts:
        if part == "{}":
            term = content if content.startswith("'") else f"({content})"
        else:
            term = _VARIABLES.get(part) or _literal(part)
        if term == "''":
            continue
        if terms and terms[-1].endswith("'") and term.startswith("'"):
            terms[-1] = terms[-1][:-1] + term[1:]
        else:
            terms.append(term)
    return " ~ ".join(terms) or "''"


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def _written(expression: str) -> str:
    return "" if expression == "''" else f"{{{{ {expression} }}}}"
