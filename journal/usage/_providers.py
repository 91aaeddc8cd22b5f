"""Names of providers.

keledger writes the names that genai-prices uses as provider ids (release 0.2.3), because its price list
is the one that ships.  This table brings other spellings to them: KePrompt's handlers (``gemini``,
``xai``), OpenTelemetry's ``gen_ai.provider.name`` (``gcp.vertex_ai``, ``aws.bedrock``, …) and LiteLLM's
prefixes (``vertex_ai``, ``together_ai``, …).  A name in neither column passes through in lower case.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

PROVIDER_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "amazon-bedrock": "aws",
        "amazon_bedrock": "aws",
        "aws.bedrock": "aws",
        "aws_bedrock": "aws",
        "bedrock": "aws",
        "bedrock_converse": "aws",
        "az.ai.inference": "azure",
        "az.ai.openai": "azure",
        "azure.ai.inference": "azure",
        "azure.ai.openai": "azure",
        "azure_ai": "azure",
        "azure_openai": "azure",
        "azure-openai": "azure",
        "cerebras-ai": "cerebras",
        "claude": "anthropic",
        "copilot": "github-copilot",
        "github_copilot": "github-copilot",
        "deepseek-ai": "deepseek",
        "fireworks_ai": "fireworks",
        "fireworks-ai": "fireworks",
        "gcp.gemini": "google",
        "gcp.gen_ai": "google",
        "gcp.vertex_ai": "google",
        "gemini": "google",
        "google-genai": "google",
        "google-vertex": "google",
        "google_genai": "google",
        "google_vertexai": "google",
        "vertex": "google",
        "vertex-ai": "google",
        "vertex_ai": "google",
        "vertexai": "google",
        "grok": "x-ai",
        "x.ai": "x-ai",
        "x_ai": "x-ai",
        "xai": "x-ai",
        "mistral-ai": "mistral",
        "mistral_ai": "mistral",
        "mistralai": "mistral",
        "moonshot": "moonshotai",
        "open-router": "openrouter",
        "open_router": "openrouter",
        "together-ai": "together",
        "together_ai": "together",
        "togetherai": "together",
    }
)


_OWN_NAMES = frozenset({"openai", *PROVIDER_ALIASES.values()})
"""The commonest of keledger's own names, which mean themselves."""


def provider_name(name: str) -> str:
    """Return keledger's name of a provider: ``gemini`` is ``google``, ``xai`` is ``x-ai``.

    Case and surrounding space do not matter; a name not known here is passed through in lower case.
    """
    if name in _OWN_NAMES:
        return name
    name = name.strip().lower()
    return PROVIDER_ALIASES.get(name, name)
