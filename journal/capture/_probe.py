"""Run by a foreign interpreter, of Python 3.10 or later: what KePrompt it has, and where its ``.pth`` files belong.

KePrompt itself is not imported, for that makes folders in the working directory.  Prints one JSON object.
"""

import ast
import importlib.metadata
import importlib.util
import json
import os
import site
import sys
import sysconfig


def keprompt_folder() -> str | None:
    """The folder of the package, or None."""
    spec = importlib.util.find_spec("keprompt")
    return next(iter(spec.submodule_search_locations or ()), None) if spec else None


def request_parameters(folder: str) -> list[str] | None:
    """The parameters of ``AiProvider.make_api_request``, or None where there is no such method."""
    with open(os.path.join(folder, "AiProvider.py"), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    for node in tree.body:
        for member in node.body if isinstance(node, ast.ClassDef) and node.name == "AiProvider" else ():
            if isinstance(member, ast.FunctionDef) and member.name == "make_api_request":
                return [argument.arg for argument in member.args.args]
    return None


def site_folder(package: str | None) -> str:
    """Where this interpreter reads ``.pth`` files: beside the package if that is such a place."""
    folders = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    beside = os.path.dirname(package) if package else None
    return beside if beside in folders else sysconfig.get_path("purelib")


def main() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry != here]  # where another `client` stands
    folder = keprompt_folder()
    found: dict[str, object] = {
        "python": sys.version.split()[0],
        "site_folder": site_folder(folder),
        "version": None,
    }
    if folder is not None:
        try:
            found["version"] = importlib.metadata.version("keprompt")
        except importlib.metadata.PackageNotFoundError:
            found["version"] = "unknown"
        try:
            found["request_parameters"] = request_parameters(folder)
        except (OSError, SyntaxError):
            found["request_parameters"] = None
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
