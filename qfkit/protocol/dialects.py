"""The API families as data: where each operation lives and what its request fields may hold.

Sources are sections of the wire reference: v1 in 3, v2 in 4, OAuth and IAM in 2, text_generation in the design notes.
A row marked ``guess`` is not backed by any document; change it here when better is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

InferenceDialect: TypeAlias = Literal["text_generation", "v1", "v2"]
INFERENCE_DIALECTS: tuple[InferenceDialect, ...] = ("text_generation", "v1", "v2")

#: Hosts of the real service, per dialect (1). The mock serves all of them from one address.
BASE_URLS: dict[str, str] = {
    "text_generation": "https://aip.baidubce.com",
    "v1": "https://aip.baidubce.com",
    "v2": "https://qianfan.baidubce.com",
    "oauth": "https://aip.baidubce.com",
    "iam": "https://iam.bj.baidubce.com",
}

TEXT_GENERATION_CHAT = "/rpc/2.0/ai_custom/v1/text_generation/chat_completions"
TEXT_GENERATION_STREAM = "/rpc/2.0/ai_custom/v1/text_generation/chat_completions_stream"
V1_PREFIX = "/rpc/2.0/ai_custom/v1/wenxinworkshop"
OAUTH_TOKEN = "/oauth/2.0/token"  # noqa: S105 - a path
IAM_TOKEN = "/v1/BCE-BEARER/token"  # noqa: S105 - a path
SERVICE_LIST = "/wenxinworkshop/service/list"

#: Limits that the text_generation service documents (tutorial 5.2, 7.2, 8).
MAX_REQUEST_BYTES = 32 * 1024
MAX_PROMPT_CHARS = 4096
MAX_QPS = 100


@dataclass(frozen=True, slots=True)
class Route:
    """What a path means.

    Attributes:
        dialect: the API family, or ``oauth`` / ``iam`` / ``console`` for the auth and discovery calls.
        operation: ``chat``, ``completions``, ``embeddings``, ``rerank``, ``text2image``, ``image2text``, ``tokenizer``,
            ``plugins``, ``plugin``, ``models``, ``images``, ``token`` or ``service_list``.
        methods: HTTP methods that the service accepts there.
        endpoint: v1 only, the path below the prefix, which names the model.
        stream: True where the path itself asks for a stream.
    """

    dialect: str
    operation: str
    methods: tuple[str, ...] = ("POST",)
    endpoint: str | None = None
    stream: bool = False


_EXACT: dict[str, Route] = {
    TEXT_GENERATION_CHAT: Route("text_generation", "chat"),
    TEXT_GENERATION_STREAM: Route("text_generation", "chat", stream=True),
    "/v2/chat/completions": Route("v2", "chat"),
    "/v2/embeddings": Route("v2", "embeddings"),
    "/v2/rerank": Route("v2", "rerank"),  # current document
    "/v2/rerankers": Route("v2", "rerank"),  # what the Python and Go SDKs call
    "/v2/models": Route("v2", "models", ("GET",)),
    "/v2/images/generations": Route("v2", "images"),
    OAUTH_TOKEN: Route("oauth", "token", ("POST", "GET")),  # GET by third-party clients (2.1)
    IAM_TOKEN: Route("iam", "token", ("GET",)),
    SERVICE_LIST: Route("console", "service_list"),
    f"{V1_PREFIX}/tokenizer/erniebot": Route("v1", "tokenizer", endpoint="/tokenizer/erniebot"),
    f"{V1_PREFIX}/erniebot/plugins": Route("v1", "plugins", endpoint="/erniebot/plugins"),
    f"{V1_PREFIX}/erniebot/plugin": Route("v1", "plugins", endpoint="/erniebot/plugin"),
}

#: v1 paths below the prefix whose next segment names the model or application.
_V1_FAMILIES: dict[str, str] = {
    "chat": "chat",
    "completions": "completions",
    "embeddings": "embeddings",
    "reranker": "rerank",
    "text2image": "text2image",
    "image2text": "image2text",
    "plugin": "plugin",
}


def route(path: str) -> Route | None:
    """What the service keeps at ``path`` (no query), or None where it has nothing."""
    if known := _EXACT.get(path):
        return known
    if not path.startswith(V1_PREFIX + "/"):
        return None
    endpoint = path[len(V1_PREFIX) :]
    family, _, name = endpoint[1:].partition("/")
    name = name.rstrip("/") if family == "plugin" else name  # /plugin/<app id>/ comes with its slash (3.1)
    operation = _V1_FAMILIES.get(family)
    return Route("v1", operation, endpoint=endpoint) if operation and name and "/" not in name else None


@dataclass(frozen=True, slots=True)
class Field:
    """What a request field may hold. ``null`` is always accepted: LangChain sends it (3.2).

    Attributes:
        name: the JSON key.
        kind: ``string``, ``boolean``, ``integer``, ``number``, ``array``, ``object``, ``strings`` (array of strings) or
            ``text_or_strings``.
        required: absent or null is refused.
        low, high: bounds of a number, None for open-ended.
        low_open: True where ``low`` itself is outside, written ``(low, high]``.
        max_chars: most characters of a string, or of each item of an array of strings.
        max_items: most items of an array.
        choices: the only strings accepted.
        guess: True where no document gives the rule.
    """

    name: str
    kind: str
    required: bool = False
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    max_chars: int | None = None
    max_items: int | None = None
    choices: tuple[str, ...] = ()
    guess: bool = False

    @property
    def interval(self) -> str:
        """The range as the service prints it, such as ``(0, 1.0]`` (5.1, live texts)."""
        return f"{'(' if self.low_open else '['}{self.low:g}, {_bound(self.high)}]"


def _bound(value: float | None) -> str:
    # The service writes an upper bound of 1 as 1.0 but counts as 2048: floats keep their point.
    return "" if value is None else f"{value}"


_STREAM = Field("stream", "boolean")
_MESSAGES = Field("messages", "array", required=True)
_PENALTIES = (
    Field("frequency_penalty", "number", low=-2.0, high=2.0, guess=True),
    Field("presence_penalty", "number", low=-2.0, high=2.0, guess=True),
)
_V1_SAMPLING = (
    Field("temperature", "number", low=0, high=1.0, low_open=True),
    Field("top_p", "number", low=0, high=1.0),
    Field("penalty_score", "number", low=1.0, high=2.0),
    *_PENALTIES,
    Field("top_k", "integer", low=1),
)
_V1_STOP = Field("stop", "strings", max_items=4, max_chars=20)
_USER_ID = Field("user_id", "string")

_V1_CHAT = (
    _MESSAGES,
    _STREAM,
    *_V1_SAMPLING,
    _V1_STOP,
    Field("system", "string"),
    Field("disable_search", "boolean"),
    Field("enable_citation", "boolean"),
    Field("enable_trace", "boolean"),
    # The bounds of the model's table win over these (3.1); see validation.
    Field("max_output_tokens", "integer", low=2, high=2048),
    Field("min_output_tokens", "integer", low=2),
    Field("response_format", "string", choices=("text", "json_object")),
    Field("functions", "array"),
    Field("tool_choice", "object"),
    Field("tools", "array"),
    _USER_ID,
)

#: (dialect, operation) -> its fields. An unknown field is ignored [guess].
FIELDS: dict[tuple[str, str], tuple[Field, ...]] = {
    ("text_generation", "chat"): (
        _MESSAGES,
        Field("temperature", "number", low=0.1, high=1.0),
        Field("top_p", "number", low=0, high=1.0),
        Field("max_tokens", "integer", low=1),
    ),
    ("v1", "chat"): _V1_CHAT,
    ("v1", "completions"): (Field("prompt", "string", required=True), _STREAM, *_V1_SAMPLING, _V1_STOP, _USER_ID),
    ("v1", "embeddings"): (Field("input", "strings", required=True, max_items=16), _USER_ID),
    ("v1", "rerank"): (
        Field("query", "string", required=True, max_chars=1600),
        Field("documents", "strings", required=True, max_items=64, max_chars=4096),
        Field("top_n", "integer", low=1),
        _USER_ID,
    ),
    ("v1", "text2image"): (
        Field("prompt", "string", required=True, max_chars=1024),
        Field("negative_prompt", "string", max_chars=1024),
        Field(
            "size",
            "string",
            choices=("768x768", "768x1024", "1024x768", "576x1024", "1024x576", "1024x1024"),
        ),
        Field("n", "integer", low=1, high=4),
        Field("steps", "integer", low=10, high=50),
        Field("seed", "integer", low=0, high=4294967295),
        Field("cfg_scale", "number", low=0, high=30),
        _USER_ID,
    ),
    ("v1", "image2text"): (
        Field("prompt", "string", required=True),
        Field("image", "string", required=True),
        _STREAM,
        *_V1_SAMPLING,
        _V1_STOP,
        _USER_ID,
    ),
    ("v1", "tokenizer"): (Field("prompt", "string", required=True), Field("model", "string")),
    ("v1", "plugins"): (*_V1_CHAT, Field("plugins", "strings", required=True, max_items=3)),
    ("v1", "plugin"): (
        Field("query", "string", required=True, max_chars=1000),
        Field("plugins", "strings"),
        Field("history", "array"),
        Field("llm", "object"),
        Field("input_variables", "object"),
        Field("verbose", "boolean"),
        _STREAM,
        _USER_ID,
    ),
    ("v2", "chat"): (
        Field("model", "string", required=True),
        _MESSAGES,
        _STREAM,
        Field("stream_options", "object"),
        # ERNIE takes [0, 1], other families [0, 2] as OpenAI does (4.1); the wider one is refused by none.
        Field("temperature", "number", low=0, high=2.0),
        Field("top_p", "number", low=0, high=1.0),
        Field("penalty_score", "number", low=1.0, high=2.0),
        *_PENALTIES,
        Field("repetition_penalty", "number", low=0, low_open=True),
        Field("max_completion_tokens", "integer", low=1, high=12288),
        Field("max_tokens", "integer", low=1, high=12288, guess=True),
        Field("seed", "integer"),
        Field("stop", "text_or_strings"),
        Field("user", "string"),
        Field("tools", "array"),
        Field("parallel_tool_calls", "boolean"),
        Field("response_format", "object"),
        Field("web_search", "object"),
        Field("enable_thinking", "boolean"),
        Field("thinking_budget", "integer", low=1),
    ),
    ("v2", "embeddings"): (
        Field("model", "string", required=True),
        Field("input", "text_or_strings", required=True, max_items=16),
        Field("encoding_format", "string"),
        Field("user", "string"),
    ),
    ("v2", "rerank"): (
        Field("model", "string", required=True),
        Field("query", "string", required=True, max_chars=1600),
        Field("documents", "strings", required=True, max_items=64, max_chars=4096),
        Field("top_n", "integer", low=1),
        Field("user", "string"),
    ),
    ("v2", "images"): (
        Field("model", "string", required=True),
        Field("prompt", "string", required=True, max_chars=512),
        Field("n", "integer", low=1, high=4),
        Field("size", "string"),
        Field("steps", "integer", low=1, high=50),
        Field("seed", "integer"),
        Field("user", "string"),
    ),
}

#: Roles that v2 accepts, in the order its own error text lists them (5.2, live).
V2_ROLES = ("system", "developer", "user", "assistant", "tool")
