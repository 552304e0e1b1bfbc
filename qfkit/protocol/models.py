"""Every model that the wire reference names: where it lives, what it accepts, how much (3.1, 3.6, 3.7, 4.4, 4.5).

v1 chooses a model by the path, v2 by the ``model`` field; many models answer in both. The v1 rows mirror the tables
of the official SDKs, whose input limits the service enforces with 336007 and 336103. v2 publishes no such table: its
ids are from documents and recordings, and what a name promises (``-32k``) is marked as a guess.

Not here, because they have no fixed address: fine-tuned services (``/chat/<custom>``), plugin applications
(``/plugin/<app id>/``), and the kimi and glm families of v2, of which no exact id was found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from qfkit.protocol.dialects import V1_PREFIX

Range = tuple[int, int]

#: v1 ``max_output_tokens`` (3.2), and that of its 128K models.
V1_OUTPUT: Final[Range] = (2, 2048)
V1_OUTPUT_128K: Final[Range] = (2, 4096)
#: v2 ``max_completion_tokens``: the bounds that a live error names; other models may have others (4.1).
V2_OUTPUT: Final[Range] = (1, 12288)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model.

    Attributes:
        name: canonical name: the v2 id, or the SDK's name in lower case.
        aliases: other spellings; the first is the Python SDK's own.
        endpoint: v1 path below ``/wenxinworkshop``, None where v1 has none.
        other_endpoints: further v1 paths of the same model.
        kind: ``chat``, ``completions``, ``embeddings``, ``reranker``, ``text2image``, ``image2text``, ``plugin`` or
            ``tokenizer``.
        max_chars, max_tokens: most characters and tokens of the input: of all messages together for chat, of the
            prompt elsewhere, of each item for embeddings. None where no limit is known.
        max_items: most items of ``input`` (embeddings) or ``documents`` (reranker).
        params: the request fields it takes, in v1 where it has an endpoint, else in v2. What else is sent is ignored.
        max_output: inclusive bounds of ``max_output_tokens`` (v1), or of ``max_completion_tokens`` where v1 has no
            endpoint; `output_range` tells the two apart.
        default_output: tokens written when the request sets no bound, None where unknown.
        temperature, top_p: defaults, None where unknown.
        dims: length of an embedding.
        context_length: tokens of input and output together.
        dialects: ``v1``, ``v2`` or both. text_generation lets nobody choose a model.
        guess: names of the fields above that no source gives.
    """

    name: str
    aliases: tuple[str, ...] = ()
    endpoint: str | None = None
    other_endpoints: tuple[str, ...] = ()
    kind: str = "chat"
    max_chars: int | None = None
    max_tokens: int | None = None
    max_items: int | None = None
    params: frozenset[str] = frozenset()
    max_output: Range = V1_OUTPUT
    default_output: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    dims: int | None = None
    context_length: int | None = None
    dialects: frozenset[str] = frozenset({"v1"})
    guess: tuple[str, ...] = ()

    def output_range(self, dialect: str) -> Range:
        """Inclusive bounds of ``max_output_tokens`` in v1, of ``max_completion_tokens`` in v2."""
        return V2_OUTPUT if dialect == "v2" and self.endpoint is not None else self.max_output

    def v2_object(self) -> dict[str, Any]:
        """The entry of ``GET /v2/models`` (4.4), with the service's spelling of ``max_completions_tokens``."""
        data: dict[str, Any] = {
            "id": self.name,
            "object": "model",
            "created": _CREATED,
            "owned_by": next((owner for prefix, owner in _OWNERS.items() if self.name.startswith(prefix)), "baidu"),
            "type": self.kind,
        }
        if self.context_length is not None:
            data["context_length"] = self.context_length
        if self.kind == "chat":
            data["max_completions_tokens"] = self.output_range("v2")[1]
        return data


#: ``created`` and ``owned_by`` of v2's list are [guess]: documents name the members but not their values.
_CREATED: Final = 1_700_000_000
_OWNERS: Final[Mapping[str, str]] = MappingProxyType(
    {"deepseek": "deepseek", "qwen": "qwen", "bge": "baai", "flux": "black-forest-labs"}
)

# Request fields. The sets are those of section 3.1, under its names.


def _fields(names: str) -> frozenset[str]:
    return frozenset(names.split())


_ALL: Final = frozenset({"messages", "stream", "temperature", "top_p", "user_id"})
_MEMORY: Final = frozenset({"enable_system_memory", "system_memory_id"})
_TOOLS: Final = frozenset({"tools", "tool_choice"})
_PENALTIES: Final = frozenset({"frequency_penalty", "presence_penalty"})
_P0: Final = (
    _ALL
    | _MEMORY
    | {"penalty_score", "system", "stop", "disable_search", "enable_citation", "enable_trace"}
    | {"max_output_tokens", "response_format"}
)
_P1: Final = _ALL | _TOOLS | _PENALTIES | {"penalty_score", "system", "max_output_tokens", "min_output_tokens"}
_P2: Final = _P0 | {"functions", "tool_choice"}
_P3: Final = _ALL | _TOOLS | {"penalty_score", "system", "stop"}
_P4: Final = _ALL | _PENALTIES | {"penalty_score", "system", "stop", "max_output_tokens", "min_output_tokens"}
_P5: Final = _P2 | {"user_setting"}
_P6: Final = _P0 | {"functions"}
_P7: Final = _P4 | _TOOLS
_P8: Final = _P7 - {"min_output_tokens"}
_P9: Final = _ALL | _TOOLS | {"penalty_score", "system"}
_P10: Final = _P7 | _MEMORY
_P11: Final = _ALL | {"penalty_score", "system", "stop", "max_output_tokens"}
_P12: Final = _P2 - _MEMORY
_P13: Final = _ALL | _TOOLS | {"penalty_score", "stop", "top_k"}
_P14: Final = _ALL | _TOOLS
PARAMETER_SETS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        f"P{number}": params
        for number, params in enumerate(
            (_P0, _P1, _P2, _P3, _P4, _P5, _P6, _P7, _P8, _P9, _P10, _P11, _P12, _P13, _P14)
        )
    }
)

_V2_CHAT: Final = _fields(
    "model messages stream stream_options temperature top_p penalty_score frequency_penalty presence_penalty "
    "repetition_penalty max_completion_tokens max_tokens seed stop user tools tool_choice parallel_tool_calls "
    "response_format web_search enable_thinking thinking_budget thinking_strategy reasoning_effort preemptible "
    "trace_number fps"
)

_CONTEXTS: Final = re.compile(r"-(4|8|32|128)k(?:-|$)")


def _context(name: str) -> int | None:
    found = _CONTEXTS.search(name)
    return int(found[1]) * 1024 if found else None


def _chat(
    sdk_name: str,
    endpoint: str,
    limits: tuple[int | None, int | None],
    params: str | None,
    *aliases: str,
    v2: str | None = None,
    other_endpoints: tuple[str, ...] = (),
) -> Model:
    """A chat model of v1; ``v2`` is its id there, where it has one."""
    name = v2 or sdk_name.lower()
    context = _context(name)
    flagship = name.startswith(("ernie-3.5", "ernie-4.0"))
    # The document gives 0.8 for 3.5 and 4.0, "some models 0.7" for top_p without saying which; 0.95 for the others.
    guess = ("top_p",) if flagship else ("top_p", "default_output")
    return Model(
        name=name,
        aliases=(sdk_name, *aliases),
        endpoint=f"/chat/{endpoint}",
        other_endpoints=other_endpoints,
        max_chars=limits[0],
        max_tokens=limits[1],
        params=PARAMETER_SETS[params] if params else _ALL,
        max_output=V1_OUTPUT_128K if context == 128 * 1024 else V1_OUTPUT,
        default_output=1024,
        temperature=0.8 if flagship else 0.95,
        top_p=0.8,
        context_length=context,
        dialects=frozenset({"v1", "v2"} if v2 else {"v1"}),
        guess=(*guess, *(("params",) if params is None else ()), *(("context_length",) if context else ())),
    )


def _v2(name: str, *, context: int | None = None, output: Range = V2_OUTPUT, kind: str = "chat") -> Model:
    """A model that only v2 has."""
    length = context or _context(name)
    ernie = name.startswith("ernie")
    made_up = ("context_length", "max_tokens") if length and not context else ("max_tokens",) if length else ()
    return Model(
        name=name,
        kind=kind,
        max_tokens=length,  # more than the whole context never fits; the true limit of the input is somewhat less
        params=_V2_CHAT,
        max_output=output,
        temperature=0.8 if ernie else None,
        top_p=0.8 if ernie else None,
        context_length=length,
        dialects=frozenset({"v2"}),
        guess=made_up,
    )


def _named(sdk_name: str, kind: str, endpoint: str, params: str, **values: Any) -> Model:
    """A model of v1 that does not chat; ``params`` are its request fields."""
    values = {"name": sdk_name.lower(), **values}
    return Model(aliases=(sdk_name,), kind=kind, endpoint=endpoint, params=_fields(params), **values)


_BOTH: Final = frozenset({"v1", "v2"})
_8K: Final = (20000, 5120)
_LITE: Final = (11200, 7168)
_SMALL: Final = (24000, 6144)
_OPEN: Final = (4800, None)
_UNKNOWN: Final = (None, None)

_ERNIE_CHAT: Final = (
    _chat("ERNIE-3.5-8K", "completions", _8K, "P5", "ERNIE 3.5", "ERNIE-Bot", v2="ernie-3.5-8k"),
    _chat("ERNIE-4.0-8K", "completions_pro", _8K, "P6", "ERNIE-Bot-4", "ERNIE-4.0", v2="ernie-4.0-8k"),
    _chat("ERNIE-4.0-8K-Preview-0518", "completions_adv_pro", _8K, "P6"),
    _chat("ernie-4.0-8k-preemptible", "completions_pro_preemptible", _UNKNOWN, None),
    _chat("ernie-3.5-8k-preemptible", "completions_preemptible", _UNKNOWN, None),
    _chat("ERNIE-4.0-8K-Latest", "ernie-4.0-8k-latest", _8K, "P0", v2="ernie-4.0-8k-latest"),
    _chat("ERNIE-4.0-8K-0613", "ernie-4.0-8k-0613", _8K, "P0"),
    _chat("ERNIE-4.0-Turbo-8K", "ernie-4.0-turbo-8k", _8K, "P0", v2="ernie-4.0-turbo-8k"),
    _chat("ERNIE-4.0-Turbo-8K-Latest", "ernie-4.0-turbo-8k-latest", _8K, "P0", v2="ernie-4.0-turbo-8k-latest"),
    _chat("ERNIE-4.0-Turbo-8K-Preview", "ernie-4.0-turbo-8k-preview", _8K, "P0", v2="ernie-4.0-turbo-8k-preview"),
    _chat("ERNIE-4.0-8K-preview", "ernie-4.0-8k-preview", _8K, "P6", "ERNIE-4.0-preview", v2="ernie-4.0-8k-preview"),
    _chat("ERNIE-4.0-8K-0329", "ernie-4.0-8k-0329", _8K, "P6"),
    _chat("ERNIE-4.0-8K-0104", "ernie-4.0-8k-0104", _8K, "P6"),
    _chat("ERNIE-3.5-8K-0701", "ernie-3.5-8k-0701", _8K, "P2"),
    _chat("ERNIE-3.5-8K-0613", "ernie-3.5-8k-0613", _8K, "P2"),
    _chat("ERNIE-3.5-8K-preview", "ernie-3.5-8k-preview", _8K, "P5", "ERNIE-3.5-preview", v2="ernie-3.5-8k-preview"),
    _chat("ERNIE-3.5-8K-0205", "ernie-3.5-8k-0205", _8K, "P5"),
    _chat("ERNIE-3.5-8K-0329", "ernie-3.5-8k-0329", (8000, 2048), "P5"),
    _chat("ERNIE-3.5-8K-1222", "ernie-3.5-8k-1222", _UNKNOWN, None),
    _chat("ERNIE-3.5-4K-0205", "ernie-3.5-4k-0205", _UNKNOWN, None),
    _chat("ERNIE-Bot-8k", "ernie_bot_8k", _UNKNOWN, None),
    _chat("ERNIE-3.5-128K", "ernie-3.5-128k", (516096, 126976), "P5", v2="ernie-3.5-128k"),
    _chat(
        "ERNIE-Speed-8K",
        "ernie_speed",
        _LITE,
        "P7",
        "ERNIE-Speed",
        "ERNIE Speed",
        v2="ernie-speed-8k",
        other_endpoints=("/chat/eb_turbo_pro",),  # the JavaScript SDK's ERNIE-Speed
    ),
    _chat("ERNIE-Speed-Pro-8K", "ernie-speed-pro-8k", _SMALL, "P7"),
    _chat("ERNIE-Speed-128K", "ernie-speed-128k", (507904, 126976), "P8", v2="ernie-speed-128k"),
    _chat("ERNIE-Speed-Pro-128K", "ernie-speed-pro-128k", (516096, 126976), "P8", v2="ernie-speed-pro-128k"),
    _chat("ERNIE Speed-AppBuilder", "ai_apaas", _LITE, "P9", "EB-turbo-AppBuilder", "ERNIE-Bot-turbo-AI"),
    _chat("ERNIE-Lite-AppBuilder-8K-0614", "ai_apaas_lite", _LITE, "P1"),
    _chat("ERNIE-Lite-8K-0922", "eb-instant", _LITE, "P3", "ERNIE-Bot-turbo"),
    _chat("ERNIE-Lite-8K", "ernie-lite-8k", _LITE, "P4", "ERNIE-Lite-8K-0308", v2="ernie-lite-8k"),
    _chat("ERNIE-Lite-Pro-8K", "ernie-lite-pro-8k", _SMALL, "P3"),
    _chat("ERNIE-Lite-V", "ernie-lite-v", _LITE, "P4"),
    _chat("ERNIE-Tiny-8K", "ernie-tiny-8k", _SMALL, "P7", v2="ernie-tiny-8k"),
    _chat("ERNIE-Novel-8K", "ernie-novel-8k", _SMALL, "P10", v2="ernie-novel-8k"),
    _chat("ERNIE-Function-8K", "ernie-func-8k", _SMALL, "P11", "ERNIE-Functions-8K", v2="ernie-func-8k"),
    _chat("ERNIE-Character-8K", "ernie-char-8k", _SMALL, "P11", "ERNIE-Character-8K-0321", v2="ernie-char-8k"),
    _chat("ERNIE-Character-Fiction-8K", "ernie-char-fiction-8k", _SMALL, "P11", v2="ernie-char-fiction-8k"),
    _chat("Qianfan-Dynamic-8K", "qianfan-dynamic-8k", _8K, "P12"),
)

_OPEN_CHAT: Final = (
    _chat("BLOOMZ-7B", "bloomz_7b1", _OPEN, "P13"),
    _chat("Qianfan-BLOOMZ-7B-compressed", "qianfan_bloomz_7b_compressed", _OPEN, "P13"),
    _chat("Llama-2-7B-Chat", "llama_2_7b", _OPEN, "P13"),
    _chat("Llama-2-13B-Chat", "llama_2_13b", _OPEN, "P13"),
    _chat("Llama-2-70B-Chat", "llama_2_70b", _OPEN, "P13"),
    _chat("Meta-Llama-3-8B", "llama_3_8b", _OPEN, "P13"),
    _chat("Meta-Llama-3-70B", "llama_3_70b", _OPEN, "P13"),
    _chat("Qianfan-Chinese-Llama-2-7B", "qianfan_chinese_llama_2_7b", _OPEN, "P13"),
    _chat("Qianfan-Chinese-Llama-2-13B", "qianfan_chinese_llama_2_13b", _OPEN, "P13"),
    _chat("Qianfan-Chinese-Llama-2-70B", "qianfan_chinese_llama_2_70b", _OPEN, "P13"),
    _chat("ChatGLM2-6B-32K", "chatglm2_6b_32k", _OPEN, "P13"),
    _chat("AquilaChat-7B", "aquilachat_7b", _OPEN, "P13"),
    _chat("XuanYuan-70B-Chat-4bit", "xuanyuan_70b_chat", _OPEN, "P13"),
    _chat("Yi-34B-Chat", "yi_34b_chat", _OPEN, "P13"),
    _chat("Mixtral-8x7B-Instruct", "mixtral_8x7b_instruct", _OPEN, "P13"),
    _chat("Gemma-7B-it", "gemma_7b_it", _OPEN, "P13"),
    _chat("ChatLaw", "chatlaw", _OPEN, "P14"),
)

_COMPLETION: Final = " ".join(sorted((_P13 - {"messages"}) | {"prompt"}))
# Limits of each embedding input, recalled from the document but not read again (3.6).
_RECALLED: Final = ("max_chars", "max_tokens", "max_items")
_OTHERS: Final = (
    _named("SQLCoder-7B", "completions", "/completions/sqlcoder_7b", _COMPLETION, max_chars=4800, guess=("max_chars",)),
    _named(
        "CodeLlama-7b-Instruct",
        "completions",
        "/completions/codellama_7b_instruct",
        _COMPLETION,
        max_chars=4800,
        guess=("max_chars",),
    ),
    _named(
        "Embedding-V1",
        "embeddings",
        "/embeddings/embedding-v1",
        "input user_id",
        max_chars=1000,
        max_tokens=384,
        max_items=16,
        dims=384,
        dialects=_BOTH,
    ),
    *(
        _named(
            name,
            "embeddings",
            f"/embeddings/{name.replace('-', '_')}",
            "input user_id",
            max_chars=chars,
            max_tokens=tokens,
            max_items=items,
            dims=1024,
            dialects=_BOTH,
            guess=("dims", *guess),
        )
        for name, chars, tokens, items, guess in (
            ("bge-large-zh", 2000, 512, 16, ()),
            ("bge-large-en", 2000, 512, 16, ()),
            ("tao-8k", 28000, 8192, 1, _RECALLED),
        )
    ),
    _named(
        "bce-reranker-base_v1",
        "reranker",
        "/reranker/bce_reranker_base",
        "query documents top_n user_id",
        name="bce-reranker-base",
        max_items=64,
        dialects=_BOTH,
    ),
    _named(
        "Stable-Diffusion-XL",
        "text2image",
        "/text2image/sd_xl",
        "prompt negative_prompt size n steps sampler_index seed cfg_scale style user_id",
        max_chars=1024,
    ),
    _named(
        "Fuyu-8B",
        "image2text",
        "/image2text/fuyu_8b",
        "prompt image stream temperature top_k top_p penalty_score stop user_id",
    ),
    # The tokenizer has no model name of its own; its body names the model to count for (3.8).
    _named("erniebot", "tokenizer", "/tokenizer/erniebot", "prompt model", guess=("name",)),
    _named("EBPlugin", "plugin", "/erniebot/plugins", "messages plugins stream user_id extra_data"),
    _named("EBPluginV2", "plugin", "/erniebot/plugin", "messages plugins stream user_id extra_data"),
)

_V2_ONLY: Final = (
    _v2("ernie-4.0-turbo-128k"),
    _v2("ernie-lite-pro-128k"),
    _v2("ernie-4.5-turbo-32k"),
    _v2("ernie-4.5-turbo-128k"),
    _v2("ernie-4.5-turbo-vl"),
    _v2("ernie-4.5-8k-preview"),
    _v2("ernie-x1-turbo-32k"),
    _v2("ernie-x1-turbo-32k-preview"),
    _v2("ernie-x1.1"),
    _v2("ernie-5.0"),
    _v2("ernie-5.0-thinking-preview"),
    _v2("deepseek-v3"),
    _v2("deepseek-v3.1-think-250821", context=163_840, output=(1, 65_536)),
    _v2("deepseek-r1"),
    _v2("deepseek-r1-distill-qwen-32b"),
    _v2("deepseek-r1-distill-qwen-14b"),
    _v2("qwen3-32b"),
    _v2("qwen3-235b-a22b-instruct-2507"),
    Model(
        name="qwen3-embedding-8b",
        kind="embeddings",
        max_items=16,
        params=frozenset({"model", "input", "user", "encoding_format"}),
        dims=4096,
        dialects=frozenset({"v2"}),
        guess=("dims",),
    ),
    *(
        Model(
            name=name,
            kind="text2image",
            max_chars=chars,
            params=frozenset({"model", "prompt", "n", "size", "user", *extra}),
            dialects=frozenset({"v2"}),
        )
        for name, chars, extra in (
            ("irag-1.0", 220, ("refer_image",)),
            ("flux.1-schnell", 512, ("steps", "guidance", "seed")),
        )
    ),
)

MODELS: Final[tuple[Model, ...]] = (*_ERNIE_CHAT, *_OPEN_CHAT, *_OTHERS, *_V2_ONLY)

_BY_NAME: Final = {name.casefold(): model for model in MODELS for name in (*model.aliases, model.name)}
_BY_ENDPOINT: Final = {
    endpoint.casefold(): model
    for model in MODELS
    if model.endpoint
    for endpoint in (model.endpoint, *model.other_endpoints)
}


def by_name(name: str) -> Model | None:
    """The model with this name or alias, in any letter case; None when there is none.

    The SDKs match names so; whether v2 does is unknown.
    """
    return _BY_NAME.get(name.strip().casefold())


def by_endpoint(path: str) -> Model | None:
    """The model at a v1 path, with or without the prefix of v1; None for the services of users and unknown paths.

    Letter case does not matter: the JavaScript SDK writes one of the paths in capitals (3.1).
    """
    return _BY_ENDPOINT.get(path.removeprefix(V1_PREFIX).casefold())


def v2_models() -> list[Model]:
    """Every model that v2 offers, in the order of the table."""
    return [model for model in MODELS if "v2" in model.dialects]


def v2_model_objects() -> list[dict[str, Any]]:
    """``data`` of the answer to ``GET /v2/models``, new dicts each time."""
    return [model.v2_object() for model in v2_models()]
