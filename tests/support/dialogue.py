"""One dialogue, as every prompt format writes it."""

from __future__ import annotations

from llamachat.chat.conversation import Role
from llamachat.chat.prompt_formats import Turn

SYSTEM = "You are terse."
DIALOGUE = [
    Turn(Role.USER, "Hi!"),
    Turn(Role.ASSISTANT, "Hello."),
    Turn(Role.USER, "2+2?"),
    Turn(Role.ASSISTANT, "4"),
    Turn(Role.USER, "Thanks"),
]

WRITTEN = {
    "llama2": (
        "<s>[INST] <<SYS>>\nYou are terse.\n<</SYS>>\n\nHi! [/INST] Hello. </s><s>[INST] 2+2? [/INST] 4 </s>"
        "<s>[INST] Thanks [/INST]"
    ),
    "chatml": (
        "<|im_start|>system\nYou are terse.<|im_end|>\n<|im_start|>user\nHi!<|im_end|>\n"
        "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n"
        "<|im_start|>assistant\n4<|im_end|>\n<|im_start|>user\nThanks<|im_end|>\n<|im_start|>assistant\n"
    ),
    "zephyr": (
        "<|system|>\nYou are terse.</s>\n<|user|>\nHi!</s>\n<|assistant|>\nHello.</s>\n<|user|>\n2+2?</s>\n"
        "<|assistant|>\n4</s>\n<|user|>\nThanks</s>\n<|assistant|>\n"
    ),
    "llama3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nYou are terse.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi!<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n4<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nThanks<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "mistral-v1": (
        "<s> [INST] You are terse.\n\nHi! [/INST] Hello.</s> [INST] 2+2? [/INST] 4</s> [INST] Thanks [/INST]"
    ),
    "mistral-v3": "<s>[INST] You are terse.\n\nHi![/INST] Hello.</s>[INST] 2+2?[/INST] 4</s>[INST] Thanks[/INST]",
    "vicuna": "You are terse. USER: Hi! ASSISTANT: Hello.</s>USER: 2+2? ASSISTANT: 4</s>USER: Thanks ASSISTANT:",
    "alpaca": (
        "You are terse.\n\n### Instruction:\nHi!\n\n### Response:\nHello.\n\n### Instruction:\n2+2?\n\n"
        "### Response:\n4\n\n### Instruction:\nThanks\n\n### Response:\n"
    ),
    "plain": "You are terse.\n\nHi!Hello.\n2+2?4\nThanks",
}
WRITTEN["smollm2"] = WRITTEN["chatml"]
