"""What other tools call TTFT, TPOT and ITL, computed of the same streams, so that their figures can be compared. Pure.

The same word means different things: one tool's first token is our first event, another divides by the tokens where we
count chunks, a third has the time to the first token in every gap. Each definition here was read in the tool's source
or documentation, which `Variant.source` names.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from loadtests.measuring.samples import Sample


class Variant(NamedTuple):
    """One tool's way to compute one figure.

    Attributes:
        definition: in words, for a report.
        source: where it is defined.
        of: the durations in seconds that a good stream with content gives.
    """

    definition: str
    source: str
    of: Callable[[Sample], list[float]]


def _events(sample: Sample) -> list[float]:
    return sorted((*sample.contents, *sample.empties))


def _vllm_ttft(sample: Sample) -> list[float]:
    return _events(sample)[:1]


def _vllm_itl(sample: Sample) -> list[float]:
    return [later - earlier for earlier, later in pairwise(_events(sample))]


def _vllm_tpot(sample: Sample) -> list[float]:
    events, tokens = _events(sample), sample.output_tokens or 0
    return [(events[-1] - events[0]) / (tokens - 1)] if tokens > 1 else []


def _genai_perf_itl(sample: Sample) -> list[float]:
    contents, tokens = sample.contents, sample.output_tokens or 0
    return [(contents[-1] - contents[0]) / (tokens - 1)] if tokens > 1 else []


def _llmperf_itl(sample: Sample) -> list[float]:
    return [sample.contents[-1] / sample.output_tokens] if sample.output_tokens else []


def _headers_as_ttft(sample: Sample) -> list[float]:
    return [] if sample.headers is None else [sample.headers]


_VLLM = "vllm-project/vllm, benchmarks/backend_request_func.py and benchmarks/benchmark_serving.py"
_NVIDIA = "NVIDIA NIM, LLM benchmarking, Metrics; AIPerf, Metrics Reference"
_LLMPERF = "ray-project/llmperf, openai_chat_completions_client.py and token_benchmark_ray.py"

#: Name as reports show it -> how it is computed.
VARIANTS: dict[str, Variant] = {
    "ttft (vLLM)": Variant("to the first event, with content or not", _VLLM, _vllm_ttft),
    "itl (vLLM)": Variant("each gap between events, with content or not", _VLLM, _vllm_itl),
    "tpot (vLLM)": Variant("(last event - first event) / (output tokens - 1)", _VLLM, _vllm_tpot),
    "itl (GenAI-Perf)": Variant("(last content - first content) / (output tokens - 1)", _NVIDIA, _genai_perf_itl),
    "itl (LLMPerf)": Variant("time to the last content / output tokens: TTFT is in it", _LLMPERF, _llmperf_itl),
    "ttft (Qianfan SDK)": Variant(
        "to the headers: what the official SDK's Locust stress test calls first token",
        "qianfan 0.4, resources/requestor/openapi_requestor.py: requests' elapsed, which ends at the headers",
        _headers_as_ttft,
    ),
}
