"""Models in GGUF files: the converted weights against transformers, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras_hub
import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType

import gguf_file
from sycophancy import gguf, models, wheels
from sycophancy.errors import InputError
from sycophancy.models import LanguageModel

FIXTURES = Path(__file__).parent / "fixtures"
SMOLLM2 = json.loads((FIXTURES / "smollm2_reference.json").read_text(encoding="utf-8"))
QWEN = json.loads((FIXTURES / "qwen_reference.json").read_text(encoding="utf-8"))
SMALL = json.loads((FIXTURES / "gguf_reference.json").read_text(encoding="utf-8"))


def last_logits(model: LanguageModel, ids: list[list[int]]) -> np.ndarray:
    tokens = np.array(ids)
    hidden = model.backbone({"token_ids": tokens, "padding_mask": np.ones_like(tokens)})
    return np.asarray(model.backbone.token_embedding(hidden[:, -1:], reverse=True))[:, 0]


def check_logits(model: LanguageModel, rows: list[dict]) -> None:
    """Compare with what transformers makes of the same file."""
    assert len(rows) == 20
    for row in rows:
        logits = last_logits(model, model.encode([row["prompt"]]))[0].astype(np.float64)
        for token, value in row["logits"].items():
            assert logits[int(token)] == pytest.approx(value, abs=1e-3)
        assert np.logaddexp.reduce(logits) == pytest.approx(row["logsumexp"], abs=1e-3)


def test_logits_are_those_of_transformers_on_the_same_file(embedded: LanguageModel) -> None:
    check_logits(embedded, SMOLLM2["prompts"])


@pytest.fixture(scope="module", params=sorted(QWEN["prompts"]))
def rung(request: pytest.FixtureRequest) -> LanguageModel:
    """A larger rung in float32, where it is in the cache: tests fetch SmolLM2 at most."""
    name = request.param
    folder = gguf.preset_folder(name, gguf.FILES[name].sha256, "float32")
    if not (folder / "config.json").is_file():
        pytest.skip(
            f"{name} is not in the cache: models.load_model({name!r}, 'float32') fetches it"
        )
    if not models.fits_memory(models.PARAMETERS[name], "float32"):
        pytest.skip(f"{name} does not fit into memory in float32")
    return models.load_model(name, "float32")


def test_a_larger_rung_is_equal_to_transformers_on_the_same_file(rung: LanguageModel) -> None:
    texts = list(QWEN["tokens"])
    assert len(texts) >= 200
    for text, ids in zip(texts, rung.encode(texts), strict=True):
        assert ids == QWEN["tokens"][text], repr(text)
    assert rung.start == () and rung.context == 32_768
    assert rung.chat is not None and rung.chat("Do you agree?") == QWEN["chat"]
    assert not rung.backbone.token_embedding.tie_weights
    layer = rung.backbone.token_embedding
    head, embeddings = layer.reverse_embeddings.value[:, :50].T, layer.embeddings.value[:50]
    assert np.abs(np.asarray(head) - np.asarray(embeddings)).max() > 1e-4
    check_logits(rung, QWEN["prompts"][rung.name])


def test_the_preset_reloads_in_stock_keras_hub_with_tied_embeddings(
    embedded: LanguageModel,
) -> None:
    backbone = keras_hub.models.Backbone.from_preset(str(gguf.preset()), dtype="float32")
    assert backbone.token_embedding.tie_weights
    ids = np.array(embedded.encode([SMOLLM2["prompts"][0]["prompt"]]))
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    np.testing.assert_array_equal(backbone(inputs), embedded.backbone(inputs))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYCOPHANCY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(folder: Path, *about: object, dtype: str = "float32", **settings: object) -> LanguageModel:
    path = gguf_file.write(folder / "small.gguf", *about, **settings)  # type: ignore[arg-type]
    return models.load_model(str(path), dtype)


@pytest.mark.parametrize("row", SMALL["rows"], ids=lambda r: f"{r['architecture']}-{r['kind']}")
def test_small_files_score_as_in_transformers(row: dict, cache: Path, tmp_path: Path) -> None:
    """Permuted or not, biases or none, tied or a head of its own: all have to be right."""
    model = load(tmp_path, row["architecture"], row["kind"], row["tied"])
    assert model.backbone.token_embedding.tie_weights == row["tied"]
    logits = last_logits(model, row["ids"]).astype(np.float64)
    logps = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    np.testing.assert_allclose(logps[:, ::20], row["logps"], atol=1e-3)


def halves(scales: np.ndarray) -> np.ndarray:
    """Return two bytes of each row as a float16."""
    return scales.copy().view(np.float16).astype(np.float32)[:, 0]


def q4_k(block: np.ndarray) -> np.ndarray:
    """Return 256 numbers for each 144 bytes: d, dmin, 8 six-bit scales and offsets, nibbles."""
    d, dmin, packed, nibbles = (
        halves(block[:, :2]),
        halves(block[:, 2:4]),
        block[:, 4:16],
        block[:, 16:],
    )
    out = np.zeros((len(block), 256), np.float32)
    for j in range(8):
        if j < 4:
            scale, offset = packed[:, j] & 63, packed[:, j + 4] & 63
        else:
            scale = (packed[:, j + 4] & 15) | (packed[:, j - 4] >> 6 << 4)
            offset = (packed[:, j + 4] >> 4) | (packed[:, j] >> 6 << 4)
        own = nibbles[:, j // 2 * 32 : j // 2 * 32 + 32]
        own = own >> 4 if j % 2 else own & 15
        out[:, 32 * j : 32 * j + 32] = (d * scale)[:, None] * own - (dmin * offset)[:, None]
    return out


def q6_k(block: np.ndarray) -> np.ndarray:
    """Return 256 numbers for each 210 bytes: low four bits, high two, 16 scales, d."""
    low, high, scales = block[:, :128], block[:, 128:192], block[:, 192:208].view(np.int8)
    d, out = halves(block[:, 208:]), np.zeros((len(block), 256), np.float32)
    for place in range(256):
        half, inside = divmod(place, 128)
        quarter, column = divmod(inside, 32)
        bits = low[:, 64 * half + 32 * (quarter % 2) + column] >> 4 * (quarter // 2) & 15
        bits = bits | (high[:, 32 * half + column] >> 2 * quarter & 3) << 4
        out[:, place] = d * scales[:, place // 16] * (bits.astype(np.float32) - 32)
    return out


def q8_0(block: np.ndarray) -> np.ndarray:
    """Return 32 numbers for each 34 bytes: d, then signed bytes."""
    return halves(block[:, :2])[:, None] * block[:, 2:].view(np.int8).astype(np.float32)


def q4_0(block: np.ndarray) -> np.ndarray:
    """Return 32 numbers for each 18 bytes: d, then nibbles less eight."""
    nibbles = np.concatenate([block[:, 2:] & 15, block[:, 2:] >> 4], axis=1).astype(np.float32)
    return halves(block[:, :2])[:, None] * (nibbles - 8)


@pytest.mark.parametrize(
    ("kind", "turn_back", "size"),
    [("Q4_K", q4_k, 144), ("Q6_K", q6_k, 210), ("Q8_0", q8_0, 34), ("Q4_0", q4_0, 18)],
)
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_quantised_weights_are_those_of_the_format_by_hand(
    architecture: str, kind: str, turn_back: object, size: int, cache: Path, tmp_path: Path
) -> None:
    model = load(tmp_path, architecture, kind)
    _, tensors = gguf.read_gguf(tmp_path / "small.gguf")
    by_path = {variable.path: np.asarray(variable.value) for variable in model.backbone.weights}
    for name, path, transposed in (
        ("token_embd", "token_embedding/embeddings", False),
        ("output", "token_embedding/reverse_embeddings", True),
        ("blk.1.ffn_down", "transformer_layer_1/feedforward_output_dense/kernel", True),
    ):
        raw = np.asarray(tensors[f"{name}.weight"].data)
        expected = turn_back(raw.reshape(-1, size)).reshape(raw.shape[0], -1)  # type: ignore[operator]
        expected = expected.T if transposed else expected
        np.testing.assert_allclose(by_path[path], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q4_1", "Q5_0", "Q5_1"])
def test_other_quantisations_come_close_to_what_was_written(
    kind: str, cache: Path, tmp_path: Path
) -> None:
    model = load(tmp_path, "llama", kind)
    wanted = gguf_file.weights("llama", tied=False)["blk.0.attn_q.weight"]
    query = model.backbone.transformer_layers[0]._self_attention_layer._query_dense.kernel
    off = np.abs(np.asarray(query).reshape(wanted.T.shape) - wanted.T).max()
    assert off < np.abs(wanted).max() * {"F16": 1e-3, "BF16": 1e-2}.get(kind, 0.1)
    assert off < np.std(wanted)  # rows in any other order would be off by several of these


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [True, False])
def test_presets_reload_in_stock_keras_hub_tied_or_untied(
    architecture: str, tied: bool, cache: Path, tmp_path: Path
) -> None:
    model = load(tmp_path, architecture, "Q8_0", tied)
    (folder,) = cache.glob("small-*")
    backbone = keras_hub.models.Backbone.from_preset(str(folder), dtype="float32")
    inputs = {"token_ids": np.array([[5, 9, 12]]), "padding_mask": np.ones((1, 3), int)}
    np.testing.assert_array_equal(model.backbone(inputs), backbone(inputs))
    assert backbone.token_embedding.tie_weights == tied


def test_weights_for_bfloat16_are_kept_in_it_and_are_the_rounded_ones(
    cache: Path, tmp_path: Path
) -> None:
    whole = load(tmp_path)
    half = models.load_model(str(tmp_path / "small.gguf"), "bfloat16")
    assert {folder.name.split("-")[-1] for folder in cache.glob("small-*")} == {"v1", "bfloat16"}
    for own, other in zip(whole.backbone.weights, half.backbone.weights, strict=True):
        assert other.dtype == "bfloat16"
        np.testing.assert_array_equal(own.value.astype("bfloat16"), other.value)
    mixed = models.load_model(str(tmp_path / "small.gguf"), "mixed_bfloat16")  # holds float32
    for own, other in zip(whole.backbone.weights, mixed.backbone.weights, strict=True):
        np.testing.assert_array_equal(own.value, other.value)
    assert half.fingerprint != whole.fingerprint


def test_a_file_is_converted_once_and_again_when_it_changed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, read = load(tmp_path), list[Path]()

    def counted(source: Path) -> object:
        read.append(source)
        return own(source)

    own = gguf.read_gguf
    monkeypatch.setattr(gguf, "read_gguf", counted)
    path = str(tmp_path / "small.gguf")
    assert models.load_model(path, "float32").fingerprint == first.fingerprint and not read
    assert load(tmp_path, "qwen2", "F16").fingerprint != first.fingerprint and len(read) == 1


def test_tokenizers_follow_the_files_rule_and_marks(cache: Path, tmp_path: Path) -> None:
    model = load(tmp_path, add_bos=True)
    one = gguf_file.TOKENS.index
    (ids,) = model.encode(["Hello a12<tool></s>"])
    assert ids == [one("He"), one("llo"), one("Ġa"), one("1"), one("2"), one("<tool>"), 0]
    assert model.start == (1,) and model.end == (0,)
    assert model.decode is not None and model.decode([ids]) == ["Hello a12<tool></s>"]
    other = load(tmp_path, "llama")
    assert other.encode(["Hello a12<tool></s>"]) == [ids] and other.start == ()
    assert model.chat is not None and model.chat("Hi") == "<s>user:Hi<s>assistant:"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"architecture": "gemma2"}, "architecture 'gemma2', only llama and qwen2"),
        ({"rule": "llama-bpe"}, "rule 'llama-bpe'.*only smollm and qwen2"),
        ({"without": "blk.1.ffn_up.weight"}, "lacks blk.1.ffn_up.weight"),
        ({"without": "blk.0.attn_q.bias"}, "lacks blk.0.attn_q.bias"),
        ({"more": {"rope_freqs.weight": np.ones(32, np.float32)}}, "has rope_freqs.weight, which"),
        ({"rope.scaling.type": "yarn"}, "scales its rotary positions"),
    ],
)
def test_files_that_cannot_be_read_are_refused_before_weights_are(
    settings: dict, words: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf, "dequantize", lambda *_: pytest.fail("weights are read"))
    with pytest.raises(InputError, match=words):
        load(tmp_path, **settings)
    assert not list(cache.glob("*"))


def test_quantisations_that_cannot_be_turned_back_are_named(cache: Path, tmp_path: Path) -> None:
    path = gguf_file.write(tmp_path / "small.gguf", kind="Q8_0")
    field, tensors = gguf.read_gguf(path)
    odd = tensors["output.weight"]._replace(tensor_type=GGMLQuantizationType.Q8_K)
    with pytest.raises(InputError, match=r"output\.weight .* quantised as Q8_K"):
        gguf.build_backbone(field, tensors | {"output.weight": odd}, "float32")
    raw = bytearray(path.read_bytes())
    place = raw.index(b"output.weight") + len(b"output.weight") + 4 + 2 * 8
    assert raw[place] == GGMLQuantizationType.Q8_0
    raw[place] = 199
    path.write_bytes(raw)
    with pytest.raises(InputError, match="quantised in a way that this version"):
        models.load_model(str(path))


def test_a_file_that_is_no_gguf_is_refused(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"\0" * 4096)
    with pytest.raises(InputError, match="not a readable GGUF file"):
        models.load_model(str(path))
    with pytest.raises(InputError, match=r"no folder or \.gguf file"):
        models.load_model(str(tmp_path / "other.gguf"))


def test_unpermute_undoes_the_interleaving_of_llama_cpp() -> None:
    # one head of size 4: llama.cpp stores rows 0, 2, 1, 3 of the two rotary halves (0, 1), (2, 3)
    weight = np.arange(4.0)[:, None]
    interleaved = weight[[0, 2, 1, 3]]
    np.testing.assert_array_equal(gguf.unpermute(interleaved, 1), weight)


LARGE = "qwen2.5_coder_instruct_1.5b"


@pytest.fixture
def no_fetching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "fetch_file", lambda file: pytest.fail("the file is fetched"))


def test_too_little_disk_is_told_before_anything_is_fetched(
    cache: Path, no_fetching: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(cache.parent)
    monkeypatch.setattr(gguf.shutil, "disk_usage", lambda _: real._replace(free=3 * 10**9))
    monkeypatch.setattr(models, "total_memory", lambda: 16 * 10**9)
    # 1.12 GB to fetch, 0.05 of a wheel, 1,777 million weights of four bytes
    with pytest.raises(InputError, match=r"needs 8\.3 GB of disk in .*, and 3\.0 GB are free"):
        models.load_model(LARGE, "float32")
    with pytest.raises(InputError, match=r"needs 4\.7 GB of disk"):
        models.load_model(LARGE, "bfloat16")


def test_too_little_memory_is_told_before_anything_is_fetched(
    cache: Path, no_fetching: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (models, gguf):
        monkeypatch.setattr(module, "total_memory", lambda: 4 * 10**9)
    with pytest.raises(InputError, match=r"memory with weights in float32, and this machine has 4"):
        models.load_model(LARGE, "float32")
    with pytest.raises(InputError, match=r"in bfloat16.*use a smaller model"):
        models.load_model(LARGE)


def test_precision_is_asked_for_or_what_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRECISION", raising=False)
    monkeypatch.setattr(models, "total_memory", lambda: 4 * 10**9)
    assert models.default_dtype() == models.default_dtype(models.DEFAULT) == "float32"
    assert models.default_dtype("qwen2.5_coder_instruct_0.5b") == "bfloat16"
    monkeypatch.setattr(models, "total_memory", lambda: 0)  # a system that does not say
    assert models.default_dtype("qwen2.5_coder_instruct_0.5b") == "float32"
    assert models.default_dtype(LARGE) == "bfloat16"  # of more than a billion parameters
    monkeypatch.setenv("PRECISION", "bfloat16")
    assert models.default_dtype() == "bfloat16"
    assert models.load_model("tiny_random").backbone.dtype_policy.name == "bfloat16"
    monkeypatch.setenv("PRECISION", "float8")
    with pytest.raises(InputError, match=r"'float8'.*float32, bfloat16"):
        models.load_model("tiny_random")


def test_a_full_disk_leaves_nothing_half_done(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, folder: Path, dtype: str) -> None:
        (folder / "model.weights.h5").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf, "convert", full)
    with pytest.raises(InputError, match=r"No space left.*: free about 0\.0 GB"):
        load(tmp_path)
    assert not list(cache.iterdir())
