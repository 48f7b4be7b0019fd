"""Chat templates: against what transformers renders with the same ones."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hf_folder
from sycophancy import encoders, models, suites, templates
from sycophancy.errors import InputError

FIXTURES = Path(__file__).parent / "fixtures"
REFERENCE = json.loads((FIXTURES / "chat_templates.json").read_text(encoding="utf-8"))
NOW = datetime.fromisoformat(REFERENCE["now"])
TEMPLATES = {
    name: (FIXTURES / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")
    for name in REFERENCE["templates"]
}
# where transformers leaves out a message that is a string, or raises, and shows one of parts
AS_PARTS = {
    "content_parts", "content_parts_by_key", "content_parts_only", "content_parts_selected",
}  # fmt: skip
# where transformers raises, or leaves out some of the message, in both forms
REFUSED = {
    "broken": "is broken",
    "content_cut_off": "does not show a user's message",
    "content_dropped": "does not show a user's message",
    "endless": "cannot be rendered",
    "forbidden": "cannot be rendered",
    "raise_exception_always": r"cannot be rendered \(A system turn is needed, first of all\.\)",
    "undefined_token_added": "cannot be rendered",
    "unknown_tag": "is broken",
}


def renderer(name: str) -> templates.Chat:
    return templates.chat_renderer(TEMPLATES[name], special_tokens=REFERENCE["tokens"], now=NOW)


def test_the_reference_covers_every_template() -> None:
    written = {path.stem for path in (FIXTURES / "chat_templates").glob("*.jinja")}
    assert set(TEMPLATES) == written
    assert len(written - set(REFUSED)) >= 25


def test_a_system_turn_stands_where_the_template_has_it() -> None:
    asked = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    default = "<|im_start|>system\nYou are a careful assistant.<|im_end|>\n"
    render = renderer("default_system_turn")
    assert render("Hi") == default + asked
    assert render("Hi", system="") == "<|im_start|>system\n<|im_end|>\n" + asked
    assert render("Hi", system="Be brief.") == "<|im_start|>system\nBe brief.<|im_end|>\n" + asked
    # one that folds it into the first message shows both
    folded = renderer("system_folded_into_first_turn")
    assert "Be brief.\n\nHi" in folded("Hi", system="Be brief.")
    with pytest.raises(InputError, match="roles must alternate"):
        renderer("raise_exception_on_alternation")("Hi", system="")


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - set(REFUSED)))
def test_a_template_is_rendered_as_transformers_renders_it(name: str) -> None:
    render = renderer(name)
    for row in REFERENCE["templates"][name]:
        form = "parts" if name in AS_PARTS else "string"
        assert render(row["message"]) == row[form]["text"]
        words = row["message"].split()
        if name in AS_PARTS:
            shown = row["string"].get("text", "").split()
            assert not set(words[1:]) & set(shown)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_template_that_does_not_render_the_message_is_one_sentence(name: str) -> None:
    render = renderer(name)
    for row in REFERENCE["templates"][name]:
        for form in ("string", "parts"):
            whole = row["message"] in row[form].get("text", "")
            assert not whole or "[{'type'" in row[form]["text"]
        with pytest.raises(InputError, match=REFUSED[name]) as caught:
            render(row["message"])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", REFERENCE["places"])
def test_a_template_is_taken_from_the_file_that_transformers_takes(
    place: str, tmp_path: Path
) -> None:
    expected = REFERENCE["places"][place]
    folder = hf_folder.place_template(hf_folder.write(tmp_path), expected["files"])
    codec = encoders.for_preset(str(folder))
    render = templates.chat_renderer(codec.chat_template, special_tokens=codec.special_tokens)
    if "error" in expected:
        with pytest.raises(InputError, match="are named tool_use, none of them default"):
            render("Hi")
    else:
        assert render("Hi") == expected["text"]


@pytest.mark.parametrize(
    "template",
    [
        "{% if %}",
        "{% switch x %}",
        "{{ raise_exception('no') }}",
        5,
        {"rag": "{{ messages }}"},
        {"default": None},
        ["{{ messages }}"],
        "\udce9{{ messages[0].content }}",
        "{{ messages[0].content * 10000000000000 }}",
        "{{ strftime_now(3) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ],
)
def test_any_template_is_refused_only_where_a_message_is_rendered(template: object) -> None:
    render = templates.chat_renderer(template)
    assert len(suites.additions(n=1, chat=render))
    with pytest.raises(InputError, match="The model's chat template") as caught:
        suites.additions(n=1, format="chat", chat=render)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_model_with_a_broken_template_loads(tmp_path: Path) -> None:
    hf_folder.place_template(hf_folder.write(tmp_path), {"chat_template": "{% if %}"})
    chat = models.load_model(str(tmp_path)).chat
    assert chat is not None
    with pytest.raises(InputError, match="chat template is broken"):
        chat("Hi")


def test_a_template_file_in_another_encoding_is_one_sentence(tmp_path: Path) -> None:
    hf_folder.write(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes("é{{ messages[0].content }}".encode("latin-1"))
    render = templates.chat_renderer(encoders.for_preset(str(tmp_path)).chat_template)
    with pytest.raises(InputError, match="chat template is broken"):
        render("Hi")


def test_a_message_that_is_only_partly_shown_is_refused() -> None:
    render = templates.chat_renderer("{{ messages[0].content.split('</think>')[-1] }}")
    assert render("Do you agree?") == "Do you agree?"
    with pytest.raises(InputError, match="leaves out some of the message 'Say </think> now'"):
        render("Say </think> now")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_every_message_is_in_what_is_rendered(message: str) -> None:
    for name in ("chatml", "content_parts", "system_folded_into_first_turn"):
        assert message.strip() in renderer(name)(message)


def test_the_date_is_todays_or_that_of_source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    template = "{{ strftime_now('%Y-%m-%d %H:%M') }} {{ messages[0].content }}"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    render = templates.chat_renderer(template)
    assert render("Hi") == "1970-01-02 00:00 Hi"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert render("Hi") == "1970-01-02 00:00 Hi"  # one date for one model
    with pytest.raises(InputError, match="SOURCE_DATE_EPOCH is 'yesterday'"):
        templates.chat_renderer(template)("Hi")
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    before = datetime.now()
    shown = datetime.fromisoformat(templates.chat_renderer(template)("")[:16])
    assert before.replace(second=0, microsecond=0) <= shown <= datetime.now()
