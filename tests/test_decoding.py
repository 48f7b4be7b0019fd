"""Greedy decoding: the same as a plain loop over the whole sequence, alone or together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras_hub
import numpy as np
import pytest
from tokenizers import Tokenizer

from sycophancy import decoding, models, scoring
from sycophancy.decoding import cached, loops
from sycophancy.encoders import OUR_TOKENIZER
from sycophancy.errors import InputError
from sycophancy.scoring import forward
from test_reuse import other_model

PROMPTS = ["Is the sky blue?", "2 + 2 =", "A much longer prompt than the others, of another size."]
WITH_CACHE = keras_hub.models.LlamaCausalLM.call_with_cache


def plain(model: models.LanguageModel, prompt: str, tokens: int) -> str:
    """Return the most probable continuation, one full forward pass a token."""
    ids = [*model.start, *model.encode([prompt])[0]]
    new: list[int] = []
    for _ in range(tokens):
        length = len(ids) + len(new)
        batch = np.zeros(
            (1, 128), np.int32
        )  # one length, compiled once: padding is never looked at
        batch[0, :length] = [*ids, *new]
        mask = (np.arange(128)[None] < length).astype(np.int32)
        hidden = model.backbone({"token_ids": batch, "padding_mask": mask})
        last = hidden[:, length - 1 : length]
        logits = np.asarray(model.backbone.token_embedding(last, reverse=True))[0, -1]
        if int(logits.argmax()) in decoding.ends(model):
            break
        new.append(int(logits.argmax()))
    return str(reader(model).decode(new, skip_special_tokens=False))


def reader(model: models.LanguageModel) -> Tokenizer:
    """The model's tokenizer, from its file."""
    return Tokenizer.from_str(model.files[OUR_TOKENIZER])


def test_it_is_what_a_loop_of_full_forward_passes_gives(tiny: models.LanguageModel) -> None:
    found = decoding.greedy(tiny, PROMPTS, max_tokens=12)
    assert found["prompt"].tolist() == PROMPTS
    assert found["text"].tolist() == [plain(tiny, prompt, 12) for prompt in PROMPTS]
    assert set(found["ended"]) <= {"cap", "end"}
    assert (found.loc[found["ended"] == "cap", "tokens"] == 12).all()


def test_prompts_together_give_what_each_gives_alone(tiny: models.LanguageModel) -> None:
    many = [f"{prompt} {number}" for number in range(4) for prompt in PROMPTS]
    together = decoding.greedy(tiny, many, max_tokens=6)
    for row in (0, 5, 11):
        alone = decoding.greedy(tiny, [many[row]], max_tokens=6)
        assert alone.iloc[0].tolist() == together.iloc[row].tolist()


def test_prompts_padded_further_give_the_same(tiny: models.LanguageModel) -> None:
    prompts = [[5, 9, 40, 7], [8] * 20]
    ids = decoding.make_generate(tiny)(prompts, 6)
    for lengths in ([64, 96], [96]):
        assert decoding.make_generate(tiny, lengths=lengths)(prompts, 6) == ids
    # fewer lengths than there are, where a shape costs more than its padding
    grouped, sizes = [[0, 1], [2], [3]], [70, 40, 39, 3]
    assert decoding.padded_lengths(grouped, sizes) == [96]


def test_a_text_ends_before_its_stop_string_also_where_it_spans_tokens() -> None:
    model = models.load_model("tiny_random")
    decode = decoding.decoder(model)
    ids = reader(model).encode("yes\n\nQ: more").ids
    assert decoding.cut(ids, decode, (), 50, ["\n\nQ"]) == ("yes", 6, "stop")
    assert decoding.cut(ids, decode, (), 3, ["\n\nQ"]) == ("yes", 3, "cap")
    assert decoding.cut([*ids[:3], 0, *ids], decode, (0,), 50, ["\n\nQ"]) == ("yes", 3, "end")
    assert decoding.cut(ids, decode, (), 50, []) == ("yes\n\nQ: more", len(ids), "cap")


def test_a_batch_is_over_when_every_text_has_its_stop_string(
    tiny: models.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = decoding.greedy(tiny, PROMPTS, max_tokens=40)["text"]
    word = next(char for char in whole[0] if all(char in text for text in whole))
    found = decoding.greedy(tiny, PROMPTS, max_tokens=40, stop=[word])
    assert found["text"].tolist() == [text.split(word)[0] for text in whole]
    assert found["ended"].eq("stop").all()
    monkeypatch.setattr(decoding, "MOST_CLOSING", 10_000)  # the word is in many tokens
    closed_by = decoding.closing(tiny, [word])
    prompt = [[*tiny.start, *tiny.encode(PROMPTS[:1])[0]]]
    full = decoding.make_generate(tiny)(prompt, 40)[0]
    ended = decoding.make_generate(tiny, closed_by)(prompt, 40)[0]
    over = next(place for place, token in enumerate(full) if token in closed_by) + 1
    assert ended[:over] == full[:over]
    assert ended[over:] != full[over:] and len({*ended[over:]}) == 1  # padding: nothing decoded


@pytest.mark.parametrize(
    ("max_tokens", "stop", "ends"),
    [
        (40, ["e"], False),
        (40, ["no such text"], True),
        pytest.param(1, [], False, marks=pytest.mark.slow),
        pytest.param(12, [], False, marks=pytest.mark.slow),
    ],
)
def test_texts_are_those_of_kerashubs_own_loop(
    tiny: models.LanguageModel,
    monkeypatch: pytest.MonkeyPatch,
    max_tokens: int,
    stop: list[str],
    ends: bool,
) -> None:
    """More prompts than a batch holds, some of them over a padded length longer than others."""
    prompts = [*PROMPTS, *(f"{prompt} {'and on ' * 12}" for prompt in PROMPTS)]
    if ends:  # a token that the model does say
        said = decoding.make_generate(tiny)([tiny.encode(prompts)[0]], max_tokens)[0]
        tiny = replace(tiny, end=(said[3],))
    with monkeypatch.context() as patched:
        patched.setattr(loops, "kerashub_loop", lambda *_: pytest.fail("KerasHub's loop ran"))
        ours = decoding.greedy(tiny, prompts, max_tokens=max_tokens, stop=stop)
    monkeypatch.setattr(
        decoding, "make_generate", lambda model, closed, *_: decoding.kerashub_loop(model, closed)
    )
    theirs = decoding.greedy(tiny, prompts, max_tokens=max_tokens, stop=stop)
    assert ours.values.tolist() == theirs.values.tolist()
    assert "end" in set(ours["ended"]) if ends else "cap" in set(ours["ended"])


def test_a_batch_is_looked_at_for_what_is_spread_over_tokens(tiny: models.LanguageModel) -> None:
    prompts = tiny.encode(PROMPTS)
    whole = decoding.make_generate(tiny)(prompts, 40)
    looked: list[int] = []

    def over(ids: list[int]) -> bool:
        looked.append(len(ids))
        return len(ids) >= 2 * decoding.LOOK

    found = decoding.make_generate(tiny, (), over)(prompts, 40)
    assert found == [row[: 2 * decoding.LOOK] for row in whole]
    assert set(looked) == {decoding.LOOK, 2 * decoding.LOOK}


def test_a_row_that_has_ended_waits_for_one_that_is_over(tiny: models.LanguageModel) -> None:
    prompts = tiny.encode(PROMPTS[:2])
    whole = decoding.make_generate(tiny)(prompts, 40)
    place = next(i for i in range(decoding.LOOK) if whole[0][i] not in whole[1])
    closed_by = (whole[0][place],)
    looked: list[list[int]] = []

    def over(ids: list[int]) -> bool:
        looked.append(ids)
        return True

    found = decoding.make_generate(tiny, closed_by, over)(prompts, 40)
    assert found[0][: place + 1] == whole[0][: place + 1]
    assert found[1] == whole[1][: decoding.LOOK]
    assert looked == [whole[1][: decoding.LOOK]]  # the first row needs no look


def test_a_token_that_the_model_has_no_row_for_ends_nothing(tiny: models.LanguageModel) -> None:
    prompts = tiny.encode(PROMPTS)
    size = tiny.backbone.token_embedding.input_dim
    whole = decoding.make_generate(tiny)(prompts, 12)
    assert decoding.make_generate(tiny, (size, size + 5))(prompts, 12) == whole


def test_an_empty_prompt_is_refused(tiny: models.LanguageModel) -> None:
    with pytest.raises(InputError, match="Prompt 1 is empty"):
        decoding.greedy(replace(tiny, start=()), ["x", ""], max_tokens=3)


@pytest.mark.parametrize(
    "name", ["gemma3", *(pytest.param(name, marks=pytest.mark.slow) for name in ("qwen3", "gpt2"))]
)
def test_other_families_say_what_full_passes_give(tiny: models.LanguageModel, name: str) -> None:
    """Gemma 3 has a cache in several arrays, and a prompt is longer than its sliding window."""
    model = other_model(tiny, name)
    found = decoding.greedy(model, PROMPTS, max_tokens=20)["text"]
    assert found.tolist() == [plain(model, prompt, 20) for prompt in PROMPTS]


@pytest.fixture
def found_out_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "_shared", {})


@pytest.mark.usefixtures("found_out_anew")
@pytest.mark.parametrize("name", ["gemma3", "gpt2"])
def test_the_pass_with_a_cache_is_exact(tiny: models.LanguageModel, name: str) -> None:
    assert cached.exact(other_model(tiny, name))


def test_the_pass_of_the_embedded_model_is_exact(embedded: models.LanguageModel) -> None:
    assert cached.cached_differences(embedded).found.max() < 1e-4


def forgets(self: object, ids: object, cache: object, _: object) -> object:
    return WITH_CACHE(self, ids, cache, 0)


def missing(*_: object) -> None:
    raise NotImplementedError


@pytest.mark.usefixtures("found_out_anew")
@pytest.mark.parametrize("broken", [forgets, missing])
def test_a_cached_pass_that_is_wrong_or_missing_is_found_out(
    broken: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A family that forgets where a token stands would otherwise say nonsense in silence."""
    monkeypatch.setattr(keras_hub.models.LlamaCausalLM, "call_with_cache", broken)
    assert not cached.exact(models.load_model("tiny_random"))


def test_where_the_cached_pass_is_not_exact_kerashub_decodes(
    tiny: models.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = decoding.greedy(tiny, PROMPTS, max_tokens=8)
    monkeypatch.setattr(loops, "exact", lambda _: False)
    monkeypatch.setattr(loops, "own_loop", lambda *_: pytest.fail("our own loop ran"))
    assert decoding.greedy(tiny, PROMPTS, max_tokens=8).equals(ours)


def test_a_compiled_loop_uses_the_weights_of_the_day() -> None:
    model = models.load_model("tiny_random")
    ids = model.encode(PROMPTS)
    generate = decoding.own_loop(model, (), lambda _: False)
    before = generate(ids, 12)
    for own in model.backbone.weights:
        own.assign(own.value * 1.5)
    theirs = decoding.kerashub_loop(model, ())
    assert generate(ids, 12) == theirs(ids, 12) != before


def test_tokens_that_hold_a_stop_string_are_found() -> None:
    model = models.load_model("tiny_random")
    tokenizer = reader(model)
    size = range(tokenizer.get_vocab_size())
    held = [i for i in size if "\n" in tokenizer.decode([i], skip_special_tokens=False)]
    assert held and decoding.closing(model, ["\n"]) == tuple(held[: decoding.MOST_CLOSING])
    assert decoding.closing(model, []) == () == decoding.closing(model, ["\nQ: no token"])


def test_finished_prompts_are_not_decoded_again(
    tiny: models.LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = decoding.greedy(tiny, PROMPTS[:2], max_tokens=4, store=tmp_path)
    told: list[scoring.ScoringProgress] = []
    both = decoding.greedy(tiny, PROMPTS, max_tokens=4, store=tmp_path, on_progress=told.append)
    assert both.iloc[:2].equals(first) and (told[-1].done, told[-1].reused) == (3, 2)
    monkeypatch.setattr(decoding, "make_generate", None)  # whoever decodes again fails
    assert decoding.greedy(tiny, PROMPTS, max_tokens=4, store=tmp_path).equals(both)


def test_a_chat_template_that_writes_the_start_token_has_it_once(
    tiny: models.LanguageModel,
) -> None:
    start = tuple(tiny.encode(["<"])[0])
    opened, bare = "<2 + 2 =", "2 + 2 ="
    both = decoding.greedy(replace(tiny, start=start), [opened, bare], max_tokens=6)
    assert both["text"].tolist() == [plain(tiny, opened, 6)] * 2


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True])
def test_a_number_of_tokens_that_cannot_be_is_named(tiny: models.LanguageModel, wrong: Any) -> None:
    with pytest.raises(InputError, match=f"max_tokens is {wrong}: give a whole number from 1"):
        decoding.greedy(tiny, PROMPTS, max_tokens=wrong)


@pytest.mark.parametrize("content", ["[", "[]", "3", ""])
def test_a_damaged_text_in_the_store_is_thrown_away_and_made_again(
    tiny: models.LanguageModel, tmp_path: Path, content: str
) -> None:
    first = decoding.greedy(tiny, PROMPTS[:1], max_tokens=2, store=tmp_path)
    (path,) = tmp_path.glob("*.json")
    whole = path.read_text()
    path.write_text(content)
    with pytest.warns(UserWarning, match=rf"{path.name} is damaged .*: it is thrown away"):
        again = decoding.greedy(tiny, PROMPTS[:1], max_tokens=2, store=tmp_path)
    assert again.equals(first) and path.read_text() == whole


def test_what_does_not_fit_the_context_is_refused_before_anything_runs(
    tiny: models.LanguageModel,
) -> None:
    with pytest.raises(InputError, match="Prompt 1 has"):
        decoding.greedy(replace(tiny, context=40), ["a", "b" * 39], max_tokens=2)
