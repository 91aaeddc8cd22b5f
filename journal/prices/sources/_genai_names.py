"""genai-prices' matching rules as a table of names, told more strictly, merged with the program's own rules."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from ._imported import note

_OPTIONAL_GROUP = re.compile(r"\(([^()?|]*)\)\?")
_DATED = re.compile(r"\^((?:[\w/:@=-]|\\[.\[\]])+?)(\$|-\\d|[-\[\]@]+\\d\{8\}\$|-\\d\{4\}-\\d\{2\}-\\d\{2\}\$)")


def names_table(
    providers: Iterable[Any],
    rules: Mapping[str, Any],
    list_name: str,
    released: str,
    untold: list[str],
    strict: list[str],
) -> bytes:
    """The table of names: a header, then for each provider its line and its models' lines in their order.

    *rules* are those of ``data/prices/name_rules.json``.  What cannot be told is noted in *untold*, what is told more
    strictly in *strict*.
    """
    own_ids = {provider.id: provider.id for provider in providers}
    lines: list[dict[str, Any]] = [
        {
            "keledger_names": 1,
            "name": f"{list_name} with rules of {rules['date']}",
            "date": max(rules["date"], released),
            "revision": rules["revision"],
            "gateways": rules["gateways"],
            "provider_aliases": dict(sorted({**rules["provider_aliases"], **own_ids}.items())),
            "prefixes": rules["prefixes"],
            "contexts": rules["contexts"],
            "context_aliases": rules["context_aliases"],
        }
    ]
    for provider in sorted(providers, key=lambda provider: str(provider.id)):
        fallbacks = provider.fallback_model_providers
        lines.append({"provider": provider.id, **({"fallbacks": fallbacks} if fallbacks else {})})
        lines.extend(rule for rule in rules["models"] if rule["provider"] == provider.id)
        for model in provider.models:
            found = {"exact": [model.id.lower()]}
            for kind, text in _told(model.match, f"{provider.id} {model.id}", untold, strict):
                if text not in found.setdefault(kind, []):
                    found[kind].append(text)
            lines.append({"provider": provider.id, "model": model.id, **dict(sorted(found.items()))})
    return _bytes(lines)


def carry_names(new: bytes, old: bytes, models: Collection[tuple[str, str]], old_name: str) -> bytes:
    """Add to a table of names the rules of an *old* one for *models* whose prices were carried over, marked.

    They come after the new rules of their provider, so that no name comes to mean something else by them.
    """
    lines = [json.loads(line) for line in new.splitlines()]
    known = {(line["provider"], line["model"]) for line in lines[1:] if "model" in line}
    providers = {line["provider"] for line in lines[1:]}
    added: list[dict[str, Any]] = []
    for line in map(json.loads, old.splitlines()[1:]):
        if "model" not in line:
            if line["provider"] not in providers and any(provider == line["provider"] for provider, _ in models):
                added.append(line)
        elif (line["provider"], line["model"]) in models and (line["provider"], line["model"]) not in known:
            added.append({**line, "carried_from": line.get("carried_from", old_name)})
    header, *rules = lines
    aliases = {**{line["provider"]: line["provider"] for line in added}, **header["provider_aliases"]}
    header["provider_aliases"] = dict(sorted(aliases.items()))
    merged = sorted([*rules, *added], key=lambda line: str(line["provider"]))  # stable: new rules stay first
    return _bytes([header, *merged])


def _told(clause: Any, where: str, untold: list[str], strict: list[str]) -> Iterator[tuple[str, str]]:
    """A matching clause as (kind, text) rules.

    What an `and` leaves out and what a regular expression leaves open is a date or revision, which the table of
    names allows behind a fragment anyway, and nothing else: so both are told by their fragment.
    """
    for kind in ("equals", "starts_with", "contains", "ends_with"):
        if hasattr(clause, kind):
            if kind != "equals":
                note(strict, f"{where} {kind} {getattr(clause, kind)}")
            yield "exact" if kind == "equals" else kind, getattr(clause, kind).lower()
    for part in getattr(clause, "or_", ()):
        yield from _told(part, where, untold, strict)
    for part in getattr(clause, "and_", ()):
        if not getattr(part, "regex", "").startswith("^(?!"):
            yield from _told(part, where, untold, strict)
    for expression in _without_options(getattr(clause, "regex", "")):
        matched = _DATED.fullmatch(expression)
        if matched is not None:
            text = re.sub(r"\\(.)", r"\1", matched[1]).lower()
            yield "exact" if matched[2] == "$" else "starts_with", text
        elif expression:
            note(untold, f"{where} regex {expression}")


def _without_options(expression: str) -> Iterator[str]:
    """A regular expression once without and once with each optional group."""
    group = _OPTIONAL_GROUP.search(expression)
    if group is None:
        yield expression
        return
    for part in ("", group[1]):
        yield from _without_options(expression[: group.start()] + part + expression[group.end() :])


def _bytes(lines: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines).encode()
