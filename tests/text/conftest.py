"""Tiny text towers in the layouts that users have on disk."""

import pytest
import torch

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "blue", "heart", "cat", "bus", "rose"]


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory):
    """A random BERT of width 32 with twelve words, as save_pretrained writes it."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=32)
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(folder)
    return folder


def _clip_tokenizer():
    from transformers import CLIPTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [piece for letter in letters for piece in (letter, f"{letter}</w>")] + ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizerFast(vocab={piece: number for number, piece in enumerate(pieces)}, merges=[])


@pytest.fixture(scope="session")
def clip_sizes():
    tokenizer = _clip_tokenizer()
    ids = dict(vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id)
    sizes = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64)
    return sizes | {"text": ids | {"max_position_embeddings": 24}}


@pytest.fixture(scope="session")
def clip_text_folder(tmp_path_factory, clip_sizes):
    """A random CLIP text tower of width 32 whose words are single letters."""
    from transformers import CLIPTextConfig, CLIPTextModel

    folder = tmp_path_factory.mktemp("clip_text")
    _clip_tokenizer().save_pretrained(folder)
    sizes = {key: value for key, value in clip_sizes.items() if key != "text"}
    torch.manual_seed(0)
    CLIPTextModel(CLIPTextConfig(**sizes, **clip_sizes["text"])).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def whole_clip_folder(tmp_path_factory, clip_sizes):
    """The same text tower's sizes inside a whole CLIP, as the hub has it."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    _clip_tokenizer().save_pretrained(folder)
    sizes = {key: value for key, value in clip_sizes.items() if key != "text"}
    torch.manual_seed(0)
    vision = sizes | {"image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=sizes | clip_sizes["text"], vision_config=vision, projection_dim=16)).save_pretrained(folder)
    return folder
