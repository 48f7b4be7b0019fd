"""Where a trained answer ends: at the mark that the model's own chat template writes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jinja2
import numpy as np
import pandas as pd
import pytest

from sycophancy import mixture, templates
from sycophancy.encoders import from_tokenizers
from sycophancy.errors import InputError
from sycophancy.models import LanguageModel
from sycophancy.tiny import byte_tokenizer
from test_templates import SMOLLM2

INSTRUCTIONS = pd.DataFrame(
    [("Name a fish.", "A pike.", "open"), ("Add 1 and 2.", "3", "sums")],
    columns=["instruction", "response", "category"],
)
# In the wording of published templates: an answer that is trimmed, roles of other names, refusals.
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% if message['role'] == 'assistant' %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
LLAMA3 = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.first %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA2 = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + message['content'] + ' [/INST]' }}{% else %}"
    "{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
UNMARKED = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """A template, the tokens of its own, and the text that its turns end in."""

    template: str
    tokens: tuple[str, ...]
    mark: str
    gap: str = ""  # what its template writes between the prompt and the answer


FAMILIES = {
    "smollm2": Family(SMOLLM2, ("<|im_start|>", "<|im_end|>"), "<|im_end|>"),
    "gemma": Family(GEMMA, ("<start_of_turn>", "<end_of_turn>"), "<end_of_turn>"),
    "llama3": Family(
        LLAMA3, ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "<|eot_id|>"
    ),
    "llama2": Family(LLAMA2, (), " </s>", " "),
}


def model_of(tiny: LanguageModel, template: str, tokens: tuple[str, ...]) -> LanguageModel:
    """The tiny model with another tokenizer and template; its own end token is </s>."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens(["<s>", "</s>", *tokens])
    settings = {"bos_token": "<s>", "eos_token": "</s>"}
    codec = from_tokenizers(tokenizer, settings, template)
    return replace(
        tiny,
        encode=codec.encode,
        decode=codec.decode,
        end=codec.end,
        chat=templates.chat_renderer(template, special_tokens=codec.special_tokens),
        chat_end=partial(templates.turn_end, template, special_tokens=codec.special_tokens),
    )


def conversation(template: str, question: str, answer: str) -> str:
    """A whole conversation of two turns by plain Jinja."""

    def refuse(message: str) -> None:
        raise AssertionError(message)

    page = jinja2.Template(template, trim_blocks=True, lstrip_blocks=True)
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return page.render(
        messages=turns, add_generation_prompt=False, bos_token="<s>", eos_token="</s>",
        raise_exception=refuse,
    )  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_a_trained_turn_is_the_templates_token_by_token(name: str, tiny: LanguageModel) -> None:
    family = FAMILIES[name]
    model = model_of(tiny, family.template, family.tokens)
    chat = model.chat
    assert chat is not None
    mixed = mixture.mix(None, INSTRUCTIONS, ratio=0, format="chat", chat=chat)
    mixed["completion"] = family.gap + mixed["completion"]
    end = mixture.turn_end_ids(model, "chat")
    assert model.encode([family.mark]) == [list(end)]
    encoded = mixture.encode(model, mixed, max_tokens=400, end=end)
    for row_name, example in zip(mixed["example_id"], encoded, strict=True):
        asked = INSTRUCTIONS.iloc[int(row_name.rpartition("-")[2])]
        question, answer = str(asked["instruction"]), str(asked["response"])
        whole = conversation(family.template, question, answer)
        (ids,) = model.encode([whole.rstrip()])
        assert list(example.ids) == [*model.start, *ids]
        # the mark and all of the answer count towards the loss, nothing of the prompt does
        assert (
            list(example.ids[example.first :])
            == model.encode([family.gap + answer + family.mark])[0]
        )
    shape = mixture.choose_shapes(encoded, 1, 2)
    batch = mixture.make_batch(encoded, 0, 2, shape)
    for row in range(2):
        weights, targets = batch.weights[batch.rows == row], batch.targets[batch.rows == row]
        counted = targets[weights > 0]
        assert counted[-len(end) :].tolist() == list(end)
        assert np.unique(weights[weights > 0]).size == 1


def test_other_formats_and_templates_without_a_mark_end_as_the_model_does(
    tiny: LanguageModel,
) -> None:
    marked = model_of(tiny, SMOLLM2, ("<|im_start|>", "<|im_end|>"))
    unmarked = model_of(tiny, UNMARKED, ())
    (own,) = marked.encode(["</s>"])
    assert mixture.turn_end_ids(marked, "paper") == marked.end == tuple(own)
    assert mixture.turn_end_ids(unmarked, "chat") == unmarked.end == tuple(own)
    assert mixture.turn_end_ids(replace(marked, chat=None, chat_end=None), "chat") == tuple(own)


def test_a_model_of_the_ladder_ends_at_its_templates_mark(tiny: LanguageModel) -> None:
    """The tiny model's own end token is <|endoftext|>, 0; its template's mark is <|im_end|>, 2."""
    assert tiny.end == (0,) and mixture.turn_end_ids(tiny, "chat") == (2,)


def test_a_template_is_looked_at_only_for_chat(tiny: LanguageModel) -> None:
    broken = model_of(tiny, "{% if %}", ())
    assert mixture.turn_end_ids(broken, "paper") == broken.end
    with pytest.raises(InputError, match="is broken"):
        mixture.turn_end_ids(broken, "chat")
    users_only = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    with pytest.raises(InputError, match="does not show an assistant's answer"):
        mixture.turn_end_ids(model_of(tiny, users_only, ()), "chat")
