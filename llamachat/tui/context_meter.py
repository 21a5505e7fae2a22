"""How full the model's context is, in tokens."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from llamachat.display import left_out


class ContextMeter(Widget):
    """A bar and its figures: exact token counts, never an estimate."""

    DEFAULT_CSS = """
    ContextMeter {
        height: 4;
        color: $soft;
    }
    """

    used: reactive[int] = reactive(0)
    total: reactive[int] = reactive(0)
    reused: reactive[int] = reactive(0)  #: of the last prompt, already in the KV cache
    prompt: reactive[int] = reactive(0)  #: tokens of the last prompt
    draft: reactive[int] = reactive(0)  #: tokens of the text that is not sent yet
    dropped: reactive[int] = reactive(0)  #: messages that no longer fit

    def render(self) -> Content:
        """Bar, figures, and where there is something to say, what was reused and what was left out."""
        if not self.total:
            return Content.assemble(("no model yet", "$faint"))
        width = max(1, self.size.width)
        filled = min(width, -(-self.used * width // self.total))
        planned = min(width, -(-(self.used + self.draft) * width // self.total)) - filled
        color = "$warning" if (self.used + self.draft) * 10 >= self.total * 9 else "$accent"
        typed = f" · {self.draft:,} typed" if self.draft else ""
        total = f" of {self.total:,} tokens"
        if len(f"{self.used:,}{total}{typed}") > width:
            total = f" of {self.total:,}"
        lines: list[Content] = [
            Content.assemble(
                ("━" * filled, color), ("━" * planned, "$soft"), ("─" * (width - filled - planned), "$faint")
            ),
            Content.assemble((f"{self.used:,}", "$text"), total, (typed, "$faint")),
        ]
        if self.reused:
            lines.append(Content.assemble((f"{self.reused:,} of {self.prompt:,} reused from the cache", "$faint")))
        if self.dropped:
            lines.append(Content.assemble((left_out(self.dropped), "$warning")))
        return Content("\n").join(lines)
