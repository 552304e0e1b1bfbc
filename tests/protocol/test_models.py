"""The model table, held to the tables of the official SDK that is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from qianfan.consts import DefaultLLMModel
from qianfan.resources.images.image2text import Image2Text
from qianfan.resources.images.text2image import Text2Image
from qianfan.resources.llm import completion
from qianfan.resources.llm.base import UNSPECIFIED_MODEL, BaseResourceV1
from qianfan.resources.llm.chat_completion import _ChatCompletionV1
from qianfan.resources.llm.embedding import Embedding
from qianfan.resources.llm.function import Function
from qianfan.resources.llm.plugin import Plugin
from qianfan.resources.llm.rerank import Reranker

from qfkit.protocol.dialects import FIELDS, V1_PREFIX, route
from qfkit.protocol.models import (
    MODELS,
    PARAMETER_SETS,
    V2_OUTPUT,
    Model,
    by_endpoint,
    by_name,
    v2_model_objects,
    v2_models,
)

KINDS = {"chat", "completions", "embeddings", "reranker", "text2image", "image2text", "plugin", "tokenizer"}

#: Where the reference and the SDK's own tables part, and why.
SDK_DIFFERS: dict[tuple[str, str], str] = {
    (
        "Function",
        "limits",
    ): "the Function class gives 11200 / 7168 for the endpoint that the chat table gives 24000 / 6144",
    ("Function", "params"): "the Function class also lists the memory fields of users, which the reference leaves out",
    ("Reranker", "params"): "the SDK renames query to _query, and does not list user_id",
    ("Image2Text", "params"): "the SDK lists the fields of text2image for Fuyu-8B; the reference has the service's own",
    ("Plugin", "params"): "the SDK does not list stream, which it sends",
}


class NoChatModels:
    """Stands in for the chat models, which Completion adds to its own two."""

    def __init__(self, config: object) -> None:
        self.config = config

    def _self_supported_models(self) -> dict[str, Any]:
        return {}


def as_built_in(_self: object, info: dict[str, Any]) -> dict[str, Any]:
    return info


def sdk_tables(monkeypatch: pytest.MonkeyPatch) -> dict[str, Mapping[str, Any]]:
    """Class name -> model name -> QfLLMInfo, from the SDK's built-in tables alone."""
    monkeypatch.setattr(BaseResourceV1, "_merge_local_models_with_latest", as_built_in)
    monkeypatch.setattr(completion, "_ChatCompletionV1", NoChatModels)
    tables: dict[str, Mapping[str, Any]] = {}
    for resource_type, method in (
        (_ChatCompletionV1, "_local_models"),
        (completion.Completion, "_local_models"),
        (Embedding, "_local_models"),
        (Reranker, "_local_models"),
        (Function, "_local_models"),
        (Text2Image, "_self_supported_models"),
        (Image2Text, "_self_supported_models"),
        (Plugin, "_self_supported_models"),
    ):
        # Built without __init__, which would look for keys and fetch the list of services.
        resource: Any = object.__new__(resource_type)
        resource._config = object()
        table = getattr(resource, method)()
        tables[resource_type.__name__] = {name: info for name, info in table.items() if name != UNSPECIFIED_MODEL}
    return tables


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> dict[str, Mapping[str, Any]]:
    return sdk_tables(monkeypatch)


# Held to the official SDK


def test_every_model_of_the_sdk_is_at_its_endpoint(tables: dict[str, Mapping[str, Any]]) -> None:
    ours, theirs = {}, {}
    for table in tables.values():
        for name, info in table.items():
            model = by_name(name)
            ours[name] = model.endpoint if model else None
            theirs[name] = info.endpoint
    assert ours == theirs
    assert len(theirs) > 60


def test_the_limits_are_the_sdks(tables: dict[str, Mapping[str, Any]]) -> None:
    checked = 0
    for resource, table in tables.items():
        if (resource, "limits") in SDK_DIFFERS:
            continue
        for name, info in table.items():
            model = by_name(name)
            assert model is not None
            if info.max_input_chars is not None:
                assert (model.max_chars, model.max_tokens) == (info.max_input_chars, info.max_input_tokens), name
                checked += 1
    assert checked > 50


def test_the_fields_are_the_sdks(tables: dict[str, Mapping[str, Any]]) -> None:
    for resource, table in tables.items():
        if (resource, "params") in SDK_DIFFERS:
            continue
        for name, info in table.items():
            model = by_name(name)
            assert model is not None
            # extra_parameters is what the SDKs add to every body; only ChatLaw's row lists it.
            theirs = (info.required_keys | info.optional_keys) - {"extra_parameters"}
            assert model.params == theirs, name


def test_every_difference_that_is_listed_is_real(tables: dict[str, Mapping[str, Any]]) -> None:
    for resource, what in SDK_DIFFERS:
        differing = []
        for name, info in tables[resource].items():
            model = by_name(name)
            assert model is not None
            if what == "limits":
                differing.append((model.max_chars, model.max_tokens) != (info.max_input_chars, info.max_input_tokens))
            else:
                differing.append(model.params != info.required_keys | info.optional_keys)
        assert any(differing), (resource, what)


def test_the_first_alias_is_a_name_that_the_sdk_knows(tables: dict[str, Mapping[str, Any]]) -> None:
    """The service list names models by it; only an exact name replaces the SDK's own row."""
    names = {name for table in tables.values() for name in table}
    others = {model.aliases[0] for model in MODELS if model.endpoint} - names
    # Known to the SDKs of other languages only (3.1), and the tokenizer, which is no model.
    assert others == {
        "ernie-4.0-8k-preemptible",
        "ernie-3.5-8k-preemptible",
        "ERNIE-3.5-8K-1222",
        "ERNIE-3.5-4K-0205",
        "ERNIE-Bot-8k",
        "erniebot",
    }


def test_the_sdks_default_models_are_known() -> None:
    for attribute in ("Completion", "ChatCompletion", "Embedding", "Text2Image", "ChatCompletionV2"):
        model = by_name(getattr(DefaultLLMModel, attribute))
        assert model is not None
    chat = by_name(DefaultLLMModel.ChatCompletionV2)
    assert chat is not None
    assert chat.name == DefaultLLMModel.ChatCompletionV2
    assert "v2" in chat.dialects


# The table itself


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_row_is_complete(model: Model) -> None:
    assert model.name == model.name.strip().lower()
    assert model.kind in KINDS
    assert model.dialects
    assert model.dialects <= {"v1", "v2"}
    assert ("v1" in model.dialects) == (model.endpoint is not None)
    assert set(model.guess) <= set(Model.__dataclass_fields__)
    assert (model.dims is not None) == (model.kind == "embeddings")
    low, high = model.max_output
    assert 0 < low < high
    assert model.params
    if model.kind == "chat":
        assert "messages" in model.params


def test_no_name_and_no_endpoint_stands_for_two_models() -> None:
    names = [(name.casefold(), model.name) for model in MODELS for name in {*model.aliases, model.name}]
    owners: dict[str, set[str]] = {}
    for name, owner in names:
        owners.setdefault(name, set()).add(owner)
    assert {name: found for name, found in owners.items() if len(found) > 1} == {}
    endpoints = [path for model in MODELS if model.endpoint for path in (model.endpoint, *model.other_endpoints)]
    assert len(set(endpoints)) == len(endpoints)


@pytest.mark.parametrize("model", [model for model in MODELS if model.endpoint], ids=lambda model: model.name)
def test_every_endpoint_is_a_route_of_the_dialect(model: Model) -> None:
    operations = {"reranker": "rerank", "plugin": "plugins"}
    for endpoint in (model.endpoint, *model.other_endpoints):
        found = route(f"{V1_PREFIX}{endpoint}")
        assert found is not None
        assert found.operation == operations.get(model.kind, model.kind)
        assert by_endpoint(found.endpoint or "") is model


# Searching


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ernie-3.5-8k", "ernie-3.5-8k"),
        ("ERNIE-3.5-8K", "ernie-3.5-8k"),
        ("ERNIE 3.5", "ernie-3.5-8k"),
        ("ernie speed", "ernie-speed-8k"),
        ("ERNIE-Bot", "ernie-3.5-8k"),
        ("ERNIE-Bot-4", "ernie-4.0-8k"),
        ("ERNIE-4.0", "ernie-4.0-8k"),
        ("ERNIE-Bot-turbo", "ernie-lite-8k-0922"),
        ("ERNIE-Functions-8K", "ernie-func-8k"),
        ("ERNIE-Character-8K", "ernie-char-8k"),
        ("bce-reranker-base_v1", "bce-reranker-base"),
        (" Embedding-V1 ", "embedding-v1"),
    ],
)
def test_by_name(name: str, expected: str) -> None:
    model = by_name(name)
    assert model is not None
    assert model.name == expected


@pytest.mark.parametrize("name", ["", "gpt-4", "ernie", "/chat/completions"])
def test_by_name_knows_no_other(name: str) -> None:
    assert by_name(name) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/chat/completions", "ernie-3.5-8k"),
        ("/chat/completions_pro", "ernie-4.0-8k"),
        (f"{V1_PREFIX}/chat/completions_pro", "ernie-4.0-8k"),
        ("/chat/eb_turbo_pro", "ernie-speed-8k"),
        ("/chat/ERNIE-3.5-8K-0205", "ernie-3.5-8k-0205"),
        ("/embeddings/bge_large_zh", "bge-large-zh"),
        ("/erniebot/plugin", "ebpluginv2"),
    ],
)
def test_by_endpoint(path: str, expected: str) -> None:
    model = by_endpoint(path)
    assert model is not None
    assert model.name == expected


@pytest.mark.parametrize("path", ["", "/chat/abcd1234_xyz", "/plugin/abcd/", "/v2/chat/completions"])
def test_by_endpoint_leaves_the_services_of_users_alone(path: str) -> None:
    assert by_endpoint(path) is None


# Limits and fields


@pytest.mark.parametrize(
    ("name", "v1", "v2"),
    [
        ("ernie-3.5-8k", (2, 2048), (1, 12288)),
        ("ernie-3.5-128k", (2, 4096), (1, 12288)),
        ("ernie-4.5-turbo-32k", (1, 12288), (1, 12288)),
        ("deepseek-v3.1-think-250821", (1, 65536), (1, 65536)),
    ],
)
def test_output_ranges(name: str, v1: tuple[int, int], v2: tuple[int, int]) -> None:
    model = by_name(name)
    assert model is not None
    assert model.max_output == v1
    assert model.output_range("v1") == v1
    assert model.output_range("v2") == v2


def test_defaults_of_sampling() -> None:
    for name, temperature in (
        ("ernie-4.0-8k", 0.8),
        ("ernie-3.5-8k", 0.8),
        ("ernie-lite-8k", 0.95),
        ("qwen3-32b", None),
    ):
        model = by_name(name)
        assert model is not None
        assert model.temperature == temperature


@pytest.mark.parametrize(
    ("name", "context", "guessed"),
    [
        ("ernie-4.5-turbo-32k", 32768, True),
        ("ernie-x1-turbo-32k-preview", 32768, True),
        ("ernie-3.5-128k", 131072, True),
        ("ernie-4.0-8k-0613", 8192, True),
        ("deepseek-v3.1-think-250821", 163840, False),
        ("ernie-5.0", None, False),
        ("qwen3-32b", None, False),  # 32 billion parameters are not 32 thousand tokens
    ],
)
def test_context_lengths_read_from_names_are_guesses(name: str, context: int | None, guessed: bool) -> None:
    model = by_name(name)
    assert model is not None
    assert model.context_length == context
    assert ("context_length" in model.guess) is guessed


def test_the_parameter_sets_are_those_of_the_reference() -> None:
    """Section 3.1 defines some sets by others; these are its equations."""
    sets = PARAMETER_SETS
    memory = {"enable_system_memory", "system_memory_id"}
    assert list(sets) == [f"P{number}" for number in range(15)]
    assert all({"messages", "stream", "temperature", "top_p", "user_id"} <= fields for fields in sets.values())
    assert sets["P2"] - sets["P0"] == {"functions", "tool_choice"}
    assert sets["P5"] - sets["P2"] == {"user_setting"}
    assert sets["P6"] - sets["P0"] == {"functions"}
    assert sets["P7"] - sets["P4"] == {"tools", "tool_choice"}
    assert sets["P7"] - sets["P8"] == {"min_output_tokens"}
    assert sets["P10"] - sets["P7"] == memory
    assert sets["P2"] - sets["P12"] == memory
    assert sets["P8"] < sets["P7"]
    assert sets["P12"] < sets["P2"]


def test_embeddings_have_their_lengths() -> None:
    dims = {model.name: model.dims for model in MODELS if model.kind == "embeddings"}
    assert dims == {
        "embedding-v1": 384,
        "bge-large-zh": 1024,
        "bge-large-en": 1024,
        "tao-8k": 1024,
        "qwen3-embedding-8b": 4096,
    }
    guessed = {model.name for model in MODELS if model.kind == "embeddings" and "dims" in model.guess}
    assert guessed == set(dims) - {"embedding-v1"}


# v2


def test_v2_has_chat_embeddings_reranker_and_images() -> None:
    kinds: dict[str, list[str]] = {}
    for model in v2_models():
        kinds.setdefault(model.kind, []).append(model.name)
    assert set(kinds) == {"chat", "embeddings", "reranker", "text2image"}
    assert kinds["text2image"] == ["irag-1.0", "flux.1-schnell"]
    assert kinds["reranker"] == ["bce-reranker-base"]
    assert {"ernie-4.5-turbo-128k", "ernie-x1.1", "ernie-5.0", "deepseek-r1", "qwen3-32b"} <= set(kinds["chat"])


def test_v2_only_models_take_known_fields() -> None:
    for model in v2_models():
        if model.endpoint is None and model.kind in {"chat", "embeddings"}:
            known = {field.name for field in FIELDS["v2", model.kind]}
            assert known <= model.params


def test_the_v2_list_has_the_members_of_the_reference() -> None:
    objects = v2_model_objects()
    assert [entry["id"] for entry in objects] == [model.name for model in v2_models()]
    for entry in objects:
        assert entry["object"] == "model"
        assert {"type", "owned_by", "created"} <= set(entry)
    by_id = {entry["id"]: entry for entry in objects}
    think = by_id["deepseek-v3.1-think-250821"]
    assert (think["type"], think["context_length"], think["max_completions_tokens"]) == ("chat", 163840, 65536)
    assert by_id["ernie-3.5-8k"]["max_completions_tokens"] == V2_OUTPUT[1]
    assert "max_completions_tokens" not in by_id["embedding-v1"]
    assert "context_length" not in by_id["ernie-5.0"]


def test_the_v2_list_is_new_each_time() -> None:
    first = v2_model_objects()
    first[0]["id"] = "changed"
    assert v2_model_objects()[0]["id"] != "changed"
