"""The pickles of PyTorch checkpoints, read without running anything.

A pickle is a program for a small machine with a stack. This machine knows the instructions that ``torch.save`` writes
and a list of names; neither can do more than to make a list, a dictionary or a description of a tensor. Any other name
is refused where it is named, before anything could be called.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llamachat.weights.files import Refusal, quoted

#: Bytes and instructions of a pickle, at most: that of a 70B model has some 100 kB.
BYTES_LIMIT = 8 << 20
_STEPS_LIMIT = 1 << 19
_TEXT_LIMIT = 1 << 20

_U8, _U16, _U32, _I32, _F64 = map(struct.Struct, ("<B", "<H", "<I", "<i", ">d"))
_CUT_SHORT = "is cut short: its pickle has no end"


@dataclass(frozen=True, slots=True)
class StorageRef:
    """Elements of one kind ("Float", "BFloat16"), in the member ``key`` of the archive."""

    kind: str
    key: str
    n_elements: int


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A view of a storage; offset and strides count elements."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Name:
    """A name of the list below; no object of that name is ever looked up."""

    text: str


def read_pickle(data: bytes) -> Any:
    """What the pickle describes: dictionaries, lists, tuples, texts, numbers and ``TensorRef``s."""
    if len(data) > BYTES_LIMIT:
        raise Refusal(f"has a pickle of {len(data)} bytes; at most {BYTES_LIMIT} are allowed")
    try:
        return _Machine(data).run()
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error):
        raise Refusal("is broken: its pickle makes no sense") from None


# ---- what may be called ----


def _ordered_dict(args: tuple[Any, ...]) -> dict[Any, Any]:
    if args:
        raise TypeError
    return {}


def _tensor(args: tuple[Any, ...]) -> TensorRef:
    storage, offset, shape, stride, *_ = args
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, StorageRef) or len(shape) != len(stride) or len(shape) > 8:
        raise TypeError
    if any(type(n) is not int or not 0 <= n < 1 << 63 for n in numbers):
        raise ValueError
    return TensorRef(storage, offset, tuple(shape), tuple(stride))


def _typed_tensor(args: tuple[Any, ...]) -> Any:
    function, _, inner, *_ = args
    return _CALLS[function.text](inner)


_CALLS: Mapping[str, Callable[[tuple[Any, ...]], Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": lambda args: tuple(args[0]),
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda args: args[0],
    "torch._tensor._rebuild_from_type_v2": _typed_tensor,
}

_STORAGES = {
    f"torch.{kind}Storage": kind
    for kind in (
        *("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"),
        *("ComplexFloat", "ComplexDouble"),
    )
}
_INERT = ("torch.Tensor", "torch.nn.parameter.Parameter")
_NAMES = frozenset((*_CALLS, *_STORAGES, *_INERT))


class _Machine:
    """The stack, and what has been put aside (memo)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks under each mark
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        data = self._data
        for _ in range(_STEPS_LIMIT):
            if self._at == len(data):
                raise Refusal(_CUT_SHORT)
            code = data[self._at]
            self._at += 1
            if code == _STOP:
                return self.stack[-1]
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise Refusal(f"has a pickle with the instruction {code:#04x}, which no weights need")
            operation(self)
        raise Refusal(f"has a pickle of more than {_STEPS_LIMIT} instructions, too much for a model")

    def take(self, n: int) -> bytes:
        """The next bytes of the program."""
        end = self._at + n
        if end > len(self._data):
            raise Refusal(_CUT_SHORT)
        data = self._data[self._at : end]
        self._at = end
        return data

    def skip(self, n: int) -> None:
        self.take(n)

    def number(self, layout: struct.Struct) -> Any:
        return layout.unpack(self.take(layout.size))[0]

    def text(self, n: int) -> str:
        if n > _TEXT_LIMIT:
            raise Refusal(f"has a pickle with a text of {n} bytes")
        return self.take(n).decode(errors="replace")

    def line(self) -> str:
        end = self._data.find(b"\n", self._at, self._at + 256)
        if end < 0:
            raise ValueError
        return self.take(end + 1 - self._at)[:-1].decode(errors="replace")

    def mark(self) -> None:
        self._below.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self._below.pop()
        return items

    def put(self, index: int) -> None:
        self._memo[index] = self.stack[-1]

    def memoize(self) -> None:
        self.put(len(self._memo))

    def get(self, index: int) -> None:
        self.stack.append(self._memo[index])

    def push_name(self, module: str, name: str) -> None:
        text = f"{module}.{name}"
        if text not in _NAMES:
            raise Refusal(f"has a pickle that asks for {quoted(text)}, which no weights need; nothing of it was run")
        self.stack.append(_Name(text))

    def stack_name(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.push_name(str(module)[:200], str(name)[:200])

    def call(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if type(args) is not tuple or type(function) is not _Name:
            raise TypeError
        self.stack.append(_CALLS[function.text](args))

    def push_storage(self) -> None:
        what, kind, key, _, n = self.stack.pop()
        if what != "storage" or type(key) is not str or type(n) is not int or not 0 <= n < 1 << 63:
            raise TypeError
        self.stack.append(StorageRef(_STORAGES[kind.text], key, n))

    def build(self) -> None:
        """Attributes of an object: of those known here none has any that matter."""
        self.stack.pop()
        if type(self.stack[-1]) not in (dict, TensorRef):
            raise TypeError

    def tuple_of(self, n: int) -> None:
        if len(self.stack) < n:
            raise IndexError
        items = tuple(self.stack[len(self.stack) - n :])
        del self.stack[len(self.stack) - n :]
        self.stack.append(items)

    def tuple_to_mark(self) -> None:
        items = tuple(self.to_mark())
        self.stack.append(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise TypeError
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int, float, bool):  # others could be deep, and slow to compare
                raise TypeError
            target[key] = value

    def append_all(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise TypeError
        target.extend(items)

    def pop_items(self, n: int) -> list[Any]:
        return [self.stack.pop() for _ in range(n)][::-1]


def _push(make: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    def push(m: _Machine) -> None:
        m.stack.append(make(m))

    return push


def _small_integer(m: _Machine) -> int:
    n = m.number(_U8)
    if n > 8:
        raise ValueError
    return int.from_bytes(m.take(n), "little", signed=True)


_STOP = ord(".")

#: By the instruction's byte: what the machine does.
_OPERATIONS: Mapping[int, Callable[[_Machine], None]] = {
    0x80: lambda m: m.skip(1),  # the version of the protocol
    0x95: lambda m: m.skip(8),  # the size of what follows
    ord("("): _Machine.mark,
    ord("}"): _push(lambda _: {}),
    ord("]"): _push(lambda _: []),
    ord(")"): _push(lambda _: ()),
    ord("N"): _push(lambda _: None),
    0x88: _push(lambda _: True),
    0x89: _push(lambda _: False),
    ord("K"): _push(lambda m: m.number(_U8)),
    ord("M"): _push(lambda m: m.number(_U16)),
    ord("J"): _push(lambda m: m.number(_I32)),
    0x8A: _push(_small_integer),
    ord("G"): _push(lambda m: m.number(_F64)),
    ord("X"): _push(lambda m: m.text(m.number(_U32))),
    0x8C: _push(lambda m: m.text(m.number(_U8))),
    ord("U"): _push(lambda m: m.text(m.number(_U8))),
    ord("T"): _push(lambda m: m.text(m.number(_U32))),
    ord("c"): lambda m: m.push_name(m.line(), m.line()),
    0x93: _Machine.stack_name,
    ord("q"): lambda m: m.put(m.number(_U8)),
    ord("r"): lambda m: m.put(m.number(_U32)),
    0x94: _Machine.memoize,
    ord("h"): lambda m: m.get(m.number(_U8)),
    ord("j"): lambda m: m.get(m.number(_U32)),
    ord("t"): _Machine.tuple_to_mark,
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    ord("R"): _Machine.call,
    ord("Q"): _Machine.push_storage,
    ord("b"): _Machine.build,
    ord("s"): lambda m: m.set_items(m.pop_items(2)),
    ord("u"): lambda m: m.set_items(m.to_mark()),
    ord("a"): lambda m: m.append_all(m.pop_items(1)),
    ord("e"): lambda m: m.append_all(m.to_mark()),
}
