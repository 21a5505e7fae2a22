"""``llamachat sessions``: the stored chats, without the chat."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from llamachat.chat.store import SessionStore
from llamachat.cli.help import CONTEXT, HelpCommand, HelpMixin
from llamachat.cli.invocation import Invocation
from llamachat.cli.options import FOLDERS, PROGRAM, Option, flag, with_options
from llamachat.cli.session_names import find_session, short_id
from llamachat.cli.table import print_table
from llamachat.display import clean
