"""PyTorch checkpoints of any kind, told apart by the names of their tensors."""

from __future__ import annotations

from llamachat.weights.base import StoredWeights
from llamachat.weights.files import Refusal
from llamachat.weights.huggingface import is_huggingface, open_file
from llamachat.weights.meta import is_llama2c_checkpoint, is_meta, open_llama2c_checkpoint, open_meta
from llamachat.weights.model_files import ModelFiles
from llamachat.weights.torch_file import TorchFile


def open_pytorch(files: ModelFiles) -> StoredWeights:
    """The Llama model in a checkpoint of Meta's, llama2.c's or Hugging Face's."""
    checkpoint = TorchFile(files.first)
    if is_llama2c_checkpoint(checkpoint.root):
        return open_llama2c_checkpoint(files, checkpoint)
    if is_meta(checkpoint.root):
        return open_meta(files, checkpoint)
    if is_huggingface(checkpoint.root):
        return open_file(files)
    raise Refusal("is a PyTorch checkpoint, but of no Llama model")
